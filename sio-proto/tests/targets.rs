//! The forms in which a request may be written: its target and its head.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use common::*;
use sio_proto::server::{Delivery, Output, Peer, Server};
use sio_proto::{BytesMut, Config, Origins, Time};

const QUERY: &str = "?EIO=4&transport=polling";

/// The status of the answer. `Err` if the request is given to the application; it holds the target
/// that the application sees.
fn ask(config: Config, bytes: &[u8]) -> Result<u16, String> {
    let mut server = Server::new(config, [7; 16], Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
    let link = server.open(Peer::default());
    server.handle_bytes(Time::ZERO, link, &mut BytesMut::from(bytes));
    // The refusal of a stranger is reported beside the answer.
    let mut outputs = std::iter::from_fn(|| server.poll_output());
    match outputs.find(|output| !matches!(output, Output::Delivery(Delivery::Stranger(_)))) {
        Some(Output::Bytes(_, bytes)) => Ok(status(&String::from_utf8_lossy(&bytes))),
        Some(Output::Request(_, request)) => Err(request.target.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Hardening B6. A target in absolute form means its path, and its host is the host of the request
/// (RFC 9112 §3.2.2).
#[test]
fn an_absolute_target_is_its_path() {
    for host in [
        "http://localhost",
        "HTTPS://LOCALHOST:443",
        "http://[::1]:80",
        "ws://a.example",
    ] {
        let target = format!("{host}/socket.io/{QUERY}");
        assert_eq!(ask(Config::default(), &get(&target)), Ok(200), "{target}");
        assert_eq!(
            ask(Config::default(), &get(&format!("{host}/page?x=1"))),
            Err("/page?x=1".into())
        );
        assert_eq!(
            ask(Config::default(), &get(&format!("{host}?x=1"))),
            Err("/?x=1".into())
        );
        assert_eq!(ask(Config::default(), &get(host)), Err("/".into()));
    }
    // The rule of the same host uses the host of the target, whatever `Host` says.
    for (host, origin, expected) in [
        ("a.example", "http://a.example", 200),
        ("b.example", "http://b.example", 403),
    ] {
        let target = format!("http://a.example/socket.io/{QUERY}");
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
        assert_eq!(ask(Config::default(), head.as_bytes()), Ok(expected), "{origin}");
    }
    let bare = format!("GET http://a.example/socket.io/{QUERY} HTTP/1.0\r\nOrigin: http://a.example\r\n\r\n");
    assert_eq!(ask(Config::default(), bare.as_bytes()), Ok(200), "HTTP/1.0 has no Host");
}

/// Hardening B6. The other forms are answered, too.
#[test]
fn targets_that_are_no_path() {
    assert_eq!(
        ask(Config::default(), &request("OPTIONS", "*", &[], "")),
        Err("*".into())
    );
    for (method, target, expected) in [
        ("GET", "*", 400),
        ("CONNECT", "localhost:443", 501),
        ("GET", "localhost:443", 400),
        ("GET", "socket.io/", 400),
        ("GET", "http:///socket.io/", 400),
        ("GET", "http://user@localhost/socket.io/", 400),
        ("GET", "http://", 400),
        ("GET", "://a/", 400),
    ] {
        let bytes = request(method, target, &[], "");
        assert_eq!(ask(Config::default(), &bytes), Ok(expected), "{method} {target}");
    }
    assert_eq!(ask(Config::default(), &get("ftp://a/b")), Err("ftp://a/b".into()));
}

/// Hardening B7. API: addTrailingSlash: false.
#[test]
fn the_final_slash_may_be_missing() {
    let (with, without) = (format!("/socket.io/{QUERY}"), format!("/socket.io{QUERY}"));
    assert_eq!(ask(Config::default(), &get(&with)), Ok(200));
    assert_eq!(ask(Config::default(), &get(&without)), Ok(200));
    assert_eq!(ask(Config::default(), &get("/socket.io?EIO=4")), Ok(400));
    for target in ["/socket.io", "/socket.io?x=1", "/socket.iox?EIO=4&transport=polling"] {
        assert_eq!(ask(Config::default(), &get(target)), Err(target.into()));
    }
    let strict = || Config::default().add_trailing_slash(true);
    assert_eq!(ask(strict(), &get(&with)), Ok(200));
    assert_eq!(ask(strict(), &get(&without)), Err(without));
}

/// Hardening B14. Heads that are as large as proxies and cookies make them.
#[test]
fn heads_as_proxies_make_them() {
    let config = || Config::default().origins(Origins::Any);
    let fields = |count: usize| (0..count).map(|at| format!("x-{at}: y")).collect::<Vec<_>>();
    for (count, expected) in [(99, 200), (100, 431)] {
        let fields = fields(count);
        let lines: Vec<&str> = fields.iter().map(String::as_str).collect();
        // `Host` is one field more.
        let head = request("GET", &format!("/socket.io/{QUERY}"), &lines, "");
        assert_eq!(ask(config(), &head), Ok(expected), "{count}");
    }
    for (length, expected) in [(9_000, 200), (16_000, 200), (16_385, 414), (100_000, 414)] {
        let target = format!("/socket.io/{QUERY}&x=");
        let target = format!("{target}{}", "y".repeat(length - target.len()));
        assert_eq!(ask(config(), &get(&target)), Ok(expected), "{length}");
    }
    let cookie = format!("Cookie: {}", "y".repeat(16_384));
    assert_eq!(ask(config(), &request("GET", "/socket.io/", &[&cookie], "")), Ok(431));
}
