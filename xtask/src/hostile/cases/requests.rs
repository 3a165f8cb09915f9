//! Requests that are too large, that can be read in two ways, or that write into an answer.

use crate::hostile::rows::{End, Row, Say};
use crate::hostile::session::Wire;
use crate::hostile::wire;

const NOBODY: &[Wire] = &[Wire::Connection];
const MODERN: &[Wire] = &[Wire::Polling4, Wire::Polling3];
const OLD: &[Wire] = &[Wire::Polling09, Wire::Polling06];
const POLLING: &[Wire] = &[Wire::Polling4, Wire::Polling3, Wire::Polling09, Wire::Polling06];

/// A request behind the malformed one. If the server reads it, it answers 404.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";

const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";

/// The request is refused before its session is known, so the session lives.
const fn refused(name: &'static str, status: u16, make: fn(&str) -> Vec<u8>) -> Row {
    Row {
        name,
        advisories: &[],
        say: Say::Request(make),
        ends: match status {
            501 => &[(POLLING, End::Status(501))],
            _ => &[(POLLING, End::Status(400))],
        },
    }
}

/// The request is for no session.
const fn lonely(
    name: &'static str,
    advisories: &'static [&'static str],
    end: &'static [(&'static [Wire], End)],
    make: fn(&str) -> Vec<u8>,
) -> Row {
    Row {
        name,
        advisories,
        say: Say::Request(make),
        ends: end,
    }
}

/// A POST with these header lines, the body `4x`, and a request behind it.
fn post(target: &str, headers: &str) -> Vec<u8> {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n4x{HIDDEN}").into_bytes()
}

/// A POST whose body is these bytes of chunks, and a request behind it.
fn chunked(target: &str, chunks: &str) -> Vec<u8> {
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    format!("{head}{chunks}{HIDDEN}").into_bytes()
}

/// A POST of a form to a session of 0.9, as JSONP sends it. Its field should be a string of JSON.
fn form09(target: &str, data: &str) -> Vec<u8> {
    let target = target.replace("xhr-polling", "jsonp-polling");
    wire::post_form(&format!("{target}?t=1&i=0"), "d", data).into_bytes()
}

fn get(target: &str) -> Vec<u8> {
    wire::get(target).into_bytes()
}

const TOO_LARGE: &[(&[Wire], End)] = &[(MODERN, End::Gone(413)), (OLD, End::Status(413))];
const BROKEN_BODY: &[(&[Wire], End)] = &[(POLLING, End::Broken(400))];
const LONG_BODY: &[(&[Wire], End)] = &[(POLLING, End::Broken(413))];
const KEPT_400: &[(&[Wire], End)] = &[(NOBODY, End::Kept(400))];

