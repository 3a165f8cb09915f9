//! What the user sends: the queue, acknowledgements, and what is written next.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::config::{ClientConfig, Generation};
use super::emit::{Emit, Offline, Pending};
use super::event::{AckTicket, EmitId, NotSent, Outcome, SocketId};
use super::manager::{Client, Stage};
use super::protocol::{Feature, Protocol};
use super::session::{self, Packed};
use super::socket::{Answer, Event, Receipts, bytes_of_answer, bytes_of_event};
use crate::engine::Revision;
use crate::socket::text::Encoder;
use crate::socket::{self, Args, Packet, is_reserved_event};
use crate::{Time, codec, engine};

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The client was closed, or there is no such namespace.
    #[error("the client was closed")]
    Closed,
    /// The name is one of [`RESERVED_EVENTS`](crate::socket::RESERVED_EVENTS).
    #[error("reserved event name")]
    ReservedEvent,
    /// The queue has no room for it
    /// ([`ClientConfig::max_queued_bytes`](super::ClientConfig::max_queued_bytes)).
    #[error("the queue is full")]
    QueueFull,
    /// It is larger than the server takes, which the server says when the client connects
    /// (`maxPayload` of Engine.IO 4; on polling, bytes have the size of their base64). Or it would
    /// have to wait, and is larger than the whole queue
    /// ([`ClientConfig::max_queued_bytes`](super::ClientConfig::max_queued_bytes)). An event that
    /// waits for a connection may still end as [`NotSent::TooLarge`].
    #[error("the event has {bytes} bytes, and at most {max} are allowed")]
    TooLarge {
        /// The size of the event.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Too many events wait for acknowledgements
    /// ([`ClientConfig::max_in_flight`](super::ClientConfig::max_in_flight)).
    #[error("too many events wait for acknowledgements")]
    TooManyInFlight,
    /// The generation of the server does not have what the event needs. With
    /// [`Generation::Auto`] this is known while the client is connected; an event that waits for a
    /// connection may still end as [`NotSent::Unsupported`].
    #[error("this generation does not have {0}")]
    Unsupported(Feature),
    /// The namespace is not connected, and the event must not wait ([`Offline::Reject`]).
    #[error("not connected")]
    NotConnected,
}

