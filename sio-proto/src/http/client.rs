//! The client's side: requests to bytes, bytes to responses.
//!
//! Heads, bodies and limits are shared with the server's side. The end of a response's body is
//! found in another way (RFC 9112 §6.3): it depends on the method of the request, on the status,
//! and sometimes on the end of the connection.

use alloc::boxed::Box;
use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::body::{BodyReader, Framing};
use super::encode::{check_headers, put_content_length, put_header, put_headers, reserve};
use super::error::{EncodeError, HttpError};
use super::head::{Head, HeadReader, StatusLine};
use super::headers::{Headers, is_host};
use super::limits::Limits;
use super::method::Method;
use super::request::keeps_alive;
use super::status::is_bodiless;
#[cfg(feature = "steps")]
use crate::holding::Holding;

/// Writes a request of HTTP/1.1. A request with a body has a `Content-Length`, even if it is 0. A
/// request without a body has none.
///
/// The caller passes `Connection` itself, for `close` and for upgrades.
///
/// # Errors
///
/// The target, the host or a header must not be written, or the method is [`Method::Other`].
/// Nothing has been written in this case.
pub fn encode_request(
    out: &mut BytesMut,
    method: Method,
    target: &str,
    host: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Result<(), EncodeError> {
    let method = method.name().ok_or(EncodeError::MethodWithoutName)?;
    let ends_target = |byte: u8| byte <= b' ' || byte == 0x7f;
    if target.is_empty() || target.bytes().any(ends_target) {
        return Err(EncodeError::InvalidTarget);
    }
    if !is_host(host.as_bytes()) {
        return Err(EncodeError::InvalidHost);
    }
    check_headers(headers, &["host", "content-length", "transfer-encoding"])?;

    let parts = [target.len(), host.len(), body.map_or(0, <[u8]>::len)];
    reserve(out, headers, parts.into_iter().fold(64, usize::saturating_add));
    out.put_slice(method.as_bytes());
    out.put_u8(b' ');
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    put_header(out, "Host", host);
    put_headers(out, headers);
    if let Some(body) = body {
        put_content_length(out, body.len());
    }
    out.put_slice(b"\r\n");
    out.put_slice(body.unwrap_or_default());
    Ok(())
}

/// A complete response.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status, from 101 on. Interim responses are skipped.
    pub status: u16,
    /// The phrase after the status. It is empty if there is none, or if it is not ASCII.
    pub reason: ByteString,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub version_minor: u8,
    /// The header fields.
    pub headers: Headers,
    /// The body, empty if there is none.
    pub body: Bytes,
    /// Whether the connection can carry another request.
    pub keep_alive: bool,
}

impl fmt::Debug for Response {
    /// Shows neither the body nor header values: handshakes carry session ids, which do not belong
    /// in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("reason", &self.reason)
            .field("version_minor", &self.version_minor)
            .field("headers", &self.headers)
            .field("body", &self.body.len())
            .field("keep_alive", &self.keep_alive)
            .finish()
    }
}

/// Reads the responses of one connection, in order.
#[derive(Debug, Default)]
pub struct ResponseDecoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Head(HeadReader<StatusLine>),
    Body(Box<Pending>),
    /// No response may follow.
    Over,
    /// What follows is not HTTP.
    Upgraded,
    Failed(HttpError),
}

impl Default for State {
    fn default() -> Self {
        Self::Head(HeadReader::default())
    }
}

/// A response whose body is still arriving.
#[derive(Debug)]
struct Pending {
    response: Response,
    body: BodyReader,
}

