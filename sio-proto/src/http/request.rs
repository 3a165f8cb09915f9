//! One request.

use core::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::error::BodyTooLarge;
use super::headers::{Headers, is_host};
use super::known::Name;
use super::method::Method;
use super::query::Query;

/// A complete request.
///
/// `target`, `headers` and usually `body` share the buffer that they were read into;
/// [`compact`](Self::compact) makes a copy that does not share it. The fields are public, so that a
/// request that another HTTP server has parsed can be put together by hand.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The request target as it came, neither decoded nor normalised.
    pub target: ByteString,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub version_minor: u8,
    /// The header fields.
    pub headers: Headers,
    /// The body, empty if there is none. `Err` if the body is too large: such a request is answered
    /// with 413.
    pub body: Result<Bytes, BodyTooLarge>,
}

/// The facts of a request that its answer depends on. The value is small, so that it can be kept
/// while a poll is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The method was `HEAD`: the answer has a head only.
    pub is_head: bool,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub version_minor: u8,
    /// The connection goes on after the answer.
    pub keep_alive: bool,
}

impl Exchange {
    /// For the answer to bytes that could not be read as a request. The connection ends with the
    /// answer.
    pub const CLOSING: Self = Self {
        is_head: false,
        version_minor: 1,
        keep_alive: false,
    };
}

impl Request {
    /// The path as it came: not decoded and not normalised; `//` stays (docs/protocol/detection.md
    /// §1).
    ///
    /// If the target is in absolute form (`http://host/path`, RFC 9112 §3.2.2), the path is the
    /// part after the host.
    #[must_use]
    pub fn path(&self) -> &str {
        let target = origin_form(&self.target);
        match target.split_once('?').map_or(target, |(path, _)| path) {
            "" => "/",
            path => path,
        }
    }

    /// The query as it came, without the `?`; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        origin_form(&self.target).split_once('?').map_or("", |(_, query)| query)
    }

    /// The key and value pairs of the query.
    #[must_use]
    pub fn query_pairs(&self) -> Query {
        Query::new(self.target.slice_ref(self.query()))
    }

    /// Whether another request may follow on this connection.
    ///
    /// An HTTP/1.1 connection goes on unless the request says `close`. An HTTP/1.0 connection ends
    /// unless the request says `keep-alive`. The connection also ends after a body that was too
    /// large, and after a websocket upgrade, accepted or refused.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.body.is_ok() && keeps_alive(self.version_minor, &self.headers) && !self.is_upgrade("websocket")
    }

    /// Whether the request asks to switch to `protocol`: it is a `GET` of HTTP/1.1 with
    /// `Connection: Upgrade` and `Upgrade: protocol`, both compared without regard to case.
    #[must_use]
    pub fn is_upgrade(&self, protocol: &str) -> bool {
        let asked = self.headers.asked();
        self.method == Method::Get
            && self.version_minor == 1
            && asked.upgrade
            && match protocol {
                "websocket" => asked.websocket,
                other => self.headers.has_token("upgrade", other),
            }
    }

    /// Whether `Content-Type` names this media type, with any parameters behind it.
    #[must_use]
    pub fn is_content_type(&self, media_type: &str) -> bool {
        self.headers.known(Name::ContentType).is_some_and(|value| {
            let value = value.trim_ascii_start();
            value.split_at_checked(media_type.len()).is_some_and(|(name, rest)| {
                name.eq_ignore_ascii_case(media_type.as_bytes()) && matches!(rest.trim_ascii_start(), [] | [b';', ..])
            })
        })
    }

    /// The facts of this request that its answer depends on.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        Exchange {
            is_head: self.method == Method::Head,
            version_minor: self.version_minor,
            keep_alive: self.keep_alive(),
        }
    }

    /// A copy in its own memory, exactly as large as needed, so that the read buffer can be
    /// released.
    #[must_use]
    pub fn compact(&self) -> Self {
        Self {
            method: self.method,
            target: ByteString::from(&*self.target),
            version_minor: self.version_minor,
            headers: self.headers.compact(),
            body: self
                .body
                .as_ref()
                .map(|body| Bytes::copy_from_slice(body))
                .map_err(|&e| e),
        }
    }

    /// Changes a target in absolute form (`http://host/path`) to its path, and sets `Host` to the
    /// host of the target, whatever `Host` was before (RFC 9112 §3.2.2). Other targets do not
    /// change. A target with an invalid host does not change either.
    pub(crate) fn take_origin_form(&mut self) {
        let Some(Absolute { authority, rest }) = Absolute::read(&self.target) else {
            return;
        };
        self.headers.replace("Host", authority.as_bytes());
        self.target = match rest.starts_with('/') {
            true => self.target.slice_ref(rest),
            false => alloc::format!("/{rest}").into(),
        };
    }
}

/// A path for logs, without parts that may be the id of a session: clients older than 1.0 have the
/// id in the path (docs/protocol/legacy-0.9.md §3, legacy-0.6.md §5). A segment is left out if it
/// has the length and the characters of an id.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHORTEST_ID: usize = 15;
        let is_of_id = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        f.write_str("\"")?;
        for (at, segment) in self.0.split('/').enumerate() {
            let hidden = segment.len() >= SHORTEST_ID && segment.bytes().all(is_of_id);
            let slash = if at == 0 { "" } else { "/" };
            write!(f, "{slash}{}", if hidden { "…" } else { segment }.escape_debug())?;
        }
        f.write_str("\"")
    }
}

/// The parts of a target in absolute form.
struct Absolute<'a> {
    authority: &'a str,
    /// The path and the query; the path may be missing.
    rest: &'a str,
}

