//! Requests of 0.7-0.9: handshakes, and the transports that carry a session
//! (docs/protocol/legacy-0.9.md §2, §3, §6-§7, §9).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::packets;
use super::{
    Farewell, Legacy09, Phase, close, finish, is_handshaken, legacy09_mut, legacy09_of, next_heartbeat, push,
    set_deadline,
};
use crate::detect::{self, Exchange, Transport};
use crate::id::SessionSlot;
use crate::legacy::legacy09::handshake::{self, Handshake as Answer};
use crate::legacy::legacy09::{Body, NOT_HANDSHAKEN, Packet};
use crate::legacy::transports::{Family, JSONP_CONTENT_TYPE, write_jsonp as write_script, write_jsonp_error};
use crate::request::origin;
use crate::server::old_websocket::{Agreed, agree, take_up};
use crate::server::{
    Asker, Auth, Carriage, Core, Delivery, Denied, Outputs, Part, Peer, PollEncoding, Reason, Request, Role, Session,
    State, StreamEncoding, StreamForm, TransportKind, Wiring, Write, asked_headers,
};
use crate::wire::{Inbound, Wire};
use crate::{Config, Frame, LinkId, Time, http};

const TEXT: &str = "text/plain; charset=UTF-8";

pub(crate) fn handle_request(
    core: &mut Core,
    now: Time,
    link: LinkId,
    request: &Request,
    packets: Vec<Inbound>,
    route: detect::Legacy09,
    out: &mut Outputs,
) {
    let (config, peer) = (Arc::clone(&core.config), &request.peer);
    let script = script_of(&route);
    if is_jsonp(&route) && !config.transports.jsonp {
        let asker = Asker::without_cors(link, request);
        return out.writes.push(asker.answer(400, None, Bytes::new()));
    }
    // A page of scripts, which is the server's own.
    let is_page = matches!(
        route,
        detect::Legacy09::Transport {
            exchange: Exchange::Stream,
            ..
        }
    );
    let allowed = request.stranger().is_none();
    let mut headers = match allowed && !is_page {
        true => cors(&request.http),
        false => Vec::new(),
    };
    if let detect::Legacy09::Transport { exchange, .. } = route
        && (script.is_some() || exchange == Exchange::Send && !headers.is_empty())
    {
        // Internet Explorer takes a script that repeats what was sent for an attack
        // (docs/protocol/legacy-0.9.md §6, §7).
        headers.push(("X-XSS-Protection", ByteString::from_static("0")));
    }
    let mut asker = match is_page {
        true => Asker::without_cors(link, request),
        false => Asker::with_cors(link, request, headers),
    };
    if let Some(why) = request.stranger() {
        out.deliveries.push(Delivery::Stranger(request.describe(why)));
    }
    match route {
        detect::Legacy09::Preflight => {
            asker.header("Access-Control-Allow-Methods", ByteString::from_static("POST, GET"));
            if let Some(asked) = asked_headers(&request.http) {
                asker.header("Access-Control-Allow-Headers", ByteString::from(asked));
            }
            out.writes.push(asker.answer(200, None, Bytes::new()));
        }
        detect::Legacy09::Malformed => out.writes.push(asker.answer(400, None, Bytes::new())),
        _ if !allowed => refuse(asker, script, 403, handshake::BAD_ORIGIN, out),
        detect::Legacy09::Disconnect { session } => {
            let slot = find(core, request.text(session), peer);
            goodbye(core, now, slot, asker, out);
        }
        detect::Legacy09::Handshake { maybe_beacon_of, .. } => {
            match maybe_beacon_of.and_then(|session| find(core, request.text(session), peer)) {
                Some(slot) => goodbye(core, now, Some(slot), asker, out),
                None => open(core, now, asker, request, script, out),
            }
        }
        detect::Legacy09::Transport {
            transport,
            session,
            exchange,
            ..
        } => {
            let (slot, offered) = (find(core, request.text(session), peer), is_offered(&config, transport));
            if let Some(slot) = slot {
                core.came_back(slot);
            }
            match exchange {
                Exchange::Upgrade(_) if offered => upgrade(core, now, slot, asker, request, transport, out),
                Exchange::Poll if offered => poll(core, now, slot, asker, transport, script, out),
                Exchange::Stream if offered => stream(core, now, slot, asker, request, out),
                Exchange::Send if offered && request.http.body.is_err() => {
                    out.writes.push(asker.closing().answer(413, None, Bytes::new()));
                }
                Exchange::Send if offered => post(core, now, slot, asker, packets, out),
                Exchange::BadMethod => out.writes.push(asker.answer(405, None, Bytes::new())),
                Exchange::Upgrade(_)
                | Exchange::Poll
                | Exchange::Stream
                | Exchange::Send
                | Exchange::Preflight
                | Exchange::Mismatch => out.writes.push(asker.answer(400, None, Bytes::new())),
            }
        }
    }
}

