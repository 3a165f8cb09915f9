//! Clients of each generation and transport, for tests that need all of them.

use super::Driven;
use crate::Io;

/// A client of one generation over one transport.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) driven: Driven,
    /// The path of its polls, if it polls.
    poll: Option<String>,
    /// The connections of its polls that have been answered, so that they stay open.
    past: Vec<Driven>,
}

fn get(target: &str, more: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n{more}\r\n").into_bytes()
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

impl Peer {
    fn requested(io: &Io, name: &'static str, request: &[u8]) -> Self {
        let mut driven = Driven::new(io, usize::MAX);
        let _ = driven.read(request);
        Self {
            name,
            driven,
            poll: None,
            past: Vec::new(),
        }
    }

    fn websocket(io: &Io, name: &'static str, target: &str) -> Self {
        let mut peer = Self::requested(io, name, &get(target, UPGRADE));
        peer.driven.written();
        peer
    }

    /// 4.x over a websocket.
    pub(crate) fn today(io: &Io) -> Self {
        let mut peer = Self::websocket(io, "4.x over websocket", "/socket.io/?EIO=4&transport=websocket");
        peer.driven.says("40");
        peer
    }

    /// 2.x over a websocket.
    pub(crate) fn engine3(io: &Io) -> Self {
        Self::websocket(io, "2.x over websocket", "/socket.io/?EIO=3&transport=websocket")
    }

    /// 4.x or 2.x over polling.
    pub(crate) fn polling(io: &Io, name: &'static str, revision: u8) -> Self {
        let target = format!("/socket.io/?EIO={revision}&transport=polling");
        let mut peer = Self::requested(io, name, &get(&target, ""));
        let open = peer.driven.written();
        let id = open.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap();
        peer.poll = Some(format!("{target}&sid={id}"));
        if revision == 4 {
            peer.post("40");
        }
        // The answer to the CONNECT.
        peer.poll(io);
        assert!(peer.driven.written().contains("40"), "{name}");
        peer
    }

    /// 0.9 over a transport: a websocket, or a transport with requests.
    pub(crate) fn old(io: &Io, name: &'static str, transport: &str) -> Self {
        let mut handshake = Self::requested(io, name, &get("/socket.io/1/?t=1", ""));
        let answer = handshake.driven.written();
        let id = answer.split("\r\n\r\n").nth(1).unwrap().split(':').next().unwrap();
        let target = format!("/socket.io/1/{transport}/{id}");
        if transport == "websocket" {
            return Self::websocket(io, name, &target);
        }
        let mut peer = Self::requested(io, name, &get(&target, "Origin: http://x\r\nReferer: http://x/\r\n"));
        let opened = peer.driven.written();
        assert!(opened.contains("1::"), "{name}: {opened}");
        peer.poll = (transport == "xhr-polling").then_some(target);
        peer
    }

    /// 0.6 over polling.
    pub(crate) fn oldest(io: &Io, name: &'static str) -> Self {
        let mut peer = Self::requested(io, name, &get("/socket.io/xhr-polling//1", ""));
        let answer = peer.driven.written();
        peer.poll = Some(format!(
            "/socket.io/xhr-polling/{}/2",
            answer.rsplit("~m~").next().unwrap()
        ));
        peer
    }

    /// Sends a packet by a POST, on a connection of its own.
    fn post(&mut self, packet: &str) {
        let target = self.poll.as_ref().unwrap();
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{packet}",
            packet.len()
        );
        let _ = self.driven.read(request.as_bytes());
        assert!(self.driven.written().contains("200 OK"), "{}", self.name);
    }

    /// Sends the GET for the next messages, if the client polls.
    pub(crate) fn poll(&mut self, io: &Io) {
        if let Some(target) = &self.poll {
            let next = Driven::new(io, usize::MAX);
            self.past.push(std::mem::replace(&mut self.driven, next));
            let _ = self.driven.read(&get(target, ""));
        }
    }

    /// Whether the client polls.
    pub(crate) const fn is_polling(&self) -> bool {
        self.poll.is_some()
    }
}
