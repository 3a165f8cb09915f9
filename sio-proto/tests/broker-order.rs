//! What is written to a broker stays in order, and is there once, also where a connection is given
//! up while its server still has commands of it.

mod redis;

use std::time::Duration;

use redis::events::{answers, ask};
use redis::moving::cluster;
use redis::{Mood, World, bytes};
use sio_proto::broker::{Answer, BrokerError, Refusal, Request};

/// More than the patience of a node with its broker, and than the age of what may wait.
const LONG: Duration = Duration::from_secs(6);

fn add(world: &mut World, number: u64, known_failures: Option<u64>) {
    let request = Request::AddEntry {
        stream: bytes("s"),
        max_len: 0,
        fields: vec![(bytes("n"), bytes(&number.to_string()))],
        known_failures,
    };
    ask(world, number, request);
}

/// The numbers of the entries that a server has.
fn entries(world: &World, node: usize) -> Vec<u64> {
    let all = world.nodes[node].streams.get(&b"s"[..]).into_iter().flatten();
    all.map(|(_, fields)| String::from_utf8_lossy(&fields[1]).parse().expect("a number"))
        .collect()
}

/// The answers, `None` for an entry that was added.
fn failures(world: &mut World) -> Vec<(u64, Option<BrokerError>)> {
    let answers = answers(&world.take_events()).into_iter();
    let failure = |(tag, answer): (u64, Result<Answer, BrokerError>)| (tag, answer.err());
    answers.map(failure).collect()
}

fn kills(world: &World) -> Vec<&String> {
    let commands = world.nodes.iter().flat_map(|node| &node.commands);
    commands.filter(|command| command.starts_with("CLIENT KILL")).collect()
}

/// A server stands still, the connection is given up, and the next one writes before the server
/// carries out what it has of the old one.
fn give_up(world: &mut World, write: impl Fn(&mut World, u64), again: u64) {
    world.run_millis(10);
    write(world, 1);
    world.run_millis(10);
    world.set_mood(0, Mood::Frozen);
    write(world, 2);
    write(world, 3);
    world.run(LONG);
    write(world, again);
    world.set_mood(0, Mood::Well);
    world.run_millis(1000);
    world.carry_out_late();
    world.run_millis(1000);
}

#[test]
fn nothing_of_a_connection_that_was_given_up_comes_behind_the_next_one() {
    let mut world = World::single();
    give_up(
        &mut world,
        |world, number| world.publish("c", &number.to_string(), false),
        4,
    );
    assert_eq!(
        world.published,
        [b"1", b"4"],
        "what the server has not carried out is lost"
    );
    assert_eq!(world.broker.counters().unconfirmed, 2, "and counted");

    let mut world = World::single();
    give_up(&mut world, |world, number| add(world, number, None), 2);
    assert_eq!(entries(&world, 0), [1, 2], "written again, it is there once");
    assert_eq!(kills(&world), ["CLIENT KILL ID 1 ADDR 10.0.0.1:1"]);
}

/// Such a user, and a server before Redis 6.2, goes without.
#[test]
fn a_user_that_may_not_end_connections_is_served() {
    let mut world = World::single();
    world.nodes[0].forbidden = vec!["CLIENT"];
    give_up(&mut world, |world, number| add(world, number, None), 2);
    assert_eq!(entries(&world, 0), [1, 2, 2, 3], "nobody could tell the server");
    assert!(world.broker.counters().is_up && kills(&world).is_empty());
}

/// A server that is busy with a script does not end the old connection. It is asked again by the
/// connection behind the next one.
#[test]
fn a_server_that_is_too_busy_to_end_a_connection_is_asked_again() {
    let mut world = World::single();
    world.run_millis(10);
    world.set_mood(0, Mood::Frozen);
    world.publish("c", "1", false);
    world.run(LONG);
    world.nodes[0].is_busy = true;
    world.set_mood(0, Mood::Well);
    world.run(LONG);
    assert_eq!(kills(&world).len(), 1, "it was refused");
    world.nodes[0].is_busy = false;
    world.cut(0, false);
    world.run(LONG);
    assert_eq!(kills(&world), ["CLIENT KILL ID 1 ADDR 10.0.0.1:1"; 2]);
    world.carry_out_late();
    assert!(world.published.is_empty(), "{:?}", world.published);
    // It has ended.
    world.cut(0, false);
    world.run(LONG);
    assert_eq!(kills(&world).len(), 2);
}

