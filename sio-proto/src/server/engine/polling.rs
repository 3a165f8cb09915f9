//! Polling: the parked GET, and POSTs (docs/protocol/engine-io.md §4.2-§4.4, §12).

use crate::id::SessionSlot;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    Arrival, Asker, Core, Frame, Inbound, LinkId, NOOP, Outputs, PostForm, Purpose, Reason, Revision, Role, Session,
    State, Time, Write, bodies, check, close_parked, engine_of, fail, finish_closing, http, receive, switch_if_waiting,
    wait_with_farewell,
};

pub(super) fn poll(core: &mut Core, slot: SessionSlot, asker: Asker, out: &mut Outputs) {
    let key = core.key(slot);
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    if session.parked.is_some() {
        out.writes.push(asker.answer(400, None, Bytes::new()));
        return fail(core, slot, Reason::TransportError, out);
    }
    if engine_of(session).is_some_and(|engine| engine.farewell.is_some()) {
        // It was under way before the client has heard that its goodbye was taken.
        answer_packets(core, slot, asker, alloc::vec![NOOP], out);
        return fail(core, slot, Reason::TransportClose, out);
    }
    let (link, closing) = (asker.link, session.state == State::Closing);
    if let Some(engine) = engine_of(session) {
        engine.polled_late = engine.candidate.as_ref().is_some_and(|candidate| candidate.probed);
    }
    session.link = Some(link);
    session.parked = Some(Box::new(asker));
    core.links.set(link, key, Role::Parked);
    if closing {
        // A noop goes before the close that a GET comes to fetch, as from genuine servers
        // (docs/protocol/engine-io.md §12).
        if session.outbox.is_empty() {
            core.push_control(slot, NOOP);
            return close_parked(core, slot, out);
        }
        return finish_closing(core, slot, out);
    }
    core.mark_ready(slot);
}

/// Takes the parked GET, if there is one.
pub(super) fn take_parked(core: &mut Core, slot: SessionSlot) -> Option<Asker> {
    let session = core.sessions.get_mut(slot)?;
    let asker = session.parked.take()?;
    session.link = None;
    core.links.clear(asker.link);
    Some(*asker)
}

/// Answers the parked GET with what is queued, as far as one answer goes. What is left waits for
/// the next GET, which finds it and is answered at once.
pub(crate) fn flush_poll(core: &mut Core, slot: SessionSlot, out: &mut Outputs) {
    if let Some(asker) = take_parked(core, slot) {
        answer_poll(core, slot, asker, Vec::new(), out);
    }
}

/// Answers the parked GET, if there is one, with what is queued, or else with a noop.
pub(crate) fn end_poll(core: &mut Core, now: Time, slot: SessionSlot, out: &mut Outputs) {
    let flows = |session: &Session| session.flows() && !session.outbox.is_empty();
    if core.sessions.get(slot).is_some_and(flows) {
        flush_poll(core, slot, out);
    } else {
        answer_parked_with(core, now, slot, NOOP, out);
    }
}

/// Answers the parked GET, if there is one, with this packet alone; what is queued stays queued.
pub(super) fn answer_parked_with(core: &mut Core, now: Time, slot: SessionSlot, frame: Frame, out: &mut Outputs) {
    if let Some(asker) = take_parked(core, slot) {
        if let Some(session) = core.sessions.get_mut(slot) {
            session.taken = now;
        }
        answer_packets(core, slot, asker, alloc::vec![frame], out);
    }
}

/// Answers a GET with what is queued, as far as one answer goes, and `last`.
pub(super) fn answer_poll(core: &mut Core, slot: SessionSlot, asker: Asker, last: Vec<Frame>, out: &mut Outputs) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let mut frames = session.take_up_to(core.config.max_packets_per_poll, core.config.max_bytes_per_poll);
    frames.extend(last);
    answer_packets(core, slot, asker, frames, out);
}

