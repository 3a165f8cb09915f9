//! Builds the rewritten copy, and leaves out the mutants that do not compile.

use crate::copying::{SOURCES, write};
use crate::failure::{Failure, Outcome, While};
use crate::rewriting::{CALL, Mutant, rewrite};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How often the tests are built, each time without the mutants that did not compile the time
/// before. The compiler looks at types first, and at lifetimes only if the types are right.
const MOST_ROUNDS: usize = 20;

/// What the tests use is optimized. They themselves are not: all mutants of all files make a
/// package that takes long to build.
const PROFILE: &[&str] = &[
    "--config",
    "profile.dev.debug=false",
    "--config",
    "profile.dev.opt-level=1",
    "--config",
    "profile.dev.package.sio-proto.opt-level=0",
];

/// The two programs of tests.
pub(crate) struct Programs {
    pub(crate) unit: PathBuf,
    pub(crate) all: PathBuf,
}

/// Where everything is.
pub(crate) struct Places {
    pub(crate) repository: PathBuf,
    pub(crate) copy: PathBuf,
    /// Cargo's target folder for the copy.
    pub(crate) target: PathBuf,
}

/// Numbers the mutants of all files, and writes those of the chosen files into the copy. Returns
/// the mutants that were written.
fn rewrite_all(
    places: &Places,
    files: &[String],
    chosen: &BTreeSet<&String>,
    left_out: &BTreeSet<u32>,
) -> Outcome<Vec<Mutant>> {
    let (mut next, mut mutants) = (1, Vec::new());
    for file in files {
        let from = places.repository.join(SOURCES).join(file);
        let text = fs::read_to_string(&from).when(from.display())?;
        let rewritten = rewrite(file, &text, next, left_out).when(file)?;
        next = rewritten.next;
        if chosen.contains(file) {
            write(&places.copy.join(SOURCES).join(file), rewritten.text().as_bytes())?;
            mutants.extend(rewritten.mutants);
        }
    }
    Ok(mutants)
}

/// Rewrites the chosen files and builds the tests, until they compile. The mutants that do not are
/// added to `left_out`.
pub(crate) fn build(
    places: &Places,
    files: &[String],
    chosen: &[String],
    left_out: &mut BTreeSet<u32>,
) -> Outcome<(Vec<Mutant>, Programs)> {
    let chosen = chosen.iter().collect();
    for round in 1..=MOST_ROUNDS {
        let mutants = rewrite_all(places, files, &chosen, left_out)?;
        println!("building the tests with {} mutants, round {round}", mutants.len());
        let (is_good, messages) = messages(places)?;
        if is_good {
            return Ok((mutants, Programs::read(&messages)?));
        }
        let errors: Vec<&Value> = messages
            .iter()
            .map(|message| &message["message"])
            .filter(|message| message["level"] == "error")
            .collect();
        let before = left_out.len();
        left_out.extend(refused(places, &errors));
        if left_out.len() == before {
            let words = errors.iter().filter_map(|message| message["rendered"].as_str());
            return Err(Failure::new(format!(
                "the copy does not compile, and no mutant is the reason:\n{}",
                words.take(3).collect::<String>()
            )));
        }
    }
    Err(Failure::new(format!(
        "after {MOST_ROUNDS} rounds the copy still does not compile"
    )))
}

/// The mutants in which these errors are.
fn refused(places: &Places, errors: &[&Value]) -> BTreeSet<u32> {
    let mut texts = BTreeMap::new();
    let mutant = |error: &&Value| {
        spans(error).find_map(|(file, place)| {
            let text = texts
                .entry(file.to_owned())
                .or_insert_with(|| fs::read_to_string(places.copy.join(file)).unwrap_or_default());
            mutant_before(text, place)
        })
    };
    errors.iter().filter_map(mutant).collect()
}

