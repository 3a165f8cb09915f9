//! What a person asks for.

use crate::failure::{Failure, Outcome, While};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str =
    "usage: sio-mutants --target FOLDER [--only FILES] [--limit SECONDS] [--from N] [--jobs N]";

/// How long tests may take in addition to ten times what they take without a mutant.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Where the copy, its build and the results lie.
    pub(crate) target: PathBuf,
    /// The files of machines whose mutants are run. None stands for all.
    pub(crate) only: Vec<String>,
    pub(crate) limit: Duration,
    /// The number of the first mutant that is run.
    pub(crate) from: u32,
    /// How many mutants are run at once.
    pub(crate) jobs: usize,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut target = None;
        let mut arguments = Self {
            target: PathBuf::new(),
            only: Vec::new(),
            limit: LIMIT,
            from: 1,
            jobs: 1,
        };
        while let Some(name) = words.next() {
            let value = words
                .next()
                .ok_or_else(|| Failure::new(format!("{name} needs a value\n{USAGE}")))?;
            match name.as_str() {
                "--target" => target = Some(PathBuf::from(value)),
                "--only" => {
                    arguments.only = value
                        .split(',')
                        .filter(|name| !name.is_empty())
                        .map(str::to_owned)
                        .collect()
                }
                "--limit" => arguments.limit = Duration::from_secs(value.parse().when("--limit")?),
                "--from" => arguments.from = value.parse().when("--from")?,
                "--jobs" => arguments.jobs = value.parse::<NonZero<usize>>().when("--jobs")?.get(),
                _ => return Err(Failure::new(format!("`{name}` means nothing here\n{USAGE}"))),
            }
        }
        arguments.target = target.ok_or_else(|| Failure::new(USAGE))?;
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Arguments> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_a_person_may_ask_for() {
        let arguments = parse("--target t --only server,client/backoff.rs --limit 5 --from 9 --jobs 2").unwrap();
        let expected = Arguments {
            target: PathBuf::from("t"),
            only: vec!["server".to_owned(), "client/backoff.rs".to_owned()],
            limit: Duration::from_secs(5),
            from: 9,
            jobs: 2,
        };
        assert_eq!(arguments, expected);
        assert_eq!(parse("--target t").unwrap().limit, LIMIT);
        for wrong in [
            "",
            "--only a",
            "--target",
            "--target t --jobs 0",
            "--target t --from x",
            "--target t --seeds 1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
