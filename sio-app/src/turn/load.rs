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
//! Most clients never make anything wait. So a session has a count, of its own and of its address,
//! only from the first thing on that waits for it. The count is kept with the request of the
//! session, which all sockets of the session share.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use sio_proto::server::{Companion, Handshake, HostSide, Tally, network_of};

use crate::lock::Mutex;
use crate::options::Options;
use crate::turn;
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

/// What is done with the counts of a session, of an address, and of the whole.
trait Counting {
    /// Counts one more thing, if the limits allow it. The first may have any size.
    fn enter(&self, bytes: usize, limits: Limits) -> bool;

    fn add(&self, bytes: usize) -> (usize, usize);

    fn leave(&self, bytes: usize);

    fn has_room(&self, limits: Limits) -> bool;
}

impl Counting for Tally {
    fn enter(&self, bytes: usize, limits: Limits) -> bool {
        let (events, before) = self.add(bytes);
        let fits = events < limits.max_events && (events == 0 || before.saturating_add(bytes) <= limits.max_bytes);
        if !fits {
            self.leave(bytes);
        }
        fits
    }

    fn add(&self, bytes: usize) -> (usize, usize) {
        let events = self.things.fetch_add(1, Ordering::Relaxed);
        (events, self.bytes.fetch_add(bytes, Ordering::Relaxed))
    }

    fn leave(&self, bytes: usize) {
        self.things.fetch_sub(1, Ordering::SeqCst);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn has_room(&self, limits: Limits) -> bool {
        let events = self.things.load(Ordering::Relaxed);
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
    count: Tally,
    /// How many connections wait for handlers that lag.
    lagging: AtomicUsize,
    /// Whether any client has a limit of what it may send.
    measures: AtomicBool,
    /// An address is kept as long as it has sessions for which something has waited or had to be
    /// asked for while much waited in the whole server, or something is under way for it.
    addresses: Mutex<HashMap<IpAddr, Arc<Tally>>>,
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
            count: Tally::default(),
            lagging: AtomicUsize::new(0),
            measures: AtomicBool::new(false),
            addresses: Mutex::default(),
        }
    }

    /// Returns the count of an address.
    fn of_address(&self, address: IpAddr) -> Arc<Tally> {
        Arc::clone(self.addresses.lock().entry(address).or_default())
    }

    /// Forgets an address if no session counts for it any more.
    fn leave_address(&self, address: IpAddr) {
        let mut addresses = self.addresses.lock();
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
        self.count.things.load(Ordering::Relaxed) < max_events && self.count.bytes.load(Ordering::Relaxed) < max_bytes
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
    /// handlers of some session may lag. A POST has no link that could pause when it has been
    /// answered, so the next one asks.
    pub(crate) fn paces(&self) -> bool {
        self.measures() || self.lagging.load(Ordering::Relaxed) > 0 || self.may_lag()
    }

    /// Whether so much waits in the whole server that the handlers of a session may lag
    /// ([`Load::lags`]). If not, those of none do.
    fn may_lag(&self) -> bool {
        let all = [self.session, self.address, self.whole];
        let least = |limit: fn(&Limits) -> usize| all.iter().map(limit).min().unwrap_or(0) / 2;
        self.count.things.load(Ordering::Relaxed) > least(|limits| limits.max_events)
            || self.count.bytes.load(Ordering::Relaxed) > least(|limits| limits.max_bytes)
    }

    #[cfg(test)]
    pub(crate) fn addresses(&self) -> usize {
        self.addresses.lock().len()
    }
}

/// What waits for one session. It lives as long as the session, one of its sockets, or something
/// that is under way for one of them.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// The request that has opened the session.
    handshake: &'a Arc<Handshake>,
    whole: &'a Arc<Loads>,
}

