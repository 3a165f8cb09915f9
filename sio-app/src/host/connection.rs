//! One connection, driven: what an adapter's task does with its socket, without the socket.
//!
//! ```text
//!                      ┌────────────── blocked: wait for room, drain, tell the shard
//!   Source ─► read ─► Conn ─► turn (shard, handlers, writes) ─► Link ─► Outlet
//!     ▲                │                                         │
//!     │                └── a request waits: what follows is kept │ finished: read on until the peer closes, or a moment later
//!     └──────────────────────────────────────────────────────────┘
//! ```
//!
//! The bytes are read into a buffer that belongs to the thread; only what is incomplete moves into
//! one of the connection's own, and only until it is complete. So an idle connection holds no
//! buffer, and a large message costs no more reads than it has to.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use sio_proto::conn::{Arrivals, Conn, Stage, flash_policy};
use sio_proto::server::{Cause, Peer, Write};
use sio_proto::wire::Wire;

use crate::Io;
use crate::host::connections::{UNCOUNTED, in_steps};
use crate::host::place::{Place, Seat};
use crate::link::{Awaiting, Item, Link, Outlet, Progress, Standing};
use crate::turn::later::Later;
use crate::turn::shard::{Batch, trim};
use crate::turn::{self, Lent, Turn};
use crate::user::io::Inner;

/// The thread's read buffer. A message of 64 KiB fits with everything around it.
const READ_BYTES: usize = 128 * 1024;

/// So much of it is used up before it is made whole again: little enough to stay in the processor's
/// nearest cache.
const READ_SLICE: usize = 4 * 1024;

/// How much a connection does before others have their turn: requests, and packets by the
/// [`PACKETS_A_STEP`]. What one peer sends ahead then costs the others of its thread a moment, and
/// not as long as all of it takes.
const STEPS_A_POLL: u32 = 32;

/// So many packets of a websocket count as much as one request.
const PACKETS_A_STEP: usize = 64;

thread_local! {
    static READ: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static ARRIVALS: Lent<Arrivals> = const { Lent::new() };
}

/// Whether nobody has a part of this thread's read buffer.
#[cfg(test)]
pub(crate) fn is_read_buffer_free() -> bool {
    let mut buffer = READ.take().unwrap_or_default();
    let free = buffer.try_reclaim(READ_BYTES);
    READ.set(Some(buffer));
    free
}

/// The read side of a connection's socket, and its word on when there is room to write.
pub trait Source {
    /// Reads what there is, once, behind what is in `buffer`, without making it larger. `Ok(0)` is
    /// the end of the stream.
    ///
    /// # Errors
    /// Any error is the end of the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Waits until the outlet can take bytes again.
    ///
    /// # Errors
    /// Any error is the end of the connection.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// One connection. An adapter makes it when it has accepted one, and polls it until it is done.
pub struct Connection {
    conn: Conn,
    place: Place,
    /// What has been read and is incomplete.
    rest: BytesMut,
    /// So many bytes of what is incomplete have been counted
    /// ([`Options::max_receiving_bytes`](crate::Options::max_receiving_bytes)).
    counted: usize,
    waker: Option<Waker>,
    /// Requests whose answers have not been written: one, or two if the first is a GET that is
    /// held; more only while the socket takes nothing.
    unanswered: u32,
    /// What the link has been told is awaited.
    stage: Stage,
    /// How much has been read since the socket was found full.
    read_blocked: usize,
    /// What has been done since the task was polled.
    steps: u32,
    /// Bytes are left that were not looked at, because the others had to have their turn.
    has_more: bool,
    /// Work is left for the same reason. Nothing is read before it is done.
    later: Later,
    /// The answers to a request that has overtaken the GET before it, until the handlers have run.
    overtaken: Option<Vec<Write>>,
    /// What it has may be much work, of which the others have left too much.
    waits: bool,
    /// What waits for the socket is the last, and has a deadline.
    ending: bool,
    lingering: bool,
}

impl Connection {
    /// Takes up a connection; `None` if there are as many as may be, or the server is closing.
    #[must_use]
    pub fn new(io: &Io, peer: Peer, outlet: impl Outlet) -> Option<Self> {
        let io = &io.0;
        if !io.accepts() {
            return None;
        }
        let place = Place::new(
            io,
            Arc::new(Link::new(outlet, Arc::clone(&io.tally.traffic))),
            &peer,
            Cause::Failed,
        )?;
        io.look_after(&place.link, (io.runtime.now)(), None);
        let mut connection = Self::at(place, Conn::new(Arc::clone(&io.config), peer));
        connection.note_stage(&[]);
        Some(connection)
    }

