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
//! One machine serves both revisions. Where they differ, it checks [`Revision`], once for each
//! difference: who pings, the content of an open packet, the form of a POST, whether a namespace is
//! joined without a CONNECT. [`bodies`] writes bodies and messages.
//!
//! This file has the state, the packets and the heartbeat. [`handshake`] has requests and opening,
//! [`polling`] has GETs and POSTs, [`upgrade`] has the candidate and the switch, [`sockets`] has
//! the user's decisions and messages, and [`closing`] has the end.
//!
//! Invariants: at most one GET is parked. At most one POST has a body that is still arriving. There
//! is a candidate only while the transport is polling. The session's heartbeat says whether a ping
//! is outstanding, and its deadline survives the upgrade. In revision 3 exactly one alarm is armed
//! for [`Session::silent_until`] or for an earlier time. A session that is closing is not pinged,
//! and its pings are not heard. It does not live longer than the deadline that a ping would have,
//! unless its client fetches what is left: then it has the time of an answer from each fetch to the
//! next.

mod closing;
mod direct;
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
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::server::{
    Alarm, Asker, Breach, BreachKind, Delivery, EngineMessage, Heartbeat, Reason, Request, Role, Session, State,
    TimeoutReason, Timers, TransportKind, Wiring, at,
};
use crate::socket::text::Decoded;
use crate::wire::Inbound;
use crate::wire::engine as bodies;
use crate::{Config, Frame, LinkId, SessionKey, Time};

pub use direct::Direct;
pub(crate) use sockets::{encode_message, encode_raw};

/// A cursor at a session of Engine.IO.
pub(crate) type At<'a> = at::At<'a, Engine>;
/// The result of a rule that may end such a session.
type Fate<'a> = at::Fate<'a, Engine>;

/// How many GETs of one candidate are answered with a noop at once. One noop ends the poll of a
/// client that has read the answer to its probe. A client that reads the noop first polls once
/// more.
const NOOPS_AT_ONCE: u8 = 3;
/// How long a GET is held after these noops (docs/protocol/engine-io.md §7, step 2).
const NOOP_INTERVAL: Duration = Duration::from_millis(100);
/// The largest number of namespaces that are remembered as just left.
const MAX_LEFT: usize = 8;
/// How long packets for a namespace that the server has closed are treated as late packets
/// (docs/protocol/socket-io.md §3.1).
const LATE: Duration = Duration::from_secs(5);

pub(crate) const PING: Frame = Frame::from_static(b"\x81\x012");
const CLOSE: Frame = Frame::from_static(b"\x81\x011");
const NOOP: Frame = Frame::from_static(b"\x81\x016");
const PONG: Frame = Frame::from_static(b"\x81\x013");
const PROBE_ANSWER: Frame = Frame::from_static(b"\x81\x063probe");

/// The part of a session that only this generation has.
#[derive(Debug)]
pub(crate) struct Engine {
    revision: Revision,
    /// How the peer encodes text, as far as it is known. Used in revision 3.
    dialect: Dialect,
    /// Whether the session is raw: its messages belong to the user and hold no Socket.IO.
    raw: bool,
    /// Whether a namespace has ever been joined.
    pub(crate) joined: bool,
    /// Counts heartbeats, so that stale alarms are recognised.
    beat: u32,
    /// Counts candidates, so that stale alarms are recognised.
    attempt: u32,
    candidate: Option<Box<Candidate>>,
    /// The latest GET came after the probe of the candidate had been answered.
    polled_late: bool,
    /// The parts that few sessions have.
    rare: Option<Box<Rare>>,
    /// The client has said goodbye while no GET was parked.
    leaving: bool,
}

// Nearly every session has one.
const _: () = assert!(size_of::<Wiring>() <= 32);

/// The parts of the state that few sessions have.
#[derive(Debug, Default)]
struct Rare {
    /// The index of a session that polls by JSONP.
    jsonp: Option<Box<str>>,
    /// The POST with the goodbye. A GET that was sent before the POST may be handled after it,
    /// because they come on two connections. The answer to the GET must not depend on which of them
    /// is read first. So the POST is answered when the GET has come, or after
    /// [`Config::crossing_timeout`](crate::Config::crossing_timeout). Until then the client does
    /// not know their order.
    farewell: Option<Box<Asker>>,
    /// Namespaces that the server has made the client leave, and when.
    left: Vec<(ByteString, Time)>,
    /// CONNECTs of a client of Socket.IO 1 or 2 that wait for `/`.
    queue: revision4::Queue,
}

