//! Channels, messages, requests and entries follow their slots through a Redis cluster, each by the
//! shortest way, under a virtual clock.

mod redis;

use std::time::Duration;

use redis::events::{answers, ask, messages};
use redis::moving::cluster;
use redis::{Mood, Node, World, bytes};
use sio_proto::broker::{Answer, BrokerConfig, BrokerError, Command, Event, Refusal, Request, StreamPosition};
use sio_proto::resp::slot;

/// The slot of a key goes from one master to another, and nobody is told.
fn move_slot(world: &mut World, key: &str, from: usize, to: usize) {
    let slot = slot(key.as_bytes());
    let before = std::mem::take(&mut world.nodes[from].slots);
    assert!(before.iter().any(|(first, last)| (*first..=*last).contains(&slot)));
    let split = |(first, last): (u16, u16)| match (first..=last).contains(&slot) {
        true => vec![(first, slot.wrapping_sub(1)), (slot + 1, last)],
        false => vec![(first, last)],
    };
    let parts = before.into_iter().flat_map(split);
    world.nodes[from].slots = parts.filter(|(first, last)| first <= last && *last < 16384).collect();
    world.nodes[to].slots.push((slot, slot));
}

/// A key of the second master; the first one has `bar`, and the third one `foo`, `c1` and `c5`.
fn of_second() -> String {
    let names = (0..).map(|number| format!("k{number}"));
    let is_there = |name: &String| (5461..=10922).contains(&slot(name.as_bytes()));
    names.into_iter().find(is_there).expect("a name of each slot")
}

/// A message makes the broker ask for all slots, because its own one has moved.
fn find_slots(world: &mut World) {
    let key = of_second();
    move_slot(world, &key, 1, 0);
    world.publish(&key, "0", true);
    world.run_millis(150);
}

/// A cluster in which a message has gone to each master, and these channels are heard.
fn begun(channels: &[&str]) -> World {
    let mut world = cluster();
    world.run_millis(100);
    for key in ["bar", "foo", &of_second()] {
        world.publish(key, "0", true);
    }
    channels.iter().for_each(|channel| world.subscribe(channel, true));
    world.run_millis(100);
    assert!(world.broker.counters().is_up);
    world.take_events();
    world
}

fn count(world: &World, begin: &str) -> usize {
    let commands = world.nodes.iter().flat_map(|node| &node.commands);
    commands.filter(|command| command.starts_with(begin)).count()
}

/// The events that tell of this channel.
fn told(events: &[Event], channel: &str) -> usize {
    let is_it = |event: &&Event| matches!(event, Event::Subscribed { channel: told, .. } if told == channel);
    events.iter().filter(is_it).count()
}

fn order(world: &World) -> Vec<String> {
    let all = world.published.iter().filter(|payload| *payload != b"0");
    all.map(|payload| payload.escape_ascii().to_string()).collect()
}

fn set(key: &str) -> Request {
    Request::Set {
        key: bytes(key),
        value: bytes("v"),
        milliseconds: 9,
        only_if_there: false,
    }
}

fn entry(known_failures: Option<u64>) -> Request {
    Request::AddEntry {
        stream: bytes("foo"),
        max_len: 0,
        fields: vec![(bytes("n"), bytes("1"))],
        known_failures,
    }
}

/// The slots are learned before the old master has ended the subscriptions: it is told to. Another
/// channel that it ends meanwhile is heard again, and its connection goes on.
#[test]
fn a_channel_follows_its_slot_before_the_old_master_has_ended_it() {
    let mut world = begun(&["foo", "c1", "bar"]);
    move_slot(&mut world, "foo", 2, 0);
    world.nodes[2].in_cluster = false; // It does not know yet.
    find_slots(&mut world);
    assert_eq!(told(&world.take_events(), "foo"), 1);
    assert_eq!(count(&world, "SUNSUBSCRIBE foo"), 1);
    let names = ["bar", "c1", "foo"].map(|name| (name.to_owned(), true));
    assert_eq!(world.subscribed(), names);
    world.subscribe("c5", true);
    world.publish("foo", "x", true);
    world.run_millis(10);
    let events = world.take_events();
    assert_eq!((told(&events, "c5"), messages(&events)), (1, vec!["foo=x".to_owned()]));
    assert_eq!(world.broker.counters().reconnects, 0);

    // The same, and the old master ends another channel before it reads the command.
    let mut world = begun(&["foo", "c1", "bar"]);
    move_slot(&mut world, "foo", 2, 0);
    world.nodes[2].in_cluster = false;
    world.set_mood(2, Mood::Frozen);
    find_slots(&mut world);
    world.end_subscription(2, "c1");
    world.set_mood(2, Mood::Well);
    world.run_millis(10);
    assert_eq!(world.subscribed(), names);
    assert_eq!(world.broker.counters().reconnects, 0);
}

