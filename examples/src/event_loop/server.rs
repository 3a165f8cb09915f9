//! A server on the loop: accepting, deadlines, and the end.

use std::io::ErrorKind;
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use sio_app::adapter::{Driver, Task, Time, is_of_one_client};
use sio_app::{Io, Peer};

use super::clock;

/// Most connections accepted in one turn.
const ACCEPTS: u32 = 64;

/// How long accepting pauses when the process has no more descriptors or memory for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often connections that take too long are looked for.
const SWEEP: Duration = Duration::from_secs(1);

pub(super) struct Served {
    driver: Driver,
    /// Gone once no session is left to connect for: who connects then is refused at once instead of
    /// waiting in the backlog.
    listener: Option<TcpListener>,
    /// How many may still be accepted in this turn.
    accepts: u32,
    /// Nothing is accepted before.
    paused_until: Option<Time>,
    /// Its shards, and when each wants to be looked at.
    deadlines: Vec<(usize, Option<Time>)>,
    sweep_at: Time,
    /// It has been closed.
    ending: bool,
    /// When connections are ended that have not ended by themselves.
    abort_at: Option<Time>,
    /// Ready when nothing is accepted any more, then when no connection is left.
    closing: Task,
    ended: Task,
}

impl Served {
    pub(super) fn new(io: Io, listener: TcpListener, shards: Range<usize>) -> Self {
        let (closing, ended) = (io.clone(), io.clone());
        Self {
            driver: Driver::new(&io),
            listener: Some(listener),
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

    /// When it wants to be polled next.
    pub(super) fn next(&self) -> Option<Time> {
        let deadlines = self.deadlines.iter().filter_map(|(_, next)| *next);
        let others = [Some(self.sweep_at), self.paused_until, self.abort_at];
        deadlines.chain(others.into_iter().flatten()).min()
    }

    /// Does what is due, whatever it was that woke it: an event of the listener, a deadline, a
    /// shard with an earlier one, the end. Ready at the end.
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
        if self.listener.is_some() && self.closing.as_mut().poll(cx).is_ready() {
            self.listener = None;
        }
        if self.abort_at.is_some_and(|at| at <= now) {
            self.abort_at = None;
            self.driver.abort();
        }
        // Asked last, so that whatever happened above is seen, or wakes.
        let ended = self.ended.as_mut().poll(cx);
        if ended.is_ready() {
            self.driver.clear();
        }
        ended
    }

    /// The next connection, if there is one to be had now.
    pub(super) fn accept(&mut self, cx: &mut Context<'_>) -> Option<(TcpStream, Peer)> {
        while self.paused_until.is_none() {
            let listener = self.listener.as_ref()?;
            if self.accepts == 0 {
                // The others come first. The poller tells of each change once, so it will not
                // remind us.
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
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if is_of_one_client(&error) => {}
                // The whole process is short of something: trying again at once would only spin.
                Err(_) => self.paused_until = Some(clock::now() + ACCEPT_PAUSE),
            }
        }
        None
    }
}
