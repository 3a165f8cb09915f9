//! The namespaces in which somebody may come back.

use alloc::collections::BTreeMap;

use bytestring::ByteString;

use super::Namespace;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::id::PlaceSlot;
use crate::slab::Slab;

/// Namespaces in places. A record knows the place of its namespace, which stays while the record is
/// there. So a message to one socket looks for no name.
pub(super) struct Namespaces<M> {
    places: Slab<PlaceSlot, Namespace<M>>,
    names: BTreeMap<ByteString, PlaceSlot>,
}

impl<M> Namespaces<M> {
    pub(super) const fn new() -> Self {
        Self {
            places: Slab::new(),
            names: BTreeMap::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.names.len(), self.places.len());
        self.names.len()
    }

    /// The tables.
    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        Holding::tree::<(ByteString, PlaceSlot)>(self.names.len()).and(self.places.holding())
    }

    /// The place of the namespace with this name.
    pub(super) fn find(&self, name: &str) -> Option<PlaceSlot> {
        self.names.get(name).copied()
    }

    /// The namespace in a place.
    #[inline]
    pub(super) fn at(&self, place: PlaceSlot) -> Option<&Namespace<M>> {
        self.places.get(place)
    }

    /// The namespace in a place, to change it.
    #[inline]
    pub(super) fn at_mut(&mut self, place: PlaceSlot) -> Option<&mut Namespace<M>> {
        self.places.get_mut(place)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Namespace<M>> {
        self.at(self.find(name)?)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Namespace<M>> {
        self.at_mut(self.find(name)?)
    }

    /// Adds a namespace. It takes the place of one with its name.
    pub(super) fn insert(&mut self, name: ByteString, namespace: Namespace<M>) -> PlaceSlot {
        if let Some(place) = self.find(&name) {
            if let Some(known) = self.at_mut(place) {
                *known = namespace;
            }
            return place;
        }
        let (place, _) = self.places.insert(namespace);
        self.names.insert(name, place);
        place
    }

    /// The namespaces with their names, in the order of the names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ByteString, &Namespace<M>)> {
        let places = self.names.iter();
        places.filter_map(|(name, place)| Some((name, self.places.get(*place)?)))
    }

    /// Does something with each namespace, in the order of the names.
    pub(super) fn for_each(&mut self, mut act: impl FnMut(&ByteString, &mut Namespace<M>)) {
        for (name, place) in &self.names {
            if let Some(namespace) = self.places.get_mut(*place) {
                act(name, namespace);
            }
        }
    }

    /// Keeps the namespaces for which `keep` returns true.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut Namespace<M>) -> bool) {
        let places = &mut self.places;
        self.names.retain(|_, place| {
            let stays = places.get_mut(*place).is_some_and(&mut keep);
            if !stays {
                places.remove(*place);
            }
            stays
        });
    }

    /// The namespace whose log keeps most bytes.
    pub(super) fn largest(&mut self) -> Option<&mut Namespace<M>> {
        let (_, largest) = {
            let sizes = self.names.values();
            let sizes = sizes.filter_map(|place| Some((self.places.get(*place)?.log.bytes(), *place)));
            sizes.max_by_key(|(bytes, _)| *bytes)?
        };
        self.places.get_mut(largest)
    }
}
