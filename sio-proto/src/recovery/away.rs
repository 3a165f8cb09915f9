//! Who is away, and until when each is waited for.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::Time;
use crate::id::RecordSlot;

/// Records by the end of their time, all together and by network.
pub(super) struct Away {
    all: BTreeSet<(Time, RecordSlot)>,
    networks: BTreeMap<u128, BTreeSet<(Time, RecordSlot)>>,
}

impl Away {
    pub(super) const fn new() -> Self {
        Self {
            all: BTreeSet::new(),
            networks: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn len_of(&self, network: u128) -> usize {
        self.networks.get(&network).map_or(0, BTreeSet::len)
    }

    pub(super) fn insert(&mut self, until: Time, slot: RecordSlot, network: u128) {
        self.all.insert((until, slot));
        self.networks.entry(network).or_default().insert((until, slot));
    }

    pub(super) fn remove(&mut self, until: Time, slot: RecordSlot, network: u128) {
        self.all.remove(&(until, slot));
        if let Some(own) = self.networks.get_mut(&network) {
            own.remove(&(until, slot));
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
        self.all.first().map(|(until, _)| *until)
    }

    /// One whose time is over.
    pub(super) fn due(&self, now: Time) -> Option<RecordSlot> {
        let (until, slot) = self.all.first()?;
        (*until <= now).then_some(*slot)
    }
}
