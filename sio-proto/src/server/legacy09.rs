//! A session of 0.7-0.9 (docs/protocol/legacy-0.9.md §2, §4, §6-§7, §9-§13).
//!
//! ```text
//!   GET /1/ ─► ASKING ── accepted ─► HANDSHAKEN ── transport ─► OPEN ── poll answered ─► OPEN, absent ── too long ─► (gone)
//!                 │                      └── too long ─► (gone)  ▲                            │
//!                 └─ refused ─► 403                              └────────── poll ────────────┘
//! ```
//! Opening a session asks for the namespace `/`. The handshake is answered when the user has
//! decided: a client that is refused gets the answer that a server with a failing authorization
//! sends. From then on `1::`, which tells the client that it is connected, is the first packet in
//! the queue.
//!
//! A websocket or an htmlfile is bound to its session: when it is lost, the session ends. A poll is
//! not: the session waits for the next poll.
//!
//! [`message`] converts messages, [`packets`] has the effects of packets, and [`requests`] has the
//! requests.
//!
//! Invariant: except while a websocket or stream is open, `deadline` is set, and an alarm is armed
//! for it or for an earlier time.

mod message;
pub(crate) mod packets;
pub(crate) mod requests;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytestring::ByteString;

use crate::detect::Transport;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::legacy::legacy09::{Body, Packet, Reason as Refusal, handshake};
use crate::server::{
    Alarm, Deadline, Encoded, Ended, Heartbeat, Message, More, Reason, SendError, Session, State, StreamForm,
    TimeoutReason, Unconfirmed, Wiring, at,
};
use crate::{Config, Frame, SocketKey, Time};
use bytes::BytesMut;
use requests::answer;

/// A cursor at a session of 0.7 to 0.9.
type At<'a> = at::At<'a, Legacy09>;
/// The result of a rule that may end such a session.
type Fate<'a> = at::Fate<'a, Legacy09>;

/// The part of a session that only this generation has.
#[derive(Debug)]
pub(crate) struct Legacy09 {
    pub(super) phase: Phase,
    /// Counts heartbeats, so that stale alarms are recognised.
    beat: u32,
    /// The index of the script that answers the parked request.
    pub(super) script: Option<u64>,
    /// When a poll is answered, or a client is given up.
    deadline: Deadline,
    pub(crate) unconfirmed: Unconfirmed,
    /// How packets are written on the link, if it is a stream.
    pub(super) stream: Option<Box<StreamForm>>,
    pub(super) rare: Option<Box<Rare>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The handshake waits for the user.
    Asking,
    /// The client knows its id.
    Handshaken,
    /// The client has opened this transport, perhaps after others.
    Open(Transport),
}

/// State that few sessions need.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Namespaces that the client has joined with a query, and the endpoint by which the client
    /// knows them, which includes the query.
    pub(super) aliases: Vec<(ByteString, ByteString)>,
    /// Packets for namespaces that have not been joined yet, as text.
    pub(super) held: Vec<ByteString>,
    pub(super) held_bytes: usize,
}

/// Memory of a packet in [`Rare::held`], without its text: its place in the list, which may have
/// twice as many places as are in use, and what the allocator adds.
const HELD_BYTES: usize = 2 * size_of::<ByteString>() + 16;

impl Legacy09 {
    /// Whether the client knows the session and may use it.
    pub(crate) fn is_handshaken(&self) -> bool {
        self.phase != Phase::Asking
    }

