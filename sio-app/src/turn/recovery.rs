//! Recovery of sockets: the records of the sockets that may come back, and the logs of what was
//! sent, beside all shards.
//!
//! ```text
//!   accept, join, leave, numbered message, take over ─► lock of recovery ─► lock of a shard
//!   end of a socket ─► shard notes it ─► work, without the shard's lock ─► lock of recovery
//! ```
//! One lock covers the step from a message's number to the last queue that the message goes into.
//! So each client gets messages in the order of their numbers, and the offset that a client shows
//! says exactly what the client has. The lock is taken before the lock of a shard, and never while
//! a shard is locked.
//!
//! A server without records pays one load of an atomic for each message.

mod messages;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::recovery::{self, Absence, Expired, NotRecovered, Opening, RecordKey, Room};
use sio_proto::server::{Form, Kept, Message};
use sio_proto::socket::Offset;
use sio_proto::{Config, Sid, Time};

use crate::guarded::guarded;
use crate::lock::Mutex;
use crate::options::Options;
use crate::runtime::Runtime;
use crate::turn::comeback::{Comeback, Former, Seat, ShownPlace};
use crate::turn::comeback_counts::{Counts, RecoveryCounts};
use crate::turn::heard::Untold;
use crate::turn::ids::Ids;
use crate::turn::keeper::Keeper;
pub(crate) use crate::turn::last_number::Last;
use crate::turn::last_number::{LastNumber, LastNumbers};
use crate::turn::rows::{Noted, print_of};
use crate::turn::socket::SocketCell;

/// How often a message is encoded without the lock of recovery. After this, other messages have
/// taken its number each time, and it is encoded under the lock.
const FREE_TRIES: usize = 4;

/// The bytes of a session's queue that are kept free for the answer to a CONNECT.
const SPARE_BYTES: usize = 1024;

/// The records and logs of a server.
pub(crate) struct Recovery {
    /// Whether namespaces that say nothing about recovery have it.
    pub(super) by_default: bool,
    pub(super) skips_middlewares: bool,
    /// Whether events of clients are confirmed if they ask for it.
    pub(super) confirms: bool,
    /// The sockets whose clients have to be told how many of their events have been had.
    pub(super) untold: Untold,
    /// How much may be sent to a client that comes back.
    room: Room,
    /// Who has an id that names no place.
    pub(crate) ids: Arc<Ids>,
    /// Whether some namespace has recovery, or has had it.
    is_possible: AtomicBool,
    /// Whether events go through the stream of a cluster first.
    pub(super) in_stream: AtomicBool,
    /// How many records there are.
    records: AtomicUsize,
    /// How often a namespace has got its first record ([`Recovery::begun`]).
    begun: Arc<AtomicU64>,
    counts: Arc<Counts>,
    pub(super) state: Mutex<State>,
    /// The store, if what is kept has to survive the process.
    pub(super) keeper: Option<Keeper>,
}

/// What the lock of recovery protects.
pub(crate) struct State {
    pub(super) machine: Machine,
    pub(super) ids: Arc<Ids>,
    begun: Arc<AtomicU64>,
    counts: Arc<Counts>,
    /// The last numbers of the machine's namespaces.
    pub(super) lasts: LastNumbers,
    /// Whether there is a store.
    is_stored: bool,
    /// What the store has to know of messages, between the changes of the machine.
    noted: Vec<Noted>,
    /// How many clients have been recognised.
    recognitions: u64,
    /// Records that ended while they were read from the store, before there was anybody to tell.
    pub(super) overdue: Vec<Expired<Arc<SocketCell>>>,
}

pub(super) type Machine = recovery::Recovery<Kept, Arc<SocketCell>>;

