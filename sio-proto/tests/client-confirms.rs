//! Confirmed events (docs/protocol/extensions.md §2): a client and a server that recovers it agree
//! on what the server has had, whatever happens to their connections.
//!
//! `PROPTEST_CASES` is the number of sequences, or `SIO_CLIENT_CASES` ten times it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cases;
mod client;

use std::collections::BTreeMap;
use std::time::Duration;

use client::records::Records;
use client::script::Script;
use client::{Network, World, emit};
use proptest::prelude::*;
use sio_proto::client::{ClientConfig, EmitError, EmitId, NotSent, Offline, Outcome, SocketId, Transport};
use sio_proto::codec::{MessagePack, Messages, PacketError, PacketParser, Parsed};
use sio_proto::server::EngineMessage;
use sio_proto::socket::Packet;
use sio_proto::socket::text::Limits;
use sio_proto::{ByteString, Bytes, Config};

fn asking() -> ClientConfig {
    ClientConfig::default().confirm_events(true)
}

/// A client that is connected to a server that tells it after each `every` events.
fn connected(config: ClientConfig, every: u64) -> (World, SocketId) {
    let mut world = World::new(config, Config::default());
    world.records = Some(Records::every(every));
    let socket = world.connect("/");
    world.pass(100);
    assert!(world.client.is_connected(socket));
    (world, socket)
}

fn send(world: &mut World, socket: SocketId, number: usize) -> EmitId {
    let event = emit("n", &number.to_string());
    world.client.emit(world.now, socket, event).unwrap()
}

fn numbers(world: &World) -> Vec<usize> {
    let number = |(_, json): &(String, String)| json.split(',').next().unwrap().parse().unwrap();
    world.heard.iter().map(number).collect()
}

fn secret(world: &World) -> &str {
    world.auths.last().unwrap()
}

#[test]
fn what_the_server_has_not_had_is_sent_again_and_nothing_else() {
    let (mut world, socket) = connected(asking(), 2);
    let had: Vec<_> = (0..3).map(|number| send(&mut world, socket, number)).collect();
    world.settle();
    assert_eq!(numbers(&world), [0, 1, 2]);
    // The third event is not confirmed, and two more do not arrive.
    assert_eq!(world.receipts.get(&had[1]), Some(&Outcome::Confirmed));
    assert_eq!(world.receipts.get(&had[2]), None);
    let missed: Vec<_> = (3..5).map(|number| send(&mut world, socket, number)).collect();
    world.drain_client();
    world.cut();
    let newer = send(&mut world, socket, 5);
    world.pass(10_000);
    assert_eq!(numbers(&world), [0, 1, 2, 3, 4, 5]);
    assert!(world.has("Recovered"));
    assert!(secret(&world).contains("sio.confirmed\\\":2"), "{}", secret(&world));
    world.confirm_all();
    world.settle();
    for id in had.iter().chain(&missed).chain([&newer]) {
        assert_eq!(world.receipts[id], Outcome::Confirmed);
    }
}

#[test]
fn attachments_are_sent_again() {
    let (mut world, socket) = connected(asking(), 10);
    let mut event = emit("n", "7,{\"_placeholder\":true,\"num\":0}");
    event.args.attachments = vec![Bytes::from_static(b"bytes")];
    world.client.emit(world.now, socket, event).unwrap();
    world.drain_client();
    world.cut_behind(30);
    world.pass(10_000);
    assert_eq!(numbers(&world), [7]);
}

#[test]
fn a_parser_writes_confirmations_in_its_form() {
    let config = asking().parser(MessagePack::default());
    let mut world = World::new(config, Config::default().parser(MessagePack::default()));
    world.records = Some(Records::every(2));
    let socket = world.connect("/");
    world.pass(100);
    let had: Vec<_> = (0..3).map(|number| send(&mut world, socket, number)).collect();
    world.settle();
    assert_eq!(world.receipts.get(&had[1]), Some(&Outcome::Confirmed));
    send(&mut world, socket, 3);
    world.drain_client();
    world.cut();
    world.pass(10_000);
    assert_eq!(world.receipts[&had[2]], Outcome::Confirmed);
    assert_eq!(numbers(&world), [0, 1, 2, 3]);
}

