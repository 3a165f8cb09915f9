//! A session of Engine.IO 4: transports, upgrade, heartbeat, closing (docs/protocol/engine-io.md §4-§8, §12).
//!
//! ```text
//!             GET ?transport=polling                 websocket, 2probe        5
//!   (none) ──────────────────────────► POLLING ─────────────────────► POLLING ───► WEBSOCKET
//!      │                                  ▲   candidate closed, late    + candidate     │
//!      │                                  └───────────────────────────────┘             │
//!      └──── GET ?transport=websocket ─────────────────────────────────────────────────►│
//! ```
//! Invariants: one parked GET at most; one POST whose body is coming at most; a candidate only while the transport is polling; a ping
//! is outstanding exactly while `awaiting_pong`, and its deadline survives the upgrade.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::{Packet, Revision, jsonp, payload};
use crate::detect::{EngineIo, EngineTransport, EngineVersion};
use crate::server::{
    Alarm, Asker, Cause, Core, Delivery, Encoded, EngineMessage, Handshake, Message, Outputs, PollEncoding, Reason,
    Request, Role, Session, State, TransportKind, Upgrade, Verdict, Wiring, Write, accept_websocket, origin_allowed,
    preflight,
};
use crate::wire::{Inbound, Wire};
use crate::{Config, Frame, LinkId, Time, http, json, socket};

/// How often a parked GET is looked at while an upgrade is under way (docs/protocol/engine-io.md §7, step 2).
const NOOP_INTERVAL: Duration = Duration::from_millis(100);
/// Most packets in one POST.
const MAX_PACKETS_PER_POST: usize = 65_536;
/// Most packets that a candidate may send ahead of the end of a POST. Genuine clients wait for its answer and send none; each may be as
/// large as `max_payload`.
const MAX_HELD: usize = 16;
/// Most namespaces remembered as just left.
const MAX_LEFT: usize = 8;
/// How long packets for a namespace that the server has closed are taken for late ones (docs/protocol/socket-io.md §3.1).
const LATE: Duration = Duration::from_secs(5);

const PING: Frame = Frame::from_static(b"\x81\x012");
const CLOSE: Frame = Frame::from_static(b"\x81\x011");
const NOOP: Frame = Frame::from_static(b"\x81\x016");
const PROBE_ANSWER: Frame = Frame::from_static(b"\x81\x063probe");

const TEXT: &str = "text/plain; charset=UTF-8";

/// What a session of this generation has besides the common part.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Whether messages are the user's own, with no Socket.IO in them.
    raw: bool,
    /// Whether the websocket that is the transport carries binary as base64. Polling always does, so the flag of its
    /// requests means nothing (docs/protocol/engine-io.md §1).
    pub(crate) base64: bool,
    /// Whether a namespace has ever been joined.
    joined: bool,
    awaiting_pong: bool,
    /// Counts heartbeats, so that stale alarms are recognised.
    beat: u32,
    /// Counts candidates, likewise.
    attempt: u32,
    candidate: Option<Box<Candidate>>,
    jsonp: Option<Box<str>>,
    /// Namespaces that the server has made the client leave, and when.
    left: Vec<(ByteString, Time)>,
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
}

fn engine_of(session: &mut Session) -> Option<&mut Engine> {
    match &mut session.wiring {
        Wiring::Engine4(engine) => Some(engine),
        Wiring::Legacy06(_) => None,
    }
}

fn engine_mut(core: &mut Core, slot: u32) -> Option<&mut Engine> {
    core.sessions.get_mut(slot).and_then(engine_of)
}

/// The errors of docs/protocol/engine-io.md §4.5.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    TransportUnknown,
    SessionUnknown,
    BadHandshakeMethod,
    BadRequest,
    Forbidden(ByteString),
    UnsupportedVersion,
}

impl Refusal {
    fn code_and_message(&self) -> (u8, &str) {
        match self {
            Self::TransportUnknown => (0, "Transport unknown"),
            Self::SessionUnknown => (1, "Session ID unknown"),
            Self::BadHandshakeMethod => (2, "Bad handshake method"),
            Self::BadRequest => (3, "Bad request"),
            Self::Forbidden(message) => (4, message),
            Self::UnsupportedVersion => (5, "Unsupported protocol version"),
        }
    }

    /// Plain text on an upgrade, which is always 400 and always the end of the connection; JSON otherwise.
    fn answer(&self, asker: Asker, upgrade: bool) -> Write {
        let (code, message) = self.code_and_message();
        if upgrade {
            return asker
                .closing()
                .answer(400, Some("text/html"), Bytes::copy_from_slice(message.as_bytes()));
        }
        let mut body = BytesMut::new();
        body.put_slice(format!("{{\"code\":{code},\"message\":").as_bytes());
        json::write_string(&mut body, message);
        body.put_u8(b'}');
        asker.answer(
            if code == 4 { 403 } else { 400 },
            Some("application/json"),
            body.freeze(),
        )
    }
}

