//! One Engine.IO packet and its text and binary forms (docs/protocol/engine-io.md §2).
//!
//! ```text
//!             text form                       binary form (websocket message)
//! revision 4  digit text       4hello         the raw bytes; always a message
//!             b base64         bAQIDBA==
//! revision 3  digit text       4hello         type number, then the bytes: 04 01 02 03 04
//!             b4 base64        b4AQIDBA==
//! ```
//!
//! Invariants:
//! * A decoded text and a raw binary share the receive buffer. Only base64 is copied, once.
//! * If a packet type carries no data (`1`, `5`, `6`), data that a peer appends is ignored, as
//!   genuine peers do.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::keep::Source;

/// Standard alphabet. We write padding, and also read text without it, because old clients leave it
/// out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The Engine.IO revision of a session, fixed at its handshake.
///
/// `EIO=2` is the same wire as 3 and has no variant of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// Socket.IO 1 and 2: the client pings, payloads are length-prefixed.
    V3,
    /// Socket.IO 3 and 4: the server pings, payloads are separated by U+001E.
    V4,
}

/// One Engine.IO packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Packet {
    /// `0`: the server's handshake, a JSON object.
    Open(ByteString),
    /// `1`: the session ends.
    Close,
    /// `2`: heartbeat, or the probe of a candidate transport (`2probe`).
    Ping(ByteString),
    /// `3`: the answer to a ping (`3probe` to a probe).
    Pong(ByteString),
    /// `4`: text for the layer above.
    Message(ByteString),
    /// A message that carries bytes.
    Binary(Bytes),
    /// `5`: the client switches to the probed transport.
    Upgrade,
    /// `6`: ends a poll when there is nothing to send.
    Noop,
}

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input is empty, so there is no packet type.
    #[error("empty packet")]
    Empty,
    /// The first character names no packet type.
    #[error("unknown packet type {0:#04x}")]
    UnknownType(u8),
    /// Binary data with a type other than message. This exists only in revision 3; revision 4 has
    /// no type there.
    #[error("binary data in a packet that is not a message")]
    BinaryNotMessage,
    /// Text after `b` that is not base64.
    #[error("invalid base64")]
    InvalidBase64,
    /// Text that is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
}

impl Packet {
    /// Gives its text or binary its own memory, if it is to be copied.
    pub(crate) fn keep(&mut self, from: Source) {
        match self {
            Self::Open(text) | Self::Ping(text) | Self::Pong(text) | Self::Message(text) => from.keep_text(text),
            Self::Binary(bytes) => from.keep_bytes(bytes),
            Self::Close | Self::Upgrade | Self::Noop => {}
        }
    }

    /// Number of bytes of its text or binary.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Open(text) | Self::Ping(text) | Self::Pong(text) | Self::Message(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Close | Self::Upgrade | Self::Noop => 0,
        }
    }

    /// Reads the text form: a websocket text message, or one packet of a payload.
    ///
    /// # Errors
    ///
    /// Returns why the text is no packet. The session then closes with `parse error`.
    pub fn decode_text(revision: Revision, text: &ByteString) -> Result<Self, DecodeError> {
        let kind = *text.as_bytes().first().ok_or(DecodeError::Empty)?;
        // Behind a byte that is not ASCII, no text begins.
        let data = text.get(1..).ok_or(DecodeError::UnknownType(kind))?;
        Ok(match kind {
            b'0' => Self::Open(text.slice_ref(data)),
            b'1' => Self::Close,
            b'2' => Self::Ping(text.slice_ref(data)),
            b'3' => Self::Pong(text.slice_ref(data)),
            b'4' => Self::Message(text.slice_ref(data)),
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            b'b' => {
                let base64 = match revision {
                    Revision::V4 => data,
                    Revision::V3 => data.strip_prefix('4').ok_or(DecodeError::BinaryNotMessage)?,
                };
                Self::Binary(decode_base64(base64)?)
            }
            _ => return Err(DecodeError::UnknownType(kind)),
        })
    }

    /// Reads the binary form: a websocket binary message, or a binary packet of a revision 3
    /// payload.
    ///
    /// # Errors
    ///
    /// Revision 4 has no errors: every binary message is data, even an empty one. In revision 3 the
    /// first byte must be the number 4.
    pub fn decode_binary(revision: Revision, mut bytes: Bytes) -> Result<Self, DecodeError> {
        match revision {
            Revision::V4 => Ok(Self::Binary(bytes)),
            Revision::V3 => match bytes.first() {
                None => Err(DecodeError::Empty),
                Some(4) => Ok(Self::Binary(bytes.split_off(1))),
                Some(0..=6) => Err(DecodeError::BinaryNotMessage),
                Some(&other) => Err(DecodeError::UnknownType(other)),
            },
        }
    }

    /// Appends the text form; bytes become base64.
    pub fn encode_text(&self, revision: Revision, out: &mut BytesMut) {
        let (kind, data) = match self {
            Self::Open(data) => (b'0', &**data),
            Self::Close => (b'1', ""),
            Self::Ping(data) => (b'2', &**data),
            Self::Pong(data) => (b'3', &**data),
            Self::Message(data) => (b'4', &**data),
            Self::Binary(bytes) => return encode_base64(revision, bytes, out),
            Self::Upgrade => (b'5', ""),
            Self::Noop => (b'6', ""),
        };
        out.reserve(data.len().saturating_add(1));
        out.put_u8(kind);
        out.put_slice(data.as_bytes());
    }
}

