//! What one seed does: its settings, its clients, and which operations and faults it draws.
//!
//! Each seed turns features and faults on and off at random and gives each its own weight (a
//! "swarm"), because a mix of everything rarely reaches the corners of one thing.

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use sio_proto::client::{ClientConfig, Generation, Transport};
use sio_proto::codec::Streaming;
use sio_proto::{Config, Hosts, RecoveryConfig};

use crate::habits::Habit;
use crate::pipe::Traffic;
use crate::straits::Straits;
use crate::thief::HOST;

/// The path of the streaming codec.
pub(crate) const STREAMING: &str = "/streaming";

/// One seed of so many has a crowd.
const CROWDED_OF: u32 = 40;

/// In one seed of so many, clients have to send more than their requests can carry.
const POURING_OF: u32 = 30;

/// How many idle sessions a crowd has.
const CROWD: usize = 400;

/// An operation of a user, or a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A client sends an event.
    ClientEmit,
    /// A client sends an event and wants an answer.
    ClientAsk,
    /// A client sends many events at once.
    ClientBurst,
    /// The server sends an event to one socket.
    ServerEmit,
    /// The server asks one socket.
    ServerAsk,
    /// The server sends many events to one socket.
    ServerBurst,
    /// The server sends an event to rooms or to everybody.
    Broadcast,
    Join,
    Leave,
    /// A client leaves a namespace.
    ClientLeave,
    /// A client wants a namespace.
    ClientConnect,
    /// The server disconnects a socket, or its session.
    ServerLeave,
    /// A client is woken, as after sleep.
    Wake,
    /// Connections are cut, behind any byte. Each end learns of it, or only one.
    Cut,
    /// One direction of a connection stands still for a while.
    Freeze,
    /// A client's network carries nothing for a while.
    Partition,
    /// A connection swallows everything from now on.
    HalfOpen,
    /// The clock jumps.
    Jump,
    /// The server is killed and begins anew.
    Restart,
    /// The operating system tells a client that its network is gone.
    NetworkLost,
    /// A proxy repeats a request.
    Duplicate,
    /// Everything of a client ends at once.
    Vanish,
    /// The thief does something.
    Thief,
}

impl Kind {
    pub(crate) const ALL: [Self; 23] = [
        Self::ClientEmit,
        Self::ClientAsk,
        Self::ClientBurst,
        Self::ServerEmit,
        Self::ServerAsk,
        Self::ServerBurst,
        Self::Broadcast,
        Self::Join,
        Self::Leave,
        Self::ClientLeave,
        Self::ClientConnect,
        Self::ServerLeave,
        Self::Wake,
        Self::Cut,
        Self::Freeze,
        Self::Partition,
        Self::HalfOpen,
        Self::Jump,
        Self::Restart,
        Self::NetworkLost,
        Self::Duplicate,
        Self::Vanish,
        Self::Thief,
    ];

    pub(crate) fn is_fault(self) -> bool {
        self >= Self::Cut
    }

    /// How often it is drawn, compared with the others, if the seed draws it at all.
    const fn weight(self) -> u32 {
        match self {
            Self::ClientEmit | Self::ServerEmit | Self::Broadcast => 12,
            Self::ClientAsk | Self::ServerAsk | Self::Join | Self::Cut => 6,
            Self::ClientBurst | Self::ServerBurst | Self::Leave | Self::ClientConnect | Self::Freeze => 4,
            Self::ClientLeave | Self::ServerLeave | Self::HalfOpen | Self::Partition => 2,
            Self::Thief => 30,
            Self::Wake | Self::Jump | Self::Restart | Self::NetworkLost | Self::Duplicate | Self::Vanish => 1,
        }
    }
}

