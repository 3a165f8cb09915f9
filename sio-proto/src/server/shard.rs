//! The shard: inputs in, outputs out.
//!
//! [`Shard`] is the public type. It owns the sessions and, beside them, the [`Core`]. An input
//! finds its session, and the rules of the session's generation handle it with a cursor
//! ([`at`](super::at)). The effects on sockets, namespaces and rooms are written once for all
//! generations: [`sessions`] has the part of sessions, [`sockets`] has the part of sockets, and
//! [`broadcast`] finds the recipients of a message.
//!
//! ```text
//!   handle_request ─┐                      ┌─ engine ─┬─ revision5 ─┐
//!   handle_packets ─┼─► links ─► At ───────┤          └─ revision4 ─┤
//!   handle_closed  ─┤                      ├─ legacy09 ─────────────┼─► At: ask, event, acknowledged, left
//!   handle_timeout ─┘                      └─ legacy06 ─────────────┘
//! ```

mod breaches;
mod broadcast;
mod crowd;
mod drain;
mod inputs;
mod pipelined;
mod recording;
mod refusals;
mod returned;
mod sessions;
mod sockets;
mod timeout_reason;
mod waiting;

pub(crate) use breaches::kept_too_much;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;

use super::command::Welcome;
use super::links::{Links, Role};
use super::lobby::Lobby;
use super::membership::{Member, Membership, NoEntry, Standing};
use super::quota::{LocalQuota, QuotaLimits};
use super::timers::{Due, Timers};
use super::{
    AckError, AckRequest, Admission, Alarm, At, Auth, Backlog, Blocked, Breach, BreachKind, Budget, Carriage, Cause,
    Command, Counters, Delivery, EngineMessage, Form, Forms, Handshake, Heartbeat, Held, Input, Key, Message, Outputs,
    Part, Permit, Policy, Queued, Reason, Refused, Request, RoomWatch, SendError, Session, SessionQuota, State, Target,
    TransportKind, Write, engine, legacy06,
};
use crate::config::ConfigError;
use crate::id::SessionSlot;
use crate::id::{SessionId, SidKey};
use crate::slab::Slab;
use crate::socket::Args;
use crate::wire::Inbound;
use crate::{Config, Entropy, Frame, Legacy06, LinkId, SessionKey, Sid, SocketKey, Time};

#[cfg(feature = "transcript")]
pub(crate) use recording::Script;
use recording::noted;
pub use timeout_reason::{NextTimeout, TimeoutReason};

/// A complete Socket.IO server as one value. The [module](super) has a picture.
pub struct Shard {
    pub(crate) core: Core,
    pub(crate) sessions: Slab<SessionSlot, Session>,
    /// Writes the transcript, if there is one.
    #[cfg(feature = "transcript")]
    recorder: Option<Box<super::transcript::Recorder>>,
}

/// The part of a shard beside its sessions.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) links: Links,
    quota: recording::Quota,
    lobby: Lobby,
    pub(crate) timers: Timers,
    /// A scratch buffer for encoding.
    pub(crate) buffer: BytesMut,
    membership: Membership,
    ready: VecDeque<SessionSlot>,
    pub(crate) counters: Counters,
    /// Sessions of each codec of plain messages.
    plain_sessions: [u32; Legacy06::MAX_CODECS],
    shutting_down: bool,
    /// Whether another process serves new connections, while the server drains.
    hands_over: bool,
    /// How long clients are told to stay away, while the server drains.
    pause: Option<Duration>,
    /// Whether the caller asks for reports about refused requests.
    tells_errors: bool,
    /// How long the shard waits for a session that leaves, if the server drains.
    patience: Option<Duration>,
    /// Sessions for which perhaps no work is under way any more.
    departing: Vec<SessionKey>,
    /// Sessions with more protocol packets than a peer that reads can cause.
    overfull: Vec<SessionKey>,
    /// Sessions whose queues have room again, and somebody waits for it.
    roomy: Vec<SessionKey>,
    pub(crate) backlog: Backlog,
    index: u8,
    key: SidKey,
    entropy: recording::Source,
}

impl core::fmt::Debug for Shard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shard")
            .field("index", &self.core.index)
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

