//! The server under test, its links, and the operations.

use std::mem;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use sio_proto::server::{
    AckRequest, Body, Cause, Command, Delivery, EngineMessage, Generation, Message, Output, Reason, SendError, Target,
};
use sio_proto::codec::{Envelope, Streaming};
use sio_proto::socket::Args;
use sio_proto::{Config, Cookie, Cors, LinkId, Origins, SocketKey, Time};

use super::client::Clients;
use super::host::Host;
use super::model::Model;
use super::peer::Peer;
use super::phrases;
use crate::cursor::Cursor;
use crate::pieces::{cuts, hash};

const MAX_LINKS: usize = 24;
const MAX_OPERATIONS: usize = 512;
/// When the shard is flushed step by step, a ready link waits for at least this number of
/// operations.
const FLUSH_EVERY: usize = 4;
const ROOMS: [&str; 3] = ["red", "green", "blue"];
const NAMESPACES: [&str; 3] = ["/", "/a", "/b"];

pub(super) struct World {
    server: Host,
    now: Time,
    /// Whether time has passed without a call of the server.
    is_late: bool,
    /// Whether the server drains without patience. Then the last poll of a session is due as soon
    /// as the session may leave.
    is_impatient: bool,
    links: Vec<Link>,
    clients: Clients,
    model: Model,
    accepts: bool,
    /// Whether each socket is released as soon as its turn to leave has come.
    releases: bool,
    falls_silent: bool,
    config: Config,
    operations: usize,
    /// A digest of all outputs, if it is wanted.
    transcript: Option<u64>,
}

struct Link {
    id: LinkId,
    /// `None` when the link is gone.
    peer: Option<Peer>,
    /// Bytes that are under way.
    held: Vec<u8>,
    /// Whether the server knows that the link takes no more. The server may cut such a link without
    /// a Close.
    is_blocked: bool,
}

impl World {
    /// Runs the operations in `data`. With `record` the result is a digest of all outputs.
    pub(super) fn run(data: &[u8], record: bool) -> Option<u64> {
        let mut cursor = Cursor::new(data);
        let mut world = Self::new(&mut cursor);
        world.transcript = record.then_some(0);
        while !cursor.is_empty() && world.operations < MAX_OPERATIONS {
            world.operations += 1;
            world.operate(&mut cursor);
            if world.operations.is_multiple_of(FLUSH_EVERY) {
                world.server.flush(world.now, 1);
                world.settle();
            }
            world.check();
        }
        world.finish()
    }

    fn new(cursor: &mut Cursor<'_>) -> Self {
        let options = cursor.byte();
        // It must not repeat itself: ids are made of it.
        let mut counter = 0u64;
        let entropy = move |out: &mut [u8]| {
            for byte in out {
                counter = counter.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (counter >> 56) as u8;
            }
        };
        let config = config(options).validate().expect("a sensible config");
        let server = match options & 32 {
            0 => Host::facade(config.clone(), Box::new(entropy)),
            _ => Host::stepwise(config.clone(), Box::new(entropy)),
        };
        Self {
            server,
            now: Time::ZERO,
            is_late: false,
            is_impatient: false,
            links: Vec::new(),
            clients: Clients::default(),
            model: Model::default(),
            accepts: options & 1 == 0,
            releases: options & 64 == 0,
            falls_silent: options & 16 == 0,
            config,
            operations: 0,
            transcript: None,
        }
    }

    fn operate(&mut self, cursor: &mut Cursor<'_>) {
        match cursor.index(16) {
            0 => self.open(),
            1..=4 => {
                let at = self.pick_link(cursor, false);
                let request = phrases::request(cursor, &self.clients.sids);
                self.send(at, &request, cursor.byte());
            }
            5..=8 => {
                let at = self.pick_link(cursor, true);
                let peer = self.links.get(at).and_then(|link| link.peer.as_ref());
                let frame = match peer.is_some_and(Peer::is_old_websocket) {
                    true => phrases::old_frame(cursor),
                    false => phrases::frame(cursor),
                };
                self.send(at, &frame, cursor.byte());
            }
            9 => {
                let at = self.pick_link(cursor, false);
                self.send(at, cursor.bytes(), 0);
            }
            10 => {
                let websocket = cursor_bit(cursor);
                let at = self.pick_link(cursor, websocket);
                self.cut(at, if cursor_bit(cursor) { Cause::Closed } else { Cause::Failed });
            }
            11 => {
                let millis = cursor.pick(&[0, 50, 100, 1_000, 5_000, 9_999, 10_000, 20_000, 25_000, 45_000, 70_000]);
                self.pass(millis);
            }
            12 => {
                self.now = self.now + Duration::from_millis(cursor.pick(&[1, 99, 10_000, 46_000]));
                self.is_late = true;
            }
            13 => {
                let at = self.pick_link(cursor, true);
                let Some(id) = self.links.get(at).map(|link| link.id) else {
                    return;
                };
                let blocks = cursor_bit(cursor);
                self.links[at].is_blocked = blocks;
                if blocks {
                    self.server.handle_blocked(self.now, id, usize::from(cursor.byte()) * 8);
                } else {
                    self.server.handle_drained(self.now, id);
                }
                self.settle();
            }
            _ => self.command(cursor),
        }
    }

