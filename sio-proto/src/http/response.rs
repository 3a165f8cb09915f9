//! The server's writing side: answers to bytes.
//!
//! ```text
//!   HTTP/1.1 200 OK CR LF
//!   Content-Type: text/plain; charset=UTF-8 CR LF     the caller's fields, in the caller's order
//!   Content-Length: 118 CR LF                         ours, because they must agree with body and connection:
//!   Connection: close CR LF                           Content-Length, Transfer-Encoding, Connection
//!   CR LF
//! ```
//!
//! This crate reads no clock. A caller that reads one passes the [`Date`](super::Date) among the
//! header fields.

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::date::Date;
use super::encode::{check_headers, put_content_length, put_header, put_headers, reserve};
use super::error::EncodeError;
use super::fixed::FixedFields;
use super::headers::is_field_value;
use super::request::Exchange;
use super::status::{is_bodiless, reason_phrase};
use crate::digits::{put_decimal, put_hexadecimal};

/// The interim answer to [`Event::Continue`](super::Event::Continue).
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How a client finds the end of a response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// The body has this many bytes.
    Length(usize),
    /// The body is a stream of chunks (htmlfile). HTTP/1.0 has no chunks, so an HTTP/1.0 peer gets
    /// the body as [`UntilClose`](Self::UntilClose).
    Chunked,
    /// The body ends with the connection (xhr-multipart).
    UntilClose,
}

/// How the body has to be written after the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// There is no body: the answer is complete.
    None,
    /// The bytes of the body as they are.
    Raw,
    /// With [`encode_chunk`] and, at the end, [`encode_last_chunk`].
    Chunked,
}

/// The result of writing a head: what the caller has to do with the body and the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Sent {
    /// How to write the body.
    pub body: BodyForm,
    /// Whether the connection can carry another request after this answer. Otherwise close it.
    pub keep_alive: bool,
}

/// Writes a complete response. Returns whether the connection goes on after it.
///
/// See [`encode_response_head`] for the fields that are written. The body is left out if the
/// request or the status does not allow one.
///
/// ```
/// use sio_proto::BytesMut;
/// use sio_proto::http::{Exchange, encode_response};
///
/// let mut out = BytesMut::new();
/// let keep_alive = encode_response(&mut out, Exchange::CLOSING, 400, None, &[], b"")?;
/// assert!(!keep_alive);
/// assert_eq!(out, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
/// # Ok::<(), sio_proto::http::EncodeError>(())
/// ```
///
/// # Errors
///
/// Those of [`encode_response_head`].
pub fn encode_response(
    out: &mut BytesMut,
    exchange: Exchange,
    status: u16,
    reason: Option<&str>,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<bool, EncodeError> {
    let sent = encode_response_head(
        out,
        exchange,
        status,
        reason,
        headers,
        ResponseFraming::Length(body.len()),
    )?;
    if sent.body == BodyForm::Raw {
        out.put_slice(body);
    }
    Ok(sent.keep_alive)
}

/// Writes the head of a response. This is for bodies that are queued separately, and for streams.
///
/// If `reason` is missing, the usual phrase is written. `Content-Length` is left out for 1xx, 204
/// and 304. `Connection` is written if it differs from the default of the request's version. For a
/// 101, the caller passes `Connection`.
///
/// # Errors
///
/// A header, the status or the reason must not be written. Nothing has been written in this case.
pub fn encode_response_head(
    out: &mut BytesMut,
    exchange: Exchange,
    status: u16,
    reason: Option<&str>,
    headers: &[(&str, &str)],
    framing: ResponseFraming,
) -> Result<Sent, EncodeError> {
    if !(100..=999).contains(&status) {
        return Err(EncodeError::InvalidStatus);
    }
    let reason = reason.unwrap_or_else(|| reason_phrase(status));
    if !is_field_value(reason.as_bytes()) {
        return Err(EncodeError::InvalidReason);
    }
    check_headers(headers, ours(status))?;

    reserve(out, headers, reason.len().saturating_add(96));
    put_status_line(out, status, reason);
    put_headers(out, headers);
    let sent = put_framing(out, exchange, status, framing);
    out.put_slice(b"\r\n");
    Ok(sent)
}

/// The header fields of an answer of the server, by their origin. They are written in the order of
/// the members.
pub(crate) struct AnswerFields<'a> {
    pub(crate) content_type: Option<&'a str>,
    /// They are not checked again.
    pub(crate) fixed: &'static FixedFields,
    /// The value of `Sec-WebSocket-Accept`. If there is one, the other fields that a 101 needs are
    /// written in front of it.
    pub(crate) accept: Option<&'a [u8; 28]>,
    pub(crate) headers: &'a [(&'static str, ByteString)],
    /// It is written if no other field is the date.
    pub(crate) date: Option<&'a Date>,
}

