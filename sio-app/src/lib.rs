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
//!   Serve: accept ─► Connection::new ─► Connection::drive              one task per listener, and one per connection
//!   parsed request ─► Io::exchange ─► Exchange::poll_answer            inside another HTTP server
//!   Io::keep_time: Io::handle_timeout, sleep until what it says        one task per shard
//!                  Io::sweep, once a second                            one task
//! ```
//! What an adapter writes itself is what a runtime has in words of its own: how to accept, to read, to write without blocking ([`Source`], [`Outlet`]; for streams
//! that only their owner can write to, [`Duplex`]), to sleep, to spawn, and where its clock and its randomness are.
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
mod background;
mod connection;
mod connections;
mod emitter;
mod engine;
mod error;
mod exchange;
mod io;
mod link;
mod mailbox;
mod message;
mod middleware;
mod namespace;
mod options;
mod pipe;
mod place;
mod request;
mod runtime;
mod serve;
mod shard;
mod shutdown;
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
pub use connection::{Connection, Driven, Source};
pub use emitter::Emitter;
pub use engine::{EngineHandler, EngineSocket};
pub use error::{EmitError, HandlerError};
pub use exchange::{Answer, EndlessBody, Exchange, Exchanged};
pub use io::Io;
pub use link::Outlet;
pub use middleware::Refusal;
pub use namespace::Namespace;
pub use options::Options;
pub use pipe::{Duplex, Piped};
pub use request::{HttpRequest, HttpResponse};
pub use runtime::{Runtime, Task};
pub use serve::{Serve, is_of_one_client};
pub use sio_proto::codec;
pub use sio_proto::http::Method;
pub use sio_proto::server::{EngineMessage, Extension, Generation, Handshake, Peer, Reason, TransportKind};
pub use sio_proto::{
    Config, ConfigError, Cookie, Cors, Generations, Legacy, Mount, Origins, SameSite, Time, Transports,
};
pub use sleep::Sleep;
pub use socket::{Socket, SocketId};
