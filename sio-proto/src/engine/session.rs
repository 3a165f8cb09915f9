//! A session of Engine.IO 3 and 4: transports, upgrade, heartbeat, closing (docs/protocol/engine-io.md §4-§8, §12).
//!
//! ```text
//!             GET ?transport=polling                 websocket, 2probe        5
//!   (none) ──────────────────────────► POLLING ─────────────────────► POLLING ───► WEBSOCKET
//!      │                                  ▲   candidate closed, late    + candidate     │
//!      │                                  └───────────────────────────────┘             │
//!      └──── GET ?transport=websocket ─────────────────────────────────────────────────►│
//! ```
//! One machine for both revisions. Where they differ it asks [`Revision`], once for each difference: who pings, what an open packet
//! says, what a POST may be, whether a namespace is joined without asking. How bodies and messages are written is in
//! [`bodies`].
//!
//! Invariants: one parked GET at most; one POST whose body is coming at most; a candidate only while the transport is polling; a ping
//! is outstanding exactly while `awaiting_pong`, and its deadline survives the upgrade. In revision 3 exactly one alarm is armed for
//! `silent_until`, or for an earlier time.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::bodies::{self, PostForm};
use super::{Dialect, Packet, Revision};
use crate::detect::{EngineIo, EngineTransport};
use crate::server::{
    Alarm, Asker, Cause, Core, Delivery, Encoded, EngineMessage, Handshake, Message, Outputs, Reason, Request, Role,
    Session, State, TransportKind, Upgrade, Verdict, Wiring, Write, accept_websocket, origin_allowed, preflight,
    script_allowed,
};
use crate::wire::{Inbound, Wire};
use crate::{Config, Frame, LinkId, Time, http, json, socket};

/// How often a parked GET is looked at while an upgrade is under way (docs/protocol/engine-io.md §7, step 2).
const NOOP_INTERVAL: Duration = Duration::from_millis(100);
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
    awaiting_pong: bool,
    /// Counts heartbeats, so that stale alarms are recognised.
    beat: u32,
    /// Counts candidates, likewise.
    attempt: u32,
    candidate: Option<Box<Candidate>>,
    jsonp: Option<Box<str>>,
    /// Namespaces that the server has made the client leave, and when.
    left: Vec<(ByteString, Time)>,
    /// When a client that has not pinged is given up; revision 3.
    silent_until: Time,
    /// What the rules of Socket.IO 4 have to remember.
    pub(crate) queue: socket::revision4::Queue,
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
        Wiring::Engine4(engine) | Wiring::Engine3(engine) => Some(engine),
        Wiring::Legacy09(_) | Wiring::Legacy06(_) => None,
    }
}

pub(crate) fn engine_mut(core: &mut Core, slot: u32) -> Option<&mut Engine> {
    core.sessions.get_mut(slot).and_then(engine_of)
}

/// Which revision a session speaks, if it is one of Engine.IO.
fn revision_of(session: &Session) -> Option<Revision> {
    match &session.wiring {
        Wiring::Engine4(engine) | Wiring::Engine3(engine) => Some(engine.revision),
        Wiring::Legacy09(_) | Wiring::Legacy06(_) => None,
    }
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
    Open(Revision, TransportKind),
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
        Ok(Purpose::Open(revision, transport)) => {
            let opening = Opening {
                revision,
                transport,
                request,
                raw,
                route,
            };
            match transport {
                TransportKind::Polling => open_polling(core, now, asker, &opening, out),
                TransportKind::WebSocket => open_websocket(core, now, asker, &opening, out),
            }
        }
        Ok(Purpose::Upgrade(slot)) => attach_candidate(core, now, slot, asker, request, route, out),
        Ok(Purpose::Use(slot)) => match request.http.method {
            http::Method::Get => poll(core, now, slot, asker, out),
            http::Method::Post => post(core, now, slot, asker, request, packets, route, out),
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
            true if route.version.revision() != revision_of(session) => Err(Refusal::BadRequest),
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
    let allowed = match route.jsonp {
        Some(_) => script_allowed(config, &request.http),
        None => origin_allowed(config, &request.http),
    };
    if !allowed {
        return Err(Refusal::Forbidden(ByteString::from_static("Forbidden")));
    }
    if let Verdict::Refused(message) = &request.verdict {
        return Err(Refusal::Forbidden(message.clone()));
    }
    let revision = route.version.revision().filter(|revision| match revision {
        Revision::V4 => config.generations.engine4,
        Revision::V3 => config.generations.engine3,
    });
    let revision = revision.ok_or(Refusal::UnsupportedVersion)?;
    Ok(Purpose::Open(
        revision,
        if upgrade { TransportKind::WebSocket } else { transport },
    ))
}

fn is_ours(core: &Core, slot: u32, raw: bool) -> bool {
    match core.sessions.get(slot).map(|s| &s.wiring) {
        Some(Wiring::Engine4(engine) | Wiring::Engine3(engine)) => engine.raw == raw,
        Some(Wiring::Legacy09(_) | Wiring::Legacy06(_)) | None => false,
    }
}

/// A request that opens a session.
struct Opening<'a> {
    revision: Revision,
    transport: TransportKind,
    request: &'a Request,
    raw: bool,
    route: &'a EngineIo<'a>,
}

