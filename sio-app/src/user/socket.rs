//! The handle of one client in one namespace.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_proto::SocketKey;
use sio_proto::server::{self, AckRequest, Auth, Form, Generation, Handshake, TransportKind};
use sio_proto::socket::Args;

use crate::args::Data;
use crate::error::{EmitError, HandlerError};
use crate::lock::Mutex;
use crate::runtime::Runtime;
use crate::turn::entry::Entry;
use crate::turn::gone::{Gone, Mourners};
use crate::turn::guest::Guest;
use crate::turn::load::{Load, Overflow};
use crate::turn::mailbox::Mailbox;
use crate::turn::shard::ShardCell;
use crate::turn::sleep::Sleep;
use crate::turn::socket_id::{SocketId, WireId};
use crate::turn::{self, Turn};
use crate::user::ack::{AckFuture, AckSlot};
use crate::user::emitter::Emitter;
use crate::user::io::Inner;
use crate::user::message;
use crate::user::registry::Table;
use crate::web::request;

/// One client in one namespace.
///
/// A handle: small, cheap to clone, free to keep anywhere. It never keeps a client connected; when
/// the client is gone, what would be sent through it is refused with [`EmitError::Disconnected`],
/// and everything else does nothing.
///
/// ```
/// # use sio_app::{Io, Socket};
/// # fn register(io: &Io) {
/// io.of("/").on("join", |socket: Socket, room: String| {
///     socket.join(&room)?;
///     socket.to(room).emit("joined", socket.id());
///     socket.emit("welcome", ())
/// });
/// # }
/// ```
#[derive(Clone)]
pub struct Socket(pub(crate) Arc<SocketInner>);

pub(crate) struct SocketInner {
    pub(crate) cell: Arc<ShardCell>,
    /// What waits for its session.
    pub(crate) load: Arc<Load>,
    pub(crate) key: SocketKey,
    pub(crate) form: Form,
    standing: AtomicU8,
    id: SocketId,
    /// How the client knows itself, where this is not `id`: a secret.
    wire_id: Option<sio_proto::WireId>,
    pub(crate) namespace: ByteString,
    auth: Said,
    handshake: Arc<Handshake>,
    table: OnceLock<Arc<Table>>,
    pub(crate) mailbox: Mailbox,
    /// What most sockets never have.
    extras: OnceLock<Box<Extras>>,
}

// Held per socket, beside what the shard holds.
const _: () = assert!(size_of::<SocketInner>() <= 256);

/// What the client has said for itself.
enum Said {
    Nothing,
    Payload(Box<str>),
    /// In the query of the handshake alone.
    AtHandshake,
    /// In that and in the query of a CONNECT: made one object when somebody asks, because clients
    /// may ask for namespaces as often as they like.
    Later(Box<(ByteString, OnceLock<Option<ByteString>>)>),
}

impl Said {
    /// A copy: the original is part of a read buffer.
    fn new(auth: Auth) -> Self {
        match auth {
            Auth::None => Self::Nothing,
            Auth::Payload(payload) => Self::Payload(Box::from(&*payload)),
            Auth::Query(own) if own.is_empty() => Self::AtHandshake,
            Auth::Query(own) => Self::Later(Box::new((ByteString::from(&*own), OnceLock::new()))),
        }
    }

    /// What is kept of it beside the handshake, in bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Nothing | Self::AtHandshake => 0,
            Self::Payload(payload) => payload.len(),
            Self::Later(later) => later.0.len() + later.1.get().and_then(Option::as_ref).map_or(0, |made| made.len()),
        }
    }

    fn json<'a>(&'a self, handshake: &'a Handshake) -> Option<&'a str> {
        match self {
            Self::Nothing => None,
            Self::Payload(payload) => Some(payload),
            Self::AtHandshake => handshake.query_object().map(|object| &**object),
            Self::Later(later) => {
                let (own, made) = &**later;
                made.get_or_init(|| Auth::Query(own.clone()).to_json(handshake))
                    .as_deref()
            }
        }
    }
}

#[derive(Default)]
struct Extras {
    acks: Mutex<Acks>,
    data: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
    /// What was done for it before it was let in.
    entry: Mutex<Entry>,
    /// The rooms that it was in, while it is told of its end.
    last_rooms: Mutex<Option<Vec<ByteString>>>,
    mourners: Mourners,
}

