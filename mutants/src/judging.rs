//! Runs a mutant against the tests that reach it.

use crate::building::{Places, Programs};
use crate::child::{self, End};
use crate::failure::Outcome;
use crate::reach::Test;
use crate::results::Verdict;
use std::time::Duration;

/// How many tests the first program runs. Each further one runs twice as many: most mutants are
/// found by one of the first tests, and starting a program costs about as much as such a test.
const FIRST: usize = 24;

/// The most tests that one program runs.
const MOST: usize = 400;

/// Under a mutant, tests may take this many times as long as without.
const TIMES: u32 = 10;

/// Runs a mutant against these tests, in this order, until one fails. `limit` is the time that they
/// have in addition to ten times what they take without a mutant.
pub(crate) fn judge(
    places: &Places,
    programs: &Programs,
    mutant: u32,
    tests: &[&Test],
    limit: Duration,
) -> Outcome<(Verdict, String)> {
    if tests.is_empty() {
        return Ok((Verdict::Unreached, String::new()));
    }
    for group in groups(tests.len()) {
        let group = &tests[group];
        for (is_unit, program) in [(true, &programs.unit), (false, &programs.all)] {
            let of_program = || group.iter().filter(|test| test.is_unit == is_unit);
            if of_program().next().is_none() {
                continue;
            }
            let time: Duration = of_program().map(|test| test.time).sum();
            let mut command = child::command(program, &places.copy, &mutant.to_string());
            command.args(["--exact", "--test-threads=1"]);
            command.args(of_program().map(|test| &test.name));
            match child::run(&mut command, time * TIMES + limit, false, &mut |_| {})? {
                End::Passed => {}
                End::Failed(by) => return Ok((Verdict::Found, by)),
                End::Endless => return Ok((Verdict::Endless, String::new())),
            }
        }
    }
    Ok((Verdict::NotFound, String::new()))
}

/// Parts of so many tests: small ones first.
fn groups(tests: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let (mut start, mut size) = (0, FIRST);
    std::iter::from_fn(move || {
        let group = start..tests.min(start + size);
        start = group.end;
        size = (size * 2).min(MOST);
        (!group.is_empty()).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_grow_and_have_every_test_once() {
        assert_eq!(groups(0).next(), None);
        assert!(groups(10).eq(std::iter::once(0..10)));
        assert_eq!(groups(100).collect::<Vec<_>>(), [0..24, 24..72, 72..100]);
        assert!(groups(2000).flatten().eq(0..2000));
        assert!(groups(2000).all(|group| group.len() <= MOST));
    }
}
