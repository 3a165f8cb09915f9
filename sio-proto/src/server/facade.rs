//! Bytes in, bytes out: a shard with its connections, for callers with an event loop of their own.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};

use super::route::Routed;
use super::{Admission, Cause, Delivery, Outputs, Peer, Request, Response, Router, Shard, Then, Write, Written};
use crate::config::ConfigError;
use crate::conn::{Arrivals, Conn};
use crate::{Config, Entropy, LinkId, Time, http};

/// Links flushed before other outputs are looked at again.
const FLUSH: usize = 64;

/// A server for one thread and no runtime.
///
/// The loop around it is always the same: accept and [`open`](Self::open); read and
/// [`handle_bytes`](Self::handle_bytes); wait no longer than [`next_timeout`](Self::next_timeout)
/// and then [`handle_timeout`](Self::handle_timeout); and after each of these take
/// [`poll_output`](Self::poll_output) until it is `None`. Commands of the user go to
/// [`shard`](Self::shard).
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
    /// Connections that may read on, and have something to read.
    resumed: VecDeque<LinkId>,
    decide: Decide,
    date: Option<http::Date>,
    scratch: BytesMut,
}

/// Who decides about requests that may open a session.
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
    /// What has come and cannot be used yet.
    rest: BytesMut,
    /// The caller cannot write to it at the moment.
    blocked: Option<Blockage>,
}

/// What is known of a link that cannot be written to.
#[derive(Debug, Default)]
struct Blockage {
    /// Bytes that the caller holds.
    held: usize,
    /// How many have been taken from the peer meanwhile.
    read: usize,
    /// The answer to its latest ping.
    pong: Bytes,
}

/// What the caller has to do.
#[derive(Debug)]
pub enum Output {
    /// Write these bytes on this link.
    Bytes(LinkId, Bytes),
    /// Close this link when what was said before is written. The link is forgotten already.
    End(LinkId),
    /// A request that is not Socket.IO's: answer it with [`Server::respond`].
    Request(LinkId, http::Request),
    /// Something for the user.
    Delivery(Delivery),
}