#[test]
fn an_answer_that_is_lost_is_told_and_no_handler_runs_again() {
    let (mut world, socket) = connected(asking().retries(3u32), 10);
    let asks = |world: &mut World, number: usize| {
        let event = emit("n", &number.to_string()).ack();
        world.client.emit(world.now, socket, event).unwrap()
    };
    let answered = asks(&mut world, 0);
    world.settle();
    assert!(matches!(world.receipts[&answered], Outcome::Acknowledged(_)));
    world.answers = false;
    let heard = asks(&mut world, 1);
    world.settle();
    world.answers = true;
    let unheard = asks(&mut world, 2);
    world.drain_client();
    world.cut();
    assert_eq!(world.receipts.len(), 1, "nobody knows yet");
    world.pass(10_000);
    assert_eq!(world.receipts[&heard], Outcome::Unanswered);
    assert!(matches!(world.receipts[&unheard], Outcome::Acknowledged(_)));
    assert_eq!(numbers(&world), [0, 1, 2]);
}

#[test]
fn a_late_answer_ends_by_its_deadline_and_is_not_asked_for_again() {
    let config = asking().retries(2u32).ack_timeout(Duration::from_secs(2));
    let (mut world, socket) = connected(config, 10);
    world.answers = false;
    let event = emit("n", "0").ack();
    let id = world.client.emit(world.now, socket, event).unwrap();
    world.pass(5_900);
    assert_eq!(world.receipts.get(&id), None, "three tries are one");
    world.pass(200);
    assert_eq!(world.receipts[&id], Outcome::TimedOut);
    world.cut();
    world.pass(10_000);
    assert_eq!(numbers(&world), [0]);
}

#[test]
fn who_is_not_recovered_knows_what_is_unknown() {
    let (mut world, socket) = connected(asking(), 10);
    let unknown = [send(&mut world, socket, 0), {
        let event = emit("n", "1").ack();
        world.answers = false;
        world.client.emit(world.now, socket, event).unwrap()
    }];
    world.settle();
    world.cut();
    world.records.as_mut().unwrap().forget();
    world.pass(10_000);
    assert!(unknown.iter().all(|id| world.receipts[id] == Outcome::Disconnected));
    // The count begins anew.
    let next = send(&mut world, socket, 2);
    world.settle();
    world.confirm_all();
    world.settle();
    assert_eq!(world.receipts[&next], Outcome::Confirmed);
    assert_eq!(numbers(&world), [0, 1, 2]);
}

#[test]
fn retries_say_that_an_event_may_come_twice_to_a_server_that_has_forgotten() {
    let (mut world, socket) = connected(asking().retries(1u32), 10);
    send(&mut world, socket, 0);
    world.settle();
    world.cut();
    world.records.as_mut().unwrap().forget();
    world.pass(10_000);
    assert_eq!(numbers(&world), [0, 0]);
}

#[test]
fn what_is_not_confirmed_is_bounded() {
    let config = asking().max_unconfirmed(3usize).max_queued_bytes(600usize);
    let (mut world, socket) = connected(config, 1000);
    for number in 0..5 {
        send(&mut world, socket, number);
        world.drain_client();
    }
    world.settle();
    assert_eq!(numbers(&world), [0, 1, 2], "the others wait for a confirmation");
    assert_eq!(world.client.pending(socket).count(), 2);
    // A volatile event does not wait.
    let volatile = emit("n", "9").offline(Offline::Volatile);
    let volatile = world.client.emit(world.now, socket, volatile).unwrap();
    assert_eq!(world.receipts.len(), 0);
    world.settle();
    assert_eq!(world.receipts[&volatile], Outcome::NotSent(NotSent::Volatile));
    let large = emit("n", &format!("5,\"{}\"", "x".repeat(300)));
    assert_eq!(world.client.emit(world.now, socket, large), Err(EmitError::QueueFull));
    world.confirm_all();
    world.settle();
    assert_eq!(numbers(&world), [0, 1, 2, 3, 4]);
    assert_eq!(
        ClientConfig::default()
            .max_unconfirmed(0usize)
            .validate()
            .unwrap_err()
            .to_string(),
        "max_unconfirmed is zero"
    );
}

