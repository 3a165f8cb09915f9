//! Frame headers (RFC 6455 §5.2), read and written.
//!
//! ```text
//!   byte 0            byte 1           0, 2 or 8 bytes    0 or 4 bytes
//! +-+-+-+-+-------+ +-+-------------+ +----------------+ +-------------+
//! |F|R|R|R| opcode| |M| length      | | length, when   | | masking key |
//! |I|S|S|S| (4)   | |A| (7)         | | the 7 bits say | | when MASK   |
//! |N|V|V|V|       | |S|             | | 126 or 127     | | is set      |
//! | |1|2|3|       | |K|             | | (big endian)   | |             |
//! +-+-+-+-+-------+ +-+-------------+ +----------------+ +-------------+
//! ```
//!
//! Every rule of the RFC about headers is checked here, byte by byte in the order of the wire. So a
//! wrong header is refused at its first wrong byte, and the error does not depend on where the
//! header was cut. The [decoder](super::decoder) checks the limits.

use bytes::{Buf, BufMut, BytesMut};

use super::error::Error;

/// The longest header: two bytes, eight of length, four of masking key.
pub const MAX_HEADER_BYTES: usize = 14;

/// The longest header of a server's frame, which has no masking key; see [`prepend_header`].
pub const MAX_SERVER_HEADER_BYTES: usize = 10;

/// The longest payload of a Close, Ping or Pong.
pub const MAX_CONTROL_BYTES: usize = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_RSV3: u8 = 0x30;
const MASK: u8 = 0x80;

/// Which end of the connection we are. Clients mask the frames that they send; servers do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We accepted the connection: the peer masks its frames.
    Server,
    /// We opened the connection: the peer does not mask its frames.
    Client,
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further part of a fragmented message.
    Continuation = 0,
    /// A text message, or its first part.
    Text = 1,
    /// A binary message, or its first part.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// The sender asks whether its peer is there.
    Ping = 9,
    /// The answer to a Ping, or a heartbeat that expects no answer.
    Pong = 10,
}

impl Opcode {
    /// The opcode with these four bits, or `None` if they are reserved.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    /// Whether this is a Close, Ping or Pong.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The state that a header is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Our role. It decides whether the peer has to mask.
    pub role: Role,
    /// Whether an extension gives a meaning to RSV1 on the first frame of a message
    /// (permessage-deflate, RFC 7692).
    pub allow_rsv1: bool,
    /// Whether a fragmented message is open.
    pub in_message: bool,
}

/// A parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// Whether an extension marked the frame; never set unless [`Rules::allow_rsv1`] is set.
    pub rsv1: bool,
    /// The kind of the frame.
    pub opcode: Opcode,
    /// The declared length of the payload. Nothing may be allocated for it.
    pub length: u64,
    /// The masking key; all zeros in an unmasked frame.
    pub key: [u8; 4],
}

impl Header {
    /// Reads a header from the start of `bytes`. Returns the header and its own length, or `None`
    /// if the header is not complete yet.
    ///
    /// # Errors
    ///
    /// The first mistake in the header, even if the rest of the header has not arrived yet.
    #[inline]
    pub fn parse(bytes: &[u8], rules: Rules) -> Result<Option<(Self, usize)>, Error> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let opcode = check_first(first, rules)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = check_second(second, opcode, rules.role)?;
        let (length, size): (_, usize) = match second & !MASK {
            126 => {
                let Some(length) = bytes.get(2..).and_then(|rest| rest.first_chunk()) else {
                    return Ok(None);
                };
                (check_length(u64::from(u16::from_be_bytes(*length)), 126)?, 4)
            }
            127 => {
                let Some(length) = bytes.get(2..).and_then(|rest| rest.first_chunk()) else {
                    return Ok(None);
                };
                (check_length(u64::from_be_bytes(*length), 1 << 16)?, 10)
            }
            short => (u64::from(short), 2),
        };
        let (key, size) = if masked {
            let Some(key) = bytes.get(size..).and_then(|rest| rest.first_chunk()) else {
                return Ok(None);
            };
            (*key, size.saturating_add(key.len()))
        } else {
            ([0; 4], size)
        };
        Ok(Some((
            Self {
                fin: first & FIN != 0,
                rsv1: first & RSV1 != 0,
                opcode,
                length,
                key,
            },
            size,
        )))
    }
}

