//! Places in a shard's tables. Each kind of place has a type of its own, so that the slot of a
//! session cannot be used as the slot of a socket.

/// A place in a table.
pub(crate) trait Slot: Copy {
    /// The place with this number.
    fn new(number: u32) -> Self;
    /// Its number.
    fn number(self) -> u32;
}

macro_rules! slots {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) u32);

        impl Slot for $name {
            fn new(number: u32) -> Self {
                Self(number)
            }

            fn number(self) -> u32 {
                self.0
            }
        }
    )*};
}

slots! {
    /// Where a session stands in its shard.
    SessionSlot
    /// Where a socket stands in its shard.
    SocketSlot
    /// Where the record of a socket stands in what recovery keeps.
    RecordSlot
    /// Where the numbers of the messages to a room stand in a log.
    TrailSlot
    /// Where a namespace stands in what recovery keeps.
    PlaceSlot
    /// Where a namespace stands in its shard.
    NamespaceSlot
    /// Where a room stands in its shard.
    RoomSlot
}
