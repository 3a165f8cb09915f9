//! The commands that the user, a neighbour shard or another node can give to a shard.

use alloc::vec::Vec;
use core::time::Duration;

use bytestring::ByteString;

use super::{Message, Reason};
use crate::RateLimit;
use crate::SocketKey;

/// An order to a shard. Every shard (and later every node) applies the command to its own members.
/// There is no other scaling mechanism.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation per broadcast")]
pub enum Command {
    /// Sends a message to every member of the target. A full or stalled member never delays the
    /// others.
    Broadcast {
        /// The recipients.
        target: Target,
        /// The message. Forms that are not encoded yet are encoded when they are first needed.
        message: Message,
    },
    /// Makes every member of the target join rooms. Rooms whose name is the id of a socket are left
    /// out ([`Shard::join`](super::Shard::join)).
    Join {
        /// The sockets.
        target: Target,
        /// The rooms.
        rooms: Vec<ByteString>,
    },
    /// Makes every member of the target leave rooms.
    Leave {
        /// The sockets.
        target: Target,
        /// The rooms.
        rooms: Vec<ByteString>,
    },
    /// Disconnects every member of the target.
    Disconnect {
        /// The sockets.
        target: Target,
        /// Whether the whole session ends, and not only this namespace.
        close: bool,
    },
    /// Ends all sessions, each at its own time, with [`Reason::ServerShuttingDown`]. From now on
    /// new sessions are refused.
    ///
    /// A session is closed when its time has come and no work is under way for it: its client owes
    /// no acknowledgement, and the user reports no work
    /// ([`Delivery::Leaving`](super::Delivery::Leaving)).
    Drain {
        /// The time over which the ends of sessions are spread at random, so that not all clients
        /// reconnect elsewhere at once. With zero, no session is kept longer than necessary.
        spread: Duration,
        /// How long the shard waits for work that is under way, and for a client between two polls.
        /// With zero, it does not wait, and the user is not asked.
        patience: Duration,
        /// Whether another process serves new connections to the same address already. Then the
        /// answers that end a session and those that refuse a new one end their connection, too:
        /// the client's next connection leads to the other process.
        handover: bool,
        /// How long clients that understand it are told to stay away (docs/protocol/extensions.md
        /// §1).
        pause: Option<Duration>,
    },
    /// Closes every session at once, with this reason. From now on new sessions are refused.
    Shutdown {
        /// Usually [`Reason::ServerShuttingDown`].
        reason: Reason,
    },
}

/// A set of sockets in one namespace: all members of `rooms` (all sockets if there are no rooms),
/// without the members of `except`. Each socket counts once. A room's name may also be a socket's
/// id: every socket is alone in the room of its id (docs/protocol/socket-io.md §7).
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The namespace.
    pub namespace: ByteString,
    /// The rooms whose members belong to the target. Empty means all sockets of the namespace.
    pub rooms: Vec<ByteString>,
    /// Rooms (or socket ids) whose members are left out.
    pub except: Vec<ByteString>,
    /// One socket of this shard that is left out: the sender.
    pub except_socket: Option<SocketKey>,
}

/// The request for an acknowledgement.
#[derive(Clone, Copy, Debug)]
pub struct AckRequest {
    /// The id in the message; chosen by the caller, unique among the socket's open requests.
    pub id: u64,
    /// How long to wait; `None` waits as long as the socket lives.
    pub timeout: Option<Duration>,
}

/// What a client of 4.6 and later is told when it is accepted, beside the acceptance
/// (docs/protocol/socket-io.md §6). Older clients are told nothing of it.
#[derive(Clone, Debug, Default)]
pub struct Welcome {
    /// The secret by which the client is recognised when it comes back. It is written into JSON as
    /// it is, so it holds no quotes, backslashes or control characters.
    pub pid: Option<ByteString>,
    /// The id that the socket has in place of the drawn one: the id that it had before, if it has
    /// come back, or an id that the application has made ([`Config::check_socket_id`]). The caller
    /// makes sure that nobody else in the namespace has it. It is written into JSON as it is.
    ///
    /// [`Config::check_socket_id`]: crate::Config::check_socket_id
    pub id: Option<ByteString>,
    /// How fast the client may send in the namespace. `None` means
    /// [`Config::socket_rate`](crate::Config::socket_rate). The caller has checked it
    /// ([`RateLimit::validate`]).
    pub rate: Option<RateLimit>,
    /// How many events of this client have been had since its record began, if the client has asked
    /// for confirmations (docs/protocol/extensions.md §2). [`Shard::confirm`] tells more.
    ///
    /// [`Shard::confirm`]: crate::server::Shard::confirm
    pub confirmed: Option<u64>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The socket or session is gone.
    #[error("the socket is not connected")]
    Disconnected,
    /// The queue of the session is full
    /// ([`Config::max_queued_bytes`](crate::Config::max_queued_bytes)), or its client takes nothing
    /// at this moment and too many bytes wait in all queues together
    /// ([`Config::max_total_queued_bytes`](crate::Config::max_total_queued_bytes)), or the client
    /// owes too many acknowledgements, or one with the id of the new request.
    #[error("the queue of the session is full")]
    Full,
    /// The message is volatile, and the transport cannot take it right now.
    #[error("the transport is busy and the message was volatile")]
    Dropped,
    /// The message, in the form of this client's generation, is larger than the queue of a session
    /// may be ([`Config::max_queued_bytes`](crate::Config::max_queued_bytes)). It fits into no
    /// queue, not even an empty one. The sender has to make it smaller. The recipients are not
    /// affected.
    #[error("the message is larger than the queue of a session")]
    TooLarge,
    /// The client's generation, or the server's [`Config::parser`](crate::Config::parser), cannot
    /// write this message.
    #[error("the client's generation cannot carry this message")]
    Unsupported,
    /// The room's name is the id of another socket, which is connected or has gone.
    #[error("no room is named as the id of a socket")]
    Reserved,
}
