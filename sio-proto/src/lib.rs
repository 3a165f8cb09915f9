//! Sans-IO Socket.IO: every generation of the wire as pure state machines.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod config;
mod entropy;
mod frame;
mod id;
mod time;

pub mod conn;
pub mod detect;
pub mod engine;
pub mod http;
pub mod json;
pub mod legacy;
pub mod server;
pub mod socket;
pub mod websocket;
pub mod wire;

pub use bytes::{Bytes, BytesMut};
pub use bytestring::ByteString;
pub use config::{Config, ConfigError, Cookie, Cors, Generations, Legacy, Legacy09, Origins, SameSite, Transports};
pub use entropy::Entropy;
pub use frame::Frame;
pub use id::{LinkId, SessionKey, Sid, SocketKey};
pub use time::Time;
