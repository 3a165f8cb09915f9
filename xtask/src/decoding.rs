//! The decoding rooms of `sio-proto`, a part of `tidy`: the modules that read what peers send. No
//! byte of a peer may make them panic.
//!
//! | rule | what it forbids |
//! |---|---|
//! | line | a decoding room without the line that denies the lints against panics |
//! | exceptions | `allow` or `warn` for one of these lints inside a room, `expect` for a whole module or without a reason, and all of them for a group of lints |
//! | map | a list in `ARCHITECTURE.md` that names other rooms than the list below |
//!
//! The lints do not know every function that panics, for example `split_at`. The fuzz targets look
//! for the rest.

use crate::failure::{Outcome, While};
use crate::workspace::Workspace;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules of `sio-proto` that read what peers send, with everything below them. `cargo xtask
/// coverage` counts the same.
pub(crate) const ROOMS: &[&str] = &[
    "broker/abandoned",
    "broker/answers",
    "broker/cluster",
    "broker/greeting",
    "broker/reading",
    "broker/replies",
    "broker/topology",
    "client/cookie_date",
    "client/cookies",
    "client/endpoint",
    "client/line",
    "client/proxy",
    "client/session",
    "client/welcome",
    "cluster/messages",
    "cluster/node/reading",
    "cluster/relay/message",
    "cluster/relay/request",
    "cluster/seal",
    "codec",
    "conn",
    "detect",
    "digits",
    "engine",
    "frame",
    "hosts",
    "http",
    "id",
    "json",
    "legacy",
    "origins",
    "percent",
    "request",
    "resp",
    "socket",
    "websocket",
    "wire",
];

/// The lints that a room denies at its head, outside of tests.
const LINTS: &[&str] = &[
    "clippy::arithmetic_side_effects",
    "clippy::expect_used",
    "clippy::indexing_slicing",
    "clippy::panic",
    "clippy::string_slice",
    "clippy::unreachable",
    "clippy::unwrap_used",
];

/// The groups of lints that no attribute in a room may lift.
const GROUPS: &[&str] = &["clippy::all", "clippy::restriction"];

const SOURCES: &str = "sio-proto/src";
const MAP: &str = "ARCHITECTURE.md";

/// The heading of the list of rooms in [`MAP`].
const HEADING: &str = "### Rooms that must not panic";

pub(crate) fn complaints(tree: &Workspace, files: &[PathBuf]) -> Outcome<Vec<String>> {
    let map = read(tree, Path::new(MAP))?;
    let mut complaints: Vec<String> = map_complaint(&map).into_iter().collect();
    for room in ROOMS {
        let folder = Path::new(SOURCES).join(room);
        let (head, alone) = (folder.join("mod.rs"), folder.with_extension("rs"));
        let is_in_room = |file: &&PathBuf| file.starts_with(&folder) || **file == alone;
        let mut has_line = false;
        for file in files.iter().filter(is_in_room) {
            let text = read(tree, file)?;
            has_line |= (*file == head || *file == alone) && denies_lints(&text);
            complaints.extend(exceptions(&text).map(|lint| format!("{}: {lint}", file.display())));
        }
        if !has_line {
            complaints.push(format!(
                "{room}: a decoding room begins with `#![cfg_attr(not(test), deny({}))]`",
                LINTS.join(", ")
            ));
        }
    }
    Ok(complaints)
}

fn read(tree: &Workspace, file: &Path) -> Outcome<String> {
    std::fs::read_to_string(tree.root.join(file)).when(file.display())
}

/// Whether a file denies all lints for its whole module.
fn denies_lints(text: &str) -> bool {
    let head: String = text
        .lines()
        .skip_while(|line| line.starts_with("//!"))
        .take_while(|line| !line.trim().is_empty())
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
        .collect();
    head.contains(&format!("#![cfg_attr(not(test),deny({}))]", LINTS.join(",")))
}

/// Says what is wrong with the attributes of a file that lift one of the lints.
fn exceptions(text: &str) -> impl Iterator<Item = String> {
    let starts = text.match_indices('#').map(|(start, _)| start);
    starts.filter_map(|start| {
        let rest = text.get(start..)?;
        let is_attribute = rest.starts_with("#[") || rest.starts_with("#![");
        exception(&is_attribute.then(|| attribute(rest))?)
    })
}

