//! What the packets of a 0.7-0.9 client do (docs/protocol/legacy-0.9.md §4, §11, §13).
//!
//! | packet | delivery |
//! |---|---|
//! | `1::/ns?query` | asks for the namespace; the query, and that of the handshake, are its `auth` |
//! | `3`, `4` | the event `message` with that one argument |
//! | `5` | the event |
//! | any of these with `ID+` | the same, to be acknowledged |
//! | any packet with `ID` | is acknowledged at once, by us |
//! | `6` | the acknowledgement |
//! | what is no packet, and events with reserved names | nothing; the session lives |
//!
//! Packets for a namespace that the client has not joined are kept until it has, a few of them:
//! after a reconnect genuine clients send what they have buffered before they join.

use bytes::BytesMut;
use bytestring::ByteString;

use super::message::endpoint;
use super::requests::begin;
use super::{
    Farewell, Legacy09, close, finish, is_handshaken, legacy09_mut, legacy09_of, next_heartbeat, push, refused,
};
use crate::id::{SessionSlot, SocketSlot};
use crate::legacy::legacy09::{Body, Id, Packet};
use crate::server::old_websocket::complete;
use crate::server::{Auth, Core, Outputs, Reason, Standing, State};
use crate::socket::{Args, is_reserved_event};
use crate::wire::Inbound;
use crate::{Config, Frame, Time, json};

pub(crate) fn handle(core: &mut Core, now: Time, slot: SessionSlot, packet: Inbound, out: &mut Outputs) {
    let packet = match packet {
        Inbound::Legacy09(packet) => packet,
        Inbound::Digest(digest) => {
            if complete(core, slot, digest, out) {
                begin(core, now, slot, out);
            }
            return;
        }
        _ => return,
    };
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
        Body::Connect(_) if !core.may_connect(now, slot) => close(core, now, slot, Reason::ForcedClose, out),
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
            if core.sessions.get(slot).is_some_and(|s| s.heartbeat.is_answerable()) {
                next_heartbeat(core, now, slot);
            }
        }
        Body::Message(_) | Body::Json(_) | Body::Event { .. } => match core.socket_in(slot, &namespace) {
            Some((socket, Standing::Connected)) => deliver(core, socket, &packet, out),
            Some((_, Standing::Asked)) | None => {
                hold(core, slot, &packet);
                if !core.weigh(slot) {
                    close(core, now, slot, Reason::ForcedClose, out);
                }
            }
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

/// The namespace of a packet; `None` if the endpoint names none. A comma cannot be carried to other
/// generations.
fn namespace_of(packet: &Packet) -> Option<ByteString> {
    match packet.namespace() {
        "" => Some(ByteString::from_static("/")),
        name if name.starts_with('/') && name.len() > 1 && !name.contains(',') => Some(packet.endpoint.slice_ref(name)),
        _ => None,
    }
}

fn acknowledge_receipt(core: &mut Core, slot: SessionSlot, endpoint: &ByteString, id: &Id) {
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

/// The client wants to join a namespace. It is told by the endpoint that it has used, query and all
/// (docs/protocol/legacy-0.9.md §11).
fn connect(
    core: &mut Core,
    slot: SessionSlot,
    packet: &Packet,
    namespace: ByteString,
    query: &ByteString,
    out: &mut Outputs,
) {
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
            let limits = &core.config.packet;
            let fits = packet.endpoint.len() <= limits.max_namespace_bytes && own.len() <= limits.max_query_bytes;
            // Copied, within its limit: it may be a slice of a receive buffer.
            let auth = Auth::Query(if fits { ByteString::from(own) } else { ByteString::new() });
            if *packet.endpoint != *namespace
                && fits
                && let Some(legacy09) = legacy09_of(session)
            {
                let rare = legacy09.rare.get_or_insert_default();
                // Copied: both may be slices of a receive buffer.
                rare.aliases
                    .push((ByteString::from(&*namespace), ByteString::from(&*packet.endpoint)));
                session.adapts = true;
            }
            if !fits || core.ask(slot, &namespace, auth, out).is_err() {
                refused(core, slot, &namespace, out);
            }
        }
    }
}

/// The endpoint by which the client knows a namespace.
pub(super) fn known_as(core: &mut Core, slot: SessionSlot, namespace: &str) -> ByteString {
    let rare = legacy09_mut(core, slot).and_then(|legacy09| legacy09.rare.as_ref());
    let alias = rare.and_then(|rare| rare.aliases.iter().find(|(name, _)| *name == *namespace));
    alias.map_or_else(|| ByteString::from(endpoint(namespace)), |(_, alias)| alias.clone())
}

pub(super) fn forget_alias(core: &mut Core, slot: SessionSlot, namespace: &str) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if let Some(rare) = legacy09_of(session).and_then(|legacy09| legacy09.rare.as_mut()) {
        rare.aliases.retain(|(name, _)| *name != *namespace);
        session.adapts = !rare.aliases.is_empty();
    }
}

/// The same packet for a client that knows its namespace by another endpoint.
pub(crate) fn readdress(legacy09: &Legacy09, frame: &Frame) -> Frame {
    let aliases = legacy09.rare.as_ref().map_or(&[][..], |rare| &rare.aliases);
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
fn deliver(core: &Core, socket: SocketSlot, packet: &Packet, out: &mut Outputs) {
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
fn hold(core: &mut Core, slot: SessionSlot, packet: &Packet) {
    let (max_packets, max_bytes) = (core.config.legacy09.max_unjoined_packets, core.config.max_payload);
    let Some(legacy09) = legacy09_mut(core, slot) else {
        return;
    };
    let rare = legacy09.rare.get_or_insert_default();
    let mut text = BytesMut::new();
    packet.encode(&mut text);
    if rare.held.len() < max_packets && rare.held_bytes + text.len() <= max_bytes {
        rare.held_bytes += text.len();
        rare.held.extend(ByteString::try_from(text.freeze()).ok());
    }
}

/// Delivers what was kept for a namespace that has been joined.
pub(super) fn release(core: &mut Core, slot: SessionSlot, namespace: &str, socket: SocketSlot, out: &mut Outputs) {
    let Some(rare) = legacy09_mut(core, slot).and_then(|legacy09| legacy09.rare.as_mut()) else {
        return;
    };
    for text in core::mem::take(&mut rare.held) {
        let Ok(packet) = Packet::decode(&text) else { continue };
        if namespace_of(&packet).is_some_and(|of| *of == *namespace) {
            if let Some(rare) = legacy09_mut(core, slot).and_then(|legacy09| legacy09.rare.as_mut()) {
                rare.held_bytes -= text.len();
            }
            deliver(core, socket, &packet, out);
        } else if let Some(rare) = legacy09_mut(core, slot).and_then(|legacy09| legacy09.rare.as_mut()) {
            rare.held.push(text);
        }
    }
}
