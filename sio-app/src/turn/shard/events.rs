//! Events that go from a connection to the turn, and answers to pings, without the outputs of the
//! shard.

use std::sync::Arc;

use sio_proto::LinkId;
use sio_proto::engine::Packet;
use sio_proto::server::EventsIn;
use sio_proto::socket::text::Decoded;
use sio_proto::wire::Inbound;

use super::{ShardCell, State};
use crate::turn::Turn;

impl ShardCell {
    /// Does all that follows from the packets of a websocket, if they are nothing but events for
    /// one socket, or the answer to a ping. The list of packets is empty then. Otherwise this
    /// returns false, and nothing has happened.
    #[inline]
    pub(crate) fn take_packets(&self, turn: &Turn, link: LinkId, packets: &mut Vec<Inbound>) -> bool {
        match &packets[..] {
            [
                Inbound::Event(_) | Inbound::Partial(_) | Inbound::Socket(Decoded::Partial(_)),
                ..,
            ] => self.take_events(turn, link, packets),
            [Inbound::Engine(Packet::Pong(_))] => self.take_pong(turn, link, packets),
            _ => false,
        }
    }

    /// Gives the answer to a ping to the shard. It has no outputs, so nothing is written for it.
    #[inline(never)]
    fn take_pong(&self, turn: &Turn, link: LinkId, packets: &mut Vec<Inbound>) -> bool {
        let (taken, timer) = {
            let mut state = self.state.lock_for("pong");
            let now = state.time(turn);
            let taken = state.shard.take_pong(now, link, packets);
            (taken, if taken { state.rearm() } else { None })
        };
        if taken {
            packets.clear();
        }
        if let Some(timer) = timer {
            timer.wake();
        }
        taken
    }

    /// Gives packets of a websocket to the turn, if all of them are events for one socket, and
    /// nobody else works for the socket. The list of packets is empty then. Otherwise this returns
    /// false, and nothing has happened.
    ///
    /// Under the lock of the shard, the socket is found and its mailbox is taken. So events of one
    /// socket are handled in the order in which they came, as deliveries are.
    #[inline]
    fn take_events(&self, turn: &Turn, link: LinkId, packets: &mut Vec<Inbound>) -> bool {
        let Some(events) = EventsIn::of(packets, &self.config.packet) else {
            return false;
        };
        let mut taken = None;
        {
            let mut state = self.state.lock_for("events");
            let State { shard, sockets, .. } = &mut *state;
            shard.take_events(link, &events, |key| {
                let socket = sockets.get(key.slot()).and_then(Option::as_ref);
                let socket = socket.filter(|socket| socket.key == key);
                taken = socket
                    .filter(|socket| socket.mailbox.admit_all(turn.owner(), events.count()))
                    .map(Arc::clone);
                taken.is_some()
            });
        }
        let Some(socket) = taken else { return false };
        turn.add_events(socket, packets);
        true
    }
}
