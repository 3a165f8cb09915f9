//! Bytes that wait for many owners, and whose they are.
//!
//! There is room for so many bytes in all, and each owner (a client address) has its share of it.
//! If there is too much, the owner with the most bytes gives way, and of what is kept for it, the
//! item with the most bytes. Sizes are compared in units of 1 KiB. Among equal ones, any may give
//! way. So an owner loses nothing to others as long as it has 1 KiB less than the room divided by
//! the number of owners. Clients whose address is not known share as one owner does.
//!
//! While an item has bytes, it has its places here. They are found by searches, and those by size
//! change only when the bytes cross a multiple of [`UNIT`].

use alloc::collections::{BTreeMap, BTreeSet};

/// The unit in which items and owners are compared.
const UNIT: usize = 1 << 10;

/// The bytes of the items `I`, each of which belongs to an owner `O`.
#[derive(Debug)]
pub(crate) struct Shares<O, I> {
    bytes: usize,
    /// The owners that have some.
    owners: BTreeMap<O, Share<I>>,
    /// The owners by their bytes.
    order: BTreeSet<(usize, O)>,
}

#[derive(Debug)]
struct Share<I> {
    bytes: usize,
    /// The items with bytes, by these.
    items: BTreeSet<(usize, I)>,
}

impl<I> Default for Share<I> {
    fn default() -> Self {
        Self {
            bytes: 0,
            items: BTreeSet::new(),
        }
    }
}

/// How large something is. Only what has no bytes is 0.
const fn rank(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

impl<O, I> Shares<O, I> {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: 0,
            owners: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// How many bytes wait for all items.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<O: Copy + Ord, I: Copy + Ord> Shares<O, I> {
    /// Notes how many bytes wait for an item now, and how many have waited before.
    pub(crate) fn change(&mut self, owner: O, item: I, before: usize, now: usize) {
        if before == now {
            return;
        }
        self.bytes = self.bytes - before + now;
        let share = self.owners.entry(owner).or_default();
        if rank(before) != rank(now) {
            share.items.remove(&(rank(before), item));
            if now > 0 {
                share.items.insert((rank(now), item));
            }
        }
        let (old, new) = (share.bytes, share.bytes - before + now);
        share.bytes = new;
        if rank(old) != rank(new) {
            self.order.remove(&(rank(old), owner));
            if new > 0 {
                self.order.insert((rank(new), owner));
            }
        }
        if new == 0 {
            self.owners.remove(&owner);
        }
    }

    /// The item that gives way where there is too much.
    #[cfg(any(feature = "cluster", test))]
    pub(crate) fn largest(&self) -> Option<I> {
        let (_, owner) = self.order.last()?;
        self.largest_of(*owner).map(|(_, item)| item)
    }

    /// The item that gives way for a new one, which brings so many bytes. `None` if the new one has
    /// to give way itself.
    pub(crate) fn largest_before(&self, owner: O, bytes: usize) -> Option<I> {
        let (most, largest) = self.order.last()?;
        let own = self.owners.get(&owner).map_or(0, |share| share.bytes) + bytes;
        if *most > rank(own) {
            return self.largest_of(*largest).map(|(_, item)| item);
        }
        let (size, item) = self.largest_of(owner)?;
        (size > rank(bytes)).then_some(item)
    }

    /// Whether nothing is noted.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.order.is_empty()
    }

    fn largest_of(&self, owner: O) -> Option<(usize, I)> {
        self.owners.get(&owner)?.items.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Compared with lists that are searched from end to end.
    #[test]
    fn the_largest_item_of_the_largest_owner_gives_way() {
        let (mut shares, mut model) = (Shares::new(), BTreeMap::<(Option<u8>, u64), usize>::new());
        let mut random = 1_u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (who, which) = ((random >> 28) as u8 % 5, u64::from(random >> 24) % 16);
            let who = if who == 0 { None } else { Some(who) };
            let which = which + 16 * u64::from(who.unwrap_or(0));
            let now = if random & 0x800 == 0 {
                0
            } else {
                (random >> 9) as usize % 5_000
            };
            let before = model.insert((who, which), now).unwrap_or(0);
            shares.change(who, which, before, now);
            assert_eq!(shares.bytes(), model.values().sum::<usize>());
            let of = |who: Option<u8>| model.iter().filter(move |((owner, _), _)| *owner == who);
            let sum = |who| rank(of(who).map(|(_, bytes)| bytes).sum());
            let owners: BTreeSet<_> = model.keys().map(|(owner, _)| *owner).collect();
            let most = owners.iter().map(|who| (sum(*who), *who)).max();
            let Some((size @ 1.., most)) = most else {
                assert_eq!(shares.largest(), None);
                continue;
            };
            let found = shares.largest();
            let largest = of(most).map(|((_, number), bytes)| (rank(*bytes), *number)).max();
            assert_eq!(found, largest.map(|(_, item)| item));
            // An owner that would have the most gives an item of its own.
            let own = of(who).map(|(_, bytes)| bytes).sum::<usize>() + 2_000;
            let for_new = shares.largest_before(who, 2_000);
            match size > rank(own) {
                true => assert_eq!(for_new, found),
                false => {
                    let largest = of(who).map(|((_, number), bytes)| (rank(*bytes), *number)).max();
                    let larger = largest.filter(|(size, _)| *size > 2);
                    assert_eq!(for_new, larger.map(|(_, item)| item));
                }
            }
        }
        let left: Vec<_> = model.into_iter().collect();
        left.iter()
            .for_each(|((who, which), bytes)| shares.change(*who, *which, *bytes, 0));
        assert!(shares.is_empty());
    }
}
