//! Targets, and messages to all that they mean.

use crate::id::{NamespaceSlot, SessionSlot, SocketSlot};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::BytesMut;

use super::{
    Backlog, Config, Core, Member, Message, Outputs, Reason, SendError, Session, Slab, Socket, State, Target, Time,
};

/// Targets and broadcast.
impl Core {
    /// Sends to every member of the target. The plain case (all of one room or namespace) walks the members once and touches nothing but
    /// their sessions.
    pub(super) fn broadcast(&mut self, now: Time, target: &Target, mut message: Message, out: &mut Outputs) {
        let mut full = Vec::new();
        let moment = message.moment.unwrap_or(now);
        let is_plain = target.except.is_empty() && target.except_socket.is_none() && target.rooms.len() < 2;
        let found = (!is_plain).then(|| self.members(target));
        let single = match target.rooms.first() {
            Some(room) if is_plain => self.member_by_id(&target.namespace, room),
            _ => None,
        };
        let Self {
            sessions,
            config,
            ready,
            buffer,
            namespaces,
            rooms,
            backlog,
            ..
        } = self;
        let named = || {
            let namespace = namespaces.get(namespaces.find(&target.namespace)?);
            let Some(room) = target.rooms.first() else {
                return Some(&*namespace.members);
            };
            rooms.get(*namespace.rooms.get(room)?).map(|room| &*room.members)
        };
        let members = match &found {
            Some(found) => found,
            None => named().unwrap_or(single.as_slice()),
        };
        for member in members {
            fan_out(
                sessions,
                config,
                ready,
                buffer,
                backlog,
                *member,
                moment,
                &mut message,
                &mut full,
            );
        }
        for slot in full {
            if let Some(session) = self.sessions.get(slot) {
                self.counters.note_queue(session);
            }
            // Nobody is told more over a link that takes nothing, and what it holds would stay in memory.
            if self.sessions.get(slot).is_some_and(|s| s.blocked.is_blocked()) {
                self.cut_session(slot, Reason::ForcedServerClose, out);
            } else {
                self.close_session(now, slot, Reason::ForcedServerClose, out);
            }
        }
    }

    /// The member whose id is this room name.
    pub(super) fn member_by_id(&self, namespace: &str, room: &str) -> Option<Member> {
        let key = self.find_named(Some(namespace), room)?;
        let socket = self.sockets.get(key.slot)?;
        (*self.namespaces.get(socket.namespace).name == *namespace).then_some(Member {
            socket: key.slot,
            session: socket.session,
        })
    }

    /// The members a target means, each once.
    pub(super) fn members(&mut self, target: &Target) -> Vec<Member> {
        let Some(namespace) = self.namespaces.find(&target.namespace) else {
            return Vec::new();
        };
        self.stamp = self.stamp.wrapping_add(1);
        let stamp = self.stamp;
        if let Some(key) = target.except_socket
            && let Some(socket) = self.socket_mut(key)
        {
            socket.stamp = stamp;
        }
        for room in &target.except {
            self.stamp_room(namespace, &target.namespace, room, stamp, &mut |_| ());
        }
        let mut found = Vec::new();
        if target.rooms.is_empty() {
            let Self {
                namespaces, sockets, ..
            } = self;
            stamp_members(&namespaces.get(namespace).members, sockets, stamp, &mut |m| {
                found.push(m)
            });
        }
        for room in &target.rooms {
            self.stamp_room(namespace, &target.namespace, room, stamp, &mut |m| found.push(m));
        }
        found
    }

    /// Meets every member of a room, or the socket whose id the name is, that has not been met under this stamp.
    pub(super) fn stamp_room(
        &mut self,
        namespace: NamespaceSlot,
        name: &str,
        room: &str,
        stamp: u32,
        meet: &mut dyn FnMut(Member),
    ) {
        if let Some(&slot) = self.namespaces.get(namespace).rooms.get(room) {
            let Self { rooms, sockets, .. } = self;
            let members = rooms.get(slot).map_or(&[][..], |r| &r.members);
            stamp_members(members, sockets, stamp, meet);
        } else if let Some(member) = self.member_by_id(name, room) {
            stamp_members(&[member], &mut self.sockets, stamp, meet);
        }
    }
}

fn stamp_members(members: &[Member], sockets: &mut Slab<SocketSlot, Socket>, stamp: u32, meet: &mut dyn FnMut(Member)) {
    for member in members {
        if let Some(socket) = sockets.get_mut(member.socket).filter(|s| s.stamp != stamp) {
            socket.stamp = stamp;
            meet(*member);
        }
    }
}

/// One recipient of a broadcast: a reference count and a queue slot.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of the core that a recipient concerns"
)]
fn fan_out(
    sessions: &mut Slab<SessionSlot, Session>,
    config: &Config,
    ready: &mut VecDeque<SessionSlot>,
    buffer: &mut BytesMut,
    backlog: &mut Backlog,
    member: Member,
    moment: Time,
    message: &mut Message,
    full: &mut Vec<SessionSlot>,
) {
    let Some(session) = sessions.get_mut(member.session).filter(|s| s.state == State::Open) else {
        return;
    };
    if message.volatile && !session.is_writable(moment) {
        return;
    }
    // What a parser cannot say its clients do not hear; who encodes beforehand is told.
    let Ok(encoded) = message.encoded(session.form(), config, buffer) else {
        return;
    };
    let (packets, bytes) = (encoded.packets(), encoded.bytes());
    match session.queue(encoded.frames(), packets, bytes, config, backlog) {
        Ok(()) => {}
        // No fault of the recipient's; who encodes beforehand is told.
        Err(SendError::TooLarge) => return,
        Err(_) => return full.push(member.session),
    }
    if message.volatile {
        session.volatile_at = Session::volatile_moment(moment);
    }
    if !session.ready && session.flows() {
        session.ready = true;
        ready.push_back(member.session);
    }
}
