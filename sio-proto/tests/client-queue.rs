//! What waits for a connection: the user sees it, changes it, and takes it back; what is emitted at
//! the moment of a connection goes once; and what waits to be written again is not given up.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cases;
mod client;

use std::collections::BTreeSet;
use std::time::Duration;

use client::records::Records;
use client::{Network, World, emit};
use proptest::prelude::*;
use sio_proto::client::{ClientConfig, EmitError, EmitId, Generation, NotSent, Offline, Outcome, SocketId, Transport};
use sio_proto::socket::Args;
use sio_proto::{ByteString, Config};

fn offline(config: ClientConfig) -> (World, SocketId) {
    let mut world = World::new(config.randomization_factor(0.0), Config::default());
    world.network = Network::Refuses;
    let socket = world.connect("/");
    (world, socket)
}

fn put(world: &mut World, socket: SocketId, name: &str, json: &str) -> EmitId {
    world.client.emit(world.now, socket, emit(name, json)).unwrap()
}

fn seen(world: &World, socket: SocketId) -> Vec<String> {
    let pending = world.client.pending(socket);
    pending
        .map(|event| format!("{} {}", event.name, event.args.json))
        .collect()
}

fn args(json: &str) -> Args {
    ByteString::from(json).into()
}

/// Client C10: what waits is inspected, edited and removed before it goes, and the server hears the
/// queue as the user has left it.
#[test]
fn what_waits_is_edited_before_it_goes() {
    let (mut world, socket) = offline(ClientConfig::default());
    let other = world.connect("/other");
    let ids = ["a", "b", "c", "d"].map(|name| put(&mut world, socket, name, "1"));
    let kept = put(&mut world, other, "kept", "1");
    world.pass(3000);
    assert_eq!(seen(&world, socket), ["a 1", "b 1", "c 1", "d 1"]);
    let since: Vec<_> = world.client.pending(socket).map(|event| event.since).collect();
    assert!(since.iter().all(|since| *since == sio_proto::Time::from_millis(1)));
    assert_eq!(world.client.replace_pending(ids[1], "b2", args("\"new\",2")), Ok(true));
    assert_eq!(world.client.replace_pending(ids[1], "b3", args("3")), Ok(true));
    assert!(world.client.remove_pending(ids[2]));
    assert_eq!(world.client.replace_pending(ids[2], "c", args("2")), Ok(false));
    assert_eq!(seen(&world, socket), ["a 1", "b3 3", "d 1"], "it keeps its place");
    assert_eq!(
        world
            .client
            .pending(socket)
            .map(|event| event.since)
            .collect::<Vec<_>>(),
        since[1..],
        "it keeps its age"
    );
    world.client.clear_pending(other);
    world.network = Network::Works;
    world.pass(10_000);
    let heard: Vec<String> = world
        .heard
        .iter()
        .map(|(name, json)| format!("{name} {json}"))
        .collect();
    assert_eq!(heard, ["a 1", "b3 3", "d 1"]);
    assert_eq!(
        world.receipts[&ids[1]],
        Outcome::Sent,
        "its receipt is that of the event"
    );
    for gone in [ids[2], kept] {
        assert_eq!(world.receipts[&gone], Outcome::NotSent(NotSent::Removed));
    }
    assert_eq!(
        world.client.replace_pending(ids[0], "a", args("2")),
        Ok(false),
        "it has left"
    );
}

/// Client C10: on polling, an event leaves the queue with the POST that it stands in. What has not
/// left can be seen and removed, no receipt says that it was sent, and a connection that is cut
/// takes one POST with it.
#[test]
fn an_event_waits_until_its_post_begins() {
    for large in [false, true] {
        let config = ClientConfig::default().transports(vec![Transport::Polling]);
        let max = if large { 2_000 } else { 1_000_000 };
        let server = Config::default().max_payload(max);
        let mut world = World::new(config.randomization_factor(0.0), server);
        let socket = world.connect("/");
        world.settle();
        // 16 of the small ones are one POST, and six of the large ones.
        let (size, most) = if large { (300, 6) } else { (1, 16) };
        let text = format!("\"{}\"", "x".repeat(size));
        let ids: Vec<_> = (0..100).map(|_| put(&mut world, socket, "e", &text)).collect();
        let mut sent = 0;
        for _ in 0..60 {
            world.drain_client();
            let more = world.receipts.len() - sent;
            assert!(more <= most, "{more} events leave at once");
            sent += more;
            assert_eq!(world.client.pending(socket).count(), 100 - sent);
            if sent > 40 {
                break;
            }
            world.step();
        }
        assert!(world.receipts.values().all(|outcome| *outcome == Outcome::Sent));
        assert!(sent > 40 && sent < 100, "{sent}");
        assert!(world.client.remove_pending(ids[99]));
        world.cut();
        world.pass(10_000);
        let heard = world.heard.len();
        assert!(heard >= 99 - most, "{heard} of 99 events have come");
        assert!(!world.has("BREACH"), "{:?}", world.log);
    }
}

