//! What other nodes tell this one.

use core::net::IpAddr;

use bytes::Bytes;

use super::addresses::network;
use super::line::{Line, Taken};
use super::message::{Body, Message, NodeName, Reset};
use super::roster::Noted;
use super::signing::RelayMessage;
use super::{LineId, RelayDelivery, RelayEnd, RelayOutputs, Relays, channel_of};
use crate::id::SidKey;
use crate::request::Peer;
use crate::{RelayConfig, Time};

impl Relays {
    /// Takes a message that was read.
    pub(super) fn receive(&mut self, now: Time, message: RelayMessage, out: &mut RelayOutputs) {
        let RelayMessage { is_for_all, content } = message;
        let Some(message) = self.believe(now, content) else {
            return;
        };
        let Message {
            sender,
            line,
            is_answer,
            body,
        } = message;
        if sender == self.name {
            return;
        }
        match body {
            Body::Hello { key, asks } => return self.hello(now, sender, key, asks, out),
            Body::Bye => return self.end_node(now, sender, out),
            _ if is_for_all => {
                self.counters.malformed += 1;
                return;
            }
            Body::Open { .. } | Body::Data { .. } | Body::Credit { .. } | Body::Reset(_) => {}
        }
        let Some(known) = self.roster.get_mut(sender) else {
            self.counters.malformed += 1;
            return self.ask_name(now, sender, out);
        };
        known.heard = now;
        let id = match is_answer {
            true => LineId::Outgoing(line),
            false => LineId::Incoming(sender, line),
        };
        match body {
            Body::Open { window, peer, bytes } => self.opened(now, id, window, peer, bytes, out),
            Body::Data { position, end, bytes } => {
                if !self.concerns(now, id, sender) {
                    // The sender of an end has forgotten the relay itself.
                    if end.is_none() {
                        self.unknown(now, id, sender, out);
                    }
                } else if end.is_some() && !is_answer {
                    self.end(now, id, RelayEnd::Broken, Some(Reset::Broken), out);
                } else {
                    self.data(now, id, position, bytes, end, out);
                }
            }
            Body::Credit { allowed } => {
                if !self.concerns(now, id, sender) {
                    self.unknown(now, id, sender, out);
                } else if self.line(id).is_some_and(|line| line.allow(allowed)) {
                    out.deliveries.push(RelayDelivery::Room { line: id });
                }
            }
            Body::Reset(reset) => {
                if self.concerns(now, id, sender) {
                    self.was_reset(id, reset, out);
                }
            }
            Body::Hello { .. } | Body::Bye => {}
        }
    }

    /// Whether a relay is known and belongs to the node that says something about it. Notes that
    /// something was heard about it.
    fn concerns(&mut self, now: Time, id: LineId, sender: NodeName) -> bool {
        let line = self.line(id).filter(|line| line.peer == sender);
        line.map(|line| line.heard = Some(now)).is_some()
    }

    /// Another node is there.
    fn hello(&mut self, now: Time, sender: NodeName, key: SidKey, asks: bool, out: &mut RelayOutputs) {
        if key == self.key {
            // Two processes with one store: each takes the ids for its own.
            return;
        }
        let Self {
            roster, all, config, ..
        } = self;
        let noted = roster.note(now, sender, key, || channel_of(all, sender), config);
        match noted {
            Noted::Full => self.counters.forgotten += 1,
            Noted::Contradiction => self.counters.malformed += 1,
            Noted::New => self.greet(now, sender, out),
            Noted::Known if asks => self.greet(now, sender, out),
            Noted::Known => {}
        }
    }

    /// Says hello to one node, at most once a second.
    fn greet(&mut self, now: Time, to: NodeName, out: &mut RelayOutputs) {
        let Some(known) = self.roster.get_mut(to) else { return };
        if known.greeted.is_some_and(|last| now < last + Self::GREETING_PAUSE) {
            return;
        }
        known.greeted = Some(now);
        let channel = known.channel.clone();
        let body = Body::Hello {
            key: self.key,
            asks: false,
        };
        self.publish(now, channel, 0, false, body, out);
    }

    /// Asks a node that is not known to say hello, at most one node in a second.
    fn ask_name(&mut self, now: Time, sender: NodeName, out: &mut RelayOutputs) {
        if now < self.ask {
            return;
        }
        self.ask = now + Self::GREETING_PAUSE;
        let body = Body::Hello {
            key: self.key,
            asks: true,
        };
        self.publish(now, channel_of(&self.all, sender), 0, false, body, out);
    }

