//! The handle of one client in one namespace.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use serde::de::DeserializeOwned;
use sio_proto::server::{Generation, Handshake, TransportKind};

use crate::turn::socket::SocketCell;
use crate::turn::socket_id::{SocketId, WireId};
use crate::user::gone::Gone;
use crate::user::sleep::Sleep;
use crate::web::request;

/// One client in one namespace.
///
/// It is a handle: small, cheap to clone, and you may keep it anywhere. It never keeps a client
/// connected. When the client is gone, sending fails with
/// [`EmitError::Disconnected`](crate::EmitError::Disconnected), and everything else does nothing.
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

/// The identity of a socket.
impl Socket {
    /// Returns the socket's id. It is unique, also among the sockets of one client, and is the name
    /// of a room that only this socket is in. You may tell it to anybody.
    ///
    /// Clients from Socket.IO 3 on know themselves by this id, too. Older clients have another id:
    /// [`Socket::wire_id`].
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.0.id().clone()
    }

    /// Returns the id by which the client knows itself (`socket.id` in its own code). From
    /// Socket.IO 3 on this is [`Socket::id`]. **For older clients it is a secret**: it contains the
    /// id of the session, and anybody who knows it can read and send as the client. So tell it to
    /// nobody but the client itself, and keep it out of logs, broadcasts and stores.
    ///
    /// [`to`](Socket::to), [`Io::to`](crate::Io::to) and [`Io::socket`](crate::Io::socket) accept
    /// this id for the socket, for clients that name themselves by it.
    #[must_use]
    pub fn wire_id(&self) -> WireId {
        match self.0.reveal_wire_id() {
            Some(id) => WireId::new(id),
            None => WireId::new(self.0.id().as_str()),
        }
    }

    /// Returns the name of the namespace, which starts with `/`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.namespace()
    }

    /// Returns the request that opened the session: headers, query, address.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        self.0.handshake()
    }

    /// Returns the extension that another HTTP server has given with the request that opened the
    /// session: the value itself, or, with the feature `http`, the value of this type in its
    /// [`http::Extensions`](https://docs.rs/http/latest/http/struct.Extensions.html). Returns
    /// `None` if this server is not mounted in another HTTP server.
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        request::extension(self.handshake().extension.as_ref())
    }

    /// Returns what the client sent as `auth`, a JSON object. For clients before 3.0 it is the
    /// query that they sent with the namespace.
    #[must_use]
    pub fn auth_json(&self) -> Option<&str> {
        self.0.auth_json()
    }

    /// Returns what the client sent as `auth`, as a type. Returns `None` if the client sent
    /// nothing, or if `auth` is of another type.
    #[must_use]
    pub fn auth<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.auth_json()?).ok()
    }

    /// Returns the generation of the protocol that the client speaks.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.0.form.generation()
    }

    /// Returns the present transport, or `None` when the socket is gone.
    #[must_use]
    pub fn transport(&self) -> Option<TransportKind> {
        self.0.cell.ask("transport", |state| state.shard.transport(self.0.key))
    }

    /// Waits until the socket is gone. Handlers that wait go on when their client has left, as in
    /// JavaScript. They count as waiting
    /// ([`Options::max_waiting_events`](crate::Options::max_waiting_events)) until they end. Use
    /// this future in the `select` of your runtime to end a handler that nobody needs any more:
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

    /// Waits for this duration, on any runtime. It waits to the end even if this client goes away
    /// meanwhile.
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

    /// Whether the socket has been let into its namespace and is not gone. It may be gone a moment
    /// later.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }
}

/// Rooms, and the end of a socket.
impl Socket {
    /// Returns the rooms that the socket is in, including the room with its own id. In
    /// [`on_disconnecting`](crate::Namespace::on_disconnecting) it returns the rooms that the
    /// socket was in, and after that none, unless its client may come back: then it returns the
    /// rooms that the client comes back to. In a middleware it returns the rooms that the socket
    /// will be in.
    #[must_use]
    pub fn rooms(&self) -> Vec<ByteString> {
        if let Some(rooms) = self.0.prepare(|entry| entry.rooms.clone()) {
            return rooms;
        }
        let rooms = match self.is_connected() {
            true => Some(self.0.cell.ask("rooms", |state| state.shard.rooms(self.0.key))),
            false => self.0.last_rooms().or_else(|| self.0.cell.recovery.rooms(&self.0)),
        };
        rooms.map_or_else(Vec::new, |mut rooms| {
            rooms.push(ByteString::from(&*self.id()));
            rooms
        })
    }

    /// Makes the client leave this namespace. The client will not connect again by itself.
    pub fn disconnect(&self) {
        self.0.disconnect(false);
    }

    /// Closes the client's whole connection, with all its namespaces.
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
