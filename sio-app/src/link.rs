//! The write side of a connection: bytes leave directly, from whatever thread has them.
//!
//! A [`Link`] is a socket that can be written to without blocking ([`Outlet`]) and a small queue for what has to wait. There is no channel and
//! no writer task: a wake costs more than the write it would be for.
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
//! - Bytes leave in the order in which they were taken from the shard: whoever takes them does so, and claims the link or queues behind the
//!   one who has it, under the shard's lock.
//! - One writer at a time, and it writes under no lock.
//! - A blocked link gets nothing new from its shard, which is told before the connection's task is: the queue is bounded by what was under way, and
//!   what waits in it is counted as its session's and charged to the budget of all.
//! - At most one pong waits, the latest (RFC 6455 §5.5.3).
//! - A write costs what fits into one call of the operating system, however much is queued.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use sio_proto::conn::{Pongs, Stage, close_frame};
use sio_proto::http::Exchange;
use sio_proto::server::{Body, Budget, Response, Stream, Upgrade, Write};
use sio_proto::websocket::CloseCode;
use sio_proto::wire::Wire;
use sio_proto::{Frame, Time};

use crate::lock::{Alarm, Mutex};
use crate::metrics::Traffic;

/// Up to how many bytes several pieces are copied together for one plain write; beyond it they are written as a vector.
/// Copying this much costs less than the kernel's work for a few entries more.
const FLAT_BYTES: usize = 16 * 1024;

/// Most pieces of one vectored write.
const MAX_PIECES: usize = 64;

/// Where the bytes of one connection go: a socket that never blocks.
///
/// It is called from any thread, by one at a time.
pub trait Outlet: Send + Sync + 'static {
    /// Writes as much as the socket takes right now.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if that is nothing; anything else is the end of the connection.
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
    /// The request has been answered.
    pub(crate) answered: bool,
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

/// Scratch of one thread's writes.
#[derive(Default)]
pub(crate) struct Pen {
    /// Frames and bytes only, about as many as one write takes.
    pieces: VecDeque<Item>,
    /// What was taken out of the queue to be put into bytes.
    taken: VecDeque<Item>,
    flat: Vec<u8>,
    head: BytesMut,
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
    /// Queues something in front of what is taken from the shard later. Call it under the shard's lock if it came from there.
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

