//! Sans-IO Socket.IO: every generation of the wire as pure state machines.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod entropy;
mod id;
mod time;

pub mod detect;
pub mod engine;
pub mod http;
pub mod json;
pub mod legacy;
pub mod socket;
pub mod websocket;

pub use bytes::{Bytes, BytesMut};
pub use bytestring::ByteString;
pub use entropy::Entropy;
pub use id::{LinkId, SessionKey, Sid, SocketKey};
pub use time::Time;