impl Engine {
    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The index of a session that polls by JSONP.
    fn jsonp(&self) -> Option<&str> {
        self.rare.as_ref()?.jsonp.as_deref()
    }

    /// Whether the answer to the POST with the goodbye waits.
    fn has_farewell(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.farewell.is_some())
    }

    pub(crate) const fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether the session is raw.
    pub(crate) const fn is_raw(&self) -> bool {
        self.raw
    }

    /// Why an alarm of this session goes off. The conditions are those of [`At::alarm_rang`].
    pub(super) fn timeout_reason(&self, session: &Session, at: Time, alarm: Alarm, epoch: u32) -> TimeoutReason {
        let is_open = session.state == State::Open;
        let has_post = session.post().is_some();
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
            Alarm::Upgrade if self.attempt == epoch && self.upgrade_until(has_post).is_some_and(|t| t <= at) => {
                TimeoutReason::Upgrade
            }
            Alarm::Noop if self.attempt == epoch && self.candidate.as_ref().is_some_and(|c| c.noop_due) => {
                TimeoutReason::UpgradePoll
            }
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

    /// Until when the candidate has to send `5`, if it has not sent it and waits for no POST.
    fn upgrade_until(&self, has_post: bool) -> Option<Time> {
        let candidate = self.candidate.as_ref().filter(|candidate| !candidate.switching)?;
        (!candidate.waits(has_post)).then_some(candidate.until)
    }

    /// What it keeps of what has come, and of a request that waits for an answer.
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> (Holding, Holding) {
        let candidate = self.candidate.as_ref().map_or_else(Holding::default, |candidate| {
            let held = candidate.held.iter().map(Inbound::bytes);
            let list = Holding::list::<Inbound>(candidate.held.capacity());
            list.and(Holding::memory(size_of::<Candidate>())).with(held)
        });
        let rare = self.rare.as_ref().map_or_else(Holding::default, |rare| {
            let left = Holding::list::<(ByteString, Time)>(rare.left.capacity());
            let texts = rare.left.iter().map(|(name, _)| name.len());
            let jsonp = rare.jsonp.as_ref().map(|index| index.len());
            left.with(texts.chain(jsonp))
                .and(rare.queue.holding())
                .and(Holding::memory(size_of::<Rare>()))
        });
        let farewell = self.rare.as_ref().and_then(|rare| rare.farewell.as_ref());
        let farewell = farewell.map_or_else(Holding::default, |asker| asker.holding());
        (candidate.and(rare), farewell)
    }

    /// How many packets wait until the session has moved to a websocket.
    #[cfg(feature = "steps")]
    pub(crate) fn ahead(&self) -> usize {
        self.candidate.as_ref().map_or(0, |candidate| candidate.held.len())
    }

    /// Whether there is a candidate that has not sent `5`.
    pub(crate) fn is_undecided(&self) -> bool {
        self.candidate.as_ref().is_some_and(|candidate| !candidate.switching)
    }

    /// The number of the candidate, and whether its probe has been answered, if it has not sent
    /// `5`.
    #[cfg(feature = "steps")]
    pub(crate) fn undecided(&self) -> Option<(u32, bool)> {
        let candidate = self.candidate.as_ref()?;
        (!candidate.switching).then_some((self.attempt, candidate.answered))
    }

    /// Bytes of the client's data that are kept.
    pub(crate) fn kept_bytes(&self) -> usize {
        let held = self.candidate.as_ref().map_or(0, |candidate| candidate.held_bytes);
        let rare = self.rare.as_ref().map_or(0, |rare| {
            rare.queue.bytes() + rare.jsonp.as_ref().map_or(0, |index| index.len())
        });
        held + rare
    }
}

/// A request of this generation, and its classification.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) request: &'a Request,
    /// Whether it is for raw sessions.
    pub(crate) raw: bool,
    /// Whether there is an `Upgrade` header, whatever its value.
    pub(crate) upgrade: bool,
    pub(crate) route: EngineIo,
}

