//! All connections: which address they come from, how many there may be, and when to check them.

use std::cmp::Ordering;
use std::collections::hash_map::Entry as MapEntry;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};

use sio_proto::Time;
use sio_proto::server::network_of;

use crate::link::Link;
use crate::options::Options;
use crate::trim::trim;

/// This many received bytes of a connection are not counted.
pub(crate) const UNCOUNTED: usize = 4 * 1024;

/// Received bytes are counted in steps of this size.
pub(crate) const STEP: usize = 32 * 1024;

/// Returns what is counted for this number of bytes. Small messages count nothing, so they need no
/// access to the shared count.
pub(crate) const fn in_steps(bytes: usize) -> usize {
    match bytes {
        0..=UNCOUNTED => 0,
        _ => bytes.div_ceil(STEP) * STEP,
    }
}

/// The connections of a server, counted in total and by address. An address is kept only as long as
/// it has connections.
#[derive(Default)]
pub(crate) struct Connections {
    /// The lowest free slot is taken first. So after a crowd the slots at the end become free, and
    /// their memory is given back.
    slots: Vec<Option<Entry>>,
    free: BTreeSet<usize>,
    count: usize,
    by_address: Counts,
    /// What else the connections of an address use. Most addresses use nothing else.
    shares: HashMap<IpAddr, Share>,
    /// The incomplete bytes that all connections together have received.
    received: usize,
    /// How many requests wait for the application's decision.
    asking: usize,
    total: u64,
    /// How many connections were refused, by reason.
    refused: [u64; 2],
    deadlines: Deadlines,
}

struct Entry {
    link: Weak<Link>,
    /// The number of the connection. No earlier connection in the slot has had it for a long time.
    number: u32,
    address: Option<IpAddr>,
    /// The bytes of an incomplete request or message that the connection has received.
    received: usize,
    /// Whether the connection's request waits for the application's decision.
    asks: bool,
}

// Every connection has one.
#[cfg(test)]
const _: () = assert!(size_of::<Entry>() <= 48);

/// What the connections of one address use, in addition to their number.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    received: usize,
    asking: usize,
}

/// How many numbers of connections there are.
const NUMBERS: u32 = 1 << 31;

/// Why a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// The limit [`Options::max_connections`] is reached.
    Total,
    /// The limit [`Options::max_connections_per_address`] is reached.
    Address,
}

impl Connections {
    /// Adds a connection, and returns its slot.
    pub(crate) fn enter(
        &mut self,
        link: &Arc<Link>,
        peer: Option<SocketAddr>,
        options: &Options,
    ) -> Result<usize, Excess> {
        let entered = self.try_enter(link, peer, options);
        match entered {
            Ok(_) => self.total += 1,
            Err(why) => self.refused[why as usize] += 1,
        }
        entered
    }

    fn try_enter(&mut self, link: &Arc<Link>, peer: Option<SocketAddr>, options: &Options) -> Result<usize, Excess> {
        if self.count >= options.max_connections {
            return Err(Excess::Total);
        }
        let address = peer.map(|peer| network_of(peer.ip(), options.ipv6_prefix));
        let max = options.max_connections_per_address;
        if let Some(address) = address
            && !self.by_address.enter(address, max)
        {
            return Err(Excess::Address);
        }
        self.count += 1;
        let entry = Some(Entry {
            link: Arc::downgrade(link),
            number: self.total as u32 % NUMBERS,
            address,
            received: 0,
            asks: false,
        });
        Ok(match self.free.pop_first() {
            Some(slot) => {
                self.slots[slot] = entry;
                slot
            }
            None => {
                self.slots.push(entry);
                self.slots.len() - 1
            }
        })
    }

    /// Removes a connection from its slot.
    pub(crate) fn leave(&mut self, slot: usize) {
        self.end_asking(slot);
        self.forget_received(slot);
        let Some(entry) = self.slots.get_mut(slot).and_then(Option::take) else {
            return;
        };
        self.free.insert(slot);
        while let Some(None) = self.slots.last() {
            self.slots.pop();
            self.free.remove(&self.slots.len());
        }
        trim(&mut self.slots);
        self.count -= 1;
        if let Some(address) = entry.address {
            self.by_address.leave(address);
        }
    }

