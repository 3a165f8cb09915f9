//! Events that go to the user without a [`Delivery`](super::Delivery), and answers to pings, which
//! have no outputs.

use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::{Args, LinkId, Role, Session, Shard, SocketKey, Standing, State, Time};
use crate::engine::Packet;
use crate::json::named_attachments;
use crate::socket;
use crate::socket::text::{Decoded, Limits, Partial, PartialEvent, TextEvent};
use crate::wire::Inbound;

/// The packets of one read of a websocket, if they are nothing but events for one namespace: events
/// in one text, and events with all their attachments. Looking needs no lock.
#[derive(Clone, Copy, Debug)]
pub struct EventsIn<'a> {
    packets: &'a [Inbound],
    namespace: &'a str,
    count: u32,
}

impl<'a> EventsIn<'a> {
    /// Looks at packets. Returns `None` if something else is among them: a part of an event that
    /// waits for another read, or attachments that are too large, that nothing names, or that are
    /// named wrongly. [`Shard::handle_packets`] handles whatever comes.
    #[inline]
    #[must_use]
    pub fn of(packets: &'a [Inbound], limits: &Limits) -> Option<Self> {
        let namespace = namespace_in(packets.first()?)?;
        if let [Inbound::Event(_)] = packets {
            // The usual case.
            return Some(Self {
                packets,
                namespace,
                count: 1,
            });
        }
        let (mut rest, mut count) = (packets, 0u32);
        while let Some(first) = rest.first() {
            step!();
            let length = match first {
                Inbound::Event(event) if event.namespace() == namespace => 1,
                Inbound::Partial(event) if event.event().namespace() == namespace => {
                    length_of_event(event, rest, limits)?
                }
                Inbound::Socket(Decoded::Partial(partial)) if **partial.packet.namespace() == *namespace => {
                    length_of(partial, rest, limits)?
                }
                _ => return None,
            };
            rest = rest.get(length..)?;
            count = count.checked_add(1)?;
        }
        Some(Self {
            packets,
            namespace,
            count,
        })
    }

    /// The number of events.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }
}

/// The namespace of a packet, if an event begins with it.
#[inline]
fn namespace_in(packet: &Inbound) -> Option<&str> {
    match packet {
        Inbound::Event(event) => Some(event.namespace()),
        Inbound::Partial(event) => Some(event.event().namespace()),
        Inbound::Socket(Decoded::Partial(partial)) => Some(partial.packet.namespace()),
        _ => None,
    }
}

/// How many packets an event with attachments is. `packets` begins with it. `None` if something is
/// missing, or if there is more to decide than whether it is an event.
fn length_of(partial: &Partial, packets: &[Inbound], limits: &Limits) -> Option<usize> {
    let socket::Packet::Event { args, .. } = &partial.packet else {
        return None;
    };
    let count = partial.attachments;
    let length = length_with(count, packets, limits)?;
    names_each(&args.json, count).then_some(length)
}

/// Does what [`length_of`] does for an event with its parts in their text.
#[inline]
fn length_of_event(event: &PartialEvent, packets: &[Inbound], limits: &Limits) -> Option<usize> {
    let count = event.attachments();
    let length = length_with(count, packets, limits)?;
    (event.names_each() || names_each(event.event().args_json(), count)).then_some(length)
}

/// How many packets an event with so many attachments is, if these have come and are not too large.
#[inline]
fn length_with(count: usize, packets: &[Inbound], limits: &Limits) -> Option<usize> {
    let mut bytes = 0usize;
    for packet in packets.get(1..)?.get(..count)? {
        step!();
        let Inbound::Engine(Packet::Binary(attachment)) = packet else {
            return None;
        };
        bytes = bytes.checked_add(attachment.len())?;
    }
    (bytes <= limits.max_attachment_bytes).then(|| count.saturating_add(1))
}

/// Whether the placeholders name each attachment once, and nothing else.
fn names_each(json: &str, count: usize) -> bool {
    named_attachments(json, count).is_ok_and(|named| (0..count).all(|number| named.contains(number)))
}

/// An event with its attachments.
#[derive(Debug)]
pub struct BinaryEvent {
    /// The name.
    pub name: ByteString,
    /// The arguments.
    pub args: Args,
    /// The number that the sender chose for the acknowledgement it wants.
    pub id: Option<u64>,
}

