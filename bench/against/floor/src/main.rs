//! `against-floor PORT`: see the library.

#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(port) = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok()) else {
        eprintln!("usage: against-floor PORT");
        return ExitCode::from(2);
    };
    let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(against_floor::serve);
    eprintln!("against-floor: {error}");
    ExitCode::FAILURE
}
