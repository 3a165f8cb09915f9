//! The events of this node that it has not read from the stream.
//!
//! ```text
//!   put ─► absent ── wrote ─► under way ── stored ─► stored ── read ─► gone
//!             ▲                   │                     └── an entry behind it was read ─► gone
//!             └───── refused ─────┘
//! ```
//! An event is absent as long as it is not known to be in the stream. One that was refused may be
//! there nevertheless, because the connection may have ended behind the order and in front of the
//! answer. So it is written again only when an entry has been read that was written behind it:
//! until then it would have been read, too. One that the broker has taken is never written again.
//!
//! Each operation costs the logarithm of the number of events, or the events that it returns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytestring::ByteString;
use sio_proto::Time;
use sio_proto::cluster::{Emit, RequestId, Target};

/// How long an event waits for the stream before it is sent to the sockets of this node without it.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// What an event takes besides its bytes.
pub(super) const EVENT_BYTES: usize = 512;

/// For how many namespaces it is known that an event of theirs was written and is not kept. If
/// there are more, all namespaces count as such.
const MOST_UNTRACKED: usize = 1024;

/// The events of this node that have not been read, in their order. `B` is how one is sent to the
/// sockets of this node, `R` names a request.
pub(super) struct Unread<B, R = RequestId> {
    events: BTreeMap<u64, Kept<B, R>>,
    requests: BTreeMap<R, u64>,
    /// Those that are not known to be in the stream.
    absent: BTreeSet<u64>,
    /// Those that the sockets of this node have not been sent.
    unsent: BTreeSet<u64>,
    /// How many of each namespace the sockets of this node have been sent before they were read.
    early: BTreeMap<ByteString, usize>,
    /// The namespaces of events that were written and are not kept, and how many had been written
    /// to the stream when the last one of each was.
    untracked: BTreeMap<ByteString, u64>,
    /// The same for all namespaces that have no place there, with the last one of them.
    untracked_elsewhere: Option<(ByteString, u64)>,
    /// How often an event of any namespace became early.
    early_ever: u64,
    bytes: usize,
    numbers: u64,
    /// How often something was written to the stream.
    writes: u64,
}

/// An event of this node.
pub(super) struct Event<B> {
    pub(super) namespace: ByteString,
    pub(super) to: Target,
    pub(super) emit: Emit,
    /// What it takes in memory.
    pub(super) bytes: usize,
    /// When it was emitted.
    pub(super) since: Time,
    /// How it is sent to the sockets of this node, until it is.
    pub(super) body: Option<B>,
}

struct Kept<B, R> {
    event: Event<B>,
    /// When it was written last, if it was.
    written: Option<Written<R>>,
    is_stored: bool,
}

struct Written<R> {
    request: R,
    at: Time,
    /// How many had been written to the stream.
    writes: u64,
}

impl<B, R> Default for Unread<B, R> {
    fn default() -> Self {
        Self {
            events: BTreeMap::new(),
            requests: BTreeMap::new(),
            absent: BTreeSet::new(),
            unsent: BTreeSet::new(),
            early: BTreeMap::new(),
            untracked: BTreeMap::new(),
            untracked_elsewhere: None,
            early_ever: 0,
            bytes: 0,
            numbers: 0,
            writes: 0,
        }
    }
}

impl<B, R: Copy + Ord> Unread<B, R> {
    /// When the oldest event was emitted.
    pub(super) fn since(&self) -> Option<Time> {
        self.events.values().next().map(|kept| kept.event.since)
    }

    /// Takes over an event. Without the name of the request that writes it, it is absent.
    pub(super) fn put(&mut self, now: Time, event: Event<B>, request: Option<R>) {
        self.numbers += 1;
        let number = self.numbers;
        self.bytes += event.bytes;
        match event.body.is_some() {
            true => drop(self.unsent.insert(number)),
            false => self.is_sent_early(event.namespace.clone()),
        }
        self.absent.insert(number);
        let kept = Kept {
            event,
            written: None,
            is_stored: false,
        };
        self.events.insert(number, kept);
        if let Some(request) = request {
            self.wrote(now, number, request);
        }
    }