impl BinaryEvent {
    /// Takes an event with its attachments out of the packets, which begin with it and have been
    /// looked at ([`EventsIn`]). Also returns how many packets it was. The list of its attachments
    /// uses the memory of `list`, which is empty. Returns `None` if no such event stands there. An
    /// event is taken once: its attachments are gone then.
    pub fn take(packets: &mut [Inbound], list: Vec<Bytes>) -> Option<(Self, usize)> {
        let (first, rest) = packets.split_first_mut()?;
        let (name, mut args, id, count) = match first {
            Inbound::Partial(partial) => {
                let event = partial.event();
                (event.shared_name(), event.args(), event.id(), partial.attachments())
            }
            Inbound::Socket(Decoded::Partial(Partial { packet, attachments })) => match packet.take() {
                socket::Packet::Event { name, id, args, .. } => (name, args, id, *attachments),
                _ => return None,
            },
            _ => return None,
        };
        args.attachments = take_attachments(rest, count, list)?;
        Some((Self { name, args, id }, count.saturating_add(1)))
    }

    /// The event with attachments that the packets begin with, which have been looked at
    /// ([`EventsIn`]), if its parts are in their text, and its attachments, which are taken out of
    /// the packets. It does what [`BinaryEvent::take`] does, and leaves the event where it is.
    #[inline]
    pub fn split(packets: &mut [Inbound], list: Vec<Bytes>) -> Option<(&mut TextEvent, Vec<Bytes>)> {
        let (Inbound::Partial(partial), rest) = packets.split_first_mut()? else {
            return None;
        };
        let attachments = take_attachments(rest, partial.attachments(), list)?;
        Some((partial.event_mut(), attachments))
    }
}

/// Takes so many attachments out of packets.
#[inline]
fn take_attachments(packets: &mut [Inbound], count: usize, mut list: Vec<Bytes>) -> Option<Vec<Bytes>> {
    for packet in packets.get_mut(..count)? {
        step!();
        let Inbound::Engine(Packet::Binary(bytes)) = packet else {
            return None;
        };
        list.push(core::mem::take(bytes));
    }
    Some(list)
}

impl Shard {
    /// Takes packets of a websocket that are nothing but events for one connected socket. This is
    /// the usual case, and a shard has no part in such events: it only knows the socket that they
    /// are for. `takes` is called with this socket. If it returns true, the caller gives the events
    /// to the user itself, in their order and before anything that a later input delivers. Then the
    /// shard has counted them, and this returns true.
    ///
    /// Otherwise nothing has happened, and the caller calls [`Shard::handle_packets`], which has
    /// the same effect for such packets. This is also so if any client has a limit of what it may
    /// send, or if a transcript is written.
    ///
    /// The cost is a look at the slots of the link and the session, and one comparison for each
    /// namespace of the session.
    pub fn take_events(&mut self, link: LinkId, events: &EventsIn<'_>, takes: impl FnOnce(SocketKey) -> bool) -> bool {
        #[cfg(feature = "transcript")]
        if self.recorder.is_some() {
            return false;
        }
        let taken = self.socket_of_events(link, events).is_some_and(takes);
        if taken {
            self.core.counters.packets_in += events.packets.len() as u64;
        }
        taken
    }

    /// Takes the only packet of a read, if it is the answer of a websocket to a ping. Such an
    /// answer delivers nothing and writes nothing: it only moves the next heartbeat. Returns
    /// whether it has been taken. Otherwise nothing has happened, and the caller calls
    /// [`Shard::handle_packets`], which has the same effect. This is also so if something else has
    /// to be done at the next input, if any client has a limit of what it may send, or if a
    /// transcript is written.
    pub fn take_pong(&mut self, now: Time, link: LinkId, packets: &[Inbound]) -> bool {
        #[cfg(feature = "transcript")]
        if self.recorder.is_some() {
            return false;
        }
        let ([Inbound::Engine(Packet::Pong(_))], Some((key, Role::WebSocket))) = (packets, self.core.links.get(link))
        else {
            return false;
        };
        let core = &mut self.core;
        let is_quiet =
            core.departing.is_empty() && core.overfull.is_empty() && !core.measures && core.backlog.excess() == 0;
        let takes = |session: &&mut Session| {
            session.wiring.engine().is_some() && session.state == State::Open && !session.reassembly.is_pending()
        };
        let Some(session) = self.sessions.named_mut(key).filter(takes).filter(|_| is_quiet) else {
            return false;
        };
        core.counters.packets_in += 1;
        session.hear_pong(now, key, &mut core.timers);
        true
    }

    /// The connected socket that these events are for, if there is such a socket.
    #[inline]
    fn socket_of_events(&self, link: LinkId, events: &EventsIn<'_>) -> Option<SocketKey> {
        let (key, role) = self.core.links.get(link)?;
        let session = self.sessions.named(key)?;
        let passes_on = role == Role::WebSocket
            && session.wiring.engine().is_some()
            && session.state == State::Open
            && !session.reassembly.is_pending()
            && !self.core.measures;
        let (socket, standing) = self.core.membership.in_namespace(&session.sockets, events.namespace)?;
        (passes_on && standing == Standing::Connected).then(|| self.core.membership.key(socket))
    }
}
