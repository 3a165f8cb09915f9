//! Peers that do not read: the bytes that wait for them are bounded, their own bytes are no sign of
//! life, and other peers do not pay for them.

mod common;

use common::*;
use sio_proto::server::{Budget, Cause, SendError};
use sio_proto::{Config, LinkId, SocketKey};
use std::time::Duration;

fn ping(data: &[u8]) -> Vec<u8> {
    let mut out = sio_proto::BytesMut::new();
    sio_proto::websocket::encode_message(&mut out, sio_proto::websocket::Opcode::Ping, data, Some([1, 2, 3, 4]));
    out.to_vec()
}

fn block(world: &mut World, link: LinkId, held: usize) {
    world.server.handle_blocked(world.now, link, held);
}

fn drain(world: &mut World, link: LinkId) {
    world.server.handle_drained(world.now, link);
    world.settle();
}

fn joined(change: impl FnOnce(&mut Config)) -> (World, LinkId, SocketKey) {
    let mut config = Config::default();
    change(&mut config);
    let mut world = World::new(config);
    let link = world.join();
    world.heard();
    let socket = world.last_socket();
    (world, link, socket)
}

/// Hardening A2: while pongs are read, all are sent. When they are not read, only the latest is
/// kept.
#[test]
fn one_pong_waits() {
    let (mut world, link, socket) = joined(|_| ());
    let pings: Vec<u8> = (0..10).flat_map(|n| ping(&[b'a' + n])).collect();
    world.send(link, &pings);
    assert_eq!(world.frames(link).len(), 10);
    block(&mut world, link, 100);
    for _ in 0..50 {
        world.send(link, &pings);
    }
    assert_eq!(world.frames(link), [""; 0]);
    drain(&mut world, link);
    assert_eq!(world.frames(link), ["pong b\"j\""]);
    world.assert_works(link, socket);
}

/// Hardening A2: a few KiB are read from a peer that reads nothing, so that its pong is read. The
/// rest waits, up to a limit.
#[test]
fn a_blocked_link_is_not_read_from() {
    let (mut world, link, socket) = joined(|c| c.max_blocked_bytes = 1_000);
    block(&mut world, link, 100);
    let event = text("42[\"m\"]");
    let mut heard = 0;
    for _ in 0..1_000 {
        world.send(link, &event);
        heard += world.heard().len();
    }
    assert_eq!(heard, 1_000usize.div_ceil(event.len()));
    assert!(!world.server.wants_bytes(link));
    drain(&mut world, link);
    assert!(world.server.wants_bytes(link));
    assert_eq!(heard + world.heard().len(), 1_000, "nothing is lost");
    world.assert_works(link, socket);
    // What waits for the rest of its frame has not been read.
    block(&mut world, link, 100);
    let large = text(&format!("42[\"m\",\"{}\"]", "x".repeat(900)));
    world.send(link, &large[..800]);
    assert!(world.server.wants_bytes(link));
    world.send(link, &large[800..]);
    assert_eq!(world.heard().len(), 1);
    drain(&mut world, link);

    block(&mut world, link, 100);
    let mut sent = 0;
    while world.ended.is_empty() && sent < 10_000_000 {
        world.send(link, &event.repeat(1_000));
        sent += 1_000 * event.len();
    }
    assert!(sent < 1_100_000, "{sent} bytes were taken");
    assert_eq!(world.heard().pop().unwrap(), "disconnect transport error");
}

/// Hardening A2: a candidate that probes again and again is answered once.
#[test]
fn one_answer_to_a_probe() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let candidate = world.candidate(&sid);
    for _ in 0..1_000 {
        world.send(candidate, &text("2probe"));
    }
    assert_eq!(world.frames(candidate), ["3probe"]);
    world.send(candidate, &text("5"));
    let socket = world.last_socket();
    world.assert_works(candidate, socket);
}

/// Hardening A2: packets of the protocol that a peer causes and does not fetch are counted: pongs
/// of Engine.IO 3 with confirmations between them.
#[test]
fn answers_of_the_protocol_are_counted() {
    let mut world = World::new(Config::default());
    let (bystander, socket) = world.bystander();
    let url = "/socket.io/?EIO=3&transport=polling";
    let url = format!("{url}&sid={}", sid(&world.ask(&get(url))));
    world.heard();
    let mut asked = 0;
    while world.heard().is_empty() && asked < 100_000 {
        world.ask(&post(&url, &"1:22:40".repeat(500)));
        asked += 1_000;
    }
    assert!(asked <= 10_000, "{asked} answers wait, and nobody fetches them");
    world.assert_works(bystander, socket);
}

