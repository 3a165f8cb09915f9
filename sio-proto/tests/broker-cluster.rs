//! Stories of a broker and a Redis cluster whose slots move, under a virtual clock.

mod redis;

use std::time::Duration;

use redis::events::{answers, ask, messages};
use redis::moving::cluster;
use redis::{Mood, World, bytes};
use sio_proto::broker::{Answer, Command, Output, Request};
use sio_proto::resp::slot;

#[test]
fn in_a_cluster_each_channel_is_heard_from_its_owner() {
    let mut world = cluster();
    let names: Vec<String> = (0..50).map(|number| format!("room{number}")).collect();
    names.iter().for_each(|name| world.subscribe(name, true));
    world.subscribe("plain", false);
    world.run_millis(100);
    assert!(world.broker.counters().is_up);
    for name in &names {
        world.publish(name, "x", true);
    }
    world.publish("plain", "x", false);
    world.run_millis(100);
    assert_eq!(messages(&world.take_events()).len(), 51);
    ask(
        &mut world,
        1,
        Request::Subscribers {
            channel: bytes("room1"),
            sharded: true,
        },
    );
    ask(
        &mut world,
        2,
        Request::Subscribers {
            channel: bytes("plain"),
            sharded: false,
        },
    );
    ask(
        &mut world,
        3,
        Request::Set {
            key: bytes("foo"),
            value: bytes("v"),
            milliseconds: 9,
            only_if_there: false,
        },
    );
    ask(&mut world, 4, Request::Take { key: bytes("foo") });
    world.run_millis(100);
    // Servers answer in no common order.
    let mut answers = answers(&world.take_events());
    answers.sort_by_key(|(tag, _)| *tag);
    let value = Ok(Answer::Value(Some(bytes("v"))));
    assert_eq!(
        answers,
        [
            (1, Ok(Answer::Count(1))),
            (2, Ok(Answer::Count(1))),
            (3, Ok(Answer::Done)),
            (4, value),
        ]
    );
    assert_eq!(world.broker.counters().redirects, 0);
}

#[test]
fn slots_that_move_take_their_channels_along() {
    let mut world = cluster();
    let names: Vec<String> = (0..50).map(|number| format!("room{number}")).collect();
    names.iter().for_each(|name| world.subscribe(name, true));
    world.run_millis(100);
    // All slots of the first master go to the second.
    world.nodes[0].slots = vec![];
    world.nodes[1].slots = vec![(0, 10922)];
    world.take_away(0);
    for name in &names {
        world.publish(name, "x", true);
    }
    world.run_millis(100);
    assert!(world.broker.counters().redirects > 0);
    world.run_millis(3000);
    assert_eq!(world.subscribed().len(), 50);
    assert!(world.broker.counters().is_up);
    world.take_events();
    let moved = world.broker.counters().redirects;
    for name in &names {
        world.publish(name, "y", true);
    }
    world.run_millis(100);
    assert_eq!(messages(&world.take_events()).len(), 50);
    assert_eq!(world.broker.counters().redirects, moved);
    assert_eq!(world.broker.counters().waiting_bytes, 0);
}

