//! The driver of a server: the calls that only an adapter makes. Users of a server do not make
//! them.

use std::task::Waker;

use sio_proto::Time;
use sio_proto::http;
use sio_proto::server::{Extension, Peer, Request, Routed};

use crate::host::exchange::{Exchange, Exchanged};
use crate::turn;
use crate::user::io::Io;

/// Drives a server for an adapter: time, the shutdown, and requests that another HTTP server has
/// read.
///
/// An adapter makes a driver of the [`Io`] that it gives to its users. Like an [`Io`] it is a
/// handle, and cheap to clone.
///
/// ```
/// use std::task::Waker;
/// use sio_app::Io;
/// use sio_app::adapter::Driver;
///
/// /// One step of a loop that has no tasks: the time of all shards.
/// fn tick(io: &Io) {
///     let driver = Driver::new(io);
///     for shard in 0..driver.shards() {
///         let next = driver.handle_timeout(shard, Waker::noop());
///         // … and come again at this time.
///         # let _ = next;
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Driver(pub(super) Io);

impl Driver {
    /// Makes a driver of this server.
    #[must_use]
    pub fn new(io: &Io) -> Self {
        Self(io.clone())
    }

    /// Returns the server as its users hold it.
    #[must_use]
    pub const fn io(&self) -> &Io {
        &self.0
    }
}

/// Time, for adapters that do not use [`Driver::keep_time`]. Such an adapter needs one task for
/// each shard, and one for checks that need not be exact.
impl Driver {
    /// Returns the number of shards.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.0.0.shards.cells.len()
    }

    /// Handles the deadlines of a shard, and returns the time of the next call. `waker` is woken if
    /// this time becomes earlier.
    pub fn handle_timeout(&self, shard: usize, waker: &Waker) -> Option<Time> {
        let cell = self.0.0.shards.cells.get(shard)?;
        turn::run(self.0.0.runtime(), |turn| {
            let mut more = cell.input("timeout", turn, |state, now, out| {
                state.shard.handle_timeout(now, out);
                state.end_expired(now, out)
            });
            while more {
                more = cell.input("expire", turn, |state, now, out| state.end_expired(now, out));
            }
        });
        cell.wake_sleepers();
        cell.arm(waker)
    }

    /// Ends connections whose peers take longer than the [`Options`](crate::Options) allow. Call it
    /// about once a second.
    pub fn sweep(&self) {
        self.0.0.sweep();
    }
}

/// The end.
impl Driver {
    /// Ends all remaining connections without telling the clients. Call this when a shutdown has
    /// taken long enough. After it nothing more is accepted.
    pub fn abort(&self) {
        self.0.0.abort();
    }

    /// Drops all handlers and sockets. A handler often holds the [`Io`] that holds the handler.
    /// This breaks such a cycle. It is the last call, when everything has ended.
    pub fn clear(&self) {
        self.0.0.clear();
    }
}

/// Requests that another HTTP server has read.
impl Driver {
    /// Whether a request with this target may be for Socket.IO. This is a quick check that does not
    /// parse the target.
    #[must_use]
    pub fn concerns(&self, target: &str) -> bool {
        self.0.0.shards.router.concerns(target)
    }

    /// Takes up a request that another HTTP server has read. The body comes later
    /// ([`Exchange::body`]); a body in `head` is ignored.
    ///
    /// `extension` is called for requests that may open a session. The session keeps the returned
    /// value, and [`Socket::extension`](crate::Socket::extension) finds it.
    #[must_use]
    pub fn exchange(
        &self,
        head: http::Request,
        peer: Peer,
        extension: impl FnOnce() -> Option<Extension>,
    ) -> Exchanged {
        let mut request = Request::new(self.0.0.config(), head, peer);
        if self.0.0.shards.router.route(&mut request) == Routed::Foreign
            && self.0.0.client_file(&request.http).is_none()
        {
            return Exchanged::Foreign(Box::new(request.http));
        }
        if request.may_open_session() {
            request.extension = extension();
        }
        Exchange::new(&self.0, request).map_or(Exchanged::Full, Exchanged::Ours)
    }

    /// Takes up any request. The function of [`Io::on_request`] answers requests that are not for
    /// Socket.IO. Returns `None` if a limit of connections is reached.
    #[must_use]
    pub fn take_up(&self, head: http::Request, peer: Peer, extension: Option<Extension>) -> Option<Exchange> {
        let mut request = Request::new(self.0.0.config(), head, peer);
        request.extension = extension;
        Exchange::new(&self.0, request)
    }
}
