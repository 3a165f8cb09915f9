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

/// A network whose records keep no more than this part of all that may be kept is not one that
/// takes much: its records are as good as those of others.
const LARGE_SHARE: usize = 64;

/// Records by the end of their time, all together and by network, and what they keep.
pub(super) struct Away {
    all: BTreeSet<(Turn, RecordSlot)>,
    networks: BTreeMap<u128, Share>,
    /// The networks by the bytes that their records keep.
    heaviest: BTreeSet<(usize, u128)>,
    /// The bytes that all records keep.
    bytes: usize,
    /// How many have gone away.
    count: u64,
}

/// The records of one network.
#[derive(Default)]
struct Share {
    records: BTreeSet<(Turn, RecordSlot)>,
    bytes: usize,
}

impl Away {
    pub(super) const fn new() -> Self {
        Self {
            all: BTreeSet::new(),
            networks: BTreeMap::new(),
            heaviest: BTreeSet::new(),
            bytes: 0,
            count: 0,
        }
    }

    /// The tables.
    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        let networks = self.networks.values();
        let networks = networks.map(|share| Holding::tree::<(Turn, RecordSlot)>(share.records.len()));
        Holding::tree::<(Turn, RecordSlot)>(self.all.len())
            .and(Holding::tree::<(u128, Share)>(self.networks.len()))
            .and(Holding::tree::<(usize, u128)>(self.heaviest.len()))
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
        self.networks.get(&network).map_or(0, |share| share.records.len())
    }

    /// The bytes that all records keep.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The turn of a record that goes away now.
    pub(super) const fn turn(&mut self, until: Time) -> Turn {
        self.count += 1;
        (until, self.count)
    }

    pub(super) fn insert(&mut self, turn: Turn, slot: RecordSlot, network: u128, bytes: usize) {
        self.all.insert((turn, slot));
        self.networks.entry(network).or_default().records.insert((turn, slot));
        self.weigh(network, 0, bytes);
    }

    pub(super) fn remove(&mut self, turn: Turn, slot: RecordSlot, network: u128, bytes: usize) {
        self.weigh(network, bytes, 0);
        self.all.remove(&(turn, slot));
        if let Some(share) = self.networks.get_mut(&network) {
            share.records.remove(&(turn, slot));
            if share.records.is_empty() {
                self.networks.remove(&network);
            }
        }
    }

    /// A record of this network has kept so many bytes before, and keeps so many now.
    pub(super) fn weigh(&mut self, network: u128, before: usize, now: usize) {
        let Some(share) = self.networks.get_mut(&network) else {
            return;
        };
        self.heaviest.remove(&(share.bytes, network));
        share.bytes = share.bytes - before + now;
        if share.bytes > 0 {
            self.heaviest.insert((share.bytes, network));
        }
        self.bytes = self.bytes - before + now;
    }

    pub(super) fn oldest(&self) -> Option<RecordSlot> {
        self.all.first().map(|(_, slot)| *slot)
    }

    pub(super) fn oldest_of(&self, network: u128) -> Option<RecordSlot> {
        self.networks.get(&network)?.records.first().map(|(_, slot)| *slot)
    }

    /// The oldest record of the network whose records keep the most bytes, if these are more than
    /// this.
    pub(super) fn oldest_of_heaviest(&self, least: usize) -> Option<RecordSlot> {
        let (bytes, network) = self.heaviest.last()?;
        if *bytes > least { self.oldest_of(*network) } else { None }
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
    /// are too many. Where too much is kept, they go of the network that keeps the most, if that is
    /// more than a part in 64 of all that may be kept. So does a client that alone has too much.
    /// They are reported in `expired`.
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
        self.away.insert(turn, key.slot, network, bytes);
        self.note_record(key);
        if self.away.len_of(network) > self.config.max_away_per_address {
            let oldest = self.away.oldest_of(network);
            expired.extend(oldest.and_then(|slot| self.remove(slot)));
        }
        self.push_out(expired);
    }

    /// Ends those who have been away for longest, as long as too many are away. As long as too much
    /// is kept, ends those of the network that keeps the most, if it has a large share: clients of
    /// one network with much in their handshakes cost no others their records. If no network has,
    /// those who have been away for longest go, because a client alone in its network must not go
    /// for a few bytes more than others have.
    pub(super) fn push_out(&mut self, expired: &mut Vec<Expired<D>>) {
        while self.away.bytes() > self.config.max_away_bytes {
            let heaviest = self.away.oldest_of_heaviest(self.config.max_away_bytes / LARGE_SHARE);
            let oldest = heaviest.or_else(|| self.away.oldest());
            let Some(gone) = oldest.and_then(|slot| self.remove(slot)) else {
                break;
            };
            expired.push(gone);
        }
        while self.away.len() > self.config.max_away {
            let oldest = self.away.oldest();
            let Some(gone) = oldest.and_then(|slot| self.remove(slot)) else {
                break;
            };
            expired.push(gone);
        }
    }
}
