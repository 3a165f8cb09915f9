//! A session of the 0.6 family: the server speaks first, and a session outlives its transport (docs/protocol/legacy-0.6.md §3-§6, §13).
//!
//! ```text
//!   request without id ─► ASKING ── accepted ─► PRESENT ── transport lost ─► ABSENT ── too long ─► (gone)
//!                            │                    ▲  session id frame           │
//!                            └─ refused ─► (gone) └──── request with the id ────┘
//! ```
//! There is no CONNECT on this wire: opening a session is asking for the namespace `/`. The session id frame, by which the client knows that it is
//! connected, is sent when the user has accepted; nothing goes before it, and in a poll nothing goes with it unless the session ends with that poll.
//!
//! What the payloads are is said by the codec of the path on which the session was opened ([`payloads`](super::payloads)): `~m~` of 0.5 and 0.6, the streaming wire,
//! the envelope of 0.3-0.4, or one of the user's own.
//!
//! Invariant: without a transport `deadline` is set, and an alarm for it, or for an earlier time, is armed.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::payloads::{Garbled, PayloadReader};
use super::transports::JSONP_CONTENT_TYPE;
use crate::codec::{Codec, Heartbeats};
use crate::detect::{Exchange, Legacy06, Transport};
use crate::server::{
    Alarm, Asker, Core, Delivery, Handshake, Identity, Outputs, PollEncoding, Reason, Request, Role, Session, Standing,
    State, TransportKind, Upgrade, Verdict, Wiring, Write, accept_websocket, header, origin_allowed, script_allowed,
};
use crate::socket::Args;
use crate::wire::{Inbound, Wire};
use crate::{Config, Frame, LinkId, Time, http};

/// What a page of the wrong origin gets for a script.
const REFUSED_SCRIPT: &str = "alert('Cross domain security restrictions not met');";
const TEXT: &str = "text/plain; charset=UTF-8";

/// What a session of this generation has besides the common part.
#[derive(Debug, Default)]
pub(crate) struct Tilde {
    /// The number of its codec.
    pub(crate) codec: u8,
    /// Something that could not be read has been reported.
    reported: bool,
    /// Reads what is posted, if the codec has streams.
    reader: Option<Box<PayloadReader>>,
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

#[expect(clippy::too_many_arguments, reason = "the one door for requests of this family")]
pub(crate) fn handle_request(
    core: &mut Core,
    now: Time,
    link: LinkId,
    request: &Request,
    packets: Vec<Inbound>,
    codec: u8,
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
        .map(|sid| core.find_session(sid).filter(|slot| is_ours(core, *slot, codec)));
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
        // A script that is refused says so, or no browser would run it (docs/protocol/legacy-0.6.md §7).
        (Exchange::Poll, _) if jsonp && !allowed => {
            out.writes
                .push(asker.answer(200, Some(JSONP_CONTENT_TYPE), REFUSED_SCRIPT));
        }
        _ if refused => out
            .writes
            .push(asker.closing().answer(401, Some("text/plain"), "unauthorized")),
        (_, Some(None)) | (Exchange::Send, None) => out.writes.push(asker.answer(400, None, Bytes::new())),
        (Exchange::Poll, None) => open(core, now, Some((asker, script)), None, codec, request, out),
        (Exchange::Upgrade(_), session) => upgrade(core, now, session.flatten(), asker, codec, request, out),
        (Exchange::Poll, Some(Some(slot))) => poll(core, now, slot, asker, script, out),
        (Exchange::Send, Some(Some(_))) if request.http.body.is_err() => {
            out.writes.push(asker.closing().answer(413, None, Bytes::new()));
        }
        (Exchange::Send, Some(Some(slot))) => post(core, now, slot, asker, packets, out),
    }
}

