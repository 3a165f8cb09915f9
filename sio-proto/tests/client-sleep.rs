//! A client whose machine has slept while the clock of the client stood still.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::records::Records;
use client::{Network, World, emit};
use sio_proto::Config;
use sio_proto::client::{ClientConfig, Generation, Outcome, SocketId, Transport};

const HOUR: Duration = Duration::from_secs(3600);

const POLLING: &[Transport] = &[Transport::Polling];
const WEBSOCKET: &[Transport] = &[Transport::WebSocket];

fn world(config: ClientConfig) -> World {
    World::new(config.randomization_factor(0.0), client::server())
}

fn connected(config: ClientConfig) -> (World, SocketId) {
    let mut world = world(config);
    let socket = world.connect("/");
    world.pass(500);
    assert!(world.client.is_connected(socket), "{:?}", world.log);
    (world, socket)
}

/// Client C4: after a sleep an open connection is probed. A server that answers in time is kept; a
/// connection that brings nothing is left within the time of the probe, for fresh connections,
/// with the first delay.
#[test]
fn a_sleep_is_followed_by_a_probe() {
    for generation in [Generation::Four, Generation::Two, Generation::V0_9] {
        for transports in [POLLING, WEBSOCKET] {
            let config = ClientConfig::default()
                .generation(generation)
                .transports(transports.to_vec());
            let name = format!("{generation:?} {transports:?}");
            let (mut world, socket) = connected(config.clone());
            // The ping of the server that was due in the sleep is read first.
            world.server_emit("news", "1");
            let before = world.written.len();
            world.client.handle_clock_jump(world.now, HOUR);
            world.settle();
            assert!(world.written.len() > before, "{name}: the probe leaves at once");
            world.pass(5000);
            assert!(
                !world.has("Lost") && world.attempts.len() == 1,
                "{name}: {:?}",
                world.log
            );

            let (mut world, _) = connected(config);
            world.stall();
            let (now, links) = (world.now, world.connects);
            world.client.handle_clock_jump(now, HOUR);
            world.pass(3000);
            assert!(world.has("Lost(PingTimeout)"), "{name}: {:?}", world.log);
            assert_eq!(
                world.waits.last().unwrap().1,
                now + Duration::from_secs(4),
                "{name}: the first delay"
            );
            world.pass(2000);
            assert!(world.client.is_connected(socket), "{name}: {:?}", world.log);
            assert!(world.connects > links && world.old_lines() == 0, "{name}");
        }
    }
}

/// Client C4: on polling with Engine.IO 4, the POST is answered although the held GET may be dead.
/// The next ping, by the clock of the client, must be on time.
#[test]
fn a_held_get_must_bring_the_next_ping() {
    let (mut world, _) = connected(ClientConfig::default().transports(POLLING.to_vec()));
    // The server has counted on, and its ping waits in the connection.
    let now = world.now;
    let due = world.server.next_timeout().unwrap();
    world.client.handle_clock_jump(now, Duration::from_secs(30));
    world.server.handle_timeout(due);
    world.settle();
    world.pass(4000);
    assert!(!world.has("Lost"), "{:?}", world.log);
    // The connection of the POSTs was idle for too long, so the probe has a fresh one, which works.
    let (mut world, _) = connected(ClientConfig::default().transports(POLLING.to_vec()));
    world.pass(5000);
    world.stall();
    world.client.handle_clock_jump(world.now, Duration::from_secs(30));
    world.pass(22_000);
    assert!(!world.has("Lost"), "{:?}", world.log);
    // A second wake in between moves nothing.
    world.client.wake(world.now);
    world.pass(1000);
    assert!(world.has("Lost(PingTimeout)"), "{:?}", world.log);
}

/// Client C4: a clock that was set far ahead, also again and again, leaves a server that answers:
/// its next ping is due when it was before.
#[test]
fn a_clock_that_is_set_far_ahead_ends_nothing() {
    for generation in [Generation::Four, Generation::Two, Generation::V0_9] {
        for transports in [POLLING, WEBSOCKET] {
            let config = ClientConfig::default().generation(generation);
            let (mut world, socket) = connected(config.transports(transports.to_vec()));
            for ahead in [6, 30, 3600, 1_000_000_000] {
                world.client.handle_clock_jump(world.now, Duration::from_secs(ahead));
                world.pass(4000);
                world.client.wake(world.now);
                world.pass(1000);
            }
            world.pass(100_000);
            let name = format!("{generation:?} {transports:?}: {:?}", world.log);
            assert!(world.client.is_connected(socket) && !world.has("Lost"), "{name}");
            assert_eq!(world.attempts.len(), 1, "{name}");
        }
    }
}

/// Client C4: what is below `clock_jump` is a clock that was set, as by NTP, and costs nothing.
#[test]
fn a_clock_that_is_set_is_no_sleep() {
    let limit = ClientConfig::default().clock_jump;
    let (mut world, _) = connected(ClientConfig::default());
    let before = (world.written.len(), world.client.next_timeout());
    for _ in 0..100 {
        world
            .client
            .handle_clock_jump(world.now, limit - Duration::from_millis(1));
        world.settle();
    }
    assert_eq!((world.written.len(), world.client.next_timeout()), before);
    world.network = Network::Refuses;
    world.cut();
    world.settle();
    let attempts = world.attempts.len();
    world
        .client
        .handle_clock_jump(world.now, limit - Duration::from_millis(1));
    world.settle();
    assert_eq!(world.attempts.len(), attempts);
    world.client.handle_clock_jump(world.now, limit);
    world.settle();
    assert_eq!(world.attempts.len(), attempts + 1);
}

