//! Runs seeds one behind the other, and says what came out.

use std::process::ExitCode;
use std::time::Duration;

use crate::arguments::{Arguments, words};
use crate::effort::{AGAIN, Effort};
use crate::plan::{Less, Plan};
use crate::rogue::besiege;
use crate::shrink::shrink;
use crate::transcript::Mode;
use crate::violation::{Promise, Violation, caught};
use crate::world::{Report, World};

/// One seed of so many is run twice, and both runs have to be equal.
const TWICE: u64 = 20;

/// Runs one seed. An input is too slow only if it is so in every run.
pub(crate) fn run_one(seed: u64, less: &Less, mode: Mode) -> Report {
    let mut report = run_once(seed, less, mode, false);
    for _ in 0..AGAIN {
        if report.slow.is_empty() || report.failure.is_some() {
            return report;
        }
        let again = run_once(seed, less, Mode::Off, true);
        report
            .slow
            .retain(|slow| again.slow.iter().any(|other| other.input == slow.input));
    }
    if let (Some(slow), None) = (report.slow.first(), &report.failure) {
        report.failure = Some(Violation {
            promise: Promise::Price,
            words: slow.words.clone(),
        });
    }
    report
}

/// Runs one seed.
fn run_once(seed: u64, less: &Less, mode: Mode, is_exact: bool) -> Report {
    let make = || World::new(Plan::draw(seed, less), mode, Effort::new(is_exact));
    let report = match caught(make) {
        Ok(world) => finish(world, World::run),
        Err(words) => Report::of_panic(&words),
    };
    match report.failure {
        Some(_) => report,
        None => match caught(|| besiege(seed, less, mode)) {
            Ok(siege) => report.and(siege),
            Err(words) => Report::of_panic(&words),
        },
    }
}

/// Lets a world do something, and says what has come of it. A panic is a failure like any other:
/// the world knows still what has happened before.
fn finish(mut world: World, act: impl FnOnce(&mut World)) -> Report {
    if let Err(words) = caught(|| act(&mut world)) {
        world.fail(Promise::Conduct, format_args!("panic: {words}"));
    }
    let mut report = world.report();
    // What has panicked may do so again when it is dropped.
    if let (Err(words), None) = (caught(|| drop(world)), &report.failure) {
        report.failure = Report::of_panic(&words).failure;
    }
    report
}

/// Runs all seeds that were asked for. The last line is the sum.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let (mut time, mut faults, mut steps, mut violations) = (Duration::ZERO, 0, 0, 0);
    let mut done = 0;
    for seed in arguments.from..arguments.from + arguments.seeds {
        let is_checked = seed.is_multiple_of(TWICE);
        let mode = if is_checked { Mode::Hashed } else { Mode::Off };
        let mut report = run_one(seed, &arguments.less, mode);
        done += 1;
        if is_checked && report.failure.is_none() {
            let again = run_one(seed, &arguments.less, Mode::Hashed);
            if (again.hash, again.steps) != (report.hash, report.steps) {
                report.failure = Some(Violation {
                    promise: Promise::Conduct,
                    words: "two runs of one seed differ".to_owned(),
                });
            }
        }
        (time, faults, steps) = (time + report.time, faults + report.faults, steps + report.steps);
        if let Some(failure) = report.failure {
            violations += 1;
            if arguments
                .promise
                .is_some_and(|promise| promise != failure.promise as u8)
            {
                if violations == 1 {
                    println!("\nseed {seed}: {failure}");
                }
                continue;
            }
            explain(seed, arguments, &failure);
            if violations >= arguments.stop_after || arguments.promise.is_some() {
                break;
            }
        } else if arguments.traces {
            let report = run_one(seed, &arguments.less, Mode::Whole);
            report.lines.iter().for_each(|line| println!("{line}"));
        }
    }
    let hours = time.as_secs_f64() / 3600.0;
    println!("{done} seeds, {hours:.1} simulated hours, {steps} steps, {faults} faults, {violations} violations");
    match violations {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Prints a failure: the seed, the promise, the settings, the last lines, and how to see it again.
fn explain(seed: u64, arguments: &Arguments, failure: &Violation) {
    println!("\nseed {seed}: {failure}");
    let less = match arguments.shrinks {
        true => shrink(seed, failure, &arguments.less),
        false => arguments.less.clone(),
    };
    let mode = if arguments.traces { Mode::Whole } else { Mode::Kept };
    let report = run_one(seed, &less, mode);
    println!("{}", explanation(&Plan::draw(seed, &less), &report));
    println!("again: cargo xtask sim --from {seed} --seeds 1{}\n", words(&less));
}

/// The settings, the last lines, and what is wrong behind which step.
fn explanation(plan: &Plan, report: &Report) -> String {
    let mut words = format!("{}\n", plan.words());
    report
        .lines
        .iter()
        .for_each(|line| words.push_str(&format!("  {line}\n")));
    if let Some(failure) = &report.failure {
        words.push_str(&format!("after {} steps: {failure}", report.steps));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 11: who reads of a panic reads what there was before it, as with any other failure.
    #[test]
    fn a_panic_is_explained_as_any_failure_is() {
        let plan = || Plan::draw(1, &Less::default());
        let world = World::new(plan(), Mode::Kept, Effort::new(false));
        let report = finish(world, |world| {
            world.run();
            panic!("on {}", "purpose");
        });
        assert!(report.steps > 0 && report.lines.len() > 10, "{report:?}");
        let words = explanation(&plan(), &report);
        let end = format!("after {} steps: promise 11 (Conduct): panic: on purpose", report.steps);
        for part in [
            "operations",
            "server: ping",
            "all clients go",
            "VIOLATION Conduct panic",
            &end,
        ] {
            assert!(words.contains(part), "{part} is missing in {words}");
        }
    }
}
