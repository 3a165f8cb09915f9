//! The core's dependency allow-list: `docs/dependencies.txt` against `cargo tree`, without features and with each of them.
//!
//! The list is compared whole, both ways, so that what is allowed is also what is there. Versions are the lockfile's
//! business; here only names count.

use crate::failure::{Failure, Outcome, While};
use crate::programs::{cargo, output};
use crate::workspace::Workspace;
use std::collections::BTreeSet;
use std::fmt::Write;

const LIST: &str = "docs/dependencies.txt";

/// What a line begins with behind which stands what a feature adds.
const FEATURE: &str = "# Feature ";

pub(crate) fn run(tree: &Workspace) -> Outcome {
    let list = std::fs::read_to_string(tree.root.join(LIST)).when(format_args!("reading {LIST}"))?;
    let mut differences = String::new();
    let core = depended_on(tree, None)?;
    for (feature, allowed) in sections(&list) {
        let actual = match feature {
            None => core.clone(),
            Some(_) => &depended_on(tree, feature)? - &core,
        };
        let difference = difference(&allowed.iter().map(|name| (*name).to_owned()).collect(), &actual);
        match (feature, difference.is_empty()) {
            (None, true) => println!("sio-proto depends on {} crates, all of them in {LIST}", actual.len()),
            (Some(feature), true) => println!("its feature {feature} adds {}", actual.len()),
            (None, false) => differences += &difference,
            (Some(feature), false) => differences += &format!("  with the feature {feature}:\n{difference}"),
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{LIST} and `cargo tree -p sio-proto -e normal` differ (- listed but gone, + there but not listed):\n{differences}\
         A new dependency of the core is a decision: say why in the commit that adds it to the list."
    )))
}

/// The crates that the core needs, with this feature.
fn depended_on(tree: &Workspace, feature: Option<&str>) -> Outcome<BTreeSet<String>> {
    let arguments = [
        "tree",
        "-p",
        "sio-proto",
        "-e",
        "normal",
        "--prefix",
        "none",
        "--target",
        "all",
    ];
    let text = output(
        cargo(&tree.root)
            .args(arguments)
            .args(feature.map(|name| format!("--features={name}"))),
    )?;
    let found = names(&text).filter(|name| *name != "sio-proto");
    Ok(found.map(str::to_owned).collect())
}

/// The names in the list: first those of the core, then those that features add.
fn sections(list: &str) -> Vec<(Option<&str>, BTreeSet<&str>)> {
    let mut sections = vec![(None, BTreeSet::new())];
    for line in list.lines() {
        if let Some(feature) = line.strip_prefix(FEATURE) {
            sections.push((Some(feature.trim()), BTreeSet::new()));
        } else if let Some((_, section)) = sections.last_mut() {
            section.extend(names(line));
        }
    }
    sections
}

/// The first word of each line that is no comment.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
}

fn difference(allowed: &BTreeSet<String>, actual: &BTreeSet<String>) -> String {
    let mut text = String::new();
    for name in allowed.symmetric_difference(actual) {
        let sign = if allowed.contains(name) { '-' } else { '+' };
        let _ = writeln!(text, "  {sign} {name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_in_the_output_of_cargo_tree() {
        let text = "sio-proto v0.1.0 (somewhere)\nbytes v1.10.1\nserde v1.0.2 (*)\n\nbytes v1.10.1\n";
        assert_eq!(
            names(text).collect::<Vec<_>>(),
            ["sio-proto", "bytes", "serde", "bytes"]
        );
        assert_eq!(names("# why\nbytes\n").collect::<Vec<_>>(), ["bytes"]);
    }

    #[test]
    fn features_have_sections_of_their_own() {
        let list = "# why\nbytes\n# Feature x\n# why\nrmp\n";
        assert_eq!(
            sections(list),
            [(None, BTreeSet::from(["bytes"])), (Some("x"), BTreeSet::from(["rmp"]))]
        );
    }

    #[test]
    fn the_difference_reads_like_a_diff() {
        let allowed = BTreeSet::from(["bytes", "gone"].map(str::to_owned));
        let actual = BTreeSet::from(["bytes", "new"].map(str::to_owned));
        assert_eq!(difference(&allowed, &actual), "  - gone\n  + new\n");
        assert_eq!(difference(&actual, &actual), "");
    }
}
