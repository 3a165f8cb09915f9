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
use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use crate::detect::EngineIo;
use crate::engine::{Dialect, Packet, Revision};
use crate::server::{
    Alarm, Asker, Delivery, EngineMessage, Heartbeat, Reason, Request, Role, Session, State, TimeoutReason,
    TransportKind, Wiring, at,
};
use crate::wire::Inbound;
use crate::wire::engine as bodies;
use crate::{Frame, LinkId, Time};

pub(crate) use sockets::{encode_message, encode_raw};

/// A cursor at a session of Engine.IO.
pub(crate) type At<'a> = at::At<'a, Engine>;
/// What has become of such a session.
type Fate<'a> = at::Fate<'a, Engine>;

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
    /// [`Config::crossing_timeout`](crate::Config::crossing_timeout): until then the client does
    /// not know their order.
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

    /// Why an alarm of this session goes off. The conditions are those of [`At::alarm_rang`].
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

/// The part of Engine.IO. A rule borrows nothing else of its session with it.
fn engine_of(wiring: &mut Wiring) -> &mut Engine {
    wiring.engine_mut()
}

/// Which revision a session speaks, if it is one of Engine.IO.
fn revision_of(session: &Session) -> Option<Revision> {
    session.wiring.engine().map(Engine::revision)
}

impl At<'_> {
    fn engine(&mut self) -> &mut Engine {
        self.session.wiring.engine_mut()
    }
}

// ---- packets --------------------------------------------------------------------------------------------------------

impl<'a> At<'a> {
    /// A packet has come on a link of the session.
    pub(crate) fn packet_came(self, role: Role, link: LinkId, packet: Inbound) {
        match role {
            Role::WebSocket => _ = self.receive(packet),
            Role::Candidate => _ = self.handle_candidate(link, packet),
            Role::Parked | Role::Post | Role::Stream => {}
        }
    }

    /// One packet on the session's transport.
    fn receive(mut self, packet: Inbound) -> Fate<'a> {
        let transport = self.session.transport;
        if self.session.state == State::Closing {
            // Nothing is taken any more but a goodbye: who says it fetches no close packet.
            if matches!(packet, Inbound::Engine(Packet::Close)) && transport == TransportKind::Polling {
                return Err(self.fail(Reason::TransportClose));
            }
            return Ok(self);
        }
        let engine = engine_of(&mut self.session.wiring);
        let (revision, raw) = (engine.revision, engine.raw);
        match packet {
            Inbound::Socket(decoded) => {
                let heard = self.handle_text(revision, decoded);
                self.heed(heard)
            }
            Inbound::Part(part) => {
                let heard = self.handle_part(revision, part);
                self.heed(heard)
            }
            Inbound::Engine(Packet::Binary(bytes)) if !raw => {
                let heard = self.handle_binary(revision, bytes);
                self.heed(heard)
            }
            Inbound::Engine(Packet::Message(text)) if !raw => {
                let text = engine.dialect.resolve(text);
                let decoded = bodies::decode_socket(text, revision, &self.core.config);
                self.receive(decoded)
            }
            Inbound::Engine(Packet::Pong(_)) => {
                self.hear_pong();
                Ok(self)
            }
            // Who pings (docs/protocol/engine-io.md §6): in revision 4 the server, and then this
            // breaks the protocol (§4.4).
            Inbound::Engine(Packet::Ping(_)) => match revision {
                Revision::V4 => Err(self.fail(Reason::TransportError)),
                Revision::V3 => {
                    self.hear_ping();
                    Ok(self)
                }
            },
            Inbound::Engine(Packet::Close) if transport == TransportKind::Polling => {
                if self.session.parked.is_none() {
                    self.begin_farewell();
                    return Ok(self);
                }
                self.answer_parked_with(NOOP);
                Err(self.fail(Reason::TransportClose))
            }
            Inbound::Engine(Packet::Message(text)) => {
                let text = match revision {
                    Revision::V4 => text,
                    Revision::V3 => engine.dialect.resolve(text),
                };
                self.deliver(EngineMessage::Text(text));
                Ok(self)
            }
            Inbound::Engine(Packet::Binary(bytes)) => {
                self.deliver(EngineMessage::Binary(bytes));
                Ok(self)
            }
            Inbound::Engine(Packet::Open(_) | Packet::Close | Packet::Upgrade | Packet::Noop)
            | Inbound::Digest(_)
            | Inbound::Legacy09(_)
            | Inbound::Message(_)
            | Inbound::Heartbeat(_)
            | Inbound::Goodbye
            | Inbound::Payload { .. }
            | Inbound::Garbled(_) => Ok(self),
            Inbound::Broken(reason @ Reason::ForcedClose) => self.close(reason),
            Inbound::Broken(reason) => Err(self.fail(reason)),
        }
    }

    /// Closes the session if a rule says so.
    fn heed(self, heard: Result<(), Reason>) -> Fate<'a> {
        match heard {
            Ok(()) => Ok(self),
            Err(reason) => self.close(reason),
        }
    }

    /// A message of a raw session, for the user.
    fn deliver(&mut self, message: EngineMessage) {
        let session = self.key;
        self.out.deliveries.push(Delivery::EngineMessage { session, message });
    }

    /// The answer to a ping. To one that has not left nobody can have an answer.
    fn hear_pong(&mut self) {
        if self.session.heartbeat.is_answerable() {
            self.session.heartbeat = Heartbeat::Answered;
            let engine = engine_of(&mut self.session.wiring);
            engine.beat = engine.beat.wrapping_add(1);
            self.core.timers.arm(self.now, Alarm::Ping, self.key, engine.beat);
        }
    }

    /// The client pings; revision 3. One answer does for all pings that came before it was read.
    fn hear_ping(&mut self) {
        self.stay_until_silent();
        if self.session.outbox.back() != Some(&PONG) {
            self.push_control(PONG);
        }
    }

    /// The client has a heartbeat and its answer's time from now on to ping; revision 3.
    fn stay_until_silent(&mut self) {
        let config = &self.core.config;
        let silent_until = self.now + config.ping_interval + config.ping_timeout;
        engine_of(&mut self.session.wiring).silent_until = silent_until;
    }
}

