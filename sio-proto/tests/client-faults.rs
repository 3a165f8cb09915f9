//! Reconnection as a property: for any sequence of faults and commands, a client keeps its
//! promises.
//!
//! `PROPTEST_CASES` is the number of sequences, or `SIO_CLIENT_CASES`; by default there are 10,000,
//! and a quarter of them before 1.0. A failure prints the shortest sequence, and the command that
//! makes all sequences of the run again. Its seed is `PROPTEST_RNG_SEED`, which `.ci/run` sets, or
//! a random number.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod cases;
mod client;

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use client::law::Law;
use client::{Network, World, emit};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sio_proto::client::{ClientConfig, EmitId, Generation, Offline, Transport};

#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    Steps(usize),
    Cut,
    Stall,
    Network(u8),
    Refuse(bool),
    Emit { policy: u8, ack: bool, size: usize },
    ServerEmit,
    ServerLeave,
    Connect,
    Disconnect,
    Wake,
    NetworkLost,
    Jump(u64),
    Sleep(u64),
    Auth(bool),
    Clear,
    Remove(usize),
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u64..3000).prop_map(Op::Pass),
        4 => (0usize..12).prop_map(Op::Steps),
        2 => Just(Op::Cut),
        1 => Just(Op::Stall),
        3 => (0u8..8).prop_map(Op::Network),
        1 => any::<bool>().prop_map(Op::Refuse),
        4 => (0u8..4, any::<bool>(), 0usize..200).prop_map(|(policy, ack, size)| Op::Emit { policy, ack, size }),
        2 => Just(Op::ServerEmit),
        1 => Just(Op::ServerLeave),
        2 => Just(Op::Connect),
        1 => Just(Op::Disconnect),
        1 => Just(Op::Wake),
        1 => Just(Op::NetworkLost),
        1 => (0u64..100_000).prop_map(Op::Jump),
        1 => (0u64..100_000).prop_map(Op::Sleep),
        1 => any::<bool>().prop_map(Op::Auth),
        1 => Just(Op::Clear),
        1 => any::<usize>().prop_map(Op::Remove),
    ]
}

/// A sequence of faults and commands. One in eight closes the client somewhere.
fn story() -> impl Strategy<Value = Vec<Op>> {
    let ops = proptest::collection::vec(op(), 0..30);
    (ops, any::<usize>(), 0u8..8).prop_map(|(mut ops, at, closes)| {
        if closes == 0 {
            ops.insert(at % (ops.len() + 1), Op::Close);
        }
        ops
    })
}

/// How the client comes back: its delay, how often the maximum has it, its jitter in tenths, and
/// when it gives up.
#[derive(Clone, Copy, Debug)]
struct Pace {
    delay: u64,
    times: u32,
    tenths: u32,
    attempts: Option<u32>,
}

fn pace() -> impl Strategy<Value = Pace> {
    let attempts = prop_oneof![4 => Just(None), 1 => (0u32..5).prop_map(Some)];
    (100u64..2000, 1u32..8, 0u32..=10, attempts).prop_map(|(delay, times, tenths, attempts)| Pace {
        delay,
        times,
        tenths,
        attempts,
    })
}

impl Pace {
    fn apply(self, config: ClientConfig) -> ClientConfig {
        let delay = Duration::from_millis(self.delay);
        config
            .reconnection_delay(delay)
            .reconnection_delay_max(delay * self.times)
            .randomization_factor(f64::from(self.tenths) / 10.0)
            .reconnection_attempts(self.attempts)
    }
}

const MAX_QUEUED: usize = 2000;

/// The generations that have plain messages only: no acknowledgements, no names, one argument.
const fn is_plain(generation: Generation) -> bool {
    matches!(generation, Generation::V0_6 | Generation::Streaming)
}

/// The settings of a client before 1.0. The wires of plain messages do not say when the next
/// heartbeat comes.
fn older_settings(wire: u8, bits: u8, transports: u8) -> ClientConfig {
    let generation = [Generation::V0_9, Generation::V0_6, Generation::Streaming][usize::from(wire % 3)];
    let bits = if is_plain(generation) { bits & !2 } else { bits };
    settings(bits, transports)
        .generation(generation)
        .max_silence(is_plain(generation).then_some(Duration::from_millis(2500)))
}

