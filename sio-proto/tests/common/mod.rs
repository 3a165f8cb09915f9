//! A server on a virtual clock, and peers that exchange bytes with it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each story uses a part, and none is a library"
)]

use sio_proto::server::{
    AckRequest, Cause, Command, Delivery, Message, Output, Outputs, Peer, SendError, Server, Shard, Target,
};
use sio_proto::{ByteString, BytesMut, Config, LinkId, SocketKey, Time};

/// A server whose entropy is a counter, so that every run is the same.
pub struct World {
    pub server: Server,
    pub now: Time,
    pub sent: Vec<(LinkId, Vec<u8>)>,
    pub ended: Vec<LinkId>,
    pub deliveries: Vec<Delivery>,
    /// The payloads of plain-message clients that could not be read: the codec, the wire that the
    /// payload looks like, and the error.
    pub garbled: Vec<String>,
    /// The rules that clients have broken: the kind, whether the session has ended because of it,
    /// and the text.
    pub breaches: Vec<String>,
    /// Whether sockets that ask are accepted at once.
    pub accepts: bool,
    /// Whether sockets that have to leave have no work under way.
    pub releases: bool,
    /// The sockets that asked to connect, in order.
    pub sockets: Vec<SocketKey>,
    /// Links that the server has ended. Nothing may be written on them.
    over: std::collections::BTreeSet<LinkId>,
    /// How often the server has been woken by its own deadlines.
    pub wakes: usize,
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
            garbled: Vec::new(),
            breaches: Vec::new(),
            accepts: true,
            releases: true,
            sockets: Vec::new(),
            over: std::collections::BTreeSet::new(),
            wakes: 0,
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

    /// The operating system takes no more bytes of a link, and this many are still to be written.
    pub fn block(&mut self, link: LinkId, held: usize) {
        self.server.handle_blocked(self.now, link, held);
        self.settle();
    }

