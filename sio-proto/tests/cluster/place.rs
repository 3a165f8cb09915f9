//! One node with one namespace, and the messages of others for it.

use std::time::Duration;

use sio_proto::broker::{Answer, Command, Event, Request};
use sio_proto::cluster::messages::{Body, ClassicRequest, Envelope, MessageLimits};
use sio_proto::cluster::{Delivery, LocalOrder, Node, Outcome, Outputs, Question, RequestEnd, RequestId};
use sio_proto::{ByteString, Bytes, ClusterConfig, ClusterKind, ShardedMode, StreamsConfig, Time};

use crate::world::{ROOT, all, hear_all};

/// A node with the namespace of all tests, and what it has said.
pub(crate) struct Place {
    pub(crate) node: Node,
    pub(crate) now: Time,
    pub(crate) out: Outputs,
}

pub(crate) fn sharded() -> ClusterConfig {
    let mode = ShardedMode::Dynamic;
    ClusterConfig::default().kind(ClusterKind::Sharded { mode })
}

pub(crate) fn streams() -> ClusterConfig {
    ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()))
}

impl Place {
    pub(crate) fn new(config: &ClusterConfig) -> Self {
        let node = Node::new(config.clone(), Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
        let (now, out) = (Time::ZERO, Outputs::default());
        let mut place = Self { node, now, out };
        place.node.open_namespace(now, &ROOT, &mut place.out);
        hear_all(&mut place.node, &mut place.out);
        place
    }

    pub(crate) fn at(&mut self, seconds: u64) -> &mut Self {
        self.now = Time::ZERO + Duration::from_secs(seconds);
        self
    }

    /// Hears a message on a channel. Returns how many bytes it has.
    pub(crate) fn message(&mut self, channel: &'static str, payload: Bytes) -> usize {
        let (channel, bytes) = (Bytes::from_static(channel.as_bytes()), payload.len());
        let event = Event::Message {
            channel,
            payload,
            sharded: false,
        };
        self.node.handle_broker(self.now, event, &mut self.out);
        bytes
    }

    /// Hears what another node says to all, on their channel.
    pub(crate) fn hear(&mut self, uid: &'static str, body: Body) -> usize {
        let (uid, namespace) = (uid.into(), ROOT);
        let envelope = Envelope { uid, namespace, body };
        self.message("socket.io#/#", envelope.encode_sharded())
    }

    /// Reads what another node has written to the stream.
    pub(crate) fn read(&mut self, uid: &'static str, body: Body) -> usize {
        let (uid, namespace) = (uid.into(), ROOT);
        let fields = Envelope { uid, namespace, body }.encode_entry();
        let bytes = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        let (stream, id) = (Bytes::from_static(b"socket.io"), Bytes::from_static(b"8000-0"));
        self.node
            .handle_broker(self.now, Event::Entry { stream, id, fields }, &mut self.out);
        bytes
    }

    pub(crate) fn ask(&mut self, question: Question) -> RequestId {
        let timeout = None;
        let order = LocalOrder::Ask { question, timeout };
        self.node
            .handle_local(self.now, &ROOT, order, &mut self.out)
            .unwrap()
            .unwrap()
    }

    /// Asks for sockets, and hears that so many nodes are there, with this one.
    pub(crate) fn ask_sockets(&mut self, count: u64) -> RequestId {
        let request = self.ask(Question::Sockets { to: all() });
        self.count(count);
        request
    }

    /// The tag of the question to the broker of this kind that was asked last.
    pub(crate) fn tag(&self, is_kind: impl Fn(&Request) -> bool) -> u64 {
        let mut requests = self.out.commands.iter().rev().filter_map(|command| match command {
            Command::Request { tag, request } if is_kind(request) => Some(*tag),
            _ => None,
        });
        requests.next().unwrap()
    }

    pub(crate) fn count(&mut self, count: u64) {
        let tag = self.tag(|request| matches!(request, Request::Subscribers { .. }));
        let answer = Ok(Answer::Count(count));
        self.node
            .handle_broker(self.now, Event::Answer { tag, answer }, &mut self.out);
    }

    /// The name under which this node has asked last.
    pub(crate) fn name(&self, config: &ClusterConfig) -> ByteString {
        let limits = MessageLimits::from(config);
        let names = self.out.commands.iter().rev().filter_map(|command| {
            let body = match command {
                Command::Publish { payload, .. } if config.kind == ClusterKind::Classic => {
                    return ClassicRequest::decode(payload, &limits).unwrap().request_id;
                }
                Command::Publish { payload, .. } => Envelope::decode(payload, &limits).unwrap().body,
                Command::Request {
                    request: Request::AddEntry { fields, .. },
                    ..
                } => Envelope::decode_entry(fields, &limits).unwrap().body,
                _ => return None,
            };
            match body {
                Body::Fetch { request_id, .. } => Some(request_id),
                Body::Broadcast { request_id, .. } | Body::ServerSideEmit { request_id, .. } => request_id,
                _ => None,
            }
        });
        names.into_iter().next().unwrap()
    }

    /// What was written to the stream since the last look.
    pub(crate) fn said(&mut self) -> Vec<Body> {
        let limits = MessageLimits::from(&streams());
        let commands = std::mem::take(&mut self.out.commands).into_iter();
        let entries = commands.filter_map(|command| match command {
            Command::Request {
                request: Request::AddEntry { fields, .. },
                ..
            } => Some(Envelope::decode_entry(&fields, &limits).unwrap().body),
            _ => None,
        });
        entries.collect()
    }

    /// How a request has ended, if it has.
    pub(crate) fn end(&mut self, request: RequestId) -> Option<RequestEnd> {
        let deliveries = std::mem::take(&mut self.out.deliveries).into_iter();
        let mut ends = deliveries.filter_map(|delivery| match delivery {
            Delivery::Ended { request: ended, end } if ended == request => Some(end),
            _ => None,
        });
        ends.next()
    }

    /// The time comes at which a request is given up.
    pub(crate) fn give_up(&mut self, request: RequestId) -> RequestEnd {
        self.now = self.node.next_timeout().unwrap();
        self.node.handle_timeout(self.now, &mut self.out);
        let end = self.end(request).unwrap();
        assert_eq!(end.outcome, Outcome::Deadline);
        end
    }

    /// The names of the nodes that are known.
    pub(crate) fn known(&self) -> Vec<&str> {
        let nodes = self.node.nodes(self.now, "/");
        nodes.map(|(node, _)| &**node.as_text()).collect()
    }
}
