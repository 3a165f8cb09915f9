//! The two ends of a socket, as [`sio_app`] needs them.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use mio::net::TcpStream;
use sio_app::adapter::{Outlet, Source};

/// The most reads of one connection in one turn, so that a client that sends without end does not
/// keep the others waiting.
const READS: u32 = 16;

/// The end that is written to. Any thread may write to it.
pub(super) struct TcpOutlet(pub(super) Arc<TcpStream>);

impl Outlet for TcpOutlet {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.0).write_vectored(pieces)
    }

    fn finish(&self) {
        // An error means that the peer has closed before. Then nobody needs this end of the stream.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

/// The end that is read, for one turn.
pub(super) struct TcpSource<'a> {
    stream: &'a TcpStream,
    /// The initialized buffer that reads fill. Safe code cannot read into uninitialized memory, and
    /// initializing the connection's own buffer costs as much as the copy from this one.
    scratch: &'a mut [u8],
    writable: &'a mut bool,
    reads: u32,
}

impl<'a> TcpSource<'a> {
    pub(super) const fn new(stream: &'a TcpStream, scratch: &'a mut [u8], writable: &'a mut bool) -> Self {
        Self {
            stream,
            scratch,
            writable,
            reads: READS,
        }
    }
}

impl Source for TcpSource<'_> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.reads == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.reads -= 1;
        let room = (buffer.capacity() - buffer.len()).min(self.scratch.len());
        match self.stream.read(&mut self.scratch[..room]) {
            Ok(read) => {
                buffer.extend_from_slice(&self.scratch[..read]);
                Poll::Ready(Ok(read))
            }
            // The poller reports when there is more.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(self.writable) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}
