//! The events that a client has written and that the server has not confirmed, where the two have
//! agreed on confirmations (docs/protocol/extensions.md §2).
//!
//! ```text
//!   queue ─ written ─▶ unconfirmed ─ confirmed ─▶ receipt
//!     ▲                    │
//!     └── recovered: what ─┴─ not recovered ─▶ receipt: nobody knows
//!         the server has not had
//! ```
//! Both ends count the events of a namespace on its connections, so an event carries no number.
//! Behind the last event that the server has had, everything is counted anew on the next
//! connection.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::event::{Outcome, Recovery};
use super::outputs::give_back;
use super::socket::{Event, Receipts, Socket};
use crate::Time;
#[cfg(feature = "steps")]
use crate::holding::Holding;

/// So often in a row a client is recovered without the server having had the next event. Then this
/// event is given up: it may be one that the server never takes, because it is too large for it.
const MOST_FRUITLESS: u32 = 8;

/// What the client has written and the server has not confirmed, in order.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    /// Whether the server of the present connection confirms, or that of the last one.
    is_on: bool,
    /// How many events the server has confirmed since the session began that can be recovered.
    confirmed: u64,
    /// How many more were written.
    ahead: u64,
    written: VecDeque<Written>,
    /// How many of `written` are events.
    events: usize,
    /// How often in a row the client was recovered, and the server had had nothing of what was
    /// written. An event that is confirmed, on a connection or by a recovery, begins a new row.
    fruitless: u32,
}

#[derive(Debug)]
enum Written {
    /// With the id of its acknowledgement.
    Event(Event, Option<u64>),
    /// So many events that are not sent again.
    Gone(u64),
}

/// The server has confirmed events that it cannot have had, or has taken a confirmation back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server confirms {heard} events, and between {confirmed} and {written} are possible")]
pub(super) struct Impossible {
    heard: u64,
    confirmed: u64,
    written: u64,
}

impl Unconfirmed {
    pub(super) const fn new() -> Self {
        Self {
            is_on: false,
            confirmed: 0,
            ahead: 0,
            written: VecDeque::new(),
            events: 0,
            fruitless: 0,
        }
    }

    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        let event = |written: &Written| match written {
            Written::Event(event, _) => Some(event.holding()),
            Written::Gone(_) => None,
        };
        Holding::shrinking::<Written>(self.written.capacity(), self.written.len())
            .with_all(self.written.iter().filter_map(event))
    }

    /// Whether events are kept until the server has confirmed them.
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// How many events the server has confirmed.
    pub(super) const fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// Whether no more events may be written before the server confirms some.
    pub(super) const fn is_full(&self, max: usize) -> bool {
        self.is_on && self.events >= max
    }

    /// For how many events there is room.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.written.capacity()
    }

    /// Notes an event that is written.
    pub(super) fn push(&mut self, event: Event, ack: Option<u64>) {
        self.ahead += 1;
        self.events += 1;
        self.written.push_back(Written::Event(event, ack));
    }

    /// Notes an event that is written, and not sent again.
    pub(super) fn skip(&mut self) {
        self.ahead += 1;
        match self.written.back_mut() {
            Some(Written::Gone(count)) => *count += 1,
            _ => self.written.push_back(Written::Gone(1)),
        }
    }

    /// The first event for which `is_it` returns true is not sent again, whatever the server
    /// confirms.
    fn give_up(&mut self, is_it: impl Fn(&Event, Option<u64>) -> bool) -> Option<Event> {
        let is_it = |written: &Written| matches!(written, Written::Event(event, ack) if is_it(event, *ack));
        step!(each self.written.len());
        let at = self.written.iter().position(is_it)?;
        let Some(Written::Event(event, _)) = self.written.remove(at) else {
            return None;
        };
        self.events -= 1;
        match at.checked_sub(1).and_then(|before| self.written.get_mut(before)) {
            Some(Written::Gone(count)) => *count += 1,
            _ => self.written.insert(at, Written::Gone(1)),
        }
        give_back(&mut self.written);
        Some(event)
    }

    /// All events for which `is_it` returns true are not sent again, whatever the server confirms.
    fn give_up_all(&mut self, is_it: impl Fn(&Event, Option<u64>) -> bool) -> Vec<Event> {
        let mut given_up = Vec::new();
        for written in core::mem::take(&mut self.written) {
            step!();
            let count = match written {
                Written::Event(event, ack) if is_it(&event, ack) => {
                    self.events -= 1;
                    given_up.push(event);
                    1
                }
                Written::Gone(count) => count,
                event @ Written::Event(..) => {
                    self.written.push_back(event);
                    continue;
                }
            };
            match self.written.back_mut() {
                Some(Written::Gone(before)) => *before += count,
                _ => self.written.push_back(Written::Gone(count)),
            }
        }
        given_up
    }

    /// The server has had so many events. Returns those of them that were kept.
    fn confirm(&mut self, heard: u64) -> Result<Vec<(Event, Option<u64>)>, Impossible> {
        let more = heard.checked_sub(self.confirmed).filter(|more| *more <= self.ahead);
        let Some(mut more) = more else {
            return Err(Impossible {
                heard,
                confirmed: self.confirmed,
                written: self.confirmed + self.ahead,
            });
        };
        self.confirmed = heard;
        self.ahead -= more;
        if more > 0 {
            self.fruitless = 0;
        }
        let mut events = Vec::new();
        while more > 0 {
            step!();
            match self.written.pop_front() {
                None => break,
                Some(Written::Event(event, ack)) => {
                    more -= 1;
                    self.events -= 1;
                    events.push((event, ack));
                }
                Some(Written::Gone(count)) if count > more => {
                    self.written.push_front(Written::Gone(count - more));
                    break;
                }
                Some(Written::Gone(count)) => more -= count,
            }
        }
        give_back(&mut self.written);
        Ok(events)
    }

    /// Takes all events out. The next one that is written follows the last confirmed one.
    fn take(&mut self) -> Vec<(Event, Option<u64>)> {
        (self.ahead, self.events) = (0, 0);
        step!(each self.written.len());
        let written = core::mem::take(&mut self.written).into_iter();
        let event = |written| match written {
            Written::Event(event, ack) => Some((event, ack)),
            Written::Gone(_) => None,
        };
        written.filter_map(event).collect()
    }

    /// The ids of the events that may have to be sent again.
    pub(super) fn acks(&self) -> BTreeSet<u64> {
        let ack = |written: &Written| match written {
            Written::Event(_, ack) => *ack,
            Written::Gone(_) => None,
        };
        step!(each self.written.len());
        self.written.iter().filter_map(ack).collect()
    }
}

