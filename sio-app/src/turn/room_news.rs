//! Events of rooms, for an application that asks for them.
//!
//! A shard notes the events while it is locked. The thread that has locked the shard takes the
//! notes out, and gives them to its turn as work. So the application gets the events under no lock.
//! If the application has not asked for events of rooms, nothing is noted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytestring::ByteString;
use sio_proto::SocketKey;

use crate::guarded::guarded;
use crate::lock::Mutex;
use crate::turn::application::Application;
use crate::turn::socket_id::SocketId;

/// An event of a room. [`Io::on_room`](crate::Io::on_room) reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The room has its first member.
    Created {
        /// The namespace of the room.
        namespace: ByteString,
        /// The name of the room.
        room: ByteString,
    },
    /// A socket has joined the room.
    Joined {
        /// The namespace of the room.
        namespace: ByteString,
        /// The name of the room.
        room: ByteString,
        /// The socket that has joined.
        socket: SocketId,
    },
    /// A socket has left the room, or has gone.
    Left {
        /// The namespace of the room.
        namespace: ByteString,
        /// The name of the room.
        room: ByteString,
        /// The socket that was a member.
        socket: SocketId,
    },
    /// The room has lost its last member.
    Deleted {
        /// The namespace of the room.
        namespace: ByteString,
        /// The name of the room.
        room: ByteString,
    },
}

impl RoomEvent {
    /// Returns the name of the room.
    #[must_use]
    pub const fn room(&self) -> &ByteString {
        match self {
            Self::Created { room, .. }
            | Self::Joined { room, .. }
            | Self::Left { room, .. }
            | Self::Deleted { room, .. } => room,
        }
    }
}

/// Who has asked for events of rooms, and in how many shards each room has members.
#[derive(Debug, Default)]
pub(crate) struct RoomNews {
    /// Whether the application wants events of rooms.
    wanted: AtomicBool,
    /// Whether it is kept which rooms have members.
    tracked: AtomicBool,
    shards: Mutex<BTreeMap<(ByteString, ByteString), usize>>,
}

impl RoomNews {
    /// Notes that the application wants events of rooms from now on.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        self.tracked.store(true, Ordering::Relaxed);
    }

    /// Keeps from now on which rooms have members, and tells the application of the first and the
    /// last member of a room ([`Application::room`]). A cluster needs this from the beginning.
    #[cfg(feature = "redis")]
    pub(crate) fn track(&self) {
        self.tracked.store(true, Ordering::Relaxed);
    }

    /// Whether a room has members on this node, if this is kept.
    #[cfg(feature = "redis")]
    pub(crate) fn has_members(&self, namespace: &ByteString, room: &ByteString) -> bool {
        let key = (namespace.clone(), room.clone());
        self.shards.lock().contains_key(&key)
    }

    /// Returns the rooms of a namespace that have members on this node, if this is kept.
    #[cfg(feature = "redis")]
    pub(crate) fn rooms_of(&self, namespace: &ByteString) -> Vec<ByteString> {
        let shards = self.shards.lock();
        let first = (namespace.clone(), ByteString::new());
        let rooms = shards.range(first..).map(|(key, _)| key);
        let rooms = rooms.take_while(|(of, _)| of == namespace);
        rooms.map(|(_, room)| room.clone()).collect()
    }

    /// Whether somebody wants events of rooms.
    #[inline]
    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Notes that a room has its first member in a shard. Returns true if it has members in no
    /// other shard.
    fn begins(&self, key: (ByteString, ByteString)) -> bool {
        let mut shards = self.shards.lock();
        let shards = shards.entry(key).or_default();
        *shards += 1;
        *shards == 1
    }

    /// Notes that a room has lost its last member in a shard. Returns true if it has members in no
    /// other shard. Returns false if the room had members before the application asked for events,
    /// because such a room is not known here.
    fn ends(&self, key: &(ByteString, ByteString)) -> bool {
        let mut shards = self.shards.lock();
        let Some(left) = shards.get_mut(key) else { return false };
        *left -= 1;
        let is_over = *left == 0;
        if is_over {
            shards.remove(key);
        }
        is_over
    }
}

/// A change of a room, as the shard notes it: with the shard's key of the socket.
#[derive(Debug)]
pub(crate) struct RoomNote {
    namespace: ByteString,
    room: ByteString,
    change: Change,
}

#[derive(Debug)]
enum Change {
    Created,
    Joined(SocketKey),
    Left(SocketKey),
    Deleted,
}

impl RoomNote {
    /// Converts the note to an event, with the id of the socket. Call this while the shard is
    /// locked.
    pub(crate) fn resolved(self, id: impl FnOnce(SocketKey) -> Option<SocketId>) -> Option<RoomEvent> {
        let Self {
            namespace,
            room,
            change,
        } = self;
        Some(match change {
            Change::Created => RoomEvent::Created { namespace, room },
            Change::Deleted => RoomEvent::Deleted { namespace, room },
            Change::Joined(key) => RoomEvent::Joined {
                socket: id(key)?,
                namespace,
                room,
            },
            Change::Left(key) => RoomEvent::Left {
                socket: id(key)?,
                namespace,
                room,
            },
        })
    }
}

/// The notes of one shard. They are taken out before the shard is unlocked.
#[derive(Debug, Default)]
pub(crate) struct RoomNotes {
    pub(crate) news: Arc<RoomNews>,
    notes: Mutex<Vec<RoomNote>>,
}

impl RoomNotes {
    pub(crate) fn new(news: &Arc<RoomNews>) -> Self {
        Self {
            news: Arc::clone(news),
            notes: Mutex::default(),
        }
    }

    fn note(&self, namespace: &str, room: &str, change: Change) {
        self.notes.lock().push(RoomNote {
            namespace: namespace.into(),
            room: room.into(),
            change,
        });
    }

    pub(crate) fn begins(&self, namespace: &str, room: &str) {
        if self.news.is_tracked() && self.news.begins((namespace.into(), room.into())) {
            self.note(namespace, room, Change::Created);
        }
    }

    pub(crate) fn ends(&self, namespace: &str, room: &str) {
        if self.news.is_tracked() && self.news.ends(&(namespace.into(), room.into())) {
            self.note(namespace, room, Change::Deleted);
        }
    }

    pub(crate) fn joined(&self, namespace: &str, room: &str, socket: SocketKey) {
        if self.news.is_wanted() {
            self.note(namespace, room, Change::Joined(socket));
        }
    }

    pub(crate) fn left(&self, namespace: &str, room: &str, socket: SocketKey) {
        if self.news.is_wanted() {
            self.note(namespace, room, Change::Left(socket));
        }
    }

    /// Takes all notes out.
    pub(crate) fn take(&self) -> Vec<RoomNote> {
        std::mem::take(&mut *self.notes.lock())
    }
}

/// Reports an event of a room to the application.
pub(super) fn tell(application: &Weak<dyn Application>, event: &RoomEvent) {
    let Some(application) = application.upgrade() else {
        return;
    };
    // A socket that has its id from before is in a room of this name, which is nobody's business.
    if application.shards().is_id(event.room()) {
        return;
    }
    if let Err(panic) = guarded(|| application.room(event)) {
        application.report(None, "room", &panic);
    }
}
