//! A server that shuts down lets its sessions finish, and spreads their ends over time
//! ([`Command::Drain`]).

mod common;
mod older;

use std::time::Duration;

use common::*;
use sio_proto::Config;
use sio_proto::server::{AckRequest, Command, Target};

fn drain(world: &mut World, spread: u64, patience: u64) {
    world.command(Command::Drain {
        spread: Duration::from_millis(spread),
        patience: Duration::from_millis(patience),
        handover: false,
        pause: None,
    });
}

#[test]
fn who_has_nothing_under_way_goes_at_once() {
    let mut world = World::new(Config::default());
    let websocket = world.join();
    let polling = world.join_polling();
    let parked = world.poll(&polling);
    let joined_nothing = world.open();
    world.send(joined_nothing, WEBSOCKET);
    world.frames(joined_nothing);
    world.heard();
    drain(&mut world, 0, 3_000);
    assert_eq!(world.frames(websocket), ["close"]);
    assert_eq!(world.frames(joined_nothing), ["close"]);
    assert_eq!(body(&world.received(parked)), "1");
    let heard = world.heard();
    let count = |what: &str| heard.iter().filter(|line| *line == what).count();
    assert_eq!(
        (count("leaving"), count("disconnect server shutting down")),
        (2, 2),
        "{heard:?}"
    );
    assert_eq!(world.sessions(), 0);
    world.pass(100_000);
    assert_eq!(world.server.next_timeout(), None);
}

#[test]
fn an_acknowledgement_that_the_client_owes_is_waited_for() {
    let mut world = World::new(Config::default());
    let link = world.join();
    let socket = world.last_socket();
    for id in [1, 2] {
        let ack = AckRequest { id, timeout: None };
        world.emit_in("/", socket, "ask", "1", Some(ack)).unwrap();
    }
    world.frames(link);
    world.heard();
    drain(&mut world, 0, 3_000);
    assert_eq!(world.heard(), ["leaving"]);
    // Until then the session works as before.
    world.assert_works(link, socket);
    world.send(link, &text("431[\"yes\"]"));
    assert_eq!(
        (world.heard(), world.frames(link)),
        (vec!["ack 1 \"yes\"".to_owned()], vec![])
    );
    world.send(link, &text("432[\"no\"]"));
    assert_eq!(
        world.heard(),
        ["ack 2 \"no\"", "disconnect server shutting down"],
        "the answer comes first"
    );
    assert_eq!((world.frames(link), world.sessions()), (vec!["close".to_owned()], 0));
}

#[test]
fn one_that_runs_out_of_time_or_leaves_by_itself_is_not() {
    for (timeout, act) in [(Some(Duration::from_millis(500)), ""), (None, "41")] {
        let mut world = World::new(Config::default());
        let link = world.join();
        let socket = world.last_socket();
        let ack = AckRequest { id: 1, timeout };
        world.emit_in("/", socket, "ask", "1", Some(ack)).unwrap();
        drain(&mut world, 0, 3_000);
        assert_eq!(world.sessions(), 1);
        if act.is_empty() {
            world.pass(500);
        } else {
            world.send(link, &text(act));
        }
        assert_eq!(world.sessions(), 0, "{act}");
    }
}

#[test]
fn what_the_user_has_under_way_is_waited_for_but_not_for_ever() {
    let mut world = World::new(Config::default());
    world.releases = false;
    let (quick, slow) = (world.join(), world.join());
    let sockets = world.sockets.clone();
    drain(&mut world, 0, 3_000);
    world.pass(1_000);
    assert_eq!(world.sessions(), 2);
    world.emit(sockets[0], "last", "1").unwrap();
    let now = world.now;
    world.shard(|shard, out| shard.release(now, sockets[0], out));
    assert_eq!(world.frames(quick), ["42[\"last\",1]", "close"]);
    world.pass(1_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!((world.frames(slow), world.sessions()), (vec!["close".to_owned()], 0));
    let now = world.now;
    world.shard(|shard, out| shard.release(now, sockets[1], out));
}

#[test]
fn sessions_are_spread_and_nobody_new_is_let_in() {
    let mut world = World::new(Config::default());
    let links: Vec<_> = (0..50).map(|_| world.join()).collect();
    drain(&mut world, 10_000, 1_000);
    let mut left = vec![world.sessions()];
    for _ in 0..10 {
        assert_eq!(status(&world.ask(&get(POLLING))), 503);
        world.pass(1_000);
        left.push(world.sessions());
    }
    assert!(left[0] >= 49 && left[10] == 0, "{left:?}");
    let most = left.windows(2).map(|pair| pair[0] - pair[1]).max();
    assert!(most < Some(15), "they go one by one: {left:?}");
    for link in links {
        assert_eq!(world.frames(link).last().unwrap(), "close");
    }
    // A second command changes nothing.
    drain(&mut world, 10_000, 1_000);
    world.pass(100_000);
    assert_eq!(world.server.next_timeout(), None);
}

#[test]
fn a_client_between_two_polls_is_told_if_it_comes_soon() {
    let mut world = World::new(Config::default());
    let (told, gone) = (world.join_polling(), world.join_polling());
    drain(&mut world, 0, 3_000);
    assert_eq!(world.sessions(), 2);
    world.pass(2_999);
    assert_eq!(body(&world.fetch(&told)), "6\u{1e}1");
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.sessions(), 0);
    assert_eq!(
        body(&world.fetch(&gone)),
        "{\"code\":1,\"message\":\"Session ID unknown\"}"
    );
}