/// Writes the head of an answer of the server: the same text as [`encode_response_head`] with the
/// usual phrase, for less work. Only the fields that come from elsewhere are checked.
pub(crate) fn encode_answer_head(
    out: &mut BytesMut,
    exchange: Exchange,
    status: u16,
    fields: &AnswerFields<'_>,
    framing: ResponseFraming,
) -> Result<Sent, EncodeError> {
    if !(100..=999).contains(&status) {
        return Err(EncodeError::InvalidStatus);
    }
    if !is_field_value(fields.content_type.unwrap_or_default().as_bytes())
        || !fields.accept.is_none_or(|accept| is_field_value(accept))
    {
        return Err(EncodeError::InvalidHeaderValue);
    }
    // An estimate.
    let content_type = fields.content_type.map_or(256, |text| text.len().saturating_add(256));
    let mut room = content_type.saturating_add(fields.fixed.lines().len());
    let mut is_dated = false;
    for (name, value) in fields.headers {
        check_headers(&[(name, value)], ours(status))?;
        room = room
            .saturating_add(name.len())
            .saturating_add(value.len())
            .saturating_add(4);
        is_dated |= name.eq_ignore_ascii_case("date");
    }

    out.reserve(room);
    put_status_line(out, status, reason_phrase(status));
    if let Some(content_type) = fields.content_type {
        put_header(out, "Content-Type", content_type);
    }
    out.put_slice(fields.fixed.lines().as_bytes());
    if let Some(accept) = fields.accept {
        out.put_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
        out.put_slice(accept);
        out.put_slice(b"\r\n");
    }
    for (name, value) in fields.headers {
        put_header(out, name, value);
    }
    if let Some(date) = fields.date.filter(|_| !is_dated) {
        out.put_slice(b"Date: ");
        out.put_slice(date.as_bytes());
        out.put_slice(b"\r\n");
    }
    let sent = put_framing(out, exchange, status, framing);
    out.put_slice(b"\r\n");
    Ok(sent)
}

/// The names that the encoder writes itself. A 101 brings its own `Connection`.
const fn ours(status: u16) -> &'static [&'static str] {
    match status {
        101 => &["content-length", "transfer-encoding"],
        _ => &["content-length", "transfer-encoding", "connection"],
    }
}

fn put_status_line(out: &mut BytesMut, status: u16, reason: &str) {
    if status == 200 && reason == "OK" {
        // The status of nearly all answers is written as one text.
        return out.put_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.put_slice(b"HTTP/1.1 ");
    put_decimal(status.into(), out);
    out.put_u8(b' ');
    out.put_slice(reason.as_bytes());
    out.put_slice(b"\r\n");
}

/// Writes the header fields that the encoder is responsible for.
fn put_framing(out: &mut BytesMut, exchange: Exchange, status: u16, framing: ResponseFraming) -> Sent {
    let has_chunks = exchange.version_minor >= 1;
    let (body, delimited) = match framing {
        _ if is_bodiless(status) => (BodyForm::None, true),
        ResponseFraming::Length(length) => {
            put_content_length(out, length);
            (BodyForm::Raw, true)
        }
        ResponseFraming::Chunked if has_chunks => {
            out.put_slice(b"Transfer-Encoding: chunked\r\n");
            (BodyForm::Chunked, true)
        }
        ResponseFraming::Chunked | ResponseFraming::UntilClose => (BodyForm::Raw, false),
    };
    let keep_alive = exchange.keep_alive && delimited;
    match (status, keep_alive, exchange.version_minor) {
        (100..200, ..) | (_, true, 1..) => {}
        (_, true, 0) => out.put_slice(b"Connection: keep-alive\r\n"),
        (_, false, _) => out.put_slice(b"Connection: close\r\n"),
    }
    Sent {
        body: if exchange.is_head { BodyForm::None } else { body },
        keep_alive,
    }
}

/// Writes one chunk. Empty data writes nothing, because an empty chunk would end the body.
pub fn encode_chunk(out: &mut BytesMut, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len().saturating_add(16));
    put_hexadecimal(data.len() as u64, out);
    out.put_slice(b"\r\n");
    out.put_slice(data);
    out.put_slice(b"\r\n");
}

