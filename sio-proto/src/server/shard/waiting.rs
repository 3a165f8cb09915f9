//! Bytes that wait for peers that do not take them, and how long they may wait (`server/budget.rs`,
//! `server/heartbeat.rs`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::recording::noted;
use super::{
    Alarm, Args, At, Backlog, Blocked, Breach, BreachKind, Budget, Cause, Input, Key, LinkId, Queued, Reason, Role,
    Session, Shard, SocketKey, Time, Write, engine,
};
use crate::SessionKey;
use crate::server::outbox::Outbox;
#[cfg(doc)]
use crate::{Config, server::Policy};

/// Links that take nothing, and the bytes that wait for them.
impl Shard {
    /// Reports that the operating system takes no more bytes for `link`. Packets wait in the
    /// session until [`Shard::handle_drained`].
    ///
    /// `held` is the number of bytes that the link was given and the caller still holds. They count
    /// as bytes of the session. Call this again whenever the operating system has taken some of
    /// them, but not all. A link that takes nothing for as long as a heartbeat and its answer may
    /// take is ended, whatever its peer sends.
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
                self.note_answer_blocked(link, held > 0);
                let core = &mut self.core;
                if let Some((key, Role::WebSocket | Role::Stream)) = core.links.get(link)
                    && let Some(session) = self.sessions.named_mut(key)
                {
                    session.hold(held, &mut core.backlog);
                    session.taken = now;
                    core.note_room(key, session);
                    if session.blocked.is_full() {
                        return;
                    }
                    session.blocked.add(Blocked::FULL);
                    session.heartbeat.block();
                    let due = now + session.stall_patience(&core.config);
                    let stall = &mut session.rare_mut().stall;
                    stall.set(due, Alarm::Stalled, key, &mut core.timers);
                }
            }
        )
    }

    /// Reports that all bytes of a blocked `link` have left the process.
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
                self.note_answer_blocked(link, false);
                let core = &mut self.core;
                if let Some((key, Role::WebSocket | Role::Stream)) = core.links.get(link)
                    && let Some(session) = self.sessions.named_mut(key)
                {
                    session.blocked.remove(Blocked::FULL);
                    session.hold(0, &mut core.backlog);
                    session.drain_heartbeat(now);
                    session.taken = now;
                    core.note_room(key, session);
                    if session.becomes_ready() {
                        core.ready.push_back(key.slot);
                    }
                }
            }
        )
    }

    /// How much waits for the client of a socket. All sockets of a session share its queue. `None`
    /// if the socket is gone.
    #[must_use]
    pub fn queued(&self, socket: SocketKey) -> Option<Queued> {
        let session = self.core.membership.find(socket)?.session;
        self.sessions.get(session).map(Session::queued)
    }

    /// Whether the queue of a socket's client has room: at most half of it is in use, and what is
    /// free is enough for `bytes` bytes. If it has none, the socket is among those of
    /// [`Shard::take_roomy`] when at most half is in use and the client has taken something: then
    /// ask again. `None` if the socket is gone.
    pub fn await_room(&mut self, socket: SocketKey, bytes: usize) -> Option<bool> {
        let session = self.core.membership.find(socket)?.session;
        let session = self.sessions.get_mut(session)?;
        let config = &self.core.config;
        let queued = session.queued();
        // More than the whole queue can hold waits for nothing: a send is refused as too large.
        let is_too_large = bytes > config.max_queued_bytes;
        let fits = is_too_large || queued.bytes + bytes <= config.max_queued_bytes || queued.bytes == 0;
        let has_room = session.has_room(config) && fits;
        session.awaits_room |= !has_room;
        Some(has_room)
    }

    /// Whether [`Shard::take_roomy`] has something to take.
    #[must_use]
    pub const fn has_roomy(&self) -> bool {
        !self.core.roomy.is_empty()
    }

    /// Takes the sockets whose queues have room again, among those for which
    /// [`Shard::await_room`] was asked. Call it after a flush and after
    /// [`Shard::handle_blocked`] and [`Shard::handle_drained`].
    pub fn take_roomy(&mut self, sockets: &mut Vec<SocketKey>) {
        for session in self.core.roomy.drain(..) {
            step!();
            if let Some(session) = self.sessions.named(session) {
                sockets.extend(session.sockets.iter().map(|slot| self.core.membership.key(*slot)));
            }
        }
    }

    /// The arguments of the message with this key that waits for a socket
    /// ([`Policy::Merge`]).
    #[must_use]
    pub fn waiting(&self, socket: SocketKey, key: &Key) -> Option<&Args> {
        let session = self.core.membership.find(socket)?.session;
        self.sessions.get(session)?.outbox.waiting(key)
    }

    /// Sets a shared budget for the bytes that wait for this shard's clients, instead of the
    /// shard's own budget of [`Config::max_total_queued_bytes`]. Call it before there are sessions.
    pub fn share_budget(&mut self, budget: Arc<Budget>) {
        self.core.backlog.share(budget);
    }

    /// The budget that this shard charges with the bytes that wait for its clients.
    #[must_use]
    pub const fn budget(&self) -> &Arc<Budget> {
        self.core.backlog.budget()
    }
}

