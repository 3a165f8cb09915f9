//! Counts what waits, in number and in bytes: for a session, for its address, and for the whole
//! server.
//!
//! These things are counted: events whose turn has not come, handlers and middlewares that wait,
//! and acknowledgements that the application owes. Each counts, with the memory that it keeps,
//! until it is done. It still counts when its socket or its session has gone meanwhile, so that a
//! client cannot lower its count by leaving.
//!
//! ```text
//!   enter ─► session ─► address ─► whole        one refuses: none has counted it
//! ```
//! The limits are checked before a handler is started ([`Load::has_room`]), and again when the
//! handler has to wait.
//!
//! Most clients never make anything wait. So a session has a count of its address only from the
//! first thing on that waits for it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use once_cell::race::OnceBox;
use sio_proto::server::{Handshake, network_of};

use crate::lock::Mutex;
use crate::options::Options;
use crate::turn::mourners::Mourners;
use crate::turn::socket::SocketCell;

/// The limits for one session, one address, or the whole server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_events: usize,
    pub(crate) max_bytes: usize,
}

/// The error when too much waits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

#[derive(Debug, Default)]
struct Count {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

impl Count {
    /// Counts one more thing, if the limits allow it. The first may have any size.
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
        self.events.fetch_sub(1, Ordering::SeqCst);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn has_room(&self, limits: Limits) -> bool {
        let events = self.events.load(Ordering::Relaxed);
        events == 0 && limits.max_events > 0
            || events < limits.max_events && self.bytes.load(Ordering::Relaxed) < limits.max_bytes
    }
}

/// The counts of a server, by address.
#[derive(Debug)]
pub(crate) struct Loads {
    session: Limits,
    address: Limits,
    whole: Limits,
    max_deciding: u32,
    ipv6_prefix: u8,
    count: Count,
    /// How many connections wait for handlers that lag.
    lagging: AtomicUsize,
    /// Whether any client has a limit of what it may send.
    measures: AtomicBool,
    /// An address is kept as long as it has sockets for which something has waited or had to be
    /// asked for while much waited in the whole server, or something is under way for it.
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
            max_deciding: u32::try_from(options.max_waiting_middlewares)
                .unwrap_or(u32::MAX)
                .clamp(1, QUEUED - 1),
            ipv6_prefix: options.ipv6_prefix,
            count: Count::default(),
            lagging: AtomicUsize::new(0),
            measures: AtomicBool::new(false),
            addresses: Mutex::default(),
        }
    }

    /// Makes the count of a new session, which this request has opened.
    pub(crate) fn session(self: &Arc<Self>, handshake: Arc<Handshake>) -> Arc<Load> {
        Arc::new(Load {
            own: Count::default(),
            handshake,
            whole: Arc::clone(self),
            is_awaited: AtomicU32::new(0),
            deciding: AtomicU32::new(0),
            rare: OnceBox::new(),
        })
    }

    /// Returns the count of an address.
    fn of_address(&self, address: IpAddr) -> Arc<Count> {
        Arc::clone(self.addresses.lock().entry(address).or_default())
    }

    /// Forgets an address if this was the last count of it.
    fn leave_address(&self, address: IpAddr, count: Arc<Count>) {
        let mut addresses = self.addresses.lock();
        drop(count);
        if addresses
            .get(&address)
            .is_some_and(|count| Arc::strong_count(count) == 1)
        {
            addresses.remove(&address);
            let room = addresses.capacity();
            if room > 1024 && addresses.len() < room / 4 {
                addresses.shrink_to(room / 2);
            }
        }
    }

    /// Whether so little waits that each address has room, also for its first thing.
    fn is_roomy(&self) -> bool {
        let Limits { max_events, max_bytes } = self.address;
        self.count.events.load(Ordering::Relaxed) < max_events && self.count.bytes.load(Ordering::Relaxed) < max_bytes
    }

    /// Notes that clients have limits of what they may send.
    pub(crate) fn set_measures(&self) {
        self.measures.store(true, Ordering::Relaxed);
    }

    /// Whether clients have limits of what they may send.
    pub(crate) fn measures(&self) -> bool {
        self.measures.load(Ordering::Relaxed)
    }

    /// Whether POSTs have to ask before they are handed over: some client has a limit, or the
    /// handlers of some session lag.
    pub(crate) fn paces(&self) -> bool {
        self.measures() || self.lagging.load(Ordering::Relaxed) > 0
    }

    #[cfg(test)]
    pub(crate) fn addresses(&self) -> usize {
        self.addresses.lock().len()
    }
}

/// The count of one session. It lives as long as one of the session's sockets, or something that is
/// under way for one of them.
pub(crate) struct Load {
    own: Count,
    /// The request that has opened the session.
    handshake: Arc<Handshake>,
    whole: Arc<Loads>,
    /// How many connections wait until the handlers have caught up.
    is_awaited: AtomicU32,
    /// How many middlewares are running. While the queue of CONNECTs has the bit [`QUEUED`] set, it
    /// changes only under the lock of the queue.
    deciding: AtomicU32,
    /// The parts that few sessions have.
    rare: OnceBox<Rare>,
}

