//! What the sessions of a shard hold, and what it holds itself, for the simulator (feature
//! `steps`).

use super::{SessionKey, Shard};
use crate::holding::Holding;
use crate::server::holding::{CommonHolding, SessionHolding};

impl Shard {
    /// Tells what each session holds. Messages, rooms and lists are shared: each session that has a
    /// message counts it.
    pub fn holding_of_each(&self, mut tell: impl FnMut(SessionKey, SessionHolding)) {
        for slot in self.sessions.slots() {
            let key = SessionKey {
                slot,
                generation: self.sessions.generation(slot),
            };
            let Some(session) = self.sessions.get(slot) else {
                continue;
            };
            let mut holding = session.holding();
            for socket in session.sockets.iter() {
                holding.others = holding.others.and(self.core.membership.holding_of(*socket));
            }
            tell(key, holding);
        }
    }

    /// What the shard holds for nobody: its tables, and the lists and buffers that it uses again.
    pub fn holding_of_nobody(&self) -> CommonHolding {
        let core = &self.core;
        let lists = [&core.departing, &core.overfull, &core.roomy];
        let lists = lists.map(|list| Holding::list::<SessionKey>(list.capacity()));
        let tables = self
            .sessions
            .holding()
            .and(core.links.holding())
            .and(core.timers.holding())
            .and(core.lobby.holding())
            .and(core.membership.holding())
            .and(Holding::list::<super::SessionSlot>(core.ready.capacity()))
            .and(Holding::list::<(SessionKey, super::Measured)>(core.hasty.capacity()))
            .with_all(lists);
        CommonHolding {
            tables,
            buffers: Holding::memory(core.buffer.capacity()),
            ..CommonHolding::default()
        }
    }
}
