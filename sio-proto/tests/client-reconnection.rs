//! What a client does when connections fail: attempts, credentials, queues, acknowledgements.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::{Network, World, emit};
use sio_proto::Config;
use sio_proto::client::{ClientConfig, EmitError, NotSent, Offline, OnRefused, Outcome, SocketId, Transport};
use sio_proto::server::Command;

fn world(config: ClientConfig) -> World {
    World::new(config.randomization_factor(0.0), Config::default())
}

fn connected(config: ClientConfig) -> (World, SocketId) {
    let mut world = world(config);
    let socket = world.connect("/");
    world.pass(500);
    assert!(world.client.is_connected(socket), "{:?}", world.log);
    (world, socket)
}

fn delays(world: &World) -> Vec<u128> {
    let pairs = world.attempts.windows(2);
    pairs
        .map(|pair| pair[1].saturating_since(pair[0]).as_millis())
        .collect()
}

/// Client C1.
#[test]
fn credentials_are_asked_for_before_each_handshake() {
    let (mut world, _) = connected(ClientConfig::default().provider(true));
    world.cut();
    world.pass(2000);
    let attempts: Vec<u32> = world.questions.iter().map(|question| question.attempt).collect();
    assert_eq!(attempts, [0, 1]);
    assert!(world.questions[1].last_error.is_some());
    assert!(
        world.auths[0].contains("\\\"n\\\":1") && world.auths[1].contains("\\\"n\\\":2"),
        "{:?}",
        world.auths
    );
}

/// Client C2.
#[test]
fn a_refused_handshake_asks_once_more_and_stops() {
    for (provider, policy, attempts) in [
        (true, OnRefused::AskOnce, 2),
        (false, OnRefused::AskOnce, 1),
        (true, OnRefused::Stop, 1),
    ] {
        let mut world = world(ClientConfig::default().provider(provider).on_refused(policy));
        world.network = Network::Answers(401);
        world.connect("/");
        world.pass(60_000);
        assert_eq!(world.attempts.len(), attempts, "{:?}", world.log);
        assert!(world.has("Stopped(Refused"), "{:?}", world.log);
        assert_eq!(world.count("connect_error"), 1);
    }
    let mut world = world(ClientConfig::default().on_refused(OnRefused::Retry));
    world.network = Network::Answers(403);
    world.connect("/");
    world.pass(20_000);
    assert!(world.attempts.len() > 3);
}

/// Client C2, for a namespace.
#[test]
fn a_refused_namespace_asks_once_more() {
    let mut world = world(ClientConfig::default().provider(true));
    world.refuses.insert("/admin".to_owned(), "expired".to_owned());
    world.connect("/");
    let admin = world.connect("/admin");
    world.pass(1000);
    assert_eq!(world.questions.len(), 2, "{:?}", world.questions);
    assert_eq!(world.questions[1].socket, Some(admin));
    assert_eq!(
        world.questions[1].last_error.as_ref().map(|error| &*error.message),
        Some("expired")
    );
    assert_eq!(world.count("connect_error SocketId(1)"), 1);
}

/// Client C4.
#[test]
fn a_sleeper_probes_and_reconnects() {
    for transports in [vec![Transport::Polling], vec![Transport::WebSocket]] {
        let (mut world, socket) = connected(ClientConfig::default().transports(transports));
        world.client.wake(world.now);
        world.pass(5000);
        assert!(!world.has("Lost"), "a server that answers is kept: {:?}", world.log);
        world.stall();
        world.client.wake(world.now);
        // On polling nothing can be asked of the GET that is held, but its next ping must be on
        // time.
        let is_polling = !world.has("WebSocket");
        world.pass(if is_polling { 27_500 } else { 4500 });
        assert!(world.has("Lost(PingTimeout)"), "{:?}", world.log);
        assert!(world.client.is_connected(socket), "{:?}", world.log);
    }
}

