//! The write side of a connection: bytes leave directly, from whatever thread has them.
//!
//! A [`Link`] is a socket that can be written to without blocking ([`Outlet`]) and a small queue
//! for what has to wait. There is no channel and no writer task: a wake costs more than the write
//! it would be for.
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
//! - Bytes leave in the order in which they were taken from the shard: whoever takes them does so,
//!   and claims the link or queues behind the one who has it, under the shard's lock.
//! - One writer at a time, and it writes under no lock.
//! - A blocked link gets nothing new from its shard, which is told before the connection's task is:
//!   the queue is bounded by what was under way, and what waits in it is counted as its session's
//!   and charged to the budget of all.
//! - At most one pong waits, the latest (RFC 6455 §5.5.3).
//! - A write costs what fits into one call of the operating system, however much is queued.

pub(crate) mod pipe;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod write;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, Bytes};
use sio_proto::conn::{Pongs, Stage};
use sio_proto::server::{Body, Budget, Response, Stream, Upgrade, Write};
use sio_proto::wire::Wire;
use sio_proto::{Frame, Time};

use crate::lock::{Alarm, Mutex};
use crate::user::metrics::Traffic;

pub(crate) use write::Pen;

/// Where the bytes of one connection go: a socket that never blocks.
///
/// It is called from any thread, by one at a time.
pub trait Outlet: Send + Sync + 'static {
    /// Writes as much as the socket takes right now.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if that is nothing; anything else is the end of
    /// the connection.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// The same for several pieces.
    ///
    /// # Errors
    /// As [`Outlet::try_write`].
    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        pieces
            .iter()
            .find(|p| !p.is_empty())
            .map_or(Ok(0), |piece| self.try_write(piece))
    }

    /// Everything has been written: the peer may be told that nothing more comes.
    fn finish(&self);
}

/// The write side of one connection. The outlet stands in the same allocation.
pub(crate) struct Link<O: ?Sized = dyn Outlet> {
    state: Mutex<State>,
    /// Answers are handed out as they are: another HTTP server writes them.
    hands_out: bool,
    traffic: Arc<Traffic>,
    outlet: O,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Item>,
    /// The sum of the queue.
    queued_bytes: usize,
    /// What of it the budget is charged with: all of it while the link is blocked.
    charged: usize,
    /// The answer to the latest ping, while the socket is busy or full. It goes behind the queue.
    pong: Bytes,
    /// Whether the end is in the queue.
    ending: bool,
    /// Whether the socket has taken something since [`Link::is_stalled`] was asked.
    moved: bool,
    /// Since when it has taken nothing, as far as is known.
    stalled_since: Option<Time>,
    phase: Phase,
    news: News,
    /// The reading side holds bytes that wait for news.
    impatient: bool,
    websocket: bool,
    /// What the peer owes; who is late is closed (slow loris).
    awaiting: Option<Awaiting>,
    waker: Option<Alarm>,
}

/// What is awaited of the peer, and how long.
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
    /// The socket is full; the connection's task will go on.
    Blocked,
    /// The last byte was written.
    Finished,
    /// It failed, or was cut.
    Cut,
}

/// What the connection's reading side has to know of what was written.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// So many requests have been answered.
    pub(crate) answered: u32,
    /// It was answered with an upgrade.
    pub(crate) upgraded: Option<Wire>,
    /// The answer itself, if it is handed out.
    pub(crate) answer: Option<HandedOut>,
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
    /// What still has to be put into bytes.
    Write(Box<Write>),
    /// The end of the connection, after everything before it.
    Finish,
}

impl Item {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Frame(frame) => frame.bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Write(_) | Self::Finish => &[],
        }
    }

    /// About how many bytes it is, before it is put into bytes.
    fn weight(&self) -> usize {
        let sum = |frames: &[Frame]| frames.iter().map(|frame| frame.bytes().len()).sum();
        match self {
            Self::Frame(frame) => frame.bytes().len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Finish => 0,
            Self::Write(write) => match &**write {
                Write::Response(_, response) => match &response.body {
                    Body::Bytes(bytes) => bytes.len(),
                    Body::Packets(frames, _) => sum(frames),
                },
                Write::Part(_, part) => sum(&part.frames),
                Write::Bytes(_, bytes) => bytes.len(),
                Write::Frame(_, frame) => frame.bytes().len(),
                Write::Upgrade(..)
                | Write::Hixie(..)
                | Write::Close(..)
                | Write::Stream(..)
                | Write::StreamEnd(..)
                | Write::Abort(_) => 0,
            },
        }
    }

    /// Whether the connection ends with it.
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
            Self::Frame(_) | Self::Bytes(_) => false,
        }
    }

    /// Takes off what has been written.
    fn advance(&mut self, written: usize) {
        if let Self::Frame(frame) = self
            && written > 0
        {
            *self = Self::Bytes(frame.bytes().clone());
        }
        if let Self::Bytes(bytes) = self {
            bytes.advance(written);
        }
    }
}

