//! What this node hears: the messages of the namespaces that exist here, of the rooms that have
//! members here, and, where the adapter needs it, of each socket.
//!
//! Rooms and namespaces begin and end under the locks of shards, on any thread, and the news of it
//! are work of turns. So news may arrive here in another order than they happened. They only say
//! where something has changed: what is true is looked up under the lock of the node. So the last
//! of several news brings the present state, whatever their order.

use std::sync::Arc;

use bytestring::ByteString;

use super::ClusterNode;
use crate::turn::socket::SocketCell;
use crate::user::inner::Inner;

impl ClusterNode {
    /// A namespace has begun or ended.
    pub(in crate::user) fn namespace_changed(self: &Arc<Self>, server: &Inner, namespace: &ByteString) {
        let histories = &server.shards.histories;
        if !server.namespaces.exists(namespace) {
            histories.end_namespace(namespace);
        }
        let is_closed = self.with(|node, now, out| {
            let is_closed = !server.namespaces.exists(namespace);
            if is_closed {
                node.close_namespace(now, namespace, out);
            } else if node.id(namespace).is_none() {
                node.open_namespace(now, namespace, out);
                // Rooms may have begun before.
                for room in server.shards.news.rooms_of(namespace) {
                    node.open_room(namespace, &room, out);
                }
            }
            is_closed
        });
        if is_closed {
            // A client may have come and gone since.
            histories.end_namespace(namespace);
        }
    }

    /// A room has got its first member on this node, or has lost its last.
    pub(in crate::user) fn room_changed(self: &Arc<Self>, server: &Inner, namespace: &ByteString, room: &ByteString) {
        self.with(|node, _, out| match server.shards.news.has_members(namespace, room) {
            true => node.open_room(namespace, room, out),
            false => node.close_room(namespace, room, out),
        });
    }

    /// A socket has been let in or has gone. Other nodes send to its id.
    pub(in crate::user) fn socket_changed(self: &Arc<Self>, server: &Inner, socket: &SocketCell) {
        let (namespace, id) = (socket.namespace(), socket.id());
        self.with(|node, _, out| match server.shards.find(id).is_some() {
            true => node.open_room(namespace, id, out),
            false => node.close_room(namespace, id, out),
        });
    }
}
