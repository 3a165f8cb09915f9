//! The arguments of the program.

use std::collections::BTreeSet;

use crate::plan::{Kind, Less};

const USAGE: &str = "\
usage: sio-sim [--from SEED] [--seeds N] [--stop-after N] [--trace 1] [--shrink 0]
               [--promise N] [--clients N] [--ops N] [--skip N,N-N] [--without KIND,KIND]";

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Arguments {
    /// The first seed.
    pub(crate) from: u64,
    /// How many seeds are run.
    pub(crate) seeds: u64,
    /// After so many failures no more seeds are run.
    pub(crate) stop_after: usize,
    /// The search ends with the first failure of this promise. Of all others, only the first one is
    /// named.
    pub(crate) promise: Option<u8>,
    /// Whether the whole transcript is printed.
    pub(crate) traces: bool,
    /// Whether failures are made shorter.
    pub(crate) shrinks: bool,
    /// What is left out.
    pub(crate) less: Less,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            from: 0,
            seeds: 100,
            stop_after: 1,
            promise: None,
            traces: false,
            shrinks: true,
            less: Less::default(),
        };
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| USAGE.to_owned())?;
            let number = || value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
            match name.as_str() {
                "--from" => arguments.from = number()?,
                "--seeds" => arguments.seeds = number()?,
                "--stop-after" => arguments.stop_after = number()? as usize,
                "--promise" => {
                    arguments.promise =
                        Some(u8::try_from(number()?).map_err(|error| format!("{name} {value}: {error}"))?);
                }
                "--trace" => arguments.traces = number()? > 0,
                "--shrink" => arguments.shrinks = number()? > 0,
                "--clients" => arguments.less.clients = Some(number()? as usize),
                "--ops" => arguments.less.ops = Some(number()? as usize),
                "--skip" => arguments.less.skip = ranges(&value)?,
                "--without" => arguments.less.without = kinds(&value)?,
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(arguments)
    }
}

fn ranges(text: &str) -> Result<BTreeSet<usize>, String> {
    let mut all = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<usize>().map_err(|error| format!("{part}: {error}"));
        all.extend(number(from)?..=number(to)?);
    }
    Ok(all)
}

fn kinds(text: &str) -> Result<BTreeSet<Kind>, String> {
    let known = |name: &str| {
        let found = Kind::ALL.into_iter().find(|kind| format!("{kind:?}") == name);
        found.ok_or_else(|| format!("{name}: there are {:?}", Kind::ALL))
    };
    text.split(',').filter(|part| !part.is_empty()).map(known).collect()
}

/// The arguments that leave this out.
pub(crate) fn words(less: &Less) -> String {
    let mut words = String::new();
    if let Some(clients) = less.clients {
        words.push_str(&format!(" --clients {clients}"));
    }
    if let Some(ops) = less.ops {
        words.push_str(&format!(" --ops {ops}"));
    }
    if !less.skip.is_empty() {
        words.push_str(&format!(" --skip {}", written(&less.skip)));
    }
    if !less.without.is_empty() {
        let names: Vec<String> = less.without.iter().map(|kind| format!("{kind:?}")).collect();
        words.push_str(&format!(" --without {}", names.join(",")));
    }
    words
}

fn written(numbers: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == *number => *end = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let text = ranges.iter().map(|(from, to)| match from == to {
        true => from.to_string(),
        false => format!("{from}-{to}"),
    });
    text.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let less = Less {
            clients: Some(2),
            ops: Some(40),
            skip: BTreeSet::from([1, 2, 3, 7, 9, 10]),
            without: BTreeSet::from([Kind::Jump, Kind::Cut]),
        };
        let text = words(&less);
        assert_eq!(text, " --clients 2 --ops 40 --skip 1-3,7,9-10 --without Cut,Jump");
        let parsed = Arguments::parse(text.split_whitespace().map(str::to_owned)).unwrap();
        assert_eq!(parsed.less, less);
    }
}
