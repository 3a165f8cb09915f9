//! From what the broker brings to messages: which of it concerns this node, and what it says.

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::Node;
use super::channels::{Place, Purpose};
use crate::broker::Event;
use crate::cluster::delivery::Medium;
use crate::cluster::messages::{Broadcast, ClassicRequest, ClassicResponse, Envelope, MessageLimits};
use crate::{ClusterConfig, ClusterKind};

/// Something that the broker has brought for this node, not read yet.
#[derive(Debug)]
pub struct Unread(What);

#[derive(Debug)]
enum What {
    /// A message on a channel.
    Message { place: Place, payload: Bytes },
    /// An entry of a stream.
    Entry { id: Bytes, fields: Vec<(Bytes, Bytes)> },
    /// There is nothing to read.
    Event(Event),
}

/// Something that the broker has brought, read.
#[derive(Debug)]
pub struct Message(pub(super) Content);

#[derive(Debug)]
pub(super) enum Content {
    Broadcast(Broadcast, usize),
    Request(ByteString, ClassicRequest, usize),
    Response(ByteString, ClassicResponse, usize),
    Envelope(Envelope, Source),
    Event(Event),
    /// It could not be read, or is too large.
    Malformed,
    /// It is on a channel of another namespace than its own.
    Misplaced,
}

/// Where an envelope has come from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) medium: Medium,
    /// The id of the entry, in a stream.
    pub(super) entry: Option<Bytes>,
    pub(super) bytes: usize,
}

/// Reads messages of other nodes. It needs no node, so it reads while others use the node.
#[derive(Clone, Debug)]
pub struct Reader {
    is_classic: bool,
    limits: MessageLimits,
}

impl Reader {
    pub(super) fn new(config: &ClusterConfig) -> Self {
        Self {
            is_classic: config.kind == ClusterKind::Classic,
            limits: MessageLimits::from(config),
        }
    }

    /// Reads something that the broker has brought. [`Node::handle_message`] takes the result.
    #[must_use]
    pub fn read(&self, unread: Unread) -> Message {
        Message(match unread.0 {
            What::Event(event) => Content::Event(event),
            What::Message { place, payload } if self.is_classic => self.classic(place, &payload),
            What::Message { place, payload } => match Envelope::decode(&payload, &self.limits) {
                Ok(envelope) if envelope.namespace != place.namespace => Content::Misplaced,
                Ok(envelope) => {
                    let source = Source {
                        medium: Medium::Channel,
                        entry: None,
                        bytes: payload.len(),
                    };
                    Content::Envelope(envelope, source)
                }
                Err(_) => Content::Malformed,
            },
            What::Entry { id, fields } => match Envelope::decode_entry(&fields, &self.limits) {
                Ok(envelope) => {
                    let source = Source {
                        medium: Medium::Stream,
                        entry: Some(id),
                        bytes: fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
                    };
                    Content::Envelope(envelope, source)
                }
                Err(_) => Content::Malformed,
            },
        })
    }

    fn classic(&self, place: Place, payload: &Bytes) -> Content {
        let bytes = payload.len();
        match place.purpose {
            Purpose::Messages => match Broadcast::decode(payload, &self.limits) {
                Ok(mut broadcast) if broadcast.namespace == place.namespace => {
                    // The name in the message would keep the message alive.
                    broadcast.namespace = place.namespace;
                    Content::Broadcast(broadcast, bytes)
                }
                Ok(_) => Content::Misplaced,
                Err(_) => Content::Malformed,
            },
            Purpose::Requests => match ClassicRequest::decode(payload, &self.limits) {
                Ok(request) => Content::Request(place.namespace, request, bytes),
                Err(_) => Content::Malformed,
            },
            Purpose::Responses => match ClassicResponse::decode(payload, &self.limits) {
                Ok(response) => Content::Response(place.namespace, response, bytes),
                Err(_) => Content::Malformed,
            },
        }
    }
}

impl Node {
    /// Looks at what the broker has brought, and keeps in `unread` what concerns this node. Own
    /// messages that come back are only counted.
    pub fn recognise(&mut self, event: Event, unread: &mut Vec<Unread>) {
        match event {
            Event::Message { channel, payload, .. } => {
                for place in self.channels.get(&channel).into_iter().flatten() {
                    match self.instances.get(&place.namespace) {
                        Some(instance) if instance.is_own(&self.config.kind, &payload) => {
                            self.counters.echoes += 1;
                        }
                        Some(_) => unread.push(Unread(What::Message {
                            place: place.clone(),
                            payload: payload.clone(),
                        })),
                        None => {}
                    }
                }
            }
            Event::Entry { id, fields, .. } => {
                let field = |wanted: &[u8]| {
                    let mut found = fields.iter().rev().filter(|(name, _)| name == wanted);
                    found.next().map(|(_, value)| value)
                };
                let namespace = field(b"nsp").and_then(|namespace| core::str::from_utf8(namespace).ok());
                let Some(instance) = namespace.and_then(|namespace| self.instances.get(namespace)) else {
                    return;
                };
                match field(b"uid").is_some_and(|uid| uid == instance.id.0.as_bytes()) {
                    true => self.counters.echoes += 1,
                    false => unread.push(Unread(What::Entry { id, fields })),
                }
            }
            event => unread.push(Unread(What::Event(event))),
        }
    }
}
