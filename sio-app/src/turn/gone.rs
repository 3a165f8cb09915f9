//! A future for the end of a socket. With it, a handler that takes long learns that nobody waits
//! for its result any more.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::lock::Mutex;
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

/// The futures that wait for the end of a socket. Each has one entry, which is removed together
/// with the future.
#[derive(Debug, Default)]
pub(crate) struct Mourners(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    count: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl Mourners {
    fn wait(&self, number: Option<u64>, waker: &Waker) -> u64 {
        let waker = waker.clone();
        let (number, _old) = {
            let mut waiting = self.0.lock();
            waiting.count += 1;
            let number = number.unwrap_or(waiting.count);
            (number, waiting.wakers.insert(number, waker))
        };
        number
    }

    fn forget(&self, number: u64) {
        let waker = self.0.lock().wakers.remove(&number);
        drop(waker);
    }

    /// Wakes all futures, because the socket is gone.
    pub(crate) fn wake(&self) {
        let wakers = std::mem::take(&mut self.0.lock().wakers);
        wakers.into_values().for_each(Waker::wake);
    }
}