impl Recovery {
    pub(crate) fn new(options: &Options, config: &Config, runtime: Runtime) -> Self {
        let by_default = options.recovery.is_some();
        let settings = options.recovery.clone().unwrap_or_default();
        let store = options.store.clone();
        let keeper = store.map(|store| Keeper::new(store, runtime, options.max_store_queue_bytes, print_of(config)));
        let (mut key, mut epoch) = ([0; 16], [0; 4]);
        (runtime.fill)(&mut key);
        (runtime.fill)(&mut epoch);
        let skips_middlewares = settings.skip_middlewares;
        let confirms = settings.confirm_events;
        let mut machine = Machine::new(settings, key, u32::from_le_bytes(epoch));
        if keeper.is_some() {
            machine.note_changes();
        }
        let ids = Arc::<Ids>::default();
        let begun = Arc::<AtomicU64>::default();
        let counts = Arc::<Counts>::default();
        Self {
            by_default,
            skips_middlewares,
            confirms,
            untold: Untold::default(),
            room: Room {
                bytes: config.max_queued_bytes.saturating_sub(SPARE_BYTES),
                packets: config.max_queued_packets.saturating_sub(2),
            },
            ids: Arc::clone(&ids),
            is_possible: AtomicBool::new(by_default),
            in_stream: AtomicBool::new(false),
            records: AtomicUsize::new(0),
            begun: Arc::clone(&begun),
            counts: Arc::clone(&counts),
            state: Mutex::new(State {
                machine,
                ids,
                begun,
                counts,
                lasts: LastNumbers::default(),
                is_stored: keeper.is_some(),
                noted: Vec::new(),
                recognitions: 0,
                overdue: Vec::new(),
            }),
            keeper,
        }
    }

    /// Whether events go through the stream of a cluster first, if their namespace has recovery.
    #[inline]
    pub(crate) fn follows_stream(&self) -> bool {
        self.in_stream.load(Ordering::Relaxed)
    }

