//! Which channels a node hears: those of its namespaces and of its rooms, each by its exact name.

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::{Instance, Node, marks};
use crate::broker::{Command, StreamPosition};
use crate::cluster::channels::{Channels, stream};
use crate::cluster::delivery::{Delivery, Outcome};
use crate::cluster::emitter::NotSent;
use crate::cluster::messages::Body;
use crate::cluster::order::NodeId;
use crate::cluster::output::Outputs;
use crate::{ClusterKind, Time};

/// What a channel is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: ByteString,
    pub(super) purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Broadcasts of the classic adapter; everything with the others. Also the channels of rooms.
    Messages,
    /// Requests of the classic adapter.
    Requests,
    /// Answers of the classic adapter.
    Responses,
}

impl Node {
    /// Begins to hear a namespace. [`Delivery::Ready`] follows when everything is heard; clients
    /// that are let in before may miss messages. A namespace that is open already stays as it is.
    ///
    /// The node has a new name in it each time.
    pub fn open_namespace(&mut self, now: Time, namespace: &ByteString, out: &mut Outputs) {
        let Some(instance) = self.instances.get_mut(namespace) else {
            return self.open_instance(now, namespace, None, out);
        };
        // It may have been open for questions.
        if instance.guest_until.take().is_some() {
            self.guests.remove(namespace);
            if instance.awaited.is_empty() {
                let namespace = namespace.clone();
                out.deliveries.push(Delivery::Ready { namespace });
            }
        }
    }

    /// Opens a namespace for a question, unless it is open, and keeps it open for the answers.
    pub(super) fn open_as_guest(
        &mut self,
        now: Time,
        namespace: &ByteString,
        out: &mut Outputs,
    ) -> Result<(), NotSent> {
        let until = now + self.config.request_timeout;
        match self.instances.get_mut(namespace) {
            Some(instance) => {
                if let Some(known) = &mut instance.guest_until {
                    *known = until;
                }
            }
            None if self.guests.len() >= self.config.max_requests => return Err(NotSent::TooManyRequests),
            None => {
                self.guests.insert(namespace.clone());
                self.open_instance(now, namespace, Some(until), out);
            }
        }
        Ok(())
    }

    /// Closes the namespaces in which nothing has been asked for some time.
    pub(super) fn close_guests(&mut self, now: Time, out: &mut Outputs) {
        for namespace in self.guests.clone() {
            let Some(instance) = self.instances.get_mut(&namespace) else {
                continue;
            };
            if instance.guest_until.is_none_or(|until| until > now) {
                continue;
            }
            match self.requests.of(&namespace).is_empty() {
                true => self.close_instance(now, &namespace, out),
                false => instance.guest_until = Some(now + self.config.request_timeout),
            }
        }
    }

    fn open_instance(&mut self, now: Time, namespace: &ByteString, guest_until: Option<Time>, out: &mut Outputs) {
        let id = NodeId(self.draw());
        let mut awaited = alloc::collections::BTreeSet::new();
        for (channel, purpose) in self.own_channels(namespace, &id) {
            awaited.insert(channel.clone());
            self.subscribe(channel, namespace, purpose, out);
        }
        if let ClusterKind::Streams(streams) = &self.config.kind {
            let stream = stream(streams, namespace);
            let readers = self.streams.entry(stream.clone()).or_insert(0);
            *readers += 1;
            if *readers == 1 {
                let after = StreamPosition::End;
                out.commands.push(Command::ReadStream { stream, after });
            }
        }
        let instance = Instance {
            marks: marks(&self.config.kind, &id, namespace),
            id,
            awaited,
            held: Vec::new(),
            guest_until,
            peers: super::Peers::default(),
            said: now,
        };
        self.instances.insert(namespace.clone(), instance);
    }

    /// Hears a namespace and its rooms no more. Its requests end. A namespace that the application
    /// has not opened stays as it is.
    pub fn close_namespace(&mut self, now: Time, namespace: &ByteString, out: &mut Outputs) {
        if self.id(namespace).is_some() {
            self.close_instance(now, namespace, out);
        }
    }

