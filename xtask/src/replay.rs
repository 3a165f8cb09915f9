//! `cargo xtask replay FILE`: runs a transcript again, and compares the result with the file line
//! by line (`docs/transcript.md`).
//!
//! The example `replay` of `sio-proto` does the work. So the other commands of this program need
//! not wait until `sio-proto` is built.

use crate::failure::{Failure, Outcome};
use crate::programs::{cargo, run as execute};
use crate::workspace::Workspace;
use std::path::Path;

pub(crate) fn run(tree: &Workspace, mut words: impl Iterator<Item = String>) -> Outcome {
    let (Some(file), None) = (words.next(), words.next()) else {
        return Err(Failure::new("usage: cargo xtask replay FILE"));
    };
    // The program runs in the root of the repository, but the name is relative to the caller's
    // folder.
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
