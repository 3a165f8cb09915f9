//! Requests of the 0.6 family: opening, coming back, posting, on every transport
//! (docs/protocol/legacy-0.6.md §5-§10).
//!
//! A stream is opened when the user has accepted, so that a refusal can still have a status. From
//! then on a stream is like a websocket for its session: packets leave as they come, heartbeats go
//! over it, and when it is lost the client may come back by any transport.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::{At, Legacy06, legacy06_of};
use crate::codec::Codec;
use crate::detect::{self, Exchange, Transport};
use crate::legacy::transports::JSONP_CONTENT_TYPE;
use crate::request::origin;
use crate::server::old_websocket::{Agreed, agree};
use crate::server::shard::kept_too_much;
use crate::server::{
    Admitted, Asker, Auth, Breach, BreachKind, Core, Delivery, Denied, Input, Outputs, Peer, PollEncoding, Posted,
    Reason, Request, Role, Session, StreamEncoding, StreamForm,
};
use crate::wire::{Inbound, Wire};
use crate::{Frame, LinkId, SessionKey, http};

/// The answer to a script request of a page that is not allowed.
const REFUSED_SCRIPT: &str = "alert('Cross domain security restrictions not met');";
const TEXT: &str = "text/plain; charset=UTF-8";

/// A request of this family.
pub(crate) struct Arrival<'a> {
    pub(crate) request: &'a Request,
    /// The number of the request's codec.
    pub(crate) codec: u8,
    pub(crate) route: detect::Legacy06,
}

/// The purpose of a request.
enum Purpose {
    /// It opens a session.
    Open,
    /// It is for this session.
    Use(SessionKey),
    /// It is for a session that is unknown.
    Lost,
}