/// Where an error is: names of files and places in them. What the compiler means first comes first.
fn spans(message: &Value) -> impl Iterator<Item = (&str, usize)> {
    let spans = message["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let primary = spans.iter().filter(|span| span["is_primary"] == true);
    let others = spans.iter().filter(|span| span["is_primary"] != true);
    primary.chain(others).filter_map(|span| {
        let place = usize::try_from(span["byte_start"].as_u64()?).ok()?;
        Some((span["file_name"].as_str()?, place))
    })
}

/// The last mutant that begins before this place of a rewritten file. The code of a mutant comes
/// directly after the question whether it is chosen, and has no other mutant in it.
fn mutant_before(text: &str, place: usize) -> Option<u32> {
    let before = text.get(..place)?;
    let number = &text[before.rfind(CALL)? + CALL.len()..];
    let digits = number.find(|character: char| !character.is_ascii_digit())?;
    number[..digits].parse().ok()
}

/// Builds the tests. Returns whether they compile, and Cargo's messages.
fn messages(places: &Places) -> Outcome<(bool, Vec<Value>)> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--quiet", "--no-run", "--lib", "--test", "all"]);
    command.args(["--package", "sio-proto", "--features", "cluster,msgpack,transcript"]);
    command.args(["--message-format", "json"]).args(PROFILE);
    command.current_dir(&places.copy);
    command.env("CARGO_TARGET_DIR", &places.target);
    // What is rewritten has many warnings, and none of them means anything.
    command.env("RUSTFLAGS", "--cap-lints=allow");
    command.env("CARGO_INCREMENTAL", "0");
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .when("cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    Ok((output.status.success(), messages.collect()))
}

impl Programs {
    /// Takes the programs from Cargo's messages.
    fn read(messages: &[Value]) -> Outcome<Self> {
        let program = |kind: &str| {
            let built = messages.iter().filter(|message| message["profile"]["test"] == true);
            let mut built = built.filter(|message| message["target"]["kind"][0] == kind);
            let path = built.find_map(|message| message["executable"].as_str());
            path.map(PathBuf::from)
                .ok_or_else(|| Failure::new(format!("cargo built no tests of the kind {kind}")))
        };
        Ok(Self {
            unit: program("lib")?,
            all: program("test")?,
        })
    }
}

impl Places {
    /// The repository is the folder around this package; everything else lies in this folder.
    pub(crate) fn new(target: &Path) -> Outcome<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let repository = here
            .parent()
            .ok_or_else(|| Failure::new("this package lies in no repository"))?;
        Ok(Self {
            repository: repository.to_owned(),
            copy: target.join("copy"),
            target: target.join("build"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_belongs_to_the_mutant_before_it() {
        let text = "if crate::mutant::m(12u32) { a } else { b }; if !crate::mutant::m(345u32) { c }";
        let at = |word: &str| mutant_before(text, text.find(word).unwrap());
        assert_eq!(at("a }"), Some(12));
        assert_eq!(at("b }"), Some(12));
        assert_eq!(at("c }"), Some(345));
        assert_eq!(mutant_before(text, 2), None);
        assert_eq!(mutant_before(text, 1000), None);
    }

    #[test]
    fn the_place_that_the_compiler_means_comes_first() {
        let message = json!({"spans": [
            {"is_primary": false, "byte_start": 1, "file_name": "a.rs"},
            {"is_primary": true, "byte_start": 2, "file_name": "b.rs"},
        ]});
        assert_eq!(spans(&message).collect::<Vec<_>>(), [("b.rs", 2), ("a.rs", 1)]);
        assert_eq!(spans(&json!({"spans": []})).next(), None);
    }

    #[test]
    fn the_programs_are_those_of_tests() {
        let built = |kind: &str, is_test: bool, path: &str| {
            let profile = json!({"test": is_test});
            json!({"target": {"kind": [kind]}, "profile": profile, "executable": path})
        };
        let messages = [
            built("lib", false, "a"),
            built("lib", true, "b"),
            built("test", true, "c"),
            json!({"success": true}),
        ];
        let programs = Programs::read(&messages).unwrap();
        assert_eq!((programs.unit, programs.all), (PathBuf::from("b"), PathBuf::from("c")));
        assert!(Programs::read(&messages[..2]).is_err());
    }
}