/// Appends the text form of a binary message: `b` and base64. In revision 3 the type digit stands
/// between them.
pub fn encode_base64(revision: Revision, bytes: &[u8], out: &mut BytesMut) {
    out.put_slice(base64_prefix(revision));
    let start = out.len();
    let length = base64_len(bytes.len());
    step!(each length);
    out.resize(start.saturating_add(length), b'=');
    let written = BASE64.encode_slice(bytes, out.get_mut(start..).unwrap_or_default());
    debug_assert_eq!(written, Ok(length), "base64_len is exact");
}

/// Appends the binary form of a binary message, which is the websocket message to send.
///
/// In revision 4 the binary form is the data itself, and a caller can send the data without this
/// copy.
pub fn encode_binary(revision: Revision, bytes: &[u8], out: &mut BytesMut) {
    out.reserve(bytes.len().saturating_add(1));
    if revision == Revision::V3 {
        out.put_u8(4);
    }
    out.put_slice(bytes);
}

/// How many bytes [`encode_base64`] writes for `len` bytes.
pub(super) const fn base64_text_len(revision: Revision, len: usize) -> usize {
    base64_prefix(revision).len().saturating_add(base64_len(len))
}

const fn base64_prefix(revision: Revision) -> &'static [u8] {
    match revision {
        Revision::V3 => b"b4",
        Revision::V4 => b"b",
    }
}

const fn base64_len(len: usize) -> usize {
    len.div_ceil(3).saturating_mul(4)
}

