//! The rows of docs/protocol/detection.md, one by one.

use super::*;
use crate::engine::Revision;
use alloc::string::String;
use proptest::prelude::*;

const PREFIX: &str = "/socket.io";

fn request<'a>(method: &'a str, target: &'a str) -> RequestHead<'a> {
    RequestHead {
        method,
        target,
        ..RequestHead::default()
    }
}

fn upgrade(target: &str) -> RequestHead<'_> {
    RequestHead {
        upgrade: true,
        websocket_key: true,
        websocket_version: Some("13"),
        ..request("GET", target)
    }
}

fn get(target: &str) -> Route {
    detect(PREFIX, &request("GET", target))
}

fn legacy_06(route: Route) -> Legacy06 {
    match route {
        Route::Legacy06(legacy) => legacy,
        other => panic!("not 0.6: {other:?}"),
    }
}

fn engine_io(route: Route) -> EngineIo {
    match route {
        Route::EngineIo(engine) => engine,
        other => panic!("not Engine.IO: {other:?}"),
    }
}

/// The last place of `text` in `target`.
fn part(target: &str, text: &str) -> Part {
    let at = target.rfind(text).expect("it stands there");
    Part::locate(target, &target.as_bytes()[at..at + text.len()])
}

fn text(target: &str, part: Option<Part>) -> Option<&str> {
    part.map(|part| part.of(target))
}

fn v1_handshake(target: &str, jsonp: Option<u64>, maybe_beacon_of: Option<&str>) -> Route {
    Route::Legacy09(Legacy09::Handshake {
        jsonp,
        maybe_beacon_of: maybe_beacon_of.map(|session| part(target, session)),
    })
}

fn v1_transport(session: Part, transport: Transport, exchange: Exchange, index: u64) -> Route {
    Route::Legacy09(Legacy09::Transport {
        transport,
        session,
        exchange,
        index,
    })
}

#[test]
fn row_1_static_files() {
    for path in [
        "socket.io.js",
        "socket.io.v0.9.16.js",
        "socket.io+xhr-polling.js",
        "socket.io+websocket+htmlfile.v0.8.7.js",
        "socket.io.esm.js",
        "socket.io.msgpack.js",
        "static/flashsocket/WebSocketMain.swf",
        "static/flashsocket/WebSocketMainInsecure.swf",
        "WebSocketMain.swf",
        "lib/vendor/web-socket-js/WebSocketMain.swf",
        "socket.io.min.js",
        "socket.io.esm.min.js",
        "socket.io.msgpack.min.js",
        "socket.io.js.map",
    ] {
        let target = alloc::format!("/socket.io/{path}?v=1");
        for method in ["GET", "HEAD"] {
            assert_eq!(
                detect(PREFIX, &request(method, &target)),
                Route::Static(part(&target, path))
            );
        }
        assert_eq!(detect(PREFIX, &request("POST", &target)), Route::Foreign);
    }
    for path in [
        "xsocket.io.js",
        "socket.io.jsx",
        "static/flashsocket/../../x.swf",
        "static/flashsocket/.swf",
        "socket.io.v/../x.js",
        "socket.io.v%2e.js",
        "../x.map",
        "a/b.map",
    ] {
        assert_eq!(get(&alloc::format!("/socket.io/{path}")), Route::Foreign, "{path}");
    }
}

#[test]
fn rows_2_and_3_the_bare_prefix() {
    for target in [
        "/socket.io/?EIO=4&transport=polling",
        "/socket.io?EIO=4&transport=polling",
    ] {
        let engine = engine_io(get(target));
        assert_eq!(engine.version, EngineVersion::V4);
        assert_eq!(engine.transport, EngineTransport::Polling);
        assert_eq!(
            (engine.sid, engine.jsonp, engine.base64, engine.upgrade),
            (None, None, false, None)
        );
    }
    for target in [
        "/socket.io",
        "/socket.io/",
        "/socket.io/?",
        "/socket.io/?EIO=4",
        "/socket.io/?disconnect",
    ] {
        assert_eq!(get(target), Route::NotAProtocolRequest, "{target}");
    }
}

#[test]
fn engine_versions_are_compared_as_text() {
    use EngineVersion::*;
    for (eio, version, revision) in [
        ("EIO=4&", V4, Some(Revision::V4)),
        ("EIO=%34&", V4, Some(Revision::V4)),
        ("EIO=3&", V3, Some(Revision::V3)),
        ("EIO=2&", V2, Some(Revision::V3)),
        ("EIO=1&", Ancient, None),
        ("", Ancient, None),
        ("EIO=5&", Unsupported, None),
        ("EIO=04&", Unsupported, None),
        ("EIO=4.0&", Unsupported, None),
        ("EIO=&", Unsupported, None),
        ("EIO=3&EIO=4&", V4, Some(Revision::V4)),
        ("eio=4&", Ancient, None),
    ] {
        let target = alloc::format!("/socket.io/?{eio}transport=polling");
        let engine = engine_io(get(&target));
        assert_eq!(
            (engine.version, engine.version.revision()),
            (version, revision),
            "{eio}"
        );
    }
}

