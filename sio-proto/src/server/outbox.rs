//! The packets that wait for a client, in order.
//!
//! ```text
//!   first:   frame                      the usual queue: it takes no memory of its own
//!   plain:   frame frame frame          all that was queued before the first sorted message
//!   sorted:  3: message  7: message …   the messages behind it, by number; most sessions have none
//! ```
//! A message that may be dropped or replaced while it waits is *sorted*. From the first such
//! message on, everything is queued by number, so that a message in the middle can be taken out
//! without moving the others. When the sorted messages have left, the queue is plain again. So a
//! message costs a place in a ring, and no more, as long as no such message waits.
//!
//! Invariants:
//! - `first` stands before everything else. If there is no first frame, there are no plain ones.
//! - `bytes` and `packets` are the sums of both parts, and sorted messages count their key and
//!   their kept arguments.
//! - Each key in `keys`, and each number in `droppable`, belongs to a message that waits. A key
//!   belongs to one message: who queues another one with the same key takes the message out, or the
//!   key from it, before.
//! - A message of which a part has left is not sorted any more.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::Encoded;
use super::policy::Key;
use crate::Frame;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::socket::Args;

/// Memory of a packet that waits, without its bytes: a place in the queue, and the head of its
/// buffer.
pub(super) const PACKET_BYTES: usize = 96;
/// Memory of a sorted message, in addition: its entries in the trees.
const SORTED_BYTES: usize = 256;

/// An empty queue keeps memory for this many packets, until the session rests.
const MOST_KEPT: usize = 32;

/// What may become of a message while it waits.
#[derive(Debug)]
pub(crate) enum Hold {
    /// It stays.
    Firm,
    /// It may be dropped to make room.
    Droppable,
    /// It has this key. If it can be merged, its arguments are kept.
    Keyed(Key, Option<Box<Args>>),
}

impl Hold {
    /// The bytes that are kept in addition to the message.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Firm | Self::Droppable => 0,
            Self::Keyed(key, args) => key.len() + args.as_ref().map_or(0, |args| args.bytes()),
        }
    }
}

#[derive(Debug)]
struct Sorted {
    first: Frame,
    more: Vec<Frame>,
    /// The bytes of its frames, and of its hold.
    bytes: usize,
    hold: Hold,
}

impl Sorted {
    fn packets(&self) -> usize {
        1 + self.more.len()
    }

    fn frames(&self) -> impl Iterator<Item = &Frame> {
        core::iter::once(&self.first).chain(&self.more)
    }

    fn into_frames(self) -> impl Iterator<Item = Frame> {
        core::iter::once(self.first).chain(self.more)
    }
}

/// The messages from the first sorted one on.
#[derive(Debug, Default)]
struct Tail {
    next: u64,
    messages: BTreeMap<u64, Sorted>,
    keys: BTreeMap<Key, u64>,
    droppable: BTreeSet<u64>,
    packets: usize,
    droppable_bytes: usize,
    droppable_packets: usize,
}

impl Tail {
    fn push(&mut self, message: Sorted) {
        let number = self.next;
        self.next += 1;
        self.packets += message.packets();
        match &message.hold {
            Hold::Firm => {}
            Hold::Droppable => {
                self.droppable.insert(number);
                self.droppable_bytes += message.bytes;
                self.droppable_packets += message.packets();
            }
            Hold::Keyed(key, _) => _ = self.keys.insert(key.clone(), number),
        }
        self.messages.insert(number, message);
    }

    fn remove(&mut self, number: u64) -> Option<Sorted> {
        let message = self.messages.remove(&number)?;
        self.packets -= message.packets();
        match &message.hold {
            Hold::Firm => {}
            Hold::Droppable => {
                self.droppable.remove(&number);
                self.droppable_bytes -= message.bytes;
                self.droppable_packets -= message.packets();
            }
            Hold::Keyed(key, _) => _ = self.keys.remove(key),
        }
        Some(message)
    }

    fn first(&self) -> Option<(u64, &Sorted)> {
        let (number, message) = self.messages.first_key_value()?;
        Some((*number, message))
    }
}

/// What waits behind the first frame.
#[derive(Debug, Default)]
struct More {
    plain: VecDeque<Frame>,
    tail: Option<Box<Tail>>,
}

/// The packets that wait for a client, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    first: Option<Frame>,
    bytes: usize,
    /// Kept when it is empty, until the session rests.
    more: Option<Box<More>>,
}

