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
use super::{At, Farewell, Fate, Legacy09, legacy09_of};
use crate::legacy::legacy09::{Body, Id, Packet};
use crate::server::{Auth, Reason, Standing, State};
use crate::socket::{Args, is_reserved_event};
use crate::wire::Inbound;
use crate::{Config, Frame, SocketKey, json};

impl<'a> At<'a> {
    /// One packet on the session's transport.
    pub(crate) fn receive(mut self, packet: Inbound) -> Fate<'a> {
        let packet = match packet {
            Inbound::Legacy09(packet) => packet,
            Inbound::Digest(digest) => {
                return match self.complete(digest) {
                    true => self.begin(),
                    false => Ok(self),
                };
            }
            _ => return Ok(self),
        };
        if !self.is_handshaken() {
            return Ok(self);
        }
        if self.session.state == State::Closing {
            // Nothing is taken any more but a goodbye.
            if packet.body == Body::Disconnect && packet.endpoint.is_empty() {
                return Err(self.finish(Reason::TransportClose, Farewell::Nothing));
            }
            return Ok(self);
        }
        // Who has packets acknowledged and does not fetch that gets no more of it.
        if let Some(id) = packet.id.as_ref().filter(|id| !id.by_application)
            && !self.is_full()
        {
            self.acknowledge_receipt(&packet.endpoint, id);
        }
        match namespace_of(&packet) {
            Some(namespace) => self.receive_in(namespace, &packet),
            None => Ok(self),
        }
    }

    /// A packet for a namespace.
    fn receive_in(mut self, namespace: ByteString, packet: &Packet) -> Fate<'a> {
        match &packet.body {
            Body::Connect(_) if !self.may_connect() => return self.close(Reason::ForcedClose),
            Body::Connect(query) => self.connect(packet, namespace, query),
            Body::Disconnect if &*namespace == "/" => return self.close(Reason::ClientNamespaceDisconnect),
            Body::Disconnect => {
                if let Some((socket, _)) = self.socket_in(&namespace) {
                    self.forget_alias(&namespace);
                    self.left(socket, Reason::ClientNamespaceDisconnect);
                }
            }
            Body::Heartbeat => {
                if self.session.heartbeat.is_answerable() {
                    self.next_heartbeat();
                }
            }
            Body::Message(_) | Body::Json(_) | Body::Event { .. } => match self.socket_in(&namespace) {
                Some((socket, Standing::Connected)) => self.deliver(socket, packet),
                Some((_, Standing::Asked)) | None => {
                    self.hold(packet);
                    if !self.weigh() {
                        return self.close(Reason::ForcedClose);
                    }
                }
            },
            Body::Ack { id, args } => {
                if let (Some((socket, Standing::Connected)), Ok(id)) = (self.socket_in(&namespace), id.parse())
                    && let Some(args) = arguments(args.as_ref(), &self.core.config)
                {
                    self.acknowledged(socket, id, args);
                }
            }
            Body::Error { .. } | Body::Noop => {}
        }
        Ok(self)
    }

    fn acknowledge_receipt(&mut self, endpoint: &ByteString, id: &Id) {
        let (id, args) = (id.digits.clone(), None);
        self.push_to(endpoint.clone(), Body::Ack { id, args });
    }

    /// The client wants to join a namespace. It is told by the endpoint that it has used, query and
    /// all (docs/protocol/legacy-0.9.md §11).
    fn connect(&mut self, packet: &Packet, namespace: ByteString, query: &ByteString) {
        if self.is_full() {
            return;
        }
        match self.socket_in(&namespace) {
            // `1::` again, to which genuine servers connect the client a second time.
            _ if &*namespace == "/" => {}
            Some((_, Standing::Asked)) => {}
            Some((_, Standing::Connected)) => {
                self.push_to(packet.endpoint.clone(), Body::Connect(ByteString::new()));
            }
            None => {
                let own = packet.endpoint.split_once('?').map(|(_, query)| query);
                let own = own.unwrap_or_else(|| query.strip_prefix('?').unwrap_or(query));
                let limits = &self.core.config.packet;
                let fits = packet.endpoint.len() <= limits.max_namespace_bytes && own.len() <= limits.max_query_bytes;
                // Copied, within its limit: it may be a slice of a receive buffer.
                let auth = Auth::Query(if fits { ByteString::from(own) } else { ByteString::new() });
                if *packet.endpoint != *namespace && fits {
                    let rare = self.legacy09().rare.get_or_insert_default();
                    // Copied: both may be slices of a receive buffer.
                    rare.aliases
                        .push((ByteString::from(&*namespace), ByteString::from(&*packet.endpoint)));
                    self.session.adapts = true;
                }
                if !fits || self.ask(&namespace, auth).is_err() {
                    self.refuse_namespace(&namespace);
                }
            }
        }
    }

    /// The endpoint by which the client knows a namespace.
    pub(super) fn known_as(&mut self, namespace: &str) -> ByteString {
        let rare = self.legacy09().rare.as_ref();
        let alias = rare.and_then(|rare| rare.aliases.iter().find(|(name, _)| *name == *namespace));
        alias.map_or_else(|| ByteString::from(endpoint(namespace)), |(_, alias)| alias.clone())
    }

    pub(super) fn forget_alias(&mut self, namespace: &str) {
        if let Some(rare) = &mut legacy09_of(&mut self.session.wiring).rare {
            rare.aliases.retain(|(name, _)| *name != *namespace);
            self.session.adapts = !rare.aliases.is_empty();
        }
    }

    /// A message or an event for the user.
    fn deliver(&mut self, socket: SocketKey, packet: &Packet) {
        // An id that is no number of ours can be acknowledged on receipt, but not later.
        let by_application = packet.id.as_ref().filter(|id| id.by_application);
        let ack = by_application.and_then(|id| id.digits.parse().ok());
        let message = ByteString::from_static("message");
        let limits = &self.core.config.packet;
        match &packet.body {
            Body::Message(text) => {
                let mut literal = BytesMut::with_capacity(text.len() + 2);
                json::write_string(&mut literal, text);
                let literal = ByteString::try_from(literal.freeze()).unwrap_or_default();
                self.event(socket, message, Args::from(literal), ack);
            }
            Body::Json(value) if json::validate(value, limits.max_depth).is_ok() => {
                self.event(socket, message, Args::from(value.clone()), ack);
            }
            Body::Event { name, args } if !is_reserved_event(name) => {
                if name.len() <= limits.max_event_name_bytes
                    && let Some(args) = arguments(Some(args), &self.core.config)
                {
                    self.event(socket, name.clone(), args, ack);
                }
            }
            _ => {}
        }
    }

    /// Keeps a packet for a namespace that may yet be joined.
    fn hold(&mut self, packet: &Packet) {
        let config = &self.core.config;
        let (max_packets, max_bytes) = (config.legacy09.max_unjoined_packets, config.max_payload);
        let rare = self.legacy09().rare.get_or_insert_default();
        let mut text = BytesMut::new();
        packet.encode(&mut text);
        if rare.held.len() < max_packets && rare.held_bytes + text.len() <= max_bytes {
            rare.held_bytes += text.len();
            rare.held.extend(ByteString::try_from(text.freeze()).ok());
        }
    }

    /// Delivers what was kept for a namespace that has been joined.
    pub(super) fn release(&mut self, namespace: &str, socket: SocketKey) {
        let Some(rare) = &mut self.legacy09().rare else { return };
        let held = core::mem::take(&mut rare.held);
        rare.held_bytes = 0;
        for text in held {
            let Ok(packet) = Packet::decode(&text) else { continue };
            if namespace_of(&packet).is_some_and(|of| *of == *namespace) {
                self.deliver(socket, &packet);
            } else {
                let rare = self.legacy09().rare.get_or_insert_default();
                rare.held_bytes += text.len();
                rare.held.push(text);
            }
        }
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

/// The elements of an array as arguments, if it is not nested too deep.
fn arguments(array: Option<&ByteString>, config: &Config) -> Option<Args> {
    let Some(array) = array else {
        return Some(Args::default());
    };
    let scanned = json::scan_array(array.trim_start(), config.packet.max_depth).ok()?;
    Some(Args::from(array.slice_ref(scanned.elements)))
}