    /// Whether there is a record. If not, no message needs a number.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        self.records.load(Ordering::Relaxed) > 0
    }

    /// Counts a client that has been let in.
    pub(super) fn count(&self, outcome: Comeback, absence: Option<Absence>) {
        self.counts.count(outcome, absence);
    }

    /// Returns what has become of clients that wanted to come back.
    pub(crate) fn counts(&self) -> RecoveryCounts {
        self.counts.report()
    }

    /// Notes that a namespace has recovery from now on.
    pub(crate) fn expect(&self) {
        self.is_possible.store(true, Ordering::Relaxed);
    }

    /// Whether there may be a record now or at the next moment. What is done without recovery
    /// because this is false needs no second look: a namespace is told that it has recovery before
    /// its clients come.
    pub(super) fn is_possible(&self) -> bool {
        self.is_possible.load(Ordering::Relaxed)
    }

    /// Returns how often a namespace has got its first record. Who sends a message without a number
    /// compares this in each shard, under the lock of the shard, with what it was when the message
    /// needed no number. If it has changed, the shard may have a socket that wants a number.
    #[inline]
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// Returns the number of records.
    pub(crate) fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// Does something under the lock. `name` says what the lock is taken for.
    pub(crate) fn with<R>(&self, name: &'static str, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock_for(name);
        let result = act(&mut state);
        self.records.store(state.machine.len(), Ordering::Relaxed);
        self.note(&mut state);
        result
    }

    /// Gives the store what has changed. The caller holds the lock.
    #[inline]
    fn note(&self, state: &mut State) {
        if let Some(keeper) = &self.keeper {
            state.take_changes();
            #[cfg(test)]
            if !state.noted.is_empty()
                && let Some(act) = BEFORE_NOTED.take()
            {
                act();
            }
            keeper.push(state.noted.drain(..));
        }
    }

    /// Writes to the store what has changed, before anybody outside can see it. Call it while no
    /// lock is held. `writes` says whether something has been taken out of a shard and is about to
    /// be written. It may belong to a step of another thread that goes on: the step is waited for,
    /// because what it changes is noted at its end.
    #[inline]
    pub(crate) fn settle(&self, now: Time, writes: impl FnOnce() -> bool) {
        if let Some(keeper) = &self.keeper {
            if writes() {
                self.state.pass("flush");
            }
            keeper.settle(now);
        }
    }

    /// Returns the number of the last message of a namespace, or `None` if nobody there may come
    /// back.
    pub(crate) fn last(&self, namespace: &str) -> Option<Last> {
        match self.is_used() {
            true => self.state.lock_for("number").last(namespace),
            false => None,
        }
    }

    /// Calls `act` under the lock, when the message has the right offset for this moment. `last`
    /// returns the last number of the message's namespace. The message is encoded without the lock,
    /// for the number that it will probably have. If another message takes this number meanwhile,
    /// it is encoded again.
    #[inline]
    pub(crate) fn numbered<R>(
        &self,
        last: impl Fn(&State) -> Option<Last>,
        message: &mut Message,
        config: &Config,
        act: impl FnOnce(&mut State, &mut Message) -> R,
    ) -> R {
        let mut tries = 0;
        loop {
            let mut state = self.state.lock_for("emit");
            let wanted = last(&state).and_then(|last| last.offset_of(message));
            let is_right = wanted.is_none() || wanted == message.shown_offset();
            if !is_right {
                message.set_offset(wanted);
            }
            if is_right || tries >= FREE_TRIES {
                if message.packets() == 0 {
                    encode_again(message, config);
                }
                let result = act(&mut state, message);
                self.note(&mut state);
                return result;
            }
            drop(state);
            encode_again(message, config);
            tries += 1;
        }
    }

    /// Calls `act` under the lock, if a message with this offset is the next one of the namespace
    /// with this last number. Returns `None` if another message has taken the number.
    #[inline]
    pub(super) fn if_next<R>(&self, last: &LastNumber, offset: Offset, act: impl FnOnce(&mut State) -> R) -> Option<R> {
        let mut state = self.state.lock_for("emit");
        if last.last().next() != offset {
            return None;
        }
        let result = act(&mut state);
        self.note(&mut state);
        Some(result)
    }

    /// Looks for the record of a client that shows a secret and an offset. Also returns the socket
    /// of the record, whose credentials must not have ended. Returns the key of the record with an
    /// error if there is one. How long the client was away is written to `absence` if it is known.
    pub(super) fn recognise(
        &self,
        now: Time,
        namespace: &str,
        shown: ShownPlace<'_>,
        absence: &mut Option<Absence>,
    ) -> Result<(Former, Arc<SocketCell>), (NotRecovered, Option<RecordKey>)> {
        let ShownPlace { pid, offset, confirmed } = shown;
        let mut state = self.state.lock_for("recognise");
        state.recognitions += 1;
        let machine = &state.machine;
        let key = machine.find(namespace, pid).ok_or((NotRecovered::Unknown, None))?;
        let socket = machine.data(key).filter(|socket| !socket.is_final());
        let socket = socket.ok_or((NotRecovered::Unknown, None))?;
        *absence = machine.absence(now, key, offset);
        if socket.has_expired() {
            return Err((NotRecovered::Unknown, Some(key)));
        }
        state.check(key, offset, self.room).map_err(|why| (why, Some(key)))?;
        let heard = state.heard(key, socket);
        if let Some(confirmed) = confirmed.filter(|confirmed| *confirmed > heard) {
            return Err((NotRecovered::Events { confirmed, heard }, Some(key)));
        }
        let former = Former {
            key,
            id: socket.id().clone(),
            offset: offset.map(Box::from),
            recognition: state.recognitions,
        };
        Ok((former, Arc::clone(socket)))
    }

    /// Notes that a socket is gone. A socket that may come back is waited for.
    pub(super) fn ended(&self, socket: &Arc<SocketCell>) {
        let Some(key) = socket.record() else {
            return self.ids.release(socket);
        };
        let mut gone = Gone::default();
        self.with("ended", |state| {
            state.end(socket.now(), key, socket, &mut gone);
        });
        gone.tell();
        socket.tell_record();
    }

    /// Ends the record of a socket that is gone for good. A store has to know this before the
    /// client and the caller do. What else the end of a socket needs is done later
    /// ([`Self::ended`]).
    pub(super) fn part(&self, socket: &Arc<SocketCell>) {
        let mut gone = Gone::default();
        if let Some(key) = socket.record() {
            self.with("part", |state| state.end(socket.now(), key, socket, &mut gone));
        }
        gone.tell();
    }

    /// Ends the records that nobody has come back to. Call it about once a second.
    pub(crate) fn sweep(self: &Arc<Self>, runtime: Runtime, now: Time) {
        self.confirm_untold(runtime);
        if !self.is_used() && self.keeper.is_none() {
            return;
        }
        let mut gone = Gone::default();
        self.with("expire", |state| {
            gone.expired.append(&mut state.overdue);
            state.machine.handle_timeout(now, &mut gone.expired);
            state.forget(&gone.expired);
            let machine = &state.machine;
            state.lasts.retain(|namespace| machine.current(namespace).is_some());
        });
        self.keep_alive(now);
        gone.tell();
    }

    /// Drops all records. Nobody is told, because this is the end of the server. A store keeps
    /// them, for the next process.
    pub(crate) fn clear(&self, now: Time) {
        if self.keeper.is_some() {
            // Handlers may have begun since their clients were told last. What has not begun is for
            // the next process: it learns of nothing that begins later.
            let sockets = self.sockets(&self.keys()).into_iter();
            let heard: Vec<_> = sockets
                .filter_map(|(_, socket)| socket.seal_heard().map(|count| (socket, count)))
                .collect();
            self.note_heard(&heard);
            // Their ends may still be under way on other threads.
            let sockets = self.sockets(&self.keys()).into_iter().map(|(_, socket)| socket);
            sockets
                .filter(|socket| socket.is_final())
                .for_each(|socket| self.part(&socket));
            self.close_store(now);
        }
        self.forget_all(now);
    }

    /// Drops all records in memory. Nobody is told.
    pub(super) fn forget_all(&self, now: Time) {
        let mut gone = Gone::default();
        self.with("clear", |state| {
            gone.expired.append(&mut state.overdue);
            state.machine.end_all(now, &mut gone.expired);
            state.ids.clear();
        });
    }

    /// Returns the rooms to which the client of a socket that is gone may come back.
    pub(crate) fn rooms(&self, socket: &Arc<SocketCell>) -> Option<Vec<ByteString>> {
        let key = socket.record()?;
        let state = self.state.lock_for("rooms");
        let present = state.machine.data(key)?;
        Arc::ptr_eq(present, socket).then(|| state.machine.rooms(key))
    }

    /// Notes how many events of clients have been had, for a store. The lock is taken once for all
    /// of them.
    pub(super) fn note_heard(&self, heard: &[(Arc<SocketCell>, u64)]) {
        if self.keeper.is_none() || heard.is_empty() {
            return;
        }
        self.with("confirm", |state| {
            for (socket, count) in heard {
                if let Some(key) = socket.record() {
                    state.note_heard(key, socket, *count);
                }
            }
        });
    }

    /// Returns the keys of all records.
    pub(super) fn keys(&self) -> Vec<RecordKey> {
        match self.is_used() {
            true => self.state.lock_for("keys").machine.keys(),
            false => Vec::new(),
        }
    }

    /// Returns the present sockets of records. Records that have ended have none.
    pub(super) fn sockets(&self, keys: &[RecordKey]) -> Vec<(RecordKey, Arc<SocketCell>)> {
        let state = self.state.lock_for("sockets");
        let socket = |key: &RecordKey| Some((*key, Arc::clone(state.machine.data(*key)?)));
        keys.iter().filter_map(socket).collect()
    }

    /// Ends the record of a socket whose client is away, as if its time were over. Returns the
    /// present socket of the record, if it is another one or is still connected.
    pub(super) fn revoke(&self, key: RecordKey, socket: &Arc<SocketCell>) -> Option<Arc<SocketCell>> {
        let mut gone = Gone::default();
        #[cfg(feature = "redis")]
        let mut behind = None;
        let left = self.with("revoke", |state| {
            let present = state.machine.data(key)?;
            if !Arc::ptr_eq(present, socket) || !state.machine.is_away(key) {
                return Some(Arc::clone(present));
            }
            #[cfg(feature = "redis")]
            if state.machine.is_behind(key) {
                behind = state.machine.pid(key);
            }
            // A client that comes back at this moment finds that it is too late.
            socket.set_final();
            state.give_up(key, &mut gone);
            None
        });
        gone.tell();
        socket.tell_record();
        #[cfg(feature = "redis")]
        if let (Some(pid), Some(application)) = (behind, socket.application()) {
            application.record_revoked(pid);
        }
        left
    }

    pub(super) const fn room(&self) -> Room {
        self.room
    }
}

