//! A session of Engine.IO 3 and 4: transports, upgrade, heartbeat, closing
//! (docs/protocol/engine-io.md §4-§8, §12).
//!
//! ```text
//!             GET ?transport=polling                 websocket, 2probe        5
//!   (none) ──────────────────────────► POLLING ─────────────────────► POLLING ───► WEBSOCKET
//!      │                                  ▲   candidate closed, late    + candidate     │
//!      │                                  └───────────────────────────────┘             │
//!      └──── GET ?transport=websocket ─────────────────────────────────────────────────►│
//! ```
//! One machine for both revisions. Where they differ it asks [`Revision`], once for each
//! difference: who pings, what an open packet says, what a POST may be, whether a namespace is
//! joined without asking. How bodies and messages are written is in [`bodies`].
//!
//! Here are the state, packets and the heartbeat; [`handshake`] is requests and opening,
//! [`polling`] GETs and POSTs, [`upgrade`] the candidate and the switch, [`sockets`] what the user
//! decides and sends, [`closing`] the end.
//!
//! Invariants: one parked GET at most; one POST whose body is coming at most; a candidate only
//! while the transport is polling; a ping is outstanding as the session's heartbeat says, and its
//! deadline survives the upgrade. In revision 3 exactly one alarm is armed for `silent_until`, or
//! for an earlier time. A session that is closing is not pinged, and does not outlive the deadline
//! that a ping would have.

mod closing;
mod handshake;
mod messages;
mod polling;
pub(crate) mod revision4;
mod revision5;
mod sockets;
mod upgrade;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use crate::detect::{EngineIo, EngineTransport, EngineVersion};
use crate::engine::{Dialect, Packet, Revision};
use crate::id::SessionSlot;
use crate::server::{
    Admitted, Alarm, Asker, Cause, Core, Delivery, Denied, Encoded, EngineMessage, Heartbeat, Message, Outputs, Reason,
    Request, Role, Session, State, TimeoutReason, TransportKind, Upgrade, Wiring, Write, accept_websocket, preflight,
};
use crate::wire::engine::{self as bodies, PostForm};
use crate::wire::{Inbound, Wire};
use crate::{Config, Frame, LinkId, Time, http, json, socket};

pub(crate) use closing::farewell_answer;
use closing::{begin_farewell, close_parked, finish_closing, wait_with_farewell};
pub(crate) use closing::{close, evict, fail, handle_closed};
pub(crate) use handshake::handle_request;
use handshake::{Purpose, Refusal};
use handshake::{check, wire};
use polling::{answer_parked_with, answer_poll, poll, post, take_parked, taken};
pub(crate) use polling::{end_poll, flush_poll, handle_body_started};
pub(crate) use sockets::{accepted, confirm, disconnect, encode_message, encode_raw, left_lately, refused};
use upgrade::{attach_candidate, drop_candidate, handle_candidate, switch_if_waiting};

/// How often a parked GET is looked at while an upgrade is under way (docs/protocol/engine-io.md
/// §7, step 2).
const NOOP_INTERVAL: Duration = Duration::from_millis(100);
/// Most namespaces remembered as just left.
const MAX_LEFT: usize = 8;
/// How long packets for a namespace that the server has closed are taken for late ones
/// (docs/protocol/socket-io.md §3.1).
const LATE: Duration = Duration::from_secs(5);

pub(crate) const PING: Frame = Frame::from_static(b"\x81\x012");
const CLOSE: Frame = Frame::from_static(b"\x81\x011");
const NOOP: Frame = Frame::from_static(b"\x81\x016");
const PONG: Frame = Frame::from_static(b"\x81\x013");
const PROBE_ANSWER: Frame = Frame::from_static(b"\x81\x063probe");

