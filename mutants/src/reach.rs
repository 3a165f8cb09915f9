//! Learns which test reaches which mutant. A test that does not reach a mutant cannot notice it.

use crate::building::{Places, Programs};
use crate::child::{self, End};
use crate::failure::{Failure, Outcome, While};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How long all tests may take, without a mutant.
const LIMIT: Duration = Duration::from_secs(3600);

/// A test that takes longer than this is left out.
const SLOW: Duration = Duration::from_secs(3);

/// A test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    /// How long it takes without a mutant. The cheapest test comes first.
    pub(crate) time: Duration,
    pub(crate) is_unit: bool,
    pub(crate) name: String,
}

/// The tests of each mutant, the cheapest first. They are numbers in `tests`.
#[derive(Default)]
pub(crate) struct Reach {
    pub(crate) tests: Vec<Test>,
    of: BTreeMap<u32, Vec<usize>>,
    /// The names of tests that are left out, and why.
    pub(crate) left_out: Vec<String>,
}

impl Reach {
    /// Runs all tests once. Each of them runs in a thread that has its name.
    pub(crate) fn learn(places: &Places, programs: &Programs, jobs: usize) -> Outcome<Self> {
        let mut reach = Self::default();
        for (is_unit, program) in [(true, &programs.unit), (false, &programs.all)] {
            let notes = places.target.join("reached.txt");
            let _ = fs::remove_file(&notes);
            let failed = run_all(program, places, jobs, &notes)?;
            let text = fs::read_to_string(&notes).when(notes.display())?;
            reach.add(is_unit, &text, &failed)?;
        }
        reach.sort();
        Ok(reach)
    }

    /// Adds the notes of a program.
    fn add(&mut self, is_unit: bool, notes: &str, failed: &BTreeSet<String>) -> Outcome {
        for line in notes.lines() {
            let words: Vec<&str> = line.split('\t').collect();
            let [name, time, numbers] = words[..] else {
                return Err(Failure::new(format!("a note of reached mutants is `{line}`")));
            };
            // A thread without a name was started by a test. What only such threads reach is
            // reported as reached by no test.
            let time = Duration::from_micros(time.parse().when(line)?);
            if name.is_empty() {
                continue;
            }
            let why = match () {
                () if failed.contains(name) => "fails without a mutant",
                () if time > SLOW => "is slow",
                () => "",
            };
            if !why.is_empty() {
                self.left_out
                    .push(format!("{name} ({why}, {:.1} s)", time.as_secs_f32()));
                continue;
            }
            let test = self.tests.len();
            self.tests.push(Test {
                time,
                is_unit,
                name: name.to_owned(),
            });
            for number in numbers.split_whitespace() {
                self.of.entry(number.parse().when(line)?).or_default().push(test);
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        for tests in self.of.values_mut() {
            tests.sort_by_key(|test| &self.tests[*test]);
        }
    }

    /// The tests that reach this mutant, the cheapest first.
    pub(crate) fn of(&self, mutant: u32) -> impl Iterator<Item = &Test> {
        let tests = self.of.get(&mutant).map(Vec::as_slice).unwrap_or_default();
        tests.iter().filter_map(|test| self.tests.get(*test))
    }
}

/// Runs all tests of a program. Returns the names of those that fail.
fn run_all(program: &Path, places: &Places, jobs: usize, notes: &Path) -> Outcome<BTreeSet<String>> {
    let mut command = child::command(program, &places.copy, "reached");
    // With one thread, the tests would run in the thread of the harness, which has another name.
    command.arg(format!("--test-threads={}", jobs.max(2)));
    command.env("SIO_MUTANTS_REACHED", notes);
    let mut failed = BTreeSet::new();
    let mut is_complete = false;
    let end = child::run(&mut command, LIMIT, true, &mut |line| {
        failed.extend(child::failed_test(line).map(str::to_owned));
        is_complete |= line.starts_with("test result: ");
    })?;
    match end {
        End::Passed | End::Failed(_) if is_complete => Ok(failed),
        end => Err(Failure::new(format!(
            "the tests did not end by themselves without a mutant: {end:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_test_comes_first() {
        let mut reach = Reach::default();
        let notes = "t_a::slow\t900\t1 2 \nt_a::quick\t100\t2 3 \n\t5\t4 \nt_a::long\t3000001\t3 \nt_a::bad\t1\t3 \n";
        reach
            .add(false, notes, &BTreeSet::from(["t_a::bad".to_owned()]))
            .unwrap();
        reach.add(true, "a::tests::b\t500\t2 \n", &BTreeSet::new()).unwrap();
        reach.sort();
        let names = |mutant| reach.of(mutant).map(|test| test.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names(1), ["t_a::slow"]);
        assert_eq!(names(2), ["t_a::quick", "a::tests::b", "t_a::slow"]);
        assert_eq!(names(3), ["t_a::quick"]);
        assert!(names(4).is_empty());
        assert_eq!(
            reach.left_out,
            ["t_a::long (is slow, 3.0 s)", "t_a::bad (fails without a mutant, 0.0 s)"]
        );
    }

    #[test]
    fn a_note_that_was_cut_is_an_error() {
        assert!(Reach::default().add(false, "t_a::b\t1", &BTreeSet::new()).is_err());
        assert!(Reach::default().add(false, "t_a::b\tx\t1", &BTreeSet::new()).is_err());
    }
}