impl From<Write> for Item {
    fn from(write: Write) -> Self {
        match write {
            Write::Frame(_, frame) => Self::Frame(frame),
            other => Self::Write(Box::new(other)),
        }
    }
}

/// That the caller is the writer of a link, and what he finds there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing.
    Clear,
    /// Something that goes first.
    Queued,
}

impl State {
    fn claim(&mut self) -> Claim {
        self.phase = Phase::Busy;
        if self.queue.is_empty() {
            Claim::Clear
        } else {
            Claim::Queued
        }
    }

    fn enqueue(&mut self, item: Item) {
        self.queued_bytes += item.weight();
        self.ending |= item.is_end();
        self.queue.push_back(item);
    }

    /// Takes what is next, for one write.
    fn take_into(&mut self, taken: &mut VecDeque<Item>, most: usize) {
        let count = self.queue.len().min(most);
        for item in self.queue.drain(..count) {
            self.queued_bytes -= item.weight();
            taken.push_back(item);
        }
        if self.queue.is_empty() && !self.pong.is_empty() {
            taken.push_back(Item::Bytes(std::mem::take(&mut self.pong)));
        }
    }

    /// Tells the budget what waits.
    fn recharge(&mut self, budget: &Budget) {
        let due = if self.phase == Phase::Blocked {
            self.queued_bytes
        } else {
            0
        };
        budget.recharge(std::mem::replace(&mut self.charged, due), due);
    }
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// Everything is written.
    Done,
    /// The socket has taken something and is full. Tell the shard, then call [`Link::hand_over`].
    Full,
    /// The same, but it has taken nothing.
    Stuck,
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    /// Bytes wait for the socket.
    Blocked,
    Finished,
    Cut,
}

impl<O: Outlet> Link<O> {
    pub(crate) fn new(outlet: O, traffic: Arc<Traffic>) -> Self {
        Self {
            state: Mutex::default(),
            hands_out: false,
            traffic,
            outlet,
        }
    }

    /// A link for one request that another HTTP server has read, and whose answer it writes.
    pub(crate) fn handing_out(outlet: O, traffic: Arc<Traffic>) -> Self {
        Self {
            state: Mutex::default(),
            hands_out: true,
            traffic,
            outlet,
        }
    }

    pub(crate) const fn outlet(&self) -> &O {
        &self.outlet
    }
}

