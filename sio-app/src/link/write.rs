//! The writer of a link: what is queued is put into bytes, as much at a time as the socket takes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sio_proto::Frame;
use sio_proto::http::Exchange;
use sio_proto::server::{Body, Response, Then, Write, Written};

use super::ends::Outlet;
use super::{HandedOut, Item, Link, Phase, Progress, State};

/// Up to how many bytes several pieces are copied together for one plain write; beyond it they are
/// written as a vector. Copying this much costs less than the kernel's work for a few entries more.
const FLAT_BYTES: usize = 16 * 1024;

/// Most pieces of one vectored write.
pub(super) const MAX_PIECES: usize = 64;

/// How long what follows the head of a websocket's handshake stays behind it, at most.
///
/// Clients hear nothing before they know of the handshake, and some begin to listen only then: a
/// packet that they read together with the head is lost to them. Two writes in a row are read as
/// one. So the thread leaves the processor to others in between, among them the peer that the head
/// has woken, if it is on the same machine; a peer elsewhere gets two segments that are this far
/// apart.
const MOST_REST: Duration = Duration::from_micros(100);

/// So many times the processor is left to others meanwhile, at most: the rest ends even if the
/// clock stands.
const MOST_YIELDS: u32 = 400;

/// Scratch of one thread's writes.
#[derive(Default)]
pub(crate) struct Pen {
    /// Frames and bytes only, about as many as one write takes.
    pub(super) pieces: VecDeque<Item>,
    /// What was taken out of the queue to be put into bytes.
    pub(super) taken: VecDeque<Item>,
    flat: Vec<u8>,
    head: BytesMut,
    /// The last of the pieces is a handshake's: what follows is another write.
    handshake: bool,
}

impl Pen {
    /// Forgets what was to be written.
    fn clear(&mut self) {
        self.pieces.clear();
        self.taken.clear();
        self.handshake = false;
    }
}

impl<O: Outlet + ?Sized> Link<O> {
    /// Writes `items`, then what is queued. The caller keeps the link unless the answer is
    /// [`Progress::Done`].
    ///
    /// Each call of the operating system gets as many pieces as it takes, and no more of the queue
    /// is touched than that: a peer that reads in trickles costs no more for a long queue than for
    /// a short one.
    pub(crate) fn write(&self, pen: &mut Pen, items: &mut dyn Iterator<Item = Item>) -> Progress {
        let (mut end, mut moved) = (None, false);
        loop {
            if end.is_none() {
                let follows_handshake = std::mem::take(&mut pen.handshake);
                end = self.fill(pen, items);
                if follows_handshake && !pen.pieces.is_empty() {
                    self.rest();
                }
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
                    pen.clear();
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
            if end.is_some() || pen.handshake {
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
            if pen.handshake {
                return None;
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
            pen.clear();
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
        pen.handshake = false;
        for item in pen.taken.drain(..).rev() {
            state.queued_bytes += item.weight();
            state.queue.push_front(item);
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

    /// Lets the peer read the head of a handshake before there is more to read.
    pub(crate) fn rest(&self) {
        let Some(start) = self.traffic.now() else { return };
        for _ in 0..MOST_YIELDS {
            thread::yield_now();
            if self.traffic.now().is_none_or(|now| now >= start + MOST_REST) {
                return;
            }
        }
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
        let rests = matches!(write, Write::Bytes(..));
        // The last bytes of an old handshake are still awaited, and not for ever.
        let complete = !matches!(write, Write::Hixie(..));
        let write = match self.hands_out {
            true => match self.hand_out_if_answer(pen, write) {
                Ok(end) => return end,
                Err(write) => write,
            },
            false => write,
        };
        let Written { head, body, then } = write.encode(&mut pen.head, self.traffic.date().as_ref());
        let pieces = [head, body].into_iter().filter(|bytes| !bytes.is_empty());
        pen.pieces.extend(pieces.map(Item::Bytes));
        match then {
            // The last bytes of an old handshake.
            Then::GoesOn => pen.handshake |= rests,
            Then::Answered => self.tell(|state| state.news.answered += 1),
            Then::Upgraded(wire) => {
                self.tell(|state| {
                    state.news.upgraded = Some(wire);
                    state.websocket = complete;
                });
                pen.handshake = true;
            }
            Then::Ends => return Some(End),
            Then::Aborts => {
                pen.pieces.clear();
                pen.handshake = false;
                self.cut();
                return Some(End);
            }
        }
        None
    }

    /// What another HTTP server writes is handed out as it is, or without what that server puts
    /// around it; all else comes back.
    fn hand_out_if_answer(&self, pen: &mut Pen, write: Write) -> Result<Option<End>, Write> {
        match write {
            Write::Response(_, response) => {
                // Whoever waits for it is woken by the end.
                self.state.lock().news.answer = Some(HandedOut::Response(response));
                Ok(Some(End))
            }
            Write::Hixie(..) => {
                self.state.lock().news.answer = Some(HandedOut::Response(not_implemented()));
                Ok(Some(End))
            }
            Write::Upgrade(_, upgrade) => {
                self.hand_out(HandedOut::Upgrade(upgrade));
                Ok(None)
            }
            Write::Stream(_, stream) => {
                stream.encode_body(&mut pen.head);
                pen.pieces.push_back(Item::Bytes(pen.head.split().freeze()));
                self.hand_out(HandedOut::Stream(stream));
                Ok(None)
            }
            Write::Part(_, part) => {
                part.encode_body(&mut pen.head);
                pen.pieces.push_back(Item::Bytes(pen.head.split().freeze()));
                Ok(None)
            }
            Write::StreamEnd(..) => Ok(Some(End)),
            other => Err(other),
        }
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
}

/// For a websocket older than RFC 6455: its answer begins as no HTTP server begins one.
fn not_implemented() -> Box<Response> {
    Box::new(Response {
        status: 501,
        content_type: None,
        fixed: &[],
        headers: Vec::new(),
        body: Body::Bytes(Bytes::new()),
        exchange: Exchange::CLOSING,
    })
}

/// That the link ends after the bytes at hand.
struct End;