#[test]
fn so_is_one_of_0_9() {
    let mut world = World::new(Config::default());
    let join = |world: &mut World| {
        let answer = world.reply(&get("/socket.io/1/"));
        let id = answer.text().split(':').next().unwrap().to_owned();
        let target = format!("/socket.io/1/xhr-polling/{id}");
        assert_eq!(world.reply(&get(&target)).text(), "1::");
        target
    };
    let (told, gone) = (join(&mut world), join(&mut world));
    drain(&mut world, 0, 3_000);
    assert_eq!(world.sessions(), 2);
    world.pass(2_999);
    assert_eq!(world.reply(&get(&told)).text(), "7:::1+0");
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.sessions(), 0);
    assert_eq!(world.reply(&get(&gone)).text(), "7:::1+0");
}

#[test]
fn without_patience_nobody_is_asked() {
    let mut world = World::new(Config::default());
    let link = world.join();
    let ack = AckRequest { id: 1, timeout: None };
    world.emit_in("/", world.last_socket(), "ask", "1", Some(ack)).unwrap();
    world.frames(link);
    world.heard();
    drain(&mut world, 0, 0);
    assert_eq!(world.frames(link), ["close"]);
    assert!(!world.heard().contains(&"leaving".to_owned()));
}

/// Another process serves new connections. So the connection of a client ends with the answer that
/// tells it of the end, and its next connection leads to that process.
#[test]
fn with_a_handover_the_connections_of_those_who_leave_end() {
    for handover in [false, true] {
        let mut world = World::new(Config::default());
        let held = world.join_polling();
        let parked = world.poll(&held);
        let between = world.join_polling();
        world.command(Command::Drain {
            spread: Duration::ZERO,
            patience: Duration::from_secs(3),
            handover,
            pause: None,
        });
        let told = world.received(parked);
        assert_eq!(body(&told), "1");
        let fetched = world.fetch(&between);
        assert_eq!(body(&fetched), "6\u{1e}1");
        let refused = world.ask(&get("/socket.io/?EIO=4&transport=polling"));
        assert_eq!(status(&refused), 503);
        for answer in [told, fetched, refused] {
            assert_eq!(header(&answer, "connection").is_some(), handover, "{answer}");
        }
        for target in ["/socket.io/1/", "/socket.io/xhr-polling//1"] {
            let refused = world.ask(&get(target));
            assert_eq!(status(&refused), 503);
            assert_eq!(header(&refused, "connection").is_some(), handover, "{refused}");
        }
    }
}

/// A session that has time left keeps its connection.
#[test]
fn with_a_handover_a_session_that_has_not_left_goes_on() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let parked = world.poll(&sid);
    let socket = world.last_socket();
    world.command(Command::Drain {
        spread: Duration::from_secs(1_000_000),
        patience: Duration::from_secs(3),
        handover: true,
        pause: None,
    });
    world.emit(socket, "news", "1").unwrap();
    let answer = world.received(parked);
    assert_eq!(body(&answer), "42[\"news\",1]");
    assert_eq!(header(&answer, "connection"), None);
}

