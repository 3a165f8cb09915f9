//! What a thief does again and again. Much of what a server may not do for a peer shows only if the
//! peer does the same thing for long, or with many connections.

use std::time::Duration;

use fastrand::Rng;
use sio_proto::Time;

use crate::network::Way;
use crate::thief::{HOST, MOST_WIRES, NEVER, frame, request};
use crate::world::{World, note};

/// The time between two steps.
const STEP: Duration = Duration::from_millis(300);

/// The most bytes that may be under way to the server on one connection.
const MOST_UNDER_WAY: usize = 256 << 10;

/// In one of so many steps something long is sent in pieces.
const TRICKLES_OF: u32 = 20;

/// The most bytes that are sent in pieces: less than the limits of a seed with a thief.
const LONGEST_TRICKLE: usize = 14_000;

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// None: it does anything.
    Roam,
    /// It opens a session by polling, joins, says that it is alive, and never takes anything.
    Blind,
    /// It sends pings on a websocket that it does not read.
    Flood,
    /// It sends the beginnings of messages on many websockets, each with two attachments of which
    /// one does not come.
    Hoard,
    /// It names one attachment many times.
    Multiply,
    /// It joins and leaves a namespace as fast as it can.
    Turnstile,
    /// It moves sessions to websockets while a GET is held.
    Move,
    /// It sends long heads, bodies and frames, a few bytes at a time.
    Trickle,
}

impl Habit {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        match rng.u32(0..12) {
            0 => Self::Blind,
            1 => Self::Flood,
            2 => Self::Hoard,
            3 => Self::Multiply,
            4 => Self::Turnstile,
            5 => Self::Move,
            6 => Self::Trickle,
            _ => Self::Roam,
        }
    }
}

/// The packets of a websocket, each in a frame.
pub(crate) fn frames(packets: &[String]) -> Vec<u8> {
    let framed = packets
        .iter()
        .flat_map(|packet| frame(0x81, packet.as_bytes(), packet.len()));
    framed.collect()
}

impl World {
    /// When the thief follows its habit next.
    pub(crate) fn next_of_thief(&self) -> Option<Time> {
        let thief = self.thief.as_ref()?;
        (thief.habit != Habit::Roam && !self.is_calm).then_some(thief.next)
    }

    /// The thief does one step of its habit, if it is time.
    pub(crate) fn wake_thief(&mut self) {
        let now = self.now;
        if self.next_of_thief().is_some_and(|next| next <= now) {
            let mut rng = self.rng.fork();
            if let Some(thief) = &mut self.thief {
                thief.next = now + STEP;
            }
            self.follow_habit(&mut rng);
        }
    }

    /// One step of the habit.
    pub(crate) fn follow_habit(&mut self, rng: &mut Rng) {
        let Some((peer, habit)) = self.thief.as_ref().map(|thief| (thief.peer, thief.habit)) else {
            return;
        };
        note!(self, "thief: {habit:?}");
        match habit {
            Habit::Roam => {}
            Habit::Blind => self.answer_blindly(peer, rng),
            Habit::Move => self.move_in_two_steps(peer, rng),
            Habit::Trickle => self.trickle(peer, rng),
            Habit::Flood => {
                let joins = ["40".to_owned()];
                let pings = frame(0x89, &[b'p'; 125], 125).repeat(160);
                self.send_on_websocket(peer, 1, &joins, &pings, false, rng);
            }
            Habit::Hoard => {
                let joins = ["40".to_owned()];
                let places = [0, 1].map(|place| format!("{{\"_placeholder\":true,\"num\":{place}}}"));
                let mut begins = frames(&[format!("452-[\"e\",\"#9#{peer}#\",{}]", places.join(","))]);
                begins.extend(frame(0x82, &[7; 8], 8));
                self.send_on_websocket(peer, MOST_WIRES, &joins, &begins, true, rng);
            }
            Habit::Multiply => {
                let joins = ["40".to_owned()];
                let again = vec!["{\"_placeholder\":true,\"num\":0}"; rng.usize(2..9)].join(",");
                let mut all = frames(&[format!("451-[\"e\",\"#9#{peer}#\",{again}]")]);
                all.extend(frame(0x82, &[7; 8], 8));
                self.send_on_websocket(peer, 2, &joins, &all, true, rng);
            }
            Habit::Turnstile => {
                let turn = ["40/a,".to_owned(), "41/a,".to_owned()];
                let all = frames(&turn).repeat(rng.usize(4..40));
                self.send_on_websocket(peer, 1, &["40".to_owned()], &all, true, rng);
            }
        }
        self.settle();
    }