/// What is left out of a seed's plan, to make a failure shorter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Less {
    /// The most clients.
    pub(crate) clients: Option<usize>,
    /// The operations from this one on are left out.
    pub(crate) ops: Option<usize>,
    /// These operations are left out.
    pub(crate) skip: BTreeSet<usize>,
    /// Operations of these kinds are left out.
    pub(crate) without: BTreeSet<Kind>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) less: Less,
    pub(crate) server: Config,
    pub(crate) recovery: Option<RecoveryConfig>,
    /// Whether records and messages survive a restart.
    pub(crate) has_store: bool,
    pub(crate) clients: Vec<ClientConfig>,
    pub(crate) ops: usize,
    weights: Vec<(Kind, u32)>,
    /// The longest time between two operations, in milliseconds.
    pub(crate) pause: u64,
    pub(crate) traffic: Traffic,
    /// How many shards the server has.
    pub(crate) shards: usize,
    /// Whether several shards give a frame that waits alone out by itself.
    pub(crate) takes_frames: bool,
    /// What a thief does, if there is one.
    pub(crate) thief: Option<Habit>,
    /// Whether a proxy on the way does not know websockets: what asks for one gets no answer.
    pub(crate) swallows_websockets: bool,
    /// How many of a hundred requests for a session are refused.
    pub(crate) refuses: u32,
    /// How many of a hundred requests to join a namespace are refused.
    pub(crate) refuses_sockets: u32,
    /// How many of a hundred requests to join a namespace wait for a slow middleware.
    pub(crate) slow_accepts: u32,
    /// How many of a hundred questions are answered.
    pub(crate) answers: u32,
    /// The most bytes of an event's padding.
    pub(crate) padding: usize,
    /// How many idle sessions there are beside the clients.
    pub(crate) crowd: usize,
    /// Whether the clients have more to say than their requests can carry.
    pub(crate) pours: bool,
    /// What a seed with narrow limits has.
    pub(crate) straits: Option<Straits>,
}

