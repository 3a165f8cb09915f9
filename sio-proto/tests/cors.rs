//! The CORS settings of an operator, and the headers that browsers get.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{World, request};
use sio_proto::server::{Output, Peer, Server};
use sio_proto::{BytesMut, Config, Cors, Time};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const GOOD: &str = "Origin: https://a.good.example";
const EVIL: &str = "Origin: https://evil.example";
const ASKS: [&str; 2] = [
    "Access-Control-Request-Method: POST",
    "Access-Control-Request-Headers: x-a",
];

/// API: cors: methods, allowedHeaders, exposedHeaders, maxAge.
#[test]
fn what_is_set_is_what_browsers_are_told() {
    let cors = Cors::list(["https://a.good.example"])
        .methods(["GET", "POST"])
        .allowed_headers(["authorization", "content-type"])
        .exposed_headers(["x-request-id", "x-node"])
        .max_age(Duration::from_millis(600_900));
    let mut world = World::new(Config::default().cors(cors));
    let answer = world.reply(&request("OPTIONS", POLLING, &[GOOD, ASKS[0], ASKS[1]], ""));
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("Access-Control-Allow-Origin", "https://a.good.example"),
        ("Access-Control-Allow-Methods", "GET,POST"),
        ("Access-Control-Allow-Headers", "authorization,content-type"),
        ("Access-Control-Expose-Headers", "x-request-id,x-node"),
        ("Access-Control-Max-Age", "600"),
        // The headers that may be sent do not depend on the request.
        ("Vary", "Origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let answer = world.reply(&request("GET", POLLING, &[GOOD], ""));
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("Access-Control-Expose-Headers"),
        Some("x-request-id,x-node")
    );
    for name in ["Methods", "Headers"] {
        assert_eq!(answer.header(&format!("Access-Control-Allow-{name}")), None);
    }
    assert_eq!(answer.header("Access-Control-Max-Age"), None);
}

/// API: cors: an empty list of allowed headers allows none, whatever a preflight asks for.
#[test]
fn none_is_not_the_default() {
    let none: [&str; 0] = [];
    let cors = Cors::any().allowed_headers(none).exposed_headers(none);
    let mut world = World::new(Config::default().cors(cors));
    let answer = world.reply(&request("OPTIONS", POLLING, &[GOOD, ASKS[0], ASKS[1]], ""));
    for name in ["Access-Control-Allow-Headers", "Access-Control-Expose-Headers", "Vary"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}

/// Newcomers D8. API: cors: origin by pattern or function. Pages that may read answers may open a
/// session, and no others may.
#[test]
fn origins_by_pattern_and_by_function() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let rule = Cors::rule(move |origin| {
        counted.fetch_add(1, Ordering::Relaxed);
        origin == "https://a.good.example"
    });
    for cors in [Cors::patterns(["https://*.good.example"]).unwrap(), rule] {
        let mut world = World::new(Config::default().cors(cors));
        for (page, status, allowed) in [
            (GOOD, 200, Some("https://a.good.example")),
            (EVIL, 403, None),
            ("Accept: */*", 200, None),
        ] {
            let before = asked.load(Ordering::Relaxed);
            let answer = world.reply(&request("GET", POLLING, &[page], ""));
            assert_eq!(answer.status, status, "{page}");
            assert_eq!(answer.header("Access-Control-Allow-Origin"), allowed, "{page}");
            assert_eq!(answer.header("Vary"), Some("Origin"), "{page}");
            assert!(asked.load(Ordering::Relaxed) - before <= 1, "asked once for a request");
        }
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

/// API: cors: preflightContinue. The application answers the preflight, and no other request.
#[test]
fn preflights_may_be_the_applications() {
    let foreign = |method: &str, target: &str| {
        let config = Config::default().cors(Cors::any().preflight_continue(true));
        let mut server = Server::new(config, [7; 16], Box::new(|bytes: &mut [u8]| bytes.fill(9))).unwrap();
        let link = server.open(Peer::default());
        let bytes = request(method, target, &[GOOD, ASKS[0]], "");
        server.handle_bytes(Time::ZERO, link, &mut BytesMut::from(&bytes[..]));
        std::iter::from_fn(|| server.poll_output()).any(|output| matches!(output, Output::Request(..)))
    };
    assert!(foreign("OPTIONS", POLLING));
    assert!(foreign("OPTIONS", "/socket.io/?EIO=3&transport=polling&sid=x"));
    assert!(!foreign("GET", POLLING));
    assert!(
        !foreign("OPTIONS", "/socket.io/1/"),
        "a preflight of 0.9 is the server's"
    );
}

/// A browser asks before a POST of 0.9 with fields of its own. The answer names the methods, and
/// repeats the fields.
#[test]
fn a_preflight_of_0_9_allows_what_it_asks_for() {
    let mut world = World::new(Config::default());
    let page = "Origin: http://localhost";
    let answer = world.reply(&request("OPTIONS", "/socket.io/1/", &[page, ASKS[0], ASKS[1]], ""));
    assert_eq!(answer.status, 200);
    for (name, value) in [
        ("Access-Control-Allow-Origin", "http://localhost"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Allow-Methods", "POST, GET"),
        ("Access-Control-Allow-Headers", "x-a"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}
