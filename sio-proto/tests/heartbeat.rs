//! The server pings and the client answers. A client that does not answer is gone at the exact
//! deadline (docs/protocol/engine-io.md §6).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use common::*;
use sio_proto::{Config, Legacy06, LinkId};
use std::time::Duration;

#[test]
fn pings_come_an_interval_after_the_handshake_and_after_each_answer() {
    let mut world = World::new(Config::default());
    let link = world.join();
    world.pass(24_999);
    assert_eq!(world.frames(link), [""; 0]);
    world.pass(1);
    assert_eq!(world.frames(link), ["2"]);
    world.pass(1_000);
    world.send(link, &text("3"));
    world.pass(24_999);
    assert_eq!(world.frames(link), [""; 0]);
    world.pass(1);
    assert_eq!(world.frames(link), ["2"]);
}

#[test]
fn no_answer_in_time_is_the_end() {
    let mut world = World::new(Config::default());
    let link = world.join();
    world.heard();
    world.pass(25_000);
    assert_eq!(world.frames(link), ["2"]);
    world.pass(19_999);
    world.send(link, &text("42[\"a\"]"));
    assert_eq!(world.heard(), ["event a "], "it may talk, but that is no answer");
    world.pass(1);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    assert_eq!(world.frames(link), ["close"]);
    assert_eq!((world.sessions(), world.ended), (0, vec![link]));
}

#[test]
fn an_answer_at_the_last_moment_counts() {
    let mut world = World::new(Config::default());
    let link = world.join();
    for _ in 0..10 {
        world.pass(25_000);
        world.pass(19_999);
        assert_eq!(world.frames(link), ["2"]);
        world.send(link, &text("3"));
    }
    world.pass(24_999);
    assert_eq!((world.sessions(), world.frames(link).len()), (1, 0));
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut world = World::new(Config::default());
    let link = world.join();
    for _ in 0..100 {
        world.send(link, &text("3"));
    }
    world.pass(25_000);
    assert_eq!(world.frames(link), ["2"]);
    world.send(link, &text("3"));
    world.send(link, &text("3"));
    world.send(link, &text("3probe"));
    world.pass(24_999);
    assert_eq!(world.frames(link), [""; 0]);
    world.pass(20_000);
    assert_eq!(world.frames(link), ["2"], "one ping, not three");
}

/// Hardening A8: the deadline for the answer starts when the ping has left; before that there is
/// none.
#[test]
fn a_ping_waits_for_a_poll_and_its_deadline_waits_with_it() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let parked = world.poll(&sid);
    world.pass(25_000);
    assert_eq!(body(&world.received(parked)), "2");
    assert_eq!(status(&world.push(&sid, "3")), 200);
    world.pass(25_000);
    world.pass(5_000);
    assert_eq!(status(&world.push(&sid, "3")), 200, "which is no answer");
    assert_eq!(body(&world.fetch(&sid)), "2", "it was in the queue");
    world.heard();
    world.pass(19_999);
    assert_eq!(world.heard(), [""; 0]);
    world.pass(1);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    assert!(body(&world.fetch(&sid)).contains("\"code\":1,"));
    assert_eq!(world.sessions(), 0);
}

#[test]
fn a_poll_that_waits_is_told_of_the_timeout() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let parked = world.poll(&sid);
    world.pass(25_000);
    world.received(parked);
    let parked = world.poll(&sid);
    world.pass(20_000);
    assert_eq!(body(&world.received(parked)), "1");
}

/// If the session moves to websocket while a ping is outstanding, genuine servers forget the
/// deadline. This server must keep it.
#[test]
fn the_deadline_survives_the_upgrade() {
    for answered in [false, true] {
        let mut world = World::new(Config::default());
        let sid = world.join_polling();
        world.heard();
        let parked = world.poll(&sid);
        world.pass(25_000);
        assert_eq!(body(&world.received(parked)), "2");
        let candidate = world.candidate(&sid);
        world.send(candidate, &text("2probe"));
        world.send(candidate, &text("5"));
        assert_eq!(world.frames(candidate), ["3probe"]);
        world.pass(19_999);
        assert_eq!(world.heard(), [""; 0]);
        if answered {
            world.send(candidate, &text("3"));
            world.pass(24_999);
            assert_eq!(world.frames(candidate), [""; 0]);
            world.pass(1);
            assert_eq!(world.frames(candidate), ["2"]);
        } else {
            world.pass(1);
            assert_eq!(world.heard(), ["disconnect ping timeout"]);
            assert_eq!(world.frames(candidate), ["close"]);
        }
    }
}