    /// Why an alarm of this session goes off at this time. The conditions are those of
    /// [`At::alarm_rang`].
    pub(super) fn timeout_reason(&self, session: &Session, at: Time, alarm: Alarm, epoch: u32) -> TimeoutReason {
        let parked = session.parked.is_some();
        let flows = session.link().is_some() && !parked;
        match alarm {
            Alarm::Upgrade if session.is_opening(epoch) => TimeoutReason::WebSocketOpening,
            Alarm::Ping if self.beat == epoch && flows => TimeoutReason::Ping,
            Alarm::PingTimeout if self.beat == epoch && flows && session.heartbeat != Heartbeat::Answered => {
                TimeoutReason::Pong
            }
            Alarm::Absence if self.deadline.is_watched_after(at) || flows => TimeoutReason::Nothing,
            Alarm::Absence if self.phase == Phase::Asking => TimeoutReason::Decision,
            Alarm::Absence if parked => TimeoutReason::Poll,
            Alarm::Absence => TimeoutReason::Absence,
            Alarm::Ping
            | Alarm::PingTimeout
            | Alarm::Connect
            | Alarm::Upgrade
            | Alarm::Noop
            | Alarm::Close
            | Alarm::Attachments
            | Alarm::Stalled => TimeoutReason::Nothing,
        }
    }

    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        let Some(rare) = &self.rare else {
            return Holding::default();
        };
        let aliases = rare.aliases.iter().map(|(name, alias)| name.len() + alias.len());
        Holding::list::<(ByteString, ByteString)>(rare.aliases.capacity())
            .and(Holding::list::<ByteString>(rare.held.capacity()))
            .and(Holding::memory(size_of::<Rare>()))
            .with(aliases)
            .with(rare.held.iter().map(|text| text.len()))
    }

    /// Bytes of the client's data that are kept.
    pub(crate) fn kept_bytes(&self) -> usize {
        let Some(rare) = &self.rare else { return 0 };
        step!(each rare.aliases.len());
        let aliases = rare.aliases.iter().map(|(name, alias)| name.len() + alias.len());
        rare.held_bytes + rare.held.len() * HELD_BYTES + aliases.sum::<usize>()
    }

    /// A session whose handshake waits. The handshake is answered with this script, if the answer
    /// has to be a script.
    pub(super) fn new(now: Time, script: Option<u64>) -> Self {
        Self {
            phase: Phase::Asking,
            beat: 0,
            script,
            deadline: Deadline::new(now),
            unconfirmed: Unconfirmed::default(),
            stream: None,
            rare: None,
        }
    }
}

/// The part of this generation. With this function a rule borrows only this part of the session.
fn legacy09_of(wiring: &mut Wiring) -> &mut Legacy09 {
    wiring.legacy09_mut()
}

/// The most packets that may be queued. A client that is away gets less room.
pub(crate) const fn max_packets(session: &Session, config: &Config) -> usize {
    if session.link().is_some() {
        config.max_queued_packets
    } else {
        config.legacy09.max_pending_messages
    }
}

impl At<'_> {
    fn legacy09(&mut self) -> &mut Legacy09 {
        self.session.wiring.legacy09_mut()
    }

    /// Whether the client knows the session and may use it.
    fn is_handshaken(&mut self) -> bool {
        self.legacy09().is_handshaken()
    }

    /// Queues a packet of the server.
    fn push(&mut self, packet: &Packet) {
        let frame = Frame::text(&mut self.core.buffer, |b| packet.encode(b));
        self.legacy09().unconfirmed.note_control();
        self.push_control(frame);
    }

    /// Queues a packet of the server for a namespace. The client knows the namespace by this
    /// endpoint.
    fn push_to(&mut self, endpoint: ByteString, body: Body) {
        let id = None;
        self.push(&Packet { id, endpoint, body });
    }
}

/// The heartbeat, `2::` (docs/protocol/legacy-0.9.md §7).
const HEARTBEAT: Frame = Frame::from_static(b"\x81\x032::");

// ---- time -----------------------------------------------------------------------------------------------------------

