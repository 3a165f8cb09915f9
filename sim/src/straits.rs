//! Seeds with narrow limits: those that no other seed reaches, so small that clients and a thief
//! reach them (promise 7), and a thief that tries.

use std::time::Duration;

use fastrand::Rng;
use sio_proto::Config;
use sio_proto::client::Generation;
use sio_proto::server::{SessionHolding, Target};

use crate::door;
use crate::habits::{Habit, frames};
use crate::network::Way;
use crate::orders::Order;
use crate::plan::{Kind, Plan, against_thieves};
use crate::thief::{ID, MOST_WIRES, frame, request};
use crate::violation::Promise;
use crate::world::{NAMESPACES, World, note};

/// One seed of so many has narrow limits.
const NARROW_OF: u32 = 6;

/// How long an answer to one of many questions may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many questions the server asks at once, if it asks many.
const QUESTIONS: usize = 250;

/// The most bytes that wait for one client, if some messages are larger.
const WAITING: usize = 20_000;

/// The most bytes that wait for all clients together, if these are few.
const BUDGET: usize = 2_000;

/// The most bytes that are kept for one address, if these are few. They are counted in steps of
/// 64 KiB.
const KEPT: usize = 70_000;

/// The most bytes that are kept for all, if these are few: one session may have such a step, and
/// there is room for the heads of all others.
const KEPT_FOR_ALL: usize = 100_000;

/// How many bytes of a session may be kept without being counted.
const UNCOUNTED: usize = 4 << 10;

/// The most packets of one POST. A client of the simulator never has so many.
const POSTED: usize = 1_000;

/// On so many connections a thief leaves a large attachment.
const HOARD: usize = 8;

/// An attachment of a thief that wants the server to keep much.
const ATTACHMENT: usize = 15_000;

/// An attachment where little may be kept: two of these are more.
const LARGE_ATTACHMENT: usize = 60_000;

/// What the protocol itself may queue for a session beside messages.
const CONTROL: usize = 200;

/// What opens a session.
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// What a seed with narrow limits has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Straits {
    /// How many questions the server asks at once, if it asks many.
    pub(crate) questions: Option<usize>,
    /// Whether some broadcasts are too large for any queue.
    pub(crate) oversizes: bool,
    /// Whether few bytes may wait for all clients together.
    has_budget: bool,
    /// Whether few bytes may be kept for one address.
    keeps_little: bool,
    /// Whether few bytes may be kept for all addresses together.
    keeps_little_for_all: bool,
    /// Whether the thief tries to send more packets in a POST than it may.
    posts_much: bool,
}

impl Plan {
    /// Makes limits narrow, in some seeds. All numbers come from a generator of its own.
    pub(crate) fn narrow(&mut self) {
        let mut rng = Rng::with_seed(self.seed ^ 0x57a1_7000);
        if rng.u32(0..NARROW_OF) > 0 {
            return;
        }
        if self.thief.is_none() && !self.pours && rng.bool() {
            self.let_thief_in(&mut rng);
        }
        let oversizes = rng.bool() && self.recovery.is_none() && !self.pours;
        let (users, is_alone) = (self.clients.len(), self.crowd == 0);
        let mut more = Rng::with_seed(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x57a1);
        let mut straits = Straits {
            questions: (rng.u32(0..3) == 0).then_some(QUESTIONS),
            oversizes,
            // Who holds most is ended with the next input, whatever it is.
            has_budget: rng.bool() && self.recovery.is_none() && !self.pours && !oversizes && is_alone,
            keeps_little: rng.bool() && self.thief.is_some() && is_alone,
            keeps_little_for_all: false,
            posts_much: more.u32(0..4) == 0 && self.thief.is_some(),
        };
        let mut server = self.server.clone();
        if straits.oversizes {
            server.max_queued_bytes = server.max_queued_bytes.min(WAITING);
        }
        if straits.has_budget {
            server.max_total_queued_bytes = BUDGET;
            self.often(Kind::ServerBurst);
            self.often(Kind::Partition);
        }
        if straits.keeps_little {
            server = server
                .max_kept_bytes_per_address(KEPT)
                .max_sessions_per_address(12usize);
        }
        if rng.bool() && self.thief.is_some() && is_alone && !straits.keeps_little {
            server = server.max_sessions(2 * users + 3);
        } else if self.thief.is_some() && is_alone && !straits.keeps_little {
            // What clients say has to be less than a session may keep without being counted.
            straits.keeps_little_for_all = more.bool() && self.padding < 900;
        }
        if straits.keeps_little_for_all {
            server = server.max_kept_bytes(KEPT_FOR_ALL);
        }
        if straits.hoards() {
            server.max_payload = server.max_payload.max(LARGE_ATTACHMENT + 2_000);
        }
        if rng.bool() && is_alone {
            server = server.max_namespaces(rng.usize(3..6));
        }
        if straits.questions.is_some() {
            self.often(Kind::ServerAsk);
        }
        self.server = server
            .max_namespaces_per_session(rng.usize(2..5))
            .max_rooms_per_socket(rng.usize(3..6))
            .max_room_name_bytes(24usize)
            .max_room_bytes_per_socket(rng.usize(30..60))
            .max_pending_acks(if straits.questions.is_some() { QUESTIONS + 50 } else { 4 })
            .max_packets_per_payload(POSTED)
            .max_upgrade_packets(rng.usize(1..4));
        self.straits = Some(straits);
    }