impl Plan {
    pub(crate) fn draw(seed: u64, less: &Less) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x51b0_5eed);
        let mut server = server(&mut rng);
        let recovers = rng.u32(0..5) < 2;
        let recovery = recovers.then(|| recovery(&mut rng));
        let has_store = rng.bool();
        let count = [1, 1, 2, 2, 3, 4][rng.usize(0..6)];
        let mut clients: Vec<ClientConfig> = (0..count).map(|_| client(&mut rng, recovers)).collect();
        clients.truncate(less.clients.unwrap_or(count).max(1));
        let has_thief = rng.u32(0..4) == 0;
        let thief = has_thief.then(|| Habit::draw(&mut rng));
        if has_thief {
            server = against_thieves(server, &mut rng);
        }
        if clients.iter().any(|client| client.generation != Generation::Four) {
            // Servers before Engine.IO 4 do not say how much they take.
            let most = if has_thief {
                200_000
            } else {
                Config::default().max_payload
            };
            server = server.max_payload(most);
        }
        let latency = [0, 5, 40, 150][rng.usize(0..4)];
        let holds = [0, 0, 0, 60, 200][rng.usize(0..5)];
        // A ping or a pong may wait for a request that is under way, and for a proxy in each
        // direction.
        let ping_timeout = server.ping_timeout + Duration::from_millis(8 * holds);
        server = server.ping_timeout(ping_timeout);
        let mut weights = Vec::new();
        let calm = rng.u32(0..8) == 0;
        for kind in Kind::ALL {
            let is_on = rng.u32(0..10) < 6 && !(calm && kind.is_fault());
            let is_needed = kind == Kind::ServerEmit || has_thief && kind == Kind::Thief;
            if is_needed || is_on && kind != Kind::Thief {
                weights.push((kind, kind.weight() * [1, 1, 2, 5][rng.usize(0..4)]));
            }
        }
        let ops = rng.usize(20..160).min(less.ops.unwrap_or(usize::MAX));
        let mut plan = Self {
            seed,
            less: less.clone(),
            server,
            recovery,
            has_store,
            clients,
            ops,
            weights,
            pause: [20, 300, 1000, 1000, 3000][rng.usize(0..5)],
            traffic: Traffic {
                latency,
                splits: [0, 5, 30, 100][rng.usize(0..4)],
                window: [700, 4_000, 64_000, 1 << 20][rng.usize(0..4)],
                holds,
            },
            shards: [1, 1, 1, 2, 3][rng.usize(0..5)],
            thief,
            swallows_websockets: rng.u32(0..8) == 0,
            refuses: [0, 0, 0, 20, 60][rng.usize(0..5)],
            refuses_sockets: [0, 0, 0, 15, 50][rng.usize(0..5)],
            slow_accepts: [0, 0, 20][rng.usize(0..3)],
            answers: [50, 100, 100][rng.usize(0..3)],
            padding: [0, 40, 40, 900][rng.usize(0..4)],
            crowd: 0,
            takes_frames: false,
            pours: false,
            straits: None,
        };
        if rng.u32(0..CROWDED_OF) == 0 {
            plan.gather();
        }
        plan.takes_frames = rng.bool();
        if rng.u32(0..POURING_OF) == 0 && plan.thief.is_none() {
            plan.pour();
        }
        plan.narrow();
        plan.keep_little();
        plan
    }

    /// Something is done often.
    pub(crate) fn often(&mut self, kind: Kind) {
        self.weights.push((kind, Kind::Thief.weight()));
    }

    /// Clients that poll send much more than one request may carry, on a slow network on which
    /// nothing fails: what they have to say takes longer than a server waits for a pong.
    fn pour(&mut self) {
        self.pours = true;
        for client in &mut self.clients {
            let config = client.clone().generation(Generation::Four).max_silence(None);
            *client = config
                .transports(vec![Transport::Polling])
                .max_queued_bytes(1usize << 20)
                .drain_per_second(100_000u32);
        }
        (self.traffic.latency, self.traffic.holds, self.padding) = (150, 0, 900);
        self.traffic.window = self.traffic.window.max(4_000);
        self.server = self
            .server
            .clone()
            .ping_timeout(Duration::from_millis(1_200))
            .max_payload(4_000usize);
        self.weights.retain(|(kind, _)| !kind.is_fault());
        self.weights.push((Kind::ClientBurst, 30));
        self.pause = 300;
    }

    /// A crowd comes. It would not come again behind a restart, and has room beside a thief.
    fn gather(&mut self) {
        self.crowd = CROWD;
        self.weights.retain(|(kind, _)| *kind != Kind::Restart);
        let most = self.server.max_sessions + CROWD;
        self.server = self.server.clone().max_sessions(most);
    }

    /// The settings, for a person.
    pub(crate) fn words(&self) -> String {
        let mut words = format!(
            "{} operations, {} shards, takes frames {}, thief {:?}, refuses {} % and {} %, {:?}, pauses up to {} ms, padding {}, \
             slow accepts {} %, answers {} %, a crowd of {}, straits {:?}\n",
            self.ops,
            self.shards,
            self.takes_frames,
            self.thief,
            self.refuses,
            self.refuses_sockets,
            self.traffic,
            self.pause,
            self.padding,
            self.slow_accepts,
            self.answers,
            self.crowd,
            self.straits
        );
        let server = &self.server;
        words.push_str(&format!(
            "server: ping {:?} + {:?}, upgrade {:?}, queue {} bytes {} packets, {} packets a poll, payload {}, upgrades {}\n",
            server.ping_interval,
            server.ping_timeout,
            server.upgrade_timeout,
            server.max_queued_bytes,
            server.max_queued_packets,
            server.max_packets_per_poll,
            server.max_payload,
            server.allow_upgrades,
        ));
        if let Some(recovery) = &self.recovery {
            words.push_str(&format!("{recovery:?}, store {}\n", self.has_store));
        }
        for (at, client) in self.clients.iter().enumerate() {
            words.push_str(&format!(
                "c{at}: {:?} {:?}, retries {}, confirms {}, delay {:?} to {:?}, queue {}\n",
                client.generation,
                client.transports,
                client.retries,
                client.confirm_events,
                client.reconnection_delay,
                client.reconnection_delay_max,
                client.max_queued_bytes,
            ));
        }
        words
    }

    /// The random numbers of one operation. They do not depend on what other operations have drawn,
    /// so operations can be left out.
    pub(crate) fn rng(&self, op: usize) -> Rng {
        Rng::with_seed(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ op as u64)
    }

    /// Draws an operation, if it is not left out.
    pub(crate) fn kind(&self, op: usize, rng: &mut Rng) -> Option<Kind> {
        let all: u32 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.u32(0..all);
        let drawn = self.weights.iter().find(|(_, weight)| match at.checked_sub(*weight) {
            Some(rest) => {
                at = rest;
                false
            }
            None => true,
        });
        let kind = drawn.map(|(kind, _)| *kind)?;
        let is_left_out = self.less.skip.contains(&op) || self.less.without.contains(&kind);
        (!is_left_out).then_some(kind)
    }
}