/// What a session has beside its counts, from the first thing on that waits.
struct Rest {
    /// The connections that wait until the handlers have caught up. How many these are is
    /// [`Companion::number`].
    awaiting: Mourners,
    /// The sockets whose CONNECTs wait for middlewares, in order. The shard knows these sockets, so
    /// their number is limited by
    /// [`Config::max_namespaces_per_session`](crate::Config::max_namespaces_per_session). They hold
    /// the request, so there are none when this is dropped.
    undecided: Mutex<VecDeque<Arc<SocketCell>>>,
    /// The address for which the session counts, if it is known.
    _address: Option<CountedAddress>,
}

impl Rest {
    /// Returns what a session has. `None` if somebody else has put something into its place.
    fn of(own: &Companion) -> Option<&Self> {
        (*own.value).downcast_ref()
    }
}

/// The bit of the number of middlewares that run ([`HostSide::number`]) which says that CONNECTs
/// may wait for middlewares. While it is set, the number changes only under the lock of the queue.
const QUEUED: u32 = 1 << 31;

/// An address for which a session counts. With the last session the address is forgotten.
struct CountedAddress {
    whole: Arc<Loads>,
    address: IpAddr,
}

impl Drop for CountedAddress {
    /// The session has given up its handle of the count before.
    fn drop(&mut self) {
        self.whole.leave_address(self.address);
    }
}

impl<'a> Load<'a> {
    pub(crate) const fn new(handshake: &'a Arc<Handshake>, whole: &'a Arc<Loads>) -> Self {
        Self { handshake, whole }
    }

