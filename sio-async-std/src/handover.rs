//! Listening sockets that two processes share, so that a new version of a program takes over a port
//! while the old one still serves its last clients (docs/deploy.md).
//!
//! ```no_run
//! use sio_async_std::{Config, Handover, Options, Server, handover};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let options = Options::default().handover(Handover::SamePort);
//!     let io = Server::with_options(Config::default(), options)?;
//!     let listener = handover::bind("127.0.0.1:3000")?;
//!     let asked = std::future::pending::<()>();
//!     async_io::block_on(io.serve(listener).with_graceful_shutdown(asked).into_future())?;
//!     Ok(())
//! }
//! ```

pub use sio_app::adapter::handover::{bind, inherited};