/// Messages are under way to a master while their slot moves. A later one does not overtake them,
/// whether the master says that the slot has moved or the broker learns of it otherwise.
#[test]
fn messages_keep_their_order_while_their_slot_moves() {
    for learns in [false, true] {
        let mut world = cluster();
        world.run_millis(100);
        // The first master owns `bar`, and the third one `foo`.
        for channel in ["bar", "foo", "hello"] {
            world.publish(channel, "0", true);
        }
        world.run_millis(100);
        world.set_mood(2, Mood::Frozen);
        (1..=3).for_each(|number| world.publish("foo", &number.to_string(), true));
        world.run_millis(1);
        world.nodes[0].slots = vec![(0, 0)];
        world.nodes[1].slots = vec![(1, 16382)];
        world.nodes[2].slots = vec![(16383, 16383)];
        match learns {
            true => {
                // The answer to this makes the broker ask for the slots.
                world.publish("bar", "0", true);
                world.run_millis(500);
                world.publish("foo", "4", true);
                world.run_millis(100);
                world.set_mood(2, Mood::Well);
            }
            false => {
                world.set_mood(2, Mood::Well);
                world.hear_first_line(2);
                world.publish("foo", "4", true);
            }
        }
        world.run_millis(1000);
        world.publish("foo", "5", true);
        world.run_millis(1000);
        let order: Vec<_> = world.published.iter().filter(|payload| *payload != b"0").collect();
        assert_eq!(order, [b"1", b"2", b"3", b"4", b"5"], "{learns}");
        assert!(world.broker.counters().redirects >= 3);
        assert_eq!(world.broker.counters().waiting_bytes, 0);
    }
}

/// The connection to the old master ends before it has answered everything: what has waited for
/// these answers goes before later messages, also if the slots cannot be asked for now.
#[test]
fn messages_keep_their_order_where_the_old_master_goes() {
    for loads in [false, true] {
        let mut world = cluster();
        world.run_millis(100);
        ["bar", "foo"]
            .iter()
            .for_each(|channel| world.publish(channel, "0", true));
        world.run_millis(100);
        world.set_mood(2, Mood::Frozen);
        (1..=3).for_each(|number| world.publish("foo", &number.to_string(), true));
        world.run_millis(1);
        world.nodes[1].slots = vec![(5461, 16382)];
        world.nodes[2].slots = vec![(16383, 16383)];
        world.set_mood(2, Mood::Well);
        world.hear_first_line(2);
        world.publish("foo", "4", true);
        if loads {
            world.set_mood(0, Mood::Loading);
        }
        world.cut(2, false);
        world.publish("foo", "5", true);
        world.run_millis(1000);
        let order: Vec<_> = world.published.iter().filter(|payload| *payload != b"0").collect();
        assert_eq!(order, [b"1", b"4", b"5"], "{loads}");
        assert_eq!(world.broker.counters().waiting_bytes, 0);
        // What was not answered is asked again.
        let asked = |world: &World| {
            let commands = world.nodes[0].commands.iter();
            commands.filter(|command| *command == "CLUSTER SLOTS").count()
        };
        let before = asked(&world);
        world.set_mood(0, Mood::Well);
        world.run_millis(1000);
        assert_eq!(asked(&world) > before, loads);
    }
}

/// Messages that have waited for the answers of a master, and those that are written when its
/// connection ends after so long, without the broker having been given the time.
fn waited_for_the_old_master(seconds: u64) -> (World, Vec<String>) {
    let mut world = cluster();
    world.run_millis(100);
    ["bar", "foo"]
        .iter()
        .for_each(|channel| world.publish(channel, "0", true));
    world.run_millis(100);
    world.set_mood(2, Mood::Frozen);
    (1..=3).for_each(|number| world.publish("foo", &number.to_string(), true));
    world.run_millis(1);
    world.nodes[1].slots = vec![(5461, 16382)];
    world.nodes[2].slots = vec![(16383, 16383)];
    world.answer_one(2);
    world.run_millis(1);
    world.publish("foo", "4", true);
    world.run_millis(1);
    assert_eq!(order(&world), [""; 0], "the others are not answered");
    world.now = world.now + Duration::from_secs(seconds);
    world.cut(2, false);
    let outputs = std::iter::from_fn(|| world.broker.poll_output());
    let written = outputs.filter_map(|output| match output {
        Output::Write { bytes, .. } => Some(bytes.escape_ascii().to_string()),
        _ => None,
    });
    let written = written.collect();
    (world, written)
}

