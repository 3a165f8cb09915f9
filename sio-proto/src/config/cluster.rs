//! Settings of a cluster: which adapter the other nodes use, and what one node accepts from them.

use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::setters::setters;
use super::{ConfigError, Secret};
use crate::json;

/// The adapter of Node that the nodes of a cluster use. All nodes of a cluster use the same one
/// (docs/protocol/cluster-redis.md).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterKind {
    /// `createAdapter` of `@socket.io/redis-adapter`: publish and subscribe. Also
    /// `socket.io-redis` 6.
    #[default]
    Classic,
    /// `createShardedAdapter` of `@socket.io/redis-adapter`: sharded publish and subscribe, which
    /// needs Redis 7.
    Sharded {
        /// The option `subscriptionMode` of the other nodes.
        mode: ShardedMode,
    },
    /// `@socket.io/redis-streams-adapter` 0.3, and the nodes of its version 0.2.
    Streams(StreamsConfig),
}

/// Which rooms have a channel of their own with the sharded adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShardedMode {
    /// None: every node hears every message.
    Static,
    /// Rooms whose name does not have the 20 characters of a genuine socket id. The default of
    /// genuine nodes.
    #[default]
    Dynamic,
    /// All rooms, and the room that each socket has under its own id.
    DynamicPrivate,
}

/// Settings of the streams adapter. Each has to be as on the other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamsConfig {
    /// The key of the stream. Default `socket.io`.
    pub name: ByteString,
    /// Number of streams, 1 to 64. Default 1. With more, the namespaces are spread over streams
    /// whose keys end in `-0`, `-1` and so on. Genuine nodes lose the messages of some namespaces
    /// then (docs/protocol/cluster-redis.md §4.1).
    pub count: u32,
    /// About how many entries a stream keeps. Default 10 000. A client that has been away for
    /// longer than these entries reach is not recovered.
    pub max_entries: u64,
    /// The beginning of the keys of recovery. Default `sio:session:`.
    pub session_prefix: ByteString,
    /// Whether requests and answers use sharded publish and subscribe. Default false.
    pub sharded: bool,
}

setters!(StreamsConfig {
    name: ByteString,
    count: u32,
    max_entries: u64,
    session_prefix: ByteString,
    sharded: bool,
});

impl Default for StreamsConfig {
    fn default() -> Self {
        Self {
            name: ByteString::from_static("socket.io"),
            count: 1,
            max_entries: 10_000,
            session_prefix: ByteString::from_static("sio:session:"),
            sharded: false,
        }
    }
}

/// The settings of one node of a cluster.
///
/// Everybody who can write to the broker can send messages to a node. So the limits are for
/// messages of other nodes, and for what others make this node keep.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// The adapter of the other nodes. Default [`ClusterKind::Classic`].
    pub kind: ClusterKind,
    /// The beginning of the names of channels: `key` or `channelPrefix` of the other nodes. Default
    /// `socket.io`.
    pub prefix: ByteString,
    /// How long a request waits for the answers of other nodes, unless the request says otherwise.
    /// Default 5 seconds, as on genuine nodes. Longer than zero and at most a day.
    pub request_timeout: Duration,
    /// How long a node sends nothing before it says that it is alive. Default 5 seconds, as on
    /// genuine nodes. Only nodes of the streams adapter 0.2 send and need this.
    pub heartbeat_interval: Duration,
    /// How long a node of the streams adapter 0.2 may be silent before it counts as gone. Default
    /// 10 seconds, as on genuine nodes.
    pub heartbeat_timeout: Duration,
    /// With the classic adapter: whether answers go to the channel of the node that asks
    /// (`publishOnSpecificResponseChannel`). Default false, as on genuine nodes. True saves the
    /// other nodes work; nodes of `socket.io-redis` cannot hear such answers.
    pub specific_answers: bool,
    /// Most bytes of one message, in both directions. Default 16 MiB. A longer message is ignored
    /// and counted when it comes, and refused when it is sent.
    pub max_message_bytes: usize,
    /// Most rooms and sockets that one message may name, all together. Default 100 000. Each takes
    /// 32 bytes of memory and more, however short its name is.
    pub max_names: usize,
    /// Most values of a message in MessagePack, including keys and values inside other values.
    /// Default 1 000 000.
    pub max_elements: usize,
    /// Most binary values of one message. Default 1 000.
    pub max_attachments: usize,
    /// Deepest nesting of the arguments of a message. Default 128, which is also the greatest
    /// possible value.
    pub max_depth: usize,
    /// Most requests of this node that wait for answers at once. Default 10 000. Further requests
    /// are refused.
    pub max_requests: usize,
    /// Most bytes of the answers to one request. Default 64 MiB. The answers of further nodes are
    /// ignored and counted, and the nodes count as silent.
    pub max_answer_bytes: usize,
    /// Most bytes of the messages that a client has missed and gets when it comes back, with the
    /// streams adapter. Default 4 MiB. A client that has missed more is not recovered.
    pub max_missed_bytes: usize,
    /// Most other nodes that a node remembers for each namespace. Default 1 024. Of more nodes,
    /// messages are carried out, but the nodes are not listed and cannot be named when they are
    /// silent.
    pub max_nodes: usize,
    /// The secrets of the cluster. Default none: whoever can write to the broker is believed. With
    /// secrets, this node signs its messages with the first one, and carries out only messages that
    /// are signed with one of them. So a secret is changed in three rounds through all nodes: the
    /// new one is accepted behind the old one; it becomes the first one; the old one is taken away.
    /// What signatures protect, and what not: docs/protocol/cluster-redis.md §12.
    pub secrets: Vec<Secret>,
    /// With secrets: whether messages without a signature are carried out, those of genuine nodes
    /// and emitters for example. Default false: they are refused and counted. If true, a signature
    /// protects from nobody who leaves it out. It is meant for the time in which the nodes get
    /// their secret one after the other.
    pub accept_unsigned: bool,
    /// With secrets: how old a signed message may be when it comes. Default 30 seconds. Longer than
    /// zero and at most a day. It has to be longer than messages wait for the broker
    /// ([`BrokerConfig::max_waiting_age`](crate::broker::BrokerConfig::max_waiting_age)) and than
    /// the clocks of two nodes differ.
    pub signature_age: Duration,
}

