//! What a client of 0.3 to 0.9 misses when its connection fails is sent on its next connection
//! (docs/protocol/legacy-0.6.md §18).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use common::*;
use sio_proto::server::{Cause, Queued};
use sio_proto::websocket::{Opcode, encode_message};
use sio_proto::{BytesMut, Config, LinkId};

const OPEN: &str = "/socket.io/xhr-polling//1795447966090";

fn id_of(payload: &str) -> String {
    payload.strip_prefix("~m~39~m~").unwrap().into()
}

fn open(world: &mut World) -> String {
    let answer = world.ask(&get(OPEN));
    id_of(body(&answer))
}

fn open_websocket(world: &mut World) -> (LinkId, String) {
    let link = world.open();
    world.send(link, &upgrade("/socket.io/websocket"));
    let id = id_of(&world.frames(link)[0]);
    (link, id)
}

fn come_back(world: &mut World, id: &str) -> LinkId {
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/websocket/{id}")));
    link
}

fn poll_at(world: &mut World, id: &str, stamp: u64) -> LinkId {
    let link = world.open();
    world.send(link, &get(&format!("/socket.io/xhr-polling/{id}/{stamp}")));
    link
}

fn message(world: &mut World, json: &str) {
    world.emit(world.last_socket(), "message", json).unwrap();
}

fn unconfirmed(world: &mut World) -> u64 {
    world.shard(|shard, _| shard.counters().unconfirmed)
}

fn frame(text: &str) -> String {
    format!("~m~{}~m~{text}", text.len())
}

#[test]
fn what_was_not_written_completely_is_sent_on_the_next_websocket() {
    let mut world = World::new(Config::default());
    let (link, id) = open_websocket(&mut world);
    for text in ["one", "two", "three"] {
        message(&mut world, &format!("\"{text}\""));
    }
    assert_eq!(world.frames(link), ["one", "two", "three"].map(frame));
    // The kernel has taken the first message and a byte of the second.
    let len = |text: &str| frame(text).len() + 2;
    world.block(link, len("two") - 1 + len("three"));
    message(&mut world, "\"four\"");
    world.cut(link, Cause::Failed);
    message(&mut world, "\"five\"");
    let link = come_back(&mut world, &id);
    assert_eq!(world.frames(link), ["two", "three", "four", "five"].map(frame));
    assert_eq!(unconfirmed(&mut world), 1, "the first message");
    world.cut(link, Cause::Failed);
    assert_eq!(unconfirmed(&mut world), 5);
}

#[test]
fn a_client_that_is_faster_than_the_end_of_its_websocket_gets_all_in_order() {
    let mut world = World::new(Config::default());
    let (link, id) = open_websocket(&mut world);
    message(&mut world, "\"one\"");
    message(&mut world, "\"two\"");
    world.frames(link);
    world.block(link, frame("two").len() + 2);
    message(&mut world, "\"three\"");
    let newer = come_back(&mut world, &id);
    assert_eq!(world.ended, [link], "the old one is cut");
    assert_eq!(world.frames(newer), ["two", "three"].map(frame));
    assert_eq!(unconfirmed(&mut world), 1, "the first message");
    // A poll takes the packets over in the same way.
    world.block(newer, frame("three").len() + 2);
    message(&mut world, "\"four\"");
    let parked = poll_at(&mut world, &id, 1_795_447_966_104);
    assert_eq!(body(&world.received(parked)), [frame("three"), frame("four")].concat());
}

#[test]
fn a_websocket_that_takes_nothing_is_cut_and_loses_nothing() {
    let mut world = World::new(Config::default());
    let (link, id) = open_websocket(&mut world);
    message(&mut world, "\"one\"");
    world.frames(link);
    world.block(link, 3);
    message(&mut world, "\"two\"");
    world.pass(18_000);
    assert_eq!(world.ended, [link]);
    let link = come_back(&mut world, &id);
    // The heartbeat has waited behind them.
    assert_eq!(world.frames(link), ["one", "two", "~h~1"].map(frame));
    assert_eq!(unconfirmed(&mut world), 0);
}