// ---- time -----------------------------------------------------------------------------------------------------------

impl<'a> At<'a> {
    pub(crate) fn alarm_rang(mut self, alarm: Alarm, epoch: u32) {
        let session = &mut *self.session;
        let (state, reassembling) = (session.state, session.reassembly.is_pending());
        session.attachments_alarm &= alarm != Alarm::Attachments;
        let engine = engine_of(&mut session.wiring);
        match alarm {
            Alarm::Ping if engine.beat == epoch => {
                if state == State::Open {
                    session.heartbeat = Heartbeat::Queued;
                    self.push_control(PING);
                }
                self.core.timers.arm(self.now, Alarm::PingTimeout, self.key, epoch);
            }
            Alarm::PingTimeout if engine.revision == Revision::V3 || engine.beat == epoch => self.judge_silence(epoch),
            Alarm::Connect if !engine.joined && state == State::Open => _ = self.close(Reason::ForcedServerClose),
            // After `5` the client has left polling behind: there is no way back, and the ping
            // timeout bounds the wait for the POST.
            Alarm::Upgrade if engine.attempt == epoch && engine.candidate.as_ref().is_some_and(|c| !c.switching) => {
                self.drop_candidate();
            }
            Alarm::Noop if engine.attempt == epoch && engine.candidate.is_some() => {
                if session.parked.is_some() && session.outbox.is_empty() {
                    self.answer_parked_with(NOOP);
                }
                let next = self.now + NOOP_INTERVAL;
                self.core.timers.arm_at(next, Alarm::Noop, self.key, epoch);
            }
            Alarm::Close if state == State::Closing => _ = self.forget(),
            Alarm::Attachments if reassembling && session.attachments_due <= self.now => {
                let _ = self.close(Reason::ForcedClose);
            }
            Alarm::Attachments if reassembling => self.arm_attachments(self.session.attachments_due),
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
    fn judge_silence(mut self, epoch: u32) {
        let (session, config) = (&*self.session, &self.core.config);
        let is_open = session.state == State::Open;
        let (absent, taken) = (session.link.is_none(), session.taken);
        let ping_deadline = session.heartbeat_deadline(self.now, config.ping_timeout);
        let taken_deadline = taken + config.ping_interval + config.ping_timeout;
        let engine = self.engine();
        let due = match engine.revision {
            // Who pings and never fetches what is said to him reads nothing.
            Revision::V3 if absent => Some(engine.silent_until.min(taken_deadline)),
            Revision::V3 => Some(engine.silent_until),
            Revision::V4 if is_open => ping_deadline,
            // It was not pinged, but this is when it would have ended.
            Revision::V4 => Some(self.now),
        };
        match due {
            None => {}
            Some(due) if due > self.now => self.core.timers.arm_at(due, Alarm::PingTimeout, self.key, epoch),
            Some(_) if is_open => _ = self.fail(Reason::PingTimeout),
            Some(_) => _ = self.forget(),
        }
    }

    /// A packet waits for its attachments until `due`. One alarm serves all packets of a session:
    /// it is armed again when it goes off for a packet that is complete while a later one waits.
    fn arm_attachments(&mut self, due: Time) {
        self.session.attachments_due = due;
        if !core::mem::replace(&mut self.session.attachments_alarm, true) {
            self.core.timers.arm_at(due, Alarm::Attachments, self.key, 0);
        }
    }
}
