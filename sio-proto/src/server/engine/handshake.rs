//! Requests: what is refused, in which order, and how a session begins (docs/protocol/engine-io.md
//! §4.1, §4.5).

use bytes::{BufMut, Bytes, BytesMut};

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::{
    Admitted, Alarm, Arrival, Asker, Config, Core, Delivery, Denied, Engine, EngineTransport, EngineVersion, Frame,
    Inbound, LinkId, Outputs, Revision, Role, Time, TransportKind, Upgrade, Wire, Wiring, Write, accept_websocket,
    answer_poll, attach_candidate, http, json, poll, post, preflight, revision_of, revision4,
};
use crate::id::SessionSlot;
use crate::server::{Session, Strangeness, is_secure};

/// The errors of docs/protocol/engine-io.md §4.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    TransportUnknown,
    SessionUnknown,
    BadHandshakeMethod,
    BadRequest,
    Forbidden(ByteString),
    /// For where the request comes from.
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

    /// Which setting decides, for whoever runs the server and looks at the answer. Clients read
    /// `code` and `message` only.
    const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Stranger(why) => Some(why.explain()),
            _ => None,
        }
    }

    /// Plain text on an upgrade, which is always 400 and always the end of the connection; JSON
    /// otherwise.
    pub(super) fn answer(&self, asker: Asker, upgrade: bool) -> Write {
        let (code, message) = self.code_and_message();
        if upgrade {
            let body = match self.hint() {
                Some(hint) => Bytes::from(format!("{message}: {hint}").into_bytes()),
                None => Bytes::copy_from_slice(message.as_bytes()),
            };
            return asker.closing().answer(400, Some("text/html"), body);
        }
        let mut body = BytesMut::new();
        body.put_slice(format!("{{\"code\":{code},\"message\":").as_bytes());
        json::write_string(&mut body, message);
        if let Some(hint) = self.hint() {
            body.put_slice(b",\"hint\":");
            json::write_string(&mut body, hint);
        }
        body.put_u8(b'}');
        asker.answer(
            if code == 4 { 403 } else { 400 },
            Some("application/json"),
            body.freeze(),
        )
    }
}

/// What a request that passed the checks is for.
pub(super) enum Purpose<'a> {
    Open(Admitted<'a>, Revision, TransportKind),
    Use(SessionSlot),
    Upgrade(SessionSlot),
}

pub(crate) fn handle_request(
    core: &mut Core,
    now: Time,
    link: LinkId,
    arrival: &Arrival<'_>,
    packets: Vec<Inbound>,
    out: &mut Outputs,
) {
    let config = Arc::clone(&core.config);
    let &Arrival { request, upgrade, .. } = arrival;
    if let Some(answer) = preflight(&config, link, request) {
        out.writes.push(answer);
        return;
    }
    let asker = Asker::new(&config, link, request);
    match check(core, &config, arrival) {
        Err(refusal) => {
            if let Refusal::Stranger(why) = refusal {
                out.deliveries.push(Delivery::Stranger(request.describe(why)));
            }
            out.writes.push(refusal.answer(asker, upgrade));
        }
        Ok(Purpose::Open(admitted, revision, transport)) => {
            let opening = Opening {
                revision,
                transport,
                arrival,
            };
            match transport {
                TransportKind::WebSocket => open_websocket(core, now, asker, admitted, &opening, out),
                _ => open_polling(core, now, asker, admitted, &opening, out),
            }
        }
        Ok(Purpose::Upgrade(slot)) => {
            core.came_back(slot);
            attach_candidate(core, now, slot, asker, arrival, out);
        }
        Ok(Purpose::Use(slot)) => {
            core.came_back(slot);
            match request.http.method {
                http::Method::Get => poll(core, slot, asker, out),
                http::Method::Post => post(core, now, slot, asker, arrival, packets, out),
                // A preflight that nobody has asked for: older servers answer, newer ones do not
                // know what to do (docs/protocol/engine-io.md §4.4).
                http::Method::Options
                    if core
                        .sessions
                        .get(slot)
                        .is_some_and(|session| revision_of(session) == Some(Revision::V3)) =>
                {
                    out.writes.push(asker.answer(200, None, Bytes::new()));
                }
                _ => out.writes.push(asker.answer(500, None, Bytes::new())),
            }
        }
    }
}

