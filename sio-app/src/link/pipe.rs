//! Streams that only their owner can write to (TLS of another make, a Unix socket, a pipe): their
//! writes go through a buffer that the connection's task empties.
//!
//! ```text
//!   any thread ─ try_write ─► Pipe (bounded) ─ the connection's task ─► the stream
//! ```
//! Such a stream can be written to only while it is polled; so whoever has bytes leaves them here
//! and wakes the task. When the pipe is full it says so as a full socket does.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};

use crate::lock::Mutex;
use crate::{Outlet, Source};

/// How much a pipe holds.
const PIPE_BYTES: usize = 64 * 1024;

/// A stream of both directions, in the words of no runtime: adapters put their own traits behind
/// it.
pub trait Duplex {
    /// As [`Source::poll_read`].
    ///
    /// # Errors
    /// Any error is the end of the connection, here and below.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Writes as much as the stream takes, which is not nothing.
    ///
    /// # Errors
    /// See above.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends what the stream may still hold back.
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
    /// The connection's task, if it has to be told of new bytes.
    waker: Option<Waker>,
}

/// The end of a pipe that is written to.
pub(crate) struct PipeOutlet(Arc<Mutex<Pipe>>);

/// The end of a pipe that somebody reads. As a source of a connection it brings nothing: it only
/// says when there is room.
pub(crate) struct PipeSource(Arc<Mutex<Pipe>>);

/// The two ends of a pipe.
pub(crate) fn pipe() -> (PipeSource, PipeOutlet) {
    let pipe = Arc::<Mutex<Pipe>>::default();
    (PipeSource(Arc::clone(&pipe)), PipeOutlet(pipe))
}

impl PipeSource {
    /// What has been written; `None` after the end.
    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let waker = cx.waker().clone();
        // The waker that this one replaces is dropped under no lock.
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

impl Source for PipeSource {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Who reads comes here again.
        if self.0.lock().bytes.len() < PIPE_BYTES {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

/// A stream, which also carries the bytes that its outlet was given.
pub struct Piped<D> {
    stream: D,
    pipe: Arc<Mutex<Pipe>>,
    /// What is being written.
    leaving: BytesMut,
    shut: bool,
}

impl<D: Duplex> Piped<D> {
    /// The two ends of a stream.
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

    /// Carries what is in the pipe to the stream. Ready when the pipe is empty and the stream has
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