impl Socket {
    /// Whether an event is kept until the server confirms it.
    pub(super) const fn is_kept(&self, event: &Event) -> bool {
        self.unconfirmed.is_on() && !event.is_volatile
    }

    /// Whether an event asks for an acknowledgement. What the server confirms needs none to be
    /// sent again.
    pub(super) const fn asks(&self, event: &Event) -> bool {
        event.wants_ack || event.retries && !self.is_kept(event)
    }

    /// The server has had so many events.
    pub(super) fn confirm(&mut self, heard: u64, receipts: &mut Receipts) -> Result<(), Impossible> {
        for (event, ack) in self.unconfirmed.confirm(heard)? {
            self.held_bytes -= event.bytes();
            match ack {
                Some(id) => self.note_heard(id),
                None => {
                    self.forget_age(&event);
                    receipts.push((event.emit, Outcome::Confirmed));
                }
            }
        }
        Ok(())
    }

    /// The client was recovered, and the server has had so many events. The others are written
    /// before anything newer.
    fn resume(&mut self, heard: u64, receipts: &mut Receipts) -> Result<(), Impossible> {
        let before = self.unconfirmed.confirmed;
        self.confirm(heard, receipts)?;
        self.end_heard(receipts);
        let mut again = self.unconfirmed.take();
        let fruitless = match heard == before && !again.is_empty() {
            true => self.unconfirmed.fruitless + 1,
            false => 0,
        };
        self.unconfirmed.fruitless = fruitless % MOST_FRUITLESS;
        if fruitless == MOST_FRUITLESS {
            let (event, ack) = again.remove(0);
            self.end_unknown(event, ack, receipts);
        }
        for (event, ack) in again.into_iter().rev() {
            self.queue_again(event, ack, false);
        }
        self.unconfirmed.is_on = true;
        Ok(())
    }

    /// The client is not recovered, so nobody says what the server has had. Events that may come
    /// twice wait again; nobody knows of the others whether the server has had them.
    pub(super) fn abandon(&mut self, receipts: &mut Receipts) {
        let unknown = self.unconfirmed.take();
        self.unconfirmed = Unconfirmed::new();
        let (again, ended): (Vec<_>, Vec<_>) = unknown.into_iter().partition(|(event, _)| event.retries);
        for (event, ack) in ended {
            self.end_unknown(event, ack, receipts);
        }
        for (event, ack) in again.into_iter().rev() {
            self.queue_again(event, ack, true);
        }
    }

