//! One namespace of a client, as its user sees it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_proto::client::{CommandError, Emit, EmitId, Offline, Recovery};

use super::events::Events;
use super::handle::Client;
use super::handlers::{ClientSide, OfEvent, SocketFn, Table};
use super::receipt::{AckFuture, EmitError, Receipt, Waiting};
use super::shared::{Alive, Place, Shared};
use super::slot::Slot;
use crate::args::{RawArgs, to_args};
use crate::error::RegisterError;
use crate::user::handler::{ConnectHandler, DisconnectHandler, EventHandler, Needs};
use crate::user::message::with_scratch;

/// One namespace of a client. It is a handle, cheap to clone, and keeps the client open.
///
/// Register handlers before [`Socket::connect`], so that none misses the first events. A handler
/// takes a `Socket` as a parameter. It should not capture one: a client with such a handler does
/// not close when its other handles are dropped, but only by [`Client::close`].
#[derive(Clone)]
pub struct Socket {
    alive: Arc<Alive>,
    place: Arc<Place>,
}

/// Why a namespace cannot connect.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The client has closed, or the namespace is not valid.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A handler could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The `auth` cannot be written as a JSON object.
    #[error("the auth is no JSON object: {0}")]
    Auth(String),
}

crate::readable::says_why!(ConnectError);

/// An event that waits for a connection.
#[derive(Debug)]
pub struct Pending {
    /// The number of the emit, as in [`Receipt::id`].
    pub id: EmitId,
    /// The name.
    pub name: ByteString,
    /// The arguments.
    pub args: RawArgs,
    /// How long it has waited.
    pub age: Duration,
}

impl Socket {
    pub(super) const fn new(alive: Arc<Alive>, place: Arc<Place>) -> Self {
        Self { alive, place }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.alive.0
    }

    pub(super) const fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.alive))
    }

    /// Returns the name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.place.namespace
    }

    /// Returns the id that the server has given, while the namespace is connected.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        let connection = self.place.connection.lock();
        connection.as_ref().map(|(sid, _)| sid.to_string())
    }

    /// Returns whether the connection goes on from the one before, while the namespace is
    /// connected.
    #[must_use]
    pub fn recovery(&self) -> Option<Recovery> {
        self.place.connection.lock().as_ref().map(|(_, recovery)| *recovery)
    }

    /// Whether the namespace is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let core = self.shared().core.lock_for("is connected");
        core.machine.is_connected(self.place.id)
    }

    /// Connects the namespace, and keeps it connected: after a loss, the client connects again by
    /// itself. It begins again after a refusal, or after the client has stopped. The call does not
    /// wait.
    ///
    /// # Errors
    /// If the client has closed, or if a handler could not be registered.
    pub fn connect(&self) -> Result<(), ConnectError> {
        let mistake = self.shared().mistake.lock().clone();
        if let Some(mistake) = mistake {
            return Err(mistake.into());
        }
        let id = self.place.id;
        Ok(self.shared().command(|core, now| core.machine.connect(now, id))?)
    }

    /// Leaves the namespace. It does not come back by itself. The connection is closed with the
    /// last namespace. Events that wait go on waiting.
    pub fn disconnect(&self) {
        let id = self.place.id;
        // The namespace exists.
        let _ = self.shared().command(|core, now| core.machine.disconnect(now, id));
    }

    /// Sets the `auth` of this namespace, which the server gets with each connection from now on. A
    /// provider ([`ClientBuilder::credentials`](super::ClientBuilder::credentials)) counts before
    /// it.
    ///
    /// # Errors
    /// If the value is no JSON object.
    pub fn set_auth<T: Serialize + ?Sized>(&self, auth: &T) -> Result<(), ConnectError> {
        let text = serde_json::to_string(auth).map_err(|error| ConnectError::Auth(error.to_string()))?;
        let mut core = self.shared().core.lock_for("set auth");
        Ok(core.machine.set_auth(self.place.id, Some(text.into()))?)
    }
}

/// Handlers.
impl Socket {
    /// Handles an event. Handlers are those of a server: functions, `async` or not, whose
    /// parameters say what they need. See [`handler`](crate::handler). [`Socket`], [`Client`] and
    /// [`State<T>`](crate::State) stand first, then the arguments as one type (a tuple for
    /// several), then [`Ack`](super::Ack). Several handlers of one event are all called, in their
    /// order.
    ///
    /// If the handler cannot be registered, [`Socket::connect`] says why.
    pub fn on<M, H: EventHandler<M, ClientSide>>(&self, event: &str, handler: H) -> &Self {
        self.add(event, handler, None)
    }

    /// Handles the next event with this name, and no later one.
    pub fn once<M, H: EventHandler<M, ClientSide>>(&self, event: &str, handler: H) -> &Self {
        self.add(event, handler, Some(Arc::default()))
    }

