//! A session of the 0.6 family: the server speaks first, and a session outlives its transport
//! (docs/protocol/legacy-0.6.md §3-§6, §13).
//!
//! ```text
//!   request without id ─► ASKING ── accepted ─► PRESENT ── transport lost ─► ABSENT ── too long ─► (gone)
//!                            │                    ▲  session id frame           │
//!                            └─ refused ─► (gone) └──── request with the id ────┘
//! ```
//! There is no CONNECT on this wire: opening a session is asking for the namespace `/`. The session
//! id frame, by which the client knows that it is connected, is sent when the user has accepted;
//! nothing goes before it, and in a poll nothing goes with it unless the session ends with that
//! poll.
//!
//! What the payloads are is said by the codec of the path on which the session was opened
//! ([`wire::legacy06`](crate::wire::legacy06)): `~m~` of 0.5 and 0.6, the streaming wire, the
//! envelope of 0.3-0.4, or one of the user's own.
//!
//! Which requests there are is in [`requests`].
//!
//! Invariant: without a transport `deadline` is set, and an alarm for it, or for an earlier time,
//! is armed.

pub(crate) mod message;
pub(crate) mod requests;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::old_websocket::{complete, is_opening, is_overdue};
use crate::codec::Heartbeats;
use crate::id::SessionSlot;
use crate::server::{
    Alarm, Breach, BreachKind, Carriage, Core, Delivery, Heartbeat, Outputs, Reason, Session, Standing, State,
    TimeoutReason, Write,
};
use crate::socket::Args;
use crate::wire::Inbound;
use crate::wire::legacy06::{Garbled, PayloadReader};
use crate::{Config, Frame, Time};
use requests::{answer, begin_stream, flush_poll};

/// What a session of this generation has besides the common part.
#[derive(Debug, Default)]
pub(crate) struct Legacy06 {
    /// The number of its codec.
    pub(crate) codec: u8,
    /// Something that could not be read has been reported.
    reported: bool,
    /// Reads what is posted, if the codec has streams.
    reader: Option<Box<PayloadReader>>,
    /// The session id frame has been queued.
    announced: bool,
    /// Whose script the parked GET is answered with, if it is one.
    pub(super) script: Option<u64>,
    /// The session id frame is still in the outbox and goes alone.
    pub(super) id_waits: bool,
    /// Number of the last heartbeat; also tells stale alarms.
    beat: u32,
    /// When a held poll is answered empty, or an absent client given up.
    deadline: Time,
    /// The alarm that is armed for it, or for an earlier time.
    alarm: Option<Time>,
}

impl Legacy06 {
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
            Alarm::Absence if self.alarm.is_some_and(|armed| armed > at) || flows && self.announced => {
                TimeoutReason::Nothing
            }
            Alarm::Absence if !self.announced => TimeoutReason::Decision,
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
        self.reader.as_ref().map_or(0, |reader| reader.buffered_bytes())
    }

    /// A session in the codec of this number, whose GET is answered with this script, if it has to
    /// be one.
    pub(super) fn new(codec: u8, script: Option<u64>) -> Self {
        Self {
            codec,
            script,
            ..Self::default()
        }
    }
}

pub(super) fn legacy06_of(session: &mut Session) -> Option<&mut Legacy06> {
    session.wiring.legacy06_mut()
}

/// Most packets that may be queued: a client that is away gets less room.
pub(crate) const fn max_packets(session: &Session, config: &Config) -> usize {
    if session.link.is_some() {
        config.max_queued_packets
    } else {
        config.legacy06.max_pending_messages
    }
}

/// Reads a piece of the stream that a session's POSTs are together.
pub(super) fn read_piece(
    core: &mut Core,
    slot: SessionSlot,
    payload: &ByteString,
    from_form: bool,
    packets: &mut Vec<Inbound>,
) {
    let config = Arc::clone(&core.config);
    if let Some(legacy06) = core.sessions.get_mut(slot).and_then(legacy06_of) {
        let codec = legacy06.codec;
        let reader = legacy06
            .reader
            .get_or_insert_with(|| Box::new(PayloadReader::new(codec, &config)));
        reader.read(payload, from_form, &config, packets);
    }
}

// ---- packets and time -----------------------------------------------------------------------------------------------

