//! A request: what it is, where it comes from, and what its session keeps of it. All of this is
//! found out once, while no lock is held.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod companion;
mod connection_error;
mod handshake;
mod kind;
mod packed;
mod packed_address;
mod stranger;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytestring::ByteString;

use crate::breach::Breach;
use crate::id::{SessionId, SidKey};
use crate::reason::Reason;
use crate::wire::{self, Inbound};
use crate::{Config, Time, detect, engine, http};

pub use companion::{Companion, HostSide, Tally};
pub use connection_error::ConnectionError;
pub(crate) use connection_error::Refusing;
use handshake::Parameters;
pub use handshake::{Auth, Extension, Generation, Handshake, Peer, TransportKind};
pub(crate) use kind::{Findings, Kind};
pub(crate) use stranger::origin;
pub use stranger::{Strangeness, Stranger};

/// The fewest bytes of a message in a stream of 0.6. The shortest frame has 7 bytes, and other
/// codecs may be shorter.
const LEAST_MESSAGE_BYTES: usize = 2;

/// The application's decision about a request that would open a session (the `allowRequest` of
/// genuine servers).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// Nobody has asked the application. The request opens no session.
    #[default]
    NotAsked,
    /// The request is refused with this message (docs/protocol/engine-io.md §4.5, code 4).
    Refused(ByteString),
    /// The request is allowed.
    Allowed,
}

/// The id of a session in a request, and the place that the id names. The id is read by the router,
/// and not again by the shard. The session at this place may have another id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedSession {
    pub(crate) id: SessionId,
    pub(crate) shard: u8,
    pub(crate) slot: u32,
}

impl NamedSession {
    /// Reads the id of a session. Returns `None` if no server with this key has written the id.
    pub(crate) fn read(key: &SidKey, id: &str) -> Option<Self> {
        let id = SessionId::parse(id)?;
        let (shard, slot) = id.address(key)?;
        Some(Self { id, shard, slot })
    }
}

/// A request on its way into a shard.
#[derive(Debug)]
pub struct Request {
    /// The HTTP request. It was classified when this value was made: later changes to its method,
    /// target or headers have no effect on the classification.
    pub http: http::Request,
    /// The sender.
    pub peer: Peer,
    /// The application's decision. It matters if the request would open a session
    /// ([`Request::may_open_session`]): without a decision, the request opens none.
    pub admission: Admission,
    /// A value of the caller that comes with the request. It is kept with the session that the
    /// request opens ([`Handshake`]).
    pub extension: Option<Extension>,
    /// Header fields that the application adds to the answer, also if it is an error. Default none.
    pub answer_headers: http::ResponseHeaders,
    /// The time when the request came, in seconds since the beginning of the year 1970, without
    /// leap seconds. It is kept with the session that the request opens
    /// ([`Handshake::unix_time`]). Default none: this crate reads no clock of dates.
    pub unix_time: Option<u64>,
    /// The packets in its body, decoded while no lock is held.
    pub(crate) packets: Vec<Inbound>,
    /// What the session keeps of the request, made while no lock is held.
    handshake: Option<Arc<Handshake>>,
    /// The session that the request names, once the router has read the id.
    pub(crate) named: Option<NamedSession>,
    /// The number of its head, if its connection remembers it.
    pub(crate) head: Option<u32>,

    findings: Findings,
}

impl Request {
    /// A request without a decision of the application. `config` is the validated config of the
    /// shard that will get the request.
    ///
    /// Here the request is classified, and its page is checked, once. The cost is a few walks over
    /// target and header fields. At this point only [`http::Limits`] have been checked.
    #[must_use]
    pub fn new(config: &Config, mut http: http::Request, peer: Peer) -> Self {
        http.take_origin_form();
        let findings = Findings::of(config, &http, &peer);
        Self::with_findings(findings, http, peer)
    }

