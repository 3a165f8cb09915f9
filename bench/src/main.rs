//! Runs the rounds of one row under a tool that counts.
//!
//! ```text
//! sio-bench            lists the rows: name, operations a round, rounds
//! sio-bench ROW        runs the rounds of one row
//! ```
//! The tool counts inside of `counted_step` only: `valgrind --tool=callgrind
//! --toggle-collect='*counted_step*'`. `cargo xtask bench` does all of this.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "a command-line program speaks through its standard output"
)]

use std::process::ExitCode;

use sio_bench::{Case, rows};

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for row in rows() {
            println!("{} {} {}", row.name, row.operations, row.rounds);
        }
        return ExitCode::SUCCESS;
    };
    let Some(row) = rows().into_iter().find(|row| row.name == name) else {
        println!("no row is called `{name}`");
        return ExitCode::FAILURE;
    };
    row.run(counted_step);
    ExitCode::SUCCESS
}

/// The part that is counted. The tool knows it by its name, so it is a function of its own.
#[inline(never)]
fn counted_step(case: &mut dyn Case, step: usize) {
    case.run(step);
}