#[test]
fn volatile_events_are_counted_and_not_sent_again() {
    let websocket = asking().transports(vec![Transport::WebSocket]);
    let (mut world, socket) = connected(websocket, 100);
    for number in 0..4 {
        let offline = if number % 2 == 0 {
            Offline::Queue
        } else {
            Offline::Volatile
        };
        let event = emit("n", &number.to_string()).offline(offline);
        world.client.emit(world.now, socket, event).unwrap();
        world.drain_client();
    }
    world.cut_behind(40);
    let arrived = numbers(&world).len();
    assert!(arrived > 0 && arrived < 4, "{arrived}");
    world.pass(10_000);
    let heard = numbers(&world);
    assert!(heard.is_sorted_by(|a, b| a < b), "{heard:?}");
    assert!([0, 2].iter().all(|number| heard.contains(number)), "{heard:?}");
}

#[test]
fn a_goodbye_ends_what_is_not_confirmed() {
    let (mut world, socket) = connected(asking(), 10);
    let id = send(&mut world, socket, 0);
    world.settle();
    world.client.disconnect(world.now, socket).unwrap();
    world.settle();
    assert_eq!(world.receipts[&id], Outcome::Disconnected);
}

#[test]
fn a_server_that_does_not_confirm_changes_nothing() {
    let (mut world, socket) = connected(asking(), 1);
    world.records.as_mut().unwrap().confirms = false;
    world.cut();
    world.pass(10_000);
    let id = send(&mut world, socket, 0);
    world.settle();
    assert_eq!(world.receipts[&id], Outcome::Sent);
    // And a client that does not ask shows and gets nothing.
    let (mut world, socket) = connected(ClientConfig::default(), 1);
    let id = send(&mut world, socket, 0);
    world.settle();
    assert_eq!(world.receipts[&id], Outcome::Sent);
    world.cut();
    world.pass(10_000);
    assert!(
        world.auths.iter().all(|auth| !auth.contains("sio.confirmed")),
        "{:?}",
        world.auths
    );
}

#[test]
fn the_question_is_a_member_of_the_auth() {
    let websocket = vec![Transport::WebSocket];
    for (auth, confirms, expected) in [
        (None, true, "40{\"sio.confirmed\":0}"),
        (Some("{}"), true, "40{\"sio.confirmed\":0}"),
        (Some("{\"token\":1}"), true, "40{\"sio.confirmed\":0,\"token\":1}"),
        (Some("{\"token\":1}"), false, "40{\"token\":1}"),
        (None, false, "40"),
    ] {
        let mut script = Script::new(asking().confirm_events(confirms).transports(websocket.clone()));
        let auth = auth.map(ByteString::from_static);
        script.client.set_auth(script.socket, auth).unwrap();
        script.opened();
        assert_eq!(script.messages, [expected]);
    }
}

