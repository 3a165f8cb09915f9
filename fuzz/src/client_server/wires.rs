//! How bytes travel between the two ends: whole, in pieces, late, or not at all.

use bytes::BytesMut;
use sio_proto::LinkId;
use sio_proto::server::Cause;

use super::World;
use crate::cursor::Cursor;

impl World {
    /// Up to `most` bytes travel. Returns whether any did, or an end was told.
    pub(super) fn carry(&mut self, link: LinkId, most: usize, up: bool) -> bool {
        let Some(wire) = self.wires.get_mut(&link).filter(|wire| !wire.stalled) else {
            return false;
        };
        let queue = if up { &mut wire.to_server } else { &mut wire.to_client };
        let piece: Vec<u8> = queue.drain(..most.min(queue.len())).collect();
        if !up && !piece.is_empty() {
            self.tell_what_is_held(link);
        }
        let Some(wire) = self.wires.get(&link) else {
            return false;
        };
        let (at_server, at_client) = (wire.at_server, wire.at_client);
        if !up && wire.ends && wire.to_client.is_empty() {
            self.wires.remove(&link);
            self.to_client(link, &piece);
            if at_client {
                self.client.handle_closed(self.now, link, None);
            }
            self.take_outputs();
            return true;
        }
        if piece.is_empty() {
            return false;
        }
        match (up, at_server) {
            (true, Some(at_server)) => self.to_server(at_server, &piece),
            (false, _) if at_client => self.to_client(link, &piece),
            _ => {}
        }
        self.take_outputs();
        true
    }

    /// Tells the server how many bytes of a blocked connection are not written.
    pub(super) fn tell_what_is_held(&mut self, link: LinkId) {
        let Some(wire) = self.wires.get_mut(&link).filter(|wire| wire.blocked) else {
            return;
        };
        let Some(at_server) = wire.at_server else { return };
        match wire.to_client.len() {
            0 => {
                wire.blocked = false;
                self.server.handle_drained(self.now, at_server);
            }
            held => self.server.handle_blocked(self.now, at_server, held),
        }
    }

    pub(super) fn to_server(&mut self, link: LinkId, piece: &[u8]) {
        let mut bytes = BytesMut::from(piece);
        self.server.handle_bytes(self.now, link, &mut bytes);
        assert!(bytes.is_empty(), "the server takes all bytes");
    }

    pub(super) fn to_client(&mut self, link: LinkId, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        let mut bytes = BytesMut::from(piece);
        self.client.handle_bytes(self.now, link, &mut bytes);
        assert!(bytes.is_empty(), "the client takes all bytes");
    }

    /// Moves all bytes until nothing moves.
    pub(super) fn settle(&mut self) {
        // Who is late is late once.
        if self.client.next_timeout().is_some_and(|next| next <= self.now) {
            self.client.handle_timeout(self.now);
        }
        self.take_outputs();
        for _ in 0..20_000 {
            let links: Vec<LinkId> = self.wires.keys().copied().collect();
            let mut moved = false;
            for link in links {
                moved |= self.carry(link, usize::MAX, true);
                moved |= self.carry(link, usize::MAX, false);
            }
            if !moved {
                return;
            }
        }
        panic!("client and server talk without end"); //DBG
    }

    /// A connection fails: one end notices, or the other, or both.
    pub(super) fn cut(&mut self, input: &mut Cursor<'_>) {
        let Some(link) = self.pick(input) else { return };
        let how = input.byte();
        if how & 4 != 0 {
            self.carry(link, 1 + usize::from(input.byte()), how & 8 == 0);
        }
        let Some(wire) = self.wires.get_mut(&link) else { return };
        let (at_server, at_client) = (wire.at_server, wire.at_client);
        let cause = if how & 16 == 0 { Cause::Failed } else { Cause::Closed };
        wire.stalled = true;
        if how & 3 != 1
            && let Some(at_server) = at_server
        {
            wire.at_server = None;
            self.server.handle_closed(self.now, at_server, cause);
        }
        if how & 3 != 2 && at_client {
            self.wires.get_mut(&link).expect("it is there").at_client = false;
            self.client.handle_closed(self.now, link, None);
        }
        self.forget_dead_wires();
    }

    pub(super) fn forget_dead_wires(&mut self) {
        self.wires.retain(|_, wire| wire.at_client || wire.at_server.is_some());
    }

    /// The queue of a connection is full, or has room again.
    pub(super) fn press(&mut self, input: &mut Cursor<'_>) {
        let Some(link) = self.pick(input) else { return };
        let choice = input.byte();
        let Some(wire) = self.wires.get_mut(&link) else { return };
        match (choice & 1 == 0, choice & 2 == 0) {
            (true, blocks) if wire.at_client => match blocks {
                true => self.client.handle_blocked(self.now, link),
                false => self.client.handle_drained(self.now, link),
            },
            (false, blocks) => {
                let (Some(at_server), held) = (wire.at_server, wire.to_client.len()) else {
                    return;
                };
                wire.blocked = blocks;
                match blocks {
                    true => self.server.handle_blocked(self.now, at_server, held),
                    // All of them are under way.
                    false => self.server.handle_drained(self.now, at_server),
                }
            }
            _ => {}
        }
    }
}
