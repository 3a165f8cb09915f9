//! What was said in a namespace, as long as somebody may ask for it.
//!
//! ```text
//!   entries    [ 7 ][ 9 ][ 10 ][ 12 ] …          oldest first; numbers grow, and may leave some out
//!   trails     everybody: 9 12    red: 7 10      for each room the numbers of what was for it
//! ```
//! A message is kept only if somebody watches one of its rooms, or if it is for everybody. A client
//! that comes back asks for the trails of its own rooms. So it pays for what it has missed, and not
//! for what was said.
//!
//! Invariants: each number in a trail is that of an entry; a trail knows the last number that was
//! thrown away, so that it is never silent about a gap; entries, and with them trails, are bounded
//! in bytes, number and age.

use alloc::collections::{BTreeMap, VecDeque, vec_deque};
use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::audience::{Audience, Stay};
use crate::Time;

/// How much a log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Most bytes: of the messages as the caller weighs them, of the names of rooms, and 96 for
    /// each entry.
    pub bytes: usize,
    /// Most messages.
    pub packets: usize,
    /// How long a message is kept.
    pub age: Duration,
}

/// A message that was kept.
#[derive(Debug)]
pub struct Entry<M> {
    /// Its number.
    pub sequence: u64,
    /// When it was sent.
    pub at: Time,
    /// For whom it was.
    pub audience: Audience,
    /// What was said.
    pub message: M,
    bytes: usize,
}

/// What was for one room, or for everybody.
#[derive(Debug, Default)]
struct Trail {
    sequences: VecDeque<u64>,
    /// The highest number that was in here and has been thrown away; 0 for none.
    pruned: u64,
    /// How many stays of sockets refer to the room.
    watchers: u32,
}

/// Part of what was asked for has been thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("messages up to number {pruned} are not kept any more")]
pub struct Truncated {
    /// The highest number that is missing.
    pub pruned: u64,
}

/// The messages of a namespace or a room, oldest first.
#[derive(Debug)]
pub struct Log<M> {
    limits: LogLimits,
    entries: VecDeque<Entry<M>>,
    bytes: usize,
    everybody: Trail,
    rooms: BTreeMap<ByteString, Trail>,
    /// The number of the last message, kept or not.
    last: u64,
    /// The highest number that was thrown away; 0 for none.
    pruned: u64,
}

impl<M> Entry<M> {
    /// What it takes in memory, as [`LogLimits::bytes`] counts.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<M> Log<M> {
    /// What an entry takes beside its message and its rooms, with its numbers in the trails.
    const ENTRY_BYTES: usize = 96;

    /// An empty log whose first message gets the number behind `last`.
    #[must_use]
    pub const fn new(limits: LogLimits, last: u64) -> Self {
        Self {
            limits,
            entries: VecDeque::new(),
            bytes: 0,
            everybody: Trail {
                sequences: VecDeque::new(),
                pruned: 0,
                watchers: 0,
            },
            rooms: BTreeMap::new(),
            last,
            pruned: 0,
        }
    }

    /// The number of the last message.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// How many messages are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no message is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes are kept, as [`LogLimits::bytes`] counts them.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the number for the next message. What was sent gets its number first, because the
    /// number is part of what is sent, and is then [kept](Log::keep).
    pub const fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether anybody could ask for a message to these rooms.
    #[must_use]
    pub fn is_wanted(&self, audience: &Audience) -> bool {
        audience.rooms.is_empty() || audience.rooms.iter().any(|room| self.rooms.contains_key(room))
    }

    /// Keeps the message with the last number, unless nobody could ask for it; older messages go
    /// where there is no room. `bytes` is what the message takes in memory.
    ///
    /// Costs the number of rooms, times the logarithm of the rooms watched.
    pub fn keep(&mut self, now: Time, audience: Audience, bytes: usize, message: M) {
        self.prune(now);
        if !self.is_wanted(&audience) {
            return;
        }
        let sequence = self.last;
        let bytes = bytes.saturating_add(audience.bytes()).saturating_add(Self::ENTRY_BYTES);
        for_trails(&mut self.everybody, &mut self.rooms, &audience, |trail| {
            if trail.sequences.back() != Some(&sequence) {
                trail.sequences.push_back(sequence);
            }
        });
        self.bytes = self.bytes.saturating_add(bytes);
        self.entries.push_back(Entry {
            sequence,
            at: now,
            audience,
            message,
            bytes,
        });
        while self.bytes > self.limits.bytes || self.entries.len() > self.limits.packets {
            self.drop_oldest();
        }
    }

