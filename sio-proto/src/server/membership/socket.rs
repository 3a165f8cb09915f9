//! A socket: one session in one namespace.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::Sid;
use crate::id::{NamespaceSlot, RoomSlot, SessionSlot, SocketSlot};

/// Where a socket stands with its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The user has been asked and has not answered.
    Asked,
    /// It is a member.
    Connected,
}

/// Why a session cannot ask for a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoEntry {
    /// It is in as many as may be, or there are as many.
    Namespaces,
    /// What it says for itself is more than may be kept.
    Auth,
}

impl NoEntry {
    /// What the client is told, where its wire can tell.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "Too many namespaces",
            Self::Auth => "Too much auth",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Socket {
    /// Its name for everybody. It is drawn by itself, so it says nothing of the session's secret.
    pub(crate) sid: Sid,
    pub(crate) session: SessionSlot,
    pub(crate) namespace: NamespaceSlot,
    pub(crate) standing: Standing,
    /// Position among the namespace's members, once connected.
    pub(crate) position: u32,
    /// Rooms, each with the position among its members.
    pub(crate) rooms: Vec<(RoomSlot, u32)>,
    /// Ids of acknowledgements the client owes.
    pub(crate) acks: BTreeSet<u64>,
    /// The user has something under way for it, while its session is leaving.
    pub(crate) held: bool,
    /// Mark of the last set operation that met this socket, so that each counts once.
    pub(crate) stamp: u32,
    /// What is kept of what the client has said for itself, in bytes.
    pub(crate) auth_bytes: u32,
    /// What the names of its rooms weigh, in bytes.
    pub(crate) room_bytes: u32,
}

/// A member of a namespace or room. The session stands beside the socket so that a fan-out touches
/// one slab, not two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) socket: SocketSlot,
    pub(crate) session: SessionSlot,
}
