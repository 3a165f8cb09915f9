//! The work for the worst inputs of each decoder and of the whole server grows as they grow.
//!
//! Work is counted in steps (`docs/simulator.md`), so the numbers are the same on every machine and
//! whatever else it does. `cargo xtask bench --worst` counts instructions, which takes minutes; this
//! is its quick form. `SIO_WORST_BYTES=1048576` compares inputs of 512 KiB and 1 MiB.
#![forbid(unsafe_code)]

use sio_bench::worst::{Worst, inputs};
use sio_proto::steps_taken;

/// The longer of the two inputs, in bytes. The other one is half as long.
const BYTES: usize = 256 << 10;

/// How many tenths of the steps for the shorter input the longer one may take.
const MOST_TENTHS: usize = 22;

/// There is a step for each so many bytes at least. With less, nobody counts the work.
const BYTES_OF_A_STEP: usize = 64;

fn steps(input: &Worst, bytes: usize) -> usize {
    let mut case = input.input(bytes);
    case.prepare(0);
    let before = steps_taken();
    case.run(0);
    steps_taken() - before
}

/// What is wrong with the steps for both lengths, if something is.
fn fault(half: usize, whole: usize, bytes: usize) -> Option<&'static str> {
    match () {
        () if whole < bytes / BYTES_OF_A_STEP => Some("nobody counts its work"),
        () if whole * 10 > half * MOST_TENTHS => Some("grows faster than the input"),
        () => None,
    }
}

#[test]
fn twice_the_input_is_twice_the_work() {
    let given = std::env::var("SIO_WORST_BYTES").ok();
    let bytes = given.map_or(BYTES, |bytes| bytes.parse().expect("SIO_WORST_BYTES is a number"));
    let mut faults = Vec::new();
    for input in inputs() {
        let (half, whole) = (steps(&input, bytes / 2), steps(&input, bytes));
        let fault = fault(half, whole, bytes);
        eprintln!("{:<45} {half:>9} {whole:>9} {}", input.name, fault.unwrap_or_default());
        faults.extend(fault.map(|fault| format!("{}: {half} and {whole} steps, {fault}", input.name)));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn too_much_work_and_none_are_seen() {
    assert_eq!(fault(1000, 2200, 64_000), None);
    assert_eq!(fault(1000, 2201, 64_000), Some("grows faster than the input"));
    assert_eq!(fault(1000, 4000, 64_000), Some("grows faster than the input"));
    assert_eq!(fault(0, 0, 64_000), Some("nobody counts its work"));
    assert_eq!(fault(499, 999, 64_000), Some("nobody counts its work"));
}
