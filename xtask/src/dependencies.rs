//! Checks of dependencies. The core's list of allowed dependencies, `docs/dependencies.txt`, is
//! compared with `cargo tree`, without features and with each feature. And the adapter that works
//! without tokio must not depend on it.
//!
//! The comparison goes both ways: every dependency must be in the list, and every name in the list
//! must be a dependency. Only the names count here; the lockfile has the versions.

use crate::failure::{Failure, Outcome, While};
use crate::programs::{cargo, output};
use crate::workspace::Workspace;
use std::collections::BTreeSet;
use std::fmt::Write;

const LIST: &str = "docs/dependencies.txt";

/// The beginning of a line that opens the section of a feature. The section lists the dependencies
/// that the feature adds.
const FEATURE: &str = "# Feature ";

/// The adapter that has no tokio, with each of its runtimes. It is not checked with all features,
/// because both runtimes together are no sensible choice.
const WITHOUT_TOKIO: &[&[&str]] = &[
    &["-p", "sio-async-std", "--features", "redis,tls"],
    &[
        "-p",
        "sio-async-std",
        "--no-default-features",
        "--features",
        "redis,smol,tls",
    ],
];

pub(crate) fn run(tree: &Workspace) -> Outcome {
    core(tree)?;
    WITHOUT_TOKIO
        .iter()
        .try_for_each(|selection| has_no_tokio(tree, selection))
}

fn core(tree: &Workspace) -> Outcome {
    let list = std::fs::read_to_string(tree.root.join(LIST)).when(format_args!("reading {LIST}"))?;
    let (allowed, features) = sections(&list);
    let plain = dependencies(tree, &["-p", "sio-proto", "--target", "all"])?;
    let core: BTreeSet<&str> = names(&plain).filter(|name| *name != "sio-proto").collect();
    compare("sio-proto", &allowed, &core)?;
    for (feature, allowed) in features {
        let text = dependencies(tree, &["-p", "sio-proto", "--target", "all", "--features", feature])?;
        let added: BTreeSet<&str> = names(&text)
            .filter(|name| *name != "sio-proto" && !core.contains(name))
            .collect();
        compare(&format!("sio-proto, for its feature {feature},"), &allowed, &added)?;
    }
    Ok(())
}

fn compare(whose: &str, allowed: &BTreeSet<&str>, actual: &BTreeSet<&str>) -> Outcome {
    let difference = difference(allowed, actual);
    if difference.is_empty() {
        println!("{whose} depends on {} crates, all of them in {LIST}", actual.len());
        return Ok(());
    }
    Err(Failure::new(format!(
        "{LIST} and what {whose} depends on by `cargo tree -e normal` differ (- listed but gone, + there but not listed):\n{difference}\
         A new dependency of the core is a decision: say why in the commit that adds it to the list."
    )))
}

/// Returns the names in the list: the core's, and for each feature the names that it adds.
fn sections(list: &str) -> (BTreeSet<&str>, Vec<(&str, BTreeSet<&str>)>) {
    let (mut core, mut features) = (BTreeSet::new(), Vec::<(&str, BTreeSet<&str>)>::new());
    for line in list.lines() {
        if let Some(feature) = line.strip_prefix(FEATURE) {
            features.push((feature.trim(), BTreeSet::new()));
            continue;
        }
        let section = features.last_mut().map_or(&mut core, |(_, section)| section);
        section.extend(names(line));
    }
    (core, features)
}

/// Checks the dependencies on this machine only: for other targets (WebAssembly), async-std itself
/// depends on tokio.
fn has_no_tokio(tree: &Workspace, selection: &[&str]) -> Outcome {
    let text = dependencies(tree, selection)?;
    let selection = selection.join(" ");
    let names: BTreeSet<&str> = names(&text).collect();
    match names.iter().find(|name| is_of_tokio(name)) {
        Some(name) => Err(Failure::new(format!(
            "`cargo tree {selection} -e normal` has {name}: this adapter is for programs without tokio"
        ))),
        None => {
            println!("no tokio among the {} crates of {selection}", names.len());
            Ok(())
        }
    }
}

fn is_of_tokio(name: &str) -> bool {
    name == "tokio" || name.starts_with("tokio-")
}

fn dependencies(tree: &Workspace, selection: &[&str]) -> Outcome<String> {
    output(
        cargo(&tree.root)
            .args(["tree", "-e", "normal", "--prefix", "none"])
            .args(selection),
    )
}

/// Returns the first word of each line that is not a comment.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
}

fn difference(allowed: &BTreeSet<&str>, actual: &BTreeSet<&str>) -> String {
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
    fn tokio_has_relatives() {
        assert!(["tokio", "tokio-util"].iter().all(|name| is_of_tokio(name)));
        assert!(!is_of_tokio("tokiox"));
    }

    #[test]
    fn features_have_sections_of_their_own() {
        let (core, features) = sections("# why\nbytes\n\n# Feature x\n# why\nrmp\n");
        assert_eq!(core, BTreeSet::from(["bytes"]));
        assert_eq!(features, [("x", BTreeSet::from(["rmp"]))]);
    }

    #[test]
    fn the_difference_reads_like_a_diff() {
        let allowed = BTreeSet::from(["bytes", "gone"]);
        let actual = BTreeSet::from(["bytes", "new"]);
        assert_eq!(difference(&allowed, &actual), "  - gone\n  + new\n");
        assert_eq!(difference(&actual, &actual), "");
    }
}
