//! Mistakes of a peer after the handshake, and the close code for each mistake.

use super::close::CloseCode;

/// Misbehaviour of the peer. The connection is failed: send a Close frame with
/// [`close_code`](Self::close_code), then end it.
///
/// A variant names what the peer did. A decoder that returned an error returns the same error in
/// every later call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A reserved bit is set and no extension gives it a meaning.
    #[error("reserved bits set")]
    ReservedBits,
    /// The opcode is none of 0, 1, 2, 8, 9, 10.
    #[error("reserved opcode {0:#x}")]
    ReservedOpcode(u8),
    /// A Close, Ping or Pong without the FIN bit.
    #[error("fragmented control frame")]
    FragmentedControl,
    /// A Close, Ping or Pong of more than 125 bytes, or with its length in a form for more than 125
    /// bytes.
    #[error("control frame longer than 125 bytes")]
    ControlTooLong,
    /// The length fits a shorter encoding.
    #[error("payload length not in its shortest form")]
    LengthNotMinimal,
    /// A 64-bit length whose highest bit is set.
    #[error("payload length above 2^63")]
    LengthTooLong,
    /// A client's frame without a mask.
    #[error("frame from a client is not masked")]
    NotMasked,
    /// A server's frame with a mask.
    #[error("frame from a server is masked")]
    Masked,
    /// A continuation frame while no fragmented message is open.
    #[error("continuation frame outside of a fragmented message")]
    UnexpectedContinuation,
    /// A text or binary frame before the fragmented message was finished.
    #[error("new message inside of a fragmented message")]
    ExpectedContinuation,
    /// The text of a message is not UTF-8.
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// The payload of a Close frame is one byte long.
    #[error("close frame with half a status code")]
    CloseLength,
    /// The status code of a Close frame may not appear on the wire.
    #[error("close code {0} is not valid on the wire")]
    CloseCode(u16),
    /// The reason of a Close frame is not UTF-8.
    #[error("close reason is not valid UTF-8")]
    CloseReason,
    /// One frame declares more bytes than
    /// [`Limits::max_frame_bytes`](super::Limits::max_frame_bytes).
    #[error("frame too big")]
    FrameTooBig,
    /// The frames of one message declare more bytes than
    /// [`Limits::max_message_bytes`](super::Limits::max_message_bytes).
    #[error("message too big")]
    MessageTooBig,
    /// One message comes in more frames than
    /// [`Limits::max_fragments`](super::Limits::max_fragments).
    #[error("too many fragments")]
    TooManyFragments,
}

impl Error {
    /// The code to close the connection with: 1002, 1007, 1008 or 1009. The reference server sends
    /// the same codes (`docs/protocol/engine-io.md` §5).
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::LengthNotMinimal
            | Self::LengthTooLong
            | Self::NotMasked
            | Self::Masked
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::CloseLength
            | Self::CloseCode(_) => CloseCode::PROTOCOL_ERROR,
            Self::InvalidUtf8 | Self::CloseReason => CloseCode::INVALID_PAYLOAD,
            Self::TooManyFragments => CloseCode::POLICY_VIOLATION,
            Self::FrameTooBig | Self::MessageTooBig => CloseCode::MESSAGE_TOO_BIG,
        }
    }
}