impl At<'_> {
    /// Schedules the next heartbeat of a websocket or stream after the interval.
    fn next_heartbeat(&mut self) {
        let at = self.now + self.core.config.legacy09.heartbeat_interval;
        self.session.heartbeat = Heartbeat::Answered;
        let legacy09 = legacy09_of(&mut self.session.wiring);
        legacy09.beat = legacy09.beat.wrapping_add(1);
        self.core.timers.arm_at(at, Alarm::Ping, self.key, legacy09.beat);
    }

    /// Sends the next heartbeat now, as if the last one had been answered.
    fn beat_again(&mut self) {
        let legacy09 = legacy09_of(&mut self.session.wiring);
        legacy09.beat = legacy09.beat.wrapping_add(1);
        let number = legacy09.beat;
        self.beat(number);
    }

    /// A heartbeat of this number is due.
    fn beat(&mut self, number: u32) {
        self.session.heartbeat = Heartbeat::Queued;
        self.session.outbox.rest();
        self.legacy09().unconfirmed.note_heartbeat(&HEARTBEAT);
        self.push_control(HEARTBEAT);
        let due = self.now + self.core.config.legacy09.heartbeat_timeout;
        self.core.timers.arm_at(due, Alarm::PingTimeout, self.key, number);
    }

    pub(crate) fn alarm_rang(mut self, alarm: Alarm, epoch: u32) {
        let session = &mut *self.session;
        let flows = session.link().is_some() && session.parked.is_none();
        let timeout = self.core.config.legacy09.heartbeat_timeout;
        let answer_due = session.heartbeat_deadline(self.now, timeout);
        let legacy09 = legacy09_of(&mut session.wiring);
        match alarm {
            Alarm::Upgrade => {
                // The handshake of a websocket has taken too long.
                if self.session.is_opening(epoch) {
                    self.finish(Reason::TransportError, Farewell::Nothing);
                }
            }
            Alarm::Ping if legacy09.beat == epoch && flows => {
                self.beat(epoch);
            }
            Alarm::PingTimeout if legacy09.beat == epoch && flows => match answer_due {
                None => {}
                Some(due) if due > self.now => self.core.timers.arm_at(due, Alarm::PingTimeout, self.key, epoch),
                Some(_) if self.is_excused() => self.beat_again(),
                Some(_) => _ = self.finish(Reason::PingTimeout, Farewell::Nothing),
            },
            // An alarm that was armed before the deadline moved. The alarm that counts is still to
            // come.
            Alarm::Absence if legacy09.deadline.is_watched_after(self.now) => {}
            Alarm::Absence => {
                legacy09.deadline.disarm();
                if !flows {
                    self.absence_is_over();
                }
            }
            Alarm::Ping
            | Alarm::PingTimeout
            | Alarm::Connect
            | Alarm::Noop
            | Alarm::Close
            | Alarm::Attachments
            | Alarm::Stalled => {}
        }
    }

    /// A session without websocket or stream has waited long enough, unless the deadline has moved
    /// meanwhile.
    fn absence_is_over(mut self) {
        let deadline = self.legacy09().deadline.due();
        if deadline > self.now {
            self.set_deadline(deadline);
        } else if !self.is_handshaken() {
            self.refuse_handshake(500, handshake::ERROR);
        } else if self.session.parked.is_some() {
            self.push(&Packet::new(Body::Noop));
            self.flush_poll();
        } else {
            self.finish(Reason::PingTimeout, Farewell::Nothing);
        }
    }

    /// Sets the deadline.
    fn set_deadline(&mut self, at: Time) {
        let legacy09 = legacy09_of(&mut self.session.wiring);
        legacy09
            .deadline
            .set(at, Alarm::Absence, self.key, &mut self.core.timers);
    }
}

// ---- the user's answer, and the end ---------------------------------------------------------------------------------

/// The last packet for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Nothing more is sent.
    Nothing,
    /// `0::`: the client does not come back.
    Booted,
    /// The client has to come back with a new session. The end of a websocket says this, too.
    ComeBack,
}

impl<'a> At<'a> {
    /// The user has accepted a socket.
    pub(crate) fn accepted(&mut self, socket: SocketKey) {
        let namespace = self.core.namespace_of(socket);
        if &*namespace == "/" {
            self.answer_handshake();
        }
        let endpoint = self.known_as(&namespace);
        self.push_to(endpoint, Body::Connect(ByteString::new()));
        self.release(&namespace, socket);
    }

