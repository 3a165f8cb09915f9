//! All limits of the decoder.

#[cfg(doc)]
use super::Error;

/// How much a peer may send for one message.
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
    /// A longer payload is refused when its header is read, with [`Error::FrameTooBig`]. If this
    /// limit is lower than the message limit, it also bounds the bytes that the caller has to keep
    /// in its own buffer for this connection.
    #[must_use]
    pub const fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// The longest message, all fragments together, in bytes. Default 1 000 000
    /// (`maxHttpBufferSize` of the reference server).
    ///
    /// A longer message is refused at the header of the frame that exceeds the limit, with
    /// [`Error::MessageTooBig`].
    #[must_use]
    pub const fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// The largest number of frames in one message. Default 1 048 576.
    ///
    /// A fragment needs no memory of its own here. The limit ends a message that goes on for ever
    /// without growing. With the default, a message of the default size may come in frames of one
    /// byte, with empty frames among them. One frame more is refused with
    /// [`Error::TooManyFragments`].
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
