//! Listening sockets that two processes share, so that a new version of a program takes over a port
//! while the old one still serves its last clients (docs/deploy.md).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sio_tokio::{Config, Handover, Options, Server, handover};
//!
//! let options = Options::default().handover(Handover::SamePort);
//! let io = Server::with_options(Config::default(), options)?;
//! let listener = handover::bind("127.0.0.1:3000")?;
//! # let asked = std::future::pending::<()>();
//! io.serve(listener).with_graceful_shutdown(asked).await?;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::ToSocketAddrs;

use sio_app::adapter::handover;
use tokio::net::TcpListener;

/// Listens as [`sio_app::adapter::handover::bind`] does: other processes of the same user may
/// listen on the same address at the same time. Set
/// [`Handover::SamePort`](crate::Handover::SamePort). Call it inside a tokio runtime.
///
/// # Errors
/// If the address cannot be listened on, and on systems without `SO_REUSEPORT`.
pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    TcpListener::from_std(handover::bind(address)?)
}

/// Returns the listeners that a service manager has opened
/// ([`sio_app::adapter::handover::inherited`]), or none. Set
/// [`Handover::SameSocket`](crate::Handover::SameSocket). Call it once, inside a tokio runtime.
///
/// # Errors
/// If an inherited descriptor is no listening TCP socket.
pub fn inherited() -> io::Result<Vec<TcpListener>> {
    handover::inherited()?.into_iter().map(TcpListener::from_std).collect()
}
