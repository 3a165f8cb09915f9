//! Runs one row under Callgrind, and reads what it has counted.

use crate::failure::{Failure, Outcome, While};
use crate::programs::output;
use std::collections::{BTreeMap, HashMap};
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

/// Counts what the program does with these arguments: those of a row, or of an input. The program
/// gets no variables of this machine, because their size moves the stack.
pub(super) fn count(program: &Path, home: &Path, arguments: &[&str]) -> Outcome<Profile> {
    let row = arguments.join(" ");
    let file = home.join(format!("{}.out", row.replace(['/', ' '], "-")));
    let valgrind = output(Command::new("sh").args(["-c", "command -v valgrind"]))?;
    output(
        Command::new(valgrind.trim())
            .env_clear()
            .env(PINNED.0, PINNED.1)
            .args(["--tool=callgrind", "--quiet", "--dump-instr=yes"])
            .args(["--compress-strings=no", "--compress-pos=no"])
            .arg(format!("--toggle-collect={COUNTED}"))
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(program)
            .args(arguments),
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
    /// Reads a file of Callgrind. A line of costs has the address of an instruction, the line of
    /// its source, and how often it was executed. The line after `calls=` has the cost of the
    /// calls, which belongs to the called function.
    ///
    /// The numbers behind `calls=` also count the calls outside of the counted function. So an
    /// allocator was called as often as its first instruction was executed.
    pub(super) fn parse(text: &str) -> Outcome<Self> {
        let mut profile = Self::default();
        let mut entries: HashMap<&str, BTreeMap<u64, u64>> = HashMap::new();
        let (mut function, mut is_of_calls) = ("", false);
        for line in text.lines() {
            if let Some(total) = line.strip_prefix("totals: ") {
                profile.instructions = total.trim().parse().when(line)?;
            } else if let Some(name) = line.strip_prefix("fn=") {
                function = name;
            } else if line.starts_with("calls=") {
                is_of_calls = true;
            } else if let Some(costs) = line.strip_prefix("0x") {
                if std::mem::take(&mut is_of_calls) {
                    continue;
                }
                let (address, cost) = (costs.split(' ').next(), costs.split(' ').nth(2));
                let cost: u64 = cost.unwrap_or_default().parse().when(line)?;
                *profile.functions.entry(function.to_owned()).or_default() += cost;
                if ALLOCATORS.contains(&function) {
                    let address = u64::from_str_radix(address.unwrap_or_default(), 16).when(line)?;
                    *entries.entry(function).or_default().entry(address).or_default() += cost;
                }
            }
        }
        profile.allocations = entries.values().filter_map(|lines| lines.values().next()).sum();
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

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
positions: instr line
events: Ir
summary: 100

fl=main.rs
fn=counted_step
0x58 1 10
cob=libc.so
cfi=malloc.c
cfn=malloc
calls=30 0x219 3
0x5a 1 40
cfn=work
calls=1 0x100 5
0x60 2 50

fn=work
0x100 5 10
0x104 5 20
cfn=malloc
calls=20 0x219 3
0x108 6 20

fn=malloc
0x21b 4 25
0x219 3 5
0x220 5 30
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
