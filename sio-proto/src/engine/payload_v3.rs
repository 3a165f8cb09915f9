//! Revision 3 payloads: length-prefixed text, and binary framing (docs/protocol/engine-io.md
//! §3.2-3.4).
//!
//! ```text
//! text      *( length ":" packet )            6:4hello5:4é€😀10:b4AQIDBA==
//!           length counts UTF-16 code units
//! binary    *( kind length 0xFF bytes )       00 04 FF 34 E2 82 AC  01 05 FF 04 01 02 03 04
//!           kind 0 text, 1 binary; length in decimal, one digit (value 0-9) a byte; counts bytes
//! ```
//!
//! The `Content-Type` of the request selects the form: `application/octet-stream` is binary,
//! everything else is text.
//!
//! Text comes in two dialects, see [`dialect`](super::dialect).

use core::iter::FusedIterator;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::dialect::Dialect;
use super::packet::{DecodeError, Packet, Revision, base64_text_len, encode_base64};
pub use super::payload::PayloadError;
use crate::digits::{Digits, put_decimal};
use crate::legacy::lengths::{self, Misfit, Unit};

/// Genuine lengths have far fewer digits. Leading zeros count as digits.
const MAX_LENGTH_DIGITS: usize = 10;

/// The packets of a text payload, up to and including the first error. After an error there is
/// nothing more.
#[derive(Clone, Debug)]
pub struct TextPackets {
    rest: ByteString,
    dialect: Dialect,
    left: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Going,
    Ended,
}

/// Splits a text payload into at most `max_packets` packets.
///
/// An empty body is an error; `0:` is the empty list. At the end, [`TextPackets::dialect`] returns
/// the dialect that was found.
#[must_use]
pub fn decode_text(body: ByteString, dialect: Dialect, max_packets: usize) -> TextPackets {
    TextPackets {
        rest: body,
        dialect,
        left: max_packets,
        state: State::Start,
    }
}

impl TextPackets {
    /// The dialect as far as it is known now, for the next payload of the session.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn take(&mut self) -> Result<Option<Packet>, PayloadError> {
        if self.rest.is_empty() && self.state == State::Start {
            return Err(PayloadError::EmptyBody);
        }
        self.state = State::Going;
        while !self.rest.is_empty() {
            step!();
            let (length, digits) =
                lengths::take_decimal(self.rest.as_bytes(), MAX_LENGTH_DIGITS).ok_or(PayloadError::InvalidLength)?;
            let behind = self.rest.get(digits..).and_then(|behind| behind.strip_prefix(':'));
            let after = behind.ok_or(PayloadError::InvalidLength)?;
            let end = lengths::offset(after, length, Unit::Utf16).map_err(|misfit| match misfit {
                Misfit::Short => PayloadError::Truncated,
                Misfit::CutPair => PayloadError::CutPair,
            })?;
            let (text, after) = after.split_at_checked(end).ok_or(PayloadError::Truncated)?;
            let text = self.rest.slice_ref(text);
            self.rest = self.rest.slice_ref(after);
            if text.is_empty() {
                continue; // `0:` is skipped without an error
            }
            self.left = self.left.checked_sub(1).ok_or(PayloadError::TooManyPackets)?;
            let text = self.dialect.resolve(text);
            return Ok(Some(Packet::decode_text(Revision::V3, &text)?));
        }
        Ok(None)
    }
}

impl Iterator for TextPackets {
    type Item = Result<Packet, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let item = self.take().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.state = State::Ended;
        }
        item
    }
}

impl FusedIterator for TextPackets {}

/// The packets of a binary payload, up to and including the first error. After an error there is
/// nothing more.
#[derive(Clone, Debug)]
pub struct BinaryPackets {
    rest: Bytes,
    dialect: Dialect,
    left: usize,
    state: State,
}

/// Splits a binary payload into at most `max_packets` packets.
///
/// The text in a binary payload is plain, except from Socket.IO 1.0.0, which encodes twice here
/// too. This is why `dialect` is a parameter.
#[must_use]
pub fn decode_binary(body: Bytes, dialect: Dialect, max_packets: usize) -> BinaryPackets {
    BinaryPackets {
        rest: body,
        dialect,
        left: max_packets,
        state: State::Start,
    }
}

