//! When everything that was given to a broker is settled, and what it takes.

mod redis;

use std::time::Duration;

use redis::moving::cluster;
use redis::{Mood, Node, World, bytes};
use sio_proto::broker::{Answer, BrokerConfig, BrokerError, Command, Event, Request};

fn flush(world: &mut World, tag: u64) {
    world.command(Command::Flush { tag });
}

fn config() -> BrokerConfig {
    BrokerConfig::from_url("redis://a:1").expect("a URL")
}

/// The answers, in their order.
fn answers(world: &mut World) -> Vec<(u64, Result<Answer, BrokerError>)> {
    let answer = |event: Event| match event {
        Event::Answer { tag, answer } => Some((tag, answer)),
        _ => None,
    };
    world.run_millis(0);
    world.take_events().into_iter().filter_map(answer).collect()
}

fn take(tag: u64) -> Command {
    let request = Request::Take { key: bytes("k") };
    Command::Request { tag, request }
}

#[test]
fn messages_and_requests_before_are_settled() {
    let mut world = World::single();
    flush(&mut world, 1);
    assert_eq!(answers(&mut world), [(1, Ok(Answer::Done))], "nothing was given");
    world.publish("c", "a", false);
    flush(&mut world, 2);
    world.publish("c", "b", true);
    world.command(take(3));
    flush(&mut world, 4);
    flush(&mut world, 5);
    assert!(world.take_events().is_empty());
    world.run_millis(100);
    let done = answers(&mut world);
    let tags: Vec<u64> = done.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, [2, 3, 4, 5]);
    assert!(done.iter().all(|(_, answer)| answer.is_ok()), "{done:?}");
    assert_eq!(world.broker.counters().published, 2);
}

#[test]
fn what_is_lost_is_settled() {
    // Nobody is there: the message waits for as long as it may.
    let mut world = World::single();
    world.set_mood(0, Mood::Gone);
    world.publish("c", "a", false);
    flush(&mut world, 1);
    world.run(Duration::from_millis(4900));
    assert!(answers(&mut world).is_empty());
    world.run(Duration::from_millis(200));
    assert_eq!(answers(&mut world), [(1, Ok(Answer::Done))]);
    assert_eq!(world.broker.counters().dropped_late, 1);

    // A connection ends before the broker has confirmed.
    let mut world = World::single();
    world.run_millis(10);
    world.set_mood(0, Mood::Frozen);
    world.publish("c", "a", false);
    world.publish("d", "b", false);
    flush(&mut world, 1);
    world.run_millis(10);
    world.cut(0, false);
    world.run_millis(10);
    assert_eq!(answers(&mut world), [(1, Ok(Answer::Done))]);
    assert_eq!(world.broker.counters().unconfirmed, 2);

    // The broker refuses.
    let mut world = World::single();
    world.nodes[0].forbidden.push("PUBLISH");
    world.publish("c", "a", false);
    flush(&mut world, 1);
    world.run_millis(10);
    assert_eq!(answers(&mut world), [(1, Ok(Answer::Done))]);
    assert_eq!(world.broker.counters().refused, 1);
}

/// A question ends at its deadline. The messages before it are still counted, so a later question
/// waits for them.
#[test]
fn a_question_has_a_deadline() {
    let mut config = config();
    config.max_waiting_age = Duration::from_secs(20);
    config.answer_timeout = Duration::from_secs(60);
    let mut world = World::new(config, vec![Node::new("a", 1)]);
    world.set_mood(0, Mood::Gone);
    world.publish("c", "a", false);
    flush(&mut world, 1);
    world.run(Duration::from_millis(5100));
    assert_eq!(answers(&mut world), [(1, Err(BrokerError::TimedOut))]);
    flush(&mut world, 2);
    assert!(answers(&mut world).is_empty());
    world.set_mood(0, Mood::Well);
    world.run(Duration::from_secs(4));
    assert_eq!(answers(&mut world), [(2, Ok(Answer::Done))]);
}

#[test]
fn the_end_answers_all_questions() {
    let mut world = World::single();
    world.set_mood(0, Mood::Gone);
    world.publish("c", "a", false);
    flush(&mut world, 1);
    flush(&mut world, 2);
    world.broker.stop(world.now);
    flush(&mut world, 3);
    world.run_millis(1);
    let stopped = [1, 2, 3].map(|tag| (tag, Err(BrokerError::Stopped)));
    assert_eq!(answers(&mut world), stopped);
    assert!(!world.broker.would_take(&take(4)));
}

/// In a cluster, a message follows its slot to another server, and is settled there.
#[test]
fn messages_that_move_are_settled() {
    let mut world = cluster();
    world.run_millis(50);
    for number in 0..20 {
        world.publish(&format!("c{number}"), "a", true);
    }
    flush(&mut world, 1);
    world.run_millis(500);
    assert_eq!(answers(&mut world), [(1, Ok(Answer::Done))]);
    // The masters exchange their slots, and the broker does not know yet.
    let slots: Vec<_> = world.nodes.iter().map(|node| node.slots.clone()).collect();
    for (at, node) in world.nodes.iter_mut().enumerate() {
        node.slots = slots[(at + 1) % slots.len()].clone();
    }
    for number in 0..20 {
        world.publish(&format!("c{number}"), "b", true);
    }
    flush(&mut world, 2);
    world.run_millis(1000);
    assert_eq!(answers(&mut world), [(2, Ok(Answer::Done))]);
    assert!(world.broker.counters().redirects > 0);
    assert_eq!(world.broker.counters().refused, 0);
}

/// The limit is asked before anything is taken.
#[test]
fn what_would_be_dropped_is_not_taken() {
    let mut config = config();
    config.max_waiting_bytes = 1000;
    let mut world = World::new(config, vec![Node::new("a", 1)]);
    let message = |bytes: usize| Command::Publish {
        channel: bytes_of(1),
        payload: bytes_of(bytes),
        sharded: false,
    };
    assert!(world.broker.would_take(&message(900)));
    assert!(!world.broker.would_take(&message(904)));
    world.command(message(800));
    assert!(!world.broker.would_take(&message(800)));
    assert!(!world.broker.would_take(&take(1)), "a request has a weight, too");
    world.run_millis(100);
    assert!(world.broker.would_take(&message(800)));
    let counters = world.broker.counters();
    assert_eq!((counters.dropped_full, counters.published), (0, 1));
}

fn bytes_of(len: usize) -> sio_proto::Bytes {
    vec![b'x'; len].into()
}