/// The id of the session, which is no message, has left by a poll. So what a websocket takes later
/// counts in full.
#[test]
fn a_websocket_after_a_poll_counts_all_its_messages() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let link = come_back(&mut world, &id);
    message(&mut world, "\"one\"");
    message(&mut world, "\"two\"");
    assert_eq!(world.frames(link), ["one", "two"].map(frame));
    world.cut(link, Cause::Failed);
    assert_eq!(unconfirmed(&mut world), 2);
}

#[test]
fn the_answer_to_a_heartbeat_confirms_what_was_before_it() {
    let mut world = World::new(Config::default());
    let (link, _) = open_websocket(&mut world);
    message(&mut world, "\"one\"");
    message(&mut world, "\"two\"");
    world.pass(10_000);
    message(&mut world, "\"three\"");
    assert_eq!(world.frames(link), ["one", "two", "~h~1", "three"].map(frame));
    world.send(link, &text("~m~4~m~~h~1"));
    message(&mut world, "\"four\"");
    world.cut(link, Cause::Closed);
    assert_eq!(unconfirmed(&mut world), 2, "three and four");
}

#[test]
fn a_heartbeat_of_the_old_connection_does_not_come_back() {
    let mut world = World::new(Config::default());
    let (link, id) = open_websocket(&mut world);
    world.pass(10_000);
    message(&mut world, "\"one\"");
    assert_eq!(world.frames(link), ["~h~1", "one"].map(frame));
    world.block(link, 2 + frame("~h~1").len() + 2 + frame("one").len());
    world.cut(link, Cause::Failed);
    let link = come_back(&mut world, &id);
    assert_eq!(world.frames(link), [frame("one")]);
}

#[test]
fn a_poll_that_was_not_answered_completely_is_answered_again() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let parked = poll_at(&mut world, &id, 1_795_447_966_104);
    message(&mut world, "\"one\"");
    assert_eq!(body(&world.received(parked)), frame("one"));
    world.block(parked, 1);
    message(&mut world, "\"two\"");
    world.cut(parked, Cause::Failed);
    // The client may even come back by another transport.
    let link = come_back(&mut world, &id);
    assert_eq!(world.frames(link), ["one", "two"].map(frame));
    assert_eq!(unconfirmed(&mut world), 0);
}

/// A browser repeats a GET with its timestamp if the connection has failed
/// (docs/protocol/legacy-0.6.md §6).
#[test]
fn a_get_that_a_browser_repeats_is_answered_again() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let parked = poll_at(&mut world, &id, 1_795_447_966_104);
    message(&mut world, "\"one\"");
    assert_eq!(body(&world.received(parked)), frame("one"));
    world.cut(parked, Cause::Failed);
    message(&mut world, "\"two\"");
    let again = poll_at(&mut world, &id, 1_795_447_966_104);
    assert_eq!(body(&world.received(again)), [frame("one"), frame("two")].concat());
    // Once is enough: a client whose timestamps stand still would get it for ever.
    world.cut(again, Cause::Failed);
    let third = poll_at(&mut world, &id, 1_795_447_966_104);
    assert_eq!(world.received(third), "");
    assert_eq!(unconfirmed(&mut world), 2);
    // A client that asks for something else has read the answer, or has given it up.
    message(&mut world, "\"three\"");
    world.received(third);
    world.cut(third, Cause::Closed);
    let next = poll_at(&mut world, &id, 1_795_447_966_333);
    assert_eq!(world.received(next), "");
    assert_eq!(unconfirmed(&mut world), 3);
}

#[test]
fn the_next_request_on_its_connection_confirms_an_answer() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let link = poll_at(&mut world, &id, 1_795_447_966_104);
    message(&mut world, "\"one\"");
    assert_eq!(body(&world.received(link)), frame("one"));
    world.send(link, &get(&format!("/socket.io/xhr-polling/{id}/1795447966105")));
    world.cut(link, Cause::Failed);
    assert_eq!(unconfirmed(&mut world), 0);
    // A connection that ends by the server's answer says nothing about the answer.
    let closing = format!("GET /socket.io/xhr-polling/{id}/1795447966106 HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let link = world.open();
    world.send(link, closing.as_bytes());
    message(&mut world, "\"two\"");
    assert_eq!(body(&world.received(link)), frame("two"));
    let next = poll_at(&mut world, &id, 1_795_447_966_106);
    assert_eq!(world.received(next), "");
    assert_eq!(unconfirmed(&mut world), 0);
}

