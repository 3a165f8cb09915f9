//! The use of each link: the table from the caller's names to sessions.

use alloc::vec::Vec;

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
}

impl Links {
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
        // Each entry that is removed was made by one input, so this is constant work for each.
        while self.slots.last().is_some_and(|last| last.used.is_none()) {
            self.slots.pop();
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
}