/// A server that lies: it confirms what was never written, takes a confirmation back, or begins
/// with one.
#[test]
fn a_server_that_confirms_what_cannot_be_is_left() {
    for (first, later) in [(0, Some(2)), (1, None), (0, Some(u64::MAX))] {
        let mut script = Script::new(asking().transports(vec![Transport::WebSocket]));
        let link = script.opened();
        script.tell(
            link,
            &format!("40{{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":{first}}}"),
        );
        script.client.emit(script.now, script.socket, emit("n", "0")).unwrap();
        script.drain();
        if let Some(later) = later {
            script.tell(link, &format!("40{{\"sio.confirmed\":{later}}}"));
        }
        assert!(script.has("Lost(ParseError)"), "{:?}", script.log);
        script.pass(6000);
        script.opened();
        assert_eq!(
            script.messages.last().unwrap(),
            "40{\"sio.confirmed\":0}",
            "the client begins anew"
        );
    }
    let mut script = Script::new(asking().transports(vec![Transport::WebSocket]));
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":0}");
    script.client.emit(script.now, script.socket, emit("n", "0")).unwrap();
    script.drain();
    script.tell(link, "40{\"sio.confirmed\":1}");
    assert!(!script.has("Lost"), "{:?}", script.log);
    // Words that are no confirmation are nothing.
    script.tell(link, "40{\"sio.confirmed\":\"2\"}");
    script.tell(link, "40{\"sio.confirmed\":-1}");
    script.tell(link, "40");
    assert!(!script.has("Lost"), "{:?}", script.log);
    script.tell(link, "40{\"sio.confirmed\":0}");
    assert!(
        script.has("Lost(ParseError)"),
        "a confirmation is taken back: {:?}",
        script.log
    );
}

#[derive(Clone, Debug)]
enum Op {
    Pass(u64),
    Steps(usize),
    Cut(usize),
    Stall,
    Late,
    Refuses(bool),
    Emit { volatile: bool, ack: bool, size: usize },
    Tell,
    Answers(bool),
    Forget,
    Wake,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u64..3000).prop_map(Op::Pass),
        6 => (0usize..12).prop_map(Op::Steps),
        4 => (0usize..400).prop_map(Op::Cut),
        2 => Just(Op::Stall),
        2 => Just(Op::Late),
        1 => any::<bool>().prop_map(Op::Refuses),
        10 => (any::<bool>(), any::<bool>(), 0usize..200).prop_map(|(volatile, ack, size)| Op::Emit { volatile, ack, size }),
        2 => Just(Op::Tell),
        1 => any::<bool>().prop_map(Op::Answers),
        1 => Just(Op::Forget),
        1 => Just(Op::Wake),
    ]
}

struct Story {
    world: World,
    socket: SocketId,
    sent: usize,
    /// The emits that were taken: their numbers, and whether they are volatile.
    emits: BTreeMap<EmitId, (usize, bool)>,
    may_forget: bool,
}

impl Story {
    fn act(&mut self, op: &Op) {
        let world = &mut self.world;
        match *op {
            Op::Pass(millis) => world.pass(millis),
            Op::Steps(steps) => (0..steps).for_each(|_| _ = world.step()),
            Op::Cut(bytes) => world.cut_behind(bytes),
            Op::Stall => world.stall(),
            Op::Late => world.deliver_late(),
            Op::Refuses(true) => world.network = Network::Refuses,
            Op::Refuses(false) => world.network = Network::Works,
            Op::Emit { volatile, ack, size } => {
                let mut event = emit("n", &format!("{},\"{}\"", self.sent, "x".repeat(size)));
                event.ack = ack;
                if volatile {
                    event.offline = Offline::Volatile;
                }
                if let Ok(id) = world.client.emit(world.now, self.socket, event) {
                    self.emits.insert(id, (self.sent, volatile));
                }
                self.sent += 1;
            }
            Op::Tell => world.confirm_all(),
            Op::Answers(answers) => world.answers = answers,
            Op::Forget if self.may_forget => world.records.as_mut().unwrap().forget(),
            Op::Forget => {}
            Op::Wake => world.client.wake(world.now),
        }
        let heard = numbers(&self.world);
        assert!(heard.is_sorted_by(|a, b| a < b), "each once, and in order: {heard:?}");
        assert!(!self.world.log.iter().any(|line| line.starts_with("BREACH")));
    }

