//! Answers to HTTP requests: the request that is answered, and the headers that all its answers
//! carry.
//!
//! CORS follows the middleware that genuine servers use (docs/protocol/engine-io.md §4.7): the
//! headers stand in every answer of polling, in errors and in the 101. A preflight is answered with
//! 204 before any other check.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::output::{Body, Outputs, Response};
use super::{PollEncoding, Request, Stream, StreamForm, Write};
use crate::config::CorsOrigins;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::http::{FixedFields, Name};
use crate::request::origin;
use crate::{Config, Cors, Frame, LinkId, Origins, http, websocket};

/// Header fields of an answer, in order.
pub(crate) type AnswerHeaders = Vec<(&'static str, ByteString)>;

/// Header fields that do not depend on the request.
pub(crate) type FixedHeaders = &'static FixedFields;

/// The header of every answer. With it, no browser treats an answer as another type, such as a page
/// or a script.
static PLAIN: FixedFields = FixedFields::new(
    &[("X-Content-Type-Options", "nosniff")],
    "X-Content-Type-Options: nosniff\r\n",
);

/// The headers of an answer whose CORS headers depend on the page.
static VARYING: FixedFields = FixedFields::new(
    &[("X-Content-Type-Options", "nosniff"), ("Vary", "Origin")],
    "X-Content-Type-Options: nosniff\r\nVary: Origin\r\n",
);

/// [`PLAIN`], for an answer that nobody may keep, such as that of a poll.
static PLAIN_NO_STORE: FixedFields = FixedFields::new(
    &[("X-Content-Type-Options", "nosniff"), NO_STORE],
    "X-Content-Type-Options: nosniff\r\ncache-control: no-store\r\n",
);

const NO_STORE: (&str, &str) = ("cache-control", "no-store");

/// The longest list of header names that a preflight answer repeats, in bytes.
const MAX_ASKED_HEADERS_BYTES: usize = 1024;

/// The facts about a request that its answer needs.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) link: LinkId,
    exchange: http::Exchange,
    fixed: FixedHeaders,
    /// Headers that every answer to this request carries.
    headers: AnswerHeaders,
}

// Every GET that is held has one.
const _: () = assert!(size_of::<Asker>() <= 48);

impl Asker {
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        Holding::list::<(&'static str, ByteString)>(self.headers.capacity())
            .and(Holding::memory(size_of::<Self>()))
            .with(self.headers.iter().map(|(_, value)| value.len()))
    }

    /// For a request whose answers carry the CORS headers of the config.
    pub(crate) fn new(config: &Config, link: LinkId, request: &Request) -> Self {
        let (fixed, headers) = cors_headers(config, request);
        Self::of(link, request, fixed, headers)
    }

    /// For a request whose answers carry no CORS headers, whatever its page is.
    pub(crate) fn without_cors(link: LinkId, request: &Request) -> Self {
        Self::of(link, request, &PLAIN, Vec::new())
    }

    /// For a request whose answers carry these CORS headers, and for another page would carry
    /// others.
    pub(crate) fn with_cors(link: LinkId, request: &Request, headers: AnswerHeaders) -> Self {
        Self::of(link, request, &VARYING, headers)
    }

    /// The asker of a request, with the fields that the application adds to the answer.
    fn of(link: LinkId, request: &Request, fixed: FixedHeaders, mut headers: AnswerHeaders) -> Self {
        headers.extend_from_slice(request.answer_headers.fields());
        Self {
            link,
            exchange: request.http.exchange(),
            fixed,
            headers,
        }
    }

    /// Puts the asker into a place of its own, while its GET is held. Most GETs are held for a
    /// moment only, so the place of the last one is used again.
    pub(crate) fn park(self, spare: &mut Option<Box<Self>>) -> Box<Self> {
        match spare.take() {
            Some(mut place) => {
                *place = self;
                place
            }
            None => Box::new(self),
        }
    }

    /// Takes a parked asker out of its place, and keeps the place for the next one.
    pub(crate) fn unpark(mut place: Box<Self>, spare: &mut Option<Box<Self>>) -> Self {
        let nobody = Self {
            link: LinkId::new(0, 0),
            exchange: http::Exchange::CLOSING,
            fixed: &PLAIN,
            headers: Vec::new(),
        };
        let asker = core::mem::replace(&mut *place, nobody);
        *spare = Some(place);
        asker
    }

