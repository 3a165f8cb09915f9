//! What bounds a peer: every limit of the decoder, in one place.

#[cfg(doc)]
use super::Error;

/// How much one peer may send before a message is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// See [`max_frame_bytes`](Self::max_frame_bytes()).
    pub max_frame_bytes: usize,
    /// See [`max_message_bytes`](Self::max_message_bytes()).
    pub max_message_bytes: usize,
    /// See [`max_fragments`](Self::max_fragments()).
    pub max_fragments: u32,
}

impl Limits {
    /// The longest payload of one data frame. Default 1 000 000, in bytes.
    ///
    /// A longer one is refused when its header is read, with [`Error::FrameTooBig`]. Lower than the
    /// message limit, it also bounds what the caller has to keep in its own buffer for this
    /// connection.
    #[must_use]
    pub const fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// The longest message, all fragments together. Default 1 000 000 (`maxHttpBufferSize` of the
    /// reference server), in bytes.
    ///
    /// A longer one is refused at the header of the frame that exceeds it, with
    /// [`Error::MessageTooBig`].
    #[must_use]
    pub const fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// The most frames of one message. Default 1 048 576.
    ///
    /// Fragments cost no memory of their own here; the limit ends messages that go on for ever
    /// without growing. With the default a message of the default size may come in frames of one
    /// byte, with empty ones among them. One more is refused with [`Error::TooManyFragments`].
    #[must_use]
    pub const fn max_fragments(mut self, fragments: u32) -> Self {
        self.max_fragments = fragments;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frame_bytes: 1_000_000,
            max_message_bytes: 1_000_000,
            max_fragments: 1 << 20,
        }
    }
}
