//! The promises, looked at after each step and at the end.

use std::fmt;
use std::time::Duration;

use sio_proto::Time;
use sio_proto::client::Generation;
use sio_proto::server::Policy;

use crate::straits::Straits;
use crate::violation::Promise;
use crate::world::{FIRST_NUMBER, NAMESPACES, ROOMS, World, note};

/// How late a timer may fire because something else is looked at first, and how long bytes are
/// under way.
const SLACK: Duration = Duration::from_millis(600);

/// How often users say once more that they want to be connected.
const TIMES: usize = 4;

/// How long the world is quiet before everything has to have arrived.
const QUIET: Duration = Duration::from_secs(20);

/// What a server may keep that has been in use: its tables, and four buffers that it uses again and
/// again, each of 128 KiB at most.
const LEFT: isize = (64 << 10) + 4 * (128 << 10);

/// After this time nothing may be left of clients that have gone.
const GONE: Duration = Duration::from_secs(40);

impl World {
    /// What is looked at after each step.
    pub(crate) fn check(&mut self) {
        self.check_sockets();
        self.check_shares();
        self.check_kept();
        self.check_rooms();
        self.check_guests();
        self.check_clients();
        self.check_dead();
        self.check_held();
    }

    /// Promise 6: the server has exactly the sockets whose end it has not told.
    fn check_sockets(&mut self) {
        let now = self.now;
        let sessions = self.server.sum(now, |shard| shard.sessions());
        let timers = self.server.sum(now, |shard| shard.held().timers);
        let sockets = self.server.sum(now, |shard| shard.held().sockets);
        let members = self.members.len() + self.crowd.len() + self.names.len();
        if sockets != members {
            self.fail(
                Promise::Leftover,
                format_args!("{sockets} sockets, and {members} are known"),
            );
        }
        // Of a crowd that has gone, some deadlines stay until there are many.
        let straits = self.plan.straits.unwrap_or_default();
        let few = if self.thief.is_some() { 1024 } else { 64 } + 8 * self.plan.crowd;
        // So do those of questions that were answered.
        let few = few
            + if straits.questions.is_some() {
                1024 * self.plan.shards
            } else {
                0
            };
        let most =
            sessions * 8 + members * 4 + few + self.members.values().map(|member| member.asks.len()).sum::<usize>();
        if timers > most {
            self.fail(
                Promise::Leftover,
                format_args!("{timers} deadlines for {sessions} sessions"),
            );
        }
    }

    /// Promise 12: what leaves for a client was sent to that client.
    pub(crate) fn check_reader(&mut self, number: u64, bytes: &[u8]) {
        let Some(client) = self.wires.get(&number).map(|wire| wire.client) else {
            return;
        };
        for part in bytes.split(|byte| *byte == b'#') {
            let told = std::str::from_utf8(part).ok().and_then(|part| part.parse::<u64>().ok());
            let Some(told) = told.filter(|told| *told >= FIRST_NUMBER) else {
                continue;
            };
            let namespaces = &self.places[client * NAMESPACES.len()..][..NAMESPACES.len()];
            if !namespaces.iter().any(|place| place.sent.contains(&told)) {
                let words = format_args!("client {client} is told {told}, which is for others");
                return self.fail(Promise::Admission, words);
            }
        }
    }

    /// Promise 4: the rooms of each member are those of the model.
    fn check_rooms(&mut self) {
        let (now, mut wrong) = (self.now, None);
        let Self { members, server, .. } = self;
        for (socket, member) in &*members {
            let is_right = server.shard(now, socket.shard, |shard, _| {
                let rooms = shard.rooms(socket.key);
                let is_known = |room: &usize| rooms.iter().any(|name| *name == ROOMS[*room]);
                rooms.len() == member.rooms.len() && member.rooms.iter().all(is_known)
            });
            if !is_right {
                wrong = Some((*socket, member.rooms.clone()));
                break;
            }
        }
        if let Some((socket, expected)) = wrong {
            let rooms = self
                .server
                .shard(now, socket.shard, |shard, _| format!("{:?}", shard.rooms(socket.key)));
            let expected: Vec<&str> = expected.iter().map(|room| ROOMS[*room]).collect();
            let words = format_args!("{socket:?} is in {rooms}, not in {expected:?}");
            self.fail(Promise::Broadcast, words);
        }
    }

