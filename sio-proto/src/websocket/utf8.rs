//! UTF-8 in pieces: text that arrives cut at any byte is checked chunk by chunk. The result is the
//! same as that of a check byte by byte.
//!
//! A text frame must fail at the first byte that no continuation can repair (RFC 6455 §8.1;
//! Autobahn cases 6.4.x, strict). `core::str::from_utf8` already distinguishes "wrong" from "cut
//! short" at exactly this byte. So the only state is a character that is cut in two: at most three
//! bytes.

/// Bytes that are not UTF-8, and that no following bytes can make UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid UTF-8")]
pub struct InvalidUtf8;

/// Checks `bytes`. Returns how many bytes at the end (at most 3) are the beginning of a character
/// that is cut short.
///
/// # Errors
///
/// [`InvalidUtf8`] if no bytes appended to `bytes` could make them UTF-8.
#[inline]
pub fn incomplete_tail(bytes: &[u8]) -> Result<usize, InvalidUtf8> {
    // This check is several times faster than `from_utf8`, and most text is ASCII.
    if bytes.is_ascii() {
        return Ok(0);
    }
    Ok(bytes.len().saturating_sub(valid_prefix(bytes)?.len()))
}

/// `bytes` without the incomplete character at the end.
#[inline]
fn valid_prefix(bytes: &[u8]) -> Result<&str, InvalidUtf8> {
    match core::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            core::str::from_utf8(valid).map_err(|_| InvalidUtf8)
        }
    }
}

/// Checks a text whose pieces are not kept together.
///
/// Invariant: `cut[..length]` is empty, or it is the beginning of a character that can still be
/// completed.
#[derive(Clone, Debug, Default)]
pub struct Validator {
    cut: [u8; 4],
    length: u8,
}

impl Validator {
    /// A validator at the start of a text.
    #[must_use]
    pub const fn new() -> Self {
        Self { cut: [0; 4], length: 0 }
    }