impl BinaryPackets {
    /// The dialect as far as it is known now, for the next payload of the session.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn take(&mut self) -> Result<Option<Packet>, PayloadError> {
        if self.rest.is_empty() {
            return match self.state {
                State::Start => Err(PayloadError::EmptyBody),
                State::Going | State::Ended => Ok(None),
            };
        }
        self.state = State::Going;
        self.left = self.left.checked_sub(1).ok_or(PayloadError::TooManyPackets)?;
        let kind = self.rest.get_u8();
        let length = self.take_length()?;
        if length > self.rest.len() {
            return Err(PayloadError::Truncated);
        }
        step!(bulk length);
        let bytes = self.rest.split_to(length);
        match kind {
            0 => {
                let text = ByteString::try_from(bytes).map_err(|_| DecodeError::InvalidUtf8)?;
                let text = self.dialect.resolve(text);
                Ok(Some(Packet::decode_text(Revision::V3, &text)?))
            }
            1 => Ok(Some(Packet::decode_binary(Revision::V3, bytes)?)),
            other => Err(PayloadError::UnknownKind(other)),
        }
    }

    fn take_length(&mut self) -> Result<usize, PayloadError> {
        let mut length = 0usize;
        for (count, &byte) in (1..=MAX_LENGTH_DIGITS + 1).zip(self.rest.iter()) {
            step!();
            match byte {
                0..=9 => {
                    length = length
                        .checked_mul(10)
                        .and_then(|l| l.checked_add(usize::from(byte)))
                        .ok_or(PayloadError::InvalidLength)?;
                }
                0xff if count > 1 => {
                    self.rest.advance(count);
                    return Ok(length);
                }
                _ => return Err(PayloadError::InvalidLength),
            }
        }
        Err(PayloadError::InvalidLength)
    }
}

impl Iterator for BinaryPackets {
    type Item = Result<Packet, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let item = self.take().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.state = State::Ended;
        }
        item
    }
}

impl FusedIterator for BinaryPackets {}

/// Writes a text payload, packet after packet, into the caller's buffer.
///
/// Without packets nothing is written. Genuine servers write `0:` instead ([`EMPTY_TEXT_PAYLOAD`]).
#[derive(Debug)]
pub struct TextWriter<'a>(&'a mut BytesMut);

/// The text payload without packets.
pub const EMPTY_TEXT_PAYLOAD: &str = "0:";

impl<'a> TextWriter<'a> {
    /// A payload that begins at the end of `out`.
    pub fn new(out: &'a mut BytesMut) -> Self {
        Self(out)
    }

    /// Appends a packet that is already in its text form.
    pub fn text(&mut self, packet: &str) {
        self.0.reserve(packet.len().saturating_add(8));
        self.length(lengths::utf16_len(packet));
        self.0.put_slice(packet.as_bytes());
    }

    /// Appends a packet that is already in its text form for a peer of [`Dialect::Double`]: each
    /// byte of the text becomes a character. A byte that is not ASCII becomes two bytes.
    pub fn doubled(&mut self, packet: &str) {
        if packet.is_ascii() {
            return self.text(packet);
        }
        self.0.reserve(packet.len().saturating_mul(2).saturating_add(8));
        self.length(packet.len());
        for byte in packet.bytes() {
            self.0.put_slice(char::from(byte).encode_utf8(&mut [0; 2]).as_bytes());
        }
    }

    /// Appends a binary message as base64.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.length(base64_text_len(Revision::V3, bytes.len()));
        encode_base64(Revision::V3, bytes, self.0);
    }

    fn length(&mut self, units: usize) {
        put_decimal(units as u64, self.0);
        self.0.put_u8(b':');
    }
}

/// Writes a binary payload, packet after packet, into the caller's buffer.
#[derive(Debug)]
pub struct BinaryWriter<'a>(&'a mut BytesMut);

impl<'a> BinaryWriter<'a> {
    /// A payload that begins at the end of `out`.
    pub fn new(out: &'a mut BytesMut) -> Self {
        Self(out)
    }

    /// Appends a packet that is already in its text form.
    pub fn text(&mut self, packet: &str) {
        self.header(0, packet.len());
        self.0.put_slice(packet.as_bytes());
    }

