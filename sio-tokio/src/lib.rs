//! Socket.IO servers on tokio: every generation of the protocol on one port.
//!
//! ```no_run
//! use sio_tokio::{Ack, Config, Server, Socket};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let io = Server::new(Config::default())?;
//!     io.of("/")
//!         .on_connect(|socket: Socket| socket.join("lobby"))
//!         .on("chat", async |socket: Socket, (room, text): (String, String)| {
//!             socket.to(room).emit("chat", text);
//!         })
//!         .on("sum", |_: Socket, (a, b): (f64, f64), ack: Ack| ack.send(a + b));
//!     io.listen("127.0.0.1:3000").await?;
//!     Ok(())
//! }
//! ```
//!
//! Start with [`Server`]; it is an [`Io`], whose page says what else there is. Everything of [`sio_app`] that users need is here too.
//!
//! What this crate adds is thin: accepting, sockets, the clock and random bytes. Connections are read by one small task each and written directly by
//! whoever has something for them; each shard has one task for its deadlines.
#![forbid(unsafe_code)]

mod background;
mod clock;
mod entropy;
mod server;
mod stream;
mod tcp;

pub use server::Server;
pub use sio_app::*;

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
