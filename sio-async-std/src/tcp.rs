//! TCP sockets, as two ends: the connection's task reads from one, and any thread writes to the
//! other. Both ends are the same socket, which is in non-blocking mode.
//!
//! The reactor of async-io reports a socket once for each time it is asked. A read that did not
//! fill its buffer has taken everything, so the next read asks the reactor first and does not try
//! the socket in vain. So each message costs one read and one question to the reactor.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_io::Async;
use bytes::BytesMut;
use sio_app::adapter::{Outlet, Source};

use crate::room::read_behind;

/// The end that is written to.
pub(crate) struct TcpOutlet(Arc<Async<TcpStream>>);

/// The end that is read.
pub(crate) struct TcpSource {
    socket: Arc<Async<TcpStream>>,
    /// Whether the last read took everything that was there.
    is_drained: bool,
}

// Every connection has both ends, and a task that holds the one that is read.
#[cfg(test)]
const _: () = assert!(size_of::<TcpOutlet>() <= 8);
#[cfg(test)]
const _: () = assert!(size_of::<sio_app::adapter::Driven<TcpSource>>() <= 160);

pub(crate) fn split(socket: Arc<Async<TcpStream>>) -> (TcpSource, TcpOutlet) {
    // Packets are small and each is written whole. Nagle's algorithm would only delay them.
    if let Err(error) = socket.get_ref().set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let source = TcpSource {
        socket: Arc::clone(&socket),
        is_drained: false,
    };
    (source, TcpOutlet(socket))
}

pub(crate) fn poll_accept(
    listener: &Async<TcpListener>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Arc<Async<TcpStream>>, SocketAddr)>> {
    loop {
        match listener.get_ref().accept() {
            Ok((stream, address)) => return Poll::Ready(Ok((Arc::new(Async::new(stream)?), address))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(listener.poll_readable(cx))?,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

impl Outlet for TcpOutlet {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_ref().write(bytes)
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_ref().write_vectored(pieces)
    }

    fn finish(&self) {
        // An error means that the peer has closed before. Then nobody needs this end of the stream.
        let _ = self.0.get_ref().shutdown(Shutdown::Write);
    }
}

impl Source for TcpSource {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        loop {
            if self.is_drained {
                ready!(self.socket.poll_readable(cx))?;
                self.is_drained = false;
            }
            let mut socket = self.socket.get_ref();
            let read = read_behind(buffer, |room| {
                let read = socket.read(room);
                self.is_drained = !read.as_ref().is_ok_and(|read| *read == room.len());
                Poll::Ready(read)
            });
            match ready!(read) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.is_drained = false,
                read => return Poll::Ready(read),
            }
        }
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_writable(cx)
    }
}
