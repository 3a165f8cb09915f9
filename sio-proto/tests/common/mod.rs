//! A server on a virtual clock, and peers that speak bytes to it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each story uses a part, and none is a library"
)]

use sio_proto::server::{Cause, Delivery, Output, Peer, Server};
use sio_proto::{BytesMut, Config, LinkId, SocketKey, Time};

/// A server whose entropy counts, so that every run is the same.
pub struct World {
    pub server: Server,
    pub now: Time,
    pub sent: Vec<(LinkId, Vec<u8>)>,
    pub ended: Vec<LinkId>,
    pub deliveries: Vec<Delivery>,
    /// Whether sockets that ask are accepted at once.
    pub accepts: bool,
}

impl World {
    pub fn new(config: Config) -> Self {
        let mut counter = 0u8;
        let entropy = move |out: &mut [u8]| {
            for b in out {
                counter = counter.wrapping_mul(181).wrapping_add(97);
                *b = counter;
            }
        };
        let server = Server::new(config, [7; 16], Box::new(entropy)).unwrap();
        Self {
            server,
            now: Time::ZERO,
            sent: Vec::new(),
            ended: Vec::new(),
            deliveries: Vec::new(),
            accepts: true,
        }
    }

    pub fn open(&mut self) -> LinkId {
        self.server.open(Peer::default())
    }

    pub fn send(&mut self, link: LinkId, bytes: &[u8]) {
        self.server.handle_bytes(self.now, link, &mut BytesMut::from(bytes));
        self.settle();
    }

    pub fn cut(&mut self, link: LinkId, cause: Cause) {
        self.server.handle_closed(self.now, link, cause);
        self.settle();
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub fn pass(&mut self, millis: u64) {
        let end = self.now + std::time::Duration::from_millis(millis);
        while let Some(next) = self.server.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.server.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// Takes what the server has to say, and accepts sockets.
    pub fn settle(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Bytes(link, bytes) => match self.sent.last_mut() {
                    Some((last, sent)) if *last == link => sent.extend_from_slice(&bytes),
                    _ => self.sent.push((link, bytes.to_vec())),
                },
                Output::End(link) => self.ended.push(link),
                Output::Request(link, request) => panic!("foreign request on {link:?}: {request:?}"),
                Output::Delivery(delivery) => {
                    if let Delivery::Connect { socket, .. } = &delivery
                        && self.accepts
                    {
                        let socket = *socket;
                        self.server.shard(self.now, |shard, _| shard.accept(self.now, socket));
                    }
                    self.deliveries.push(delivery);
                }
            }
        }
    }

    /// What was sent on a link since the last call.
    pub fn received(&mut self, link: LinkId) -> String {
        let mut text = Vec::new();
        self.sent.retain(|(to, bytes)| {
            if *to == link {
                text.extend_from_slice(bytes);
            }
            *to != link
        });
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The payloads of the websocket frames sent on a link since the last call; `close` for a Close.
    pub fn frames(&mut self, link: LinkId) -> Vec<String> {
        let mut bytes = Vec::new();
        self.sent.retain(|(to, sent)| {
            if *to == link {
                bytes.extend_from_slice(sent);
            }
            *to != link
        });
        if bytes.starts_with(b"HTTP/1.1 101") {
            let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            bytes.drain(..end);
        }
        parse_frames(&bytes)
    }

    /// The keys of the sockets that asked to connect, in order.
    pub fn sockets(&self) -> Vec<SocketKey> {
        let sockets = self.deliveries.iter();
        sockets
            .filter_map(|d| {
                if let Delivery::Connect { socket, .. } = d {
                    Some(*socket)
                } else {
                    None
                }
            })
            .collect()
    }

    /// Opens a websocket session and joins `/`.
    pub fn join(&mut self) -> LinkId {
        let link = self.open();
        self.send(link, WEBSOCKET);
        self.send(link, &text("40"));
        self.frames(link);
        link
    }

    pub fn sessions(&mut self) -> usize {
        self.server.shard(self.now, |shard, _| shard.sessions())
    }
}

pub const WEBSOCKET: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

pub fn post(target: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub fn upgrade(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").into_bytes()
}

/// A masked text frame.
pub fn text(payload: &str) -> Vec<u8> {
    frame(sio_proto::websocket::Opcode::Text, payload.as_bytes())
}

/// A masked binary frame.
pub fn binary(payload: &[u8]) -> Vec<u8> {
    frame(sio_proto::websocket::Opcode::Binary, payload)
}

fn frame(opcode: sio_proto::websocket::Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    sio_proto::websocket::encode_message(&mut out, opcode, payload, Some([1, 2, 3, 4]));
    out.to_vec()
}

pub fn parse_frames(bytes: &[u8]) -> Vec<String> {
    use sio_proto::websocket::{Decoder, Event, Limits, Role};
    let mut decoder = Decoder::new(
        Role::Client,
        Limits::default()
            .max_message_bytes(100 << 20)
            .max_frame_bytes(100 << 20),
    );
    let mut bytes = BytesMut::from(bytes);
    let mut found = Vec::new();
    while let Some(event) = decoder.decode(&mut bytes).unwrap() {
        found.push(match event {
            Event::Text(text) => text.to_string(),
            Event::Binary(data) => format!("{data:?}"),
            Event::Ping(_) => "ping".into(),
            Event::Pong(data) => format!("pong {data:?}"),
            Event::Close(None) => "close".into(),
            Event::Close(Some(frame)) => format!("close {}", frame.code.get()),
        });
    }
    found
}

/// The value of `"sid"` in an open packet or a CONNECT.
pub fn sid(text: &str) -> String {
    let start = text.find("\"sid\":\"").unwrap_or_else(|| panic!("no sid in {text}")) + 7;
    text[start..start + 20].to_string()
}
