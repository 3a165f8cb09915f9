//! From what the broker brings to messages: which of it concerns this node, and what it says.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use super::Node;
use super::channels::{Place, Purpose};
use crate::broker::{Entry, Event};
use crate::cluster::delivery::Medium;
use crate::cluster::messages::{Broadcast, ClassicRequest, ClassicResponse, Envelope, MessageLimits, NUMBER};
use crate::cluster::seal::{self, Doubt, Stamp};
use crate::{ClusterConfig, ClusterKind, Secret};

/// Something that the broker has brought for this node, not read yet.
#[derive(Debug)]
pub struct Unread(What);

#[derive(Debug)]
enum What {
    /// A message on a channel.
    Message {
        place: Place,
        channel: Bytes,
        payload: Bytes,
        /// Whether other namespaces of this node have the same channel.
        is_shared: bool,
    },
    /// An entry of a stream.
    Entry {
        stream: Bytes,
        id: Bytes,
        fields: Vec<(Bytes, Bytes)>,
    },
    /// An own order in a stream, and its number.
    Echo {
        namespace: ByteString,
        number: u64,
        stream: Bytes,
        id: Bytes,
        fields: Vec<(Bytes, Bytes)>,
    },
    /// There is nothing to read.
    Event(Event),
}

/// Something that the broker has brought, read.
#[derive(Debug)]
pub struct Message {
    pub(super) content: Content,
    /// What its signature says, if it has one that fits.
    pub(super) signed: Option<Signed>,
}

/// A signature that fits.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) stamp: Stamp,
    /// When the entry was stored, in milliseconds since 1970, for an entry of a stream.
    pub(super) stored: Option<u64>,
}

#[derive(Debug)]
pub(super) enum Content {
    Broadcast(Broadcast, usize),
    Request(ByteString, ClassicRequest, usize),
    /// And whether other namespaces of this node have the same channel.
    Response(ByteString, ClassicResponse, usize, bool),
    Envelope(Envelope, Source),
    /// An own order was read from the stream: its namespace, its number, the id of its entry.
    Echo(ByteString, u64, Bytes),
    Event(Event),
    /// It could not be read, or is too large.
    Malformed,
    /// It is on a channel of another namespace than its own.
    Misplaced,
    /// It has no signature.
    Unsigned,
    /// Its signature is not that of a holder of the secret for this message in this place.
    Forged,
}

/// Why something is not read.
enum Disbelief {
    TooLarge,
    Doubt(Doubt),
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
    secrets: Vec<Secret>,
    accept_unsigned: bool,
    /// In milliseconds.
    max_age: u64,
}