    /// Returns the counts of the session, if anything has waited.
    #[inline]
    fn own(self) -> Option<&'a Companion> {
        HostSide::of(self.handshake).companion()
    }

    /// Returns the counts of the session, which begin now if nothing has waited yet.
    #[inline]
    fn begin(self) -> &'a Companion {
        HostSide::of(self.handshake).companion_or(|| self.first())
    }

    #[cold]
    fn first(self) -> Companion {
        let address = self.client();
        let counted = |address| CountedAddress {
            whole: Arc::clone(self.whole),
            address,
        };
        let rest = Rest {
            awaiting: Mourners::default(),
            undecided: Mutex::default(),
            _address: address.map(counted),
        };
        let shared = address.map(|address| self.whole.of_address(address));
        Companion::new(shared, Box::new(rest))
    }

    /// Returns what counts as the address of its client.
    fn client(self) -> Option<IpAddr> {
        let peer = self.handshake.peer().address?;
        Some(network_of(peer.ip(), self.whole.ipv6_prefix))
    }

    /// Returns the network that counts as the address of its client, as a number. It is zero if the
    /// address is not known.
    pub(crate) fn network(self) -> u128 {
        match self.client() {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped().to_bits(),
            Some(IpAddr::V6(address)) => address.to_bits(),
            None => 0,
        }
    }

    /// Counts something of this size that begins to wait.
    ///
    /// # Errors
    /// [`Overflow`] if this exceeds a limit of the session, the address or the server. Then it is
    /// not counted.
    pub(crate) fn enter(self, bytes: usize) -> Result<(), Overflow> {
        let Loads {
            session,
            address,
            whole,
            count,
            ..
        } = &**self.whole;
        let Companion { own, shared, .. } = self.begin();
        if !own.enter(bytes, *session) {
            return Err(Overflow);
        }
        if shared.as_ref().is_some_and(|shared| !shared.enter(bytes, *address)) {
            own.leave(bytes);
            return Err(Overflow);
        }
        if !count.enter(bytes, *whole) {
            own.leave(bytes);
            shared.iter().for_each(|shared| shared.leave(bytes));
            return Err(Overflow);
        }
        Ok(())
    }

    /// Counts something of this size, even above the limits.
    pub(crate) fn add(self, bytes: usize) {
        self.counts(self.begin()).for_each(|count| {
            count.add(bytes);
        });
    }

    /// Stops counting something of this size.
    pub(crate) fn leave(self, bytes: usize) {
        if let Some(own) = self.own() {
            self.counts(own).for_each(|count| count.leave(bytes));
        }
    }

    /// Whether one more thing may begin that may have to wait.
    #[inline]
    pub(crate) fn has_room(self) -> bool {
        let Loads { session, whole, .. } = &**self.whole;
        let own_has_room = match self.own() {
            Some(Companion { own, .. }) => own.has_room(*session),
            None => session.max_events > 0,
        };
        own_has_room && self.whole.count.has_room(*whole) && (self.whole.is_roomy() || self.address_has_room())
    }

    /// Whether the address has room for one more thing.
    #[inline(never)]
    fn address_has_room(self) -> bool {
        let shared = self.begin().shared.as_ref();
        shared.is_none_or(|shared| shared.has_room(self.whole.address))
    }

    /// Whether so much waits that nothing more should be read from the client: half of what may
    /// wait for its session. If half of what may wait for its address or for the whole server
    /// waits, it is a small part.
    pub(crate) fn lags(self) -> bool {
        self.own().is_some_and(|own| self.is_above(own, 2, 64))
    }

    /// Whether the handlers have caught up: at most a quarter waits.
    fn has_caught_up(self, own: &Companion) -> bool {
        !self.is_above(own, 4, 128)
    }

    /// Whether more waits for the session than this part of its limits. In a crowd, a smaller part
    /// counts, in number.
    fn is_above(self, own: &Companion, part: usize, part_in_crowd: usize) -> bool {
        let Limits { max_events, max_bytes } = self.whole.session;
        let events = own.own.things.load(Ordering::SeqCst);
        let bytes = own.own.bytes.load(Ordering::Relaxed);
        events > 0
            && (events > max_events / part
                || bytes > max_bytes / part
                || events > max_events / part_in_crowd && self.is_in_crowd(own))
    }

    /// Whether half of what may wait for the address, or for the whole server, waits.
    fn is_in_crowd(self, own: &Companion) -> bool {
        let is_half = |count: &Tally, limits: Limits| {
            count.things.load(Ordering::Relaxed) > limits.max_events / 2
                || count.bytes.load(Ordering::Relaxed) > limits.max_bytes / 2
        };
        let Loads {
            address, whole, count, ..
        } = &**self.whole;
        is_half(count, *whole) || own.shared.as_ref().is_some_and(|shared| is_half(shared, *address))
    }

    /// Begins to wait until the handlers have caught up.
    pub(crate) fn lag(self) -> Lagging {
        let own = self.begin();
        own.number.fetch_add(1, Ordering::SeqCst);
        self.whole.lagging.fetch_add(1, Ordering::Relaxed);
        Lagging {
            before: own.own.things.load(Ordering::SeqCst),
            handshake: Arc::clone(self.handshake),
            whole: Arc::clone(self.whole),
            number: None,
        }
    }

    /// Wakes the connections that wait for the handlers, if these have caught up. Call it when
    /// something has been done, and no lock is held.
    #[inline]
    pub(crate) fn note_done(self) {
        if let Some(own) = self.own()
            && own.number.load(Ordering::SeqCst) > 0
            && self.has_caught_up(own)
            && let Some(rest) = Rest::of(own)
        {
            rest.awaiting.wake();
        }
    }

    fn counts(self, own: &'a Companion) -> impl Iterator<Item = &'a Tally> {
        let shared = own.shared.as_deref();
        [&own.own, &self.whole.count].into_iter().chain(shared)
    }

    /// Asks whether the middleware may decide about a CONNECT now. Returns false if the CONNECT has
    /// to wait for others of its session; then [`Load::decided`] returns it later. The mailbox of
    /// the socket is parked before another thread can find the socket here: that thread may go on
    /// with it at once, and be done with it before this returns.
    pub(crate) fn may_decide(self, socket: &Arc<SocketCell>) -> bool {
        // With the bit, the number is above each maximum.
        let one_more = |running| (running < self.whole.max_deciding).then_some(running + 1);
        let deciding = HostSide::of(self.handshake).number();
        let begin = || deciding.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        if begin().is_ok() {
            return true;
        }
        let Some(rest) = Rest::of(self.begin()) else {
            return true;
        };
        let mut undecided = rest.undecided.lock();
        if undecided.is_empty() {
            // Only the holder of the lock sets and clears the bit.
            deciding.fetch_and(!QUEUED, Ordering::SeqCst);
        }
        let queue = |running| (running >= self.whole.max_deciding).then_some(running | QUEUED);
        loop {
            if deciding.fetch_update(Ordering::SeqCst, Ordering::SeqCst, queue).is_ok() {
                socket.mailbox.park(turn::new_owner());
                undecided.push_back(Arc::clone(socket));
                return false;
            }
            if begin().is_ok() {
                return true;
            }
        }
    }

    /// Notes that a middleware has decided. Returns the next waiting socket.
    pub(crate) fn decided(self) -> Option<Arc<SocketCell>> {
        let one_less = |running: u32| (running & QUEUED == 0).then(|| running.saturating_sub(1));
        let deciding = HostSide::of(self.handshake).number();
        let end = || deciding.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        if end().is_ok() {
            return None;
        }
        let mut undecided = self.own().and_then(Rest::of)?.undecided.lock();
        let next = undecided.pop_front();
        if next.is_none() {
            deciding.fetch_and(!QUEUED, Ordering::SeqCst);
            let _ = end();
        }
        next
    }

    /// Removes a socket that has gone. Returns true if its CONNECT was waiting for its turn.
    pub(crate) fn withdraw(self, socket: &Arc<SocketCell>) -> bool {
        let Some(rest) = self.own().and_then(Rest::of) else {
            return false;
        };
        let withdrawn = {
            let mut undecided = rest.undecided.lock();
            let at = undecided.iter().position(|waits| Arc::ptr_eq(waits, socket));
            at.and_then(|at| undecided.remove(at))
        };
        withdrawn.is_some()
    }

    #[cfg(test)]
    pub(crate) fn waiting(self) -> (usize, usize) {
        let Some(Companion { own, .. }) = self.own() else {
            return (0, 0);
        };
        (own.things.load(Ordering::Relaxed), own.bytes.load(Ordering::Relaxed))
    }
}

