//! How a session ends, from either side, and that nothing of it is left (docs/protocol/engine-io.md
//! §8, socket-io.md §5).

mod common;

use common::*;
use sio_proto::server::{Cause, Command, Reason, Target};
use sio_proto::{ByteString, Config, LinkId};
use std::time::Duration;

fn everybody() -> Target {
    Target {
        namespace: "/".into(),
        ..Target::default()
    }
}

/// Checks that nothing is left: no session and no timer, and that the id is unknown.
fn assert_nothing_left(world: &mut World, sid: Option<&str>) {
    assert_eq!(world.sessions(), 0);
    if let Some(sid) = sid {
        for answer in [world.fetch(sid), world.push(sid, "1")] {
            assert_eq!(body(&answer), "{\"code\":1,\"message\":\"Session ID unknown\"}");
        }
    }
    world.pass(100_000);
    assert_eq!(world.server.next_timeout(), None);
}

#[test]
fn the_server_closes_a_session_that_polls() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    world.heard();
    let parked = world.poll(&sid);
    let socket = world.last_socket();
    world.disconnect(socket, true);
    // The close packet has a poll of its own, because genuine clients lose the packets that stand
    // before it in one poll.
    assert_eq!(body(&world.received(parked)), "41");
    assert_eq!(world.heard(), ["disconnect server namespace disconnect"]);
    assert_eq!(body(&world.fetch(&sid)), "6\u{1e}1");
    assert_nothing_left(&mut world, Some(&sid));
}

#[test]
fn what_was_queued_leaves_first() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let socket = world.last_socket();
    world.emit(socket, "a", "1").unwrap();
    world.emit(socket, "a", "2").unwrap();
    world.disconnect(socket, true);
    assert_eq!(
        world.emit(socket, "a", "3").unwrap_err().to_string(),
        "the socket is not connected"
    );
    assert_eq!(world.sessions(), 1, "it waits for a GET");
    assert_eq!(body(&world.fetch(&sid)), "42[\"a\",1]\u{1e}42[\"a\",2]\u{1e}41");
    assert_eq!(body(&world.fetch(&sid)), "6\u{1e}1");
    assert_nothing_left(&mut world, Some(&sid));

    let link = world.join();
    let socket = world.last_socket();
    world.emit(socket, "a", "1").unwrap();
    world.disconnect(socket, true);
    assert_eq!(world.frames(link), ["42[\"a\",1]", "41", "close"]);
    assert_nothing_left(&mut world, None);
}

#[test]
fn nobody_waits_longer_than_the_close_timeout() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let socket = world.last_socket();
    world.heard();
    world.disconnect(socket, true);
    assert_eq!(
        world.heard(),
        ["disconnect server namespace disconnect"],
        "the user is told at once"
    );
    world.pass(29_999);
    assert_eq!(world.sessions(), 1);
    assert_eq!(body(&world.push(&sid, "42[\"late\"]")), "ok");
    assert_eq!(world.heard(), [""; 0], "and hears no more of it");
    world.pass(1);
    assert_eq!(world.sessions(), 0);
    assert_eq!(world.heard(), [""; 0]);
    assert_nothing_left(&mut world, Some(&sid));
}

#[test]
fn a_client_that_says_goodbye_first_is_not_waited_for() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    world.disconnect(world.last_socket(), true);
    world.heard();
    assert_eq!(body(&world.push(&sid, "1")), "ok");
    assert_eq!((world.sessions(), world.heard().len()), (0, 0));
    assert_nothing_left(&mut world, Some(&sid));
}

#[test]
fn the_last_get_is_told_even_at_the_last_moment() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    world.disconnect(world.last_socket(), true);
    world.pass(29_999);
    assert_eq!(body(&world.fetch(&sid)), "41");
    assert_eq!(body(&world.fetch(&sid)), "6\u{1e}1");
    assert_nothing_left(&mut world, Some(&sid));
}

