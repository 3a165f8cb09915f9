//! Several shards behind one door, as `sio-app` has them: a request goes to the shard that its
//! session id names, and a new session to the next shard in turn. A connection has a seat in one
//! shard at a time.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use sio_proto::conn::{Arrivals, Conn};
use sio_proto::server::{
    Cause, CommonHolding, Output, Outputs, Peer, Request, Routed, Router, Sent, SessionHolding, Shard, Then, Write,
    Written,
};
use sio_proto::wire::Wire;
use sio_proto::{Bytes, BytesMut, Config, Frame, LinkId, Time};

use crate::door::Door;
use crate::host::Share;
use crate::life::Session;

/// How many links are flushed at once.
const FLUSH: usize = 64;
/// How many lone frames are taken at once, fewer than a broadcast has.
const TAKEN: usize = 3;

/// A buffer of this size is not too large for a few bytes.
const SMALL: usize = 1024;

/// The most entries for which a list keeps its memory until the next input.
const MOST_KEPT: usize = 512;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct House {
    /// The shards, each with its outputs.
    shards: Vec<(Shard, Outputs)>,
    router: Router,
    config: Arc<Config>,
    door: Door,
    /// The shard that gets the next new session.
    next: usize,
    connections: Vec<(u32, Option<Box<Connection>>)>,
    free: Vec<u32>,
    queue: VecDeque<(usize, Output)>,
    /// Connections that may be read again, and have bytes to read.
    resumed: VecDeque<LinkId>,
    /// Whether a frame that waits alone is taken by itself.
    takes_frames: bool,
}

#[derive(Debug)]
struct Connection {
    conn: Conn,
    rest: BytesMut,
    /// How much memory `rest` keeps, at most: its capacity does not count what was taken from its
    /// front.
    rest_memory: usize,
    /// The shard that knows the connection.
    seat: Option<usize>,
    blocked: Option<Blockage>,
    outgoing: Option<Outgoing>,
}

#[derive(Debug, Default)]
struct Blockage {
    held: usize,
    read: usize,
    pong: Bytes,
}

/// What may not have left yet, of sessions that outlive their connections: up to which byte each
/// packet reaches. An answer to a poll has no frame.
#[derive(Debug, Default)]
struct Outgoing {
    given: u64,
    packets: VecDeque<(u64, Option<Frame>)>,
}

impl Outgoing {
    fn encode(&mut self, write: Write) -> Written {
        let (given, mut scratch) = (self.given, BytesMut::new());
        let is_kept = matches!(&write, Write::Response(_, response) if response.is_kept());
        let written = match write {
            Write::Part(_, part) => {
                let packets = &mut self.packets;
                part.encode_each(&mut scratch, |frame, bytes| {
                    packets.push_back((given + bytes.len() as u64, Some(frame.clone())));
                });
                Written {
                    head: scratch.freeze(),
                    body: Bytes::new(),
                    then: Then::GoesOn,
                }
            }
            write => {
                if let Write::Frame(_, frame) = &write {
                    self.packets
                        .push_back((given + frame.len() as u64, Some(frame.clone())));
                }
                write.encode(&mut scratch, None)
            }
        };
        self.given += (written.head.len() + written.body.len()) as u64;
        if is_kept {
            self.packets.push_back((self.given, None));
        }
        written
    }

    fn memory(&self) -> usize {
        let frames = self.packets.iter().filter_map(|(_, frame)| frame.as_ref());
        let frames = frames.map(|frame| 2 * frame.len() + 64).sum::<usize>();
        self.packets.capacity() * size_of::<(u64, Option<Frame>)>() + frames
    }

    fn forget_written(&mut self, held: usize) {
        let written = self.given - (held as u64).min(self.given);
        let count = self.packets.partition_point(|(end, _)| *end <= written);
        self.packets.drain(..count);
    }
}

thread_local! {
    /// Whether a shard works now, as under its lock.
    static WORKS: Cell<bool> = const { Cell::new(false) };
    /// Whether something of the application was dropped meanwhile.
    static DROPPED: Cell<bool> = const { Cell::new(false) };
}

/// A value of the application that comes with a request. Its destructor is code of the application,
/// which may call the server: under the lock of a shard the call would wait for ever.
struct Luggage;

