//! `cargo xtask bench --worst`: whether the work for the worst inputs grows as they grow, and
//! whether each byte of them costs no more than it may.
//!
//! Each input is counted at two lengths, of which one is twice the other. Linear work takes twice
//! as many instructions. A little more is allowed, because tables and buffers grow in steps.
//!
//! The aim is 20 ms for 1 MiB, which are 19 ns for a byte. Times depend on the machine, so the
//! bound of each input is a number of instructions for each byte (`bench/worst.txt`).
//! `docs/performance.md` says what they are in time.

use super::{at_once, callgrind};
use crate::failure::{Failure, Outcome, While};
use crate::programs::output;
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The longer of the two inputs, in bytes. The other one is half as long.
const BYTES: u64 = 1 << 20;

/// How many tenths of the instructions for the shorter input the longer one may take.
const MOST_TENTHS: u64 = 22;

/// The most that each input may cost. The second word of a line is the number of instructions for
/// a byte.
const TABLE: &str = "bench/worst.txt";

/// The instructions for both lengths.
struct Counted {
    name: String,
    half: u64,
    whole: u64,
}

impl Counted {
    /// Whether the work grows faster than the input.
    const fn is_steep(&self) -> bool {
        self.whole * 10 > self.half * MOST_TENTHS
    }

    /// What is wrong with the numbers, if something is. Each byte may cost `most` instructions.
    const fn fault(&self, most: Option<u64>) -> Option<&'static str> {
        match most {
            _ if self.is_steep() => Some("grows faster than the input"),
            Some(most) if self.whole <= most * BYTES => None,
            Some(_) => Some("costs more than its bytes may"),
            None => Some("has no bound"),
        }
    }

    fn words(&self, most: Option<u64>) -> String {
        let ratio = self.whole as f64 / self.half as f64;
        let each = self.whole as f64 / BYTES as f64;
        let verdict = self.fault(most);
        let verdict = verdict.map_or_else(String::new, |fault| format!("  {fault}"));
        format!("{:<45} {:>12} {each:>8.1} {ratio:>6.2}{verdict}", self.name, self.whole)
    }
}

/// How many instructions each byte of an input may cost, by its name.
fn bounds(table: &str) -> Outcome<BTreeMap<&str, u64>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let bounds = lines.map(|line| {
        let mut words = line.split_whitespace();
        match (words.next(), words.next().and_then(|most| most.parse().ok())) {
            (Some(name), Some(most)) => Ok((name, most)),
            _ => Err(Failure::new(format!("{TABLE}: {line:?} is no name with a bound"))),
        }
    });
    bounds.collect()
}

pub(super) fn run(tree: &Workspace, program: &Path, only: &[String]) -> Outcome {
    let home = tree.target.join("bench");
    fs::create_dir_all(&home).when(home.display())?;
    let names = output(Command::new(program).arg("--worst"))?;
    let is_chosen = |name: &&str| only.is_empty() || only.iter().any(|only| name.starts_with(only.as_str()));
    let table = fs::read_to_string(tree.root.join(TABLE)).when(TABLE)?;
    let bounds = bounds(&table)?;
    if let Some(name) = bounds.keys().find(|name| !names.lines().any(|line| line == **name)) {
        return Err(Failure::new(format!(
            "{TABLE} has a bound for {name}, and no input is called so"
        )));
    }
    let names: Vec<&str> = names.lines().filter(is_chosen).collect();
    if names.is_empty() {
        return Err(Failure::new("no input has such a name"));
    }
    let counted = at_once(&names, |name| {
        let instructions = |bytes: u64| {
            callgrind::count(program, &home, &["--worst", name, &bytes.to_string()]).map(|profile| profile.instructions)
        };
        Ok(Counted {
            name: (*name).to_owned(),
            half: instructions(BYTES / 2)?,
            whole: instructions(BYTES)?,
        })
    })?;
    println!(
        "{:<45} {:>12} {:>8} {:>6}",
        "input of 1 MiB", "instructions", "a byte", "ratio"
    );
    let mut many = 0;
    for counted in &counted {
        let most = bounds.get(&*counted.name).copied();
        println!("{}", counted.words(most));
        many += usize::from(counted.fault(most).is_some());
    }
    match many {
        0 => Ok(()),
        _ => Err(Failure::new(format!(
            "{many} inputs cost too much: more than {}.{} times as many instructions when they are twice as long, or \
             more for each byte than {TABLE} allows",
            MOST_TENTHS / 10,
            MOST_TENTHS % 10
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_input_is_twice_the_work() {
        let is_steep = |half, whole| {
            let name = String::new();
            Counted { name, half, whole }.is_steep()
        };
        assert!(!is_steep(100, 200));
        assert!(!is_steep(100, 220));
        assert!(is_steep(100, 221));
        assert!(is_steep(100, 400));
    }

    #[test]
    fn a_byte_costs_no_more_than_it_may() {
        let fault = |whole: u64, most| {
            let (name, half) = (String::new(), whole / 2);
            Counted { name, half, whole }.fault(most)
        };
        assert_eq!(fault(70 * BYTES, Some(70)), None);
        assert_eq!(fault(70 * BYTES + 2, Some(70)), Some("costs more than its bytes may"));
        assert_eq!(fault(70 * BYTES, None), Some("has no bound"));
    }

    #[test]
    fn the_table_of_bounds_is_read() {
        let table = "# words\njson/deep      12   105\njson/values 7 3\n";
        let expected = BTreeMap::from([("json/deep", 12), ("json/values", 7)]);
        assert_eq!(bounds(table).ok().unwrap(), expected);
        assert!(bounds("json/deep many 3\n").is_err());
    }
}
