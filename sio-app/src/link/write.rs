//! The writer of a link. It encodes queued items as bytes, as many at a time as the socket takes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sio_proto::http::{Exchange, FixedFields};
use sio_proto::server::{Body, Response, Then, Write, Written};
use sio_proto::{Frame, LinkId};

use super::ends::Outlet;
use super::{HandedOut, Item, Link, Phase, Progress, Rest, State, wake};

/// Up to this number of bytes, several pieces are copied together for one plain write. Above it
/// they are written as a vector. Copying so few bytes costs less than the kernel's work for some
/// more vector entries.
const FLAT_BYTES: usize = 16 * 1024;

/// The most pieces of one vectored write.
pub(super) const MAX_PIECES: usize = 64;

/// The shortest pause between the head of a websocket's handshake and what follows it, for clients
/// older than Engine.IO 4. An adapter whose timers are coarse makes it longer.
///
/// Some of these clients begin to listen only when they have read the head of the handshake. If
/// they read a packet together with the head, they lose the packet. Two writes without a pause are
/// often read as one. So what follows stays in the queue, as if the socket were full, and the
/// connection's task writes it after the pause. No thread waits. Clients of Engine.IO 4 get head
/// and packets in one write ([`Wire::may_follow_head`](sio_proto::wire::Wire::may_follow_head)).
pub(crate) const REST: Duration = Duration::from_micros(100);

/// The working memory for the writes of one thread.
#[derive(Default)]
pub(crate) struct Pen {
    /// Encoded items: frames and bytes only, about as many as one write takes.
    pub(super) pieces: VecDeque<Item>,
    /// Items that were taken out of the queue to be encoded.
    pub(super) taken: VecDeque<Item>,
    flat: Vec<u8>,
    head: BytesMut,
    /// The body of an answer, until its length is known.
    body: BytesMut,
    /// The memory of an answer that has been written, for the next one.
    spare: Option<Box<Response>>,
    /// Whether the last piece is the head of a handshake, with a pause behind it ([`REST`]). Then
    /// the next bytes need another write.
    handshake: bool,
}

impl Pen {
    /// Takes out everything that was to be written.
    fn take(&mut self) -> VecDeque<Item> {
        self.handshake = false;
        let mut all = std::mem::take(&mut self.pieces);
        all.append(&mut self.taken);
        all
    }

    /// Copies frames together, for one plain write. Returns false if there is something else among
    /// the writes, or if they are too large.
    fn gather(&mut self, writes: &[Write]) -> bool {
        self.flat.clear();
        writes.iter().all(|write| match write {
            Write::Frame(_, frame) if self.flat.len() + frame.len() <= FLAT_BYTES => {
                self.flat.extend_from_slice(frame.bytes());
                true
            }
            _ => false,
        })
    }

    /// Keeps the memory of an answer that has been written.
    pub(crate) fn keep(&mut self, mut answer: Box<Response>) {
        answer.clear();
        self.spare = Some(answer);
    }

    /// Returns the memory of an answer that has been written, if there is any.
    pub(crate) const fn take_spare(&mut self) -> Option<Box<Response>> {
        self.spare.take()
    }

    /// Empties the memory of an answer. Its body may have grown when it was put together; such
    /// memory is not kept.
    fn clear_answer(&mut self) {
        for memory in [&mut self.head, &mut self.body] {
            memory.clear();
            if memory.capacity() > 2 * FLAT_BYTES {
                *memory = BytesMut::new();
            }
        }
    }
}

impl<O: Outlet + ?Sized> Link<O> {
    /// Writes `items`, and then the queue. The caller stays the writer unless the result is
    /// [`Progress::Done`].
    ///
    /// Each system call gets as many pieces as it can take, and no further items of the queue are
    /// touched. So a peer that reads in small amounts costs no more with a long queue than with a
    /// short one.
    pub(crate) fn write(&self, pen: &mut Pen, items: &mut dyn Iterator<Item = Item>) -> Progress {
        self.write_on(pen, items, false)
    }

