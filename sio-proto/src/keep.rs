//! What is kept for longer than the buffer it was read into.
//!
//! What is parsed shares the buffer that it was read into, which is much larger and others need.
//! What has to wait for more bytes, or for its turn, is copied if it is small, so that it keeps no
//! more memory than twice its own.

use bytes::Bytes;
use bytestring::ByteString;

/// What is larger keeps the buffer that it was read into: it is most of it.
const MAX_COPIED: usize = 64 * 1024;

/// Gives small bytes memory of their own.
pub(crate) fn bytes(bytes: &mut Bytes) {
    if bytes.len() <= MAX_COPIED {
        *bytes = Bytes::copy_from_slice(bytes);
    }
}

/// Gives a small text memory of its own.
pub(crate) fn text(text: &mut ByteString) {
    if text.len() <= MAX_COPIED {
        *text = ByteString::from(&**text);
    }
}
