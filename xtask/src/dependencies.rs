//! The core's dependency allow-list: `docs/dependencies.txt` against `cargo tree`.
//!
//! The list is compared whole, both ways, so that what is allowed is also what is there. Versions are the lockfile's
//! business; here only names count.

use crate::failure::{Failure, Outcome, While};
use crate::programs::{cargo, output};
use crate::workspace::Workspace;
use std::collections::BTreeSet;
use std::fmt::Write;

const LIST: &str = "docs/dependencies.txt";

pub(crate) fn run(tree: &Workspace) -> Outcome {
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
    let text = output(cargo(&tree.root).args(arguments))?;
    let actual: BTreeSet<&str> = names(&text).filter(|name| *name != "sio-proto").collect();
    let list = std::fs::read_to_string(tree.root.join(LIST)).when(format_args!("reading {LIST}"))?;
    let allowed: BTreeSet<&str> = names(&list).collect();
    let difference = difference(&allowed, &actual);
    if difference.is_empty() {
        println!("sio-proto depends on {} crates, all of them in {LIST}", actual.len());
        return Ok(());
    }
    Err(Failure::new(format!(
        "{LIST} and `cargo tree -p sio-proto -e normal` differ (- listed but gone, + there but not listed):\n{difference}\
         A new dependency of the core is a decision: say why in the commit that adds it to the list."
    )))
}

/// The first word of each line that is no comment.
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
    fn the_difference_reads_like_a_diff() {
        let allowed = BTreeSet::from(["bytes", "gone"]);
        let actual = BTreeSet::from(["bytes", "new"]);
        assert_eq!(difference(&allowed, &actual), "  - gone\n  + new\n");
        assert_eq!(difference(&actual, &actual), "");
    }
}
