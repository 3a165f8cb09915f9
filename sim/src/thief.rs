//! A thief: a peer that speaks bytes as it likes, from an address of its own. It wants more memory
//! and work than it pays for, and to open, read and speak without permission.
//!
//! Nothing is promised for its messages. All other promises hold while it works: the prices of its
//! inputs and of its memory, the timeouts, and everything that the clients beside it were promised.
//!
//! Here is what a thief does at random. `habits.rs` has what it does again and again.

use fastrand::Rng;
use sio_proto::server::Cause;
use sio_proto::{LinkId, Time};

use crate::habits::Habit;
use crate::network::Way;
use crate::orders::Order;
use crate::violation::Promise;
use crate::world::{World, note};

/// The page of another site.
pub(crate) const FOREIGN_PAGE: &[u8] = b"http://evil.example";

/// The name of the server, and the only one that it answers to if there is a thief.
pub(crate) const HOST: &str = "sim.example:3000";

/// A name that points at the address of the server, and is not its own.
const REBOUND_HOST: &str = "rebound.example:3000";

/// The most ids of sessions that it remembers.
const MOST_IDS: usize = 12;

/// The most connections that it has.
pub(crate) const MOST_WIRES: usize = 24;

/// The length of the ids of sessions of Engine.IO.
pub(crate) const ID: usize = 20;

/// What a session keeps beside what its settings limit.
const SMALL: usize = 8 << 10;

/// What a connection keeps beside what its settings limit.
const SMALL_CONNECTION: usize = 4 << 10;

/// A time that does not come.
pub(crate) const NEVER: Time = Time::from_micros(u64::MAX);

/// The requests that may open a session.
const OPENINGS: [&str; 18] = [
    "/socket.io/?EIO=4&transport=polling",
    "/socket.io/?EIO=4&transport=polling",
    "/socket.io/?EIO=3&transport=polling",
    "/socket.io/?EIO=3&transport=polling&j=0",
    "/socket.io/?EIO=4&transport=websocket",
    "/socket.io/?EIO=4&transport=websocket",
    "/socket.io/?EIO=3&transport=websocket",
    "/socket.io/1/?t=1",
    "/socket.io/1/?jsonp=0",
    "/socket.io/1/aaaaaaaaaaaaaaaaaaaa?disconnect",
    "/socket.io/1/websocket/aaaaaaaaaaaaaaaaaaaa",
    "/socket.io/xhr-polling//1234567890123",
    "/socket.io/xhr-polling/1234567890123",
    "/socket.io/jsonp-polling//1234567890123/0",
    "/socket.io/xhr-multipart",
    "/socket.io/htmlfile",
    "/socket.io/websocket",
    "/streaming/xhr-polling//1234567890123",
];

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Thief {
    /// Its number among the peers.
    pub(crate) peer: usize,
    /// The ids that it has read, the newest last.
    pub(crate) ids: Vec<String>,
    pub(crate) habit: Habit,
    /// When it follows its habit next.
    pub(crate) next: Time,
    /// The session to which its habit belongs.
    pub(crate) session: Option<String>,
    /// The connections of a session that is moving: that of its polls, and its websocket.
    pub(crate) moving: Option<(u64, u64)>,
}

impl Thief {
    pub(crate) const fn new(peer: usize, habit: Habit) -> Self {
        Self {
            peer,
            ids: Vec::new(),
            habit,
            next: Time::ZERO,
            session: None,
            moving: None,
        }
    }
}

/// Whether a request becomes a websocket.
fn is_websocket(target: &str) -> bool {
    target.contains("websocket")
}