    /// Takes up a connection to a port where nothing is served but the Flash policy
    /// ([`Config::flash_policy`](crate::Config::flash_policy)): it is told that at once, whether it
    /// asks or not, and then ends. It counts as a connection, and has the time of one that is
    /// closing; `None` as [`Connection::new`].
    #[must_use]
    pub fn flash_policy(io: &Io, peer: Peer, outlet: impl Outlet) -> Option<Self> {
        let connection = Self::new(io, peer, outlet)?;
        let link = &connection.place.link;
        link.push(Item::Bytes(flash_policy(&io.0.config)));
        link.push(Item::Finish);
        turn::run(io.0.runtime, |turn| turn.touch_link(link, None));
        Some(connection)
    }

    /// Takes up a link that is a websocket already. `ahead` are bytes of its peer that have been
    /// read with the request.
    pub(crate) fn upgraded(mut place: Place, wire: Wire, mut ahead: BytesMut) -> Self {
        place.dropped = Cause::Failed;
        if place.link.held() > 0 {
            place.link.rest();
        }
        let mut conn = Conn::new(Arc::clone(&place.io.config), Peer::default());
        conn.handle_upgraded(wire);
        let mut connection = Self::at(place, conn);
        connection.process(&mut ahead);
        if !ahead.is_empty() {
            // In no more memory than it needs: the buffer is the other server's, and large.
            connection.rest = trimmed(ahead);
        }
        connection.count_received();
        connection
    }

    /// Takes up a link of which nothing is read: what it carries is the body of an answer.
    pub(crate) fn streaming(place: Place) -> Self {
        let conn = Conn::new(Arc::clone(&place.io.config), Peer::default());
        Self::at(place, conn)
    }

    fn at(place: Place, conn: Conn) -> Self {
        let later = Later::new(Arc::clone(&place.io.kept));
        Self {
            conn,
            place,
            rest: BytesMut::new(),
            counted: 0,
            waker: None,
            unanswered: 0,
            stage: Stage::Waiting,
            read_blocked: 0,
            steps: 0,
            has_more: false,
            later,
            overtaken: None,
            waits: false,
            ending: false,
            lingering: false,
        }
    }

    /// Whether the others of its thread come before it goes on.
    const fn has_had_its_turn(&self) -> bool {
        self.steps >= STEPS_A_POLL || !self.later.is_empty() || self.waits
    }

    /// Whether the body that is coming stays what it is for now: taken apart it is many times as
    /// large.
    fn must_wait(&mut self) -> bool {
        self.waits = self.place.io.kept.delays(self.conn.held_bytes());
        self.waits
    }

    /// The connection's task.
    pub const fn drive<S: Source + Unpin>(self, source: S) -> Driven<S> {
        Driven {
            connection: self,
            source,
        }
    }

