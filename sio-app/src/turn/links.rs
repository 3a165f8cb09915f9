//! The links of a shard, by the ids that the shard has for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use sio_proto::LinkId;

use crate::link::Link;
use crate::trim::trim;

/// The links by their [`LinkId`]. A slot is used again with another generation. The lowest slots
/// are used first. So after a crowd the slots at the end become free, and their memory is given
/// back.
#[derive(Default)]
pub(crate) struct Links {
    slots: Vec<(u32, Option<Arc<Link>>)>,
    free: BTreeSet<u32>,
    /// The generation for new slots. No earlier slot with the same number has had it.
    generation: u32,
}

impl Links {
    pub(crate) fn insert(&mut self, link: Arc<Link>) -> LinkId {
        let slot = self.free.pop_first().unwrap_or_else(|| {
            self.slots.push((self.generation, None));
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.1 = Some(link);
        LinkId::new(slot, entry.0)
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Arc<Link>> {
        self.slots
            .get(id.slot())
            .filter(|slot| slot.0 == id.generation())?
            .1
            .as_ref()
    }

    pub(crate) fn remove(&mut self, id: LinkId) {
        if let Some(slot) = self.slots.get_mut(id.slot()).filter(|slot| slot.0 == id.generation())
            && slot.1.take().is_some()
        {
            slot.0 = slot.0.wrapping_add(1);
            self.free.insert(id.slot() as u32);
            // Each removed slot was made for one link, so this is constant work for each link.
            while let Some((generation, None)) = self.slots.last() {
                self.generation = self.generation.max(*generation);
                self.slots.pop();
                self.free.remove(&(self.slots.len() as u32));
            }
            trim(&mut self.slots);
        }
    }
}
