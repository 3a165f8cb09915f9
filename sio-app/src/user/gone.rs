//! A future for the end of a socket. With it, a handler that takes long learns that nobody waits
//! for its result any more.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::turn::socket::SocketCell;

/// Waits until a socket is gone. [`Socket::gone`](crate::Socket::gone) returns it.
#[must_use = "await this to hear of the end"]
pub struct Gone {
    socket: Arc<SocketCell>,
    /// The number of its entry, after it has waited once.
    number: Option<u64>,
}

impl Gone {
    pub(crate) const fn new(socket: Arc<SocketCell>) -> Self {
        Self { socket, number: None }
    }
}

impl Future for Gone {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { socket, number } = &mut *self;
        if !socket.is_gone() {
            *number = Some(socket.mourners().wait(*number, cx.waker()));
        }
        // The socket may have gone before the waker was registered.
        if socket.is_gone() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.socket.mourners().forget(number);
        }
    }
}

impl fmt::Debug for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gone").finish_non_exhaustive()
    }
}
