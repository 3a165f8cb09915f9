//! The builder of a broadcast that asks for acknowledgements.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::user::broadcast_acks::BroadcastAcks;
use crate::user::emitter::Emitter;
use crate::user::rooms::Rooms;

/// A choice of sockets, and how long their acknowledgements may take. [`Io::timeout`],
/// [`Namespace::timeout`] and [`Emitter::timeout`] return it. To ask one socket, use
/// [`Socket::timeout`].
///
/// ```
/// # use std::time::Duration;
/// # use sio_app::{EmitError, Io};
/// # async fn ask(io: Io) -> Result<(), EmitError> {
/// let votes = io.to("jury").timeout(Duration::from_secs(5)).emit_with_ack::<u8>("vote", "the song").await?;
/// println!("{} points", votes.answers.iter().map(|(_, points)| u32::from(*points)).sum::<u32>());
/// for (socket, why) in &votes.missing {
///     println!("{socket} has not voted: {why}");
/// }
/// # Ok(())
/// # }
/// ```
///
/// [`Io::timeout`]: crate::Io::timeout
/// [`Namespace::timeout`]: crate::Namespace::timeout
/// [`Socket::timeout`]: crate::Socket::timeout
#[derive(Clone, Debug)]
#[must_use = "this only says whom to ask; end it with `emit_with_ack`"]
pub struct TimedEmitter {
    emitter: Emitter,
    timeout: Duration,
}

impl TimedEmitter {
    pub(crate) const fn new(emitter: Emitter, timeout: Duration) -> Self {
        Self { emitter, timeout }
    }

    /// Chooses the members of a room, or of several rooms; see [`Emitter::to`].
    pub fn to<M>(self, rooms: impl Rooms<M>) -> Self {
        Self::new(self.emitter.to(rooms), self.timeout)
    }

    /// Leaves out the members of a room, or of several rooms.
    pub fn except<M>(self, rooms: impl Rooms<M>) -> Self {
        Self::new(self.emitter.except(rooms), self.timeout)
    }

    /// Asks only clients that can take the message now; see [`Emitter::volatile`]. The others are
    /// missing with [`EmitError::Dropped`](crate::EmitError::Dropped).
    pub fn volatile(self) -> Self {
        Self::new(self.emitter.volatile(), self.timeout)
    }

    /// Chooses only sockets of this node. Without a cluster there are no others.
    pub fn local(self) -> Self {
        Self::new(self.emitter.local(), self.timeout)
    }

    /// Sends an event to the chosen sockets, and collects their acknowledgements.
    ///
    /// The event is encoded once for all recipients. The result is ready when every recipient has
    /// answered or will not answer, at the time limit at the latest. It names each recipient
    /// without an answer, with the reason ([`AckError`](crate::AckError)). These recipients are
    /// known before the time limit: a client that disconnects; a client whose queue is full, which
    /// stays connected; a client whose answer has another type or too many bytes; and a client of
    /// 0.6, which gets the event and cannot answer. A [policy](Emitter::policy) does not count,
    /// because the result says what a full queue has cost. Sockets that join later are not asked.
    /// In a namespace with recovery, clients that are away are not asked, either, and nothing is
    /// kept for them.
    ///
    /// An answer is read as the type `T`, in the same way as the answer to
    /// [`Socket::emit_with_ack`](crate::Socket::emit_with_ack): a tuple takes several arguments.
    ///
    /// # Errors
    /// If the arguments cannot be written, or the name is reserved. [`EmitError::Full`] if
    /// acknowledgements of too many sockets are awaited at the same time
    /// ([`Options::max_broadcast_acks`](crate::Options::max_broadcast_acks)). Then nothing is sent.
    ///
    /// [`EmitError::Full`]: crate::EmitError::Full
    pub fn emit_with_ack<T: DeserializeOwned + 'static>(self, event: &str, args: impl Serialize) -> BroadcastAcks<T> {
        BroadcastAcks::new(self.emitter.ask(event, &args, self.timeout))
    }
}
