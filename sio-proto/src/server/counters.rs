//! The numbers of a shard for operators: how many sessions there are and have been, by generation
//! and transport, so that an operator sees when the last old client is gone. Also how sessions
//! ended, which rules clients have broken, which requests were refused and why, and how long queues
//! have become.

use super::{BreachKind, Generation, Reason, SendError, Session, TransportKind};

/// Sessions of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many there are now.
    pub current: u32,
    /// How many there have been since the start. A session counts once when it is opened on this
    /// transport, and once for each change to it. A session of 0.7-0.9 counts as polling until it
    /// has opened a transport.
    pub total: u64,
}

const GENERATIONS: [Generation; Generation::ALL.len()] = Generation::ALL;
const TRANSPORTS: [TransportKind; TransportKind::ALL.len()] = TransportKind::ALL;

/// The counts of a shard. The counts of a server are the sums over its shards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    counts: [[Count; TRANSPORTS.len()]; GENERATIONS.len()],
    closes: [u64; Reason::ALL.len()],
    refused: [u64; Refused::ALL.len()],
    broken: [u64; BreachKind::ALL.len()],
    /// Number of packets that have arrived.
    pub packets_in: u64,
    /// Number of messages to clients of 0.3 to 0.6, and to clients of 0.7 to 0.9 that poll or go on
    /// with another transport, that were written and whose arrival nothing had confirmed when their
    /// connection ended. Some of them have not arrived. They are not sent again
    /// (docs/protocol/legacy-0.6.md §18). The number is approximate: packets of the server itself
    /// that had to be taken back from a connection and were written again may be among them.
    pub unconfirmed: u64,
    /// Number of recipients that did not get a message, because it was volatile or its policy lets
    /// it be dropped.
    pub dropped: u64,
    /// Number of waiting messages that were dropped for newer ones: the oldest ones, or ones with
    /// the same key, which were replaced or put together.
    pub displaced: u64,
    /// Number of recipients that did not get a message, because their queue was full or the message
    /// too large for it.
    pub unsent: u64,
    /// The most packets that have waited for one session at once. Counted when packets leave, or
    /// when more packets wait than are allowed.
    pub most_queued_packets: usize,
    /// The most bytes that have waited for one session at once.
    pub most_queued_bytes: usize,
}

/// What a shard holds now. When all clients are gone, and the deadlines that they have left behind
/// have passed, all of it is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Sockets, including those that wait for the user's decision.
    pub sockets: usize,
    /// Namespaces that have sockets.
    pub namespaces: usize,
    /// Rooms that have members. The room of a socket's own id is not one of them.
    pub rooms: usize,
    /// Deadlines. Some of them may belong to sessions that have ended; they go when their time has
    /// come, at the latest.
    pub timers: usize,
}

/// Why a request got no session, or no answer from its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The limit of sessions is reached.
    Full,
    /// The server is shutting down.
    ShuttingDown,
    /// The application has refused it ([`Admission::Refused`](super::Admission::Refused)).
    Application,
    /// The page of the request is not allowed, or its client was not let in.
    Forbidden,
    /// The request breaks the rules, or its session is gone.
    BadRequest,
}

impl Refused {
    /// All reasons.
    pub const ALL: [Self; 5] = [
        Self::Full,
        Self::ShuttingDown,
        Self::Application,
        Self::Forbidden,
        Self::BadRequest,
    ];

    /// The reason in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ShuttingDown => "shutting_down",
            Self::Application => "application",
            Self::Forbidden => "forbidden",
            Self::BadRequest => "bad_request",
        }
    }
}

impl Counters {
    /// The sessions of this generation that are on this transport.
    #[must_use]
    pub const fn get(&self, generation: Generation, transport: TransportKind) -> Count {
        self.counts[generation as usize][transport as usize]
    }

    /// All counts, the oldest generation first.
    pub fn iter(&self) -> impl Iterator<Item = (Generation, TransportKind, Count)> {
        let kinds = GENERATIONS.into_iter().flat_map(|g| TRANSPORTS.map(|t| (g, t)));
        kinds.map(|(generation, transport)| (generation, transport, self.get(generation, transport)))
    }

    /// How many sessions have ended for this reason.
    #[must_use]
    pub const fn closed(&self, reason: Reason) -> u64 {
        self.closes[reason as usize]
    }

    /// How many requests have been refused for this reason.
    #[must_use]
    pub const fn refused(&self, why: Refused) -> u64 {
        self.refused[why as usize]
    }

    /// How often clients have broken a rule of this kind, with or without the end of their session.
    #[must_use]
    pub const fn broken(&self, kind: BreachKind) -> u64 {
        self.broken[kind as usize]
    }

    /// Counts rules that were broken on connections without a session, which the shard does not
    /// see.
    pub const fn add_broken(&mut self, kind: BreachKind, times: u64) {
        self.broken[kind as usize] += times;
    }

