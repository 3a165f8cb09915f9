//! How fast clients may send: settings of the token buckets (`server/bucket.rs`).

use super::ConfigError;

/// The largest burst, and the largest number of tokens per second. With larger numbers, the
/// arithmetic of a bucket could overflow.
const MAX: u64 = 1 << 40;

/// How many seconds it may take to fill an empty bucket. For so long, a throttled client waits at
/// most.
const MAX_SECONDS: u64 = 3_600;

/// A rate: so many things per second in the long run, and a burst that may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many things may come in a second. At most 2⁴⁰.
    pub per_second: u64,
    /// How many things may come at once, after a time without any. It takes `burst / per_second`
    /// seconds until it is available again: an hour at most.
    pub burst: u64,
}

/// What happens when a client sends faster than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// Nothing more is read from the client until it may send again. TCP makes the client wait, and
    /// a POST waits for its answer. Nothing is lost. The client is not expected to answer a
    /// heartbeat meanwhile.
    #[default]
    Throttle,
    /// The session ends, with a [`Breach`](crate::server::Breach) of the kind
    /// [`Rate`](crate::server::BreachKind::Rate).
    Disconnect,
}

/// How fast a client may send. Default: as fast as it wants.
///
/// Events and acknowledgements count, and messages of the generations that have no events. The
/// bytes are those of their names and arguments. Packets of the protocol (heartbeats, CONNECTs)
/// have limits of their own and do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit {
    /// The rate of events. Default none: no limit.
    pub events: Option<Rate>,
    /// The rate of bytes. Default none: no limit. An event with more bytes than the burst can never
    /// be sent, and ends its session: the burst has to be larger than the largest event of the
    /// application.
    pub bytes: Option<Rate>,
    /// What happens to a client that is faster. Default [`Excess::Throttle`].
    pub excess: Excess,
}

impl RateLimit {
    /// No limit.
    pub const NONE: Self = Self {
        events: None,
        bytes: None,
        excess: Excess::Throttle,
    };

    /// Sets [`RateLimit::events`](#structfield.events).
    #[must_use]
    pub const fn events(mut self, per_second: u64, burst: u64) -> Self {
        self.events = Some(Rate { per_second, burst });
        self
    }

    /// Sets [`RateLimit::bytes`](#structfield.bytes).
    #[must_use]
    pub const fn bytes(mut self, per_second: u64, burst: u64) -> Self {
        self.bytes = Some(Rate { per_second, burst });
        self
    }

    /// Sets [`RateLimit::excess`](#structfield.excess).
    #[must_use]
    pub const fn excess(mut self, excess: Excess) -> Self {
        self.excess = excess;
        self
    }

    /// Whether it limits nothing.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.events.is_none() && self.bytes.is_none()
    }

    /// Checks the limit.
    ///
    /// # Errors
    /// [`ConfigError::Rate`] if a rate or a burst is zero or more than 2⁴⁰, or if it takes more
    /// than an hour to fill the bucket. `name` is the name of the setting.
    pub fn validate(&self, name: &'static str) -> Result<(), ConfigError> {
        let rates = [self.events, self.bytes];
        let is_wrong = |rate: &Rate| {
            let Rate { per_second, burst } = *rate;
            per_second == 0 || per_second > MAX || burst == 0 || burst > MAX || burst / per_second > MAX_SECONDS
        };
        match rates.iter().flatten().any(is_wrong) {
            true => Err(ConfigError::Rate(name)),
            false => Ok(()),
        }
    }
}