    /// Returns what the connections of an address use, in addition to their number.
    fn share(&self, address: IpAddr) -> Share {
        self.shares.get(&address).copied().unwrap_or_default()
    }

    /// Sets what the connections of an address use. Nothing is kept for an address that uses
    /// nothing.
    fn set_share(&mut self, address: IpAddr, share: Share) {
        if share != Share::default() {
            self.shares.insert(address, share);
        } else if self.shares.remove(&address).is_some() {
            trim_map(&mut self.shares);
        }
    }

    /// Takes back what has been counted for the bytes that a connection has received.
    fn forget_received(&mut self, slot: usize) {
        let Some(Some(entry)) = self.slots.get_mut(slot) else {
            return;
        };
        let (received, address) = (std::mem::take(&mut entry.received), entry.address);
        self.received -= received;
        if received > 0
            && let Some(address) = address
        {
            let mut share = self.share(address);
            share.received -= received;
            self.set_share(address, share);
        }
    }

    /// Notes that a connection has received this number of incomplete bytes. Returns false if there
    /// is no room for them; then nothing is changed.
    #[must_use]
    pub(crate) fn receive(&mut self, slot: usize, bytes: usize, options: &Options) -> bool {
        let Some(Some(entry)) = self.slots.get(slot) else {
            return false;
        };
        let (before, address) = (entry.received, entry.address);
        let others = self.received - before;
        let share = address.map(|address| (address, self.share(address)));
        let neighbours = share.map_or(0, |(_, share)| share.received - before);
        let is_more = bytes > before;
        if is_more
            && (others + bytes > options.max_receiving_bytes
                || share.is_some() && neighbours + bytes > options.max_receiving_bytes_per_address)
        {
            return false;
        }
        self.received = others + bytes;
        if let Some(Some(entry)) = self.slots.get_mut(slot) {
            entry.received = bytes;
        }
        if let Some((address, mut share)) = share {
            share.received = neighbours + bytes;
            self.set_share(address, share);
        }
        true
    }

    /// Notes that the request of a connection waits for the application's decision. Returns false
    /// if too many requests wait; then nothing is changed.
    #[must_use]
    pub(crate) fn begin_asking(&mut self, slot: usize, options: &Options) -> bool {
        let Some(Some(entry)) = self.slots.get(slot) else {
            return false;
        };
        let share = entry.address.map(|address| (address, self.share(address)));
        let of_address = share.map_or(0, |(_, share)| share.asking);
        if entry.asks
            || self.asking >= options.max_waiting_requests
            || share.is_some() && of_address >= options.max_waiting_requests_per_address
        {
            return false;
        }
        if let Some(Some(entry)) = self.slots.get_mut(slot) {
            entry.asks = true;
        }
        self.asking += 1;
        if let Some((address, mut share)) = share {
            share.asking += 1;
            self.set_share(address, share);
        }
        true
    }

    /// Notes that the request of a connection does not wait any more.
    pub(crate) fn end_asking(&mut self, slot: usize) {
        let Some(Some(entry)) = self.slots.get_mut(slot) else {
            return;
        };
        if !std::mem::take(&mut entry.asks) {
            return;
        }
        self.asking -= 1;
        if let Some(address) = entry.address {
            let mut share = self.share(address);
            share.asking -= 1;
            self.set_share(address, share);
        }
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// How many have been taken, and how many were not: because there were
    /// [`Options::max_connections`], and because there were
    /// [`Options::max_connections_per_address`].
    pub(crate) const fn totals(&self) -> (u64, [u64; 2]) {
        (self.total, self.refused)
    }

    /// Returns the links that still exist.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.slots
            .iter()
            .flatten()
            .filter_map(|entry| entry.link.upgrade())
            .collect()
    }
}

/// How many connections each address has. A crowd often comes from as many addresses as it has
/// clients, so each version has its own map, in which an entry is as small as it can be.
#[derive(Default)]
struct Counts {
    version_4: HashMap<Ipv4Addr, u32>,
    version_6: HashMap<Ipv6Addr, u32>,
}

