//! The upgrade from polling to websocket, with its races (docs/protocol/engine-io.md §7, §12).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{
    Alarm, Arrival, Asker, CLOSE, Candidate, Core, EngineTransport, Frame, Inbound, LinkId, NOOP_INTERVAL, Outputs,
    PROBE_ANSWER, Packet, Reason, Refusal, Role, Session, State, Time, TransportKind, Upgrade, Write, accept_websocket,
    answer_parked_with, engine_mut, engine_of, fail, finish_closing, receive, revision_of, take_parked, wire,
};
use crate::engine::frames;
use crate::id::SessionSlot;

pub(super) fn attach_candidate(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    asker: Asker,
    arrival: &Arrival<'_>,
    out: &mut Outputs,
) {
    let (link, route) = (asker.link, &arrival.route);
    let (accept, headers) = match accept_websocket(asker, &arrival.request.http) {
        Ok(accepted) => accepted,
        Err(refusal) => return out.writes.push(refusal),
    };
    let upgrade_timeout = core.config.upgrade_timeout;
    let key = core.key(slot);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let possible = route.transport != EngineTransport::Polling && session.transport == TransportKind::Polling;
    let Some(engine) = engine_of(session) else { return };
    let wire = wire(engine.revision, engine.raw);
    out.writes
        .push(Write::Upgrade(link, Box::new(Upgrade { accept, headers, wire })));
    if !possible || engine.candidate.is_some() {
        return out.writes.push(Write::Close(link, None));
    }
    engine.attempt = engine.attempt.wrapping_add(1);
    engine.candidate = Some(Box::new(Candidate {
        link,
        base64: route.base64,
        probed: false,
        switching: false,
        held: Vec::new(),
        held_bytes: 0,
    }));
    core.timers
        .arm_at(now + upgrade_timeout, Alarm::Upgrade, key, engine.attempt);
    core.links.set(link, key, Role::Candidate);
}

pub(super) fn handle_candidate(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    link: LinkId,
    packet: Inbound,
    out: &mut Outputs,
) {
    let (key, max_bytes) = (core.key(slot), core.config.max_payload);
    let max_packets = core.config.max_upgrade_packets;
    let Some(engine) = engine_mut(core, slot) else { return };
    let attempt = engine.attempt;
    let Some(candidate) = engine.candidate.as_mut().filter(|c| c.link == link) else {
        return;
    };
    match packet {
        packet if candidate.switching => {
            let bytes = candidate.held_bytes + packet.bytes();
            if candidate.held.len() >= max_packets || bytes > max_bytes {
                return fail(core, slot, Reason::TransportError, out);
            }
            candidate.held_bytes = bytes;
            candidate.held.push(packet.kept());
            if !core.weigh(slot) {
                fail(core, slot, Reason::TransportError, out);
            }
        }
        Inbound::Engine(Packet::Ping(data)) if data == "probe" => {
            // Once, however often it asks: nothing says whether it reads the answer.
            if !core::mem::replace(&mut candidate.probed, true) {
                out.writes.push(Write::Frame(link, PROBE_ANSWER));
                core.timers.arm_at(now + NOOP_INTERVAL, Alarm::Noop, key, attempt);
            }
        }
        Inbound::Engine(Packet::Upgrade) => {
            candidate.switching = true;
            if core.sessions.get(slot).is_some_and(|s| s.post.is_none()) {
                switch_if_waiting(core, now, slot, out);
            }
        }
        // Anything else ends the candidate, and what it said is lost; the session goes on.
        _ => drop_candidate(core, slot, out),
    }
}

/// Moves the session to its candidate, if that has sent `5`.
pub(super) fn switch_if_waiting(core: &mut Core, now: Time, slot: SessionSlot, out: &mut Outputs) {
    let (key, config) = (core.key(slot), Arc::clone(&core.config));
    let Some(engine) = engine_mut(core, slot) else { return };
    if !engine.candidate.as_ref().is_some_and(|c| c.switching) {
        return;
    }
    let Some(candidate) = engine.candidate.take() else {
        return;
    };
    end_parked(core, now, slot, out);
    core.links.set(candidate.link, key, Role::WebSocket);
    core.set_transport(slot, TransportKind::WebSocket);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    session.link = Some(candidate.link);
    set_base64(session, candidate.base64);
    let silent_until = now + config.ping_interval + config.ping_timeout;
    if let Some(engine) = engine_of(session) {
        engine.silent_until = silent_until;
    }
    if session.state == State::Closing {
        return finish_closing(core, slot, out);
    }
    core.mark_ready(slot);
    // The packets that were held are no longer kept.
    let _ = core.weigh(slot);
    for packet in candidate.held {
        if core.sessions.holds(key.slot, key.generation) {
            receive(core, now, slot, packet, out);
        }
    }
}

/// Lets go of the parked GET, because the session polls no more. A client that has read the answer
/// to its probe sends no GET before its `5`, so one that came after that answer was sent after the
/// `5`, on a connection that is read earlier: it is answered as if it had come when it was sent.
fn end_parked(core: &mut Core, now: Time, slot: SessionSlot, out: &mut Outputs) {
    if !engine_mut(core, slot).is_some_and(|engine| engine.polled_late) {
        return answer_parked_with(core, now, slot, CLOSE, out);
    }
    if let Some(asker) = take_parked(core, slot) {
        out.writes.push(Refusal::BadRequest.answer(asker, false));
    }
}

/// Whether the transport carries binary as base64 from here on. What is queued was meant for polls
/// of another kind.
fn set_base64(session: &mut Session, base64: bool) {
    session.adapts = base64;
    let Some(revision) = revision_of(session).filter(|_| base64) else {
        return;
    };
    for frame in session.outbox.iter_mut().filter(|frame| frame.is_binary()) {
        *frame = frames::to_base64(revision, frame);
    }
    session.outbox_bytes = session.outbox.iter().map(Frame::len).sum();
}

pub(super) fn drop_candidate(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    if let Some(candidate) = engine_mut(core, slot).and_then(|e| e.candidate.take()) {
        core.links.clear(candidate.link);
        out.writes.push(Write::Close(candidate.link, None));
    }
}
