//! When each session was last heard of: a dead peer has to be given up in time (promise 8).
//!
//! A *sign of life* of a session is a byte from its client, the end of one of its connections, or a
//! byte that a full connection takes. A session may outlive its last sign by the time of a
//! heartbeat and its answer, and no longer. Which session a connection serves is read from the
//! lines of its requests, or asked from the shard for a websocket.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sio_proto::server::Generation;
use sio_proto::{LinkId, SessionKey, Time};

use crate::host::Socket;
use crate::violation::Promise;
use crate::world::{NAMESPACES, READ, World};

/// What the protocol itself says may wait in addition to messages, and what a connection adds to
/// what it still has to write.
const CONTROL: usize = 20 << 10;

/// A session of one of the shards.
pub(crate) type Session = (usize, SessionKey);

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Lives {
    pub(crate) signs: BTreeMap<Session, Time>,
    /// When the client of each session last came for packets.
    pub(crate) polls: BTreeMap<Session, Time>,
    /// The connection on which a client waits for packets of its session.
    gets: BTreeMap<Session, u64>,
    /// How many namespaces each session has asked for in a second, and which second this is.
    asks: BTreeMap<Session, (u64, usize)>,
}

/// The line of the request that is arriving on a connection.
#[derive(Debug, Default)]
pub(crate) struct Line {
    bytes: Vec<u8>,
    /// How many of these bytes have been searched for the end of the line.
    searched: usize,
    /// The session that the last complete line names.
    session: Option<Session>,
    is_websocket: bool,
    /// Whether the last complete line is that of a POST.
    is_post: bool,
    /// How many POSTs have begun.
    posts: usize,
    /// The requests that have no answer yet.
    waiting: VecDeque<Waiting>,
}

/// A request that has no answer yet.
#[derive(Debug)]
struct Waiting {
    /// Its session, if it asks for packets.
    session: Option<Session>,
    /// How many bytes it has, with what stands behind it.
    bytes: usize,
    /// How many of them came before the present input.
    before: usize,
    /// How many of them came in the input in which it began. Those behind may already belong to a
    /// request whose line is not complete.
    first: usize,
    /// Whether its answer is endless, if it is not refused.
    is_endless: bool,
    /// Whether an endless answer has begun.
    streams: bool,
}

/// The first bytes of an answer that may be endless.
const OK: &[u8] = b"HTTP/1.1 200";

