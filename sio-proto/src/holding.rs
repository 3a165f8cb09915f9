//! What a client, a session or a connection holds, as the holder itself tells it (feature `steps`).
//!
//! It is for the simulator (`docs/simulator.md`), which compares it with the limits of the holder,
//! and the sum of all holders with what the allocator says. Nothing here reads the counters that
//! the product adds to and takes from, which are what is to be checked: everything is counted anew.
//! Only how large a read buffer is, its connection has noted, and what a kept message weighs, its
//! entry. How many bytes one packet, handshake or cookie has, its own function says, which the
//! limits use, too.

/// A part of what somebody holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Holding {
    /// How many things there are: events, packets, cookies, texts.
    pub count: usize,
    /// The bytes in them.
    pub bytes: usize,
    /// For how many things the lists around them have room.
    pub room: usize,
    /// For how many things lists have room that should have given it back: a list that shrinks has
    /// room for four times what is in it, at most, or for 64.
    pub idle: usize,
    /// The memory of these lists, and of other memory that has room for more than is in it.
    pub lists: usize,
}

/// What a thing takes beside its bytes and its place in a list, at most: the heads of its buffers.
const HEADS: usize = 160;

/// For so many things a list may always have room.
const MOST_KEPT: usize = 64;

impl Holding {
    /// A list that has room for so many `T`.
    pub(crate) const fn list<T>(room: usize) -> Self {
        Self {
            count: 0,
            bytes: 0,
            room,
            idle: 0,
            lists: room.saturating_mul(size_of::<T>()),
        }
    }

    /// A list that has room for so many `T`, has so many, and gives back what it does not need.
    pub(crate) fn shrinking<T>(room: usize, count: usize) -> Self {
        let most = MOST_KEPT.max(count.saturating_mul(4).saturating_add(4));
        Self {
            idle: room.saturating_sub(most),
            ..Self::list::<T>(room)
        }
    }

    /// Memory for so many bytes, whether there are as many or not.
    pub(crate) const fn memory(bytes: usize) -> Self {
        Self {
            count: 0,
            bytes: 0,
            room: 0,
            idle: 0,
            lists: bytes,
        }
    }

    /// One thing with so many bytes.
    pub(crate) const fn thing(bytes: usize) -> Self {
        Self {
            count: 1,
            bytes,
            room: 0,
            idle: 0,
            lists: 0,
        }
    }

    /// `T` in a tree: a node has eleven places, and half of them may be empty. An empty tree keeps
    /// one.
    pub(crate) const fn tree<T>(count: usize) -> Self {
        let places = count.saturating_mul(3).saturating_add(12);
        Self::memory(places.saturating_mul(size_of::<T>() + 8))
    }

    /// Both together.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            bytes: self.bytes.saturating_add(other.bytes),
            room: self.room.saturating_add(other.room),
            idle: self.idle.saturating_add(other.idle),
            lists: self.lists.saturating_add(other.lists),
        }
    }

    /// These things, too, each with so many bytes.
    pub(crate) fn with(self, things: impl IntoIterator<Item = usize>) -> Self {
        self.with_all(things.into_iter().map(Self::thing))
    }

    /// All of these, too.
    pub(crate) fn with_all(self, parts: impl IntoIterator<Item = Self>) -> Self {
        parts.into_iter().fold(self, Self::and)
    }

    /// The heads of so many buffers.
    pub(crate) const fn heads(count: usize) -> Self {
        Self::memory(count.saturating_mul(HEADS))
    }

    /// The most memory that this can be: a buffer that has grown may be twice as long as what is in
    /// it.
    #[must_use]
    pub const fn most_memory(&self) -> usize {
        let heads = self.count.saturating_mul(HEADS);
        self.bytes
            .saturating_mul(2)
            .saturating_add(self.lists)
            .saturating_add(heads)
    }
}
