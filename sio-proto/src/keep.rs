//! Copies of bytes that are kept for longer than the buffer they were read into.
//!
//! A parsed value shares the buffer that it was read into. This buffer is much larger than the
//! value, and other values need it. A value that has to wait for more bytes, or for its turn, is
//! copied if it is small. So it holds no more than twice its own size in memory. The body of a
//! request may be larger than the values in it by any factor, so they are copied at any size.

use bytes::Bytes;
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

/// Gives small bytes memory of their own.
pub(crate) fn bytes(bytes: &mut Bytes) {
    Source::Read.keep_bytes(bytes);
}

/// Gives a small text memory of its own.
#[cfg(feature = "cluster")]
pub(crate) fn text(text: &mut ByteString) {
    Source::Read.keep_text(text);
}