/// A websocket that may become the transport.
#[derive(Debug)]
struct Candidate {
    link: LinkId,
    /// When it is given up, unless it has sent `5` or waits for a POST. The time begins again when
    /// its probe is answered. The alarm that is armed may be for an earlier time.
    until: Time,
    /// The end of a POST moves `until` no further than to this time, so that a client that goes on
    /// with polling does not keep its candidate.
    latest: Time,
    /// Whether the websocket carries binary as base64 if it becomes the transport.
    base64: bool,
    probed: bool,
    /// Whether its probe has been answered. It is not while a POST is under way.
    answered: bool,
    /// Whether the alarm has met the POST that is under way.
    is_met: bool,
    /// Whether it has waited for a POST that the alarm has met behind the answer to its probe.
    has_waited: bool,
    /// How many more GETs are answered with a noop at once.
    noops_at_once: u8,
    /// Whether the alarm is armed that answers the parked GET with a noop.
    noop_due: bool,
    /// `5` came while a POST was under way: the switch waits for the POST, and so do the packets in
    /// `held`.
    switching: bool,
    held: Vec<Inbound>,
    held_bytes: usize,
}

impl Candidate {
    /// Whether it is not given up now, because a POST is under way. Without it, a client that has
    /// not probed polls on and loses nothing. The probe is answered when the POST ends that is
    /// under way then. The client may have begun one more before it reads the answer; then it
    /// begins none before its `5`.
    const fn waits(&self, has_post: bool) -> bool {
        has_post && self.probed && !self.has_waited
    }
}

// Every session has one during its upgrade.
const _: () = assert!(size_of::<Candidate>() <= 64);

/// The part of Engine.IO. With this function a rule borrows only this part of the session.
fn engine_of(wiring: &mut Wiring) -> &mut Engine {
    wiring.engine_mut()
}

/// The revision of a session, if it is a session of Engine.IO.
fn revision_of(session: &Session) -> Option<Revision> {
    session.wiring.engine().map(Engine::revision)
}

/// The heartbeat of a session of Engine.IO.
impl Session {
    /// The answer to a ping. A ping that has not left cannot have an answer.
    pub(super) fn hear_pong(&mut self, now: Time, key: SessionKey, timers: &mut Timers) {
        if self.heartbeat.is_answerable() {
            self.schedule_heartbeat(now, key, timers);
        }
    }

    /// Schedules the next heartbeat after the interval (revision 4).
    fn schedule_heartbeat(&mut self, now: Time, key: SessionKey, timers: &mut Timers) {
        self.heartbeat = Heartbeat::Answered;
        let engine = engine_of(&mut self.wiring);
        engine.beat = engine.beat.wrapping_add(1);
        timers.arm(now, Alarm::Ping, key, engine.beat);
    }
}

impl At<'_> {
    fn engine(&mut self) -> &mut Engine {
        self.session.wiring.engine_mut()
    }
}

// ---- packets --------------------------------------------------------------------------------------------------------

impl<'a> At<'a> {
    /// A packet has come on a link of the session.
    pub(crate) fn packet_came(self, role: Role, packet: &mut Inbound) {
        match role {
            Role::WebSocket => _ = self.receive(packet),
            Role::Candidate => _ = self.handle_candidate(packet.take()),
            Role::Parked | Role::Post | Role::Stream | Role::Answered | Role::Replaced => {}
        }
    }

