//! A server that says what it likes to one client: it wants more memory and work of the client than
//! it pays for (promise 7).
//!
//! The servers of [`World`](crate::world::World) are genuine, and so they are polite: their clients
//! never reach the limits that are for other servers. This one opens sessions, most of the time.
//! Then it has a habit: one thing that it does for as long as it is let. The client has small
//! limits, its user goes on sending, answering, leaving and coming back, and connections end or
//! take no bytes at any moment.

mod words;

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use sio_proto::client::{
    AckTicket, Client, ClientConfig, Credentials, Delivery, Emit, Endpoint, Generation, Offline, Output, SocketId,
    Transport,
};
use sio_proto::socket::text::Limits;
use sio_proto::{ByteString, LinkId, Time};

use crate::payer::{Deed, Payer};
use crate::plan::{Less, STREAMING};
use crate::transcript::{Mode, Transcript};
use crate::violation::{Promise, Violation, caught};
use crate::world::{NAMESPACES, READ, entropy};

/// How many things are done with one client, at most.
const MOST_OPS: usize = 120;

/// How often a client may be woken at one moment.
const MOST_WAKES: usize = 1_000;

/// The most questions that the user has not answered yet.
const MOST_TICKETS: usize = 1_000;

/// How many bytes an answer of the user has.
const ANSWER: usize = 100;

/// What a closed client may hold beside its settings: its tables, and lists that are empty.
const LEFT: isize = 32 << 10;

/// What such a server does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// It says anything.
    Roam,
    /// It sends events before it lets the client in.
    Early,
    /// It asks, and reads no answer.
    Ask,
    /// It sets cookies.
    Bake,
    /// It sends messages whose attachments do not come.
    Hoard,
    /// It sends as many small packets as it can.
    Crumble,
    /// It lets the client in, or refuses it, with words that take much memory.
    Babble,
    /// It lets the client in and puts it out, and ends sessions.
    Turn,
    /// It sends heads, bodies and frames without end, or a few bytes at a time.
    Trickle,
    /// It confirms events late, and answers them in any order.
    Delay,
}

const HABITS: [Habit; 12] = [
    Habit::Roam,
    Habit::Roam,
    Habit::Early,
    Habit::Ask,
    Habit::Bake,
    Habit::Hoard,
    Habit::Crumble,
    Habit::Babble,
    Habit::Turn,
    Habit::Trickle,
    Habit::Trickle,
    Habit::Delay,
];

/// A connection of the client.
#[derive(Debug)]
struct Link {
    id: LinkId,
    /// The target of the request that has no answer.
    asked: Option<String>,
    /// The key of a request for a websocket.
    key: Option<String>,
    is_websocket: bool,
    is_post: bool,
    is_full: bool,
}

/// See the [module](self).
struct Rogue {
    now: Time,
    config: ClientConfig,
    habit: Habit,
    payer: Payer,
    sockets: Vec<SocketId>,
    tickets: Vec<AckTicket>,
    links: Vec<Link>,
    /// The number of the next question, cookie or acknowledgement.
    next: u64,
    transcript: Transcript,
    /// How many things were done.
    steps: u64,
    failure: Option<Violation>,
}

/// What has come of it.
#[derive(Debug)]
pub(crate) struct Siege {
    pub(crate) hash: u64,
    pub(crate) steps: u64,
    pub(crate) failure: Option<Violation>,
    pub(crate) lines: Vec<String>,
    pub(crate) time: Duration,
}

/// Lets such a server loose on the client of a seed.
pub(crate) fn besiege(seed: u64, less: &Less, mode: Mode) -> Siege {
    let mut rng = Rng::with_seed(seed ^ 0x0bad_5eed);
    let mut rogue = Rogue::new(seed, &mut rng, mode);
    let ops = rng.usize(20..MOST_OPS).min(less.ops.unwrap_or(MOST_OPS));
    if let Err(words) = caught(|| rogue.run(seed, less, ops)) {
        rogue.fail(Promise::Conduct, format_args!("panic: {words}"));
    }
    Siege {
        hash: rogue.transcript.hash(),
        steps: rogue.steps,
        failure: rogue.failure.take(),
        lines: rogue.transcript.take_lines(),
        time: rogue.now.saturating_since(Time::ZERO),
    }
}

