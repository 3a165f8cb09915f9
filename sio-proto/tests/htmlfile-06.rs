//! Internet Explorer with Socket.IO 0.6: an endless page of scripts, and POSTs beside it
//! (docs/protocol/legacy-0.6.md §8).
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::server::{Cause, Command, Generation, Reason, SendError, TransportKind};
use sio_proto::{Config, LinkId, Origins};

const OPEN: &str = "/socket.io/htmlfile//1795447994871";

fn script(payload: &str) -> String {
    let literal = payload.replace('"', "\\\"");
    format!("<script>parent.s._(\"{literal}\", document);</script>")
}

/// The id in the first script, which holds nothing else.
fn id_of(chunk: &str) -> String {
    let id = chunk
        .strip_prefix("<script>parent.s._(\"~m~39~m~")
        .and_then(|rest| rest.strip_suffix("\", document);</script>"))
        .unwrap_or_else(|| panic!("{chunk:?}"));
    assert_eq!(id.len(), 39);
    id.into()
}

fn open(world: &mut World) -> (LinkId, String) {
    let link = world.open();
    world.send(link, &get(OPEN));
    let read = Chunks::read(&world.bytes(link));
    assert_eq!(read.chunks.len(), 2, "{read:?}");
    (link, id_of(&read.chunks[1]))
}

fn push(world: &mut World, id: &str, form: &str) -> Answer {
    world.reply(&post(&format!("/socket.io/htmlfile/{id}/send"), form))
}

fn resume(world: &mut World, target: &str) -> (LinkId, Vec<String>) {
    let link = world.open();
    world.send(link, &get(target));
    (link, Chunks::read(&world.bytes(link)).chunks)
}

/// The capture sio-0.6.18-htmlfile. Here the id has a script of its own, and no slash in a text can
/// end a script.
#[test]
fn a_captured_conversation() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &get(OPEN));
    let read = Chunks::read(&world.bytes(link));
    assert_eq!(
        read.head.as_deref(),
        Some(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=UTF-8\r\nX-Content-Type-Options: nosniff\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
    );
    assert_eq!((read.chunks[0].len(), read.chunks[0].trim_end()), (256, "<html><body>"));
    let id = id_of(&read.chunks[1]);
    let counted = world.shard(|shard, _| shard.counters().get(Generation::Legacy06, TransportKind::Htmlfile));
    assert_eq!((counted.current, counted.total), (1, 1));
    assert_eq!(world.heard(), ["connect / "]);
    let answer = push(&mut world, &id, "data=~m~6~m~early1~m~14~m~~j~%7B%22early%22%3A2%7D");
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(
        world.echo(),
        ["event message \"early1\"", "event message {\"early\":2}"]
    );
    assert_eq!(
        world.chunks(link),
        [script("~m~6~m~early1"), script("~m~14~m~~j~{\"early\":2}")]
    );
    let form =
        "data=~m~31~m~h%C3%A9%E2%99%A5%F0%9F%98%80%20%22q%22%20%26%20%3D%20%2B%20%25%20%3C%2Fscript%3E%20%0A%20x";
    push(&mut world, &id, form);
    world.echo();
    assert_eq!(
        world.chunks(link),
        ["<script>parent.s._(\"~m~31~m~hé♥😀 \\\"q\\\" & = + % <\\/script> \\n x\", document);</script>"]
    );
    let socket = world.last_socket();
    world.emit(socket, "message", "\"\u{2028}\u{2029}\"").unwrap();
    assert_eq!(
        world.chunks(link),
        ["<script>parent.s._(\"~m~2~m~\\u2028\\u2029\", document);</script>"]
    );
}

