//! Answering HTTP requests: who asked, what headers every answer to them carries, who may ask at all.
//!
//! CORS follows the semantics of the middleware that genuine servers use (docs/protocol/engine-io.md §4.7): headers on every answer of
//! polling, on errors and on the 101; a preflight is answered 204 before anything else is looked at.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;
use bytestring::ByteString;

use super::output::{Body, Response};
use super::{PollEncoding, Stream, StreamForm, Write};
use crate::{Config, Cors, Frame, LinkId, Origins, http, websocket};

/// Header fields of an answer, in order.
pub(crate) type AnswerHeaders = Vec<(&'static str, ByteString)>;

/// What an answer has to know of its request.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) link: LinkId,
    exchange: http::Exchange,
    /// Headers that every answer to this request carries.
    headers: AnswerHeaders,
}

impl Asker {
    /// For a request whose answers carry the CORS headers of the config.
    pub(crate) fn new(config: &Config, link: LinkId, request: &http::Request) -> Self {
        let headers = config
            .cors
            .as_ref()
            .map_or_else(Vec::new, |cors| cors_headers(cors, request));
        Self {
            link,
            exchange: request.exchange(),
            headers,
        }
    }

    /// For a request whose answers carry these headers.
    pub(crate) fn with_headers(link: LinkId, request: &http::Request, headers: AnswerHeaders) -> Self {
        Self {
            link,
            exchange: request.exchange(),
            headers,
        }
    }

    /// Adds a header to the answer.
    pub(crate) fn header(&mut self, name: &'static str, value: impl Into<ByteString>) {
        self.headers.push((name, value.into()));
    }

    /// The headers, for an answer that is no [`Response`].
    fn into_headers(self) -> AnswerHeaders {
        self.headers
    }

    /// Makes the connection end with this answer.
    pub(crate) const fn closing(mut self) -> Self {
        self.exchange.keep_alive = false;
        self
    }

    pub(crate) fn answer(self, status: u16, content_type: Option<&'static str>, body: impl Into<Bytes>) -> Write {
        self.respond(status, content_type, Body::Bytes(body.into()))
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
            headers: self.headers,
            form,
            exchange: self.exchange,
        };
        Write::Stream(self.link, Box::new(stream))
    }

    fn respond(self, status: u16, content_type: Option<&'static str>, body: Body) -> Write {
        let response = Response {
            status,
            content_type,
            headers: self.headers,
            body,
            exchange: self.exchange,
        };
        Write::Response(self.link, Box::new(response))
    }
}

/// The value of a header as text; values that are not UTF-8 count as absent.
pub(crate) fn header<'a>(request: &'a http::Request, name: &str) -> Option<&'a str> {
    request
        .headers
        .get(name)
        .and_then(|value| core::str::from_utf8(value).ok())
}

fn cors_headers(cors: &Cors, request: &http::Request) -> AnswerHeaders {
    let mut headers = Vec::new();
    if cors.origins.is_empty() {
        headers.push(("Access-Control-Allow-Origin", ByteString::from_static("*")));
    } else {
        if let Some(origin) = header(request, "origin").filter(|o| cors.origins.iter().any(|c| c == o)) {
            headers.push(("Access-Control-Allow-Origin", ByteString::from(origin)));
        }
        headers.push(("Vary", ByteString::from_static("Origin")));
    }
    if cors.credentials {
        headers.push(("Access-Control-Allow-Credentials", ByteString::from_static("true")));
    }
    headers
}