/// The answer to a protocol segment that is a number other than 1.
pub(crate) fn refuse_protocol(link: LinkId, request: &Request, out: &mut Outputs) {
    let asker = Asker::without_cors(link, request);
    refuse(asker, None, 500, handshake::UNKNOWN_PROTOCOL, out);
}

/// Whose script the answer has to be, if it has to be one.
const fn script_of(route: &detect::Legacy09) -> Option<u64> {
    match *route {
        detect::Legacy09::Handshake { jsonp, .. } => jsonp,
        detect::Legacy09::Transport {
            transport: Transport::JsonpPolling,
            exchange: Exchange::Poll,
            index,
            ..
        } => Some(index),
        detect::Legacy09::Transport { .. }
        | detect::Legacy09::Disconnect { .. }
        | detect::Legacy09::Preflight
        | detect::Legacy09::Malformed => None,
    }
}

/// Whether the request comes from a JSONP client: its answer is a script, or its body a form that
/// every page can send.
const fn is_jsonp(route: &detect::Legacy09) -> bool {
    match route {
        detect::Legacy09::Handshake { jsonp, .. } => jsonp.is_some(),
        detect::Legacy09::Transport { transport, .. } => matches!(transport, Transport::JsonpPolling),
        detect::Legacy09::Disconnect { .. } | detect::Legacy09::Preflight | detect::Legacy09::Malformed => false,
    }
}

/// The session with this id, if it is one of this generation: an id of another is unknown here
/// (docs/protocol/detection.md §5). So is one that lives on a websocket or stream from elsewhere:
/// its id is no key to it (docs/protocol/legacy-0.9.md §9).
fn find(core: &Core, sid: &str, peer: &Peer) -> Option<SessionSlot> {
    let slot = core.find_session(sid)?;
    let session = core.sessions.get(slot)?;
    (session.wiring.legacy09().is_some() && !session.is_held_against(peer)).then_some(slot)
}

const fn is_offered(config: &Config, transport: Transport) -> bool {
    match transport {
        Transport::Websocket | Transport::Flashsocket => config.transports.websocket,
        Transport::XhrPolling => config.transports.polling,
        Transport::Htmlfile => config.transports.polling && config.transports.htmlfile,
        Transport::JsonpPolling => config.transports.polling && config.transports.jsonp,
        // Clients of this generation have none.
        Transport::XhrMultipart => false,
    }
}

/// The headers that genuine 0.9 servers answer with, which older clients take as well
/// (docs/protocol/legacy-0.9.md §2.2, §15).
fn cors(request: &http::Request) -> Vec<(&'static str, ByteString)> {
    let Some(origin) = origin(request) else {
        return Vec::new();
    };
    alloc::vec![
        ("Access-Control-Allow-Origin", ByteString::from(origin)),
        ("Access-Control-Allow-Credentials", ByteString::from_static("true")),
    ]
}

fn refuse(asker: Asker, script: Option<u64>, status: u16, message: &'static str, out: &mut Outputs) {
    out.writes.push(match script {
        None => asker.answer(status, Some("text/plain"), message),
        // No browser runs a script that is an error.
        Some(index) => {
            let mut body = BytesMut::new();
            write_jsonp_error(index, message, &mut body);
            asker.answer(200, Some(JSONP_CONTENT_TYPE), body.freeze())
        }
    });
}