/// Client C8: a volatile event does not wait behind events that wait, for their turn or for an
/// acknowledgement, and so never for another connection.
#[test]
fn a_volatile_event_waits_behind_nothing() {
    for drains in [false, true] {
        let config = ClientConfig::default().transports(vec![Transport::WebSocket]);
        let config = match drains {
            true => config.drain_per_second(1u32),
            false => config.retries(1u32),
        };
        let (mut world, socket) = offline(config);
        world.answers = false;
        let ids = [1, 2, 3].map(|number| put(&mut world, socket, "e", &number.to_string()));
        world.network = Network::Works;
        for _ in 0..1000 {
            world.pass(10);
            if world.client.is_connected(socket) {
                break;
            }
        }
        assert!(world.client.is_connected(socket) && world.client.pending(socket).count() > 0);
        let volatile = emit("v", "1").offline(Offline::Volatile);
        let volatile = world.client.emit(world.now, socket, volatile).unwrap();
        world.cut();
        world.answers = true;
        world.pass(20_000);
        assert_eq!(world.receipts[&volatile], Outcome::NotSent(NotSent::Volatile));
        assert!(!world.heard.iter().any(|(name, _)| name == "v"), "{:?}", world.heard);
        assert!(
            ids.iter().all(|id| world.receipts.contains_key(id)),
            "the others have left"
        );
        // Nothing waits now.
        let volatile = emit("v", "1").offline(Offline::Volatile);
        world.client.emit(world.now, socket, volatile).unwrap();
        world.settle();
        assert!(world.heard.iter().any(|(name, _)| name == "v"));
    }
}

/// Client C13: an event that is sent again ends by its age also in a namespace that was left, by
/// the user or by the server, and nothing else ends it there.
#[test]
fn a_repeated_event_of_a_namespace_that_was_left_grows_old() {
    for by_server in [false, true] {
        for age in [None, Some(Duration::from_secs(5))] {
            let config = ClientConfig::default().transports(vec![Transport::WebSocket]);
            let config = config.retries(1u32).max_queue_age(age);
            let mut world = World::new(config, Config::default());
            world.answers = false;
            let socket = world.connect("/");
            world.settle();
            // The connection goes on.
            world.connect("/other");
            world.settle();
            let event = world.client.emit(world.now, socket, emit("e", "1").ack()).unwrap();
            world.settle();
            assert_eq!(world.heard.len(), 1);
            let (now, at_server) = (world.now, world.sockets[0]);
            match by_server {
                true => world
                    .server
                    .shard(now, |shard, out| shard.disconnect(now, at_server, false, out)),
                false => world.client.disconnect(now, socket).unwrap(),
            }
            world.pass(4000);
            assert!(!world.client.is_connected(socket));
            assert_eq!(world.receipts.get(&event), None);
            world.pass(100_000);
            let end = age.map(|_| Outcome::Disconnected);
            assert_eq!(world.receipts.get(&event), end.as_ref());
            world.client.connect(world.now, socket).unwrap();
            world.answers = true;
            world.settle();
            let answered = matches!(world.receipts[&event], Outcome::Acknowledged(_));
            assert_eq!(answered, age.is_none(), "{:?}", world.receipts);
        }
    }
}

/// Client C10: an edit is checked as an emit is, and changes nothing if it is refused.
#[test]
fn an_edit_is_checked() {
    let (mut world, socket) = offline(ClientConfig::default().max_queued_bytes(1000usize));
    let first = put(&mut world, socket, "first", "1");
    let second = put(&mut world, socket, "second", "1");
    let text = |len: usize| args(&format!("\"{}\"", "x".repeat(len)));
    let mut edit = |name: &str, args| world.client.replace_pending(first, name, args);
    assert_eq!(edit("disconnect", args("1")), Err(EmitError::ReservedEvent));
    assert!(matches!(edit("first", text(1000)), Err(EmitError::TooLarge { .. })));
    assert_eq!(edit("first", text(900)), Err(EmitError::QueueFull));
    assert_eq!(edit("first", text(700)), Ok(true));
    assert_eq!(edit("first", text(700)), Ok(true), "its own bytes make room");
    assert_eq!(edit("first", args("2")), Ok(true));
    assert_eq!(seen(&world, socket), ["first 2", "second 1"]);
    // All bytes are given back: the queue takes what an empty one takes.
    world.client.remove_pending(first);
    world.client.remove_pending(second);
    let whole = format!("\"{}\"", "x".repeat(1000 - 64 - 2 - 1));
    put(&mut world, socket, "w", &whole);
    // A generation without names refuses one.
    let (mut world, socket) = offline(ClientConfig::default().generation(Generation::V0_6));
    let plain = put(&mut world, socket, "message", "1");
    assert!(matches!(
        world.client.replace_pending(plain, "other", args("1")),
        Err(EmitError::Unsupported(_))
    ));
    assert_eq!(world.client.replace_pending(plain, "message", args("2")), Ok(true));
}