    /// An absent event was written to the stream.
    pub(super) fn wrote(&mut self, now: Time, number: u64, request: R) {
        let writes = self.count_write();
        let Some(kept) = self.events.get_mut(&number) else {
            return;
        };
        self.absent.remove(&number);
        self.requests.insert(request, number);
        let at = now;
        if let Some(before) = kept.written.replace(Written { request, at, writes }) {
            self.requests.remove(&before.request);
        }
    }

    /// Something was written to the stream. Returns how many have been.
    pub(super) const fn count_write(&mut self) -> u64 {
        self.writes += 1;
        self.writes
    }

    fn is_sent_early(&mut self, namespace: ByteString) {
        *self.early.entry(namespace).or_default() += 1;
        self.early_ever += 1;
    }

    /// An event was written to the stream and is not kept, because as much waits as may. The
    /// sockets of this node are sent it now.
    pub(super) fn wrote_untracked(&mut self, namespace: ByteString) {
        let writes = self.count_write();
        self.early_ever += 1;
        match self.untracked.len() < MOST_UNTRACKED || self.untracked.contains_key(&namespace) {
            true => drop(self.untracked.insert(namespace, writes)),
            false => self.untracked_elsewhere = Some((namespace, writes)),
        }
    }

    /// The broker has taken an event, or has not, as far as is known. Returns whether there is such
    /// an event.
    pub(super) fn answered(&mut self, request: R, is_stored: bool) -> bool {
        let Some(number) = self.requests.get(&request) else {
            return false;
        };
        match is_stored {
            true => {
                if let Some(kept) = self.events.get_mut(number) {
                    kept.is_stored = true;
                }
            }
            false => {
                self.absent.insert(*number);
            }
        }
        true
    }

    /// An event was read from the stream. Returns how it is sent to the sockets of this node, if it
    /// was not.
    pub(super) fn read(&mut self, request: R) -> Option<B> {
        let number = *self.requests.get(&request)?;
        self.remove(number)?.body
    }

    /// An entry was read behind which nothing comes that was written before it, as `writes` counts.
    /// What the broker has taken and this node has not read has been trimmed away. Returns what of
    /// it the sockets of this node have not been sent, in order.
    pub(super) fn passed(&mut self, writes: u64) -> Vec<B> {
        self.untracked.retain(|_, written| *written >= writes);
        self.untracked_elsewhere.take_if(|(_, written)| *written < writes);
        let is_over = |kept: &Kept<B, R>| kept.is_stored && kept.written.as_ref().is_some_and(|it| it.writes < writes);
        let over = self.events.iter().filter(|(_, kept)| is_over(kept));
        let over: Vec<u64> = over.map(|(number, _)| *number).collect();
        over.into_iter()
            .filter_map(|number| self.remove(number)?.body)
            .collect()
    }

    /// Returns the events that are surely not in the stream when an entry was read before which
    /// `writes` had been written: the oldest ones, of about so many bytes.
    pub(super) fn absent(&self, writes: u64, max_bytes: usize) -> Vec<(u64, &Event<B>)> {
        let mut bytes = 0;
        let absent = self
            .absent
            .iter()
            .filter_map(|number| Some((*number, self.events.get(number)?)));
        let sure = absent.take_while(|(_, kept)| kept.written.as_ref().is_none_or(|it| it.writes < writes));
        let some = sure.take_while(|(_, kept)| {
            let is_first = bytes == 0;
            bytes += kept.event.bytes;
            is_first || bytes <= max_bytes
        });
        some.map(|(number, kept)| (number, &kept.event)).collect()
    }

    /// Gives up the absent events that are older than the window. Returns how many.
    pub(super) fn drop_old(&mut self, now: Time, window: Duration) -> u64 {
        let mut dropped = 0;
        while let Some(number) = self.absent.first().copied() {
            let is_old = self
                .events
                .get(&number)
                .is_none_or(|kept| kept.event.body.is_none() && kept.event.since + window <= now);
            if !is_old {
                break;
            }
            self.remove(number);
            dropped += 1;
        }
        dropped
    }