/// Only a connection with commands that were not answered is ended at the server, once.
#[test]
fn a_connection_that_owes_nothing_is_left_alone() {
    let mut world = World::single();
    world.run_millis(10);
    add(&mut world, 1, None);
    world.run_millis(10);
    world.cut(0, false);
    world.run(LONG);
    world.set_mood(0, Mood::Frozen);
    // Nothing but a ping is under way.
    world.run(Duration::from_secs(60));
    world.set_mood(0, Mood::Well);
    world.run(LONG);
    assert!(world.broker.counters().is_up && kills(&world).is_empty());
    world.set_mood(0, Mood::Frozen);
    add(&mut world, 2, None);
    world.run(LONG);
    world.set_mood(0, Mood::Well);
    world.run(LONG);
    world.cut(0, false);
    world.run(LONG);
    assert_eq!(kills(&world).len(), 1);
}

/// What the caller has not heard to have failed is written before what it gives meanwhile.
#[test]
fn an_entry_in_order_is_not_written_behind_one_that_has_failed() {
    let mut world = World::single();
    world.run_millis(10);
    world.set_mood(0, Mood::Frozen);
    (1..=3).for_each(|number| add(&mut world, number, Some(0)));
    world.run(LONG);
    // The caller has not heard of it yet.
    add(&mut world, 4, Some(0));
    add(&mut world, 5, None);
    world.set_mood(0, Mood::Well);
    world.run_millis(1000);
    let refused = |failed| Some(BrokerError::NotInOrder { failed });
    let late = Some(BrokerError::TimedOut);
    let failed = [1, 2, 3].map(|number| (number, late.clone()));
    assert_eq!(
        failures(&mut world),
        [&failed[..], &[(4, refused(4)), (5, None)]].concat()
    );
    // It has heard of three of them.
    add(&mut world, 6, Some(3));
    (1..=4).for_each(|number| add(&mut world, number, Some(5)));
    world.run_millis(10);
    assert_eq!(
        failures(&mut world),
        [(6, refused(5)), (1, None), (2, None), (3, None), (4, None)]
    );
    assert_eq!(entries(&world, 0), [5, 1, 2, 3, 4]);
}

/// The connection that ends the old one is given up itself before it is heard.
#[test]
fn a_connection_is_ended_by_the_first_one_that_is_answered() {
    let mut world = World::single();
    world.run_millis(10);
    world.set_mood(0, Mood::Frozen);
    world.publish("c", "1", false);
    world.run(LONG);
    // The server answers the greeting of the next connection, and stands still again.
    (0..3).for_each(|_| {
        world.answer_one(0);
        world.run_millis(1);
    });
    assert!(kills(&world).is_empty(), "it is on its way");
    world.publish("c", "2", false);
    world.run(LONG);
    world.set_mood(0, Mood::Well);
    world.publish("c", "3", false);
    world.run_millis(1000);
    world.carry_out_late();
    assert_eq!(world.published, [b"3"]);
    assert_eq!(kills(&world).len(), 2);
}

/// What waits stands before what was refused.
#[test]
fn an_entry_that_waits_is_written_although_a_later_one_was_refused() {
    let mut config = sio_proto::broker::BrokerConfig::from_url("redis://a:1").unwrap();
    config.max_waiting_bytes = 2000;
    let mut world = World::new(config, vec![redis::Node::new("a", 1)]);
    // The connection does not stand yet.
    add(&mut world, 1, Some(0));
    let large = Request::AddEntry {
        stream: bytes("s"),
        max_len: 0,
        fields: vec![(bytes("n"), vec![b'x'; 2000].into())],
        known_failures: Some(0),
    };
    ask(&mut world, 2, large);
    add(&mut world, 3, Some(0));
    add(&mut world, 4, Some(2));
    world.run_millis(10);
    let refused = BrokerError::NotInOrder { failed: 2 };
    let told = failures(&mut world);
    // What was refused is told before the server has answered.
    let expected = [(2, Some(BrokerError::Full)), (3, Some(refused)), (1, None), (4, None)];
    assert_eq!(told, expected);
    assert_eq!(entries(&world, 0), [1, 4]);
}

