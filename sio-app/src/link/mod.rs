//! The write side of a connection. Any thread that has bytes for it writes them directly.
//!
//! A [`Link`] is a socket that can be written to without blocking ([`Outlet`]), and a small queue
//! for writes that have to wait. There is no channel and no writer task: to wake such a task would
//! cost more than the write itself.
//!
//! ```text
//!          claim                      all written
//!   IDLE ─────────► BUSY (one thread) ────────────► IDLE
//!                     │ the socket is full            ▲
//!                     ▼                               │ drained, by the connection's task
//!                  BLOCKED ───────────────────────────┘
//!                     BUSY ──► ENDED (finished, or failed): nothing is taken any more
//! ```
//!
//! Invariants:
//! - Bytes leave in the order in which they were taken from the shard: a thread takes them under
//!   the shard's lock, and under the same lock it claims the link, or queues the bytes behind those
//!   of the thread that has claimed it.
//! - There is one writer at a time, and it holds no lock while it writes.
//! - A blocked link gets nothing new from its shard, because the shard is told before the
//!   connection's task is. So the queue is limited to what was under way. The bytes in the queue
//!   count as the session's, and are charged to the budget that all sessions share.
//! - At most one pong waits: the latest (RFC 6455 §5.5.3).
//! - The cost of a write depends on what fits into one system call, and not on the length of the
//!   queue.

pub(crate) mod connections;
pub(crate) mod ends;
pub(crate) mod pipe;
mod spare;
mod state;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod traffic;
mod unwritten;
mod write;

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, Bytes};
use sio_proto::conn::{Pongs, Stage};
use sio_proto::server::{Body, Response, Stream, Upgrade, Write};
use sio_proto::wire::Wire;
use sio_proto::{Frame, Time};

use crate::link::ends::Outlet;
use crate::link::traffic::Traffic;
use crate::lock::{Mutex, assert_none_held};

use state::State;
use unwritten::Rest;
pub(crate) use write::{Pen, REST, taken};

/// The write side of one connection. The outlet is in the same allocation.
pub(crate) struct Link<O: ?Sized = dyn Outlet> {
    state: Mutex<State>,
    /// Whether answers are handed out as values, because another HTTP server writes them.
    hands_out: bool,
    /// Whether another node has brought the connection.
    is_relayed: bool,
    traffic: Arc<Traffic>,
    outlet: O,
}

// Every connection has one. An outlet of tokio has the size of two pointers.
const _: () = assert!(size_of::<Link<[usize; 2]>>() <= if cfg!(debug_assertions) { 96 } else { 88 });

/// Wakes the task of a connection, if there is something to wake. This runs code of the runtime, so
/// the caller holds no lock.
#[inline]
pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        assert_none_held();
        waker.wake();
    }
}

/// What the peer has to send, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Awaiting {
    pub(crate) stage: Stage,
    pub(crate) until: Time,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// A thread is writing.
    Busy,
    /// The socket is full. The connection's task will go on.
    Blocked,
    /// The last byte was written.
    Finished,
    /// The link failed, or was cut.
    Cut,
}

/// What the connection's reading side has to know about the writes.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// How many requests have been answered.
    pub(crate) answered: u32,
    /// Set if the answer was an upgrade.
    pub(crate) upgraded: Option<Wire>,
}

/// An answer that another HTTP server writes.
#[derive(Debug)]
pub(crate) enum HandedOut {
    Response(Box<Response>),
    Upgrade(Box<Upgrade>),
    Stream(Box<Stream>),
}

/// Something to write.
#[derive(Debug)]
pub(crate) enum Item {
    Frame(Frame),
    Bytes(Bytes),
    /// Packets that can be sent on another connection if they are not written completely.
    Packets(Box<Rest>),
    /// An answer that has not been encoded as bytes yet.
    Answer(Box<Response>),
    /// The answer to a handshake that has not been encoded as bytes yet.
    Upgrade(Box<Upgrade>),
    /// Another write that has not been encoded as bytes yet.
    Write(Box<Write>),
    /// The end of an answer whose bytes another node has written.
    #[cfg(feature = "redis")]
    Answered,
    /// The end of the connection, after everything before it.
    Finish,
}