/// The old master has not read a subscription, and takes no bytes for another one, when their slot
/// goes to a master whose connection stands.
#[test]
fn a_channel_that_is_under_way_follows_its_slot() {
    let mut world = begun(&["foo", "bar"]);
    world.nodes[2].in_cluster = false; // It does not know that the slot moves.
    world.set_mood(2, Mood::Frozen);
    world.subscribe("{foo}2", true);
    world.run_millis(0);
    let blocked = world.links(2, true);
    blocked.iter().for_each(|link| world.broker.handle_blocked(*link));
    world.subscribe("{foo}3", true);
    move_slot(&mut world, "foo", 2, 0);
    find_slots(&mut world);
    let events = world.take_events();
    assert_eq!(["foo", "{foo}2", "{foo}3"].map(|name| told(&events, name)), [1; 3]);
    world.set_mood(2, Mood::Well);
    for link in blocked {
        world.broker.handle_drained(world.now, link);
    }
    world.run_millis(10);
    assert_eq!(
        world
            .subscribed()
            .iter()
            .filter(|(name, _)| name.contains("foo"))
            .count(),
        3
    );
    assert_eq!(world.broker.counters().reconnects, 0);
}

/// A channel is heard again at once, each time its slot moves, also if nobody may ask for slots. So
/// it is after servers have sent it to each other.
#[test]
fn a_channel_follows_its_slot_as_often_as_it_moves() {
    for forbidden in [false, true] {
        let mut world = begun(&["foo", "bar", "c1"]);
        if forbidden {
            world.nodes.iter_mut().for_each(|node| node.forbidden = vec!["CLUSTER"]);
        }
        for round in 0..8 {
            let (from, to) = if round % 2 == 0 { (2, 0) } else { (0, 2) };
            move_slot(&mut world, "foo", from, to);
            world.end_subscription(from, "foo");
            world.run_millis(20);
            let events = world.take_events();
            assert_eq!(told(&events, "foo"), 1, "{round}: {events:?}");
            assert!(
                matches!(events[0], Event::Down { .. }),
                "messages may be lost: {events:?}"
            );
            assert_eq!(events.last(), Some(&Event::Up));
            world.run_millis(200);
        }
        assert_eq!(world.broker.counters().refused_subscriptions, 0);

        (world.nodes[0].moves_to, world.nodes[2].moves_to) = (Some(2), Some(0));
        let before = count(&world, "SSUBSCRIBE foo");
        world.end_subscription(2, "foo");
        world.run_millis(20);
        // The end counts as well: the channel is tried on the same server, and four times more.
        assert_eq!(count(&world, "SSUBSCRIBE foo") - before, 5, "{forbidden}");
        assert_eq!(world.broker.counters().refused_subscriptions, 1);
        world.nodes.iter_mut().for_each(|node| node.moves_to = None);
        move_slot(&mut world, "foo", 2, 0);
        move_slot(&mut world, "c1", 2, 0);
        world.run_millis(3000);
        assert!(world.broker.counters().is_up, "{forbidden}");
        assert!(world.subscribed().contains(&("foo".to_owned(), true)));
    }
}

/// Nothing is followed where that is not wanted. The channel is heard again later.
#[test]
fn a_channel_that_was_ended_is_tried_later_where_nothing_is_followed() {
    let nodes = cluster().nodes;
    let config = BrokerConfig::from_url("redis://a:1,a:2,a:3").unwrap().max_redirects(0);
    let mut world = World::new(config, nodes);
    world.subscribe("foo", true);
    world.run_millis(100);
    world.end_subscription(2, "foo");
    world.run_millis(50);
    assert_eq!(count(&world, "SSUBSCRIBE foo"), 1);
    world.run_millis(1900);
    assert_eq!(count(&world, "SSUBSCRIBE foo"), 1);
    world.run_millis(100);
    assert_eq!(count(&world, "SSUBSCRIBE foo"), 2);
    assert!(world.broker.counters().is_up);
}

/// A message or a request follows `max_redirects` times.
#[test]
fn redirections_have_an_exact_limit() {
    let mut world = begun(&[]);
    (world.nodes[0].moves_to, world.nodes[2].moves_to) = (Some(2), Some(0));
    world.publish("foo", "1", true);
    ask(&mut world, 1, set("foo"));
    world.run_millis(20);
    assert_eq!((count(&world, "SPUBLISH foo 1"), count(&world, "SET foo")), (6, 6));
    let counters = world.broker.counters();
    assert_eq!((counters.refused, counters.failed_requests), (1, 1));
    assert_eq!(counters.published, 3 + 1, "each message counts once");
}

