//! Runs one row under Callgrind, and reads what it has counted.

use crate::failure::{Failure, Outcome, While};
use crate::programs::output;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The function inside of which is counted (`bench/src/main.rs`).
const COUNTED: &str = "*counted_step*";

/// The functions of the C library by which Rust's allocator gets memory.
const ALLOCATORS: &[&str] = &[
    "malloc",
    "calloc",
    "realloc",
    "aligned_alloc",
    "posix_memalign",
    "memalign",
];

/// The C library chooses its functions for memory by the processor. One that copies large blocks by
/// a single instruction would count as one.
const PINNED: (&str, &str) = ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-FSRM,-AVX512F,-AVX512VL");

/// What Callgrind has counted.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub(super) instructions: u64,
    /// How often memory was asked for.
    pub(super) allocations: u64,
    /// The instructions of each function itself, without those that it calls.
    functions: HashMap<String, u64>,
}

/// Counts a row. The program gets no variables of this machine, because their size moves the stack.
pub(super) fn count(program: &Path, home: &Path, row: &str) -> Outcome<Profile> {
    let file = home.join(format!("{}.out", row.replace('/', "-")));
    let valgrind = output(Command::new("sh").args(["-c", "command -v valgrind"]))?;
    output(
        Command::new(valgrind.trim())
            .env_clear()
            .env(PINNED.0, PINNED.1)
            .args(["--tool=callgrind", "--quiet"])
            .arg(format!("--toggle-collect={COUNTED}"))
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(program)
            .arg(row),
    )?;
    let text = fs::read_to_string(&file).when(file.display())?;
    let profile = Profile::parse(&text)?;
    if profile.instructions == 0 {
        return Err(Failure::new(format!(
            "{row}: nothing was counted; is {COUNTED} in the program?"
        )));
    }
    Ok(profile)
}

impl Profile {
    /// Reads a file of Callgrind. A line of costs has a position and a number. The line after
    /// `calls=` has the cost of the calls, which belongs to the called function.
    pub(super) fn parse(text: &str) -> Outcome<Self> {
        let mut profile = Self::default();
        let mut names: HashMap<&str, &str> = HashMap::new();
        let (mut function, mut called, mut is_of_calls) = ("", "", false);
        for line in text.lines() {
            if let Some(total) = line.strip_prefix("totals: ") {
                profile.instructions = total.trim().parse().when(line)?;
            } else if let Some(name) = line.strip_prefix("fn=") {
                function = named(&mut names, name);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                called = named(&mut names, name);
            } else if let Some(calls) = line.strip_prefix("calls=") {
                let times = calls.split_whitespace().next().unwrap_or_default();
                if ALLOCATORS.contains(&called) {
                    profile.allocations += times.parse::<u64>().when(line)?;
                }
                is_of_calls = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
                let cost = line.split_whitespace().nth(1).unwrap_or_default();
                if !std::mem::take(&mut is_of_calls) {
                    *profile.functions.entry(function.to_owned()).or_default() += cost.parse::<u64>().when(line)?;
                }
            }
        }
        Ok(profile)
    }

    /// Says which functions cost most, for one operation.
    pub(super) fn words(&self, operations: u64, most: usize) -> String {
        let mut functions: Vec<(&String, &u64)> = self.functions.iter().collect();
        functions.sort_by_key(|(name, cost)| (std::cmp::Reverse(**cost), *name));
        let mut words = String::new();
        for (name, cost) in functions.into_iter().take(most) {
            let _ = writeln!(words, "{:>12.1}  {name}", *cost as f64 / operations as f64);
        }
        words
    }
}

/// Returns the name of a function. The first time, the name stands behind its number; later the
/// number stands alone.
fn named<'a>(names: &mut HashMap<&'a str, &'a str>, text: &'a str) -> &'a str {
    let (number, name) = text.split_once(' ').unwrap_or((text, ""));
    if !name.is_empty() {
        names.insert(number, name);
    }
    names.get(number).copied().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
events: Ir
summary: 100

fl=(1) main.rs
fn=(1) counted_step
58 10
cob=(2) libc.so
cfi=(2) malloc.c
cfn=(2) malloc
calls=3 219
+2 40
cfn=(3) work
calls=1 5
* 50

fn=(3)
5 30
cfn=(2)
calls=2 219
-1 20

fn=(2)
219 60
totals: 100
";

    #[test]
    fn calls_of_allocators_and_the_own_cost_of_functions() {
        let profile = Profile::parse(FILE).ok().unwrap();
        assert_eq!((profile.instructions, profile.allocations), (100, 5));
        assert_eq!(profile.functions["counted_step"], 10);
        assert_eq!(profile.functions["work"], 30);
        assert_eq!(profile.functions["malloc"], 60);
        assert_eq!(profile.functions.values().sum::<u64>(), 100);
        assert!(profile.words(10, 1).ends_with("6.0  malloc\n"));
    }
}