/// Checks FIN, the reserved bits, the opcode, and whether such a frame may come now.
#[inline]
fn check_first(first: u8, rules: Rules) -> Result<Opcode, Error> {
    if first & RSV2_AND_RSV3 != 0 {
        return Err(Error::ReservedBits);
    }
    let opcode = Opcode::new(first & 0x0f).ok_or(Error::ReservedOpcode(first & 0x0f))?;
    // Extensions mark the first frame of a data message, never a continuation or a control frame
    // (RFC 7692 §6).
    if first & RSV1 != 0 && !(rules.allow_rsv1 && matches!(opcode, Opcode::Text | Opcode::Binary)) {
        return Err(Error::ReservedBits);
    }
    match opcode {
        Opcode::Continuation if !rules.in_message => Err(Error::UnexpectedContinuation),
        Opcode::Text | Opcode::Binary if rules.in_message => Err(Error::ExpectedContinuation),
        Opcode::Close | Opcode::Ping | Opcode::Pong if first & FIN == 0 => Err(Error::FragmentedControl),
        Opcode::Continuation | Opcode::Text | Opcode::Binary | Opcode::Close | Opcode::Ping | Opcode::Pong => {
            Ok(opcode)
        }
    }
}

/// Checks the second byte of a header: the mask bit, which is returned, and the length of a control
/// frame.
#[inline]
fn check_second(second: u8, opcode: Opcode, role: Role) -> Result<bool, Error> {
    let masked = second & MASK != 0;
    match role {
        Role::Server if !masked => return Err(Error::NotMasked),
        Role::Client if masked => return Err(Error::Masked),
        Role::Server | Role::Client => {}
    }
    if opcode.is_control() && usize::from(second & !MASK) > MAX_CONTROL_BYTES {
        return Err(Error::ControlTooLong);
    }
    Ok(masked)
}

#[inline]
const fn check_length(length: u64, least: u64) -> Result<u64, Error> {
    if length < least {
        Err(Error::LengthNotMinimal)
    } else if length >> 63 != 0 {
        Err(Error::LengthTooLong)
    } else {
        Ok(length)
    }
}

/// The bytes of a header; dereferences to them.
#[derive(Clone, Copy, Debug)]
pub struct HeaderBytes {
    bytes: [u8; MAX_HEADER_BYTES],
    length: u8,
}

impl core::ops::Deref for HeaderBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// Writes a header, with the length in its shortest form and all reserved bits clear.
///
/// A client passes a fresh unpredictable `mask` for each frame. A server passes `None`. `length` is
/// the length of the payload. The caller makes sure that the payload of a control frame is not
/// longer than [`MAX_CONTROL_BYTES`].
#[inline]
#[must_use]
pub fn encode_header(length: usize, opcode: Opcode, fin: bool, mask: Option<[u8; 4]>) -> HeaderBytes {
    debug_assert!(!opcode.is_control() || (fin && length <= MAX_CONTROL_BYTES));
    let mut bytes = [0; MAX_HEADER_BYTES];
    let mut rest = &mut bytes[..];
    rest.put_u8(opcode as u8 | if fin { FIN } else { 0 });
    let mask_bit = if mask.is_some() { MASK } else { 0 };
    if let Ok(length @ ..126) = u8::try_from(length) {
        rest.put_u8(length | mask_bit);
    } else if let Ok(length) = u16::try_from(length) {
        rest.put_u8(126 | mask_bit);
        rest.put_u16(length);
    } else {
        rest.put_u8(127 | mask_bit);
        rest.put_u64(length as u64);
    }
    if let Some(key) = mask {
        rest.put_slice(&key);
    }
    let length = MAX_HEADER_BYTES.saturating_sub(rest.len()) as u8;
    HeaderBytes { bytes, length }
}

