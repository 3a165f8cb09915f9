//! Recovery: a client whose connection was cut comes back as the same socket, with its rooms, and
//! hears what it has missed (docs/protocol/socket-io.md §6).
//!
//! ```text
//!   open ─► THERE ── lost ─► AWAY ── handle_timeout ─► gone, and the caller is told
//!             │  ▲             │
//!             │  └─── claim ───┴── (THERE too: the new connection takes over)
//!             └─ close ─► gone: a goodbye is final
//! ```
//! A [`Recovery`] is a value beside the shards, for all of them, because who comes back stands in
//! some shard before anybody knows who it is. It keeps two things:
//!
//! - a [record](Recovery::open) for each socket that may come back: its ids, its rooms and since
//!   when it is in them, and whatever the caller wants back;
//! - a [`Log`] for each namespace: what was sent, to whom, under which number.
//!
//! Every message gets the next number of its namespace ([`Recovery::post`]), which goes to clients
//! as an [`Offset`] behind the arguments; the client shows the last one it has seen. So the caller
//! holds one lock from the number to the last queue that the message goes into: messages then
//! arrive in the order of their numbers, and what a client shows says exactly what it has. The
//! answer to who comes back is made under the same lock, so a message is either replayed or sent to
//! it, never both and never neither.
//!
//! A client that has seen no message shows no offset. It is recovered from where its record
//! begins.
//!
//! Invariants: a record is there until it is closed, expires or is pushed out, and who expires or
//! is pushed out is reported; a socket is never replayed a message to a room that it was not a
//! member of when the message was sent; a message that is missing is never missing silently
//! ([`NotRecovered::Truncated`]).

mod adopting;
mod audience;
mod away;
mod change;
mod history;
#[cfg(feature = "steps")]
mod holding;
mod log;
mod namespaces;
mod outcome;
mod posting;
mod record;
mod saving;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytestring::ByteString;

use crate::arena::Arena;
use crate::id::siphash::siphash;
use crate::id::{PlaceSlot, RecordSlot};
use crate::shares::Shares;
use crate::slab::Slab;
use crate::socket::Offset;
use crate::{RecoveryConfig, Sid, Time};
use adopting::Brought;
use audience::Stay;
use away::Away;
use namespaces::Namespaces;
use record::{Own, Past, Pid, Record, is_same};

pub use adopting::Adopted;
pub use audience::{Audience, Recipients};
pub use change::{Change, SavedNamespace, SavedRecord, SavedStay};
pub use history::{Entries, History, Older, Ring, Since};
#[cfg(feature = "steps")]
pub use holding::RecordHolding;
pub use log::{Entry, Log, LogLimits, Truncated};
pub use outcome::{Absence, Claimed, Expired, NotRecovered, Room};

/// The records of sockets and the logs of namespaces. `M` is a message as the caller keeps it, `D`
/// what the caller wants back with a record.
pub struct Recovery<M, D> {
    config: RecoveryConfig,
    /// Key of the hash by which secrets are found.
    key: [u8; 16],
    epoch: u32,
    /// Whether messages have the places that a stream gives them ([`Offset::STREAM`]).
    follows_stream: bool,
    /// Whether other servers speak in the same namespaces.
    hears_others: bool,
    /// What was brought here from elsewhere for records ([`Recovery::bring`]).
    brought: BTreeMap<RecordSlot, Brought<M>>,
    /// Whose bytes these are.
    brought_shares: Shares<u128, RecordSlot>,
    /// When the first of it is dropped, if there is any.
    brought_until: Option<Time>,
    namespaces: Namespaces<M>,
    /// The highest number in a namespace that is forgotten. A count that begins goes on from here,
    /// so that an offset of an earlier one is never ahead of it.
    highest: u64,
    /// Bytes in all logs.
    log_bytes: usize,
    records: Slab<RecordSlot, Record<D>>,
    /// The slots by the keyed hash of the secret: how deep a look-up goes says nothing of it.
    secrets: BTreeMap<u64, RecordSlot>,
    away: Away,
    /// What a store has to be told, if there is one.
    changes: Option<Vec<Change>>,
    /// The numbers of the next namespace and the next record in a store.
    next_namespace: u32,
    next_record: u64,
}

