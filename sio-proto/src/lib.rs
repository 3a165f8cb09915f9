//! Socket.IO without I/O: every generation of the wire as pure state machines.
//!
//! A server here is a value. The inputs are the time, and bytes, or requests and packets. The
//! outputs are bytes, deliveries for the user and the next deadline. Nothing in this crate opens a
//! socket, reads a clock, draws a random number, spawns, blocks or locks. The crate is `no_std`,
//! time is an argument ([`Time`]), and randomness is injected ([`Entropy`]). Equal inputs give
//! equal outputs, byte for byte.
//!
//! Read first: [`server::Server`], bytes in and bytes out, for an event loop of your own; or
//! [`server::Shard`], the machine inside it, if you have an HTTP server or use several cores. For
//! runtimes there is `sio-tokio`, with the handlers of `sio-app`.
//!
//! # The loop
//!
//! The loop around a [`server::Server`] is always the same. Here it runs on bytes in memory. In a
//! program, `now` comes from a clock, and `bytes` come from a socket.
//!
//! ```
//! use sio_proto::server::{Delivery, Message, Output, Peer, Server};
//! use sio_proto::{BytesMut, Config, Time};
//!
//! let entropy = |out: &mut [u8]| out.fill(7); // use a cryptographically secure generator in a program
//! let mut server = Server::new(Config::default(), [7; 16], Box::new(entropy))?;
//! let link = server.open(Peer::default()); // a connection was accepted
//! let mut now = Time::ZERO;
//! let mut written = Vec::new();
//!
//! let opening = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
//!     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
//! let connect = b"\x81\x82\0\0\0\x0040"; // the packet `40` in a masked frame
//! let greet = b"\x81\x8d\0\0\0\x0042[\"greet\",1]";
//! for bytes in [&opening[..], connect, greet] {
//!     now = now + std::time::Duration::from_millis(1);
//!     server.handle_bytes(now, link, &mut BytesMut::from(bytes)); // the socket was readable
//!     while let Some(output) = server.poll_output() {
//!         match output {
//!             Output::Bytes(_, bytes) => written.extend_from_slice(&bytes), // to the socket of this link
//!             Output::End(_) => {}                                          // close it
//!             Output::Request(..) => {}                                     // not for Socket.IO: answer with `respond`
//!             Output::Delivery(Delivery::Connect { socket, .. }) => {
//!                 server.shard(now, |shard, out| shard.accept(now, socket, out));
//!             }
//!             Output::Delivery(Delivery::Event { socket, name, args, .. }) => {
//!                 let mut echo = Message::event("/".into(), name, args, None);
//!                 server.shard(now, |shard, _| shard.emit(now, socket, &mut echo, None))?;
//!             }
//!             Output::Delivery(_) => {}
//!         }
//!     }
//!     // Wait for the next readable socket, but no longer than until this deadline:
//!     if server.next_timeout().is_some_and(|deadline| deadline <= now) {
//!         server.handle_timeout(now);
//!     }
//! }
//! assert!(written.ends_with(b"\x81\x0d42[\"greet\",1]"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The [`manual`] explains the loop step by step, and then the shard.
//!
//! # The map
//!
//! | module | from | to |
//! |---|---|---|
//! | [`http`], [`websocket`], [`json`] | bytes | requests, messages, checked JSON; both roles |
//! | [`engine`], [`socket`], [`legacy`] | messages | packets of every generation; both roles |
//! | [`codec`] | messages | packets and messages, by a parser that the operator chooses or a wire that the user writes |
//! | [`detect`] | one request | which generation and transport it is |
//! | [`wire`], [`conn`] | the bytes of one connection | requests and packets, under no lock; bodies of polls |
//! | [`server`] | requests, packets, commands, time | writes and deliveries |
//! | [`client`] | bytes, commands, time | connections, bytes and deliveries |
//! | [`resp`] | bytes | the replies of Redis, and commands back |
//! | [`broker`] | bytes of a broker, commands, time | connections, bytes and events |
//! | `cluster` (feature) | orders, messages of other nodes, time | messages for other nodes, orders for this one |
//!
//! The bytes are described in the repository's `docs/protocol`, which comments cite as
//! `docs/protocol/NAME.md §N`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[macro_use]
mod steps;

mod arena;
mod breach;
#[cfg(test)]
#[path = "../tests/cases/mod.rs"]
mod cases;
mod config;
mod digits;
mod entropy;
mod frame;
#[cfg(feature = "steps")]
mod holding;
mod hosts;
mod id;
mod origins;
mod percent;
mod readable;
mod reason;
mod request;
mod shares;
mod slab;
mod time;

pub mod broker;
pub mod client;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod codec;
pub mod conn;
pub mod detect;
pub mod engine;
pub mod http;
pub mod json;
mod keep;
pub mod legacy;
pub mod manual;
pub mod recovery;
pub mod resp;
pub mod server;
pub mod socket;
pub mod websocket;
pub mod wire;

pub use arena::Arena;
pub use bytes::{Bytes, BytesMut};
pub use bytestring::ByteString;
pub use config::{
    ClusterConfig, ClusterKind, Config, ConfigError, Cookie, Cors, CorsOrigins, Excess, Generations, Legacy06,
    Legacy09, Mount, OriginRule, Priority, Rate, RateLimit, RecoveryConfig, RelayConfig, SameSite, Secret, ShardedMode,
    SocketIdError, StreamsConfig, Transports,
};
pub use entropy::Entropy;
pub use frame::Frame;
#[cfg(feature = "steps")]
pub use holding::Holding;
pub use hosts::{HostPattern, HostPatternError, Hosts};
pub use id::{LinkId, SessionKey, Sid, SocketKey, WireId};
pub use origins::{OriginPattern, OriginPatternError, Origins};
#[cfg(feature = "steps")]
pub use steps::steps_taken;
pub use time::Time;
