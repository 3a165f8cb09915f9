//! The packets of a POST. Usually all of them are handled at once. If the client may not send so
//! many, or its handlers lag, they are handled in parts, and the POST is answered with the last one
//! ([`Shard::handle_part`](super::Shard::handle_part)).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::keep::Source;
use crate::wire::Inbound;

/// The packets of a POST that have not been handled.
#[derive(Debug)]
pub struct Posted {
    packets: VecDeque<Inbound>,
    /// How many packets the present part may have.
    max: usize,
    /// Whether a part has been handled before.
    begun: bool,
    /// Whether the rules have taken the packets of the present part.
    is_taken: bool,
    /// Whether the packets have been prepared to wait.
    is_kept: bool,
    /// How many of the packets that have come no part has counted.
    uncounted: usize,
    /// Whether one of the packets makes the whole POST a bad one.
    is_bad: bool,
}

impl Posted {
    /// The packets of a request ([`Request::take_packets`](super::Request::take_packets)).
    #[must_use]
    pub fn new(packets: Vec<Inbound>) -> Self {
        Self {
            uncounted: packets.len(),
            packets: packets.into(),
            max: usize::MAX,
            begun: false,
            is_taken: false,
            is_kept: false,
            is_bad: false,
        }
    }

    /// How many packets have not been handled. In some wires of 0.6, a single packet stands for
    /// all that it holds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.packets.len()
    }

    /// About how many bytes of memory they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        step!(each self.packets.len());
        self.packets
            .iter()
            .map(|packet| size_of::<Inbound>() + packet.bytes())
            .sum()
    }

    /// Whether the packets are prepared to wait ([`Posted::kept`]).
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Prepares the packets to wait: they must not keep the body of the POST alive.
    #[must_use]
    pub fn kept(mut self) -> Self {
        if !self.is_kept {
            // In their places: a second list of so many packets would cost as much as the first.
            self.packets
                .iter_mut()
                .for_each(|packet| packet.keep_from(Source::Body));
            self.is_kept = true;
        }
        self
    }

    /// Begins a part. Returns its packets.
    pub(super) fn begin_part(&mut self, max: usize) -> &[Inbound] {
        (self.max, self.is_taken) = (max, false);
        let packets = &*self.packets.make_contiguous();
        &packets[..max.min(packets.len())]
    }

    /// The rules have handled the part. If they did not want the packets, nobody does.
    pub(super) fn end_part(&mut self) {
        self.begun = true;
        if !self.is_taken {
            self.drop_rest();
        }
    }

    /// Whether no part has been handled.
    #[must_use]
    pub const fn begins(&self) -> bool {
        !self.begun
    }

    /// Whether there are packets for another part.
    pub(super) fn goes_on(&self) -> bool {
        !self.packets.is_empty()
    }

    /// How many of the packets that have come are counted with the present part. A packet that
    /// stands for several was counted when it came.
    pub(super) fn count_part(&mut self) -> usize {
        let counted = self.uncounted.min(self.max);
        self.uncounted -= counted;
        counted
    }

    /// One of the packets makes the whole POST a bad one: its answer says so.
    pub(super) const fn set_bad(&mut self) {
        self.is_bad = true;
    }

    pub(super) const fn is_bad(&self) -> bool {
        self.is_bad
    }

    /// Takes the packets of this part.
    pub(super) fn next(&mut self) -> Vec<Inbound> {
        self.is_taken = true;
        if self.packets.len() <= self.max {
            return core::mem::take(&mut self.packets).into();
        }
        let packets = self.packets.drain(..self.max).collect();
        if self.packets.len() <= self.packets.capacity() / 2 {
            step!(bulk self.packets.len() * size_of::<Inbound>());
            self.packets.shrink_to_fit();
        }
        packets
    }

    pub(super) fn first(&self) -> Option<&Inbound> {
        self.packets.front()
    }

    pub(super) fn any(&self, is_one: impl Fn(&Inbound) -> bool) -> bool {
        self.packets.iter().any(is_one)
    }

    /// Takes a piece of a stream, which stands last.
    pub(super) fn take_payload(&mut self) -> Option<Inbound> {
        match self.packets.back() {
            Some(Inbound::Payload { .. }) => self.packets.pop_back(),
            _ => None,
        }
    }

    pub(super) fn extend(&mut self, packets: Vec<Inbound>) {
        self.packets.extend(packets);
        self.is_kept = false;
    }

    pub(super) fn replace(&mut self, packets: Vec<Inbound>) {
        self.packets = packets.into();
        self.is_kept = false;
    }

    pub(super) fn drop_rest(&mut self) {
        self.packets = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use bytestring::ByteString;

    use super::*;

    /// What waits is counted: its texts, and the places of its packets.
    #[test]
    fn packets_that_wait_have_a_size() {
        let packet = |text: &'static str| Inbound::Message(ByteString::from_static(text));
        let posted = Posted::new(alloc::vec![packet("four"), packet("sixsix")]);
        assert_eq!(posted.bytes(), 2 * size_of::<Inbound>() + 10);
        assert_eq!(Posted::new(Vec::new()).bytes(), 0);
    }

    /// The places of packets that have gone are given back while the others wait.
    #[test]
    fn packets_that_wait_take_no_more_places_than_twice_their_number() {
        let packet = |_| Inbound::Message(ByteString::from_static("x"));
        let mut posted = Posted::new((0..1_000).map(packet).collect());
        while posted.goes_on() {
            posted.begin_part(7);
            assert!(!posted.next().is_empty());
            let (count, places) = (posted.packets.len(), posted.packets.capacity());
            assert!(places <= 2 * count.max(1), "{count} in {places}");
        }
    }

    /// Packets that wait keep nothing of the body alive, whatever their size is and whenever they
    /// have come.
    #[test]
    fn packets_that_wait_keep_no_body() {
        let whole = Bytes::from(alloc::vec![b'x'; 1_000_000]);
        let packet = |len| Inbound::Message(ByteString::try_from(whole.slice(..len)).unwrap());
        let mut posted = Posted::new(alloc::vec![packet(10), packet(100_000)]);
        let places = posted.packets.as_slices().0.as_ptr();
        posted = posted.kept();
        assert!(whole.is_unique());
        assert_eq!(posted.packets.as_slices().0.as_ptr(), places, "the places are copied");
        posted.extend(alloc::vec![packet(20)]);
        posted = posted.kept();
        assert!(whole.is_unique());
        assert_eq!(posted.count(), 3);
        posted.replace(alloc::vec![packet(200_000)]);
        posted = posted.kept();
        assert!(whole.is_unique());
        assert_eq!(posted.count(), 1);
    }
}
