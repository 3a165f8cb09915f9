//! A socket, as a turn sees it: the data beside the shard's own socket. It outlives the shard's
//! socket.
//!
//! Users hold it by handles. Its locks: while one of them is held, no other is taken. The lock of
//! the entry is taken under the shard's lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use once_cell::race::OnceBox;
use sio_proto::recovery::{Absence, RecordKey};
use sio_proto::server::{self, Auth, Form, Handshake};
use sio_proto::socket::Args;
use sio_proto::{SocketKey, Time};

use crate::error::{EmitError, HandlerError};
use crate::lock::Mutex;
use crate::runtime::Runtime;
use crate::turn::ack_slot::AckSlot;
use crate::turn::application::Application;
use crate::turn::comeback::{Comeback, Seat};
use crate::turn::credentials::{Doubt, Expiry};
use crate::turn::entry::Entry;
use crate::turn::guest::Guest;
use crate::turn::last_number::LastNumber;
use crate::turn::load::{Load, Overflow};
use crate::turn::mailbox::Mailbox;
use crate::turn::mourners::Mourners;
use crate::turn::order::{Order, To, carry_out};
use crate::turn::own::Own;
use crate::turn::recovery::Last;
use crate::turn::said::Client;
use crate::turn::shard::ShardCell;
use crate::turn::socket_id::SocketId;
use crate::turn::table::{EventFn, Table};
use crate::turn::values::Values;
use crate::turn::{self, Turn};

pub struct SocketCell {
    pub(crate) cell: Arc<ShardCell>,
    /// The request that has opened its session. What waits for the session is kept with it
    /// ([`SocketCell::load`]).
    handshake: Arc<Handshake>,
    pub(crate) key: SocketKey,
    pub(crate) form: Form,
    standing: AtomicU8,
    /// Whether the socket has had handlers of its own.
    has_own: AtomicBool,
    /// Whether the socket has ended by a goodbye, so that its client is not waited for.
    is_final: AtomicBool,
    id: SocketId,
    /// The name is shared with other sockets of the namespace.
    namespace: Arc<ByteString>,
    /// What the client has said and knows. Most clients of 4.x say nothing and know the public id.
    client: Option<Box<Client>>,
    table: OnceLock<Arc<Table>>,
    pub(crate) mailbox: Mailbox,
    /// What it knows of a client that may come back. Most namespaces have no recovery.
    seat: OnceBox<Seat>,
    /// The parts that most sockets never need.
    extras: OnceBox<Extras>,
}

// One exists for each socket, in addition to the shard's own data.
const _: () = assert!(size_of::<SocketCell>() <= if cfg!(debug_assertions) { 144 } else { 136 });

struct Extras {
    /// The id that the application has made for the socket.
    own_id: OnceLock<SocketId>,
    /// The acknowledgements that the client owes to this socket alone, by their ids.
    acks: Mutex<BTreeMap<u64, Arc<AckSlot>>>,
    data: Values,
    /// What was done for the socket before it was let in.
    entry: Mutex<Entry>,
    /// The rooms that the socket was in, while its disconnecting handler runs.
    last_rooms: Mutex<Option<Vec<ByteString>>>,
    mourners: Mourners,
    /// Who waits until the queue of the client has room.
    awaiting_room: Mourners,
    /// When the socket's credentials end.
    expiry: Expiry,
    /// The socket's own handlers. `None` when the socket is gone.
    own: Mutex<Option<Own>>,
    /// Whether the socket was let in and ended before its connect handler.
    is_unmet: AtomicBool,
    /// Whether it stands for a socket of another server.
    is_strange: AtomicBool,
}

// A socket has one from its first acknowledgement, data, or handler of its own on.
const _: () = assert!(size_of::<Extras>() <= 344);

impl Default for Extras {
    fn default() -> Self {
        Self {
            own_id: OnceLock::new(),
            acks: Mutex::default(),
            data: Values::default(),
            entry: Mutex::default(),
            last_rooms: Mutex::default(),
            mourners: Mourners::default(),
            awaiting_room: Mourners::default(),
            expiry: Expiry::default(),
            own: Mutex::new(Some(Own::default())),
            is_unmet: AtomicBool::new(false),
            is_strange: AtomicBool::new(false),
        }
    }
}

const ASKING: u8 = 0;
const CONNECTED: u8 = 1;
const GONE: u8 = 2;
/// The socket is gone because the server wanted it: nothing more is heard of it.
const DISMISSED: u8 = 3;
/// The socket is gone, because too much waits for its handlers.
const OVERRUN: u8 = 4;

