//! What node's test runner says at the end of a report.

use std::iter::Sum;

/// The summary at the end of a report, or the sum of several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    tests: u32,
    pass: u32,
    fail: u32,
    cancelled: u32,
    skipped: u32,
    todo: u32,
}

impl Counts {
    pub(super) fn read(report: &str) -> Self {
        let count = |name: &str| {
            let last = report
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix(&format!("# {name} ")));
            last.and_then(|digits| digits.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            tests: count("tests"),
            pass: count("pass"),
            fail: count("fail"),
            cancelled: count("cancelled"),
            skipped: count("skipped"),
            todo: count("todo"),
        }
    }

    /// Whether all tests passed. A test that was not run has not passed, and a run without tests
    /// proves nothing.
    pub(super) fn all_passed(&self) -> bool {
        self.tests > 0 && self.pass == self.tests
    }
}

/// What node's reporter for people says of the tests that failed, with their errors: the end of its
/// text, at most `MOST` bytes of it. Empty if no test has failed.
pub(super) fn failing(said: &str) -> &str {
    const MOST: usize = 8 * 1024;
    let failing = said.rfind("failing tests:").map_or("", |start| &said[start..]);
    let mut most = failing.len().min(MOST);
    while !failing.is_char_boundary(most) {
        most -= 1;
    }
    failing[..most].trim_end()
}

impl<'a> Sum<&'a Self> for Counts {
    fn sum<I: Iterator<Item = &'a Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, next| Self {
            tests: sum.tests + next.tests,
            pass: sum.pass + next.pass,
            fail: sum.fail + next.fail,
            cancelled: sum.cancelled + next.cancelled,
            skipped: sum.skipped + next.skipped,
            todo: sum.todo + next.todo,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_a_report() {
        let report = "TAP version 13\n# Subtest: x\nok 1 - x\n1..1\n# tests 3\n# suites 1\n# pass 2\n# fail 0\n# cancelled 0\n# skipped 1\n# todo 0\n";
        let counts = Counts::read(report);
        assert_eq!(
            counts,
            Counts {
                tests: 3,
                pass: 2,
                skipped: 1,
                ..Counts::default()
            }
        );
        assert!(!counts.all_passed());
        assert!(
            Counts {
                tests: 2,
                pass: 2,
                ..Counts::default()
            }
            .all_passed()
        );
        assert!(!Counts::read("").all_passed());
    }

    #[test]
    fn the_tests_that_failed_and_nothing_before_them() {
        assert_eq!(failing("✔ a\nℹ fail 0\n"), "");
        let said = "✖ a\n  failing tests: no\nℹ fail 1\n\n✖ failing tests:\n\n✖ a\n  Error: é\n";
        assert_eq!(failing(said), "failing tests:\n\n✖ a\n  Error: é");
        let long = format!("failing tests: {}", "é".repeat(10_000));
        assert!(failing(&long).len() <= 8 * 1024);
    }

    #[test]
    fn a_sum_passes_only_if_each_part_does() {
        let good = Counts {
            tests: 2,
            pass: 2,
            ..Counts::default()
        };
        let skipped = Counts {
            tests: 1,
            skipped: 1,
            ..Counts::default()
        };
        assert!([good, good].iter().sum::<Counts>().all_passed());
        assert!(![good, skipped].iter().sum::<Counts>().all_passed());
    }
}