    /// Throws away what is too old.
    pub fn prune(&mut self, now: Time) {
        while self
            .entries
            .front()
            .is_some_and(|oldest| oldest.at + self.limits.age <= now)
        {
            self.drop_oldest();
        }
    }

    /// When the oldest message is to be thrown away.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.entries.front().map(|oldest| oldest.at + self.limits.age)
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else {
            return;
        };
        self.bytes -= oldest.bytes;
        self.pruned = oldest.sequence;
        for_trails(&mut self.everybody, &mut self.rooms, &oldest.audience, |trail| {
            if trail.sequences.front() == Some(&oldest.sequence) {
                trail.sequences.pop_front();
                trail.pruned = oldest.sequence;
            }
        });
        // A ring that was large for a while gives its memory back.
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    /// Somebody is in this room and may ask for what was sent to it.
    pub(super) fn watch(&mut self, room: &ByteString) {
        match self.rooms.get_mut(room) {
            Some(trail) => trail.watchers += 1,
            None => {
                let trail = Trail {
                    watchers: 1,
                    ..Trail::default()
                };
                self.rooms.insert(room.clone(), trail);
            }
        }
    }

    /// The opposite of [`Log::watch`]. When nobody watches a room, nobody asks for what was sent to
    /// it: whoever joins later was no member at the time.
    pub(super) fn unwatch(&mut self, room: &str) {
        if let Some(trail) = self.rooms.get_mut(room) {
            trail.watchers -= 1;
            if trail.watchers == 0 {
                self.rooms.remove(room);
            }
        }
    }

    /// Every message behind number `after`, oldest first.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if some of them are not kept any more.
    pub fn since(&self, after: u64) -> Result<vec_deque::Iter<'_, Entry<M>>, Truncated> {
        if self.pruned > after {
            return Err(Truncated { pruned: self.pruned });
        }
        let first = self.entries.partition_point(|entry| entry.sequence <= after);
        Ok(self.entries.range(first..))
    }

    /// Every message that is kept, oldest first.
    #[must_use]
    pub fn all(&self) -> vec_deque::Iter<'_, Entry<M>> {
        self.entries.iter()
    }

    /// What a socket with these stays has missed behind number `after`, oldest first. Messages to
    /// everybody count from `after` on.
    ///
    /// # Errors
    ///
    /// [`Truncated`] if something of it may have been thrown away.
    pub(super) fn missed(&self, after: u64, stays: &[Stay]) -> Result<Vec<&Entry<M>>, Truncated> {
        let mut wanted = behind(&self.everybody, after)?;
        for stay in stays {
            let Some(trail) = self.rooms.get(&stay.room) else {
                continue;
            };
            let in_time = behind(trail, after.max(stay.from))?;
            wanted.extend(in_time.into_iter().filter(|sequence| stay.covers(*sequence)));
        }
        wanted.sort_unstable();
        wanted.dedup();
        let entries = wanted.into_iter().filter_map(|sequence| self.get(sequence));
        let is_left_out = |entry: &Entry<M>| {
            let mut except = entry.audience.except.iter();
            except.any(|room| {
                stays
                    .iter()
                    .any(|stay| stay.room == *room && stay.covers(entry.sequence))
            })
        };
        Ok(entries.filter(|entry| !is_left_out(entry)).collect())
    }

    /// Throws away the oldest until so many bytes are free.
    pub(super) fn give_back(&mut self, bytes: usize) {
        let goal = self.bytes.saturating_sub(bytes);
        while self.bytes > goal {
            self.drop_oldest();
        }
    }

    /// Throws everything away, where nobody can ask any more.
    pub(super) fn clear(&mut self) {
        self.give_back(self.bytes);
    }

    /// The message of this number, if it is kept.
    pub(super) fn get(&self, sequence: u64) -> Option<&Entry<M>> {
        let at = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence);
        at.ok().and_then(|at| self.entries.get(at))
    }
}

/// The numbers in a trail behind `after`.
fn behind(trail: &Trail, after: u64) -> Result<Vec<u64>, Truncated> {
    if trail.pruned > after {
        return Err(Truncated { pruned: trail.pruned });
    }
    let first = trail.sequences.partition_point(|sequence| *sequence <= after);
    Ok(trail.sequences.range(first..).copied().collect())
}

/// Does something with each trail that a message belongs to.
fn for_trails(
    everybody: &mut Trail,
    rooms: &mut BTreeMap<ByteString, Trail>,
    audience: &Audience,
    mut act: impl FnMut(&mut Trail),
) {
    if audience.rooms.is_empty() {
        act(everybody);
    }
    for room in &audience.rooms {
        if let Some(trail) = rooms.get_mut(room) {
            act(trail);
        }
    }
}