    // ---- links ------------------------------------------------------------------------------------------------------

    fn open(&mut self) {
        let live = self.links.iter().filter(|link| link.peer.is_some()).count();
        if live >= MAX_LINKS || self.links.len() >= 4 * MAX_LINKS {
            return;
        }
        let id = self.server.open();
        assert!(self.links.iter().all(|link| link.id != id), "a link is named twice");
        let config = &self.config;
        let max_packets = config.max_queued_packets.max(config.legacy06.max_pending_messages) + 8;
        self.links.push(Link {
            id,
            peer: Some(Peer::new(config.http, max_packets)),
            held: Vec::new(),
            is_blocked: false,
        });
    }

    /// Picks a link of the wanted kind, if there is one. If there is no link at all, it opens one.
    fn pick_link(&mut self, cursor: &mut Cursor<'_>, websocket: bool) -> usize {
        let fits = |link: &Link| link.peer.as_ref().is_some_and(|peer| peer.is_websocket() == websocket);
        let fitting: Vec<usize> = (0..self.links.len()).filter(|&at| fits(&self.links[at])).collect();
        let choice = cursor.byte();
        if choice == 255 && !self.links.is_empty() {
            return cursor.index(self.links.len()); // Any link, even one that is gone.
        }
        if !websocket && (fitting.is_empty() || choice & 7 == 7) {
            self.open();
            return self.links.len() - 1;
        }
        match fitting.as_slice() {
            [] => usize::from(choice) % self.links.len().max(1),
            fitting => fitting[usize::from(choice >> 3) % fitting.len()],
        }
    }

    /// Sends bytes in the way that `mode` says, after the bytes that were held back.
    fn send(&mut self, at: usize, bytes: &[u8], mode: u8) {
        let Some(link) = self.links.get_mut(at) else { return };
        let mut all = mem::take(&mut link.held);
        all.extend_from_slice(bytes);
        match mode % 8 {
            0..=3 => self.feed(at, &all),
            4 => all.chunks(1).for_each(|byte| self.feed(at, byte)),
            5 => {
                let mut start = 0;
                for end in cuts(&all) {
                    self.feed(at, &all[start..end]);
                    start = end;
                }
            }
            6 => {
                let late = all.split_off(all.len() - all.len().min(usize::from(mode >> 3)));
                self.feed(at, &all);
                self.links[at].held = late;
            }
            _ => self.links[at].held = all,
        }
    }

    fn feed(&mut self, at: usize, bytes: &[u8]) {
        let link = &mut self.links[at];
        if let Some(peer) = &mut link.peer {
            peer.send(bytes);
        }
        let mut buffer = BytesMut::from(bytes);
        self.server.handle_bytes(self.now, link.id, &mut buffer);
        assert!(buffer.is_empty(), "all bytes are taken");
        self.settle();
    }

    fn cut(&mut self, at: usize, cause: Cause) {
        let Some(link) = self.links.get_mut(at) else { return };
        link.peer = None;
        let id = link.id;
        self.server.handle_closed(self.now, id, cause);
        self.settle();
    }

    // ---- time -------------------------------------------------------------------------------------------------------

