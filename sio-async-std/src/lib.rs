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
//!             // Clients choose this name. The prefix keeps it apart from your other rooms.
//!             socket.to(format!("chat:{room}")).emit("chat", text);
//!         })
//!         .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b));
//!     async_io::block_on(io.listen("127.0.0.1:3000"))?; // or async_std::task::block_on, or smol::block_on
//!     Ok(())
//! }
//! ```
//!
//! Start with [`Server`]. It is an [`Io`]; the page of [`Io`] describes everything else. This crate
//! also exports everything of [`sio_app`] that users need.
//!
//! # async-std or smol
//!
//! **async-std is discontinued upstream**, and its authors recommend smol. Both use the same
//! reactor (async-io), so this crate is the same code for both. They differ only in the runtime
//! that runs the tasks:
//!
//! | features | tasks are run by |
//! |---|---|
//! | `async-std` (default) | `async_std::task::spawn` |
//! | `smol`, with `default-features = false` | `smol::spawn`. The environment variable `SMOL_THREADS` sets the number of threads; the default is one |
//! | both | `async_std::task::spawn`: if another crate of the program turns on the feature `smol`, nothing changes for a user of async-std |
//!
//! To move from async-std to smol, change one line of `Cargo.toml`. Handlers and calls of this
//! crate stay as they are:
//!
//! ```toml
//! sio-async-std = { path = "../sio/sio-async-std", default-features = false, features = ["smol"] }
//! ```
//! Then replace the functions of async-std that the program itself uses (`async_std::task::sleep`
//! becomes `smol::Timer::after`, `async_std::net` becomes `smol::net`). This crate serves listeners
//! and streams of async-std, of smol, of async-io and of the standard library ([`IntoAsync`]). To
//! move to tokio, write `sio_tokio` instead of `sio_async_std`: its `Server` has the same methods.
//!
//! # Contents
//!
//! With the feature `tls` a server itself speaks `https` and `wss`: `Server::listen_tls`,
//! `Server::serve_tls`.
//!
//! This crate adds little to [`sio_app`]: it accepts connections, reads and writes sockets, and
//! brings the clock and random bytes. One small task reads each connection. Any thread that has
//! something for a connection writes to its socket directly. Each shard has one task for its
//! deadlines. The reactor has to be asked again for each message that a connection waits for. This
//! costs one system call more than tokio needs, and never two.
#![forbid(unsafe_code)]

#[cfg(not(any(feature = "async-std", feature = "smol")))]
compile_error!("sio-async-std needs somebody to run its tasks: the feature `async-std` (on by default) or `smol`");

mod clock;
mod connect;
mod entropy;
mod executor;
#[cfg(feature = "handover")]
pub mod handover;
mod into_async;
#[cfg(feature = "redis")]
pub mod redis;
mod room;
mod server;
mod stream;
mod tcp;

pub use connect::Client;
pub use into_async::IntoAsync;
pub use server::Server;
pub use sio_app::adapter::Serve;
#[cfg(feature = "transcript")]
pub use sio_app::transcript;
pub use sio_app::{
    Absence, Ack, AckError, AckFuture, ArgsError, Auth, Binary, Breach, BreachKind, BroadcastAcks, BroadcastAnswer,
    BroadcastAnswers, ByteString, Bytes, ClientFiles, ClientFilesError, Comeback, Config, ConfigError, ConnectionError,
    Cookie, Cors, CorsOrigins, Count, Counters, Data, EmitError, Emitter, EngineHandler, EngineMessage, EngineSocket,
    Excess, Extension, Extract, FetchSockets, Fetched, Generation, Generations, Gone, HandlerError, HandlerId,
    HandlerResult, Handover, Handshake, HeaderError, HistoryEvent, HostPattern, HostPatternError, Hosts, HttpRequest,
    HttpResponse, IdError, Incoming, Io, Legacy06, Legacy09, Method, Metrics, MiddlewareResult, Mount, Namespace,
    NotRecovered, Offset, OffsetError, Options, OriginPattern, OriginPatternError, OriginRule, Origins, Peer, Policy,
    Priority, Queued, Rate, RateLimit, Raw, RawArgs, Ready, Reason, RecoveryConfig, RecoveryCounts, Refusal, Refused,
    RegisterError, RemoteSocket, RequestError, ResponseHeaders, ResumeError, Resumed, Ring, Room, RoomEvent, RoomSince,
    Rooms, SameSite, Sent, ServerSideAcks, ServerSideAnswers, ServerSideEvent, Sleep, Socket, SocketEmitter, SocketId,
    SocketIdError, State, TimedEmitter, TransportKind, Transports, Unsent, WireId, args, check_store, client, codec,
    handler, store,
};
#[cfg(feature = "redis")]
pub use sio_app::{
    Cluster, ClusterConfig, ClusterCounts, ClusterKind, RelayConfig, RelayCounters, RelayEnd, RelayTraffic, Secret,
    ShardedMode, StreamsConfig,
};
#[cfg(feature = "tls")]
pub use sio_app::{Tls, TlsError, rustls};