setters!(ClusterConfig {
    kind: ClusterKind,
    prefix: ByteString,
    request_timeout: Duration,
    heartbeat_interval: Duration,
    heartbeat_timeout: Duration,
    specific_answers: bool,
    max_message_bytes: usize,
    max_names: usize,
    max_elements: usize,
    max_attachments: usize,
    max_depth: usize,
    max_requests: usize,
    max_answer_bytes: usize,
    max_missed_bytes: usize,
    max_nodes: usize,
    secrets: Vec<Secret>,
    accept_unsigned: bool,
    signature_age: Duration,
});

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            kind: ClusterKind::default(),
            prefix: ByteString::from_static("socket.io"),
            request_timeout: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(10),
            specific_answers: false,
            max_message_bytes: 16 << 20,
            max_names: 100_000,
            max_elements: 1_000_000,
            max_attachments: 1_000,
            max_depth: json::MAX_DEPTH,
            max_requests: 10_000,
            max_answer_bytes: 64 << 20,
            max_missed_bytes: 4 << 20,
            max_nodes: 1_024,
            secrets: Vec::new(),
            accept_unsigned: false,
            signature_age: Duration::from_secs(30),
        }
    }
}

/// The longest time that makes sense for a setting.
const DAY: Duration = Duration::from_secs(86_400);

impl ClusterConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ZeroLimit`] for a limit that leaves no room for anything or an empty name,
    /// [`ConfigError::Duration`] for a time that makes no sense, [`ConfigError::TooMany`] for
    /// [`StreamsConfig::count`], [`ConfigError::Secret`] for a secret that is too short.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let times = [
            ("cluster.request_timeout", self.request_timeout),
            ("cluster.heartbeat_interval", self.heartbeat_interval),
            ("cluster.heartbeat_timeout", self.heartbeat_timeout),
            ("cluster.signature_age", self.signature_age),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| time.is_zero() || *time > DAY) {
            return Err(ConfigError::Duration(name));
        }
        let limits = [
            ("cluster.prefix", self.prefix.is_empty()),
            ("cluster.max_message_bytes", self.max_message_bytes == 0),
            ("cluster.max_names", self.max_names == 0),
            ("cluster.max_elements", self.max_elements == 0),
            ("cluster.max_attachments", self.max_attachments == 0),
            ("cluster.max_depth", self.max_depth == 0),
            ("cluster.max_requests", self.max_requests == 0),
            ("cluster.max_answer_bytes", self.max_answer_bytes == 0),
            ("cluster.max_missed_bytes", self.max_missed_bytes == 0),
            ("cluster.max_nodes", self.max_nodes == 0),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, zero)| *zero) {
            return Err(ConfigError::ZeroLimit(name));
        }
        if self
            .secrets
            .iter()
            .any(|secret| secret.as_bytes().len() < Secret::MIN_BYTES)
        {
            return Err(ConfigError::Secret("cluster.secrets"));
        }
        match &self.kind {
            ClusterKind::Classic | ClusterKind::Sharded { .. } => Ok(()),
            ClusterKind::Streams(streams) if streams.name.is_empty() => Err(ConfigError::ZeroLimit("streams.name")),
            ClusterKind::Streams(streams) if streams.count == 0 => Err(ConfigError::ZeroLimit("streams.count")),
            ClusterKind::Streams(streams) if streams.count > MAX_STREAMS => {
                Err(ConfigError::TooMany("streams.count", MAX_STREAMS))
            }
            ClusterKind::Streams(_) => Ok(()),
        }
    }
}

/// Each stream has a connection of its own.
const MAX_STREAMS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let config = ClusterConfig::default;
        assert_eq!(config().validate(), Ok(()));
        for (config, name) in [
            (config().prefix(ByteString::new()), "cluster.prefix"),
            (config().max_message_bytes(0), "cluster.max_message_bytes"),
            (config().max_names(0), "cluster.max_names"),
            (config().max_elements(0), "cluster.max_elements"),
            (config().max_attachments(0), "cluster.max_attachments"),
            (config().max_depth(0), "cluster.max_depth"),
            (config().max_requests(0), "cluster.max_requests"),
            (config().max_answer_bytes(0), "cluster.max_answer_bytes"),
            (config().max_missed_bytes(0), "cluster.max_missed_bytes"),
            (config().max_nodes(0), "cluster.max_nodes"),
            (
                config().kind(ClusterKind::Streams(StreamsConfig::default().count(0))),
                "streams.count",
            ),
        ] {
            assert_eq!(config.validate(), Err(ConfigError::ZeroLimit(name)));
        }
        let patient = config().request_timeout(DAY + DAY);
        assert_eq!(
            patient.validate(),
            Err(ConfigError::Duration("cluster.request_timeout"))
        );
        let short = config().secrets(alloc::vec![Secret::new([7; 16]), Secret::new([7; 15])]);
        assert_eq!(short.validate(), Err(ConfigError::Secret("cluster.secrets")));
        let many = config().kind(ClusterKind::Streams(StreamsConfig::default().count(65)));
        assert_eq!(many.validate(), Err(ConfigError::TooMany("streams.count", 64)));
    }
}