#[test]
fn a_client_whose_timestamps_stand_still_gets_nothing_twice() {
    let mut world = World::new(Config::default());
    let id = id_of(body(&world.ask(&get("/socket.io/xhr-polling//1795447966090"))));
    for text in ["one", "two", "three"] {
        let link = poll_at(&mut world, &id, 1_795_447_966_090);
        message(&mut world, &format!("\"{text}\""));
        assert_eq!(body(&world.received(link)), frame(text));
        world.cut(link, Cause::Closed);
    }
}

/// The kept answer of a poll counts as memory of the server, and is the first to go.
#[test]
fn a_kept_answer_gives_way_when_memory_is_short() {
    let mut world = World::new(Config::default().max_total_queued_bytes(5_000));
    let (first, second) = (open(&mut world), open(&mut world));
    let sockets = world.sockets.clone();
    let large = format!("\"{}\"", "x".repeat(3_000));
    for (id, socket) in [(&first, sockets[0]), (&second, sockets[1])] {
        let parked = poll_at(&mut world, id, 1_795_447_966_104);
        world.emit(socket, "message", &large).unwrap();
        assert_eq!(status(&world.received(parked)), 200);
    }
    assert!(world.shard(|shard, _| shard.budget().used() > 5_000));
    // The next input forgets an answer, and ends nobody.
    let third = open(&mut world);
    assert_eq!((world.sessions(), unconfirmed(&mut world)), (3, 1));
    assert!(world.shard(|shard, _| shard.budget().used() <= 5_000));
    let parked = poll_at(&mut world, &third, 1_795_447_966_104);
    assert_eq!(world.received(parked), "");
    let parked = poll_at(&mut world, &first, 1_795_447_966_105);
    world.emit(sockets[0], "message", "\"hi\"").unwrap();
    assert_eq!(body(&world.received(parked)), frame("hi"));
    assert_eq!(
        (world.sessions(), world.shard(|shard, _| shard.budget().used() <= 5_000)),
        (3, true)
    );
}

/// The client has lost a connection, and the server does not know it. The messages in the answer on
/// this connection are in doubt until the connection ends: only then they are counted.
#[test]
fn an_answer_on_a_half_dead_connection_is_counted_when_the_connection_ends() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let half_dead = poll_at(&mut world, &id, 1_795_447_966_104);
    message(&mut world, "\"one\"");
    assert_eq!(body(&world.received(half_dead)), frame("one"));
    let link = poll_at(&mut world, &id, 1_795_447_966_105);
    message(&mut world, "\"two\"");
    assert_eq!(body(&world.received(link)), frame("two"));
    world.send(link, &get(&format!("/socket.io/xhr-polling/{id}/1795447966106")));
    assert_eq!(
        unconfirmed(&mut world),
        0,
        "the client may still use the old connection"
    );
    world.cut(half_dead, Cause::Failed);
    assert_eq!(unconfirmed(&mut world), 1, "the first message");
}

/// No more than one answer is in doubt: an older one is counted when another takes its place, and
/// the last one when the session ends.
#[test]
fn at_most_one_answer_is_in_doubt() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    for (number, expected) in [(1, 0), (2, 0), (3, 1)] {
        let link = poll_at(&mut world, &id, 1_795_447_966_104 + number);
        message(&mut world, "\"text\"");
        assert_eq!(body(&world.received(link)), frame("text"));
        assert_eq!(unconfirmed(&mut world), expected, "after the answer to poll {number}");
    }
    world.pass(30_000);
    assert_eq!(unconfirmed(&mut world), 3, "the session has ended");
}

fn ping(data: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_message(&mut out, Opcode::Ping, data, Some([1, 2, 3, 4]));
    out.to_vec()
}

fn queued(world: &mut World) -> Queued {
    let socket = world.last_socket();
    world.shard(|shard, _| shard.queued(socket)).unwrap()
}

