//! Sockets, their namespaces and rooms, and the members of a target.
//!
//! ```text
//!   enter ─► ASKED ── connect ─► CONNECTED: a member of its namespace, and of the rooms that it joins
//!              └──────── remove ────────┘
//! ```
//! It knows no wire. Of a session it knows only the slot. The slot stands beside each member, so
//! that a fan-out touches one table and not two.
//!
//! Invariants: the members of namespaces and rooms stand densely, and each socket knows its
//! position among them. A room without members and a namespace without sockets are forgotten.

mod namespace;
mod rooms;
mod socket;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::{Target, trim};
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::id::{RoomSlot, SessionSlot, SocketSlot};
use crate::slab::Slab;
use crate::{Sid, SocketKey};
use namespace::Namespaces;
use rooms::Room;

pub(crate) use rooms::Limits as RoomLimits;
pub use rooms::RoomWatch;
pub(crate) use socket::{Member, NoEntry, Socket, Standing};

/// The sockets of a shard, with their namespaces and rooms.
pub(crate) struct Membership {
    sockets: Slab<SocketSlot, Socket>,
    namespaces: Namespaces,
    rooms: Slab<RoomSlot, Room>,
    /// The mark of the last set operation.
    stamp: u32,
}

/// Whether two names of namespaces are the same. The usual name has one byte, which needs no call.
#[inline]
fn is_same_name(one: &str, other: &str) -> bool {
    match (one.as_bytes(), other.as_bytes()) {
        ([one], [other]) => one == other,
        (one, other) => one == other,
    }
}

/// Sockets.
impl Membership {
    pub(crate) const fn new() -> Self {
        Self {
            sockets: Slab::new(),
            namespaces: Namespaces::new(),
            rooms: Slab::new(),
            stamp: 0,
        }
    }

    /// For how many sockets there is at least memory.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.sockets.room()
    }

    /// What a socket holds beside its place.
    #[cfg(feature = "steps")]
    pub(crate) fn holding_of(&self, slot: SocketSlot) -> Holding {
        let Some(socket) = self.sockets.get(slot) else {
            return Holding::default();
        };
        let rare = socket.rare.as_ref().map_or_else(Holding::default, |rare| {
            Holding::tree::<u64>(rare.acks.len())
                .and(Holding::memory(size_of_val(&**rare)))
                .and(Holding::memory(
                    rare.meter.as_ref().map_or(0, |meter| size_of_val(&**meter)),
                ))
                .with(rare.name.as_ref().map(|name| name.len()))
        });
        rare.and(socket.rooms.holding())
    }

    /// The tables of sockets, namespaces and rooms, with their members.
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let rooms = self.rooms.slots().filter_map(|slot| self.rooms.get(slot));
        let rooms = rooms.map(|room| Holding::list::<Member>(room.members.capacity()).with([room.name.len()]));
        self.sockets
            .holding()
            .and(self.rooms.holding())
            .and(self.namespaces.holding())
            .with_all(rooms)
    }

    /// The slot of the next socket that enters.
    pub(crate) fn vacant(&self) -> SocketSlot {
        self.sockets.vacant().0
    }

    /// The name for callers of the socket in this slot.
    pub(crate) fn key(&self, slot: SocketSlot) -> SocketKey {
        SocketKey {
            slot,
            generation: self.sockets.generation(slot),
        }
    }

    pub(crate) fn get(&self, slot: SocketSlot) -> Option<&Socket> {
        self.sockets.get(slot)
    }

    pub(crate) fn get_mut(&mut self, slot: SocketSlot) -> Option<&mut Socket> {
        self.sockets.get_mut(slot)
    }

    /// The socket of this name, if it is still there.
    pub(crate) fn find(&self, key: SocketKey) -> Option<&Socket> {
        let socket = self.sockets.get(key.slot);
        socket.filter(|_| self.sockets.holds(key.slot, key.generation))
    }

    /// The socket of this name, to change it.
    pub(crate) fn find_mut(&mut self, key: SocketKey) -> Option<&mut Socket> {
        match self.sockets.holds(key.slot, key.generation) {
            true => self.sockets.get_mut(key.slot),
            false => None,
        }
    }

    /// The name of the namespace that a socket is in, or has asked for.
    pub(crate) fn namespace_of(&self, socket: &Socket) -> &Arc<ByteString> {
        &self.namespaces.get(socket.namespace).name
    }

    /// The one of these sockets that is in the namespace, or has asked for it.
    pub(crate) fn in_namespace(&self, sockets: &[SocketSlot], namespace: &str) -> Option<(SocketSlot, Standing)> {
        sockets.iter().find_map(|slot| {
            step!();
            let socket = self.sockets.get(*slot)?;
            is_same_name(self.namespace_of(socket), namespace).then_some((*slot, socket.standing()))
        })
    }

    /// A session asks for a namespace, which is made if necessary. `None` if there are already
    /// `max_namespaces`.
    pub(crate) fn enter(
        &mut self,
        sid: Sid,
        session: SessionSlot,
        namespace: &ByteString,
        auth_bytes: u32,
        max_namespaces: usize,
    ) -> Option<SocketSlot> {
        let namespace = self.namespaces.enter(namespace, max_namespaces)?;
        let socket = Socket::new(sid, session, namespace, self.stamp, auth_bytes);
        let (socket, _) = self.sockets.insert(socket);
        Some(socket)
    }

    /// A socket that has asked becomes a member of its namespace. Returns its session. `None` if
    /// the socket has not asked, or was answered before.
    pub(crate) fn connect(&mut self, key: SocketKey) -> Option<SessionSlot> {
        let namespaces = &mut self.namespaces;
        if !self.sockets.holds(key.slot, key.generation) {
            return None;
        }
        let socket = self.sockets.get_mut(key.slot)?;
        if socket.standing() != Standing::Asked {
            return None;
        }
        let members = &mut namespaces.get_mut(socket.namespace).members;
        socket.set_connected();
        socket.position = members.len() as u32;
        members.push(Member {
            socket: key.slot,
            session: socket.session,
        });
        Some(socket.session)
    }

    /// Gives a connected socket another id than the drawn one. This id does not name the place of
    /// the socket in the table, so it becomes a room in which the socket is alone: messages to the
    /// id find it there.
    pub(crate) fn rename(&mut self, slot: SocketSlot, id: &str) {
        const OWN: rooms::Limits = rooms::Limits {
            max_rooms: usize::MAX,
            max_name_bytes: usize::MAX,
            max_bytes: usize::MAX,
        };
        let joined = self.join(slot, id, OWN);
        debug_assert!(joined, "nothing bounds the room of a socket's own id");
        if let Some(socket) = self.sockets.get_mut(slot) {
            socket.rare_mut().name = Some(id.into());
        }
    }

    /// Takes a socket out of its rooms and its namespace, and forgets it.
    pub(crate) fn remove(&mut self, slot: SocketSlot) -> Option<Socket> {
        self.leave_all(slot);
        let socket = self.sockets.remove(slot)?;
        if socket.standing() == Standing::Connected {
            let members = &mut self.namespaces.get_mut(socket.namespace).members;
            members.swap_remove(socket.position as usize);
            trim(members);
            if let Some(moved) = members.get(socket.position as usize).copied()
                && let Some(moved) = self.sockets.get_mut(moved.socket)
            {
                moved.position = socket.position;
            }
        }
        self.namespaces.exit(socket.namespace);
        Some(socket)
    }
}

