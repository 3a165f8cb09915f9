//! What this node sends: orders and questions, and how its questions end.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::requests::Verdict;
use super::{Node, tag};
use crate::Time;
use crate::broker::{Command, Request};
use crate::cluster::channels::Channels;
use crate::cluster::delivery::{Delivery, Outcome, RequestEnd, RequestId};
use crate::cluster::emitter::NotSent;
use crate::cluster::order::{LocalOrder, NodeId};
use crate::cluster::output::Outputs;
use crate::cluster::sending::Outgoing;
use crate::cluster::voice::{Asked, Kind, Written};

impl Node {
    /// Sends what the application wants from the other nodes. An order needs an open namespace; a
    /// question opens it for its answers.
    ///
    /// Returns the name under which answers come. Orders have one only with the streams adapter,
    /// where [`Delivery::Stored`] follows.
    ///
    /// # Errors
    ///
    /// [`NotSent`]. Nothing was sent then.
    pub fn handle_local(
        &mut self,
        now: Time,
        namespace: &ByteString,
        order: LocalOrder,
        out: &mut Outputs,
    ) -> Result<Option<RequestId>, NotSent> {
        let voice = match &order {
            LocalOrder::Ask { .. } => self.asking_voice(now, namespace, out)?,
            LocalOrder::CarryOut(_) | LocalOrder::ServerSideEmit(_) => {
                let is_own = self.id(namespace).is_some();
                let voice = self.voice(now, namespace).filter(|_| is_own);
                voice.ok_or(NotSent::UnknownNamespace)?
            }
        };
        self.send(now, voice.write(order)?, out)
    }

    /// Sends a message that was written. Returns what [`handle_local`](Self::handle_local) returns.
    ///
    /// # Errors
    ///
    /// [`NotSent::TooManyRequests`], [`NotSent::UnknownNamespace`] if the namespace was closed
    /// after a question in it was begun. Nothing was sent then.
    pub fn send(&mut self, now: Time, written: Written, out: &mut Outputs) -> Result<Option<RequestId>, NotSent> {
        let Written {
            namespace,
            outgoing,
            kind,
            number,
            is_in_order,
        } = written;
        let is_order = matches!(kind, Kind::Broadcast | Kind::Order);
        if let Some(question) = self.count_sent(kind) {
            return self.ask(now, namespace, outgoing, question, out).map(Some);
        }
        let has_ticket = is_order && matches!(outgoing, Outgoing::Entry { .. });
        let kind_of_tag = if is_order { tag::ORDER } else { tag::ENTRY };
        let known_failures = is_in_order.then_some(self.failed_entries);
        let command = self.command(now, &namespace, outgoing, number << 2 | kind_of_tag, known_failures);
        out.commands.push(command);
        Ok(has_ticket.then_some(RequestId(number)))
    }

    /// Sends a message that is a publication ([`Written::is_publication`]). It is what
    /// [`send`](Self::send) does, and changes nothing of the node but its counts. Returns `None` if
    /// the message is no publication; then nothing was sent.
    pub fn publish(&mut self, written: Written) -> Option<Command> {
        let Outgoing::Channel {
            channel,
            payload,
            sharded,
        } = written.outgoing
        else {
            return None;
        };
        if matches!(written.kind, Kind::Question { .. }) {
            return None;
        }
        let _ = self.count_sent(written.kind);
        self.counters.sent.bytes += payload.len() as u64;
        Some(Command::Publish {
            channel,
            payload,
            sharded,
        })
    }

    /// Counts a message, without its bytes. Returns what a question asks, which counts when it is
    /// asked.
    fn count_sent(&mut self, kind: Kind) -> Option<(ByteString, Asked, Option<Duration>)> {
        let sent = &mut self.counters.sent;
        match kind {
            Kind::Broadcast => sent.broadcasts += 1,
            Kind::Order => sent.orders += 1,
            Kind::ServerSideEmit => sent.server_side_emits += 1,
            Kind::Answer => sent.answers += 1,
            Kind::Question { name, wants, timeout } => return Some((name, wants, timeout)),
        }
        None
    }