/// The bits of the settings: the generation, retries, the provider, the rate of the queue.
fn settings(bits: u8, transports: u8) -> ClientConfig {
    let transports = match transports % 3 {
        0 => vec![Transport::Polling],
        1 => vec![Transport::WebSocket],
        _ => vec![Transport::Polling, Transport::WebSocket],
    };
    ClientConfig::default()
        .generation(match bits & 1 {
            0 => Generation::Two,
            _ => Generation::Four,
        })
        .retries(u32::from(bits & 2))
        .retry_window(3usize)
        .provider(bits & 4 != 0)
        .drain_per_second(u32::from(bits & 8) * 20)
        .transports(transports)
        .connect_timeout(Duration::from_secs(3))
        .upgrade_timeout(Duration::from_secs(2))
        .upgrade_pause(Duration::from_secs(1))
        .max_attempts_per_minute(10_000usize)
        .max_queued_bytes(MAX_QUEUED)
        .ack_timeout(Duration::from_secs(4))
}

struct Story {
    world: World,
    socket: sio_proto::client::SocketId,
    emits: Vec<EmitId>,
    sent: usize,
    number: usize,
    /// Events are sent again until they are acknowledged: the server may hear them twice.
    retries: bool,
    generation: Generation,
    law: Law,
    /// The most connections of one session at a time.
    most_lines: usize,
    /// Whether the user wants the namespace, and how long the log was when they said so.
    wants: bool,
    said_at: usize,
    closed: bool,
}

impl Story {
    fn act(&mut self, op: &Op) {
        let world = &mut self.world;
        match *op {
            Op::Pass(millis) => world.pass(millis),
            Op::Steps(steps) => (0..steps).for_each(|_| {
                world.step();
            }),
            Op::Cut => world.cut(),
            Op::Stall => world.stall(),
            Op::Network(kind) => {
                world.network = match kind {
                    0 => Network::Refuses,
                    1 => Network::Stalls,
                    2 => Network::Answers(503),
                    3 => Network::Answers(404),
                    4 => Network::Answers(401),
                    5 => Network::Answers(500),
                    _ => Network::Works,
                };
            }
            Op::Refuse(true) => {
                world.refuses.insert("/".to_owned(), "no".to_owned());
            }
            Op::Refuse(false) => world.refuses.clear(),
            Op::Emit { policy, ack, size } => {
                let offline = match policy {
                    0 => Offline::Queue,
                    1 => Offline::Reject,
                    2 => Offline::Volatile,
                    _ => Offline::Newest("k".into()),
                };
                let (name, json) = match is_plain(self.generation) {
                    true => ("message", self.sent.to_string()),
                    false => ("n", format!("{},\"{}\"", self.sent, "x".repeat(size))),
                };
                self.sent += 1;
                let mut event = emit(name, &json).offline(offline);
                event.ack = ack && !is_plain(self.generation);
                self.emits.extend(world.client.emit(world.now, self.socket, event));
            }
            Op::ServerEmit if !world.sockets.is_empty() => {
                let number = self.number.to_string();
                self.number += 1;
                let name = if is_plain(self.generation) { "message" } else { "s" };
                world.server_emit(name, &number);
            }
            Op::ServerLeave if !world.sockets.is_empty() => {
                let (now, socket) = (world.now, *world.sockets.last().unwrap());
                world
                    .server
                    .shard(now, |shard, out| shard.disconnect(now, socket, false, out));
            }
            Op::ServerEmit | Op::ServerLeave => {}
            Op::Connect => {
                world.drain_client();
                (self.wants, self.said_at) = (true, world.log.len());
                let told = world.client.connect(world.now, self.socket);
                assert_eq!(told.is_err(), self.closed);
            }
            Op::Disconnect => {
                self.wants = false;
                world.client.disconnect(world.now, self.socket).unwrap();
            }
            Op::Wake => {
                world.drain_client();
                self.law.read(&world.states);
                self.law.wakes(world.now);
                world.client.wake(world.now);
            }
            Op::Auth(with) => {
                let auth = with.then(|| "{\"a\":1}".into());
                world.client.set_auth(self.socket, auth).unwrap();
            }
            Op::Clear => world.client.clear_pending(self.socket),
            Op::Remove(which) => {
                if let Some(emit) = which.checked_rem(self.emits.len()).map(|at| self.emits[at]) {
                    world.client.remove_pending(emit);
                }
            }
            Op::Close => {
                self.closed = true;
                world.client.close(world.now);
            }
            Op::NetworkLost => world.client.network_lost(world.now),
            Op::Sleep(millis) => {
                world.drain_client();
                self.law.read(&world.states);
                let slept = Duration::from_millis(millis);
                if slept >= ClientConfig::default().clock_jump {
                    self.law.wakes(world.now);
                    self.law.sleeps();
                }
                world.client.handle_clock_jump(world.now, slept);
            }
            Op::Jump(millis) => {
                world.drain_client();
                self.law.read(&world.states);
                world.now = world.now + Duration::from_millis(millis);
                // A client that is called much too late was asleep, and is awake now (client row
                // C4).
                let jump = ClientConfig::default().clock_jump;
                if world.client.next_timeout().is_some_and(|next| next + jump <= world.now) {
                    self.law.wakes(world.now);
                }
                world.client.handle_timeout(world.now);
                world.server.handle_timeout(world.now);
            }
        }
        self.check();
    }