impl Item {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Frame(frame) => frame.bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Packets(rest) => &rest.bytes,
            Self::Answer(_) | Self::Upgrade(_) | Self::Write(_) | Self::Finish => &[],
            #[cfg(feature = "redis")]
            Self::Answered => &[],
        }
    }

    /// About how many bytes the item has, before it is encoded.
    fn weight(&self) -> usize {
        let sum = |frames: &[Frame]| frames.iter().map(|frame| frame.bytes().len()).sum();
        match self {
            Self::Frame(frame) => frame.bytes().len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Packets(rest) => rest.bytes.len(),
            Self::Upgrade(_) | Self::Finish => 0,
            #[cfg(feature = "redis")]
            Self::Answered => 0,
            Self::Answer(response) => match &response.body {
                Body::Bytes(bytes) => bytes.len(),
                Body::Packets(frames, _) => sum(frames),
            },
            Self::Write(write) => match &**write {
                Write::Part(_, part) => sum(&part.frames),
                Write::Bytes(_, bytes) => bytes.len(),
                Write::Frame(_, frame) => frame.bytes().len(),
                Write::Response(..)
                | Write::Upgrade(..)
                | Write::Hixie(..)
                | Write::Close(..)
                | Write::Stream(..)
                | Write::StreamEnd(..)
                | Write::Abort(_) => 0,
            },
        }
    }

    /// Whether the connection ends after this item.
    fn is_end(&self) -> bool {
        match self {
            Self::Finish => true,
            Self::Write(write) => match &**write {
                Write::Close(..) | Write::Abort(_) => true,
                Write::StreamEnd(_, form) => !form.keep_alive,
                Write::Response(..)
                | Write::Upgrade(..)
                | Write::Hixie(..)
                | Write::Bytes(..)
                | Write::Frame(..)
                | Write::Stream(..)
                | Write::Part(..) => false,
            },
            Self::Frame(_) | Self::Bytes(_) | Self::Packets(_) | Self::Answer(_) | Self::Upgrade(_) => false,
            #[cfg(feature = "redis")]
            Self::Answered => false,
        }
    }

    /// Removes the bytes that have been written.
    fn advance(&mut self, written: usize) {
        if let Self::Frame(frame) = self
            && written > 0
        {
            *self = Self::Packets(Box::new(Rest::of_frame(frame.clone())));
        }
        match self {
            Self::Bytes(bytes) => bytes.advance(written),
            Self::Packets(rest) => rest.advance(written),
            Self::Frame(_) | Self::Answer(_) | Self::Upgrade(_) | Self::Write(_) | Self::Finish => {}
            #[cfg(feature = "redis")]
            Self::Answered => {}
        }
    }
}

impl From<Write> for Item {
    fn from(write: Write) -> Self {
        match write {
            Write::Frame(_, frame) => Self::Frame(frame),
            Write::Response(_, response) => Self::Answer(response),
            Write::Upgrade(_, upgrade) => Self::Upgrade(upgrade),
            other => Self::Write(Box::new(other)),
        }
    }
}

/// The caller is the writer of a link. The variants say what is in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing.
    Clear,
    /// Something that has to leave first.
    Queued,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// Everything is written.
    Done,
    /// The socket has taken some bytes and is full. The caller tells the shard, and then calls
    /// [`Link::hand_over`].
    Full,
    /// The socket is full and has taken nothing.
    Stuck,
    /// The head of a websocket's handshake is written. What follows it waits for [`REST`], and the
    /// shard need not know. The caller calls [`Link::rest`].
    Resting,
}

/// The state of a connection's write side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    /// Bytes wait for the socket.
    Blocked,
    /// Bytes wait because the peer shall read the head of a handshake before them.
    Resting,
    Finished,
    Cut,
}

impl<O: Outlet> Link<O> {
    pub(crate) fn new(outlet: O, traffic: Arc<Traffic>) -> Self {
        Self {
            state: Mutex::default(),
            hands_out: false,
            is_relayed: false,
            traffic,
            outlet,
        }
    }

    /// Makes the link of a connection that another node brings.
    #[cfg(feature = "redis")]
    pub(crate) fn relayed(outlet: O, traffic: Arc<Traffic>) -> Self {
        Self {
            is_relayed: true,
            ..Self::new(outlet, traffic)
        }
    }

    /// Makes a link for one request that another HTTP server has read. That server also writes the
    /// answer.
    pub(crate) fn handing_out(outlet: O, traffic: Arc<Traffic>) -> Self {
        Self {
            state: Mutex::default(),
            hands_out: true,
            is_relayed: false,
            traffic,
            outlet,
        }
    }

    pub(crate) const fn outlet(&self) -> &O {
        &self.outlet
    }
}

impl<O: Outlet + ?Sized> Link<O> {
    /// Queues an item. It leaves before everything that is taken from the shard later.
    pub(crate) fn push(&self, item: Item) {
        wake(self.push_held(item));
    }