    /// What the user is told agrees with what the server has handled.
    fn check_receipts(&self) {
        let heard = numbers(&self.world);
        let lost = self.world.records.as_ref().unwrap().lost > 0;
        for (id, (number, volatile)) in &self.emits {
            let was_heard = heard.binary_search(number).is_ok();
            let outcome = &self.world.receipts[id];
            let agrees = match outcome {
                Outcome::Confirmed | Outcome::Acknowledged(_) | Outcome::Unanswered => was_heard,
                Outcome::NotSent(_) => !was_heard,
                Outcome::TimedOut => true,
                Outcome::Sent => *volatile,
                Outcome::Disconnected => *volatile || lost,
            };
            assert!(agrees, "{number} {outcome:?} {was_heard}\n{:?}", self.world.log);
            if !volatile && !lost && !matches!(outcome, Outcome::TimedOut | Outcome::NotSent(_)) {
                assert!(was_heard, "{number} {outcome:?}");
            }
        }
    }
}

fn run(bits: u8, seed: u64, ops: &[Op]) {
    let transports = match bits & 3 {
        0 => vec![Transport::Polling],
        1 => vec![Transport::WebSocket],
        _ => vec![Transport::Polling, Transport::WebSocket],
    };
    let config = asking()
        .transports(transports)
        .max_unconfirmed(if bits & 4 == 0 { 1024 } else { 4usize })
        .drain_per_second(if bits & 8 == 0 { 0 } else { 50u32 })
        .ack_timeout(Duration::from_secs(20))
        .connect_timeout(Duration::from_secs(3))
        .max_attempts_per_minute(10_000usize);
    let server = Config::default()
        .ping_interval(Duration::from_secs(1))
        .ping_timeout(Duration::from_millis(1500));
    let mut world = World::seeded(config, server, seed);
    world.records = Some(Records::every(3));
    let socket = world.connect("/");
    let mut story = Story {
        world,
        socket,
        sent: 0,
        emits: BTreeMap::new(),
        may_forget: bits & 16 != 0,
    };
    ops.iter().for_each(|op| story.act(op));
    story.world.network = Network::Works;
    story.act(&Op::Answers(true));
    for _ in 0..40 {
        story.act(&Op::Pass(1000));
        story.act(&Op::Tell);
        story.act(&Op::Late);
        story.world.settle();
        if story.emits.keys().all(|id| story.world.receipts.contains_key(id)) {
            break;
        }
    }
    let limit = story.world.now + Duration::from_secs(60);
    while !story.world.client.is_connected(socket) && story.world.now < limit {
        story.act(&Op::Pass(1000));
    }
    assert!(story.world.client.is_connected(socket), "{:?}", story.world.log);
    assert_eq!(story.world.client.pending(socket).count(), 0);
    story.check_receipts();
}

/// A tenth of the sequences of `client-faults`, unless `PROPTEST_CASES` says how many.
fn cases() -> u32 {
    let given = std::env::var("SIO_CLIENT_CASES").ok();
    given.and_then(|cases| cases.parse().ok()).unwrap_or(10_000) / 10
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases::usually(cases()) })]

    /// Recovery R11: whatever is cut, the server handles each event once and in order, and the user
    /// is told what has become of it.
    #[test]
    fn r11_the_server_has_each_event_once_and_in_order(
        bits in 0u8..32,
        seed in any::<u64>(),
        ops in proptest::collection::vec(op(), 0..40),
    ) {
        run(bits, seed, &ops);
    }
}

/// An event that the server never takes does not keep the client from the server: it ends, and what
/// is behind it is heard.
#[test]
fn an_event_that_the_server_never_takes_ends() {
    let (mut world, socket) = connected(asking(), 1);
    let places: Vec<_> = (0..11)
        .map(|n| format!(",{{\"_placeholder\":true,\"num\":{n}}}"))
        .collect();
    let mut event = emit("n", &format!("0{}", places.concat()));
    event.args.attachments = vec![Bytes::from_static(b"x"); 11];
    let never = world.client.emit(world.now, socket, event).unwrap();
    world.pass(5_000);
    let next = world.client.emit(world.now, socket, emit("n", "1")).unwrap();
    world.pass(60_000);
    assert_eq!(numbers(&world), [1]);
    assert_eq!(world.receipts[&never], Outcome::Disconnected);
    assert_eq!(world.receipts[&next], Outcome::Confirmed);
    let attempts = world.attempts.len();
    assert!(attempts < 20, "{attempts} attempts");
}

