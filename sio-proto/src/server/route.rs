//! Which shard a request belongs to, and what comes with it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytestring::ByteString;

use super::{Core, Extension, Handshake, Outputs, Peer, Reason};
use crate::id::{SessionId, SidKey, address_of};
use crate::wire::Inbound;
use crate::{Config, LinkId, Time, detect, engine, http, legacy, socket};

/// A request on its way into a shard.
#[derive(Debug)]
pub struct Request {
    /// The request itself.
    pub http: http::Request,
    /// Who sent it.
    pub peer: Peer,
    /// What the application says to it. Looked at for requests that open a session.
    pub verdict: Verdict,
    /// What the caller has to say of it beside the request. Kept with the session that it opens ([`Handshake`](super::Handshake)).
    pub extension: Option<Extension>,
    /// The packets in its body, decoded where no lock is held.
    pub(crate) packets: Vec<Inbound>,
    /// What the session that it opens keeps of it, made where no lock is held.
    handshake: Option<Arc<Handshake>>,
}

impl Request {
    /// A request that the application has no objection to.
    #[must_use]
    pub const fn new(http: http::Request, peer: Peer) -> Self {
        Self {
            http,
            peer,
            verdict: Verdict::Allowed,
            extension: None,
            packets: Vec::new(),
            handshake: None,
        }
    }
}

/// What the application says to a request that would open a session (the `allowRequest` of genuine servers).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allowed,
    /// Refuse, with this message (docs/protocol/engine-io.md §4.5, code 4).
    Refused(ByteString),
}

/// Why a link closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The peer closed it in order: a Close frame, or the end of the stream.
    Closed,
    /// It failed: an I/O error, or a breach of the HTTP or WebSocket rules.
    Failed,
}

impl From<Cause> for Reason {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Closed => Self::TransportClose,
            Cause::Failed => Self::TransportError,
        }
    }
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// To the session's shard, by its index.
    Session(usize),
    /// To any shard: it opens a session, or is refused.
    New,
    /// To none: it is the application's own.
    Foreign,
}

/// Finds the shard for a request without looking into any: a session id says where it lives.
#[derive(Clone, Debug)]
pub struct Router {
    config: Arc<Config>,
    key: SidKey,
    shards: usize,
}

impl Router {
    /// A router for `shards` shards that were made with the same config and key.
    #[must_use]
    pub fn new(config: &Config, sid_key: [u8; 16], shards: usize) -> Self {
        Self {
            config: Arc::new(config.clone()),
            key: sid_key,
            shards,
        }
    }

    /// Whether a request with this target can be anything but [`Routed::Foreign`].
    #[must_use]
    pub fn concerns(&self, target: &str) -> bool {
        self.config.paths().any(|path| is_below(path, target))
    }

    /// The shard in which a socket with this id would be, whether the id is the public one or the one by which its client knows itself; `None` for what is
    /// no id of this server's.
    #[must_use]
    pub fn shard_of(&self, id: &str) -> Option<usize> {
        self.index_of(address_of(&self.key, id))
    }

    fn index_of(&self, address: Option<(u8, u32)>) -> Option<usize> {
        let shard = usize::from(address?.0);
        (shard < self.shards).then_some(shard)
    }

    /// Where `request` belongs.
    #[must_use]
    pub fn route(&self, request: &http::Request) -> Routed {
        match classify(&self.config, request).map(|kind| session_of(&kind)) {
            None => Routed::Foreign,
            Some(None) => Routed::New,
            Some(Some(id)) => {
                let address = SessionId::parse(id).and_then(|id| id.address(&self.key));
                self.index_of(address).map_or(Routed::New, Routed::Session)
            }
        }
    }
}

/// What a request is, as far as this config serves it.
pub(super) enum Kind<'a> {
    /// Engine.IO, or something that Engine.IO has to refuse.
    Engine {
        /// Whether the session is a raw one.
        raw: bool,
        route: detect::EngineIo<'a>,
    },
    Legacy09(detect::V1<'a>),
    /// What asks for a revision of the `/1/` wire that never was.
    UnknownProtocol,
    /// Plain messages, in the codec of this number.
    Legacy06(u8, detect::Legacy06<'a>),
}

/// Says what a request is; `None` if it is not ours.
///
/// A generation that is not served answers as a server without it: everything under the prefix is then an Engine.IO request, refused for
/// its missing transport. So is a path below the prefix that has a `transport`: the prefix test of genuine servers looks no further
/// (docs/protocol/engine-io.md §1).
pub(super) fn classify<'a>(config: &Config, request: &'a http::Request) -> Option<Kind<'a>> {
    let (path, generations) = (&*config.path, config.generations);
    let text = |name| request.headers.get(name).and_then(|v| core::str::from_utf8(v).ok());
    let upgrade = request.headers.has_token("upgrade", "websocket");
    let key_pair = ["sec-websocket-key1", "sec-websocket-key2"];
    let head = detect::RequestHead {
        method: request.method.name().unwrap_or("OTHER"),
        target: &request.target,
        upgrade,
        websocket_version: text("sec-websocket-version"),
        websocket_key: request.headers.get("sec-websocket-key").is_some(),
        websocket_key_pair: upgrade && key_pair.into_iter().all(|key| request.headers.get(key).is_some()),
    };
    let engine = |raw| {
        Some(Kind::Engine {
            raw,
            route: detect::engine_io(&head),
        })
    };
    if config
        .engine_path
        .as_deref()
        .is_some_and(|path| is_below(path, &request.target))
    {
        return engine(true);
    }
    let serves = |codec: u8, route: &detect::Legacy06<'_>| {
        generations.legacy06 && config.legacy.codec_at(codec).serves(route.transport)
    };
    for (codec, mount) in (1..).zip(&config.legacy.mounts) {
        if is_below(&mount.path, &request.target) {
            // There is nothing else on a mount: what it does not serve is the application's.
            return match detect::detect(&mount.path, &head) {
                detect::Route::Legacy06(route) if serves(codec, &route) => Some(Kind::Legacy06(codec, route)),
                _ => None,
            };
        }
    }
    if !is_below(path, &request.target) {
        return None;
    }
    match detect::detect(path, &head) {
        detect::Route::Static(_) => None,
        detect::Route::Legacy06(route) if serves(0, &route) => Some(Kind::Legacy06(0, route)),
        detect::Route::V1(route) if generations.legacy09 => Some(Kind::Legacy09(route)),
        detect::Route::UnknownProtocol if generations.legacy09 => Some(Kind::UnknownProtocol),
        detect::Route::Foreign if detect::engine_io(&head).transport == detect::EngineTransport::Unknown => None,
        detect::Route::EngineIo(_)
        | detect::Route::NotAProtocolRequest
        | detect::Route::V1(_)
        | detect::Route::UnknownProtocol
        | detect::Route::Legacy06(_)
        | detect::Route::Foreign => engine(false),
    }
}

