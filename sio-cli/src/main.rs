//! `sio`: a command-line tool for Socket.IO, of every generation.
//!
//! | command | what it does | module |
//! |---|---|---|
//! | `sio connect` | a client at a prompt, or for a script | `connect/` |
//! | `sio doctor` | examines a server and the proxies before it | `doctor/` |
//! | `sio bench` | measures a server | `bench/` |
//! | `sio explain` | says what each part of a message is, and which rule a malformed one breaks | `explain/` |
//! | `sio man`, `sio completions` | pages and completions for the shell | `pages` |
//!
//! `docs/cli.md` is its page for users.
#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod clock;
mod connect;
mod dialing;
mod doctor;
mod ending;
mod entropy;
mod explain;
mod output;
mod pages;
mod proxying;
mod run;
mod target;
mod values;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Cli, Command};
use ending::Failed;
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Output::standard(cli.color);
    let ended = match &cli.command {
        Command::Connect(arguments) => connect::run(arguments, cli.color),
        Command::Bench(arguments) => bench::run(arguments, &mut out),
        Command::Doctor(arguments) => doctor::run(arguments, &mut out),
        Command::Explain(arguments) => explain::run(arguments, &mut out),
        Command::Man { page } => pages::man(page.as_deref(), &mut out),
        Command::Completions { shell } => pages::completions(*shell, &mut out),
    };
    match ended {
        Ok(ending) => ending.into(),
        Err(failed) => {
            if !matches!(failed, Failed::Pipe) {
                complain(&failed);
            }
            failed.code()
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is where a program complains")]
fn complain(failed: &Failed) {
    eprintln!("sio: {failed}");
}