pub(super) const OVERSIZE: &[Row] = &[
    lonely("target", &[], &[(NOBODY, End::Status(414))], |_| {
        get(&format!("{HANDSHAKE}&x={}", "x".repeat(17_000)))
    }),
    lonely("head", &[], &[(NOBODY, End::Status(431))], |_| {
        wire::get_with(HANDSHAKE, &format!("Host: localhost\r\nX: {}\r\n", "x".repeat(17_000))).into_bytes()
    }),
    lonely("head-without-end", &[], &[(NOBODY, End::Status(431))], |_| {
        format!(
            "GET {HANDSHAKE} HTTP/1.1\r\nHost: localhost\r\nX: {}",
            "x".repeat(40_000)
        )
        .into_bytes()
    }),
    lonely("fields", &[], &[(NOBODY, End::Status(431))], |_| {
        wire::get_with(HANDSHAKE, &format!("Host: localhost\r\n{}", "X: 1\r\n".repeat(120))).into_bytes()
    }),
    // The fields in front of `Upgrade` are as many as a parser takes, so that it drops `Upgrade`.
    lonely(
        "fields-upgrade",
        &["CVE-2024-37890"],
        &[(NOBODY, End::Status(431))],
        |_| {
            let fields = format!("Host: localhost\r\n{}", "X: 1\r\n".repeat(2000));
            wire::upgrade_with("/socket.io/?EIO=4&transport=websocket", &fields).into_bytes()
        },
    ),
    lonely("body-length", &[], TOO_LARGE, |target| {
        post(target, "Content-Length: 1000001\r\n")
    }),
    lonely("body-length-64-bits", &[], TOO_LARGE, |target| {
        post(target, "Content-Length: 18446744073709551615\r\n")
    }),
    lonely("body-chunks-bytes", &[], TOO_LARGE, |target| {
        chunked(target, &format!("7ffff\r\n{}\r\n", "4".repeat(0x7ffff)).repeat(2))
    }),
    lonely(
        "body-chunks-number",
        &["CVE-2020-36048", "GHSA-j4f2-536g-r55m"],
        TOO_LARGE,
        |target| chunked(target, &format!("{}0\r\n\r\n", "1\r\n4\r\n".repeat(10_001))),
    ),
    lonely("chunk-length", &[], TOO_LARGE, |target| {
        chunked(target, "ffffffffffffffff\r\n4")
    }),
    lonely("chunk-extension", &[], LONG_BODY, |target| {
        chunked(target, &format!("2;x={}\r\n4x\r\n0\r\n\r\n", "x".repeat(9000)))
    }),
    lonely("trailers", &[], LONG_BODY, |target| {
        chunked(target, &format!("2\r\n4x\r\n0\r\n{}\r\n", "X: 1\r\n".repeat(4000)))
    }),
];