/// Writes what [`MessagePack`] writes, except events with the name `bad`.
#[derive(Debug, Default)]
struct Picky(MessagePack);

impl PacketParser for Picky {
    fn encode(&self, packet: &Packet, messages: &mut Messages<'_>) -> Result<(), PacketError> {
        match packet {
            Packet::Event { name, .. } if name == "bad" => Err(PacketError::WrongKind),
            _ => self.0.encode(packet, messages),
        }
    }

    fn decode(&self, message: EngineMessage, limits: &Limits) -> Result<Parsed, PacketError> {
        self.0.decode(message, limits)
    }
}

/// Recovery R11: both ends count the same, also where the parser of the client fails.
#[test]
fn r11_an_event_that_the_parser_cannot_write_is_not_counted() {
    for volatile in [false, true] {
        let config = asking().parser(Picky::default());
        let mut world = World::new(config, Config::default().parser(MessagePack::default()));
        world.records = Some(Records::every(1));
        let socket = world.connect("/");
        world.pass(100);
        let mut bad = Vec::new();
        for event in [emit("bad", "0"), emit("bad", "0").ack()] {
            let offline = if volatile { Offline::Volatile } else { Offline::Queue };
            bad.push(world.client.emit(world.now, socket, event.offline(offline)).unwrap());
        }
        let good = send(&mut world, socket, 1);
        world.settle();
        for bad in bad {
            assert_eq!(world.receipts[&bad], Outcome::NotSent(NotSent::Unsupported));
        }
        assert_eq!(world.receipts[&good], Outcome::Confirmed);
        send(&mut world, socket, 2);
        world.drain_client();
        world.cut();
        world.pass(10_000);
        assert_eq!(numbers(&world), [1, 2], "volatile {volatile}");
    }
}

/// What was written before a client gave up waits, as what was never written does: a user who
/// connects again by hand loses nothing, and no event is handled twice.
#[test]
fn r11_who_connects_again_by_hand_loses_nothing() {
    for had in [false, true] {
        let (mut world, socket) = connected(asking().reconnection(false), 100);
        let ids = [send(&mut world, socket, 0), {
            let event = emit("n", "1").ack();
            world.answers = false;
            world.client.emit(world.now, socket, event).unwrap()
        }];
        if had {
            world.settle();
        } else {
            world.drain_client();
        }
        world.cut();
        let later = send(&mut world, socket, 2);
        world.pass(5_000);
        assert!(world.has("Stopped"), "{:?}", world.log);
        assert!(world.receipts.is_empty(), "nobody knows yet: {:?}", world.receipts);
        world.answers = true;
        world.client.connect(world.now, socket).unwrap();
        world.pass(1_000);
        world.confirm_all();
        world.settle();
        assert_eq!(numbers(&world), [0, 1, 2]);
        assert_eq!(world.receipts[&ids[0]], Outcome::Confirmed);
        match had {
            true => assert_eq!(world.receipts[&ids[1]], Outcome::Unanswered),
            false => assert!(matches!(world.receipts[&ids[1]], Outcome::Acknowledged(_))),
        }
        assert_eq!(world.receipts[&later], Outcome::Confirmed);
    }
}

