//! One connection: everything that an adapter's task does with a socket, except the socket itself.
//!
//! ```text
//!                      ┌────────────── blocked: wait for room, drain, tell the shard
//!   Source ─► read ─► Conn ─► turn (shard, handlers, writes) ─► Link ─► Outlet
//!     ▲                │                                         │
//!     │                └── a request waits: what follows is kept │ finished: read on until the peer closes, or a moment later
//!     └──────────────────────────────────────────────────────────┘
//! ```
//!
//! Bytes are read into a buffer that belongs to the thread. Only an incomplete message moves into a
//! buffer of the connection, until the message is complete. So an idle connection has no buffer,
//! and a large message needs no more reads than necessary.

mod blocked;
mod marks;
#[cfg(feature = "redis")]
mod relayed;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use sio_proto::conn::{Arrivals, Conn, Stage, flash_policy};
use sio_proto::server::{Cause, Peer, Write};
use sio_proto::wire::Wire;

use crate::host::place::Place;
use crate::host::remains::Remains;
use crate::link::connections::{STEP, UNCOUNTED, in_steps};
use crate::link::ends::{Outlet, Source};
use crate::link::{Awaiting, Item, Link, Standing};
use crate::trim::trim;
use crate::turn::{self, Lent, Turn};
use crate::user::io::Io;

use marks::Marks;

/// The size of the thread's read buffer. A message of 64 KiB fits into it with all its framing.
const READ_BYTES: usize = 128 * 1024;

/// When this many bytes of the buffer are used up, the buffer gets its whole size back. The number
/// is small, so that the bytes stay in the processor's nearest cache.
const READ_SLICE: usize = 4 * 1024;

/// How many steps a connection does before other connections have their turn: a request is one
/// step, and [`PACKETS_A_STEP`] packets are one. So if one peer sends much ahead, the other
/// connections of its thread wait only a moment.
const STEPS_A_POLL: u16 = 32;

/// This many packets of a websocket count as one step.
const PACKETS_A_STEP: usize = 64;

thread_local! {
    static READ: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static ARRIVALS: Lent<Arrivals> = const { Lent::new() };
}

/// Whether nobody holds a part of this thread's read buffer.
#[cfg(test)]
pub(crate) fn is_read_buffer_free() -> bool {
    let mut buffer = READ.take().unwrap_or_default();
    let free = buffer.try_reclaim(READ_BYTES);
    READ.with(|read| read.set(Some(buffer)));
    free
}

/// One connection. An adapter makes it when it has accepted a socket, and polls it until it is
/// ready.
pub struct Connection {
    conn: Conn,
    place: Place,
    /// The incomplete bytes that have been read.
    rest: Remains,
    /// How many of the incomplete bytes have been counted
    /// ([`Options::max_receiving_bytes`](crate::Options::max_receiving_bytes)), in steps of
    /// [`STEP`].
    counted: u32,
    /// The number of requests whose answers have not been written: one, or two if the first is a
    /// held GET. There are more only while the socket takes nothing.
    unanswered: u32,
    /// How many bytes have been read since the socket was found full.
    read_blocked: u32,
    /// The steps that have been done since the task was polled. They are not fewer than
    /// [`STEPS_A_POLL`] if the other connections have to have their turn for another reason.
    steps: u16,
    /// The stage that the link was told last.
    stage: Stage,
    marks: Marks,
}

// There is one for every idle client. A task of tokio has 104 bytes beside its future, and memory
// in steps of 128. So the connection fits into the second step, together with a pointer.
const _: () = assert!(size_of::<Connection>() <= 144);

impl Connection {
    /// Takes up a connection. Returns `None` if a limit of connections is reached, or the server is
    /// closing.
    #[must_use]
    pub fn new(io: &Io, peer: Peer, outlet: impl Outlet) -> Option<Self> {
        let traffic = Arc::clone(&io.0.tally.traffic);
        Self::on(io, peer, Arc::new(Link::new(outlet, traffic)))
    }

    fn on(io: &Io, peer: Peer, link: Arc<Link>) -> Option<Self> {
        let io = &io.0;
        if !io.takes_up() {
            return None;
        }
        let place = Place::new(io, Arc::clone(&link), &peer, true)?;
        io.look_after(&link, place.slot(), io.now(), None);
        let mut connection = Self::at(place, Conn::new(Arc::clone(io.config()), peer));
        connection.note_stage(&[]);
        Some(connection)
    }

