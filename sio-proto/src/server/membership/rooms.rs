//! Rooms: named sets of sockets inside a namespace.
//!
//! Members stand densely in a vector, and each socket knows its position in each of its rooms. So
//! joining and leaving are constant work, and a broadcast walks memory in order. An empty room is
//! forgotten. Invariant: `rooms[r].members[p].socket == s` exactly if `sockets[s].rooms` holds `(r,
//! p)`.

use alloc::vec::Vec;

use bytestring::ByteString;

use super::{Member, Membership, trim};
use crate::SocketKey;
use crate::id::{NamespaceSlot, RoomSlot, SocketSlot};

#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) name: ByteString,
    pub(crate) members: Vec<Member>,
}

/// Receives the rooms of a shard as they begin and end. So a caller need not ask a shard that has
/// no members of a room.
///
/// It is called while the shard works. It must neither wait nor call the shard.
pub trait RoomWatch: Send {
    /// A room has its first member. [`RoomWatch::joined`] follows.
    fn begins(&mut self, namespace: &str, room: &str);
    /// A room has lost its last member.
    fn ends(&mut self, namespace: &str, room: &str);
    /// A socket has become a member of a room.
    fn joined(&mut self, namespace: &str, room: &str, socket: SocketKey) {
        let _ = (namespace, room, socket);
    }
    /// A socket is no longer a member of a room. [`RoomWatch::ends`] follows if it was the last.
    fn left(&mut self, namespace: &str, room: &str, socket: SocketKey) {
        let _ = (namespace, room, socket);
    }
}

/// How many rooms one socket may be in, and how long their names may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_rooms: usize,
    pub(crate) max_name_bytes: usize,
    pub(crate) max_bytes: usize,
}

impl Membership {
    /// Makes a socket a member of a room. True if it is a member now. False if the name is too
    /// long, or if the socket may not be in more rooms.
    pub(crate) fn join(&mut self, slot: SocketSlot, name: &str, limits: Limits) -> bool {
        let Self {
            sockets,
            namespaces,
            rooms,
            ..
        } = self;
        if name.len() > limits.max_name_bytes {
            return false;
        }
        let Some(socket) = sockets.get_mut(slot) else {
            return false;
        };
        let found = namespaces.get(socket.namespace).rooms.get(name).copied();
        step!(each socket.rooms.len());
        if found.is_some_and(|room| socket.rooms.iter().any(|(r, _)| *r == room)) {
            return true;
        }
        // The room of the socket's own id is not one of those that are counted.
        let (own, own_bytes) = socket.name().map_or((0, 0), |name| (1, name.len()));
        let (count, bytes) = (socket.rooms.len() - own, socket.room_bytes as usize - own_bytes);
        if count >= limits.max_rooms || bytes + name.len() > limits.max_bytes {
            return false;
        }
        let room = match found {
            Some(room) => room,
            None => {
                let name = ByteString::from(name);
                let (room, _) = rooms.insert(Room {
                    name: name.clone(),
                    members: Vec::new(),
                });
                namespaces.add_room(socket.namespace, name, room);
                room
            }
        };
        let members = &mut rooms.get_mut(room).expect("found or made above").members;
        socket.rooms.push((room, members.len() as u32));
        socket.room_bytes += name.len() as u32;
        members.push(Member {
            socket: slot,
            session: socket.session,
        });
        let (namespace, key) = (socket.namespace, self.key(slot));
        self.namespaces.tell_joined(namespace, name, key);
        true
    }

    /// Takes a socket out of a room, if it is in it. Nobody leaves the room of its own id.
    pub(crate) fn leave(&mut self, slot: SocketSlot, name: &str) {
        let Some(socket) = self.sockets.get_mut(slot).filter(|socket| !socket.is_named(name)) else {
            return;
        };
        let namespace = socket.namespace;
        let Some(&room) = self.namespaces.get(namespace).rooms.get(name) else {
            return;
        };
        step!(each socket.rooms.len());
        if let Some(at) = socket.rooms.iter().position(|(r, _)| *r == room)
            && let Some((_, position)) = socket.rooms.swap_remove(at)
        {
            socket.room_bytes -= name.len() as u32;
            self.take_member(slot, namespace, room, position);
        }
    }

    /// Takes a socket out of every room it is in.
    pub(super) fn leave_all(&mut self, slot: SocketSlot) {
        let Some(namespace) = self.sockets.get(slot).map(|socket| socket.namespace) else {
            return;
        };
        step!();
        while let Some((room, position)) = self.sockets.get_mut(slot).and_then(|socket| socket.rooms.pop()) {
            self.take_member(slot, namespace, room, position);
        }
    }

    fn take_member(&mut self, slot: SocketSlot, namespace: NamespaceSlot, room: RoomSlot, position: u32) {
        step!();
        let key = self.key(slot);
        let Some(entry) = self.rooms.get_mut(room) else { return };
        entry.members.swap_remove(position as usize);
        trim(&mut entry.members);
        if let Some(moved) = entry.members.get(position as usize)
            && let Some(socket) = self.sockets.get_mut(moved.socket)
            && let Some(place) = socket.rooms.iter_mut().find(|(r, _)| {
                step!();
                *r == room
            })
        {
            place.1 = position;
        }
        self.namespaces.tell_left(namespace, &entry.name, key);
        if entry.members.is_empty() {
            self.namespaces.remove_room(namespace, &entry.name);
            self.rooms.remove(room);
        }
    }
}
