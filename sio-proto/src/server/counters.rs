//! How many sessions there are and have been, by generation and transport: so that an operator knows when the last old client is gone.

use super::{Generation, TransportKind};

/// Sessions of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many there are.
    pub current: u32,
    /// How many there have been since the start. A session counts once for each change to this transport, and for being opened on it;
    /// until it has opened a transport, one of 0.7-0.9 counts as polling.
    pub total: u64,
}

const GENERATIONS: [Generation; 4] = [
    Generation::Legacy06,
    Generation::Legacy09,
    Generation::Engine3,
    Generation::Engine4,
];
const TRANSPORTS: [TransportKind; TransportKind::ALL.len()] = TransportKind::ALL;

/// The counts of a shard. Those of a server are the sums of its shards'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    counts: [[Count; TRANSPORTS.len()]; GENERATIONS.len()],
}

impl Counters {
    /// The sessions of this generation that are on this transport.
    #[must_use]
    pub const fn get(&self, generation: Generation, transport: TransportKind) -> Count {
        self.counts[generation as usize][transport as usize]
    }

    /// All of them, the oldest generation first.
    pub fn iter(&self) -> impl Iterator<Item = (Generation, TransportKind, Count)> {
        let kinds = GENERATIONS.into_iter().flat_map(|g| TRANSPORTS.map(|t| (g, t)));
        kinds.map(|(generation, transport)| (generation, transport, self.get(generation, transport)))
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
    }
}
