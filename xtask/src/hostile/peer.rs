//! A connection from any address, which sends whatever it is told to send.

use super::wire;
use crate::failure::{Failure, Outcome, While};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The longest time that a peer waits for an answer, so that no attack lasts for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest time that one write waits for a server that does not read.
const WRITE_PATIENCE: Duration = Duration::from_millis(500);

/// The most bytes that a peer keeps. No frame or response for a peer is longer.
const MAX_HEARD: usize = 32 << 20;

/// The most bytes in which texts are counted. Counting more would take longer than the attack.
const MAX_COUNTED: usize = 1 << 20;

/// A connection, and the bytes that have been read from it and not been used.
pub(crate) struct Peer {
    stream: TcpStream,
    heard: Vec<u8>,
    said: u64,
}

/// How pouring bytes into a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poured {
    /// All of them were taken.
    All,
    /// The server did not take any more in time.
    Blocked,
    /// The server has ended the connection.
    Closed,
}

/// How a server has ended a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a Close frame, and the code in it.
    Closed(Option<u16>),
    /// Without a Close frame.
    Cut,
    /// It has not: this message came.
    Heard(String),
}

impl Peer {
    /// Connects from this address. With a small receive window, a peer that reads nothing soon
    /// blocks the server.
    pub(crate) fn connect(from: Ipv4Addr, port: u16, window: Option<usize>) -> Outcome<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).when("a socket")?;
        if let Some(bytes) = window {
            socket.set_recv_buffer_size(bytes).when("a small window")?;
        }
        socket.bind(&SocketAddr::from((from, 0)).into()).when("an address")?;
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        socket.connect_timeout(&server.into(), PATIENCE).when("connecting")?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).when("a timeout")?;
        stream.set_write_timeout(Some(WRITE_PATIENCE)).when("a timeout")?;
        stream.set_nodelay(true).when("no delay")?;
        Ok(Self {
            stream,
            heard: Vec::new(),
            said: 0,
        })
    }

    /// Returns how many bytes the peer has sent.
    pub(crate) const fn said(&self) -> u64 {
        self.said
    }

    /// Sends all the bytes.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> Outcome {
        let bytes = bytes.as_ref();
        match self.pour(bytes, bytes.len() as u64, PATIENCE) {
            Poured::All => Ok(()),
            Poured::Blocked => Err(Failure::new("the server does not read")),
            Poured::Closed => Err(Failure::new("the server has ended the connection")),
        }
    }

    /// Sends the bytes again and again, until `total` bytes have been sent or `limit` is over. It
    /// ends early when the server takes nothing for two seconds.
    pub(crate) fn pour(&mut self, bytes: &[u8], total: u64, limit: Duration) -> Poured {
        let end = Instant::now() + limit;
        let (mut sent, mut progress) = (0_u64, Instant::now());
        while sent < total {
            let now = Instant::now();
            if now >= end || now.duration_since(progress) > Duration::from_secs(2) {
                return Poured::Blocked;
            }
            let rest = &bytes[(sent % bytes.len() as u64) as usize..];
            let rest = &rest[..rest.len().min((total - sent) as usize)];
            match self.stream.write(rest) {
                Ok(0) => return Poured::Closed,
                Ok(written) => {
                    sent += written as u64;
                    self.said += written as u64;
                    progress = now;
                }
                Err(error) if is_late(&error) => {}
                Err(_) => return Poured::Closed,
            }
        }
        Poured::All
    }

    /// Reads once. Returns zero at the end of the connection, also if the server has reset it.
    pub(crate) fn read(&mut self) -> Outcome<usize> {
        let mut buffer = [0; 65_536];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(read) => {
                    self.heard.extend_from_slice(&buffer[..read]);
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(0),
                Err(error) if is_late(&error) => return Err(Failure::new("heard nothing in time")),
                Err(error) => return Err(error).when("reading"),
            }
        }
    }

    /// Reads at most `most` bytes, and throws them away.
    pub(crate) fn sip(&mut self, most: usize) -> Outcome<usize> {
        let mut buffer = vec![0; most];
        self.stream.read(&mut buffer).when("sipping")
    }

    /// Reads for this time, and throws everything away. Returns whether the server has ended the
    /// connection.
    pub(crate) fn drain(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut buffer = vec![0; 65_536];
        let _ = self.stream.set_read_timeout(Some(Duration::from_millis(50)));
        let mut is_ended = false;
        while !is_ended && Instant::now() < end {
            is_ended = match self.stream.read(&mut buffer) {
                Ok(read) => read == 0,
                Err(error) => !is_late(&error),
            };
        }
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        is_ended
    }

    /// Reads for this time, or to the end of the connection, and counts how often each of these
    /// texts comes in the first MiB.
    pub(crate) fn tally<const N: usize>(&mut self, limit: Duration, texts: [&str; N]) -> [u64; N] {
        let end = Instant::now() + limit;
        let mut buffer = vec![0; 65_536];
        let mut tally = Tally::new(texts);
        tally.count(&std::mem::take(&mut self.heard));
        let mut left = MAX_COUNTED;
        let _ = self.stream.set_read_timeout(Some(Duration::from_millis(50)));
        while Instant::now() < end {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    tally.count(&buffer[..read.min(left)]);
                    left -= read.min(left);
                }
                Err(error) if is_late(&error) => {}
                Err(_) => break,
            }
        }
        let _ = self.stream.set_read_timeout(Some(PATIENCE));
        tally.counts
    }

    /// Cuts the connection: the server gets RST.
    pub(crate) fn reset(self) {
        // Without this option, the connection ends with FIN, which is a cut as well.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Ends the peer's half of the connection. The server then ends the connection when it has
    /// answered.
    pub(crate) fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Returns a second handle, for a thread that reads.
    pub(crate) fn reader(&self) -> Outcome<Self> {
        Ok(Self {
            stream: self.stream.try_clone().when("a second handle")?,
            heard: Vec::new(),
            said: 0,
        })
    }

    /// Reads the next response. Returns its head and its body.
    pub(crate) fn response(&mut self) -> Outcome<(String, String)> {
        loop {
            if let Some(end) = find(&self.heard, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.heard[..end]).into_owned();
                let length = header(&head, "content-length").map_or(Ok(0), str::parse::<usize>);
                let whole = end + 4 + length.when("Content-Length")?;
                if self.heard.len() >= whole {
                    let body = String::from_utf8_lossy(&self.heard[end + 4..whole]).into_owned();
                    self.heard.drain(..whole);
                    return Ok((head, body));
                }
            }
            self.hear_more("a response")?;
        }
    }

    /// Reads the status of the next response. Returns an empty text if the server ends the
    /// connection without a response.
    pub(crate) fn status(&mut self) -> String {
        while !self.heard.contains(&b'\n') && self.read().is_ok_and(|read| read > 0) {}
        let line = String::from_utf8_lossy(&self.heard);
        line.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// Sends a request, and reads the response.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Outcome<(String, String)> {
        self.say(request)?;
        self.response()
    }

    /// Makes the connection a websocket.
    pub(crate) fn upgrade(&mut self, target: &str) -> Outcome {
        let (head, _) = self.ask(wire::upgrade(target))?;
        if head.starts_with("HTTP/1.1 101") {
            return Ok(());
        }
        Err(Failure::new(format!("{target} was answered {head:?}")))
    }

    /// Reads the payload of the server's next text or binary message, and answers pings of
    /// Engine.IO 4 that come before it.
    pub(crate) fn message(&mut self) -> Outcome<Vec<u8>> {
        self.message_until(Instant::now() + PATIENCE)
    }

    /// As above, until then: a server that sends heartbeats is never silent for long.
    fn message_until(&mut self, end: Instant) -> Outcome<Vec<u8>> {
        while Instant::now() < end {
            let Some((opcode, payload)) = self.take_frame()? else {
                self.hear_more("a message")?;
                continue;
            };
            match (opcode, payload.as_slice()) {
                (wire::TEXT, b"2") => self.say(wire::text("3"))?,
                (wire::TEXT | wire::BINARY, _) => return Ok(payload),
                (wire::PING, _) => self.say(wire::frame(0xa, &payload))?,
                (0x8, _) => return Err(Failure::new("the server has closed the websocket")),
                _ => {}
            }
        }
        Err(Failure::new("heard no message in time"))
    }

    /// Reads to the end of the websocket, but at most to a message with this text in it. Other
    /// messages are skipped, and heartbeats are not answered.
    pub(crate) fn ending(&mut self, unwanted: &str) -> Outcome<Ending> {
        loop {
            match self.take_frame()? {
                None if self.read()? == 0 => return Ok(Ending::Cut),
                None => {}
                Some((0x8, code)) => {
                    let code = code.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Ok(Ending::Closed(code));
                }
                Some((_, payload)) => {
                    let text = String::from_utf8_lossy(&payload);
                    if text.contains(unwanted) {
                        return Ok(Ending::Heard(text.into_owned()));
                    }
                }
            }
        }
    }

    /// Reads to the end of the connection. Returns what came, or `None` if the server keeps the
    /// connection open.
    pub(crate) fn rest(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.read() {
                // A connection that is reset has ended, too.
                Ok(0) => return Some(std::mem::take(&mut self.heard)),
                Ok(_) if self.heard.len() <= MAX_HEARD => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// Returns the payloads of the messages that have come, without waiting.
    pub(crate) fn waiting_messages(&mut self) -> Outcome<Vec<Vec<u8>>> {
        self.stream.set_nonblocking(true).when("not waiting")?;
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Failure::new("the server has ended the connection")),
                Ok(read) => self.heard.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) => break,
                Err(error) => return Err(error).when("reading"),
            }
        }
        let mut messages = Vec::new();
        while let Some((_, payload)) = self.take_frame()? {
            messages.push(payload);
        }
        self.stream.set_nonblocking(false).when("waiting")?;
        Ok(messages)
    }

    /// Sends a ping, and waits for its pong. Messages before it are skipped.
    pub(crate) fn ping(&mut self) -> Outcome {
        self.say(wire::frame(wire::PING, "ping"))?;
        loop {
            match self.take_frame()? {
                None => self.hear_more("a pong")?,
                Some((0xa, payload)) if payload == b"ping" => return Ok(()),
                Some(_) => {}
            }
        }
    }

    /// Sends a message, and waits for one that begins so.
    pub(crate) fn answer(&mut self, message: &[u8], beginning: &str) -> Outcome<String> {
        self.say(message)?;
        self.message_with(beginning)
    }

    /// Reads messages until one has this beginning.
    pub(crate) fn message_with(&mut self, beginning: &str) -> Outcome<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let message = self.message_until(end)?;
            if message.starts_with(beginning.as_bytes()) {
                return Ok(String::from_utf8_lossy(&message).into_owned());
            }
        }
    }

    fn take_frame(&mut self) -> Outcome<Option<(u8, Vec<u8>)>> {
        let [first, second, ..] = self.heard[..] else {
            return Ok(None);
        };
        let (long, width) = match second & 0x7f {
            126 => (self.heard.get(2..4), 2),
            127 => (self.heard.get(2..10), 8),
            _ => (None, 0),
        };
        let length = match (width, long) {
            (0, _) => usize::from(second & 0x7f),
            (_, Some(bytes)) => bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            (_, None) => return Ok(None),
        };
        if length > MAX_HEARD {
            return Err(Failure::new(format!("a frame of {length} bytes")));
        }
        let (start, end) = (2 + width, 2 + width + length);
        if self.heard.len() < end {
            return Ok(None);
        }
        let payload = self.heard[start..end].to_vec();
        self.heard.drain(..end);
        Ok(Some((first & 0xf, payload)))
    }

    fn hear_more(&mut self, what: &str) -> Outcome {
        match self.read()? {
            0 => Err(Failure::new(format!("heard the end instead of {what}"))),
            _ if self.heard.len() > MAX_HEARD => Err(Failure::new(format!("{what} is endless"))),
            _ => Ok(()),
        }
    }
}

