//! The file of results. A later run continues it, as long as it is about the same sources.

use crate::failure::{Failure, Outcome, While};
use crate::rewriting::Mutant;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What has become of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A test has failed.
    Found,
    /// The tests did not end in their time. This counts as found.
    Endless,
    /// All tests that reach it have passed.
    NotFound,
    /// No test reaches it.
    Unreached,
    /// It does not compile, so it is no mutant.
    Refused,
}

const VERDICTS: &[(Verdict, &str)] = &[
    (Verdict::Found, "found"),
    (Verdict::Endless, "endless"),
    (Verdict::NotFound, "not found"),
    (Verdict::Unreached, "reached by no test"),
    (Verdict::Refused, "does not compile"),
];

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = VERDICTS.iter().find(|(verdict, _)| verdict == self);
        formatter.pad(word.map_or("", |(_, word)| word))
    }
}

/// The file, and what it says.
pub(crate) struct Results {
    file: File,
    verdicts: BTreeMap<u32, Verdict>,
}

impl Results {
    /// Opens the file. If it is about other sources, it is kept under another name, and a new one
    /// begins: a number would stand for another mutant.
    pub(crate) fn open(path: &Path, sources: u64) -> Outcome<Self> {
        let first = format!(
            "# sources {sources:016x}; number, verdict, place, function, change, tests that reach it, found by"
        );
        let text = match path.exists() {
            true => fs::read_to_string(path).when(path.display())?,
            false => String::new(),
        };
        let is_same = text.lines().next() == Some(&first);
        if !text.is_empty() && !is_same {
            let old = PathBuf::from(format!("{}.old", path.display()));
            fs::rename(path, &old).when(path.display())?;
            println!(
                "sio-proto has changed since the results in {}: they are kept in {}",
                path.display(),
                old.display()
            );
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .when(path.display())?;
        let mut verdicts = BTreeMap::new();
        if is_same {
            // A run that was ended may have left half a line.
            if !text.ends_with('\n') {
                return Err(Failure::new(format!(
                    "the last line of {} has no end: delete it",
                    path.display()
                )));
            }
            verdicts = text.lines().skip(1).map(read).collect::<Outcome<_>>()?;
        } else {
            writeln!(file, "{first}").when(path.display())?;
        }
        Ok(Self { file, verdicts })
    }

    pub(crate) fn verdict(&self, mutant: u32) -> Option<Verdict> {
        self.verdicts.get(&mutant).copied()
    }

    /// The mutants that are known not to compile.
    pub(crate) fn refused(&self) -> impl Iterator<Item = u32> {
        let refused = self
            .verdicts
            .iter()
            .filter(|(_, verdict)| **verdict == Verdict::Refused);
        refused.map(|(number, _)| *number)
    }

    /// Notes that a mutant does not compile.
    pub(crate) fn refuse(&mut self, number: u32) -> Outcome {
        self.write(number, Verdict::Refused, &format!("{number}\t{}\n", Verdict::Refused))
    }

    /// Notes what has become of a mutant.
    pub(crate) fn add(&mut self, mutant: &Mutant, verdict: Verdict, tests: usize, by: &str) -> Outcome {
        let Mutant {
            number,
            file,
            line,
            function,
            what,
        } = mutant;
        let row = format!("{number}\t{verdict}\t{file}:{line}\t{function}\t{what}\t{tests}\t{by}\n");
        self.write(*number, verdict, &row)
    }

    fn write(&mut self, number: u32, verdict: Verdict, row: &str) -> Outcome {
        self.file.write_all(row.as_bytes()).when("the results")?;
        self.verdicts.insert(number, verdict);
        Ok(())
    }

    /// The last line of a run: what is known of these mutants.
    pub(crate) fn summary<'a>(&self, mutants: impl Iterator<Item = &'a Mutant>) -> String {
        let verdicts: Vec<Option<Verdict>> = mutants.map(|mutant| self.verdict(mutant.number)).collect();
        let count = |wanted: &[Verdict]| {
            let known = verdicts.iter().flatten();
            known.filter(|verdict| wanted.contains(verdict)).count()
        };
        format!(
            "{} mutants, {} run, {} found, {} not found, {} reached by no test",
            verdicts.len(),
            verdicts.iter().flatten().count(),
            count(&[Verdict::Found, Verdict::Endless]),
            count(&[Verdict::NotFound]),
            count(&[Verdict::Unreached]),
        )
    }
}

/// The number and the verdict of a line.
fn read(line: &str) -> Outcome<(u32, Verdict)> {
    let mut words = line.split('\t');
    let number = words.next().and_then(|word| word.parse().ok());
    let verdict = words
        .next()
        .and_then(|word| VERDICTS.iter().find(|(_, known)| *known == word));
    match (number, verdict) {
        (Some(number), Some((verdict, _))) => Ok((number, *verdict)),
        _ => Err(Failure::new(format!("this line of the results says nothing: `{line}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(number: u32) -> Mutant {
        Mutant {
            number,
            file: "a.rs".to_owned(),
            line: 3,
            function: "f".to_owned(),
            what: "without !: ! a".to_owned(),
        }
    }

    #[test]
    fn a_later_run_continues_unless_the_sources_have_changed() {
        let folder = std::env::temp_dir().join(format!("sio-mutants-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("results.tsv");
        let mut results = Results::open(&path, 1).unwrap();
        results.refuse(1).unwrap();
        results.add(&mutant(2), Verdict::Found, 5, "t_a::b").unwrap();
        results.add(&mutant(3), Verdict::NotFound, 5, "").unwrap();
        results.add(&mutant(4), Verdict::Unreached, 0, "").unwrap();
        results.add(&mutant(5), Verdict::Endless, 1, "").unwrap();
        drop(results);

        let results = Results::open(&path, 1).unwrap();
        assert_eq!(results.refused().collect::<Vec<_>>(), [1]);
        assert_eq!(results.verdict(3), Some(Verdict::NotFound));
        assert_eq!(results.verdict(6), None);
        let all: Vec<Mutant> = (2..8).map(mutant).collect();
        let expected = "6 mutants, 4 run, 2 found, 1 not found, 1 reached by no test";
        assert_eq!(results.summary(all.iter()), expected);
        drop(results);

        let results = Results::open(&path, 2).unwrap();
        assert_eq!(results.verdict(3), None);
        assert!(folder.join("results.tsv.old").is_file());
        drop(results);

        fs::write(&path, fs::read_to_string(&path).unwrap() + "12\tfou").unwrap();
        assert!(Results::open(&path, 2).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
