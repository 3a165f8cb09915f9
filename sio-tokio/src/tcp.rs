//! TCP sockets, split into the end that is read by the connection's task and the end that any
//! thread writes to.

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

pub(crate) fn split(stream: TcpStream) -> (TcpSource, TcpOutlet) {
    // Packets are small and written whole: waiting to merge them would only delay them.
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
        // The peer may have closed before: then there is nobody to tell.
        let _ = SockRef::from(self.0.as_ref()).shutdown(Shutdown::Write);
    }
}

impl Source for TcpSource {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        // Other than `try_read`, this takes a short read for the sign that there is no more, and
        // saves the call that would say so.
        pin!(self.0.read_buf(buffer)).poll(cx)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_ref().poll_write_ready(cx)
    }
}
