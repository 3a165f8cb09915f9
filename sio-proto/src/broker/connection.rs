//! One connection to a server of the broker: what it is for, how far it is, and the answers that it
//! waits for.
//!
//! ```text
//!   Idle ── dial ──► Dialing ── connected ──► Greeting ── answered ──► Ready
//!    ▲                  │                        │                       │
//!    └──── a delay ─────┴──── closed, late, refused, deaf ───────────────┘
//! ```
//! The value stays when its TCP connection goes. A new TCP connection gets a new generation, so
//! what an old one still says is not heard.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::abandoned::{Abandoned, Identity};
use super::config::{Address, BrokerConfig};
use crate::resp::{Decoder, Limits, encode_command, encode_command_before, slot};
use crate::{Entropy, LinkId, Time};

/// How many answers one connection may wait for.
const MAX_EXPECTED: usize = 16 * 1024;

/// After so many attempts in a row, a master does not come back at its address.
const MASTER_ATTEMPTS: u32 = 3;

/// How many slots are remembered whose channels were ended ([`Connection::has_ended`]): 2 KiB.
const MAX_ENDED: usize = 1024;

/// A message of so many bytes is handed over as it is. A smaller one is copied behind those before
/// it, so that all of them leave in one write.
const LARGE_BYTES: usize = 16 * 1024;

/// How many bytes are put together until the adapter takes them.
const MAX_UNSENT_BYTES: usize = 64 * 1024;

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Publishing and requests, and all that is known of the cluster.
    Main,
    /// The channels, except those of sharded pub/sub in a cluster.
    Subscriber,
    /// Sharded publishing and requests to one master of a cluster.
    Node,
    /// The channels of sharded pub/sub on one master of a cluster.
    NodeSubscriber,
    /// The entries of this stream.
    Reader(Bytes),
    /// The name of the master.
    Sentinel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Idle { retry_at: Time },
    Dialing { until: Time },
    Greeting { until: Time },
    Ready { since: Time },
}

/// A step of the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Hello,
    Auth,
    Name,
    Select,
    /// How the server knows the connection.
    Identity,
    Slots,
    Role,
}

/// An answer that a connection waits for. The server answers in the order of the commands.
#[derive(Debug)]
pub(super) enum Expect {
    Step(Step),
    Ping,
    /// The answer of no interest: to `MULTI` and `ASKING`.
    Skip,
    /// To `CLIENT KILL` for this connection.
    Kill(Abandoned),
    /// To a message of this batch ([`Batches`](super::flushing::Batches)).
    Publish(u64),
    /// To a message of sharded pub/sub. It is kept, because its slot may have moved.
    Sharded(Kept),
    /// One answer to a request.
    Part(u64),
    /// A command of the request is queued by the server, for its transaction.
    Queued(u64),
    Slots,
    Subscribe(Bytes, bool),
    Unsubscribe(Bytes, bool),
    /// A channel that another connection hears by now is left.
    Leave(Bytes),
    ProbeSubscribe,
    /// The message for the subscribing connection with this place and generation.
    Probe(usize, u32),
    /// The time of the broker, at which the reading of a stream begins.
    Clock,
    LastEntry,
    Entries,
    Master,
    Watch,
}

/// How many messages of sharded pub/sub were written to a connection, and answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sharded {
    pub(super) written: u64,
    pub(super) answered: u64,
    /// Up to which of them there are some whose slot has moved; 0 if there are none.
    pub(super) moved: u64,
    /// Whether messages of such a slot may wait for the connection.
    pub(super) queue_moves: bool,
}

/// A message whose publication is not certain yet.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Its number ([`Waiting::number`]).
    pub(super) number: u64,
    pub(super) channel: Bytes,
    pub(super) payload: Bytes,
    pub(super) redirects: u8,
    /// What it counts for in the waiting bytes.
    pub(super) weight: usize,
    pub(super) until: Time,
    /// Its batch ([`Batches`](super::flushing::Batches)).
    pub(super) batch: u64,
}

/// Something that waits for its connection.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Later messages have higher numbers.
    pub(super) number: u64,
    pub(super) until: Time,
    /// What it counts for in the waiting bytes. A request is counted elsewhere.
    pub(super) weight: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Publish {
        channel: Bytes,
        payload: Bytes,
        sharded: bool,
        redirects: u8,
        asking: bool,
        /// Its batch ([`Batches`](super::flushing::Batches)).
        batch: u64,
    },
    Part {
        request: u64,
        asking: bool,
    },
}