pub(crate) fn handle_packet(core: &mut Core, now: Time, slot: SessionSlot, packet: Inbound, out: &mut Outputs) {
    match packet {
        Inbound::Message(json) => {
            if let Some((socket, Standing::Connected)) = core.socket_in(slot, "/") {
                core.event(socket, ByteString::from_static("message"), Args::from(json), None, out);
            }
        }
        Inbound::Heartbeat(number) => {
            let session = core.sessions.get_mut(slot).filter(|s| s.heartbeat.is_answerable());
            if session
                .and_then(legacy06_of)
                .is_some_and(|t| number.parse() == Ok(t.beat))
            {
                next_heartbeat(core, now, slot);
            }
        }
        Inbound::Digest(digest) => {
            if complete(core, slot, digest, out) {
                core.mark_ready(slot);
            }
        }
        Inbound::Goodbye => close(core, slot, Reason::ClientNamespaceDisconnect, out),
        Inbound::Garbled(garbled) => {
            let breach = Breach::new(BreachKind::Payload, &garbled.error);
            match garbled.error.is_fatal() {
                false => {
                    core.tolerated(slot, breach, 1, out);
                    report(core, slot, *garbled, out);
                }
                true => {
                    core.broke(slot, breach, out);
                    report(core, slot, *garbled, out);
                    close(core, slot, Reason::ParseError, out);
                }
            }
        }
        Inbound::Broken(breach) => core.tolerated(slot, breach, 1, out),
        Inbound::LeftOut(breach, times) => core.tolerated(slot, breach, times, out),
        Inbound::Engine(_) | Inbound::Socket(_) | Inbound::Part(_) | Inbound::Legacy09(_) | Inbound::Payload { .. } => {
        }
    }
}

/// Tells the user once per session that something could not be read: a client with the wrong codec
/// says nothing else.
fn report(core: &mut Core, slot: SessionSlot, garbled: Garbled, out: &mut Outputs) {
    let Some((socket, _)) = core.socket_in(slot, "/") else {
        return;
    };
    let config = Arc::clone(&core.config);
    if let Some(legacy06) = core.sessions.get_mut(slot).and_then(legacy06_of)
        && !core::mem::replace(&mut legacy06.reported, true)
    {
        let codec = config.legacy06.codec_at(legacy06.codec).name();
        out.deliveries.push(Delivery::Garbled {
            socket: core.socket_key(socket),
            codec,
            garbled,
        });
    }
}

/// The next heartbeat of a websocket or stream is due after the interval, if the codec has any.
pub(super) fn next_heartbeat(core: &mut Core, now: Time, slot: SessionSlot) {
    let (key, config) = (core.key(slot), Arc::clone(&core.config));
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let transport = session.transport.into();
    if let Some(legacy06) = legacy06_of(session) {
        let codec = config.legacy06.codec_at(legacy06.codec);
        if codec.heartbeats(transport) == Heartbeats::None {
            return;
        }
        let at = now + codec.heartbeat_interval(transport, config.legacy06.heartbeat_interval);
        legacy06.beat = legacy06.beat.wrapping_add(1);
        core.timers.arm_at(at, Alarm::Ping, key, legacy06.beat);
        session.heartbeat = Heartbeat::Answered;
    }
}

pub(crate) fn handle_alarm(core: &mut Core, now: Time, slot: SessionSlot, alarm: Alarm, epoch: u32, out: &mut Outputs) {
    if alarm == Alarm::Upgrade {
        return give_up_opening(core, now, slot, epoch, out);
    }
    let (key, config) = (core.key(slot), Arc::clone(&core.config));
    let timeout = config.legacy06.heartbeat_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let (flows, transport) = (
        session.link.is_some() && session.parked.is_none(),
        session.transport.into(),
    );
    let answer_due = session.heartbeat_deadline(now, timeout);
    let Some(legacy06) = legacy06_of(session) else { return };
    match alarm {
        Alarm::Ping if legacy06.beat == epoch && flows => {
            let codec = config.legacy06.codec_at(legacy06.codec);
            let echoed = codec.heartbeats(transport) == Heartbeats::Echoed;
            if echoed {
                session.heartbeat = Heartbeat::Queued;
            }
            let frame = Frame::text(&mut core.buffer, |b| codec.encode_heartbeat(epoch, b));
            core.push_control(slot, frame);
            if echoed {
                core.timers.arm_at(now + timeout, Alarm::PingTimeout, key, epoch);
            } else {
                next_heartbeat(core, now, slot);
            }
        }
        Alarm::PingTimeout if legacy06.beat == epoch && flows => match answer_due {
            None => {}
            Some(due) if due > now => core.timers.arm_at(due, Alarm::PingTimeout, key, epoch),
            Some(_) => close(core, slot, Reason::PingTimeout, out),
        },
        // One that was armed before the deadline moved forward; the one that counts is still to
        // come.
        Alarm::Absence if legacy06.alarm.is_some_and(|armed| armed > now) => {}
        Alarm::Absence => {
            legacy06.alarm = None;
            let deadline = legacy06.deadline;
            if flows && legacy06.announced {
            } else if deadline > now {
                set_deadline(core, slot, deadline);
            } else if legacy06.announced && session.parked.is_some() {
                flush_poll(core, now, slot, out);
            } else {
                close(core, slot, Reason::PingTimeout, out);
            }
        }
        Alarm::Ping
        | Alarm::PingTimeout
        | Alarm::Connect
        | Alarm::Upgrade
        | Alarm::Noop
        | Alarm::Close
        | Alarm::Stalled
        | Alarm::Attachments => {}
    }
}

