//! Records that come here from another server of a cluster, and places that the stream of a broker
//! gives to messages.
//!
//! ```text
//!   advance ─► numbers follow the stream        adopt ─► AWAY here, from number I on the log has all
//!                                               reread ─► the same, for a record of a store
//!                                               bring ─► what was said between its offset and I
//!                                               claim ─► brought, then logged: nothing twice
//!                                               let_in ─► a store has it from now on
//! ```
//! All servers of a cluster read one stream in one order, and the number of a message is made of
//! the id of its entry. So the offset that a client was given by another server is a number here,
//! too, and the number at which a record is adopted parts what has to be fetched from the stream
//! from what the log keeps.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::audience::Stay;
use super::change::Change;
use super::log::{Entry, Log, Truncated};
use super::outcome::Expired;
use super::record::{Own, Past, Pid, Record, is_same};
use super::saving::MAX_EPOCHS;
use super::{RecordKey, Recovery};
use crate::id::siphash::siphash;
use crate::id::{PlaceSlot, RecordSlot};
use crate::socket::Offset;
use crate::{Sid, Time};

/// Most bytes of a secret that another kind of server has made. Genuine servers make 20.
const MAX_PID_BYTES: usize = 64;

/// A record that another server has kept.
#[derive(Debug)]
pub struct Adopted<D> {
    /// Its namespace.
    pub namespace: ByteString,
    /// The secret of its client.
    pub pid: ByteString,
    /// An id of this server, which stands for the record where only such ids are known.
    pub sid: Sid,
    /// The id of the socket, which is a room of its own.
    pub id: ByteString,
    /// Its other rooms, each with the place behind which the socket is in it
    /// ([`Recovery::rooms_since`]).
    pub rooms: Vec<(ByteString, Option<Offset>)>,
    /// The offset from which the client has to be sent what it has missed, if it shows none itself.
    pub start: Option<Offset>,
    /// As [`Opening::network`](super::Opening::network).
    pub network: u128,
    /// What the caller keeps with the record.
    pub data: D,
    /// The bytes of this, as for [`Recovery::lost`].
    pub bytes: usize,
}

/// What was fetched for one record, or is being fetched.
pub(super) struct Brought<M> {
    entries: Vec<Entry<M>>,
    bytes: usize,
    network: u128,
    until: Time,
    /// Whether others have needed its room while it was fetched.
    is_given_up: bool,
}

impl<M, D> Recovery<M, D> {
    /// Other servers speak in the same namespaces, and nobody keeps for this process what they have
    /// said before it began. Call it before any client comes.
    pub const fn hear_others(&mut self) {
        self.hears_others = true;
    }

    /// From now on a stream gives messages their places: other servers speak there
    /// ([`hear_others`](Self::hear_others)), and what they have said can be read again. Call it
    /// before any client comes.
    pub const fn follow_stream(&mut self) {
        self.follows_stream = true;
        self.hear_others();
    }

    /// The epoch of messages that no stream has given a place.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// An entry of the stream has been read, whatever its namespace is: a namespace that begins
    /// later begins behind it.
    pub fn pass(&mut self, entry: Offset) {
        if self.follows_stream && entry.is_entry() {
            self.highest = self.highest.max(entry.sequence);
        }
    }

    /// The next message of a namespace is this entry of the stream: the number before it is the
    /// last one. A number that is taken already stays taken, and the message gets the next one.
    pub fn advance(&mut self, namespace: &str, entry: Offset) {
        if let Some(place) = self.namespaces.get_mut(namespace).filter(|_| entry.is_entry()) {
            place.log.advance(entry.sequence.saturating_sub(1));
        }
    }

    /// The entry has its number in the namespace, with or without a message that is kept. Later
    /// messages without a number of their own carry its offset.
    pub fn advanced(&mut self, namespace: &str, entry: Offset) {
        if let Some(slot) = self.namespaces.find(namespace).filter(|_| entry.is_entry()) {
            self.advance_to(slot, entry.sequence);
        }
    }

    /// All entries up to this one have been read. A store learns of it, because clients may be
    /// shown its place: what the next process says has to stand behind it.
    fn advance_to(&mut self, slot: PlaceSlot, entry: u64) {
        let Some(place) = self.namespaces.at_mut(slot) else {
            return;
        };
        let before = place.log.last();
        place.log.advance(entry);
        let last = place.log.last();
        if last == entry {
            place.entry = entry;
        }
        if let Some(changes) = self.changes.as_mut().filter(|_| last > before) {
            let namespace = place.number;
            changes.push(Change::Counted { namespace, last });
        }
    }

