//! The only place that reads a clock: how long inputs take is measured, and changes nothing in a
//! world.

use std::time::{Duration, Instant};

#[expect(clippy::disallowed_methods, reason = "see the module")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How long this thread has used a processor, where the system tells it: what other programs do
/// meanwhile does not count.
pub(crate) fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
