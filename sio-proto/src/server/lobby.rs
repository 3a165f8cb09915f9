//! Sessions whose clients have not yet shown that they want more than a session, oldest first.
//!
//! A handshake costs its client one request. So a session stays here until a namespace has let it
//! in and its client has come back, with a packet or with a second request. A session also enters
//! the lobby when it only waits until its client is told of its end. When there is no room for a
//! new session, a session of the lobby is ended.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::IpAddr;
use core::num::NonZeroU64;

use crate::SessionKey;
#[cfg(feature = "steps")]
use crate::holding::Holding;

/// A session's place in the lobby. A later place is greater.
pub(crate) type Place = NonZeroU64;

/// The sessions that wait, by age and by network.
#[derive(Debug)]
pub(crate) struct Lobby {
    next: Place,
    by_age: BTreeMap<Place, SessionKey>,
    by_network: BTreeSet<(IpAddr, Place)>,
}

impl Lobby {
    pub(crate) const fn new() -> Self {
        Self {
            next: Place::MIN,
            by_age: BTreeMap::new(),
            by_network: BTreeSet::new(),
        }
    }

    #[cfg(feature = "steps")]
    pub(crate) fn holding(&self) -> Holding {
        let by_age = Holding::tree::<(Place, SessionKey)>(self.by_age.len());
        by_age.and(Holding::tree::<(IpAddr, Place)>(self.by_network.len()))
    }

    /// Adds a session.
    pub(crate) fn enter(&mut self, session: SessionKey, network: Option<IpAddr>) -> Place {
        let place = self.next;
        self.next = place.saturating_add(1);
        self.by_age.insert(place, session);
        if let Some(network) = network {
            self.by_network.insert((network, place));
        }
        place
    }

    pub(crate) fn leave(&mut self, place: Place, network: Option<IpAddr>) {
        self.by_age.remove(&place);
        if let Some(network) = network {
            self.by_network.remove(&(network, place));
        }
    }

    /// The session that has been in the lobby longest.
    pub(crate) fn oldest(&self) -> Option<SessionKey> {
        self.by_age.first_key_value().map(|(_, session)| *session)
    }

    /// The session of this network that has been in the lobby longest.
    pub(crate) fn oldest_of(&self, network: IpAddr) -> Option<SessionKey> {
        let places = (network, Place::MIN)..=(network, Place::MAX);
        let (_, place) = self.by_network.range(places).next()?;
        self.by_age.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionSlot;

    const fn session(slot: u32) -> SessionKey {
        SessionKey {
            slot: SessionSlot(slot),
            generation: 0,
        }
    }

    #[test]
    fn the_oldest_is_found_in_total_and_by_network() {
        let network = |text: &str| text.parse::<IpAddr>().unwrap();
        let (a, b) = (network("192.0.2.1"), network("192.0.2.2"));
        let mut lobby = Lobby::new();
        let places: [Place; 4] = [
            lobby.enter(session(7), Some(a)),
            lobby.enter(session(8), Some(b)),
            lobby.enter(session(9), Some(b)),
            lobby.enter(session(10), None),
        ];
        assert_eq!(
            (lobby.oldest(), lobby.oldest_of(a), lobby.oldest_of(b)),
            (Some(session(7)), Some(session(7)), Some(session(8)))
        );
        lobby.leave(places[0], Some(a));
        lobby.leave(places[1], Some(b));
        assert_eq!(
            (lobby.oldest(), lobby.oldest_of(a), lobby.oldest_of(b)),
            (Some(session(9)), None, Some(session(9)))
        );
        lobby.leave(places[2], Some(b));
        lobby.leave(places[3], None);
        assert_eq!(lobby.oldest(), None);
        assert!(lobby.by_network.is_empty());
    }
}
