//! Dense storage with generations: a key whose value is gone is recognised, and never finds another
//! value.
//!
//! ```text
//!   chunks   [ 0 ][ 1 ][ 2 ] …          slot = chunk × 64 + place in it
//!              │    │    └─ nothing in it: no memory but the generation to go on with
//!              └────┴─ up to 64 entries, each a generation and perhaps a value
//! ```
//! When the last value of a chunk goes, the chunk releases its memory. So a crowd that has gone
//! leaves nothing behind. New values go into the lowest chunk with a vacant slot, so that the other
//! chunks become empty. A chunk is never moved: a slab of a million values grows by one chunk at a
//! time.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::marker::PhantomData;

#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::id::Slot;

/// Slots in a chunk.
const CHUNK: usize = 64;

/// Values in slots. The generation of a slot grows when the slot is emptied.
#[derive(Debug)]
pub(crate) struct Slab<S, T> {
    chunks: Vec<Chunk<T>>,
    /// Chunks that are not full.
    vacant: BTreeSet<u32>,
    len: usize,
    slots: PhantomData<S>,
}

#[derive(Debug)]
struct Chunk<T> {
    /// The entries that have ever been used since the chunk was empty.
    entries: Vec<Entry<T>>,
    /// A bit for each slot that has a value.
    used: u64,
    /// The generation of entries that will be made: no key of an earlier entry can have it.
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

const fn place(slot: u32) -> (usize, usize) {
    (slot as usize / CHUNK, slot as usize % CHUNK)
}

impl<S: Slot, T> Slab<S, T> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            vacant: BTreeSet::new(),
            len: 0,
            slots: PhantomData,
        }
    }

    /// How many values there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The slot and generation that the next [`Slab::insert`] uses.
    pub(crate) fn vacant(&self) -> (S, u32) {
        let number = self.vacant.first().map_or(self.chunks.len(), |number| *number as usize);
        let first = (number * CHUNK) as u32;
        let Some(chunk) = self.chunks.get(number) else {
            return (S::new(first), 0);
        };
        let at = chunk.used.trailing_ones();
        (S::new(first + at), chunk.generation_of(at as usize))
    }

    pub(crate) fn insert(&mut self, value: T) -> (S, u32) {
        let (slot, generation) = self.vacant();
        let (number, at) = place(slot.number());
        if number == self.chunks.len() {
            self.chunks.push(Chunk {
                entries: Vec::new(),
                used: 0,
                generation: 0,
            });
            self.vacant.insert(number as u32);
        }
        let chunk = &mut self.chunks[number];
        match chunk.entries.get_mut(at) {
            Some(entry) => entry.value = Some(value),
            // The lowest vacant slot is at most one behind the last entry.
            None => chunk.entries.push(Entry {
                generation,
                value: Some(value),
            }),
        }
        chunk.used |= 1 << at;
        if chunk.used == u64::MAX {
            self.vacant.remove(&(number as u32));
        }
        self.len += 1;
        (slot, generation)
    }

    pub(crate) fn remove(&mut self, slot: S) -> Option<T> {
        let (number, at) = place(slot.number());
        let chunk = self.chunks.get_mut(number)?;
        let entry = chunk.entries.get_mut(at)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        if chunk.used == u64::MAX {
            self.vacant.insert(number as u32);
        }
        chunk.used &= !(1 << at);
        // The first chunk stays, so that a server with one client does not allocate for each value.
        if chunk.used == 0 && number > 0 {
            let generations = chunk.entries.iter().map(|entry| entry.generation);
            chunk.generation = generations.fold(chunk.generation, u32::max);
            chunk.entries = Vec::new();
        }
        self.len -= 1;
        Some(value)
    }

    fn entry(&self, slot: S) -> Option<&Entry<T>> {
        let (number, at) = place(slot.number());
        self.chunks.get(number)?.entries.get(at)
    }

    /// The generation of a slot that is in use.
    pub(crate) fn generation(&self, slot: S) -> u32 {
        self.entry(slot).map_or(0, |e| e.generation)
    }

    /// Whether `slot` is in use and of this generation.
    pub(crate) fn holds(&self, slot: S, generation: u32) -> bool {
        self.entry(slot)
            .is_some_and(|e| e.generation == generation && e.value.is_some())
    }

    /// The value in `slot`, if it is of this generation.
    pub(crate) fn find(&self, slot: S, generation: u32) -> Option<&T> {
        let entry = self.entry(slot).filter(|entry| entry.generation == generation)?;
        entry.value.as_ref()
    }

    /// The value in `slot`, to change it, if it is of this generation.
    pub(crate) fn find_mut(&mut self, slot: S, generation: u32) -> Option<&mut T> {
        let (number, at) = place(slot.number());
        let entry = self.chunks.get_mut(number)?.entries.get_mut(at)?;
        entry.value.as_mut().filter(|_| entry.generation == generation)
    }

    pub(crate) fn get(&self, slot: S) -> Option<&T> {
        self.entry(slot)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: S) -> Option<&mut T> {
        let (number, at) = place(slot.number());
        self.chunks.get_mut(number)?.entries.get_mut(at)?.value.as_mut()
    }

    /// Slots in use, in slot order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = S> + '_ {
        let chunks = (0..).zip(&self.chunks);
        chunks.flat_map(|(number, chunk)| {
            let places = (0..).zip(&chunk.entries).filter(|(_, entry)| entry.value.is_some());
            places.map(move |(at, _): (u32, _)| {
                step!();
                S::new(number * CHUNK as u32 + at)
            })
        })
    }

    /// The memory of its chunks.
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let chunks = self
            .chunks
            .iter()
            .map(|chunk| Holding::list::<Entry<T>>(chunk.entries.capacity()));
        Holding::list::<Chunk<T>>(self.chunks.capacity())
            .and(Holding::tree::<u32>(self.vacant.len()))
            .with_all(chunks)
    }

    /// For how many values there is memory.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.entries.capacity()).sum()
    }
}