/// What a session of this generation has besides the common part.
#[derive(Debug)]
pub(crate) struct Engine {
    revision: Revision,
    /// How the peer encodes text, as far as it is known; revision 3.
    dialect: Dialect,
    /// Whether messages are the user's own, with no Socket.IO in them.
    raw: bool,
    /// Whether a namespace has ever been joined.
    pub(crate) joined: bool,
    /// Counts heartbeats, so that stale alarms are recognised.
    beat: u32,
    /// Counts candidates, likewise.
    attempt: u32,
    candidate: Option<Box<Candidate>>,
    /// The latest GET came when the probe of the candidate had been answered.
    polled_late: bool,
    jsonp: Option<Box<str>>,
    /// Namespaces that the server has made the client leave, and when.
    left: Vec<(ByteString, Time)>,
    /// When a client that has not pinged is given up; revision 3.
    silent_until: Time,
    /// The client has said goodbye, and no GET was parked.
    leaving: bool,
    /// The POST with the goodbye. A GET that was sent before the POST may be handled after it,
    /// because they come on two connections. Which of them is first must not decide what the GET is
    /// answered, so the POST is answered when the GET has come, or after
    /// [`Config::crossing_timeout`]: until then
    /// the client does not know their order.
    farewell: Option<Box<Asker>>,
    /// What the rules of Socket.IO 4 have to remember.
    pub(crate) queue: revision4::Queue,
}

impl Engine {
    pub(crate) const fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether messages are the user's own.
    pub(crate) const fn is_raw(&self) -> bool {
        self.raw
    }

    /// Why an alarm of this session goes off. The conditions are those of [`handle_alarm`].
    pub(super) fn timeout_reason(&self, session: &Session, alarm: Alarm, epoch: u32) -> TimeoutReason {
        let is_open = session.state == State::Open;
        match alarm {
            Alarm::Ping if self.beat == epoch => TimeoutReason::Ping,
            Alarm::PingTimeout if self.revision == Revision::V3 => match is_open {
                true => TimeoutReason::ClientPing,
                false => TimeoutReason::Closing,
            },
            Alarm::PingTimeout if self.beat == epoch => match is_open {
                true if session.heartbeat == Heartbeat::Answered => TimeoutReason::Nothing,
                true => TimeoutReason::Pong,
                false => TimeoutReason::Closing,
            },
            Alarm::Connect if !self.joined && is_open => TimeoutReason::Join,
            Alarm::Upgrade if self.attempt == epoch && self.candidate.as_ref().is_some_and(|c| !c.switching) => {
                TimeoutReason::Upgrade
            }
            Alarm::Noop if self.attempt == epoch && self.candidate.is_some() => TimeoutReason::UpgradePoll,
            Alarm::Close if !is_open => TimeoutReason::Closing,
            Alarm::Attachments if session.reassembly.is_pending() => TimeoutReason::Attachments,
            Alarm::Ping
            | Alarm::PingTimeout
            | Alarm::Connect
            | Alarm::Upgrade
            | Alarm::Noop
            | Alarm::Close
            | Alarm::Attachments
            | Alarm::Stalled
            | Alarm::Absence => TimeoutReason::Nothing,
        }
    }

    /// What is kept of what the client has sent, in bytes.
    pub(crate) fn kept_bytes(&self) -> usize {
        let held = self.candidate.as_ref().map_or(0, |candidate| candidate.held_bytes);
        held + self.queue.bytes() + self.jsonp.as_ref().map_or(0, |index| index.len())
    }
}

/// A request of this generation, and what it is.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) request: &'a Request,
    /// Whether it is for raw sessions.
    pub(crate) raw: bool,
    /// Whether there is an `Upgrade` header, whatever it names.
    pub(crate) upgrade: bool,
    pub(crate) route: EngineIo,
}

/// A websocket that may become the transport.
#[derive(Debug)]
struct Candidate {
    link: LinkId,
    /// Whether it carries binary as base64, should it become the transport.
    base64: bool,
    probed: bool,
    /// `5` came while a POST was under way: the switch waits for it, and so do these packets.
    switching: bool,
    held: Vec<Inbound>,
    held_bytes: usize,
}

fn engine_of(session: &mut Session) -> Option<&mut Engine> {
    session.wiring.engine_mut()
}

pub(crate) fn engine_mut(core: &mut Core, slot: SessionSlot) -> Option<&mut Engine> {
    core.sessions.get_mut(slot).and_then(engine_of)
}

/// Which revision a session speaks, if it is one of Engine.IO.
fn revision_of(session: &Session) -> Option<Revision> {
    session.wiring.engine().map(Engine::revision)
}

// ---- packets --------------------------------------------------------------------------------------------------------

