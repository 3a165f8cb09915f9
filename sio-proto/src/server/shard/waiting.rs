//! What waits for peers that do not take it, and how long (`server/budget.rs`, `server/heartbeat.rs`).

use core::time::Duration;

use super::{Alarm, Core, Outputs, Reason, SessionKey, Time, Vec, VecDeque, Wiring, Write, engine, legacy};

impl Core {
    /// How long a link may take nothing: as long as a heartbeat and its answer may take in its generation.
    pub(super) fn stall_patience(&self, slot: u32) -> Duration {
        let config = &self.config;
        match self.sessions.get(slot).map(|s| &s.wiring) {
            Some(Wiring::Legacy09(_)) => config.legacy09.heartbeat_interval + config.legacy09.heartbeat_timeout,
            Some(Wiring::Legacy06(_)) => config.legacy.heartbeat_interval + config.legacy.heartbeat_timeout,
            Some(Wiring::Engine4(_) | Wiring::Engine3(_)) | None => config.ping_interval + config.ping_timeout,
        }
    }

    /// A session's outbox has been given to its link.
    pub(super) fn note_taken(&mut self, now: Time, slot: u32) {
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        session.taken = now;
        if session.outbox.is_empty() || !session.outbox.contains(&engine::session::PING) {
            session.heartbeat.give(now);
        }
        if session.charged > 0 {
            session.recharge(&mut self.backlog);
        }
    }

    /// A link was blocked some time ago. If it has taken nothing since, it is given up.
    pub(super) fn look_after_blocked(&mut self, now: Time, key: SessionKey, out: &mut Outputs) {
        let patience = self.stall_patience(key.slot);
        let Some(session) = self.sessions.get_mut(key.slot) else {
            return;
        };
        session.stall_alarm = false;
        if !session.blocked.is_full() {
            return;
        }
        let due = session.taken + patience;
        if due > now {
            session.stall_alarm = true;
            return self.timers.arm_at(due, Alarm::Stalled, key, 0);
        }
        if matches!(session.wiring, Wiring::Legacy06(_)) {
            // Its sessions outlive their transports.
            self.abort_link(key.slot, out);
            return legacy::session::handle_closed(self, now, key.slot, out);
        }
        self.cut_session(key.slot, Reason::PingTimeout, out);
    }

    /// Takes a session's websocket or stream away, without another byte.
    fn abort_link(&mut self, slot: u32, out: &mut Outputs) {
        if let Some(session) = self.sessions.get_mut(slot)
            && session.parked.is_none()
            && let Some(link) = session.link.take()
        {
            session.unblock(&mut self.backlog);
            self.links.clear(link);
            out.writes.push(Write::Abort(link));
        }
    }

    /// Ends a session whose peer does not take what waits for it: all of that is let go at once, and a websocket or stream is cut.
    pub(crate) fn cut_session(&mut self, slot: u32, reason: Reason, out: &mut Outputs) {
        self.abort_link(slot, out);
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        session.outbox = VecDeque::new();
        session.outbox_bytes = 0;
        match &session.wiring {
            Wiring::Engine4(_) | Wiring::Engine3(_) => engine::session::fail(self, slot, reason, out),
            Wiring::Legacy09(_) => legacy::v1::session::give_up(self, slot, reason, out),
            Wiring::Legacy06(_) => legacy::session::close(self, slot, reason, out),
        }
    }

    /// Ends sessions for which more waits than may: those with too many packets of the protocol, and, while the budget of the whole server is exceeded
    /// and this shard uses more than its share, those for which most waits.
    pub(super) fn relieve(&mut self, out: &mut Outputs) {
        while let Some(slot) = self.overfull.pop() {
            if self.sessions.get(slot).is_some_and(|s| s.is_overfull(&self.config)) {
                self.cut_session(slot, Reason::ForcedServerClose, out);
            }
        }
        let mut excess = self.backlog.excess();
        if excess == 0 {
            return;
        }
        let waiting = |slot: u32| {
            let session = self.sessions.get(slot)?;
            let bytes = session.charged + session.held;
            (bytes > 0).then_some((bytes, slot))
        };
        let mut waiting: Vec<(usize, u32)> = self.sessions.slots().filter_map(waiting).collect();
        waiting.sort_unstable();
        while excess > 0
            && let Some((bytes, slot)) = waiting.pop()
        {
            excess = excess.saturating_sub(bytes);
            if let Some(session) = self.sessions.get(slot) {
                self.counters.note_queue(session);
            }
            self.cut_session(slot, Reason::ForcedServerClose, out);
        }
    }
}
