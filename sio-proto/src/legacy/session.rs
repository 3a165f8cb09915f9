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
//! Invariant: without a transport `deadline` is set, and an alarm for it, or for an earlier time, is armed.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::framing::{self, Frame as Tilded};
use super::transports::{Family, JSONP_CONTENT_TYPE, read_data_form, write_jsonp};
use crate::detect::{Exchange, Legacy06, Transport};
use crate::server::{
    Alarm, Asker, Core, Encoded, Handshake, Identity, Message, Outputs, PollEncoding, Reason, Request, Role, SendError,
    Session, Standing, State, TransportKind, Upgrade, Verdict, Wiring, Write, accept_websocket, header, origin_allowed,
    script_allowed,
};
use crate::socket::Args;
use crate::wire::{Inbound, Wire};
use crate::{Config, Frame, LinkId, Time, http, json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most frames in one payload.
const MAX_FRAMES: usize = 65_536;
const TEXT: &str = "text/plain; charset=UTF-8";

/// What a session of this generation has besides the common part.
#[derive(Debug, Default)]
pub(crate) struct Tilde {
    /// The session id frame has been queued.
    announced: bool,
    /// Whose script the parked GET is answered with, if it is one.
    script: Option<u64>,
    /// The session id frame is still in the outbox and goes alone.
    id_waits: bool,
    awaiting_echo: bool,
    /// Number of the last heartbeat; also tells stale alarms.
    beat: u32,
    /// When a held poll is answered empty, or an absent client given up.
    deadline: Time,
    /// The alarm that is armed for it, or for an earlier time.
    alarm: Option<Time>,
}

fn tilde_of(session: &mut Session) -> Option<&mut Tilde> {
    match &mut session.wiring {
        Wiring::Legacy06(tilde) => Some(tilde),
        Wiring::Engine4(_) | Wiring::Engine3(_) | Wiring::Legacy09(_) => None,
    }
}

/// Whether this transport of the generation is served.
pub(crate) const fn serves(route: &Legacy06<'_>) -> bool {
    matches!(
        route.transport,
        Transport::Websocket | Transport::XhrPolling | Transport::JsonpPolling
    )
}

/// Most packets that may be queued: a client that is away gets less room.
pub(crate) const fn max_packets(session: &Session, config: &Config) -> usize {
    if session.link.is_some() {
        config.max_queued_packets
    } else {
        config.legacy.max_pending_messages
    }
}

// ---- requests -------------------------------------------------------------------------------------------------------

pub(crate) fn handle_request(
    core: &mut Core,
    now: Time,
    link: LinkId,
    request: &Request,
    packets: Vec<Inbound>,
    route: &Legacy06<'_>,
    out: &mut Outputs,
) {
    let config = Arc::clone(&core.config);
    let jsonp = route.transport == Transport::JsonpPolling;
    let script = route.index.filter(|_| jsonp);
    let allowed = match route.exchange {
        Exchange::Poll if jsonp => script_allowed(&config, &request.http),
        _ => origin_allowed(&config, &request.http),
    };
    let asker = Asker::with_headers(
        link,
        &request.http,
        if allowed {
            cors(&request.http, route.exchange)
        } else {
            Vec::new()
        },
    );
    let refused = !allowed || request.verdict != Verdict::Allowed && route.session.is_none();
    let session = route
        .session
        .map(|sid| core.find_session(sid).filter(|slot| is_ours(core, *slot)));
    let session = match session {
        Some(None) if route.maybe_timestamp => None,
        session => session,
    };
    match (route.exchange, session) {
        (Exchange::Preflight, _) => out.writes.push(asker.answer(200, None, Bytes::new())),
        (Exchange::Mismatch | Exchange::Stream, _) => out.writes.push(asker.answer(400, None, Bytes::new())),
        (Exchange::BadMethod, _) => out.writes.push(asker.answer(405, None, Bytes::new())),
        // Genuine servers crash here.
        (Exchange::Poll | Exchange::Send, _) if jsonp && script.is_none() => {
            out.writes.push(asker.answer(400, None, Bytes::new()));
        }
        _ if refused => out
            .writes
            .push(asker.closing().answer(401, Some("text/plain"), "unauthorized")),
        (_, Some(None)) | (Exchange::Send, None) => out.writes.push(asker.answer(400, None, Bytes::new())),
        (Exchange::Poll, None) => open(core, now, Some((asker, script)), None, request, out),
        (Exchange::Upgrade(_), session) => upgrade(core, now, session.flatten(), asker, request, out),
        (Exchange::Poll, Some(Some(slot))) => poll(core, now, slot, asker, script, out),
        (Exchange::Send, Some(Some(_))) if request.http.body.is_err() => {
            out.writes.push(asker.closing().answer(413, None, Bytes::new()));
        }
        (Exchange::Send, Some(Some(slot))) => post(core, now, slot, asker, packets, out),
    }
}

fn is_ours(core: &Core, slot: u32) -> bool {
    matches!(core.sessions.get(slot).map(|s| &s.wiring), Some(Wiring::Legacy06(_)))
}

/// The headers that genuine servers answer with (docs/protocol/legacy-0.6.md §5.2, §6).
fn cors(request: &http::Request, exchange: Exchange) -> Vec<(&'static str, ByteString)> {
    let mut headers = Vec::new();
    let Some(origin) = header(request, "origin") else {
        return headers;
    };
    let (origin, credentials) = match exchange {
        Exchange::Send => ("*", request.headers.get("cookie").is_some()),
        Exchange::Preflight => (origin, true),
        _ if origin == "null" => ("*", request.headers.get("cookie").is_some()),
        _ => (origin, request.headers.get("cookie").is_some()),
    };
    headers.push(("Access-Control-Allow-Origin", ByteString::from(origin)));
    if credentials {
        headers.push(("Access-Control-Allow-Credentials", ByteString::from_static("true")));
    }
    if exchange == Exchange::Preflight {
        headers.push(("Access-Control-Allow-Methods", ByteString::from_static("POST, GET")));
    }
    headers
}

/// Makes a session, which asks for the namespace `/`. Its GET is parked, or its websocket open, until the user has decided.
fn open(
    core: &mut Core,
    now: Time,
    parked: Option<(Asker, Option<u64>)>,
    websocket: Option<LinkId>,
    request: &Request,
    out: &mut Outputs,
) {
    let handshake = Arc::new(Handshake::new(request, now));
    let transport = if parked.is_some() {
        TransportKind::Polling
    } else {
        TransportKind::WebSocket
    };
    let tilde = Tilde {
        script: parked.as_ref().and_then(|(_, script)| *script),
        ..Tilde::default()
    };
    let link = websocket.or_else(|| parked.as_ref().map(|(asker, _)| asker.link));
    let Some(slot) = core.open_session(transport, link, handshake, Wiring::Legacy06(tilde)) else {
        match (parked, websocket) {
            (Some((asker, _)), _) => out.writes.push(asker.answer(503, None, Bytes::new())),
            (None, Some(link)) => out.writes.push(Write::Close(link, None)),
            (None, None) => {}
        }
        return;
    };
    if let Some(link) = link {
        core.links.set(
            link,
            core.key(slot),
            if parked.is_some() {
                Role::Parked
            } else {
                Role::WebSocket
            },
        );
    }
    if let Some(session) = core.sessions.get_mut(slot) {
        session.parked = parked.map(|(asker, _)| Box::new(asker));
    }
    let held = now + core.config.legacy.poll_duration;
    set_deadline(core, slot, held);
    if !core.ask(slot, &ByteString::from_static("/"), Identity::Own, None, out) {
        close(core, slot, Reason::ForcedServerClose, out);
    }
}

fn upgrade(core: &mut Core, now: Time, session: Option<u32>, asker: Asker, request: &Request, out: &mut Outputs) {
    let link = asker.link;
    let accept = match accept_websocket(asker, &request.http) {
        Ok((accept, headers)) => Upgrade {
            accept,
            headers,
            wire: Wire::Legacy06,
        },
        Err(refusal) => return out.writes.push(refusal),
    };
    out.writes.push(Write::Upgrade(link, Box::new(accept)));
    let Some(slot) = session else {
        return open(core, now, None, Some(link), request, out);
    };
    detach(core, slot, out);
    core.set_transport(slot, TransportKind::WebSocket);
    let key = core.key(slot);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.link = Some(link);
    core.links.set(link, key, Role::WebSocket);
    core.mark_ready(slot);
    next_heartbeat(core, now, slot);
}

/// Takes the session's transport away, politely.
fn detach(core: &mut Core, slot: u32, out: &mut Outputs) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.blocked = false;
    let script = tilde_of(session).and_then(|tilde| tilde.script);
    if let Some(link) = session.link.take() {
        core.links.clear(link);
        match session.parked.take() {
            Some(asker) => answer(*asker, script, Vec::new(), out),
            None => out.writes.push(Write::Close(link, None)),
        }
    }
}

