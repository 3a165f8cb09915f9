//! Namespaces that have sockets in this shard.

use crate::SocketKey;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::id::{NamespaceSlot, RoomSlot};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::borrow::Borrow;

use bytestring::ByteString;

use super::{Member, RoomWatch, Slab};

/// A namespace with its connected members and the rooms in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    /// Shared with what callers keep of its sockets.
    pub(crate) name: Arc<ByteString>,
    pub(crate) members: Vec<Member>,
    pub(crate) rooms: BTreeMap<ByteString, RoomSlot>,
    /// Sockets that are connected or have asked. When none is left, the namespace is forgotten.
    pub(crate) sockets: u32,
}

/// The name of a namespace, in the order of its text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name(Arc<ByteString>);

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// All namespaces of a shard, by name and by slot.
pub(crate) struct Namespaces {
    by_name: BTreeMap<Name, NamespaceSlot>,
    slab: Slab<NamespaceSlot, Namespace>,
    watch: Option<Box<dyn RoomWatch>>,
}

impl Namespaces {
    pub(crate) const fn new() -> Self {
        Self {
            by_name: BTreeMap::new(),
            slab: Slab::new(),
            watch: None,
        }
    }

    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let namespaces = self
            .slab
            .slots()
            .filter_map(|slot| self.slab.get(slot))
            .map(|namespace| {
                Holding::list::<Member>(namespace.members.capacity())
                    .and(Holding::tree::<(ByteString, RoomSlot)>(namespace.rooms.len()))
                    .and(Holding::memory(size_of::<[usize; 2]>() + size_of::<ByteString>()))
                    .with([namespace.name.len()])
            });
        Holding::tree::<(Name, NamespaceSlot)>(self.by_name.len())
            .and(self.slab.holding())
            .with_all(namespaces)
    }

    /// How many namespaces there are.
    pub(crate) const fn len(&self) -> usize {
        self.slab.len()
    }

    /// Sets the watch that is told of rooms that begin and end.
    pub(crate) fn watch(&mut self, watch: Box<dyn RoomWatch>) {
        self.watch = Some(watch);
    }

    /// A room of the namespace begins.
    pub(crate) fn add_room(&mut self, namespace: NamespaceSlot, name: ByteString, room: RoomSlot) {
        let namespace = self.slab.get_mut(namespace).expect("a socket keeps its namespace");
        if let Some(watch) = &mut self.watch {
            watch.begins(&namespace.name, &name);
        }
        namespace.rooms.insert(name, room);
    }

    /// A room of the namespace ends.
    pub(crate) fn remove_room(&mut self, namespace: NamespaceSlot, name: &str) {
        let namespace = self.slab.get_mut(namespace).expect("a socket keeps its namespace");
        if let Some(watch) = &mut self.watch {
            watch.ends(&namespace.name, name);
        }
        namespace.rooms.remove(name);
    }

    /// A socket has joined a room of the namespace.
    pub(crate) fn tell_joined(&mut self, namespace: NamespaceSlot, room: &str, socket: SocketKey) {
        if let Some(watch) = &mut self.watch
            && let Some(namespace) = self.slab.get(namespace)
        {
            watch.joined(&namespace.name, room, socket);
        }
    }

    /// A socket has left a room of the namespace.
    pub(crate) fn tell_left(&mut self, namespace: NamespaceSlot, room: &str, socket: SocketKey) {
        if let Some(watch) = &mut self.watch
            && let Some(namespace) = self.slab.get(namespace)
        {
            watch.left(&namespace.name, room, socket);
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<NamespaceSlot> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn get(&self, slot: NamespaceSlot) -> &Namespace {
        self.slab.get(slot).expect("a socket keeps its namespace")
    }

    pub(crate) fn get_mut(&mut self, slot: NamespaceSlot) -> &mut Namespace {
        self.slab.get_mut(slot).expect("a socket keeps its namespace")
    }

    /// Counts one more socket in the namespace, which is made if necessary. `None` if there are
    /// already `max` namespaces.
    pub(crate) fn enter(&mut self, name: &ByteString, max: usize) -> Option<NamespaceSlot> {
        if let Some(slot) = self.find(name) {
            self.get_mut(slot).sockets += 1;
            return Some(slot);
        }
        if self.slab.len() >= max {
            return None;
        }
        // The name may be a slice of a receive buffer, which must not be kept as long as a
        // namespace.
        let name = Arc::new(ByteString::from(&**name));
        let namespace = Namespace {
            name: Arc::clone(&name),
            members: Vec::new(),
            rooms: BTreeMap::new(),
            sockets: 1,
        };
        let (slot, _) = self.slab.insert(namespace);
        self.by_name.insert(Name(name), slot);
        Some(slot)
    }

    /// Counts one socket less. With the last socket the namespace is forgotten.
    pub(crate) fn exit(&mut self, slot: NamespaceSlot) {
        let namespace = self.get_mut(slot);
        namespace.sockets -= 1;
        if namespace.sockets == 0 {
            debug_assert!(namespace.members.is_empty() && namespace.rooms.is_empty());
            let namespace = self.slab.remove(slot).expect("looked at above");
            self.by_name.remove::<str>(&namespace.name);
        }
    }
}
