//! The one place that reads the clock.

use std::sync::LazyLock;
use std::time::Instant;

use sio_app::Time;

#[expect(clippy::disallowed_methods, reason = "this is the adapter's clock module")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time since the first time somebody asked.
pub(crate) fn now() -> Time {
    Time::ZERO + START.elapsed()
}