    fn add<M, H: EventHandler<M, ClientSide>>(&self, event: &str, handler: H, once: Option<Arc<AtomicBool>>) -> &Self {
        if let Err(mistake) = RegisterError::of_name(event) {
            self.shared().note_mistake(mistake);
            return self;
        }
        self.check(H::needs(), event);
        let of_event = OfEvent {
            handler: Arc::new(move |call| handler.call(call)),
            once,
        };
        self.change(|table| table.events.entry(event.into()).or_default().push(of_event))
    }

    /// Removes all handlers of an event.
    pub fn off(&self, event: &str) {
        // The table before keeps the handlers until no lock is held.
        self.change(|table| drop(table.events.remove(event)));
    }

    /// Calls the function for every event, before its handlers.
    pub fn on_any(&self, handler: impl Fn(&Self, &str, &RawArgs) + Send + Sync + 'static) -> &Self {
        self.change(|table| table.any.push(Arc::new(handler)))
    }

    /// Handles each connection of the namespace, also after a loss. Events of a recovered
    /// connection that were sent meanwhile come before it, as in JavaScript.
    pub fn on_connect<M, H: ConnectHandler<M, ClientSide>>(&self, handler: H) -> &Self {
        self.check(H::needs(), "connect");
        let handler: SocketFn = Arc::new(move |call| handler.call(call));
        self.change(|table| table.connect.push(handler))
    }

    /// Handles each failure to connect. Besides extractors, the handler may ask for the
    /// [`ClientError`](super::ClientError). After a refusal ([`ErrorClass::Refused`]) the namespace
    /// stays disconnected until [`Socket::connect`].
    ///
    /// [`ErrorClass::Refused`]: super::ErrorClass::Refused
    pub fn on_connect_error<M, H: DisconnectHandler<M, ClientSide>>(&self, handler: H) -> &Self {
        self.check(H::needs(), "connect_error");
        let handler: SocketFn = Arc::new(move |call| handler.call(call));
        self.change(|table| table.connect_error.push(handler))
    }

    /// Handles each end of a connection of the namespace. Besides extractors, the handler may ask
    /// for the [`DisconnectReason`](super::DisconnectReason).
    pub fn on_disconnect<M, H: DisconnectHandler<M, ClientSide>>(&self, handler: H) -> &Self {
        self.check(H::needs(), "disconnect");
        let handler: SocketFn = Arc::new(move |call| handler.call(call));
        self.change(|table| table.disconnect.push(handler))
    }

    /// Returns the events of this namespace from now on, as a stream. Call it before
    /// [`Socket::connect`].
    pub fn events(&self) -> Events {
        Events::new(&self.alive, &self.place.inboxes)
    }

    fn change(&self, change: impl FnOnce(&mut Table)) -> &Self {
        self.place.handlers.change(change);
        self
    }

    /// Notes a state that a handler needs and the client was not given.
    fn check(&self, needs: Needs, event: &str) {
        let shared = self.shared();
        let missing = needs.states.into_iter().find(|(id, _)| !shared.states.has(*id));
        if let Some((_, state)) = missing {
            let handler = format!("the handler of {event:?}");
            shared.note_mistake(RegisterError::NoState { state, handler });
        }
    }
}

/// Sending.
impl Socket {
    /// Sends an event, or keeps it until the namespace is connected, within
    /// [`ClientConfig::max_queued_bytes`](super::ClientConfig::max_queued_bytes). Arguments are a
    /// tuple, or one value of any serializable type; `()` means no arguments. The call does not
    /// wait.
    ///
    /// # Errors
    /// If the client has not taken the event.
    pub fn emit<A: Serialize>(&self, event: &str, args: A) -> Result<(), EmitError> {
        SocketEmitter::new(self).emit(event, args)
    }