/// Inputs from links and from the clock.
impl Shard {
    /// A shard without sessions. All shards of one server share `config` and `sid_key` (random, one
    /// per process). Each has another `index`.
    ///
    /// # Errors
    /// The config does not make sense.
    pub fn new(config: Config, index: u8, sid_key: [u8; 16], entropy: Box<dyn Entropy>) -> Result<Self, ConfigError> {
        let config = config.validate()?;
        Ok(Self {
            core: Core {
                timers: Timers::new(config.ping_interval, config.ping_timeout, config.connect_timeout),
                backlog: Backlog::new(Arc::new(Budget::new(config.max_total_queued_bytes))),
                quota: recording::quota(Box::new(LocalQuota::new(QuotaLimits::new(&config)))),
                lobby: Lobby::new(),
                config: Arc::new(config),
                links: Links::default(),
                buffer: BytesMut::new(),
                membership: Membership::new(),
                ready: VecDeque::new(),
                counters: Counters::default(),
                plain_sessions: [0; Legacy06::MAX_CODECS],
                shutting_down: false,
                hands_over: false,
                pause: None,
                tells_errors: false,
                patience: None,
                departing: Vec::new(),
                overfull: Vec::new(),
                roomy: Vec::new(),
                index,
                key: sid_key,
                entropy: recording::source(entropy),
            },
            sessions: Slab::new(),
            #[cfg(feature = "transcript")]
            recorder: None,
        })
    }

    /// A complete request came on `link`. It is answered now, or the link waits for its answer.
    ///
    /// Before the first limit, the cost is a look at the slots of the link and the session. The
    /// classification of the request, and the packets in its body, were made without a lock. By
    /// kind:
    /// | request | limit that is checked first | cost before it |
    /// |---|---|---|
    /// | opens a session | admission, then the quota ([`SessionQuota::enter`]) | none if it was [prepared](Request::prepare), otherwise a copy of the head |
    /// | GET, poll or stream | one at a time for each session | the look |
    /// | POST | [`Config::max_packets_per_payload`], checked earlier | the look; then each packet has the cost in [`Shard::handle_packets`] |
    /// | upgrade | one candidate for each session | the answer to the handshake |
    /// | preflight, refusal | none: it costs its answer | |
    pub fn handle_request(&mut self, now: Time, link: LinkId, request: Request, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.request(link, &request);
                false
            },
            {
                self.input(now, out).handle_request(link, request);
            }
        )
    }

    /// The head of a POST has arrived, and its body has not. Two such POSTs for one session are a
    /// breach of the protocol, and the end of its link ends the session. The complete request
    /// follows with [`Shard::handle_request`], unless the answer is in `out`.
    pub fn handle_body_started(&mut self, now: Time, link: LinkId, request: &Request, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.body_started(link, request);
                false
            },
            {
                self.input(now, out).handle_body_started(link, request);
            }
        )
    }

    /// Packets came on a websocket. `packets` is emptied. The packets have been decoded without a
    /// lock, within [`Config::packet`].
    ///
    /// Each packet costs a look at the slots of the link and the session. A packet for a namespace
    /// also costs one comparison for each namespace of the session
    /// ([`Config::max_namespaces_per_session`]). By kind:
    ///
    /// | packet | limit that is checked first | cost before it |
    /// |---|---|---|
    /// | CONNECT | the queue ([`Config::max_queued_bytes`]), [`Config::max_connects_per_second`], namespaces, [`Config::max_auth_bytes`] | none |
    /// | event | none here: it is passed on unchanged, and the caller has to bound the events that wait for handlers | |
    /// | acknowledgement | whether it is owed | a search among the pending ones ([`Config::max_pending_acks`]) |
    /// | part of a packet, attachment | the limits of the packet ([`Config::packet`]), then the bytes that the session keeps ([`Config::max_kept_bytes`]) | none |
    /// | packet of a candidate for an upgrade | [`Config::max_upgrade_packets`], [`Config::max_payload`] bytes together, then the bytes that the session keeps | none |
    /// | DISCONNECT | none: its cost depends on the rooms of the socket ([`Config::max_rooms_per_socket`]), and joins have paid for them | |
    /// | ping, pong, heartbeat | one answer in the queue | none |
    pub fn handle_packets(&mut self, now: Time, link: LinkId, packets: &mut Vec<Inbound>, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            Some(packets.as_slice()),
            |line, _| {
                line.at_link("packets", link);
                packets.is_empty()
            },
            {
                self.input(now, out).handle_packets(link, packets);
            }
        )
    }

    /// `link` is gone. Links that no session uses are ignored. If a rule was broken on such a link,
    /// the shard counts it and reports it for the log.
    pub fn handle_closed(&mut self, now: Time, link: LinkId, cause: Cause, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.closed(link, &cause);
                false
            },
            {
                self.input(now, out).handle_closed(link, cause);
            }
        )
    }

    /// Time has passed: everything that is due at `now` happens. Call it at
    /// [`Shard::next_timeout`]. An early call is harmless; a late call makes the timers late.
    pub fn handle_timeout(&mut self, now: Time, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, shard| {
                line.verb("timeout");
                shard.next_timeout().is_none_or(|next| next > now)
            },
            {
                self.input(now, out).handle_timeout();
            }
        )
    }

    fn input<'a>(&'a mut self, now: Time, out: &'a mut Outputs) -> Input<'a> {
        Input { shard: self, now, out }
    }

    /// The number of links for which [`Shard::flush_ready`] has packets.
    #[must_use]
    pub fn ready_links(&self) -> usize {
        self.core.ready.len()
    }

    /// When [`Shard::handle_timeout`] has to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.core.timers.next()
    }

    /// Pulls the packets of at most `max` ready links into `out.writes`. The writes of one link
    /// stand together. True if there is more.
    pub fn flush_ready(&mut self, now: Time, max: usize, out: &mut Outputs) -> bool {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, shard| {
                line.counted("flush", max);
                shard.ready_links() == 0
            },
            { self.input(now, out).flush_ready(max) }
        )
    }
}

