//! What other nodes have said.

use bytestring::ByteString;

use super::reading::{Content, Message, Signed, Source};
use super::{Node, count};
use crate::cluster::delivery::{Asker, Delivery, Medium, RequestId, Wants};
use crate::cluster::messages::{
    Body, Broadcast, ClassicRequest, ClassicResponse, EMITTER, Envelope, RequestBody, ResponseBody, SingleBody,
};
use crate::cluster::order::{NodeId, Order, Target};
use crate::cluster::output::Outputs;
use crate::cluster::seal::{Old, milliseconds_of};
use crate::cluster::voice::Asked;
use crate::{ClusterKind, Time, keep};

impl Node {
    /// Takes what a [`Reader`](super::Reader) has read.
    pub fn handle_message(&mut self, now: Time, message: Message, out: &mut Outputs) {
        let Message { content, signed } = message;
        // Two namespaces can share a channel, and then the same message is read for both. The copy
        // for the wrong one must not use its number up. An answer does not say for which namespace
        // it is, but its question does.
        let is_misplaced = match &content {
            Content::Misplaced => true,
            Content::Response(namespace, response, _, true) => {
                self.requests.find(namespace, &response.request_id).is_none()
            }
            _ => false,
        };
        if is_misplaced {
            self.counters.misplaced += 1;
            return;
        }
        // An own entry that comes twice is the second time one that nobody waits for.
        let is_own = matches!(content, Content::Echo(..));
        if !is_own && signed.is_some_and(|signed| !self.is_new(now, &signed)) {
            return;
        }
        match content {
            Content::Event(event) => self.handle_event(now, event, out),
            Content::Broadcast(broadcast, bytes) => self.hear_broadcast(now, broadcast, bytes, out),
            Content::Request(namespace, request, bytes) => self.hear_request(now, namespace, request, bytes, out),
            Content::Response(namespace, response, bytes, _) => {
                self.hear_response(now, &namespace, response, bytes, out);
            }
            Content::Echo(namespace, number, entry) => out.deliveries.push(Delivery::Echo {
                namespace,
                request: RequestId(number),
                entry,
            }),
            Content::Envelope(envelope, source) => self.hear_envelope(now, envelope, source, out),
            Content::Malformed => self.counters.malformed += 1,
            // Counted above.
            Content::Misplaced => {}
            Content::Unsigned => self.counters.unsigned += 1,
            Content::Forged => self.counters.forged += 1,
        }
    }

    /// Whether a signed message has not come before, and is young enough.
    fn is_new(&mut self, now: Time, signed: &Signed) -> bool {
        let medium = match signed.stored {
            Some(_) => Medium::Stream,
            None => Medium::Channel,
        };
        let moment = signed.stored.unwrap_or_else(|| self.signer.milliseconds(now));
        let max_age = self.config.signature_age;
        // A node signs in both media.
        let max_senders = self.config.max_nodes.saturating_mul(2);
        match self.guard.take(signed.stamp, medium, moment, max_age, max_senders) {
            Ok(()) => return true,
            Err(Old::Stale) => self.counters.stale += 1,
            Err(Old::Replayed) => self.counters.replayed += 1,
            Err(Old::TooMany) => self.counters.forgotten += 1,
        }
        false
    }

    /// Remembers a node. Emitters are no nodes. Returns nothing for a message of our own.
    fn hear_node(&mut self, now: Time, namespace: &str, uid: &ByteString) -> Option<NodeId> {
        let node = NodeId(uid.clone());
        let instance = self.instances.get_mut(namespace)?;
        if instance.id == node {
            self.counters.echoes += 1;
            return None;
        }
        if uid != EMITTER && !instance.peers.hear(now, &node, self.config.max_nodes) {
            self.counters.forgotten += 1;
        }
        Some(node)
    }

    fn note_signature(&mut self, namespace: &str, node: &NodeId) {
        if let Some(instance) = self.instances.get_mut(namespace) {
            instance.peers.signs(node);
        }
    }

    fn hear_broadcast(&mut self, now: Time, broadcast: Broadcast, bytes: usize, out: &mut Outputs) {
        let namespace = broadcast.namespace;
        if self.hear_node(now, &namespace, &broadcast.uid).is_none() {
            return;
        }
        count(&mut self.counters.received, bytes, |traffic| &mut traffic.broadcasts);
        out.deliveries.push(Delivery::CarryOut {
            namespace,
            order: Order::Broadcast {
                to: broadcast.to,
                flags: broadcast.flags,
                emit: broadcast.emit,
            },
            entry: None,
            confirm: None,
        });
    }

    fn hear_request(
        &mut self,
        now: Time,
        namespace: ByteString,
        request: ClassicRequest,
        bytes: usize,
        out: &mut Outputs,
    ) {
        if !self.instances.contains_key(&namespace) {
            return;
        }
        let node = match &request.uid {
            Some(uid) => match self.hear_node(now, &namespace, uid) {
                Some(node) => Some(node),
                None => return,
            },
            None => None,
        };
        if matches!(&request.body, RequestBody::Broadcast { namespace: other, .. } if *other != namespace) {
            self.counters.misplaced += 1;
            return;
        }
        count(&mut self.counters.received, bytes, |traffic| match &request.body {
            RequestBody::Join { .. } | RequestBody::Leave { .. } | RequestBody::Disconnect { .. } => {
                &mut traffic.orders
            }
            RequestBody::Single(..) => &mut traffic.orders,
            RequestBody::ServerSideEmit(_) if request.request_id.is_none() => &mut traffic.server_side_emits,
            _ => &mut traffic.questions,
        });
        out.deliveries.push(request_delivery(namespace, node, request));
    }