/// Client C4: the jump of the clock is noticed without a hint.
#[test]
fn a_jump_of_the_clock_wakes_the_client() {
    let (mut world, _) = connected(ClientConfig::default());
    world.network = Network::Refuses;
    world.cut();
    world.pass(30_000);
    let before = world.attempts.len();
    world.network = Network::Works;
    world.now = world.now + Duration::from_secs(3600);
    world.client.handle_timeout(world.now);
    world.settle();
    assert_eq!(world.attempts.len(), before + 1);
    assert!(world.has("disconnect"));
}

/// Client C5.
#[test]
fn silence_has_a_deadline_of_its_own() {
    let config = ClientConfig::default().max_silence(Some(Duration::from_secs(10)));
    let (mut world, _) = connected(config.transports(vec![Transport::WebSocket]));
    world.stall();
    world.pass(10_100);
    assert!(world.has("Lost(PingTimeout)"), "{:?}", world.log);
}

/// Client C6.
#[test]
fn a_dead_network_is_noticed() {
    let (mut world, _) = connected(ClientConfig::default());
    world.stall();
    world.pass(46_000);
    assert!(world.has("disconnect SocketId(0) ping timeout"), "{:?}", world.log);
    let (mut world, _) = connected(ClientConfig::default());
    world.client.network_lost(world.now);
    world.settle();
    assert!(world.has("disconnect SocketId(0) transport close"), "{:?}", world.log);
    assert_eq!(world.lines(), 0);
}

/// Client C7, C20: every attempt opens new connections, and an attempt leaves nothing.
#[test]
fn ten_thousand_reconnects_leave_nothing() {
    let config = ClientConfig::default().max_attempts_per_minute(usize::MAX);
    let (mut world, socket) = connected(config.transports(vec![Transport::WebSocket]));
    for _ in 0..10_000 {
        world.cut();
        world.pass(1100);
        world.log.clear();
        world.written.clear();
        world.auths.clear();
    }
    assert!(world.client.is_connected(socket));
    assert_eq!((world.connects, world.lines()), (10_001, 1));
}

/// Client C8.
#[test]
fn each_emit_has_a_policy_and_one_end() {
    let mut world = world(ClientConfig::default().max_queued_bytes(1000));
    world.network = Network::Refuses;
    let socket = world.connect("/");
    let now = world.now;
    let volatile = emit("v", "1").offline(Offline::Volatile);
    let volatile = world.client.emit(now, socket, volatile).unwrap();
    let rejected = emit("r", "1").offline(Offline::Reject);
    assert_eq!(world.client.emit(now, socket, rejected), Err(EmitError::NotConnected));
    let newest = |json| emit("n", json).offline(Offline::Newest("key".into()));
    let first = world.client.emit(now, socket, newest("1")).unwrap();
    let second = world.client.emit(now, socket, newest("2")).unwrap();
    let big = format!("\"{}\"", "x".repeat(1000));
    assert_eq!(
        world.client.emit(now, socket, emit("big", &big)),
        Err(EmitError::TooLarge { bytes: 1069, max: 1000 })
    );
    let half = format!("\"{}\"", "x".repeat(500));
    let held = world.client.emit(now, socket, emit("half", &half)).unwrap();
    assert_eq!(
        world.client.emit(now, socket, emit("half", &half)),
        Err(EmitError::QueueFull)
    );
    assert!(world.client.remove_pending(held));
    assert_eq!(
        world.client.emit(now, socket, emit("connect", "")),
        Err(EmitError::ReservedEvent)
    );
    world.network = Network::Works;
    world.pass(2000);
    assert_eq!(world.receipts[&volatile], Outcome::NotSent(NotSent::Volatile));
    assert_eq!(world.receipts[&first], Outcome::NotSent(NotSent::Replaced));
    assert_eq!(world.receipts[&second], Outcome::Sent);
    assert_eq!(world.heard, [("n".to_owned(), "2".to_owned())]);
    world.client.emit(world.now, socket, emit("big", &big)).unwrap();
    world.pass(10);
    assert_eq!(
        world.heard.len(),
        2,
        "an event that need not wait may be larger than the queue"
    );
}