#[test]
fn a_pong_by_post_counts_although_the_session_moves() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let parked = world.poll(&sid);
    world.pass(25_000);
    assert_eq!(body(&world.received(parked)), "2");
    let candidate = world.candidate(&sid);
    world.send(candidate, &text("2probe"));
    let link = world.open();
    let late = post(&session(&sid), "3");
    world.send(link, &late[..late.len() - 1]);
    world.send(candidate, &text("5"));
    assert_eq!(world.frames(candidate), ["3probe"], "the switch waits for the POST");
    world.send(link, &late[late.len() - 1..]);
    assert_eq!(status(&world.received(link)), 200);
    world.pass(24_999);
    assert_eq!((world.sessions(), world.frames(candidate).len()), (1, 0));
    world.pass(1);
    assert_eq!(world.frames(candidate), ["2"]);
}

#[test]
fn raw_sessions_are_pinged_too_and_need_not_connect() {
    let mut config = Config::default();
    config.engine_path = Some("/engine.io".into());
    let mut world = World::new(config);
    let link = world.open();
    world.send(link, &upgrade("/engine.io/?EIO=4&transport=websocket"));
    world.frames(link);
    for _ in 0..4 {
        world.pass(25_000);
        assert_eq!(world.frames(link), ["2"]);
        world.send(link, &text("3"));
    }
    world.pass(45_000);
    assert_eq!(world.heard(), ["open", "close ping timeout"]);
    assert_eq!(world.frames(link), ["2", "close"]);
}

/// Many sessions that answer wake the server for their pings and for the stale deadlines of these
/// pings, and for nothing else, however long they live.
#[test]
fn a_hundred_thousand_sessions_wake_nobody_twice() {
    let mut world = World::new(Config::default());
    let count = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
    let links: Vec<_> = (0..count).map(|_| world.join()).collect();
    world.heard();
    let mut wakes = Vec::new();
    for _ in 0..6 {
        world.wakes = 0;
        world.pass(25_000);
        for &link in &links {
            world.send(link, &text("3"));
        }
        assert_eq!(world.sent.len(), links.len());
        world.sent.clear();
        wakes.push(world.wakes);
    }
    assert_eq!(world.sessions(), links.len());
    assert!(wakes.iter().all(|w| *w <= 3), "{wakes:?}");
    for link in links {
        world.cut(link, sio_proto::server::Cause::Closed);
    }
    world.pass(60_000);
    assert_eq!((world.sessions(), world.server.next_timeout()), (0, None));
}

/// A client that repeats an action that arms a timer does not get two timers.
#[test]
fn repeated_probes_and_attachments_arm_one_timer() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let candidate = world.candidate(&sid);
    world.send(candidate, &text("2probe"));
    for _ in 0..3 {
        assert_eq!(body(&world.fetch(&sid)), "6");
    }
    let held = world.poll(&sid);
    for _ in 0..50 {
        world.send(candidate, &text("2probe"));
        world.pass(1);
    }
    assert_eq!(world.received(held), "");
    world.wakes = 0;
    world.pass(1_000);
    assert_eq!(body(&world.received(held)), "6");
    assert_eq!(world.wakes, 1, "one noop for the poll that is held");

    let mut world = World::new(Config::default());
    let link = world.join();
    for _ in 0..50 {
        world.send(link, &text("451-[\"b\",{\"_placeholder\":true,\"num\":0}]"));
        world.send(link, &binary(b"x"));
        world.pass(1);
    }
    world.wakes = 0;
    world.pass(20_000);
    assert_eq!(world.wakes, 1, "one look after the attachments");
}

