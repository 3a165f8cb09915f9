//! Requests: which are refused, in which order, and how a session begins
//! (docs/protocol/engine-io.md §4.1, §4.5).

use bytes::{BufMut, Bytes, BytesMut};

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::{Arrival, At, Engine, Rare, Revision, revision_of};
use crate::detect::{EngineTransport, EngineVersion};
use crate::digits::put_decimal;
use crate::request::Refusing;
use crate::server::{
    Admitted, Alarm, Asker, Delivery, Denied, Input, Posted, Role, Session, Shard, Strangeness, TransportKind, Upgrade,
    Write, accept_websocket, is_secure, preflight,
};
use crate::wire::Wire;
use crate::{Config, Frame, LinkId, SessionKey, http, json};

/// The errors of docs/protocol/engine-io.md §4.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    TransportUnknown,
    SessionUnknown,
    BadHandshakeMethod,
    BadRequest,
    Forbidden(ByteString),
    /// Refused because of the host or page of the request.
    Stranger(Strangeness),
    UnsupportedVersion,
}

impl Refusal {
    fn code_and_message(&self) -> (u8, &str) {
        match self {
            Self::TransportUnknown => (0, "Transport unknown"),
            Self::SessionUnknown => (1, "Session ID unknown"),
            Self::BadHandshakeMethod => (2, "Bad handshake method"),
            Self::BadRequest => (3, "Bad request"),
            Self::Forbidden(message) => (4, message),
            Self::Stranger(_) => (4, "Forbidden"),
            Self::UnsupportedVersion => (5, "Unsupported protocol version"),
        }
    }

    /// The setting that decides, for an operator who looks at the answer. Clients read only `code`
    /// and `message`.
    const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Stranger(why) => Some(why.explain()),
            _ => None,
        }
    }

    /// The fault, for the application. It says more than the message for the client.
    const fn context(&self) -> Option<&'static str> {
        Some(match self {
            Self::Stranger(why) => why.explain(),
            Self::TransportUnknown => "the request names no transport that Config::transports offers",
            Self::SessionUnknown => "no session of this process has this id: it may have ended",
            Self::BadHandshakeMethod => "a session is opened by GET",
            Self::BadRequest => "the request does not fit its session, or its headers are malformed",
            Self::Forbidden(_) => "the application has not allowed the request",
            Self::UnsupportedVersion => "Config::generations does not serve this revision of Engine.IO",
        })
    }

    /// The report to the application.
    fn told(&self, upgrade: bool) -> Refusing<'_> {
        let (code, message) = self.code_and_message();
        Refusing {
            status: self.status(upgrade),
            code: Some(code),
            message: message.as_bytes(),
            context: self.context(),
        }
    }

    fn status(&self, upgrade: bool) -> u16 {
        match self.code_and_message() {
            (4, _) if !upgrade => 403,
            _ => 400,
        }
    }

    /// On an upgrade the answer is plain text, its status is always 400, and the connection ends.
    /// Otherwise it is JSON.
    pub(super) fn answer(&self, asker: Asker, upgrade: bool) -> Write {
        let (code, message) = self.code_and_message();
        if upgrade {
            let body = match self.hint() {
                Some(hint) => Bytes::from(format!("{message}: {hint}").into_bytes()),
                None => Bytes::copy_from_slice(message.as_bytes()),
            };
            return asker.closing().answer(self.status(upgrade), Some("text/html"), body);
        }
        let mut body = BytesMut::new();
        body.put_slice(format!("{{\"code\":{code},\"message\":").as_bytes());
        json::write_string(&mut body, message);
        if let Some(hint) = self.hint() {
            body.put_slice(b",\"hint\":");
            json::write_string(&mut body, hint);
        }
        body.put_u8(b'}');
        asker.answer(self.status(upgrade), Some("application/json"), body.freeze())
    }
}

/// The purpose of a request that passed the checks.
pub(super) enum Purpose<'a> {
    Open(Admitted<'a>, Revision, TransportKind),
    Use(SessionKey),
    Upgrade(SessionKey),
}

