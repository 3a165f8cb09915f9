//! JSON text is scanned but never built: arguments stay the raw slices in which they arrived.
//!
//! The core has to know three things about the JSON in a packet. Is it JSON? If it is not, the
//! sender's connection is closed; otherwise a broadcast would bring the bad text to other peers.
//! Where does the event name end, and where do the arguments begin? Do its placeholders name
//! attachments that exist? The layer above converts arguments to types. So there is no tree here,
//! only a scanner, and a few writers for the places where text becomes JSON.
//!
//! ```text
//! ["chat",{"text":"hi"},[1,2]]        one pass of scan_array:
//!  ──┬───                              first     "chat"
//!    │    ──────────┬───────────       rest      {"text":"hi"},[1,2]     ── elements() ──▶ {"text":"hi"} · [1,2]
//!    └──────────────┴───────────       elements  both, with the comma
//! ```
//!
//! Invariants:
//! - [`validate`] and [`scan_array`] accept exactly the texts that `JSON.parse` accepts (RFC 8259),
//!   up to the permitted depth. They refuse raw control characters and leading zeros as it does.
//! - Every function takes time linear in its input. No function allocates, except [`unescape`] for
//!   a string with a backslash.
//! - No function recurses: the open brackets are bits of a `u128`. This is why [`MAX_DEPTH`]
//!   exists.
//!
//! The rules come from docs/protocol/socket-io.md §2 and §9, docs/protocol/engine-io.md §3.3.
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

mod array;
mod object;
mod placeholder;
mod scan;
mod string;
#[cfg(feature = "msgpack")]
mod tokens;

pub(crate) use array::scan_array_knowing;
pub use array::{Array, Elements, elements, scan_array, validate_elements};
pub use object::{Members, members};
pub use placeholder::{
    Named, ONLY_PLACEHOLDER, PlaceholderError, named_attachments, plain_placeholder, replace_placeholders,
};
pub(crate) use scan::Controls;
pub(crate) use scan::end_of_plain_string;
pub use scan::{stops_at, validate};
pub use string::{unescape, write_ascii, write_ascii_string, write_js_string, write_script_string, write_string};

#[cfg(feature = "msgpack")]
pub(crate) use placeholder::leading_number;
pub(crate) use placeholder::{each_placeholder, short_placeholder};
pub(crate) use string::{ascii_len, ascii_string_len, string, string_len};
#[cfg(feature = "msgpack")]
pub(crate) use tokens::{Token, tokens};

/// The deepest nesting that any limit can allow. A greater limit has the effect of this one.
///
/// `serde_json` gives up at this depth by default, so it can read every text that passes here.
pub const MAX_DEPTH: usize = 128;

/// Why a text is not the JSON that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text ends inside a value, or holds no value.
    #[error("JSON ends too early")]
    UnexpectedEnd,
    /// A character is not allowed at its position.
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
