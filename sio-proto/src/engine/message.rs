//! Messages of Engine.IO without Socket.IO inside.

use bytes::Bytes;
use bytestring::ByteString;

use crate::keep::Source;

/// A message of Engine.IO. It belongs to a raw session, or it goes to or comes from a
/// [`PacketParser`](crate::codec::PacketParser).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineMessage {
    /// Text.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
}

impl EngineMessage {
    /// Length of the text or of the bytes, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the message is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the message its own memory, if it is to be copied.
    pub(crate) fn keep(&mut self, from: Source) {
        match self {
            Self::Text(text) => from.keep_text(text),
            Self::Binary(bytes) => from.keep_bytes(bytes),
        }
    }
}
