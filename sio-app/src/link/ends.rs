//! The two ends of a connection's socket, which an adapter brings.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::BytesMut;

/// The read side of a connection's socket, and its word on when there is room to write.
pub trait Source {
    /// Reads what there is, once, behind what is in `buffer`, without making it larger. `Ok(0)` is
    /// the end of the stream.
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

/// Where the bytes of one connection go: a socket that never blocks.
///
/// It is called from any thread, by one at a time.
pub trait Outlet: Send + Sync + 'static {
    /// Writes as much as the socket takes right now.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if that is nothing; anything else is the end of
    /// the connection.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// The same for several pieces.
    ///
    /// # Errors
    /// As [`Outlet::try_write`].
    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        pieces
            .iter()
            .find(|p| !p.is_empty())
            .map_or(Ok(0), |piece| self.try_write(piece))
    }

    /// Everything has been written: the peer may be told that nothing more comes.
    fn finish(&self);
}
