//! All connections there are: who they belong to, how many there may be, and when to look after them.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};

use sio_proto::Time;

use crate::link::Link;
use crate::metrics::Metrics;
use crate::options::Options;

/// The connections of a server, counted in total and by address. It holds an address only as long as that has connections.
#[derive(Default)]
pub(crate) struct Connections {
    slots: Vec<Option<Entry>>,
    free: Vec<usize>,
    count: usize,
    by_address: HashMap<IpAddr, usize>,
    total: u64,
    /// How many were not taken, by why.
    refused: [u64; 2],
}

struct Entry {
    link: Weak<Link>,
    address: Option<IpAddr>,
}

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// There are [`Options::max_connections`].
    Total,
    /// There are [`Options::max_connections_per_address`].
    Address,
}

impl Connections {
    /// Adds a connection and gives it a place.
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
        let address = peer.map(|peer| counted_as(peer.ip(), options.ipv6_prefix));
        if let Some(address) = address {
            let count = self.by_address.get(&address).map_or(0, |count| *count);
            if count >= options.max_connections_per_address {
                return Err(Excess::Address);
            }
            self.by_address.insert(address, count + 1);
        }
        self.count += 1;
        let entry = Some(Entry {
            link: Arc::downgrade(link),
            address,
        });
        Ok(match self.free.pop() {
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

    /// Gives the place back.
    pub(crate) fn leave(&mut self, slot: usize) {
        let Some(entry) = self.slots[slot].take() else { return };
        self.free.push(slot);
        self.count -= 1;
        if let Some(address) = entry.address
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    pub(crate) const fn count_into(&self, metrics: &mut Metrics) {
        metrics.connections = self.count;
        metrics.connections_total = self.total;
        [
            metrics.connections_refused_total,
            metrics.connections_refused_by_address_total,
        ] = self.refused;
    }

    /// Those that are still there.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        self.slots
            .iter()
            .flatten()
            .filter_map(|entry| entry.link.upgrade())
            .collect()
    }
}

/// What an address is for the limit: the network that one subscriber has.
pub(crate) fn counted_as(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(ipv6_prefix.into()))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// When to look after which connection, the earliest first. Each has at most one entry to be looked at and one to be cut.
#[derive(Default)]
pub(crate) struct Deadlines(BinaryHeap<Deadline>);

struct Deadline {
    at: Time,
    link: Weak<Link>,
    then: Then,
}

/// What happens at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The link says whether its peer is late.
    Look,
    /// It has had its time.
    Cut,
}

impl Deadlines {
    pub(crate) fn add(&mut self, at: Time, link: &Arc<Link>, then: Then) {
        let link = Arc::downgrade(link);
        self.0.push(Deadline { at, link, then });
    }

    /// Takes one out that has come, if its connection is still there.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(Arc<Link>, Then)> {
        while self.0.peek().is_some_and(|deadline| deadline.at <= now) {
            let Deadline { link, then, .. } = self.0.pop()?;
            if let Some(link) = link.upgrade() {
                return Some((link, then));
            }
        }
        None
    }
}

impl Ord for Deadline {
    /// The earliest is the greatest: it comes first out of the heap.
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
    fn an_address_is_what_one_subscriber_has() {
        for (address, prefix, expected) in [
            ("192.0.2.1", 64, "192.0.2.1"),
            ("::ffff:192.0.2.1", 64, "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", 48, "2001:db8:1::"),
            ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 255, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 0, "::"),
        ] {
            let counted = counted_as(address.parse().unwrap(), prefix);
            assert_eq!(counted, expected.parse::<IpAddr>().unwrap(), "{address}/{prefix}");
        }
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
        let mut metrics = Metrics::default();
        connections.count_into(&mut metrics);
        assert_eq!((metrics.connections, metrics.connections_total), (0, 5));
        assert_eq!(metrics.connections_refused_total, 1);
        assert_eq!(metrics.connections_refused_by_address_total, 1);

        let none = Options::default().max_connections_per_address(0);
        assert_eq!(connections.enter(&link, peer("::1"), &none), Err(Excess::Address));
        assert!(connections.by_address.is_empty());
    }

    #[test]
    fn deadlines_come_in_their_order_and_only_to_those_who_are_left() {
        let (links, gone) = ([link(), link(), link()], link());
        let mut deadlines = Deadlines::default();
        for (millis, link) in [(30, &links[2]), (10, &links[0]), (15, &gone), (20, &links[1])] {
            deadlines.add(Time::from_millis(millis), link, Then::Cut);
        }
        drop(gone);
        assert!(deadlines.pop(Time::from_millis(9)).is_none());
        for link in &links[..2] {
            assert!(Arc::ptr_eq(&deadlines.pop(Time::from_millis(20)).unwrap().0, link));
        }
        assert!(deadlines.pop(Time::from_millis(20)).is_none());
    }
}