/// The answer to a preflight, if the config has CORS and this is one.
pub(crate) fn preflight(config: &Config, link: LinkId, request: &http::Request) -> Option<Write> {
    let cors = config
        .cors
        .as_ref()
        .filter(|_| request.method == http::Method::Options)?;
    let mut headers = cors_headers(cors, request);
    headers.push((
        "Access-Control-Allow-Methods",
        ByteString::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"),
    ));
    if let Some((_, vary)) = headers.iter_mut().find(|(name, _)| *name == "Vary") {
        *vary = ByteString::from_static("Origin, Access-Control-Request-Headers");
    } else {
        headers.push(("Vary", ByteString::from_static("Access-Control-Request-Headers")));
    }
    if let Some(asked) = header(request, "access-control-request-headers") {
        headers.push(("Access-Control-Allow-Headers", ByteString::from(asked)));
    }
    Some(Asker::with_headers(link, request, headers).answer(204, None, Bytes::new()))
}

/// Whether the page that sent this may open sessions ([`Origins`]). A request without `Origin` comes from no page.
pub(crate) fn origin_allowed(config: &Config, request: &http::Request) -> bool {
    match origin(request).map(core::str::from_utf8) {
        None => true,
        Some(Ok(origin)) => is_allowed(config, request, origin),
        Some(Err(_)) => config.origins == Origins::Any,
    }
}

/// The origin that a request names. The drafts of WebSocket before RFC 6455 have it in a header of their own (docs/protocol/legacy-0.9.md §9).
fn origin(request: &http::Request) -> Option<&[u8]> {
    let headers = &request.headers;
    headers.get("origin").or_else(|| headers.get("sec-websocket-origin"))
}

/// The same for a request whose answer is a script. Browsers send no `Origin` with those, and let every page run them: what
/// they say instead is in `Referer`, and in `Sec-Fetch-Site`. A request with none of them comes from no browser of today.
pub(crate) fn script_allowed(config: &Config, request: &http::Request) -> bool {
    if config.origins == Origins::Any || origin(request).is_some() {
        return origin_allowed(config, request);
    }
    match (header(request, "referer"), header(request, "sec-fetch-site")) {
        (Some(page), _) => {
            let path = page
                .split_once("://")
                .and_then(|(_, rest)| rest.find('/').map(|at| rest.len() - at));
            is_allowed(config, request, &page[..page.len() - path.unwrap_or(0)])
        }
        (None, Some(site)) => !matches!(site, "cross-site" | "same-site"),
        (None, None) => true,
    }
}

/// Whether an origin is one of those that the config allows.
fn is_allowed(config: &Config, request: &http::Request, origin: &str) -> bool {
    match &config.origins {
        Origins::Any => true,
        Origins::List(patterns) => patterns.iter().any(|pattern| pattern.fits(origin)),
        Origins::SameHost => is_of_host(config, request, origin),
    }
}

/// Whether an origin is listed for CORS, or is the host itself.
fn is_of_host(config: &Config, request: &http::Request, origin: &str) -> bool {
    let listed = |cors: &Cors| cors.origins.is_empty() || cors.origins.iter().any(|o| o == origin);
    let same_host = || {
        let (scheme, authority) = origin.split_once("://")?;
        let port = if scheme == "https" { ":443" } else { ":80" };
        let plain = |a: &str| a.strip_suffix(port).unwrap_or(a).to_ascii_lowercase();
        Some(plain(authority) == plain(header(request, "host")?))
    };
    config.cors.as_ref().is_some_and(listed) || same_host().unwrap_or(false)
}

/// Agrees to a websocket, or says why not: what the 101 tells the peer from its key, and its further headers.
pub(crate) fn accept_websocket(mut asker: Asker, request: &http::Request) -> Result<([u8; 28], AnswerHeaders), Write> {
    let upgrade = websocket::UpgradeRequest {
        method: request.method.name().unwrap_or(""),
        http_minor: request.version_minor,
        upgrade: header(request, "upgrade"),
        connection: header(request, "connection"),
        key: header(request, "sec-websocket-key"),
        version: header(request, "sec-websocket-version"),
    };
    match upgrade.accept() {
        Ok(accept) => {
            // Browsers fail the connection if they offered subprotocols and none is chosen; genuine servers choose the first.
            if let Some(protocol) =
                header(request, "sec-websocket-protocol").and_then(websocket::handshake::first_protocol)
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
