//! `cargo xtask bench`: what operations cost, in instructions and allocations.
//!
//! The rows are those of the crate `bench`. Callgrind, a tool of valgrind, runs each row and counts
//! the instructions of the user's side of the processor, and the calls of the allocator. Both
//! numbers depend on the program and its input alone: not on the machine's load, and not on its
//! speed. The committed table is `bench/counts.txt`. The command fails if a row costs more than 2 %
//! more instructions than its line in the table says, or allocates more. Who means it writes the
//! table again (`--accept`), and commits it together with the change.
//!
//! `--worst` counts the worst inputs of the crate instead ([`worst`]).
//!
//! The program is built with the profile `counts`, which no variable changes: the numbers of two
//! profiles cannot be compared.

mod callgrind;
#[cfg(test)]
mod pages;
mod table;
mod worst;

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome, While};
use crate::programs::{cargo, output, run as execute};
use crate::workspace::Workspace;
use callgrind::Profile;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;
use table::{Counts, Table};

/// The committed table.
const TABLE: &str = "bench/counts.txt";

/// The profile of the program that is counted.
const PROFILE: &str = "counts";

/// How many functions `--where` shows.
const SHOWN: usize = 25;

/// A row, as the program lists it.
struct Row {
    name: String,
    /// How many operations all its counted rounds are.
    operations: u64,
}

pub(crate) fn run(tree: &Workspace, mut arguments: Arguments) -> Outcome {
    let only = arguments.take_list("--only");
    let accepts = arguments.take("--accept").is_some();
    let shows_where = arguments.take("--where").is_some();
    let is_worst = arguments.take("--worst").is_some();
    arguments.finish()?;
    ensure_valgrind()?;
    let program = build(tree)?;
    if is_worst {
        return worst::run(tree, &program, &only);
    }
    let rows = list(&program)?;
    let chosen = chosen(rows, &only)?;
    let began = Instant::now();
    let home = tree.target.join("bench");
    fs::create_dir_all(&home).when(home.display())?;
    let profiles = count(&program, &home, &chosen)?;
    println!(
        "{} rows counted in {:.0} s",
        chosen.len(),
        began.elapsed().as_secs_f32()
    );
    let counts: Vec<Counts> = chosen
        .iter()
        .zip(&profiles)
        .map(|(row, profile)| Counts::new(&row.name, row.operations, profile.instructions, profile.allocations))
        .collect();
    if shows_where {
        for ((row, profile), counts) in chosen.iter().zip(&profiles).zip(&counts) {
            println!("\n{counts}\n{}", profile.words(row.operations, SHOWN));
        }
    }
    let path = tree.root.join(TABLE);
    let compiler = output(Command::new("rustc").arg("--version").current_dir(&tree.root))?;
    let compiler = compiler.trim();
    let old = if path.is_file() {
        Table::parse(&fs::read_to_string(&path).when(TABLE)?)?
    } else {
        Table::default()
    };
    if accepts {
        let new = old.with(counts, compiler, only.is_empty());
        fs::write(&path, new.to_string()).when(TABLE)?;
        println!("written: {TABLE}. Commit it together with the change, and say why the numbers changed.");
        return Ok(());
    }
    judge(&old, &counts, compiler, only.is_empty())
}

/// Compares the counts with the table.
fn judge(table: &Table, counts: &[Counts], compiler: &str, is_whole: bool) -> Outcome {
    let verdict = table.compare(counts, is_whole);
    println!("{}", verdict.report);
    if verdict.complaints.is_empty() {
        return Ok(());
    }
    let mut words = verdict.complaints.join("\n");
    if table.compiler != compiler {
        words.push_str(&format!(
            "\nThe table was counted with {}, and this is {compiler}: other compilers give other numbers.",
            table.compiler
        ));
    }
    Err(Failure::new(format!(
        "{words}\nFind out where with `cargo xtask bench --where --only ROW`. If the price is right, `cargo xtask bench \
         --accept` writes the table; commit it together with the change."
    )))
}