/// What a request that passed the checks is for.
enum Purpose {
    Open(TransportKind),
    Use(u32),
    Upgrade(u32),
}

// ---- requests -------------------------------------------------------------------------------------------------------

#[expect(clippy::too_many_arguments, reason = "the one door for requests of this generation")]
pub(crate) fn handle_request(
    core: &mut Core,
    now: Time,
    link: LinkId,
    request: &Request,
    packets: Vec<Inbound>,
    raw: bool,
    route: &EngineIo<'_>,
    out: &mut Outputs,
) {
    let config = Arc::clone(&core.config);
    if let Some(answer) = preflight(&config, link, &request.http) {
        out.writes.push(answer);
        return;
    }
    let asker = Asker::new(&config, link, &request.http);
    let upgrade = request.http.headers.get("upgrade").is_some();
    match check(core, &config, request, raw, route, upgrade) {
        Err(refusal) => out.writes.push(refusal.answer(asker, upgrade)),
        Ok(Purpose::Open(TransportKind::Polling)) => open_polling(core, now, asker, request, raw, route, out),
        Ok(Purpose::Open(TransportKind::WebSocket)) => open_websocket(core, now, asker, request, raw, route, out),
        Ok(Purpose::Upgrade(slot)) => attach_candidate(core, now, slot, asker, request, route, out),
        Ok(Purpose::Use(slot)) => match request.http.method {
            http::Method::Get => poll(core, now, slot, asker, out),
            http::Method::Post => post(core, now, slot, asker, request, packets, out),
            _ => out.writes.push(asker.answer(500, None, Bytes::new())),
        },
    }
}

/// The checks, in the order of genuine servers (docs/protocol/engine-io.md §4.5).
fn check(
    core: &Core,
    config: &Config,
    request: &Request,
    raw: bool,
    route: &EngineIo<'_>,
    upgrade: bool,
) -> Result<Purpose, Refusal> {
    let transport = match route.transport {
        EngineTransport::Polling if config.transports.polling => TransportKind::Polling,
        EngineTransport::Websocket if config.transports.websocket => TransportKind::WebSocket,
        _ => return Err(Refusal::TransportUnknown),
    };
    if request
        .http
        .headers
        .get("origin")
        .is_some_and(|o| o.iter().any(|&b| b < 0x20 && b != b'\t' || b == 0x7f))
    {
        return Err(Refusal::BadRequest);
    }
    if let Some(sid) = route.sid {
        let found = core.find_session(sid).filter(|slot| is_ours(core, *slot, raw));
        let slot = found.ok_or(Refusal::SessionUnknown)?;
        let session = core.sessions.get(slot).ok_or(Refusal::SessionUnknown)?;
        return match upgrade {
            true if route.version != EngineVersion::V4 => Err(Refusal::BadRequest),
            true => Ok(Purpose::Upgrade(slot)),
            false if session.transport != transport || transport == TransportKind::WebSocket => {
                Err(Refusal::BadRequest)
            }
            false => Ok(Purpose::Use(slot)),
        };
    }
    if request.http.method != http::Method::Get {
        return Err(Refusal::BadHandshakeMethod);
    }
    if transport == TransportKind::WebSocket && !upgrade {
        return Err(Refusal::BadRequest);
    }
    if !origin_allowed(config, &request.http) {
        return Err(Refusal::Forbidden(ByteString::from_static("Forbidden")));
    }
    if let Verdict::Refused(message) = &request.verdict {
        return Err(Refusal::Forbidden(message.clone()));
    }
    if route.version != EngineVersion::V4 || !config.generations.engine4 {
        return Err(Refusal::UnsupportedVersion);
    }
    Ok(Purpose::Open(if upgrade {
        TransportKind::WebSocket
    } else {
        transport
    }))
}

fn is_ours(core: &Core, slot: u32, raw: bool) -> bool {
    matches!(core.sessions.get(slot).map(|s| &s.wiring), Some(Wiring::Engine4(engine)) if engine.raw == raw)
}

fn open_polling(
    core: &mut Core,
    now: Time,
    mut asker: Asker,
    request: &Request,
    raw: bool,
    route: &EngineIo<'_>,
    out: &mut Outputs,
) {
    let Some(slot) = open(core, now, TransportKind::Polling, None, request, raw, route, out) else {
        out.writes.push(asker.answer(503, None, Bytes::new()));
        return;
    };
    if let Some(cookie) = set_cookie(core, slot) {
        asker.header("Set-Cookie", cookie);
    }
    answer_poll(core, slot, asker, Vec::new(), out);
}

