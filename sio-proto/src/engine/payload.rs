//! Revision 4 payloads: the packets of one polling body (docs/protocol/engine-io.md §3.1).
//!
//! ```text
//! packet *( 0x1E packet )      4hello 1E 4é€😀 1E bAQIDBA==
//! ```
//!
//! A payload is always text; bytes travel as base64. 0x1E is not escaped, so a message with this
//! byte would be split in two. Code that serialises messages must not write it raw (JSON never
//! does).
//!
//! Revision 3 payloads are in [`payload_v3`](super::payload_v3).

use core::iter::FusedIterator;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::packet::{DecodeError, Packet, Revision, encode_base64};

/// The byte between two packets.
const SEPARATOR: u8 = 0x1e;

/// Why the decoding of a payload stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The body is empty. Every payload has at least one packet.
    #[error("empty payload")]
    EmptyBody,
    /// One of its packets is not valid.
    #[error(transparent)]
    Packet(#[from] DecodeError),
    /// There are more packets than the caller allows.
    #[error("too many packets in one payload")]
    TooManyPackets,
    /// A length prefix is missing, is not decimal, or has more digits than a genuine peer writes
    /// (revision 3 only).
    #[error("invalid packet length")]
    InvalidLength,
    /// A length that goes beyond the end of the body (revision 3 only).
    #[error("packet longer than the payload")]
    Truncated,
    /// A length that ends inside a character (revision 3 text only).
    #[error("packet length cuts a surrogate pair")]
    CutPair,
    /// A packet that is neither text nor binary (revision 3 binary only).
    #[error("unknown packet kind {0:#04x}")]
    UnknownKind(u8),
}

/// The packets of a revision 4 payload, up to and including the first error.
///
/// Packets before an error are good and should be delivered, as a genuine server does. The session
/// then closes with `parse error`. After an error the iterator yields nothing more.
#[derive(Clone, Debug)]
pub struct Packets {
    rest: Option<ByteString>,
    left: usize,
    started: bool,
}

/// Splits a payload into at most `max_packets` packets.
///
/// An empty body is an error, not an empty list.
#[must_use]
pub fn decode(body: ByteString, max_packets: usize) -> Packets {
    Packets {
        rest: Some(body),
        left: max_packets,
        started: false,
    }
}

impl Iterator for Packets {
    type Item = Result<Packet, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        if rest.is_empty() && !self.started {
            return Some(Err(PayloadError::EmptyBody));
        }
        self.started = true;
        let Some(left) = self.left.checked_sub(1) else {
            return Some(Err(PayloadError::TooManyPackets));
        };
        self.left = left;
        let end = memchr::memchr(SEPARATOR, rest.as_bytes());
        step!(bulk end.unwrap_or(rest.len()));
        let text = match end {
            None => rest,
            Some(at) => {
                // The separator is one byte.
                let (text, behind) = rest.split_at_checked(at).unwrap_or_default();
                self.rest = Some(rest.slice_ref(behind.get(1..).unwrap_or_default()));
                rest.slice_ref(text)
            }
        };
        let packet = Packet::decode_text(Revision::V4, &text);
        if packet.is_err() {
            self.rest = None;
        }
        Some(packet.map_err(PayloadError::from))
    }
}

impl FusedIterator for Packets {}

/// Writes a revision 4 payload, packet after packet, into the caller's buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    started: bool,
}

impl<'a> Writer<'a> {
    /// A payload that begins at the end of `out`.
    pub fn new(out: &'a mut BytesMut) -> Self {
        Self { out, started: false }
    }

    /// Appends a packet that is already in its text form.
    pub fn text(&mut self, packet: &str) {
        self.text_bytes(packet.as_bytes());
    }

    /// Appends a packet whose text has been written before.
    pub(crate) fn text_bytes(&mut self, packet: &[u8]) {
        debug_assert!(!packet.contains(&SEPARATOR), "a raw U+001E splits the packet");
        self.out.reserve(packet.len().saturating_add(1));
        self.separate();
        self.out.put_slice(packet);
    }