/// Commands of the user.
impl Shard {
    /// Lets a socket into the namespace that it asked for ([`Delivery::Connect`]). False if the
    /// socket is gone, or was answered before.
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
                self.input(now, out).refuse(socket, message, data);
            }
        )
    }

    /// Reports that no work is under way for a socket that has been told to leave
    /// ([`Delivery::Leaving`]).
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
                    .filter(|s| s.standing == Standing::Connected);
                let target = target.ok_or(SendError::Disconnected)?;
                let slot = target.session;
                let is_full = |ack: AckRequest| target.acks.len() >= max_acks || target.acks.contains(&ack.id);
                if ack.is_some_and(is_full) {
                    return Err(SendError::Full);
                }
                let session = sessions.get_mut(slot).ok_or(SendError::Disconnected)?;
                core.send(now, session, message)?;
                if session.becomes_ready() {
                    core.ready.push_back(slot);
                }
                if let Some(ack) = ack
                    && let Some(target) = core.membership.get_mut(socket.slot)
                {
                    target.acks.insert(ack.id);
                    if let Some(timeout) = ack.timeout {
                        core.timers.arm_ack(now + timeout, socket, ack.id);
                    }
                }
                Ok(())
            }
        )
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
                self.input(now, out)
                    .at_session_of(socket, |mut at| at.forget_ack(socket, id));
                self.forget_stale_deadlines();
            }
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
    /// [`Config::max_room_name_bytes`], or than the rest of [`Config::max_room_bytes_per_socket`].
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
                    .filter(|s| s.standing == Standing::Connected)
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

/// Questions.
impl Shard {
    /// The settings, as validated.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.core.config
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many sessions there are and have been, by generation and transport.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// What the shard holds now, besides its sessions.
    #[must_use]
    pub fn held(&self) -> Held {
        let (sockets, namespaces, rooms) = self.core.membership.counts();
        Held {
            sockets,
            namespaces,
            rooms,
            timers: self.core.timers.len(),
        }
    }

    /// The forms that the sessions of this shard need now.
    #[must_use]
    pub fn forms_in_use(&self) -> Forms {
        let packets = [Form::Engine4, Form::Engine3, Form::Legacy09];
        let packets = packets
            .into_iter()
            .filter(|form| self.core.counters.is_present(form.generation()));
        let plain = (0..).map(Form::Plain).zip(&self.core.plain_sessions);
        let plain = plain.filter_map(|(form, sessions)| (*sessions > 0).then_some(form));
        let mut forms = Forms::default();
        packets.chain(plain).for_each(|form| forms.insert(form));
        forms
    }

    /// The connected socket with this id, if it lives in this shard. The id is the public id, or
    /// the id by which the client knows itself. If several sockets of a session share such an id
    /// ([`WireId`](crate::WireId)), the result is the socket in `/`.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<SocketKey> {
        self.find_named(None, id)
    }

    /// The rooms of a socket, without the room of its own id.
    #[must_use]
    pub fn rooms(&self, socket: SocketKey) -> Vec<ByteString> {
        let core = &self.core;
        match core.membership.find(socket) {
            Some(_) => core.membership.rooms_of(socket.slot),
            None => Vec::new(),
        }
    }

    /// The sockets of a target.
    #[must_use]
    pub fn members(&mut self, target: &Target) -> Vec<SocketKey> {
        self.targeted(target)
            .into_iter()
            .map(|m| self.core.membership.key(m.socket))
            .collect()
    }

    /// The transport of a raw Engine.IO session.
    #[must_use]
    pub fn engine_transport(&self, session: SessionKey) -> Option<TransportKind> {
        self.sessions.named(session).map(|session| session.transport)
    }

    /// The transport of a socket's session.
    #[must_use]
    pub fn transport(&self, socket: SocketKey) -> Option<TransportKind> {
        let entry = self.core.membership.find(socket)?;
        self.sessions.get(entry.session).map(|s| s.transport)
    }
}

#[cfg(test)]
mod tests;
