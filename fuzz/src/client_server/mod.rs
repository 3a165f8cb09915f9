//! A client against the server of this crate, of every generation, over connections that cut the
//! bytes anywhere. The input is a list of operations: bytes travel, stop, or are lost with their
//! connection at one end or at both; clocks jump; users of both ends emit, answer, connect and
//! leave.
//!
//! What must always hold:
//!
//! * all bytes that are given to an end are taken, and neither end takes what the other has written
//!   for a mistake;
//! * events arrive in the order in which they were sent, and at most once (an event that is sent
//!   again until it is acknowledged may arrive twice, and is first heard in order);
//! * an emit of the client ends exactly once; one that was never written was never heard; an
//!   acknowledgement has the arguments of its own event;
//! * an acknowledgement that the server asks for ends at most once, and with its own arguments;
//! * the client has no more connections than its transports need, and its queue stays within its
//!   limit;
//! * after a deadline was handled, the next one is in the future;
//! * once faults stop, the client is connected within the maximum delay and five seconds, and both
//!   ends hear each other; after it is closed, nothing of it is left at either end.

mod outputs;
mod users;
mod wires;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytestring::ByteString;
use sio_proto::client::{
    AckTicket, Client, ClientConfig, Emit, EmitId, Endpoint, Generation, Outcome, SocketId, Transport,
};
use sio_proto::codec::Streaming;
use sio_proto::server::{Cause, Message, Server};
use sio_proto::socket::Args;
use sio_proto::{Config, LinkId, SocketKey, Time};

use crate::cursor::Cursor;

const MAX_OPERATIONS: usize = 200;

/// The longest time that one operation takes, in milliseconds.
const MAX_PASS: u64 = 60_000;

/// Most bytes in the queue of the client.
const MAX_QUEUED: usize = 2_000;

/// The largest delay between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(3);

const NAMESPACES: [&str; 2] = ["/", "/a"];

/// A connection. What one end has written travels when an operation says so.
#[derive(Default)]
struct Wire {
    at_server: Option<LinkId>,
    /// The client has it still.
    at_client: bool,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// The server's end says that nothing follows.
    ends: bool,
    stalled: bool,
    /// The server knows that its bytes are not written.
    blocked: bool,
}

/// What happens to new connections.
#[derive(Clone, Copy, PartialEq)]
enum Network {
    Works,
    Refuses,
    Stalls,
}

struct World {
    client: Client,
    server: Server,
    now: Time,
    wires: BTreeMap<LinkId, Wire>,
    network: Network,
    generation: Generation,
    retries: bool,
    most_wires: usize,
    sockets: [SocketId; 2],
    closed: bool,

    emits: BTreeMap<EmitId, Emitted>,
    ended: BTreeMap<EmitId, Outcome>,
    emitted: usize,
    /// The numbers that the server has heard, by namespace.
    heard: BTreeMap<ByteString, Vec<usize>>,
    tickets: Vec<(AckTicket, usize)>,

    /// The connected sockets at the server, with their namespaces.
    peers: Vec<(SocketKey, ByteString)>,
    said: usize,
    /// The numbers that the client has heard, by namespace.
    listened: BTreeMap<SocketId, Vec<usize>>,
    /// The questions of the server: which event each was.
    asked: BTreeMap<(SocketKey, u64), usize>,
    questions: u64,
    /// The questions of the client that the server has not answered yet.
    owed: Vec<(SocketKey, ByteString, u64, Args)>,
}

struct Emitted {
    number: usize,
    namespace: usize,
}

/// See the [module](self).
pub fn client_server(data: &[u8]) {
    let mut input = Cursor::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..MAX_OPERATIONS {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.take_outputs();
        world.check();
    }
    world.finish();
}