/// Hardening A2: packets of the protocol may take an eighth of the queue in addition to the
/// messages, and a little more if the queue is small. With one packet or byte more the session
/// ends. Here a client of 0.9 joins again and again, and fetches no answer.
#[test]
fn answers_of_the_protocol_have_an_eighth() {
    let long = format!("1::/{}", "x".repeat(106));
    let bytes = 16_000 + 2_000 + 16 * 1_024;
    for (joining, most) in [("1::/a", 80 + 10 + 64), (&*long, bytes / (2 + long.len()))] {
        for too_many in [false, true] {
            let mut config = Config::default().max_connects_per_second(10_000);
            match joining {
                "1::/a" => config.legacy09.max_pending_messages = 80,
                _ => config.max_queued_bytes = 16_000,
            }
            let mut world = World::new(config);
            let answer = world.ask(&get("/socket.io/1/"));
            let target = format!("/socket.io/1/xhr-polling/{}", body(&answer).split(':').next().unwrap());
            world.ask(&post(&target, joining));
            assert!(world.ask(&get(&target)).ends_with(joining));
            let framed = format!("\u{fffd}{}\u{fffd}{joining}", joining.len());
            world.ask(&post(&target, &framed.repeat(most + usize::from(too_many))));
            assert_eq!(world.sessions(), usize::from(!too_many), "{joining}");
            let ends = "limit, ends: the client causes answers and does not fetch them";
            assert_eq!(world.breaches, if too_many { vec![ends] } else { vec![] });
        }
    }
}

/// Bytes that a link holds fill the queue of a session, up to its limit and not a byte further:
/// then a CONNECT, whose answer needs room, is refused.
#[test]
fn a_queue_is_full_at_its_limit() {
    for (held, is_full) in [(999, false), (1_000, true)] {
        let (mut world, link, _) = joined(|c| c.max_queued_bytes = 1_000);
        block(&mut world, link, held);
        world.send(link, &text("40/other,"));
        assert_eq!(
            world.breaches.len(),
            usize::from(is_full),
            "{held}: {:?}",
            world.breaches
        );
    }
}

