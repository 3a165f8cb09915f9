//! Requests of 0.7-0.9: handshakes, and the transports that carry a session
//! (docs/protocol/legacy-0.9.md §2, §3, §6-§7, §9).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::{At, Ended, Farewell, Fate, Legacy09, Phase, legacy09_of};
use crate::detect::{self, Exchange, Transport};
use crate::legacy::legacy09::handshake::{self, Handshake as Answer};
use crate::legacy::legacy09::{Body, NOT_HANDSHAKEN, Packet};
use crate::legacy::transports::{Family, JSONP_CONTENT_TYPE, write_jsonp as write_script, write_jsonp_error};
use crate::request::origin;
use crate::server::old_websocket::{Agreed, agree};
use crate::server::{
    Asker, Auth, Breach, BreachKind, Core, Delivery, Denied, Input, Outputs, Part, PollEncoding, Posted, Reason,
    Request, Role, State, StreamEncoding, StreamForm, TransportKind, Write, asked_headers,
};
use crate::wire::{Inbound, Wire};
use crate::{Config, Frame, LinkId, SessionKey, http};

const TEXT: &str = "text/plain; charset=UTF-8";

pub(crate) fn handle(
    input: &mut Input<'_>,
    link: LinkId,
    request: &Request,
    posted: &mut Posted,
    route: detect::Legacy09,
) {
    let script = script_of(&route);
    if is_jsonp(&route) && !input.shard.core.config.transports.jsonp {
        let asker = Asker::without_cors(link, request);
        return input.out.writes.push(asker.answer(400, None, Bytes::new()));
    }
    let allowed = request.stranger().is_none();
    let mut asker = asker_of(link, request, &route, script);
    if let Some(why) = request.stranger() {
        input.out.deliveries.push(Delivery::Stranger(request.describe(why)));
    }
    match route {
        detect::Legacy09::Preflight => {
            asker.header("Access-Control-Allow-Methods", ByteString::from_static("POST, GET"));
            if let Some(asked) = asked_headers(&request.http) {
                asker.header("Access-Control-Allow-Headers", ByteString::from(asked));
            }
            input.out.writes.push(asker.answer(200, None, Bytes::new()));
        }
        detect::Legacy09::Malformed => input.out.writes.push(asker.answer(400, None, Bytes::new())),
        _ if !allowed => refuse(asker, script, 403, handshake::BAD_ORIGIN, input.out),
        detect::Legacy09::Disconnect { .. } => {
            let session = find(input, request);
            goodbye(input, session, asker);
        }
        detect::Legacy09::Handshake { maybe_beacon_of, .. } => {
            match maybe_beacon_of.and_then(|_| find(input, request)) {
                Some(session) => goodbye(input, Some(session), asker),
                None => open(input, asker, request, script),
            }
        }
        detect::Legacy09::Transport {
            transport, exchange, ..
        } => {
            let arrival = Arrival {
                request,
                transport,
                script,
                session: find(input, request).filter(|session| may_use(input, *session)),
            };
            let offered = is_offered(&input.shard.core.config, transport);
            match exchange {
                Exchange::Upgrade(_) if offered => arrival.upgrade(input, asker),
                Exchange::Poll if offered => arrival.poll(input, asker),
                Exchange::Stream if offered => arrival.stream(input, asker),
                Exchange::Send if offered => match &request.http.body {
                    Ok(_) => arrival.post(input, asker, posted),
                    Err(error) => {
                        input.out.writes.push(asker.closing().answer(413, None, Bytes::new()));
                        arrival.note(input, Breach::new(BreachKind::Http, error));
                    }
                },
                Exchange::BadMethod => input.out.writes.push(asker.answer(405, None, Bytes::new())),
                Exchange::Upgrade(_)
                | Exchange::Poll
                | Exchange::Stream
                | Exchange::Send
                | Exchange::Preflight
                | Exchange::Mismatch => input.out.writes.push(asker.answer(400, None, Bytes::new())),
            }
        }
    }
}

