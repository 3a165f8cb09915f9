//! The voice of a node in one namespace: it writes messages without the node.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::channels::Channels;
use super::delivery::{Asker, Medium, Wants};
use super::emitter::{NotSent, check_order, check_server_side_name};
use super::messages::{Body, ClassicResponse, ResponseBody};
use super::order::{Emit, Flags, LocalOrder, Order, Question, Recipients, RemoteSocket};
use super::seal::Seal;
use super::sending::{Outgoing, Sender};
use crate::socket::Args;
use crate::{ClusterConfig, ClusterKind};

/// What a node needs to write one message in a namespace ([`Node::voice`](super::Node::voice)). It
/// keeps no part of the node, so it writes while others use the node. It writes one message only,
/// because a signed message has a number.
#[derive(Clone, Debug)]
pub struct Voice {
    pub(super) config: Arc<ClusterConfig>,
    pub(super) uid: ByteString,
    pub(super) namespace: ByteString,
    /// The number of the message among those of the node, if it is an order.
    pub(super) number: u64,
    /// Whether some nodes only read the stream.
    pub(super) in_stream: bool,
    /// The name of a question, if this is the voice for one.
    pub(super) question: Option<ByteString>,
    /// What signs the message, if the cluster has a secret.
    pub(super) seal: Option<Seal>,
}

/// A message that is written and not sent yet. [`Node::send`](super::Node::send) sends it.
#[derive(Clone, Debug)]
pub struct Written {
    pub(super) namespace: ByteString,
    pub(super) outgoing: Outgoing,
    pub(super) kind: Kind,
    /// The number of the voice that has written it.
    pub(super) number: u64,
    /// Whether it stays in order.
    pub(super) is_in_order: bool,
}

impl Written {
    /// Whether it is no more than a message to a channel: an order, an event for servers or an
    /// answer, and neither a question nor an entry of a stream.
    /// [`Node::publish`](super::Node::publish) sends it.
    #[must_use]
    pub const fn is_publication(&self) -> bool {
        matches!(self.outgoing, Outgoing::Channel { .. }) && !matches!(self.kind, Kind::Question { .. })
    }

    /// An entry of a stream then stays in order: it is refused
    /// ([`BrokerError::NotInOrder`](crate::broker::BrokerError::NotInOrder)) if an entry before it
    /// has failed and the node does not know yet when it sends this one. For messages on channels,
    /// this changes nothing.
    #[must_use]
    pub const fn in_order(mut self) -> Self {
        self.is_in_order = true;
        self
    }
}

/// What was written, as far as the node has to know.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Broadcast,
    Order,
    ServerSideEmit,
    Answer,
    Question {
        name: ByteString,
        wants: Asked,
        timeout: Option<Duration>,
    },
}

/// What a question asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Sockets,
    Values,
    Acks,
}

