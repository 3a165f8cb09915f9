//! Where a client stands in what was said.

use core::fmt;
use core::str::FromStr;

use bytes::BytesMut;
use bytestring::ByteString;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::Args;
use crate::digits::{Digits, put_decimal};

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

/// How many bits of a place in a stream are the number within its millisecond, and how many are
/// left for messages behind this entry that are not in the stream.
const ENTRY_BITS: u32 = 14;
const FREE_BITS: u32 = 8;

/// The first millisecond of a place in a stream. Earlier ones look like an epoch.
const FIRST_MILLISECOND: u64 = 10_000_000;

impl Offset {
    /// Most bytes of the text: an epoch in base 36, a dash, a number.
    pub const MAX_LEN: usize = 7 + 1 + 20;

    /// The epoch of places in the stream of a broker, which all nodes of a cluster know. Their text
    /// is the id of an entry, `milliseconds-number`
    /// (docs/protocol/cluster-redis.md §4.3).
    pub const STREAM: u32 = u32::MAX;

    /// The place of an entry of a stream. `None` if it is none that a clock has given: before the
    /// year 1971 or behind the year 2109, or more than 16,384 entries in one millisecond.
    #[must_use]
    pub const fn of_entry(milliseconds: u64, number: u64) -> Option<Self> {
        const BITS: u32 = ENTRY_BITS + FREE_BITS;
        if milliseconds < FIRST_MILLISECOND || milliseconds >> (64 - BITS) != 0 || number >> ENTRY_BITS != 0 {
            return None;
        }
        Some(Self {
            epoch: Self::STREAM,
            sequence: milliseconds << BITS | number << FREE_BITS,
        })
    }

    /// Whether it is the place of an entry of a stream.
    #[must_use]
    pub const fn is_entry(self) -> bool {
        self.epoch == Self::STREAM
    }

    /// Whether a number in a count that follows a stream is that of an entry. Between two entries
    /// there is room for other messages.
    pub(crate) const fn is_entry_number(sequence: u64) -> bool {
        sequence > 0 && sequence & ((1 << FREE_BITS) - 1) == 0
    }

    /// The place of the entry that may stand right before this one.
    #[must_use]
    pub const fn entry_before(self) -> Self {
        Self {
            epoch: self.epoch,
            sequence: self.sequence.saturating_sub(1 << FREE_BITS),
        }
    }

    /// When the entry of a stream was stored, in milliseconds since the beginning of 1970. `None`
    /// for other places.
    #[must_use]
    pub const fn stored_at(self) -> Option<u64> {
        match self.is_entry() {
            true => Some(self.entry().0),
            false => None,
        }
    }

    const fn entry(self) -> (u64, u64) {
        let entry = self.sequence >> FREE_BITS;
        (entry >> ENTRY_BITS, entry & ((1 << ENTRY_BITS) - 1))
    }

    /// Reads what [`Display`](fmt::Display) writes; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, sequence) = text.split_once('-')?;
        // No epoch has so many digits.
        if epoch.len() > 7 && epoch.bytes().chain(sequence.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Self::of_entry(epoch.parse().ok()?, sequence.parse().ok()?);
        }
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

    /// Writes it as the last of several arguments, with the bracket behind it.
    pub(crate) fn write_last(self, out: &mut BytesMut) {
        Epoch::new(self.epoch).write_last(self.sequence, out);
    }

    /// Writes the place of an entry of a stream, as [`Offset::write_last`] does.
    #[cold]
    fn write_entry(self, out: &mut BytesMut) {
        let (milliseconds, number) = self.entry();
        out.extend_from_slice(b",\"");
        put_decimal(milliseconds, out);
        out.extend_from_slice(b"-");
        put_decimal(number, out);
        out.extend_from_slice(b"\"]");
    }

    /// The text in a form that can be an argument.
    #[must_use]
    pub fn text(self) -> ByteString {
        ByteString::from(alloc::format!("{self}"))
    }
}

/// The epoch of a process with its text, for those who write many offsets.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    number: u32,
    /// What stands before the sequence: a comma, a quote, the epoch, a dash. It ends with the
    /// array.
    text: [u8; Self::MAX_LEN],
    len: u8,
}

impl Epoch {
    const MAX_LEN: usize = 7 + 3;

