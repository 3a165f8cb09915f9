//! The session's side: a connection that another server brings.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use sio_proto::cluster::relay::{Final, LineId, RelayEnd, Reset};
use sio_proto::server::{Cause, Peer};

use crate::host::connection::Connection;
use crate::link::ends::Source;
use crate::link::pipe::{PipeSource, pipe};
use crate::lock::{Alarm, Mutex};
use crate::user::cluster::ClusterNode;
use crate::user::cluster::relays::End;
use crate::user::io::Io;

/// How often a connection is polled before other tasks have their turn.
const ROUNDS: usize = 16;

/// The task of a connection that another server brings.
struct Carried {
    connection: Connection,
    cluster: Arc<ClusterNode>,
    line: LineId,
    inbox: Arc<Inbox>,
    /// The waker that the inbox was given last.
    waker: Option<Waker>,
    pipe: PipeSource,
    /// Bytes of the answer that the other server does not take yet.
    leaving: Bytes,
    /// Whether the answer has begun.
    has_begun: bool,
    /// Whether the other server knows that the request is here.
    is_confirmed: bool,
}

/// What has come from the other server.
#[derive(Default)]
struct Inbox(Mutex<Arrived>);

#[derive(Default)]
struct Arrived {
    /// Copies: what the broker brings stands in the buffer of its connection, which is large. When
    /// all is read, this is without memory.
    bytes: BytesMut,
    end: Option<Cause>,
    /// Wakes the task by whatever comes, also while the connection reads nothing: a connection
    /// whose answers wait for room does not, and the room comes here.
    alarm: Option<Alarm>,
}

/// Takes up a connection of this peer, whose first bytes are these.
pub(crate) fn take_up(io: &Io, line: LineId, peer: Peer, bytes: Bytes) -> Option<Arc<dyn End>> {
    let cluster = Arc::clone(io.0.cluster.as_ref()?);
    let (pipe, outlet) = pipe();
    let connection = Connection::relayed(io, peer, outlet)?;
    let inbox = Arc::<Inbox>::default();
    inbox.change(|arrived| arrived.bytes.extend_from_slice(&bytes));
    let end = Arc::<Inbox>::clone(&inbox);
    (io.0.runtime().spawn)(Box::pin(Carried {
        connection,
        cluster,
        line,
        inbox,
        waker: None,
        pipe,
        leaving: Bytes::new(),
        has_begun: false,
        is_confirmed: false,
    }));
    Some(end)
}

impl Inbox {
    /// Changes something, and wakes the task.
    fn change(&self, change: impl FnOnce(&mut Arrived)) {
        let alarm = {
            let mut arrived = self.0.lock();
            change(&mut arrived);
            arrived.alarm.clone()
        };
        if let Some(alarm) = alarm {
            alarm.wake();
        }
    }

    /// Says who is woken from now on.
    fn set_waker(&self, waker: &Waker) {
        let alarm = Alarm::new(waker);
        let before = self.0.lock().alarm.replace(alarm);
        // A waker is dropped under no lock.
        drop(before);
    }

    fn has_ended(&self) -> bool {
        self.0.lock().end.is_some()
    }

    fn waiting(&self) -> usize {
        self.0.lock().bytes.len()
    }

    /// Reads what has come. What comes next wakes the task in any case.
    fn poll_read(&self, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut arrived = self.0.lock();
        let read = arrived.bytes.len().min(buffer.capacity() - buffer.len());
        if read > 0 {
            buffer.extend_from_slice(&arrived.bytes[..read]);
            arrived.bytes.advance(read);
            if arrived.bytes.is_empty() {
                arrived.bytes = BytesMut::new();
            }
            return Poll::Ready(Ok(read));
        }
        match &arrived.end {
            Some(Cause::Closed) => Poll::Ready(Ok(0)),
            Some(_) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => Poll::Pending,
        }
    }
}

impl End for Inbox {
    fn take(&self, bytes: Bytes, _: Option<Final>) {
        // The relay's window bounds what waits here.
        self.change(|arrived| arrived.bytes.extend_from_slice(&bytes));
    }

    fn go_on(&self) {
        self.change(|_| {});
    }

    fn end(&self, why: RelayEnd, reset: Option<Reset>) {
        let cause = match (why, reset) {
            (RelayEnd::ByClient, Some(Reset::Closed)) => Cause::Closed,
            _ => Cause::Failed,
        };
        self.change(|arrived| arrived.end = Some(cause));
    }
}

/// The relay as the socket of a connection.
struct Socket<'a>(&'a Inbox, &'a mut PipeSource);