/// The checks, in the order of genuine servers (docs/protocol/engine-io.md §4.5).
pub(super) fn check<'a>(core: &Core, config: &Config, arrival: &Arrival<'a>) -> Result<Purpose<'a>, Refusal> {
    let &Arrival {
        request,
        raw,
        upgrade,
        route,
    } = arrival;
    let offers_form = config.transports.jsonp || route.jsonp.is_none();
    let transport = match route.transport {
        EngineTransport::Polling if config.transports.polling && offers_form => TransportKind::Polling,
        EngineTransport::Websocket if config.transports.websocket => TransportKind::WebSocket,
        // A websocket by another name, which Socket.IO 1 has (docs/protocol/detection.md §2).
        EngineTransport::Flashsocket
            if config.transports.websocket && route.version.revision() == Some(Revision::V3) =>
        {
            TransportKind::WebSocket
        }
        _ => return Err(Refusal::TransportUnknown),
    };
    if request
        .http
        .headers
        .get("origin")
        .is_some_and(|o| o.iter().any(|&b| b < 0x20 && b != b'\t' || b == 0x7f))
    {
        return Err(Refusal::BadRequest);
    }
    if let Some(sid) = route.sid {
        // Asked before the session is looked for, so that a page of another site cannot even learn
        // whether there is one.
        welcome(request.stranger())?;
        let found = core.find_session(request.text(sid));
        let found = found.filter(|slot| is_ours(core, *slot, raw));
        let slot = found.ok_or(Refusal::SessionUnknown)?;
        let session = core.sessions.get(slot).ok_or(Refusal::SessionUnknown)?;
        if !upgrade && (session.transport != transport || transport == TransportKind::WebSocket) {
            return Err(Refusal::BadRequest);
        }
        if !upgrade && is_jsonp(session) {
            // Its answers are scripts, whatever the request says (docs/protocol/engine-io.md §4.6).
            welcome(request.script_stranger())?;
        }
        // The revision is that of the handshake; what a request says otherwise is read by the wrong
        // rules.
        if Some(claimed(route.version)) != revision_of(session) {
            return Err(Refusal::BadRequest);
        }
        return Ok(match upgrade {
            true => Purpose::Upgrade(slot),
            false => Purpose::Use(slot),
        });
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
    let revision = route.version.revision().filter(|revision| match revision {
        Revision::V4 => config.generations.engine4,
        Revision::V3 => config.generations.engine3,
    });
    let revision = revision.ok_or(Refusal::UnsupportedVersion)?;
    Ok(Purpose::Open(
        admitted,
        revision,
        if upgrade { TransportKind::WebSocket } else { transport },
    ))
}

/// The revision that a request for a session is of: everything but `EIO=4` is 3 to genuine servers
/// (docs/protocol/engine-io.md §0).
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
    session.wiring.engine().is_some_and(|engine| engine.jsonp.is_some())
}

fn is_ours(core: &Core, slot: SessionSlot, raw: bool) -> bool {
    let engine = core.sessions.get(slot).and_then(|session| session.wiring.engine());
    engine.is_some_and(|engine| engine.raw == raw)
}

/// A request that opens a session.
struct Opening<'a> {
    revision: Revision,
    transport: TransportKind,
    arrival: &'a Arrival<'a>,
}

fn open_polling(
    core: &mut Core,
    now: Time,
    mut asker: Asker,
    admitted: Admitted<'_>,
    opening: &Opening<'_>,
    out: &mut Outputs,
) {
    let Some(slot) = open(core, now, None, admitted, opening, out) else {
        out.writes.push(asker.answer(503, None, Bytes::new()));
        return;
    };
    if let Some(cookie) = set_cookie(core, slot, is_secure(&core.config, opening.arrival.request)) {
        asker.header("Set-Cookie", cookie);
    }
    // Answered at once, the open packet goes alone. Else it is answered when the turn is over, with
    // what the application has to say by then: if it lets the client in at once, a `40`, as from
    // genuine servers of 2.x without a middleware.
    match opening.revision {
        Revision::V3 if core.config.engine3_connect_at_once && !opening.arrival.raw => poll(core, slot, asker, out),
        Revision::V3 | Revision::V4 => answer_poll(core, slot, asker, Vec::new(), out),
    }
}

fn open_websocket(
    core: &mut Core,
    now: Time,
    asker: Asker,
    admitted: Admitted<'_>,
    opening: &Opening<'_>,
    out: &mut Outputs,
) {
    let Arrival {
        request, raw, route, ..
    } = opening.arrival;
    let link = asker.link;
    let (accept, headers) = match accept_websocket(asker, &request.http) {
        Ok(accepted) => accepted,
        Err(refusal) => return out.writes.push(refusal),
    };
    if route.transport == EngineTransport::Polling {
        // Genuine servers agree to the websocket and close it at once (docs/protocol/engine-io.md
        // §4.5).
        out.writes.push(Write::Upgrade(
            link,
            Box::new(Upgrade {
                accept,
                headers,
                wire: Wire::Engine4Raw,
            }),
        ));
        out.writes.push(Write::Close(link, None));
        return;
    }
    let Some(slot) = open(core, now, Some(link), admitted, opening, out) else {
        out.writes.push(
            Asker::new(&core.config, link, request)
                .closing()
                .answer(503, None, Bytes::new()),
        );
        return;
    };
    core.links.set(link, core.key(slot), Role::WebSocket);
    out.writes.push(Write::Upgrade(
        link,
        Box::new(Upgrade {
            accept,
            headers,
            wire: wire(opening.revision, *raw),
        }),
    ));
    core.mark_ready(slot);
}

