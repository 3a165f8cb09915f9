//! What this node sends: orders and questions, and how its questions end.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::requests::{Kind, Verdict};
use super::{Node, tag};
use crate::Time;
use crate::broker::{Command, Request};
use crate::cluster::channels::Channels;
use crate::cluster::delivery::{Delivery, Outcome, RequestEnd, RequestId};
use crate::cluster::emitter::{NotSent, check_order, check_server_side_name};
use crate::cluster::order::{LocalOrder, NodeId, Order, Question};
use crate::cluster::output::Outputs;
use crate::cluster::sending::Outgoing;

impl Node {
    /// Sends what the application wants from the other nodes.
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
        match order {
            LocalOrder::CarryOut(order) => self.carry_out(now, namespace, order, out),
            LocalOrder::ServerSideEmit(emit) => {
                check_server_side_name(&emit)?;
                let in_stream = self.has_stream_only(namespace);
                let sender = self.sender(namespace).ok_or(NotSent::UnknownNamespace)?;
                let outgoing = sender.server_side_emit(emit, in_stream);
                self.check(&outgoing)?;
                self.counters.sent.server_side_emits += 1;
                let number = self.requests.number();
                self.send(now, namespace, outgoing, number << 2 | tag::ENTRY, out);
                Ok(None)
            }
            LocalOrder::Ask { question, timeout } => {
                let mut question = question;
                let deadline = match &mut question {
                    // The others have to know how long to wait for their sockets.
                    Question::Acks { flags, .. } => {
                        let default = timeout.unwrap_or(self.config.request_timeout);
                        now + *flags.timeout.get_or_insert(default)
                    }
                    Question::Sockets { .. } | Question::ServerSideEmit { .. } => {
                        now + timeout.unwrap_or(self.config.request_timeout)
                    }
                };
                self.ask(now, namespace, question, deadline, out).map(Some)
            }
        }
    }

    fn carry_out(
        &mut self,
        now: Time,
        namespace: &ByteString,
        order: Order,
        out: &mut Outputs,
    ) -> Result<Option<RequestId>, NotSent> {
        check_order(&order)?;
        let is_broadcast = matches!(order, Order::Broadcast { .. });
        let sender = self.sender(namespace).ok_or(NotSent::UnknownNamespace)?;
        let outgoing = sender.order(order);
        self.check(&outgoing)?;
        match is_broadcast {
            true => self.counters.sent.broadcasts += 1,
            false => self.counters.sent.orders += 1,
        }
        let ticket = match outgoing {
            Outgoing::Entry { .. } => Some(RequestId(self.requests.number())),
            Outgoing::Channel { .. } => None,
        };
        let number = ticket.map_or(0, |RequestId(number)| number);
        self.send(now, namespace, outgoing, number << 2 | tag::ORDER, out);
        Ok(ticket)
    }

    fn ask(
        &mut self,
        now: Time,
        namespace: &ByteString,
        question: Question,
        deadline: Time,
        out: &mut Outputs,
    ) -> Result<RequestId, NotSent> {
        if self.requests.len() >= self.config.max_requests {
            return Err(NotSent::TooManyRequests);
        }
        let kind = match &question {
            Question::Sockets { .. } => Kind::Sockets,
            Question::ServerSideEmit { emit } => {
                check_server_side_name(emit)?;
                Kind::Values
            }
            Question::Acks { emit, .. } if crate::socket::is_reserved_event(&emit.name) => {
                return Err(NotSent::ReservedName);
            }
            Question::Acks { .. } => Kind::Acks,
        };
        let name = self.draw();
        let stream_only = self.stream_only(namespace);
        let sender = self.sender(namespace).ok_or(NotSent::UnknownNamespace)?;
        let outgoing = sender.question(question, &name, !stream_only.is_empty());
        self.check(&outgoing)?;
        self.counters.sent.questions += 1;
        let number = self.requests.number();
        // The nodes are counted first: a node that begins between the two may answer and is not
        // waited for. The other way round, it would be waited for and could not answer.
        let channels = Channels(&self.config);
        let (channel, sharded) = (channels.census(namespace), channels.sharded());
        out.commands.push(Command::Request {
            tag: number << 2 | tag::COUNT,
            request: Request::Subscribers { channel, sharded },
        });
        self.send(now, namespace, outgoing, number << 2 | tag::ENTRY, out);
        self.requests
            .open(number, namespace.clone(), name, kind, deadline, stream_only);
        Ok(RequestId(number))
    }

    pub(super) fn has_stream_only(&self, namespace: &str) -> bool {
        let instance = self.instances.get(namespace);
        instance.is_some_and(|instance| instance.peers.has_stream_only())
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
        kind: Kind,
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
        let Some((number, pending)) = found.filter(|(_, pending)| pending.kind == Kind::Acks) else {
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
