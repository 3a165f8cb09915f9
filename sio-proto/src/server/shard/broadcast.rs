//! Targets, and messages to all members of a target.

use crate::id::SessionSlot;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::BytesMut;

use super::{
    At, Backlog, Breach, BreachKind, Config, Core, Input, Member, Message, Policy, Reason, SendError, Session, Shard,
    Slab, State, Target, Time,
};
use crate::server::{Collision, Form, Sent};

/// Broadcast.
impl Input<'_> {
    /// Sends a message to every member of the target. The plain case (all members of one room or
    /// namespace) walks the members once and touches only their sessions.
    pub(super) fn broadcast(&mut self, target: &Target, message: &mut Message) {
        let mut full = Vec::new();
        let moment = message.moment.unwrap_or(self.now);
        let is_plain = target.except.is_empty() && target.except_socket.is_none() && target.rooms.len() < 2;
        let found = (!is_plain).then(|| self.shard.targeted(target));
        let single = match target.rooms.first() {
            Some(room) if is_plain => self.shard.member_by_id(&target.namespace, room),
            _ => None,
        };
        let Shard { sessions, core, .. } = &mut *self.shard;
        let Core {
            config,
            ready,
            buffer,
            membership,
            backlog,
            counters,
            ..
        } = core;
        let room = target.rooms.first().map(|room| &**room);
        let members = match &found {
            Some(found) => found,
            None => membership.all(&target.namespace, room).unwrap_or(single.as_slice()),
        };
        let merges = match &message.policy {
            Policy::Merge(key) => Some(key.clone()),
            _ => None,
        };
        let (mut sent, collisions) = (Sent::default(), &mut self.out.collisions);
        for (at, member) in members.iter().enumerate() {
            if at % AHEAD == 0 && members.len() > CROWD {
                look_ahead(sessions, members.get(at..).unwrap_or_default());
            }
            step!();
            if let Some(key) = &merges
                && let Some(waiting) = sessions.get(member.session).and_then(|s| s.outbox.waiting(key))
            {
                collisions.push(Collision {
                    socket: membership.key(member.socket),
                    waiting: waiting.clone(),
                });
                continue;
            }
            match fan_out(sessions, config, ready, buffer, backlog, *member, moment, message) {
                Ok(()) => sent.reached += 1,
                Err(SendError::Disconnected) => {}
                Err(SendError::Dropped) => sent.dropped += 1,
                Err(error) => {
                    sent.refused += 1;
                    if error == SendError::Full && message.policy == Policy::Ordered {
                        full.push(member.session);
                    }
                }
            }
        }
        counters.dropped += sent.dropped as u64;
        counters.unsent += sent.refused as u64;
        counters.displaced += backlog.take_displaced();
        self.out.sent += sent;
        for slot in full {
            let key = self.shard.sessions.key(slot);
            self.at(key, |mut at: At<'_>| {
                at.core.counters.note_queue(at.session);
                at.broke(Breach::new(
                    BreachKind::Limit,
                    "the client does not take what is sent, and its queue is full",
                ));
                // No more packets are sent over a link that takes nothing, and the bytes that it
                // holds would stay in memory.
                match at.session.blocked.is_blocked() {
                    true => at.cut(Reason::ForcedServerClose),
                    false => at.close(Reason::ForcedServerClose),
                }
            });
        }
    }
}

/// Targets.
impl Shard {
    /// The member whose id is this room name.
    pub(super) fn member_by_id(&self, namespace: &str, room: &str) -> Option<Member> {
        let key = self.find_named(Some(namespace), room)?;
        let membership = &self.core.membership;
        let socket = membership.find(key)?;
        (***membership.namespace_of(socket) == *namespace).then_some(Member {
            socket: key.slot,
            session: socket.session,
        })
    }

    /// The members of a target, each once.
    pub(super) fn targeted(&mut self, target: &Target) -> Vec<Member> {
        let names = target.except.iter().chain(&target.rooms);
        let singles: Vec<_> = names.map(|name| self.member_by_id(&target.namespace, name)).collect();
        self.core.membership.members(target, &singles)
    }
}

/// From this number of members on, their sessions are probably not in the nearest caches of the
/// processor, and it is worth the instructions to read them ahead.
const CROWD: usize = 512;
/// The sessions of this many members are read ahead.
const AHEAD: usize = 16;

/// Reads the sessions of the next members, all at once: the processor then waits for their memory
/// only once, and not once for each. A shard is locked meanwhile.
#[inline(never)]
fn look_ahead(sessions: &Slab<SessionSlot, Session>, members: &[Member]) {
    let mut seen = false;
    for member in members.iter().take(AHEAD) {
        if let Some(session) = sessions.get(member.session) {
            // These are in the cache lines that a recipient needs.
            seen ^= (session.state == State::Open)
                & session.outbox.is_empty()
                & session.link().is_some()
                & (session.charged == session.held)
                & (session.form() == Form::Engine4);
        }
    }
    core::hint::black_box(seen);
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
) -> Result<(), SendError> {
    let session = sessions.get_mut(member.session).filter(|s| s.state == State::Open);
    let session = session.ok_or(SendError::Disconnected)?;
    if message.volatile && !session.is_writable(moment) {
        return Err(SendError::Dropped);
    }
    // If a message cannot be written for the recipient, this is not the recipient's fault. A caller
    // that encodes beforehand gets the error, too.
    let is_ordered = message.policy == Policy::Ordered;
    let form = session.form();
    let encoded = match message.made(form) {
        Ok(encoded) => encoded,
        Err(_) => message.encoded(form, config, buffer)?,
    };
    if is_ordered {
        match encoded.only() {
            Some(frame) if !session.adapts => session.queue_one(frame.clone(), config, backlog)?,
            _ => {
                let (packets, bytes) = (encoded.packets(), encoded.bytes());
                session.queue(encoded.frames(), packets, bytes, config, backlog)?;
            }
        }
    } else {
        session.queue_by(message, config, backlog)?;
    }
    if message.volatile {
        session.volatile_at = Session::volatile_moment(moment);
    }
    if !session.ready && session.flows() {
        session.ready = true;
        ready.push_back(member.session);
    }
    Ok(())
}
