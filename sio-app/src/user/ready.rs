//! How much waits for a client, and a future for the moment at which its queue has room.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sio_proto::server::Queued;

use crate::error::EmitError;
use crate::turn::socket::SocketCell;
use crate::user::socket::Socket;

/// How much waits for the client.
impl Socket {
    /// Returns how many bytes and packets wait for the client, because it has not taken them yet.
    /// All sockets of a client share its queue
    /// ([`Config::max_queued_bytes`](crate::Config::max_queued_bytes),
    /// [`Config::max_queued_packets`](crate::Config::max_queued_packets)). A socket that is gone
    /// has an empty queue.
    #[must_use]
    pub fn queued(&self) -> Queued {
        let queued = self.0.cell.ask("queued", |state| state.shard.queued(self.0.key));
        queued.unwrap_or_default()
    }

    /// Waits until the queue of the client has room: at most half of its bytes and half of its
    /// packets are in use. With it, a handler sends as fast as the client reads:
    ///
    /// ```
    /// # use sio_app::{Io, Socket};
    /// # use sio_app::handler::HandlerResult;
    /// # fn register(io: &Io) {
    /// io.of("/").on("export", async |socket: Socket| -> HandlerResult {
    ///     for row in 0..1_000_000 {
    ///         socket.ready().await?;
    ///         socket.emit("row", row)?;
    ///     }
    ///     Ok(())
    /// });
    /// # }
    /// ```
    ///
    /// The future may be dropped at any time. It fails with [`EmitError::Disconnected`] when the
    /// socket is gone.
    pub fn ready(&self) -> Ready {
        self.ready_for(0)
    }

    /// Waits as [`Socket::ready`] does, and until so many bytes have room, too. An event takes some
    /// bytes more than its name and arguments have as JSON, so add a hundred. A client that takes
    /// what is sent has room for events that are larger than half of its queue, but its queue has
    /// not always: so a loop that sends such events waits for their size. More bytes than the whole
    /// queue holds are not waited for: the emit is refused as too large.
    pub fn ready_for(&self, bytes: usize) -> Ready {
        Ready {
            socket: Arc::clone(&self.0),
            bytes,
            number: None,
        }
    }
}

/// Waits until the queue of a client has room. [`Socket::ready`] and
/// [`Socket::ready_for`] return it.
#[must_use = "await this before you send more"]
pub struct Ready {
    socket: Arc<SocketCell>,
    /// How many bytes have to fit.
    bytes: usize,
    /// The number of its entry, after it has waited once.
    number: Option<u64>,
}

impl Ready {
    /// Whether there is room now. If there is none, the socket is told when there is.
    fn ask(&self) -> Poll<Result<(), EmitError>> {
        let socket = &self.socket;
        if socket.is_gone() {
            return Poll::Ready(Err(EmitError::Disconnected));
        }
        let asked = socket
            .cell
            .ask("ready", |state| state.shard.await_room(socket.key, self.bytes));
        match asked {
            Some(true) => Poll::Ready(Ok(())),
            Some(false) => Poll::Pending,
            None => Poll::Ready(Err(EmitError::Disconnected)),
        }
    }
}

impl Future for Ready {
    type Output = Result<(), EmitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(ready) = self.ask() {
            return Poll::Ready(ready);
        }
        let number = self.socket.awaiting_room().wait(self.number, cx.waker());
        self.number = Some(number);
        // There may be room since before the waker was registered.
        self.ask()
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.socket.awaiting_room().forget(number);
        }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}
