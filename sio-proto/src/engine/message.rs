//! Messages of Engine.IO, by themselves.

use bytes::Bytes;
use bytestring::ByteString;

use crate::keep;

/// A message of Engine.IO: of a raw session, or to and from a
/// [`PacketParser`](crate::codec::PacketParser).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineMessage {
    /// Text.
    Text(ByteString),
    /// Bytes.
    Binary(Bytes),
}

impl EngineMessage {
    /// Bytes of the text, or of what is there instead.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives what is small memory of its own.
    pub(crate) fn keep(&mut self) {
        match self {
            Self::Text(text) => keep::text(text),
            Self::Binary(bytes) => keep::bytes(bytes),
        }
    }
}