fn open_websocket(
    core: &mut Core,
    now: Time,
    asker: Asker,
    request: &Request,
    raw: bool,
    route: &EngineIo<'_>,
    out: &mut Outputs,
) {
    let link = asker.link;
    let (accept, headers) = match accept_websocket(asker, &request.http) {
        Ok(accepted) => accepted,
        Err(refusal) => return out.writes.push(refusal),
    };
    if route.transport == EngineTransport::Polling {
        // Genuine servers agree to the websocket and close it at once (docs/protocol/engine-io.md §4.5).
        out.writes.push(Write::Upgrade(
            link,
            Box::new(Upgrade {
                accept,
                headers,
                wire: Wire::Engine4Raw,
            }),
        ));
        out.writes.push(Write::Close(link, None));
        return;
    }
    let Some(slot) = open(
        core,
        now,
        TransportKind::WebSocket,
        Some(link),
        request,
        raw,
        route,
        out,
    ) else {
        out.writes.push(
            Asker::new(&core.config, link, &request.http)
                .closing()
                .answer(503, None, Bytes::new()),
        );
        return;
    };
    core.links.set(link, core.key(slot), Role::WebSocket);
    out.writes.push(Write::Upgrade(
        link,
        Box::new(Upgrade {
            accept,
            headers,
            wire: wire(raw),
        }),
    ));
    core.mark_ready(slot);
}

/// Makes a session and queues its open packet.
#[expect(
    clippy::too_many_arguments,
    reason = "what both transports have in common at their start"
)]
fn open(
    core: &mut Core,
    now: Time,
    transport: TransportKind,
    link: Option<LinkId>,
    request: &Request,
    raw: bool,
    route: &EngineIo<'_>,
    out: &mut Outputs,
) -> Option<u32> {
    let handshake = Arc::new(Handshake::new(&request.http, request.peer, now));
    let engine = Engine {
        raw,
        base64: route.base64 && transport == TransportKind::WebSocket,
        joined: false,
        awaiting_pong: false,
        beat: 0,
        attempt: 0,
        candidate: None,
        jsonp: route
            .jsonp
            .filter(|_| transport == TransportKind::Polling)
            .map(Into::into),
        left: Vec::new(),
    };
    let slot = core.open_session(transport, link, Arc::clone(&handshake), Wiring::Engine4(engine))?;
    let key = core.key(slot);
    let frame = open_packet(core, slot, transport);
    core.push_control(slot, frame);
    core.timers.arm(now, Alarm::Ping, key, 0);
    if raw {
        out.deliveries.push(Delivery::EngineOpen {
            session: key,
            handshake,
        });
    } else {
        core.timers.arm(now, Alarm::Connect, key, 0);
    }
    Some(slot)
}

fn open_packet(core: &mut Core, slot: u32, transport: TransportKind) -> Frame {
    let config = Arc::clone(&core.config);
    let sid = core.sessions.get(slot).map(|s| s.sid.base64()).unwrap_or_default();
    let can_upgrade = transport == TransportKind::Polling && config.allow_upgrades && config.transports.websocket;
    Frame::text(&mut core.buffer, |b| {
        b.put_slice(b"0{\"sid\":\"");
        b.put_slice(&sid);
        let rest = format!(
            "\",\"upgrades\":[{}],\"pingInterval\":{},\"pingTimeout\":{},\"maxPayload\":{}}}",
            if can_upgrade { "\"websocket\"" } else { "" },
            config.ping_interval.as_millis(),
            config.ping_timeout.as_millis(),
            config.max_payload,
        );
        b.put_slice(rest.as_bytes());
    })
}

fn set_cookie(core: &Core, slot: u32) -> Option<ByteString> {
    use crate::config::SameSite;
    let cookie = core.config.cookie.as_ref()?;
    let sid = core.sessions.get(slot)?.sid;
    let http_only = if cookie.http_only { "; HttpOnly" } else { "" };
    let same_site = match cookie.same_site {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
        SameSite::None => "None",
    };
    Some(
        format!(
            "{}={sid}; Path={}{http_only}; SameSite={same_site}",
            cookie.name, cookie.path
        )
        .into(),
    )
}

const fn wire(raw: bool) -> Wire {
    if raw { Wire::Engine4Raw } else { Wire::Engine4 }
}

// ---- polling --------------------------------------------------------------------------------------------------------

