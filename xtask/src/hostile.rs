//! `cargo xtask hostile`: attacks on the conformance server, and the limits that the server must
//! keep during each attack.
//!
//! Each case starts a server. A bystander sends echoes, newcomers connect and leave, and an
//! attacker attacks over loopback from another address. Afterwards the case checks:
//! - the server's memory has never grown by more than 64 MiB,
//! - of what it had from its allocator, all but 1 MiB is given back, and of its process all but 16
//!   MiB, or what the case says; if more is left, the attack is played again, up to three times,
//!   and may lose nothing more then,
//! - no echo of the bystander took longer than 250 ms, and every newcomer was let in; if only these
//!   times are wrong, the case is run once more, and the table shows both,
//! - there are exactly as many sessions, sockets, rooms, connections and descriptors as before,
//!   while newcomers are kept away,
//! - the server still runs, and ends properly when it is asked.
//!
//! Some cases also check one answer, for example a refusal. The short form sends just enough to
//! show a fault. `--full` sends the amounts with which the faults were found. All loops are limited
//! in number and in time. With `--lanes`, several cases run at once: most of them wait most of the
//! time.

mod cases;
pub(crate) mod clients;
mod field;
mod memory;
pub(crate) mod peer;
mod rest;
mod rows;
mod session;
mod watch;
pub(crate) mod wire;

use crate::arguments::{Arguments, assert_known};
use crate::failure::{Failure, Outcome, While};
use crate::interop::lock;
use crate::runtimes;
use crate::workspace::Workspace;
use cases::CASES;
use field::{Field, Report, Stage, judge};
use rows::Row;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use std::{fs, iter, thread};

/// One attack.
struct Case {
    name: &'static str,
    /// Its row in `docs/hardening.md`.
    row: &'static str,
    what: &'static str,
    /// The server's options, in addition to those of all cases.
    options: &'static [&'static str],
    /// The longest time until there are as many sessions and descriptors as before.
    settle: Duration,
    attack: fn(&Field) -> Outcome,
    /// The tables of an attack that plays some.
    tables: &'static [&'static [Row]],
    /// A runtime on which the attack is not played, and why. Each run says that it is left out.
    without: Option<(&'static str, &'static str)>,
    /// The ids of advisories that the whole attack is from.
    advisories: &'static [&'static str],
    /// How many MiB of its process the allocator may keep of what the attack has used.
    kept: u64,
}

impl Case {
    /// The same case, with the advisories that it is from.
    const fn from(mut self, advisories: &'static [&'static str]) -> Self {
        self.advisories = advisories;
        self
    }

    /// The same case, of which the allocator keeps more MiB than usual: those of full queues and
    /// of large tables.
    const fn keeping(mut self, kept: u64) -> Self {
        self.kept = kept;
        self
    }

    /// The same case, left out on this runtime.
    const fn without(mut self, runtime: &'static str, why: &'static str) -> Self {
        self.without = Some((runtime, why));
        self
    }

    /// Returns the names of the case and, as `CASE/ROW`, of its rows.
    fn names(&self) -> impl Iterator<Item = String> {
        let rows = self.rows().map(|row| format!("{}/{}", self.name, row.name));
        iter::once(self.name.to_owned()).chain(rows)
    }

    /// Returns the rows of all its tables.
    fn rows(&self) -> impl Iterator<Item = &'static Row> + use<> {
        self.tables.iter().copied().flatten()
    }

    /// Returns the rows with these names. All rows are chosen if the case itself is, or if nothing
    /// is named.
    fn chosen(&self, only: &[String]) -> Vec<&'static Row> {
        let is_whole = only.is_empty() || only.iter().any(|name| name == self.name);
        let is_named = |row: &&'static Row| only.contains(&format!("{}/{}", self.name, row.name));
        self.rows().filter(|row| is_whole || is_named(row)).collect()
    }

    /// Whether the case is played if only these names are.
    fn is_in(&self, only: &[String]) -> bool {
        only.is_empty() || self.names().any(|name| only.contains(&name))
    }
}

/// Whether a case, or a row of a case's table, has this name.
pub(crate) fn is_case(name: &str) -> bool {
    CASES.iter().any(|case| case.names().any(|known| known == name))
}

/// Returns the number of the row that each case tries, and the name of the case.
pub(crate) fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    CASES.iter().map(|case| (case.row, case.name))
}

/// Returns the advisories that cases and their rows name, each with the name of the case or row.
pub(crate) fn advisories() -> impl Iterator<Item = (&'static str, String)> {
    CASES.iter().flat_map(|case| {
        let rows = case.rows().map(|row| row.advisories);
        let named = iter::once(case.advisories).chain(rows).zip(case.names());
        named.flat_map(|(ids, name)| ids.iter().map(move |id| (*id, name.clone())))
    })
}