    /// Counts a recipient that does not get a message, unless it is gone.
    pub(crate) const fn note_unsent(&mut self, error: SendError) {
        match error {
            SendError::Dropped => self.dropped += 1,
            SendError::Full | SendError::TooLarge => self.unsent += 1,
            _ => {}
        }
    }

    /// Adds the counts of another shard.
    pub fn add(&mut self, other: &Self) {
        let counts = self.counts.iter_mut().flatten().zip(other.counts.iter().flatten());
        counts.for_each(|(mine, others)| {
            mine.current += others.current;
            mine.total += others.total;
        });
        let numbers = self.closes.iter_mut().zip(&other.closes);
        let numbers = numbers.chain(self.refused.iter_mut().zip(&other.refused));
        let numbers = numbers.chain(self.broken.iter_mut().zip(&other.broken));
        numbers.for_each(|(mine, others)| *mine += others);
        self.packets_in += other.packets_in;
        self.dropped += other.dropped;
        self.displaced += other.displaced;
        self.unsent += other.unsent;
        self.unconfirmed += other.unconfirmed;
        self.most_queued_packets = self.most_queued_packets.max(other.most_queued_packets);
        self.most_queued_bytes = self.most_queued_bytes.max(other.most_queued_bytes);
    }

    pub(crate) const fn close(&mut self, reason: Reason) {
        self.closes[reason as usize] += 1;
    }

    pub(crate) const fn refuse(&mut self, why: Refused) {
        self.refused[why as usize] += 1;
    }

    /// Records how much has waited for a session, when it leaves, or when no more is accepted.
    pub(crate) fn note_queue(&mut self, session: &Session) {
        self.most_queued_packets = self.most_queued_packets.max(session.outbox.len());
        self.most_queued_bytes = self.most_queued_bytes.max(session.outbox.bytes());
    }

    /// Does what [`Counters::note_queue`] does for a session for which one packet waits.
    #[inline]
    pub(crate) const fn note_one(&mut self, bytes: usize) {
        if self.most_queued_packets == 0 {
            self.most_queued_packets = 1;
        }
        if self.most_queued_bytes < bytes {
            self.most_queued_bytes = bytes;
        }
    }

    /// Whether there are sessions of this generation.
    pub(crate) fn is_present(&self, generation: Generation) -> bool {
        self.counts[generation as usize].iter().any(|count| count.current > 0)
    }

    pub(crate) const fn enter(&mut self, generation: Generation, transport: TransportKind) {
        let count = &mut self.counts[generation as usize][transport as usize];
        count.current += 1;
        count.total += 1;
    }

    pub(crate) const fn leave(&mut self, generation: Generation, transport: TransportKind) {
        self.counts[generation as usize][transport as usize].current -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        for (at, generation) in GENERATIONS.into_iter().enumerate() {
            assert_eq!(generation as usize, at);
        }
        assert_eq!(Generation::Engine4 as usize + 1, GENERATIONS.len(), "the last one");
        for (at, transport) in TRANSPORTS.into_iter().enumerate() {
            assert_eq!(transport as usize, at);
        }
        let mut counters = Counters::default();
        counters.enter(Generation::Engine3, TransportKind::Polling);
        counters.leave(Generation::Engine3, TransportKind::Polling);
        counters.enter(Generation::Engine3, TransportKind::WebSocket);
        for (generation, transport, count) in counters.iter() {
            let (current, total) = match (generation, transport) {
                (Generation::Engine3, TransportKind::Polling) => (0, 1),
                (Generation::Engine3, TransportKind::WebSocket) => (1, 1),
                _ => (0, 0),
            };
            assert_eq!(count, Count { current, total });
            assert_eq!(counters.is_present(generation), generation == Generation::Engine3);
        }
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, at);
        }
        for (at, why) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at);
        }
    }

    #[test]
    fn those_of_several_shards_are_one_sum() {
        let mut sum = Counters::default();
        for packets in [3, 2] {
            let mut counters = Counters::default();
            counters.enter(Generation::Engine4, TransportKind::Polling);
            counters.close(Reason::PingTimeout);
            counters.refuse(Refused::Full);
            counters.add_broken(BreachKind::Late, 2);
            counters.most_queued_packets = packets;
            counters.most_queued_bytes = 100 * packets;
            counters.packets_in = 7;
            counters.unconfirmed = 3;
            (counters.dropped, counters.displaced, counters.unsent) = (1, 4, 5);
            sum.add(&counters);
        }
        let count = sum.get(Generation::Engine4, TransportKind::Polling);
        assert_eq!((count.current, count.total, sum.packets_in), (2, 2, 14));
        assert_eq!(sum.unconfirmed, 6);
        assert_eq!((sum.closed(Reason::PingTimeout), sum.refused(Refused::Full)), (2, 2));
        assert_eq!(sum.broken(BreachKind::Late), 4);
        assert_eq!((sum.most_queued_packets, sum.most_queued_bytes), (3, 300));
        assert_eq!((sum.dropped, sum.displaced, sum.unsent), (2, 8, 10));
    }
}
