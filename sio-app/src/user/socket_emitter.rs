//! How to send to one socket, where that is not simply "this event".

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::args::Data;
use crate::error::EmitError;
use crate::user::ack::AckFuture;
use crate::user::socket::Socket;

/// One socket, and how to send to it: what [`Socket::volatile`](crate::Socket::volatile) and
/// [`Socket::timeout`](crate::Socket::timeout) give.
///
/// Only one socket can be asked for an acknowledgement, so what asks for one is here and on
/// [`Socket`](crate::Socket), and not on an [`Emitter`](crate::Emitter), which means many. What is
/// volatile for many is `socket.to(room).volatile()`.
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
}

impl SocketEmitter {
    pub(crate) fn new(socket: &Socket) -> Self {
        Self {
            socket: socket.clone(),
            volatile: false,
            timeout: None,
        }
    }

    /// Only if it can take it right now: for a state that the next message replaces anyway. Of
    /// several in a row the first is sent, as long as the code that sends them has not returned
    /// (outside of handlers, for a millisecond).
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// How long an acknowledgement may take.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends an event. What is wrong with the event itself (arguments, a reserved name, more bytes
    /// than a session's queue may hold) is reported to [`Io::on_error`](crate::Io::on_error); that
    /// the socket is gone, or was busy and the event volatile, is not.
    pub fn emit<A: Serialize>(self, event: &str, args: A) {
        let sent = self.socket.emit_with(event, &args, self.volatile);
        if let Err(error @ (EmitError::Args(_) | EmitError::Reserved(_) | EmitError::TooLarge)) = sent {
            self.socket.report(event, error);
        }
    }

    /// Sends a message without a name; see [`Socket::send`].
    pub fn send(self, data: impl Into<Data>) {
        self.emit("message", (data.into(),));
    }

    /// Sends an event and waits for its acknowledgement; see [`Socket::emit_with_ack`]. A volatile
    /// event that is not sent fails with [`EmitError::Dropped`].
    pub fn emit_with_ack<T: DeserializeOwned + 'static>(self, event: &str, args: impl Serialize) -> AckFuture<T> {
        self.socket.ask(event, &args, self.timeout, self.volatile)
    }
}