/// Messages wait for a connection to the old master when another one, or another message, tells
/// that their slot has moved. They go before later messages, and what is not theirs stays.
#[test]
fn messages_that_wait_for_the_old_master_keep_their_order() {
    for is_learned in [false, true] {
        let mut world = begun(&["foo", "bar"]);
        world.nodes[2].mood = Mood::Gone;
        world.cut_others(2);
        world.publish("foo", "1", true);
        world.publish("c1", "z", true);
        world.publish("foo", "2", true);
        world.run_millis(1);
        move_slot(&mut world, "foo", 2, 0);
        match is_learned {
            true => world.run_millis(150),
            false => {
                world.subscribe("{foo}2", true);
                world.run_millis(1);
            }
        }
        world.publish("foo", "3", true);
        world.run_millis(10);
        assert_eq!(order(&world), ["1", "2", "3"], "{is_learned}");
        world.set_mood(2, Mood::Well);
        world.run_millis(500);
        assert_eq!(order(&world), ["1", "2", "3", "z"], "{is_learned}");
        assert_eq!(world.broker.counters().waiting_bytes, 0);
    }
}

/// What a connection owed when it ended is not waited for by the next one.
#[test]
fn messages_follow_their_slot_behind_a_connection_that_was_lost() {
    let mut world = begun(&[]);
    world.set_mood(2, Mood::Frozen);
    (1..=3).for_each(|_| world.publish("foo", "0", true));
    world.command(Command::Flush { tag: 1 });
    world.run_millis(1);
    world.cut(2, false);
    world.set_mood(2, Mood::Well);
    world.run_millis(500);
    assert_eq!(answers(&world.take_events()), [(1, Ok(Answer::Done))]);
    world.publish("foo", "1", true);
    world.run_millis(10);
    move_slot(&mut world, "foo", 2, 0);
    world.publish("foo", "2", true);
    world.run_millis(10);
    assert_eq!(order(&world), ["1", "2"]);
    let counters = world.broker.counters();
    assert_eq!((counters.unconfirmed, counters.published), (3, 3 + 3 + 2));
}

/// The first answer that names another master makes the broker ask for all slots.
#[test]
fn one_redirection_is_enough_for_all_slots() {
    let mut world = begun(&[]);
    world.nodes[0].slots = vec![(0, 5460), (10923, 16383)];
    world.nodes[2].slots.clear();
    world.publish("foo", "0", true);
    world.run_millis(150);
    for number in 0..50 {
        world.publish(&format!("c{number}"), "0", true);
    }
    world.run_millis(100);
    assert_eq!((world.published.len(), world.broker.counters().redirects), (54, 1));
    // The connection to the master that is none any more is closed.
    assert_eq!(world.links(2, false), []);
}

/// Requests follow, each with what it needs.
#[test]
fn requests_follow_their_slot() {
    let mut world = begun(&[]);
    let requests = [set("foo"), entry(None), Request::Take { key: bytes("foo") }];
    for (tag, request) in (1..).zip(requests) {
        let (from, to) = [(2, 0), (0, 1), (1, 2)][tag as usize - 1];
        move_slot(&mut world, "foo", from, to);
        world.nodes[to].values = std::mem::take(&mut world.nodes[from].values);
        ask(&mut world, tag, request);
        world.run_millis(1);
    }
    let told = answers(&world.take_events());
    let value = Ok(Answer::Value(Some(bytes("v"))));
    assert_eq!(
        (told.len(), &told[0], &told[2]),
        (3, &(1, Ok(Answer::Done)), &(3, value))
    );
    assert!(matches!(told[1], (2, Ok(Answer::Added(_)))), "{told:?}");
    assert_eq!((count(&world, "ASKING"), world.broker.counters().redirects), (0, 3));
}

