//! Streams that only their owner can write to (TLS of another library, a Unix socket, a pipe).
//! Writes to them go through a buffer, which the connection's task empties.
//!
//! ```text
//!   any thread ─ try_write ─► Pipe (bounded) ─ the connection's task ─► the stream
//! ```
//! Such a stream can be written to only while its task polls it. So a thread that has bytes puts
//! them into the pipe and wakes the task. A full pipe behaves like a full socket.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};

use crate::link::ends::{Outlet, Source};
use crate::lock::Mutex;

/// The most bytes in a pipe.
const PIPE_BYTES: usize = 64 * 1024;

/// A stream of both directions that belongs to no runtime. Adapters implement it with the traits of
/// their runtime.
pub trait Duplex {
    /// Reads as [`Source::poll_read`] does.
    ///
    /// # Errors
    /// Any error is the end of the connection. This holds for the other methods, too.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Writes as many bytes as the stream takes, at least one, and returns their number.
    ///
    /// # Errors
    /// See above.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends the bytes that the stream may still hold back.
    ///
    /// # Errors
    /// See above.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Tells the peer that nothing more comes.
    ///
    /// # Errors
    /// See above.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

#[derive(Default)]
struct Pipe {
    bytes: BytesMut,
    finished: bool,
    /// The waker of the connection's task, if the task waits for new bytes.
    waker: Option<Waker>,
}

/// The end of a pipe that is written to.
pub(crate) struct PipeOutlet(Arc<Mutex<Pipe>>);

/// The end of a pipe that is read. As the source of a connection it delivers no bytes; it only says
/// when the pipe has room.
pub(crate) struct PipeSource(Arc<Mutex<Pipe>>);

/// Makes a pipe, and returns its two ends.
pub(crate) fn pipe() -> (PipeSource, PipeOutlet) {
    let pipe = Arc::<Mutex<Pipe>>::default();
    (PipeSource(Arc::clone(&pipe)), PipeOutlet(pipe))
}

impl PipeSource {
    /// Returns the bytes that have been written, or `None` after the end.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let waker = cx.waker().clone();
        // The replaced waker is dropped after the lock has been released.
        let _old = {
            let mut pipe = self.0.lock();
            if !pipe.bytes.is_empty() {
                return Poll::Ready(Some(std::mem::take(&mut pipe.bytes).freeze()));
            }
            if pipe.finished {
                return Poll::Ready(None);
            }
            pipe.waker.replace(waker)
        };
        Poll::Pending
    }
}

impl PipeSource {
    /// Takes the bytes that have been written, and says whether the end is behind them. If it is
    /// not, the task is woken by the next bytes.
    #[cfg(feature = "redis")]
    pub(crate) fn take_bytes(&self, cx: &Context<'_>) -> (Bytes, bool) {
        let waker = cx.waker().clone();
        let (bytes, finished, _old) = {
            let mut pipe = self.0.lock();
            let bytes = std::mem::take(&mut pipe.bytes).freeze();
            (bytes, pipe.finished, pipe.waker.replace(waker))
        };
        (bytes, finished)
    }
}

impl Source for PipeSource {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The reader polls again after it has read.
        if self.0.lock().bytes.len() < PIPE_BYTES {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

/// A stream that also writes the bytes that were put into its outlet.
pub struct Piped<D> {
    stream: D,
    pipe: Arc<Mutex<Pipe>>,
    /// The bytes that are being written.
    leaving: BytesMut,
    shut: bool,
}

impl<D: Duplex> Piped<D> {
    /// Splits a stream into its two ends.
    pub fn split(stream: D) -> (Self, impl Outlet) {
        let (PipeSource(pipe), outlet) = pipe();
        let source = Self {
            stream,
            pipe,
            leaving: BytesMut::new(),
            shut: false,
        };
        (source, outlet)
    }

    /// Writes the bytes of the pipe to the stream. Ready when the pipe is empty and the stream has
    /// everything.
    fn poll_carry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.leaving.is_empty() {
                let waker = cx.waker().clone();
                let (bytes, finished, _old) = {
                    let mut pipe = self.pipe.lock();
                    let waits = pipe.bytes.is_empty() && !pipe.finished;
                    let old = if waits { pipe.waker.replace(waker) } else { None };
                    (std::mem::take(&mut pipe.bytes), pipe.finished, old)
                };
                if bytes.is_empty() {
                    if finished && !self.shut {
                        ready!(self.stream.poll_close(cx))?;
                        self.shut = true;
                    } else {
                        return self.stream.poll_flush(cx);
                    }
                }
                self.leaving = bytes;
                continue;
            }
            let written = ready!(self.stream.poll_write(cx, &self.leaving))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.leaving.advance(written);
            if self.leaving.is_empty() {
                self.leaving = BytesMut::new();
            }
        }
    }
}

impl Outlet for PipeOutlet {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let (room, waker) = {
            let mut pipe = self.0.lock();
            let room = (PIPE_BYTES - pipe.bytes.len()).min(bytes.len());
            pipe.bytes.extend_from_slice(&bytes[..room]);
            (room, pipe.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        if room == 0 {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(room)
        }
    }

    fn finish(&self) {
        let waker = {
            let mut pipe = self.0.lock();
            pipe.finished = true;
            pipe.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<D: Duplex> Source for Piped<D> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(error)) = self.poll_carry(cx) {
            return Poll::Ready(Err(error));
        }
        self.stream.poll_read(cx, buffer)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let has_room = self.pipe.lock().bytes.len() < PIPE_BYTES;
            if has_room {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_carry(cx))?;
        }
    }
}

impl<D> std::fmt::Debug for Piped<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piped")
            .field("leaving", &self.leaving.len())
            .finish_non_exhaustive()
    }
}
