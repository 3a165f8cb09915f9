//! Bytes to messages: the receiving half of a connection, for a server and for a client.
//!
//! ```text
//!              header complete                  last byte of a frame with FIN
//!   +--------+ ------------------> +---------+ -------------------------------> event
//!   | Header |                     | Payload |
//!   +--------+ <------------------ +---------+ -- Close --> Ended   (no further events, input is dropped)
//!        |        frame complete        |
//!        +---------- error -------------+---------------> Failed  (the same error for ever)
//! ```
//!
//! Invariants:
//! - A message that came in one frame is a slice of the caller's buffer. It is unmasked and checked
//!   in place. A frame whose bytes arrive in pieces is a slice too: it grows at the front of the
//!   buffer, which the caller passes again. Only a large message beside others is copied, or what
//!   stands behind it (`keep.rs`).
//! - Fragments are appended to one buffer that grows with the bytes that have arrived. Each byte is
//!   copied once (amortised).
//! - A byte is unmasked once. If a byte makes the connection fail, the call that brought the byte
//!   fails (RFC 6455 §8.1).
//! - Nothing is allocated for a declared length, and everything that a peer can grow is bounded by
//!   [`Limits`].
//! - The events and the error are the same, wherever the bytes were cut.

use alloc::boxed::Box;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;

use super::close::CloseFrame;
use super::error::Error;
use super::fragments::Fragments;
use super::frame::{Header, Opcode, Role, Rules};
use super::limits::Limits;
use super::{mask, utf8};
use crate::keep;

/// A message or a control frame of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A complete text message.
    Text(ByteString),
    /// A complete binary message.
    Binary(Bytes),
    /// The peer asks whether we are there. The caller answers with a Pong of the same payload.
    Ping(Bytes),
    /// The answer to a Ping, or an unsolicited heartbeat.
    Pong(Bytes),
    /// The peer closes. The caller answers with a Close, unless it sent its own Close before.
    /// Nothing comes after this event.
    Close(Option<CloseFrame>),
}

/// The receiving half of one WebSocket connection.
///
/// ```
/// use sio_proto::BytesMut;
/// use sio_proto::websocket::{Decoder, Event, Limits, Role};
///
/// let mut decoder = Decoder::new(Role::Client, Limits::default());
/// let mut bytes = BytesMut::from(&b"\x81\x05Hello\x89\x00\x81"[..]);
/// assert_eq!(decoder.decode(&mut bytes), Ok(Some(Event::Text("Hello".into()))));
/// assert_eq!(decoder.decode(&mut bytes), Ok(Some(Event::Ping(Default::default()))));
/// assert_eq!(decoder.decode(&mut bytes), Ok(None));
/// assert_eq!(bytes, &b"\x81"[..]); // kept, and passed again with what comes next
/// ```
#[derive(Debug)]
pub struct Decoder {
    pub(super) reader: Reader,
    limits: Limits,
    role: Role,
}

impl Decoder {
    /// A decoder for a connection whose handshake is over.
    #[must_use]
    pub const fn new(role: Role, limits: Limits) -> Self {
        Self {
            reader: Reader::new(role, &limits),
            limits,
            role,
        }
    }

    #[cfg(feature = "steps")]
    pub(crate) fn held_bytes(&self) -> usize {
        self.reader.held_bytes()
    }

    /// Takes the next event out of `bytes`.
    ///
    /// Call it until it returns `None`: then `bytes` is empty or ends in an incomplete frame. The
    /// bytes that are left must be passed again unchanged, with the next bytes appended. An empty
    /// buffer need not be kept.
    ///
    /// # Errors
    ///
    /// The first mistake of the peer. Each later call returns the same error.
    #[inline]
    pub fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Event>, Error> {
        self.reader.decode(bytes, self.role, &self.limits)
    }

    /// How many more bytes the frame that has begun needs; 0 between frames.
    ///
    /// Use it as a hint for the size of the next read. It is a number that the peer declared,
    /// within [`Limits`]: do not allocate all of it before it arrives.
    #[must_use]
    pub const fn missing_bytes(&self) -> usize {
        self.reader.missing_bytes()
    }

    /// Whether the peer's Close has been delivered.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.reader.state, State::Ended)
    }
}

