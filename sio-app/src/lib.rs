//! What the adapters of `sio` share, and what their users see.
//!
//! [`sio_proto`] is the protocol as a value; an adapter (`sio-tokio`, `sio-async-std`) is a socket
//! and a clock. Between them stands this crate: locks, handlers, handles. It knows no runtime
//! ([`adapter::Runtime`] is four function pointers) and does no I/O ([`adapter::Source`] and
//! [`adapter::Outlet`] are the two ends of a socket) but to read [`ClientFiles`], before there is a
//! server.
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
//!         .on_connect(|socket: Socket| socket.join("chat:lobby"))
//!         .on("say", async |socket: Socket, (room, text): (String, String)| {
//!             // Clients choose the name: with something before it, it is no other room of yours.
//!             socket.to(format!("chat:{room}")).emit("said", (socket.id(), text));
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
//! What an adapter calls is in [`adapter`]; users of a server see none of it.
//!
//! # Logs
//!
//! All of it is [`tracing`], and quiet at `info`. A program without a subscriber logs nothing:
//! `tracing_subscriber::fmt::init()` in its `main` is one, and [`Io::on_error`] does without. These
//! names stay as they are:
//!
//! | level | message or span | fields |
//! |---|---|---|
//! | error | `handler panicked` | `namespace`, `event`, `error` |
//! | warn | `handler failed` | `namespace`, `event`, `error` |
//! | warn | `arguments do not fit`, `cannot emit` | `namespace`, `event` |
//! | warn | `too many events wait for a handler: the session is closed` | `socket` |
//! | warn | `a client's payload cannot be read` | `socket`, `codec`, `looks_like`, `error` |
//! | warn | `a handler kept its thread, and others waited`, from 50 ms on | `namespace`, `event`, `millis` |
//! | warn | `cannot accept`, once until it can again | `error` |
//! | warn | `request refused for where it comes from`: `origin` and `host` are what it says, cut short; `setting` is the one that would let it in | `origin`, `host`, `setting`, `why` |
//! | warn | `too much is being received: a connection is closed` | |
//! | warn | `warnings were left out`: more than ten of one kind came in ten seconds; `kind` is their text in this table | `kind`, `left_out` |
//! | info | `shutting down` | `sessions`, `connections` |
//! | info | `ending connections that did not end by themselves` | `connections` |
//! | debug | `connected` | `socket`, `namespace`, `generation` |
//! | debug | `disconnected` | `socket`, `namespace`, `reason` |
//! | debug | `refused` | `socket`, `namespace` |
//! | debug | `connection refused` | `address`, `why` |
//! | debug | `request refused` | `status` |
//! | debug | `a lock was held for long`, target `sio_app::lock`, in debug builds: for more than 1 ms; `waited` is who waited meanwhile | `holder`, `micros`, `waited` |
//! | trace | span `event`, around the part of a handler that runs in place | `socket`, `namespace`, `name` |
//!
//! No payload is logged, and no id of a session, because that is all it takes to speak for its
//! client: `socket` is a place in a table. `error` is what a handler of yours says of itself.
//! `event` and `name` are names that a handler was registered for; what a client calls otherwise is
//! `(any)`. `namespace` is what a client asked for, if you have namespaces by pattern. What
//! [`Io::on_error`] is told is not logged.
//!
//! # Order, and who sees what
//!
//! Threads work beside each other, and so do shards. What holds nevertheless, for calls of one
//! thread one after the other and for calls of several threads where one has heard of the other's
//! return (a channel, a lock, a join):
//!
//! * **To one recipient**, messages go in the order in which they were sent, whether to the socket,
//!   a room or everybody.
//! * **To several recipients** there is no common order: of two threads that broadcast at once, one
//!   client may hear the first before the second, another the second before the first.
//! * **`join` and `leave`** that have returned are seen by every emit, `sockets()` and `rooms()`
//!   that begins afterwards. One that runs at the same time sees either.
//! * **`disconnect` and `close`** that have returned are final: an emit to the socket fails with
//!   [`EmitError::Disconnected`], broadcasts leave it out, and the client gets nothing after the
//!   packet that tells it.
//! * **Handlers** of one socket start in the order in which its events arrived, and never two at
//!   once, whichever threads bring them. One that waits goes on beside later ones, unless its
//!   namespace asks for [one at a time](Namespace::one_at_a_time). Handlers of different sockets
//!   run side by side.
//! * **An acknowledgement** answers the event it was asked for with; among the other packets of its
//!   sender it keeps its place. The disconnect handler comes after all events.
//!
//! Each has its test in `tests/many-cores.rs`, with several threads and shards.
//!
//! # Handlers that take long
//!
//! A handler runs on the thread that has read its event, and until it returns, or waits at an
//! `.await`, that thread serves nobody else: all other connections that the runtime has given to
//! the thread stand still, heartbeats and acknowledgements included. So a handler must not block:
//! no `std::thread::sleep` ([`Socket::sleep`] instead), no lock that is held for long, no files or
//! databases but by `async` calls. What computes or blocks for more than some milliseconds belongs
//! on a thread of its own: `tokio::task::spawn_blocking`, `async_std::task::spawn_blocking`,
//! `blocking::unblock` with smol, awaited in an `async` handler. A handler that emits in a loop
//! without an `.await` is one of these, too: each emit is encoded and queued before the next. A
//! loop of thousands lets others have their turn with
//! `socket.sleep(Duration::from_millis(1)).await` now and then. A warning names handlers that have
//! kept their thread for 50 ms or longer, middlewares (as `middleware`) among them.
//!
//! What a handler waits for counts against its client ([`Options::max_waiting_events`]), and one
//! that nobody needs any more can end with [`Socket::gone`].
//!
//! # How it is fast
//!
//! One read is one *turn*: bytes are parsed under no lock, the shard's lock is taken once for all
//! of it, handlers run in place, and what they emit leaves in one write per connection, straight
//! from the thread that has it. There is no task per session beside the one that reads, no channel,
//! and no buffer in an idle connection.
#![forbid(unsafe_code)]