#[cfg(test)]
thread_local!(
    /// What a test wants other threads to do when a step of this one has queued something for
    /// clients, and is about to note it for the store.
    pub(crate) static BEFORE_NOTED: std::cell::Cell<Option<Box<dyn FnOnce()>>> = const { std::cell::Cell::new(None) }
);

/// Encodes a message whose number has been taken by another. It stands apart, because it is rare.
#[cold]
fn encode_again(message: &mut Message, config: &Config) {
    // An error is the recipients': the shard gets it again.
    let _ = message.encode(Form::Engine4, config, &mut BytesMut::new());
}

/// What is dropped, and told to the application, when no lock is held.
#[derive(Default)]
pub(crate) struct Gone {
    pub(super) expired: Vec<Expired<Arc<SocketCell>>>,
    /// Sockets whose records have been closed or have another socket now.
    pub(super) dropped: Vec<Arc<SocketCell>>,
}

impl Gone {
    /// Tells the application of records that have ended unused.
    pub(super) fn tell(self) {
        for Expired { data: socket, .. } in self.expired {
            socket.thaw();
            if let Some(application) = socket.application()
                && let Err(panic) = guarded(|| application.expired(&socket))
            {
                application.report(Some(&socket), "expired", &panic);
            }
        }
    }
}

/// Records.
impl State {
    /// Returns the last number of a namespace in which there is a record, for sockets with one.
    pub(super) fn last_of(&mut self, namespace: &str) -> Option<Arc<LastNumber>> {
        let last = self.machine.current(namespace)?;
        Some(self.lasts.open(namespace, last, self.machine.epoch()))
    }

