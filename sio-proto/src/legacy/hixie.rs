//! WebSocket before RFC 6455: hixie-75 and hixie-76 (docs/protocol/legacy-0.6.md §10.1).
//!
//! ```text
//! frames, both ways   00 UTF-8 text FF
//! closing (76)        FF 00
//! hixie-76 handshake  after the head the client sends 8 bytes more, and the server answers 16: a digest of two keys
//!                     and those bytes
//! ```
//!
//! The 8 bytes may come later than the head. Behind some proxies they come only after the server
//! has sent its 101. So write the head first, and the digest when the bytes have arrived. Drafts 7
//! and 8 differ from RFC 6455 only in the version number, and are not handled here.

use bytes::{Buf, BufMut, BytesMut};
use bytestring::ByteString;
use md5::{Digest as _, Md5};

use crate::http::{self, Name};
use crate::keep;

/// The bytes that follow the head of a hixie-76 request.
pub const BODY_LEN: usize = 8;

/// Why a handshake or a stream is not hixie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HixieError {
    /// A `Sec-WebSocket-Key1` or `-Key2` has no digits or no spaces, or its number cannot be
    /// divided by the number of its spaces.
    #[error("invalid websocket key")]
    InvalidKey,
    /// A frame that begins with neither 0x00 nor the closing 0xFF.
    #[error("unknown frame type {0:#04x}")]
    UnknownFrame(u8),
    /// 0xFF that is not followed by 0x00: a binary frame, which no peer of these wires sends.
    #[error("binary frame")]
    BinaryFrame,
    /// A frame longer than the caller allows.
    #[error("frame too long")]
    TooLong,
    /// A text that is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
}

/// The 16 bytes that answer a hixie-76 handshake.
///
/// # Errors
///
/// [`HixieError::InvalidKey`]; drop the connection.
pub fn digest(key1: &str, key2: &str, body: [u8; BODY_LEN]) -> Result<[u8; 16], HixieError> {
    Ok(Challenge::new(key1, key2)?.answer(body))
}

/// The two keys of a hixie-76 handshake, as two numbers of four bytes. Together with the 8 bytes
/// that follow the head they make the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge([u8; 8]);

impl Challenge {
    /// Reads the values of `Sec-WebSocket-Key1` and `-Key2`.
    ///
    /// # Errors
    ///
    /// [`HixieError::InvalidKey`].
    pub fn new(key1: &str, key2: &str) -> Result<Self, HixieError> {
        let mut numbers = [0; 8];
        let (first, second) = numbers.split_at_mut(4);
        first.copy_from_slice(&key_number(key1)?.to_be_bytes());
        second.copy_from_slice(&key_number(key2)?.to_be_bytes());
        Ok(Self(numbers))
    }

    /// The 16 bytes that complete the handshake.
    #[must_use]
    pub fn answer(self, body: [u8; BODY_LEN]) -> [u8; 16] {
        Md5::new().chain_update(self.0).chain_update(body).finalize().into()
    }
}

/// A request for a websocket older than RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// hixie-75, which has no keys.
    Hixie75,
    /// hixie-76.
    Hixie76(Challenge),
}

impl Opening {
    /// The handshake that a request asks for; `None` if the request is no such handshake
    /// (docs/protocol/detection.md §3).
    ///
    /// # Errors
    ///
    /// [`HixieError::InvalidKey`].
    #[must_use]
    pub fn of(request: &http::Request) -> Option<Result<Self, HixieError>> {
        let key = |name| request.headers.known(name).map(core::str::from_utf8);
        if !request.is_upgrade("websocket") || request.headers.known(Name::SecWebSocketKey).is_some() {
            return None;
        }
        match (key(Name::SecWebSocketKey1), key(Name::SecWebSocketKey2)) {
            (Some(Ok(key1)), Some(Ok(key2))) => Some(Challenge::new(key1, key2).map(Self::Hixie76)),
            (Some(_), Some(_)) => Some(Err(HixieError::InvalidKey)),
            _ if key(Name::SecWebSocketVersion).is_some() => None,
            _ => Some(Ok(Self::Hixie75)),
        }
    }
}

