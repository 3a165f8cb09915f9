//! The packets of a connection that the caller may not have written yet, for the generations whose
//! sessions outlive their connections.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use super::{Then, Write, Written};
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::{Frame, http};

/// The packets that the caller may not have written yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Number of bytes that the caller has got.
    given: u64,
    /// Up to which byte each packet reaches. An answer to a poll has no frame, because its session
    /// keeps the packets.
    packets: VecDeque<(u64, Option<Frame>)>,
}

impl Outgoing {
    /// Encodes a write, and notes up to which byte each of its packets reaches.
    pub(super) fn encode(&mut self, write: Write, scratch: &mut BytesMut, date: Option<&http::Date>) -> Written {
        let (given, is_kept) = (
            self.given,
            matches!(&write, Write::Response(_, response) if response.is_kept()),
        );
        let mut note = |end: usize, frame: &Frame| self.packets.push_back((given + end as u64, Some(frame.clone())));
        let written = match write {
            Write::Part(_, part) => {
                part.encode_each(scratch, |frame, bytes| note(bytes.len(), frame));
                Written {
                    head: scratch.split().freeze(),
                    body: Bytes::new(),
                    then: Then::GoesOn,
                }
            }
            write => {
                if let Write::Frame(_, frame) = &write {
                    note(frame.len(), frame);
                }
                write.encode(scratch, date)
            }
        };
        self.given += (written.head.len() + written.body.len()) as u64;
        if is_kept {
            self.packets.push_back((self.given, None));
        }
        written
    }

    /// The caller has got this many bytes that are no packets.
    pub(super) const fn note_others(&mut self, bytes: usize) {
        self.given += bytes as u64;
    }

    /// Forgets the packets that have been written completely, if the caller holds this many bytes.
    pub(super) fn forget_written(&mut self, held: usize) {
        let written = self.given - (held as u64).min(self.given);
        let written = self.packets.partition_point(|(end, _)| *end <= written);
        self.packets.drain(..written);
    }

    /// Takes all packets, if there are any. An answer to a poll has none, but counts.
    pub(super) fn take(&mut self) -> Option<Vec<Frame>> {
        let has_any = !self.packets.is_empty();
        has_any.then(|| self.packets.drain(..).filter_map(|(_, frame)| frame).collect())
    }

    #[cfg(feature = "steps")]
    pub(super) fn holding(&self) -> Holding {
        let frames = self.packets.iter().filter_map(|(_, frame)| frame.as_ref());
        Holding::list::<(u64, Option<Frame>)>(self.packets.capacity())
            .and(Holding::memory(size_of::<Self>()))
            .with(frames.map(Frame::len))
    }

    /// For how many packets there is memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.packets.capacity()
    }

    /// The caller has written all bytes.
    pub(super) fn clear(&mut self) {
        self.packets = VecDeque::new();
    }
}