/// Each emit of a client that has stopped ends: by its time, by the age, by a goodbye or by the
/// end of the client, and exactly once.
#[test]
fn what_waits_in_a_client_that_has_stopped_ends() {
    enum End {
        Age,
        Goodbye,
        Close,
        Clear,
    }
    for end in [End::Age, End::Goodbye, End::Close, End::Clear] {
        let age = matches!(end, End::Age).then_some(Duration::from_secs(60));
        let config = asking().reconnection(false).max_queue_age(age);
        let (mut world, socket) = connected(config, 100);
        world.answers = false;
        let written = send(&mut world, socket, 0);
        let asked = world.client.emit(world.now, socket, emit("n", "1").ack()).unwrap();
        world.settle();
        world.pass(10_000);
        world.cut();
        let waits = send(&mut world, socket, 2);
        world.pass(29_000);
        // The time of the acknowledgement goes on.
        assert_eq!(world.receipts.get(&asked), Some(&Outcome::TimedOut));
        assert_eq!(world.receipts.len(), 1);
        world.pass(30_000);
        assert_eq!(world.receipts.len(), 1);
        match end {
            End::Age => world.pass(2_000),
            End::Goodbye => world.client.disconnect(world.now, socket).unwrap(),
            End::Close => world.client.close(world.now),
            End::Clear => world.client.clear_pending(socket),
        }
        world.settle();
        let lost = Some(&Outcome::Disconnected);
        let (expected, expected_waits) = match end {
            End::Age => (lost, Some(NotSent::Expired)),
            End::Goodbye => (lost, None),
            End::Close => (lost, Some(NotSent::Closed)),
            End::Clear => (None, Some(NotSent::Removed)),
        };
        assert_eq!(world.receipts.get(&written), expected);
        let expected_waits = expected_waits.map(Outcome::NotSent);
        assert_eq!(world.receipts.get(&waits), expected_waits.as_ref());
        if matches!(end, End::Age) {
            // The count goes on behind what has ended.
            world.client.connect(world.now, socket).unwrap();
            world.pass(1_000);
            let next = send(&mut world, socket, 3);
            world.settle();
            world.confirm_all();
            world.settle();
            assert_eq!(world.receipts[&next], Outcome::Confirmed);
            assert_eq!(numbers(&world), [0, 1, 3]);
        }
    }
}

/// What waits to be written again when the next connection is lost, too, waits no longer than
/// [`ClientConfig::max_queue_age`].
#[test]
fn what_waits_to_be_written_again_has_an_age() {
    let age = Duration::from_secs(60);
    let config = asking().drain_per_second(1).max_queue_age(Some(age));
    let (mut world, socket) = connected(config, 100);
    world.stall();
    let written: Vec<EmitId> = (0..20).map(|number| send(&mut world, socket, number)).collect();
    world.settle();
    world.cut();
    // Recovered, and only a few of them have been written again.
    world.pass(5_000);
    assert!(world.client.is_connected(socket));
    let again = world.heard.len();
    assert!((1..10).contains(&again), "{again}");
    world.network = Network::Refuses;
    world.cut();
    world.pass(59_000);
    assert_eq!(world.receipts.len(), 0);
    world.pass(2_000);
    // Of the others, the server has said that it has not had them.
    let outcome = |at| match at < again {
        true => Outcome::Disconnected,
        false => Outcome::NotSent(NotSent::Expired),
    };
    let expected = written.iter().enumerate().map(|(at, emit)| (*emit, outcome(at)));
    assert_eq!(world.receipts, expected.collect());
}

/// The same for events that are sent until they are acknowledged.
#[test]
fn what_is_tried_again_has_an_age() {
    let age = Duration::from_secs(60);
    let config = ClientConfig::default().retries(3).max_queue_age(Some(age));
    let (mut world, socket) = connected(config, 100);
    world.answers = false;
    let written = send(&mut world, socket, 0);
    world.settle();
    world.network = Network::Refuses;
    world.cut();
    world.pass(59_000);
    assert_eq!(world.receipts.len(), 0);
    world.pass(2_000);
    assert_eq!(world.receipts.get(&written), Some(&Outcome::Disconnected));
}
