//! The copy of `sio-proto` that is rewritten: a workspace with one member. All its tests are one
//! program, the unit tests another.

use crate::failure::{Failure, Outcome, While};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the copy needs of the repository.
const NEEDED: &[&str] = &["Cargo.lock", "Cargo.toml", "sio-proto"];

/// What decides which mutants there are, and their numbers.
const REWRITING: &str = "mutants/src/rewriting";

/// The sources of the library, in the repository and in the copy.
pub(crate) const SOURCES: &str = "sio-proto/src";

/// The module that tells which mutant is chosen.
const CHOSEN: &str = include_str!("../chosen.rs");

/// Copies the package, and adds to it what the mutants need. A file that has not changed is left as
/// it is. The files of `rewritten`, relative to the sources, are not written, because the rewriting
/// writes them.
///
/// Returns a number that stands for everything that belongs to the copy, and for the rewriting.
pub(crate) fn copy(repository: &Path, copy: &Path, rewritten: &[String]) -> Outcome<u64> {
    let files = files(repository, NEEDED)?;
    let (mut tests, mut contents) = (Vec::new(), DefaultHasher::new());
    for file in &files {
        let from = repository.join(file);
        let mut bytes = fs::read(&from).when(from.display())?;
        (file, &bytes).hash(&mut contents);
        if file == Path::new("Cargo.toml") {
            bytes = workspace(&String::from_utf8_lossy(&bytes))?.into_bytes();
        }
        if file == &Path::new(SOURCES).join("lib.rs") {
            bytes.extend_from_slice(b"\nmod mutant;\n");
        }
        let is_test =
            file.parent() == Some(Path::new("sio-proto/tests")) && file.extension().is_some_and(|end| end == "rs");
        if is_test && !needs_others(&bytes) {
            tests.extend(file.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
        let is_rewritten = |file: &Path| rewritten.iter().any(|name| Path::new(SOURCES).join(name) == file);
        if !is_rewritten(file) {
            write(&copy.join(file), &bytes)?;
        }
    }
    write(&copy.join(SOURCES).join("mutant.rs"), CHOSEN.as_bytes())?;
    write(&copy.join("sio-proto/tests/all.rs"), one_program(&tests).as_bytes())?;
    remove_others(&copy.join("sio-proto"), &copy.join("sio-proto"), &files)?;
    for file in self::files(repository, &[REWRITING])? {
        let from = repository.join(&file);
        (file, fs::read(&from).when(from.display())?).hash(&mut contents);
    }
    Ok(contents.finish())
}

/// Whether a test has modules of another package, which the copy has not.
fn needs_others(test: &[u8]) -> bool {
    String::from_utf8_lossy(test).contains("#[path = \"../../")
}

/// Writes a file unless it is like this already: Cargo builds again what was written.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> Outcome {
    if fs::read(file).is_ok_and(|known| known == bytes) {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).when(folder.display())?;
    }
    fs::write(file, bytes).when(file.display())
}

/// Returns the files of these that are in git or are about to be, relative to the repository.
fn files(repository: &Path, wanted: &[&str]) -> Outcome<Vec<PathBuf>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--"];
    let output = Command::new("git")
        .current_dir(repository)
        .args(list)
        .args(wanted)
        .output();
    let output = output.when("git")?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "git: {}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    let text = String::from_utf8(output.stdout).when("the names of files")?;
    let names = text.split('\0').filter(|name| !name.is_empty());
    let mut files: Vec<PathBuf> = names
        .map(PathBuf::from)
        .filter(|file| repository.join(file).is_file())
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// The manifest of the workspace, with the one member that the copy has.
fn workspace(manifest: &str) -> Outcome<String> {
    let is_list = |line: &&str| line.starts_with("members = [") || line.starts_with("default-members = [");
    if manifest.lines().filter(is_list).any(|line| !line.ends_with(']')) {
        return Err(Failure::new("Cargo.toml: each list of members has to be one line"));
    }
    let lines = manifest.lines().filter(|line| !is_list(line));
    let lines = lines.flat_map(|line| match line {
        "[workspace]" => vec![line, "members = [\"sio-proto\"]"],
        _ => vec![line],
    });
    Ok(lines.map(|line| format!("{line}\n")).collect())
}

/// A program that has each test as a module.
fn one_program(tests: &[String]) -> String {
    let modules = tests
        .iter()
        .map(|name| format!("#[path = \"{name}.rs\"]\nmod t_{};\n", name.replace('-', "_")));
    format!("//! All tests in one program.\n\n{}", modules.collect::<String>())
}

/// Removes the files of an earlier copy that the repository has no more. The files that were added
/// here stay.
fn remove_others(folder: &Path, package: &Path, files: &[PathBuf]) -> Outcome {
    let added = [package.join("src/mutant.rs"), package.join("tests/all.rs")];
    for entry in fs::read_dir(folder).when(folder.display())? {
        let path = entry.when(folder.display())?.path();
        if path.is_dir() {
            remove_others(&path, package, files)?;
        } else if !added.contains(&path) && !files.iter().any(|file| path.ends_with(file)) {
            fs::remove_file(&path).when(path.display())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_one_member() {
        let manifest =
            "[workspace]\nresolver = \"3\"\nmembers = [\"a\", \"b\"]\ndefault-members = [\"a\"]\n\n[profile.dev]\n";
        let expected = "[workspace]\nmembers = [\"sio-proto\"]\nresolver = \"3\"\n\n[profile.dev]\n";
        assert_eq!(workspace(manifest).unwrap(), expected);
        assert!(workspace("[workspace]\nmembers = [\n    \"a\",\n]\n").is_err());
    }

    #[test]
    fn a_test_with_modules_of_another_package_is_left_out() {
        assert!(needs_others(b"#[path = \"../../fuzz/src/cursor.rs\"]\nmod cursor;\n"));
        assert!(!needs_others(b"#[path = \"common/mod.rs\"]\nmod common;\n"));
    }

    #[test]
    fn all_tests_are_one_program() {
        let program = one_program(&["any-split".to_owned(), "kept".to_owned()]);
        assert!(
            program.ends_with("#[path = \"any-split.rs\"]\nmod t_any_split;\n#[path = \"kept.rs\"]\nmod t_kept;\n")
        );
    }
}
