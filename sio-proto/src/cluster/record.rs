//! The records of clients in the broker, with the streams adapter. With them a client comes back to
//! any node (docs/protocol/cluster-redis.md §4.3).
//!
//! In a cluster with a secret, a record is signed for its key and says until when it counts
//! (docs/protocol/cluster-redis.md §12).

use alloc::sync::Arc;
use core::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use super::delivery::Medium;
use super::messages::Session;
use super::seal::{Seal, Sealing};
use crate::broker::Request;
use crate::id::siphash::siphash;
use crate::{ClusterConfig, ClusterKind, StreamsConfig};

/// Writes one record ([`Node::record_writer`](super::Node::record_writer)). It needs no node, so
/// records are written under no lock.
#[derive(Debug)]
pub struct RecordWriter {
    pub(super) config: Arc<ClusterConfig>,
    pub(super) seal: Option<Seal>,
}

impl RecordWriter {
    /// The request that keeps a record for so long. With another adapter than the streams adapter
    /// there is none. With `only_if_there`, a record that somebody has taken meanwhile does not
    /// come into being again.
    #[must_use]
    pub fn write(self, mut session: Session, life: Duration, only_if_there: bool) -> Option<Request> {
        let key = key(streams(&self.config)?, &session.pid);
        let milliseconds = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
        let sealing = self.seal.as_ref().map(|seal| Sealing {
            seal,
            medium: Medium::Record,
            place: &key,
        });
        if let Some(seal) = &self.seal {
            session.until = seal.stamp.milliseconds.saturating_add(milliseconds);
        }
        Some(Request::Set {
            value: session.encode_for(sealing),
            key,
            milliseconds,
            only_if_there,
        })
    }
}

/// The name under which a server writes records ([`Session::node`]). It is made of the key of the
/// server's ids, and tells nothing about it. A store keeps this key, so the next process recognises
/// what the one before it has written.
#[must_use]
pub fn home(key: &[u8; 16]) -> ByteString {
    ByteString::from(alloc::format!("{:016x}", siphash(key, b"sio home")))
}

/// The request that forgets a client that does not come back. With another adapter than the streams
/// adapter there is none.
#[must_use]
pub fn forget(config: &ClusterConfig, pid: &str) -> Option<Request> {
    let key = key(streams(config)?, pid);
    Some(Request::Delete { key })
}

pub(super) const fn streams(config: &ClusterConfig) -> Option<&StreamsConfig> {
    match &config.kind {
        ClusterKind::Streams(streams) => Some(streams),
        ClusterKind::Classic | ClusterKind::Sharded { .. } => None,
    }
}

pub(super) fn key(streams: &StreamsConfig, pid: &str) -> Bytes {
    Bytes::from(alloc::format!("{}{pid}", streams.session_prefix))
}