/// The answer to a ping is no packet of the session. If only this answer was not written, all
/// messages before it were.
#[test]
fn a_pong_that_was_not_written_repeats_no_message() {
    for is_read in [true, false] {
        let mut world = World::new(Config::default());
        let (link, id) = open_websocket(&mut world);
        if !is_read {
            // The answer waits until the link takes bytes again.
            world.block(link, 1);
            world.send(link, &ping(b"a"));
            world.server.handle_drained(world.now, link);
            world.settle();
            assert_eq!(world.frames(link), ["pong b\"a\""]);
        }
        message(&mut world, "\"one\"");
        world.send(link, &ping(b"b"));
        assert_eq!(world.frames(link), [frame("one"), "pong b\"b\"".into()]);
        message(&mut world, "\"two\"");
        world.send(link, &ping(b"c"));
        assert_eq!(world.frames(link), [frame("two"), "pong b\"c\"".into()]);
        let pong = 3;
        world.block(link, frame("two").len() + 2 + pong);
        world.block(link, pong);
        world.cut(link, Cause::Failed);
        let link = come_back(&mut world, &id);
        assert_eq!(world.frames(link), [""; 0]);
        assert_eq!(unconfirmed(&mut world), 2);
    }
}

/// The same, where the ping comes with the request that resumes the session: the messages leave
/// between the two.
#[test]
fn a_pong_behind_what_a_resumed_session_gets_repeats_nothing() {
    let mut world = World::new(Config::default());
    let (link, id) = open_websocket(&mut world);
    world.cut(link, Cause::Failed);
    message(&mut world, "\"one\"");
    let link = world.open();
    world.send(
        link,
        &[upgrade(&format!("/socket.io/websocket/{id}")), ping(b"b")].concat(),
    );
    world.block(link, 3);
    world.cut(link, Cause::Failed);
    let link = come_back(&mut world, &id);
    assert_eq!(world.frames(link), [""; 0]);
}

/// A connection that is ended because its client breaks a rule, or sends too much while it reads
/// nothing, loses no message either.
#[test]
fn who_breaks_a_rule_may_come_back_for_what_was_not_written() {
    let mut config = Config::default().max_payload(1_000);
    config.max_blocked_bytes = 100;
    let beginning = |config: &Config| {
        let mut world = World::new(config.clone());
        let (link, id) = open_websocket(&mut world);
        message(&mut world, "\"one\"");
        message(&mut world, "\"two\"");
        world.frames(link);
        world.block(link, frame("two").len() + 2);
        (world, link, id)
    };
    let ending = |mut world: World, link, id: &str| {
        assert_eq!(world.ended, [link]);
        let link = come_back(&mut world, id);
        assert_eq!(world.frames(link), [frame("two")]);
    };
    let (mut world, link, id) = beginning(&config);
    world.send(link, &[0xff; 10]);
    ending(world, link, &id);
    // Nothing is read any more, and as much may wait as one request may have.
    let (mut world, link, id) = beginning(&config);
    let http = world.shard(|shard, _| shard.config().http);
    let most = http.max_head_bytes + http.max_body_bytes;
    let beats = text("~m~1~m~a").repeat(20);
    world.send(link, &beats);
    assert!(!world.server.wants_bytes(link));
    world.send(link, &vec![0; most]);
    assert_eq!(world.ended, []);
    world.send(link, &[0]);
    ending(world, link, &id);
}

/// Streams, and websockets older than RFC 6455, lose nothing either: it is known which bytes belong
/// to which message.
#[test]
fn what_was_not_written_on_a_stream_is_sent_again() {
    let old = ["Upgrade: WebSocket", "Connection: Upgrade", "Origin: http://localhost"];
    for (open, around) in [
        (request("GET", "/socket.io/websocket", &old, ""), "\0|\u{fffd}"),
        (
            get("/socket.io/xhr-multipart/"),
            "Content-Type: text/plain\n\n|\n--socketio\n",
        ),
    ] {
        let mut world = World::new(Config::default());
        let link = world.open();
        world.send(link, &open);
        let opening = world.received(link);
        let id = opening.split("~m~39~m~").nth(1).unwrap()[..39].to_string();
        for text in ["one", "two", "three"] {
            message(&mut world, &format!("\"{text}\""));
        }
        let (before, behind) = around.split_once('|').unwrap();
        let whole = |text: &str| format!("{before}{}{behind}", frame(text));
        let expected: String = ["one", "two", "three"].iter().map(|text| whole(text)).collect();
        let received = world.received(link);
        assert_eq!(received, expected);
        // The character that stands for the last byte of hixie has three bytes.
        let last = whole("three").len() - if behind == "\u{fffd}" { 2 } else { 0 };
        world.block(link, last + 1);
        world.cut(link, Cause::Failed);
        let link = come_back(&mut world, &id);
        assert_eq!(world.frames(link), ["two", "three"].map(frame), "{open:?}");
        assert_eq!(unconfirmed(&mut world), 1);
    }
}

