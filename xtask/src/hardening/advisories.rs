//! Every advisory that a page of `docs/protocol` names has a line in the table of
//! `docs/hardening.md`, and is an attack there, or has a reason why it is none:
//!
//! ```text
//! | CVE-2022-21676 | a reserved bit ends the process | `xtask hostile frames/rsv2` |
//! | CVE-2026-45736 | a method of JavaScript          | Does not apply: there is no such method |
//! ```
//!
//! An attack has to name the advisory in its own table, and each advisory of an attack has a line.
//!
//! A line of a table in `docs/protocol` that says that a server crashed or leaked, and has no id,
//! has a line in the table of faults without one. Its first cell is that of the page.

use super::{Sources, complaint_about, names_in};
use crate::failure::{Failure, Outcome, While};
use crate::hostile;
use crate::workspace::Workspace;
use std::collections::BTreeSet;
use std::fs;

const LIST: &str = "docs/hardening.md";
const NAMED_IN: &str = "docs/protocol";
const REASON: &str = "Does not apply: ";

/// Returns what is wrong, and how many advisories are known.
pub(super) fn complaints(tree: &Workspace, sources: &mut Sources<'_>) -> Outcome<(Vec<String>, usize)> {
    let (mut wanted, mut nameless) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(tree.root.join(NAMED_IN)).when(NAMED_IN)? {
        let path = entry.when(NAMED_IN)?.path();
        let text = fs::read_to_string(&path).when(path.display())?;
        wanted.extend(ids_in(&text).map(str::to_owned));
        nameless.extend(nameless_in(&text).map(str::to_owned));
    }
    if wanted.is_empty() || nameless.is_empty() {
        return Err(Failure::new(format!("no page of {NAMED_IN} names an advisory")));
    }
    let played: Vec<(&str, String)> = hostile::advisories().collect();
    wanted.extend(played.iter().map(|(id, _)| (*id).to_owned()));
    let list = fs::read_to_string(tree.root.join(LIST)).when(LIST)?;
    let mut complaints = Vec::new();
    for id in &wanted {
        let found = complaint(id, &list, &played, sources);
        complaints.extend(found.map(|words| format!("{LIST}: {id} {words}")));
    }
    for fault in &nameless {
        let found = complaint(fault, &list, &[], sources);
        complaints.extend(found.map(|words| format!("{LIST}: {fault} {words}")));
    }
    Ok((complaints, wanted.len() + nameless.len()))
}

/// Returns the first cells of the lines of tables that tell a crash or a leak, and name no
/// advisory.
fn nameless_in(text: &str) -> impl Iterator<Item = &str> {
    let tells = |line: &&str| ["crash", "leaked"].iter().any(|word| line.contains(word));
    let lines = text.lines().filter(|line| line.starts_with('|')).filter(tells);
    lines
        .filter(|line| ids_in(line).next().is_none())
        .filter_map(|line| line.split('|').nth(1).map(str::trim))
}

/// Returns what is wrong with the line of an advisory.
fn complaint(id: &str, list: &str, played: &[(&str, String)], sources: &mut Sources<'_>) -> Option<String> {
    let is_line = |line: &&str| line.starts_with('|') && line.split('|').nth(1).is_some_and(|cell| cell.trim() == id);
    let Some(line) = list.lines().find(is_line) else {
        return Some("has no line in the table of advisories".to_owned());
    };
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, _, _, held, ""] = cells[..] else {
        return Some("has a line that has not three cells".to_owned());
    };
    if held.strip_prefix(REASON).is_some_and(|reason| !reason.is_empty()) {
        let played = played.iter().find(|(known, _)| *known == id);
        return played.map(|(_, case)| format!("does not apply, but `xtask hostile {case}` plays it"));
    }
    let holders: Vec<String> = names_in(held).collect();
    if holders.is_empty() {
        return Some(format!("has neither a test nor `{REASON}` and a reason"));
    }
    let wrong = holders.iter().find_map(|holder| {
        let found = complaint_about(holder, sources);
        found.or_else(|| {
            let case = holder.strip_prefix("xtask hostile ")?;
            // What has no id is named by no attack.
            let has_id = ids_in(id).next().is_some();
            let is_named = played.iter().any(|(known, name)| *known == id && name == case);
            (has_id && !is_named).then(|| "which does not name the advisory".to_owned())
        })
    });
    if let Some(words) = wrong {
        return Some(format!("names `{}`, {words}", holders.join("`, `")));
    }
    let is_missing =
        |(known, case): &&(&str, String)| *known == id && !holders.contains(&format!("xtask hostile {case}"));
    let missing = played.iter().find(is_missing);
    missing.map(|(_, case)| format!("does not name `xtask hostile {case}`, which plays it"))
}

