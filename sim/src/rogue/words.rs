//! What such a server says: answers of HTTP, frames, and packets of each wire.

use fastrand::Rng;
use sio_proto::BytesMut;
use sio_proto::client::Generation;
use sio_proto::websocket::{Opcode, encode_message, handshake};

use super::{Habit, Rogue};

/// A message of a server.
#[derive(Clone, Debug)]
enum Said {
    Text(String),
    Bytes(Vec<u8>),
}

/// The most pieces of a message that comes a few bytes at a time.
const MOST_PIECES: usize = 400;

/// Values that take many times the bytes of their text if they are kept.
fn wide(count: usize) -> String {
    let values = vec!["{\"\":0}"; count.max(1)].join(",");
    format!("[{values}]")
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_message(&mut out, opcode, payload, None);
    out.to_vec()
}

impl Rogue {
    /// The server says something on a connection.
    pub(super) fn speak(&mut self, at: usize, rng: &mut Rng) {
        let link = &self.links[at];
        let (id, target) = (link.id, link.asked.clone());
        let pieces = match (self.habit, rng.u32(0..6)) {
            (Habit::Trickle, _) => rng.usize(2..MOST_PIECES),
            (_, 0) => rng.usize(2..9),
            _ => 1,
        };
        if self.habit == Habit::Ask && link.is_post && rng.u32(0..20) > 0 {
            // It reads nothing, so it does not answer either.
            return;
        }
        if link.is_websocket {
            if self.habit == Habit::Ask {
                self.fill(at, true);
            }
            let bytes = self.frames(rng);
            return self.give(id, &bytes, pieces);
        }
        let Some(target) = target else {
            // An answer that nobody has asked for ends the session.
            if rng.u32(0..20) == 0 {
                self.give(id, b"HTTP/1.1 200 OK\r\n\r\n", 1);
            }
            return;
        };
        if let Some(key) = self.links[at].key.take() {
            self.links[at].asked = None;
            let head = match rng.u32(0..8) {
                0 => format!(
                    "HTTP/1.1 400 Bad Request\r\n{}Content-Length: 0\r\n\r\n",
                    self.fields(rng)
                ),
                _ => {
                    self.links[at].is_websocket = true;
                    let accept = handshake::accept_key(&key);
                    let accept = String::from_utf8_lossy(&accept).into_owned();
                    format!(
                        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: {accept}\r\n{}\r\n",
                        self.fields(rng)
                    )
                }
            };
            self.give(id, head.as_bytes(), pieces);
            if self.links.iter().any(|link| link.id == id && link.is_websocket) && rng.u32(0..8) > 0 {
                let bytes = self.framed(&self.opening(), rng);
                self.give(id, &bytes, 1);
            }
            return;
        }
        let bytes = self.response(&target, rng);
        let is_complete = !bytes.ends_with(b"more");
        if is_complete {
            self.links[at].asked = None;
        }
        self.give(id, &bytes, pieces);
    }

