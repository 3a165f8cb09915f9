//! The shutdown of a server, step by step, so that every client is told and no work under way is
//! lost.
//!
//! ```text
//!          close                         no session is left                        no connection is left
//!   OPEN ────────► LEAVING ──────────────────────────────────────────► EMPTY ────────────────────────► over
//!                     │ handshakes get 503,                               ▲ nothing is accepted,
//!                     │ sessions leave one by one                         │ idle connections end
//!                     └── it has taken too long ─► CLOSING ───────────────┘
//!                                                  nothing is accepted
//! ```
//! A session leaves when its time has come ([`Options::shutdown_jitter`]) and nothing is under way
//! for it: no acknowledgement that its client or a handler owes, and no handler that waits or runs.
//! It also leaves when this takes longer than [`Options::shutdown_drain`]. The client is told in
//! the way of its generation (see the table in `sio_proto`'s `message.rs`): over its websocket, in
//! the poll that waits, or, if it is between two polls, in the next poll. For this poll its
//! connection is kept open. New connections are accepted, too, because some clients make one for
//! each request. After [`Options::shutdown_jitter`] and [`Options::shutdown_timeout`] together, the
//! adapter ends the rest.
//!
//! [`Options::shutdown_jitter`]: crate::Options::shutdown_jitter
//! [`Options::shutdown_drain`]: crate::Options::shutdown_drain
//! [`Options::shutdown_timeout`]: crate::Options::shutdown_timeout

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sio_proto::Time;
use sio_proto::conn::Stage;
use sio_proto::server::{Command, Reason};

use crate::link::Item;
use crate::options::Handover;
use crate::turn;
use crate::user::inner::Inner;
use crate::user::io::Io;
use crate::user::shutdown::{CLOSING, EMPTY, LEAVING, OPEN, OVER};

/// The end.
impl Io {
    /// Begins a shutdown: clients are told, so that they connect elsewhere, and new clients are
    /// refused.
    ///
    /// Sessions leave within [`Options::shutdown_jitter`](crate::Options::shutdown_jitter). Each
    /// session first finishes the work under way for it, if this takes no longer than
    /// [`Options::shutdown_drain`](crate::Options::shutdown_drain). As long as there are sessions,
    /// connections are accepted, so that a client between two polls learns of the end. Handshakes
    /// are answered with 503, which a load balancer understands. After that, adapters stop
    /// accepting. If another process takes over the address
    /// ([`Options::handover`](crate::Options::handover)), they stop at once. An adapter's `serve`
    /// returns when all connections have ended. A second call changes nothing.
    pub fn close(&self) {
        let inner = &self.0;
        let shutdown = &inner.shutdown;
        let begins = shutdown
            .phase
            .compare_exchange(OPEN, LEAVING, Ordering::SeqCst, Ordering::SeqCst);
        if begins.is_err() {
            return;
        }
        tracing::info!(
            sessions = self.sessions(),
            connections = self.connections(),
            "shutting down"
        );
        let (spread, patience) = (inner.options.shutdown_jitter, inner.options.shutdown_drain);
        let handover = inner.options.handover != Handover::None;
        let now = inner.now();
        let until = now + spread + inner.options.shutdown_timeout;
        shutdown.until.store(until.as_micros(), Ordering::SeqCst);
        let server = Arc::downgrade(inner);
        let drain = move || {
            let Some(inner) = server.upgrade() else { return };
            turn::act(inner.runtime(), |turn| {
                for cell in &inner.shards.cells {
                    let command = Command::Drain {
                        spread,
                        patience,
                        handover,
                        pause: inner.options.shutdown_pause,
                    };
                    cell.drain(turn, command);
                }
            });
        };
        #[cfg(feature = "redis")]
        match &inner.cluster {
            // The last event that was emitted may wait for the stream of the cluster.
            Some(cluster) => cluster.behind_all_events(Box::new(drain)),
            None => drain(),
        }
        #[cfg(not(feature = "redis"))]
        drain();
        if handover {
            // Futures that wait until nothing more is accepted.
            inner.shutdown.wake_waiters();
        }
        inner.sweep_shutdown(now);
    }

