//! Who holds memory: the allocator counts, and what happens inside of the server is the server's.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What the server holds, and what it has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    /// Bytes that the server holds.
    pub(crate) bytes: isize,
    /// How often the server has allocated, in all.
    pub(crate) allocations: usize,
    /// How many bytes the server has allocated, in all.
    pub(crate) allocated: usize,
    /// How many steps the server has taken, in all.
    pub(crate) steps: usize,
}

impl Held {
    /// Does something for which the server pays.
    pub(crate) fn charge<R>(&mut self, act: impl FnOnce() -> R) -> R {
        let (before, steps) = (ALLOCATOR.stats(), sio_proto::steps_taken());
        let result = act();
        let after = ALLOCATOR.stats();
        let (taken, given) = (
            after.bytes_allocated - before.bytes_allocated,
            after.bytes_deallocated - before.bytes_deallocated,
        );
        self.bytes += taken as isize - given as isize;
        self.allocations += after.allocations + after.reallocations - before.allocations - before.reallocations;
        self.allocated += taken;
        self.steps += sio_proto::steps_taken().wrapping_sub(steps);
        result
    }
}
