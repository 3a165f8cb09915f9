//! A session of 0.7-0.9 (docs/protocol/legacy-0.9.md §2, §4, §6-§7, §9-§13).
//!
//! ```text
//!   GET /1/ ─► ASKING ── accepted ─► HANDSHAKEN ── transport ─► OPEN ── poll answered ─► OPEN, absent ── too long ─► (gone)
//!                 │                      └── too long ─► (gone)  ▲                            │
//!                 └─ refused ─► 403                              └────────── poll ────────────┘
//! ```
//! Opening a session is asking for the namespace `/`, and the handshake is answered when the user
//! has decided: a client that is refused gets the answer of a server whose authorization says no.
//! `1::`, by which the client knows that it is connected, stands first in the queue from then on.
//!
//! A websocket or an htmlfile is the session: when it is lost the session is over. A poll is not:
//! the session waits for the next one.
//!
//! What messages become is in [`message`], what packets do in [`packets`], which requests there are
//! in [`requests`].
//!
//! Invariant: but for an open websocket or stream `deadline` is set, and an alarm for it, or for an
//! earlier time, is armed.

mod message;
pub(crate) mod packets;
pub(crate) mod requests;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::old_websocket::{is_opening, is_overdue};
use crate::detect::Transport;
use crate::id::{SessionSlot, SocketSlot};
use crate::legacy::legacy09::{Body, Packet, Reason as Refusal, handshake};
use crate::server::{
    Alarm, Core, Encoded, Heartbeat, Message, Outputs, Reason, SendError, Session, State, TimeoutReason,
};
use crate::{Config, Frame, Time};
use bytes::BytesMut;
use packets::{forget_alias, known_as, release};
use requests::{answer, answer_handshake, flush_poll, refuse_handshake, take_parked};

/// What a session of this generation has besides the common part.
#[derive(Debug)]
pub(crate) struct Legacy09 {
    pub(super) phase: Phase,
    /// Counts heartbeats, so that stale alarms are recognised.
    beat: u32,
    /// Whose script the parked request is answered with.
    pub(super) script: Option<u64>,
    /// When a poll is answered, or a client given up.
    deadline: Time,
    /// The alarm that is armed for it, or for an earlier time.
    alarm: Option<Time>,
    pub(super) rare: Option<Box<Rare>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The handshake waits for the user.
    Asking,
    /// The client knows its id.
    Handshaken,
    /// It has opened this transport, perhaps after others.
    Open(Transport),
}

/// What few sessions need.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Namespaces that the client has joined with a query, and the endpoint, query included, by
    /// which it knows them.
    pub(super) aliases: Vec<(ByteString, ByteString)>,
    /// Packets for namespaces that have not been joined yet, as text.
    pub(super) held: Vec<ByteString>,
    pub(super) held_bytes: usize,
}

