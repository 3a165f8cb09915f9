//! The one module in which async-std and smol differ. With both features on, it uses async-std.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

#[cfg(feature = "async-std")]
pub(crate) use async_std::net::{TcpListener, TcpStream, ToSocketAddrs};
#[cfg(not(feature = "async-std"))]
pub(crate) use smol::net::{AsyncToSocketAddrs as ToSocketAddrs, TcpListener, TcpStream};

/// Runs a task in the background, from any thread.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[cfg(feature = "async-std")]
    drop(async_std::task::spawn(task));
    #[cfg(not(feature = "async-std"))]
    smol::spawn(task).detach();
}

/// Returns the addresses of a host.
pub(crate) async fn resolve(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(feature = "async-std")]
    return Ok((&*host, port).to_socket_addrs().await?.collect());
    #[cfg(not(feature = "async-std"))]
    return smol::net::resolve((&*host, port)).await;
}
