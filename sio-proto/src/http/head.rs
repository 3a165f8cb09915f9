//! Heads: from bytes that arrive in pieces to a start line and header fields.
//!
//! ```text
//!   [CR LF]  start line CR LF  name: value CR LF ...  CR LF
//!            ^line_start              ^scanned
//! ```
//!
//! There are two passes, and each looks at every byte once. The first pass looks for line ends
//! while bytes arrive, and continues where it stopped. It enforces the rules about lines: their
//! ends, their number and their sizes. The second pass is `httparse`. It runs when the start line
//! is complete, and runs again over the header lines when they are complete. An incomplete head
//! stays in the caller's buffer.
//!
//! This module is stricter than `httparse`, which accepts a bare line feed as a line end and skips
//! any number of empty lines.

use core::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::error::HttpError;
use super::headers::{Headers, Span, is_token_byte};
use super::limits::Limits;
use super::method::Method;

/// The first line of a head, in either direction.
pub(super) trait StartLine: Sized {
    /// The error for a line of more than [`max_bytes`](Self::max_bytes).
    const TOO_LONG: HttpError;

    /// How long the line may be, its end included.
    fn max_bytes(limits: &Limits) -> usize;

    /// Refuses a connection whose first byte cannot be HTTP, such as TLS, without waiting for a
    /// whole line.
    fn check_first(byte: u8) -> Result<(), HttpError>;

    /// Parses a line, given with its line end.
    fn parse(line: &[u8], limits: &Limits) -> Result<Self, HttpError>;
}

/// A parsed head.
pub(super) struct Head<S> {
    pub(super) start: S,
    /// All bytes of the head; the spans of `start` point into them.
    pub(super) bytes: Bytes,
    pub(super) headers: Headers,
}

/// Reads one head. Between two calls, bytes may only be appended to the buffer.
#[derive(Debug)]
pub(super) struct HeadReader<S> {
    /// All bytes before this position have been searched for line ends.
    scanned: usize,
    /// Where the current line begins.
    line_start: usize,
    /// Where the header lines begin, once there is a start line.
    fields_start: usize,
    /// Header lines so far.
    fields: usize,
    start: Option<S>,
    skipped_empty_line: bool,
}

impl<S> Default for HeadReader<S> {
    fn default() -> Self {
        Self {
            scanned: 0,
            line_start: 0,
            fields_start: 0,
            fields: 0,
            start: None,
            skipped_empty_line: false,
        }
    }
}

impl<S: StartLine> HeadReader<S> {
    /// Whether no byte of a head has been seen.
    pub(super) const fn is_fresh(&self) -> bool {
        self.scanned == 0
    }

    /// Takes a head off the front of `bytes` if it is complete.
    pub(super) fn read(&mut self, bytes: &mut BytesMut, limits: &Limits) -> Result<Option<Head<S>>, HttpError> {
        loop {
            if self.scanned == 0
                && let Some(&first) = bytes.first()
                && !matches!(first, b'\r' | b'\n')
            {
                S::check_first(first)?;
            }
            let Some(line) = self.next_line(bytes, limits)? else {
                return Ok(None);
            };
            if !line.is_empty() {
                self.take_line(bytes, line, limits)?;
            } else if self.start.is_some() {
                return self.finish(bytes).map(Some);
            } else if self.skipped_empty_line {
                return Err(HttpError::EmptyLines);
            } else {
                // One empty line is allowed: old clients send it after a POST (RFC 9112 §2.2).
                bytes.advance(self.scanned);
                *self = Self {
                    skipped_empty_line: true,
                    ..Self::default()
                };
            }
        }
    }

    /// The next line, without its end.
    fn next_line(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Range<usize>>, HttpError> {
        let (window, beyond) = self.window(limits);
        let seen = bytes.len().min(window);
        let unseen = bytes.get(self.scanned..seen).unwrap_or_default();
        let found = memchr(b'\n', unseen);
        step!(bulk found.unwrap_or(unseen.len()));
        let Some(found) = found else {
            self.scanned = self.scanned.max(seen);
            return if bytes.len() < window { Ok(None) } else { Err(beyond) };
        };
        // No position is beyond the bytes, so none of these sums wraps.
        let end = self.scanned.saturating_add(found);
        let start = self.line_start;
        let line = bytes.get(start..end).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r") else {
            return Err(HttpError::BareLf);
        };
        self.scanned = end.saturating_add(1);
        self.line_start = self.scanned;
        Ok(Some(start..start.saturating_add(line.len())))
    }

    /// The position up to which the current line may reach, and the error if the line does not end
    /// before it.
    fn window(&self, limits: &Limits) -> (usize, HttpError) {
        // Spans have 32 bits.
        let head = limits.max_head_bytes.min(u32::MAX as usize);
        let line = S::max_bytes(limits);
        if self.start.is_none() {
            (line.min(head), S::TOO_LONG)
        } else {
            (head, HttpError::HeadTooLarge)
        }
    }

    /// Records a line that is not empty.
    fn take_line(&mut self, bytes: &[u8], line: Range<usize>, limits: &Limits) -> Result<(), HttpError> {
        if self.start.is_none() {
            debug_assert_eq!(line.start, 0, "the start line comes first");
            let with_end = bytes.get(..self.line_start).unwrap_or_default();
            step!(each with_end.len());
            self.start = Some(S::parse(with_end, limits)?);
            self.fields_start = self.line_start;
            return Ok(());
        }
        if let Some(b' ' | b'\t') = bytes.get(line.start) {
            return Err(HttpError::ObsFold);
        }
        self.fields = self.fields.saturating_add(1);
        if self.fields > limits.max_headers {
            return Err(HttpError::TooManyHeaders);
        }
        Ok(())
    }