/// The facts about a request that its answer needs, with the headers of genuine servers.
fn asker_of(link: LinkId, request: &Request, route: &detect::Legacy09, script: Option<u64>) -> Asker {
    // The answer is a page of scripts of the server itself.
    let is_page = matches!(
        route,
        detect::Legacy09::Transport {
            exchange: Exchange::Stream,
            ..
        }
    );
    if is_page {
        return Asker::without_cors(link, request);
    }
    let mut headers = match request.stranger() {
        None => cors(&request.http),
        Some(_) => Vec::new(),
    };
    if let detect::Legacy09::Transport { exchange, .. } = route
        && (script.is_some() || *exchange == Exchange::Send && !headers.is_empty())
    {
        // Internet Explorer treats a script that repeats parts of the request as an attack
        // (docs/protocol/legacy-0.9.md §6, §7).
        headers.push(("X-XSS-Protection", ByteString::from_static("0")));
    }
    Asker::with_cors(link, request, headers)
}

/// The answer to a protocol segment that is a number other than 1.
pub(crate) fn refuse_protocol(link: LinkId, request: &Request, out: &mut Outputs) {
    let asker = Asker::without_cors(link, request);
    refuse(asker, None, 500, handshake::UNKNOWN_PROTOCOL, out);
}

/// The index of the script that the answer has to be, if it has to be a script.
const fn script_of(route: &detect::Legacy09) -> Option<u64> {
    match *route {
        detect::Legacy09::Handshake { jsonp, .. } => jsonp,
        detect::Legacy09::Transport {
            transport: Transport::JsonpPolling,
            exchange: Exchange::Poll,
            index,
            ..
        } => Some(index),
        detect::Legacy09::Transport { .. }
        | detect::Legacy09::Disconnect { .. }
        | detect::Legacy09::Preflight
        | detect::Legacy09::Malformed => None,
    }
}

/// Whether the request comes from a JSONP client: its answer is a script, or its body is a form
/// that every page can send.
const fn is_jsonp(route: &detect::Legacy09) -> bool {
    match route {
        detect::Legacy09::Handshake { jsonp, .. } => jsonp.is_some(),
        detect::Legacy09::Transport { transport, .. } => matches!(transport, Transport::JsonpPolling),
        detect::Legacy09::Disconnect { .. } | detect::Legacy09::Preflight | detect::Legacy09::Malformed => false,
    }
}

/// The session that a request names, if it belongs to this generation. The id of another
/// generation is unknown here (docs/protocol/detection.md §5). A session that lives on a websocket
/// or stream from another address is also treated as unknown (docs/protocol/legacy-0.9.md §9).
fn find(input: &Input<'_>, request: &Request) -> Option<SessionKey> {
    let (key, session) = input.shard.requested_session(request)?;
    (session.wiring.legacy09().is_some() && !session.is_held_against(&request.peer)).then_some(key)
}

/// Whether the client knows the session and may use it. In either case the client has come back.
fn may_use(input: &mut Input<'_>, session: SessionKey) -> bool {
    let known = input.at(session, |mut at: At<'_>| {
        at.came_back();
        at.is_handshaken()
    });
    known == Some(true)
}

const fn is_offered(config: &Config, transport: Transport) -> bool {
    match transport {
        Transport::Websocket | Transport::Flashsocket => config.transports.websocket,
        Transport::XhrPolling => config.transports.polling,
        Transport::Htmlfile => config.transports.polling && config.transports.htmlfile,
        Transport::JsonpPolling => config.transports.polling && config.transports.jsonp,
        // Clients of this generation do not have it.
        Transport::XhrMultipart => false,
    }
}

/// The headers that genuine 0.9 servers send; older clients accept them as well
/// (docs/protocol/legacy-0.9.md §2.2, §15).
fn cors(request: &http::Request) -> Vec<(&'static str, ByteString)> {
    let Some(origin) = origin(request) else {
        return Vec::new();
    };
    alloc::vec![
        ("Access-Control-Allow-Origin", ByteString::from(origin)),
        ("Access-Control-Allow-Credentials", ByteString::from_static("true")),
    ]
}

