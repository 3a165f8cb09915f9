//! Percent-encoding as pages and clients write it: `%` and two hexadecimal digits stand for a byte,
//! and `+` stands for a blank.
//!
//! The rules are those of `application/x-www-form-urlencoded` in the URL standard: a `%` that is
//! not followed by two hexadecimal digits stands for itself. This module does not decide what bytes
//! mean that are not UTF-8, nor which of two equal keys counts. Its callers decide:
//! [`http::Query`](crate::http::Query), [`detect`](crate::detect),
//! [`legacy::form`](crate::legacy::form).
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use alloc::vec::Vec;

use memchr::memchr2;

/// The bytes that `encoded` stands for; `None` if they are equal to `encoded`.
pub(crate) fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut at = memchr2(b'%', b'+', encoded)?;
    step!(bulk encoded.len());
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    loop {
        step!();
        let (plain, escape) = rest.split_at(at);
        bytes.extend_from_slice(plain);
        let Some((byte, after)) = next(escape) else {
            return Some(bytes);
        };
        bytes.push(byte);
        rest = after;
        at = memchr2(b'%', b'+', rest).unwrap_or(rest.len());
    }
}

/// Whether `encoded` stands for `text`. Allocates nothing.
pub(crate) fn stands_for(encoded: &[u8], text: &str) -> bool {
    let mut rest = encoded;
    for wanted in text.bytes() {
        step!();
        match next(rest) {
            Some((byte, after)) if byte == wanted => rest = after,
            _ => return false,
        }
    }
    rest.is_empty()
}

/// The first byte that `encoded` stands for, and what follows it.
fn next(encoded: &[u8]) -> Option<(u8, &[u8])> {
    match encoded {
        [b'+', after @ ..] => Some((b' ', after)),
        [b'%', high, low, after @ ..] => Some(match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => (high << 4 | low, after),
            _ => return encoded.split_first().map(|(byte, after)| (*byte, after)),
        }),
        _ => encoded.split_first().map(|(byte, after)| (*byte, after)),
    }
}

/// The value of a hexadecimal digit.
const fn hex(digit: u8) -> Option<u8> {
    match digit {
        // The last four bits of `0` are 0, and those of `a` and `A` are 1.
        b'0'..=b'9' => Some(digit & 15),
        b'a'..=b'f' | b'A'..=b'F' => Some((digit & 15).wrapping_add(9)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes() {
        for (encoded, bytes) in [
            (&b"%41"[..], &b"A"[..]),
            (b"a+b%2B%20c", b"a b+ c"),
            (b"%c3%A9", "é".as_bytes()),
            (b"%ff%00", &[0xff, 0]),
            (b"%", b"%"),
            (b"%4", b"%4"),
            (b"%zz%4g", b"%zz%4g"),
            (b"%%41", b"%A"),
            (b"%4%31", b"%41"),
            (b"%+1", b"% 1"),
        ] {
            assert_eq!(decode(encoded).as_deref(), Some(bytes));
        }
        assert_eq!(decode(b""), None);
        assert_eq!(decode("plain é".as_bytes()), None);
        assert!(stands_for(b"%34", "4") && stands_for(b"a+b", "a b") && stands_for(b"", ""));
        for (encoded, text) in [
            ("04", "4"),
            ("4%", "4"),
            ("4", "4%"),
            ("a+b", "a+b"),
            ("a", ""),
            ("", "a"),
        ] {
            assert!(!stands_for(encoded.as_bytes(), text), "{encoded} {text}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_to_ask_agree(encoded in "[%+0-9a-fA-Fgé]{0,12}", text in "[%+ 0-9a-fé]{0,12}") {
            let decoded = decode(encoded.as_bytes()).unwrap_or_else(|| encoded.clone().into_bytes());
            prop_assert_eq!(stands_for(encoded.as_bytes(), &text), decoded == text.as_bytes());
            if let Ok(own) = core::str::from_utf8(&decoded) {
                prop_assert!(stands_for(encoded.as_bytes(), own));
            }
        }
    }
}
