//! Sessions, as all generations have them: opened, found, queued for, closed.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{
    Alarm, Blocked, Carriage, Core, Delivery, Due, Form, Frame, Heartbeat, LinkId, Message, Outputs, Permit, Reason,
    SendError, Session, SessionId, SessionKey, Sid, State, Time, TransportKind, engine, legacy06,
};
use crate::id::{SessionSlot, SocketSlot};
use crate::server::Wiring;

/// Sessions, for the rooms of the generations.
impl Core {
    pub(crate) fn key(&self, slot: SessionSlot) -> SessionKey {
        SessionKey {
            slot,
            generation: self.sessions.generation(slot),
        }
    }

    /// Makes a session for the request that the permit was given to, which has counted it.
    pub(crate) fn open_session(
        &mut self,
        permit: Permit,
        transport: TransportKind,
        link: Option<LinkId>,
        wiring: Wiring,
    ) -> SessionSlot {
        let handshake = permit.into_handshake();
        let id = self.new_session_id(self.sessions.vacant().0);
        let session = Session {
            id,
            state: State::Open,
            transport,
            carriage: Carriage::of(transport),
            leaving: false,
            blocked: Blocked::NO,
            ready: false,
            link,
            parked: None,
            holder: None,
            post: None,
            adapts: false,
            volatile_at: u32::MAX,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            charged: 0,
            held: 0,
            taken: handshake.issued,
            stall_alarm: false,
            heartbeat: Heartbeat::Answered,
            sockets: Vec::new(),
            handshake,
            reassembly: crate::wire::Reassembly::new(),
            attachments_due: Time::ZERO,
            attachments_alarm: false,
            place: None,
            came_back: !transport.is_polling(),
            reserved: 0,
            auth_bytes: 0,
            connects: 0,
            connects_in: 0,
            breach: None,
            wiring,
        };
        self.counters.enter(session.generation(), transport);
        if let Form::Plain(codec) = session.form() {
            self.plain_sessions[usize::from(codec)] += 1;
        }
        let (slot, _) = self.sessions.insert(session);
        self.enter_lobby(slot);
        slot
    }

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

    /// What about so many deadlines were for has gone.
    pub(super) fn note_stale(&mut self, deadlines: usize) {
        if !self.timers.note_stale(deadlines) {
            return;
        }
        let (sessions, membership) = (&self.sessions, &self.membership);
        self.timers.retain(|due| match due {
            Due::Session(key, ..) | Due::Leave(key, _) => sessions.holds(key.slot, key.generation),
            Due::Ack(key, id) => membership.find(*key).is_some_and(|socket| socket.acks.contains(id)),
        });
    }

    /// The open session with this id.
    pub(crate) fn find_session(&self, id: &str) -> Option<SessionSlot> {
        let id = SessionId::parse(id)?;
        let (shard, slot) = id.address(&self.key)?;
        let slot = SessionSlot(slot);
        (shard == self.index && self.sessions.get(slot)?.id == id).then_some(slot)
    }

    /// Moves a session to another transport, with its usual carriage.
    pub(crate) fn set_transport(&mut self, slot: SessionSlot, transport: TransportKind) {
        if let Some(session) = self.sessions.get_mut(slot) {
            session.carriage = Carriage::of(transport);
            let before = core::mem::replace(&mut session.transport, transport);
            if before != transport {
                self.counters.leave(session.generation(), before);
                self.counters.enter(session.generation(), transport);
            }
        }
    }

    /// Tells whom a session carries that it has another transport.
    pub(crate) fn tell_upgraded(&self, slot: SessionSlot, out: &mut Outputs) {
        let Some(session) = self.sessions.get(slot) else { return };
        let transport = session.transport;
        if session.is_raw() {
            let session = self.key(slot);
            out.deliveries.push(Delivery::EngineUpgraded { session, transport });
        }
        let sockets = session.sockets.iter().map(|socket| Delivery::Upgraded {
            socket: self.membership.key(*socket),
            transport,
        });
        out.deliveries.extend(sockets);
    }

