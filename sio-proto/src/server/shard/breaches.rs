//! The records of the rules that clients break: a counter for each kind, the breach that the
//! session keeps for its end, and the report for the log.

use super::recording::noted;
use super::{At, Breach, BreachKind, Delivery, Input, Outputs, Reason, Shard, SocketKey, Time};

impl Shard {
    /// Disconnects the whole session of a socket, like [`Shard::disconnect`], because its client
    /// has broken a rule of the caller. The deliveries of the end name the rule
    /// ([`Delivery::Disconnect`]).
    pub fn disconnect_for(&mut self, now: Time, socket: SocketKey, breach: Breach, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.disconnect_for(socket, &breach);
                false
            },
            {
                let mut input = self.input(now, out);
                input.at_session_of(socket, |mut at| at.broke(breach));
                input.disconnect(socket, true, Reason::ServerNamespaceDisconnect);
                input.depart();
            }
        )
    }
}

impl Input<'_> {
    /// A rule was broken on a link that no session uses.
    #[cold]
    pub(super) fn broke_unheard(&mut self, breach: Breach) {
        self.shard.core.counters.add_broken(breach.kind(), 1);
        self.out.deliveries.push(Delivery::Breach {
            socket: None,
            session: None,
            ends: true,
            breach,
        });
    }
}

impl<G> At<'_, G> {
    /// The client has broken a rule, and the session is going to end because of it.
    #[cold]
    pub(crate) fn broke(&mut self, breach: Breach) {
        self.core.counters.add_broken(breach.kind(), 1);
        self.tell_breach(breach, true);
    }

    /// The client has broken a rule this many times. Only the packets concerned are lost.
    #[cold]
    pub(crate) fn tolerated(&mut self, breach: Breach, times: u32) {
        self.core.counters.add_broken(breach.kind(), times.into());
        if self.session.breach().is_none() {
            self.tell_breach(breach, false);
        }
    }

    fn tell_breach(&mut self, breach: Breach, ends: bool) {
        let socket = self.session.sockets.first().copied();
        self.session.rare_mut().breach = Some(breach.clone());
        self.out.deliveries.push(Delivery::Breach {
            socket: socket.map(|socket| self.core.socket_key(socket)),
            session: Some((self.session.generation(), self.session.transport)),
            ends,
            breach,
        });
    }
}

/// The breach of a client whose data is more than the session may keep.
#[cold]
pub(crate) fn kept_too_much() -> Breach {
    Breach::new(
        BreachKind::Limit,
        "more is kept of what the client has sent than its address has room for",
    )
}
