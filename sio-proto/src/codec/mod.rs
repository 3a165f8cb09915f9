//! Codecs that an operator can choose: what JavaScript's option `parser` chooses ([`PacketParser`]).
//!
//! The standard wire needs none of this: it is [`socket::text`](crate::socket::text), and what is chosen here takes its place.

#[cfg(feature = "msgpack")]
mod msgpack;
mod packet;

#[cfg(feature = "msgpack")]
pub use msgpack::{MessagePack, MessagePackError};
pub use packet::{Messages, PacketError, PacketParser, Parsed, messages};
pub(crate) use packet::{assemble, checked, parse};
