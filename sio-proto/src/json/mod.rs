//! JSON text, scanned but never built: arguments stay the raw slices they arrived as.
//!
//! The core has to know three things about the JSON in a packet: that it is JSON (a peer's fault
//! closes its own connection, not somebody else's that gets the text in a broadcast), where the
//! event name ends and the arguments begin, and whether its placeholders point at attachments that
//! exist. Types are the business of the layer that asks for them. So there is no tree here, only a
//! scanner, and a few writers for the places where text becomes JSON.
//!
//! ```text
//! ["chat",{"text":"hi"},[1,2]]        one pass of scan_array:
//!  ──┬───                              first     "chat"
//!    │    ──────────┬───────────       rest      {"text":"hi"},[1,2]     ── elements() ──▶ {"text":"hi"} · [1,2]
//!    └──────────────┴───────────       elements  both, with the comma
//! ```
//!
//! Invariants:
//! - What [`validate`] and [`scan_array`] accept is what `JSON.parse` accepts (RFC 8259), down to
//!   raw control characters and leading zeros, as long as it is nested no deeper than asked.
//! - Every function takes time linear in its input and, [`unescape`] of a string with a backslash
//!   apart, allocates nothing.
//! - Nothing here recurses: the open brackets are bits of a `u128`, hence [`MAX_DEPTH`].
//!
//! The rules it serves: docs/protocol/socket-io.md §2 and §9, docs/protocol/engine-io.md §3.3.

mod array;
mod placeholder;
mod scan;
mod string;
#[cfg(feature = "msgpack")]
mod tokens;

pub use array::{Array, Elements, elements, scan_array, validate_elements};
pub use placeholder::{Named, PlaceholderError, named_attachments, replace_placeholders};
pub use scan::{stops_at, validate};
pub use string::{unescape, write_ascii, write_ascii_string, write_js_string, write_script_string, write_string};

pub(crate) use placeholder::each_placeholder;
#[cfg(feature = "msgpack")]
pub(crate) use placeholder::leading_number;
pub(crate) use string::{ascii_len, ascii_string_len, string_len};
#[cfg(feature = "msgpack")]
pub(crate) use tokens::{Token, tokens};

/// The deepest nesting any limit can allow; greater limits mean this one.
///
/// It is the depth at which `serde_json` gives up by default, so what passes here can be read
/// there.
pub const MAX_DEPTH: usize = 128;

/// Why a text is not the JSON it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text ends inside a value, or holds none.
    #[error("JSON ends too early")]
    UnexpectedEnd,
    /// A character that cannot stand where it does.
    #[error("unexpected character in JSON")]
    UnexpectedCharacter,
    /// A character below U+0020 stands unescaped in a string.
    #[error("raw control character in a JSON string")]
    ControlCharacter,
    /// A backslash is not followed by an escape that JSON knows.
    #[error("invalid escape in a JSON string")]
    InvalidEscape,
    /// A number is not written as JSON writes numbers.
    #[error("invalid number in JSON")]
    InvalidNumber,
    /// Arrays and objects are nested deeper than the limit.
    #[error("JSON is nested too deep")]
    TooDeep,
    /// Something other than whitespace follows the value.
    #[error("text after the end of the JSON value")]
    TrailingText,
}