impl Client {
    /// Sends an event, or puts it into the queue. How it ends is told once by
    /// [`Delivery::Receipt`](super::Delivery::Receipt).
    ///
    /// # Errors
    ///
    /// [`EmitError`]. Then there is no receipt.
    pub fn emit(&mut self, now: Time, socket: SocketId, emit: Emit) -> Result<EmitId, EmitError> {
        let at = socket.0 as usize;
        let Some(place) = self.sockets.get(at).filter(|_| !self.closed) else {
            return Err(EmitError::Closed);
        };
        if is_reserved_event(&emit.name) {
            return Err(EmitError::ReservedEvent);
        }
        let is_connected = place.is_connected();
        if is_connected || self.config.generation != Generation::Auto {
            self.protocol.check_emit(&emit).map_err(EmitError::Unsupported)?;
        }
        if emit.offline == Offline::Reject && !is_connected {
            return Err(EmitError::NotConnected);
        }
        let is_volatile = emit.offline == Offline::Volatile;
        if is_connected {
            let has_id = emit.ack || self.config.retries > 0 && !is_volatile;
            self.check_event(at, &emit, has_id)?;
        }
        let place = &self.sockets[at];
        let retries = self.config.retries > 0 && !is_volatile;
        let needs_ack = emit.ack || retries;
        if needs_ack && place.has_unacknowledged(self.config.max_in_flight) {
            return Err(EmitError::TooManyInFlight);
        }
        let is_stalled = place.unconfirmed.is_full(self.config.max_unconfirmed);
        let has_room = matches!(&self.stage, Stage::Session(session) if session.has_room(&self.config));
        // What the caller has not taken to the network yet waits, too.
        let unsent = self.outputs.bytes();
        let is_writable = is_connected && has_room && !is_stalled && unsent < self.config.max_queued_bytes;
        let mut receipts = Receipts::new();
        // Behind events that wait, it would wait, too, perhaps for the next connection.
        let leaves_now = is_writable && place.queue.is_empty();
        if is_volatile && !leaves_now {
            let id = EmitId(self.number());
            receipts.push((id, Outcome::NotSent(NotSent::Volatile)));
            self.report(receipts);
            return Ok(id);
        }
        let key = match emit.offline {
            Offline::Newest(key) => Some(key),
            Offline::Queue | Offline::Reject | Offline::Volatile => None,
        };
        let timeout = emit.timeout.unwrap_or(self.config.ack_timeout);
        let age = self.config.max_queue_age;
        let deadline = [age, (emit.ack && !retries).then_some(timeout)]
            .into_iter()
            .flatten()
            .min();
        let event = Event {
            emit: EmitId(self.number()),
            name: emit.name,
            args: emit.args,
            since: now,
            wants_ack: emit.ack,
            timeout,
            key: key.clone(),
            was_written: false,
            retries,
            tries: 0,
            is_volatile,
            buffered: !is_connected,
            deadline: deadline.map(|deadline| now + deadline),
        };
        step!(each self.sockets.len());
        let held: usize = self.sockets.iter().map(|socket| socket.held_bytes).sum();
        let held = held + unsent;
        let waits = !is_writable || held > 0;
        // The event whose place it takes makes room for it.
        let freed = key.as_ref().map_or(0, |key| self.sockets[at].bytes_of_key(key));
        let (bytes, max) = (event.bytes(), self.config.max_queued_bytes);
        if waits && bytes > max {
            return Err(EmitError::TooLarge { bytes, max });
        }
        if waits && held - freed + bytes > max {
            return Err(EmitError::QueueFull);
        }
        if key.is_some() {
            self.sockets[at].remove(NotSent::Replaced, &mut receipts, |event| event.key == key);
        }
        let id = event.emit;
        self.sockets[at].push(event);
        self.report(receipts);
        self.settle(now);
        Ok(id)
    }

    /// Answers an event of the server. Returns false if the connection on which it came has ended:
    /// nothing is sent then. A server that asks and does not read makes answers wait: if they have
    /// more than [`ClientConfig::max_answer_bytes`](super::ClientConfig::max_answer_bytes), the
    /// connection ends.
    ///
    /// # Errors
    ///
    /// [`EmitError::Unsupported`] if the generation of the server cannot carry the arguments, and
    /// [`EmitError::TooLarge`] if the server does not take as much. Nothing is sent then.
    pub fn answer(&mut self, now: Time, ticket: AckTicket, args: Args) -> Result<bool, EmitError> {
        self.protocol.check_args(&args).map_err(EmitError::Unsupported)?;
        let at = ticket.socket.0 as usize;
        if self.is_connected(ticket.socket) {
            self.check_answer(at, ticket.id, &args)?;
        }
        Ok(self.answer_if_connected(now, ticket, args))
    }

    fn answer_if_connected(&mut self, now: Time, ticket: AckTicket, args: Args) -> bool {
        let number = self.number();
        step!(each self.sockets.len());
        let waiting: usize = self.sockets.iter().map(|socket| socket.answer_bytes).sum();
        let Some(socket) = self.sockets.get_mut(ticket.socket.0 as usize) else {
            return false;
        };
        if self.closed || !socket.is_connected() || socket.connection != ticket.connection {
            return false;
        }
        // One answer is always taken, so that a large one does not end the connection.
        if waiting > 0 && waiting + bytes_of_answer(&args) > self.config.max_answer_bytes {
            self.break_off(now, "the server asks, and does not read the answers");
            self.settle(now);
            return false;
        }
        let id = ticket.id;
        socket.push_answer(Answer { number, id, args });
        self.settle(now);
        true
    }

