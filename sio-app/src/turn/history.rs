//! Histories of rooms: what was said in a room, for clients that say what they have seen of it.
//!
//! ```text
//!   a message to a room ─► its place is chosen, it is encoded (no lock)
//!                          lock of the history: place still right? queues of all shards, kept
//!   a client resumes    ─► what it has missed is sent (no lock)
//!                          lock of the history: nothing new? mark, member of the room
//! ```
//! So for each client, what it has missed and what is said from then on are one sequence. Locks are
//! taken in this order: recovery, the table of histories, one history, shard.
//!
//! A server in which no namespace asks for histories pays one load of an atomic for each message.
//!
//! In a cluster over one stream, the places of events are the ids of their entries, and all servers
//! have the same events in the same order: an event to a room with a history is sent when it is
//! read from the stream (`user/cluster/ordering.rs`).

pub(crate) mod stream;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytestring::ByteString;
use parking_lot::RwLock;
use sio_proto::recovery::{History, Ring};
use sio_proto::server::{Forms, Message, Target};
use sio_proto::socket::{Args, Offset};
use sio_proto::{Config, Time};

use crate::error::EmitError;
use crate::lock::Mutex;
use crate::options::Options;
use crate::runtime::Runtime;
use crate::turn;
use crate::turn::entry_place;
use crate::turn::numbered::{fan_out, kept_audience};
use crate::turn::order::{Audience, Stamp, WriteFn};
use crate::turn::recovery::Last;
use crate::turn::shard::Aftermath;
use crate::turn::shards::Shards;
use crate::turn::table::Names;
use stream::Stream;

/// All histories of a server.
pub(crate) struct Histories {
    /// Whether a namespace has asked for histories.
    is_used: AtomicBool,
    max_bytes: usize,
    max_rooms: usize,
    /// Most bytes of a room's name. Nobody can join a room with a longer one.
    max_name_bytes: usize,
    /// Bytes of all histories.
    bytes: Arc<AtomicUsize>,
    runtime: Runtime,
    rules: RwLock<Arc<[Rule]>>,
    rooms: Mutex<Rooms>,
    stream: Stream,
}

/// Which rooms have a history.
#[derive(Clone)]
struct Rule {
    namespace: Covered,
    pattern: Box<str>,
    ring: Ring,
    /// The last entry of the stream when it was added.
    added: u64,
}

/// The namespaces that a rule is for.
#[derive(Clone)]
pub(crate) enum Covered {
    Named(ByteString),
    /// Those of a pattern or a function, as long as they have members.
    Ruled(Arc<Names>),
}

#[derive(Default)]
struct Rooms {
    named: BTreeMap<ByteString, BTreeMap<ByteString, Arc<RoomHistory>>>,
    /// All histories. When there are too many, those at the front go first, unless they have been
    /// used since they came to the front the last time.
    order: VecDeque<Arc<RoomHistory>>,
}

/// The history of one room.
pub(crate) struct RoomHistory {
    namespace: ByteString,
    room: ByteString,
    is_touched: AtomicBool,
    /// Whether it is a history of the room no more. It changes under the lock of the state: who
    /// holds this lock and finds that it is not gone has the one history of the room.
    is_gone: AtomicBool,
    /// Bytes of all histories.
    total: Arc<AtomicUsize>,
    pub(super) state: Mutex<History<Said>>,
}

/// An event that is kept, in memory of its own. Its place is its last argument.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) name: ByteString,
    pub(crate) args: Args,
}

/// What a client has of a history.
#[derive(Clone, Copy)]
pub(crate) enum Has {
    /// It shows the last place that it has seen, perhaps at another server.
    Seen(Option<Offset>),
    /// This history has given it everything up to this number.
    Got(u64),
}

/// A part of what a client has missed.
pub(crate) struct Part {
    /// Whether something that the client has not seen is missing.
    pub(crate) truncated: bool,
    /// The events, with their places.
    pub(crate) events: Vec<(Offset, Time, Said)>,
    /// Whether nothing is behind them.
    pub(crate) is_end: bool,
    /// The place behind the last event of the history.
    pub(crate) last: Offset,
}

impl Rule {
    fn covers(&self, namespace: &str, room: &str) -> bool {
        let is_named = match &self.namespace {
            Covered::Named(name) => *name == *namespace,
            Covered::Ruled(names) => names.has(namespace),
        };
        is_named && crate::wildcard::fits(&self.pattern, room)
    }
}

impl Histories {
    pub(crate) fn new(options: &Options, config: &Config, runtime: Runtime) -> Self {
        Self {
            is_used: AtomicBool::new(false),
            max_bytes: options.max_history_bytes,
            max_rooms: options.max_history_rooms,
            max_name_bytes: config.max_room_name_bytes,
            bytes: Arc::default(),
            runtime,
            rules: RwLock::new(Arc::from([])),
            rooms: Mutex::new(Rooms::default()),
            stream: Stream::default(),
        }
    }

