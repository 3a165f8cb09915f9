//! Events that go to the user without a [`Delivery`](super::Delivery), and answers to pings, which
//! have no outputs.

use super::{LinkId, Role, Session, Shard, SocketKey, Standing, State, Time};
use crate::engine::Packet;
use crate::socket::text::TextEvent;
use crate::wire::Inbound;

impl Shard {
    /// Takes packets of a websocket that are nothing but events for one connected socket. This is
    /// the usual case, and a shard has no part in such events: it only knows the socket that they
    /// are for. `takes` is called with this socket. If it returns true, the caller gives the events
    /// to the user itself, in their order and before anything that a later input delivers. Then the
    /// shard has counted them, and this returns true.
    ///
    /// Otherwise nothing has happened, and the caller calls [`Shard::handle_packets`], which has
    /// the same effect for such packets. This is also so if any client has a limit of what it may
    /// send, or if a transcript is written.
    ///
    /// The cost is a look at the slots of the link and the session, and one comparison for each
    /// namespace of the session and for each packet.
    pub fn take_events(&mut self, link: LinkId, packets: &[Inbound], takes: impl FnOnce(SocketKey) -> bool) -> bool {
        #[cfg(feature = "transcript")]
        if self.recorder.is_some() {
            return false;
        }
        let taken = self.socket_of_events(link, packets).is_some_and(takes);
        if taken {
            self.core.counters.packets_in += packets.len() as u64;
        }
        taken
    }

    /// Takes the only packet of a read, if it is the answer of a websocket to a ping. Such an answer
    /// delivers nothing and writes nothing: it only moves the next heartbeat. Returns whether it has
    /// been taken. Otherwise nothing has happened, and the caller calls [`Shard::handle_packets`],
    /// which has the same effect. This is also so if something else has to be done at the next
    /// input, if any client has a limit of what it may send, or if a transcript is written.
    pub fn take_pong(&mut self, now: Time, link: LinkId, packets: &[Inbound]) -> bool {
        #[cfg(feature = "transcript")]
        if self.recorder.is_some() {
            return false;
        }
        let ([Inbound::Engine(Packet::Pong(_))], Some((key, Role::WebSocket))) = (packets, self.core.links.get(link))
        else {
            return false;
        };
        let core = &mut self.core;
        let is_quiet = core.departing.is_empty() && core.overfull.is_empty() && !core.measures;
        let takes = |session: &&mut Session| {
            session.wiring.engine().is_some() && session.state == State::Open && !session.reassembly.is_pending()
        };
        let Some(session) = self.sessions.named_mut(key).filter(takes).filter(|_| is_quiet) else {
            return false;
        };
        core.counters.packets_in += 1;
        session.hear_pong(now, key, &mut core.timers);
        true
    }

    /// The connected socket that all these packets are events for, if there is such a socket.
    #[inline]
    fn socket_of_events(&self, link: LinkId, packets: &[Inbound]) -> Option<SocketKey> {
        let (first, others) = packets.split_first()?;
        let namespace = event_in(first)?.namespace();
        let (key, role) = self.core.links.get(link)?;
        let session = self.sessions.named(key)?;
        let passes_on = role == Role::WebSocket
            && session.wiring.engine().is_some()
            && session.state == State::Open
            && !session.reassembly.is_pending()
            && !self.core.measures;
        let (socket, standing) = self.core.membership.in_namespace(&session.sockets, namespace)?;
        let is_for_it = |packet| event_in(packet).is_some_and(|event| event.namespace() == namespace);
        let all_pass = passes_on && standing == Standing::Connected && others.iter().all(is_for_it);
        all_pass.then(|| self.core.membership.key(socket))
    }
}

#[inline]
const fn event_in(packet: &Inbound) -> Option<&TextEvent> {
    match packet {
        Inbound::Event(event) => Some(event),
        _ => None,
    }
}
