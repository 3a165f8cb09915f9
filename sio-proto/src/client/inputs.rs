//! What happens to a client: connections, bytes, and time. [`Client::next_timeout`] says when it
//! wants to be called.

use core::time::Duration;

use bytes::BytesMut;

use super::event::{ClientError, ErrorClass};
use super::manager::{Client, Stage};
use super::socket::{Receipts, Socket, SocketState};
use super::timeout::TimeoutReason;
use crate::{LinkId, Time};

impl Client {
    /// The connection of [`Output::Connect`](super::Output::Connect) stands.
    pub fn handle_connected(&mut self, now: Time, link: LinkId) {
        self.notice_jump(now);
        self.with_session(now, |session, cx| session.handle_connected(link, cx));
        self.settle(now);
    }

    /// Bytes have come. All of them are taken out of the buffer.
    pub fn handle_bytes(&mut self, now: Time, link: LinkId, bytes: &mut BytesMut) {
        self.notice_jump(now);
        let taken = self.with_session(now, |session, cx| session.handle_bytes(link, bytes, cx));
        if taken.is_none() {
            bytes.clear();
        }
        self.settle(now);
    }

    /// The connection has ended. If it has failed, or could not be made, `fault` says why: then the
    /// body of an answer that ends with its connection is not complete. With TLS, an end without a
    /// goodbye is a failure.
    pub fn handle_closed(&mut self, now: Time, link: LinkId, fault: Option<ClientError>) {
        self.notice_jump(now);
        self.with_session(now, |session, cx| session.handle_closed(link, fault, cx));
        self.settle(now);
    }

    /// The connection takes no more bytes now, because earlier bytes wait. Events stay in the queue
    /// until [`Client::handle_drained`].
    pub fn handle_blocked(&mut self, now: Time, link: LinkId) {
        self.with_session(now, |session, _| session.set_blocked(link, true));
    }

    /// All bytes have been written to the connection.
    pub fn handle_drained(&mut self, now: Time, link: LinkId) {
        self.with_session(now, |session, _| session.set_blocked(link, false));
        self.settle(now);
    }

    /// It is time. A call that is too early does nothing.
    pub fn handle_timeout(&mut self, now: Time) {
        self.notice_jump(now);
        match &self.stage {
            Stage::Waiting(until) if *until <= now => self.begin(now),
            Stage::Asking { until, .. } if *until <= now => {
                let error = ClientError::new(ErrorClass::Credentials, "nobody provided credentials");
                self.fail_attempt(now, error, None);
            }
            Stage::Session(_) => {
                self.with_session(now, |session, cx| session.handle_timeout(cx));
            }
            Stage::Waiting(_) | Stage::Asking { .. } | Stage::Idle => {}
        }
        self.expire_sockets(now);
        self.settle(now);
    }

    /// The clock of dates has gone ahead of `now` by this much since the caller last compared the
    /// two: the machine has slept while the clock behind `now` stood still, as `CLOCK_MONOTONIC` of
    /// Linux does. Less than [`ClientConfig::clock_jump`](super::ClientConfig::clock_jump) is a
    /// clock that was set, and does nothing.
    ///
    /// Otherwise an open connection is probed, as by [`Client::wake`]. An attempt under way begins
    /// anew, on fresh connections, and a waiting client connects at once. A clock that was set far
    /// ahead costs one probe: a server that answers is kept. On polling with Engine.IO 4, the probe
    /// does not reach the GET that is held: if that one is dead, it is noticed when the next ping
    /// of the server is late by [`ClientConfig::wake_timeout`](super::ClientConfig::wake_timeout).
    pub fn handle_clock_jump(&mut self, now: Time, ahead: Duration) {
        if ahead < self.config.clock_jump {
            return;
        }
        if matches!(&self.stage, Stage::Session(session) if !session.is_open() && !session.is_closing()) {
            // The network may be another one: the new attempt may upgrade.
            self.no_upgrade_until = Time::ZERO;
            self.begin_anew(now);
        }
        self.wake(now);
    }

    /// When [`Client::handle_timeout`] has to be called next, at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        self.next_timeout_reason().map(|(time, _)| time)
    }

    /// When the client wants to be woken next, and why.
    #[must_use]
    pub fn next_timeout_reason(&self) -> Option<(Time, TimeoutReason)> {
        let stage = match &self.stage {
            Stage::Idle => None,
            Stage::Asking { until, .. } => Some((*until, TimeoutReason::Credentials)),
            Stage::Session(session) => session.next_timeout(&self.config),
            Stage::Waiting(until) => Some((*until, TimeoutReason::Reconnect)),
        };
        let of_socket = |socket: &Socket| {
            let emit = socket.next_deadline().map(|time| (time, TimeoutReason::Emit));
            let asking = match socket.state {
                SocketState::Asking { until, .. } => Some((until, TimeoutReason::Credentials)),
                SocketState::Connecting => socket.answer.map(|answer| (answer.due(), TimeoutReason::Connect)),
                _ => None,
            };
            let drains = socket.is_connected() && socket.waits_to_drain();
            let drain = self
                .drain_at
                .filter(|_| drains)
                .map(|time| (time, TimeoutReason::Drain));
            [emit, asking, drain]
                .into_iter()
                .flatten()
                .min_by_key(|(time, _)| *time)
        };
        step!(each self.sockets.len());
        let sockets = self.sockets.iter().filter_map(of_socket);
        sockets.chain(stage).min_by_key(|(time, _)| *time)
    }

    /// A caller that comes much later than it was told to has been asleep.
    fn notice_jump(&mut self, now: Time) {
        let is_late = |deadline: Time| deadline + self.config.clock_jump <= now;
        if self.next_timeout().is_some_and(is_late) {
            self.wake(now);
        }
    }

    fn expire_sockets(&mut self, now: Time) {
        for at in 0..self.sockets.len() {
            step!();
            let mut receipts = Receipts::new();
            self.sockets[at].expire(now, &self.config, &mut receipts);
            self.report(receipts);
            if matches!(self.sockets[at].state, SocketState::Asking { until, .. } if until <= now) {
                let error = ClientError::new(ErrorClass::Credentials, "nobody provided credentials");
                self.refuse(at, error);
                self.close_if_unused(now);
            }
            self.await_answer(now, at);
        }
    }
}