pub(crate) fn request(rng: &mut Rng, method: &str, target: &str, body: Option<(&[u8], usize)>) -> Vec<u8> {
    let mut head = format!("{method} {target}");
    if rng.u32(0..6) == 0 {
        let sign = if target.contains('?') { '&' } else { '?' };
        head.push(sign);
        // Empty pairs are the most that fit into a head.
        let (pair, most) = [("&a=b", 1500), ("&", 7800)][rng.usize(0..2)];
        head.push_str(&pair.repeat(rng.usize(1..most)));
    }
    head.push_str(" HTTP/1.1\r\n");
    // A page whose name is rebound to the address of the server has no other origin than its host.
    let is_rebound = rng.u32(0..10) == 0;
    head.push_str(&format!("Host: {}\r\n", if is_rebound { REBOUND_HOST } else { HOST }));
    match rng.u32(0..8) {
        _ if is_rebound => head.push_str(&format!("Origin: http://{REBOUND_HOST}\r\n")),
        0 | 1 => head.push_str(&format!("Origin: {}\r\n", String::from_utf8_lossy(FOREIGN_PAGE))),
        // A page of the same site, which may load scripts.
        2 => head.push_str("Referer: http://sim.example:3000/page\r\n"),
        _ => {}
    }
    if rng.u32(0..6) == 0 {
        head.push_str(&format!("X-Padding: {}\r\n", "p".repeat(rng.usize(1..4000))));
    }
    if is_websocket(target) {
        head.push_str(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        );
    }
    if let Some((_, length)) = body {
        head.push_str(&format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend(body.map(|(body, _)| body).unwrap_or_default());
    bytes
}

/// The form of a script, with an event that is full of escapes.
fn form_of_escapes(peer: usize, rng: &mut Rng) -> String {
    let escapes = "\\\\n".repeat(rng.usize(1..3_000));
    format!("d=42[\"e\",\"#8#{peer}#{escapes}\"]")
}

/// A frame of a websocket. Its mask is zero.
pub(crate) fn frame(head: u8, payload: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = vec![head];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        _ => {
            bytes.push(0x80 | 126);
            bytes.extend((length.min(65_535) as u16).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

impl World {
    /// The thief does something.
    pub(crate) fn steal(&mut self, rng: &mut Rng) {
        let Some(peer) = self.thief.as_ref().map(|thief| thief.peer) else {
            return;
        };
        let wires: Vec<u64> = self.wires_of(peer);
        let wire = wires.get(rng.usize(0..1 << 16) % wires.len().max(1)).copied();
        if self.plan.straits.is_some() && rng.bool() {
            return self.press(peer, rng);
        }
        let follows = self.thief.as_ref().is_some_and(|thief| thief.habit != Habit::Roam);
        if follows && rng.u32(0..12) > 0 {
            return self.follow_habit(rng);
        }
        match (rng.u32(0..17), wire) {
            (16, _) => self.move_at_once(peer, rng),
            (0..4, _) | (_, None) => self.open_as_thief(peer, &wires, rng),
            (4..9, _) => self.use_session(peer, &wires, rng),
            (9..12, Some(wire)) => {
                let bytes = self.frames(peer, rng);
                self.write(wire, Way::Up, &bytes);
            }
            (12, Some(number)) => {
                // It stops reading, or goes on.
                if let Some(wire) = self.wires.get_mut(&number) {
                    let stops = rng.bool();
                    wire.down.frozen = if stops { NEVER } else { self.now };
                    wire.reads = !stops;
                }
            }
            (13, Some(number)) => {
                if let Some(wire) = self.wires.get_mut(&number) {
                    wire.up.finish(self.now);
                }
            }
            (14, Some(number)) => {
                let junk: Vec<u8> = (0..rng.usize(1..300)).map(|_| rng.u8(..)).collect();
                self.write(number, Way::Up, &junk);
            }
            _ => self.vanish(peer),
        }
    }

    fn open_as_thief(&mut self, peer: usize, wires: &[u64], rng: &mut Rng) {
        let target = OPENINGS[rng.usize(0..OPENINGS.len())];
        let bytes = request(rng, "GET", target, None);
        let times = if rng.u32(0..5) == 0 { rng.usize(2..60) } else { 1 };
        let mut all = bytes.repeat(times);
        if is_websocket(target) && rng.bool() {
            // The whole visit at once: it joins, and goes on.
            all.extend(frame(0x81, b"40", 2));
            all.extend(self.frames(peer, rng));
        }
        note!(self, "thief: {times} times {target}");
        self.send_as_thief(peer, wires, &all, rng);
    }

    /// A request on an old connection, or on a new one.
    fn send_as_thief(&mut self, peer: usize, wires: &[u64], bytes: &[u8], rng: &mut Rng) {
        let old = wires.get(rng.usize(0..1 << 16) % wires.len().max(1)).copied();
        match old.filter(|_| rng.bool() || wires.len() >= MOST_WIRES) {
            Some(wire) => self.write(wire, Way::Up, bytes),
            None => {
                let number = self.open_raw(peer, bytes);
                if let Some(wire) = self.wires.get_mut(&number)
                    && rng.u32(0..4) == 0
                {
                    (wire.down.frozen, wire.reads) = (NEVER, false);
                }
            }
        }
    }

    /// An id that the thief has read, or the public id of somebody else.
    pub(crate) fn any_id(&self, rng: &mut Rng) -> String {
        let ids = self.thief.as_ref().map(|thief| &thief.ids[..]).unwrap_or_default();
        let one = rng.usize(0..1 << 16);
        let others: Vec<&String> = self.members.values().map(|member| &member.sid).collect();
        match (ids.is_empty(), others.is_empty(), rng.u32(0..4)) {
            (false, _, 1..) => ids[one % ids.len()].clone(),
            (_, false, _) => others[one % others.len()].clone(),
            _ => "a".repeat(ID),
        }
    }

    fn use_session(&mut self, peer: usize, wires: &[u64], rng: &mut Rng) {
        let id = self.any_id(rng);
        let target = match rng.u32(0..12) {
            0..6 => format!("/socket.io/?EIO=4&transport=polling&sid={id}"),
            6 => format!("/socket.io/?EIO=3&transport=polling&sid={id}"),
            7 => format!("/socket.io/?EIO=4&transport=websocket&sid={id}"),
            8 => format!("/socket.io/1/xhr-polling/{id}?t=1"),
            9 => format!("/socket.io/1/websocket/{id}"),
            10 => format!("/socket.io/xhr-polling/{id}/1234567890123"),
            _ => format!("/socket.io/?EIO=4&transport=polling&sid={id}&j=0"),
        };
        note!(self, "thief: uses {target}");
        let bytes = if is_websocket(&target) || rng.u32(0..3) == 0 {
            request(rng, "GET", &target, None)
        } else {
            let body = match target.ends_with("&j=0") {
                true => form_of_escapes(peer, rng),
                false => self.packets(peer, rng).join("\u{1e}"),
            };
            // Sometimes the body does not come.
            let missing = if rng.u32(0..5) == 0 { rng.usize(1..2000) } else { 0 };
            request(rng, "POST", &target, Some((body.as_bytes(), body.len() + missing)))
        };
        self.send_as_thief(peer, wires, &bytes, rng);
    }

    /// Packets of a thief.
    fn packets(&self, peer: usize, rng: &mut Rng) -> Vec<String> {
        let times = [1, 1, 4, 40, 300][rng.usize(0..5)];
        let size = [0, 10, 900, 3000][rng.usize(0..4)];
        let placeholders = vec!["{\"_placeholder\":true,\"num\":0}"; rng.usize(1..60)].join(",");
        let packets: Vec<String> = match rng.u32(0..13) {
            0 => vec!["40".to_owned()],
            1 => vec!["40".to_owned(), format!("42[\"e\",\"#7#{peer}#\"]")],
            2 => vec!["40/a,".to_owned(), "41/a,".to_owned()],
            3 => vec![format!("40/a,{{\"token\":\"{}\"}}", "t".repeat(size))],
            4 => vec!["3".to_owned()],
            5 => vec!["2".to_owned()],
            6 => vec![format!("42[\"e\",\"#8#{peer}#{}\"]", "z".repeat(size))],
            7 => vec![
                format!("451-[\"e\",\"#9#{peer}#\",{placeholders}]"),
                "bAQIDBA==".to_owned(),
            ],
            8 => vec![format!(
                "451-[\"e\",\"#9#{peer}#\",{{\"_placeholder\":true,\"num\":0}}]"
            )],
            9 => vec![format!(
                "42[\"e\",\"#9#{peer}#\",{}{}]",
                "[".repeat(size),
                "]".repeat(size)
            )],
            10 => vec!["4".to_owned()],
            11 => vec!["2probe".to_owned()],
            _ => vec!["1".to_owned()],
        };
        (0..times).flat_map(|_| packets.iter().cloned()).collect()
    }

    /// Frames of a thief.
    fn frames(&self, peer: usize, rng: &mut Rng) -> Vec<u8> {
        let times = [1, 30, 400][rng.usize(0..3)];
        let size = [0, 20, 125][rng.usize(0..3)];
        match rng.u32(0..6) {
            0 => frame(0x89, &vec![b'p'; size], size).repeat(times),
            // A message of which most does not come.
            1 => frame(0x81, b"42[\"e\",\"", rng.usize(100..9000)),
            2 => frame(0x01, b"42[\"e\",\"", 8),
            _ => {
                let packets = self.packets(peer, rng);
                packets
                    .iter()
                    .flat_map(|packet| match packet.starts_with('b') {
                        true => frame(0x82, &[7; 8], 8),
                        false => frame(0x81, packet.as_bytes(), packet.len()),
                    })
                    .collect()
            }
        }
    }

    /// The thief reads. It remembers ids of sessions.
    pub(crate) fn thief_reads(&mut self, bytes: &[u8]) {
        let Some(thief) = &mut self.thief else { return };
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
        for word in bytes.split(|byte| !is_part(byte)) {
            if (word.len() == ID || word.len() == 32) && thief.ids.len() < MOST_IDS {
                thief.ids.push(String::from_utf8_lossy(word).into_owned());
            }
        }
        if thief.ids.len() == MOST_IDS {
            thief.ids.remove(0);
        }
    }

    /// Everything of a peer ends at once. What the server gives back is what it has held for this
    /// one peer.
    pub(crate) fn vanish(&mut self, peer: usize) {
        self.settle();
        let (now, before) = (self.now, self.held.bytes);
        let sessions = self.door.sessions(peer);
        let numbers = self.wires_of(peer);
        let connections: usize = numbers.iter().map(|number| self.most_of_connection(*number)).sum();
        let sockets = self.members.iter().filter(|(_, member)| member.client == peer);
        let mut sockets: Vec<_> = sockets.map(|(socket, _)| *socket).collect();
        if self.thief.as_ref().is_some_and(|thief| thief.peer == peer) {
            sockets.extend(self.guests());
        }
        for number in numbers {
            let Some(wire) = self.forget(number) else { continue };
            if let Some(link) = wire.at_server {
                let kept = wire.down.kept_back(now, self.plan.traffic);
                self.close_at_server(link, (kept > 0).then_some(kept), Cause::Failed);
            }
            if let Some(link) = wire.at_client {
                self.peers[peer].payer.handle_closed(now, link);
            }
        }
        for socket in sockets {
            let items = self.ending_with(socket);
            self.at(socket, Order::End { items }, |shard, out, key| {
                if let Some(session) = shard.session_of(key) {
                    shard.close_engine(now, session, out);
                }
            });
        }
        self.settle();
        let freed = before - self.held.bytes;
        let most = sessions * self.most_of_session() + connections + SMALL;
        note!(self, "c{peer} vanishes, which gives {freed} bytes back, at most {most}");
        if freed > most as isize {
            let words = format_args!("the server has held {freed} bytes for client {peer}, at most {most}");
            self.fail(Promise::Price, words);
        }
        if let Some(thief) = self.thief.as_mut().filter(|thief| thief.peer == peer) {
            thief.ids.clear();
            (thief.session, thief.moving) = (None, None);
        }
    }

    /// The most bytes that the server may hold for one session.
    pub(crate) fn most_of_session(&self) -> usize {
        let config = &self.plan.server;
        let queue = config.max_queued_bytes + 128 * config.max_queued_packets;
        let incoming = config.max_payload;
        SMALL + queue + queue / 8 + incoming + config.max_handshake_bytes + config.max_auth_bytes
    }

    /// The most bytes that the server may hold for one connection: what has come and is not
    /// complete, and what waits because the client does not read.
    pub(crate) fn most_of_connection(&self, number: u64) -> usize {
        let Some(wire) = self.wires.get(&number) else {
            return 0;
        };
        let config = &self.plan.server;
        let most = 2 * (config.max_payload + config.http.max_head_bytes) + config.max_blocked_bytes;
        SMALL_CONNECTION + (2 * wire.given).min(most)
    }

    /// A link for a peer that speaks bytes.
    pub(crate) fn open_raw(&mut self, peer: usize, bytes: &[u8]) -> u64 {
        let number = self.open_ghost(peer);
        self.write(number, Way::Up, bytes);
        number
    }

    /// Requests that are for the application are refused by closing the connection.
    pub(crate) fn refuse_foreign(&mut self, link: LinkId) {
        let number = self.at_server.get(&link).copied();
        if let Some(number) = number {
            self.forget(number);
        }
        self.close_at_server(link, None, Cause::Closed);
    }
}