    /// Takes up a connection to a port that serves only the Flash policy
    /// ([`Config::flash_policy`](crate::Config::flash_policy)). The server sends the policy at
    /// once, whether the peer asks or not, and then ends the connection. It counts as a connection,
    /// and has as much time as a closing one. Returns `None` in the cases of [`Connection::new`].
    #[must_use]
    pub fn flash_policy(io: &Io, peer: Peer, outlet: impl Outlet) -> Option<Self> {
        let connection = Self::new(io, peer, outlet)?;
        let link = &connection.place.link;
        link.push(Item::Bytes(flash_policy(io.0.config())));
        link.push(Item::Finish);
        turn::run(io.0.runtime(), |turn| turn.touch_link(link, None));
        Some(connection)
    }

    /// Takes up a link that is a websocket already. `ahead` are the peer's bytes that were read
    /// together with the request.
    pub(crate) fn upgraded(mut place: Place, wire: Wire, mut ahead: BytesMut) -> Self {
        place.fail_if_dropped();
        place.link.rest_if_queued();
        let mut conn = Conn::new(Arc::clone(place.io.config()), Peer::default());
        conn.handle_upgraded(wire);
        let mut connection = Self::at(place, conn);
        connection.process(&mut ahead);
        if !ahead.is_empty() {
            // The buffer belongs to the other server and is large, so the bytes are copied into a
            // small one.
            connection.rest.keep_copy(&ahead);
        }
        connection.count_received();
        connection
    }

    /// Takes up a link that is never read from: it carries the body of an answer.
    pub(crate) fn streaming(place: Place) -> Self {
        let conn = Conn::new(Arc::clone(place.io.config()), Peer::default());
        Self::at(place, conn)
    }

    fn at(place: Place, conn: Conn) -> Self {
        Self {
            conn,
            place,
            rest: Remains::default(),
            counted: 0,
            unanswered: 0,
            read_blocked: 0,
            steps: 0,
            stage: Stage::Waiting,
            marks: Marks::default(),
        }
    }

    /// Whether nothing is read from the connection for now.
    #[cfg(test)]
    pub(crate) fn is_paced(&self) -> bool {
        self.place.is_paced()
    }

    /// Whether the buffer of its incomplete bytes has room for so many.
    #[cfg(test)]
    pub(crate) fn keeps_room(&mut self, bytes: usize) -> bool {
        self.rest.has_room(bytes)
    }

    /// Whether the other connections of the thread have their turn before this one goes on.
    const fn has_had_its_turn(&self) -> bool {
        self.steps >= STEPS_A_POLL
    }

    /// The other connections of the thread have their turn now.
    fn end_turn(&mut self) {
        self.steps = self.steps.max(STEPS_A_POLL);
    }

    /// Ends the turn if work has been left.
    fn note_left(&mut self) {
        if self.place.has_left() {
            self.end_turn();
        }
    }

    /// Makes the connection's task.
    pub fn drive<S: Source + Unpin>(self, source: S) -> Driven<S> {
        Driven {
            connection: self,
            source,
        }
    }

