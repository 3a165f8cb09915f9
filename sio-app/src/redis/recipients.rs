//! To whom an emitter sends, and how.

use bytestring::ByteString;
use serde::Serialize;
use sio_proto::cluster::{Flags, Order, Target};

use super::emitter::{ClusterEmitter, EmitterError, written};
use crate::args::Data;
use crate::user::rooms::Rooms;

/// A choice of sockets of a cluster, and how to send to them. The methods of [`ClusterEmitter`]
/// start it. They mean the same as those of [`Emitter`](crate::Emitter), the builder of a server.
#[derive(Clone, Debug)]
#[must_use = "this only says to whom; end it with `emit` or another action"]
pub struct Recipients {
    emitter: ClusterEmitter,
    namespace: ByteString,
    target: Target,
    flags: Flags,
    /// Set when rooms have been given, even by an empty list. If the target names no room then,
    /// nobody is chosen.
    nobody: bool,
}

impl Recipients {
    pub(super) fn new(emitter: ClusterEmitter, namespace: ByteString) -> Self {
        Self {
            emitter,
            namespace,
            target: Target::default(),
            flags: Flags::default(),
            nobody: false,
        }
    }

    /// Chooses the members of this room, or of several rooms. After several calls, it chooses the
    /// members of any of these rooms. An empty list of rooms chooses nobody. The id of a socket is
    /// a room, too, whose only member is this socket.
    pub fn to<M>(mut self, rooms: impl Rooms<M>) -> Self {
        self.nobody = true;
        let _ = rooms.each(|room| {
            self.target.rooms.push(room.into());
            Ok(())
        });
        self
    }

    /// Leaves out the members of this room, or of several rooms.
    pub fn except<M>(mut self, rooms: impl Rooms<M>) -> Self {
        let _ = rooms.each(|room| {
            self.target.except.push(room.into());
            Ok(())
        });
        self
    }

    /// Sends only to clients that can take the message now. The message waits for the broker as
    /// others do: only servers know which of their clients are busy.
    pub const fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Says whether servers may compress the message for clients whose connections have
    /// compression. Default true.
    pub const fn compress(mut self, may: bool) -> Self {
        self.flags.compress = may;
        self
    }

    /// Sends an event to the chosen sockets. Nobody can acknowledge it.
    ///
    /// # Errors
    /// If the arguments cannot be written, the name is reserved, the message is too large, too much
    /// waits for the broker, or the emitter is closed. A broker that is away is no error:
    /// [`ClusterEmitter::flush`] says whether it has got the message.
    pub fn emit<A: Serialize>(self, event: &str, args: A) -> Result<(), EmitterError> {
        let (emit, flags) = (written(event, &args)?, self.flags);
        self.order(|to| Order::Broadcast { to, flags, emit })
    }

    /// Sends a message without a name, which clients get as the event `message`.
    ///
    /// # Errors
    /// Those of [`emit`](Self::emit).
    pub fn send(self, data: impl Into<Data>) -> Result<(), EmitterError> {
        self.emit("message", (data.into(),))
    }

    /// Makes the chosen sockets join a room, or several rooms.
    ///
    /// # Errors
    /// Those of [`emit`](Self::emit).
    pub fn join<M>(self, rooms: impl Rooms<M>) -> Result<(), EmitterError> {
        let rooms = names(rooms);
        self.order(|to| Order::Join { to, rooms })
    }

    /// Makes the chosen sockets leave a room, or several rooms.
    ///
    /// # Errors
    /// Those of [`emit`](Self::emit).
    pub fn leave<M>(self, rooms: impl Rooms<M>) -> Result<(), EmitterError> {
        let rooms = names(rooms);
        self.order(|to| Order::Leave { to, rooms })
    }

    /// Makes the chosen sockets leave the namespace.
    ///
    /// # Errors
    /// Those of [`emit`](Self::emit).
    pub fn disconnect(self) -> Result<(), EmitterError> {
        self.order(|to| Order::Disconnect { to, close: false })
    }

    /// Closes the whole connections of the chosen sockets.
    ///
    /// # Errors
    /// Those of [`emit`](Self::emit).
    pub fn close(self) -> Result<(), EmitterError> {
        self.order(|to| Order::Disconnect { to, close: true })
    }

    /// Sends an event to all servers that have the namespace, whose handlers
    /// ([`Namespace::on_server_side`](crate::Namespace::on_server_side)) get it. Rooms that were
    /// chosen do not matter. Nobody can answer.
    ///
    /// # Errors
    /// Those of [`emit`](Self::emit). The names `connection`, `new_namespace` and `error` are
    /// reserved, too, because servers of Node.js end when they hear them.
    pub fn server_side_emit<A: Serialize>(self, event: &str, args: A) -> Result<(), EmitterError> {
        self.emitter.tell_servers(&self.namespace, written(event, &args)?)
    }

    fn order(self, order: impl FnOnce(Target) -> Order) -> Result<(), EmitterError> {
        if self.nobody && self.target.rooms.is_empty() {
            return Ok(());
        }
        self.emitter.order(&self.namespace, order(self.target))
    }
}

fn names<M>(rooms: impl Rooms<M>) -> Vec<ByteString> {
    let mut names = Vec::new();
    let _ = rooms.each(|room| {
        names.push(room.into());
        Ok(())
    });
    names
}
