//! The one place that reads the clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// This moment.
#[expect(clippy::disallowed_methods, reason = "this is the program's clock module")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The date, counted from 1970. A clock that is before it counts as there.
#[expect(clippy::disallowed_methods, reason = "this is the program's clock module")]
pub(crate) fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