#[derive(Default)]
struct Acks {
    next: u64,
    open: BTreeMap<u64, Arc<AckSlot>>,
}

const ASKING: u8 = 0;
const CONNECTED: u8 = 1;
const GONE: u8 = 2;
/// Gone because too much waits for its handlers.
const OVERRUN: u8 = 3;

impl SocketInner {
    #[expect(clippy::too_many_arguments, reason = "all that a shard says of a socket, once")]
    pub(crate) fn new(
        cell: Arc<ShardCell>,
        load: Arc<Load>,
        key: SocketKey,
        (id, wire_id): (SocketId, Option<sio_proto::WireId>),
        namespace: ByteString,
        auth: Auth,
        handshake: Arc<Handshake>,
        form: Form,
    ) -> Self {
        Self {
            cell,
            load,
            key,
            form,
            standing: AtomicU8::new(ASKING),
            id,
            wire_id,
            namespace,
            auth: Said::new(auth),
            handshake,
            table: OnceLock::new(),
            mailbox: Mailbox::default(),
            extras: OnceLock::new(),
        }
    }

    pub(crate) fn runtime(&self) -> Runtime {
        self.cell.runtime
    }

    pub(crate) fn io(&self) -> Option<Arc<Inner>> {
        self.cell.io.upgrade()
    }

    pub(crate) fn table(&self) -> Option<&Arc<Table>> {
        self.table.get()
    }

    pub(crate) fn set_table(&self, table: Arc<Table>) -> &Arc<Table> {
        self.table.get_or_init(|| table)
    }

