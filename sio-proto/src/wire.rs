//! What the messages of a link mean: from text and bytes to packets, with no state and under no lock.
//!
//! A [`Wire`] is what a connection is told when it becomes a websocket. It turns each message into an [`Inbound`], completely parsed and checked,
//! so that the shard, which is locked while it works, has only to act.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use crate::engine::{Revision, bodies};
use crate::server::{EngineMessage, Reason};
use crate::{Config, engine, legacy, socket};

/// The decoder of a websocket's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// Engine.IO 4 packets with Socket.IO 5 packets in their messages, as [`Config::parser`] writes them.
    Engine4,
    /// Engine.IO 4 packets whose messages are the user's own.
    Engine4Raw,
    /// Engine.IO 3 packets with Socket.IO 4 packets in their messages, likewise.
    Engine3,
    /// Engine.IO 3 packets whose messages are the user's own.
    Engine3Raw,
    /// Packets of 0.7-0.9.
    Legacy09,
    /// Payloads of 0.6.
    Legacy06,
}

/// One packet from a peer, parsed and checked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Inbound {
    /// An Engine.IO packet. It is a message only in a raw session, if it is an attachment, or if the session has to say in which dialect it is
    /// written (docs/protocol/engine-io.md §3.3).
    Engine(engine::Packet),
    /// A Socket.IO packet.
    Socket(socket::text::Decoded),
    /// A part of a Socket.IO packet, to [`Config::parser`].
    Part(EngineMessage),
    /// A packet of 0.7-0.9.
    Colon(Box<legacy::v1::Packet>),
    /// A message of a generation that has nothing but messages, as one JSON value.
    Message(ByteString),
    /// A heartbeat of such a generation.
    Heartbeat(ByteString),
    /// Bytes that break the protocol; the session ends with this reason. Packets before it count.
    Broken(Reason),
}

impl Wire {
    /// Decodes a text message.
    pub fn decode_text(self, text: ByteString, config: &Config, out: &mut Vec<Inbound>) {
        match self {
            Self::Engine4 => out.push(bodies::decode_text(&text, Revision::V4, false, config)),
            Self::Engine4Raw => out.push(bodies::decode_text(&text, Revision::V4, true, config)),
            Self::Engine3 => out.push(bodies::decode_text(&text, Revision::V3, false, config)),
            Self::Engine3Raw => out.push(bodies::decode_text(&text, Revision::V3, true, config)),
            // What is no packet is ignored (docs/protocol/legacy-0.9.md §13).
            Self::Legacy09 => out.extend(legacy::v1::packets::decode(&text)),
            Self::Legacy06 => legacy::session::decode_payload(&text, config, out),
        }
    }

    /// Decodes a binary message.
    pub fn decode_binary(self, bytes: Bytes, config: &Config, out: &mut Vec<Inbound>) {
        match self {
            Self::Engine4 => out.push(bodies::decode_binary(bytes, Revision::V4, false, config)),
            Self::Engine4Raw => out.push(bodies::decode_binary(bytes, Revision::V4, true, config)),
            Self::Engine3 => out.push(bodies::decode_binary(bytes, Revision::V3, false, config)),
            Self::Engine3Raw => out.push(bodies::decode_binary(bytes, Revision::V3, true, config)),
            // No client of that time can send one.
            Self::Legacy09 | Self::Legacy06 => {}
        }
    }
}
