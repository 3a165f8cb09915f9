//! A client of 2011: opening, polling, posting, losing its connection and coming back by its id
//! (docs/protocol/legacy-0.6.md §3-§6, §10, §13, §16).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use common::*;
use sio_proto::server::{AckRequest, Cause, Command, Message, Reason, SendError};
use sio_proto::{ByteString, Bytes, Config, Cors, LinkId, Origins};

const OPEN: &str = "/socket.io/xhr-polling//1795447966090";

/// The id in the first frame, which must be the only frame.
fn id_of(payload: &str) -> String {
    let id = payload
        .strip_prefix("~m~39~m~")
        .unwrap_or_else(|| panic!("{payload:?}"));
    assert_eq!(id.len(), 39);
    assert!(id.bytes().all(|b| b.is_ascii_alphanumeric()));
    id.into()
}

fn open(world: &mut World) -> String {
    let answer = world.ask(&get(OPEN));
    assert_eq!(status(&answer), 200);
    assert_eq!(header(&answer, "Content-Type"), Some("text/plain; charset=UTF-8"));
    id_of(body(&answer))
}

fn open_websocket(world: &mut World) -> (LinkId, String) {
    let link = world.open();
    world.send(link, &upgrade("/socket.io/websocket"));
    let frames = world.frames(link);
    assert_eq!(frames.len(), 1, "the id goes alone");
    (link, id_of(&frames[0]))
}

fn poll(world: &mut World, id: &str) -> LinkId {
    let link = world.open();
    world.send(link, &get(&format!("/socket.io/xhr-polling/{id}/1795447966104")));
    link
}

fn push(world: &mut World, id: &str, form: &str) -> String {
    world.ask(&post(&format!("/socket.io/xhr-polling/{id}/send"), form))
}

fn message(world: &mut World, json: &str) {
    world.emit(world.last_socket(), "message", json).unwrap();
}

#[test]
fn the_id_comes_first_and_alone() {
    let mut world = World::new(Config::default());
    let (_, id) = open_websocket(&mut world);
    assert_eq!(world.heard(), ["connect / "]);
    assert_ne!(open(&mut world), id);
    assert_eq!(world.sessions(), 2);
    // This is also true if there are more messages before the id has left.
    let mut world = World::new(Config::default());
    world.accepts = false;
    let link = world.open();
    world.send(link, &get(OPEN));
    assert_eq!(world.received(link), "", "not before the user has decided");
    let (socket, now) = (world.last_socket(), world.now);
    world.shard(|shard, out| {
        assert!(shard.accept(now, socket, out));
        let mut message = Message::event("/".into(), "message".into(), ByteString::from("\"hi\"").into(), None);
        shard.emit(now, socket, &mut message, None).unwrap();
    });
    let id = id_of(body(&world.received(link)));
    let parked = poll(&mut world, &id);
    assert_eq!(body(&world.received(parked)), "~m~2~m~hi");
}

#[test]
fn who_is_refused_has_no_session() {
    let mut world = World::new(Config::default());
    world.accepts = false;
    let link = world.open();
    world.send(link, &get(OPEN));
    let socket = world.last_socket();
    let now = world.now;
    world.shard(|shard, out| shard.refuse(now, socket, "no", None, out));
    let answer = world.received(link);
    assert_eq!((status(&answer), body(&answer)), (401, "unauthorized"));
    let link = world.open();
    world.send(link, &upgrade("/socket.io/websocket"));
    let socket = world.last_socket();
    let now = world.now;
    world.shard(|shard, out| shard.refuse(now, socket, "no", None, out));
    assert_eq!(world.frames(link), ["close"]);
    // A client that goes away before the answer has no session either, and neither has a client
    // that never gets an answer.
    let link = world.open();
    world.send(link, &get(OPEN));
    world.cut(link, Cause::Closed);
    let undecided = world.open();
    world.send(undecided, &get(OPEN));
    world.heard();
    world.pass(20_000);
    assert_eq!(world.heard(), ["gone ping timeout"]);
    assert_eq!(body(&world.received(undecided)), "");
    assert_eq!(world.sessions(), 0);
}

#[test]
fn a_poll_is_held_for_twenty_seconds() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let parked = poll(&mut world, &id);
    world.pass(19_999);
    assert_eq!(world.received(parked), "");
    world.pass(1);
    let answer = world.received(parked);
    assert_eq!((status(&answer), header(&answer, "Content-Length")), (200, Some("0")));
    assert_eq!(header(&answer, "Content-Type"), Some("text/plain; charset=UTF-8"));
    let parked = poll(&mut world, &id);
    world.pass(7_000);
    message(&mut world, "\"hi\"");
    assert_eq!(body(&world.received(parked)), "~m~2~m~hi");
    let parked = poll(&mut world, &id);
    world.pass(19_999);
    assert_eq!(world.received(parked), "", "each poll has its own time");
    world.pass(1);
    assert_eq!(body(&world.received(parked)), "");
}