#[test]
fn its_heartbeats_are_echoed_by_post() {
    let mut world = World::new(Config::default());
    let (link, id) = open(&mut world);
    world.pass(10_000);
    assert_eq!(world.chunks(link), [script("~m~4~m~~h~1")]);
    assert_eq!(push(&mut world, &id, "data=~m~4~m~~h~1").status, 200);
    world.pass(10_000);
    assert_eq!(world.chunks(link), [script("~m~4~m~~h~2")]);
    world.heard();
    // A heartbeat that is not answered ends the stream.
    world.pass(7_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    assert_eq!(world.chunks(link), ["end"]);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn a_client_of_http_1_0_reads_until_the_end() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(
        link,
        format!("GET {OPEN} HTTP/1.0\r\nHost: a\r\nReferer: http://a/\r\n\r\n").as_bytes(),
    );
    let answer = world.answer(link);
    assert_eq!(
        answer.head,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=UTF-8\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"
    );
    assert!(answer.text()[256..].starts_with("<script>parent.s._(\"~m~39~m~"));
    world.emit(world.last_socket(), "message", "\"hi\"").unwrap();
    assert_eq!(world.received(link), script("~m~2~m~hi"));
    world.disconnect(world.last_socket(), false);
    assert_eq!((world.received(link).as_str(), &world.ended[..]), ("", &[link][..]));
}

/// Messages for a client that is away wait, up to a limit. The client may come back by any
/// transport.
#[test]
fn a_lost_stream_is_resumed() {
    let mut config = Config::default();
    config.legacy06.max_pending_messages = 2;
    let mut world = World::new(config);
    let (link, id) = open(&mut world);
    world.heard();
    let socket = world.last_socket();
    world.cut(link, Cause::Failed);
    world.emit(socket, "message", "\"1\"").unwrap();
    world.emit(socket, "message", "\"2\"").unwrap();
    assert_eq!(world.emit(socket, "message", "\"3\""), Err(SendError::Full));
    world.pass(9_999);
    // By another stream,
    let stream = format!("/socket.io/htmlfile/{id}/1795447994872");
    let (link, chunks) = resume(&mut world, &stream);
    assert_eq!(chunks[1..], [script("~m~1~m~1"), script("~m~1~m~2")]);
    // which a newer stream replaces,
    let (newer, chunks) = resume(&mut world, &stream);
    assert_eq!((chunks.len(), chunks[0].len()), (1, 256));
    assert_eq!(world.chunks(link), ["end"]);
    assert_eq!(world.ended, [], "the connection goes on as after any answer");
    world.send(link, &get(&format!("/socket.io/xhr-polling/{id}/1")));
    // or a poll,
    assert_eq!(world.chunks(newer), ["end"]);
    world.emit(socket, "message", "\"3\"").unwrap();
    assert_eq!(world.answer(link).text(), "~m~1~m~3");
    // or a websocket; and from the websocket by a stream again.
    let websocket = world.open();
    world.send(websocket, &upgrade(&format!("/socket.io/websocket/{id}")));
    assert_eq!(world.frames(websocket), [""; 0]);
    let (last, _) = resume(&mut world, &stream);
    assert_eq!(world.frames(websocket), ["close"]);
    let broadcast = world.now;
    world.broadcast(&[], "message", "\"4\"");
    assert_eq!(world.chunks(last), [script("~m~1~m~4")]);
    assert_eq!(world.now, broadcast);
    let transport = world.shard(|shard, _| shard.transport(socket));
    assert_eq!(transport, Some(TransportKind::Htmlfile));
    assert_eq!(world.heard(), [""; 0], "of all this the user has heard nothing");
    // Only the newest link belongs to the session.
    world.cut(newer, Cause::Closed);
    world.pass(9_000);
    assert_eq!(world.sessions(), 1);
    world.cut(last, Cause::Closed);
    world.pass(10_000);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    assert_eq!((world.sessions(), world.server.next_timeout()), (0, None));
}

/// The packets for a stream that is not read are kept, up to the limits of every session.
#[test]
fn a_stream_that_is_not_read() {
    let mut config = Config::default();
    config.max_queued_packets = 3;
    let mut world = World::new(config);
    let (link, _) = open(&mut world);
    let socket = world.last_socket();
    world.heard();
    world.server.handle_blocked(world.now, link, 0);
    for n in 1..=3 {
        world.emit(socket, "message", &format!("\"{n}\"")).unwrap();
    }
    assert_eq!(world.emit(socket, "message", "\"4\""), Err(SendError::Full));
    assert_eq!(world.received(link), "");
    let now = world.now;
    world.server.handle_drained(now, link);
    world.settle();
    assert_eq!(
        world.chunks(link),
        [script("~m~1~m~1"), script("~m~1~m~2"), script("~m~1~m~3")]
    );
    world.server.handle_blocked(world.now, link, 0);
    (1..=4).for_each(|_| world.broadcast(&[], "message", "1"));
    assert_eq!(world.heard(), ["disconnect forced server close"]);
    assert_eq!(world.sessions(), 0);
}

/// The head waits for the user's decision: a refusal has a status.
#[test]
fn the_user_decides_first() {
    let mut world = World::new(Config::default());
    world.accepts = false;
    let link = world.park(&get(OPEN));
    let socket = world.last_socket();
    world.refuse(socket, "no", None);
    let answer = world.answer(link);
    assert_eq!((answer.status, answer.text()), (401, "unauthorized"));
    // A client about whom nobody decides in time gets a refusal. It also gets one when the server
    // shuts down.
    let link = world.park(&get(OPEN));
    world.pass(20_000);
    assert_eq!(world.answer(link).status, 503);
    let link = world.park(&get(OPEN));
    world.cut(link, Cause::Closed);
    assert_eq!(world.sessions(), 0);
    let link = world.park(&get(OPEN));
    world.command(Command::Shutdown {
        reason: Reason::ServerShuttingDown,
    });
    assert_eq!(world.answer(link).status, 503);
    assert_eq!(world.sessions(), 0);
    assert_eq!(world.reply(&get(OPEN)).status, 503, "no more sessions");
}

#[test]
fn what_is_refused() {
    let mut world = World::new(Config::default());
    for (method, target, headers, status) in [
        (
            "GET",
            "/socket.io/htmlfile/nosuch/1",
            &["Referer: http://localhost/"][..],
            400,
        ),
        ("GET", "/socket.io/htmlfile/nosuch/1", &[], 401),
        ("GET", OPEN, &[], 401),
        ("POST", "/socket.io/htmlfile/nosuch/send", &[], 400),
        ("POST", "/socket.io/htmlfile//1", &[], 400),
        ("GET", OPEN, &UPGRADE, 400),
        ("HEAD", OPEN, &[], 405),
        ("PUT", OPEN, &[], 405),
        ("GET", OPEN, &["Referer: http://evil.example/page"], 401),
        ("GET", OPEN, &["Origin: http://evil.example"], 401),
        ("GET", OPEN, &["Sec-Fetch-Site: cross-site"], 401),
    ] {
        let answer = world.reply(&request(method, target, headers, ""));
        assert_eq!(answer.status, status, "{method} {target} {headers:?}");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
    }
    let answer = world.reply(&request("OPTIONS", OPEN, &[], ""));
    assert_eq!(answer.status, 200);
    assert_eq!(world.sessions(), 0);
    let (_, id) = open(&mut world);
    assert_eq!(push(&mut world, &id, "other=1").status, 400);
    let mut world = World::new(Config::default().origins(Origins::Any));
    let link = world.open();
    world.send(link, &request("GET", OPEN, &["Origin: http://other.example"], ""));
    let head = Chunks::read(&world.bytes(link)).head.unwrap();
    assert!(
        !head.contains("Access-Control"),
        "it is for pages of the same host: {head}"
    );
}
