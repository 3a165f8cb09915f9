//! Draining: a server that shuts down lets its sessions finish, and does not send all of them
//! elsewhere at the same moment.
//!
//! ```text
//!           spread: a random part of it          nothing is under way, or patience is over
//!   drain ─────────────────────────────► LEAVING ──────────────────────────────────────────► closed
//!                                           │ Delivery::Leaving, for each socket
//!                                           └─────────────────► the user: Shard::release
//! ```
//! Work is under way if the client owes an acknowledgement, or if the user reports work. Until it
//! is closed, a session works as before.

use core::time::Duration;

use super::{At, Core, Delivery, Input, Reason, SocketKey, State};
use crate::Frame;
use crate::server::Asker;

impl Input<'_> {
    /// Ends all sessions, each at its own time. New sessions are refused.
    pub(super) fn drain(&mut self, spread: Duration, patience: Duration) {
        self.shard.core.shutting_down = true;
        self.shard.core.patience = Some(patience);
        for key in self.shard.sessions.keys() {
            let after = self.shard.core.random_part(spread);
            if after.is_zero() {
                self.at(key, |at: At<'_>| at.leave());
            } else {
                self.shard.core.timers.arm_leave(self.now + after, key, false);
            }
        }
    }

    /// Closes every session at once. New sessions are refused.
    pub(super) fn shut_down(&mut self, reason: Reason) {
        self.shard.core.shutting_down = true;
        for key in self.shard.sessions.keys() {
            self.at(key, |at: At<'_>| at.close(reason));
        }
    }

    /// The user has no work under way for a socket that is leaving.
    pub(super) fn release(&mut self, socket: SocketKey) {
        self.at_session_of(socket, |at| {
            if let Some(socket) = at.core.membership.find_mut(socket) {
                socket.set_held(false);
            }
            at.core.departing.push(at.key);
        });
        self.depart();
    }

    /// The end of an input. It closes recorded sessions that are leaving and have no work under
    /// way. It ends sessions for which too many bytes wait. It forgets deadlines whose reasons have
    /// gone.
    pub(super) fn depart(&mut self) {
        self.relieve();
        while let Some(key) = self.shard.core.departing.pop() {
            step!();
            self.at(key, |at: At<'_>| at.depart());
        }
        self.shard.forget_stale_deadlines();
    }
}

impl At<'_> {
    /// The session has to leave now.
    pub(super) fn leave(self) {
        let Self { core, session, .. } = &self;
        if session.state != State::Open || session.leaving {
            return;
        }
        let patience = core.patience.unwrap_or_default();
        if patience.is_zero() || session.sockets.is_empty() {
            return self.close_for_shutdown();
        }
        let Self { core, session, out, .. } = self;
        session.leaving = true;
        for slot in session.sockets.iter() {
            step!();
            if let Some(socket) = core.membership.get_mut(*slot) {
                socket.set_held(true);
            }
            let socket = core.membership.key(*slot);
            out.deliveries.push(Delivery::Leaving { socket });
        }
        core.timers.arm_leave(self.now + patience, self.key, true);
    }

    /// Closes the session if it is leaving and has no work under way any more.
    fn depart(self) {
        let Self { core, session, .. } = &self;
        let mut sockets = session.sockets.iter().filter_map(|socket| core.membership.get(*socket));
        if session.leaving && session.state == State::Open && sockets.all(|s| !s.is_held() && s.acks() == 0) {
            self.close_for_shutdown();
        }
    }

    /// Closes the session because the server shuts down.
    fn close_for_shutdown(mut self) {
        self.end_connection_of_poll();
        self.close(Reason::ServerShuttingDown);
    }
}

impl<G> At<'_, G> {
    /// If another process serves new connections, the connection of the held poll ends with the
    /// answer to the poll.
    pub(crate) fn end_connection_of_poll(&mut self) {
        if self.core.hands_over
            && let Some(asker) = &mut self.session.parked
        {
            asker.end_connection();
        }
    }

    /// Some work for the session is done. [`Input::depart`] checks the session at the end of the
    /// input.
    pub(super) fn note_done(&mut self) {
        if self.core.is_draining() {
            self.core.departing.push(self.key);
        }
    }
}

impl Core {
    fn random_part(&mut self, whole: Duration) -> Duration {
        let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
        if micros == 0 {
            return Duration::ZERO;
        }
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        Duration::from_micros(u64::from_le_bytes(random) % micros)
    }

    /// Returns the asker of a request that opens no session. If another process serves new
    /// connections, its connection ends with the answer.
    pub(crate) fn turned_away(&self, mut asker: Asker) -> Asker {
        self.ask_to_stay_away(&mut asker);
        match self.hands_over {
            true => asker.closing(),
            false => asker,
        }
    }

    /// Tells the client of a request how long to stay away, if the server says so.
    pub(crate) fn ask_to_stay_away(&self, asker: &mut Asker) {
        if let Some(pause) = self.pause {
            let seconds = pause.as_millis().div_ceil(1000);
            asker.header("Retry-After", alloc::format!("{seconds}"));
        }
    }

    /// The packet that tells a client on a websocket how long to stay away, if the server says so.
    /// It is a noop with words behind it, which genuine clients ignore.
    pub(crate) fn stay_away(&mut self) -> Option<Frame> {
        let pause = self.pause?;
        let words = alloc::format!("6{{\"after\":{}}}", pause.as_millis());
        Some(Frame::text(&mut self.buffer, |buffer| {
            buffer.extend_from_slice(words.as_bytes())
        }))
    }

    /// Whether sessions leave because the server shuts down.
    pub(crate) const fn is_draining(&self) -> bool {
        self.patience.is_some()
    }

    /// How long a session that is closing is kept for the poll that fetches its close: not longer
    /// than the shard waits for other sessions.
    pub(crate) fn close_patience(&self) -> Duration {
        let usual = self.config.close_timeout;
        self.patience.map_or(usual, |patience| patience.min(usual))
    }
}
