//! The compiler's errors for wrong handlers: each error names the wrong part, and says what to do.
//!
//! Each file in `compile-errors/` is a program that does not compile. Its lines that begin with
//! `//~` are texts that the errors must contain. The other text of the compiler's errors may
//! change.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Returns the programs by their names.
fn programs() -> BTreeMap<String, PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile-errors");
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect()
}

/// Makes a package of the programs, outside of the workspace, with the versions of the workspace.
fn package(programs: &BTreeMap<String, PathBuf>) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-errors");
    std::fs::create_dir_all(&folder).unwrap();
    let mut manifest = format!(
        "[package]\nname = \"compile-errors\"\nversion = \"0.0.0\"\nedition = \"2024\"\nautobins = false\n\n[workspace]\n\n\
         [dependencies]\nsio-app = {{ path = {here:?} }}\n"
    );
    for (name, path) in programs {
        write!(manifest, "\n[[bin]]\nname = {name:?}\npath = {path:?}\n").unwrap();
    }
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    std::fs::copy(here.join("../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// Returns what the compiler says of each program.
fn errors(folder: &Path) -> BTreeMap<String, String> {
    let mut check = Command::new(env!("CARGO"));
    check.args(["check", "--offline", "--keep-going", "--bins", "--message-format=json"]);
    check.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
    let output = check.output().unwrap();
    let mut errors = BTreeMap::<String, String>::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let rendered = message["message"]["rendered"].as_str().unwrap_or_default();
        let target = message["target"]["name"].as_str().unwrap_or_default();
        errors.entry(target.to_owned()).or_default().push_str(rendered);
    }
    assert!(!output.status.success(), "none of them compiles");
    errors
}

/// Newcomers D4.
#[test]
fn errors_name_the_part_of_a_handler_that_is_wrong() {
    let programs = programs();
    let errors = errors(&package(&programs));
    let mut missing = String::new();
    for (name, path) in &programs {
        // Names that servers and clients have both (`Socket`, `Ack`) come with the crate's name.
        let said = errors.get(name).map_or("", String::as_str).replace("sio_app::", "");
        let text = std::fs::read_to_string(path).unwrap();
        let expected: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("//~ "))
            .collect();
        assert!(!expected.is_empty(), "{name} expects something");
        for expected in expected.into_iter().filter(|expected| !said.contains(expected)) {
            write!(missing, "{name}: nothing says: {expected}\n{said}\n").unwrap();
        }
    }
    assert!(missing.is_empty(), "{missing}");
}
