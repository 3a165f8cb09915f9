//! What connections do for sessions on other nodes: those that another node brings, and those whose
//! bytes go to another node.

use std::sync::Arc;
use std::task::{Context, Poll};

use sio_proto::conn::Stage;
use sio_proto::server::{Cause, Peer};

use super::{Connection, Marks, READ, make_whole};
use crate::link::ends::{Outlet, Source};
use crate::link::{Link, Standing};
use crate::user::io::Io;

impl Connection {
    /// Takes up a connection that another node of the cluster brings. It passes nothing on.
    pub(in crate::host) fn relayed(io: &Io, peer: Peer, outlet: impl Outlet) -> Option<Self> {
        let traffic = Arc::clone(&io.0.tally.traffic);
        Self::on(io, peer, Arc::new(Link::relayed(outlet, traffic)))
    }

    /// Whether all requests that have come are answered, the answers are written, and no websocket
    /// has begun.
    pub(in crate::host) fn is_between_requests(&self) -> bool {
        self.has_answered() && self.place.link.is_clear()
    }

    fn has_answered(&self) -> bool {
        self.unanswered == 0 && self.stage == Stage::Idle && !self.conn.is_websocket()
    }

    /// Whether a request has been answered since the connection was polled, or another thread is
    /// about to finish the writing of an answer. Otherwise its task is woken by the answer.
    pub(in crate::host) fn must_poll_again(&self) -> bool {
        let link = &self.place.link;
        match self.unanswered > 0 {
            true => link.await_news(),
            false => self.has_answered() && link.standing() == Standing::Open && !link.is_clear(),
        }
    }

    /// Ends the connection between two requests.
    pub(in crate::host) fn leave(&mut self) {
        self.place.end(Cause::Closed);
    }

    /// Goes on with a request that was passed on: answers it here if the other node will not, or
    /// reads what belongs to it. Returns false at the end of the connection, and `None` if there
    /// is nothing to do.
    #[inline]
    pub(super) fn poll_passing<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Option<Poll<bool>> {
        match self.place.is_passing() {
            true => self.go_on_passing(cx, source),
            false => None,
        }
    }

    fn go_on_passing<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Option<Poll<bool>> {
        if self.place.answer_failed_relay() {
            return Some(Poll::Ready(true));
        }
        self.place.is_tunnel().then(|| self.pass_on(cx, source))
    }

    /// Reads once on a connection whose bytes go to another node, if that node takes some. Returns
    /// false at the end of the connection.
    fn pass_on<S: Source>(&mut self, cx: &mut Context<'_>, source: &mut S) -> Poll<bool> {
        let mut rest = self.rest.take();
        let goes_on = self.place.pass_on(&mut rest);
        self.rest.keep(rest);
        if !goes_on {
            return Poll::Pending;
        }
        let mut buffer = READ.take().unwrap_or_default();
        make_whole(&mut buffer);
        let read = source.poll_read(cx, &mut buffer);
        if let Poll::Ready(Ok(bytes @ 1..)) = read {
            self.place.io.tally.traffic.read(bytes);
            self.note_read(bytes);
            self.steps += 1;
            if self.marks.has(Marks::LINGERING) {
                buffer.clear();
            }
            if !self.place.pass_on(&mut buffer) {
                self.rest.keep_copy(&buffer);
                buffer.clear();
            }
        }
        READ.with(|read| read.set(Some(buffer)));
        self.count_received();
        match read {
            Poll::Ready(Ok(1..)) => Poll::Ready(true),
            Poll::Ready(end) => {
                self.place.end(if end.is_ok() { Cause::Closed } else { Cause::Failed });
                Poll::Ready(false)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
