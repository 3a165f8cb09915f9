//! Internet Explorer with Socket.IO 0.7 to 0.9: an endless page of scripts, and POSTs beside it
//! (docs/protocol/legacy-0.9.md §8).
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::server::{Cause, Generation, SendError, TransportKind};
use sio_proto::{Config, LinkId, Transports};

fn handshake(world: &mut World) -> String {
    let answer = world.reply(&get("/socket.io/1/?k=v&t=1795449611167"));
    let (id, rest) = answer.text().split_once(':').unwrap();
    assert_eq!(rest, "60:60:websocket,htmlfile,xhr-polling,jsonp-polling");
    id.to_string()
}

fn target(id: &str) -> String {
    format!("/socket.io/1/htmlfile/{id}?k=v&t=1795449611251")
}

fn script(payload: &str) -> String {
    let literal = payload.replace('"', "\\\"");
    format!("<script>_(\"{literal}\");</script>")
}

fn open(world: &mut World, id: &str) -> (LinkId, Vec<String>) {
    let link = world.open();
    world.send(link, &get(&target(id)));
    let read = Chunks::read(&world.bytes(link));
    assert!(read.head.is_some());
    (link, read.chunks)
}

fn push(world: &mut World, id: &str, payload: &str) {
    let answer = world.reply(&post(&target(id), payload));
    assert_eq!((answer.status, answer.text()), (200, "1"));
}