impl Reader {
    pub(in crate::cluster) fn new(config: &ClusterConfig) -> Self {
        Self {
            is_classic: config.kind == ClusterKind::Classic,
            limits: MessageLimits::from(config),
            secrets: config.secrets.clone(),
            accept_unsigned: config.accept_unsigned,
            max_age: u64::try_from(config.signature_age.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Whether an entry of a stream was stored by a node that knows the secret, when it was signed.
    /// Entries are read again for each client that comes back, so the guard of the node is not
    /// asked for its number. `taken` has the sender and number of the entries that this client gets
    /// already, and gets those of this one.
    pub(in crate::cluster) fn believes(&self, stream: &[u8], entry: &Entry, taken: &mut BTreeSet<(u64, u64)>) -> bool {
        match self.signer_of(stream, entry) {
            Some(Some(signer)) => taken.insert(signer),
            believed => believed.is_some(),
        }
    }

    /// Returns who has signed an entry of a stream, and its number, if it was stored when it was
    /// signed. `None` if it is not believed; `Some(None)` if it is believed without a signature.
    pub(in crate::cluster) fn signer_of(&self, stream: &[u8], entry: &Entry) -> Option<Option<(u64, u64)>> {
        if self.secrets.is_empty() {
            return Some(None);
        }
        match seal::verify_entry(&self.secrets, stream, &entry.fields) {
            Ok(stamp) => {
                let stored = seal::milliseconds_of(&entry.id);
                let is_young = stored.is_some_and(|stored| stored.abs_diff(stamp.milliseconds) <= self.max_age);
                is_young.then_some(Some((stamp.sender, stamp.number)))
            }
            Err(Doubt::Unsigned) => self.accept_unsigned.then_some(None),
            Err(Doubt::Forged) => None,
        }
    }

    /// Whether a record was written by a node that knows the secret, for this key. Returns whether
    /// it is signed.
    pub(in crate::cluster) fn believes_record(&self, key: &[u8], record: &[u8]) -> Result<bool, Doubt> {
        if self.secrets.is_empty() {
            return Ok(false);
        }
        let (signed, token) = seal::split(record);
        match seal::verify(&self.secrets, token, Medium::Record, key, signed) {
            Ok(_) => Ok(true),
            Err(Doubt::Unsigned) if self.accept_unsigned => Ok(false),
            Err(doubt) => Err(doubt),
        }
    }

    /// How far the clocks of nodes may be apart.
    pub(in crate::cluster) const fn max_age(&self) -> Duration {
        Duration::from_millis(self.max_age)
    }

    /// Returns the signature of something that the broker has brought, or why it is not believed.
    /// The signature is looked at before anything is read.
    fn signature(&self, what: &What) -> Result<Option<Signed>, Disbelief> {
        let (verified, stored) = match what {
            _ if self.secrets.is_empty() => return Ok(None),
            What::Event(_) => return Ok(None),
            // It is not read if it is too large, so it need not be verified.
            What::Message { payload, .. } if payload.len() > self.limits.max_bytes => return Err(Disbelief::TooLarge),
            What::Message { channel, payload, .. } => {
                let (message, token) = seal::split(payload);
                let verified = seal::verify(&self.secrets, token, Medium::Channel, channel, message);
                (verified, None)
            }
            What::Entry { fields, .. } | What::Echo { fields, .. } if entry_bytes(fields) > self.limits.max_bytes => {
                return Err(Disbelief::TooLarge);
            }
            What::Entry { stream, id, fields } | What::Echo { stream, id, fields, .. } => {
                let verified = seal::verify_entry(&self.secrets, stream, fields);
                (verified, Some(seal::milliseconds_of(id).unwrap_or(0)))
            }
        };
        match verified {
            Ok(stamp) => Ok(Some(Signed { stamp, stored })),
            Err(Doubt::Unsigned) if self.accept_unsigned => Ok(None),
            Err(doubt) => Err(Disbelief::Doubt(doubt)),
        }
    }

    /// Reads something that the broker has brought. [`Node::handle_message`] takes the result.
    #[must_use]
    pub fn read(&self, unread: Unread) -> Message {
        match self.signature(&unread.0) {
            Ok(signed) => Message {
                content: self.content(unread.0),
                signed,
            },
            Err(disbelief) => Message {
                content: match disbelief {
                    Disbelief::TooLarge => Content::Malformed,
                    Disbelief::Doubt(Doubt::Unsigned) => Content::Unsigned,
                    Disbelief::Doubt(Doubt::Forged) => Content::Forged,
                },
                signed: None,
            },
        }
    }

    fn content(&self, what: What) -> Content {
        match what {
            What::Event(event) => Content::Event(event),
            What::Echo {
                namespace, number, id, ..
            } => Content::Echo(namespace, number, id),
            What::Message {
                place,
                payload,
                is_shared,
                ..
            } if self.is_classic => self.classic(place, &payload, is_shared),
            What::Message { place, payload, .. } => match Envelope::decode(&payload, &self.limits) {
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
            What::Entry { id, fields, .. } => match Envelope::decode_entry(&fields, &self.limits) {
                Ok(envelope) => {
                    let source = Source {
                        medium: Medium::Stream,
                        entry: Some(id),
                        bytes: entry_bytes(&fields),
                    };
                    Content::Envelope(envelope, source)
                }
                Err(_) => Content::Malformed,
            },
        }
    }

    fn classic(&self, place: Place, payload: &Bytes, is_shared: bool) -> Content {
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
                Ok(response) => Content::Response(place.namespace, response, bytes, is_shared),
                Err(_) => Content::Malformed,
            },
        }
    }
}

fn entry_bytes(fields: &[(Bytes, Bytes)]) -> usize {
    let bytes = fields
        .iter()
        .map(|(name, value)| name.len().saturating_add(value.len()));
    bytes.fold(0, usize::saturating_add)
}

impl Node {
    /// Looks at what the broker has brought, and keeps in `unread` what concerns this node. Own
    /// messages that come back are only counted, except orders in a stream
    /// ([`Delivery::Echo`](crate::cluster::Delivery::Echo)).
    pub fn recognise(&mut self, event: Event, unread: &mut Vec<Unread>) {
        match event {
            Event::Message { channel, payload, .. } => {
                let places = self.channels.get(&channel).map_or(&[][..], |places| places);
                for place in places {
                    match self.instances.get(&place.namespace) {
                        Some(instance) if instance.is_own(&self.config.kind, &payload) => {
                            self.counters.echoes = self.counters.echoes.saturating_add(1);
                        }
                        Some(_) => unread.push(Unread(What::Message {
                            place: place.clone(),
                            channel: channel.clone(),
                            payload: payload.clone(),
                            is_shared: places.len() > 1,
                        })),
                        None => {}
                    }
                }
            }
            Event::Entry { stream, id, fields } => {
                let field = |wanted: &[u8]| {
                    let mut found = fields.iter().rev().filter(|(name, _)| name == wanted);
                    found.next().map(|(_, value)| value)
                };
                let namespace = field(b"nsp").and_then(|namespace| core::str::from_utf8(namespace).ok());
                let Some(instance) = namespace.and_then(|namespace| self.instances.get(namespace)) else {
                    return;
                };
                if field(b"uid").is_none_or(|uid| uid != instance.id.0.as_bytes()) {
                    return unread.push(Unread(What::Entry { stream, id, fields }));
                }
                self.counters.echoes = self.counters.echoes.saturating_add(1);
                let number =
                    field(NUMBER.as_bytes()).and_then(|number| core::str::from_utf8(number).ok()?.parse().ok());
                if let (Some(number), Some(namespace)) = (number, namespace.map(ByteString::from)) {
                    unread.push(Unread(What::Echo {
                        namespace,
                        number,
                        stream,
                        id,
                        fields,
                    }));
                }
            }
            event => unread.push(Unread(What::Event(event))),
        }
    }
}
