//! A session of 0.7-0.9 (docs/protocol/legacy-0.9.md §2, §4, §6-§7, §9-§13).
//!
//! ```text
//!   GET /1/ ─► ASKING ── accepted ─► HANDSHAKEN ── transport ─► OPEN ── poll answered ─► OPEN, absent ── too long ─► (gone)
//!                 │                      └── too long ─► (gone)  ▲                            │
//!                 └─ refused ─► 403                              └────────── poll ────────────┘
//! ```
//! Opening a session is asking for the namespace `/`, and the handshake is answered when the user has decided: a client that is refused gets the answer of
//! a server whose authorization says no. `1::`, by which the client knows that it is connected, stands first in the queue from then on.
//!
//! A websocket is the session: when it is lost the session is over. A poll is not: the session waits for the next one.
//!
//! What messages become is in [`message`](super::message). What the client's packets become:
//!
//! | packet | delivery |
//! |---|---|
//! | `1::/ns?query` | asks for the namespace; the query, and that of the handshake, are its `auth` |
//! | `3`, `4` | the event `message` with that one argument |
//! | `5` | the event |
//! | any of these with `ID+` | the same, to be acknowledged |
//! | any packet with `ID` | is acknowledged at once, by us |
//! | `6` | the acknowledgement |
//! | what is no packet, and events with reserved names | nothing; the session lives (§13) |
//!
//! Packets for a namespace that the client has not joined are kept until it has, a few of them: after a reconnect genuine clients send what they have
//! buffered before they join.
//!
//! Invariant: but for an open websocket `deadline` is set, and an alarm for it, or for an earlier time, is armed.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::handshake::{self, Handshake as Answer};
use super::message::endpoint;
use super::{Body, Id, NOT_HANDSHAKEN, Packet, Reason as Refusal, payload};
use crate::detect::{self, Exchange, Transport};
use crate::legacy::transports::{
    Family, JSONP_CONTENT_TYPE, Posted, read_d_form, write_jsonp as write_script, write_jsonp_error,
};
use crate::server::{
    Alarm, Asker, Core, Encoded, Handshake, Identity, Message, Outputs, PollEncoding, Reason, Request, Role, Session,
    Standing, State, TransportKind, Upgrade, Verdict, Wiring, Write, accept_websocket, header, origin_allowed,
    query_object, script_allowed,
};
use crate::socket::{Args, is_reserved_event};
use crate::wire::{Inbound, Wire};
use crate::{Config, Frame, LinkId, Time, http, json};

/// Most packets in one payload.
const MAX_PACKETS: usize = 65_536;
/// Most packets kept for namespaces that have not been joined yet.
const MAX_HELD: usize = 64;
const TEXT: &str = "text/plain; charset=UTF-8";
/// The parameters of a handshake that are the protocol's and not the application's.
const PARAMETERS: [&str; 3] = ["t", "jsonp", "disconnect"];

/// What a session of this generation has besides the common part.
#[derive(Debug)]
pub(crate) struct Colon {
    phase: Phase,
    awaiting_echo: bool,
    /// Counts heartbeats, so that stale alarms are recognised.
    beat: u32,
    /// Whose script the parked request is answered with.
    script: Option<u64>,
    /// When a poll is answered, or a client given up.
    deadline: Time,
    /// The alarm that is armed for it, or for an earlier time.
    alarm: Option<Time>,
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The handshake waits for the user.
    Asking,
    /// The client knows its id.
    Handshaken,
    /// It has opened this transport, perhaps after others.
    Open(Transport),
}

/// What few sessions need.
#[derive(Debug, Default)]
struct Rare {
    /// Namespaces that the client has joined with a query, and the endpoint, query included, by which it knows them.
    aliases: Vec<(ByteString, ByteString)>,
    /// Packets for namespaces that have not been joined yet, as text.
    held: Vec<ByteString>,
    held_bytes: usize,
}

fn colon_of(session: &mut Session) -> Option<&mut Colon> {
    match &mut session.wiring {
        Wiring::Legacy09(colon) => Some(colon),
        Wiring::Engine4(_) | Wiring::Engine3(_) | Wiring::Legacy06(_) => None,
    }
}

fn colon_mut(core: &mut Core, slot: u32) -> Option<&mut Colon> {
    core.sessions.get_mut(slot).and_then(colon_of)
}

/// Most packets that may be queued: a client that is away gets less room.
pub(crate) const fn max_packets(session: &Session, config: &Config) -> usize {
    if session.link.is_some() {
        config.max_queued_packets
    } else {
        config.legacy09.max_pending_messages
    }
}

// ---- requests -------------------------------------------------------------------------------------------------------

