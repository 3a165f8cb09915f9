//! What the user's side has a shard do with sockets and raw sessions.

use alloc::boxed::Box;

use bytestring::ByteString;

use super::recording::noted;
use super::{
    AckRequest, Command, Core, Encoded, EngineMessage, Form, Frame, Member, Message, Outputs, Reason, RoomWatch,
    SendError, Session, SessionKey, Shard, SocketKey, Standing, State, Target, Time, Welcome, engine,
};

/// Commands of the user.
impl Shard {
    /// Lets a socket into the namespace that it asked for
    /// ([`Delivery::Connect`](super::Delivery::Connect)). False if the socket is gone, or was
    /// answered before.
    pub fn accept(&mut self, now: Time, socket: SocketKey, out: &mut Outputs) -> bool {
        self.accept_as(now, socket, &Welcome::default(), out)
    }

    /// Does what [`Shard::accept`] does for a client that may come back, or that has come back.
    pub fn accept_as(&mut self, now: Time, socket: SocketKey, welcome: &Welcome, out: &mut Outputs) -> bool {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.accept(socket, welcome);
                false
            },
            { self.input(now, out).accept(socket, welcome) }
        )
    }

    /// Refuses a socket the namespace that it asked for. `data` is one JSON value.
    pub fn refuse(&mut self, now: Time, socket: SocketKey, message: &str, data: Option<&str>, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.refuse(socket, message, data);
                false
            },
            {
                let mut input = self.input(now, out);
                input.refuse(socket, message, data);
                input.depart();
            }
        )
    }

    /// Reports that no work is under way for a socket that has been told to leave
    /// ([`Delivery::Leaving`](super::Delivery::Leaving)).
    pub fn release(&mut self, now: Time, socket: SocketKey, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.at_socket("release", socket);
                false
            },
            {
                self.input(now, out).release(socket);
            }
        )
    }

    /// Queues a message for one socket. It leaves with the next [`Shard::flush_ready`].
    ///
    /// # Errors
    /// [`SendError`] says why the message was not accepted. Nothing has been queued in this case.
    pub fn emit(
        &mut self,
        now: Time,
        socket: SocketKey,
        message: &mut Message,
        ack: Option<AckRequest>,
    ) -> Result<(), SendError> {
        noted!(
            self,
            Some(now),
            None,
            None,
            |line, _| {
                line.emit(socket, message, ack);
                false
            },
            {
                let Self { core, sessions, .. } = self;
                let max_acks = core.config.max_pending_acks;
                let target = core
                    .membership
                    .find(socket)
                    .filter(|s| s.standing() == Standing::Connected);
                let target = target.ok_or(SendError::Disconnected)?;
                let slot = target.session;
                let is_full = |ack: AckRequest| target.acks() >= max_acks || target.owes(ack.id);
                if ack.is_some_and(is_full) {
                    return Err(SendError::Full);
                }
                let session = sessions.get_mut(slot).ok_or(SendError::Disconnected)?;
                if let Err(error) = core.send(now, session, message) {
                    core.counters.note_unsent(error);
                    return Err(error);
                }
                if session.becomes_ready() {
                    core.ready.push_back(slot);
                }
                if let Some(ack) = ack
                    && let Some(target) = core.membership.get_mut(socket.slot)
                {
                    target.rare_mut().acks.insert(ack.id);
                    if let Some(timeout) = ack.timeout {
                        core.timers.arm_ack(now + timeout, socket, ack.id);
                    }
                }
                Ok(())
            }
        )
    }

    /// Queues a message for one socket that has been written in one go, by a
    /// [`Direct`](crate::server::Direct) for the form of the socket's client. It does what
    /// [`Shard::emit`] does for a message without a policy, which is not volatile and asks for no
    /// acknowledgement.
    ///
    /// # Errors
    /// The errors of [`Shard::emit`], and [`SendError::Unsupported`] if the client has another
    /// form. Nothing has been queued in this case.
    pub fn emit_encoded(
        &mut self,
        now: Time,
        socket: SocketKey,
        form: Form,
        message: Encoded,
    ) -> Result<(), SendError> {
        noted!(
            self,
            Some(now),
            None,
            None,
            |line, _| {
                line.emit_encoded(socket, form, &message);
                false
            },
            {
                self.enqueue(socket, form, |core, session| {
                    session.queue_whole(message, &core.config, &mut core.backlog)
                })
            }
        )
    }

    /// Does what [`Shard::emit_encoded`] does for a packet without attachments.
    ///
    /// # Errors
    /// The errors of [`Shard::emit_encoded`].
    pub fn emit_text(&mut self, now: Time, socket: SocketKey, form: Form, packet: Frame) -> Result<(), SendError> {
        noted!(
            self,
            Some(now),
            None,
            None,
            |line, _| {
                line.emit_encoded(socket, form, &packet.clone().into());
                false
            },
            {
                self.enqueue(socket, form, |core, session| match session.adapts {
                    true => session.queue_whole(packet.into(), &core.config, &mut core.backlog),
                    false => session.queue_one(packet, &core.config, &mut core.backlog),
                })
            }
        )
    }

    /// Lets `queue` queue something for the client of a socket, if it may have it.
    #[inline]
    fn enqueue(
        &mut self,
        socket: SocketKey,
        form: Form,
        queue: impl FnOnce(&mut Core, &mut Session) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let Self { core, sessions, .. } = self;
        let target = core.membership.find(socket);
        let target = target.filter(|target| target.standing() == Standing::Connected);
        let slot = target.ok_or(SendError::Disconnected)?.session;
        let session = sessions.get_mut(slot).ok_or(SendError::Disconnected)?;
        if let Err(error) = core.may_send(session, form) {
            core.counters.note_unsent(error);
            return Err(error);
        }
        if let Err(error) = queue(core, session) {
            core.counters.note_queue(session);
            core.counters.note_unsent(error);
            return Err(error);
        }
        if session.becomes_ready() {
            core.ready.push_back(slot);
        }
        Ok(())
    }

    /// Forgets an acknowledgement that the client owes, because nobody waits for it any more. If it
    /// comes nevertheless, it is ignored. A session that leaves does not wait for it.
    pub fn forget_ack(&mut self, now: Time, socket: SocketKey, id: u64, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.forget_ack(socket, id);
                false
            },
            {
                let mut input = self.input(now, out);
                input.at_session_of(socket, |mut at| at.forget_ack(socket, id));
                input.depart();
            }
        )
    }

    /// Tells the client of a socket that so many of its events have been had, counted as in
    /// [`Welcome::confirmed`]. Only a client that has asked for confirmations understands it
    /// (docs/protocol/extensions.md §2). It leaves with the next [`Shard::flush_ready`]. Returns
    /// false if the socket is gone, or if the queue of its session is full.
    pub fn confirm(&mut self, now: Time, socket: SocketKey, heard: u64, out: &mut Outputs) -> bool {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.confirm(socket, heard);
                false
            },
            { self.input(now, out).confirm(socket, heard) }
        )
    }

    /// Disconnects a socket; with `close`, its whole session.
    pub fn disconnect(&mut self, now: Time, socket: SocketKey, close: bool, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.disconnect(socket, close);
                false
            },
            {
                let mut input = self.input(now, out);
                input.disconnect(socket, close, Reason::ServerNamespaceDisconnect);
                input.depart();
            }
        )
    }

    /// Disconnects a socket because its credentials have ended. `reason` says why. A reason that is
    /// no dismissal ([`Reason::is_dismissal`]) counts as [`Reason::ServerNamespaceDisconnect`].
    pub fn dismiss(&mut self, now: Time, socket: SocketKey, reason: Reason, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.dismiss(socket, reason);
                false
            },
            {
                let reason = match reason.is_dismissal() {
                    true => reason,
                    false => Reason::ServerNamespaceDisconnect,
                };
                let mut input = self.input(now, out);
                input.disconnect(socket, false, reason);
                input.depart();
            }
        )
    }

    /// Makes a socket join a room.
    ///
    /// A room cannot have the id of another socket as its name. So a message to an id reaches only
    /// its socket, even if clients may choose the names of their rooms, and even after the socket
    /// has gone. Every socket is already in the room of its own id.
    ///
    /// # Errors
    /// [`SendError::Disconnected`] if the socket is gone. [`SendError::Reserved`] if the name is
    /// the id of another socket. [`SendError::Full`] if the socket is in as many rooms as are
    /// allowed. [`SendError::Full`] also if the name is longer than
    /// [`Config::max_room_name_bytes`](super::Config::max_room_name_bytes), or than the rest of
    /// [`Config::max_room_bytes_per_socket`](super::Config::max_room_bytes_per_socket).
    pub fn join(&mut self, socket: SocketKey, room: &str) -> Result<(), SendError> {
        noted!(
            self,
            None,
            None,
            None,
            |line, _| {
                line.room("join", socket, room);
                false
            },
            {
                let membership = &self.core.membership;
                membership
                    .find(socket)
                    .filter(|s| s.standing() == Standing::Connected)
                    .ok_or(SendError::Disconnected)?;
                self.join_room(socket, room)
            }
        )
    }

    /// The rooms of a namespace in this shard, with how many members each has. It costs a look at
    /// each room.
    pub fn rooms_in(&self, namespace: &str) -> impl Iterator<Item = (&ByteString, usize)> {
        self.core.membership.rooms_in(namespace)
    }

    /// How many members a room has in this shard.
    #[must_use]
    pub fn room_len(&self, namespace: &str, room: &str) -> usize {
        self.core
            .membership
            .all(namespace, Some(room))
            .map_or(0, <[Member]>::len)
    }

    /// Sets the watch that is told of rooms from now on. Call it before there are any rooms.
    pub fn watch_rooms(&mut self, watch: Box<dyn RoomWatch>) {
        self.core.membership.watch(watch);
    }

    /// Makes a socket leave a room, if it is in it.
    pub fn leave(&mut self, socket: SocketKey, room: &str) {
        noted!(
            self,
            None,
            None,
            None,
            |line, _| {
                line.room("leave", socket, room);
                false
            },
            {
                if self.core.membership.find(socket).is_some() {
                    self.core.membership.leave(socket.slot, room);
                }
            }
        )
    }

    /// Does what [`Command::Broadcast`] says, for a caller that has several shards: the shards
    /// share the target and the message, and nothing is copied. Forms that are not encoded yet are
    /// encoded when they are first needed.
    pub fn broadcast(&mut self, now: Time, target: &Target, message: &mut Message, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.broadcast(target, message);
                false
            },
            {
                let mut input = self.input(now, out);
                input.broadcast(target, message);
                input.depart();
            }
        )
    }

    /// Applies a command to this shard's members. The command comes from the user, so only the
    /// limits of the members apply. It costs a visit to each socket of the target. A broadcast also
    /// costs one look at each session's queue.
    pub fn handle_command(&mut self, now: Time, command: Command, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.command(&command);
                false
            },
            {
                self.input(now, out).handle_command(command);
            }
        )
    }

    /// Queues a message on a raw Engine.IO session.
    ///
    /// # Errors
    /// [`SendError`] says why the message was not accepted. [`SendError::Unsupported`] means a text
    /// with a raw U+001E for a client of revision 4 that polls, because this character ends a
    /// packet there.
    pub fn send_engine(&mut self, session: SessionKey, message: EngineMessage) -> Result<(), SendError> {
        noted!(
            self,
            None,
            None,
            None,
            |line, _| {
                line.send_engine(session, &message);
                false
            },
            {
                let Self { core, sessions, .. } = self;
                let target = sessions.named_mut(session).ok_or(SendError::Disconnected)?;
                let frame = engine::encode_raw(target, &message, &mut core.buffer)?;
                if target.state != State::Open {
                    return Err(SendError::Disconnected);
                }
                if !target.flows() && core.backlog.is_exceeded() {
                    return Err(SendError::Full);
                }
                target.queue(
                    core::iter::once(&frame),
                    1,
                    frame.len(),
                    &core.config,
                    &mut core.backlog,
                )?;
                if target.becomes_ready() {
                    core.ready.push_back(session.slot);
                }
                Ok(())
            }
        )
    }

    /// Closes a raw Engine.IO session.
    pub fn close_engine(&mut self, now: Time, session: SessionKey, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.close_engine(session);
                false
            },
            {
                self.input(now, out).close_engine(session);
            }
        )
    }
}
