//! Decimal lengths that count UTF-16 code units. Every text wire before Engine.IO 4 has such
//! lengths.
//!
//! JavaScript counts a text in UTF-16 code units, Go (2011) counts code points, and neither counts
//! bytes: `♥` is 1 for both, `😀` is 2 for JavaScript and 1 for Go (docs/protocol/legacy-0.6.md
//! §2.1). We always write UTF-16 lengths. §2.1 says which decoders also try code points.
//!
//! Every function here reads no more text than the given length covers. So a payload of many small
//! packets costs linear time.

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
    step!(bulk text.len());
    if text.is_ascii() {
        return text.len();
    }
    // One unit per character, and one more for a character that needs four bytes in UTF-8.
    text.bytes()
        .map(|b| usize::from(b & 0xc0 != 0x80).saturating_add(usize::from(b >= 0xf0)))
        .fold(0, usize::saturating_add)
}

/// The byte offset in `text` at which `units` units end.
pub(crate) fn offset(text: &str, units: usize, unit: Unit) -> Result<usize, Misfit> {
    step!(bulk units.min(text.len()));
    if text.as_bytes().get(..units).ok_or(Misfit::Short)?.is_ascii() {
        return Ok(units);
    }
    let mut left = units;
    for (at, c) in text.char_indices() {
        step!();
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
    let (mut value, mut digits) = (0_usize, 0_usize);
    for digit in bytes.iter().map_while(|byte| char::from(*byte).to_digit(10)) {
        step!();
        if digits == max_digits {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit as usize)?;
        digits = digits.saturating_add(1);
    }
    (digits > 0).then_some((value, digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digits::put_decimal;
    use alloc::string::String;
    use bytes::BytesMut;
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