impl SocketCell {
    pub(crate) fn new(
        cell: Arc<ShardCell>,
        handshake: Arc<Handshake>,
        key: SocketKey,
        (id, wire_id): (SocketId, Option<sio_proto::WireId>),
        namespace: Arc<ByteString>,
        auth: Auth,
        form: Form,
    ) -> Self {
        Self {
            cell,
            handshake,
            key,
            form,
            standing: AtomicU8::new(ASKING),
            has_own: AtomicBool::new(false),
            is_final: AtomicBool::new(false),
            id,
            namespace,
            client: Client::new(wire_id, auth),
            table: OnceLock::new(),
            mailbox: Mailbox::default(),
            seat: OnceBox::new(),
            extras: OnceBox::new(),
        }
    }

    /// A socket that was in another process, and whose client may come back to this one.
    pub(crate) fn away(cell: Arc<ShardCell>, id: SocketId, namespace: Arc<ByteString>) -> Self {
        let handshake = Arc::new(Handshake::unknown((cell.runtime.now)()));
        let ids = (id, None);
        let key = SocketKey::NOWHERE;
        let away = Self::new(cell, handshake, key, ids, namespace, Auth::None, Form::Engine4);
        away.set_gone();
        away
    }

    /// Notes that it stands for a socket of another server. No middleware of this one has decided
    /// about its client.
    #[cfg(feature = "redis")]
    pub(super) fn set_strange(&self) {
        self.extras().is_strange.store(true, Ordering::Relaxed);
    }

    /// Whether it stands for a socket of another server.
    pub(super) fn is_strange(&self) -> bool {
        let extras = self.extras.get();
        extras.is_some_and(|extras| extras.is_strange.load(Ordering::Relaxed))
    }

    /// Returns what it takes in memory while its client is away, without values of the application.
    pub(super) fn away_bytes(&self) -> usize {
        // The allocations of its parts, and its places in the tables.
        const PARTS: usize = size_of::<SocketCell>() + size_of::<Seat>() + size_of::<Extras>() + 304;
        PARTS + self.handshake().bytes() + self.auth_bytes()
    }

    pub(crate) fn runtime(&self) -> Runtime {
        self.cell.runtime
    }

    /// Returns the application that the socket belongs to, or `None` after the end of the server.
    pub(crate) fn application(&self) -> Option<Arc<dyn Application>> {
        self.cell.application.upgrade()
    }

    /// Returns the public id: the id that the client had before, or an id of the application, or
    /// else the id that the server has drawn.
    pub(crate) fn id(&self) -> &SocketId {
        let former = self.seat.get().and_then(|seat| seat.former_id());
        former.or_else(|| self.own_id()).unwrap_or(&self.id)
    }

    /// Returns the id that the server has drawn. It is not the id of the socket if
    /// [`SocketCell::id`] is another.
    pub(super) const fn drawn_id(&self) -> &SocketId {
        &self.id
    }

    /// Returns the id that the application has made for the socket.
    pub(super) fn own_id(&self) -> Option<&SocketId> {
        self.extras.get()?.own_id.get()
    }

    /// Gives the socket an id that the application has made, before it is let in.
    pub(super) fn set_own_id(&self, id: SocketId) {
        let _ = self.extras().own_id.set(id);
    }

    /// Whether its client shows the secret of an earlier socket, whose id this socket will have.
    pub(super) fn is_coming_back(&self) -> bool {
        self.seat.get().is_some_and(|seat| seat.former_id().is_some())
    }

    /// Returns the name of its namespace.
    #[inline]
    pub(crate) fn namespace(&self) -> &ByteString {
        &self.namespace
    }

    /// Returns the name of its namespace, for another socket there.
    pub(super) fn shared_namespace(&self) -> Arc<ByteString> {
        Arc::clone(&self.namespace)
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> Time {
        (self.cell.runtime.now)()
    }

    /// Returns the id by which the client knows itself, if it differs from the public id. It is a
    /// secret.
    pub(crate) fn reveal_wire_id(&self) -> Option<String> {
        let id = self.client.as_ref()?.wire_id.as_ref()?;
        Some(id.reveal(&self.namespace))
    }

    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Returns what waits for its session.
    #[inline]
    pub(crate) fn load(&self) -> Load<'_> {
        Load::new(&self.handshake, self.cell.loads())
    }

    /// Returns the `auth` that the client has sent, as JSON.
    pub(crate) fn auth_json(&self) -> Option<&str> {
        self.client.as_ref()?.auth.json(self.handshake())
    }

