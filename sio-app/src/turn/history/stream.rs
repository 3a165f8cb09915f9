//! The stream of a cluster, as far as this server has read it: which places of other servers say
//! something here.
//!
//! ```text
//!   entries      … │ tail, read once, backwards │ read one after the other ─► │ not read yet
//!            before                         begun                           last
//! ```
//! All servers have the same events in the same order, so a client may show the place of an entry
//! to any of them. There is one exception: an event of this server that was sent without the stream
//! ([`Histories::mix`]) stands elsewhere here than in the stream. Places from there on, until the
//! event was read in the stream, say nothing here.

#![cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only clusters need it"))]

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use bytestring::ByteString;
use sio_proto::Time;
use sio_proto::recovery::Older;
#[cfg(feature = "redis")]
use sio_proto::server::Target;
use sio_proto::socket::Offset;

use super::{Histories, Said};
use crate::lock::Mutex;

/// How many times of other orders are known for a namespace. Of earlier ones only the last place is
/// known.
const MOST_TIMES: usize = 8;

/// How many namespaces with times of other orders are known.
const MOST_NAMESPACES: usize = 256;

/// How long clients wait for what the stream had before, or for a place that this server has not
/// read yet.
pub(crate) const LAG: Duration = Duration::from_secs(2);

/// How much of the stream of a cluster this server has read, as numbers of entries.
#[derive(Default)]
pub(super) struct Stream {
    is_followed: AtomicBool,
    /// Since when, in microseconds.
    since: AtomicU64,
    /// Everything behind this entry has been read; 0 if nothing has been.
    first: AtomicU64,
    /// The last entry that has been read.
    pub(super) last: AtomicU64,
    /// The last entry when a history was dropped the last time.
    pub(super) dropped: AtomicU64,
    tail: AtomicU8,
    /// Whether a namespace has a time of another order.
    is_mixed: AtomicBool,
    mixed: Mutex<Mixed>,
}

/// What has become of the tail of the stream.
mod tail {
    pub(super) const WAITS: u8 = 0;
    pub(super) const IS_READ: u8 = 1;
    pub(super) const IS_OVER: u8 = 2;
}

/// When events of this server stood in another order than in the stream, as numbers of entries.
#[derive(Debug, Default)]
struct Mixed {
    namespaces: BTreeMap<ByteString, Times>,
    /// In all namespaces, places before this one say nothing.
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Times {
    /// Behind the first number, before the second one.
    over: VecDeque<(u64, u64)>,
    /// It lasts, behind this number.
    from: Option<u64>,
    /// Places before this one say nothing.
    forgotten: u64,
}

impl Times {
    /// Returns the number behind which the order has been that of the stream, if it is now.
    fn end(&self) -> Option<u64> {
        let last = self.over.back().map_or(0, |(_, to)| *to);
        self.from.is_none().then_some(last.max(self.forgotten))
    }
}

impl Mixed {
    fn begin(&mut self, namespace: &ByteString, from: u64) {
        if self.namespaces.len() >= MOST_NAMESPACES && !self.namespaces.contains_key(namespace) {
            let ends = self.namespaces.values().filter_map(Times::end);
            self.forgotten = ends.fold(self.forgotten, u64::max);
            self.namespaces.retain(|_, times| times.from.is_some());
        }
        let times = self.namespaces.entry(namespace.clone()).or_default();
        times.from.get_or_insert(from);
    }

    fn end(&mut self, namespace: &str, to: u64) {
        let Some(times) = self.namespaces.get_mut(namespace) else {
            return;
        };
        if let Some(from) = times.from.take() {
            times.over.push_back((from, to));
            if times.over.len() > MOST_TIMES
                && let Some((_, to)) = times.over.pop_front()
            {
                times.forgotten = times.forgotten.max(to);
            }
        }
    }

    /// Whether what stands before a place in the stream was sent before what stands behind it.
    fn has(&self, namespace: &str, place: u64) -> bool {
        if place < self.forgotten {
            return false;
        }
        self.namespaces.get(namespace).is_none_or(|times| {
            let is_among = times.over.iter().any(|(from, to)| place > *from && place < *to);
            place >= times.forgotten && !is_among && times.from.is_none_or(|from| place <= from)
        })
    }
}

/// What the stream had in rooms before it was read: for each room of a namespace the events, the
/// newest first.
pub(crate) type Tail = BTreeMap<(ByteString, ByteString), Vec<Older<Said>>>;

impl Histories {
    pub(crate) fn follows_stream(&self) -> bool {
        self.stream.is_followed.load(Ordering::Relaxed)
    }

