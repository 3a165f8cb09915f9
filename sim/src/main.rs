//! A simulator: the real server machine and real clients of every generation, over a network that
//! fails in every way, in virtual time, from one number.
//!
//! `docs/simulator.md` says how to use it, and what it checks. `cargo xtask sim` runs it.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "a command-line program speaks through its standard output"
)]

mod answers;
mod arguments;
mod checks;
mod clock;
mod comeback;
mod content;
mod crowd;
mod door;
mod effort;
mod faults;
mod habits;
mod held;
mod host;
mod house;
mod kept;
mod life;
mod model;
mod names;
mod network;
mod orders;
mod outputs;
mod payer;
mod pipe;
mod plan;
mod rogue;
mod roll;
mod seeds;
mod shares;
mod shrink;
mod soon;
mod straits;
mod terms;
mod thief;
mod transcript;
mod users;
mod violation;
mod work;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    match arguments::Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => seeds::run(&arguments),
        Err(words) => {
            println!("{words}");
            ExitCode::from(2)
        }
    }
}
