//! What a store is told, and what a process takes over that goes on with what another has kept.
//!
//! A process goes on in an epoch of its own, behind the last number of the other process. So the
//! offsets of both are in one order, and an offset says in which process it was given.

use alloc::vec::Vec;

use bytestring::ByteString;

use super::audience::{Audience, Stay};
use super::change::{Change, SavedNamespace, SavedRecord, SavedStay};
use super::log::{Log, Loss};
use super::record::{Own, Past, Pid, Record};
use super::{Expired, Namespace, RecordKey, Recovery};
use crate::Time;
use crate::id::PlaceSlot;
use crate::id::siphash::siphash;

/// How many processes before this one are known by their epochs. A client shows an offset of the
/// process in which it was last connected, and is waited for during one window.
pub(super) const MAX_EPOCHS: usize = 64;

impl Stay {
    pub(super) fn saved(&self, record: u64) -> SavedStay {
        SavedStay {
            record,
            ordinal: self.ordinal,
            room: self.room.clone(),
            from: self.from,
            until: self.until,
        }
    }
}

/// Notes what the log of a namespace has thrown away. A store knows the last number of a namespace
/// by the newest message: where that one goes, the number is noted by itself.
pub(super) fn note_losses<M>(changes: Option<&mut Vec<Change>>, place: &mut Namespace<M>) {
    let Some(changes) = changes else { return };
    let (namespace, last) = (place.number, place.log.last());
    let losses = place.log.take_losses();
    if losses
        .iter()
        .any(|loss| matches!(loss, Loss::Message(lost) if *lost == last))
    {
        changes.push(Change::Counted { namespace, last });
    }
    changes.extend(losses.into_iter().map(|loss| match loss {
        Loss::Message(sequence) => Change::Dropped { namespace, sequence },
        Loss::Trail(room, sequence) => Change::Pruned {
            namespace,
            room,
            sequence,
        },
        Loss::Room(room) => Change::Pruned {
            namespace,
            room: Some(room),
            sequence: 0,
        },
    }));
}

/// Notes that a record is not kept any more.
pub(super) fn note_end<D>(changes: &mut Vec<Change>, record: &Record<D>) {
    if !record.is_saved() {
        return;
    }
    let number = record.number;
    changes.extend(record.stays.iter().map(|stay| Change::StayGone {
        record: number,
        ordinal: stay.ordinal,
    }));
    changes.push(Change::RecordGone { record: number });
}

/// Changes, for a store.
impl<M, D> Recovery<M, D> {
    /// Writes down from now on what changes, for [`take_changes`](Self::take_changes). Call it
    /// before there is any record.
    pub fn note_changes(&mut self) {
        self.changes = Some(Vec::new());
    }

