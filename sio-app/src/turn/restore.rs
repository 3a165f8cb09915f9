//! What a process takes over from a store, and what it writes so that the next one can.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;
use sio_proto::Time;
use sio_proto::recovery::{Change, RecordKey, SavedNamespace, SavedRecord, SavedStay};
use sio_proto::server::Kept;

use crate::guarded::guarded;
use crate::store::{Row, Store, StoreError, StoreReport};
use crate::turn::found::Found;
use crate::turn::keeper::{Keeper, attempt};
use crate::turn::recovery::{Recovery, State};
use crate::turn::rows::{HEAD, Noted};
use crate::turn::shards::Shards;
use crate::turn::socket::SocketCell;
use crate::turn::socket_id::SocketId;
use crate::turn::stored_values::{Frozen, all_values};

/// Returns the key with which the ids in a store were made.
pub(super) fn id_key(store: &Arc<dyn Store>) -> Option<[u8; 16]> {
    let head = attempt(|| store.get(HEAD)).ok()??;
    match Found::read(HEAD, &head) {
        Ok(Found::Head(head)) => Some(head.id_key),
        _ => None,
    }
}

/// Reads all rows of a store and checks them, without keeping them. Call it before a server gets
/// the store: a server does not start with a store that cannot be read.
///
/// # Errors
/// If a row cannot be read.
pub fn check_store(store: &dyn Store) -> Result<(), StoreError> {
    attempt(|| store.read(&mut |key, value| Found::read(key, value).map(|_| ())))
}

/// The epochs of a namespace, with their last numbers.
type Epochs = Vec<(u32, u64)>;

/// What has been read of a store so far.
#[derive(Default)]
struct Reading {
    alive: Option<u64>,
    names: BTreeMap<u32, (Arc<ByteString>, Epochs)>,
    last: BTreeMap<u32, u64>,
    stays: BTreeMap<u64, Vec<SavedStay>>,
    sockets: BTreeMap<u64, (RecordKey, Arc<SocketCell>)>,
    values: BTreeMap<u64, Vec<(String, Vec<u8>)>>,
    /// Whether another parser has written the packets.
    is_foreign: bool,
    /// Rows that belong to nothing.
    useless: Vec<Row>,
    begun: bool,
}

/// Where what is read goes.
struct Place<'a> {
    shards: &'a Shards,
    keeper: &'a Keeper,
    now: Time,
}

impl Recovery {
    /// Takes over what the store has. Rows that belong to nothing are removed. If this cannot be
    /// written, the store has failed, as in any other write.
    ///
    /// # Errors
    /// If the store cannot be read. Then nothing has been taken over, and nothing will be written.
    pub(crate) fn restore(&self, shards: &Shards) -> Result<(), StoreError> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let now = (shards.runtime.now)();
        let mut reading = Reading::default();
        let place = Place { shards, keeper, now };
        let read = self.with("restore", |state| {
            let read = attempt(|| {
                keeper.store().read(&mut |key, value| {
                    let found = Found::read(key, value)?;
                    if reading.take(&place, state, found).is_none() {
                        let key = key.to_vec();
                        reading.useless.push(Row { key, value: None });
                    }
                    Ok(())
                })
            });
            reading.begin(state);
            state.machine.go_on();
            for (key, socket) in reading.sockets.values() {
                state.seat_away(*key, socket);
            }
            read
        });
        if let Err(error) = read {
            keeper.abandon();
            self.forget_all(now);
            return Err(error);
        }
        let names = reading.values.values().flatten();
        keeper.remember_names(names.map(|(name, _)| name.clone().into()));
        for (record, values) in reading.values {
            if let Some((_, socket)) = reading.sockets.get(&record)
                && let Some(known) = socket.data(true)
            {
                let _ = known.replace(Arc::new(Frozen(values)), |_| true);
            }
        }
        let mut useless = reading.useless;
        // Rooms of a record that is not there. The next record with its number is not in them.
        for (record, stays) in reading.stays {
            useless.extend(stays.iter().map(|stay| {
                let ordinal = stay.ordinal;
                Noted::Change(Change::StayGone { record, ordinal }).row(keeper.dates)
            }));
        }
        keeper.begin(shards.key, useless, now);
        Ok(())
    }

    /// Tells the store that the process is alive, and tries again a store that has failed. Call it
    /// about once a second.
    pub(super) fn keep_alive(&self, now: Time) {
        let Some(keeper) = &self.keeper else { return };
        keeper.empty();
        if keeper.wants_refill(now) {
            self.refill(now, false);
        } else if self.is_used() {
            keeper.push([Noted::Alive(now)].into_iter());
        }
        keeper.settle(now);
    }

    /// Fills a store again that has failed. `is_last` says that this is the end of the server.
    fn refill(&self, now: Time, is_last: bool) {
        let Some(keeper) = &self.keeper else { return };
        let (mut noted, mut sockets) = (Vec::new(), Vec::new());
        let number = self.with("refill", |state| {
            let number = keeper.begin_refill(is_last)?;
            state.everything(&mut noted, &mut sockets);
            Some(number)
        });
        let Some(number) = number else { return };
        // Values are encoded by code of the user, under no lock. What changes meanwhile waits in
        // the queue, and is written behind all this, in the same batch.
        let codecs = keeper.codecs();
        for (record, socket) in sockets {
            // A value that was taken from its socket meanwhile is dropped here. If this panics, its
            // row has been noted, and a later one that removes it waits.
            let _ = guarded(|| {
                all_values(record, &socket, &codecs, &mut noted);
                drop(socket);
            });
        }
        keeper.refill(now, number, noted);
    }

    /// Gives the store back. A store that has failed is tried a last time, so that the next process
    /// finds everything if the store works again.
    pub(super) fn close_store(&self, now: Time) {
        let Some(keeper) = &self.keeper else { return };
        keeper.settle(now);
        if !keeper.report().complete {
            self.refill(now, true);
        }
        keeper.close(now);
    }

    /// Notes that the end of a socket's credentials has changed.
    pub(super) fn socket_changed(&self, socket: &SocketCell) {
        if let (Some(keeper), Some(key)) = (&self.keeper, socket.record()) {
            self.with("deadline", |state| {
                if state.belongs_to(key, socket) {
                    state.note_socket(key, socket);
                }
            });
            keeper.settle(socket.now());
        }
    }

    /// Returns how the store does, if there is one.
    pub(crate) fn store_report(&self) -> Option<StoreReport> {
        self.keeper.as_ref().map(Keeper::report)
    }
}

