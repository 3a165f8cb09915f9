//! What the messages of a link mean: from text and bytes to packets, under no lock and, but for
//! streams, with no state.
//!
//! A [`Wire`] is what a connection is told when it becomes a websocket. Its [`WireDecoder`] turns
//! each message into an [`Inbound`], completely parsed and checked, so that the shard, which is
//! locked while it works, has only to act.

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
use crate::{Config, keep, legacy, socket};

pub use legacy06::Garbled;
pub use poll::PollEncoding;
pub use reassembly::Reassembly;

/// Which wire a websocket's messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// Engine.IO 4 packets with Socket.IO 5 packets in their messages, as [`Config::parser`] writes
    /// them.
    Engine4,
    /// Engine.IO 4 packets whose messages are the user's own.
    Engine4Raw,
    /// Engine.IO 3 packets with Socket.IO 4 packets in their messages, likewise.
    Engine3,
    /// Engine.IO 3 packets whose messages are the user's own.
    Engine3Raw,
    /// Packets of 0.7-0.9.
    Legacy09,
    /// The same without a session: it is unknown. On a hixie-76 websocket, which says nothing
    /// before its handshake is complete, the client hears of that when it is.
    Legacy09Unknown,
    /// Payloads of the 0.6 family, in the codec of this number
    /// ([`Legacy06::codecs`](crate::Legacy06::codecs)).
    Legacy06(u8),
}

/// One packet from a peer, parsed and checked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Inbound {
    /// An Engine.IO packet. It is a message only in a raw session, if it is an attachment, or if
    /// the session has to say in which dialect it is written (docs/protocol/engine-io.md §3.3).
    Engine(format::Packet),
    /// A Socket.IO packet.
    Socket(socket::text::Decoded),
    /// A part of a Socket.IO packet, to [`Config::parser`].
    Part(EngineMessage),
    /// A packet of 0.7-0.9.
    Legacy09(Box<legacy::legacy09::Packet>),
    /// A message of a generation that has nothing but messages, as one JSON value.
    Message(ByteString),
    /// A heartbeat of such a generation.
    Heartbeat(ByteString),
    /// What completes a hixie-76 handshake: the session writes it and is open from then on.
    Digest([u8; 16]),
    /// The client ends the session, in a wire that has a word for it.
    Goodbye,
    /// A piece of a stream, which only the session can read (docs/protocol/legacy-streaming.md §5).
    Payload {
        /// The piece.
        payload: ByteString,
        /// Whether a browser's form has changed its line breaks.
        from_form: bool,
    },
    /// A payload that could not be read to its end. What was read of it stands before.
    Garbled(Box<Garbled>),
    /// Bytes that break the protocol, which costs the session in generations that have no way to go
    /// on. Packets before it count.
    Broken(Breach),
    /// So many packets that break the protocol and are left out, as genuine servers of that
    /// generation leave them out; what is wrong with the first of them.
    LeftOut(Breach, u32),
}

impl Inbound {
    /// A packet of 0.7 to 0.9. What is none is left out (docs/protocol/legacy-0.9.md §13).
    pub(crate) fn legacy09(text: &ByteString, out: &mut Vec<Self>) {
        match legacy::legacy09::Packet::decode(text) {
            Ok(packet) => out.push(Self::Legacy09(Box::new(packet))),
            Err(error) => Self::leave_out(out, || Breach::new(BreachKind::SocketPacket, error)),
        }
    }

    /// Notes that a packet is left out. Those in a row are one entry: a peer that sends nothing
    /// else costs one text for each read.
    pub(crate) fn leave_out(out: &mut Vec<Self>, breach: impl FnOnce() -> Breach) {
        match out.last_mut() {
            Some(Self::LeftOut(_, count)) => *count = count.saturating_add(1),
            _ => out.push(Self::LeftOut(breach(), 1)),
        }
    }

    /// The packet has to wait, and must not keep the buffer that it was read into.
    pub(crate) fn kept(mut self) -> Self {
        match &mut self {
            Self::Engine(packet) => packet.keep(),
            Self::Socket(socket::text::Decoded::Packet(packet)) => packet.keep(),
            Self::Socket(socket::text::Decoded::Partial(partial)) => partial.keep(),
            Self::Part(message) => message.keep(),
            Self::Message(text) | Self::Heartbeat(text) | Self::Payload { payload: text, .. } => keep::text(text),
            Self::Socket(socket::text::Decoded::Nothing)
            | Self::Legacy09(_)
            | Self::Digest(_)
            | Self::Goodbye
            | Self::Garbled(_)
            | Self::Broken(_)
            | Self::LeftOut(..) => {}
        }
        self
    }

    /// What the client has said in it, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Engine(format::Packet::Message(text) | format::Packet::Ping(text) | format::Packet::Pong(text)) => {
                text.len()
            }
            Self::Engine(format::Packet::Binary(bytes)) => bytes.len(),
            Self::Socket(decoded) => decoded.bytes(),
            Self::Part(part) => part.len(),
            Self::Message(text) | Self::Heartbeat(text) => text.len(),
            Self::Payload { payload, .. } => payload.len(),
            Self::Engine(_)
            | Self::Legacy09(_)
            | Self::Digest(_)
            | Self::Goodbye
            | Self::Garbled(_)
            | Self::Broken(_)
            | Self::LeftOut(..) => 0,
        }
    }
}

/// The decoder of one websocket's messages: its wire, and what that has to remember from one
/// message to the next.
#[derive(Debug)]
pub struct WireDecoder {
    wire: Wire,
    reader: Option<Box<legacy06::PayloadReader>>,
}

impl WireDecoder {
    /// What is held back of a message that comes in pieces, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.reader.as_ref().map_or(0, |reader| reader.buffered_bytes())
    }

    /// A decoder for a websocket on which nothing has come yet.
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

    /// Decodes a text message.
    pub fn decode_text(&mut self, text: ByteString, config: &Config, out: &mut Vec<Inbound>) {
        match self.wire {
            Wire::Engine4 => out.push(bodies::decode_text(&text, Revision::V4, false, config)),
            Wire::Engine4Raw => out.push(bodies::decode_text(&text, Revision::V4, true, config)),
            Wire::Engine3 => out.push(bodies::decode_text(&text, Revision::V3, false, config)),
            Wire::Engine3Raw => out.push(bodies::decode_text(&text, Revision::V3, true, config)),
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
            // No client of that time can send one.
            Wire::Legacy09 | Wire::Legacy06(_) => Inbound::leave_out(out, || {
                Breach::new(BreachKind::WebSocket, "binary message on a wire that has text only")
            }),
            Wire::Legacy09Unknown => {}
        }
    }
}