    /// The first record is about to begin. Without records, a store does not hear once a second
    /// that the process is alive, and a client that is here counts as lost when it last heard this.
    pub(super) fn note_first(&mut self, now: Time) {
        if self.is_stored && self.machine.is_empty() {
            self.note(Noted::Alive(now));
        }
    }

    /// Begins a record for a socket that is about to be let in. Returns the secret for its client.
    pub(super) fn open(&mut self, socket: &Arc<SocketCell>, random: [u8; 18]) -> Option<(RecordKey, ByteString)> {
        let opening = Opening {
            namespace: socket.namespace().clone(),
            sid: Sid::parse(socket.drawn_id())?,
            network: socket.load().network(),
            random,
            data: Arc::clone(socket),
        };
        self.note_first(socket.now());
        if self.machine.is_empty() || self.machine.current(socket.namespace()).is_none() {
            // The shard of the socket is not locked yet, so the next message there sees this.
            self.begun.fetch_add(1, Ordering::Release);
        }
        let opened = self.machine.open(opening)?;
        if let Some(own) = socket.own_id() {
            let room = own.as_str().into();
            // Its client is there, so nobody is pushed out.
            self.machine.join(opened.0, &room, &mut Vec::new());
            self.machine.set_own_room(opened.0, &room);
        }
        Some(opened)
    }

    /// Checks whether a client can be recovered, and has room for all that it has missed. A message
    /// with attachments is several packets.
    fn check(&self, key: RecordKey, offset: Option<&str>, room: Room) -> Result<(), NotRecovered> {
        let missed = self.machine.check(key, offset, room)?;
        let packets = missed.iter().map(|entry| entry.message.packets()).sum();
        if packets > room.packets {
            let bytes = missed.iter().map(|entry| entry.bytes()).sum();
            return Err(NotRecovered::TooMuch { packets, bytes });
        }
        Ok(())
    }