// Every session with a socket has one.
const _: () = assert!(size_of::<Load>() <= 48);

/// The bit that says that CONNECTs may wait for middlewares.
const QUEUED: u32 = 1 << 31;

/// The parts that few sessions have.
#[derive(Default)]
struct Rare {
    /// The sockets whose CONNECTs wait for middlewares, in order. The shard knows these sockets, so
    /// their number is limited by
    /// [`Config::max_namespaces_per_session`](crate::Config::max_namespaces_per_session).
    undecided: Mutex<VecDeque<Arc<SocketCell>>>,
    /// The connections that wait until the handlers have caught up.
    awaiting: Mourners,
    /// The count of the address, from the first thing on that waits.
    address: OnceLock<AddressCount>,
}

/// The count of an address, for one session. With the last one the address is forgotten.
struct AddressCount {
    whole: Arc<Loads>,
    address: IpAddr,
    /// It is there until this value is dropped.
    count: Option<Arc<Count>>,
}

impl Drop for AddressCount {
    fn drop(&mut self) {
        if let Some(count) = self.count.take() {
            self.whole.leave_address(self.address, count);
        }
    }
}

impl Load {
    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// Returns the request that has opened the session.
    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// Returns what counts as the address of its client.
    fn client(&self) -> Option<IpAddr> {
        let peer = self.handshake.peer().address?;
        Some(network_of(peer.ip(), self.whole.ipv6_prefix))
    }

    /// Returns the network that counts as the address of its client, as a number. It is zero if the
    /// address is not known.
    pub(crate) fn network(&self) -> u128 {
        match self.client() {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped().to_bits(),
            Some(IpAddr::V6(address)) => address.to_bits(),
            None => 0,
        }
    }

    /// Returns the count of its address, which begins now if nothing has waited yet. Returns `None`
    /// if the address is not known.
    fn address(&self) -> Option<&Count> {
        if let Some(known) = self.known_address() {
            return Some(known);
        }
        let address = self.client()?;
        let begin = || AddressCount {
            whole: Arc::clone(&self.whole),
            address,
            count: Some(self.whole.of_address(address)),
        };
        self.rare().address.get_or_init(begin).count.as_deref()
    }

    /// Returns the count of its address, if anything has waited.
    fn known_address(&self) -> Option<&Count> {
        self.rare.get()?.address.get()?.count.as_deref()
    }

