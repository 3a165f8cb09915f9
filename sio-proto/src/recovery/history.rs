//! What was said in one room, for clients that say what they have seen of it.

use core::time::Duration;

use super::Audience;
use super::log::{Entry, Log, LogLimits};
use crate::Time;
use crate::config::ConfigError;
use crate::socket::Offset;

/// How much of what is said in a room is kept. When there is more, the oldest messages go, and
/// clients that have not seen them are told so.
///
/// ```
/// use core::time::Duration;
/// use sio_proto::recovery::Ring;
///
/// let ring = Ring { bytes: 1 << 20, ..Ring::default() };
/// assert_eq!((ring.packets, ring.age), (512, Duration::from_secs(3600)));
/// assert!(ring.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Most bytes of one room: those of names and arguments, and 256 for each message. Default 256
    /// KiB.
    pub bytes: usize,
    /// Most messages of one room. Default 512.
    pub packets: usize,
    /// How long a message is kept. Default 1 hour.
    pub age: Duration,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            bytes: 256 << 10,
            packets: 512,
            age: Duration::from_secs(3600),
        }
    }
}

impl Ring {
    /// Checks the limits.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroLimit`] for a limit that leaves no room for anything.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let limits = [
            ("ring.bytes", self.bytes == 0),
            ("ring.packets", self.packets == 0),
            ("ring.age", self.age.is_zero()),
        ];
        match limits.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(ConfigError::ZeroLimit(name)),
            None => Ok(()),
        }
    }
}

/// The messages of one room, oldest first. Each has a place: the epoch of this history, and a
/// number. A history that begins again has another epoch, so an old place is never taken for a
/// place in it.
///
/// A history may [follow the stream](Self::in_stream) of a broker, as the histories of the same
/// room on other servers do. Then the places of messages in the stream are the ids of their
/// entries, the same everywhere.
#[derive(Debug)]
pub struct History<M> {
    epoch: u32,
    log: Log<M>,
    stream: Option<Followed>,
}

/// What a history knows of the stream that it follows, as numbers of entries.
#[derive(Debug)]
struct Followed {
    /// Everything behind this entry is known.
    known: u64,
    /// The last entry whose message stands at its place.
    entry: u64,
    /// Behind the first number, up to the second one, messages stand in another order than in the
    /// stream.
    late: Option<(u64, u64)>,
    /// Whether messages from before this history are missing that could not be put in front.
    is_missing: bool,
}

/// A message that was said before all that a history has ([`History::prepend`]).
#[derive(Debug)]
pub struct Older<M> {
    /// Its place in the stream.
    pub place: Offset,
    /// When it was sent, or the earliest time.
    pub at: Time,
    /// When it is too old.
    pub until: Time,
    /// What it takes in memory.
    pub bytes: usize,
    /// The message.
    pub message: M,
}

/// What a client has not seen.
#[derive(Debug)]
pub struct Since<'a, M> {
    /// Whether messages are missing that the client has not seen. Then `entries` begins with the
    /// oldest message that is kept.
    pub truncated: bool,
    /// The messages, oldest first.
    pub entries: Entries<'a, M>,
}

/// Messages of a history, oldest first.
pub type Entries<'a, M> = alloc::collections::vec_deque::Iter<'a, Entry<M>>;

impl<M> History<M> {
    /// An empty history. `epoch` should be random.
    #[must_use]
    pub const fn new(epoch: u32, ring: Ring) -> Self {
        let limits = LogLimits {
            bytes: ring.bytes,
            packets: ring.packets,
            age: ring.age,
        };
        Self {
            epoch,
            log: Log::new(limits, 0),
            stream: None,
        }
    }

    /// An empty history that follows a stream, which has been read up to the number `last`. What
    /// was said up to the number `known` may be missing.
    #[must_use]
    pub fn in_stream(epoch: u32, ring: Ring, last: u64, known: u64) -> Self {
        let mut history = Self::new(epoch, ring);
        history.log.advance(last);
        history.stream = Some(Followed {
            known,
            entry: last,
            late: None,
            is_missing: false,
        });
        history
    }

    /// The place behind the last message.
    #[must_use]
    pub const fn last(&self) -> Offset {
        self.place(self.log.last())
    }

    /// Messages without an entry get numbers behind this one. For a history that follows a stream
    /// it is the last entry that was read: who has seen it at another server has not seen what is
    /// said here now.
    pub const fn advance(&mut self, last: u64) {
        self.log.advance(last);
    }