    /// Whether the connection can carry another request after the answer.
    pub(crate) const fn keeps_alive(&self) -> bool {
        self.exchange.keep_alive
    }

    /// Adds a header to the answer.
    pub(crate) fn header(&mut self, name: &'static str, value: impl Into<ByteString>) {
        self.headers.push((name, value.into()));
    }

    /// Asks caches to keep no copy. The field stands behind all others: if there are no others, the
    /// fixed fields have it, and nothing is allocated.
    pub(crate) fn no_store(&mut self) {
        if self.headers.is_empty() && core::ptr::eq(self.fixed, &PLAIN) {
            self.fixed = &PLAIN_NO_STORE;
        } else {
            self.header(NO_STORE.0, ByteString::from_static(NO_STORE.1));
        }
    }

    /// The headers for an answer that is not a [`Response`]. It has no content that a browser could
    /// misread.
    fn into_headers(mut self) -> AnswerHeaders {
        let varying = self.fixed.fields().iter().filter(|(name, _)| *name == "Vary");
        let varying = varying.map(|(name, value)| (*name, ByteString::from_static(value)));
        self.headers.extend(varying);
        self.headers
    }

    /// Makes the connection end with this answer.
    pub(crate) const fn closing(mut self) -> Self {
        self.exchange.keep_alive = false;
        self
    }

    /// Makes the connection end with the answer of an asker that waits.
    pub(crate) const fn end_connection(&mut self) {
        self.exchange.keep_alive = false;
    }

    pub(crate) fn answer(self, status: u16, content_type: Option<&'static str>, body: impl Into<Bytes>) -> Write {
        self.respond(status, content_type, Body::Bytes(body.into()))
    }

    /// Answers with packets, in memory that has been used before if there is any.
    pub(crate) fn answer_packets_in(
        self,
        out: &mut Outputs,
        content_type: &'static str,
        frames: Vec<Frame>,
        encoding: PollEncoding,
    ) {
        let (link, body) = (self.link, Body::Packets(frames, encoding));
        out.respond(link, self.response(200, Some(content_type), body));
    }

    pub(crate) fn answer_packets(
        self,
        content_type: &'static str,
        frames: Vec<Frame>,
        encoding: PollEncoding,
    ) -> Write {
        self.respond(200, Some(content_type), Body::Packets(frames, encoding))
    }

    /// The beginning of an endless answer.
    pub(crate) fn stream(self, form: StreamForm) -> Write {
        let stream = Stream {
            fixed: self.fixed,
            headers: self.headers,
            form,
            exchange: self.exchange,
        };
        Write::Stream(self.link, Box::new(stream))
    }

    fn respond(self, status: u16, content_type: Option<&'static str>, body: Body) -> Write {
        Write::Response(self.link, Box::new(self.response(status, content_type, body)))
    }

    pub(crate) fn response(self, status: u16, content_type: Option<&'static str>, body: Body) -> Response {
        Response {
            status,
            content_type,
            fixed: self.fixed,
            headers: self.headers,
            body,
            exchange: self.exchange,
        }
    }
}

/// The answer to a request whose session is on another server that cannot be reached now: 503, with
/// the headers that pages of other origins need to read it. Genuine clients connect again.
#[must_use]
pub fn unavailable(config: &Config, link: LinkId, request: &Request) -> Write {
    const BODY: Bytes = Bytes::from_static(b"session not reachable");
    Asker::new(config, link, request).answer(503, Some("text/plain"), BODY)
}

/// The value of a header as text; values that are not UTF-8 count as absent.
pub(crate) fn header<'a>(request: &'a http::Request, name: &str) -> Option<&'a str> {
    request
        .headers
        .get(name)
        .and_then(|value| core::str::from_utf8(value).ok())
}

/// The value of a header that the server asks for, as text, as [`header`] finds it.
fn known(request: &http::Request, name: Name) -> Option<&str> {
    request
        .headers
        .known(name)
        .and_then(|value| core::str::from_utf8(value).ok())
}

/// Whether any page of another origin may read answers.
fn has_cors(config: &Config) -> bool {
    match (&config.cors, &config.origins) {
        (_, Origins::List(_)) => true,
        (None, origins) => *origins == Origins::Any,
        (Some(cors), _) => !cors.is_nobody(),
    }
}