    pub(crate) fn table(&self) -> Option<&Arc<Table>> {
        self.table.get()
    }

    pub(crate) fn set_table(&self, table: Arc<Table>) -> &Arc<Table> {
        self.table.get_or_init(|| table)
    }

    pub(super) fn seat(&self) -> Option<&Seat> {
        self.seat.get()
    }

    pub(super) fn set_seat(&self, seat: Seat) {
        let _ = self.seat.set(Box::new(seat));
    }

    /// Returns the record of its client, if the client may come back.
    #[inline]
    pub(crate) fn record(&self) -> Option<RecordKey> {
        self.seat.get()?.record()
    }

    /// Returns the record of its client and the last number of its namespace, if the client may
    /// come back.
    #[inline]
    pub(crate) fn numbered(&self) -> Option<(RecordKey, &LastNumber)> {
        self.seat.get()?.numbered()
    }

    /// Returns about the last number of its namespace, if its messages have numbers
    /// ([`LastNumber`]).
    #[inline]
    pub(crate) fn last(&self) -> Option<Last> {
        self.numbered().map(|(_, last)| last.last())
    }

    /// Whether the client has come back.
    pub(crate) fn comeback(&self) -> Comeback {
        self.seat.get().map_or(Comeback::New, |seat| seat.outcome())
    }

    /// Returns how long its client was away, if the client was recognised.
    pub(crate) fn absence(&self) -> Option<Absence> {
        self.seat.get()?.absence()
    }

    /// Takes over the application's data and the end of the credentials of the socket that its
    /// client had before.
    pub(super) fn take_data_of(&self, old: &Self) {
        if let Some(extras) = old.extras.get() {
            self.extras().data.take_over(&extras.data);
            self.extras().expiry.set(extras.expiry.get());
        }
    }

    /// Whether the socket has ended by a goodbye.
    pub(crate) fn is_final(&self) -> bool {
        self.is_final.load(Ordering::Relaxed)
    }

    /// Notes that the socket ends by a goodbye. Call this before [`SocketCell::set_gone`].
    pub(super) fn set_final(&self) {
        self.is_final.store(true, Ordering::Relaxed);
    }

    /// Notes that the shard has let the socket in. The shard is locked. Returns what was done for
    /// the socket before.
    pub(crate) fn let_in(&self, table: &Table) -> Entry {
        // Nobody else has had a handle of the socket.
        if self.extras.get().is_none() && table.middleware.is_empty() && table.names.is_none() {
            self.set_connected();
            return Entry::default();
        }
        let mut entry = self.extras().entry.lock();
        self.set_connected();
        std::mem::take(&mut *entry)
    }

    fn set_connected(&self) {
        let _ = self
            .standing
            .compare_exchange(ASKING, CONNECTED, Ordering::Release, Ordering::Relaxed);
    }

    /// Notes that the socket is not let in. What was done for it has no effect.
    pub(crate) fn turn_away(&self) {
        self.set_gone();
        let Some(extras) = self.extras.get() else { return };
        let entry = std::mem::take(&mut *extras.entry.lock());
        let data = extras.data.take_all();
        drop((entry, data));
        self.drop_own();
    }

    /// Whether the socket has had handlers of its own.
    #[inline]
    pub(crate) fn has_own(&self) -> bool {
        self.has_own.load(Ordering::Relaxed)
    }

    /// Returns the socket's own handlers of an event that has arrived. Usually there are none.
    pub(crate) fn take_own_for(&self, event: &str) -> Vec<EventFn> {
        if !self.has_own() {
            return Vec::new();
        }
        let mut own = self.extras().own.lock();
        own.as_mut().map_or_else(Vec::new, |own| own.take_for(event))
    }

    /// Drops the socket's own handlers when the socket ends. A handler may hold the socket that
    /// holds the handler.
    pub(crate) fn drop_own(&self) {
        // Either this finds a handler that another thread adds at the same time, or that thread
        // finds that the socket is gone.
        fence(Ordering::SeqCst);
        let own = self.extras.get().and_then(|extras| extras.own.lock().take());
        drop(own);
    }

    /// Does something with the socket's own handlers. They are `None` when the socket is gone.
    /// `make` says whether they are created if there are none yet.
    pub(crate) fn with_own<R>(&self, make: bool, act: impl FnOnce(Option<&mut Own>) -> R) -> R {
        if make {
            self.has_own.store(true, Ordering::Relaxed);
            let extras = self.extras();
            fence(Ordering::SeqCst);
            let mut own = extras.own.lock();
            return act(own.as_mut().filter(|_| !self.is_gone()));
        }
        match self.extras.get() {
            Some(extras) => act(extras.own.lock().as_mut()),
            None => act(None),
        }
    }