impl Counts {
    /// Counts one more connection, unless the address has `max`.
    fn enter(&mut self, address: IpAddr, max: usize) -> bool {
        fn enter<A: Hash + Eq>(counts: &mut HashMap<A, u32>, address: A, max: usize) -> bool {
            let count = counts.get(&address).copied().unwrap_or_default();
            let has_room = (count as usize) < max;
            if has_room {
                counts.insert(address, count + 1);
            }
            has_room
        }
        match address {
            IpAddr::V4(address) => enter(&mut self.version_4, address, max),
            IpAddr::V6(address) => enter(&mut self.version_6, address, max),
        }
    }

    fn leave(&mut self, address: IpAddr) {
        fn leave<A: Hash + Eq>(counts: &mut HashMap<A, u32>, address: A) {
            let MapEntry::Occupied(mut count) = counts.entry(address) else {
                return;
            };
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
                trim_map(counts);
            }
        }
        match address {
            IpAddr::V4(address) => leave(&mut self.version_4, address),
            IpAddr::V6(address) => leave(&mut self.version_6, address),
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.version_4.len() + self.version_6.len()
    }
}

/// Gives back memory of a map that has become much smaller.
fn trim_map<A: Hash + Eq, V>(map: &mut HashMap<A, V>) {
    let room = map.capacity();
    if room > 1024 && map.len() < room / 4 {
        map.shrink_to(room / 2);
    }
}

/// The times at which connections are checked, the earliest first. Each connection has at most one
/// entry for a check, and one for its end.
type Deadlines = BinaryHeap<Deadline>;

struct Deadline {
    at: Time,
    /// The slot of the connection.
    slot: u32,
    /// Twice the number of the connection, and one more for [`Then::Cut`]. So a deadline does not
    /// keep the memory of a link that has gone.
    number_and_then: u32,
}

// A connection has up to two.
const _: () = assert!(size_of::<Deadline>() <= 16);

/// How many deadlines of connections that have gone are taken out in one hold of the lock.
const MOST_STALE: usize = 64;

/// What happens at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The link is asked whether its peer is late.
    Look,
    /// The connection's time is over.
    Cut,
}

impl Deadline {
    const fn then(&self) -> Then {
        match self.number_and_then & 1 {
            0 => Then::Look,
            _ => Then::Cut,
        }
    }
}

impl Connections {
    /// Adds a deadline of the connection in this slot.
    pub(crate) fn add_deadline(&mut self, at: Time, slot: usize, then: Then) {
        if let Some(Some(entry)) = self.slots.get(slot) {
            self.deadlines.push(Deadline {
                at,
                slot: slot as u32,
                number_and_then: entry.number << 1 | u32::from(then == Then::Cut),
            });
        }
    }

    /// Adds a check of the connection in this slot, if it is still that of the link.
    pub(crate) fn add_look(&mut self, at: Time, slot: usize, link: &Arc<Link>) {
        let entry = self.slots.get(slot).and_then(Option::as_ref);
        if entry.is_some_and(|entry| core::ptr::eq(entry.link.as_ptr(), Arc::as_ptr(link))) {
            self.add_deadline(at, slot, Then::Look);
        }
    }

    /// Takes out one deadline that has passed, if its connection still exists. Returns the link and
    /// the slot of the connection. Deadlines of connections that have gone are taken out on the
    /// way, as many as a short hold of the lock allows; then the answer is `Some(None)`, and the
    /// caller asks again.
    pub(crate) fn pop_deadline(&mut self, now: Time) -> Option<Option<(Arc<Link>, usize, Then)>> {
        for _ in 0..MOST_STALE {
            if self.deadlines.peek().is_none_or(|deadline| deadline.at > now) {
                return None;
            }
            let deadline = self.deadlines.pop()?;
            let room = self.deadlines.capacity();
            if room > 1024 && self.deadlines.len() < room / 4 {
                self.deadlines.shrink_to(room / 2);
            }
            let slot = deadline.slot as usize;
            if let Some(Some(entry)) = self.slots.get(slot)
                && entry.number == deadline.number_and_then >> 1
                && let Some(link) = entry.link.upgrade()
            {
                return Some(Some((link, slot, deadline.then())));
            }
        }
        Some(None)
    }
}

impl Ord for Deadline {
    /// The earliest deadline is the greatest, so that it comes out of the heap first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Deadline {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::Wall;