/// How a subscribing connection shows that it hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// It need not, or the broker does not allow it.
    Off,
    /// It is heard, and asked again then.
    Hears { next: Time },
    /// A message is under way to the broker, by this connection.
    Asked { by: usize },
    /// The broker has taken the message.
    Sent { until: Time },
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) role: Role,
    pub(super) address: Address,
    pub(super) generation: u32,
    pub(super) stage: Stage,
    pub(super) decoder: Decoder,
    pub(super) expects: VecDeque<Expect>,
    pub(super) sharded: Sharded,
    /// Since when the first answer is waited for.
    pub(super) asked_at: Option<Time>,
    /// When something was answered last.
    active_at: Time,
    /// Bytes that the adapter takes next.
    pub(super) unsent: BytesMut,
    /// What stands in front of it: large messages, and what was put together before them.
    pieces: Vec<Bytes>,
    /// The bytes of these pieces.
    large_bytes: usize,
    pub(super) blocked: bool,
    pub(super) speaks_resp3: bool,
    /// How the server knows the connection, if it has said so.
    pub(super) identity: Option<Identity>,
    /// What waits for this connection, the oldest first.
    pub(super) queue: VecDeque<Waiting>,
    /// The channels whose subscription is not what it should be.
    pub(super) changed: VecDeque<(Bytes, bool)>,
    pub(super) attempts: u32,
    /// The slots of channels whose end took the place of the answer to the command that leaves
    /// them, if no later command is answered yet ([`Connection::has_ended`]).
    ended: VecDeque<u16>,
    pub(super) probe: Probe,
    /// When the last probe was ordered.
    pub(super) probed_at: Time,
    pub(super) probe_channel: Bytes,
}

