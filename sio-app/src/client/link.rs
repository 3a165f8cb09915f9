//! One connection of a client: it is made, read, written to and closed by the client's task.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use sio_proto::client::{ClientError, ErrorClass};
use sio_proto::{LinkId, Time};

use super::network::{Dialing, Wire};
use super::through;
use crate::trim::trim_queue;

/// How many bytes one read takes.
const READ_BYTES: usize = 16 * 1024;

/// The largest buffer that is kept for the next read.
const MOST_SPARE_BYTES: usize = 4 * READ_BYTES;

/// How many reads one connection may do before others have their turn.
const READS: usize = 8;

enum Stage {
    Dialing(Dialing),
    Open(Wire),
    /// The connection has ended. The machine knows.
    Ended,
}

/// What a connection has to tell the machine.
pub(crate) enum Told {
    Connected,
    Bytes,
    Blocked,
    Drained,
    Closed(Option<ClientError>),
}

pub(crate) struct Link {
    pub(crate) id: LinkId,
    stage: Stage,
    out: VecDeque<Bytes>,
    /// The machine was told that the connection takes no more bytes.
    blocked: bool,
    unflushed: bool,
    /// Set when the machine has closed the connection: until when its last bytes may leave.
    pub(crate) closing: Option<Time>,
    /// Bytes that were read, for the machine.
    pub(crate) buffer: BytesMut,
}

impl Link {
    pub(crate) fn new(id: LinkId, dialing: Dialing) -> Self {
        Self {
            id,
            stage: Stage::Dialing(dialing),
            out: VecDeque::new(),
            blocked: false,
            unflushed: false,
            closing: None,
            buffer: BytesMut::new(),
        }
    }

    pub(crate) fn write(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.out.push_back(bytes);
        }
    }

    /// The machine has closed the connection. What was written before may leave until then.
    pub(crate) fn close(&mut self, until: Time) {
        self.closing = Some(until);
        if let Stage::Dialing(_) = self.stage {
            self.stage = Stage::Ended;
        }
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// Does what can be done now. `told` gets what the machine has to know; after
    /// [`Told::Bytes`] the caller takes the buffer. `spare` is memory for reading: it is used, and
    /// is back afterwards unless the beginning of something is in it. Returns true if this has to
    /// be called again.
    pub(crate) fn poll(
        &mut self,
        may_read: bool,
        spare: &mut BytesMut,
        cx: &mut Context<'_>,
        told: &mut impl FnMut(&mut Self, Told),
    ) -> bool {
        if let Stage::Dialing(dialing) = &mut self.stage {
            match dialing.as_mut().poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(wire)) => {
                    self.stage = Stage::Open(wire);
                    told(self, Told::Connected);
                    // The machine has a request for the connection now.
                    return true;
                }
                Poll::Ready(Err(error)) => {
                    self.end(Some(fault(&error)), told);
                    return false;
                }
            }
        }
        self.poll_write(cx, told);
        if self.closing.is_some() {
            return false;
        }
        may_read && self.poll_read(spare, cx, told)
    }

    fn poll_read(
        &mut self,
        spare: &mut BytesMut,
        cx: &mut Context<'_>,
        told: &mut impl FnMut(&mut Self, Told),
    ) -> bool {
        if self.buffer.is_empty() {
            std::mem::swap(&mut self.buffer, spare);
        }
        for _ in 0..READS {
            let Stage::Open(wire) = &mut self.stage else {
                return false;
            };
            self.buffer.reserve(READ_BYTES);
            match wire.poll_read(cx, &mut self.buffer) {
                Poll::Pending => {
                    // An idle connection holds no buffer.
                    if self.buffer.is_empty() {
                        let buffer = std::mem::take(&mut self.buffer);
                        if buffer.capacity() <= MOST_SPARE_BYTES {
                            *spare = buffer;
                        }
                    }
                    return false;
                }
                Poll::Ready(Ok(0)) => {
                    self.end(None, told);
                    return false;
                }
                Poll::Ready(Ok(_)) => told(self, Told::Bytes),
                Poll::Ready(Err(error)) => {
                    self.end(Some(fault(&error)), told);
                    return false;
                }
            }
        }
        true
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, told: &mut impl FnMut(&mut Self, Told)) {
        loop {
            let Stage::Open(wire) = &mut self.stage else { return };
            let Some(front) = self.out.front_mut() else { break };
            match wire.poll_write(cx, front) {
                Poll::Ready(Ok(0)) => return self.end(Some(fault(&io::ErrorKind::WriteZero.into())), told),
                Poll::Ready(Ok(written)) => {
                    self.unflushed = true;
                    front.advance(written);
                    if front.is_empty() {
                        self.out.pop_front();
                        trim_queue(&mut self.out);
                    }
                }
                Poll::Ready(Err(error)) => return self.end(Some(fault(&error)), told),
                Poll::Pending => {
                    if !std::mem::replace(&mut self.blocked, true) {
                        told(self, Told::Blocked);
                    }
                    return;
                }
            }
        }
        let Stage::Open(wire) = &mut self.stage else { return };
        if self.unflushed {
            match wire.poll_flush(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return self.end(Some(fault(&error)), told),
            }
        }
        if self.closing.is_some() {
            // Whether the peer hears of the end or not, the connection is dropped.
            if wire.poll_close(cx).is_ready() {
                self.stage = Stage::Ended;
            }
            return;
        }
        if std::mem::replace(&mut self.blocked, false) {
            told(self, Told::Drained);
        }
    }

    fn end(&mut self, error: Option<ClientError>, told: &mut impl FnMut(&mut Self, Told)) {
        self.stage = Stage::Ended;
        self.out = VecDeque::new();
        if self.closing.is_none() {
            told(self, Told::Closed(error));
        }
    }
}

/// A failure of the network, for the machine. A failure of TLS is invalid data.
fn fault(error: &io::Error) -> ClientError {
    if let Some(refusal) = through::refusal(error) {
        return refusal;
    }
    let class = match error.kind() {
        io::ErrorKind::InvalidData => ErrorClass::Tls,
        _ => ErrorClass::Unreachable,
    };
    ClientError {
        class,
        status: None,
        message: error.to_string().into(),
        data: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::pipe::Duplex;

    /// A connection that takes everything, and brings nothing.
    struct Sink;

    impl Duplex for Sink {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_connection_gives_back_what_many_writes_have_needed() {
        let dialing = Box::pin(std::future::ready(Ok(Box::new(Sink) as Wire)));
        let mut link = Link::new(LinkId(0), dialing);
        for _ in 0..10_000 {
            link.write(Bytes::from_static(b"x"));
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while link.poll(true, &mut BytesMut::new(), &mut cx, &mut |_, _| {}) {}
        assert!(
            link.out.is_empty() && link.out.capacity() <= 128,
            "{}",
            link.out.capacity()
        );
    }
}