impl<'a> Arrival<'a> {
    /// A complete request.
    pub(crate) fn handle(&self, input: &mut Input<'_>, link: LinkId, posted: &mut Posted) {
        let &Arrival { request, upgrade, .. } = self;
        if let Some(answer) = preflight(&input.shard.core.config, link, request) {
            input.out.writes.push(answer);
            return;
        }
        let asker = Asker::new(&input.shard.core.config, link, request);
        match self.check(input.shard) {
            Err(refusal) => {
                if let Refusal::Stranger(why) = refusal {
                    input.out.deliveries.push(Delivery::Stranger(request.describe(why)));
                }
                input.tell_connection_error(request, refusal.told(upgrade));
                input.out.writes.push(refusal.answer(asker, upgrade));
            }
            Ok(Purpose::Open(admitted, revision, TransportKind::WebSocket)) => {
                self.open_websocket(input, asker, admitted, revision);
            }
            Ok(Purpose::Open(admitted, revision, _)) => self.open_polling(input, asker, admitted, revision),
            Ok(Purpose::Upgrade(session)) => {
                input.at(session, |mut at: At<'_>| {
                    at.came_back();
                    at.attach_candidate(asker, self);
                });
            }
            Ok(Purpose::Use(session)) => {
                input.at(session, |mut at: At<'_>| {
                    at.came_back();
                    at.serve(asker, self, posted);
                });
            }
        }
    }

    /// The checks, in the order of genuine servers (docs/protocol/engine-io.md §4.5).
    pub(super) fn check(&self, shard: &Shard) -> Result<Purpose<'a>, Refusal> {
        let &Arrival {
            request,
            upgrade,
            route,
            ..
        } = self;
        let transport = self.transport(&shard.core.config)?;
        let has_control = |value: &[u8]| value.iter().any(|&b| b < 0x20 && b != b'\t' || b == 0x7f);
        if request.http.headers.known(http::Name::Origin).is_some_and(has_control) {
            return Err(Refusal::BadRequest);
        }
        if route.sid.is_some() {
            // This is checked before the session is looked up, so that a page of another site
            // cannot even learn whether the session exists.
            welcome(request.stranger())?;
            return self.check_session(shard, transport);
        }
        if request.http.method != http::Method::Get {
            return Err(Refusal::BadHandshakeMethod);
        }
        if transport == TransportKind::WebSocket && !upgrade {
            return Err(Refusal::BadRequest);
        }
        welcome(request.stranger())?;
        let admitted = request.admit().map_err(|denied| {
            Refusal::Forbidden(match denied {
                Denied::Origin | Denied::Application(None) => ByteString::from_static("Forbidden"),
                Denied::Application(Some(message)) => message.clone(),
            })
        })?;
        let generations = &shard.core.config.generations;
        let revision = route.version.revision().filter(|revision| match revision {
            Revision::V4 => generations.engine4,
            Revision::V3 => generations.engine3,
        });
        let revision = revision.ok_or(Refusal::UnsupportedVersion)?;
        Ok(Purpose::Open(
            admitted,
            revision,
            if upgrade { TransportKind::WebSocket } else { transport },
        ))
    }

    /// The transport that the request names, if the server offers it.
    fn transport(&self, config: &Config) -> Result<TransportKind, Refusal> {
        let route = &self.route;
        let offers_form = config.transports.jsonp || route.jsonp.is_none();
        match route.transport {
            EngineTransport::Polling if config.transports.polling && offers_form => Ok(TransportKind::Polling),
            EngineTransport::Websocket if config.transports.websocket => Ok(TransportKind::WebSocket),
            // Flashsocket is a websocket under another name. Only Socket.IO 1 has it
            // (docs/protocol/detection.md §2).
            EngineTransport::Flashsocket
                if config.transports.websocket && route.version.revision() == Some(Revision::V3) =>
            {
                Ok(TransportKind::WebSocket)
            }
            _ => Err(Refusal::TransportUnknown),
        }
    }

    /// The checks of a request that names a session.
    fn check_session(&self, shard: &Shard, transport: TransportKind) -> Result<Purpose<'a>, Refusal> {
        let found = shard.requested_session(self.request);
        let found = found.filter(|(_, session)| is_ours(session, self.raw));
        let (key, session) = found.ok_or(Refusal::SessionUnknown)?;
        if !self.upgrade && (session.transport != transport || transport == TransportKind::WebSocket) {
            return Err(Refusal::BadRequest);
        }
        if !self.upgrade && is_jsonp(session) {
            // The answers are scripts, whatever the request says (docs/protocol/engine-io.md §4.6).
            welcome(self.request.script_stranger())?;
        }
        // The handshake fixes the revision. The body of a request that names another revision would
        // be read by the wrong rules.
        if Some(claimed(self.route.version)) != revision_of(session) {
            return Err(Refusal::BadRequest);
        }
        Ok(match self.upgrade {
            true => Purpose::Upgrade(key),
            false => Purpose::Use(key),
        })
    }

    fn open_polling(&self, input: &mut Input<'_>, mut asker: Asker, admitted: Admitted<'_>, revision: Revision) {
        let Some(permit) = input.permit(admitted) else {
            let asker = input.shard.core.turned_away(asker);
            return input.out.writes.push(asker.answer(503, None, Bytes::new()));
        };
        let transport = TransportKind::Polling;
        let engine = self.engine(input, revision, transport);
        input.open(permit, transport, None, engine, |mut at: At<'_>| {
            at.begin(self);
            if let Some(cookie) = at.set_cookie(self) {
                asker.header("Set-Cookie", cookie);
            }
            // If the GET is answered at once, the open packet goes alone. Otherwise the GET is
            // answered when the turn is over, with the packets of the application until then: if it
            // lets the client in at once, the answer also has a `40`, as from genuine servers of
            // 2.x without a middleware.
            match revision {
                Revision::V3 if at.core.config.engine3_connect_at_once && !self.raw => _ = at.poll(asker),
                Revision::V3 | Revision::V4 => at.answer_poll(asker, Vec::new()),
            }
        });
    }

    fn open_websocket(&self, input: &mut Input<'_>, asker: Asker, admitted: Admitted<'_>, revision: Revision) {
        let &Arrival {
            request, raw, route, ..
        } = self;
        let link = asker.link;
        let (accept, headers) = match accept_websocket(asker, &request.http) {
            Ok(accepted) => accepted,
            Err(refusal) => return input.out.writes.push(refusal),
        };
        if route.transport == EngineTransport::Polling {
            // Genuine servers accept the websocket and close it at once (docs/protocol/engine-io.md
            // §4.5).
            let wire = wire(revision, true);
            let upgrade = Upgrade { accept, headers, wire };
            input.out.writes.push(Write::Upgrade(link, Box::new(upgrade)));
            input.out.writes.push(Write::Close(link, None));
            return;
        }
        let Some(permit) = input.permit(admitted) else {
            let asker = Asker::new(&input.shard.core.config, link, request).closing();
            return input.out.writes.push(asker.answer(503, None, Bytes::new()));
        };
        let transport = TransportKind::WebSocket;
        let engine = self.engine(input, revision, transport);
        input.open(permit, transport, Some(link), engine, |mut at: At<'_>| {
            at.begin(self);
            at.core.links.set(link, at.key, Role::WebSocket);
            let wire = wire(revision, raw);
            let upgrade = Upgrade { accept, headers, wire };
            at.out.writes.push(Write::Upgrade(link, Box::new(upgrade)));
        });
    }

    /// The part of Engine.IO in a new session.
    fn engine(&self, input: &Input<'_>, revision: Revision, transport: TransportKind) -> Engine {
        let config = &input.shard.core.config;
        // The value is decoded first: the digits of `1%29` are 1, not 129.
        let jsonp = self.route.jsonp.filter(|_| transport == TransportKind::Polling);
        let rare = jsonp.map(|index| {
            let index = http::decode_value(self.request.text(index));
            Box::new(Rare {
                jsonp: Some(Box::from(&*index)),
                ..Rare::default()
            })
        });
        Engine {
            revision,
            dialect: config.dialect,
            raw: self.raw,
            joined: false,
            beat: 0,
            attempt: 0,
            candidate: None,
            polled_late: false,
            rare,
            leaving: false,
        }
    }
}