/// Makes a session, which asks for the namespace `/`. Its handshake waits until the user has
/// decided.
fn open(core: &mut Core, now: Time, asker: Asker, request: &Request, script: Option<u64>, out: &mut Outputs) {
    if !matches!(request.http.method, http::Method::Get | http::Method::Post) {
        return out.writes.push(asker.answer(405, None, Bytes::new()));
    }
    let admitted = match request.admit() {
        Ok(admitted) => admitted,
        Err(Denied::Origin) => return refuse(asker, script, 403, handshake::BAD_ORIGIN, out),
        Err(Denied::Application(_)) => return refuse(asker, script, 403, handshake::UNAUTHORIZED, out),
    };
    let Some(permit) = core.permit(now, admitted, out) else {
        return refuse(asker, script, 503, handshake::ERROR, out);
    };
    let link = asker.link;
    let wiring = Wiring::Legacy09(Legacy09::new(now, script));
    let slot = core.open_session(permit, TransportKind::Polling, Some(link), wiring);
    core.links.set(link, core.key(slot), Role::Parked);
    if let Some(session) = core.sessions.get_mut(slot) {
        session.parked = Some(Box::new(asker));
    }
    let decided = now + core.config.connect_timeout;
    set_deadline(core, slot, decided);
    let auth = Auth::Query(ByteString::new());
    if core.ask(slot, &ByteString::from_static("/"), auth, out).is_err() {
        refuse_handshake(core, slot, 503, handshake::ERROR, out);
    }
}

/// Refuses the handshake that waits; there is no session then.
pub(super) fn refuse_handshake(
    core: &mut Core,
    slot: SessionSlot,
    status: u16,
    message: &'static str,
    out: &mut Outputs,
) {
    if let Some((asker, script)) = take_parked(core, slot) {
        refuse(asker, script, status, message, out);
    }
    core.remove_session(slot, Reason::ForcedServerClose, out);
}

pub(super) fn answer_handshake(core: &mut Core, now: Time, slot: SessionSlot, out: &mut Outputs) {
    let config = Arc::clone(&core.config);
    let Some(session) = core.sessions.get(slot) else { return };
    let flashsocket = config.legacy09.flashsocket;
    let offered = [
        Transport::Websocket,
        Transport::Flashsocket,
        Transport::Htmlfile,
        Transport::XhrPolling,
        Transport::JsonpPolling,
    ];
    let offered = offered
        .into_iter()
        .filter(|t| *t != Transport::Flashsocket || flashsocket);
    let seconds = |time: Duration| Some(u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX));
    let answer = Answer {
        sid: ByteString::from(core::str::from_utf8(&session.id.base64()).unwrap_or_default()),
        heartbeat_seconds: seconds(config.legacy09.heartbeat_timeout),
        close_seconds: seconds(config.legacy09.close_timeout),
        transports: offered.filter(|t| is_offered(&config, *t)).collect(),
    };
    let mut body = BytesMut::new();
    answer.encode(&mut body);
    if let Some((asker, script)) = take_parked(core, slot) {
        out.writes.push(match script {
            None => asker.answer(200, Some("text/plain"), body.freeze()),
            Some(index) => {
                let mut dressed = BytesMut::new();
                let text = core::str::from_utf8(&body).unwrap_or_default();
                write_script(Family::Legacy09, index, text, &mut dressed);
                asker.answer(200, Some(JSONP_CONTENT_TYPE), dressed.freeze())
            }
        });
    }
    if let Some(legacy09) = legacy09_mut(core, slot) {
        legacy09.phase = Phase::Handshaken;
    }
    set_deadline(core, slot, now + config.legacy09.open_timeout);
}

