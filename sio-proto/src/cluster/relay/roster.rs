//! The other nodes that relay: their names, and the keys of their session ids.

use alloc::collections::BTreeMap;

use bytes::Bytes;

use super::message::NodeName;
use crate::id::{SessionId, SidKey};
use crate::{RelayConfig, Time};

/// One other node.
#[derive(Debug)]
pub(super) struct Known {
    key: SidKey,
    /// The channel that it hears.
    pub(super) channel: Bytes,
    /// When it was heard last.
    pub(super) heard: Time,
    /// When it was said hello to last, because it had asked.
    pub(super) greeted: Option<Time>,
    /// The number of the last relay that it has begun.
    last_line: Option<u64>,
    /// How many relays there are to it and from it.
    pub(super) lines: usize,
    /// When the broker is asked whether it hears its channel.
    pub(super) probe: Option<Time>,
    /// The question that is not answered yet.
    pub(super) asked: Option<u64>,
}

/// The nodes by their names.
#[derive(Debug, Default)]
pub(super) struct Roster(BTreeMap<NodeName, Known>);

/// What a hello has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// The node was not known before.
    New,
    /// It was known.
    Known,
    /// It is not remembered: there are too many.
    Full,
    /// It is not remembered: the name belongs to another key.
    Contradiction,
}

impl Roster {
    /// Notes that a node has said hello.
    pub(super) fn note(
        &mut self,
        now: Time,
        name: NodeName,
        key: SidKey,
        channel: impl FnOnce() -> Bytes,
        config: &RelayConfig,
    ) -> Noted {
        if let Some(known) = self.0.get_mut(&name) {
            if known.key != key {
                return Noted::Contradiction;
            }
            known.heard = now;
            return Noted::Known;
        }
        if self.0.len() >= config.max_nodes {
            return Noted::Full;
        }
        let known = Known {
            key,
            channel: channel(),
            heard: now,
            greeted: None,
            last_line: None,
            lines: 0,
            probe: None,
            asked: None,
        };
        self.0.insert(name, known);
        Noted::New
    }

    /// The node that has made this session id.
    pub(super) fn owner_of(&self, id: &str) -> Option<NodeName> {
        let id = SessionId::parse(id)?;
        let mut nodes = self.0.iter();
        let owner = nodes.find(|(_, known)| id.address(&known.key).is_some());
        owner.map(|(name, _)| *name)
    }

    pub(super) fn get_mut(&mut self, name: NodeName) -> Option<&mut Known> {
        self.0.get_mut(&name)
    }

    /// Whether a relay of this number is new. A node counts its relays, and its messages come in
    /// their order, so a request that comes again is not carried out again.
    pub(super) fn is_new_line(&mut self, name: NodeName, number: u64) -> bool {
        let Some(known) = self.0.get_mut(&name) else {
            return false;
        };
        let is_new = known
            .last_line
            .is_none_or(|last| (1..=u64::MAX / 2).contains(&number.wrapping_sub(last)));
        if is_new {
            known.last_line = Some(number);
        }
        is_new
    }

    pub(super) fn knows(&self, name: NodeName) -> bool {
        self.0.contains_key(&name)
    }

    pub(super) fn remove(&mut self, name: NodeName) {
        self.0.remove(&name);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeName, &mut Known)> {
        self.0.iter_mut().map(|(name, known)| (*name, known))
    }

    /// A relay with this node begins.
    pub(super) fn begin_line(&mut self, now: Time, name: NodeName, config: &RelayConfig) {
        if let Some(known) = self.0.get_mut(&name) {
            known.lines += 1;
            known.probe = known.probe.or(Some(now + config.probe_interval));
        }
    }

    /// A relay with this node has ended.
    pub(super) fn end_line(&mut self, name: NodeName) {
        if let Some(known) = self.0.get_mut(&name) {
            known.lines = known.lines.saturating_sub(1);
        }
    }
}