#[test]
fn of_two_polls_the_newer_lives() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let older = poll(&mut world, &id);
    let newer = poll(&mut world, &id);
    let answer = world.received(older);
    assert_eq!((status(&answer), body(&answer)), (200, ""));
    world.cut(older, Cause::Closed);
    message(&mut world, "{\"a\":1}");
    assert_eq!(body(&world.received(newer)), "~m~10~m~~j~{\"a\":1}");
    assert_eq!(world.sessions(), 1);
}

/// docs/protocol/legacy-0.6.md §16: which frames of a payload are delivered, and how its POST is
/// answered.
#[test]
fn malformed_payloads_cost_themselves_and_not_the_session() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let (socket, link) = (world.last_socket(), open_websocket(&mut world).0);
    world.heard();
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("hello", &[]),
        ("~m~2~m~hi", &["\"hi\""]),
        ("~m~2~m~higarbage", &["\"hi\""]),
        ("~m~2~m~hi~m~20~m~hi", &["\"hi\""]),
        ("~m~20~m~hi", &[]),
        ("~m~1~m~hi~m~1~m~x", &["\"h\""]),
        ("~m~", &[]),
        ("~m~12", &[]),
        ("~m~~m~x", &[]),
        ("~m~-2~m~ok", &[]),
        ("~m~x~m~hi", &[]),
        ("~m~ 2~m~ok", &[]),
        ("~m~002~m~ok", &["\"ok\""]),
        ("~m~2XYZok", &[]),
        ("~m~99999999999999999999999999~m~ok", &[]),
        ("~m~4~m~~j~{", &[]),
        ("~m~4~m~~j~{~m~2~m~ok", &["\"ok\""]),
        ("~m~5~m~~j~{}", &["{}"]),
        ("~m~4~m~~j~5", &["5"]),
        ("~m~7~m~~j~null", &["null"]),
        ("~m~4~m~~h~9", &[]),
        ("~m~4~m~~h~9~m~2~m~hi", &["\"hi\""]),
        ("~m~0~m~", &["\"\""]),
        ("~m~8~m~thré♥e😀", &["\"thré♥e😀\""]),
        ("~m~4~m~a😀bc", &["\"a😀bc\""]),
        ("~m~3~m~one~m~3~m~two", &["\"one\"", "\"two\""]),
        ("~m~4~m~a\"\\b", &["\"a\\\"\\\\b\""]),
    ];
    for (payload, messages) in cases {
        // Some of these payloads have one length as JavaScript counts and one as Go counts, so they
        // fit neither.
        let expected: Vec<String> = messages.iter().map(|json| format!("event message {json}")).collect();
        let encoded: String = payload.bytes().map(|b| format!("%{b:02x}")).collect();
        let answer = push(&mut world, &id, &format!("data={encoded}"));
        assert_eq!((status(&answer), body(&answer)), (200, "ok"), "{payload}");
        assert_eq!(header(&answer, "Content-Type"), Some("text/plain"));
        assert_eq!(world.heard(), expected, "POST {payload}");
        world.send(link, &text(payload));
        assert_eq!(world.heard(), expected, "websocket {payload}");
    }
    world.send(link, &binary(b"~m~2~m~hi"));
    assert_eq!(world.heard(), [""; 0]);
    assert_eq!(world.ended, []);
    let parked = poll(&mut world, &id);
    world.emit(socket, "message", "1").unwrap();
    assert_eq!(body(&world.received(parked)), "~m~4~m~~j~1");
}

#[test]
fn variants_of_the_post() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    world.heard();
    for (form, code, heard) in [
        ("data=~m~2~m~hi", 200, &["event message \"hi\""][..]),
        ("data=%7Em%7E3%7Em%7Ea+b", 200, &["event message \"a b\""]),
        ("x=1&data=~m~1~m~a", 200, &["event message \"a\""]),
        ("data=~m~1~m~a&data=~m~1~m~b", 200, &["event message \"a\""]),
        ("", 400, &[]),
        ("x=1", 400, &[]),
        ("~m~2~m~hi", 400, &[]),
    ] {
        let answer = push(&mut world, &id, form);
        assert_eq!(status(&answer), code, "{form}");
        assert_eq!(world.heard(), heard, "{form}");
    }
    let answer = world.ask(&post(&format!("/socket.io/xhr-polling/{id}"), "data=~m~1~m~a"));
    assert_eq!(status(&answer), 200, "the rest of the path means nothing");
    let answer = world.ask(&post("/socket.io/xhr-polling//send", "data=~m~1~m~a"));
    assert_eq!(status(&answer), 400, "to no session");
    assert_eq!(world.sessions(), 1);
}