/// A namespace in which somebody may come back.
struct Namespace<M> {
    /// Its number in a store.
    number: u32,
    log: Log<M>,
    /// Memory for the next messages that are kept. Messages of one namespace go in the order in
    /// which they came, so they share their memory without holding much of it for long.
    arena: Arena,
    records: usize,
    /// The number of the last message that a stream has given its place; 0 for none.
    entry: u64,
    /// The epochs in which its messages were counted, the oldest first, each with the number of the
    /// last message before it. The last one is that of this process.
    epochs: Vec<(u32, u64)>,
}

/// Names a record. A key of a record that is gone is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordKey {
    slot: RecordSlot,
    generation: u32,
}

/// A socket that may come back.
#[derive(Debug)]
pub struct Opening<D> {
    /// Its namespace.
    pub namespace: ByteString,
    /// Its public id.
    pub sid: Sid,
    /// The network of the client's address, in whatever form: equal for those that
    /// [`RecoveryConfig::max_away_per_address`] counts as one.
    pub network: u128,
    /// Unpredictable bytes, for the secret.
    pub random: [u8; 18],
    /// What the caller wants back.
    pub data: D,
}

/// Records.
impl<M, D> Recovery<M, D> {
    /// Nothing is known yet. `key` and `epoch` are unpredictable; the epoch differs from that of
    /// each process whose clients may come here.
    #[must_use]
    pub const fn new(config: RecoveryConfig, key: [u8; 16], epoch: u32) -> Self {
        Self {
            config,
            key,
            epoch: if epoch == Offset::STREAM { epoch - 1 } else { epoch },
            follows_stream: false,
            hears_others: false,
            brought: BTreeMap::new(),
            brought_shares: Shares::new(),
            brought_until: None,
            namespaces: Namespaces::new(),
            highest: 0,
            log_bytes: 0,
            records: Slab::new(),
            secrets: BTreeMap::new(),
            away: Away::new(),
            changes: None,
            next_namespace: 0,
            next_record: 0,
        }
    }