    /// Queues an item as [`Link::push`] does, for a caller that holds a lock: an item that came
    /// from the shard is queued under the shard's lock. The caller wakes the result when it holds
    /// none.
    #[must_use]
    pub(crate) fn push_held(&self, item: Item) -> Option<Waker> {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Finished | Phase::Cut) {
            return None;
        }
        let blocked = state.phase == Phase::Blocked;
        if blocked && matches!(&item, Item::Write(write) if matches!(**write, Write::Abort(_))) {
            // Nobody wants the queued items any more.
            drop(state);
            return self.end_held(Phase::Cut);
        }
        // The connection's task sets a deadline, so that the end does not wait for ever.
        let stuck = blocked && item.is_end();
        state.enqueue(item);
        if blocked {
            state.recharge(&self.traffic.waiting);
        }
        if stuck { state.waker.take() } else { None }
    }

    /// Queues the answers to pings, as [`Link::push`] does. If nothing waits, all of them leave.
    /// Otherwise only the latest one waits, and replaces an older one.
    pub(crate) fn push_pongs(&self, pongs: &mut Pongs) {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Idle => state.enqueue(Item::Bytes(pongs.take_all())),
            Phase::Busy | Phase::Blocked => state.waiting().pong = pongs.take_latest(),
            Phase::Finished | Phase::Cut => {}
        }
    }

    /// Makes the caller the writer, if the link is idle. The caller must then call [`Link::write`],
    /// with `items` if the claim is [`Claim::Clear`]; with any other claim the items are in the
    /// queue. If another thread is the writer, the items are queued, too. If the link has ended,
    /// they are dropped. Call this under the lock of the shard that the items came from.
    pub(crate) fn claim(&self, items: &mut dyn Iterator<Item = Item>) -> Option<Claim> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Idle if state.has_no_queue() => return Some(state.claim()),
            Phase::Idle => {
                items.for_each(|item| state.enqueue(item));
                return Some(state.claim());
            }
            Phase::Busy => items.for_each(|item| state.enqueue(item)),
            Phase::Blocked => {
                items.for_each(|item| state.enqueue(item));
                state.recharge(&self.traffic.waiting);
            }
            Phase::Finished | Phase::Cut => {
                drop(state);
                items.for_each(drop);
            }
        }
        None
    }

    /// Makes the caller the writer, if the link is idle and nothing is queued. Then it does what
    /// [`Link::claim`] does. Otherwise nothing has happened.
    #[inline]
    pub(crate) fn claim_idle(&self) -> bool {
        let mut state = self.state.lock();
        let is_idle = state.phase == Phase::Idle && state.has_no_queue();
        if is_idle {
            state.phase = Phase::Busy;
        }
        is_idle
    }

    /// Makes the caller the writer, if something is queued and no other thread is the writer.
    pub(crate) fn claim_queued(&self) -> Option<Claim> {
        let mut state = self.state.lock();
        (state.phase == Phase::Idle && !state.has_no_queue()).then(|| state.claim())
    }

    /// Returns the number of queued bytes.
    pub(crate) fn held(&self) -> usize {
        self.state.lock().waiting.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Whether the socket has taken nothing for this time. The answer is only as exact as the times
    /// at which this is called.
    pub(crate) fn is_stalled(&self, now: Time, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let moved = std::mem::take(&mut state.moved);
        let is_blocked = state.phase == Phase::Blocked;
        let Some(waiting) = &mut state.waiting else {
            return false;
        };
        if !is_blocked {
            waiting.stalled_since = None;
            return false;
        }
        match waiting.stalled_since.filter(|_| !moved) {
            Some(since) => now.saturating_since(since) >= patience,
            None => {
                waiting.stalled_since = Some(now);
                false
            }
        }
    }

    /// Leaves the rest to the connection's task. Call this when the shard knows that the link is
    /// full.
    pub(crate) fn hand_over(&self) {
        let waker = {
            let mut state = self.state.lock();
            if state.phase == Phase::Busy {
                state.phase = Phase::Blocked;
                state.recharge(&self.traffic.waiting);
            }
            state.waker.take()
        };
        wake(waker);
    }

    /// Leaves the rest to the connection's task, which writes it after a pause.
    pub(crate) fn rest(&self) {
        self.state.lock().rests = true;
        self.hand_over();
    }

    /// Another HTTP server has given the stream of this link away: it is a websocket now. Begins a
    /// pause before what is queued. Another thread may be about to write it: then it has found that
    /// the head of the handshake is still on its way, and the pause begins when it leaves the rest
    /// to the connection's task.
    pub(crate) fn rest_if_queued(&self) {
        let is_idle = {
            let mut state = self.state.lock();
            state.websocket = true;
            if state.has_no_queue() {
                return;
            }
            state.rests |= matches!(state.phase, Phase::Busy | Phase::Blocked);
            let is_idle = state.phase == Phase::Idle;
            if is_idle {
                let _ = state.claim();
            }
            is_idle
        };
        if is_idle {
            self.rest();
        }
    }

    /// Ends the pause.
    pub(crate) fn end_rest(&self) {
        self.state.lock().rests = false;
    }

    /// Makes the connection's task the writer, when the socket has room again.
    pub(crate) fn take_over(&self) -> Option<Claim> {
        let mut state = self.state.lock();
        (state.phase == Phase::Blocked).then(|| state.claim())
    }

    /// Ends the link if nothing waits to be written. Returns whether it has ended.
    pub(crate) fn cut_if_clear(&self) -> bool {
        let waker = {
            let mut state = self.state.lock();
            if state.phase != Phase::Idle || !state.has_no_queue() {
                return false;
            }
            state.phase = Phase::Cut;
            state.waker.take()
        };
        wake(waker);
        true
    }

    /// Ends the link without writing another byte.
    pub(crate) fn cut(&self) {
        self.end(Phase::Cut);
    }

    fn end(&self, phase: Phase) {
        wake(self.end_held(phase));
    }

    /// Ends the link, for a caller that holds a lock. The caller wakes the result when it holds
    /// none.
    #[must_use]
    fn end_held(&self, phase: Phase) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.phase != Phase::Cut {
            state.phase = phase;
        }
        state.recharge(&self.traffic.waiting);
        if let Some(waiting) = &mut state.waiting {
            waiting.bytes = 0;
            waiting.pong = Bytes::new();
            let queue = std::mem::take(&mut waiting.queue);
            state.keep_unwritten(queue, Vec::new());
        }
        state.waker.take()
    }

    pub(crate) fn standing(&self) -> Standing {
        self.state.lock().standing()
    }

    /// Returns the state of the write side, and makes sure that the link wakes this task when it
    /// needs it. A wake takes the waker out of the link. So a task has to call this each time it is
    /// polled, before it goes to sleep.
    #[inline]
    pub(crate) fn standing_for(&self, waker: &Waker) -> Standing {
        {
            let state = self.state.lock();
            if state.wakes(waker) {
                return state.standing();
            }
        }
        self.set_waker(waker)
    }

    pub(crate) fn take_news(&self) -> News {
        std::mem::take(&mut self.state.lock().news)
    }

    /// Takes the answer that was handed out, if there is one, and forgets all other news.
    pub(crate) fn take_answer(&self) -> Option<Box<HandedOut>> {
        let mut state = self.state.lock();
        state.news = News::default();
        state.waiting.as_mut()?.answer.take()
    }

    /// Asks for a wake of the connection's task by the next news. Returns true if there is news
    /// already.
    pub(crate) fn await_news(&self) -> bool {
        let mut state = self.state.lock();
        let news = state.news.answered > 0 || state.news.upgraded.is_some();
        state.impatient = !news;
        news
    }

    /// Asks for a wake of the connection's task when the request under way has been answered. If it
    /// has been answered already, the task is woken now.
    pub(crate) fn wake_by_answer(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.impatient = true;
            match state.news.answered {
                0 => None,
                _ => state.waker.take(),
            }
        };
        wake(waker);
    }

    pub(crate) fn is_websocket(&self) -> bool {
        self.state.lock().websocket
    }

    /// Whether another node brings the connection. Then what is written here is in a pipe, which
    /// empties as fast as the client there reads.
    pub(crate) const fn is_relayed(&self) -> bool {
        self.is_relayed
    }

    /// Whether requests may be passed on: another node has not brought them already, and no other
    /// HTTP server writes the answers.
    #[cfg(feature = "redis")]
    pub(crate) const fn may_pass_on(&self) -> bool {
        !self.is_relayed && !self.hands_out
    }

    /// Whether everything is written and nobody writes.
    #[cfg(feature = "redis")]
    pub(crate) fn is_clear(&self) -> bool {
        let state = self.state.lock();
        state.phase == Phase::Idle && state.has_no_queue()
    }

    /// Wakes the connection's task.
    #[cfg(feature = "redis")]
    pub(crate) fn wake(&self) {
        let waker = { self.state.lock().waker.take() };
        wake(waker);
    }

    /// Sets the waker of the connection's task. It is cloned and dropped without the lock.
    #[inline(never)]
    fn set_waker(&self, waker: &Waker) -> Standing {
        let waker = waker.clone();
        let (old, standing) = {
            let mut state = self.state.lock();
            (state.waker.replace(waker), state.standing())
        };
        drop(old);
        standing
    }

    /// Notes what the peer has to send next, if anything.
    pub(crate) fn set_awaiting(&self, awaiting: Option<Awaiting>) {
        self.state.lock().set_awaiting(awaiting);
    }

    pub(crate) fn awaiting(&self) -> Option<Awaiting> {
        self.state.lock().awaiting()
    }

    /// Whether the queue contains the end of the connection.
    pub(crate) fn is_ending(&self) -> bool {
        self.state.lock().ending
    }
}

#[cfg(test)]
pub(crate) mod tests;
