//! The world of one seed: the server, the clients, the connections between them, and the time.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use fastrand::Rng;
use sio_proto::client::{AckTicket, Client, ClientConfig, EmitId, Endpoint, Generation, SocketId};
use sio_proto::server::{Auth, Generation as ServerGeneration, Peer as PeerAddress};
use sio_proto::{LinkId, Time};

use crate::comeback::Comebacks;
use crate::content::Shape;
use crate::crowd::Crowd;
use crate::door::Door;
use crate::effort::{Effort, Slow};
use crate::held::Held;
use crate::host::{Host, Socket};
use crate::life::Lives;
use crate::model::{Members, Place};
use crate::names::Names;
use crate::network::Wire;
use crate::orders::Paid;
use crate::payer::{Deed, Payer};
use crate::plan::{Plan, STREAMING};
use crate::rogue::Siege;
use crate::roll::Roll;
use crate::terms::Terms;
use crate::thief::Thief;
use crate::transcript::{Mode, Transcript};
use crate::violation::{Promise, Violation};
use crate::work::{Account, Spent};

/// The namespaces.
pub(crate) const NAMESPACES: [&str; 2] = ["/", "/a"];

/// The rooms.
pub(crate) const ROOMS: [&str; 3] = ["red", "green", "blue"];

/// How often clients are told what the server has had.
const SWEEP: Duration = Duration::from_secs(1);

/// The first number of a message of the server: a client's events have smaller ones.
pub(crate) const FIRST_NUMBER: u64 = 1_000_000;

/// The size of the buffer into which the server's bytes are read: more than a session may hold in a
/// seed with a thief, so that a few bytes which keep their buffer are seen.
pub(crate) const READ: usize = 96 << 10;

/// How many steps may be done at one moment.
const MOST_STEPS: u32 = 20_000;

/// Writes a line into the transcript.
macro_rules! note {
    ($world:expr, $($words:tt)*) => {
        $world.transcript.note($world.now, format_args!($($words)*))
    };
}
pub(crate) use note;

/// A client, and what is known of it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) payer: Payer,
    pub(crate) config: ClientConfig,
    pub(crate) sockets: Vec<SocketId>,
    /// The namespace and the number of each event.
    pub(crate) emits: BTreeMap<EmitId, (usize, usize)>,
    pub(crate) tickets: Vec<(AckTicket, u64)>,
    /// When a fault last touched the client.
    pub(crate) trouble: Time,
    /// Until when its network carries nothing.
    pub(crate) cut_off: Time,
    /// When its session last moved to websocket.
    pub(crate) upgraded: Option<Time>,
    /// Whether a proxy has repeated one of its requests. Then nothing is promised for its messages.
    pub(crate) is_doubled: bool,
    /// Whether it is no client at all, but a thief.
    pub(crate) is_thief: bool,
    /// When it last heard of the server.
    pub(crate) heard: Time,
    /// The last request that it has written, for a proxy that repeats it.
    pub(crate) request: (Option<LinkId>, Vec<u8>),
}

impl Peer {
    /// Whether its wire may lose what was on the way, and go on (G14, G15).
    pub(crate) const fn is_old(&self) -> bool {
        matches!(
            self.config.generation,
            Generation::V0_9 | Generation::V0_6 | Generation::Streaming
        )
    }

    /// Whether its wire has plain messages only.
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self.config.generation, Generation::V0_6 | Generation::Streaming)
    }
}

