//! Where a client stands in what was said.

use core::fmt;
use core::str::FromStr;

use bytestring::ByteString;

/// A place in the order of all messages of one namespace: the epoch of the process that has
/// counted, and the number it gave.
///
/// On the wire it is the string behind the arguments of an event
/// (docs/protocol/socket-io.md §6). Clients take it for a word without a meaning and show the last
/// one they have seen when they come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Offset {
    /// Which count. A process that goes on with what another has written begins a new one: what
    /// the other has told its clients last may not have been written.
    pub epoch: u32,
    /// Which message of the count. The first is 1; 0 is where the count begins.
    pub sequence: u64,
}

impl Offset {
    /// Most bytes of the text: an epoch in base 36, a dash, a number.
    pub const MAX_LEN: usize = 7 + 1 + 20;

    /// Reads what [`Display`](fmt::Display) writes; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, sequence) = text.split_once('-')?;
        let plain = |digits: &str| {
            digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        };
        if text.len() > Self::MAX_LEN || !plain(epoch) || !plain(sequence) {
            return None;
        }
        let offset = Self {
            epoch: u32::from_str_radix(epoch, 36).ok()?,
            sequence: sequence.parse().ok()?,
        };
        Some(offset)
    }

    /// The text in a form that can be an argument.
    #[must_use]
    pub fn text(self) -> ByteString {
        ByteString::from(alloc::format!("{self}"))
    }
}

/// A text is no offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an offset is an epoch in base 36, a dash and a number")]
pub struct OffsetError;

impl FromStr for Offset {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, OffsetError> {
        Self::parse(text).ok_or(OffsetError)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut digits = [b'0'; 7];
        let mut left = self.epoch;
        let mut first = digits.len();
        while first == digits.len() || left > 0 {
            first -= 1;
            digits[first] = DIGITS[(left % 36) as usize];
            left /= 36;
        }
        for digit in &digits[first..] {
            fmt::Write::write_char(f, *digit as char)?;
        }
        write!(f, "-{}", self.sequence)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_offset_is_read_as_it_was_written(epoch: u32, sequence: u64) {
            let offset = Offset { epoch, sequence };
            let text = offset.to_string();
            prop_assert!(text.len() <= Offset::MAX_LEN);
            prop_assert_eq!(Offset::parse(&text), Some(offset));
        }

        #[test]
        fn any_text_is_read_without_harm(text in ".*") {
            if let Some(offset) = Offset::parse(&text) {
                prop_assert!(text.len() >= offset.to_string().len());
            }
        }
    }

    #[test]
    fn other_texts_are_no_offsets() {
        for text in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "1-+1",
            "+1-1",
            "1--1",
            "zzzzzzz-1",
            "1-99999999999999999999",
            "A-1",
            "1-1 ",
        ] {
            assert_eq!(Offset::parse(text), None, "{text}");
        }
    }
}
