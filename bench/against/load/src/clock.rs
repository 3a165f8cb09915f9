//! The only module that reads the clock.

use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a measurement needs the time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