/// The end of an endless answer.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Line {
    /// Whether the last request has asked for a websocket.
    pub(crate) const fn is_websocket(&self) -> bool {
        self.is_websocket
    }

    /// The session that the last request names.
    pub(crate) const fn session(&self) -> Option<Session> {
        self.session
    }

    /// How many POSTs have begun.
    pub(crate) const fn posts(&self) -> usize {
        self.posts
    }

    /// More bytes of the last request have come.
    fn extend(&mut self, bytes: usize) {
        if let Some(last) = self.waiting.back_mut() {
            last.bytes += bytes;
        }
    }

    /// Reads what is written. If a request is answered, returns its session, and how many bytes of
    /// the next one have waited for this, and how many of them had come before the present input.
    fn answer(&mut self, bytes: &[u8]) -> (Option<Session>, (usize, usize)) {
        if self.waiting.front().is_some_and(|request| request.streams) {
            // What follows waits until the endless answer has ended.
            let ends = bytes.starts_with(b"HTTP/1.1 ") || bytes.ends_with(LAST_CHUNK);
            if !ends {
                return (None, (0, 0));
            }
            let (_, released) = self.next();
            let (answered, more) = self.answer(bytes);
            return (answered, (released.0 + more.0, released.1 + more.1));
        }
        if !bytes.starts_with(b"HTTP/1.1 ") {
            return (None, (0, 0));
        }
        if let Some(request) = self.waiting.front_mut().filter(|request| request.is_endless)
            && bytes.starts_with(OK)
        {
            request.streams = true;
            return (None, (0, 0));
        }
        self.next()
    }

    /// Takes the first request. Returns its session, how many bytes behind it may be read now, and
    /// how many of them came before the present input.
    fn next(&mut self) -> (Option<Session>, (usize, usize)) {
        let Some(taken) = self.waiting.pop_front() else {
            return (None, (0, 0));
        };
        let (behind, before) = match taken.before {
            0 => (0, 0),
            _ => (taken.bytes - taken.first, taken.before - taken.first),
        };
        let next = match self.waiting.front() {
            Some(next) => (next.bytes, next.before),
            // A request whose line is not complete may stand behind the last one.
            None if taken.before == 0 && self.searched > 0 => (self.bytes.len(), 0),
            None => (0, 0),
        };
        (taken.session, (behind + next.0, before + next.1))
    }

    /// How many bytes of a line have come whose end has not.
    pub(crate) fn begun(&self) -> usize {
        self.bytes.len()
    }

    /// Takes bytes of a connection, whose lines have at most `longest` bytes. Returns the targets
    /// of the requests whose lines end among them, whether each is a GET, and behind how many of
    /// the bytes it begins.
    fn read(&mut self, bytes: &[u8], longest: usize) -> Vec<(bool, String, usize)> {
        let mut targets = Vec::new();
        self.bytes.extend_from_slice(bytes);
        loop {
            if self.searched == 0 {
                let begins = |part: &[u8]| part == b"GET /" || part == b"POST ";
                let Some(at) = self.bytes.windows(5).position(begins) else {
                    let keep = self.bytes.len().min(4);
                    self.bytes.drain(..self.bytes.len() - keep);
                    return targets;
                };
                self.bytes.drain(..at);
            }
            let begins_at = bytes.len().saturating_sub(self.bytes.len());
            let from = self.searched.saturating_sub(5);
            let ends = self.bytes[from..].windows(6).position(|part| part == b" HTTP/");
            let Some(end) = ends.map(|end| from + end) else {
                self.searched = self.bytes.len();
                if self.bytes.len() > longest {
                    self.bytes.clear();
                    self.searched = 0;
                }
                return targets;
            };
            self.searched = 0;
            let line: Vec<u8> = self.bytes.drain(..end).collect();
            let target = line.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default();
            targets.push((
                line.starts_with(b"GET"),
                String::from_utf8_lossy(target).into_owned(),
                begins_at,
            ));
        }
    }
}

impl World {
    /// Bytes of a client arrive at the server. Returns how many bytes of the same input there are
    /// by now.
    pub(crate) fn note_arrival(&mut self, number: u64, link: LinkId, bytes: &[u8]) -> usize {
        // The server refuses a longer line.
        let longest = self.plan.server.http.max_head_bytes;
        let Some(wire) = self.wires.get_mut(&number) else {
            return bytes.len();
        };
        wire.given += bytes.len();
        wire.spent.bytes += bytes.len();
        let (pending, mut twice) = (wire.spent.bytes, None);
        let (mut seen, mut named, mut posted) = (0, Vec::new(), Vec::new());
        for (is_get, target, at) in wire.line.read(bytes, longest) {
            wire.line.extend(at.saturating_sub(seen));
            seen = seen.max(at);
            wire.line.session = self.server.named(&target);
            named.extend(wire.line.session);
            posted.extend(wire.line.session.filter(|_| !is_get));
            wire.line.is_post = !is_get;
            wire.line.posts += usize::from(!is_get);
            wire.line.is_websocket = target.contains("websocket");
            // Until here it was not the session's websocket.
            wire.stuck = wire.stuck.map(|(_, kept)| (self.now, kept));
            let polls = is_get && target.contains("transport=polling");
            wire.line.waiting.push_back(Waiting {
                session: wire.line.session.filter(|_| polls),
                bytes: 0,
                before: 0,
                first: 0,
                is_endless: target.contains("htmlfile") || target.contains("xhr-multipart"),
                streams: false,
            });
            if let Some(session) = wire.line.session.filter(|_| is_get) {
                self.lives.polls.insert(session, self.now);
            }
            if let Some(session) = wire.line.session.filter(|_| polls) {
                twice = self.lives.gets.insert(session, number).or(twice);
            }
        }
        wire.line.extend(bytes.len() - seen);
        // A POST whose head or body comes in pieces may end now.
        posted.extend(wire.line.session.filter(|_| wire.line.is_post));
        let (here, client) = (wire.line.session, wire.client);
        named.into_iter().for_each(|session| self.note_back(session));
        posted.into_iter().for_each(|session| self.note_post(session));
        if twice.is_some() && !self.peers[client].is_doubled {
            let words = format_args!("client {client} asks for packets while it waits for packets");
            self.fail(Promise::Conduct, words);
            return pending;
        }
        self.note_sign(link, here);
        pending
    }