/// A socket that waits for a slow middleware.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) at: Time,
    pub(crate) socket: Socket,
    pub(crate) auth: Auth,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    /// The network's random numbers.
    pub(crate) rng: Rng,
    pub(crate) now: Time,
    pub(crate) server: Host,
    /// Who may open a session.
    pub(crate) door: Door,
    /// When the server and the clients last heard of each other.
    pub(crate) lives: Lives,
    /// How long sessions are what they are.
    pub(crate) terms: Terms,
    /// The namespaces and rooms that a thief has named.
    pub(crate) names: Names,
    /// The client whose bytes the server handles now.
    pub(crate) giving: Option<usize>,
    /// How long inputs may take.
    pub(crate) effort: Effort,
    pub(crate) thief: Option<Thief>,
    pub(crate) held: Held,
    /// What the server holds without any client.
    pub(crate) baseline: isize,
    /// What the server holds with nobody at all.
    pub(crate) empty: isize,
    /// The most sessions, connections and sockets that this server has had at one time.
    pub(crate) peak: usize,
    pub(crate) crowd: Crowd,
    pub(crate) account: Account,
    /// Orders whose price is not compared yet.
    pub(crate) orders: Vec<Paid>,
    /// How many bytes stood behind requests that were answered, and how many of them had come
    /// before the input that was handled then.
    pub(crate) released: (usize, usize),
    pub(crate) peers: Vec<Peer>,
    pub(crate) places: Vec<Place>,
    pub(crate) members: Members,
    /// How each message of the server looks, by its number.
    pub(crate) shapes: BTreeMap<u64, Shape>,
    /// Who has to answer when all is quiet.
    pub(crate) roll: Roll,
    pub(crate) comebacks: Option<Comebacks>,
    pub(crate) asking: Vec<Asking>,
    pub(crate) wires: BTreeMap<u64, Wire>,
    pub(crate) at_client: BTreeMap<(usize, LinkId), u64>,
    pub(crate) at_server: BTreeMap<LinkId, u64>,
    /// The next number of anything that is counted.
    pub(crate) next: u64,
    pub(crate) restarts: u64,
    pub(crate) faults: u64,
    pub(crate) steps: u64,
    /// How many events the server has heard.
    pub(crate) heard: usize,
    /// How many outputs the server has had.
    pub(crate) outputs: u64,
    /// How many bytes the server has had for connections.
    pub(crate) written: u64,
    pub(crate) transcript: Transcript,
    pub(crate) failure: Option<Violation>,
    pub(crate) is_calm: bool,
    /// When clients are told next what the server has had.
    sweep: Time,
}

/// What a seed has come to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) time: Duration,
    pub(crate) faults: u64,
    pub(crate) steps: u64,
    pub(crate) hash: u64,
    pub(crate) failure: Option<Violation>,
    pub(crate) lines: Vec<String>,
    /// The inputs that took too long.
    pub(crate) slow: Vec<Slow>,
}

impl Report {
    /// There was a panic before anything else could be known.
    pub(crate) fn of_panic(words: &str) -> Self {
        Self {
            time: Duration::ZERO,
            faults: 0,
            steps: 0,
            hash: 0,
            failure: Some(Violation {
                promise: Promise::Conduct,
                words: format!("panic: {words}"),
            }),
            lines: Vec::new(),
            slow: Vec::new(),
        }
    }

    /// The client of the seed had a server that says what it likes, too.
    pub(crate) fn and(mut self, siege: Siege) -> Self {
        self.time += siege.time;
        self.steps += siege.steps;
        self.hash ^= siege.hash;
        if siege.failure.is_some() {
            self.lines.clear();
        }
        self.lines.extend(siege.lines);
        self.failure = siege.failure;
        self
    }
}

/// Random numbers for a machine.
pub(crate) fn entropy(seed: u64) -> impl FnMut(&mut [u8]) + Send {
    let mut rng = Rng::with_seed(seed);
    move |out: &mut [u8]| rng.fill(out)
}

/// The address of a client.
pub(crate) const fn address(client: usize) -> PeerAddress {
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, client as u8 + 1));
    PeerAddress {
        address: Some(SocketAddr::new(ip, 4000)),
        secure: false,
    }
}

impl World {
    pub(crate) fn new(plan: Plan, mode: Mode, effort: Effort) -> Self {
        let mut held = Held::default();
        let seed = plan.seed;
        let door = Door::new(seed, plan.refuses);
        let (server, comebacks) = held.charge(|| (Host::new(&plan, 0, &door), Comebacks::new(&plan, 0)));
        let clients = plan.clients.iter().enumerate();
        let mut peers: Vec<Peer> = clients.map(|(at, config)| peer(seed, at, config)).collect();
        let thief = plan.thief.map(|habit| Thief::new(peers.len(), habit));
        if thief.is_some() {
            let mut thief = peer(seed, peers.len(), &ClientConfig::default());
            (thief.is_thief, thief.is_doubled) = (true, true);
            thief.sockets.clear();
            peers.push(thief);
        }
        let places = (0..peers.len() * NAMESPACES.len()).map(|_| Place::default()).collect();
        Self {
            rng: Rng::with_seed(seed ^ 0xface),
            now: Time::from_millis(1),
            server,
            door,
            lives: Lives::default(),
            terms: Terms::default(),
            names: Names::default(),
            giving: None,
            effort,
            thief,
            baseline: held.bytes,
            empty: held.bytes,
            peak: 0,
            crowd: Crowd::default(),
            account: Account::default(),
            orders: Vec::new(),
            released: (0, 0),
            held,
            peers,
            places,
            members: Members::new(),
            shapes: BTreeMap::new(),
            roll: Roll::default(),
            comebacks,
            asking: Vec::new(),
            wires: BTreeMap::new(),
            at_client: BTreeMap::new(),
            at_server: BTreeMap::new(),
            next: FIRST_NUMBER,
            restarts: 0,
            faults: 0,
            steps: 0,
            heard: 0,
            outputs: 0,
            written: 0,
            transcript: Transcript::new(mode),
            failure: None,
            is_calm: false,
            sweep: Time::ZERO + SWEEP,
            plan,
        }
    }

