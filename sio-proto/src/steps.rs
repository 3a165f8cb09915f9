//! Steps: how much work is done, counted where a peer decides how much it is.
//!
//! The macro `step!` stands in the loops over what a peer can make long: bytes, fields, packets,
//! frames that wait, sockets, deadlines. With the feature `steps` it counts, and without it there
//! is nothing. The feature is for tests: the simulator compares the steps of each input with its
//! size (`docs/simulator.md`), so that work which does not grow with the input, but with something
//! else, is found without a clock. The numbers are the same on every machine.
//!
//! A step is one turn of such a loop. Bytes that are copied, searched or checked many at a time are
//! a step for each 16.

/// Counts a turn of a loop (`step!()`), several turns (`step!(each n)`), or bytes that are handled
/// many at a time (`step!(bulk n)`).
macro_rules! step {
    () => {
        step!(each 1);
    };
    (each $turns:expr) => {
        #[cfg(feature = "steps")]
        $crate::steps::count($turns);
    };
    (bulk $bytes:expr) => {
        #[cfg(feature = "steps")]
        $crate::steps::count($crate::steps::in_bulk($bytes));
    };
}

#[cfg(feature = "steps")]
pub use counter::steps_taken;
#[cfg(feature = "steps")]
pub(crate) use counter::{count, in_bulk};

#[cfg(feature = "steps")]
mod counter {
    use core::sync::atomic::{AtomicUsize, Ordering};

    /// How many bytes that are handled many at a time are one step.
    const BULK: usize = 16;

    static TAKEN: AtomicUsize = AtomicUsize::new(0);

    /// The number of steps that this process has taken. It wraps around. Steps of several threads
    /// may be lost, so the difference of two numbers is exact only in a process of one thread.
    #[must_use]
    pub fn steps_taken() -> usize {
        TAKEN.load(Ordering::Relaxed)
    }

    pub(crate) fn count(turns: usize) {
        // Not `fetch_add`, which is much slower: see `steps_taken`.
        TAKEN.store(steps_taken().wrapping_add(turns), Ordering::Relaxed);
    }

    pub(crate) const fn in_bulk(bytes: usize) -> usize {
        1 + bytes / BULK
    }
}
