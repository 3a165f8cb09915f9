//! Replays every file of every corpus, and what is in recorded traffic, through its target, on
//! stable Rust.

#[path = "../examples/seeds/recordings.rs"]
mod recordings;

use std::fs;
use std::path::{Path, PathBuf};

use sio_fuzz::TARGETS;

/// People read the seeds, and the seeds are kept for ever. So there are few of them, and they are
/// small.
const MAX_FILES: usize = 60;
const MAX_FILE_BYTES: u64 = 4096;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("a readable directory")
                .file_name()
                .into_string()
                .expect("a plain name")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn corpora_pass() {
    for (target, run) in TARGETS {
        let corpus = root().join("corpus").join(target);
        let files = names(&corpus);
        assert!(!files.is_empty(), "{target} has no seeds");
        for file in files {
            let data = fs::read(corpus.join(&file)).expect("a readable seed");
            replay(run, &data, || format!("corpus/{target}/{file}"));
        }
    }
}

/// Runs an input, and says which one it was if it fails.
fn replay(run: &fn(&[u8]), data: &[u8], name: impl Fn() -> String) {
    if let Err(cause) = std::panic::catch_unwind(|| run(data)) {
        eprintln!("seed {}", name());
        std::panic::resume_unwind(cause);
    }
}

#[test]
fn recordings_pass() {
    let (inputs, _) = recordings::read().expect("recordings that can be read");
    for (target, inputs) in &inputs {
        let (_, run) = TARGETS
            .iter()
            .find(|(name, _)| name == target)
            .unwrap_or_else(|| panic!("{target} is no target"));
        for input in inputs {
            replay(run, input, || format!("{target} {}", input.escape_ascii()));
        }
    }
}

/// A fuzzer that writes into the corpus directories leaves thousands of files there, which are not
/// seeds. Set `FUZZ_CORPUS_IS_MINE` while such a fuzzer runs.
#[test]
fn corpora_are_small() {
    if std::env::var_os("FUZZ_CORPUS_IS_MINE").is_some() {
        return;
    }
    for (target, _) in TARGETS {
        let corpus = root().join("corpus").join(target);
        let files = names(&corpus);
        assert!(files.len() <= MAX_FILES, "{target} has {} seeds", files.len());
        for file in files {
            let bytes = fs::metadata(corpus.join(&file)).expect("a readable seed").len();
            assert!(bytes <= MAX_FILE_BYTES, "corpus/{target}/{file} has {bytes} bytes");
        }
    }
}

#[test]
fn every_target_is_wired_up() {
    let ours: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let binaries: Vec<String> = ours.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&root().join("fuzz_targets")), binaries);
    assert_eq!(names(&root().join("corpus")), ours);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    for name in ours {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\n")),
            "{name} has no [[bin]]"
        );
    }
}

/// A fuzzer stops at the first line of a dictionary that it cannot read.
#[test]
fn dictionaries_can_be_read() {
    let mut named = Vec::new();
    for file in names(&root().join("dictionaries")) {
        let text = fs::read_to_string(root().join("dictionaries").join(&file)).expect("a readable dictionary");
        let (head, words) = text.split_once('\n').expect("a line that names targets");
        named.extend(head.split('`').skip(1).step_by(2).map(str::to_owned));
        for line in words.lines() {
            let word = line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            assert!(word.is_some_and(is_word), "{file}: {line}");
        }
    }
    for name in named {
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name} is no target");
    }
}

/// Whether a word has at least one byte, and only the escapes that libFuzzer knows.
fn is_word(word: &str) -> bool {
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = match first {
            '\\' => match after.as_bytes() {
                [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => &after[3..],
                [b'\\' | b'"', ..] => &after[1..],
                _ => return false,
            },
            ' '..='~' if first != '"' => after,
            _ => return false,
        };
    }
    !word.is_empty()
}