/// A decoder whose caller knows the role and the limits, and passes the same ones in each call: a
/// server has them once for all its connections.
#[derive(Debug)]
pub(crate) struct Reader {
    state: State,
    /// The fragmented message that is open.
    message: Option<Box<Fragments>>,
    /// Whether other messages stood in the buffer in front of the next one. If the caller has moved
    /// the rest of the buffer since then, none does, and a large message is copied for nothing.
    is_behind: bool,
    /// Whether the last message is known to have no control character.
    is_plain: bool,
    /// The longest message that is read as a [`Short`] one: 125 bytes, unless the limits allow
    /// less. Zero for a client, to which frames come without a mask.
    longest_short: u8,
}

// Every connection has one.
const _: () = assert!(size_of::<Reader>() <= 40);

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    Payload(Frame),
    Ended,
    Failed(Error),
}

/// A frame whose header has been read and dropped from the buffer.
///
/// Invariants: `cut <= seen <= length`. In a control frame, `seen` is 0 until the whole payload has
/// arrived.
#[derive(Clone, Copy, Debug)]
struct Frame {
    length: usize,
    /// How many bytes of the payload have been handled. The bytes of an unfragmented message stay,
    /// unmasked, at the front of the buffer. The bytes of a fragment have been taken out of the
    /// buffer.
    seen: usize,
    /// The masking key, rotated so that it fits the next byte.
    key: [u8; 4],
    opcode: Opcode,
    fin: bool,
    /// How many of the last handled bytes begin a character that is not complete.
    cut: u8,
    /// Whether the handled bytes are known to have no control character.
    is_plain: bool,
}

/// From this length on, it is worth knowing whether a text has control characters: they are
/// searched in windows of a string, which are not shorter.
pub(super) const LONG: usize = 256;

/// A whole message in a short frame, which stands in the buffer behind its header.
struct Short {
    key: [u8; 4],
    length: usize,
    opcode: Opcode,
}

/// The first byte of a whole text message, and of a whole binary message.
const SHORT_TEXT: u8 = 0x80 | Opcode::Text as u8;
const SHORT_BINARY: u8 = 0x80 | Opcode::Binary as u8;
/// The bit of a mask, in the second byte of a header.
const MASKED: u8 = 0x80;
/// The size of the header of a short frame with its key.
const SHORT_HEADER: usize = 6;

impl Frame {
    /// Whether this is a part of a message in several frames.
    const fn is_fragment(&self) -> bool {
        matches!(self.opcode, Opcode::Continuation) || !self.fin
    }

    /// Unmasks the next bytes of a message in one frame.
    #[inline]
    fn unmask(&mut self, bytes: &mut [u8]) {
        if self.is_plain {
            (self.key, self.is_plain) = mask::apply_looking(bytes, self.key);
        } else {
            self.key = mask::apply(bytes, self.key);
        }
    }

    /// How many bytes of the payload have not been handled.
    const fn left(&self) -> usize {
        self.length.saturating_sub(self.seen)
    }
}

impl Reader {
    /// A decoder for a connection whose handshake is over.
    pub(crate) const fn new(role: Role, limits: &Limits) -> Self {
        let mut longest_short = match role {
            Role::Server => 125,
            Role::Client => 0,
        };
        if limits.max_frame_bytes < longest_short {
            longest_short = limits.max_frame_bytes;
        }
        if limits.max_message_bytes < longest_short {
            longest_short = limits.max_message_bytes;
        }
        Self {
            state: State::Header,
            message: None,
            is_behind: false,
            is_plain: false,
            longest_short: longest_short as u8,
        }
    }

