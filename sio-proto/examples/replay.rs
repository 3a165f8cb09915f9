//! Runs a transcript again, and says whether the shard did the same. `cargo xtask replay FILE`
//! starts this program.
//!
//! ```text
//! cargo run -p sio-proto --features transcript --example replay -- FILE
//! ```
//! If the server has its own parser or codec, its transcript needs a program like this one, with
//! the parser or codec in its config.

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

use sio_proto::Config;
use sio_proto::server::transcript::{Limits, replay};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: replay FILE");
        return ExitCode::from(2);
    };
    match run(&file) {
        Ok(said) => {
            eprintln!("{file}: {said}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{file}: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(file: &str) -> Result<String, String> {
    let limits = Limits::default();
    let mut text = String::new();
    let opened = File::open(file).map_err(|error| error.to_string())?;
    // One byte above the limit is enough to know that the file is too large.
    let most = limits.max_bytes as u64 + 1;
    let read = opened.take(most).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    let replayed = replay(&text, Config::default(), &limits).map_err(|error| error.to_string())?;
    Ok(format!(
        "the shard did the same: {} inputs, {} lines",
        replayed.inputs, replayed.lines
    ))
}