/// The number that the digits of a key make, divided by the number of its spaces.
fn key_number(key: &str) -> Result<u32, HixieError> {
    let mut number = None::<u64>;
    let mut spaces = 0_u64;
    step!(each key.len());
    for character in key.chars() {
        if let Some(digit) = character.to_digit(10) {
            let so_far = number.unwrap_or(0).checked_mul(10).ok_or(HixieError::InvalidKey)?;
            number = Some(so_far.checked_add(digit.into()).ok_or(HixieError::InvalidKey)?);
        } else if character == ' ' {
            spaces = spaces.saturating_add(1);
        }
    }
    // Without a space there is no remainder.
    let number = number.filter(|number| number.checked_rem(spaces) == Some(0));
    let quotient = number.and_then(|number| number.checked_div(spaces));
    quotient
        .and_then(|quotient| u32::try_from(quotient).ok())
        .ok_or(HixieError::InvalidKey)
}

/// The values in the heads of both answers.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The request's `Origin`; `null` is written if it had none.
    pub origin: Option<&'a str>,
    /// Whether the connection is encrypted, for `wss://` in the location.
    pub secure: bool,
    /// The request's `Host`.
    pub host: &'a str,
    /// The request's target, as it came.
    pub target: &'a str,
    /// The subprotocol to echo (hixie-76 only).
    pub protocol: Option<&'a str>,
}

impl Answer<'_> {
    /// Appends the head of a hixie-76 answer; the [`digest`] follows it.
    ///
    /// # Panics
    ///
    /// In debug builds, if a value has a line break. Values from a parsed request have none.
    pub fn write_head_76(&self, out: &mut BytesMut) {
        self.check();
        out.put_slice(b"HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n");
        self.put_lines(b"Sec-WebSocket-", out);
        if let Some(protocol) = self.protocol {
            out.put_slice(b"Sec-WebSocket-Protocol: ");
            out.put_slice(protocol.as_bytes());
            out.put_slice(b"\r\n");
        }
        out.put_slice(b"\r\n");
    }

    /// Appends the head of a hixie-75 answer. Nothing follows the head.
    ///
    /// # Panics
    ///
    /// As [`Answer::write_head_76`].
    pub fn write_head_75(&self, out: &mut BytesMut) {
        self.check();
        out.put_slice(b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n");
        self.put_lines(b"WebSocket-", out);
        out.put_slice(b"\r\n");
    }

    fn put_lines(&self, prefix: &[u8], out: &mut BytesMut) {
        out.put_slice(prefix);
        out.put_slice(b"Origin: ");
        out.put_slice(self.origin.unwrap_or("null").as_bytes());
        out.put_slice(b"\r\n");
        out.put_slice(prefix);
        out.put_slice(if self.secure {
            b"Location: wss://"
        } else {
            b"Location: ws://"
        });
        out.put_slice(self.host.as_bytes());
        out.put_slice(self.target.as_bytes());
        out.put_slice(b"\r\n");
    }

    fn check(&self) {
        debug_assert!(
            ![
                self.host,
                self.target,
                self.origin.unwrap_or_default(),
                self.protocol.unwrap_or_default()
            ]
            .iter()
            .any(|value| value.contains(['\r', '\n'])),
            "a header value of a parsed request holds no line break"
        );
    }
}

/// A frame of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(ByteString),
    /// The closing handshake. Everything after it is ignored.
    Close,
}

/// Splits the byte stream of an open connection into frames, wherever the stream is cut.
#[derive(Clone, Debug)]
pub struct Decoder {
    max_frame_bytes: usize,
    /// How many bytes at the start of the buffer are known to hold no end of a frame. So a frame
    /// that arrives in many pieces is searched only once.
    scanned: usize,
    /// Whether other texts stood in the buffer in front of the next one.
    is_behind: bool,
    done: Option<Result<(), HixieError>>,
}

