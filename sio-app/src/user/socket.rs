//! The handle of one client in one namespace.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_proto::server::{AckRequest, Generation, Handshake, TransportKind};

use crate::args::Data;
use crate::error::{EmitError, HandlerError};
use crate::turn::gone::Gone;
use crate::turn::sleep::Sleep;
use crate::turn::socket::SocketCell;
use crate::turn::socket_id::{SocketId, WireId};
use crate::user::ack::AckFuture;
use crate::user::emitter::Emitter;
use crate::user::io::{Inner, Io};
use crate::user::message;
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
pub struct Socket(pub(crate) Arc<SocketCell>);

/// Who it is.
impl Socket {
    /// The socket's id: unique, one per namespace, and the name of a room that only this socket is
    /// in. It may be told to anybody.
    ///
    /// Clients from Socket.IO 3 on know themselves by it, too. Older ones have an id of their own:
    /// [`Socket::wire_id`].
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.0.id().clone()
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
        match self.0.reveal_wire_id() {
            Some(id) => WireId::new(id),
            None => WireId::new(self.0.id().as_str()),
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
        self.0.handshake()
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
        self.0.auth_json()
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
        self.0.cell.ask("transport", |state| state.shard.transport(self.0.key))
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
        self.0.is_connected()
    }

    /// The whole that the socket belongs to; `None` after the end of the server.
    #[must_use]
    pub fn io(&self) -> Option<Io> {
        Inner::of(self.0.application()?).map(Io)
    }
}

/// Data of the application's own, by type.
impl Socket {
    /// Keeps a value with the socket, in place of an earlier one of the same type.
    pub fn set_data<T: Any + Send + Sync>(&self, value: T) {
        self.0.set_data(Arc::new(value));
    }

    /// The value of this type that was kept with the socket.
    #[must_use]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.data(TypeId::of::<T>())?.downcast().ok()
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
        let (id, slot) = self.0.open_ack();
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
        if let Some(application) = self.0.application() {
            application.report(Some(&self.0), event, &HandlerError::Emit(error));
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
            let named_as_socket = self
                .0
                .application()
                .is_some_and(|application| application.shards().is_id(room));
            let joined = self.0.prepare(|entry| match named_as_socket {
                true if own => Ok(()),
                true => Err(EmitError::ReservedRoom),
                false => entry.join(room, config),
            });
            if let Some(joined) = joined {
                return joined;
            }
        }
        Ok(self.0.cell.ask("join", |state| state.shard.join(self.0.key, room))?)
    }

    /// Leaves a room, which ends with its last member.
    pub fn leave(&self, room: impl AsRef<str>) {
        let room = room.as_ref();
        if self.0.prepare(|entry| entry.leave(room)).is_none() {
            self.0.cell.ask("leave", |state| state.shard.leave(self.0.key, room));
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
        let rooms = match self.is_connected() {
            true => Some(self.0.cell.ask("rooms", |state| state.shard.rooms(self.0.key))),
            false => self.0.last_rooms(),
        };
        rooms.map_or_else(Vec::new, |mut rooms| {
            rooms.push(ByteString::from(&*self.id()));
            rooms
        })
    }

    /// Makes the client leave this namespace. It will not connect again by itself.
    pub fn disconnect(&self) {
        self.0.disconnect(false);
    }

    /// Closes the client's whole connection, all its namespaces with it.
    pub fn close(&self) {
        self.0.disconnect(true);
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