impl Session {
    /// The link has taken the outbox.
    #[inline]
    pub(super) fn note_taken(&mut self, now: Time, backlog: &mut Backlog) {
        self.taken = now;
        if self.outbox.is_empty() || !self.outbox.contains(&engine::PING) {
            self.give_heartbeat(now);
        }
        if self.charged > 0 {
            self.recharge(backlog);
        }
    }
}

impl At<'_> {
    /// The link was blocked some time ago. If it has taken nothing since, it is given up.
    pub(super) fn look_after_blocked(mut self) {
        self.session.rare_mut().stall.disarm();
        if !self.session.blocked.is_full() {
            return;
        }
        let due = self.session.taken + self.session.stall_patience(&self.core.config);
        if due > self.now {
            let stall = &mut self.session.rare_mut().stall;
            stall.set(due, Alarm::Stalled, self.key, &mut self.core.timers);
        } else if self.session.outlives_link() {
            let Some(link) = self.session.link() else { return };
            self.core.links.clear(link);
            self.reclaim(link);
            self.link_closed(Role::Stream, link, Cause::Failed);
        } else {
            self.broke(Breach::new(
                BreachKind::Late,
                "nothing that was written to the client was taken in time",
            ));
            self.cut(Reason::PingTimeout);
        }
    }

    /// Takes the session's websocket or stream away, without writing another byte.
    fn abort_link(&mut self) {
        let Self { core, session, out, .. } = self;
        if session.parked.is_none()
            && let Some(link) = session.take_link()
        {
            session.unblock(&mut core.backlog);
            core.links.clear(link);
            out.writes.push(Write::Abort(link));
        }
    }

    /// Ends a session whose peer does not take its bytes: all of them are dropped at once, and a
    /// websocket or stream is cut.
    pub(super) fn cut(mut self, reason: Reason) {
        self.abort_link();
        self.session.outbox = Outbox::new();
        self.give_up(reason);
    }
}

impl Input<'_> {
    /// Ends sessions for which too many bytes wait. These are sessions with too many protocol
    /// packets. If the budget of the whole server is exceeded and this shard uses more than its
    /// share, these are also the sessions for which most bytes wait.
    pub(super) fn relieve(&mut self) {
        while let Some(key) = self.shard.core.overfull.pop() {
            step!();
            self.at(key, |mut at: At<'_>| {
                if at.session.is_overfull(&at.core.config) {
                    at.broke(Breach::new(
                        BreachKind::Limit,
                        "the client causes answers and does not fetch them",
                    ));
                    at.cut(Reason::ForcedServerClose);
                }
            });
        }
        while let Some((key, measured)) = self.shard.core.hasty.pop() {
            step!();
            self.at(key, |at: At<'_>| at.end_hasty(measured));
        }
        let mut excess = self.shard.core.backlog.excess();
        if excess == 0 {
            return;
        }
        let sessions = &self.shard.sessions;
        let waiting = |slot| {
            step!();
            let session = sessions.get(slot)?;
            let bytes = session.charged + session.held;
            (bytes > 0).then(|| (bytes, sessions.key(slot)))
        };
        let mut waiting: Vec<(usize, SessionKey)> = sessions.slots().filter_map(waiting).collect();
        waiting.sort_unstable();
        while excess > 0
            && let Some((bytes, key)) = waiting.pop()
        {
            excess = excess.saturating_sub(bytes);
            self.at(key, |mut at: At<'_>| {
                // The answer to a poll is kept only for the case that it is lost.
                at.forget_answer();
                if at.session.charged + at.session.held == 0 {
                    return;
                }
                at.core.counters.note_queue(at.session);
                at.broke(Breach::new(
                    BreachKind::Limit,
                    "too much waits for all clients together, and most of it for this one",
                ));
                at.cut(Reason::ForcedServerClose);
            });
        }
    }
}
