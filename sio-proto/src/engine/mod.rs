//! Engine.IO revisions 2, 3 and 4: packets and payloads (docs/protocol/engine-io.md).
//!
//! The codecs here are plain functions and iterators over bytes: [`packet`] for one packet, [`payload`] and
//! [`payload_v3`] for the bodies of HTTP polling, [`jsonp`] for what JSONP puts around them.

pub mod jsonp;
pub mod packet;
pub mod payload;
pub mod payload_v3;
pub(crate) mod session;

pub use packet::{DecodeError, Packet, Revision};
pub use payload::PayloadError;
