//! The work for the worst inputs of each decoder and of the whole server grows as they grow, and
//! each byte of them costs no more than it may.
//!
//! Work is counted in steps (`docs/simulator.md`), so the numbers are the same on every machine and
//! whatever else it does. `cargo xtask bench --worst` counts instructions, which takes minutes; this
//! is its quick form. `SIO_WORST_BYTES=1048576` compares inputs of 512 KiB and 1 MiB.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use sio_bench::worst::{Worst, inputs};
use sio_proto::steps_taken;

/// The longer of the two inputs, in bytes. The other one is half as long.
const BYTES: usize = 256 << 10;

/// How many tenths of the steps for the shorter input the longer one may take.
const MOST_TENTHS: usize = 22;

/// There is a step for each so many bytes at least. With less, nobody counts the work.
const BYTES_OF_A_STEP: usize = 64;

/// The most that each input may cost. The third word of a line is the number of steps for a hundred
/// bytes.
const TABLE: &str = include_str!("../../bench/worst.txt");

/// The most steps of any input beside those for its bytes.
const MOST_BESIDE: usize = 1_000;

fn steps(input: &Worst, bytes: usize) -> usize {
    let mut case = input.input(bytes);
    case.prepare(0);
    let before = steps_taken();
    case.run(0);
    steps_taken() - before
}

/// The inputs of the table, each with the steps that a hundred bytes of it may cost.
fn bounds() -> BTreeMap<&'static str, usize> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let bounds = lines.map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[0], words[2].parse().expect("a number of steps"))
    });
    bounds.collect()
}

/// What is wrong with the steps for both lengths, if something is. Each hundred bytes may cost
/// `most`.
fn fault(half: usize, whole: usize, bytes: usize, most: usize) -> Option<&'static str> {
    match () {
        () if whole < bytes / BYTES_OF_A_STEP => Some("nobody counts its work"),
        () if whole * 10 > half * MOST_TENTHS => Some("grows faster than the input"),
        () if whole > most * bytes / 100 + MOST_BESIDE => Some("costs more than its bytes may"),
        () => None,
    }
}

#[test]
fn twice_the_input_is_twice_the_work_and_no_byte_costs_more_than_it_may() {
    let given = std::env::var("SIO_WORST_BYTES").ok();
    let bytes = given.map_or(BYTES, |bytes| bytes.parse().expect("SIO_WORST_BYTES is a number"));
    let (bounds, mut faults) = (bounds(), Vec::new());
    for input in inputs() {
        let (half, whole) = (steps(&input, bytes / 2), steps(&input, bytes));
        let fault = fault(half, whole, bytes, bounds[input.name]);
        let each = whole * 100 / bytes;
        eprintln!(
            "{:<45} {half:>9} {whole:>9} {each:>5} {}",
            input.name,
            fault.unwrap_or_default()
        );
        faults.extend(fault.map(|fault| format!("{}: {half} and {whole} steps, {fault}", input.name)));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn each_input_has_a_bound() {
    let inputs: BTreeSet<&str> = inputs().iter().map(|input| input.name).collect();
    let bounds: BTreeSet<&str> = bounds().into_keys().collect();
    assert_eq!(inputs, bounds);
}

#[test]
fn too_much_work_and_none_are_seen() {
    let most = 200 * 640 + MOST_BESIDE;
    assert_eq!(fault(1000, 2200, 64_000, 200), None);
    assert_eq!(fault(1000, 2201, 64_000, 200), Some("grows faster than the input"));
    assert_eq!(fault(1000, 4000, 64_000, 200), Some("grows faster than the input"));
    assert_eq!(fault(0, 0, 64_000, 200), Some("nobody counts its work"));
    assert_eq!(fault(499, 999, 64_000, 200), Some("nobody counts its work"));
    assert_eq!(fault(most / 2, most, 64_000, 200), None);
    assert_eq!(
        fault(most / 2, most + 1, 64_000, 200),
        Some("costs more than its bytes may")
    );
}
