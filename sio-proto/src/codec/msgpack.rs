//! MessagePack: the wire of `socket.io-msgpack-parser` 3 (docs/protocol/msgpack.md). Feature
//! `msgpack`.
//!
//! ```text
//! 83 a4 type 02  a4 data 93 a1 e 01 c4 01 09  a3 nsp a1 /      Event { name: e, args: 1,{"_placeholder":true,"num":0} + [09] }
//! ```
//! One packet is one map in one binary message, bytes and all; there are no attachments on this
//! wire. Inside they are what they are for every client: JSON with placeholders, and the bytes
//! beside it, as slices of what was received.
//!
//! # What becomes of values
//!
//! | received | is in JSON |
//! |---|---|
//! | undefined, `d4 00 xx` | in maps, and as `data` and `id`, as if it was not there; elsewhere `null` |
//! | integers of any width | the number, with all its digits |
//! | floats | the number as JavaScript reads it: without a fraction if it has none (up to 2^53), −0 is `0`; NaN and infinities are `null` |
//! | dates, fixext 0 of 8 bytes and ext −1 | a string in the form of `Date.prototype.toJSON`, in milliseconds; beyond what a JavaScript date can hold `null` |
//! | bytes, and ext 0 in the forms that say their length, which is a typed array in Node | a placeholder; in the payload of a CONNECT `{"type":"Buffer","data":[…]}`, as `JSON.stringify` writes a `Buffer` |
//! | a key that comes twice | both, of which readers of JSON take the last; in the packet itself the last one counts |
//! | a map that looks like a placeholder | as it is; beside bytes it could not be told from one, and is an error |
//! | lone surrogates | whatever other character their encoder has made of them: that cannot be told any more |
//! | other ext, keys that are no strings, text that is not UTF-8 | an error |
//!
//! What JSON has no word for (undefined, NaN, infinities, dates, array buffers) is kept beside it
//! as it came ([`Args::exact`](crate::socket::Args)), and is sent so to clients of MessagePack if
//! the arguments are passed on untouched. Up to 64 such arguments of a packet are kept; further
//! ones, and arguments that were read as types, are what the JSON says.
//!
//! | in JSON | is sent |
//! |---|---|
//! | whole numbers, `1.0` and `1e3` too | the shortest integer; beyond 64 bits, and with a fraction or an exponent beyond 2^53, a float, like JavaScript's |
//! | `-0` | `00` |
//! | `1e400` | infinity, which is what `JSON.parse` makes of it |
//! | `"\ud800"` | U+FFFD: UTF-8 cannot hold a lone surrogate |
//! | `null` | `c0` |
//!
//! # Limits
//!
//! A message is no longer than [`Config::max_payload`](crate::Config::max_payload). Of one, no more
//! than six times its length is written as JSON, beside its placeholders. Nesting is bounded by
//! [`Limits::max_depth`], as in the standard wire; the rest by [`MessagePack`] itself. Nothing is
//! allocated for elements that a header only announces.

mod date;
mod decode;
mod encode;
mod token;

use super::{Messages, PacketError, PacketParser, Parsed};
use crate::engine::EngineMessage;
use crate::socket::Packet;
use crate::socket::text::Limits;

pub use token::MessagePackError;

/// The parser of MessagePack, and how much it takes.
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
    /// Values in one message, keys and those inside of others included. Default 1 000 000.
    pub max_elements: usize,
    /// Binary values in one message. Default 1 000. Genuine clients with the default parser take no
    /// more than 10 in what others pass on to them.
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
