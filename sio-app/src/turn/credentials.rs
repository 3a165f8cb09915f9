//! The end of credentials: when a socket's time is over, and which sockets a revocation ends.
//!
//! ```text
//!   deadline  Socket::expires_at ─► the socket's expiry ─► the shard's expiries ─► Shard::dismiss
//!   revoke    connected: asked now │ asking to be let in: a doubt, asked when it is │ away: asked now
//! ```
//! A socket that is not connected has its expiry without an entry in the shard. It gets the entry
//! when it is let in. The entry goes with the socket, so there is at most one for each socket.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sio_proto::server::{Outputs, Reason};
use sio_proto::{SocketKey, Time};

use crate::guarded::guarded;
use crate::turn::comeback::Present;
use crate::turn::order::{Order, carry_out};
use crate::turn::refusal::Refusal;
use crate::turn::shard::State;
use crate::turn::shards::Shards;
use crate::turn::socket::SocketCell;
use crate::turn::work;

/// How many sockets are ended, or looked at, before the lock is released.
const AT_ONCE: usize = 256;

/// When the credentials of a socket end.
#[derive(Debug)]
pub(super) struct Expiry(AtomicU64);

impl Expiry {
    const NEVER: u64 = u64::MAX;

    pub(super) fn get(&self) -> Option<Time> {
        match self.0.load(Ordering::Relaxed) {
            Self::NEVER => None,
            micros => Some(Time::from_micros(micros)),
        }
    }

    pub(super) fn set(&self, at: Option<Time>) {
        self.0.store(at.map_or(Self::NEVER, Time::as_micros), Ordering::Relaxed);
    }
}

impl Default for Expiry {
    fn default() -> Self {
        Self(AtomicU64::new(Self::NEVER))
    }
}

/// When the credentials of the connected sockets of a shard end, the first first.
#[derive(Default)]
pub(crate) struct Expiries(BTreeMap<(Time, usize), SocketKey>);

impl Expiries {
    /// Returns when the first of them end.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.first_key_value().map(|((at, _), _)| *at)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl State {
    /// Ends the sockets whose time is over, at most [`AT_ONCE`] of them. Returns whether there are
    /// more.
    pub(crate) fn end_expired(&mut self, now: Time, out: &mut Outputs) -> bool {
        for _ in 0..AT_ONCE {
            let due = self.expiries.0.first_entry().filter(|entry| entry.key().0 <= now);
            let Some(socket) = due.map(|entry| entry.remove()) else {
                return false;
            };
            self.shard.dismiss(now, socket, Reason::CredentialsExpired, out);
        }
        self.expiries.next().is_some_and(|next| next <= now)
    }

    /// Returns up to `max` sockets from this slot on, and the slot to go on with, unless there are
    /// no more.
    fn sockets_from(&self, slot: usize, max: usize) -> (Vec<Arc<SocketCell>>, Option<usize>) {
        let end = self.sockets.len().min(slot + max);
        let sockets = self.sockets.get(slot..end).unwrap_or_default();
        let found = sockets.iter().flatten().cloned().collect();
        (found, (end < self.sockets.len()).then_some(end))
    }

    /// Makes an entry for a socket that has been let in, if its credentials end.
    pub(super) fn keep_expiry(&mut self, socket: &SocketCell) {
        if let Some(at) = socket.expiry() {
            self.expiries.0.insert((at, socket.key.slot()), socket.key);
        }
    }

    /// Removes the entry of a socket.
    pub(super) fn forget_expiry(&mut self, socket: &SocketCell) {
        if !self.expiries.0.is_empty()
            && let Some(at) = socket.expiry()
            && self.expiries.0.get(&(at, socket.key.slot())) == Some(&socket.key)
        {
            self.expiries.0.remove(&(at, socket.key.slot()));
        }
    }
}

impl SocketCell {
    /// Returns when the socket's credentials end.
    pub(crate) fn expiry(&self) -> Option<Time> {
        self.expiry_place(false)?.get()
    }

    /// Whether the time of the socket's credentials is over.
    pub(crate) fn has_expired(&self) -> bool {
        self.expiry().is_some_and(|at| at <= self.now())
    }

    /// Sets when the credentials of the socket's client end. `None` means never. If the client has
    /// come back with another socket, the deadline is that of the other one.
    pub(crate) fn expire_at(self: &Arc<Self>, at: Option<Time>) {
        let holder = |socket: &Arc<Self>| match socket.present() {
            Present::Here(present) | Present::Away(present) => present,
            Present::Gone => Arc::clone(socket),
        };
        let mut found = holder(self);
        loop {
            found.expire_itself_at(at);
            // The client may have come back meanwhile, with the deadline of before.
            let now = holder(self);
            if Arc::ptr_eq(&now, &found) {
                return;
            }
            found = now;
        }
    }

