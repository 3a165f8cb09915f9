//! Draining: a server that goes away lets its sessions finish, and does not send all of them
//! elsewhere in the same moment.
//!
//! ```text
//!           spread: a random part of it          nothing is under way, or patience is over
//!   drain ─────────────────────────────► LEAVING ──────────────────────────────────────────► closed
//!                                           │ Delivery::Leaving, for each socket
//!                                           └─────────────────► the user: Shard::release
//! ```
//! Under way is what the client has yet to acknowledge, and what the user says is. Until it is
//! closed a session works as ever.

use crate::id::SessionSlot;
use core::time::Duration;

use alloc::vec::Vec;

use super::{Core, Delivery, Outputs, Reason, SocketKey, State, Time};

impl Core {
    /// Ends all sessions, each in its own time. No new ones are let in.
    pub(super) fn drain(&mut self, now: Time, spread: Duration, patience: Duration, out: &mut Outputs) {
        self.shutting_down = true;
        self.patience = Some(patience);
        let slots: Vec<SessionSlot> = self.sessions.slots().collect();
        for slot in slots {
            let after = self.random_part(spread);
            if after.is_zero() {
                self.leave(now, slot, out);
            } else {
                self.timers.arm_leave(now + after, self.key(slot), false);
            }
        }
    }

    fn random_part(&mut self, whole: Duration) -> Duration {
        let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
        if micros == 0 {
            return Duration::ZERO;
        }
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        Duration::from_micros(u64::from_le_bytes(random) % micros)
    }

    /// A session's time to leave has come.
    pub(super) fn leave(&mut self, now: Time, slot: SessionSlot, out: &mut Outputs) {
        let patience = self.patience.unwrap_or_default();
        let Some(session) = self.sessions.get_mut(slot).filter(|s| s.state == State::Open) else {
            return;
        };
        if session.leaving {
            return;
        }
        if patience.is_zero() || session.sockets.is_empty() {
            return self.close_session(now, slot, Reason::ServerShuttingDown, out);
        }
        session.leaving = true;
        for at in 0..session.sockets.len() {
            let Some(&socket) = self.sessions.get(slot).and_then(|s| s.sockets.get(at)) else {
                break;
            };
            if let Some(socket) = self.membership.get_mut(socket) {
                socket.held = true;
            }
            let socket = self.membership.key(socket);
            out.deliveries.push(Delivery::Leaving { socket });
        }
        self.timers.arm_leave(now + patience, self.key(slot), true);
    }

    /// The user has nothing under way for a socket that is leaving.
    pub(super) fn release(&mut self, now: Time, key: SocketKey, out: &mut Outputs) {
        if let Some(socket) = self.membership.find_mut(key) {
            socket.held = false;
            let session = socket.session;
            self.departing.push(session);
            self.depart(now, out);
        }
    }

    /// Something that was under way for a session is done. [`Core::depart`] looks at it at the end
    /// of the input.
    pub(super) fn note_done(&mut self, session: SessionSlot) {
        if self.is_draining() {
            self.departing.push(session);
        }
    }

    /// Closes those of the noted sessions that are leaving and have nothing under way any more, and
    /// those for which too much waits.
    pub(super) fn depart(&mut self, now: Time, out: &mut Outputs) {
        self.relieve(out);
        while let Some(slot) = self.departing.pop() {
            let Some(session) = self.sessions.get(slot) else {
                continue;
            };
            let mut sockets = session.sockets.iter().filter_map(|socket| self.membership.get(*socket));
            if session.leaving && session.state == State::Open && sockets.all(|s| !s.held && s.acks.is_empty()) {
                self.close_session(now, slot, Reason::ServerShuttingDown, out);
            }
        }
    }

    /// Whether sessions leave because the server does.
    pub(crate) const fn is_draining(&self) -> bool {
        self.patience.is_some()
    }

    /// How long a session that is closing is kept for the poll that hears of it: not longer than
    /// others are waited for.
    pub(crate) fn close_patience(&self) -> Duration {
        let usual = self.config.close_timeout;
        self.patience.map_or(usual, |patience| patience.min(usual))
    }
}