    /// Runs the whole seed.
    pub(crate) fn run(&mut self) {
        self.gather();
        for client in 0..self.users() {
            self.connect_all(client);
        }
        for op in 0..self.plan.ops {
            if self.failure.is_some() {
                break;
            }
            let mut rng = self.plan.rng(op);
            let pause = Duration::from_millis(rng.u64(0..self.plan.pause));
            self.advance(self.now + pause);
            if let Some(kind) = self.plan.kind(op, &mut rng) {
                note!(self, "op {op} {kind:?}");
                self.operate(kind, &mut rng);
                self.settle();
                self.check();
            }
        }
        if self.failure.is_none() {
            self.calm_down();
        }
        if self.failure.is_none() {
            self.call_roll();
        }
        if self.failure.is_none() {
            self.say_goodbye();
        }
        if self.failure.is_none() && self.held.steps == 0 {
            self.fail(
                Promise::Conduct,
                format_args!("no step was counted, so nothing was checked"),
            );
        }
    }

    /// What the seed has come to.
    pub(crate) fn report(&mut self) -> Report {
        Report {
            time: self.now.saturating_since(Time::ZERO),
            faults: self.faults,
            steps: self.steps,
            hash: self.transcript.hash(),
            failure: self.failure.take(),
            lines: self.transcript.take_lines(),
            slow: std::mem::take(&mut self.effort.slow),
        }
    }

    /// How many peers are clients.
    pub(crate) fn users(&self) -> usize {
        self.plan.clients.len()
    }

    /// Lets time pass until `end`, and does everything that is due on the way.
    pub(crate) fn advance(&mut self, end: Time) {
        self.settle();
        let mut steps = 0;
        while self.failure.is_none() {
            let Some(next) = self.next().filter(|next| *next <= end) else {
                break;
            };
            steps = if next > self.now { 0 } else { steps + 1 };
            if steps > MOST_STEPS {
                let server = self.server.next_timeout();
                self.fail(
                    Promise::Conduct,
                    format_args!("time stands still; the server wants {server:?}"),
                );
            }
            self.now = self.now.max(next);
            self.step();
            self.check();
        }
        self.now = self.now.max(end);
    }

    /// When something happens next.
    fn next(&self) -> Option<Time> {
        let clients = self.peers.iter().filter_map(|peer| peer.payer.client().next_timeout());
        let asking = self.asking.iter().map(|asking| asking.at);
        let wires = self.wires.values().filter_map(|wire| self.next_of(wire));
        let others = [
            self.comebacks.as_ref().map(|_| self.sweep),
            self.server.next_timeout(),
            self.next_of_thief(),
            self.comebacks.as_ref().and_then(Comebacks::next_timeout),
        ];
        others
            .into_iter()
            .flatten()
            .chain(clients)
            .chain(asking)
            .chain(wires)
            .min()
    }

    /// Does everything that is due.
    fn step(&mut self) {
        self.steps += 1;
        let now = self.now;
        let wires: Vec<_> = self.wires.keys().copied().collect();
        for wire in wires {
            self.carry(wire);
        }
        for at in 0..self.peers.len() {
            let payer = &mut self.peers[at].payer;
            if payer.client().next_timeout().is_some_and(|time| time <= now) {
                payer.handle_timeout(now);
                self.settle();
            }
        }
        if self.server.next_timeout().is_some_and(|time| time <= now) {
            self.handle_deadlines();
        }
        if let Some(comebacks) = &mut self.comebacks {
            self.held.charge(|| comebacks.handle_timeout(now));
        }
        self.wake_thief();
        if self.comebacks.is_some() && self.sweep <= now {
            self.sweep = now + SWEEP;
            self.confirm_all();
            self.settle();
        }
        while let Some(at) = self.asking.iter().position(|asking| asking.at <= now) {
            let Asking { socket, auth, .. } = self.asking.swap_remove(at);
            self.accept(socket, &auth);
            self.settle();
        }
    }

