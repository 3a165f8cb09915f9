//! `tidy`: checks of the tree for rules that no lint knows.
//!
//! | rule | what it forbids |
//! |---|---|
//! | paths | paths of somebody's machine, and hosts of package registries, in any text file |
//! | unfinished | placeholder macros, and notes to fix something later, in code |
//! | forbid | a library or program root without `#![forbid(unsafe_code)]`, a package without the workspace's lints |
//! | width | a line of a comment in Rust that has more than 100 characters and could be wrapped |
//! | length | a source file of more than 700 lines that is not listed below with a reason |
//! | purity | reads of the clock or of randomness outside of the modules that are made for them |
//! | panics | what [`decoding`] says |

use crate::decoding;
use crate::failure::{Failure, Outcome, While};
use crate::workspace::Workspace;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 700;

/// The most characters in a line of a comment.
const MAX_COMMENT: usize = 100;

/// Longer files that have a good reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// The beginnings of paths on a machine. They are written in halves, so that this file does not
/// break its own rule.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tm", "p/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];
const REGISTRIES: &[&str] = &[
    concat!("://regi", "stry."),
    concat!("://np", "m."),
    concat!("index.crat", "es.io"),
    concat!("static.crat", "es.io"),
];
const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "thread_rng",
    "rand::random",
    "rand::rng()",
    "OsRng",
    "getrandom::",
];

/// Names of modules and folders that may look at the clock or draw randomness. The examples, this
/// program and the one that runs mutants are the outside world. The others are the adapters'
/// modules for the clock and for randomness, and code that measures or tests.
const IMPURE_PLACES: &[&str] = &["clock", "entropy", "tests", "benches", "xtask", "mutants", "examples"];

const CODE: &[&str] = &["rs", "mjs", "js"];
const SOURCE: &[&str] = &["rs", "mjs", "js", "css", "html", "sh"];

pub(crate) fn run(tree: &Workspace) -> Outcome {
    let mut complaints = roots(tree)?;
    let files = tree.files()?;
    complaints.extend(decoding::complaints(tree, &files)?);
    for file in &files {
        let bytes = std::fs::read(tree.root.join(file)).when(file.display())?;
        // Files that are not text (pictures, corpora) have no rules here.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        complaints.extend(lines(file, &text));
        complaints.extend(length(file, &text));
    }
    let stale = LONG_FILES
        .iter()
        .filter(|(name, _)| !files.iter().any(|file| file == Path::new(name)));
    complaints.extend(stale.map(|(name, _)| format!("{name}: listed as a long file, but there is no such file")));
    if complaints.is_empty() {
        println!("{} files are tidy", files.len());
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}\n{} complaints",
        complaints.join("\n"),
        complaints.len()
    )))
}

/// The rules that look at one line at a time.
fn lines(file: &Path, text: &str) -> Vec<String> {
    let is_code = has_extension(file, CODE);
    let is_rust = has_extension(file, &["rs"]);
    let may_be_impure = !is_rust || is_impure_place(file);
    let mut in_tests = false;
    let mut next = text.lines().skip(1);
    let mut in_block = false;
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut complain =
            |words: &str, what: &str| complaints.push(format!("{}:{}: {words} `{what}`", file.display(), index + 1));
        // Unit tests are at the bottom of their file. A line that only names another file with unit
        // tests does not begin them.
        let follows = next.next().unwrap_or_default();
        in_tests |= line.trim() == "#[cfg(test)]" && !follows.trim_end().ends_with(';');
        if let Some(what) = MACHINE_PATHS.iter().find(|path| names_machine(line, path)) {
            complain("a path of some machine", what);
        }
        if let Some(what) = REGISTRIES.iter().find(|host| line.contains(**host)) {
            complain("a package registry's address", what);
        }
        if let Some(what) = UNFINISHED.iter().find(|word| is_code && line.contains(**word)) {
            complain("unfinished:", what);
        }
        let is_comment = line.trim_start().starts_with("//");
        in_block = is_comment && in_block != comment_of(line).starts_with("```");
        if is_rust && is_comment && !in_block && is_wide(line) {
            complain("a comment is wrapped at 100 characters:", comment_of(line));
        }
        if let Some(what) = IMPURE
            .iter()
            .find(|call| line.contains(**call))
            .filter(|_| !may_be_impure && !in_tests && !is_comment)
        {
            complain("only a module named `clock` or `entropy` may call", what);
        }
    }
    complaints
}

/// Returns the text of a comment.
fn comment_of(line: &str) -> &str {
    line.trim_start().trim_start_matches(['/', '!']).trim()
}

/// Whether a line of a comment is too long and could be wrapped. Tables, drawings and single words
/// cannot be wrapped.
fn is_wide(line: &str) -> bool {
    let comment = comment_of(line);
    let is_drawn =
        comment.starts_with('|') || comment.contains("--") || comment.chars().any(|c| ('─'..='◿').contains(&c));
    line.chars().count() > MAX_COMMENT && comment.contains(' ') && !is_drawn
}

