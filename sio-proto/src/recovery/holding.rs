//! What recovery holds, for the simulator (feature `steps`). See [`Holding`].

use super::Recovery;
use super::audience::Stay;
use super::log::Entry;
use crate::holding::Holding;
use crate::id::RecordSlot;

/// What the record of a client counts for its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordHolding {
    /// Whether the client is away.
    pub is_away: bool,
    /// Its network.
    pub network: u128,
    /// The names of its rooms, and of those that are remembered, without that of its own.
    pub rooms: Holding,
}

impl<M, D> Recovery<M, D> {
    /// Tells what each record holds.
    pub fn holding_of_records(&self) -> impl Iterator<Item = RecordHolding> {
        let records = self.records.slots().filter_map(|slot| self.records.get(slot));
        records.map(|record| RecordHolding {
            is_away: record.away.is_some(),
            network: record.network,
            rooms: Holding::default().with(record.stays.iter().skip(1).map(|stay| stay.room.len())),
        })
    }

    /// The messages of each namespace, with what each counts for the limits.
    pub fn holding_of_logs(&self) -> impl Iterator<Item = Holding> {
        let logs = self.namespaces.iter().map(|(_, namespace)| &namespace.log);
        logs.map(|log| Holding::default().with(log.entries().map(Entry::bytes)))
    }

    /// What the logs, the records and the tables hold. Each message has the bytes that its caller
    /// has weighed, and what the caller keeps with a record is not in it.
    pub fn holding(&self) -> Holding {
        let namespaces = self.namespaces.iter().map(|(name, namespace)| {
            let epochs = Holding::list::<(u32, u64)>(namespace.epochs.capacity());
            let arena = Holding::memory(namespace.arena.most_memory());
            namespace.log.holding().and(epochs).and(arena).with([name.len()])
        });
        let records = self.records.slots().filter_map(|slot| self.records.get(slot));
        let records = records.map(|record| {
            let secret = record.foreign_pid.as_ref().map(|secret| secret.len());
            Holding::list::<Stay>(record.stays.capacity())
                .with(record.stays.iter().map(|stay| stay.room.len()))
                .with([record.own.bytes, record.namespace.len()])
                .with(secret)
        });
        let numbers = Holding::tree::<(u64, RecordSlot)>(self.secrets.len());
        self.namespaces
            .holding()
            .and(self.records.holding())
            .and(self.away.holding())
            .and(numbers)
            .with_all(namespaces)
            .with_all(records)
    }
}
