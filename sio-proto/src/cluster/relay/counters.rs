//! What a node counts of its relays, for its operator.

/// Why a relay has ended, or was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelayEnd {
    /// The answer is complete.
    Answered,
    /// The client's connection was closed, or has failed.
    ByClient,
    /// The node of the session has closed the connection.
    ByOwner,
    /// The other node is gone. The session is gone with it.
    Gone,
    /// The broker is away.
    NoBroker,
    /// The other node has not answered in time, or has been silent for too long.
    Silent,
    /// Bytes were lost on the way, or the other node has broken the rules.
    Broken,
    /// A limit was reached, here or on the other node.
    NoRoom,
    /// It has lasted too long ([`RelayConfig::max_age`](crate::RelayConfig::max_age)).
    TooOld,
}

impl RelayEnd {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Answered,
        Self::ByClient,
        Self::ByOwner,
        Self::Gone,
        Self::NoBroker,
        Self::Silent,
        Self::Broken,
        Self::NoRoom,
        Self::TooOld,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::ByClient => "client",
            Self::ByOwner => "owner",
            Self::Gone => "gone",
            Self::NoBroker => "no_broker",
            Self::Silent => "silent",
            Self::Broken => "broken",
            Self::NoRoom => "no_room",
            Self::TooOld => "too_old",
        }
    }
}

/// The relays in one direction: to other nodes, or from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayTraffic {
    /// How many there are now.
    pub current: usize,
    /// How many have begun.
    pub total: u64,
    /// How many messages this node has published for them.
    pub messages: u64,
    /// How many bytes of connections have come from the other nodes.
    pub bytes_in: u64,
    /// How many bytes of connections went to the other nodes.
    pub bytes_out: u64,
    ended: [u64; RelayEnd::ALL.len()],
}

impl RelayTraffic {
    /// How many have ended for this reason, or were not begun because of it.
    #[must_use]
    pub const fn ended(&self, why: RelayEnd) -> u64 {
        self.ended[why as usize]
    }

    pub(super) const fn end(&mut self, why: RelayEnd) {
        self.ended[why as usize] += 1;
    }
}

/// The counts of the relays of a node, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayCounters {
    /// Relays to other nodes: requests that came here, of sessions that are there.
    pub outgoing: RelayTraffic,
    /// Relays from other nodes: requests of sessions that are here.
    pub incoming: RelayTraffic,
    /// How many other nodes are known.
    pub nodes: usize,
    /// How many bytes wait on this node for all relays.
    pub waiting_bytes: usize,
    /// Messages that could not be read, or that came from nodes that are not known.
    pub malformed: u64,
    /// Messages whose bytes had come before.
    pub repeated: u64,
    /// Messages without a signature, where the cluster has a secret. They were refused.
    pub unsigned: u64,
    /// Messages whose signature does not fit them, their place or the secret. They were refused.
    pub forged: u64,
    /// Messages that were signed too long before or after they came
    /// ([`ClusterConfig::signature_age`](crate::ClusterConfig::signature_age)). They were refused.
    pub stale: u64,
    /// Signed messages that had come before. They were refused.
    pub replayed: u64,
    /// Messages of nodes that could not be remembered because of
    /// [`RelayConfig::max_nodes`](crate::RelayConfig::max_nodes). They were refused.
    pub forgotten: u64,
}
