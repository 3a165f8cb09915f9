//! Packets that a connection has not taken come back to their session, which outlives the
//! connection (`server/unconfirmed.rs`).
//!
//! ```text
//!   link fails ──► handle_returned ──► front of the queue ──► the next link
//!   client is faster: the next link waits until the old one is closed, so that the order is kept
//! ```

use alloc::vec::Vec;

use super::recording::noted;
use super::{At, Blocked, Frame, LinkId, Role, Session, Shard, Time, Write};
use crate::detect;
use crate::server::{Asker, Verdict};

impl Shard {
    /// Gives packets of a link back that have not been written completely: `frames` are the frames
    /// of [`Write::Frame`] and [`Part`](crate::server::Part), in order, including the one of which
    /// a part has been written. If the answer to a request has not been written completely, call
    /// this too; its packets need not be given.
    ///
    /// Call this before [`Shard::handle_closed`] of the same link. In generations whose sessions
    /// outlive their connections, the packets are sent on the next connection, in front of those
    /// that wait. In all other cases the packets are dropped.
    pub fn handle_returned(&mut self, now: Time, link: LinkId, frames: Vec<Frame>) {
        noted!(
            self,
            Some(now),
            None,
            None,
            |line, _| {
                line.returned(link, &frames);
                false
            },
            {
                if let Some((key, role)) = self.core.links.get(link)
                    && let Some(session) = self.sessions.named_mut(key)
                {
                    let core = &mut self.core;
                    let outlives = session.outlives_link();
                    let Some(unconfirmed) = session.wiring.unconfirmed_mut() else {
                        return;
                    };
                    let mut frames = match role {
                        Role::Answered => unconfirmed.take_answer(link),
                        Role::WebSocket | Role::Stream if outlives => frames,
                        Role::Replaced => frames,
                        Role::WebSocket | Role::Stream | Role::Parked | Role::Post | Role::Candidate => return,
                    };
                    unconfirmed.take_back(&mut frames);
                    session.queue_again(frames);
                    session.recharge(&mut core.backlog);
                    if session.becomes_ready() {
                        core.ready.push_back(key.slot);
                    }
                }
            }
        )
    }
}

impl Shard {
    /// The operating system takes no more bytes of a link, or has taken all. If the link has the
    /// answer to a poll, its session knows now whether the answer was written.
    pub(super) fn note_answer_blocked(&mut self, link: LinkId, is_blocked: bool) {
        if let Some((key, Role::Answered)) = self.core.links.get(link)
            && let Some(session) = self.sessions.named_mut(key)
            && let Some(unconfirmed) = session.wiring.unconfirmed_mut()
        {
            unconfirmed.block_answer(link, is_blocked);
        }
    }

    /// Whether the packets that have not been written on this link can be sent on another one
    /// ([`Shard::handle_returned`]).
    #[must_use]
    pub fn takes_back(&self, link: LinkId) -> bool {
        let Some((key, role)) = self.core.links.get(link) else {
            return false;
        };
        match role {
            Role::Answered | Role::Replaced => true,
            Role::WebSocket | Role::Stream => self.sessions.named(key).is_some_and(Session::outlives_link),
            Role::Parked | Role::Post | Role::Candidate => false,
        }
    }
}

impl At<'_> {
    /// A connection that the session does not use any more is gone.
    pub(in crate::server) fn former_link_closed(mut self, role: Role, link: LinkId) {
        let Some(unconfirmed) = self.session.wiring.unconfirmed_mut() else {
            return;
        };
        if role == Role::Answered {
            self.core.counters.unconfirmed += unconfirmed.lose_answered_link(link);
            return;
        }
        unconfirmed.have_reclaimed();
        self.count_lost_link();
        self.session.blocked.remove(Blocked::RECLAIMING);
        self.session.recharge(&mut self.core.backlog);
        self.mark_ready();
    }

    /// Forgets the answer to the last poll, because its memory is needed.
    pub(super) fn forget_answer(&mut self) {
        if let Some(unconfirmed) = self.session.wiring.unconfirmed_mut() {
            self.core.counters.unconfirmed += unconfirmed.forget_answer();
            self.session.recharge(&mut self.core.backlog);
        }
    }

    /// The client sends another request on the connection on which its poll was answered, so it has
    /// read the answer.
    pub(super) fn answer_was_read(&mut self, link: LinkId) {
        if let Some(unconfirmed) = self.session.wiring.unconfirmed_mut() {
            unconfirmed.confirm_answer(link);
            self.session.recharge(&mut self.core.backlog);
        }
    }
}

