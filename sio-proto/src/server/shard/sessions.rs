//! Sessions of all generations: they are opened, found, given packets, and closed.

use alloc::vec::Vec;

use super::{
    At, Core, Delivery, Due, Form, Frame, LinkId, Message, Permit, Reason, SendError, Session, SessionId, SessionKey,
    Shard, Sid, Slab, State, Time, TransportKind, legacy06,
};
use crate::id::{SessionSlot, SocketSlot};
use crate::request::NamedSession;
use crate::server::{Ended, Policy, Request, Wiring};
use crate::wire::Reassembly;

/// The sessions of a shard.
impl Slab<SessionSlot, Session> {
    /// The name of the session in this slot, which is in use.
    pub(crate) fn key(&self, slot: SessionSlot) -> SessionKey {
        SessionKey {
            slot,
            generation: self.generation(slot),
        }
    }

    /// The names of all sessions, in slot order.
    pub(crate) fn keys(&self) -> Vec<SessionKey> {
        self.slots().map(|slot| self.key(slot)).collect()
    }

    /// The session of this name, if it is still there.
    pub(crate) fn named(&self, key: SessionKey) -> Option<&Session> {
        self.find(key.slot, key.generation)
    }

    /// The session of this name, to change it.
    pub(crate) fn named_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.find_mut(key.slot, key.generation)
    }
}

impl Shard {
    /// Makes a session for the request of the permit. The permit has counted the session.
    pub(in crate::server) fn open_session(
        &mut self,
        permit: Permit,
        transport: TransportKind,
        link: Option<LinkId>,
        wiring: Wiring,
    ) -> SessionKey {
        let handshake = permit.into_handshake();
        let meter = self.core.meter(self.core.config.session_rate, handshake.issued);
        let id = self.core.new_session_id(self.sessions.vacant().0);
        let session = Session::new(id, transport, link, handshake, meter, wiring);
        self.core.turnover += 1;
        self.core.counters.enter(session.generation(), transport);
        if let Form::Plain(codec) = session.form() {
            self.core.plain_sessions[usize::from(codec)] += 1;
        }
        let (slot, generation) = self.sessions.insert(session);
        SessionKey { slot, generation }
    }

    /// The open session with this id, and its name.
    pub(crate) fn find_session(&self, id: &str) -> Option<(SessionKey, &Session)> {
        self.session_at(&NamedSession::read(&self.core.key, id)?)
    }

    /// The open session that a request names, and its name. The id is read now only if no router
    /// has read it.
    pub(crate) fn requested_session(&self, request: &Request) -> Option<(SessionKey, &Session)> {
        match &request.named {
            Some(named) => self.session_at(named),
            None => self.find_session(request.session_id()?),
        }
    }

    /// The place in an id only says where to look: the whole id decides.
    fn session_at(&self, named: &NamedSession) -> Option<(SessionKey, &Session)> {
        let slot = SessionSlot(named.slot);
        let session = self.sessions.get(slot)?;
        (named.shard == self.core.index && session.id == named.id).then(|| (self.sessions.key(slot), session))
    }

    /// Forgets deadlines whose reasons have gone, if there may be many of them.
    pub(super) fn forget_stale_deadlines(&mut self) {
        if !self.core.timers.are_mostly_stale() {
            return;
        }
        let (sessions, membership) = (&self.sessions, &self.core.membership);
        self.core.timers.retain(|due| match due {
            Due::Session(key, ..) | Due::Leave(key, _) => sessions.holds(key.slot, key.generation),
            Due::Ack(key, id) => membership.find(*key).is_some_and(|socket| socket.owes(*id)),
        });
    }
}

impl Core {
    pub(super) fn new_sid(&mut self, slot: SocketSlot) -> Sid {
        let mut random = [0; Sid::RANDOM];
        self.entropy.fill(&mut random);
        Sid::new(&self.key, self.index, slot.0, random)
    }

    fn new_session_id(&mut self, slot: SessionSlot) -> SessionId {
        let mut random = [0; SessionId::RANDOM];
        self.entropy.fill(&mut random);
        SessionId::new(&self.key, self.index, slot.0, random)
    }

