//! Writing heads: the part that both directions share.
//!
//! Everything is checked before the first byte is written. Therefore a text from elsewhere (an
//! `Origin` that is echoed, a header of the application) cannot end a header line and begin
//! another.

use bytes::{BufMut, BytesMut};

use super::error::EncodeError;
use super::headers::{is_field_value, is_token};

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
    let fields: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    out.reserve(fields + more);
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
    put_number::<10>(out, length);
    out.put_slice(b"\r\n");
}

/// Writes a number in a base of up to 16, without `core::fmt`, which is slower. The base is known
/// to the compiler, so that nothing is divided.
pub(super) fn put_number<const BASE: usize>(out: &mut BytesMut, mut number: usize) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[number % BASE];
        start -= 1;
        number /= BASE;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 1, 9, 10, 15, 16, 255, 256, 1_000_000, usize::MAX] {
            let mut out = BytesMut::new();
            put_number::<10>(&mut out, number);
            out.put_slice(b" ");
            put_number::<16>(&mut out, number);
            assert_eq!(out, format!("{number} {number:x}").as_bytes());
        }
    }
}
