//! Faults of the network, of the clock and of machines.

use std::time::Duration;

use fastrand::Rng;
use sio_proto::Time;
use sio_proto::server::Cause;

use crate::comeback::Comebacks;
use crate::host::Host;
use crate::names::Names;
use crate::payer::Deed;
use crate::plan::Kind;
use crate::terms::Terms;
use crate::violation::Promise;
use crate::world::{NAMESPACES, World, note};

impl World {
    /// Makes something go wrong.
    pub(crate) fn inject(&mut self, fault: Kind, client: usize, rng: &mut Rng) {
        self.faults += 1;
        match fault {
            Kind::Cut => {
                let all = rng.bool();
                let (one, ends) = (rng.usize(0..1 << 16), rng.u32(0..4));
                let wires = self.wires_of(client);
                let chosen = match (all, wires.len()) {
                    (_, 0) => return,
                    (true, _) => wires,
                    (false, count) => vec![wires[one % count]],
                };
                chosen.into_iter().for_each(|wire| self.cut(wire, ends));
            }
            Kind::Freeze => {
                let (one, down, shuts) = (rng.usize(0..1 << 16), rng.bool(), rng.bool());
                let until = self.now + Duration::from_millis(rng.u64(1..6000));
                let wires = self.wires_of(client);
                if let Some(wire) = wires
                    .get(one % wires.len().max(1))
                    .and_then(|wire| self.wires.get_mut(wire))
                {
                    let pipe = if down { &mut wire.down } else { &mut wire.up };
                    pipe.frozen = pipe.frozen.max(until);
                    // The receiver does not read, and its window is zero.
                    if shuts {
                        pipe.shut(self.now, until, self.plan.traffic);
                    }
                }
            }
            Kind::Partition => {
                let until = self.now + Duration::from_millis(rng.u64(100..12_000));
                self.cut_off(client, until);
            }
            Kind::HalfOpen => {
                let one = rng.usize(0..1 << 16);
                let wires = self.wires_of(client);
                if let Some(wire) = wires
                    .get(one % wires.len().max(1))
                    .and_then(|wire| self.wires.get_mut(wire))
                {
                    wire.is_dead = true;
                }
            }
            Kind::Jump => {
                self.now = self.now + Duration::from_millis(rng.u64(100..20_000));
                (0..self.peers.len()).for_each(|client| self.trouble(client));
                self.forget_signs();
            }
            Kind::Restart => self.restart(),
            Kind::NetworkLost => {
                let now = self.now;
                let payer = &mut self.peers[client].payer;
                payer.act(Deed::Other(0), |client| client.network_lost(now));
            }
            Kind::Duplicate => {
                let request = self.peers[client].request.1.clone();
                if !request.is_empty() && !request.windows(9).any(|part| part == b"Upgrade: ") {
                    self.peers[client].is_doubled = true;
                    self.note_copies(client, &request);
                    let number = self.open_raw(client, &request);
                    if let Some(wire) = self.wires.get_mut(&number) {
                        wire.up.finish(self.now + Duration::from_secs(2));
                    }
                }
            }
            Kind::Vanish => self.vanish(client),
            _ => {}
        }
        self.trouble(client);
    }

    /// A proxy repeats a request: each event in it may be heard once more. In forms, a `#` is
    /// written in another way.
    fn note_copies(&mut self, client: usize, request: &[u8]) {
        let text = String::from_utf8_lossy(request).replace("%23", "#");
        let parts: Vec<&str> = text.split('#').collect();
        let own = client.to_string();
        for pair in parts.windows(2).filter(|pair| pair[1] == own) {
            let Ok(number) = pair[0].parse::<usize>() else { continue };
            // The request does not say in which of the namespaces it is.
            for namespace in 0..NAMESPACES.len() {
                if let Some(up) = self.place(client, namespace).up.get_mut(number) {
                    up.copies += 1;
                }
            }
        }
    }

    /// Promise 1: whatever a proxy repeats, an event is heard once for each request that has
    /// carried it.
    pub(crate) fn check_copies(&mut self, client: usize, namespace: usize, number: usize) {
        let Some(up) = self.place(client, namespace).up.get(number) else {
            return;
        };
        let (heard, copies) = (up.heard, up.copies);
        if heard > 1 + copies {
            let words = format_args!(
                "the server hears {number} of client {client} {heard} times, and {copies} requests with it were \
                 repeated"
            );
            self.fail(Promise::Order, words);
        }
    }

    /// A fault has touched a client.
    pub(crate) fn trouble(&mut self, client: usize) {
        self.peers[client].trouble = self.peers[client].trouble.max(self.now);
    }

    pub(crate) fn wires_of(&self, client: usize) -> Vec<u64> {
        let wires = self.wires.iter().filter(|(_, wire)| wire.client == client);
        wires.map(|(number, _)| *number).collect()
    }