    /// The shard has let it in, and is locked. Gives what was done for it before.
    pub(crate) fn let_in(&self, table: &Table) -> Entry {
        // Nobody else has had a handle of it.
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
            .compare_exchange(ASKING, CONNECTED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// It is not let in: what was done for it has not happened.
    pub(crate) fn turn_away(&self) {
        self.set_gone();
        let Some(extras) = self.extras.get() else { return };
        let entry = std::mem::take(&mut *extras.entry.lock());
        let data = std::mem::take(&mut *extras.data.lock());
        drop((entry, data));
    }

    /// What its `auth` takes in memory.
    pub(crate) fn auth_bytes(&self) -> usize {
        self.auth.bytes()
    }

    /// Whether its namespace has not decided about it.
    pub(crate) fn is_asking(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == ASKING
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.standing.load(Ordering::Relaxed) >= GONE
    }

    /// Does something for it that counts once it is let in. `None` if it has been let in meanwhile.
    pub(crate) fn prepare<R>(&self, act: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        if !self.is_asking() {
            return None;
        }
        let mut entry = self.extras().entry.lock();
        self.is_asking().then(|| act(&mut entry))
    }

    /// While it is told of its end it has the rooms that it was in.
    pub(crate) fn set_last_rooms(&self, rooms: Option<Vec<ByteString>>) {
        let old = std::mem::replace(&mut *self.extras().last_rooms.lock(), rooms);
        drop(old);
    }

    pub(crate) fn mourners(&self) -> &Mourners {
        &self.extras().mourners
    }

    /// Those who have waited for its end hear of it.
    pub(crate) fn wake_mourners(&self) {
        if let Some(extras) = self.extras.get() {
            extras.mourners.wake();
        }
    }

    pub(crate) fn set_gone(&self) {
        self.standing.fetch_max(GONE, Ordering::Relaxed);
    }

    /// Whether too much waits for its handlers: it is closed, and no more of them are started for
    /// events that came along.
    pub(crate) fn is_overrun(&self) -> bool {
        self.standing.load(Ordering::Relaxed) == OVERRUN
    }

    fn extras(&self) -> &Extras {
        self.extras.get_or_init(Box::default)
    }

    pub(crate) fn acknowledged(&self, id: u64, result: Result<Args, server::AckError>) {
        let slot = self.extras.get().and_then(|extras| extras.acks.lock().open.remove(&id));
        if let Some(slot) = slot {
            slot.fill(result);
        }
    }

    pub(crate) fn forget_ack(&self, id: u64) {
        if let Some(extras) = self.extras.get() {
            extras.acks.lock().open.remove(&id);
        }
    }

    /// Something is under way that takes so many bytes, and that a server which goes away waits
    /// for, until the guest is dropped. If it is too much, the session is closed.
    pub(crate) fn guest(self: &Arc<Self>, bytes: usize) -> Guest {
        self.cell.note_waiting(self.mailbox.enter());
        if let Err(Overflow) = self.load.enter(bytes) {
            // It is there, so it is counted all the same.
            self.load.add(bytes);
            self.overrun();
        }
        let socket = Arc::clone(self);
        Guest::new(socket, bytes)
    }

    /// Too much waits: the session is closed, and no more handlers are started.
    pub(crate) fn overrun(self: &Arc<Self>) {
        if self.standing.swap(OVERRUN, Ordering::Relaxed) != OVERRUN {
            self.cell.warn_of_overflow(self.key);
            Socket(Arc::clone(self)).close();
        }
    }

    /// Nothing is under way, and the server goes away.
    pub(crate) fn leave(&self, turn: &Turn) {
        self.cell
            .input(turn, |state, now, out| state.shard.release(now, self.key, out));
    }

    /// No acknowledgement will come any more.
    pub(crate) fn drop_acks(&self) {
        let Some(extras) = self.extras.get() else { return };
        let open = std::mem::take(&mut extras.acks.lock().open);
        for slot in open.into_values() {
            slot.fill(Err(server::AckError::Disconnected));
        }
    }
}

impl Drop for SocketInner {
    fn drop(&mut self) {
        self.mailbox.give_up(&self.load);
    }
}

/// Who it is.
impl Socket {
    /// The socket's id: unique, one per namespace, and the name of a room that only this socket is
    /// in. It may be told to anybody.
    ///
    /// Clients from Socket.IO 3 on know themselves by it, too. Older ones have an id of their own:
    /// [`Socket::wire_id`].
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.0.id.clone()
    }

    /// The id by which the client knows itself (`socket.id` in its own code). From Socket.IO 3 on
    /// this is [`Socket::id`]. **For older clients it is a secret**: it contains the id of the
    /// session, and whoever has this can read and speak as the client. So tell it to nobody but the
    /// client itself, and keep it out of logs, broadcasts and stores.
    ///
    /// [`to`](Socket::to), [`Io::to`](crate::Io::to) and [`Io::socket`](crate::Io::socket) take it
    /// for the socket, for clients that say it of themselves.
    #[must_use]
    pub fn wire_id(&self) -> WireId {
        match &self.0.wire_id {
            Some(id) => WireId::new(id.reveal(&self.0.namespace)),
            None => WireId::new(self.0.id.as_str()),
        }
    }

    /// The name of the namespace; starts with `/`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// The request that opened the session: headers, query, address.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// What another HTTP server has said of the request that opened the session: the value itself,
    /// or with the feature `http` what is of this type in its
    /// [`http::Extensions`](https://docs.rs/http/latest/http/struct.Extensions.html). `None` unless
    /// the server is mounted in one.
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        request::extension(self.handshake().extension.as_ref())
    }

    /// What the client sent as `auth`, as JSON: an object. From clients before 3.0 it is the query
    /// they sent with the namespace.
    #[must_use]
    pub fn auth_json(&self) -> Option<&str> {
        self.0.auth.json(&self.0.handshake)
    }

    /// What the client sent as `auth`, as a type; `None` if nothing, or if it is of another type.
    #[must_use]
    pub fn auth<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.auth_json()?).ok()
    }

    /// Which generation of the protocol the client speaks.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.0.form.generation()
    }

    /// How its packets travel at the moment; `None` once it is gone.
    #[must_use]
    pub fn transport(&self) -> Option<TransportKind> {
        self.0.cell.ask(|state| state.shard.transport(self.0.key))
    }

    /// Waits until it is gone. Handlers that wait run on when their client has left, as they do in
    /// JavaScript, and count as waiting
    /// ([`Options::max_waiting_events`](crate::Options::max_waiting_events)) until they end. One
    /// that nobody needs then ends with this, in the `select` of your runtime:
    ///
    /// ```
    /// # use std::future::{Future, poll_fn};
    /// # use std::pin::pin;
    /// # use std::task::Poll;
    /// # use sio_app::{Io, Socket};
    /// # async fn report() -> u32 { 7 }
    /// # fn register(io: &Io) {
    /// io.of("/").on("report", async |socket: Socket| {
    ///     let (mut report, mut gone) = (pin!(report()), pin!(socket.gone()));
    ///     let report = poll_fn(|cx| match gone.as_mut().poll(cx) {
    ///         Poll::Ready(()) => Poll::Ready(None),
    ///         Poll::Pending => report.as_mut().poll(cx).map(Some),
    ///     });
    ///     report.await.map_or(Ok(()), |report| socket.emit("report", report))
    /// });
    /// # }
    /// ```
    pub fn gone(&self) -> Gone {
        Gone::new(Arc::clone(&self.0))
    }

    /// Whether it has been let into its namespace and is not gone yet. It may be gone the moment
    /// after.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.standing.load(Ordering::Relaxed) == CONNECTED
    }

    /// The whole that the socket belongs to; `None` after the end of the server.
    #[must_use]
    pub fn io(&self) -> Option<crate::Io> {
        self.0.io().map(crate::Io)
    }
}