    /// How long clients are waited for, and messages kept.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.config.window
    }

    /// How many records there are, of clients who are there and of those who are away.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.len() == 0
    }

    /// How many clients are away.
    #[must_use]
    pub fn away(&self) -> usize {
        self.away.len()
    }

    /// Begins a record for a socket that is about to be accepted. Returns its name and the secret
    /// that the client is told as `pid`. `None` if the random bytes have been used before.
    pub fn open(&mut self, opening: Opening<D>) -> Option<(RecordKey, ByteString)> {
        let Opening {
            namespace,
            sid,
            network,
            random,
            data,
        } = opening;
        let hash = siphash(&self.key, &random);
        if self.secrets.contains_key(&hash) {
            return None;
        }
        let slot = self.begin_namespace(&namespace);
        self.begin_behind_entries(slot);
        let place = self.namespaces.at_mut(slot)?;
        place.records += 1;
        let start = place.log.last();
        let own = ByteString::from(alloc::format!("{sid}"));
        let trail = place.log.watch(&own);
        let number = self.next_record;
        self.next_record += 1;
        let record = Record {
            number,
            pid: Pid(random),
            foreign_pid: None,
            adopted: 0,
            past: Past::Here,
            lacks: false,
            is_strange: false,
            sid,
            namespace,
            place: slot,
            network,
            start,
            own: Own::new(own.clone(), trail),
            stays: alloc::vec![Stay {
                ordinal: 0,
                room: own,
                from: start,
                until: None,
                since: start,
            }],
            next_stay: 1,
            forgotten: 0,
            spoilt: false,
            is_foreign: false,
            heard: 0,
            bytes: 0,
            away: None,
            away_bytes: 0,
            data,
        };
        let (slot, generation) = self.records.insert(record);
        self.secrets.insert(hash, slot);
        let key = RecordKey { slot, generation };
        self.note_record(key);
        self.note_stays(key);
        Some((key, URL_SAFE_NO_PAD.encode(random).into()))
    }

    /// The place of the namespace of a record, which begins now if it has had none.
    fn begin_namespace(&mut self, name: &ByteString) -> PlaceSlot {
        if let Some(known) = self.namespaces.find(name) {
            return known;
        }
        let (number, first) = (self.next_namespace, self.highest);
        self.next_namespace += 1;
        let mut log = Log::new(self.log_limits(), first);
        let epochs = alloc::vec![(self.epoch, first)];
        if let Some(changes) = &mut self.changes {
            log.note_losses();
            changes.push(Change::Namespace(SavedNamespace {
                number,
                name: name.clone(),
                epochs: epochs.clone(),
            }));
        }
        let namespace = Namespace {
            number,
            log,
            arena: Arena::default(),
            records: 0,
            entry: if self.follows_stream { first } else { 0 },
            epochs,
        };
        self.namespaces.insert(name.clone(), namespace)
    }

    /// The socket has joined a room ([`join`](Self::join)) that is named like itself, and that
    /// nobody else is in: what is sent to the socket alone is from now on for this room.
    pub fn set_own_room(&mut self, key: RecordKey, room: &ByteString) {
        let Some(record) = self.records.find_mut(key.slot, key.generation) else {
            return;
        };
        let place = self.namespaces.at(record.place);
        if let Some(trail) = place.and_then(|place| place.log.trail(room)) {
            record.own = Own::new(room.clone(), trail);
        }
    }

    /// The record of a client that shows this `pid` in this namespace. The client may be there
    /// still, on a connection that is about to be found dead.
    #[must_use]
    pub fn find(&self, namespace: &str, pid: &str) -> Option<RecordKey> {
        let Some(shown) = Pid::parse(pid) else {
            return self.find_foreign(namespace, pid);
        };
        let slot = *self.secrets.get(&siphash(&self.key, &shown.0))?;
        let record = self.records.get(slot)?;
        (is_same(&record.pid.0, &shown.0) && *record.namespace == *namespace).then(|| RecordKey {
            slot,
            generation: self.records.generation(slot),
        })
    }

    /// The secret by which the client of a record is recognised.
    #[must_use]
    pub fn pid(&self, key: RecordKey) -> Option<ByteString> {
        let record = self.record(key)?;
        match &record.foreign_pid {
            Some(pid) => Some(ByteString::from(&**pid)),
            None => Some(URL_SAFE_NO_PAD.encode(record.pid.0).into()),
        }
    }

    /// The rooms of a record's socket, without the room of its own id.
    #[must_use]
    pub fn rooms(&self, key: RecordKey) -> Vec<ByteString> {
        self.record(key)
            .map_or_else(Vec::new, |record| record.rooms().cloned().collect())
    }

    /// Whether the socket of some record is in this room, there or away. The id of a socket is a
    /// room, too.
    #[must_use]
    pub fn has_member(&self, namespace: &str, room: &str) -> bool {
        let place = self.namespaces.get(namespace);
        place.is_some_and(|place| place.log.has_member(room))
    }

    /// The keys of all records.
    #[must_use]
    pub fn keys(&self) -> Vec<RecordKey> {
        let slots = self.records.slots();
        let key = |slot| RecordKey {
            slot,
            generation: self.records.generation(slot),
        };
        slots.map(key).collect()
    }

    /// Whether a client is away.
    #[must_use]
    pub fn is_away(&self, key: RecordKey) -> bool {
        self.record(key).is_some_and(|record| record.away.is_some())
    }

    /// What the caller has kept with a record.
    pub fn data(&self, key: RecordKey) -> Option<&D> {
        self.record(key).map(|record| &record.data)
    }

    /// What the caller has kept with a record, to change it.
    pub fn data_mut(&mut self, key: RecordKey) -> Option<&mut D> {
        self.record_mut(key).map(|record| &mut record.data)
    }

    fn record(&self, key: RecordKey) -> Option<&Record<D>> {
        let record = self.records.get(key.slot);
        record.filter(|_| self.records.holds(key.slot, key.generation))
    }

    fn record_mut(&mut self, key: RecordKey) -> Option<&mut Record<D>> {
        match self.records.holds(key.slot, key.generation) {
            true => self.records.get_mut(key.slot),
            false => None,
        }
    }

    /// How many events of the client have been had, as far as is known ([`Self::set_heard`]).
    #[must_use]
    pub fn heard(&self, key: RecordKey) -> u64 {
        self.record(key).map_or(0, |record| record.heard)
    }

    /// So many events of the client have been had since the record began. A store learns of it
    /// before the client does, if the caller calls this before it confirms the events.
    pub fn set_heard(&mut self, key: RecordKey, heard: u64) {
        if let Some(record) = self.record_mut(key).filter(|record| record.heard < heard) {
            record.heard = heard;
            self.note_record(key);
        }
    }

    /// The socket has joined a room: what is sent to the room from here on is for it. If its client
    /// is away, the room counts among what all who are away keep, as if the client had been in it
    /// when it went away ([`lost`](Self::lost)): where there is too much, others go, and are
    /// reported in `expired`. This client may be one of them. A record that alone would be too much
    /// is given up, and pushes nobody out.
    pub fn join(&mut self, key: RecordKey, room: &ByteString, expired: &mut Vec<Expired<D>>) {
        let mut max = self.config.max_record_bytes;
        if !self.records.holds(key.slot, key.generation) {
            return;
        }
        let Some(record) = self.records.get_mut(key.slot) else {
            return;
        };
        let Some(place) = self.namespaces.at_mut(record.place) else {
            return;
        };
        let (number, is_saved, is_away) = (record.number, record.is_saved(), record.away.is_some());
        let is_given_up = is_away && record.spoilt;
        if is_given_up || record.rooms().any(|known| known == room) {
            return;
        }
        if is_away {
            let free = self.config.max_away_bytes.saturating_sub(record.away_bytes);
            max = max.min(record.bytes.saturating_add(free));
        }
        match record.join(room.clone(), place.log.last(), max) {
            Some(stay) => {
                place.log.watch(room);
                if let Some(changes) = self.changes.as_mut().filter(|_| is_saved) {
                    changes.push(Change::Stay(stay.saved(number)));
                }
                if is_away {
                    let weight = Record::<D>::weight(room);
                    let before = record.away_bytes;
                    record.away_bytes += weight;
                    self.away.weigh(record.network, before, record.away_bytes);
                    self.push_out(expired);
                }
            }
            None => {
                record.spoilt = true;
                self.note_record(key);
            }
        }
    }

    /// The socket has left a room. What was sent before is still for it.
    pub fn leave(&mut self, key: RecordKey, room: &str) {
        if !self.records.holds(key.slot, key.generation) {
            return;
        }
        let Some(record) = self.records.get_mut(key.slot) else {
            return;
        };
        let Some(place) = self.namespaces.at_mut(record.place) else {
            return;
        };
        let (number, is_saved) = (record.number, record.is_saved());
        let Some(stay) = record.leave(room, place.log.last()) else {
            return;
        };
        place.log.leave(room);
        if let Some(changes) = self.changes.as_mut().filter(|_| is_saved) {
            changes.push(Change::Stay(stay.saved(number)));
        }
        let Some(forgotten) = record.forget_a_stay() else {
            return;
        };
        place.log.unwatch(&forgotten.room);
        if record.away.is_some() {
            let weight = Record::<D>::weight(&forgotten.room);
            let before = record.away_bytes;
            record.away_bytes -= weight;
            self.away.weigh(record.network, before, record.away_bytes);
        }
        if let Some(changes) = self.changes.as_mut().filter(|_| is_saved) {
            changes.push(Change::StayGone {
                record: number,
                ordinal: forgotten.ordinal,
            });
        }
        let place = record.place;
        self.note_record(key);
        self.note_losses(place);
    }

    /// The socket has said goodbye, or was told to go: it does not come back. Returns what was kept
    /// with the record.
    pub fn close(&mut self, key: RecordKey) -> Option<D> {
        self.record(key)?;
        self.remove(key.slot).map(|gone| gone.data)
    }

    /// Ends a record that is of no use, as if its time were over.
    pub fn expire(&mut self, key: RecordKey) -> Option<Expired<D>> {
        self.record(key)?;
        self.remove(key.slot)
    }

    /// Ends all records.
    pub fn end_all(&mut self, now: Time, ended: &mut Vec<Expired<D>>) {
        while let Some(slot) = self.secrets.values().next().copied() {
            match self.remove(slot) {
                Some(gone) => ended.push(gone),
                None => break,
            }
        }
        self.handle_timeout(now, ended);
    }

    fn remove(&mut self, slot: RecordSlot) -> Option<Expired<D>> {
        let record = self.records.remove(slot)?;
        self.secrets.remove(&siphash(&self.key, record.secret()));
        self.forget_brought(slot);
        if let Some(turn) = record.away {
            self.away.remove(turn, slot, record.network, record.away_bytes);
        }
        if let Some(place) = self.namespaces.at_mut(record.place) {
            for stay in &record.stays {
                if stay.until.is_none() {
                    place.log.leave(&stay.room);
                }
                place.log.unwatch(&stay.room);
            }
            place.records -= 1;
            // Nobody is left who could ask.
            if place.records == 0 {
                self.log_bytes -= place.log.bytes();
                place.log.clear();
            }
        }
        if let Some(changes) = &mut self.changes {
            saving::note_end(changes, &record);
            self.note_losses(record.place);
        }
        Some(Expired {
            sid: record.sid,
            namespace: record.namespace,
            data: record.data,
        })
    }

    /// The client has come back and is let in: it is there again, under the name that its record
    /// has, and its secret stays. Where a client is not recovered its record is not touched:
    /// [`close`](Self::close) it.
    ///
    /// # Errors
    ///
    /// Why it is not recovered.
    pub fn claim(&mut self, key: RecordKey, offset: Option<&str>, room: Room) -> Result<Claimed<'_, M>, NotRecovered> {
        let sequences = self.missed(key, offset, room)?;
        let seen = self.seen(key, offset)?;
        let slot = key.slot;
        let record = self.record_mut(key).ok_or(NotRecovered::Unknown)?;
        record.start = seen;
        let (away, network, bytes) = (record.away.take(), record.network, record.away_bytes);
        if let Some(turn) = away {
            self.away.remove(turn, slot, network, bytes);
        }
        self.note_record(key);
        let record = self.record(key).ok_or(NotRecovered::Unknown)?;
        let place = self.namespaces.at(record.place).ok_or(NotRecovered::Unknown)?;
        Ok(Claimed {
            sid: record.sid,
            rooms: record.rooms().cloned().collect(),
            missed: self.with_brought(slot, seen, &place.log, &sequences),
        })
    }

    /// What a client would be sent if it were recovered now ([`claim`](Self::claim)), oldest first.
    /// Nothing changes.
    ///
    /// # Errors
    ///
    /// Why it would not be recovered.
    pub fn check(&self, key: RecordKey, offset: Option<&str>, room: Room) -> Result<Vec<&Entry<M>>, NotRecovered> {
        let record = self.record(key).ok_or(NotRecovered::Unknown)?;
        let place = self.namespaces.at(record.place).ok_or(NotRecovered::Unknown)?;
        let sequences = self.missed(key, offset, room)?;
        let seen = self.seen(key, offset)?;
        Ok(self.with_brought(key.slot, seen, &place.log, &sequences))
    }

    /// How long the client of a record was away, and how much was said meanwhile, by what it shows.
    /// This is known of clients that cannot be recovered, too.
    #[must_use]
    pub fn absence(&self, now: Time, key: RecordKey, offset: Option<&str>) -> Option<Absence> {
        let record = self.record(key)?;
        let last = self.namespaces.at(record.place)?.log.last();
        let seen = self.seen(key, offset).unwrap_or(record.start);
        let since = record
            .away_until()
            .map(|until| (now + self.config.window).saturating_since(until));
        Some(Absence {
            away: since.unwrap_or_default(),
            messages: last.saturating_sub(seen),
        })
    }

    /// The numbers of what a client has missed.
    fn missed(&self, key: RecordKey, offset: Option<&str>, room: Room) -> Result<Vec<u64>, NotRecovered> {
        let record = self.record(key).ok_or(NotRecovered::Unknown)?;
        let place = self.namespaces.at(record.place).ok_or(NotRecovered::Unknown)?;
        if record.is_foreign {
            return Err(NotRecovered::Parser);
        }
        if record.spoilt {
            return Err(NotRecovered::Rooms);
        }
        let after = self.seen(key, offset)?;
        if self.is_behind(key) {
            // What others have said while no process was here is in no log.
            let pruned = place.log.last();
            return Err(NotRecovered::Truncated(Truncated { pruned }));
        }
        if record.forgotten > after {
            let pruned = record.forgotten;
            return Err(NotRecovered::Truncated(Truncated { pruned }));
        }
        if record.lacks && record.adopted > after {
            let pruned = record.adopted;
            return Err(NotRecovered::Truncated(Truncated { pruned }));
        }
        // What was said before the record came here was brought here.
        let missed = match record.past {
            Past::Reread => self.beside_brought(key.slot, after, place.log.missed(after, &record.stays)?)?,
            Past::Here | Past::Stored => place.log.missed(after.max(record.adopted), &record.stays)?,
        };
        let all = || self.brought(key.slot, after).chain(missed.iter().copied());
        let bytes = all().map(Entry::bytes).sum();
        let packets = all().count();
        if bytes > room.bytes || packets > room.packets {
            return Err(NotRecovered::TooMuch { packets, bytes });
        }
        Ok(missed.iter().map(|entry| entry.sequence).collect())
    }

    /// The number of the last message that the client has seen, by what it shows. Text that is no
    /// offset of this count is none that was written behind an event since the client has its
    /// secret, or since it has come back: the client has seen no event.
    fn seen(&self, key: RecordKey, offset: Option<&str>) -> Result<u64, NotRecovered> {
        let record = self.record(key).ok_or(NotRecovered::Unknown)?;
        let place = self.namespaces.at(record.place).ok_or(NotRecovered::Unknown)?;
        let Some(Offset { epoch, sequence }) = offset.and_then(Offset::parse) else {
            return Ok(record.start);
        };
        if epoch == Offset::STREAM && self.follows_stream {
            return match sequence > place.log.last() {
                true => Err(NotRecovered::Offset),
                false => Ok(sequence.max(record.start)),
            };
        }
        let Some(at) = place.epochs.iter().position(|(known, _)| *known == epoch) else {
            return Ok(record.start);
        };
        match place.epochs.get(at + 1) {
            None if sequence > place.log.last() => Err(NotRecovered::Offset),
            // An earlier process has said more than it could keep. Others may have missed it.
            Some((_, end)) if sequence > *end => Err(NotRecovered::Truncated(Truncated { pruned: sequence })),
            _ => Ok(sequence.max(record.start)),
        }
    }
}