impl Legacy09 {
    /// Why an alarm of this session goes off at this time. The conditions are those of
    /// [`handle_alarm`].
    pub(super) fn timeout_reason(&self, session: &Session, at: Time, alarm: Alarm, epoch: u32) -> TimeoutReason {
        let parked = session.parked.is_some();
        let flows = session.link.is_some() && !parked;
        match alarm {
            Alarm::Upgrade if is_opening(session, epoch) => TimeoutReason::WebSocketOpening,
            Alarm::Ping if self.beat == epoch && flows => TimeoutReason::Ping,
            Alarm::PingTimeout if self.beat == epoch && flows && session.heartbeat != Heartbeat::Answered => {
                TimeoutReason::Pong
            }
            Alarm::Absence if self.alarm.is_some_and(|armed| armed > at) || flows => TimeoutReason::Nothing,
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

    /// What is kept of what the client has sent, in bytes.
    pub(crate) fn kept_bytes(&self) -> usize {
        let Some(rare) = &self.rare else { return 0 };
        let aliases = rare.aliases.iter().map(|(name, alias)| name.len() + alias.len());
        rare.held_bytes + aliases.sum::<usize>()
    }

    /// A session whose handshake waits, to be answered with this script if it has to be one.
    pub(super) const fn new(now: Time, script: Option<u64>) -> Self {
        Self {
            phase: Phase::Asking,
            beat: 0,
            script,
            deadline: now,
            alarm: None,
            rare: None,
        }
    }
}

pub(super) fn legacy09_of(session: &mut Session) -> Option<&mut Legacy09> {
    session.wiring.legacy09_mut()
}

pub(super) fn legacy09_mut(core: &mut Core, slot: SessionSlot) -> Option<&mut Legacy09> {
    core.sessions.get_mut(slot).and_then(legacy09_of)
}

/// Most packets that may be queued: a client that is away gets less room.
pub(crate) const fn max_packets(session: &Session, config: &Config) -> usize {
    if session.link.is_some() {
        config.max_queued_packets
    } else {
        config.legacy09.max_pending_messages
    }
}

/// Whether the client knows the session, so that it may use it.
pub(crate) fn is_handshaken(core: &Core, slot: SessionSlot) -> bool {
    let legacy09 = core.sessions.get(slot).and_then(|session| session.wiring.legacy09());
    legacy09.is_some_and(|legacy09| legacy09.phase != Phase::Asking)
}

/// Queues a packet of ours.
pub(super) fn push(core: &mut Core, slot: SessionSlot, packet: &Packet) {
    let frame = Frame::text(&mut core.buffer, |b| packet.encode(b));
    core.push_control(slot, frame);
}

// ---- time -----------------------------------------------------------------------------------------------------------

/// The next heartbeat of a websocket or stream is due after the interval.
pub(super) fn next_heartbeat(core: &mut Core, now: Time, slot: SessionSlot) {
    let (key, at) = (core.key(slot), now + core.config.legacy09.heartbeat_interval);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.heartbeat = Heartbeat::Answered;
    if let Some(legacy09) = legacy09_of(session) {
        legacy09.beat = legacy09.beat.wrapping_add(1);
        let beat = legacy09.beat;
        core.timers.arm_at(at, Alarm::Ping, key, beat);
    }
}

pub(crate) fn handle_alarm(core: &mut Core, now: Time, slot: SessionSlot, alarm: Alarm, epoch: u32, out: &mut Outputs) {
    let key = core.key(slot);
    let timeout = core.config.legacy09.heartbeat_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let parked = session.parked.is_some();
    let flows = session.link.is_some() && !parked;
    let answer_due = session.heartbeat_deadline(now, timeout);
    let Some(legacy09) = legacy09_of(session) else { return };
    match alarm {
        Alarm::Upgrade => {
            // The handshake of a websocket has taken too long.
            if is_overdue(core, slot, epoch) {
                finish(core, slot, Reason::TransportError, Farewell::Nothing, out);
            }
        }
        Alarm::Ping if legacy09.beat == epoch && flows => {
            session.heartbeat = Heartbeat::Queued;
            push(core, slot, &Packet::new(Body::Heartbeat));
            core.timers.arm_at(now + timeout, Alarm::PingTimeout, key, epoch);
        }
        Alarm::PingTimeout if legacy09.beat == epoch && flows => match answer_due {
            None => {}
            Some(due) if due > now => core.timers.arm_at(due, Alarm::PingTimeout, key, epoch),
            Some(_) => finish(core, slot, Reason::PingTimeout, Farewell::Nothing, out),
        },
        // One that was armed before the deadline moved forward; the one that counts is still to
        // come.
        Alarm::Absence if legacy09.alarm.is_some_and(|armed| armed > now) => {}
        Alarm::Absence => {
            legacy09.alarm = None;
            let (deadline, asking) = (legacy09.deadline, legacy09.phase == Phase::Asking);
            if flows {
            } else if deadline > now {
                set_deadline(core, slot, deadline);
            } else if asking {
                refuse_handshake(core, slot, 500, handshake::ERROR, out);
            } else if parked {
                push(core, slot, &Packet::new(Body::Noop));
                flush_poll(core, now, slot, out);
            } else {
                finish(core, slot, Reason::PingTimeout, Farewell::Nothing, out);
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

/// Sets the deadline. An alarm that is armed for an earlier time is left alone: it finds the new
/// deadline when it goes off.
pub(super) fn set_deadline(core: &mut Core, slot: SessionSlot, at: Time) {
    let key = core.key(slot);
    if let Some(legacy09) = legacy09_mut(core, slot) {
        legacy09.deadline = at;
        if legacy09.alarm.is_none_or(|armed| armed > at) {
            legacy09.alarm = Some(at);
            core.timers.arm_at(at, Alarm::Absence, key, 0);
        }
    }
}

// ---- the user's answer, and the end ---------------------------------------------------------------------------------

/// The user has let a socket in.
pub(crate) fn accepted(core: &mut Core, now: Time, slot: SessionSlot, socket: SocketSlot, out: &mut Outputs) {
    let Some((namespace, _)) = core.socket_names(socket) else {
        return;
    };
    if &*namespace == "/" {
        answer_handshake(core, now, slot, out);
    }
    let endpoint = known_as(core, slot, &namespace);
    let body = Body::Connect(ByteString::new());
    push(
        core,
        slot,
        &Packet {
            id: None,
            endpoint,
            body,
        },
    );
    release(core, slot, &namespace, socket, out);
}

/// The user has refused a socket. Why, this wire cannot say (docs/protocol/legacy-0.9.md §4.4).
pub(crate) fn refused(core: &mut Core, slot: SessionSlot, namespace: &str, out: &mut Outputs) {
    if namespace == "/" {
        return refuse_handshake(core, slot, 403, handshake::UNAUTHORIZED, out);
    }
    let endpoint = known_as(core, slot, namespace);
    forget_alias(core, slot, namespace);
    let body = Body::Error {
        reason: Some(Refusal::Unauthorized),
        reconnect: false,
    };
    push(
        core,
        slot,
        &Packet {
            id: None,
            endpoint,
            body,
        },
    );
}

/// The user disconnects a socket, or with it the session. To leave `/` is to leave.
pub(crate) fn disconnect(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    socket: SocketSlot,
    whole: bool,
    out: &mut Outputs,
) {
    let Some((namespace, _)) = core.socket_names(socket) else {
        return;
    };
    if whole || &*namespace == "/" {
        return close(core, now, slot, Reason::ServerNamespaceDisconnect, out);
    }
    let endpoint = known_as(core, slot, &namespace);
    let body = Body::Disconnect;
    push(
        core,
        slot,
        &Packet {
            id: None,
            endpoint,
            body,
        },
    );
    forget_alias(core, slot, &namespace);
    core.left(slot, socket, Reason::ServerNamespaceDisconnect, out);
}

/// A link of the session is gone: with a websocket or stream the session, with a poll nothing but
/// that.
pub(crate) fn handle_closed(core: &mut Core, now: Time, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
    let absent = now + core.config.legacy09.close_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let polling = session.parked.take().is_some();
    session.link = None;
    session.unblock(&mut core.backlog);
    if polling && is_handshaken(core, slot) {
        set_deadline(core, slot, absent);
    } else {
        core.remove_session(slot, reason, out);
    }
}

/// What a client is told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Everything has been said.
    Nothing,
    /// `0::`, upon which it does not come back.
    Booted,
    /// That it has to come back, with a new session. The end of a websocket says it, too.
    ComeBack,
}

/// Closes the session from this side.
pub(crate) fn close(core: &mut Core, now: Time, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
    let farewell = match reason {
        Reason::ServerNamespaceDisconnect | Reason::ClientNamespaceDisconnect | Reason::TransportClose => {
            Farewell::Booted
        }
        Reason::ServerShuttingDown
        | Reason::TransportError
        | Reason::PingTimeout
        | Reason::ParseError
        | Reason::ForcedClose
        | Reason::ForcedServerClose => Farewell::ComeBack,
    };
    core.end_sockets(slot, reason, out);
    let asking = !is_handshaken(core, slot);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if session.state == State::Closing {
        return;
    }
    session.state = State::Closing;
    core.counters.close(reason);
    core.enter_lobby(slot);
    if asking {
        return refuse_handshake(core, slot, 500, handshake::ERROR, out);
    }
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if session.link.is_none() && reason == Reason::ServerNamespaceDisconnect {
        // It is told by the next poll, if that comes before the session would have ended without
        // one.
        return push(core, slot, &Packet::new(Body::Disconnect));
    }
    if session.link.is_none() && core.is_draining() {
        // So is this, if it comes soon.
        say_come_back(core, slot);
        let soon = now + core.close_patience();
        let soon = legacy09_mut(core, slot).map_or(soon, |legacy09| soon.min(legacy09.deadline));
        return set_deadline(core, slot, soon);
    }
    finish(core, slot, reason, farewell, out);
}

fn say_come_back(core: &mut Core, slot: SessionSlot) {
    let body = Body::Error {
        reason: Some(Refusal::ClientNotHandshaken),
        reconnect: true,
    };
    push(core, slot, &Packet::new(body));
}

/// Ends the session: what is queued leaves if there is a way, and the farewell with it.
pub(super) fn finish(core: &mut Core, slot: SessionSlot, reason: Reason, farewell: Farewell, out: &mut Outputs) {
    let parked = take_parked(core, slot);
    match farewell {
        Farewell::Booted => push(core, slot, &Packet::new(Body::Disconnect)),
        Farewell::ComeBack if parked.is_some() => say_come_back(core, slot),
        Farewell::ComeBack | Farewell::Nothing => {}
    }
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    match parked {
        Some((asker, script)) => answer(asker, script, session.take_outbox(), out),
        None => session.end_link(out),
    }
    core.remove_session(slot, reason, out);
}

/// Ends a session of which nobody is told any more.
pub(crate) fn give_up(core: &mut Core, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
    if !is_handshaken(core, slot) {
        return refuse_handshake(core, slot, 500, handshake::ERROR, out);
    }
    finish(core, slot, reason, Farewell::Nothing, out);
}

/// Ends a session at once, to make room for another.
pub(crate) fn evict(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    if is_handshaken(core, slot) {
        finish(core, slot, Reason::ForcedServerClose, Farewell::Nothing, out);
    } else {
        refuse_handshake(core, slot, 503, handshake::ERROR, out);
    }
}

/// Encodes a message for clients of this generation, unless it is too large for the queue of a
/// session.
pub(crate) fn encode_message(message: &Message, config: &Config, buffer: &mut BytesMut) -> Result<Encoded, SendError> {
    if !message::fits(message, config.max_queued_bytes) {
        return Err(SendError::TooLarge);
    }
    Ok(Encoded {
        first: Frame::text(buffer, |b| {
            message::write(message, config.legacy09.line_breaks_as_json, b)
        }),
        attachments: Vec::new(),
    })
}
