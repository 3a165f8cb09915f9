//! Packets as websocket frames. In this form packets wait, whichever transport their session has.

use bytes::{BufMut, BytesMut};

use super::{EngineMessage, Revision, packet};
use crate::Frame;

/// The data of a binary frame. In revision 3 the packet type stands before the data and is left
/// out.
pub(crate) fn data(revision: Revision, frame: &Frame) -> &[u8] {
    match revision {
        Revision::V4 => frame.payload(),
        Revision::V3 => frame.payload().get(1..).unwrap_or_default(),
    }
}

/// A text message.
pub(crate) fn text_frame(text: &str, buffer: &mut BytesMut) -> Frame {
    Frame::text(buffer, |b| {
        b.put_u8(b'4');
        b.put_slice(text.as_bytes());
    })
}

/// A binary message.
pub(crate) fn binary_frame(revision: Revision, bytes: &[u8], buffer: &mut BytesMut) -> Frame {
    binary_frame_with(revision, buffer, |b| b.put_slice(bytes))
}

/// A binary message of the bytes that `write` appends.
pub(crate) fn binary_frame_with(revision: Revision, buffer: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) -> Frame {
    Frame::binary(buffer, |b| {
        packet::encode_binary(revision, &[], b);
        write(b);
    })
}

/// The same packet as a frame for a peer that cannot take binary (docs/protocol/engine-io.md §1,
/// `b64`).
pub(crate) fn to_base64(revision: Revision, frame: &Frame) -> Frame {
    if !frame.is_binary() {
        return frame.clone();
    }
    Frame::text(&mut BytesMut::new(), |b| {
        packet::encode_base64(revision, data(revision, frame), b)
    })
}

/// A message of a raw session.
pub(crate) fn message_frame(revision: Revision, message: &EngineMessage, buffer: &mut BytesMut) -> Frame {
    match message {
        EngineMessage::Text(text) => text_frame(text, buffer),
        EngineMessage::Binary(bytes) => binary_frame(revision, bytes, buffer),
    }
}