/// Hardening A8: an unsolicited `3` does not keep a session alive if its client reads nothing.
#[test]
fn blind_pongs_do_not_keep_a_session() {
    let (mut world, link, socket) = joined(|_| ());
    world.emit(socket, "m", "1").unwrap();
    block(&mut world, link, 50);
    for second in 1..45 {
        world.pass(1_000);
        world.send(link, &text("3"));
        assert_eq!(world.heard(), [""; 0], "{second}");
    }
    world.pass(999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    assert_eq!((world.sessions(), world.ended.pop()), (0, Some(link)));
    world.pass(100_000);
    assert_eq!(world.server.next_timeout(), None);
}

/// Hardening A8: a client that takes a byte now and then is slow, but not gone. The deadline for
/// the answer to its heartbeat starts when the heartbeat has left.
#[test]
fn a_slow_reader_lives_and_answers_late() {
    let (mut world, link, socket) = joined(|_| ());
    block(&mut world, link, 1_000);
    for left in (0..10).rev() {
        world.pass(44_000);
        block(&mut world, link, left * 100);
    }
    assert_eq!(world.heard(), [""; 0]);
    drain(&mut world, link);
    assert_eq!(world.frames(link), ["2"], "one, however often it was due");
    world.pass(19_999);
    assert_eq!(world.heard(), [""; 0]);
    world.send(link, &text("3"));
    world.assert_works(link, socket);
    world.pass(25_000);
    assert_eq!(world.frames(link), ["2"]);
    world.pass(20_000);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
}

/// Hardening A8: the answer to a ping that left before the link was blocked counts while the link
/// is blocked.
#[test]
fn an_answer_counts_while_the_link_is_blocked() {
    let (mut world, link, socket) = joined(|_| ());
    world.pass(25_000);
    assert_eq!(world.frames(link), ["2"]);
    block(&mut world, link, 500);
    world.pass(10_000);
    world.send(link, &text("3"));
    world.pass(10_000);
    drain(&mut world, link);
    world.pass(14_999);
    assert_eq!((world.heard().len(), world.frames(link).len()), (0, 0));
    world.pass(1);
    assert_eq!(world.frames(link), ["2"], "an interval after the answer");
    world.send(link, &text("3"));
    world.assert_works(link, socket);
}

/// Hardening A8: POSTs are no sign of life for a client that never polls.
#[test]
fn whoever_only_posts_is_gone() {
    for (url, pong, deadline) in [
        (POLLING, "3", 45_000),
        ("/socket.io/?EIO=3&transport=polling", "1:2", 45_000),
        ("/socket.io/?EIO=3&transport=polling", "1:3", 45_000),
    ] {
        let mut world = World::new(Config::default());
        let sid = sid(&world.ask(&get(url)));
        let url = format!("{url}&sid={sid}");
        if pong == "3" {
            world.ask(&post(&url, "40"));
        }
        world.ask(&get(&url));
        world.heard();
        let mut passed = 0;
        while world.sessions() == 1 && passed < 200_000 {
            world.pass(1_000);
            passed += 1_000;
            world.ask(&post(&url, pong));
        }
        assert_eq!(passed, deadline, "{url} {pong}");
        assert_eq!(world.heard().pop().unwrap(), "disconnect ping timeout");
    }
}

/// Hardening A8: heartbeats of 0.7 to 0.9 and of the 0.6 family, answered without reading over a
/// link that takes nothing.
#[test]
fn blind_echoes_do_not_keep_an_old_session() {
    let mut world = World::new(Config::default());
    let answer = world.ask(&get("/socket.io/1/"));
    let id = body(&answer).split(':').next().unwrap().to_owned();
    let link = world.open();
    world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
    assert_eq!(world.frames(link), ["1::"]);
    world.heard();
    block(&mut world, link, 10);
    let mut passed = 0;
    while world.sessions() == 1 && passed < 1_000_000 {
        world.send(link, &text("2::"));
        world.pass(1_000);
        passed += 1_000;
    }
    assert_eq!(
        (passed, world.heard()),
        (85_000, vec!["disconnect ping timeout".to_owned()])
    );

    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &upgrade("/socket.io/websocket"));
    world.frames(link);
    world.heard();
    block(&mut world, link, 10);
    let mut passed = 0;
    while world.sessions() == 1 && passed < 1_000_000 {
        for beat in 1..4 {
            world.send(link, &text(&format!("~m~4~m~~h~{beat}")));
        }
        world.pass(1_000);
        passed += 1_000;
    }
    let reconnect = 10_000;
    assert_eq!(passed, 18_000 + reconnect, "it might come back, with another link");
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    assert_eq!(world.ended, [link]);
}

/// Hardening A8: bytes of a session that the caller still holds count as bytes of the session.
#[test]
fn what_a_link_holds_is_counted() {
    let (mut world, link, socket) = joined(|c| c.max_queued_bytes = 1_000);
    block(&mut world, link, 900);
    let large = format!("\"{}\"", "x".repeat(200));
    assert_eq!(world.emit(socket, "m", &large), Err(SendError::Full));
    block(&mut world, link, 700);
    world.emit(socket, "m", &large).unwrap();
    assert_eq!(world.emit(socket, "m", &large), Err(SendError::Full));
    drain(&mut world, link);
    assert_eq!(world.frames(link).len(), 1);
    world.assert_works(link, socket);
}

/// Hardening A3: a message that fits into no queue is an error for the sender, and its recipients
/// stay.
#[test]
fn a_message_that_is_too_large_ends_nobody() {
    let (mut world, link, socket) = joined(|c| {
        c.max_queued_bytes = 1_000;
        c.max_queued_packets = 100;
    });
    let large = format!("\"{}\"", "x".repeat(1_000));
    assert_eq!(world.emit(socket, "m", &large), Err(SendError::TooLarge));
    world.broadcast(&[], "m", &large);
    assert_eq!(world.heard(), [""; 0]);
    world.assert_works(link, socket);
}