pub(crate) fn run(tree: &Workspace, mut arguments: Arguments) -> Outcome {
    let only = arguments.take_list("--only");
    let runtimes = runtimes::chosen(&arguments.take_list("--runtime"))?;
    let named = arguments.take("--server");
    let (is_full, is_list) = (arguments.take("--full").is_some(), arguments.take("--list").is_some());
    let lanes = arguments.take_lanes()?;
    arguments.finish()?;
    let names: Vec<String> = CASES.iter().flat_map(Case::names).collect();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_known("case", &only, &known)?;
    if is_list {
        for case in CASES {
            println!("{:<24} {:<4} {}", case.name, case.row, case.what);
            for row in case.rows() {
                println!("  {}/{} {}", case.name, row.name, row.advisories.join(" "));
            }
        }
        return Ok(());
    }
    let named = named.map(|path| fs::canonicalize(&path).when(path)).transpose()?;
    let mut table = Vec::new();
    for runtime in runtimes {
        let stage = Stage {
            program: match &named {
                Some(program) => program.clone(),
                None => runtime.build_server(tree)?,
            },
            logs: tree.target.join("hostile"),
            runtime,
            is_full,
            only: only.clone(),
        };
        let mut cases = Vec::new();
        for case in CASES.iter().filter(|case| case.is_in(&only)) {
            match case.without.filter(|(name, _)| *name == runtime.name) {
                Some((name, why)) => println!("{} is left out on {name}: {why}", case.name),
                None => cases.push(case),
            }
        }
        table.extend(play(&stage, &cases, lanes));
    }
    let lines: Vec<&str> = table.iter().map(|(line, _)| line.as_str()).collect();
    println!("\n{HEAD}\n{}", lines.join("\n"));
    let failures: Vec<&str> = table.iter().filter_map(|(_, failure)| failure.as_deref()).collect();
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}\n{} attacks succeed",
        failures.join("\n"),
        failures.len()
    )))
}

/// Runs the cases, so many at once. Each lane takes the next case when it has ended one. Returns
/// the lines of the table in the order of the cases.
fn play(stage: &Stage, cases: &[&Case], lanes: usize) -> Vec<(String, Option<String>)> {
    let (waiting, played) = (&Mutex::new(cases.iter().enumerate()), &Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for number in 1..=lanes {
            let stage = Stage {
                logs: stage.logs.join(format!("lane-{number}")),
                ..stage.clone()
            };
            scope.spawn(move || {
                let next = || lock(waiting).next();
                while let Some((place, case)) = next() {
                    let began = Instant::now();
                    let line = line(&stage, case);
                    println!("{}  [{:.1} s]", line.0, began.elapsed().as_secs_f32());
                    lock(played).push((place, line));
                }
            });
        }
    });
    let mut played = std::mem::take(&mut *lock(played));
    played.sort_by_key(|(place, _)| *place);
    played.into_iter().map(|(_, line)| line).collect()
}

const HEAD: &str = "\
attack                   row  runtime         sent      peak      left           heap  worst echo  worst entry  processor  settled  verdict";

/// Runs a case. Returns its line in the table, and the failure if there is one.
fn line(stage: &Stage, case: &Case) -> (String, Option<String>) {
    let (name, row, runtime) = (case.name, case.row, stage.runtime.name);
    let report = match judge(stage, case) {
        Ok(report) => report,
        Err(why) => {
            let words = format!("{name} on {runtime}: {why}");
            return (
                format!("{name:<24} {row:<4} {runtime:<10} not done: {why}"),
                Some(words),
            );
        }
    };
    let Report {
        said,
        growth,
        left,
        worst_echo,
        worst_entry,
        processor,
        settled,
        wrong,
        slow,
        once,
    } = report;
    let complaints: Vec<String> = wrong.into_iter().chain(slow).collect();
    let mut verdict = if complaints.is_empty() {
        "held".to_owned()
    } else {
        complaints.join("; ")
    };
    if !once.is_empty() {
        verdict.push_str(&format!(" (the first time {})", once.join("; ")));
    }
    let heap: Vec<String> = left.iter().map(|left| (left.heap >> 10).to_string()).collect();
    let (heap, last) = (heap.join(","), left.last().copied().unwrap_or_default());
    let line = format!(
        "{name:<24} {row:<4} {runtime:<10} {:>8.1} MB {:>5.1} MiB {:>5.1} MiB {heap:>9} KiB {:>9} ms {:>9} ms {processor:>8.1} s {:>6.1} s  {verdict}",
        said as f64 / 1e6,
        growth as f64 / f64::from(1 << 20),
        last.resident as f64 / f64::from(1 << 20),
        worst_echo.as_millis(),
        worst_entry.as_millis(),
        settled.as_secs_f32(),
    );
    let failure = (!complaints.is_empty()).then(|| format!("{name} on {runtime}: {verdict}"));
    (line, failure)
}