    /// Queues the answers to pings, as [`Link::push`] does: all of them if nothing keeps them from leaving, otherwise the latest in place of any other.
    pub(crate) fn push_pongs(&self, pongs: &mut Pongs) {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Idle => state.enqueue(Item::Bytes(pongs.take_all())),
            Phase::Busy | Phase::Blocked => state.pong = pongs.take_latest(),
            Phase::Finished | Phase::Cut => {}
        }
    }

    /// Makes the caller the writer, who then must call [`Link::write`]: with `items` if the claim is [`Claim::Clear`], otherwise they are queued. If
    /// another is the writer they are queued too, and if the link has ended they are dropped. Call it under the lock of the shard that the items came
    /// from.
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

    /// Writes `items`, then what is queued. The caller keeps the link unless the answer is [`Progress::Done`].
    ///
    /// Each call of the operating system gets as many pieces as it takes, and no more of the queue is touched than that: a peer that reads in trickles
    /// costs no more for a long queue than for a short one.
    pub(crate) fn write(&self, pen: &mut Pen, items: &mut dyn Iterator<Item = Item>) -> Progress {
        let (mut end, mut moved) = (None, false);
        loop {
            if end.is_none() {
                end = self.fill(pen, items);
            }
            if pen.pieces.is_empty() {
                if end.is_some() {
                    self.outlet.finish();
                    self.end(Phase::Finished);
                    return Progress::Done;
                }
                if self.release() {
                    return Progress::Done;
                }
                continue;
            }
            match self.write_out(pen, &mut moved) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.put_back(pen, end, items, moved);
                    return if moved { Progress::Full } else { Progress::Stuck };
                }
                Err(_) => {
                    pen.pieces.clear();
                    self.cut();
                    return Progress::Done;
                }
            }
        }
    }

    /// The same for the ordinary case: one frame, and nothing before it.
    pub(crate) fn write_frame(&self, pen: &mut Pen, frame: &Frame) -> Progress {
        let bytes = frame.bytes();
        // What goes wrong here goes wrong once more below, and is dealt with there.
        let written = self.outlet.try_write(bytes).unwrap_or(0);
        self.traffic.written(written);
        if written < bytes.len() {
            let rest = Item::Bytes(bytes.slice(written..));
            return self.write(pen, &mut std::iter::once(rest));
        }
        match self.release() {
            true => Progress::Done,
            false => self.write(pen, &mut std::iter::empty()),
        }
    }

    /// Puts as much into bytes as one write takes: first of `items`, then of the queue.
    fn fill(&self, pen: &mut Pen, items: &mut dyn Iterator<Item = Item>) -> Option<End> {
        while pen.pieces.len() < MAX_PIECES {
            let Some(item) = items.next() else { break };
            let end = self.prepare(pen, item);
            if end.is_some() {
                return end;
            }
        }
        let room = MAX_PIECES.saturating_sub(pen.pieces.len());
        if room > 0 {
            self.state.lock().take_into(&mut pen.taken, room);
        }
        while let Some(item) = pen.taken.pop_front() {
            let end = self.prepare(pen, item);
            if end.is_some() {
                pen.taken.clear();
                return end;
            }
        }
        None
    }

    /// The socket is full: what is left of a write goes back to where it came from.
    fn put_back(&self, pen: &mut Pen, end: Option<End>, items: &mut dyn Iterator<Item = Item>, moved: bool) {
        let mut dropped = VecDeque::new();
        let mut state = self.state.lock();
        state.moved |= moved;
        if matches!(state.phase, Phase::Finished | Phase::Cut) {
            drop(state);
            pen.pieces.clear();
            return;
        }
        if let Some(End) = end {
            dropped = std::mem::take(&mut state.queue);
            state.queued_bytes = 0;
            state.enqueue(Item::Finish);
        } else if let Some(item) = items.next() {
            // This happens once for what was brought, when the socket is found full.
            let later = std::mem::take(&mut state.queue);
            state.enqueue(item);
            items.for_each(|item| state.enqueue(item));
            state.queue.extend(later);
        }
        while let Some(piece) = pen.pieces.pop_back() {
            state.queued_bytes += piece.weight();
            state.queue.push_front(piece);
        }
        drop(state);
        drop(dropped);
    }

    /// Lets go of the link; false if something has been queued meanwhile.
    fn release(&self) -> bool {
        let mut state = self.state.lock();
        if !state.queue.is_empty() || !state.pong.is_empty() {
            return false;
        }
        if state.phase == Phase::Busy {
            state.phase = Phase::Idle;
        }
        state.recharge(&self.traffic.waiting);
        true
    }

    /// Puts an item into bytes, behind those that are already there.
    fn prepare(&self, pen: &mut Pen, item: Item) -> Option<End> {
        match item {
            Item::Frame(_) | Item::Bytes(_) => pen.pieces.push_back(item),
            Item::Finish => return Some(End),
            Item::Write(write) => return self.encode(pen, *write),
        }
        None
    }

    fn encode(&self, pen: &mut Pen, write: Write) -> Option<End> {
        match write {
            Write::Frame(_, frame) => pen.pieces.push_back(Item::Frame(frame)),
            Write::Response(_, response) if self.hands_out => {
                // Whoever waits for it is woken by the end.
                self.state.lock().news.answer = Some(HandedOut::Response(response));
                return Some(End);
            }
            Write::Response(_, mut response) => {
                let (body, keep_alive) = response.encode(&mut pen.head);
                pen.pieces.push_back(Item::Bytes(pen.head.split().freeze()));
                pen.pieces.push_back(Item::Bytes(body));
                if !keep_alive {
                    return Some(End);
                }
                self.tell(|state| state.news.answered = true);
            }
            Write::Upgrade(_, upgrade) if self.hands_out => self.hand_out(HandedOut::Upgrade(upgrade)),
            Write::Upgrade(_, upgrade) => {
                let upgrades = upgrade.encode(&mut pen.head);
                pen.pieces.push_back(Item::Bytes(pen.head.split().freeze()));
                if !upgrades {
                    return Some(End);
                }
                self.tell(|state| {
                    state.news.upgraded = Some(upgrade.wire);
                    state.websocket = true;
                });
            }
            Write::Hixie(..) if self.hands_out => {
                self.state.lock().news.answer = Some(HandedOut::Response(not_implemented()));
                return Some(End);
            }
            Write::Hixie(_, hixie) => {
                pen.pieces.push_back(Item::Bytes(hixie.head));
                self.tell(|state| state.news.upgraded = Some(hixie.wire));
            }
            Write::Bytes(_, bytes) => pen.pieces.push_back(Item::Bytes(bytes)),
            Write::Close(_, code) => {
                pen.pieces
                    .push_back(Item::Bytes(close_frame(code.and_then(CloseCode::new))));
                return Some(End);
            }
            Write::Stream(_, stream) if self.hands_out => {
                stream.encode_body(&mut pen.head);
                pen.pieces.push_back(Item::Bytes(pen.head.split().freeze()));
                self.hand_out(HandedOut::Stream(stream));
            }
            Write::Stream(_, stream) => {
                let goes_on = stream.encode(&mut pen.head);
                pen.pieces.push_back(Item::Bytes(pen.head.split().freeze()));
                if !goes_on {
                    return Some(End);
                }
            }
            Write::Part(_, part) => {
                if self.hands_out {
                    part.encode_body(&mut pen.head);
                } else {
                    part.encode(&mut pen.head);
                }
                pen.pieces.push_back(Item::Bytes(pen.head.split().freeze()));
            }
            Write::StreamEnd(..) if self.hands_out => return Some(End),
            Write::StreamEnd(_, form) => {
                form.encode_end(&mut pen.head);
                pen.pieces.push_back(Item::Bytes(pen.head.split().freeze()));
                if !form.keep_alive {
                    return Some(End);
                }
                self.tell(|state| state.news.answered = true);
            }
            Write::Abort(_) => {
                pen.pieces.clear();
                self.cut();
                return Some(End);
            }
        }
        None
    }

    /// Hands an answer out as it is. What follows it waits until there is somewhere to write it.
    fn hand_out(&self, answer: HandedOut) {
        let waker = {
            let mut state = self.state.lock();
            state.news.answer = Some(answer);
            state.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn tell(&self, tell: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state.lock();
            tell(&mut state);
            if std::mem::take(&mut state.impatient) {
                state.waker.clone()
            } else {
                None
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Writes the pieces; an error of the kind `WouldBlock` if some are left.
    fn write_out(&self, pen: &mut Pen, moved: &mut bool) -> io::Result<()> {
        let Pen { pieces, flat, .. } = pen;
        while let Some(first) = pieces.front() {
            if first.bytes().is_empty() {
                pieces.pop_front();
                continue;
            }
            let written = if pieces.len() == 1 {
                self.outlet.try_write(first.bytes())
            } else if pieces.iter().map(|piece| piece.bytes().len()).sum::<usize>() <= FLAT_BYTES {
                flat.clear();
                pieces.iter().for_each(|piece| flat.extend_from_slice(piece.bytes()));
                self.outlet.try_write(flat)
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_PIECES];
                let count = pieces.len().min(MAX_PIECES);
                for (slice, piece) in slices.iter_mut().zip(pieces.iter()) {
                    *slice = IoSlice::new(piece.bytes());
                }
                self.outlet.try_write_vectored(&slices[..count])
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(mut written) => {
                    *moved = true;
                    self.traffic.written(written);
                    while let Some(piece) = pieces.front_mut() {
                        let len = piece.bytes().len();
                        if written < len {
                            piece.advance(written);
                            break;
                        }
                        written -= len;
                        pieces.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many bytes are queued.
    pub(crate) fn held(&self) -> usize {
        self.state.lock().queued_bytes
    }

    /// Whether the socket has taken nothing for so long, as far as one can tell who asks now and then.
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
        let news = state.news.answered || state.news.upgraded.is_some();
        state.impatient = !news;
        news
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

/// For a websocket older than RFC 6455: its answer begins as no HTTP server begins one.
fn not_implemented() -> Box<Response> {
    Box::new(Response {
        status: 501,
        content_type: None,
        headers: Vec::new(),
        body: Body::Bytes(Bytes::new()),
        exchange: Exchange::CLOSING,
    })
}

/// That the link ends after the bytes at hand.
struct End;

#[cfg(test)]
pub(crate) mod tests;