/// A connection that waits until the handlers of its session have caught up.
pub(crate) struct Lagging {
    handshake: Arc<Handshake>,
    whole: Arc<Loads>,
    /// How many events waited when it was last looked.
    before: usize,
    /// The number of its entry, after it has waited once.
    number: Option<u64>,
}

impl Lagging {
    const fn load(&self) -> Load<'_> {
        Load::new(&self.handshake, &self.whole)
    }

    /// Waits until the handlers have caught up.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let load = self.load();
        let own = load.begin();
        if !load.has_caught_up(own) {
            let number = Rest::of(own).map(|rest| rest.awaiting.wait(self.number, cx.waker()));
            // They may have caught up since before the waker was registered.
            let has_caught_up = load.has_caught_up(own);
            self.number = number;
            if !has_caught_up {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Whether handlers have finished since the last time.
    pub(crate) fn has_progressed(&mut self) -> bool {
        let now = self.load().begin().own.things.load(Ordering::SeqCst);
        now < std::mem::replace(&mut self.before, now)
    }
}

impl Drop for Lagging {
    fn drop(&mut self) {
        let own = self.load().begin();
        own.number.fetch_sub(1, Ordering::SeqCst);
        self.whole.lagging.fetch_sub(1, Ordering::Relaxed);
        if let Some(number) = self.number
            && let Some(rest) = Rest::of(own)
        {
            rest.awaiting.forget(number);
        }
    }
}

/// A session of its own, for tests.
#[cfg(test)]
pub(crate) struct Lone {
    handshake: Arc<Handshake>,
    whole: Arc<Loads>,
}

#[cfg(test)]
impl Lone {
    pub(crate) fn new(limits: Limits) -> Self {
        let options = Options::default()
            .max_waiting_events(limits.max_events)
            .max_waiting_bytes(limits.max_bytes);
        Self {
            handshake: Arc::new(Handshake::unknown(sio_proto::Time::ZERO)),
            whole: Arc::new(Loads::new(&options)),
        }
    }

    pub(crate) const fn load(&self) -> Load<'_> {
        Load::new(&self.handshake, &self.whole)
    }
}

#[cfg(test)]
mod tests;
