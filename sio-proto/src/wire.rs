//! From text and bytes of a link to packets, without a lock. Only streams need state.
//!
//! A [`Wire`] is set when a connection becomes a websocket. Its [`WireDecoder`] turns each message
//! into an [`Inbound`], completely parsed and checked. So the shard, which is locked while it
//! works, only has to act.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub(crate) mod engine;
pub(crate) mod legacy06;
pub(crate) mod legacy09;
mod poll;
mod reassembly;

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use self::engine as bodies;
use crate::breach::{Breach, BreachKind};
use crate::engine::{self as format, EngineMessage, Revision};
use crate::json::Controls;
use crate::keep::{Source, is_small_part};
use crate::socket::text::{Decoded, PartialEvent, TextEvent};
use crate::{Config, legacy};

pub use legacy06::Garbled;
pub use poll::PollEncoding;
pub use reassembly::Reassembly;

/// The wire of a websocket's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// Engine.IO 4 packets. Their messages hold Socket.IO 5 packets in the form of
    /// [`Config::parser`].
    Engine4,
    /// Engine.IO 4 packets. Their messages belong to the user.
    Engine4Raw,
    /// Engine.IO 3 packets. Their messages hold Socket.IO 4 packets in the form of
    /// [`Config::parser`].
    Engine3,
    /// Engine.IO 3 packets. Their messages belong to the user.
    Engine3Raw,
    /// Packets of 0.7-0.9.
    Legacy09,
    /// Packets of 0.7-0.9 on a websocket whose session is unknown. On a hixie-76 websocket, nothing
    /// can be written before the handshake is complete, so the client is told after the handshake.
    Legacy09Unknown,
    /// Payloads of the 0.6 family, in the codec with this number
    /// ([`Legacy06::codecs`](crate::Legacy06::codecs)).
    Legacy06(u8),
}

impl Wire {
    /// Whether packets may be written together with the head of the handshake.
    ///
    /// Clients of Engine.IO 4 listen before they have read the head: genuine servers write head and
    /// open packet one directly behind the other, and these clients often read both at once
    /// (docs/protocol/engine-io.md §5). Older clients, and the official suite of Engine.IO 3, may
    /// begin to listen when the websocket is open. What they read together with the head is then
    /// lost for them.
    #[must_use]
    pub const fn may_follow_head(self) -> bool {
        match self {
            Self::Engine4 | Self::Engine4Raw => true,
            Self::Engine3 | Self::Engine3Raw | Self::Legacy09 | Self::Legacy09Unknown | Self::Legacy06(_) => false,
        }
    }

    /// Whether its sessions live on without their websocket.
    pub(crate) const fn outlives_connection(self) -> bool {
        match self {
            Self::Legacy06(_) => true,
            Self::Engine4
            | Self::Engine4Raw
            | Self::Engine3
            | Self::Engine3Raw
            | Self::Legacy09
            | Self::Legacy09Unknown => false,
        }
    }
}