    fn hear_response(
        &mut self,
        now: Time,
        namespace: &ByteString,
        response: ClassicResponse,
        bytes: usize,
        out: &mut Outputs,
    ) {
        let node = match &response.uid {
            Some(uid) => match self.hear_node(now, namespace, uid) {
                Some(node) => Some(node),
                None => return,
            },
            None => None,
        };
        if let Some(node) = &node {
            self.note_signature(namespace, node);
        }
        count(&mut self.counters.received, bytes, |traffic| &mut traffic.answers);
        let answer = match response.body {
            ResponseBody::Sockets { sockets, left_out } => Heard::Sockets(sockets, left_out),
            ResponseBody::ServerSideEmit(value) => Heard::Value(value),
            ResponseBody::ClientCount(recipients) => Heard::Recipients(recipients),
            ResponseBody::Ack(value) => Heard::Ack(value),
            // An answer without sockets. A genuine node would wait until its deadline.
            ResponseBody::Done => Heard::Sockets(alloc::vec![], 0),
            // This node does not ask for ids and rooms, so another one does.
            ResponseBody::Ids(_) | ResponseBody::Rooms(_) => return,
        };
        self.hear_answer(now, namespace, node.as_ref(), &response.request_id, answer, bytes, out);
    }

    fn hear_envelope(&mut self, now: Time, envelope: Envelope, source: Source, out: &mut Outputs) {
        let Source { medium, entry, bytes } = source;
        if let Some(stored) = entry.as_deref().and_then(milliseconds_of) {
            self.counters.stream_lag_millis = self.signer.milliseconds(now).saturating_sub(stored);
        }
        let namespace = envelope.namespace;
        let Some(node) = self.hear_node(now, &namespace, &envelope.uid) else {
            return;
        };
        if *node.0 != *EMITTER && medium == Medium::Channel {
            self.note_signature(&namespace, &node);
        }
        // An asker is kept for longer than its message.
        let asker = |request: ByteString, wants| Asker {
            namespace: ByteString::from(&*namespace),
            node: Some(node.detached()),
            request: ByteString::from(&*request),
            medium,
            wants,
        };
        let received = &mut self.counters.received;
        let order = match envelope.body {
            Body::InitialHeartbeat | Body::Heartbeat { .. } | Body::Close => {
                count(received, bytes, |traffic| &mut traffic.heartbeats);
                return self.hear_heartbeat(now, &namespace, &node, envelope.body, out);
            }
            Body::Sockets { .. } | Body::ServerSideAnswer { .. } | Body::ClientCount { .. } | Body::Ack { .. } => {
                count(received, bytes, |traffic| &mut traffic.answers);
                let (request, answer) = match envelope.body {
                    Body::Sockets {
                        request_id,
                        sockets,
                        left_out,
                    } => (request_id, Heard::Sockets(sockets, left_out)),
                    Body::ServerSideAnswer { request_id, value } => (request_id, Heard::Value(value)),
                    Body::ClientCount { request_id, count } => (request_id, Heard::Recipients(count)),
                    Body::Ack { request_id, value } => (request_id, Heard::Ack(value)),
                    _ => return,
                };
                return self.hear_answer(now, &namespace, Some(&node), &request, answer, bytes, out);
            }
            Body::Broadcast {
                to,
                flags,
                emit,
                request_id: Some(request),
            } => {
                count(received, bytes, |traffic| &mut traffic.questions);
                let asker = asker(request, Wants::Acks);
                return out.deliveries.push(Delivery::Ask { asker, to, flags, emit });
            }
            Body::Fetch { to, request_id } => {
                count(received, bytes, |traffic| &mut traffic.questions);
                let asker = asker(request_id, Wants::Sockets);
                let ids = false;
                return out.deliveries.push(Delivery::Fetch { asker, to, ids });
            }
            Body::ServerSideEmit { emit, request_id } => {
                count(received, bytes, |traffic| match request_id {
                    Some(_) => &mut traffic.questions,
                    None => &mut traffic.server_side_emits,
                });
                let asker = request_id.map(|request| asker(request, Wants::Value));
                return out.deliveries.push(Delivery::ServerSideEmit { namespace, emit, asker });
            }
            Body::Broadcast { to, flags, emit, .. } => Order::Broadcast { to, flags, emit },
            // The names of rooms are kept for as long as a socket is in them.
            Body::Join { to, mut rooms } => {
                rooms.iter_mut().for_each(keep::text);
                Order::Join { to, rooms }
            }
            Body::Leave { to, rooms } => Order::Leave { to, rooms },
            Body::Disconnect { to, close } => Order::Disconnect { to, close },
        };
        count(received, bytes, |traffic| match order {
            Order::Broadcast { .. } => &mut traffic.broadcasts,
            Order::Join { .. } | Order::Leave { .. } | Order::Disconnect { .. } => &mut traffic.orders,
        });
        out.deliveries.push(Delivery::CarryOut {
            namespace,
            order,
            entry,
            confirm: None,
        });
    }