    fn ask(
        &mut self,
        now: Time,
        namespace: ByteString,
        outgoing: Outgoing,
        (name, wants, timeout): (ByteString, Asked, Option<Duration>),
        out: &mut Outputs,
    ) -> Result<RequestId, NotSent> {
        // Others may have asked since the question was begun.
        if self.requests.len() >= self.config.max_requests {
            return Err(NotSent::TooManyRequests);
        }
        let stream_only = self.stream_only(&namespace);
        if !self.instances.contains_key(&namespace) {
            return Err(NotSent::UnknownNamespace);
        }
        self.counters.sent.questions += 1;
        let number = self.requests.number();
        let deadline = now + timeout.unwrap_or(self.config.request_timeout);
        // The nodes are counted first: a node that begins between the two may answer and is not
        // waited for. The other way round, it would be waited for and could not answer.
        let channels = Channels(&self.config);
        let (channel, sharded) = (channels.census(&namespace), channels.sharded());
        let count = Command::Request {
            tag: number << 2 | tag::COUNT,
            request: Request::Subscribers { channel, sharded },
        };
        let question = self.command(now, &namespace, outgoing, number << 2 | tag::ENTRY, None);
        let is_down = self.is_down;
        match self.instances.get_mut(&namespace) {
            // The answers would come to a channel that is not heard yet.
            Some(instance) if !instance.awaited.is_empty() && !is_down => {
                instance.held.push((number, [count, question]));
            }
            _ => out.commands.extend([count, question]),
        }
        self.requests
            .open(number, namespace, name, wants, deadline, stream_only);
        Ok(RequestId(number))
    }

    fn stream_only(&self, namespace: &str) -> BTreeSet<NodeId> {
        let instance = self.instances.get(namespace);
        instance
            .map(|instance| instance.peers.stream_only())
            .unwrap_or_default()
    }

    /// Counts the answer of a node to one of our requests. Returns the request if the answer
    /// counts.
    pub(super) fn take_answer(
        &mut self,
        namespace: &str,
        name: &str,
        node: Option<&NodeId>,
        kind: Asked,
        bytes: usize,
    ) -> Option<u64> {
        let max_bytes = self.config.max_answer_bytes;
        let Some((number, pending)) = self
            .requests
            .find(namespace, name)
            .filter(|(_, pending)| pending.kind == kind)
        else {
            self.counters.late += 1;
            return None;
        };
        match pending.answer(node, bytes, max_bytes) {
            Verdict::Counts => Some(number),
            Verdict::Refused => {
                self.counters.refused += 1;
                None
            }
        }
    }

    /// Counts an acknowledgement. Returns the request if the acknowledgement counts.
    pub(super) fn take_ack(&mut self, namespace: &str, name: &str, bytes: usize) -> Option<u64> {
        let max_bytes = self.config.max_answer_bytes;
        let found = self.requests.find(namespace, name);
        let Some((number, pending)) = found.filter(|(_, pending)| pending.kind == Asked::Acks) else {
            self.counters.late += 1;
            return None;
        };
        match pending.acknowledge(bytes, max_bytes) {
            Verdict::Counts => Some(number),
            Verdict::Refused => {
                self.counters.refused += 1;
                None
            }
        }
    }

    pub(super) fn end_if_complete(&mut self, now: Time, number: u64, out: &mut Outputs) {
        if self
            .requests
            .get_mut(number)
            .is_some_and(|pending| pending.is_complete())
        {
            self.end(now, number, Outcome::Complete, out);
        }
    }

    pub(super) fn end(&mut self, now: Time, number: u64, outcome: Outcome, out: &mut Outputs) {
        let Some(pending) = self.requests.close(number) else {
            return;
        };
        let silent = pending.silent();
        let mut silent_nodes: Vec<NodeId> = pending.stream_only.iter().cloned().collect();
        if let Some(instance) = self.instances.get_mut(&pending.namespace) {
            let signers = instance.peers.signers(now);
            let quiet = signers.filter(|node| !pending.answered.contains(node) && !pending.stream_only.contains(node));
            let quiet: Vec<NodeId> = quiet.cloned().collect();
            if outcome != Outcome::Complete {
                // More names than silent nodes: some of these nodes are gone, and nobody knows
                // which.
                if silent_nodes.len() + quiet.len() <= usize::try_from(silent).unwrap_or(usize::MAX) {
                    silent_nodes.extend(quiet);
                }
            } else if !pending.has_unsigned() {
                // The broker has counted the nodes, all of them have answered, and these have not:
                // they are gone.
                for node in &quiet {
                    instance.peers.forget(node);
                }
            }
        }
        self.counters.incomplete += u64::from(outcome != Outcome::Complete);
        self.counters.silent = self.counters.silent.saturating_add(silent);
        let end = RequestEnd {
            outcome,
            silent,
            silent_nodes,
        };
        let request = RequestId(number);
        out.deliveries.push(Delivery::Ended { request, end });
    }

    /// A node is gone: nobody waits for it.
    pub(super) fn lose(&mut self, now: Time, namespace: &str, node: &NodeId, out: &mut Outputs) {
        if let Some(instance) = self.instances.get_mut(namespace) {
            instance.peers.forget(node);
        }
        for number in self.requests.of(namespace) {
            let waited = self
                .requests
                .get_mut(number)
                .is_some_and(|pending| pending.stream_only.remove(node));
            if waited {
                self.end_if_complete(now, number, out);
            }
        }
    }
}