impl Decoder {
    /// A decoder that refuses texts of more than `max_frame_bytes` bytes.
    #[must_use]
    pub const fn new(max_frame_bytes: usize) -> Self {
        Self {
            max_frame_bytes,
            scanned: 0,
            is_behind: false,
            done: None,
        }
    }

    /// Takes the next frame off the front of `buffer`; `None` if the frame is not complete.
    ///
    /// The buffer must be the same each time; between two calls, bytes may only be appended. It
    /// never has to hold more than one frame of the greatest length.
    ///
    /// # Errors
    ///
    /// The first error is final; close the connection.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, HixieError> {
        if let Some(done) = self.done {
            return done.map(|()| None);
        }
        step!();
        let result = self.take(buffer);
        match result {
            Ok(Some(Frame::Close)) => self.done = Some(Ok(())),
            Ok(_) => {}
            Err(error) => self.done = Some(Err(error)),
        }
        result
    }

    fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, HixieError> {
        match (buffer.first(), buffer.get(1)) {
            (None, _) | (Some(0xff), None) => Ok(None),
            (Some(0x00), _) => self.take_text(buffer),
            (Some(0xff), Some(0x00)) => {
                buffer.advance(2);
                Ok(Some(Frame::Close))
            }
            (Some(0xff), Some(_)) => Err(HixieError::BinaryFrame),
            (Some(&other), _) => Err(HixieError::UnknownFrame(other)),
        }
    }

    fn take_text(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, HixieError> {
        // UTF-8 text has no byte 0xFF, so the first 0xFF is the end.
        let from = self.scanned.max(1);
        let found = memchr::memchr(0xff, buffer.get(from..).unwrap_or_default());
        let end = found.map(|at| from.saturating_add(at));
        // The text stands behind one byte.
        let length = end.unwrap_or(buffer.len()).saturating_sub(1);
        step!(bulk length.saturating_sub(from));
        if length > self.max_frame_bytes {
            return Err(HixieError::TooLong);
        }
        let Some(end) = end else {
            self.scanned = buffer.len();
            return Ok(None);
        };
        self.scanned = 0;
        let mut text = buffer.split_to(end).freeze();
        text.advance(1);
        buffer.advance(1);
        ByteString::try_from(keep::parted(text, &mut self.is_behind, buffer))
            .map(|text| Some(Frame::Text(text)))
            .map_err(|_| HixieError::InvalidUtf8)
    }
}

/// Appends a text message.
pub fn write_text(text: &str, out: &mut BytesMut) {
    out.reserve(text.len().saturating_add(2));
    out.put_u8(0x00);
    out.put_slice(text.as_bytes());
    out.put_u8(0xff);
}