    /// Whether this server has read the stream up to this place, and has sent the events of the
    /// namespace as they stand there.
    pub(crate) fn has_read(&self, namespace: &str, place: Offset) -> bool {
        let stream = &self.stream;
        let (first, last) = (
            stream.first.load(Ordering::Relaxed),
            stream.last.load(Ordering::Relaxed),
        );
        let is_read = first > 0 && (first..=last).contains(&place.sequence);
        let is_mixed =
            || stream.is_mixed.load(Ordering::Relaxed) && !stream.mixed.lock().has(namespace, place.sequence);
        place.is_entry() && is_read && !is_mixed()
    }

    /// Whether a place says something in a room without a history here: nothing was said there
    /// behind it.
    pub(crate) fn knows(&self, namespace: &str, room: &str, place: Offset) -> bool {
        let known = |(_, known): (_, u64)| place.sequence >= known;
        self.follows_stream() && self.ring(namespace, room).is_some_and(known) && self.has_read(namespace, place)
    }

    /// Whether more of the stream will soon be known for a client that has seen this place, or
    /// nothing.
    pub(crate) fn is_behind(&self, now: Time, seen: Option<Offset>) -> bool {
        let stream = &self.stream;
        if !self.follows_stream() {
            return false;
        }
        let is_new = now < Time::from_micros(stream.since.load(Ordering::Relaxed)) + LAG;
        let is_coming = match stream.tail.load(Ordering::Relaxed) {
            tail::WAITS => is_new,
            state => state == tail::IS_READ,
        };
        match seen {
            None => is_coming,
            Some(seen) if seen.is_entry() => {
                let first = stream.first.load(Ordering::Relaxed);
                let is_older = first == 0 || seen.sequence < first;
                seen.sequence > stream.last.load(Ordering::Relaxed) || is_coming && is_older
            }
            Some(_) => false,
        }
    }
}

/// What the node of the cluster does.
#[cfg(feature = "redis")]
impl Histories {
    /// From now on, histories follow the stream of a cluster. Call it before there is one.
    pub(crate) fn follow_stream(&self, now: Time) {
        self.stream.since.store(now.as_micros(), Ordering::Relaxed);
        self.stream.is_followed.store(true, Ordering::Relaxed);
    }

    /// The reading of the stream begins behind this entry. Returns whether it is the first time. If
    /// not, what was said meanwhile is missing, and all histories begin anew.
    pub(crate) fn begin_stream(&self, after: Option<Offset>) -> bool {
        let (stream, relaxed) = (&self.stream, Ordering::Relaxed);
        let after = after.map_or(0, |after| after.sequence);
        stream.first.store(after, relaxed);
        stream.last.fetch_max(after, relaxed);
        let is_first = stream.tail.load(relaxed) == tail::WAITS;
        if !is_first {
            loop {
                let gone = self.drop_oldest(&mut self.rooms.lock_for("begin"));
                let Some(gone) = gone else { break };
                gone.clear();
            }
        }
        is_first
    }

    /// The stream has been read up to this entry.
    pub(crate) fn read_up_to(&self, entry: Offset) {
        let (first, relaxed) = (&self.stream.first, Ordering::Relaxed);
        if first.load(relaxed) == 0 {
            first.store(entry.sequence, relaxed);
        }
        self.stream.last.fetch_max(entry.sequence, relaxed);
    }

    /// An event of this server is now sent to its sockets without the stream, and may be in the
    /// stream, or will be. If it is for a room with a history, it matters, and the last entry that
    /// was read before is returned.
    pub(crate) fn mix(&self, target: &Target) -> Option<u64> {
        let [room] = &target.rooms[..] else { return None };
        let matters = self.follows_stream() && self.covers(&target.namespace, room);
        matters.then(|| {
            let last = self.stream.last.load(Ordering::Relaxed);
            self.mix_from(&target.namespace, last);
            last
        })
    }

