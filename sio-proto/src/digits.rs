//! Numbers in digits, without `core::fmt`, which is slower.
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

use bytes::{BufMut as _, BytesMut};

/// The digits of a number, without zeros before the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digits {
    /// The digits, at the end. A number of 64 bits has at most 20.
    bytes: [u8; 20],
    start: usize,
}

impl Digits {
    /// The digits of a number in base 10.
    #[inline]
    pub(crate) fn decimal(mut number: u64) -> Self {
        let (mut bytes, mut start) = ([b'0'; 20], 20);
        for (at, digit) in bytes.iter_mut().enumerate().rev() {
            // The digits are the bytes from 0x30 to 0x39, so the last four bits are the number.
            *digit |= (number % 10) as u8;
            start = at;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        Self { bytes, start }
    }

    /// The digits of a number in base 16, in small letters.
    pub(crate) fn hexadecimal(mut number: u64) -> Self {
        let (mut bytes, mut start) = ([b'0'; 20], 20);
        for (at, digit) in bytes.iter_mut().enumerate().rev() {
            *digit = char::from_digit(number as u32 & 15, 16).map_or(b'0', |digit| digit as u8);
            start = at;
            number >>= 4;
            if number == 0 {
                break;
            }
        }
        Self { bytes, start }
    }

    /// The digits as ASCII characters.
    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// Appends a number in base 10.
#[inline]
pub(crate) fn put_decimal(number: u64, out: &mut BytesMut) {
    match number {
        0..10 => out.put_u8(b'0' | number as u8),
        _ => out.put_slice(Digits::decimal(number).as_bytes()),
    }
}

/// Appends a number in base 16, in small letters.
pub(crate) fn put_hexadecimal(number: u64, out: &mut BytesMut) {
    out.put_slice(Digits::hexadecimal(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn numbers_are_written_in_full() {
        for number in [
            0,
            1,
            9,
            10,
            15,
            16,
            99,
            100,
            255,
            256,
            1_000_000,
            u64::MAX / 10,
            u64::MAX,
        ] {
            let mut out = BytesMut::new();
            put_decimal(number, &mut out);
            out.put_slice(b" ");
            put_hexadecimal(number, &mut out);
            assert_eq!(out, format!("{number} {number:x}").as_bytes());
        }
    }
}