pub(crate) fn handle_request(
    core: &mut Core,
    now: Time,
    link: LinkId,
    request: &Request,
    packets: Vec<Inbound>,
    route: &detect::V1<'_>,
    out: &mut Outputs,
) {
    let config = Arc::clone(&core.config);
    let script = script_of(route);
    let allowed = match script {
        Some(_) => script_allowed(&config, &request.http),
        None => origin_allowed(&config, &request.http),
    };
    let headers = if allowed { cors(&request.http) } else { Vec::new() };
    let mut asker = Asker::with_headers(link, &request.http, headers);
    match *route {
        detect::V1::Preflight => {
            asker.header("Access-Control-Allow-Methods", ByteString::from_static("POST, GET"));
            if let Some(asked) = header(&request.http, "access-control-request-headers") {
                asker.header("Access-Control-Allow-Headers", ByteString::from(asked));
            }
            out.writes.push(asker.answer(200, None, Bytes::new()));
        }
        detect::V1::Malformed => out.writes.push(asker.answer(400, None, Bytes::new())),
        _ if !allowed => refuse(asker, script, 403, handshake::BAD_ORIGIN, out),
        detect::V1::Disconnect { session } => goodbye(core, now, find(core, session), asker, out),
        detect::V1::Handshake {
            maybe_beacon_of: Some(session),
            ..
        } if find(core, session).is_some() => goodbye(core, now, find(core, session), asker, out),
        detect::V1::Handshake { .. } => open(core, now, asker, request, script, out),
        detect::V1::Transport {
            transport,
            session,
            exchange,
            ..
        } => {
            let (slot, offered) = (find(core, session), is_offered(&config, transport));
            match exchange {
                Exchange::Upgrade(_) if offered => upgrade(core, now, slot, asker, request, transport, out),
                Exchange::Poll if offered => poll(core, now, slot, asker, transport, script, out),
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
pub(crate) fn refuse_protocol(link: LinkId, request: &http::Request, out: &mut Outputs) {
    let asker = Asker::with_headers(link, request, Vec::new());
    refuse(asker, None, 500, handshake::UNKNOWN_PROTOCOL, out);
}

/// Whose script the answer has to be, if it has to be one.
const fn script_of(route: &detect::V1<'_>) -> Option<u64> {
    match *route {
        detect::V1::Handshake { jsonp, .. } => jsonp,
        detect::V1::Transport {
            transport: Transport::JsonpPolling,
            exchange: Exchange::Poll,
            index,
            ..
        } => Some(index),
        detect::V1::Transport { .. }
        | detect::V1::Disconnect { .. }
        | detect::V1::Preflight
        | detect::V1::Malformed => None,
    }
}

/// The session with this id, if it is one of this generation: an id of another is unknown here (docs/protocol/detection.md §5).
fn find(core: &Core, sid: &str) -> Option<u32> {
    core.find_session(sid)
        .filter(|slot| matches!(core.sessions.get(*slot).map(|s| &s.wiring), Some(Wiring::Legacy09(_))))
}

const fn is_offered(config: &Config, transport: Transport) -> bool {
    match transport {
        Transport::Websocket => config.transports.websocket,
        Transport::XhrPolling | Transport::JsonpPolling => config.transports.polling,
        // They stream, which our answers cannot.
        Transport::Flashsocket | Transport::Htmlfile | Transport::XhrMultipart => false,
    }
}

/// The headers that genuine 0.9 servers answer with, which older clients take as well (docs/protocol/legacy-0.9.md §2.2, §15).
fn cors(request: &http::Request) -> Vec<(&'static str, ByteString)> {
    let Some(origin) = header(request, "origin") else {
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
            asker.answer(200, Some("application/javascript"), body.freeze())
        }
    });
}

/// Makes a session, which asks for the namespace `/`. Its handshake waits until the user has decided.
fn open(core: &mut Core, now: Time, asker: Asker, request: &Request, script: Option<u64>, out: &mut Outputs) {
    if !matches!(request.http.method, http::Method::Get | http::Method::Post) {
        return out.writes.push(asker.answer(405, None, Bytes::new()));
    }
    if request.verdict != Verdict::Allowed {
        return refuse(asker, script, 403, handshake::UNAUTHORIZED, out);
    }
    let handshake = Arc::new(Handshake::new(&request.http, request.peer, now));
    let auth = query_object(&[handshake.query()], &PARAMETERS);
    let colon = Colon {
        phase: Phase::Asking,
        awaiting_echo: false,
        beat: 0,
        script,
        deadline: now,
        alarm: None,
        rare: None,
    };
    let link = asker.link;
    let wiring = Wiring::Legacy09(colon);
    let Some(slot) = core.open_session(TransportKind::Polling, Some(link), handshake, wiring) else {
        return refuse(asker, script, 503, handshake::ERROR, out);
    };
    core.links.set(link, core.key(slot), Role::Parked);
    let mut identity = Identity::Own;
    if let Some(session) = core.sessions.get_mut(slot) {
        session.parked = Some(Box::new(asker));
        identity = Identity::Session(session.sid);
    }
    let decided = now + core.config.connect_timeout;
    set_deadline(core, slot, decided);
    if !core.ask(slot, &ByteString::from_static("/"), identity, auth, out) {
        refuse_handshake(core, slot, 503, handshake::ERROR, out);
    }
}

/// Refuses the handshake that waits; there is no session then.
fn refuse_handshake(core: &mut Core, slot: u32, status: u16, message: &'static str, out: &mut Outputs) {
    if let Some((asker, script)) = take_parked(core, slot) {
        refuse(asker, script, status, message, out);
    }
    core.remove_session(slot, Reason::ForcedServerClose, out);
}

fn answer_handshake(core: &mut Core, now: Time, slot: u32, out: &mut Outputs) {
    let config = Arc::clone(&core.config);
    let Some(session) = core.sessions.get(slot) else { return };
    let offered = [Transport::Websocket, Transport::XhrPolling, Transport::JsonpPolling];
    let seconds = |time: Duration| Some(u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX));
    let answer = Answer {
        sid: ByteString::from(alloc::format!("{}", session.sid)),
        heartbeat_seconds: seconds(config.legacy09.heartbeat_timeout),
        close_seconds: seconds(config.legacy09.close_timeout),
        transports: offered.into_iter().filter(|t| is_offered(&config, *t)).collect(),
    };
    let mut body = BytesMut::new();
    answer.encode(&mut body);
    if let Some((asker, script)) = take_parked(core, slot) {
        out.writes.push(match script {
            None => asker.answer(200, Some("text/plain"), body.freeze()),
            Some(index) => {
                let mut dressed = BytesMut::new();
                let text = core::str::from_utf8(&body).unwrap_or_default();
                write_script(Family::V1, index, text, &mut dressed);
                asker.answer(200, Some("application/javascript"), dressed.freeze())
            }
        });
    }
    if let Some(colon) = colon_mut(core, slot) {
        colon.phase = Phase::Handshaken;
    }
    set_deadline(core, slot, now + config.legacy09.open_timeout);
}

// ---- transports -----------------------------------------------------------------------------------------------------

fn upgrade(
    core: &mut Core,
    now: Time,
    slot: Option<u32>,
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
            wire: Wire::Legacy09,
        },
        Err(refusal) => return out.writes.push(refusal),
    };
    out.writes.push(Write::Upgrade(link, Box::new(accept)));
    let slot = slot.filter(|slot| is_handshaken(core, *slot));
    let Some(slot) = slot else {
        // The client believes no HTTP error here; this it believes (docs/protocol/legacy-0.9.md §9).
        let frame = Frame::text(&mut core.buffer, |b| b.extend_from_slice(NOT_HANDSHAKEN.as_bytes()));
        out.writes.push(Write::Frame(link, frame));
        return out.writes.push(Write::Close(link, None));
    };
    attach(core, slot, link, TransportKind::WebSocket, transport, out);
    core.links.set(link, core.key(slot), Role::WebSocket);
    if core.sessions.get(slot).is_some_and(|s| s.state == State::Closing) {
        return finish(core, slot, Reason::ForcedServerClose, Farewell::Nothing, out);
    }
    next_heartbeat(core, now, slot);
    core.mark_ready(slot);
}

