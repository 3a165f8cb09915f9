//! MessagePack: the wire of `socket.io-msgpack-parser` 3 (docs/protocol/msgpack.md). Feature
//! `msgpack`.
//!
//! ```text
//! 83 a4 type 02  a4 data 93 a1 e 01 c4 01 09  a3 nsp a1 /      Event { name: e, args: 1,{"_placeholder":true,"num":0} + [09] }
//! ```
//! One packet is one map in one binary message, including its bytes. This wire has no attachments.
//! In the server, a packet has the same form as for every client: JSON with placeholders, and its
//! bytes beside the JSON, as slices of the received message.
//!
//! # How values are converted
//!
//! | received | in JSON |
//! |---|---|
//! | undefined, `d4 00 xx` | in maps, and as `data` and `id`, it is treated as missing; elsewhere it is `null` |
//! | integers of any width | the number, with all its digits |
//! | floats | the number as JavaScript reads it: without a fraction if it has none (up to 2^53), −0 is `0`; NaN and infinities are `null` |
//! | dates, fixext 0 of 8 bytes and ext −1 | a string in the form of `Date.prototype.toJSON`, in milliseconds; `null` if a JavaScript date cannot hold it |
//! | bytes, and ext 0 in the forms that state their length, which is a typed array in Node | a placeholder; in the payload of a CONNECT `{"type":"Buffer","data":[…]}`, as `JSON.stringify` writes a `Buffer` |
//! | a key that comes twice | both; readers of JSON use the last one. In the packet itself the last one counts |
//! | a map that looks like a placeholder | unchanged; if the packet has bytes, it could be confused with a placeholder, and is an error |
//! | lone surrogates | the character that the sender's encoder has written in their place |
//! | other ext, keys that are no strings, text that is not UTF-8 | an error |
//!
//! Some values have no form in JSON: undefined, NaN, infinities, dates, array buffers. They are
//! also kept as they came ([`Args::exact`](crate::socket::Args)). If the arguments are passed on
//! unchanged, clients of MessagePack receive these values. Up to 64 such arguments of a packet are
//! kept. Further arguments, and arguments that were read as types, are sent as the JSON says.
//!
//! | in JSON | sent |
//! |---|---|
//! | whole numbers, `1.0` and `1e3` too | the shortest integer; a float, as in JavaScript, beyond 64 bits, and beyond 2^53 if the number has a fraction or an exponent |
//! | `-0` | `00` |
//! | `1e400` | infinity, which is also the result of `JSON.parse` |
//! | `"\ud800"` | U+FFFD: UTF-8 cannot hold a lone surrogate |
//! | `null` | `c0` |
//!
//! # Limits
//!
//! A message is no longer than [`Config::max_payload`](crate::Config::max_payload). Its JSON is at
//! most six times as long as the message, without placeholders. [`Limits::max_depth`] bounds the
//! nesting, as in the standard wire. [`MessagePack`] bounds the rest. Nothing is allocated for
//! elements that a header only announces.

mod date;
mod decode;
mod encode;
#[cfg(feature = "cluster")]
pub(crate) mod pieces;
mod token;

use super::{Messages, PacketError, PacketParser, Parsed};
use crate::engine::EngineMessage;
use crate::socket::Packet;
use crate::socket::text::Limits;

pub use token::MessagePackError;

/// The parser of MessagePack and its limits.
///
/// ```
/// use sio_proto::{Config, codec::MessagePack};
///
/// let config = Config::default().parser(MessagePack::default());
/// # assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessagePack {
    /// Number of values in one message, including keys and values inside other values. Default 1
    /// 000 000.
    pub max_elements: usize,
    /// Number of binary values in one message. Default 1 000. Genuine clients with the default
    /// parser accept at most 10 binary values in an event.
    pub max_binaries: usize,
}

impl Default for MessagePack {
    fn default() -> Self {
        Self {
            max_elements: 1_000_000,
            max_binaries: 1_000,
        }
    }
}

impl PacketParser for MessagePack {
    fn encode(&self, packet: &Packet, messages: &mut Messages<'_>) -> Result<(), PacketError> {
        encode::check_lengths(packet)?;
        if !encode::fits(packet, messages.room()) {
            return Err(PacketError::TooLarge);
        }
        messages.binary(|out| encode::packet(packet, out));
        Ok(())
    }

    fn decode(&self, message: EngineMessage, limits: &Limits) -> Result<Parsed, PacketError> {
        match message {
            EngineMessage::Binary(bytes) => decode::message(&bytes, self, limits),
            EngineMessage::Text(_) => Err(PacketError::WrongKind),
        }
    }
}

#[cfg(test)]
mod tests;