/// Builds the program. Variables that would change its code are taken away.
fn build(tree: &Workspace) -> Outcome<PathBuf> {
    let mut command = cargo(&tree.root);
    command.args(["build", "--profile", PROFILE, "-p", "sio-bench", "--bin", "sio-bench"]);
    for (name, _) in std::env::vars_os() {
        // With incremental compilation, another program comes out: rows differ by up to 4 %.
        let is_ours = |name: &str| {
            name.ends_with("RUSTFLAGS") || name.starts_with("CARGO_PROFILE_") || name == "CARGO_INCREMENTAL"
        };
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    execute(&mut command)?;
    Ok(tree.target.join(PROFILE).join("sio-bench"))
}

fn list(program: &Path) -> Outcome<Vec<Row>> {
    let text = output(&mut Command::new(program))?;
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, operations, rounds] = words[..] else {
            return Err(Failure::new(format!("no row: {line:?}")));
        };
        let operations: u64 = operations.parse().when(line)?;
        let rounds: u64 = rounds.parse().when(line)?;
        Ok(Row {
            name: name.to_owned(),
            operations: operations * rounds,
        })
    };
    text.lines().map(row).collect()
}

/// Returns the rows that were asked for. A name chooses the row, or all rows that begin with it and
/// a slash.
fn chosen(rows: Vec<Row>, only: &[String]) -> Outcome<Vec<Row>> {
    let is_meant = |wanted: &String, row: &Row| {
        row.name
            .strip_prefix(wanted.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if let Some(unknown) = only.iter().find(|wanted| !rows.iter().any(|row| is_meant(wanted, row))) {
        let names: Vec<&str> = rows.iter().map(|row| &*row.name).collect();
        return Err(Failure::new(format!(
            "no row is called `{unknown}`; there are {}",
            names.join(", ")
        )));
    }
    let is_chosen = |row: &Row| only.is_empty() || only.iter().any(|wanted| is_meant(wanted, row));
    Ok(rows.into_iter().filter(is_chosen).collect())
}

/// Counts the rows.
fn count(program: &Path, home: &Path, rows: &[Row]) -> Outcome<Vec<Profile>> {
    at_once(rows, |row| callgrind::count(program, home, &[&row.name]))
}

/// Does something with each item, as many at a time as there are processors: counting does not
/// disturb counting. Returns the results in the order of the items, or the first failure.
fn at_once<I: Sync, T: Send>(items: &[I], work: impl Fn(&I) -> Outcome<T> + Sync) -> Outcome<Vec<T>> {
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..items.len()).collect());
    let done: Mutex<Vec<(usize, Outcome<T>)>> = Mutex::new(Vec::new());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(place) = next() {
                    let result = work(&items[place]);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((place, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Installs valgrind if it is missing and this is allowed.
fn ensure_valgrind() -> Outcome {
    let is_there = || output(Command::new("valgrind").arg("--version")).is_ok();
    if is_there() {
        return Ok(());
    }
    let user = output(Command::new("id").arg("-u"))?;
    if user.trim() != "0" {
        return Err(Failure::new(
            "valgrind is not installed, and this needs it: apt-get install valgrind",
        ));
    }
    execute(Command::new("apt-get").args(["update", "--quiet"]))?;
    let install = ["install", "--yes", "--quiet", "--no-install-recommends", "valgrind"];
    execute(
        Command::new("apt-get")
            .args(install)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    if is_there() {
        Ok(())
    } else {
        Err(Failure::new("apt-get has installed valgrind, but it does not run"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |name: &str| Row {
            name: name.to_owned(),
            operations: 1,
        };
        vec![row("echo/4.x"), row("echo/4.x/recovery"), row("echo-1KiB/4.x")]
    }

    fn names(only: &str) -> Outcome<Vec<String>> {
        let only: Vec<String> = only.split_whitespace().map(str::to_owned).collect();
        Ok(chosen(rows(), &only)?.into_iter().map(|row| row.name).collect())
    }

    #[test]
    fn a_name_chooses_a_row_and_its_kinds() {
        assert_eq!(names("echo").ok().unwrap(), ["echo/4.x", "echo/4.x/recovery"]);
        assert_eq!(names("echo/4.x/recovery").ok().unwrap(), ["echo/4.x/recovery"]);
        assert_eq!(names("").ok().unwrap().len(), 3);
        assert!(names("ech").is_err());
    }
}
