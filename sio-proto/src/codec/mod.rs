//! Wires of the user's own.
//!
//! | trait | for the transports of | whose payloads are |
//! |---|---|---|
//! | [`MessageCodec`] | the 0.6 family, `/socket.io/<transport>/…` | plain messages: text or JSON, heartbeats, a session id |
//!
//! A codec is a value without state that a server shares among its sessions; what a session has to remember of its stream is in the decoder that
//! the codec makes for it. The wires that genuine releases have spoken are codecs like any other: [`Framing`], [`Streaming`], [`Envelope`].

mod known;
mod message;

pub use known::{Envelope, Framing, Streaming};
pub use message::{
    Codec, Heartbeats, MessageCodec, MessageDecoder, MessageLimits, PayloadError, PlainEvent, PlainMessage, Received,
};

pub(crate) use known::looks_like;
