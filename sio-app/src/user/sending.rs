//! The methods of a [`Socket`] that send: to its own client, and to others.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::Data;
use crate::error::{EmitError, Unsent};
use crate::turn::policy::Policy;
use crate::user::ack::{self, AckFuture};
use crate::user::emitter::Emitter;
use crate::user::message;
use crate::user::rooms::Rooms;
use crate::user::socket::Socket;
use crate::user::socket_emitter::SocketEmitter;

/// Sending.
impl Socket {
    /// Sends an event to this client.
    ///
    /// Arguments are a tuple, or one value of any serializable type; `()` means no arguments. See
    /// [`args`](crate::args). The call does not wait: the event is queued, and leaves when the
    /// handler returns. Outside of handlers it leaves at once.
    ///
    /// # Errors
    /// If the socket is gone, its queue is full, the arguments cannot be written, or the name is
    /// reserved.
    pub fn emit<A: Serialize>(&self, event: &str, args: A) -> Result<(), EmitError> {
        message::send_event(&self.0, event, &args, None, false)
    }

    /// Says what becomes of an event if the client does not take it at once; see [`Policy`].
    pub fn policy(&self, policy: Policy) -> SocketEmitter {
        SocketEmitter::new(self).policy(policy)
    }

    /// Sends an event as [`Socket::emit`] does. If the event cannot be sent, the caller gets the
    /// arguments back, and can send them later.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sio_app::{EmitError, Socket};
    /// # async fn send(socket: Socket, mut text: String) -> Result<(), EmitError> {
    /// while let Err(unsent) = socket.try_emit("line", text) {
    ///     if !matches!(unsent.error, EmitError::Full) {
    ///         return Err(unsent.error);
    ///     }
    ///     text = unsent.args;
    ///     socket.sleep(Duration::from_millis(100)).await;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of [`Socket::emit`], with the arguments.
    pub fn try_emit<A: Serialize>(&self, event: &str, args: A) -> Result<(), Unsent<A>> {
        message::send_event(&self.0, event, &args, None, false).map_err(|error| Unsent { error, args })
    }

    /// Sends a message without a name. Clients get it as the event `message`. Clients of 0.6 have
    /// no other messages.
    ///
    /// # Errors
    /// The errors of [`Socket::emit`].
    pub fn send(&self, data: impl Into<Data>) -> Result<(), EmitError> {
        self.emit("message", (data.into(),))
    }

    /// Sends an event and waits for the client's acknowledgement. It waits for ever, unless
    /// [`Socket::timeout`] sets a limit.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sio_app::{AckError, Socket};
    /// # async fn ask(socket: Socket) -> Result<(), AckError> {
    /// let (name, age): (String, u8) = socket.timeout(Duration::from_secs(5)).emit_with_ack("who", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_with_ack<T: DeserializeOwned + 'static>(&self, event: &str, args: impl Serialize) -> AckFuture<T> {
        ack::ask(&self.0, event, &args, None, false)
    }

    /// Chooses all other sockets of the namespace: `socket.broadcast().emit(…)`.
    pub fn broadcast(&self) -> Emitter {
        Emitter::from_socket(self)
    }

    /// Chooses the members of a room, or of several rooms, without this socket.
    pub fn to<M>(&self, rooms: impl Rooms<M>) -> Emitter {
        Emitter::from_socket(self).to(rooms)
    }

    /// Chooses all other sockets of the namespace that are in none of these rooms.
    pub fn except<M>(&self, rooms: impl Rooms<M>) -> Emitter {
        Emitter::from_socket(self).except(rooms)
    }

    /// Chooses all sockets of the namespace, including this one.
    pub fn all(&self) -> Emitter {
        Emitter::new(self.0.cell.application.clone(), self.0.namespace().clone())
    }

    /// Chooses this socket, unless its transport is busy.
    pub fn volatile(&self) -> SocketEmitter {
        SocketEmitter::new(self).volatile()
    }

    /// To all other sockets of the namespace that are of this node. Without a cluster there is no
    /// other node.
    pub fn local(&self) -> Emitter {
        Emitter::from_socket(self).local()
    }

    /// Sets how long acknowledgements may take.
    pub fn timeout(&self, timeout: Duration) -> SocketEmitter {
        SocketEmitter::new(self).timeout(timeout)
    }
}
