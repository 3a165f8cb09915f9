//! Sockets: asked for, let in or refused, heard, gone. What a generation makes of it is in its own room.

use crate::id::{SessionSlot, SocketSlot};
use crate::id::{derived_from, is_an_id};
use crate::server::rooms;

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::{
    AckError, Args, Auth, Core, Delivery, Member, NoEntry, Outputs, Reason, SendError, Sid, Socket, SocketKey,
    Standing, Time,
};

/// Sockets, namespaces and rooms, for the rooms of the generations.
impl Core {
    pub(crate) fn socket_key(&self, slot: SocketSlot) -> SocketKey {
        SocketKey {
            slot,
            generation: self.sockets.generation(slot),
        }
    }

    pub(super) fn socket_mut(&mut self, key: SocketKey) -> Option<&mut Socket> {
        if !self.sockets.holds(key.slot, key.generation) {
            return None;
        }
        self.sockets.get_mut(key.slot)
    }

    /// The connected socket with this id: the public one, or the one by which its client knows itself. Of sockets that have one
    /// id in all namespaces, the one in `namespace`, or in `/`.
    pub(super) fn find_named(&self, namespace: Option<&str>, id: &str) -> Option<SocketKey> {
        if let Some(sid) = Sid::parse(id) {
            return self.find(&sid);
        }
        let (derived, session) = match derived_from(id) {
            Some((namespace, session)) => (Some(namespace), session),
            None => (None, id),
        };
        let slot = self.find_session(session)?;
        let namespace = self.sessions.get(slot)?.namespace_named(derived, namespace)?;
        match self.socket_in(slot, namespace)? {
            (socket, Standing::Connected) => Some(self.socket_key(socket)),
            (_, Standing::Asked) => None,
        }
    }

    fn find(&self, sid: &Sid) -> Option<SocketKey> {
        let (shard, slot) = sid.address(&self.key)?;
        let slot = SocketSlot(slot);
        let socket = self.sockets.get(slot).filter(|_| shard == self.index)?;
        (socket.sid == *sid && socket.standing == Standing::Connected).then(|| self.socket_key(slot))
    }

    /// The socket of a session in a namespace. A session is in few namespaces: looking through them beats a map.
    pub(crate) fn socket_in(&self, session: SessionSlot, namespace: &str) -> Option<(SocketSlot, Standing)> {
        self.sessions.get(session)?.sockets.iter().find_map(|slot| {
            let socket = self.sockets.get(*slot)?;
            (*self.namespaces.get(socket.namespace).name == *namespace).then_some((*slot, socket.standing))
        })
    }

    /// The name of the namespace a socket is in, and its id.
    pub(crate) fn socket_names(&self, slot: SocketSlot) -> Option<(ByteString, Sid)> {
        let socket = self.sockets.get(slot)?;
        Some((self.namespaces.get(socket.namespace).name.clone(), socket.sid))
    }