    fn link() -> Arc<Link> {
        Arc::new(Link::new(Wall::with_room(0), Arc::default()))
    }

    fn peer(address: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(address.parse().unwrap(), 1))
    }

    #[test]
    fn both_limits_hold_and_nothing_stays_of_who_has_gone() {
        let options = Options::default().max_connections(4).max_connections_per_address(2);
        let mut connections = Connections::default();
        let link = link();
        let enter = |connections: &mut Connections, from| connections.enter(&link, from, &options);
        let first = enter(&mut connections, peer("::1")).unwrap();
        enter(&mut connections, peer("::1")).unwrap();
        assert_eq!(enter(&mut connections, peer("::2")), Err(Excess::Address));
        let pipe = enter(&mut connections, None).unwrap();
        enter(&mut connections, peer("127.0.0.1")).unwrap();
        assert_eq!(enter(&mut connections, peer("127.0.0.2")), Err(Excess::Total));
        connections.leave(first);
        connections.leave(first);
        assert_eq!(connections.count(), 3);
        enter(&mut connections, peer("::2")).unwrap();
        connections.leave(pipe);
        for slot in 0..4 {
            connections.leave(slot);
        }
        assert_eq!((connections.count(), connections.by_address.len()), (0, 0));
        assert_eq!(connections.totals(), (5, [1, 1]));

        let none = Options::default().max_connections_per_address(0);
        assert_eq!(connections.enter(&link, peer("::1"), &none), Err(Excess::Address));
        assert_eq!(connections.by_address.len(), 0);
    }

    /// Hardening A14: incomplete bytes count, in total and by address.
    #[test]
    fn what_is_being_received_is_bounded() {
        let options = Options::default()
            .max_receiving_bytes(100)
            .max_receiving_bytes_per_address(60);
        let mut connections = Connections::default();
        let link = link();
        let mut enter = |from| connections.enter(&link, from, &options).unwrap();
        let [a, b, c, d] = [peer("::1"), peer("::1"), peer("127.0.0.1"), None].map(&mut enter);
        let mut receive = |slot, bytes| connections.receive(slot, bytes, &options);
        assert!(receive(a, 40) && !receive(b, 21) && receive(b, 20));
        assert!(receive(c, 40) && !receive(c, 41));
        assert!(!receive(d, 1), "none is left for anybody");
        assert!(receive(b, 5) && receive(b, 20) && receive(a, 0) && receive(d, 40));
        connections.leave(c);
        assert!(connections.receive(a, 40, &options));
        [a, b, d].into_iter().for_each(|slot| connections.leave(slot));
        assert_eq!((connections.received, connections.by_address.len()), (0, 0));
        assert!(connections.shares.is_empty());
    }

    /// API: allowRequest: the number of requests that wait for a decision is limited, in total and
    /// by address.
    #[test]
    fn what_waits_for_a_decision_is_bounded() {
        let options = Options::default()
            .max_waiting_requests(3)
            .max_waiting_requests_per_address(2);
        let mut connections = Connections::default();
        let link = link();
        let mut enter = |from| connections.enter(&link, from, &options).unwrap();
        let [a, b, c, d, e] = [peer("::1"), peer("::1"), peer("::1"), peer("127.0.0.1"), None].map(&mut enter);
        let mut begin = |slot| connections.begin_asking(slot, &options);
        assert!(begin(a) && !begin(a) && begin(b) && !begin(c) && begin(d) && !begin(e));
        connections.end_asking(a);
        connections.end_asking(a);
        assert!(connections.begin_asking(c, &options) && !connections.begin_asking(e, &options));
        [a, b, c, d].into_iter().for_each(|slot| connections.leave(slot));
        assert_eq!((connections.asking, connections.by_address.len()), (0, 0));
        assert!(connections.shares.is_empty() && connections.begin_asking(e, &options));
    }

    /// Hardening A16: the memory that a crowd needed is given back.
    #[test]
    fn a_crowd_that_has_gone_leaves_nothing() {
        let options = Options::default();
        let mut connections = Connections::default();
        let link = link();
        let enter = |connections: &mut Connections, number: u32| {
            let address = Ipv4Addr::from_bits(number);
            connections
                .enter(&link, Some(SocketAddr::new(address.into(), 1)), &options)
                .unwrap()
        };
        let stays = enter(&mut connections, 0);
        let crowd: Vec<_> = (1..20_000).map(|number| enter(&mut connections, number)).collect();
        crowd.into_iter().for_each(|slot| connections.leave(slot));
        assert!(connections.slots.capacity() <= 2048, "{}", connections.slots.capacity());
        let room = connections.by_address.version_4.capacity();
        assert!(room <= 4096, "{room}");
        assert_eq!((connections.free.len(), connections.count()), (0, 1));
        connections.leave(stays);
        connections.leave(stays);
        assert_eq!((connections.slots.len(), connections.count()), (0, 0));

        let slot = enter(&mut connections, 0);
        (0..20_000).for_each(|millis| connections.add_deadline(Time::from_millis(millis), slot, Then::Look));
        while connections.pop_deadline(Time::from_millis(20_000)).is_some() {}
        let room = connections.deadlines.capacity();
        assert!(room <= 2048, "{room}");
    }

    #[test]
    fn deadlines_come_in_their_order_and_only_to_those_who_are_left() {
        let options = Options::default();
        let mut connections = Connections::default();
        let links = [link(), link(), link(), link()];
        let slots = [0, 1, 2, 3].map(|at| connections.enter(&links[at], None, &options).unwrap());
        for (millis, at) in [(30, 2), (10, 0), (15, 3), (20, 1)] {
            connections.add_deadline(Time::from_millis(millis), slots[at], Then::Cut);
        }
        connections.leave(slots[3]);
        // A connection in the same slot is another one.
        assert_eq!(connections.enter(&links[3], None, &options), Ok(slots[3]));
        connections.add_deadline(Time::from_millis(17), slots[3], Then::Look);
        assert!(connections.pop_deadline(Time::from_millis(9)).is_none());
        for (at, then) in [(0, Then::Cut), (3, Then::Look), (1, Then::Cut)] {
            let (link, slot, found) = connections.pop_deadline(Time::from_millis(20)).unwrap().unwrap();
            assert!(Arc::ptr_eq(&link, &links[at]));
            assert_eq!((slot, found), (slots[at], then));
        }
        assert!(connections.pop_deadline(Time::from_millis(20)).is_none());
        connections.add_deadline(Time::ZERO, slots[3] + 1, Then::Look);
        assert!(
            connections.pop_deadline(Time::from_millis(20)).is_none(),
            "nobody is there"
        );
    }

    /// A check that is set anew is not that of the connection that has the slot by now.
    #[test]
    fn a_check_is_set_only_for_its_own_connection() {
        let options = Options::default();
        let mut connections = Connections::default();
        let (gone, here) = (link(), link());
        let slot = connections.enter(&gone, None, &options).unwrap();
        connections.leave(slot);
        assert_eq!(connections.enter(&here, None, &options), Ok(slot));
        connections.add_look(Time::ZERO, slot, &gone);
        assert!(connections.pop_deadline(Time::ZERO).is_none());
        connections.add_look(Time::ZERO, slot, &here);
        assert!(connections.pop_deadline(Time::ZERO).flatten().is_some());
    }

    /// Deadlines of a crowd that has gone are taken out in parts: others wait for the lock.
    #[test]
    fn deadlines_of_those_who_have_gone_are_taken_out_in_parts() {
        let options = Options::default();
        let mut connections = Connections::default();
        let (gone, here) = (link(), link());
        let slots = [&gone, &here].map(|link| connections.enter(link, None, &options).unwrap());
        (0..1_000).for_each(|_| connections.add_deadline(Time::ZERO, slots[0], Then::Look));
        connections.add_deadline(Time::from_millis(1), slots[1], Then::Look);
        connections.leave(slots[0]);
        let mut holds = 0;
        let found = loop {
            let before = connections.deadlines.len();
            let found = connections.pop_deadline(Time::from_millis(1)).unwrap();
            assert!(before - connections.deadlines.len() <= MOST_STALE);
            match found {
                Some(found) => break found,
                None => holds += 1,
            }
        };
        assert!(Arc::ptr_eq(&found.0, &here) && holds > 10, "{holds}");
    }
}