fn refuse(asker: Asker, script: Option<u64>, status: u16, message: &'static str, out: &mut Outputs) {
    out.writes.push(match script {
        None => asker.answer(status, Some("text/plain"), message),
        // Browsers run no script whose status is an error.
        Some(index) => {
            let mut body = BytesMut::new();
            write_jsonp_error(index, message, &mut body);
            asker.answer(200, Some(JSONP_CONTENT_TYPE), body.freeze())
        }
    });
}

/// Makes a session, which asks for the namespace `/`. Its handshake waits for the user's decision.
fn open(input: &mut Input<'_>, asker: Asker, request: &Request, script: Option<u64>) {
    if !matches!(request.http.method, http::Method::Get | http::Method::Post) {
        return input.out.writes.push(asker.answer(405, None, Bytes::new()));
    }
    let admitted = match request.admit() {
        Ok(admitted) => admitted,
        Err(Denied::Origin) => return refuse(asker, script, 403, handshake::BAD_ORIGIN, input.out),
        Err(Denied::Application(_)) => return refuse(asker, script, 403, handshake::UNAUTHORIZED, input.out),
    };
    let Some(permit) = input.permit(admitted) else {
        let asker = input.shard.core.turned_away(asker);
        return refuse(asker, script, 503, handshake::ERROR, input.out);
    };
    let link = asker.link;
    let legacy09 = Legacy09::new(input.now, script);
    input.open(
        permit,
        TransportKind::Polling,
        Some(link),
        legacy09,
        |mut at: At<'_>| {
            at.core.links.set(link, at.key, Role::Parked);
            at.session.parked = Some(Box::new(asker));
            at.set_deadline(at.now + at.core.config.connect_timeout);
            let auth = Auth::Query(ByteString::new());
            if at.ask(&ByteString::from_static("/"), auth).is_err() {
                at.refuse_handshake(503, handshake::ERROR);
            }
        },
    );
}

/// The page goes away and tells the server.
fn goodbye(input: &mut Input<'_>, session: Option<SessionKey>, asker: Asker) {
    input.out.writes.push(asker.answer(200, None, Bytes::new()));
    if let Some(session) = session {
        input.at(session, |at: At<'_>| _ = at.close(Reason::TransportClose));
    }
}

/// A request for a session.
struct Arrival<'a> {
    request: &'a Request,
    transport: Transport,
    /// The index of the script that the answer has to be, if it has to be a script.
    script: Option<u64>,
    /// The session, if it exists and its client knows it.
    session: Option<SessionKey>,
}

