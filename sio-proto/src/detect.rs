//! One HTTP request head: which generation of the wire it belongs to, and what it asks for.
//!
//! ```text
//! R = resource prefix, by default /socket.io; SEG = segments after it
//!
//! R/?EIO=4&transport=polling          Engine.IO            the query decides
//! R/1/…                               0.7-0.9              SEG[0] is the revision
//! R/xhr-polling/…                     0.3-0.6, streaming   SEG[0] is the transport
//! ```
//!
//! This file follows docs/protocol/detection.md: the rows of its table §1 are the arms of
//! [`detect`], in the same order. The three families cannot be confused, so one prefix can serve
//! all of them.
//!
//! Invariants:
//! * The target is read as it came: the path is not percent-decoded, and `//` is not merged (old
//!   clients write an empty segment for "new session").
//! * Nothing is looked up. A segment may be an id, or a timestamp that a proxy moved into the place
//!   of an id. Only a lookup can decide this, so the route says so and the session table decides.
//! * No allocation, and no borrow: a route has numbers, and [`Part`]s that say where a text stands
//!   in the target.
//! * The target is walked over a fixed number of times, whatever it holds.
//!
//! A Flash policy request never reaches this function, because it is not HTTP
//! ([`flash_policy`](crate::legacy::flash_policy)).
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

mod query;
mod route;

use crate::legacy::lengths::take_decimal;
pub use crate::legacy::transports::Transport;
use crate::percent;
use query::{Parameters, filled};
pub use route::{
    EngineIo, EngineTransport, EngineVersion, Exchange, Handshake, Legacy06, Legacy09, Part, RequestHead, Route,
};

/// Classifies `request`, for clients that use the resource `prefix` (such as `/socket.io`; a final
/// slash is ignored).
///
/// The cost is one walk over the query and a few walks over the path, whatever they hold. At this
/// point only the limit on the length of the target has been checked. Nothing is allocated.
#[must_use]
pub fn detect(prefix: &str, request: &RequestHead<'_>) -> Route {
    Detector::new(request).route(prefix)
}

/// Reads a request as an Engine.IO request, whatever its path is.
#[must_use]
pub fn engine_io(request: &RequestHead<'_>) -> EngineIo {
    Detector::new(request).engine_io()
}

/// A request whose query has been read.
pub(crate) struct Detector<'a> {
    request: &'a RequestHead<'a>,
    /// The target up to its query.
    path: &'a str,
    parameters: Parameters<'a>,
}

impl<'a> Detector<'a> {
    /// Reads the query.
    pub(crate) fn new(request: &'a RequestHead<'a>) -> Self {
        let target = request.target;
        // The bytes are searched, which is faster than a search for a character.
        let mark = memchr::memchr(b'?', target.as_bytes()).unwrap_or(target.len());
        let query = target.as_bytes().get(mark..).and_then(|behind| behind.split_first());
        Self {
            request,
            path: target.get(..mark).unwrap_or_default(),
            parameters: Parameters::of(query.map_or(&[], |(_, query)| query)),
        }
    }

    /// Whether the query says that the peer speaks Engine.IO.
    pub(crate) const fn says_engine_io(&self) -> bool {
        self.parameters.transport.is_some() || self.parameters.eio.is_some()
    }