/// Counts texts in bytes that come in pieces.
struct Tally<'a, const N: usize> {
    texts: [&'a str; N],
    counts: [u64; N],
    /// The last bytes of the pieces before, fewer than the longest text has.
    rest: Vec<u8>,
}

impl<'a, const N: usize> Tally<'a, N> {
    const fn new(texts: [&'a str; N]) -> Self {
        Self {
            texts,
            counts: [0; N],
            rest: Vec::new(),
        }
    }

    fn count(&mut self, piece: &[u8]) {
        let before = self.rest.len();
        self.rest.extend_from_slice(piece);
        for (text, count) in self.texts.iter().zip(&mut self.counts) {
            // What ends in the bytes before was counted with them.
            let start = (before + 1).saturating_sub(text.len());
            *count += occurrences(&self.rest[start..], text.as_bytes());
        }
        let longest = self.texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let kept = self.rest.len().min(longest.saturating_sub(1));
        self.rest.drain(..self.rest.len() - kept);
    }
}

/// Counts how often a text is in these bytes. Two of them have no byte in common.
fn occurrences(bytes: &[u8], text: &[u8]) -> u64 {
    let (mut rest, mut count) = (bytes, 0);
    while let Some(place) = find(rest, text) {
        rest = &rest[place + text.len()..];
        count += 1;
    }
    count
}

/// Returns the value of a header field in a head. The case of the name does not matter.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_wherever_the_bytes_are_cut() {
        let bytes = b"HTTP/1.1 200 OK, HTTP/1.1 503, 40{, HTTP/1.1 200 OK";
        for size in 1..bytes.len() {
            let mut tally = Tally::new(["HTTP/1.1 200", "HTTP/1.1 5", "40{", "none"]);
            bytes.chunks(size).for_each(|piece| tally.count(piece));
            assert_eq!(tally.counts, [2, 1, 1, 0], "{size}");
        }
    }
}
