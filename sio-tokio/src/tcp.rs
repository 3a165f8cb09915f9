//! TCP sockets, split into two ends: the connection's task reads from one, and any thread writes to
//! the other.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use sio_app::adapter::{Outlet, Source};
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The end that is written to.
pub(crate) struct TcpOutlet(OwnedWriteHalf);

/// The end that is read.
pub(crate) struct TcpSource(OwnedReadHalf);

// Every connection has both ends, and a task that holds the one that is read.
#[cfg(test)]
const _: () = assert!(size_of::<TcpOutlet>() <= 16);
#[cfg(test)]
const _: () = assert!(size_of::<sio_app::adapter::Driven<TcpSource>>() <= 16);

pub(crate) fn split(stream: TcpStream) -> (TcpSource, TcpOutlet) {
    // Packets are small and each is written whole. Nagle's algorithm would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let (read, write) = stream.into_split();
    (TcpSource(read), TcpOutlet(write))
}

impl Outlet for TcpOutlet {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn finish(&self) {
        // An error means that the peer has closed before. Then nobody needs this end of the stream.
        let _ = SockRef::from(self.0.as_ref()).shutdown(Shutdown::Write);
    }
}

impl Source for TcpSource {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        // Unlike `try_read`, this function takes a short read as the sign that there is nothing
        // more to read. That saves one system call per read.
        pin!(self.0.read_buf(buffer)).poll(cx)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_ref().poll_write_ready(cx)
    }
}
