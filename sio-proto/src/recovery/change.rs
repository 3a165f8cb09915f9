//! What a store has to know, so that another process can go on: each change of records and logs, in
//! a form that has no references.
//!
//! The machine gives out changes in the order in which they happen ([`take_changes`]), and takes
//! what a store has kept when a process begins ([`restore_namespace`] and the methods beside it).
//! It does not know how they are written. The messages themselves are the caller's, and are written
//! by the caller together with [`Change::Counted`].
//!
//! [`take_changes`]: super::Recovery::take_changes
//! [`restore_namespace`]: super::Recovery::restore_namespace

use alloc::vec::Vec;

use bytestring::ByteString;

use crate::{Sid, Time};

/// A change of what is kept. Numbers of namespaces and records are unique in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A namespace has begun, or goes on in a new process.
    Namespace(SavedNamespace),
    /// Nobody can ask for anything in this namespace any more.
    NamespaceGone {
        /// Its number.
        namespace: u32,
    },
    /// The last number that was given to a message of a namespace.
    Counted {
        /// The number of the namespace.
        namespace: u32,
        /// The number of the message.
        last: u64,
    },
    /// A message was thrown away.
    Dropped {
        /// The number of the namespace.
        namespace: u32,
        /// The number of the message.
        sequence: u64,
    },
    /// Messages up to this number, to everybody or to one room, are not kept any more.
    Pruned {
        /// The number of the namespace.
        namespace: u32,
        /// The room; `None` means everybody.
        room: Option<ByteString>,
        /// The number; zero if the room is of no interest any more.
        sequence: u64,
    },
    /// A record has begun or has changed.
    Record(SavedRecord),
    /// A record has ended.
    RecordGone {
        /// Its number.
        record: u64,
    },
    /// A socket has joined a room or has left it.
    Stay(SavedStay),
    /// A room that a socket has left is remembered no more.
    StayGone {
        /// The number of the record.
        record: u64,
        /// Which stay of the record.
        ordinal: u32,
    },
}

/// A namespace, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedNamespace {
    /// Its number in the store.
    pub number: u32,
    /// Its name.
    pub name: ByteString,
    /// The epochs in which its messages were counted, the oldest first, each with the number of the
    /// last message before it.
    pub epochs: Vec<(u32, u64)>,
}

/// The record of a socket, as a store keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct SavedRecord {
    /// Its number in the store.
    pub number: u64,
    /// The number of its namespace.
    pub namespace: u32,
    /// The secret of its client.
    pub secret: [u8; 18],
    /// The public id of the socket.
    pub sid: Sid,
    /// The network of the client's address.
    pub network: u128,
    /// The number of the last message before the socket was there, or of a later message that the
    /// client has said to have.
    pub start: u64,
    /// What was sent up to this number may have been for a room that is remembered no more.
    pub forgotten: u64,
    /// Whether more rooms were joined than a record may hold.
    pub spoilt: bool,
    /// How many events of the client have been had.
    pub heard: u64,
    /// Until when the client is waited for; `None` while it is there.
    pub away_until: Option<Time>,
}

impl core::fmt::Debug for SavedRecord {
    /// Leaves out the secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SavedRecord")
            .field("number", &self.number)
            .field("sid", &self.sid)
            .field("away_until", &self.away_until)
            .finish_non_exhaustive()
    }
}

/// A time that a socket has spent in a room, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedStay {
    /// The number of the record.
    pub record: u64,
    /// Which stay of the record: the first is that in the room of the socket's id.
    pub ordinal: u32,
    /// The room.
    pub room: ByteString,
    /// The number of the last message before the socket was a member.
    pub from: u64,
    /// The number of the last message while the socket was a member.
    pub until: Option<u64>,
}
