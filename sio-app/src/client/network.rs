//! The network, as functions that an adapter brings.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use crate::link::pipe::Duplex;
use crate::runtime::Runtime;

/// A connection to a server, or to a proxy.
pub type Wire = Box<dyn Duplex + Send>;

/// A connection that is being made. Dropping it gives up.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

/// The addresses of a name, which are being looked for.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// A time that passes.
pub type Sleeping = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a client needs from an adapter. Like [`Runtime`], these are plain functions.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// The runtime.
    pub runtime: Runtime,
    /// Whether [`Runtime::spawn`] can run a task for the caller.
    pub can_spawn: fn() -> bool,
    /// Makes a TCP connection to an address.
    pub connect: fn(SocketAddr) -> Dialing,
    /// Resolves the name of a host anew. The host may be an address, an IPv6 address without
    /// brackets.
    pub resolve: fn(host: String, port: u16) -> Resolving,
    /// Waits.
    pub sleep: fn(Duration) -> Sleeping,
}