    /// The fields of an answer that only such a server adds.
    fn fields(&mut self, rng: &mut Rng) -> String {
        let mut fields = String::new();
        if self.habit == Habit::Bake || rng.u32(0..8) == 0 {
            for _ in 0..rng.usize(1..90) {
                let name = self.number() % 400;
                let attributes = ["", "; Path=/", "; Path=/x", "; Max-Age=1", "; Max-Age=0"];
                let attributes = attributes[rng.usize(0..attributes.len())];
                fields.push_str(&format!("Set-Cookie: n{name}=1{attributes}\r\n"));
            }
        }
        if rng.u32(0..10) == 0 {
            fields.push_str(&format!("X-Padding: {}\r\n", "p".repeat(rng.usize(1..12_000))));
        }
        fields
    }

    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The answer to a request that waits for one.
    fn response(&mut self, target: &str, rng: &mut Rng) -> Vec<u8> {
        let fields = self.fields(rng);
        match rng.u32(0..if self.habit == Habit::Turn { 12 } else { 40 }) {
            0 => {
                return format!("HTTP/1.1 503 Busy\r\nRetry-After: 1\r\n{fields}Content-Length: 0\r\n\r\n")
                    .into_bytes();
            }
            1 => {
                let to = "Location: /elsewhere/\r\n";
                return format!("HTTP/1.1 307 There\r\n{to}{fields}Content-Length: 0\r\n\r\n").into_bytes();
            }
            2 => {
                let body = format!(
                    "{{\"code\":3,\"message\":\"no\",\"more\":{}}}",
                    wide(rng.usize(1..6000))
                );
                let length = body.len();
                return format!("HTTP/1.1 403 No\r\n{fields}Content-Length: {length}\r\n\r\n{body}").into_bytes();
            }
            _ => {}
        }
        let is_opening = !target.contains("sid=") && !target.split('/').any(|part| part == "s");
        let body = match is_opening && rng.u32(0..12) > 0 {
            true => self.payload(&self.opening()),
            false => {
                let said = self.said(rng);
                self.payload(&said)
            }
        };
        let mut bytes = match rng.u32(0..4) {
            0 => {
                let mut bytes = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
                let size = [1, 3, 100, 5_000][rng.usize(0..4)];
                for chunk in body.chunks(size) {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
                bytes
            }
            _ => {
                let length = body.len();
                let mut bytes = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n").into_bytes();
                bytes.extend(body);
                bytes
            }
        };
        if self.habit == Habit::Trickle && rng.bool() {
            // A body or a head without end.
            bytes = match rng.bool() {
                true => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n".to_vec(),
                false => b"HTTP/1.1 200 OK\r\nX-Padding: ".to_vec(),
            };
            bytes.extend(vec![b'p'; rng.usize(1..120_000)]);
            bytes.extend(b"more");
        }
        bytes
    }

    /// Packets as the body of a poll.
    fn payload(&self, said: &[Said]) -> Vec<u8> {
        let text = |said: &Said| match said {
            Said::Text(text) => text.clone(),
            Said::Bytes(bytes) => {
                let base64 = "AQID".repeat(bytes.len().div_ceil(3));
                match self.config.generation {
                    Generation::Two => format!("b4{base64}"),
                    _ => format!("b{base64}"),
                }
            }
        };
        let texts: Vec<String> = said.iter().map(text).collect();
        let framed: Vec<String> = match self.config.generation {
            Generation::Two => texts.iter().map(|text| format!("{}:{text}", text.len())).collect(),
            Generation::V0_9 if texts.len() > 1 => {
                let framed = texts.iter().map(|text| format!("\u{fffd}{}\u{fffd}{text}", text.len()));
                framed.collect()
            }
            Generation::V0_6 => texts.iter().map(|text| format!("~m~{}~m~{text}", text.len())).collect(),
            _ => texts,
        };
        let between = if self.config.generation == Generation::Four {
            "\u{1e}"
        } else {
            ""
        };
        framed.join(between).into_bytes()
    }

    /// Packets as frames of a websocket.
    fn framed(&self, said: &[Said], rng: &mut Rng) -> Vec<u8> {
        let is_plain = matches!(self.config.generation, Generation::V0_6 | Generation::Streaming);
        if is_plain {
            return frame(Opcode::Text, &self.payload(said));
        }
        let fragments = rng.u32(0..6) == 0;
        let framed = said.iter().flat_map(|said| match said {
            Said::Text(text) if fragments && text.len() > 2 => {
                // Fragments of one byte.
                let mut bytes = vec![0x01, 1, text.as_bytes()[0]];
                for byte in &text.as_bytes()[1..text.len() - 1] {
                    bytes.extend([0x00, 1, *byte]);
                }
                bytes.extend([0x80, 1, text.as_bytes()[text.len() - 1]]);
                bytes
            }
            Said::Text(text) => frame(Opcode::Text, text.as_bytes()),
            Said::Bytes(bytes) if self.config.generation == Generation::Two => {
                let mut typed = vec![4];
                typed.extend(bytes);
                frame(Opcode::Binary, &typed)
            }
            Said::Bytes(bytes) => frame(Opcode::Binary, bytes),
        });
        framed.collect()
    }

    fn frames(&mut self, rng: &mut Rng) -> Vec<u8> {
        match rng.u32(0..20) {
            0 => frame(Opcode::Ping, &[b'p'; 125]).repeat(rng.usize(1..400)),
            1 if self.habit == Habit::Turn => vec![0x88, 0],
            2 => {
                // A message of which most does not come.
                let mut bytes = vec![0x81, 127, 0, 0, 0, 0];
                bytes.extend(rng.u32(1_000..200_000).to_be_bytes());
                bytes.extend(vec![b'x'; rng.usize(1..100_000)]);
                bytes
            }
            3 if self.habit == Habit::Roam => b"2probe".to_vec(),
            4 => frame(Opcode::Text, b"3probe"),
            _ => {
                let said = self.said(rng);
                self.framed(&said, rng)
            }
        }
    }

    /// What a server says first.
    fn opening(&self) -> Vec<Said> {
        let texts: &[&str] = match self.config.generation {
            Generation::V0_9 => &["s:15:25:websocket,xhr-polling"],
            Generation::V0_6 => &["s"],
            Generation::Streaming => &["3:1:s,"],
            _ => &[
                "0{\"sid\":\"s\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":20000}",
            ],
        };
        texts.iter().map(|text| Said::Text((*text).to_owned())).collect()
    }

