//! Room for sessions: what they are counted by, who goes when there is none, and how much a session
//! may keep.

use alloc::boxed::Box;
use core::net::IpAddr;
use core::time::Duration;

use super::{Core, Handshake, Outputs, SessionQuota, Shard, Standing, State, Time, recording};
use crate::id::{SessionSlot, SocketSlot};
use crate::server::quota::{NoRoom, SESSION_BYTES};

/// Most sessions that go to make room for one: more would be work that the new one does not pay
/// for.
const MAX_EVICTED: usize = 4;

/// What a session keeps is counted in steps of so many bytes, so that the quota is not asked for
/// each message.
const STEP: usize = 64 * 1024;

/// So much a session may keep beside what has been counted for it. It is part of [`SESSION_BYTES`]
/// in the mean.
const ALLOWANCE: usize = 4 * 1024;

impl Shard {
    /// Has sessions counted by `quota` from here on, instead of by a quota of the shard's own. Call
    /// it before there are any. Shards of one server are given handles of the same quota.
    pub fn share_quota(&mut self, quota: Box<dyn SessionQuota>) {
        debug_assert!(
            self.core.sessions.len() == 0,
            "sessions are given back to the quota that counted them"
        );
        recording::share(&mut self.core.quota, quota);
    }
}

impl Core {
    /// Counts a new session. When there is no room, sessions that have joined nothing go, the
    /// oldest first, of the same address if that is what has no room. False if there is no room
    /// nevertheless.
    pub(crate) fn make_room(&mut self, now: Time, handshake: &Handshake, out: &mut Outputs) -> bool {
        if self.quota.is_crowded() {
            self.evict_late(now, out);
        }
        let address = address_of(handshake);
        for _ in 0..=MAX_EVICTED {
            let oldest = match self.quota.enter(address, SESSION_BYTES + handshake.bytes()) {
                Ok(()) => return true,
                Err(NoRoom::Total) => self.lobby.oldest(),
                Err(NoRoom::Address) => address.and_then(|address| self.lobby.oldest_of(self.quota.network(address))),
            };
            let Some(slot) = oldest else { return false };
            self.evict(slot, out);
        }
        false
    }

    /// In a crowd, those who have joined nothing in
    /// [`Config::crowded_connect_timeout`](crate::Config::crowded_connect_timeout) go. Two for each
    /// that comes: so they become fewer.
    fn evict_late(&mut self, now: Time, out: &mut Outputs) {
        for _ in 0..2 {
            let Some(slot) = self.lobby.oldest() else { return };
            let age = |core: &Self| {
                let session = core.sessions.get(slot)?;
                Some(now.saturating_since(session.handshake.issued))
            };
            if age(self).unwrap_or(Duration::ZERO) < self.config.crowded_connect_timeout {
                return;
            }
            self.evict(slot, out);
        }
    }

    /// The client of a session has done more than to open it. Looks at one flag, so it may be
    /// called for every request.
    pub(crate) fn came_back(&mut self, slot: SessionSlot) {
        if let Some(session) = self.sessions.get_mut(slot)
            && session.place.is_some()
        {
            session.came_back = true;
            self.leave_lobby(slot);
        }
    }

    /// A session that is wanted leaves the lobby.
    pub(super) fn leave_lobby(&mut self, slot: SessionSlot) {
        let membership = &self.membership;
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        let is_connected = |socket: &SocketSlot| matches!(membership.get(*socket), Some(socket) if socket.standing == Standing::Connected);
        if session.came_back
            && session.state == State::Open
            && (session.is_raw() || session.sockets.iter().any(is_connected))
            && let Some(place) = session.place.take()
        {
            let network = address_of(&session.handshake).map(|address| self.quota.network(address));
            self.lobby.leave(place, network);
        }
    }

    /// A session begins in the lobby; or it ends and only waits for its client to hear of it.
    pub(crate) fn enter_lobby(&mut self, slot: SessionSlot) {
        let Some(session) = self.sessions.get_mut(slot).filter(|s| s.place.is_none()) else {
            return;
        };
        let network = address_of(&session.handshake).map(|address| self.quota.network(address));
        session.place = Some(self.lobby.enter(slot, network));
    }

    /// A session that has been taken out of its slot gives back what was counted for it.
    pub(super) fn give_back(&mut self, session: &mut super::Session) {
        let address = address_of(&session.handshake);
        if let Some(place) = session.place.take() {
            self.lobby
                .leave(place, address.map(|address| self.quota.network(address)));
        }
        let reserved = SESSION_BYTES + session.handshake.bytes() + session.reserved as usize;
        self.quota.leave(address, reserved);
    }

    /// What a session keeps has changed. False if that is more than its address, or the server, has
    /// room for: then the session has to end.
    ///
    /// The quota is asked only when that is a [`STEP`] more or two less than before.
    #[must_use]
    pub(crate) fn weigh(&mut self, slot: SessionSlot) -> bool {
        let Some(session) = self.sessions.get_mut(slot) else {
            return true;
        };
        let (kept, reserved) = (session.kept_bytes(), session.reserved as usize);
        if kept <= reserved + ALLOWANCE && reserved <= kept + 2 * STEP {
            return true;
        }
        let address = address_of(&session.handshake);
        let wanted = if kept <= ALLOWANCE {
            0
        } else {
            kept.div_ceil(STEP) * STEP
        };
        match wanted.checked_sub(reserved) {
            Some(more) if self.quota.grow(address, more).is_err() => return false,
            Some(_) => {}
            None => self.quota.shrink(address, reserved - wanted),
        }
        session.reserved = u32::try_from(wanted).unwrap_or(u32::MAX);
        true
    }

    /// Whether a session may ask for a namespace now: each CONNECT costs the user more than the
    /// client, so there is a limit for each second.
    pub(crate) fn may_connect(&mut self, now: Time, slot: SessionSlot) -> bool {
        let second = now.saturating_since(Time::ZERO).as_secs() as u32;
        let Some(session) = self.sessions.get_mut(slot) else {
            return false;
        };
        if session.connects_in != second {
            (session.connects_in, session.connects) = (second, 0);
        }
        session.connects = session.connects.saturating_add(1);
        session.connects as usize <= self.config.max_connects_per_second
    }
}

fn address_of(handshake: &Handshake) -> Option<IpAddr> {
    handshake.peer.address.map(|address| address.ip())
}