fn poll(
    core: &mut Core,
    now: Time,
    slot: Option<u32>,
    asker: Asker,
    transport: Transport,
    script: Option<u64>,
    out: &mut Outputs,
) {
    let Some(slot) = slot.filter(|slot| is_handshaken(core, *slot)) else {
        let frame = Frame::text(&mut core.buffer, |b| b.extend_from_slice(NOT_HANDSHAKEN.as_bytes()));
        return answer(asker, script, alloc::vec![frame], out);
    };
    attach(core, slot, asker.link, TransportKind::Polling, transport, out);
    core.links.set(asker.link, core.key(slot), Role::Parked);
    let held = now + core.config.legacy09.poll_duration;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.parked = Some(Box::new(asker));
    let closing = session.state == State::Closing;
    if let Some(colon) = colon_of(session) {
        colon.script = script;
    }
    if closing {
        return finish(core, slot, Reason::ForcedServerClose, Farewell::Nothing, out);
    }
    set_deadline(core, slot, held);
    core.mark_ready(slot);
}

/// Whether the client knows the session, so that it may use it.
fn is_handshaken(core: &mut Core, slot: u32) -> bool {
    colon_mut(core, slot).is_some_and(|c| c.phase != Phase::Asking)
}

/// Gives the session a new link; the one it had is let go. The last transport that is opened is the session's (docs/protocol/legacy-0.9.md §6).
fn attach(core: &mut Core, slot: u32, link: LinkId, kind: TransportKind, transport: Transport, out: &mut Outputs) {
    detach(core, slot, out);
    let connect = Frame::text(&mut core.buffer, |b| {
        Packet::new(Body::Connect(ByteString::new())).encode(b);
    });
    core.set_transport(slot, kind);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.link = Some(link);
    let Some(colon) = colon_of(session) else { return };
    let before = core::mem::replace(&mut colon.phase, Phase::Open(transport));
    // A client that falls back to another transport has never seen the `1::` that was sent on the one before, and waits for it (§10).
    if matches!(before, Phase::Open(other) if other != transport) && session.outbox.front() != Some(&connect) {
        session.outbox_bytes += connect.len();
        session.outbox.push_front(connect);
    }
}