    /// One packet on the session's transport. The packet is taken out of its place.
    fn receive(mut self, packet: &mut Inbound) -> Fate<'a> {
        // A whole packet of Socket.IO is the usual case. It stays in its place until its parts are
        // delivered, because each move of a whole packet is a copy of some hundred bytes.
        if self.session.state != State::Closing && !self.session.reassembly.is_pending() {
            let revision = engine_of(&mut self.session.wiring).revision;
            let heard = match packet {
                Inbound::Event(event) => self.handle_event(revision, event),
                Inbound::Socket(Decoded::Packet(whole)) => self.handle_packet(revision, whole),
                _ => return self.receive_other(packet.take()),
            };
            return self.heed(heard);
        }
        self.receive_other(packet.take())
    }

    fn receive_other(mut self, packet: Inbound) -> Fate<'a> {
        let transport = self.session.transport;
        if self.session.state == State::Closing {
            // Only a goodbye is accepted now: a client that says it fetches no close packet.
            if matches!(packet, Inbound::Engine(Packet::Close)) && transport == TransportKind::Polling {
                return Err(self.fail(Reason::TransportClose));
            }
            return Ok(self);
        }
        let engine = engine_of(&mut self.session.wiring);
        let (revision, raw) = (engine.revision, engine.raw);
        match packet {
            Inbound::Event(event) => {
                let heard = self.handle_text(revision, Decoded::Packet(event.to_packet()));
                self.heed(heard)
            }
            Inbound::Partial(event) => {
                let heard = self.handle_text(revision, Decoded::Partial(event.to_partial()));
                self.heed(heard)
            }
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
                let mut decoded = bodies::decode_socket(text, revision, &self.core.config);
                self.receive(&mut decoded)
            }
            Inbound::Engine(Packet::Pong(_)) => {
                self.hear_pong();
                Ok(self)
            }
            // Who pings depends on the revision (docs/protocol/engine-io.md §6): in revision 4 the
            // server pings, so a ping of the client breaks the protocol (§4.4).
            Inbound::Engine(Packet::Ping(_)) => match revision {
                Revision::V4 => {
                    let breach = Breach::new(BreachKind::EnginePacket, "ping from a client whose server pings");
                    Err(self.fail_for(Reason::TransportError, breach))
                }
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
            | Inbound::Garbled(_)
            | Inbound::LeftOut(..) => Ok(self),
            Inbound::Broken(breach) if breach.kind() == BreachKind::SocketPacket => self.close_for(breach),
            Inbound::Broken(breach) => Err(self.fail_for(Reason::ParseError, breach)),
        }
    }

    /// Closes the session if a rule says so.
    fn heed(self, heard: Result<(), Breach>) -> Fate<'a> {
        match heard {
            Ok(()) => Ok(self),
            Err(breach) => self.close_for(breach),
        }
    }

    /// A message of a raw session, for the user.
    fn deliver(&mut self, message: EngineMessage) {
        if !self.measure(None, || message.len()) {
            return;
        }
        let session = self.key;
        self.out.deliveries.push(Delivery::EngineMessage { session, message });
    }

    /// The answer to a ping.
    fn hear_pong(&mut self) {
        self.session.hear_pong(self.now, self.key, &mut self.core.timers);
    }

    /// Schedules the next heartbeat after the interval (revision 4).
    fn next_heartbeat(&mut self) {
        self.session
            .schedule_heartbeat(self.now, self.key, &mut self.core.timers);
    }

    /// Sends the next heartbeat now, as if the last one had been answered (revision 4).
    fn ping(&mut self) {
        let engine = engine_of(&mut self.session.wiring);
        engine.beat = engine.beat.wrapping_add(1);
        let beat = engine.beat;
        self.session.heartbeat = Heartbeat::Queued;
        self.push_heartbeat(PING);
        self.core.timers.arm(self.now, Alarm::PingTimeout, self.key, beat);
    }

    /// Nothing is read from the client for now. A client that pings gives up its server if it hears
    /// nothing (revision 3), so it hears something. On polling, it holds its own ping back while
    /// its POST waits, and counts the time for the answer nevertheless. Each pong costs it a GET.
    /// So it gets none if it has heard something a short time ago.
    pub(crate) fn comfort(&mut self) {
        let is_open = self.session.state == State::Open;
        let heard_until = self.session.taken + self.core.config.longest_pause() / 2;
        if self.session.transport == TransportKind::Polling && heard_until > self.now {
            return;
        }
        if self.engine().revision == Revision::V3 && is_open && !self.session.outbox.has_heartbeat(&PONG) {
            self.push_heartbeat(PONG);
        }
    }

    /// The client pings (revision 3). One answer is enough for all pings that came before it was
    /// read.
    fn hear_ping(&mut self) {
        self.stay_until_silent();
        self.session.outbox.rest();
        if !self.session.outbox.has_heartbeat(&PONG) {
            self.push_heartbeat(PONG);
        }
    }

    /// From now on the client has the time of a heartbeat and its answer to ping again. Nothing
    /// happens in revision 4, in which the server pings.
    fn stay_until_silent(&mut self) {
        if self.engine().revision == Revision::V3 {
            let silent_until = self.now + longest_silence(&self.core.config);
            self.session.stay_until_silent(silent_until);
        }
    }
}

// ---- time -----------------------------------------------------------------------------------------------------------

/// How long a peer may be silent: the time of a heartbeat and its answer.
pub(crate) fn longest_silence(config: &Config) -> Duration {
    config.ping_interval + config.ping_timeout
}

