//! The committed table of counts.

use crate::failure::{Failure, Outcome, While};
use std::fmt;

/// By which part of its number a row may rise before the command fails.
const MOST_RISE: f64 = 0.02;

/// By how many allocations an operation may rise: the share of one growth of a buffer.
const MOST_NEW_ALLOCATIONS: f64 = 0.02;

const HEAD: &str = "\
# What one operation costs: instructions and allocations, counted by `cargo xtask bench`. Instructions are those of the
# user's side, with the allocator and the copies of the C library. docs/performance.md explains the rows.
# A commit that makes a row more expensive by more than 2 % writes this table again: `cargo xtask bench --accept`.
";

/// What one operation of a row costs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counts {
    name: String,
    pub(super) instructions: f64,
    allocations: f64,
}

impl Counts {
    /// The sums of all operations. The numbers are rounded as they stand in the table, so that a
    /// row does not rise by its own rounding.
    pub(super) fn new(name: &str, operations: u64, instructions: u64, allocations: u64) -> Self {
        Self {
            name: name.to_owned(),
            instructions: (instructions as f64 / operations as f64 * 10.0).round() / 10.0,
            allocations: (allocations as f64 / operations as f64 * 100.0).round() / 100.0,
        }
    }

    fn parse(line: &str) -> Outcome<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, instructions, allocations] = words[..] else {
            return Err(Failure::new(format!("no line of the table: {line:?}")));
        };
        Ok(Self {
            name: name.to_owned(),
            instructions: instructions.parse().when(line)?,
            allocations: allocations.parse().when(line)?,
        })
    }

    /// By which part the instructions have risen.
    fn rise_from(&self, old: &Self) -> f64 {
        (self.instructions - old.instructions) / old.instructions.max(1.0)
    }

    /// Why this row fails, if it does.
    fn complaint(&self, old: &Self) -> Option<String> {
        let rise = self.rise_from(old);
        if rise > MOST_RISE {
            return Some(format!(
                "{}: {:.1} instructions instead of {:.1} ({:+.1} %)",
                self.name,
                self.instructions,
                old.instructions,
                100.0 * rise
            ));
        }
        (self.allocations > old.allocations + MOST_NEW_ALLOCATIONS).then(|| {
            format!(
                "{}: {:.2} allocations instead of {:.2}",
                self.name, self.allocations, old.allocations
            )
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<28}{:>14.1}{:>13.2}",
            self.name, self.instructions, self.allocations
        )
    }
}

/// The table, and the compiler that it was counted with.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) compiler: String,
    rows: Vec<Counts>,
}

/// What a comparison has found.
pub(super) struct Verdict {
    /// All rows, one a line.
    pub(super) report: String,
    /// Why the command fails.
    pub(super) complaints: Vec<String>,
}

impl Table {
    pub(super) fn parse(text: &str) -> Outcome<Self> {
        let compiler = text.lines().find_map(|line| line.strip_prefix("# compiler: "));
        let is_row = |line: &&str| !line.starts_with('#') && !line.trim().is_empty();
        let rows: Outcome<Vec<Counts>> = text.lines().filter(is_row).map(Counts::parse).collect();
        Ok(Self {
            compiler: compiler.unwrap_or("an unknown compiler").to_owned(),
            rows: rows?,
        })
    }

    pub(super) fn row(&self, name: &str) -> Option<&Counts> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Returns the table with these counts. If they are all rows, the others are forgotten.
    pub(super) fn with(mut self, counts: Vec<Counts>, compiler: &str, is_whole: bool) -> Self {
        self.compiler = compiler.to_owned();
        if is_whole {
            self.rows = counts;
            return self;
        }
        for new in counts {
            match self.rows.iter_mut().find(|row| row.name == new.name) {
                Some(row) => *row = new,
                None => self.rows.push(new),
            }
        }
        self
    }

    /// Compares counts with the table. If they are all rows, the table must have no other.
    pub(super) fn compare(&self, counts: &[Counts], is_whole: bool) -> Verdict {
        let mut report = String::new();
        let mut complaints = Vec::new();
        let mut fell = false;
        for new in counts {
            let Some(old) = self.row(&new.name) else {
                report.push_str(&format!("{new}  new\n"));
                complaints.push(format!("{}: not in the table", new.name));
                continue;
            };
            let rise = new.rise_from(old);
            fell |= rise < -MOST_RISE;
            report.push_str(&format!("{new}  {:+.2} %\n", 100.0 * rise));
            complaints.extend(new.complaint(old));
        }
        let is_gone = |row: &&Counts| is_whole && !counts.iter().any(|new| new.name == row.name);
        complaints.extend(
            self.rows
                .iter()
                .filter(is_gone)
                .map(|row| format!("{}: in the table, but there is no such row", row.name)),
        );
        if fell {
            report.push_str("Rows have become cheaper: accept them, so that they do not rise again unseen.\n");
        }
        Verdict { report, complaints }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD}# compiler: {}\n#\n", self.compiler)?;
        writeln!(f, "# {:<26}{:>14}{:>13}", "row", "instructions", "allocations")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let counts = vec![Counts::new("echo", 10, 90_000, 0), Counts::new("poll", 10, 200_000, 30)];
        Table::default().with(counts, "rustc 1", true)
    }

    fn complaints(counts: &[Counts], is_whole: bool) -> Vec<String> {
        table().compare(counts, is_whole).complaints
    }

    #[test]
    fn the_table_can_be_read_again() {
        let read = Table::parse(&table().to_string()).ok().unwrap();
        assert_eq!((&*read.compiler, &read.rows), ("rustc 1", &table().rows));
        assert!(Table::parse("echo 1").is_err());
    }

    #[test]
    fn a_row_may_rise_by_two_percent() {
        assert!(complaints(&[Counts::new("echo", 10, 91_800, 0)], false).is_empty());
        assert_eq!(
            complaints(&[Counts::new("echo", 10, 91_900, 0)], false),
            ["echo: 9190.0 instructions instead of 9000.0 (+2.1 %)"]
        );
        assert!(complaints(&[Counts::new("echo", 10, 50_000, 0)], false).is_empty());
    }

    #[test]
    fn a_row_may_not_begin_to_allocate() {
        assert_eq!(
            complaints(&[Counts::new("echo", 10, 90_000, 10)], false),
            ["echo: 1.00 allocations instead of 0.00"]
        );
        assert!(complaints(&[Counts::new("echo", 1000, 9_000_000, 20)], false).is_empty());
    }

    #[test]
    fn the_table_has_all_rows_and_no_other() {
        assert_eq!(
            complaints(&[Counts::new("echo", 10, 90_000, 0)], true),
            ["poll: in the table, but there is no such row"]
        );
        assert_eq!(
            complaints(&[Counts::new("ack", 10, 1, 0)], false),
            ["ack: not in the table"]
        );
    }
}