    /// A client's network carries nothing until then. Connections live, as with TCP.
    fn cut_off(&mut self, client: usize, until: Time) {
        let peer = &mut self.peers[client];
        peer.cut_off = peer.cut_off.max(until);
        peer.trouble = peer.trouble.max(until);
        for wire in self.wires.values_mut().filter(|wire| wire.client == client) {
            wire.up.frozen = wire.up.frozen.max(until);
            wire.down.frozen = wire.down.frozen.max(until);
        }
    }

    /// Cuts a connection behind any byte. `ends` says who learns of it: both, the client, or the
    /// server. The others have a dead connection.
    pub(crate) fn cut(&mut self, number: u64, ends: u32) {
        let (now, traffic) = (self.now, self.plan.traffic);
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let touched = wire.client;
        (wire.is_dead, wire.is_cut) = (true, true);
        let kept = wire.down.kept_back(now, traffic);
        let kept = (kept > 0 || wire.down.blocked).then_some(kept);
        let up = wire.up.cut(now, traffic, &mut self.rng);
        let down = wire.down.cut(now, traffic, &mut self.rng);
        let (client, at_client, at_server) = (wire.client, wire.at_client, wire.at_server);
        self.trouble(touched);
        note!(
            self,
            "cut w{number} behind {} and {} bytes, ends {ends}",
            up.len(),
            down.len()
        );
        if let Some(link) = at_server.filter(|_| !up.is_empty()) {
            self.give_server(number, link, &up);
        }
        if let Some(link) = at_client.filter(|_| !down.is_empty()) {
            self.peers[client].heard = now;
            self.peers[client].payer.handle_bytes(now, link, &down);
        }
        self.settle();
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        let at_client = if ends == 2 { None } else { wire.at_client };
        let at_server = if ends == 1 { None } else { wire.at_server };
        if let Some(link) = at_client {
            wire.at_client = None;
            self.at_client.remove(&(client, link));
            self.peers[client].payer.handle_closed(now, link);
        }
        if let Some(link) = at_server {
            self.note_sign_of(number);
            let ending = self.sockets_on(number);
            if let Some(wire) = self.wires.get_mut(&number) {
                wire.at_server = None;
            }
            self.at_server.remove(&link);
            self.close_at_server(link, kept, Cause::Failed);
            self.check_ended(&ending);
        }
        self.settle();
        if self
            .wires
            .get(&number)
            .is_some_and(|wire| wire.at_client.is_none() && wire.at_server.is_none())
        {
            self.forget(number);
        }
    }

    /// The server is killed. With a store, the next one knows what this one knew.
    fn restart(&mut self) {
        let now = self.now;
        self.restarts += 1;
        note!(self, "the server begins anew");
        // A loss is counted when its connection or session ends at the latest, and a process that
        // is killed ends none.
        self.places.iter_mut().for_each(|place| place.gaps.clear());
        self.asking.clear();
        let members = std::mem::take(&mut self.members);
        self.at_server.clear();
        let restarts = self.restarts;
        let has_store = self.plan.has_store;
        let Self {
            plan,
            server,
            comebacks,
            door,
            ..
        } = self;
        door.forget_sessions();
        self.peak = 0;
        self.held.charge(|| {
            *server = Host::new(plan, restarts, door);
            if !has_store {
                *comebacks = Comebacks::new(plan, restarts);
            }
        });
        if let (Some(comebacks), true) = (&mut self.comebacks, has_store) {
            for member in members.values() {
                if let Some(key) = member.record {
                    self.held.charge(|| comebacks.end(now, key, member.serial, false));
                }
            }
        }
        let numbers: Vec<_> = self.wires.keys().copied().collect();
        for number in numbers {
            let Some(wire) = self.forget(number) else { continue };
            if let Some(link) = wire.at_client {
                self.peers[wire.client].payer.handle_closed(now, link);
            }
        }
        (0..self.peers.len()).for_each(|client| self.trouble(client));
        self.forget_signs();
        // The keys of sessions are used again.
        self.terms = Terms::default();
        self.names = Names::default();
    }

    /// Faults stop: dead connections are found to be dead, and everything flows.
    pub(crate) fn heal(&mut self) {
        let now = self.now;
        for peer in &mut self.peers {
            peer.cut_off = peer.cut_off.min(now);
        }
        let numbers: Vec<_> = self.wires.keys().copied().collect();
        for number in numbers {
            let Some(wire) = self.wires.get_mut(&number) else {
                continue;
            };
            // What a proxy has taken from a session is lost, even an answer that a client waits
            // for: such a client begins anew.
            // A window that is zero stays so: what the server was told to keep has not left.
            if wire.is_dead || self.peers[wire.client].is_doubled {
                self.cut(number, 0);
                continue;
            }
            wire.up.frozen = wire.up.frozen.min(now);
            wire.down.frozen = wire.down.frozen.min(now);
            wire.up.shut = wire.up.shut.min(now);
            wire.down.shut = wire.down.shut.min(now);
            wire.hurry(now);
        }
    }
}