impl Server {
    /// A server without connections. `sid_key` is random and the server's secret.
    ///
    /// # Errors
    /// If the config does not make sense.
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
            decide: Decide(Box::new(|_| Admission::Allowed)),
            date: None,
            scratch: BytesMut::new(),
        })
    }

    /// Has this function decide about each request that may open a session. Without it all may, as
    /// far as their origin lets them.
    pub fn allow_request(&mut self, decide: impl FnMut(&Request) -> Admission + Send + 'static) {
        self.decide = Decide(Box::new(decide));
    }

    /// What answers say of the date from here on (RFC 9110 §6.6.1). By default they say nothing, as
    /// a server without a clock has to. A caller with one sets it anew each second, at the latest
    /// before the next input.
    pub const fn set_date(&mut self, date: Option<http::Date>) {
        self.date = date;
    }

    /// A connection has been accepted; the result is its name from here on.
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
            blocked: None,
        }));
        LinkId::new(slot, entry.generation)
    }

    /// Bytes came on a link. All of them are taken; a peer that goes on sending while its request
    /// waits for an answer, or while it reads nothing, by more than one further request, is cut
    /// off. Ask [`wants_bytes`](Self::wants_bytes) before reading, and that does not happen to
    /// peers that only wait for their turn.
    pub fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: &mut BytesMut) {
        let Some(connection) = self.connection(link) else {
            return bytes.clear();
        };
        if connection.rest.is_empty() {
            core::mem::swap(&mut connection.rest, bytes);
        } else {
            connection.rest.extend_from_slice(bytes);
            bytes.clear();
        }
        self.advance(now, link);
        self.settle(now);
        let most = self.config.http.max_head_bytes + self.config.http.max_body_bytes;
        if self
            .connection(link)
            .is_some_and(|c| (c.conn.is_waiting() || c.blocked.is_some()) && c.rest.len() > most)
        {
            self.end(link);
            self.shard.handle_closed(now, link, Cause::Failed, &mut self.outputs);
            self.settle(now);
        }
        // An idle connection keeps no buffer: an empty one goes back to the caller.
        if let Some(connection) = self.connection(link)
            && connection.rest.is_empty()
        {
            core::mem::swap(&mut connection.rest, bytes);
            connection.rest = BytesMut::new();
        }
    }

    /// A link is gone: closed by the peer, or failed.
    pub fn handle_closed(&mut self, now: Time, link: LinkId, cause: Cause) {
        if self.forget(link) {
            self.shard.handle_closed(now, link, cause, &mut self.outputs);
            self.settle(now);
        }
    }

    /// Whether bytes of a link are worth reading: not while it is blocked and as much has been read
    /// as may be ([`Config::max_blocked_bytes`]). Its end should be noticed nevertheless.
    #[must_use]
    pub fn wants_bytes(&self, link: LinkId) -> bool {
        let slot = self.connections.get(link.slot());
        let slot = slot.filter(|slot| slot.generation == link.generation());
        let blocked = slot.and_then(|slot| slot.connection.as_ref()?.blocked.as_ref());
        blocked.is_none_or(|blocked| blocked.read < self.config.max_blocked_bytes)
    }

    /// The operating system takes no more bytes for a link; its packets wait in their session.
    /// `held` is how many bytes the caller has yet to write. Call this again whenever some of them
    /// have been written and not all ([`Shard::handle_blocked`]).
    pub fn handle_blocked(&mut self, now: Time, link: LinkId, held: usize) {
        let budget = Arc::clone(self.shard.budget());
        if let Some(connection) = self.connection(link) {
            let blocked = connection.blocked.get_or_insert_default();
            budget.recharge(core::mem::replace(&mut blocked.held, held), held);
            self.shard.handle_blocked(now, link, held);
        }
    }

    /// A blocked link has been written empty.
    pub fn handle_drained(&mut self, now: Time, link: LinkId) {
        let budget = Arc::clone(self.shard.budget());
        if let Some(connection) = self.connection(link)
            && let Some(blocked) = connection.blocked.take()
        {
            budget.recharge(blocked.held, 0);
            if !connection.rest.is_empty() {
                self.resumed.push_back(link);
            }
            if !blocked.pong.is_empty() {
                self.queue.push_back(Output::Bytes(link, blocked.pong));
            }
        }
        self.shard.handle_drained(now, link);
        self.settle(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Time) {
        self.shard.handle_timeout(now, &mut self.outputs);
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.shard.next_timeout()
    }

    /// Gives the shard a command; what it causes comes out of [`poll_output`](Self::poll_output).
    pub fn shard<R>(&mut self, now: Time, command: impl FnOnce(&mut Shard, &mut Outputs) -> R) -> R {
        let result = command(&mut self.shard, &mut self.outputs);
        self.settle(now);
        result
    }

    /// Answers a request that was not Socket.IO's.
    pub fn respond(&mut self, now: Time, link: LinkId, response: Response) {
        self.outputs.writes.push(Write::Response(link, Box::new(response)));
        self.settle(now);
    }

    /// What the caller has to do next; `None` when everything has been said.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.queue.pop_front()
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

    fn forget(&mut self, link: LinkId) -> bool {
        let slot = self
            .connections
            .get_mut(link.slot())
            .filter(|s| s.generation == link.generation());
        let Some(slot) = slot.filter(|s| s.connection.is_some()) else {
            return false;
        };
        if let Some(blocked) = slot.connection.take().and_then(|connection| connection.blocked) {
            self.shard.budget().recharge(blocked.held, 0);
        }
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(link.slot() as u32);
        true
    }

    /// Whether bytes have come behind a GET that is held. They end it: what they bring is heard at
    /// once, and its answer may leave.
    fn has_more_behind_poll(&mut self, link: LinkId) -> bool {
        let more = |c: &mut Connection| c.blocked.is_none() && c.conn.is_waiting() && !c.rest.is_empty();
        self.connection(link).is_some_and(more) && self.shard.holds(link)
    }

    /// Parses what a connection has, as far as it goes.
    fn advance(&mut self, now: Time, link: LinkId) {
        if self.has_more_behind_poll(link) {
            self.shard.end_poll(now, link, &mut self.outputs);
            self.drain_outputs(now);
        }
        let mut arrivals = core::mem::take(&mut self.arrivals);
        arrivals.date = self.date;
        let most = self.config.max_blocked_bytes;
        if let Some(connection) = self.connection(link) {
            let Connection { conn, rest, blocked } = connection;
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
            match self.router.route(&request) {
                Routed::Foreign => self.queue.push_back(Output::Request(link, request.http)),
                Routed::New | Routed::Session(_) => self.shard.handle_request(now, link, request, &mut self.outputs),
            }
        }
        self.shard
            .handle_packets(now, link, &mut arrivals.packets, &mut self.outputs);
        // Answers of the connection itself go behind what the shard had to say to what came before
        // them.
        self.drain_outputs(now);
        if self.connection(link).is_some() {
            if !arrivals.pongs.is_empty() {
                self.queue.push_back(Output::Bytes(link, arrivals.pongs.take_all()));
            }
            let replies = arrivals.replies.drain(..);
            self.queue.extend(replies.map(|bytes| Output::Bytes(link, bytes)));
        }
        arrivals.replies.clear();
        arrivals.pongs.clear();
        if let Some(cause) = arrivals.closed.take()
            && self.forget(link)
        {
            self.queue.push_back(Output::End(link));
            self.shard.handle_closed(now, link, cause, &mut self.outputs);
        }
        self.arrivals = arrivals;
        if self.has_more_behind_poll(link) {
            self.resumed.push_back(link);
        }
    }

    /// Turns the shard's outputs into the caller's, and reads on where that lets it, until both are
    /// done.
    ///
    /// A loop and no recursion: a peer may have pipelined as many requests as its bytes can hold.
    /// And whatever the shard had to say to a request is queued before the next one is read.
    fn settle(&mut self, now: Time) {
        loop {
            self.drain_outputs(now);
            let Some(link) = self.resumed.pop_front() else { return };
            self.advance(now, link);
        }
    }

    /// Turns the shard's outputs into the caller's, until there are none.
    fn drain_outputs(&mut self, now: Time) {
        loop {
            let more = self.shard.flush_ready(now, FLUSH, &mut self.outputs);
            self.queue
                .extend(self.outputs.deliveries.drain(..).map(Output::Delivery));
            self.outputs.released.clear();
            let mut writes = core::mem::take(&mut self.outputs.writes);
            for write in writes.drain(..) {
                self.write(write);
            }
            if self.outputs.writes.is_empty() {
                self.outputs.writes = writes;
            }
            if !more && self.outputs.writes.is_empty() && self.outputs.deliveries.is_empty() {
                return;
            }
        }
    }

    fn write(&mut self, write: Write) {
        let link = write.link();
        if self.connection(link).is_none() {
            return;
        }
        let Written { head, body, then } = write.encode(&mut self.scratch, self.date.as_ref());
        let pieces = [head, body].into_iter().filter(|bytes| !bytes.is_empty());
        self.queue.extend(pieces.map(|bytes| Output::Bytes(link, bytes)));
        match then {
            Then::GoesOn => {}
            Then::Answered => self.resume(link, Conn::handle_answered),
            Then::Upgraded(wire) => self.resume(link, |conn| conn.handle_upgraded(wire)),
            Then::Ends | Then::Aborts => self.end(link),
        }
    }

    /// A connection may read on; what has been waiting is read next.
    fn resume(&mut self, link: LinkId, change: impl FnOnce(&mut Conn)) {
        let Some(connection) = self.connection(link) else {
            return;
        };
        change(&mut connection.conn);
        if !connection.rest.is_empty() {
            self.resumed.push_back(link);
        }
    }

    /// We end a connection; the shard has done with it.
    fn end(&mut self, link: LinkId) {
        if self.forget(link) {
            self.queue.push_back(Output::End(link));
        }
    }
}