    /// The events of a namespace that wait to be written, in their order.
    pub fn pending(&self, socket: SocketId) -> impl Iterator<Item = Pending<'_>> {
        self.sockets
            .get(socket.0 as usize)
            .into_iter()
            .flat_map(|socket| socket.pending())
    }

    /// Takes an event out of the queue. Returns false if it does not wait there.
    pub fn remove_pending(&mut self, emit: EmitId) -> bool {
        let mut receipts = Receipts::new();
        for socket in &mut self.sockets {
            socket.remove(NotSent::Removed, &mut receipts, |event| event.emit == emit);
        }
        let found = !receipts.is_empty();
        self.report(receipts);
        found
    }

    /// Gives an event that waits another name and other arguments. It keeps its number, its place
    /// in the queue and its times. Returns false if it does not wait any more, or was written
    /// before and waits to be written again: the server may have had it, so it stays what it was.
    ///
    /// # Errors
    ///
    /// Those of [`Client::emit`] for such an event. Then nothing has changed.
    pub fn replace_pending(
        &mut self,
        emit: EmitId,
        name: impl Into<ByteString>,
        args: Args,
    ) -> Result<bool, EmitError> {
        let found = self
            .sockets
            .iter()
            .enumerate()
            .find_map(|(at, socket)| Some((at, socket.unwritten(emit)?)));
        let Some((at, event)) = found else { return Ok(false) };
        let (asks, old) = (event.wants_ack, event.bytes());
        let has_id = asks || event.retries;
        let mut draft = Emit::new(name, args);
        draft.ack = asks;
        if is_reserved_event(&draft.name) {
            return Err(EmitError::ReservedEvent);
        }
        let is_connected = self.sockets[at].is_connected();
        if is_connected || self.config.generation != Generation::Auto {
            self.protocol.check_emit(&draft).map_err(EmitError::Unsupported)?;
        }
        if is_connected {
            self.check_event(at, &draft, has_id)?;
        }
        let (bytes, max) = (bytes_of_event(&draft.name, &draft.args), self.config.max_queued_bytes);
        let held: usize = self.sockets.iter().map(|socket| socket.held_bytes).sum();
        if bytes > max {
            return Err(EmitError::TooLarge { bytes, max });
        }
        if bytes > old && held + self.outputs.bytes() - old + bytes > max {
            return Err(EmitError::QueueFull);
        }
        self.sockets[at].replace(emit, draft.name, draft.args);
        Ok(true)
    }

    /// Takes all events of a namespace out of the queue.
    pub fn clear_pending(&mut self, socket: SocketId) {
        let mut receipts = Receipts::new();
        if let Some(socket) = self.sockets.get_mut(socket.0 as usize) {
            socket.remove(NotSent::Removed, &mut receipts, |_| true);
        }
        self.report(receipts);
    }

    /// Writes what the transport takes: packets of all namespaces, in the order of their emits.
    pub(super) fn flush(&mut self, now: Time) {
        self.drain_at = self.drain_at.filter(|time| now < *time);
        loop {
            while matches!(&self.stage, Stage::Session(session) if session.has_room(&self.config)) {
                let Some(at) = self.next_socket(now) else { break };
                if !self.take_from(now, at, false) {
                    break;
                }
            }
            let wrote = self.with_session(now, |session, cx| session.pump(cx));
            if wrote != Some(true) {
                break;
            }
        }
    }

    fn next_socket(&self, now: Time) -> Option<usize> {
        step!(each self.sockets.len());
        let may_drain = self.may_drain(now);
        let connected = self
            .sockets
            .iter()
            .enumerate()
            .filter(|(_, socket)| socket.is_connected());
        let numbers = connected.filter_map(|(at, socket)| Some((socket.next_number(&self.config, may_drain)?, at)));
        numbers.min().map(|(_, at)| at)
    }

    fn may_drain(&self, now: Time) -> bool {
        self.drain_at.is_none_or(|time| time <= now)
    }

    /// Takes the next entry of a namespace, if it leaves with what waits already or if `anyway` is
    /// set. Returns whether there was one.
    fn take_from(&mut self, now: Time, at: usize, anyway: bool) -> bool {
        let may_drain = self.may_drain(now);
        if self.refuse_too_large(at, may_drain) {
            return true;
        }
        let mut receipts = Receipts::new();
        let (config, protocol, buffer) = (&self.config, self.protocol, &mut self.buffer);
        let stage = &self.stage;
        let encode = |packet: &Packet| {
            let packed = encode(protocol, config, buffer, packet);
            let leaves = anyway || matches!(stage, Stage::Session(session) if session.fits(&packed, config));
            leaves.then_some(packed)
        };
        let taken = self.sockets[at].take(now, config, protocol, may_drain, encode, &mut receipts);
        self.report(receipts);
        let Some(taken) = taken else { return false };
        let Some((packed, buffered)) = taken else { return true };
        if buffered && self.config.drain_per_second > 0 {
            // What could not leave because a request was under way leaves with the next one, but no
            // more than in a second.
            let earliest = Time::ZERO + now.saturating_since(Time::ZERO).saturating_sub(Duration::from_secs(1));
            let due = self.drain_due.max(earliest) + Duration::from_secs(1) / self.config.drain_per_second;
            (self.drain_due, self.drain_at) = (due, (due > now).then_some(due));
        }
        self.send(packed);
        true
    }

    /// Writes all that a namespace may still write, because it is about to leave.
    pub(super) fn flush_socket(&mut self, now: Time, at: usize) {
        while self.take_from(now, at, true) {}
    }

    /// Gives a packet to the session. A packet that the parser cannot write is left out.
    pub(super) fn send_packet(&mut self, packet: &Packet) {
        let packed = self.encode(packet);
        self.send(packed);
    }

    fn send(&mut self, packed: Vec<Packed>) {
        if let Stage::Session(session) = &mut self.stage {
            for packed in packed {
                step!(bulk packed.len());
                session.send(packed);
            }
        }
    }

    /// A packet as messages of the transport: none, if the parser cannot write the packet.
    pub(super) fn encode(&mut self, packet: &Packet) -> Vec<Packed> {
        encode(self.protocol, &self.config, &mut self.buffer, packet)
    }
}