impl Arrival<'_> {
    /// A complete request.
    pub(crate) fn handle(&self, input: &mut Input<'_>, link: LinkId, posted: &mut Posted) {
        let Self { request, route, .. } = self;
        let jsonp = route.transport == Transport::JsonpPolling;
        let htmlfile = route.transport == Transport::Htmlfile;
        let offered = input.shard.core.config.transports;
        if jsonp && !offered.jsonp || htmlfile && !offered.htmlfile {
            let asker = Asker::without_cors(link, request);
            return input.out.writes.push(asker.answer(400, None, Bytes::new()));
        }
        let allowed = request.stranger().is_none();
        let strange = request.stranger().map(|why| Delivery::Stranger(request.describe(why)));
        input.out.deliveries.extend(strange);
        // An htmlfile is a page of the server itself.
        let asker = match (htmlfile, allowed) {
            (true, _) => Asker::without_cors(link, request),
            (false, true) => Asker::with_cors(link, request, cors(&request.http, route.exchange)),
            (false, false) => Asker::with_cors(link, request, Vec::new()),
        };
        let purpose = self.purpose(input);
        match (route.exchange, purpose) {
            (Exchange::Preflight, _) => input.out.writes.push(asker.answer(200, None, Bytes::new())),
            (Exchange::Mismatch, _) => input.out.writes.push(asker.answer(400, None, Bytes::new())),
            (Exchange::BadMethod, _) => input.out.writes.push(asker.answer(405, None, Bytes::new())),
            // Genuine servers crash on such a request.
            (Exchange::Poll | Exchange::Send, _) if jsonp && self.script().is_none() => {
                input.out.writes.push(asker.answer(400, None, Bytes::new()));
            }
            // The refusal is a script with status 200, because browsers run no script with another
            // status (docs/protocol/legacy-0.6.md §7).
            (Exchange::Poll, _) if jsonp && !allowed => {
                let script = asker.answer(200, Some(JSONP_CONTENT_TYPE), REFUSED_SCRIPT);
                input.out.writes.push(script);
            }
            _ if !allowed => unauthorized(asker, input.out),
            (_, Purpose::Lost) | (Exchange::Send, Purpose::Open) => {
                input.out.writes.push(asker.answer(400, None, Bytes::new()));
            }
            (Exchange::Poll | Exchange::Stream | Exchange::Upgrade(_), Purpose::Open) => match request.admit() {
                Err(Denied::Origin | Denied::Application(_)) => unauthorized(asker, input.out),
                Ok(admitted) if matches!(route.exchange, Exchange::Upgrade(_)) => {
                    self.open_websocket(input, admitted, asker);
                }
                Ok(admitted) => self.open(input, admitted, Door::Parked(asker)),
            },
            (Exchange::Upgrade(_), Purpose::Use(session)) => self.upgrade(input, session, asker),
            (exchange, Purpose::Use(session)) => {
                input.at(session, |mut at: At<'_>| match exchange {
                    Exchange::Send => match &request.http.body {
                        Ok(_) => at.post(asker, posted),
                        Err(error) => {
                            at.out.writes.push(asker.closing().answer(413, None, Bytes::new()));
                            at.tolerated(Breach::new(BreachKind::Http, error), 1);
                        }
                    },
                    Exchange::Stream => at.stream(asker, self),
                    _ => at.poll(asker, self),
                });
            }
        }
    }

    /// The purpose of the request. If it is for an existing session, the client has come back.
    fn purpose(&self, input: &mut Input<'_>) -> Purpose {
        if self.route.session.is_none() {
            return Purpose::Open;
        }
        let found = input.shard.requested_session(self.request);
        let found = found.filter(|(_, session)| is_ours(session, self.codec, &self.request.peer));
        match found.map(|(key, _)| key) {
            Some(session) => {
                input.at(session, |mut at: At<'_>| at.came_back());
                Purpose::Use(session)
            }
            None if self.route.maybe_timestamp => Purpose::Open,
            None => Purpose::Lost,
        }
    }

    /// The index of the script that the answer has to be, if it has to be a script.
    fn script(&self) -> Option<u64> {
        let jsonp = self.route.transport == Transport::JsonpPolling;
        self.route.index.filter(|_| jsonp)
    }

    /// Makes a session, which asks for the namespace `/`. Until the user has decided, its GET is
    /// parked or its websocket is open.
    fn open(&self, input: &mut Input<'_>, admitted: Admitted<'_>, door: Door) {
        let Some(permit) = input.permit(admitted) else {
            return input.out.writes.push(match door {
                Door::Parked(asker) => input.shard.core.turned_away(asker).answer(503, None, Bytes::new()),
                Door::WebSocket(agreed) => agreed.farewell(),
            });
        };
        let (link, script, role) = match &door {
            Door::Parked(asker) => (asker.link, self.script(), Role::Parked),
            Door::WebSocket(agreed) => (agreed.link, None, Role::WebSocket),
        };
        let legacy06 = Legacy06::new(self.codec, script);
        let transport = self.route.transport.into();
        input.open(permit, transport, Some(link), legacy06, |mut at: At<'_>| {
            at.core.links.set(link, at.key, role);
            at.hold(self);
            match door {
                Door::Parked(asker) => {
                    at.judge_answer(&self.request.http.target);
                    at.session.parked = Some(Box::new(asker));
                    if let Some(form) = self.form(at.core) {
                        at.session.set_stream(Some(form));
                    }
                }
                Door::WebSocket(agreed) => at.take_up(agreed),
            }
            at.set_deadline(at.now + at.core.config.legacy06.poll_duration);
            let main = ByteString::from_static("/");
            if at.ask(&main, Auth::None).is_err() {
                at.close(Reason::ForcedServerClose);
            }
        });
    }

    fn open_websocket(&self, input: &mut Input<'_>, admitted: Admitted<'_>, asker: Asker) {
        if let Some(agreed) = self.agree(input, asker) {
            self.open(input, admitted, Door::WebSocket(agreed));
        }
    }

    /// A client comes back by a websocket.
    fn upgrade(&self, input: &mut Input<'_>, session: SessionKey, asker: Asker) {
        if let Some(agreed) = self.agree(input, asker) {
            input.at(session, |mut at: At<'_>| {
                at.attach(agreed.link, self.route.transport, Role::WebSocket);
                at.hold(self);
                at.take_up(agreed);
                at.mark_ready();
                at.next_heartbeat();
            });
        }
    }

    fn agree(&self, input: &mut Input<'_>, asker: Asker) -> Option<Agreed> {
        let wire = Wire::Legacy06(self.codec);
        agree(&input.shard.core.config, asker, self.request, wire, None, input.out)
    }

    /// How this transport writes packets, if it is a stream.
    fn form(&self, core: &Core) -> Option<StreamForm> {
        let codec = || core.config.legacy06.codec_at(self.codec).clone();
        let encoding = match self.route.transport {
            Transport::Htmlfile => StreamEncoding::Htmlfile06(codec()),
            Transport::XhrMultipart => StreamEncoding::Multipart(codec()),
            Transport::Websocket | Transport::Flashsocket | Transport::XhrPolling | Transport::JsonpPolling => {
                return None;
            }
        };
        Some(StreamForm::new(encoding, self.request.http.exchange()))
    }
}