/// What has waited for the answers of a master leaves when its connection ends, and does not wait
/// for something else to happen.
#[test]
fn what_waited_for_the_old_master_leaves_when_its_connection_ends() {
    let (_, written) = waited_for_the_old_master(0);
    let expected = ["1", "4"].map(|payload| format!(r"$8\r\nSPUBLISH\r\n$3\r\nfoo\r\n$1\r\n{payload}\r\n"));
    assert!(
        written.iter().any(|bytes| bytes.ends_with(&expected.join("*3\\r\\n"))),
        "{written:?}"
    );
}

/// What is late by then is dropped.
#[test]
fn what_waited_too_long_for_the_old_master_is_dropped() {
    let (world, written) = waited_for_the_old_master(6);
    assert!(!written.iter().any(|bytes| bytes.contains("SPUBLISH")), "{written:?}");
    let counters = world.broker.counters();
    assert_eq!((counters.dropped_late, counters.waiting_bytes), (2, 0));
}

/// What a test of slots that move has published.
fn order(world: &World) -> Vec<String> {
    let all = world.published.iter().filter(|payload| *payload != b"0");
    all.map(|payload| payload.escape_ascii().to_string()).collect()
}

/// Something else than a message is told first that the slot has moved.
#[test]
fn messages_keep_their_order_while_something_else_finds_their_slot() {
    let mut world = cluster();
    world.run_millis(100);
    // One for each master, so that all connections stand.
    ["bar", "foo", "c4"]
        .iter()
        .for_each(|channel| world.publish(channel, "0", true));
    world.run_millis(100);
    world.set_mood(2, Mood::Frozen);
    let (key, value) = (bytes("foo"), bytes("v"));
    let set = Request::Set {
        key,
        value,
        milliseconds: 9,
        only_if_there: false,
    };
    ask(&mut world, 1, set);
    (1..=3).for_each(|number| world.publish("foo", &number.to_string(), true));
    world.run_millis(1);
    world.nodes[0].slots = vec![(0, 0)];
    world.nodes[1].slots = vec![(1, 16382)];
    world.nodes[2].slots = vec![(16383, 16383)];
    world.set_mood(2, Mood::Well);
    world.hear_first_line(2);
    world.publish("foo", "4", true);
    world.run_millis(100);
    world.publish("foo", "5", true);
    world.run_millis(1000);
    assert_eq!(order(&world), ["1", "2", "3", "4", "5"]);
    assert_eq!(world.broker.counters().waiting_bytes, 0);

    // All messages wait for a connection to the old master, which is made just now.
    world.cut(1, false);
    world.publish("foo", "6", true);
    world.publish("foo", "7", true);
    let slots = std::mem::take(&mut world.nodes[1].slots);
    world.nodes[0].slots = slots;
    world.nodes[1].mood = Mood::Frozen;
    world.subscribe("foo", true);
    world.run_millis(1000);
    world.publish("foo", "8", true);
    world.set_mood(1, Mood::Well);
    world.run_millis(5000);
    assert_eq!(order(&world)[5..], ["6", "7", "8"]);
    assert_eq!(world.broker.counters().waiting_bytes, 0);
}

/// The old master names one new owner for the first message, and another one for the second. The
/// first new owner is slow.
#[test]
fn messages_keep_their_order_while_their_slot_moves_twice() {
    let mut world = cluster();
    world.run_millis(100);
    ["bar", "foo", "hello"]
        .iter()
        .for_each(|channel| world.publish(channel, "0", true));
    world.run_millis(100);
    world.set_mood(2, Mood::Frozen);
    (1..=2).for_each(|number| world.publish("foo", &number.to_string(), true));
    world.run_millis(1);
    for owner in [0, 1] {
        (0..3).for_each(|node| world.nodes[node].slots.clear());
        world.nodes[owner].slots = vec![(0, 16383)];
        world.answer_one(2);
    }
    world.set_mood(0, Mood::Frozen);
    world.run_millis(10);
    world.publish("foo", "3", true);
    world.run_millis(10);
    world.set_mood(0, Mood::Well);
    world.set_mood(2, Mood::Well);
    world.run_millis(1000);
    assert_eq!(order(&world), ["1", "2", "3"]);
    assert_eq!(world.broker.counters().waiting_bytes, 0);
}