    /// Returns how many bytes its `auth` takes in memory.
    pub(crate) fn auth_bytes(&self) -> usize {
        self.client.as_ref().map_or(0, |client| client.auth.bytes())
    }

    /// Whether its namespace has not decided about it yet.
    ///
    /// If this is false, the record of the socket is seen, too ([`SocketCell::record`]).
    pub(crate) fn is_asking(&self) -> bool {
        self.standing.load(Ordering::Acquire) == ASKING
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == CONNECTED
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.standing.load(Ordering::Relaxed) >= GONE
    }

    /// Does something for the socket that takes effect when it is let in. Returns `None` if it has
    /// been let in meanwhile.
    pub(crate) fn prepare<R>(&self, act: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        if !self.is_asking() {
            return None;
        }
        let mut entry = self.extras().entry.lock();
        self.is_asking().then(|| act(&mut entry))
    }

    /// Joins a room when the socket is let in. Returns `None` if it has been let in meanwhile.
    pub(crate) fn prepare_join(&self, room: &str) -> Option<Result<(), EmitError>> {
        if !self.is_asking() {
            return None;
        }
        let own = *room == **self.id();
        let is_id = self
            .application()
            .is_some_and(|application| application.shards().is_id(room));
        self.prepare(|entry| match is_id {
            true if own => Ok(()),
            true => Err(EmitError::ReservedRoom),
            false => entry.join(room, &self.cell.config),
        })
    }

    /// Sets the rooms that the socket has while its disconnecting handler runs.
    pub(crate) fn set_last_rooms(&self, rooms: Option<Vec<ByteString>>) {
        let old = std::mem::replace(&mut *self.extras().last_rooms.lock(), rooms);
        drop(old);
    }

    pub(crate) fn last_rooms(&self) -> Option<Vec<ByteString>> {
        self.extras.get()?.last_rooms.lock().clone()
    }

    /// Returns the application's own data. If there is none yet, it is created if `make` is true.
    pub(crate) fn data(&self, make: bool) -> Option<&Values> {
        match make {
            true => Some(&self.extras().data),
            false => self.extras.get().map(|extras| &extras.data),
        }
    }

    /// Returns the time at which the socket's credentials end. If there is no place for it yet, it
    /// is created if `make` is true.
    pub(super) fn expiry_place(&self, make: bool) -> Option<&Expiry> {
        match make {
            true => Some(&self.extras().expiry),
            false => self.extras.get().map(|extras| &extras.expiry),
        }
    }

    /// Takes out the questions that a revocation has left for the time at which the socket is let
    /// in. Usually there are none.
    pub(super) fn take_doubts(&self) -> Vec<Doubt> {
        match self.extras.get() {
            Some(extras) => std::mem::take(&mut extras.entry.lock().doubts),
            None => Vec::new(),
        }
    }

    pub(crate) fn mourners(&self) -> &Mourners {
        &self.extras().mourners
    }

    pub(crate) fn awaiting_room(&self) -> &Mourners {
        &self.extras().awaiting_room
    }

    /// Wakes the futures that wait until the queue of the client has room.
    pub(crate) fn wake_awaiting_room(&self) {
        if let Some(extras) = self.extras.get() {
            extras.awaiting_room.wake();
        }
    }

    /// Wakes the futures that wait for its end.
    pub(crate) fn wake_mourners(&self) {
        if let Some(extras) = self.extras.get() {
            extras.mourners.wake();
            extras.awaiting_room.wake();
        }
    }

    /// Tells everybody who waits for its end, or has to know of it.
    pub(super) fn note_end(self: &Arc<Self>) {
        self.wake_mourners();
        self.cell.recovery.ended(self);
        self.tell_change();
    }

    /// Tells the application that the socket has been let in or is gone. A cluster has to know.
    pub(super) fn tell_change(self: &Arc<Self>) {
        #[cfg(feature = "redis")]
        if let Some(application) = self.application() {
            application.socket_changed(self);
        }
    }

    pub(crate) fn set_gone(&self) {
        self.standing.fetch_max(GONE, Ordering::Relaxed);
    }

    /// Notes that the server has disconnected the socket.
    pub(crate) fn dismiss(&self) {
        self.standing.fetch_max(DISMISSED, Ordering::Relaxed);
    }

