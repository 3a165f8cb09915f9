//! The one place that reads the clock.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use sio_app::adapter::Time;

#[expect(clippy::disallowed_methods, reason = "this is the adapter's clock module")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time since the first call of this function.
pub(crate) fn now() -> Time {
    Time::ZERO + START.elapsed()
}

/// The seconds since the beginning of 1970, by the machine's clock of dates.
#[expect(clippy::disallowed_methods, reason = "this is the adapter's clock module")]
pub(crate) fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