    /// An epoch with its text.
    #[must_use]
    pub fn new(number: u32) -> Self {
        let mut text = FromEnd::<{ Self::MAX_LEN }>::new();
        text.push(b"-");
        text.push_pairs(number, &PAIRS_36);
        text.push(b",\"");
        Self {
            number,
            text: text.bytes,
            len: text.written().len() as u8,
        }
    }

    /// The number of the epoch.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The offset with this number in the epoch.
    #[must_use]
    pub const fn offset(&self, sequence: u64) -> Offset {
        Offset {
            epoch: self.number,
            sequence,
        }
    }

    /// Writes an offset as the last of several arguments, with the bracket behind it.
    #[inline]
    pub(crate) fn write_last(&self, sequence: u64, out: &mut BytesMut) {
        if self.number == Offset::STREAM {
            return self.offset(sequence).write_entry(out);
        }
        // The text is made from its end, and goes out in one piece.
        let mut text = FromEnd::<{ Self::MAX_LEN + 20 + 2 }>::new();
        text.push(b"\"]");
        match u32::try_from(sequence) {
            Ok(sequence) => text.push_pairs(sequence, &PAIRS_10),
            Err(_) => text.push(Digits::decimal(sequence).as_bytes()),
        }
        text.push_end_of(&self.text, self.len);
        out.extend_from_slice(text.written());
    }
}

/// The digits of a sequence and of an epoch.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The numbers of two digits, in base 10 and in base 36.
static PAIRS_10: [[u8; 2]; 100] = pairs(10);
static PAIRS_36: [[u8; 2]; 1296] = pairs(36);

#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "the compiler computes both tables, and a step that is wrong stops it"
)]
const fn pairs<const N: usize>(base: usize) -> [[u8; 2]; N] {
    let mut pairs = [[b'0'; 2]; N];
    let mut number = 0;
    while number < N {
        pairs[number] = [DIGITS[number / base], DIGITS[number % base]];
        number += 1;
    }
    pairs
}

/// A text of at most `N` bytes that is written from its end.
struct FromEnd<const N: usize> {
    bytes: [u8; N],
    start: usize,
}

impl<const N: usize> FromEnd<N> {
    #[inline]
    const fn new() -> Self {
        Self {
            bytes: [0; N],
            start: N,
        }
    }

    /// What has been written.
    #[inline]
    fn written(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Writes bytes in front. There has to be room for them.
    #[inline]
    fn push(&mut self, part: &[u8]) {
        let start = self.start.checked_sub(part.len());
        let room = start.and_then(|start| self.bytes.get_mut(start..self.start));
        debug_assert!(room.is_some(), "every text has room for its parts");
        if let (Some(room), Some(start)) = (room, start) {
            room.copy_from_slice(part);
            self.start = start;
        }
    }

    /// Writes the last `len` bytes of `part` in front. All of `part` is copied, because the
    /// compiler knows how long it is. There has to be room for all of it.
    #[inline]
    fn push_end_of<const M: usize>(&mut self, part: &[u8; M], len: u8) {
        let rest = self.start.saturating_sub(usize::from(len));
        self.push(part);
        self.start = rest;
    }

    /// Writes a number in front, two digits at a time.
    #[inline]
    fn push_pairs<const P: usize>(&mut self, number: u32, pairs: &[[u8; 2]; P]) {
        let base = const { P as u32 };
        let mut left = number;
        loop {
            let (Some(more), Some(pair)) = (left.checked_div(base), left.checked_rem(base)) else {
                return; // the base is not zero
            };
            let [tens, ones] = pairs.get(pair as usize).copied().unwrap_or_default();
            if more == 0 && tens == b'0' {
                return self.push(&[ones]);
            }
            self.push(&[tens, ones]);
            if more == 0 {
                return;
            }
            left = more;
        }
    }
}

/// An offset as the last argument.
impl Args {
    /// These arguments, with an offset behind them.
    #[must_use]
    pub fn with_offset(&self, offset: Offset) -> Self {
        let comma = if self.json.is_empty() { "" } else { "," };
        Self {
            json: alloc::format!("{}{comma}\"{offset}\"", self.json).into(),
            ..self.clone()
        }
    }

