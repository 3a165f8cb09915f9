//! `hardening`: every promise of `docs/hardening.md`, `docs/guarantees.md`, `docs/recovery.md` and
//! `docs/client.md` names a test that exists and runs. A row of the last two pages is also named by
//! one of its tests, in the comment above the test: `/// Recovery R7, F16: …`, `/// Client C4: …`.
//!
//! ```text
//! ### A2 Pings that are not read cost nothing          a row: its number, and what is promised
//!
//! Held by:
//!
//! - `sio-proto/tests/heartbeat.rs::blind`              a test: file, `::`, function
//! - `interop/acks.test.mjs::no answer`                 or the name of a test with genuine clients
//! - `xtask hostile unread-pings`                       or a case of `cargo xtask hostile`
//! - `xtask hostile frames/rsv2`                        or a row of its table
//! ```
//!
//! The list after `Held by:` ends where the next heading begins. Each case of `cargo xtask hostile`
//! is in the list of the row that it tries.
//!
//! The advisories that `docs/protocol` names are checked too: see [`advisories`].

mod advisories;

use crate::failure::{Failure, Outcome, While};
use crate::hostile;
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The pages, and the letters of their rows.
const LISTS: [(&str, &[char]); 4] = [
    (HARDENING, &['A', 'B', 'C', 'D']),
    ("docs/guarantees.md", &['G']),
    (RECOVERY, &['F', 'R']),
    (CLIENT, &['C']),
];

const HARDENING: &str = "docs/hardening.md";
const RECOVERY: &str = "docs/recovery.md";
const CLIENT: &str = "docs/client.md";

/// The pages whose rows are named by their tests.
const NAMED: [&str; 2] = [RECOVERY, CLIENT];

/// How the attribute of a test begins.
const TESTS: [&str; 3] = ["#[test]", "#[tokio::test", "#[async_std::test"];

/// Why a test is ignored that `.ci/run` runs nevertheless.
const NEEDS_REDIS: &str = "needs redis-server";

/// A promise, and the names of the tests that hold it.
#[derive(Debug, PartialEq)]
struct Row {
    line: usize,
    number: String,
    /// The names in backticks after `Held by:`, or `None` if there is no such line.
    holders: Option<Vec<String>>,
}

pub(crate) fn run(tree: &Workspace) -> Outcome {
    let mut sources = Sources::new(&tree.root);
    let (mut complaints, mut count) = (Vec::new(), 0);
    for (list, letters) in LISTS {
        let text = fs::read_to_string(tree.root.join(list)).when(list)?;
        let rows = rows(&text, letters);
        let mut seen = BTreeMap::new();
        for row in &rows {
            let place = format!("{list}:{}: {}", row.line, row.number);
            if let Some(before) = seen.insert(&row.number, row.line) {
                complaints.push(format!("{place} stands in line {before}, too"));
            }
            let found = complaints_about(row, &mut sources);
            complaints.extend(found.into_iter().map(|words| format!("{place} {words}")));
            if NAMED.contains(&list) && !is_named(row, &mut sources) {
                complaints.push(format!("{place} is named by none of its tests"));
            }
        }
        if rows.is_empty() {
            complaints.push(format!(
                "{list}: no row begins with `### {}1`, or a number like it",
                letters[0]
            ));
        }
        count += rows.len();
    }
    let text = fs::read_to_string(tree.root.join(HARDENING)).when(HARDENING)?;
    complaints.extend(cases_without_row(&rows(&text, &['A']), hostile::cases()));
    let (found, known) = advisories::complaints(tree, &mut sources)?;
    complaints.extend(found);
    if complaints.is_empty() {
        println!("{count} rows are held by tests that exist, and {known} advisories have a test or a reason");
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}\n{} complaints; after `Held by:` belongs `file::function` of a test, or `xtask hostile CASE`, in backticks",
        complaints.join("\n"),
        complaints.len()
    )))
}

/// Returns what is wrong with cases that the row which they try does not name.
fn cases_without_row<'a>(rows: &[Row], cases: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let is_named = |number: &str, case: &str| {
        let holder = format!("xtask hostile {case}");
        let mut named = rows.iter().filter(|row| row.number == number);
        named.any(|row| row.holders.iter().flatten().any(|known| *known == holder))
    };
    cases
        .filter(|(number, case)| !is_named(number, case))
        .map(|(number, case)| format!("{HARDENING}: {number} does not name `xtask hostile {case}`"))
        .collect()
}

