//! What sessions and connections hold, for the simulator (feature `steps`). See [`Holding`].

use super::Session;
use crate::Frame;
use crate::holding::Holding;

/// What a session holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionHolding {
    /// The packets that wait for its client.
    pub queue: Holding,
    /// Those among them that are messages of the application, as far as this can be seen: on the
    /// wires before 1.0 it cannot.
    pub messages: Holding,
    /// The answer to its last poll, in the generations that keep it.
    pub answer: Holding,
    /// What has come and cannot be handled yet: a packet whose attachments have not all come, the
    /// beginning of a message, packets behind an upgrade, CONNECTs that wait for another one.
    pub arriving: Holding,
    /// What is kept of its handshake, and of the request that waits for packets.
    pub handshake: Holding,
    /// The session itself and its sockets.
    pub others: Holding,
}

impl SessionHolding {
    /// The most memory that this can be.
    #[must_use]
    pub const fn most_memory(&self) -> usize {
        // The messages are in the queue.
        let parts = self.queue.and(self.answer).and(self.arriving);
        parts.and(self.handshake).and(self.others).most_memory()
    }
}

/// What a connection of the facade holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionHolding {
    /// Bytes that cannot be used yet, and what is kept of a request or a message that is not
    /// complete.
    pub arriving: Holding,
    /// Packets that may not come yet, because the client has sent too many.
    pub slowed: Holding,
    /// Packets that may have to be sent on another connection, and the answer to a ping.
    pub leaving: Holding,
    /// The connection itself.
    pub others: Holding,
}

impl ConnectionHolding {
    /// The most memory that this can be.
    #[must_use]
    pub const fn most_memory(&self) -> usize {
        let parts = self.arriving.and(self.slowed).and(self.leaving);
        parts.and(self.others).most_memory()
    }
}

/// The first bytes of messages of Engine.IO: events and acknowledgements.
const MESSAGES: [&[u8]; 4] = [b"42", b"43", b"45", b"46"];

/// Whether a packet of Engine.IO is a message of the application.
fn is_message(frame: &Frame) -> bool {
    frame.is_binary() || MESSAGES.iter().any(|begin| frame.payload().starts_with(begin))
}

impl Session {
    pub(super) fn holding(&self) -> SessionHolding {
        let frames = self.outbox.frames();
        let messages = frames.filter(|frame| self.wiring.engine().is_some() && is_message(frame));
        let (arriving, parked) = self.wiring.holding();
        let asker = self
            .parked
            .as_ref()
            .map_or_else(Holding::default, |asker| asker.holding());
        let unconfirmed = self.wiring.unconfirmed();
        let rare = self.rare.as_ref().map_or(0, |_| size_of::<super::session::Rare>());
        let breach = self.breach().map(super::Breach::bytes);
        SessionHolding {
            queue: self.outbox.holding(),
            messages: Holding::default().with(messages.map(Frame::len)),
            answer: unconfirmed.map_or_else(Holding::default, |unconfirmed| unconfirmed.holding()),
            arriving: arriving.and(self.reassembly.holding()),
            handshake: Holding::thing(self.handshake.bytes()).and(asker).and(parked),
            others: Holding::memory(size_of::<Self>() + self.wiring.memory() + rare)
                .with(breach)
                .and(Holding::list::<crate::id::SocketSlot>(2 * self.sockets.len())),
        }
    }
}