impl Drop for Luggage {
    fn drop(&mut self) {
        DROPPED.set(DROPPED.get() || WORKS.get());
    }
}

/// A shard works, as under its lock.
fn work<R>(act: impl FnOnce() -> R) -> R {
    WORKS.set(true);
    let result = act();
    WORKS.set(false);
    result
}

/// Whether something of the application was dropped while a shard worked, since the last call.
pub(crate) fn was_dropped() -> bool {
    DROPPED.take()
}

impl House {
    pub(crate) fn new(shards: Vec<Shard>, key: [u8; 16], door: Door, takes_frames: bool) -> Self {
        WORKS.set(false);
        DROPPED.set(false);
        let config = Arc::clone(shards[0].config());
        let shards: Vec<_> = shards.into_iter().map(|shard| (shard, Outputs::default())).collect();
        Self {
            router: Router::new(&config, key, shards.len()),
            shards,
            config,
            door,
            next: 0,
            connections: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            resumed: VecDeque::new(),
            takes_frames,
        }
    }

    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Tells what each session holds, and which shard it is in.
    pub(crate) fn holding_of_sessions(&self, mut tell: impl FnMut(Session, SessionHolding)) {
        for (index, (shard, _)) in self.shards.iter().enumerate() {
            shard.holding_of_each(|key, holding| tell((index, key), holding));
        }
    }

    /// Tells the memory of what each connection holds.
    pub(crate) fn holding_of_connections(&self, mut tell: impl FnMut(LinkId, Share)) {
        for (slot, (generation, connection)) in (0..).zip(&self.connections) {
            let Some(connection) = connection else { continue };
            let arriving = connection.rest_memory + connection.conn.holding().most_memory();
            let pong = connection.blocked.as_ref().map_or(0, |blocked| blocked.pong.len());
            let outgoing = connection.outgoing.as_ref().map_or(0, Outgoing::memory);
            let leaving = 2 * pong + outgoing;
            let all = arriving + leaving + size_of::<Connection>();
            let share = Share {
                arriving,
                slowed: 0,
                leaving,
                all,
            };
            tell(LinkId::new(slot, *generation), share);
        }
    }

    /// What its tables, lists and buffers hold, and those of its shards.
    pub(crate) fn holding_of_nobody(&self) -> CommonHolding {
        let shards = self.shards.iter();
        let shards = shards.fold(CommonHolding::default(), |all, (shard, out)| {
            let mut held = shard.holding_of_nobody();
            held.outputs = out.holding();
            all.and(held)
        });
        let tables = self.connections.capacity() * size_of::<(u32, Option<Box<Connection>>)>()
            + self.free.capacity() * size_of::<u32>()
            + self.resumed.capacity() * size_of::<LinkId>();
        let outputs = self.queue.capacity() * size_of::<(usize, Output)>();
        let mut all = shards;
        all.tables.lists += tables;
        all.outputs.lists += outputs;
        all
    }

    /// The shard that knows a connection.
    pub(crate) fn seat(&self, link: LinkId) -> Option<usize> {
        let entry = self.connections.get(link.slot())?;
        entry.1.as_ref().filter(|_| entry.0 == link.generation())?.seat
    }

    pub(crate) fn shard<R>(
        &mut self,
        now: Time,
        index: usize,
        command: impl FnOnce(&mut Shard, &mut Outputs) -> R,
    ) -> R {
        let result = {
            let (shard, out) = &mut self.shards[index];
            out.sent = Sent::default();
            out.collisions.clear();
            work(|| command(shard, out))
        };
        self.settle(now);
        result
    }