    /// The opposite of [`Args::with_offset`]. `None` if the last argument is no offset.
    #[must_use]
    pub fn split_offset(&self) -> Option<(Self, Offset)> {
        let (rest, text) = self.json.strip_suffix('"')?.rsplit_once('"')?;
        let offset = Offset::parse(text)?;
        let rest = rest.strip_suffix(',').or_else(|| rest.is_empty().then_some(rest))?;
        let args = Self {
            json: self.json.slice_ref(rest),
            ..self.clone()
        };
        Some((args, offset))
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
        if self.is_entry() {
            let (milliseconds, number) = self.entry();
            return write!(f, "{milliseconds}-{number}");
        }
        let mut epoch = FromEnd::<7>::new();
        epoch.push_pairs(self.epoch, &PAIRS_36);
        let epoch = core::str::from_utf8(epoch.written()).unwrap_or_default();
        write!(f, "{epoch}-{}", self.sequence)
    }
}

/// As its text.
impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From its text.
impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Offset;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an offset")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Offset, E> {
                Offset::parse(text).ok_or_else(|| E::custom(OffsetError))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_offset_is_read_as_it_was_written(epoch in 0..Offset::STREAM, sequence: u64) {
            let offset = Offset { epoch, sequence };
            let text = offset.to_string();
            prop_assert!(text.len() <= Offset::MAX_LEN);
            prop_assert_eq!(Offset::parse(&text), Some(offset));
            let mut last = BytesMut::new();
            offset.write_last(&mut last);
            let expected = std::format!(",\"{text}\"]");
            prop_assert_eq!(&last[..], expected.as_bytes());
            let json = serde_json::to_string(&offset).unwrap();
            prop_assert_eq!(serde_json::from_str::<Offset>(&json).unwrap(), offset);
        }

        #[test]
        fn any_text_is_read_without_harm(text in ".*") {
            if let Some(offset) = Offset::parse(&text) {
                prop_assert!(text.len() >= offset.to_string().len());
            }
        }
    }

    /// What clients show to genuine nodes is the id of an entry, and nothing else is taken for one.
    #[test]
    fn the_place_of_an_entry_is_its_id() {
        for (milliseconds, number) in [(1_795_448_767_434, 0), (10_000_000, 16_383), ((1 << 42) - 1, 7)] {
            let offset = Offset::of_entry(milliseconds, number).unwrap();
            assert_eq!(offset.to_string(), std::format!("{milliseconds}-{number}"));
            assert_eq!(Offset::parse(&offset.to_string()), Some(offset));
            assert_eq!(offset.stored_at(), Some(milliseconds));
            let before = offset.entry_before();
            assert!(before.sequence < offset.sequence);
            let mut last = BytesMut::new();
            offset.write_last(&mut last);
            assert_eq!(&last[..], std::format!(",\"{offset}\"]").as_bytes());
        }
        let order = [(10_000_000, 0), (10_000_000, 1), (10_000_001, 0)];
        assert!(
            order
                .map(|(ms, number)| Offset::of_entry(ms, number).unwrap().sequence)
                .is_sorted()
        );
        for (milliseconds, number) in [
            (9_999_999, 0),
            (1 << 42, 0),
            (10_000_000, 1 << 14),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(Offset::of_entry(milliseconds, number), None);
        }
        for text in [
            "99999999999999999999-0",
            "1795448767434-99999999",
            "1795448767434-",
            "17954487674a4-1",
        ] {
            assert_eq!(Offset::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_number_of_digits_is_written() {
        let numbers = (0..20).map(|digits| 10_u64.pow(digits));
        let numbers = numbers.flat_map(|power| [power - 1, power, power + 1]);
        let epochs = (0..7).map(|digits| 36_u32.saturating_pow(digits));
        let epochs: Vec<_> = epochs.flat_map(|power| [power - 1, power]).chain([u32::MAX]).collect();
        for sequence in numbers.chain([u64::MAX]) {
            for &epoch in &epochs {
                let (offset, mut last) = (Offset { epoch, sequence }, BytesMut::new());
                offset.write_last(&mut last);
                assert_eq!(&last[..], std::format!(",\"{offset}\"]").as_bytes());
            }
        }
    }

    #[test]
    fn an_offset_behind_arguments_is_found_again() {
        let offset = Offset {
            epoch: 77,
            sequence: 12,
        };
        for json in ["", "1", r#""a","b""#, r#"{"a":["1-1"]}"#, r#""1-1""#] {
            let args = Args::from(ByteString::from(json));
            assert_eq!(args.with_offset(offset).split_offset(), Some((args, offset)));
        }
        for json in ["", "1", r#""a""#, r#""1-""#, r#"["1-1"]"#, r#""a\"1-1""#] {
            assert_eq!(Args::from(ByteString::from(json)).split_offset(), None, "{json}");
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