    /// Does everything that can be done now. Ready means that the connection has ended and the
    /// socket can go.
    pub fn poll<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Poll<()> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.place.link.set_waker(cx.waker());
            self.waker = Some(cx.waker().clone());
        }
        self.steps = 0;
        self.waits = false;
        if !self.later.is_empty() {
            self.later.go_on();
            if self.later.is_empty() {
                self.answer_overtaken();
                self.count_received();
            }
        }
        loop {
            if self.has_had_its_turn() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.place.link.standing() {
                Standing::Open => self.read_blocked = 0,
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
                        if self.read_blocked >= self.place.io.config.max_blocked_bytes {
                            // Whoever does not read has said enough. That the connection breaks is
                            // heard from its other side.
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
            if self.catch_up() || self.has_more {
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

    /// One read, and everything that follows from it. False at the end.
    fn read<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Poll<bool> {
        let shared = self.rest.is_empty();
        let mut buffer = if shared {
            READ.take().unwrap_or_default()
        } else {
            std::mem::take(&mut self.rest)
        };
        if shared {
            make_whole(&mut buffer);
        } else {
            buffer.reserve(self.conn.missing_bytes().clamp(READ_SLICE, READ_BYTES));
        }
        let read = source.poll_read(cx, &mut buffer);
        if let Poll::Ready(Ok(bytes @ 1..)) = read {
            self.place.io.tally.traffic.read(bytes);
            self.read_blocked += bytes;
            self.steps += 1;
            if self.lingering {
                buffer.clear();
            } else {
                self.process(&mut buffer);
            }
        }
        if shared {
            if !buffer.is_empty() {
                self.rest = BytesMut::from(&buffer[..]);
                buffer.clear();
            }
            READ.with(|read| read.set(Some(buffer)));
        } else if !buffer.is_empty() {
            self.rest = trimmed(buffer);
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

    /// What is incomplete counts in steps, so that whoever sends small messages asks nobody.
    /// Whoever sends too much of it goes.
    fn count_received(&mut self) {
        if self.has_room() {
            return;
        }
        // The work of a payload is several times as large as the payload. What is not kept for
        // later is done now, and nothing of it is left.
        while !self.later.is_empty() {
            self.later.go_on();
        }
        self.answer_overtaken();
        if !self.has_room() {
            self.place.io.warn_of_crowd();
            self.place.link.cut();
        }
    }

    /// Counts what it keeps of what has been received; false if there is no room for that.
    fn has_room(&mut self) -> bool {
        let received = self.rest.capacity() + self.conn.held_bytes() + self.later.bytes();
        if received <= self.counted + UNCOUNTED && (self.counted == 0 || received > UNCOUNTED) {
            return true;
        }
        let counted = in_steps(received);
        let has_room = self.place.receive(counted);
        if has_room {
            self.counted = counted;
        }
        has_room
    }

    fn process_rest(&mut self) {
        self.has_more = false;
        let mut rest = std::mem::take(&mut self.rest);
        self.process(&mut rest);
        if !rest.is_empty() {
            self.rest = trimmed(rest);
        }
        self.count_received();
    }

    /// Takes from `bytes` what is complete, request after request as they are answered.
    fn process(&mut self, bytes: &mut BytesMut) {
        while !bytes.is_empty() {
            if self.has_had_its_turn() || self.must_wait() {
                self.has_more = true;
                break;
            }
            self.steps += 1;
            let before = bytes.len();
            ARRIVALS.with(|arrivals| {
                arrivals.with(|arrivals| {
                    if !self.conn.is_websocket() {
                        arrivals.date = self.place.io.tally.traffic.date();
                    }
                    self.conn.handle_bytes(bytes, arrivals);
                    self.handle(arrivals);
                    trim(&mut arrivals.packets);
                });
            });
            let news = self.catch_up();
            if bytes.len() == before && !news && !self.reads_ahead(bytes) {
                break;
            }
        }
        // A websocket may have been awaited: the last bytes of an old one's handshake come behind
        // its head.
        if !self.conn.is_websocket() || self.stage == Stage::Head {
            self.note_stage(bytes);
        }
    }

    /// Whether the next request is read although the one before it has no answer: that is a GET
    /// which is held.
    fn reads_ahead(&mut self, bytes: &[u8]) -> bool {
        !bytes.is_empty() && self.conn.is_waiting() && self.place.holds() && self.conn.handle_held()
    }

    /// Tells the link what is awaited of the peer from here on, and how long.
    fn note_stage(&mut self, bytes: &[u8]) {
        let stage = self.conn.stage(bytes);
        if stage == self.stage {
            return;
        }
        self.stage = stage;
        let Inner { options, runtime, .. } = &*self.place.io;
        let patience = match stage {
            Stage::Idle | Stage::Closed => options.idle_timeout,
            Stage::Head => options.head_timeout,
            Stage::Body => options.body_timeout,
            // Who waits for us is not late.
            Stage::Waiting | Stage::WebSocket => return self.place.link.set_awaiting(None),
        };
        let until = (runtime.now)() + patience;
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
            let runtime = self.place.io.runtime;
            let (overtaken, leftover) = turn::run_a_while(runtime, |turn| self.handle_in(turn, arrivals));
            self.overtaken = overtaken;
            self.later.put(leftover);
            self.answer_overtaken();
        }
    }

    /// If the handlers have run, what they have sent is the answer to the GET, or there is none of
    /// theirs.
    fn answer_overtaken(&mut self) {
        if self.later.is_empty()
            && let Some(answers) = self.overtaken.take()
        {
            turn::run(self.place.io.runtime, |turn| self.place.answer_in_order(turn, answers));
        }
    }

    /// Gives back the answers to a request that has overtaken the GET before it.
    fn handle_in(&mut self, turn: &Turn, arrivals: &mut Arrivals) -> Option<Vec<Write>> {
        let mut overtaken = None;
        let behind = self.unanswered > 0;
        if behind && (arrivals.body_started.is_some() || !arrivals.replies.is_empty() || arrivals.closed.is_some()) {
            self.place.answer_in_order(turn, Vec::new());
        }
        if !arrivals.packets.is_empty()
            && let Some(Seat { cell, id, .. }) = &self.place.seat
        {
            self.steps += u32::try_from(arrivals.packets.len() / PACKETS_A_STEP).unwrap_or(u32::MAX / 2);
            let packets = &mut arrivals.packets;
            cell.input(turn, |state, now, out| {
                state.shard.handle_packets(now, *id, packets, out)
            });
        }
        arrivals.packets.clear();
        if let Some(request) = arrivals.body_started.take() {
            self.place.handle_body_started(turn, &request);
        }
        if let Some(request) = arrivals.request.take() {
            self.stage = Stage::Waiting;
            self.place.link.set_awaiting(None);
            self.unanswered += 1;
            if behind {
                overtaken = self.place.handle_behind(turn, request);
            } else {
                self.place.handle_request(turn, request);
            }
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

    /// Hears what was written: the answer that the next request has waited for, or the upgrade.
    /// True if there was news.
    fn catch_up(&mut self) -> bool {
        if self.conn.is_websocket() {
            return false;
        }
        let news = self.place.link.take_news();
        if let Some(wire) = news.upgraded {
            self.conn.handle_upgraded(wire);
            return true;
        }
        self.unanswered = self.unanswered.saturating_sub(news.answered);
        let answered = news.answered > 0 && self.unanswered == 0;
        if answered {
            self.conn.handle_answered();
            if self.place.io.is_empty() {
                self.finish();
            }
        }
        answered
    }

    /// Before the task goes to sleep with bytes that wait for an answer: true if the answer is
    /// there already.
    fn must_catch_up(&self) -> bool {
        self.conn.is_waiting() && !self.rest.is_empty() && self.place.link.await_news()
    }

    /// The socket has room: what waits is written, and the shard hears of it when that is all.
    fn drain(&mut self) {
        if self.place.link.take_over().is_none() {
            return;
        }
        turn::run(self.place.io.runtime, |turn| {
            let write = |batch: &mut Batch| self.place.link.write(batch.pen(), &mut std::iter::empty());
            let progress = turn.batch.with(write);
            match (progress, &self.place.seat) {
                (Progress::Full, Some(Seat { cell, id, .. })) => cell.block(turn, *id, &self.place.link),
                // The shard knows still.
                (Progress::Full | Progress::Stuck, _) => self.place.link.hand_over(),
                (Progress::Done, Some(Seat { cell, id, .. })) => {
                    cell.input(turn, |state, now, _| state.shard.handle_drained(now, *id));
                }
                (Progress::Done, None) => {}
            }
        });
    }

    /// Nothing will come of what the peer may yet ask.
    fn finish(&self) {
        let link = &self.place.link;
        link.push(Item::Finish);
        turn::run(self.place.io.runtime, |turn| turn.touch_link(link, None));
    }

    /// The socket is full, and so is the whole server: an answer that its peer does not take is not
    /// kept. Of websockets the shard chooses.
    fn is_unwelcome(&self) -> bool {
        !self.conn.is_websocket() && self.place.io.tally.traffic.waiting.is_exceeded()
    }

    /// The socket is full. Nobody may keep a connection that is over by not reading.
    fn limit_end(&mut self) {
        if !self.ending && self.place.link.is_ending() {
            self.ending = true;
            self.place.io.end_soon(&self.place.link);
        }
    }

    /// The last byte is written. Closing at once could destroy it on its way, if the peer is still
    /// sending: it gets a moment.
    fn begin_to_linger(&mut self) {
        if !self.lingering {
            self.lingering = true;
            self.rest = BytesMut::new();
            self.has_more = false;
            self.place.end(Cause::Closed);
            self.place.io.linger(&self.place.link);
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

/// A connection's task: as small as it can be, because there is one for every idle client.
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

/// Gives the thread's buffer its room back. What somebody still holds a slice of is let go.
fn make_whole(buffer: &mut BytesMut) {
    if buffer.capacity() < READ_BYTES - READ_SLICE
        && !buffer.try_reclaim(READ_BYTES)
        && buffer.capacity() < READ_BYTES / 4
    {
        *buffer = BytesMut::with_capacity(READ_BYTES);
    }
}

/// What is left of a buffer, in no more memory than it needs.
fn trimmed(buffer: BytesMut) -> BytesMut {
    if buffer.capacity() > 4 * buffer.len() + READ_SLICE {
        BytesMut::from(&buffer[..])
    } else {
        buffer
    }
}
