//! `cargo xtask bench --worst`: whether the work for the worst inputs grows as they grow.
//!
//! Each input is counted at two lengths, of which one is twice the other. Linear work takes twice
//! as many instructions. A little more is allowed, because tables and buffers grow in steps.

use super::{at_once, callgrind};
use crate::failure::{Failure, Outcome, While};
use crate::programs::output;
use crate::workspace::Workspace;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The longer of the two inputs, in bytes. The other one is half as long.
const BYTES: u64 = 1 << 20;

/// How many tenths of the instructions for the shorter input the longer one may take.
const MOST_TENTHS: u64 = 22;

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

    fn words(&self) -> String {
        let ratio = self.whole as f64 / self.half as f64;
        let each = self.whole as f64 / BYTES as f64;
        let verdict = if self.is_steep() {
            "  grows faster than the input"
        } else {
            ""
        };
        format!("{:<45} {:>12} {each:>8.1} {ratio:>6.2}{verdict}", self.name, self.whole)
    }
}

pub(super) fn run(tree: &Workspace, program: &Path, only: &[String]) -> Outcome {
    let home = tree.target.join("bench");
    fs::create_dir_all(&home).when(home.display())?;
    let names = output(Command::new(program).arg("--worst"))?;
    let is_chosen = |name: &&str| only.is_empty() || only.iter().any(|only| name.starts_with(only.as_str()));
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
    for counted in &counted {
        println!("{}", counted.words());
    }
    let steep = counted.iter().filter(|counted| counted.is_steep()).count();
    match steep {
        0 => Ok(()),
        _ => Err(Failure::new(format!(
            "{steep} inputs take more than {}.{} times as much work when they are twice as long",
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
}
