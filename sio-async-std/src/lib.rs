//! Socket.IO servers on async-std and on smol: every generation of the protocol on one port.
//!
//! ```no_run
//! use sio_async_std::{Ack, Config, Server, Socket};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let io = Server::new(Config::default())?;
//!     io.of("/")
//!         .on_connect(|socket: Socket| socket.join("chat:lobby"))
//!         .on("chat", async |socket: Socket, (room, text): (String, String)| {
//!             // Clients choose the name: with something before it, it is no other room of yours.
//!             socket.to(format!("chat:{room}")).emit("chat", text);
//!         })
//!         .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b));
//!     async_io::block_on(io.listen("127.0.0.1:3000"))?; // or async_std::task::block_on, or smol::block_on
//!     Ok(())
//! }
//! ```
//!
//! Start with [`Server`]; it is an [`Io`], whose page says what else there is. Everything of
//! [`sio_app`] that users need is here too.
//!
//! # async-std or smol
//!
//! **async-std is discontinued upstream**, and its authors recommend smol. Both stand on the same
//! reactor (async-io), so this crate is the same code for both, and what differs is who runs the
//! tasks:
//!
//! | features | tasks are run by |
//! |---|---|
//! | `async-std` (default) | `async_std::task::spawn` |
//! | `smol`, with `default-features = false` | `smol::spawn`; how many threads that means is said in `SMOL_THREADS`, and is one if nobody says so |
//! | both | async-std: a feature that is turned on elsewhere in a program changes nothing for those who were there before |
//!
//! To move from async-std to smol, change one line of `Cargo.toml`; no handler, and no call of this
//! crate, changes with it:
//!
//! ```toml
//! sio-async-std = { version = "0.1", default-features = false, features = ["smol"] }
//! ```
//! Then replace what the program itself uses of async-std (`async_std::task::sleep` is
//! `smol::Timer::after`, `async_std::net` is `smol::net`). Listeners and streams of either, of
//! async-io and of the standard library are served alike ([`IntoAsync`]). To move to tokio, write
//! `sio_tokio` for `sio_async_std`: its `Server` has the same methods.
//!
//! # What is in it
//!
//! With the feature `tls` a server speaks `https` and `wss` itself: `Server::listen_tls`,
//! `Server::serve_tls`.
//!
//! What this crate adds is thin: accepting, sockets, the clock and random bytes. Connections are
//! read by one small task each and written directly by whoever has something for them; each shard
//! has one task for its deadlines. The reactor has to be asked anew for each message that is waited
//! for, which costs one system call more than tokio needs, and never two.
#![forbid(unsafe_code)]

#[cfg(not(any(feature = "async-std", feature = "smol")))]
compile_error!("sio-async-std needs somebody to run its tasks: the feature `async-std` (on by default) or `smol`");

mod clock;
mod entropy;
mod executor;
mod into_async;
mod room;
mod server;
mod stream;
mod tcp;

pub use into_async::IntoAsync;
pub use server::Server;
pub use sio_app::adapter::Serve;
pub use sio_app::{
    Ack, AckError, AckFuture, ArgsError, Binary, ByteString, Bytes, ClientFiles, ClientFilesError, Config, ConfigError,
    Cookie, Cors, CorsOrigins, Count, Counters, Data, EmitError, Emitter, EngineHandler, EngineMessage, EngineSocket,
    Extension, Generation, Generations, Gone, HandlerError, Handshake, HostPattern, HostPatternError, Hosts,
    HttpRequest, HttpResponse, Io, Legacy06, Method, Metrics, Mount, Namespace, Options, OriginPattern,
    OriginPatternError, Origins, Peer, Priority, Raw, RawArgs, Reason, Refusal, Refused, SameSite, Sleep, Socket,
    SocketId, TransportKind, Transports, WireId, args, codec, handler,
};
#[cfg(feature = "tls")]
pub use sio_app::{Tls, TlsError, rustls};
