//! Requests of the 0.6 family: opening, coming back, posting, by whatever transport
//! (docs/protocol/legacy-0.6.md §5-§10).
//!
//! A stream is opened when the user has accepted, so that a refusal can still have a status. From
//! then on it is to a session what a websocket is: packets leave as they come, heartbeats go over
//! it, and when it is lost the client may come back by any transport.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::{Legacy06, close, handle_packet, legacy06_of, next_heartbeat, read_piece, set_deadline};
use crate::codec::Codec;
use crate::detect::{self, Exchange, Transport};
use crate::id::SessionSlot;
use crate::legacy::transports::JSONP_CONTENT_TYPE;
use crate::request::origin;
use crate::server::old_websocket::{Agreed, agree, take_up};
use crate::server::{
    Admitted, Asker, Auth, Carriage, Core, Delivery, Denied, Outputs, Peer, PollEncoding, Reason, Request, Role,
    StreamEncoding, StreamForm, Wiring,
};
use crate::wire::{Inbound, Wire};
use crate::{Frame, LinkId, Time, http};

/// What a page of the wrong origin gets for a script.
const REFUSED_SCRIPT: &str = "alert('Cross domain security restrictions not met');";
const TEXT: &str = "text/plain; charset=UTF-8";

#[expect(clippy::too_many_arguments, reason = "the one door for requests of this family")]
pub(crate) fn handle_request(
    core: &mut Core,
    now: Time,
    link: LinkId,
    request: &Request,
    packets: Vec<Inbound>,
    codec: u8,
    route: detect::Legacy06,
    out: &mut Outputs,
) {
    let jsonp = route.transport == Transport::JsonpPolling;
    let script = route.index.filter(|_| jsonp);
    let htmlfile = route.transport == Transport::Htmlfile;
    let offered = core.config.transports;
    if jsonp && !offered.jsonp || htmlfile && !offered.htmlfile {
        let asker = Asker::without_cors(link, request);
        return out.writes.push(asker.answer(400, None, Bytes::new()));
    }
    let allowed = request.stranger().is_none();
    out.deliveries
        .extend(request.stranger().map(|why| Delivery::Stranger(request.describe(why))));
    // An htmlfile is a page of the server's own.
    let asker = match (htmlfile, allowed) {
        (true, _) => Asker::without_cors(link, request),
        (false, true) => Asker::with_cors(link, request, cors(&request.http, route.exchange)),
        (false, false) => Asker::with_cors(link, request, Vec::new()),
    };
    let session = route.session.map(|sid| {
        core.find_session(request.text(sid))
            .filter(|slot| is_ours(core, *slot, codec, &request.peer))
    });
    let session = match session {
        Some(None) if route.maybe_timestamp => None,
        session => session,
    };
    if let Some(Some(slot)) = session {
        core.came_back(slot);
    }
    let arrival = Arrival {
        request,
        codec,
        transport: route.transport,
    };
    match (route.exchange, session) {
        (Exchange::Preflight, _) => out.writes.push(asker.answer(200, None, Bytes::new())),
        (Exchange::Mismatch, _) => out.writes.push(asker.answer(400, None, Bytes::new())),
        (Exchange::BadMethod, _) => out.writes.push(asker.answer(405, None, Bytes::new())),
        // Genuine servers crash here.
        (Exchange::Poll | Exchange::Send, _) if jsonp && script.is_none() => {
            out.writes.push(asker.answer(400, None, Bytes::new()));
        }
        // A script that is refused says so, or no browser would run it (docs/protocol/legacy-0.6.md
        // §7).
        (Exchange::Poll, _) if jsonp && !allowed => {
            out.writes
                .push(asker.answer(200, Some(JSONP_CONTENT_TYPE), REFUSED_SCRIPT));
        }
        _ if !allowed => unauthorized(asker, out),
        (_, Some(None)) | (Exchange::Send, None) => out.writes.push(asker.answer(400, None, Bytes::new())),
        (Exchange::Poll | Exchange::Stream | Exchange::Upgrade(_), None) => match request.admit() {
            Err(Denied::Origin | Denied::Application(_)) => unauthorized(asker, out),
            Ok(admitted) if matches!(route.exchange, Exchange::Upgrade(_)) => {
                open_websocket(core, now, admitted, asker, &arrival, out);
            }
            Ok(admitted) => open(core, now, admitted, Door::Parked(asker, script), &arrival, out),
        },
        (Exchange::Upgrade(_), Some(Some(slot))) => upgrade(core, now, slot, asker, &arrival, out),
        (Exchange::Poll, Some(Some(slot))) => poll(core, now, slot, asker, script, out),
        (Exchange::Stream, Some(Some(slot))) => stream(core, now, slot, asker, &arrival, out),
        (Exchange::Send, Some(Some(_))) if request.http.body.is_err() => {
            out.writes.push(asker.closing().answer(413, None, Bytes::new()));
        }
        (Exchange::Send, Some(Some(slot))) => post(core, now, slot, asker, packets, out),
    }
}