impl ResponseDecoder {
    /// A decoder for a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is kept of a response whose body is not complete.
    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        match &self.state {
            State::Body(pending) => {
                let head = pending
                    .response
                    .headers
                    .bytes()
                    .saturating_add(pending.response.reason.len());
                let body = Holding::memory(pending.body.held_bytes().saturating_add(size_of::<Pending>()));
                body.with([head])
            }
            State::Head(_) | State::Over | State::Upgraded | State::Failed(_) => Holding::default(),
        }
    }

    /// Takes the next response off the front of `bytes`. The response answers a request of method
    /// `to`. Returns `None` if more bytes are needed.
    ///
    /// Interim responses (1xx except 101) are skipped. After a 101, all further bytes stay in the
    /// buffer for the next decoder. After a response that ends the connection, all further bytes
    /// are dropped. When the connection ends, call [`decode_end`](Self::decode_end).
    ///
    /// # Errors
    ///
    /// The peer broke HTTP or a limit. Every later call returns the same error.
    pub fn decode(&mut self, to: Method, bytes: &mut BytesMut, limits: &Limits) -> Result<Option<Response>, HttpError> {
        let outcome = self.advance(to, bytes, limits);
        if let Err(error) = outcome {
            self.state = State::Failed(error);
        }
        outcome
    }

    /// Tells the decoder that the connection has ended. Returns the response that ends with the
    /// connection, if there is one.
    ///
    /// # Errors
    ///
    /// [`HttpError::Truncated`] if the connection ended inside a response, or the error that an
    /// earlier call returned.
    pub fn decode_end(&mut self, bytes: &BytesMut) -> Result<Option<Response>, HttpError> {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Head(reader) if reader.is_fresh() && bytes.is_empty() => Ok(None),
            State::Body(mut pending) if pending.body.is_until_close() => {
                pending.response.body = pending.body.finish();
                Ok(Some(pending.response))
            }
            State::Head(_) | State::Body(_) => {
                self.state = State::Failed(HttpError::Truncated);
                Err(HttpError::Truncated)
            }
            State::Over | State::Upgraded => Ok(None),
            State::Failed(error) => {
                self.state = State::Failed(error);
                Err(error)
            }
        }
    }

    fn advance(&mut self, to: Method, bytes: &mut BytesMut, limits: &Limits) -> Result<Option<Response>, HttpError> {
        match &mut self.state {
            State::Head(reader) => loop {
                match reader.read(bytes, limits)? {
                    None => return Ok(None),
                    Some(head) if head.start.status < 200 && head.start.status != 101 => {}
                    Some(head) => return self.begin(head, to, bytes, limits),
                }
            },
            State::Body(pending) => {
                let Some(body) = pending.body.read(bytes, limits)? else {
                    return Ok(None);
                };
                let State::Body(pending) = core::mem::take(&mut self.state) else {
                    return Ok(None);
                };
                Ok(Some(self.complete(pending.response, body)))
            }
            State::Upgraded => Ok(None),
            State::Over => {
                bytes.clear();
                Ok(None)
            }
            State::Failed(error) => {
                bytes.clear();
                Err(*error)
            }
        }
    }

    /// The head is complete: finds out which body follows.
    fn begin(
        &mut self,
        head: Head<StatusLine>,
        to: Method,
        bytes: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Response>, HttpError> {
        let StatusLine {
            status,
            reason,
            version_minor,
        } = head.start;
        let reason = head.bytes.slice_ref(reason.of(&head.bytes));
        let framing = if to == Method::Head || is_bodiless(status) {
            Framing::Length(0)
        } else {
            Framing::of_response(version_minor, &head.headers)?
        };
        let mut response = Response {
            status,
            reason: ByteString::try_from(reason).unwrap_or_default(),
            version_minor,
            keep_alive: framing != Framing::UntilClose && status != 101 && keeps_alive(version_minor, &head.headers),
            headers: head.headers,
            body: Bytes::new(),
        };
        let mut body = BodyReader::new(framing, limits)?;
        match body.read(bytes, limits)? {
            Some(body) => Ok(Some(self.complete(response, body))),
            None => {
                // A peer can make this last long, so the head is copied and the read buffer is
                // released.
                response.reason = ByteString::from(&*response.reason);
                response.headers = response.headers.compact();
                self.state = State::Body(Box::new(Pending { response, body }));
                Ok(None)
            }
        }
    }

    fn complete(&mut self, mut response: Response, body: Bytes) -> Response {
        self.state = match response.status {
            101 => State::Upgraded,
            _ if response.keep_alive => State::default(),
            _ => State::Over,
        };
        response.body = body;
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{
        BodyForm, Event, Exchange, RequestDecoder, ResponseFraming, encode_chunk, encode_last_chunk, encode_response,
        encode_response_head,
    };
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    type Outcome = Result<Response, HttpError>;

    /// Everything that a connection yields when its bytes come in these pieces and then end, and
    /// the bytes that are left.
    fn feed<'a>(to: Method, pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> (Vec<Outcome>, Bytes) {
        let (mut decoder, mut bytes, mut seen) = (ResponseDecoder::new(), BytesMut::new(), Vec::new());
        for piece in pieces {
            bytes.extend_from_slice(piece);
            loop {
                match decoder.decode(to, &mut bytes, limits) {
                    Ok(None) => break,
                    Ok(Some(response)) => seen.push(Ok(response)),
                    Err(error) => {
                        assert_eq!(decoder.decode_end(&bytes), Err(error), "errors stay");
                        seen.push(Err(error));
                        return (seen, Bytes::new());
                    }
                }
            }
        }
        seen.extend(decoder.decode_end(&bytes).transpose());
        (seen, bytes.freeze())
    }

    fn feed_both_ways(to: Method, input: &[u8], limits: &Limits) -> (Vec<Outcome>, Bytes) {
        let whole = feed(to, [input], limits);
        assert_eq!(feed(to, input.chunks(1), limits), whole, "{}", input.escape_ascii());
        whole
    }

    #[test]
    fn bodies_end_where_they_should() {
        for (to, input, expected) in [
            (
                Method::Get,
                &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 204 No Content\r\n\r\n"[..],
                &[(200, "OK", "ok", true), (204, "No Content", "", true)][..],
            ),
            (
                Method::Get,
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                  28\r\n{\"code\":0,\"message\":\"Transport unknown\"}\r\n0\r\n\r\nHTTP/1.1 304 x y\r\nContent-Length: 9\r\n\r\n",
                &[
                    (400, "Bad Request", r#"{"code":0,"message":"Transport unknown"}"#, true),
                    (304, "x y", "", true),
                ],
            ),
            (
                Method::Get,
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 200\r\n\r\nto the end",
                &[(200, "", "to the end", false)],
            ),
            (Method::Get, b"HTTP/1.1 200 \r\n\r\n", &[(200, "", "", false)]),
            (
                Method::Head,
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                &[(200, "OK", "", true), (200, "OK", "", true)],
            ),
            (
                Method::Post,
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nokdropped",
                &[(200, "OK", "ok", false)],
            ),
            (
                Method::Post,
                b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok",
                &[(200, "OK", "ok", true)],
            ),
            (Method::Get, b"HTTP/1.1 200 d\xe9j\xe0\r\nContent-Length: 0\r\n\r\n", &[(200, "", "", true)]),
            (Method::Get, b"", &[]),
        ] {
            let (seen, rest) = feed_both_ways(to, input, &Limits::default());
            let seen: Vec<_> = seen.into_iter().map(Result::unwrap).collect();
            let seen: Vec<_> = seen
                .iter()
                .map(|r| (r.status, &*r.reason, core::str::from_utf8(&r.body).unwrap(), r.keep_alive))
                .collect();
            assert_eq!(seen, expected, "{}", input.escape_ascii());
            assert_eq!(rest, b""[..]);
        }
    }

    #[test]
    fn what_follows_an_upgrade_is_left_alone() {
        let input = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\n\x81\x02hi";
        let (seen, rest) = feed_both_ways(Method::Get, input, &Limits::default());
        assert!(matches!(seen.as_slice(), [Ok(response)] if response.status == 101 && !response.keep_alive));
        assert_eq!(rest, b"\x81\x02hi"[..]);
    }

    #[test]
    fn broken_responses_are_refused() {
        let limits = Limits::default().max_body_bytes(4).max_head_bytes(100);
        for (input, error) in [
            (&b"x"[..], HttpError::InvalidStatusLine),
            (b"HTTP/1.1 20 OK\r\n", HttpError::InvalidStatusLine),
            (b"HTTP/1.1 099 OK\r\n", HttpError::InvalidStatusLine),
            (b"HTTP/1.1 2000 OK\r\n", HttpError::InvalidStatusLine),
            (b"HTTP/1.1  200 OK\r\n", HttpError::InvalidStatusLine),
            (b"HTTP/1.1 200 O\x01K\r\n", HttpError::InvalidStatusLine),
            (b"HTTP/1.1 200 OK\n", HttpError::BareLf),
            (b"HTTP/2.0 200 OK\r\n", HttpError::UnsupportedVersion),
            (b"HTTPS", HttpError::Truncated),
            (b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", HttpError::ObsFold),
            (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", HttpError::WhitespaceBeforeColon),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", HttpError::Truncated),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HttpError::BodyTooLarge),
            (b"HTTP/1.1 200 OK\r\n\r\n12345", HttpError::BodyTooLarge),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
                HttpError::Truncated,
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
                HttpError::BodyTooLarge,
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                HttpError::UnsupportedTransferEncoding,
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                HttpError::RepeatedContentLength,
            ),
            (&[b'H'; 100], HttpError::HeadTooLarge),
        ] {
            let (seen, _) = feed_both_ways(Method::Get, input, &limits);
            assert_eq!(seen, [Err(error)], "{}", input.escape_ascii());
        }
    }

    #[test]
    fn nothing_splits_a_request() {
        let get = Method::Get;
        for (method, target, host, header, error) in [
            (Method::Other, "/", "a", ("X", "y"), EncodeError::MethodWithoutName),
            (get, "", "a", ("X", "y"), EncodeError::InvalidTarget),
            (get, "/ HTTP/1.1\r\nX: y", "a", ("X", "y"), EncodeError::InvalidTarget),
            (get, "/", "a\r\nX: y", ("X", "y"), EncodeError::InvalidHost),
            (get, "/", "a/b", ("X", "y"), EncodeError::InvalidHost),
            (get, "/", "a", ("X", "y\r\n"), EncodeError::InvalidHeaderValue),
            (get, "/", "a", ("Host", "b"), EncodeError::FramingHeader),
            (get, "/", "a", ("content-length", "1"), EncodeError::FramingHeader),
        ] {
            let mut out = BytesMut::new();
            assert_eq!(
                encode_request(&mut out, method, target, host, &[header], None),
                Err(error)
            );
            assert!(out.is_empty(), "checked before written");
        }
    }

    fn header_fields() -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec(
            ("x-[!#-'*+.0-9A-Z^-z|~-]{0,12}", "([!-~é]([ -~\t]{0,20}[!-~])?)?"),
            0..6,
        )
    }

    fn borrow(headers: &[(String, String)]) -> Vec<(&str, &str)> {
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    proptest! {
        #[test]
        fn requests_come_back(
            method in prop_oneof![Just(Method::Get), Just(Method::Post), Just(Method::Head), Just(Method::Put)],
            target in "/[!-~é]{0,40}",
            headers in header_fields(),
            body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..100)),
        ) {
            let mut out = BytesMut::new();
            encode_request(&mut out, method, &target, "host:1", &borrow(&headers), body.as_deref()).unwrap();
            let event = RequestDecoder::new().decode(&mut out, &Limits::default()).unwrap();
            let Some(Event::Request(request)) = event else { panic!("a request") };
            prop_assert!(out.is_empty());
            prop_assert_eq!((request.method, &*request.target, request.version_minor), (method, target.as_str(), 1));
            prop_assert_eq!(request.body.unwrap(), body.clone().unwrap_or_default());
            let length = body.map(|body| alloc::format!("{}", body.len()));
            let expected: Headers = [("Host", "host:1")]
                .into_iter()
                .chain(borrow(&headers))
                .chain(length.as_deref().map(|length| ("Content-Length", length)))
                .collect();
            prop_assert_eq!(request.headers, expected);
        }

        #[test]
        fn responses_come_back(
            status in prop_oneof![Just(101_u16), 200..600_u16],
            headers in header_fields(),
            body in proptest::collection::vec(any::<u8>(), 0..100),
            exchange in (any::<bool>(), 0..2_u8, any::<bool>()),
            framing in 0..3,
            cut in any::<prop::sample::Index>(),
        ) {
            let (is_head, version_minor, keep_alive) = exchange;
            let exchange = Exchange { is_head, version_minor, keep_alive };
            let to = if is_head { Method::Head } else { Method::Get };
            let mut out = BytesMut::new();
            let framing = match framing {
                0 => ResponseFraming::Length(body.len()),
                1 => ResponseFraming::Chunked,
                _ => ResponseFraming::UntilClose,
            };
            let sent = encode_response_head(&mut out, exchange, status, None, &borrow(&headers), framing).unwrap();
            match sent.body {
                BodyForm::None => {}
                BodyForm::Raw => out.put_slice(&body),
                BodyForm::Chunked => {
                    let (one, two) = body.split_at(body.len() / 2);
                    encode_chunk(&mut out, one);
                    encode_chunk(&mut out, two);
                    encode_last_chunk(&mut out);
                }
            }
            let (one, two) = out.split_at(cut.index(out.len()));
            let (seen, rest) = feed(to, [one, two], &Limits::default());
            prop_assert!(rest.is_empty());
            let [Ok(response)] = seen.as_slice() else { panic!("{seen:?}") };
            prop_assert_eq!(response.status, status);
            prop_assert_eq!(&*response.reason, crate::http::reason_phrase(status));
            prop_assert_eq!(&response.body[..], if sent.body == BodyForm::None { &[][..] } else { &body[..] });
            // The client and the server agree on whether the connection goes on. After a 101 the
            // connection goes on, but not as HTTP.
            prop_assert_eq!(response.keep_alive, sent.keep_alive && status != 101);
            let theirs: Vec<_> = response.headers.iter().take(headers.len()).collect();
            let ours: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            prop_assert_eq!(theirs, ours);
        }

        #[test]
        fn no_bytes_make_it_panic(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut after = b"HTTP/1.1 ".to_vec();
            after.extend_from_slice(&input);
            feed_both_ways(Method::Get, &input, &Limits::default());
            feed_both_ways(Method::Get, &after, &Limits::default());
        }
    }

    #[test]
    fn pipelined_answers_come_in_order() {
        let keep = Exchange {
            keep_alive: true,
            ..Exchange::CLOSING
        };
        let mut out = BytesMut::new();
        for (exchange, body) in [(keep, "one"), (keep, ""), (Exchange::CLOSING, "three"), (keep, "never")] {
            encode_response(&mut out, exchange, 200, None, &[], body.as_bytes()).unwrap();
        }
        let (seen, _) = feed_both_ways(Method::Get, &out, &Limits::default());
        let bodies: Vec<_> = seen.into_iter().map(|response| response.unwrap().body).collect();
        assert_eq!(bodies, ["one", "", "three"]);
    }
}