    /// See [`detect`].
    pub(crate) fn route(&self, prefix: &str) -> Route {
        let Self {
            request,
            path,
            parameters,
        } = self;
        let target = request.target;
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let rest = match path.strip_prefix(prefix) {
            None => return Route::Foreign,
            Some("") => "",
            Some(rest) => match rest.strip_prefix('/') {
                // `/socket.iox` begins like the prefix, but is another path.
                None => return Route::Foreign,
                Some(rest) => rest,
            },
        };
        if rest.is_empty() {
            return match parameters.transport {
                Some(_) => Route::EngineIo(self.engine_io()), // row 2
                None => Route::NotAProtocolRequest,           // row 3
            };
        }
        if matches!(request.method, "GET" | "HEAD") && is_client_file(rest) {
            return Route::Static(Part::locate(target, rest.as_bytes())); // row 1
        }
        let segments = Segments::of(rest);
        match segments.get(0).unwrap_or_default() {
            "1" => Route::Legacy09(self.v1(&segments)), // rows 4-7
            first if !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit()) => {
                Route::UnknownProtocol // row 8
            }
            first => match Transport::parse(first) {
                Some(transport) => Route::Legacy06(self.legacy_06(transport, &segments)), // row 9
                None => Route::Foreign,                                                   // row 10
            },
        }
    }

    /// See [`engine_io`].
    pub(crate) fn engine_io(&self) -> EngineIo {
        let Self {
            request, parameters, ..
        } = self;
        let target = request.target;
        EngineIo {
            version: engine_version(parameters.eio),
            transport: engine_transport(parameters.transport),
            sid: filled(target, parameters.sid),
            jsonp: parameters.j.map(|j| Part::locate(target, j)),
            base64: parameters.b64.is_some_and(|value| !value.is_empty()),
            upgrade: request.upgrade.then(|| handshake(request)),
        }
    }

    fn v1(&self, segments: &Segments<'_>) -> Legacy09 {
        let Self {
            request, parameters, ..
        } = self;
        if request.method == "OPTIONS" {
            return Legacy09::Preflight;
        }
        let place = |segment: &str| Part::locate(request.target, segment.as_bytes());
        let disconnect = parameters.disconnect.is_some();
        let Some(session) = segments.filled(2) else {
            // row 4, even if a transport is named
            return match request.upgrade {
                true => Legacy09::Malformed,
                false => Legacy09::Handshake {
                    jsonp: parameters.jsonp.and_then(decimal),
                    maybe_beacon_of: segments
                        .filled(1)
                        .filter(|segment| disconnect && Transport::parse(segment).is_none())
                        .map(place),
                },
            };
        };
        // Only one slash may follow the session. An upgrade that also disconnects would crash a
        // genuine server.
        let overlong = segments.filled(3).is_some() || segments.get(4).is_some();
        if overlong || (disconnect && request.upgrade) {
            return Legacy09::Malformed;
        }
        let session = place(session);
        if disconnect {
            return Legacy09::Disconnect { session }; // row 5
        }
        match segments.get(1).and_then(Transport::parse) {
            None | Some(Transport::XhrMultipart) => Legacy09::Malformed, // row 7
            Some(transport) => Legacy09::Transport {
                transport,
                session,
                exchange: exchange(request, transport),
                index: parameters.i.and_then(decimal).unwrap_or(0),
            }, // row 6
        }
    }

    fn legacy_06(&self, transport: Transport, segments: &Segments<'_>) -> Legacy06 {
        let session = segments.filled(1);
        let index = (transport == Transport::JsonpPolling && segments.count > 2)
            .then(|| decimal(segments.last.as_bytes()))
            .flatten();
        // After slash merging, the path is `xhr-polling/TS` or `jsonp-polling/TS/I`.
        let merged_len = if index.is_some() { 3 } else { 2 };
        Legacy06 {
            transport,
            session: session.map(|session| Part::locate(self.request.target, session.as_bytes())),
            maybe_timestamp: segments.count == merged_len && session.is_some_and(is_timestamp),
            exchange: exchange(self.request, transport),
            index,
        }
    }
}

/// The path below the prefix, cut at every slash. One walk finds all segments that detection needs.
struct Segments<'a> {
    first: [Option<&'a str>; 5],
    last: &'a str,
    count: usize,
}

impl<'a> Segments<'a> {
    fn of(path: &'a str) -> Self {
        let mut segments = Self {
            first: [None; 5],
            last: path,
            count: 0,
        };
        for segment in path.split('/') {
            step!(bulk segment.len());
            if let Some(slot) = segments.first.get_mut(segments.count) {
                *slot = Some(segment);
            }
            segments.last = segment;
            segments.count = segments.count.saturating_add(1);
        }
        segments
    }

    fn get(&self, at: usize) -> Option<&'a str> {
        self.first.get(at).copied().flatten()
    }

    /// The segment at `at`, if there is one and it is not empty.
    fn filled(&self, at: usize) -> Option<&'a str> {
        self.get(at).filter(|segment| !segment.is_empty())
    }
}

