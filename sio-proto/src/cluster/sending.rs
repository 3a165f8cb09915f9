//! From what is wanted to what goes to the broker, for nodes and emitters.

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::channels::{Channels, stream};
use super::delivery::Medium;
use super::messages::{Body, ClassicRequest, ClassicResponse, EMITTER, Envelope, RequestBody, encode_broadcast};
use super::order::{Emit, Flags, Order, Question, Recipients};
use super::seal::{Seal, Sealing};
use crate::broker::{Command, Request};
use crate::{ClusterConfig, ClusterKind, StreamsConfig};

/// A message on its way to the broker.
#[derive(Clone, Debug)]
pub(super) enum Outgoing {
    Channel {
        channel: Bytes,
        payload: Bytes,
        sharded: bool,
    },
    Entry {
        stream: Bytes,
        max_len: u64,
        fields: Vec<(Bytes, Bytes)>,
    },
}

impl Outgoing {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Channel { payload, .. } => payload.len(),
            Self::Entry { fields, .. } => fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
        }
    }

    /// The command. An entry is a request, whose answer has the tag. An entry in order needs the
    /// number of entries that are known to have failed.
    pub(super) fn command(self, tag: u64, known_failures: Option<u64>) -> Command {
        match self {
            Self::Channel {
                channel,
                payload,
                sharded,
            } => Command::Publish {
                channel,
                payload,
                sharded,
            },
            Self::Entry {
                stream,
                max_len,
                fields,
            } => Command::Request {
                tag,
                request: Request::AddEntry {
                    stream,
                    max_len,
                    fields,
                    known_failures,
                },
            },
        }
    }
}

/// Writes the messages of one sender in one namespace.
pub(super) struct Sender<'a> {
    pub(super) config: &'a ClusterConfig,
    pub(super) uid: &'a ByteString,
    pub(super) namespace: &'a ByteString,
    /// What signs the message, if the cluster has a secret.
    pub(super) seal: Option<&'a Seal>,
}

