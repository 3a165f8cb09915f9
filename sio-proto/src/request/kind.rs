//! The kind of a request under a config. It is found out once, without a lock, and kept beside the
//! request.
//!
//! Every other part of the server reads the [`Kind`]: the router, the decoder of bodies, the shard.
//! No other code looks at the target again.

use super::Peer;
use super::stranger::{Page, Reach, Strangeness, Verdicts};
use crate::detect::{
    Detector, EngineIo, EngineTransport, Exchange, Legacy06, Legacy09, Part, RequestHead, Route, Transport,
};
use crate::http::Name;
use crate::{Config, http};

/// The kind of a request. It borrows nothing: it names texts by their position in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Engine.IO, or a request that is refused in the form of Engine.IO.
    Engine {
        /// Whether the session is a raw session.
        raw: bool,
        /// Whether there is an `Upgrade` header, whatever its value.
        upgrade: bool,
        route: EngineIo,
    },
    Legacy09(Legacy09),
    /// It asks for a revision of the `/1/` wire that never existed.
    UnknownProtocol,
    /// Plain messages, in the codec with this number.
    Legacy06(u8, Legacy06),
    /// The request does not belong to any generation.
    Foreign,
}

impl Kind {
    /// Classifies a request.
    ///
    /// If a generation is off, the server answers as a server without this generation: every
    /// request under the prefix is then an Engine.IO request, and is refused because it has no
    /// transport. A path below the prefix whose query has a `transport` is also an Engine.IO
    /// request, because genuine servers only test the prefix (docs/protocol/engine-io.md §1).
    ///
    /// The cost is one walk over the query and a few over the path. At
    /// this point only [`http::Limits`] have been checked. Nothing is allocated.
    pub(crate) fn of(config: &Config, request: &http::Request) -> Self {
        match Self::on_our_paths(config, request) {
            // The application answers these preflights itself.
            Self::Engine { .. }
                if request.method == http::Method::Options
                    && config.cors.as_ref().is_some_and(|cors| cors.preflight_continue) =>
            {
                Self::Foreign
            }
            kind => kind,
        }
    }

    fn on_our_paths(config: &Config, request: &http::Request) -> Self {
        let (head, upgrade) = head_of(request);
        let target = head.target;
        if let Some(path) = config.engine_path.as_deref()
            && config.is_below(path, target)
        {
            let detector = Detector::new(&head);
            if is_bare(path, target) && !detector.says_engine_io() {
                return Self::Foreign;
            }
            return Self::Engine {
                raw: true,
                upgrade,
                route: detector.engine_io(),
            };
        }
        let serves = |codec: u8, route: &Legacy06| {
            config.generations.legacy06 && config.legacy06.codec_at(codec).serves(route.transport)
        };
        for (codec, mount) in (1..).zip(&config.legacy06.mounts) {
            if config.is_below(&mount.path, target) {
                // A mount serves nothing else. All other requests below it belong to the
                // application.
                return match Detector::new(&head).route(&mount.path) {
                    Route::Legacy06(route) if serves(codec, &route) => Self::Legacy06(codec, route),
                    _ => Self::Foreign,
                };
            }
        }
        if !config.is_below(&config.path, target) {
            return Self::Foreign;
        }
        let detector = Detector::new(&head);
        if is_bare(&config.path, target) && !detector.says_engine_io() {
            return Self::Foreign;
        }
        let legacy09 = config.generations.legacy09;
        let route = match detector.route(&config.path) {
            Route::Static(_) => return Self::Foreign,
            Route::Legacy06(route) if serves(0, &route) => return Self::Legacy06(0, route),
            Route::Legacy09(route) if legacy09 => return Self::Legacy09(route),
            Route::UnknownProtocol if legacy09 => return Self::UnknownProtocol,
            Route::EngineIo(route) => route,
            Route::Foreign => match detector.engine_io() {
                route if route.transport == EngineTransport::Unknown => return Self::Foreign,
                route => route,
            },
            Route::NotAProtocolRequest | Route::Legacy09(_) | Route::UnknownProtocol | Route::Legacy06(_) => {
                detector.engine_io()
            }
        };
        Self::Engine {
            raw: false,
            upgrade,
            route,
        }
    }

    /// The position of the session's id in the target, if the target names a session.
    pub(crate) const fn session(&self) -> Option<Part> {
        match self {
            Self::Engine { route, .. } => route.sid,
            Self::Legacy09(Legacy09::Transport { session, .. } | Legacy09::Disconnect { session }) => Some(*session),
            Self::Legacy09(Legacy09::Handshake { maybe_beacon_of, .. }) => *maybe_beacon_of,
            Self::Legacy06(_, route) => route.session,
            Self::Legacy09(Legacy09::Preflight | Legacy09::Malformed) | Self::UnknownProtocol | Self::Foreign => None,
        }
    }