impl Voice {
    pub(super) fn sender(&self) -> Sender<'_> {
        Sender {
            config: &self.config,
            uid: &self.uid,
            namespace: &self.namespace,
            seal: self.seal.as_ref(),
        }
    }

    fn written(&self, outgoing: Outgoing, kind: Kind) -> Result<Written, NotSent> {
        match outgoing.bytes() > self.config.max_message_bytes {
            true => Err(NotSent::TooLarge),
            false => Ok(Written {
                namespace: self.namespace.clone(),
                outgoing,
                kind,
                number: self.number,
                is_in_order: false,
            }),
        }
    }

    /// Writes what the application wants from the other nodes.
    ///
    /// # Errors
    ///
    /// [`NotSent::ReservedName`], [`NotSent::TooLarge`]; [`NotSent::UnknownNamespace`] for a
    /// question if this is not the voice of [`Node::asking_voice`](super::Node::asking_voice).
    pub fn write(self, order: LocalOrder) -> Result<Written, NotSent> {
        match order {
            LocalOrder::CarryOut(order) => {
                check_order(&order)?;
                let kind = match &order {
                    Order::Broadcast { .. } => Kind::Broadcast,
                    Order::Join { .. } | Order::Leave { .. } | Order::Disconnect { .. } => Kind::Order,
                };
                self.written(self.sender().order(order, Some(self.number)), kind)
            }
            LocalOrder::ServerSideEmit(emit) => {
                check_server_side_name(&emit)?;
                let outgoing = self.sender().server_side_emit(emit, self.in_stream);
                self.written(outgoing, Kind::ServerSideEmit)
            }
            LocalOrder::Ask { question, timeout } => {
                let name = self.question.as_ref().ok_or(NotSent::UnknownNamespace)?;
                self.question(name, question, timeout)
            }
        }
    }

    /// Writes a broadcast without acknowledgements for the sockets of other nodes. It is what
    /// [`write`](Self::write) does with [`Order::Broadcast`], and copies no names.
    ///
    /// # Errors
    ///
    /// [`NotSent::ReservedName`], [`NotSent::TooLarge`].
    pub fn broadcast(self, to: Recipients<'_>, flags: Flags, emit: Emit) -> Result<Written, NotSent> {
        if crate::socket::is_reserved_event(&emit.name) {
            return Err(NotSent::ReservedName);
        }
        let outgoing = self.sender().broadcast(to, flags, emit, Some(self.number));
        self.written(outgoing, Kind::Broadcast)
    }

    fn question(
        &self,
        name: &ByteString,
        mut question: Question,
        timeout: Option<Duration>,
    ) -> Result<Written, NotSent> {
        let (wants, timeout) = match &mut question {
            Question::Sockets { .. } => (Asked::Sockets, timeout),
            Question::ServerSideEmit { emit } => {
                check_server_side_name(emit)?;
                (Asked::Values, timeout)
            }
            Question::Acks { emit, .. } if crate::socket::is_reserved_event(&emit.name) => {
                return Err(NotSent::ReservedName);
            }
            // The others have to know how long to wait for their sockets.
            Question::Acks { flags, .. } => {
                let default = timeout.unwrap_or(self.config.request_timeout);
                (Asked::Acks, Some(*flags.timeout.get_or_insert(default)))
            }
        };
        let outgoing = self.sender().question(question, name, self.in_stream);
        let name = name.clone();
        self.written(outgoing, Kind::Question { name, wants, timeout })
    }
}

