//! The other end of a link: reads what the server writes, as strictly as it can, and remembers the session ids in it.

use std::collections::VecDeque;

use bytes::BytesMut;
use bytestring::ByteString;
use sio_proto::http::{self, Event, Method, RequestDecoder, Response, ResponseDecoder};
use sio_proto::legacy::framing;
use sio_proto::websocket::{self, Role};

/// More than any answer of a server with the limits of these runs.
const MAX_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Peer {
    stream: Stream,
    buffer: BytesMut,
    /// Most packets that one poll may carry.
    max_packets: usize,
}

#[derive(Debug)]
enum Stream {
    Http(Box<Http>),
    WebSocket(websocket::Decoder, bool),
}

#[derive(Debug)]
struct Http {
    /// Reads what is sent to the server as it does, to know which responses to expect.
    requests: RequestDecoder,
    limits: http::Limits,
    sent: BytesMut,
    methods: VecDeque<Method>,
    responses: ResponseDecoder,
}

impl Peer {
    pub(super) fn new(limits: http::Limits, max_packets: usize) -> Self {
        Self {
            stream: Stream::Http(Box::new(Http {
                requests: RequestDecoder::new(),
                limits,
                sent: BytesMut::new(),
                methods: VecDeque::new(),
                responses: ResponseDecoder::new(),
            })),
            buffer: BytesMut::new(),
            max_packets,
        }
    }

    pub(super) const fn is_websocket(&self) -> bool {
        matches!(self.stream, Stream::WebSocket(..))
    }

    /// Takes note of what is about to be sent.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if let Stream::Http(http) = &mut self.stream {
            http.sent.extend_from_slice(bytes);
            while let Ok(Some(event)) = http.requests.decode(&mut http.sent, &http.limits) {
                if let Event::Request(request) = event {
                    http.methods.push_back(request.method);
                }
            }
        }
    }

    /// Reads what the server has written; the ids of sessions in it go to `sids`.
    pub(super) fn receive(&mut self, bytes: &[u8], sids: &mut Vec<String>) {
        self.buffer.extend_from_slice(bytes);
        if let Stream::Http(http) = &mut self.stream {
            let limits = http::Limits::default().max_body_bytes(MAX_BYTES);
            loop {
                let method = http.methods.front().copied();
                let to = method.unwrap_or(Method::Get);
                let response = http.responses.decode(to, &mut self.buffer, &limits).expect("the server speaks HTTP");
                let Some(response) = response else { return };
                // Before its request is complete only an answer comes that ends the connection.
                assert!(method.is_some() || !response.keep_alive, "an answer to nothing: {response:?}");
                http.methods.pop_front();
                if response.status == 101 {
                    break;
                }
                check_poll(&response, self.max_packets);
                learn(&String::from_utf8_lossy(&response.body), sids);
            }
            let limits = websocket::Limits::default().max_message_bytes(MAX_BYTES).max_frame_bytes(MAX_BYTES);
            self.stream = Stream::WebSocket(websocket::Decoder::new(Role::Client, limits), false);
        }
        if let Stream::WebSocket(decoder, closed) = &mut self.stream {
            while let Some(event) = decoder.decode(&mut self.buffer).expect("the server speaks WebSocket") {
                assert!(!*closed, "a frame after Close");
                match event {
                    websocket::Event::Text(text) => learn(&text, sids),
                    websocket::Event::Close(_) => *closed = true,
                    _ => {}
                }
            }
        }
    }

    /// The server has ended the link.
    pub(super) fn end(mut self) {
        match &mut self.stream {
            Stream::Http(http) => {
                let rest = http.responses.decode_end(&self.buffer).expect("the last answer is complete");
                assert!(rest.is_none(), "every answer says how long it is");
            }
            Stream::WebSocket(decoder, closed) => {
                assert!(decoder.missing_bytes() == 0 && self.buffer.is_empty(), "the last frame is complete");
                assert!(*closed, "a websocket ends with a Close");
            }
        }
    }
}

fn check_poll(response: &Response, max_packets: usize) {
    let Ok(body) = ByteString::try_from(response.body.clone()) else { return };
    let packets = if body.starts_with("~m~") {
        let mut frames = Vec::new();
        assert_eq!(framing::decode(&body, MAX_BYTES, &mut frames), Ok(()));
        frames.len()
    } else {
        body.split('\u{1e}').count()
    };
    assert!(packets <= max_packets, "{packets} packets in one poll");
}

/// Finds the session id in an open packet of Engine.IO, or in the first frame of 0.6.
fn learn(text: &str, sids: &mut Vec<String>) {
    let found = match text.strip_prefix("~m~24~m~") {
        Some(sid) => sid.get(..24),
        None => text.strip_prefix("0{\"sid\":\"").and_then(|rest| rest.get(..20)),
    };
    sids.extend(found.map(str::to_owned));
}