fn answer_packets(core: &mut Core, slot: SessionSlot, mut asker: Asker, frames: Vec<Frame>, out: &mut Outputs) {
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let binary = core.config.engine3_binary_polls && !session.adapts;
    let Some(engine) = engine_of(session) else { return };
    let peer = bodies::Peer3 {
        dialect: engine.dialect,
        binary,
    };
    let (content_type, encoding) = bodies::poll_encoding(engine.revision, engine.jsonp.as_deref(), peer, &frames);
    asker.header("cache-control", ByteString::from_static("no-store"));
    out.writes.push(asker.answer_packets(content_type, frames, encoding));
}

pub(crate) fn handle_body_started(core: &mut Core, link: LinkId, arrival: &Arrival<'_>, out: &mut Outputs) {
    let config = Arc::clone(&core.config);
    let request = arrival.request;
    // A body with any other method is nobody's, and must not take the place of a POST.
    if request.http.method != http::Method::Post {
        return;
    }
    let arrival = Arrival {
        upgrade: false,
        ..*arrival
    };
    let Ok(Purpose::Use(slot)) = check(core, &config, &arrival) else {
        return;
    };
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    let Some(other) = session.post.replace(link) else {
        core.links.set(link, core.key(slot), Role::Post);
        return;
    };
    session.post = None;
    core.links.clear(other);
    out.writes.push(
        Asker::new(&config, link, request)
            .closing()
            .answer(400, None, Bytes::new()),
    );
    out.writes.push(Write::Abort(other));
    fail(core, slot, Reason::TransportError, out);
}

pub(super) fn post(
    core: &mut Core,
    now: Time,
    slot: SessionSlot,
    asker: Asker,
    arrival: &Arrival<'_>,
    mut packets: Vec<Inbound>,
    out: &mut Outputs,
) {
    let config = Arc::clone(&core.config);
    let Arrival { request, route, .. } = arrival;
    let Some(session) = core.sessions.get_mut(slot) else {
        return;
    };
    match session.post.take() {
        Some(link) if link != asker.link => {
            core.links.clear(link);
            out.writes.push(asker.answer(400, None, Bytes::new()));
            out.writes.push(Write::Abort(link));
            return fail(core, slot, Reason::TransportError, out);
        }
        _ => {}
    }
    let Ok(body) = &request.http.body else {
        // What was in it is lost, so the session is over (docs/protocol/engine-io.md §4.4).
        out.writes.push(asker.closing().answer(413, None, Bytes::new()));
        return fail(core, slot, Reason::TransportError, out);
    };
    let Some(engine) = engine_of(session) else { return };
    if engine.revision == Revision::V4 && request.http.is_content_type("application/octet-stream") {
        out.writes.push(asker.answer(400, None, Bytes::new()));
        return fail(core, slot, Reason::TransportError, out);
    }
    // What the handshake said counts; a request that says something else has been decoded for
    // nothing.
    let form = PostForm {
        revision: engine.revision,
        jsonp: engine.jsonp.is_some(),
    };
    if form != bodies::post_form(route) {
        packets = bodies::decode_post(&config, &request.http, engine.raw, form, body.clone());
    }
    let key = core.key(slot);
    for packet in packets {
        if core.sessions.holds(key.slot, key.generation) {
            receive(core, now, slot, packet, out);
        }
    }
    if core.sessions.holds(key.slot, key.generation)
        && let Some(session) = core.sessions.get_mut(slot)
    {
        session.reassembly.keep();
    }
    let Some(asker) = wait_with_farewell(core, now, slot, asker) else {
        return;
    };
    out.writes.push(taken(asker));
    if core.sessions.holds(key.slot, key.generation) {
        switch_if_waiting(core, now, slot, out);
    }
}

/// The answer to a POST whose packets have been taken.
pub(super) fn taken(mut asker: Asker) -> Write {
    asker.header("cache-control", ByteString::from_static("no-store"));
    // text/html on purpose, as genuine servers do (docs/protocol/engine-io.md §4.3).
    asker.answer(200, Some("text/html"), Bytes::from_static(b"ok"))
}