/// The length of the header before a payload of `length` bytes.
#[inline]
#[must_use]
pub const fn header_bytes(length: usize, masked: bool) -> usize {
    match (length, masked) {
        (..126, false) => 2,
        (..126, true) => 6,
        (126..=0xffff, false) => 4,
        (126..=0xffff, true) => 8,
        (_, false) => 10,
        (_, true) => MAX_HEADER_BYTES,
    }
}

/// Makes an unmasked frame of a payload. The payload was written behind [`MAX_SERVER_HEADER_BYTES`]
/// bytes of room.
///
/// The header is written directly before the payload, and the rest of the room is cut off. So a
/// payload whose length is not known in advance becomes a frame without being moved.
///
/// ```
/// use sio_proto::BytesMut;
/// use sio_proto::websocket::frame::{MAX_SERVER_HEADER_BYTES, Opcode, prepend_header};
///
/// let mut frame = BytesMut::zeroed(MAX_SERVER_HEADER_BYTES);
/// frame.extend_from_slice(b"Hello");
/// prepend_header(&mut frame, Opcode::Text);
/// assert_eq!(frame, &b"\x81\x05Hello"[..]);
/// ```
///
/// # Panics
///
/// If `buffer` is shorter than the room.
pub fn prepend_header(buffer: &mut BytesMut, opcode: Opcode) {
    let payload = buffer.len().checked_sub(MAX_SERVER_HEADER_BYTES);
    assert!(payload.is_some(), "no room for a header");
    let header = encode_header(payload.unwrap_or_default(), opcode, true, None);
    buffer.advance(MAX_SERVER_HEADER_BYTES.saturating_sub(header.len()));
    if let Some(room) = buffer.get_mut(..header.len()) {
        room.copy_from_slice(&header);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SERVER: Rules = Rules {
        role: Role::Server,
        allow_rsv1: false,
        in_message: false,
    };
    const CLIENT: Rules = Rules {
        role: Role::Client,
        allow_rsv1: false,
        in_message: false,
    };
    const IN_MESSAGE: Rules = Rules {
        role: Role::Client,
        allow_rsv1: false,
        in_message: true,
    };
    const DEFLATE: Rules = Rules {
        role: Role::Client,
        allow_rsv1: true,
        in_message: false,
    };

    #[test]
    fn refuses_at_the_first_wrong_byte() {
        let cases: &[(&[u8], Rules, Error)] = &[
            (&[0xc1], CLIENT, Error::ReservedBits),
            (&[0xa1], CLIENT, Error::ReservedBits),
            (&[0x91], CLIENT, Error::ReservedBits),
            (&[0xf9], CLIENT, Error::ReservedBits),
            // A genuine server's HTTP answer inside the connection (docs/protocol/engine-io.md
            // §4.5).
            (b"H", CLIENT, Error::ReservedBits),
            (&[0x83], CLIENT, Error::ReservedOpcode(3)),
            (&[0x87], CLIENT, Error::ReservedOpcode(7)),
            (&[0x8b], CLIENT, Error::ReservedOpcode(11)),
            (&[0x8f], CLIENT, Error::ReservedOpcode(15)),
            (&[0x08], CLIENT, Error::FragmentedControl),
            (&[0x09], IN_MESSAGE, Error::FragmentedControl),
            (&[0x0a], CLIENT, Error::FragmentedControl),
            (&[0x00], CLIENT, Error::UnexpectedContinuation),
            (&[0x80], CLIENT, Error::UnexpectedContinuation),
            (&[0x01], IN_MESSAGE, Error::ExpectedContinuation),
            (&[0x82], IN_MESSAGE, Error::ExpectedContinuation),
            (&[0x81, 0x05], SERVER, Error::NotMasked),
            (&[0x81, 0x85], CLIENT, Error::Masked),
            (&[0x89, 0x7e], CLIENT, Error::ControlTooLong),
            (&[0x88, 0xff], SERVER, Error::ControlTooLong),
            (&[0x82, 0x7e, 0, 125], CLIENT, Error::LengthNotMinimal),
            (&[0x82, 0xfe, 0, 0], SERVER, Error::LengthNotMinimal),
            (
                &[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
                CLIENT,
                Error::LengthNotMinimal,
            ),
            (&[0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0], CLIENT, Error::LengthTooLong),
            (&[0xc9], DEFLATE, Error::ReservedBits),
            (&[0xe1], DEFLATE, Error::ReservedBits),
            (
                &[0xc0],
                Rules {
                    in_message: true,
                    ..DEFLATE
                },
                Error::ReservedBits,
            ),
        ];
        for (bytes, rules, error) in cases {
            assert_eq!(Header::parse(bytes, *rules), Err(*error), "{bytes:x?}");
            assert_eq!(Header::parse(&bytes[..bytes.len() - 1], *rules), Ok(None), "{bytes:x?}");
        }
    }

    #[test]
    fn rsv1_only_by_agreement() {
        let (header, _) = Header::parse(&[0xc1, 0x00], DEFLATE).unwrap().unwrap();
        assert!(header.rsv1);
    }

    #[test]
    fn lengths_at_their_borders() {
        let cases: &[(usize, &[u8])] = &[
            (0, &[0x82, 0]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (127, &[0x82, 126, 0, 127]),
            (65535, &[0x82, 126, 0xff, 0xff]),
            (65536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ];
        for (length, bytes) in cases {
            assert_eq!(&*encode_header(*length, Opcode::Binary, true, None), *bytes);
            assert_eq!(header_bytes(*length, false), bytes.len());
            assert_eq!(header_bytes(*length, true), bytes.len() + 4);
        }
    }

    #[test]
    fn header_before_a_payload_of_any_length() {
        for length in [0, 125, 126, 65535, 65536] {
            let mut frame = BytesMut::zeroed(MAX_SERVER_HEADER_BYTES + length);
            prepend_header(&mut frame, Opcode::Binary);
            let (header, size) = Header::parse(&frame, CLIENT).unwrap().unwrap();
            assert_eq!((header.length, frame.len()), (length as u64, size + length));
        }
    }

    proptest! {
        #[test]
        fn round_trip(length in prop_oneof![0..300usize, 65_000..66_000usize, any::<u32>().prop_map(|n| n as usize)], fin: bool, text: bool, mask: Option<[u8; 4]>) {
            let opcode = if text { Opcode::Text } else { Opcode::Binary };
            let role = if mask.is_some() { Role::Server } else { Role::Client };
            let rules = Rules { role, allow_rsv1: false, in_message: false };
            let bytes = encode_header(length, opcode, fin, mask);
            let header = Header { fin, rsv1: false, opcode, length: length as u64, key: mask.unwrap_or_default() };
            prop_assert_eq!(Header::parse(&bytes, rules), Ok(Some((header, bytes.len()))));
            prop_assert_eq!(header_bytes(length, mask.is_some()), bytes.len());
            for cut in 0..bytes.len() {
                prop_assert_eq!(Header::parse(&bytes[..cut], rules), Ok(None));
            }
        }

        #[test]
        fn a_cut_never_changes_the_verdict(bytes in prop::collection::vec(any::<u8>(), 0..16), server: bool, allow_rsv1: bool, in_message: bool) {
            let rules = Rules { role: if server { Role::Server } else { Role::Client }, allow_rsv1, in_message };
            let whole = Header::parse(&bytes, rules);
            for cut in 0..bytes.len() {
                let part = Header::parse(&bytes[..cut], rules);
                prop_assert!(part == Ok(None) || part == whole);
            }
        }
    }
}