    /// A record is about to begin: it begins behind all entries that have been read, also if none
    /// of them was for its namespace. But if something was said here without the stream, nobody
    /// knows here whether the stream will bring it: then the place of an entry would stand for what
    /// comes behind it.
    pub(super) fn begin_behind_entries(&mut self, slot: PlaceSlot) {
        let Some(place) = self.namespaces.at(slot) else { return };
        let (last, first) = (place.log.last(), place.epochs.last().map(|(_, first)| *first));
        let is_in_order = place.entry == last || first == Some(last);
        if self.follows_stream && is_in_order && Offset::is_entry_number(self.highest) {
            self.advance_to(slot, self.highest);
        }
    }

    /// Takes over the record of a client that is coming back here. From now on the log keeps what
    /// is said to its rooms. Returns the name of the record, and the number of the last message
    /// before it: what lies between the client's offset and this number has to be brought
    /// ([`bring`](Self::bring)). `None` if the record cannot be kept: its secret is too long or
    /// known already, or its rooms take too many bytes.
    ///
    /// A store is not told of the record before its client is let in ([`let_in`](Self::let_in)): a
    /// process that took it over from the store would not know that nobody here has decided about
    /// the client. If the process ends before, it is as if the record had not come here.
    pub fn adopt(
        &mut self,
        now: Time,
        adopted: Adopted<D>,
        expired: &mut Vec<Expired<D>>,
    ) -> Option<(RecordKey, Offset)> {
        let Adopted {
            namespace,
            pid,
            sid,
            id,
            rooms,
            start,
            network,
            data,
            bytes,
        } = adopted;
        if pid.len() > MAX_PID_BYTES || pid.is_empty() {
            return None;
        }
        let (own_pid, foreign_pid) = match Pid::parse(&pid) {
            Some(pid) => (pid, None),
            None => (Pid([0; Pid::BYTES]), Some(Box::<str>::from(&*pid))),
        };
        let secret = foreign_pid.as_deref().map_or(&own_pid.0[..], str::as_bytes);
        let hash = siphash(&self.key, secret);
        let names = rooms.iter().map(|(room, _)| room);
        let weight: usize = names.chain([&id]).map(Record::<D>::weight).sum();
        if self.secrets.contains_key(&hash) || weight > self.config.max_record_bytes {
            return None;
        }
        let slot = self.begin_namespace(&namespace);
        let place = self.namespaces.at_mut(slot)?;
        place.records += 1;
        let at = place.log.last();
        let start = start
            .filter(|start| start.is_entry())
            .map_or(at, |start| start.sequence.min(at));
        let trail = place.log.watch(&id);
        let mut stays = vec![Stay {
            ordinal: 0,
            room: id.clone(),
            from: at,
            until: None,
            since: start,
        }];
        for (room, since) in rooms {
            place.log.watch(&room);
            let since = since.filter(|since| since.is_entry());
            stays.push(Stay {
                ordinal: u32::try_from(stays.len()).unwrap_or(u32::MAX),
                room,
                from: at,
                until: None,
                since: since.map_or(start, |since| since.sequence.clamp(start, at)),
            });
        }
        let number = self.next_record;
        self.next_record += 1;
        let record = Record {
            number,
            pid: own_pid,
            foreign_pid,
            adopted: at,
            past: Past::Here,
            lacks: true,
            is_strange: true,
            sid,
            namespace,
            place: slot,
            network,
            start,
            own: Own::new(id, trail),
            next_stay: u32::try_from(stays.len()).unwrap_or(u32::MAX),
            stays,
            forgotten: 0,
            spoilt: false,
            is_foreign: false,
            heard: 0,
            bytes: weight,
            away: None,
            away_bytes: 0,
            data,
        };
        let (slot, generation) = self.records.insert(record);
        self.secrets.insert(hash, slot);
        let key = RecordKey { slot, generation };
        self.lost(now, key, bytes, expired);
        let sequence = at;
        let epoch = Offset::STREAM;
        self.record(key).is_some().then_some((key, Offset { epoch, sequence }))
    }

    /// The client of an adopted record has come back ([`claim`](Self::claim)) and has been let in.
    /// From now on a store is told of the record. Nothing happens for any other record. A caller
    /// without a store need not call this.
    pub fn let_in(&mut self, key: RecordKey) {
        let record = self.record_mut(key).filter(|record| record.is_strange);
        if let Some(record) = record {
            record.is_strange = false;
            self.note_record(key);
            self.note_stays(key);
        }
    }