fn poll(core: &mut Core, now: Time, slot: u32, asker: Asker, out: &mut Outputs) {
    let key = core.key(slot);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if session.parked.is_some() {
        out.writes.push(asker.answer(400, None, Bytes::new()));
        return fail(core, now, slot, Reason::TransportError, out);
    }
    let (link, closing) = (asker.link, session.state == State::Closing);
    session.link = Some(link);
    session.parked = Some(Box::new(asker));
    core.links.set(link, key, Role::Parked);
    if closing {
        // A noop goes before the close that a GET comes to fetch, as from genuine servers (docs/protocol/engine-io.md §12).
        if session.outbox.is_empty() {
            session.queue_control(NOOP);
            return close_parked(core, slot, out);
        }
        return finish_closing(core, slot, out);
    }
    core.mark_ready(slot);
}

/// Takes the parked GET, if there is one.
fn take_parked(core: &mut Core, slot: u32) -> Option<Asker> {
    let session = core.sessions.get_mut(slot)?;
    let asker = session.parked.take()?;
    session.link = None;
    core.links.clear(asker.link);
    Some(*asker)
}

/// Answers the parked GET with everything that is queued.
pub(crate) fn flush_poll(core: &mut Core, slot: u32, out: &mut Outputs) {
    if let Some(asker) = take_parked(core, slot) {
        answer_poll(core, slot, asker, Vec::new(), out);
    }
}

/// Answers the parked GET, if there is one, with this packet alone; what is queued stays queued.
fn answer_parked_with(core: &mut Core, slot: u32, frame: Frame, out: &mut Outputs) {
    if let Some(asker) = take_parked(core, slot) {
        answer_packets(core, slot, asker, alloc::vec![frame], out);
    }
}

/// Answers a GET with everything that is queued, and `last`.
fn answer_poll(core: &mut Core, slot: u32, asker: Asker, last: Vec<Frame>, out: &mut Outputs) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let mut frames = session.take_outbox();
    frames.extend(last);
    answer_packets(core, slot, asker, frames, out);
}

fn answer_packets(core: &mut Core, slot: u32, mut asker: Asker, frames: Vec<Frame>, out: &mut Outputs) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let encoding = match engine_of(session).and_then(|e| e.jsonp.as_deref()) {
        Some(index) => PollEncoding::Engine4Jsonp(ByteString::from(index)),
        None => PollEncoding::Engine4,
    };
    asker.header("cache-control", ByteString::from_static("no-store"));
    out.writes.push(asker.answer_packets(TEXT, frames, encoding));
}

/// Puts packets together as a payload (docs/protocol/engine-io.md §3.1).
pub(crate) fn encode_poll(frames: &[Frame], out: &mut BytesMut) {
    let mut writer = payload::Writer::new(out);
    for frame in frames {
        match core::str::from_utf8(frame.payload()) {
            Ok(text) if !frame.is_binary() => writer.text(text),
            _ => writer.binary(frame.payload()),
        }
    }
}

pub(crate) fn handle_body_started(
    core: &mut Core,
    now: Time,
    link: LinkId,
    request: &Request,
    raw: bool,
    route: &EngineIo<'_>,
    out: &mut Outputs,
) {
    let config = Arc::clone(&core.config);
    // A body with any other method is nobody's, and must not take the place of a POST.
    if request.http.method != http::Method::Post {
        return;
    }
    let Ok(Purpose::Use(slot)) = check(core, &config, request, raw, route, false) else {
        return;
    };
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let Some(other) = session.post.replace(link) else {
        core.links.set(link, core.key(slot), Role::Post);
        return;
    };
    session.post = None;
    core.links.clear(other);
    out.writes.push(
        Asker::new(&config, link, &request.http)
            .closing()
            .answer(400, None, Bytes::new()),
    );
    out.writes.push(Write::Abort(other));
    fail(core, now, slot, Reason::TransportError, out);
}

fn post(
    core: &mut Core,
    now: Time,
    slot: u32,
    mut asker: Asker,
    request: &Request,
    packets: Vec<Inbound>,
    out: &mut Outputs,
) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    match session.post.take() {
        Some(link) if link != asker.link => {
            core.links.clear(link);
            out.writes.push(asker.answer(400, None, Bytes::new()));
            out.writes.push(Write::Abort(link));
            return fail(core, now, slot, Reason::TransportError, out);
        }
        _ => {}
    }
    if request.http.body.is_err() {
        // The session lives on; the rest of the body does not (docs/protocol/engine-io.md §12).
        out.writes.push(asker.closing().answer(413, None, Bytes::new()));
        return switch_if_waiting(core, now, slot, out);
    }
    if request.http.is_content_type("application/octet-stream") {
        out.writes.push(asker.answer(400, None, Bytes::new()));
        return fail(core, now, slot, Reason::TransportError, out);
    }
    let key = core.key(slot);
    for packet in packets {
        if core.sessions.holds(key.slot, key.generation) {
            receive(core, now, slot, packet, out);
        }
    }
    asker.header("cache-control", ByteString::from_static("no-store"));
    // text/html on purpose, as genuine servers do (docs/protocol/engine-io.md §4.3).
    out.writes
        .push(asker.answer(200, Some("text/html"), Bytes::from_static(b"ok")));
    if core.sessions.holds(key.slot, key.generation) {
        switch_if_waiting(core, now, slot, out);
    }
}