/// Hardening A8: outboxes share a budget. When it is used up, the sessions for which most bytes
/// wait are ended. A client that reads is not affected.
#[test]
fn all_queues_together_are_bounded() {
    let mut config = Config::default();
    config.max_total_queued_bytes = 10_000;
    let mut world = World::new(config);
    let (bystander, reader) = world.bystander();
    let idle: Vec<(LinkId, SocketKey)> = (0..4).map(|_| world.bystander()).collect();
    world.heard();
    for (link, _) in &idle {
        block(&mut world, *link, 0);
    }
    let large = format!("\"{}\"", "x".repeat(1_000));
    for _ in 0..6 {
        world.emit(idle[0].1, "m", &large).unwrap();
    }
    for (_, socket) in &idle[1..] {
        world.emit(*socket, "m", &large).unwrap();
    }
    assert_eq!(world.heard(), [""; 0]);
    assert!(world.server.shard(world.now, |shard, _| shard.budget().used()) > 9_000);
    world.emit(idle[1].1, "m", &large).unwrap();
    assert_eq!(
        world.emit(idle[2].1, "m", &large),
        Err(SendError::Full),
        "it has to wait for its link"
    );
    world.emit(reader, "m", &large).unwrap();
    assert_eq!(world.frames(bystander).len(), 1, "this one has not");

    // The next input of any kind ends the session.
    world.send(bystander, &text("42[\"m\"]"));
    assert_eq!(world.heard(), ["event m ", "disconnect forced server close"]);
    assert_eq!(world.ended, [idle[0].0]);
    world.emit(idle[2].1, "m", &large).unwrap();
    for (link, _) in &idle[1..] {
        world.cut(*link, Cause::Closed);
    }
    assert_eq!(world.server.shard(world.now, |shard, _| shard.budget().used()), 0);
    world.assert_works(bystander, reader);
}

/// Hardening A8: bytes that the caller holds count in the budget, until they are written or their
/// link is gone.
#[test]
fn bytes_in_the_callers_hands_are_in_the_budget() {
    let (mut world, link, _) = joined(|_| ());
    let used = |world: &mut World| world.server.shard(world.now, |shard, _| shard.budget().used());
    block(&mut world, link, 500);
    assert_eq!(used(&mut world), 500);
    block(&mut world, link, 400);
    assert_eq!(used(&mut world), 400);
    drain(&mut world, link);
    assert_eq!(used(&mut world), 0);
    // So do those that wait in the session.
    block(&mut world, link, 300);
    world.emit(world.last_socket(), "m", "1").unwrap();
    assert!(used(&mut world) > 300);
    drain(&mut world, link);
    assert_eq!(used(&mut world), 0);
    block(&mut world, link, 300);
    world.cut(link, Cause::Closed);
    assert_eq!((used(&mut world), world.sessions()), (0, 0));
}

/// Hardening A17: a session that is closing is gone when its heartbeat would have ended it, if its
/// client fetches nothing.
#[test]
fn a_closing_session_does_not_outlive_its_heartbeat() {
    let config = || {
        Config::default()
            .ping_interval(Duration::from_millis(300))
            .ping_timeout(Duration::from_millis(200))
    };
    for (url, broken, deadline) in [
        (POLLING, "4", 500),
        (POLLING, "bAQ", 500),
        ("/socket.io/?EIO=3&transport=polling", "1:x", 500),
        ("/socket.io/?EIO=3&transport=polling", "2:4x", 500),
    ] {
        let mut world = World::new(config());
        let sid = sid(&world.ask(&get(url)));
        let answer = world.ask(&post(&format!("{url}&sid={sid}"), broken));
        assert!(matches!(status(&answer), 200 | 400), "{answer}");
        world.pass(deadline - 1);
        world.pass(1);
        assert_eq!(world.sessions(), 0, "{url} {broken}");
    }
    // This holds in every part of the heartbeat, and never takes longer than `close_timeout`.
    for fetched in [false, true] {
        let mut world = World::new(config());
        let sid = world.join_polling();
        world.pass(300);
        if fetched {
            assert_eq!(body(&world.fetch(&sid)), "2");
        }
        world.pass(100);
        let socket = world.last_socket();
        world.disconnect(socket, true);
        world.pass(99);
        assert_eq!(world.sessions(), 1);
        world.pass(1);
        assert_eq!(world.sessions(), 0);
    }
    let mut world = World::new(Config::default());
    world.join_polling();
    let socket = world.last_socket();
    world.disconnect(socket, true);
    world.pass(29_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.sessions(), 0);
    // In 0.9 the time of the last poll counts.
    let mut world = World::new(Config::default());
    let answer = world.ask(&get("/socket.io/1/"));
    let id = body(&answer).split(':').next().unwrap().to_owned();
    assert!(body(&world.ask(&get(&format!("/socket.io/1/xhr-polling/{id}")))).starts_with("1::"));
    world.pass(50_000);
    let socket = world.last_socket();
    world.disconnect(socket, true);
    assert_eq!(world.sessions(), 1);
    world.pass(10_000);
    assert_eq!(world.sessions(), 0);
}

