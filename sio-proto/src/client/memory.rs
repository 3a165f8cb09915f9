//! Tests: what a client gives back when it is not needed any more.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::manager::Stage;
use super::protocol::Protocol;
use super::session::Session;
use super::welcome::refusal_of;
use super::{Client, ClientConfig, Emit, Endpoint, Generation, Output, SocketId, State, StopReason, Transport};
use crate::engine::Revision;
use crate::websocket::{Opcode, encode_message, handshake};
use crate::{LinkId, Time};

/// The buffer into which a caller reads.
const READ: usize = 64 * 1024;

const OPEN: &str = "0{\"sid\":\"s\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}";

/// A client, its connection, and what it has written last.
struct Scene {
    client: Client,
    socket: SocketId,
    link: LinkId,
    written: String,
    states: Vec<State>,
    /// The caller reads into it again and again.
    buffer: BytesMut,
}

impl Scene {
    fn new(config: ClientConfig) -> Self {
        let endpoint = Endpoint::parse("http://localhost:3000").unwrap();
        let mut client = Client::new(endpoint, config, Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
        let socket = client.socket("/").unwrap();
        client.connect(Time::ZERO, socket).unwrap();
        let mut scene = Self {
            client,
            socket,
            link: LinkId(0),
            written: String::new(),
            states: Vec::new(),
            buffer: BytesMut::with_capacity(READ),
        };
        scene.drain();
        scene
    }

    fn on(transport: Transport) -> Self {
        Self::new(ClientConfig::default().transports(vec![transport]))
    }

    /// A client that is connected on a websocket.
    fn connected() -> Self {
        let mut scene = Self::on(Transport::WebSocket);
        scene.upgrade();
        scene.tell(OPEN);
        scene.tell("40{\"sid\":\"a\"}");
        assert!(scene.client.is_connected(scene.socket));
        scene
    }

    fn upgrade(&mut self) {
        let key = self
            .written
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = handshake::accept_key(key.unwrap());
        let accept = core::str::from_utf8(&accept).unwrap();
        let head = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
        self.say(format!("{head}{accept}\r\n\r\n").as_bytes());
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Connect { link, .. } => {
                    self.link = link;
                    self.client.handle_connected(Time::ZERO, link);
                }
                Output::Bytes(link, bytes) => {
                    self.link = link;
                    self.written = String::from_utf8_lossy(&bytes).into_owned();
                }
                Output::State(state) => self.states.push(state),
                _ => {}
            }
        }
    }

    /// Bytes of the server come into the caller's buffer.
    fn say(&mut self, bytes: &[u8]) {
        self.buffer.reserve(bytes.len());
        self.buffer.extend_from_slice(bytes);
        self.client.handle_bytes(Time::ZERO, self.link, &mut self.buffer);
        self.drain();
    }

    fn tell(&mut self, text: &str) {
        let mut bytes = BytesMut::new();
        encode_message(&mut bytes, Opcode::Text, text.as_bytes(), None);
        self.say(&bytes);
    }

    /// Whether nobody but the caller has a part of its buffer.
    fn has_buffer_back(&mut self) -> bool {
        self.buffer.try_reclaim(READ)
    }

    fn session(&self) -> &Session {
        match &self.client.stage {
            Stage::Session(session) => session,
            stage => panic!("{stage:?}"),
        }
    }
}

fn event(text: &str) -> Emit {
    Emit::new("e", ByteString::from(format!("\"{text}\"")).into())
}

