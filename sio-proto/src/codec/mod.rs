//! Codecs that an operator can choose, or bring: how the same packets and messages are written
//! otherwise.
//!
//! | trait | in place of | for |
//! |---|---|---|
//! | [`PacketParser`] | [`socket::text`](crate::socket::text) | clients of 1.x to 4.x; JavaScript's option `parser` |
//! | [`MessageCodec`] | the `~m~` framing | the plain-message transports of the 0.6 family, `/socket.io/<transport>/…` |
//!
//! The standard wire of packets needs none of this. The wires of plain messages are all of it:
//! those that genuine releases have spoken are codecs like any other, [`Framing`], [`Streaming`]
//! and [`Envelope`].

mod known;
mod message;
#[cfg(feature = "msgpack")]
mod msgpack;
mod packet;

pub use known::{Envelope, Framing, Streaming};
pub use message::{
    Codec, Heartbeats, MessageCodec, MessageDecoder, MessageLimits, PayloadError, PlainEvent, PlainMessage, Received,
};
#[cfg(feature = "msgpack")]
pub use msgpack::{MessagePack, MessagePackError};
pub use packet::{Messages, PacketError, PacketParser, Parsed, messages};

pub(crate) use packet::{assemble, checked, parse};
