//! Codecs that an operator can choose or write: other bytes for the same packets and messages.
//!
//! | trait | in place of | for |
//! |---|---|---|
//! | [`PacketParser`] | [`socket::text`](crate::socket::text) | clients of 1.x to 4.x; JavaScript's option `parser` |
//! | [`MessageCodec`] | the `~m~` framing | the plain-message transports of the 0.6 family, `/socket.io/<transport>/…` |
//!
//! The standard wire of packets is no codec of this module. Every wire of plain messages is one:
//! the wires of the genuine releases are the codecs [`Framing`], [`Streaming`] and [`Envelope`].
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

mod known;
mod message;
#[cfg(feature = "msgpack")]
mod msgpack;
mod packet;

pub use known::{Envelope, Framing, Streaming};
pub use message::{
    Codec, Heartbeats, MessageCodec, MessageDecoder, MessageLimits, PayloadError, PlainEvent, PlainMessage, Received,
};
#[cfg(feature = "cluster")]
pub(crate) use msgpack::pieces;
#[cfg(feature = "msgpack")]
pub use msgpack::{MessagePack, MessagePackError};
pub use packet::{Messages, PacketError, PacketParser, Parsed, messages};

pub(crate) use packet::{assemble, checked, parse};