/// Whether it is a session of this codec: those of others live under other paths.
fn is_ours(core: &Core, slot: u32, codec: u8) -> bool {
    match core.sessions.get(slot).map(|s| &s.wiring) {
        Some(Wiring::Legacy06(tilde)) => tilde.codec == codec,
        Some(Wiring::Engine4(_) | Wiring::Engine3(_) | Wiring::Legacy09(_)) | None => false,
    }
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
    codec: u8,
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
        codec,
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

fn upgrade(
    core: &mut Core,
    now: Time,
    session: Option<u32>,
    asker: Asker,
    codec: u8,
    request: &Request,
    out: &mut Outputs,
) {
    let link = asker.link;
    let accept = match accept_websocket(asker, &request.http) {
        Ok((accept, headers)) => Upgrade {
            accept,
            headers,
            wire: Wire::Legacy06(codec),
        },
        Err(refusal) => return out.writes.push(refusal),
    };
    out.writes.push(Write::Upgrade(link, Box::new(accept)));
    let Some(slot) = session else {
        return open(core, now, None, Some(link), codec, request, out);
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
    let config = Arc::clone(&core.config);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.blocked = false;
    let Some(tilde) = tilde_of(session) else { return };
    let (codec, script) = (config.legacy.codec_at(tilde.codec), tilde.script);
    if let Some(link) = session.link.take() {
        core.links.clear(link);
        match session.parked.take() {
            Some(asker) => answer(*asker, codec, script, Vec::new(), out),
            None => out.writes.push(Write::Close(link, None)),
        }
    }
}

fn answer(asker: Asker, codec: &Codec, script: Option<u64>, frames: Vec<Frame>, out: &mut Outputs) {
    let codec = codec.clone();
    out.writes.push(match script {
        None => asker.answer_packets(TEXT, frames, PollEncoding::Legacy06(codec)),
        Some(index) => asker.answer_packets(JSONP_CONTENT_TYPE, frames, PollEncoding::Legacy06Jsonp(codec, index)),
    });
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
    let config = Arc::clone(&core.config);
    let absent = now + config.legacy.reconnect_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let Some(asker) = session.parked.take() else { return };
    session.link = None;
    let Some(tilde) = tilde_of(session) else { return };
    let (codec, script) = (config.legacy.codec_at(tilde.codec), tilde.script);
    let alone = core::mem::take(&mut tilde.id_waits);
    let frames = if alone {
        session.take_first()
    } else {
        session.take_outbox()
    };
    core.links.clear(asker.link);
    answer(*asker, codec, script, frames, out);
    set_deadline(core, slot, absent);
}

fn post(core: &mut Core, now: Time, slot: u32, asker: Asker, mut packets: Vec<Inbound>, out: &mut Outputs) {
    if let Some(Inbound::Payload { payload, from_form }) = packets.pop_if(|p| matches!(p, Inbound::Payload { .. })) {
        read_piece(core, slot, &payload, from_form, &mut packets);
    }
    let key = core.key(slot);
    let mut verdict = 200;
    for packet in packets {
        match &packet {
            Inbound::Broken(_) => verdict = 400,
            Inbound::Garbled(garbled) if garbled.error.is_fatal() => verdict = 400,
            _ => {}
        }
        if core.sessions.holds(key.slot, key.generation) {
            handle_packet(core, now, slot, packet, out);
        }
    }
    out.writes.push(match verdict {
        200 => asker.answer(200, Some("text/plain"), "ok"),
        verdict => asker.answer(verdict, None, Bytes::new()),
    });
}

/// Reads a piece of the stream that a session's POSTs are together.
fn read_piece(core: &mut Core, slot: u32, payload: &ByteString, from_form: bool, packets: &mut Vec<Inbound>) {
    let config = Arc::clone(&core.config);
    if let Some(tilde) = core.sessions.get_mut(slot).and_then(tilde_of) {
        let codec = tilde.codec;
        let reader = tilde
            .reader
            .get_or_insert_with(|| Box::new(PayloadReader::new(codec, &config)));
        reader.read(payload, from_form, &config, packets);
    }
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
        Inbound::Goodbye => close(core, slot, Reason::ClientNamespaceDisconnect, out),
        Inbound::Garbled(garbled) => {
            let is_fatal = garbled.error.is_fatal();
            report(core, slot, *garbled, out);
            if is_fatal {
                close(core, slot, Reason::ParseError, out);
            }
        }
        Inbound::Engine(_)
        | Inbound::Socket(_)
        | Inbound::Part(_)
        | Inbound::Colon(_)
        | Inbound::Payload { .. }
        | Inbound::Broken(_) => {}
    }
}

/// Tells the user once per session that something could not be read: a client with the wrong codec says nothing else.
fn report(core: &mut Core, slot: u32, garbled: Garbled, out: &mut Outputs) {
    let Some((socket, _)) = core.socket_in(slot, "/") else {
        return;
    };
    let config = Arc::clone(&core.config);
    if let Some(tilde) = core.sessions.get_mut(slot).and_then(tilde_of)
        && !core::mem::replace(&mut tilde.reported, true)
    {
        let codec = config.legacy.codec_at(tilde.codec).name();
        out.deliveries.push(Delivery::Garbled {
            socket: core.socket_key(socket),
            codec,
            garbled,
        });
    }
}

/// The next heartbeat of a websocket is due after the interval, if the codec has any.
fn next_heartbeat(core: &mut Core, now: Time, slot: u32) {
    let (key, config) = (core.key(slot), Arc::clone(&core.config));
    if let Some(tilde) = core.sessions.get_mut(slot).and_then(tilde_of) {
        let codec = config.legacy.codec_at(tilde.codec);
        if codec.heartbeats(Transport::Websocket) == Heartbeats::None {
            return;
        }
        let at = now + codec.heartbeat_interval(Transport::Websocket, config.legacy.heartbeat_interval);
        tilde.awaiting_echo = false;
        tilde.beat = tilde.beat.wrapping_add(1);
        core.timers.arm_at(at, Alarm::Ping, key, tilde.beat);
    }
}

pub(crate) fn handle_alarm(core: &mut Core, now: Time, slot: u32, alarm: Alarm, epoch: u32, out: &mut Outputs) {
    let (key, config) = (core.key(slot), Arc::clone(&core.config));
    let late = now + config.legacy.heartbeat_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let on_websocket = session.link.is_some() && session.parked.is_none();
    let Some(tilde) = tilde_of(session) else { return };
    match alarm {
        Alarm::Ping if tilde.beat == epoch && on_websocket => {
            let codec = config.legacy.codec_at(tilde.codec);
            let echoed = codec.heartbeats(Transport::Websocket) == Heartbeats::Echoed;
            tilde.awaiting_echo = echoed;
            let frame = Frame::text(&mut core.buffer, |b| codec.encode_heartbeat(epoch, b));
            core.push_control(slot, frame);
            if echoed {
                core.timers.arm_at(late, Alarm::PingTimeout, key, epoch);
            } else {
                next_heartbeat(core, now, slot);
            }
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
    let config = Arc::clone(&core.config);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let (sid, polling) = (session.sid.base32(), session.transport == TransportKind::Polling);
    let Some(tilde) = tilde_of(session) else { return };
    tilde.announced = true;
    tilde.id_waits = polling;
    let codec = config.legacy.codec_at(tilde.codec);
    let sid = core::str::from_utf8(&sid).unwrap_or_default();
    let frame = Frame::text(&mut core.buffer, |b| codec.encode_session_id(sid, b));
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

/// Ends the session: what is queued leaves if there is a way, and behind it the goodbye, if the codec has one.
pub(crate) fn close(core: &mut Core, slot: u32, reason: Reason, out: &mut Outputs) {
    core.end_sockets(slot, reason, out);
    let config = Arc::clone(&core.config);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.state = State::Closing;
    let Some(tilde) = tilde_of(session) else { return };
    let (codec, script) = (config.legacy.codec_at(tilde.codec), tilde.script);
    if let Some(link) = session.link {
        let mut frames = session.take_outbox();
        let goodbye = Frame::text(&mut core.buffer, |b| codec.encode_goodbye(b));
        if !goodbye.payload().is_empty() {
            frames.push(goodbye);
        }
        match session.parked.take() {
            Some(asker) => answer(*asker, codec, script, frames, out),
            None => {
                out.writes
                    .extend(frames.into_iter().map(|frame| Write::Frame(link, frame)));
                out.writes.push(Write::Close(link, None));
            }
        }
    }
    core.remove_session(slot, reason, out);
}
