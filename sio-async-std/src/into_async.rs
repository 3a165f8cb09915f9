//! Sockets of async-std, of smol, of async-io and of the standard library, turned into sockets of
//! async-io.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use async_io::Async;

/// A type that can become a socket of async-io: listeners (`T` is [`TcpListener`]) and connections
/// (`T` is [`TcpStream`]) of `async_std::net` and `smol::net`, where these features are on, of
/// [`std::net`], and of async-io itself.
///
/// ```
/// # fn example(io: sio_async_std::Server) -> std::io::Result<()> {
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let serve = io.serve(listener);
/// # drop(serve);
/// # Ok(())
/// # }
/// ```
pub trait IntoAsync<T> {
    /// Converts the value into a socket of async-io.
    ///
    /// # Errors
    /// If the reactor does not take the socket, or if another handle of the same socket still
    /// exists.
    fn into_async(self) -> io::Result<Arc<Async<T>>>;
}

impl<T> IntoAsync<T> for Arc<Async<T>> {
    fn into_async(self) -> io::Result<Self> {
        Ok(self)
    }
}

impl<T> IntoAsync<T> for Async<T> {
    fn into_async(self) -> io::Result<Arc<Self>> {
        Ok(Arc::new(self))
    }
}

impl IntoAsync<Self> for TcpListener {
    fn into_async(self) -> io::Result<Arc<Async<Self>>> {
        Async::new(self).map(Arc::new)
    }
}

impl IntoAsync<Self> for TcpStream {
    fn into_async(self) -> io::Result<Arc<Async<Self>>> {
        Async::new(self).map(Arc::new)
    }
}

#[cfg(feature = "async-std")]
impl IntoAsync<TcpListener> for async_std::net::TcpListener {
    fn into_async(self) -> io::Result<Arc<Async<TcpListener>>> {
        TcpListener::try_from(self)?.into_async()
    }
}

#[cfg(feature = "async-std")]
impl IntoAsync<TcpStream> for async_std::net::TcpStream {
    fn into_async(self) -> io::Result<Arc<Async<TcpStream>>> {
        TcpStream::try_from(self)?.into_async()
    }
}

#[cfg(feature = "smol")]
impl IntoAsync<TcpListener> for smol::net::TcpListener {
    fn into_async(self) -> io::Result<Arc<Async<TcpListener>>> {
        Ok(self.into())
    }
}

#[cfg(feature = "smol")]
impl IntoAsync<TcpStream> for smol::net::TcpStream {
    fn into_async(self) -> io::Result<Arc<Async<TcpStream>>> {
        Ok(self.into())
    }
}
