//! A Firefox of 2010 with Socket.IO 0.6: an endless answer in parts, and POSTs beside it
//! (docs/protocol/legacy-0.6.md §9).
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use common::*;
use sio_proto::server::{Cause, Generation, TransportKind};
use sio_proto::{Config, LinkId};

const OPEN: &str = "/socket.io/xhr-multipart/";

fn part(payload: &str) -> String {
    format!("Content-Type: text/plain\n\n{payload}\n--socketio\n")
}

/// Opens a stream that begins with the session's id.
fn open(world: &mut World) -> (LinkId, String) {
    let link = world.open();
    world.send(link, &get(OPEN));
    let answer = world.answer(link);
    assert_eq!(
        answer.head,
        "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=\"socketio\"\r\nX-Content-Type-Options: nosniff\r\nVary: Origin\r\nConnection: close\r\n"
    );
    let id = answer
        .text()
        .strip_prefix("--socketio\nContent-Type: text/plain\n\n~m~39~m~")
        .and_then(|rest| rest.strip_suffix("\n--socketio\n"));
    let id = id.unwrap_or_else(|| panic!("{answer:?}")).to_string();
    assert_eq!(id.len(), 39);
    (link, id)
}

#[test]
fn a_session() {
    let mut world = World::new(Config::default());
    let (link, id) = open(&mut world);
    let counted = world.shard(|shard, _| shard.counters().get(Generation::Legacy06, TransportKind::XhrMultipart));
    assert_eq!((counted.current, counted.total), (1, 1));
    let answer = world.reply(&post(
        &format!("/socket.io/xhr-multipart/{id}/send"),
        "data=~m~2~m~hi~m~10~m~~j~%7B%22a%22%3A1%7D",
    ));
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(
        world.echo(),
        ["connect / ", "event message \"hi\"", "event message {\"a\":1}"]
    );
    assert_eq!(
        world.received(link),
        part("~m~2~m~hi") + &part("~m~10~m~~j~{\"a\":1}"),
        "each is delivered when its boundary is there"
    );
    world.pass(10_000);
    assert_eq!(world.received(link), part("~m~4~m~~h~1"));
    world.reply(&post(
        &format!("/socket.io/xhr-multipart/{id}/send"),
        "data=~m~4~m~~h~1",
    ));
    world.pass(10_000);
    assert_eq!(world.received(link), part("~m~4~m~~h~2"));
    world.disconnect(world.last_socket(), false);
    assert_eq!(
        (world.received(link).as_str(), &world.ended[..]),
        ("", &[link][..]),
        "the end of the connection is the end of the body"
    );
}

#[test]
fn a_lost_stream_is_resumed() {
    let mut world = World::new(Config::default());
    let (link, id) = open(&mut world);
    world.heard();
    world.cut(link, Cause::Failed);
    world.emit(world.last_socket(), "message", "\"late\"").unwrap();
    let link = world.open();
    world.send(link, &get(&format!("/socket.io/xhr-multipart/{id}")));
    assert_eq!(
        world.answer(link).text(),
        "--socketio\n".to_string() + &part("~m~4~m~late")
    );
    let newer = world.open();
    world.send(newer, &get(&format!("/socket.io/xhr-multipart/{id}")));
    assert_eq!(
        (world.answer(newer).text(), &world.ended[..]),
        ("--socketio\n", &[link][..])
    );
    world.cut(newer, Cause::Closed);
    world.pass(10_000);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
}

#[test]
fn which_pages_may() {
    let mut world = World::new(Config::default());
    let answer = world.reply(&request("GET", OPEN, &["Origin: http://evil.example"], ""));
    assert_eq!((answer.status, answer.text()), (401, "unauthorized"));
    let good = ["Origin: http://localhost", "Cookie: a=b"];
    let answer = world.reply(&request("GET", OPEN, &good, ""));
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("http://localhost"));
    assert_eq!(answer.header("Access-Control-Allow-Credentials"), Some("true"));
    let preflight = [good[0], "Access-Control-Request-Method: POST"];
    let answer = world.reply(&request("OPTIONS", OPEN, &preflight, ""));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Access-Control-Allow-Methods"), Some("POST, GET"));
    for (request, status) in [
        (get("/socket.io/xhr-multipart/nosuch"), 400),
        (post("/socket.io/xhr-multipart/nosuch/send", "data="), 400),
        (request("HEAD", OPEN, &[], ""), 405),
        (upgrade(OPEN), 400),
    ] {
        assert_eq!(world.reply(&request).status, status);
    }
}