fn rows(text: &str, letters: &[char]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut is_in_row = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            let number = line.strip_prefix("### ").and_then(|heading| number(heading, letters));
            is_in_row = number.is_some();
            rows.extend(number.map(|number| Row {
                line: index + 1,
                number: number.to_owned(),
                holders: None,
            }));
            continue;
        }
        let Some(row) = rows.last_mut().filter(|_| is_in_row) else {
            continue;
        };
        if let Some(names) = line.strip_prefix("Held by:") {
            row.holders.get_or_insert_default().extend(names_in(names));
        } else if let Some(holders) = &mut row.holders {
            holders.extend(names_in(line));
        }
    }
    rows
}

/// Returns the number at the beginning of a heading: the letter of a part, and digits.
fn number<'a>(heading: &'a str, letters: &[char]) -> Option<&'a str> {
    let word = heading.split_whitespace().next()?;
    let digits = word.strip_prefix(letters)?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(word)
}

/// Returns the names in backticks.
fn names_in(line: &str) -> impl Iterator<Item = String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned)
}

fn complaints_about(row: &Row, sources: &mut Sources<'_>) -> Vec<String> {
    match row.holders.as_deref() {
        None => vec!["has no line `Held by:`".to_owned()],
        Some([]) => vec!["is held by no test".to_owned()],
        Some(holders) => holders
            .iter()
            .filter_map(|holder| complaint_about(holder, sources).map(|words| format!("names `{holder}`, {words}")))
            .collect(),
    }
}

/// Whether the comment of one of its tests has the number of the row.
fn is_named(row: &Row, sources: &mut Sources<'_>) -> bool {
    let holders = row.holders.iter().flatten();
    let mut tests = holders.filter_map(|holder| holder.split_once("::"));
    tests.any(|(file, function)| {
        let source = sources.read(file).unwrap_or_default();
        comment_of(source, function).any(|line| {
            let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
            line.starts_with("///") && words.any(|word| word == row.number)
        })
    })
}

/// Returns the lines directly above a function, up to an empty line.
fn comment_of<'a>(source: &'a str, function: &str) -> impl Iterator<Item = &'a str> {
    let opening = format!("fn {function}(");
    let above = source
        .find(&opening)
        .and_then(|at| source.get(..at))
        .unwrap_or_default();
    let lines = above.rsplit('\n').skip(1).map(str::trim);
    lines.take_while(|line| !line.is_empty())
}

fn complaint_about(holder: &str, sources: &mut Sources<'_>) -> Option<String> {
    if let Some(case) = holder.strip_prefix("xtask hostile ") {
        return (!hostile::is_case(case)).then(|| "and `cargo xtask hostile --list` has no such case".to_owned());
    }
    let Some((file, function)) = holder.split_once("::") else {
        return Some("which is neither `file::function` nor `xtask hostile CASE`".to_owned());
    };
    // A test with genuine clients has words for its name.
    if file.ends_with(".test.mjs") {
        return match sources.read(file) {
            None => Some(format!("and there is no file {file}")),
            Some(source) if names(source, function) => None,
            Some(_) => Some(format!("and {file} has no test of this name")),
        };
    }
    // The test may be in a module of its file. The last name is the function.
    let function = function.rsplit("::").next().unwrap_or(function);
    match sources.read(file) {
        None => Some(format!("and there is no file {file}")),
        Some(source) if !declares(source, function) => Some(format!("and {file} has no `fn {function}`")),
        Some(source) if !runs(source, function) => Some(format!("and `fn {function}` in {file} is no test that runs")),
        Some(_) => None,
    }
}

/// Whether a test has this name, in quotes or in a template.
fn names(source: &str, test: &str) -> bool {
    ['\'', '`']
        .iter()
        .any(|quote| source.contains(&format!("test({quote}{test}{quote},")))
}

fn declares(source: &str, function: &str) -> bool {
    let opening = format!("fn {function}");
    source.match_indices(&opening).any(|(start, _)| {
        let rest = &source[start + opening.len()..];
        rest.starts_with(['(', '<'])
    })
}

