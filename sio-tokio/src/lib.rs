//! Socket.IO servers on tokio: every generation of the protocol on one port.
//!
//! ```no_run
//! use sio_tokio::{Ack, Config, Server, Socket};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let io = Server::new(Config::default())?;
//!     io.of("/")
//!         .on_connect(|socket: Socket| socket.join("chat:lobby"))
//!         .on("chat", async |socket: Socket, (room, text): (String, String)| {
//!             // Clients choose this name. The prefix keeps it apart from your other rooms.
//!             socket.to(format!("chat:{room}")).emit("chat", text);
//!         })
//!         .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b));
//!     io.listen("127.0.0.1:3000").await?;
//!     Ok(())
//! }
//! ```
//!
//! Start with [`Server`]. It is an [`Io`]; the page of [`Io`] describes everything else. This crate
//! also exports everything of [`sio_app`] that users need.
//!
//! # The application's own HTTP
//!
//! The server answers a request that is not for Socket.IO with 404, or with the answer of a
//! function of yours:
//!
//! ```
//! # use sio_tokio::{HttpResponse, Method, Server};
//! # fn register(io: &Server) {
//! io.on_request(|request| match (request.method(), request.path()) {
//!     (Method::Get, "/") => HttpResponse::html("<h1>hello</h1>"),
//!     (Method::Get, "/health") => HttpResponse::json(&"good"),
//!     _ => HttpResponse::new(404),
//! });
//! # }
//! ```
//! The thread that read the request calls the function, so use it for pages and small answers only.
//! An application with routes, middleware or request bodies of its own mounts Socket.IO in its own
//! HTTP server instead:
//!
//! | feature | what it adds |
//! |---|---|
//! | `tower` | the module `tower`: a layer and a service for every HTTP server of hyper 1 |
//! | `axum` | the module `axum`: routes of a `Router`, and the peer's address from axum's `ConnectInfo` |
//!
//! With the feature `tls` a server itself speaks `https` and `wss`: `Server::listen_tls`,
//! `Server::serve_tls`.
//!
//! # The end
//!
//! [`Server::serve`] takes a signal to end: any future that becomes ready when the server has to
//! end. On Unix, service managers and containers send SIGTERM; people press Ctrl-C, which sends
//! SIGINT. This example waits for both. It needs tokio's features `macros` and `signal`:
//!
//! ```no_run
//! # #[cfg(unix)]
//! # mod example {
//! # use sio_tokio::Server;
//! use tokio::signal::unix::{SignalKind, signal};
//!
//! /// After this call, neither of the two signals ends the process by itself.
//! fn asked_to_end() -> std::io::Result<impl Future<Output = ()> + Send> {
//!     let mut terminate = signal(SignalKind::terminate())?;
//!     let mut interrupt = signal(SignalKind::interrupt())?;
//!     Ok(async move {
//!         tokio::select! {
//!             _ = terminate.recv() => {}
//!             _ = interrupt.recv() => {}
//!         }
//!     })
//! }
//!
//! # async fn example(io: Server, listener: tokio::net::TcpListener) -> std::io::Result<()> {
//! io.serve(listener).with_graceful_shutdown(asked_to_end()?).await
//! # }
//! # }
//! ```
//!
//! # What goes wrong
//!
//! The server reports errors to [`Io::on_error`]. If no function is set there, it writes them to
//! the log, which is [`tracing`](https://docs.rs/tracing). A program needs a subscriber, such as
//! `tracing_subscriber::fmt::init()`, or it shows no log.
//!
//! This crate adds little to [`sio_app`]: it accepts connections, reads and writes sockets, and
//! brings the clock and random bytes. One small task reads each connection. Any thread that has
//! something for a connection writes to its socket directly. Each shard has one task for its
//! deadlines.
#![forbid(unsafe_code)]

#[cfg(feature = "axum")]
pub mod axum;
mod background;
mod clock;
mod connect;
mod entropy;
#[cfg(feature = "handover")]
pub mod handover;
#[cfg(feature = "redis")]
pub mod redis;
mod server;
mod stream;
mod tcp;
#[cfg(feature = "tower")]
pub mod tower;

pub use connect::Client;
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
