//! The names of channels and streams (docs/protocol/cluster-redis.md §1, §3, §4).

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use crate::{ClusterConfig, ClusterKind, ShardedMode, StreamsConfig};

/// The length of a genuine socket id, in UTF-16 units, as JavaScript counts.
const SOCKET_ID_UNITS: usize = 20;

/// Names channels and streams by the settings.
#[derive(Clone, Copy)]
pub(super) struct Channels<'a>(pub(super) &'a ClusterConfig);

impl Channels<'_> {
    /// `P#N#`: everything that is not for one room.
    pub(super) fn everything(self, namespace: &str) -> Bytes {
        self.join("", namespace, None)
    }

    /// `P#N#<room>#`, where a room has a channel of its own, and otherwise none.
    pub(super) fn room(self, namespace: &str, room: &str) -> Option<Bytes> {
        self.has_room(room).then(|| self.join("", namespace, Some(room)))
    }

    /// The channel of a broadcast without acknowledgements.
    pub(super) fn broadcast(self, namespace: &str, rooms: &[ByteString]) -> Bytes {
        let room = match rooms {
            [room] => self.room(namespace, room),
            _ => None,
        };
        room.unwrap_or_else(|| self.everything(namespace))
    }

    /// Whether a broadcast to this room alone goes to a channel of its own. Every node decides this
    /// from the name, so a node that subscribes by the same rule misses nothing.
    fn has_room(self, room: &str) -> bool {
        match &self.0.kind {
            ClusterKind::Classic => true,
            ClusterKind::Sharded { mode } => match mode {
                ShardedMode::Static => false,
                ShardedMode::Dynamic => room.encode_utf16().take(SOCKET_ID_UNITS + 1).count() != SOCKET_ID_UNITS,
                ShardedMode::DynamicPrivate => true,
            },
            ClusterKind::Streams(_) => false,
        }
    }

    /// `P#N#<uid>#`: the answers for one node, except with the classic adapter.
    pub(super) fn node(self, namespace: &str, uid: &str) -> Bytes {
        self.join("", namespace, Some(uid))
    }

    /// `P-request#N#`, with the classic adapter.
    pub(super) fn requests(self, namespace: &str) -> Bytes {
        self.join("-request", namespace, None)
    }

    /// `P-response#N#`, with the classic adapter; with a node, that node's own.
    pub(super) fn responses(self, namespace: &str, uid: Option<&str>) -> Bytes {
        self.join("-response", namespace, uid)
    }

    /// The channel whose subscribers are the nodes of a namespace.
    pub(super) fn census(self, namespace: &str) -> Bytes {
        match self.0.kind {
            ClusterKind::Classic => self.requests(namespace),
            ClusterKind::Sharded { .. } | ClusterKind::Streams(_) => self.everything(namespace),
        }
    }

    /// Whether channels are those of sharded publish and subscribe.
    pub(super) const fn sharded(self) -> bool {
        match &self.0.kind {
            ClusterKind::Classic => false,
            ClusterKind::Sharded { .. } => true,
            ClusterKind::Streams(streams) => streams.sharded,
        }
    }

    fn join(self, part: &str, namespace: &str, last: Option<&str>) -> Bytes {
        let prefix = &self.0.prefix;
        let last_len = last.map_or(0, |last| last.len() + 1);
        // It becomes `Bytes` without a copy, because it has no room left.
        let mut name = Vec::with_capacity(prefix.len() + part.len() + namespace.len() + 2 + last_len);
        for piece in [prefix, part, "#", namespace, "#"] {
            name.extend_from_slice(piece.as_bytes());
        }
        if let Some(last) = last {
            name.extend_from_slice(last.as_bytes());
            name.push(b'#');
        }
        name.into()
    }
}

/// The stream of a namespace. With several streams, the number is the one that genuine nodes
/// compute; it may be negative, and genuine nodes do not read such a stream. Our nodes do.
pub(super) fn stream(streams: &StreamsConfig, namespace: &str) -> Bytes {
    if streams.count <= 1 {
        return streams.name.as_bytes().clone();
    }
    let hash = namespace
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let number = i64::from(hash) % i64::from(streams.count);
    Bytes::from(alloc::format!("{}-{number}", streams.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(kind: ClusterKind) -> ClusterConfig {
        ClusterConfig::default().kind(kind)
    }

    #[test]
    fn a_room_has_a_channel_where_genuine_nodes_publish_to_it() {
        let sharded = |mode| config(ClusterKind::Sharded { mode });
        let (sid, room) = ("8VacyymbwTN8k8csAAAA", "room1");
        let wide = "äöüäöüäöüäöüäöüäöüäö"; // 20 units, 40 bytes
        for (config, expected) in [
            (config(ClusterKind::Classic), [true, true, true]),
            (sharded(ShardedMode::Static), [false, false, false]),
            (sharded(ShardedMode::Dynamic), [false, true, false]),
            (sharded(ShardedMode::DynamicPrivate), [true, true, true]),
            (
                config(ClusterKind::Streams(StreamsConfig::default())),
                [false, false, false],
            ),
        ] {
            let has = [sid, room, wide].map(|room| Channels(&config).room("/", room).is_some());
            assert_eq!(has, expected, "{config:?}");
        }
    }

    #[test]
    fn names() {
        let config = config(ClusterKind::Classic);
        let channels = Channels(&config);
        assert_eq!(channels.everything("/admin"), "socket.io#/admin#");
        assert_eq!(channels.room("/", "a#b").unwrap(), "socket.io#/#a#b#");
        assert_eq!(channels.requests("/"), "socket.io-request#/#");
        assert_eq!(channels.responses("/", Some("xm0R0Q")), "socket.io-response#/#xm0R0Q#");
        assert_eq!(channels.broadcast("/", &[]), "socket.io#/#");
        assert_eq!(channels.broadcast("/", &["a".into(), "b".into()]), "socket.io#/#");
    }

    /// The values are those of genuine nodes' JavaScript.
    #[test]
    fn the_number_of_a_stream_keeps_the_sign_of_the_hash() {
        let streams = StreamsConfig::default().count(4);
        assert_eq!(stream(&StreamsConfig::default(), "/x"), "socket.io");
        assert_eq!(stream(&streams, "/"), "socket.io-3"); // 47 % 4
        assert_eq!(stream(&streams, "/admin"), "socket.io-0"); // 1438238848 % 4
        assert_eq!(stream(&streams, "/admin-of-all"), "socket.io-0"); // 1667320472 % 4
        assert_eq!(stream(&streams, "/news"), "socket.io-2"); // 46783362 % 4
    }
}
