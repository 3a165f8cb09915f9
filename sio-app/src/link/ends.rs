//! The two ends of a connection's socket, which an adapter brings.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::BytesMut;

/// The read side of a connection's socket. It also says when there is room to write.
pub trait Source {
    /// Reads once, and appends the bytes to `buffer` without enlarging its capacity. `Ok(0)` is the
    /// end of the stream.
    ///
    /// # Errors
    /// Any error is the end of the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Waits until the outlet can take bytes again.
    ///
    /// # Errors
    /// Any error is the end of the connection.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// The end of a connection's socket that is written to. It never blocks.
///
/// Any thread may call it, but only one at a time.
pub trait Outlet: Send + Sync + 'static {
    /// Writes as many bytes as the socket takes now, and returns their number.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the socket takes nothing now. Any other error
    /// is the end of the connection.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes several pieces as [`Outlet::try_write`] writes one.
    ///
    /// # Errors
    /// As [`Outlet::try_write`].
    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        pieces
            .iter()
            .find(|p| !p.is_empty())
            .map_or(Ok(0), |piece| self.try_write(piece))
    }

    /// Called when everything has been written. The outlet may tell the peer that nothing more
    /// comes.
    fn finish(&self);
}
