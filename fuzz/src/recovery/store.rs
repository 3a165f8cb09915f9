//! A naive store: rows, as the machine tells them.

use std::collections::BTreeMap;

use bytestring::ByteString;
use sio_proto::recovery::{Audience, Change, Expired, RecordKey, SavedNamespace, SavedRecord, SavedStay};
use sio_proto::{RecoveryConfig, Time};

use super::{Kept, Said};

#[derive(Default)]
pub(super) struct Store {
    namespaces: BTreeMap<u32, SavedNamespace>,
    last: BTreeMap<u32, u64>,
    pruned: BTreeMap<(u32, Option<ByteString>), u64>,
    records: BTreeMap<u64, SavedRecord>,
    stays: BTreeMap<(u64, u32), SavedStay>,
    messages: BTreeMap<(u32, u64), Row>,
    /// What the caller has kept with each record.
    data: BTreeMap<u64, u32>,
}

struct Row {
    at: Time,
    until: Time,
    audience: Audience,
    message: Said,
}

impl Store {
    /// Takes what has changed, and the messages that are new.
    pub(super) fn follow(&mut self, kept: &mut Kept) {
        let changes: Vec<Change> = kept.take_changes().collect();
        for (namespace, entry) in kept.messages() {
            self.messages.entry((namespace, entry.sequence)).or_insert_with(|| Row {
                at: entry.at,
                until: entry.until,
                audience: entry.audience().clone(),
                message: entry.message,
            });
        }
        self.data.extend(kept.records().map(|(number, data)| (number, *data)));
        changes.into_iter().for_each(|change| self.apply(change));
        self.data.retain(|number, _| self.records.contains_key(number));
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Namespace(saved) => drop(self.namespaces.insert(saved.number, saved)),
            Change::NamespaceGone { namespace } => {
                self.namespaces.remove(&namespace);
                self.last.remove(&namespace);
                self.pruned.retain(|(known, _), _| *known != namespace);
            }
            Change::Counted { namespace, last } => drop(self.last.insert(namespace, last)),
            Change::Dropped { namespace, sequence } => drop(self.messages.remove(&(namespace, sequence))),
            Change::Pruned {
                namespace,
                room,
                sequence: 0,
            } => drop(self.pruned.remove(&(namespace, room))),
            Change::Pruned {
                namespace,
                room,
                sequence,
            } => drop(self.pruned.insert((namespace, room), sequence)),
            Change::Record(saved) => drop(self.records.insert(saved.number, saved)),
            Change::RecordGone { record } => drop(self.records.remove(&record)),
            Change::Stay(saved) => drop(self.stays.insert((saved.record, saved.ordinal), saved)),
            Change::StayGone { record, ordinal } => drop(self.stays.remove(&(record, ordinal))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
            && self.records.is_empty()
            && self.stays.is_empty()
            && self.messages.is_empty()
            && self.pruned.is_empty()
    }

    /// A process that goes on, and the keys of the records by what the caller has kept with them.
    /// Clients that were there are waited for from now on.
    pub(super) fn restart(
        &self,
        limits: &RecoveryConfig,
        epoch: u32,
        now: Time,
        expired: &mut Vec<Expired<u32>>,
    ) -> (Kept, BTreeMap<u32, RecordKey>) {
        let mut kept = Kept::new(limits.clone(), [7; 16], epoch);
        kept.note_changes();
        for saved in self.namespaces.values() {
            let last = self.last.get(&saved.number).copied().unwrap_or(0);
            kept.restore_namespace(saved.clone(), last);
        }
        let name = |number: u32| &*self.namespaces[&number].name;
        let mut keys = BTreeMap::new();
        for saved in self.records.values() {
            let stays = self.stays.range((saved.number, 0)..=(saved.number, u32::MAX));
            let stays = stays.map(|(_, stay)| stay.clone()).collect();
            let until = saved.away_until.unwrap_or(now + limits.window);
            let data = self.data[&saved.number];
            let key = kept.restore_record(name(saved.namespace), saved, until, stays, (data, 0), expired);
            keys.insert(data, key.expect("a record that was saved"));
        }
        for ((namespace, room), sequence) in &self.pruned {
            kept.restore_pruned(name(*namespace), room.as_ref(), *sequence);
        }
        for ((namespace, sequence), row) in &self.messages {
            let place = (name(*namespace), *sequence);
            kept.restore_message(
                place,
                (row.at, row.until),
                row.audience.clone(),
                row.message.bytes,
                row.message,
            );
        }
        kept.go_on();
        (kept, keys)
    }
}
