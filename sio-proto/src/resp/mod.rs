//! RESP, the protocol of Redis: commands to bytes ([`encode_command`]), bytes to replies
//! ([`Decoder`]), and the slot of a key in a cluster ([`slot`]).
//!
//! ```text
//!   *2\r\n $4\r\n PING\r\n $2\r\n hi\r\n        a command: a list of strings
//!   +OK\r\n  -ERR no\r\n  :5\r\n  $2\r\n hi\r\n  *1\r\n ..        replies of RESP2
//!   _\r\n  #t\r\n  ,1.5\r\n  (1\r\n  !2\r\n no\r\n  =6\r\n txt:hi\r\n  %1\r\n ..  ~1\r\n ..  >1\r\n ..        also in RESP3
//! ```
//! The specification is <https://redis.io/docs/latest/develop/reference/protocol-spec/>. Both
//! versions are read at once, because a server may answer in either. Streamed strings and lists
//! (`$?`) are refused: no server sends them.
//!
//! Invariants:
//! - A reply is never recursed into, whatever its depth.
//! - No memory is taken for what a reply only announces.
//! - Bytes are looked at once, however they are cut.
//! - What a reply costs is bounded by [`Limits`] before it is kept.
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

mod decode;
mod encode;
mod slots;

use alloc::vec::Vec;

use bytes::Bytes;

pub use decode::{DecodeError, Decoder, Limits};
pub use encode::{encode_command, encode_command_before};
pub use slots::{SLOTS, slot};

/// A reply, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string: simple, bulk, verbatim (without its format) or a big number.
    Text(Bytes),
    /// An error. It begins with a word in capitals, its kind.
    Error(Bytes),
    /// An integer.
    Integer(i64),
    /// A number with a fraction.
    Double(f64),
    /// A truth value.
    Boolean(bool),
    /// Nothing: a null of RESP3, or a string or list of the length -1.
    Null,
    /// A list, or a set.
    List(Vec<Self>),
    /// A map: keys and values by turns, in the order of the wire.
    Map(Vec<Self>),
    /// Something that the server sends without being asked. In RESP2 these are lists.
    Push(Vec<Self>),
}

impl Value {
    /// The bytes, if it is a string.
    #[must_use]
    pub const fn text(&self) -> Option<&Bytes> {
        match self {
            Self::Text(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number, if it is an integer.
    #[must_use]
    pub const fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The items, if it is a list or a push, and keys and values by turns if it is a map.
    #[must_use]
    pub fn items(&self) -> Option<&[Self]> {
        match self {
            Self::List(items) | Self::Map(items) | Self::Push(items) => Some(items),
            _ => None,
        }
    }
}