/// One packet from a peer, parsed and checked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Inbound {
    /// An Engine.IO packet. It is a message only in three cases: the session is raw, the message is
    /// an attachment, or only the session knows the dialect of the message
    /// (docs/protocol/engine-io.md §3.3).
    Engine(format::Packet),
    /// An event of Socket.IO in the standard form, with its parts in their one text. It is the
    /// usual packet. Events that cannot be told in this way are an [`Inbound::Socket`].
    Event(TextEvent),
    /// An event of Socket.IO in the standard form whose attachments follow, with its parts in their
    /// one text. Most events with attachments are small enough to be told in this way; others are
    /// an [`Inbound::Socket`].
    Partial(PartialEvent),
    /// A Socket.IO packet.
    Socket(Decoded),
    /// A part of a Socket.IO packet, for [`Config::parser`].
    Part(EngineMessage),
    /// A packet of 0.7-0.9.
    Legacy09(Box<legacy::legacy09::Packet>),
    /// A message of a generation that has only messages, as one JSON value.
    Message(ByteString),
    /// A heartbeat of a generation that has only messages.
    Heartbeat(ByteString),
    /// The bytes that complete a hixie-76 handshake. The session writes them, and is open from then
    /// on.
    Digest([u8; 16]),
    /// The client ends the session, on a wire that has a packet for it.
    Goodbye,
    /// A piece of a stream. Only the session can read it (docs/protocol/legacy-streaming.md §5).
    Payload {
        /// The piece.
        payload: ByteString,
        /// Whether a browser's form has changed its line breaks.
        from_form: bool,
    },
    /// A payload that could not be read to its end. The messages before the error stand before it.
    Garbled(Box<Garbled>),
    /// Bytes that break the protocol. In generations that cannot go on after them, they end the
    /// session, after the packets before them.
    Broken(Breach),
    /// This many packets break the protocol and are left out, as genuine servers of the generation
    /// do. The breach is that of the first of them.
    LeftOut(Breach, u32),
}

impl Inbound {
    /// Takes the packet out of its place.
    pub(crate) const fn take(&mut self) -> Self {
        core::mem::replace(self, Self::Goodbye)
    }

    /// Gives each large packet that is a small part of a body of this size memory of its own
    /// ([`is_small_part`]).
    pub(crate) fn part(packets: &mut [Self], body: usize) {
        for packet in packets {
            step!();
            if is_small_part(packet.bytes(), body) {
                packet.keep_from(Source::Body);
            }
        }
    }

    /// Whether a part of it may have to wait for other packets.
    pub(crate) const fn may_wait(&self) -> bool {
        !matches!(
            self,
            Self::Event(_) | Self::Socket(Decoded::Packet(_) | Decoded::Nothing)
        )
    }

    /// A packet of 0.7 to 0.9. A text that is no packet is left out (docs/protocol/legacy-0.9.md
    /// §13).
    pub(crate) fn legacy09(text: &ByteString, out: &mut Vec<Self>) {
        match legacy::legacy09::Packet::decode(text) {
            Ok(packet) => out.push(Self::Legacy09(Box::new(packet))),
            Err(error) => Self::leave_out(out, || Breach::new(BreachKind::SocketPacket, error)),
        }
    }

    /// Records that a packet is left out. Several such packets in a row are one entry: a peer that
    /// sends nothing else costs one text for each read.
    pub(crate) fn leave_out(out: &mut Vec<Self>, breach: impl FnOnce() -> Breach) {
        match out.last_mut() {
            Some(Self::LeftOut(_, count)) => *count = count.saturating_add(1),
            _ => out.push(Self::LeftOut(breach(), 1)),
        }
    }

    /// Prepares a packet that has to wait: it must not keep its read buffer alive.
    #[must_use]
    pub fn kept(mut self) -> Self {
        self.keep_from(Source::Read);
        self
    }

    /// Prepares a packet that has to wait. What it was read into says up to which size its parts
    /// are copied.
    pub(crate) fn keep_from(&mut self, from: Source) {
        match self {
            Self::Engine(packet) => packet.keep(from),
            Self::Event(event) => event.keep_from(from),
            Self::Partial(event) => event.keep_from(from),
            Self::Socket(Decoded::Packet(packet)) => packet.keep(from),
            Self::Socket(Decoded::Partial(partial)) => partial.keep(from),
            Self::Part(message) => message.keep(from),
            Self::Message(text) | Self::Heartbeat(text) | Self::Payload { payload: text, .. } => from.keep_text(text),
            Self::Legacy09(packet) => packet.keep(from),
            Self::Socket(Decoded::Nothing)
            | Self::Digest(_)
            | Self::Goodbye
            | Self::Garbled(_)
            | Self::Broken(_)
            | Self::LeftOut(..) => {}
        }
    }