/// Makes a session and queues its open packet; `None` if there is no room for one.
fn open(
    core: &mut Core,
    now: Time,
    link: Option<LinkId>,
    admitted: Admitted<'_>,
    opening: &Opening<'_>,
    out: &mut Outputs,
) -> Option<SessionSlot> {
    let permit = core.permit(now, admitted, out)?;
    let &Opening {
        revision, transport, ..
    } = opening;
    let &Arrival {
        request, raw, route, ..
    } = opening.arrival;
    let silent_until = now + core.config.ping_interval + core.config.ping_timeout;
    // Decoded first: of `1%29` the digits are 1, not 129.
    let jsonp = route.jsonp.filter(|_| transport == TransportKind::Polling);
    let jsonp = jsonp.map(|index| http::decode_value(request.text(index)));
    let engine = Engine {
        revision,
        dialect: core.config.dialect,
        raw,
        joined: false,
        beat: 0,
        attempt: 0,
        candidate: None,
        polled_late: false,
        jsonp: jsonp.map(|index| Box::from(&*index)),
        left: Vec::new(),
        silent_until,
        leaving: false,
        farewell: None,
        queue: revision4::Queue::default(),
    };
    let slot = core.open_session(permit, transport, link, Wiring::Engine(engine));
    let key = core.key(slot);
    if let Some(session) = core.sessions.get_mut(slot) {
        // In revision 4 polls spell binary as base64 when they are put together, so there the flag
        // means nothing (docs/protocol/engine-io.md §1).
        session.adapts = route.base64 && (revision == Revision::V3 || transport == TransportKind::WebSocket);
    }
    let frame = open_packet(core, slot, revision, transport);
    core.push_control(slot, frame);
    match revision {
        Revision::V4 => core.timers.arm(now, Alarm::Ping, key, 0),
        // The client pings (docs/protocol/engine-io.md §6).
        Revision::V3 => core.timers.arm_at(silent_until, Alarm::PingTimeout, key, 0),
    }
    if raw {
        let handshake = core.sessions.get(slot).map(|session| Arc::clone(&session.handshake));
        out.deliveries.extend(handshake.map(|handshake| Delivery::EngineOpen {
            session: key,
            handshake,
        }));
        return Some(slot);
    }
    core.timers.arm(now, Alarm::Connect, key, 0);
    if revision == Revision::V3 {
        revision4::connect_implicitly(core, slot, out);
    }
    Some(slot)
}

fn open_packet(core: &mut Core, slot: SessionSlot, revision: Revision, transport: TransportKind) -> Frame {
    let config = Arc::clone(&core.config);
    let sid = core.sessions.get(slot).map(|s| s.id.base64()).unwrap_or_default();
    let can_upgrade = transport == TransportKind::Polling && config.allow_upgrades && config.transports.websocket;
    Frame::text(&mut core.buffer, |b| {
        b.put_slice(b"0{\"sid\":\"");
        b.put_slice(&sid);
        let rest = format!(
            "\",\"upgrades\":[{}],\"pingInterval\":{},\"pingTimeout\":{}",
            if can_upgrade { "\"websocket\"" } else { "" },
            config.ping_interval.as_millis(),
            config.ping_timeout.as_millis(),
        );
        b.put_slice(rest.as_bytes());
        // Nobody has told clients of revision 3, who would not know what to do with it.
        if revision == Revision::V4 {
            b.put_slice(format!(",\"maxPayload\":{}", config.max_payload).as_bytes());
        }
        b.put_u8(b'}');
    })
}

fn set_cookie(core: &Core, slot: SessionSlot, secure: bool) -> Option<ByteString> {
    let cookie = core.config.cookie.as_ref()?;
    let id = core.sessions.get(slot)?.id.base64();
    let id = core::str::from_utf8(&id).unwrap_or_default();
    Some(cookie.write(id, secure).into())
}

pub(super) const fn wire(revision: Revision, raw: bool) -> Wire {
    match (revision, raw) {
        (Revision::V4, false) => Wire::Engine4,
        (Revision::V4, true) => Wire::Engine4Raw,
        (Revision::V3, false) => Wire::Engine3,
        (Revision::V3, true) => Wire::Engine3Raw,
    }
}
