//! A socket of this node or of another node of the cluster, as it was when somebody asked.

use std::fmt;
use std::sync::Weak;

use bytestring::ByteString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::ArgsError;
use crate::turn::application::Application;
use crate::user::emitter::Emitter;
use crate::user::rooms::Rooms;
use crate::user::shared_data::handshake_json;
use crate::user::socket::Socket;

/// A socket of any node of the cluster, as it was when it was asked for
/// ([`Emitter::fetch_sockets`]). What is said of it goes to the socket wherever it is.
///
/// A client of an older generation has its public id here, as everywhere ([`Socket::id`]).
#[derive(Clone)]
pub struct RemoteSocket {
    pub(crate) application: Weak<dyn Application>,
    pub(crate) namespace: ByteString,
    pub(crate) id: ByteString,
    pub(crate) rooms: Vec<ByteString>,
    pub(crate) handshake: ByteString,
    pub(crate) data: ByteString,
}

/// What is known of it.
impl RemoteSocket {
    /// Describes a socket of this node.
    pub(crate) fn of(socket: &Socket) -> Self {
        let cell = &socket.0;
        Self {
            application: cell.cell.application.clone(),
            namespace: cell.namespace().clone(),
            id: cell.id().as_str().into(),
            rooms: socket.rooms(),
            handshake: handshake_json(cell),
            data: socket.shared_data_json(),
        }
    }

    /// Returns the id of the socket.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name of its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the rooms that the socket was in, including the room with its own id.
    #[must_use]
    pub fn rooms(&self) -> &[ByteString] {
        &self.rooms
    }

    /// Returns the handshake as a JSON object with the fields of JavaScript's `handshake`:
    /// `headers`, `time`, `address`, `xdomain`, `secure`, `issued`, `url`, `query`, `auth`.
    #[must_use]
    pub fn handshake_json(&self) -> &str {
        &self.handshake
    }

    /// Returns the data that its node shows of it, as JSON ([`Socket::set_shared_data`];
    /// JavaScript's `socket.data`).
    #[must_use]
    pub fn data_json(&self) -> &str {
        &self.data
    }

    /// Returns the data that its node shows of it, as a type.
    ///
    /// # Errors
    /// If the data is of another type.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        serde_json::from_str(&self.data).map_err(ArgsError::new)
    }
}

/// What is said to it.
impl RemoteSocket {
    fn chosen(&self) -> Emitter {
        Emitter::new(Weak::clone(&self.application), self.namespace.clone()).to(&*self.id)
    }

    /// Sends an event to the socket.
    pub fn emit<A: Serialize>(&self, event: &str, args: A) {
        self.chosen().emit(event, args);
    }

    /// Makes the socket join a room, or several rooms.
    pub fn join<M>(&self, rooms: impl Rooms<M>) {
        self.chosen().join(rooms);
    }

    /// Makes the socket leave a room, or several rooms.
    pub fn leave<M>(&self, rooms: impl Rooms<M>) {
        self.chosen().leave(rooms);
    }

    /// Makes the socket leave its namespace.
    pub fn disconnect(&self) {
        self.chosen().disconnect();
    }

    /// Closes the whole connection of the socket.
    pub fn close(&self) {
        self.chosen().close();
    }

    /// Returns the socket itself, if it is on this node and connected.
    #[must_use]
    pub fn local(&self) -> Option<Socket> {
        let application = self.application.upgrade()?;
        let cell = application.shards().find(&self.id)?;
        (*cell.namespace() == self.namespace).then_some(Socket(cell))
    }
}

impl fmt::Debug for RemoteSocket {
    /// The handshake may contain secrets, so it is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSocket")
            .field("namespace", &self.namespace)
            .field("id", &self.id)
            .field("rooms", &self.rooms)
            .finish_non_exhaustive()
    }
}