    /// Gives a record to the socket with which its client has come back. Returns what the socket
    /// gets of it, and the socket that had the record before.
    pub(super) fn claim(
        &mut self,
        former: &Former,
        room: Room,
        socket: &Arc<SocketCell>,
    ) -> Result<(Returned, Arc<SocketCell>), NotRecovered> {
        let key = former.key;
        let known = self.machine.data(key).ok_or(NotRecovered::Unknown)?;
        if known.is_final() || known.has_expired() {
            return Err(NotRecovered::Unknown);
        }
        self.check(key, former.offset.as_deref(), room)?;
        let pid = self.machine.pid(key).ok_or(NotRecovered::Unknown)?;
        let claimed = self.machine.claim(key, former.offset.as_deref(), room)?;
        let returned = Returned {
            pid,
            rooms: claimed.rooms,
            missed: claimed
                .missed
                .into_iter()
                .map(|entry| entry.message.message())
                .collect(),
        };
        let known = self.machine.data_mut(key).ok_or(NotRecovered::Unknown)?;
        let old = std::mem::replace(known, Arc::clone(socket));
        if let Some(heard) = socket.seat().and_then(Seat::heard) {
            // What the old socket has not begun, the client sends again.
            old.seal_heard();
            let count = self.heard(key, &old);
            heard.begin_at(count);
            self.machine.set_heard(key, count);
        }
        self.ids.pass_on(&former.id, socket);
        Ok((returned, old))
    }

    /// Ends the record of a socket that is gone for good, or waits for its client. Nothing happens
    /// if the client has come back with another socket.
    pub(super) fn end(&mut self, now: Time, key: RecordKey, socket: &Arc<SocketCell>, gone: &mut Gone) {
        if !self.belongs_to(key, socket) {
            return;
        }
        match socket.is_final() {
            true => {
                self.close(key, gone);
            }
            false => {
                self.note_heard(key, socket, socket.heard_count().unwrap_or(0));
                let before = gone.expired.len();
                self.machine.lost(now, key, socket.away_bytes(), &mut gone.expired);
                let expired = gone.expired.get(before..).unwrap_or_default();
                self.forget(expired);
            }
        }
    }

    /// Returns how many events of the client of a record have been had. `socket` is the present
    /// socket of the record. A socket that is read from a store counts nothing.
    fn heard(&self, key: RecordKey, socket: &SocketCell) -> u64 {
        self.machine.heard(key).max(socket.heard_count().unwrap_or(0))
    }

    /// Whether a record belongs to this socket, connected or away. It does not if its client has
    /// come back with another socket.
    pub(super) fn belongs_to(&self, key: RecordKey, socket: &SocketCell) -> bool {
        let known = self.machine.data(key);
        known.is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), socket))
    }

    /// Notes how many events of a client have been had, unless it has come back with another
    /// socket.
    fn note_heard(&mut self, key: RecordKey, socket: &SocketCell, count: u64) {
        if self.belongs_to(key, socket) {
            self.machine.set_heard(key, count);
        }
    }

    /// Ends the record of a client that does not come back: it has said goodbye, or was never told
    /// its secret.
    pub(super) fn close(&mut self, key: RecordKey, gone: &mut Gone) {
        if let Some(socket) = self.machine.close(key) {
            self.ids.release(&socket);
            gone.dropped.push(socket);
        }
    }

    /// Ends a record that its client could not be recovered from, if the client is away.
    pub(super) fn give_up(&mut self, key: RecordKey, gone: &mut Gone) {
        if self.machine.is_away(key) {
            let expired = self.machine.expire(key);
            self.forget(expired.as_slice());
            gone.expired.extend(expired);
        }
    }

    fn forget(&mut self, expired: &[Expired<Arc<SocketCell>>]) {
        self.counts.count_expired(expired.len());
        for expired in expired {
            self.ids.release(&expired.data);
        }
    }

    /// The socket has joined a room. If its client is away meanwhile, this may push out others.
    pub(super) fn join(&mut self, key: RecordKey, room: &ByteString, gone: &mut Gone) {
        let before = gone.expired.len();
        self.machine.join(key, room, &mut gone.expired);
        self.forget(gone.expired.get(before..).unwrap_or_default());
    }

    /// The socket has left a room.
    pub(super) fn leave(&mut self, key: RecordKey, room: &str) {
        self.machine.leave(key, room);
    }
}

/// What a socket gets when its client has come back.
pub(super) struct Returned {
    pub(super) pid: ByteString,
    pub(super) rooms: Vec<ByteString>,
    pub(super) missed: Vec<Message>,
}