/// Ends a chunked body.
pub fn encode_last_chunk(out: &mut BytesMut) {
    out.put_slice(b"0\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    const HTTP11: Exchange = Exchange {
        is_head: false,
        version_minor: 1,
        keep_alive: true,
    };
    const HTTP10: Exchange = Exchange {
        version_minor: 0,
        ..HTTP11
    };
    const HEAD: Exchange = Exchange {
        is_head: true,
        ..HTTP11
    };

    fn text(out: &BytesMut) -> String {
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn whole_responses() {
        let plain = [("Content-Type", "text/plain"), ("Set-Cookie", "a"), ("Set-Cookie", "b")];
        for (exchange, status, headers, body, expected, goes_on) in [
            (
                HTTP11,
                200,
                &plain[..],
                "ok",
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
                 Content-Length: 2\r\n\r\nok",
                true,
            ),
            (
                HTTP11,
                200,
                &[],
                "",
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                true,
            ),
            (
                HTTP10,
                200,
                &[],
                "ok",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
                true,
            ),
            (
                Exchange::CLOSING,
                413,
                &[],
                "",
                "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                false,
            ),
            (
                HEAD,
                200,
                &[],
                "ok",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
                true,
            ),
            (HTTP11, 204, &[], "ok", "HTTP/1.1 204 No Content\r\n\r\n", true),
            (HTTP11, 304, &[], "ok", "HTTP/1.1 304 Not Modified\r\n\r\n", true),
            (
                HTTP11,
                799,
                &[],
                "",
                "HTTP/1.1 799 unknown\r\nContent-Length: 0\r\n\r\n",
                true,
            ),
        ] {
            let mut out = BytesMut::new();
            let sent = encode_response(&mut out, exchange, status, None, headers, body.as_bytes());
            assert_eq!((text(&out).as_str(), sent), (expected, Ok(goes_on)));
        }
    }

    #[test]
    fn an_upgrade_brings_its_own_connection() {
        let headers = [("Upgrade", "WebSocket"), ("Connection", "Upgrade")];
        let mut out = BytesMut::new();
        let reason = Some("WebSocket Protocol Handshake");
        encode_response(&mut out, Exchange::CLOSING, 101, reason, &headers, b"").unwrap();
        assert_eq!(
            out,
            "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"
        );
    }

    #[test]
    fn streams() {
        for (exchange, framing, fields, body, keep_alive) in [
            (
                HTTP11,
                ResponseFraming::Chunked,
                "Transfer-Encoding: chunked\r\n",
                BodyForm::Chunked,
                true,
            ),
            (
                HTTP10,
                ResponseFraming::Chunked,
                "Connection: close\r\n",
                BodyForm::Raw,
                false,
            ),
            (
                HTTP11,
                ResponseFraming::UntilClose,
                "Connection: close\r\n",
                BodyForm::Raw,
                false,
            ),
            (
                HEAD,
                ResponseFraming::Chunked,
                "Transfer-Encoding: chunked\r\n",
                BodyForm::None,
                true,
            ),
        ] {
            let mut out = BytesMut::new();
            let sent = encode_response_head(&mut out, exchange, 200, None, &[], framing);
            assert_eq!(sent, Ok(Sent { body, keep_alive }));
            assert_eq!(text(&out), String::from("HTTP/1.1 200 OK\r\n") + fields + "\r\n");
        }
        let mut out = BytesMut::new();
        encode_chunk(&mut out, b"hello");
        encode_chunk(&mut out, b"");
        encode_chunk(&mut out, &[b' '; 256]);
        encode_last_chunk(&mut out);
        assert_eq!(
            text(&out),
            String::from("5\r\nhello\r\n100\r\n") + &" ".repeat(256) + "\r\n0\r\n\r\n"
        );
    }

    #[test]
    fn nothing_splits_a_response() {
        for (status, reason, header, error) in [
            (99, None, ("X", "y"), EncodeError::InvalidStatus),
            (1000, None, ("X", "y"), EncodeError::InvalidStatus),
            (200, Some("OK\r\nX: y"), ("X", "y"), EncodeError::InvalidReason),
            (200, None, ("", "y"), EncodeError::InvalidHeaderName),
            (200, None, ("X:", "y"), EncodeError::InvalidHeaderName),
            (200, None, ("X Y", "y"), EncodeError::InvalidHeaderName),
            (200, None, ("X\r\nY", "y"), EncodeError::InvalidHeaderName),
            (200, None, ("X", "y\r\nSet-Cookie: z"), EncodeError::InvalidHeaderValue),
            (200, None, ("X", "y\nz"), EncodeError::InvalidHeaderValue),
            (200, None, ("X", "y\rz"), EncodeError::InvalidHeaderValue),
            (200, None, ("X", "y\0"), EncodeError::InvalidHeaderValue),
            (200, None, ("X", "y\x7f"), EncodeError::InvalidHeaderValue),
            (200, None, ("content-LENGTH", "1"), EncodeError::FramingHeader),
            (200, None, ("Transfer-Encoding", "chunked"), EncodeError::FramingHeader),
            (101, None, ("Transfer-Encoding", "chunked"), EncodeError::FramingHeader),
            (200, None, ("Connection", "close"), EncodeError::FramingHeader),
        ] {
            let mut out = BytesMut::new();
            let sent = encode_response(&mut out, HTTP11, status, reason, &[("A", "b"), header], b"");
            assert_eq!(sent, Err(error), "{header:?}");
            assert!(out.is_empty(), "checked before written");
        }
    }
}
