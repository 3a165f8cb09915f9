//! A socket: one session in one namespace.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use crate::Sid;
use crate::id::{NamespaceSlot, RoomSlot, SessionSlot, SocketSlot};
use crate::server::Meter;
use crate::server::few::Few;

/// The relation of a socket to its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The user has been asked and has not answered.
    Asked,
    /// The socket is a member.
    Connected,
}

/// Why a session cannot ask for a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoEntry {
    /// The session is in as many namespaces as are allowed, or the shard has as many as are
    /// allowed.
    Namespaces,
    /// The client's credentials are larger than is allowed.
    Auth,
}

impl NoEntry {
    /// The text for the client, if its wire can carry it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "Too many namespaces",
            Self::Auth => "Too much auth",
        }
    }
}

/// The standing of a socket, and whether the user has work under way for it while its session is
/// leaving.
#[derive(Clone, Copy, Debug)]
struct Marks(u8);

impl Marks {
    const CONNECTED: u8 = 1;
    const HELD: u8 = 2;
}

#[derive(Debug)]
pub(crate) struct Socket {
    /// Its public id. It is drawn on its own, so it reveals nothing about the session's secret.
    pub(crate) sid: Sid,
    pub(crate) session: SessionSlot,
    pub(crate) namespace: NamespaceSlot,
    marks: Marks,
    /// Position among the namespace's members, once connected.
    pub(crate) position: u32,
    /// Rooms, each with the socket's position among its members. Many sockets have none or one.
    pub(crate) rooms: Few<(RoomSlot, u32)>,
    /// Mark of the last set operation that met this socket, so that each counts once.
    pub(crate) stamp: u32,
    /// Bytes of the client's credentials that are kept.
    pub(crate) auth_bytes: u32,
    /// Bytes of the names of its rooms.
    pub(crate) room_bytes: u32,
    /// The parts that few sockets need.
    pub(crate) rare: Option<Box<Rare>>,
}

// A session has one for each of its namespaces.
const _: () = assert!(size_of::<Socket>() <= 64);

/// The parts of a socket that few sockets need.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// Ids of acknowledgements that the client owes.
    pub(crate) acks: BTreeSet<u64>,
    /// The id that it has in place of `sid`: an id from before, or an id of the application. It is
    /// in a room of this name, which does not count among the rooms that it may be in, and which it
    /// does not leave.
    pub(crate) name: Option<Box<str>>,
    /// How much its client may send to it, if there is a limit.
    pub(crate) meter: Option<Box<Meter>>,
}

impl Socket {
    /// A socket that asks for its namespace.
    pub(crate) const fn new(
        sid: Sid,
        session: SessionSlot,
        namespace: NamespaceSlot,
        stamp: u32,
        auth_bytes: u32,
    ) -> Self {
        Self {
            sid,
            session,
            namespace,
            marks: Marks(0),
            position: 0,
            rooms: Few::None,
            stamp,
            auth_bytes,
            room_bytes: 0,
            rare: None,
        }
    }

    #[inline]
    pub(crate) const fn standing(&self) -> Standing {
        match self.marks.0 & Marks::CONNECTED {
            0 => Standing::Asked,
            _ => Standing::Connected,
        }
    }

    /// The socket becomes a member.
    pub(crate) const fn set_connected(&mut self) {
        self.marks.0 |= Marks::CONNECTED;
    }

    /// Whether the user has work under way for it while its session is leaving.
    pub(crate) const fn is_held(&self) -> bool {
        self.marks.0 & Marks::HELD != 0
    }

    pub(crate) const fn set_held(&mut self, held: bool) {
        match held {
            true => self.marks.0 |= Marks::HELD,
            false => self.marks.0 &= !Marks::HELD,
        }
    }

    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The id that it has in place of the drawn one ([`Rare::name`]).
    pub(crate) fn name(&self) -> Option<&str> {
        self.rare.as_ref()?.name.as_deref()
    }

    /// How much its client may send to it, if there is a limit.
    pub(crate) fn meter_mut(&mut self) -> Option<&mut Meter> {
        self.rare.as_mut()?.meter.as_deref_mut()
    }

    /// Takes the limit out of it, if there is one.
    pub(crate) fn take_meter(&mut self) -> Option<Box<Meter>> {
        self.rare.as_mut()?.meter.take()
    }

    /// How many acknowledgements the client owes.
    pub(crate) fn acks(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.acks.len())
    }

    /// Whether the client owes this acknowledgement.
    pub(crate) fn owes(&self, id: u64) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.acks.contains(&id))
    }

    /// Forgets an acknowledgement. Returns whether the client owed it.
    pub(crate) fn settle(&mut self, id: u64) -> bool {
        self.rare.as_mut().is_some_and(|rare| rare.acks.remove(&id))
    }

    /// Whether it has this id in place of the drawn one.
    pub(crate) fn is_named(&self, id: &str) -> bool {
        self.name() == Some(id)
    }
}

/// A member of a namespace or room. The session stands beside the socket, so that a fan-out touches
/// one slab and not two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) socket: SocketSlot,
    pub(crate) session: SessionSlot,
}

// A socket has one in its namespace, and one in each of its rooms.
const _: () = assert!(size_of::<Member>() <= 8);