    /// Takes over a deadline that the socket of before was given since its client was recognised.
    /// If a middleware has set one for this socket meanwhile, the earlier of the two counts.
    /// `recognised` is the deadline that both had when the client was recognised.
    pub(super) fn follow_expiry_of(&self, old: &Self, recognised: Option<Time>) {
        let (theirs, own) = (old.expiry(), self.expiry());
        if theirs == recognised {
            return;
        }
        let at = match own == recognised {
            true => theirs,
            false => own.into_iter().chain(theirs).min(),
        };
        if let Some(expiry) = self.expiry_place(true) {
            expiry.set(at);
        }
    }

    fn expire_itself_at(&self, at: Option<Time>) {
        if at.is_none() && self.expiry_place(false).is_none() {
            return;
        }
        let timer = self.cell.ask("expire at", |state| {
            state.forget_expiry(self);
            if let Some(expiry) = self.expiry_place(true) {
                expiry.set(at);
            }
            if self.is_connected() && state.socket(self.key).is_some() {
                state.keep_expiry(self);
            }
            state.rearm()
        });
        if let Some(timer) = timer {
            timer.wake();
        }
        self.cell.recovery.socket_changed(self);
    }

    /// Makes the socket leave its namespace, because its credentials have ended.
    pub(crate) fn dismiss_for(self: &Arc<Self>, reason: Reason) {
        // The end of one socket does not fail.
        let _ = carry_out(Order::Dismiss { to: self, reason });
    }
}

/// The function of a revocation. It says whether the revocation concerns a socket. It is user code,
/// so it is called and dropped under no lock.
#[derive(Clone)]
pub(crate) struct Doubt(Arc<DoubtFn>);

type DoubtFn = dyn Fn(&Arc<SocketCell>) -> bool + Send + Sync;

impl Doubt {
    pub(crate) fn new(concerns: impl Fn(&Arc<SocketCell>) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(concerns))
    }

    pub(super) fn concerns(&self, socket: &Arc<SocketCell>) -> bool {
        (self.0)(socket)
    }
}

impl fmt::Debug for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doubt")
    }
}

impl Shards {
    /// Ends all sockets that a revocation concerns, and the records of those whose clients are
    /// away. Sockets that ask to be let in are asked about when their namespace has decided.
    /// Returns how many sockets and records it has ended.
    ///
    /// Sockets come before records: a client that is cut after its shard was looked through is then
    /// found by its record, and a client that comes back after that finds no record.
    pub(crate) fn revoke(&self, doubt: &Doubt) -> usize {
        let mut ended = 0;
        for cell in &self.cells {
            let mut next = Some(0);
            while let Some(slot) = next {
                let (found, following) = cell.ask("revoke", |state| {
                    let (mut found, following) = state.sockets_from(slot, AT_ONCE);
                    found.retain(|socket| !socket.leave_doubt(doubt));
                    (found, following)
                });
                for socket in found.into_iter().filter(|socket| doubt.concerns(socket)) {
                    socket.dismiss_for(Reason::CredentialsRevoked);
                    ended += 1;
                }
                next = following;
            }
        }
        for keys in self.recovery.keys().chunks(AT_ONCE) {
            for (key, socket) in self.recovery.sockets(keys) {
                // The values of a socket of another process have not been read yet.
                socket.thaw();
                let mut present = Some(socket);
                // The client may come back with another socket again and again.
                while let Some(socket) = present.take_if(|socket| !socket.is_final() && doubt.concerns(socket)) {
                    ended += 1;
                    present = self.recovery.revoke(key, &socket);
                    if present.as_ref().is_some_and(|left| Arc::ptr_eq(left, &socket)) {
                        socket.dismiss_for(Reason::CredentialsRevoked);
                        present = self.recovery.revoke(key, &socket);
                    }
                }
            }
        }
        // No later process recovers them.
        self.recovery.settle((self.runtime.now)(), || false);
        ended
    }
}

impl SocketCell {
    /// Leaves the question of a revocation for the time at which the socket is let in. Returns
    /// false if the socket does not ask to be let in. Its shard is locked.
    fn leave_doubt(&self, doubt: &Doubt) -> bool {
        self.prepare(|entry| entry.doubts.push(doubt.clone())).is_some()
    }
}

/// Returns a refusal if the credentials of a socket have ended before it is let in: their time is
/// over, or a revocation that came meanwhile concerns the socket.
pub(super) fn ended_meanwhile(socket: &Arc<SocketCell>, doubts: &[Doubt]) -> Option<Refusal> {
    if socket.has_expired() {
        return Some(Refusal::new(Reason::CredentialsExpired.as_str()));
    }
    concerns(socket, doubts).then(|| Refusal::new(Reason::CredentialsRevoked.as_str()))
}

/// Whether one of these revocations concerns a socket. If its function panics, the answer is yes.
pub(super) fn concerns(socket: &Arc<SocketCell>, doubts: &[Doubt]) -> bool {
    doubts.iter().any(|doubt| {
        guarded(|| doubt.concerns(socket)).unwrap_or_else(|panic| {
            work::report(socket, "revoke", &panic);
            true
        })
    })
}