    /// Does what [`Link::write`] does, for a caller that may have written a part: then the socket
    /// has `moved`.
    fn write_on(&self, pen: &mut Pen, items: &mut dyn Iterator<Item = Item>, mut moved: bool) -> Progress {
        let mut end = None;
        loop {
            if end.is_none() {
                let follows_handshake = std::mem::take(&mut pen.handshake);
                end = self.fill(pen, items);
                // The digest of an old handshake follows its head at once.
                let is_packet = !pen.pieces.is_empty() && !pen.handshake;
                if follows_handshake && is_packet {
                    self.put_back(pen, end, items, moved);
                    return Progress::Resting;
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
                    self.cut();
                    let later = items.collect();
                    self.state.lock().keep_unwritten(pen.take(), later);
                    return Progress::Done;
                }
            }
        }
    }

    /// Writes one frame when nothing is queued. This is the usual case.
    #[inline(always)]
    pub(crate) fn write_frame(&self, pen: &mut Pen, frame: &Frame) -> Progress {
        let bytes = frame.bytes();
        // If this fails, the write below fails in the same way and handles the error.
        let written = self.outlet.try_write(bytes).unwrap_or(0);
        self.traffic.written(written);
        if written < bytes.len() {
            let mut rest = Item::Frame(frame.clone());
            rest.advance(written);
            return self.write_on(pen, &mut std::iter::once(rest), written > 0);
        }
        match self.release() {
            true => Progress::Done,
            false => self.write(pen, &mut std::iter::empty()),
        }
    }

    /// Writes several things when nothing is queued, and takes them out of the slice. Small frames
    /// are the usual case: they leave in one plain write.
    #[inline(never)]
    pub(crate) fn write_several(&self, pen: &mut Pen, writes: &mut [Write]) -> Progress {
        let is_flat = pen.gather(writes);
        self.write_flat(pen, is_flat, taken(writes))
    }

    /// Writes two frames when nothing is queued, as [`Link::write_several`] does.
    #[inline]
    pub(crate) fn write_pair(&self, pen: &mut Pen, pair: [Frame; 2]) -> Progress {
        let [first, second] = &pair;
        let is_flat = first.len() + second.len() <= FLAT_BYTES;
        if is_flat {
            pen.flat.clear();
            pen.flat.extend_from_slice(first.bytes());
            pen.flat.extend_from_slice(second.bytes());
        }
        self.write_flat(pen, is_flat, pair.into_iter().map(Item::Frame))
    }

    /// Writes these items. If they are flat, their bytes stand together, and leave in one plain
    /// write.
    #[inline(always)]
    fn write_flat(&self, pen: &mut Pen, is_flat: bool, items: impl Iterator<Item = Item>) -> Progress {
        let mut written = 0;
        if is_flat {
            // If this fails, the write below fails in the same way and handles the error.
            written = self.outlet.try_write(&pen.flat).unwrap_or(0);
            self.traffic.written(written);
            if written == pen.flat.len() {
                return match self.release() {
                    true => Progress::Done,
                    false => self.write(pen, &mut std::iter::empty()),
                };
            }
        }
        self.write_rest(pen, items, written)
    }

    /// Writes the rest of these items, of which so many bytes have left.
    #[inline(never)]
    fn write_rest(&self, pen: &mut Pen, items: impl Iterator<Item = Item>, written: usize) -> Progress {
        let mut behind = written;
        let mut rest = items.filter_map(|mut item| {
            let len = item.bytes().len();
            if behind >= len && behind > 0 {
                behind -= len;
                return None;
            }
            item.advance(std::mem::take(&mut behind));
            Some(item)
        });
        self.write_on(pen, &mut rest, written > 0)
    }

    /// Whether an answer can be written by [`Link::write_answer`]: it is small, no session wants
    /// its packets back, and nobody else writes it.
    pub(crate) fn writes_whole(&self, response: &Response) -> bool {
        !self.hands_out && !response.is_kept() && response.body_bytes() <= FLAT_BYTES
    }