    /// Takes what has changed since the last call, in order. Nothing, if nobody notes it.
    pub fn take_changes(&mut self) -> impl Iterator<Item = Change> + '_ {
        self.changes.iter_mut().flat_map(|changes| changes.drain(..))
    }

    /// The number of a namespace in a store.
    #[must_use]
    pub fn namespace_number(&self, namespace: &str) -> Option<u32> {
        Some(self.namespaces.get(namespace)?.number)
    }

    /// The number of a record in a store. `None` if the record is not kept there: what belongs to
    /// it must not be written, because nothing would remove it.
    #[must_use]
    pub fn record_number(&self, key: RecordKey) -> Option<u64> {
        Some(self.record(key).filter(|record| record.is_saved())?.number)
    }

    pub(super) fn note_record(&mut self, key: RecordKey) {
        if self.changes.is_none() {
            return;
        }
        let saved = self.record(key).and_then(|record| self.saved_record(record));
        if let (Some(changes), Some(saved)) = (&mut self.changes, saved) {
            changes.push(Change::Record(saved));
        }
    }

    pub(super) fn note_stays(&mut self, key: RecordKey) {
        let record = self.records.get(key.slot).filter(|record| record.is_saved());
        if let (Some(changes), Some(record)) = (&mut self.changes, record) {
            changes.extend(record.stays.iter().map(|stay| Change::Stay(stay.saved(record.number))));
        }
    }

    pub(super) fn note_losses(&mut self, place: PlaceSlot) {
        if let Some(place) = self.namespaces.at_mut(place) {
            note_losses(self.changes.as_mut(), place);
        }
    }

    fn saved_record(&self, record: &Record<D>) -> Option<SavedRecord> {
        if !record.is_saved() {
            return None;
        }
        Some(SavedRecord {
            number: record.number,
            namespace: self.namespaces.at(record.place)?.number,
            secret: record.pid.0,
            sid: record.sid,
            network: record.network,
            start: record.start,
            forgotten: record.forgotten,
            spoilt: record.spoilt,
            heard: record.heard,
            away_until: record.away_until(),
        })
    }

    /// Everything that a store has to know, as changes, except the messages
    /// ([`messages`](Self::messages)) and what the caller keeps with records.
    pub fn snapshot(&self, mut each: impl FnMut(Change)) {
        for (name, place) in self.namespaces.iter() {
            each(Change::Namespace(place.saved(name)));
            let namespace = place.number;
            each(Change::Counted {
                namespace,
                last: place.log.last(),
            });
            place.log.pruned(|room, sequence| {
                each(Change::Pruned {
                    namespace,
                    room: room.cloned(),
                    sequence,
                });
            });
        }
        for record in self.owned() {
            if let Some(saved) = self.saved_record(record) {
                each(Change::Record(saved));
            }
            for stay in &record.stays {
                each(Change::Stay(stay.saved(record.number)));
            }
        }
    }

    /// All messages that are kept, with the numbers of their namespaces.
    pub fn messages(&self) -> impl Iterator<Item = (u32, &super::Entry<M>)> {
        let places = self.namespaces.iter();
        places.flat_map(|(_, place)| place.log.entries().map(|entry| (place.number, entry)))
    }

    /// All records, by their numbers, with what the caller keeps with them.
    pub fn records(&self) -> impl Iterator<Item = (u64, &D)> {
        self.owned().map(|record| (record.number, &record.data))
    }

    /// The records that a store has.
    fn owned(&self) -> impl Iterator<Item = &Record<D>> {
        let records = self.records.slots().filter_map(|slot| self.records.get(slot));
        records.filter(|record| record.is_saved())
    }
}

impl<M> Namespace<M> {
    fn saved(&self, name: &ByteString) -> SavedNamespace {
        SavedNamespace {
            number: self.number,
            name: name.clone(),
            epochs: self.epochs.clone(),
        }
    }
}

/// What another process has kept. The order of calls is: namespaces, records, pruned trails,
/// messages, [`go_on`](Recovery::go_on). The limits hold for each call.
impl<M, D> Recovery<M, D> {
    /// A namespace in which somebody may come back.
    pub fn restore_namespace(&mut self, saved: SavedNamespace, last: u64) {
        let SavedNamespace { number, name, epochs } = saved;
        let begins = epochs.last().map_or(0, |(_, first)| *first);
        let mut log = Log::new(self.log_limits(), last.max(begins));
        log.note_losses();
        self.next_namespace = self.next_namespace.max(number.saturating_add(1));
        let place = Namespace {
            number,
            log,
            arena: crate::arena::Arena::default(),
            records: 0,
            entry: 0,
            epochs,
        };
        self.namespaces.insert(name, place);
    }

    /// The record of a client that is waited for until `until`, with what the caller keeps for it
    /// and the bytes of this, as for [`lost`](Self::lost). Returns `None` if there is no such
    /// namespace, or if the secret is known already.
    pub fn restore_record(
        &mut self,
        namespace: &str,
        saved: &SavedRecord,
        until: Time,
        stays: Vec<SavedStay>,
        (data, bytes): (D, usize),
        expired: &mut Vec<Expired<D>>,
    ) -> Option<RecordKey> {
        let hash = siphash(&self.key, &saved.secret);
        if self.secrets.contains_key(&hash) || stays.is_empty() {
            return None;
        }
        let slot = self.namespaces.find(namespace)?;
        let place = self.namespaces.at_mut(slot)?;
        place.records += 1;
        let trails: Vec<_> = stays.iter().map(|stay| place.log.watch(&stay.room)).collect();
        let ended = stays.iter().filter(|stay| stay.until.is_some());
        ended.for_each(|stay| place.log.leave(&stay.room));
        let own = Own::new(stays.first()?.room.clone(), *trails.first()?);
        // A store does not keep what was brought from elsewhere. That lies between what the client
        // has seen and the number at which its record has come here.
        let (came, lacks) = came_here(&stays, saved);
        let weights = stays.iter().skip(1).map(|stay| Record::<D>::weight(&stay.room));
        let record = Record {
            number: saved.number,
            pid: Pid(saved.secret),
            foreign_pid: None,
            adopted: if lacks { came } else { 0 },
            past: Past::Stored,
            lacks,
            is_strange: false,
            sid: saved.sid,
            namespace: namespace.into(),
            place: slot,
            network: saved.network,
            start: saved.start,
            own,
            bytes: weights.sum(),
            next_stay: stays
                .iter()
                .map(|stay| stay.ordinal)
                .max()
                .unwrap_or(0)
                .saturating_add(1),
            stays: stays.into_iter().map(|stay| restored(stay, came, saved)).collect(),
            forgotten: saved.forgotten,
            spoilt: saved.spoilt,
            heard: saved.heard,
            is_foreign: false,
            away: None,
            away_bytes: 0,
            data,
        };
        self.next_record = self.next_record.max(saved.number.saturating_add(1));
        let (slot, generation) = self.records.insert(record);
        self.secrets.insert(hash, slot);
        let key = RecordKey { slot, generation };
        let max = self.config.max_record_bytes;
        if let Some(record) = self.record_mut(key) {
            record.spoilt |= record.bytes > max;
        }
        self.wait_for(key, until, bytes, expired);
        Some(key)
    }