/// The closing handshake of hixie-76. Version 75 has none: its peers just end the connection.
pub const CLOSE: &[u8] = &[0xff, 0x00];

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const KEY1: &str = "4 @1  46546xW%0l 1 5";
    const KEY2: &str = "12998 5 Y3 1  .P00";

    #[test]
    fn the_digest_of_the_specification() {
        assert_eq!(digest(KEY1, KEY2, *b"^n:ds[4U"), Ok(*b"8jKS'y:G*Co,Wxa-"));
        assert_eq!(key_number(KEY1), Ok(829_309_203));
        assert_eq!(key_number(KEY2), Ok(259_970_620));
    }

    #[test]
    fn invalid_keys() {
        assert_eq!(key_number("1 0 "), Ok(5));
        for key in [
            "",
            "123",
            " ",
            "abc def",
            "1  ",
            "9999999999 0",
            "99999999999999999999999 0",
        ] {
            assert_eq!(key_number(key), Err(HixieError::InvalidKey), "{key:?}");
        }
    }

    #[test]
    fn heads() {
        let answer = Answer {
            origin: Some("http://good.example"),
            secure: false,
            host: "h:1",
            target: "/socket.io/websocket",
            protocol: Some("p"),
        };
        let mut out = BytesMut::new();
        answer.write_head_76(&mut out);
        let expected = "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Origin: http://good.example\r\nSec-WebSocket-Location: ws://h:1/socket.io/websocket\r\n\
            Sec-WebSocket-Protocol: p\r\n\r\n";
        assert_eq!(out, expected.as_bytes());
        out.clear();
        let answer = Answer {
            origin: None,
            secure: true,
            ..answer
        };
        answer.write_head_75(&mut out);
        let expected = "HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
            WebSocket-Origin: null\r\nWebSocket-Location: wss://h:1/socket.io/websocket\r\n\r\n";
        assert_eq!(out, expected.as_bytes());
    }

    /// Feeds `pieces` one by one, as a connection does.
    fn decode(pieces: &[&[u8]], max: usize) -> (Vec<Frame>, Result<(), HixieError>) {
        let mut decoder = Decoder::new(max);
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for piece in pieces {
            buffer.put_slice(piece);
            loop {
                match decoder.decode(&mut buffer) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Err(error)),
                }
            }
        }
        (frames, Ok(()))
    }

    #[test]
    fn streams() {
        use HixieError::*;
        let text = |text: &str| Frame::Text(text.into());
        type Verdict = Result<(), HixieError>;
        let cases: &[(&[u8], &[Frame], Verdict)] = &[
            (b"", &[], Ok(())),
            (b"\x00~m~2~m~hi\xff", &[text("~m~2~m~hi")], Ok(())),
            (b"\x00\xff\x00a\xff", &[text(""), text("a")], Ok(())),
            (b"\x00a\xef\xbf\xbdb\xff", &[text("a\u{fffd}b")], Ok(())),
            (b"\x00a\xff\xff\x00\x00b\xff", &[text("a"), Frame::Close], Ok(())),
            (b"\x00a", &[], Ok(())),
            (b"\xff", &[], Ok(())),
            (b"\xff\x01", &[], Err(BinaryFrame)),
            (b"\x00a\xffx", &[text("a")], Err(UnknownFrame(b'x'))),
            (b"\x81\x02hi", &[], Err(UnknownFrame(0x81))),
            (b"\x00\xc3\xff", &[], Err(InvalidUtf8)),
            (b"\x00aaaaaaaaaaa\xff", &[], Err(TooLong)),
            (b"\x00aaaaaaaaaaa", &[], Err(TooLong)),
            (b"\x00aaaaaaaaaa\xff", &[text("aaaaaaaaaa")], Ok(())),
        ];
        for (bytes, frames, verdict) in cases {
            assert_eq!(decode(&[bytes], 10), (frames.to_vec(), *verdict), "{bytes:?}");
            let single: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(decode(&single, 10), (frames.to_vec(), *verdict), "{bytes:?}");
        }
    }

    #[test]
    fn an_error_is_final() {
        let mut decoder = Decoder::new(10);
        let mut buffer = BytesMut::from(&b"x"[..]);
        assert_eq!(decoder.decode(&mut buffer), Err(HixieError::UnknownFrame(b'x')));
        buffer.clear();
        buffer.put_slice(b"\x00a\xff");
        assert_eq!(decoder.decode(&mut buffer), Err(HixieError::UnknownFrame(b'x')));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            texts in prop::collection::vec(any::<String>(), 0..6),
            cuts in prop::collection::vec(1..9usize, 0..60),
        ) {
            let mut wire = BytesMut::new();
            texts.iter().for_each(|text| write_text(text, &mut wire));
            wire.put_slice(CLOSE);
            let (mut pieces, mut rest) = (Vec::new(), &wire[..]);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let mut frames: Vec<_> = texts.iter().map(|t| Frame::Text(t.as_str().into())).collect();
            frames.push(Frame::Close);
            prop_assert_eq!(decode(&pieces, 1000), (frames, Ok(())));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..40), key in any::<String>()) {
            let _ = decode(&[&bytes], 10);
            let _ = digest(&key, KEY2, [0; 8]);
        }
    }
}
