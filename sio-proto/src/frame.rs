//! One packet, encoded once and shared by all its recipients.
//!
//! ```text
//!   bytes: | websocket header (unmasked) | payload: the packet's text or binary form |
//!          0                             head                                       len
//! ```
//! A websocket link writes the whole buffer. The body of a poll is built from the payload alone.
//! One buffer serves both, and each recipient costs one reference count. Source: RFC 6455 §5.2,
//! docs/protocol/engine-io.md §2.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::arena::Arena;
use crate::keep;
use crate::websocket::Opcode;
use crate::websocket::frame::{MAX_SERVER_HEADER_BYTES, prepend_header};

/// A scratch buffer from which more than this is taken at once is given away with it. A small frame
/// that is written behind a large one would otherwise keep the memory of both for as long as it
/// waits, and count only its own bytes.
const MAX_SHARED: usize = 8 * 1024;

/// Takes out of a scratch buffer what is written in it. The buffer is empty then.
#[inline]
pub(crate) fn take_written(buffer: &mut BytesMut) -> BytesMut {
    match buffer.len() > MAX_SHARED {
        true => core::mem::take(buffer),
        false => buffer.split(),
    }
}

/// The size of the largest frame that a [`SmallFrame`] takes.
const MAX_SMALL: usize = 68;

/// An encoded packet: an unmasked websocket frame whose tail is the packet itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// At least a header.
    bytes: Bytes,
}

// Every packet that waits has one.
const _: () = assert!(size_of::<Frame>() <= 32);

impl Frame {
    /// Encodes a text packet. `write` appends the packet's text to `buffer`, a scratch buffer that
    /// the caller keeps.
    pub fn text(buffer: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) -> Self {
        Self::encode(buffer, Opcode::Text, write)
    }

    /// Encodes a binary packet, as [`Frame::text`] does a text packet.
    pub fn binary(buffer: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) -> Self {
        Self::encode(buffer, Opcode::Binary, write)
    }

    fn encode(buffer: &mut BytesMut, opcode: Opcode, write: impl FnOnce(&mut BytesMut)) -> Self {
        debug_assert!(buffer.is_empty(), "scratch is handed over empty");
        buffer.put_bytes(0, MAX_SERVER_HEADER_BYTES);
        write(buffer);
        Self::behind_room(buffer, opcode)
    }

    /// A text packet that stands in `buffer` from byte `at` on, behind at least
    /// [`MAX_SERVER_HEADER_BYTES`] bytes of room. It is taken out of the buffer.
    #[inline]
    pub(crate) fn of_text_at(buffer: &mut BytesMut, at: usize) -> Self {
        let len = buffer.len().saturating_sub(at);
        if len >= 126 {
            buffer.advance(at.saturating_sub(MAX_SERVER_HEADER_BYTES));
            return Self::behind_room(buffer, Opcode::Text);
        }
        // A short header is written without a detour. To move the beginning of `Bytes` costs less
        // than to move that of the buffer.
        let begin = at.saturating_sub(2);
        if let Some(header) = buffer.get_mut(begin..).and_then(|bytes| bytes.first_chunk_mut()) {
            *header = [0x80 | Opcode::Text as u8, len as u8];
        }
        let mut bytes = buffer.split().freeze();
        bytes.advance(begin);
        Self { bytes }
    }

    #[inline]
    fn behind_room(buffer: &mut BytesMut, opcode: Opcode) -> Self {
        let mut bytes = take_written(buffer);
        prepend_header(&mut bytes, opcode);
        Self { bytes: bytes.freeze() }
    }

    /// A text packet that is known at compile time and is shorter than 126 bytes. `bytes` begins
    /// with the two bytes of its header.
    pub(crate) const fn from_static(bytes: &'static [u8]) -> Self {
        assert!(matches!(bytes, [0x81, len @ ..126, payload @ ..] if payload.len() == *len as usize));
        Self {
            bytes: Bytes::from_static(bytes),
        }
    }

    /// Gives a small frame memory of its own, because it is kept for longer than the frames beside
    /// it in its buffer.
    pub(crate) fn detach(&mut self) {
        keep::bytes(&mut self.bytes);
    }

    /// A copy that is kept for long. It is in `arena`, or a larger one has memory of its own, and
    /// that of a very large one is shared.
    #[inline(always)]
    pub(crate) fn copied(&self, arena: &mut Arena) -> Self {
        let bytes = arena.copy(&self.bytes).unwrap_or_else(|| {
            let mut bytes = self.bytes.clone();
            keep::bytes(&mut bytes);
            bytes
        });
        Self { bytes }
    }

