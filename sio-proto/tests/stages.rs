//! What a connection waits for at each moment, and how much it keeps of what is not complete. The
//! caller limits the time of each stage, and counts the bytes.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::sync::Arc;

use sio_proto::conn::{Arrivals, Conn, Stage};
use sio_proto::server::Peer;
use sio_proto::wire::Wire;
use sio_proto::{BytesMut, Config};

const GET: &str = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /socket.io/?EIO=4&transport=polling&sid=a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
const UPGRADE: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A connection, and the bytes that it has left.
struct Line {
    conn: Conn,
    rest: BytesMut,
}

impl Line {
    fn new() -> Self {
        Self {
            conn: Conn::new(Arc::new(Config::default()), Peer::default()),
            rest: BytesMut::new(),
        }
    }

    /// Hands bytes over. Returns what the connection waits for then.
    fn read(&mut self, bytes: impl AsRef<[u8]>) -> (Stage, Arrivals) {
        let mut arrivals = Arrivals::default();
        self.rest.extend_from_slice(bytes.as_ref());
        self.conn.handle_bytes(&mut self.rest, &mut arrivals);
        (self.conn.stage(&self.rest), arrivals)
    }
}

#[test]
fn a_request_after_the_other() {
    let mut line = Line::new();
    assert_eq!(line.conn.stage(&line.rest), Stage::Idle);
    let (head, end) = GET.split_at(20);
    assert_eq!(line.read(head).0, Stage::Head);
    assert_eq!((line.conn.held_bytes(), line.conn.missing_bytes()), (0, 0));
    let (stage, arrivals) = line.read(end);
    assert_eq!((stage, arrivals.request.is_some()), (Stage::Waiting, true));
    assert!(line.conn.is_waiting());
    // No request is read while one waits for its answer.
    assert_eq!(line.read(GET).0, Stage::Waiting);
    assert_eq!(line.rest, GET);
    line.conn.handle_answered();
    assert_eq!(
        line.conn.stage(&line.rest),
        Stage::Head,
        "bytes of the next request are there"
    );
    assert!(line.read("").1.request.is_some());
    line.conn.handle_answered();
    assert_eq!(line.conn.stage(&line.rest), Stage::Idle);
}

#[test]
fn a_body_that_comes_in_pieces() {
    let mut line = Line::new();
    let (stage, arrivals) = line.read([POST, "42"].concat());
    assert_eq!((stage, arrivals.body_started.is_some()), (Stage::Body, true));
    let held = line.conn.held_bytes();
    assert!(held > 0, "the head is kept until the body is complete");
    assert_eq!(line.read("[").0, Stage::Body);
    assert!(line.conn.held_bytes() >= held);
    let (stage, arrivals) = line.read("\"e");
    assert_eq!((stage, arrivals.request.is_some()), (Stage::Waiting, true));
    assert_eq!(line.conn.held_bytes(), 0);
}

#[test]
fn a_request_behind_one_that_is_held() {
    let mut line = Line::new();
    assert!(!line.conn.handle_held(), "there is no request");
    line.read(GET);
    assert!(line.conn.handle_held());
    assert_eq!(line.conn.stage(&line.rest), Stage::Waiting);
    assert!(!line.conn.is_waiting(), "another request may be read");
    assert_eq!(line.read("POST ").0, Stage::Head);
    let (stage, arrivals) = line.read([&POST[5..], "42[\"e"].concat());
    assert_eq!((stage, arrivals.request.is_some()), (Stage::Waiting, true));
    // Behind the second one, nothing is read.
    assert_eq!(line.read(GET).0, Stage::Waiting);
    assert_eq!(line.rest, GET);
}

#[test]
fn the_last_request_of_a_connection() {
    let mut line = Line::new();
    let (stage, _) = line.read("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(stage, Stage::Waiting);
    assert!(!line.conn.handle_held(), "none may follow");
    line.conn.handle_answered();
    assert_eq!(line.conn.stage(&line.rest), Stage::Closed);
    let (stage, arrivals) = Line::new().read("no request\r\n\r\n");
    assert_eq!((stage, arrivals.closed.is_some()), (Stage::Closed, true));
}

#[test]
fn a_websocket() {
    let mut line = Line::new();
    let (stage, arrivals) = line.read(UPGRADE);
    assert_eq!((stage, arrivals.request.is_some()), (Stage::Waiting, true));
    assert!(!line.conn.is_websocket());
    line.conn.handle_upgraded(Wire::Engine4);
    assert_eq!(line.conn.stage(&line.rest), Stage::WebSocket);
    assert!(line.conn.is_websocket() && !line.conn.handle_held());
    // A message of 1,000 bytes in two frames: what is missing is a hint, what is held is counted.
    let mut frame = vec![0x01, 0x80 | 126, 0x01, 0xf4, 0, 0, 0, 0];
    frame.extend([b'4'; 100]);
    assert_eq!(line.read(&frame).0, Stage::WebSocket);
    assert_eq!(line.conn.missing_bytes(), 400);
    line.read([b'4'; 400]);
    assert!(
        (500..2000).contains(&line.conn.held_bytes()),
        "{}",
        line.conn.held_bytes()
    );
    // A close frame ends it.
    let (stage, arrivals) = line.read([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
    assert_eq!((stage, arrivals.closed.is_some()), (Stage::Closed, true));
    assert_eq!((line.conn.held_bytes(), line.conn.missing_bytes()), (0, 0));
}

/// The last 8 bytes of a handshake of hixie-76 stand behind its head
/// (draft-hixie-thewebsocketprotocol-76 §5.2).
#[test]
fn a_websocket_of_2010() {
    let mut line = Line::new();
    let head = "GET /socket.io/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nOrigin: http://a\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n";
    assert_eq!(line.read(head).0, Stage::Waiting);
    line.conn.handle_upgraded(Wire::Legacy06(0));
    assert_eq!(line.conn.stage(&line.rest), Stage::Head);
    assert!(!line.conn.is_websocket());
    assert_eq!(line.read("^n:ds[4").0, Stage::Head);
    assert_eq!(line.read("U").0, Stage::WebSocket);
    assert!(line.conn.is_websocket());
    // Two messages, of which the second is not complete.
    line.read(b"\0~m~1~m~a~m~9~m~bcd\xff");
    assert_eq!(line.conn.missing_bytes(), 0);
}
