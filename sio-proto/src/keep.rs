//! Copies of bytes that are kept for longer than the buffer they were read into.
//!
//! A parsed value shares the buffer that it was read into. This buffer is much larger than the
//! value, and other values need it. A value that has to wait for more bytes, or for its turn, is
//! copied if it is small. So it holds no more than twice its own size in memory. The body of a
//! request may be larger than the values in it by any factor, so they are copied at any size: the
//! large ones when the body is decoded, if the body is more than twice as large.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

/// A value that is larger than this keeps its read buffer, because the value is most of the buffer.
const MAX_COPIED: usize = 64 * 1024;

/// What a value has been read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The read buffer of a connection.
    Read,
    /// The body of a request.
    Body,
}

impl Source {
    /// The size of the largest values that are copied.
    const fn most(self) -> usize {
        match self {
            Self::Read => MAX_COPIED,
            Self::Body => usize::MAX,
        }
    }

    /// Gives bytes memory of their own, if they are to be copied.
    pub(crate) fn keep_bytes(self, bytes: &mut Bytes) {
        step!(bulk bytes.len().min(self.most()));
        if bytes.len() <= self.most() {
            *bytes = Bytes::copy_from_slice(bytes);
        }
    }

    /// Gives a text memory of its own, if it is to be copied.
    pub(crate) fn keep_text(self, text: &mut ByteString) {
        step!(bulk text.len().min(self.most()));
        if text.len() <= self.most() {
            *text = ByteString::from(&**text);
        }
    }
}

/// Whether a value is so small a part of a body of this size that it must not keep the body, and so
/// large that nobody copies it when it has to wait. Such a value is copied when the body is
/// decoded, because whoever keeps it later knows nothing of the body.
pub(crate) const fn is_small_part(bytes: usize, body: usize) -> bool {
    bytes > MAX_COPIED && bytes < body / 2
}

/// Gives a text memory of its own, if it is so small a part of a body ([`is_small_part`]).
pub(crate) fn part_of(body: usize, text: &mut ByteString) {
    if is_small_part(text.len(), body) {
        Source::Body.keep_text(text);
    }
}

/// A part of a text. It shares the memory of the text, unless it is so small a part of it
/// ([`is_small_part`]): there may be much in the text that nobody asks for.
#[inline]
pub(crate) fn slice_of(text: &ByteString, part: &str) -> ByteString {
    match is_small_part(part.len(), text.len()) {
        true => {
            step!(bulk part.len());
            ByteString::from(part)
        }
        false => text.slice_ref(part),
    }
}

/// A message that has just been taken out of a read buffer, and `rest`, which stands behind it.
/// `is_behind` says whether other messages stood in front of it, and is then true for the next one.
/// If the message is so large that nobody copies it when it has to wait, and the buffer is or may
/// be much larger than such a value, they are parted: the message or the rest gets memory of its
/// own. Otherwise a value of 64 KiB that waits behind a message of 1 MB would keep the memory of
/// both.
#[inline]
pub(crate) fn parted(message: Bytes, is_behind: &mut bool, rest: &mut BytesMut) -> Bytes {
    let was_behind = core::mem::replace(is_behind, !rest.is_empty());
    let is_much = *is_behind && message.len().saturating_add(rest.len()) > 2 * MAX_COPIED;
    match message.len() > MAX_COPIED && (was_behind || is_much) {
        true if was_behind || message.len() < rest.len() => {
            step!(bulk message.len());
            Bytes::copy_from_slice(&message)
        }
        true => {
            *is_behind = false;
            step!(bulk rest.len());
            *rest = BytesMut::from(&**rest);
            message
        }
        false => message,
    }
}

/// Gives small bytes memory of their own.
pub(crate) fn bytes(bytes: &mut Bytes) {
    Source::Read.keep_bytes(bytes);
}

/// Gives a small text memory of its own.
#[cfg(feature = "cluster")]
pub(crate) fn text(text: &mut ByteString) {
    Source::Read.keep_text(text);
}
