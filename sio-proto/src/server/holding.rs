//! What sessions and connections hold, for the simulator (feature `steps`). See [`Holding`].

use core::net::IpAddr;

use super::{Generation, Session, State};
use crate::Frame;
use crate::holding::Holding;

/// What a session holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionHolding {
    /// Whether it speaks Engine.IO.
    pub is_engine: bool,
    /// The generation of its wire.
    pub generation: Generation,
    /// The address of its client, if it has one.
    pub address: Option<IpAddr>,
    /// Packets that wait until it has moved to a websocket.
    pub ahead: usize,
    /// Whether a POST of it is arriving.
    pub has_post: bool,
    /// The websocket that it may move to, as long as that has not been asked for: a number that
    /// each next one has a new one of, and whether its probe has been answered.
    pub candidate: Option<(u32, bool)>,
    /// How many attachments have come of the packet that waits for more.
    pub awaits: Option<usize>,
    /// Whether it polls.
    pub polls: bool,
    /// Whether its user was told that it is over.
    pub is_closing: bool,
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

/// What a server holds for nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommonHolding {
    /// The tables of sessions, sockets, rooms, namespaces, links and deadlines.
    pub tables: Holding,
    /// The lists of outputs.
    pub outputs: Holding,
    /// The lists of what has arrived.
    pub arrivals: Holding,
    /// The buffers in which packets and the answers to pings are encoded.
    pub buffers: Holding,
}

impl CommonHolding {
    /// Both together.
    pub const fn and(self, other: Self) -> Self {
        Self {
            tables: self.tables.and(other.tables),
            outputs: self.outputs.and(other.outputs),
            arrivals: self.arrivals.and(other.arrivals),
            buffers: self.buffers.and(other.buffers),
        }
    }

    /// The most memory that this can be.
    #[must_use]
    pub const fn most_memory(&self) -> usize {
        let parts = self.tables.and(self.outputs).and(self.arrivals);
        parts.and(self.buffers).most_memory()
    }
}

/// What a text takes beside its bytes.
const TEXT_HEAD: usize = 16;

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
        let rare = self.rare.as_ref().map_or_else(Holding::default, |rare| {
            Holding::memory(size_of_val(&**rare)).and(rare.spent.holding())
        });
        let breach = self.breach().map(super::Breach::bytes);
        SessionHolding {
            is_engine: self.wiring.engine().is_some(),
            generation: self.generation(),
            address: self.handshake.peer().address.map(|address| address.ip()),
            ahead: self.wiring.engine().map_or(0, super::engine::Engine::ahead),
            has_post: self.post().is_some(),
            candidate: self.wiring.engine().and_then(super::engine::Engine::undecided),
            awaits: self.reassembly.awaits(),
            polls: self.transport.is_polling(),
            is_closing: self.state == State::Closing,
            queue: self.outbox.holding(),
            messages: Holding::default().with(messages.map(Frame::len)),
            answer: unconfirmed.map_or_else(Holding::default, |unconfirmed| unconfirmed.holding()),
            arriving: arriving.and(self.reassembly.holding()),
            handshake: Holding::memory(self.handshake.bytes() + TEXT_HEAD)
                .and(asker)
                .and(parked),
            // The session itself stands in a table.
            others: Holding::memory(self.wiring.memory())
                .and(rare)
                .with(breach)
                .and(Holding::list::<crate::id::SocketSlot>(2 * self.sockets.len())),
        }
    }
}
