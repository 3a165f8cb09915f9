//! Decimal lengths that count UTF-16 code units. Every text wire before Engine.IO 4 has such
//! lengths.
//!
//! JavaScript counts a text in UTF-16 code units, Go (2011) counts code points, and neither counts
//! bytes: `♥` is 1 for both, `😀` is 2 for JavaScript and 1 for Go (docs/protocol/legacy-0.6.md
//! §2.1). We always write UTF-16 lengths. §2.1 says which decoders also try code points.
//!
//! Every function here reads no more text than the given length covers. So a payload of many small
//! packets costs linear time.

use bytes::{BufMut, BytesMut};

/// The unit of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// JavaScript: a character above U+FFFF counts as two.
    Utf16,
    /// Go: every character counts as one.
    CodePoint,
}

/// Why a length does not fit the text behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// The text ends before the length is used up.
    Short,
    /// The length ends between the two halves of a surrogate pair.
    CutPair,
}

/// The number of UTF-16 code units in `text`.
pub(crate) fn utf16_len(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    // One unit per character, and one more for a character that needs four bytes in UTF-8.
    text.bytes()
        .map(|b| usize::from(b & 0xc0 != 0x80) + usize::from(b >= 0xf0))
        .sum()
}

/// The byte offset in `text` at which `units` units end.
pub(crate) fn offset(text: &str, units: usize, unit: Unit) -> Result<usize, Misfit> {
    if text.as_bytes().get(..units).ok_or(Misfit::Short)?.is_ascii() {
        return Ok(units);
    }
    let mut left = units;
    for (at, c) in text.char_indices() {
        if left == 0 {
            return Ok(at);
        }
        let cost = match unit {
            Unit::Utf16 => c.len_utf16(),
            Unit::CodePoint => 1,
        };
        left = left.checked_sub(cost).ok_or(Misfit::CutPair)?;
    }
    if left == 0 { Ok(text.len()) } else { Err(Misfit::Short) }
}

/// Reads the decimal digits at the start of `bytes`. Returns their value and their number.
///
/// `None` if there is no digit, or if there are more than `max_digits`. Leading zeros are counted
/// as digits.
pub(crate) fn take_decimal(bytes: &[u8], max_digits: usize) -> Option<(usize, usize)> {
    let window = &bytes[..bytes.len().min(max_digits.saturating_add(1))];
    let digits = window.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || digits > max_digits {
        return None;
    }
    let value = window[..digits].iter().try_fold(0usize, |value, b| {
        value.checked_mul(10)?.checked_add(usize::from(b - b'0'))
    })?;
    Some((value, digits))
}

/// Writes `value` in decimal digits.
pub(crate) fn put_decimal(value: u64, out: &mut BytesMut) {
    if value < 10 {
        return out.put_u8(b'0' + value as u8);
    }
    let (digits, start) = decimal(value);
    out.put_slice(&digits[start..]);
}

/// The decimal digits of `value`, right-aligned, and the index of the first digit.
pub(crate) fn decimal(mut value: u64) -> ([u8; 20], usize) {
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return (digits, start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    #[test]
    fn a_heart_counts_one_and_an_emoji_two() {
        for (text, utf16, points) in [
            ("", 0, 0),
            ("hello", 5, 5),
            ("♥", 1, 1),
            ("😀", 2, 1),
            ("thré♥e😀", 8, 7),
        ] {
            assert_eq!(utf16_len(text), utf16, "{text}");
            assert_eq!(offset(text, utf16, Unit::Utf16), Ok(text.len()), "{text}");
            assert_eq!(offset(text, points, Unit::CodePoint), Ok(text.len()), "{text}");
        }
        assert_eq!(offset("a😀b", 2, Unit::Utf16), Err(Misfit::CutPair));
        assert_eq!(offset("a😀b", 5, Unit::Utf16), Err(Misfit::Short));
        assert_eq!(offset("ab", usize::MAX, Unit::Utf16), Err(Misfit::Short));
    }

    #[test]
    fn digits_are_bounded() {
        assert_eq!(take_decimal(b"012~", 10), Some((12, 3)));
        assert_eq!(take_decimal(b"", 10), None);
        assert_eq!(take_decimal(b"-1", 10), None);
        assert_eq!(take_decimal(b" 1", 10), None);
        assert_eq!(take_decimal(b"12345678901", 10), None);
        assert_eq!(take_decimal(b"99999999999999999999999", 40), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(text in any::<String>(), at in any::<prop::sample::Index>()) {
            prop_assert_eq!(utf16_len(&text), text.encode_utf16().count());
            let chars = text.chars().count();
            let n = at.index(chars + 1);
            let prefix: String = text.chars().take(n).collect();
            prop_assert_eq!(offset(&text, n, Unit::CodePoint), Ok(prefix.len()));
            prop_assert_eq!(offset(&text, utf16_len(&prefix), Unit::Utf16), Ok(prefix.len()));
        }

        #[test]
        fn decimals_lead_back(value in any::<usize>()) {
            let mut out = BytesMut::new();
            put_decimal(value as u64, &mut out);
            prop_assert_eq!(take_decimal(&out, 20), Some((value, out.len())));
        }
    }
}
