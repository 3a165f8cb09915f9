//! Token buckets: how fast a client may send (`config/rates.rs` has the settings).
//!
//! ```text
//!   burst ─┬──────── full: no more tokens come
//!          │ ▲ per_second
//!          │ ▼ events, bytes
//!      0 ──┼──────── empty: nothing more is taken until a token is there
//!          │ debt: the last event that was taken may have cost more bytes than there were tokens
//! ```
//! A level is counted in millionths of a token. In a microsecond, `per_second` millionths come. So
//! all numbers are whole, nothing is rounded, and nothing drifts, however often a bucket is asked.
//!
//! A bucket never keeps anything: whoever is asked to wait keeps what has arrived. Nothing that has
//! arrived may cost more than the burst, so the debt is never more than the burst.

use core::time::Duration;

use crate::Time;
use crate::config::{Excess, Rate, RateLimit};

const MILLIONTHS: u64 = 1_000_000;

/// One token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    rate: Rate,
    /// In millionths of a token. Below zero, it is a debt.
    level: i64,
    /// The time at which `level` was right.
    at: Time,
}

impl Bucket {
    /// A full bucket. The rate was checked ([`RateLimit::validate`]).
    pub(crate) const fn new(rate: Rate, now: Time) -> Self {
        Self {
            rate,
            level: millionths(rate.burst),
            at: now,
        }
    }

    /// Adds the tokens that have come.
    fn fill(&mut self, now: Time) {
        let micros = now.as_micros().saturating_sub(self.at.as_micros());
        self.at = self.at.max(now);
        let come = i64::try_from(micros.saturating_mul(self.rate.per_second)).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(come).min(millionths(self.rate.burst));
    }

    /// How much is missing until it is full, in millionths of a token.
    fn missing(&mut self, now: Time) -> i64 {
        self.fill(now);
        millionths(self.rate.burst).saturating_sub(self.level)
    }

    /// Takes what is missing in another bucket.
    fn spend(&mut self, missing: i64) {
        let burst = millionths(self.rate.burst);
        self.level = self.level.saturating_sub(missing).max(-burst);
    }

    /// How many whole tokens there are.
    pub(crate) fn tokens(&mut self, now: Time) -> u64 {
        self.fill(now);
        u64::try_from(self.level).map_or(0, |level| level / MILLIONTHS)
    }

    /// Takes tokens, also if there are not so many.
    pub(crate) fn take(&mut self, now: Time, tokens: u64) {
        self.fill(now);
        self.level = self.level.saturating_sub(millionths(tokens.min(self.rate.burst)));
    }

    /// How long it takes until there is a whole token.
    pub(crate) fn wait(&mut self, now: Time) -> Duration {
        self.fill(now);
        let missing = millionths(1).saturating_sub(self.level);
        let missing = u64::try_from(missing).unwrap_or(0);
        Duration::from_micros(missing.div_ceil(self.rate.per_second))
    }
}

/// So many tokens in millionths.
const fn millionths(tokens: u64) -> i64 {
    // At most 2⁴⁰ tokens, which are less than 2⁶⁰ millionths.
    tokens.saturating_mul(MILLIONTHS) as i64
}

/// The buckets of one client, or of one of its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meter {
    limit: RateLimit,
    events: Option<Bucket>,
    bytes: Option<Bucket>,
}

/// The result of measuring an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// It may come.
    Fits,
    /// The client is too fast, and its session ends.
    TooFast,
    /// It is larger than the burst, so it can never come. The session ends.
    TooLarge,
}

/// How much may come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many packets may be handed over before the next question. At least one, unless `until`
    /// is set.
    pub packets: usize,
    /// Until when nothing may be handed over.
    pub until: Option<Time>,
}

impl Pace {
    /// There is no limit.
    pub const FREE: Self = Self {
        packets: usize::MAX,
        until: None,
    };

    /// The slower of the two.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            packets: self.packets.min(other.packets),
            until: self.until.max(other.until),
        }
    }
}

impl Meter {
    /// Full buckets.
    pub(crate) fn new(limit: RateLimit, now: Time) -> Self {
        Self {
            limit,
            events: limit.events.map(|rate| Bucket::new(rate, now)),
            bytes: limit.bytes.map(|rate| Bucket::new(rate, now)),
        }
    }

    /// Whether nothing is missing.
    pub(crate) fn is_full(&mut self, now: Time) -> bool {
        let buckets = [&mut self.events, &mut self.bytes].into_iter().flatten();
        buckets.map(|bucket| bucket.missing(now)).all(|missing| missing == 0)
    }

    /// Spends what its client has spent by an earlier meter, and has not got back. Its limit may
    /// have been another one.
    pub(crate) fn follow(&mut self, earlier: &mut Self, now: Time) {
        let pairs = [
            (&mut self.events, &mut earlier.events),
            (&mut self.bytes, &mut earlier.bytes),
        ];
        for pair in pairs {
            if let (Some(bucket), Some(earlier)) = pair {
                bucket.spend(earlier.missing(now));
            }
        }
    }

    /// Measures an event of this size, and takes its tokens.
    pub(crate) fn measure(&mut self, now: Time, size: usize) -> Measured {
        let size = size as u64;
        if self.limit.bytes.is_some_and(|rate| size > rate.burst) {
            return Measured::TooLarge;
        }
        if self.limit.excess == Excess::Disconnect {
            let lacks = |bucket: &mut Option<Bucket>, cost| bucket.as_mut().is_some_and(|b| b.tokens(now) < cost);
            if lacks(&mut self.events, 1) || lacks(&mut self.bytes, size) {
                return Measured::TooFast;
            }
        }
        if let Some(events) = &mut self.events {
            events.take(now, 1);
        }
        if let Some(bytes) = &mut self.bytes {
            bytes.take(now, size);
        }
        Measured::Fits
    }

    /// How much may come now. A client that is disconnected when it is too fast never waits.
    pub(crate) fn pace(&mut self, now: Time) -> Pace {
        if self.limit.excess == Excess::Disconnect {
            return Pace::FREE;
        }
        let events = self.events.as_mut().map_or(Pace::FREE, |bucket| {
            let packets = usize::try_from(bucket.tokens(now)).unwrap_or(usize::MAX);
            let until = (packets == 0).then(|| now + bucket.wait(now));
            Pace { packets, until }
        });
        let bytes = self.bytes.as_mut().map_or(Pace::FREE, |bucket| {
            // What a packet costs is known when it has been measured.
            let until = (bucket.tokens(now) == 0).then(|| now + bucket.wait(now));
            Pace { packets: 1, until }
        });
        events.and(bytes)
    }
}

#[cfg(test)]
mod tests;
