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
//! - A blocked link gets nothing new from its shard, which is told before the connection's task is: the queue is bounded by what was under way.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Waker;

use bytes::{Buf, Bytes, BytesMut};
use sio_proto::conn::{Stage, close_frame};
use sio_proto::http::Exchange;
use sio_proto::server::{Body, Response, Stream, Upgrade, Write};
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
    /// How many at its front stand before what the writer brings itself.
    before: usize,
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
        self.before = self.queue.len();
        if self.before == 0 { Claim::Clear } else { Claim::Queued }
    }
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// Everything is written.
    Done,
    /// The socket is full. Tell the shard, then call [`Link::hand_over`].
    Full,
}

/// Scratch of one thread's writes.
#[derive(Default)]
pub(crate) struct Pen {
    /// Frames and bytes only.
    pieces: VecDeque<Item>,
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
            // The connection's task sees to it that this does not wait for ever.
            let stuck = state.phase == Phase::Blocked && item.is_end();
            state.queue.push_back(item);
            if stuck { state.waker.clone() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Makes the caller the writer, who then must call [`Link::write`]. If another is, or the link has ended, `items` are queued or
    /// dropped. Call it under the lock of the shard that the items came from.
    pub(crate) fn claim(&self, items: &mut dyn Iterator<Item = Item>) -> Option<Claim> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Idle => return Some(state.claim()),
            Phase::Busy | Phase::Blocked => state.queue.extend(items),
            Phase::Finished | Phase::Cut => items.for_each(drop),
        }
        None
    }

    /// Makes the caller the writer if there is something queued and nobody else is.
    pub(crate) fn claim_queued(&self) -> Option<Claim> {
        let mut state = self.state.lock();
        (state.phase == Phase::Idle && !state.queue.is_empty()).then(|| state.claim())
    }

    /// Writes what stood in the queue when the link was claimed, then `items`, then what has been queued meanwhile. The caller keeps the link
    /// if the answer is [`Progress::Full`].
    pub(crate) fn write(&self, pen: &mut Pen, items: &mut dyn Iterator<Item = Item>) -> Progress {
        let mut queue: VecDeque<Item> = {
            let mut state = self.state.lock();
            let before = std::mem::take(&mut state.before).min(state.queue.len());
            let after = state.queue.split_off(before);
            std::mem::replace(&mut state.queue, after)
        };
        let mut ends = None;
        loop {
            for item in queue.drain(..).chain(&mut *items) {
                if ends.is_none() {
                    ends = self.prepare(pen, item);
                }
            }
            match self.write_out(pen) {
                Ok(Progress::Done) => {}
                Ok(Progress::Full) => {
                    let mut state = self.state.lock();
                    queue.extend(pen.pieces.drain(..));
                    queue.extend(ends.map(|End| Item::Finish));
                    queue.extend(state.queue.drain(..));
                    state.queue = queue;
                    return Progress::Full;
                }
                Err(_) => {
                    pen.pieces.clear();
                    self.cut();
                    return Progress::Done;
                }
            }
            if ends.is_some() {
                self.outlet.finish();
                self.end(Phase::Finished);
                return Progress::Done;
            }
            match self.release() {
                None => return Progress::Done,
                Some(more) => queue = more,
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
            None => Progress::Done,
            Some(queue) => self.write(pen, &mut queue.into_iter()),
        }
    }

    /// Lets go of the link, unless something has been queued meanwhile.
    fn release(&self) -> Option<VecDeque<Item>> {
        let mut state = self.state.lock();
        if !state.queue.is_empty() {
            return Some(std::mem::take(&mut state.queue));
        }
        if state.phase == Phase::Busy {
            state.phase = Phase::Idle;
        }
        None
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

    fn write_out(&self, pen: &mut Pen) -> io::Result<Progress> {
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Full),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::Done)
    }

    /// The shard knows that the link is full: leaves the rest to the connection's task.
    pub(crate) fn hand_over(&self) {
        let waker = {
            let mut state = self.state.lock();
            if state.phase == Phase::Busy {
                state.phase = Phase::Blocked;
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
        self.state.lock().queue.iter().any(Item::is_end)
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
