//! The requests of this node that wait for answers.
//!
//! ```text
//!   ask ──► open ── every node that is due has answered ──► ended: Complete
//!             ├──── deadline ─────────────────────────────► ended: Deadline, the silent are named
//!             ├──── the broker cannot count the nodes ────► ended: Broker
//!             └──── close_namespace ──────────────────────► ended: Closed
//! ```
//! Invariants: a request ends exactly once, and nothing is delivered for it afterwards. At most one
//! answer of each node counts. There are never more than
//! [`ClusterConfig::max_requests`](crate::ClusterConfig::max_requests).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytestring::ByteString;

use crate::Time;
use crate::cluster::order::NodeId;
use crate::cluster::voice::Asked;

pub(super) struct Pending {
    pub(super) namespace: ByteString,
    /// The name of the request in messages.
    name: ByteString,
    pub(super) kind: Asked,
    deadline: Time,
    /// How many other nodes hear the channels, once it is known.
    pub(super) subscribers: Option<u64>,
    /// The nodes that only read the stream and have not answered.
    pub(super) stream_only: BTreeSet<NodeId>,
    /// The nodes that have answered with their name.
    pub(super) answered: BTreeSet<NodeId>,
    /// How many answers of nodes that hear the channels have come.
    heard: u64,
    /// How many acknowledgements are due, and how many have come.
    recipients: u64,
    acks: u64,
    /// Bytes of all answers.
    bytes: usize,
}

/// Whether an answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Counts,
    Refused,
}

impl Pending {
    /// Counts the answer of a node.
    pub(super) fn answer(&mut self, node: Option<&NodeId>, bytes: usize, max_bytes: usize) -> Verdict {
        // All that are due have answered, so this is a node that has come later.
        let full = self.subscribers.is_some_and(|due| self.heard >= due);
        if self.bytes.saturating_add(bytes) > max_bytes || node.is_some_and(|node| self.answered.contains(node)) {
            return Verdict::Refused;
        }
        let stream_only = node.is_some_and(|node| self.stream_only.remove(node));
        if full && !stream_only {
            return Verdict::Refused;
        }
        self.bytes += bytes;
        self.heard += u64::from(!stream_only);
        if let Some(node) = node {
            self.answered.insert(node.detached());
        }
        Verdict::Counts
    }

    /// How many sockets a node has asked. Their acknowledgements are due now.
    pub(super) const fn expect(&mut self, recipients: u64) {
        self.recipients = self.recipients.saturating_add(recipients);
    }

    /// Counts an acknowledgement.
    pub(super) const fn acknowledge(&mut self, bytes: usize, max_bytes: usize) -> Verdict {
        if self.acks >= self.recipients || self.bytes.saturating_add(bytes) > max_bytes {
            return Verdict::Refused;
        }
        self.acks += 1;
        self.bytes += bytes;
        Verdict::Counts
    }

    pub(super) fn is_complete(&self) -> bool {
        self.stream_only.is_empty()
            && self.subscribers.is_some_and(|due| self.heard >= due)
            && self.acks >= self.recipients
    }

    /// The number of nodes that have not answered, as far as it is known.
    pub(super) fn silent(&self) -> u64 {
        let due = self.subscribers.unwrap_or(0);
        due.saturating_sub(self.heard) + self.stream_only.len() as u64
    }

    /// Whether some answer was not signed.
    pub(super) fn has_unsigned(&self) -> bool {
        self.heard > self.answered.len() as u64
    }
}

/// All requests that wait.
#[derive(Default)]
pub(super) struct Requests {
    next: u64,
    pending: BTreeMap<u64, Pending>,
    names: BTreeMap<ByteString, u64>,
    deadlines: BTreeSet<(Time, u64)>,
}

impl Requests {
    /// A number that no other request or ticket has.
    pub(super) const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn open(
        &mut self,
        number: u64,
        namespace: ByteString,
        name: ByteString,
        kind: Asked,
        deadline: Time,
        stream_only: BTreeSet<NodeId>,
    ) {
        self.names.insert(name.clone(), number);
        self.deadlines.insert((deadline, number));
        let pending = Pending {
            namespace,
            name,
            kind,
            deadline,
            subscribers: None,
            stream_only,
            answered: BTreeSet::new(),
            heard: 0,
            recipients: 0,
            acks: 0,
            bytes: 0,
        };
        self.pending.insert(number, pending);
    }

    /// The request that an answer names, if the answer has come in its namespace.
    pub(super) fn find(&mut self, namespace: &str, name: &str) -> Option<(u64, &mut Pending)> {
        let number = *self.names.get(name)?;
        let pending = self.pending.get_mut(&number)?;
        (pending.namespace == namespace).then_some((number, pending))
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Pending> {
        self.pending.get_mut(&number)
    }

    pub(super) fn close(&mut self, number: u64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        self.names.remove(&pending.name);
        self.deadlines.remove(&(pending.deadline, number));
        Some(pending)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// A request whose deadline has come.
    pub(super) fn due(&self, now: Time) -> Option<u64> {
        let (deadline, number) = *self.deadlines.first()?;
        (deadline <= now).then_some(number)
    }

    /// The requests of a namespace.
    pub(super) fn of(&self, namespace: &str) -> Vec<u64> {
        let of = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.namespace == namespace);
        of.map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_has_ended_is_kept_nowhere() {
        let (mut requests, deadline) = (Requests::default(), Time::from_millis(1));
        let (namespace, name) = (ByteString::from_static("/"), ByteString::from_static("r"));
        let number = requests.number();
        requests.open(number, namespace, name, Asked::Values, deadline, BTreeSet::new());
        assert_eq!(
            (requests.of("/"), requests.due(deadline)),
            (alloc::vec![number], Some(number))
        );
        assert!(requests.close(number).is_some() && requests.close(number).is_none());
        assert!(requests.pending.is_empty() && requests.names.is_empty() && requests.deadlines.is_empty());
    }
}
