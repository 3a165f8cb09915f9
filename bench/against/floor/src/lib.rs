//! A server without a protocol: what sockets alone cost.
//!
//! One thread and one epoll. It reads once, takes the mask off where the bytes are, and writes
//! once. It looks at one byte of a message, to know who gets it: everybody (`42["cast",…`), the
//! members of a room (`42["room",…`), or the sender. Recipients get the message as it came. No
//! session is opened, nothing is parsed or checked, no clock is read, and no memory is asked for.
//!
//! This is a yardstick and no server: it trusts its clients.

#![forbid(unsafe_code)]

mod frames;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::ops::Range;

use frames::Masked;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// The answer for the key that the load generator always sends, the example of RFC 6455.
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const LISTENER: Token = Token(usize::MAX);

/// Messages are at most 1 MiB, and a client has at most 32 in flight.
const SCRATCH: usize = 40 << 20;

struct Client {
    socket: TcpStream,
    is_open: bool,
    /// The beginning of a frame, and what the socket did not take. Usually there is neither.
    rests: Option<Box<Rests>>,
}

#[derive(Default)]
struct Rests {
    unread: Vec<u8>,
    unsent: Vec<u8>,
}

struct Floor {
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    rooms: HashMap<Vec<u8>, Vec<usize>>,
    scratch: Vec<u8>,
    /// Frames for others than the sender.
    others: Vec<u8>,
}

/// Serves until waiting for events fails.
///
/// # Errors
///
/// What waiting for events or accepting has failed with.
pub fn serve(listener: TcpListener) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let mut listener = mio::net::TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut floor = Floor {
        clients: Vec::new(),
        free: Vec::new(),
        rooms: HashMap::new(),
        scratch: vec![0; SCRATCH],
        others: Vec::new(),
    };
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            waited => waited?,
        }
        for event in &events {
            if event.token() == LISTENER {
                floor.accept(&listener, &poll)?;
                continue;
            }
            let id = event.token().0;
            if event.is_writable() {
                floor.send(id, &[]);
            }
            if event.is_readable() {
                floor.read(id, event.is_read_closed());
            }
        }
    }
}

impl Floor {
    fn accept(&mut self, listener: &mio::net::TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The client has gone already.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            socket.set_nodelay(true)?;
            let id = self.free.pop().unwrap_or(self.clients.len());
            poll.registry()
                .register(&mut socket, Token(id), Interest::READABLE | Interest::WRITABLE)?;
            let client = Some(Client {
                socket,
                is_open: false,
                rests: None,
            });
            match self.clients.get_mut(id) {
                Some(place) => *place = client,
                None => self.clients.push(client),
            }
        }
    }

    fn read(&mut self, id: usize, look_for_end: bool) {
        let Some(Some(client)) = self.clients.get_mut(id) else {
            return;
        };
        let mut filled = 0;
        if let Some(rests) = &mut client.rests {
            filled = rests.unread.len();
            self.scratch[..filled].copy_from_slice(&rests.unread);
            rests.unread.clear();
            if rests.unsent.is_empty() {
                client.rests = None;
            }
        }
        loop {
            match client.socket.read(&mut self.scratch[filled..]) {
                Ok(0) => return self.close(id),
                Ok(length) => filled += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return self.close(id),
            }
            // A read that does not fill the buffer has taken everything.
            if !look_for_end {
                break;
            }
        }
        let used = if client.is_open {
            self.answer(id, filled)
        } else {
            self.open(id, filled)
        };
        if used < filled
            && let Some(Some(client)) = self.clients.get_mut(id)
        {
            let rests = client.rests.get_or_insert_default();
            rests.unread.extend(&self.scratch[used..filled]);
        }
    }

    fn open(&mut self, id: usize, filled: usize) -> usize {
        let head = &self.scratch[..filled];
        // Nothing comes behind the head before its answer.
        if !head.ends_with(b"\r\n\r\n") {
            return 0;
        }
        if let Some(Some(client)) = self.clients.get_mut(id) {
            client.is_open = true;
        }
        self.send(id, UPGRADED);
        filled
    }

    /// Takes the whole frames, and returns their length. The answers to the sender are put
    /// together where the frames were, since a frame of a server is four bytes shorter.
    fn answer(&mut self, id: usize, filled: usize) -> usize {
        let mut used = 0;
        let mut answers: Option<Range<usize>> = None;
        let (mut scratch, mut others) = (std::mem::take(&mut self.scratch), std::mem::take(&mut self.others));
        let mut room: Option<Vec<u8>> = None;
        others.clear();
        while let Some(frame) = Masked::read(&scratch[used..filled]) {
            let start = used;
            used += frame.length();
            let bytes = &mut scratch[start..used];
            let plain = frame.unmask(bytes);
            let start = start + plain;
            let payload = &bytes[frame.payload()..];
            match payload.get(4) {
                Some(b'c') if payload.starts_with(b"42[\"cast\"") => {
                    others.extend(&bytes[plain..]);
                    room = None;
                }
                Some(b'r') if payload.starts_with(b"42[\"room\"") => {
                    let name = room_name(payload);
                    if room.as_deref().is_some_and(|room| room != name) {
                        self.fan_out(room.as_deref(), &others);
                        others.clear();
                    }
                    room = Some(name.to_vec());
                    others.extend(&bytes[plain..]);
                }
                Some(b'j') if payload.starts_with(b"42[\"join\"") => {
                    self.rooms.entry(room_name(payload).to_vec()).or_default().push(id);
                }
                _ => match &mut answers {
                    None => answers = Some(start..used),
                    Some(answers) => {
                        scratch.copy_within(start..used, answers.end);
                        answers.end += used - start;
                    }
                },
            }
        }
        if let Some(answers) = answers {
            self.send(id, &scratch[answers]);
        }
        if !others.is_empty() {
            self.fan_out(room.as_deref(), &others);
        }
        (self.scratch, self.others) = (scratch, others);
        used
    }

    fn fan_out(&mut self, room: Option<&[u8]>, frames: &[u8]) {
        match room {
            None => {
                for id in 0..self.clients.len() {
                    self.send(id, frames);
                }
            }
            Some(room) => {
                let members = self.rooms.get_mut(room).map(std::mem::take).unwrap_or_default();
                for id in &members {
                    self.send(*id, frames);
                }
                self.rooms.insert(room.to_vec(), members);
            }
        }
    }

    /// Sends what waits, and these bytes.
    fn send(&mut self, id: usize, bytes: &[u8]) {
        let Some(Some(client)) = self.clients.get_mut(id) else {
            return;
        };
        let mut waiting = match &mut client.rests {
            Some(rests) if !rests.unsent.is_empty() => std::mem::take(&mut rests.unsent),
            _ => Vec::new(),
        };
        let mut rest = bytes;
        if !waiting.is_empty() {
            waiting.extend(bytes);
            rest = &waiting;
        }
        while !rest.is_empty() {
            match client.socket.write(rest) {
                Ok(length) => rest = &rest[length..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Reading sees it, too, and closes.
                Err(_) => return,
            }
        }
        if !rest.is_empty() {
            client.rests.get_or_insert_default().unsent = rest.to_vec();
        }
    }

    fn close(&mut self, id: usize) {
        if self.clients.get_mut(id).and_then(Option::take).is_some() {
            self.free.push(id);
        }
    }
}

/// Returns the first argument's text, as it is between its quotes.
fn room_name(payload: &[u8]) -> &[u8] {
    payload.split(|byte| *byte == b'"').nth(3).unwrap_or_default()
}