fn upgrade(
    core: &mut Core,
    now: Time,
    slot: Option<SessionSlot>,
    asker: Asker,
    request: &Request,
    transport: Transport,
    out: &mut Outputs,
) {
    let slot = slot.filter(|slot| is_handshaken(core, *slot));
    let unknown = Some(Wire::Legacy09Unknown).filter(|_| slot.is_none());
    let Some(agreed) = agree(&core.config, asker, request, Wire::Legacy09, unknown, out) else {
        return;
    };
    let Some(slot) = slot else {
        return tell_unknown(core, &agreed, out);
    };
    let waits = agreed.is_opening();
    attach(core, slot, agreed.link, transport, Role::WebSocket, out);
    if let Some(session) = core.sessions.get_mut(slot) {
        session.holder = request.peer.network();
    }
    take_up(core, now, slot, agreed);
    if !waits {
        begin(core, now, slot, out);
    }
}

/// The client believes no HTTP error to an upgrade; this it believes (docs/protocol/legacy-0.9.md
/// §9).
fn tell_unknown(core: &mut Core, agreed: &Agreed, out: &mut Outputs) {
    let link = agreed.link;
    match agreed.form() {
        // The connection tells it when the handshake is complete.
        Some(_) if agreed.is_opening() => return,
        Some(form) => {
            let (frames, form) = (alloc::vec![not_handshaken(core)], form.clone());
            out.writes.push(Write::Part(link, Box::new(Part { frames, form })));
        }
        None => out.writes.push(Write::Frame(link, not_handshaken(core))),
    }
    out.writes.push(agreed.farewell());
}

/// What waits leaves on a new websocket or stream.
pub(super) fn begin(core: &mut Core, now: Time, slot: SessionSlot, out: &mut Outputs) {
    if core.sessions.get(slot).is_some_and(|s| s.state == State::Closing) {
        return finish(core, slot, Reason::ForcedServerClose, Farewell::Nothing, out);
    }
    next_heartbeat(core, now, slot);
    core.mark_ready(slot);
}

fn stream(core: &mut Core, now: Time, slot: Option<SessionSlot>, asker: Asker, request: &Request, out: &mut Outputs) {
    let (link, form) = (
        asker.link,
        StreamForm::new(StreamEncoding::Htmlfile09, request.http.exchange()),
    );
    out.writes.push(asker.stream(form.clone()));
    let Some(slot) = slot.filter(|slot| is_handshaken(core, *slot)) else {
        let frames = alloc::vec![not_handshaken(core)];
        let end = Box::new(form.clone());
        out.writes.push(Write::Part(link, Box::new(Part { frames, form })));
        return out.writes.push(Write::StreamEnd(link, end));
    };
    attach(core, slot, link, Transport::Htmlfile, Role::Stream, out);
    if let Some(session) = core.sessions.get_mut(slot) {
        session.carriage = Carriage::Stream(form);
        session.holder = request.peer.network();
    }
    begin(core, now, slot, out);
}

/// What a client is told whose session is unknown.
fn not_handshaken(core: &mut Core) -> Frame {
    Frame::text(&mut core.buffer, |b| b.extend_from_slice(NOT_HANDSHAKEN.as_bytes()))
}

fn poll(
    core: &mut Core,
    now: Time,
    slot: Option<SessionSlot>,
    asker: Asker,
    transport: Transport,
    script: Option<u64>,
    out: &mut Outputs,
) {
    let Some(slot) = slot.filter(|slot| is_handshaken(core, *slot)) else {
        let frame = not_handshaken(core);
        return answer(asker, script, alloc::vec![frame], out);
    };
    attach(core, slot, asker.link, transport, Role::Parked, out);
    let held = now + core.config.legacy09.poll_duration;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.parked = Some(Box::new(asker));
    let closing = session.state == State::Closing;
    if let Some(legacy09) = legacy09_of(session) {
        legacy09.script = script;
    }
    if closing {
        return finish(core, slot, Reason::ForcedServerClose, Farewell::Nothing, out);
    }
    set_deadline(core, slot, held);
    core.mark_ready(slot);
}

