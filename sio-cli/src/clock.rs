//! The one place that reads the clock.

use std::time::Instant;

/// This moment.
#[expect(clippy::disallowed_methods, reason = "this is the program's clock module")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