/// A client that fetches the rest of a long goodbye is alive, and gets all of it, although a
/// closing session hears neither pings nor pongs. It has the time of a ping's answer between two
/// fetches, and `close_timeout` in all.
#[test]
fn a_client_that_fetches_a_long_goodbye_gets_all_of_it() {
    let config = || {
        Config::default()
            .ping_interval(Duration::from_millis(300))
            .ping_timeout(Duration::from_millis(200))
            .close_timeout(Duration::from_millis(1000))
            .max_packets_per_poll(1)
    };
    let closing = |url: &str, joining: &str| {
        let mut world = World::new(config());
        let sid = sid(&world.ask(&get(url)));
        let poll = format!("{url}&sid={sid}");
        if !joining.is_empty() {
            assert_eq!(body(&world.ask(&post(&poll, joining))), "ok");
        }
        world.ask(&get(&poll));
        world.pass(150);
        let socket = world.last_socket();
        for number in 0..20 {
            world.emit(socket, "a", &number.to_string()).unwrap();
        }
        world.disconnect(socket, true);
        (world, poll)
    };
    for (url, joining) in [(POLLING, "40"), ("/socket.io/?EIO=3&transport=polling", "")] {
        // The goodbye has 21 packets and the close. A fetch comes each 40 ms, and nothing else.
        let (mut world, poll) = closing(url, joining);
        let mut got = String::new();
        for _ in 0..22 {
            world.pass(40);
            got += body(&world.ask(&get(&poll)));
        }
        for number in 0..20 {
            assert!(got.contains(&format!("42[\"a\",{number}]")), "{url} {number}: {got}");
        }
        assert!(got.contains("41") && got.ends_with('1'), "{url}: {got}");
        assert_eq!(world.sessions(), 0, "{url}");
        // Who stops has a ping's timeout.
        let (mut world, poll) = closing(url, joining);
        for _ in 0..10 {
            world.pass(40);
            world.ask(&get(&poll));
        }
        world.pass(199);
        assert_eq!(world.sessions(), 1, "{url}");
        world.pass(1);
        assert_eq!(world.sessions(), 0, "{url}");
        // Who fetches for ever, and slowly, has `close_timeout`.
        let (mut world, poll) = closing(url, joining);
        for _ in 0..7 {
            world.pass(140);
            assert_eq!(status(&world.ask(&get(&poll))), 200, "{url}");
        }
        world.pass(19);
        assert_eq!(world.sessions(), 1, "{url}");
        world.pass(1);
        assert_eq!(world.sessions(), 0, "{url}");
    }
}

/// Hardening A17, for clients that ping (revision 3): the ping that came last counts as before, and
/// an answer to a GET that was parked before the goodbye is no sign of life.
#[test]
fn a_goodbye_ends_no_session_early_and_lets_no_dead_client_stay() {
    let open = || {
        let mut world = World::new(Config::default());
        let url = "/socket.io/?EIO=3&transport=polling";
        let poll = format!("{url}&sid={}", sid(&world.ask(&get(url))));
        world.ask(&get(&poll));
        (world, poll)
    };
    // A ping at 24 s, a goodbye at 30 s, and the next GET at 47 s, because the answer was large.
    let (mut world, poll) = open();
    world.pass(24_000);
    assert_eq!(body(&world.ask(&post(&poll, "1:2"))), "ok");
    world.ask(&get(&poll));
    world.pass(6_000);
    let socket = world.last_socket();
    world.emit(socket, "a", "1").unwrap();
    world.disconnect(socket, true);
    world.pass(17_000);
    assert!(body(&world.ask(&get(&poll))).contains("42[\"a\",1]"));
    // A client that is gone: its GET waits, and its last ping was the beginning.
    let (mut world, poll) = open();
    let parked = world.open();
    world.send(parked, &get(&poll));
    world.pass(44_000);
    let socket = world.last_socket();
    world.disconnect(socket, true);
    world.pass(999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.sessions(), 0);
}

/// Hardening A17: when there is no room, sessions that only wait for a last poll are ended first.
#[test]
fn closing_sessions_do_not_fill_the_table() {
    let mut config = Config::default();
    config.max_sessions = 3;
    let mut world = World::new(config);
    let (bystander, socket) = world.bystander();
    for _ in 0..20 {
        let answer = world.ask(&get(POLLING));
        assert_eq!(status(&answer), 200);
        let sid = sid(&answer);
        world.ask(&post(&session(&sid), "40"));
        let asked = world.last_socket();
        world.disconnect(asked, true);
    }
    assert_eq!(world.sessions(), 3);
    world.assert_works(bystander, socket);
}