/// Gives the session a new link; the one it had is let go. The last transport that is opened is the
/// session's (docs/protocol/legacy-0.9.md §6).
fn attach(core: &mut Core, slot: SessionSlot, link: LinkId, transport: Transport, role: Role, out: &mut Outputs) {
    detach(core, slot, out);
    let connect = Frame::text(&mut core.buffer, |b| {
        Packet::new(Body::Connect(ByteString::new())).encode(b);
    });
    core.set_transport(slot, transport.into());
    core.links.set(link, core.key(slot), role);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.link = Some(link);
    let Some(legacy09) = legacy09_of(session) else { return };
    let before = core::mem::replace(&mut legacy09.phase, Phase::Open(transport));
    // A client that falls back to another transport has never seen the `1::` that was sent on the
    // one before, and waits for it (§10).
    if matches!(before, Phase::Open(other) if other != transport) && session.outbox.front() != Some(&connect) {
        session.outbox_bytes += connect.len();
        session.outbox.push_front(connect);
    }
}

fn detach(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    if let Some((asker, script)) = take_parked(core, slot) {
        let noop = Frame::text(&mut core.buffer, |b| Packet::new(Body::Noop).encode(b));
        answer(asker, script, alloc::vec![noop], out);
    }
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if let Some(link) = session.link.take() {
        core.links.clear(link);
        out.writes.push(session.farewell(link));
    }
    session.unblock(&mut core.backlog);
}

/// Takes the parked request, if there is one, and whose script its answer is.
pub(super) fn take_parked(core: &mut Core, slot: SessionSlot) -> Option<(Asker, Option<u64>)> {
    let session = core.sessions.get_mut(slot)?;
    let asker = session.parked.take()?;
    session.link = None;
    let script = legacy09_of(session).and_then(|legacy09| legacy09.script);
    core.links.clear(asker.link);
    Some((*asker, script))
}

pub(super) fn answer(asker: Asker, script: Option<u64>, frames: Vec<Frame>, out: &mut Outputs) {
    out.writes.push(match script {
        None => asker.answer_packets(TEXT, frames, PollEncoding::Legacy09),
        Some(index) => asker.answer_packets(JSONP_CONTENT_TYPE, frames, PollEncoding::Legacy09Jsonp(index)),
    });
}

/// Answers the parked poll with what is queued.
pub(crate) fn flush_poll(core: &mut Core, now: Time, slot: SessionSlot, out: &mut Outputs) {
    let absent = now + core.config.legacy09.close_timeout;
    if !is_handshaken(core, slot) {
        return;
    }
    let Some((asker, script)) = take_parked(core, slot) else {
        return;
    };
    let frames = core
        .sessions
        .get_mut(slot)
        .map(Session::take_outbox)
        .unwrap_or_default();
    answer(asker, script, frames, out);
    set_deadline(core, slot, absent);
}

/// Answers the parked poll with what is queued, or else with a noop.
pub(crate) fn end_poll(core: &mut Core, now: Time, slot: SessionSlot, out: &mut Outputs) {
    if core.sessions.get(slot).is_some_and(|session| session.outbox.is_empty()) {
        push(core, slot, &Packet::new(Body::Noop));
    }
    flush_poll(core, now, slot, out);
}

fn post(core: &mut Core, now: Time, slot: Option<SessionSlot>, asker: Asker, packets: Vec<Inbound>, out: &mut Outputs) {
    if matches!(packets.first(), Some(Inbound::Broken(_))) {
        return out.writes.push(asker.answer(400, None, Bytes::new()));
    }
    // Whatever becomes of the packets. A client whose session is gone learns it from its next poll
    // (docs/protocol/legacy-0.9.md §6).
    out.writes.push(asker.answer(200, Some(TEXT), Bytes::from_static(b"1")));
    let Some(slot) = slot else { return };
    let key = core.key(slot);
    for packet in packets {
        if core.sessions.holds(key.slot, key.generation) {
            packets::handle(core, now, slot, packet, out);
        }
    }
}

/// The page goes away, and says so.
fn goodbye(core: &mut Core, now: Time, slot: Option<SessionSlot>, asker: Asker, out: &mut Outputs) {
    out.writes.push(asker.answer(200, None, Bytes::new()));
    if let Some(slot) = slot {
        close(core, now, slot, Reason::TransportClose, out);
    }
}