impl Sender<'_> {
    fn sealing<'a>(&'a self, place: &'a [u8]) -> Option<Sealing<'a>> {
        let medium = Medium::Channel;
        self.seal.map(|seal| Sealing { seal, medium, place })
    }

    const fn channels(&self) -> Channels<'_> {
        Channels(self.config)
    }

    /// With the streams adapter, the entry has this number, by which its sender knows it when it
    /// reads it.
    pub(super) fn order(&self, order: Order, number: Option<u64>) -> Outgoing {
        match &self.config.kind {
            ClusterKind::Classic => self.classic_order(order),
            ClusterKind::Sharded { .. } => {
                let channel = match &order {
                    Order::Broadcast { to, .. } => self.channels().broadcast(self.namespace, &to.rooms),
                    Order::Join { .. } | Order::Leave { .. } | Order::Disconnect { .. } => {
                        self.channels().everything(self.namespace)
                    }
                };
                let payload = self
                    .envelope(order_body(order))
                    .encode_sharded_for(self.sealing(&channel));
                self.publish(channel, payload)
            }
            ClusterKind::Streams(streams) => self.numbered_entry(streams, order_body(order), number),
        }
    }

    /// A broadcast with the number of [`Sender::order`]. The caller keeps its parts.
    pub(super) fn broadcast(&self, to: Recipients<'_>, flags: Flags, emit: Emit, number: Option<u64>) -> Outgoing {
        match &self.config.kind {
            ClusterKind::Classic => self.classic_broadcast(to, flags, &emit),
            ClusterKind::Sharded { .. } | ClusterKind::Streams(_) => {
                let to = to.to_target();
                self.order(Order::Broadcast { to, flags, emit }, number)
            }
        }
    }

    fn classic_broadcast(&self, to: Recipients<'_>, flags: Flags, emit: &Emit) -> Outgoing {
        let channel = self.channels().broadcast(self.namespace, to.rooms);
        let sealing = self.sealing(&channel);
        let payload = encode_broadcast(self.uid, self.namespace, to, flags, emit, sealing);
        self.publish(channel, payload)
    }

    fn classic_order(&self, order: Order) -> Outgoing {
        let body = match order {
            Order::Broadcast { to, flags, emit } => return self.classic_broadcast((&to).into(), flags, &emit),
            Order::Join { to, rooms } => RequestBody::Join { to, rooms },
            Order::Leave { to, rooms } => RequestBody::Leave { to, rooms },
            Order::Disconnect { to, close } => RequestBody::Disconnect { to, close },
        };
        // Emitters do not sign these, and genuine nodes do not look.
        let uid = (self.uid != EMITTER).then(|| self.uid.clone());
        self.classic_request(uid, None, body)
    }

    fn classic_request(&self, uid: Option<ByteString>, request_id: Option<ByteString>, body: RequestBody) -> Outgoing {
        let request = ClassicRequest { uid, request_id, body };
        let channel = self.channels().requests(self.namespace);
        let payload = request.encode_for(self.sealing(&channel));
        self.publish(channel, payload)
    }

    /// An event for the servers. `in_stream` is whether there are nodes that only read the stream.
    pub(super) fn server_side_emit(&self, emit: Emit, in_stream: bool) -> Outgoing {
        match &self.config.kind {
            ClusterKind::Classic => {
                self.classic_request(Some(self.uid.clone()), None, RequestBody::ServerSideEmit(emit))
            }
            ClusterKind::Sharded { .. } | ClusterKind::Streams(_) => {
                let request_id = None;
                self.to_all(Body::ServerSideEmit { emit, request_id }, in_stream)
            }
        }
    }

    pub(super) fn question(&self, question: Question, request: &ByteString, in_stream: bool) -> Outgoing {
        let request_id = request.clone();
        if self.config.kind == ClusterKind::Classic {
            let body = match question {
                Question::Sockets { to } => RequestBody::Fetch(to),
                Question::ServerSideEmit { emit } => RequestBody::ServerSideEmit(emit),
                Question::Acks { to, flags, emit } => RequestBody::Broadcast {
                    namespace: self.namespace.clone(),
                    to,
                    flags,
                    emit,
                },
            };
            return self.classic_request(Some(self.uid.clone()), Some(request_id), body);
        }
        let body = match question {
            Question::Sockets { to } => Body::Fetch { to, request_id },
            Question::ServerSideEmit { emit } => Body::ServerSideEmit {
                emit,
                request_id: Some(request_id),
            },
            Question::Acks { to, flags, emit } => Body::Broadcast {
                to,
                flags,
                emit,
                request_id: Some(request_id),
            },
        };
        self.to_all(body, in_stream)
    }

    /// A message that is not kept, for all nodes.
    fn to_all(&self, body: Body, in_stream: bool) -> Outgoing {
        match &self.config.kind {
            ClusterKind::Streams(streams) if in_stream => self.entry(streams, body),
            _ => self.envelope_to(self.channels().everything(self.namespace), body),
        }
    }

    pub(super) fn envelope_to(&self, channel: Bytes, body: Body) -> Outgoing {
        let (envelope, sealing) = (self.envelope(body), self.sealing(&channel));
        let payload = match self.config.kind {
            ClusterKind::Streams(_) => envelope.encode_message_pack_for(sealing),
            ClusterKind::Classic | ClusterKind::Sharded { .. } => envelope.encode_sharded_for(sealing),
        };
        self.publish(channel, payload)
    }

    pub(super) fn entry(&self, streams: &StreamsConfig, body: Body) -> Outgoing {
        self.numbered_entry(streams, body, None)
    }

    fn numbered_entry(&self, streams: &StreamsConfig, body: Body, number: Option<u64>) -> Outgoing {
        let stream = stream(streams, self.namespace);
        Outgoing::Entry {
            max_len: streams.max_entries,
            fields: self.envelope(body).encode_entry_for(number, self.sealing(&stream)),
            stream,
        }
    }

    fn envelope(&self, body: Body) -> Envelope {
        Envelope {
            uid: self.uid.clone(),
            namespace: self.namespace.clone(),
            body,
        }
    }

    /// An answer of the classic adapter.
    pub(super) fn classic_response(&self, channel: Bytes, response: &ClassicResponse) -> Outgoing {
        let payload = response.encode_for(self.sealing(&channel));
        self.publish(channel, payload)
    }

    const fn publish(&self, channel: Bytes, payload: Bytes) -> Outgoing {
        Outgoing::Channel {
            channel,
            payload,
            sharded: self.channels().sharded(),
        }
    }
}

fn order_body(order: Order) -> Body {
    match order {
        Order::Broadcast { to, flags, emit } => Body::Broadcast {
            to,
            flags,
            emit,
            request_id: None,
        },
        Order::Join { to, rooms } => Body::Join { to, rooms },
        Order::Leave { to, rooms } => Body::Leave { to, rooms },
        Order::Disconnect { to, close } => Body::Disconnect { to, close },
    }
}
