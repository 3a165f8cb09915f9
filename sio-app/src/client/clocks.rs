//! Notices that the machine has slept.
//!
//! The clock behind [`Runtime::now`](crate::runtime::Runtime::now) stands still while the machine
//! sleeps: `Instant` reads `CLOCK_MONOTONIC` on Linux and `CLOCK_UPTIME_RAW` on macOS. The clock of
//! dates goes on. So both are compared each time the client's task runs. If the clock of dates has
//! gone further ahead, the difference is how long the machine has slept, or by how much the clock
//! of dates was set.
//!
//! ```text
//!   look      look                               look
//!    │ 5 s     │ 5 s   (sleeps for an hour)       │
//!    ├─────────┼──────╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌──────┤
//!   now      + 5                                + 10      stood still meanwhile
//!   date     + 5                                + 3610    ahead by 3600 s
//! ```
//! A clock that was set back is not ahead. A clock that runs a little fast is compared from look to
//! look, so its error does not add up.

use std::time::Duration;

use sio_proto::Time;

use super::network::Network;

/// The longest time between two looks while the client has anything to do. After a sleep, nothing
/// else may wake the task for as long as a heartbeat takes.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The clock of dates counts whole seconds, so it may seem to have gone up to this far ahead, and
/// up to this far behind: what is taken for a sleep is one, and a sleep is noticed for sure if it
/// is longer by twice this time.
const GRAIN: Duration = Duration::from_secs(1);

/// The two clocks, when they were looked at last.
#[derive(Debug)]
pub(super) struct Clocks {
    now: Time,
    /// Seconds since 1970.
    date: u64,
    next_look: Time,
}

impl Clocks {
    pub(super) fn read(network: Network) -> Self {
        let now = (network.runtime.now)();
        Self {
            now,
            date: (network.runtime.unix_time)(),
            next_look: now + LOOK_EVERY,
        }
    }

    /// Compares the clocks. Returns how far the clock of dates has gone ahead since the last look,
    /// at least.
    pub(super) fn look(&mut self, network: Network) -> Duration {
        let (now, date) = ((network.runtime.now)(), (network.runtime.unix_time)());
        let passed = now.saturating_since(self.now);
        let dated = Duration::from_secs(date.saturating_sub(self.date));
        let ahead = dated.saturating_sub(passed);
        (self.now, self.date) = (now, date);
        if self.next_look <= now {
            self.next_look = now + LOOK_EVERY;
        }
        ahead.saturating_sub(GRAIN)
    }

    /// When the clocks have to be looked at next, at the latest.
    pub(super) const fn next_look(&self) -> Time {
        self.next_look
    }
}