fn is_below(prefix: &str, target: &str) -> bool {
    target.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

/// The session id a request names, if any.
fn session_of<'a>(kind: &Kind<'a>) -> Option<&'a str> {
    match kind {
        Kind::Engine { route, .. } => route.sid,
        Kind::Legacy09(detect::V1::Transport { session, .. } | detect::V1::Disconnect { session }) => Some(session),
        Kind::Legacy09(detect::V1::Handshake { maybe_beacon_of, .. }) => *maybe_beacon_of,
        Kind::Legacy09(detect::V1::Preflight | detect::V1::Malformed) | Kind::UnknownProtocol => None,
        Kind::Legacy06(_, route) => route.session,
    }
}

pub(super) fn handle_request(core: &mut Core, now: Time, link: LinkId, mut request: Request, out: &mut Outputs) {
    let config = Arc::clone(&core.config);
    core.links.clear(link);
    let packets = core::mem::take(&mut request.packets);
    core.counters.packets_in += packets.len() as u64;
    match classify(&config, &request.http) {
        Some(Kind::Engine { raw, route }) => {
            engine::session::handle_request(core, now, link, &request, packets, raw, &route, out);
        }
        Some(Kind::Legacy09(route)) => {
            legacy::v1::requests::handle_request(core, now, link, &request, packets, &route, out);
        }
        Some(Kind::UnknownProtocol) => legacy::v1::requests::refuse_protocol(link, &request.http, out),
        Some(Kind::Legacy06(codec, route)) => {
            legacy::requests::handle_request(core, now, link, &request, packets, codec, &route, out);
        }
        None => {
            let asker = super::http_answer::Asker::new(&config, link, &request.http);
            out.writes
                .push(asker.answer(404, Some("text/plain; charset=UTF-8"), "Not Found"));
        }
    }
}

pub(super) fn handle_body_started(core: &mut Core, link: LinkId, request: &Request, out: &mut Outputs) {
    let config = Arc::clone(&core.config);
    match classify(&config, &request.http) {
        Some(Kind::Engine { raw, route }) => {
            engine::session::handle_body_started(core, link, request, raw, &route, out);
        }
        Some(Kind::Legacy09(_) | Kind::UnknownProtocol | Kind::Legacy06(..)) | None => {}
    }
}

impl Request {
    /// Makes what the session keeps that this request may open: a copy of the head, and for clients before 3.0 the object that their query is. Call it where no lock is held, for
    /// requests that [`Router::route`] says are [`Routed::New`] and that are [allowed](Verdict::Allowed); the shard does it otherwise, under the caller's lock. The cost grows with
    /// the length of the head.
    pub fn prepare(&mut self, config: &Config, now: Time) {
        let parameters: &'static [&'static str] = match classify(config, &self.http) {
            Some(Kind::Engine { raw: false, route }) if route.version.revision() == Some(engine::Revision::V3) => {
                &socket::revision4::PARAMETERS
            }
            Some(Kind::Legacy09(_)) => &legacy::v1::session::PARAMETERS,
            Some(Kind::Engine { .. } | Kind::UnknownProtocol | Kind::Legacy06(..)) => &[],
            None => return,
        };
        self.handshake = Some(self.handshake(config, now, parameters));
    }

    /// What the session keeps that this request opens: what has been [prepared](Self::prepare), or made now.
    pub(crate) fn handshake(&self, config: &Config, now: Time, parameters: &'static [&'static str]) -> Arc<Handshake> {
        let prepared = self.handshake.clone();
        prepared.unwrap_or_else(|| Arc::new(Handshake::new(config, self, now, parameters)))
    }

    /// Decodes the packets in the body, for the wire that the request names. Call it where no lock is held, before the request goes to its
    /// shard; for requests that a [`Conn`](crate::conn::Conn) has read, it has been done.
    pub fn decode_body(&mut self, config: &Config) {
        let Ok(body) = &self.http.body else { return };
        if self.http.method != http::Method::Post {
            return;
        }
        let body = body.clone();
        self.packets = match classify(config, &self.http) {
            Some(Kind::Engine { raw, route }) => engine::session::decode_body(config, &self.http, raw, &route, body),
            Some(Kind::Legacy09(route)) => legacy::v1::requests::decode_body(config, &route, &body),
            Some(Kind::Legacy06(codec, route)) => legacy::payloads::decode_body(config, codec, &route, &body),
            Some(Kind::UnknownProtocol) | None => Vec::new(),
        };
    }
}