impl<'a> Absolute<'a> {
    /// Reads a target. `None` if it is no URI of a served scheme, or if its host is invalid. A name
    /// and a password in front of the host are refused, as RFC 9110 §4.2.4 advises.
    fn read(target: &'a str) -> Option<Self> {
        // Nearly all targets begin in this way.
        if target.starts_with('/') {
            return None;
        }
        let (scheme, after) = target.split_once("://")?;
        let served = ["http", "https", "ws", "wss"];
        if !served.into_iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return None;
        }
        let end = after.find(['/', '?']).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        (!authority.is_empty() && is_host(authority.as_bytes())).then_some(Self { authority, rest })
    }
}

/// The target from its path on. Only a target in absolute form has something before its path (RFC
/// 9112 §3.2.2). A target without a path yields its query, or an empty text.
pub(crate) fn origin_form(target: &str) -> &str {
    Absolute::read(target).map_or(target, |absolute| absolute.rest)
}

impl fmt::Debug for Request {
    /// Shows no query, no header values and no ids of the path: session ids and tokens do not
    /// belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &Shown(self.path()))
            .field("version_minor", &self.version_minor)
            .field("headers", &self.headers)
            .field("body", &self.body.as_ref().map(Bytes::len))
            .finish_non_exhaustive()
    }
}

/// Whether a message with these header fields leaves the connection open.
pub(super) fn keeps_alive(version_minor: u8, headers: &Headers) -> bool {
    headers.asked().keeps_alive(version_minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn request(target: &str, version_minor: u8, headers: &[(&str, &str)]) -> Request {
        Request {
            method: Method::Get,
            target: target.into(),
            version_minor,
            headers: headers.iter().copied().collect(),
            body: Ok(Bytes::new()),
        }
    }

    #[test]
    fn paths_and_queries_stay_raw() {
        for (target, path, query) in [
            ("/", "/", ""),
            ("/socket.io/?EIO=4&t=%20+", "/socket.io/", "EIO=4&t=%20+"),
            (
                "/socket.io/xhr-polling//1795447966090",
                "/socket.io/xhr-polling//1795447966090",
                "",
            ),
            ("/socket.io/1//SID/?disconnect=1", "/socket.io/1//SID/", "disconnect=1"),
            ("//socket.io/../%31", "//socket.io/../%31", ""),
            ("/a?b?c", "/a", "b?c"),
            ("/a?u=http://x/", "/a", "u=http://x/"),
            ("http://host:80/a?b", "/a", "b"),
            ("http://host", "/", ""),
            ("http://host?q", "/", "q"),
            ("*", "*", ""),
            ("host:443", "host:443", ""),
        ] {
            let request = request(target, 1, &[]);
            assert_eq!((request.path(), request.query()), (path, query), "{target}");
            assert_eq!(request.query_pairs().iter().count() > 0, !query.is_empty(), "{target}");
        }
    }

    #[test]
    fn connections_go_on_or_end() {
        for (version_minor, connection, expected) in [
            (1, "", true),
            (1, "close", false),
            (1, "Keep-Alive, CLOSE", false),
            (1, "closed", true),
            (0, "", false),
            (0, "Keep-Alive", true),
            (0, "keep-alive, close", false),
        ] {
            let mut request = request("/", version_minor, &[("Connection", connection)]);
            assert_eq!(request.keep_alive(), expected, "1.{version_minor} {connection}");
            request.body = Err(BodyTooLarge);
            assert!(!request.keep_alive());
        }
    }

    #[test]
    fn upgrades_are_recognised() {
        let upgrade = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "WebSocket")];
        let mut asked = request("/", 1, &upgrade);
        assert!(asked.is_upgrade("websocket"));
        assert!(!asked.is_upgrade("h2c"));
        assert!(!asked.keep_alive());
        asked.method = Method::Post;
        assert!(!asked.is_upgrade("websocket"));
        assert!(!request("/", 0, &upgrade).is_upgrade("websocket"));
        assert!(!request("/", 1, &upgrade[1..]).is_upgrade("websocket"));
        assert!(!request("/", 1, &upgrade[..1]).is_upgrade("websocket"));
    }

    #[test]
    fn media_types_are_compared_without_parameters() {
        for (value, expected) in [
            ("application/octet-stream", true),
            ("Application/Octet-Stream ; charset=UTF-8", true),
            ("application/octet-streams", false),
            ("text/plain; x=application/octet-stream", false),
            ("", false),
        ] {
            let request = request("/", 1, &[("content-type", value)]);
            assert_eq!(request.is_content_type("application/octet-stream"), expected, "{value}");
        }
        assert!(!request("/", 1, &[]).is_content_type(""));
    }

    #[test]
    fn a_compact_copy_is_equal_and_debug_keeps_secrets() {
        let request = request("/a?sid=secret", 1, &[("Cookie", "secret")]);
        assert_eq!(request.compact(), request);
        assert!(!format!("{request:?}").contains("secret"));
    }

    /// Hardening A4.
    #[test]
    fn debug_shows_no_session_id_in_a_path() {
        for (path, shown) in [
            (
                "/socket.io/1/websocket/f2OB-Gs9-F9dtPdjA7X9",
                "/socket.io/1/websocket/…",
            ),
            (
                "/socket.io/jsonp-polling/4895096807746584/1795447966104/0",
                "/socket.io/jsonp-polling/…/1795447966104/0",
            ),
            ("/socket.io/1//f2OB-Gs9-F9dtPdjA7X9/", "/socket.io/1//…/"),
            ("/about.html", "/about.html"),
        ] {
            let debug = format!("{:?}", request(path, 1, &[]));
            assert!(debug.contains(&format!("path: \"{shown}\"")), "{debug}");
        }
    }
}
