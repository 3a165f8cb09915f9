//! Errors of messages: mistakes of the peer ([`HttpError`]) and mistakes of the caller
//! ([`EncodeError`]).

use thiserror::Error;

/// The peer broke HTTP/1.1, or a limit. The connection cannot be used any more: answer with
/// [`status`](Self::status) and `Connection: close`, then close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HttpError {
    /// A carriage return that is not followed by a line feed.
    #[error("carriage return without line feed")]
    BareCr,
    /// A line feed that does not follow a carriage return.
    #[error("line feed without carriage return")]
    BareLf,
    /// More than one empty line before the start line.
    #[error("empty lines before the start line")]
    EmptyLines,
    /// The request does not begin with a method token.
    #[error("invalid method")]
    InvalidMethod,
    /// The request target is missing, or has bytes that are not allowed in a target.
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
    /// The first line of a response is not a status line.
    #[error("invalid status line")]
    InvalidStatusLine,
    /// A version of HTTP other than 1.0 and 1.1.
    #[error("unsupported version of HTTP")]
    UnsupportedVersion,
    /// The connection preface of HTTP/2. The peer sent it without negotiating HTTP/2.
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
    /// A line begins with white space. It is obsolete line folding, or a header field that is
    /// hidden from some parsers.
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
    /// A `Host` that is not a valid host and port.
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
    /// `Transfer-Encoding` in an HTTP/1.0 message. HTTP/1.0 does not have this field.
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
    /// The status code to answer with. For mistakes that only a server can make, it is the code
    /// that a gateway would answer.
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
/// The head of the request is complete, so that the request can be answered with 413 as its target
/// and its CORS rules want. The end of the body is not known, so no next request can be read, and
/// the connection ends with the answer.
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
    /// A header value with a control character, such as a line end that would split the message.
    #[error("invalid header value")]
    InvalidHeaderValue,
    /// A header field that the encoder writes itself, because the field must agree with the body
    /// and the connection.
    #[error("header field is the encoder's to write")]
    FramingHeader,
    /// A status outside 100 to 999.
    #[error("invalid status")]
    InvalidStatus,
    /// A reason phrase with a control character.
    #[error("invalid reason phrase")]
    InvalidReason,
    /// [`Method::Other`](super::Method::Other), whose name was not kept.
    #[error("method without name")]
    MethodWithoutName,
    /// A request target that is empty or has white space or control characters.
    #[error("invalid request target")]
    InvalidTarget,
    /// A host with characters that a host and port cannot have.
    #[error("invalid host")]
    InvalidHost,
}