    /// Events of a namespace may stand in another order than in the stream, behind this entry.
    pub(crate) fn mix_from(&self, namespace: &ByteString, last: u64) {
        self.stream.mixed.lock().begin(namespace, last);
        self.stream.is_mixed.store(true, Ordering::Relaxed);
    }

    /// All events of a namespace that were sent without the stream stand before this place in the
    /// stream, or at it.
    pub(crate) fn settle(&self, namespace: &str, place: Offset) {
        if self.stream.is_mixed.load(Ordering::Relaxed) {
            self.stream.mixed.lock().end(namespace, place.sequence);
        }
    }

    /// Returns the longest time for which a history keeps events, if there are any.
    pub(crate) fn longest_age(&self) -> Option<Duration> {
        self.rules.read().iter().map(|rule| rule.ring.age).max()
    }

    /// Returns how long an event for a room is kept, if it is.
    pub(crate) fn age(&self, namespace: &str, room: &str) -> Option<Duration> {
        self.ring(namespace, room).map(|(ring, _)| ring.age)
    }

    /// Most bytes of all histories.
    pub(crate) const fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// The tail of the stream is being read, or is not any more.
    pub(crate) fn reads_tail(&self, is_read: bool) {
        let state = if is_read { tail::IS_READ } else { tail::IS_OVER };
        self.stream.tail.store(state, Ordering::Relaxed);
    }

    /// Keeps what the stream had before it was read from the entry `begun` on, for rooms of
    /// namespaces, the newest first. It is all that was said behind the entry `known`.
    pub(crate) fn prepend(&self, now: Time, begun: Offset, known: Offset, older: Tail) {
        let (begun, known) = (begun.sequence, known.sequence);
        let is_gapless = || self.stream.first.load(Ordering::Relaxed) == begun;
        if !is_gapless() {
            return;
        }
        for ((namespace, room), events) in older {
            if let Some(history) = self.of_room(&namespace, &room) {
                let mut state = history.state.lock_for("prepend");
                history.change(&mut state, |state| state.prepend(now, begun, known, events));
            }
            self.make_room();
        }
        let relaxed = Ordering::Relaxed;
        let _ = self
            .stream
            .first
            .compare_exchange(begun, known.min(begun), relaxed, relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(mixed: &Mixed, namespace: &str, places: std::ops::Range<u64>) -> Vec<u64> {
        places.filter(|place| mixed.has(namespace, *place)).collect()
    }

    #[test]
    fn places_among_events_of_another_order_say_nothing() {
        let mut mixed = Mixed::default();
        assert_eq!(known(&mixed, "/", 1..5), [1, 2, 3, 4]);
        mixed.begin(&"/".into(), 2);
        mixed.begin(&"/".into(), 3);
        assert_eq!(known(&mixed, "/", 1..9), [1, 2], "it lasts");
        assert_eq!(known(&mixed, "/x", 1..9).len(), 8, "in one namespace");
        mixed.end("/x", 6);
        mixed.end("/", 6);
        mixed.end("/", 8);
        assert_eq!(known(&mixed, "/", 1..9), [1, 2, 6, 7, 8]);
        mixed.begin(&"/".into(), 7);
        mixed.end("/", 10);
        assert_eq!(known(&mixed, "/", 1..12), [1, 2, 6, 7, 10, 11]);
    }

    /// What is remembered is bounded. What is forgotten says nothing.
    #[test]
    fn times_of_other_orders_are_bounded() {
        let mut mixed = Mixed::default();
        for time in 0..10 {
            mixed.begin(&"/".into(), time * 10);
            mixed.end("/", time * 10 + 5);
        }
        assert_eq!(known(&mixed, "/", 0..28), [15, 16, 17, 18, 19, 20, 25, 26, 27]);
        assert_eq!(mixed.namespaces["/"].over.len(), MOST_TIMES);
        mixed.begin(&"/lasts".into(), 3);
        for number in 0..2000_u64 {
            let name = ByteString::from(number.to_string());
            mixed.begin(&name, number);
            mixed.end(&name, number + 2);
        }
        assert!(mixed.namespaces.len() <= MOST_NAMESPACES);
        assert!(!mixed.has("/lasts", 5000) && !mixed.has("7", 8) && mixed.has("7", 5000));
        assert_eq!(known(&mixed, "/other", 0..5), [0; 0]);
    }
}
