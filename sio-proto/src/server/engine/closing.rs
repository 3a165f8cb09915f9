//! The end of a session, from either side (docs/protocol/engine-io.md §8).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::polling::taken;
use super::{At, CLOSE, Engine, Fate, engine_of};
use crate::LinkId;
use crate::server::at::Ended;
use crate::server::{Alarm, Asker, Breach, Cause, Delivery, Reason, Role, State, Write};

impl Engine {
    /// The pending answer to the goodbye of a session that is forgotten now, and the link that
    /// waits for it.
    pub(crate) fn farewell_answer(&mut self) -> Option<(LinkId, Write)> {
        let asker = self.rare.as_mut()?.farewell.take()?;
        let link = asker.link;
        Some((link, Write::Response(link, Box::new(taken(*asker)))))
    }
}

impl<'a> At<'a> {
    /// A link of the session is gone.
    pub(crate) fn link_closed(mut self, role: Role, cause: Cause) {
        match role {
            Role::Candidate => {
                let candidate = self.engine().candidate.take();
                if candidate.is_some_and(|c| c.switching) {
                    // After `5` the candidate is the transport, although the session has not
                    // switched to it yet.
                    self.fail(cause.into());
                }
            }
            Role::Parked => {
                self.session.set_link(None);
                self.session.parked = None;
                self.fail(Reason::TransportError);
            }
            Role::Post => {
                self.session.take_post();
                // Nobody can read this answer any more.
                let links = &self.core.links;
                let engine = engine_of(&mut self.session.wiring);
                if let Some(rare) = &mut engine.rare {
                    rare.farewell.take_if(|asker| links.get(asker.link).is_none());
                }
                self.fail(Reason::TransportError);
            }
            // Engine.IO has no streams.
            Role::Answered | Role::Replaced => {}
            Role::WebSocket | Role::Stream => {
                self.session.set_link(None);
                self.fail(cause.into());
            }
        }
    }

    /// Ends the session at once: the parked GET is answered, queued packets are lost, and the id is
    /// forgotten.
    pub(crate) fn fail(mut self, reason: Reason) -> Ended<'a> {
        self.announce_end(reason);
        self.drop_candidate();
        if let Some(asker) = self.take_parked() {
            self.answer_poll(asker, alloc::vec![CLOSE]);
        }
        if let Some(link) = self.session.link() {
            self.out.writes.push(Write::Close(link, None));
        }
        self.end(reason)
    }

    /// Ends the session at once, because its client has broken this rule.
    #[cold]
    pub(super) fn fail_for(mut self, reason: Reason, breach: Breach) -> Ended<'a> {
        self.broke(breach);
        self.fail(reason)
    }

    /// The server closes the session, because its client has broken this rule of Socket.IO.
    #[cold]
    pub(super) fn close_for(mut self, breach: Breach) -> Fate<'a> {
        self.broke(breach);
        self.close(Reason::ForcedClose)
    }

    /// Forgets a session whose user has been told of its end before.
    pub(super) fn forget(mut self) -> Ended<'a> {
        self.drop_candidate();
        self.end(Reason::ForcedServerClose)
    }

    /// The client says goodbye on polling while it has no parked GET. For the user the session ends
    /// now.
    pub(super) fn begin_farewell(&mut self) {
        let reason = Reason::TransportClose;
        self.announce_end(reason);
        self.end_sockets(reason);
        self.drop_candidate();
        self.session.state = State::Closing;
        self.engine().leaving = true;
        self.core.counters.close(reason);
        self.enter_lobby();
    }

    /// Keeps the answer to the POST with the goodbye until a GET that crosses the POST has come, or
    /// cannot come any more. Returns the asker if there is nothing to wait for.
    pub(super) fn wait_with_farewell(&mut self, asker: Asker) -> Option<Asker> {
        let engine = engine_of(&mut self.session.wiring);
        if !engine.leaving || engine.has_farewell() {
            return Some(asker);
        }
        self.core.links.set(asker.link, self.key, Role::Post);
        engine.rare_mut().farewell = Some(Box::new(asker));
        self.core
            .timers
            .arm_at(self.now + self.core.config.crossing_timeout, Alarm::Close, self.key, 0);
        None
    }

    /// The server closes the session: queued packets still leave, and then the close packet or
    /// frame.
    pub(crate) fn close(mut self, reason: Reason) -> Fate<'a> {
        self.announce_end(reason);
        self.end_sockets(reason);
        if self.session.state == State::Closing {
            return Ok(self);
        }
        self.session.state = State::Closing;
        self.core.counters.close(reason);
        let has_link = self.session.link().is_some();
        self.enter_lobby();
        let at = match has_link {
            true => self.finish_closing()?,
            false => self,
        };
        let given_up = at.now + at.core.close_patience();
        at.core.timers.arm_at(given_up, Alarm::Close, at.key, 0);
        Ok(at)
    }

    /// A closing session has a way for its last packets.
    ///
    /// Queued packets and the close packet never share a poll. A genuine client hands packets on in
    /// its next tick, and a close packet behind them would have removed their receiver by then. The
    /// client's next GET fetches the close.
    pub(super) fn finish_closing(mut self) -> Fate<'a> {
        if !self.session.outbox.is_empty()
            && let Some(asker) = self.take_parked()
        {
            self.answer_poll(asker, Vec::new());
            return Ok(self);
        }
        if let Some(link) = self.session.link().filter(|_| self.session.parked.is_none()) {
            let last = self.core.stay_away();
            let frames = self.session.outbox.drain().chain(last);
            let writes = &mut self.out.writes;
            writes.extend(frames.map(|frame| Write::Frame(link, frame)));
            writes.push(Write::Close(link, None));
        }
        Err(self.close_parked())
    }

    /// Only the close is left: the parked GET carries it, if there is one, and the session is
    /// forgotten.
    pub(super) fn close_parked(mut self) -> Ended<'a> {
        self.drop_candidate();
        if let Some(mut asker) = self.take_parked() {
            self.core.ask_to_stay_away(&mut asker);
            self.answer_poll(asker, alloc::vec![CLOSE]);
        }
        self.end(Reason::ForcedServerClose)
    }

    /// Tells the user of a raw session that it is over.
    /// [`At::end_sockets`](crate::server::At::end_sockets) tells the sockets.
    fn announce_end(&mut self, reason: Reason) {
        if self.session.state == State::Open && self.session.is_raw() {
            let session = self.key;
            let breach = self.session.breach().cloned();
            self.out.deliveries.push(Delivery::EngineClose {
                session,
                reason,
                breach,
            });
        }
    }
}
