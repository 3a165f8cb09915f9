//! What can be wrong with a message: the peer's mistakes ([`HttpError`]) and the caller's
//! ([`EncodeError`]).

use thiserror::Error;

/// The peer broke HTTP/1.1, or a limit. The connection cannot be used any more: answer
/// [`status`](Self::status) with `Connection: close`, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// A carriage return that no line feed follows.
    #[error("carriage return without line feed")]
    BareCr,
    /// A line feed that no carriage return precedes.
    #[error("line feed without carriage return")]
    BareLf,
    /// More than one empty line before the start line.
    #[error("empty lines before the start line")]
    EmptyLines,
    /// The request does not begin with a method token.
    #[error("invalid method")]
    InvalidMethod,
    /// The request target is missing, or has bytes that may not stand there.
    #[error("invalid request target")]
    InvalidTarget,
    /// `CONNECT`: the peer takes the server for a proxy.
    #[error("no tunnels here")]
    Tunnel,
    /// A request line without version, which is HTTP/0.9.
    #[error("request line without version")]
    MissingVersion,
    /// The request line does not end in an HTTP version.
    #[error("invalid request line")]
    InvalidRequestLine,
    /// The status line is not one.
    #[error("invalid status line")]
    InvalidStatusLine,
    /// A version of HTTP other than 1.0 and 1.1.
    #[error("unsupported version of HTTP")]
    UnsupportedVersion,
    /// The connection preface of HTTP/2, sent without asking.
    #[error("HTTP/2 connection preface")]
    Http2Preface,
    /// The request target is longer than [`max_target_bytes`](super::Limits::max_target_bytes).
    #[error("request target too long")]
    TargetTooLong,
    /// The head is longer than [`max_head_bytes`](super::Limits::max_head_bytes).
    #[error("head too large")]
    HeadTooLarge,
    /// There are more header fields than [`max_headers`](super::Limits::max_headers).
    #[error("too many header fields")]
    TooManyHeaders,
    /// A line that begins with white space (obsolete line folding, or a header field hidden from
    /// some parsers).
    #[error("folded header line")]
    ObsFold,
    /// White space between a header name and its colon.
    #[error("white space before the colon of a header field")]
    WhitespaceBeforeColon,
    /// A header line without colon, or with a name that is no token.
    #[error("invalid header name")]
    InvalidHeaderName,
    /// A control character in a header value.
    #[error("invalid header value")]
    InvalidHeaderValue,
    /// An HTTP/1.1 request without `Host`.
    #[error("missing Host")]
    MissingHost,
    /// More than one `Host`.
    #[error("repeated Host")]
    RepeatedHost,
    /// A `Host` that cannot be a host and port.
    #[error("invalid Host")]
    InvalidHost,
    /// A `Content-Length` that is not a plain decimal number, or does not fit 64 bits.
    #[error("invalid Content-Length")]
    InvalidContentLength,
    /// More than one `Content-Length`, equal or not.
    #[error("repeated Content-Length")]
    RepeatedContentLength,
    /// `Content-Length` and `Transfer-Encoding` in one message.
    #[error("both Content-Length and Transfer-Encoding")]
    LengthWithTransferEncoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message, which has no such thing.
    #[error("Transfer-Encoding in HTTP/1.0")]
    TransferEncodingInHttp10,
    /// A `Transfer-Encoding` that is not exactly `chunked`.
    #[error("unsupported Transfer-Encoding")]
    UnsupportedTransferEncoding,
    /// A chunk does not begin with hexadecimal digits.
    #[error("invalid chunk size")]
    InvalidChunkSize,
    /// A chunk size of more than 16 digits.
    #[error("chunk size overflows")]
    ChunkSizeOverflow,
    /// A control character in a chunk extension.
    #[error("invalid chunk extension")]
    InvalidChunkExtension,
    /// The data of a chunk is not followed by a line end.
    #[error("chunk longer than its size")]
    MissingChunkEnd,
    /// Chunk extensions and trailers exceed
    /// [`max_chunk_extra_bytes`](super::Limits::max_chunk_extra_bytes).
    #[error("too many bytes in chunk extensions and trailers")]
    ChunkExtraTooLarge,
    /// The body of a response exceeds [`max_body_bytes`](super::Limits::max_body_bytes). Requests
    /// report this in [`Request::body`](super::Request::body) instead.
    #[error("body too large")]
    BodyTooLarge,
    /// The connection ended inside a message.
    #[error("connection ended inside a message")]
    Truncated,
}

impl HttpError {
    /// The status code to answer with. For mistakes only a server can make it is what a gateway
    /// would answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BareCr
            | Self::BareLf
            | Self::EmptyLines
            | Self::InvalidMethod
            | Self::InvalidTarget
            | Self::MissingVersion
            | Self::InvalidRequestLine
            | Self::ObsFold
            | Self::WhitespaceBeforeColon
            | Self::InvalidHeaderName
            | Self::InvalidHeaderValue
            | Self::MissingHost
            | Self::RepeatedHost
            | Self::InvalidHost
            | Self::InvalidContentLength
            | Self::RepeatedContentLength
            | Self::LengthWithTransferEncoding
            | Self::TransferEncodingInHttp10
            | Self::InvalidChunkSize
            | Self::ChunkSizeOverflow
            | Self::InvalidChunkExtension
            | Self::MissingChunkEnd
            | Self::Truncated => 400,
            Self::BodyTooLarge | Self::ChunkExtraTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::UnsupportedTransferEncoding | Self::Tunnel => 501,
            Self::InvalidStatusLine => 502,
            Self::UnsupportedVersion | Self::Http2Preface => 505,
        }
    }
}

/// The body of a request is larger than [`max_body_bytes`](super::Limits::max_body_bytes) and was
/// not kept.
///
/// The request itself is whole, so that it can be answered 413 in the name of what it asked for.
/// The rest of the body cannot be told from a next request, so the connection ends with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("body too large")]
pub struct BodyTooLarge;

impl From<BodyTooLarge> for HttpError {
    fn from(_: BodyTooLarge) -> Self {
        Self::BodyTooLarge
    }
}

/// The caller asked for a message that must not be written. Nothing has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A header name that is no token.
    #[error("invalid header name")]
    InvalidHeaderName,
    /// A header value with a control character, such as a line end that would split the message in
    /// two.
    #[error("invalid header value")]
    InvalidHeaderValue,
    /// A header field that the encoder writes itself, because it must agree with the body and the
    /// connection.
    #[error("header field is the encoder's to write")]
    FramingHeader,
    /// A status outside 100 to 999.
    #[error("invalid status")]
    InvalidStatus,
    /// A reason phrase with a control character.
    #[error("invalid reason phrase")]
    InvalidReason,
    /// [`Method::Other`](super::Method::Other), which has lost its name.
    #[error("method without name")]
    MethodWithoutName,
    /// A request target that is empty or has white space or control characters.
    #[error("invalid request target")]
    InvalidTarget,
    /// A host with characters that a host and port cannot have.
    #[error("invalid host")]
    InvalidHost,
}