pub(super) const SMUGGLING: &[Row] = &[
    refused("length-and-chunked", 400, |target| {
        post(target, "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n")
    }),
    refused("chunked-and-length", 400, |target| {
        post(target, "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n")
    }),
    refused("chunked-in-1.0", 400, |target| {
        let head = format!("POST {target} HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
        format!("{head}0\r\n\r\n{HIDDEN}").into_bytes()
    }),
    refused("chunked-unknown", 501, |target| {
        post(target, "Transfer-Encoding: xchunked\r\n")
    }),
    refused("chunked-twice", 501, |target| {
        post(target, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")
    }),
    refused("chunked-list", 501, |target| {
        post(target, "Transfer-Encoding: identity, chunked\r\n")
    }),
    refused("chunked-space", 400, |target| {
        post(target, "Transfer-Encoding : chunked\r\n")
    }),
    refused("chunked-tab", 400, |target| {
        post(target, "Transfer-Encoding: \x0bchunked\r\n")
    }),
    refused("chunked-folded", 400, |target| {
        post(target, "Transfer-Encoding:\r\n chunked\r\n")
    }),
    refused("lengths-differ", 400, |target| {
        post(target, "Content-Length: 2\r\nContent-Length: 0\r\n")
    }),
    refused("lengths-same", 400, |target| {
        post(target, "Content-Length: 2\r\nContent-Length: 2\r\n")
    }),
    refused("length-list", 400, |target| post(target, "Content-Length: 2, 2\r\n")),
    refused("length-plus", 400, |target| post(target, "Content-Length: +2\r\n")),
    refused("length-minus", 400, |target| post(target, "Content-Length: -2\r\n")),
    refused("length-hex", 400, |target| post(target, "Content-Length: 0x2\r\n")),
    refused("length-overflow", 400, |target| {
        post(target, "Content-Length: 18446744073709551618\r\n")
    }),
    refused("length-space", 400, |target| post(target, "Content-Length : 2\r\n")),
    refused("bare-lf", 400, |target| post(target, "Content-Length: 2\nX: 1\r\n")),
    refused("bare-cr", 400, |target| {
        post(target, "X: 1\rContent-Length: 0\r\nContent-Length: 2\r\n")
    }),
    refused("nul", 400, |target| post(target, "X: \0\r\nContent-Length: 2\r\n")),
    refused("folded", 400, |target| {
        post(target, "X: 1\r\n Content-Length: 0\r\nContent-Length: 2\r\n")
    }),
    refused("host-twice", 400, |target| {
        post(target, "Host: other\r\nContent-Length: 2\r\n")
    }),
    refused("host-missing", 400, |target| {
        format!("POST {target} HTTP/1.1\r\nContent-Length: 2\r\n\r\n4x{HIDDEN}").into_bytes()
    }),
    refused("version-missing", 400, |target| {
        format!("POST {target}\r\n{HIDDEN}").into_bytes()
    }),
    refused("version-twice", 400, |target| {
        format!("POST {target} HTTP/1.1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n4x{HIDDEN}")
            .into_bytes()
    }),
    lonely("chunk-overflow", &[], BROKEN_BODY, |target| {
        chunked(target, "10000000000000002\r\n4x\r\n0\r\n\r\n")
    }),
    lonely("chunk-minus", &[], BROKEN_BODY, |target| {
        chunked(target, "-2\r\n4x\r\n0\r\n\r\n")
    }),
    lonely("chunk-hex", &[], BROKEN_BODY, |target| {
        chunked(target, "0x2\r\n4x\r\n0\r\n\r\n")
    }),
    lonely("chunk-lf", &[], BROKEN_BODY, |target| chunked(target, "2\n4x\n0\n\n")),
    lonely("chunk-without-end", &[], BROKEN_BODY, |target| {
        chunked(target, "2\r\n4xyz0\r\n\r\n")
    }),
    lonely("chunk-size-missing", &[], BROKEN_BODY, |target| {
        chunked(target, "\r\n4x\r\n0\r\n\r\n")
    }),
    // The body of a GET belongs to the GET.
    lonely("get-with-body", &[], &[(NOBODY, End::Kept(200))], |_| {
        let head = format!("Host: localhost\r\nContent-Length: {}\r\n", HIDDEN.len());
        format!("{}{HIDDEN}", wire::get_with("/__stats", &head)).into_bytes()
    }),
    lonely("http-2", &[], &[(NOBODY, End::Status(505))], |_| {
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()
    }),
    lonely("tunnel", &[], &[(NOBODY, End::Status(501))], |_| {
        format!("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n{HIDDEN}").into_bytes()
    }),
    lonely("tls", &[], &[(NOBODY, End::Status(400))], |_| {
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec()
    }),
];

pub(super) const ROUTES: &[Row] = &[
    lonely(
        "upgrade-unknown-transport",
        &["CVE-2023-31125", "GHSA-q9mw-68c2-j6m5"],
        &[(NOBODY, End::Status(400))],
        |_| wire::upgrade("/socket.io/?EIO=4&transport=foo").into_bytes(),
    ),
    lonely(
        "upgrade-inherited-transport",
        &[],
        &[(NOBODY, End::Status(400))],
        |_| wire::upgrade("/socket.io/?EIO=4&transport=constructor").into_bytes(),
    ),
    lonely(
        "upgrade-inherited-session",
        &["GHSA-gr94-w7qr-f4j3"],
        &[(NOBODY, End::Status(400))],
        |_| wire::upgrade("/socket.io/?EIO=4&transport=websocket&sid=__proto__").into_bytes(),
    ),
    lonely("inherited-transport", &[], KEPT_400, |_| {
        get("/socket.io/?EIO=4&transport=__proto__")
    }),
    lonely("inherited-session", &["GHSA-gr94-w7qr-f4j3"], KEPT_400, |_| {
        get(&format!("{HANDSHAKE}&sid=__proto__"))
    }),
    lonely("inherited-parameters", &[], &[(NOBODY, End::Answer(200))], |_| {
        get(&format!("{HANDSHAKE}&__proto__=1&constructor=2&hasOwnProperty=3"))
    }),
    lonely(
        "octet-stream",
        &["CVE-2026-59725", "GHSA-r635-g3xr-vw7x"],
        &[(&[Wire::Polling4], End::GoneKept(400))],
        |target| {
            let head = "Content-Type: application/octet-stream\r\nContent-Length: 2\r\n";
            format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n4x").into_bytes()
        },
    ),
    lonely(
        "other-revision",
        &[],
        &[(&[Wire::Polling4], End::Kept(400))],
        |target| get(&target.replace("EIO=4", "EIO=3")),
    ),
    lonely(
        "other-revision-3",
        &[],
        &[(&[Wire::Polling3], End::Kept(400))],
        |target| get(&target.replace("EIO=3", "EIO=4")),
    ),
    lonely(
        "upgrade-other-revision",
        &[],
        &[(&[Wire::Polling4], End::Status(400))],
        |target| {
            let target = target.replace("polling", "websocket").replace("EIO=4", "EIO=3");
            wire::upgrade(&target).into_bytes()
        },
    ),
    lonely("upgrade-short-key", &[], &[(NOBODY, End::Status(400))], |_| {
        let request = wire::upgrade("/socket.io/?EIO=4&transport=websocket");
        request.replace("dGhlIHNhbXBsZSBub25jZQ==", "short").into_bytes()
    }),
    lonely("upgrade-version", &[], &[(NOBODY, End::Status(400))], |_| {
        let request = wire::upgrade("/socket.io/?EIO=4&transport=websocket");
        request.replace("Version: 13", "Version: 99").into_bytes()
    }),
    lonely(
        "subprotocol-spaces",
        &["CVE-2021-32640"],
        &[(NOBODY, End::Answer(101))],
        |_| {
            let field = format!(
                "Host: localhost\r\nSec-WebSocket-Protocol: b{}x\r\n",
                " ".repeat(15_000)
            );
            wire::upgrade_with("/socket.io/?EIO=4&transport=websocket", &field).into_bytes()
        },
    ),
    lonely("extensions-inherited", &[], &[(NOBODY, End::Answer(101))], |_| {
        let field = "Host: localhost\r\nSec-WebSocket-Extensions: constructor, __proto__; __proto__=1\r\n";
        wire::upgrade_with("/socket.io/?EIO=4&transport=websocket", field).into_bytes()
    }),
    lonely(
        "upgrade-goodbye-09",
        &[],
        &[(&[Wire::Polling09], End::Refused)],
        |target| wire::upgrade(&format!("{}?disconnect=1", target.replace("xhr-polling", "websocket"))).into_bytes(),
    ),
    lonely("jsonp-without-digits-06", &[], KEPT_400, |_| {
        get("/socket.io/jsonp-polling/")
    }),
    lonely(
        "form-not-a-string-09",
        &[],
        &[(&[Wire::Polling09], End::Answer(200))],
        |target| form09(target, "{\"a\":[1]}"),
    ),
    lonely(
        "form-empty-09",
        &[],
        &[(&[Wire::Polling09], End::Answer(200))],
        |target| form09(target, ""),
    ),
    lonely("injected-session", &[], KEPT_400, |_| {
        get(&format!("{HANDSHAKE}&sid=x%0d%0aX-Injected:%201%0d%0a%0d%0a"))
    }),
    lonely("injected-path", &[], &[(NOBODY, End::Kept(404))], |_| {
        get("/else%0d%0aX-Injected:%201/")
    }),
    lonely("injected-origin", &[], &[(NOBODY, End::Answer(200))], |_| {
        wire::get_with(
            HANDSHAKE,
            "Host: localhost\r\nOrigin: http://good.example%0d%0aX-Injected:%201\r\n",
        )
        .into_bytes()
    }),
    lonely("injected-origin-cr", &[], &[(NOBODY, End::Status(400))], |_| {
        wire::get_with(
            HANDSHAKE,
            "Host: localhost\r\nOrigin: http://good.example\rX-Injected: 1\r\n",
        )
        .into_bytes()
    }),
];
