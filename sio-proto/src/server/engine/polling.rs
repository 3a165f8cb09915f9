//! Polling: the parked GET, and POSTs (docs/protocol/engine-io.md §4.2-§4.4, §12).

use alloc::vec::Vec;

use bytes::Bytes;

use super::handshake::{Purpose, Refusal};
use super::{Arrival, At, Fate, NOOP, Revision, bodies, engine_of};
use crate::keep::Source;
use crate::server::{Asker, Body, Breach, BreachKind, Input, Posted, Reason, Request, Response, Role, State, Write};
use crate::wire::Inbound;
use crate::wire::engine::PostForm;
use crate::{Frame, LinkId, http};

/// How many packets a POST may have whose query names another form than its session has. No client
/// that is known sends such a POST.
const MOST_DECODED_AGAIN: usize = 256;

impl<'a> At<'a> {
    /// A GET fetches the queued packets.
    pub(super) fn poll(mut self, asker: Asker) -> Fate<'a> {
        if self.session.parked.is_some() {
            self.out.writes.push(asker.answer(400, None, Bytes::new()));
            let breach = Breach::new(BreachKind::Transport, "a second GET while another is held");
            return Err(self.fail_for(Reason::TransportError, breach));
        }
        let engine = engine_of(&mut self.session.wiring);
        if engine.has_farewell() {
            // The GET was under way before the client knew that its goodbye had been accepted.
            self.answer_packets(asker, alloc::vec![NOOP]);
            return Err(self.fail(Reason::TransportClose));
        }
        if engine.candidate.as_ref().is_some_and(|candidate| candidate.switching) {
            // The client has left polling, and the server waits for a POST that is under way. The
            // GET was sent after the `5`.
            self.out.writes.push(Refusal::BadRequest.answer(asker, false));
            return Ok(self);
        }
        engine.polled_late = engine.candidate.as_ref().is_some_and(|candidate| candidate.answered);
        self.core.links.set(asker.link, self.key, Role::Parked);
        self.session.set_link(Some(asker.link));
        self.session.parked = Some(asker.park(&mut self.core.spare_asker));
        if self.session.state == State::Closing {
            // A GET that fetches the close gets a noop before it, as from genuine servers
            // (docs/protocol/engine-io.md §12).
            if self.session.outbox.is_empty() {
                self.end_connection_of_poll();
                self.push_control(NOOP);
                return Err(self.close_parked());
            }
            self.session.taken = self.now;
            return self.finish_closing();
        }
        self.mark_ready();
        self.hurry_poll();
        Ok(self)
    }

    /// Takes the parked GET, if there is one.
    pub(super) fn take_parked(&mut self) -> Option<Asker> {
        let asker = Asker::unpark(self.session.parked.take()?, &mut self.core.spare_asker);
        self.session.set_link(None);
        self.core.links.clear(asker.link);
        Some(asker)
    }

    /// Answers the parked GET with queued packets, up to the limit of one answer. The rest waits
    /// for the next GET, which is answered at once.
    pub(crate) fn flush_poll(&mut self) {
        if let Some(asker) = self.take_parked() {
            self.answer_poll(asker, Vec::new());
        }
    }

    /// Answers the parked GET, if there is one, with queued packets, or with a noop if there are
    /// none.
    pub(crate) fn end_poll(&mut self) {
        if self.session.flows() && !self.session.outbox.is_empty() {
            self.flush_poll();
        } else {
            self.answer_parked_with(NOOP);
        }
    }

    /// Answers the parked GET, if there is one, with this packet alone. Queued packets stay queued.
    pub(super) fn answer_parked_with(&mut self, frame: Frame) {
        if let Some(asker) = self.take_parked() {
            self.session.taken = self.now;
            self.answer_packets(asker, alloc::vec![frame]);
        }
    }

    /// Answers a GET with queued packets, up to the limit of one answer, followed by `last`.
    pub(super) fn answer_poll(&mut self, asker: Asker, last: Vec<Frame>) {
        let config = &self.core.config;
        let (most, most_bytes) = (config.max_packets_per_poll, config.max_bytes_per_poll);
        let mut frames = self.out.frames();
        self.session.outbox.take_up_to(most, most_bytes, &mut frames);
        frames.extend(last);
        self.answer_packets(asker, frames);
    }

    fn answer_packets(&mut self, mut asker: Asker, frames: Vec<Frame>) {
        let binary = self.core.config.engine3_binary_polls && !self.session.adapts;
        let engine = engine_of(&mut self.session.wiring);
        let peer = bodies::Peer3 {
            dialect: engine.dialect,
            binary,
        };
        let (content_type, encoding) = bodies::poll_encoding(engine.revision, engine.jsonp(), peer, &frames);
        asker.no_store();
        asker.answer_packets_in(self.out, content_type, frames, encoding);
    }

    /// The head of a POST has come, or a POST waits before its first packet. Two POSTs at a time
    /// end the session.
    fn begin_post(self, link: LinkId, request: &Request) {
        let Some(other) = self.session.take_post().filter(|other| *other != link) else {
            self.session.rare_mut().post = Some(link);
            return self.core.links.set(link, self.key, Role::Post);
        };
        self.core.links.clear(other);
        let refusal = Asker::new(&self.core.config, link, request).closing();
        self.out.writes.push(refusal.answer(400, None, Bytes::new()));
        self.out.writes.push(Write::Abort(other));
        self.fail_for(Reason::TransportError, two_posts());
    }

    pub(super) fn post(self, asker: Asker, arrival: &Arrival<'_>, posted: &mut Posted) {
        let request = arrival.request;
        match self.session.take_post() {
            Some(link) if link != asker.link => {
                self.core.links.clear(link);
                self.out.writes.push(asker.answer(400, None, Bytes::new()));
                self.out.writes.push(Write::Abort(link));
                self.fail_for(Reason::TransportError, two_posts());
                return;
            }
            _ => {}
        }
        let body = match &request.http.body {
            Ok(body) => body,
            Err(error) => {
                // The packets of the body are lost, so the session ends (docs/protocol/engine-io.md
                // §4.4).
                self.out.writes.push(asker.closing().answer(413, None, Bytes::new()));
                self.fail_for(Reason::TransportError, Breach::new(BreachKind::Http, error));
                return;
            }
        };
        let engine = engine_of(&mut self.session.wiring);
        if engine.revision == Revision::V4 && request.http.is_content_type("application/octet-stream") {
            self.out.writes.push(asker.answer(400, None, Bytes::new()));
            let breach = Breach::new(BreachKind::Payload, "binary body, of which Engine.IO 4 has none");
            self.fail_for(Reason::TransportError, breach);
            return;
        }
        // The form comes from the handshake. If a request names another form, its decoded packets
        // are not used. Nobody has counted the others, and they are decoded under the lock of the
        // shard, so they have to be few.
        let form = PostForm {
            revision: engine.revision,
            jsonp: engine.jsonp().is_some(),
        };
        if posted.begins() && form != bodies::post_form(&arrival.route) {
            let config = &self.core.config;
            let most = config.max_packets_per_payload.min(MOST_DECODED_AGAIN);
            let mut packets = bodies::decode_post(config, &request.http, engine.raw, form, body.clone(), most);
            Inbound::part(&mut packets, body.len());
            posted.replace(packets);
        }
        match posted
            .next()
            .into_iter()
            .try_fold(self, |at, mut packet| at.receive(&mut packet))
        {
            Ok(mut at) => {
                at.session.reassembly.keep(Source::Body);
                if posted.goes_on() {
                    // As long as the rest waits, the POST counts as one whose body is coming.
                    at.session.rare_mut().post = Some(asker.link);
                    at.core.links.set(asker.link, at.key, Role::Post);
                    return;
                }
                if let Some(asker) = at.wait_with_farewell(asker) {
                    // The answer to a probe leaves first: a client that has read it begins no other
                    // POST when it reads the answer to this one.
                    at.prolong_upgrade();
                    let link = asker.link;
                    at.out.respond(link, taken(asker));
                    let _ = at.switch_if_waiting();
                }
            }
            Err(ended) => {
                posted.drop_rest();
                let link = asker.link;
                ended.out.respond(link, taken(asker));
            }
        }
    }
}

impl Arrival<'_> {
    /// The head of a request has come, and its body has not.
    pub(crate) fn handle_body_started(&self, input: &mut Input<'_>, link: LinkId) {
        // The body of a request with another method must not take the place of a POST.
        if self.request.http.method != http::Method::Post {
            return;
        }
        let arrival = Arrival {
            upgrade: false,
            ..*self
        };
        if let Ok(Purpose::Use(session)) = arrival.check(input.shard) {
            input.at(session, |at: At<'_>| at.begin_post(link, self.request));
        }
    }
}

/// The breach of a client that sends two POSTs at once.
#[cold]
fn two_posts() -> Breach {
    Breach::new(
        BreachKind::Transport,
        "a second POST while the body of another is coming",
    )
}

/// The answer to a POST whose packets have been accepted.
pub(super) fn taken(mut asker: Asker) -> Response {
    asker.no_store();
    // `text/html` on purpose, as from genuine servers (docs/protocol/engine-io.md §4.3).
    asker.response(200, Some("text/html"), Body::Bytes(Bytes::from_static(b"ok")))
}
