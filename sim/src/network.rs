//! The simulated network: connections between clients and the server.

use std::fmt;
use std::time::Duration;

use sio_proto::client::{Generation, Transport};
use sio_proto::server::{Cause, Generation as ServerGeneration, TransportKind};
use sio_proto::{LinkId, Time};

use crate::host::Socket;
use crate::life::Line;
use crate::model::Member;
use crate::orders::Order;
use crate::payer::Deed;
use crate::pipe::Pipe;
use crate::violation::Promise;
use crate::work::Spent;
use crate::world::{World, address, note};

/// How long a GET may be held after its session has moved to a websocket.
const HELD: Duration = Duration::from_secs(1);

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) client: usize,
    /// The name that the client has for it, as long as it has not closed it.
    pub(crate) at_client: Option<LinkId>,
    /// The name that the server has for it, as long as it has not closed it.
    pub(crate) at_server: Option<LinkId>,
    /// When it is established, if it is not yet.
    connecting: Option<Time>,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// Whether it swallows everything.
    pub(crate) is_dead: bool,
    /// Whether it was cut: nothing that is written from now on can arrive.
    pub(crate) is_cut: bool,
    /// What the client asks for.
    pub(crate) line: Line,
    /// Since when the server cannot write a byte, while it has some, and how many it has.
    pub(crate) stuck: Option<(Time, usize)>,
    /// How many bytes the server was given.
    pub(crate) given: usize,
    /// How many bytes of the server are, or were a few steps ago, under way.
    pub(crate) under_way: usize,
    /// What has been given since the last output, and what it has cost.
    pub(crate) spent: Spent,
    /// Since when a GET is held on it although its session has moved.
    pub(crate) held: Option<Time>,
    /// Whether the client reads at all.
    pub(crate) reads: bool,
    /// How many events have come with its input.
    pub(crate) heard: usize,
    /// How many answers to probes have left on it.
    pub(crate) probes: usize,
}

impl Wire {
    /// The connection is established by then, if it is not yet.
    pub(crate) fn hurry(&mut self, by: Time) {
        self.connecting = self.connecting.map(|at| at.min(by));
    }
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

impl World {
    /// A client opens a connection.
    pub(crate) fn open(&mut self, client: usize, link: LinkId) {
        let way = Duration::from_micros(self.rng.u64(1..=self.plan.traffic.latency * 1000 + 1));
        let number = self.number();
        let cut_off = self.peers[client].cut_off;
        let mut wire = Wire {
            client,
            at_client: Some(link),
            at_server: None,
            connecting: Some((self.now + way).max(cut_off)),
            up: Pipe::default(),
            down: Pipe::default(),
            is_dead: false,
            is_cut: false,
            line: Line::default(),
            stuck: None,
            given: 0,
            under_way: 0,
            spent: Spent::default(),
            held: None,
            reads: true,
            heard: 0,
            probes: 0,
        };
        (wire.up.frozen, wire.down.frozen) = (cut_off, cut_off);
        self.at_client.insert((client, link), number);
        self.wires.insert(number, wire);
    }

    /// Somebody else than a client opens a connection.
    pub(crate) fn open_ghost(&mut self, client: usize) -> u64 {
        let number = self.number();
        let link = self.held.charge(|| self.server.open(address(client)));
        let wire = Wire {
            client,
            at_client: None,
            at_server: Some(link),
            connecting: None,
            up: Pipe::default(),
            down: Pipe::default(),
            is_dead: false,
            is_cut: false,
            line: Line::default(),
            stuck: None,
            given: 0,
            under_way: 0,
            spent: Spent::default(),
            held: None,
            reads: true,
            heard: 0,
            probes: 0,
        };
        self.at_server.insert(link, number);
        self.wires.insert(number, wire);
        number
    }

    /// When something happens on a connection.
    pub(crate) fn next_of(&self, wire: &Wire) -> Option<Time> {
        if wire.is_dead {
            return None;
        }
        if wire.connecting.is_some() {
            return wire.connecting;
        }
        let reads = wire.at_server.is_none_or(|link| self.server.wants_bytes(link));
        let up = wire.up.next().filter(|_| reads);
        [up, wire.down.next()].into_iter().flatten().min()
    }

    /// A proxy that does not know websockets swallows the request for one. Only clients that can do
    /// without meet such a proxy.
    pub(crate) fn swallow(&mut self, client: usize, number: u64, bytes: &[u8]) {
        let config = &self.peers[client].config;
        let can_poll = config.transports.first() == Some(&Transport::Polling);
        let is_engine = matches!(config.generation, Generation::Four | Generation::Two);
        if self.plan.swallows_websockets
            && can_poll
            && is_engine
            && bytes.windows(9).any(|part| part == b"Upgrade: ")
            && let Some(wire) = self.wires.get_mut(&number)
        {
            wire.is_dead = true;
        }
    }