    /// Lets time pass, and stops at every deadline on the way.
    pub fn pass(&mut self, millis: u64) {
        let end = self.now + std::time::Duration::from_millis(millis);
        while let Some(next) = self.server.next_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.server.handle_timeout(self.now);
            self.wakes += 1;
            self.settle();
        }
        self.now = end;
    }

    /// Takes the server's outputs, and accepts sockets.
    pub fn settle(&mut self) {
        while let Some(output) = self.server.poll_output() {
            if let Output::Bytes(link, bytes) = &output {
                assert!(!self.over.contains(link), "{bytes:?} on {link:?}, which is over");
            }
            match output {
                Output::Bytes(link, bytes) => match self.sent.last_mut() {
                    Some((last, sent)) if *last == link => sent.extend_from_slice(&bytes),
                    _ => self.sent.push((link, bytes.to_vec())),
                },
                Output::End(link) => {
                    assert!(self.over.insert(link), "{link:?} ends twice");
                    self.ended.push(link);
                }
                Output::Request(link, request) => panic!("foreign request on {link:?}: {request:?}"),
                Output::Delivery(Delivery::Garbled { codec, garbled, .. }) => {
                    let looks_like = garbled.looks_like.unwrap_or("nothing");
                    self.garbled
                        .push(format!("{codec} not {looks_like}: {}", garbled.error));
                }
                Output::Delivery(Delivery::Breach { breach, ends, .. }) => {
                    let ends = if ends { "ends" } else { "goes on" };
                    self.breaches.push(format!("{}, {ends}: {breach}", breach.kind()));
                }
                Output::Delivery(delivery) => {
                    if let Delivery::Connect { socket, .. } = &delivery {
                        let socket = *socket;
                        self.sockets.push(socket);
                        if self.accepts {
                            self.server
                                .shard(self.now, |shard, out| shard.accept(self.now, socket, out));
                        }
                    }
                    if let Delivery::Leaving { socket } = delivery
                        && self.releases
                    {
                        self.server
                            .shard(self.now, |shard, out| shard.release(self.now, socket, out));
                    }
                    self.deliveries.push(delivery);
                }
            }
        }
    }

    /// The bytes that were sent on a link since the last call.
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

    /// The payloads of the websocket frames sent on a link since the last call; `close` for a
    /// Close.
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

    /// Gives the shard a command and takes its outputs.
    pub fn shard<R>(&mut self, command: impl FnOnce(&mut Shard, &mut Outputs) -> R) -> R {
        let result = self.server.shard(self.now, command);
        self.settle();
        result
    }

    pub fn command(&mut self, command: Command) {
        let now = self.now;
        self.shard(|shard, out| shard.handle_command(now, command, out));
    }

    /// Emits an event with these arguments (JSON values joined by commas) to one socket.
    pub fn emit(&mut self, socket: SocketKey, name: &str, json: &str) -> Result<(), SendError> {
        self.emit_in("/", socket, name, json, None)
    }

    pub fn emit_in(
        &mut self,
        namespace: &str,
        socket: SocketKey,
        name: &str,
        json: &str,
        ack: Option<AckRequest>,
    ) -> Result<(), SendError> {
        let args = ByteString::from(json).into();
        let mut message = Message::event(namespace.into(), name.into(), args, ack.map(|ack| ack.id));
        let now = self.now;
        self.shard(|shard, _| shard.emit(now, socket, &mut message, ack))
    }

    /// Broadcasts an event in `/` to these rooms.
    pub fn broadcast(&mut self, rooms: &[&str], name: &str, json: &str) {
        let target = Target {
            namespace: "/".into(),
            rooms: rooms.iter().map(|room| (*room).into()).collect(),
            ..Target::default()
        };
        let message = Message::event("/".into(), name.into(), ByteString::from(json).into(), None);
        self.command(Command::Broadcast { target, message });
    }

    pub fn disconnect(&mut self, socket: SocketKey, close: bool) {
        let now = self.now;
        self.shard(|shard, out| shard.disconnect(now, socket, close, out));
    }

    /// The socket that asked last.
    pub fn last_socket(&self) -> SocketKey {
        *self.sockets.last().unwrap()
    }

    /// Sends a request on its own connection. Returns the answer.
    pub fn ask(&mut self, request: &[u8]) -> String {
        let link = self.open();
        self.send(link, request);
        self.received(link)
    }

    /// Opens a session over polling and joins `/`. Returns the id.
    pub fn join_polling(&mut self) -> String {
        let sid = sid(&self.ask(&get(POLLING)));
        assert_eq!(status(&self.push(&sid, "40")), 200);
        assert!(body(&self.fetch(&sid)).starts_with("40{\"sid\":\""));
        sid
    }

    /// Starts a poll.
    pub fn poll(&mut self, sid: &str) -> LinkId {
        let link = self.open();
        self.send(link, &get(&session(sid)));
        link
    }

    /// The answer to a poll.
    pub fn fetch(&mut self, sid: &str) -> String {
        let link = self.poll(sid);
        self.received(link)
    }

    /// The answer to a POST with this body.
    pub fn push(&mut self, sid: &str, body: &str) -> String {
        self.ask(&post(&session(sid), body))
    }

    /// The answer to a POST of `1`, which waits for a GET that may have been sent before it.
    pub fn say_goodbye(&mut self, sid: &str) -> String {
        let link = self.open();
        self.send(link, &post(&session(sid), "1"));
        self.pass(30);
        self.received(link)
    }

    /// Opens a websocket to which a polling session may move.
    pub fn candidate(&mut self, sid: &str) -> LinkId {
        let link = self.open();
        self.send(link, &upgrade(&websocket(sid)));
        link
    }

    /// The deliveries since the last call, one line each.
    pub fn heard(&mut self) -> Vec<String> {
        self.deliveries
            .drain(..)
            .filter(|delivery| {
                let beside = matches!(
                    delivery,
                    Delivery::Stranger(_)
                        | Delivery::ConnectionError(_)
                        | Delivery::Upgraded { .. }
                        | Delivery::EngineUpgraded { .. }
                );
                !beside
            })
            .map(|delivery| line(&delivery))
            .collect()
    }

    /// Checks that this websocket session, which has joined `/`, can still send an event and
    /// receive one.
    pub fn assert_works(&mut self, link: LinkId, socket: SocketKey) {
        self.received(link);
        self.heard();
        self.send(link, &text("42[\"are you there\"]"));
        assert_eq!(self.heard(), ["event are you there "]);
        self.emit(socket, "yes", "1").unwrap();
        assert_eq!(self.frames(link), ["42[\"yes\",1]"]);
    }

    /// A websocket session that must not be affected by anything.
    pub fn bystander(&mut self) -> (LinkId, SocketKey) {
        let link = self.join();
        (link, self.last_socket())
    }
}