/// Both slots of a master move, and one of them a second time, while much waits for it.
#[test]
fn messages_keep_their_order_while_many_slots_move() {
    let mut world = cluster();
    world.run_millis(100);
    let names: Vec<_> = (0..200).map(|number| format!("c{number}")).collect();
    names.iter().for_each(|name| world.publish(name, "begin", true));
    world.run_millis(100);
    world.published.clear();
    (0..3).for_each(|node| world.set_mood(node, Mood::Frozen));
    for round in 0..200 {
        for name in &names {
            world.publish(name, &format!("{name} {round:03}"), true);
        }
        if round == 100 {
            // More has been written than a connection waits for, and the rest waits in its queue.
            world.run_millis(1);
            let slots = [vec![(10923, 16383)], vec![(0, 5460)], vec![(5461, 10922)]];
            world
                .nodes
                .iter_mut()
                .zip(slots)
                .for_each(|(node, slots)| node.slots = slots);
        }
    }
    world.set_mood(1, Mood::Well);
    world.run_millis(1);
    let slots = [vec![(5461, 10922)], vec![(10923, 16383)], vec![(0, 5460)]];
    world
        .nodes
        .iter_mut()
        .zip(slots)
        .for_each(|(node, slots)| node.slots = slots);
    world.set_mood(2, Mood::Well);
    world.set_mood(0, Mood::Well);
    for round in 200..220 {
        for name in &names {
            world.publish(name, &format!("{name} {round:03}"), true);
        }
        world.run_millis(1);
    }
    world.run_millis(2000);
    let mut by_name = std::collections::BTreeMap::<&[u8], Vec<&[u8]>>::new();
    for payload in &world.published {
        let name = payload.split(|byte| *byte == b' ').next().unwrap();
        by_name.entry(name).or_default().push(payload);
    }
    assert_eq!(by_name.len(), names.len());
    for (name, all) in by_name {
        assert!(all.is_sorted(), "{}", name.escape_ascii());
        assert_eq!(all.len(), 220, "{}", name.escape_ascii());
    }
    assert_eq!(world.broker.counters().waiting_bytes, 0);
}

/// Two servers that each say the other one owns the slot.
#[test]
fn a_storm_of_redirections_ends() {
    let mut world = cluster();
    world.run_millis(100);
    world.nodes[2].moves_to = Some(0);
    world.nodes[0].moves_to = Some(2);
    let opened = world.opened;
    for tag in 0..100 {
        ask(&mut world, tag, Request::Take { key: bytes("foo") });
        world.publish("foo", "x", true);
        world.subscribe(&format!("{{foo}}{tag}"), true);
    }
    assert!(world.broker.counters().waiting_bytes > 0);
    world.run_millis(5000);
    assert_eq!(answers(&world.take_events()).len(), 100);
    // Five times each, and the channels once more with each delay.
    assert!(world.broker.counters().redirects <= 500 + 500 + 500 * 4);
    assert_eq!(world.broker.counters().waiting_bytes, 0);
    assert!(world.opened - opened < 10);
    world.nodes.iter_mut().for_each(|node| node.moves_to = None);
    world.run_millis(2500);
    assert_eq!(world.subscribed().len(), 100);
    assert!(world.broker.counters().is_up);
}

