//! Socket.IO protocol revisions 3, 4 and 5: packets, their text form, and their attachments.
//!
//! ```text
//! Engine.IO messages         Reassembly              Packet
//!   text   51-["b",{…}]  ──▶  decode: header    ──▶
//!   binary 01 02 03      ──▶  + attachments     ──▶  Event { name: b, args: {…} + [01 02 03] }
//!                        ◀──  Encoder           ◀──
//! ```
//!
//! Every wire is read into [`Packet`] and written from it; [`text`] is the wire of the default
//! parser. Sockets, namespaces and rooms are not here: this module knows bytes and packets, but not
//! their effect on a server.
//!
//! The revisions (docs/protocol/socket-io.md §0) differ in few places. Each difference is written
//! once, where it matters:
//! - **3** (Socket.IO 1.0.0-1.0.2): every acknowledgement announces its attachments, `3<n>-`; there
//!   is no type 6.
//! - **4** (1.0.3-2.x): a query may follow the namespace of a CONNECT; ERROR carries any JSON.
//! - **5** (3.0 and later): CONNECT carries an object; CONNECT_ERROR carries an object or a string.
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

mod exact;
mod offset;
mod packet;
pub mod text;

pub use exact::Exact;
pub use offset::{Epoch, Offset, OffsetError};
pub use packet::{Args, Packet, RESERVED_EVENTS, is_reserved_event};

/// The Socket.IO protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// Socket.IO 1.0.0 to 1.0.2. Until an acknowledgement arrives, nothing distinguishes it from
    /// [`Four`](Self::Four), so both are decoded alike.
    Three,
    /// Socket.IO 1.0.3 to 2.x.
    Four,
    /// Socket.IO 3.0 and later.
    Five,
}

/// Which end of the connection we are. It decides which packets we may receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We accept connections.
    Server,
    /// We make connections.
    Client,
}
