//! What the stories of older clients share, in addition to the [`World`].
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each story uses a part, and none is a library"
)]

use super::common::*;
use sio_proto::server::{AckRequest, Command, Delivery, Message, SendError, Target};
use sio_proto::socket::Args;
use sio_proto::{ByteString, LinkId, SocketKey};

/// A complete HTTP response.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no response: {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end + 2].to_vec()).unwrap();
        Self {
            status: head[9..12].parse().unwrap(),
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub fn post_bytes(target: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\n{}Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        referer(target),
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

pub fn with_headers(request: &[u8], headers: &str) -> Vec<u8> {
    let request = String::from_utf8(request.to_vec()).unwrap();
    request.replacen("\r\n", &format!("\r\n{headers}\r\n"), 1).into_bytes()
}

impl World {
    /// The raw bytes sent on a link since the last call.
    pub fn bytes(&mut self, link: LinkId) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.sent.retain(|(to, sent)| {
            if *to == link {
                bytes.extend_from_slice(sent);
            }
            *to != link
        });
        bytes
    }

    /// The answer on a link since the last call.
    pub fn answer(&mut self, link: LinkId) -> Answer {
        Answer::read(&self.bytes(link))
    }

    /// Sends a request on its own connection. It must be answered at once.
    pub fn reply(&mut self, request: &[u8]) -> Answer {
        let link = self.open();
        self.send(link, request);
        self.answer(link)
    }

    /// Sends a request on its own connection. It must wait.
    pub fn park(&mut self, request: &[u8]) -> LinkId {
        let link = self.open();
        self.send(link, request);
        assert_eq!(self.received(link), "", "answered at once");
        link
    }

    /// Sends every event back to its sender, and acknowledges it with the same arguments if it
    /// wants that. Returns the deliveries, one line each.
    pub fn echo(&mut self) -> Vec<String> {
        let events: Vec<_> = self.deliveries.iter().filter_map(event).collect();
        let heard = self.heard();
        for (socket, name, args, ack) in events {
            match ack {
                Some(id) => self.ack("/", socket, id, args),
                None => self.tell("/", socket, &name, args, None).unwrap(),
            }
        }
        heard
    }

    /// Emits an event. It can have attachments and can ask for an acknowledgement.
    pub fn tell(
        &mut self,
        namespace: &str,
        socket: SocketKey,
        name: &str,
        args: Args,
        ack: Option<u64>,
    ) -> Result<(), SendError> {
        let mut message = Message::event(namespace.into(), name.into(), args, ack);
        let (now, request) = (self.now, ack.map(|id| AckRequest { id, timeout: None }));
        self.shard(|shard, _| shard.emit(now, socket, &mut message, request))
    }

    pub fn ack(&mut self, namespace: &str, socket: SocketKey, id: u64, args: Args) {
        let mut message = Message::ack(namespace.into(), id, args);
        let now = self.now;
        self.shard(|shard, _| shard.emit(now, socket, &mut message, None))
            .unwrap();
    }

    /// Broadcasts in a namespace.
    pub fn cast(&mut self, namespace: &str, rooms: &[&str], name: &str, args: Args) {
        let target = Target {
            namespace: namespace.into(),
            rooms: rooms.iter().map(|r| ByteString::from(*r)).collect(),
            ..Target::default()
        };
        let message = Message::event(namespace.into(), name.into(), args, None);
        self.command(Command::Broadcast { target, message });
    }

    pub fn accept(&mut self, socket: SocketKey) {
        let now = self.now;
        assert!(self.shard(|shard, out| shard.accept(now, socket, out)));
    }

    pub fn refuse(&mut self, socket: SocketKey, message: &str, data: Option<&str>) {
        let now = self.now;
        self.shard(|shard, out| shard.refuse(now, socket, message, data, out));
    }

    /// The generations of the clients that have asked to connect since the deliveries were last
    /// taken.
    pub fn generations(&self) -> Vec<&'static str> {
        let asked = self.deliveries.iter().filter_map(|delivery| match delivery {
            Delivery::Connect { generation, .. } => Some(generation.as_str()),
            _ => None,
        });
        asked.collect()
    }
}

fn event(delivery: &Delivery) -> Option<(SocketKey, ByteString, Args, Option<u64>)> {
    match delivery {
        Delivery::Event {
            socket,
            name,
            args,
            ack,
        } => Some((*socket, name.clone(), args.clone(), *ack)),
        _ => None,
    }
}

pub fn args(json: &str) -> Args {
    Args::from(ByteString::from(json))
}

/// The bytes on a link that is an endless answer: the head, if it is in these bytes, and the
/// chunks. `end` stands for the last chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    pub head: Option<String>,
    pub chunks: Vec<String>,
}

impl Chunks {
    pub fn read(bytes: &[u8]) -> Self {
        let (mut found, mut rest) = (Self::default(), bytes);
        if bytes.starts_with(b"HTTP/") {
            let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            found.head = Some(String::from_utf8(bytes[..end].to_vec()).unwrap());
            rest = &bytes[end..];
        }
        while !rest.is_empty() {
            let line = rest.windows(2).position(|w| w == b"\r\n").unwrap();
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            let (chunk, after) = rest[line + 2..].split_at(size);
            rest = after.strip_prefix(b"\r\n").unwrap();
            found.chunks.push(match size {
                0 => "end".into(),
                _ => String::from_utf8(chunk.to_vec()).unwrap(),
            });
        }
        found
    }
}

impl World {
    /// The chunks sent on a link since the last call.
    pub fn chunks(&mut self, link: LinkId) -> Vec<String> {
        let read = Chunks::read(&self.bytes(link));
        assert_eq!(read.head, None);
        read.chunks
    }
}