#[test]
fn a_body_over_the_limit_is_refused_and_the_session_lives() {
    let mut world = World::new(Config::default().max_payload(100));
    let id = open(&mut world);
    let answer = push(&mut world, &id, &format!("data=~m~100~m~{}", "x".repeat(100)));
    assert_eq!(status(&answer), 413);
    assert_eq!(header(&answer, "Connection"), Some("close"));
    let parked = poll(&mut world, &id);
    message(&mut world, "\"hi\"");
    assert_eq!(body(&world.received(parked)), "~m~2~m~hi");
}

#[test]
fn what_is_no_request_of_this_wire() {
    let mut world = World::new(Config::default());
    let modern = world.join_polling();
    let id = open(&mut world);
    for (bytes, code) in [
        (get("/socket.io/xhr-polling/unknown/1"), 400),
        (get("/socket.io/xhr-polling/aaaaaaaaaaaaaaaaaaaaaaaa/1"), 400),
        (get(&format!("/socket.io/xhr-polling/{modern}/1")), 400),
        (get("/socket.io/xhr-polling/__proto__/1"), 400),
        (post("/socket.io/xhr-polling/unknown/send", "data=~m~1~m~a"), 400),
        (upgrade("/socket.io/websocket/unknown"), 400),
        (upgrade(&format!("/socket.io/websocket/{modern}")), 400),
        (upgrade(&format!("/socket.io/xhr-polling/{id}")), 400),
        (get("/socket.io/websocket"), 400),
        (get(&format!("/socket.io/websocket/{id}")), 400),
        (request("PUT", OPEN, &[], ""), 405),
        (request("OPTIONS", OPEN, &["Origin: http://localhost"], ""), 200),
    ] {
        let what = String::from_utf8_lossy(&bytes).lines().next().unwrap().to_string();
        assert_eq!(status(&world.ask(&bytes)), code, "{what}");
    }
    assert_eq!(world.sessions(), 2);
    let answer = world.ask(&get(&session(&id)));
    assert!(body(&answer).contains("\"code\":1,"), "nor is its id one of Engine.IO");
    // A proxy that merges slashes puts a timestamp in the place of the empty id.
    let answer = world.ask(&get("/socket.io/xhr-polling/1795447966090"));
    id_of(body(&answer));
}

#[test]
fn a_session_outlives_its_websocket() {
    let mut world = World::new(Config::default());
    let (link, id) = open_websocket(&mut world);
    world.heard();
    message(&mut world, "\"1\"");
    assert_eq!(world.frames(link), ["~m~1~m~1"]);
    world.cut(link, Cause::Failed);
    message(&mut world, "\"2\"");
    message(&mut world, "\"3\"");
    world.broadcast(&[], "message", "\"4\"");
    world.pass(9_999);
    assert_eq!(world.heard(), [""; 0]);
    // The client may come back by another websocket,
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/websocket/{id}")));
    assert_eq!(world.frames(link), ["~m~1~m~2", "~m~1~m~3", "~m~1~m~4"]);
    world.pass(10_000);
    assert_eq!(world.frames(link), ["~m~4~m~~h~2"], "with a heartbeat of its own");
    world.send(link, &text("~m~4~m~~h~2"));
    // or by polling,
    world.send(link, &[0x88, 0x80, 0, 0, 0, 0]);
    message(&mut world, "\"5\"");
    message(&mut world, "\"6\"");
    let parked = poll(&mut world, &id);
    assert_eq!(body(&world.received(parked)), "~m~1~m~5~m~1~m~6");
    message(&mut world, "\"7\"");
    // or by a websocket again, while the poll is still held.
    let parked = poll(&mut world, &id);
    assert_eq!(body(&world.received(parked)), "~m~1~m~7");
    let parked = poll(&mut world, &id);
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/websocket/{id}")));
    assert_eq!(body(&world.received(parked)), "");
    message(&mut world, "\"8\"");
    assert_eq!(world.frames(link), ["~m~1~m~8"]);
    // The newer one of two websockets is live.
    let newer = world.open();
    world.send(newer, &upgrade(&format!("/socket.io/websocket/{id}")));
    assert_eq!(world.frames(link), ["close"]);
    message(&mut world, "\"9\"");
    assert_eq!(world.frames(newer), ["~m~1~m~9"]);
    assert_eq!(world.heard(), [""; 0], "of all this the user has heard nothing");
    assert_eq!(world.sessions(), 1);
}