    /// Whether an earlier process has kept this record, and other servers may have spoken while no
    /// process was here, so nobody knows what its client has missed. Until the stream has been read
    /// again ([`reread`](Self::reread)), the client is not recovered
    /// ([`NotRecovered::Truncated`](super::NotRecovered::Truncated)); without a stream, it never
    /// is.
    #[must_use]
    pub fn is_behind(&self, key: RecordKey) -> bool {
        self.hears_others && self.record(key).is_some_and(|record| record.past == Past::Stored)
    }

    /// The client of a record that [is behind](Self::is_behind) is coming back, and no other server
    /// has had it since. Returns the number of the last message: what lies between the client's
    /// offset and this number has to be brought ([`bring`](Self::bring)), as for an adopted record.
    /// `None` for any other record, and without a stream.
    pub fn reread(&mut self, key: RecordKey) -> Option<Offset> {
        if !self.follows_stream || !self.is_behind(key) {
            return None;
        }
        let place = self.record(key)?.place;
        let sequence = self.namespaces.at(place)?.log.last();
        let record = self.record_mut(key)?;
        (record.adopted, record.lacks) = (sequence, true);
        let epoch = Offset::STREAM;
        Some(Offset { epoch, sequence })
    }

    /// The last entry of the stream that need not be read again for a record that
    /// [is behind](Self::is_behind) and whose client shows this offset: the log of the earlier
    /// process, in which the record has begun or has come here, has everything up to there. `None`
    /// if all behind the offset has to be read.
    #[must_use]
    pub fn kept_until(&self, key: RecordKey, offset: Option<&str>) -> Option<Offset> {
        let record = self.record(key).filter(|record| record.past == Past::Stored)?;
        let place = self.namespaces.at(record.place)?;
        let after = self.seen(key, offset).ok()?;
        // Before the record came here from another server, the log was not for it. Where it has
        // not come behind an entry, entries may have come that nobody here has read.
        let came = record.stays.first()?.from;
        if after < came || !Offset::is_entry_number(came) {
            return None;
        }
        // The process in which the record has come here, or an earlier one, has ended at this
        // number. What was said between two processes is in no log, also if the client has been to
        // a later one: what was brought to it there is in no store. If the first processes are
        // forgotten, nobody knows whether this one is among them.
        let are_all_known = place.epochs.len() < MAX_EPOCHS;
        let is_known = place
            .epochs
            .first()
            .is_some_and(|(_, first)| are_all_known || *first < came);
        let mut ends = place.epochs.iter().skip(1).map(|(_, first)| *first);
        let end = ends.find(|end| *end >= came).filter(|end| is_known && *end > after)?;
        self.place_of(end)
    }

    /// Keeps room for what is being fetched for an adopted record: so many bytes have come until
    /// now. Returns false if there is no room
    /// ([`RecoveryConfig::max_brought_bytes`](crate::RecoveryConfig::max_brought_bytes)); then the
    /// caller gives the record up. A record whose room others need is asked to give it back at its
    /// next call.
    pub fn reserve(&mut self, now: Time, key: RecordKey, bytes: usize) -> bool {
        let Some(record) = self.record(key).filter(|record| record.lacks) else {
            return false;
        };
        let (network, until) = (record.network, now + self.config.window);
        let is_given_up = self.brought.get(&key.slot).is_some_and(|brought| brought.is_given_up);
        if is_given_up || !self.makes_room(key.slot, network, bytes) {
            return false;
        }
        let entries = Vec::new();
        self.keep_brought(key.slot, network, until, (entries, bytes));
        true
    }