    /// A request whose head was classified when its body began.
    #[inline(always)]
    pub(crate) const fn with_findings(findings: Findings, http: http::Request, peer: Peer) -> Self {
        Self {
            http,
            peer,
            admission: Admission::NotAsked,
            extension: None,
            answer_headers: http::ResponseHeaders::new(),
            unix_time: None,
            packets: Vec::new(),
            handshake: None,
            named: None,
            head: None,
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

    /// Whether the request may open a session, so that the application has to be asked
    /// ([`Request::admission`]). A request that seems to name a session may also open one: in the
    /// older generations, only the table of sessions distinguishes an id from a timestamp, and a
    /// beacon from a handshake.
    #[must_use]
    pub const fn may_open_session(&self) -> bool {
        self.findings.kind.may_open(self.http.method)
    }

    /// Why the request is refused because of its host or page, if it is ([`Config::hosts`],
    /// [`Config::origins`]). A request that cannot need the check counts as refused.
    pub(crate) const fn stranger(&self) -> Option<Strangeness> {
        self.findings.stranger
    }

    /// Whether the request is refused because of its host or page ([`Config::hosts`],
    /// [`Config::origins`]), whatever the application decides.
    #[must_use]
    pub const fn is_stranger(&self) -> bool {
        self.findings.stranger.is_some()
    }

    /// Whether its page may read the answer, if CORS allows some pages and not others.
    pub(crate) const fn may_read(&self) -> bool {
        self.findings.may_read
    }

    /// Why the request is refused if its answer is a script.
    pub(crate) const fn script_stranger(&self) -> Option<Strangeness> {
        self.findings.script_stranger
    }

    /// The refused request, for the application.
    pub(crate) fn refused(&self, refusing: Refusing<'_>) -> Box<ConnectionError> {
        ConnectionError::new(self, refusing)
    }

    /// The facts for the user about a request that was refused because of its host or page.
    pub(crate) fn describe(&self, why: Strangeness) -> Box<Stranger> {
        Stranger::new(&self.http, why)
    }

    /// Takes the packets of its body, to hand them over in parts
    /// ([`Shard::handle_part`](crate::server::Shard::handle_part)).
    #[must_use]
    pub fn take_packets(&mut self) -> Vec<Inbound> {
        core::mem::take(&mut self.packets)
    }

    /// How many packets its body has, or may have: a piece of a stream of 0.6 is read by its
    /// session, and counts as the most messages that it can hold. A body of Engine.IO without
    /// packets counts as one packet: the session may have another form than the request names.
    #[must_use]
    pub fn packets(&self) -> usize {
        match self.packets.last() {
            None => usize::from(self.is_engine_post()),
            Some(Inbound::Payload { payload, .. }) => {
                let most = payload.len() / LEAST_MESSAGE_BYTES;
                self.packets.len().saturating_add(most)
            }
            _ => self.packets.len(),
        }
    }

    /// The part of its target that names a session, if there is one.
    pub(crate) const fn session_part(&self) -> Option<detect::Part> {
        match self.findings.kind {
            Kind::Engine { route, .. } => route.sid,
            Kind::Legacy09(detect::Legacy09::Transport { session, .. }) => Some(session),
            Kind::Legacy06(_, route) => route.session,
            Kind::Legacy09(_) | Kind::UnknownProtocol | Kind::Foreign => None,
        }
    }

    /// Whether it is a POST of Engine.IO with a body.
    fn is_engine_post(&self) -> bool {
        matches!(self.findings.kind, Kind::Engine { .. })
            && self.http.method == http::Method::Post
            && self.http.body.as_ref().is_ok_and(|body| !body.is_empty())
    }

    /// Whether it belongs to no generation.
    pub(crate) fn is_foreign(&self) -> bool {
        self.findings.kind == Kind::Foreign
    }

    /// The text in the place of a session's id, if its target has such a place.
    pub(crate) fn session_id(&self) -> Option<&str> {
        self.findings.kind.session().map(|id| self.text(id))
    }

    /// The text of a part of its target.
    pub(crate) fn text(&self, part: detect::Part) -> &str {
        part.of(&self.http.target)
    }
}

/// Why a link closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The peer closed the link regularly: with a Close frame, or with the end of the stream.
    Closed,
    /// The link failed: an I/O error, or the caller has given up the link.
    Failed,
    /// The peer has broken a rule of HTTP or of WebSockets, so nothing more can be read.
    Broken(Breach),
}

impl From<Cause> for Reason {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Closed => Self::TransportClose,
            Cause::Failed | Cause::Broken(_) => Self::TransportError,
        }
    }
}

impl Request {
    /// Makes the part of the request that its session keeps: a copy of the head, and for clients
    /// before 3.0 the JSON object of their query. Call it while no lock is held, for requests that
    /// [`Router::route`](crate::server::Router::route) reports as
    /// [`Routed::New`](crate::server::Routed::New) and that are [allowed](Admission::Allowed).
    /// Otherwise the shard does it, under the caller's lock.
    ///
    /// The cost is a few walks over head and query, and a sort of at most
    /// [`http::Query::MAX_PAIRS`] pairs. At this point only [`http::Limits`] have been checked.
    pub fn prepare(&mut self, config: &Config, now: Time) {
        self.handshake = Some(self.handshake(config, now));
    }

    /// Returns what [`Request::prepare`] has made, if it was called.
    #[must_use]
    pub fn prepared(&self) -> Option<Arc<Handshake>> {
        self.handshake.clone()
    }

    /// The part of the request that its session keeps. It was [prepared](Self::prepare), or is made
    /// now.
    pub(crate) fn handshake(&self, config: &Config, now: Time) -> Arc<Handshake> {
        let parameters = match self.findings.kind {
            Kind::Engine { raw: false, route, .. } if route.version.revision() == Some(engine::Revision::V3) => {
                Parameters::Engine3
            }
            Kind::Legacy09(_) => Parameters::Legacy09,
            Kind::Engine { .. } | Kind::UnknownProtocol | Kind::Legacy06(..) | Kind::Foreign => Parameters::All,
        };
        let prepared = self.handshake.clone();
        prepared.unwrap_or_else(|| Arc::new(Handshake::new(config, self, now, parameters)))
    }

    /// Decodes the packets in the body, for the wire that the request names. Call it while no lock
    /// is held, before the request goes to its shard. For a request that a
    /// [`Conn`](crate::conn::Conn) has read, this has been done.
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
        let length = self.http.body.as_ref().map_or(0, |body| body.len());
        Inbound::part(&mut self.packets, length);
    }
}