    fn hear_heartbeat(&mut self, now: Time, namespace: &ByteString, node: &NodeId, body: Body, out: &mut Outputs) {
        if !matches!(self.config.kind, ClusterKind::Streams(_)) || *node.0 == *EMITTER {
            return;
        }
        let subscribes = match body {
            Body::Close => return self.lose(now, namespace, node, out),
            Body::Heartbeat { subscribes } => subscribes,
            _ => false,
        };
        let Some(instance) = self.instances.get_mut(namespace) else {
            return;
        };
        let news = !instance.peers.has_stream_only();
        instance.peers.beats(node, !subscribes);
        if !self.beating.contains(namespace) {
            self.beating.insert(ByteString::from(&**namespace));
        }
        if body == Body::InitialHeartbeat || (news && !subscribes) {
            self.beat(now, namespace, Body::Heartbeat { subscribes: true }, out);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what an answer is, and what it answers")]
    fn hear_answer(
        &mut self,
        now: Time,
        namespace: &ByteString,
        node: Option<&NodeId>,
        request: &ByteString,
        answer: Heard,
        bytes: usize,
        out: &mut Outputs,
    ) {
        let kind = match &answer {
            Heard::Sockets(..) => Asked::Sockets,
            Heard::Value(_) => Asked::Values,
            Heard::Recipients(_) | Heard::Ack(_) => Asked::Acks,
        };
        let taken = match &answer {
            Heard::Ack(_) => self.take_ack(namespace, request, bytes),
            _ => self.take_answer(namespace, request, node, kind, bytes),
        };
        let Some(number) = taken else { return };
        let request = RequestId(number);
        out.deliveries.push(match answer {
            Heard::Sockets(sockets, left_out) => Delivery::Sockets {
                request,
                sockets,
                left_out,
            },
            Heard::Value(value) => Delivery::Answer { request, value },
            Heard::Ack(value) => Delivery::Ack { request, value },
            Heard::Recipients(count) => {
                if let Some(pending) = self.requests.get_mut(number) {
                    pending.expect(count);
                }
                Delivery::Recipients { request, count }
            }
        });
        self.end_if_complete(now, number, out);
    }
}

/// An answer, from any adapter.
enum Heard {
    /// And how many were left out.
    Sockets(alloc::vec::Vec<crate::cluster::order::RemoteSocket>, u64),
    Value(crate::socket::Args),
    Recipients(u64),
    Ack(crate::socket::Args),
}

/// What a request of the classic adapter means here.
fn request_delivery(namespace: ByteString, node: Option<NodeId>, request: ClassicRequest) -> Delivery {
    let ClassicRequest { request_id, body, .. } = request;
    // An asker is kept for longer than its message.
    let asker = |wants| Asker {
        namespace: namespace.clone(),
        node: node.as_ref().map(NodeId::detached),
        request: ByteString::from(request_id.as_deref().unwrap_or_default()),
        medium: Medium::Channel,
        wants,
    };
    let mut confirm = None;
    let order = match body {
        RequestBody::Sockets(rooms) => {
            let asker = asker(Wants::Ids);
            let except = alloc::vec![];
            let to = Target { rooms, except };
            return Delivery::Fetch { asker, to, ids: true };
        }
        RequestBody::Fetch(to) => {
            let asker = asker(Wants::Sockets);
            return Delivery::Fetch { asker, to, ids: false };
        }
        RequestBody::AllRooms => {
            let asker = asker(Wants::Rooms);
            return Delivery::Rooms { asker };
        }
        RequestBody::ServerSideEmit(emit) => {
            let asker = request_id.is_some().then(|| asker(Wants::Value));
            return Delivery::ServerSideEmit { namespace, emit, asker };
        }
        RequestBody::Broadcast { to, flags, emit, .. } => {
            let asker = asker(Wants::Acks);
            return Delivery::Ask { asker, to, flags, emit };
        }
        RequestBody::Join { to, mut rooms } => {
            rooms.iter_mut().for_each(keep::text);
            Order::Join { to, rooms }
        }
        RequestBody::Leave { to, rooms } => Order::Leave { to, rooms },
        RequestBody::Disconnect { to, close } => Order::Disconnect { to, close },
        RequestBody::Single(sid, body) => {
            confirm = Some(asker(Wants::Done));
            let to = Target::room(sid);
            match body {
                SingleBody::Join(room) => Order::Join {
                    to,
                    rooms: alloc::vec![ByteString::from(&*room)],
                },
                SingleBody::Leave(room) => Order::Leave {
                    to,
                    rooms: alloc::vec![room],
                },
                SingleBody::Disconnect(close) => Order::Disconnect { to, close },
            }
        }
    };
    Delivery::CarryOut {
        namespace,
        order,
        entry: None,
        confirm,
    }
}