/// The settings of the client: limits that can be reached.
fn settings(rng: &mut Rng) -> ClientConfig {
    use Transport::{Polling, WebSocket};
    let generation = match rng.u32(0..10) {
        0 => Generation::V0_9,
        1 => Generation::V0_6,
        2 => Generation::Streaming,
        3 | 4 => Generation::Two,
        _ => Generation::Four,
    };
    let transports = [&[Polling][..], &[WebSocket], &[Polling, WebSocket]][rng.usize(0..3)];
    let mut limits = Limits::default();
    limits.max_attachment_bytes = 4_000;
    let most = [8_000, 30_000, 100_000][rng.usize(0..3)];
    let mut config = ClientConfig::default()
        .generation(generation)
        .transports(transports.to_vec())
        .upgrade_pause(Duration::from_secs(1))
        .reconnection_delay(Duration::from_millis(100))
        .reconnection_delay_max(Duration::from_millis(500))
        .max_attempts_per_minute(10_000usize)
        .ack_timeout(Duration::from_secs(rng.u64(1..30)))
        .provider(rng.u32(0..4) == 0)
        .close_with_last(rng.bool())
        .max_body_bytes(most)
        .max_message_bytes(most)
        .max_packets_per_payload(5_000usize)
        .max_early_bytes(2_000usize)
        .max_answer_bytes(2_000usize)
        .max_cookie_bytes(if most > 8_000 { 20_000usize } else { 500 })
        .max_queued_bytes([3_000, 20_000][rng.usize(0..2)])
        .max_in_flight(64usize)
        .packet(limits);
    let is_plain = matches!(generation, Generation::V0_6 | Generation::Streaming);
    if !is_plain && rng.u32(0..4) == 0 {
        config = config.retries(2u32).retry_window(rng.usize(1..4));
    }
    if generation == Generation::Four && rng.bool() {
        config = config.confirm_events(true).max_unconfirmed(rng.usize(2..400));
    }
    if rng.u32(0..4) == 0 {
        config = config.max_queue_age(Some(Duration::from_secs(3)));
    }
    if rng.u32(0..4) == 0 {
        config = config.drain_per_second(30u32);
    }
    config
}

impl Rogue {
    fn new(seed: u64, rng: &mut Rng, mode: Mode) -> Self {
        let config = settings(rng);
        let habit = HABITS[rng.usize(0..HABITS.len())];
        let mut payer = Payer::new(&config, NAMESPACES.len(), || {
            let endpoint = match Endpoint::parse("http://sim.example:3000") {
                Ok(endpoint) if config.generation == Generation::Streaming => endpoint.with_path(STREAMING),
                Ok(endpoint) => endpoint,
                Err(error) => panic!("{error}"),
            };
            match Client::new(endpoint, config.clone(), Box::new(entropy(seed ^ 0x0bad))) {
                Ok(client) => client,
                Err(error) => panic!("seed {seed} draws settings of no use: {error}"),
            }
        });
        let names = match config.generation {
            Generation::V0_6 | Generation::Streaming => &NAMESPACES[..1],
            _ => &NAMESPACES[..],
        };
        let make = |name: &&str| payer.act(Deed::Other(0), |client| client.socket(name).ok());
        let sockets = names.iter().filter_map(make).collect();
        let mut transcript = Transcript::new(mode);
        let words = format_args!(
            "a server with the habit {habit:?}, {:?} {:?}",
            config.generation, config.transports
        );
        transcript.note(Time::ZERO, words);
        Self {
            now: Time::from_millis(1),
            config,
            habit,
            payer,
            sockets,
            tickets: Vec::new(),
            links: Vec::new(),
            next: 0,
            transcript,
            steps: 0,
            failure: None,
        }
    }