impl At<'_> {
    /// A request of the session's transport.
    fn serve(self, asker: Asker, arrival: &Arrival<'_>, posted: &mut Posted) {
        match arrival.request.http.method {
            http::Method::Get => _ = self.poll(asker),
            http::Method::Post => self.post(asker, arrival, posted),
            // A preflight that is not needed. Older servers answer it, and newer servers refuse it
            // (docs/protocol/engine-io.md §4.4).
            http::Method::Options if revision_of(self.session) == Some(Revision::V3) => {
                self.out.writes.push(asker.answer(200, None, Bytes::new()));
            }
            _ => self.out.writes.push(asker.answer(500, None, Bytes::new())),
        }
    }

    /// The session has been opened by this request: its open packet is queued, and its first
    /// deadlines begin.
    fn begin(&mut self, arrival: &Arrival<'_>) {
        let &Arrival { raw, route, .. } = arrival;
        let revision = self.engine().revision;
        // In revision 4, polls write binary as base64 when they are put together, so the flag has
        // no effect there (docs/protocol/engine-io.md §1).
        let is_websocket = self.session.transport == TransportKind::WebSocket;
        self.session.adapts = route.base64 && (revision == Revision::V3 || is_websocket);
        let frame = self.open_packet(revision);
        self.push_control(frame);
        match revision {
            Revision::V4 => self.next_heartbeat(),
            // The client pings (docs/protocol/engine-io.md §6).
            Revision::V3 => {
                self.stay_until_silent();
                let silent_until = self.session.silent_until();
                self.core.timers.arm_at(silent_until, Alarm::PingTimeout, self.key, 0);
            }
        }
        if raw {
            let handshake = Arc::clone(&self.session.handshake);
            let session = self.key;
            self.out.deliveries.push(Delivery::EngineOpen { session, handshake });
            return;
        }
        self.core.timers.arm(self.now, Alarm::Connect, self.key, 0);
        if revision == Revision::V3 {
            self.connect_implicitly();
        }
    }

    fn open_packet(&mut self, revision: Revision) -> Frame {
        let (config, buffer) = (&self.core.config, &mut self.core.buffer);
        let sid = self.session.id.base64();
        let polls = self.session.transport == TransportKind::Polling;
        let can_upgrade = polls && config.allow_upgrades && config.transports.websocket;
        Frame::text(buffer, |b| {
            b.put_slice(b"0{\"sid\":\"");
            b.put_slice(&sid);
            b.put_slice(match can_upgrade {
                true => b"\",\"upgrades\":[\"websocket\"],\"pingInterval\":",
                false => b"\",\"upgrades\":[],\"pingInterval\":",
            });
            put_decimal(millis(config.ping_interval), b);
            b.put_slice(b",\"pingTimeout\":");
            put_decimal(millis(config.ping_timeout), b);
            // Clients of revision 3 do not know this field.
            if revision == Revision::V4 {
                b.put_slice(b",\"maxPayload\":");
                put_decimal(config.max_payload as u64, b);
            }
            b.put_u8(b'}');
        })
    }

    /// The cookie that the answer to the handshake sets, if the settings have one.
    fn set_cookie(&self, arrival: &Arrival<'_>) -> Option<ByteString> {
        let config = &self.core.config;
        let cookie = config.cookie.as_ref()?;
        let id = self.session.id.base64();
        let id = core::str::from_utf8(&id).unwrap_or_default();
        Some(cookie.write(id, is_secure(config, arrival.request)).into())
    }
}

