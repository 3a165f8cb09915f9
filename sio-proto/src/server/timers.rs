//! Deadlines: one queue per constant duration, a heap for the rest.
//!
//! A queue is first in, first out, because all its entries wait equally long. Arming is a push, and
//! nothing is ever taken out of the middle. An entry whose reason has gone is skipped when its time
//! comes. The code that arms alarms must keep the number of entries bounded: the queues hold at
//! most one live and one stale entry per session, and the heap holds one entry per session and
//! reason.
//!
//! Entries of sessions that have ended, and of acknowledgements that have come, would stay until
//! their time. So they are counted, roughly. When they may be more than half, all entries are
//! checked once, and the stale ones are removed ([`Timers::retain`]). This is constant work for
//! each entry, and never more memory than twice what is needed.

use alloc::collections::{BinaryHeap, VecDeque};
use core::cmp::Reverse;
use core::time::Duration;

#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::{SessionKey, SocketKey, Time};

/// Why a session has to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// The next ping is due.
    Ping,
    /// The answer to a ping is overdue.
    PingTimeout,
    /// The session has joined no namespace for too long.
    Connect,
    /// An upgrade has taken too long.
    Upgrade,
    /// A parked GET has to be answered so that an upgrade can go on.
    Noop,
    /// A closing session has waited long enough for a GET.
    Close,
    /// Attachments are overdue.
    Attachments,
    /// A blocked link may have taken nothing for too long.
    Stalled,
    /// A poll has been held long enough, or a session without transport has waited long enough.
    Absence,
}

/// A deadline of a session that moves, and the alarm that watches it.
///
/// An alarm cannot be taken back. So when the deadline moves later, the alarm that is armed stays,
/// finds the new deadline when it goes off, and is armed again. A deadline costs one alarm at a
/// time, however often it moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    due: Time,
    /// When the alarm goes off that counts, or [`NEVER`].
    armed: Time,
}

/// No alarm is armed.
const NEVER: Time = Time::from_micros(u64::MAX);

impl Default for Deadline {
    fn default() -> Self {
        Self::new(Time::ZERO)
    }
}

impl Deadline {
    /// A deadline that nothing watches.
    pub(crate) const fn new(due: Time) -> Self {
        Self { due, armed: NEVER }
    }

    /// The point in time, as it was set last.
    pub(crate) const fn due(&self) -> Time {
        self.due
    }

    /// Moves the deadline. An alarm is armed unless one is armed for this time or an earlier time.
    pub(crate) fn set(&mut self, due: Time, alarm: Alarm, session: SessionKey, timers: &mut Timers) {
        self.due = due;
        if self.armed > due {
            self.armed = due;
            timers.arm_at(due, alarm, session, 0);
        }
    }

    /// Whether the alarm that counts is still to come at `now`. An alarm that goes off then was
    /// armed before the deadline moved to an earlier time.
    pub(crate) fn is_watched_after(&self, now: Time) -> bool {
        self.armed != NEVER && self.armed > now
    }

    /// The alarm that counts has gone off.
    pub(crate) const fn disarm(&mut self) {
        self.armed = NEVER;
    }
}

/// An alarm that has gone off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// For a session. `epoch` is the value that was given when the alarm was armed.
    Session(SessionKey, Alarm, u32),
    /// An acknowledgement is overdue.
    Ack(SocketKey, u64),
    /// A session has to leave now. If the flag is set, its time to leave is over.
    Leave(SessionKey, bool),
}

/// Pings stand first.
const QUEUES: [Alarm; 3] = [Alarm::Ping, Alarm::PingTimeout, Alarm::Connect];

