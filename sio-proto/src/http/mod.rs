//! HTTP/1.1, both ends: bytes in, parsed requests out; responses in, bytes out.
//!
//! ```text
//!   GET /socket.io/?EIO=4&transport=polling HTTP/1.1 CR LF     request line   \
//!   Host: example.com CR LF                                    header fields   > head, parsed once, kept as one slice
//!   CR LF                                                      end of head    /
//!   ...                                                        body: Content-Length, chunked, or none
//! ```
//!
//! What it is: as much of RFC 9110 and RFC 9112 as a Socket.IO server and client need, read
//! strictly. What it is not: a general web server. There is no percent-decoding or normalisation of
//! paths (`//` means something to old clients, docs/protocol/detection.md §1), no content coding,
//! no routing, and a body is delivered whole or not at all.
//!
//! | file | what |
//! | --- | --- |
//! | `limits` | every number a peer can push against |
//! | `method`, `request`, `headers`, `query` | what a request is |
//! | `decode` | [`RequestDecoder`]: bytes to requests |
//! | `head`, `body` | the two halves of a message, shared by both directions |
//! | `response`, `status`, `date` | the server's answers |
//! | `client` | the other end: [`encode_request`], [`ResponseDecoder`] |
//!
//! Invariants:
//!
//! * **Any split of the input gives the same result**, errors included: each check is tied to a
//!   position in the stream, never to where a read happened to end.
//! * **Linear.** Every byte is looked at a fixed number of times: once in search of line ends, once
//!   by the parser (for a head, when it is complete), once by a copy at most (for a body that did
//!   not arrive in one piece).
//! * **Nothing is allocated because a peer announced it.** Buffers grow with what has arrived, and
//!   up to [`Limits`].
//! * **One reading.** Whatever two parsers could understand differently (and so be used to smuggle
//!   a request past a proxy) is refused, and the connection ends there.

mod body;
mod client;
mod date;
mod decode;
mod encode;
mod error;
mod head;
mod headers;
mod limits;
mod method;
mod query;
mod request;
mod response;
mod status;
#[cfg(test)]
mod strictness;

pub use client::{Response, ResponseDecoder, encode_request};
pub use date::Date;
pub use decode::{Event, RequestDecoder};
pub use error::{BodyTooLarge, EncodeError, HttpError};
pub use headers::Headers;
pub(crate) use headers::{is_in_list, is_token_byte};
pub use limits::Limits;
pub use method::Method;
pub use query::Query;
pub(crate) use query::decode as decode_value;
pub use request::{Exchange, Request};
pub(crate) use request::{Shown, origin_form};
pub use response::{
    BodyForm, CONTINUE, ResponseFraming, Sent, encode_chunk, encode_last_chunk, encode_response, encode_response_head,
};
pub use status::reason_phrase;
