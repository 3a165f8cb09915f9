//! An echo server on the facade and the standard library: bytes in, bytes out, one plain loop, no
//! poller and no runtime.
//!
//! Run `cargo run -p sio-proto --example facade-echo`, then connect any Socket.IO client, of any
//! generation, to port 3000: the server sends its events back. `sio_proto::manual::facade` explains
//! the program step by step. It asks every socket in turn whether there are bytes. A game loop
//! works in this way anyway, but a server for thousands of clients should use a poller. The loop
//! around the poller would be the same.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the outside world: it has a clock, and may sleep"
)]

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use sio_proto::http::{Date, FixedFields};
use sio_proto::server::{Body, Cause, Delivery, Message, Output, Peer, Response, Server};
use sio_proto::{Bytes, BytesMut, Config, LinkId, Time};

/// One connection: the socket, and the bytes that the socket has not taken yet.
struct Client {
    stream: TcpStream,
    unsent: BytesMut,
    blocked: bool,
    /// No more bytes will come: the connection is closed when all bytes are written.
    ends: bool,
}

/// The server and its connections.
pub struct Echo {
    server: Server,
    listener: TcpListener,
    clients: HashMap<LinkId, Client>,
    start: Instant,
}

impl Echo {
    /// An echo server on this listener. It does nothing until the caller calls [`Echo::turn`] in a
    /// loop.
    pub fn new(listener: TcpListener) -> Result<Self, Box<dyn std::error::Error>> {
        listener.set_nonblocking(true)?;
        let entropy = |out: &mut [u8]| getrandom::fill(out).expect("the operating system gives random bytes");
        let mut key = [0; 16];
        entropy(&mut key);
        Ok(Self {
            server: Server::new(Config::default(), key, Box::new(entropy))?,
            listener,
            clients: HashMap::new(),
            start: Instant::now(),
        })
    }

    /// Does everything that can be done now. True if there was anything to do.
    pub fn turn(&mut self) -> io::Result<bool> {
        let now = Time::ZERO + self.start.elapsed();
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let date = since_1970.ok().map(|since| Date::from_unix(since.as_secs()));
        self.server.set_date(date);
        let mut busy = self.accept()?;
        if self.server.next_timeout().is_some_and(|deadline| deadline <= now) {
            self.server.handle_timeout(now);
        }
        busy |= self.read(now);
        self.act(now);
        self.write(now);
        Ok(busy)
    }

    fn accept(&mut self) -> io::Result<bool> {
        match self.listener.accept() {
            Ok((stream, address)) => {
                stream.set_nonblocking(true)?;
                let link = self.server.open(Peer {
                    address: Some(address),
                    ..Peer::default()
                });
                let client = Client {
                    stream,
                    unsent: BytesMut::new(),
                    blocked: false,
                    ends: false,
                };
                self.clients.insert(link, client);
                Ok(true)
            }
            // No client is waiting, or the client has gone, or there is no room for more: the next
            // turn asks again.
            Err(_) => Ok(false),
        }
    }

    /// Gives the server the bytes that have arrived, or the end of a connection.
    fn read(&mut self, now: Time) -> bool {
        let mut busy = false;
        let mut buffer = [0; 16 * 1024];
        let mut gone = Vec::new();
        for (link, client) in &mut self.clients {
            // A client that reads nothing is not read from either. The next write tells if it has
            // gone.
            if !self.server.wants_bytes(*link) {
                continue;
            }
            let cause = match client.stream.read(&mut buffer) {
                Ok(0) => Cause::Closed,
                Ok(read) => {
                    self.server
                        .handle_bytes(now, *link, &mut BytesMut::from(&buffer[..read]));
                    busy = true;
                    continue;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
                Err(_) => Cause::Failed,
            };
            gone.push((*link, cause));
        }
        for (link, cause) in gone {
            self.clients.remove(&link);
            self.server.handle_closed(now, link, cause);
        }
        busy
    }

    /// Does everything that the server wants.
    fn act(&mut self, now: Time) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Bytes(link, bytes) => {
                    if let Some(client) = self.clients.get_mut(&link) {
                        client.unsent.extend_from_slice(&bytes);
                    }
                }
                Output::End(link) => {
                    if let Some(client) = self.clients.get_mut(&link) {
                        client.ends = true;
                    }
                }
                Output::Request(link, request) => {
                    let page = Response {
                        status: 404,
                        content_type: Some("text/plain"),
                        fixed: FixedFields::NONE,
                        headers: Vec::new(),
                        body: Body::Bytes(Bytes::from_static(b"only Socket.IO here\n")),
                        exchange: request.exchange(),
                    };
                    self.server.respond(now, link, page);
                }
                Output::Delivery(delivery) => self.deliver(now, delivery),
            }
        }
    }

    /// The application.
    fn deliver(&mut self, now: Time, delivery: Delivery) {
        match delivery {
            Delivery::Connect { socket, namespace, .. } => self.server.shard(now, |shard, out| {
                if *namespace == "/" {
                    shard.accept(now, socket, out);
                } else {
                    shard.refuse(now, socket, "Invalid namespace", None, out);
                }
            }),
            Delivery::Event {
                socket,
                name,
                args,
                ack,
            } => {
                let mut answer = match ack {
                    Some(id) => Message::ack("/".into(), id, args),
                    None => Message::event("/".into(), name, args, None),
                };
                // If the client is gone, or does not read, its echo is lost. This affects no other
                // client.
                let _ = self
                    .server
                    .shard(now, |shard, _| shard.emit(now, socket, &mut answer, None));
            }
            _ => {}
        }
    }

    /// Writes as many bytes as the sockets take. If bytes are left, the server is told to keep back
    /// further bytes.
    fn write(&mut self, now: Time) {
        let mut gone = Vec::new();
        for (link, client) in &mut self.clients {
            let mut has_written = false;
            while !client.unsent.is_empty() {
                match client.stream.write(&client.unsent) {
                    Ok(0) => break,
                    Ok(written) => {
                        drop(client.unsent.split_to(written));
                        has_written = true;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(_) => {
                        client.unsent.clear();
                        gone.push((*link, Some(Cause::Failed)));
                    }
                }
            }
            let is_full = !client.unsent.is_empty();
            if !is_full && client.ends {
                gone.push((*link, None));
            } else if is_full && (has_written || !client.blocked) {
                self.server.handle_blocked(now, *link, client.unsent.len());
            } else if !is_full && client.blocked {
                self.server.handle_drained(now, *link);
            }
            client.blocked = is_full;
        }
        for (link, cause) in gone {
            self.clients.remove(&link);
            if let Some(cause) = cause {
                self.server.handle_closed(now, link, cause);
            }
        }
    }
}

#[allow(dead_code, reason = "the test of this file runs the loop itself")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut echo = Echo::new(TcpListener::bind("127.0.0.1:3000")?)?;
    loop {
        if !echo.turn()? {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
