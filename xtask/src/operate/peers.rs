//! Clients of all generations, written without a library: how they connect, and what they receive
//! when a server shuts down.

use crate::failure::{Failure, Outcome, While};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The longest time that a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A kind of client, and the state of its session when the server shuts down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    WebSocket4,
    WebSocket3,
    WebSocket09,
    WebSocket06,
    Polling4,
    Polling3,
    Polling09,
    Polling06,
    /// Engine.IO 4, between two polls.
    Between4,
    /// 0.9, between two polls.
    Between09,
}

/// One client, whose session is open.
pub(super) struct Peer {
    kind: Kind,
    stream: TcpStream,
    /// The next poll.
    poll: String,
}

impl Peer {
    /// Connects, joins the main namespace, and sends a poll if the client polls.
    pub(super) fn join(kind: Kind, port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).when("connecting")?;
        stream.set_read_timeout(Some(PATIENCE)).when("a timeout")?;
        let mut peer = Self {
            kind,
            stream,
            poll: String::new(),
        };
        peer.enter().map_err(|why| Failure::new(format!("{kind:?}: {why}")))?;
        Ok(peer)
    }

    fn enter(&mut self) -> Outcome {
        match self.kind {
            Kind::WebSocket4 => {
                self.say(&upgrade("/socket.io/?EIO=4&transport=websocket"))?;
                self.hear("0{")?;
                self.say_text("40")?;
                self.hear("40{")
            }
            Kind::WebSocket3 => {
                self.say(&upgrade("/socket.io/?EIO=3&transport=websocket"))?;
                self.hear("\u{2}40")
            }
            Kind::WebSocket09 => {
                let session = self.handshake_09()?;
                self.say(&upgrade(&format!("/socket.io/1/websocket/{session}")))?;
                self.hear("1::")
            }
            Kind::WebSocket06 => {
                self.say(&upgrade("/socket.io/websocket"))?;
                self.hear("~m~")
            }
            Kind::Polling4 | Kind::Between4 => {
                let opened = self.fetch("/socket.io/?EIO=4&transport=polling")?;
                let target = format!("/socket.io/?EIO=4&transport=polling&sid={}", sid(&opened)?);
                self.say(&format!(
                    "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n40"
                ))?;
                expect(&self.answer()?, "ok")?;
                expect(&self.fetch(&target)?, "40{")?;
                self.park(&target)
            }
            Kind::Polling3 => {
                let opened = self.fetch("/socket.io/?EIO=3&transport=polling&b64=1")?;
                let target = format!("/socket.io/?EIO=3&transport=polling&b64=1&sid={}", sid(&opened)?);
                expect(&self.fetch(&target)?, "2:40")?;
                self.park(&target)
            }
            Kind::Polling09 | Kind::Between09 => {
                let session = self.handshake_09()?;
                let target = format!("/socket.io/1/xhr-polling/{session}");
                expect(&self.fetch(&target)?, "1::")?;
                self.park(&target)
            }
            Kind::Polling06 => {
                let opened = self.fetch("/socket.io/xhr-polling//1")?;
                let (_, session) = opened
                    .rsplit_once("~m~")
                    .ok_or_else(|| Failure::new(format!("no session id in {opened:?}")))?;
                self.park(&format!("/socket.io/xhr-polling/{session}/2"))
            }
        }
    }

    /// Sends the poll that the server holds, or keeps it for later.
    fn park(&mut self, target: &str) -> Outcome {
        self.poll = get(target);
        if self.is_between_polls() {
            return Ok(());
        }
        let poll = self.poll.clone();
        self.say(&poll)
    }

    fn handshake_09(&mut self) -> Outcome<String> {
        let opened = self.fetch("/socket.io/1/")?;
        let session = opened.split(':').next().filter(|session| !session.is_empty());
        session
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(format!("no session id in {opened:?}")))
    }

    pub(super) const fn is_between_polls(&self) -> bool {
        matches!(self.kind, Kind::Between4 | Kind::Between09)
    }

    /// Checks that the client now receives the end that belongs to its kind. It reads a websocket
    /// to its end.
    pub(super) fn hear_the_end(mut self) -> Outcome {
        let (heard, expected) = match self.kind {
            // This is a Close frame without a code.
            Kind::WebSocket4 | Kind::WebSocket3 | Kind::WebSocket09 | Kind::WebSocket06 => (self.rest()?, "\u{fffd}\0"),
            Kind::Polling4 => (self.answer()?, "1"),
            Kind::Polling3 => (self.answer()?, "1:1"),
            Kind::Polling09 => (self.answer()?, "7:::1+0"),
            // 0.6 has no packet for the end of a session. The poll is answered.
            Kind::Polling06 => (self.answer()?, ""),
            Kind::Between4 => (self.poll_again()?, "6\u{1e}1"),
            Kind::Between09 => (self.poll_again()?, "7:::1+0"),
        };
        // The process may not have received the signal yet when a client polls. Then it holds the
        // poll, and answers it with the closing packet alone.
        if heard == expected || self.kind == Kind::Between4 && heard == "1" {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{:?} heard {heard:?} instead of {expected:?}",
            self.kind
        )))
    }

    fn poll_again(&mut self) -> Outcome<String> {
        let poll = self.poll.clone();
        self.say(&poll)?;
        self.answer()
    }

    /// Emits `echo` and waits for it, on a websocket of Engine.IO 4.
    pub(super) fn echo(&mut self, what: &str) -> Outcome {
        let packet = format!("42[\"echo\",\"{what}\"]");
        self.say_text(&packet)?;
        self.hear(&packet)
    }

    fn say(&mut self, text: &str) -> Outcome {
        self.stream.write_all(text.as_bytes()).when("writing")
    }

    /// Sends a websocket message of less than 126 bytes; its mask is zero.
    fn say_text(&mut self, text: &str) -> Outcome {
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).when("writing")
    }

    /// Reads until this text has come.
    fn hear(&mut self, what: &str) -> Outcome {
        let mut heard = String::new();
        while !heard.contains(what) {
            let bytes = self.read()?;
            if bytes.is_empty() {
                return Err(Failure::new(format!("heard {heard:?} and the end instead of {what:?}")));
            }
            heard.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok(())
    }

    fn fetch(&mut self, target: &str) -> Outcome<String> {
        self.say(&get(target))?;
        self.answer()
    }

    /// Reads the next response, and returns its body.
    fn answer(&mut self) -> Outcome<String> {
        let mut heard = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&heard).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.trim())
                });
                let length: usize = length.unwrap_or("0").parse().when("Content-Length")?;
                if body.len() >= length {
                    expect(head, "HTTP/1.1 200")?;
                    return Ok(body.to_owned());
                }
            }
            let bytes = self.read()?;
            if bytes.is_empty() {
                return Err(Failure::new(format!(
                    "heard {text:?} and the end instead of a response"
                )));
            }
            heard.extend_from_slice(&bytes);
        }
    }

    /// Reads the rest of the stream.
    fn rest(&mut self) -> Outcome<String> {
        let mut heard = Vec::new();
        loop {
            let bytes = self.read()?;
            if bytes.is_empty() {
                return Ok(String::from_utf8_lossy(&heard).into_owned());
            }
            heard.extend_from_slice(&bytes);
        }
    }

    fn read(&mut self) -> Outcome<Vec<u8>> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(read) => return Ok(buffer[..read].to_vec()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).when("reading"),
            }
        }
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

fn sid(opened: &str) -> Outcome<&str> {
    let sid = opened
        .split_once("\"sid\":\"")
        .and_then(|(_, rest)| rest.split('"').next());
    sid.ok_or_else(|| Failure::new(format!("no session id in {opened:?}")))
}

fn expect(heard: &str, part: &str) -> Outcome {
    if heard.contains(part) {
        return Ok(());
    }
    Err(Failure::new(format!("heard {heard:?}, without {part:?}")))
}