/// A slot has moved, so the old master has ended the subscription, and refuses the command that
/// leaves the channel with `MOVED`. That is no reason to lose the connection, on which others are
/// heard.
#[test]
fn a_channel_that_is_left_while_its_slot_moves_costs_no_connection() {
    for (waits, gap) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        let mut world = cluster();
        // The third master owns `foo` and `zoo`.
        for channel in ["foo", "zoo", "plain"] {
            world.subscribe(channel, channel != "plain");
        }
        world.run_millis(100);
        let (opened, slot) = (world.opened, slot(b"foo"));
        assert_ne!(slot, sio_proto::resp::slot(b"zoo"));
        world.nodes[2].slots = vec![(10923, slot - 1), (slot + 1, 16383)];
        world.nodes[0].slots.push((slot, slot));
        world.end_subscription(2, "foo");
        if waits {
            // Something else is asked behind it.
            world.subscribe("zoo2", true);
        }
        let (channel, sharded) = (bytes("foo"), true);
        world.command(Command::Unsubscribe { channel, sharded });
        world.run_millis(gap);
        world.subscribe("zoo3", true);
        world.run(Duration::from_secs(60));
        assert_eq!(world.broker.counters().reconnects, 0, "{waits} {gap}");
        assert!(world.opened <= opened + 4, "{waits} {gap}");
        assert!(world.broker.counters().is_up);
        world.take_events();
        world.publish("zoo", "x", true);
        world.run_millis(100);
        assert_eq!(messages(&world.take_events()).len(), 1);
    }
}

/// The answer to a command that leaves a channel has come, and then the slot moves. `MOVED` for the
/// next subscription to the channel belongs to that subscription.
#[test]
fn a_channel_that_comes_back_while_its_slot_moves_follows_it() {
    for gap in [0, 1, 100, 3000] {
        let mut world = cluster();
        for channel in ["foo", "zoo"] {
            world.subscribe(channel, true);
        }
        world.run_millis(100);
        let slot = slot(b"foo");
        let (channel, sharded) = (bytes("foo"), true);
        world.command(Command::Unsubscribe { channel, sharded });
        world.run_millis(10);
        world.nodes[2].slots = vec![(10923, slot - 1), (slot + 1, 16383)];
        world.nodes[0].slots.push((slot, slot));
        world.run_millis(gap);
        world.subscribe("foo", true);
        world.run(Duration::from_secs(60));
        assert_eq!(world.broker.counters().reconnects, 0, "{gap}");
        for channel in ["foo", "zoo"] {
            world.take_events();
            world.publish(channel, "x", true);
            world.run_millis(100);
            assert_eq!(messages(&world.take_events()).len(), 1, "{gap} {channel}");
        }
    }
}

/// Where nobody may ask for the slots, a master that does not come back has its slots elsewhere
/// after a while: they are learned anew.
#[test]
fn a_master_is_replaced_where_the_slots_cannot_be_asked_for() {
    for is_renamed in [false, true] {
        let mut world = cluster();
        for node in &mut world.nodes {
            match is_renamed {
                true => node.renamed = vec!["CLUSTER"],
                false => node.forbidden = vec!["CLUSTER"],
            }
        }
        for channel in ["foo", "zoo", "plain"] {
            world.subscribe(channel, channel != "plain");
        }
        world.run(Duration::from_secs(10));
        world.publish("foo", "x", true);
        world.run_millis(200);
        assert_eq!(messages(&world.take_events()).len(), 1, "{is_renamed}");
        // The third master owned both.
        world.set_mood(2, Mood::Gone);
        world.run(Duration::from_secs(15));
        let slots = std::mem::take(&mut world.nodes[2].slots);
        world.nodes[0].slots.extend(slots);
        world.run(Duration::from_secs(40));
        assert!(
            world.broker.counters().is_up,
            "{is_renamed}: {:?}",
            world.broker.counters()
        );
        let opened = world.opened;
        for channel in ["foo", "zoo", "plain"] {
            world.take_events();
            world.publish(channel, "x", channel != "plain");
            world.run_millis(200);
            assert_eq!(messages(&world.take_events()).len(), 1, "{is_renamed} {channel}");
        }
        world.run(Duration::from_secs(60));
        assert!(world.opened <= opened + 2, "{is_renamed}: it is quiet");
    }
}
