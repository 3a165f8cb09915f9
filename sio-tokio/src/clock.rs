//! The one place that reads the clock.

use std::sync::LazyLock;
use std::time::Instant;

use sio_app::Time;

static START: LazyLock<Instant> = LazyLock::new(read);

#[expect(clippy::disallowed_methods, reason = "this is the adapter's clock module")]
fn read() -> Instant {
    Instant::now()
}

/// The time since the first time somebody asked.
pub(crate) fn now() -> Time {
    let start = *START;
    let micros = read().saturating_duration_since(start).as_micros();
    Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// When `time` is, for the runtime's timers.
pub(crate) fn instant(time: Time) -> tokio::time::Instant {
    (*START + time.saturating_since(Time::ZERO)).into()
}