    /// Whether the server has disconnected the socket: the application, a panic of a handler, or
    /// because too much waits. No more handlers are started for events that have arrived. If the
    /// client has left, its earlier events still count.
    pub(crate) fn is_dismissed(&self) -> bool {
        self.standing.load(Ordering::Relaxed) >= DISMISSED
    }

    fn extras(&self) -> &Extras {
        self.extras.get_or_init(Box::default)
    }

    /// Notes that no handler gets to know the socket: it ends before its connect handler is called.
    pub(super) fn set_unmet(&self) {
        self.extras().is_unmet.store(true, Ordering::Relaxed);
    }

    /// Whether no handler has got to know the socket, so that none hears of its end.
    pub(super) fn is_unmet(&self) -> bool {
        self.extras
            .get()
            .is_some_and(|extras| extras.is_unmet.load(Ordering::Relaxed))
    }

    /// Prepares a question. Returns the id of the acknowledgement, and the place for the answer.
    pub(crate) fn open_ack(&self) -> (u64, Arc<AckSlot>) {
        let slot = Arc::new(AckSlot::default());
        // After the end of the server, nothing is sent.
        let application = self.application();
        let id = application.map_or(0, |application| application.shards().surveys.next_id());
        self.extras().acks.lock().insert(id, Arc::clone(&slot));
        (id, slot)
    }

    pub(crate) fn acknowledged(&self, id: u64, result: Result<Args, server::AckError>) {
        let slot = self.extras.get().and_then(|extras| extras.acks.lock().remove(&id));
        match slot {
            Some(slot) => slot.fill(result),
            None => {
                if let Some(application) = self.application() {
                    application.shards().surveys.acknowledged(self, id, result);
                }
            }
        }
    }

    /// Takes back a question that was not sent. Returns whether it was open.
    pub(crate) fn take_back_ack(&self, id: u64) -> bool {
        let slot = self.extras.get().and_then(|extras| extras.acks.lock().remove(&id));
        slot.is_some()
    }

    /// Forgets a question, because nobody waits for the answer any more.
    pub(crate) fn forget_ack(&self, id: u64) {
        if self.take_back_ack(id) {
            self.cell.forget_acks(id, &[self.key]);
        }
    }

    /// Notes something under way that keeps `bytes` bytes. A shutdown waits for it until the guest
    /// is dropped. If too much is under way, the session is closed.
    pub(crate) fn guest(self: &Arc<Self>, bytes: usize) -> Guest {
        self.cell.note_waiting(self.mailbox.enter());
        let load = self.load();
        if let Err(Overflow) = load.enter(bytes) {
            // It exists already, so it is counted nevertheless.
            load.add(bytes);
            self.overrun();
        }
        turn::note_load(load);
        let socket = Arc::clone(self);
        Guest::new(socket, bytes)
    }

    /// Closes the session because too much waits. No more handlers are started.
    pub(crate) fn overrun(self: &Arc<Self>) {
        if self.standing.swap(OVERRUN, Ordering::Relaxed) != OVERRUN {
            turn::act(self.runtime(), |turn| self.cell.end_overrun(turn, self.key));
        }
    }

    /// Makes the socket leave its namespace, or closes its whole session.
    pub(crate) fn disconnect(self: &Arc<Self>, close: bool) {
        // A disconnect of one socket does not fail.
        let _ = carry_out(Order::Disconnect {
            to: To::Socket(self),
            close,
        });
    }

    /// Tells a cluster that the record of the socket has begun, changed or ended. No lock is held.
    pub(crate) fn tell_record(self: &Arc<Self>) {
        #[cfg(feature = "redis")]
        if self.record().is_some()
            && let Some(application) = self.application()
        {
            application.record_changed(self);
        }
    }

    /// Reports to the application that something could not be sent.
    pub(crate) fn report(self: &Arc<Self>, event: &str, error: EmitError) {
        if let Some(application) = self.application() {
            application.report(Some(self), event, &HandlerError::Emit(error));
        }
    }

    /// Lets the socket's session leave. Called during a shutdown, when nothing is under way.
    pub(crate) fn leave(&self, turn: &Turn) {
        self.cell.input("release", turn, |state, now, out| {
            state.shard.release(now, self.key, out)
        });
    }

    /// Ends the open acknowledgements, because none will come any more.
    pub(crate) fn drop_acks(&self) {
        let Some(extras) = self.extras.get() else { return };
        let open = std::mem::take(&mut *extras.acks.lock());
        for slot in open.into_values() {
            slot.fill(Err(server::AckError::Disconnected));
        }
    }
}

impl Drop for SocketCell {
    fn drop(&mut self) {
        self.mailbox.give_up(self.load());
    }
}
