//! Any other stream (TLS, a pipe, a Unix socket): its writes go through a buffer that the connection's task empties.
//!
//! ```text
//!   any thread ─ try_write ─► Pipe (bounded) ─ the connection's task ─► the stream
//! ```
//! Such a stream can be written by its owner only, and only while it is polled; so whoever has bytes leaves them here and wakes the task. When
//! the pipe is full it says so as a full socket does.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use sio_app::{Outlet, Source};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// How much a pipe holds.
const PIPE_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Pipe {
    bytes: BytesMut,
    finished: bool,
    /// The connection's task, if it has to be told of new bytes.
    waker: Option<Waker>,
}

/// The end that is written to.
pub(crate) struct PipeOutlet(Arc<Mutex<Pipe>>);

/// The stream, which also carries the pipe's bytes.
pub(crate) struct StreamSource<S> {
    stream: S,
    pipe: Arc<Mutex<Pipe>>,
    /// What is being written.
    leaving: BytesMut,
    shut: bool,
}

pub(crate) fn split<S>(stream: S) -> (StreamSource<S>, PipeOutlet) {
    let pipe = Arc::<Mutex<Pipe>>::default();
    let outlet = PipeOutlet(Arc::clone(&pipe));
    (
        StreamSource {
            stream,
            pipe,
            leaving: BytesMut::new(),
            shut: false,
        },
        outlet,
    )
}

fn with<R>(pipe: &Mutex<Pipe>, act: impl FnOnce(&mut Pipe) -> R) -> R {
    act(&mut pipe.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Outlet for PipeOutlet {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let (room, waker) = with(&self.0, |pipe| {
            let room = (PIPE_BYTES - pipe.bytes.len()).min(bytes.len());
            pipe.bytes.extend_from_slice(&bytes[..room]);
            (room, pipe.waker.take())
        });
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
        let waker = with(&self.0, |pipe| {
            pipe.finished = true;
            pipe.waker.take()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<S: AsyncWrite + Unpin> StreamSource<S> {
    /// Carries what is in the pipe to the stream. Ready when the pipe is empty and the stream has everything.
    fn poll_carry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.leaving.is_empty() {
                let (bytes, finished) = with(&self.pipe, |pipe| {
                    if pipe.bytes.is_empty() && !pipe.finished {
                        pipe.waker = Some(cx.waker().clone());
                    }
                    (std::mem::take(&mut pipe.bytes), pipe.finished)
                });
                if bytes.is_empty() {
                    if finished && !self.shut {
                        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
                        self.shut = true;
                    } else {
                        return Pin::new(&mut self.stream).poll_flush(cx);
                    }
                }
                self.leaving = bytes;
                continue;
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.leaving))?;
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

impl<S: AsyncRead + AsyncWrite + Unpin> Source for StreamSource<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(error)) = self.poll_carry(cx) {
            return Poll::Ready(Err(error));
        }
        pin!(self.stream.read_buf(buffer)).poll(cx)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let room = with(&self.pipe, |pipe| pipe.bytes.len() < PIPE_BYTES);
            if room {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_carry(cx))?;
        }
    }
}
