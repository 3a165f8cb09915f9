//! What waits for peers that do not take it, and how long (`server/budget.rs`,
//! `server/heartbeat.rs`).

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::recording::noted;
use super::{
    Alarm, Blocked, Budget, Cause, Core, LinkId, Outputs, Reason, Role, SessionKey, Shard, Time, Write, engine,
};
#[cfg(doc)]
use crate::Config;
use crate::id::SessionSlot;

/// Links that take nothing, and what waits for them.
impl Shard {
    /// The operating system takes no more bytes for `link` right now. Packets wait in the session
    /// until [`Shard::handle_drained`].
    ///
    /// `held` is how many bytes the caller still holds of what the link was given: they count as
    /// the session's. Call this again whenever the operating system has taken some of them and not
    /// all. A link that takes nothing for as long as a heartbeat and its answer may take is ended,
    /// whatever its peer sends.
    pub fn handle_blocked(&mut self, now: Time, link: LinkId, held: usize) {
        noted!(
            self,
            Some(now),
            None,
            None,
            |line, _| {
                line.blocked(link, held);
                false
            },
            {
                let core = &mut self.core;
                let Some((key, Role::WebSocket | Role::Stream)) = core.links.get(link) else {
                    return;
                };
                let patience = core.stall_patience(key.slot);
                let Some(session) = core.sessions.get_mut(key.slot) else {
                    return;
                };
                session.hold(held, &mut core.backlog);
                session.taken = now;
                if session.blocked.is_full() {
                    return;
                }
                session.blocked.add(Blocked::FULL);
                session.heartbeat.block();
                if !core::mem::replace(&mut session.stall_alarm, true) {
                    core.timers.arm_at(now + patience, Alarm::Stalled, key, 0);
                }
            }
        )
    }

    /// What had been written to a blocked `link` has left the process.
    pub fn handle_drained(&mut self, now: Time, link: LinkId) {
        noted!(
            self,
            Some(now),
            None,
            None,
            |line, _| {
                line.at_link("drained", link);
                false
            },
            {
                let core = &mut self.core;
                if let Some((key, Role::WebSocket | Role::Stream)) = core.links.get(link)
                    && let Some(session) = core.sessions.get_mut(key.slot)
                {
                    session.blocked.remove(Blocked::FULL);
                    session.hold(0, &mut core.backlog);
                    session.heartbeat.drain(now);
                    session.taken = now;
                    core.mark_ready(key.slot);
                }
            }
        )
    }

    /// Has this shard count what waits for its clients in a budget that it shares, instead of one
    /// of its own with [`Config::max_total_queued_bytes`]. Call it before there are sessions.
    pub fn share_budget(&mut self, budget: Arc<Budget>) {
        self.core.backlog.share(budget);
    }

    /// The budget that this shard charges with what waits for its clients.
    #[must_use]
    pub const fn budget(&self) -> &Arc<Budget> {
        self.core.backlog.budget()
    }
}

impl Core {
    /// A session's outbox has been given to its link.
    pub(super) fn note_taken(&mut self, now: Time, slot: SessionSlot) {
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        session.taken = now;
        if session.outbox.is_empty() || !session.outbox.contains(&engine::PING) {
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
        if session.outlives_link() {
            // Its sessions outlive their transports.
            self.abort_link(key.slot, out);
            return self.link_closed(now, key.slot, Role::Stream, Cause::Failed, out);
        }
        self.cut_session(key.slot, Reason::PingTimeout, out);
    }

    /// Takes a session's websocket or stream away, without another byte.
    fn abort_link(&mut self, slot: SessionSlot, out: &mut Outputs) {
        if let Some(session) = self.sessions.get_mut(slot)
            && session.parked.is_none()
            && let Some(link) = session.link.take()
        {
            session.unblock(&mut self.backlog);
            self.links.clear(link);
            out.writes.push(Write::Abort(link));
        }
    }

    /// Ends a session whose peer does not take what waits for it: all of that is let go at once,
    /// and a websocket or stream is cut.
    pub(crate) fn cut_session(&mut self, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
        self.abort_link(slot, out);
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        session.outbox = VecDeque::new();
        session.outbox_bytes = 0;
        self.give_up_session(slot, reason, out);
    }

    /// Ends sessions for which more waits than may: those with too many packets of the protocol,
    /// and, while the budget of the whole server is exceeded and this shard uses more than its
    /// share, those for which most waits.
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
        let waiting = |slot: SessionSlot| {
            let session = self.sessions.get(slot)?;
            let bytes = session.charged + session.held;
            (bytes > 0).then_some((bytes, slot))
        };
        let mut waiting: Vec<(usize, SessionSlot)> = self.sessions.slots().filter_map(waiting).collect();
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
