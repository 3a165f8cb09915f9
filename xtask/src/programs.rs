//! Runs other programs, and says which one is missing.

use crate::failure::{Failure, Outcome};
use crate::workspace::Workspace;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

/// Returns a command for the Cargo that runs this program, in this directory.
///
/// `cargo run` describes the package that it runs in the environment. Cargo builds `ring`, and all
/// that uses it, again when this description changes, so the command does not pass it on.
pub(crate) fn cargo(directory: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(directory);
    for (name, _) in std::env::vars_os() {
        if describes_a_package(&name.to_string_lossy()) {
            command.env_remove(&name);
        }
    }
    command
}

/// Whether this variable of the environment says which package Cargo runs.
fn describes_a_package(name: &str) -> bool {
    name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_")
}

/// Builds programs of the examples, in release mode.
pub(crate) fn build_examples(tree: &Workspace, names: &[&str], features: &[&str]) -> Outcome {
    if !tree.has_package("sio-examples") {
        return Err(Failure::new(format!(
            "the workspace has no package sio-examples to build {} from",
            names.join(" and ")
        )));
    }
    let programs = names.iter().flat_map(|name| ["--bin", name]);
    run(cargo(&tree.root)
        .args(["build", "--release", "-p", "sio-examples"])
        .args(programs)
        .args(features))
}

/// Runs the command, shows its output, and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let line = line(command);
    println!("$ {line}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| missing(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{line}` ended with {status}")))
    }
}

/// Runs the command silently and returns what it wrote.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| missing(command, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "`{}` ended with {}\n{said}",
            line(command),
            output.status
        )));
    }
    String::from_utf8(output.stdout).map_err(|_| Failure::new(format!("`{}` wrote no UTF-8", line(command))))
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(name).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Why a program could not even be started.
pub(crate) fn missing(command: &Command, error: &std::io::Error) -> Failure {
    let name = command.get_program().to_string_lossy();
    match error.kind() {
        ErrorKind::NotFound => Failure::new(format!("`{name}` is not installed, and this needs it")),
        _ => Failure::new(format!("`{name}` could not be started: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn what_cargo_says_of_this_package_is_not_passed_on() {
        // Cargo sets both for a test, as it does for a program.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && std::env::var_os("CARGO_PKG_NAME").is_some());
        let command = cargo(Path::new("."));
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
            assert!(command.get_envs().any(|set| set == (OsStr::new(name), None)), "{name}");
        }
        assert!(!describes_a_package("CARGO_TARGET_DIR") && !describes_a_package("CARGO_PROFILE_RELEASE_LTO"));
    }
}