    fn close_instance(&mut self, now: Time, namespace: &ByteString, out: &mut Outputs) {
        for number in self.requests.of(namespace) {
            self.end(now, number, Outcome::Closed, out);
        }
        if let Some(instance) = self.instances.get(namespace)
            && instance.peers.has_stream_only()
        {
            self.beat(now, namespace, Body::Close, out);
        }
        let Some(instance) = self.instances.remove(namespace) else {
            return;
        };
        self.beating.remove(namespace);
        self.guests.remove(namespace);
        let mut left = Vec::new();
        let mut leave = |channel: &Bytes, places: &mut Vec<Place>| {
            places.retain(|place| place.namespace != *namespace);
            if places.is_empty() {
                left.push(channel.clone());
            }
        };
        // The channels of the namespace and its rooms stand side by side, because their names begin
        // alike. So no other channel is looked at, except where `#` stands in a name.
        let first = Channels(&self.config).everything(namespace);
        for (channel, places) in self.channels.range_mut(first.clone()..) {
            if !channel.starts_with(&first) {
                break;
            }
            leave(channel, places);
        }
        for (channel, _) in self.own_channels(namespace, &instance.id) {
            if let Some(places) = self.channels.get_mut(&channel).filter(|_| !channel.starts_with(&first)) {
                leave(&channel, places);
            }
        }
        left.into_iter().for_each(|channel| self.unsubscribe(channel, out));
        if let ClusterKind::Streams(streams) = &self.config.kind {
            let stream = stream(streams, namespace);
            let readers = self.streams.get_mut(&stream);
            let readers = readers.map(|readers| {
                *readers -= 1;
                *readers
            });
            if readers == Some(0) {
                self.streams.remove(&stream);
                out.commands.push(Command::StopStream { stream });
            }
        }
    }

    /// A room has its first member here. A socket's own id is a room, too. Messages to the room
    /// that were published before the broker has subscribed are missed, as on genuine nodes.
    pub fn open_room(&mut self, namespace: &ByteString, room: &str, out: &mut Outputs) {
        if self.id(namespace).is_none() {
            return;
        }
        if let Some(channel) = Channels(&self.config).room(namespace, room) {
            self.subscribe(channel, namespace, Purpose::Messages, out);
        }
    }

    /// The channel of a room, if rooms like this one have channels of their own.
    /// [`Event::Subscribed`](crate::broker::Event::Subscribed) names it when the broker hears it.
    #[must_use]
    pub fn room_channel(&self, namespace: &str, room: &str) -> Option<Bytes> {
        Channels(&self.config).room(namespace, room)
    }

    /// A room has lost its last member here.
    pub fn close_room(&mut self, namespace: &ByteString, room: &str, out: &mut Outputs) {
        let channels = Channels(&self.config);
        let Some(channel) = channels.room(namespace, room) else {
            return;
        };
        // A room whose name is that of this node shares the channel of the answers.
        let own = self.instances.get(namespace);
        if own.is_some_and(|own| {
            self.own_channels(namespace, &own.id)
                .iter()
                .any(|(name, _)| *name == channel)
        }) {
            return;
        }
        let Some(places) = self.channels.get_mut(&channel) else {
            return;
        };
        places.retain(|place| place.namespace != *namespace);
        if places.is_empty() {
            self.unsubscribe(channel, out);
        }
    }

    /// The broker hears a channel.
    pub(super) fn subscribed(&mut self, channel: &Bytes, out: &mut Outputs) {
        let Some(places) = self.channels.get(channel) else {
            return;
        };
        for place in places {
            let Some(instance) = self.instances.get_mut(&place.namespace) else {
                continue;
            };
            if instance.awaited.remove(channel) && instance.awaited.is_empty() {
                for (number, commands) in core::mem::take(&mut instance.held) {
                    // It may have ended meanwhile.
                    if self.requests.get_mut(number).is_some() {
                        out.commands.extend(commands);
                    }
                }
                if instance.guest_until.is_none() {
                    let namespace = place.namespace.clone();
                    out.deliveries.push(Delivery::Ready { namespace });
                }
            }
        }
    }

    /// The channels of a namespace without its rooms.
    fn own_channels(&self, namespace: &str, id: &NodeId) -> Vec<(Bytes, Purpose)> {
        let channels = Channels(&self.config);
        let everything = (channels.everything(namespace), Purpose::Messages);
        match self.config.kind {
            ClusterKind::Classic => alloc::vec![
                everything,
                (channels.requests(namespace), Purpose::Requests),
                (channels.responses(namespace, None), Purpose::Responses),
                (channels.responses(namespace, Some(&id.0)), Purpose::Responses),
            ],
            ClusterKind::Sharded { .. } | ClusterKind::Streams(_) => {
                alloc::vec![everything, (channels.node(namespace, &id.0), Purpose::Messages)]
            }
        }
    }

    fn subscribe(&mut self, channel: Bytes, namespace: &ByteString, purpose: Purpose, out: &mut Outputs) {
        let namespace = namespace.clone();
        let place = Place { namespace, purpose };
        // Nearly every channel is for one place.
        let places = self.channels.entry(channel.clone());
        let places = places.or_insert_with(|| Vec::with_capacity(1));
        if places.contains(&place) {
            return;
        }
        places.push(place);
        // The room of another namespace may have the same channel. The broker then answers at once.
        let sharded = Channels(&self.config).sharded();
        out.commands.push(Command::Subscribe { channel, sharded });
    }

    fn unsubscribe(&mut self, channel: Bytes, out: &mut Outputs) {
        self.channels.remove(&channel);
        let sharded = Channels(&self.config).sharded();
        out.commands.push(Command::Unsubscribe { channel, sharded });
    }
}
