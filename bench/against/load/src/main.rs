//! The load generator of the comparison with other servers.
//!
//! One thread and one epoll for all clients. Messages and their answers are encoded before the
//! measurement, and an answer is compared as bytes, so that a message costs the generator less than
//! any server. An answer that is wrong, a connection that is closed, or a silence of ten seconds
//! ends the program without a result.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the result is for whoever started it")]

mod arguments;
mod clients;
mod clock;
mod connect;
mod failure;
mod frames;
mod handshake;
mod histogram;
mod http;
mod idle;
mod link;
mod messages;
mod operations;
mod polling;
mod report;
mod server;
mod traffic;
mod turns;
mod upgrade;

use std::process::ExitCode;

use arguments::{Options, Scenario, USAGE};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(failure) => {
            eprintln!("against-load: {failure}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let result = match options.scenario {
        Scenario::Echo | Scenario::Ack | Scenario::Binary | Scenario::Cast | Scenario::Rooms => traffic::run(&options),
        Scenario::Connect => operations::run::<connect::Newcomer>(&options),
        Scenario::Upgrade => operations::run::<upgrade::Mover>(&options),
        Scenario::Polling => operations::run::<polling::Poller>(&options),
        Scenario::Idle | Scenario::Heartbeat => idle::run(&options),
    };
    match result {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("against-load: {}: {failure}", options.name());
            ExitCode::FAILURE
        }
    }
}
