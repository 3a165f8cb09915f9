//! How long the worst inputs take, in milliseconds for 1 MiB:
//! `cargo run --release -p sio-bench --example worst [-- NAME]`. It prints the quickest of some runs,
//! because other programs on the machine only make a run slower.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "this program measures times and prints them"
)]

use std::time::{Duration, Instant};

use sio_bench::worst::inputs;

/// The length of each input.
const BYTES: usize = 1 << 20;
/// How often each input is read.
const RUNS: usize = 9;

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for input in inputs().into_iter().filter(|input| input.name.starts_with(&wanted)) {
        let mut case = input.input(BYTES);
        let mut best = Duration::MAX;
        for _ in 0..RUNS {
            case.prepare(0);
            let begin = Instant::now();
            case.run(0);
            best = best.min(begin.elapsed());
        }
        println!("{:<45} {:>8.1} ms", input.name, best.as_secs_f64() * 1e3);
    }
}
