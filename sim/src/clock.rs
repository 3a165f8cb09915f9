//! The only place that reads a clock: how long inputs take is measured, and changes nothing in a
//! world.

use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "see the module")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