#[test]
fn engine_transports_are_a_closed_set() {
    use EngineTransport::*;
    for (name, transport) in [
        ("polling", Polling),
        ("websocket", Websocket),
        ("webtransport", Webtransport),
        ("flashsocket", Flashsocket),
        ("constructor", Unknown),
        ("__proto__", Unknown),
        ("Polling", Unknown),
        ("", Unknown),
    ] {
        let target = alloc::format!("/socket.io/?EIO=4&transport={name}");
        assert_eq!(engine_io(get(&target)).transport, transport, "{name}");
    }
}

#[test]
fn engine_parameters() {
    for (query, sid, base64, jsonp) in [
        (
            "EIO=3&transport=polling&t=x&sid=abc&b64=1&j=1);alert(1",
            Some("abc"),
            true,
            Some("1);alert(1"),
        ),
        ("transport=polling&sid=&b64=&j=", None, false, Some("")),
        ("transport=polling&sid=a&sid=b", Some("b"), false, None),
    ] {
        let target = alloc::format!("/socket.io/?{query}");
        let engine = engine_io(get(&target));
        assert_eq!(
            (text(&target, engine.sid), engine.base64, text(&target, engine.jsonp)),
            (sid, base64, jsonp),
            "{query}"
        );
    }
    assert_eq!(
        engine_io(detect(PREFIX, &upgrade("/socket.io/?EIO=4&transport=foo"))).upgrade,
        Some(Handshake::Rfc6455)
    );
}

#[test]
fn rows_4_to_8_protocol_revisions() {
    for target in [
        "/socket.io/1",
        "/socket.io/1/",
        "/socket.io/1//",
        "/socket.io/1/xhr-polling",
        "/socket.io/1/xhr-polling/",
        "/socket.io/1/abc",
    ] {
        for method in ["GET", "POST", "HEAD", "PUT"] {
            assert_eq!(
                detect(PREFIX, &request(method, target)),
                v1_handshake(target, None, None),
                "{target}"
            );
        }
        assert_eq!(
            detect(PREFIX, &request("OPTIONS", target)),
            Route::Legacy09(Legacy09::Preflight)
        );
        assert_eq!(detect(PREFIX, &upgrade(target)), Route::Legacy09(Legacy09::Malformed));
    }
    for target in [
        "/socket.io/1//SID/?disconnect=1",
        "/socket.io/1//SID?disconnect",
        "/socket.io/1/xhr-polling/SID?disconnect",
        "/socket.io/1/nonsense/SID?disconnect",
    ] {
        let session = part(target, "SID");
        assert_eq!(
            get(target),
            Route::Legacy09(Legacy09::Disconnect { session }),
            "{target}"
        );
        assert_eq!(
            detect(PREFIX, &upgrade(target)),
            Route::Legacy09(Legacy09::Malformed),
            "{target}"
        );
    }
    for target in [
        "/socket.io/1//SID/",
        "/socket.io/1/nonsense/SID",
        "/socket.io/1/xhr-multipart/SID",
        "/socket.io/1/xhr-polling/SID/more",
        "/socket.io/1/xhr-polling/SID//",
    ] {
        assert_eq!(get(target), Route::Legacy09(Legacy09::Malformed), "{target}");
    }
    for target in [
        "/socket.io/2/",
        "/socket.io/0/",
        "/socket.io/01/",
        "/socket.io/123/xhr-polling/a",
    ] {
        assert_eq!(get(target), Route::UnknownProtocol, "{target}");
    }
}

