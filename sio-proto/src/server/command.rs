//! What the user, a neighbour shard or another node can ask of a shard.

use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::{Message, Reason};
use crate::SocketKey;

/// An order to a shard. The same command is applied by every shard (and one day by every node) to
/// its own members: that is the only scaling mechanism there is.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation per broadcast")]
pub enum Command {
    /// Send a message to every member of the target. A full or stalled member never holds the
    /// others up.
    Broadcast {
        /// To whom.
        target: Target,
        /// What. Forms that are not encoded yet are encoded on first need.
        message: Message,
    },
    /// Make every member of the target join rooms, but none whose name is the id of a socket
    /// ([`Shard::join`](super::Shard::join)).
    Join {
        /// Who.
        target: Target,
        /// Which rooms.
        rooms: Vec<ByteString>,
    },
    /// Make every member of the target leave rooms.
    Leave {
        /// Who.
        target: Target,
        /// Which rooms.
        rooms: Vec<ByteString>,
    },
    /// Disconnect every member of the target.
    Disconnect {
        /// Who.
        target: Target,
        /// Whether the whole session goes, not just this namespace.
        close: bool,
    },
    /// End all sessions, each in its own time, with [`Reason::ServerShuttingDown`]; new ones are
    /// refused from here on.
    ///
    /// A session is closed when its time has come and nothing is under way for it: no
    /// acknowledgement that its client owes, and nothing that the user says is
    /// ([`Delivery::Leaving`](super::Delivery::Leaving)).
    Drain {
        /// Over how long sessions are spread, at random, so that not all clients come back
        /// elsewhere at once. Zero: none is kept longer than it takes.
        spread: Duration,
        /// How long what is under way is waited for, and a client between two polls. Zero: not at
        /// all, and the user is not asked.
        patience: Duration,
    },
    /// Close every session at once, with this reason; new ones are refused from here on.
    Shutdown {
        /// Usually [`Reason::ServerShuttingDown`].
        reason: Reason,
    },
}

/// A set of sockets in one namespace: the union of `rooms` (all sockets if there are none) without
/// the members of `except`. Each socket counts once. A room's name may also be a socket's id: every
/// socket is alone in the room of its id (docs/protocol/socket-io.md §7).
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The namespace.
    pub namespace: ByteString,
    /// Rooms whose members are meant; empty means all sockets of the namespace.
    pub rooms: Vec<ByteString>,
    /// Rooms (or socket ids) whose members are left out.
    pub except: Vec<ByteString>,
    /// One socket of this shard to leave out: the sender.
    pub except_socket: Option<SocketKey>,
}

/// That an acknowledgement is wanted.
#[derive(Clone, Copy, Debug)]
pub struct AckRequest {
    /// The id in the message; chosen by the caller, unique among the socket's open requests.
    pub id: u64,
    /// How long to wait; `None` waits as long as the socket lives.
    pub timeout: Option<Duration>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The socket or session is gone.
    #[error("the socket is not connected")]
    Disconnected,
    /// The queue of the session is full
    /// ([`Config::max_queued_bytes`](crate::Config::max_queued_bytes)), or its client does not take
    /// anything at the moment and too much waits in all queues together
    /// ([`Config::max_total_queued_bytes`](crate::Config::max_total_queued_bytes)), or it owes too
    /// many acknowledgements.
    #[error("the queue of the session is full")]
    Full,
    /// The message was volatile and the transport cannot take it right now.
    #[error("the transport is busy and the message was volatile")]
    Dropped,
    /// The message, as this client's generation writes it, is larger than the queue of a session
    /// may be ([`Config::max_queued_bytes`](crate::Config::max_queued_bytes)): it fits into
    /// nobody's, not even an empty one. It is the sender's to make smaller; the recipients are not
    /// touched.
    #[error("the message is larger than the queue of a session")]
    TooLarge,
    /// The client's generation, or the server's [`Config::parser`](crate::Config::parser), has no
    /// way to say this.
    #[error("the client's generation cannot carry this message")]
    Unsupported,
    /// The room's name is the id of another socket, there or gone.
    #[error("no room is named as the id of a socket")]
    Reserved,
}