    /// Gives up the events of a namespace that the sockets of this node have been sent. Returns how
    /// many of them were absent.
    pub(super) fn forget(&mut self, namespace: &str) -> u64 {
        self.untracked.remove(namespace);
        // The fence for the others is written in another namespace.
        if let Some((_, writes)) = self.untracked_elsewhere.take_if(|(known, _)| **known == *namespace) {
            let other = self.untracked.keys().next();
            self.untracked_elsewhere = other.map(|other| (other.clone(), writes));
        }
        let is_there = |kept: &Kept<B, R>| kept.event.body.is_none() && *kept.event.namespace == *namespace;
        let there = self.events.iter().filter(|(_, kept)| is_there(kept));
        let there: Vec<u64> = there.map(|(number, _)| *number).collect();
        let absent = there.iter().filter(|number| self.absent.contains(number)).count();
        there.into_iter().for_each(|number| drop(self.remove(number)));
        absent as u64
    }

    /// Removes an event.
    pub(super) fn remove(&mut self, number: u64) -> Option<Event<B>> {
        self.absent.remove(&number);
        let is_early = !self.unsent.remove(&number);
        let kept = self.events.remove(&number)?;
        if is_early && let Some(count) = self.early.get_mut(&kept.event.namespace) {
            *count -= 1;
            if *count == 0 {
                self.early.remove(&kept.event.namespace);
            }
        }
        if let Some(written) = kept.written {
            self.requests.remove(&written.request);
        }
        self.bytes -= kept.event.bytes;
        Some(kept.event)
    }

    /// Returns how the events are sent that the sockets of this node have not been sent, in order.
    pub(super) fn take_unsent(&mut self) -> Vec<B> {
        let unsent = std::mem::take(&mut self.unsent);
        unsent.into_iter().filter_map(|number| self.take_body(number)).collect()
    }

    /// Returns what [`take_unsent`](Self::take_unsent) returns of the events that are chosen and of
    /// those before them in the same namespaces.
    pub(super) fn take_unsent_before(&mut self, is_chosen: impl Fn(&Event<B>) -> bool) -> Vec<B> {
        let mut last = BTreeMap::new();
        for number in &self.unsent {
            if let Some(kept) = self.events.get(number).filter(|kept| is_chosen(&kept.event)) {
                last.insert(kept.event.namespace.clone(), *number);
            }
        }
        let is_before = |number: &u64| {
            let namespace = self.events.get(number).map(|kept| &kept.event.namespace);
            namespace
                .and_then(|namespace| last.get(namespace))
                .is_some_and(|last| number <= last)
        };
        let (before, behind): (BTreeSet<u64>, BTreeSet<u64>) = self.unsent.iter().copied().partition(is_before);
        self.unsent = behind;
        before.into_iter().filter_map(|number| self.take_body(number)).collect()
    }

    fn take_body(&mut self, number: u64) -> Option<B> {
        let event = &mut self.events.get_mut(&number)?.event;
        let (body, namespace) = (event.body.take()?, event.namespace.clone());
        self.is_sent_early(namespace);
        Some(body)
    }

    /// The number of the last event.
    pub(super) const fn last(&self) -> u64 {
        self.numbers
    }

    /// Whether the sockets of this node have been sent all events up to this number.
    pub(super) fn is_sent_up_to(&self, number: u64) -> bool {
        self.unsent.first().is_none_or(|first| *first > number)
    }

    /// Whether the sockets of this node have been sent events of a namespace that have not been
    /// read. Until then, the place of another event says nothing to other nodes: what was sent
    /// early may stand behind it.
    pub(super) fn has_early(&self, namespace: &str) -> bool {
        let is_untracked = self.untracked.contains_key(namespace) || self.untracked_elsewhere.is_some();
        is_untracked || self.early.contains_key(namespace)
    }

    /// How often an event became early.
    pub(super) const fn early_ever(&self) -> u64 {
        self.early_ever
    }

    /// Whether the order of events is not that of the stream now: something is absent, or has been
    /// under way for long.
    pub(super) fn is_stuck(&self, now: Time) -> bool {
        !self.absent.is_empty() || self.oldest().is_some_and(|at| at + PATIENCE <= now)
    }

    /// When the oldest event was written, if none is absent.
    pub(super) fn oldest(&self) -> Option<Time> {
        let (_, oldest) = self.events.first_key_value().filter(|_| self.absent.is_empty())?;
        oldest.written.as_ref().map(|written| written.at)
    }

    pub(super) fn has_absent(&self) -> bool {
        !self.absent.is_empty()
    }

