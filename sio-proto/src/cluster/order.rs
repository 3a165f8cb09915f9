//! What the nodes of a cluster tell each other to do, and what they ask each other.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytestring::ByteString;

use crate::socket::Args;

/// The name of a node in one namespace, which the node has drawn at random. A node has another name
/// in each of its namespaces, as genuine nodes do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) ByteString);

impl NodeId {
    /// A copy in memory of its own, which does not keep the message alive that the name came in.
    pub(crate) fn detached(&self) -> Self {
        Self(ByteString::from(&*self.0))
    }

    /// The name as it stands in messages.
    #[must_use]
    pub const fn as_text(&self) -> &ByteString {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which sockets of a namespace are meant: those in at least one of the rooms, and in none of the
/// excepted rooms. The id of a socket is a room, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The rooms. Without rooms, all sockets are meant.
    pub rooms: Vec<ByteString>,
    /// The rooms whose members are left out.
    pub except: Vec<ByteString>,
}

impl Target {
    /// The members of one room.
    #[must_use]
    pub fn room(room: impl Into<ByteString>) -> Self {
        Self {
            rooms: alloc::vec![room.into()],
            except: Vec::new(),
        }
    }
}

/// A [`Target`] that the caller keeps.
#[derive(Clone, Copy, Debug)]
pub struct Recipients<'a> {
    /// The rooms. Without rooms, all sockets are meant.
    pub rooms: &'a [ByteString],
    /// The rooms whose members are left out.
    pub except: &'a [ByteString],
    /// The id of a socket that is left out, too: the sender's.
    pub sender: Option<&'a str>,
}

impl Recipients<'_> {
    pub(super) fn to_target(self) -> Target {
        let sender = self.sender.map(ByteString::from);
        Target {
            rooms: self.rooms.to_vec(),
            except: self.except.iter().cloned().chain(sender).collect(),
        }
    }
}

impl<'a> From<&'a Target> for Recipients<'a> {
    fn from(target: &'a Target) -> Self {
        let Target { rooms, except } = target;
        let sender = None;
        Self { rooms, except, sender }
    }
}

/// How a broadcast is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flags {
    /// Whether a client that does not take the message now may miss it.
    pub volatile: bool,
    /// Whether the message may be compressed. Default true.
    pub compress: bool,
    /// How long the sender waits for acknowledgements.
    pub timeout: Option<Duration>,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            volatile: false,
            compress: true,
            timeout: None,
        }
    }
}

/// An event: its name and its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emit {
    /// The name.
    pub name: ByteString,
    /// The arguments behind the name.
    pub args: Args,
}

/// What all nodes do to their sockets. Nobody answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send an event.
    Broadcast {
        /// To these sockets.
        to: Target,
        /// How.
        flags: Flags,
        /// The event.
        emit: Emit,
    },
    /// Put sockets into rooms.
    Join {
        /// The sockets.
        to: Target,
        /// The rooms.
        rooms: Vec<ByteString>,
    },
    /// Take sockets out of rooms.
    Leave {
        /// The sockets.
        to: Target,
        /// The rooms.
        rooms: Vec<ByteString>,
    },
    /// End sockets.
    Disconnect {
        /// The sockets.
        to: Target,
        /// Whether the connection of each socket ends, too.
        close: bool,
    },
}

/// What a node asks all other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which sockets do you have? The answers are [`Delivery::Sockets`](super::Delivery::Sockets).
    Sockets {
        /// Of these.
        to: Target,
    },
    /// An event for the servers themselves, whose handlers answer. The answers are
    /// [`Delivery::Answer`](super::Delivery::Answer).
    ServerSideEmit {
        /// The event.
        emit: Emit,
    },
    /// Send an event to sockets and pass on their acknowledgements. The answers are
    /// [`Delivery::Recipients`](super::Delivery::Recipients) and
    /// [`Delivery::Ack`](super::Delivery::Ack).
    Acks {
        /// To these sockets.
        to: Target,
        /// How.
        flags: Flags,
        /// The event.
        emit: Emit,
    },
}

/// What the application of a node wants from the other nodes. What concerns this node's own
/// sockets, the caller has done or does itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalOrder {
    /// All other nodes carry it out. Nobody answers.
    CarryOut(Order),
    /// An event for the servers themselves, without an answer.
    ServerSideEmit(Emit),
    /// All other nodes answer.
    Ask {
        /// What is asked.
        question: Question,
        /// How long the answers are waited for;
        /// [`ClusterConfig::request_timeout`](crate::ClusterConfig::request_timeout) if there is no
        /// time. For [`Question::Acks`], the timeout of its flags goes before this.
        timeout: Option<Duration>,
    },
}

/// A socket of another node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteSocket {
    /// Its id.
    pub id: ByteString,
    /// Its handshake, a JSON object with the fields that genuine nodes write: `headers`, `time`,
    /// `address`, `xdomain`, `secure`, `issued`, `url`, `query`, `auth`. An empty text is written
    /// as `{}`.
    pub handshake: ByteString,
    /// The rooms that it is in.
    pub rooms: Vec<ByteString>,
    /// The application's data beside it, a JSON value. An empty text is written as `{}`.
    pub data: ByteString,
}