    /// Whether the server is shutting down, so that no sessions are opened any more.
    pub(crate) const fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }

    /// Notes that a queue has room again, if somebody waits for it.
    pub(super) fn note_room(&mut self, key: SessionKey, session: &mut Session) {
        if session.becomes_roomy(&self.config) {
            self.roomy.push(key);
        }
    }

    /// Queues a message for a session.
    pub(super) fn send(&mut self, now: Time, session: &mut Session, message: &mut Message) -> Result<(), SendError> {
        if session.state != State::Open {
            return Err(SendError::Disconnected);
        }
        let moment = message.moment.unwrap_or(now);
        if message.volatile && !session.is_writable(moment) {
            return Err(SendError::Dropped);
        }
        let form = session.form();
        if let Form::Plain(_) = form {
            legacy06::message::check(message)?;
        }
        message.encode(form, &self.config, &mut self.buffer)?;
        if !session.flows() && self.backlog.is_exceeded() {
            return Err(message.policy.verdict(SendError::Full));
        }
        if message.policy != Policy::Ordered {
            session.queue_by(message, &self.config, &mut self.backlog)?;
            self.counters.displaced += self.backlog.take_displaced();
        } else {
            let encoded = message.made(form)?;
            let (packets, bytes) = (encoded.packets(), encoded.bytes());
            let queued = session.queue(encoded.frames(), packets, bytes, &self.config, &mut self.backlog);
            if queued.is_err() {
                self.counters.note_queue(session);
            }
            queued?;
        }
        if message.volatile {
            session.volatile_at = Session::volatile_moment(moment);
        }
        Ok(())
    }

    /// Whether a session may have a message in this form that has no policy and is not volatile.
    #[inline]
    pub(super) fn may_send(&self, session: &Session, form: Form) -> Result<(), SendError> {
        if session.state != State::Open {
            return Err(SendError::Disconnected);
        }
        if session.form() != form {
            return Err(SendError::Unsupported);
        }
        if !session.flows() && self.backlog.is_exceeded() {
            return Err(SendError::Full);
        }
        Ok(())
    }
}

/// Actions on a session that all generations share.
impl<'a, G> At<'a, G> {
    /// Moves the session to another transport, with the usual carriage of this transport.
    pub(crate) fn set_transport(&mut self, transport: TransportKind) {
        let before = core::mem::replace(&mut self.session.transport, transport);
        self.session.set_stream(None);
        if before != transport {
            let generation = self.session.generation();
            self.core.counters.leave(generation, before);
            self.core.counters.enter(generation, transport);
        }
    }

    /// Tells the sockets of the session that it has another transport.
    pub(crate) fn tell_upgraded(&mut self) {
        let transport = self.session.transport;
        if self.session.is_raw() {
            let session = self.key;
            self.out
                .deliveries
                .push(Delivery::EngineUpgraded { session, transport });
        }
        let sockets = self.session.sockets.iter().map(|socket| Delivery::Upgraded {
            socket: self.core.socket_key(*socket),
            transport,
        });
        self.out.deliveries.extend(sockets);
    }

    /// Puts the session on the ready list, if it has packets and a way for them.
    pub(crate) fn mark_ready(&mut self) {
        if self.session.becomes_ready() {
            self.core.ready.push_back(self.key.slot);
        }
    }

    /// Queues one protocol packet. It is never refused, but a session with too many has to end.
    pub(crate) fn push_control(&mut self, frame: Frame) {
        self.session.outbox.push(frame);
        self.note_control();
    }

    /// Queues a heartbeat in front of what waits. A client that polls takes the queue in parts, and
    /// may be far away: behind many messages, the heartbeat would come too late.
    pub(crate) fn push_heartbeat(&mut self, frame: Frame) {
        self.session.outbox.push_heartbeat(frame);
        self.note_control();
    }

    fn note_control(&mut self) {
        let Self { core, session, key, .. } = self;
        session.recharge(&mut core.backlog);
        if session.is_overfull(&core.config) && core.overfull.last() != Some(key) {
            core.overfull.push(*key);
        }
        self.mark_ready();
    }

    /// Whether the queue of the session accepts no more messages.
    pub(crate) fn is_full(&self) -> bool {
        self.session.is_full(&self.core.config)
    }

    /// Tells the user that all sockets of the session are gone. The session itself stays.
    pub(crate) fn end_sockets(&mut self, reason: Reason) {
        self.session.reassembly = Reassembly::new();
        for socket in core::mem::take(&mut self.session.sockets).into_items() {
            step!();
            let socket = self.core.socket_key(socket);
            self.end_socket(socket, reason);
        }
    }

    /// Ends the session. Its links are forgotten too. The last writes for them are already in the
    /// outputs.
    pub(crate) fn end(mut self, reason: Reason) -> Ended<'a> {
        self.end_sockets(reason);
        let Self { core, session, out, .. } = &mut self;
        if let Some((link, answer)) = session.farewell_answer() {
            core.links.clear(link);
            out.writes.push(answer);
        }
        core.backlog.recharge(session.charged, 0);
        session.hold(0, &mut core.backlog);
        let outlives_link = session.outlives_link();
        if let Some(unconfirmed) = session.wiring.unconfirmed_mut() {
            unconfirmed.links().for_each(|link| core.links.clear(link));
            core.counters.unconfirmed += unconfirmed.end(outlives_link);
        }
        core.give_back(session);
        // One deadline is its heartbeat, and the other is its time for joining a namespace.
        core.timers.note_stale(2);
        out.released.extend(session.handshake.extension.clone());
        core.turnover += 1;
        core.counters.leave(session.generation(), session.transport);
        if let Form::Plain(codec) = session.form() {
            core.plain_sessions[usize::from(codec)] -= 1;
        }
        if session.state == State::Open {
            core.counters.close(reason);
        }
        for link in session.link().into_iter().chain(session.post()) {
            core.links.clear(link);
        }
        self.over()
    }
}
