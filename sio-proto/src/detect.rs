//! One HTTP request head: which generation of the wire is it, and what does it ask for?
//!
//! ```text
//! R = resource prefix, by default /socket.io; SEG = segments after it
//!
//! R/?EIO=4&transport=polling          Engine.IO            the query decides
//! R/1/…                               0.7-0.9              SEG[0] is the revision
//! R/xhr-polling/…                     0.3-0.6, streaming   SEG[0] is the transport
//! ```
//!
//! Follows docs/protocol/detection.md: the rows of its table §1 are the arms of [`detect`], in its order. The three
//! families cannot be confused, so all of them can be served under one prefix.
//!
//! Invariants:
//! * The target is taken as it came: no percent-decoding of the path, no merging of `//` (an empty segment is how old
//!   clients say "new session").
//! * Nothing is looked up. Where only a lookup can decide (an id, or a timestamp that a proxy moved into its place?),
//!   the route says so and the session table answers.
//! * No allocation; everything borrows from the request.
//!
//! What never reaches this function: a Flash policy request, which is not HTTP
//! ([`flash_policy`](crate::legacy::flash_policy)).

mod query;
mod route;

use crate::legacy::lengths::take_decimal;
use crate::percent;
pub use query::Query;
pub use route::{
    EngineIo, EngineTransport, EngineVersion, Exchange, Handshake, Legacy06, RequestHead, Route, Transport, V1,
};

/// Says what `request` is, for clients that use the resource `prefix` (such as `/socket.io`; a final slash is
/// ignored).
#[must_use]
pub fn detect<'a>(prefix: &str, request: &RequestHead<'a>) -> Route<'a> {
    let (path, query) = match request.target.split_once('?') {
        Some((path, query)) => (path, Query::new(query)),
        None => (request.target, Query::default()),
    };
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = match path.strip_prefix(prefix) {
        None => return Route::Foreign,
        Some("") => "",
        Some(rest) => match rest.strip_prefix('/') {
            // `/socket.iox` only looks like ours.
            None => return Route::Foreign,
            Some(rest) => rest,
        },
    };
    let segments = Segments(rest);

    if matches!(request.method, "GET" | "HEAD") && is_client_file(rest) {
        return Route::Static(rest); // row 1
    }
    match segments.get(0) {
        None | Some("") if rest.is_empty() => match query.has("transport") {
            true => Route::EngineIo(engine_io(request)), // row 2
            false => Route::NotAProtocolRequest,         // row 3
        },
        Some("1") => Route::V1(v1(request, segments, query)), // rows 4-7
        Some(first) if !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit()) => {
            Route::UnknownProtocol // row 8
        }
        Some(first) => match Transport::parse(first) {
            Some(transport) => Route::Legacy06(legacy_06(request, transport, segments)), // row 9
            None => Route::Foreign,                                                      // row 10
        },
        None => Route::Foreign,
    }
}

/// The path below the prefix, cut at every slash.
#[derive(Clone, Copy)]
struct Segments<'a>(&'a str);

impl<'a> Segments<'a> {
    fn get(self, at: usize) -> Option<&'a str> {
        self.0.split('/').nth(at)
    }

    /// The segment at `at`, if there is one and it is not empty.
    fn filled(self, at: usize) -> Option<&'a str> {
        self.get(at).filter(|segment| !segment.is_empty())
    }

    /// Position and text of the last segment.
    fn last(self) -> (usize, &'a str) {
        let at = memchr::memchr_iter(b'/', self.0.as_bytes()).count();
        (at, self.0.rsplit('/').next().unwrap_or_default())
    }
}