pub(crate) fn handle_packet(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    role: Role,
    link: LinkId,
    packet: Inbound,
    out: &mut Outputs,
) {
    match role {
        Role::WebSocket => receive(core, now, slot, packet, out),
        Role::Candidate => handle_candidate(core, now, slot, link, packet, out),
        Role::Parked | Role::Post | Role::Stream => {}
    }
}

/// One packet on the session's transport.
fn receive(core: &mut Core, now: Time, slot: SessionSlot, packet: Inbound, out: &mut Outputs) {
    let key = core.key(slot);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let transport = session.transport;
    if session.state == State::Closing {
        // Nothing is taken any more but a goodbye: who says it fetches no close packet.
        if matches!(packet, Inbound::Engine(Packet::Close)) && transport == TransportKind::Polling {
            fail(core, slot, Reason::TransportClose, out);
        }
        return;
    }
    let Some(engine) = engine_of(session) else { return };
    let (revision, raw) = (engine.revision, engine.raw);
    match packet {
        Inbound::Socket(decoded) => {
            if let Err(reason) = messages::handle_text(core, now, slot, revision, decoded, out) {
                close(core, now, slot, reason, out);
            }
        }
        Inbound::Part(part) => {
            if let Err(reason) = messages::handle_part(core, now, slot, revision, part, out) {
                close(core, now, slot, reason, out);
            }
        }
        Inbound::Engine(Packet::Binary(bytes)) if !raw => {
            if let Err(reason) = messages::handle_binary(core, now, slot, revision, bytes, out) {
                close(core, now, slot, reason, out);
            }
        }
        Inbound::Engine(Packet::Message(text)) if !raw => {
            let text = engine.dialect.resolve(text);
            let decoded = bodies::decode_socket(text, revision, &core.config);
            receive(core, now, slot, decoded, out);
        }
        Inbound::Engine(Packet::Pong(_)) => {
            // To a ping that has not left nobody can have an answer.
            if session.heartbeat.is_answerable() {
                session.heartbeat = Heartbeat::Answered;
                if let Some(engine) = engine_of(session) {
                    engine.beat = engine.beat.wrapping_add(1);
                    let beat = engine.beat;
                    core.timers.arm(now, Alarm::Ping, key, beat);
                }
            }
        }
        // Who pings (docs/protocol/engine-io.md §6): in revision 4 the server, and then this breaks
        // the protocol (§4.4).
        Inbound::Engine(Packet::Ping(_)) => match revision {
            Revision::V4 => fail(core, slot, Reason::TransportError, out),
            Revision::V3 => {
                engine.silent_until = now + core.config.ping_interval + core.config.ping_timeout;
                // One answer does for all pings that came before it was read.
                if session.outbox.back() != Some(&PONG) {
                    core.push_control(slot, PONG);
                }
            }
        },
        Inbound::Engine(Packet::Close) if transport == TransportKind::Polling => {
            if session.parked.is_none() {
                return begin_farewell(core, slot, out);
            }
            answer_parked_with(core, now, slot, NOOP, out);
            fail(core, slot, Reason::TransportClose, out);
        }
        Inbound::Engine(Packet::Message(text)) => {
            let text = match revision {
                Revision::V4 => text,
                Revision::V3 => engine.dialect.resolve(text),
            };
            out.deliveries.push(Delivery::EngineMessage {
                session: key,
                message: EngineMessage::Text(text),
            });
        }
        Inbound::Engine(Packet::Binary(bytes)) => {
            out.deliveries.push(Delivery::EngineMessage {
                session: key,
                message: EngineMessage::Binary(bytes),
            });
        }
        Inbound::Engine(Packet::Open(_) | Packet::Close | Packet::Upgrade | Packet::Noop)
        | Inbound::Digest(_)
        | Inbound::Legacy09(_)
        | Inbound::Message(_)
        | Inbound::Heartbeat(_)
        | Inbound::Goodbye
        | Inbound::Payload { .. }
        | Inbound::Garbled(_) => {}
        Inbound::Broken(reason @ Reason::ForcedClose) => close(core, now, slot, reason, out),
        Inbound::Broken(reason) => fail(core, slot, reason, out),
    }
}

// ---- time -----------------------------------------------------------------------------------------------------------