fn decode_base64(text: &str) -> Result<Bytes, DecodeError> {
    step!(each text.len());
    BASE64
        .decode(text)
        .map(Bytes::from)
        .map_err(|_| DecodeError::InvalidBase64)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn text(revision: Revision, packet: &Packet) -> ByteString {
        let mut out = BytesMut::new();
        packet.encode_text(revision, &mut out);
        ByteString::try_from(out.freeze()).unwrap()
    }

    pub(in crate::engine) fn any_packet() -> impl Strategy<Value = Packet> {
        let data = || any::<String>().prop_map(ByteString::from);
        prop_oneof![
            data().prop_map(Packet::Open),
            Just(Packet::Close),
            data().prop_map(Packet::Ping),
            data().prop_map(Packet::Pong),
            data().prop_map(Packet::Message),
            any::<Vec<u8>>().prop_map(|b| Packet::Binary(b.into())),
            Just(Packet::Upgrade),
            Just(Packet::Noop),
        ]
    }

    #[test]
    fn both_revisions_share_the_digits() {
        for revision in [Revision::V3, Revision::V4] {
            for (wire, packet) in [
                ("0{\"sid\":\"abc\"}", Packet::Open("{\"sid\":\"abc\"}".into())),
                ("1", Packet::Close),
                ("2", Packet::Ping("".into())),
                ("2probe", Packet::Ping("probe".into())),
                ("3probe", Packet::Pong("probe".into())),
                ("4hello", Packet::Message("hello".into())),
                ("4é€😀", Packet::Message("é€😀".into())),
                ("4", Packet::Message("".into())),
                ("5", Packet::Upgrade),
                ("6", Packet::Noop),
            ] {
                assert_eq!(Packet::decode_text(revision, &wire.into()), Ok(packet.clone()));
                assert_eq!(text(revision, &packet), wire);
            }
        }
    }

    #[test]
    fn base64_has_a_type_digit_in_revision_3_only() {
        let packet = Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]));
        let empty = Packet::Binary(Bytes::new());
        for (revision, full, unpadded, none) in [
            (Revision::V4, "bAQIDBA==", "bAQIDBA", "b"),
            (Revision::V3, "b4AQIDBA==", "b4AQIDBA", "b4"),
        ] {
            assert_eq!(text(revision, &packet), full);
            assert_eq!(base64_text_len(revision, 4), full.len());
            assert_eq!(Packet::decode_text(revision, &full.into()), Ok(packet.clone()));
            assert_eq!(Packet::decode_text(revision, &unpadded.into()), Ok(packet.clone()));
            assert_eq!(text(revision, &empty), none);
            assert_eq!(Packet::decode_text(revision, &none.into()), Ok(empty.clone()));
        }
    }

    #[test]
    fn binary_messages() {
        let raw = Bytes::from_static(&[4, 1, 2]);
        assert_eq!(
            Packet::decode_binary(Revision::V4, raw.clone()),
            Ok(Packet::Binary(raw.clone()))
        );
        assert_eq!(
            Packet::decode_binary(Revision::V3, raw.clone()),
            Ok(Packet::Binary(raw.slice(1..)))
        );
        let mut out = BytesMut::new();
        encode_binary(Revision::V3, &[1, 2], &mut out);
        assert_eq!(out, raw);
        assert_eq!(
            Packet::decode_binary(Revision::V4, Bytes::new()),
            Ok(Packet::Binary(Bytes::new()))
        );
        for (bytes, error) in [
            (&b""[..], DecodeError::Empty),
            (b"\x02", DecodeError::BinaryNotMessage),
            (b"4a", DecodeError::UnknownType(b'4')),
        ] {
            assert_eq!(Packet::decode_binary(Revision::V3, bytes.into()), Err(error));
        }
    }

    #[test]
    fn what_is_no_packet() {
        use DecodeError::*;
        for (revision, wire, error) in [
            (Revision::V4, "", Empty),
            (Revision::V4, "7", UnknownType(b'7')),
            (Revision::V4, "97:0{\"sid\"", UnknownType(b'9')),
            (Revision::V4, "hello", UnknownType(b'h')),
            (Revision::V4, "é", UnknownType(0xc3)),
            (Revision::V4, "bAQ ID", InvalidBase64),
            (Revision::V4, "b-_-_", InvalidBase64),
            (Revision::V4, "bA", InvalidBase64),
            (Revision::V4, "b===", InvalidBase64),
            (Revision::V4, "bé", InvalidBase64),
            (Revision::V3, "b", BinaryNotMessage),
            (Revision::V3, "b2AQID", BinaryNotMessage),
            (Revision::V3, "b4!", InvalidBase64),
        ] {
            assert_eq!(Packet::decode_text(revision, &wire.into()), Err(error), "{wire}");
        }
    }

    #[test]
    fn text_is_not_copied() {
        let wire = ByteString::from("4hello");
        let Ok(Packet::Message(data)) = Packet::decode_text(Revision::V4, &wire) else {
            panic!("a message")
        };
        assert_eq!(data.as_ptr(), wire[1..].as_ptr());
    }

    proptest! {
        #[test]
        fn round_trip(packet in any_packet(), v4 in any::<bool>()) {
            let revision = if v4 { Revision::V4 } else { Revision::V3 };
            prop_assert_eq!(Packet::decode_text(revision, &text(revision, &packet)), Ok(packet));
        }

        #[test]
        fn never_panics(wire in any::<String>(), bytes in any::<Vec<u8>>()) {
            for revision in [Revision::V3, Revision::V4] {
                let _ = Packet::decode_text(revision, &wire.as_str().into());
                let _ = Packet::decode_binary(revision, bytes.clone().into());
            }
        }
    }
}
