//! Who is away, and until when each is waited for.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Expired, RecordKey, Recovery};
use crate::Time;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::id::RecordSlot;

/// When the time of a record is over, and how many went away before it: some are over at one time.
pub(super) type Turn = (Time, u64);

/// Records by the end of their time, all together and by network.
pub(super) struct Away {
    all: BTreeSet<(Turn, RecordSlot)>,
    networks: BTreeMap<u128, BTreeSet<(Turn, RecordSlot)>>,
    /// How many have gone away.
    count: u64,
}

impl Away {
    pub(super) const fn new() -> Self {
        Self {
            all: BTreeSet::new(),
            networks: BTreeMap::new(),
            count: 0,
        }
    }

    /// The tables.
    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        let networks = self.networks.values();
        let networks = networks.map(|own| Holding::tree::<(Turn, RecordSlot)>(own.len()));
        Holding::tree::<(Turn, RecordSlot)>(self.all.len())
            .and(Holding::tree::<(u128, BTreeSet<(Turn, RecordSlot)>)>(
                self.networks.len(),
            ))
            .with_all(networks)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many networks have clients that are away.
    #[cfg(test)]
    pub(super) fn networks(&self) -> usize {
        self.networks.len()
    }

    pub(super) fn len_of(&self, network: u128) -> usize {
        self.networks.get(&network).map_or(0, BTreeSet::len)
    }

    /// The turn of a record that goes away now.
    pub(super) const fn turn(&mut self, until: Time) -> Turn {
        self.count += 1;
        (until, self.count)
    }

    pub(super) fn insert(&mut self, turn: Turn, slot: RecordSlot, network: u128) {
        self.all.insert((turn, slot));
        self.networks.entry(network).or_default().insert((turn, slot));
    }

    pub(super) fn remove(&mut self, turn: Turn, slot: RecordSlot, network: u128) {
        self.all.remove(&(turn, slot));
        if let Some(own) = self.networks.get_mut(&network) {
            own.remove(&(turn, slot));
            if own.is_empty() {
                self.networks.remove(&network);
            }
        }
    }

    pub(super) fn oldest(&self) -> Option<RecordSlot> {
        self.all.first().map(|(_, slot)| *slot)
    }

    pub(super) fn oldest_of(&self, network: u128) -> Option<RecordSlot> {
        self.networks.get(&network)?.first().map(|(_, slot)| *slot)
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.all.first().map(|((until, _), _)| *until)
    }

    /// One whose time is over.
    pub(super) fn due(&self, now: Time) -> Option<RecordSlot> {
        let ((until, _), slot) = self.all.first()?;
        (*until <= now).then_some(*slot)
    }
}

impl<M, D> Recovery<M, D> {
    /// The connection of the socket is gone without a goodbye. The client is waited for, for as
    /// long as [`RecoveryConfig::window`](crate::RecoveryConfig::window) says. `bytes` is what the
    /// caller keeps for the client meanwhile. Those who have been away for longest go where there
    /// are too many, and so does a client that alone has too much; they are reported in `expired`.
    pub fn lost(&mut self, now: Time, key: RecordKey, bytes: usize, expired: &mut Vec<Expired<D>>) {
        let until = now + self.config.window;
        self.wait_for(key, until, bytes, expired);
    }

    pub(super) fn wait_for(&mut self, key: RecordKey, until: Time, bytes: usize, expired: &mut Vec<Expired<D>>) {
        let Some(record) = self.record_mut(key) else {
            return;
        };
        if record.spoilt {
            expired.extend(self.remove(key.slot));
            return;
        }
        if record.away.is_some() {
            return;
        }
        let (network, bytes) = (record.network, record.own_bytes().saturating_add(bytes));
        if bytes > self.config.max_away_bytes {
            // It cannot be kept, whoever goes.
            expired.extend(self.remove(key.slot));
            return;
        }
        let turn = self.away.turn(until);
        if let Some(record) = self.record_mut(key) {
            (record.away, record.away_bytes) = (Some(turn), bytes);
        }
        self.away_bytes += bytes;
        self.away.insert(turn, key.slot, network);
        self.note_record(key);
        if self.away.len_of(network) > self.config.max_away_per_address {
            let oldest = self.away.oldest_of(network);
            expired.extend(oldest.and_then(|slot| self.remove(slot)));
        }
        self.push_out(expired);
    }

    /// Ends those who have been away for longest, as long as too many are away or keep too much.
    pub(super) fn push_out(&mut self, expired: &mut Vec<Expired<D>>) {
        while self.away.len() > self.config.max_away || self.away_bytes > self.config.max_away_bytes {
            let oldest = self.away.oldest().and_then(|slot| self.remove(slot));
            let Some(oldest) = oldest else { break };
            expired.push(oldest);
        }
    }
}
