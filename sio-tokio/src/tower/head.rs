//! Converts the head of a request from hyper's type to the type that a shard reads.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{COOKIE, HOST, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, StatusCode, Version};
use sio_app::{Extension, Peer};
use sio_proto::http::{Headers, HttpError, Limits, Request};

/// An answer that is given before any session is asked: the status, and the reason as text.
pub(super) type Refusal = (StatusCode, &'static str);

/// Copies the head into one buffer. A head above our own limits is refused, because a session keeps
/// the head of its handshake.
pub(super) fn convert(parts: &Parts, limits: &Limits) -> Result<Request, Refusal> {
    // A websocket over HTTP/2 (RFC 8441) would use a stream of HTTP/2 as its socket. We do not
    // support it.
    if parts.method == Method::CONNECT {
        return Err((
            StatusCode::NOT_IMPLEMENTED,
            "no websocket over HTTP/2: use HTTP/1.1 or polling",
        ));
    }
    // A handshake of hixie-75 or hixie-76. hyper does not let us read the key that follows the
    // head.
    if is_websocket(&parts.headers) && !parts.headers.contains_key(SEC_WEBSOCKET_KEY) {
        return Err((StatusCode::BAD_REQUEST, "a websocket handshake of RFC 6455 is needed"));
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    if target.len() > limits.max_target_bytes {
        return Err(too_large(HttpError::TargetTooLong));
    }
    let fields = || {
        parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
    };
    let bytes = fields()
        .map(|(name, value)| name.len() + value.len() + 4)
        .sum::<usize>();
    if target.len() + bytes > limits.max_head_bytes {
        return Err(too_large(HttpError::HeadTooLarge));
    }
    if parts.headers.len() > limits.max_headers {
        return Err(too_large(HttpError::TooManyHeaders));
    }
    let is_http1 = parts.version < Version::HTTP_2;
    let headers: Headers = if is_http1 {
        match parts.uri.authority() {
            None => fields().collect(),
            // A target in absolute form names the host, and the field `Host` is ignored (RFC 9112
            // §3.2.2).
            Some(authority) => {
                let host = (HOST.as_str(), authority.as_str().as_bytes());
                let others = fields().filter(|(name, _)| *name != HOST.as_str());
                std::iter::once(host).chain(others).collect()
            }
        }
    } else {
        joined(parts, fields().map(|(name, value)| (name, Cow::Borrowed(value))))
    };
    Ok(Request {
        method: sio_app::Method::from_name(parts.method.as_str()),
        target: target.into(),
        version_minor: u8::from(parts.version > Version::HTTP_10),
        headers,
        body: Ok(Bytes::new()),
    })
}

fn too_large(error: HttpError) -> Refusal {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    (status, "the head of the request is larger than this server takes")
}

fn is_websocket(headers: &HeaderMap) -> bool {
    headers
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Returns the fields in the form of HTTP/1.1: the host is a field (RFC 9113 §8.3.1), and all
/// cookies are in one field (§8.2.3).
fn joined<'a>(parts: &'a Parts, fields: impl Iterator<Item = (&'a str, Cow<'a, [u8]>)>) -> Headers {
    let crumbs: Vec<&[u8]> = parts
        .headers
        .get_all(COOKIE)
        .iter()
        .map(|crumb| crumb.as_bytes())
        .collect();
    let cookie = (!crumbs.is_empty()).then(|| (COOKIE.as_str(), Cow::Owned(crumbs.join(&b"; "[..]))));
    let authority = parts.uri.authority().filter(|_| !parts.headers.contains_key(HOST));
    let host = authority.map(|authority| (HOST.as_str(), Cow::Borrowed(authority.as_str().as_bytes())));
    let others = fields.filter(|(name, _)| *name != COOKIE.as_str());
    host.into_iter().chain(others).chain(cookie).collect()
}

/// Returns what the extensions say about the other end: a [`Peer`], or the address of axum's
/// listener.
pub(super) fn peer(extensions: &Extensions) -> Peer {
    let mut peer = extensions.get::<Peer>().copied().unwrap_or_default();
    #[cfg(feature = "axum")]
    if peer.address.is_none() {
        peer.address = crate::axum::remote_address(extensions);
    }
    peer
}

/// Takes the request's extensions for the session: all of them, or `None` if there are none.
pub(super) fn extension(extensions: &mut Extensions) -> Option<Extension> {
    let extensions = std::mem::take(extensions);
    (!extensions.is_empty()).then(|| Arc::new(extensions) as Extension)
}