impl<'a> At<'a> {
    pub(crate) fn alarm_rang(mut self, alarm: Alarm, epoch: u32) {
        let session = &mut *self.session;
        let (state, reassembling) = (session.state, session.reassembly.is_pending());
        let has_post = session.post().is_some();
        if alarm == Alarm::Attachments {
            session.rare_mut().attachments.disarm();
        }
        let attachments = session.rare.as_ref().map_or(Time::ZERO, |rare| rare.attachments.due());
        let engine = engine_of(&mut session.wiring);
        match alarm {
            Alarm::Ping if engine.beat == epoch => {
                if state == State::Open {
                    session.heartbeat = Heartbeat::Queued;
                    session.outbox.rest();
                    self.push_heartbeat(PING);
                }
                self.core.timers.arm(self.now, Alarm::PingTimeout, self.key, epoch);
            }
            Alarm::PingTimeout if engine.revision == Revision::V3 || engine.beat == epoch => self.judge_silence(epoch),
            Alarm::Connect if !engine.joined && state == State::Open => {
                self.broke(Breach::new(BreachKind::Late, "no namespace was joined in time"));
                let _ = self.close(Reason::ForcedServerClose);
            }
            // After `5` the client has left polling and cannot go back. The ping timeout bounds the
            // wait for the POST. Before `5`, a client that has probed waits for the answer to its
            // POST: if its websocket ended meanwhile, a genuine client would stay without a
            // transport. It waits for few POSTs only.
            Alarm::Upgrade if engine.attempt == epoch => {
                let timeout = self.core.config.upgrade_timeout;
                let due = match engine.candidate.as_mut().filter(|candidate| !candidate.switching) {
                    None => return,
                    Some(candidate) if candidate.until > self.now => candidate.until,
                    Some(candidate) if candidate.waits(has_post) => {
                        let due = self.now + timeout;
                        candidate.is_met = true;
                        candidate.latest = due + timeout / 2;
                        due
                    }
                    Some(_) => return self.drop_candidate(),
                };
                self.core.timers.arm_at(due, Alarm::Upgrade, self.key, epoch);
            }
            Alarm::Noop if engine.attempt == epoch => {
                if let Some(candidate) = engine.candidate.as_mut() {
                    candidate.noop_due = false;
                    // What is queued, perhaps by another alarm of this moment, leaves at the end of
                    // the turn, where it is noted as taken.
                    if !session.flows() || session.outbox.is_empty() {
                        self.answer_parked_with(NOOP);
                    }
                }
            }
            Alarm::Close if state == State::Closing => _ = self.forget(),
            Alarm::Attachments if reassembling && attachments <= self.now => {
                let breach = Breach::new(BreachKind::Late, "the attachments of a packet have not come in time");
                let _ = self.close_for(breach);
            }
            Alarm::Attachments if reassembling => self.arm_attachments(attachments),
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

    /// The time of a peer for its part of the heartbeat is over, unless something has happened
    /// meanwhile.
    fn judge_silence(mut self, epoch: u32) {
        let (session, config) = (&*self.session, &self.core.config);
        let is_open = session.state == State::Open;
        let (absent, taken) = (session.link().is_none(), session.taken);
        let ping_deadline = session.heartbeat_deadline(self.now, config.ping_timeout);
        let taken_deadline = taken + longest_silence(config);
        let read_until = taken + config.ping_timeout;
        let silent_until = session.silent_until();
        let revision = self.engine().revision;
        let due = match revision {
            // A client that fetches what is left is alive, and comes again. `Alarm::Close` ends the
            // session at the latest.
            Revision::V3 if !is_open => Some(read_until.max(silent_until.min(taken_deadline))),
            Revision::V4 if !is_open => Some(read_until),
            // A client that pings and never fetches its packets does not read.
            Revision::V3 if absent => Some(silent_until.min(taken_deadline)),
            Revision::V3 => Some(silent_until),
            Revision::V4 => ping_deadline,
        };
        match due {
            None => {}
            Some(due) if due > self.now => self.core.timers.arm_at(due, Alarm::PingTimeout, self.key, epoch),
            Some(_) if is_open && self.is_excused() => match revision {
                Revision::V3 => {
                    self.stay_until_silent();
                    let silent_until = self.session.silent_until();
                    self.core
                        .timers
                        .arm_at(silent_until, Alarm::PingTimeout, self.key, epoch);
                }
                Revision::V4 => self.ping(),
            },
            Some(_) if is_open => _ = self.fail(Reason::PingTimeout),
            Some(_) => _ = self.forget(),
        }
    }

    /// Nothing is read from the client for now, also no attachments.
    pub(crate) fn await_attachments(&mut self) {
        if self.session.reassembly.is_pending() {
            let config = &self.core.config;
            self.arm_attachments(self.now + config.longest_pause() + config.attachment_timeout);
        }
    }

    /// A packet waits for its attachments until `due`. One alarm serves all packets of a session.
    /// If it goes off when its packet is complete and a later packet waits, it is armed again.
    fn arm_attachments(&mut self, due: Time) {
        let attachments = &mut self.session.rare_mut().attachments;
        attachments.set(due, Alarm::Attachments, self.key, &mut self.core.timers);
    }
}
