//! Which shard a request belongs to, and what comes with it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::admission::Admission;
use super::kind::{Findings, Kind};
use super::{
    Core, Delivery, Extension, Handshake, Outputs, Peer, Reason, Strangeness, Stranger, engine, legacy06, legacy09,
};
use crate::id::{SessionId, SidKey, address_of};
use crate::wire::Inbound;
use crate::{Config, LinkId, Time, detect, http, legacy};

/// A request on its way into a shard.
#[derive(Debug)]
pub struct Request {
    /// The request itself. What it is has been found out when this value was made: a change of its method, target or headers comes too late.
    pub http: http::Request,
    /// Who sent it.
    pub peer: Peer,
    /// What the application says to it. Looked at if it would open a session ([`Request::may_open_session`]): as long as nobody has been
    /// asked, it opens none.
    pub admission: Admission,
    /// What the caller has to say of it beside the request. Kept with the session that it opens ([`Handshake`](super::Handshake)).
    pub extension: Option<Extension>,
    /// The packets in its body, decoded where no lock is held.
    pub(crate) packets: Vec<Inbound>,
    /// What the session that it opens keeps of it, made where no lock is held.
    handshake: Option<Arc<Handshake>>,

    findings: Findings,
}

impl Request {
    /// A request to which the application has said nothing yet. The config is that of the shard it will go to, as validated.
    ///
    /// What the request is, and whether its page may ask, is found out here, once. The cost before any limit but those of
    /// [`http::Limits`]: a few walks over target and header fields.
    #[must_use]
    pub fn new(config: &Config, mut http: http::Request, peer: Peer) -> Self {
        http.take_origin_form();
        let findings = Findings::of(config, &http, &peer);
        Self::with_findings(findings, http, peer)
    }

    /// A request whose head has been looked at when its body began.
    pub(crate) const fn with_findings(findings: Findings, http: http::Request, peer: Peer) -> Self {
        Self {
            http,
            peer,
            admission: Admission::NotAsked,
            extension: None,
            packets: Vec::new(),
            handshake: None,

            findings,
        }
    }

    pub(crate) const fn findings(&self) -> Findings {
        self.findings
    }

    /// Sets [`Request::admission`](#structfield.admission).
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// Whether it may open a session, so that the application has to be asked ([`Request::admission`]). It may also if it seems to name a
    /// session: in the older generations only the table of sessions tells an id from a timestamp, and a beacon from a handshake.
    #[must_use]
    pub const fn may_open_session(&self) -> bool {
        self.findings.kind.may_open(self.http.method)
    }

    /// Why it is refused for where it comes from, if it is ([`Config::hosts`], [`Config::origins`]). Where nothing depends on it, it counts
    /// as refused.
    pub(crate) const fn stranger(&self) -> Option<Strangeness> {
        self.findings.stranger
    }

    /// The same if its answer is a script.
    pub(crate) const fn script_stranger(&self) -> Option<Strangeness> {
        self.findings.script_stranger
    }

    /// Tells the user of it, once it has been refused for where it comes from.
    pub(crate) fn describe(&self, why: Strangeness) -> Delivery {
        Delivery::Stranger(Stranger::new(&self.http, why))
    }

    /// The text that a part of its target names.
    pub(crate) fn text(&self, part: detect::Part) -> &str {
        part.of(&self.http.target)
    }
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
        let target = http::origin_form(target);
        self.config.paths().any(|path| self.config.is_below(path, target))
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
    pub fn route(&self, request: &Request) -> Routed {
        if request.findings.kind == Kind::Foreign {
            return Routed::Foreign;
        }
        let id = request.findings.kind.session();
        let id = id.and_then(|id| SessionId::parse(request.text(id)));
        let address = id.and_then(|id| id.address(&self.key));
        self.index_of(address).map_or(Routed::New, Routed::Session)
    }
}

pub(super) fn handle_request(core: &mut Core, now: Time, link: LinkId, mut request: Request, out: &mut Outputs) {
    core.links.clear(link);
    let packets = core::mem::take(&mut request.packets);
    core.counters.packets_in += packets.len() as u64;
    match request.findings.kind {
        Kind::Engine { raw, upgrade, route } => {
            let arrival = engine::Arrival {
                request: &request,
                raw,
                upgrade,
                route,
            };
            engine::handle_request(core, now, link, &arrival, packets, out);
        }
        Kind::Legacy09(route) => legacy09::requests::handle_request(core, now, link, &request, packets, route, out),
        Kind::UnknownProtocol => legacy09::requests::refuse_protocol(link, &request.http, out),
        Kind::Legacy06(codec, route) => {
            legacy06::requests::handle_request(core, now, link, &request, packets, codec, route, out);
        }
        Kind::Foreign => {
            let asker = super::http_answer::Asker::new(&core.config, link, &request.http);
            out.writes
                .push(asker.answer(404, Some("text/plain; charset=UTF-8"), "Not Found"));
        }
    }
}

pub(super) fn handle_body_started(core: &mut Core, link: LinkId, request: &Request, out: &mut Outputs) {
    match request.findings.kind {
        Kind::Engine { raw, upgrade, route } => {
            let arrival = engine::Arrival {
                request,
                raw,
                upgrade,
                route,
            };
            engine::handle_body_started(core, link, &arrival, out);
        }
        Kind::Legacy09(_) | Kind::UnknownProtocol | Kind::Legacy06(..) | Kind::Foreign => {}
    }
}

impl Request {
    /// Makes what the session keeps that this request may open: a copy of the head, and for clients before 3.0 the object that their query is. Call it where no lock is held, for
    /// requests that [`Router::route`] says are [`Routed::New`] and that are [allowed](Admission::Allowed); the shard does it otherwise, under the caller's lock.
    ///
    /// The cost before any limit but those of [`http::Limits`]: a few walks over head and query, and a sort of at most [`http::Query::MAX_PAIRS`] pairs.
    pub fn prepare(&mut self, config: &Config, now: Time) {
        self.handshake = Some(self.handshake(config, now));
    }

    /// What the session keeps that this request opens: what has been [prepared](Self::prepare), or made now.
    pub(crate) fn handshake(&self, config: &Config, now: Time) -> Arc<Handshake> {
        let parameters: &'static [&'static str] = match self.findings.kind {
            Kind::Engine { raw: false, route, .. } if route.version.revision() == Some(crate::engine::Revision::V3) => {
                &engine::revision4::PARAMETERS
            }
            Kind::Legacy09(_) => &legacy09::PARAMETERS,
            Kind::Engine { .. } | Kind::UnknownProtocol | Kind::Legacy06(..) | Kind::Foreign => &[],
        };
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
        self.packets = match self.findings.kind {
            Kind::Engine { raw, route, .. } => engine::decode_body(config, &self.http, raw, &route, body),
            Kind::Legacy09(route) => legacy09::requests::decode_body(config, &route, &body),
            Kind::Legacy06(codec, route) => legacy::payloads::decode_body(config, codec, &route, &body),
            Kind::UnknownProtocol | Kind::Foreign => Vec::new(),
        };
    }
}