    /// The server writes on a connection: it may answer a request.
    pub(crate) fn note_answer(&mut self, number: u64, bytes: &[u8]) {
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let (answered, released) = wire.line.answer(bytes);
        self.released.0 += released.0;
        self.released.1 += released.1;
        if let Some(session) = answered {
            self.lives.gets.remove(&session);
        }
    }

    /// An input has been handled: what still waits on its connection waits for something else.
    pub(crate) fn note_waiting(&mut self, number: u64) {
        if let Some(wire) = self.wires.get_mut(&number) {
            for request in &mut wire.line.waiting {
                if request.before == 0 {
                    request.first = request.bytes;
                }
                request.before = request.bytes;
            }
        }
    }

    /// Promise 7: a session asks for no more namespaces in a second than it may. It may have left
    /// again in the same read, so the session is that of the delivery.
    pub(crate) fn check_asks(&mut self, session: Session) {
        // Old clients are in the namespace `/` without asking, and what they have asked for before
        // they are let in there waits until then.
        let waiting = NAMESPACES.len();
        let (now, most) = (self.now, self.plan.server.max_connects_per_second + waiting);
        let second = now.saturating_since(Time::ZERO).as_secs();
        self.lives.asks.retain(|_, (then, _)| *then == second);
        let (_, count) = self.lives.asks.entry(session).or_insert((second, 0));
        *count += 1;
        let count = *count;
        if count > most {
            let words = format_args!("a session asks for {count} namespaces in a second, at most {most}");
            self.fail(Promise::Price, words);
        }
    }

    /// A decision of the application is a sign, too: a client may wait for it.
    pub(crate) fn note_decision(&mut self, socket: Socket) {
        let now = self.now;
        let session = self
            .server
            .shard(now, socket.shard, |shard, _| shard.session_of(socket.key));
        if let Some(session) = session {
            self.lives.signs.insert((socket.shard, session), now);
        }
    }

    /// Something is heard of the session that a connection serves.
    pub(crate) fn note_sign(&mut self, link: LinkId, named: Option<Session>) {
        let now = self.now;
        let held = self.server.session_on(now, link);
        for session in [held, named].into_iter().flatten() {
            self.lives.signs.insert(session, now);
        }
    }

    /// Something is heard of the session of a connection, which is not arriving bytes.
    pub(crate) fn note_sign_of(&mut self, number: u64) {
        let Some(wire) = self.wires.get(&number) else { return };
        if let (Some(link), named) = (wire.at_server, wire.line.session) {
            self.note_sign(link, named);
        }
    }

    /// The clock has jumped, or the server has begun anew: all wait anew.
    pub(crate) fn forget_signs(&mut self) {
        let now = self.now;
        self.lives.signs.clear();
        self.lives.polls.clear();
        self.lives.gets.clear();
        // The keys of sessions are used again.
        self.lives.asks.clear();
        self.peers.iter_mut().for_each(|peer| peer.heard = now);
        self.wires
            .values_mut()
            .for_each(|wire| wire.stuck = wire.stuck.map(|(_, kept)| (now, kept)));
    }