    /// A request comes from another node.
    fn opened(&mut self, now: Time, id: LineId, window: u32, peer: Peer, bytes: Bytes, out: &mut RelayOutputs) {
        let LineId::Incoming(node, number) = id else {
            self.counters.malformed += 1;
            return;
        };
        if !self.roster.is_new_line(node, number) {
            self.counters.repeated += 1;
            return;
        }
        if self.incoming.len() >= self.config.max_relays {
            return self.refuse(now, id, node, RelayEnd::NoRoom, Reset::NoRoom, out);
        }
        let first = RelayConfig::FIRST_BYTES;
        let address = peer.address.map(|address| network(address.ip()));
        let mut line = Line::new(now, node, address, window, first, self.config.max_waiting_bytes);
        line.heard = Some(now);
        let Taken::New(bytes) = line.take(0, bytes) else {
            return self.refuse(now, id, node, RelayEnd::Broken, Reset::Broken, out);
        };
        if !self.makes_room(now, address, bytes.len(), out) {
            return self.refuse(now, id, node, RelayEnd::NoRoom, Reset::NoRoom, out);
        }
        self.incoming.insert((node, number), line);
        self.roster.begin_line(now, node, &self.config);
        self.look = self.look.min(now + self.config.probe_interval);
        self.schedule(now, id);
        self.note_waiting(id);
        self.counters.incoming.total += 1;
        self.counters.incoming.bytes_in += bytes.len() as u64;
        out.deliveries.push(RelayDelivery::Opened { line: id, peer, bytes });
    }

    /// Does not take up a relay.
    fn refuse(&mut self, now: Time, id: LineId, node: NodeName, why: RelayEnd, reset: Reset, out: &mut RelayOutputs) {
        self.counters.incoming.end(why);
        self.tell(now, id, node, Body::Reset(reset), out);
    }

    /// Whether a new relay of this network may bring so many bytes. If all together is too much,
    /// relays end for which more wait, or whose networks have more.
    fn makes_room(&mut self, now: Time, address: Option<IpAddr>, bytes: usize, out: &mut RelayOutputs) -> bool {
        let most = self.config.max_total_waiting_bytes;
        while self.room.bytes().saturating_add(bytes) > most {
            let Some(larger) = self.room.largest_before(address, bytes) else {
                return false;
            };
            self.end(now, larger, RelayEnd::NoRoom, Some(Reset::NoRoom), out);
        }
        true
    }

    /// Bytes of a relay have come.
    fn data(
        &mut self,
        now: Time,
        id: LineId,
        position: u64,
        bytes: Bytes,
        end: Option<super::Final>,
        out: &mut RelayOutputs,
    ) {
        let Some(line) = self.line(id) else { return };
        let bytes = match line.take(position, bytes) {
            Taken::New(bytes) => bytes,
            Taken::Old => {
                self.counters.repeated += 1;
                return;
            }
            Taken::Gap | Taken::Overrun => return self.end(now, id, RelayEnd::Broken, Some(Reset::Broken), out),
        };
        if bytes.is_empty() && end.is_none() {
            // There is nothing to tell its end.
            return;
        }
        self.note_waiting(id);
        self.traffic(id).bytes_in += bytes.len() as u64;
        while self.room.bytes() > self.config.max_total_waiting_bytes {
            let most = self.room.largest().unwrap_or(id);
            self.end(now, most, RelayEnd::NoRoom, Some(Reset::NoRoom), out);
            if most == id {
                return;
            }
        }
        if end.is_some() {
            let _ = self.remove(id, RelayEnd::Answered);
        }
        out.deliveries.push(RelayDelivery::Bytes { line: id, bytes, end });
    }

    /// Tells a node that this one does not know the relay.
    fn unknown(&mut self, now: Time, id: LineId, sender: NodeName, out: &mut RelayOutputs) {
        self.tell(now, id, sender, Body::Reset(Reset::Unknown), out);
    }

    /// The other node has given a relay up.
    fn was_reset(&mut self, id: LineId, reset: Reset, out: &mut RelayOutputs) {
        let why = match (id, reset) {
            (_, Reset::NoRoom) => RelayEnd::NoRoom,
            (_, Reset::Broken | Reset::Unknown) => RelayEnd::Broken,
            (LineId::Outgoing(_), Reset::Closed | Reset::Failed) => RelayEnd::ByOwner,
            (LineId::Incoming(..), Reset::Closed | Reset::Failed) => RelayEnd::ByClient,
        };
        if self.remove(id, why).is_some() {
            let reset = Some(reset);
            out.deliveries.push(RelayDelivery::Ended { line: id, why, reset });
        }
    }
}