/// The capture sio-0.9.17-htmlfile.
#[test]
fn a_captured_conversation() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let root = world.last_socket();
    world.emit(root, "welcome", "\"\"").unwrap();
    let link = world.open();
    world.send(link, &get(&target(&id)));
    let read = Chunks::read(&world.bytes(link));
    assert_eq!(
        read.head.as_deref(),
        Some(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=UTF-8\r\nX-Content-Type-Options: nosniff\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
    );
    assert_eq!(read.chunks[0].len(), 256);
    assert_eq!(
        read.chunks[0].trim_end(),
        "<html><body><script>var _ = function (msg) { parent.s._(msg, document); };</script>"
    );
    assert_eq!(
        read.chunks[1..],
        [
            script("1::"),
            "<script>_(\"5:::{\\\"name\\\":\\\"welcome\\\",\\\"args\\\":[\\\"\\\"]}\");</script>".into()
        ]
    );
    let counted = world.shard(|shard, _| shard.counters().get(Generation::Legacy09, TransportKind::Htmlfile));
    assert_eq!((counted.current, counted.total), (1, 1));
    world.heard();
    push(&mut world, &id, "3:::hello é♥😀 / \"q\" \n line2");
    assert_eq!(world.heard(), ["event message \"hello é♥😀 / \\\"q\\\" \\n line2\""]);
    push(
        &mut world,
        &id,
        "\u{fffd}17\u{fffd}4:::{\"a\":[1,\"♥\"]}\u{fffd}43\u{fffd}5:1+::{\"name\":\"echo\",\"args\":[1,{\"x\":null}]}\u{fffd}13\u{fffd}3:2::with-ack",
    );
    world.echo();
    assert_eq!(
        world.chunks(link),
        [
            script("6:::2"),
            script("4:::{\"a\":[1,\"♥\"]}"),
            script("6:::1+[1,{\"x\":null}]"),
            script("3:::with-ack")
        ]
    );
    world.emit(root, "message", "\"</script>\u{2028}\"").unwrap();
    assert_eq!(world.chunks(link), [r#"<script>_("3:::<\/script>\u2028");</script>"#]);
    world.disconnect(root, false);
    assert_eq!(world.chunks(link), [script("0::"), "end".into()]);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn its_heartbeats_are_echoed_by_post() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let (link, _) = open(&mut world, &id);
    world.heard();
    for _ in 0..2 {
        world.pass(25_000);
        assert_eq!(world.chunks(link), [script("2::")]);
        push(&mut world, &id, "2::");
    }
    world.pass(25_000);
    world.pass(59_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.chunks(link), [script("2::"), "end".into()]);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
}

#[test]
fn an_unknown_session_is_told_so_in_a_script() {
    let mut world = World::new(Config::default());
    let (link, chunks) = open(&mut world, "nosuch");
    assert_eq!(chunks[1..], [script("7:::1+0"), "end".into()]);
    assert_eq!(chunks[0].len(), 256);
    // The connection accepts the next request.
    world.send(link, &get("/socket.io/1/"));
    assert_eq!(world.answer(link).status, 200);
}

#[test]
fn a_lost_stream_is_a_lost_session() {
    for (cause, heard) in [
        (Cause::Closed, "disconnect transport close"),
        (Cause::Failed, "disconnect transport error"),
    ] {
        let mut world = World::new(Config::default());
        let id = handshake(&mut world);
        let (link, _) = open(&mut world, &id);
        world.heard();
        world.cut(link, cause);
        assert_eq!(world.heard(), [heard]);
        assert_eq!(world.sessions(), 0);
        let (_, chunks) = open(&mut world, &id);
        assert_eq!(chunks[1], script("7:::1+0"));
    }
}

/// The session uses the transport that was opened last. If it is another transport, it gets a `1::`
/// of its own.
#[test]
fn another_link_for_the_same_session() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let (first, chunks) = open(&mut world, &id);
    assert_eq!(chunks[1..], [script("1::")]);
    let (second, chunks) = open(&mut world, &id);
    assert_eq!((world.chunks(first), chunks.len()), (vec!["end".to_string()], 1));
    let websocket = world.open();
    world.send(websocket, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    assert_eq!(world.chunks(second), ["end"]);
    assert_eq!(world.frames(websocket), ["1::"]);
    let (third, chunks) = open(&mut world, &id);
    assert_eq!(chunks[1..], [script("1::")]);
    assert_eq!(world.frames(websocket), ["close"]);
    let answer = world.reply(&get(&format!("/socket.io/1/xhr-polling/{id}?t=1")));
    assert_eq!((answer.text(), world.chunks(third)), ("1::", vec!["end".to_string()]));
    assert_eq!(world.sessions(), 1);
    // The beacon is answered on the live link.
    let (last, _) = open(&mut world, &id);
    assert_eq!(
        world.reply(&get(&format!("/socket.io/1//{id}/?disconnect=1"))).status,
        200
    );
    assert_eq!(world.chunks(last), [script("0::"), "end".into()]);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn a_stream_that_is_not_read() {
    let mut config = Config::default();
    config.max_queued_packets = 2;
    let mut world = World::new(config);
    let id = handshake(&mut world);
    let (link, _) = open(&mut world, &id);
    let socket = world.last_socket();
    world.server.handle_blocked(world.now, link, 0);
    for _ in 0..2 {
        world.emit(socket, "message", "\"a\"").unwrap();
    }
    assert_eq!(world.emit(socket, "message", "\"a\""), Err(SendError::Full));
    assert_eq!(world.received(link), "");
    let now = world.now;
    world.server.handle_drained(now, link);
    world.settle();
    assert_eq!(world.chunks(link), [script("3:::a"), script("3:::a")]);
}

#[test]
fn what_is_refused() {
    let mut world = World::new(Config::default());
    let id = handshake(&mut world);
    let target = target(&id);
    for (method, headers, status) in [
        ("HEAD", &[][..], 405),
        ("PUT", &[], 405),
        ("GET", &UPGRADE, 400),
        ("GET", &["Referer: http://evil.example/"], 403),
        ("GET", &["Origin: http://evil.example"], 403),
        ("POST", &["Origin: http://evil.example"], 403),
    ] {
        let answer = world.reply(&request(method, &target, headers, ""));
        assert_eq!(answer.status, status, "{method} {headers:?}");
    }
    assert_eq!(
        world.reply(&get(&format!("/socket.io/1/xhr-multipart/{id}"))).status,
        400
    );
    // If polling is off, htmlfile is off too.
    let transports = Transports::default().polling(false);
    let mut world = World::new(Config::default().transports(transports));
    let answer = world.reply(&get("/socket.io/1/"));
    assert!(answer.text().ends_with(":60:60:websocket"));
    assert_eq!(world.reply(&get("/socket.io/1/htmlfile/nosuch")).status, 400);
}
