//! What is left of the memory that an attack has used.
//!
//! The server counts what it has from its allocator, to the byte. What the process has of the
//! system is more: the allocator keeps pages of which it has given out a part again, and how many
//! differs by some MiB from time to time. So there are two bounds. The first is tight. The second
//! is the case's own. If one of them does not hold, the attack is played again, up to three times:
//! what is kept for the next time stays the same then, and what is lost is lost again.

use super::clients;
use super::watch::HOME;
use crate::failure::{Failure, Outcome};
use crate::process::resident_bytes;
use std::thread;
use std::time::{Duration, Instant};

/// How many bytes more than before the server may have from its allocator after an attack that is
/// played once.
const LITTLE_HEAP: u64 = 1 << 20;

/// How many bytes more than the time before it may have when an attack is played again.
const MOST_LOST: u64 = 512 << 10;

/// How many bytes more than before it may have in any case. Tables that have grown keep a part of
/// their room, the largest of them 2 MiB.
const MOST_HEAP: u64 = 4 << 20;

/// How often an attack is played at most.
const MOST_ROUNDS: usize = 4;

/// The longest time until the server's memory is within its bounds.
const GIVING_BACK: Duration = Duration::from_secs(3);

/// The memory of a server, or how much of it is left of an attack, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// What it has from its allocator.
    pub(super) heap: u64,
    /// What its process has of the system.
    pub(super) resident: u64,
}

/// What follows from the memory that is left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Held,
    /// The attack has to be played again.
    Again,
    Lost(String),
}

impl Memory {
    pub(super) fn read(port: u16, process: u32) -> Outcome<Self> {
        let stats = clients::stats(HOME, port)?;
        let heap = stats["heap"].as_u64();
        Ok(Self {
            heap: heap.ok_or_else(|| Failure::new("the server was built without `--features counted-memory`"))?,
            resident: resident_bytes(process)?,
        })
    }

    /// Waits until the server has given back what an attack has used, but for `kept` bytes of its
    /// process. Returns what it has more than before then.
    pub(super) fn left(port: u16, process: u32, before: Self, kept: u64) -> Outcome<Self> {
        let end = Instant::now() + GIVING_BACK;
        loop {
            let left = Self::read(port, process)?.beyond(before);
            if left.is_within(kept) || Instant::now() > end {
                return Ok(left);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn beyond(self, before: Self) -> Self {
        Self {
            heap: self.heap.saturating_sub(before.heap),
            resident: self.resident.saturating_sub(before.resident),
        }
    }

    fn is_within(self, kept: u64) -> bool {
        self.heap <= LITTLE_HEAP && self.resident <= kept
    }
}

/// Judges what was left after each time that an attack was played, if `kept` bytes of the process
/// may be left.
pub(super) fn judge(left: &[Memory], kept: u64) -> Verdict {
    let Some((last, earlier)) = left.split_last() else {
        return Verdict::Again;
    };
    let grows = |before: &Memory| last.heap > before.heap + MOST_LOST;
    let is_lost = last.heap > LITTLE_HEAP && earlier.last().is_none_or(grows);
    if last.heap <= MOST_HEAP && !is_lost && last.resident <= kept {
        return Verdict::Held;
    }
    if left.len() < MOST_ROUNDS {
        return Verdict::Again;
    }
    let list = |bytes: fn(&Memory) -> u64| {
        let words: Vec<String> = left.iter().map(|left| (bytes(left) >> 10).to_string()).collect();
        words.join(", ")
    };
    Verdict::Lost(format!(
        "of the allocator {} KiB are left, of the process {} KiB",
        list(|left| left.heap),
        list(|left| left.resident)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn left(heap: u64, resident: u64) -> Memory {
        Memory { heap, resident }
    }

    /// Plays an attack as long as it has to be played. Returns how often that is, and the verdict.
    fn play(round: impl Fn(u64) -> Memory) -> (usize, Verdict) {
        let mut rounds = Vec::new();
        loop {
            rounds.push(round(rounds.len() as u64 + 1));
            match judge(&rounds, 16 * MIB) {
                Verdict::Again => {}
                verdict => return (rounds.len(), verdict),
            }
        }
    }

    #[test]
    fn what_is_kept_for_the_next_time_is_no_loss() {
        assert_eq!(judge(&[], 16 * MIB), Verdict::Again);
        assert_eq!(play(|_| left(MIB, 16 * MIB)), (1, Verdict::Held));
        assert_eq!(play(|_| left(2 * MIB, 16 * MIB)), (2, Verdict::Held));
        assert_eq!(play(|round| left(2 * MIB - (round << 10), MIB)), (2, Verdict::Held));
        // The allocator has given back its pages the second time.
        assert_eq!(play(|round| left(0, 60 * MIB / round / round)), (2, Verdict::Held));
    }

    #[test]
    fn what_is_lost_each_time_is_found() {
        for lost in [MIB + 1, 2 * MIB, 11 * MIB] {
            let (rounds, verdict) = play(|round| left(lost * round, MIB));
            assert!(rounds == MOST_ROUNDS && matches!(verdict, Verdict::Lost(_)), "{lost}");
        }
    }

    #[test]
    fn what_stays_is_bounded_too() {
        for (heap, resident) in [(0, 60), (0, 17), (5, 5)] {
            let (rounds, verdict) = play(|_| left(heap * MIB, resident * MIB));
            assert!(
                rounds == MOST_ROUNDS && matches!(verdict, Verdict::Lost(_)),
                "{heap} {resident}"
            );
        }
        let Verdict::Lost(words) = judge(&[left(MIB, 60 * MIB); 4], 16 * MIB) else {
            panic!("60 MiB stay");
        };
        assert!(words.contains("61440, 61440, 61440, 61440 KiB"), "{words}");
    }

    #[test]
    fn what_is_left_is_what_there_is_more() {
        let before = left(5, 70);
        assert_eq!(left(9, 60).beyond(before), left(4, 0));
    }
}