    fn run(&mut self, seed: u64, less: &Less, ops: usize) {
        self.connect();
        for op in 0..ops {
            if self.failure.is_some() {
                break;
            }
            self.steps += 1;
            if !less.skip.contains(&op) {
                let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ !(op as u64));
                self.operate(&mut rng);
                self.settle();
            }
        }
        self.end();
        if self.failure.is_none() && self.payer.steps() == 0 {
            self.fail(Promise::Conduct, format_args!("no step of a client was counted"));
        }
    }

    fn fail(&mut self, promise: Promise, words: fmt::Arguments<'_>) {
        if self.failure.is_none() {
            let words = format!("under siege ({:?}): {words}", self.habit);
            self.note(format_args!("VIOLATION {words}"));
            self.failure = Some(Violation { promise, words });
        }
    }

    fn note(&mut self, words: fmt::Arguments<'_>) {
        self.transcript.note(self.now, words);
    }

    fn connect(&mut self) {
        let now = self.now;
        for socket in self.sockets.clone() {
            let _ = self.payer.act(Deed::Other(0), |client| client.connect(now, socket));
        }
        self.settle();
    }

    /// Does one thing: the server speaks, the user wants something, a connection changes, or time
    /// passes.
    fn operate(&mut self, rng: &mut Rng) {
        let now = self.now;
        match rng.u32(0..20) {
            0 => self.connect(),
            1 => {
                let socket = self.sockets[rng.usize(0..self.sockets.len())];
                let _ = self.payer.leave(|client| client.disconnect(now, socket));
            }
            2 | 3 => (0..rng.usize(1..40)).for_each(|_| self.emit(rng)),
            4 => self.pass(rng),
            5 => {
                if let Some(time) = self.payer.client().next_timeout() {
                    self.advance(time.max(now));
                }
            }
            6 if rng.u32(0..3) == 0 => {
                if let Some(at) = self.any_link(rng) {
                    let link = self.links.swap_remove(at).id;
                    self.note(format_args!("{link:?} is lost"));
                    self.payer.handle_closed(now, link);
                }
            }
            7 => {
                if let Some(at) = self.any_link(rng) {
                    // Who reads no answers does not begin to.
                    let is_full = rng.bool() || self.habit == Habit::Ask;
                    self.fill(at, is_full);
                }
            }
            _ => {
                if let Some(at) = self.any_link(rng) {
                    self.speak(at, rng);
                }
            }
        }
        self.settle();
        self.answer();
    }

    fn any_link(&self, rng: &mut Rng) -> Option<usize> {
        let at = rng.usize(0..1 << 16);
        (!self.links.is_empty()).then(|| at % self.links.len())
    }

    /// A connection takes no bytes any more, or takes them again.
    fn fill(&mut self, at: usize, is_full: bool) {
        let (now, link) = (self.now, &mut self.links[at]);
        link.is_full = is_full;
        let id = link.id;
        self.payer.act(Deed::Other(0), |client| match is_full {
            true => client.handle_blocked(now, id),
            false => client.handle_drained(now, id),
        });
    }

    fn emit(&mut self, rng: &mut Rng) {
        let (now, socket) = (self.now, self.sockets[rng.usize(0..self.sockets.len())]);
        let is_plain = matches!(self.config.generation, Generation::V0_6 | Generation::Streaming);
        let padding = [0, 10, 300][rng.usize(0..3)];
        let (asks, offline) = (!is_plain && rng.bool(), rng.u32(0..12));
        let emitted = self.payer.act(Deed::Other(padding + 40), |client| {
            let name = if is_plain { "message" } else { "e" };
            let args = ByteString::from(format!("\"{}\"", "x".repeat(padding)));
            let mut emit = Emit::new(name, args.into()).offline(match offline {
                0 => Offline::Volatile,
                1 => Offline::Newest("key".into()),
                _ => Offline::Queue,
            });
            emit.ack = asks;
            client.emit(now, socket, emit)
        });
        if emitted.is_ok() {
            self.payer.note_emit();
        }
    }

    /// The user answers.
    fn answer(&mut self) {
        let now = self.now;
        while let Some(ticket) = self.tickets.pop() {
            // The connection of the question may be gone.
            let _ = self.payer.act(Deed::Other(ANSWER), |client| {
                let args = ByteString::from(format!("\"{}\"", "y".repeat(ANSWER)));
                client.answer(now, ticket, args.into())
            });
            self.settle();
        }
    }

    fn pass(&mut self, rng: &mut Rng) {
        let end = self.now + Duration::from_millis(rng.u64(1..5_000));
        while let Some(time) = self.payer.client().next_timeout().filter(|time| *time <= end) {
            self.advance(time.max(self.now));
            if self.failure.is_some() {
                return;
            }
        }
        self.now = self.now.max(end);
    }

    /// Time passes until then, and the client is woken.
    fn advance(&mut self, time: Time) {
        self.now = time;
        for _ in 0..MOST_WAKES {
            self.payer.handle_timeout(time);
            self.settle();
            if self.payer.client().next_timeout().is_none_or(|next| next > time) {
                return;
            }
        }
        self.fail(Promise::Conduct, format_args!("time stands still for a client"));
    }

    /// Takes everything that the client wants.
    fn settle(&mut self) {
        let now = self.now;
        while let Some(mut output) = self.payer.poll_output() {
            match &mut output {
                Output::Connect { link, .. } => {
                    let id = *link;
                    self.links.push(Link {
                        id,
                        asked: None,
                        key: None,
                        is_websocket: false,
                        is_post: false,
                        is_full: false,
                    });
                    self.payer
                        .act(Deed::Other(0), |client| client.handle_connected(now, id));
                }
                Output::Bytes(link, bytes) => self.read(*link, bytes),
                Output::Close(link) => {
                    let id = *link;
                    self.links.retain(|link| link.id != id);
                }
                Output::CredentialsWanted(question) => {
                    let id = question.id;
                    let provide = |client: &mut Client| client.provide(now, id, Credentials::default());
                    // A command may have made the question obsolete before it was read.
                    let _ = self.payer.act(Deed::Other(0), provide);
                }
                Output::State(state) => {
                    let state = format!("{state:?}");
                    self.note(format_args!("{state}"));
                }
                Output::Delivery(Delivery::Event { ack, .. }) => {
                    self.tickets.extend(ack.take());
                    self.tickets.truncate(MOST_TICKETS);
                }
                Output::Delivery(Delivery::Connect { socket, .. }) => {
                    let socket = *socket;
                    self.note(format_args!("{socket:?} is connected"));
                }
                _ => {}
            }
            self.payer.drop_output(output);
        }
        if let Some(fault) = self.payer.take_fault() {
            self.fail(Promise::Price, format_args!("{fault}"));
        }
    }

    /// The server reads what the client writes: only requests matter.
    fn read(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(link) = self.links.iter_mut().find(|known| known.id == link) else {
            return;
        };
        if link.is_websocket || !(bytes.starts_with(b"GET ") || bytes.starts_with(b"POST ")) {
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        link.asked = text.split(' ').nth(1).map(str::to_owned);
        link.is_post = bytes.starts_with(b"POST ");
        let key = text.split("Sec-WebSocket-Key: ").nth(1);
        link.key = key.and_then(|rest| rest.lines().next()).map(str::to_owned);
    }

    /// Gives bytes to the client, in so many pieces.
    fn give(&mut self, link: LinkId, bytes: &[u8], pieces: usize) {
        // A caller reads no more at once.
        let (now, size) = (self.now, bytes.len().div_ceil(pieces.max(1)).clamp(1, READ));
        let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        self.note(format_args!(
            "{link:?} gets {} bytes in {pieces}: {begin:?}",
            bytes.len()
        ));
        for piece in bytes.chunks(size) {
            if self.failure.is_some() || !self.links.iter().any(|known| known.id == link) {
                return;
            }
            self.payer.handle_bytes(now, link, piece);
            self.settle();
        }
    }

    /// The user closes the client, and nothing is left of what the server has made it hold.
    fn end(&mut self) {
        let now = self.now;
        self.payer.leave(|client| client.close(now));
        self.settle();
        for _ in 0..MOST_WAKES {
            let Some(time) = self.payer.client().next_timeout() else {
                break;
            };
            self.advance(time.max(self.now));
        }
        let holds = self.payer.holds_beside_settings();
        if holds > LEFT {
            self.fail(
                Promise::Price,
                format_args!("a closed client holds {holds} bytes, at most {LEFT}"),
            );
        }
        if !self.links.is_empty() || self.payer.client().next_timeout().is_some() || self.payer.emits() > 0 {
            let (links, emits) = (self.links.len(), self.payer.emits());
            self.fail(
                Promise::Leftover,
                format_args!("a closed client has {links} connections and {emits} emits without an end"),
            );
        }
    }
}