#[test]
fn who_does_not_come_back_is_gone() {
    for way in ["websocket", "poll cut", "answered", "never"] {
        let mut world = World::new(Config::default());
        let id = match way {
            "websocket" => {
                let (link, id) = open_websocket(&mut world);
                world.cut(link, Cause::Closed);
                id
            }
            _ => open(&mut world),
        };
        match way {
            "poll cut" => {
                let parked = poll(&mut world, &id);
                world.cut(parked, Cause::Closed);
            }
            "answered" => {
                let parked = poll(&mut world, &id);
                world.pass(5_000);
                message(&mut world, "1");
                world.received(parked);
            }
            _ => {}
        }
        world.heard();
        world.pass(9_999);
        assert_eq!((world.heard().len(), world.sessions()), (0, 1), "{way}");
        world.pass(1);
        assert_eq!(world.heard(), ["disconnect ping timeout"], "{way}");
        assert_eq!(world.sessions(), 0);
        let parked = poll(&mut world, &id);
        assert_eq!(status(&world.received(parked)), 400);
        world.pass(100_000);
        assert_eq!(world.server.next_timeout(), None);
    }
}

/// A busy client for an hour: there is one alarm at a time, in whatever order its deadlines come.
#[test]
fn a_long_life_over_polling() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    for round in 0..2_000u64 {
        let parked = poll(&mut world, &id);
        world.pass(round * 7_919 % 12_000);
        if round % 3 == 0 {
            world.cut(parked, Cause::Closed);
        } else {
            message(&mut world, "1");
            assert_eq!(body(&world.received(parked)).matches("~j~1").count(), 1);
        }
        world.pass(round * 104_729 % 9_000);
    }
    assert_eq!(world.sessions(), 1);
    world.pass(30_000);
    assert_eq!((world.sessions(), world.server.next_timeout()), (0, None));
}

#[test]
fn an_absent_client_has_room_for_so_many() {
    let mut config = Config::default();
    config.legacy06.max_pending_messages = 3;
    let mut world = World::new(config);
    let (link, id) = open_websocket(&mut world);
    world.heard();
    world.cut(link, Cause::Closed);
    for n in ["1", "2", "3"] {
        message(&mut world, n);
    }
    assert_eq!(
        world.emit(world.last_socket(), "message", "4"),
        Err(SendError::Full),
        "one is told, and may decide"
    );
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/websocket/{id}")));
    assert_eq!(world.frames(link), ["~m~4~m~~j~1", "~m~4~m~~j~2", "~m~4~m~~j~3"]);
    world.cut(link, Cause::Closed);
    for n in ["1", "2", "3"] {
        world.broadcast(&[], "message", n);
    }
    assert_eq!(world.sessions(), 1);
    world.broadcast(&[], "message", "4");
    assert_eq!(
        world.heard(),
        ["disconnect forced server close"],
        "a broadcast has nobody to tell"
    );
    assert_eq!(world.sessions(), 0);
}

#[test]
fn events_that_this_wire_does_not_know_arrive_as_json() {
    let mut world = World::new(Config::default());
    let (link, _) = open_websocket(&mut world);
    let socket = world.last_socket();
    for (name, json, payload) in [
        ("message", "\"hé😀\"", "~m~4~m~hé😀"),
        ("message", "{\"a\":[1]}", "~m~12~m~~j~{\"a\":[1]}"),
        ("message", "null", "~m~7~m~~j~null"),
        ("message", "\"~h~1\"", "~m~9~m~~j~\"~h~1\""),
        ("chat", "\"x\",1", "~m~34~m~~j~{\"event\":\"chat\",\"args\":[\"x\",1]}"),
        ("q\"", "", "~m~28~m~~j~{\"event\":\"q\\\"\",\"args\":[]}"),
    ] {
        world.emit(socket, name, json).unwrap();
        assert_eq!(world.frames(link), [payload], "{name} {json}");
    }
    let args = sio_proto::socket::Args {
        json: "{\"_placeholder\":true,\"num\":0}".into(),
        attachments: vec![Bytes::from_static(&[1, 2]), Bytes::new()],
        ..Default::default()
    };
    let mut message = Message::event("/".into(), "message".into(), args, None);
    let now = world.now;
    world
        .shard(|shard, _| shard.emit(now, socket, &mut message, None))
        .unwrap();
    let json = "{\"event\":\"message\",\"args\":[{\"_placeholder\":true,\"num\":0}],\"attachments\":[\"AQI=\",\"\"]}";
    assert_eq!(world.frames(link), [format!("~m~{}~m~~j~{json}", json.len() + 3)]);
    let ack = AckRequest { id: 1, timeout: None };
    assert_eq!(
        world.emit_in("/", socket, "q", "", Some(ack)),
        Err(SendError::Unsupported)
    );
    assert_eq!(world.frames(link), [""; 0]);
}

