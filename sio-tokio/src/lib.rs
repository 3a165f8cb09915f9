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
//!             // Clients choose the name: with something before it, it is no other room of yours.
//!             socket.to(format!("chat:{room}")).emit("chat", text);
//!         })
//!         .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b));
//!     io.listen("127.0.0.1:3000").await?;
//!     Ok(())
//! }
//! ```
//!
//! Start with [`Server`]; it is an [`Io`], whose page says what else there is. Everything of
//! [`sio_app`] that users need is here too.
//!
//! # The application's own HTTP
//!
//! What is not Socket.IO's gets 404, or what a function says:
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
//! It is called in place, so it is for pages and small answers. An application with routes,
//! middleware or bodies of its own takes Socket.IO into its HTTP server instead:
//!
//! | feature | what it adds |
//! |---|---|
//! | `tower` | the module `tower`: a layer and a service for any server of hyper 1 |
//! | `axum` | the module `axum`: routes of a `Router`, and the address from its `ConnectInfo` |
//!
//! With the feature `tls` a server speaks `https` and `wss` itself: `Server::listen_tls`,
//! `Server::serve_tls`.
//!
//! # The end
//!
//! [`Server::serve`] takes a reason to end: any future that is ready when it is time. On Unix
//! service managers and containers ask by SIGTERM, people by Ctrl-C. With tokio's features `macros`
//! and `signal`:
//!
//! ```no_run
//! # #[cfg(unix)]
//! # mod example {
//! # use sio_tokio::Server;
//! use tokio::signal::unix::{SignalKind, signal};
//!
//! /// From the call on, neither ends the process by itself.
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
//! It is told to [`Io::on_error`], or else to the log, which is
//! [`tracing`](https://docs.rs/tracing): a program without a subscriber, such as
//! `tracing_subscriber::fmt::init()`, says nothing.
//!
//! What this crate adds is thin: accepting, sockets, the clock and random bytes. Connections are
//! read by one small task each and written directly by whoever has something for them; each shard
//! has one task for its deadlines.
#![forbid(unsafe_code)]

#[cfg(feature = "axum")]
pub mod axum;
mod background;
mod clock;
mod entropy;
mod server;
mod stream;
mod tcp;
#[cfg(feature = "tower")]
pub mod tower;

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