/// A time in milliseconds. One that 64 bits cannot count is longer than any process lives.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The revision of a request for a session. Genuine servers treat everything except `EIO=4` as
/// revision 3 (docs/protocol/engine-io.md §0).
const fn claimed(version: EngineVersion) -> Revision {
    match version {
        EngineVersion::V4 => Revision::V4,
        EngineVersion::V3 | EngineVersion::V2 | EngineVersion::Ancient | EngineVersion::Unsupported => Revision::V3,
    }
}

fn welcome(stranger: Option<Strangeness>) -> Result<(), Refusal> {
    stranger.map_or(Ok(()), |why| Err(Refusal::Stranger(why)))
}

/// Whether the session's polls are answered with scripts.
fn is_jsonp(session: &Session) -> bool {
    session.wiring.engine().is_some_and(|engine| engine.jsonp().is_some())
}

fn is_ours(session: &Session, raw: bool) -> bool {
    session.wiring.engine().is_some_and(|engine| engine.raw == raw)
}

pub(super) const fn wire(revision: Revision, raw: bool) -> Wire {
    match (revision, raw) {
        (Revision::V4, false) => Wire::Engine4,
        (Revision::V4, true) => Wire::Engine4Raw,
        (Revision::V3, false) => Wire::Engine3,
        (Revision::V3, true) => Wire::Engine3Raw,
    }
}