/// The CORS headers of a config. Pages of listed origins may open sessions and may also read the
/// answers. The list may be that of CORS or that of origins.
fn cors_headers(config: &Config, request: &Request) -> (FixedHeaders, AnswerHeaders) {
    if !has_cors(config) {
        return (&PLAIN, Vec::new());
    }
    let (any, credentials) = match &config.cors {
        Some(cors) => (cors.origins == CorsOrigins::Any, cors.credentials),
        None => (config.origins.are_open(), !config.origins.are_open()),
    };
    let mut headers = Vec::new();
    let fixed = if any {
        headers.push(("Access-Control-Allow-Origin", ByteString::from_static("*")));
        &PLAIN
    } else {
        if let Some(origin) = origin(&request.http).filter(|_| request.may_read()) {
            headers.push(("Access-Control-Allow-Origin", ByteString::from(origin)));
        }
        &VARYING
    };
    if credentials {
        headers.push(("Access-Control-Allow-Credentials", ByteString::from_static("true")));
    }
    if let Some(exposed) = config
        .cors
        .as_ref()
        .and_then(Cors::exposed)
        .filter(|list| !list.is_empty())
    {
        headers.push(("Access-Control-Expose-Headers", exposed.clone()));
    }
    (fixed, headers)
}

/// The header names that a preflight asks for, if they can be repeated.
pub(crate) fn asked_headers(request: &http::Request) -> Option<&str> {
    let is_name = |b: u8| http::is_token_byte(b) || matches!(b, b',' | b' ');
    header(request, "access-control-request-headers")
        .filter(|asked| asked.len() <= MAX_ASKED_HEADERS_BYTES && asked.bytes().all(is_name))
}

/// The answer to a preflight, if the config has CORS and the request is a preflight.
pub(crate) fn preflight(config: &Config, link: LinkId, request: &Request) -> Option<Write> {
    if request.http.method != http::Method::Options || !has_cors(config) {
        return None;
    }
    let mut asker = Asker::new(config, link, request);
    let varies = *asker.fixed == VARYING;
    asker.fixed = &PLAIN;
    let implied = Cors::any();
    let (methods, allowed, max_age) = config.cors.as_ref().unwrap_or(&implied).preflight();
    asker.header("Access-Control-Allow-Methods", methods);
    let vary = match (varies, allowed.is_none()) {
        (true, true) => "Origin, Access-Control-Request-Headers",
        (true, false) => "Origin",
        (false, true) => "Access-Control-Request-Headers",
        (false, false) => "",
    };
    if !vary.is_empty() {
        asker.header("Vary", ByteString::from_static(vary));
    }
    let allowed = allowed.or_else(|| asked_headers(&request.http).map(ByteString::from));
    if let Some(allowed) = allowed.filter(|list| !list.is_empty()) {
        asker.header("Access-Control-Allow-Headers", allowed);
    }
    if let Some(max_age) = max_age {
        asker.header("Access-Control-Max-Age", max_age);
    }
    Some(asker.answer(204, None, Bytes::new()))
}

/// Whether the link of a request is encrypted, by its own TLS or by the TLS of a proxy.
pub(crate) const fn is_secure(config: &Config, request: &Request) -> bool {
    request.peer.secure || config.behind_tls
}

/// Accepts a websocket, or refuses it. Returns the value for the 101 that follows from the peer's
/// key, and the other headers.
pub(crate) fn accept_websocket(mut asker: Asker, request: &http::Request) -> Result<([u8; 28], AnswerHeaders), Write> {
    let upgrade = websocket::UpgradeRequest {
        method: request.method.name().unwrap_or(""),
        http_minor: request.version_minor,
        upgrade: known(request, Name::Upgrade),
        connection: known(request, Name::Connection),
        key: known(request, Name::SecWebSocketKey),
        version: known(request, Name::SecWebSocketVersion),
    };
    match upgrade.accept() {
        Ok(accept) => {
            // If the page offered subprotocols and none is chosen, browsers fail the connection.
            // Genuine servers choose the first one.
            if let Some(protocol) =
                known(request, Name::SecWebSocketProtocol).and_then(websocket::handshake::first_protocol)
            {
                asker.header("Sec-WebSocket-Protocol", ByteString::from(protocol));
            }
            Ok((accept.bytes(), asker.into_headers()))
        }
        Err(error) => {
            if let Some((name, value)) = error.header() {
                asker.header(name, ByteString::from_static(value));
            }
            Err(asker.closing().answer(
                error.status(),
                Some("text/html"),
                Bytes::from(error.to_string().into_bytes()),
            ))
        }
    }
}