    /// One end writes.
    pub(crate) fn write(&mut self, number: u64, way: Way, bytes: &[u8]) {
        let (now, traffic) = (self.now, self.plan.traffic);
        let Some(wire) = self.wires.get_mut(&number).filter(|wire| !wire.is_cut) else {
            return;
        };
        let pipe = match way {
            Way::Up => &mut wire.up,
            Way::Down => &mut wire.down,
        };
        pipe.push(now, bytes, traffic, &mut self.rng);
        self.tell_room(number, way);
    }

    /// Tells the sender whether it has to wait.
    fn tell_room(&mut self, number: u64, way: Way) {
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let pipe = match way {
            Way::Up => &mut wire.up,
            Way::Down => &mut wire.down,
        };
        let kept = pipe.kept_back(now, self.plan.traffic);
        let was_blocked = std::mem::replace(&mut pipe.blocked, kept > 0);
        if way == Way::Down {
            let progress = wire.stuck.is_none_or(|(_, before)| kept < before);
            let since = wire.stuck.filter(|_| !progress).map_or(now, |(since, _)| since);
            wire.stuck = (kept > 0).then_some((since, kept));
            if progress && (kept > 0 || was_blocked) {
                self.note_sign_of(number);
            }
        }
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        match (way, wire.at_client, wire.at_server) {
            (Way::Down, _, Some(link)) if kept > 0 => {
                let before = self.held.steps;
                self.held.charge(|| self.server.handle_blocked(now, link, kept));
                self.note_order(Order::Connection { bytes: 0 }, before);
            }
            (Way::Down, _, Some(link)) if was_blocked => {
                let before = self.held.steps;
                self.held.charge(|| self.server.handle_drained(now, link));
                let bytes = self.most_unread(number);
                self.note_order(Order::Connection { bytes }, before);
            }
            (Way::Up, Some(link), _) if kept > 0 && !was_blocked => {
                let payer = &mut self.peers[wire.client].payer;
                payer.act(Deed::Other(0), |client| client.handle_blocked(now, link));
            }
            (Way::Up, Some(link), _) if kept == 0 && was_blocked => {
                let payer = &mut self.peers[wire.client].payer;
                payer.act(Deed::Other(0), |client| client.handle_drained(now, link));
            }
            _ => {}
        }
    }

    /// Carries what is due on one connection.
    pub(crate) fn carry(&mut self, number: u64) {
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&number).filter(|wire| !wire.is_dead) else {
            return;
        };
        if let Some(at) = wire.connecting {
            if at <= now {
                wire.connecting = None;
                self.establish(number);
                self.settle();
            }
            return;
        }
        self.carry_up(number);
        self.carry_down(number);
    }

    fn establish(&mut self, number: u64) {
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let Some(link) = wire.at_client else {
            // The client has given up.
            self.wires.remove(&number);
            return;
        };
        let client = wire.client;
        let at_server = self.held.charge(|| self.server.open(address(client)));
        wire.at_server = Some(at_server);
        self.at_server.insert(at_server, number);
        let now = self.now;
        let payer = &mut self.peers[client].payer;
        payer.act(Deed::Other(0), |client| client.handle_connected(now, link));
    }

    fn carry_up(&mut self, number: u64) {
        loop {
            let now = self.now;
            let Some(wire) = self.wires.get_mut(&number) else {
                return;
            };
            if wire.at_server.is_some_and(|link| !self.server.wants_bytes(link)) {
                return;
            }
            let bytes = wire.up.pop(now, &mut self.rng);
            match (bytes, wire.at_server) {
                (Some(bytes), Some(link)) => {
                    note!(self, "c{} > w{number} {}", wire.client, Short(&bytes));
                    self.give_server(number, link, &bytes);
                    self.tell_room(number, Way::Up);
                    self.settle();
                }
                (Some(_), None) => self.tell_room(number, Way::Up),
                (None, at_server) if wire.up.has_ended(now) => {
                    note!(self, "c{} > w{number} ends", wire.client);
                    self.note_sign_of(number);
                    let ending = self.sockets_on(number);
                    self.forget(number);
                    if let Some(link) = at_server {
                        self.close_at_server(link, None, Cause::Closed);
                    }
                    return self.check_ended(&ending);
                }
                (None, _) => return,
            }
        }
    }

    fn carry_down(&mut self, number: u64) {
        loop {
            let now = self.now;
            let Some(wire) = self.wires.get_mut(&number) else {
                return;
            };
            let client = wire.client;
            let bytes = wire.down.pop(now, &mut self.rng);
            match (bytes, wire.at_client) {
                (Some(bytes), Some(link)) => {
                    note!(self, "c{client} < w{number} {}", Short(&bytes));
                    self.peers[client].heard = now;
                    self.peers[client].payer.handle_bytes(now, link, &bytes);
                    self.tell_room(number, Way::Down);
                    self.settle();
                }
                (Some(bytes), None) => {
                    if self.peers[client].is_thief {
                        self.thief_reads(&bytes);
                    }
                    self.tell_room(number, Way::Down);
                    self.settle();
                }
                (None, at_client) if wire.down.has_ended(now) => {
                    note!(self, "c{client} < w{number} ends");
                    self.forget(number);
                    if let Some(link) = at_client {
                        self.peers[client].payer.handle_closed(now, link);
                    }
                    return self.settle();
                }
                (None, _) => return,
            }
        }
    }

