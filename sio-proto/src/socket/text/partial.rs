//! Packets whose attachments have not come yet.

use crate::socket::Packet;

/// A packet that waits for its attachments; [`Reassembly`](crate::wire::Reassembly) joins them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    pub(crate) packet: Packet,
    pub(crate) attachments: usize,
}

impl Partial {
    /// Gives the parts their own memory, as far as they are copied.
    pub(crate) fn keep(&mut self, from: crate::keep::Source) {
        self.packet.keep(from);
    }

    /// The packet, still without its attachments.
    #[must_use]
    pub fn packet(&self) -> &Packet {
        &self.packet
    }

    /// How many binary messages have to follow; at least one.
    #[must_use]
    pub fn attachments(&self) -> usize {
        self.attachments
    }
}