fn open_polling(core: &mut Core, now: Time, mut asker: Asker, opening: &Opening<'_>, out: &mut Outputs) {
    let Some(slot) = open(core, now, None, opening, out) else {
        out.writes.push(asker.answer(503, None, Bytes::new()));
        return;
    };
    if let Some(cookie) = set_cookie(core, slot) {
        asker.header("Set-Cookie", cookie);
    }
    match opening.revision {
        Revision::V4 => answer_poll(core, slot, asker, Vec::new(), out),
        // Answered when the turn is over, with what the application has to say by then: if it lets the client in at once, a `40`. Genuine
        // servers of 2.x send that with the open packet, those of 1.x with the next poll; all clients take both.
        Revision::V3 => poll(core, now, slot, asker, out),
    }
}

fn open_websocket(core: &mut Core, now: Time, asker: Asker, opening: &Opening<'_>, out: &mut Outputs) {
    let (link, request) = (asker.link, opening.request);
    let (accept, headers) = match accept_websocket(asker, &request.http) {
        Ok(accepted) => accepted,
        Err(refusal) => return out.writes.push(refusal),
    };
    if opening.route.transport == EngineTransport::Polling {
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
    let Some(slot) = open(core, now, Some(link), opening, out) else {
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
            wire: wire(opening.revision, opening.raw),
        }),
    ));
    core.mark_ready(slot);
}

/// Makes a session and queues its open packet.
fn open(core: &mut Core, now: Time, link: Option<LinkId>, opening: &Opening<'_>, out: &mut Outputs) -> Option<u32> {
    let &Opening {
        revision,
        transport,
        request,
        raw,
        route,
    } = opening;
    let handshake = Arc::new(Handshake::new(&request.http, request.peer, now));
    let silent_until = now + core.config.ping_interval + core.config.ping_timeout;
    // Decoded first: of `1%29` the digits are 1, not 129.
    let query = http::Query::new(request.http.query());
    let jsonp = query
        .get("j")
        .filter(|_| transport == TransportKind::Polling && route.jsonp.is_some());
    let engine = Engine {
        revision,
        dialect: core.config.dialect,
        raw,
        joined: false,
        awaiting_pong: false,
        beat: 0,
        attempt: 0,
        candidate: None,
        jsonp: jsonp.map(|index| Box::from(&*index)),
        left: Vec::new(),
        silent_until,
        queue: socket::revision4::Queue::default(),
    };
    let wiring = match revision {
        Revision::V4 => Wiring::Engine4(engine),
        Revision::V3 => Wiring::Engine3(engine),
    };
    let slot = core.open_session(transport, link, Arc::clone(&handshake), wiring)?;
    let key = core.key(slot);
    if let Some(session) = core.sessions.get_mut(slot) {
        // In revision 4 polls spell binary as base64 when they are put together, so there the flag means nothing
        // (docs/protocol/engine-io.md §1).
        session.adapts = route.base64 && (revision == Revision::V3 || transport == TransportKind::WebSocket);
    }
    let frame = open_packet(core, slot, revision, transport);
    core.push_control(slot, frame);
    match revision {
        Revision::V4 => core.timers.arm(now, Alarm::Ping, key, 0),
        // The client pings (docs/protocol/engine-io.md §6).
        Revision::V3 => core.timers.arm_at(silent_until, Alarm::PingTimeout, key, 0),
    }
    if raw {
        out.deliveries.push(Delivery::EngineOpen {
            session: key,
            handshake,
        });
        return Some(slot);
    }
    core.timers.arm(now, Alarm::Connect, key, 0);
    if revision == Revision::V3 {
        socket::revision4::connect_implicitly(core, slot, out);
    }
    Some(slot)
}

