//! The planted bugs that CI looks for: a few, which depend on the commit, so that in time all of
//! them are looked for. Only those are chosen that the last full search has found soon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::name_of;
use crate::failure::{Outcome, While};
use crate::programs::output;
use crate::workspace::Workspace;

/// The table of the last full search.
const TABLE: &str = "docs/PROOF.md";

/// How many bugs are looked for.
const BUGS: usize = 3;

/// A bug is chosen only if it was found by this seed.
const LATEST: u64 = 60;

/// The number that chooses. Without it the commit does.
const NUMBER: &str = "SIO_PLANTED_NUMBER";

/// The names of the bugs that are looked for now.
pub(super) fn choose(tree: &Workspace, patches: &[PathBuf]) -> Outcome<Vec<String>> {
    let table = fs::read_to_string(tree.root.join(TABLE)).when(TABLE)?;
    let mut known = Vec::new();
    for patch in patches {
        let words = fs::read_to_string(patch).when(patch.display())?;
        // The seeds of the application are another program, and its build takes long.
        if !words.contains("+++ b/sio-app/") && is_found_soon(&table, patch) {
            known.push(name_of(patch));
        }
    }
    let number = match std::env::var(NUMBER) {
        Ok(number) => number.parse().when(NUMBER)?,
        Err(_) => number_of_commit(tree),
    };
    let chosen = pick(known, number);
    println!("{NUMBER}={number} chooses {}", chosen.join(", "));
    Ok(chosen)
}

/// The beginning of the commit's name, as a number. 0 outside of a repository.
fn number_of_commit(tree: &Workspace) -> u64 {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--verify", "--quiet", "HEAD"])
        .current_dir(&tree.root);
    output(&mut git)
        .unwrap_or_default()
        .get(..15)
        .map_or(0, |digits| u64::from_str_radix(digits, 16).unwrap_or_default())
}

/// Whether the table has a bug with an early seed: `| 06 | words | 8 Heartbeat | 0 |`.
fn is_found_soon(table: &str, patch: &Path) -> bool {
    let name = name_of(patch);
    let number = name.split('-').next().unwrap_or_default();
    let begin = format!("| {number} | ");
    let row = table.lines().find(|line| line.starts_with(&begin));
    let seed = row.and_then(|row| row.split('|').nth(4)?.split_whitespace().next()?.parse::<u64>().ok());
    seed.is_some_and(|seed| seed <= LATEST)
}

fn pick(mut known: Vec<String>, mut number: u64) -> Vec<String> {
    let mut chosen = Vec::new();
    while chosen.len() < BUGS && !known.is_empty() {
        let count = known.len() as u64;
        chosen.push(known.remove((number % count) as usize));
        number /= count;
    }
    chosen.sort();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_chooses_other_bugs_that_are_found_soon() {
        let known: Vec<String> = (0..9).map(|at| at.to_string()).collect();
        assert_eq!(pick(known.clone(), 0), ["0", "1", "2"]);
        assert_eq!(pick(known.clone(), 4 + 9 * (7 + 8 * 6)), ["4", "7", "8"]);
        assert_eq!(pick(known[..2].to_vec(), 5), ["0", "1"]);
        let table =
            "| 06 | ping | 8 Heartbeat | 0 |\n| 07 | x | 7 Price | 61 |\n| 1 | y | 9 Upgrade | 57 (first 3: 10) |\n";
        for (name, is_soon) in [
            ("06-a", true),
            ("07-b", false),
            ("1-c", true),
            ("2-d", false),
            ("0-e", false),
        ] {
            assert_eq!(
                is_found_soon(table, Path::new(&format!("{name}.patch"))),
                is_soon,
                "{name}"
            );
        }
    }
}