/// Client C8: the age of an event.
#[test]
fn an_old_event_is_dropped() {
    let mut world = world(ClientConfig::default().max_queue_age(Some(Duration::from_secs(2))));
    world.network = Network::Refuses;
    let socket = world.connect("/");
    let old = world.client.emit(world.now, socket, emit("old", "")).unwrap();
    world.pass(2500);
    assert_eq!(world.receipts[&old], Outcome::NotSent(NotSent::Expired));
}

/// Client C9.
#[test]
fn the_queue_drains_at_a_rate() {
    let mut world = world(ClientConfig::default().drain_per_second(10));
    world.network = Network::Refuses;
    let socket = world.connect("/");
    for number in 0..10 {
        let event = emit("n", &number.to_string());
        world.client.emit(world.now, socket, event).unwrap();
    }
    world.network = Network::Works;
    world.pass(350);
    let heard = world.heard.len();
    assert!((2..=5).contains(&heard), "{heard}");
    world.pass(1000);
    let heard: Vec<String> = world.heard.iter().map(|(_, json)| json.clone()).collect();
    assert_eq!(heard, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// Client C10.
#[test]
fn what_waits_can_be_seen_and_removed() {
    let mut world = world(ClientConfig::default());
    world.network = Network::Refuses;
    let socket = world.connect("/");
    let ids: Vec<_> = ["a", "b", "c"]
        .map(|name| world.client.emit(world.now, socket, emit(name, "")).unwrap())
        .into();
    let names: Vec<String> = world
        .client
        .pending(socket)
        .map(|event| event.name.to_string())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(world.client.remove_pending(ids[1]));
    assert!(!world.client.remove_pending(ids[1]));
    world.client.clear_pending(socket);
    assert_eq!(world.client.pending(socket).count(), 0);
    world.settle();
    assert!(
        ids.iter()
            .all(|id| world.receipts[id] == Outcome::NotSent(NotSent::Removed))
    );
}

/// Client C11.
#[test]
fn an_event_emitted_at_connect_leaves_once() {
    let mut world = world(ClientConfig::default().retries(2));
    let socket = world.connect("/");
    for number in 0..5 {
        let event = emit("n", &number.to_string());
        world.client.emit(world.now, socket, event).unwrap();
    }
    world.pass(500);
    let heard: Vec<String> = world.heard.iter().map(|(_, json)| json.clone()).collect();
    assert_eq!(heard, ["0", "1", "2", "3", "4"]);
}

/// Client C12.
#[test]
fn a_window_of_events_is_under_way() {
    let config = ClientConfig::default()
        .retries(3)
        .retry_window(3)
        .ack_timeout(Duration::from_secs(1));
    let (mut world, socket) = connected(config.transports(vec![Transport::WebSocket]));
    world.answers = false;
    let ids: Vec<_> = (0..5)
        .map(|number| {
            world
                .client
                .emit(world.now, socket, emit("n", &number.to_string()).ack())
                .unwrap()
        })
        .collect();
    world.settle();
    let heard = |world: &World| {
        world
            .heard
            .iter()
            .map(|(_, json)| json.clone())
            .collect::<Vec<_>>()
            .join("")
    };
    assert_eq!(heard(&world), "012");
    world.answers = true;
    world.pass(1500);
    assert_eq!(
        heard(&world),
        "01201234",
        "what was not acknowledged is sent again, in order"
    );
    assert!(
        ids.iter()
            .all(|id| matches!(world.receipts[id], Outcome::Acknowledged(_)))
    );
    world.answers = false;
    let lost = world.client.emit(world.now, socket, emit("x", "").ack()).unwrap();
    world.pass(10_000);
    assert_eq!(
        world.heard.iter().filter(|(name, _)| name == "x").count(),
        4,
        "retries + 1"
    );
    assert_eq!(world.receipts[&lost], Outcome::TimedOut);
}

/// Client C13.
#[test]
fn every_acknowledgement_ends() {
    let (mut world, socket) = connected(ClientConfig::default());
    world.answers = false;
    let late = emit("late", "").ack().timeout(Duration::from_millis(100));
    let late = world.client.emit(world.now, socket, late).unwrap();
    let cut = world.client.emit(world.now, socket, emit("cut", "").ack()).unwrap();
    world.pass(200);
    assert_eq!(world.receipts[&late], Outcome::TimedOut);
    world.network = Network::Refuses;
    world.cut();
    world.settle();
    assert_eq!(world.receipts[&cut], Outcome::Disconnected);
    let never = world.client.emit(world.now, socket, emit("never", "").ack()).unwrap();
    world.pass(31_000);
    assert_eq!(world.receipts[&never], Outcome::NotSent(NotSent::Expired));
}

/// Client C17.
#[test]
fn states_come_in_order() {
    let (mut world, _) = connected(ClientConfig::default().transports(vec![Transport::WebSocket]));
    world.cut();
    world.pass(1500);
    let expected = [
        "Connecting(0)",
        "Connected { generation: Four, transport: WebSocket }",
        "connect SocketId(0) New",
        "disconnect SocketId(0) transport close",
        "Lost(TransportClose)",
        "Waiting(Time(1501000))",
        "Connecting(1)",
        "Connected { generation: Four, transport: WebSocket }",
        "connect SocketId(0) New",
    ];
    assert_eq!(world.log, expected);
}

/// Client C18.
#[test]
fn close_is_final() {
    for network in [Network::Works, Network::Refuses, Network::Stalls] {
        let mut world = world(ClientConfig::default());
        world.network = network;
        let socket = world.connect("/");
        let waits = world.client.emit(world.now, socket, emit("x", "").ack()).unwrap();
        world.pass(1);
        world.client.close(world.now);
        world.pass(5000);
        let written = world.written.len();
        assert!(world.client.connect(world.now, socket).is_err());
        assert_eq!(
            world.client.emit(world.now, socket, emit("y", "")),
            Err(EmitError::Closed)
        );
        world.client.wake(world.now);
        world.client.network_lost(world.now);
        world.pass(600_000);
        assert_eq!((world.written.len(), world.lines()), (written, 0), "{network:?}");
        assert!(world.receipts.contains_key(&waits));
        assert_eq!(world.client.next_timeout(), None);
    }
}

/// Client C24.
#[test]
fn an_upgrade_that_hangs_leaves_polling_alone() {
    let (mut world, socket) = {
        let mut world = world(ClientConfig::default());
        let socket = world.connect("/");
        // The first connection works, and all later ones hang.
        while world.connects == 0 {
            world.step();
        }
        world.network = Network::Stalls;
        world.pass(1000);
        (world, socket)
    };
    // The POST needs a connection of its own, so the network works again for it.
    world.network = Network::Works;
    world.pass(11_000);
    world.cut();
    world.pass(3000);
    assert!(world.client.is_connected(socket), "{:?}", world.log);
    assert!(!world.has("Upgraded"), "not tried again soon: {:?}", world.log);
}

/// Client C25: an unknown session begins afresh.
#[test]
fn an_unknown_session_begins_afresh() {
    let (mut world, socket) = connected(ClientConfig::default().transports(vec![Transport::Polling]));
    world.server = sio_proto::server::Server::new(Config::default(), [8; 16], Box::new(client::seeded(5))).unwrap();
    world.cut();
    world.pass(3000);
    assert!(world.client.is_connected(socket), "{:?}", world.log);
}

/// Client C26: one attempt at a time.
#[test]
fn commands_start_no_second_attempt() {
    let mut world = world(ClientConfig::default());
    world.network = Network::Stalls;
    let socket = world.connect("/");
    for _ in 0..10 {
        world.client.connect(world.now, socket).unwrap();
        world.client.wake(world.now);
        world.pass(10);
    }
    assert_eq!((world.attempts.len(), world.lines()), (1, 1));
}

/// Client C28.
#[test]
fn a_server_may_ask_for_time_and_attempts_have_a_cap() {
    let mut world = world(ClientConfig::default());
    world.network = Network::Answers(503);
    world.connect("/");
    world.pass(10_000);
    assert!(
        delays(&world).iter().all(|delay| *delay >= 2000),
        "{:?}",
        delays(&world)
    );
    let mut world = self::world(ClientConfig::default().max_attempts_per_minute(5));
    world.network = Network::Refuses;
    world.connect("/");
    for _ in 0..100 {
        world.client.wake(world.now);
        world.pass(100);
    }
    assert_eq!(world.attempts.len(), 5);
}

/// The limit `max_retry_after`: the server of these tests asks for two seconds.
#[test]
fn a_server_cannot_keep_a_client_away_for_long() {
    let mut world = world(ClientConfig::default().max_retry_after(Duration::from_millis(1500)));
    world.network = Network::Answers(503);
    world.connect("/");
    world.pass(2000);
    assert_eq!(delays(&world), [1500]);
}

/// The limit `max_in_flight`: an acknowledgement that has come, or whose time is over, makes room.
#[test]
fn acknowledgements_that_are_awaited_are_limited() {
    let (mut world, socket) = connected(ClientConfig::default().max_in_flight(2usize));
    let ask = |world: &mut World| world.client.emit(world.now, socket, emit("never", "1").ack());
    assert!(ask(&mut world).is_ok() && ask(&mut world).is_ok());
    assert_eq!(ask(&mut world), Err(EmitError::TooManyInFlight));
    // An event without acknowledgement needs no room.
    assert!(world.client.emit(world.now, socket, emit("never", "1")).is_ok());
    world.pass(31_000);
    assert!(ask(&mut world).is_ok());
}

/// Settings with which no client can work are refused, by their names.
#[test]
fn settings_are_checked() {
    use sio_proto::client::ClientConfigError as E;

    let zero = |config: ClientConfig| config.validate().unwrap_err();
    let config = ClientConfig::default;
    assert!(config().validate().is_ok());
    assert_eq!(config().max_cookie_bytes, 16 * 1024);
    for (refused, name) in [
        (
            zero(config().max_attempts_per_minute(0usize)),
            "max_attempts_per_minute",
        ),
        (zero(config().retry_window(0usize)), "retry_window"),
        (zero(config().max_queued_bytes(0usize)), "max_queued_bytes"),
        (zero(config().max_answer_bytes(0usize)), "max_answer_bytes"),
        (zero(config().max_in_flight(0usize)), "max_in_flight"),
        (zero(config().max_body_bytes(0usize)), "max_body_bytes"),
        (zero(config().max_message_bytes(0usize)), "max_message_bytes"),
        (
            zero(config().max_packets_per_payload(0usize)),
            "max_packets_per_payload",
        ),
        (zero(config().max_namespaces(0usize)), "max_namespaces"),
        (zero(config().connect_timeout(Duration::ZERO)), "connect_timeout"),
        (zero(config().reconnection_delay(Duration::ZERO)), "reconnection_delay"),
        (zero(config().ack_timeout(Duration::ZERO)), "ack_timeout"),
    ] {
        assert_eq!(refused, E::Zero(name));
    }
    assert_eq!(config().transports(Vec::new()).validate(), Err(E::NoTransport));
    assert_eq!(
        config().randomization_factor(1.5).validate(),
        Err(E::RandomizationFactor)
    );
    assert_eq!(
        config().randomization_factor(f64::NAN).validate(),
        Err(E::RandomizationFactor)
    );
    assert_eq!(
        config().reconnection_delay_max(Duration::from_millis(1)).validate(),
        Err(E::DelayMax)
    );
    // None of these is needed.
    assert!(
        config()
            .max_cookie_bytes(0usize)
            .max_redirects(0u32)
            .max_early_bytes(0usize)
            .validate()
            .is_ok()
    );
}

#[test]
fn attempts_end() {
    let mut world = world(ClientConfig::default().reconnection_attempts(Some(3)));
    world.network = Network::Refuses;
    let socket = world.connect("/");
    world.pass(60_000);
    assert_eq!(delays(&world), [1000, 2000, 4000]);
    assert!(world.has("Stopped(AttemptsExhausted)"));
    world.network = Network::Works;
    world.client.connect(world.now, socket).unwrap();
    world.pass(1000);
    assert!(world.client.is_connected(socket));
}

/// Client C28: delays begin with the shortest again when a connection has been open, when the user
/// connects again, and when the machine has slept.
#[test]
fn delays_begin_again() {
    let (mut world, socket) = connected(ClientConfig::default().reconnection_attempts(Some(4)));
    for _ in 0..2 {
        world.attempts.clear();
        world.network = Network::Refuses;
        world.cut();
        world.pass(4_500);
        assert_eq!(delays(&world), [2000], "{:?}", world.log);
        world.network = Network::Works;
        world.pass(5_000);
        assert!(world.client.is_connected(socket));
    }
    world.network = Network::Refuses;
    world.cut();
    world.pass(10_000);
    world.attempts.clear();
    world.now = world.now + Duration::from_secs(3600);
    world.client.handle_timeout(world.now);
    world.settle();
    world.pass(4_000);
    assert_eq!(delays(&world), [1000, 2000], "after a sleep: {:?}", world.log);
    world.pass(60_000);
    assert!(world.has("Stopped(AttemptsExhausted)"));
    world.attempts.clear();
    world.client.connect(world.now, socket).unwrap();
    world.pass(60_000);
    assert_eq!(
        delays(&world),
        [1000, 2000, 4000, 5000],
        "after a stop: {:?}",
        world.log
    );
}

/// Client C2: who was let in since is asked again when the server refuses.
#[test]
fn a_refusal_that_was_got_over_does_not_count() {
    let mut world = world(ClientConfig::default().provider(true));
    world.network = Network::Answers(401);
    world.auto_provide = false;
    let socket = world.connect("/");
    world.pass(100);
    world
        .client
        .provide(world.now, world.questions[0].id, Default::default())
        .unwrap();
    world.pass(5_000);
    assert_eq!(
        world.questions.len(),
        2,
        "refused, and asked once more: {:?}",
        world.log
    );
    world.network = Network::Works;
    world
        .client
        .provide(world.now, world.questions[1].id, Default::default())
        .unwrap();
    world.pass(1_000);
    assert!(world.client.is_connected(socket), "{:?}", world.log);
    world.network = Network::Answers(401);
    world.auto_provide = true;
    world.cut();
    world.pass(60_000);
    assert_eq!(world.questions.len(), 4, "{:?}", world.log);
    assert!(world.has("Stopped(Refused"), "{:?}", world.log);
}

#[test]
fn an_attempt_has_a_time() {
    let mut world = world(ClientConfig::default().reconnection(false));
    world.network = Network::Stalls;
    world.connect("/");
    world.pass(19_000);
    assert!(!world.has("Failed"));
    world.pass(1100);
    assert!(
        world.has("connect_error SocketId(0) timeout") && world.has("Stopped(ReconnectionOff)"),
        "{:?}",
        world.log
    );
    assert_eq!(world.lines(), 0);
}

/// A server of this project that goes away says how long to stay away (docs/protocol/extensions.md
/// §1).
#[test]
fn a_client_stays_away_for_as_long_as_the_server_says() {
    for transports in [vec![Transport::Polling], vec![Transport::WebSocket]] {
        for (pause, waits) in [(None, 1000), (Some(7), 7000), (Some(600), 60_000)] {
            let (mut world, _) = connected(ClientConfig::default().transports(transports.clone()));
            let before = world.attempts.len();
            let now = world.now;
            world.server.shard(now, |shard, out| {
                let command = Command::Drain {
                    spread: Duration::ZERO,
                    patience: Duration::ZERO,
                    handover: false,
                    pause: pause.map(Duration::from_secs),
                };
                shard.handle_command(now, command, out);
            });
            world.pass(70_000);
            let next = world.attempts[before].saturating_since(now).as_millis();
            assert!(
                (waits..waits + 500).contains(&next),
                "{next} for {pause:?}: {:?}",
                world.log
            );
        }
    }
}