    /// Ends an event that is not sent again.
    fn end_unknown(&mut self, event: Event, ack: Option<u64>, receipts: &mut Receipts) {
        self.held_bytes -= event.bytes();
        match ack {
            Some(id) => _ = self.forget_in_flight(id),
            None => self.forget_age(&event),
        }
        receipts.push((event.emit, Outcome::Disconnected));
    }

    /// The connection has ended, and what was written on it waits for the next one, for `age` at
    /// most. So does what waits to be written again. Events that wait for an acknowledgement have a
    /// deadline already.
    pub(super) fn limit_waiting(&mut self, now: Time, age: Duration) {
        let written = self.unconfirmed.written.iter_mut().filter_map(|written| match written {
            Written::Event(event, None) => Some(event),
            _ => None,
        });
        for event in written.chain(&mut self.queue).filter(|event| event.deadline.is_none()) {
            step!();
            event.deadline = Some(now + age);
            self.deadlines.insert((now + age, event.emit));
        }
    }

    /// Ends what has waited too long for a connection on which it could be written again.
    pub(super) fn expire_unconfirmed(&mut self, now: Time, receipts: &mut Receipts) {
        let is_late =
            |event: &Event, ack: Option<u64>| ack.is_none() && event.deadline.is_some_and(|deadline| deadline <= now);
        for event in self.unconfirmed.give_up_all(is_late) {
            self.end_unknown(event, None, receipts);
        }
    }

    /// Forgets until when an event waits that asks for no acknowledgement.
    pub(super) fn forget_age(&mut self, event: &Event) {
        if let Some(deadline) = event.deadline {
            self.deadlines.remove(&(deadline, event.emit));
        }
    }

    /// The namespace is connected, and the server has had `heard` events if it confirms. Returns an
    /// error if the server cannot have had them.
    pub(super) fn settle_unconfirmed(
        &mut self,
        recovery: Recovery,
        heard: Option<u64>,
        receipts: &mut Receipts,
    ) -> Option<Impossible> {
        if let (Recovery::Recovered, Some(heard)) = (recovery, heard) {
            return self.resume(heard, receipts).err();
        }
        self.abandon(receipts);
        self.unconfirmed.is_on = heard.is_some();
        self.unconfirmed.confirm(heard.unwrap_or(0)).err()
    }

    /// Puts an event that was written to the front of the queue. If its acknowledgement has a
    /// deadline, the deadline stays. `may_be_had` says whether the server may have had the event.
    fn queue_again(&mut self, mut event: Event, ack: Option<u64>, may_be_had: bool) {
        let deadline = match ack {
            Some(id) => self.forget_in_flight(id),
            None => {
                self.forget_age(&event);
                None
            }
        };
        event.deadline = deadline.filter(|_| !event.retries);
        event.buffered = true;
        event.was_written = may_be_had;
        self.queue_first(event);
    }

    /// An event that waits for its confirmation is not sent again.
    pub(super) fn give_up(&mut self, id: u64) {
        if let Some(event) = self.unconfirmed.give_up(|_, ack| ack == Some(id)) {
            self.held_bytes -= event.bytes();
        }
    }

    /// The server has confirmed that it has had the event with this id.
    fn note_heard(&mut self, id: u64) {
        if let Some(sent) = self.in_flight.get_mut(&id) {
            sent.is_heard = true;
        }
    }

    /// Ends the events that the server has had, and whose answers do not come any more.
    pub(super) fn end_heard(&mut self, receipts: &mut Receipts) {
        step!(each self.in_flight.len());
        let heard = self.in_flight.iter().filter(|(_, sent)| sent.is_heard);
        let heard: Vec<u64> = heard.map(|(id, _)| *id).collect();
        for id in heard {
            if let Some(sent) = self.take_in_flight(id) {
                receipts.push((sent.emit, Outcome::Unanswered));
            }
        }
    }

    /// Forgets that an event waits for its acknowledgement. Returns until when it has waited.
    fn forget_in_flight(&mut self, id: u64) -> Option<Time> {
        self.take_in_flight(id).map(|sent| sent.deadline)
    }

    /// Puts an event to the front of the queue. Its bytes are counted already.
    fn queue_first(&mut self, event: Event) {
        self.deadlines.extend(event.deadline.map(|time| (time, event.emit)));
        self.queue.push_front(event);
    }
}