    /// Notes the first promise that is broken.
    pub(crate) fn fail(&mut self, promise: Promise, words: fmt::Arguments<'_>) {
        if self.failure.is_none() {
            let words = words.to_string();
            note!(self, "VIOLATION {promise:?} {words}");
            self.failure = Some(Violation { promise, words });
        }
    }

    pub(crate) fn place(&mut self, client: usize, namespace: usize) -> &mut Place {
        &mut self.places[client * NAMESPACES.len() + namespace]
    }

    pub(crate) const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Gives bytes to the server, which pays for them from here on. The work of one input is
    /// bounded by its size and by what comes out.
    ///
    /// Bytes of which nothing comes out yet belong to the same input as those behind them.
    pub(crate) fn give_server(&mut self, number: u64, link: LinkId, bytes: &[u8]) {
        let now = self.now;
        let size = self.note_arrival(number, link, bytes);
        let outputs = self.outputs;
        self.giving = self.wires.get(&number).map(|wire| wire.client);
        let heard = self.heard;
        self.door.begin_input();
        let begun = self.effort.begin();
        // A caller reads into a large buffer. What is kept of it must not keep the buffer.
        let mut buffer = self.held.charge(|| {
            let mut buffer = BytesMut::with_capacity(READ.max(bytes.len()));
            buffer.extend_from_slice(bytes);
            buffer
        });
        let before = self.before();
        self.held.charge(|| {
            self.server.handle_bytes(now, link, &mut buffer);
            drop(buffer);
        });
        self.check_effort(size, begun);
        self.check_door();
        let after = self.held;
        self.settle();
        self.giving = None;
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.heard += self.heard - heard;
        }
        if self.heard > heard {
            self.note_complete(number);
        }
        self.check_posted(number);
        self.check_turned_away();
        self.check_work(number, size, before, after);
        if let Some(wire) = self.wires.get_mut(&number)
            && self.outputs > outputs
        {
            // What has come out may concern others, and a line may be arriving since long before.
            wire.spent = Spent::behind(bytes.len().max(wire.line.begun()));
        }
        self.note_waiting(number);
        self.note_sign_of(number);
    }

    /// Connects all namespaces of a client.
    pub(crate) fn connect_all(&mut self, client: usize) {
        let now = self.now;
        let peer = &mut self.peers[client];
        for socket in &peer.sockets {
            let connected = peer.payer.act(Deed::Other(0), |client| client.connect(now, *socket));
            debug_assert!(connected.is_ok());
        }
    }

    /// Whether a socket is of a generation whose wire has plain messages only.
    pub(crate) fn is_plain(generation: ServerGeneration) -> bool {
        generation == ServerGeneration::Legacy06
    }
}

fn peer(seed: u64, at: usize, config: &ClientConfig) -> Peer {
    let mut endpoint = match Endpoint::parse("http://sim.example:3000") {
        Ok(endpoint) => endpoint,
        Err(error) => panic!("{error}"),
    };
    if config.generation == Generation::Streaming {
        endpoint = endpoint.with_path(STREAMING);
    }
    let random = Box::new(entropy(seed ^ (at as u64 + 1) << 32));
    let mut payer = Payer::new(config, NAMESPACES.len(), || {
        match Client::new(endpoint, config.clone(), random) {
            Ok(client) => client,
            Err(error) => panic!("seed {seed} draws settings of no use: {error}"),
        }
    });
    let make = |name: &&str| payer.act(Deed::Other(0), |client| client.socket(name).ok());
    let sockets = NAMESPACES.iter().filter_map(make).collect();
    Peer {
        payer,
        config: config.clone(),
        sockets,
        emits: BTreeMap::new(),
        tickets: Vec::new(),
        trouble: Time::ZERO,
        cut_off: Time::ZERO,
        upgraded: None,
        is_doubled: false,
        is_thief: false,
        heard: Time::ZERO,
        request: (None, Vec::new()),
    }
}