impl Source for Socket<'_> {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.0.poll_read(buffer)
    }

    /// Nobody reads a full pipe when the relay has ended. Then what is in it is given up, so that
    /// the connection reads what has come before the end.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.1.poll_writable(cx) {
            Poll::Pending if self.0.has_ended() => {
                let _ = self.1.take_bytes(cx);
                Poll::Ready(Ok(()))
            }
            poll => poll,
        }
    }
}

/// What a step of sending has brought.
enum Sent {
    /// The answer is complete.
    All,
    /// The connection has room for more.
    Some,
    /// There is nothing to send, or the other server takes nothing.
    Nothing,
}

impl Carried {
    /// Sends what the connection has written, with the end of the answer if it is there.
    fn send(&mut self, cx: &mut Context<'_>) -> Sent {
        let mut end = None;
        if self.leaving.is_empty() {
            // What is complete now is in the pipe, so this is asked before its bytes are taken.
            let is_complete = self.connection.is_between_requests();
            let (bytes, is_finished) = self.pipe.take_bytes(cx);
            let has_begun = self.has_begun || !bytes.is_empty();
            self.leaving = bytes;
            end = match is_finished {
                true => Some(Final::Closes),
                false => (has_begun && is_complete).then_some(Final::KeepsAlive),
            };
        }
        if self.leaving.is_empty() && end.is_none() {
            return Sent::Nothing;
        }
        let sent = self.cluster.send_relay(self.line, &self.leaving, end);
        self.leaving.advance(sent);
        self.has_begun |= sent > 0;
        match (self.leaving.is_empty(), end) {
            (true, Some(_)) => Sent::All,
            (true, None) => Sent::Some,
            (false, _) => Sent::Nothing,
        }
    }

    /// Tells the other server that the request is here, or how much it may send.
    fn confirm(&mut self) {
        match std::mem::replace(&mut self.is_confirmed, true) {
            false => self.cluster.confirm_relay(self.line),
            true => self.cluster.keep_relay(self.line, self.inbox.waiting()),
        }
    }
}

impl Future for Carried {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if !this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            this.inbox.set_waker(cx.waker());
            this.waker = Some(cx.waker().clone());
        }
        for _ in 0..ROUNDS {
            let is_over = {
                let mut socket = Socket(&this.inbox, &mut this.pipe);
                this.connection.poll(cx, &mut socket).is_ready()
            };
            match this.send(cx) {
                Sent::All => {
                    this.connection.leave();
                    return Poll::Ready(());
                }
                Sent::Some => continue,
                Sent::Nothing if is_over => {
                    this.cluster.reset_relay(this.line, Reset::Failed);
                    return Poll::Ready(());
                }
                Sent::Nothing => {}
            }
            this.confirm();
            if !this.connection.must_poll_again() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Carried {
    /// The runtime may end while there is no answer.
    fn drop(&mut self) {
        self.cluster.reset_relay(self.line, Reset::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::ends::Outlet;

    /// The buffer of the broker's connection is not held, and small messages take no room of their
    /// own.
    #[test]
    fn what_has_come_is_copied_into_one_buffer() {
        let inbox = Inbox::default();
        let large = Bytes::from(vec![7; 1 << 20]);
        for at in 0..1_000 {
            inbox.take(large.slice(at..=at), None);
        }
        assert!(large.is_unique(), "nobody holds a part of it");
        assert_eq!(inbox.waiting(), 1_000);
        assert!(inbox.0.lock().bytes.capacity() <= 4_096);
        let mut buffer = BytesMut::with_capacity(600);
        for (count, left) in [(600, 400), (400, 0)] {
            buffer.clear();
            let read = inbox.poll_read(&mut buffer);
            assert!(matches!(read, Poll::Ready(Ok(read)) if read == count), "{read:?}");
            assert_eq!((buffer.len(), inbox.waiting()), (count, left));
        }
        assert!(inbox.poll_read(&mut buffer).is_pending());
        assert_eq!(inbox.0.lock().bytes.capacity(), 0);
    }

    /// Nobody empties the pipe of a relay that has ended. A connection that waits for room reads
    /// what has come before the end all the same.
    #[test]
    fn a_full_pipe_is_given_up_when_the_relay_has_ended() {
        let (inbox, (mut pipe, outlet)) = (Inbox::default(), pipe());
        while outlet.try_write(&[0; 1024]).is_ok() {}
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Socket(&inbox, &mut pipe).poll_writable(&mut cx).is_pending());
        inbox.end(RelayEnd::ByClient, Some(Reset::Closed));
        let writable = Socket(&inbox, &mut pipe).poll_writable(&mut cx);
        assert!(matches!(writable, Poll::Ready(Ok(()))), "{writable:?}");
        assert!(pipe.take_bytes(&cx).0.is_empty());
    }
}