fn server(rng: &mut Rng) -> Config {
    let millis = |rng: &mut Rng, from, to| Duration::from_millis(rng.u64(from..to));
    let mut config = Config::default()
        .ping_interval(millis(rng, 800, 5000))
        .ping_timeout(millis(rng, 1000, 4000))
        .connect_timeout(millis(rng, 3000, 6000))
        .upgrade_timeout(millis(rng, 1500, 5000))
        .close_timeout(millis(rng, 1000, 4000))
        .attachment_timeout(Duration::from_secs(3))
        .max_packets_per_poll([1, 4, 16][rng.usize(0..3)])
        .engine3_connect_at_once(rng.bool())
        .engine3_binary_polls(rng.bool());
    if rng.u32(0..3) == 0 {
        config = config
            .max_queued_bytes([3_000, 20_000][rng.usize(0..2)])
            .max_queued_packets([12, 60][rng.usize(0..2)]);
    }
    if rng.u32(0..4) == 0 {
        config = config.max_payload(8_000usize).max_bytes_per_poll(2_000usize);
    }
    if rng.u32(0..6) == 0 {
        config = config.allow_upgrades(false);
    }
    let (interval, timeout) = (millis(rng, 900, 2500), millis(rng, 2500, 4000));
    let mut old = config.legacy09.clone();
    old = old.heartbeat_interval(interval).heartbeat_timeout(timeout);
    config.legacy09 = old
        .poll_duration(interval)
        .close_timeout(timeout)
        .open_timeout(Duration::from_secs(4));
    let mut older = config.legacy06.clone().mount(STREAMING, Streaming);
    older = older.heartbeat_interval(interval).heartbeat_timeout(timeout);
    config.legacy06 = older.poll_duration(interval).reconnect_timeout(timeout);
    config
}

/// Limits that a thief can reach.
pub(crate) fn against_thieves(mut server: Config, rng: &mut Rng) -> Config {
    // Of a client of an old wire that is away wait no more messages than of others.
    server.legacy09 = server.legacy09.max_pending_messages(40usize);
    server.legacy06 = server.legacy06.max_pending_messages(40usize);
    let hosts = match Hosts::list([HOST]) {
        Ok(hosts) => hosts,
        Err(error) => panic!("{HOST}: {error}"),
    };
    server
        .hosts(hosts)
        .max_sessions(40usize)
        .max_sessions_per_address(rng.usize(4..12))
        .max_queued_bytes([3_000, 20_000][rng.usize(0..2)])
        .max_queued_packets([40, 100][rng.usize(0..2)])
        .max_handshake_bytes(1_000usize)
        .max_auth_bytes(1_000usize)
        .max_blocked_bytes(4_000usize)
        .max_connects_per_second(20usize)
        .max_payload([16_000, 30_000][rng.usize(0..2)])
}

fn recovery(rng: &mut Rng) -> RecoveryConfig {
    let config = RecoveryConfig::default().window(Duration::from_secs(rng.u64(3..30)));
    match rng.u32(0..4) {
        0 => config.max_log_packets(rng.usize(2..20)),
        1 => config.max_away(1usize),
        _ => config,
    }
}

fn client(rng: &mut Rng, recovers: bool) -> ClientConfig {
    use Transport::{Polling, WebSocket};
    let generation = match rng.u32(0..10) {
        0 => Generation::V0_9,
        1 => Generation::V0_6,
        2 => Generation::Streaming,
        3 | 4 => Generation::Two,
        _ => Generation::Four,
    };
    let transports = [
        &[Polling][..],
        &[WebSocket],
        &[Polling, WebSocket],
        &[Polling, WebSocket],
    ][rng.usize(0..4)];
    let is_plain = matches!(generation, Generation::V0_6 | Generation::Streaming);
    let delay = rng.u64(100..1500);
    let mut config = ClientConfig::default()
        .generation(generation)
        .transports(transports.to_vec())
        .connect_timeout(Duration::from_secs(3))
        .upgrade_timeout(Duration::from_secs(2))
        .upgrade_pause(Duration::from_secs(1))
        .reconnection_delay(Duration::from_millis(delay))
        .reconnection_delay_max(Duration::from_millis(delay.max(rng.u64(500..5000))))
        .max_attempts_per_minute(10_000usize)
        .ack_timeout(Duration::from_secs(4))
        .close_with_last(rng.bool())
        .remember_upgrade(rng.bool())
        .provider(rng.u32(0..4) == 0)
        .max_silence(is_plain.then_some(Duration::from_millis(3500)));
    if !is_plain && rng.u32(0..4) == 0 {
        config = config.retries(2u32).retry_window(rng.usize(1..4));
    }
    if recovers && generation == Generation::Four && rng.bool() {
        config = config.confirm_events(true).max_unconfirmed(rng.usize(2..64));
    }
    if rng.u32(0..4) == 0 {
        config = config.max_queued_bytes(3_000usize);
    }
    if rng.u32(0..5) == 0 {
        config = config.drain_per_second(30u32);
    }
    config
}