/// The attribute that a text begins with, up to the bracket that ends it, without the texts in it.
fn attribute(text: &str) -> String {
    let (mut found, mut depth, mut in_text, mut is_escaped) = (String::new(), 0, false, false);
    for c in text.chars() {
        if in_text {
            in_text = c != '"' || is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            continue;
        }
        found.push(c);
        match c {
            '"' => in_text = true,
            '[' => depth += 1,
            ']' if depth == 1 => break,
            ']' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// Says what is wrong with an attribute, if it lifts one of the lints.
fn exception(attribute: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words: Vec<&str> = attribute.split(|c| !is_part(c)).collect();
    let names = |all: &[&'static str]| all.iter().copied().find(|lint| words.contains(lint));
    if !["allow", "expect", "warn"].iter().any(|level| words.contains(level)) {
        return None;
    }
    if let Some(group) = names(GROUPS) {
        return Some(format!("`{group}` may not be lifted here: name one lint"));
    }
    let lint = names(LINTS)?;
    if !attribute.starts_with("#[expect(") {
        return Some(format!(
            "`{lint}` may be expected here for one item, with a reason, and not allowed"
        ));
    }
    (!words.contains(&"reason")).then(|| format!("`{lint}` is expected without a reason"))
}

/// Compares the list of the map with [`ROOMS`].
fn map_complaint(map: &str) -> Option<String> {
    let listed: BTreeSet<&str> = map
        .lines()
        .skip_while(|line| *line != HEADING)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with("- "))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    let rooms: BTreeSet<&str> = ROOMS.iter().copied().collect();
    let differences: Vec<&str> = listed.symmetric_difference(&rooms).copied().collect();
    (!differences.is_empty()).then(|| {
        format!(
            "{MAP}: `{HEADING}` and decoding.rs differ in: {}",
            differences.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_to_deny_every_lint() {
        let line = format!("#![cfg_attr(not(test), deny({}))]", LINTS.join(", "));
        assert!(denies_lints(&format!("//! A room.\n{line}\n\nmod a;\n")));
        assert!(denies_lints(&format!(
            "//! A room.\n{}\n\nmod a;\n",
            line.replace(", ", ",\n    ")
        )));
        assert!(!denies_lints("//! A room.\n\nmod a;\n"));
        // In a comment, behind an item, or with one lint less, the line holds nothing.
        assert!(!denies_lints(&format!("//! {line}\n\nmod a;\n")));
        assert!(!denies_lints(&format!("//! A room.\n\nmod a {{\n{line}\n}}\n")));
        for lint in LINTS {
            let less = line.replace(lint, "clippy::todo");
            assert!(!denies_lints(&format!("//! A room.\n{less}\n\nmod a;\n")), "{lint}");
        }
    }

    #[test]
    fn an_exception_needs_a_reason() {
        let complaints = |text: &str| exceptions(text).count();
        assert_eq!(
            complaints("#[expect(clippy::panic, reason = \"proof\")]\nfn f() {}\n"),
            0
        );
        assert_eq!(complaints("#[expect(clippy::panic)]\nfn f() {}\n"), 1);
        assert_eq!(
            complaints("#[allow(clippy::panic, reason = \"proof\")]\nfn f() {}\n"),
            1
        );
        assert_eq!(complaints("#[allow(clippy::todo)]\nfn f() {}\n"), 0);
        assert_eq!(
            complaints("#[expect(\n    clippy::panic,\n    clippy::indexing_slicing\n)]\nfn f() {}\n"),
            1
        );
        // For a whole module, under a condition, as a warning, or as a part of a group.
        for text in [
            "#![allow(clippy::panic)]\n",
            "#![expect(clippy::panic, reason = \"proof\")]\n",
            "#[cfg_attr(unix, allow(clippy::panic))]\nfn f() {}\n",
            "#[warn(clippy::panic)]\nfn f() {}\n",
            "#[allow(clippy::restriction)]\nfn f() {}\n",
            "#[expect(clippy::all, reason = \"proof\")]\nfn f() {}\n",
            // The attribute ends before the code in its line, and a text in it may have brackets.
            "#[allow(clippy::panic)] fn f() {}",
            "#[expect(clippy::panic)] fn f() { g(reason = 1) }\n",
            "#[expect(clippy::todo, reason = \"a]\\\"b\", clippy::panic, )]\n",
        ] {
            let expected = usize::from(!text.contains("todo"));
            assert_eq!(complaints(text), expected, "{text}");
        }
        let line = format!("#![cfg_attr(not(test), deny({}))]\n", LINTS.join(", "));
        assert_eq!(complaints(&line), 0);
        assert_eq!(
            complaints("#[allow(clippy::panic_in_result_fn, clippy::allow_attributes)]\n"),
            0
        );
        let brackets = "#[doc = \"a]\\\"]\"] #[allow(clippy::panic)]\n";
        assert_eq!(attribute(brackets), "#[doc = \"]");
        assert_eq!(complaints(brackets), 1);
    }

    #[test]
    fn the_map_names_all_rooms() {
        let rooms: Vec<String> = ROOMS.iter().map(|room| format!("`{room}`")).collect();
        let map = |rooms: &[String]| {
            format!(
                "# Map\n\n{HEADING}\n\n`text`\n\n- {}\n\n## Next\n\n- `x`\n",
                rooms.join(" ")
            )
        };
        assert_eq!(map_complaint(&map(&rooms)), None);
        assert!(map_complaint(&map(&rooms[1..])).unwrap().contains(ROOMS[0]));
        assert!(map_complaint("# Map\n").is_some());
    }
}