    /// Whether [`Io::close`] has been called.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    /// Waits until nothing more is accepted: [`Io::close`] has been called, and either no session
    /// is left, or [`Options::shutdown_jitter`](crate::Options::shutdown_jitter) and
    /// [`Options::shutdown_timeout`](crate::Options::shutdown_timeout) are over, or another process
    /// has taken over the address ([`Options::handover`](crate::Options::handover)).
    pub async fn closing(&self) {
        self.0.shutdown.wait(|| !self.0.accepts()).await;
    }

    /// Waits for the end of the server: nothing more is accepted, and no connection is open.
    pub async fn ended(&self) {
        self.0
            .shutdown
            .wait(|| !self.0.accepts() && self.connections() == 0)
            .await;
    }

    /// Waits for the end of a server whose connections belong to another HTTP server: no session is
    /// left, and no request is under way. The clients' last requests are still answered, because
    /// they tell the clients of the end.
    pub async fn emptied(&self) {
        self.0
            .shutdown
            .wait(|| self.0.is_empty() && self.connections() == 0)
            .await;
    }

    /// Waits for the moment after which the tasks that watch the time are not needed any more.
    pub(crate) async fn over(&self) {
        let over = || self.0.shutdown.has_come_to(OVER) || self.0.is_empty() && self.connections() == 0;
        self.0.shutdown.wait(over).await;
    }
}

impl Inner {
    /// Ends all remaining connections, without telling the clients.
    pub(crate) fn abort(&self) {
        if self.is_closing() {
            self.advance(CLOSING);
        }
        let links = self.connections.lock().links();
        links.iter().for_each(|link| link.cut());
    }

    /// Ends the sessions that are left, which have no connection, and drops all handlers and
    /// sockets.
    pub(crate) fn clear(&self) {
        let reason = Reason::ServerShuttingDown;
        #[cfg(feature = "redis")]
        if let Some(cluster) = &self.cluster {
            cluster.send_waiting();
        }
        turn::act(self.runtime(), |turn| {
            for cell in self.shards.cells.iter().filter(|cell| cell.sessions() > 0) {
                cell.input("shutdown", turn, |state, now, out| {
                    state.shard.handle_command(now, Command::Shutdown { reason }, out);
                });
            }
        });
        self.shards.cells.iter().for_each(|cell| cell.clear());
        #[cfg(feature = "redis")]
        if let Some(cluster) = &self.cluster {
            cluster.close(self);
        }
        self.shards.surveys.end();
        self.shards.recovery.clear(self.now());
        self.namespaces.clear();
        self.hooks.clear();
        self.advance(OVER);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.shutdown.has_come_to(LEAVING)
    }

    /// Whether new connections are accepted.
    pub(crate) fn accepts(&self) -> bool {
        match self.options.handover {
            Handover::None => self.takes_up(),
            Handover::SamePort | Handover::SameSocket => !self.is_closing(),
        }
    }

    /// Whether a connection that was accepted is served.
    pub(crate) fn takes_up(&self) -> bool {
        !self.shutdown.has_come_to(CLOSING)
    }

    /// Whether no session is left, so that a connection is kept only for the request under way on
    /// it.
    pub(crate) fn is_empty(&self) -> bool {
        self.shutdown.has_come_to(EMPTY)
    }

    /// Checks whether accepting has to stop.
    pub(crate) fn sweep_shutdown(&self, now: Time) {
        if self.is_closing() && self.takes_up() && self.shutdown_until() <= now {
            self.advance(CLOSING);
        }
    }

    /// Returns the time at which the remaining connections are ended.
    pub(crate) fn shutdown_until(&self) -> Time {
        Time::from_micros(self.shutdown.until.load(Ordering::SeqCst))
    }