    /// Keeps what was fetched from the stream for an adopted record, oldest first: the place of
    /// each message, what it takes in memory, and the message. Without this, a client that has seen
    /// less than what was said before the record was adopted is not recovered. Returns false if
    /// there is no room
    /// ([`RecoveryConfig::max_brought_bytes`](crate::RecoveryConfig::max_brought_bytes)); then
    /// nothing has changed for this record.
    pub fn bring(&mut self, now: Time, key: RecordKey, messages: Vec<(Offset, usize, M)>) -> bool {
        let until = now + self.config.window;
        let Some(record) = self.record(key) else { return false };
        let (last, network) = (record.adopted, record.network);
        let entries = messages.into_iter().filter(|(place, ..)| place.sequence <= last);
        let entries =
            entries.map(|(place, bytes, message)| Entry::brought(place.sequence, (now, until), bytes, message));
        let entries: Vec<_> = entries.collect();
        let bytes: usize = entries.iter().map(Entry::bytes).sum();
        let is_given_up = self.brought.get(&key.slot).is_some_and(|brought| brought.is_given_up);
        if is_given_up || !self.makes_room(key.slot, network, bytes) {
            return false;
        }
        self.keep_brought(key.slot, network, until, (entries, bytes));
        if let Some(record) = self.records.get_mut(key.slot) {
            record.lacks = false;
            if record.past == Past::Stored {
                record.past = Past::Reread;
            }
        }
        true
    }

    /// Makes room for what a record of this network needs: the network with the most bytes gives
    /// way, and of its records the one with the most. Returns false if the record has to give way
    /// itself; then its own bytes are as before.
    fn makes_room(&mut self, slot: RecordSlot, network: u128, bytes: usize) -> bool {
        let before = self.brought.get(&slot).map_or(0, |brought| brought.bytes);
        self.brought_shares.change(network, slot, before, 0);
        let most = self.config.max_brought_bytes;
        let mut fits = bytes <= most;
        // Nothing is thrown away before it is certain that this makes room.
        let mut giving_way = Vec::new();
        while fits && self.brought_shares.bytes().saturating_add(bytes) > most {
            let other = self.brought_shares.largest_before(network, bytes);
            match other.and_then(|other| Some((other, self.brought.get(&other)?))) {
                Some((other, brought)) => {
                    self.brought_shares.change(brought.network, other, brought.bytes, 0);
                    giving_way.push(other);
                }
                None => fits = false,
            }
        }
        self.brought_shares.change(network, slot, 0, before);
        for other in giving_way {
            if let Some(brought) = self.brought.get(&other) {
                self.brought_shares.change(brought.network, other, 0, brought.bytes);
            }
            if fits {
                self.give_up_brought(other);
            }
        }
        fits
    }

    fn keep_brought(&mut self, slot: RecordSlot, network: u128, until: Time, (entries, bytes): (Vec<Entry<M>>, usize)) {
        self.forget_brought(slot);
        self.brought_shares.change(network, slot, 0, bytes);
        let brought = Brought {
            entries,
            bytes,
            network,
            until,
            is_given_up: false,
        };
        self.brought.insert(slot, brought);
        self.brought_until.get_or_insert(until);
    }

    /// Others need the room of what was brought for a record.
    fn give_up_brought(&mut self, slot: RecordSlot) {
        let Some(brought) = self.brought.get_mut(&slot) else {
            return;
        };
        let bytes = core::mem::replace(&mut brought.bytes, 0);
        self.brought_shares.change(brought.network, slot, bytes, 0);
        brought.is_given_up = true;
        let last = brought.entries.last().map_or(0, |entry| entry.sequence);
        brought.entries = Vec::new();
        self.not_brought(slot, last);
    }

    /// What was brought for a record up to this number is there no more: a client that shows an
    /// offset from before cannot be sent it.
    fn not_brought(&mut self, slot: RecordSlot, last: u64) {
        if let Some(record) = self.records.get_mut(slot) {
            record.forgotten = record.forgotten.max(last);
        }
    }

    /// What was brought for a record behind this number.
    pub(super) fn brought(&self, slot: RecordSlot, after: u64) -> impl Iterator<Item = &Entry<M>> + Clone {
        let brought = self.brought.get(&slot).into_iter();
        let entries = brought.flat_map(|brought| &brought.entries);
        entries.filter(move |entry| entry.sequence > after)
    }