// Every session has one.
const _: () = assert!(size_of::<Outbox>() <= 48);

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self {
            first: None,
            bytes: 0,
            more: None,
        }
    }

    #[inline]
    fn tail(&self) -> Option<&Tail> {
        self.more.as_ref()?.tail.as_deref()
    }

    #[inline]
    fn tail_mut(&mut self) -> Option<&mut Tail> {
        self.more.as_mut()?.tail.as_deref_mut()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.tail().is_none()
    }

    /// Whether exactly one packet waits, and may not be dropped.
    #[inline]
    pub(crate) fn has_one(&self) -> bool {
        let is_empty = |more: &More| more.plain.is_empty() && more.tail.is_none();
        self.first.is_some() && self.more.as_ref().is_none_or(|more| is_empty(more))
    }

    /// Whether exactly two packets wait, and none of them may be dropped.
    #[inline]
    pub(crate) fn has_two(&self) -> bool {
        let is_one = |more: &More| more.plain.len() == 1 && more.tail.is_none();
        self.first.is_some() && self.more.as_ref().is_some_and(|more| is_one(more))
    }

    /// How many packets wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let behind = |more: &More| more.plain.len() + more.tail.as_ref().map_or(0, |tail| tail.packets);
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| behind(more))
    }

    /// How many bytes wait, and are kept with what waits.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much memory the queue takes, about.
    pub(crate) fn memory(&self) -> usize {
        let sorted = self.tail().map_or(0, |tail| tail.messages.len());
        self.bytes + self.len() * PACKET_BYTES + sorted * SORTED_BYTES
    }

    pub(crate) fn front(&self) -> Option<&Frame> {
        self.frames().next()
    }

    /// What waits, and the memory around it.
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let list = self.more.as_ref().map_or_else(Holding::default, |more| {
            Holding::list::<Frame>(more.plain.capacity()).and(Holding::memory(size_of::<More>()))
        });
        let tail = self.tail().map_or_else(Holding::default, |tail| {
            let holds = tail.messages.values().map(|message| message.hold.bytes());
            Holding::tree::<(u64, Sorted)>(tail.messages.len())
                .and(Holding::tree::<(Key, u64)>(tail.keys.len()))
                .and(Holding::tree::<u64>(tail.droppable.len()))
                .and(Holding::memory(size_of::<Tail>()))
                .with(holds)
        });
        let frames = self.frames().map(Frame::len);
        // The holds are things for themselves, and no packets.
        let count = self.frames().count();
        Holding {
            count,
            ..list.and(tail).with(frames)
        }
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = &Frame> {
        let plain = self.more.iter().flat_map(|more| &more.plain);
        let tail = self.tail().into_iter().flat_map(|tail| tail.messages.values());
        self.first.iter().chain(plain).chain(tail.flat_map(Sorted::frames))
    }

    pub(crate) fn contains(&self, frame: &Frame) -> bool {
        self.frames().any(|waiting| {
            step!();
            waiting == frame
        })
    }

    /// The place of this packet among those that wait.
    pub(crate) fn position(&self, frame: &Frame) -> Option<usize> {
        self.frames().position(|waiting| {
            step!();
            waiting == frame
        })
    }

    /// Queues one packet that stays.
    #[inline(always)]
    pub(crate) fn push(&mut self, frame: Frame) {
        step!();
        self.bytes += frame.len();
        if self.is_empty() {
            self.first = Some(frame);
        } else {
            self.push_behind(frame);
        }
    }

    /// Queues a packet behind others. Its bytes are counted.
    #[inline(never)]
    fn push_behind(&mut self, frame: Frame) {
        let more = self.more.get_or_insert_default();
        match &mut more.tail {
            None => more.plain.push_back(frame),
            Some(tail) => tail.push(Sorted {
                bytes: frame.len(),
                first: frame,
                more: Vec::new(),
                hold: Hold::Firm,
            }),
        }
    }

    /// Queues one packet in front of all others.
    pub(crate) fn push_front(&mut self, frame: Frame) {
        step!();
        self.bytes += frame.len();
        if let Some(second) = self.first.replace(frame) {
            self.more.get_or_insert_default().plain.push_front(second);
        }
    }

    /// Queues a heartbeat in front of all other packets, except the packet that opens a session of
    /// Engine.IO: before it, a client expects nothing else.
    pub(crate) fn push_heartbeat(&mut self, frame: Frame) {
        if !self.opens() {
            return self.push_front(frame);
        }
        step!();
        self.bytes += frame.len();
        self.more.get_or_insert_default().plain.push_front(frame);
    }

    /// Whether this heartbeat waits where [`Self::push_heartbeat`] puts it.
    pub(crate) fn has_heartbeat(&self, frame: &Frame) -> bool {
        let place = match self.opens() {
            true => self.more.as_ref().and_then(|more| more.plain.front()),
            false => self.first.as_ref(),
        };
        place == Some(frame)
    }

    /// Whether the packet that opens a session of Engine.IO still waits.
    fn opens(&self) -> bool {
        let opens = |frame: &Frame| !frame.is_binary() && frame.payload().starts_with(b"0");
        self.first.as_ref().is_some_and(opens)
    }

    /// Takes out the first packet that is not sorted.
    fn pop_plain(&mut self) -> Option<Frame> {
        let first = self.first.take()?;
        self.first = self.more.as_mut().and_then(|more| more.plain.pop_front());
        self.bytes -= first.len();
        Some(first)
    }

    /// Queues the frames of a message that stays.
    #[inline]
    pub(crate) fn extend<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>) {
        frames.for_each(|frame| self.push(frame.clone()));
    }

    /// Queues a message that is sorted.
    pub(crate) fn push_sorted(&mut self, encoded: Encoded, hold: Hold) {
        let message = Sorted {
            bytes: encoded.bytes() + hold.bytes(),
            first: encoded.first,
            more: encoded.attachments.into_list(),
            hold,
        };
        self.bytes += message.bytes;
        let more = self.more.get_or_insert_default();
        more.tail.get_or_insert_default().push(message);
    }

    /// The kept arguments of the waiting message with this key.
    pub(crate) fn waiting(&self, key: &Key) -> Option<&Args> {
        let tail = self.tail()?;
        match &tail.messages.get(tail.keys.get(key)?)?.hold {
            Hold::Keyed(_, args) => args.as_deref(),
            Hold::Firm | Hold::Droppable => None,
        }
    }

    /// The bytes and packets of the waiting message with this key.
    pub(crate) fn size_of(&self, key: &Key) -> (usize, usize) {
        let size = |tail: &Tail| {
            let message = tail.messages.get(tail.keys.get(key)?)?;
            Some((message.bytes, message.packets()))
        };
        self.tail().and_then(size).unwrap_or_default()
    }

    /// Takes the waiting message with this key out of the queue.
    /// Returns whether there was one.
    pub(crate) fn remove(&mut self, key: &Key) -> bool {
        let number = self.tail().and_then(|tail| tail.keys.get(key).copied());
        number.is_some_and(|number| self.take(number).is_some())
    }

    /// Takes the key from the waiting message that has it.
    pub(crate) fn release(&mut self, key: &Key) {
        if let Some(tail) = self.tail_mut()
            && let Some(number) = tail.keys.remove(key)
            && let Some(message) = tail.messages.get_mut(&number)
        {
            let kept = message.hold.bytes();
            message.bytes -= kept;
            message.hold = Hold::Firm;
            self.bytes -= kept;
        }
    }

    /// The bytes and packets of all messages that may be dropped.
    pub(crate) fn droppable(&self) -> (usize, usize) {
        let tail = self.tail();
        tail.map_or((0, 0), |tail| (tail.droppable_bytes, tail.droppable_packets))
    }

    /// Drops the oldest message that may be dropped. False if there is none.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        let oldest = self.tail().and_then(|tail| tail.droppable.first().copied());
        oldest.is_some_and(|number| self.take(number).is_some())
    }

    fn take(&mut self, number: u64) -> Option<Sorted> {
        step!();
        let more = self.more.as_mut()?;
        let tail = more.tail.as_mut()?;
        let message = tail.remove(number)?;
        self.bytes -= message.bytes;
        if tail.messages.is_empty() {
            more.tail = None;
        }
        Some(message)
    }

    /// Takes out all packets.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Frame> {
        step!(each self.len());
        self.bytes = 0;
        let (plain, tail) = match &mut self.more {
            Some(more) => (Some(more.plain.drain(..)), more.tail.take()),
            None => (None, None),
        };
        let sorted = tail.into_iter().flat_map(|tail| tail.messages.into_values());
        let plain = self.first.take().into_iter().chain(plain.into_iter().flatten());
        plain.chain(sorted.flat_map(Sorted::into_frames))
    }

    /// Takes out all packets, for a function. This is the usual way out, and costs least.
    #[inline]
    pub(crate) fn drain_to(&mut self, mut each: impl FnMut(Frame)) {
        self.bytes = 0;
        if let Some(first) = self.first.take() {
            step!();
            each(first);
        }
        let Some(more) = &mut self.more else { return };
        while let Some(frame) = more.plain.pop_front() {
            step!();
            each(frame);
        }
        if let Some(tail) = more.tail.take() {
            let messages = tail.messages.into_values();
            messages.flat_map(Sorted::into_frames).for_each(|frame| {
                step!();
                each(frame);
            });
        }
    }

    /// Takes out the only packet ([`Outbox::has_one`]).
    #[inline]
    pub(crate) fn take_one(&mut self) -> Option<Frame> {
        step!();
        debug_assert!(self.has_one(), "the caller has looked");
        self.bytes = 0;
        self.first.take()
    }

    /// Takes out the only two packets ([`Outbox::has_two`]).
    #[inline]
    pub(crate) fn take_two(&mut self) -> Option<[Frame; 2]> {
        step!(each 2);
        debug_assert!(self.has_two(), "the caller has looked");
        self.bytes = 0;
        Some([self.first.take()?, self.more.as_mut()?.plain.pop_front()?])
    }

    /// Takes out the first packet.
    pub(crate) fn take_first(&mut self) -> Vec<Frame> {
        let mut first = Vec::new();
        self.take_up_to(1, usize::MAX, &mut first);
        first
    }

    /// Takes out up to this many packets, and up to this many bytes unless one packet has more.
    /// They go to `taken`, which is empty.
    pub(crate) fn take_up_to(&mut self, packets: usize, bytes: usize, taken: &mut Vec<Frame>) {
        debug_assert!(taken.is_empty(), "the list is handed over empty");
        if self.len() <= packets && self.bytes <= bytes {
            taken.reserve(self.len());
            self.drain_to(|frame| taken.push(frame));
            return self.trim();
        }
        let mut room = bytes;
        while taken.len() < packets
            && let Some(len) = self.front().map(Frame::len)
            && (len <= room || taken.is_empty())
        {
            if self.first.is_none() {
                // What is left of the message stays where it is, and is not sorted any more.
                let number = self.tail().and_then(|tail| Some(tail.first()?.0));
                let Some(message) = number.and_then(|number| self.take(number)) else {
                    break;
                };
                for frame in message.into_frames() {
                    self.bytes += frame.len();
                    match &self.first {
                        None => self.first = Some(frame),
                        Some(_) => self.more.get_or_insert_default().plain.push_back(frame),
                    }
                }
            }
            step!();
            let Some(frame) = self.pop_plain() else { break };
            room = room.saturating_sub(len);
            taken.push(frame);
        }
        self.trim();
    }

    /// Changes frames that wait.
    pub(crate) fn convert(&mut self, convert: impl Fn(&Frame) -> Option<Frame>) {
        let Self { first, bytes, more } = self;
        let mut change = |frame: &mut Frame| {
            step!(bulk frame.len());
            let Some(converted) = convert(frame) else { return (0, 0) };
            let change = (frame.len(), converted.len());
            *bytes = *bytes - change.0 + change.1;
            *frame = converted;
            change
        };
        first.iter_mut().for_each(|frame| _ = change(frame));
        let Some(More { plain, tail }) = more.as_deref_mut() else {
            return;
        };
        plain.iter_mut().for_each(|frame| _ = change(frame));
        let Some(tail) = tail else { return };
        for message in tail.messages.values_mut() {
            for frame in core::iter::once(&mut message.first).chain(&mut message.more) {
                let (before, after) = change(frame);
                message.bytes = message.bytes - before + after;
                if let Hold::Droppable = message.hold {
                    tail.droppable_bytes = tail.droppable_bytes - before + after;
                }
            }
        }
    }

    /// Releases the memory that a burst has left in an empty queue, because there are many
    /// sessions, and most are idle.
    #[inline]
    pub(crate) fn trim(&mut self) {
        if let Some(more) = &self.more
            && more.plain.capacity() > MOST_KEPT
        {
            self.rest();
        }
    }

    /// Releases what an empty queue has kept for the next packets. Called about once in the time of
    /// a heartbeat, so that a client which only answers heartbeats has no memory beside its
    /// session.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            self.more = None;
        }
    }
}

#[cfg(test)]
mod tests;