/// Decodes the body of a POST.
pub(crate) fn decode_body(
    config: &Config,
    request: &http::Request,
    raw: bool,
    route: &EngineIo<'_>,
    body: Bytes,
) -> Vec<Inbound> {
    if request.is_content_type("application/octet-stream") {
        return Vec::new(); // refused as a whole
    }
    let text = match route.jsonp {
        Some(_) => match jsonp::decode_post(&body) {
            Some(text) => text,
            None => return Vec::new(), // ignored, docs/protocol/engine-io.md §4.6
        },
        None => match ByteString::try_from(body) {
            Ok(text) => text,
            Err(_) => return alloc::vec![Inbound::Broken(Reason::ParseError)],
        },
    };
    payload::decode(text, MAX_PACKETS_PER_POST)
        .map(|packet| {
            packet.map_or(Inbound::Broken(Reason::ParseError), |packet| {
                inbound(packet, raw, config)
            })
        })
        .collect()
}

/// Decodes one text message of a websocket.
pub(crate) fn decode_text(text: &ByteString, raw: bool, config: &Config) -> Inbound {
    match Packet::decode_text(Revision::V4, text) {
        Ok(packet) => inbound(packet, raw, config),
        Err(_) => Inbound::Broken(Reason::ParseError),
    }
}

fn inbound(packet: Packet, raw: bool, config: &Config) -> Inbound {
    match packet {
        Packet::Message(text) if !raw => {
            match socket::text::decode(text, socket::Revision::Five, socket::Role::Server, &config.packet) {
                Ok(decoded) => Inbound::Socket(decoded),
                Err(_) => Inbound::Broken(Reason::ForcedClose),
            }
        }
        packet => Inbound::Engine(packet),
    }
}

// ---- upgrade --------------------------------------------------------------------------------------------------------

fn attach_candidate(
    core: &mut Core,
    now: Time,
    slot: u32,
    asker: Asker,
    request: &Request,
    route: &EngineIo<'_>,
    out: &mut Outputs,
) {
    let link = asker.link;
    let (accept, headers) = match accept_websocket(asker, &request.http) {
        Ok(accepted) => accepted,
        Err(refusal) => return out.writes.push(refusal),
    };
    let upgrade_timeout = core.config.upgrade_timeout;
    let key = core.key(slot);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let possible = route.transport == EngineTransport::Websocket && session.transport == TransportKind::Polling;
    let Some(engine) = engine_of(session) else { return };
    let wire = wire(engine.raw);
    out.writes
        .push(Write::Upgrade(link, Box::new(Upgrade { accept, headers, wire })));
    if !possible || engine.candidate.is_some() {
        return out.writes.push(Write::Close(link, None));
    }
    engine.attempt = engine.attempt.wrapping_add(1);
    engine.candidate = Some(Box::new(Candidate {
        link,
        base64: route.base64,
        probed: false,
        switching: false,
        held: Vec::new(),
    }));
    core.timers
        .arm_at(now + upgrade_timeout, Alarm::Upgrade, key, engine.attempt);
    core.links.set(link, key, Role::Candidate);
}

fn handle_candidate(core: &mut Core, now: Time, slot: u32, link: LinkId, packet: Inbound, out: &mut Outputs) {
    let key = core.key(slot);
    let Some(engine) = engine_mut(core, slot) else { return };
    let attempt = engine.attempt;
    let Some(candidate) = engine.candidate.as_mut().filter(|c| c.link == link) else {
        return;
    };
    match packet {
        packet if candidate.switching => {
            if candidate.held.len() < MAX_HELD {
                candidate.held.push(packet);
            } else {
                fail(core, now, slot, Reason::TransportError, out);
            }
        }
        Inbound::Engine(Packet::Ping(data)) if data == "probe" => {
            out.writes.push(Write::Frame(link, PROBE_ANSWER));
            if !core::mem::replace(&mut candidate.probed, true) {
                core.timers.arm_at(now + NOOP_INTERVAL, Alarm::Noop, key, attempt);
            }
        }
        Inbound::Engine(Packet::Upgrade) => {
            candidate.switching = true;
            if core.sessions.get(slot).is_some_and(|s| s.post.is_none()) {
                switch_if_waiting(core, now, slot, out);
            }
        }
        // Anything else ends the candidate, and what it said is lost; the session goes on.
        _ => drop_candidate(core, slot, out),
    }
}