    /// What the server says by its habit.
    fn said(&mut self, rng: &mut Rng) -> Vec<Said> {
        let times = [1, 1, 4, 40, 300][rng.usize(0..5)];
        match self.config.generation {
            Generation::V0_9 => self.said09(rng, times),
            Generation::V0_6 => self.said06(rng, times),
            Generation::Streaming => self.said_in_streams(rng, times),
            _ => self.said_today(rng, times),
        }
    }

    fn said_today(&mut self, rng: &mut Rng, times: usize) -> Vec<Said> {
        let text = |text: &str| Said::Text(text.to_owned());
        let of = ["", "/a,"][rng.usize(0..2)];
        let size = [0, 10, 500, 3_000][rng.usize(0..4)];
        let padding = "x".repeat(size);
        let mut said = Vec::new();
        let lets_in = self.habit != Habit::Early && rng.u32(0..3) > 0;
        if lets_in {
            let confirmed = match self.config.confirm_events {
                true => format!(",\"pid\":\"p\",\"sio.confirmed\":{}", [0, 0, 0, 1, 7][rng.usize(0..5)]),
                false => String::new(),
            };
            for of in ["", "/a,"] {
                said.push(Said::Text(format!("40{of}{{\"sid\":\"s\"{confirmed}}}")));
            }
        }
        let habit = match self.habit {
            Habit::Roam => super::HABITS[rng.usize(0..super::HABITS.len())],
            habit => habit,
        };
        for _ in 0..times {
            match habit {
                Habit::Early => said.push(Said::Text(format!("42{of}[\"e\",\"{padding}\"]"))),
                Habit::Ask => {
                    let number = self.number();
                    said.push(Said::Text(format!(
                        "42{of}{number}[\"e\",\"{}\"]",
                        &padding[..size.min(20)]
                    )));
                }
                Habit::Hoard => {
                    let places: Vec<_> = (0..9)
                        .map(|at| format!("{{\"_placeholder\":true,\"num\":{at}}}"))
                        .collect();
                    said.push(Said::Text(format!("459-{of}[\"e\",{}]", places.join(","))));
                    said.extend((0..rng.usize(1..9)).map(|_| Said::Bytes(vec![7; size])));
                    if times > 1 {
                        break;
                    }
                }
                Habit::Crumble => {
                    let crumb = ["6", "2", "3", "42[\"\"]", "43[]", "41/x,", "4", "431[]"][rng.usize(0..8)];
                    said.extend((0..rng.usize(1..60)).map(|_| text(crumb)));
                }
                Habit::Babble => {
                    let values = wide(rng.usize(1..2_500));
                    said.push(Said::Text(match rng.u32(0..5) {
                        0 => format!("40{of}{{\"sid\":\"s\",\"sio.confirmed\":{values}}}"),
                        1 => format!("40{of}{{\"sid\":\"{padding}\",\"pid\":\"{padding}\"}}"),
                        2 => format!("44{of}{{\"message\":\"no\",\"data\":{values}}}"),
                        3 => format!("40{of}{{\"sid\":\"s\",\"pid\":\"p\",\"x\":{values}}}"),
                        _ => format!("42{of}[\"e\",{values},\"{padding}\"]"),
                    }));
                    break;
                }
                Habit::Turn => {
                    let turn = [
                        "40{\"sid\":\"s\"}",
                        "41",
                        "41/a,",
                        "40/a,{\"sid\":\"s\"}",
                        "44{}",
                        "44/a,\"no\"",
                    ];
                    said.push(text(turn[rng.usize(0..turn.len())]));
                }
                Habit::Delay => {
                    let number = rng.u64(0..64);
                    said.push(match rng.u32(0..8) {
                        0 => Said::Text(format!("40{of}{{\"sio.confirmed\":{number}}}")),
                        _ => Said::Text(format!("43{of}{number}[]")),
                    });
                }
                Habit::Roam | Habit::Bake | Habit::Trickle => {
                    said.push(Said::Text(format!("42{of}[\"e\",\"{padding}\"]")));
                }
            }
        }
        if self.habit == Habit::Turn && rng.u32(0..6) == 0 {
            said.push(text("1"));
        }
        said
    }

