//! The rooms of a socket, and the rooms of a namespace.

use std::collections::BTreeMap;

use bytestring::ByteString;

use crate::error::EmitError;
use crate::turn::order::{Order, To, carry_out};
use crate::user::namespace::Namespace;
use crate::user::rooms::Rooms;
use crate::user::socket::Socket;

/// Rooms.
impl Socket {
    /// Joins a room, or several rooms. A room exists as long as it has members. In a middleware,
    /// the socket joins when it is let in.
    ///
    /// No room can have the name of another socket's id: a message to an id is for its socket
    /// alone, even if clients choose the names of their rooms. From the beginning a socket is in
    /// the room with its own id.
    ///
    /// # Errors
    /// If the socket is gone, or is in as many rooms as it may be
    /// ([`max_rooms_per_socket`](sio_proto::Config::max_rooms_per_socket)).
    /// [`EmitError::ReservedRoom`] if the name is the id of another socket, even of one that has
    /// gone. If one of several rooms cannot be joined, none of them is joined.
    pub fn join<M, R: Rooms<M>>(&self, rooms: R) -> Result<(), EmitError> {
        let join = |room: &str| {
            carry_out(Order::Join {
                to: To::Socket(&self.0),
                rooms: &[room],
            })
        };
        if !R::MANY {
            return rooms.each(join);
        }
        let before = self.rooms();
        let mut joined: Vec<String> = Vec::new();
        let result = rooms.each(|room| {
            join(room)?;
            if !before.iter().any(|known| **known == *room) {
                joined.push(room.to_owned());
            }
            Ok(())
        });
        if result.is_err() {
            self.leave(joined);
        }
        result
    }

    /// Leaves a room, or several rooms. A room ends with its last member.
    pub fn leave<M>(&self, rooms: impl Rooms<M>) {
        // The room is left, or the socket is not in it.
        let _ = rooms.each(|room| {
            carry_out(Order::Leave {
                to: To::Socket(&self.0),
                rooms: &[room],
            })
        });
    }
}

/// Rooms.
impl Namespace {
    /// Returns all rooms that have members, with the number of their members. The rooms with the
    /// sockets' own ids are left out. If the handle means many namespaces, rooms with the same name
    /// are counted together.
    ///
    /// This looks at every room, and locks each shard meanwhile. So it is meant for operators, and
    /// not for handlers. For one room, use [`Namespace::room_len`].
    ///
    /// ```
    /// # use sio_app::Io;
    /// # fn example(io: &Io) {
    /// for (room, members) in io.of("/").rooms() {
    ///     println!("{room}: {members}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn rooms(&self) -> BTreeMap<ByteString, usize> {
        let mut rooms = BTreeMap::new();
        self.all().each_room(&mut |room, members| match rooms.get_mut(room) {
            Some(known) => *known += members,
            None => drop(rooms.insert(room.clone(), members)),
        });
        rooms
    }

    /// Returns the number of a room's members. For the id of a socket this is one, as long as the
    /// socket is in the namespace.
    #[must_use]
    pub fn room_len(&self, room: impl AsRef<str>) -> usize {
        let mut len = 0;
        self.to(&room).each_room(&mut |_, members| len += members);
        match len {
            0 => usize::from(self.to(room).sockets().len() == 1),
            len => len,
        }
    }
}