/// Rooms.
impl Membership {
    /// Sets the watch that is told of rooms that begin and end.
    pub(crate) fn watch(&mut self, watch: Box<dyn RoomWatch>) {
        self.namespaces.watch(watch);
    }

    /// How many sockets, namespaces and rooms there are.
    pub(crate) const fn counts(&self) -> (usize, usize, usize) {
        (self.sockets.len(), self.namespaces.len(), self.rooms.len())
    }

    /// The rooms of a namespace, with how many members each has.
    pub(crate) fn rooms_in(&self, namespace: &str) -> impl Iterator<Item = (&ByteString, usize)> {
        let namespace = self.namespaces.find(namespace).map(|slot| self.namespaces.get(slot));
        let rooms = namespace.into_iter().flat_map(|namespace| &namespace.rooms);
        rooms.filter_map(|(name, room)| {
            step!();
            Some((name, self.rooms.get(*room)?.members.len()))
        })
    }

    /// The names of the rooms that a socket is in, without the room of its own id.
    pub(crate) fn rooms_of(&self, slot: SocketSlot) -> Vec<ByteString> {
        let Some(socket) = self.sockets.get(slot) else {
            return Vec::new();
        };
        step!(each socket.rooms.len());
        let rooms = socket.rooms.iter().filter_map(|(room, _)| self.rooms.get(*room));
        let others = rooms.filter(|room| !socket.is_named(&room.name));
        others.map(|room| room.name.clone()).collect()
    }
}

/// Targets.
impl Membership {
    /// All members of a namespace, or of one room in it. `None` if there is no such namespace or
    /// room.
    pub(crate) fn all(&self, namespace: &str, room: Option<&str>) -> Option<&[Member]> {
        let namespace = self.namespaces.get(self.namespaces.find(namespace)?);
        match room {
            None => Some(&namespace.members),
            Some(room) => self.rooms.get(*namespace.rooms.get(room)?).map(|room| &*room.members),
        }
    }

    /// The members of a target, each once.
    ///
    /// Names of the target may be ids. `singles` are the members with these ids: first the members
    /// for `except`, then the members for `rooms`.
    pub(crate) fn members(&mut self, target: &Target, singles: &[Option<Member>]) -> Vec<Member> {
        let Some(namespace) = self.namespaces.find(&target.namespace) else {
            return Vec::new();
        };
        self.stamp = self.stamp.wrapping_add(1);
        let stamp = self.stamp;
        if let Some(key) = target.except_socket
            && let Some(socket) = self.find_mut(key)
        {
            socket.stamp = stamp;
        }
        let Self {
            sockets,
            namespaces,
            rooms,
            ..
        } = self;
        let namespace = namespaces.get(namespace);
        let mut found = Vec::new();
        let mut meet = |members: &[Member], wanted: bool| {
            for member in members {
                step!();
                if let Some(socket) = sockets.get_mut(member.socket).filter(|s| s.stamp != stamp) {
                    socket.stamp = stamp;
                    if wanted {
                        found.push(*member);
                    }
                }
            }
        };
        let excepted = target.except.iter().map(|name| (name, false));
        let names = excepted.chain(target.rooms.iter().map(|name| (name, true)));
        for (at, (name, wanted)) in names.enumerate() {
            let room = namespace.rooms.get(name).and_then(|room| rooms.get(*room));
            let single = singles.get(at).copied().flatten();
            meet(room.map_or(single.as_slice(), |room| &room.members), wanted);
        }
        if target.rooms.is_empty() {
            meet(&namespace.members, true);
        }
        found
    }
}

#[cfg(test)]
mod tests;
