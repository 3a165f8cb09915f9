//! Bytes in, bytes out: a shard with its connections, for callers with their own event loop.

#[cfg(feature = "steps")]
mod holding;
mod outgoing;
mod slowly;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};

use super::route::Routed;
use super::{
    Admission, Cause, Delivery, Outputs, Peer, Posted, Request, Response, Router, Sent, Shard, Then, Write, Written,
};
use crate::config::ConfigError;
use crate::conn::{Arrivals, Conn};
use crate::wire::Inbound;
use crate::{Config, Entropy, LinkId, Time, http};
use outgoing::Outgoing;

/// How many links are flushed before other outputs are checked again.
const FLUSH: usize = 64;

/// A buffer of this size is not too large for a few bytes.
const SMALL: usize = 1024;

/// The most entries for which a list keeps its memory until the next input.
const MOST_KEPT: usize = 512;

/// A server for one thread and no runtime.
///
/// The loop around it is always the same. Accept a connection and call [`open`](Self::open). Read
/// bytes and call [`handle_bytes`](Self::handle_bytes). Wait no longer than
/// [`next_timeout`](Self::next_timeout), and then call [`handle_timeout`](Self::handle_timeout).
/// Commands of the user go to [`shard`](Self::shard). After each of these calls, and after each
/// command, take [`poll_output`](Self::poll_output) until it is `None`. Bytes that are not taken
/// count for no client's queue: the server cannot know that they still have to be written.
#[derive(Debug)]
pub struct Server {
    shard: Shard,
    router: Router,
    config: Arc<Config>,
    connections: Vec<Slot>,
    free: Vec<u32>,
    outputs: Outputs,
    arrivals: Arrivals,
    queue: VecDeque<Output>,
    /// Connections that may be read again, and have bytes to read.
    resumed: VecDeque<LinkId>,
    /// Connections whose clients have sent more than they may, by the time at which they go on
    /// ([`Slowed::until`]).
    slow: BTreeSet<(Time, LinkId)>,
    /// Connections that have got packets which could be sent on another connection.
    outgoing: Vec<LinkId>,
    decide: Decide,
    date: Option<http::Date>,
    scratch: BytesMut,
}

/// The function that decides about requests that may open a session.
struct Decide(Box<dyn FnMut(&Request) -> Admission + Send>);

impl fmt::Debug for Decide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decide")
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

#[derive(Debug)]
struct Connection {
    conn: Conn,
    /// Bytes that have arrived and cannot be used yet.
    rest: BytesMut,
    /// How much memory `rest` keeps, at most. Its capacity does not count what was taken from its
    /// front.
    rest_memory: usize,
    /// What waits until the client may send it, if anything does.
    slowed: Option<Box<Slowed>>,
    /// Set while the caller cannot write to the connection.
    blocked: Option<Blockage>,
    /// Set if packets that were not written can be sent on another connection.
    outgoing: Option<Box<Outgoing>>,
}

impl Connection {
    /// Adds bytes behind those that cannot be used yet.
    fn add_rest(&mut self, bytes: &[u8]) {
        let taken = self.rest_memory.saturating_sub(self.rest.capacity());
        self.rest.extend_from_slice(bytes);
        // A buffer that has grown has kept what was taken from its front.
        if self.rest.capacity() > self.rest_memory {
            self.rest_memory = self.rest.capacity().saturating_add(taken);
        }
    }

    /// Takes the buffer of `rest` away if nothing is left in it, or if it is large for what is
    /// left: a peer would pay a byte, and we a buffer.
    fn take_large(&mut self) -> Option<BytesMut> {
        if !self.rest.is_empty() && self.rest_memory <= 4 * self.rest.len() + SMALL {
            return None;
        }
        step!(bulk self.rest.len());
        let small = BytesMut::from(&self.rest[..]);
        self.rest_memory = small.capacity();
        Some(core::mem::replace(&mut self.rest, small))
    }
}

/// What a connection has sent and may not have sent yet.
#[derive(Debug)]
struct Slowed {
    /// When it may go on.
    until: Time,
    /// Packets of a websocket.
    packets: VecDeque<Inbound>,
    /// A POST, and its packets.
    post: Option<(Request, Posted)>,
}

/// The state of a link that cannot be written to.
#[derive(Debug, Default)]
struct Blockage {
    /// How many bytes the caller holds.
    held: usize,
    /// How many bytes have been taken from the peer meanwhile.
    read: usize,
    /// The answer to its latest ping.
    pong: Bytes,
}

