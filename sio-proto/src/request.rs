//! A request: what it is, where it comes from, and what the session keeps of it that it opens. All
//! of this is found out once, where no lock is held.

mod handshake;
mod kind;
mod stranger;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytestring::ByteString;

use crate::reason::Reason;
use crate::wire::{self, Inbound};
use crate::{Config, Time, detect, engine, http};

pub use handshake::{Auth, Extension, Generation, Handshake, Peer, TransportKind};
pub(crate) use kind::{Findings, Kind};
pub(crate) use stranger::origin;
pub use stranger::{Strangeness, Stranger};

/// The parameters of a request that are Engine.IO's and not the application's.
const PARAMETERS_3: [&str; 6] = ["EIO", "transport", "sid", "t", "j", "b64"];

/// The parameters of a handshake that are the protocol's and not the application's.
const PARAMETERS_09: [&str; 3] = ["t", "jsonp", "disconnect"];

/// What the application says to a request that would open a session (the `allowRequest` of genuine
/// servers).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// Nobody has been asked. The request opens no session.
    #[default]
    NotAsked,
    /// Refuse, with this message (docs/protocol/engine-io.md §4.5, code 4).
    Refused(ByteString),
    /// Go on.
    Allowed,
}

/// A request on its way into a shard.
#[derive(Debug)]
pub struct Request {
    /// The request itself. What it is has been found out when this value was made: a change of its
    /// method, target or headers comes too late.
    pub http: http::Request,
    /// Who sent it.
    pub peer: Peer,
    /// What the application says to it. Looked at if it would open a session
    /// ([`Request::may_open_session`]): as long as nobody has been asked, it opens none.
    pub admission: Admission,
    /// What the caller has to say of it beside the request. Kept with the session that it opens
    /// ([`Handshake`]).
    pub extension: Option<Extension>,
    /// The packets in its body, decoded where no lock is held.
    pub(crate) packets: Vec<Inbound>,
    /// What the session that it opens keeps of it, made where no lock is held.
    handshake: Option<Arc<Handshake>>,

    findings: Findings,
}

impl Request {
    /// A request to which the application has said nothing yet. The config is that of the shard it
    /// will go to, as validated.
    ///
    /// What the request is, and whether its page may ask, is found out here, once. The cost before
    /// any limit but those of [`http::Limits`]: a few walks over target and header fields.
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

    /// Whether it may open a session, so that the application has to be asked
    /// ([`Request::admission`]). It may also if it seems to name a session: in the older
    /// generations only the table of sessions tells an id from a timestamp, and a beacon from a
    /// handshake.
    #[must_use]
    pub const fn may_open_session(&self) -> bool {
        self.findings.kind.may_open(self.http.method)
    }

    /// What the session keeps that it may open, if that has been made.
    #[cfg(feature = "transcript")]
    pub(crate) const fn prepared(&self) -> Option<&Arc<Handshake>> {
        self.handshake.as_ref()
    }

    /// Why it is refused for where it comes from, if it is ([`Config::hosts`],
    /// [`Config::origins`]). Where nothing depends on it, it counts as refused.
    pub(crate) const fn stranger(&self) -> Option<Strangeness> {
        self.findings.stranger
    }

    /// Whether its page may read the answer, where CORS is for some pages and not for others.
    pub(crate) const fn may_read(&self) -> bool {
        self.findings.may_read
    }

    /// The same if its answer is a script.
    pub(crate) const fn script_stranger(&self) -> Option<Strangeness> {
        self.findings.script_stranger
    }

    /// What the user has to know of it, once it has been refused for where it comes from.
    pub(crate) fn describe(&self, why: Strangeness) -> Box<Stranger> {
        Stranger::new(&self.http, why)
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

impl Request {
    /// Makes what the session keeps that this request may open: a copy of the head, and for clients
    /// before 3.0 the object that their query is. Call it where no lock is held, for requests that
    /// [`Router::route`](crate::server::Router::route) says are
    /// [`Routed::New`](crate::server::Routed::New) and that are [allowed](Admission::Allowed); the
    /// shard does it otherwise, under the caller's lock.
    ///
    /// The cost before any limit but those of [`http::Limits`]: a few walks over head and query,
    /// and a sort of at most [`http::Query::MAX_PAIRS`] pairs.
    pub fn prepare(&mut self, config: &Config, now: Time) {
        self.handshake = Some(self.handshake(config, now));
    }

    /// What the session keeps that this request opens: what has been [prepared](Self::prepare), or
    /// made now.
    pub(crate) fn handshake(&self, config: &Config, now: Time) -> Arc<Handshake> {
        let parameters: &'static [&'static str] = match self.findings.kind {
            Kind::Engine { raw: false, route, .. } if route.version.revision() == Some(engine::Revision::V3) => {
                &PARAMETERS_3
            }
            Kind::Legacy09(_) => &PARAMETERS_09,
            Kind::Engine { .. } | Kind::UnknownProtocol | Kind::Legacy06(..) | Kind::Foreign => &[],
        };
        let prepared = self.handshake.clone();
        prepared.unwrap_or_else(|| Arc::new(Handshake::new(config, self, now, parameters)))
    }

    /// Decodes the packets in the body, for the wire that the request names. Call it where no lock
    /// is held, before the request goes to its shard; for requests that a
    /// [`Conn`](crate::conn::Conn) has read, it has been done.
    pub fn decode_body(&mut self, config: &Config) {
        let Ok(body) = &self.http.body else { return };
        if self.http.method != http::Method::Post {
            return;
        }
        let body = body.clone();
        self.packets = match self.findings.kind {
            Kind::Engine { raw, route, .. } => wire::engine::decode_body(config, &self.http, raw, &route, body),
            Kind::Legacy09(route) => wire::legacy09::decode_body(config, &route, &body),
            Kind::Legacy06(codec, route) => wire::legacy06::decode_body(config, codec, &route, &body),
            Kind::UnknownProtocol | Kind::Foreign => Vec::new(),
        };
    }
}