impl Connection {
    pub(super) fn new(now: Time, role: Role, address: Address, config: &BrokerConfig) -> Self {
        Self {
            role,
            address,
            generation: 0,
            stage: Stage::Idle { retry_at: now },
            decoder: decoder(config),
            expects: VecDeque::new(),
            sharded: Sharded::default(),
            asked_at: None,
            active_at: now,
            unsent: BytesMut::new(),
            pieces: Vec::new(),
            large_bytes: 0,
            blocked: false,
            speaks_resp3: false,
            identity: None,
            queue: VecDeque::new(),
            changed: VecDeque::new(),
            attempts: 0,
            ended: VecDeque::new(),
            probe: Probe::Off,
            probed_at: Time::default(),
            probe_channel: Bytes::new(),
        }
    }

    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. })
    }

    /// Whether it goes to a master of a cluster, and several attempts to connect have failed.
    pub(super) const fn has_lost_its_master(&self) -> bool {
        let goes_to_master = matches!(self.role, Role::Node | Role::NodeSubscriber | Role::Reader(_));
        goes_to_master && !self.is_ready() && self.attempts >= MASTER_ATTEMPTS
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Idle { .. })
    }

    pub(super) const fn hears(&self) -> bool {
        matches!(self.role, Role::Subscriber | Role::NodeSubscriber)
    }

    /// Whether another command may be written now.
    pub(super) fn has_room(&self) -> bool {
        let unsent = self.large_bytes + self.unsent.len();
        self.is_ready() && !self.blocked && unsent < MAX_UNSENT_BYTES && self.expects.len() < MAX_EXPECTED
    }

    /// Whether messages of sharded pub/sub are under way, or wait.
    pub(super) fn has_sharded(&self) -> bool {
        self.sharded.answered < self.sharded.written || !self.queue.is_empty()
    }

    /// Takes the messages of sharded pub/sub out of the queue whose channels are chosen.
    pub(super) fn take_waiting(&mut self, is_chosen: impl Fn(&[u8]) -> bool) -> VecDeque<Waiting> {
        let is_chosen = |waiting: &Waiting| match &waiting.what {
            What::Publish { sharded, channel, .. } => *sharded && is_chosen(channel),
            What::Part { .. } => false,
        };
        if !self.queue.iter().any(is_chosen) {
            return VecDeque::new();
        }
        let (chosen, others) = core::mem::take(&mut self.queue).into_iter().partition(is_chosen);
        self.queue = others;
        chosen
    }

    /// Writes a message to a channel.
    pub(super) fn publish(&mut self, now: Time, command: &[u8], channel: &[u8], payload: &Bytes, expect: Expect) {
        if payload.len() < LARGE_BYTES {
            return self.ask(now, &[command, channel, payload], expect);
        }
        encode_command_before(&[command, channel], payload.len(), &mut self.unsent);
        let before = self.unsent.split().freeze();
        self.large_bytes += before.len() + payload.len();
        self.pieces.extend([before, payload.clone()]);
        self.unsent.extend_from_slice(b"\r\n");
        self.expect(now, expect);
    }

    /// Takes the bytes that have been put together, in their order.
    pub(super) fn take_unsent(&mut self, mut take: impl FnMut(Bytes)) {
        self.large_bytes = 0;
        core::mem::take(&mut self.pieces).into_iter().for_each(&mut take);
        if !self.unsent.is_empty() {
            take(self.unsent.split().freeze());
        }
    }

    pub(super) fn ask(&mut self, now: Time, parts: &[&[u8]], expect: Expect) {
        encode_command(parts, &mut self.unsent);
        self.expect(now, expect);
    }

    fn expect(&mut self, now: Time, expect: Expect) {
        self.expects.push_back(expect);
        self.asked_at.get_or_insert(now);
    }

    /// Takes the expectation that an answer fulfils.
    pub(super) fn answered(&mut self, now: Time) -> Option<Expect> {
        self.ended.clear();
        self.take_expected(now)
    }

    /// As [`Connection::answered`], where this may not be the answer ([`Connection::has_ended`]).
    pub(super) fn take_expected(&mut self, now: Time) -> Option<Expect> {
        let expect = self.expects.pop_front()?;
        self.asked_at = (!self.expects.is_empty()).then_some(now);
        self.active_at = now;
        Some(expect)
    }

    /// The server has said that a channel of sharded pub/sub is left, while the answer to the
    /// command that leaves it was waited for. It may have ended the channel before it has read the
    /// command, because the slot has moved. Then this was not the answer, and `MOVED` comes too.
    pub(super) fn has_ended(&mut self, slot: u16) {
        if self.ended.len() >= MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(slot);
    }

    /// Whether `MOVED` for this slot belongs to a command that was taken for answered. Servers
    /// answer in order, so no such answer for a slot before it comes any more.
    pub(super) fn is_of_ended(&mut self, moved: u16) -> bool {
        let found = self.ended.iter().position(|slot| *slot == moved);
        found.is_some_and(|at| self.ended.drain(..=at).next().is_some())
    }

    /// Whether the next answer belongs to a command about a channel of this slot.
    pub(super) fn expects_channel_of(&self, moved: u16) -> bool {
        match self.expects.front() {
            Some(Expect::Subscribe(channel, true) | Expect::Unsubscribe(channel, true) | Expect::Leave(channel)) => {
                slot(channel) == moved
            }
            _ => false,
        }
    }

    /// Whether such an answer may come.
    pub(super) fn has_any_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// When the broker is late with an answer.
    pub(super) fn late_at(&self, config: &BrokerConfig) -> Option<Time> {
        let patience = match self.expects.front()? {
            Expect::Entries => config.stream_block + config.answer_timeout,
            _ => config.answer_timeout,
        };
        Some(self.asked_at? + patience)
    }

    /// Whether the next answer has entries of a stream.
    pub(super) fn waits_for_entries(&self) -> bool {
        matches!(
            (&self.role, self.expects.front()),
            (Role::Reader(_), Some(Expect::Entries))
        )
    }

    /// From now on, the broker has the whole time for its next answer.
    pub(super) fn wait_anew(&mut self, now: Time) {
        self.asked_at = self.asked_at.map(|_| now);
    }

    /// When the broker is asked whether it is there.
    pub(super) fn ping_at(&self, config: &BrokerConfig) -> Option<Time> {
        (self.is_ready() && self.expects.is_empty()).then(|| self.active_at + config.ping_interval)
    }

    /// Begins with another TCP connection.
    pub(super) fn begin(&mut self, link_generation: u32, until: Time, config: &BrokerConfig) {
        self.generation = link_generation;
        self.stage = Stage::Dialing { until };
        self.decoder = decoder(config);
        self.blocked = false;
        self.speaks_resp3 = false;
    }

    /// Ends the TCP connection, and says how long to wait before the next one.
    pub(super) fn end(&mut self, now: Time, config: &BrokerConfig, entropy: &mut dyn Entropy) {
        if let Stage::Ready { since } = self.stage
            && now.saturating_since(since) >= config.reconnect_delay_max
        {
            self.attempts = 0;
        }
        let retry_at = now + delay(self.attempts, config, entropy);
        self.attempts = self.attempts.saturating_add(1);
        self.stage = Stage::Idle { retry_at };
        self.asked_at = None;
        self.unsent = BytesMut::new();
        self.pieces = Vec::new();
        self.large_bytes = 0;
        self.changed.clear();
        self.ended.clear();
        self.probe = Probe::Off;
    }

    pub(super) const fn link(&self, at: usize) -> LinkId {
        LinkId::new(at as u32, self.generation)
    }
}

