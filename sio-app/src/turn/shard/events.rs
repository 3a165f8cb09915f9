//! Events that go from a connection to the turn, without the outputs of the shard.

use std::sync::Arc;

use sio_proto::LinkId;
use sio_proto::wire::Inbound;

use super::{ShardCell, State};
use crate::turn::Turn;

impl ShardCell {
    /// Gives packets of a websocket to the turn, if all of them are events for one socket, and
    /// nobody else works for the socket. The list of packets is empty then. Otherwise this returns
    /// false, and nothing has happened.
    ///
    /// Under the lock of the shard, the socket is found and its mailbox is taken. So events of one
    /// socket are handled in the order in which they came, as deliveries are.
    #[inline]
    pub(crate) fn take_events(&self, turn: &Turn, link: LinkId, packets: &mut Vec<Inbound>) -> bool {
        // Other packets are not worth a lock of their own.
        let (Some(Inbound::Event(_)), Ok(count)) = (packets.first(), u32::try_from(packets.len())) else {
            return false;
        };
        let mut taken = None;
        {
            let mut state = self.state.lock_for("events");
            let State { shard, sockets, .. } = &mut *state;
            shard.take_events(link, packets, |key| {
                let socket = sockets.get(key.slot()).and_then(Option::as_ref);
                let socket = socket.filter(|socket| socket.key == key);
                taken = socket
                    .filter(|socket| socket.mailbox.admit_all(turn.owner(), count))
                    .map(Arc::clone);
                taken.is_some()
            });
        }
        let Some(socket) = taken else { return false };
        turn.add_events(socket, packets);
        true
    }
}
