//! Names of rooms, one or several, and what rooms a namespace has.

use std::collections::BTreeMap;

use bytestring::ByteString;

use crate::error::EmitError;
use crate::turn::order::{Order, To, carry_out};
use crate::user::namespace::Namespace;
use crate::user::socket::Socket;

/// Marks the name of one room.
#[doc(hidden)]
pub struct One;
/// Marks names of rooms.
#[doc(hidden)]
pub struct Many;

/// One room or several: a `&str`, a `String`, a [`SocketId`](crate::SocketId), or an array, a
/// vector or any other iterator of these. The marker `M` is always inferred.
///
/// ```
/// # use sio_app::{EmitError, Io, Socket};
/// # fn example(io: &Io, socket: &Socket) -> Result<(), EmitError> {
/// socket.join("lobby")?;
/// socket.join(["news", "sports"])?;
/// io.to(["news", "sports"]).except("away").emit("breaking", "both, and each once");
/// socket.leave(vec![String::from("news")]);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no rooms",
    label = "neither the name of a room nor several",
    note = "a room is a `&str`, a `String`, a `SocketId` or another type that is `AsRef<str>`; several are an array, a vector or an iterator of these"
)]
pub trait Rooms<M>: Sized {
    /// Whether there may be more or less than one.
    #[doc(hidden)]
    const MANY: bool;

    /// Calls a function with each name, until it fails.
    #[doc(hidden)]
    fn each(self, act: impl FnMut(&str) -> Result<(), EmitError>) -> Result<(), EmitError>;
}

impl<T: AsRef<str>> Rooms<One> for T {
    const MANY: bool = false;

    fn each(self, mut act: impl FnMut(&str) -> Result<(), EmitError>) -> Result<(), EmitError> {
        act(self.as_ref())
    }
}

impl<I: IntoIterator<Item: AsRef<str>>> Rooms<Many> for I {
    const MANY: bool = true;

    fn each(self, mut act: impl FnMut(&str) -> Result<(), EmitError>) -> Result<(), EmitError> {
        self.into_iter().try_for_each(|room| act(room.as_ref()))
    }
}

/// Rooms.
impl Socket {
    /// Joins a room, or several; a room begins to exist with its first member. In a middleware they
    /// are joined once the socket is let in.
    ///
    /// No room is named as a socket's id: what is sent to an id is for its socket alone, also where
    /// clients choose the names of their rooms. A socket is in the room of its own id from the
    /// beginning.
    ///
    /// # Errors
    /// If the socket is gone, or in as many rooms as it may be
    /// ([`max_rooms_per_socket`](sio_proto::Config::max_rooms_per_socket));
    /// [`EmitError::ReservedRoom`] if the name is the id of another socket, also of one that has
    /// gone. If one of several rooms cannot be joined, none is.
    pub fn join<M, R: Rooms<M>>(&self, rooms: R) -> Result<(), EmitError> {
        let join = |room: &str| {
            carry_out(Order::Join {
                to: To::Socket(&self.0),
                room,
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

    /// Leaves a room, or several; a room ends with its last member.
    pub fn leave<M>(&self, rooms: impl Rooms<M>) {
        // The room is left, or the socket is not in it.
        let _ = rooms.each(|room| {
            carry_out(Order::Leave {
                to: To::Socket(&self.0),
                room,
            })
        });
    }
}

/// Rooms.
impl Namespace {
    /// Returns all rooms that have members, with how many each has. The room that each socket has
    /// for its id is not among them. Of a handle that stands for many namespaces, rooms of the same
    /// name count together.
    ///
    /// It looks at every room, and each shard is locked for as long as this takes; so it is for
    /// operators and not for handlers. For one room there is [`Namespace::room_len`].
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

    /// Returns how many members a room has. For the id of a socket this is one while the socket is
    /// in the namespace.
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