    /// Whether the request may open a session, even if it seems to name one: the text in the place
    /// of an id may be a timestamp, and a beacon may be a handshake.
    pub(crate) const fn may_open(&self, method: http::Method) -> bool {
        match self {
            Self::Engine { route, .. } => route.sid.is_none() && matches!(method, http::Method::Get),
            Self::Legacy09(Legacy09::Handshake { .. }) => matches!(method, http::Method::Get | http::Method::Post),
            Self::Legacy06(_, route) => {
                (route.session.is_none() || route.maybe_timestamp)
                    && matches!(route.exchange, Exchange::Poll | Exchange::Stream | Exchange::Upgrade(_))
            }
            Self::Legacy09(
                Legacy09::Transport { .. } | Legacy09::Disconnect { .. } | Legacy09::Preflight | Legacy09::Malformed,
            )
            | Self::UnknownProtocol
            | Self::Foreign => false,
        }
    }

    /// Whether every page can send this request: its answer is a script or a page of scripts, or
    /// its body is the form of a JSONP client.
    pub(crate) fn reach(&self) -> Reach {
        let is_script = match self {
            Self::Engine { route, .. } => route.jsonp.is_some() && route.transport == EngineTransport::Polling,
            Self::Legacy09(Legacy09::Handshake { jsonp, .. }) => jsonp.is_some(),
            Self::Legacy09(Legacy09::Transport {
                transport, exchange, ..
            })
            | Self::Legacy06(
                _,
                Legacy06 {
                    transport, exchange, ..
                },
            ) => match exchange {
                Exchange::Poll | Exchange::Send => *transport == Transport::JsonpPolling,
                Exchange::Stream => *transport == Transport::Htmlfile,
                Exchange::Upgrade(_) | Exchange::Preflight | Exchange::Mismatch | Exchange::BadMethod => false,
            },
            Self::Legacy09(Legacy09::Disconnect { .. } | Legacy09::Preflight | Legacy09::Malformed)
            | Self::UnknownProtocol
            | Self::Foreign => false,
        };
        match is_script {
            true => Reach::Script,
            false => Reach::Closed,
        }
    }
}

/// Whether a target that a path covers is this path without its final slash. If its query has no
/// parameter of Engine.IO, it belongs to the application. Genuine servers only check the slash.
fn is_bare(path: &str, target: &str) -> bool {
    !matches!(target.as_bytes().get(path.len()), Some(b'/'))
}

/// The facts about a request that are found out before it goes anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) kind: Kind,
    /// Why the request is refused because of its host or page, if it is. A request that cannot need
    /// the check counts as refused.
    pub(crate) stranger: Option<Strangeness>,
    /// Why the request is refused if its answer is a script. The request may not show this; then
    /// the session decides.
    pub(crate) script_stranger: Option<Strangeness>,
    /// Whether its page may read the answer, if CORS allows some pages and not others.
    pub(crate) may_read: bool,
}

impl Findings {
    /// The cost is the cost of [`Kind::of`], and one more walk over the header fields if not all
    /// pages are allowed.
    pub(crate) fn of(config: &Config, request: &http::Request, peer: &Peer) -> Self {
        let (kind, page) = (Kind::of(config, request), Page::of(config, request));
        let verdicts = match kind {
            Kind::Engine { .. } | Kind::Legacy09(_) | Kind::Legacy06(..) => Verdicts::of(config, request, peer, page),
            Kind::UnknownProtocol | Kind::Foreign => Verdicts::REFUSED,
        };
        Self {
            kind,
            stranger: match kind.reach() {
                Reach::Script => verdicts.script,
                Reach::Closed => verdicts.closed,
            },
            script_stranger: verdicts.script,
            may_read: page.may_read,
        }
    }
}

/// The parts that detection looks at, and whether there is an `Upgrade` header at all.
fn head_of(request: &http::Request) -> (RequestHead<'_>, bool) {
    let mut head = RequestHead {
        method: request.method.name().unwrap_or("OTHER"),
        target: &request.target,
        ..RequestHead::default()
    };
    let (headers, has) = (&request.headers, |name| request.headers.known(name).is_some());
    head.upgrade = headers.asked().websocket;
    head.websocket_key = has(Name::SecWebSocketKey);
    head.websocket_version = headers
        .known(Name::SecWebSocketVersion)
        .and_then(|value| core::str::from_utf8(value).ok());
    head.websocket_key_pair = head.upgrade && has(Name::SecWebSocketKey1) && has(Name::SecWebSocketKey2);
    (head, has(Name::Upgrade))
}