/// Reads a request as one of Engine.IO, whatever its path.
#[must_use]
pub fn engine_io<'a>(request: &RequestHead<'a>) -> EngineIo<'a> {
    let query = request
        .target
        .split_once('?')
        .map_or_else(Query::default, |(_, query)| Query::new(query));
    let version = match query.value("EIO") {
        None => EngineVersion::Ancient,
        Some(value) => [
            ("4", EngineVersion::V4),
            ("3", EngineVersion::V3),
            ("2", EngineVersion::V2),
            ("1", EngineVersion::Ancient),
        ]
        .into_iter()
        .find_map(|(name, version)| percent::stands_for(value.as_bytes(), name).then_some(version))
        .unwrap_or(EngineVersion::Unsupported),
    };
    let transport = query.value("transport").unwrap_or_default();
    let transport = [
        ("polling", EngineTransport::Polling),
        ("websocket", EngineTransport::Websocket),
        ("webtransport", EngineTransport::Webtransport),
        ("flashsocket", EngineTransport::Flashsocket),
    ]
    .into_iter()
    .find_map(|(name, known)| percent::stands_for(transport.as_bytes(), name).then_some(known))
    .unwrap_or(EngineTransport::Unknown);
    EngineIo {
        version,
        transport,
        sid: query.value("sid").filter(|sid| !sid.is_empty()),
        jsonp: query.value("j"),
        base64: query.value("b64").is_some_and(|value| !value.is_empty()),
        upgrade: request.upgrade.then(|| handshake(request)),
        query,
    }
}

fn v1<'a>(request: &RequestHead<'a>, segments: Segments<'a>, query: Query<'a>) -> V1<'a> {
    if request.method == "OPTIONS" {
        return V1::Preflight;
    }
    let disconnect = query.has("disconnect");
    let Some(session) = segments.filled(2) else {
        // row 4, even if a transport is named
        return match request.upgrade {
            true => V1::Malformed,
            false => V1::Handshake {
                jsonp: query.value("jsonp").and_then(decimal),
                maybe_beacon_of: segments
                    .filled(1)
                    .filter(|segment| disconnect && Transport::parse(segment).is_none()),
                query,
            },
        };
    };
    // Nothing but one slash may follow the session; and a genuine server crashes on an upgrade that disconnects.
    let overlong = segments.filled(3).is_some() || segments.get(4).is_some();
    if overlong || (disconnect && request.upgrade) {
        return V1::Malformed;
    }
    if disconnect {
        return V1::Disconnect { session }; // row 5
    }
    match segments.get(1).and_then(Transport::parse) {
        None | Some(Transport::XhrMultipart) => V1::Malformed, // row 7
        Some(transport) => V1::Transport {
            transport,
            session,
            exchange: exchange(request, transport),
            index: query.value("i").and_then(decimal).unwrap_or(0),
        }, // row 6
    }
}

fn legacy_06<'a>(request: &RequestHead<'a>, transport: Transport, segments: Segments<'a>) -> Legacy06<'a> {
    let session = segments.filled(1);
    let (last, tail) = segments.last();
    let index = (transport == Transport::JsonpPolling && last >= 2)
        .then(|| decimal(tail))
        .flatten();
    // After slash merging: `xhr-polling/TS`, or `jsonp-polling/TS/I`.
    let merged_len = if index.is_some() { 3 } else { 2 };
    Legacy06 {
        transport,
        session,
        maybe_timestamp: last + 1 == merged_len && session.is_some_and(is_timestamp),
        exchange: exchange(request, transport),
        index,
    }
}

/// Milliseconds since 1970 have had 13 digits since 2001; genuine 0.6 ids have 15 to 18.
fn is_timestamp(segment: &str) -> bool {
    segment.len() == 13 && segment.bytes().all(|b| b.is_ascii_digit())
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
        // A version says RFC 6455; what is missing is its key.
        (false, Some(_)) => Handshake::Unsupported,
        (false, None) => Handshake::Hixie75,
    }
}

/// The number a text of digits is, if it is nothing else.
fn decimal(text: &str) -> Option<u64> {
    let (value, digits) = take_decimal(text.as_bytes(), 16)?;
    (digits == text.len()).then_some(value as u64)
}

/// Whether a path below the prefix is one of the client files that some release has served: a closed set of patterns, in which no path leads upwards.
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

/// Only what may stand in the name of one file: no slash, no escape, no step upwards.
fn is_file_name(name: &str) -> bool {
    !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
}

#[cfg(test)]
mod tests;
