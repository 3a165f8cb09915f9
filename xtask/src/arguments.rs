//! The arguments after the command: `--name value`, `--name`, and words.

use crate::failure::{Failure, Outcome, While};
use std::num::NonZero;

/// Flags that take no value.
const SWITCHES: &[&str] = &[
    "--accept",
    "--client",
    "--full",
    "--list",
    "--planted",
    "--quick",
    "--screenshot",
    "--where",
    "--worst",
];

/// The arguments that no command has taken yet. A word has an empty name.
pub(crate) struct Arguments(Vec<(String, String)>);

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut found = Vec::new();
        while let Some(name) = words.next() {
            if !name.starts_with("--") {
                found.push((String::new(), name));
                continue;
            }
            let value = if SWITCHES.contains(&name.as_str()) {
                String::new()
            } else {
                words
                    .next()
                    .ok_or_else(|| Failure::new(format!("{name} needs a value")))?
            };
            found.push((name, value));
        }
        Ok(Self(found))
    }

    /// Takes the value of an argument that may be given once.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.remove(place).1)
    }

    /// Takes the parts of a list that is separated by commas. The result is empty if the argument
    /// was not given.
    pub(crate) fn take_list(&mut self, name: &str) -> Vec<String> {
        let list = self.take(name).unwrap_or_default();
        list.split(',')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Takes `--lanes`: how many parts of the work are done at once. One, if it was not given.
    pub(crate) fn take_lanes(&mut self) -> Outcome<usize> {
        match self.take("--lanes") {
            Some(number) => Ok(number.parse::<NonZero<usize>>().when("--lanes")?.get()),
            None => Ok(1),
        }
    }

    /// Takes the words.
    pub(crate) fn take_words(&mut self) -> Vec<String> {
        let (words, others) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(name, _)| name.is_empty());
        self.0 = others;
        let words: Vec<(String, String)> = words;
        words.into_iter().map(|(_, word)| word).collect()
    }

    /// Refuses arguments that no command has taken.
    pub(crate) fn finish(self) -> Outcome {
        match self.0.first() {
            Some((name, word)) if name.is_empty() => Err(Failure::new(format!("unexpected argument `{word}`"))),
            Some((name, _)) => Err(Failure::new(format!("`{name}` means nothing here, or was given twice"))),
            None => Ok(()),
        }
    }
}

/// Fails if `wanted` contains a name that is not in `known`: a wrong name must be an error, and
/// must not select nothing.
pub(crate) fn assert_known(what: &str, wanted: &[String], known: &[&str]) -> Outcome {
    match wanted.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Failure::new(format!(
            "no {what} is called `{name}`; there are {}",
            known.join(", ")
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Arguments> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn values_lists_and_switches() {
        let mut arguments = parse("--only a,b --screenshot --runtime tokio").ok().unwrap();
        assert_eq!(arguments.take_list("--only"), ["a", "b"]);
        assert_eq!(arguments.take("--screenshot").as_deref(), Some(""));
        assert_eq!(arguments.take("--runtime").as_deref(), Some("tokio"));
        assert_eq!(arguments.take("--runtime"), None);
        assert!(arguments.finish().is_ok());
    }

    #[test]
    fn words_stand_anywhere() {
        let mut arguments = parse("cluster --full cuts --only a").ok().unwrap();
        assert_eq!(arguments.take_words(), ["cluster", "cuts"]);
        assert!(arguments.take_words().is_empty());
        assert_eq!(arguments.take_list("--only"), ["a"]);
        assert_eq!(arguments.take("--full").as_deref(), Some(""));
        assert!(arguments.finish().is_ok());
    }

    #[test]
    fn lanes_are_one_or_more() {
        assert_eq!(parse("").ok().unwrap().take_lanes().ok(), Some(1));
        assert_eq!(parse("--lanes 3").ok().unwrap().take_lanes().ok(), Some(3));
        assert!(parse("--lanes 0").ok().unwrap().take_lanes().is_err());
        assert!(parse("--lanes many").ok().unwrap().take_lanes().is_err());
    }

    #[test]
    fn what_is_refused() {
        assert!(parse("word").ok().unwrap().finish().is_err());
        assert!(parse("--only").is_err());
        assert!(parse("--what x").ok().unwrap().finish().is_err());
        assert!(assert_known("step", &["tets".to_owned()], &["test"]).is_err());
    }
}
