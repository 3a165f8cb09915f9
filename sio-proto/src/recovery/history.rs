//! What was said in one room, for clients that say what they have seen of it.

use core::time::Duration;

use super::Audience;
use super::log::{Entry, Log, LogLimits};
use crate::Time;
use crate::config::ConfigError;
use crate::socket::Offset;

/// How much of what is said in a room is kept. When there is more, the oldest messages go, and
/// clients that have not seen them are told so.
///
/// ```
/// use core::time::Duration;
/// use sio_proto::recovery::Ring;
///
/// let ring = Ring { bytes: 1 << 20, ..Ring::default() };
/// assert_eq!((ring.packets, ring.age), (512, Duration::from_secs(3600)));
/// assert!(ring.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Most bytes of one room: those of names and arguments, and 256 for each message. Default 256
    /// KiB.
    pub bytes: usize,
    /// Most messages of one room. Default 512.
    pub packets: usize,
    /// How long a message is kept. Default 1 hour.
    pub age: Duration,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            bytes: 256 << 10,
            packets: 512,
            age: Duration::from_secs(3600),
        }
    }
}

impl Ring {
    /// Checks the limits.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroLimit`] for a limit that leaves no room for anything.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let limits = [
            ("ring.bytes", self.bytes == 0),
            ("ring.packets", self.packets == 0),
            ("ring.age", self.age.is_zero()),
        ];
        match limits.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(ConfigError::ZeroLimit(name)),
            None => Ok(()),
        }
    }
}

/// The messages of one room, oldest first. Each has a place: the epoch of this history, and a
/// number. A history that begins again has another epoch, so an old place is never taken for a
/// place in it.
#[derive(Debug)]
pub struct History<M> {
    epoch: u32,
    log: Log<M>,
}

/// What a client has not seen.
#[derive(Debug)]
pub struct Since<'a, M> {
    /// Whether messages are missing that the client has not seen. Then `entries` begins with the
    /// oldest message that is kept.
    pub truncated: bool,
    /// The messages, oldest first.
    pub entries: Entries<'a, M>,
}

/// Messages of a history, oldest first.
pub type Entries<'a, M> = alloc::collections::vec_deque::Iter<'a, Entry<M>>;

impl<M> History<M> {
    /// An empty history. `epoch` should be random.
    #[must_use]
    pub const fn new(epoch: u32, ring: Ring) -> Self {
        let limits = LogLimits {
            bytes: ring.bytes,
            packets: ring.packets,
            age: ring.age,
        };
        Self {
            epoch,
            log: Log::new(limits, 0),
        }
    }

    /// The place behind the last message.
    #[must_use]
    pub const fn last(&self) -> Offset {
        self.place(self.log.last())
    }

    /// The place that the next message will have.
    #[must_use]
    pub const fn next(&self) -> Offset {
        self.place(self.log.last() + 1)
    }

    /// The place of the message with this number.
    #[must_use]
    pub const fn place(&self, sequence: u64) -> Offset {
        Offset {
            epoch: self.epoch,
            sequence,
        }
    }

    /// Keeps a message at the [next](History::next) place. `bytes` is what the message takes in
    /// memory. The oldest messages go where there is no room for all.
    pub fn keep(&mut self, now: Time, bytes: usize, message: M) {
        self.log.next();
        self.log.keep(now, Audience::default(), bytes, message, drop);
    }

    /// Throws away what is too old.
    pub fn prune(&mut self, now: Time) {
        self.log.prune(now);
    }

    /// Throws all messages away.
    pub fn clear(&mut self) {
        self.log.clear();
    }

    /// How many bytes are kept, as [`Ring::bytes`] counts them.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.log.bytes()
    }

    /// How many messages are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Whether no message is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }

    /// The messages behind the last one that a client has seen. A client that has seen none gets
    /// all. A place that this history has never had is one of an earlier history, so all messages
    /// of this one are new to the client, and others are missing.
    #[must_use]
    pub fn since(&self, seen: Option<Offset>) -> Since<'_, M> {
        let is_ours = |seen: &Offset| seen.epoch == self.epoch && seen.sequence <= self.log.last();
        let (after, is_known) = match seen {
            None => (0, true),
            Some(seen) if is_ours(&seen) => (seen.sequence, true),
            Some(_) => (0, false),
        };
        match self.log.since(after) {
            Ok(entries) => Since {
                truncated: !is_known,
                entries,
            },
            Err(_) => Since {
                truncated: true,
                entries: self.log.all(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// What is done to a history, and what the simplest history would say.
    #[derive(Clone, Debug)]
    enum Step {
        Keep { bytes: usize },
        Pass { millis: u64 },
        Since { epoch: u32, sequence: u64 },
        All,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_usize..400).prop_map(|bytes| Step::Keep { bytes }),
            1 => (0_u64..700).prop_map(|millis| Step::Pass { millis }),
            2 => (6_u32..8, 0_u64..60).prop_map(|(epoch, sequence)| Step::Since { epoch, sequence }),
            1 => Just(Step::All),
        ];
        prop::collection::vec(step, 0..80)
    }

    const RING: Ring = Ring {
        bytes: 2_300,
        packets: 5,
        age: Duration::from_secs(1),
    };

    /// Every message there ever was, and how many of the oldest are gone.
    #[derive(Default)]
    struct Naive {
        all: Vec<(Time, usize)>,
        gone: usize,
    }

    impl Naive {
        fn prune(&mut self, now: Time) {
            while self.all.get(self.gone).is_some_and(|(at, _)| *at + RING.age <= now) {
                self.gone += 1;
            }
        }

        fn bound(&mut self) {
            let kept = |naive: &Self| {
                naive.all[naive.gone..]
                    .iter()
                    .map(|(_, bytes)| bytes + 256)
                    .sum::<usize>()
            };
            while kept(self) > RING.bytes || self.all.len() - self.gone > RING.packets {
                self.gone += 1;
            }
        }

        /// Whether something is missing, and the numbers of what is there.
        fn since(&self, after: Option<usize>) -> (bool, Vec<u64>) {
            let known = after.is_none_or(|after| after <= self.all.len());
            let from = after.filter(|_| known).unwrap_or(0);
            let truncated = from < self.gone || !known;
            let numbers = from.max(self.gone)..self.all.len();
            (truncated, numbers.map(|number| number as u64 + 1).collect())
        }
    }

    proptest! {
        #[test]
        fn a_history_says_what_the_simplest_one_says(steps in steps()) {
            let (mut now, mut history, mut naive) = (Time::ZERO, History::new(7, RING), Naive::default());
            for step in steps {
                let asked = match step {
                    Step::Keep { bytes } => {
                        prop_assert_eq!(history.next().sequence, naive.all.len() as u64 + 1);
                        history.keep(now, bytes, naive.all.len());
                        naive.prune(now);
                        naive.all.push((now, bytes));
                        naive.bound();
                        continue;
                    }
                    Step::Pass { millis } => {
                        now = now + Duration::from_millis(millis);
                        history.prune(now);
                        naive.prune(now);
                        continue;
                    }
                    Step::Since { epoch, sequence } => Some(Offset { epoch, sequence }),
                    Step::All => None,
                };
                let since = history.since(asked);
                let after = asked.map(|seen| if seen.epoch == 7 { seen.sequence as usize } else { usize::MAX });
                let numbers = since.entries.map(|entry| entry.sequence).collect();
                prop_assert_eq!((since.truncated, numbers), naive.since(after));
                prop_assert!(history.bytes() <= RING.bytes && history.len() <= RING.packets);
            }
        }
    }
}