fn detach(core: &mut Core, slot: u32, out: &mut Outputs) {
    if let Some((asker, script)) = take_parked(core, slot) {
        let noop = Frame::text(&mut core.buffer, |b| Packet::new(Body::Noop).encode(b));
        answer(asker, script, alloc::vec![noop], out);
    }
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.blocked = false;
    if let Some(link) = session.link.take() {
        core.links.clear(link);
        out.writes.push(Write::Close(link, None));
    }
}

/// Takes the parked request, if there is one, and whose script its answer is.
fn take_parked(core: &mut Core, slot: u32) -> Option<(Asker, Option<u64>)> {
    let session = core.sessions.get_mut(slot)?;
    let asker = session.parked.take()?;
    session.link = None;
    let script = colon_of(session).and_then(|colon| colon.script);
    core.links.clear(asker.link);
    Some((*asker, script))
}

fn answer(asker: Asker, script: Option<u64>, frames: Vec<Frame>, out: &mut Outputs) {
    out.writes.push(match script {
        None => asker.answer_packets(TEXT, frames, PollEncoding::Legacy09),
        Some(index) => asker.answer_packets(JSONP_CONTENT_TYPE, frames, PollEncoding::Legacy09Jsonp(index)),
    });
}

/// Answers the parked poll with what is queued.
pub(crate) fn flush_poll(core: &mut Core, now: Time, slot: u32, out: &mut Outputs) {
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

/// Puts packets together as the body of a poll.
pub(crate) fn encode_poll(frames: &[Frame], out: &mut BytesMut) {
    let text = |frame| core::str::from_utf8(Frame::payload(frame)).unwrap_or_default();
    payload::write(frames.iter().map(text), out);
}

/// The same as a script.
pub(crate) fn encode_script(index: u64, frames: &[Frame], out: &mut BytesMut) {
    encode_poll(frames, out);
    let payload = out.split();
    let text = core::str::from_utf8(&payload).unwrap_or_default();
    write_script(Family::V1, index, text, out);
}

fn post(core: &mut Core, now: Time, slot: Option<u32>, asker: Asker, packets: Vec<Inbound>, out: &mut Outputs) {
    if matches!(packets.first(), Some(Inbound::Broken(_))) {
        return out.writes.push(asker.answer(400, None, Bytes::new()));
    }
    // Whatever becomes of the packets. A client whose session is gone learns it from its next poll (docs/protocol/legacy-0.9.md §6).
    out.writes.push(asker.answer(200, Some(TEXT), Bytes::from_static(b"1")));
    let Some(slot) = slot else { return };
    let key = core.key(slot);
    for packet in packets {
        if core.sessions.holds(key.slot, key.generation) {
            handle_packet(core, now, slot, packet, out);
        }
    }
}

/// Decodes the body of a POST.
pub(crate) fn decode_body(route: &detect::V1<'_>, body: &Bytes) -> Vec<Inbound> {
    let detect::V1::Transport { transport, .. } = route else {
        return Vec::new();
    };
    let mut texts = Vec::new();
    // What is wrong with the rest of a payload costs the rest and nothing more (docs/protocol/legacy-0.9.md §13).
    let _ = match transport {
        Transport::JsonpPolling => match read_d_form(body) {
            Ok(Posted::Exact(text)) => payload::decode(&text, MAX_PACKETS, &mut texts),
            Ok(Posted::Form(text)) => payload::decode_jsonp(&text, MAX_PACKETS, &mut texts),
            Err(_) => return alloc::vec![Inbound::Broken(Reason::ParseError)],
        },
        _ => match ByteString::try_from(body.clone()) {
            Ok(text) => payload::decode(&text, MAX_PACKETS, &mut texts),
            Err(_) => return alloc::vec![Inbound::Broken(Reason::ParseError)],
        },
    };
    texts.iter().filter_map(decode_packet).collect()
}

/// Decodes a packet; `None` for what is none, or cannot be used.
pub(crate) fn decode_packet(text: &ByteString) -> Option<Inbound> {
    Packet::decode(text).ok().map(|packet| Inbound::Colon(Box::new(packet)))
}

/// The page goes away, and says so.
fn goodbye(core: &mut Core, now: Time, slot: Option<u32>, asker: Asker, out: &mut Outputs) {
    out.writes.push(asker.answer(200, None, Bytes::new()));
    if let Some(slot) = slot {
        close(core, now, slot, Reason::TransportClose, out);
    }
}

// ---- packets --------------------------------------------------------------------------------------------------------

pub(crate) fn handle_packet(core: &mut Core, now: Time, slot: u32, packet: Inbound, out: &mut Outputs) {
    let Inbound::Colon(packet) = packet else { return };
    let handshaken = is_handshaken(core, slot);
    let Some(session) = core.sessions.get(slot).filter(|_| handshaken) else {
        return;
    };
    if session.state == State::Closing {
        // Nothing is taken any more but a goodbye.
        if packet.body == Body::Disconnect && packet.endpoint.is_empty() {
            finish(core, slot, Reason::TransportClose, Farewell::Nothing, out);
        }
        return;
    }
    // Who has packets acknowledged and does not fetch that gets no more of it.
    if let Some(id) = packet.id.as_ref().filter(|id| !id.by_application)
        && !core.is_full(slot)
    {
        acknowledge_receipt(core, slot, &packet.endpoint, id);
    }
    let Some(namespace) = namespace_of(&packet) else {
        return;
    };
    match &packet.body {
        Body::Connect(query) => connect(core, slot, &packet, namespace, query, out),
        Body::Disconnect if &*namespace == "/" => {
            close(core, now, slot, Reason::ClientNamespaceDisconnect, out);
        }
        Body::Disconnect => {
            if let Some((socket, _)) = core.socket_in(slot, &namespace) {
                forget_alias(core, slot, &namespace);
                core.left(slot, socket, Reason::ClientNamespaceDisconnect, out);
            }
        }
        Body::Heartbeat => {
            if colon_mut(core, slot).is_some_and(|c| c.awaiting_echo) {
                next_heartbeat(core, now, slot);
            }
        }
        Body::Message(_) | Body::Json(_) | Body::Event { .. } => match core.socket_in(slot, &namespace) {
            Some((socket, Standing::Connected)) => deliver(core, socket, &packet, out),
            Some((_, Standing::Asked)) | None => hold(core, slot, &packet),
        },
        Body::Ack { id, args } => {
            if let (Some((socket, Standing::Connected)), Ok(id)) = (core.socket_in(slot, &namespace), id.parse())
                && let Some(args) = arguments(args.as_ref(), &core.config)
            {
                core.acknowledged(socket, id, args, out);
            }
        }
        Body::Error { .. } | Body::Noop => {}
    }
}

/// The namespace of a packet; `None` if the endpoint names none. A comma cannot be carried to other generations.
fn namespace_of(packet: &Packet) -> Option<ByteString> {
    match packet.namespace() {
        "" => Some(ByteString::from_static("/")),
        name if name.starts_with('/') && name.len() > 1 && !name.contains(',') => Some(packet.endpoint.slice_ref(name)),
        _ => None,
    }
}

fn acknowledge_receipt(core: &mut Core, slot: u32, endpoint: &ByteString, id: &Id) {
    let packet = Packet {
        id: None,
        endpoint: endpoint.clone(),
        body: Body::Ack {
            id: id.digits.clone(),
            args: None,
        },
    };
    push(core, slot, &packet);
}

fn push(core: &mut Core, slot: u32, packet: &Packet) {
    let frame = Frame::text(&mut core.buffer, |b| packet.encode(b));
    core.push_control(slot, frame);
}

/// The client wants to join a namespace. It is told by the endpoint that it has used, query and all (docs/protocol/legacy-0.9.md §11).
fn connect(core: &mut Core, slot: u32, packet: &Packet, namespace: ByteString, query: &ByteString, out: &mut Outputs) {
    if core.is_full(slot) {
        return;
    }
    match core.socket_in(slot, &namespace) {
        // `1::` again, to which genuine servers connect the client a second time.
        _ if &*namespace == "/" => {}
        Some((_, Standing::Asked)) => {}
        Some((_, Standing::Connected)) => {
            let body = Body::Connect(ByteString::new());
            let endpoint = packet.endpoint.clone();
            push(
                core,
                slot,
                &Packet {
                    id: None,
                    endpoint,
                    body,
                },
            );
        }
        None => {
            let Some(session) = core.sessions.get_mut(slot) else {
                return;
            };
            let own = packet.endpoint.split_once('?').map(|(_, query)| query);
            let own = own.unwrap_or_else(|| query.strip_prefix('?').unwrap_or(query));
            let auth = query_object(&[session.handshake.query(), own], &PARAMETERS);
            let max = core.config.packet.max_namespace_bytes;
            let fits = packet.endpoint.len() <= max;
            if *packet.endpoint != *namespace
                && fits
                && let Some(colon) = colon_of(session)
            {
                let rare = colon.rare.get_or_insert_default();
                // Copied: both may be slices of a receive buffer.
                rare.aliases
                    .push((ByteString::from(&*namespace), ByteString::from(&*packet.endpoint)));
                session.adapts = true;
            }
            if !fits || !core.ask(slot, &namespace, Identity::Own, auth, out) {
                refused(core, slot, &namespace, out);
            }
        }
    }
}

/// The endpoint by which the client knows a namespace.
fn known_as(core: &mut Core, slot: u32, namespace: &str) -> ByteString {
    let rare = colon_mut(core, slot).and_then(|colon| colon.rare.as_ref());
    let alias = rare.and_then(|rare| rare.aliases.iter().find(|(name, _)| *name == *namespace));
    alias.map_or_else(|| ByteString::from(endpoint(namespace)), |(_, alias)| alias.clone())
}

fn forget_alias(core: &mut Core, slot: u32, namespace: &str) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if let Some(rare) = colon_of(session).and_then(|colon| colon.rare.as_mut()) {
        rare.aliases.retain(|(name, _)| *name != *namespace);
        session.adapts = !rare.aliases.is_empty();
    }
}