    /// The place that the next message will have. `entry` is its entry in the stream that the
    /// history follows, if it has one. If a later entry has been had already, the message gets a
    /// place as one without an entry.
    #[must_use]
    pub fn next(&self, entry: Option<Offset>) -> Offset {
        let next = self.log.last() + 1;
        let entry = entry.filter(|entry| self.stream.is_some() && entry.is_entry() && entry.sequence >= next);
        match entry {
            Some(entry) => entry,
            // Others know the numbers of entries.
            None if self.stream.is_some() && Offset::is_entry_number(next) => self.place(next + 1),
            None => self.place(next),
        }
    }

    /// The place of the message with this number.
    #[must_use]
    pub const fn place(&self, sequence: u64) -> Offset {
        let epoch = match self.stream.is_some() && Offset::is_entry_number(sequence) {
            true => Offset::STREAM,
            false => self.epoch,
        };
        Offset { epoch, sequence }
    }

    /// Keeps a message at the [next](History::next) place. `bytes` is what the message takes in
    /// memory. The oldest messages go where there is no room for all.
    pub fn keep(&mut self, now: Time, entry: Option<Offset>, bytes: usize, message: M) {
        let place = self.next(entry);
        let entry = entry.filter(|entry| entry.is_entry());
        if let (Some(entry), Some(stream)) = (entry, &mut self.stream) {
            if place == entry {
                stream.entry = entry.sequence;
            } else {
                // Its number is taken, so it is one of those up to the last one.
                let from = stream.late.map_or(stream.entry, |(from, _)| from);
                let from = from.min(entry.sequence.saturating_sub(1));
                stream.late = Some((from, self.log.last()));
            }
        }
        self.log.advance(place.sequence.saturating_sub(1));
        self.log.next();
        self.log.keep(now, Audience::default(), bytes, message, drop);
        // A place up to there is one of what is gone.
        if let Some(stream) = &mut self.stream {
            let gone = self.log.thrown_away();
            stream.late.take_if(|(_, to)| *to < gone);
        }
    }

    /// Keeps what was said in the stream before all that is kept, the newest first. It has been
    /// read from the stream behind the number `known`. Only what there is room for is kept, the
    /// newest. If this history has messages from before the stream was read, nothing can stand in
    /// front of them: it is left out, and is missing. Nothing happens if this history has begun
    /// later than the stream was read (`begun`): then something between may be missing.
    pub fn prepend(&mut self, now: Time, begun: u64, known: u64, older: impl IntoIterator<Item = Older<M>>) {
        if let Some(own) = self.stream.as_mut().filter(|own| own.known <= begun) {
            own.known = known.min(own.known);
            let older = older.into_iter().filter(|older| older.place.is_entry());
            let older = older.map(|it| (it.place.sequence, (it.at, it.until), it.bytes, it.message));
            if self.log.prepend(now, older) {
                own.known = begun.saturating_add(1);
                own.is_missing = true;
            }
        }
    }

    /// Throws away what is too old.
    pub fn prune(&mut self, now: Time) {
        self.log.prune(now);
    }

    /// Throws all messages away.
    pub fn clear(&mut self) {
        self.log.clear();
    }

    /// How many bytes are kept, as [`Ring::bytes`] counts them.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.log.bytes()
    }

    /// How many messages are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Whether no message is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// The messages behind the last one that a client has seen. A client that has seen none gets
    /// all. A place that this history has never had is one of an earlier history, so all messages
    /// of this one are new to the client, and others are missing.
    ///
    /// `is_read` says of a place in the stream, for a history that follows it, whether this server
    /// has read the stream up to there, and has sent what stands before it before what stands
    /// behind it. A place from before this history, or among messages that came in another order,
    /// is not known either.
    #[must_use]
    pub fn since(&self, seen: Option<Offset>, is_read: impl FnOnce(Offset) -> bool) -> Since<'_, M> {
        let is_ours = |seen: &Offset| match &self.stream {
            Some(stream) if seen.is_entry() => stream.has(seen.sequence) && is_read(*seen),
            _ => seen.epoch == self.epoch && seen.sequence <= self.log.last(),
        };
        match seen {
            None => {
                let since = self.behind(0);
                let is_missing = self.stream.as_ref().is_some_and(|stream| stream.is_missing);
                Since {
                    truncated: since.truncated || is_missing,
                    ..since
                }
            }
            Some(seen) if is_ours(&seen) => self.behind(seen.sequence),
            Some(_) => Since {
                truncated: true,
                entries: self.log.all(),
            },
        }
    }

    /// The messages behind a number of this history, for a client that this history has given all
    /// messages up to there. [`History::since`] is for places that a client shows: it may have them
    /// from another server.
    #[must_use]
    pub fn behind(&self, number: u64) -> Since<'_, M> {
        let entries = self.log.since(number);
        Since {
            truncated: entries.is_err(),
            entries: entries.unwrap_or_else(|_| self.log.all()),
        }
    }
}