#[test]
fn half_an_answer_keeps_no_read_buffer() {
    for part in [
        "HTTP/1.1 200 OK\r\nContent-",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-Field: value\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-Field: value\r\n\r\n0{\"sid",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0{\"si\r\n",
    ] {
        let mut scene = Scene::on(Transport::Polling);
        scene.say(part.as_bytes());
        assert!(scene.has_buffer_back(), "{part:?}");
    }
}

#[test]
fn the_beginning_of_a_message_keeps_no_read_buffer() {
    let mut frame = BytesMut::new();
    encode_message(&mut frame, Opcode::Text, &[b'x'; 1000], None);
    for count in [1, 2, 3, 500] {
        let mut scene = Scene::connected();
        scene.say(&frame[..count]);
        assert!(scene.has_buffer_back(), "{count}");
        // Behind a whole message.
        let mut scene = Scene::connected();
        let mut bytes = BytesMut::new();
        encode_message(&mut bytes, Opcode::Text, b"42[\"e\"]", None);
        bytes.extend_from_slice(&frame[..count]);
        scene.say(&bytes);
        assert!(scene.has_buffer_back(), "{count} behind a message");
    }
}

/// A message that came in many pieces was put together in a buffer of the line. The beginning of
/// the next message does not keep this buffer.
#[test]
fn the_beginning_of_a_message_keeps_no_message_before_it() {
    let mut scene = Scene::connected();
    let mut bytes = BytesMut::new();
    let text = format!("42[\"e\",\"{}\"]", "x".repeat(500_000));
    encode_message(&mut bytes, Opcode::Text, text.as_bytes(), None);
    bytes.extend_from_slice(b"\x81\x7d4");
    for piece in bytes.chunks(READ) {
        scene.say(piece);
    }
    let held = scene.session().input_memory();
    assert!(held < 4096, "{held}");
    // And it is read to its end.
    scene.say(format!("2[\"{}\"]", "y".repeat(125 - 6)).as_bytes());
    assert_eq!(scene.session().input_memory(), 0);
    assert!(scene.client.is_connected(scene.socket));
}

#[test]
fn a_request_that_has_left_keeps_no_buffer() {
    let scene = Scene::on(Transport::WebSocket);
    assert_eq!(scene.session().unsent_memory(), 0);
}

#[test]
fn the_words_of_a_refusal_keep_no_read_buffer() {
    let mut scene = Scene::on(Transport::Polling);
    let body = "{\"code\":4,\"message\":\"no\",\"data\":1}";
    let length = body.len();
    scene.say(format!("HTTP/1.1 403 X\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
    assert!(
        scene
            .client
            .last_error
            .as_ref()
            .is_some_and(|error| error.data.is_some())
    );
    assert!(scene.has_buffer_back());
    for payload in ["{\"message\":\"no\",\"data\":{\"a\":1}}", "\"no\"", "[1]"] {
        for revision in [Revision::V3, Revision::V4] {
            let read = Bytes::from(payload.as_bytes().to_vec());
            let refused = ByteString::try_from(read.clone()).unwrap();
            let error = refusal_of(&refused, Protocol::Engine(revision));
            drop(refused);
            assert!(read.is_unique(), "{error:?}");
        }
    }
}

#[test]
fn a_queue_gives_back_what_a_time_without_a_connection_has_needed() {
    let mut scene = Scene::on(Transport::WebSocket);
    for _ in 0..5_000 {
        scene.client.emit(Time::ZERO, scene.socket, event("x")).unwrap();
    }
    scene.upgrade();
    scene.tell(OPEN);
    scene.tell("40{\"sid\":\"a\"}");
    let queue = &scene.client.sockets[0].queue;
    assert!(queue.is_empty() && queue.capacity() <= 128, "{}", queue.capacity());
    let outgoing = scene.session().outgoing_room();
    assert!(outgoing <= 128, "{outgoing}");
}

#[test]
fn a_closed_client_keeps_no_cookies() {
    let mut scene = Scene::on(Transport::Polling);
    let (body, length) = (OPEN, OPEN.len());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nSet-Cookie: a=b\r\n\r\n");
    scene.say(format!("{head}{body}").as_bytes());
    assert!(!scene.client.jar.is_empty());
    scene.client.close(Time::ZERO);
    scene.drain();
    assert!(scene.written.contains("Cookie: a=b"), "the goodbye has them");
    for _ in 0..3 {
        if let Some(time) = scene.client.next_timeout() {
            scene.client.handle_timeout(time);
            scene.drain();
        }
    }
    assert_eq!(scene.states.last(), Some(&State::Stopped(StopReason::Closed)));
    assert!(scene.client.jar.is_empty());
}

/// What is acknowledged has not to be confirmed, and is not sent again.
#[test]
fn events_that_are_acknowledged_and_never_confirmed_keep_no_places() {
    let config = ClientConfig::default().confirm_events(true);
    let mut scene = Scene::new(config.transports(vec![Transport::WebSocket]));
    scene.upgrade();
    scene.tell(OPEN);
    scene.tell("40{\"sid\":\"a\",\"pid\":\"p\",\"sio.confirmed\":0}");
    assert!(scene.client.is_connected(scene.socket));
    for _ in 0..1_000 {
        let mut event = event("x");
        event.ack = true;
        scene.client.emit(Time::ZERO, scene.socket, event).unwrap();
        scene.drain();
    }
    assert!(scene.client.sockets[0].unconfirmed.room() >= 1_000);
    for id in 0..1_000 {
        scene.tell(&format!("43{id}[]"));
    }
    let room = scene.client.sockets[0].unconfirmed.room();
    assert!(room <= 64, "{room}");
}

/// Each message of 0.9 with an id is acknowledged by the client itself. What the server does not
/// read takes no more memory than the limit, however short each acknowledgement is.
#[test]
fn receipts_of_09_take_no_more_than_their_limit() {
    let config = ClientConfig::default()
        .generation(Generation::V0_9)
        .max_answer_bytes(10_000usize);
    let mut scene = Scene::new(config.transports(vec![Transport::WebSocket]));
    let (body, length) = ("s:60:60:websocket", 17);
    scene.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
    scene.upgrade();
    scene.tell("1::");
    scene.client.handle_blocked(Time::ZERO, scene.link);
    let mut times = 0;
    while matches!(&scene.client.stage, Stage::Session(session) if session.is_open()) {
        let memory = scene.session().receipt_memory();
        assert!(memory <= 10_000, "{times} receipts take {memory} bytes");
        assert_eq!(scene.session().outgoing_room(), 0);
        scene.tell("3:1::x");
        times += 1;
    }
    // `6:::1`, and its end.
    assert_eq!(times, 10_000 / 6 + 1);
}
