//! `cargo xtask mutants`: small changes of the machines of `sio-proto`, and whether a test notices
//! (`docs/PROOF.md`).
//!
//! The program `sio-mutants` does the work. It is a workspace of its own, so that nothing else
//! waits for the parser of Rust that it needs.

use crate::arguments::Arguments;
use crate::failure::Outcome;
use crate::programs::{cargo, run as execute};
use crate::workspace::Workspace;
use std::process::Command;

/// The arguments that are passed on to the program.
const PASSED_ON: &[&str] = &["--only", "--limit", "--from", "--jobs"];

pub(crate) fn run(tree: &Workspace, mut arguments: Arguments) -> Outcome {
    let folder = tree.target.join("mutants");
    let mut words = Vec::new();
    for name in PASSED_ON {
        if let Some(value) = arguments.take(name) {
            words.extend([(*name).to_owned(), value]);
        }
    }
    arguments.finish()?;
    execute(
        own(tree, "run")
            .args(["--quiet", "--"])
            .arg("--target")
            .arg(folder)
            .args(words),
    )
}

/// Checks the program itself: its format, its lints and its unit tests. It runs no mutant.
pub(crate) fn check(tree: &Workspace) -> Outcome {
    execute(own(tree, "fmt").arg("--check"))?;
    execute(own(tree, "clippy").args(["--locked", "--all-targets", "--", "-D", "warnings"]))?;
    execute(own(tree, "test").arg("--locked"))
}

/// A command of Cargo about the program. What it leaves in a common target folder would not fit the
/// main workspace.
fn own(tree: &Workspace, name: &str) -> Command {
    let mut command = cargo(&tree.root);
    command.args([name, "--manifest-path", "mutants/Cargo.toml"]);
    command.env("CARGO_TARGET_DIR", tree.target.join("mutants/program"));
    command
}
