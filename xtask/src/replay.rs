//! `cargo xtask replay FILE`: a transcript is run again, and what comes of it is compared line by
//! line (`docs/transcript.md`).
//!
//! The work is that of the example `replay` of `sio-proto`, so that the other commands here need
//! not wait until the crate is built.

use crate::failure::{Failure, Outcome};
use crate::programs::{cargo, run as execute};
use crate::workspace::Workspace;
use std::path::Path;

pub(crate) fn run(tree: &Workspace, mut words: impl Iterator<Item = String>) -> Outcome {
    let (Some(file), None) = (words.next(), words.next()) else {
        return Err(Failure::new("usage: cargo xtask replay FILE"));
    };
    // The program runs in the root of the repository, and the name is meant from here.
    let file = std::path::absolute(Path::new(&file)).map_err(|error| Failure::new(format!("{file}: {error}")))?;
    let program = [
        "run",
        "--quiet",
        "-p",
        "sio-proto",
        "--features",
        "transcript",
        "--example",
        "replay",
        "--",
    ];
    execute(cargo(&tree.root).args(program).arg(file))
}