    fn let_thief_in(&mut self, rng: &mut Rng) {
        self.server = against_thieves(self.server.clone(), rng);
        if self.clients.iter().any(|client| client.generation != Generation::Four) {
            self.server.max_payload = self.server.max_payload.max(200_000);
        }
        if self.crowd > 0 {
            self.server.max_sessions += self.crowd;
        }
        self.thief = Some(Habit::Roam);
        self.often(Kind::Thief);
    }
}

impl Straits {
    /// Whether the thief wants the server to keep more than it may.
    const fn hoards(self) -> bool {
        self.keeps_little || self.keeps_little_for_all
    }

    /// Whether the server ends who lets most bytes wait, because all together let too many wait.
    pub(crate) const fn ends_who_waits(self) -> bool {
        self.has_budget
    }
}

/// What the sessions of an address keep, and what waits for all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Burden {
    /// Without what each session may keep uncounted.
    kept: [usize; door::MOST_PEERS],
    kept_for_all: usize,
    waiting: usize,
    all: usize,
}

impl Burden {
    pub(crate) fn add(&mut self, holding: &SessionHolding) {
        self.all += 1;
        self.waiting += holding.queue.bytes;
        let kept = holding.arriving.bytes.saturating_sub(UNCOUNTED);
        self.kept_for_all += kept;
        if let Some(peer) = holding.address.and_then(door::index) {
            self.kept[peer] += kept;
        }
    }

    /// How much more than it may be it is.
    fn excess(&self, straits: Straits, config: &Config) -> Option<String> {
        for (peer, kept) in self.kept.iter().enumerate().filter(|_| straits.keeps_little) {
            let most = config.max_kept_bytes_per_address;
            if *kept > most {
                return Some(format!("{kept} bytes are kept for client {peer}, at most {most}"));
            }
        }
        let (kept, most) = (self.kept_for_all, config.max_kept_bytes);
        (kept > most).then(|| format!("{kept} bytes are kept for all clients together, at most {most}"))
    }
}

impl World {
    /// Promise 7: what all sessions have together is within the limits for all.
    pub(crate) fn check_burden(&mut self, burden: &Burden) {
        let Some(straits) = self.plan.straits else { return };
        if let Some(words) = burden.excess(straits, &self.plan.server) {
            return self.fail(Promise::Price, format_args!("{words}"));
        }
        if !straits.has_budget {
            return;
        }
        // The pongs of a thief wait on its connections, and each read of it may bring many.
        let peers = &self.peers;
        let wires = self.wires.values().filter(|wire| !peers[wire.client].is_thief);
        let blocked: usize = wires.filter_map(|wire| wire.at_server.and(Some(wire.stuck?.1))).sum();
        let (waiting, most) = (burden.waiting + blocked, self.plan.server.max_total_queued_bytes);
        // Each session that takes what it is sent may have one message too many. A shard that uses
        // less than its share gives nothing back, and a shard hears of the others with its next
        // input.
        let others = self.plan.shards - 1;
        let most = most + most * others / self.plan.shards + burden.all * (2 * self.plan.padding + CONTROL);
        if waiting > most {
            let words = format_args!("{waiting} bytes wait for all clients together, at most {most}");
            self.fail(Promise::Price, words);
        }
    }

    /// Promise 7: no connection brings more packets than its POSTs may have.
    pub(crate) fn check_posted(&mut self, number: u64) {
        if self.plan.straits.is_none() {
            return;
        }
        let config = &self.plan.server;
        let each = config.max_packets_per_payload + config.max_upgrade_packets;
        let Some(wire) = self.wires.get(&number).filter(|wire| !wire.line.is_websocket()) else {
            return;
        };
        let (heard, most) = (wire.heard, each * wire.line.posts().max(1));
        if heard > most {
            let words = format_args!("{heard} events have come with the POSTs of one connection, at most {most}");
            self.fail(Promise::Price, words);
        }
    }

