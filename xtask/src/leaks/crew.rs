//! Threads that live the lives of many clients, and the count of these lives.

use super::lives::{Life, Silent};
use super::random::Random;
use crate::failure::{Failure, Outcome};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::Ipv4Addr;
use std::thread;

const WORKERS: u64 = 6;

/// The most silent clients of one thread at one time.
const MOST_SILENT: usize = 100;

/// How many lives there were, by their ending and by their kind.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<String, BTreeMap<String, u32>>);

impl Tally {
    fn add(&mut self, ending: String, kind: String, count: u32) {
        *self.0.entry(ending).or_default().entry(kind).or_default() += count;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (ending, kinds) in &self.0 {
            let total: u32 = kinds.values().sum();
            let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            writeln!(formatter, "{total:>7} {ending} ({})", kinds.join(", "))?;
        }
        Ok(())
    }
}

/// Lives this number of lives. The first life that does not go as it should ends the run.
pub(super) fn work(port: u16, seed: u64, cycles: u32) -> Outcome<Tally> {
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let share = cycles / WORKERS as u32 + u32::from(number < u64::from(cycles) % WORKERS);
            thread::spawn(move || Worker::new(port, seed, number).work(share))
        })
        .collect();
    let mut tally = Tally::default();
    for worker in workers {
        let lived = worker.join().map_err(|_| Failure::new("a worker has panicked"))??;
        for (ending, kinds) in lived.0 {
            for (kind, count) in kinds {
                tally.add(ending.clone(), kind, count);
            }
        }
    }
    Ok(tally)
}

struct Worker {
    port: u16,
    number: u64,
    random: Random,
    silent: VecDeque<Silent>,
    tally: Tally,
}

impl Worker {
    fn new(port: u16, seed: u64, number: u64) -> Self {
        Self {
            port,
            number,
            random: Random::new(seed, number),
            silent: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    fn work(mut self, cycles: u32) -> Outcome<Tally> {
        for cycle in 0..cycles {
            while self.silent.front().is_some_and(Silent::is_over) {
                self.bury()?;
            }
            let mut life = Life::draw(&mut self.random);
            while life.is_silent() && self.silent.len() >= MOST_SILENT {
                life = Life::draw(&mut self.random);
            }
            // A connection that the client has closed keeps its port for a minute. Many addresses
            // have many ports.
            let from = Ipv4Addr::new(127, 0, 10 + self.number as u8, 1 + (cycle % 200) as u8);
            let lived = life.live(from, self.port, &mut self.random);
            let silent =
                lived.map_err(|why| Failure::new(format!("{life} (worker {}, cycle {cycle}): {why}", self.number)))?;
            self.silent.extend(silent);
            let (kind, ending) = life.names();
            self.tally.add(ending, kind, 1);
        }
        while !self.silent.is_empty() {
            self.bury()?;
        }
        Ok(self.tally)
    }

    /// Waits for the end of the silent client that came first.
    fn bury(&mut self) -> Outcome {
        self.silent.pop_front().map_or(Ok(()), Silent::end)
    }
}