    /// The client has closed a connection.
    pub(crate) fn close_by_client(&mut self, client: usize, link: LinkId) {
        let Some(number) = self.at_client.remove(&(client, link)) else {
            return;
        };
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        wire.at_client = None;
        wire.up.finish(self.now);
        if wire.connecting.is_some() || (wire.is_dead && wire.at_server.is_none()) {
            self.forget(number);
        }
    }

    /// The server has closed a connection.
    pub(crate) fn close_by_server(&mut self, link: LinkId) {
        let Some(number) = self.at_server.remove(&link) else {
            return;
        };
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        wire.at_server = None;
        wire.up.clear();
        wire.down.finish(self.now);
        if wire.is_dead && wire.at_client.is_none() {
            self.forget(number);
        }
    }

    /// Tells the server that a connection is gone. If it could not be written to, `kept` bytes were
    /// not written: it may be less than what the server has heard last.
    pub(crate) fn close_at_server(&mut self, link: LinkId, kept: Option<usize>, cause: Cause) {
        let (now, items) = (self.now, self.ending_on(link));
        let before = self.held.steps;
        self.held.charge(|| {
            if let Some(kept) = kept {
                self.server.handle_blocked(now, link, kept);
            }
            self.server.handle_closed(now, link, cause);
        });
        let kept = kept.unwrap_or_default();
        self.note_order(Order::Closed { items, kept }, before);
    }

    /// The sockets whose session has this connection as its websocket, and ends with it.
    pub(crate) fn sockets_on(&mut self, number: u64) -> Vec<Socket> {
        let now = self.now;
        let wire = self.wires.get(&number).filter(|wire| wire.line.is_websocket());
        let link = wire.and_then(|wire| wire.at_server);
        let Some((shard, session)) = link.and_then(|link| self.server.session_on(now, link)) else {
            return Vec::new();
        };
        let Self { members, server, .. } = self;
        let is_here = |(socket, member): &(&Socket, &Member)| {
            socket.shard == shard && member.generation != ServerGeneration::Legacy06
        };
        let ends = |socket: &Socket| {
            server.shard(now, shard, |shard, _| {
                shard.session_of(socket.key) == Some(session)
                    && shard.transport(socket.key) == Some(TransportKind::WebSocket)
            })
        };
        let here = members.iter().filter(is_here).map(|(socket, _)| *socket);
        here.filter(ends).collect()
    }

    /// Promise 5: a session ends with its websocket.
    pub(crate) fn check_ended(&mut self, sockets: &[Socket]) {
        self.settle();
        if let Some(socket) = sockets.iter().find(|socket| self.members.contains_key(socket)) {
            let words = format_args!("{socket:?} lives on without its websocket");
            self.fail(Promise::Disconnect, words);
        }
    }

    /// Promise 9: a GET is not held when its session has moved to a websocket.
    pub(crate) fn check_held(&mut self) {
        let now = self.now;
        let wires: Vec<_> = self
            .wires
            .iter()
            .filter_map(|(number, wire)| Some((*number, wire.at_server?)))
            .collect();
        for (number, link) in wires {
            let is_stale = self.server.session_on(now, link).is_some_and(|(shard, session)| {
                self.server.shard(now, shard, |shard, _| {
                    shard.holds(link) && shard.engine_transport(session) == Some(TransportKind::WebSocket)
                })
            });
            let Some(wire) = self.wires.get_mut(&number) else {
                continue;
            };
            let since = is_stale.then(|| wire.held.unwrap_or(now));
            wire.held = since;
            if since.is_some_and(|since| now.saturating_since(since) > HELD) {
                let words = format_args!("w{number} holds a GET, and its session is a websocket");
                self.fail(Promise::Upgrade, words);
            }
        }
    }

    /// Forgets a connection.
    pub(crate) fn forget(&mut self, number: u64) -> Option<Wire> {
        let wire = self.wires.remove(&number)?;
        if let Some(link) = wire.at_client {
            self.at_client.remove(&(wire.client, link));
        }
        if let Some(link) = wire.at_server {
            self.at_server.remove(&link);
        }
        Some(wire)
    }
}

/// The beginning of some bytes, for a transcript.
struct Short<'a>(&'a [u8]);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beginning = self.0.get(..90).unwrap_or(self.0);
        write!(f, "{} {:?}", self.0.len(), String::from_utf8_lossy(beginning))
    }
}