/// The same packet for a client that knows its namespace by another endpoint.
pub(crate) fn readdress(colon: &Colon, frame: &Frame) -> Frame {
    let aliases = colon.rare.as_ref().map_or(&[][..], |rare| &rare.aliases);
    let text = core::str::from_utf8(frame.payload()).unwrap_or_default();
    let mut parts = text.splitn(4, ':');
    let (Some(kind), Some(id), Some(endpoint)) = (parts.next(), parts.next(), parts.next()) else {
        return frame.clone();
    };
    let Some((_, alias)) = aliases.iter().find(|(name, _)| *name == *endpoint) else {
        return frame.clone();
    };
    let head = kind.len() + id.len() + 2;
    Frame::text(&mut BytesMut::new(), |b| {
        b.extend_from_slice(&text.as_bytes()[..head]);
        b.extend_from_slice(alias.as_bytes());
        b.extend_from_slice(&text.as_bytes()[head + endpoint.len()..]);
    })
}

/// A message or an event for the user.
fn deliver(core: &Core, socket: u32, packet: &Packet, out: &mut Outputs) {
    // An id that is no number of ours can be acknowledged on receipt, but not later.
    let by_application = packet.id.as_ref().filter(|id| id.by_application);
    let ack = by_application.and_then(|id| id.digits.parse().ok());
    let message = ByteString::from_static("message");
    match &packet.body {
        Body::Message(text) => {
            let mut literal = BytesMut::with_capacity(text.len() + 2);
            json::write_string(&mut literal, text);
            let literal = ByteString::try_from(literal.freeze()).unwrap_or_default();
            core.event(socket, message, Args::from(literal), ack, out);
        }
        Body::Json(value) if json::validate(value, core.config.packet.max_depth).is_ok() => {
            core.event(socket, message, Args::from(value.clone()), ack, out);
        }
        Body::Event { name, args } if !is_reserved_event(name) => {
            if name.len() <= core.config.packet.max_event_name_bytes
                && let Some(args) = arguments(Some(args), &core.config)
            {
                core.event(socket, name.clone(), args, ack, out);
            }
        }
        _ => {}
    }
}

