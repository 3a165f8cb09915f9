//! The tests of clusters that need genuine Redis servers, for every adapter. An adapter's
//! `tests/broker.rs` includes this file by its path, and says how the adapter connects and serves.
//! The tests use no runtime: they block.
//!
//! `cargo test` leaves them out, because they need `redis-server`:
//!
//! ```text
//! cargo test -p sio-tokio --features redis --test broker -- --ignored --nocapture
//! ```
//! Most of them wait most of the time, so all of them may run at once (`--test-threads 16`).
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "genuine servers live in the time of the machine; the lint knows tests by their attribute, and these are \
              their helpers"
)]

mod connections;
mod emitting;
mod failures;
mod histories;
mod leaks;
mod neighbours;
mod observing;
mod peers;
mod secure;
mod servers;
mod traffic;

use std::time::Instant;

/// What was seen, for people.
#[expect(clippy::print_stdout, reason = "the numbers are what people run this for")]
pub(super) fn say(text: &str) {
    println!("{text}");
}

pub(super) fn note(what: &str, since: Instant, until: Instant) {
    say(&format!(
        "{what}: {} ms",
        until.saturating_duration_since(since).as_millis()
    ));
}
