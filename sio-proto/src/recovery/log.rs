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

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque, vec_deque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::audience::{Audience, Stay};
use crate::Time;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::id::TrailSlot;
use crate::slab::Slab;

/// How much a log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Most bytes: of the messages as the caller weighs them, of the names of rooms, and 256 for
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
    /// When it was sent. A message that a store has kept may be older than the clock: then it is
    /// the earliest time.
    pub at: Time,
    /// When it is thrown away.
    pub until: Time,
    /// For whom it was. `None` means everybody.
    audience: Option<Arc<Audience>>,
    /// The trail that has its number: that of the room that it was for, if the room was watched.
    /// Most messages are for everybody or for one room.
    trail: Option<TrailKey>,
    /// The trails of its other rooms.
    #[expect(
        clippy::box_collection,
        reason = "few entries have any, and one word is enough for none"
    )]
    more: Option<Box<Vec<TrailKey>>>,
    /// What it takes in memory. It is as large as it can be if that is more.
    bytes: u32,
    /// What was said.
    pub message: M,
}

// Entries with a message of this size, which is that of `Kept`, are moved by a few instructions.
const _: () = assert!(size_of::<Entry<[u64; 9]>>() <= 128);

/// Names a trail. A key of a trail that is gone is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrailKey {
    slot: TrailSlot,
    generation: u32,
}

/// What was for one room, or for everybody.
#[derive(Debug, Default)]
struct Trail {
    /// The name of the room; empty for everybody.
    room: ByteString,
    sequences: VecDeque<u64>,
    /// The highest number that was in here and has been thrown away; 0 for none.
    pruned: u64,
    /// How many stays of sockets refer to the room.
    watchers: u32,
    /// How many of these stays go on.
    members: u32,
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
    trails: Slab<TrailSlot, Trail>,
    /// The trails of the rooms.
    rooms: BTreeMap<ByteString, TrailKey>,
    /// The number of the last message, kept or not.
    last: u64,
    /// The highest number that was thrown away; 0 for none.
    pruned: u64,
    /// What has been thrown away, if somebody wants to know.
    losses: Option<Vec<Loss>>,
}

/// Something that has been thrown away.
#[derive(Debug)]
pub(super) enum Loss {
    /// The message with this number.
    Message(u64),
    /// Everything in a trail up to this number. The room is `None` for everybody.
    Trail(Option<ByteString>, u64),
    /// Nobody watches this room any more.
    Room(ByteString),
}

impl<M> Entry<M> {
    /// What it takes in memory, as [`LogLimits::bytes`] counts.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// A message that stands in no log.
    pub(super) fn brought(sequence: u64, (at, until): (Time, Time), bytes: usize, message: M) -> Self {
        Self {
            sequence,
            at,
            until,
            audience: None,
            trail: None,
            more: None,
            bytes: u32::try_from(bytes.saturating_add(256)).unwrap_or(u32::MAX),
            message,
        }
    }

    /// For whom it was.
    pub fn audience(&self) -> &Audience {
        static EVERYBODY: Audience = Audience {
            rooms: Vec::new(),
            except: Vec::new(),
        };
        self.audience.as_deref().unwrap_or(&EVERYBODY)
    }
}

impl<M> Log<M> {
    /// What an entry takes with its numbers in the trails, and with the room that the ring has for
    /// more entries.
    const ENTRY_BYTES: usize = 256;

    /// An empty log whose first message gets the number behind `last`.
    #[must_use]
    pub const fn new(limits: LogLimits, last: u64) -> Self {
        Self {
            limits,
            entries: VecDeque::new(),
            bytes: 0,
            everybody: Trail {
                room: ByteString::new(),
                sequences: VecDeque::new(),
                pruned: 0,
                watchers: 0,
                members: 0,
            },
            trails: Slab::new(),
            rooms: BTreeMap::new(),
            last,
            pruned: 0,
            losses: None,
        }
    }

    /// Writes down from now on what is thrown away.
    pub(super) fn note_losses(&mut self) {
        self.losses = Some(Vec::new());
    }

    /// Takes what has been thrown away since the last call.
    pub(super) fn take_losses(&mut self) -> Vec<Loss> {
        self.losses.as_mut().map(core::mem::take).unwrap_or_default()
    }

