//! Names for things: links, sessions, sockets.
//!
//! Two kinds of ids travel on the wire, and neither can be computed from the other:
//!
//! ```text
//!                 shard, slot   tag   random
//!   Sid                5         3       7     20 characters: what everybody may call a socket
//!   SessionId          5         3      16     32 or 39: the secret that makes a request one of its session
//! ```
//! The address (shard and slab slot) is mixed with a keyed hash of the random part. The tag is the
//! rest of this hash. This has three effects. A lookup is one index and one comparison. There is no
//! map from ids to sessions that a peer could grow or probe. A text that no server with this key
//! has written is recognised without looking into any shard. A peer that knows many ids learns
//! nothing about the random part of another id, because each random part is drawn on its own.
//!
//! Invariants:
//! - A [`SessionId`] is written on the connections of its own session and nowhere else. It has no
//!   `Display`, and its `Debug` shows nothing.
//! - Comparing two ids takes the same time wherever they differ.
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

pub(crate) mod siphash;
mod slots;
mod text;
mod wire;

use core::fmt;

pub(crate) use slots::{NamespaceSlot, PlaceSlot, RecordSlot, RoomSlot, SessionSlot, Slot, SocketSlot, TrailSlot};
pub use text::Sid;
pub(crate) use text::{SessionId, SidKey, address_of, is_an_id};
pub use wire::WireId;
pub(crate) use wire::derived_from;

/// The caller's name for one place bytes can go: a parked GET, a POST, a websocket.
///
/// The low 32 bits are a slot, and the high 32 bits are its generation. The machines keep a table
/// that is indexed by the slot. So keep slots dense and small, and change the generation when a
/// slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl LinkId {
    /// Puts a slot and its generation together.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | slot as u64)
    }

    /// The index part.
    #[must_use]
    pub const fn slot(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    /// The generation part.
    #[must_use]
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A link or none, in no more memory than a link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaybeLink(LinkId);

impl MaybeLink {
    /// No machine can know a link of this name: its table would need an entry for each lower slot.
    pub(crate) const NONE: Self = Self(LinkId(u64::MAX));

    pub(crate) const fn new(link: Option<LinkId>) -> Self {
        match link {
            Some(link) => Self(link),
            None => Self::NONE,
        }
    }

    #[inline]
    pub(crate) const fn get(self) -> Option<LinkId> {
        if self.0.0 == u64::MAX { None } else { Some(self.0) }
    }
}

impl fmt::Debug for MaybeLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Address of a session inside one shard: slot and generation. A key whose session has ended is
/// recognised as stale. It never finds another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    pub(crate) slot: SessionSlot,
    pub(crate) generation: u32,
}

/// Address of a socket (one session in one namespace) inside one shard. A key whose socket is gone
/// is recognised as stale. It never finds another socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey {
    pub(crate) slot: SocketSlot,
    pub(crate) generation: u32,
}

impl SessionKey {
    /// The dense slab slot, for tables kept beside the shard.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot.0 as usize
    }

    /// How often the slot has been used.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// The name of a session in logs: its slot in its shard, and how often that has been used.
impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot.0, self.generation)
    }
}

/// The name of a socket in logs: its slot in its shard, and how often that has been used.
impl fmt::Display for SocketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot.0, self.generation)
    }
}

impl SocketKey {
    /// A key of no socket, for what a caller knows of a socket that was in another process.
    pub const NOWHERE: Self = Self {
        slot: SocketSlot(u32::MAX),
        generation: u32::MAX,
    };

    /// The dense slab slot, for tables kept beside the shard.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot.0 as usize
    }

    /// How often the slot has been used.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}