#[test]
fn the_server_ends_it_without_a_word() {
    let mut world = World::new(Config::default());
    let (link, _) = open_websocket(&mut world);
    world.heard();
    message(&mut world, "1");
    world.disconnect(world.last_socket(), false);
    assert_eq!(world.frames(link), ["~m~4~m~~j~1", "close"]);
    assert_eq!(world.heard(), ["disconnect server namespace disconnect"]);
    let id = open(&mut world);
    let parked = poll(&mut world, &id);
    world.command(Command::Shutdown {
        reason: Reason::ServerShuttingDown,
    });
    let answer = world.received(parked);
    assert_eq!((status(&answer), body(&answer)), (200, ""));
    assert_eq!(world.sessions(), 0);
}

#[test]
fn which_pages_may() {
    let evil = "Origin: http://evil.example";
    let good = "Origin: http://localhost";
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let polls = format!("/socket.io/xhr-polling/{id}/1");
    let sends = format!("/socket.io/xhr-polling/{id}/send");
    for (method, target, body) in [
        ("GET", OPEN, ""),
        ("GET", &*polls, ""),
        ("POST", &*sends, "data=~m~1~m~a"),
    ] {
        let answer = world.ask(&request(method, target, &[evil], body));
        assert_eq!(
            (status(&answer), common::body(&answer)),
            (401, "unauthorized"),
            "{method} {target}"
        );
        assert_eq!(header(&answer, "Access-Control-Allow-Origin"), None);
    }
    let mut headers = UPGRADE.to_vec();
    headers.push(evil);
    assert_eq!(
        status(&world.ask(&request("GET", "/socket.io/websocket", &headers, ""))),
        401
    );
    let answer = world.ask(&request("OPTIONS", OPEN, &[evil], ""));
    assert_eq!(header(&answer, "Access-Control-Allow-Origin"), None);
    assert_eq!(world.sessions(), 1);

    let answer = world.ask(&request("GET", OPEN, &[good, "Cookie: a=b"], ""));
    assert_eq!(header(&answer, "Access-Control-Allow-Origin"), Some("http://localhost"));
    assert_eq!(header(&answer, "Access-Control-Allow-Credentials"), Some("true"));
    let answer = world.ask(&request("POST", &sends, &[good], "data=~m~1~m~a"));
    assert_eq!(header(&answer, "Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(header(&answer, "Access-Control-Allow-Credentials"), None);
    let answer = world.ask(&request("OPTIONS", OPEN, &[good], ""));
    assert_eq!(header(&answer, "Access-Control-Allow-Methods"), Some("POST, GET"));
    assert_eq!(header(&answer, "Access-Control-Allow-Credentials"), Some("true"));

    let any = [
        Config::default().origins(Origins::Any),
        Config::default().cors(Cors::list(["http://evil.example"])),
    ];
    for config in any {
        let answer = World::new(config).ask(&request("GET", OPEN, &[evil], ""));
        assert_eq!(
            header(&answer, "Access-Control-Allow-Origin"),
            Some("http://evil.example")
        );
    }
    let answer = World::new(Config::default().origins(Origins::Any)).ask(&request("GET", OPEN, &["Origin: null"], ""));
    assert_eq!(header(&answer, "Access-Control-Allow-Origin"), Some("*"));
}

#[test]
fn a_payload_may_hold_more_than_one_thing() {
    let mut world = World::new(Config::default());
    let (link, _) = open_websocket(&mut world);
    world.heard();
    world.pass(10_000);
    assert_eq!(world.frames(link), ["~m~4~m~~h~1"]);
    world.send(link, &text("~m~4~m~~h~1~m~2~m~hi~m~5~m~~j~{}"));
    assert_eq!(world.heard(), ["event message \"hi\"", "event message {}"]);
    world.pass(9_999);
    assert_eq!((world.frames(link).len(), world.sessions()), (0, 1));
    world.pass(1);
    assert_eq!(world.frames(link), ["~m~4~m~~h~2"]);
}
