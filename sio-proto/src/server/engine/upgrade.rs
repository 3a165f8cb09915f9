//! The upgrade from polling to websocket, with its races (docs/protocol/engine-io.md §7, §12).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::handshake::{Refusal, wire};
use super::{Arrival, At, CLOSE, Candidate, Fate, NOOP, NOOP_INTERVAL, NOOPS_AT_ONCE, PROBE_ANSWER, Packet, engine_of};
use crate::Frame;
use crate::detect::EngineTransport;
use crate::engine::frames;
use crate::server::shard::kept_too_much;
use crate::server::{
    Alarm, Asker, Breach, BreachKind, Reason, Role, State, TransportKind, Upgrade, Write, accept_websocket,
};
use crate::wire::Inbound;

impl<'a> At<'a> {
    /// A websocket that may become the transport has connected.
    pub(super) fn attach_candidate(&mut self, asker: Asker, arrival: &Arrival<'_>) {
        let (link, route) = (asker.link, &arrival.route);
        let (accept, headers) = match accept_websocket(asker, &arrival.request.http) {
            Ok(accepted) => accepted,
            Err(refusal) => return self.out.writes.push(refusal),
        };
        let possible = route.transport != EngineTransport::Polling && self.session.transport == TransportKind::Polling;
        let engine = engine_of(&mut self.session.wiring);
        let wire = wire(engine.revision, engine.raw);
        let upgrade = Upgrade { accept, headers, wire };
        self.out.writes.push(Write::Upgrade(link, Box::new(upgrade)));
        if !possible || engine.candidate.is_some() {
            return self.out.writes.push(Write::Close(link, None));
        }
        engine.attempt = engine.attempt.wrapping_add(1);
        let until = self.now + self.core.config.upgrade_timeout;
        engine.candidate = Some(Box::new(Candidate {
            link,
            until,
            latest: until,
            base64: route.base64,
            probed: false,
            answered: false,
            is_met: false,
            has_waited: false,
            noops_at_once: NOOPS_AT_ONCE,
            noop_due: false,
            switching: false,
            held: Vec::new(),
            held_bytes: 0,
        }));
        self.core.timers.arm_at(until, Alarm::Upgrade, self.key, engine.attempt);
        self.core.links.set(link, self.key, Role::Candidate);
    }

