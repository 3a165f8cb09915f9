//! Random operations on each machine, without a fuzzer: whatever bytes are drawn, they are a list
//! of operations, and the models in the fuzz targets check what comes out. The targets stand in
//! `fuzz/src`, and are modules of this test, so that their 10,000 cases in CI need no further build
//! of this crate.
//!
//! `PROPTEST_CASES` is the number of lists for each machine. A failure prints the shortest list
//! that still fails: add it to the corpus of the target.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::needless_collect,
    clippy::unwrap_used,
    reason = "the targets are modules of another package, which has its own rules for them"
)]

#[rustfmt::skip]
#[path = "../../fuzz/src/broker.rs"]
mod broker;
#[rustfmt::skip]
#[path = "../../fuzz/src/client.rs"]
mod client;
#[rustfmt::skip]
#[path = "../../fuzz/src/client_server/mod.rs"]
mod client_server;
#[rustfmt::skip]
#[path = "../../fuzz/src/cursor.rs"]
mod cursor;
#[rustfmt::skip]
#[path = "../../fuzz/src/pieces.rs"]
mod pieces;
#[rustfmt::skip]
#[path = "../../fuzz/src/recovery/mod.rs"]
mod recovery;
#[rustfmt::skip]
#[path = "../../fuzz/src/server/mod.rs"]
mod server;

mod cases;

use proptest::prelude::*;

/// Lists for each machine, unless the environment says how many.
const CASES: u32 = 200;

/// Bytes of operations: small numbers are more likely, because they choose.
fn operations(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![3 => 0..32u8, 1 => any::<u8>()], 0..most)
}

proptest! {
    #![proptest_config(cases::usually(CASES))]

    /// Rooms, acknowledgements and sessions are those of a naive model.
    #[test]
    fn on_a_server(data in operations(300)) {
        server::server(&data);
    }

    #[test]
    fn on_a_client(data in operations(300)) {
        client::client(&data);
    }

    #[test]
    fn on_a_client_and_a_server(data in operations(200)) {
        client_server::client_server(&data);
    }

    /// What clients have missed, and what a store keeps, is what a naive model says.
    #[test]
    fn on_recovery(data in operations(400)) {
        recovery::recovery(&data);
    }

    #[test]
    fn on_the_connections_to_redis(data in operations(300)) {
        broker::broker(&data);
    }
}
