//! The bytes that wait on a node for all relays, and whose they are.
//!
//! There is room for so many bytes in all ([`RelayConfig`](crate::RelayConfig)), and each client
//! address has its share of it. If there is too much, the address with the most bytes gives way,
//! and of its relays the one with the most bytes. Sizes are compared in units of 1 KiB. Among equal
//! ones, any may give way. So an address loses nothing to others as long as it has 1 KiB less than
//! the room divided by the number of addresses. Relays whose client has no
//! address that is known share as one address does.
//!
//! While bytes wait for a relay, the relay has its places here. They are found by searches, and
//! change only when the bytes cross a multiple of [`UNIT`].

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::IpAddr;

use super::{LineId, NodeName};

/// The unit in which relays and addresses are compared.
const UNIT: usize = 1 << 10;

const FIRST: LineId = LineId::Outgoing(0);
const LAST: LineId = LineId::Incoming(NodeName([u8::MAX; NodeName::LEN]), u64::MAX);

#[derive(Debug, Default)]
pub(super) struct Room {
    bytes: usize,
    /// The bytes of each address that has some.
    addresses: BTreeMap<Option<IpAddr>, usize>,
    /// The addresses by their bytes.
    order: BTreeSet<(usize, Option<IpAddr>)>,
    /// The relays with bytes, by their addresses and their bytes.
    relays: BTreeSet<(Option<IpAddr>, usize, LineId)>,
}

/// How large something is. Only what has no bytes is 0.
const fn rank(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

impl Room {
    /// How many bytes wait for all relays.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes how many bytes wait for a relay now, and how many have waited before.
    pub(super) fn change(&mut self, address: Option<IpAddr>, line: LineId, before: usize, now: usize) {
        if before == now {
            return;
        }
        self.bytes = self.bytes - before + now;
        if rank(before) != rank(now) {
            self.relays.remove(&(address, rank(before), line));
            if now > 0 {
                self.relays.insert((address, rank(now), line));
            }
        }
        let bytes = self.addresses.entry(address).or_insert(0);
        let (old, new) = (*bytes, *bytes - before + now);
        *bytes = new;
        if rank(old) != rank(new) {
            self.order.remove(&(rank(old), address));
            if new > 0 {
                self.order.insert((rank(new), address));
            }
        }
        if new == 0 {
            self.addresses.remove(&address);
        }
    }

    /// The relay that gives way where there is too much.
    pub(super) fn largest(&self) -> Option<LineId> {
        let (_, address) = self.order.last()?;
        self.largest_of(*address).map(|(_, line)| line)
    }

    /// The relay that gives way for a new one, which brings so many bytes. `None` if the new one
    /// has to give way itself.
    pub(super) fn largest_before(&self, address: Option<IpAddr>, bytes: usize) -> Option<LineId> {
        let (most, largest) = self.order.last()?;
        let own = self.addresses.get(&address).copied().unwrap_or(0) + bytes;
        if *most > rank(own) {
            return self.largest_of(*largest).map(|(_, line)| line);
        }
        let (size, line) = self.largest_of(address)?;
        (size > rank(bytes)).then_some(line)
    }

    fn largest_of(&self, address: Option<IpAddr>) -> Option<(usize, LineId)> {
        let all = (address, 0, FIRST)..=(address, usize::MAX, LAST);
        let (_, size, line) = self.relays.range(all).next_back()?;
        Some((*size, *line))
    }

    /// Whether nothing is noted.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.order.is_empty() && self.relays.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;

    fn address(number: u8) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, number).into())
    }

    const fn line(number: u64) -> LineId {
        LineId::Outgoing(number)
    }

    /// Compared with lists that are searched from end to end.
    #[test]
    fn the_largest_relay_of_the_largest_address_gives_way() {
        let (mut room, mut model) = (Room::default(), BTreeMap::<(Option<IpAddr>, u64), usize>::new());
        let mut random = 1_u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (who, which) = ((random >> 28) as u8 % 5, u64::from(random >> 24) % 16);
            let who = if who == 0 { None } else { address(who) };
            let which = which + 16 * who.map_or(0, |_| 1);
            let now = if random & 0x800 == 0 {
                0
            } else {
                (random >> 9) as usize % 5_000
            };
            let before = model.insert((who, which), now).unwrap_or(0);
            room.change(who, line(which), before, now);
            assert_eq!(room.bytes(), model.values().sum::<usize>());
            let of = |who: Option<IpAddr>| model.iter().filter(move |((owner, _), _)| *owner == who);
            let sum = |who| rank(of(who).map(|(_, bytes)| bytes).sum());
            let owners: BTreeSet<_> = model.keys().map(|(owner, _)| *owner).collect();
            let most = owners.iter().map(|who| (sum(*who), *who)).max();
            let Some((size @ 1.., most)) = most else {
                assert_eq!(room.largest(), None);
                continue;
            };
            let found = room.largest();
            let largest = of(most).map(|((_, number), bytes)| (rank(*bytes), line(*number))).max();
            assert_eq!(found, largest.map(|(_, line)| line));
            // An address that would have the most gives a relay of its own.
            let own = of(who).map(|(_, bytes)| bytes).sum::<usize>() + 2_000;
            let for_new = room.largest_before(who, 2_000);
            match size > rank(own) {
                true => assert_eq!(for_new, found),
                false => {
                    let largest = of(who).map(|((_, number), bytes)| (rank(*bytes), line(*number))).max();
                    let larger = largest.filter(|(size, _)| *size > 2);
                    assert_eq!(for_new, larger.map(|(_, line)| line));
                }
            }
        }
        let left: Vec<_> = model.into_iter().collect();
        left.iter()
            .for_each(|((who, which), bytes)| room.change(*who, line(*which), *bytes, 0));
        assert!(room.is_empty());
    }
}