    /// Whether the message that was decoded last is known to have no control character (a byte
    /// below 0x20). This is known of long texts from clients that came in one frame.
    #[inline]
    pub(crate) const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// How many bytes are kept of a message in several frames.
    pub(crate) fn held_bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.held_bytes())
    }

    /// Does what [`Decoder::decode`] does.
    #[inline]
    pub(crate) fn decode(&mut self, bytes: &mut BytesMut, role: Role, limits: &Limits) -> Result<Option<Event>, Error> {
        let result = self.next_event(bytes, role, limits);
        if let Err(error) = &result {
            self.fail(*error);
        }
        result
    }

    /// How many more bytes the frame that has begun needs ([`Decoder::missing_bytes`]).
    pub(crate) const fn missing_bytes(&self) -> usize {
        match &self.state {
            State::Payload(frame) => frame.left(),
            State::Header | State::Ended | State::Failed(_) => 0,
        }
    }

    #[cold]
    fn fail(&mut self, error: Error) {
        self.state = State::Failed(error);
        self.message = None;
    }

    #[inline]
    fn next_event(&mut self, bytes: &mut BytesMut, role: Role, limits: &Limits) -> Result<Option<Event>, Error> {
        loop {
            step!();
            if let Some(short) = self.short_frame(bytes) {
                return self.take_short(&short, bytes).map(Some);
            }
            let frame = match self.state {
                State::Header => match self.begin_frame(bytes, role, limits)? {
                    None => return Ok(None),
                    Some((frame, size)) if !frame.is_fragment() && bytes.len() >= size.saturating_add(frame.length) => {
                        return self.take_whole(frame, size, bytes).map(Some);
                    }
                    Some((frame, size)) => {
                        bytes.advance(size);
                        frame
                    }
                },
                State::Payload(frame) => frame,
                State::Failed(error) => {
                    bytes.clear();
                    return Err(error);
                }
                State::Ended => {
                    bytes.clear();
                    return Ok(None);
                }
            };
            if frame.is_fragment() {
                if let Some(event) = self.take_fragment(frame, bytes)? {
                    return Ok(Some(event));
                }
                if matches!(self.state, State::Payload(_)) {
                    return Ok(None);
                }
            } else if bytes.len() >= frame.length {
                return self.take_whole(frame, 0, bytes).map(Some);
            } else {
                self.wait(frame, bytes)?;
                return Ok(None);
            }
        }
    }

    /// Reads a header and checks it against the limits. Also returns its size: it is still in the
    /// buffer.
    #[inline]
    fn begin_frame(&mut self, bytes: &[u8], role: Role, limits: &Limits) -> Result<Option<(Frame, usize)>, Error> {
        let rules = Rules {
            role,
            allow_rsv1: false,
            in_message: self.message.is_some(),
        };
        let Some((header, size)) = Header::parse(bytes, rules)? else {
            return Ok(None);
        };
        let length = self.admit(&header, limits)?;
        let frame = Frame {
            length,
            seen: 0,
            key: header.key,
            opcode: header.opcode,
            fin: header.fin,
            cut: 0,
            is_plain: header.opcode == Opcode::Text && length >= LONG,
        };
        if frame.is_fragment() {
            self.count_fragment(&frame, limits)?;
        }
        Ok(Some((frame, size)))
    }

    /// The length of a frame, if the limits allow the frame.
    #[inline]
    fn admit(&self, header: &Header, limits: &Limits) -> Result<usize, Error> {
        let length = usize::try_from(header.length).map_err(|_| Error::FrameTooBig)?;
        if header.opcode.is_control() {
            return Ok(length);
        }
        if length > limits.max_frame_bytes {
            return Err(Error::FrameTooBig);
        }
        let before = self.message.as_ref().map_or(0, |message| message.length());
        if length > limits.max_message_bytes.saturating_sub(before) {
            return Err(Error::MessageTooBig);
        }
        Ok(length)
    }

    /// Opens a fragmented message, or counts one more frame of the one that is open.
    fn count_fragment(&mut self, frame: &Frame, limits: &Limits) -> Result<(), Error> {
        let message = self
            .message
            .get_or_insert_with(|| Box::new(Fragments::new(frame.opcode)));
        message.begin(frame.length, limits.max_fragments)
    }

    /// The frame at the start of the buffer, if it is what frames of a client usually are: a whole
    /// message of 1 to 125 bytes that has come completely and is within the limits. `None` for any
    /// other frame, and if a frame has begun. [`Reader::begin_frame`] would read it in the same
    /// way.
    #[inline]
    fn short_frame(&self, bytes: &[u8]) -> Option<Short> {
        let &[first, second, a, b, c, d, ref payload @ ..] = bytes else {
            return None;
        };
        let opcode = match first {
            SHORT_TEXT => Opcode::Text,
            SHORT_BINARY => Opcode::Binary,
            _ => return None,
        };
        // Without the bit of a mask, it is more than the longest length.
        let length = second.wrapping_sub(MASKED);
        if length == 0 || length > self.longest_short || !matches!(self.state, State::Header) {
            return None;
        }
        let length = usize::from(length);
        let is_allowed = self.message.is_none() && length <= payload.len();
        is_allowed.then_some(Short {
            key: [a, b, c, d],
            length,
            opcode,
        })
    }

    /// Takes the message of a short frame out of the buffer.
    #[inline]
    fn take_short(&mut self, short: &Short, bytes: &mut BytesMut) -> Result<Event, Error> {
        let end = SHORT_HEADER.saturating_add(short.length);
        if let Some(payload) = bytes.get_mut(SHORT_HEADER..end) {
            mask::apply(payload, short.key);
        }
        let mut payload = bytes.split_to(end).freeze();
        payload.advance(SHORT_HEADER);
        self.is_behind = !bytes.is_empty();
        self.is_plain = false;
        self.event(short.opcode, payload)
    }

    /// The hot path: the whole payload of a message or control frame is in the buffer, behind
    /// `before` bytes of its header.
    #[inline]
    fn take_whole(&mut self, mut frame: Frame, before: usize, bytes: &mut BytesMut) -> Result<Event, Error> {
        self.state = State::Header;
        let end = before.saturating_add(frame.length);
        if frame.length == 0 {
            self.is_plain = false;
            bytes.advance(end);
            self.is_behind = !bytes.is_empty();
            return self.event(frame.opcode, Bytes::new());
        }
        if let Some(unseen) = bytes.get_mut(before.saturating_add(frame.seen)..end) {
            frame.unmask(unseen);
        }
        self.is_plain = frame.is_plain;
        // Moving the beginning of `Bytes` costs less than moving that of the buffer.
        let mut payload = bytes.split_to(end).freeze();
        payload.advance(before);
        let payload = keep::parted(payload, &mut self.is_behind, bytes);
        self.event(frame.opcode, payload)
    }

    #[inline]
    fn event(&mut self, opcode: Opcode, payload: Bytes) -> Result<Event, Error> {
        step!(bulk payload.len());
        match opcode {
            // Text that arrived in pieces was checked in pieces. It is checked once more here,
            // because safe code can make a `ByteString` only by a check of the whole text.
            Opcode::Text => ByteString::try_from(payload)
                .map(Event::Text)
                .map_err(|_| Error::InvalidUtf8),
            Opcode::Binary | Opcode::Continuation => Ok(Event::Binary(payload)),
            Opcode::Ping => Ok(Event::Ping(payload)),
            Opcode::Pong => Ok(Event::Pong(payload)),
            Opcode::Close => {
                let close = CloseFrame::parse(payload)?;
                self.state = State::Ended;
                self.message = None;
                Ok(Event::Close(close))
            }
        }
    }

    /// Only a part of the payload of a message or control frame is in the buffer: unmasks and
    /// checks the new bytes.
    fn wait(&mut self, mut frame: Frame, bytes: &mut BytesMut) -> Result<(), Error> {
        if !frame.opcode.is_control() {
            let seen = bytes.len();
            debug_assert!(
                frame.seen <= seen,
                "the bytes left by the last call were not passed again"
            );
            if let Some(new) = bytes.get_mut(frame.seen..) {
                frame.unmask(new);
            }
            if frame.opcode == Opcode::Text {
                // The cut character is a part of what has been seen.
                let checked = frame.seen.saturating_sub(usize::from(frame.cut));
                let unchecked = bytes.get(checked..).unwrap_or_default();
                step!(bulk unchecked.len());
                // The result is at most 3.
                frame.cut = utf8::incomplete_tail(unchecked).map_err(|_| Error::InvalidUtf8)? as u8;
            }
            frame.seen = seen;
        }
        self.state = State::Payload(frame);
        Ok(())
    }

    /// Moves the bytes of a fragment that have arrived to the message. Returns the message if these
    /// bytes complete it.
    fn take_fragment(&mut self, mut frame: Frame, bytes: &mut BytesMut) -> Result<Option<Event>, Error> {
        // A fragment is begun only by `count_fragment`, and `count_fragment` opens the message.
        let Some(message) = self.message.as_mut() else {
            return Err(Error::UnexpectedContinuation);
        };
        let length = bytes.len().min(frame.left());
        if let Some(piece) = bytes.get_mut(..length) {
            frame.key = mask::apply(piece, frame.key);
            message.push(piece)?;
        }
        bytes.advance(length);
        self.is_behind = !bytes.is_empty();
        frame.seen = frame.seen.saturating_add(length);
        if frame.seen < frame.length {
            self.state = State::Payload(frame);
            return Ok(None);
        }
        self.state = State::Header;
        if !frame.fin {
            return Ok(None);
        }
        self.is_plain = false;
        self.message.take().map(|message| message.finish()).transpose()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::super::encoder::encode_frame;
    use super::*;

    pub(in super::super) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// The events that a decoder yields for `stream`. The stream arrives in pieces of these
    /// lengths, and then the rest arrives.
    pub(in super::super) fn decode_all(
        mut decoder: Decoder,
        stream: &[u8],
        cuts: impl IntoIterator<Item = usize>,
    ) -> (Vec<Event>, Result<(), Error>) {
        let (mut events, mut bytes, mut rest) = (Vec::new(), BytesMut::new(), stream);
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            bytes.extend_from_slice(piece);
            rest = after;
            loop {
                match decoder.decode(&mut bytes) {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.decode(&mut bytes), Err(error), "an error is for ever");
                        assert!(bytes.is_empty());
                        return (events, Err(error));
                    }
                }
            }
        }
        (events, Ok(()))
    }

    fn client() -> Decoder {
        Decoder::new(Role::Client, Limits::default())
    }

    fn text(text: &'static str) -> Event {
        Event::Text(ByteString::from_static(text))
    }

    /// The beginning of a message takes no memory when nothing more can come.
    #[test]
    fn a_decoder_that_has_ended_holds_nothing() {
        for end in [&b"\x88\x00"[..], b"\xff\x00"] {
            let mut decoder = client();
            let mut bytes = BytesMut::from(&b"\x01\x03Hel"[..]);
            assert_eq!(decoder.decode(&mut bytes), Ok(None));
            assert!(decoder.reader.held_bytes() > 0);
            bytes.extend_from_slice(end);
            assert_ne!(decoder.decode(&mut bytes), Ok(None));
            assert_eq!(decoder.reader.held_bytes(), 0);
        }
    }

    #[test]
    fn rfc_6455_section_5_7() {
        let hello = Bytes::from_static(b"Hello");
        let cases: &[(Role, &[u8], Event)] = &[
            // A single-frame unmasked text message.
            (Role::Client, &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], text("Hello")),
            // A single-frame masked text message.
            (
                Role::Server,
                &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
                text("Hello"),
            ),
            // A fragmented unmasked text message.
            (
                Role::Client,
                &[0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f],
                text("Hello"),
            ),
            // Unmasked Ping request and masked Ping response.
            (
                Role::Client,
                &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f],
                Event::Ping(hello.clone()),
            ),
            (
                Role::Server,
                &[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
                Event::Pong(hello),
            ),
        ];
        for (role, bytes, event) in cases {
            let decoder = || Decoder::new(*role, Limits::default());
            assert_eq!(decode_all(decoder(), bytes, []), (vec![event.clone()], Ok(())));
            assert_eq!(decode_all(decoder(), bytes, [1; 16]), (vec![event.clone()], Ok(())));
        }
        // 256 bytes and 64 KiB of binary in a single unmasked frame.
        for (header, length) in [
            (&[0x82, 0x7e, 0x01, 0x00][..], 256),
            (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], 65536),
        ] {
            let bytes = [header, &vec![0xab; length]].concat();
            let event = Event::Binary(vec![0xab; length].into());
            assert_eq!(decode_all(client(), &bytes, []), (vec![event], Ok(())));
        }
    }

    #[test]
    fn whole_messages_are_slices_of_the_buffer() {
        let mut bytes = BytesMut::new();
        for payload in [&b"first"[..], b"second"] {
            encode_frame(&mut bytes, Opcode::Text, true, payload, Some(KEY));
        }
        let start = bytes.as_ptr() as usize;
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        for (payload, offset) in [("first", 6), ("second", 6 + 5 + 6)] {
            let Ok(Some(Event::Text(text))) = decoder.decode(&mut bytes) else {
                panic!("no text")
            };
            assert_eq!((&*text, text.as_ptr() as usize - start), (payload, offset));
        }
    }

    #[test]
    fn a_trickling_message_stays_in_the_buffer() {
        let mut frame = BytesMut::new();
        encode_frame(&mut frame, Opcode::Text, true, "κόσμε".as_bytes(), Some(KEY));
        let mut bytes = BytesMut::with_capacity(64);
        let start = bytes.as_ptr() as usize;
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        for (index, byte) in frame.iter().enumerate() {
            assert_eq!(decoder.decode(&mut bytes), Ok(None));
            let missing = if index < 6 { 0 } else { frame.len() - index };
            assert_eq!(decoder.missing_bytes(), missing, "behind byte {index}");
            bytes.extend_from_slice(&[*byte]);
        }
        let Ok(Some(Event::Text(text))) = decoder.decode(&mut bytes) else {
            panic!("no text")
        };
        assert_eq!((&*text, text.as_ptr() as usize - start), ("κόσμε", 6));
    }

    #[test]
    fn fragments_leave_the_buffer_as_they_come() {
        let mut decoder = client();
        let mut bytes = BytesMut::from(&b"\x02\x7f\x00\x00\x00\x00\x00\x01\x00\x00abc"[..]);
        assert_eq!(decoder.decode(&mut bytes), Ok(None));
        assert!(bytes.is_empty());
        assert_eq!(decoder.missing_bytes(), 65533);
    }

    #[test]
    fn limits_are_kept_to_the_byte() {
        let limits = Limits::default()
            .max_frame_bytes(4)
            .max_message_bytes(6)
            .max_fragments(3);
        let cases: &[(&[u8], Result<(), Error>)] = &[
            (b"\x82\x04abcd", Ok(())),
            (b"\x82\x05", Err(Error::FrameTooBig)),
            (b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", Err(Error::FrameTooBig)),
            (b"\x02\x04abcd\x80\x02ef", Ok(())),
            (b"\x02\x04abcd\x80\x03", Err(Error::MessageTooBig)),
            (b"\x02\x01a\x00\x01b\x80\x01c", Ok(())),
            (b"\x02\x01a\x00\x01b\x00\x01c\x80\x00", Err(Error::TooManyFragments)),
            (b"\x01\x00\x00\x00\x00\x00\x80\x00", Err(Error::TooManyFragments)),
            // Control frames are not counted as fragments, and have a limit of their own.
            (b"\x02\x01a\x89\x00\x89\x05abcde\x00\x01b\x89\x00\x80\x01c", Ok(())),
        ];
        for (bytes, verdict) in cases {
            let decoder = || Decoder::new(Role::Client, limits);
            assert_eq!(decode_all(decoder(), bytes, []).1, *verdict, "{bytes:x?}");
            assert_eq!(decode_all(decoder(), bytes, [1; 32]).1, *verdict, "{bytes:x?}");
        }
    }

    #[test]
    fn close_codes_of_errors() {
        let code = |error: Error| error.close_code().get();
        assert_eq!(code(Error::NotMasked), 1002);
        assert_eq!(code(Error::InvalidUtf8), 1007);
        assert_eq!(code(Error::TooManyFragments), 1008);
        assert_eq!(code(Error::MessageTooBig), 1009);
    }

    #[test]
    fn nothing_after_close() {
        let mut decoder = client();
        let mut bytes = BytesMut::from(&b"\x88\x00\x81\x01a\xff"[..]);
        assert_eq!(decoder.decode(&mut bytes), Ok(Some(Event::Close(None))));
        assert!(decoder.is_ended());
        for _ in 0..2 {
            assert_eq!(decoder.decode(&mut bytes), Ok(None));
            assert!(bytes.is_empty());
            bytes.extend_from_slice(b"\x81\x01a");
        }
    }
}