/// The elements of an array as arguments, if it is not nested too deep.
fn arguments(array: Option<&ByteString>, config: &Config) -> Option<Args> {
    let Some(array) = array else {
        return Some(Args::default());
    };
    let scanned = json::scan_array(array.trim_start(), config.packet.max_depth).ok()?;
    Some(Args::from(array.slice_ref(scanned.elements)))
}

/// Keeps a packet for a namespace that may yet be joined.
fn hold(core: &mut Core, slot: u32, packet: &Packet) {
    let max_bytes = core.config.max_payload;
    let Some(colon) = colon_mut(core, slot) else { return };
    let rare = colon.rare.get_or_insert_default();
    let mut text = BytesMut::new();
    packet.encode(&mut text);
    if rare.held.len() < MAX_HELD && rare.held_bytes + text.len() <= max_bytes {
        rare.held_bytes += text.len();
        rare.held.extend(ByteString::try_from(text.freeze()).ok());
    }
}

/// Delivers what was kept for a namespace that has been joined.
fn release(core: &mut Core, slot: u32, namespace: &str, socket: u32, out: &mut Outputs) {
    let Some(rare) = colon_mut(core, slot).and_then(|colon| colon.rare.as_mut()) else {
        return;
    };
    for text in core::mem::take(&mut rare.held) {
        let Ok(packet) = Packet::decode(&text) else { continue };
        if namespace_of(&packet).is_some_and(|of| *of == *namespace) {
            if let Some(rare) = colon_mut(core, slot).and_then(|colon| colon.rare.as_mut()) {
                rare.held_bytes -= text.len();
            }
            deliver(core, socket, &packet, out);
        } else if let Some(rare) = colon_mut(core, slot).and_then(|colon| colon.rare.as_mut()) {
            rare.held.push(text);
        }
    }
}

