//! Sockets: asked for, let in or refused, heard, gone. What a generation makes of it is in its own
//! room.

use alloc::sync::Arc;

use bytestring::ByteString;

use super::{
    AckError, Args, Auth, Core, Delivery, NoEntry, Outputs, Reason, SendError, Sid, SocketKey, Standing, Time,
};
use crate::id::{SessionSlot, SocketSlot, derived_from, is_an_id};
use crate::server::membership::{RoomLimits, Socket};

/// Sockets, namespaces and rooms, for the rooms of the generations.
impl Core {
    pub(crate) fn socket_key(&self, slot: SocketSlot) -> SocketKey {
        self.membership.key(slot)
    }

    /// The connected socket with this id: the public one, or the one by which its client knows
    /// itself. Of sockets that have one id in all namespaces, the one in `namespace`, or in `/`.
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
        let socket = self.membership.get(slot).filter(|_| shard == self.index)?;
        (socket.sid == *sid && socket.standing == Standing::Connected).then(|| self.socket_key(slot))
    }

    /// The socket of a session in a namespace. A session is in few namespaces: looking through them
    /// beats a map.
    pub(crate) fn socket_in(&self, session: SessionSlot, namespace: &str) -> Option<(SocketSlot, Standing)> {
        let sockets = &self.sessions.get(session)?.sockets;
        self.membership.in_namespace(sockets, namespace)
    }

    /// The name of the namespace a socket is in, and its id.
    pub(crate) fn socket_names(&self, slot: SocketSlot) -> Option<(ByteString, Sid)> {
        let socket = self.membership.get(slot)?;
        Some((self.membership.namespace_of(socket).clone(), socket.sid))
    }

    /// A session asks to join a namespace it is not in. Limits are asked first: nothing is made for
    /// a CONNECT that is refused.
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
        let sid = self.new_sid(self.membership.vacant());
        let max = self.config.max_namespaces;
        let Some(socket) = self.membership.enter(sid, slot, namespace, auth_bytes, max) else {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.auth_bytes = before;
            }
            return Err(NoEntry::Namespaces);
        };
        if let Some(session) = self.sessions.get_mut(slot) {
            session.sockets.push(socket);
        }
        out.deliveries.push(Delivery::Connect {
            socket: self.socket_key(socket),
            session: self.key(slot),
            sid,
            wire_id,
            namespace: self
                .socket_names(socket)
                .map_or_else(|| namespace.clone(), |(name, _)| name),
            auth,
            handshake,
            generation: form.generation(),
            transport,
            form,
        });
        Ok(())
    }

    pub(super) fn accept(&mut self, now: Time, key: SocketKey, out: &mut Outputs) -> bool {
        let Some(session) = self.membership.connect(key) else {
            return false;
        };
        self.leave_lobby(session);
        self.tell_accepted(now, session, key.slot, out);
        true
    }

    pub(super) fn refuse(&mut self, key: SocketKey, message: &str, data: Option<&str>, out: &mut Outputs) {
        let asked = |socket: &&Socket| socket.standing == Standing::Asked;
        let Some(socket) = self.membership.find(key).filter(asked) else {
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
        let owed = self.membership.get_mut(socket).filter(|s| s.acks.contains(&id));
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
        let Some(socket) = self.membership.find(key) else {
            return;
        };
        let session = socket.session;
        self.disconnect_socket(now, session, key.slot, close, out);
        self.note_done(session);
    }

    pub(super) fn end_socket(&mut self, slot: SocketSlot, reason: Reason, out: &mut Outputs) {
        let key = self.socket_key(slot);
        let Some(socket) = self.membership.get_mut(slot) else {
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
        let session = self.sessions.get(socket.session);
        let breach = session.and_then(|session| session.breach.clone());
        let rooms = self.membership.rooms_of(slot);
        out.deliveries.push(Delivery::Disconnect {
            socket: key,
            reason,
            breach,
            connected,
            rooms,
        });
        self.forget_socket(slot);
    }

    /// Takes a socket out of rooms, namespace and session.
    pub(super) fn forget_socket(&mut self, slot: SocketSlot) {
        let Some(socket) = self.membership.remove(slot) else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(socket.session) {
            session.sockets.retain(|s| *s != slot);
            session.auth_bytes = session.auth_bytes.saturating_sub(socket.auth_bytes);
        }
        // Less than before always has room.
        let _ = self.weigh(socket.session);
    }

    /// Whether the id is this connected socket's own.
    fn is_own_id(&self, slot: SocketSlot, id: &str) -> bool {
        let Some(socket) = self.membership.get(slot) else {
            return false;
        };
        let namespace = self.membership.namespace_of(socket);
        self.find_named(Some(namespace), id) == Some(self.socket_key(slot))
    }

    /// Puts a connected socket into a room, unless the name is another's id.
    pub(super) fn join(&mut self, slot: SocketSlot, room: &str) -> Result<(), SendError> {
        if is_an_id(&self.key, room) {
            // In the room of its own id every socket is already.
            return self.is_own_id(slot, room).then_some(()).ok_or(SendError::Reserved);
        }
        let limits = RoomLimits {
            max_rooms: self.config.max_rooms_per_socket,
            max_name_bytes: self.config.max_room_name_bytes,
            max_bytes: self.config.max_room_bytes_per_socket,
        };
        let joined = self.membership.join(slot, room, limits);
        joined.then_some(()).ok_or(SendError::Full)
    }
}