    /// Writes the queue. The caller is the writer, and stays it unless the result is
    /// [`Progress::Done`].
    pub(crate) fn write_queue(&self, pen: &mut Pen) -> Progress {
        let only = { self.state.lock().take_only_answer() };
        match only {
            Some(response) if self.writes_whole(&response) => {
                let progress = self.write_answer(pen, &response);
                pen.keep(response);
                progress
            }
            only => self.write(pen, &mut only.map(Item::Answer).into_iter()),
        }
    }

    /// Writes one answer when nothing is queued. This is the usual case of a poll and a POST: head
    /// and body leave from memory of the thread, and nothing is allocated.
    pub(crate) fn write_answer(&self, pen: &mut Pen, response: &Response) -> Progress {
        pen.head.clear();
        let keep_alive = response.encode_whole(&mut pen.head, &mut pen.body, self.traffic.date().as_ref());
        // If this fails, the write below fails in the same way and handles the error.
        let written = self.outlet.try_write(&pen.head).unwrap_or(0);
        self.traffic.written(written);
        let rest = pen.head.get(written..).filter(|rest| !rest.is_empty());
        let rest = rest.map(|rest| Item::Bytes(Bytes::copy_from_slice(rest)));
        pen.clear_answer();
        let is_done = rest.is_none() && keep_alive;
        if keep_alive && self.tell_answered(is_done) && is_done {
            return Progress::Done;
        }
        let end = (!keep_alive).then_some(Item::Finish);
        self.write_on(pen, &mut rest.into_iter().chain(end), written > 0)
    }

    /// Tells the reading side that a request has been answered, and releases the link if the caller
    /// `is_done`. Returns false if something has been queued meanwhile, so that it is not released.
    fn tell_answered(&self, is_done: bool) -> bool {
        let (released, waker) = {
            let mut state = self.state.lock();
            state.news.answered += 1;
            (is_done && state.release(&self.traffic.waiting), state.take_impatient())
        };
        wake(waker);
        released
    }

    /// Encodes as many items as one write takes: first `items`, then the queue.
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

    /// Puts the rest of a write back into the queue, when the socket is full.
    fn put_back(&self, pen: &mut Pen, end: Option<End>, items: &mut dyn Iterator<Item = Item>, moved: bool) {
        let mut dropped = VecDeque::new();
        let mut state = self.state.lock();
        state.moved |= moved;
        if matches!(state.phase, Phase::Finished | Phase::Cut) {
            state.keep_unwritten(pen.take(), items.collect());
            return;
        }
        if let Some(End) = end {
            let waiting = state.waiting();
            dropped = std::mem::take(&mut waiting.queue);
            waiting.bytes = 0;
            state.enqueue(Item::Finish);
        } else if let Some(item) = items.next() {
            // This happens at most once for the items that the caller brought: when the socket is
            // found full.
            let later = std::mem::take(&mut state.waiting().queue);
            state.enqueue(item);
            items.for_each(|item| state.enqueue(item));
            state.waiting().queue.extend(later);
        }
        pen.handshake = false;
        let waiting = state.waiting();
        for item in pen.taken.drain(..).rev() {
            waiting.bytes += item.weight();
            waiting.queue.push_front(item);
        }
        while let Some(piece) = pen.pieces.pop_back() {
            waiting.bytes += piece.weight();
            waiting.queue.push_front(piece);
        }
        drop(state);
        drop(dropped);
    }

    /// Releases the link. Returns false if something has been queued meanwhile.
    #[inline(always)]
    fn release(&self) -> bool {
        self.state.lock().release(&self.traffic.waiting)
    }

