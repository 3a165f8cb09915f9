//! HTTP/1.1 for servers and clients: bytes in, requests or responses out, and the reverse.
//!
//! ```text
//!   GET /socket.io/?EIO=4&transport=polling HTTP/1.1 CR LF     request line   \
//!   Host: example.com CR LF                                    header fields   > head, parsed once, kept as one slice
//!   CR LF                                                      end of head    /
//!   ...                                                        body: Content-Length, chunked, or none
//! ```
//!
//! What it is: the part of RFC 9110 and RFC 9112 that a Socket.IO server and client need, read
//! strictly. What it is not: a general web server. Paths are neither percent-decoded nor normalised
//! (`//` has a meaning for old clients, docs/protocol/detection.md §1). There is no content coding
//! and no routing. A body is delivered complete or not at all.
//!
//! | file | what |
//! | --- | --- |
//! | `limits` | all limits |
//! | `method`, `request`, `headers`, `query` | a request and its parts |
//! | `decode` | [`RequestDecoder`]: bytes to requests |
//! | `head`, `body` | the two halves of a message, shared by both directions |
//! | `response`, `status`, `date`, `fixed` | the server's answers |
//! | `client` | the client's side: [`encode_request`], [`ResponseDecoder`] |
//!
//! Invariants:
//!
//! * **Any split of the input gives the same result**, and the same errors: each check depends on a
//!   position in the stream, never on where a read happened to end.
//! * **Linear.** Every byte is looked at a fixed number of times: once in the search for line ends,
//!   once by the parser (for a head, when it is complete), and at most once by a copy (for a body
//!   that arrived in several pieces).
//! * **Nothing is allocated because a peer announced it.** Buffers grow with the bytes that have
//!   arrived, up to [`Limits`].
//! * **One reading.** If two parsers could understand some bytes differently, an attacker could use
//!   the difference to smuggle a request past a proxy. Such bytes are refused, and the connection
//!   ends.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod body;
mod client;
mod date;
mod decode;
mod encode;
mod error;
mod fixed;
mod head;
mod headers;
mod known;
mod limits;
mod memo;
mod method;
mod query;
mod request;
mod response;
mod response_headers;
mod status;
#[cfg(test)]
mod strictness;

pub use client::{Response, ResponseDecoder, encode_request};
pub use date::Date;
pub use decode::{Event, RequestDecoder};
pub use error::{BodyTooLarge, EncodeError, HttpError};
pub use fixed::FixedFields;
pub use headers::Headers;
pub(crate) use headers::is_token_byte;
pub(crate) use known::Name;
pub use limits::Limits;
pub use method::Method;
pub use query::Query;
pub(crate) use query::decode as decode_value;
pub use request::{Exchange, Request};
pub(crate) use request::{Shown, origin_form};
pub(crate) use response::{AnswerFields, encode_answer_head};
pub use response::{
    BodyForm, CONTINUE, ResponseFraming, Sent, encode_chunk, encode_last_chunk, encode_response, encode_response_head,
};
pub use response_headers::{HeaderError, ResponseHeaders};
pub use status::reason_phrase;