#[test]
fn one_namespace_or_the_whole_connection() {
    let mut world = World::new(Config::default());
    let link = world.join();
    let first = world.last_socket();
    world.send(link, &text("40/b,"));
    let second = world.last_socket();
    world.frames(link);
    world.heard();
    world.disconnect(first, false);
    assert_eq!(world.frames(link), ["41"]);
    assert_eq!(world.heard(), ["disconnect server namespace disconnect"]);
    world.emit_in("/b", second, "a", "", None).unwrap();
    assert_eq!(world.frames(link), ["42/b,[\"a\"]"]);
    world.disconnect(first, true);
    assert_eq!(world.sessions(), 1, "it is gone: it has no connection any more");
    world.send(link, &text("40"));
    world.frames(link);
    world.heard();
    world.disconnect(second, true);
    let mut heard = world.heard();
    heard.dedup();
    assert_eq!(heard, ["disconnect server namespace disconnect"]);
    let mut frames = world.frames(link);
    assert_eq!(frames.pop().unwrap(), "close");
    frames.sort();
    assert_eq!(frames, ["41", "41/b,"]);
    assert_nothing_left(&mut world, None);
}

#[test]
fn the_client_leaves_one_namespace_and_stays_connected() {
    let mut world = World::new(Config::default());
    let link = world.join();
    world.heard();
    world.send(link, &text("41"));
    assert_eq!(world.heard(), ["disconnect client namespace disconnect"]);
    assert_eq!(world.frames(link), [""; 0], "this needs no answer");
    world.pass(60_000 - 35_000);
    assert_eq!(world.frames(link), ["2"]);
    world.send(link, &text("3"));
    world.send(link, &text("40"));
    assert_eq!(world.frames(link).len(), 1);
    assert_eq!(world.sessions(), 1);
}

#[test]
fn each_end_of_a_transport_has_its_reason() {
    let close = [0x88, 0x80, 1, 2, 3, 4];
    let close_1001 = [0x88, 0x82, 0, 0, 0, 0, 3, 0xe9];
    for (how, reason, said) in [
        (Ok(Cause::Closed), "transport close", &[][..]),
        (Ok(Cause::Failed), "transport error", &[]),
        (Err(&close[..]), "transport close", &["close"]),
        (Err(&close_1001), "transport close", &["close 1001"]),
        (Err(&[0x81, 0x01, b'2']), "transport error", &["close 1002"]),
        (Err(&[0xf1, 0x80, 0, 0, 0, 0]), "transport error", &["close 1002"]),
        (Err(&[0x81, 0x81, 0, 0, 0, 0, 0xff]), "transport error", &["close 1007"]),
        (Err(&[0x81, 0x80, 0, 0, 0, 0]), "parse error", &["close"]),
        (Err(&[0x81, 0x81, 0, 0, 0, 0, b'9']), "parse error", &["close"]),
        (Err(&[0x81, 0x81, 0, 0, 0, 0, b'4']), "forced close", &["close"]),
    ] {
        let mut world = World::new(Config::default());
        let link = world.join();
        world.heard();
        match &how {
            Ok(cause) => world.cut(link, cause.clone()),
            Err(bytes) => world.send(link, bytes),
        }
        assert_eq!(world.heard(), [format!("disconnect {reason}")], "{how:?}");
        assert_eq!(world.frames(link), said, "{how:?}");
        assert_eq!(world.ended.len(), usize::from(how.is_err()));
        assert_nothing_left(&mut world, None);
    }
}

/// A packet of type 1 on a websocket has no meaning, because a websocket ends with a Close frame.
#[test]
fn one_on_a_websocket_is_ignored() {
    let mut world = World::new(Config::default());
    let link = world.join();
    let socket = world.last_socket();
    world.send(link, &text("1"));
    world.assert_works(link, socket);
}

/// Bytes behind the end in one read are ignored, and nothing is written on a link after its end.
#[test]
fn the_end_is_the_end() {
    for (first, rest) in [
        (text("4x"), text("42[\"late\"]")),
        (text("4x"), vec![0x88, 0x80, 0, 0, 0, 0]),
        (text("4x"), vec![0x89, 0x80, 0, 0, 0, 0]),
        (vec![0x88, 0x80, 0, 0, 0, 0], text("42[\"late\"]")),
        (text("2"), vec![0xff; 40]),
    ] {
        let mut world = World::new(Config::default());
        let link = world.join();
        world.heard();
        world.send(link, &[first, rest].concat());
        assert_eq!(world.heard().len(), 1);
        assert_eq!(world.frames(link), ["close"]);
        assert_eq!(world.ended, [link]);
        world.send(link, &text("42[\"late\"]"));
        world.cut(link, Cause::Closed);
        assert_eq!(
            (world.heard().len(), world.frames(link).len(), world.ended.len()),
            (0, 0, 1)
        );
    }
}

