//! Copies of bytes that are kept for longer than the buffer they were read into.
//!
//! A parsed value shares the buffer that it was read into. This buffer is much larger than the
//! value, and other values need it. A value that has to wait for more bytes, or for its turn, is
//! copied if it is small. So it holds no more than twice its own size in memory.

use bytes::Bytes;
use bytestring::ByteString;

/// A value that is larger than this keeps its read buffer, because the value is most of the buffer.
const MAX_COPIED: usize = 64 * 1024;

/// Gives small bytes memory of their own.
pub(crate) fn bytes(bytes: &mut Bytes) {
    step!(bulk bytes.len().min(MAX_COPIED));
    if bytes.len() <= MAX_COPIED {
        *bytes = Bytes::copy_from_slice(bytes);
    }
}

/// Gives a small text memory of its own.
pub(crate) fn text(text: &mut ByteString) {
    step!(bulk text.len().min(MAX_COPIED));
    if text.len() <= MAX_COPIED {
        *text = ByteString::from(&**text);
    }
}
