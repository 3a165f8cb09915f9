//! A session of 0.6: the server speaks first, and a session outlives its transport (docs/protocol/legacy-0.6.md §3-§6, §13).
//!
//! ```text
//!   request without id ─► ASKING ── accepted ─► PRESENT ── transport lost ─► ABSENT ── too long ─► (gone)
//!                            │                    ▲  session id frame           │
//!                            └─ refused ─► (gone) └──── request with the id ────┘
//! ```
//! There is no CONNECT on this wire: opening a session is asking for the namespace `/`. The session id frame, by which the client knows that it is
//! connected, is sent when the user has accepted; nothing goes before it, and in a poll nothing goes with it unless the session ends with that poll.
//!
//! What crosses to this wire and from it: a text or JSON message is the event `message` with that one argument. Other events reach the client as the
//! JSON message `{"event":NAME,"args":[…]}`, with `"attachments":[base64,…]` if there are any. Acknowledgements cannot be carried.
//!
//! Which requests there are is in [`requests`](super::requests).
//!
//! Invariant: without a transport `deadline` is set, and an alarm for it, or for an earlier time, is armed.

use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::framing::{self, Frame as Tilded};
use super::requests::{answer, begin_stream, flush_poll};
use super::transports::{Family, read_data_form, write_jsonp};
use crate::detect::{Legacy06, Transport};
use crate::server::{
    Alarm, Carriage, Core, Encoded, Message, Outputs, Reason, SendError, Session, Standing, State, Wiring,
};
use crate::socket::Args;
use crate::wire::Inbound;
use crate::{Config, Frame, Time, json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most frames in one payload.
const MAX_FRAMES: usize = 65_536;

/// What a session of this generation has besides the common part.
#[derive(Debug, Default)]
pub(crate) struct Tilde {
    /// The session id frame has been queued.
    announced: bool,
    /// Whose script the parked GET is answered with, if it is one.
    pub(super) script: Option<u64>,
    /// The session id frame is still in the outbox and goes alone.
    pub(super) id_waits: bool,
    awaiting_echo: bool,
    /// Number of the last heartbeat; also tells stale alarms.
    beat: u32,
    /// When a held poll is answered empty, or an absent client given up.
    deadline: Time,
    /// The alarm that is armed for it, or for an earlier time.
    alarm: Option<Time>,
}

impl Tilde {
    /// A session whose GET is answered with this script, if it has to be one.
    pub(super) fn new(script: Option<u64>) -> Self {
        Self {
            script,
            ..Self::default()
        }
    }
}

pub(super) fn tilde_of(session: &mut Session) -> Option<&mut Tilde> {
    match &mut session.wiring {
        Wiring::Legacy06(tilde) => Some(tilde),
        Wiring::Engine4(_) | Wiring::Engine3(_) | Wiring::Legacy09(_) => None,
    }
}

/// Most packets that may be queued: a client that is away gets less room.
pub(crate) const fn max_packets(session: &Session, config: &Config) -> usize {
    if session.link.is_some() {
        config.max_queued_packets
    } else {
        config.legacy.max_pending_messages
    }
}

// ---- payloads ----------------------------------------------------------------------------------------------------

/// Puts frames together as the body of a poll.
pub(crate) fn encode_poll(frames: &[Frame], out: &mut BytesMut) {
    frames.iter().for_each(|frame| out.put_slice(frame.payload()));
}

/// The same as a script.
pub(crate) fn encode_script(index: u64, frames: &[Frame], out: &mut BytesMut) {
    encode_poll(frames, out);
    let payload = out.split();
    let text = core::str::from_utf8(&payload).unwrap_or_default();
    write_jsonp(Family::V06, index, text, out);
}

/// Decodes the body of a POST. Without the field `data` it is broken.
pub(crate) fn decode_body(config: &Config, route: &Legacy06<'_>, body: &Bytes) -> Vec<Inbound> {
    let mut packets = Vec::new();
    match read_data_form(body) {
        Ok(payload) => {
            let mut frames = Vec::new();
            let _ = match route.transport {
                // Browsers have written a form, and with it their own line breaks (docs/protocol/legacy-0.6.md §5.1).
                Transport::JsonpPolling => framing::decode_jsonp(&payload, MAX_FRAMES, &mut frames),
                _ => framing::decode(&payload, MAX_FRAMES, &mut frames),
            };
            receive_frames(frames, config, &mut packets);
        }
        Err(_) => packets.push(Inbound::Broken(Reason::ParseError)),
    }
    packets
}

/// Decodes a payload. What is wrong with the rest of it costs the rest and nothing more (docs/protocol/legacy-0.6.md §16).
pub(crate) fn decode_payload(payload: &ByteString, config: &Config, out: &mut Vec<Inbound>) {
    let mut frames = Vec::new();
    // The error is the end of the payload; the frames before it count.
    let _ = framing::decode(payload, MAX_FRAMES, &mut frames);
    receive_frames(frames, config, out);
}

fn receive_frames(frames: Vec<Tilded>, config: &Config, out: &mut Vec<Inbound>) {
    out.extend(frames.into_iter().filter_map(|frame| {
        match frame {
            Tilded::Heartbeat(number) => Some(Inbound::Heartbeat(number)),
            Tilded::Json(value) => json::validate(&value, config.packet.max_depth)
                .is_ok()
                .then_some(Inbound::Message(value)),
            Tilded::Text(text) => {
                let mut literal = BytesMut::with_capacity(text.len() + 2);
                json::write_string(&mut literal, &text);
                ByteString::try_from(literal.freeze()).ok().map(Inbound::Message)
            }
        }
    }));
}

// ---- packets and time -----------------------------------------------------------------------------------------------

pub(crate) fn handle_packet(core: &mut Core, now: Time, slot: u32, packet: Inbound, out: &mut Outputs) {
    match packet {
        Inbound::Message(json) => {
            if let Some((socket, Standing::Connected)) = core.socket_in(slot, "/") {
                core.event(socket, ByteString::from_static("message"), Args::from(json), None, out);
            }
        }
        Inbound::Heartbeat(number) => {
            let tilde = core.sessions.get_mut(slot).and_then(tilde_of);
            if tilde.is_some_and(|t| t.awaiting_echo && number.parse() == Ok(t.beat)) {
                next_heartbeat(core, now, slot);
            }
        }
        Inbound::Engine(_) | Inbound::Socket(_) | Inbound::Part(_) | Inbound::Colon(_) | Inbound::Broken(_) => {}
    }
}

/// The next heartbeat of a websocket or stream is due after the interval.
pub(super) fn next_heartbeat(core: &mut Core, now: Time, slot: u32) {
    let (key, at) = (core.key(slot), now + core.config.legacy.heartbeat_interval);
    if let Some(tilde) = core.sessions.get_mut(slot).and_then(tilde_of) {
        tilde.awaiting_echo = false;
        tilde.beat = tilde.beat.wrapping_add(1);
        core.timers.arm_at(at, Alarm::Ping, key, tilde.beat);
    }
}

pub(crate) fn handle_alarm(core: &mut Core, now: Time, slot: u32, alarm: Alarm, epoch: u32, out: &mut Outputs) {
    let key = core.key(slot);
    let late = now + core.config.legacy.heartbeat_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let flows = session.link.is_some() && session.parked.is_none();
    let Some(tilde) = tilde_of(session) else { return };
    match alarm {
        Alarm::Ping if tilde.beat == epoch && flows => {
            tilde.awaiting_echo = true;
            let frame = Frame::text(&mut core.buffer, |b| framing::write_heartbeat(epoch.into(), b));
            core.push_control(slot, frame);
            core.timers.arm_at(late, Alarm::PingTimeout, key, epoch);
        }
        Alarm::PingTimeout if tilde.beat == epoch && tilde.awaiting_echo && flows => {
            close(core, slot, Reason::PingTimeout, out);
        }
        // One that was armed before the deadline moved forward; the one that counts is still to come.
        Alarm::Absence if tilde.alarm.is_some_and(|armed| armed > now) => {}
        Alarm::Absence => {
            tilde.alarm = None;
            let deadline = tilde.deadline;
            if flows && tilde.announced {
            } else if deadline > now {
                set_deadline(core, slot, deadline);
            } else if tilde.announced && session.parked.is_some() {
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
        | Alarm::Attachments => {}
    }
}

/// Sets the deadline. An alarm that is armed for an earlier time is left alone: it finds the new deadline when it goes off.
pub(super) fn set_deadline(core: &mut Core, slot: u32, at: Time) {
    let key = core.key(slot);
    if let Some(tilde) = core.sessions.get_mut(slot).and_then(tilde_of) {
        tilde.deadline = at;
        if tilde.alarm.is_none_or(|armed| armed > at) {
            tilde.alarm = Some(at);
            core.timers.arm_at(at, Alarm::Absence, key, 0);
        }
    }
}

// ---- the user's answer, and the end ---------------------------------------------------------------------------------

/// The user has accepted: the client gets its session id.
pub(crate) fn accepted(core: &mut Core, now: Time, slot: u32, out: &mut Outputs) {
    begin_stream(core, slot, out);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let (sid, polling) = (session.sid.base32(), session.transport.is_polling());
    let Some(tilde) = tilde_of(session) else { return };
    tilde.announced = true;
    tilde.id_waits = polling;
    let sid = core::str::from_utf8(&sid).unwrap_or_default();
    let frame = Frame::text(&mut core.buffer, |b| framing::write_text(sid, b));
    core.push_control(slot, frame);
    if !polling {
        next_heartbeat(core, now, slot);
    }
}

/// The user has refused: there is no session then.
pub(crate) fn refused(core: &mut Core, slot: u32, out: &mut Outputs) {
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

/// A link of the session is gone. The session waits for the client to come back, unless it never was connected.
pub(crate) fn handle_closed(core: &mut Core, now: Time, slot: u32, out: &mut Outputs) {
    let absent = now + core.config.legacy.reconnect_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    (session.link, session.parked, session.blocked) = (None, None, false);
    let Some(tilde) = tilde_of(session) else { return };
    tilde.awaiting_echo = false;
    if tilde.announced {
        set_deadline(core, slot, absent);
    } else {
        core.remove_session(slot, Reason::TransportClose, out);
    }
}

/// Ends the session: what is queued leaves if there is a way. This wire has no word for goodbye.
pub(crate) fn close(core: &mut Core, slot: u32, reason: Reason, out: &mut Outputs) {
    core.end_sockets(slot, reason, out);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.state = State::Closing;
    let script = tilde_of(session).and_then(|tilde| tilde.script);
    match (session.parked.take(), session.carriage) {
        // A stream that has not begun.
        (Some(asker), Carriage::Stream(_)) => out.writes.push(asker.answer(503, None, Bytes::new())),
        (Some(asker), Carriage::Poll | Carriage::Frames) => answer(*asker, script, session.take_outbox(), out),
        (None, _) => session.end_link(out),
    }
    core.remove_session(slot, reason, out);
}

/// Encodes a message for clients of this generation, as the module says.
pub(crate) fn encode_message(message: &Message, buffer: &mut BytesMut) -> Encoded {
    let first = Frame::text(buffer, |b| match message.name.as_deref() {
        Some("message") if message.args.attachments.is_empty() => {
            for value in message.args.iter() {
                if value.starts_with('"') {
                    framing::write_text(&json::unescape(value), b);
                } else {
                    framing::write_json(value, b);
                }
            }
        }
        name => {
            let mut envelope = BytesMut::new();
            envelope.put_slice(b"{\"event\":");
            json::write_string(&mut envelope, name.unwrap_or_default());
            envelope.put_slice(b",\"args\":[");
            envelope.put_slice(message.args.json.as_bytes());
            envelope.put_u8(b']');
            if !message.args.attachments.is_empty() {
                put_attachments(&message.args, &mut envelope);
            }
            envelope.put_u8(b'}');
            framing::write_json(core::str::from_utf8(&envelope).unwrap_or_default(), b);
        }
    });
    Encoded {
        first,
        attachments: Vec::new(),
    }
}

fn put_attachments(args: &Args, out: &mut BytesMut) {
    out.put_slice(b",\"attachments\":[");
    for (at, bytes) in args.attachments.iter().enumerate() {
        out.put_slice(if at == 0 { b"\"" } else { b",\"" });
        out.put_slice(STANDARD.encode(bytes).as_bytes());
        out.put_u8(b'"');
    }
    out.put_u8(b']');
}

/// Says whether this wire can carry the message: it has no acknowledgements.
pub(crate) const fn check(message: &Message) -> Result<(), SendError> {
    if message.id.is_none() {
        Ok(())
    } else {
        Err(SendError::Unsupported)
    }
}
