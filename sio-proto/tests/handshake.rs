//! How a session begins, and every way in which a handshake is refused (docs/protocol/engine-io.md
//! §4.1, §4.5, §4.7).

mod common;

use common::*;
use sio_proto::server::Peer;
use sio_proto::{Config, Cookie, Cors, Generations, Origins, SameSite, Transports};

/// The body of an error with this code.
fn error(code: u8) -> String {
    let message = [
        "Transport unknown",
        "Session ID unknown",
        "Bad handshake method",
        "Bad request",
        "Forbidden",
        "Unsupported protocol version",
    ][usize::from(code)];
    format!("{{\"code\":{code},\"message\":\"{message}\"}}")
}

fn assert_refused(answer: &str, code: u8, what: &str) {
    assert_eq!(status(answer), if code == 4 { 403 } else { 400 }, "{what}");
    assert_eq!(header(answer, "Content-Type"), Some("application/json"), "{what}");
    assert_eq!(body(answer), error(code), "{what}");
}

#[test]
fn polling_begins_with_the_open_packet_alone() {
    let mut world = World::new(Config::default());
    let answer = world.ask(&get("/socket.io/?EIO=4&transport=polling&t=fmvy2mc2"));
    assert_eq!(status(&answer), 200);
    assert_eq!(header(&answer, "Content-Type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    assert_eq!(header(&answer, "Content-Length"), Some("130"));
    assert_eq!(header(&answer, "Set-Cookie"), None);
    assert_eq!(header(&answer, "Access-Control-Allow-Origin"), None);
    let sid = sid(&answer);
    assert!(sid.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    let open = format!(
        "0{{\"sid\":\"{sid}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}}"
    );
    assert_eq!(body(&answer), open);
    assert_eq!(world.sessions(), 1);
}

/// Every row of the table of errors, in the order of the checks: if a request breaks two rules, the
/// answer names the earlier rule.
#[test]
fn each_error_has_its_code() {
    let mut world = World::new(Config::default().generations(Generations::modern()));
    let sid = world.join_polling();
    let mut cases = Vec::new();
    for transport in [
        "",
        "&transport",
        "&transport=",
        "&transport=constructor",
        "&transport=__proto__",
        "&transport=webtransport",
        "&transport=flashsocket",
        "&transport=Polling",
        "&transport=polling&transport=x",
    ] {
        cases.push(("GET", format!("/socket.io/?EIO=4{transport}"), 0));
        cases.push(("POST", format!("/socket.io/?EIO=4{transport}&sid=x"), 0));
    }
    for unknown in [
        "x",
        "__proto__",
        "constructor",
        "AAAAAAAAAAAAAAAAAAAA",
        "%41",
        &sid[..19],
        &format!("{sid}A"),
    ] {
        cases.push(("GET", format!("{POLLING}&sid={unknown}"), 1));
        cases.push(("POST", format!("{POLLING}&sid={unknown}"), 1));
        cases.push(("GET", format!("/socket.io/?transport=websocket&sid={unknown}"), 1));
    }
    for method in ["POST", "OPTIONS", "PUT", "DELETE", "PATCH", "FROB"] {
        cases.push((method, POLLING.into(), 2));
        cases.push((method, format!("{POLLING}&sid="), 2));
        cases.push((method, "/socket.io/?EIO=9&transport=websocket".into(), 2));
    }
    cases.push(("GET", "/socket.io/?EIO=4&transport=websocket".into(), 3));
    cases.push(("GET", "/socket.io/?EIO=3&transport=websocket".into(), 3));
    cases.push(("GET", websocket(&sid), 3));
    cases.push(("POST", websocket(&sid), 3));
    for version in [
        "EIO=3&", "EIO=2&", "EIO=1&", "EIO=04&", "EIO=4.0&", "EIO=5&", "EIO=&", "EIO&", "eio=4&", "",
    ] {
        cases.push(("GET", format!("/socket.io/?{version}transport=polling"), 5));
    }
    for (method, target, code) in cases {
        let answer = world.ask(&request(method, &target, &[], ""));
        assert_refused(&answer, code, &format!("{method} {target}"));
    }
    assert_eq!(world.sessions(), 1, "none of them was taken for a session");
    assert_eq!(
        status(&world.push(&sid, "42[\"a\"]")),
        200,
        "and the one that is there lives"
    );
}

#[test]
fn head_is_told_like_get_and_has_no_body() {
    let mut world = World::new(Config::default());
    let answer = world.ask(&request("HEAD", POLLING, &[], ""));
    assert_eq!((status(&answer), body(&answer)), (400, ""));
    assert_eq!(world.sessions(), 0);
}

/// On an upgrade the message is plain text, the status is always 400, and the connection ends.
#[test]
fn errors_on_an_upgrade_are_text() {
    let mut world = World::new(Config::default().generations(Generations::modern()));
    let sid = world.join_polling();
    for (target, message) in [
        ("/socket.io/?EIO=4".into(), "Transport unknown"),
        ("/socket.io/?EIO=4&transport=foo".into(), "Transport unknown"),
        ("/socket.io/websocket".into(), "Transport unknown"),
        (websocket("__proto__"), "Session ID unknown"),
        (
            "/socket.io/?EIO=3&transport=websocket".into(),
            "Unsupported protocol version",
        ),
        ("/socket.io/?transport=websocket".into(), "Unsupported protocol version"),
        (websocket(&sid).replace("EIO=4", "EIO=3"), "Bad request"),
        (websocket(&sid).replace("EIO=4&", ""), "Bad request"),
    ] {
        let link = world.open();
        world.send(link, &upgrade(&target));
        let answer = world.received(link);
        assert_eq!(status(&answer), 400, "{target}");
        assert_eq!(header(&answer, "Content-Type"), Some("text/html"), "{target}");
        assert_eq!(header(&answer, "Connection"), Some("close"), "{target}");
        assert_eq!(body(&answer), message, "{target}");
        assert_eq!(world.ended.pop(), Some(link), "{target}");
    }
    assert_eq!(status(&world.push(&sid, "42[\"a\"]")), 200, "the session is untouched");
}

#[test]
fn an_incomplete_websocket_handshake_is_refused() {
    let mut world = World::new(Config::default());
    for (missing, and, code) in [
        (Some("Sec-WebSocket-Key"), "", 400),
        (Some("Sec-WebSocket-Version"), "", 400),
        (Some("Sec-WebSocket-Version"), "Sec-WebSocket-Version: 12", 400),
        (Some("Sec-WebSocket-Key"), "Sec-WebSocket-Key: short", 400),
        (Some("Connection"), "", 400),
        (Some("Upgrade"), "Upgrade: h2c", 400),
    ] {
        let mut headers: Vec<&str> = UPGRADE.to_vec();
        headers.retain(|line| missing.is_none_or(|name| !line.starts_with(&format!("{name}:"))));
        headers.extend((!and.is_empty()).then_some(and));
        let answer = world.ask(&request("GET", "/socket.io/?EIO=4&transport=websocket", &headers, ""));
        assert_eq!(status(&answer), code, "{missing:?} {and}");
        if and.contains("12") {
            assert!(header(&answer, "Sec-WebSocket-Version").unwrap().contains("13"));
        }
    }
    assert_eq!(world.sessions(), 0);
}

#[test]
fn an_upgrade_that_asks_for_polling_is_agreed_to_and_closed() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &upgrade(POLLING));
    assert_eq!(world.frames(link), ["close"]);
    assert_eq!(world.ended, [link]);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn a_websocket_session_begins_with_the_open_packet_and_no_upgrades() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, WEBSOCKET);
    let answer = world.received(link);
    assert_eq!(status(&answer), 101);
    assert_eq!(
        header(&answer, "Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(header(&answer, "Sec-WebSocket-Protocol"), None);
    assert!(answer.contains("\"upgrades\":[],"));
}

#[test]
fn the_first_subprotocol_is_echoed() {
    let mut world = World::new(Config::default());
    let mut headers = UPGRADE.to_vec();
    headers.push("Sec-WebSocket-Protocol: chat, superchat");
    let answer = world.ask(&request("GET", "/socket.io/?EIO=4&transport=websocket", &headers, ""));
    assert_eq!(
        (status(&answer), header(&answer, "Sec-WebSocket-Protocol")),
        (101, Some("chat"))
    );
}

#[test]
fn a_generation_or_transport_that_is_off_is_refused_as_by_a_server_without_it() {
    let transports = |polling, websocket| Transports::default().polling(polling).websocket(websocket);
    let mut world = World::new(Config::default().transports(transports(true, false)));
    assert!(world.ask(&get(POLLING)).contains("\"upgrades\":[],"));
    let answer = world.ask(WEBSOCKET);
    assert_eq!((status(&answer), body(&answer)), (400, "Transport unknown"));

    let mut world = World::new(Config::default().transports(transports(false, true)));
    assert_refused(&world.ask(&get(POLLING)), 0, "polling is off");
    let link = world.open();
    world.send(link, WEBSOCKET);
    assert_eq!(world.frames(link).len(), 1);

    let mut config = Config::default();
    config.generations.engine4 = false;
    assert_refused(&World::new(config).ask(&get(POLLING)), 5, "Engine.IO 4 is off");

    let mut world = World::new(Config::default().generations(Generations::modern()));
    assert_refused(&world.ask(&get("/socket.io/xhr-polling//1")), 0, "0.6 is off");
    let mut config = Config::default();
    config.allow_upgrades = false;
    assert!(World::new(config).ask(&get(POLLING)).contains("\"upgrades\":[],"));
}

#[test]
fn the_path_is_a_prefix() {
    let mut world = World::new(Config::default().path("/x/io"));
    let answer = world.ask(&get("/x/io/?EIO=4&transport=polling"));
    assert_eq!(status(&answer), 200);
    let answer = world.ask(&get("/x/io/foo?EIO=4&transport=polling"));
    assert_eq!(status(&answer), 200, "whatever stands behind it");
    let mut config = Config::default();
    config.engine_path = Some("/engine.io".into());
    let mut world = World::new(config);
    let raw = sid(&world.ask(&get("/engine.io/?EIO=4&transport=polling")));
    assert_eq!(world.heard(), ["open"]);
    assert_refused(&world.fetch(&raw), 1, "the id of another path is unknown");
    let answer = world.ask(&post(
        &format!("/engine.io/?EIO=4&transport=polling&sid={raw}"),
        "4hi\u{1e}bAQI",
    ));
    assert_eq!(status(&answer), 200);
    assert_eq!(world.heard(), ["Text(\"hi\")", "Binary(b\"\\x01\\x02\")"]);
}

#[test]
fn the_cookie_is_set_by_the_handshake_of_polling_alone() {
    let mut world = World::new(Config::default().cookie(Cookie::default()));
    let answer = world.ask(&get(POLLING));
    let sid = sid(&answer);
    let cookie = format!("io={sid}; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(header(&answer, "Set-Cookie"), Some(&*cookie));
    let answer = world.push(&sid, "40");
    assert_eq!((status(&answer), header(&answer, "Set-Cookie")), (200, None));
    assert_eq!(header(&world.fetch(&sid), "Set-Cookie"), None);
    assert_eq!(header(&world.ask(WEBSOCKET), "Set-Cookie"), None);

    let cookie = Cookie {
        name: "s".into(),
        path: "/p".into(),
        http_only: false,
        same_site: SameSite::None,
        secure: true,
        ..Cookie::default()
    };
    let mut world = World::new(Config::default().cookie(cookie));
    let answer = world.ask(&get(POLLING));
    let expected = format!("s={}; Path=/p; Secure; SameSite=None", common::sid(&answer));
    assert_eq!(header(&answer, "Set-Cookie"), Some(&*expected));
}

#[test]
fn cors_headers_stand_on_every_answer() {
    let page = "Origin: http://good.example";
    let good = Some("http://good.example");
    let cors = Cors::list(["http://good.example"]).with_credentials();
    let mut world = World::new(Config::default().cors(cors));
    let mut sid = String::new();
    for (method, target, more, code) in [
        ("GET", POLLING, &[][..], 200),
        ("GET", "/socket.io/?EIO=4&transport=foo", &[], 400),
        ("POST", "&sid", &[], 200),
        ("GET", "&sid", &[], 200),
        ("GET", "/socket.io/?EIO=4&transport=websocket", &UPGRADE, 101),
    ] {
        let target = if target == "&sid" { session(&sid) } else { target.into() };
        let mut headers = more.to_vec();
        headers.push(page);
        let answer = world.ask(&request(
            method,
            &target,
            &headers,
            if method == "POST" { "40" } else { "" },
        ));
        assert_eq!(status(&answer), code, "{method} {target}");
        assert_eq!(
            header(&answer, "Access-Control-Allow-Origin"),
            good,
            "{method} {target}"
        );
        assert_eq!(
            header(&answer, "Access-Control-Allow-Credentials"),
            Some("true"),
            "{method} {target}"
        );
        assert_eq!(header(&answer, "Vary"), Some("Origin"), "{method} {target}");
        if code == 200 && sid.is_empty() {
            sid = common::sid(&answer);
        }
    }

    let preflight = [
        page,
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type",
    ];
    for target in [POLLING, &session(&sid), "/socket.io/?transport=nonsense"] {
        let answer = world.ask(&request("OPTIONS", target, &preflight, ""));
        assert_eq!((status(&answer), body(&answer)), (204, ""), "{target}");
        assert_eq!(header(&answer, "Access-Control-Allow-Origin"), good);
        assert_eq!(header(&answer, "Access-Control-Allow-Headers"), Some("content-type"));
        assert!(
            header(&answer, "Access-Control-Allow-Methods")
                .unwrap()
                .contains("POST")
        );
        assert_eq!(header(&answer, "Vary"), Some("Origin, Access-Control-Request-Headers"));
    }
    let stranger = ["Origin: http://evil.example", "Access-Control-Request-Method: POST"];
    let answer = world.ask(&request("OPTIONS", POLLING, &stranger, ""));
    assert_eq!(
        header(&answer, "Access-Control-Allow-Origin"),
        None,
        "is not told that it may"
    );

    let mut world = World::new(Config::default().cors(Cors::any()));
    let answer = world.ask(&request("GET", POLLING, &["Origin: http://any.example"], ""));
    assert_eq!(status(&answer), 200);
    assert_eq!(header(&answer, "Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(header(&answer, "Access-Control-Allow-Credentials"), None);
}

/// The rule for origins applies to both transports. CORS alone does not stop a page from opening a
/// websocket.
#[test]
fn who_may_open_a_session() {
    let listed = || Config::default().cors(Cors::list(["https://good.example"]));
    let cases = [
        (Config::default(), None, true),
        (Config::default(), Some("http://localhost"), true),
        (Config::default(), Some("https://LOCALHOST:443"), true),
        (Config::default(), Some("http://localhost:80"), true),
        (Config::default(), Some("http://localhost:8080"), false),
        (Config::default(), Some("http://evil.example"), false),
        (Config::default(), Some("http://localhost.evil.example"), false),
        (Config::default(), Some("null"), false),
        (Config::default(), Some(""), false),
        (listed(), Some("https://good.example"), true),
        (listed(), Some("http://good.example"), false),
        (listed(), Some("https://good.example.evil"), false),
        (listed(), Some("http://localhost"), true),
        (Config::default().cors(Cors::any()), Some("http://evil.example"), true),
        (
            Config::default().origins(Origins::Any),
            Some("http://evil.example"),
            true,
        ),
        (Config::default().origins(Origins::Any), Some("null"), true),
    ];
    for (config, origin, allowed) in cases {
        let what = format!("{:?} {:?} {origin:?}", config.cors, config.origins);
        let mut world = World::new(config);
        let line = origin.map(|o| format!("Origin: {o}"));
        let mut headers: Vec<&str> = line.as_deref().into_iter().collect();
        let answer = world.ask(&request("GET", POLLING, &headers, ""));
        if allowed {
            assert_eq!(status(&answer), 200, "{what}");
        } else {
            assert_eq!(status(&answer), 403, "{what}");
            let refusal =
                "{\"code\":4,\"message\":\"Forbidden\",\"hint\":\"this origin is not one of Config::origins\"}";
            assert_eq!(body(&answer), refusal, "{what}");
        }
        headers.extend(UPGRADE);
        let answer = world.ask(&request("GET", "/socket.io/?EIO=4&transport=websocket", &headers, ""));
        assert_eq!(status(&answer), if allowed { 101 } else { 400 }, "{what}");
        if !allowed {
            let refusal = "Forbidden: this origin is not one of Config::origins";
            assert_eq!(body(&answer), refusal, "{what}");
        }
        assert_eq!(world.sessions(), if allowed { 2 } else { 0 });
    }
}

#[test]
fn control_characters_in_an_origin_open_nothing() {
    for byte in ["\u{1}", "\u{7f}", "a\rb", "\u{0}"] {
        let mut world = World::new(Config::default().origins(Origins::Any));
        let line = format!("Origin: http://a{byte}");
        let answer = world.ask(&request("GET", POLLING, &[&line], ""));
        assert_eq!((status(&answer), world.sessions()), (400, 0), "{byte:?}");
    }
}

#[test]
fn what_is_not_ours_is_handed_to_the_application() {
    use sio_proto::server::{Output, Server};
    use sio_proto::{BytesMut, Time};
    let mut server = Server::new(Config::default(), [0; 16], Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
    for target in [
        "/",
        "/socket.iox",
        "/socket.io",
        "/socket.io?x=1",
        "/socket.io/socket.io.js",
    ] {
        let link = server.open(Peer::default());
        server.handle_bytes(Time::ZERO, link, &mut BytesMut::from(&get(target)[..]));
        assert!(
            matches!(server.poll_output(), Some(Output::Request(l, request)) if l == link && &*request.target == target),
            "{target}"
        );
    }
}