    /// Does everything that can be done now. The result is ready when the connection has ended and
    /// the socket can be dropped.
    ///
    /// Handlers of the connection's client run inside this call. So it must not be made under a
    /// lock that they take.
    pub fn poll<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Poll<()> {
        self.steps = 0;
        if self.place.has_left() {
            self.place.go_on_with_left();
            self.place.note_lag();
            self.note_left();
            if !self.place.has_left() {
                self.answer_overtaken();
                self.count_received();
            }
        }
        loop {
            if self.has_had_its_turn() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.place.poll_decision(cx) {
                self.note_left();
                self.count_received();
                continue;
            }
            match self.place.link.standing_for(cx.waker()) {
                Standing::Open => self.read_blocked = 0,
                Standing::Resting => {
                    if self.poll_rest(cx).is_ready() {
                        continue;
                    }
                }
                Standing::Blocked => match source.poll_writable(cx) {
                    Poll::Ready(Ok(())) => {
                        self.drain();
                        continue;
                    }
                    Poll::Ready(Err(_)) => {
                        self.place.link.cut();
                        continue;
                    }
                    Poll::Pending if self.is_unwelcome() => {
                        self.place.link.cut();
                        continue;
                    }
                    Poll::Pending => {
                        self.limit_end();
                        if self.read_blocked as usize >= self.place.io.config().max_blocked_bytes.min(u32::MAX as usize)
                        {
                            // The peer does not read, so nothing more is read from it. If the
                            // connection breaks, the write side notices.
                            return Poll::Pending;
                        }
                    }
                },
                Standing::Finished => self.begin_to_linger(),
                Standing::Cut => {
                    self.place.end(Cause::Failed);
                    return Poll::Ready(());
                }
            }
            if self.place.is_held_back() {
                if self.place.poll_held_back(cx).is_pending() {
                    return Poll::Pending;
                }
                self.steps += 1;
                self.note_left();
                self.count_received();
                continue;
            }
            #[cfg(feature = "redis")]
            match self.poll_passing(cx, source) {
                None => {}
                Some(Poll::Ready(true)) => continue,
                Some(end) => return end.map(drop),
            }
            if self.catch_up() || self.marks.has(Marks::HAS_MORE) {
                self.process_rest();
                continue;
            }
            if self.conn.is_waiting()
                && !self.rest.is_empty()
                && self.rest.len() >= self.place.io.options.max_pipelined_bytes
            {
                if self.must_catch_up() {
                    continue;
                }
                return Poll::Pending;
            }
            match self.read(cx, source) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Pending if self.must_catch_up() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads once, and does everything that follows from it. Returns false at the end of the
    /// connection.
    fn read<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Poll<bool> {
        let shared = self.rest.is_empty();
        let mut buffer = if shared {
            READ.take().unwrap_or_default()
        } else {
            self.rest.take()
        };
        if shared {
            make_whole(&mut buffer);
        } else {
            buffer.reserve(self.conn.missing_bytes().clamp(READ_SLICE, READ_BYTES));
            self.rest.note_growth(&buffer);
        }
        let read = source.poll_read(cx, &mut buffer);
        if shared && read.is_pending() {
            // The connection keeps what it kept before, so there is nothing to count.
            READ.with(|read| read.set(Some(buffer)));
            return Poll::Pending;
        }
        if let Poll::Ready(Ok(bytes @ 1..)) = read {
            self.place.io.tally.traffic.read(bytes);
            self.note_read(bytes);
            self.steps += 1;
            if self.marks.has(Marks::LINGERING) {
                buffer.clear();
            } else {
                self.process(&mut buffer);
            }
        }
        if shared {
            if !buffer.is_empty() {
                self.rest.keep_copy(&buffer);
                buffer.clear();
            }
            READ.with(|read| read.set(Some(buffer)));
        } else if !buffer.is_empty() {
            self.rest.keep(buffer);
        }
        self.count_received();
        match read {
            Poll::Ready(Ok(1..)) => Poll::Ready(true),
            Poll::Ready(Ok(_)) => {
                self.place.end(Cause::Closed);
                Poll::Ready(false)
            }
            Poll::Ready(Err(_)) => {
                self.place.end(Cause::Failed);
                Poll::Ready(false)
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// Counts incomplete bytes in steps, so that small messages need no access to the shared count.
    /// If there are too many, the connection is closed.
    #[inline]
    fn count_received(&mut self) {
        if !self.keeps_nothing() && !self.has_room() {
            self.make_room();
        }
    }

    /// Notes that this number of bytes has been read.
    #[inline]
    fn note_read(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.read_blocked = self.read_blocked.saturating_add(bytes);
    }

    /// Whether the connection keeps no received bytes, and none are counted. This is usual.
    #[inline]
    fn keeps_nothing(&self) -> bool {
        self.counted == 0
            && self.rest.is_empty()
            && !self.place.has_left()
            && self.place.keeps_nothing()
            && self.conn.held_bytes() == 0
    }

    #[cold]
    fn make_room(&mut self) {
        // The work of a payload is several times as large as the payload. There is no room to keep
        // this work for later, so all of it is done now.
        while self.place.has_left() {
            self.place.go_on_with_left();
        }
        self.answer_overtaken();
        if !self.has_room() {
            self.place.io.warn_of_crowd();
            self.place.link.cut();
        }
    }

    /// Counts the received bytes that the connection keeps. Returns false if there is no room for
    /// them.
    #[inline]
    fn has_room(&mut self) -> bool {
        let received = self.rest.memory() + self.conn.held_bytes() + self.place.left_bytes();
        let received = received + self.place.asking_bytes() + self.place.pacing_bytes() + self.place.passing_bytes();
        let before = self.counted as usize * STEP;
        if received <= before + UNCOUNTED && (self.counted == 0 || 4 * in_steps(received) > before) {
            return true;
        }
        let counted = in_steps(received);
        let has_room = self.place.receive(counted);
        if has_room {
            self.counted = (counted / STEP) as u32;
        }
        has_room
    }

    fn process_rest(&mut self) {
        self.marks.set(Marks::HAS_MORE, false);
        let mut rest = self.rest.take();
        self.process(&mut rest);
        if !rest.is_empty() {
            self.rest.keep(rest);
        }
        self.count_received();
    }

    /// Takes complete messages out of `bytes`. The next request is taken when the one before it has
    /// been answered.
    fn process(&mut self, bytes: &mut BytesMut) {
        while !bytes.is_empty() {
            if self.has_had_its_turn() || self.must_wait() {
                self.marks.set(Marks::HAS_MORE, true);
                break;
            }
            self.steps += 1;
            let before = bytes.len();
            let is_websocket = self.conn.is_websocket();
            ARRIVALS.with(|arrivals| {
                arrivals.with(|arrivals| {
                    if !is_websocket {
                        arrivals.date = self.place.io.tally.traffic.date();
                    }
                    arrivals.max_packets = NonZeroUsize::new(self.place.most_packets());
                    self.conn.handle_bytes(bytes, arrivals);
                    self.handle(arrivals);
                    trim(&mut arrivals.packets);
                });
            });
            let news = !is_websocket && self.catch_up();
            if bytes.len() == before && !news && !self.reads_ahead(bytes) {
                break;
            }
        }
        // A websocket may have waited for bytes: the last bytes of an old websocket's handshake
        // follow its head.
        if !self.conn.is_websocket() || self.stage == Stage::Head {
            self.note_stage(bytes);
        }
    }

    /// Whether nothing more of a message is decoded for now.
    #[inline]
    fn must_wait(&mut self) -> bool {
        let waits = self.place.must_wait(self.conn.held_bytes());
        if waits {
            self.place.excuse_delayed(|| self.conn.started());
        }
        waits
    }

    /// Whether the next request is read before the present one has been answered. This is so if the
    /// present one is a held GET.
    fn reads_ahead(&mut self, bytes: &[u8]) -> bool {
        !bytes.is_empty() && self.conn.is_waiting() && self.place.holds() && self.conn.handle_held()
    }

    /// Tells the link what the peer has to send next, and until when.
    fn note_stage(&mut self, bytes: &[u8]) {
        let stage = self.conn.stage(bytes);
        if stage == self.stage {
            return;
        }
        self.stage = stage;
        let options = &self.place.io.options;
        let patience = match stage {
            Stage::Idle | Stage::Closed => options.idle_timeout,
            Stage::Head => options.head_timeout,
            Stage::Body => options.body_timeout,
            // A peer that waits for us is not late.
            Stage::Waiting | Stage::WebSocket => return self.place.link.set_awaiting(None),
        };
        let until = self.place.io.now() + patience;
        self.place.link.set_awaiting(Some(Awaiting { stage, until }));
    }

    fn handle(&mut self, arrivals: &mut Arrivals) {
        let nothing = arrivals.request.is_none()
            && arrivals.body_started.is_none()
            && arrivals.packets.is_empty()
            && arrivals.pongs.is_empty()
            && arrivals.replies.is_empty()
            && arrivals.closed.is_none();
        if !nothing {
            if arrivals.request.is_some() || !arrivals.packets.is_empty() {
                self.place.note_complete();
            }
            let runtime = self.place.io.runtime();
            let (overtaken, leftover) = turn::run_a_while(runtime, |turn| self.handle_in(turn, arrivals));
            if leftover.is_some() {
                self.place.leave_work(leftover);
                self.end_turn();
            }
            self.place.note_lag();
            if overtaken.is_some() {
                self.place.aside.parts().overtaken = overtaken;
                self.answer_overtaken();
            }
        }
    }

    /// Answers the held GET when the handlers have run: with the packets that they have sent, if
    /// there are any.
    fn answer_overtaken(&mut self) {
        if !self.place.has_left()
            && let Some(answers) = self.place.aside.take(|aside| aside.overtaken.take())
        {
            turn::run(self.place.io.runtime(), |turn| {
                self.place.answer_in_order(turn, answers)
            });
        }
    }

    /// Handles arrivals. Returns the answers to a request that has overtaken the held GET.
    fn handle_in(&mut self, turn: &Turn, arrivals: &mut Arrivals) -> Option<Vec<Write>> {
        let mut overtaken = None;
        let behind = self.unanswered > 0;
        if behind && (arrivals.body_started.is_some() || !arrivals.replies.is_empty() || arrivals.closed.is_some()) {
            self.place.answer_in_order(turn, Vec::new());
        }
        if !arrivals.packets.is_empty() {
            let steps = u16::try_from(arrivals.packets.len() / PACKETS_A_STEP).unwrap_or(u16::MAX);
            self.steps = self.steps.saturating_add(steps);
            self.place.give_packets(turn, &mut arrivals.packets);
        }
        arrivals.packets.clear();
        // A request is large, and taking one out copies its whole place even if there is none. So
        // packets come by here without it.
        if arrivals.body_started.is_some() || arrivals.request.is_some() {
            overtaken = self.handle_request_in(turn, arrivals, behind);
        }
        if !arrivals.pongs.is_empty() {
            self.place.link.push_pongs(&mut arrivals.pongs);
            arrivals.pongs.clear();
            turn.touch_link(&self.place.link, None);
        }
        if !arrivals.replies.is_empty() || arrivals.closed.is_some() {
            arrivals
                .replies
                .drain(..)
                .for_each(|reply| self.place.link.push(Item::Bytes(reply)));
            if let Some(cause) = arrivals.closed.take() {
                self.place.leave_seat(turn, cause);
                self.place.link.push(Item::Finish);
            }
            turn.touch_link(&self.place.link, None);
        }
        overtaken
    }

    /// Handles the request of the arrivals. Returns its answers if it has overtaken the held GET.
    #[inline(never)]
    fn handle_request_in(&mut self, turn: &Turn, arrivals: &mut Arrivals, behind: bool) -> Option<Vec<Write>> {
        if let Some(mut request) = arrivals.body_started.take() {
            self.place.handle_body_started(turn, &mut request);
        }
        let request = &mut arrivals.request;
        if request.is_none() {
            return None;
        }
        self.stage = Stage::Waiting;
        self.place.link.set_awaiting(None);
        self.unanswered += 1;
        let overtaken = if behind {
            self.place.handle_behind(turn, request)
        } else {
            self.place.handle_request(turn, request);
            None
        };
        if let Some(request) = request {
            self.conn.handle_routed(request);
        }
        // It holds a part of the thread's read buffer.
        *request = None;
        overtaken
    }

    /// Takes the news of the write side: the answer that the next request has waited for, or the
    /// upgrade. Returns true if there was news.
    #[inline]
    fn catch_up(&mut self) -> bool {
        !self.conn.is_websocket() && self.take_news()
    }

    fn take_news(&mut self) -> bool {
        let news = self.place.link.take_news();
        if let Some(wire) = news.upgraded {
            self.conn.handle_upgraded(wire);
            return true;
        }
        self.unanswered = self.unanswered.saturating_sub(news.answered);
        let answered = news.answered > 0 && self.unanswered == 0;
        if answered {
            self.place.note_all_answered();
            self.conn.handle_answered();
            if self.place.io.is_empty() {
                self.finish();
            }
        }
        answered
    }

    /// Called before the task goes to sleep while bytes wait for an answer. Returns true if the
    /// answer has been written already.
    fn must_catch_up(&self) -> bool {
        self.conn.is_waiting() && !self.rest.is_empty() && self.place.link.await_news()
    }

    /// Ends the connection after what is queued. Further requests of the peer are not answered.
    fn finish(&self) {
        let link = &self.place.link;
        link.push(Item::Finish);
        turn::run(self.place.io.runtime(), |turn| turn.touch_link(link, None));
    }

    /// Called when the last byte has been written. If the peer is still sending, closing at once
    /// could destroy the last bytes on their way. So the peer gets a moment.
    fn begin_to_linger(&mut self) {
        if !self.marks.has(Marks::LINGERING) {
            self.marks.set(Marks::LINGERING, true);
            self.rest = Remains::default();
            self.marks.set(Marks::HAS_MORE, false);
            self.place.end(Cause::Closed);
            match self.place.link.is_relayed() {
                // Its last bytes are not with the client yet. The relay ends when they are.
                true => self.place.io.end_soon(self.place.slot()),
                false => self.place.io.linger(self.place.slot()),
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("conn", &self.conn)
            .field("kept", &self.rest.len())
            .finish_non_exhaustive()
    }
}

/// A connection's task. It is small, because there is one for every idle client, and runtimes give
/// tasks memory in large steps.
#[derive(Debug)]
#[must_use = "a connection is driven only while this is polled"]
pub struct Driven<S> {
    connection: Connection,
    source: S,
}

impl<S: Source + Unpin> Future for Driven<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { connection, source } = self.get_mut();
        connection.poll(cx, source)
    }
}

/// Gives the thread's buffer its whole size back. If somebody still holds a slice of it, a new
/// buffer replaces it.
fn make_whole(buffer: &mut BytesMut) {
    if buffer.capacity() < READ_BYTES - READ_SLICE
        && !buffer.try_reclaim(READ_BYTES)
        && buffer.capacity() < READ_BYTES / 4
    {
        *buffer = BytesMut::with_capacity(READ_BYTES);
    }
}