/// A client whose next poll comes before the end of its last one, which was not written completely,
/// gets the answer again. One that has got all of it does not.
#[test]
fn a_client_that_is_faster_than_the_end_of_its_poll_gets_all() {
    for is_drained in [false, true] {
        let mut world = World::new(Config::default());
        let id = open(&mut world);
        let first = poll_at(&mut world, &id, 1_795_447_966_104);
        message(&mut world, "\"one\"");
        assert_eq!(body(&world.received(first)), frame("one"));
        world.block(first, 1);
        if is_drained {
            world.server.handle_drained(world.now, first);
            world.settle();
        }
        let next = poll_at(&mut world, &id, 1_795_447_966_105);
        assert_eq!(world.ended, if is_drained { vec![] } else { vec![first] });
        message(&mut world, "\"two\"");
        let expected = match is_drained {
            true => frame("two"),
            false => frame("one"),
        };
        assert_eq!(body(&world.received(next)), expected);
    }
}

/// What comes back waits as before: its session counts it in its queue, and does not count it as
/// not confirmed.
#[test]
fn what_has_come_back_waits_in_the_queue() {
    let mut world = World::new(Config::default().max_queued_bytes(1_000));
    let id = open(&mut world);
    let parked = poll_at(&mut world, &id, 1_795_447_966_104);
    message(&mut world, "\"one\"");
    world.received(parked);
    world.block(parked, 1);
    world.cut(parked, Cause::Failed);
    assert_eq!(queued(&mut world).packets, 1);
    // What a lost connection has held does not take room in the queue any more.
    let link = come_back(&mut world, &id);
    assert_eq!(world.frames(link), [frame("one")]);
    world.block(link, 900);
    assert_eq!(queued(&mut world).bytes, 900);
    world.cut(link, Cause::Failed);
    let queue = queued(&mut world);
    assert!(queue.bytes <= 100, "{queue:?}");
    let large = format!("\"{}\"", "x".repeat(800));
    message(&mut world, &large);
    // A session that ends counts what nobody has confirmed, and not what has not left.
    let link = come_back(&mut world, &id);
    let before = unconfirmed(&mut world);
    assert!(world.frames(link).iter().any(|text| text.len() > 800));
    message(&mut world, "\"last\"");
    world.disconnect(world.last_socket(), true);
    assert_eq!(unconfirmed(&mut world), before + 3);
}

/// A client that uses a connection again has read the answer on it, also if another answer has come
/// meanwhile.
#[test]
fn a_connection_that_is_used_again_has_no_doubts() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let target = |stamp: u64| get(&format!("/socket.io/xhr-polling/{id}/{stamp}"));
    let (first, second) = (world.open(), world.open());
    for (link, stamp) in [(first, 1), (second, 2), (first, 3), (second, 4), (first, 5)] {
        world.send(link, &target(1_795_447_966_104 + stamp));
        message(&mut world, "\"text\"");
        assert_eq!(body(&world.received(link)), frame("text"));
        assert_eq!(unconfirmed(&mut world), 0, "{stamp}");
    }
}

fn used(world: &mut World) -> usize {
    world.shard(|shard, _| shard.budget().used())
}

/// A kept answer is memory only until the client shows that it has read it: by another poll on the
/// same connection or on another one, or by a POST on the same connection.
#[test]
fn an_answer_that_was_read_is_not_kept() {
    enum Sign {
        PollHere,
        PollElsewhere,
        PostHere,
    }
    for sign in [Sign::PollHere, Sign::PollElsewhere, Sign::PostHere] {
        let mut world = World::new(Config::default());
        let id = open(&mut world);
        let link = poll_at(&mut world, &id, 1_795_447_966_104);
        message(&mut world, "\"one\"");
        assert_eq!(body(&world.received(link)), frame("one"));
        assert!(used(&mut world) > 0);
        let poll = get(&format!("/socket.io/xhr-polling/{id}/1795447966105"));
        match sign {
            Sign::PollHere => world.send(link, &poll),
            Sign::PollElsewhere => {
                let other = world.open();
                world.send(other, &poll);
            }
            Sign::PostHere => {
                let target = format!("/socket.io/xhr-polling/{id}/send");
                let form = format!("data={}", frame("two"));
                world.send(
                    link,
                    &older::post_bytes(&target, "application/x-www-form-urlencoded", form.as_bytes()),
                );
            }
        }
        assert_eq!((used(&mut world), unconfirmed(&mut world)), (0, 0));
    }
}

