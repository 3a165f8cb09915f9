//! Runs the rounds of one row under a tool that counts.
//!
//! ```text
//! sio-bench                      lists the rows: name, operations a round, rounds
//! sio-bench ROW                  runs the rounds of one row
//! sio-bench --worst              lists the worst inputs
//! sio-bench --worst NAME BYTES   reads one of them, of about so many bytes, once
//! ```
//! The tool counts inside of `counted_step` only: `valgrind --tool=callgrind
//! --toggle-collect='*counted_step*'`. `cargo xtask bench` does all of this.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "a command-line program speaks through its standard output"
)]

use std::process::ExitCode;

use sio_bench::worst::inputs;
use sio_bench::{Case, rows};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        for row in rows() {
            println!("{} {} {}", row.name, row.operations, row.rounds);
        }
        return ExitCode::SUCCESS;
    };
    if name == "--worst" {
        return worst(arguments.next(), arguments.next());
    }
    let Some(row) = rows().into_iter().find(|row| row.name == name) else {
        println!("no row is called `{name}`");
        return ExitCode::FAILURE;
    };
    row.run(counted_step);
    ExitCode::SUCCESS
}

/// Reads a worst input once. Without a name, lists them.
fn worst(name: Option<String>, bytes: Option<String>) -> ExitCode {
    let Some(name) = name else {
        for input in inputs() {
            println!("{}", input.name);
        }
        return ExitCode::SUCCESS;
    };
    let input = inputs().into_iter().find(|input| input.name == name);
    let (Some(input), Some(Ok(bytes))) = (input, bytes.map(|bytes| bytes.parse())) else {
        println!("no input is called `{name}`, or it has no length in bytes");
        return ExitCode::FAILURE;
    };
    let mut case = input.input(bytes);
    case.prepare(0);
    counted_step(&mut *case, 0);
    case.check();
    ExitCode::SUCCESS
}

/// The part that is counted. The tool knows it by its name, so it is a function of its own.
#[inline(never)]
fn counted_step(case: &mut dyn Case, step: usize) {
    case.run(step);
}
