//! What the connections of a server hold, and what it holds itself, for the simulator (feature
//! `steps`).

use super::{Connection, Output, Server, Slot};
use crate::holding::Holding;
use crate::server::holding::{CommonHolding, ConnectionHolding, SessionHolding};
use crate::wire::Inbound;
use crate::{LinkId, SessionKey, Time};

impl Connection {
    fn holding(&self) -> ConnectionHolding {
        let slowed = self.slowed.as_ref().map_or_else(Holding::default, |slowed| {
            let post = slowed.post.as_ref();
            let packets = Holding::list::<Inbound>(slowed.packets.capacity());
            let request = post.map(|(request, posted)| request.http.headers.bytes() + posted.bytes());
            packets
                .with(slowed.packets.iter().map(Inbound::bytes))
                .with(request)
                .and(Holding::memory(size_of_val(&**slowed)))
        });
        let pong = self.blocked.as_ref().map(|blocked| blocked.pong.len());
        let outgoing = self.outgoing.as_ref().map_or_else(Holding::default, |it| it.holding());
        ConnectionHolding {
            arriving: Holding::memory(self.rest_memory).and(self.conn.holding()),
            slowed,
            leaving: outgoing.with(pong),
            others: Holding::memory(size_of::<Self>()),
        }
    }
}

impl Server {
    /// Tells what each session holds.
    pub fn holding_of_sessions(&self, tell: impl FnMut(SessionKey, SessionHolding)) {
        self.as_shard().holding_of_each(tell);
    }

    /// Tells what each connection holds.
    pub fn holding_of_each(&self, mut tell: impl FnMut(LinkId, ConnectionHolding)) {
        for (number, slot) in (0..).zip(&self.connections) {
            if let Some(connection) = &slot.connection {
                tell(LinkId::new(number, slot.generation), connection.holding());
            }
        }
    }

    /// What the server and its shard hold for nobody: tables, and the lists and buffers that are
    /// used again.
    pub fn holding_of_nobody(&self) -> CommonHolding {
        let links = [self.resumed.capacity(), self.outgoing.capacity()];
        let own = CommonHolding {
            tables: Holding::list::<Slot>(self.connections.capacity())
                .and(Holding::list::<u32>(self.free.capacity()))
                .and(Holding::tree::<(Time, LinkId)>(self.slow.len()))
                .with_all(links.map(Holding::list::<LinkId>)),
            outputs: self
                .outputs
                .holding()
                .and(Holding::list::<Output>(self.queue.capacity())),
            arrivals: self.arrivals.holding(),
            buffers: Holding::memory(self.scratch.capacity()).and(self.arrivals.pongs.holding()),
        };
        self.as_shard().holding_of_nobody().and(own)
    }
}
