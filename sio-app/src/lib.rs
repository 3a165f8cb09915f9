//! What the adapters of `sio` share, and what their users see.
//!
//! [`sio_proto`] is the protocol as a value; an adapter (`sio-tokio`, `sio-async-std`) is a socket and a clock. Between them stands this crate: locks,
//! handlers, handles. It knows no runtime ([`Runtime`] is three function pointers) and does no I/O ([`Source`] and [`Outlet`] are the two ends of a socket).
//!
//! # For users
//!
//! Everything begins with [`Io`], which the adapters' servers are:
//!
//! ```
//! use sio_app::{Ack, Io, Reason, Socket};
//!
//! fn chat(io: &Io) {
//!     io.of("/")
//!         .on_connect(|socket: Socket| socket.join("lobby"))
//!         .on("say", async |socket: Socket, (room, text): (String, String)| {
//!             socket.to(room).emit("said", (socket.id(), text));
//!         })
//!         .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b))
//!         .on_disconnect(|socket: Socket, reason: Reason| println!("{} left: {reason}", socket.id()));
//! }
//! ```
//!
//! * [`Io`] – the server: namespaces, broadcasts, hooks, the end.
//! * [`Namespace`] – what happens to those who connect to it.
//! * [`Socket`] – one client in one namespace.
//! * [`Emitter`] – to whom, and how: the builder that all three share.
//! * [`args`] – how arguments become types; [`handler`] – what a handler can look like.
//!
//! # For adapters
//!
//! ```text
//!   accept ─► Connection::new ─► Connection::poll, until ready         one task per connection
//!   Io::handle_timeout, sleep until what it says, or its waker         one task per shard
//!   Io::sweep, once a second                                           one task
//! ```
//!
//! # How it is fast
//!
//! One read is one *turn*: bytes are parsed under no lock, the shard's lock is taken once for all of it, handlers run in place, and what they
//! emit leaves in one write per connection, straight from the thread that has it. There is no task per session beside the one that
//! reads, no channel, and no buffer in an idle connection.
#![forbid(unsafe_code)]

pub mod args;
pub mod handler;

mod ack;
mod connection;
mod emitter;
mod engine;
mod error;
mod io;
mod link;
mod mailbox;
mod message;
mod middleware;
mod namespace;
mod request;
mod runtime;
mod shard;
mod sleep;
mod socket;
#[cfg(test)]
mod tests;
mod turn;
mod work;

pub use ack::{Ack, AckError, AckFuture};
pub use args::{ArgsError, Binary, Data, Raw, RawArgs};
pub use bytes::Bytes;
pub use bytestring::ByteString;
pub use connection::{Connection, Source};
pub use emitter::Emitter;
pub use engine::{EngineHandler, EngineSocket};
pub use error::{EmitError, HandlerError};
pub use io::{Io, Options};
pub use link::Outlet;
pub use middleware::Refusal;
pub use namespace::Namespace;
pub use request::{HttpRequest, HttpResponse};
pub use runtime::{Runtime, Task};
pub use sio_proto::http::Method;
pub use sio_proto::server::{EngineMessage, Generation, Handshake, Peer, Reason, TransportKind};
pub use sio_proto::{Config, ConfigError, Cookie, Cors, Generations, Legacy, Origins, SameSite, Time, Transports};
pub use sleep::Sleep;
pub use socket::{Socket, SocketId};