    fn lose(&mut self, loss: Loss) {
        if let Some(losses) = &mut self.losses {
            losses.push(loss);
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

    /// What the entries and the trails hold.
    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        let entries = self.entries.iter().map(|entry| {
            let more = entry.more.as_ref().map_or(0, |more| more.capacity());
            // The place in the list is counted by the list.
            let bytes = entry.bytes().saturating_sub(Self::ENTRY_BYTES);
            Holding::memory(bytes)
                .and(Holding::heads(1))
                .and(Holding::list::<TrailKey>(more))
        });
        let trails = self.trails.slots().filter_map(|slot| self.trails.get(slot));
        let trails = trails.chain([&self.everybody]);
        let trails = trails.map(|trail| Holding::list::<u64>(trail.sequences.capacity()).with([trail.room.len()]));
        let losses = self.losses.as_ref().map_or(0, Vec::capacity);
        Holding::list::<Entry<M>>(self.entries.capacity())
            .and(self.trails.holding())
            .and(Holding::tree::<(ByteString, TrailKey)>(self.rooms.len()))
            .and(Holding::list::<Loss>(losses))
            .with_all(entries)
            .with_all(trails)
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

    /// Leaves out the numbers up to this one, unless they are taken.
    pub(super) const fn advance(&mut self, last: u64) {
        if last > self.last {
            self.last = last;
        }
    }

    /// Keeps messages for everybody that are older than all others, the newest first: their
    /// numbers, when they were sent, when they go, their bytes. Messages for which there is no room
    /// are thrown away, with all that are older. Nothing happens if messages have been thrown away
    /// before: then these are older than what is missing. Messages that are not older than the
    /// oldest one are left out: returns whether there were any.
    pub(super) fn prepend(
        &mut self,
        now: Time,
        older: impl IntoIterator<Item = (u64, (Time, Time), usize, M)>,
    ) -> bool {
        let mut leaves_out = false;
        if self.pruned > 0 {
            return leaves_out;
        }
        for (sequence, (at, until), bytes, message) in older {
            if self.entries.front().is_some_and(|oldest| oldest.sequence <= sequence) {
                leaves_out = true;
                continue;
            }
            let bytes = Self::weigh(bytes, 0);
            let all = self.bytes.saturating_add(bytes as usize);
            if all > self.limits.bytes || self.entries.len() >= self.limits.packets || until <= now {
                self.pruned = sequence;
                return leaves_out;
            }
            self.bytes = all;
            self.last = self.last.max(sequence);
            self.everybody.sequences.push_front(sequence);
            self.entries.push_front(Entry {
                sequence,
                at,
                until,
                audience: None,
                trail: None,
                more: None,
                bytes,
                message,
            });
        }
        leaves_out
    }

    /// The highest number that was thrown away; 0 for none.
    pub(super) const fn thrown_away(&self) -> u64 {
        self.pruned
    }

    /// Whether anybody could ask for a message to these rooms.
    #[must_use]
    pub fn is_wanted(&self, audience: &Audience) -> bool {
        audience.rooms.is_empty() || audience.rooms.iter().any(|room| self.rooms.contains_key(room))
    }

    /// Keeps the message with the last number, unless nobody could ask for it; older messages go
    /// where there is no room. `bytes` is what the message takes in memory.
    ///
    /// `gone` gets the messages that go, for a caller that can use their memory again.
    ///
    /// Costs the number of rooms, times the logarithm of the rooms watched.
    pub fn keep(&mut self, now: Time, audience: Audience, bytes: usize, message: M, gone: impl FnMut(M)) {
        if !self.is_wanted(&audience) {
            return self.drop_old(now, gone);
        }
        let until = now + self.limits.age;
        self.put((now, self.last), (now, until), audience, (bytes, message), gone);
    }

    /// Keeps the message with the last number for one room, whose trail is known, with the size of
    /// the names in the audience. Costs no look-up by a name.
    #[inline]
    pub(super) fn keep_for(
        &mut self,
        now: Time,
        trail: TrailKey,
        (audience, names): (&Arc<Audience>, usize),
        (bytes, message): (usize, M),
        gone: impl FnMut(M),
    ) {
        if let Some(trail) = trail.find(&mut self.trails) {
            trail.sequences.push_back(self.last);
        }
        let entry = Entry {
            sequence: self.last,
            at: now,
            until: now + self.limits.age,
            audience: Some(Arc::clone(audience)),
            trail: Some(trail),
            more: None,
            bytes: Self::weigh(bytes, names),
            message,
        };
        self.push(now, entry, gone);
    }

    /// What an entry counts for the limit.
    fn weigh(bytes: usize, names: usize) -> u32 {
        let all = bytes.saturating_add(names).saturating_add(Self::ENTRY_BYTES);
        u32::try_from(all).unwrap_or(u32::MAX)
    }

    /// Puts back a message that a store has kept. Messages come in the order of their numbers.
    pub(super) fn restore(&mut self, sequence: u64, times: (Time, Time), audience: Audience, bytes: usize, message: M) {
        let is_next = self.entries.back().is_none_or(|newest| newest.sequence < sequence);
        if !is_next {
            return;
        }
        self.last = self.last.max(sequence);
        if self.is_wanted(&audience) {
            // What is too old goes later.
            self.put((Time::ZERO, sequence), times, audience, (bytes, message), drop);
        } else {
            self.lose(Loss::Message(sequence));
        }
    }

    /// Knows that what was in a trail up to this number is not kept.
    pub(super) fn restore_pruned(&mut self, room: Option<&ByteString>, sequence: u64) {
        let trail = match room {
            None => Some(&mut self.everybody),
            Some(room) => self.rooms.get(room).and_then(|key| key.find(&mut self.trails)),
        };
        match (trail, room) {
            (Some(trail), _) => trail.pruned = trail.pruned.max(sequence),
            (None, Some(room)) => self.lose(Loss::Room(room.clone())),
            (None, None) => {}
        }
        self.pruned = self.pruned.max(sequence);
        self.last = self.last.max(sequence);
    }

    fn put(
        &mut self,
        (now, sequence): (Time, u64),
        (at, until): (Time, Time),
        audience: Audience,
        (bytes, message): (usize, M),
        gone: impl FnMut(M),
    ) {
        let mut keys = audience.rooms.iter().filter_map(|room| self.rooms.get(room).copied());
        let trail = keys.next();
        let more: Vec<TrailKey> = keys.collect();
        let more = (!more.is_empty()).then(|| Box::new(more));
        let is_plain = audience.rooms.is_empty() && audience.except.is_empty();
        let names = audience.bytes();
        for_trails(
            &mut self.everybody,
            &mut self.trails,
            (audience.rooms.is_empty(), trail, more.as_deref()),
            |_, trail| {
                if trail.sequences.back() != Some(&sequence) {
                    trail.sequences.push_back(sequence);
                }
            },
        );
        let entry = Entry {
            sequence,
            at,
            until,
            audience: (!is_plain).then(|| Arc::new(audience)),
            trail,
            more,
            bytes: Self::weigh(bytes, names),
            message,
        };
        self.push(now, entry, gone);
    }

    /// Adds an entry that stands in its trails already. What is too old goes, and then the oldest
    /// where there is no room.
    #[inline(always)]
    fn push(&mut self, now: Time, entry: Entry<M>, mut gone: impl FnMut(M)) {
        self.bytes = self.bytes.saturating_add(entry.bytes());
        self.entries.push_back(entry);
        while self.bytes > self.limits.bytes
            || self.entries.len() > self.limits.packets
            || self.entries.front().is_some_and(|oldest| oldest.until <= now)
        {
            self.drop_oldest(&mut gone);
        }
    }

    /// Throws away what is too old.
    #[inline]
    pub fn prune(&mut self, now: Time) {
        self.drop_old(now, drop);
    }

    /// Throws away what is too old.
    #[inline(always)]
    fn drop_old(&mut self, now: Time, mut gone: impl FnMut(M)) {
        while self.entries.front().is_some_and(|oldest| oldest.until <= now) {
            self.drop_oldest(&mut gone);
        }
    }

    /// When the oldest message is to be thrown away.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.entries.front().map(|oldest| oldest.until)
    }

    #[inline(always)]
    fn drop_oldest(&mut self, gone: impl FnOnce(M)) {
        let Some(Entry {
            sequence,
            audience,
            trail,
            more,
            message,
            bytes,
            ..
        }) = self.entries.pop_front()
        else {
            return;
        };
        let losses = &mut self.losses;
        self.bytes -= bytes as usize;
        self.pruned = sequence;
        let is_for_everybody = audience.is_none_or(|audience| audience.rooms.is_empty());
        let trails = (is_for_everybody, trail, more.as_deref());
        for_trails(&mut self.everybody, &mut self.trails, trails, |is_room, trail| {
            if trail.sequences.front() == Some(&sequence) {
                trail.sequences.pop_front();
                trail.pruned = sequence;
                if let Some(losses) = losses {
                    let room = is_room.then(|| trail.room.clone());
                    losses.push(Loss::Trail(room, sequence));
                }
            }
        });
        self.lose(Loss::Message(sequence));
        // A ring that was large for a while gives its memory back.
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        gone(message);
    }

    /// Somebody is in this room and may ask for what was sent to it.
    pub(super) fn watch(&mut self, room: &ByteString) -> TrailKey {
        let known = self.rooms.get(room).copied();
        if let Some(key) = known
            && let Some(trail) = key.find(&mut self.trails)
        {
            trail.watchers += 1;
            trail.members += 1;
            return key;
        }
        let (slot, generation) = self.trails.insert(Trail {
            room: room.clone(),
            watchers: 1,
            members: 1,
            ..Trail::default()
        });
        let key = TrailKey { slot, generation };
        self.rooms.insert(room.clone(), key);
        key
    }

    /// The trail of a room that is watched.
    pub(super) fn trail(&self, room: &str) -> Option<TrailKey> {
        self.rooms.get(room).copied()
    }

    /// One who watches this room is not in it any more.
    pub(super) fn leave(&mut self, room: &str) {
        if let Some(trail) = self.rooms.get(room).and_then(|key| key.find(&mut self.trails)) {
            trail.members = trail.members.saturating_sub(1);
        }
    }

    /// Whether somebody who watches this room is in it.
    pub(super) fn has_member(&self, room: &str) -> bool {
        let key = self.rooms.get(room);
        let trail = key.and_then(|key| self.trails.find(key.slot, key.generation));
        trail.is_some_and(|trail| trail.members > 0)
    }

    /// The opposite of [`Log::watch`], for one who is not in the room any more. When nobody watches
    /// a room, nobody asks for what was sent to it: whoever joins later was no member at the time.
    pub(super) fn unwatch(&mut self, room: &str) {
        let Some(key) = self.rooms.get(room).copied() else {
            return;
        };
        let Some(trail) = key.find(&mut self.trails) else {
            return;
        };
        trail.watchers -= 1;
        if trail.watchers > 0 {
            return;
        }
        let pruned = trail.pruned;
        self.trails.remove(key.slot);
        if let Some((room, _)) = self.rooms.remove_entry(room)
            && pruned > 0
        {
            self.lose(Loss::Room(room));
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
            let key = self.rooms.get(&stay.room);
            let Some(trail) = key.and_then(|key| self.trails.find(key.slot, key.generation)) else {
                continue;
            };
            let in_time = behind(trail, after.max(stay.from))?;
            wanted.extend(in_time.into_iter().filter(|sequence| stay.covers(*sequence)));
        }
        wanted.sort_unstable();
        wanted.dedup();
        let entries = wanted.into_iter().filter_map(|sequence| self.get(sequence));
        let is_left_out = |entry: &Entry<M>| {
            let mut except = entry.audience().except.iter();
            except.any(|room| {
                stays
                    .iter()
                    .any(|stay| stay.room == *room && stay.covers(entry.sequence))
            })
        };
        Ok(entries.filter(|entry| !is_left_out(entry)).collect())
    }

    /// The number of the newest message that is kept; 0 for none.
    pub(super) fn newest(&self) -> u64 {
        self.entries.back().map_or(0, |entry| entry.sequence)
    }

    /// Everything that is kept, oldest first.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry<M>> {
        self.entries.iter()
    }