    /// A copy in the value itself, if the frame is small enough.
    #[inline]
    pub(crate) fn small(&self) -> Option<SmallFrame> {
        if self.bytes.len() > MAX_SMALL {
            return None;
        }
        let mut bytes = [0; MAX_SMALL];
        bytes.get_mut(..self.bytes.len())?.copy_from_slice(&self.bytes);
        Some(SmallFrame {
            bytes,
            len: self.bytes.len() as u8,
        })
    }

    /// Takes the websocket frame out, header included.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The websocket frame, header included.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The packet without the websocket header.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(head_bytes(&self.bytes)..).unwrap_or_default()
    }

    /// The packet without the websocket header. It shares the buffer.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        self.bytes.slice(head_bytes(&self.bytes).min(self.bytes.len())..)
    }

    /// Whether this is a binary frame.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        is_binary(&self.bytes)
    }

    /// Length on a websocket, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never true: a frame has at least its header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// A small frame whose bytes stand in the value itself. Keeping it takes no other memory.
#[derive(Clone, Debug)]
pub(crate) struct SmallFrame {
    bytes: [u8; MAX_SMALL],
    len: u8,
}

/// The length of the header of an unmasked frame (RFC 6455 §5.2).
#[inline]
fn head_bytes(frame: &[u8]) -> usize {
    match frame.get(1) {
        Some(127) => 10,
        Some(126) => 4,
        _ => 2,
    }
}

/// Whether the opcode of a frame is that of a binary message (RFC 6455 §5.2).
#[inline]
fn is_binary(frame: &[u8]) -> bool {
    frame.first().is_some_and(|first| first & 0x0f == Opcode::Binary as u8)
}

impl SmallFrame {
    /// The frame, in memory of its own.
    pub(crate) fn frame(&self) -> Frame {
        Frame {
            bytes: Bytes::copy_from_slice(self.bytes.get(..self.len()).unwrap_or_default()),
        }
    }

    /// The packet without the websocket header.
    pub(crate) fn payload(&self) -> &[u8] {
        self.bytes.get(head_bytes(&self.bytes)..self.len()).unwrap_or_default()
    }

    /// Whether this is a binary frame.
    pub(crate) fn is_binary(&self) -> bool {
        is_binary(&self.bytes)
    }

    /// Length on a websocket, in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_small_frame_is_the_frame_that_it_was_made_of() {
        let mut scratch = BytesMut::new();
        for len in 0..2 * MAX_SMALL {
            for binary in [false, true] {
                let write = |out: &mut BytesMut| out.put_bytes(b'x', len);
                let frame = match binary {
                    false => Frame::text(&mut scratch, write),
                    true => Frame::binary(&mut scratch, write),
                };
                let small = frame.small();
                assert_eq!(small.is_some(), frame.len() <= MAX_SMALL);
                let Some(small) = small else { continue };
                assert_eq!((small.frame(), small.len()), (frame.clone(), frame.len()));
                assert_eq!((small.payload(), small.is_binary()), (frame.payload(), binary));
            }
        }
    }

    /// A small frame that waits must not keep the memory of a large frame that was written before
    /// it, whether that one is still there or not.
    #[test]
    fn a_small_frame_keeps_no_memory_of_a_large_one() {
        let mut scratch = BytesMut::new();
        let write = |scratch: &mut BytesMut, len, shown: bool| match shown {
            false => Frame::text(scratch, |b| b.put_bytes(b'x', len)),
            true => {
                scratch.put_bytes(b'x', MAX_SERVER_HEADER_BYTES + len);
                Frame::of_text_at(scratch, MAX_SERVER_HEADER_BYTES)
            }
        };
        for shown in [false, true] {
            for len in [MAX_SHARED, 2 * MAX_SHARED + 1, 1_000_000] {
                let large = write(&mut scratch, len, shown);
                assert!(scratch.capacity() <= MAX_SHARED, "{}", scratch.capacity());
                drop(large);
                // All that is left is used again here.
                scratch.reserve(1);
                assert!(scratch.capacity() <= 3 * MAX_SHARED, "{}", scratch.capacity());
                let small = write(&mut scratch, 10, shown);
                assert!(scratch.capacity() + small.len() <= 3 * MAX_SHARED);
            }
        }
    }

    #[test]
    fn the_header_fits_the_length() {
        let mut scratch = BytesMut::new();
        for (len, head) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let frame = Frame::text(&mut scratch, |b| b.put_bytes(b'x', len));
            assert_eq!(&frame.bytes()[..head.len()], head);
            assert_eq!(frame.payload().len(), len);
            assert_eq!(frame.len(), len + head.len());
            assert_eq!(frame.payload_bytes(), frame.payload());
        }
        assert_eq!(Frame::binary(&mut scratch, |_| ()).bytes()[..], [0x82, 0]);
    }
}
