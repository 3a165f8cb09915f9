//! The effects of packets of a 0.7-0.9 client (docs/protocol/legacy-0.9.md §4, §11, §13).
//!
//! | packet | delivery |
//! |---|---|
//! | `1::/ns?query` | asks for the namespace; this query and the query of the handshake are its `auth` |
//! | `3`, `4` | the event `message` with this one argument |
//! | `5` | the event |
//! | `3`, `4`, `5` with `ID+` | the event, with a request for an acknowledgement |
//! | any packet with `ID` | the server acknowledges it at once |
//! | `6` | the acknowledgement |
//! | text that is no packet, and events with reserved names | nothing; the session lives |
//!
//! Packets for a namespace that the client has not joined are kept until it has, up to a limit:
//! after a reconnect, genuine clients send their buffered packets before they join.

use alloc::vec::Vec;

use bytes::BytesMut;
use bytestring::ByteString;

use super::{At, Farewell, Fate, Legacy09, legacy09_of};
use crate::legacy::legacy09::values::{self, endpoint, namespace_in, namespace_of};
use crate::legacy::legacy09::{Body, Id, Packet};
use crate::server::shard::kept_too_much;
use crate::server::{Auth, Breach, BreachKind, Reason, Standing, State};
use crate::socket::text::DecodeError;
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
            Inbound::LeftOut(breach, times) => return Ok(self.after(breach, times)),
            _ => return Ok(self),
        };
        if !self.is_handshaken() {
            return Ok(self);
        }
        if self.session.state == State::Closing {
            // Only a goodbye is accepted now.
            if packet.body == Body::Disconnect && packet.endpoint.is_empty() {
                return Err(self.finish(Reason::TransportClose, Farewell::Nothing));
            }
            return Ok(self);
        }
        let limits = &self.core.config.packet;
        if packet.endpoint.len() > limits.max_namespace_bytes.saturating_add(limits.max_query_bytes) {
            // Answers would repeat it.
            let breach = Breach::new(BreachKind::Namespace, "an endpoint longer than any namespace and query");
            return Ok(self.after(breach, 1));
        }
        // A client that asks for acknowledgements and does not fetch them gets no more of them.
        if let Some(id) = packet.id.as_ref().filter(|id| !id.by_application)
            && !self.is_full()
        {
            self.acknowledge_receipt(&packet.endpoint, id);
        }
        match namespace_of(&packet) {
            Some(namespace) => self.receive_in(namespace, &packet),
            None => {
                let breach = Breach::new(BreachKind::Namespace, "an endpoint that names no namespace");
                Ok(self.after(breach, 1))
            }
        }
    }

    /// The cursor after a breach that does not end the session.
    #[cold]
    fn after(mut self, breach: Breach, times: u32) -> Self {
        self.tolerated(breach, times);
        self
    }

    /// A packet for a namespace.
    fn receive_in(mut self, namespace: ByteString, packet: &Packet) -> Fate<'a> {
        match &packet.body {
            Body::Connect(_) if !self.may_connect() => {
                let breach = Breach::new(BreachKind::Limit, "more CONNECTs than a second has room for");
                self.broke(breach);
                return self.close(Reason::ForcedClose);
            }
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
                    self.legacy09().unconfirmed.confirm_heartbeat();
                    self.next_heartbeat();
                }
            }
            Body::Message(_) | Body::Json(_) | Body::Event { .. } => match self.socket_in(&namespace) {
                Some((socket, Standing::Connected)) => self.deliver_or_note(socket, packet),
                Some((_, Standing::Asked)) | None => {
                    if let Err(breach) = self.hold(packet) {
                        self.tolerated(breach, 1);
                    }
                    if !self.weigh() {
                        self.broke(kept_too_much());
                        return self.close(Reason::ForcedClose);
                    }
                }
            },
            Body::Ack { id, args } => {
                // An id that is no number was not sent by this server, and is not owed.
                if let (Some((socket, Standing::Connected)), Ok(id)) = (self.socket_in(&namespace), id.parse()) {
                    match arguments(args.as_ref(), &self.core.config) {
                        Ok(args) => self.acknowledged(socket, id, args),
                        Err(breach) => self.tolerated(breach, 1),
                    }
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

    /// The client wants to join a namespace. The answer has the endpoint that the client has used,
    /// including its query (docs/protocol/legacy-0.9.md §11).
    ///
    /// It is answered even if the queue is full of the user's messages, because a client asks once.
    /// CONNECTs have a limit per second, and a session whose answers become too many is ended.
    fn connect(&mut self, packet: &Packet, namespace: ByteString, query: &ByteString) {
        match self.socket_in(&namespace) {
            // A repeated `1::`. Genuine servers connect the client a second time.
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
                // It is copied, within its limit, because it may be a slice of a receive buffer.
                let auth = Auth::Query(if fits { ByteString::from(own) } else { ByteString::new() });
                if *packet.endpoint != *namespace && fits {
                    let rare = self.legacy09().rare.get_or_insert_default();
                    // They are copied, because both may be slices of a receive buffer.
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

    /// A message or an event for the user. If it breaks a rule, the breach is recorded.
    fn deliver_or_note(&mut self, socket: SocketKey, packet: &Packet) {
        if let Err(breach) = self.deliver(socket, packet) {
            self.tolerated(breach, 1);
        }
    }

    fn deliver(&mut self, socket: SocketKey, packet: &Packet) -> Result<(), Breach> {
        // An id that does not fit our number type can be acknowledged on receipt, but not later.
        let by_application = packet.id.as_ref().filter(|id| id.by_application);
        let ack = by_application.and_then(|id| id.digits.parse().ok());
        let message = ByteString::from_static("message");
        let limits = &self.core.config.packet;
        match &packet.body {
            Body::Message(text) => {
                self.event(socket, message, Args::from(json::string(text)), ack);
            }
            Body::Json(value) => {
                json::validate(value, limits.max_depth).map_err(broken_packet)?;
                self.event(socket, message, Args::from(value.clone()), ack);
            }
            Body::Event { name, .. } if is_reserved_event(name) => {
                return Err(broken_packet(DecodeError::ReservedEvent));
            }
            Body::Event { name, .. } if name.len() > limits.max_event_name_bytes => {
                return Err(broken_packet(DecodeError::EventNameTooLong));
            }
            Body::Event { name, args } => {
                let args = arguments(Some(args), &self.core.config)?;
                self.event(socket, name.clone(), args, ack);
            }
            Body::Disconnect
            | Body::Connect(_)
            | Body::Heartbeat
            | Body::Ack { .. }
            | Body::Error { .. }
            | Body::Noop => {}
        }
        Ok(())
    }

    /// Keeps a packet for a namespace that the client may still join.
    fn hold(&mut self, packet: &Packet) -> Result<(), Breach> {
        let config = &self.core.config;
        let (max_packets, max_bytes) = (config.legacy09.max_unjoined_packets, config.max_payload);
        let rare = self.legacy09().rare.get_or_insert_default();
        let too_much = || Breach::new(BreachKind::Limit, "too much for namespaces that have not been joined");
        // The packet is at least as long as its texts. So nothing is encoded in vain.
        if rare.held.len() >= max_packets || rare.held_bytes + packet.bytes() > max_bytes {
            return Err(too_much());
        }
        let mut text = BytesMut::new();
        packet.encode(&mut text);
        if rare.held_bytes + text.len() > max_bytes {
            return Err(too_much());
        }
        rare.held_bytes += text.len();
        // It was encoded as text. The copy has no more memory than the text needs.
        let text = core::str::from_utf8(&text).ok();
        rare.held.extend(text.map(ByteString::from));
        Ok(())
    }

    /// Delivers the packets that were kept for a namespace that has been joined.
    pub(super) fn release(&mut self, namespace: &str, socket: SocketKey) {
        for text in self.take_held(namespace) {
            step!(bulk text.len());
            // The text was encoded from a packet, so it is a packet.
            if let Ok(packet) = Packet::decode(&text) {
                self.deliver_or_note(socket, &packet);
            }
        }
    }

    /// Takes out the packets that were kept for a namespace. They are not decoded: this is also how
    /// they are dropped if the client may not join it.
    pub(super) fn take_held(&mut self, namespace: &str) -> Vec<ByteString> {
        let Some(rare) = &mut self.legacy09().rare else {
            return Vec::new();
        };
        step!(each rare.held.len());
        let is_for = |text: &mut ByteString| namespace_in(text).is_some_and(|of| of == namespace);
        let taken: Vec<ByteString> = rare.held.extract_if(.., is_for).collect();
        if !taken.is_empty() {
            rare.held.shrink_to_fit();
            rare.held_bytes = rare.held.iter().map(|text| text.len()).sum();
            // Fewer bytes than before always have room.
            let _ = self.weigh();
        }
        taken
    }
}

/// The packet of this frame for a client that knows its namespace by another endpoint.
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

/// The breach of a packet whose parts have been read.
#[cold]
fn broken_packet(error: impl Into<DecodeError>) -> Breach {
    Breach::new(BreachKind::SocketPacket, error.into())
}

/// The elements of an array as arguments, if the array is not nested too deep.
fn arguments(array: Option<&ByteString>, config: &Config) -> Result<Args, Breach> {
    values::arguments(array, config.packet.max_depth).map_err(broken_packet)
}
