//! Responses: this module turns our own responses into the host's type. The body of a response is
//! either ours or the inner service's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, UPGRADE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sio_app::adapter::EndlessBody;
use sio_proto::server;

use super::head::Refusal;

pin_project! {
    /// The body of a response, from Socket.IO or from the inner service.
    #[derive(Debug)]
    pub struct ResponseBody<R> {
        #[pin]
        kind: Kind<R>,
    }
}

pin_project! {
    #[project = KindProjection]
    #[derive(Debug)]
    enum Kind<R> {
        Inner { #[pin] body: R },
        Whole { bytes: Bytes },
        // Boxed, so that this variant does not make the whole enum larger.
        Endless { body: Box<EndlessBody> },
    }
}

impl<R> ResponseBody<R> {
    pub(super) const fn inner(body: R) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    fn endless(body: EndlessBody) -> Self {
        let body = Box::new(body);
        Self {
            kind: Kind::Endless { body },
        }
    }

    pub(super) const fn whole(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Whole { bytes },
        }
    }
}

impl<R: Body<Data = Bytes>> Body for ResponseBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => body.poll_frame(cx),
            KindProjection::Whole { bytes } if bytes.is_empty() => Poll::Ready(None),
            KindProjection::Whole { bytes } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            KindProjection::Endless { body } => body.poll_bytes(cx).map(|bytes| Some(Ok(Frame::data(bytes?)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Whole { bytes } => bytes.is_empty(),
            Kind::Endless { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Whole { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Kind::Endless { .. } => SizeHint::default(),
        }
    }
}

/// Converts a complete response of a session.
pub(super) fn response<R>(response: &mut server::Response, version: Version) -> http::Response<ResponseBody<R>> {
    let body = ResponseBody::whole(response.take_body(&mut BytesMut::new()));
    let status = StatusCode::from_u16(response.status).ok();
    let headers = fields(response.fields());
    let (Some(status), Some(headers)) = (status, headers) else {
        return refusal((StatusCode::INTERNAL_SERVER_ERROR, ""), version);
    };
    answer(status, headers, body, response.exchange.keep_alive, version)
}

/// Builds a response whose body has no known end.
pub(super) fn endless<R>(
    stream: &server::Stream,
    body: EndlessBody,
    version: Version,
) -> http::Response<ResponseBody<R>> {
    let Some(headers) = fields(stream.fields()) else {
        return refusal((StatusCode::INTERNAL_SERVER_ERROR, ""), version);
    };
    let body = ResponseBody::endless(body);
    answer(StatusCode::OK, headers, body, stream.form.keep_alive, version)
}

/// Builds the answer that makes the connection a websocket.
pub(super) fn switching<R>(upgrade: &server::Upgrade) -> http::Response<ResponseBody<R>> {
    let accept = HeaderValue::from_bytes(&upgrade.accept);
    let (Some(mut headers), Ok(accept)) = (
        fields(upgrade.headers.iter().map(|(name, value)| (*name, &**value))),
        accept,
    ) else {
        return refusal((StatusCode::INTERNAL_SERVER_ERROR, ""), Version::HTTP_11);
    };
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    let body = ResponseBody::whole(Bytes::new());
    answer(StatusCode::SWITCHING_PROTOCOLS, headers, body, true, Version::HTTP_11)
}

/// Builds an answer that comes from no session. The connection ends after it.
pub(super) fn refusal<R>((status, why): Refusal, version: Version) -> http::Response<ResponseBody<R>> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let body = ResponseBody::whole(Bytes::from_static(why.as_bytes()));
    answer(status, headers, body, false, version)
}

/// Puts an answer together. HTTP/2 has no `Connection` header: each of its streams carries one
/// answer and then ends anyway.
fn answer<R>(
    status: StatusCode,
    mut headers: HeaderMap,
    body: ResponseBody<R>,
    keep_alive: bool,
    version: Version,
) -> http::Response<ResponseBody<R>> {
    if !keep_alive && version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut answer = http::Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// Converts the header fields of a response. Returns `None` if a name or value is not valid in a
/// header.
fn fields<'a>(fields: impl Iterator<Item = (&'static str, &'a str)>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value).ok()?);
    }
    Some(headers)
}