    /// Calls `each` with every trail that has lost something, and the last number that it has lost.
    pub(super) fn pruned(&self, mut each: impl FnMut(Option<&ByteString>, u64)) {
        if self.everybody.pruned > 0 {
            each(None, self.everybody.pruned);
        }
        let trails = self.trails.slots().filter_map(|slot| self.trails.get(slot));
        for trail in trails.filter(|trail| trail.pruned > 0) {
            each(Some(&trail.room), trail.pruned);
        }
    }

    /// Throws away the oldest until so many bytes are free.
    pub(super) fn give_back(&mut self, bytes: usize) {
        let goal = self.bytes.saturating_sub(bytes);
        while self.bytes > goal {
            self.drop_oldest(drop);
        }
    }

    /// Throws everything away, where nobody can ask any more.
    pub(super) fn clear(&mut self) {
        self.give_back(self.bytes);
    }

    /// How many trails of rooms there are.
    #[cfg(test)]
    pub(super) fn trails(&self) -> usize {
        debug_assert_eq!(self.rooms.len(), self.trails.len());
        self.trails.len()
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

impl TrailKey {
    #[inline]
    fn find(self, trails: &mut Slab<TrailSlot, Trail>) -> Option<&mut Trail> {
        trails.find_mut(self.slot, self.generation)
    }
}

/// Does something with each trail that a message belongs to. The first argument of `act` says
/// whether it is the trail of a room.
fn for_trails(
    everybody: &mut Trail,
    rooms: &mut Slab<TrailSlot, Trail>,
    (is_for_all, trail, more): (bool, Option<TrailKey>, Option<&Vec<TrailKey>>),
    mut act: impl FnMut(bool, &mut Trail),
) {
    if is_for_all {
        act(false, everybody);
    }
    if let Some(trail) = trail.and_then(|key| key.find(rooms)) {
        act(true, trail);
    }
    for key in more.into_iter().flatten() {
        if let Some(trail) = key.find(rooms) {
            act(true, trail);
        }
    }
}