impl Followed {
    /// Whether everything behind this entry is known, and stands behind it.
    fn has(&self, entry: u64) -> bool {
        let is_late = self.late.is_some_and(|(from, to)| entry > from && entry <= to);
        entry >= self.known && !is_late
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;
    use core::ops::RangeInclusive;

    use proptest::prelude::*;

    use super::*;

    /// What is done to a history, and what the simplest history would say.
    #[derive(Clone, Debug)]
    enum Step {
        Keep { bytes: usize },
        Pass { millis: u64 },
        Since { epoch: u32, sequence: u64 },
        All,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_usize..400).prop_map(|bytes| Step::Keep { bytes }),
            1 => (0_u64..700).prop_map(|millis| Step::Pass { millis }),
            2 => (6_u32..8, 0_u64..60).prop_map(|(epoch, sequence)| Step::Since { epoch, sequence }),
            1 => Just(Step::All),
        ];
        prop::collection::vec(step, 0..80)
    }

    const RING: Ring = Ring {
        bytes: 2_300,
        packets: 5,
        age: Duration::from_secs(1),
    };

    /// Every message there ever was, and how many of the oldest are gone.
    #[derive(Default)]
    struct Naive {
        all: Vec<(Time, usize)>,
        gone: usize,
    }

    impl Naive {
        fn prune(&mut self, now: Time) {
            while self.all.get(self.gone).is_some_and(|(at, _)| *at + RING.age <= now) {
                self.gone += 1;
            }
        }

        fn bound(&mut self) {
            let kept = |naive: &Self| {
                naive.all[naive.gone..]
                    .iter()
                    .map(|(_, bytes)| bytes + 256)
                    .sum::<usize>()
            };
            while kept(self) > RING.bytes || self.all.len() - self.gone > RING.packets {
                self.gone += 1;
            }
        }

        /// Whether something is missing, and the numbers of what is there.
        fn since(&self, after: Option<usize>) -> (bool, Vec<u64>) {
            let known = after.is_none_or(|after| after <= self.all.len());
            let from = after.filter(|_| known).unwrap_or(0);
            let truncated = from < self.gone || !known;
            let numbers = from.max(self.gone)..self.all.len();
            (truncated, numbers.map(|number| number as u64 + 1).collect())
        }
    }

    const MILLISECOND: u64 = 1_795_448_768_796;

    fn entry(number: u64) -> Offset {
        Offset::of_entry(MILLISECOND, number).unwrap()
    }

    fn older(number: u64) -> Older<u64> {
        Older {
            place: entry(number),
            at: Time::ZERO,
            until: Time::ZERO + RING.age,
            bytes: 0,
            message: number,
        }
    }

    fn said(history: &History<u64>, seen: Option<Offset>, read: &RangeInclusive<u64>) -> (bool, Vec<u64>) {
        let since = history.since(seen, |place| read.contains(&place.sequence));
        (since.truncated, since.entries.map(|entry| entry.message).collect())
    }

    /// Two servers read one stream. A client goes from one to the other with its place.
    #[test]
    fn a_place_in_the_stream_is_the_same_everywhere() {
        let begin = |epoch| History::in_stream(epoch, RING, entry(3).sequence, 0);
        let (mut one, mut two) = (begin(1), begin(2));
        let read = entry(3).sequence..=entry(9).sequence;
        for history in [&mut one, &mut two] {
            for number in [5, 7] {
                let place = Some(entry(number));
                assert_eq!(history.next(place), entry(number));
                history.keep(Time::ZERO, place, 0, number);
            }
        }
        // One has said something without the stream. Only it knows this place.
        let place = one.next(None);
        assert!(!place.is_entry() && place.sequence > entry(7).sequence);
        one.keep(Time::ZERO, None, 0, 70);
        assert_eq!(said(&two, Some(entry(5)), &read), (false, vec![7]));
        assert_eq!(said(&one, Some(entry(5)), &read), (false, vec![7, 70]));
        assert_eq!(said(&two, Some(place), &read), (true, vec![5, 7]));
        assert_eq!(said(&one, Some(place), &read), (false, vec![]));
        // An entry of another room, and places from before and behind what was read.
        assert_eq!(said(&one, Some(entry(8)), &read), (false, vec![]));
        assert_eq!(said(&two, Some(entry(2)), &read), (true, vec![5, 7]));
        assert_eq!(said(&two, Some(entry(10)), &read), (true, vec![5, 7]));
    }

    /// An entry that comes when later numbers are taken has another place here than elsewhere. Who
    /// shows its place, or one between, is not told that nothing is missing.
    #[test]
    fn an_entry_that_comes_late_makes_places_unknown() {
        let mut history = History::in_stream(1, RING, entry(3).sequence, 0);
        history.keep(Time::ZERO, Some(entry(5)), 0, 5);
        history.keep(Time::ZERO, Some(entry(9)), 0, 9);
        assert!(!history.next(Some(entry(7))).is_entry());
        history.keep(Time::ZERO, Some(entry(7)), 0, 7);
        history.keep(Time::ZERO, Some(entry(12)), 0, 12);
        let read = 0..=u64::MAX;
        assert_eq!(said(&history, Some(entry(12)), &read), (false, vec![]));
        for unknown in [7, 8, 9] {
            assert_eq!(said(&history, Some(entry(unknown)), &read), (true, vec![5, 9, 7, 12]));
        }
        assert_eq!(said(&history, Some(entry(5)), &read), (false, vec![9, 7, 12]));
        let mut history = History::in_stream(1, RING, entry(3).sequence, 0);
        for number in 0..300 {
            history.keep(Time::ZERO, None, 0, number);
        }
        // The numbers of the next entry are taken.
        history.keep(Time::ZERO, Some(entry(4)), 0, 4);
        history.keep(Time::ZERO, Some(entry(5)), 0, 5);
        assert!(said(&history, Some(entry(3)), &read).0, "most are gone");
        assert!(said(&history, Some(entry(4)), &read).0);
        assert_eq!(said(&history, Some(entry(5)), &read), (false, vec![]));
    }

    /// What a history has given to a client is known, whatever is known of the stream.
    #[test]
    fn a_client_goes_on_behind_what_it_was_given() {
        let mut history = History::in_stream(1, RING, entry(3).sequence, entry(3).sequence);
        for number in [5, 9, 7] {
            history.keep(Time::ZERO, Some(entry(number)), 0, number);
        }
        let behind = |history: &History<u64>, number| {
            let since = history.behind(number);
            (since.truncated, since.entries.map(|entry| entry.message).collect())
        };
        assert_eq!(said(&history, Some(entry(9)), &(0..=u64::MAX)), (true, vec![5, 9, 7]));
        assert_eq!(behind(&history, entry(9).sequence), (false, vec![7]));
        assert_eq!(behind(&history, 0), (false, vec![5, 9, 7]));
        // The number of an entry of another room.
        history.advance(entry(12).sequence);
        history.keep(Time::ZERO, None, 0, 70);
        assert!(history.last().sequence > entry(12).sequence && !history.last().is_entry());
        for number in 13..17 {
            history.keep(Time::ZERO, Some(entry(number)), 0, number);
        }
        assert_eq!(behind(&history, entry(9).sequence), (true, vec![70, 13, 14, 15, 16]));
    }

    /// Only what is kept can stand in another order.
    #[test]
    fn an_entry_that_came_late_is_forgotten_when_it_is_gone() {
        let mut history = History::in_stream(1, RING, entry(3).sequence, 0);
        for number in [5, 9, 7, 12, 13, 14, 15] {
            history.keep(Time::ZERO, Some(entry(number)), 0, number);
        }
        let read = 0..=u64::MAX;
        assert!(said(&history, Some(entry(8)), &read).0);
        // Behind 9 stands 7, and a client that has seen 9 elsewhere has had it.
        assert!(said(&history, Some(entry(9)), &read).0);
        for number in [16, 17, 18, 22, 21] {
            history.keep(Time::ZERO, Some(entry(number)), 0, number);
        }
        assert_eq!(said(&history, Some(entry(17)), &read), (false, vec![18, 22, 21]));
        for unknown in [8, 9, 12, 21, 22] {
            assert!(said(&history, Some(entry(unknown)), &read).0, "{unknown}");
        }
    }

    /// What cannot stand in front is missing, and this is said.
    #[test]
    fn a_history_from_before_the_stream_was_read_has_nothing_in_front() {
        let (begun, read) = (entry(8).sequence, 0..=u64::MAX);
        let mut history = History::in_stream(1, RING, 0, 0);
        history.keep(Time::ZERO, None, 0, 77);
        let own = history.last();
        history.prepend(Time::ZERO, begun, entry(4).sequence, [7, 6].map(older));
        history.keep(Time::ZERO, Some(entry(9)), 0, 9);
        for unknown in [None, Some(entry(5)), Some(entry(7)), Some(entry(8))] {
            assert_eq!(said(&history, unknown, &read), (true, vec![77, 9]), "{unknown:?}");
        }
        assert_eq!(said(&history, Some(own), &read), (false, vec![9]));
        assert_eq!(said(&history, Some(entry(9)), &read), (false, vec![]));
    }

    /// Numbers between two entries are never taken for those of entries.
    #[test]
    fn many_messages_without_an_entry_look_like_no_entry() {
        let ring = Ring {
            packets: 2000,
            bytes: 1 << 20,
            ..RING
        };
        let mut history = History::in_stream(1, ring, entry(3).sequence, 0);
        for number in 0..1000 {
            let place = history.next(None);
            assert!(!place.is_entry());
            history.keep(Time::ZERO, None, 0, number);
            assert_eq!(history.last(), place);
        }
        assert_eq!(history.len(), 1000);
    }

    #[test]
    fn what_the_stream_has_from_before_is_kept_in_front() {
        let start = entry(8).sequence;
        let fresh = || {
            let mut history = History::in_stream(1, RING, start, 0);
            history.keep(Time::ZERO, Some(entry(9)), 0, 9);
            history
        };
        let read = entry(4).sequence..=entry(9).sequence;
        let mut history = fresh();
        history.prepend(Time::ZERO, start, entry(4).sequence, [7, 6, 5].map(older));
        assert_eq!(said(&history, None, &read), (false, vec![5, 6, 7, 9]));
        assert_eq!(said(&history, Some(entry(4)), &read), (false, vec![5, 6, 7, 9]));
        assert!(said(&history, Some(entry(3)), &read).0);
        // There is room for five. The newest stay, and it is said that others are missing.
        let mut history = fresh();
        history.prepend(Time::ZERO, start, 1, [7, 6, 5, 4, 3, 2].map(older));
        let all = 1..=entry(9).sequence;
        assert_eq!(said(&history, Some(entry(1)), &all), (true, vec![4, 5, 6, 7, 9]));
        assert_eq!(said(&history, Some(entry(3)), &all), (false, vec![4, 5, 6, 7, 9]));
        // A history that has begun behind a gap gets nothing from before it.
        let mut late = History::in_stream(1, RING, start, start + 1);
        late.prepend(Time::ZERO, start, 1, [7].map(older));
        assert_eq!(said(&late, Some(entry(7)), &all), (true, vec![]));
        // What is too old is not kept.
        let mut history = fresh();
        history.prepend(Time::ZERO + RING.age, start, 1, [7].map(older));
        assert_eq!(said(&history, Some(entry(8)), &all), (false, vec![9]));
        assert_eq!(said(&history, None, &all), (true, vec![9]));
    }

    /// What is read of the stream makes places known from which nothing was known before.
    #[test]
    fn what_was_read_makes_places_known() {
        let (start, all) = (entry(8).sequence, 0..=u64::MAX);
        let begin = || History::in_stream(1, RING, start, start);
        let mut history = begin();
        assert!(said(&history, Some(entry(5)), &all).0 && !said(&history, Some(entry(8)), &all).0);
        history.prepend(Time::ZERO, start, entry(4).sequence, [7, 6].map(older));
        assert_eq!(said(&history, Some(entry(4)), &all), (false, vec![6, 7]));
        assert_eq!(said(&history, Some(entry(6)), &all), (false, vec![7]));
        assert!(said(&history, Some(entry(3)), &all).0);
        assert_eq!((history.len(), history.is_empty(), history.bytes()), (2, false, 512));
        // What there is room for is exact, and nothing comes twice.
        let mut history = begin();
        let sized = |number: u64, bytes: usize| Older {
            bytes: bytes - 256,
            ..older(number)
        };
        let half = RING.bytes / 2;
        history.prepend(Time::ZERO, start, 1, [sized(7, half), sized(6, half), sized(5, 256)]);
        assert_eq!(
            (said(&history, None, &all), history.bytes()),
            ((true, vec![6, 7]), RING.bytes)
        );
        let mut history = begin();
        history.keep(Time::ZERO, Some(entry(9)), 0, 9);
        history.prepend(Time::ZERO, start, 1, [9, 7].map(older));
        assert_eq!(said(&history, None, &all), (true, vec![7, 9]));
        // The next message stands behind what was read, also if nothing was kept before.
        let mut history = History::in_stream(1, RING, 0, 0);
        history.prepend(Time::ZERO, 0, 0, [7].map(older));
        assert!(history.next(None).sequence > entry(7).sequence);
        history.clear();
        assert_eq!((history.len(), history.is_empty(), history.bytes()), (0, true, 0));
        assert_eq!(said(&history, None, &all), (true, vec![]));
    }

    #[test]
    fn an_entry_has_its_number_if_nothing_else_has() {
        let mut history = History::in_stream(1, RING, entry(5).sequence - 1, 0);
        assert_eq!(history.next(Some(entry(5))), entry(5));
        history.keep(Time::ZERO, Some(entry(5)), 0, 5);
        assert!(!history.next(Some(entry(5))).is_entry());
        // Without a stream, entries say nothing.
        let mut alone = History::new(7, RING);
        alone.keep(Time::ZERO, Some(entry(5)), 0, 5);
        assert_eq!(alone.last(), Offset { epoch: 7, sequence: 1 });
        // Up to the last number that was taken, messages may stand in another order.
        let ring = Ring {
            packets: 2_000,
            bytes: 1 << 20,
            ..RING
        };
        let mut history = History::in_stream(1, ring, entry(3).sequence, 0);
        for number in 0..300 {
            history.keep(Time::ZERO, None, 0, number);
        }
        history.keep(Time::ZERO, Some(entry(4)), 0, 4);
        let read = 0..=u64::MAX;
        let (truncated, messages) = said(&history, Some(entry(3)), &read);
        assert_eq!((truncated, messages.len()), (false, 301));
        assert!(said(&history, Some(entry(4)), &read).0);
    }

    #[test]
    fn a_ring_without_room_is_refused() {
        assert_eq!(RING.validate(), Ok(()));
        let age = Duration::ZERO;
        for (ring, name) in [
            (Ring { bytes: 0, ..RING }, "ring.bytes"),
            (Ring { packets: 0, ..RING }, "ring.packets"),
            (Ring { age, ..RING }, "ring.age"),
        ] {
            assert_eq!(ring.validate(), Err(ConfigError::ZeroLimit(name)));
        }
    }

    proptest! {
        #[test]
        fn a_history_says_what_the_simplest_one_says(steps in steps()) {
            let (mut now, mut history, mut naive) = (Time::ZERO, History::new(7, RING), Naive::default());
            for step in steps {
                let asked = match step {
                    Step::Keep { bytes } => {
                        let next = history.next(None);
                        prop_assert_eq!(next.sequence, naive.all.len() as u64 + 1);
                        history.keep(now, None, bytes, naive.all.len());
                        naive.prune(now);
                        naive.all.push((now, bytes));
                        naive.bound();
                        continue;
                    }
                    Step::Pass { millis } => {
                        now = now + Duration::from_millis(millis);
                        history.prune(now);
                        naive.prune(now);
                        continue;
                    }
                    Step::Since { epoch, sequence } => Some(Offset { epoch, sequence }),
                    Step::All => None,
                };
                let since = history.since(asked, |_| false);
                let after = asked.map(|seen| if seen.epoch == 7 { seen.sequence as usize } else { usize::MAX });
                let numbers = since.entries.map(|entry| entry.sequence).collect();
                prop_assert_eq!((since.truncated, numbers), naive.since(after));
                prop_assert!(history.bytes() <= RING.bytes && history.len() <= RING.packets);
            }
        }
    }
}