/// Client C10: an event that the server may have had stays what it was, and a key still finds an
/// event that was edited.
#[test]
fn what_was_written_is_not_edited() {
    let (mut world, socket) = offline(ClientConfig::default().retries(3));
    world.answers = false;
    world.network = Network::Works;
    world.pass(2000);
    let id = put(&mut world, socket, "once", "1");
    world.settle();
    assert_eq!(world.heard.len(), 1);
    world.network = Network::Refuses;
    world.cut();
    world.settle();
    assert_eq!(seen(&world, socket), ["once 1"], "it waits to be written again");
    assert_eq!(world.client.replace_pending(id, "once", args("2")), Ok(false));
    let newest = |json| emit("state", json).offline(Offline::Newest("key".into()));
    let first = world.client.emit(world.now, socket, newest("1")).unwrap();
    assert_eq!(world.client.replace_pending(first, "state", args("2")), Ok(true));
    world.client.emit(world.now, socket, newest("3")).unwrap();
    assert_eq!(seen(&world, socket), ["once 1", "state 3"]);
    assert_eq!(world.receipts.get(&first), None);
    world.settle();
    assert_eq!(world.receipts[&first], Outcome::NotSent(NotSent::Replaced));
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Steps(usize),
    Pass(u64),
    Cut,
    CutBehind(usize),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => (0usize..12).prop_map(Fault::Steps),
        2 => (0u64..2000).prop_map(Fault::Pass),
        1 => Just(Fault::Cut),
        2 => (0usize..400).prop_map(Fault::CutBehind),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases::usually(500) })]

    /// Client C11: events that are emitted while a connection is told go out once for each
    /// connection: n emits have n distinct ids at the server, whatever is cut, and none is lost.
    #[test]
    fn events_of_connect_have_distinct_ids(
        emits in 1usize..8,
        retries in 0u32..3,
        window in 1usize..6,
        older in any::<bool>(),
        transports in 0usize..3,
        seed in any::<u64>(),
        faults in proptest::collection::vec(fault(), 0..16),
    ) {
        let transports = match transports {
            0 => vec![Transport::Polling],
            1 => vec![Transport::WebSocket],
            _ => vec![Transport::Polling, Transport::WebSocket],
        };
        let generation = if older { Generation::Two } else { Generation::Four };
        let config = ClientConfig::default()
            .transports(transports)
            .generation(generation)
            .retries(retries)
            .retry_window(window);
        let mut world = World::seeded(config, Config::default(), seed);
        world.at_connect = emits;
        let socket = world.connect("/");
        let calm = faults.iter().all(|fault| matches!(fault, Fault::Steps(_) | Fault::Pass(_)));
        for fault in faults {
            match fault {
                Fault::Steps(steps) => (0..steps).for_each(|_| {
                    world.step();
                }),
                Fault::Pass(millis) => world.pass(millis),
                Fault::Cut => world.cut(),
                Fault::CutBehind(bytes) => world.cut_behind(bytes),
            }
        }
        world.pass(20_000);
        prop_assert!(world.client.is_connected(socket), "{:?}", world.log);
        prop_assert_eq!(world.emitted.len() % emits, 0);
        prop_assert!(world.emitted.iter().all(|emit| world.receipts.contains_key(emit)), "{:?}", world.receipts);
        let numbers: BTreeSet<&str> = world.heard.iter().map(|(_, json)| &**json).collect();
        if calm {
            prop_assert_eq!(world.heard.len(), emits, "each goes out once");
        }
        if retries == 0 {
            prop_assert_eq!(numbers.len(), world.heard.len(), "nothing is sent again");
            return Ok(());
        }
        prop_assert_eq!(numbers.len(), world.emitted.len(), "none is lost");
        // On one connection, each event has an id of its own, and no event has two.
        prop_assert_eq!(world.asked.len(), world.heard.len());
        let ids: BTreeSet<_> = world.asked.iter().map(|(socket, id, _)| (*socket, *id)).collect();
        let events: BTreeSet<_> = world.asked.iter().map(|(socket, _, json)| (*socket, json)).collect();
        prop_assert_eq!((ids.len(), events.len()), (world.asked.len(), world.asked.len()));
    }
}

/// Each connection loses its last event, which comes after the next recovery. The server confirms
/// every event, so there is progress all the time, and none is given up.
#[test]
fn r11_events_that_come_late_again_and_again_are_not_given_up() {
    let mut world = World::new(ClientConfig::default().confirm_events(true), Config::default());
    world.records = Some(Records::every(1));
    let socket = world.connect("/");
    world.pass(100);
    let mut sent = Vec::new();
    for number in 0..20 {
        sent.push(put(&mut world, socket, "n", &number.to_string()));
        world.drain_client();
        world.cut();
        world.pass(10_000);
        assert_eq!(
            world.heard.len(),
            number + 1,
            "the last one has come late: {:?}",
            world.heard
        );
    }
    for emit in sent {
        assert_eq!(world.receipts[&emit], Outcome::Confirmed);
    }
}