const fn decoder(config: &BrokerConfig) -> Decoder {
    Decoder::new(Limits {
        max_reply_bytes: config.max_reply_bytes,
        max_depth: 16,
    })
}

/// The delay before an attempt: it doubles up to its maximum, and up to a half of it is left out at
/// random, so that the nodes of a cluster do not come back at the same moment.
fn delay(attempts: u32, config: &BrokerConfig, entropy: &mut dyn Entropy) -> Duration {
    let doubled = config.reconnect_delay.saturating_mul(1 << attempts.min(30));
    let micros = u64::try_from(doubled.min(config.reconnect_delay_max).as_micros()).unwrap_or(u64::MAX);
    let mut random = [0; 8];
    entropy.fill(&mut random);
    let left_out = u64::from_le_bytes(random) % (micros / 2 + 1);
    Duration::from_micros(micros - left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        let server = Address {
            host: "a".into(),
            port: 1,
        };
        Connection::new(Time::ZERO, Role::NodeSubscriber, server, &BrokerConfig::default())
    }

    /// What a server has ended is remembered in its order and up to a limit, until another answer
    /// has come.
    #[test]
    fn channels_that_were_ended_are_remembered_up_to_a_limit() {
        let mut of = connection();
        (0..1024).for_each(|slot| of.has_ended(slot));
        assert!(!of.is_of_ended(1024));
        assert!(of.is_of_ended(0), "the first one is still known");
        assert!(of.is_of_ended(2) && !of.is_of_ended(1), "those before it are over");
        (0..5000).for_each(|slot| of.has_ended(slot));
        assert_eq!(of.ended.len(), MAX_ENDED);
        assert!(of.is_of_ended(4999) && !of.has_any_ended());
        of.has_ended(1);
        of.ask(Time::ZERO, &[b"PING"], Expect::Ping);
        assert!(of.answered(Time::ZERO).is_some() && !of.has_any_ended());
    }

    /// Delays double up to their maximum. Up to a half of each is left out at random.
    #[test]
    fn delays_double_and_are_shortened_at_random() {
        let config = BrokerConfig::default();
        for (attempts, millis) in [(0, 100), (1, 200), (4, 1600), (5, 2000), (u32::MAX, 2000)] {
            let whole = Duration::from_millis(millis);
            let with = |random: u64| {
                let mut fill = |out: &mut [u8]| out.copy_from_slice(&random.to_le_bytes());
                delay(attempts, &config, &mut fill)
            };
            let micros = millis * 1000;
            assert_eq!(with(0), whole);
            assert_eq!(with(micros / 2), whole / 2);
            assert_eq!(with(micros / 2 + 1), whole);
        }
    }

    /// A connection that has stood for long begins again with the shortest delay; one that ends at
    /// once does not.
    #[test]
    fn delays_begin_again_behind_a_connection_that_has_stood() {
        let config = BrokerConfig::default();
        let mut whole = |out: &mut [u8]| out.fill(0);
        for (stands, delay) in [(1999, 1600), (2000, 100), (60_000, 100)] {
            let mut of = connection();
            of.attempts = 4;
            of.stage = Stage::Ready { since: Time::ZERO };
            let now = Time::from_millis(stands);
            of.end(now, &config, &mut whole);
            let retry_at = now + Duration::from_millis(delay);
            assert_eq!(of.stage, Stage::Idle { retry_at }, "{stands}");
        }
    }
}