pub mod adapter;
pub mod args;

mod error;
mod guarded;
mod host;
mod link;
mod lock;
mod options;
mod rated;
mod runtime;
#[cfg(test)]
mod tests;
mod trim;
mod turn;
mod user;
mod web;

pub use args::{ArgsError, Binary, Data, Raw, RawArgs};
pub use bytes::Bytes;
pub use bytestring::ByteString;
pub use error::{EmitError, HandlerError};
#[cfg(feature = "tls")]
pub use link::tls::{Tls, TlsError};
pub use options::Options;
#[cfg(feature = "tls")]
pub use rustls;
pub use sio_proto::codec;
pub use sio_proto::http::Method;
#[cfg(feature = "transcript")]
pub use sio_proto::server::transcript;
pub use sio_proto::server::{
    Count, Counters, EngineMessage, Extension, Generation, Handshake, Peer, Reason, Refused, TransportKind,
};
pub use sio_proto::{
    Config, ConfigError, Cookie, Cors, CorsOrigins, Generations, HostPattern, HostPatternError, Hosts, Legacy06, Mount,
    OriginPattern, OriginPatternError, Origins, Priority, SameSite, Transports,
};
pub use turn::gone::Gone;
pub use turn::refusal::Refusal;
pub use turn::sleep::Sleep;
pub use turn::socket_id::{SocketId, WireId};
pub use user::ack::{Ack, AckError, AckFuture};
pub use user::emitter::Emitter;
pub use user::engine::{EngineHandler, EngineSocket};
pub use user::handler;
pub use user::io::Io;
pub use user::metrics::Metrics;
pub use user::namespace::Namespace;
pub use user::socket::Socket;
pub use web::client_files::{ClientFiles, ClientFilesError};
pub use web::request::{HttpRequest, HttpResponse};
