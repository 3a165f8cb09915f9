//! Requests of 0.6: opening, coming back, posting, by whatever transport (docs/protocol/legacy-0.6.md §5-§10).
//!
//! A stream is opened when the user has accepted, so that a refusal can still have a status. From then on it is to a session what a websocket is:
//! packets leave as they come, heartbeats go over it, and when it is lost the client may come back by any transport.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::session::{Tilde, close, handle_packet, next_heartbeat, set_deadline, tilde_of};
use super::transports::JSONP_CONTENT_TYPE;
use crate::detect::{Exchange, Legacy06, Transport};
use crate::server::{
    Asker, Carriage, Core, Handshake, Identity, Outputs, PollEncoding, Reason, Request, Role, StreamEncoding,
    StreamForm, Upgrade, Verdict, Wiring, Write, accept_websocket, header, origin_allowed, script_allowed,
};
use crate::wire::{Inbound, Wire};
use crate::{Frame, LinkId, Time, http};

const TEXT: &str = "text/plain; charset=UTF-8";

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
        // A page of scripts.
        Exchange::Stream if route.transport == Transport::Htmlfile => script_allowed(&config, &request.http),
        _ => origin_allowed(&config, &request.http),
    };
    // An htmlfile is a page of the server's own.
    let headers = match allowed && route.transport != Transport::Htmlfile {
        true => cors(&request.http, route.exchange),
        false => Vec::new(),
    };
    let asker = Asker::with_headers(link, &request.http, headers);
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
        (Exchange::Mismatch, _) => out.writes.push(asker.answer(400, None, Bytes::new())),
        (Exchange::BadMethod, _) => out.writes.push(asker.answer(405, None, Bytes::new())),
        // Genuine servers crash here.
        (Exchange::Poll | Exchange::Send, _) if jsonp && script.is_none() => {
            out.writes.push(asker.answer(400, None, Bytes::new()));
        }
        _ if refused => out
            .writes
            .push(asker.closing().answer(401, Some("text/plain"), "unauthorized")),
        (_, Some(None)) | (Exchange::Send, None) => out.writes.push(asker.answer(400, None, Bytes::new())),
        (Exchange::Poll, None) => open(core, now, Door::Parked(asker, script), route.transport, request, out),
        (Exchange::Stream, None) => open(core, now, Door::Parked(asker, None), route.transport, request, out),
        (Exchange::Upgrade(_), session) => {
            upgrade(core, now, session.flatten(), asker, request, route.transport, out);
        }
        (Exchange::Poll, Some(Some(slot))) => poll(core, now, slot, asker, script, out),
        (Exchange::Stream, Some(Some(slot))) => stream(core, now, slot, asker, request, route.transport, out),
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

/// By what a session is opened.
enum Door {
    /// A GET that is answered when the user has decided, perhaps as the script of this callback.
    Parked(Asker, Option<u64>),
    /// A websocket that is open already.
    WebSocket(LinkId),
}

/// Makes a session, which asks for the namespace `/`. Its GET is parked, or its websocket open, until the user has decided.
fn open(core: &mut Core, now: Time, door: Door, transport: Transport, request: &Request, out: &mut Outputs) {
    let handshake = Arc::new(Handshake::new(request, now));
    let (link, parked, script, role) = match door {
        Door::Parked(asker, script) => (asker.link, Some(asker), script, Role::Parked),
        Door::WebSocket(link) => (link, None, None, Role::WebSocket),
    };
    let wiring = Wiring::Legacy06(Tilde::new(script));
    let Some(slot) = core.open_session(transport.into(), Some(link), handshake, wiring) else {
        return out.writes.push(match parked {
            Some(asker) => asker.answer(503, None, Bytes::new()),
            None => Write::Close(link, None),
        });
    };
    core.links.set(link, core.key(slot), role);
    if let Some(session) = core.sessions.get_mut(slot) {
        session.parked = parked.map(Box::new);
        if let Some(encoding) = encoding_of(transport) {
            session.carriage = Carriage::Stream(StreamForm::new(encoding, request.http.exchange()));
        }
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
    request: &Request,
    transport: Transport,
    out: &mut Outputs,
) {
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
        return open(core, now, Door::WebSocket(link), transport, request, out);
    };
    attach(core, slot, link, transport, Role::WebSocket, out);
    core.mark_ready(slot);
    next_heartbeat(core, now, slot);
}

/// Gives the session a new link; the one it had is let go.
fn attach(core: &mut Core, slot: u32, link: LinkId, transport: Transport, role: Role, out: &mut Outputs) {
    detach(core, slot, out);
    core.set_transport(slot, transport.into());
    core.links.set(link, core.key(slot), role);
    if let Some(session) = core.sessions.get_mut(slot) {
        session.link = Some(link);
    }
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
            None => out.writes.push(session.farewell(link)),
        }
    }
}

pub(super) fn answer(asker: Asker, script: Option<u64>, frames: Vec<Frame>, out: &mut Outputs) {
    out.writes.push(match script {
        None => asker.answer_packets(TEXT, frames, PollEncoding::Legacy06),
        Some(index) => asker.answer_packets(JSONP_CONTENT_TYPE, frames, PollEncoding::Legacy06Jsonp(index)),
    });
}

// ---- streams --------------------------------------------------------------------------------------------------------

/// How packets are written on this transport, if it is a stream.
const fn encoding_of(transport: Transport) -> Option<StreamEncoding> {
    match transport {
        Transport::Htmlfile => Some(StreamEncoding::Htmlfile06),
        Transport::XhrMultipart => Some(StreamEncoding::Multipart),
        Transport::Websocket | Transport::Flashsocket | Transport::XhrPolling | Transport::JsonpPolling => None,
    }
}

/// A client comes back by a stream.
fn stream(
    core: &mut Core,
    now: Time,
    slot: u32,
    asker: Asker,
    request: &Request,
    transport: Transport,
    out: &mut Outputs,
) {
    attach(core, slot, asker.link, transport, Role::Stream, out);
    if let Some(session) = core.sessions.get_mut(slot)
        && let Some(encoding) = encoding_of(transport)
    {
        let form = StreamForm::new(encoding, request.http.exchange());
        session.carriage = Carriage::Stream(form);
        out.writes.push(asker.stream(form));
    }
    core.mark_ready(slot);
    next_heartbeat(core, now, slot);
}

/// The user has accepted: if the session was opened by a stream, that begins now.
pub(super) fn begin_stream(core: &mut Core, slot: u32, out: &mut Outputs) {
    let key = core.key(slot);
    if let Some(session) = core.sessions.get_mut(slot)
        && let Carriage::Stream(form) = session.carriage
        && let Some(asker) = session.parked.take()
    {
        core.links.set(asker.link, key, Role::Stream);
        out.writes.push(asker.stream(form));
    }
}

// ---- polling --------------------------------------------------------------------------------------------------------

fn poll(core: &mut Core, now: Time, slot: u32, asker: Asker, script: Option<u64>, out: &mut Outputs) {
    // The newer poll is the live one; the older is answered empty (docs/protocol/legacy-0.6.md §6).
    let transport = match script {
        None => Transport::XhrPolling,
        Some(_) => Transport::JsonpPolling,
    };
    attach(core, slot, asker.link, transport, Role::Parked, out);
    let held = now + core.config.legacy.poll_duration;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
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
