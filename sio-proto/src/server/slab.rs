//! Dense storage with generations: a key that outlives its value is recognised, not misread.

use alloc::vec::Vec;

/// Values in slots, each slot with a generation that grows when it is emptied.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The slot and generation that the next [`Slab::insert`] uses.
    pub(crate) fn vacant(&self) -> (u32, u32) {
        match self.free.last() {
            Some(&slot) => (slot, self.entries[slot as usize].generation),
            None => (self.entries.len() as u32, 0),
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> (u32, u32) {
        let (slot, generation) = self.vacant();
        if self.free.pop().is_some() {
            self.entries[slot as usize].value = Some(value);
        } else {
            self.entries.push(Entry {
                generation,
                value: Some(value),
            });
        }
        (slot, generation)
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.entries.get_mut(slot as usize)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        Some(value)
    }

    /// The generation of a slot that is in use.
    pub(crate) fn generation(&self, slot: u32) -> u32 {
        self.entries.get(slot as usize).map_or(0, |e| e.generation)
    }

    /// Whether `slot` is in use and of this generation.
    pub(crate) fn holds(&self, slot: u32, generation: u32) -> bool {
        self.entries
            .get(slot as usize)
            .is_some_and(|e| e.generation == generation && e.value.is_some())
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.entries.get(slot as usize)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entries.get_mut(slot as usize)?.value.as_mut()
    }

    /// Slots in use, in slot order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, e)| e.value.is_some())
            .map(|(slot, _)| slot as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_keys_are_recognised() {
        let mut slab = Slab::new();
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
}
