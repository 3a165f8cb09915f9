//! Warnings at a limited rate.
//!
//! A peer can cause some warnings as often as it likes, and they must not fill the operator's disk.
//! Each kind of warning has a [`Rated`]: in each period a limited number of the kind is logged. The
//! others are counted, and the count is logged with the first warning of the next period.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sio_proto::Time;

use crate::error::HandlerError;

/// The most warnings of one kind that are logged in a period ([`WHILE`]).
const BURST: u64 = 10;

const WHILE: Duration = Duration::from_secs(10);

/// One kind of warning.
pub(crate) struct Rated {
    /// What the warnings are about, for the line that says how many were left out.
    kind: &'static str,
    /// The number of the period, counted from one, and the number of warnings in it: 32 bits each.
    /// Zero before the first warning.
    state: AtomicU64,
}

impl Rated {
    pub(crate) const fn new(kind: &'static str) -> Self {
        Self {
            kind,
            state: AtomicU64::new(0),
        }
    }

    /// Calls `tell`, which logs a warning of this kind, unless the limit of this period has been
    /// reached.
    pub(crate) fn say(&self, now: Time, tell: impl FnOnce()) {
        let (left_out, told) = self.admit(now);
        if left_out > 0 {
            tracing::warn!(kind = self.kind, left_out, "warnings were left out");
        }
        if told {
            tell();
        }
    }

    /// Returns how many warnings were left out in an earlier period and have to be reported now,
    /// and whether this warning is logged.
    fn admit(&self, now: Time) -> (u64, bool) {
        let this = (now.saturating_since(Time::ZERO).as_secs() / WHILE.as_secs() + 1) & 0xffff_ffff;
        let next = |state: u64| match state >> 32 {
            // Several threads may arrive here in another order than they have read the clock. So an
            // earlier time does not begin a new period.
            since if since >= this => state + u64::from(state & 0xffff_ffff < 0xffff_ffff),
            _ => this << 32 | 1,
        };
        let before = self
            .state
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| Some(next(state)));
        let before = before.unwrap_or_else(|state| state);
        let count = before & 0xffff_ffff;
        match before >> 32 >= this {
            true => (0, count < BURST),
            false => (count.saturating_sub(BURST), true),
        }
    }
}

/// The warnings that peers can cause, by kind.
pub(crate) struct Warnings {
    pub(crate) panicked: Rated,
    pub(crate) failed: Rated,
    pub(crate) misfits: Rated,
    pub(crate) unextracted: Rated,
    pub(crate) unsent: Rated,
    pub(crate) unnamed: Rated,
    pub(crate) overflows: Rated,
    pub(crate) garbled: Rated,
    pub(crate) accepting: Rated,
    pub(crate) slow: Rated,
    pub(crate) strangers: Rated,
    pub(crate) receiving: Rated,
    pub(crate) undecided: Rated,
}

impl Warnings {
    pub(crate) const fn new() -> Self {
        Self {
            panicked: Rated::new("handler panicked"),
            failed: Rated::new("handler failed"),
            misfits: Rated::new("arguments do not fit"),
            unextracted: Rated::new("a handler cannot be called"),
            unsent: Rated::new("cannot emit"),
            unnamed: Rated::new("a socket cannot have the id made for it"),
            overflows: Rated::new("too many events wait for a handler"),
            garbled: Rated::new("a client's payload cannot be read"),
            accepting: Rated::new("cannot accept"),
            slow: Rated::new("a handler kept its thread"),
            strangers: Rated::new("request refused for where it comes from"),
            receiving: Rated::new("too much is being received"),
            undecided: Rated::new("a request is refused that nobody has decided about"),
        }
    }

    /// Logs that a handler failed. The text of an error about arguments may contain what the peer
    /// sent, and is not logged. The name of the event has to be one of ours.
    pub(crate) fn say_failure(&self, now: Time, namespace: &str, event: &str, error: &HandlerError) {
        let rated = match error {
            HandlerError::Panicked(_) => &self.panicked,
            HandlerError::Failed(_) | HandlerError::Refused(_) => &self.failed,
            HandlerError::Extract { .. } => &self.unextracted,
            HandlerError::Args(_) => &self.misfits,
            HandlerError::Emit(_) => &self.unsent,
            HandlerError::Id(_) => &self.unnamed,
        };
        rated.say(now, || match error {
            HandlerError::Panicked(error) => tracing::error!(namespace, event, error, "handler panicked"),
            HandlerError::Failed(error) | HandlerError::Refused(error) => {
                tracing::warn!(namespace, event, error, "handler failed");
            }
            HandlerError::Extract { what, .. } => tracing::warn!(namespace, event, what, "a handler cannot be called"),
            HandlerError::Args(_) => tracing::warn!(namespace, event, "arguments do not fit"),
            HandlerError::Emit(_) => tracing::warn!(namespace, event, "cannot emit"),
            // The error does not repeat the id, which may be made of what the peer sent.
            HandlerError::Id(error) => tracing::warn!(namespace, %error, "a socket cannot have the id made for it"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hardening A16.
    #[test]
    fn of_many_warnings_few_are_logged_and_the_others_counted() {
        let rated = Rated::new("test");
        let told = |now: Time| (0..1_000).filter(|_| rated.admit(now).1).count();
        assert_eq!(told(Time::from_millis(1)), 10);
        assert_eq!(told(Time::from_millis(9_999)), 0);
        assert_eq!(rated.admit(Time::from_millis(10_000)), (1_990, true));
        assert_eq!(rated.admit(Time::from_millis(9_000)), (0, true), "not a new while");
        assert_eq!(told(Time::from_millis(19_999)), 8);
        assert_eq!(rated.admit(Time::from_millis(30_000)), (992, true));
        assert_eq!(rated.admit(Time::from_millis(90_000)), (0, true));
    }
}