impl Arrival<'_> {
    fn upgrade(&self, input: &mut Input<'_>, asker: Asker) {
        let unknown = Some(Wire::Legacy09Unknown).filter(|_| self.session.is_none());
        let config = &input.shard.core.config;
        let Some(agreed) = agree(config, asker, self.request, Wire::Legacy09, unknown, input.out) else {
            return;
        };
        let Some(session) = self.session else {
            return tell_unknown(input, &agreed);
        };
        input.at(session, |mut at: At<'_>| {
            let waits = agreed.is_opening();
            at.attach(agreed.link, self.transport, Role::WebSocket);
            at.session.rare_mut().holder = self.request.peer.network();
            at.take_up(agreed);
            if !waits {
                let _ = at.begin();
            }
        });
    }

    fn stream(&self, input: &mut Input<'_>, asker: Asker) {
        let exchange = self.request.http.exchange();
        let (link, form) = (asker.link, StreamForm::new(StreamEncoding::Htmlfile09, exchange));
        input.out.writes.push(asker.stream(form.clone()));
        let Some(session) = self.session else {
            let frames = alloc::vec![not_handshaken(&mut input.shard.core)];
            let end = Box::new(form.clone());
            let part = Box::new(Part { frames, form });
            return input
                .out
                .writes
                .extend([Write::Part(link, part), Write::StreamEnd(link, end)]);
        };
        input.at(session, |mut at: At<'_>| {
            at.attach(link, Transport::Htmlfile, Role::Stream);
            at.session.set_stream(Some(form));
            at.session.rare_mut().holder = self.request.peer.network();
            let _ = at.begin();
        });
    }

    fn poll(&self, input: &mut Input<'_>, asker: Asker) {
        let Some(session) = self.session else {
            let frame = not_handshaken(&mut input.shard.core);
            return answer(asker, self.script, alloc::vec![frame], input.out);
        };
        input.at(session, |mut at: At<'_>| {
            at.judge_answer(&self.request.http.target);
            // The newer poll is live: an older one that is still held is answered with a noop.
            at.attach(asker.link, self.transport, Role::Parked);
            at.session.parked = Some(Box::new(asker));
            at.legacy09().script = self.script;
            if at.session.state == State::Closing {
                at.finish(Reason::ForcedServerClose, Farewell::Nothing);
                return;
            }
            at.set_deadline(at.now + at.core.config.legacy09.poll_duration);
            at.mark_ready();
        });
    }

    /// Records a breach that does not end the session.
    fn note(&self, input: &mut Input<'_>, breach: Breach) {
        if let Some(session) = self.session {
            input.at(session, |mut at: At<'_>| at.tolerated(breach, 1));
        }
    }

    fn post(&self, input: &mut Input<'_>, asker: Asker, posted: &mut Posted) {
        if posted.begins()
            && let Some(Inbound::Broken(breach)) = posted.first()
        {
            input.out.writes.push(asker.answer(400, None, Bytes::new()));
            return self.note(input, breach.clone());
        }
        let packets = match self.session {
            Some(_) => posted.next(),
            // Nobody waits for them, and the request has its answer.
            None => {
                posted.drop_rest();
                Vec::new()
            }
        };
        if !posted.goes_on() {
            // The answer does not depend on the packets. A client whose session is gone learns it
            // from its next poll (docs/protocol/legacy-0.9.md §6).
            let taken = asker.answer(200, Some(TEXT), Bytes::from_static(b"1"));
            input.out.writes.push(taken);
        }
        if let Some(session) = self.session {
            input.at(session, |at: At<'_>| _ = packets.into_iter().try_fold(at, At::receive));
        }
    }
}

/// The client ignores an HTTP error as the answer to an upgrade, but it reads this packet
/// (docs/protocol/legacy-0.9.md §9).
fn tell_unknown(input: &mut Input<'_>, agreed: &Agreed) {
    let (link, core) = (agreed.link, &mut input.shard.core);
    let writes = &mut input.out.writes;
    match agreed.form() {
        // The connection tells the client when the handshake is complete.
        Some(_) if agreed.is_opening() => return,
        Some(form) => {
            let (frames, form) = (alloc::vec![not_handshaken(core)], form.clone());
            writes.push(Write::Part(link, Box::new(Part { frames, form })));
        }
        None => writes.push(Write::Frame(link, not_handshaken(core))),
    }
    writes.push(agreed.farewell());
}

/// The packet for a client whose session is unknown.
fn not_handshaken(core: &mut Core) -> Frame {
    Frame::text(&mut core.buffer, |b| b.extend_from_slice(NOT_HANDSHAKEN.as_bytes()))
}

impl<'a> At<'a> {
    /// Refuses the handshake that waits. There is no session then.
    pub(super) fn refuse_handshake(mut self, status: u16, message: &'static str) -> Ended<'a> {
        if let Some((asker, script)) = self.take_parked() {
            refuse(asker, script, status, message, self.out);
        }
        self.end(Reason::ForcedServerClose)
    }

    /// The user has accepted the client: the client gets its id.
    pub(super) fn answer_handshake(&mut self) {
        let config = &self.core.config;
        let flashsocket = config.legacy09.flashsocket;
        let offered = [
            Transport::Websocket,
            Transport::Flashsocket,
            Transport::Htmlfile,
            Transport::XhrPolling,
            Transport::JsonpPolling,
        ];
        let offered = offered
            .into_iter()
            .filter(|t| *t != Transport::Flashsocket || flashsocket);
        let seconds = |time: Duration| Some(u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX));
        let answer = Answer {
            sid: ByteString::from(core::str::from_utf8(&self.session.id.base64()).unwrap_or_default()),
            heartbeat_seconds: seconds(config.legacy09.heartbeat_timeout),
            close_seconds: seconds(config.legacy09.close_timeout),
            transports: offered.filter(|t| is_offered(config, *t)).collect(),
        };
        let open_until = self.now + config.legacy09.open_timeout;
        let mut body = BytesMut::new();
        answer.encode(&mut body);
        if let Some((asker, script)) = self.take_parked() {
            self.out.writes.push(match script {
                None => asker.answer(200, Some("text/plain"), body.freeze()),
                Some(index) => {
                    let mut dressed = BytesMut::new();
                    let text = core::str::from_utf8(&body).unwrap_or_default();
                    write_script(Family::Legacy09, index, text, &mut dressed);
                    asker.answer(200, Some(JSONP_CONTENT_TYPE), dressed.freeze())
                }
            });
        }
        self.legacy09().phase = Phase::Handshaken;
        self.set_deadline(open_until);
    }

    /// Waiting packets leave on a new websocket or stream.
    pub(super) fn begin(mut self) -> Fate<'a> {
        if self.session.state == State::Closing {
            return Err(self.finish(Reason::ForcedServerClose, Farewell::Nothing));
        }
        self.next_heartbeat();
        self.mark_ready();
        Ok(self)
    }

    /// Gives the session a new link, and releases the link that it had. The session uses the
    /// transport that was opened last (docs/protocol/legacy-0.9.md §6).
    fn attach(&mut self, link: LinkId, transport: Transport, role: Role) {
        self.detach();
        if role != Role::Parked {
            self.settle_answer();
        }
        let connect = Frame::text(&mut self.core.buffer, |b| {
            Packet::new(Body::Connect(ByteString::new())).encode(b);
        });
        self.set_transport(transport.into());
        self.core.links.set(link, self.key, role);
        let session = &mut *self.session;
        session.set_link(Some(link));
        let legacy09 = legacy09_of(&mut session.wiring);
        let before = core::mem::replace(&mut legacy09.phase, Phase::Open(transport));
        // A client that falls back to another transport has not received the `1::` on the earlier
        // transport, and waits for it (§10).
        if matches!(before, Phase::Open(other) if other != transport) && session.outbox.front() != Some(&connect) {
            legacy09.unconfirmed.note_first_control();
            session.outbox.push_front(connect);
        }
    }

    fn detach(&mut self) {
        if let Some((asker, script)) = self.take_parked() {
            let noop = Frame::text(&mut self.core.buffer, |b| Packet::new(Body::Noop).encode(b));
            answer(asker, script, alloc::vec![noop], self.out);
        }
        if let Some(link) = self.session.take_link() {
            self.core.links.clear(link);
            self.replace(link);
        }
        self.session.unblock(&mut self.core.backlog);
    }

    /// Takes the parked request, if there is one, and the index of its script.
    pub(super) fn take_parked(&mut self) -> Option<(Asker, Option<u64>)> {
        let asker = self.session.parked.take()?;
        self.session.set_link(None);
        self.core.links.clear(asker.link);
        Some((*asker, self.legacy09().script))
    }

    /// Answers the parked poll with queued packets.
    pub(crate) fn flush_poll(&mut self) {
        if self.is_handshaken()
            && let Some((asker, script)) = self.take_parked()
        {
            let frames = self.take_answer(&asker);
            answer(asker, script, frames, self.out);
            self.set_deadline(self.now + self.core.config.legacy09.close_timeout);
        }
    }

    /// Answers the parked poll with queued packets, or with a noop if there are none.
    pub(crate) fn end_poll(&mut self) {
        if self.session.outbox.is_empty() {
            self.push(&Packet::new(Body::Noop));
        }
        self.flush_poll();
    }
}

pub(super) fn answer(asker: Asker, script: Option<u64>, frames: Vec<Frame>, out: &mut Outputs) {
    out.writes.push(match script {
        None => asker.answer_packets(TEXT, frames, PollEncoding::Legacy09),
        Some(index) => asker.answer_packets(JSONP_CONTENT_TYPE, frames, PollEncoding::Legacy09Jsonp(index)),
    });
}