#[derive(Debug)]
struct Queue {
    after: Duration,
    entries: VecDeque<(Time, SessionKey, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Session(SessionKey, Alarm, u32),
    Ack(SocketKey, u64),
    Leave(SessionKey, bool),
}

impl Entry {
    const fn due(&self) -> Due {
        match *self {
            Self::Session(session, alarm, epoch) => Due::Session(session, alarm, epoch),
            Self::Ack(socket, id) => Due::Ack(socket, id),
            Self::Leave(session, late) => Due::Leave(session, late),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Timers {
    queues: [Queue; QUEUES.len()],
    heap: BinaryHeap<Reverse<(Time, Entry)>>,
    /// About how many entries are stale.
    stale: usize,
    /// How late a ping may be, in microseconds.
    slack: u64,
}

/// This many stale entries are not removed.
const FEW: usize = 1024;

/// Makes room in a queue that has none. A long queue grows by an eighth. Entries leave it at its
/// front and come at its end, so in time it uses all of its memory, also the places that are more
/// than it needs.
#[cold]
#[inline(never)]
fn make_room<T>(entries: &mut VecDeque<T>) {
    match entries.len() {
        0..=FEW => entries.reserve(1),
        many => entries.reserve_exact(many / 8),
    }
}

/// A heartbeat may be late by this part of its interval, by no more than the same part of the time
/// in which it is answered (the client waits for both together), and by no more than
/// [`MAX_SLACK`].
const SLACK_PART: u32 = 256;
/// The most that a heartbeat may be late so that it shares a wake-up with others.
const MAX_SLACK: Duration = Duration::from_millis(100);

impl Timers {
    pub(crate) fn new(ping: Duration, ping_timeout: Duration, connect: Duration) -> Self {
        let queues = [ping, ping_timeout, connect].map(|after| Queue {
            after,
            entries: VecDeque::new(),
        });
        Self {
            queues,
            heap: BinaryHeap::new(),
            stale: 0,
            slack: (ping.min(ping_timeout) / SLACK_PART).min(MAX_SLACK).as_micros() as u64,
        }
    }

    /// Arms an alarm that has a queue, that is, a constant duration.
    pub(crate) fn arm(&mut self, now: Time, alarm: Alarm, session: SessionKey, epoch: u32) {
        let queue = &mut self.queues[QUEUES
            .iter()
            .position(|q| *q == alarm)
            .expect("armed with `arm_at` otherwise")];
        let at = now + queue.after;
        debug_assert!(
            queue.entries.back().is_none_or(|last| last.0 <= at),
            "the caller's time went backwards"
        );
        if queue.entries.len() == queue.entries.capacity() {
            make_room(&mut queue.entries);
        }
        queue.entries.push_back((at, session, epoch));
    }

    /// Arms an alarm for a point in time.
    pub(crate) fn arm_at(&mut self, at: Time, alarm: Alarm, session: SessionKey, epoch: u32) {
        self.heap.push(Reverse((at, Entry::Session(session, alarm, epoch))));
    }

    /// Arms the deadline of an acknowledgement.
    pub(crate) fn arm_ack(&mut self, at: Time, socket: SocketKey, id: u64) {
        self.heap.push(Reverse((at, Entry::Ack(socket, id))));
    }

    /// Arms the time when a session has to leave, or the end of its time to leave.
    pub(crate) fn arm_leave(&mut self, at: Time, session: SessionKey, late: bool) {
        self.heap.push(Reverse((at, Entry::Leave(session, late))));
    }

    /// About this many entries have become stale.
    pub(crate) const fn note_stale(&mut self, entries: usize) {
        self.stale += entries;
    }

    /// Whether it is time to [`retain`](Self::retain).
    pub(crate) fn are_mostly_stale(&self) -> bool {
        self.stale > FEW && self.stale > self.len() / 2
    }

    /// Keeps the entries that are still wanted, in no more memory than they need.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(&Due) -> bool) {
        step!(each self.len());
        self.stale = 0;
        for (queue, alarm) in self.queues.iter_mut().zip(QUEUES) {
            queue
                .entries
                .retain(|&(_, session, epoch)| is_wanted(&Due::Session(session, alarm, epoch)));
            queue.entries.shrink_to(2 * queue.entries.len());
        }
        self.heap.retain(|Reverse((_, entry))| is_wanted(&entry.due()));
        self.heap.shrink_to(2 * self.heap.len());
    }

    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let queues = self.queues.iter();
        let queues = queues.map(|queue| Holding::list::<(Time, SessionKey, u32)>(queue.entries.capacity()));
        Holding::list::<Reverse<(Time, Entry)>>(self.heap.capacity()).with_all(queues)
    }

    /// How many entries there are, including stale ones.
    pub(crate) fn len(&self) -> usize {
        self.queues.iter().map(|q| q.entries.len()).sum::<usize>() + self.heap.len()
    }

    /// The earliest deadline. Its reason may have gone.
    pub(crate) fn next(&self) -> Option<Time> {
        let queued = self.queues.iter().filter_map(|q| q.entries.front()).map(|e| e.0);
        queued.chain(self.heap.peek().map(|e| e.0.0)).min()
    }

    /// The time at which the caller has to come at the latest. It is that of the earliest deadline,
    /// but pings may be a little late: so one wake-up of a thread serves many of them, and a
    /// wake-up costs more than a heartbeat. All other deadlines are limits, and not late.
    pub(crate) fn latest(&self) -> Option<Time> {
        let [pings, limits @ ..] = &self.queues;
        let ping = pings.entries.front();
        let ping = ping.map(|entry| Time::from_micros(entry.0.as_micros().saturating_add(self.slack)));
        let limits = limits
            .iter()
            .filter_map(|queue| queue.entries.front())
            .map(|entry| entry.0);
        let heap = self.heap.peek().map(|Reverse((at, _))| *at);
        limits.chain(ping).chain(heap).min()
    }

    /// The earliest deadline and its reason. If several are due at one time, the result is the one
    /// that [`pop`](Self::pop) takes first.
    pub(crate) fn first(&self) -> Option<(Time, Due)> {
        let queues = self.queues.iter().zip(QUEUES);
        let queued = queues.filter_map(|(queue, alarm)| {
            let &(at, session, epoch) = queue.entries.front()?;
            Some((at, Due::Session(session, alarm, epoch)))
        });
        let heap = self.heap.peek().map(|Reverse((at, entry))| (*at, entry.due()));
        queued.chain(heap).min_by_key(|(at, _)| *at)
    }

    /// Takes one alarm that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Due> {
        for (queue, alarm) in self.queues.iter_mut().zip(QUEUES) {
            if let Some(&(at, session, epoch)) = queue.entries.front()
                && at <= now
            {
                queue.entries.pop_front();
                let room = queue.entries.capacity();
                if room > FEW && queue.entries.len() < room / 4 {
                    queue.entries.shrink_to(room / 2);
                }
                return Some(Due::Session(session, alarm, epoch));
            }
        }
        if self.heap.peek().is_some_and(|e| e.0.0 <= now) {
            let due = self.heap.pop().map(|Reverse((_, entry))| entry.due());
            let room = self.heap.capacity();
            if room > FEW && self.heap.len() < room / 4 {
                self.heap.shrink_to(room / 2);
            }
            return due;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SessionSlot, SocketSlot};

    #[test]
    fn the_earliest_comes_first_whatever_its_kind() {
        let key = |slot| SessionKey {
            slot: SessionSlot(slot),
            generation: 0,
        };
        let socket = SocketKey {
            slot: SocketSlot(4),
            generation: 0,
        };
        let ms = Duration::from_millis;
        let mut timers = Timers::new(ms(25), ms(20), ms(45));
        timers.arm(Time::ZERO, Alarm::Ping, key(1), 0);
        timers.arm(Time::ZERO, Alarm::PingTimeout, key(2), 7);
        timers.arm_at(Time::from_millis(3), Alarm::Noop, key(3), 0);
        timers.arm_ack(Time::from_millis(22), socket, 9);
        assert_eq!(timers.next(), Some(Time::from_millis(3)));
        assert_eq!(timers.pop(Time::from_millis(2)), None);
        assert_eq!(
            timers.pop(Time::from_millis(3)),
            Some(Due::Session(key(3), Alarm::Noop, 0))
        );
        assert_eq!(timers.next(), Some(Time::from_millis(20)));
        assert_eq!(
            timers.pop(Time::from_millis(20)),
            Some(Due::Session(key(2), Alarm::PingTimeout, 7))
        );
        assert_eq!(timers.pop(Time::from_millis(24)), Some(Due::Ack(socket, 9)));
        assert_eq!(timers.pop(Time::from_millis(24)), None);
        assert_eq!(
            timers.pop(Time::from_millis(25)),
            Some(Due::Session(key(1), Alarm::Ping, 0))
        );
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn heartbeats_may_wait_for_one_another_and_limits_may_not() {
        let key = |slot| SessionKey {
            slot: SessionSlot(slot),
            generation: 0,
        };
        let seconds = Duration::from_secs;
        let mut timers = Timers::new(seconds(25), seconds(20), seconds(45));
        assert_eq!(timers.latest(), None);
        for (slot, millis) in (0..).zip([0, 40, 78, 79]) {
            timers.arm(Time::from_millis(millis), Alarm::Ping, key(slot), 0);
        }
        assert_eq!(timers.next(), Some(Time::from_millis(25_000)));
        let latest = timers.latest().unwrap();
        assert_eq!(latest, Time::from_micros(25_000_000 + 20_000_000 / 256));
        let together = core::iter::from_fn(|| timers.pop(latest)).count();
        assert_eq!((together, timers.len()), (3, 1));
        // What is a limit, and whatever has no queue, has its own time.
        timers.arm(Time::from_millis(5_000), Alarm::PingTimeout, key(1), 0);
        assert_eq!(timers.latest(), timers.next());
        timers.arm_at(Time::from_millis(24_999), Alarm::Absence, key(1), 0);
        assert_eq!(timers.latest(), Some(Time::from_millis(24_999)));
        // A long interval makes no heartbeat later than the slack, and a client that has little
        // time to wait for it gets it in time.
        for (timeout, late) in [(seconds(3_600), 100_000), (Duration::from_millis(128), 500)] {
            let mut timers = Timers::new(seconds(3_600), timeout, seconds(45));
            timers.arm(Time::ZERO, Alarm::Ping, key(1), 0);
            assert_eq!(timers.latest(), Some(Time::from_micros(3_600_000_000 + late)));
        }
    }

    fn session(slot: u32) -> SessionKey {
        SessionKey {
            slot: SessionSlot(slot),
            generation: 0,
        }
    }

    /// Hardening A16: entries that nobody wants any more are removed when they may be more than
    /// half, and their memory is given back. The others stay.
    #[test]
    fn stale_entries_are_removed_when_they_are_most() {
        let ms = Duration::from_millis;
        let mut timers = Timers::new(ms(25), ms(20), ms(45));
        let many = 2 * FEW as u32;
        for slot in 0..many {
            timers.arm(Time::ZERO, Alarm::Connect, session(slot), 7);
            timers.arm_at(Time::from_millis(30), Alarm::Noop, session(slot), 7);
        }
        let half = timers.len() / 2;
        timers.note_stale(half);
        assert!(!timers.are_mostly_stale(), "half is not more than half");
        timers.note_stale(1);
        assert!(timers.are_mostly_stale());
        timers.retain(|due| matches!(due, Due::Session(key, _, 7) if key.slot.0 < 3));
        assert_eq!(timers.len(), 6);
        assert!(timers.heap.capacity() < 64 && timers.queues[2].entries.capacity() < 64);
        // What is stale is counted anew.
        timers.note_stale(FEW);
        assert!(!timers.are_mostly_stale(), "these are few");
        let due: alloc::vec::Vec<Due> = core::iter::from_fn(|| timers.pop(Time::from_millis(45))).collect();
        for alarm in [Alarm::Connect, Alarm::Noop] {
            let of_alarm = due
                .iter()
                .filter(|due| matches!(due, Due::Session(_, rings, 7) if *rings == alarm));
            assert_eq!(of_alarm.count(), 3, "{alarm:?}");
        }
    }

    /// A heartbeat walks through all the memory of its queue, so there must be little more of it
    /// than entries, however many there are. The queue grows in few steps: each step copies it.
    #[test]
    fn a_long_queue_has_little_more_room_than_it_needs() {
        let ms = Duration::from_millis;
        let mut timers = Timers::new(ms(25), ms(20), ms(45));
        let (mut before, mut steps) = (0, 0);
        for slot in 0..40 * FEW as u32 {
            timers.arm(Time::ZERO, Alarm::Ping, session(slot), 0);
            let (room, needed) = (timers.queues[0].entries.capacity(), timers.queues[0].entries.len());
            assert!(needed <= 2 * FEW || room <= needed + needed / 8, "{room} for {needed}");
            steps += usize::from(room != before);
            before = room;
        }
        assert!(steps < 50, "{steps} steps");
    }

    /// Hardening A16: the memory of many entries is given back while they go off, in a few large
    /// steps: each step copies what is left.
    #[test]
    fn entries_that_have_gone_off_leave_little_memory_in_few_steps() {
        let ms = Duration::from_millis;
        let mut timers = Timers::new(ms(25), ms(20), ms(45));
        let many = 20 * FEW as u32;
        for slot in 0..many {
            timers.arm(Time::ZERO, Alarm::Ping, session(slot), 0);
            timers.arm_at(Time::from_millis(30), Alarm::Noop, session(slot), 0);
        }
        let room = |timers: &Timers| [timers.queues[0].entries.capacity(), timers.heap.capacity()];
        let (mut before, mut steps) = (room(&timers), 0);
        while timers.pop(Time::from_millis(30)).is_some() {
            let after = room(&timers);
            steps += usize::from(after != before);
            before = after;
        }
        assert!(before.iter().all(|room| *room <= 2 * FEW), "{before:?}");
        assert!((2..20).contains(&steps), "{steps}");
        // The room of a few is not worth a step.
        let mut timers = Timers::new(ms(25), ms(20), ms(45));
        for slot in 0..FEW as u32 / 2 {
            timers.arm(Time::ZERO, Alarm::Ping, session(slot), 0);
            timers.arm_at(Time::from_millis(30), Alarm::Noop, session(slot), 0);
        }
        let before = room(&timers);
        while timers.pop(Time::from_millis(30)).is_some() {}
        assert_eq!(room(&timers), before);
    }

    #[test]
    fn a_deadline_that_moves_has_one_alarm_at_a_time() {
        let session = SessionKey {
            slot: SessionSlot(1),
            generation: 0,
        };
        let ms = Duration::from_millis;
        let mut timers = Timers::new(ms(25), ms(20), ms(45));
        let mut deadline = Deadline::default();
        let at = Time::from_millis;
        for later in 10..1_000 {
            deadline.set(at(later), Alarm::Absence, session, &mut timers);
        }
        assert_eq!((timers.len(), deadline.due()), (1, at(999)));
        // Nor has one that is set again to the time of its alarm.
        for _ in 0..10 {
            deadline.set(at(10), Alarm::Absence, session, &mut timers);
        }
        deadline.set(at(999), Alarm::Absence, session, &mut timers);
        assert_eq!(timers.len(), 1);
        // The alarm finds the deadline moved, and is armed again.
        assert_eq!(timers.pop(at(10)), Some(Due::Session(session, Alarm::Absence, 0)));
        assert!(!deadline.is_watched_after(at(10)));
        deadline.disarm();
        deadline.set(deadline.due(), Alarm::Absence, session, &mut timers);
        assert_eq!(timers.next(), Some(at(999)));
        // A deadline that moves to an earlier time has an alarm for that. The old one is stale.
        deadline.set(at(500), Alarm::Absence, session, &mut timers);
        assert_eq!(timers.next(), Some(at(500)));
        assert!(timers.pop(at(500)).is_some());
        deadline.disarm();
        deadline.set(at(2_000), Alarm::Absence, session, &mut timers);
        assert!(timers.pop(at(999)).is_some());
        assert!(deadline.is_watched_after(at(999)));
    }
}