    /// Promise 5: a client says of itself what it has told.
    fn check_clients(&mut self) {
        for client in 0..self.peers.len() {
            for namespace in 0..self.peers[client].sockets.len() {
                let peer = &self.peers[client];
                let is_connected = peer.payer.client().is_connected(peer.sockets[namespace]);
                let told = self.places[client * NAMESPACES.len() + namespace].is_connected;
                if is_connected != told {
                    let words = format_args!("client {client} is connected: {is_connected}, and has told: {told}");
                    self.fail(Promise::Disconnect, words);
                }
            }
        }
    }

    /// Promise 8: a peer that answers is not timed out.
    pub(crate) fn judge_timeout(&mut self, client: usize, is_timeout: bool, end: &str) {
        let peer = &self.peers[client];
        let since = self.now.saturating_since(peer.trouble);
        let allowed = self.patience(client);
        if is_timeout && since > allowed && !peer.is_doubled {
            self.fail(
                Promise::Heartbeat,
                format_args!("the {end} gives client {client} up, which answers: the last fault was {since:?} ago"),
            );
        }
    }

    /// Promise 10: where nothing has failed and nobody refuses, a client gets what it asks for.
    pub(crate) fn judge_peace(&mut self, client: usize, what: fmt::Arguments<'_>) {
        let plan = &self.plan;
        let refuses = plan.refuses + plan.refuses_sockets > 0
            || plan.thief.is_some()
            || plan.swallows_websockets
            || plan.straits.is_some_and(Straits::ends_who_waits);
        let is_near = plan.traffic.latency <= 40 && plan.traffic.holds == 0 && plan.traffic.window >= 4_000;
        let is_untouched = self.faults == 0 && self.peers[client].trouble == Time::ZERO;
        if is_near && is_untouched && !refuses {
            self.fail(
                Promise::Liveness,
                format_args!("client {client} meets a fault, and there was none: {what}"),
            );
        }
    }

    /// How long the ends may take to find a dead connection.
    fn patience(&self, client: usize) -> Duration {
        let config = &self.plan.server;
        let (old, older) = (&config.legacy09, &config.legacy06);
        let time = match self.peers[client].config.generation {
            Generation::V0_9 => old.heartbeat_interval + old.heartbeat_timeout + old.close_timeout,
            Generation::V0_6 | Generation::Streaming => {
                older.heartbeat_interval + older.heartbeat_timeout + older.reconnect_timeout
            }
            _ => config.ping_interval + config.ping_timeout,
        };
        time * 2 + config.upgrade_timeout + SLACK + Duration::from_secs(6)
    }

    /// Promise 10: faults stop, and all clients are connected soon. Then everything that was sent
    /// has to arrive.
    pub(crate) fn calm_down(&mut self) {
        note!(self, "faults stop");
        self.is_calm = true;
        self.door.open();
        self.scatter();
        if self.thief.is_some() {
            self.vanish(self.users());
        }
        self.heal();
        self.settle();
        self.forgive_doubles();
        // A client that was told to leave just now does not come back by itself.
        for _ in 0..TIMES {
            self.advance(self.now + Duration::from_secs(1));
            for client in 0..self.users() {
                self.connect_all(client);
            }
            self.settle();
        }
        self.await_clients();
        self.probe();
        let end = self.now + QUIET + self.time_of_rest();
        self.advance(self.now + QUIET);
        // A client far away that polls, and has much to send or gets one packet with each poll,
        // needs longer.
        while self.now < end && self.has_more() {
            self.advance(end.min(self.now + QUIET));
        }
        if self.failure.is_none() {
            self.check_arrived();
        }
    }

    /// A client whose request was repeated has lost all its connections when the faults stop. Its
    /// next session is one like any other. A session that goes on, on an old wire or by a
    /// recovery, may still lack what the repetition has taken.
    fn forgive_doubles(&mut self) {
        let recovers = self.plan.recovery.is_some();
        let users = self.users();
        for peer in self.peers.iter_mut().take(users) {
            peer.is_doubled &= recovers || peer.is_old();
        }
    }