fn answer(asker: Asker, script: Option<u64>, frames: Vec<Frame>, out: &mut Outputs) {
    out.writes.push(match script {
        None => asker.answer_packets(TEXT, frames, PollEncoding::Legacy06),
        Some(index) => asker.answer_packets(JSONP_CONTENT_TYPE, frames, PollEncoding::Legacy06Jsonp(index)),
    });
}

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

// ---- polling --------------------------------------------------------------------------------------------------------

fn poll(core: &mut Core, now: Time, slot: u32, asker: Asker, script: Option<u64>, out: &mut Outputs) {
    // The newer poll is the live one; the older is answered empty (docs/protocol/legacy-0.6.md §6).
    detach(core, slot, out);
    core.set_transport(slot, TransportKind::Polling);
    let (key, held) = (core.key(slot), now + core.config.legacy.poll_duration);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    core.links.set(asker.link, key, Role::Parked);
    session.link = Some(asker.link);
    session.parked = Some(Box::new(asker));
    if let Some(tilde) = tilde_of(session) {
        tilde.script = script;
    }
    set_deadline(core, slot, held);
    core.mark_ready(slot);
}

/// Answers the parked GET with what is queued.
pub(crate) fn flush_poll(core: &mut Core, now: Time, slot: u32, out: &mut Outputs) {
    let absent = now + core.config.legacy.reconnect_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let Some(asker) = session.parked.take() else { return };
    session.link = None;
    let script = tilde_of(session).and_then(|tilde| tilde.script);
    let alone = tilde_of(session).is_some_and(|t| core::mem::take(&mut t.id_waits));
    let frames = if alone {
        session.take_first()
    } else {
        session.take_outbox()
    };
    core.links.clear(asker.link);
    answer(*asker, script, frames, out);
    set_deadline(core, slot, absent);
}