/// For the generations whose sessions outlive their connections.
impl<G> At<'_, G> {
    /// Ends a websocket or stream that another link replaces. If packets wait on it, it is cut, and
    /// the packets come back before the other link gets anything.
    pub(crate) fn replace(&mut self, link: LinkId) {
        if self.session.blocked.is_full() {
            self.reclaim(link);
        } else {
            self.out.writes.push(self.session.farewell(link));
            self.count_lost_link();
        }
    }

    /// Cuts a websocket or stream, whose packets have to come back.
    pub(crate) fn reclaim(&mut self, link: LinkId) {
        self.out.writes.push(Write::Abort(link));
        if let Some(unconfirmed) = self.session.wiring.unconfirmed_mut()
            && !unconfirmed.is_reclaiming()
        {
            unconfirmed.reclaim(link);
            self.core.links.set(link, self.key, Role::Replaced);
        }
    }

    /// A websocket or stream is gone. What it has taken, and what was not confirmed, is counted
    /// when the rest has come back.
    pub(crate) fn count_lost_link(&mut self) {
        if let Some(unconfirmed) = self.session.wiring.unconfirmed_mut()
            && !unconfirmed.is_reclaiming()
        {
            self.core.counters.unconfirmed += unconfirmed.lose_link();
        }
    }

    /// Takes the packets of an answer to a poll out of the queue, and keeps them until the next
    /// poll. While packets of another link have to come back, the answer is
    /// empty.
    pub(crate) fn take_answer(&mut self, asker: &Asker) -> Vec<Frame> {
        if self.session.blocked.is_blocked() {
            self.core.links.clear(asker.link);
            return Vec::new();
        }
        let frames: Vec<Frame> = self.session.outbox.drain().collect();
        self.session.outbox.trim();
        if let Some(unconfirmed) = self.session.wiring.unconfirmed_mut()
            && !frames.is_empty()
        {
            unconfirmed.keep(asker.link, asker.keeps_alive(), &frames);
            self.core.links.set(asker.link, self.key, Role::Answered);
        } else {
            self.core.links.clear(asker.link);
        }
        self.session.recharge(&mut self.core.backlog);
        frames
    }

    /// The client polls with this target. If it shows that the answer to its last poll is lost, the
    /// packets of this answer are sent again.
    pub(crate) fn judge_answer(&mut self, target: &str) {
        let Some(unconfirmed) = self.session.wiring.unconfirmed_mut() else {
            return;
        };
        let verdict = unconfirmed.judge(detect::stamp_of(target));
        self.follow(verdict);
    }

    /// The client comes back by a websocket or stream, which says nothing about the answer to its
    /// last poll.
    pub(crate) fn settle_answer(&mut self) {
        if let Some(unconfirmed) = self.session.wiring.unconfirmed_mut() {
            let verdict = unconfirmed.settle_answer(false);
            self.follow(verdict);
        }
    }

    fn follow(&mut self, (verdict, forgotten): (Verdict, Option<LinkId>)) {
        if let Some(link) = forgotten {
            self.core.links.clear(link);
            if matches!(verdict, Verdict::Missed(_)) {
                self.out.writes.push(Write::Abort(link));
            }
        }
        match verdict {
            Verdict::Arrived => {}
            Verdict::Unknown(packets) => self.core.counters.unconfirmed += packets,
            Verdict::Missed(frames) => self.session.queue_again(frames),
        }
        self.session.recharge(&mut self.core.backlog);
    }
}