    /// Appends a binary message as base64.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.separate();
        encode_base64(Revision::V4, bytes, self.out);
    }

    /// Appends any packet.
    pub fn packet(&mut self, packet: &Packet) {
        self.separate();
        packet.encode_text(Revision::V4, self.out);
    }

    fn separate(&mut self) {
        if core::mem::replace(&mut self.started, true) {
            self.out.put_u8(SEPARATOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::packet::tests::any_packet;
    use alloc::string::String;
    use alloc::vec::Vec;
    use alloc::{format, vec};
    use bytes::Bytes;
    use proptest::prelude::*;

    fn message(text: &str) -> Packet {
        Packet::Message(text.into())
    }

    fn binary(bytes: &'static [u8]) -> Packet {
        Packet::Binary(Bytes::from_static(bytes))
    }

    #[test]
    fn the_parsers_own_vectors() {
        for (wire, packets) in [
            ("0{\"sid\":\"abc\"}", vec![Packet::Open("{\"sid\":\"abc\"}".into())]),
            ("4hello\u{1e}4é€😀", vec![message("hello"), message("é€😀")]),
            ("6", vec![Packet::Noop]),
            ("1", vec![Packet::Close]),
            (
                "2probe\u{1e}3probe\u{1e}5",
                vec![
                    Packet::Ping("probe".into()),
                    Packet::Pong("probe".into()),
                    Packet::Upgrade,
                ],
            ),
            ("4", vec![message("")]),
            ("bAQIDBA==", vec![binary(&[1, 2, 3, 4])]),
            ("4€\u{1e}bAQIDBA==", vec![message("€"), binary(&[1, 2, 3, 4])]),
            ("b", vec![binary(&[])]),
        ] {
            let decoded: Result<Vec<_>, _> = decode(wire.into(), 10).collect();
            assert_eq!(decoded, Ok(packets.clone()), "{wire:?}");
            let mut out = BytesMut::new();
            let mut writer = Writer::new(&mut out);
            for packet in &packets {
                match packet {
                    Packet::Binary(bytes) => writer.binary(bytes),
                    other => writer.packet(other),
                }
            }
            assert_eq!(out, wire.as_bytes());
        }
    }

    #[test]
    fn a_raw_separator_splits_a_message() {
        let decoded: Vec<_> = decode("4a\u{1e}b".into(), 10).collect();
        assert_eq!(decoded, [Ok(message("a")), Ok(binary(&[]))]);
    }

    #[test]
    fn packets_before_the_error_are_delivered() {
        use DecodeError::{Empty, InvalidBase64, UnknownType};
        for (wire, good, error) in [
            ("", 0, Empty),
            ("4a\u{1e}", 1, Empty),
            ("4a\u{1e}\u{1e}4b", 1, Empty),
            ("\u{1e}4b", 0, Empty),
            ("4a\u{1e}x\u{1e}4b", 1, UnknownType(b'x')),
            ("4a\u{1e}4b\u{1e}b!", 2, InvalidBase64),
        ] {
            let mut packets = decode(wire.into(), 10);
            for _ in 0..good {
                assert!(matches!(packets.next(), Some(Ok(_))), "{wire:?}");
            }
            let expected = if wire.is_empty() {
                PayloadError::EmptyBody
            } else {
                error.into()
            };
            assert_eq!(packets.next(), Some(Err(expected)), "{wire:?}");
            assert_eq!(packets.next(), None);
        }
    }

    #[test]
    fn packets_are_counted() {
        let three = || ByteString::from_static("41\u{1e}42\u{1e}43");
        assert!(decode(three(), 3).all(|p| p.is_ok()));
        let decoded: Vec<_> = decode(three(), 2).collect();
        assert_eq!(
            decoded,
            [Ok(message("1")), Ok(message("2")), Err(PayloadError::TooManyPackets)]
        );
    }

    proptest! {
        #[test]
        fn round_trip(packets in prop::collection::vec(any_packet(), 1..8)) {
            prop_assume!(!format!("{packets:?}").contains("\\u{1e}"));
            let mut out = BytesMut::new();
            let mut writer = Writer::new(&mut out);
            packets.iter().for_each(|p| writer.packet(p));
            let body = ByteString::try_from(out.freeze()).unwrap();
            let decoded: Result<Vec<_>, _> = decode(body, 8).collect();
            prop_assert_eq!(decoded, Ok(packets));
        }

        #[test]
        fn never_panics(wire in "[0-9b\u{1e}=A/é]{0,30}", any in any::<String>()) {
            let _: Vec<_> = decode(wire.into(), 10).collect();
            let _: Vec<_> = decode(any.into(), 10).collect();
        }
    }
}
