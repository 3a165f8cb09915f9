//! The builder that says how a message goes to one socket.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_proto::server::Sent;

use crate::args::Data;
use crate::error::EmitError;
use crate::turn::policy::Policy;
use crate::user::ack::{self, AckFuture};
use crate::user::merging::counted;
use crate::user::message;
use crate::user::socket::Socket;

/// One socket, and how to send to it. [`Socket::volatile`](crate::Socket::volatile) and
/// [`Socket::timeout`](crate::Socket::timeout) return it.
///
/// Here, `timeout` and `volatile` mean this one socket. For many sockets, use
/// `socket.to(room).timeout(limit)` and `socket.to(room).volatile()`.
///
/// ```
/// # use std::time::Duration;
/// # use sio_app::{AckError, Socket};
/// # async fn example(socket: Socket) -> Result<(), AckError> {
/// socket.volatile().emit("position", (1, 2));
/// let age: u8 = socket.timeout(Duration::from_secs(5)).emit_with_ack("age", ()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "this only says how; end it with `emit` or another action"]
pub struct SocketEmitter {
    socket: Socket,
    volatile: bool,
    timeout: Option<Duration>,
    policy: Option<Policy>,
}

impl SocketEmitter {
    pub(crate) fn new(socket: &Socket) -> Self {
        Self {
            socket: socket.clone(),
            volatile: false,
            timeout: None,
            policy: None,
        }
    }

    /// Sends only if the client can take the message now. Use it for a state that the next message
    /// replaces anyway. If a handler sends several volatile messages in a row, only the first is
    /// sent until the handler returns. Outside of handlers, only the first message of a millisecond
    /// is sent.
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Sets how long an acknowledgement may take.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets what becomes of the event if the client does not take it at once. Volatile
    /// events, and events that ask for an acknowledgement, have no policy.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Sends an event. The result says whether the client gets it. Errors of the event itself (its
    /// arguments, a reserved name, more bytes than a session's queue may hold) are reported to
    /// [`Io::on_error`](crate::Io::on_error). No error is reported if the socket is gone, or if a
    /// volatile event was not sent because the transport was busy.
    pub fn emit<A: Serialize>(self, event: &str, args: A) -> Sent {
        let socket = &self.socket.0;
        let sent = match self.policy.filter(|_| !self.volatile) {
            None => message::send_event(socket, event, &args, None, self.volatile),
            Some(policy) => message::send_event_by(socket, event, &args, &policy),
        };
        let counted = counted(&sent);
        if let Err(
            error @ (EmitError::Args(_)
            | EmitError::Reserved(_)
            | EmitError::TooLarge
            | EmitError::KeyTooLong
            | EmitError::KeyFailed),
        ) = sent
        {
            socket.report(event, error);
        }
        counted
    }

    /// Sends a message without a name; see [`Socket::send`].
    pub fn send(self, data: impl Into<Data>) -> Sent {
        self.emit("message", (data.into(),))
    }

    /// Sends an event and waits for its acknowledgement; see [`Socket::emit_with_ack`]. A volatile
    /// event that is not sent fails with [`EmitError::Dropped`].
    pub fn emit_with_ack<T: DeserializeOwned + 'static>(self, event: &str, args: impl Serialize) -> AckFuture<T> {
        ack::ask(&self.socket.0, event, &args, self.timeout, self.volatile)
    }
}