/// Numbers that do not repeat themselves: ids are made of them.
fn entropy(mut state: u64) -> impl FnMut(&mut [u8]) + Send {
    move |out: &mut [u8]| {
        for byte in out {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

/// The generations that have plain messages only.
const fn is_plain(generation: Generation) -> bool {
    matches!(generation, Generation::V0_6 | Generation::Streaming)
}

impl World {
    fn new(input: &mut Cursor<'_>) -> Self {
        let (first, second) = (input.byte(), input.byte());
        let generation = [
            Generation::Four,
            Generation::Two,
            Generation::V0_9,
            Generation::V0_6,
            Generation::Streaming,
            Generation::Auto,
        ][usize::from(first & 7) % 6];
        let (transports, most_wires): (&[Transport], _) = match first >> 3 & 3 {
            0 => (&[Transport::WebSocket], 1),
            1 => (&[Transport::Polling], 2),
            _ => (&[Transport::Polling, Transport::WebSocket], 3),
        };
        let retries = first & 32 != 0 && !is_plain(generation);
        let second_long = Duration::from_secs(1);
        let config = ClientConfig::default()
            .generation(generation)
            .transports(transports.to_vec())
            .retries(if retries { 2_u32 } else { 0 })
            .retry_window(3_usize)
            .confirm_events(first & 64 != 0)
            .drain_per_second(if first & 128 == 0 { 0_u32 } else { 50 })
            .reconnection_delay(Duration::from_millis(500))
            .reconnection_delay_max(MAX_DELAY)
            .max_attempts_per_minute(10_000_usize)
            .connect_timeout(Duration::from_secs(3))
            .upgrade_timeout(Duration::from_secs(2))
            .upgrade_pause(second_long)
            .ack_timeout(Duration::from_secs(4))
            .max_silence(is_plain(generation).then_some(Duration::from_millis(2500)))
            .max_queued_bytes(MAX_QUEUED);
        let mut server = Config::default()
            .ping_interval(second_long)
            .ping_timeout(Duration::from_millis(1500));
        server.legacy06 = server.legacy06.mount("/streaming", Streaming);
        server.legacy06 = server
            .legacy06
            .heartbeat_interval(second_long)
            .poll_duration(second_long);
        server.legacy06 = server.legacy06.heartbeat_timeout(Duration::from_millis(2500));
        server.legacy06 = server.legacy06.reconnect_timeout(Duration::from_millis(2500));
        server.legacy09 = server
            .legacy09
            .heartbeat_interval(second_long)
            .poll_duration(second_long);
        server.legacy09 = server.legacy09.heartbeat_timeout(Duration::from_secs(2));
        server.legacy09 = server.legacy09.close_timeout(Duration::from_secs(2));
        if second & 1 != 0 {
            server.allow_upgrades = false;
        }
        if second & 2 != 0 {
            server.max_queued_packets = 16;
        }
        let mut endpoint = Endpoint::parse("http://a.example").expect("a URL");
        if generation == Generation::Streaming {
            endpoint = endpoint.with_path("/streaming");
        }
        let mut client = Client::new(endpoint, config, Box::new(entropy(1))).expect("settings that make sense");
        // The generations with plain messages have no namespaces.
        let names = if is_plain(generation) { ["/"; 2] } else { NAMESPACES };
        let sockets = names.map(|name| client.socket(name).expect("a namespace"));
        Self {
            client,
            server: Server::new(server, [7; 16], Box::new(entropy(2))).expect("a sensible config"),
            now: Time::from_millis(1),
            wires: BTreeMap::new(),
            network: Network::Works,
            generation,
            retries,
            most_wires,
            sockets,
            closed: false,
            emits: BTreeMap::new(),
            ended: BTreeMap::new(),
            emitted: 0,
            heard: BTreeMap::new(),
            tickets: Vec::new(),
            peers: Vec::new(),
            said: 0,
            listened: BTreeMap::new(),
            asked: BTreeMap::new(),
            questions: 0,
            owed: Vec::new(),
        }
    }

    fn step(&mut self, input: &mut Cursor<'_>) {
        let now = self.now;
        match input.byte() % 24 {
            0 | 1 => drop(self.client.connect(now, self.sockets[input.index(4) / 3])),
            2..=4 => self.settle(),
            5 | 6 => {
                let most = 1 + usize::from(input.byte());
                if let Some(link) = self.pick(input) {
                    self.carry(link, most, input.byte() & 1 == 0);
                }
            }
            7 => self.pass(u64::from(input.byte()) * 20),
            8 => self.pass(u64::from(input.byte()) * (MAX_PASS / 256)),
            9 => self.cut(input),
            10 => {
                if let Some(link) = self.pick(input)
                    && let Some(wire) = self.wires.get_mut(&link)
                {
                    wire.stalled = true;
                }
            }
            11 => {
                self.network = input.pick(&[Network::Works, Network::Works, Network::Refuses, Network::Stalls]);
            }
            12 | 13 => self.client_emit(input),
            14 | 15 => self.server_emit(input),
            16 => self.server_broadcast(input),
            17 => self.answer(input),
            18 => self.jump(input),
            19 => self.press(input),
            20 => match input.byte() % 8 {
                0 | 1 => self.client.wake(now),
                2 | 3 => self.client.network_lost(now),
                4 => self
                    .client
                    .handle_clock_jump(now, Duration::from_millis(u64::from(input.byte()) * 400)),
                5 => self.client.clear_pending(self.sockets[0]),
                6 => {
                    if let Some(emit) = self.emits.keys().nth(usize::from(input.byte())) {
                        self.client.remove_pending(*emit);
                    }
                }
                _ if input.byte() & 3 == 0 => {
                    self.closed = true;
                    self.client.close(now);
                }
                _ => {}
            },
            21 => {
                if let Some((socket, _)) = input.one_of(&self.peers) {
                    let (socket, close) = (*socket, input.byte() & 1 == 0);
                    self.server
                        .shard(now, |shard, out| shard.disconnect(now, socket, close, out));
                }
            }
            22 => {
                if let Some((socket, _)) = input.one_of(&self.peers) {
                    let (socket, room) = (*socket, input.pick(&["red", "green"]));
                    let joins = input.byte() & 1 == 0;
                    self.server.shard(now, |shard, _| match joins {
                        true => shard.join(socket, room).is_ok(),
                        false => {
                            shard.leave(socket, room);
                            true
                        }
                    });
                }
            }
            _ => drop(self.client.disconnect(now, self.sockets[input.index(4) / 3])),
        }
    }

    fn pick(&self, input: &mut Cursor<'_>) -> Option<LinkId> {
        let count = self.wires.len();
        let choice = usize::from(input.byte());
        (count > 0)
            .then(|| choice % count)
            .and_then(|at| self.wires.keys().nth(at).copied())
    }

    /// Lets time pass, and stops at every deadline on the way.
    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        self.settle();
        for stops in 0.. {
            let next = [self.client.next_timeout(), self.server.next_timeout()];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else {
                break;
            };
            assert!(stops < 64 + millis, "{stops} deadlines in {millis} ms");
            self.now = self.now.max(next);
            self.timeout();
            self.settle();
        }
        self.now = end;
    }

    fn timeout(&mut self) {
        self.client.handle_timeout(self.now);
        let next = self.client.next_timeout();
        assert!(
            next.is_none_or(|next| next > self.now),
            "the time of the client makes progress"
        );
        self.server.handle_timeout(self.now);
        self.take_outputs();
    }

    /// A clock jumps: nobody was called meanwhile, and then one end is called, or both.
    fn jump(&mut self, input: &mut Cursor<'_>) {
        self.now = self.now + Duration::from_millis(u64::from(input.byte()) * 400);
        match input.byte() & 3 {
            0 => self.client.handle_timeout(self.now),
            1 => self.server.handle_timeout(self.now),
            2 => {}
            _ => self.timeout(),
        }
    }

    fn check(&self) {
        let open = self.wires.values().filter(|wire| wire.at_client).count();
        assert!(open <= self.most_wires, "{open} connections");
        let sockets: BTreeSet<SocketId> = self.sockets.into();
        let bytes = sockets.iter().map(|socket| {
            let events = self.client.pending(*socket);
            events
                .map(|event| event.name.len() + event.args.bytes() + 64)
                .sum::<usize>()
        });
        assert!(bytes.sum::<usize>() <= MAX_QUEUED, "the queue is too long");
    }

    /// Faults stop. Then both ends hear each other; and after the client is closed, nothing is
    /// left.
    fn finish(mut self) {
        self.network = Network::Works;
        for link in self.wires.keys().copied().collect::<Vec<_>>() {
            // The end of another connection may have ended this one.
            let Some(wire) = self.wires.get(&link) else { continue };
            let (at_server, at_client) = (wire.at_server, wire.at_client);
            if let Some(at_server) = at_server {
                self.wires.get_mut(&link).expect("it is there").blocked = false;
                self.server.handle_drained(self.now, at_server);
            }
            if at_client {
                self.client.handle_drained(self.now, link);
            }
            let is_half = at_server.is_none() || !at_client || wire_is_stalled(&self.wires, link);
            if is_half && let Some(wire) = self.wires.get_mut(&link).filter(|wire| !wire.ends || wire.stalled) {
                let at_server = wire.at_server.take();
                let at_client = std::mem::take(&mut wire.at_client);
                if let Some(at_server) = at_server {
                    self.server.handle_closed(self.now, at_server, Cause::Failed);
                }
                if at_client {
                    self.client.handle_closed(self.now, link, None);
                }
                self.forget_dead_wires();
            }
            self.take_outputs();
        }
        self.take_outputs();
        // What was under way arrives: the server may have said goodbye.
        self.pass(1_000);
        if !self.closed {
            let socket = self.sockets[0];
            self.client.connect(self.now, socket).expect("it is not closed");
            let end = self.now + MAX_DELAY + Duration::from_secs(5);
            while !self.client.is_connected(socket) && self.now < end {
                self.pass(100);
                // What crosses the goodbye of the server ends the attempt.
                self.client.connect(self.now, socket).expect("it is not closed");
            }
            assert!(self.client.is_connected(socket), "{:?}", self.client);
            self.hear_each_other();
        }
        self.client.close(self.now);
        self.closed = true;
        self.take_outputs();
        self.pass(2 * MAX_PASS);
        assert_eq!(self.client.next_timeout(), None, "a closed client wants nothing more");
        let without_end: Vec<_> = self
            .emits
            .keys()
            .filter(|emit| !self.ended.contains_key(emit))
            .collect();
        assert!(without_end.is_empty(), "{without_end:?} have no end");
        assert!(
            self.wires.values().all(|wire| !wire.at_client),
            "a closed client has no connections"
        );
        assert_eq!(
            self.server.shard(self.now, |shard, _| shard.sessions()),
            0,
            "a session without a client"
        );
        assert!(self.peers.is_empty() && self.asked.is_empty());
        // In which order events were first heard.
        for heard in self.heard.values() {
            let mut seen = BTreeSet::new();
            let firsts = heard.iter().filter(|number| seen.insert(**number));
            assert!(firsts.is_sorted_by(|a, b| a < b), "{heard:?}");
        }
    }

    fn hear_each_other(&mut self) {
        self.pass(2_000);
        let socket = self.sockets[0];
        let number = self.emitted;
        self.emitted += 1;
        let emit = Emit::new(self.event_name(), self.args(number, 0));
        // The queue may be full of events that wait for their acknowledgements.
        let Ok(id) = self.client.emit(self.now, socket, emit) else {
            return;
        };
        self.emits.insert(id, Emitted { number, namespace: 0 });
        for _ in 0..120 {
            std::mem::take(&mut self.owed)
                .into_iter()
                .for_each(|owed| self.pay(owed));
            self.pass(500);
            if self.ended.contains_key(&id) {
                break;
            }
        }
        let heard = self
            .heard
            .get(NAMESPACES[0])
            .is_some_and(|heard| heard.contains(&number));
        assert!(heard, "{:?}: {:?}", self.ended.get(&id), self.client);
        let peer = self.peers.iter().rfind(|(_, namespace)| *namespace == NAMESPACES[0]);
        let Some((key, namespace)) = peer.cloned() else { return };
        let number = self.said;
        self.said += 1;
        let mut message = Message::event(namespace, self.event_name().into(), self.args(number, 0), None);
        let sent = self
            .server
            .shard(self.now, |shard, _| shard.emit(self.now, key, &mut message, None));
        self.pass(1_000);
        let listened = self.listened.get(&socket).is_some_and(|heard| heard.contains(&number));
        assert!(listened || sent.is_err(), "the client does not hear the server");
    }
}

fn wire_is_stalled(wires: &BTreeMap<LinkId, Wire>, link: LinkId) -> bool {
    wires.get(&link).is_some_and(|wire| wire.stalled)
}

/// The number of an event, which is its first argument.
fn number_of(args: &Args) -> usize {
    let first = args.json.split(',').next().unwrap_or_default();
    first
        .trim_matches('"')
        .parse()
        .unwrap_or_else(|_| panic!("an event without a number: {args:?}"))
}
