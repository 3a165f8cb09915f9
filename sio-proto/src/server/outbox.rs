//! The packets that wait for a client, in order.
//!
//! ```text
//!   plain:   frame frame frame          all that was queued before the first sorted message
//!   sorted:  3: message  7: message …   the messages behind it, by number; most sessions have none
//! ```
//! A message that may be dropped or replaced while it waits is *sorted*. From the first such
//! message on, everything is queued by number, so that a message in the middle can be taken out
//! without moving the others. When the sorted messages have left, the queue is plain again. So a
//! message costs a place in a ring, and no more, as long as no such message waits.
//!
//! Invariants:
//! - `bytes` and `packets` are the sums of both parts, and sorted messages count their key and
//!   their kept arguments.
//! - Each key in `keys`, and each number in `droppable`, belongs to a message that waits.
//! - A message of which a part has left is not sorted any more.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::Encoded;
use super::policy::Key;
use crate::Frame;
use crate::socket::Args;

/// Memory of a packet that waits, without its bytes: a place in the queue, and the head of its
/// buffer.
const PACKET_BYTES: usize = 96;
/// Memory of a sorted message, in addition: its entries in the trees.
const SORTED_BYTES: usize = 256;

/// The queue begins with room for this many packets. A queue of the standard library begins with
/// four, which most sessions never need.
const FEW_PACKETS: usize = 2;
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
            // Another message may have taken the key over.
            Hold::Keyed(key, _) => {
                if self.keys.get(key) == Some(&number) {
                    self.keys.remove(key);
                }
            }
        }
        Some(message)
    }

    fn first(&self) -> Option<(u64, &Sorted)> {
        let (number, message) = self.messages.first_key_value()?;
        Some((*number, message))
    }
}

/// The packets that wait for a client, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    plain: VecDeque<Frame>,
    bytes: usize,
    tail: Option<Box<Tail>>,
}

// Every session has one.
const _: () = assert!(size_of::<Outbox>() <= 48);

impl Outbox {
    pub(crate) const fn new() -> Self {
        Self {
            plain: VecDeque::new(),
            bytes: 0,
            tail: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.tail.is_none()
    }

    /// How many packets wait.
    pub(crate) fn len(&self) -> usize {
        self.plain.len() + self.tail.as_ref().map_or(0, |tail| tail.packets)
    }

    /// How many bytes wait, and are kept with what waits.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much memory the queue takes, about.
    pub(crate) fn memory(&self) -> usize {
        let sorted = self.tail.as_ref().map_or(0, |tail| tail.messages.len());
        self.bytes + self.len() * PACKET_BYTES + sorted * SORTED_BYTES
    }

    pub(crate) fn front(&self) -> Option<&Frame> {
        self.frames().next()
    }

    fn frames(&self) -> impl Iterator<Item = &Frame> {
        let tail = self.tail.iter().flat_map(|tail| tail.messages.values());
        self.plain.iter().chain(tail.flat_map(Sorted::frames))
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
    pub(crate) fn push(&mut self, frame: Frame) {
        step!();
        self.bytes += frame.len();
        match &mut self.tail {
            None => {
                if self.plain.capacity() == 0 {
                    self.begin(1);
                }
                self.plain.push_back(frame);
            }
            Some(tail) => tail.push(Sorted {
                bytes: frame.len(),
                first: frame,
                more: Vec::new(),
                hold: Hold::Firm,
            }),
        }
    }

    /// Gives a queue that has no memory room for a few packets, if it now gets no more.
    #[cold]
    fn begin(&mut self, packets: usize) {
        if packets <= FEW_PACKETS {
            self.plain.reserve_exact(FEW_PACKETS);
        }
    }

    /// Queues one packet in front of all others.
    pub(crate) fn push_front(&mut self, frame: Frame) {
        step!();
        self.bytes += frame.len();
        self.plain.push_front(frame);
    }

    /// Queues the frames of a message that stays. They have this many bytes.
    pub(crate) fn extend<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>, bytes: usize) {
        match &self.tail {
            None => {
                if self.plain.capacity() == 0 {
                    self.begin(frames.size_hint().0);
                }
                self.plain.extend(frames.cloned());
                self.bytes += bytes;
            }
            Some(_) => frames.for_each(|frame| self.push(frame.clone())),
        }
    }

    /// Queues a message that is sorted.
    pub(crate) fn push_sorted(&mut self, encoded: Encoded, hold: Hold) {
        let message = Sorted {
            bytes: encoded.bytes() + hold.bytes(),
            first: encoded.first,
            more: encoded.attachments,
            hold,
        };
        self.bytes += message.bytes;
        self.tail.get_or_insert_default().push(message);
    }

    /// The kept arguments of the waiting message with this key.
    pub(crate) fn waiting(&self, key: &Key) -> Option<&Args> {
        let tail = self.tail.as_ref()?;
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
        self.tail.as_ref().and_then(|tail| size(tail)).unwrap_or_default()
    }

    /// Takes the waiting message with this key out of the queue.
    /// Returns whether there was one.
    pub(crate) fn remove(&mut self, key: &Key) -> bool {
        let number = self.tail.as_ref().and_then(|tail| tail.keys.get(key).copied());
        number.is_some_and(|number| self.take(number).is_some())
    }

    /// Takes the key from the waiting message that has it.
    pub(crate) fn release(&mut self, key: &Key) {
        if let Some(tail) = &mut self.tail
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
        let tail = self.tail.as_ref();
        tail.map_or((0, 0), |tail| (tail.droppable_bytes, tail.droppable_packets))
    }

    /// Drops the oldest message that may be dropped. False if there is none.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        let oldest = self.tail.as_ref().and_then(|tail| tail.droppable.first().copied());
        oldest.is_some_and(|number| self.take(number).is_some())
    }