    /// The messages to the socket of this record were written by another parser. Its client is not
    /// recovered, and is told why as long as it would have been waited for by this process. A store
    /// keeps the record no longer.
    pub fn disown(&mut self, key: RecordKey) {
        let Some(record) = self.records.find_mut(key.slot, key.generation) else {
            return;
        };
        if let Some(changes) = &mut self.changes {
            note_end(changes, record);
        }
        record.is_foreign = true;
    }

    /// Messages to a room, or to everybody, that are not kept up to this number.
    pub fn restore_pruned(&mut self, namespace: &str, room: Option<&ByteString>, sequence: u64) {
        if let Some(place) = self.namespaces.get_mut(namespace) {
            place.log.restore_pruned(room, sequence);
        }
    }

    /// A message that was kept, with the time when it was sent and the time until which it is kept.
    /// `bytes` is what it takes in memory.
    pub fn restore_message(
        &mut self,
        (namespace, sequence): (&str, u64),
        times: (Time, Time),
        audience: Audience,
        bytes: usize,
        message: M,
    ) {
        let Some(place) = self.namespaces.get_mut(namespace) else {
            return;
        };
        let before = place.log.bytes();
        place.log.restore(sequence, times, audience, bytes, message);
        let after = place.log.bytes();
        self.log_bytes = self.log_bytes - before + after;
        if self.log_bytes > self.config.max_total_log_bytes {
            self.shrink();
        }
    }

    /// Goes on, when everything has been restored: each namespace counts on in the epoch of this
    /// process.
    pub fn go_on(&mut self) {
        let is_taken = |epoch: u32| {
            let mut known = self.namespaces.iter().flat_map(|(_, place)| &place.epochs);
            known.any(|(other, _)| *other == epoch)
        };
        while is_taken(self.epoch) {
            self.epoch = self.epoch.wrapping_add(1);
        }
        let (epoch, highest, changes) = (self.epoch, &mut self.highest, &mut self.changes);
        self.namespaces.for_each(|name, place| {
            let first = place.log.last();
            *highest = (*highest).max(first);
            place.epochs.push((epoch, first));
            let many = place.epochs.len().saturating_sub(MAX_EPOCHS);
            place.epochs.drain(..many);
            note_losses(changes.as_mut(), place);
            if let Some(changes) = changes {
                changes.push(Change::Namespace(place.saved(name)));
            }
        });
    }
}

/// The number at which a record has begun here or has come here, and whether its client may have
/// been sent what was said elsewhere before.
fn came_here(stays: &[SavedStay], record: &SavedRecord) -> (u64, bool) {
    let came = stays.first().map_or(0, |own| own.from);
    (came, came > record.start)
}

/// A store does not know since when the socket of a record that has come from another server is in
/// its rooms: then it is the beginning of the record. That is too early for some, but a later place
/// would let other servers leave out what the client has missed.
fn restored(stay: SavedStay, came: u64, record: &SavedRecord) -> Stay {
    let SavedStay {
        ordinal,
        room,
        from,
        until,
        ..
    } = stay;
    let since = match from <= record.forgotten.max(came) {
        true => from.min(record.start),
        false => from,
    };
    Stay {
        ordinal,
        room,
        from,
        until,
        since,
    }
}
