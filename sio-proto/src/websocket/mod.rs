//! WebSocket (RFC 6455) for servers and clients, without I/O.
//!
//! ```text
//! request headers  -> handshake -> Accept | HandshakeError
//! bytes from peer  -> Decoder   -> Event* | Error (with its close code)
//! messages to peer -> encoder   -> bytes
//! ```
//!
//! What it is: the opening handshake as functions of header values, a strict incremental
//! [`Decoder`], and functions that append frames to a buffer. What it is not: a connection. It
//! answers no Ping and no Close itself, draws no masking keys, and knows no HTTP. Extensions are
//! not negotiated. [`frame::Rules`] has a field for RSV1, for permessage-deflate.
//!
//! Reading order: [`frame`] (one header), [`decoder`] (messages), then the rest.
//! `docs/protocol/engine-io.md` says in §5 how the reference servers use WebSocket, and in §11 what
//! attackers sent to them.
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

pub mod close;
pub mod decoder;
pub mod encoder;
mod error;
mod fragments;
pub mod frame;
pub mod handshake;
mod limits;
pub mod mask;
pub mod utf8;

#[cfg(test)]
mod autobahn;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod splits;

pub use close::{CloseCode, CloseFrame};
pub(crate) use decoder::Reader;
pub use decoder::{Decoder, Event};
pub use encoder::{encode_close, encode_frame, encode_message};
pub use error::Error;
pub use frame::{Opcode, Role};
pub use handshake::{HandshakeError, UpgradeRequest};
pub use limits::Limits;
