//! What waits, weighed: for a session, for its address, and for the whole server.
//!
//! Under way for a session are events whose turn has not come, handlers and middlewares that wait,
//! and acknowledgements that the application owes. Each is counted with the memory that it keeps,
//! until it is done: also when its socket or its session has gone in the meantime, so that nobody
//! gets rid of a debt by leaving.
//!
//! ```text
//!   enter ─► session ─► address ─► whole        one refuses: none has counted it
//! ```
//! The limits are asked before a handler is started ([`Load::has_room`]), and once more when it has
//! to wait.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sio_proto::server::network_of;

use crate::lock::Mutex;
use crate::options::Options;
use crate::user::socket::SocketInner;

/// How much may wait for one of those that are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_events: usize,
    pub(crate) max_bytes: usize,
}

/// Too much waits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

#[derive(Debug, Default)]
struct Count {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

impl Count {
    /// The first may be as large as it wants.
    fn enter(&self, bytes: usize, limits: Limits) -> bool {
        let (events, before) = self.add(bytes);
        let fits = events < limits.max_events && (events == 0 || before.saturating_add(bytes) <= limits.max_bytes);
        if !fits {
            self.leave(bytes);
        }
        fits
    }

    fn add(&self, bytes: usize) -> (usize, usize) {
        let events = self.events.fetch_add(1, Ordering::Relaxed);
        (events, self.bytes.fetch_add(bytes, Ordering::Relaxed))
    }

    fn leave(&self, bytes: usize) {
        self.events.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn has_room(&self, limits: Limits) -> bool {
        let events = self.events.load(Ordering::Relaxed);
        events == 0 && limits.max_events > 0
            || events < limits.max_events && self.bytes.load(Ordering::Relaxed) < limits.max_bytes
    }
}

/// What waits on a server, by address.
#[derive(Debug)]
pub(crate) struct Loads {
    session: Limits,
    address: Limits,
    whole: Limits,
    max_deciding: usize,
    ipv6_prefix: u8,
    count: Count,
    /// An address is here as long as something is under way for it, or it has sockets.
    addresses: Mutex<HashMap<IpAddr, Arc<Count>>>,
}

impl Loads {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            session: Limits {
                max_events: options.max_waiting_events,
                max_bytes: options.max_waiting_bytes,
            },
            address: Limits {
                max_events: options.max_waiting_events_per_address,
                max_bytes: options.max_waiting_bytes_per_address,
            },
            whole: Limits {
                max_events: options.max_total_waiting_events,
                max_bytes: options.max_total_waiting_bytes,
            },
            max_deciding: options.max_waiting_middlewares.max(1),
            ipv6_prefix: options.ipv6_prefix,
            count: Count::default(),
            addresses: Mutex::default(),
        }
    }

    /// A session begins.
    pub(crate) fn session(self: &Arc<Self>, peer: Option<SocketAddr>) -> Arc<Load> {
        let address = peer.map(|peer| network_of(peer.ip(), self.ipv6_prefix));
        let counted = address.map(|address| {
            let mut addresses = self.addresses.lock();
            let count = Arc::clone(addresses.entry(address).or_default());
            (address, count)
        });
        Arc::new(Load {
            own: Count::default(),
            address: counted,
            whole: Arc::clone(self),
            deciding: Mutex::default(),
        })
    }

    #[cfg(test)]
    pub(crate) fn addresses(&self) -> usize {
        self.addresses.lock().len()
    }
}

/// What waits for one session. It lives as long as one of its sockets, or something that is under
/// way for one of them.
pub(crate) struct Load {
    own: Count,
    address: Option<(IpAddr, Arc<Count>)>,
    whole: Arc<Loads>,
    deciding: Mutex<Deciding>,
}

/// CONNECTs of a session that wait for its middleware.
#[derive(Default)]
struct Deciding {
    /// How many middlewares are at work.
    running: usize,
    /// Whose turn has not come, in order. These are sockets that the shard knows, so their number
    /// is bounded by
    /// [`Config::max_namespaces_per_session`](crate::Config::max_namespaces_per_session).
    queue: VecDeque<Arc<SocketInner>>,
}

impl Load {
    /// Something of this size begins to wait.
    ///
    /// # Errors
    /// [`Overflow`] if that is too much for the session, the address or the whole. It is not
    /// counted then.
    pub(crate) fn enter(&self, bytes: usize) -> Result<(), Overflow> {
        let Loads {
            session,
            address,
            whole,
            count,
            ..
        } = &*self.whole;
        if !self.own.enter(bytes, *session) {
            return Err(Overflow);
        }
        if let Some((_, counted)) = &self.address
            && !counted.enter(bytes, *address)
        {
            self.own.leave(bytes);
            return Err(Overflow);
        }
        if !count.enter(bytes, *whole) {
            self.own.leave(bytes);
            self.address.iter().for_each(|(_, counted)| counted.leave(bytes));
            return Err(Overflow);
        }
        Ok(())
    }

    /// Something of this size waits, whether there is room for it or not.
    pub(crate) fn add(&self, bytes: usize) {
        self.counts().for_each(|count| {
            count.add(bytes);
        });
    }

    /// It does not wait any more.
    pub(crate) fn leave(&self, bytes: usize) {
        self.counts().for_each(|count| count.leave(bytes));
    }

    /// Whether one more thing may begin that might have to wait.
    pub(crate) fn has_room(&self) -> bool {
        let whole = &self.whole;
        self.own.has_room(whole.session)
            && whole.count.has_room(whole.whole)
            && self
                .address
                .as_ref()
                .is_none_or(|(_, count)| count.has_room(whole.address))
    }

    fn counts(&self) -> impl Iterator<Item = &Count> {
        let address = self.address.iter().map(|(_, count)| &**count);
        [&self.own, &self.whole.count].into_iter().chain(address)
    }

    /// A CONNECT needs the middleware of its namespace. False if it has to wait for others of its
    /// session; it is given out by [`Load::decided`] then.
    pub(crate) fn may_decide(&self, socket: &Arc<SocketInner>) -> bool {
        let mut deciding = self.deciding.lock();
        let free = deciding.running < self.whole.max_deciding && deciding.queue.is_empty();
        if free {
            deciding.running += 1;
        } else {
            deciding.queue.push_back(Arc::clone(socket));
        }
        free
    }

    /// A middleware has decided. The next one's turn has come.
    pub(crate) fn decided(&self) -> Option<Arc<SocketInner>> {
        let mut deciding = self.deciding.lock();
        let next = deciding.queue.pop_front();
        if next.is_none() {
            deciding.running -= 1;
        }
        next
    }

    /// The socket has gone. True if its CONNECT was waiting for its turn.
    pub(crate) fn withdraw(&self, socket: &Arc<SocketInner>) -> bool {
        let withdrawn = {
            let mut deciding = self.deciding.lock();
            let at = deciding.queue.iter().position(|waits| Arc::ptr_eq(waits, socket));
            at.and_then(|at| deciding.queue.remove(at))
        };
        withdrawn.is_some()
    }

    #[cfg(test)]
    pub(crate) fn of(limits: Limits) -> Arc<Self> {
        let options = Options::default()
            .max_waiting_events(limits.max_events)
            .max_waiting_bytes(limits.max_bytes);
        Arc::new(Loads::new(&options)).session(None)
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let Count { events, bytes } = &self.own;
        (events.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let Some((address, count)) = self.address.take() else {
            return;
        };
        let mut addresses = self.whole.addresses.lock();
        drop(count);
        if addresses
            .get(&address)
            .is_some_and(|count| Arc::strong_count(count) == 1)
        {
            addresses.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests;
