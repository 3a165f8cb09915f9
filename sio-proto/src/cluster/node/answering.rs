//! What this node answers to others.

use alloc::vec::Vec;

use bytestring::ByteString;

use super::{Node, tag};
use crate::cluster::channels::Channels;
use crate::cluster::delivery::{Asker, Medium, Wants};
use crate::cluster::emitter::NotSent;
use crate::cluster::messages::{Body, ClassicResponse, ResponseBody};
use crate::cluster::order::RemoteSocket;
use crate::cluster::output::Outputs;
use crate::socket::Args;
use crate::{ClusterKind, Time};

/// Answers. Each belongs to one [`Delivery`](crate::cluster::Delivery) that has an [`Asker`]. An
/// answer that does not fit its question is not sent.
///
/// # Errors
///
/// [`NotSent::TooLarge`], [`NotSent::UnknownNamespace`]. The other node then counts this one as
/// silent.
impl Node {
    /// Answers [`Delivery::Fetch`](crate::cluster::Delivery::Fetch), also if there are no sockets.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_sockets(
        &mut self,
        now: Time,
        asker: &Asker,
        sockets: Vec<RemoteSocket>,
        out: &mut Outputs,
    ) -> Result<(), NotSent> {
        let request_id = asker.request.clone();
        let (classic, body) = match asker.wants {
            Wants::Ids => {
                let ids = sockets.into_iter().map(|socket| socket.id).collect();
                return self.answer(now, asker, ResponseBody::Ids(ids), None, out);
            }
            _ if self.config.kind == ClusterKind::Classic => (ResponseBody::Sockets(sockets), None),
            _ => (ResponseBody::Done, Some(Body::Sockets { request_id, sockets })),
        };
        self.answer(now, asker, classic, body, out)
    }

    /// Answers [`Delivery::Rooms`](crate::cluster::Delivery::Rooms).
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_rooms(
        &mut self,
        now: Time,
        asker: &Asker,
        rooms: Vec<ByteString>,
        out: &mut Outputs,
    ) -> Result<(), NotSent> {
        self.answer(now, asker, ResponseBody::Rooms(rooms), None, out)
    }

    /// Answers [`Delivery::ServerSideEmit`](crate::cluster::Delivery::ServerSideEmit) with one
    /// value. Further values are not sent.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_server_side_emit(
        &mut self,
        now: Time,
        asker: &Asker,
        value: Args,
        out: &mut Outputs,
    ) -> Result<(), NotSent> {
        let request_id = asker.request.clone();
        let body = Body::ServerSideAnswer {
            request_id,
            value: value.clone(),
        };
        self.answer(now, asker, ResponseBody::ServerSideEmit(value), Some(body), out)
    }

    /// Answers [`Delivery::Ask`](crate::cluster::Delivery::Ask): how many sockets were asked.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_recipients(
        &mut self,
        now: Time,
        asker: &Asker,
        count: u64,
        out: &mut Outputs,
    ) -> Result<(), NotSent> {
        let request_id = asker.request.clone();
        let body = Body::ClientCount { request_id, count };
        self.answer(now, asker, ResponseBody::ClientCount(count), Some(body), out)
    }

    /// Passes on an acknowledgement for [`Delivery::Ask`](crate::cluster::Delivery::Ask), with its
    /// first argument. Further arguments are not sent.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_ack(&mut self, now: Time, asker: &Asker, value: Args, out: &mut Outputs) -> Result<(), NotSent> {
        let request_id = asker.request.clone();
        let body = Body::Ack {
            request_id,
            value: value.clone(),
        };
        self.answer(now, asker, ResponseBody::Ack(value), Some(body), out)
    }

    /// Confirms [`Delivery::CarryOut`](crate::cluster::Delivery::CarryOut) for one socket that this
    /// node has.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn answer_done(&mut self, now: Time, asker: &Asker, out: &mut Outputs) -> Result<(), NotSent> {
        self.answer(now, asker, ResponseBody::Done, None, out)
    }

    fn answer(
        &mut self,
        now: Time,
        asker: &Asker,
        classic: ResponseBody,
        body: Option<Body>,
        out: &mut Outputs,
    ) -> Result<(), NotSent> {
        let namespace = &asker.namespace;
        let sender = self.sender(namespace).ok_or(NotSent::UnknownNamespace)?;
        let channels = Channels(&self.config);
        let outgoing = match (&self.config.kind, body, &asker.node) {
            (ClusterKind::Classic, _, node) => {
                let specific = node.as_ref().filter(|_| self.config.specific_answers);
                // Genuine nodes write answers to events for servers to the common channel, always.
                let specific = specific.filter(|_| asker.wants != Wants::Value);
                let channel = channels.responses(namespace, specific.map(|node| &*node.0));
                let response = ClassicResponse {
                    uid: Some(sender.uid.clone()),
                    request_id: asker.request.clone(),
                    body: classic,
                };
                sender.publish(channel, response.encode())
            }
            (ClusterKind::Streams(streams), Some(body), _) if asker.medium == Medium::Stream => {
                sender.entry(streams, body)
            }
            (_, Some(body), Some(node)) => sender.envelope_to(channels.node(namespace, &node.0), body),
            (_, _, _) => return Ok(()), // no other adapter asks such a question
        };
        self.check(&outgoing)?;
        self.counters.sent.answers += 1;
        let number = self.requests.number();
        self.send(now, namespace, outgoing, number << 2 | tag::ENTRY, out);
        Ok(())
    }
}