/// Also where too much waits.
#[test]
fn an_entry_in_order_is_not_written_behind_one_for_which_there_is_no_room() {
    let mut config = sio_proto::broker::BrokerConfig::from_url("redis://a:1").unwrap();
    config.max_waiting_bytes = 2000;
    let mut world = World::new(config, vec![redis::Node::new("a", 1)]);
    world.run_millis(10);
    let large = Request::AddEntry {
        stream: bytes("s"),
        max_len: 0,
        fields: vec![(bytes("n"), vec![b'x'; 2000].into())],
        known_failures: Some(0),
    };
    ask(&mut world, 1, large);
    add(&mut world, 2, Some(0));
    add(&mut world, 2, Some(2));
    world.run_millis(10);
    let refused = BrokerError::NotInOrder { failed: 2 };
    assert_eq!(
        failures(&mut world),
        [(1, Some(BrokerError::Full)), (2, Some(refused)), (2, None)]
    );
    assert_eq!(entries(&world, 0), [2]);
}

/// Entries are on their way to a master that does not own the slot any more. What follows may go to
/// the owner before they are refused.
#[test]
fn an_entry_in_order_does_not_follow_its_slot() {
    let mut world = cluster();
    add(&mut world, 1, Some(0));
    world.run_millis(100);
    assert_eq!(failures(&mut world), [(1, None)]);
    let from = (0..3).find(|node| entries(&world, *node) == [1]).unwrap();
    let to = (from + 1) % 3;
    let slots = std::mem::take(&mut world.nodes[from].slots);
    let stream = std::mem::take(&mut world.nodes[from].streams);
    world.nodes[to].slots.extend(slots);
    world.nodes[to].streams = stream;
    add(&mut world, 2, Some(0));
    add(&mut world, 3, Some(0));
    world.run_millis(0);
    add(&mut world, 4, Some(0));
    world.run_millis(100);
    let told = failures(&mut world);
    let moved = |error: &Option<BrokerError>| error.as_ref().is_some_and(|error| error.is_refused_as(Refusal::Other));
    assert!(
        matches!(&told[..], [(2, two), (3, three), (4, Some(BrokerError::NotInOrder { failed: 3 }))]
        if moved(two) && moved(three)),
        "{told:?}"
    );
    (2..=4).for_each(|number| add(&mut world, number, Some(3)));
    world.run_millis(100);
    assert_eq!(failures(&mut world), [(2, None), (3, None), (4, None)]);
    assert_eq!(entries(&world, to), [1, 2, 3, 4]);
}

/// A server that cannot end a connection is not asked for the same one again.
#[test]
fn a_server_that_cannot_end_a_connection_is_asked_once() {
    let mut world = World::single();
    world.nodes[0].errors = vec![("CLIENT KILL", "ERR unknown subcommand 'KILL'".to_owned())];
    give_up(
        &mut world,
        |world, number| world.publish("c", &number.to_string(), false),
        4,
    );
    assert_eq!(kills(&world).len(), 1);
    world.cut(0, false);
    world.run(LONG);
    assert!(world.broker.counters().is_up);
    assert_eq!(kills(&world).len(), 1);
}

/// A server that is always too busy to end connections does not make a node remember more and more
/// of them.
#[test]
fn few_connections_that_were_given_up_are_remembered() {
    let config = sio_proto::broker::BrokerConfig::from_url("redis://a:1").unwrap();
    let mut world = World::new(config.max_nodes(1), vec![redis::Node::new("a", 1)]);
    world.nodes[0].is_busy = true;
    for _ in 0..5 {
        world.set_mood(0, Mood::Well);
        world.run(LONG);
        assert!(world.broker.counters().is_up);
        world.set_mood(0, Mood::Frozen);
        world.publish("c", "1", false);
        world.run(LONG);
    }
    let before = kills(&world).len();
    world.nodes[0].is_busy = false;
    world.set_mood(0, Mood::Well);
    world.run(LONG);
    assert_eq!(kills(&world).len() - before, 2);
}