/// An action for the caller.
#[derive(Debug)]
pub enum Output {
    /// Write these bytes on this link.
    Bytes(LinkId, Bytes),
    /// Close this link after all earlier outputs for it are written. The server has forgotten the
    /// link.
    End(LinkId),
    /// A request that is not for Socket.IO: answer it with [`Server::respond`].
    Request(LinkId, http::Request),
    /// An event for the user.
    Delivery(Delivery),
}

impl Server {
    /// A server without connections. `sid_key` is random, and is the server's secret.
    ///
    /// # Errors
    /// The config does not make sense.
    pub fn new(config: Config, sid_key: [u8; 16], entropy: Box<dyn Entropy>) -> Result<Self, ConfigError> {
        let shard = Shard::new(config, 0, sid_key, entropy)?;
        let config = Arc::clone(shard.config());
        Ok(Self {
            router: Router::new(&config, sid_key, 1),
            shard,
            config,
            connections: Vec::new(),
            free: Vec::new(),
            outputs: Outputs::default(),
            arrivals: Arrivals::default(),
            queue: VecDeque::new(),
            resumed: VecDeque::new(),
            slow: BTreeSet::new(),
            outgoing: Vec::new(),
            decide: Decide(Box::new(|_| Admission::Allowed)),
            date: None,
            scratch: BytesMut::new(),
        })
    }

    /// Sets the function that decides about each request that may open a session. Without this
    /// function, every request whose origin is allowed may open one.
    pub fn allow_request(&mut self, decide: impl FnMut(&Request) -> Admission + Send + 'static) {
        self.decide = Decide(Box::new(decide));
    }

    /// Sets the date in answers from now on (RFC 9110 §6.6.1). By default answers have no date, as
    /// is right for a server without a clock. A caller with a clock sets the date each second, and
    /// before the next input at the latest.
    pub const fn set_date(&mut self, date: Option<http::Date>) {
        self.date = date;
    }

