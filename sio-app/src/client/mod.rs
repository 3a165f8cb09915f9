//! A client: the other end of a connection to a Socket.IO server.
//!
//! The adapters (`sio_tokio::Client`, `sio_async_std::Client`) make one:
//!
//! ```
//! use sio_app::client::{Ack, BuildError, ClientBuilder, DisconnectReason, Socket};
//!
//! # async fn example(builder: ClientBuilder) -> Result<(), Box<dyn std::error::Error>> {
//! // let builder = sio_tokio::Client::builder("http://127.0.0.1:3000");
//! let client = builder.build()?;
//! let chat = client.of("/chat")?;
//! chat.on("said", |(who, text): (String, String)| println!("{who}: {text}"))
//!     .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b))
//!     .on_disconnect(|reason: DisconnectReason| println!("{reason}"));
//! chat.connect()?;
//! let members: u32 = chat.emit_with_ack("enter", "lobby").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Without handlers:
//!
//! ```
//! # use sio_app::client::Socket;
//! # async fn example(chat: Socket) -> Result<(), Box<dyn std::error::Error>> {
//! let mut events = chat.events();
//! chat.connect()?;
//! while let Some(event) = events.next_event().await {
//!     if event.name() == "said" {
//!         let (who, text): (String, String) = event.args()?;
//!         println!("{who}: {text}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What becomes of the connection, and of what is sent:
//!
//! ```
//! # use sio_app::client::{BuildError, ClientBuilder, Outcome};
//! # async fn example(builder: ClientBuilder) -> Result<(), Box<dyn std::error::Error>> {
//! let client = builder
//!     .header("X-Device", "7")
//!     .config(|config| config.retries(3).retry_window(8)) // up to eight unanswered at once
//!     .build()?;
//! let mut states = client.states(); // from here on
//! let chat = client.of("/chat")?;
//! chat.connect()?;
//! let receipt = chat.emit_with_receipt("say", "hello")?;
//! for pending in chat.pending() {
//!     println!("{} waits since {:?}", pending.name, pending.age);
//! }
//! match receipt.await {
//!     Outcome::Acknowledged(args) => println!("the server has answered {}", args.json()),
//!     Outcome::NotSent(why) => println!("it never left: {why}"),
//!     other => println!("{other:?}"),
//! }
//! while let Some(state) = states.next_state().await {
//!     println!("{state}"); // "lost: transport close", "next attempt in 1.2 s", ...
//! }
//! # Ok(())
//! # }
//! ```
//!
//! * [`ClientBuilder`] – settings; [`ClientConfig`] has every limit and every default.
//! * [`Client`] – the connection: namespaces, [`Client::wake`], [`Client::close`], its states.
//! * [`Socket`] – one namespace: handlers, [`Socket::emit`], acknowledgements, receipts, the queue.
//!
//! # What it does
//!
//! It behaves like socket.io-client 4.8, over polling and websocket. It speaks to servers of
//! Socket.IO 4 to 1, 0.9 and 0.6, and of the streaming codec ([`Generation`]). It connects again by
//! itself after a loss. Events that are sent meanwhile wait, within limits, and leave in their
//! order. A refusal ends the attempts (see [`OnRefused`]). If the server's name has several
//! addresses, those that do not answer keep nobody: after a quarter of a second, the next one is
//! tried, too (RFC 8305).
//!
//! With the feature `tls` it speaks `https` and `wss` with rustls, and trusts the certificate
//! authorities of the platform. `ClientBuilder::tls` says whom it trusts instead:
//! `ClientTls::new` takes a configuration of yours, and `ClientTls::pinned` trusts one certificate,
//! by its hash, which `ClientTls::hash` computes. Without the feature, a URL with `https` or `wss`
//! is an error of `ClientBuilder::build`.
//!
//! Cookies that the server sets come back to it, and to nobody else, over reconnections too
//! (RFC 6265, within [`ClientConfig::max_cookie_bytes`]). Header fields of yours go with every
//! request ([`ClientBuilder::header`]). Redirects are followed inside of the server's origin, and
//! from port 80 to `https` of the same host.
//!
//! It goes through the proxy that the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`,
//! `NO_PROXY`), or through that of [`ClientBuilder::proxy`].
//!
//! # Handlers
//!
//! Handlers are those of a server ([`handler`](crate::handler)), with [`Socket`] and [`Ack`] of
//! this module. A panic is reported, and the connection goes on. The client's task calls them, so a
//! handler that blocks also blocks the client's heartbeat.

mod ack;
mod builder;
mod clocks;
pub(crate) mod dial;
mod driver;
mod events;
mod handle;
mod handlers;
pub(crate) mod link;
pub(crate) mod network;
mod pausing;
mod receipt;
mod shared;
pub(crate) mod slot;
mod socket;
#[cfg(test)]
mod tests;
mod through;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod ways;

pub use ack::Ack;
pub use builder::{Attempt, BuildError, ClientBuilder, Credentials};
pub use events::{ConnectionState, ConnectionStates, Event, Events};
pub use handle::Client;
pub use handlers::ClientSide;
pub use receipt::{AckError, AckFuture, EmitError, Outcome, Receipt};
pub use sio_proto::client::{
    ClientConfig, ClientConfigError, ClientError, CommandError, DisconnectReason, EmitId, ErrorClass, Feature,
    Generation, NotSent, Offline, OnRefused, Recovery, StopReason, Transport, UrlError, proxy,
};
pub use socket::{ConnectError, Pending, Socket, SocketEmitter};
#[cfg(feature = "tls")]
pub use tls::{ClientTls, ClientTlsError};
