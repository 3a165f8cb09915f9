//! The text form of packets: the wire of the default parser.
//!
//! ```text
//! packet      = type [ attachments ] [ namespace ] [ id ] [ json ]
//! type        = "0".."6"             CONNECT DISCONNECT EVENT ACK CONNECT_ERROR BINARY_EVENT BINARY_ACK
//! attachments = 1*DIGIT "-"          types 5 and 6, always; type 3 in revision 3
//! namespace   = "/" *( any but "," ) ","
//! id          = 1*DIGIT
//! json        = an array for 2, 3, 5, 6; an object for 0; an object or a string (before revision 5 anything) for 4
//!
//! 2["chat","hi"]   2/admin,12["e"]   30[]   0/admin,{"token":"abc"}   51-["b",{"_placeholder":true,"num":0}]
//! ```
//!
//! [`decode`] and [`Encoder`] are inverse to each other, and either end can use both. The grammar
//! comes from docs/protocol/socket-io.md §2. The last column of §9 says what is refused.

mod decode;
mod encode;
mod event;
mod partial;
mod short;

pub use decode::{DecodeError, Decoded, Limits, decode, stops_at};
pub(crate) use decode::{decode_at, event_at};
pub use encode::Encoder;
pub(crate) use encode::{AROUND_ATTACHMENT, MAX_PLAIN_NAME, bytes_around, is_plain_name};
pub(crate) use event::Places;
pub use event::TextEvent;
pub use partial::{Partial, PartialEvent};
pub(crate) use short::{short_event_at, short_partial_at};