/// A client comes back by a websocket, and its poll was not answered completely. It need not wait
/// until the connection of the poll ends: the server ends it, and what was in the answer comes
/// first. The same in the wire of 0.9.
#[test]
fn what_a_poll_did_not_take_comes_by_the_websocket() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let parked = poll_at(&mut world, &id, 1_795_447_966_104);
    message(&mut world, "\"one\"");
    assert_eq!(body(&world.received(parked)), frame("one"));
    world.block(parked, 1);
    let link = come_back(&mut world, &id);
    message(&mut world, "\"two\"");
    assert_eq!(world.frames(link), ["one", "two"].map(frame));
    assert_eq!(world.ended, [parked], "half an answer may not be completed later");
    assert_eq!((world.sessions(), unconfirmed(&mut world)), (1, 0));

    let mut world = World::new(Config::default());
    let answer = world.ask(&get("/socket.io/1/"));
    let id = body(&answer).split(':').next().unwrap().to_owned();
    let poll = format!("/socket.io/1/xhr-polling/{id}?t=1");
    assert!(world.ask(&get(&poll)).ends_with("1::"));
    let parked = world.open();
    world.send(parked, &get(&poll));
    message(&mut world, "\"one\"");
    assert_eq!(body(&world.received(parked)), "3:::one");
    world.block(parked, 1);
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    message(&mut world, "\"two\"");
    assert_eq!(world.frames(link), ["1::", "3:::one", "3:::two"]);
    assert_eq!(world.ended, [parked]);
    assert_eq!((world.sessions(), unconfirmed(&mut world)), (1, 0));
}

/// If the kernel has taken all of the answer after all, it is not sent again.
#[test]
fn an_answer_that_was_written_late_is_written_once() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let parked = poll_at(&mut world, &id, 1_795_447_966_104);
    message(&mut world, "\"one\"");
    assert_eq!(body(&world.received(parked)), frame("one"));
    world.block(parked, 1);
    world.server.handle_drained(world.now, parked);
    world.settle();
    let link = come_back(&mut world, &id);
    message(&mut world, "\"two\"");
    assert_eq!(world.frames(link), [frame("two")]);
    assert_eq!(world.ended, [] as [LinkId; 0]);
}

/// A link that takes no more has taken an answer of which no byte waits. So the answer is not sent
/// again.
#[test]
fn an_answer_of_which_nothing_waits_was_written() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let parked = poll_at(&mut world, &id, 1_795_447_966_104);
    message(&mut world, "\"one\"");
    assert_eq!(body(&world.received(parked)), frame("one"));
    world.block(parked, 0);
    let next = poll_at(&mut world, &id, 1_795_447_966_105);
    message(&mut world, "\"two\"");
    assert_eq!(body(&world.received(next)), frame("two"));
    assert_eq!(world.ended, [] as [LinkId; 0]);
}

/// A connection that has served its poll says nothing about its client any more: its end does not
/// lengthen the wait for it.
#[test]
fn the_end_of_an_answered_connection_lengthens_nothing() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let parked = poll_at(&mut world, &id, 1_795_447_966_104);
    world.pass(20_000);
    assert_eq!(body(&world.received(parked)), "", "nothing for 20 s");
    world.pass(5_000);
    world.cut(parked, Cause::Closed);
    world.pass(4_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.sessions(), 0);
}

/// Bytes that a lost link held take no room from what waits for the next one.
#[test]
fn a_lost_link_holds_nothing() {
    let mut world = World::new(Config::default().max_queued_bytes(1_000));
    let (link, id) = open_websocket(&mut world);
    world.block(link, 900);
    world.cut(link, Cause::Failed);
    let text = "x".repeat(300);
    message(&mut world, &format!("\"{text}\""));
    let link = come_back(&mut world, &id);
    assert_eq!(world.frames(link).last(), Some(&frame(&text)));
}