    /// The user has refused a socket. This wire cannot say why (docs/protocol/legacy-0.9.md §4.4).
    pub(crate) fn refused(mut self, namespace: &str) -> Fate<'a> {
        if namespace == "/" {
            return Err(self.refuse_handshake(403, handshake::UNAUTHORIZED));
        }
        self.refuse_namespace(namespace);
        Ok(self)
    }

    /// Tells the client that it may not enter a namespace other than `/`.
    fn refuse_namespace(&mut self, namespace: &str) {
        let endpoint = self.known_as(namespace);
        self.forget_alias(namespace);
        drop(self.take_held(namespace));
        let body = Body::Error {
            reason: Some(Refusal::Unauthorized),
            reconnect: false,
        };
        self.push_to(endpoint, body);
    }

    /// The user disconnects a socket, or the whole session. Leaving `/` ends the session.
    pub(crate) fn disconnect(mut self, socket: SocketKey, whole: bool, reason: Reason) -> Fate<'a> {
        let namespace = self.core.namespace_of(socket);
        if whole || &*namespace == "/" {
            return self.close(reason);
        }
        let endpoint = self.known_as(&namespace);
        self.push_to(endpoint, Body::Disconnect);
        self.forget_alias(&namespace);
        self.left(socket, reason);
        Ok(self)
    }

    /// A link of the session is gone. If it was a websocket or stream, the session ends. If it was
    /// a poll, only the poll is lost.
    pub(crate) fn link_closed(mut self, reason: Reason) {
        let polling = self.session.parked.take().is_some();
        self.session.set_link(None);
        self.session.unblock(&mut self.core.backlog);
        if polling && self.is_handshaken() {
            self.set_deadline(self.now + self.core.config.legacy09.close_timeout);
        } else {
            self.end(reason);
        }
    }

    /// The server closes the session.
    pub(crate) fn close(mut self, reason: Reason) -> Fate<'a> {
        let farewell = match reason {
            Reason::ServerNamespaceDisconnect
            | Reason::CredentialsExpired
            | Reason::CredentialsRevoked
            | Reason::ClientNamespaceDisconnect
            | Reason::TransportClose => Farewell::Booted,
            Reason::ServerShuttingDown
            | Reason::TransportError
            | Reason::PingTimeout
            | Reason::ParseError
            | Reason::ForcedClose
            | Reason::ForcedServerClose => Farewell::ComeBack,
        };
        self.end_sockets(reason);
        if self.session.state == State::Closing {
            return Ok(self);
        }
        self.session.state = State::Closing;
        self.core.counters.close(reason);
        self.enter_lobby();
        if !self.is_handshaken() {
            return Err(self.refuse_handshake(500, handshake::ERROR));
        }
        if self.session.link().is_none() && reason.is_dismissal() {
            // The next poll tells the client, if it comes before the session would have ended
            // without a poll.
            self.push(&Packet::new(Body::Disconnect));
            return Ok(self);
        }
        if self.session.link().is_none() && self.core.is_draining() {
            // The next poll tells this too, if it comes soon.
            self.say_come_back();
            let soon = self.now + self.core.close_patience();
            let soon = soon.min(self.legacy09().deadline.due());
            self.set_deadline(soon);
            return Ok(self);
        }
        Err(self.finish(reason, farewell))
    }

    fn say_come_back(&mut self) {
        let body = Body::Error {
            reason: Some(Refusal::ClientNotHandshaken),
            reconnect: true,
        };
        self.push(&Packet::new(body));
    }

    /// Ends the session. Queued packets leave if there is a way, followed by the farewell.
    fn finish(mut self, reason: Reason, farewell: Farewell) -> Ended<'a> {
        let parked = self.take_parked();
        match farewell {
            Farewell::Booted => self.push(&Packet::new(Body::Disconnect)),
            Farewell::ComeBack if parked.is_some() => self.say_come_back(),
            Farewell::ComeBack | Farewell::Nothing => {}
        }
        match parked {
            Some((asker, script)) => answer(asker, script, self.session.outbox.drain().collect(), self.out),
            None => self.session.end_link(self.out),
        }
        self.end(reason)
    }

    /// Ends a session whose client gets no more packets.
    pub(crate) fn give_up(mut self, reason: Reason) -> Ended<'a> {
        if !self.is_handshaken() {
            return self.refuse_handshake(500, handshake::ERROR);
        }
        self.finish(reason, Farewell::Nothing)
    }

    /// Ends a session at once, to make room for another.
    pub(crate) fn evict(mut self) -> Ended<'a> {
        if !self.is_handshaken() {
            return self.refuse_handshake(503, handshake::ERROR);
        }
        self.finish(Reason::ForcedServerClose, Farewell::Nothing)
    }
}

/// Encodes a message for clients of this generation, unless the message is too large for the queue
/// of a session.
pub(crate) fn encode_message(message: &Message, config: &Config, buffer: &mut BytesMut) -> Result<Encoded, SendError> {
    if !message::fits(message, config.max_queued_bytes) {
        return Err(SendError::TooLarge);
    }
    Ok(Encoded {
        first: Frame::text(buffer, |b| {
            message::write(message, config.legacy09.line_breaks_as_json, b)
        }),
        attachments: More::None,
    })
}