/// While a slot moves, its old master sends on what it does not have, one command at a time.
#[test]
fn what_is_asked_for_elsewhere_goes_there() {
    let mut world = begun(&[]);
    let elsewhere = format!("ASK {} a:1", slot(b"foo"));
    let of = ["SPUBLISH foo", "SET foo", "XADD foo"];
    world.nodes[2].errors = of.map(|begin| (begin, elsewhere.clone())).into();
    world.publish("foo", "1", true);
    ask(&mut world, 1, set("foo"));
    world.run_millis(1);
    assert_eq!(answers(&world.take_events()), [(1, Ok(Answer::Done))]);
    let all = &world.nodes[0].commands;
    let behind = |begin: &str| {
        let at = all.iter().position(|command| command.starts_with(begin)).unwrap();
        all[at - 1].clone()
    };
    assert_eq!([behind("SPUBLISH foo"), behind("SET foo")], ["ASKING", "ASKING"]);
    assert_eq!(order(&world), ["1"]);
    assert_eq!(world.broker.counters().published, 3 + 1);

    // An entry in order is sent on. What comes behind it could be there first, so it is refused.
    world.set_mood(0, Mood::Frozen);
    ask(&mut world, 2, entry(Some(0)));
    world.run_millis(1);
    ask(&mut world, 3, entry(Some(0)));
    world.run_millis(1);
    let refused = Err(BrokerError::NotInOrder { failed: 1 });
    assert_eq!(answers(&world.take_events()), [(3, refused)]);
    world.set_mood(0, Mood::Well);
    world.run_millis(1);
    ask(&mut world, 4, entry(Some(1)));
    world.run_millis(1);
    let told = answers(&world.take_events());
    assert!(matches!(&told[..], [(2, Ok(_)), (4, Ok(_))]), "{told:?}");
}

/// An entry in order is under way to the old master, or waits for it.
#[test]
fn an_entry_in_order_waits_for_those_before_it() {
    let mut world = begun(&[]);
    world.set_mood(2, Mood::Frozen);
    ask(&mut world, 1, entry(Some(0)));
    world.run_millis(1);
    move_slot(&mut world, "foo", 2, 0);
    find_slots(&mut world);
    ask(&mut world, 2, entry(Some(0)));
    world.run_millis(1);
    let refused = Err(BrokerError::NotInOrder { failed: 1 });
    assert_eq!(answers(&world.take_events()), [(2, refused)]);

    // All slots of a master that is gone go to another one, and with them what waits.
    let mut world = begun(&[]);
    world.set_mood(2, Mood::Gone);
    ask(&mut world, 1, entry(Some(0)));
    world.publish("foo", "1", true);
    let slots = std::mem::take(&mut world.nodes[2].slots);
    world.nodes[0].slots.extend(slots);
    world.run_millis(150);
    let told = answers(&world.take_events());
    assert!(matches!(&told[..], [(1, Ok(_))]), "{told:?}");
    assert_eq!(order(&world), ["1"]);
    assert_eq!(world.broker.counters().waiting_bytes, 0);
}

/// A reader waits at the old owner, which does not tell it.
#[test]
fn a_reader_follows_its_stream_when_the_slots_are_learned() {
    let mut world = begun(&[]);
    let (stream, after) = (bytes("foo"), StreamPosition::End);
    world.command(Command::ReadStream { stream, after });
    world.run_millis(10);
    move_slot(&mut world, "foo", 2, 0);
    find_slots(&mut world);
    world.take_events();
    ask(&mut world, 1, entry(None));
    world.run_millis(10);
    let events = world.take_events();
    assert!(
        events.iter().any(|event| matches!(event, Event::Entry { .. })),
        "{events:?}"
    );
    assert_eq!(world.broker.counters().entries, 1);
}

/// Each master is asked once. If one has come meanwhile, all are asked again.
#[test]
fn subscribers_are_counted_on_all_masters() {
    let mut nodes = cluster().nodes;
    nodes.push(Node::new("a", 4));
    nodes[3].in_cluster = true;
    let mut world = World::new(BrokerConfig::from_url("redis://a:1").unwrap(), nodes);
    world.subscribe("plain", false);
    world.run_millis(100);
    let subscribers = |tag| {
        let (channel, sharded) = (bytes("plain"), false);
        let request = Request::Subscribers { channel, sharded };
        Command::Request { tag, request }
    };
    world.command(subscribers(1));
    world.run_millis(10);
    assert_eq!(count(&world, "PUBSUB"), 3);
    find_slots(&mut world); // They have other owners, and the same masters.
    world.command(subscribers(2));
    world.run_millis(10);
    assert_eq!(count(&world, "PUBSUB"), 6);
    world.set_mood(1, Mood::Frozen);
    world.command(subscribers(3));
    world.run_millis(10);
    move_slot(&mut world, "bar", 0, 3);
    world.publish("bar", "0", true);
    world.run_millis(150);
    world.set_mood(1, Mood::Well);
    world.run_millis(10);
    let all = [1, 2, 3].map(|tag| (tag, Ok(Answer::Count(1))));
    assert_eq!(answers(&world.take_events()), all);
    assert_eq!(count(&world, "PUBSUB"), 6 + 3 + 4);
}