    /// Reports that a connection has been accepted. Returns the name of the connection.
    pub fn open(&mut self, peer: Peer) -> LinkId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(Slot::default());
            (self.connections.len() - 1) as u32
        });
        let entry = &mut self.connections[slot as usize];
        let conn = Conn::new(Arc::clone(&self.config), peer);
        entry.connection = Some(Box::new(Connection {
            conn,
            rest: BytesMut::new(),
            rest_memory: 0,
            slowed: None,
            blocked: None,
            outgoing: None,
        }));
        LinkId::new(slot, entry.generation)
    }

    /// Reports bytes of a link. All of them are taken. A peer is cut off if it sends more than one
    /// further request while its request waits for an answer, or while it reads nothing. Check
    /// [`wants_bytes`](Self::wants_bytes) before reading. Then a peer that only waits for its turn
    /// is not cut off.
    pub fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: &mut BytesMut) {
        self.forget_written();
        let Some(connection) = self.connection(link) else {
            return bytes.clear();
        };
        if connection.rest.is_empty() {
            connection.rest_memory = bytes.capacity();
            core::mem::swap(&mut connection.rest, bytes);
        } else {
            step!(bulk bytes.len());
            connection.add_rest(bytes);
            bytes.clear();
        }
        self.advance(now, link);
        self.settle_while_reading(now, Some(link));
        let most = self.config.http.max_head_bytes + self.config.http.max_body_bytes;
        if self
            .connection(link)
            .is_some_and(|c| (c.conn.is_waiting() || c.blocked.is_some()) && c.rest.len() > most)
        {
            if let Some(connection) = self.forget(link) {
                self.queue.push_back(Output::End(link));
                self.give_back(now, link, *connection);
            }
            self.shard.handle_closed(now, link, Cause::Failed, &mut self.outputs);
            self.settle(now);
        }
        // The buffer goes back to the caller, which reads the next bytes into it.
        if let Some(large) = self.connection(link).and_then(Connection::take_large) {
            *bytes = large;
            bytes.clear();
        }
    }

    /// Reports that a link is gone: the peer closed it, or it failed.
    ///
    /// If the caller could not write all bytes of the link, it has to call
    /// [`handle_blocked`](Self::handle_blocked) before, with the number of bytes that it holds. In
    /// generations whose sessions outlive their connections, the packets among these bytes are sent
    /// on the next connection.
    pub fn handle_closed(&mut self, now: Time, link: LinkId, cause: Cause) {
        if let Some(connection) = self.forget(link) {
            self.give_back(now, link, *connection);
            self.shard.handle_closed(now, link, cause, &mut self.outputs);
            self.settle(now);
        }
    }

    /// Whether bytes of a link should be read. They should not while the link is blocked and as
    /// many bytes have been read as are allowed ([`Config::max_blocked_bytes`]), and while the
    /// client has sent more than it may ([`Config::session_rate`]). The caller should still notice
    /// the end of the link.
    #[must_use]
    pub fn wants_bytes(&self, link: LinkId) -> bool {
        let slot = self.connections.get(link.slot());
        let slot = slot.filter(|slot| slot.generation == link.generation());
        let connection = slot.and_then(|slot| slot.connection.as_ref());
        connection.is_none_or(|connection| {
            let most = self.config.max_blocked_bytes;
            let reads = connection.blocked.as_ref().is_none_or(|blocked| blocked.read < most);
            reads && connection.slowed.is_none()
        })
    }

    /// Reports that the operating system takes no more bytes for a link. From now on its packets
    /// wait in their session. `held` is the number of bytes that the caller still has to write.
    /// Call this again whenever some of them, but not all, have been written
    /// ([`Shard::handle_blocked`]).
    pub fn handle_blocked(&mut self, now: Time, link: LinkId, held: usize) {
        let budget = Arc::clone(self.shard.budget());
        if let Some(connection) = self.connection(link) {
            let blocked = connection.blocked.get_or_insert_default();
            budget.recharge(core::mem::replace(&mut blocked.held, held), held);
            if let Some(outgoing) = &mut connection.outgoing {
                outgoing.forget_written(held);
            }
            self.shard.handle_blocked(now, link, held);
        }
    }

    /// Reports that all bytes of a blocked link have been written.
    pub fn handle_drained(&mut self, now: Time, link: LinkId) {
        let budget = Arc::clone(self.shard.budget());
        if let Some(connection) = self.connection(link)
            && let Some(blocked) = connection.blocked.take()
        {
            budget.recharge(blocked.held, 0);
            if let Some(outgoing) = &mut connection.outgoing {
                outgoing.forget_written(0);
            }
            if !connection.rest.is_empty() {
                self.resumed.push_back(link);
            }
            if !blocked.pong.is_empty() {
                self.put(link, blocked.pong);
            }
        }
        self.shard.handle_drained(now, link);
        self.settle(now);
    }

    /// Reports that time has passed.
    pub fn handle_timeout(&mut self, now: Time) {
        self.forget_written();
        self.shard.handle_timeout(now, &mut self.outputs);
        self.go_on_slowly(now);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        let slowed = self.slow.first().map(|(until, _)| *until);
        slowed.into_iter().chain(self.shard.next_timeout()).min()
    }

    /// Gives the shard a command. Its results come out of [`poll_output`](Self::poll_output).
    /// What has become of its broadcasts ([`Outputs::sent`]) can be read by the command itself.
    pub fn shard<R>(&mut self, now: Time, command: impl FnOnce(&mut Shard, &mut Outputs) -> R) -> R {
        self.outputs.sent = Sent::default();
        self.outputs.collisions.clear();
        let result = command(&mut self.shard, &mut self.outputs);
        self.settle(now);
        result
    }

    /// Answers a request that was not for Socket.IO.
    pub fn respond(&mut self, now: Time, link: LinkId, response: Response) {
        self.outputs.writes.push(Write::Response(link, Box::new(response)));
        self.settle(now);
    }

    /// The next action for the caller; `None` if there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        // Asked before: an output that is looked at on its way is copied.
        if self.queue.is_empty() && self.queue.capacity() > MOST_KEPT {
            self.trim();
        }
        self.queue.pop_front()
    }

    /// Gives back the memory that one input with very many outputs has needed: there may never be
    /// another such input. Every other list of outputs has been as long as the queue at most.
    #[cold]
    fn trim(&mut self) {
        self.queue = VecDeque::new();
        let Outputs { deliveries, writes, .. } = &mut self.outputs;
        deliveries.shrink_to(MOST_KEPT);
        writes.shrink_to(MOST_KEPT);
    }

    /// The shard, for questions.
    pub(super) const fn as_shard(&self) -> &Shard {
        &self.shard
    }

    fn connection(&mut self, link: LinkId) -> Option<&mut Connection> {
        let slot = self
            .connections
            .get_mut(link.slot())
            .filter(|s| s.generation == link.generation())?;
        slot.connection.as_deref_mut()
    }

    fn forget(&mut self, link: LinkId) -> Option<Box<Connection>> {
        let slot = self
            .connections
            .get_mut(link.slot())
            .filter(|s| s.generation == link.generation());
        let slot = slot?;
        let connection = slot.connection.take()?;
        if let Some(blocked) = &connection.blocked {
            self.shard.budget().recharge(blocked.held, 0);
        }
        if let Some(slowed) = &connection.slowed {
            self.slow.remove(&(slowed.until, link));
        }
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(link.slot() as u32);
        Some(connection)
    }

    /// Gives the packets back that the caller has not written completely.
    fn give_back(&mut self, now: Time, link: LinkId, mut connection: Connection) {
        if let (Some(outgoing), Some(blocked)) = (&mut connection.outgoing, &connection.blocked) {
            outgoing.forget_written(blocked.held);
            if let Some(frames) = outgoing.take() {
                self.shard.handle_returned(now, link, frames);
            }
        }
    }

    /// Gives the caller bytes that are no packets of a session. They count, so that it is known
    /// which of the packets before them are written.
    fn put(&mut self, link: LinkId, bytes: Bytes) {
        if let Some(outgoing) = self.connection(link).and_then(|it| it.outgoing.as_mut()) {
            outgoing.note_others(bytes.len());
        }
        self.queue.push_back(Output::Bytes(link, bytes));
    }

    /// Forgets the packets that the caller has written: all packets of links that are not blocked.
    fn forget_written(&mut self) {
        for link in core::mem::take(&mut self.outgoing) {
            step!();
            if let Some(connection) = self.connection(link)
                && connection.blocked.is_none()
                && let Some(outgoing) = &mut connection.outgoing
            {
                outgoing.clear();
            }
        }
    }

    /// Whether bytes have come behind a GET that is held. They end the GET: the request behind it
    /// is handled at once, and the answer to the GET may leave.
    fn has_more_behind_poll(&mut self, link: LinkId) -> bool {
        let more = |c: &mut Connection| c.blocked.is_none() && c.conn.is_waiting() && !c.rest.is_empty();
        self.connection(link).is_some_and(more) && self.shard.holds(link)
    }

    /// Parses the bytes of a connection as far as possible.
    fn advance(&mut self, now: Time, link: LinkId) {
        if self.has_more_behind_poll(link) {
            self.shard.end_poll(now, link, &mut self.outputs);
            self.drain_outputs(now);
        }
        if self
            .connection(link)
            .is_some_and(|connection| connection.slowed.is_some())
        {
            return;
        }
        let mut arrivals = core::mem::take(&mut self.arrivals);
        arrivals.date = self.date;
        let max = self.pace(now, link);
        arrivals.max_packets = max;
        let most = self.config.max_blocked_bytes;
        if let Some(connection) = self.connection(link) {
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
        }
        if let Some(head) = arrivals.body_started.take() {
            self.shard.handle_body_started(now, link, &head, &mut self.outputs);
        }
        if let Some(mut request) = arrivals.request.take() {
            if request.may_open_session() {
                request.admission = (self.decide.0)(&request);
            }
            match self.router.route(&mut request) {
                Routed::Foreign => self.queue.push_back(Output::Request(link, request.http)),
                Routed::Session(_) if self.shard.measures() && request.packets() > 0 => {
                    let posted = Posted::new(request.take_packets());
                    self.hand_over_post(now, link, request, posted);
                }
                Routed::New | Routed::Session(_) => {
                    self.shard.handle_request(now, link, &mut request, &mut self.outputs);
                }
            }
        }
        // The bytes behind the last packet have not been decoded.
        let has_enough = max.is_some_and(|max| arrivals.packets.len() >= max.get());
        match max {
            None => self
                .shard
                .handle_packets(now, link, &mut arrivals.packets, &mut self.outputs),
            Some(_) => self.hand_over(now, link, core::mem::take(&mut arrivals.packets).into(), false),
        }
        // Answers of the connection itself come after the shard's answers to earlier bytes.
        self.drain_outputs(now);
        if self.connection(link).is_some() {
            if !arrivals.pongs.is_empty() {
                self.put(link, arrivals.pongs.take_all());
            }
            for reply in arrivals.replies.drain(..) {
                self.put(link, reply);
            }
        }
        arrivals.replies.clear();
        arrivals.pongs.clear();
        if arrivals.packets.capacity() > MOST_KEPT {
            arrivals.packets = Vec::new();
        }
        if let Some(cause) = arrivals.closed.take()
            && let Some(connection) = self.forget(link)
        {
            self.queue.push_back(Output::End(link));
            self.give_back(now, link, *connection);
            self.shard.handle_closed(now, link, cause, &mut self.outputs);
        }
        self.arrivals = arrivals;
        if has_enough || self.has_more_behind_poll(link) {
            self.resumed.push_back(link);
        }
    }

    /// Turns the shard's outputs into the caller's outputs, and reads on where the outputs allow
    /// it, until there is nothing more to do.
    ///
    /// This is a loop without recursion, because a peer may have pipelined as many requests as its
    /// bytes can hold. All answers of the shard to one request are queued before the next request
    /// is read.
    fn settle(&mut self, now: Time) {
        self.settle_while_reading(now, None);
    }

    /// As [`Server::settle`]. `reading` is the link whose buffer goes back to the caller.
    fn settle_while_reading(&mut self, now: Time, reading: Option<LinkId>) {
        loop {
            step!();
            self.drain_outputs(now);
            let Some(link) = self.resumed.pop_front() else { return };
            self.advance(now, link);
            if reading != Some(link)
                && let Some(connection) = self.connection(link)
            {
                connection.take_large();
            }
        }
    }

    /// Turns all outputs of the shard into the caller's outputs.
    fn drain_outputs(&mut self, now: Time) {
        loop {
            let more = self.shard.flush_ready(now, FLUSH, &mut self.outputs);
            self.queue
                .extend(self.outputs.deliveries.drain(..).map(Output::Delivery));
            self.outputs.released.clear();
            let mut writes = core::mem::take(&mut self.outputs.writes);
            for write in writes.drain(..) {
                step!();
                self.write(now, write);
            }
            if self.outputs.writes.is_empty() {
                self.outputs.writes = writes;
            }
            if !more && self.outputs.writes.is_empty() && self.outputs.deliveries.is_empty() {
                return;
            }
        }
    }

    fn write(&mut self, now: Time, write: Write) {
        let link = write.link();
        let Self {
            connections, scratch, ..
        } = self;
        let slot = connections.get_mut(link.slot());
        let slot = slot.filter(|slot| slot.generation == link.generation());
        let Some(connection) = slot.and_then(|slot| slot.connection.as_deref_mut()) else {
            return;
        };
        if matches!(&write, Write::Response(_, response) if response.is_kept()) || matches!(write, Write::Part(..)) {
            connection.outgoing.get_or_insert_default();
        }
        let Written { head, body, then } = match &mut connection.outgoing {
            None => write.encode(scratch, self.date.as_ref()),
            Some(outgoing) => {
                self.outgoing.push(link);
                outgoing.encode(write, scratch, self.date.as_ref())
            }
        };
        let pieces = [head, body].into_iter().filter(|bytes| !bytes.is_empty());
        self.queue.extend(pieces.map(|bytes| Output::Bytes(link, bytes)));
        match then {
            Then::GoesOn => {}
            Then::Answered => self.resume(link, Conn::handle_answered),
            Then::Upgraded(wire) => {
                if let (true, Some(connection)) = (wire.outlives_connection(), self.connection(link)) {
                    connection.outgoing.get_or_insert_default();
                }
                self.resume(link, |conn| conn.handle_upgraded(wire));
            }
            Then::Ends => self.end(now, link, false),
            Then::Aborts => self.end(now, link, true),
        }
    }

    /// A connection may be read again. The bytes that wait are read next.
    fn resume(&mut self, link: LinkId, change: impl FnOnce(&mut Conn)) {
        let Some(connection) = self.connection(link) else {
            return;
        };
        change(&mut connection.conn);
        if !connection.rest.is_empty() {
            self.resumed.push_back(link);
        }
    }

    /// The server ends a connection. If it aborts it, the bytes that the caller holds count as not
    /// written.
    fn end(&mut self, now: Time, link: LinkId, aborts: bool) {
        if let Some(connection) = self.forget(link) {
            self.queue.push_back(Output::End(link));
            // The session may wait for the packets of a connection that is aborted, even if there
            // are none.
            if connection.outgoing.is_some() || aborts {
                if aborts {
                    self.give_back(now, link, *connection);
                }
                self.shard.handle_closed(now, link, Cause::Failed, &mut self.outputs);
            }
        }
    }
}
