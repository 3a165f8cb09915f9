//! A list of origins, for clients of every generation (docs/protocol/legacy-0.6.md §13.1, §14, docs/protocol/legacy-0.9.md §17).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::{Config, Cors, Origins};

const POLLS: [&str; 4] = [
    "/socket.io/?EIO=4&transport=polling",
    "/socket.io/?EIO=3&transport=polling",
    "/socket.io/1/",
    "/socket.io/xhr-polling//1",
];
const WEBSOCKETS: [&str; 3] = [
    "/socket.io/?EIO=4&transport=websocket",
    "/socket.io/?EIO=3&transport=websocket",
    "/socket.io/websocket",
];
const SCRIPTS: [&str; 3] = [
    "/socket.io/?EIO=3&transport=polling&j=0",
    "/socket.io/1/?jsonp=0",
    "/socket.io/jsonp-polling//1/0",
];

fn world(patterns: &[&str]) -> World {
    let origins = Origins::list(patterns.iter().copied()).unwrap();
    World::new(Config::default().origins(origins))
}

/// Whether a request with this header line opens a session.
fn opens(world: &mut World, target: &str, is_websocket: bool, line: &str) -> bool {
    let before = world.sessions();
    let mut headers = vec![line];
    if is_websocket {
        headers.extend(UPGRADE);
    }
    let link = world.open();
    world.send(link, &request("GET", target, &headers, ""));
    world.received(link);
    world.sessions() > before
}

#[test]
fn every_generation_keeps_to_the_list() {
    let mut world = world(&["good.example:8080", "*:9999", "https://shop.example"]);
    for (origin, allowed) in [
        ("http://good.example:8080", true),
        ("http://good.example", false),
        ("http://localhost:9999", true),
        ("http://localhost", false), // not even the host's own
        ("https://shop.example", true),
        ("http://shop.example", false),
        ("null", false),
        ("", false),
        ("\u{e9}", false),
    ] {
        let line = format!("Origin: {origin}");
        for target in POLLS.iter().chain(&SCRIPTS) {
            assert_eq!(opens(&mut world, target, false, &line), allowed, "{target} {origin}");
        }
        for target in WEBSOCKETS {
            assert_eq!(opens(&mut world, target, true, &line), allowed, "{target} {origin}");
            let line = format!("Sec-WebSocket-{line}");
            assert_eq!(opens(&mut world, target, true, &line), allowed, "{target} {line}");
        }
    }
    // Who is no page is not asked.
    for target in POLLS.iter().chain(&SCRIPTS) {
        assert!(opens(&mut world, target, false, "Accept: */*"), "{target}");
    }
}

/// Browsers name no origin when they load a script; the page is what remains.
#[test]
fn scripts_are_judged_by_their_page() {
    let mut world = world(&["good.example:*"]);
    for target in SCRIPTS {
        for (line, allowed) in [
            ("Referer: http://good.example/page?x=http://evil.example", true),
            ("Referer: http://good.example:81", true),
            ("Referer: http://evil.example/good.example", false),
            ("Referer: nonsense", false),
            ("Sec-Fetch-Site: cross-site", false),
            ("Sec-Fetch-Site: same-origin", true),
        ] {
            assert_eq!(opens(&mut world, target, false, line), allowed, "{target} {line}");
        }
    }
    // Elsewhere it says nothing: a page can read no other answer.
    for target in POLLS {
        assert!(
            opens(&mut world, target, false, "Referer: http://evil.example/"),
            "{target}"
        );
    }
}

#[test]
fn null_and_nobody() {
    for (patterns, null, page) in [
        (&["*:*"][..], true, true),
        (&["null"], true, false),
        (&["*:80"], false, true),
        (&[], false, false),
    ] {
        let mut world = world(patterns);
        for target in POLLS {
            assert_eq!(opens(&mut world, target, false, "Origin: null"), null, "{patterns:?}");
            assert_eq!(opens(&mut world, target, false, "Origin: http://a.example"), page);
        }
    }
}

/// What is listed for CORS may be read, and that is all: a list of origins is the whole list.
#[test]
fn a_list_is_not_widened_by_cors() {
    let config = Config::default().cors(Cors::any());
    let mut world = World::new(config.origins(Origins::list(["good.example"]).unwrap()));
    assert!(!opens(&mut world, POLLS[0], false, "Origin: http://evil.example"));
    assert!(opens(&mut world, POLLS[0], false, "Origin: http://good.example"));
}

/// docs/protocol/engine-io.md §4.5, docs/protocol/legacy-0.9.md §2, docs/protocol/legacy-0.6.md §5.2, §7.
#[test]
fn refusals_are_those_of_each_generation() {
    let mut world = world(&["good.example:*"]);
    let evil = "Origin: http://evil.example";
    for (target, status, body) in [
        (POLLS[0], 403, "{\"code\":4,\"message\":\"Forbidden\"}"),
        (POLLS[1], 403, "{\"code\":4,\"message\":\"Forbidden\"}"),
        (POLLS[2], 403, "handshake bad origin"),
        (POLLS[3], 401, "unauthorized"),
        (SCRIPTS[1], 200, "io.j[0](new Error(\"handshake bad origin\"));"),
        (SCRIPTS[2], 200, "alert('Cross domain security restrictions not met');"),
    ] {
        let answer = world.reply(&with_headers(&get(target), evil));
        assert_eq!((answer.status, answer.text()), (status, body), "{target}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{target}");
    }
    let id = world.reply(&get(POLLS[3])).text()[8..].to_owned();
    let send = post(&format!("/socket.io/xhr-polling/{id}/send"), "data=~m~2~m~hi");
    assert_eq!(world.reply(&with_headers(&send, evil)).status, 401);
    assert_eq!(
        world.reply(&with_headers(&send, "Origin: http://good.example")).status,
        200
    );
}