/// Does what [`Client::encode`] does, while other parts of the client are borrowed.
fn encode(protocol: Protocol, config: &ClientConfig, buffer: &mut BytesMut, packet: &Packet) -> Vec<Packed> {
    let revision = match protocol {
        Protocol::Engine(revision) => revision,
        Protocol::Legacy09 => return session::encode_legacy09(packet).into_iter().collect(),
        Protocol::Legacy06 => return session::encode_plain(&codec::Framing, packet).into_iter().collect(),
        Protocol::Streaming => return session::encode_plain(&codec::Streaming, packet).into_iter().collect(),
    };
    if let Some(parser) = &config.parser {
        buffer.clear();
        let frames = codec::assemble(&**parser, packet, revision, usize::MAX, buffer);
        let Ok((first, more)) = frames else { return Vec::new() };
        let packed = |frame: crate::Frame| match frame.is_binary() {
            true => Packed::Binary(Bytes::copy_from_slice(engine::frames::data(revision, &frame))),
            false => Packed::Text(frame.payload_bytes()),
        };
        return first.into_iter().chain(more).map(packed).collect();
    }
    let encoder = Encoder::new(match revision {
        Revision::V4 => socket::Revision::Five,
        Revision::V3 => socket::Revision::Four,
    });
    let mut text = BytesMut::new();
    text.put_u8(b'4');
    encoder.packet(&mut text, packet);
    let attachments = packet.args().map(|args| &args.attachments[..]).unwrap_or_default();
    let attachments = attachments.iter().cloned().map(Packed::Binary);
    [Packed::Text(text.freeze())].into_iter().chain(attachments).collect()
}