// ---- time -----------------------------------------------------------------------------------------------------------

/// The next heartbeat of a websocket is due after the interval.
fn next_heartbeat(core: &mut Core, now: Time, slot: u32) {
    let (key, at) = (core.key(slot), now + core.config.legacy09.heartbeat_interval);
    if let Some(colon) = colon_mut(core, slot) {
        colon.awaiting_echo = false;
        colon.beat = colon.beat.wrapping_add(1);
        let beat = colon.beat;
        core.timers.arm_at(at, Alarm::Ping, key, beat);
    }
}

pub(crate) fn handle_alarm(core: &mut Core, now: Time, slot: u32, alarm: Alarm, epoch: u32, out: &mut Outputs) {
    let key = core.key(slot);
    let late = now + core.config.legacy09.heartbeat_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let parked = session.parked.is_some();
    let on_websocket = session.link.is_some() && !parked;
    let Some(colon) = colon_of(session) else { return };
    match alarm {
        Alarm::Ping if colon.beat == epoch && on_websocket => {
            colon.awaiting_echo = true;
            push(core, slot, &Packet::new(Body::Heartbeat));
            core.timers.arm_at(late, Alarm::PingTimeout, key, epoch);
        }
        Alarm::PingTimeout if colon.beat == epoch && colon.awaiting_echo && on_websocket => {
            finish(core, slot, Reason::PingTimeout, Farewell::Nothing, out);
        }
        // One that was armed before the deadline moved forward; the one that counts is still to come.
        Alarm::Absence if colon.alarm.is_some_and(|armed| armed > now) => {}
        Alarm::Absence => {
            colon.alarm = None;
            let (deadline, asking) = (colon.deadline, colon.phase == Phase::Asking);
            if on_websocket {
            } else if deadline > now {
                set_deadline(core, slot, deadline);
            } else if asking {
                refuse_handshake(core, slot, 500, handshake::ERROR, out);
            } else if parked {
                push(core, slot, &Packet::new(Body::Noop));
                flush_poll(core, now, slot, out);
            } else {
                finish(core, slot, Reason::PingTimeout, Farewell::Nothing, out);
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
    if let Some(colon) = colon_mut(core, slot) {
        colon.deadline = at;
        if colon.alarm.is_none_or(|armed| armed > at) {
            colon.alarm = Some(at);
            core.timers.arm_at(at, Alarm::Absence, key, 0);
        }
    }
}

// ---- the user's answer, and the end ---------------------------------------------------------------------------------

/// The user has let a socket in.
pub(crate) fn accepted(core: &mut Core, now: Time, slot: u32, socket: u32, out: &mut Outputs) {
    let Some((namespace, _)) = core.socket_names(socket) else {
        return;
    };
    if &*namespace == "/" {
        answer_handshake(core, now, slot, out);
    }
    let endpoint = known_as(core, slot, &namespace);
    let body = Body::Connect(ByteString::new());
    push(
        core,
        slot,
        &Packet {
            id: None,
            endpoint,
            body,
        },
    );
    release(core, slot, &namespace, socket, out);
}

/// The user has refused a socket. Why, this wire cannot say (docs/protocol/legacy-0.9.md §4.4).
pub(crate) fn refused(core: &mut Core, slot: u32, namespace: &str, out: &mut Outputs) {
    if namespace == "/" {
        return refuse_handshake(core, slot, 403, handshake::UNAUTHORIZED, out);
    }
    let endpoint = known_as(core, slot, namespace);
    forget_alias(core, slot, namespace);
    let body = Body::Error {
        reason: Some(Refusal::Unauthorized),
        reconnect: false,
    };
    push(
        core,
        slot,
        &Packet {
            id: None,
            endpoint,
            body,
        },
    );
}

/// The user disconnects a socket, or with it the session. To leave `/` is to leave.
pub(crate) fn disconnect(core: &mut Core, now: Time, slot: u32, socket: u32, whole: bool, out: &mut Outputs) {
    let Some((namespace, _)) = core.socket_names(socket) else {
        return;
    };
    if whole || &*namespace == "/" {
        return close(core, now, slot, Reason::ServerNamespaceDisconnect, out);
    }
    let endpoint = known_as(core, slot, &namespace);
    let body = Body::Disconnect;
    push(
        core,
        slot,
        &Packet {
            id: None,
            endpoint,
            body,
        },
    );
    forget_alias(core, slot, &namespace);
    core.left(slot, socket, Reason::ServerNamespaceDisconnect, out);
}

/// A link of the session is gone: with a websocket the session, with a poll nothing but that.
pub(crate) fn handle_closed(core: &mut Core, now: Time, slot: u32, reason: Reason, out: &mut Outputs) {
    let absent = now + core.config.legacy09.close_timeout;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let polling = session.parked.take().is_some();
    (session.link, session.blocked) = (None, false);
    if polling && is_handshaken(core, slot) {
        set_deadline(core, slot, absent);
    } else {
        core.remove_session(slot, reason, out);
    }
}

/// What a client is told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// Everything has been said.
    Nothing,
    /// `0::`, upon which it does not come back.
    Booted,
    /// That it has to come back, with a new session. The end of a websocket says it, too.
    ComeBack,
}

/// Closes the session from this side.
pub(crate) fn close(core: &mut Core, now: Time, slot: u32, reason: Reason, out: &mut Outputs) {
    let farewell = match reason {
        Reason::ServerNamespaceDisconnect | Reason::ClientNamespaceDisconnect | Reason::TransportClose => {
            Farewell::Booted
        }
        Reason::ServerShuttingDown
        | Reason::TransportError
        | Reason::PingTimeout
        | Reason::ParseError
        | Reason::ForcedClose
        | Reason::ForcedServerClose => Farewell::ComeBack,
    };
    core.end_sockets(slot, reason, out);
    let absent = now + core.config.legacy09.close_timeout;
    let asking = !is_handshaken(core, slot);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if session.state == State::Closing {
        return;
    }
    session.state = State::Closing;
    if asking {
        return refuse_handshake(core, slot, 500, handshake::ERROR, out);
    }
    if session.link.is_none() && reason == Reason::ServerNamespaceDisconnect {
        // It is told by the next poll.
        push(core, slot, &Packet::new(Body::Disconnect));
        return set_deadline(core, slot, absent);
    }
    finish(core, slot, reason, farewell, out);
}

/// Ends the session: what is queued leaves if there is a way, and the farewell with it.
fn finish(core: &mut Core, slot: u32, reason: Reason, farewell: Farewell, out: &mut Outputs) {
    let parked = take_parked(core, slot);
    let say = |core: &mut Core, body| push(core, slot, &Packet::new(body));
    match farewell {
        Farewell::Booted => say(core, Body::Disconnect),
        Farewell::ComeBack if parked.is_some() => say(
            core,
            Body::Error {
                reason: Some(Refusal::ClientNotHandshaken),
                reconnect: true,
            },
        ),
        Farewell::ComeBack | Farewell::Nothing => {}
    }
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let (frames, link) = (session.take_outbox(), session.link);
    if let Some((asker, script)) = parked {
        answer(asker, script, frames, out);
    } else if let Some(link) = link {
        out.writes
            .extend(frames.into_iter().map(|frame| Write::Frame(link, frame)));
        out.writes.push(Write::Close(link, None));
    }
    core.remove_session(slot, reason, out);
}

/// Encodes a message for clients of this generation.
pub(crate) fn encode_message(message: &Message, buffer: &mut BytesMut) -> Encoded {
    Encoded {
        first: Frame::text(buffer, |b| super::message::write(message, b)),
        attachments: Vec::new(),
    }
}