    /// Gives the rooms of a pattern histories. Rules that were added earlier come first.
    pub(crate) fn add(&self, namespace: Covered, pattern: &str, ring: Ring) {
        let rule = Rule {
            namespace,
            pattern: pattern.into(),
            ring,
            added: self.stream.last.load(Ordering::Relaxed),
        };
        let mut rules = self.rules.write();
        *rules = rules.iter().cloned().chain([rule]).collect();
        self.is_used.store(true, Ordering::Release);
    }

    #[inline]
    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    /// Returns the limits of the history of a room, and the entry of the stream up to which
    /// something may be missing in it if it begins now.
    fn ring(&self, namespace: &str, room: &str) -> Option<(Ring, u64)> {
        if room.len() > self.max_name_bytes {
            return None;
        }
        let rules = Arc::clone(&self.rules.read());
        let rule = rules.iter().find(|rule| rule.covers(namespace, room))?;
        let known = match &rule.namespace {
            Covered::Named(_) => rule.added.max(self.stream.dropped.load(Ordering::Relaxed)),
            // What was said while the namespace had no members was not kept.
            Covered::Ruled(_) => self.stream.last.load(Ordering::Relaxed),
        };
        Some((rule.ring, known))
    }

    /// Whether the room has a history, or gets one with its first event.
    pub(crate) fn covers(&self, namespace: &str, room: &str) -> bool {
        self.is_used() && self.ring(namespace, room).is_some()
    }

    /// Returns the history of a room, if something was said there.
    pub(crate) fn find(&self, namespace: &str, room: &str) -> Option<Arc<RoomHistory>> {
        if !self.is_used() {
            return None;
        }
        let found = self.rooms.lock_for("find").find(namespace, room);
        found.inspect(|found| found.touch())
    }

    /// Returns the history that an event to this target goes into. It is made if it does not exist.
    ///
    /// # Errors
    /// [`EmitError::SeveralHistories`] if the target has a room with a history and other rooms.
    #[inline]
    pub(crate) fn of_target(&self, shards: &Shards, target: &Target) -> Result<Option<Arc<RoomHistory>>, EmitError> {
        match self.is_used() {
            true => self.of_rooms(shards, target),
            false => Ok(None),
        }
    }

    fn of_rooms(&self, shards: &Shards, target: &Target) -> Result<Option<Arc<RoomHistory>>, EmitError> {
        let mut rooms = target.rooms.iter().filter(|room| !shards.is_id(room));
        let found = rooms.find_map(|room| self.of_room(&target.namespace, room));
        match found {
            Some(_) if target.rooms.len() > 1 => Err(EmitError::SeveralHistories),
            found => Ok(found),
        }
    }

    /// Returns the history of a room, which is made if it does not exist, or `None` if the room has
    /// none.
    pub(crate) fn of_room(&self, namespace: &ByteString, room: &ByteString) -> Option<Arc<RoomHistory>> {
        let known = self.find(namespace, room);
        known.or_else(|| Some(self.open(namespace, room, self.ring(namespace, room)?)))
    }

    fn open(&self, namespace: &ByteString, room: &ByteString, (ring, known): (Ring, u64)) -> Arc<RoomHistory> {
        let mut epoch = [0; 4];
        let mut rooms = self.rooms.lock_for("open");
        if let Some(known) = rooms.find(namespace, room) {
            known.touch();
            return known;
        }
        (self.runtime.fill)(&mut epoch);
        // The highest epoch is that of the stream.
        let epoch = u32::from_le_bytes(epoch).min(Offset::STREAM - 1);
        let history = match self.follows_stream() {
            true => History::in_stream(epoch, ring, self.stream.last.load(Ordering::Relaxed), known),
            false => History::new(epoch, ring),
        };
        let history = Arc::new(RoomHistory {
            namespace: ByteString::from(&**namespace),
            room: ByteString::from(&**room),
            is_touched: AtomicBool::new(true),
            is_gone: AtomicBool::new(false),
            total: Arc::clone(&self.bytes),
            state: Mutex::new(history),
        });
        rooms.add(&history);
        let gone = match rooms.order.len() > self.max_rooms {
            true => self.drop_oldest(&mut rooms),
            false => None,
        };
        drop(rooms);
        drop(gone);
        history
    }

    /// Takes out a history that has not been used for long. If it begins again, it does not know
    /// what was said before.
    fn drop_oldest(&self, rooms: &mut Rooms) -> Option<Arc<RoomHistory>> {
        let gone = rooms.drop_oldest()?;
        let last = self.stream.last.load(Ordering::Relaxed);
        // It may have an entry that counts as read a moment later.
        let last = last.max(gone.state.lock_for("dropped").last().sequence);
        self.stream.dropped.fetch_max(last, Ordering::Relaxed);
        Some(gone)
    }

