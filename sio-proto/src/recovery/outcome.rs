//! What becomes of a record: its client comes back, cannot be recovered, or does not come.

use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::log::{Entry, Truncated};
use crate::Sid;

/// A socket that has come back.
#[derive(Debug)]
pub struct Claimed<'a, M> {
    /// Its public id.
    pub sid: Sid,
    /// The rooms that it was in, that of its own id not among them.
    pub rooms: Vec<ByteString>,
    /// What it has missed, oldest first.
    pub missed: Vec<&'a Entry<M>>,
}

/// How much may be replayed at once: what the queue of a session has room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// In bytes, as [`Recovery::post`](super::Recovery::post) is told them.
    pub bytes: usize,
    /// In messages.
    pub packets: usize,
}

/// Why a client is not recovered. It gets a new socket, and is told so by a new `pid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRecovered {
    /// Nobody with this secret was here, or too long ago.
    #[error("no client with this pid is waited for")]
    Unknown,
    /// The offset is none that this client can have been given.
    #[error("the offset was never given to this client")]
    Offset,
    /// What it has missed is not all there any more.
    #[error("what was missed is not all kept: {0}")]
    Truncated(#[from] Truncated),
    /// It has missed more than can be sent at once.
    #[error("{packets} messages with {bytes} bytes were missed, more than can wait for a client")]
    TooMuch {
        /// How many messages.
        packets: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// What it has missed was written by another parser
    /// ([`Config::parser`](crate::Config::parser)), in an earlier process.
    #[error("what was missed was written by another parser")]
    Parser,
    /// It was in more rooms than a record may hold.
    #[error("the client was in more rooms than its record may hold")]
    Rooms,
    /// It was confirmed more events than this server knows to have had: its store has lost some.
    #[error("the client was confirmed {confirmed} events, and only {heard} are known")]
    Events {
        /// How many events the client says were confirmed.
        confirmed: u64,
        /// How many this server has had.
        heard: u64,
    },
}

impl NotRecovered {
    /// A word for each reason, for counts.
    pub const WORDS: [&'static str; 7] = [
        "unknown",
        "offset",
        "truncated",
        "too_much",
        "parser",
        "rooms",
        "events",
    ];

    /// The place of the reason in [`WORDS`](Self::WORDS).
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Unknown => 0,
            Self::Offset => 1,
            Self::Truncated(_) => 2,
            Self::TooMuch { .. } => 3,
            Self::Parser => 4,
            Self::Rooms => 5,
            Self::Events { .. } => 6,
        }
    }
}

/// How long a client was away, and how much was said meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Absence {
    /// From the end of its connection to now; zero if the old connection still stands.
    pub away: Duration,
    /// How many messages its namespace has had since the last one that the client has seen. Not all
    /// of them were for this client.
    pub messages: u64,
}

/// A record that has ended without being used.
#[derive(Debug)]
pub struct Expired<D> {
    /// The socket's public id.
    pub sid: Sid,
    /// Its namespace.
    pub namespace: ByteString,
    /// What the caller has kept with it.
    pub data: D,
}