fn unauthorized(asker: Asker, out: &mut Outputs) {
    out.writes
        .push(asker.closing().answer(401, Some("text/plain"), "unauthorized"));
}

/// Whether a session belongs to this codec. Sessions of other codecs live under other paths. A
/// session that lives on a websocket or stream from another address is treated as unknown: a client
/// may come back by its id only after it has lost its link (docs/protocol/legacy-0.6.md §10).
fn is_ours(session: &Session, codec: u8, peer: &Peer) -> bool {
    let legacy06 = session.wiring.legacy06();
    legacy06.is_some_and(|legacy06| legacy06.codec == codec) && !session.is_held_against(peer)
}

/// The headers that genuine servers answer with (docs/protocol/legacy-0.6.md §5.2, §6).
fn cors(request: &http::Request, exchange: Exchange) -> Vec<(&'static str, ByteString)> {
    let mut headers = Vec::new();
    let Some(origin) = origin(request) else {
        return headers;
    };
    // Genuine servers also allow credentials beside `*`, which no browser accepts.
    let (origin, credentials) = match exchange {
        Exchange::Send => ("*", false),
        Exchange::Preflight => (origin, true),
        _ if origin == "null" => ("*", false),
        _ => (origin, request.headers.get("cookie").is_some()),
    };
    headers.push(("Access-Control-Allow-Origin", ByteString::from(origin)));
    if credentials {
        headers.push(("Access-Control-Allow-Credentials", ByteString::from_static("true")));
    }
    if exchange == Exchange::Preflight {
        headers.push(("Access-Control-Allow-Methods", ByteString::from_static("POST, GET")));
    }
    headers
}

/// How a session is opened.
enum Door {
    /// By a GET that is answered when the user has decided.
    Parked(Asker),
    /// By a websocket that the server has accepted.
    WebSocket(Agreed),
}

impl At<'_> {
    /// Records the address from which the session's websocket or stream has come.
    fn hold(&mut self, arrival: &Arrival<'_>) {
        self.session.rare_mut().holder = arrival.request.peer.network();
    }

    /// Gives the session a new link, and releases the link that it had.
    fn attach(&mut self, link: LinkId, transport: Transport, role: Role) {
        self.detach();
        if role != Role::Parked {
            self.settle_answer();
        }
        self.set_transport(transport.into());
        self.core.links.set(link, self.key, role);
        self.session.set_link(Some(link));
    }

    /// Takes the session's transport away in the regular way.
    fn detach(&mut self) {
        if let Some(link) = self.session.take_link() {
            self.core.links.clear(link);
            match self.session.parked.take() {
                Some(asker) => {
                    let legacy06 = legacy06_of(&mut self.session.wiring);
                    let (codec, script) = (self.core.config.legacy06.codec_at(legacy06.codec), legacy06.script);
                    answer(*asker, codec, script, Vec::new(), self.out);
                }
                None => self.replace(link),
            }
        }
        self.session.unblock(&mut self.core.backlog);
    }
}