/// A client of this project learns how long to stay away (docs/protocol/extensions.md §1). Other
/// clients ignore the words.
#[test]
fn clients_are_told_how_long_to_stay_away() {
    for target in [
        "/socket.io/?EIO=4&transport=websocket",
        "/socket.io/?EIO=3&transport=websocket",
    ] {
        let mut world = World::new(Config::default());
        let websocket = world.open();
        world.send(websocket, &upgrade(target));
        world.send(websocket, &text("40"));
        world.frames(websocket);
        let sid = world.join_polling();
        let parked = world.poll(&sid);
        let between = world.join_polling();
        world.command(Command::Drain {
            spread: Duration::ZERO,
            patience: Duration::from_secs(3),
            handover: false,
            pause: Some(Duration::from_millis(2500)),
        });
        assert_eq!(world.frames(websocket), ["6{\"after\":2500}", "close"]);
        for answer in [world.received(parked), world.fetch(&between)] {
            assert!(body(&answer).ends_with('1'), "{answer}");
            assert_eq!(header(&answer, "retry-after"), Some("3"), "{answer}");
        }
        let refused = world.ask(&get("/socket.io/?EIO=4&transport=polling"));
        assert_eq!((status(&refused), header(&refused, "retry-after")), (503, Some("3")));
    }
}

/// A client in two namespaces, of which nothing is released yet.
fn in_two_namespaces() -> World {
    let mut world = World::new(Config::default());
    world.releases = false;
    let link = world.join();
    world.send(link, &text("40/a,"));
    world.frames(link);
    world.heard();
    world
}

fn release(world: &mut World, at: usize) {
    let (now, socket) = (world.now, world.sockets[at]);
    world.shard(|shard, out| shard.release(now, socket, out));
}

/// The session of a client waits for each of its sockets, and for what the client owes as well as
/// for what the user does.
#[test]
fn every_piece_of_work_is_waited_for() {
    let mut world = in_two_namespaces();
    let ack = AckRequest { id: 1, timeout: None };
    world.emit_in("/", world.sockets[0], "ask", "1", Some(ack)).unwrap();
    drain(&mut world, 0, 3_000);
    assert_eq!(world.heard(), ["leaving", "leaving"]);
    release(&mut world, 0);
    let now = world.now;
    let forgets = world.sockets[0];
    assert_eq!(world.sessions(), 1, "the answer, and the other namespace");
    world.shard(|shard, out| shard.forget_ack(now, forgets, 1, out));
    assert_eq!(world.sessions(), 1, "the other namespace");
    // A second command tells nobody a second time.
    drain(&mut world, 0, 3_000);
    assert_eq!(world.heard(), [""; 0]);
    release(&mut world, 1);
    assert_eq!(world.sessions(), 0);
}

/// Nobody waits for an acknowledgement that the user has given up, and nobody gets it.
#[test]
fn a_question_that_was_given_up_is_not_waited_for() {
    for drains in [false, true] {
        let mut world = World::new(Config::default());
        let link = world.join();
        let socket = world.last_socket();
        let timeout = Some(Duration::from_secs(1));
        let ack = AckRequest { id: 7, timeout };
        world.emit_in("/", socket, "ask", "1", Some(ack)).unwrap();
        world.heard();
        let now = world.now;
        if drains {
            drain(&mut world, 0, 3_000);
            assert_eq!(world.heard(), ["leaving"]);
            world.shard(|shard, out| shard.forget_ack(now, socket, 7, out));
            assert_eq!(world.sessions(), 0);
        } else {
            world.shard(|shard, out| shard.forget_ack(now, socket, 7, out));
            world.send(link, &text("437[]"));
            world.pass(1_000);
            assert_eq!(world.heard(), [""; 0]);
        }
    }
}

/// A socket that is refused or disconnected while its session leaves was the last to wait for.
#[test]
fn a_socket_that_goes_is_not_waited_for() {
    let mut world = World::new(Config::default());
    world.releases = false;
    let link = world.join();
    world.accepts = false;
    world.send(link, &text("40/a,"));
    drain(&mut world, 0, 3_000);
    release(&mut world, 0);
    assert_eq!(world.sessions(), 1);
    world.refuse(world.sockets[1], "no", None);
    assert_eq!(world.sessions(), 0);

    let mut world = in_two_namespaces();
    drain(&mut world, 0, 3_000);
    release(&mut world, 0);
    assert_eq!(world.sessions(), 1);
    let target = Target {
        namespace: "/a".into(),
        ..Target::default()
    };
    world.command(Command::Disconnect { target, close: false });
    assert_eq!(world.sessions(), 0);
}

/// While sessions leave one by one, the work of a session whose time has not come does not end it.
#[test]
fn a_session_whose_time_has_not_come_stays() {
    let mut world = World::new(Config::default());
    let link = world.join();
    let socket = world.last_socket();
    let ack = AckRequest { id: 1, timeout: None };
    world.emit_in("/", socket, "ask", "1", Some(ack)).unwrap();
    drain(&mut world, 1_000_000_000, 3_000);
    world.heard();
    world.send(link, &text("431[]"));
    assert_eq!(world.heard(), ["ack 1 "]);
    assert_eq!(world.sessions(), 1);
    world.assert_works(link, socket);
}