    /// All lines are complete: splits the head off and parses the header lines.
    fn finish(&mut self, bytes: &mut BytesMut) -> Result<Head<S>, HttpError> {
        let reader = core::mem::take(self);
        let start = reader.start.ok_or(HttpError::InvalidRequestLine)?;
        let bytes = bytes.split_to(reader.scanned).freeze();
        let headers = Headers::parse(bytes.clone(), reader.fields_start, reader.fields)?;
        Ok(Head { start, bytes, headers })
    }
}

/// `GET /path?query HTTP/1.1`
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) target: Span,
    pub(super) version_minor: u8,
}

/// Room in a request line for everything except the target: the longest known method, blanks,
/// version, line end.
const REQUEST_LINE_EXTRA: usize = 32;

impl StartLine for RequestLine {
    const TOO_LONG: HttpError = HttpError::TargetTooLong;

    fn max_bytes(limits: &Limits) -> usize {
        limits.max_target_bytes.saturating_add(REQUEST_LINE_EXTRA)
    }

    fn check_first(byte: u8) -> Result<(), HttpError> {
        if is_token_byte(byte) {
            Ok(())
        } else {
            Err(HttpError::InvalidMethod)
        }
    }

    fn parse(line: &[u8], limits: &Limits) -> Result<Self, HttpError> {
        let mut parsed = httparse::Request::new(&mut []);
        // The parser reports "complete" only after the header lines, and none of them is here. It
        // fills in the parts of this line and asks for more.
        let outcome = parsed.parse(line);
        let (Ok(_), Some(method), Some(target), Some(version_minor)) =
            (outcome, parsed.method, parsed.path, parsed.version)
        else {
            return Err(explain_request_line(line));
        };
        if target.len() > limits.max_target_bytes {
            return Err(HttpError::TargetTooLong);
        }
        if method == "CONNECT" {
            return Err(HttpError::Tunnel);
        }
        Ok(Self {
            method: Method::from_name(method),
            target: Span::locate(line, target.as_bytes()),
            version_minor,
        })
    }
}

/// Finds the rule that a refused request line breaks. It runs only when a connection is refused.
fn explain_request_line(line: &[u8]) -> HttpError {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    if line.contains(&b'\r') {
        return HttpError::BareCr;
    }
    if line == b"PRI * HTTP/2.0" {
        return HttpError::Http2Preface;
    }
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    if !method.is_some_and(super::headers::is_token) {
        return HttpError::InvalidMethod;
    }
    let printable = |byte: &u8| byte.is_ascii_graphic() || *byte >= 0x80;
    if !target.is_some_and(|t| !t.is_empty() && t.iter().all(printable) && core::str::from_utf8(t).is_ok()) {
        return HttpError::InvalidTarget;
    }
    match version {
        None => HttpError::MissingVersion,
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9']) => HttpError::UnsupportedVersion,
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']) => HttpError::UnsupportedVersion,
        Some(_) => HttpError::InvalidRequestLine,
    }
}

/// `HTTP/1.1 200 OK`
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusLine {
    pub(super) status: u16,
    pub(super) reason: Span,
    pub(super) version_minor: u8,
}

impl StartLine for StatusLine {
    const TOO_LONG: HttpError = HttpError::HeadTooLarge;

    fn max_bytes(limits: &Limits) -> usize {
        limits.max_head_bytes
    }

    fn check_first(byte: u8) -> Result<(), HttpError> {
        if byte == b'H' {
            Ok(())
        } else {
            Err(HttpError::InvalidStatusLine)
        }
    }

    fn parse(line: &[u8], _limits: &Limits) -> Result<Self, HttpError> {
        let mut parsed = httparse::Response::new(&mut []);
        match (parsed.parse(line), parsed.version, parsed.code, parsed.reason) {
            (Ok(_), Some(version_minor), Some(status @ 100..), Some(reason)) => Ok(Self {
                status,
                reason: Span::locate(line, reason.as_bytes()),
                version_minor,
            }),
            (Err(httparse::Error::Version), ..) if line.starts_with(b"HTTP/") => Err(HttpError::UnsupportedVersion),
            _ => Err(HttpError::InvalidStatusLine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn every_byte_is_searched_once() {
        let text = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "x: yyyyyyyyyyyyyyyy\r\n".repeat(60)
        );
        let (mut reader, mut bytes) = (HeadReader::<RequestLine>::default(), BytesMut::new());
        for (i, byte) in text.bytes().enumerate() {
            assert_eq!(reader.scanned, i, "the search goes on where it stopped");
            bytes.extend_from_slice(&[byte]);
            let head = reader.read(&mut bytes, &Limits::default()).unwrap();
            assert_eq!(head.is_some(), i + 1 == text.len());
        }
        assert!(reader.is_fresh());
    }

    #[test]
    fn a_buffer_that_was_swapped_is_no_reason_to_panic() {
        let mut reader = HeadReader::<RequestLine>::default();
        let mut bytes = BytesMut::from(&b"GET / HTTP/1.1\r\nHost: a\r\nx: y"[..]);
        assert!(reader.read(&mut bytes, &Limits::default()).unwrap().is_none());
        for other in ["", "\r\n", "GET", "GET / HTTP/1.1\r\nHost: a\r\nx:y\r\n\r\n"] {
            let _ = reader.read(&mut BytesMut::from(other), &Limits::default());
        }
    }
}
