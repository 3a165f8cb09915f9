//! Changes the machines of `sio-proto` in small ways, one at a time, and looks whether a test of
//! `sio-proto` notices. `cargo xtask mutants` runs it; `docs/PROOF.md` has what came of it.
//!
//! 1. [`copying`]: `sio-proto` is copied, because the repository itself is never changed.
//! 2. [`rewriting`] and [`building`]: the copy gets all mutants at once, and is built once. Those
//!    that do not compile are left out.
//! 3. [`reach`]: all tests are run once, to learn which test reaches which mutant.
//! 4. [`judging`]: each mutant is run against the tests that reach it, the cheapest first.
//! 5. [`results`]: what came of it is written to a file, which a later run continues.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "a command-line program speaks through its standard output"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests have a time limit, and a thread reads what they write"
)]

mod arguments;
mod attributes;
mod building;
mod child;
mod copying;
#[path = "../../xtask/src/failure.rs"]
mod failure;
mod judging;
mod machines;
mod reach;
mod results;
mod rewriting;

use arguments::Arguments;
use building::{Places, Programs};
use copying::SOURCES;
use failure::{Failure, Outcome, While};
use reach::{Reach, Test};
use results::{Results, Verdict};
use rewriting::Mutant;
use std::collections::{BTreeSet, VecDeque};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

/// The number that no mutant has. With it, the copy does what the repository does.
const NO_MUTANT: u32 = 0;

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("\nmutants: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome {
    let places = Places::new(&arguments.target)?;
    let files = machines::files(&places.repository.join(SOURCES))?;
    let chosen = machines::choose(&files, &arguments.only)?;
    std::fs::create_dir_all(&places.copy).when(places.copy.display())?;
    let sources = copying::copy(&places.repository, &places.copy, &chosen)?;
    let mut results = Results::open(&arguments.target.join("results.tsv"), sources)?;

    let mut left_out: BTreeSet<u32> = results.refused().collect();
    let (mut mutants, programs) = building::build(&places, &files, &chosen, &mut left_out)?;
    for number in left_out {
        if results.verdict(number).is_none() {
            results.refuse(number)?;
        }
    }
    mutants.retain(|mutant| mutant.number >= arguments.from);
    let to_do: VecDeque<&Mutant> = mutants
        .iter()
        .filter(|mutant| results.verdict(mutant.number).is_none())
        .collect();
    if !to_do.is_empty() {
        println!("running all tests, to learn which of them reaches which mutant");
        let reach = Reach::learn(&places, &programs, arguments.jobs)?;
        println!(
            "{} tests, and left out: {}",
            reach.tests.len(),
            reach.left_out.join(", ")
        );
        control(arguments, &places, &programs, &reach, &to_do)?;
        judge_all(arguments, &places, &programs, &reach, to_do, &mut results)?;
    }
    println!("{}", results.summary(mutants.iter()));
    Ok(())
}

/// Runs the tests as they are run for a mutant, but without one. All of them have to pass:
/// otherwise a mutant would be found by something else.
fn control(
    arguments: &Arguments,
    places: &Places,
    programs: &Programs,
    reach: &Reach,
    mutants: &VecDeque<&Mutant>,
) -> Outcome {
    println!("running these tests without a mutant: all of them have to pass");
    let tests: BTreeSet<&Test> = mutants.iter().flat_map(|mutant| reach.of(mutant.number)).collect();
    let tests: Vec<&Test> = tests.into_iter().collect();
    match judging::judge(places, programs, NO_MUTANT, &tests, arguments.limit)? {
        (Verdict::NotFound | Verdict::Unreached, _) => Ok(()),
        (verdict, by) => Err(Failure::new(format!(
            "without a mutant the tests end with `{verdict}` {by}"
        ))),
    }
}

/// Runs the mutants, several at once.
fn judge_all(
    arguments: &Arguments,
    places: &Places,
    programs: &Programs,
    reach: &Reach,
    to_do: VecDeque<&Mutant>,
    results: &mut Results,
) -> Outcome {
    let queue = Mutex::new(to_do);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        let (sender, judged) = mpsc::channel();
        for _ in 0..arguments.jobs {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(mutant) = next() {
                    let tests: Vec<&Test> = reach.of(mutant.number).collect();
                    let outcome = judging::judge(places, programs, mutant.number, &tests, arguments.limit);
                    // Nobody listens any more after an error.
                    if sender.send((mutant, tests.len(), outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (mutant, tests, outcome) in judged {
            let (verdict, by) = outcome?;
            results.add(mutant, verdict, tests, &by)?;
            let Mutant {
                number,
                file,
                line,
                what,
                ..
            } = mutant;
            println!("{number:>5} {verdict:<18} {file}:{line} {what}");
        }
        Ok(())
    })
}
