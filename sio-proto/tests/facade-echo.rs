//! The example `facade-echo` works over real sockets: with a websocket client, with a client of
//! 2011, with a client that reads late, and with a request that is not for Socket.IO.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

#[allow(
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "it is a program"
)]
#[path = "../examples/facade-echo.rs"]
mod facade_echo;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use facade_echo::Echo;

/// After this many turns without news, nothing will come.
const TURNS: usize = 2_000_000;

struct World {
    echo: Echo,
    address: SocketAddr,
}

impl World {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let echo = Echo::new(listener).unwrap();
        Self { echo, address }
    }

    fn connect(&self, says: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.write_all(says.as_bytes()).unwrap();
        stream
    }

    /// Runs the loop until the text that the client has read ends with `end`.
    fn hear(&mut self, stream: &mut TcpStream, end: &str) -> String {
        let mut heard = Vec::new();
        let mut buffer = [0; 65536];
        for _ in 0..TURNS {
            self.echo.turn().unwrap();
            match stream.read(&mut buffer) {
                Ok(0) => panic!("the end, after {:?}", String::from_utf8_lossy(&heard)),
                Ok(read) => heard.extend_from_slice(&buffer[..read]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            if heard.ends_with(end.as_bytes()) {
                return String::from_utf8_lossy(&heard).into_owned();
            }
        }
        panic!("no {end:?} in {:?}", String::from_utf8_lossy(&heard));
    }

    fn websocket(&mut self) -> TcpStream {
        let mut stream = self.connect(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        assert!(self.hear(&mut stream, "}").starts_with("HTTP/1.1 101"));
        stream.write_all(&frame("40")).unwrap();
        assert!(self.hear(&mut stream, "}").contains("40{\"sid\":"));
        stream
    }
}

/// A masked text frame; the mask is zero.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(len @ ..126) => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

#[test]
fn it_echoes() {
    let mut world = World::new();
    let mut websocket = world.websocket();
    websocket.write_all(&frame("42[\"a\",{\"b\":[1]}]")).unwrap();
    world.hear(&mut websocket, "42[\"a\",{\"b\":[1]}]");
    websocket.write_all(&frame("427[\"a\",1]")).unwrap();
    world.hear(&mut websocket, "437[1]");
    websocket.write_all(&frame("40/other,")).unwrap();
    world.hear(&mut websocket, "44/other,{\"message\":\"Invalid namespace\"}");

    // The handshake of 0.7 to 0.9: the id of the session, the times, the transports.
    let mut old = world.connect("GET /socket.io/1/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(world.hear(&mut old, "jsonp-polling").starts_with("HTTP/1.1 200"));

    let mut page = world.connect("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(
        world
            .hear(&mut page, "only Socket.IO here\n")
            .starts_with("HTTP/1.1 404")
    );
}

#[test]
fn who_reads_late_gets_everything() {
    let mut world = World::new();
    let mut slow = world.websocket();
    let mut quick = world.websocket();
    let large = frame(&format!("42[\"x\",\"{}\"]", "x".repeat(60_000)));
    // No more bytes than the server keeps for one client, even if no other buffer takes any.
    let mut left = large.repeat(20);
    while !left.is_empty() {
        match slow.write(&left) {
            Ok(written) => drop(left.drain(..written)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        world.echo.turn().unwrap();
    }
    slow.write_all(&frame("42[\"last\"]")).unwrap();
    quick.write_all(&frame("42[\"quick\"]")).unwrap();
    world.hear(&mut quick, "42[\"quick\"]");
    let heard = world.hear(&mut slow, "42[\"last\"]");
    assert_eq!(heard.matches("42[\"x\",").count(), 20);
}