#[test]
fn the_old_wire_has_its_own_heartbeat() {
    let legacy = |change: fn(&mut Legacy06)| {
        let mut legacy = Legacy06::default();
        change(&mut legacy);
        Config::default().legacy06(legacy)
    };
    let mut world = World::new(legacy(|l| l.heartbeat_interval = Duration::from_secs(4)));
    let link = world.open();
    world.send(link, &upgrade("/socket.io/websocket"));
    assert!(world.frames(link)[0].starts_with("~m~39~m~"));
    world.pass(3_999);
    assert_eq!(world.frames(link), [""; 0]);
    world.pass(1);
    assert_eq!(world.frames(link), ["~m~4~m~~h~1"]);
    world.pass(7_999);
    world.send(link, &text("~m~4~m~~h~7"));
    world.send(link, &text("~m~6~m~~h~abc"));
    world.send(link, &text("~m~4~m~~h~1"));
    world.pass(4_000);
    assert_eq!(world.frames(link), ["~m~4~m~~h~2"]);
    world.heard();
    world.send(link, &text("~m~4~m~~h~1"));
    world.pass(7_999);
    assert_eq!(world.heard(), [""; 0]);
    world.pass(1);
    assert_eq!(
        world.heard(),
        ["disconnect ping timeout"],
        "yesterday's echo is no answer"
    );
    assert_eq!(world.frames(link), ["close"]);
    assert_eq!(world.sessions(), 0);
}

/// A client that takes few packets with each poll, and is far away, would get a ping behind its
/// queue too late.
#[test]
fn a_ping_leaves_before_the_messages_that_wait() {
    let mut world = World::new(Config::default().max_packets_per_poll(1usize));
    let sid = world.join_polling();
    let socket = world.last_socket();
    for number in 0..3 {
        world.emit(socket, "m", &number.to_string()).unwrap();
    }
    world.pass(25_000);
    assert_eq!(body(&world.fetch(&sid)), "2");
    assert_eq!(body(&world.fetch(&sid)), "42[\"m\",0]");
    assert_eq!(status(&world.push(&sid, "3")), 200);
    assert_eq!(body(&world.fetch(&sid)), "42[\"m\",1]");
    assert_eq!(body(&world.fetch(&sid)), "42[\"m\",2]");
    world.pass(24_999);
    assert_eq!(world.sessions(), 1);
}

/// The deadline of an answer that has come is not armed again, although the next ping is out when
/// it passes. So a client has few deadlines however long it lives.
#[test]
fn deadlines_of_answered_pings_run_out() {
    let config = Config::default().ping_interval(Duration::from_secs(1));
    let mut world = World::new(config);
    let link = world.join();
    for _ in 0..100 {
        world.pass(1_000);
        world.pass(900);
        world.send(link, &text("3"));
    }
    let timers = world.shard(|shard, _| shard.held().timers);
    assert!(timers <= 13, "{timers} deadlines, in 20 s there are 11 pings");
}

/// Clients that ping (revision 3): polls are no sign of life, and neither is what the server sends.
#[test]
fn a_client_that_has_stopped_to_ping_is_gone_whatever_it_is_sent() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &upgrade("/socket.io/?EIO=3&transport=websocket"));
    let socket = world.last_socket();
    world.heard();
    world.pass(44_000);
    world.emit(socket, "m", "1").unwrap();
    world.pass(999);
    assert_eq!(world.heard(), [""; 0]);
    world.pass(1);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
}

/// A client from which nothing was read need not have answered. It is asked again at once, and if
/// it polls, the time for its answer begins when its next poll has taken the question.
#[test]
fn an_excused_client_that_polls_is_asked_again() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let parked = world.poll(&sid);
    world.pass(25_000);
    assert_eq!(body(&world.received(parked)), "2");
    world.pass(19_000);
    let now = world.now;
    let socket = world.last_socket();
    world.shard(|shard, out| {
        let session = shard.session_of(socket).unwrap();
        shard.excuse(now, session, out);
    });
    world.heard();
    world.pass(1_000);
    assert_eq!(world.heard(), [""; 0], "its time is over, and it is excused");
    world.pass(15_000);
    assert_eq!(body(&world.fetch(&sid)), "2");
    world.pass(19_999);
    assert_eq!(world.sessions(), 1);
    assert_eq!(status(&world.push(&sid, "3")), 200);
    world.pass(10_000);
    assert_eq!(world.sessions(), 1);
}

