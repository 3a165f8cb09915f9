//! Engine.IO revisions 2, 3 and 4: packets, payloads and sessions (docs/protocol/engine-io.md).
//!
//! The codecs here are plain functions and iterators over bytes: [`packet`] for one packet, [`payload`] and
//! [`payload_v3`] for the bodies of HTTP polling, [`dialect`] for the two ways old peers encode text, [`jsonp`] for what
//! JSONP puts around a payload. The `session` room is what a server does with them, and `bodies` how it reads and writes what is polled.

pub(crate) mod bodies;
pub mod dialect;
pub mod jsonp;
pub mod packet;
pub mod payload;
pub mod payload_v3;

pub use dialect::Dialect;
pub use packet::{DecodeError, Packet, Revision};
pub use payload::PayloadError;
