//! Counts of what became of clients that wanted to come back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sio_proto::recovery::{Absence, NotRecovered};

use crate::turn::comeback::Comeback;

/// What became of clients that wanted to come back, from the start of the server.
/// [`Metrics::recovery`](crate::Metrics::recovery) has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryCounts {
    /// How many clients have come back as the same socket.
    pub recovered: u64,
    /// How many messages they had missed, and were sent again.
    pub replayed: u64,
    /// How long they were away, all together.
    pub away: Duration,
    /// The longest time that one of them was away.
    pub longest_away: Duration,
    /// How many records have ended without their client.
    pub expired: u64,
    lost: [u64; NotRecovered::WORDS.len()],
}

impl RecoveryCounts {
    /// How many clients could not be recovered, by the reason in a word
    /// ([`NotRecovered::WORDS`](sio_proto::recovery::NotRecovered::WORDS)).
    pub fn lost(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        NotRecovered::WORDS.into_iter().zip(self.lost)
    }
}

/// The counts while they grow.
#[derive(Default)]
pub(super) struct Counts {
    recovered: AtomicU64,
    replayed: AtomicU64,
    away_micros: AtomicU64,
    longest_micros: AtomicU64,
    expired: AtomicU64,
    lost: [AtomicU64; NotRecovered::WORDS.len()],
}

impl Counts {
    /// Counts a client that has been let in.
    pub(super) fn count(&self, outcome: Comeback, absence: Option<Absence>) {
        let add = |count: &AtomicU64, more: u64| count.fetch_add(more, Ordering::Relaxed);
        match outcome {
            Comeback::New => {}
            Comeback::Recovered { missed } => {
                let away = absence.map_or(Duration::ZERO, |absence| absence.away);
                let micros = u64::try_from(away.as_micros()).unwrap_or(u64::MAX);
                add(&self.recovered, 1);
                add(&self.replayed, missed as u64);
                add(&self.away_micros, micros);
                self.longest_micros.fetch_max(micros, Ordering::Relaxed);
            }
            Comeback::Lost(why) => {
                if let Some(count) = self.lost.get(why.index()) {
                    add(count, 1);
                }
            }
        }
    }

    /// Counts records that have ended without their client.
    pub(super) fn count_expired(&self, many: usize) {
        self.expired.fetch_add(many as u64, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> RecoveryCounts {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RecoveryCounts {
            recovered: now(&self.recovered),
            replayed: now(&self.replayed),
            away: Duration::from_micros(now(&self.away_micros)),
            longest_away: Duration::from_micros(now(&self.longest_micros)),
            expired: now(&self.expired),
            lost: std::array::from_fn(|at| self.lost.get(at).map_or(0, now)),
        }
    }
}