/// Answers. Each belongs to one [`Delivery`](super::Delivery) that has an [`Asker`]. An answer that
/// does not fit its question is `None`.
///
/// # Errors
///
/// [`NotSent::TooLarge`]. The other node then counts this one as silent.
impl Voice {
    /// Answers [`Delivery::Fetch`](super::Delivery::Fetch), also if there are no sockets. If the
    /// answer is too large, the last sockets are left out, and the answer says how many.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_sockets(self, asker: &Asker, mut sockets: Vec<RemoteSocket>) -> Result<Option<Written>, NotSent> {
        if asker.wants == Wants::Ids {
            let ids = sockets.into_iter().map(|socket| socket.id).collect();
            return self.answer(asker, ResponseBody::Ids(ids), None);
        }
        let (max, mut left_out) = (self.config.max_message_bytes, 0);
        loop {
            // Only a list that may be too large is kept for another try.
            let spare = (most_bytes(&sockets) > max && !sockets.is_empty()).then(|| sockets.clone());
            let request_id = asker.request.clone();
            let (classic, body) = match self.config.kind {
                ClusterKind::Classic => (ResponseBody::Sockets { sockets, left_out }, None),
                _ => {
                    let body = Body::Sockets {
                        request_id,
                        sockets,
                        left_out,
                    };
                    (ResponseBody::Done, Some(body))
                }
            };
            let Some(outgoing) = self.outgoing(asker, classic, body) else {
                return Ok(None);
            };
            let bytes = outgoing.bytes();
            let Some(mut all) = spare.filter(|_| bytes > max) else {
                return self.written(outgoing, Kind::Answer).map(Some);
            };
            // As many as fit if all are alike, less a tenth: the next answer mostly fits.
            let fit = all.len() as u128 * max as u128 * 9 / (bytes as u128 * 10);
            let fit = usize::try_from(fit).unwrap_or(0).min(all.len() - 1);
            left_out += (all.len() - fit) as u64;
            all.truncate(fit);
            sockets = all;
        }
    }

    /// Answers [`Delivery::Rooms`](super::Delivery::Rooms).
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_rooms(self, asker: &Asker, rooms: Vec<ByteString>) -> Result<Option<Written>, NotSent> {
        self.answer(asker, ResponseBody::Rooms(rooms), None)
    }

    /// Answers [`Delivery::ServerSideEmit`](super::Delivery::ServerSideEmit) with one value.
    /// Further values are not sent.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_server_side_emit(self, asker: &Asker, value: Args) -> Result<Option<Written>, NotSent> {
        let request_id = asker.request.clone();
        let body = Body::ServerSideAnswer {
            request_id,
            value: value.clone(),
        };
        self.answer(asker, ResponseBody::ServerSideEmit(value), Some(body))
    }

    /// Answers [`Delivery::Ask`](super::Delivery::Ask): how many sockets were asked.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_recipients(self, asker: &Asker, count: u64) -> Result<Option<Written>, NotSent> {
        let request_id = asker.request.clone();
        let body = Body::ClientCount { request_id, count };
        self.answer(asker, ResponseBody::ClientCount(count), Some(body))
    }

    /// Passes on an acknowledgement for [`Delivery::Ask`](super::Delivery::Ask), with its first
    /// argument. Further arguments are not sent.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_ack(self, asker: &Asker, value: Args) -> Result<Option<Written>, NotSent> {
        let request_id = asker.request.clone();
        let body = Body::Ack {
            request_id,
            value: value.clone(),
        };
        self.answer(asker, ResponseBody::Ack(value), Some(body))
    }

    /// Confirms [`Delivery::CarryOut`](super::Delivery::CarryOut) for one socket that this node
    /// has.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_done(self, asker: &Asker) -> Result<Option<Written>, NotSent> {
        self.answer(asker, ResponseBody::Done, None)
    }

    fn answer(&self, asker: &Asker, classic: ResponseBody, body: Option<Body>) -> Result<Option<Written>, NotSent> {
        let outgoing = self.outgoing(asker, classic, body);
        outgoing
            .map(|outgoing| self.written(outgoing, Kind::Answer))
            .transpose()
    }

    fn outgoing(&self, asker: &Asker, classic: ResponseBody, body: Option<Body>) -> Option<Outgoing> {
        let (sender, namespace) = (self.sender(), &self.namespace);
        let channels = Channels(&self.config);
        Some(match (&self.config.kind, body, &asker.node) {
            (ClusterKind::Classic, _, node) => {
                let specific = node.as_ref().filter(|_| self.config.specific_answers);
                // Genuine nodes write answers to events for servers to the common channel, always.
                let specific = specific.filter(|_| asker.wants != Wants::Value);
                let channel = channels.responses(namespace, specific.map(|node| &*node.0));
                let response = ClassicResponse {
                    uid: Some(self.uid.clone()),
                    request_id: asker.request.clone(),
                    body: classic,
                };
                sender.classic_response(channel, &response)
            }
            (ClusterKind::Streams(streams), Some(body), _) if asker.medium == Medium::Stream => {
                sender.entry(streams, body)
            }
            (_, Some(body), Some(node)) => sender.envelope_to(channels.node(namespace, &node.0), body),
            (_, _, _) => return None, // no other adapter asks such a question
        })
    }
}

/// More bytes than these sockets can have in an answer: a character takes at most six as JSON, and
/// a number in MessagePack at most nine.
fn most_bytes(sockets: &[RemoteSocket]) -> usize {
    let bytes = |socket: &RemoteSocket| {
        let rooms = socket.rooms.iter().map(|room| room.len() + 8).sum::<usize>();
        9 * (socket.id.len() + socket.handshake.len() + rooms + socket.data.len() + 64)
    };
    sockets.iter().map(bytes).fold(256, usize::saturating_add)
}
