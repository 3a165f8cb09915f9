//! The command line of a program: options, each with a value.

use std::fmt::Display;
use std::process::exit;

/// The options that a program was started with.
#[derive(Debug)]
pub struct Arguments {
    usage: &'static str,
    values: Vec<(String, String)>,
}

impl Arguments {
    /// Reads the command line of this process. `names` are the options that may occur in it.
    ///
    /// `--help` writes `usage` and ends the process with 0. An unknown option, an option without a
    /// value, or an option that is given twice ends the process with 2. Then the reason and `usage`
    /// go to the standard error.
    #[must_use]
    pub fn read(usage: &'static str, names: &[&str]) -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        if words.iter().any(|word| word == "--help") {
            say(usage);
            exit(0);
        }
        parse(words, names).map_or_else(|reason| refuse(usage, reason), |values| Self { usage, values })
    }

    /// Returns the value of an option, if it was given.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let given = self.values.iter().find(|(given, _)| given == name);
        given.map(|(_, value)| &**value)
    }

    /// Returns the value of `--port`, or `default`. A value that is not a port number ends the
    /// process like an unknown option.
    #[must_use]
    pub fn port(&self, default: u16) -> u16 {
        match self.value("--port").map_or(Ok(default), str::parse) {
            Ok(port) => port,
            Err(error) => self.refuse(format_args!("--port: {error}")),
        }
    }

    /// Ends the process like an unknown option, with this reason.
    pub fn refuse(&self, reason: impl Display) -> ! {
        refuse(self.usage, reason)
    }
}

#[expect(clippy::print_stdout, reason = "it was asked for")]
fn say(usage: &str) {
    println!("{usage}");
}

#[expect(clippy::print_stderr, reason = "it is for whoever started the program")]
fn refuse(usage: &str, reason: impl Display) -> ! {
    eprintln!("{reason}\n\n{usage}");
    exit(2)
}

/// Splits the words of a command line into pairs of a name and a value.
fn parse(words: Vec<String>, names: &[&str]) -> Result<Vec<(String, String)>, String> {
    let mut values: Vec<(String, String)> = Vec::new();
    let mut words = words.into_iter();
    while let Some(name) = words.next() {
        if !names.contains(&&*name) {
            return Err(format!("unknown argument {name:?}"));
        }
        if values.iter().any(|(given, _)| *given == name) {
            return Err(format!("{name} is given twice"));
        }
        let value = words.next().ok_or_else(|| format!("{name} wants a value"))?;
        values.push((name, value));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_taken() {
        let read = |line: &str| parse(line.split_whitespace().map(Into::into).collect(), &["--port", "--ca"]);
        assert_eq!(read(""), Ok(Vec::new()));
        let both = [("--ca", "x"), ("--port", "1")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(read("--ca x --port 1"), Ok(both.into()));
        for line in [
            "--prot 1",
            "1",
            "--port 1 2",
            "--port",
            "--port 1 --port 2",
            "-h",
            "--port=1",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
