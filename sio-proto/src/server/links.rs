//! The use of each link: the table from the caller's names to sessions.

use alloc::vec::Vec;

#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::{LinkId, SessionKey};

/// How a session uses a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A GET that waits for packets.
    Parked,
    /// A POST whose body is still coming.
    Post,
    /// The session's websocket.
    WebSocket,
    /// The session's endless answer.
    Stream,
    /// A websocket that may become the session's transport.
    Candidate,
    /// The connection on which a poll was answered, until its next request.
    Answered,
    /// A websocket or stream that the session has given up, and whose packets have to come back.
    Replaced,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u32,
    used: Option<(SessionKey, Role)>,
}

// Every connection has one.
const _: () = assert!(size_of::<Slot>() <= 16);

/// Table indexed by [`LinkId::slot`]. An entry of another generation does not count.
#[derive(Debug, Default)]
pub(crate) struct Links {
    slots: Vec<Slot>,
    /// How many unused entries may be removed from the end.
    paid: usize,
}

impl Links {
    #[cfg(feature = "steps")]
    pub(crate) const fn holding(&self) -> Holding {
        Holding::list::<Slot>(self.slots.capacity())
    }

    /// For how many entries there is at least memory.
    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, link: LinkId) -> Option<(SessionKey, Role)> {
        self.slots
            .get(link.slot())
            .filter(|s| s.generation == link.generation())?
            .used
    }

    pub(crate) fn set(&mut self, link: LinkId, session: SessionKey, role: Role) {
        if self.slots.len() <= link.slot() {
            step!(each link.slot() - self.slots.len());
            self.slots.resize(
                link.slot() + 1,
                Slot {
                    generation: 0,
                    used: None,
                },
            );
        }
        self.slots[link.slot()] = Slot {
            generation: link.generation(),
            used: Some((session, role)),
        };
    }

    pub(crate) fn clear(&mut self, link: LinkId) {
        if let Some(slot) = self
            .slots
            .get_mut(link.slot())
            .filter(|s| s.generation == link.generation())
        {
            slot.used = None;
        }
        // Each entry that is cleared pays for one that is removed. A client whose link has a high
        // number sets and clears its entry with each poll, and must not make all entries before it
        // come and go.
        self.paid = self.slots.len().min(self.paid + 1);
        while self.paid > 0 && self.slots.last().is_some_and(|last| last.used.is_none()) {
            step!();
            self.slots.pop();
            self.paid -= 1;
        }
        let room = self.slots.capacity();
        if room > 1024 && self.slots.len() < room / 4 {
            self.slots.shrink_to(2 * self.slots.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionSlot;

    #[test]
    fn a_reused_slot_does_not_answer_to_its_old_name() {
        let session = SessionKey {
            slot: SessionSlot(1),
            generation: 1,
        };
        let mut links = Links::default();
        let (old, new) = (LinkId::new(3, 0), LinkId::new(3, 1));
        links.set(old, session, Role::Parked);
        links.set(new, session, Role::WebSocket);
        assert_eq!(links.get(old), None);
        links.clear(old);
        assert_eq!(links.get(new), Some((session, Role::WebSocket)));
        links.clear(new);
        assert_eq!(links.get(new), None);
    }

    /// A poll sets an entry and clears it. It costs the same whatever number its link has.
    #[test]
    fn a_link_with_a_high_number_is_not_made_room_for_again() {
        const HIGHEST: u32 = 100_000;
        let session = SessionKey {
            slot: SessionSlot(1),
            generation: 1,
        };
        let mut links = Links::default();
        let mut made = 0;
        for poll in 0..1_000 {
            let before = links.len();
            let link = LinkId::new(HIGHEST, poll);
            links.set(link, session, Role::Parked);
            made += links.len() - before;
            links.clear(link);
        }
        assert!(made < HIGHEST as usize + 2_000, "{made}");
    }

    /// Hardening A16: a crowd that goes takes its entries along, in whatever order it goes.
    #[test]
    fn a_crowd_that_has_gone_leaves_no_entries() {
        let session = SessionKey {
            slot: SessionSlot(1),
            generation: 1,
        };
        for step in [1, 7, 4_999] {
            let mut links = Links::default();
            let crowd = (0..5_000).map(|at| LinkId::new(at * step % 5_000, 0));
            crowd.clone().for_each(|link| links.set(link, session, Role::WebSocket));
            let (mut room, mut steps) = (links.slots.capacity(), 0);
            for link in crowd {
                links.clear(link);
                steps += usize::from(links.slots.capacity() != room);
                room = links.slots.capacity();
            }
            assert!(steps < 20, "each step copies what is left: {steps}");
            assert_eq!(links.len(), 0);
            assert!(links.slots.capacity() <= 1024, "{}", links.slots.capacity());
        }
    }
}