/// Moves the session to its candidate, if that has sent `5`.
fn switch_if_waiting(core: &mut Core, now: Time, slot: u32, out: &mut Outputs) {
    let key = core.key(slot);
    let Some(engine) = engine_mut(core, slot) else { return };
    if !engine.candidate.as_ref().is_some_and(|c| c.switching) {
        return;
    }
    let Some(candidate) = engine.candidate.take() else {
        return;
    };
    answer_parked_with(core, slot, CLOSE, out);
    core.links.set(candidate.link, key, Role::WebSocket);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.transport = TransportKind::WebSocket;
    session.link = Some(candidate.link);
    if candidate.base64 {
        switch_to_base64(session);
    }
    if session.state == State::Closing {
        return finish_closing(core, slot, out);
    }
    core.mark_ready(slot);
    for packet in candidate.held {
        if core.sessions.holds(key.slot, key.generation) {
            receive(core, now, slot, packet, out);
        }
    }
}

/// The transport carries binary as base64 from here on. What is queued was meant for polls, which spell it when they are put
/// together.
fn switch_to_base64(session: &mut Session) {
    if let Some(engine) = engine_of(session) {
        engine.base64 = true;
    }
    for frame in session.outbox.iter_mut().filter(|frame| frame.is_binary()) {
        *frame = to_base64(frame);
    }
    session.outbox_bytes = session.outbox.iter().map(Frame::len).sum();
}

fn drop_candidate(core: &mut Core, slot: u32, out: &mut Outputs) {
    if let Some(candidate) = engine_mut(core, slot).and_then(|e| e.candidate.take()) {
        core.links.clear(candidate.link);
        out.writes.push(Write::Close(candidate.link, None));
    }
}

// ---- packets --------------------------------------------------------------------------------------------------------

pub(crate) fn handle_packet(
    core: &mut Core,
    now: Time,
    slot: u32,
    role: Role,
    link: LinkId,
    packet: Inbound,
    out: &mut Outputs,
) {
    match role {
        Role::WebSocket => receive(core, now, slot, packet, out),
        Role::Candidate => handle_candidate(core, now, slot, link, packet, out),
        Role::Parked | Role::Post => {}
    }
}