impl<O: Outlet + ?Sized> Link<O> {
    /// Queues something in front of what is taken from the shard later. Call it under the shard's
    /// lock if it came from there.
    pub(crate) fn push(&self, item: Item) {
        let waker = {
            let mut state = self.state.lock();
            if matches!(state.phase, Phase::Finished | Phase::Cut) {
                return;
            }
            let blocked = state.phase == Phase::Blocked;
            if blocked && matches!(&item, Item::Write(write) if matches!(**write, Write::Abort(_))) {
                // Nothing of what waits is wanted any more.
                drop(state);
                return self.cut();
            }
            // The connection's task sees to it that this does not wait for ever.
            let stuck = blocked && item.is_end();
            state.enqueue(item);
            if blocked {
                state.recharge(&self.traffic.waiting);
            }
            if stuck { state.waker.clone() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Queues the answers to pings, as [`Link::push`] does: all of them if nothing keeps them from
    /// leaving, otherwise the latest in place of any other.
    pub(crate) fn push_pongs(&self, pongs: &mut Pongs) {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Idle => state.enqueue(Item::Bytes(pongs.take_all())),
            Phase::Busy | Phase::Blocked => state.pong = pongs.take_latest(),
            Phase::Finished | Phase::Cut => {}
        }
    }

    /// Makes the caller the writer, who then must call [`Link::write`]: with `items` if the claim
    /// is [`Claim::Clear`], otherwise they are queued. If another is the writer they are queued
    /// too, and if the link has ended they are dropped. Call it under the lock of the shard that
    /// the items came from.
    pub(crate) fn claim(&self, items: &mut dyn Iterator<Item = Item>) -> Option<Claim> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Idle if state.queue.is_empty() => return Some(state.claim()),
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

    /// Makes the caller the writer if there is something queued and nobody else is.
    pub(crate) fn claim_queued(&self) -> Option<Claim> {
        let mut state = self.state.lock();
        (state.phase == Phase::Idle && !state.queue.is_empty()).then(|| state.claim())
    }

    /// How many bytes are queued.
    pub(crate) fn held(&self) -> usize {
        self.state.lock().queued_bytes
    }

    /// Whether the socket has taken nothing for so long, as far as one can tell who asks now and
    /// then.
    pub(crate) fn is_stalled(&self, now: Time, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let moved = std::mem::take(&mut state.moved);
        if state.phase != Phase::Blocked {
            state.stalled_since = None;
            return false;
        }
        match state.stalled_since.filter(|_| !moved) {
            Some(since) => now.saturating_since(since) >= patience,
            None => {
                state.stalled_since = Some(now);
                false
            }
        }
    }

    /// The shard knows that the link is full: leaves the rest to the connection's task.
    pub(crate) fn hand_over(&self) {
        let waker = {
            let mut state = self.state.lock();
            if state.phase == Phase::Busy {
                state.phase = Phase::Blocked;
                state.recharge(&self.traffic.waiting);
            }
            state.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The socket has room again: the connection's task becomes the writer.
    pub(crate) fn take_over(&self) -> Option<Claim> {
        let mut state = self.state.lock();
        (state.phase == Phase::Blocked).then(|| state.claim())
    }

    /// Ends the link if nothing waits to be written, and says whether it has.
    pub(crate) fn cut_if_clear(&self) -> bool {
        let waker = {
            let mut state = self.state.lock();
            if state.phase != Phase::Idle || !state.queue.is_empty() {
                return false;
            }
            state.phase = Phase::Cut;
            state.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Ends the link without another byte.
    pub(crate) fn cut(&self) {
        self.end(Phase::Cut);
    }

    fn end(&self, phase: Phase) {
        let (waker, queue) = {
            let mut state = self.state.lock();
            if state.phase != Phase::Cut {
                state.phase = phase;
            }
            state.queued_bytes = 0;
            state.pong = Bytes::new();
            state.recharge(&self.traffic.waiting);
            (state.waker.clone(), std::mem::take(&mut state.queue))
        };
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.state.lock().phase {
            Phase::Idle | Phase::Busy => Standing::Open,
            Phase::Blocked => Standing::Blocked,
            Phase::Finished => Standing::Finished,
            Phase::Cut => Standing::Cut,
        }
    }

    pub(crate) fn take_news(&self) -> News {
        std::mem::take(&mut self.state.lock().news)
    }

    /// Has the connection's task woken by the next news. True if there is some already.
    pub(crate) fn await_news(&self) -> bool {
        let mut state = self.state.lock();
        let news = state.news.answered > 0 || state.news.upgraded.is_some();
        state.impatient = !news;
        news
    }

    /// Has the connection's task woken by the answer to the request that is under way, or now if
    /// that has been written.
    pub(crate) fn wake_by_answer(&self) {
        let waker = {
            let mut state = self.state.lock();
            state.impatient = true;
            match state.news.answered {
                0 => None,
                _ => state.waker.clone(),
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_websocket(&self) -> bool {
        self.state.lock().websocket
    }

    /// Who is woken when the link needs its connection's task.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let waker = Alarm::new(waker);
        let old = self.state.lock().waker.replace(waker);
        drop(old);
    }

    /// Notes what is awaited of the peer, if anything is.
    pub(crate) fn set_awaiting(&self, awaiting: Option<Awaiting>) {
        self.state.lock().awaiting = awaiting;
    }

    pub(crate) fn awaiting(&self) -> Option<Awaiting> {
        self.state.lock().awaiting
    }

    /// Whether what waits is the last that is written.
    pub(crate) fn is_ending(&self) -> bool {
        self.state.lock().ending
    }
}

#[cfg(test)]
pub(crate) mod tests;