    /// Puts a session that has packets and a way for them on the ready list.
    pub(crate) fn mark_ready(&mut self, slot: SessionSlot) {
        if let Some(session) = self.sessions.get_mut(slot)
            && !session.ready
            && session.link.is_some()
            && !session.blocked.is_blocked()
            && !session.outbox.is_empty()
        {
            session.ready = true;
            self.ready.push_back(slot);
        }
    }

    /// Whether the server is going away, so that no sessions are opened any more.
    pub(crate) const fn is_shutting_down(&self) -> bool {
        self.shutting_down
    }

    /// Queues one packet of the protocol itself.
    pub(crate) fn push_control(&mut self, slot: SessionSlot, frame: Frame) {
        if let Some(session) = self.sessions.get_mut(slot) {
            if !session.queue_control(frame, &self.config, &mut self.backlog) && self.overfull.last() != Some(&slot) {
                self.overfull.push(slot);
            }
            self.mark_ready(slot);
        }
    }

    /// Whether the queue of a session takes no more messages.
    pub(crate) fn is_full(&self, slot: SessionSlot) -> bool {
        self.sessions.get(slot).is_some_and(|s| s.is_full(&self.config))
    }

    /// Queues a message.
    pub(super) fn send(&mut self, now: Time, slot: SessionSlot, message: &mut Message) -> Result<(), SendError> {
        let session = self
            .sessions
            .get_mut(slot)
            .filter(|s| s.state == State::Open)
            .ok_or(SendError::Disconnected)?;
        let moment = message.moment.unwrap_or(now);
        if message.volatile && !session.is_writable(moment) {
            return Err(SendError::Dropped);
        }
        let form = session.form();
        if let Form::Plain(_) = form {
            legacy06::message::check(message)?;
        }
        let encoded = message.encoded(form, &self.config, &mut self.buffer)?;
        if !session.flows() && self.backlog.is_exceeded() {
            return Err(SendError::Full);
        }
        let (packets, bytes) = (encoded.packets(), encoded.bytes());
        let queued = session.queue(encoded.frames(), packets, bytes, &self.config, &mut self.backlog);
        if queued.is_err() {
            self.counters.note_queue(session);
        }
        queued?;
        if message.volatile {
            session.volatile_at = Session::volatile_moment(moment);
        }
        self.mark_ready(slot);
        Ok(())
    }

    pub(super) fn handle_alarm(&mut self, now: Time, key: SessionKey, alarm: Alarm, epoch: u32, out: &mut Outputs) {
        if !self.sessions.holds(key.slot, key.generation) {
            return;
        }
        if alarm == Alarm::Stalled {
            return self.look_after_blocked(now, key, out);
        }
        self.alarm_rang(now, key.slot, alarm, epoch, out);
    }

    /// Tells the user that all sockets of a session are gone. The session itself stays.
    pub(crate) fn end_sockets(&mut self, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        session.reassembly = crate::wire::Reassembly::new();
        for socket in core::mem::take(&mut session.sockets) {
            self.end_socket(socket, reason, out);
        }
    }

    /// Forgets a session. Its links are forgotten too; what they still have to carry is in `out`
    /// already.
    pub(crate) fn remove_session(&mut self, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
        self.end_sockets(slot, reason, out);
        if let Some(mut session) = self.sessions.remove(slot) {
            if let Some((link, answer)) = engine::farewell_answer(&mut session) {
                self.links.clear(link);
                out.writes.push(answer);
            }
            self.backlog.recharge(session.charged, 0);
            session.hold(0, &mut self.backlog);
            self.give_back(&mut session);
            // Its heartbeat, and the time it has for joining a namespace.
            self.note_stale(2);
            out.released.extend(session.handshake.extension.clone());
            self.counters.leave(session.generation(), session.transport);
            if let Form::Plain(codec) = session.form() {
                self.plain_sessions[usize::from(codec)] -= 1;
            }
            if session.state == State::Open {
                self.counters.close(reason);
            }
            for link in session.link.into_iter().chain(session.post) {
                self.links.clear(link);
            }
        }
    }
}
