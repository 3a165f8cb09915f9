//! Requests whose head is that of the request before it on the connection: what is remembered of
//! the first decides nothing that it must not decide.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;
use sio_proto::conn::{Arrivals, Conn};
use sio_proto::server::{Peer, Request, Routed, Router};
use sio_proto::{BytesMut, Config, Cors};

/// The key of the server in [`World`].
const KEY: [u8; 16] = [7; 16];

/// Reads one request, as if all requests before it had been answered.
fn read(conn: &mut Conn, head: &str) -> Request {
    let (mut bytes, mut arrivals) = (BytesMut::from(head), Arrivals::default());
    conn.handle_bytes(&mut bytes, &mut arrivals);
    conn.handle_answered();
    arrivals.request.take().unwrap()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\r\n")
}

/// Everything that the `Debug` of a request shows, but the number of its head.
fn shown(request: &Request) -> String {
    let text = format!("{request:?}");
    let (before, rest) = text.split_once(", head: ").unwrap();
    let (_, behind) = rest.split_once(", findings: ").unwrap();
    format!("{before}, {behind}")
}

/// Whatever is remembered, a request is what it is on a connection of its own. This is compared
/// with everything that its `Debug` shows, which includes the classification.
#[test]
fn a_repeated_head_is_classified_as_the_first() {
    let config = Arc::new(Config::default());
    let router = Router::new(&config, KEY, 4);
    let mut conn = Conn::new(Arc::clone(&config), Peer::default());
    for target in [
        "/socket.io/?EIO=4&transport=polling&t=abc",
        "/socket.io/?EIO=4&transport=polling&t=abd",
        "/socket.io/?EIO=4&transport=polling&t=abd&sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "/socket.io/?EIO=4&transport=polling&t=abe&sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
        "/socket.io/?EIO=3&transport=polling&t=abe&sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
        "/socket.io/1/xhr-polling/AAAAAAAAAAAAAAAAAAAA?t=1",
        "/socket.io/xhr-polling/AAAAAAAAAAAAAAAAAAAA/17",
        "/other?t=1",
    ] {
        for round in 0..4 {
            let mut alone = Conn::new(Arc::clone(&config), Peer::default());
            let mut expected = read(&mut alone, &get(target));
            let mut request = read(&mut conn, &get(target));
            let place = router.route(&mut request);
            assert_eq!(place, router.route(&mut expected), "{target}, {round}");
            assert_eq!(shown(&request), shown(&expected), "{target}, {round}");
            conn.handle_routed(&request);
        }
    }
}

/// A request that is routed late, behind another, leaves its session to no other head.
#[test]
fn a_request_that_is_routed_late_gives_its_session_to_no_other() {
    let config = Arc::new(Config::default());
    let router = Router::new(&config, KEY, 4);
    let mut conn = Conn::new(Arc::clone(&config), Peer::default());
    let target = |last| format!("/socket.io/?EIO=4&transport=polling&t=a&sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA{last}");
    let (a, b) = (get(&target('A')), get(&target('B')));
    read(&mut conn, &a);
    let mut late = read(&mut conn, &a);
    read(&mut conn, &b);
    router.route(&mut late);
    conn.handle_routed(&late);
    let mut request = read(&mut conn, &b);
    let mut expected = read(&mut Conn::new(Arc::clone(&config), Peer::default()), &b);
    assert_eq!(router.route(&mut request), router.route(&mut expected));
    assert_eq!(shown(&request), shown(&expected));
}

/// The session that a request names is not read again, and is never that of another request.
#[test]
fn a_session_is_remembered_with_its_head_only() {
    let config = Arc::new(Config::default());
    let mut conn = Conn::new(Arc::clone(&config), Peer::default());
    let (here, elsewhere) = (Router::new(&config, KEY, 4), Router::new(&config, [8; 16], 4));
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, get("/socket.io/?EIO=4&transport=polling").as_bytes());
    let opened = String::from_utf8(world.sent.remove(0).1).unwrap();
    let (_, id) = opened.split_once("\"sid\":\"").unwrap();
    let id = id.split('"').next().unwrap();
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={id}");
    let other = target.replace(&id[..4], "AAAA");
    for (target, is_ours) in [
        (&target, true),
        (&target, true),
        (&target, true),
        (&other, false),
        (&target, true),
    ] {
        let mut request = read(&mut conn, &get(target));
        let found = matches!(here.route(&mut request), Routed::Session(_));
        assert_eq!(found, is_ours);
        conn.handle_routed(&request);
    }
    // It is not read again: a router with another key, which could not read it, finds it.
    let mut request = read(&mut conn, &get(&target));
    assert!(matches!(elsewhere.route(&mut request), Routed::Session(_)));
}

/// A rule of the application may decide otherwise each time.
#[test]
fn a_rule_of_the_application_is_asked_about_each_request() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let rule = Cors::rule(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        true
    });
    let config = Arc::new(Config::default().cors(rule));
    let mut conn = Conn::new(config, Peer::default());
    for round in 1..=5 {
        let before = asked.load(Ordering::Relaxed);
        read(&mut conn, &get("/socket.io/?EIO=4&transport=polling"));
        assert!(asked.load(Ordering::Relaxed) > before, "{round}");
    }
}