pub(crate) fn handle_alarm(core: &mut Core, now: Time, slot: SessionSlot, alarm: Alarm, epoch: u32, out: &mut Outputs) {
    let key = core.key(slot);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let (state, reassembling) = (session.state, session.reassembly.is_pending());
    let attachments_due = session.attachments_due;
    session.attachments_alarm &= alarm != Alarm::Attachments;
    let parked = session.parked.is_some() && session.outbox.is_empty();
    let Some(engine) = engine_of(session) else { return };
    match alarm {
        Alarm::Ping if engine.beat == epoch => {
            if state == State::Open {
                session.heartbeat = Heartbeat::Queued;
                core.push_control(slot, PING);
            }
            core.timers.arm(now, Alarm::PingTimeout, key, epoch);
        }
        Alarm::PingTimeout if engine.revision == Revision::V3 || engine.beat == epoch => {
            judge_silence(core, now, slot, epoch, out);
        }
        Alarm::Connect if !engine.joined && state == State::Open => {
            close(core, now, slot, Reason::ForcedServerClose, out);
        }
        // After `5` the client has left polling behind: there is no way back, and the ping timeout
        // bounds the wait for the POST.
        Alarm::Upgrade if engine.attempt == epoch && engine.candidate.as_ref().is_some_and(|c| !c.switching) => {
            drop_candidate(core, slot, out);
        }
        Alarm::Noop if engine.attempt == epoch && engine.candidate.is_some() => {
            if parked {
                answer_parked_with(core, now, slot, NOOP, out);
            }
            core.timers.arm_at(now + NOOP_INTERVAL, Alarm::Noop, key, epoch);
        }
        Alarm::Close if state == State::Closing => {
            drop_candidate(core, slot, out);
            core.remove_session(slot, Reason::ForcedServerClose, out);
        }
        Alarm::Attachments if reassembling && attachments_due <= now => {
            close(core, now, slot, Reason::ForcedClose, out);
        }
        Alarm::Attachments if reassembling => arm_attachments(core, slot, attachments_due),
        Alarm::Ping
        | Alarm::PingTimeout
        | Alarm::Connect
        | Alarm::Upgrade
        | Alarm::Noop
        | Alarm::Close
        | Alarm::Attachments
        | Alarm::Stalled
        | Alarm::Absence => {}
    }
}

/// The time that a peer has for its part of the heartbeat is over, if nothing has happened
/// meanwhile.
fn judge_silence(core: &mut Core, now: Time, slot: SessionSlot, epoch: u32, out: &mut Outputs) {
    let (key, config) = (core.key(slot), Arc::clone(&core.config));
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let is_open = session.state == State::Open;
    let (absent, taken) = (session.link.is_none(), session.taken);
    let due = match engine_of(session).map(|engine| (engine.revision, engine.silent_until)) {
        // Who pings and never fetches what is said to him reads nothing.
        Some((Revision::V3, silent_until)) if absent => {
            Some(silent_until.min(taken + config.ping_interval + config.ping_timeout))
        }
        Some((Revision::V3, silent_until)) => Some(silent_until),
        Some((Revision::V4, _)) if is_open => session.heartbeat_deadline(now, config.ping_timeout),
        // It was not pinged, but this is when it would have ended.
        Some((Revision::V4, _)) => Some(now),
        None => None,
    };
    match due {
        None => {}
        Some(due) if due > now => core.timers.arm_at(due, Alarm::PingTimeout, key, epoch),
        Some(_) if is_open => fail(core, slot, Reason::PingTimeout, out),
        Some(_) => {
            drop_candidate(core, slot, out);
            core.remove_session(slot, Reason::ForcedServerClose, out);
        }
    }
}

/// A packet waits for its attachments until `due`. One alarm serves all packets of a session: it is
/// armed again when it goes off for a packet that is complete while a later one waits.
pub(crate) fn arm_attachments(core: &mut Core, slot: SessionSlot, due: Time) {
    let key = core.key(slot);
    if let Some(session) = core.sessions.get_mut(slot) {
        session.attachments_due = due;
        if !core::mem::replace(&mut session.attachments_alarm, true) {
            core.timers.arm_at(due, Alarm::Attachments, key, 0);
        }
    }
}
