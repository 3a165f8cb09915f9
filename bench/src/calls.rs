//! Single calls, which neither know a session nor take a lock.

use std::hint::black_box;
use std::sync::Arc;

use bytes::BytesMut;
use sio_proto::conn::{Arrivals, Conn};
use sio_proto::server::{Form, Message, Peer};
use sio_proto::socket::text::{Limits, decode};
use sio_proto::socket::{Revision, Role};
use sio_proto::wire::Wire;
use sio_proto::{ByteString, Config, json};

use crate::wire::{get, get_from_page, text, upgrade};
use crate::{Case, Row};

const EVENT: &str = r#"42["echo","0123456789abcdef"]"#;

/// The rows.
pub const ROWS: &[Row] = &[
    Row::new("call-frame", || Box::new(Bytes::websocket(text(EVENT)))),
    Row::new("call-frames", || Box::new(Bytes::websocket(text(EVENT).repeat(16)))).of(16),
    Row::new("call-request", || Box::new(Bytes::http(get(POLL)))),
    Row::new("call-request/page", || Box::new(Bytes::http(get_from_page(POLL)))),
    Row::new("call-decode-event", || {
        Box::new(Decode(ByteString::from_static(&EVENT[1..])))
    }),
    Row::new("call-encode-event", || Box::new(Encode::new())),
    Row::new("call-json-64KiB", || {
        Box::new(Json(format!(r#"["{}"]"#, "0123456789abcdef".repeat(4096))))
    })
    .heavy(),
    Row::new("call-json-objects", || {
        Box::new(Json(format!("[{}]", [OBJECT; 20].join(","))))
    })
    .heavy(),
];

const POLL: &str = "/socket.io/?EIO=4&transport=polling&t=PKoTbWl&sid=lv_VI97HAXpY6yYWAAAC0123456789ab";
const OBJECT: &str = r#"{"id":12345,"name":"an ordinary name","tags":["a","b"],"ok":true,"ratio":0.25}"#;

/// Bytes of a peer become packets, or a request.
struct Bytes {
    conn: Conn,
    arrivals: Arrivals,
    buffer: BytesMut,
    said: Vec<u8>,
}

impl Bytes {
    fn http(said: Vec<u8>) -> Self {
        Self {
            conn: Conn::new(Arc::new(Config::default()), Peer::default()),
            arrivals: Arrivals::default(),
            buffer: BytesMut::with_capacity(64 * 1024),
            said,
        }
    }

    fn websocket(said: Vec<u8>) -> Self {
        let mut bytes = Self::http(said);
        let mut handshake = BytesMut::from(&upgrade("/socket.io/?EIO=4&transport=websocket")[..]);
        bytes.conn.handle_bytes(&mut handshake, &mut bytes.arrivals);
        bytes.conn.handle_upgraded(Wire::Engine4);
        bytes.arrivals.request = None;
        bytes
    }
}

impl Case for Bytes {
    fn prepare(&mut self, _: usize) {
        self.arrivals.packets.clear();
        self.arrivals.request = None;
        self.conn.handle_answered();
        self.buffer.clear();
        self.buffer.reserve(64 * 1024);
        self.buffer.extend_from_slice(&self.said);
    }

    fn run(&mut self, _: usize) {
        let mut bytes = self.buffer.split();
        self.conn.handle_bytes(&mut bytes, &mut self.arrivals);
    }

    fn check(&mut self) {
        self.prepare(0);
        self.run(0);
        let packets = self.said.len() / text(EVENT).len();
        if self.arrivals.request.is_none() {
            assert_eq!(self.arrivals.packets.len(), packets);
        }
        assert!(self.arrivals.closed.is_none() && self.arrivals.replies.is_empty());
    }
}

/// A Socket.IO packet is read from a text.
struct Decode(ByteString);

impl Case for Decode {
    fn run(&mut self, _: usize) {
        let _ = black_box(decode(&self.0, Revision::Five, Role::Server, &Limits::default()));
    }

    fn check(&mut self) {
        assert!(decode(&self.0, Revision::Five, Role::Server, &Limits::default()).is_ok());
    }
}

/// An event becomes a frame for clients of 4.x.
struct Encode {
    config: Config,
    message: Message,
    buffer: BytesMut,
}

impl Encode {
    fn new() -> Self {
        Self {
            config: Config::default(),
            message: Self::message(),
            buffer: BytesMut::new(),
        }
    }

    fn message() -> Message {
        let args = ByteString::from_static(r#""0123456789abcdef""#);
        Message::event(
            ByteString::from_static("/"),
            ByteString::from_static("echo"),
            args.into(),
            None,
        )
    }
}

impl Case for Encode {
    fn prepare(&mut self, _: usize) {
        self.message = Self::message();
    }

    fn run(&mut self, _: usize) {
        let _ = black_box(self.message.encode(Form::Engine4, &self.config, &mut self.buffer));
    }

    fn check(&mut self) {
        self.prepare(0);
        self.run(0);
        assert_eq!(self.message.packets(), 1);
    }
}

/// JSON is checked.
struct Json(String);

impl Case for Json {
    fn run(&mut self, _: usize) {
        let _ = black_box(json::validate(black_box(&self.0), json::MAX_DEPTH));
    }

    fn check(&mut self) {
        assert_eq!(json::validate(&self.0, json::MAX_DEPTH), Ok(()));
    }
}