    fn take(&mut self, number: u64) -> Option<Sorted> {
        step!();
        let tail = self.tail.as_mut()?;
        let message = tail.remove(number)?;
        self.bytes -= message.bytes;
        if tail.messages.is_empty() {
            self.tail = None;
        }
        Some(message)
    }

    /// Takes out all packets.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Frame> {
        self.bytes = 0;
        let tail = self.tail.take().into_iter();
        let tail = tail.flat_map(|tail| tail.messages.into_values().flat_map(Sorted::into_frames));
        self.plain.drain(..).chain(tail)
    }

    /// Takes out all packets, for a function. This is the usual way out, and costs least.
    #[inline]
    pub(crate) fn drain_to(&mut self, mut each: impl FnMut(Frame)) {
        self.bytes = 0;
        while let Some(frame) = self.plain.pop_front() {
            step!();
            each(frame);
        }
        if let Some(tail) = self.tail.take() {
            let messages = tail.messages.into_values();
            messages.flat_map(Sorted::into_frames).for_each(each);
        }
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
            return self.drain_to(|frame| taken.push(frame));
        }
        let mut room = bytes;
        while taken.len() < packets
            && let Some(len) = self.front().map(Frame::len)
            && (len <= room || taken.is_empty())
        {
            if self.plain.is_empty() {
                // What is left of the message stays where it is, and is not sorted any more.
                let number = self.tail.as_ref().and_then(|tail| Some(tail.first()?.0));
                let Some(message) = number.and_then(|number| self.take(number)) else {
                    break;
                };
                for frame in message.into_frames() {
                    self.bytes += frame.len();
                    self.plain.push_back(frame);
                }
            }
            step!();
            let Some(frame) = self.plain.pop_front() else { break };
            self.bytes -= len;
            room = room.saturating_sub(len);
            taken.push(frame);
        }
    }

    /// Changes frames that wait.
    pub(crate) fn convert(&mut self, convert: impl Fn(&Frame) -> Option<Frame>) {
        let Self { plain, bytes, tail } = self;
        let mut change = |frame: &mut Frame| {
            step!(bulk frame.len());
            let Some(converted) = convert(frame) else { return (0, 0) };
            let change = (frame.len(), converted.len());
            *bytes = *bytes - change.0 + change.1;
            *frame = converted;
            change
        };
        for frame in plain {
            change(frame);
        }
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
    pub(crate) fn trim(&mut self) {
        if self.plain.capacity() > MOST_KEPT && self.plain.is_empty() {
            self.plain = VecDeque::new();
        }
    }

    /// Releases what an empty queue has kept for the next packets. Called about once in the time of
    /// a heartbeat, so that a client which only answers heartbeats has a queue for a few packets.
    pub(crate) fn rest(&mut self) {
        if self.plain.capacity() > FEW_PACKETS && self.plain.is_empty() {
            self.plain = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests;