/// Data of the application's own, by type.
impl Socket {
    /// Keeps a value with the socket, in place of an earlier one of the same type.
    pub fn set_data<T: Any + Send + Sync>(&self, value: T) {
        let mut data = self.0.extras().data.lock();
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        let same = data.iter_mut().find(|old| (***old).type_id() == (*value).type_id());
        let old = match same {
            Some(old) => Some(std::mem::replace(old, value)),
            None => {
                data.push(value);
                None
            }
        };
        // The user's destructor does not run under the lock.
        drop(data);
        drop(old);
    }

    /// The value of this type that was kept with the socket.
    #[must_use]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = {
            let data = self.0.extras.get()?.data.lock();
            let value = data.iter().find(|value| (***value).type_id() == TypeId::of::<T>());
            value.map(Arc::clone)?
        };
        value.downcast().ok()
    }
}

/// Sending.
impl Socket {
    /// Sends an event to this client.
    ///
    /// Arguments are a tuple, or one value of any serializable type; `()` is none. See
    /// [`args`](crate::args). Nothing waits: the event is queued, and leaves when the handler
    /// returns, or at once outside of handlers.
    ///
    /// # Errors
    /// If the socket is gone, its queue is full, the arguments cannot be written, or the name is
    /// reserved.
    pub fn emit<A: Serialize>(&self, event: &str, args: A) -> Result<(), EmitError> {
        self.emit_with(event, &args, false)
    }

    pub(crate) fn emit_with<A: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &A,
        volatile: bool,
    ) -> Result<(), EmitError> {
        message::send_event(&self.0, event, args, None, volatile)
    }

    /// Sends a message without a name: what clients get as `message` event, and what all there is
    /// to 0.6.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn send(&self, data: impl Into<Data>) -> Result<(), EmitError> {
        self.emit_with("message", &(data.into(),), false)
    }

    /// Sends an event and waits for the client's acknowledgement: for ever, or with
    /// [`Socket::timeout`] so long.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sio_app::{AckError, Socket};
    /// # async fn ask(socket: Socket) -> Result<(), AckError> {
    /// let (name, age): (String, u8) = socket.timeout(Duration::from_secs(5)).emit_with_ack("who", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_with_ack<T: DeserializeOwned + 'static, A: Serialize>(&self, event: &str, args: A) -> AckFuture<T> {
        self.ask(event, &args, None)
    }

    pub(crate) fn ask<T, A: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &A,
        timeout: Option<Duration>,
    ) -> AckFuture<T> {
        // A middleware that waited for the answer would wait for itself.
        if self.0.is_asking() {
            return AckFuture::failed(EmitError::Disconnected);
        }
        let slot = Arc::new(AckSlot::default());
        let id = {
            let mut acks = self.0.extras().acks.lock();
            let id = acks.next;
            acks.next += 1;
            acks.open.insert(id, Arc::clone(&slot));
            id
        };
        match message::send_event(&self.0, event, args, Some(AckRequest { id, timeout }), false) {
            Ok(()) => AckFuture::waiting(Arc::clone(&self.0), id, slot),
            Err(error) => {
                self.0.forget_ack(id);
                AckFuture::failed(error)
            }
        }
    }

    /// To all other sockets of the namespace: `socket.broadcast().emit(…)`.
    pub fn broadcast(&self) -> Emitter {
        Emitter::from_socket(self).broadcast()
    }

    /// To the members of a room, this socket not among them.
    pub fn to(&self, room: impl AsRef<str>) -> Emitter {
        Emitter::from_socket(self).to(room)
    }

    /// To all other sockets of the namespace that are not in this room.
    pub fn except(&self, room: impl AsRef<str>) -> Emitter {
        Emitter::from_socket(self).except(room)
    }

    /// To this socket, unless its transport is busy.
    pub fn volatile(&self) -> Emitter {
        Emitter::from_socket(self).volatile()
    }

    /// To sockets of this node only.
    pub fn local(&self) -> Emitter {
        Emitter::from_socket(self).local()
    }

    /// How long acknowledgements may take.
    pub fn timeout(&self, timeout: Duration) -> Emitter {
        Emitter::from_socket(self).timeout(timeout)
    }

    /// Waits so long, whatever the runtime, and also if this client goes away meanwhile.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sio_app::{Io, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").on("later", async |socket: Socket, text: String| {
    ///     socket.sleep(Duration::from_secs(1)).await;
    ///     socket.emit("later", text)
    /// });
    /// # }
    /// ```
    pub fn sleep(&self, duration: Duration) -> Sleep {
        Sleep::new(Arc::clone(&self.0.cell), (self.0.runtime().now)() + duration)
    }

    pub(crate) fn report(&self, event: &str, error: EmitError) {
        if let Some(io) = self.0.io() {
            io.report(Some(self), event, &HandlerError::Emit(error));
        }
    }
}