/// Whether a function is a test, and not one that nobody runs. Those that need a Redis are run by
/// `.ci/run`.
fn runs(source: &str, function: &str) -> bool {
    let above: Vec<&str> = comment_of(source, function).collect();
    let is_test = |line: &&str| TESTS.iter().any(|test| line.starts_with(test));
    let is_left_out = |line: &&str| line.starts_with("#[") && line.contains("ignore") && !line.contains(NEEDS_REDIS);
    above.iter().any(is_test) && !above.iter().any(is_left_out)
}

/// Files of the tree, each read once.
struct Sources<'a> {
    root: &'a Path,
    read: BTreeMap<String, Option<String>>,
}

impl<'a> Sources<'a> {
    const fn new(root: &'a Path) -> Self {
        Self {
            root,
            read: BTreeMap::new(),
        }
    }

    fn read(&mut self, file: &str) -> Option<&str> {
        let root = self.root;
        self.read
            .entry(file.to_owned())
            .or_insert_with(|| fs::read_to_string(root.join(file)).ok())
            .as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbered_headings_and_lists_may_wrap() {
        let text = "# Title\n\n### Not a row\n\nHeld by: `x`\n\n### A1 First `word`\n\nText.\n\nHeld by:\n\n- `a.rs::one`\n\
                    - `a.rs::two`\n\n### A2 Second\n\nHeld by:\n\n## B. Other\n\n`none`\n\n### B17 Third\n";
        let found: Vec<_> = rows(text, &['A', 'B', 'C', 'D'])
            .into_iter()
            .map(|row| (row.number, row.line, row.holders))
            .collect();
        assert_eq!(
            found,
            [
                (
                    "A1".to_owned(),
                    7,
                    Some(vec!["a.rs::one".to_owned(), "a.rs::two".to_owned()])
                ),
                ("A2".to_owned(), 16, Some(vec![])),
                ("B17".to_owned(), 24, None),
            ]
        );
    }

    #[test]
    fn a_case_is_named_by_the_row_that_it_tries() {
        let rows = rows("### A1 First\n\nHeld by:\n\n- `xtask hostile one`\n", &['A']);
        let complaints = |number, case| cases_without_row(&rows, [(number, case)].into_iter()).len();
        assert_eq!(complaints("A1", "one"), 0);
        assert_eq!(complaints("A1", "two"), 1);
        assert_eq!(complaints("A2", "one"), 1);
    }

    #[test]
    fn what_holds_a_row_runs() {
        let source = "/// A1: words.\n#[test]\nfn one() {}\n\n    #[ignore = \"needs redis-server\"]\n    #[test]\n    fn two() {}\n\n\
                      #[test]\n#[ignore]\nfn three() {}\n\nfn four() {}\n\n\
                      #[test]\n#[cfg_attr(unix, ignore)]\nfn five() {}\n";
        let found = ["one", "two", "three", "four", "five", "six"].map(|function| runs(source, function));
        assert_eq!(found, [true, true, false, false, false, false]);
    }

    #[test]
    fn what_holds_a_row_has_to_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = Sources::new(root);
        let mut complaint = |holder: &str| complaint_about(holder, &mut sources);
        assert_eq!(complaint("src/hardening.rs::what_holds_a_row_has_to_exist"), None);
        assert_eq!(
            complaint("src/hardening.rs::tests::what_holds_a_row_has_to_exist"),
            None
        );
        // A longer name with the same beginning is another function.
        assert!(
            complaint("src/hardening.rs::what_holds")
                .unwrap()
                .contains("has no `fn")
        );
        assert!(
            complaint("src/hardening.rs::complaint_about")
                .unwrap()
                .contains("is no test")
        );
        assert!(complaint("src/nowhere.rs::test").unwrap().contains("no file"));
        assert!(complaint("a test").unwrap().contains("neither"));
        assert!(complaint("xtask hostile kindness").unwrap().contains("no such case"));
        assert_eq!(complaint("xtask hostile unread-pings"), None);
        let mut sources = Sources::new(root.parent().unwrap());
        let mut complaint = |holder: &str| complaint_about(holder, &mut sources);
        assert_eq!(complaint("interop/acks.test.mjs::no answer where none was asked"), None);
        assert!(
            complaint("interop/acks.test.mjs::no answer")
                .unwrap()
                .contains("no test of this name")
        );
    }
}