    /// Encodes an item, and appends it to the pieces.
    fn prepare(&self, pen: &mut Pen, item: Item) -> Option<End> {
        match item {
            Item::Frame(_) | Item::Bytes(_) | Item::Packets(_) => pen.pieces.push_back(item),
            Item::Finish => return Some(End),
            #[cfg(feature = "redis")]
            Item::Answered => self.tell(|state| state.news.answered += 1),
            Item::Answer(response) => return self.encode(pen, Write::Response(LinkId(0), response)),
            Item::Upgrade(upgrade) => return self.encode(pen, Write::Upgrade(LinkId(0), upgrade)),
            Item::Write(write) => return self.encode(pen, *write),
        }
        None
    }

    fn encode(&self, pen: &mut Pen, write: Write) -> Option<End> {
        let rests = matches!(write, Write::Bytes(..));
        // The last bytes of an old handshake are still missing. They have a deadline.
        let complete = !matches!(write, Write::Hixie(..));
        let write = match self.hands_out {
            true => match self.hand_out_if_answer(pen, write) {
                Ok(end) => return end,
                Err(write) => write,
            },
            false => write,
        };
        let is_kept = matches!(&write, Write::Response(_, response) if response.is_kept());
        let write = match write {
            Write::Part(_, part) => {
                let rest = Rest::of_part(*part, &mut pen.head);
                pen.pieces.push_back(Item::Packets(Box::new(rest)));
                return None;
            }
            other => other,
        };
        let Written { head, body, then } = write.encode(&mut pen.head, self.traffic.date().as_ref());
        let pieces = [head, body].into_iter().filter(|bytes| !bytes.is_empty());
        pen.pieces.extend(pieces.map(Item::Bytes));
        if is_kept && let Some(Item::Bytes(last)) = pen.pieces.pop_back() {
            pen.pieces.push_back(Item::Packets(Box::new(Rest::of_answer(last))));
        }
        match then {
            // The last bytes of an old handshake.
            Then::GoesOn => pen.handshake |= rests,
            Then::Answered => self.tell(|state| state.news.answered += 1),
            Then::Upgraded(wire) => {
                self.tell(|state| {
                    state.news.upgraded = Some(wire);
                    state.websocket = complete;
                });
                pen.handshake = !wire.may_follow_head();
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

    /// Hands out an answer that another HTTP server writes, without the parts that this server adds
    /// itself. Any other write is returned.
    fn hand_out_if_answer(&self, pen: &mut Pen, write: Write) -> Result<Option<End>, Write> {
        match write {
            Write::Response(_, response) => {
                // The end of the link wakes the task that waits for the answer.
                self.state.lock().waiting().answer = Some(Box::new(HandedOut::Response(response)));
                Ok(Some(End))
            }
            Write::Hixie(..) => {
                self.state.lock().waiting().answer = Some(Box::new(HandedOut::Response(not_implemented())));
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

    /// Hands out an answer. The writes that follow it wait until the link has an outlet.
    fn hand_out(&self, answer: HandedOut) {
        let answer = Box::new(answer);
        let waker = {
            let mut state = self.state.lock();
            state.waiting().answer = Some(answer);
            state.waker.take()
        };
        wake(waker);
    }

    fn tell(&self, tell: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state.lock();
            tell(&mut state);
            state.take_impatient()
        };
        wake(waker);
    }

    /// Writes the pieces. Returns an error of the kind `WouldBlock` if some are left.
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

/// The answer to a websocket handshake from before RFC 6455: another HTTP server cannot write the
/// answer that such a handshake needs.
fn not_implemented() -> Box<Response> {
    Box::new(Response {
        status: 501,
        content_type: None,
        fixed: FixedFields::NONE,
        headers: Vec::new(),
        body: Body::Bytes(Bytes::new()),
        exchange: Exchange::CLOSING,
    })
}

/// Takes the writes out of the slice.
pub(crate) fn taken(writes: &mut [Write]) -> impl Iterator<Item = Item> {
    writes.iter_mut().map(|write| {
        let id = write.link();
        std::mem::replace(write, Write::Abort(id)).into()
    })
}

/// The link ends after the present bytes.
struct End;
