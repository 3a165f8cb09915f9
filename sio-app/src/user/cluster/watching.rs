//! What this node hears: the messages of the namespaces that exist here, of the rooms that have
//! members here, and, where the adapter needs it, of each socket.
//!
//! Rooms and namespaces begin and end under the locks of shards, on any thread, and the news of it
//! are work of turns. So news may arrive here in another order than they happened. They only say
//! where something has changed: what is true is looked up under the lock of the node. So the last
//! of several news brings the present state, whatever their order.
//!
//! A client that is away is sent later what is said meanwhile, so its namespace and its rooms are
//! heard as long as it may come back, also if nobody else is there. Nobody tells the node when such
//! a record ends. So the node keeps in mind what it hears only for clients that are away, and looks
//! again about every two seconds.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytestring::ByteString;

use super::{ClusterNode, State};
use crate::turn::socket::SocketCell;
use crate::user::inner::Inner;

/// What is heard only because clients may come back. There is not more of it than records keep.
#[derive(Default)]
pub(super) struct Awaited {
    namespaces: BTreeSet<ByteString>,
    rooms: BTreeSet<(ByteString, ByteString)>,
}

impl Awaited {
    fn note_namespace(&mut self, namespace: &ByteString, is_awaited: bool) {
        match is_awaited {
            true => _ = self.namespaces.insert(namespace.clone()),
            false => _ = self.namespaces.remove(namespace),
        }
    }

    fn note_room(&mut self, namespace: &ByteString, room: &str, is_awaited: bool) {
        if !is_awaited && self.rooms.is_empty() {
            return;
        }
        let place = (namespace.clone(), room.into());
        match is_awaited {
            true => _ = self.rooms.insert(place),
            false => _ = self.rooms.remove(&place),
        }
    }

    /// Takes out the namespaces, at the end of the node.
    pub(super) fn take_namespaces(&mut self) -> BTreeSet<ByteString> {
        std::mem::take(&mut self.namespaces)
    }
}

impl ClusterNode {
    /// A namespace has begun or ended, or a client is about to come back to it.
    pub(in crate::user) fn namespace_changed(self: &Arc<Self>, server: &Inner, namespace: &ByteString) {
        let histories = &server.shards.histories;
        if !server.namespaces.exists(namespace) {
            histories.end_namespace(namespace);
        }
        let is_over = self.with_state(|state, now| {
            let exists = server.namespaces.exists(namespace);
            let is_awaited = !exists
                && (state.ordering.coming.contains_key(namespace) || server.shards.recovery.has_records(namespace));
            state.awaited.note_namespace(namespace, is_awaited);
            server.namespaces.note_heard(namespace, exists || is_awaited);
            let State { node, out, .. } = state;
            if !exists && !is_awaited {
                node.close_namespace(now, namespace, out);
            } else if node.id(namespace).is_none() {
                node.open_namespace(now, namespace, out);
                // Rooms may have begun before.
                for room in server.shards.news.rooms_of(namespace) {
                    node.open_room(namespace, &room, out);
                }
            }
            !exists
        });
        if is_over {
            // A client may have come and gone since.
            histories.end_namespace(namespace);
        }
    }

    /// A room has got its first member on this node, or has lost its last.
    pub(in crate::user) fn room_changed(self: &Arc<Self>, server: &Inner, namespace: &ByteString, room: &ByteString) {
        self.hear_while(server, namespace, room, || {
            server.shards.news.has_members(namespace, room)
        });
    }

    /// A socket has been let in or has gone. Other nodes send to its id.
    pub(in crate::user) fn socket_changed(self: &Arc<Self>, server: &Inner, socket: &SocketCell) {
        let id = socket.id();
        self.hear_while(server, socket.namespace(), id, || server.shards.find(id).is_some());
    }

    /// Hears a room, or the id of a socket, if it has members or a client that is away is in it.
    fn hear_while(
        self: &Arc<Self>,
        server: &Inner,
        namespace: &ByteString,
        room: &str,
        has_members: impl FnOnce() -> bool,
    ) {
        self.with_state(|state, _| {
            let State { node, out, awaited, .. } = state;
            let has_members = has_members();
            let is_awaited = !has_members
                && server.shards.recovery.has_member(namespace, room)
                && node.room_channel(namespace, room).is_some();
            awaited.note_room(namespace, room, is_awaited);
            match has_members || is_awaited {
                true => node.open_room(namespace, room, out),
                false => node.close_room(namespace, room, out),
            }
        });
    }

    /// Takes the time: looks whether somebody is still waited for.
    pub(super) fn look_for_awaited(self: &Arc<Self>, server: &Inner) {
        let (namespaces, rooms): (Vec<_>, Vec<_>) = {
            let awaited = &self.state.lock().awaited;
            (
                awaited.namespaces.iter().cloned().collect(),
                awaited.rooms.iter().cloned().collect(),
            )
        };
        for (namespace, room) in &rooms {
            match server.shards.find(room) {
                Some(socket) if socket.namespace() == namespace => self.socket_changed(server, &socket),
                _ if server.shards.recovery.has_member(namespace, room) => {}
                _ => self.room_changed(server, namespace, room),
            }
        }
        // Behind the rooms: those of a namespace that is closed are closed with it.
        namespaces
            .iter()
            .for_each(|namespace| self.namespace_changed(server, namespace));
    }
}
