//! What is noted of the rules that clients break: a counter for each kind, what the session keeps
//! for its end, and what is told to the log.

use super::{Breach, BreachKind, Core, Delivery, Outputs, Shard, SocketKey, Time};
use crate::id::SessionSlot;

impl Shard {
    /// Disconnects the whole session of a socket, as [`Shard::disconnect`] does, because its client
    /// has broken a rule that the caller keeps. The deliveries of the end say which
    /// ([`Delivery::Disconnect`]).
    pub fn disconnect_for(&mut self, now: Time, socket: SocketKey, breach: Breach, out: &mut Outputs) {
        if let Some(found) = self.core.membership.find(socket) {
            let session = found.session;
            self.core.broke(session, breach, out);
            self.disconnect(now, socket, true, out);
        }
    }
}

impl Core {
    /// The client of a session has broken a rule, and the session is about to end for it.
    #[cold]
    pub(crate) fn broke(&mut self, slot: SessionSlot, breach: Breach, out: &mut Outputs) {
        self.counters.add_broken(breach.kind(), 1);
        self.tell_breach(slot, breach, true, out);
    }

    /// The client of a session has broken a rule so many times, which costs it nothing but what it
    /// has said.
    #[cold]
    pub(crate) fn tolerated(&mut self, slot: SessionSlot, breach: Breach, times: u32, out: &mut Outputs) {
        self.counters.add_broken(breach.kind(), times.into());
        if self.sessions.get(slot).is_some_and(|session| session.breach.is_none()) {
            self.tell_breach(slot, breach, false, out);
        }
    }

    /// A rule was broken on a link that no session has.
    #[cold]
    pub(super) fn broke_unheard(&mut self, breach: Breach, out: &mut Outputs) {
        self.counters.add_broken(breach.kind(), 1);
        out.deliveries.push(Delivery::Breach {
            socket: None,
            session: None,
            ends: true,
            breach,
        });
    }

    fn tell_breach(&mut self, slot: SessionSlot, breach: Breach, ends: bool, out: &mut Outputs) {
        let Some(session) = self.sessions.get_mut(slot) else {
            return;
        };
        session.breach = Some(breach.clone());
        let wire = (session.generation(), session.transport);
        let socket = session.sockets.first().copied();
        out.deliveries.push(Delivery::Breach {
            socket: socket.map(|socket| self.socket_key(socket)),
            session: Some(wire),
            ends,
            breach,
        });
    }
}

/// More waits than the session may keep of what its client has sent.
#[cold]
pub(crate) fn kept_too_much() -> Breach {
    Breach::new(
        BreachKind::Limit,
        "more is kept of what the client has sent than its address has room for",
    )
}