    /// Sends one more message in each direction, so that a gap before it is seen.
    fn probe(&mut self) {
        let mut rng = self.plan.rng(usize::MAX);
        for client in 0..self.users() {
            for _ in 0..2 {
                self.client_emit(client, &mut rng, false);
            }
        }
        let sockets: Vec<_> = self.members.keys().copied().collect();
        for socket in sockets {
            let _ = self.emit_to(socket, 0, (false, Policy::Ordered), false);
        }
        self.settle();
    }

    /// Whether a client has events to send, or lacks some.
    fn has_more(&mut self) -> bool {
        self.failure.is_none() && (self.peers.iter().any(|peer| !peer.emits.is_empty()) || self.lacks_something())
    }

    /// Whether a client of today lacks what was sent to it.
    fn lacks_something(&mut self) -> bool {
        let members: Vec<_> = self.members.values().cloned().collect();
        members.iter().any(|member| {
            let peer = &self.peers[member.client];
            let is_judged = !peer.is_doubled && !peer.is_old();
            is_judged && !self.place(member.client, member.namespace).overdue(member).is_empty()
        })
    }

    /// Promises 1, 2 and 3: when nothing is under way, everything has arrived, and every emit has
    /// ended.
    fn check_arrived(&mut self) {
        let members: Vec<_> = self.members.values().cloned().collect();
        for member in members {
            if self.peers[member.client].is_doubled {
                continue;
            }
            let is_old = self.peers[member.client].is_old();
            let place = self.place(member.client, member.namespace);
            let overdue = place.overdue(&member);
            if is_old {
                place.gaps.extend(overdue);
            } else if let Some(first) = overdue.first() {
                let promise = match member.record {
                    Some(_) => Promise::Recovery,
                    None => Promise::Order,
                };
                self.fail(
                    promise,
                    format_args!("{first} has not arrived at client {}", member.client),
                );
            }
        }
        let now = self.now;
        let unconfirmed = self.server.sum(now, |shard| shard.counters().unconfirmed as usize);
        let gaps: Vec<u64> = self
            .places
            .iter()
            .flat_map(|place| place.gaps.iter().copied())
            .collect();
        if gaps.len() > unconfirmed {
            self.fail(
                Promise::Order,
                format_args!("{gaps:?} are missing, and {unconfirmed} were counted"),
            );
        }
        for client in 0..self.peers.len() {
            let open = self.peers[client].emits.len();
            if open > 0 {
                let emits = format!("{:?}", self.peers[client].emits);
                self.fail(
                    Promise::Acknowledgement,
                    format_args!("emits of client {client} have no end: {emits}"),
                );
            }
        }
    }

    /// Promise 6: all clients go, and after a while nothing is left of them.
    pub(crate) fn say_goodbye(&mut self) {
        note!(self, "all clients go");
        let now = self.now;
        for client in 0..self.peers.len() {
            self.peers[client].payer.leave(|client| client.close(now));
        }
        self.settle();
        // A proxy that has swallowed something closes it at last.
        self.advance(self.now + Duration::from_secs(3));
        self.heal();
        self.advance(self.now + GONE);
        let wires = self.wires.len();
        let now = self.now;
        for index in 0..self.server.shards() {
            let (held, sessions, budget) = self.server.shard(now, index, |shard, _| {
                (shard.held(), shard.sessions(), shard.budget().used())
            });
            let is_empty = held.sockets + held.namespaces + held.rooms + held.timers + sessions + budget == 0;
            if !is_empty || wires > 0 {
                let words = format_args!("{held:?}, {sessions} sessions, {budget} bytes, {wires} connections are left");
                self.fail(Promise::Leftover, words);
            }
        }
        for client in 0..self.peers.len() {
            let peer = &self.peers[client];
            if !peer.emits.is_empty() || peer.payer.client().next_timeout().is_some() {
                let words = format!("{:?} {:?}", peer.emits, peer.payer.client().next_timeout());
                self.fail(
                    Promise::Acknowledgement,
                    format_args!("client {client} is closed, and has {words}"),
                );
            }
        }
        if let Some(comebacks) = &self.comebacks {
            let records = comebacks.machine.len();
            if records > 0 {
                self.fail(Promise::Leftover, format_args!("{records} records are left"));
            }
        }
        let left = self.held.bytes - self.baseline;
        if left > LEFT {
            self.fail(Promise::Price, format_args!("{left} bytes are left"));
        }
    }
}