    /// A session asks to join a namespace it is not in. Limits are asked first: nothing is made for a CONNECT that is refused.
    pub(crate) fn ask(
        &mut self,
        slot: SessionSlot,
        namespace: &ByteString,
        auth: Auth,
        out: &mut Outputs,
    ) -> Result<(), NoEntry> {
        let Some(session) = self.sessions.get_mut(slot) else {
            return Err(NoEntry::Namespaces);
        };
        if session.sockets.len() >= self.config.max_namespaces_per_session {
            return Err(NoEntry::Namespaces);
        }
        let auth_bytes = u32::try_from(auth.bytes()).unwrap_or(u32::MAX);
        let all = session.auth_bytes.saturating_add(auth_bytes);
        if auth_bytes > 0 && all as usize > self.config.max_auth_bytes {
            return Err(NoEntry::Auth);
        }
        let before = core::mem::replace(&mut session.auth_bytes, all);
        if !self.weigh(slot) {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.auth_bytes = before;
            }
            return Err(NoEntry::Auth);
        }
        let Some(session) = self.sessions.get(slot) else {
            return Err(NoEntry::Namespaces);
        };
        let (handshake, transport, form) = (Arc::clone(&session.handshake), session.transport, session.form());
        let wire_id = session.wire_id();
        let Some(entered) = self.namespaces.enter(namespace, self.config.max_namespaces) else {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.auth_bytes = before;
            }
            return Err(NoEntry::Namespaces);
        };
        let sid = self.new_sid(self.sockets.vacant().0);
        let (socket, _) = self.sockets.insert(Socket {
            sid,
            session: slot,
            namespace: entered,
            standing: Standing::Asked,
            position: 0,
            rooms: Vec::new(),
            acks: alloc::collections::BTreeSet::new(),
            held: false,
            stamp: self.stamp,
            auth_bytes,
            room_bytes: 0,
        });
        if let Some(session) = self.sessions.get_mut(slot) {
            session.sockets.push(socket);
        }
        out.deliveries.push(Delivery::Connect {
            socket: self.socket_key(socket),
            session: self.key(slot),
            sid,
            wire_id,
            namespace: self.namespaces.get(entered).name.clone(),
            auth,
            handshake,
            generation: form.generation(),
            transport,
            form,
        });
        Ok(())
    }

    pub(super) fn accept(&mut self, now: Time, key: SocketKey, out: &mut Outputs) -> bool {
        let Some(socket) = self.socket_mut(key).filter(|s| s.standing == Standing::Asked) else {
            return false;
        };
        socket.standing = Standing::Connected;
        let (session, namespace) = (socket.session, socket.namespace);
        let members = &mut self.namespaces.get_mut(namespace).members;
        let position = members.len() as u32;
        members.push(Member {
            socket: key.slot,
            session,
        });
        if let Some(socket) = self.sockets.get_mut(key.slot) {
            socket.position = position;
        }
        self.leave_lobby(session);
        self.tell_accepted(now, session, key.slot, out);
        true
    }

    pub(super) fn refuse(&mut self, key: SocketKey, message: &str, data: Option<&str>, out: &mut Outputs) {
        let Some(socket) = self.socket_mut(key).filter(|s| s.standing == Standing::Asked) else {
            return;
        };
        let session = socket.session;
        let Some((namespace, _)) = self.socket_names(key.slot) else {
            return;
        };
        self.forget_socket(key.slot);
        self.tell_refused(session, &namespace, message, data, out);
        self.note_done(session);
    }

    /// An event for the user, from a connected socket.
    pub(crate) fn event(&self, socket: SocketSlot, name: ByteString, args: Args, ack: Option<u64>, out: &mut Outputs) {
        out.deliveries.push(Delivery::Event {
            socket: self.socket_key(socket),
            name,
            args,
            ack,
        });
    }

    /// An acknowledgement for the user; ids that are not owed are ignored.
    pub(crate) fn acknowledged(&mut self, socket: SocketSlot, id: u64, args: Args, out: &mut Outputs) {
        let owed = self.sockets.get_mut(socket).filter(|s| s.acks.contains(&id));
        if let Some(owed) = owed {
            owed.acks.remove(&id);
            let session = owed.session;
            self.note_stale(1);
            self.note_done(session);
            out.deliveries.push(Delivery::Ack {
                socket: self.socket_key(socket),
                id,
                result: Ok(args),
            });
        }
    }

    /// The client left a namespace.
    pub(crate) fn left(&mut self, session_slot: SessionSlot, socket: SocketSlot, reason: Reason, out: &mut Outputs) {
        if let Some(session) = self.sessions.get_mut(session_slot) {
            session.sockets.retain(|s| *s != socket);
        }
        self.end_socket(socket, reason, out);
        self.note_done(session_slot);
    }

    pub(super) fn disconnect(&mut self, now: Time, key: SocketKey, close: bool, out: &mut Outputs) {
        let Some(socket) = self.socket_mut(key) else { return };
        let session = socket.session;
        self.disconnect_socket(now, session, key.slot, close, out);
        self.note_done(session);
    }

    pub(super) fn end_socket(&mut self, slot: SocketSlot, reason: Reason, out: &mut Outputs) {
        let key = self.socket_key(slot);
        let Some(socket) = self.sockets.get_mut(slot) else {
            return;
        };
        let connected = socket.standing == Standing::Connected;
        for id in core::mem::take(&mut socket.acks) {
            out.deliveries.push(Delivery::Ack {
                socket: key,
                id,
                result: Err(AckError::Disconnected),
            });
        }
        let rooms = self.rooms_of(slot);
        out.deliveries.push(Delivery::Disconnect {
            socket: key,
            reason,
            connected,
            rooms,
        });
        self.forget_socket(slot);
    }

    /// The names of the rooms a socket is in, the one of its own id not among them.
    pub(super) fn rooms_of(&self, slot: SocketSlot) -> Vec<ByteString> {
        let rooms = self.sockets.get(slot).map_or(&[][..], |socket| &socket.rooms);
        let rooms = rooms.iter().filter_map(|(room, _)| self.rooms.get(*room));
        rooms.map(|room| room.name.clone()).collect()
    }

    /// Takes a socket out of rooms, namespace and session.
    pub(super) fn forget_socket(&mut self, slot: SocketSlot) {
        rooms::leave_all(&mut self.rooms, &mut self.namespaces, &mut self.sockets, slot);
        let Some(socket) = self.sockets.remove(slot) else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(socket.session) {
            session.sockets.retain(|s| *s != slot);
            session.auth_bytes = session.auth_bytes.saturating_sub(socket.auth_bytes);
        }
        // Less than before always has room.
        let _ = self.weigh(socket.session);
        if socket.standing == Standing::Connected {
            let members = &mut self.namespaces.get_mut(socket.namespace).members;
            members.swap_remove(socket.position as usize);
            crate::server::trim(members);
            if let Some(moved) = members.get(socket.position as usize).copied()
                && let Some(moved) = self.sockets.get_mut(moved.socket)
            {
                moved.position = socket.position;
            }
        }
        self.namespaces.exit(socket.namespace);
    }

    /// Whether the id is this connected socket's own.
    fn is_own_id(&self, slot: SocketSlot, id: &str) -> bool {
        let Some(socket) = self.sockets.get(slot) else {
            return false;
        };
        let namespace = &self.namespaces.get(socket.namespace).name;
        self.find_named(Some(namespace), id) == Some(self.socket_key(slot))
    }

    /// Puts a connected socket into a room, unless the name is another's id.
    pub(super) fn join(&mut self, slot: SocketSlot, room: &str) -> Result<(), SendError> {
        if is_an_id(&self.key, room) {
            // In the room of its own id every socket is already.
            return self.is_own_id(slot, room).then_some(()).ok_or(SendError::Reserved);
        }
        let limits = rooms::Limits {
            max_rooms: self.config.max_rooms_per_socket,
            max_name_bytes: self.config.max_room_name_bytes,
            max_bytes: self.config.max_room_bytes_per_socket,
        };
        let joined = rooms::join(
            &mut self.rooms,
            &mut self.namespaces,
            &mut self.sockets,
            slot,
            room,
            limits,
        );
        joined.then_some(()).ok_or(SendError::Full)
    }
}