#[test]
fn row_9_exchanges() {
    use Exchange::*;
    use Transport::*;
    for (method, path, transport, exchange) in [
        ("GET", "xhr-polling", XhrPolling, Poll),
        ("GET", "xhr-polling/S/1", XhrPolling, Poll),
        ("GET", "jsonp-polling/S/1/0", JsonpPolling, Poll),
        ("GET", "htmlfile//1", Htmlfile, Stream),
        ("GET", "xhr-multipart/", XhrMultipart, Stream),
        ("POST", "xhr-polling/S/send", XhrPolling, Send),
        ("POST", "htmlfile/S/send", Htmlfile, Send),
        ("POST", "xhr-multipart/S/send", XhrMultipart, Send),
        ("POST", "jsonp-polling/S/1/0", JsonpPolling, Send),
        ("OPTIONS", "xhr-polling/S/send", XhrPolling, Preflight),
        ("OPTIONS", "websocket", Websocket, Preflight),
        ("PUT", "xhr-polling/S/1", XhrPolling, BadMethod),
        ("HEAD", "xhr-polling/S/1", XhrPolling, BadMethod),
        ("GET", "websocket", Websocket, Mismatch),
        ("POST", "flashsocket", Flashsocket, Mismatch),
    ] {
        let target = alloc::format!("/socket.io/{path}");
        let legacy = legacy_06(detect(PREFIX, &request(method, &target)));
        assert_eq!(
            (legacy.transport, legacy.exchange),
            (transport, exchange),
            "{method} {path}"
        );
    }
    assert_eq!(
        legacy_06(detect(PREFIX, &upgrade("/socket.io/xhr-polling/S/1"))).exchange,
        Mismatch
    );
}

#[test]
fn websocket_handshakes() {
    for (key, pair, version, handshake) in [
        (true, false, Some("13"), Handshake::Rfc6455),
        (true, false, Some("8"), Handshake::Rfc6455),
        (true, false, Some("7"), Handshake::Rfc6455),
        (true, false, Some("99"), Handshake::Unsupported),
        (true, false, None, Handshake::Unsupported),
        (false, false, Some("13"), Handshake::Unsupported),
        (false, true, None, Handshake::Hixie76),
        (false, false, None, Handshake::Hixie75),
    ] {
        let head = RequestHead {
            upgrade: true,
            websocket_key: key,
            websocket_key_pair: pair,
            websocket_version: version,
            ..request("GET", "/socket.io/websocket")
        };
        let exchange = legacy_06(detect(PREFIX, &head)).exchange;
        assert_eq!(exchange, Exchange::Upgrade(handshake), "{head:?}");
    }
}

#[test]
fn row_10_is_not_ours() {
    for target in [
        "/",
        "/chat",
        "/socket.iox",
        "/socket.iox/1/",
        "/Socket.IO/1/",
        "/socket.io/abc/",
        "/socket.io/%31/",
        "/socket.io/1.0/",
        "/socket.io/0x1/",
        "/socket.io//1/",
        "/socket.io//?EIO=4&transport=polling",
        "/socket.io/foo?EIO=4&transport=polling",
        "/socket.io/XHR-polling/",
        "",
        "*",
    ] {
        assert_eq!(get(target), Route::Foreign, "{target}");
    }
}

/// The cases of docs/protocol/detection.md §5 that depend on the request alone.
#[test]
fn ambiguities() {
    // A session id equal to a transport name: segments count by position.
    let target = "/socket.io/xhr-polling/xhr-polling/1";
    assert_eq!(legacy_06(get(target)).session, Some(part(target, "xhr-polling")));
    // Slashes merged by a proxy: the timestamp stands in the place of the id.
    for (target, session, maybe_timestamp, index) in [
        ("/socket.io/xhr-polling//1795447966090", None, false, None),
        (
            "/socket.io/xhr-polling/1795447966090",
            Some("1795447966090"),
            true,
            None,
        ),
        (
            "/socket.io/xhr-polling/1795447966090/1795447966091",
            Some("1795447966090"),
            false,
            None,
        ),
        (
            "/socket.io/xhr-polling/5515766539492415",
            Some("5515766539492415"),
            false,
            None,
        ),
        ("/socket.io/jsonp-polling//1795447980466/0", None, false, Some(0)),
        (
            "/socket.io/jsonp-polling/1795447980466/0",
            Some("1795447980466"),
            true,
            Some(0),
        ),
        (
            "/socket.io/jsonp-polling/1795447980466/1795447980467/3",
            Some("1795447980466"),
            false,
            Some(3),
        ),
        ("/socket.io/jsonp-polling/", None, false, None),
        (
            "/socket.io/jsonp-polling/8066086367842997/x",
            Some("8066086367842997"),
            false,
            None,
        ),
    ] {
        let legacy = legacy_06(get(target));
        assert_eq!(
            (text(target, legacy.session), legacy.maybe_timestamp, legacy.index),
            (session, maybe_timestamp, index),
            "{target}"
        );
    }
    // The beacon with merged slashes.
    let target = "/socket.io/1/SID/?disconnect=1";
    assert_eq!(get(target), v1_handshake(target, None, Some("SID")));
    let target = "/socket.io/1/xhr-polling/?disconnect=1";
    assert_eq!(get(target), v1_handshake(target, None, None));
    // Other prefixes, with and without a final slash.
    for prefix in ["/engine.io", "/engine.io/"] {
        let route = detect(prefix, &request("GET", "/engine.io/?EIO=4&transport=polling"));
        assert_eq!(engine_io(route).version, EngineVersion::V4);
    }
    assert_eq!(detect("/", &request("GET", "/2/")), Route::UnknownProtocol);
}

