//! What is answered: our own responses as those of the host, and a body that is ours or the inner service's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sio_proto::server;

use super::head::Refusal;

pin_project! {
    /// The body of a response: of Socket.IO's, or of the inner service's.
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
    }
}

impl<R> ResponseBody<R> {
    pub(super) const fn inner(body: R) -> Self {
        Self {
            kind: Kind::Inner { body },
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
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Whole { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Whole { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// A complete response of a session's.
pub(super) fn response<R>(response: &mut server::Response, version: Version) -> http::Response<ResponseBody<R>> {
    let body = response.take_body(&mut BytesMut::new());
    let content_type = response.content_type.map(|value| ("content-type", value));
    let others = response.headers.iter().map(|(name, value)| (*name, &**value));
    let status = StatusCode::from_u16(response.status).ok();
    let headers = fields(content_type.into_iter().chain(others));
    let (Some(status), Some(headers)) = (status, headers) else {
        return refusal((StatusCode::INTERNAL_SERVER_ERROR, ""), version);
    };
    let mut answer = http::Response::new(ResponseBody::whole(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    if !response.exchange.keep_alive {
        close(&mut answer, version);
    }
    answer
}

/// The answer that makes the connection a websocket.
pub(super) fn switching<R>(upgrade: &server::Upgrade) -> http::Response<ResponseBody<R>> {
    let others = upgrade.headers.iter().map(|(name, value)| (*name, &**value));
    let accept = HeaderValue::from_bytes(&upgrade.accept);
    let (Some(mut headers), Ok(accept)) = (fields(others), accept) else {
        return refusal((StatusCode::INTERNAL_SERVER_ERROR, ""), Version::HTTP_11);
    };
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    let mut answer = http::Response::new(ResponseBody::whole(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = headers;
    answer
}

/// An answer that no session has been asked for; the connection ends with it.
pub(super) fn refusal<R>((status, why): Refusal, version: Version) -> http::Response<ResponseBody<R>> {
    let mut answer = http::Response::new(ResponseBody::whole(Bytes::from_static(why.as_bytes())));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    close(&mut answer, version);
    answer
}

/// The fields of a response; `None` if one cannot stand in a header.
fn fields<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value).ok()?);
    }
    Some(headers)
}

/// Nothing may follow on this connection. Streams of HTTP/2 end by themselves, and have no such field.
fn close<R>(answer: &mut http::Response<R>, version: Version) {
    if version < Version::HTTP_2 {
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
