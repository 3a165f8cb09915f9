//! For whom a message was, and where a socket has been.

use alloc::vec::Vec;

use bytestring::ByteString;

use super::RecordKey;

/// For whom a message was: the members of `rooms` (everybody if there are none), but not those of
/// `except`. A socket's own id is a room that it is alone in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Rooms whose members are meant; none means the whole namespace.
    pub rooms: Vec<ByteString>,
    /// Rooms, or ids of sockets, whose members are left out.
    pub except: Vec<ByteString>,
}

/// Who gets a message.
#[derive(Debug)]
pub enum Recipients {
    /// The socket of this record alone. It costs less than its room in an [`Audience`].
    Record(RecordKey),
    /// All sockets of an audience.
    Audience(Audience),
}

impl Audience {
    /// What it takes in memory beside the entry that it stands in.
    pub(super) fn bytes(&self) -> usize {
        let names = self.rooms.iter().chain(&self.except);
        names.map(|name| size_of::<ByteString>() + name.len()).sum()
    }
}

/// A time that a socket has spent in a room, in numbers of messages: it was a member for every
/// message behind `from`, up to `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stay {
    /// Its number among the stays of its record, for a store.
    pub(super) ordinal: u32,
    pub(super) room: ByteString,
    pub(super) from: u64,
    pub(super) until: Option<u64>,
    /// Behind which message the socket has been a member, wherever it was: less than `from` if the
    /// record has come from another server, whose messages are brought.
    pub(super) since: u64,
}

impl Stay {
    /// Whether the socket was a member when this message was sent.
    pub(super) fn covers(&self, sequence: u64) -> bool {
        sequence > self.from && self.until.is_none_or(|until| sequence <= until)
    }
}