fn post(core: &mut Core, now: Time, slot: u32, asker: Asker, packets: Vec<Inbound>, out: &mut Outputs) {
    let key = core.key(slot);
    for packet in packets {
        if let Inbound::Broken(_) = packet {
            return out.writes.push(asker.answer(400, None, Bytes::new()));
        }
        if core.sessions.holds(key.slot, key.generation) {
            handle_packet(core, now, slot, packet, out);
        }
    }
    out.writes.push(asker.answer(200, Some("text/plain"), "ok"));
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

/// The next heartbeat of a websocket is due after the interval.
fn next_heartbeat(core: &mut Core, now: Time, slot: u32) {
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
    let on_websocket = session.link.is_some() && session.parked.is_none();
    let Some(tilde) = tilde_of(session) else { return };
    match alarm {
        Alarm::Ping if tilde.beat == epoch && on_websocket => {
            tilde.awaiting_echo = true;
            let frame = Frame::text(&mut core.buffer, |b| framing::write_heartbeat(epoch.into(), b));
            core.push_control(slot, frame);
            core.timers.arm_at(late, Alarm::PingTimeout, key, epoch);
        }
        Alarm::PingTimeout if tilde.beat == epoch && tilde.awaiting_echo && on_websocket => {
            close(core, slot, Reason::PingTimeout, out);
        }
        // One that was armed before the deadline moved forward; the one that counts is still to come.
        Alarm::Absence if tilde.alarm.is_some_and(|armed| armed > now) => {}
        Alarm::Absence => {
            tilde.alarm = None;
            let deadline = tilde.deadline;
            if on_websocket && tilde.announced {
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
fn set_deadline(core: &mut Core, slot: u32, at: Time) {
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
pub(crate) fn accepted(core: &mut Core, now: Time, slot: u32) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let (sid, polling) = (session.sid.base32(), session.transport == TransportKind::Polling);
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
    if let Some(link) = session.link {
        let frames = session.take_outbox();
        match session.parked.take() {
            Some(asker) => answer(*asker, script, frames, out),
            None => {
                out.writes
                    .extend(frames.into_iter().map(|frame| Write::Frame(link, frame)));
                out.writes.push(Write::Close(link, None));
            }
        }
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
