//! A server on the loop: it accepts connections, handles deadlines, and ends.

use std::io::ErrorKind;
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use sio_app::adapter::{Driver, Task, Time, is_of_one_client};
use sio_app::{Handover, Io, Peer};

use super::clock;

/// The most connections that are accepted in one turn.
const ACCEPTS: u32 = 64;

/// How long the server pauses before it accepts again, when the process has no more descriptors or
/// memory for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often the server looks for connections that take too long.
const SWEEP: Duration = Duration::from_secs(1);

pub(super) struct Served {
    driver: Driver,
    /// `None` once the server is closing and no session is left. Then the system refuses new
    /// connections at once, instead of leaving them in the backlog.
    listener: Option<TcpListener>,
    /// Whether the listener is closed when its queue is empty, because another process has taken
    /// over.
    emptying: bool,
    /// How many connections may still be accepted in this turn.
    accepts: u32,
    /// Until this time nothing is accepted.
    paused_until: Option<Time>,
    /// The server's shards, each with its next deadline.
    deadlines: Vec<(usize, Option<Time>)>,
    sweep_at: Time,
    /// Whether the server has been closed.
    ending: bool,
    /// The time at which the remaining connections are ended.
    abort_at: Option<Time>,
    /// `closing` is ready when nothing more is accepted. `ended` is ready when no connection is
    /// left.
    closing: Task,
    ended: Task,
}

impl Served {
    pub(super) fn new(io: Io, listener: TcpListener, shards: Range<usize>) -> Self {
        let (closing, ended) = (io.clone(), io.clone());
        Self {
            driver: Driver::new(&io),
            listener: Some(listener),
            emptying: false,
            accepts: 0,
            paused_until: None,
            deadlines: shards.map(|shard| (shard, None)).collect(),
            sweep_at: clock::now() + SWEEP,
            ending: false,
            abort_at: None,
            closing: Box::pin(async move { closing.closing().await }),
            ended: Box::pin(async move { ended.ended().await }),
        }
    }

    pub(super) const fn io(&self) -> &Io {
        self.driver.io()
    }

    /// Returns the time at which the server has to be polled next.
    pub(super) fn next(&self) -> Option<Time> {
        let deadlines = self.deadlines.iter().filter_map(|(_, next)| *next);
        let others = [Some(self.sweep_at), self.paused_until, self.abort_at];
        deadlines.chain(others.into_iter().flatten()).min()
    }

    /// Does everything that is due. The caller need not know what woke the server: an event of the
    /// listener, a deadline, a shard with an earlier deadline, or the end. The result is ready when
    /// the server has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.accepts = ACCEPTS;
        let now = clock::now();
        for (shard, next) in &mut self.deadlines {
            *next = self.driver.handle_timeout(*shard, cx.waker());
        }
        if self.sweep_at <= now {
            self.driver.sweep();
            self.sweep_at = now + SWEEP;
        }
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        if !self.ending && self.io().is_closing() {
            self.ending = true;
            let options = self.io().options();
            self.abort_at = Some(now + options.shutdown_jitter + options.shutdown_timeout);
        }
        if self.listener.is_some() && !self.emptying && self.closing.as_mut().poll(cx).is_ready() {
            match self.io().options().handover {
                Handover::SamePort => self.emptying = true,
                _ => self.listener = None,
            }
        }
        if self.abort_at.is_some_and(|at| at <= now) {
            self.abort_at = None;
            self.driver.abort();
        }
        if self.emptying && self.listener.is_some() {
            // The queue is emptied before the end.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // This is polled last, so that it sees everything that happened above, or is woken by it.
        let ended = self.ended.as_mut().poll(cx);
        if ended.is_ready() {
            self.driver.clear();
        }
        ended
    }

    /// Returns the next connection, if one waits now.
    pub(super) fn accept(&mut self, cx: &mut Context<'_>) -> Option<(TcpStream, Peer)> {
        while self.paused_until.is_none() {
            let listener = self.listener.as_ref()?;
            if self.accepts == 0 {
                // The other entries come first. The poller reports each change once, so this server
                // has to wake itself.
                cx.waker().wake_by_ref();
                return None;
            }
            self.accepts -= 1;
            match listener.accept() {
                Ok((stream, address)) => {
                    let peer = Peer {
                        address: Some(address),
                        ..Peer::default()
                    };
                    return Some((stream, peer));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.emptying {
                        self.listener = None;
                    }
                    return None;
                }
                Err(error) if is_of_one_client(&error) => {}
                // The whole process lacks descriptors or memory. Trying again at once would only
                // use processor time.
                Err(_) if self.emptying => self.listener = None,
                Err(_) => self.paused_until = Some(clock::now() + ACCEPT_PAUSE),
            }
        }
        None
    }
}