fn open_packet(core: &mut Core, slot: u32, revision: Revision, transport: TransportKind) -> Frame {
    let config = Arc::clone(&core.config);
    let sid = core.sessions.get(slot).map(|s| s.sid.base64()).unwrap_or_default();
    let can_upgrade = transport == TransportKind::Polling && config.allow_upgrades && config.transports.websocket;
    Frame::text(&mut core.buffer, |b| {
        b.put_slice(b"0{\"sid\":\"");
        b.put_slice(&sid);
        let rest = format!(
            "\",\"upgrades\":[{}],\"pingInterval\":{},\"pingTimeout\":{}",
            if can_upgrade { "\"websocket\"" } else { "" },
            config.ping_interval.as_millis(),
            config.ping_timeout.as_millis(),
        );
        b.put_slice(rest.as_bytes());
        // Nobody has told clients of revision 3, who would not know what to do with it.
        if revision == Revision::V4 {
            b.put_slice(format!(",\"maxPayload\":{}", config.max_payload).as_bytes());
        }
        b.put_u8(b'}');
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

const fn wire(revision: Revision, raw: bool) -> Wire {
    match (revision, raw) {
        (Revision::V4, false) => Wire::Engine4,
        (Revision::V4, true) => Wire::Engine4Raw,
        (Revision::V3, false) => Wire::Engine3,
        (Revision::V3, true) => Wire::Engine3Raw,
    }
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
    let Some(engine) = engine_mut(core, slot) else { return };
    let (content_type, encoding) = bodies::poll_encoding(engine.revision, engine.jsonp.as_deref(), &frames);
    asker.header("cache-control", ByteString::from_static("no-store"));
    out.writes.push(asker.answer_packets(content_type, frames, encoding));
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

#[expect(clippy::too_many_arguments, reason = "what a POST brings")]
fn post(
    core: &mut Core,
    now: Time,
    slot: u32,
    mut asker: Asker,
    request: &Request,
    mut packets: Vec<Inbound>,
    route: &EngineIo<'_>,
    out: &mut Outputs,
) {
    let config = Arc::clone(&core.config);
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
    let Ok(body) = &request.http.body else {
        // The session lives on; the rest of the body does not (docs/protocol/engine-io.md §12).
        out.writes.push(asker.closing().answer(413, None, Bytes::new()));
        return switch_if_waiting(core, now, slot, out);
    };
    let Some(engine) = engine_of(session) else { return };
    if engine.revision == Revision::V4 && request.http.is_content_type("application/octet-stream") {
        out.writes.push(asker.answer(400, None, Bytes::new()));
        return fail(core, now, slot, Reason::TransportError, out);
    }
    // What the handshake said counts; a request that says something else has been decoded for nothing.
    let form = PostForm {
        revision: engine.revision,
        jsonp: engine.jsonp.is_some(),
    };
    if form != post_form(route) {
        packets = bodies::decode_post(&config, &request.http, engine.raw, form, body.clone());
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

/// Decodes the body of a POST as its query wants it read.
pub(crate) fn decode_body(
    config: &Config,
    request: &http::Request,
    raw: bool,
    route: &EngineIo<'_>,
    body: Bytes,
) -> Vec<Inbound> {
    bodies::decode_post(config, request, raw, post_form(route), body)
}

fn post_form(route: &EngineIo<'_>) -> PostForm {
    PostForm {
        revision: route.version.revision().unwrap_or(Revision::V3),
        jsonp: route.jsonp.is_some(),
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
    let wire = wire(engine.revision, engine.raw);
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
    let (key, config) = (core.key(slot), Arc::clone(&core.config));
    let Some(engine) = engine_mut(core, slot) else { return };
    if !engine.candidate.as_ref().is_some_and(|c| c.switching) {
        return;
    }
    let Some(candidate) = engine.candidate.take() else {
        return;
    };
    answer_parked_with(core, slot, CLOSE, out);
    core.links.set(candidate.link, key, Role::WebSocket);
    core.set_transport(slot, TransportKind::WebSocket);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.link = Some(candidate.link);
    set_base64(session, candidate.base64);
    let silent_until = now + config.ping_interval + config.ping_timeout;
    if let Some(engine) = engine_of(session) {
        engine.silent_until = silent_until;
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

/// Whether the transport carries binary as base64 from here on. What is queued was meant for polls of another kind.
fn set_base64(session: &mut Session, base64: bool) {
    session.adapts = base64;
    let Some(revision) = revision_of(session).filter(|_| base64) else {
        return;
    };
    for frame in session.outbox.iter_mut().filter(|frame| frame.is_binary()) {
        *frame = bodies::to_base64(revision, frame);
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
    let (revision, raw) = (engine.revision, engine.raw);
    match packet {
        Inbound::Socket(decoded) => {
            if let Err(reason) = socket::session::handle_text(core, now, slot, revision, decoded, out) {
                close(core, now, slot, reason, out);
            }
        }
        Inbound::Engine(Packet::Binary(bytes)) if !raw => {
            if let Err(reason) = socket::session::handle_binary(core, now, slot, revision, bytes, out) {
                close(core, now, slot, reason, out);
            }
        }
        Inbound::Engine(Packet::Message(text)) if !raw => {
            let text = engine.dialect.resolve(text);
            let decoded = bodies::decode_socket(text, revision, &core.config);
            receive(core, now, slot, decoded, out);
        }
        Inbound::Engine(Packet::Pong(_)) => {
            if engine.awaiting_pong {
                engine.awaiting_pong = false;
                engine.beat = engine.beat.wrapping_add(1);
                let beat = engine.beat;
                core.timers.arm(now, Alarm::Ping, key, beat);
            }
        }
        // Who pings (docs/protocol/engine-io.md §6): in revision 4 the server, and then this breaks the protocol (§4.4).
        Inbound::Engine(Packet::Ping(_)) => match revision {
            Revision::V4 => fail(core, now, slot, Reason::TransportError, out),
            Revision::V3 => {
                engine.silent_until = now + core.config.ping_interval + core.config.ping_timeout;
                // One answer does for all pings that came before it was read.
                if session.outbox.back() != Some(&PONG) {
                    core.push_control(slot, PONG);
                }
            }
        },
        Inbound::Engine(Packet::Close) if transport == TransportKind::Polling => {
            answer_parked_with(core, slot, NOOP, out);
            fail(core, now, slot, Reason::TransportClose, out);
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
        | Inbound::Colon(_)
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
        Alarm::PingTimeout if engine.revision == Revision::V3 && state == State::Open => {
            let silent_until = engine.silent_until;
            if silent_until > now {
                core.timers.arm_at(silent_until, Alarm::PingTimeout, key, 0);
            } else {
                fail(core, now, slot, Reason::PingTimeout, out);
            }
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
pub(crate) fn accepted(core: &mut Core, slot: u32, socket: u32, out: &mut Outputs) {
    let Some(engine) = engine_mut(core, slot) else { return };
    engine.joined = true;
    let revision = engine.revision;
    let Some((namespace, sid)) = core.socket_names(socket) else {
        return;
    };
    let frame = socket_frame(core, |b| match revision {
        Revision::V4 => socket::revision5::write_connected(b, &namespace, &sid),
        Revision::V3 => socket::revision4::write_connected(b, &namespace),
    });
    core.push_control(slot, frame);
    if revision == Revision::V3 {
        socket::revision4::accepted(core, slot, out);
    }
}

/// The user has refused a socket.
pub(crate) fn refused(core: &mut Core, slot: u32, namespace: &str, message: &str, data: Option<&str>) {
    let Some(engine) = engine_mut(core, slot) else { return };
    let revision = engine.revision;
    let frame = socket_frame(core, |b| match revision {
        Revision::V4 => socket::revision5::write_refused(b, namespace, message, data),
        Revision::V3 => socket::revision4::write_refused(b, namespace, message, data),
    });
    core.push_control(slot, frame);
    if revision == Revision::V3 {
        socket::revision4::refused(core, slot);
    }
}

/// Says once more that the client is in a namespace; revision 3.
pub(crate) fn confirm(core: &mut Core, slot: u32, namespace: &str) {
    let frame = socket_frame(core, |b| socket::revision4::write_connected(b, namespace));
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
        let frame = socket_frame(core, |b| socket::session::write_disconnect(b, &namespace));
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
pub(crate) fn encode_message(revision: Revision, message: &Message, buffer: &mut BytesMut) -> Encoded {
    let first = Frame::text(buffer, |b| {
        b.put_u8(b'4');
        match revision {
            Revision::V4 => socket::revision5::write_message(b, message),
            Revision::V3 => socket::revision4::write_message(b, message),
        }
    });
    let attachments = message.args.attachments.iter();
    let attachments = attachments
        .map(|bytes| bodies::binary_frame(revision, bytes, buffer))
        .collect();
    Encoded { first, attachments }
}

/// Encodes a message of a raw session.
pub(crate) fn encode_raw(core: &mut Core, slot: u32, message: &EngineMessage) -> Option<Frame> {
    let revision = core.sessions.get(slot).and_then(revision_of)?;
    Some(bodies::message_frame(revision, message, &mut core.buffer))
}