pub(super) fn answer(asker: Asker, codec: &Codec, script: Option<u64>, frames: Vec<Frame>, out: &mut Outputs) {
    let codec = codec.clone();
    out.writes.push(match script {
        None => asker.answer_packets(TEXT, frames, PollEncoding::Legacy06(codec)),
        Some(index) => asker.answer_packets(JSONP_CONTENT_TYPE, frames, PollEncoding::Legacy06Jsonp(codec, index)),
    });
}

// ---- streams --------------------------------------------------------------------------------------------------------

impl At<'_> {
    /// A client comes back by a stream.
    fn stream(mut self, asker: Asker, arrival: &Arrival<'_>) {
        self.attach(asker.link, arrival.route.transport, Role::Stream);
        self.hold(arrival);
        if let Some(form) = arrival.form(self.core) {
            self.session.set_stream(Some(form.clone()));
            self.out.writes.push(asker.stream(form));
        }
        self.mark_ready();
        self.next_heartbeat();
    }

    /// The user has accepted: if the session was opened by a stream, the stream begins now.
    pub(super) fn begin_stream(&mut self) {
        if let Some(form) = self.session.stream().cloned()
            && let Some(asker) = self.session.parked.take()
        {
            self.core.links.set(asker.link, self.key, Role::Stream);
            self.out.writes.push(asker.stream(form));
        }
    }
}

// ---- polling --------------------------------------------------------------------------------------------------------

impl At<'_> {
    fn poll(mut self, asker: Asker, arrival: &Arrival<'_>) {
        let script = arrival.script();
        // The newer poll is live, and the older poll is answered without messages
        // (docs/protocol/legacy-0.6.md §6).
        let transport = match script {
            None => Transport::XhrPolling,
            Some(_) => Transport::JsonpPolling,
        };
        self.judge_answer(&arrival.request.http.target);
        self.attach(asker.link, transport, Role::Parked);
        self.session.parked = Some(Box::new(asker));
        self.legacy06().script = script;
        self.set_deadline(self.now + self.core.config.legacy06.poll_duration);
        self.mark_ready();
    }

    /// Answers the parked GET with queued packets.
    pub(crate) fn flush_poll(&mut self) {
        let Some(asker) = self.session.parked.take() else {
            return;
        };
        let frames = if core::mem::take(&mut self.legacy06().id_waits) {
            self.core.links.clear(asker.link);
            self.session.outbox.take_first()
        } else {
            self.take_answer(&asker)
        };
        self.session.set_link(None);
        let legacy06 = legacy06_of(&mut self.session.wiring);
        let (codec, script) = (self.core.config.legacy06.codec_at(legacy06.codec), legacy06.script);
        answer(*asker, codec, script, frames, self.out);
        self.set_deadline(self.now + self.core.config.legacy06.reconnect_timeout);
    }

    fn post(mut self, asker: Asker, posted: &mut Posted) {
        if let Some(Inbound::Payload { payload, from_form }) = posted.take_payload() {
            let mut packets = Vec::new();
            self.read_piece(&payload, from_form, &mut packets);
            posted.extend(packets);
            if !self.weigh() {
                self.out.writes.push(asker.closing().answer(413, None, Bytes::new()));
                self.broke(kept_too_much());
                self.close(Reason::ForcedClose);
                return;
            }
        }
        let breaks = |packet: &Inbound| match packet {
            Inbound::Broken(_) => true,
            Inbound::Garbled(garbled) => garbled.error.is_fatal(),
            _ => false,
        };
        // The answer depends on all of them, also if they come in parts.
        if posted.begins() && posted.any(breaks) {
            posted.set_bad();
        }
        let out = match posted.next().into_iter().try_fold(self, At::receive) {
            Ok(_) if posted.goes_on() => return,
            Ok(at) => at.out,
            Err(ended) => {
                posted.drop_rest();
                ended.out
            }
        };
        out.writes.push(match posted.is_bad() {
            false => asker.answer(200, Some("text/plain"), "ok"),
            true => asker.answer(400, None, Bytes::new()),
        });
    }
}