    /// Lets time pass, stopping at every deadline on the way.
    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        // The server looks at a session during an upgrade every 100 ms. Every other deadline occurs
        // only a few times per session and operation.
        let sessions = self.sessions() as u64;
        let most = 64 + 4 * self.operations as u64 + sessions * (millis / 100 + 16);
        let mut stops = 0;
        while let Some(next) = self.server.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.timeout();
            stops += 1;
            assert!(stops <= most, "{stops} deadlines in {millis} ms for {sessions} sessions");
        }
        self.now = end;
        self.timeout();
    }

    fn timeout(&mut self) {
        self.server.handle_timeout(self.now);
        self.is_late = false;
        self.server.flush(self.now, usize::MAX);
        self.settle();
        self.check_deadline();
    }

    fn check_deadline(&self) {
        if let Some(next) = self.server.next_timeout() {
            let is_due_now = self.is_impatient && next == self.now;
            assert!(self.is_late || is_due_now || next > self.now, "a deadline in the past");
        }
    }

    // ---- the user ---------------------------------------------------------------------------------------------------

    fn command(&mut self, cursor: &mut Cursor<'_>) {
        let now = self.now;
        let kind = cursor.index(16);
        let Some(socket) = self.pick_socket(cursor) else {
            return self.command_to_all(kind, cursor);
        };
        let is_connected = self.model.connected(socket).is_some();
        match kind {
            0 | 1 => self.accept(socket),
            2 => {
                let asks = self.model.sockets.get(&socket).is_some_and(|s| !s.connected);
                if asks {
                    self.model.sockets.remove(&socket);
                    self.model.gone.insert(socket);
                }
                self.server.shard(now, |shard, out| shard.refuse(now, socket, "no", Some("{\"a\":1}"), out));
            }
            3..=5 => self.emit(socket, cursor),
            6 | 7 => {
                let room = cursor.pick(&ROOMS);
                let joined = self.server.shard(now, |shard, _| shard.join(socket, room));
                let max = self.config.max_rooms_per_socket;
                match self.model.sockets.get_mut(&socket).filter(|s| s.connected) {
                    None => assert_eq!(joined, Err(SendError::Disconnected)),
                    Some(known) if known.rooms.contains(room) || known.rooms.len() < max => {
                        assert_eq!(joined, Ok(()));
                        known.rooms.insert(room);
                    }
                    Some(_) => assert_eq!(joined, Err(SendError::Full)),
                }
            }
            8 => {
                let room = cursor.pick(&ROOMS);
                self.server.shard(now, |shard, _| shard.leave(socket, room));
                if let Some(known) = self.model.sockets.get_mut(&socket) {
                    known.rooms.remove(room);
                }
            }
            9 => {
                let close = cursor_bit(cursor);
                self.server.shard(now, |shard, out| shard.disconnect(now, socket, close, out));
                self.settle();
                assert!(!self.model.sockets.contains_key(&socket), "disconnected, and still there");
            }
            kind => return self.command_to_all(kind, cursor),
        }
        assert!(is_connected || self.model.connected(socket).is_none() || kind < 2);
        self.settle();
    }

    fn accept(&mut self, socket: SocketKey) {
        let asks = self.model.sockets.get_mut(&socket).filter(|s| !s.connected);
        let asked = asks.map(|known| known.connected = true).is_some();
        let accepted = self.server.shard(self.now, |shard, out| shard.accept(self.now, socket, out));
        assert_eq!(accepted, asked);
    }

    fn emit(&mut self, socket: SocketKey, cursor: &mut Cursor<'_>) {
        let known = self.model.sockets.get_mut(&socket);
        let namespace = known.as_ref().map_or_else(|| "/".into(), |s| s.namespace.clone());
        let choice = cursor.byte();
        // Acknowledgements with odd ids have a deadline.
        let id = known.map(|s| {
            s.next_ack += 1;
            s.next_ack
        });
        let ack = id.filter(|_| choice & 1 == 1).map(|id| AckRequest {
            id,
            timeout: (id % 2 == 1).then_some(Duration::from_secs(5)),
        });
        let wanted = self.model.sockets.get_mut(&socket).and_then(|s| s.wanted.pop());
        let (mut message, ack) = match wanted {
            Some(wanted) => (Message::ack(namespace, wanted, args(choice)), None),
            None => (message(namespace, ack.map(|a| a.id), choice), ack),
        };
        let sent = self.server.shard(self.now, |shard, _| shard.emit(self.now, socket, &mut message, ack));
        match (sent, self.model.sockets.get_mut(&socket).filter(|s| s.connected)) {
            (Ok(()), Some(known)) => {
                known.acks.extend(ack.map(|a| a.id));
                assert!(known.acks.len() <= self.config.max_pending_acks);
            }
            (Ok(()), None) => panic!("sent to nobody"),
            (Err(SendError::Disconnected), known) => {
                // A closing session takes nothing more, and its sockets are gone.
                assert!(known.is_none(), "said to be disconnected");
            }
            (Err(SendError::Unsupported), known) => {
                assert!((ack.is_some() || wanted.is_some()) && known.is_some_and(|s| s.generation == Generation::Legacy06));
            }
            (Err(SendError::Dropped), _) => assert!(choice & 2 == 2 && wanted.is_none(), "not volatile"),
            (Err(SendError::Full), known) => assert!(known.is_some()),
            (Err(error @ (SendError::TooLarge | SendError::Reserved)), _) => panic!("{error}: our messages are small and have honest names"),
        }
    }

    fn command_to_all(&mut self, kind: usize, cursor: &mut Cursor<'_>) {
        let now = self.now;
        let target = self.pick_target(cursor);
        let members = self.model.members(&target);
        match kind {
            0..=4 => {
                let message = message(target.namespace.clone(), None, cursor.byte());
                self.do_command(Command::Broadcast { target, message });
            }
            5..=7 => {
                let room = cursor.pick(&ROOMS);
                let max = self.config.max_rooms_per_socket;
                for member in members {
                    if let Some(known) = self.model.sockets.get_mut(&member).filter(|s| s.rooms.len() < max) {
                        known.rooms.insert(room);
                    }
                }
                let rooms = vec![room.into()];
                self.do_command(Command::Join { target, rooms });
            }
            8 | 9 => {
                let room = cursor.pick(&ROOMS);
                for member in members {
                    if let Some(known) = self.model.sockets.get_mut(&member) {
                        known.rooms.remove(room);
                    }
                }
                let rooms = vec![room.into()];
                self.do_command(Command::Leave { target, rooms });
            }
            10 => {
                let close = cursor_bit(cursor);
                self.do_command(Command::Disconnect { target, close });
                assert!(members.iter().all(|member| !self.model.sockets.contains_key(member)));
            }
            11 | 12 => {
                if let Some(&session) = self.model.raw.iter().nth(cursor.index(4)) {
                    let message = match cursor_bit(cursor) {
                        true => EngineMessage::Text("text".into()),
                        false => EngineMessage::Binary(Bytes::from_static(b"\0\x01\x02")),
                    };
                    let sent = self.server.shard(now, |shard, _| shard.send_engine(session, message));
                    assert!(matches!(sent, Ok(()) | Err(SendError::Full)), "{sent:?}");
                }
            }
            13 => {
                if let Some(&session) = self.model.raw.iter().next() {
                    self.server.shard(now, |shard, out| shard.close_engine(now, session, out));
                    self.settle();
                    assert!(!self.model.raw.contains(&session), "closed, and still there");
                }
            }
            14 if cursor.byte() == 255 => {
                let reason = Reason::ServerShuttingDown;
                self.do_command(Command::Shutdown { reason });
                assert!(self.model.sockets.is_empty() && self.model.raw.is_empty());
            }
            15 => match cursor.byte() {
                254 => {
                    let spread = Duration::from_millis(cursor.pick(&[0, 0, 1_000, 30_000]));
                    let patience = Duration::from_millis(cursor.pick(&[0, 3_000, 60_000]));
                    self.is_impatient |= patience.is_zero();
                    self.do_command(Command::Drain { spread, patience, handover: false, pause: None });
                }
                choice => {
                    let leaving = self.model.leaving.iter().nth(usize::from(choice) % 4).copied();
                    if let Some(socket) = leaving {
                        self.server.shard(now, |shard, out| shard.release(now, socket, out));
                    }
                }
            },
            _ => {}
        }
        self.settle();
    }

    fn do_command(&mut self, command: Command) {
        let now = self.now;
        self.server.shard(now, |shard, out| shard.handle_command(now, command, out));
        self.settle();
    }

    /// Picks a socket that exists, or sometimes one that is gone.
    fn pick_socket(&self, cursor: &mut Cursor<'_>) -> Option<SocketKey> {
        let choice = usize::from(cursor.byte());
        if choice >= 240 {
            return self.model.gone.iter().nth(choice - 240).copied();
        }
        self.model.sockets.keys().nth(choice % 8).copied()
    }

    fn pick_target(&self, cursor: &mut Cursor<'_>) -> Target {
        let choice = cursor.byte();
        let mut room = |bit: u8| -> Vec<ByteString> {
            match choice >> bit & 3 {
                0 => Vec::new(),
                1 => vec![cursor.pick(&ROOMS).into()],
                2 => vec![cursor.pick(&ROOMS).into(), cursor.pick(&ROOMS).into()],
                _ => {
                    let socket = self.model.sockets.values().nth(cursor.index(8));
                    socket.map(|s| s.sid.to_string().into()).into_iter().collect()
                }
            }
        };
        let (rooms, except) = (room(0), room(2));
        Target {
            namespace: cursor.pick(&NAMESPACES).into(),
            rooms,
            except,
            except_socket: self.pick_socket(cursor).filter(|_| choice & 0x40 != 0),
        }
    }

    // ---- what comes out, and what must hold -------------------------------------------------------------------------

    fn settle(&mut self) {
        while let Some(output) = self.server.poll_output() {
            if let Some(transcript) = &mut self.transcript {
                *transcript = hash(format!("{transcript}{output:?}").as_bytes());
            }
            match output {
                Output::Bytes(id, bytes) => {
                    let link = self.links.iter_mut().find(|link| link.id == id).expect("a link that was never opened");
                    let peer = link.peer.as_mut().expect("bytes for a link that is gone");
                    peer.receive(&bytes, &mut self.clients);
                }
                Output::End(id) => {
                    let link = self.links.iter_mut().find(|link| link.id == id).expect("a link that was never opened");
                    let peer = link.peer.take().expect("the end of a link that is gone");
                    if !link.is_blocked {
                        peer.end();
                    }
                }
                Output::Request(id, request) => {
                    assert!(self.peer(id).is_some(), "a request of a link that is gone");
                    let response = sio_proto::server::Response {
                        status: 404,
                        content_type: None,
                        fixed: sio_proto::http::FixedFields::NONE,
                        headers: Vec::new(),
                        body: Body::Bytes(Bytes::from_static(b"not here")),
                        exchange: request.exchange(),
                    };
                    self.server.respond(self.now, id, response);
                }
                Output::Delivery(delivery) => {
                    let asks = match &delivery {
                        Delivery::Connect { socket, .. } => Some(*socket),
                        _ => None,
                    };
                    let leaves = match &delivery {
                        Delivery::Leaving { socket } => Some(*socket),
                        _ => None,
                    };
                    self.model.deliver(delivery);
                    if let Some(socket) = leaves.filter(|_| self.releases) {
                        self.server.shard(self.now, |shard, out| shard.release(self.now, socket, out));
                    }
                    if let Some(socket) = asks.filter(|_| self.accepts) {
                        // The socket may have disconnected in the same turn. Then the next delivery
                        // says so.
                        let accepted = self.server.shard(self.now, |shard, out| shard.accept(self.now, socket, out));
                        if accepted && let Some(known) = self.model.sockets.get_mut(&socket) {
                            known.connected = true;
                        }
                    }
                }
            }
        }
    }

    fn peer(&mut self, id: LinkId) -> &mut Option<Peer> {
        let link = self.links.iter_mut().find(|link| link.id == id);
        &mut link.expect("a link that was never opened").peer
    }

    fn sessions(&mut self) -> usize {
        self.server.shard(self.now, |shard, _| shard.sessions())
    }

    fn check(&mut self) {
        let sessions = self.sessions();
        assert!(sessions <= self.config.max_sessions);
        assert!(self.model.sessions() <= sessions, "sockets without a session");
        self.check_deadline();
        assert!(sessions == 0 || self.server.next_timeout().is_some(), "a session that may stay for ever");
        for namespace in NAMESPACES {
            self.check_target(namespace, Vec::new());
            for room in ROOMS {
                self.check_target(namespace, vec![room.into()]);
            }
        }
        let Self { server, model, now, .. } = self;
        for (key, socket) in &model.sockets {
            let (found, mut rooms, transport) = server.shard(*now, |shard, _| {
                (shard.find(&socket.sid.to_string()), shard.rooms(*key), shard.transport(*key))
            });
            assert_eq!(found, socket.connected.then_some(*key), "found by its id");
            rooms.sort();
            assert!(rooms.iter().map(|room| &**room).eq(sorted(&socket.rooms)), "rooms of {key:?}");
            assert!(transport.is_some());
        }
        for key in &model.gone {
            let left = server.shard(*now, |shard, _| (shard.rooms(*key), shard.transport(*key)));
            assert_eq!(left, (Vec::new(), None), "something is left of {key:?}");
        }
    }

    fn check_target(&mut self, namespace: &str, rooms: Vec<ByteString>) {
        let target = Target {
            namespace: namespace.into(),
            rooms,
            ..Target::default()
        };
        let mut members = self.server.shard(self.now, |shard, _| shard.members(&target));
        members.sort_unstable();
        assert_eq!(members, self.model.members(&target), "members of {target:?}");
    }

    /// Clients of 0.3 and 0.4 send nothing unless they have a message. The server learns only from
    /// their connection that they are gone.
    fn cut_those_that_may_be_silent(&mut self) {
        for at in 0..self.links.len() {
            if self.links[at].peer.as_ref().is_some_and(Peer::may_be_silent) {
                self.cut(at, Cause::Failed);
            }
        }
        self.pass(120_000);
    }

    /// Lets all clients fall silent, or cuts all links at once. Then nothing may be left.
    fn finish(mut self) -> Option<u64> {
        if self.falls_silent {
            // The longest wait is for a ping, its answer, and the last poll of a closing session.
            // After that the next pipelined request is handled.
            let peers = self.links.iter().filter_map(|link| link.peer.as_ref());
            for _ in 0..=peers.map(Peer::waiting).sum() {
                self.pass(120_000);
                self.cut_those_that_may_be_silent();
            }
            assert_eq!(self.sessions(), 0, "sessions of silent clients");
            for peer in self.links.iter().filter_map(|link| link.peer.as_ref()) {
                assert!(!peer.is_websocket() || peer.owes_keys(), "a websocket without a session");
                assert!(peer.waiting() == 0, "a request without an answer");
            }
        }
        for at in 0..self.links.len() {
            if self.links[at].peer.is_some() {
                self.cut(at, Cause::Failed);
            }
        }
        self.pass(120_000);
        assert_eq!(self.sessions(), 0, "sessions without links");
        assert!(self.model.sockets.is_empty() && self.model.raw.is_empty(), "sockets without sessions");
        assert_eq!(self.server.next_timeout(), None, "deadlines without sessions");
        self.transcript
    }
}