/// Whether the line names a path with this beginning. The letters may also be the end of a longer
/// name; this does not count.
fn names_machine(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || "._-*}/:".contains(letter))
    })
}

fn length(file: &Path, text: &str) -> Option<String> {
    let lines = text.lines().count();
    let listed = LONG_FILES.iter().any(|(name, _)| file == Path::new(name));
    match (lines > MAX_LINES && has_extension(file, SOURCE), listed) {
        (true, false) => Some(format!(
            "{}: {lines} lines; more than {MAX_LINES} need a reason in tidy.rs",
            file.display()
        )),
        (false, true) => Some(format!(
            "{}: listed as a long file, but it has {lines} lines",
            file.display()
        )),
        _ => None,
    }
}

fn roots(tree: &Workspace) -> Outcome<Vec<String>> {
    let mut complaints = Vec::new();
    for package in &tree.packages {
        let manifest = read(&package.manifest)?;
        if !inherits_lints(&manifest) {
            complaints.push(format!("{}: `[lints] workspace = true` is missing", package.name));
        }
        for root in &package.roots {
            if !read(root)?.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]") {
                let shown = root.strip_prefix(&tree.root).unwrap_or(root).display();
                complaints.push(format!("{shown}: `#![forbid(unsafe_code)]` is missing"));
            }
        }
    }
    Ok(complaints)
}

fn inherits_lints(manifest: &str) -> bool {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[lints]")
        .nth(1)
        .is_some_and(|line| line.replace(' ', "") == "workspace=true")
}

fn read(path: &PathBuf) -> Outcome<String> {
    std::fs::read_to_string(path).when(path.display())
}

fn has_extension(file: &Path, list: &[&str]) -> bool {
    file.extension()
        .is_some_and(|extension| list.iter().any(|known| extension == *known))
}

fn is_impure_place(file: &Path) -> bool {
    let names = file.iter().chain(file.file_stem());
    names
        .into_iter()
        .any(|name| IMPURE_PLACES.iter().any(|place| name == *place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(file: &str, text: &str) -> usize {
        lines(Path::new(file), text).len()
    }

    #[test]
    fn paths_of_machines() {
        for path in MACHINE_PATHS {
            assert_eq!(complaints("README.md", &format!("see {path}x")), 1, "{path}");
            assert_eq!(complaints("README.md", &format!("\"{path}x\"")), 1, "{path}");
            assert_eq!(
                complaints("README.md", &format!("a{path}b, ${{target}}{path}, https://host{path}")),
                0,
                "{path}"
            );
        }
        for host in REGISTRIES {
            assert_eq!(complaints("x.json", &format!("https{host}")), 1, "{host}");
        }
    }

    #[test]
    fn unfinished_code() {
        for word in UNFINISHED {
            assert_eq!(complaints("src/lib.rs", word), 1);
            assert_eq!(complaints("README.md", word), 0);
        }
    }

    #[test]
    fn clocks_and_randomness() {
        let read = "let now = std::time::Instant::now();";
        for file in [
            "sio-proto/src/time.rs",
            "sio-tokio/src/server.rs",
            "sio-proto/src/clockwork.rs",
        ] {
            assert_eq!(complaints(file, read), 1, "{file}");
        }
        for file in [
            "sio-tokio/src/clock.rs",
            "a/src/entropy/os.rs",
            "a/tests/story.rs",
            "a/benches/b.rs",
            "examples/x.rs",
        ] {
            assert_eq!(complaints(file, read), 0, "{file}");
        }
        assert_eq!(complaints("sio-app/src/lib.rs", &format!("/// {read}")), 0);
        assert_eq!(
            complaints("sio-app/src/lib.rs", &format!("#[cfg(test)]\nmod tests {{\n{read}\n}}")),
            0
        );
        assert_eq!(
            complaints("sio-app/src/lib.rs", &format!("#[cfg(test)]\nmod tests;\n{read}\n")),
            1
        );
    }

    #[test]
    fn wide_comments() {
        let wide = format!("/// {}", "word ".repeat(20));
        let table = format!("//! | {} |", "word ".repeat(20));
        let code = format!("/// ```\n{wide}\n/// ```\n{wide}");
        for (text, count) in [
            (&*wide, 1),
            (&table, 0),
            (&code, 1),
            (&wide[..100], 0),
            (&format!("// {}", "x".repeat(120)), 0),
            (&format!("let x = 1; {wide}"), 0),
        ] {
            assert_eq!(complaints("a.rs", text), count, "{text}");
        }
        assert_eq!(complaints("a.md", &wide), 0);
    }

    #[test]
    fn long_files() {
        let file = Path::new("a/src/lib.rs");
        assert!(length(file, &"x\n".repeat(MAX_LINES)).is_none());
        assert!(length(file, &"x\n".repeat(MAX_LINES + 1)).is_some());
        assert!(length(Path::new("Cargo.lock"), &"x\n".repeat(MAX_LINES + 1)).is_none());
    }

    #[test]
    fn manifests() {
        assert!(inherits_lints("[package]\n\n[lints]\nworkspace = true\n"));
        assert!(!inherits_lints("[package]\nworkspace = true\n"));
    }
}
