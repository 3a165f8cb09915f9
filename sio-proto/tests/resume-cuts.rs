//! Clients of 0.3 to 0.9 whose connections are cut at any byte and at any moment get a numbered
//! stream of messages in order, none of them twice, and miss no more than the server has counted
//! (docs/protocol/legacy-0.6.md §18). The network is simulated: each connection has a buffer of the
//! operating system, whose content is lost when the connection is cut.
//!
//! A page that polls may give up a poll whose answer its browser has read. The messages in such an
//! answer were not lost on the wire, and no server can count them.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use std::collections::{BTreeMap, VecDeque};

use common::*;
use proptest::prelude::*;
use sio_proto::codec::Streaming;
use sio_proto::server::{Cause, SendError};
use sio_proto::{Config, LinkId, SocketKey};

/// How often the connection of each client is cut.
const CUTS: usize = 220;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    WebSocket,
    Hixie75,
    Htmlfile,
    Multipart,
    Xhr,
    Jsonp,
    StreamingWebSocket,
    StreamingXhr,
    Xhr09,
    Jsonp09,
}

impl Way {
    const ALL: [Self; 10] = [
        Self::WebSocket,
        Self::Hixie75,
        Self::Htmlfile,
        Self::Multipart,
        Self::Xhr,
        Self::Jsonp,
        Self::StreamingWebSocket,
        Self::StreamingXhr,
        Self::Xhr09,
        Self::Jsonp09,
    ];

    const fn polls(self) -> bool {
        matches!(
            self,
            Self::Xhr | Self::Jsonp | Self::StreamingXhr | Self::Xhr09 | Self::Jsonp09
        )
    }

    /// The request that opens the session, if `id` is empty, or goes on with it.
    fn request(self, id: &str, stamp: u64) -> Vec<u8> {
        match self {
            Self::WebSocket => upgrade(&format!("/socket.io/websocket/{id}")),
            Self::StreamingWebSocket => upgrade(&format!("/streaming/websocket/{id}")),
            Self::Hixie75 => {
                let headers = ["Upgrade: WebSocket", "Connection: Upgrade", "Origin: http://localhost"];
                request("GET", &format!("/socket.io/websocket/{id}"), &headers, "")
            }
            Self::Htmlfile => get(&format!("/socket.io/htmlfile/{id}/{stamp}")),
            Self::Multipart => get(&format!("/socket.io/xhr-multipart/{id}")),
            Self::Xhr => get(&format!("/socket.io/xhr-polling/{id}/{stamp}")),
            Self::StreamingXhr => get(&format!("/streaming/xhr-polling/{id}/{stamp}")),
            Self::Jsonp => get(&format!("/socket.io/jsonp-polling/{id}/{stamp}/0")),
            Self::Xhr09 => get(&format!("/socket.io/1/xhr-polling/{id}?t={stamp}")),
            Self::Jsonp09 => get(&format!("/socket.io/1/jsonp-polling/{id}?t={stamp}&i=0")),
        }
    }

    /// Takes the complete units out of what a client has read: frames, scripts, parts, answers.
    fn take_units(self, read: &mut Vec<u8>, has_head: &mut bool) -> Vec<String> {
        if !*has_head && !self.polls() {
            let Some(end) = find(read, b"\r\n\r\n") else {
                return Vec::new();
            };
            read.drain(..end);
            *has_head = true;
        }
        let mut units = Vec::new();
        while let Some(end) = self.end_of_unit(read) {
            let unit: Vec<u8> = read.drain(..end).collect();
            units.push(String::from_utf8_lossy(&unit).into_owned());
        }
        units
    }

    fn end_of_unit(self, read: &[u8]) -> Option<usize> {
        match self {
            Self::WebSocket | Self::StreamingWebSocket => {
                let (short, rest) = (*read.get(1)? & 127, read);
                let (head, len) = match short {
                    126 => (4, usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]))),
                    short => (2, usize::from(short)),
                };
                (read.len() >= head + len).then_some(head + len)
            }
            Self::Hixie75 => find(read, b"\xff"),
            Self::Htmlfile => find(read, b"</script>\r\n"),
            Self::Multipart => find(read, b"\n--socketio\n"),
            Self::Xhr | Self::Jsonp | Self::StreamingXhr | Self::Xhr09 | Self::Jsonp09 => {
                let head = find(read, b"\r\n\r\n")?;
                let text = std::str::from_utf8(&read[..head]).unwrap();
                assert_eq!(status(text), 200, "{text}");
                let length: usize = header(text, "Content-Length").unwrap().parse().unwrap();
                (read.len() >= head + length).then_some(head + length)
            }
        }
    }
}