    /// Returns the namespace of the oldest event.
    pub(super) fn namespace(&self) -> Option<&ByteString> {
        let oldest = self.events.first_key_value().map(|(_, kept)| &kept.event.namespace);
        let untracked = self.untracked.keys().next();
        let elsewhere = || self.untracked_elsewhere.as_ref().map(|(namespace, _)| namespace);
        oldest.or(untracked).or_else(elsewhere)
    }

    /// Whether something of a namespace is not in the stream, or was sent before it was read there.
    pub(super) fn is_behind(&self, namespace: &str) -> bool {
        let mut absent = self.absent.iter().filter_map(|number| self.events.get(number));
        self.has_early(namespace) || absent.any(|kept| *kept.event.namespace == *namespace)
    }

    /// When the sockets of this node have waited for long enough.
    pub(super) fn impatient_at(&self) -> Option<Time> {
        let first = self.events.get(self.unsent.first()?)?;
        Some(first.event.since + PATIENCE)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn event(since: Time, body: Option<u8>) -> Event<u8> {
        Event {
            namespace: "/".into(),
            to: Target::default(),
            emit: Emit::default(),
            bytes: EVENT_BYTES,
            since,
            body,
        }
    }

    fn numbers(absent: &[(u64, &Event<u8>)]) -> Vec<u64> {
        absent.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn what_is_read_is_gone_also_if_it_was_refused() {
        let (mut unread, now) = (Unread::<u8, u64>::default(), Time::ZERO);
        for number in 1..=3 {
            unread.put(now, event(now, Some(number)), Some(u64::from(number)));
        }
        assert!(!unread.is_stuck(now) && unread.is_stuck(now + PATIENCE));
        assert!(unread.answered(1, true) && unread.answered(2, false));
        assert!(unread.is_stuck(now) && unread.is_behind("/") && !unread.is_behind("/x"));
        // The answer was lost, and not the order.
        assert_eq!(unread.read(2), Some(2));
        assert!(!unread.is_stuck(now) && !unread.is_behind("/"));
        assert_eq!((unread.read(2), unread.read(1)), (None, Some(1)));
        assert_eq!(unread.take_unsent(), [3]);
        assert_eq!((unread.read(3), unread.bytes()), (None, 0));
        assert!(unread.events.is_empty() && unread.requests.is_empty() && unread.oldest().is_none());
    }

    /// What the broker has taken and nobody can read any more ends with the next entry that is
    /// read, and is not written again. What was written behind this entry is not touched.
    #[test]
    fn an_event_that_is_never_read_ends() {
        let (mut unread, now) = (Unread::<u8, u64>::default(), Time::ZERO);
        unread.put(now, event(now, Some(1)), Some(1));
        unread.put(now, event(now, Some(2)), Some(2));
        let fence = unread.count_write();
        unread.put(now, event(now, Some(3)), Some(3));
        unread.answered(1, true);
        unread.answered(3, true);
        assert_eq!(unread.passed(fence), [1]);
        assert!(unread.absent(fence, usize::MAX).is_empty(), "the answer for 2 comes");
        unread.answered(2, true);
        assert_eq!((unread.passed(fence), unread.passed(fence)), (vec![2], vec![]));
        assert_eq!(unread.read(3), Some(3));
    }

    #[test]
    fn what_was_refused_is_written_again_in_order_and_in_portions() {
        let (mut unread, now) = (Unread::<u8, u64>::default(), Time::ZERO);
        for number in 1..=4 {
            unread.put(now, event(now, None), Some(number));
        }
        (1..=3).for_each(|number| assert!(unread.answered(number, false)));
        let fence = unread.count_write();
        unread.put(now, event(now, None), None);
        unread.answered(4, false);
        assert_eq!(numbers(&unread.absent(fence, usize::MAX)), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(&unread.absent(fence, 2 * EVENT_BYTES)), [1, 2]);
        assert_eq!(numbers(&unread.absent(fence, 0)), [1], "one always fits");
        unread.wrote(now + SECOND, 1, 11);
        assert_eq!(unread.oldest(), None, "something is absent");
        // The second try is refused, too: an entry from before the try says nothing of it.
        unread.answered(11, false);
        assert!(unread.absent(fence, usize::MAX).is_empty());
        assert_eq!(unread.drop_old(now + SECOND, 2 * SECOND), 0);
        assert_eq!(unread.drop_old(now + 2 * SECOND, 2 * SECOND), 5);
        assert_eq!((unread.bytes(), unread.has_absent()), (0, false));
    }

    #[test]
    fn what_the_sockets_wait_for_is_not_dropped() {
        let (mut unread, now) = (Unread::<u8, u64>::default(), Time::ZERO);
        unread.put(now, event(now, Some(1)), None);
        assert_eq!(unread.drop_old(now + SECOND, SECOND), 0);
        assert_eq!(unread.impatient_at(), Some(now + PATIENCE));
        assert_eq!(unread.take_unsent(), [1]);
        assert_eq!(
            (unread.impatient_at(), unread.drop_old(now + SECOND, SECOND)),
            (None, 1)
        );
    }

    /// What is sent before it is read makes its namespace early until it is read, or is over.
    #[test]
    fn what_is_sent_before_it_is_read_is_early() {
        let (mut unread, now) = (Unread::<u8, u64>::default(), Time::ZERO);
        let of = |namespace: &'static str, number| Event {
            namespace: namespace.into(),
            ..event(now, Some(number))
        };
        for number in 1..=3 {
            unread.put(now, of("/", number), Some(u64::from(number)));
        }
        unread.put(now, of("/x", 4), Some(4));
        assert!(!unread.has_early("/") && !unread.is_behind("/") && unread.is_sent_up_to(0));
        assert_eq!(unread.take_unsent_before(|event| event.body == Some(2)), [1, 2]);
        assert!(unread.has_early("/") && unread.is_behind("/") && !unread.has_early("/x"));
        assert!(unread.is_sent_up_to(2) && !unread.is_sent_up_to(3));
        assert_eq!((unread.read(1), unread.has_early("/")), (None, true));
        assert_eq!((unread.read(2), unread.has_early("/")), (None, false));
        assert_eq!((unread.read(3), unread.is_behind("/")), (Some(3), false));
        unread.wrote_untracked("/".into());
        let fence = unread.count_write();
        assert!(unread.has_early("/") && unread.early_ever() == 3);
        assert_eq!((unread.passed(fence), unread.has_early("/")), (vec![], false));
    }

    /// As much waits as may: of each namespace it is known that something was sent early.
    #[test]
    fn every_namespace_with_an_untracked_event_is_early() {
        let (mut unread, now) = (Unread::<u8, u64>::default(), Time::ZERO);
        for namespace in ["/", "/x", "/y"] {
            unread.wrote_untracked(namespace.into());
        }
        let fence = unread.count_write();
        unread.wrote_untracked("/x".into());
        assert!(["/", "/x", "/y"].iter().all(|namespace| unread.has_early(namespace)));
        assert!(!unread.has_early("/z") && unread.namespace().is_some());
        unread.passed(fence);
        assert_eq!(
            ["/", "/x", "/y"].map(|namespace| unread.is_behind(namespace)),
            [false, true, false]
        );
        unread.forget("/x");
        assert!(!unread.has_early("/x") && unread.namespace().is_none());
        // More namespaces than are remembered, of which some are.
        for number in 0..2 * MOST_UNTRACKED {
            unread.wrote_untracked(format!("/{number}").into());
        }
        assert_eq!(unread.untracked.len(), MOST_UNTRACKED);
        assert!(unread.has_early("/2047") && unread.has_early("/never"));
        let fence = unread.count_write();
        unread.put(now, event(now, Some(1)), Some(1));
        unread.passed(fence);
        assert!(!unread.has_early("/2047") && !unread.has_early("/0") && unread.untracked.is_empty());
    }

    /// Nothing is read in a namespace that has ended.
    #[test]
    fn a_namespace_that_has_ended_keeps_nothing() {
        let (mut unread, now) = (Unread::<u8, u64>::default(), Time::ZERO);
        unread.put(now, event(now, None), Some(1));
        unread.put(now, event(now, None), None);
        unread.put(now, event(now, Some(3)), Some(3));
        assert_eq!((unread.forget("/x"), unread.forget("/")), (0, 1));
        assert_eq!((unread.bytes(), unread.take_unsent()), (EVENT_BYTES, vec![3]));
        assert_eq!((unread.forget("/"), unread.bytes()), (0, 0));
    }
}