/// A node that only hears notices that a master has gone, and who has its slots.
#[test]
fn a_channel_is_heard_from_the_successor_of_its_master() {
    let mut world = cluster();
    world.subscribe("foo", true);
    world.run_millis(100);
    let slots = std::mem::take(&mut world.nodes[2].slots);
    world.nodes[0].slots.extend(slots);
    world.set_mood(2, Mood::Gone);
    world.run_millis(300);
    assert_eq!(world.subscribed(), [("foo".to_owned(), true)]);
    assert!(world.broker.counters().is_up);
}

/// A server may send commands to as many others as a cluster may have.
#[test]
fn servers_that_are_named_are_limited() {
    let mut node = Node::new("a", 1);
    (node.in_cluster, node.slots) = (true, vec![(0, 16383)]);
    let config = BrokerConfig::from_url("redis://a:1").unwrap().max_nodes(3);
    let mut world = World::new(config, vec![node]);
    world.subscribe("foo", true);
    world.run_millis(100);
    let before = world.opened;
    for port in 100..110 {
        world.nodes[0].errors = vec![("SPUBLISH", format!("ASK 1 b:{port}"))];
        world.publish("foo", "0", true);
        world.run_millis(1);
    }
    // The connection to the master itself is the first of three.
    assert_eq!(world.opened - before, 3);
}

/// Who may not ask for the slots learns from the answer to a message that it talks to a cluster.
#[test]
fn a_message_finds_the_cluster_where_nobody_may_ask_for_it() {
    let mut world = cluster();
    world.nodes.iter_mut().for_each(|node| node.forbidden = vec!["CLUSTER"]);
    world.run_millis(100);
    world.publish("foo", "1", true);
    world.run_millis(100);
    assert_eq!(world.broker.counters().refused, 1);
    world.publish("foo", "2", true);
    world.run_millis(100);
    assert_eq!(order(&world), ["2"]);
}

/// A probe goes to the server whose subscribing connection it tests.
#[test]
fn a_probe_goes_to_the_server_that_it_tests() {
    let mut world = begun(&["foo"]);
    world.subscribe("plain", false);
    world.run(Duration::from_secs(11));
    let names = |node: usize, command: &str| -> Vec<String> {
        let all = world.nodes[node].commands.iter();
        let of = all.filter_map(|known| known.strip_prefix(command)?.split(' ').next());
        of.filter(|name| name.starts_with("socket.io-probe#"))
            .map(str::to_owned)
            .collect()
    };
    for node in [0, 2] {
        assert_eq!(names(node, "PUBLISH "), names(node, "SUBSCRIBE "), "{node}");
        assert_eq!(names(node, "PUBLISH ").len(), 1, "{node}");
    }
    assert!(!world.broker.counters().probe_round_trip.is_zero() || world.broker.counters().deaf == 0);
}

/// All masters go while the slots are to be asked for. Nothing turns round and round until they
/// are back.
#[test]
fn a_cluster_that_is_gone_is_waited_for() {
    let mut world = begun(&["foo"]);
    (0..3).for_each(|node| world.set_mood(node, Mood::Gone));
    world.run(Duration::from_secs(10));
    (0..3).for_each(|node| world.set_mood(node, Mood::Well));
    world.run_millis(4000);
    assert!(world.broker.counters().is_up);
    assert_eq!(world.subscribed(), [("foo".to_owned(), true)]);
}

/// Several connections are given up, each with its own server: each ends its own.
#[test]
fn each_server_ends_the_connections_that_were_given_up_there() {
    let mut world = begun(&[]);
    world.set_mood(1, Mood::Frozen);
    world.set_mood(2, Mood::Frozen);
    world.publish(&of_second(), "1", true);
    world.publish("foo", "2", true);
    world.run(Duration::from_secs(6));
    world.set_mood(2, Mood::Well);
    world.run_millis(2500);
    world.set_mood(1, Mood::Well);
    world.run_millis(6500);
    world.carry_out_late();
    assert_eq!(order(&world), [""; 0]);
    let kills = [0, 1, 2].map(|node| {
        let all = world.nodes[node].commands.iter();
        all.filter(|command| command.starts_with("CLIENT KILL")).count()
    });
    assert_eq!(kills, [0, 1, 1]);
    let refused = |event: &Event| matches!(event, Event::Down { why } if why.is_refused_as(Refusal::Other));
    assert!(!world.take_events().iter().any(refused));
}
