//! Sockets: they ask, are accepted or refused, send events, and leave. The folders of the
//! generations have the rules of each generation.

use alloc::boxed::Box;
use alloc::sync::Arc;

use bytestring::ByteString;

use super::{
    AckError, Args, At, Auth, Core, Delivery, Input, NoEntry, Reason, SendError, SessionKey, Shard, Sid, SocketKey,
    Standing, kept_too_much,
};
use crate::RateLimit;
use crate::id::{SocketSlot, derived_from, is_an_id};
use crate::server::membership::{RoomLimits, Socket};
use crate::server::{Meter, Session, Welcome};

/// Sockets by their ids, and their rooms.
impl Shard {
    /// The connected socket with this id. It is the public id, or the id by which its client knows
    /// itself. If several sockets share an id in all namespaces, the result is the socket in
    /// `namespace`, or in `/`.
    pub(super) fn find_named(&self, namespace: Option<&str>, id: &str) -> Option<SocketKey> {
        if let Some(sid) = Sid::parse(id) {
            return self.core.find(&sid);
        }
        let (derived, session) = match derived_from(id) {
            Some((namespace, session)) => (Some(namespace), session),
            None => (None, id),
        };
        let (_, session) = self.find_session(session)?;
        let namespace = session.namespace_named(derived, namespace)?;
        match self.core.membership.in_namespace(&session.sockets, namespace)? {
            (socket, Standing::Connected) => Some(self.core.socket_key(socket)),
            (_, Standing::Asked) => None,
        }
    }

    /// Whether the id belongs to this connected socket.
    fn is_own_id(&self, key: SocketKey, id: &str) -> bool {
        let socket = self.core.membership.find(key);
        if socket.is_some_and(|socket| socket.is_named(id)) {
            return true;
        }
        if let (Some(socket), Some(sid)) = (socket, Sid::parse(id)) {
            return socket.sid == sid && socket.name().is_none();
        }
        let namespace = socket.map(|socket| &***self.core.membership.namespace_of(socket));
        self.find_named(namespace, id) == Some(key)
    }

    /// Puts a connected socket into a room, unless the name is the id of another socket.
    pub(super) fn join_room(&mut self, key: SocketKey, room: &str) -> Result<(), SendError> {
        let core = &mut self.core;
        if is_an_id(&core.key, room) || core.config.keeps_for_ids(room) {
            // Every socket is already in the room of its own id.
            return self.is_own_id(key, room).then_some(()).ok_or(SendError::Reserved);
        }
        let limits = RoomLimits {
            max_rooms: core.config.max_rooms_per_socket,
            max_name_bytes: core.config.max_room_name_bytes,
            max_bytes: core.config.max_room_bytes_per_socket,
        };
        let joined = core.membership.join(key.slot, room, limits);
        joined.then_some(()).ok_or(SendError::Full)
    }

    /// The session of a socket, if the socket is still there.
    #[must_use]
    pub fn session_of(&self, socket: SocketKey) -> Option<SessionKey> {
        let socket = self.core.membership.find(socket)?;
        Some(self.sessions.key(socket.session))
    }
}

impl Core {
    fn find(&self, sid: &Sid) -> Option<SocketKey> {
        let (shard, slot) = sid.address(&self.key)?;
        let slot = SocketSlot(slot);
        let socket = self.membership.get(slot).filter(|_| shard == self.index)?;
        let is_it = socket.sid == *sid && socket.name().is_none() && socket.standing() == Standing::Connected;
        is_it.then(|| self.membership.key(slot))
    }
}

/// The user's decisions about sockets.
impl Input<'_> {
    pub(super) fn accept(&mut self, socket: SocketKey, welcome: &Welcome) -> bool {
        let Some(session) = self.shard.core.membership.connect(socket) else {
            return false;
        };
        if let Some(id) = &welcome.id {
            self.shard.core.membership.rename(socket.slot, id);
        }
        let session = self.shard.sessions.key(session);
        let found = self.at(session, |mut at: At<'_>| {
            let rate = welcome.rate.unwrap_or(at.core.config.socket_rate);
            if !rate.is_none() && !at.limit(socket, rate) {
                at.broke(kept_too_much());
                at.close(Reason::ForcedClose);
                return;
            }
            at.leave_lobby();
            at.tell_accepted(socket, welcome);
        });
        debug_assert!(found.is_some(), "a socket ends with its session");
        true
    }

    pub(super) fn confirm(&mut self, socket: SocketKey, heard: u64) -> bool {
        let connected = |socket: &&Socket| socket.standing() == Standing::Connected;
        let mut told = false;
        if self.shard.core.membership.find(socket).filter(connected).is_some() {
            self.at_session_of(socket, |at| told = at.tell_confirmed(socket, heard));
        }
        told
    }

    pub(super) fn refuse(&mut self, socket: SocketKey, message: &str, data: Option<&str>) {
        let asked = |socket: &&Socket| socket.standing() == Standing::Asked;
        if self.shard.core.membership.find(socket).filter(asked).is_none() {
            return;
        }
        self.at_session_of(socket, |mut at| {
            let namespace = at.core.namespace_of(socket);
            at.forget_socket(socket);
            at.note_done();
            at.tell_refused(&namespace, message, data);
        });
    }

    pub(super) fn disconnect(&mut self, socket: SocketKey, close: bool, reason: Reason) {
        self.at_session_of(socket, |at| at.disconnect_socket(socket, close, reason));
    }

    /// Lets a rule work on the session of a socket. Nothing happens if the socket is gone.
    pub(super) fn at_session_of(&mut self, socket: SocketKey, rule: impl FnOnce(At<'_>)) {
        if let Some(session) = self.shard.session_of(socket) {
            let found = self.at(session, rule);
            debug_assert!(found.is_some(), "a socket ends with its session");
        }
    }
}

