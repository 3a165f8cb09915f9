//! The clock for holds of locks, in debug builds. The time that passes while a lock is held has
//! nothing to do with the time of the machines, which is an argument.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sio_proto::Time;

#[expect(
    clippy::disallowed_methods,
    reason = "holds of locks are timed, in debug builds only"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The same as microseconds since the first call, for the limit of the log.
pub(super) fn time() -> Time {
    static START: OnceLock<Instant> = OnceLock::new();
    let since: Duration = now().saturating_duration_since(*START.get_or_init(now));
    Time::ZERO + since
}