    /// Called when a shard has lost its last session during the shutdown.
    pub(crate) fn shard_emptied(&self) {
        if self.shutdown.shards.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.advance(EMPTY);
            self.end_idle();
        }
    }

    fn advance(&self, phase: u8) {
        self.shutdown.phase.fetch_max(phase, Ordering::SeqCst);
        self.shutdown.wake_waiters();
    }

    /// Ends connections on which nothing is under way. The other connections end when their request
    /// has been answered.
    fn end_idle(&self) {
        let links = self.connections.lock().links();
        let idle = |awaiting: crate::link::Awaiting| awaiting.stage == Stage::Idle;
        for link in links {
            if !link.awaiting().is_some_and(idle) {
                link.wake_by_answer();
            } else if !link.cut_if_clear() {
                link.push(Item::Finish);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;
    use crate::adapter::Driver;
    use crate::tests::{Counted, Driven, RUNTIME, pass, run_tasks, server, text};
    use crate::{Ack, Config, Options, Socket};

    const CLOSE: &str = "\u{fffd}\0";

    /// Lets time pass, also for the first shard.
    fn wait(io: &Io, millis: u64) {
        pass(io, millis);
        Driver::new(io).handle_timeout(0, Waker::noop());
    }

    fn has_ended(io: &Io) -> bool {
        let mut ended = Box::pin(io.ended());
        ended.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn get(target: &str) -> Vec<u8> {
        format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
    }

    #[test]
    fn a_handler_that_waits_is_waited_for() {
        for one_at_a_time in [false, true] {
            let io = server(1);
            let ready = Arc::new(AtomicBool::new(false));
            let waits = Arc::clone(&ready);
            let root = io.of("/").on("slow", move |socket: Socket| {
                let waits = Arc::clone(&waits);
                async move {
                    poll_fn(|_| match waits.load(Ordering::Relaxed) {
                        true => Poll::Ready(()),
                        false => Poll::Pending,
                    })
                    .await;
                    socket.emit("done", ())
                }
            });
            if one_at_a_time {
                root.one_at_a_time();
            }
            let mut client = Driven::connected(&io);
            let _ = client.read(&text(r#"42["slow"]"#));
            io.close();
            run_tasks();
            assert_eq!(client.written(), "");
            // A second event arrives while the server shuts down.
            let _ = client.read(&text(r#"42["slow"]"#));
            ready.store(true, Ordering::Relaxed);
            while run_tasks() > 0 {}
            let written = client.written();
            assert_eq!(written.matches(r#"42["done"]"#).count(), 2, "{written}");
            assert!(written.ends_with(CLOSE), "{written}");
            assert_eq!(io.sessions(), 0);
        }
    }

    #[test]
    fn an_acknowledgement_that_a_handler_owes_is_waited_for() {
        for sent in [true, false] {
            let io = server(1);
            let kept = Arc::new(Mutex::new(Vec::new()));
            let keep = Arc::clone(&kept);
            io.of("/")
                .on("keep", move |_: Socket, ack: Ack| keep.lock().unwrap().push(ack));
            let mut client = Driven::connected(&io);
            let _ = client.read(&text(r#"421["keep"]"#));
            // This event asks for no acknowledgement.
            let _ = client.read(&text(r#"42["keep"]"#));
            io.close();
            assert_eq!(client.written(), "");
            let ack = kept.lock().unwrap().remove(0);
            if sent {
                ack.send("yes");
                assert_eq!(client.written(), format!("\u{fffd}\u{a}431[\"yes\"]{CLOSE}"));
            } else {
                drop(ack);
                assert_eq!(client.written(), CLOSE);
            }
            assert_eq!(io.sessions(), 0);
        }
    }

    #[test]
    fn nothing_is_waited_for_longer_than_the_drain_time() {
        let io = server(1);
        io.of("/").on("never", async || std::future::pending::<()>().await);
        let mut client = Driven::connected(&io);
        let _ = client.read(&text(r#"42["never"]"#));
        io.close();
        wait(&io, 2_500);
        assert_eq!(client.written(), "");
        wait(&io, 500);
        assert_eq!(client.written(), CLOSE);
        // The client has a short time to close its side.
        assert!(client.poll().is_pending());
        wait(&io, 2_000);
        assert!(client.poll().is_ready());
        drop(client);
        assert!(has_ended(&io));
    }

    #[test]
    fn a_handler_may_end_the_server() {
        let io = server(1);
        io.of("/").on("end", |socket: Socket, ack: Ack| {
            socket.io().unwrap().close();
            ack.send(());
        });
        let mut client = Driven::connected(&io);
        let _ = client.read(&text(r#"427["end"]"#));
        assert_eq!(client.written(), format!("\u{fffd}\u{5}437[]{CLOSE}"));
    }

    #[test]
    fn a_client_between_two_polls_hears_of_the_end_on_its_connection() {
        let io = server(1);
        let mut idle = Driven::new(&io, usize::MAX);
        let _ = idle.read(&get("/"));
        let mut half = Driven::new(&io, usize::MAX);
        let _ = half.read(b"GET / HT");
        let mut polling = Driven::new(&io, usize::MAX);
        let _ = polling.read(&get("/socket.io/?EIO=3&transport=polling"));
        let answer = polling.written();
        let (_, sid) = answer.split_once("\"sid\":\"").unwrap();
        let poll = get(&format!("/socket.io/?EIO=3&transport=polling&sid={}", &sid[..32]));
        let _ = polling.read(&poll);
        assert!(polling.written().ends_with("2:40"));
        io.close();
        let mut late = Driven::new(&io, usize::MAX);
        let _ = late.read(&get("/socket.io/?EIO=4&transport=polling"));
        assert!(late.written().starts_with("HTTP/1.1 503"));
        assert!(idle.poll().is_pending() && polling.poll().is_pending());
        let _ = polling.read(&poll);
        assert!(polling.written().ends_with("1:61:1"), "a noop goes before the close");
        assert_eq!(io.sessions(), 0);
        assert!(idle.poll().is_ready());
        // A request that has begun is answered.
        assert!(half.poll().is_pending());
        let _ = half.read(b"TP/1.1\r\nHost: a\r\n\r\n");
        assert!(half.written().starts_with("HTTP/1.1 404"));
        for client in [&mut half, &mut polling] {
            assert!(client.poll().is_pending());
            assert_eq!(client.wall.finished.load(Ordering::Relaxed), 1);
        }
        assert!(
            Driven::try_new(&io, usize::MAX).is_none(),
            "nothing is accepted any more"
        );
        drop((idle, half, polling, late));
        assert!(has_ended(&io));
    }

    #[test]
    fn a_connection_whose_poll_was_held_ends_with_the_answer() {
        let io = server(1);
        let mut polling = Driven::new(&io, usize::MAX);
        let _ = polling.read(&get("/socket.io/?EIO=4&transport=polling"));
        let answer = polling.written();
        let path = format!(
            "/socket.io/?EIO=4&transport=polling&sid={}",
            answer.split('"').nth(3).unwrap()
        );
        let _ = polling.read(&get(&path));
        let counted = Counted::default();
        let waker = counted.waker();
        let mut cx = Context::from_waker(&waker);
        assert!(polling.connection.poll(&mut cx, &mut polling.script).is_pending());
        counted.take();
        io.close();
        assert!(polling.written().ends_with("\r\n\r\n1"));
        assert!(counted.take() > 0, "its task has to see that nothing more comes");
        assert!(polling.connection.poll(&mut cx, &mut polling.script).is_pending());
        assert_eq!(polling.wall.finished.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn while_sessions_are_spread_the_others_go_on_and_handshakes_are_refused() {
        let options = Options::default().shards(1).shutdown_jitter(Duration::from_secs(20));
        let io = Io::new(Config::default(), options, RUNTIME).unwrap();
        let polling = "/socket.io/?EIO=4&transport=polling";
        let mut client = Driven::connected(&io);
        io.close();
        assert!(io.is_closing() && !has_ended(&io));
        let mut late = Driven::new(&io, usize::MAX);
        let _ = late.read(&get(polling));
        assert!(late.written().starts_with("HTTP/1.1 503"));
        // The test's entropy decides when this session's time has come.
        let turn = u64::from_le_bytes([7; 8]) % 20_000_000 / 1000;
        let _ = client.read(&text("42[\"x\"]"));
        wait(&io, turn - 1);
        assert_eq!(client.written(), "");
        wait(&io, 2);
        assert_eq!(client.written(), CLOSE);
        assert!(Driven::try_new(&io, 0).is_none(), "no session is left");
    }

    #[test]
    fn connections_are_accepted_as_long_as_there_are_sessions_and_not_for_ever() {
        let options = Options::default().shards(1).shutdown_jitter(Duration::from_secs(1));
        let options = options.shutdown_timeout(Duration::from_secs(2));
        let io = Io::new(Config::default(), options, RUNTIME).unwrap();
        io.of("/").on("never", async || std::future::pending::<()>().await);
        let mut client = Driven::connected(&io);
        let _ = client.read(&text(r#"42["never"]"#));
        io.close();
        for _ in 0..5 {
            wait(&io, 500);
            assert!(Driven::try_new(&io, 0).is_some());
        }
        wait(&io, 500);
        assert!(Driven::try_new(&io, 0).is_none());
        assert_eq!((client.written(), io.sessions()), (String::new(), 1));
    }
}