    /// Promise 7: a probe is answered once.
    pub(crate) fn check_probes(&mut self, number: u64, bytes: &[u8]) {
        const ANSWER: &[u8] = b"\x81\x063probe";
        if self.thief.is_none() {
            return;
        }
        let count = bytes.windows(ANSWER.len()).filter(|part| *part == ANSWER).count();
        if let Some(wire) = self.wires.get_mut(&number).filter(|_| count > 0) {
            wire.probes += count;
            let (probes, client) = (wire.probes, wire.client);
            if probes > 1 {
                let words = format_args!("client {client} has {probes} answers to the probes of one connection");
                self.fail(Promise::Price, words);
            }
        }
    }

    /// Promise 4: a message that fits into no queue reaches nobody, and disturbs nobody.
    pub(crate) fn broadcast_too_much(&mut self) {
        let before: Vec<_> = self.members.keys().copied().collect();
        let padding = self.plan.server.max_queued_bytes + 100;
        self.tell_nobody(padding);
        self.settle();
        if let Some(socket) = before.iter().find(|socket| !self.members.contains_key(socket)) {
            let words = format_args!("{socket:?} is ended because of a message that fits into no queue");
            self.fail(Promise::Broadcast, words);
        }
    }

    /// A message to all, larger than any queue.
    fn tell_nobody(&mut self, padding: usize) {
        let (now, number) = (self.now, self.number());
        note!(self, "server: broadcast {number} is too large");
        let (mut held, steps) = (self.held, self.held.steps);
        let shape = self.shaped(number, padding, false, false);
        held.charge(|| {
            let mut message = self.message(0, number, shape);
            for index in 0..self.server.shards() {
                let target = Target {
                    namespace: NAMESPACES[0].into(),
                    rooms: Vec::new(),
                    except: Vec::new(),
                    except_socket: None,
                };
                self.server.shard(now, index, |shard, out| {
                    shard.broadcast(now, &target, &mut message, out)
                });
            }
        });
        self.held = held;
        let order = Order::Broadcast {
            bytes: 2 * padding,
            members: self.members.len() + self.crowd.len(),
            waiting: 0,
        };
        self.note_order(order, steps);
    }

    /// How many answers a client may owe in a namespace, if it is asked many questions at once.
    pub(crate) fn most_asked(&self) -> usize {
        let many = self.plan.straits.and_then(|straits| straits.questions);
        many.map_or(0, |_| self.plan.server.max_pending_acks)
    }

    /// The server asks one client many questions that have much time.
    pub(crate) fn ask_much(&mut self, rng: &mut Rng) {
        let Some(questions) = self.plan.straits.and_then(|straits| straits.questions) else {
            return;
        };
        let Some(socket) = self.any_socket(rng) else { return };
        for _ in 0..questions {
            if self.members.get(&socket).is_some_and(|member| member.is_accepted) {
                let names = (self.number(), self.number());
                self.ask_socket(socket, Some(PATIENCE), names);
                self.settle();
            }
        }
    }

    /// The thief wants more than a narrow limit allows.
    pub(crate) fn press(&mut self, peer: usize, rng: &mut Rng) {
        let straits = self.plan.straits.unwrap_or_default();
        if straits.hoards() && rng.u32(0..4) == 0 {
            return self.hoard_at_once(peer, rng);
        }
        if straits.posts_much && rng.bool() {
            return self.post_much(peer, rng);
        }
        let (kind, id) = (rng.u32(0..12), self.any_id(rng));
        // A secret is longer than the id of a socket.
        let mut ids = self.thief.iter().flat_map(|thief| &thief.ids);
        let id = ids.rfind(|id| id.len() > ID).cloned().unwrap_or(id);
        note!(self, "thief: presses {kind}");
        let use_of = |transport: &str| format!("/socket.io/?EIO=4&transport={transport}&sid={id}");
        match kind {
            // It probes again and again.
            0 => {
                let mut all = request(rng, "GET", &use_of("websocket"), None);
                all.extend(frames(&vec!["2probe".to_owned(); rng.usize(2..5)]));
                self.open_for_thief(peer, &all);
            }
            // It moves while a POST is under way, and goes on at once.
            1 => {
                let post = request(rng, "POST", &use_of("polling"), Some((b"3", 900)));
                self.open_for_thief(peer, &post);
                let mut all = request(rng, "GET", &use_of("websocket"), None);
                let mut packets = vec!["2probe".to_owned(), "5".to_owned()];
                packets.extend(vec![format!("42[\"e\",\"#8#{peer}#\"]"); rng.usize(1..30)]);
                all.extend(frames(&packets));
                self.open_for_thief(peer, &all);
            }
            2 => {
                // Each packet costs some hundred bytes of memory, so they are not the smallest.
                let body = vec!["42[\"e\",1234]"; rng.usize(900..1_150)].join("\u{1e}");
                let post = request(rng, "POST", &use_of("polling"), Some((body.as_bytes(), body.len())));
                self.open_for_thief(peer, &post);
            }
            // It opens many sessions, and does nothing with them.
            3 | 4 => {
                let all = request(rng, "GET", POLLING, None).repeat(rng.usize(2..14));
                self.open_for_thief(peer, &all);
            }
            5 | 6 => self.hoard_much(peer, rng),
            _ => self.name_something(peer, rng),
        }
    }