/// One packet on the session's transport.
fn receive(core: &mut Core, now: Time, slot: u32, packet: Inbound, out: &mut Outputs) {
    let key = core.key(slot);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let transport = session.transport;
    if session.state == State::Closing {
        // Nothing is taken any more but a goodbye: who says it fetches no close packet.
        if matches!(packet, Inbound::Engine(Packet::Close)) && transport == TransportKind::Polling {
            fail(core, now, slot, Reason::TransportClose, out);
        }
        return;
    }
    let Some(engine) = engine_of(session) else { return };
    let raw = engine.raw;
    match packet {
        Inbound::Socket(decoded) => {
            if let Err(reason) = socket::revision5::handle_text(core, now, slot, decoded, out) {
                close(core, now, slot, reason, out);
            }
        }
        Inbound::Engine(Packet::Binary(bytes)) if !raw => {
            if let Err(reason) = socket::revision5::handle_binary(core, now, slot, bytes, out) {
                close(core, now, slot, reason, out);
            }
        }
        Inbound::Engine(Packet::Pong(_)) => {
            if engine.awaiting_pong {
                engine.awaiting_pong = false;
                engine.beat = engine.beat.wrapping_add(1);
                let beat = engine.beat;
                core.timers.arm(now, Alarm::Ping, key, beat);
            }
        }
        // The server pings in this revision (docs/protocol/engine-io.md §4.4).
        Inbound::Engine(Packet::Ping(_)) => fail(core, now, slot, Reason::TransportError, out),
        Inbound::Engine(Packet::Close) if transport == TransportKind::Polling => {
            answer_parked_with(core, slot, NOOP, out);
            fail(core, now, slot, Reason::TransportClose, out);
        }
        Inbound::Engine(Packet::Message(text)) => {
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
        | Inbound::Message(_)
        | Inbound::Heartbeat(_) => {}
        Inbound::Broken(reason @ Reason::ForcedClose) => close(core, now, slot, reason, out),
        Inbound::Broken(reason) => fail(core, now, slot, reason, out),
    }
}

// ---- time -----------------------------------------------------------------------------------------------------------

pub(crate) fn handle_alarm(core: &mut Core, now: Time, slot: u32, alarm: Alarm, epoch: u32, out: &mut Outputs) {
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
        Alarm::Ping if engine.beat == epoch && state == State::Open => {
            engine.awaiting_pong = true;
            core.push_control(slot, PING);
            core.timers.arm(now, Alarm::PingTimeout, key, epoch);
        }
        Alarm::PingTimeout if engine.beat == epoch && engine.awaiting_pong && state == State::Open => {
            fail(core, now, slot, Reason::PingTimeout, out);
        }
        Alarm::Connect if !engine.joined && state == State::Open => {
            close(core, now, slot, Reason::ForcedServerClose, out);
        }
        // After `5` the client has left polling behind: there is no way back, and the ping timeout bounds the wait for the POST.
        Alarm::Upgrade if engine.attempt == epoch && engine.candidate.as_ref().is_some_and(|c| !c.switching) => {
            drop_candidate(core, slot, out);
        }
        Alarm::Noop if engine.attempt == epoch && engine.candidate.is_some() => {
            if parked {
                answer_parked_with(core, slot, NOOP, out);
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
        | Alarm::Absence => {}
    }
}

/// A packet waits for its attachments until `due`. One alarm serves all packets of a session: it is armed again when it goes off for a
/// packet that is complete while a later one waits.
pub(crate) fn arm_attachments(core: &mut Core, slot: u32, due: Time) {
    let key = core.key(slot);
    if let Some(session) = core.sessions.get_mut(slot) {
        session.attachments_due = due;
        if !core::mem::replace(&mut session.attachments_alarm, true) {
            core.timers.arm_at(due, Alarm::Attachments, key, 0);
        }
    }
}

// ---- closing --------------------------------------------------------------------------------------------------------

/// A link of the session is gone.
pub(crate) fn handle_closed(core: &mut Core, now: Time, slot: u32, role: Role, cause: Cause, out: &mut Outputs) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    match role {
        Role::Candidate => {
            let candidate = engine_of(session).and_then(|engine| engine.candidate.take());
            if candidate.is_some_and(|c| c.switching) {
                // After `5` this is the transport, though we have not switched to it yet.
                fail(core, now, slot, cause.into(), out);
            }
        }
        Role::Parked => {
            session.link = None;
            session.parked = None;
            fail(core, now, slot, Reason::TransportError, out);
        }
        Role::Post => {
            session.post = None;
            fail(core, now, slot, Reason::TransportError, out);
        }
        Role::WebSocket => {
            session.link = None;
            fail(core, now, slot, cause.into(), out);
        }
    }
}

/// Ends the session at once: what is parked is answered, what is queued is lost, the id is forgotten.
fn fail(core: &mut Core, _now: Time, slot: u32, reason: Reason, out: &mut Outputs) {
    announce_end(core, slot, reason, out);
    drop_candidate(core, slot, out);
    if let Some(asker) = take_parked(core, slot) {
        answer_poll(core, slot, asker, alloc::vec![CLOSE], out);
    }
    if let Some(session) = core.sessions.get(slot)
        && let Some(link) = session.link
    {
        out.writes.push(Write::Close(link, None));
    }
    core.remove_session(slot, reason, out);
}

/// Closes the session from this side: what is queued still leaves, then the close packet or frame.
pub(crate) fn close(core: &mut Core, now: Time, slot: u32, reason: Reason, out: &mut Outputs) {
    announce_end(core, slot, reason, out);
    core.end_sockets(slot, reason, out);
    let (key, close_timeout) = (core.key(slot), core.config.close_timeout);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if session.state == State::Closing {
        return;
    }
    session.state = State::Closing;
    if session.link.is_some() {
        finish_closing(core, slot, out);
    }
    if core.sessions.holds(key.slot, key.generation) {
        core.timers.arm_at(now + close_timeout, Alarm::Close, key, 0);
    }
}

/// A closing session has a way for its last packets.
///
/// What is queued and the close packet never share a poll: a genuine client hands packets on in its next tick, and by then a close
/// packet behind them has taken away who would have heard them. The client's next GET fetches the close.
fn finish_closing(core: &mut Core, slot: u32, out: &mut Outputs) {
    let queued = core.sessions.get(slot).is_some_and(|s| !s.outbox.is_empty());
    if queued && let Some(asker) = take_parked(core, slot) {
        return answer_poll(core, slot, asker, Vec::new(), out);
    }
    if let Some(session) = core.sessions.get_mut(slot)
        && session.parked.is_none()
        && let Some(link) = session.link
    {
        out.writes
            .extend(session.take_outbox().into_iter().map(|frame| Write::Frame(link, frame)));
        out.writes.push(Write::Close(link, None));
    }
    close_parked(core, slot, out);
}

/// Nothing is left to say but goodbye: the parked GET carries it, if there is one, and the session is forgotten.
fn close_parked(core: &mut Core, slot: u32, out: &mut Outputs) {
    drop_candidate(core, slot, out);
    if let Some(asker) = take_parked(core, slot) {
        answer_poll(core, slot, asker, alloc::vec![CLOSE], out);
    }
    core.remove_session(slot, Reason::ForcedServerClose, out);
}

/// Tells the user of a raw session that it is over. Sockets are told by [`Core::end_sockets`].
fn announce_end(core: &mut Core, slot: u32, reason: Reason, out: &mut Outputs) {
    let session = core.key(slot);
    let open = core.sessions.get(slot).is_some_and(|s| s.state == State::Open);
    if open && engine_mut(core, slot).is_some_and(|e| e.raw) {
        out.deliveries.push(Delivery::EngineClose { session, reason });
    }
}

// ---- sockets --------------------------------------------------------------------------------------------------------

/// The user has let a socket in.
pub(crate) fn accepted(core: &mut Core, slot: u32, socket: u32) {
    if let Some(engine) = engine_mut(core, slot) {
        engine.joined = true;
    }
    let Some((namespace, sid)) = core.socket_names(socket) else {
        return;
    };
    let frame = socket_frame(core, |b| socket::revision5::write_connected(b, &namespace, &sid));
    core.push_control(slot, frame);
}

/// The user has refused a socket.
pub(crate) fn refused(core: &mut Core, slot: u32, namespace: &str, message: &str, data: Option<&str>) {
    let frame = socket_frame(core, |b| socket::revision5::write_refused(b, namespace, message, data));
    core.push_control(slot, frame);
}

/// The user disconnects a socket, or with it the session.
pub(crate) fn disconnect(core: &mut Core, now: Time, slot: u32, socket: u32, whole: bool, out: &mut Outputs) {
    let reason = Reason::ServerNamespaceDisconnect;
    let leaving = match (whole, core.sessions.get(slot)) {
        (true, Some(session)) => session.sockets.clone(),
        _ => alloc::vec![socket],
    };
    for socket in leaving {
        let Some((namespace, _)) = core.socket_names(socket) else {
            continue;
        };
        let frame = socket_frame(core, |b| socket::revision5::write_disconnect(b, &namespace));
        core.push_control(slot, frame);
        core.left(slot, socket, reason, out);
        if let Some(engine) = engine_mut(core, slot) {
            if engine.left.len() >= MAX_LEFT {
                engine.left.remove(0);
            }
            engine.left.push((namespace, now));
        }
    }
    if whole {
        close(core, now, slot, reason, out);
    }
}

/// Whether packets for this namespace may be late ones for a socket that the server has disconnected.
pub(crate) fn left_lately(core: &mut Core, now: Time, slot: u32, namespace: &str) -> bool {
    engine_mut(core, slot).is_some_and(|e| {
        e.left
            .iter()
            .any(|(name, at)| *name == *namespace && now.saturating_since(*at) < LATE)
    })
}

/// A Socket.IO packet in an Engine.IO message.
fn socket_frame(core: &mut Core, write: impl FnOnce(&mut BytesMut)) -> Frame {
    Frame::text(&mut core.buffer, |b| {
        b.put_u8(b'4');
        write(b);
    })
}

/// Encodes a message for clients of this generation.
pub(crate) fn encode_message(message: &Message, buffer: &mut BytesMut) -> Encoded {
    let first = Frame::text(buffer, |b| {
        b.put_u8(b'4');
        socket::revision5::write_message(b, message);
    });
    let attachments = message
        .args
        .attachments
        .iter()
        .map(|bytes| Frame::binary(buffer, |b| b.put_slice(bytes)))
        .collect();
    Encoded { first, attachments }
}

/// The same message for a peer that cannot take binary (docs/protocol/engine-io.md §1, `b64`).
pub(crate) fn to_base64(frame: &Frame) -> Frame {
    Frame::text(&mut BytesMut::new(), |b| {
        super::packet::encode_base64(Revision::V4, frame.payload(), b)
    })
}

/// Encodes a message of a raw session.
pub(crate) fn encode_raw(message: &EngineMessage, buffer: &mut BytesMut) -> Frame {
    match message {
        EngineMessage::Text(text) => Frame::text(buffer, |b| {
            b.put_u8(b'4');
            b.put_slice(text.as_bytes());
        }),
        EngineMessage::Binary(bytes) => Frame::binary(buffer, |b| b.put_slice(bytes)),
    }
}
