//! The clock that measures how long locks are held, in debug builds. It is not the time of the
//! state machines, which is always an argument.

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

/// Returns the time since the first call, for the limit of log lines.
pub(super) fn time() -> Time {
    static START: OnceLock<Instant> = OnceLock::new();
    let since: Duration = now().saturating_duration_since(*START.get_or_init(now));
    Time::ZERO + since
}