/// Client C4: an attempt that was under way begins anew on fresh connections, and a client that
/// waits connects at once. Both count their delays from the beginning.
#[test]
fn a_sleep_resets_the_delays() {
    let mut world = world(ClientConfig::default());
    world.network = Network::Refuses;
    let socket = world.connect("/");
    world.pass(12_000);
    let waited = world.waits.last().unwrap();
    assert_eq!(waited.1.saturating_since(waited.0), Duration::from_secs(5));
    let attempts = world.attempts.len();
    world.client.handle_clock_jump(world.now, HOUR);
    world.settle();
    assert_eq!(world.attempts.len(), attempts + 1, "a waiting client connects at once");
    let waited = world.waits.last().unwrap();
    assert_eq!(waited.1.saturating_since(waited.0), Duration::from_secs(1));

    world.network = Network::Stalls;
    world.pass(2000);
    assert_eq!((world.attempts.len(), world.lines()), (attempts + 2, 1));
    world.network = Network::Works;
    world.client.handle_clock_jump(world.now, HOUR);
    world.pass(500);
    assert!(world.client.is_connected(socket), "{:?}", world.log);
    assert_eq!((world.attempts.len(), world.old_lines()), (attempts + 3, 0));
    assert_eq!(
        world.count("connect_error"),
        attempts + 1,
        "the new attempt is no error of the namespace"
    );
}

/// Client C4, C18: a client that does nothing goes on doing nothing.
#[test]
fn a_sleep_wakes_nobody_who_rests() {
    let mut world = world(ClientConfig::default());
    world.client.handle_clock_jump(world.now, HOUR);
    let socket = world.connect("/");
    world.pass(100);
    world.client.disconnect(world.now, socket).unwrap();
    world.pass(5000);
    let attempts = world.attempts.len();
    world.client.handle_clock_jump(world.now, HOUR);
    world.pass(5000);
    assert_eq!((world.attempts.len(), world.lines()), (attempts, 0));
    world.client.close(world.now);
    world.client.handle_clock_jump(world.now, HOUR);
    world.pass(5000);
    assert_eq!((world.attempts.len(), world.client.next_timeout()), (attempts, None));
}

/// Client C5: a connection that was dead after a sleep takes nothing with it: what was written into
/// it and what was emitted on it arrives once each, if the server recovers the client.
#[test]
fn nothing_is_lost_in_a_dead_connection() {
    for transports in [POLLING, WEBSOCKET] {
        let config = ClientConfig::default()
            .transports(transports.to_vec())
            .confirm_events(true);
        let mut world = world(config);
        world.records = Some(Records::every(1));
        let socket = world.connect("/");
        world.pass(500);
        assert!(world.client.is_connected(socket), "{:?}", world.log);
        let emit_next = |world: &mut World, number: usize| {
            let event = emit("n", &number.to_string());
            let id = world.client.emit(world.now, socket, event).unwrap();
            world.settle();
            id
        };
        let mut ids = vec![emit_next(&mut world, 0)];
        world.stall();
        ids.extend((1..4).map(|number| emit_next(&mut world, number)));
        world.client.handle_clock_jump(world.now, HOUR);
        ids.extend((4..7).map(|number| emit_next(&mut world, number)));
        world.pass(10_000);
        assert!(world.client.is_connected(socket), "{:?}", world.log);
        let heard: Vec<String> = world.heard.iter().map(|(_, json)| json.clone()).collect();
        assert_eq!(heard, (0..7).map(|number| number.to_string()).collect::<Vec<_>>());
        assert!(
            ids.iter().all(|id| world.receipts[id] == Outcome::Confirmed),
            "{:?}",
            world.receipts
        );
    }
}

/// Client C5: the liveness deadline of the client's own stands beside the heartbeat: silence ends a
/// connection of any transport, and a connection that brings anything is kept.
#[test]
fn silence_ends_a_connection_of_any_transport() {
    for transports in [POLLING, WEBSOCKET] {
        let config = ClientConfig::default().max_silence(Some(Duration::from_secs(10)));
        let (mut world, socket) = connected(config.transports(transports.to_vec()));
        for _ in 0..5 {
            world.pass(7000);
            world.server_emit("tick", "1");
        }
        assert!(!world.has("Lost"), "{:?}", world.log);
        world.stall();
        world.pass(9900);
        assert!(!world.has("Lost"), "{:?}", world.log);
        world.pass(200);
        assert!(world.has("Lost(PingTimeout)"), "{:?}", world.log);
        world.pass(1100);
        assert!(world.client.is_connected(socket), "{:?}", world.log);
    }
}

/// Client C4: a machine that has slept while the clock went on, as some clocks do, is noticed by
/// the deadline that was missed.
#[test]
fn a_missed_deadline_is_a_sleep_too() {
    let config = Config::default();
    let mut world = World::new(ClientConfig::default().randomization_factor(0.0), config);
    let socket = world.connect("/");
    world.pass(500);
    world.stall();
    world.now = world.now + HOUR;
    world.client.handle_timeout(world.now);
    world.pass(5000);
    assert!(
        world.client.is_connected(socket) && world.old_lines() == 0,
        "{:?}",
        world.log
    );
    assert_eq!(world.attempts.len(), 2);
}
