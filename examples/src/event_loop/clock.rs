//! The one place that reads the clock.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use sio_app::adapter::Time;

static START: LazyLock<Instant> = LazyLock::new(read);

#[expect(clippy::disallowed_methods, reason = "this is the loop's clock module")]
fn read() -> Instant {
    Instant::now()
}

/// The time since the first call of this function.
pub(super) fn now() -> Time {
    let start = *START;
    Time::ZERO + read().saturating_duration_since(start)
}

/// The duration from now until `time`.
pub(super) fn until(time: Time) -> Duration {
    time.saturating_since(now())
}

/// The seconds since the beginning of 1970, by the machine's clock of dates.
#[expect(clippy::disallowed_methods, reason = "this is the loop's clock module")]
pub(super) fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
