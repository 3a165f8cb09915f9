//! Random operations on each machine, without a fuzzer: whatever bytes are drawn, they are a list
//! of operations, and the models in the targets check what comes out.
//!
//! `PROPTEST_CASES` is the number of lists for each machine. A failure prints the shortest list
//! that still fails: add it to the corpus of the target.

use proptest::prelude::*;

/// Lists for each machine, unless the environment says how many.
const CASES: u32 = 200;

fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() {
            given.cases
        } else {
            CASES
        },
        failure_persistence: None,
        ..given
    }
}

/// Bytes of operations: small numbers are more likely, because they choose.
fn operations(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![3 => 0..32u8, 1 => any::<u8>()], 0..most)
}

proptest! {
    #![proptest_config(config())]

    /// Rooms, acknowledgements and sessions are those of a naive model.
    #[test]
    fn on_a_server(data in operations(300)) {
        sio_fuzz::server::server(&data);
    }

    #[test]
    fn on_a_client(data in operations(300)) {
        sio_fuzz::client::client(&data);
    }

    #[test]
    fn on_a_client_and_a_server(data in operations(200)) {
        sio_fuzz::client_server::client_server(&data);
    }

    /// What clients have missed, and what a store keeps, is what a naive model says.
    #[test]
    fn on_recovery(data in operations(400)) {
        sio_fuzz::recovery::recovery(&data);
    }

    #[test]
    fn on_the_connections_to_redis(data in operations(300)) {
        sio_fuzz::broker::broker(&data);
    }
}