    /// Checks the next piece and returns its text: first the character that the last piece began
    /// and this piece finished, then the complete characters of this piece.
    ///
    /// # Errors
    ///
    /// [`InvalidUtf8`] if the text up to and including this piece can no longer become UTF-8. The
    /// validator must not be used afterwards.
    #[inline]
    pub fn push<'a>(&mut self, piece: &'a [u8]) -> Result<(Option<char>, &'a str), InvalidUtf8> {
        let (finished, rest) = if self.length == 0 {
            (None, piece)
        } else {
            self.finish_character(piece)?
        };
        let text = valid_prefix(rest)?;
        // Either the cut character is complete and `text` begins behind it, or the whole piece was
        // used up.
        for &byte in rest.get(text.len()..).unwrap_or_default() {
            self.append(byte)?;
        }
        Ok((finished, text))
    }

    /// Ends the text.
    ///
    /// # Errors
    ///
    /// [`InvalidUtf8`] if the text ends within a character.
    #[inline]
    pub const fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.length == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// Completes the cut character with bytes of `piece`. Returns the bytes behind it.
    fn finish_character<'a>(&mut self, piece: &'a [u8]) -> Result<(Option<char>, &'a [u8]), InvalidUtf8> {
        let mut rest = piece;
        while let [byte, after @ ..] = rest {
            rest = after;
            self.append(*byte)?;
            let text = valid_prefix(self.cut())?;
            if let Some(character) = text.chars().next() {
                self.length = 0;
                return Ok((Some(character), rest));
            }
        }
        Ok((None, rest))
    }

    fn cut(&self) -> &[u8] {
        self.cut.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Appends a byte to the cut character. No character has more than four bytes, so the error
    /// never occurs.
    fn append(&mut self, byte: u8) -> Result<(), InvalidUtf8> {
        *self.cut.get_mut(usize::from(self.length)).ok_or(InvalidUtf8)? = byte;
        self.length = self.length.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// The index at which `bytes`, one at a time, are refused; `None` if they are not refused.
    /// `Some(len)` means that only the end is wrong.
    fn refused_at(bytes: &[u8]) -> Option<usize> {
        let mut validator = Validator::new();
        for (index, byte) in bytes.iter().enumerate() {
            if validator.push(&[*byte]).is_err() {
                return Some(index);
            }
        }
        validator.finish().is_err().then_some(bytes.len())
    }

    #[test]
    fn fails_at_the_first_impossible_byte() {
        let cases: &[(&[u8], usize)] = &[
            // Bytes that can never occur.
            (b"\x80", 0),
            (b"\xbf", 0),
            (b"\xc0\xaf", 0),
            (b"\xc1\xbf", 0),
            (b"\xf5\x80\x80\x80", 0),
            (b"\xf8\x88\x80\x80\x80", 0),
            (b"\xfc\x84\x80\x80\x80\x80", 0),
            (b"\xfe", 0),
            (b"\xff", 0),
            // Overlong forms and surrogates are recognised at the second byte.
            (b"\xe0\x80\xaf", 1),
            (b"\xe0\x9f\xbf", 1),
            (b"\xf0\x80\x80\xaf", 1),
            (b"\xf0\x8f\xbf\xbf", 1),
            (b"\xed\xa0\x80", 1),
            (b"\xed\xbf\xbf", 1),
            (b"\xf4\x90\x80\x80", 1),
            // Characters that are cut by another one.
            (b"\xc3a", 1),
            (b"\xe2\x82a", 2),
            (b"\xf0\x9f\x98a", 3),
            (b"\xf0\x9f\x98\xc3", 3),
            // Characters that are cut by the end.
            (b"\xc3", 1),
            (b"\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            // Autobahn 6.4.1: the text up to f4 can still be repaired, but the byte 90 cannot.
            (
                b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
                12,
            ),
        ];
        for (bytes, position) in cases {
            assert_eq!(refused_at(bytes), Some(*position), "{bytes:x?}");
        }
    }

    #[test]
    fn accepts_borders_of_every_length() {
        for text in [
            "\0", "\x7f", "\u{80}", "\u{7ff}", "\u{800}", "\u{d7ff}", "\u{e000}", "\u{fffd}", "\u{ffff}",
        ] {
            assert_eq!(refused_at(text.as_bytes()), None, "{text:?}");
        }
        for text in [
            "\u{10000}",
            "\u{10ffff}",
            "\u{2260}\u{1f600}κόσμε",
            "Hello-µ@ßöäüàá-UTF-8!!",
        ] {
            assert_eq!(refused_at(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn tail_of_a_piece() {
        for (bytes, tail) in [
            (&b""[..], 0),
            (b"abc", 0),
            (b"a\xc3", 1),
            (b"\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
        ] {
            assert_eq!(incomplete_tail(bytes), Ok(tail));
        }
        assert_eq!(incomplete_tail(b"a\xc3\xc3"), Err(InvalidUtf8));
    }

    /// Bytes that are often nearly UTF-8.
    fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
        let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        ("\\PC{0,24}", damage).prop_map(|(text, damage)| {
            let mut bytes = text.into_bytes();
            for (index, byte) in damage {
                if !bytes.is_empty() {
                    let index = index.index(bytes.len());
                    bytes[index] = byte;
                }
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_text(bytes in nearly_text(), cuts in prop::collection::vec(1..6usize, 0..24)) {
            let (mut validator, mut rest, mut text) = (Validator::new(), &bytes[..], String::new());
            let mut verdict = Ok(());
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                match validator.push(piece) {
                    Ok((finished, characters)) => {
                        text.extend(finished);
                        text.push_str(characters);
                    }
                    Err(error) => verdict = Err(error),
                }
                if verdict.is_err() {
                    break;
                }
                rest = after;
            }
            let verdict = verdict.and_then(|()| validator.finish());
            prop_assert_eq!(verdict.map(|()| text).ok(), String::from_utf8(bytes).ok());
        }

        #[test]
        fn refuses_exactly_where_nothing_can_follow(bytes in nearly_text()) {
            let dead = (0..bytes.len()).find(|index| !can_be_completed(&bytes[..=*index]));
            let cut = !bytes.is_empty() && core::str::from_utf8(&bytes).is_err();
            prop_assert_eq!(refused_at(&bytes), dead.or_else(|| cut.then_some(bytes.len())));
        }
    }

    /// Whether some bytes complete `start` to valid text. For every incomplete character, one of
    /// the tried endings completes it.
    fn can_be_completed(start: &[u8]) -> bool {
        const LAST: [u8; 4] = [0x80, 0x90, 0xa0, 0xbf];
        let is_text = |more: &[u8]| core::str::from_utf8(&[start, more].concat()).is_ok();
        is_text(&[])
            || LAST
                .iter()
                .any(|&a| is_text(&[a]) || is_text(&[a, 0x80]) || is_text(&[a, 0x80, 0x80]))
    }
}