/// A delivery in a few words.
fn line(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Connect {
            namespace,
            auth,
            handshake,
            ..
        } => {
            format!("connect {namespace} {}", auth.to_json(handshake).unwrap_or_default())
        }
        Delivery::Event { name, args, ack, .. } => {
            let ack = ack.map_or_else(String::new, |id| format!(" #{id}"));
            let attached: String = args.attachments.iter().map(|bytes| format!(" {bytes:?}")).collect();
            format!("event {name} {}{attached}{ack}", args.json)
        }
        Delivery::Ack {
            id, result: Ok(args), ..
        } => {
            let attached: String = args.attachments.iter().map(|bytes| format!(" {bytes:?}")).collect();
            format!("ack {id} {}{attached}", args.json)
        }
        Delivery::Ack {
            id, result: Err(error), ..
        } => format!("ack {id} failed: {error}"),
        Delivery::Disconnect {
            reason,
            connected: true,
            ..
        } => format!("disconnect {reason}"),
        Delivery::Disconnect { reason, .. } => format!("gone {reason}"),
        Delivery::Leaving { .. } => "leaving".into(),
        Delivery::EngineOpen { .. } => "open".into(),
        Delivery::EngineMessage { message, .. } => format!("{message:?}"),
        Delivery::EngineClose { reason, .. } => format!("close {reason}"),
        _ => panic!("{delivery:?}"),
    }
}

/// The status of a response. There must be exactly one response.
pub fn status(response: &str) -> u16 {
    let rest = response
        .strip_prefix("HTTP/1.1 ")
        .unwrap_or_else(|| panic!("{response:?}"));
    rest[..3].parse().unwrap()
}

pub fn body(response: &str) -> &str {
    response
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{response:?}"))
        .1
}

/// The value of a header of a response.
pub fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let head = response.split("\r\n\r\n").next().unwrap();
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The target that opens a polling session.
pub const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// The target of a polling session.
pub fn session(sid: &str) -> String {
    format!("{POLLING}&sid={sid}")
}

/// The target for the upgrade of a polling session.
pub fn websocket(sid: &str) -> String {
    format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")
}

/// A request with these header lines, followed by the body.
pub fn request(method: &str, target: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = match (method, body) {
        ("GET" | "HEAD" | "OPTIONS", "") => String::new(),
        _ => format!("Content-Length: {}\r\n", body.len()),
    };
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{body}").into_bytes()
}

/// The header lines that ask for a websocket.
pub const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

pub const WEBSOCKET: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", referer(target)).into_bytes()
}

pub fn post(target: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\n\r\n{body}",
        referer(target),
        body.len()
    )
    .into_bytes()
}

/// The header line that browsers send with the page that loads a script, or sends a form.
pub fn referer(target: &str) -> &'static str {
    match ["jsonp", "htmlfile", "j="].iter().any(|script| target.contains(script)) {
        true => "Referer: http://localhost/page\r\n",
        false => "",
    }
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
    text[start..].split(['"', '\\']).next().unwrap().to_string()
}