/// The handshake of a websocket has taken too long: it is as good as lost.
fn give_up_opening(core: &mut Core, now: Time, slot: SessionSlot, epoch: u32, out: &mut Outputs) {
    if is_overdue(core, slot, epoch)
        && let Some(link) = core.sessions.get(slot).and_then(|session| session.link)
    {
        out.writes.push(Write::Abort(link));
        core.links.clear(link);
        handle_closed(core, now, slot, out);
    }
}

/// Sets the deadline. An alarm that is armed for an earlier time is left alone: it finds the new
/// deadline when it goes off.
pub(super) fn set_deadline(core: &mut Core, slot: SessionSlot, at: Time) {
    let key = core.key(slot);
    if let Some(legacy06) = core.sessions.get_mut(slot).and_then(legacy06_of) {
        legacy06.deadline = at;
        if legacy06.alarm.is_none_or(|armed| armed > at) {
            legacy06.alarm = Some(at);
            core.timers.arm_at(at, Alarm::Absence, key, 0);
        }
    }
}

// ---- the user's answer, and the end ---------------------------------------------------------------------------------

/// The user has accepted: the client gets its session id.
pub(crate) fn accepted(core: &mut Core, now: Time, slot: SessionSlot, out: &mut Outputs) {
    begin_stream(core, slot, out);
    let config = Arc::clone(&core.config);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let (sid, polling) = (session.id.base32(), session.transport.is_polling());
    let Some(legacy06) = legacy06_of(session) else { return };
    legacy06.announced = true;
    legacy06.id_waits = polling;
    let codec = config.legacy06.codec_at(legacy06.codec);
    let sid = core::str::from_utf8(&sid).unwrap_or_default();
    let frame = Frame::text(&mut core.buffer, |b| codec.encode_session_id(sid, b));
    core.push_control(slot, frame);
    if !polling {
        next_heartbeat(core, now, slot);
    }
}

/// The user has refused: there is no session then.
pub(crate) fn refused(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if let Some(asker) = session.parked.take() {
        session.link = None;
        core.links.clear(asker.link);
        out.writes.push(asker.answer(401, Some("text/plain"), "unauthorized"));
    }
    close(core, slot, Reason::ForcedServerClose, out);
}

/// A link of the session is gone. The session waits for the client to come back, unless it never
/// was connected.
pub(crate) fn handle_closed(core: &mut Core, now: Time, slot: SessionSlot, out: &mut Outputs) {
    let absent = now + core.config.legacy06.reconnect_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    (session.link, session.parked) = (None, None);
    session.unblock(&mut core.backlog);
    session.heartbeat = Heartbeat::Answered;
    let Some(legacy06) = legacy06_of(session) else { return };
    if legacy06.announced {
        set_deadline(core, slot, absent);
    } else {
        core.remove_session(slot, Reason::TransportClose, out);
    }
}

/// Ends the session: what is queued leaves if there is a way, and behind it the goodbye, if the
/// codec has one.
pub(crate) fn close(core: &mut Core, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
    core.end_sockets(slot, reason, out);
    let config = Arc::clone(&core.config);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.state = State::Closing;
    core.counters.close(reason);
    let Some(legacy06) = legacy06_of(session) else { return };
    let (codec, script) = (config.legacy06.codec_at(legacy06.codec), legacy06.script);
    if session.link.is_some() {
        let goodbye = Frame::text(&mut core.buffer, |b| codec.encode_goodbye(b));
        if !goodbye.payload().is_empty() {
            session.outbox_bytes += goodbye.len();
            session.outbox.push_back(goodbye);
        }
        match (session.parked.take(), &session.carriage) {
            // A stream that has not begun.
            (Some(asker), Carriage::Stream(_)) => out.writes.push(asker.answer(503, None, Bytes::new())),
            (Some(asker), Carriage::Poll | Carriage::Frames) => {
                answer(*asker, codec, script, session.take_outbox(), out);
            }
            (None, _) => session.end_link(out),
        }
    }
    core.remove_session(slot, reason, out);
}