/// The value of `EIO`, decoded.
fn engine_version(value: Option<&[u8]>) -> EngineVersion {
    match value {
        None => EngineVersion::Ancient,
        Some(value) => [
            ("4", EngineVersion::V4),
            ("3", EngineVersion::V3),
            ("2", EngineVersion::V2),
            ("1", EngineVersion::Ancient),
        ]
        .into_iter()
        .find_map(|(name, version)| percent::stands_for(value, name).then_some(version))
        .unwrap_or(EngineVersion::Unsupported),
    }
}

/// The value of `transport`, decoded.
fn engine_transport(value: Option<&[u8]>) -> EngineTransport {
    let value = value.unwrap_or_default();
    [
        ("polling", EngineTransport::Polling),
        ("websocket", EngineTransport::Websocket),
        ("webtransport", EngineTransport::Webtransport),
        ("flashsocket", EngineTransport::Flashsocket),
    ]
    .into_iter()
    .find_map(|(name, known)| percent::stands_for(value, name).then_some(known))
    .unwrap_or(EngineTransport::Unknown)
}

/// A time in milliseconds since 1970 has had 13 digits since 2001; genuine 0.6 ids have 15 to 18.
fn is_timestamp(segment: &str) -> bool {
    segment.len() == 13 && segment.bytes().all(|b| b.is_ascii_digit())
}

/// The timestamp of a poll of 0.3 to 0.9, if it has one: a segment of the path, or the parameter
/// `t`. A client that polls again sends another one, and a browser that repeats a request sends the
/// same.
pub(crate) fn stamp_of(target: &str) -> Option<u64> {
    step!(each target.len());
    let parts = target.split(['/', '?', '&']);
    let mut stamps = parts.map(|part| part.strip_prefix("t=").unwrap_or(part));
    decimal(stamps.find(|stamp| is_timestamp(stamp))?.as_bytes())
}

fn exchange(request: &RequestHead<'_>, transport: Transport) -> Exchange {
    if request.method == "OPTIONS" {
        return Exchange::Preflight;
    }
    let websocket = matches!(transport, Transport::Websocket | Transport::Flashsocket);
    match (websocket, request.upgrade, request.method) {
        (true, true, "GET") => Exchange::Upgrade(handshake(request)),
        (true, _, _) | (false, true, _) => Exchange::Mismatch,
        (false, false, "POST") => Exchange::Send,
        (false, false, "GET") => match transport {
            Transport::Htmlfile | Transport::XhrMultipart => Exchange::Stream,
            Transport::Websocket | Transport::Flashsocket | Transport::XhrPolling | Transport::JsonpPolling => {
                Exchange::Poll
            }
        },
        (false, false, _) => Exchange::BadMethod,
    }
}

fn handshake(request: &RequestHead<'_>) -> Handshake {
    match (request.websocket_key, request.websocket_version) {
        (true, Some("13" | "7" | "8")) => Handshake::Rfc6455,
        (true, _) => Handshake::Unsupported,
        (false, _) if request.websocket_key_pair => Handshake::Hixie76,
        // The version says RFC 6455, but the key is missing.
        (false, Some(_)) => Handshake::Unsupported,
        (false, None) => Handshake::Hixie75,
    }
}

/// The number that `text` stands for, if all of it is digits.
fn decimal(text: &[u8]) -> Option<u64> {
    let (value, digits) = take_decimal(text, 16)?;
    (digits == text.len()).then_some(value as u64)
}

/// Whether a path below the prefix is a client file that some release has served. The patterns are
/// a closed set, and none of their paths leads upwards.
#[must_use]
pub fn is_client_file(path: &str) -> bool {
    if let Some(name) = path.strip_prefix("static/flashsocket/") {
        return name.ends_with(".swf") && is_file_name(name);
    }
    match path {
        "socket.io.js"
        | "socket.io.min.js"
        | "socket.io.esm.js"
        | "socket.io.esm.min.js"
        | "socket.io.msgpack.js"
        | "socket.io.msgpack.min.js"
        | "WebSocketMain.swf"
        | "lib/vendor/web-socket-js/WebSocketMain.swf" => true,
        _ => {
            let bundle = path.starts_with("socket.io.v") || path.starts_with("socket.io+");
            (bundle && path.ends_with(".js") || path.ends_with(".map")) && is_file_name(path)
        }
    }
}

/// Whether a text can be the name of one file: no slash, no escape, no step upwards.
fn is_file_name(name: &str) -> bool {
    !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
}

#[cfg(test)]
mod tests;
