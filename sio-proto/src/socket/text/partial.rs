//! Packets whose attachments have not come yet.

use super::TextEvent;
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

/// What an event says of the attachments that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// How many there are; at least one.
    pub(super) attachments: u32,
    /// Whether its placeholders are known to name each of them once, and nothing else.
    pub(super) names_each: bool,
}

/// An event whose attachments have not come yet, with its parts in their one text. It is what a
/// [`Partial`] usually is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialEvent {
    event: TextEvent,
    announced: Announced,
}

impl PartialEvent {
    /// The event of a text in which its parts were found.
    #[inline]
    pub(crate) const fn new(event: TextEvent, announced: Announced) -> Self {
        Self { event, announced }
    }

    /// The event, without its attachments.
    #[inline]
    #[must_use]
    pub const fn event(&self) -> &TextEvent {
        &self.event
    }

    /// The event, for a caller that takes its arguments.
    #[inline]
    #[must_use]
    pub const fn event_mut(&mut self) -> &mut TextEvent {
        &mut self.event
    }

    /// How many binary messages have to follow; at least one.
    #[inline]
    #[must_use]
    pub const fn attachments(&self) -> usize {
        self.announced.attachments as usize
    }

    /// Whether it is known that the placeholders name each attachment once, and nothing else. If it
    /// is not, they may still do so.
    #[inline]
    #[must_use]
    pub const fn names_each(&self) -> bool {
        self.announced.names_each
    }

    /// The same event as a packet. The parts share the memory of the text.
    #[must_use]
    pub fn to_partial(&self) -> Partial {
        Partial {
            packet: self.event.to_packet(),
            attachments: self.attachments(),
        }
    }

    /// Gives a small event memory of its own.
    pub(crate) fn keep_from(&mut self, from: crate::keep::Source) {
        self.event.keep_from(from);
    }
}
