//! Room for sessions: how they are counted, which session is ended when there is no room, and how
//! many bytes a session may keep.

use alloc::boxed::Box;
use core::net::IpAddr;

use super::{At, Core, Handshake, Input, Session, SessionQuota, Shard, Standing, State, Time, recording};
use crate::id::SocketSlot;
use crate::server::quota::{NoRoom, SESSION_BYTES};

/// The most sessions that are ended to make room for one. More would be work that the new session
/// does not pay for.
const MAX_EVICTED: usize = 4;

/// The bytes that a session keeps are counted in steps of this size, so that the quota is not
/// called for each message.
const STEP: usize = 64 * 1024;

/// The bytes that a session may keep in addition to the counted bytes. On average they are part of
/// [`SESSION_BYTES`].
const ALLOWANCE: usize = 4 * 1024;

impl Shard {
    /// Sets the quota that counts sessions from now on, instead of the shard's own quota. Call it
    /// before there are sessions. The shards of one server get handles of one quota.
    pub fn share_quota(&mut self, quota: Box<dyn SessionQuota>) {
        debug_assert!(
            self.sessions.len() == 0,
            "sessions are given back to the quota that counted them"
        );
        recording::share(&mut self.core.quota, quota);
    }
}

impl Input<'_> {
    /// Counts a new session. If there is no room, sessions that have joined nothing are ended, the
    /// oldest first. If the address has no room, they are sessions of this address. False if there
    /// is still no room.
    pub(crate) fn make_room(&mut self, handshake: &Handshake) -> bool {
        if self.shard.core.quota.is_crowded() {
            self.evict_late();
        }
        let address = address_of(handshake);
        for _ in 0..=MAX_EVICTED {
            step!();
            let core = &mut self.shard.core;
            let oldest = match core.quota.enter(address, SESSION_BYTES + handshake.bytes()) {
                Ok(()) => return true,
                Err(NoRoom::Total) => core.lobby.oldest(),
                Err(NoRoom::Address) => address.and_then(|address| core.lobby.oldest_of(core.quota.network(address))),
            };
            let Some(session) = oldest else { return false };
            self.at(session, |at: At<'_>| at.evict());
        }
        false
    }

    /// In a crowd, ends sessions that have joined nothing within
    /// [`Config::crowded_connect_timeout`](crate::Config::crowded_connect_timeout). For each new
    /// session, two are ended, so their number falls.
    fn evict_late(&mut self) {
        let (now, timeout) = (self.now, self.shard.core.config.crowded_connect_timeout);
        for _ in 0..2 {
            step!();
            let oldest = self.shard.core.lobby.oldest();
            let is_late = |session: &Session| now.saturating_since(session.handshake.issued) >= timeout;
            match oldest.filter(|key| self.shard.sessions.named(*key).is_some_and(is_late)) {
                Some(session) => self.at(session, |at: At<'_>| at.evict()),
                None => return,
            };
        }
    }
}

impl<G> At<'_, G> {
    /// The client has done more than open the session. The function reads one flag, so it may be
    /// called for every request.
    pub(crate) fn came_back(&mut self) {
        if self.session.place.is_some() {
            self.session.marks.set_came_back();
            self.leave_lobby();
        }
    }

    /// The session has shown that it is used, and leaves the lobby.
    pub(super) fn leave_lobby(&mut self) {
        let Self { core, session, .. } = self;
        let membership = &core.membership;
        let is_connected = |socket: &SocketSlot| matches!(membership.get(*socket), Some(socket) if socket.standing() == Standing::Connected);
        if session.marks.came_back()
            && session.state == State::Open
            && (session.is_raw() || session.sockets.iter().any(is_connected))
            && let Some(place) = session.place.take()
        {
            let network = address_of(&session.handshake).map(|address| core.quota.network(address));
            core.lobby.leave(place, network);
        }
    }

    /// The session begins in the lobby. A session that has ended, and only waits until its client
    /// is told, enters the lobby too.
    pub(crate) fn enter_lobby(&mut self) {
        let Self { core, session, key, .. } = self;
        if session.place.is_none() {
            let network = address_of(&session.handshake).map(|address| core.quota.network(address));
            session.place = Some(core.lobby.enter(*key, network));
        }
    }

    /// The bytes that the session keeps have changed. False if its address, or the server, has no
    /// room for them. The session has to end then.
    ///
    /// The quota is called only if the bytes are one [`STEP`] more or two steps less than before.
    #[must_use]
    pub(crate) fn weigh(&mut self) -> bool {
        let (kept, reserved) = (self.session.kept_bytes(), self.session.reserved as usize);
        if kept <= reserved + ALLOWANCE && reserved <= kept + 2 * STEP {
            return true;
        }
        let address = address_of(&self.session.handshake);
        let wanted = if kept <= ALLOWANCE {
            0
        } else {
            kept.div_ceil(STEP) * STEP
        };
        match wanted.checked_sub(reserved) {
            Some(more) if self.core.quota.grow(address, more).is_err() => return false,
            Some(_) => {}
            None => self.core.quota.shrink(address, reserved - wanted),
        }
        self.session.reserved = u32::try_from(wanted).unwrap_or(u32::MAX);
        true
    }

    /// Whether the session may ask for a namespace now. Each CONNECT costs the user more than the
    /// client, so there is a limit for each second.
    pub(crate) fn may_connect(&mut self) -> bool {
        let second = self.now.saturating_since(Time::ZERO).as_secs() as u32;
        let session = &mut *self.session;
        if session.connects_in != second {
            (session.connects_in, session.connects) = (second, 0);
        }
        session.connects = session.connects.saturating_add(1);
        session.connects as usize <= self.core.config.max_connects_per_second
    }
}

impl Core {
    /// A session that ends gives back everything that was counted for it.
    pub(super) fn give_back(&mut self, session: &mut Session) {
        let address = address_of(&session.handshake);
        if let Some(place) = session.place.take() {
            self.lobby
                .leave(place, address.map(|address| self.quota.network(address)));
        }
        let reserved = SESSION_BYTES + session.handshake.bytes() + session.reserved as usize;
        self.quota.leave(address, reserved);
    }
}

fn address_of(handshake: &Handshake) -> Option<IpAddr> {
    handshake.peer().address.map(|address| address.ip())
}
