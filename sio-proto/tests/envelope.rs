//! Clients of Socket.IO 0.3 and 0.4, whose messages travel in JSON objects
//! (docs/protocol/legacy-0.6.md §15; the captures sio-0.4.1-xhr-polling and sio-0.4.1-websocket).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::codec::Envelope;
use sio_proto::{Config, LinkId};

/// A server that serves only this codec under its path.
fn world() -> World {
    let mut config = Config::default();
    config.legacy06 = config.legacy06.codec(Envelope);
    World::new(config)
}

fn id_of(payload: &str) -> String {
    let id = payload.strip_prefix("{\"messages\":[\"{\\\"sessionid\\\":\\\"");
    let id = id.and_then(|rest| rest.strip_suffix("\\\"}\"]}"));
    id.unwrap_or_else(|| panic!("{payload:?}")).into()
}

fn open(world: &mut World) -> String {
    let answer = world.ask(&get("/socket.io/xhr-polling//1795450118000"));
    assert_eq!(status(&answer), 200);
    id_of(body(&answer))
}

fn open_websocket(world: &mut World) -> LinkId {
    let link = world.open();
    world.send(link, &upgrade("/socket.io/websocket"));
    let frames = world.frames(link);
    assert_eq!(frames.len(), 1, "the id goes alone");
    id_of(&frames[0]);
    link
}

fn poll(world: &mut World, id: &str) -> LinkId {
    let link = world.open();
    world.send(link, &get(&format!("/socket.io/xhr-polling/{id}/1795450118022")));
    link
}

fn push(world: &mut World, id: &str, form: &str) -> String {
    world.ask(&post(&format!("/socket.io/xhr-polling/{id}/send"), form))
}

#[test]
fn polling_as_captured() {
    let mut world = world();
    let id = open(&mut world);
    let socket = world.last_socket();
    world.heard();
    for (form, json) in [
        ("data=%5B%22early%22%5D", "\"early\""),
        ("data=%5B%22h%C3%A9%E2%99%A5%F0%9F%98%80%22%5D", "\"hé♥😀\""),
        ("data=%5B%7B%22a%22%3A1%7D%5D", "{\"a\":1}"),
    ] {
        let answer = push(&mut world, &id, form);
        assert_eq!((status(&answer), body(&answer)), (200, "ok"));
        assert_eq!(world.heard(), [format!("event message {json}")]);
    }
    // Several messages are one object. Its length is counted in bytes: genuine servers cut it
    // short.
    world.emit(socket, "message", "\"wélcome\"").unwrap();
    world.emit(socket, "message", "{\"a\":1},[2]").unwrap();
    world.emit(socket, "chat", "1").unwrap();
    let parked = poll(&mut world, &id);
    let answer = world.received(parked);
    assert_eq!(
        body(&answer),
        "{\"messages\":[\"wélcome\",{\"a\":1},[2],{\"event\":\"chat\",\"args\":[1]}]}"
    );
    assert_eq!(
        header(&answer, "Content-Length").unwrap(),
        body(&answer).len().to_string()
    );
    let parked = poll(&mut world, &id);
    world.pass(20_000);
    assert_eq!(body(&world.received(parked)), "");
}

#[test]
fn heartbeats_are_never_answered() {
    let mut world = world();
    let link = open_websocket(&mut world);
    world.heard();
    for number in 1..5 {
        world.pass(10_000);
        assert_eq!(world.frames(link), [format!("{{\"heartbeat\":\"{number}\"}}")]);
    }
    assert_eq!(world.heard(), [""; 0]);
    world.emit(world.last_socket(), "message", "\"x\"").unwrap();
    assert_eq!(world.frames(link), ["{\"messages\":[\"x\"]}"]);
}

/// An htmlfile stream holds the objects themselves. Streams have their own heartbeats, every five
/// seconds.
#[test]
fn streams() {
    let mut world = world();
    let htmlfile = world.open();
    world.send(htmlfile, &get("/socket.io/htmlfile//1795450118000"));
    let chunks = Chunks::read(&world.bytes(htmlfile)).chunks;
    let first = chunks[1].strip_prefix("<script>parent.s._(");
    let id = id_of(
        first
            .and_then(|rest| rest.strip_suffix(", document);</script>"))
            .unwrap(),
    );
    let socket = world.last_socket();
    let multipart = world.open();
    world.send(multipart, &get("/socket.io/xhr-multipart/"));
    assert!(
        world
            .received(multipart)
            .contains("--socketio\nContent-Type: text/plain\n\n{\"messages\":[")
    );
    world.heard();
    for _ in 0..3 {
        world.pass(5_000);
        assert_eq!(world.chunks(htmlfile), ["<!-- heartbeat -->"]);
        assert_eq!(
            world.received(multipart),
            "Content-Type: text/plain; charset=us-ascii\n\n\u{6}\n--socketio\n"
        );
    }
    world.emit(socket, "message", "\"</script>\",{\"a\":1}").unwrap();
    assert_eq!(
        world.chunks(htmlfile),
        ["<script>parent.s._({\"messages\":[\"\\u003c/script>\",{\"a\":1}]}, document);</script>"]
    );
    assert_eq!(status(&push(&mut world, &id, "data=%5B%22hi%22%5D")), 200);
    assert_eq!(world.heard(), ["event message \"hi\""]);
    world.broadcast(&[], "message", "\"all\"");
    assert_eq!(
        world.received(multipart),
        "Content-Type: text/plain\n\n{\"messages\":[\"all\"]}\n--socketio\n"
    );
}

#[test]
fn malformed_payloads_cost_themselves() {
    let mut world = world();
    let id = open(&mut world);
    let link = open_websocket(&mut world);
    world.heard();
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("[]", &[]),
        ("[\"a\",1,null]", &["\"a\"", "1", "null"]),
        (" [ \"a\" ] ", &["\"a\""]),
        ("{}", &[]),
        ("\"hi\"", &[]),
        ("[\"a\",", &[]),
        ("[\"a\"]x", &[]),
        ("[\"a\",}", &[]),
        ("~m~2~m~hi", &[]),
        ("1:3::hi,", &[]),
    ];
    for (payload, messages) in cases {
        let expected: Vec<String> = messages.iter().map(|json| format!("event message {json}")).collect();
        let form: String = payload.bytes().map(|b| format!("%{b:02x}")).collect();
        assert_eq!(
            status(&push(&mut world, &id, &format!("data={form}"))),
            200,
            "{payload}"
        );
        assert_eq!(world.heard(), expected, "POST {payload}");
        world.send(link, &text(payload));
        assert_eq!(world.heard(), expected, "websocket {payload}");
    }
    assert_eq!(status(&push(&mut world, &id, "d=1")), 400);
    assert_eq!(world.sessions(), 2);
    assert_eq!(world.garbled.len(), 2, "told once for each session");
}

/// jsonp-polling did not exist yet: such a request is answered as by a server that does not know
/// it.
#[test]
fn what_is_not_served() {
    let mut world = world();
    let answer = world.ask(&get("/socket.io/jsonp-polling//1795447980466/0"));
    assert_eq!(status(&answer), 400);
    assert_eq!(world.sessions(), 0);
}