    /// Drops histories until the others have room. Call it without a lock.
    fn make_room(&self) {
        while self.bytes.load(Ordering::Relaxed) > self.max_bytes {
            let gone = self.drop_oldest(&mut self.rooms.lock_for("make room"));
            let Some(gone) = gone else { return };
            // Others may still hold it for a moment, so its events are dropped now.
            gone.clear();
        }
    }

    /// Drops the histories of a namespace that has ended here: what others say there now is not
    /// heard. Call it without a lock.
    #[cfg(feature = "redis")]
    pub(crate) fn end_namespace(&self, namespace: &str) {
        if self.is_used() {
            // They are dropped under no lock.
            let gone = self.rooms.lock_for("end").drop_namespace(namespace);
            gone.iter().for_each(|gone| gone.clear());
        }
    }

    /// Throws away what is too old. It is called about once a second, and looks at some histories
    /// each time.
    pub(crate) fn sweep(&self, now: Time) {
        const AT_ONCE: usize = 256;
        if !self.is_used() {
            return;
        }
        let some: Vec<Arc<RoomHistory>> = {
            let mut rooms = self.rooms.lock_for("sweep");
            let some = rooms.order.len().min(AT_ONCE);
            rooms.order.rotate_left(some);
            rooms.order.iter().rev().take(some).cloned().collect()
        };
        some.iter().for_each(|history| history.prune(now));
    }

    /// Returns how many histories there are, and how many bytes they keep.
    pub(crate) fn size(&self) -> (usize, usize) {
        let rooms = self.rooms.lock_for("size").order.len();
        (rooms, self.bytes.load(Ordering::Relaxed))
    }

    /// Does something while no history of the room can begin. Returns `None` if there is one.
    pub(super) fn without<R>(&self, namespace: &str, room: &str, act: impl FnOnce() -> R) -> Option<R> {
        let rooms = self.rooms.lock_for("join");
        rooms.find(namespace, room).is_none().then(act)
    }
}

impl Rooms {
    fn find(&self, namespace: &str, room: &str) -> Option<Arc<RoomHistory>> {
        self.named.get(namespace)?.get(room).cloned()
    }

    fn add(&mut self, history: &Arc<RoomHistory>) {
        let rooms = self.named.entry(history.namespace.clone()).or_default();
        rooms.insert(history.room.clone(), Arc::clone(history));
        self.order.push_back(Arc::clone(history));
    }

    /// Takes out a history that has not been used for long.
    fn drop_oldest(&mut self) -> Option<Arc<RoomHistory>> {
        for _ in 0..self.order.len() {
            let oldest = self.order.pop_front()?;
            if !oldest.is_touched.swap(false, Ordering::Relaxed) {
                self.forget(&oldest);
                return Some(oldest);
            }
            self.order.push_back(oldest);
        }
        let oldest = self.order.pop_front()?;
        self.forget(&oldest);
        Some(oldest)
    }

    /// Takes out the histories of a namespace.
    #[cfg(feature = "redis")]
    fn drop_namespace(&mut self, namespace: &str) -> Vec<Arc<RoomHistory>> {
        let gone = self.named.remove(namespace).unwrap_or_default();
        if !gone.is_empty() {
            gone.values().for_each(|history| history.end());
            self.order.retain(|history| history.namespace != *namespace);
        }
        gone.into_values().collect()
    }

    fn forget(&mut self, history: &RoomHistory) {
        history.end();
        if let Some(rooms) = self.named.get_mut(&history.namespace) {
            rooms.remove(&history.room);
            if rooms.is_empty() {
                self.named.remove(&history.namespace);
            }
        }
    }
}

impl RoomHistory {
    fn touch(&self) {
        self.is_touched.store(true, Ordering::Relaxed);
    }

    /// Changes the history, and counts its bytes.
    fn change<R>(&self, history: &mut History<Said>, change: impl FnOnce(&mut History<Said>) -> R) -> R {
        let before = history.bytes();
        let result = change(history);
        let after = history.bytes();
        self.total.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        result
    }

    fn prune(&self, now: Time) {
        let mut history = self.state.lock_for("prune");
        self.change(&mut history, |history| history.prune(now));
    }

    fn clear(&self) {
        let mut history = self.state.lock_for("clear");
        self.change(&mut history, History::clear);
    }

    /// It is a history of the room no more. Who is sending to the room at this moment comes before.
    fn end(&self) {
        let _state = self.state.lock_for("end");
        self.is_gone.store(true, Ordering::Relaxed);
    }