#[test]
fn shutting_down_ends_all_and_lets_nobody_in() {
    let mut world = World::new(Config::default());
    let link = world.join();
    let polling = world.join_polling();
    let parked = world.poll(&polling);
    let away = world.join_polling();
    let old = world.open();
    world.send(old, &upgrade("/socket.io/websocket"));
    world.frames(old);
    world.heard();
    let reason = Reason::ServerShuttingDown;
    world.command(Command::Shutdown { reason });
    assert_eq!(world.heard(), ["disconnect server shutting down"; 4]);
    assert_eq!(world.frames(link), ["close"]);
    assert_eq!(world.frames(old), ["close"]);
    assert_eq!(body(&world.received(parked)), "1");
    assert_eq!(world.sessions(), 1, "one could not be told yet");
    assert_eq!(status(&world.ask(&get(POLLING))), 503);
    assert_eq!(status(&world.ask(WEBSOCKET)), 503);
    assert_eq!(status(&world.ask(&get("/socket.io/xhr-polling//1"))), 503);
    assert_eq!(body(&world.fetch(&away)), "6\u{1e}1");
    assert_nothing_left(&mut world, Some(&away));
    world.command(Command::Shutdown { reason });
    assert_eq!(world.heard(), [""; 0]);
}

#[test]
fn many_are_disconnected_by_one_command() {
    let mut world = World::new(Config::default());
    let links: Vec<_> = (0..5).map(|_| world.join()).collect();
    let polling = world.join_polling();
    world.heard();
    let stays = world.sockets[2];
    world.shard(|shard, _| shard.join(stays, "vip").unwrap());
    let target = Target {
        except: vec![ByteString::from("vip")],
        ..everybody()
    };
    world.command(Command::Disconnect { target, close: true });
    assert_eq!(world.heard(), ["disconnect server namespace disconnect"; 5]);
    for (at, link) in links.iter().enumerate() {
        let frames = world.frames(*link);
        assert_eq!(frames.len(), if at == 2 { 0 } else { 2 }, "{at} {frames:?}");
    }
    assert_eq!(body(&world.fetch(&polling)), "41");
    assert_eq!(body(&world.fetch(&polling)), "6\u{1e}1");
    world.assert_works(links[2], stays);
    let target = everybody();
    world.command(Command::Disconnect { target, close: false });
    assert_eq!(world.frames(links[2]), ["41"]);
    assert_eq!(world.sessions(), 1);
}

#[test]
fn raw_sessions_are_closed_likewise() {
    let mut config = Config::default();
    config.engine_path = Some("/engine.io".into());
    let mut world = World::new(config);
    let link = world.open();
    world.send(link, &upgrade("/engine.io/?EIO=4&transport=websocket"));
    world.frames(link);
    let Some(sio_proto::server::Delivery::EngineOpen { session, .. }) = world.deliveries.pop() else {
        panic!()
    };
    let now = world.now;
    world.shard(|shard, out| {
        let message = sio_proto::server::EngineMessage::Text("last".into());
        shard.send_engine(session, message).unwrap();
        shard.close_engine(now, session, out);
    });
    assert_eq!(world.frames(link), ["4last", "close"]);
    assert_eq!(world.heard(), ["close forced server close"]);
    assert_nothing_left(&mut world, None);
}

/// A client whose credentials have ended is told in each generation as by a disconnect, and the
/// user hears why.
#[test]
fn a_dismissal_looks_like_a_disconnect() {
    let targets = [
        "/socket.io/?EIO=4&transport=websocket",
        "/socket.io/?EIO=3&transport=websocket",
    ];
    for reason in [
        Reason::CredentialsExpired,
        Reason::CredentialsRevoked,
        Reason::PingTimeout,
    ] {
        for target in targets {
            let mut told = Vec::new();
            for dismiss in [false, true] {
                let mut world = World::new(Config::default());
                let link = world.open();
                world.send(link, &upgrade(target));
                world.send(link, &text("40"));
                world.frames(link);
                world.heard();
                let (now, socket) = (world.now, world.last_socket());
                world.shard(|shard, out| match dismiss {
                    true => shard.dismiss(now, socket, reason, out),
                    false => shard.disconnect(now, socket, false, out),
                });
                told.push(world.frames(link));
                let words = match (dismiss, reason) {
                    (true, Reason::CredentialsExpired) => "credentials expired",
                    (true, Reason::CredentialsRevoked) => "credentials revoked",
                    _ => "server namespace disconnect",
                };
                assert_eq!(world.heard(), [format!("disconnect {words}")]);
            }
            assert_eq!(told[0], ["41"]);
            assert_eq!(told[0], told[1]);
        }
    }
}

