//! The heartbeat of a session, as all generations have it: an answer counts only to a heartbeat
//! that can have been read.
//!
//! ```text
//!              pushed             flushed            blocked           drained
//!   ANSWERED ─────────► QUEUED ───────────► GIVEN ───────────► STUCK ───────────► LEFT
//!      ▲                  │ an answer is none │                  │                  │
//!      └──────────────────┼───────────────────┴──── answered ────┴──────────────────┘
//!                         └ between two polls, or while the link is blocked
//! ```
//! The time for the answer begins when the heartbeat has left. That a link takes nothing at all is
//! another alarm's business ([`Alarm::Stalled`](super::Alarm::Stalled)).

use core::time::Duration;

use super::Session;
use crate::Time;

/// The heartbeat whose answer is awaited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// None is: whatever is answered is an answer to nothing.
    #[default]
    Answered,
    /// It waits in the outbox, so nobody can have read it.
    Queued,
    /// The link was given it at this time.
    Given(Time),
    /// The link was blocked after it was given: part of it may wait there.
    Stuck,
    /// It has left at this time.
    Left(Time),
}

impl Heartbeat {
    /// Whether an answer may be one to it.
    pub(crate) const fn is_answerable(self) -> bool {
        matches!(self, Self::Given(_) | Self::Stuck | Self::Left(_))
    }

    /// The outbox was emptied.
    pub(crate) const fn give(&mut self, now: Time) {
        if matches!(self, Self::Queued) {
            *self = Self::Given(now);
        }
    }

    /// The link is blocked.
    pub(crate) const fn block(&mut self) {
        if matches!(self, Self::Given(_)) {
            *self = Self::Stuck;
        }
    }

    /// Everything that the link was given has left.
    pub(crate) const fn drain(&mut self, now: Time) {
        if matches!(self, Self::Stuck) {
            *self = Self::Left(now);
        }
    }
}

impl Session {
    /// Until when the heartbeat that is outstanding may be answered; `None` if there is none.
    ///
    /// One that cannot leave is looked at again after the timeout. Between two polls it has the
    /// timeout since the last poll.
    pub(crate) fn heartbeat_deadline(&self, now: Time, timeout: Duration) -> Option<Time> {
        match self.heartbeat {
            Heartbeat::Answered => None,
            Heartbeat::Given(at) | Heartbeat::Left(at) => Some(at + timeout),
            Heartbeat::Queued | Heartbeat::Stuck if self.blocked.is_blocked() => Some(now + timeout),
            Heartbeat::Queued | Heartbeat::Stuck => Some(self.taken + timeout),
        }
    }
}
