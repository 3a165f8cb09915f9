//! What a node counts for its operator.

/// Messages of one direction, by kind. A message counts when it goes to the broker, or when it was
/// read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Broadcasts without acknowledgements.
    pub broadcasts: u64,
    /// Joins, leaves and disconnections.
    pub orders: u64,
    /// Events for servers that want no answer.
    pub server_side_emits: u64,
    /// Questions, with broadcasts that want acknowledgements.
    pub questions: u64,
    /// Answers and acknowledgements.
    pub answers: u64,
    /// Heartbeats, and the goodbye of a node.
    pub heartbeats: u64,
    /// Bytes of all of these.
    pub bytes: u64,
}

/// The counts of one node, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// What this node has sent.
    pub sent: Traffic,
    /// What others have sent and this node has read.
    pub received: Traffic,
    /// Own messages that have come back. They are not read.
    pub echoes: u64,
    /// Messages that could not be read, or were too large.
    pub malformed: u64,
    /// Messages on a channel of another namespace than their own.
    pub misplaced: u64,
    /// Messages and records of clients without a signature, in a cluster with a secret
    /// ([`ClusterConfig::secrets`](crate::ClusterConfig::secrets)). They are not carried out.
    pub unsigned: u64,
    /// Messages and records whose signature does not fit: another secret, another place, or changed
    /// bytes.
    pub forged: u64,
    /// Signed messages that are older than
    /// [`ClusterConfig::signature_age`](crate::ClusterConfig::signature_age), or from the
    /// future, and signed records whose time was over.
    pub stale: u64,
    /// Signed messages that have come before.
    pub replayed: u64,
    /// Answers to requests that are over, or that nobody knows.
    pub late: u64,
    /// Answers that were refused: a second one of the same node, more acknowledgements than
    /// recipients, or more bytes than
    /// [`ClusterConfig::max_answer_bytes`](crate::ClusterConfig::max_answer_bytes).
    pub refused: u64,
    /// Requests that have ended before all nodes had answered.
    pub incomplete: u64,
    /// The nodes that had not answered when requests ended, added up over all requests.
    pub silent: u64,
    /// Nodes that could not be remembered because of
    /// [`ClusterConfig::max_nodes`](crate::ClusterConfig::max_nodes), and signed messages of such
    /// nodes.
    pub forgotten: u64,
    /// Entries that the broker did not take.
    pub not_stored: u64,
    /// How old the last entry of a stream was when it was read, in milliseconds: its id against the
    /// time that this node was told ([`Node::set_unix_time`](super::Node::set_unix_time)). It is
    /// also the difference of the clocks of this node and of the broker.
    pub stream_lag_millis: u64,
}