    /// Whether this is the history of the room still. The caller holds the lock of the state.
    pub(super) fn is_current(&self) -> bool {
        !self.is_gone.load(Ordering::Relaxed)
    }

    /// Returns the place of the last event, and that of the next one, which may have an entry in
    /// the stream. One without an entry stands behind all entries that have been read.
    fn places(&self, entry: Option<Offset>, histories: &Histories) -> (Offset, Offset) {
        let mut state = self.state.lock_for("place");
        if entry.is_none() {
            state.advance(histories.stream.last.load(Ordering::Relaxed));
        }
        (state.last(), state.next(entry))
    }

    /// Returns what is behind what a client has, at most `most` events. The stream of a cluster has
    /// been read as `histories` knows.
    pub(crate) fn part(&self, now: Time, has: Has, histories: &Histories, most: usize) -> Part {
        let mut history = self.state.lock_for("read");
        self.change(&mut history, |history| history.prune(now));
        let since = match has {
            Has::Seen(seen) => history.since(seen, |place| histories.has_read(&self.namespace, place)),
            Has::Got(number) => history.behind(number),
        };
        let is_end = since.entries.len() <= most;
        let events = since.entries.take(most);
        let events = events.map(|entry| (history.place(entry.sequence), entry.at, entry.message.clone()));
        Part {
            truncated: since.truncated,
            events: events.collect(),
            is_end,
            last: history.last(),
        }
    }
}

impl Drop for RoomHistory {
    fn drop(&mut self) {
        let bytes = self.state.lock().bytes();
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Said {
    /// An event of the stream with its place, and what it takes.
    #[cfg(feature = "redis")]
    pub(crate) fn at(place: Offset, name: ByteString, args: &Args) -> (usize, Self) {
        let name = ByteString::from(&*name);
        let args = args.with_offset(place).detached();
        (name.len() + args.bytes(), Self { name, args })
    }

    /// Copies an event that has its place already.
    fn of(message: &Message) -> Option<(usize, Self)> {
        let name = ByteString::from(&**message.name()?);
        let args = message.args().detached();
        let bytes = name.len() + args.bytes();
        Some((bytes, Self { name, args }))
    }
}

/// Sends a message to a room with a history, and keeps it there.
pub(super) fn broadcast_kept(
    to: Audience<'_>,
    bytes: usize,
    forms: Forms,
    mut history: Arc<RoomHistory>,
    write: &mut WriteFn<'_>,
) {
    let histories = &to.shards.histories;
    while !try_broadcast_kept(to, bytes, forms, &history, write) {
        if history.is_current() {
            continue;
        }
        // It was dropped to make room for others. The room begins a new one.
        match histories.of_room(&history.namespace, &history.room) {
            Some(next) => history = next,
            // The namespace has no members any more, so there is nobody to send to.
            None => return,
        }
    }
    histories.make_room();
}

/// Sends the message, unless another message has taken its place meanwhile or the history is gone.
/// Then nothing happens, and false is returned.
fn try_broadcast_kept(
    to: Audience<'_>,
    bytes: usize,
    forms: Forms,
    history: &RoomHistory,
    write: &mut WriteFn<'_>,
) -> bool {
    let Some(first) = to.shards.cells.first() else {
        return true;
    };
    let recovery = &to.shards.recovery;
    let last = recovery.last(&to.target.namespace);
    let entry = entry_place::current();
    let (place, next) = history.places(entry, &to.shards.histories);
    let mut message = write(
        forms,
        Stamp {
            recovery: last,
            history: Some(Last::new(place).before(next)),
        },
    );
    let mut said = match message.is_volatile() {
        true => None,
        false => Said::of(&message),
    };
    turn::act(to.shards.runtime, |turn| {
        let mut after = Aftermath::default();
        let mut send = |message: &mut Message| {
            let mut state = history.state.lock_for("emit");
            if state.last() != place || !history.is_current() {
                return None;
            }
            let sent = fan_out(to, 0, bytes, turn, &mut after, message);
            if let Some((bytes, said)) = said.take() {
                history.change(&mut state, |state| state.keep(turn.now(), entry, bytes, said));
            }
            Some(sent)
        };
        // Without a number under the lock, too: the first client that may come back may be let in
        // now.
        let sent = match recovery.is_possible() {
            false => send(&mut message),
            true => recovery.numbered(
                |state| state.last(&to.target.namespace),
                &mut message,
                &to.shards.config,
                |state, message| {
                    let sent = send(message)?;
                    state.keep(turn.now(), message, || kept_audience(to));
                    Some(sent)
                },
            ),
        };
        after.finish(turn, first);
        if let Some((ready, enough)) = sent {
            turn.broadcast(bytes, ready, enough);
        }
        sent.is_some()
    })
}