impl Core {
    /// The name of the socket in this slot of its session's list.
    pub(crate) fn socket_key(&self, slot: SocketSlot) -> SocketKey {
        self.membership.key(slot)
    }

    pub(crate) fn socket(&self, socket: SocketKey) -> &Socket {
        let socket = self.membership.get(socket.slot);
        socket.expect("a rule names a socket of its session")
    }

    /// The name of the namespace that a socket is in.
    pub(crate) fn namespace_of(&self, socket: SocketKey) -> ByteString {
        ByteString::clone(self.membership.namespace_of(self.socket(socket)))
    }
}

/// Sockets, for the rules of all generations.
impl<G> At<'_, G> {
    /// The socket of the session in a namespace. A session is in few namespaces, so a search is
    /// faster than a map.
    pub(crate) fn socket_in(&self, namespace: &str) -> Option<(SocketKey, Standing)> {
        let membership = &self.core.membership;
        let (socket, standing) = membership.in_namespace(&self.session.sockets, namespace)?;
        Some((membership.key(socket), standing))
    }

    /// Limits what the client may send to a socket. If it has been in the namespace before, it has
    /// the tokens that it had there. False if there is no room to note them when it leaves.
    #[cold]
    fn limit(&mut self, socket: SocketKey, rate: RateLimit) -> bool {
        let Self { core, session, now, .. } = self;
        let Some(mut meter) = core.meter(rate, *now) else {
            return true;
        };
        let namespace = Arc::clone(core.membership.namespace_of(core.socket(socket)));
        if let Some(mut earlier) = session.rare_mut().spent.enter(&namespace) {
            meter.follow(&mut earlier, *now);
        }
        if let Some(entry) = core.membership.get_mut(socket.slot) {
            entry.rare_mut().meter = Some(meter);
        }
        self.weigh()
    }

    /// Keeps the meter of a socket that leaves its namespace.
    #[cold]
    fn keep_meter(&mut self, socket: SocketKey, meter: Box<Meter>) {
        let Self { core, session, now, .. } = self;
        let namespace = Arc::clone(core.membership.namespace_of(core.socket(socket)));
        session.rare_mut().spent.leave(*now, namespace, meter);
    }

    /// In how many namespaces the session is. Those that it has left count as well, as long as a
    /// meter of them is kept. `namespace`, which it is not in, does not count.
    fn namespaces_beside(&mut self, namespace: &ByteString) -> usize {
        let Self { core, session, now, .. } = self;
        let Session { sockets, rare, .. } = &mut **session;
        // One that it has asked for again counts with its socket.
        let is_in = |left: &ByteString| core.membership.in_namespace(sockets, left).is_some();
        let counts = |left: &ByteString| left == namespace || is_in(left);
        let left = rare.as_mut().map_or(0, |rare| rare.spent.beside(*now, counts));
        sockets.len() + left
    }

    /// The session asks to join a namespace that it is not in. Limits are checked first: nothing is
    /// made for a CONNECT that is refused.
    pub(crate) fn ask(&mut self, namespace: &ByteString, auth: Auth) -> Result<(), NoEntry> {
        if self.namespaces_beside(namespace) >= self.core.config.max_namespaces_per_session {
            return Err(NoEntry::Namespaces);
        }
        let auth_bytes = u32::try_from(auth.bytes()).unwrap_or(u32::MAX);
        let all = self.session.auth_bytes.saturating_add(auth_bytes);
        if auth_bytes > 0 && all as usize > self.core.config.max_auth_bytes {
            return Err(NoEntry::Auth);
        }
        let before = core::mem::replace(&mut self.session.auth_bytes, all);
        if !self.weigh() {
            self.session.auth_bytes = before;
            return Err(NoEntry::Auth);
        }
        let Self { core, session, key, .. } = self;
        let sid = core.new_sid(core.membership.vacant());
        let max = core.config.max_namespaces;
        let Some(socket) = core.membership.enter(sid, key.slot, namespace, auth_bytes, max) else {
            session.auth_bytes = before;
            return Err(NoEntry::Namespaces);
        };
        session.sockets.push(socket);
        let socket = core.membership.key(socket);
        let form = session.form();
        self.out.deliveries.push(Delivery::Connect {
            socket,
            session: *key,
            sid,
            wire_id: session.wire_id(),
            namespace: Arc::clone(core.membership.namespace_of(core.socket(socket))),
            auth,
            handshake: Arc::clone(&session.handshake),
            generation: form.generation(),
            transport: session.transport,
            form,
        });
        Ok(())
    }

    /// An event for the user, from a connected socket.
    #[inline]
    pub(crate) fn event(&mut self, socket: SocketKey, name: ByteString, args: Args, ack: Option<u64>) {
        let event = Delivery::Event {
            socket,
            name,
            args,
            ack,
        };
        match self.core.measures {
            true => self.measured_event(socket, event),
            false => self.out.deliveries.push(event),
        }
    }

    #[cold]
    fn measured_event(&mut self, socket: SocketKey, event: Delivery) {
        let Delivery::Event { name, args, .. } = &event else {
            return;
        };
        if self.measure(Some(socket), || name.len() + args.bytes()) {
            self.out.deliveries.push(event);
        }
    }

    /// An acknowledgement for the user. Ids that are not owed are ignored.
    pub(crate) fn acknowledged(&mut self, socket: SocketKey, id: u64, args: Args) {
        if !self.measure(Some(socket), || args.bytes()) {
            return;
        }
        let owed = self.core.membership.get_mut(socket.slot);
        if owed.is_some_and(|owed| owed.settle(id)) {
            self.core.timers.note_stale(1);
            self.note_done();
            self.out.deliveries.push(Delivery::Ack {
                socket,
                id,
                result: Ok(args),
            });
        }
    }

    /// Nobody waits for an acknowledgement any more.
    pub(super) fn forget_ack(&mut self, socket: SocketKey, id: u64) {
        let owed = self.core.membership.get_mut(socket.slot);
        if owed.is_some_and(|owed| owed.settle(id)) {
            self.core.timers.note_stale(1);
            self.note_done();
        }
    }

    /// The time for an acknowledgement is over.
    pub(super) fn give_up_ack(&mut self, socket: SocketKey, id: u64) {
        let owed = self.core.membership.find_mut(socket);
        if owed.is_some_and(|owed| owed.settle(id)) {
            self.note_done();
            self.out.deliveries.push(Delivery::Ack {
                socket,
                id,
                result: Err(AckError::TimedOut),
            });
        }
    }

    /// The client left a namespace.
    pub(crate) fn left(&mut self, socket: SocketKey, reason: Reason) {
        self.end_socket(socket, reason);
        self.note_done();
    }

    pub(super) fn end_socket(&mut self, socket: SocketKey, reason: Reason) {
        let entry = self.core.membership.get_mut(socket.slot);
        let entry = entry.expect("a rule names a socket of its session");
        let connected = entry.standing() == Standing::Connected;
        let acks = entry.rare.as_mut().map(|rare| core::mem::take(&mut rare.acks));
        for id in acks.into_iter().flatten() {
            step!();
            self.core.timers.note_stale(1);
            self.out.deliveries.push(Delivery::Ack {
                socket,
                id,
                result: Err(AckError::Disconnected),
            });
        }
        let rooms = self.core.membership.rooms_of(socket.slot);
        let breach = self.session.breach().cloned();
        self.out.deliveries.push(Delivery::Disconnect {
            socket,
            reason,
            breach,
            connected,
            rooms,
        });
        self.forget_socket(socket);
    }

    /// Takes a socket out of rooms, namespace and session.
    pub(super) fn forget_socket(&mut self, socket: SocketKey) {
        let entry = self.core.membership.get_mut(socket.slot);
        if let Some(meter) = entry.and_then(Socket::take_meter) {
            self.keep_meter(socket, meter);
        }
        let removed = self.core.membership.remove(socket.slot);
        let auth_bytes = removed.map_or(0, |removed| removed.auth_bytes);
        self.session.sockets.retain(|s| *s != socket.slot);
        self.session.auth_bytes = self.session.auth_bytes.saturating_sub(auth_bytes);
        // Fewer bytes than before always have room.
        let _ = self.weigh();
    }
}