impl State {
    /// Everything that a store has to know, without the application's values. Those belong to the
    /// sockets, each with the number of its record.
    fn everything(&self, noted: &mut Vec<Noted>, sockets: &mut Vec<(u64, Arc<SocketCell>)>) {
        self.machine.snapshot(|change| noted.push(Noted::Change(change)));
        let messages = self.machine.messages();
        noted.extend(messages.map(|(namespace, entry)| Noted::message(namespace, entry)));
        for (record, socket) in self.machine.records() {
            noted.push(Noted::socket(record, socket));
            sockets.push((record, Arc::clone(socket)));
        }
    }
}

impl Reading {
    /// Takes a row. Returns `None` if the row belongs to nothing.
    fn take(&mut self, place: &Place<'_>, state: &mut State, found: Found) -> Option<()> {
        match found {
            Found::Head(head) => self.is_foreign = !place.keeper.can_send(head),
            Found::Alive(date) => self.alive = Some(date),
            Found::Namespace(saved) => {
                self.names.insert(saved.number, (Arc::new(saved.name), saved.epochs));
            }
            Found::Counted { namespace, last } => {
                self.names.get(&namespace)?;
                self.last.insert(namespace, last);
            }
            Found::Stay(stay) => self.stays.entry(stay.record).or_default().push(stay),
            Found::Record(saved, until) => {
                self.begin(state);
                self.record(place, state, &saved, until)?;
            }
            Found::Value { record, name, json } => {
                self.sockets.get(&record)?;
                self.values.entry(record).or_default().push((name, json));
            }
            Found::Pruned {
                namespace,
                room,
                sequence,
            } => {
                self.begin(state);
                let (name, _) = self.names.get(&namespace)?;
                state.machine.restore_pruned(name, room.as_ref(), sequence);
            }
            Found::Message {
                namespace,
                sequence,
                at,
                until,
                audience,
                frames,
            } => {
                self.begin(state);
                let (name, _) = self.names.get(&namespace).filter(|_| !self.is_foreign)?;
                let dates = place.keeper.dates;
                // The clock of dates may have been set back since.
                let end = place.now + state.machine.window();
                let times = (dates.time(at).min(place.now), dates.time(until).min(end));
                let (message, bytes) = Kept::of_frames(frames)?;
                state
                    .machine
                    .restore_message((name, sequence), times, audience, bytes, message);
            }
            Found::Socket { record, expires, id } => {
                let (key, socket) = self.sockets.get(&record)?;
                if let Some(date) = expires {
                    // Dates are exact to a second. The credentials do not end later for this.
                    let date = date.saturating_sub(1000);
                    socket.expire_at(Some(place.keeper.dates.time(date)));
                }
                if let Some(id) = id {
                    state.ids.release(socket);
                    state.machine.set_own_room(*key, &id.as_str().into());
                    state.ids.pass_on(&id, socket);
                    socket.set_own_id(id);
                }
            }
        }
        Some(())
    }

    /// Begins the namespaces, when all of their rows have been read.
    fn begin(&mut self, state: &mut State) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        for (number, (name, epochs)) in &self.names {
            let saved = SavedNamespace {
                number: *number,
                name: ByteString::clone(name),
                epochs: epochs.clone(),
            };
            let last = self.last.get(number).copied().unwrap_or(0);
            state.machine.restore_namespace(saved, last);
        }
    }

    fn record(&mut self, place: &Place<'_>, state: &mut State, saved: &SavedRecord, until: u64) -> Option<()> {
        let (name, _) = self.names.get(&saved.namespace)?;
        // Where the record is not taken over, its rooms are useless, too.
        let stays = self.stays.get(&saved.number)?.clone();
        let shards = place.shards;
        let id = SocketId::new(saved.sid);
        let socket = SocketCell::away(Arc::clone(shards.cells.first()?), id.clone(), Arc::clone(name));
        let socket = Arc::new(socket);
        let dates = place.keeper.dates;
        // A client that was there was lost when the process was last alive, at the earliest.
        let window = u64::try_from(state.machine.window().as_millis()).unwrap_or(u64::MAX);
        let end = place.now + state.machine.window();
        let until = match (until, self.alive) {
            (0, None) => end,
            (0, Some(alive)) => dates.time(alive.saturating_add(window)),
            (until, _) => dates.time(until),
        };
        // The clock of dates may have been set back since.
        let until = until.min(end);
        let kept = (Arc::clone(&socket), socket.away_bytes());
        let overdue = &mut state.overdue;
        let key = state.machine.restore_record(name, saved, until, stays, kept, overdue)?;
        self.stays.remove(&saved.number);
        if self.is_foreign {
            state.machine.disown(key);
        }
        state.ids.pass_on(&id, &socket);
        self.sockets.insert(saved.number, (key, socket));
        Some(())
    }
}