    /// Whether the server has ended the namespace since the user last wanted it.
    fn is_left(&self) -> bool {
        let mut since = self.world.log[self.said_at..].iter();
        since.any(|line| line.ends_with("io server disconnect"))
    }

    /// Whether the client has to be told to connect, because nothing says that it should.
    fn has_to_be_told(&self) -> bool {
        let log = &self.world.log;
        let mut since = self.said_at..log.len();
        // A namespace that the server refuses or ends is not wanted any more. An attempt that has
        // failed is told as an error, too, right behind its end.
        let is_refused = |at: usize| log[at].starts_with("connect_error") && !log[at - 1].starts_with("Failed");
        !self.wants || self.is_left() || since.clone().any(|at| log[at].starts_with("Stopped")) || since.any(is_refused)
    }

    fn check(&mut self) {
        self.law.read(&self.world.states);
        let world = &self.world;
        assert!(world.lines() <= self.most_lines, "{} connections", world.lines());
        assert_eq!(world.old_lines(), 0, "two connections live at once");
        let queued: usize = world
            .client
            .pending(self.socket)
            .map(|event| event.name.len() + event.args.bytes() + 64)
            .sum();
        assert!(queued <= MAX_QUEUED, "{queued}");
        for (list, who) in [(&world.heard, "server"), (&world.events, "client")] {
            let numbers: Vec<usize> = list
                .iter()
                .map(|(_, json)| json.split(',').next().unwrap().parse().unwrap())
                .collect();
            let repeats = self.retries && who == "server";
            assert!(repeats || numbers.is_sorted_by(|a, b| a < b), "{who} heard {numbers:?}");
        }
        // An event that crosses the server's DISCONNECT breaks a rule (docs/protocol/socket-io.md
        // §3.1). No sequence may break another one.
        let crosses = |line: &&String| line.contains("in which the client is not");
        let mut breaches = world.log.iter().filter(|line| line.starts_with("BREACH"));
        assert!(breaches.all(|line| crosses(&line)), "{:?}", world.log);
    }
}

