//! The end of a session, from either side (docs/protocol/engine-io.md §8).

use crate::id::SessionSlot;
use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{
    Alarm, Asker, CLOSE, Cause, Core, Delivery, LinkId, Outputs, Reason, Role, Session, State, Time, Write,
    answer_poll, drop_candidate, engine_mut, engine_of, take_parked, taken,
};

/// A link of the session is gone.
pub(crate) fn handle_closed(core: &mut Core, slot: SessionSlot, role: Role, cause: Cause, out: &mut Outputs) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    match role {
        Role::Candidate => {
            let candidate = engine_of(session).and_then(|engine| engine.candidate.take());
            if candidate.is_some_and(|c| c.switching) {
                // After `5` this is the transport, though we have not switched to it yet.
                fail(core, slot, cause.into(), out);
            }
        }
        Role::Parked => {
            session.link = None;
            session.parked = None;
            fail(core, slot, Reason::TransportError, out);
        }
        Role::Post => {
            session.post = None;
            // Nobody is there to read this one's answer.
            let links = &core.links;
            if let Some(engine) = engine_of(session) {
                engine.farewell = engine.farewell.take().filter(|asker| links.get(asker.link).is_some());
            }
            fail(core, slot, Reason::TransportError, out);
        }
        // There are no streams in Engine.IO.
        Role::WebSocket | Role::Stream => {
            session.link = None;
            fail(core, slot, cause.into(), out);
        }
    }
}

/// Ends the session at once: what is parked is answered, what is queued is lost, the id is
/// forgotten.
pub(crate) fn fail(core: &mut Core, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
    announce_end(core, slot, reason, out);
    drop_candidate(core, slot, out);
    if let Some(asker) = take_parked(core, slot) {
        answer_poll(core, slot, asker, alloc::vec![CLOSE], out);
    }
    if let Some(session) = core.sessions.get(slot)
        && let Some(link) = session.link
    {
        out.writes.push(Write::Close(link, None));
    }
    core.remove_session(slot, reason, out);
}

/// The client says goodbye on polling while no GET of it is parked. For the user that is the end of
/// the session.
pub(super) fn begin_farewell(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    let reason = Reason::TransportClose;
    announce_end(core, slot, reason, out);
    core.end_sockets(slot, reason, out);
    drop_candidate(core, slot, out);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.state = State::Closing;
    if let Some(engine) = engine_of(session) {
        engine.leaving = true;
    }
    core.counters.close(reason);
    core.enter_lobby(slot);
}

/// Keeps the answer to the POST that has said goodbye until a GET that crosses it has come, or will
/// come no more. Gives the asker back if nothing has to be waited for.
pub(super) fn wait_with_farewell(core: &mut Core, now: Time, slot: SessionSlot, asker: Asker) -> Option<Asker> {
    let key = core.key(slot);
    let Some(engine) = engine_mut(core, slot) else {
        return Some(asker);
    };
    if !engine.leaving || engine.farewell.is_some() {
        return Some(asker);
    }
    let link = asker.link;
    engine.farewell = Some(Box::new(asker));
    core.links.set(link, key, Role::Post);
    core.timers
        .arm_at(now + core.config.crossing_timeout, Alarm::Close, key, 0);
    None
}

/// The answer to the goodbye of a session that is forgotten now, and the link that has waited for
/// it.
pub(crate) fn farewell_answer(session: &mut Session) -> Option<(LinkId, Write)> {
    let asker = engine_of(session)?.farewell.take()?;
    Some((asker.link, taken(*asker)))
}

/// Ends a session at once, to make room for another.
pub(crate) fn evict(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    fail(core, slot, Reason::ForcedServerClose, out);
}

/// Closes the session from this side: what is queued still leaves, then the close packet or frame.
pub(crate) fn close(core: &mut Core, now: Time, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
    announce_end(core, slot, reason, out);
    core.end_sockets(slot, reason, out);
    let (key, patience) = (core.key(slot), core.close_patience());
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if session.state == State::Closing {
        return;
    }
    session.state = State::Closing;
    core.counters.close(reason);
    let has_link = session.link.is_some();
    core.enter_lobby(slot);
    if has_link {
        finish_closing(core, slot, out);
    }
    if core.sessions.holds(key.slot, key.generation) {
        core.timers.arm_at(now + patience, Alarm::Close, key, 0);
    }
}

/// A closing session has a way for its last packets.
///
/// What is queued and the close packet never share a poll: a genuine client hands packets on in its
/// next tick, and by then a close packet behind them has taken away who would have heard them. The
/// client's next GET fetches the close.
pub(super) fn finish_closing(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    let queued = core.sessions.get(slot).is_some_and(|s| !s.outbox.is_empty());
    if queued && let Some(asker) = take_parked(core, slot) {
        return answer_poll(core, slot, asker, Vec::new(), out);
    }
    if let Some(session) = core.sessions.get_mut(slot)
        && session.parked.is_none()
        && let Some(link) = session.link
    {
        out.writes
            .extend(session.take_outbox().into_iter().map(|frame| Write::Frame(link, frame)));
        out.writes.push(Write::Close(link, None));
    }
    close_parked(core, slot, out);
}

/// Nothing is left to say but goodbye: the parked GET carries it, if there is one, and the session
/// is forgotten.
pub(super) fn close_parked(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    drop_candidate(core, slot, out);
    if let Some(asker) = take_parked(core, slot) {
        answer_poll(core, slot, asker, alloc::vec![CLOSE], out);
    }
    core.remove_session(slot, Reason::ForcedServerClose, out);
}

/// Tells the user of a raw session that it is over. Sockets are told by [`Core::end_sockets`].
fn announce_end(core: &mut Core, slot: SessionSlot, reason: Reason, out: &mut Outputs) {
    let session = core.key(slot);
    let open = core.sessions.get(slot).is_some_and(|s| s.state == State::Open);
    if open && engine_mut(core, slot).is_some_and(|e| e.raw) {
        out.deliveries.push(Delivery::EngineClose { session, reason });
    }
}