    /// Sends an event and waits for the server's acknowledgement, for at most
    /// [`ClientConfig::ack_timeout`](super::ClientConfig::ack_timeout).
    pub fn emit_with_ack<T: DeserializeOwned + 'static>(&self, event: &str, args: impl Serialize) -> AckFuture<T> {
        SocketEmitter::new(self).emit_with_ack(event, args)
    }

    /// Sends an event, and returns a future for its end.
    ///
    /// # Errors
    /// If the client has not taken the event.
    pub fn emit_with_receipt(&self, event: &str, args: impl Serialize) -> Result<Receipt, EmitError> {
        SocketEmitter::new(self).emit_with_receipt(event, args)
    }

    /// Sets how long acknowledgements may take.
    pub fn timeout(&self, timeout: Duration) -> SocketEmitter {
        SocketEmitter::new(self).timeout(timeout)
    }

    /// Sends only if the transport can take the event now.
    pub fn volatile(&self) -> SocketEmitter {
        SocketEmitter::new(self).offline(Offline::Volatile)
    }

    /// Chooses what happens to an event while the namespace is not connected.
    pub fn offline(&self, offline: Offline) -> SocketEmitter {
        SocketEmitter::new(self).offline(offline)
    }

    /// Returns the events that wait to be written, in their order.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let now = self.shared().now();
        let core = self.shared().core.lock_for("pending");
        let pending = core.machine.pending(self.place.id);
        let copy = |event: sio_proto::client::Pending<'_>| Pending {
            id: event.emit,
            name: event.name.clone(),
            args: RawArgs(event.args.clone()),
            age: now.saturating_since(event.since),
        };
        pending.map(copy).collect()
    }

    /// Takes an event out of the queue. Returns false if it does not wait there any more.
    pub fn remove_pending(&self, id: EmitId) -> bool {
        self.shared().command(|core, _| core.machine.remove_pending(id))
    }

    /// Gives an event that waits another name and other arguments. It keeps its place in the queue,
    /// its receipt and its times. Returns false if it does not wait any more, or if it was written
    /// before and waits to be written again: then it stays what it was.
    ///
    /// # Errors
    /// If the client does not take the new event. The old one waits on.
    pub fn replace_pending(&self, id: EmitId, event: &str, args: impl Serialize) -> Result<bool, EmitError> {
        let args = with_scratch(|scratch| to_args(&args, scratch))?;
        let replaced = self
            .shared()
            .command(|core, _| core.machine.replace_pending(id, event, args));
        replaced.map_err(EmitError::from)
    }

    /// Takes all events of this namespace out of the queue.
    pub fn clear_pending(&self) {
        let id = self.place.id;
        self.shared().command(|core, _| core.machine.clear_pending(id));
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("namespace", &self.place.namespace)
            .finish_non_exhaustive()
    }
}

/// One namespace, and how to send to its server. [`Socket::timeout`], [`Socket::volatile`] and
/// [`Socket::offline`] return it.
#[derive(Clone, Debug)]
#[must_use = "this only says how; end it with `emit` or another action"]
pub struct SocketEmitter {
    socket: Socket,
    timeout: Option<Duration>,
    offline: Offline,
}

impl SocketEmitter {
    fn new(socket: &Socket) -> Self {
        Self {
            socket: socket.clone(),
            timeout: None,
            offline: Offline::default(),
        }
    }

    /// Sets how long an acknowledgement may take.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Chooses what happens to an event while the namespace is not connected.
    pub fn offline(mut self, offline: Offline) -> Self {
        self.offline = offline;
        self
    }

    /// Sends an event; see [`Socket::emit`].
    ///
    /// # Errors
    /// If the client has not taken the event. A volatile event that is dropped is no error.
    pub fn emit<A: Serialize>(self, event: &str, args: A) -> Result<(), EmitError> {
        let emit = self.draft(event, &args, false)?;
        let id = self.socket.place.id;
        let taken = self
            .socket
            .shared()
            .command(|core, now| core.machine.emit(now, id, emit));
        taken.map(drop).map_err(EmitError::from)
    }

    /// Sends an event and waits for its acknowledgement; see [`Socket::emit_with_ack`].
    pub fn emit_with_ack<T: DeserializeOwned + 'static>(self, event: &str, args: impl Serialize) -> AckFuture<T> {
        AckFuture::new(self.wait_for(event, &args, true))
    }

    /// Sends an event, and returns a future for its end; see [`Socket::emit_with_receipt`].
    ///
    /// # Errors
    /// If the client has not taken the event.
    pub fn emit_with_receipt(self, event: &str, args: impl Serialize) -> Result<Receipt, EmitError> {
        self.wait_for(event, &args, false).map(Receipt)
    }

    fn draft<A: Serialize>(&self, event: &str, args: &A, ack: bool) -> Result<Emit, EmitError> {
        let args = with_scratch(|scratch| to_args(args, scratch))?;
        let mut emit = Emit::new(event, args).offline(self.offline.clone());
        (emit.ack, emit.timeout) = (ack, self.timeout);
        Ok(emit)
    }

    fn wait_for<A: Serialize>(&self, event: &str, args: &A, ack: bool) -> Result<Waiting, EmitError> {
        let emit = self.draft(event, args, ack)?;
        let (id, slot) = (self.socket.place.id, Arc::new(Slot::new()));
        let taken = self.socket.shared().command(|core, now| {
            let emit = core.machine.emit(now, id, emit)?;
            core.waiting.insert(emit, Arc::clone(&slot));
            Ok(emit)
        });
        let emit = taken.map_err(|error: sio_proto::client::EmitError| EmitError::from(error))?;
        Ok(Waiting::new(Arc::clone(&self.socket.alive), emit, slot))
    }
}