/// Returns the ids of advisories in a text.
fn ids_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
    words.map(|word| word.trim_end_matches("-style")).filter(|word| {
        let parts: Vec<&str> = word.split('-').collect();
        match parts[..] {
            ["CVE", year, number] => is_number(year) && is_number(number),
            ["GHSA", first, second, third] => [first, second, third].iter().all(|part| part.len() == 4),
            _ => false,
        }
    })
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn ids_are_found_in_tables_and_sentences() {
        let text =
            "| x (CVE-2022-21676, y) | CVE-2023-31125 / GHSA-q9mw-68c2-j6m5 |, CVE-2020-36049-style, CVE-relevant";
        let found: Vec<&str> = ids_in(text).collect();
        assert_eq!(
            found,
            [
                "CVE-2022-21676",
                "CVE-2023-31125",
                "GHSA-q9mw-68c2-j6m5",
                "CVE-2020-36049"
            ]
        );
    }

    #[test]
    fn a_crash_without_an_id_is_named_by_its_cell() {
        let text = "| `x` | y |\n| never completed (6.6.8) | leaked reader |\n| one CVE-2022-21676 | crash |\n\
                    | `2[]` | close | **crash** |\nit crashed";
        let found: Vec<&str> = nameless_in(text).collect();
        assert_eq!(found, ["never completed (6.6.8)", "`2[]`"]);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = Sources::new(root);
        let mut judge = |held: &str| complaint("`2[]`", &format!("| `2[]` | x | {held} |"), &[], &mut sources);
        assert_eq!(judge("`xtask hostile packets/event-empty`"), None);
        assert!(judge("`xtask hostile packets/none`").is_some());
        assert!(judge("nothing").is_some());
        assert!(complaint("`3[]`", "| `2[]` | x | Does not apply: y |", &[], &mut sources).is_some());
    }

    #[test]
    fn an_advisory_has_an_attack_that_names_it_or_a_reason() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut sources = Sources::new(root);
        let played = [("CVE-1-1", "frames/rsv2".to_owned())];
        let mut judge = |id: &str, held: &str| complaint(id, &format!("| {id} | x | {held} |"), &played, &mut sources);
        assert_eq!(judge("CVE-1-1", "`xtask hostile frames/rsv2`"), None);
        assert_eq!(judge("CVE-1-2", "Does not apply: nobody has it"), None);
        let wrong = [
            ("CVE-1-1", "Does not apply: it does", "plays it"),
            ("CVE-1-2", "Does not apply: ", "neither"),
            ("CVE-1-2", "nothing", "neither"),
            ("CVE-1-2", "`xtask hostile frames/rsv2`", "does not name the advisory"),
            ("CVE-1-2", "`xtask hostile frames/rsv9`", "no such case"),
            ("CVE-1-1", "`src/hardening.rs::what_holds_a_row_runs`", "which plays it"),
            ("CVE-1-1", "a | b", "three cells"),
        ];
        for (id, held, words) in wrong {
            let found = judge(id, held).unwrap_or_default();
            assert!(found.contains(words), "{id} {held}: {found}");
        }
        assert!(complaint("CVE-1-3", "CVE-1-3", &played, &mut Sources::new(root)).is_some());
    }
}