#[test]
fn the_words_are_those_people_search_for() {
    for (reason, words) in [
        (Reason::ClientNamespaceDisconnect, "client namespace disconnect"),
        (Reason::ServerNamespaceDisconnect, "server namespace disconnect"),
        (Reason::CredentialsExpired, "credentials expired"),
        (Reason::CredentialsRevoked, "credentials revoked"),
        (Reason::ServerShuttingDown, "server shutting down"),
        (Reason::TransportClose, "transport close"),
        (Reason::TransportError, "transport error"),
        (Reason::PingTimeout, "ping timeout"),
        (Reason::ParseError, "parse error"),
        (Reason::ForcedClose, "forced close"),
        (Reason::ForcedServerClose, "forced server close"),
    ] {
        assert_eq!(reason.to_string(), words);
    }
}

/// Sessions come and go in every way. At the end none is left.
#[test]
fn nothing_leaks() {
    let mut world = World::new(Config::default());
    for round in 0..200 {
        let link = world.join();
        let sid = world.join_polling();
        let parked = world.poll(&sid);
        match round % 6 {
            0 => world.cut(link, Cause::Failed),
            1 => world.send(link, &text("4x")),
            2 => world.disconnect(world.last_socket(), true),
            3 => world.cut(parked, Cause::Closed),
            4 => drop(world.push(&sid, "1")),
            _ => drop(world.candidate(&sid)),
        }
    }
    world.pass(200_000);
    assert_nothing_left(&mut world, None);
}

/// What each end of a session counts, for an operator: each session once, with its reason.
#[test]
fn every_end_is_counted_once_with_its_reason() {
    const ENGINE3: &str = "/socket.io/?EIO=3&transport=polling";
    // A way in, which returns the id, if there is one, and the websocket or the poll that is held.
    type Way = fn(&mut World) -> (String, Option<LinkId>);
    let websocket: Way = |world| (String::new(), Some(world.join()));
    let polling: Way = |world| (world.join_polling(), None);
    let parked: Way = |world| {
        let sid = world.join_polling();
        let poll = world.poll(&sid);
        (sid, Some(poll))
    };
    let engine3: Way = |world| (sid(&world.ask(&get(ENGINE3))), None);
    let nine: Way = |world| {
        let answer = world.ask(&get("/socket.io/1/"));
        let id = body(&answer).split(':').next().expect("an id").to_owned();
        world.ask(&get(&format!("/socket.io/1/xhr-polling/{id}")));
        (id, None)
    };
    let nine_websocket: Way = |world| {
        let answer = world.ask(&get("/socket.io/1/"));
        let id = body(&answer).split(':').next().expect("an id").to_owned();
        let link = world.open();
        world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
        (id, Some(link))
    };
    let six: Way = |world| {
        let answer = world.ask(&get("/socket.io/xhr-polling//1"));
        (body(&answer).rsplit('~').next().expect("an id").to_owned(), None)
    };
    let six_websocket: Way = |world| {
        let link = world.open();
        world.send(link, &upgrade("/socket.io/websocket"));
        (String::new(), Some(link))
    };
    // What ends the session: the client, the server, or time.
    type End = fn(&mut World, &str, Option<LinkId>);
    let cut: End = |world, _, link| world.cut(link.expect("a link"), Cause::Failed);
    let close: End = |world, _, link| world.cut(link.expect("a link"), Cause::Closed);
    let disconnect: End = |world, _, _| world.disconnect(world.last_socket(), true);
    let shutdown: End = |world, _, _| {
        world.command(Command::Shutdown {
            reason: Reason::ServerShuttingDown,
        });
    };
    let goodbye: End = |world, sid, _| _ = world.push(sid, "1");
    let goodbye3: End = |world, sid, _| _ = world.ask(&post(&format!("{ENGINE3}&sid={sid}"), "1:1"));
    let goodbye09: End = |world, sid, _| _ = world.ask(&get(&format!("/socket.io/1/xhr-polling/{sid}/?disconnect=1")));
    let silence: End = |_, _, _| {};
    for (at, (way, end, reason)) in [
        (websocket, close, Reason::TransportClose),
        (websocket, cut, Reason::TransportError),
        (websocket, disconnect, Reason::ServerNamespaceDisconnect),
        (websocket, shutdown, Reason::ServerShuttingDown),
        (websocket, silence, Reason::PingTimeout),
        (polling, disconnect, Reason::ServerNamespaceDisconnect),
        (polling, goodbye, Reason::TransportClose),
        (polling, silence, Reason::PingTimeout),
        (parked, goodbye, Reason::TransportClose),
        (parked, shutdown, Reason::ServerShuttingDown),
        (parked, cut, Reason::TransportError),
        (engine3, goodbye3, Reason::TransportClose),
        (engine3, silence, Reason::PingTimeout),
        (nine, disconnect, Reason::ServerNamespaceDisconnect),
        (nine, goodbye09, Reason::TransportClose),
        (nine, silence, Reason::PingTimeout),
        (nine_websocket, close, Reason::TransportClose),
        (nine_websocket, disconnect, Reason::ServerNamespaceDisconnect),
        (six, disconnect, Reason::ServerNamespaceDisconnect),
        (six, silence, Reason::PingTimeout),
        (six_websocket, shutdown, Reason::ServerShuttingDown),
        (six_websocket, disconnect, Reason::ServerNamespaceDisconnect),
    ]
    .into_iter()
    .enumerate()
    {
        let mut world = World::new(Config::default());
        let (sid, link) = way(&mut world);
        let closed = |world: &mut World| {
            let counts = world.shard(|shard, _| Reason::ALL.map(|reason| shard.counters().closed(reason)));
            let counts = Reason::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0);
            counts.collect::<Vec<_>>()
        };
        assert_eq!(closed(&mut world), [], "row {at}");
        end(&mut world, &sid, link);
        // Until its client has been told, or cannot be told any more.
        world.pass(1_000_000);
        assert_eq!(world.sessions(), 0, "row {at}");
        assert_eq!(closed(&mut world), [(reason, 1)], "row {at}");
    }
}