    /// Appends a binary message.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.header(1, bytes.len().saturating_add(1));
        self.0.put_u8(4);
        self.0.put_slice(bytes);
    }

    fn header(&mut self, kind: u8, len: usize) {
        let digits = Digits::decimal(len as u64);
        self.0.reserve(len.saturating_add(22));
        self.0.put_u8(kind);
        // Each digit is a number here, and not a character.
        digits.as_bytes().iter().for_each(|digit| self.0.put_u8(digit & 15));
        self.0.put_u8(0xff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::packet::tests::any_packet;
    use alloc::string::String;
    use alloc::vec::Vec;
    use alloc::{format, vec};
    use proptest::prelude::*;

    fn message(text: &str) -> Packet {
        Packet::Message(text.into())
    }

    fn four_bytes() -> Packet {
        Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]))
    }

    fn text_packets(wire: &str) -> Vec<Result<Packet, PayloadError>> {
        decode_text(wire.into(), Dialect::Plain, 10).collect()
    }

    fn binary_packets(wire: &[u8]) -> Vec<Result<Packet, PayloadError>> {
        decode_binary(Bytes::copy_from_slice(wire), Dialect::Plain, 10).collect()
    }

    fn write_text(packets: &[Packet]) -> BytesMut {
        let mut out = BytesMut::new();
        let mut writer = TextWriter::new(&mut out);
        for packet in packets {
            match packet {
                Packet::Binary(bytes) => writer.binary(bytes),
                other => writer.text(&text_form(other)),
            }
        }
        out
    }

    fn write_binary(packets: &[Packet]) -> BytesMut {
        let mut out = BytesMut::new();
        let mut writer = BinaryWriter::new(&mut out);
        for packet in packets {
            match packet {
                Packet::Binary(bytes) => writer.binary(bytes),
                other => writer.text(&text_form(other)),
            }
        }
        out
    }

    fn text_form(packet: &Packet) -> ByteString {
        let mut out = BytesMut::new();
        packet.encode_text(Revision::V3, &mut out);
        ByteString::try_from(out).unwrap()
    }

    /// Packets, text payload and binary payload as engine.io-parser 2.2.1 and 1.3.2 write them.
    #[test]
    fn text_for_a_peer_that_encodes_twice() {
        let mut out = BytesMut::new();
        let mut writer = TextWriter::new(&mut out);
        writer.doubled("4cash €");
        writer.doubled("4😀");
        writer.doubled("4ascii");
        let wire = ByteString::try_from(out).unwrap();
        assert_eq!(wire, "9:4cash â\u{82}¬5:4ð\u{9f}\u{98}\u{80}6:4ascii");
        let read: Result<Vec<_>, _> = decode_text(wire, Dialect::Double, 10).collect();
        let said = ["cash €", "😀", "ascii"].map(|text| Packet::Message(text.into()));
        assert_eq!(read.unwrap(), said);
    }

    #[test]
    fn the_parsers_own_vectors() {
        let cases: [(Vec<Packet>, &str, &[u8]); 9] = [
            (
                vec![Packet::Open("{\"sid\":\"abc\"}".into())],
                "14:0{\"sid\":\"abc\"}",
                b"\x00\x01\x04\xff0{\"sid\":\"abc\"}",
            ),
            (
                vec![message("hello"), message("é€😀")],
                "6:4hello5:4é€😀",
                b"\x00\x06\xff4hello\x00\x01\x00\xff4\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
            ),
            (vec![Packet::Noop], "1:6", b"\x00\x01\xff6"),
            (vec![Packet::Close], "1:1", b"\x00\x01\xff1"),
            (
                vec![
                    Packet::Ping("probe".into()),
                    Packet::Pong("probe".into()),
                    Packet::Upgrade,
                ],
                "6:2probe6:3probe1:5",
                b"\x00\x06\xff2probe\x00\x06\xff3probe\x00\x01\xff5",
            ),
            (vec![message("")], "1:4", b"\x00\x01\xff4"),
            (vec![four_bytes()], "10:b4AQIDBA==", b"\x01\x05\xff\x04\x01\x02\x03\x04"),
            (
                vec![message("€"), four_bytes()],
                "2:4€10:b4AQIDBA==",
                b"\x00\x04\xff4\xe2\x82\xac\x01\x05\xff\x04\x01\x02\x03\x04",
            ),
            (vec![Packet::Binary(Bytes::new())], "2:b4", b"\x01\x01\xff\x04"),
        ];
        for (packets, text, binary) in cases {
            let expected: Vec<_> = packets.iter().cloned().map(Ok).collect();
            assert_eq!(text_packets(text), expected, "{text}");
            assert_eq!(binary_packets(binary), expected, "{text}");
            assert_eq!(write_text(&packets), text.as_bytes());
            assert_eq!(write_binary(&packets), binary);
        }
    }

    #[test]
    fn the_double_dialect_is_recognised_and_remembered() {
        // The texts that engine.io-parser 1.3.2 writes for é€😀, and 1.0.5-1.7 for €.
        for (wire, text) in [("10:4Ã©â\u{82}¬ð\u{9f}\u{98}\u{80}", "é€😀"), ("4:4â\u{82}¬", "€")] {
            let mut packets = decode_text(wire.into(), Dialect::Auto, 10);
            assert_eq!(packets.next(), Some(Ok(message(text))));
            assert_eq!(packets.dialect(), Dialect::Double);
            assert_eq!(packets.next(), None);
            assert_ne!(text_packets(wire), [Ok(message(text))], "plain takes it as it is");
        }
        assert_eq!(
            ByteString::from("4:4â\u{82}¬").as_bytes().as_ref(),
            b"\x34\x3a\x34\xc3\xa2\xc2\x82\xc2\xac"
        );
    }

    #[test]
    fn malformed_text() {
        use PayloadError::*;
        for (wire, good, error) in [
            ("", 0, Some(EmptyBody)),
            ("0:", 0, None),
            ("0:0:1:6", 1, None),
            ("011:4aaaaaaaaaa", 1, None),
            ("1.1e1:4aaaaaaaaaa", 0, Some(InvalidLength)),
            ("9e999:4", 0, Some(InvalidLength)),
            ("1:61", 1, Some(InvalidLength)),
            ("1:6:", 1, Some(InvalidLength)),
            (":4", 0, Some(InvalidLength)),
            ("-1:4", 0, Some(InvalidLength)),
            (" 1:4", 0, Some(InvalidLength)),
            ("00000000001:4", 0, Some(InvalidLength)),
            ("hello", 0, Some(InvalidLength)),
            ("1:65:4abc", 1, Some(Truncated)),
            ("9999999999:4", 0, Some(Truncated)),
            ("2:4😀", 0, Some(CutPair)),
            ("1:x", 0, Some(Packet(DecodeError::UnknownType(b'x')))),
            ("1:42:b41:6", 3, None),
        ] {
            let mut packets = text_packets(wire);
            if let Some(error) = error {
                assert_eq!(packets.pop(), Some(Err(error)), "{wire}");
            }
            assert_eq!(packets.len(), good, "{wire}");
            assert!(packets.iter().all(Result::is_ok), "{wire}");
        }
    }

    #[test]
    fn malformed_binary() {
        use PayloadError::*;
        for (wire, good, error) in [
            (&b""[..], 0, EmptyBody),
            (b"\x00", 0, InvalidLength),
            (b"\x00\xff", 0, InvalidLength),
            (b"\x00\x0a\xff4", 0, InvalidLength),
            (b"\x001\xff4", 0, InvalidLength),
            (b"\x00\x01", 0, InvalidLength),
            (&[0; 400], 0, InvalidLength),
            (b"\x00\x02\xff4", 0, Truncated),
            (b"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff4", 0, Truncated),
            (b"\x00\x00\xff", 0, Packet(DecodeError::Empty)),
            (b"\x00\x01\xff6\x02\x01\xff6", 1, UnknownKind(2)),
            (b"\x00\x02\xff4\xff", 0, Packet(DecodeError::InvalidUtf8)),
            (b"\x01\x01\xff\x02", 0, Packet(DecodeError::BinaryNotMessage)),
        ] {
            let mut packets = binary_packets(wire);
            assert_eq!(packets.pop(), Some(Err(error)), "{wire:?}");
            assert_eq!(packets.len(), good, "{wire:?}");
        }
    }

    #[test]
    fn packets_are_counted() {
        let text: Vec<_> = decode_text("1:61:61:6".into(), Dialect::Auto, 2).collect();
        assert_eq!(text[2], Err(PayloadError::TooManyPackets));
        assert_eq!(text.len(), 3);
        let body = Bytes::from_static(b"\x00\x01\xff6\x00\x01\xff6");
        let binary: Vec<_> = decode_binary(body, Dialect::Auto, 1).collect();
        assert_eq!(binary[1], Err(PayloadError::TooManyPackets));
        assert_eq!(binary.len(), 2);
    }

    proptest! {
        #[test]
        fn round_trip(packets in prop::collection::vec(any_packet(), 1..8)) {
            let body = ByteString::try_from(write_text(&packets)).unwrap();
            let decoded: Result<Vec<_>, _> = decode_text(body, Dialect::Plain, 8).collect();
            prop_assert_eq!(decoded, Ok(packets.clone()));
            let body = write_binary(&packets).freeze();
            let decoded: Result<Vec<_>, _> = decode_binary(body, Dialect::Plain, 8).collect();
            prop_assert_eq!(decoded, Ok(packets));
        }

        #[test]
        fn double_encoded_text_is_recovered(text in "[a€é😀]*[€é😀]") {
            let doubled: String = text.bytes().map(char::from).collect();
            let wire = format!("{}:4{doubled}", doubled.chars().count() + 1);
            let decoded: Vec<_> = decode_text(wire.into(), Dialect::Auto, 8).collect();
            prop_assert_eq!(decoded, [Ok(message(&text))]);
        }

        #[test]
        fn never_panics(text in "[0-9:b4€😀]{0,30}", bytes in prop::collection::vec(prop_oneof![0..10u8, Just(0xff), any::<u8>()], 0..30)) {
            text_packets(&text);
            binary_packets(&bytes);
        }
    }
}