impl<T> Chunk<T> {
    fn generation_of(&self, at: usize) -> u32 {
        self.entries.get(at).map_or(self.generation, |entry| entry.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionSlot;

    #[test]
    fn stale_keys_are_recognised() {
        let mut slab = Slab::<SessionSlot, _>::new();
        let (slot, generation) = slab.insert('a');
        assert!(slab.holds(slot, generation));
        assert_eq!(slab.remove(slot), Some('a'));
        assert_eq!(slab.remove(slot), None);
        let again = slab.insert('b');
        assert_eq!(again.0, slot);
        assert_ne!(again.1, generation);
        assert!(!slab.holds(slot, generation));
        assert_eq!((slab.len(), slab.slots().count()), (1, 1));
    }

    /// Hardening A16: the memory of a crowd is released, and the keys of its values do not find
    /// later values.
    #[test]
    fn a_crowd_that_has_gone_leaves_nothing() {
        let mut slab = Slab::<SessionSlot, _>::new();
        let mut old = Vec::new();
        let middle = SessionSlot(5_000);
        for round in 0..3 {
            let keys: Vec<_> = (0..10_000).map(|n| slab.insert(n)).collect();
            let unique: BTreeSet<_> = keys.iter().map(|key| key.0).collect();
            assert_eq!((unique.len(), slab.len()), (10_000, 10_000));
            assert!(
                old.iter().all(|&(slot, generation)| !slab.holds(slot, generation)),
                "round {round}"
            );
            for (slot, generation) in &keys {
                assert!(slab.holds(*slot, *generation));
                // One value in the middle stays.
                if *slot != middle {
                    slab.remove(*slot);
                }
            }
            assert_eq!(slab.slots().collect::<Vec<_>>(), [middle]);
            assert!(slab.room() <= 2 * CHUNK, "{}", slab.room());
            slab.remove(middle);
            old.extend(keys);
        }
        assert_eq!(slab.vacant().0, SessionSlot(0), "the lowest is taken first");
    }
}