    /// What was brought for a record behind this number, and these messages of the log, in order.
    pub(super) fn with_brought<'a>(
        &'a self,
        slot: RecordSlot,
        after: u64,
        log: &'a Log<M>,
        logged: &[u64],
    ) -> Vec<&'a Entry<M>> {
        let logged = logged.iter().filter_map(|sequence| log.get(*sequence));
        let mut missed: Vec<_> = self.brought(slot, after).chain(logged).collect();
        missed.sort_by_key(|entry| entry.sequence);
        missed
    }

    /// Leaves out of what the log has for a record that was read again what was brought for it,
    /// too. The log has what was said to rooms that the socket has left since. What was said
    /// without the stream may stand elsewhere in it: nobody knows, so it cannot be sent.
    pub(super) fn beside_brought<'a>(
        &self,
        slot: RecordSlot,
        after: u64,
        mut logged: Vec<&'a Entry<M>>,
    ) -> Result<Vec<&'a Entry<M>>, Truncated> {
        let adopted = self.records.get(slot).map_or(0, |record| record.adopted);
        let mut before = logged.iter().take_while(|entry| entry.sequence <= adopted);
        if let Some(entry) = before.find(|entry| !Offset::is_entry_number(entry.sequence)) {
            let pruned = entry.sequence;
            return Err(Truncated { pruned });
        }
        let brought: Vec<u64> = self.brought(slot, after).map(|entry| entry.sequence).collect();
        logged.retain(|entry| brought.binary_search(&entry.sequence).is_err());
        Ok(logged)
    }

    pub(super) fn forget_brought(&mut self, slot: RecordSlot) {
        if let Some(brought) = self.brought.remove(&slot) {
            self.brought_shares.change(brought.network, slot, brought.bytes, 0);
        }
    }

    pub(super) fn drop_old_brought(&mut self, now: Time) {
        if self.brought_until.is_none_or(|until| until > now) {
            return;
        }
        let old = self.brought.iter().filter(|(_, brought)| brought.until <= now);
        let old: Vec<_> = old
            .map(|(slot, brought)| (*slot, brought.entries.last().map_or(0, |entry| entry.sequence)))
            .collect();
        for (slot, last) in old {
            self.forget_brought(slot);
            self.not_brought(slot, last);
        }
        self.brought_until = self.brought.values().map(|brought| brought.until).min();
    }

    /// The record whose secret another kind of server has made.
    pub(super) fn find_foreign(&self, namespace: &str, pid: &str) -> Option<RecordKey> {
        if pid.len() > MAX_PID_BYTES {
            return None;
        }
        let slot = *self.secrets.get(&siphash(&self.key, pid.as_bytes()))?;
        let record = self.records.get(slot)?;
        let known = record.foreign_pid.as_deref()?;
        let is_same = is_same(known.as_bytes(), pid.as_bytes());
        (is_same && *record.namespace == *namespace).then(|| RecordKey {
            slot,
            generation: self.records.generation(slot),
        })
    }

    /// The rooms of a record's socket, without the room of its own id, each with the place in the
    /// stream behind which the socket has been a member of it, on whatever server. `None`: as long
    /// as the record, or the stream has not given this place.
    #[must_use]
    pub fn rooms_since(&self, key: RecordKey) -> Vec<(ByteString, Option<Offset>)> {
        let Some(record) = self.record(key) else {
            return Vec::new();
        };
        let rooms = record.rooms_since().map(|(room, since)| {
            let place = self.place_of(since).filter(|_| since > record.start);
            (room.clone(), place)
        });
        rooms.collect()
    }

    /// The rooms in which a record's socket was, with that of its own id: each with the place in
    /// the stream behind which it was a member, as in [`rooms_since`](Self::rooms_since), and the
    /// last place at which it was one, if it has left the room. A room may be there several times.
    #[must_use]
    pub fn stays(&self, key: RecordKey) -> Vec<(ByteString, Option<Offset>, Option<Offset>)> {
        let Some(record) = self.record(key) else {
            return Vec::new();
        };
        let stays = record.stays.iter().filter_map(|stay| {
            let since = self.place_of(stay.since).filter(|_| stay.since > record.start);
            let until = match stay.until {
                // What ended before the first place of a stream has none.
                Some(until) => Some(self.place_of(until)?),
                None => None,
            };
            Some((stay.room.clone(), since, until))
        });
        stays.collect()
    }

    /// The entry of the stream at or before this number.
    fn place_of(&self, sequence: u64) -> Option<Offset> {
        let epoch = Offset::STREAM;
        let place = Offset::parse(&Offset { epoch, sequence }.text())?;
        self.follows_stream.then_some(place)
    }

    /// The place from which the client of a record has to be sent what it has missed if it has seen
    /// nothing. `None` if the stream has not given this place.
    #[must_use]
    pub fn start(&self, key: RecordKey) -> Option<Offset> {
        let sequence = self.record(key)?.start;
        let (epoch, bits) = (Offset::STREAM, sequence);
        let place = Offset { epoch, sequence: bits };
        (self.follows_stream && Offset::parse(&place.text()) == Some(place)).then_some(place)
    }
}