    /// On all websockets on which it has joined, the thief leaves a large attachment, behind which
    /// another one does not come. If these are few, it joins on more.
    fn hoard_much(&mut self, peer: usize, rng: &mut Rng) {
        let now = self.now;
        let joined = self.members.iter().filter(|(_, member)| member.client == peer);
        let sessions: Vec<_> = joined
            .filter_map(|(socket, _)| self.names.session_of(*socket))
            .collect();
        let mut open = Vec::new();
        for number in self.wires_of(peer) {
            let link = self.wires.get(&number).and_then(|wire| wire.at_server);
            let session = link.and_then(|link| self.server.session_on(now, link));
            if session.is_some_and(|session| sessions.contains(&session)) {
                open.push(number);
            }
        }
        if open.len() < HOARD {
            let mut all = request(rng, "GET", "/socket.io/?EIO=4&transport=websocket", None);
            all.extend(frames(&["40".to_owned()]));
            (open.len()..HOARD).for_each(|_| self.open_for_thief(peer, &all));
        }
        let place = |at: usize| format!("{{\"_placeholder\":true,\"num\":{at}}}");
        let event = format!("452-[\"e\",\"#9#{peer}#\",{},{}]", place(0), place(1));
        let mut all = frames(&[event]);
        all.extend(frame(0x82, &vec![7; ATTACHMENT], ATTACHMENT));
        open.into_iter().for_each(|number| self.write(number, Way::Up, &all));
    }

    /// On some new websockets the thief joins and leaves a large attachment, behind which another
    /// one does not come. It takes three steps on each, because it has to have joined before.
    fn hoard_at_once(&mut self, peer: usize, rng: &mut Rng) {
        if self.wires_of(peer).len() + 3 > MOST_WIRES {
            return self.vanish(peer);
        }
        let place = |at: usize| format!("{{\"_placeholder\":true,\"num\":{at}}}");
        let event = format!("452-[\"e\",\"#9#{peer}#\",{},{}]", place(0), place(1));
        let mut begins = frames(&[event]);
        begins.extend(frame(0x82, &vec![7; LARGE_ATTACHMENT], LARGE_ATTACHMENT));
        for _ in 0..3 {
            let opening = request(rng, "GET", "/socket.io/?EIO=4&transport=websocket", None);
            let number = self.open_raw(peer, &opening);
            self.write(number, Way::Up, &frames(&["40".to_owned()]));
            self.write(number, Way::Up, &begins);
        }
    }

    /// The thief opens a session that polls, joins, and then sends more packets in one POST than it
    /// may, each with a step of its own.
    fn post_much(&mut self, peer: usize, rng: &mut Rng) {
        let opening = request(rng, "GET", POLLING, None);
        let Some(thief) = &mut self.thief else { return };
        let joined = thief.session.take();
        let known = thief.ids.iter().rfind(|id| id.len() > ID).cloned();
        let Some(id) = joined.clone().or(known) else {
            return self.open_for_thief(peer, &opening);
        };
        thief.ids.clear();
        let target = format!("{POLLING}&sid={id}");
        if joined.is_none() {
            thief.session = Some(id);
            let joins = request(rng, "POST", &target, Some((b"40", 2)));
            return self.open_for_thief(peer, &joins);
        }
        // Each packet costs some hundred bytes of memory, so they are not the smallest.
        let body = vec!["42[\"e\",1234]"; rng.usize(POSTED + 50..POSTED + 150)].join("\u{1e}");
        let post = request(rng, "POST", &target, Some((body.as_bytes(), body.len())));
        self.open_for_thief(peer, &post);
    }

    /// The thief opens a connection, unless it has many.
    pub(crate) fn open_for_thief(&mut self, peer: usize, bytes: &[u8]) {
        let wires = self.wires_of(peer);
        match wires.first().copied().filter(|_| wires.len() >= MOST_WIRES) {
            Some(wire) => self.write(wire, Way::Up, bytes),
            None => _ = self.open_raw(peer, bytes),
        }
    }
}
