//! The rooms of a socket, and the rooms of a namespace.

use std::collections::BTreeMap;
#[cfg(feature = "redis")]
use std::time::Duration;

use bytestring::ByteString;

use crate::error::EmitError;
use crate::turn::order::{Order, To, carry_out};
#[cfg(feature = "redis")]
use crate::user::inner::Inner;
use crate::user::namespace::Namespace;
use crate::user::rooms::Rooms;
use crate::user::socket::Socket;

/// How long a socket that has joined a room waits for the broker.
#[cfg(feature = "redis")]
const MOST_HEARING: Duration = Duration::from_millis(250);

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

    /// Joins a room, and waits until this node hears what other nodes of the cluster send to the
    /// room. Without a cluster, and if a node hears the room already, it does not wait.
    ///
    /// [`Socket::join`] does not wait for the broker. So a message that another node sends to the
    /// room in the first milliseconds may be missed, if the socket is the first member of the room
    /// on this node. Use this method before you tell a client that it is a member, if that client
    /// may cause such a message. It waits for a quarter of a second at most, and not at all while
    /// the broker is away.
    ///
    /// ```
    /// # use sio_app::{Ack, Io, Socket};
    /// # fn register(io: &Io) {
    /// io.of("/").on("join", async |socket: Socket, room: String, ack: Ack| {
    ///     socket.join_everywhere(room).await?;
    ///     ack.send("ok");
    ///     Ok::<_, sio_app::EmitError>(())
    /// });
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Socket::join`].
    pub async fn join_everywhere(&self, room: impl AsRef<str>) -> Result<(), EmitError> {
        self.join(room.as_ref())?;
        #[cfg(feature = "redis")]
        if let Some(server) = self.0.application().and_then(Inner::of)
            && let Some(cluster) = &server.cluster
        {
            let late = self.sleep(MOST_HEARING);
            cluster
                .hear_room(&server, self.0.namespace(), &room.as_ref().into(), late)
                .await;
        }
        Ok(())
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
