//! The heartbeat of a session, for all generations in which the server asks. In Engine.IO 3 the
//! client asks ([`Session::silent_until`]). An answer counts only if the client can have
//! read the heartbeat.
//!
//! ```text
//!              pushed             flushed            blocked           drained
//!   ANSWERED ─────────► QUEUED ───────────► GIVEN ───────────► STUCK ───────────► LEFT
//!      ▲                  │ an answer is none │                  │                  │
//!      └──────────────────┼───────────────────┴──── answered ────┴──────────────────┘
//!                         └ between two polls, or while the link is blocked
//! ```
//! The time for the answer begins when the heartbeat has left. Another alarm handles a link that
//! takes nothing at all ([`Alarm::Stalled`](super::Alarm::Stalled)).

use core::time::Duration;

use super::Session;
use crate::Time;

/// The heartbeat whose answer is awaited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// No answer is awaited: any answer is an answer to nothing.
    #[default]
    Answered,
    /// The heartbeat waits in the outbox, so nobody can have read it.
    Queued,
    /// The link got the heartbeat, at [`Session::heartbeat_at`].
    Given,
    /// The link was blocked after it got the heartbeat: a part of the heartbeat may wait there.
    Stuck,
    /// The heartbeat left, at [`Session::heartbeat_at`].
    Left,
}

impl Heartbeat {
    /// Whether an answer may belong to this heartbeat.
    pub(crate) const fn is_answerable(self) -> bool {
        matches!(self, Self::Given | Self::Stuck | Self::Left)
    }

    /// The link is blocked.
    pub(crate) const fn block(&mut self) {
        if matches!(self, Self::Given) {
            *self = Self::Stuck;
        }
    }
}

impl Session {
    /// When a client that has not pinged is given up (revision 3). The server does not ask there,
    /// so nobody else needs the time of a heartbeat.
    pub(super) const fn silent_until(&self) -> Time {
        self.heartbeat_at
    }

    /// The client has until this time to ping (revision 3).
    pub(super) fn stay_until_silent(&mut self, until: Time) {
        debug_assert_eq!(self.heartbeat, Heartbeat::Answered, "the client asks");
        self.heartbeat_at = until;
    }

    /// The outbox was emptied: the link has the heartbeat.
    #[inline]
    pub(crate) fn give_heartbeat(&mut self, now: Time) {
        if self.heartbeat == Heartbeat::Queued {
            (self.heartbeat, self.heartbeat_at) = (Heartbeat::Given, now);
        }
    }

    /// All bytes that the link was given have left.
    pub(crate) fn drain_heartbeat(&mut self, now: Time) {
        if self.heartbeat == Heartbeat::Stuck {
            (self.heartbeat, self.heartbeat_at) = (Heartbeat::Left, now);
        }
    }

    /// Until when the outstanding heartbeat may be answered; `None` if there is none.
    ///
    /// A heartbeat that cannot leave is checked again after the timeout. Between two polls, the
    /// timeout counts from the last poll.
    pub(crate) fn heartbeat_deadline(&self, now: Time, timeout: Duration) -> Option<Time> {
        match self.heartbeat {
            Heartbeat::Answered => None,
            Heartbeat::Given | Heartbeat::Left => Some(self.heartbeat_at + timeout),
            Heartbeat::Queued | Heartbeat::Stuck if self.blocked.is_blocked() => Some(now + timeout),
            Heartbeat::Queued | Heartbeat::Stuck => Some(self.taken + timeout),
        }
    }
}