    /// A packet of the candidate.
    pub(super) fn handle_candidate(mut self, packet: Inbound) -> Fate<'a> {
        let engine = engine_of(&mut self.session.wiring);
        let Some(candidate) = engine.candidate.as_mut() else {
            debug_assert!(false, "a link is forgotten with its candidate");
            return Ok(self);
        };
        match packet {
            packet if candidate.switching => {
                let bytes = candidate.held_bytes + packet.bytes();
                if candidate.held.len() >= self.core.config.max_upgrade_packets || bytes > self.core.config.max_payload
                {
                    let breach = Breach::new(
                        BreachKind::Limit,
                        "too much during an upgrade, before the POST has ended",
                    );
                    return Err(self.fail_for(Reason::TransportError, breach));
                }
                candidate.held_bytes = bytes;
                candidate.held.push(packet.kept());
                if !self.weigh() {
                    return Err(self.fail_for(Reason::TransportError, kept_too_much()));
                }
            }
            Inbound::Engine(Packet::Ping(data)) if data == "probe" => {
                // One answer only, however often the candidate probes: nothing shows whether it
                // reads the answer.
                if !core::mem::replace(&mut candidate.probed, true) {
                    self.answer_probe();
                }
            }
            Inbound::Engine(Packet::Upgrade) => {
                candidate.switching = true;
                if self.session.post().is_none() {
                    return self.switch_if_waiting();
                }
            }
            // Any other packet ends the candidate, and the packet is lost. The session goes on.
            packet => {
                let breach = match packet {
                    Inbound::Broken(breach) | Inbound::LeftOut(breach, _) => breach,
                    _ => Breach::new(BreachKind::Transport, "a packet out of place during an upgrade"),
                };
                self.tolerated(breach, 1);
                self.drop_candidate();
            }
        }
        Ok(self)
    }

    /// Answers the probe, unless a POST is under way: then it is answered just before the POST. A
    /// client that has read the answer sends no GET any more, and waits for the end of its POST. So
    /// it would hear nothing as long as its POST waits, and give its server up.
    fn answer_probe(&mut self) {
        if self.session.post().is_some() {
            return;
        }
        let timeout = self.core.config.upgrade_timeout;
        let until = self.now + timeout;
        if let Some(candidate) = self.engine().candidate.as_mut() {
            candidate.answered = true;
            candidate.until = until;
            candidate.latest = until + timeout / 2;
            candidate.is_met = false;
            let link = candidate.link;
            self.out.writes.push(Write::Frame(link, PROBE_ANSWER));
            self.hurry_poll();
        }
    }

    /// Answers the parked GET soon, because a client that has read the answer to its probe waits
    /// for the end of its GET before it sends `5`. Genuine servers answer 100 ms later. Here the
    /// first GETs are answered at once. A client that polls on and never sends `5` then waits as
    /// long as at a genuine server, and at most one alarm is armed for it.
    pub(super) fn hurry_poll(&mut self) {
        let session = &mut *self.session;
        // Queued packets are the answer at the end of the turn.
        if session.parked.is_none() || (session.flows() && !session.outbox.is_empty()) {
            return;
        }
        let engine = engine_of(&mut session.wiring);
        let Some(candidate) = engine.candidate.as_mut().filter(|c| c.answered && !c.switching) else {
            return;
        };
        if let Some(left) = candidate.noops_at_once.checked_sub(1) {
            candidate.noops_at_once = left;
            return self.answer_parked_with(NOOP);
        }
        if !core::mem::replace(&mut candidate.noop_due, true) {
            let due = self.now + NOOP_INTERVAL;
            self.core.timers.arm_at(due, Alarm::Noop, self.key, engine.attempt);
        }
    }

    /// A POST is answered now. A client that has waited for the answer sends `5` now, so its
    /// candidate has the whole time again, or half of it if no alarm has met the POST. A probe that
    /// has come meanwhile is answered, and has its time from now on. Before its probe, a candidate
    /// gets no more time.
    pub(super) fn prolong_upgrade(&mut self) {
        let until = self.now + self.core.config.upgrade_timeout;
        let Some(candidate) = self.engine().candidate.as_mut() else {
            return;
        };
        if candidate.answered {
            candidate.until = until.min(candidate.latest);
            candidate.has_waited |= core::mem::take(&mut candidate.is_met);
        } else if candidate.probed && !candidate.switching {
            self.answer_probe();
        }
    }

    /// Moves the session to its candidate, if the candidate has sent `5`.
    pub(super) fn switch_if_waiting(mut self) -> Fate<'a> {
        let Some(candidate) = self.engine().candidate.take_if(|candidate| candidate.switching) else {
            return Ok(self);
        };
        self.end_parked();
        self.core.links.set(candidate.link, self.key, Role::WebSocket);
        self.set_transport(TransportKind::WebSocket);
        self.session.set_link(Some(candidate.link));
        self.set_base64(candidate.base64);
        self.stay_until_silent();
        if self.session.state == State::Closing {
            return self.finish_closing();
        }
        self.mark_ready();
        self.tell_upgraded();
        // The held packets are no longer kept.
        let _ = self.weigh();
        candidate
            .held
            .into_iter()
            .try_fold(self, |at, mut packet| at.receive(&mut packet))
    }

    /// Releases the parked GET, because the session does not poll any more. A client that has read
    /// the answer to its probe sends no GET before its `5`. So a GET that came after this answer
    /// was sent after the `5`, on a connection that was read earlier. It is answered as if it had
    /// come when it was sent.
    fn end_parked(&mut self) {
        if !self.engine().polled_late {
            return self.answer_parked_with(CLOSE);
        }
        if let Some(asker) = self.take_parked() {
            self.out.writes.push(Refusal::BadRequest.answer(asker, false));
        }
    }

    /// Releases the candidate, if there is one.
    pub(super) fn drop_candidate(&mut self) {
        if let Some(candidate) = self.engine().candidate.take() {
            self.core.links.clear(candidate.link);
            self.out.writes.push(Write::Close(candidate.link, None));
        }
    }

    /// Sets whether the transport carries binary as base64 from now on. The queued packets were
    /// meant for polls of another kind.
    fn set_base64(&mut self, base64: bool) {
        let revision = self.engine().revision;
        let session = &mut *self.session;
        session.adapts = base64;
        if base64 {
            let convert = |frame: &Frame| frame.is_binary().then(|| frames::to_base64(revision, frame));
            session.outbox.convert(convert);
        }
    }
}