    /// First it probes, beside a poll. Then it polls as often as polls are answered at once, and
    /// once more, and says that it moves: this GET is held, and its session is a websocket.
    fn move_in_two_steps(&mut self, peer: usize, rng: &mut Rng) {
        let Some(thief) = &mut self.thief else { return };
        let id = match thief.session.take() {
            Some(id) => id,
            None => match thief.ids.iter().rfind(|id| id.len() > 20).cloned() {
                Some(id) => id,
                None => return self.begin_session(peer, rng),
            },
        };
        let wires = thief.moving.take();
        let get = |rng: &mut Rng, transport: &str| {
            let target = format!("/socket.io/?EIO=4&transport={transport}&sid={id}");
            request(rng, "GET", &target, None)
        };
        match wires {
            None => {
                let poll = self.open_raw(peer, &get(rng, "polling"));
                let mut probe = get(rng, "websocket");
                probe.extend(frames(&["2probe".to_owned()]));
                let websocket = self.open_raw(peer, &probe);
                if let Some(thief) = &mut self.thief {
                    (thief.session, thief.moving) = (Some(id), Some((poll, websocket)));
                }
            }
            Some((poll, websocket)) => {
                let polls: Vec<u8> = (0..3).flat_map(|_| get(rng, "polling")).collect();
                self.write(poll, Way::Up, &polls);
                self.write(websocket, Way::Up, &frames(&["5".to_owned()]));
                if let Some(thief) = &mut self.thief {
                    thief.ids.clear();
                }
            }
        }
    }

    /// Sends something long, in pieces of a few bytes, so that the server has to wait for the rest
    /// again and again.
    fn trickle(&mut self, peer: usize, rng: &mut Rng) {
        if rng.u32(0..TRICKLES_OF) > 0 || self.wires_of(peer).len() >= MOST_WIRES {
            return;
        }
        let length = rng.usize(4_000..LONGEST_TRICKLE);
        let polling = "/socket.io/?EIO=4&transport=polling";
        let bytes = match rng.u32(0..3) {
            0 => {
                let padding = "p".repeat(length);
                format!("GET {polling} HTTP/1.1\r\nHost: {HOST}\r\nX-Padding: {padding}\r\n\r\n").into_bytes()
            }
            1 => {
                let id = self.any_id(rng);
                let body = format!("42[\"e\",\"#8#{peer}#{}\"]", "z".repeat(length));
                let target = format!("{polling}&sid={id}");
                request(rng, "POST", &target, Some((body.as_bytes(), body.len())))
            }
            _ => {
                let mut all = request(rng, "GET", "/socket.io/?EIO=4&transport=websocket", None);
                let event = format!("42[\"e\",\"#8#{peer}#{}\"]", "z".repeat(length));
                all.extend(frames(&["40".to_owned(), event]));
                all
            }
        };
        let number = self.open_ghost(peer);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rng.usize(1..9).min(rest.len()));
            self.write(number, Way::Up, piece);
            rest = behind;
        }
    }

    /// A session that polls: it joins, and is then alive without a poll.
    fn answer_blindly(&mut self, peer: usize, rng: &mut Rng) {
        let thief = self.thief.as_mut().filter(|thief| thief.session.is_none());
        if let Some(thief) = thief {
            // A secret is longer than the id of a socket.
            thief.session = thief.ids.iter().rfind(|id| id.len() > 20).cloned();
            let body = match &thief.session {
                None => return self.begin_session(peer, rng),
                Some(_) => "40",
            };
            return self.post_blindly(peer, body, rng);
        }
        self.post_blindly(peer, "3", rng);
    }

    fn begin_session(&mut self, peer: usize, rng: &mut Rng) {
        if self.wires_of(peer).len() < MOST_WIRES {
            let opening = request(rng, "GET", "/socket.io/?EIO=4&transport=polling", None);
            self.open_raw(peer, &opening);
        }
    }

    fn post_blindly(&mut self, peer: usize, body: &str, rng: &mut Rng) {
        let Some(session) = self.thief.as_ref().and_then(|thief| thief.session.clone()) else {
            return;
        };
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={session}");
        let post = request(rng, "POST", &target, Some((body.as_bytes(), body.len())));
        match self.wires_of(peer).first().copied() {
            Some(wire) => self.write(wire, Way::Up, &post),
            None => _ = self.open_raw(peer, &post),
        }
    }

    /// Sends frames on up to `most` websockets. A new one joins first.
    fn send_on_websocket(
        &mut self,
        peer: usize,
        most: usize,
        joins: &[String],
        bytes: &[u8],
        reads: bool,
        rng: &mut Rng,
    ) {
        let wires = self.wires_of(peer);
        if wires.len() < most {
            let mut all = request(rng, "GET", "/socket.io/?EIO=4&transport=websocket", None);
            all.extend(frames(joins));
            all.extend(bytes);
            let number = self.open_raw(peer, &all);
            if let Some(wire) = self.wires.get_mut(&number)
                && !reads
            {
                (wire.down.frozen, wire.reads) = (NEVER, false);
            }
            return;
        }
        let number = wires[rng.usize(0..wires.len())];
        let has_room = |wire: &crate::network::Wire| wire.up.under_way() < MOST_UNDER_WAY;
        if self.wires.get(&number).is_some_and(has_room) {
            self.write(number, Way::Up, bytes);
        }
    }

    /// Moves a session to a websocket in one go, while a GET is held: it does not wait for the
    /// answer to its probe, as a careful client does.
    pub(crate) fn move_at_once(&mut self, peer: usize, rng: &mut Rng) {
        let id = self.any_id(rng);
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={id}");
        let poll = request(rng, "GET", &target, None);
        self.open_raw(peer, &poll);
        let target = format!("/socket.io/?EIO=4&transport=websocket&sid={id}");
        let mut all = request(rng, "GET", &target, None);
        all.extend(frames(&["2probe".to_owned(), "5".to_owned()]));
        note!(self, "thief: moves {id}");
        self.open_raw(peer, &all);
    }
}
