//! What this node tells others of its relays.

use bytes::Bytes;

use super::addresses::network;
use super::line::Line;
use super::message::{Body, Final, NodeName, Reset};
use super::{LineId, RelayEnd, RelayOutputs, Relays};
use crate::request::Peer;
use crate::{RelayConfig, Time};

impl Relays {
    /// Passes a request on to another node. `bytes` are the request; the result also says how many
    /// of them were sent. For the rest, call [`Relays::send`] when there is room.
    ///
    /// All limits are asked before anything is sent, and the client's address is charged.
    ///
    /// # Errors
    /// [`RelayEnd::NoBroker`], [`RelayEnd::Gone`] if the node is not known any more, and
    /// [`RelayEnd::NoRoom`]. Nothing is sent then.
    pub fn open(
        &mut self,
        now: Time,
        owner: NodeName,
        peer: Peer,
        bytes: &[u8],
        out: &mut RelayOutputs,
    ) -> Result<(LineId, usize), RelayEnd> {
        let opened = self.may_open(now, owner, peer);
        if let Err(why) = opened {
            self.counters.outgoing.end(why);
            return Err(why);
        }
        let number = self.next_line;
        self.next_line = self.next_line.wrapping_add(1);
        let (id, window) = (LineId::Outgoing(number), self.config.max_waiting_bytes);
        let first = bytes.len().min(RelayConfig::FIRST_BYTES as usize);
        let address = peer.address.map(|address| network(address.ip()));
        let mut line = Line::new(now, owner, address, RelayConfig::FIRST_BYTES, window, window);
        line.send(now, first);
        line.waits = first < bytes.len();
        self.outgoing.insert(number, line);
        self.roster.begin_line(now, owner, &self.config);
        self.look = self.look.min(now + self.config.probe_interval);
        self.schedule(now, id);
        self.counters.outgoing.total += 1;
        self.counters.outgoing.bytes_out += first as u64;
        let body = Body::Open {
            window,
            peer,
            bytes: Bytes::copy_from_slice(&bytes[..first]),
        };
        self.tell(now, id, owner, body, out);
        Ok((id, first))
    }

    fn may_open(&mut self, now: Time, owner: NodeName, peer: Peer) -> Result<(), RelayEnd> {
        if !self.is_ready() {
            return Err(RelayEnd::NoBroker);
        }
        if !self.roster.knows(owner) {
            return Err(RelayEnd::Gone);
        }
        let address = peer.address.map(|address| address.ip());
        if self.outgoing.len() >= self.config.max_relays || !self.addresses.enter(now, address, &self.config) {
            return Err(RelayEnd::NoRoom);
        }
        Ok(())
    }

    /// Sends bytes of a relay, as many as the other node takes now, and returns how many these are.
    /// If some are left, [`RelayDelivery::Room`](super::RelayDelivery::Room) says when to come
    /// again. The bytes are copied. One call is one message, or none.
    ///
    /// With `end`, the answer ends behind the bytes: if all of them are sent, the relay has ended.
    /// Only the owner ends answers.
    pub fn send(&mut self, now: Time, id: LineId, bytes: &[u8], end: Option<Final>, out: &mut RelayOutputs) -> usize {
        let Some(line) = self.line(id) else { return 0 };
        let taken = bytes.len().min(line.room());
        line.waits = taken < bytes.len();
        let end = end.filter(|_| taken == bytes.len());
        if taken == 0 && end.is_none() {
            return 0;
        }
        let (position, peer) = (line.send(now, taken), line.peer);
        self.traffic(id).bytes_out += taken as u64;
        let body = Body::Data {
            position,
            end,
            bytes: Bytes::copy_from_slice(&bytes[..taken]),
        };
        self.tell(now, id, peer, body, out);
        if end.is_some() {
            let _ = self.remove(id, RelayEnd::Answered);
        }
        taken
    }

    /// How many bytes [`Relays::send`] takes now. If there is no room,
    /// [`RelayDelivery::Room`](super::RelayDelivery::Room) says when there is.
    pub fn room(&mut self, id: LineId) -> usize {
        let Some(line) = self.line(id) else { return 0 };
        let room = line.room();
        line.waits |= room == 0;
        room
    }

    /// Tells the other node that a relay is taken up, and that its client waits for the answer.
    pub fn take_up(&mut self, now: Time, id: LineId, out: &mut RelayOutputs) {
        let Some(line) = self.line(id) else { return };
        line.told = now;
        let (allowed, peer) = (line.grant(), line.peer);
        self.tell(now, id, peer, Body::Credit { allowed }, out);
    }

    /// Says how many of the bytes that have come still wait on this node. The other node may send
    /// as many more; it is told when it is worth a message.
    pub fn keep(&mut self, now: Time, id: LineId, waiting: usize, out: &mut RelayOutputs) {
        let Some(line) = self.line(id) else { return };
        let tells = line.keep(waiting);
        if tells.is_some() {
            line.told = now;
        }
        let peer = line.peer;
        self.note_waiting(id);
        if let Some(allowed) = tells {
            self.tell(now, id, peer, Body::Credit { allowed }, out);
        }
    }

    /// Gives a relay up: its connection was closed, on either side.
    pub fn reset(&mut self, now: Time, id: LineId, reset: Reset, out: &mut RelayOutputs) {
        let why = match (id, reset) {
            (_, Reset::NoRoom) => RelayEnd::NoRoom,
            (_, Reset::Broken | Reset::Unknown) => RelayEnd::Broken,
            (LineId::Outgoing(_), Reset::Closed | Reset::Failed) => RelayEnd::ByClient,
            (LineId::Incoming(..), Reset::Closed | Reset::Failed) => RelayEnd::ByOwner,
        };
        if let Some(removed) = self.remove(id, why) {
            self.tell(now, id, removed.peer, Body::Reset(reset), out);
        }
    }
}
