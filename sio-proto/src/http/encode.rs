//! Writing heads: the part that both directions share.
//!
//! Everything is checked before the first byte is written. Therefore a text from elsewhere (an
//! `Origin` that is echoed, a header of the application) cannot end a header line and begin
//! another.

use bytes::{BufMut, BytesMut};

use super::error::EncodeError;
use super::headers::{is_field_value, is_token};
use crate::digits::put_decimal;

/// Checks header fields of the caller. `ours` are the names that the encoder writes itself.
pub(super) fn check_headers(headers: &[(&str, &str)], ours: &[&str]) -> Result<(), EncodeError> {
    for (name, value) in headers {
        if !is_token(name.as_bytes()) {
            return Err(EncodeError::InvalidHeaderName);
        }
        if ours.iter().any(|our| our.eq_ignore_ascii_case(name)) {
            return Err(EncodeError::FramingHeader);
        }
        if !is_field_value(value.as_bytes()) {
            return Err(EncodeError::InvalidHeaderValue);
        }
    }
    Ok(())
}

/// Reserves room for the header fields and `more` bytes.
pub(super) fn reserve(out: &mut BytesMut, headers: &[(&str, &str)], more: usize) {
    let field = |(name, value): &(&str, &str)| name.len().saturating_add(value.len()).saturating_add(4);
    out.reserve(headers.iter().map(field).fold(more, usize::saturating_add));
}

pub(super) fn put_headers(out: &mut BytesMut, headers: &[(&str, &str)]) {
    for (name, value) in headers {
        put_header(out, name, value);
    }
}

pub(super) fn put_header(out: &mut BytesMut, name: &str, value: &str) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

pub(super) fn put_content_length(out: &mut BytesMut, length: usize) {
    out.put_slice(b"Content-Length: ");
    put_decimal(length as u64, out);
    out.put_slice(b"\r\n");
}
