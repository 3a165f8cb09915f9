//! The other nodes of a namespace, as far as they have been heard.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use crate::Time;
use crate::cluster::order::NodeId;

/// How long a node that sends no heartbeats is listed after it was heard last. Without heartbeats
/// nobody knows when a node is gone. A node that does not answer a request that is complete without
/// it is forgotten at once.
const MEMORY: Duration = Duration::from_secs(300);

struct Peer {
    heard: Time,
    /// Whether it signs its answers, so that its silence can be noticed.
    signs: bool,
    /// Whether it has sent heartbeats, and so counts as gone when they stop.
    beats: bool,
    /// Whether it only reads the stream: a node of the streams adapter 0.2.
    stream_only: bool,
}

#[derive(Default)]
pub(super) struct Peers(BTreeMap<NodeId, Peer>);

impl Peers {
    /// Notes that a node was heard. Returns false if there is no room for it.
    pub(super) fn hear(&mut self, now: Time, node: &NodeId, max: usize) -> bool {
        if let Some(peer) = self.0.get_mut(node) {
            peer.heard = now;
            return true;
        }
        if self.0.len() >= max {
            self.0.retain(|_, peer| peer.heard + MEMORY > now);
            if self.0.len() >= max {
                return false;
            }
        }
        let peer = Peer {
            heard: now,
            signs: false,
            beats: false,
            stream_only: false,
        };
        self.0.insert(node.detached(), peer);
        true
    }

    /// Notes that a node signs its answers.
    pub(super) fn signs(&mut self, node: &NodeId) {
        if let Some(peer) = self.0.get_mut(node) {
            peer.signs = true;
        }
    }

    /// Notes that a node sends heartbeats.
    pub(super) fn beats(&mut self, node: &NodeId, stream_only: bool) {
        if let Some(peer) = self.0.get_mut(node) {
            peer.beats = true;
            peer.stream_only = stream_only;
            peer.signs = true;
        }
    }

    pub(super) fn forget(&mut self, node: &NodeId) {
        self.0.remove(node);
    }

    /// The nodes that only read the stream.
    pub(super) fn stream_only(&self) -> BTreeSet<NodeId> {
        let nodes = self.0.iter().filter(|(_, peer)| peer.stream_only);
        nodes.map(|(node, _)| node.clone()).collect()
    }

    pub(super) fn has_stream_only(&self) -> bool {
        self.0.values().any(|peer| peer.stream_only)
    }

    /// The nodes that sign their answers and were heard lately.
    pub(super) fn signers(&self, now: Time) -> impl Iterator<Item = &NodeId> {
        let signers = self
            .0
            .iter()
            .filter(move |(_, peer)| peer.signs && peer.heard + MEMORY > now);
        signers.map(|(node, _)| node)
    }

    /// The nodes that were heard lately, and when.
    pub(super) fn heard(&self, now: Time) -> impl Iterator<Item = (&NodeId, Time)> {
        let nodes = self.0.iter().filter(move |(_, peer)| peer.heard + MEMORY > now);
        nodes.map(|(node, peer)| (node, peer.heard))
    }

    /// When the first heartbeat is missing.
    pub(super) fn next_death(&self, timeout: Duration) -> Option<Time> {
        let beating = self.0.values().filter(|peer| peer.beats);
        beating.map(|peer| peer.heard + timeout).min()
    }

    /// Whether some node sends heartbeats.
    pub(super) fn any_beats(&self) -> bool {
        self.0.values().any(|peer| peer.beats)
    }

    /// A node whose heartbeats have stopped.
    pub(super) fn dead(&self, now: Time, timeout: Duration) -> Option<NodeId> {
        let mut dead = self
            .0
            .iter()
            .filter(|(_, peer)| peer.beats && peer.heard + timeout <= now);
        dead.next().map(|(node, _)| node.clone())
    }
}
