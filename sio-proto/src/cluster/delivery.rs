//! What a node tells its application.

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::order::{Emit, Flags, NodeId, Order, RemoteSocket, Target};
use crate::broker;
use crate::socket::Args;

/// The name of a request of this node, from its question to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u64);

/// Who has asked this node something, and where the answer goes. The node keeps nothing for a
/// question of others: an application that does not answer costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    pub(crate) namespace: ByteString,
    pub(crate) node: Option<NodeId>,
    pub(crate) request: ByteString,
    pub(crate) medium: Medium,
    pub(crate) wants: Wants,
}

/// What kind of answer an asker expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Sockets,
    /// Only the ids: type 0 of the classic adapter.
    Ids,
    Rooms,
    Value,
    Acks,
    /// That something was done for one socket, by the node that has it.
    Done,
}

impl Asker {
    /// The namespace in which it was asked.
    #[must_use]
    pub const fn namespace(&self) -> &ByteString {
        &self.namespace
    }

    /// The node that asks. Old nodes do not say who they are.
    #[must_use]
    pub const fn node(&self) -> Option<&NodeId> {
        self.node.as_ref()
    }
}

/// Where a message came from, and where its answer goes; for signatures also where else something
/// stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// A channel.
    Channel,
    /// The stream, as with nodes of the streams adapter 0.2.
    Stream,
    /// A key of the broker, with the record of a client.
    Record,
}

/// What other nodes want from this one, and what they have answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// All channels of a namespace are heard. Clients may be let in now: they miss nothing.
    Ready {
        /// The namespace.
        namespace: ByteString,
    },
    /// Carry out an order of another node, here only.
    CarryOut {
        /// In this namespace.
        namespace: ByteString,
        /// The order.
        order: Order,
        /// The id of the stream's entry, with the streams adapter. For a broadcast it is the offset
        /// that clients of recovery get.
        entry: Option<Bytes>,
        /// Nodes of `socket.io-redis` 6 want to hear from the node that has the one socket that
        /// they mean: [`Node::answer_done`](super::Node::answer_done). Other nodes say nothing.
        confirm: Option<Asker>,
    },
    /// Another node has sent the servers an event.
    ServerSideEmit {
        /// In this namespace.
        namespace: ByteString,
        /// The event.
        emit: Emit,
        /// Who wants an answer, if anybody does. The answer is
        /// [`Node::answer_server_side_emit`](super::Node::answer_server_side_emit).
        asker: Option<Asker>,
    },
    /// Another node asks for the sockets of this one. The answer is
    /// [`Node::answer_sockets`](super::Node::answer_sockets).
    Fetch {
        /// Who asks.
        asker: Asker,
        /// Which sockets.
        to: Target,
        /// Whether only the ids are wanted. The answer may then leave out the rest.
        ids: bool,
    },
    /// Another node asks for the names of all rooms of this one. The answer is
    /// [`Node::answer_rooms`](super::Node::answer_rooms).
    Rooms {
        /// Who asks.
        asker: Asker,
    },
    /// Another node wants an event sent to the sockets of this one, and their acknowledgements. The
    /// answers are [`Node::answer_recipients`](super::Node::answer_recipients) once, also if there
    /// is no recipient, and then [`Node::answer_ack`](super::Node::answer_ack) for each
    /// acknowledgement.
    Ask {
        /// Who asks.
        asker: Asker,
        /// To which sockets.
        to: Target,
        /// How, and how long the other node waits.
        flags: Flags,
        /// The event.
        emit: Emit,
    },
    /// A node has answered [`Question::Sockets`](super::Question::Sockets).
    Sockets {
        /// The request.
        request: RequestId,
        /// Sockets of that node.
        sockets: Vec<RemoteSocket>,
        /// How many sockets of that node are not among them, because its answer would be too large
        /// ([`ClusterConfig::max_message_bytes`](crate::ClusterConfig::max_message_bytes)).
        left_out: u64,
    },
    /// A node has answered [`Question::ServerSideEmit`](super::Question::ServerSideEmit).
    Answer {
        /// The request.
        request: RequestId,
        /// The answer: one value, or none.
        value: Args,
    },
    /// A node has sent [`Question::Acks`](super::Question::Acks) to its sockets.
    Recipients {
        /// The request.
        request: RequestId,
        /// To how many.
        count: u64,
    },
    /// A socket of another node has acknowledged.
    Ack {
        /// The request.
        request: RequestId,
        /// The first argument of the acknowledgement, or none.
        value: Args,
    },
    /// A request is over. Nothing comes for it any more. Each request ends exactly once.
    Ended {
        /// The request.
        request: RequestId,
        /// How.
        end: RequestEnd,
    },
    /// An own order was read from the stream, with the streams adapter: what was read before comes
    /// before it on every node.
    Echo {
        /// In this namespace.
        namespace: ByteString,
        /// The ticket that [`Node::handle_local`](super::Node::handle_local) has given.
        request: RequestId,
        /// The id of its entry.
        entry: Bytes,
    },
    /// An order was written to the stream, with the streams adapter, or could not be written.
    Stored {
        /// The ticket that [`Node::handle_local`](super::Node::handle_local) has given.
        request: RequestId,
        /// The id of its entry; for a broadcast, the offset that clients of recovery get.
        entry: Result<Bytes, broker::BrokerError>,
    },
}

/// How a request has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestEnd {
    /// Why it has ended.
    pub outcome: Outcome,
    /// The number of nodes that have not answered, as far as it is known. A node whose answer was
    /// too large or not readable counts among them.
    pub silent: u64,
    /// Those of the silent nodes whose names are known. Genuine nodes of the classic adapter do not
    /// sign their answers, so with them the list is empty.
    pub silent_nodes: Vec<NodeId>,
}

/// Why a request has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All nodes have answered.
    Complete,
    /// The deadline has come first.
    Deadline,
    /// The broker could not say how many nodes there are.
    Broker(broker::BrokerError),
    /// The namespace was closed.
    Closed,
}
