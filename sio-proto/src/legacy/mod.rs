//! The wires before Engine.IO: Socket.IO 0.3 to 0.9 and the streaming codec of 2011.
//!
//! Pure codecs, one module each, without sessions, time or connections. The server's rules for them
//! stand below [`server`](crate::server): in `legacy06` for the 0.6 family, whose codecs are those
//! of [`codec`](crate::codec), and in `legacy09` for 0.7-0.9.
//!
//! | module | wire | reference |
//! |---|---|---|
//! | [`envelope`] | 0.3-0.4, a JSON object around the messages | docs/protocol/legacy-0.6.md §15 |
//! | [`framing`] | 0.5-0.6, `~m~` frames | docs/protocol/legacy-0.6.md §2 |
//! | [`streaming`] | the codec meant for 0.7, `type:len:annotations:data,` | docs/protocol/legacy-streaming.md |
//! | [`legacy09`] | 0.7-0.9, "protocol revision 1" | docs/protocol/legacy-0.9.md |
//! | [`transports`] | the text that JSONP, htmlfile and multipart put around a payload | both |
//! | [`form`] | form posts | both |
//! | [`flash_policy`] | the file that Flash asks for before it connects | both |
//! | [`hixie`] | WebSocket before RFC 6455: hixie-75 and hixie-76 | docs/protocol/legacy-0.6.md §10.1 |
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

pub mod envelope;
pub mod flash_policy;
pub mod form;
pub mod framing;
pub mod hixie;
pub mod legacy09;
pub(crate) mod lengths;
mod raw_json;
pub mod streaming;
pub mod transports;