    fn said09(&mut self, rng: &mut Rng, times: usize) -> Vec<Said> {
        let padding = "x".repeat([0, 10, 500][rng.usize(0..3)]);
        let of = ["", "/a"][rng.usize(0..2)];
        let mut said = Vec::new();
        if self.habit != Habit::Early {
            said.push(Said::Text("1::".to_owned()));
            said.push(Said::Text("1::/a".to_owned()));
        }
        for _ in 0..times {
            let number = self.number();
            said.push(Said::Text(match rng.u32(0..10) {
                0 => "2::".to_owned(),
                1 => format!("5:{number}+:{of}:{{\"name\":\"e\",\"args\":[\"{padding}\"]}}"),
                2 | 3 => format!("3:{number}:{of}:{padding}"),
                4 => format!("4::{of}:{}", wide(20)),
                5 => format!("6::{of}:{}", rng.u64(0..64)),
                6 if self.habit == Habit::Turn => ["0::/a", "1::/a", "7::/a:0", "0::"][rng.usize(0..4)].to_owned(),
                // The client acknowledges each by itself.
                _ if self.habit == Habit::Ask => format!("3:{number}:{of}:"),
                _ => format!("3::{of}:{padding}"),
            }));
        }
        said
    }

    fn said06(&mut self, rng: &mut Rng, times: usize) -> Vec<Said> {
        let padding = "x".repeat([0, 10, 500][rng.usize(0..3)]);
        let number = self.number();
        let one = |rng: &mut Rng| match rng.u32(0..4) {
            0 => format!("~h~{number}"),
            1 => format!("~j~{}", wide(20)),
            _ => padding.clone(),
        };
        (0..times).map(|_| Said::Text(one(rng))).collect()
    }

    fn said_in_streams(&mut self, rng: &mut Rng, times: usize) -> Vec<Said> {
        let padding = "x".repeat([0, 10, 500][rng.usize(0..3)]);
        let number = self.number().to_string();
        let one = |rng: &mut Rng| match rng.u32(0..5) {
            0 => format!("2:{}:{number},", number.len()),
            1 if rng.u32(0..9) == 0 => format!("1:{}:{padding}", 100_000),
            _ => format!("1:{}::{padding},", padding.len() + 1),
        };
        (0..times).map(|_| Said::Text(one(rng))).collect()
    }
}
