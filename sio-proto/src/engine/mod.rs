//! Engine.IO revisions 2, 3 and 4: packets and payloads (docs/protocol/engine-io.md).
//!
//! The codecs are plain functions and iterators over bytes. [`packet`] is for one packet.
//! [`payload`] and [`payload_v3`] are for the bodies of HTTP polling. [`dialect`] is for the two
//! ways in which old peers encode text. [`jsonp`] is for the script and the form around a payload.
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

pub mod dialect;
pub(crate) mod frames;
pub mod jsonp;
mod message;
pub mod packet;
pub mod payload;
pub mod payload_v3;

pub use dialect::Dialect;
pub use message::EngineMessage;
pub use packet::{DecodeError, Packet, Revision};
pub use payload::PayloadError;