    /// About how many bytes of memory it takes beside itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Engine(packet) => packet.bytes(),
            Self::Event(event) => event.kept_bytes(),
            Self::Partial(event) => event.event().kept_bytes(),
            Self::Socket(decoded) => decoded.bytes(),
            Self::Part(part) => part.len(),
            Self::Message(text) | Self::Heartbeat(text) => text.len(),
            Self::Payload { payload, .. } => payload.len(),
            Self::Legacy09(packet) => packet.memory(),
            Self::Garbled(_) => size_of::<Garbled>(),
            Self::Broken(breach) | Self::LeftOut(breach, _) => breach.bytes(),
            Self::Digest(_) | Self::Goodbye => 0,
        }
    }
}

/// The decoder of one websocket's messages: its wire, and the state that the wire needs from one
/// message to the next.
#[derive(Debug)]
pub struct WireDecoder {
    wire: Wire,
    reader: Option<Box<legacy06::PayloadReader>>,
}

impl WireDecoder {
    /// How many bytes are held back of a message that comes in pieces.
    pub(crate) fn held_bytes(&self) -> usize {
        self.reader.as_ref().map_or(0, |reader| reader.buffered_bytes())
    }

    /// A decoder for a websocket that has received nothing yet.
    #[must_use]
    pub fn new(wire: Wire, config: &Config) -> Self {
        let reader = match wire {
            Wire::Legacy06(codec) => Some(Box::new(legacy06::PayloadReader::new(codec, config))),
            Wire::Engine4
            | Wire::Engine4Raw
            | Wire::Engine3
            | Wire::Engine3Raw
            | Wire::Legacy09
            | Wire::Legacy09Unknown => None,
        };
        Self { wire, reader }
    }

    /// The wire whose messages it decodes.
    #[must_use]
    pub(crate) const fn wire(&self) -> Wire {
        self.wire
    }

    /// Decodes a text message.
    pub fn decode_text(&mut self, text: ByteString, config: &Config, out: &mut Vec<Inbound>) {
        self.decode_text_knowing(text, Controls::Unknown, config, out);
    }

    /// Does what [`WireDecoder::decode_text`] does for a text of which something is known.
    pub(crate) fn decode_text_knowing(
        &mut self,
        text: ByteString,
        controls: Controls,
        config: &Config,
        out: &mut Vec<Inbound>,
    ) {
        match self.wire {
            Wire::Engine4 => out.push(bodies::decode_text(text, Revision::V4, false, controls, config)),
            Wire::Engine4Raw => out.push(bodies::decode_text(text, Revision::V4, true, controls, config)),
            Wire::Engine3 => out.push(bodies::decode_text(text, Revision::V3, false, controls, config)),
            Wire::Engine3Raw => out.push(bodies::decode_text(text, Revision::V3, true, controls, config)),
            Wire::Legacy09 => Inbound::legacy09(&text, out),
            Wire::Legacy09Unknown => {}
            Wire::Legacy06(_) => {
                if let Some(reader) = &mut self.reader {
                    reader.read(&text, false, config, out);
                }
            }
        }
    }

    /// Decodes a binary message.
    pub fn decode_binary(&self, bytes: Bytes, config: &Config, out: &mut Vec<Inbound>) {
        match self.wire {
            Wire::Engine4 => out.push(bodies::decode_binary(bytes, Revision::V4, false, config)),
            Wire::Engine4Raw => out.push(bodies::decode_binary(bytes, Revision::V4, true, config)),
            Wire::Engine3 => out.push(bodies::decode_binary(bytes, Revision::V3, false, config)),
            Wire::Engine3Raw => out.push(bodies::decode_binary(bytes, Revision::V3, true, config)),
            // No client of that time can send a binary message.
            Wire::Legacy09 | Wire::Legacy06(_) => Inbound::leave_out(out, || {
                Breach::new(BreachKind::WebSocket, "binary message on a wire that has text only")
            }),
            Wire::Legacy09Unknown => {}
        }
    }
}