fn unauthorized(asker: Asker, out: &mut Outputs) {
    out.writes
        .push(asker.closing().answer(401, Some("text/plain"), "unauthorized"));
}

/// A request that opens a session, or a link of one.
struct Arrival<'a> {
    request: &'a Request,
    /// The number of its codec.
    codec: u8,
    transport: Transport,
}

/// Whether it is a session of this codec: those of others live under other paths. One that lives on
/// a websocket or stream from elsewhere is unknown: a client comes back by its id when it has lost
/// the link it had, not before (docs/protocol/legacy-0.6.md §10).
fn is_ours(core: &Core, slot: SessionSlot, codec: u8, peer: &Peer) -> bool {
    core.sessions.get(slot).is_some_and(|session| {
        let legacy06 = session.wiring.legacy06();
        legacy06.is_some_and(|legacy06| legacy06.codec == codec) && !session.is_held_against(peer)
    })
}

/// The headers that genuine servers answer with (docs/protocol/legacy-0.6.md §5.2, §6).
fn cors(request: &http::Request, exchange: Exchange) -> Vec<(&'static str, ByteString)> {
    let mut headers = Vec::new();
    let Some(origin) = origin(request) else {
        return headers;
    };
    // Genuine servers say that credentials are welcome beside `*`, too, which no browser takes.
    let (origin, credentials) = match exchange {
        Exchange::Send => ("*", false),
        Exchange::Preflight => (origin, true),
        _ if origin == "null" => ("*", false),
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
    /// A websocket that has been agreed to.
    WebSocket(Agreed),
}

/// Makes a session, which asks for the namespace `/`. Its GET is parked, or its websocket open,
/// until the user has decided.
fn open(core: &mut Core, now: Time, admitted: Admitted<'_>, door: Door, arrival: &Arrival<'_>, out: &mut Outputs) {
    let Some(permit) = core.permit(now, admitted, out) else {
        return out.writes.push(match door {
            Door::Parked(asker, _) => asker.answer(503, None, Bytes::new()),
            Door::WebSocket(agreed) => agreed.farewell(),
        });
    };
    let (link, script, role) = match &door {
        Door::Parked(asker, script) => (asker.link, *script, Role::Parked),
        Door::WebSocket(agreed) => (agreed.link, None, Role::WebSocket),
    };
    let wiring = Wiring::Legacy06(Legacy06::new(arrival.codec, script));
    let slot = core.open_session(permit, arrival.transport.into(), Some(link), wiring);
    core.links.set(link, core.key(slot), role);
    hold(core, slot, arrival);
    match door {
        Door::Parked(asker, _) => {
            let form = form_of(core, arrival);
            if let Some(session) = core.sessions.get_mut(slot) {
                session.parked = Some(Box::new(asker));
                if let Some(form) = form {
                    session.carriage = Carriage::Stream(form);
                }
            }
        }
        Door::WebSocket(agreed) => take_up(core, now, slot, agreed),
    }
    let held = now + core.config.legacy06.poll_duration;
    set_deadline(core, slot, held);
    let main = ByteString::from_static("/");
    if core.ask(slot, &main, Auth::None, out).is_err() {
        close(core, slot, Reason::ForcedServerClose, out);
    }
}

fn open_websocket(
    core: &mut Core,
    now: Time,
    admitted: Admitted<'_>,
    asker: Asker,
    arrival: &Arrival<'_>,
    out: &mut Outputs,
) {
    let wire = Wire::Legacy06(arrival.codec);
    if let Some(agreed) = agree(&core.config, asker, arrival.request, wire, None, out) {
        open(core, now, admitted, Door::WebSocket(agreed), arrival, out);
    }
}

/// A client comes back by a websocket.
fn upgrade(core: &mut Core, now: Time, slot: SessionSlot, asker: Asker, arrival: &Arrival<'_>, out: &mut Outputs) {
    let wire = Wire::Legacy06(arrival.codec);
    let Some(agreed) = agree(&core.config, asker, arrival.request, wire, None, out) else {
        return;
    };
    attach(core, slot, agreed.link, arrival.transport, Role::WebSocket, out);
    hold(core, slot, arrival);
    take_up(core, now, slot, agreed);
    core.mark_ready(slot);
    next_heartbeat(core, now, slot);
}

/// Notes from where the session's websocket or stream has come.
fn hold(core: &mut Core, slot: SessionSlot, arrival: &Arrival<'_>) {
    if let Some(session) = core.sessions.get_mut(slot) {
        session.holder = arrival.request.peer.network();
    }
}

/// Gives the session a new link; the one it had is let go.
fn attach(core: &mut Core, slot: SessionSlot, link: LinkId, transport: Transport, role: Role, out: &mut Outputs) {
    detach(core, slot, out);
    core.set_transport(slot, transport.into());
    core.links.set(link, core.key(slot), role);
    if let Some(session) = core.sessions.get_mut(slot) {
        session.link = Some(link);
    }
}

/// Takes the session's transport away, politely.
fn detach(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    let config = Arc::clone(&core.config);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let Some(legacy06) = legacy06_of(session) else { return };
    let (codec, script) = (config.legacy06.codec_at(legacy06.codec), legacy06.script);
    if let Some(link) = session.link.take() {
        core.links.clear(link);
        match session.parked.take() {
            Some(asker) => answer(*asker, codec, script, Vec::new(), out),
            None => out.writes.push(session.farewell(link)),
        }
    }
    session.unblock(&mut core.backlog);
}

pub(super) fn answer(asker: Asker, codec: &Codec, script: Option<u64>, frames: Vec<Frame>, out: &mut Outputs) {
    let codec = codec.clone();
    out.writes.push(match script {
        None => asker.answer_packets(TEXT, frames, PollEncoding::Legacy06(codec)),
        Some(index) => asker.answer_packets(JSONP_CONTENT_TYPE, frames, PollEncoding::Legacy06Jsonp(codec, index)),
    });
}

// ---- streams --------------------------------------------------------------------------------------------------------

/// How packets are written by this transport, if it is a stream.
fn form_of(core: &Core, arrival: &Arrival<'_>) -> Option<StreamForm> {
    let codec = || core.config.legacy06.codec_at(arrival.codec).clone();
    let encoding = match arrival.transport {
        Transport::Htmlfile => StreamEncoding::Htmlfile06(codec()),
        Transport::XhrMultipart => StreamEncoding::Multipart(codec()),
        Transport::Websocket | Transport::Flashsocket | Transport::XhrPolling | Transport::JsonpPolling => return None,
    };
    Some(StreamForm::new(encoding, arrival.request.http.exchange()))
}

/// A client comes back by a stream.
fn stream(core: &mut Core, now: Time, slot: SessionSlot, asker: Asker, arrival: &Arrival<'_>, out: &mut Outputs) {
    attach(core, slot, asker.link, arrival.transport, Role::Stream, out);
    hold(core, slot, arrival);
    let form = form_of(core, arrival);
    if let (Some(session), Some(form)) = (core.sessions.get_mut(slot), form) {
        session.carriage = Carriage::Stream(form.clone());
        out.writes.push(asker.stream(form));
    }
    core.mark_ready(slot);
    next_heartbeat(core, now, slot);
}

/// The user has accepted: if the session was opened by a stream, that begins now.
pub(super) fn begin_stream(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    let key = core.key(slot);
    if let Some(session) = core.sessions.get_mut(slot)
        && let Carriage::Stream(form) = &session.carriage
        && let Some(asker) = session.parked.take()
    {
        core.links.set(asker.link, key, Role::Stream);
        out.writes.push(asker.stream(form.clone()));
    }
}

// ---- polling --------------------------------------------------------------------------------------------------------

fn poll(core: &mut Core, now: Time, slot: SessionSlot, asker: Asker, script: Option<u64>, out: &mut Outputs) {
    // The newer poll is the live one; the older is answered empty (docs/protocol/legacy-0.6.md §6).
    let transport = match script {
        None => Transport::XhrPolling,
        Some(_) => Transport::JsonpPolling,
    };
    attach(core, slot, asker.link, transport, Role::Parked, out);
    let held = now + core.config.legacy06.poll_duration;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.parked = Some(Box::new(asker));
    if let Some(legacy06) = legacy06_of(session) {
        legacy06.script = script;
    }
    set_deadline(core, slot, held);
    core.mark_ready(slot);
}

/// Answers the parked GET with what is queued.
pub(crate) fn flush_poll(core: &mut Core, now: Time, slot: SessionSlot, out: &mut Outputs) {
    let config = Arc::clone(&core.config);
    let absent = now + config.legacy06.reconnect_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let Some(asker) = session.parked.take() else { return };
    session.link = None;
    let Some(legacy06) = legacy06_of(session) else { return };
    let (codec, script) = (config.legacy06.codec_at(legacy06.codec), legacy06.script);
    let alone = core::mem::take(&mut legacy06.id_waits);
    let frames = if alone {
        session.take_first()
    } else {
        session.take_outbox()
    };
    core.links.clear(asker.link);
    answer(*asker, codec, script, frames, out);
    set_deadline(core, slot, absent);
}

fn post(core: &mut Core, now: Time, slot: SessionSlot, asker: Asker, mut packets: Vec<Inbound>, out: &mut Outputs) {
    if let Some(Inbound::Payload { payload, from_form }) = packets.pop_if(|p| matches!(p, Inbound::Payload { .. })) {
        read_piece(core, slot, &payload, from_form, &mut packets);
        if !core.weigh(slot) {
            out.writes.push(asker.closing().answer(413, None, Bytes::new()));
            return close(core, slot, Reason::ForcedClose, out);
        }
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
