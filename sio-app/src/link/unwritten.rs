//! Packets that a link could not write. Some sessions outlive their connections, and send these
//! packets on the next one.

use std::collections::VecDeque;
use std::task::Waker;
use std::thread;

use bytes::{Buf, Bytes, BytesMut};
use sio_proto::Frame;
use sio_proto::server::{Body, Part, Write};

use super::ends::Outlet;
use super::{Item, Link, Phase, State};

/// The most times that a thread yields to the thread that is writing.
const MOST_YIELDS: u32 = 400;

/// Encoded packets of which a part may have been written.
#[derive(Debug)]
pub(crate) struct Rest {
    /// The bytes that are still to be written.
    pub(super) bytes: Bytes,
    /// The packets. There are none for an answer to a poll, because its session keeps them.
    frames: Vec<Frame>,
    /// Up to which byte each packet reaches.
    ends: Vec<usize>,
    written: usize,
}

impl Rest {
    /// One packet as a websocket frame.
    pub(super) fn of_frame(frame: Frame) -> Self {
        Self {
            bytes: frame.bytes().clone(),
            ends: vec![frame.len()],
            frames: vec![frame],
            written: 0,
        }
    }

    /// The last bytes of an answer to a poll.
    pub(super) const fn of_answer(bytes: Bytes) -> Self {
        Self {
            bytes,
            frames: Vec::new(),
            ends: Vec::new(),
            written: 0,
        }
    }

    /// Packets of a stream, which are encoded into this empty buffer.
    pub(super) fn of_part(part: Part, buffer: &mut BytesMut) -> Self {
        let mut ends = Vec::with_capacity(part.frames.len());
        part.encode_each(buffer, |_, bytes| ends.push(bytes.len()));
        Self {
            bytes: buffer.split().freeze(),
            frames: part.frames,
            ends,
            written: 0,
        }
    }

    /// Removes the bytes that have been written.
    pub(super) fn advance(&mut self, written: usize) {
        self.bytes.advance(written);
        self.written += written;
    }

    /// The packets that have not been written completely.
    fn into_unwritten(self) -> impl Iterator<Item = Frame> {
        let written = self.ends.partition_point(|end| *end <= self.written);
        self.frames.into_iter().skip(written)
    }
}

/// What was not written on a link that was cut.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    frames: Vec<Frame>,
    /// Whether the answer to a poll is among it. Its session keeps the packets.
    has_answer: bool,
}

impl Unwritten {
    fn add(&mut self, item: Item) {
        match item {
            Item::Frame(frame) => self.frames.push(frame),
            Item::Packets(rest) if rest.frames.is_empty() => self.has_answer |= !rest.bytes.is_empty(),
            Item::Packets(rest) => self.frames.extend(rest.into_unwritten()),
            Item::Answer(response) => self.has_answer |= matches!(response.body, Body::Packets(..)),
            Item::Write(write) => {
                if let Write::Part(_, part) = *write {
                    self.frames.extend(part.frames);
                }
            }
            Item::Bytes(_) | Item::Upgrade(_) | Item::Finish => {}
            #[cfg(feature = "redis")]
            Item::Answered => {}
        }
    }
}

impl State {
    /// The last item of the queue.
    fn last(&self) -> Option<&Item> {
        self.waiting.as_ref()?.queue.back()
    }

    /// Keeps what a cut link could not write. `rest` are the items behind the first ones. If there
    /// is something already, it comes behind both.
    pub(super) fn keep_unwritten(&mut self, first: VecDeque<Item>, rest: Vec<Item>) {
        if self.phase != Phase::Cut || first.is_empty() && rest.is_empty() {
            return;
        }
        let before = self.waiting().unwritten.take();
        let mut unwritten = Box::<Unwritten>::default();
        first.into_iter().chain(rest).for_each(|item| unwritten.add(item));
        if let Some(before) = before {
            unwritten.frames.extend(before.frames);
            unwritten.has_answer |= before.has_answer;
        }
        self.waiting().unwritten = Some(unwritten);
    }
}

impl<O: Outlet + ?Sized> Link<O> {
    /// Waits a moment for another thread that is writing, so that it is known what it has written.
    pub(crate) fn await_writer(&self) {
        for _ in 0..MOST_YIELDS {
            if self.state.lock().phase != Phase::Busy {
                return;
            }
            thread::yield_now();
        }
    }

    /// Ends a link on which something waits. Returns the packets that have not been written
    /// completely, if there are any. An answer to a poll has no packets here. The caller may hold a
    /// lock, and wakes `waker` when it holds none.
    pub(crate) fn take_unwritten(&self, waker: &mut Option<Waker>) -> Option<Vec<Frame>> {
        let waits = {
            let state = self.state.lock();
            // The answer to a client that says goodbye is written, if the socket takes it.
            let says_goodbye = matches!(state.last(), None | Some(Item::Bytes(_) | Item::Finish));
            state.phase == Phase::Blocked && !state.rests || !says_goodbye
        };
        if waits {
            *waker = self.end_held(Phase::Cut);
        }
        let unwritten = self.state.lock().waiting.as_mut()?.unwritten.take()?;
        (unwritten.has_answer || !unwritten.frames.is_empty()).then_some(unwritten.frames)
    }
}