fn run(config: ClientConfig, seed: u64, ops: &[Op]) {
    let (second, timeout) = (Duration::from_secs(1), Duration::from_millis(2500));
    let mut server = client::server()
        .ping_interval(second)
        .ping_timeout(Duration::from_millis(1500));
    server.legacy09 = server.legacy09.heartbeat_interval(second).poll_duration(second);
    server.legacy09 = server
        .legacy09
        .heartbeat_timeout(Duration::from_secs(2))
        .close_timeout(Duration::from_secs(2));
    server.legacy06 = server.legacy06.heartbeat_interval(second).poll_duration(second);
    server.legacy06 = server.legacy06.heartbeat_timeout(timeout).reconnect_timeout(timeout);
    let (retries, generation) = (config.retries > 0, config.generation);
    let law = Law::new(&config);
    let patience = config.reconnection_delay_max + Duration::from_secs(5);
    let rounds = patience.as_millis().div_ceil(100);
    let gives_up = config.reconnection_attempts.is_some();
    // Polling has a GET and a POST.
    let most_lines = match config.transports[..] {
        [Transport::WebSocket] => 1,
        [Transport::Polling] => 2,
        _ => 3,
    };
    let mut world = World::seeded(config, server, seed);
    let socket = world.connect("/");
    let mut story = Story {
        world,
        socket,
        emits: Vec::new(),
        sent: 0,
        number: 0,
        retries,
        generation,
        law,
        most_lines,
        wants: true,
        said_at: 0,
        closed: false,
    };
    ops.iter().for_each(|op| story.act(op));

    // Once faults stop, the client is connected within the maximum delay plus five seconds, also if
    // nobody tells it to.
    story.world.network = Network::Works;
    story.world.refuses.clear();
    story.act(&Op::Pass(0));
    if !story.closed {
        if story.has_to_be_told() {
            story.act(&Op::Connect);
        }
        let (mut left, mut told) = (rounds, 0);
        while left > 0 && !story.world.client.is_connected(socket) {
            story.act(&Op::Pass(100));
            left -= 1;
            // The attempt that was under way may have been the last one, and the server's
            // DISCONNECT may have been under way, too.
            if story.is_left() || gives_up && story.has_to_be_told() {
                story.act(&Op::Connect);
                (left, told) = (rounds, told + 1);
                assert!(told < 10, "{:?}", story.world.log);
            }
        }
        let world = &story.world;
        assert!(world.client.is_connected(socket), "{:?}\n{:?}", world.log, world.client);
    }
    let world = &mut story.world;

    // First deliveries are in order even if some events come twice.
    let mut seen = std::collections::BTreeSet::new();
    let firsts = world.heard.iter().filter(|(_, json)| seen.insert(json.clone()));
    let firsts: Vec<usize> = firsts
        .map(|(_, json)| json.split(',').next().unwrap().parse().unwrap())
        .collect();
    assert!(firsts.is_sorted_by(|a, b| a < b), "{firsts:?}");

    // A closed client never comes back, and all emits have ended.
    world.client.close(world.now);
    world.pass(3000);
    let written = world.written.len();
    world.client.wake(world.now);
    world.pass(60_000);
    assert_eq!((world.written.len(), world.lines()), (written, 0));
    assert_eq!(world.client.next_timeout(), None);
    for emit in &story.emits {
        assert!(world.receipts.contains_key(emit), "{emit:?} has no end");
    }
}

/// So many sequences, unless `PROPTEST_CASES` says how many.
fn cases() -> u32 {
    let given = std::env::var("SIO_CLIENT_CASES").ok();
    given.map_or(10_000, |cases| cases.parse().expect("SIO_CLIENT_CASES is a number"))
}

/// The settings of a property: its cases come from a seed that a failure prints.
fn config(test: &str, cases: u32) -> ProptestConfig {
    let config = ProptestConfig {
        failure_persistence: None,
        ..cases::usually(cases)
    };
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(test),
    };
    // The output of a test is only shown if it fails.
    println!("to make these sequences again:");
    let all = config.cases;
    println!(
        "PROPTEST_RNG_SEED={seed} PROPTEST_CASES={all} cargo test -p sio-proto --test client-faults -- --exact {test}"
    );
    ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        ..config
    }
}

proptest! {
    #![proptest_config(config("a_client_keeps_its_promises", cases()))]

    /// Client C8, C18, C28.
    #[test]
    fn a_client_keeps_its_promises(
        bits in 0u8..16,
        transports in any::<u8>(),
        seed in any::<u64>(),
        pace in pace(),
        ops in story(),
    ) {
        run(pace.apply(settings(bits, transports)), seed, &ops);
    }
}

proptest! {
    #![proptest_config(config("a_client_keeps_its_promises_before_1_0", cases() / 4))]

    #[test]
    fn a_client_keeps_its_promises_before_1_0(
        wire in 0u8..3,
        bits in 0u8..16,
        transports in any::<u8>(),
        seed in any::<u64>(),
        pace in pace(),
        ops in story(),
    ) {
        run(pace.apply(older_settings(wire, bits, transports)), seed, &ops);
    }
}
