//! How many cases a property tries whose cases take long.

extern crate std;

use proptest::prelude::ProptestConfig;

/// So many cases, unless `PROPTEST_CASES` says how many.
pub(crate) fn usually(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    let is_given = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if is_given { given.cases } else { cases },
        ..given
    }
}