fn sorted<'a>(rooms: &'a std::collections::BTreeSet<&'static str>) -> impl Iterator<Item = &'a str> {
    rooms.iter().copied()
}

fn cursor_bit(cursor: &mut Cursor<'_>) -> bool {
    cursor.byte() & 1 == 1
}

/// Limits that a short input can reach.
fn config(options: u8) -> Config {
    let mut config = Config::default().max_payload(512);
    config.engine_path = Some("/engine.io".to_owned());
    config.max_sessions = 8;
    config.max_queued_bytes = 2048;
    config.max_queued_packets = 16;
    config.max_namespaces_per_session = 3;
    config.max_namespaces = 4;
    config.max_rooms_per_socket = 2;
    config.max_pending_acks = 4;
    config.legacy06.max_pending_messages = 8;
    config.legacy09.max_pending_messages = 8;
    config.legacy06.max_buffered_bytes = 64;
    config.legacy06.max_messages_per_payload = 4;
    config.legacy06 = config.legacy06.mount("/streaming", Streaming).mount("/envelope", Envelope);
    config.http = config.http.max_head_bytes(1024).max_target_bytes(256).max_headers(16);
    config.websocket = config.websocket.max_fragments(4);
    if options & 2 != 0 {
        config = config.cookie(Cookie::default());
    }
    if options & 4 != 0 {
        config.cors = Some(Cors::any());
        config = config.origins(Origins::Any);
    }
    if options & 8 != 0 {
        config.allow_upgrades = false;
    }
    config
}

fn message(namespace: ByteString, id: Option<u64>, choice: u8) -> Message {
    let name = if choice & 0x40 == 0 { "news" } else { "message" };
    Message::event(namespace, name.into(), args(choice), id).volatile(choice & 2 == 2)
}

fn args(choice: u8) -> Args {
    match choice >> 2 & 3 {
        0 => Args::default(),
        1 => Args::from(ByteString::from("1,{\"a\":\"é\"}")),
        2 => Args {
            json: "{\"_placeholder\":true,\"num\":0}".into(),
            attachments: vec![Bytes::from_static(b"\0\x01\x02")],
            ..Args::default()
        },
        _ => Args::from(ByteString::from(format!("\"{}\"", "x".repeat(300)))),
    }
}