/// Hardening A8: a slow reader that has taken something has as much time again, and no more. Why it
/// was ended is told.
#[test]
fn a_slow_reader_that_stops_is_gone() {
    let (mut world, link, _) = joined(|_| ());
    block(&mut world, link, 1_000);
    world.pass(44_000);
    block(&mut world, link, 900);
    world.pass(44_999);
    assert_eq!((world.heard(), world.sessions()), (vec![], 1));
    world.pass(1);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    assert_eq!(world.ended, [link]);
    let [breach] = &world.breaches[..] else {
        panic!("one breach: {:?}", world.breaches);
    };
    assert!(breach.contains("taken in time"), "{breach}");
    assert_eq!(world.server.shard(world.now, |shard, _| shard.budget().used()), 0);
}

/// Hardening A8: a message counts in the budget of all queues in whatever way it is sent, and who
/// is ended because of it is told why.
#[test]
fn every_way_to_send_counts_in_the_budget() {
    use sio_proto::server::{Command, Key, Message, Policy, Target};
    let used = |world: &mut World| world.server.shard(world.now, |shard, _| shard.budget().used());
    let message = || {
        let json = format!("\"{}\"", "x".repeat(1_000));
        Message::event("/".into(), "m".into(), sio_proto::ByteString::from(json).into(), None)
    };
    let policies = [
        Policy::Ordered,
        Policy::Refuse,
        Policy::DropOldest,
        Policy::Behind(Key::new("/", "m", "k").unwrap()),
    ];
    for policy in policies {
        for is_broadcast in [false, true] {
            let (mut world, link, socket) = joined(|config| config.max_total_queued_bytes = 10_000);
            block(&mut world, link, 0);
            let mut before = 0;
            while before < 7_500 {
                let (now, mut message) = (world.now, message().policy(policy.clone()));
                world.shard(|shard, out| match is_broadcast {
                    false => shard.emit(now, socket, &mut message, None).unwrap(),
                    true => {
                        let target = Target {
                            namespace: "/".into(),
                            ..Target::default()
                        };
                        shard.handle_command(now, Command::Broadcast { target, message }, out);
                    }
                });
                let after = used(&mut world);
                assert!(after >= before + 1_000, "{policy:?}: {before}, then {after}");
                before = after;
            }
            assert_eq!(world.heard(), [""; 0], "{policy:?}");
            for _ in 0..4 {
                let (now, mut message) = (world.now, message().policy(policy.clone()));
                // One of them is too much, and those behind it are refused.
                let _ = world.shard(|shard, _| shard.emit(now, socket, &mut message, None));
            }
            world.pass(1);
            world.send(link, &text("3"));
            assert_eq!(world.heard(), ["disconnect forced server close"], "{policy:?}");
            assert!(
                world.breaches[0].contains("waits for all clients together"),
                "{:?}",
                world.breaches
            );
            assert_eq!(used(&mut world), 0, "{policy:?}");
        }
    }
}

/// What a link held when it ended counts for nobody afterwards. So when others have filled the
/// budget, a shard of which little waits gives nothing up.
#[test]
fn what_gone_links_held_ends_nobody_else() {
    let mut world = World::new(Config::default());
    let budget = std::sync::Arc::new(Budget::new(10_000));
    let others = std::sync::Arc::clone(&budget);
    world.shard(|shard, _| shard.share_budget(budget));
    let (idle, socket) = world.bystander();
    for _ in 0..20 {
        let link = world.join();
        block(&mut world, link, 900);
        world.cut(link, Cause::Failed);
    }
    block(&mut world, idle, 0);
    world.emit(socket, "m", "1").unwrap();
    others.recharge(0, 20_000);
    world.join();
    assert_eq!(world.sessions(), 2);
    // The bytes that a link holds count for it as what waits.
    let (held, _) = world.bystander();
    block(&mut world, held, 12_000);
    world.join();
    assert_eq!((world.sessions(), world.ended.last()), (3, Some(&held)));
    let kinds = world.breaches.last().map(String::as_str);
    assert_eq!(
        kinds,
        Some("limit, ends: too much waits for all clients together, and most of it for this one")
    );
}
