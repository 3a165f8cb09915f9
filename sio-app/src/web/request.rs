//! The application's own HTTP: requests that are not for Socket.IO, and the answers to them.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Serialize;
use sio_proto::http::{Exchange, FixedFields, Headers, Method, Query};
use sio_proto::server::{self, Body, Extension, Peer, Response};

/// A request, as the application sees it.
pub struct HttpRequest<'a>(&'a server::Request);

impl<'a> HttpRequest<'a> {
    pub(crate) const fn new(request: &'a server::Request) -> Self {
        Self(request)
    }

    /// Returns the method.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.0.http.method
    }

    /// Returns the path as it came, without the query.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.0.http.path()
    }

    /// Returns the pairs of the query.
    #[must_use]
    pub fn query(&self) -> Query {
        self.0.http.query_pairs()
    }

    /// Returns the header fields.
    #[must_use]
    pub const fn headers(&self) -> &'a Headers {
        &self.0.http.headers
    }

    /// Returns the first header field with this name, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        self.0.http.headers.text(name)
    }

    /// Returns the body. It is empty if the body was larger than the server takes.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.0.http.body.as_deref().unwrap_or_default()
    }

    /// Whether the request may open a session. In the generations before 1.0 some requests of open
    /// sessions look like such a request.
    #[must_use]
    pub const fn may_open_session(&self) -> bool {
        self.0.may_open_session()
    }

    /// Returns who sent the request.
    #[must_use]
    pub const fn peer(&self) -> &'a Peer {
        &self.0.peer
    }

    /// Returns a value of this type that another HTTP server has put into the request's extensions;
    /// see [`Socket::extension`](crate::Socket::extension).
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&'a T> {
        extension(self.0.extension.as_ref())
    }
}

/// Returns the value of this type in an extension: the extension itself, or a value of a type map.
pub(crate) fn extension<T: Any + Send + Sync>(extension: Option<&Extension>) -> Option<&T> {
    let extension = extension?;
    let itself = extension.downcast_ref();
    #[cfg(feature = "http")]
    let itself = itself.or_else(|| extension.downcast_ref::<http::Extensions>()?.get());
    itself
}

impl fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.http.fmt(f)
    }
}

/// The application's answer to a request.
///
/// ```
/// use sio_app::HttpResponse;
/// let page = HttpResponse::html("<h1>hello</h1>").header("Cache-Control", "no-store");
/// let missing = HttpResponse::new(404);
/// ```
#[derive(Debug)]
pub struct HttpResponse(pub(crate) Response);

impl HttpResponse {
    /// Makes an answer with this status and no body.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self::of(status, None, Bytes::new())
    }

    const fn of(status: u16, content_type: Option<&'static str>, body: Bytes) -> Self {
        // The exchange is set when the answer is sent.
        let exchange = Exchange::CLOSING;
        Self(Response {
            status,
            content_type,
            // The application decides itself on such headers.
            fixed: FixedFields::NONE,
            headers: Vec::new(),
            body: Body::Bytes(body),
            exchange,
        })
    }

    /// Makes an answer with status 200 and plain text.
    #[must_use]
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self::of(200, Some("text/plain; charset=utf-8"), body.into())
    }

    /// Makes an answer with status 200 and an HTML page.
    #[must_use]
    pub fn html(body: impl Into<Bytes>) -> Self {
        Self::of(200, Some("text/html; charset=utf-8"), body.into())
    }

    /// Makes an answer with status 200 and JSON. The status is 500 if the value cannot be written
    /// as JSON.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        serde_json::to_vec(value).map_or_else(
            |_| Self::new(500),
            |body| Self::of(200, Some("application/json"), body.into()),
        )
    }

    /// Sets the status.
    #[must_use]
    pub const fn status(mut self, status: u16) -> Self {
        self.0.status = status;
        self
    }

    /// Sets the body and its content type.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.0.content_type = Some(content_type);
        self.0.body = Body::Bytes(body.into());
        self
    }

    /// Adds a header field. A field that is not valid in a response is left out when the response
    /// is written.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, ByteString::from(value.into())));
        self
    }
}