/// docs/protocol/detection.md §7, row by row.
#[test]
fn examples() {
    let l = legacy_06(get("/socket.io/xhr-polling//1795447966090"));
    assert_eq!(
        (l.transport, l.session, l.exchange),
        (Transport::XhrPolling, None, Exchange::Poll)
    );

    let target = "/socket.io/xhr-polling/5515766539492415/send";
    let l = legacy_06(detect(PREFIX, &request("POST", target)));
    assert_eq!(
        (text(target, l.session), l.exchange),
        (Some("5515766539492415"), Exchange::Send)
    );

    let target = "/socket.io/jsonp-polling/8066086367842997/1795447980505/0";
    let l = legacy_06(get(target));
    assert_eq!((text(target, l.session), l.index), (Some("8066086367842997"), Some(0)));

    let l = legacy_06(detect(PREFIX, &upgrade("/socket.io/websocket")));
    assert_eq!((l.session, l.exchange), (None, Exchange::Upgrade(Handshake::Rfc6455)));

    let l = legacy_06(get("/socket.io/xhr-multipart/"));
    assert_eq!(
        (l.transport, l.session, l.exchange),
        (Transport::XhrMultipart, None, Exchange::Stream)
    );

    for (target, jsonp) in [
        ("/socket.io/1/?k=v&t=1795447568869", None),
        ("/socket.io/1/?t=1795449297793&jsonp=0", Some(0)),
        ("/socket.io/1/?jsonp=0);alert(1", None),
        ("/socket.io/1/xhr-polling/", None),
    ] {
        assert_eq!(get(target), v1_handshake(target, jsonp, None));
    }

    let target = "/socket.io/1/xhr-polling/f2OB-Gs9-F9dtPdjA7X9?k=v&t=1795447568984";
    let session = part(target, "f2OB-Gs9-F9dtPdjA7X9");
    let expected = v1_transport(session, Transport::XhrPolling, Exchange::Poll, 0);
    assert_eq!(get(target), expected);
    let target = "/socket.io/1/jsonp-polling/SID?t=1&i=2";
    let expected = v1_transport(part(target, "SID"), Transport::JsonpPolling, Exchange::Poll, 2);
    assert_eq!(get(target), expected);
    let target = "/socket.io/1/websocket/SID?k=v";
    let exchange = Exchange::Upgrade(Handshake::Rfc6455);
    let expected = v1_transport(part(target, "SID"), Transport::Websocket, exchange, 0);
    assert_eq!(detect(PREFIX, &upgrade(target)), expected);
    let target = "/socket.io/1//SID/?disconnect=1";
    let session = part(target, "SID");
    assert_eq!(get(target), Route::Legacy09(Legacy09::Disconnect { session }));

    let e = engine_io(get("/socket.io/?EIO=4&transport=polling&t=fmvy2mc2"));
    assert_eq!(
        (e.version, e.transport, e.sid),
        (EngineVersion::V4, EngineTransport::Polling, None)
    );
    let target = "/socket.io/?EIO=3&transport=websocket&sid=abc";
    let e = engine_io(detect(PREFIX, &upgrade(target)));
    assert_eq!(
        (e.version, e.transport),
        (EngineVersion::V3, EngineTransport::Websocket)
    );
    assert_eq!(
        (text(target, e.sid), e.upgrade),
        (Some("abc"), Some(Handshake::Rfc6455))
    );

    let target = "/socket.io/socket.io.js";
    assert_eq!(get(target), Route::Static(part(target, "socket.io.js")));
}

proptest! {
    #[test]
    fn never_panics(any in any::<String>(), target in "/socket.io[/?&=10a-z%-]{0,30}") {
        for target in [&any, &target] {
            for method in ["GET", "POST", "OPTIONS", any.as_str()] {
                let _ = detect(PREFIX, &request(method, target));
                let _ = detect(&any, &upgrade(target));
            }
        }
    }

    #[test]
    fn transports_are_disjoint_families(name in "[a-z-]{1,12}", tail in "[a-z0-9/]{0,12}") {
        // A first segment that is not a digit never belongs to 0.7-0.9 or Engine.IO, whatever
        // follows.
        let target = alloc::format!("/socket.io/{name}/{tail}");
        prop_assert!(matches!(get(&target), Route::Legacy06(_) | Route::Foreign));
    }
}