/// How an old client comes.
type Come = fn(&mut World) -> LinkId;

/// A client of 0.9 on a websocket.
fn old_websocket(world: &mut World) -> LinkId {
    let answer = world.ask(&get("/socket.io/1/"));
    let id = body(&answer).split(':').next().unwrap().to_owned();
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    assert_eq!(world.frames(link), ["1::"]);
    world.heard();
    link
}

fn older_websocket(world: &mut World) -> LinkId {
    let link = world.open();
    world.send(link, &upgrade("/socket.io/websocket"));
    world.frames(link);
    world.heard();
    link
}

/// The same before 1.0: a second answer is none, and does not put the next question off.
#[test]
fn old_answers_that_nobody_asked_for_change_nothing() {
    let mut world = World::new(Config::default());
    let link = old_websocket(&mut world);
    world.pass(25_000);
    assert_eq!(world.frames(link), ["2::"]);
    world.send(link, &text("2::"));
    world.pass(15_000);
    world.send(link, &text("2::"));
    world.pass(9_999);
    assert_eq!(world.frames(link), [""; 0]);
    world.pass(1);
    assert_eq!(world.frames(link), ["2::"]);

    // Here the answer would have the number of the next question.
    let mut world = World::new(Config::default());
    let link = older_websocket(&mut world);
    world.pass(10_000);
    assert_eq!(world.frames(link), ["~m~4~m~~h~1"]);
    world.send(link, &text("~m~4~m~~h~1"));
    world.pass(5_000);
    world.send(link, &text("~m~4~m~~h~2"));
    world.pass(5_000);
    assert_eq!(world.frames(link), ["~m~4~m~~h~2"]);
}

/// Nor is an old client gone from which nothing was read. It is asked again at once, with the next
/// number if the questions have numbers, and then it has the usual time to answer.
#[test]
fn excused_old_clients_are_asked_again_once() {
    let mut config = Config::default();
    config.legacy06.heartbeat_timeout = Duration::from_secs(60);
    config.legacy09.heartbeat_interval = Duration::from_secs(10);
    let beats: [(Come, [&str; 2]); 2] = [
        (old_websocket, ["2::", "2::"]),
        (older_websocket, ["~m~4~m~~h~1", "~m~4~m~~h~2"]),
    ];
    for (come, [first, second]) in beats {
        let mut world = World::new(config.clone());
        let link = come(&mut world);
        let session = world.shard(|shard, _| shard.session_on(link)).unwrap();
        world.pass(10_000);
        assert_eq!(world.frames(link), [first]);
        world.pass(59_999);
        let now = world.now;
        world.shard(|shard, out| shard.excuse(now, session, out));
        world.pass(1);
        assert_eq!(world.frames(link), [second], "at once");
        world.pass(59_999);
        assert_eq!(
            (world.heard(), world.frames(link)),
            (vec![], vec![]),
            "{second}: and once"
        );
        world.pass(1);
        assert_eq!(world.heard(), ["disconnect ping timeout"], "{second}");

        // An answer in time is one, and the next question comes an interval later.
        let mut world = World::new(config.clone());
        let link = come(&mut world);
        let session = world.shard(|shard, _| shard.session_on(link)).unwrap();
        world.pass(69_999);
        let now = world.now;
        world.shard(|shard, out| shard.excuse(now, session, out));
        world.pass(2);
        world.send(link, &text(second));
        world.frames(link);
        world.pass(9_999);
        assert_eq!(world.frames(link), [""; 0], "{second}");
        world.pass(1);
        assert_eq!(world.frames(link).len(), 1, "{second}");
    }
}

/// A client of 0.6 that comes back by a stream is asked as on its first connection.
#[test]
fn a_stream_that_comes_back_has_a_heartbeat() {
    let mut world = World::new(Config::default());
    let answer = world.ask(&get("/socket.io/xhr-polling//1"));
    let id = body(&answer).rsplit('~').next().unwrap().to_owned();
    let link = world.open();
    world.send(link, &get(&format!("/socket.io/xhr-multipart/{id}")));
    world.received(link);
    world.heard();
    world.pass(10_000);
    assert!(world.received(link).contains("~h~1"));
    world.pass(8_000);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
}