/// A raw session learns of the goodbye of its client, also while no poll is held.
#[test]
fn a_raw_session_hears_the_goodbye() {
    let mut world = World::new(Config::default().engine_path("/engine.io"));
    let target = "/engine.io/?EIO=4&transport=polling";
    let target = format!("{target}&sid={}", sid(&world.ask(&get(target))));
    world.heard();
    let link = world.open();
    world.send(link, &post(&target, "1"));
    assert_eq!(world.heard(), ["close transport close"]);
    world.pass(1_000);
    assert_eq!(world.heard(), [""; 0], "once");
    assert_nothing_left(&mut world, None);
}

/// A session that is closed while its client moves to a websocket, and that nobody fetches, takes
/// the websocket along. So does one whose client says goodbye.
#[test]
fn a_candidate_ends_with_its_session() {
    for goodbye in [false, true] {
        let mut config = Config::default();
        config.upgrade_timeout = Duration::from_secs(3_600);
        let mut world = World::new(config);
        let sid = world.join_polling();
        let candidate = world.candidate(&sid);
        world.send(candidate, &text("2probe"));
        if goodbye {
            let link = world.open();
            world.send(link, &post(&session(&sid), "1"));
            assert_eq!(world.ended, [candidate]);
        } else {
            world.fetch(&sid);
            world.disconnect(world.last_socket(), true);
            world.pass(100_000);
            assert_eq!(world.sessions(), 0);
            assert_eq!(world.ended, [candidate]);
        }
    }
}

/// A client that does not know yet that its session has ended breaks no rule: neither by what it
/// sends, nor by what it does not send any more.
#[test]
fn a_closed_session_breaks_no_rule() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    world.push(&sid, "451-[\"m\",{\"_placeholder\":true,\"num\":0}]");
    world.disconnect(world.last_socket(), true);
    world.heard();
    assert_eq!(status(&world.push(&sid, "42[\"late\"]")), 200);
    assert_eq!(status(&world.push(&sid, "40/other,")), 200);
    world.pass(100_000);
    assert_eq!((world.heard(), &*world.breaches), (vec![], &[] as &[String]));
}

/// Attachments have their time for each packet, also for a packet that comes after the time of an
/// earlier one.
#[test]
fn every_packet_waits_for_its_own_attachments() {
    let mut config = Config::default();
    config.attachment_timeout = Duration::from_secs(3);
    let mut world = World::new(config);
    let link = world.join();
    let part = text("451-[\"m\",{\"_placeholder\":true,\"num\":0}]");
    world.send(link, &part);
    world.send(link, &binary(b"x"));
    world.pass(5_000);
    world.send(link, &part);
    world.pass(2_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.sessions(), 0);
    assert_eq!(
        world.breaches,
        ["late, ends: the attachments of a packet have not come in time"]
    );
}
