//! The bytes that wait for peers, of all sessions of a server together.
//!
//! The shards of a server share one [`Budget`] with the code that writes for them. It is two
//! numbers and no lock. A session whose packets leave as fast as they come never touches it: only
//! bytes that have to wait are charged, because a link is blocked or there is no link.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes may wait for all peers of a server together, and how many wait now.
///
/// Every byte counts once for each peer that it waits for, although a broadcast is in memory only
/// once.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    used: AtomicUsize,
    /// Number of shards that share the budget.
    shards: AtomicUsize,
}

impl Budget {
    /// A budget of this many bytes, of which none is used.
    #[must_use]
    pub const fn new(max_bytes: usize) -> Self {
        Self {
            max: max_bytes,
            used: AtomicUsize::new(0),
            shards: AtomicUsize::new(0),
        }
    }

    /// How many bytes wait.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether more bytes wait than are allowed.
    #[must_use]
    pub fn is_exceeded(&self) -> bool {
        self.used() > self.max
    }

    /// Replaces a charge of `before` waiting bytes by a charge of `after` waiting bytes. A charge
    /// is never refused. The caller then checks [`Budget::is_exceeded`] and acts.
    pub fn recharge(&self, before: usize, after: usize) {
        if after > before {
            self.used.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.used.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// How many shards share the budget.
    #[cfg(feature = "transcript")]
    pub(super) fn shards(&self) -> usize {
        self.shards.load(Ordering::Relaxed)
    }

    /// One more shard shares the budget.
    pub(super) fn enter(&self) {
        self.shards.fetch_add(1, Ordering::Relaxed);
    }

    /// One shard less shares the budget.
    pub(super) fn leave(&self) {
        self.shards.fetch_sub(1, Ordering::Relaxed);
    }

    /// How much one shard may use before it has to release something when the whole budget is
    /// exceeded. An eighth is kept free, so that the search for sessions to end does not run for
    /// each message.
    pub(super) fn share(&self) -> usize {
        (self.max - self.max / 8) / self.shards.load(Ordering::Relaxed).max(1)
    }
}

impl Default for Budget {
    /// A budget without a limit.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

/// A shard's part of the budget.
#[derive(Debug)]
pub(crate) struct Backlog {
    budget: Arc<Budget>,
    /// The bytes that the sessions of this shard have charged, and that their links still hold.
    own: usize,
    /// How many waiting messages have been dropped for newer ones since this was taken.
    displaced: u64,
}

impl Backlog {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        budget.enter();
        Self {
            budget,
            own: 0,
            displaced: 0,
        }
    }

    pub(crate) const fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Lets this shard share another budget. No bytes may wait yet.
    pub(crate) fn share(&mut self, budget: Arc<Budget>) {
        debug_assert_eq!(self.own, 0, "a shard is given its budget before its first session");
        *self = Self::new(budget);
    }

    /// Counts a waiting message that was dropped for a newer one, if there was one.
    pub(crate) fn note_displaced(&mut self, was_there: bool) {
        self.displaced += u64::from(was_there);
    }

    pub(crate) const fn take_displaced(&mut self) -> u64 {
        core::mem::replace(&mut self.displaced, 0)
    }

    /// A session's charge changes.
    pub(crate) fn recharge(&mut self, before: usize, after: usize) {
        if before != after {
            self.budget.recharge(before, after);
            self.note_held(before, after);
        }
    }

    /// The bytes that a session's link holds have changed. The code that holds the bytes charges
    /// the budget.
    pub(crate) const fn note_held(&mut self, before: usize, after: usize) {
        self.own = self.own.saturating_sub(before).saturating_add(after);
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.budget.is_exceeded()
    }

    /// How much this shard has to release.
    pub(crate) fn excess(&self) -> usize {
        match self.budget.is_exceeded() {
            true => self.own.saturating_sub(self.budget.share()),
            false => 0,
        }
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.budget.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_gives_back_what_is_more_than_its_share() {
        let budget = Arc::new(Budget::new(1_600));
        let mut few = Backlog::new(Arc::clone(&budget));
        let mut many = Backlog::new(Arc::clone(&budget));
        few.recharge(0, 600);
        many.recharge(0, 1_000);
        assert_eq!((budget.used(), budget.is_exceeded()), (1_600, false));
        assert_eq!((few.excess(), many.excess()), (0, 0));
        many.recharge(1_000, 1_001);
        assert!(budget.is_exceeded());
        assert_eq!((few.excess(), many.excess()), (0, 301), "the share is 700");
        drop(few);
        assert_eq!(many.excess(), 0, "all of it is the share of the last one");
    }
}
