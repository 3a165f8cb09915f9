//! What the operating system says about the server: processor time and memory. Linux only.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::failure::{Failure, Outcome};

/// The processor time of a process at one moment.
pub(crate) struct Processor {
    /// Nanoseconds of each thread that lives.
    threads: BTreeMap<String, u64>,
    /// Of all threads, also of those that have ended, in steps of 10 ms.
    ticks: u64,
}

/// `process` is a number, or `self`.
pub(crate) fn processor(process: &str) -> Outcome<Processor> {
    let mut threads = BTreeMap::new();
    for entry in read_tasks(process)? {
        // A thread can end meanwhile.
        let Ok(text) = fs::read_to_string(format!("/proc/{process}/task/{entry}/schedstat")) else {
            continue;
        };
        let nanos = text.split(' ').next().and_then(|word| word.parse().ok());
        threads.insert(entry, nanos.ok_or_else(|| Failure::new("/proc has no schedstat"))?);
    }
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program, in brackets, can hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse::<u64>().ok());
    Ok(Processor {
        threads,
        ticks: ticks.sum(),
    })
}

fn read_tasks(process: &str) -> Outcome<Vec<String>> {
    let folder = fs::read_dir(format!("/proc/{process}/task"))
        .map_err(|error| Failure::new(format!("process {process}: {error}")))?;
    Ok(folder
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect())
}

impl Processor {
    /// The time from `earlier` to now. If a thread has ended in between, it comes from the clock
    /// with steps of 10 ms.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        if earlier.threads.keys().all(|thread| self.threads.contains_key(thread)) {
            let sum = |threads: &BTreeMap<String, u64>| threads.values().sum::<u64>();
            return Duration::from_nanos(sum(&self.threads).saturating_sub(sum(&earlier.threads)));
        }
        Duration::from_millis(10 * self.ticks.saturating_sub(earlier.ticks))
    }
}

/// The memory of a process in bytes. Pages that it shares count in part (PSS).
pub(crate) fn memory(process: &str) -> Outcome<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let kilobytes = text.lines().find_map(|line| {
        line.strip_prefix("Pss:")?
            .trim()
            .strip_suffix(" kB")?
            .trim()
            .parse::<u64>()
            .ok()
    });
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| Failure::new("/proc has no Pss"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process() {
        let before = processor("self").expect("/proc");
        let start = crate::clock::now();
        let mut sum = 0_u64;
        while start.elapsed() < Duration::from_millis(60) {
            sum = std::hint::black_box(sum + 1);
        }
        let spent = processor("self").expect("/proc").since(&before);
        assert!(spent > Duration::from_millis(5), "{spent:?}");
        assert!(memory("self").expect("/proc") > 100_000);
        assert!(processor("0").is_err());
    }

    #[test]
    fn threads_that_ended() {
        let at = |threads: &[(&str, u64)], ticks| Processor {
            threads: threads
                .iter()
                .map(|(name, nanos)| ((*name).to_owned(), *nanos))
                .collect(),
            ticks,
        };
        let early = at(&[("1", 100), ("2", 50)], 7);
        assert_eq!(
            at(&[("1", 200), ("2", 60), ("3", 1)], 9).since(&early),
            Duration::from_nanos(111)
        );
        assert_eq!(at(&[("1", 200)], 9).since(&early), Duration::from_millis(20));
    }
}