    /// Promise 8: a dead peer is given up within the time of a heartbeat and its answer.
    pub(crate) fn check_dead(&mut self) {
        let now = self.now;
        let sockets: Vec<_> = self.members.keys().copied().collect();
        for socket in sockets {
            let queued = self
                .server
                .shard(now, socket.shard, |shard, _| shard.queued(socket.key));
            let queued = queued.unwrap_or_default();
            let is_thief = self
                .members
                .get(&socket)
                .is_some_and(|member| self.peers[member.client].is_thief);
            // A thief that sends pings gets as many pongs as come with one read.
            let most = self.most_queued() + if is_thief { READ } else { 0 };
            if queued.bytes > most {
                let bytes = queued.bytes;
                let words = format_args!("{bytes} bytes wait for the client of {socket:?}, at most {most}");
                return self.fail(Promise::Price, words);
            }
        }
        self.check_terms();
        self.check_stuck();
        for client in 0..self.users() {
            let is_told = |namespace: &usize| self.places[client * NAMESPACES.len() + namespace].is_connected;
            let is_connected = (0..NAMESPACES.len()).any(|namespace| is_told(&namespace));
            let (silence, most) = (
                now.saturating_since(self.peers[client].heard),
                self.longest_wait(client),
            );
            if is_connected && silence > most {
                let words =
                    format_args!("client {client} keeps a server that is silent for {silence:?}, at most {most:?}");
                return self.fail(Promise::Heartbeat, words);
            }
        }
    }

    /// The most bytes that may wait for one client: the queue, and what the protocol itself says.
    fn most_queued(&self) -> usize {
        let most = self.plan.server.max_queued_bytes;
        most + most / 8 + CONTROL
    }

    /// A websocket that takes no byte is ended, whatever its client sends.
    fn check_stuck(&mut self) {
        let now = self.now;
        let stuck = self
            .wires
            .values()
            .filter_map(|wire| Some((wire.at_server?, wire.stuck?.0, wire.client)));
        let config = &self.plan.server;
        let (old, older) = (&config.legacy09, &config.legacy06);
        let most = (config.ping_interval + config.ping_timeout)
            .max(old.heartbeat_interval + old.heartbeat_timeout)
            .max(older.heartbeat_interval + older.heartbeat_timeout);
        let late: Vec<_> = stuck
            .filter(|(_, since, _)| now.saturating_since(*since) > most)
            .collect();
        for (link, since, client) in late {
            if self.server.session_on(now, link).is_some() {
                let time = now.saturating_since(since);
                let words = format_args!("client {client} has taken no byte for {time:?}, and keeps its session");
                return self.fail(Promise::Heartbeat, words);
            }
        }
    }

    /// How long a session may outlive the last sign of its client.
    pub(crate) fn longest_silence(&self, generation: Generation, polls: bool) -> Duration {
        let config = &self.plan.server;
        let (old, older) = (&config.legacy09, &config.legacy06);
        match generation {
            Generation::Legacy09 if polls => (old.poll_duration + old.close_timeout).max(old.open_timeout),
            Generation::Legacy09 => old.heartbeat_interval + old.heartbeat_timeout,
            // Such a session outlives its connection.
            Generation::Legacy06 if polls => older.poll_duration + older.reconnect_timeout,
            Generation::Legacy06 => older.heartbeat_interval + older.heartbeat_timeout + older.reconnect_timeout,
            _ => config.ping_interval + config.ping_timeout,
        }
    }

    /// How long a client may wait for a server that is silent.
    fn longest_wait(&self, client: usize) -> Duration {
        use sio_proto::client::Generation;
        let config = &self.plan.server;
        match self.peers[client].config.generation {
            // The handshake tells the time in whole seconds.
            Generation::V0_9 => {
                config.legacy09.heartbeat_interval + config.legacy09.heartbeat_timeout + Duration::from_secs(1)
            }
            Generation::V0_6 | Generation::Streaming => self.peers[client].config.max_silence.unwrap_or_default(),
            _ => config.ping_interval + config.ping_timeout,
        }
    }
}
