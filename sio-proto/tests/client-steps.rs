//! What it costs to end events that wait: it grows with their number, and not with its square. The
//! server says when, so the work must not be its choice. Steps are counted in the whole process, so
//! there is one test.
#![cfg(feature = "steps")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::script::Script;
use client::{Network, World, emit};
use sio_proto::client::{ClientConfig, NotSent, Outcome, Transport};
use sio_proto::{Config, Time, steps_taken};

const EVENTS: usize = 2000;
const ASKED: usize = 100;

/// No more steps for each event than this, in the client and in the server of the test.
const MOST: usize = 100;

fn offline(config: ClientConfig) -> World {
    let config = config.transports(vec![Transport::WebSocket]);
    let mut world = World::new(config, Config::default().max_payload(40));
    world.network = Network::Refuses;
    world
}

fn ended(world: &World, why: NotSent) -> usize {
    let outcomes = world.receipts.values();
    outcomes.filter(|outcome| **outcome == Outcome::NotSent(why)).count()
}

#[test]
fn events_that_wait_end_one_by_one_without_a_look_at_the_others() {
    // The server takes none of them.
    let mut world = offline(ClientConfig::default());
    let socket = world.connect("/");
    for _ in 0..EVENTS {
        let event = emit("large", &format!("\"{}\"", "x".repeat(50)));
        world.client.emit(world.now, socket, event).unwrap();
    }
    world.network = Network::Works;
    let before = steps_taken();
    world.pass(10_000);
    let steps = steps_taken() - before;
    assert_eq!(ended(&world, NotSent::TooLarge), EVENTS, "{:?}", world.log);
    assert!(steps < MOST * EVENTS, "{steps} steps for what is too large");

    // Each is too old at a time of its own.
    let age = Duration::from_secs(3600);
    let mut world = offline(ClientConfig::default().max_queue_age(Some(age)).reconnection(false));
    let socket = world.connect("/");
    world.settle();
    for _ in 0..EVENTS {
        world.now = world.now + Duration::from_millis(1);
        world.client.emit(world.now, socket, emit("old", "1")).unwrap();
    }
    let before = steps_taken();
    world.pass(3_600_000);
    let steps = steps_taken() - before;
    assert_eq!(ended(&world, NotSent::Expired), EVENTS);
    assert!(steps < MOST * EVENTS, "{steps} steps for what is too old");

    // Acknowledgements that are late, each at a time of its own, do not look at what waits.
    let mut script = Script::websocket();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"a\"}");
    let mut millis = Time::ZERO;
    let next = |time: &mut Time| {
        *time = *time + Duration::from_millis(1);
        *time
    };
    for _ in 0..ASKED {
        let question = emit("q", "1").ack().timeout(Duration::from_secs(1));
        script.client.emit(next(&mut millis), script.socket, question).unwrap();
        script.drain();
    }
    script.client.handle_blocked(millis, link);
    for _ in 0..EVENTS {
        script.client.emit(millis, script.socket, emit("e", "1")).unwrap();
    }
    let mut late = Time::from_millis(1000);
    let before = steps_taken();
    for _ in 0..ASKED {
        script.client.handle_timeout(next(&mut late));
    }
    let steps = steps_taken() - before;
    script.drain();
    let is_late = |outcome: &&Outcome| **outcome == Outcome::TimedOut;
    assert_eq!(script.receipts.values().filter(is_late).count(), ASKED);
    assert!(steps < 4 * ASKED * ASKED, "{steps} steps for what is late");
}