/// Rooms, and the end.
impl Socket {
    /// Joins a room, which begins to exist with its first member. In a middleware it is joined once
    /// the socket is let in.
    ///
    /// No room is named as a socket's id: what is sent to an id is for its socket alone, also where
    /// clients choose the names of their rooms. A socket is in the room of its own id from the
    /// beginning.
    ///
    /// # Errors
    /// If the socket is gone, or in as many rooms as it may be
    /// ([`max_rooms_per_socket`](sio_proto::Config::max_rooms_per_socket));
    /// [`EmitError::ReservedRoom`] if the name is the id of another socket, also of one that has
    /// gone.
    pub fn join(&self, room: impl AsRef<str>) -> Result<(), EmitError> {
        let (room, config) = (room.as_ref(), &self.0.cell.config);
        if self.0.is_asking() {
            let own = *room == *self.id();
            let named_as_socket = self.0.io().is_some_and(|io| io.router.shard_of(room).is_some());
            let joined = self.0.prepare(|entry| match named_as_socket {
                true if own => Ok(()),
                true => Err(EmitError::ReservedRoom),
                false => entry.join(room, config),
            });
            if let Some(joined) = joined {
                return joined;
            }
        }
        Ok(self.0.cell.ask(|state| state.shard.join(self.0.key, room))?)
    }

    /// Leaves a room, which ends with its last member.
    pub fn leave(&self, room: impl AsRef<str>) {
        let room = room.as_ref();
        if self.0.prepare(|entry| entry.leave(room)).is_none() {
            self.0.cell.ask(|state| state.shard.leave(self.0.key, room));
        }
    }

    /// The rooms it is in, the one of its own id among them. In
    /// [`on_disconnecting`](crate::Namespace::on_disconnecting) those that it was in, and none
    /// after that; in a middleware those that it will be in.
    #[must_use]
    pub fn rooms(&self) -> Vec<ByteString> {
        if let Some(rooms) = self.0.prepare(|entry| entry.rooms.clone()) {
            return rooms;
        }
        let last = || self.0.extras.get()?.last_rooms.lock().clone();
        let rooms = match self.is_connected() {
            true => Some(self.0.cell.ask(|state| state.shard.rooms(self.0.key))),
            false => last(),
        };
        rooms.map_or_else(Vec::new, |mut rooms| {
            rooms.push(ByteString::from(&*self.id()));
            rooms
        })
    }

    /// Makes the client leave this namespace. It will not connect again by itself.
    pub fn disconnect(&self) {
        self.end(false);
    }

    /// Closes the client's whole connection, all its namespaces with it.
    pub fn close(&self) {
        self.end(true);
    }

    fn end(&self, close: bool) {
        turn::act(self.0.runtime(), |turn| {
            self.0.cell.input(turn, |state, now, out| {
                state.shard.disconnect(now, self.0.key, close, out)
            });
        });
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("namespace", &self.namespace())
            .field("generation", &self.generation())
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}
