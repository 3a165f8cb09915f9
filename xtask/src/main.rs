//! The one program with which people and CI check the repository.
//!
//! ```text
//! cargo xtask check   [--only STEPS] [--skip STEPS]     everything that needs Rust alone
//! cargo xtask clients [--only VERSIONS]                 genuine browser clients into clients/
//! cargo xtask operate [--only RUNS] [--full] [--runtime NAMES] [--server PROGRAM]
//!                                                       shutdown, want of descriptors, clients that do not read
//! cargo xtask hostile [--only CASES] [--list] [--full] [--lanes N] [--runtime NAMES] [--server PROGRAM]
//!                                                       attacks, and what the server may lose by each
//! cargo xtask leaks   [--full] [--cycles N] [--seed N] [--runtime NAMES] [--server PROGRAM]
//!                                                       clients that come and go in every way, and what is left of them
//! cargo xtask leaks   --client                          our client, which loses its server 10,000 times
//! cargo xtask bench   [--only ROWS] [--accept] [--where] [--worst]
//!                                                       instructions and allocations of operations, compared with a table
//! cargo xtask sim     [--seeds N] [--from N] [--planted [--only NAMES] [--limit SECONDS] [--quick]]
//!                                                       server and clients over a network that fails, from seeds
//! cargo xtask mutants [--only FILES] [--limit SECONDS] [--from N] [--jobs N]
//!                                                       small changes of the core, and whether a test notices
//! cargo xtask coverage                                  which regions of the core its tests reach, by rooms
//! cargo xtask replay  FILE                              runs a transcript again, and compares
//! cargo xtask interop [SUITE ...] [--only SUITES] [--clients VERSIONS] [--runtime NAMES] [--screenshot]
//!                     [--full] [--lanes N] [--server PROGRAM] [--chat PROGRAM] [--probe PROGRAM]
//!                                                       genuine clients against the conformance server
//! ```
//!
//! Lists are separated by commas. The runtimes are tokio (the default), axum, loop, async-std and
//! smol, or all. A command ends with exit code 0 if all its steps were done and found no fault. If
//! a tool is missing, the command fails and names the tool. Nothing is skipped unless a person
//! asked for it.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "a command-line program speaks through its standard output"
)]
#![expect(clippy::disallowed_methods, reason = "steps are timed, and servers are waited for")]

mod arguments;
mod bench;
mod check;
mod clients;
mod coverage;
mod decoding;
mod dependencies;
mod failure;
mod floors;
mod hardening;
mod hostile;
mod interop;
mod leaks;
mod mutants;
mod operate;
mod process;
mod programs;
mod python;
mod replay;
mod runtimes;
mod server;
mod sim;
mod tidy;
mod workspace;

use arguments::Arguments;
use failure::{Failure, Outcome};
use std::process::ExitCode;
use workspace::Workspace;

const USAGE: &str = "\
usage: cargo xtask check   [--only STEPS] [--skip STEPS]
       cargo xtask clients [--only VERSIONS]
       cargo xtask operate [--only RUNS] [--full] [--runtime NAMES] [--server PROGRAM]
       cargo xtask hostile [--only CASES] [--list] [--full] [--lanes N] [--runtime NAMES] [--server PROGRAM]
       cargo xtask leaks   [--full] [--cycles N] [--seed N] [--runtime NAMES] [--server PROGRAM]
       cargo xtask leaks   --client
       cargo xtask bench   [--only ROWS] [--accept] [--where] [--worst]
       cargo xtask sim     [--seeds N] [--from N] [--planted [--only NAMES] [--limit SECONDS] [--quick]]
       cargo xtask mutants [--only FILES] [--limit SECONDS] [--from N] [--jobs N]
       cargo xtask coverage
       cargo xtask replay  FILE
       cargo xtask interop [SUITE ...] [--only SUITES] [--clients VERSIONS] [--runtime NAMES] [--screenshot]
                           [--full] [--lanes N] [--server PROGRAM] [--chat PROGRAM] [--probe PROGRAM]";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Outcome {
    let command = words.next().ok_or_else(|| Failure::new(USAGE))?;
    if command == "replay" {
        return replay::run(&Workspace::find()?, words);
    }
    let arguments = Arguments::parse(words)?;
    match command.as_str() {
        "check" => check::run(&Workspace::find()?, arguments),
        "clients" => clients::run(&Workspace::find()?, arguments),
        "operate" => operate::run(&Workspace::find()?, arguments),
        "hostile" => hostile::run(&Workspace::find()?, arguments),
        "bench" => bench::run(&Workspace::find()?, arguments),
        "sim" => sim::run(&Workspace::find()?, arguments),
        "coverage" => coverage::run(&Workspace::find()?, arguments),
        "mutants" => mutants::run(&Workspace::find()?, arguments),
        "leaks" => leaks::run(&Workspace::find()?, arguments),
        "interop" => interop::run(&Workspace::find()?, arguments),
        _ => Err(Failure::new(USAGE)),
    }
}