/// The end of the first place of these bytes.
fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let at = bytes.windows(what.len()).position(|w| w == what)?;
    Some(at + what.len())
}

/// The numbers in a unit: `m17e`.
fn numbers(unit: &str) -> Vec<u64> {
    let parts = unit.split('m').skip(1);
    let digits = parts.filter_map(|part| part.split_once('e')).map(|(digits, _)| digits);
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

/// Random numbers of a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }

    fn one_of(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// A connection, as the server sees it.
#[derive(Default)]
struct Wire {
    /// Bytes that the operating system has taken.
    sent: VecDeque<u8>,
    /// Bytes that it has not taken.
    held: VecDeque<u8>,
    blocked: bool,
}

struct Story {
    world: World,
    dice: Dice,
    way: Way,
    /// How many bytes the operating system takes for a connection.
    room: usize,
    /// Whether the client reads all that the operating system has, before a connection is cut.
    gentle: bool,
    wires: BTreeMap<LinkId, Wire>,
    socket: SocketKey,
    id: String,
    stamp: u64,
    /// The client's connection.
    link: Option<LinkId>,
    read: Vec<u8>,
    has_head: bool,
    /// Connections that are dead, which the server does not know yet.
    dead: Vec<LinkId>,
    next: u64,
    arrived: Vec<u64>,
    /// Whether the page may give up polls.
    gives_up: bool,
    /// Messages in answers that the browser has read, and that the page has given up.
    given_up: u64,
    cuts: usize,
    cuts_in_a_write: usize,
}

impl Story {
    fn new(way: Way, seed: u64, gentle: bool) -> Self {
        let mut config = Config::default();
        config.transports.jsonp = true;
        config.transports.htmlfile = true;
        config.legacy06 = config.legacy06.mount("/streaming", Streaming);
        let mut world = World::new(config);
        let first = match way {
            Way::Xhr09 | Way::Jsonp09 => get("/socket.io/1/?t=1795447966000"),
            way => way.request("", 1_795_447_966_000),
        };
        let link = world.open();
        world.send(link, &first);
        let socket = world.last_socket();
        let mut dice = Dice(seed);
        let mut story = Self {
            room: 1 + dice.below(if gentle { 300 } else { 2_000 }),
            world,
            dice,
            way,
            gentle,
            wires: BTreeMap::new(),
            socket,
            id: String::new(),
            stamp: 1_795_447_966_000,
            link: Some(link),
            read: Vec::new(),
            has_head: false,
            dead: Vec::new(),
            next: 0,
            arrived: Vec::new(),
            gives_up: way.polls(),
            given_up: 0,
            cuts: 0,
            cuts_in_a_write: 0,
        };
        while story.id.is_empty() {
            story.pump();
            story.read_some(usize::MAX);
        }
        story
    }

    /// The operating system takes what it can, and the server is told what it cannot.
    fn pump(&mut self) {
        for (link, bytes) in self.world.sent.drain(..) {
            self.wires.entry(link).or_default().held.extend(bytes);
        }
        let links: Vec<LinkId> = self.wires.keys().copied().collect();
        for link in links {
            let wire = self.wires.get_mut(&link).unwrap();
            let room = self.room.saturating_sub(wire.sent.len());
            // Nobody answers at a dead connection.
            let takes = !self.gentle || !self.dead.contains(&link);
            let taken = if takes { wire.held.len().min(room) } else { 0 };
            wire.sent.extend(wire.held.drain(..taken));
            let held = wire.held.len();
            if held > 0 && (taken > 0 || !wire.blocked) {
                wire.blocked = true;
                self.world.block(link, held);
            } else if held == 0 && wire.blocked {
                wire.blocked = false;
                self.world.server.handle_drained(self.world.now, link);
                self.world.settle();
            }
        }
        if !self.world.sent.is_empty() {
            self.pump();
        }
    }

    /// The client reads up to this many bytes, and does what follows.
    fn read_some(&mut self, most: usize) {
        let Some(wire) = self.link.and_then(|link| self.wires.get_mut(&link)) else {
            return;
        };
        let count = wire.sent.len().min(most);
        self.read.extend(wire.sent.drain(..count));
        for unit in self.way.take_units(&mut self.read, &mut self.has_head) {
            self.hear(&unit);
        }
        self.pump();
    }

    fn hear(&mut self, unit: &str) {
        if self.id.is_empty() {
            self.id = match self.way {
                Way::Xhr09 | Way::Jsonp09 => body(unit).split(':').next().unwrap().into(),
                Way::StreamingWebSocket | Way::StreamingXhr => unit.split("3:39:").nth(1).unwrap()[..39].into(),
                _ => unit
                    .split("~m~39~m~")
                    .nth(1)
                    .map_or_else(String::new, |id| id[..39].into()),
            };
        }
        let numbers = numbers(unit);
        if self.gives_up && !numbers.is_empty() && self.dice.one_of(20) {
            self.given_up += numbers.len() as u64;
        } else {
            self.arrived.extend(numbers);
        }
        if let Some(beat) = unit.split("~m~~h~").nth(1) {
            let beat: String = beat.chars().take_while(char::is_ascii_digit).collect();
            self.say(&format!("~m~{}~m~~h~{beat}", beat.len() + 3));
        } else if let Some(beat) = unit
            .split("2:1:")
            .nth(1)
            .filter(|_| self.way == Way::StreamingWebSocket)
        {
            self.say(&format!("2:1:{},", &beat[..1]));
        }
        if self.way.polls() && !self.id.is_empty() {
            self.stamp += 1;
            self.ask();
        }
    }

    /// The client sends a payload.
    fn say(&mut self, payload: &str) {
        let Some(link) = self.link else { return };
        match self.way {
            Way::WebSocket | Way::StreamingWebSocket => self.world.send(link, &text(payload)),
            Way::Hixie75 => self.world.send(link, &[b"\0", payload.as_bytes(), b"\xff"].concat()),
            _ => {
                let target = format!("/socket.io/xhr-multipart/{}/send", self.id);
                self.world.ask(&post(&target, &format!("data={payload}")));
            }
        }
    }

    /// The client sends its request, on the connection that it has or on a new one.
    fn ask(&mut self) {
        let link = self.link.unwrap_or_else(|| self.world.open());
        if self.link.is_none() {
            (self.read, self.has_head) = (Vec::new(), false);
        }
        self.link = Some(link);
        let request = self.way.request(&self.id, self.stamp);
        self.world.send(link, &request);
        self.pump();
    }

    fn emit(&mut self) {
        let padding = "x".repeat(self.dice.below(120));
        let message = format!("\"m{}e{padding}\"", self.next);
        match self.world.emit(self.socket, "message", &message) {
            Ok(()) => self.next += 1,
            Err(error) => assert_eq!(error, SendError::Full),
        }
        self.pump();
    }

    /// The client's connection is cut. The client comes back now or later, and the server learns of
    /// the cut now or later.
    fn cut(&mut self) {
        let Some(link) = self.link else { return };
        self.cuts += 1;
        if self.gentle {
            let wire = self.wires.entry(link).or_default();
            let bytes: Vec<u8> = wire.sent.drain(..).collect();
            self.read.extend(bytes);
            let units = self.way.take_units(&mut self.read, &mut self.has_head);
            self.arrived.extend(units.iter().flat_map(|unit| numbers(unit)));
            self.stamp += u64::from(!units.is_empty());
        } else {
            self.read_some(self.room / 2);
        }
        let Some(link) = self.link.take() else { return };
        self.cuts_in_a_write += usize::from(!self.wires.entry(link).or_default().held.is_empty());
        let has_answer_begun = !self.read.is_empty();
        self.dead.push(link);
        if self.dice.one_of(2) {
            self.tell_dead();
        }
        // A browser repeats its GET only if nothing of the answer has come.
        if !self.way.polls() || has_answer_begun || self.dice.one_of(2) {
            self.stamp += 1;
        }
        if self.dice.one_of(2) {
            self.ask();
        }
    }

    /// The server learns of the connections that are dead.
    fn tell_dead(&mut self) {
        for link in std::mem::take(&mut self.dead) {
            self.wires.remove(&link);
            if !self.world.ended.contains(&link) {
                self.world.cut(link, Cause::Failed);
            }
        }
        self.pump();
    }

    fn step(&mut self) {
        match self.dice.below(20) {
            0..8 => self.emit(),
            8..13 => {
                let most = 1 + self.dice.below(400);
                self.read_some(most);
            }
            13..15 => self.cut(),
            15 | 16 => self.tell_dead(),
            17 => {
                let millis = self.dice.below(900) as u64;
                self.world.pass(millis);
                self.pump();
            }
            _ if self.link.is_none() => self.ask(),
            _ => {}
        }
    }

    /// Lets the client read all that is left. The server learns of the last cuts only after this,
    /// as it does when a connection is half dead. Returns how many messages were lost on the wire,
    /// and how many the server has counted.
    fn end(&mut self) -> (u64, u64) {
        self.gives_up = false;
        self.cut();
        if self.link.is_none() {
            self.ask();
        }
        let end = self.next;
        self.room = 1 << 20;
        let last = format!("\"m{end}e\"");
        let mut tries = 0;
        while let Err(error) = self.world.emit(self.socket, "message", &last) {
            assert_eq!(error, SendError::Full, "{:?}", self.way);
            tries += 1;
            assert!(tries < 1000, "the queue gets room by {:?}", self.way);
            self.pump();
            self.read_some(usize::MAX);
        }
        for _ in 0..10 {
            self.pump();
            self.read_some(usize::MAX);
        }
        assert_eq!(
            self.arrived.last(),
            Some(&end),
            "the last message arrives by {:?}",
            self.way
        );
        let in_order = self.arrived.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(in_order, "in order, and none twice: {:?}", self.arrived);
        self.tell_dead();
        let counted = self.world.shard(|shard, _| shard.counters().unconfirmed);
        (end + 1 - self.arrived.len() as u64 - self.given_up, counted)
    }
}

fn run(way: Way, seed: u64, gentle: bool) -> Story {
    let mut story = Story::new(way, seed, gentle);
    while story.cuts < CUTS {
        story.step();
    }
    story
}

// A case is a long story: `PROPTEST_CASES` does not make more of them.
proptest! {
    #![proptest_config(ProptestConfig { cases: 2, failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// What the operating system had taken when the connection was cut may be lost, and is counted.
    #[test]
    fn of_the_messages_that_have_not_arrived_all_are_counted(seed: u64) {
        for way in Way::ALL {
            let mut story = run(way, seed, false);
            let (missing, counted) = story.end();
            prop_assert!(missing <= counted, "{way:?}: {missing} missing, {counted} counted");
            prop_assert!(story.arrived.len() > 200, "{way:?}: {}", story.arrived.len());
        }
    }

    /// If the client has read what the operating system had taken, every message arrives exactly
    /// once, wherever the write was cut.
    #[test]
    fn nothing_is_lost_that_was_not_written(seed: u64) {
        let mut in_a_write = 0;
        for way in Way::ALL {
            let mut story = run(way, seed, true);
            in_a_write += story.cuts_in_a_write;
            let (missing, _) = story.end();
            prop_assert_eq!(missing, 0, "{:?}", way);
        }
        prop_assert!(in_a_write > 50, "{} cuts in a write", in_a_write);
    }
}

/// Another stream takes the place of one whose head was not written completely. The session must
/// not wait for packets of the first.
#[test]
fn a_stream_may_give_way_before_its_head_was_written() {
    for seed in [11_008_053_066_886_195_662, 12_371_428_055_675_856_701] {
        let (missing, _) = run(Way::Htmlfile, seed, true).end();
        assert_eq!(missing, 0);
    }
}