    pub(crate) fn open(&mut self, peer: Peer) -> LinkId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push((0, None));
            (self.connections.len() - 1) as u32
        });
        let entry = &mut self.connections[slot as usize];
        entry.1 = Some(Box::new(Connection {
            conn: Conn::new(Arc::clone(&self.config), peer),
            rest: BytesMut::new(),
            rest_memory: 0,
            seat: None,
            blocked: None,
            outgoing: None,
        }));
        LinkId::new(slot, entry.0)
    }

    pub(crate) fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: &mut BytesMut) {
        let Some(connection) = self.connection(link) else {
            return bytes.clear();
        };
        if let (None, Some(outgoing)) = (&connection.blocked, &mut connection.outgoing) {
            outgoing.forget_written(0);
        }
        let taken = connection.rest_memory.saturating_sub(connection.rest.capacity());
        connection.rest.extend_from_slice(bytes);
        if connection.rest.capacity() > connection.rest_memory {
            connection.rest_memory = connection.rest.capacity() + taken;
        }
        bytes.clear();
        self.advance(now, link);
        self.settle(now);
        let most = self.config.http.max_head_bytes + self.config.http.max_body_bytes;
        let is_too_long = |c: &mut Connection| (c.conn.is_waiting() || c.blocked.is_some()) && c.rest.len() > most;
        if self.connection(link).is_some_and(is_too_long) {
            self.queue.push_back((0, Output::End(link)));
            self.handle_closed(now, link, Cause::Failed);
        }
        // A large buffer is not kept for a few bytes, and a few bytes are not copied with each
        // piece.
        let is_large = |c: &&mut Connection| c.rest_memory > 4 * c.rest.len() + SMALL;
        if let Some(connection) = self.connection(link).filter(is_large) {
            connection.rest = BytesMut::from(&connection.rest[..]);
            connection.rest_memory = connection.rest.capacity();
        }
    }

    pub(crate) fn handle_closed(&mut self, now: Time, link: LinkId, cause: Cause) {
        if let Some(connection) = self.forget(link) {
            self.tell_closed(now, link, connection, cause);
            self.settle(now);
        }
    }

    pub(crate) fn wants_bytes(&self, link: LinkId) -> bool {
        let most = self.config.max_blocked_bytes;
        let entry = self.connections.get(link.slot());
        let connection = entry.filter(|entry| entry.0 == link.generation());
        let connection = connection.and_then(|entry| entry.1.as_ref());
        let blocked = connection.and_then(|connection| connection.blocked.as_ref());
        blocked.is_none_or(|blocked| blocked.read < most)
    }

    pub(crate) fn handle_blocked(&mut self, now: Time, link: LinkId, held: usize) {
        let Some(connection) = self.connection(link) else {
            return;
        };
        let blocked = connection.blocked.get_or_insert_default();
        let before = std::mem::replace(&mut blocked.held, held);
        if let Some(outgoing) = &mut connection.outgoing {
            outgoing.forget_written(held);
        }
        let seat = connection.seat;
        self.shards[0].0.budget().recharge(before, held);
        if let Some(seat) = seat {
            self.shards[seat].0.handle_blocked(now, link, held);
        }
    }

    pub(crate) fn handle_drained(&mut self, now: Time, link: LinkId) {
        let Some(connection) = self.connection(link) else {
            return;
        };
        let seat = connection.seat;
        if let Some(blocked) = connection.blocked.take() {
            if let Some(outgoing) = &mut connection.outgoing {
                outgoing.forget_written(0);
            }
            if !connection.rest.is_empty() {
                self.resumed.push_back(link);
            }
            if !blocked.pong.is_empty() {
                self.queue.push_back((0, Output::Bytes(link, blocked.pong)));
            }
            self.shards[0].0.budget().recharge(blocked.held, 0);
        }
        if let Some(seat) = seat {
            self.shards[seat].0.handle_drained(now, link);
        }
        self.settle(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        for (shard, out) in &mut self.shards {
            if shard.next_timeout().is_some_and(|time| time <= now) {
                work(|| shard.handle_timeout(now, out));
            }
        }
        self.settle(now);
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let times = self.shards.iter().filter_map(|(shard, _)| shard.next_timeout());
        times.min()
    }

    pub(crate) fn poll_output(&mut self) -> Option<(usize, Output)> {
        let output = self.queue.pop_front();
        if output.is_none() && self.queue.capacity() > MOST_KEPT {
            self.queue = VecDeque::new();
            for (_, out) in &mut self.shards {
                out.deliveries.shrink_to(MOST_KEPT);
            }
        }
        output
    }

    fn connection(&mut self, link: LinkId) -> Option<&mut Connection> {
        let entry = self.connections.get_mut(link.slot())?;
        entry.1.as_deref_mut().filter(|_| entry.0 == link.generation())
    }

    fn forget(&mut self, link: LinkId) -> Option<Box<Connection>> {
        let entry = self.connections.get_mut(link.slot())?;
        if entry.0 != link.generation() {
            return None;
        }
        let connection = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(link.slot() as u32);
        if let Some(blocked) = &connection.blocked {
            self.shards[0].0.budget().recharge(blocked.held, 0);
        }
        Some(connection)
    }

    /// Tells the shard of a connection that the connection is gone. Packets that have not left come
    /// back to their session before.
    fn tell_closed(&mut self, now: Time, link: LinkId, mut connection: Box<Connection>, cause: Cause) {
        let Some(seat) = connection.seat else { return };
        if let (Some(outgoing), Some(blocked)) = (&mut connection.outgoing, &connection.blocked) {
            outgoing.forget_written(blocked.held);
            let packets = std::mem::take(&mut outgoing.packets);
            if !packets.is_empty() {
                let frames = packets.into_iter().filter_map(|(_, frame)| frame).collect();
                self.shards[seat].0.handle_returned(now, link, frames);
            }
        }
        let (shard, out) = &mut self.shards[seat];
        work(|| shard.handle_closed(now, link, cause, out));
    }

    /// The connection takes a seat in a shard, and gives up that in another one.
    fn sit(&mut self, now: Time, link: LinkId, shard: usize) {
        let Some(connection) = self.connection(link) else {
            return;
        };
        let before = connection.seat.replace(shard);
        if let Some(before) = before.filter(|before| *before != shard) {
            let (shard, out) = &mut self.shards[before];
            work(|| shard.handle_closed(now, link, Cause::Closed, out));
            self.drain_outputs(now);
        }
    }

    fn has_more_behind_poll(&mut self, link: LinkId) -> Option<usize> {
        let connection = self.connection(link)?;
        let more = connection.blocked.is_none() && connection.conn.is_waiting() && !connection.rest.is_empty();
        let seat = connection.seat.filter(|_| more)?;
        self.shards[seat].0.holds(link).then_some(seat)
    }

    /// Parses the bytes of a connection as far as possible.
    fn advance(&mut self, now: Time, link: LinkId) {
        if let Some(seat) = self.has_more_behind_poll(link) {
            let (shard, out) = &mut self.shards[seat];
            shard.end_poll(now, link, out);
            self.drain_outputs(now);
        }
        let mut arrivals = Arrivals::default();
        let most = self.config.max_blocked_bytes;
        let Some(connection) = self.connection(link) else {
            return;
        };
        let Connection {
            conn, rest, blocked, ..
        } = connection;
        match blocked {
            None => conn.handle_bytes(rest, &mut arrivals),
            Some(blocked) if blocked.read < most => {
                let before = rest.len();
                conn.handle_bytes(rest, &mut arrivals);
                blocked.read += before - rest.len();
                if !arrivals.pongs.is_empty() {
                    blocked.pong = arrivals.pongs.take_latest();
                }
            }
            Some(_) => {}
        }
        if let Some(mut head) = arrivals.body_started.take()
            && let Routed::Session(shard) = self.router.route(&mut head)
        {
            self.sit(now, link, shard);
            let (shard, out) = &mut self.shards[shard];
            work(|| shard.handle_body_started(now, link, &head, out));
        }
        if let Some(request) = arrivals.request.take() {
            self.handle_request(now, link, request);
        }
        if let Some(seat) = self.connection(link).and_then(|connection| connection.seat) {
            let (shard, out) = &mut self.shards[seat];
            work(|| shard.handle_packets(now, link, &mut arrivals.packets, out));
        }
        self.drain_outputs(now);
        if self.connection(link).is_some() {
            if !arrivals.pongs.is_empty() {
                let pongs = arrivals.pongs.take_all();
                self.queue.push_back((0, Output::Bytes(link, pongs)));
            }
            let replies = arrivals.replies.drain(..);
            self.queue.extend(replies.map(|bytes| (0, Output::Bytes(link, bytes))));
        }
        if let Some(cause) = arrivals.closed.take()
            && let Some(connection) = self.forget(link)
        {
            self.queue.push_back((0, Output::End(link)));
            self.tell_closed(now, link, connection, cause);
        }
        if self.has_more_behind_poll(link).is_some() {
            self.resumed.push_back(link);
        }
    }

    fn handle_request(&mut self, now: Time, link: LinkId, mut request: Request) {
        request.extension = Some(Arc::new(Luggage));
        if request.may_open_session() {
            request.admission = self.door.decide(&request);
        }
        let shard = match self.router.route(&mut request) {
            Routed::Foreign => return self.queue.push_back((0, Output::Request(link, request.http))),
            Routed::Session(shard) => shard,
            Routed::New => {
                self.next += 1;
                self.next % self.shards.len()
            }
        };
        self.sit(now, link, shard);
        let (shard, out) = &mut self.shards[shard];
        work(|| shard.handle_request(now, link, &mut request, out));
    }

    fn settle(&mut self, now: Time) {
        loop {
            self.drain_outputs(now);
            let Some(link) = self.resumed.pop_front() else { return };
            self.advance(now, link);
        }
    }

    /// Turns the outputs of all shards into the caller's outputs.
    fn drain_outputs(&mut self, now: Time) {
        let mut more = true;
        while std::mem::take(&mut more) {
            for index in 0..self.shards.len() {
                let (shard, out) = &mut self.shards[index];
                // An application takes lone frames first, and flushes what else is ready.
                if self.takes_frames && out.writes.is_empty() {
                    let mut taken = Vec::new();
                    shard.take_frames(now, TAKEN, out, |link, frame| taken.push(Write::Frame(link, frame)));
                    if let Some((link, pair)) = shard.take_pair(now, out) {
                        taken.extend(pair.map(|frame| Write::Frame(link, frame)));
                    }
                    out.writes = taken;
                }
                more |= shard.flush_ready(now, FLUSH, out);
                more |= !out.deliveries.is_empty() || !out.writes.is_empty();
                let deliveries = out.deliveries.drain(..);
                self.queue
                    .extend(deliveries.map(|delivery| (index, Output::Delivery(delivery))));
                out.released.clear();
                for write in std::mem::take(&mut out.writes) {
                    self.write(now, write);
                }
            }
        }
    }

    fn write(&mut self, now: Time, write: Write) {
        let link = write.link();
        let Some(connection) = self.connection(link) else {
            return;
        };
        if matches!(&write, Write::Response(_, response) if response.is_kept()) || matches!(write, Write::Part(..)) {
            connection.outgoing.get_or_insert_default();
        }
        let Written { head, body, then } = match &mut connection.outgoing {
            None => write.encode(&mut BytesMut::new(), None),
            Some(outgoing) => outgoing.encode(write),
        };
        let pieces = [head, body].into_iter().filter(|bytes| !bytes.is_empty());
        self.queue.extend(pieces.map(|bytes| (0, Output::Bytes(link, bytes))));
        match then {
            Then::GoesOn => {}
            Then::Answered => self.resume(link, Conn::handle_answered),
            Then::Upgraded(wire) => {
                if let (Wire::Legacy06(_), Some(connection)) = (wire, self.connection(link)) {
                    connection.outgoing.get_or_insert_default();
                }
                self.resume(link, |conn| conn.handle_upgraded(wire));
            }
            Then::Ends => self.end(now, link, false),
            Then::Aborts => self.end(now, link, true),
        }
    }

    fn resume(&mut self, link: LinkId, change: impl FnOnce(&mut Conn)) {
        if let Some(connection) = self.connection(link) {
            change(&mut connection.conn);
            if !connection.rest.is_empty() {
                self.resumed.push_back(link);
            }
        }
    }

    /// The server ends a connection. If it aborts it, what has not left counts as not written.
    fn end(&mut self, now: Time, link: LinkId, aborts: bool) {
        let Some(mut connection) = self.forget(link) else {
            return;
        };
        self.queue.push_back((0, Output::End(link)));
        if connection.outgoing.is_some() || aborts {
            if !aborts {
                connection.outgoing = None;
            }
            self.tell_closed(now, link, connection, Cause::Failed);
        }
    }
}