    /// Counts something of this size that begins to wait.
    ///
    /// # Errors
    /// [`Overflow`] if this exceeds a limit of the session, the address or the server. Then it is
    /// not counted.
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
        let counted = self.address();
        if counted.is_some_and(|counted| !counted.enter(bytes, *address)) {
            self.own.leave(bytes);
            return Err(Overflow);
        }
        if !count.enter(bytes, *whole) {
            self.own.leave(bytes);
            counted.iter().for_each(|counted| counted.leave(bytes));
            return Err(Overflow);
        }
        Ok(())
    }

    /// Counts something of this size, even above the limits.
    pub(crate) fn add(&self, bytes: usize) {
        let _ = self.address();
        self.counts().for_each(|count| {
            count.add(bytes);
        });
    }

    /// Stops counting something of this size.
    pub(crate) fn leave(&self, bytes: usize) {
        self.counts().for_each(|count| count.leave(bytes));
    }

    /// Whether one more thing may begin that may have to wait.
    pub(crate) fn has_room(&self) -> bool {
        let whole = &self.whole;
        self.own.has_room(whole.session)
            && whole.count.has_room(whole.whole)
            && (whole.is_roomy() || self.address().is_none_or(|count| count.has_room(whole.address)))
    }

    /// Whether so much waits that nothing more should be read from the client: half of what may
    /// wait for its session. If half of what may wait for its address or for the whole server
    /// waits, it is a small part.
    pub(crate) fn lags(&self) -> bool {
        self.is_above(2, 64)
    }

    /// Whether the handlers have caught up: at most a quarter waits.
    pub(crate) fn has_caught_up(&self) -> bool {
        !self.is_above(4, 128)
    }

    /// Whether more waits for the session than this part of its limits. In a crowd, a smaller part
    /// counts, in number.
    fn is_above(&self, part: usize, part_in_crowd: usize) -> bool {
        let Limits { max_events, max_bytes } = self.whole.session;
        let events = self.own.events.load(Ordering::SeqCst);
        let bytes = self.own.bytes.load(Ordering::Relaxed);
        events > 0
            && (events > max_events / part
                || bytes > max_bytes / part
                || events > max_events / part_in_crowd && self.is_in_crowd())
    }

    /// Whether half of what may wait for the address, or for the whole server, waits.
    fn is_in_crowd(&self) -> bool {
        let is_half = |count: &Count, limits: Limits| {
            count.events.load(Ordering::Relaxed) > limits.max_events / 2
                || count.bytes.load(Ordering::Relaxed) > limits.max_bytes / 2
        };
        let Loads {
            address, whole, count, ..
        } = &*self.whole;
        is_half(count, *whole) || self.known_address().is_some_and(|counted| is_half(counted, *address))
    }

    /// Begins to wait until the handlers have caught up.
    pub(crate) fn lag(load: &Arc<Self>) -> Lagging {
        load.is_awaited.fetch_add(1, Ordering::SeqCst);
        load.whole.lagging.fetch_add(1, Ordering::Relaxed);
        Lagging {
            before: load.own.events.load(Ordering::SeqCst),
            load: Arc::clone(load),
            number: None,
        }
    }

    /// Wakes the connections that wait for the handlers, if these have caught up. Call it when
    /// something has been done, and no lock is held.
    #[inline]
    pub(crate) fn note_done(&self) {
        if self.is_awaited.load(Ordering::SeqCst) > 0 && self.has_caught_up() {
            self.rare().awaiting.wake();
        }
    }

    fn counts(&self) -> impl Iterator<Item = &Count> {
        [&self.own, &self.whole.count].into_iter().chain(self.known_address())
    }

    /// Asks whether the middleware may decide about a CONNECT now. Returns false if the CONNECT has
    /// to wait for others of its session; then [`Load::decided`] returns it later.
    pub(crate) fn may_decide(&self, socket: &Arc<SocketCell>) -> bool {
        // With the bit, the number is above each maximum.
        let one_more = |running| (running < self.whole.max_deciding).then_some(running + 1);
        let begin = || self.deciding.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        if begin().is_ok() {
            return true;
        }
        let mut undecided = self.rare().undecided.lock();
        if undecided.is_empty() {
            // Only the holder of the lock sets and clears the bit.
            self.deciding.fetch_and(!QUEUED, Ordering::SeqCst);
        }
        let queue = |running| (running >= self.whole.max_deciding).then_some(running | QUEUED);
        loop {
            if self
                .deciding
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, queue)
                .is_ok()
            {
                undecided.push_back(Arc::clone(socket));
                return false;
            }
            if begin().is_ok() {
                return true;
            }
        }
    }

    /// Notes that a middleware has decided. Returns the next waiting socket.
    pub(crate) fn decided(&self) -> Option<Arc<SocketCell>> {
        let one_less = |running: u32| (running & QUEUED == 0).then(|| running.saturating_sub(1));
        let end = || self.deciding.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        if end().is_ok() {
            return None;
        }
        let mut undecided = self.rare().undecided.lock();
        let next = undecided.pop_front();
        if next.is_none() {
            self.deciding.fetch_and(!QUEUED, Ordering::SeqCst);
            let _ = end();
        }
        next
    }

    /// Removes a socket that has gone. Returns true if its CONNECT was waiting for its turn.
    pub(crate) fn withdraw(&self, socket: &Arc<SocketCell>) -> bool {
        let Some(rare) = self.rare.get() else { return false };
        let withdrawn = {
            let mut undecided = rare.undecided.lock();
            let at = undecided.iter().position(|waits| Arc::ptr_eq(waits, socket));
            at.and_then(|at| undecided.remove(at))
        };
        withdrawn.is_some()
    }

    #[cfg(test)]
    pub(crate) fn of(limits: Limits) -> Arc<Self> {
        let options = Options::default()
            .max_waiting_events(limits.max_events)
            .max_waiting_bytes(limits.max_bytes);
        Arc::new(Loads::new(&options)).session(Arc::new(Handshake::unknown(sio_proto::Time::ZERO)))
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let Count { events, bytes } = &self.own;
        (events.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }
}

/// A connection that waits until the handlers of its session have caught up.
pub(crate) struct Lagging {
    load: Arc<Load>,
    /// How many events waited when it was last looked.
    before: usize,
    /// The number of its entry, after it has waited once.
    number: Option<u64>,
}

impl Lagging {
    /// Waits until the handlers have caught up.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.load.has_caught_up() {
            self.number = Some(self.load.rare().awaiting.wait(self.number, cx.waker()));
            // They may have caught up since before the waker was registered.
            if !self.load.has_caught_up() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Whether handlers have finished since the last time.
    pub(crate) fn has_progressed(&mut self) -> bool {
        let now = self.load.own.events.load(Ordering::SeqCst);
        now < std::mem::replace(&mut self.before, now)
    }
}

impl Drop for Lagging {
    fn drop(&mut self) {
        self.load.is_awaited.fetch_sub(1, Ordering::SeqCst);
        self.load.whole.lagging.fetch_sub(1, Ordering::Relaxed);
        if let Some(number) = self.number {
            self.load.rare().awaiting.forget(number);
        }
    }
}

#[cfg(test)]
mod tests;
