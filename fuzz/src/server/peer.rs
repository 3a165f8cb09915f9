//! The other end of a link. It reads what the server writes, as strictly as possible.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use sio_proto::http::{self, Event, Method, RequestDecoder, Response, ResponseDecoder};
use sio_proto::websocket::{self, Role};

use super::client::{About, Clients};
use super::endless::{Endless, OldWebSocket};

/// A limit that is above the size of any answer of these servers, in bytes.
const MAX_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Peer {
    stream: Stream,
    buffer: BytesMut,
    /// The most packets that one poll may carry.
    max_packets: usize,
}

#[derive(Debug)]
enum Stream {
    Http(Box<Http>),
    WebSocket(Box<WebSocket>),
    /// An answer without end, and the reader for the requests and answers that follow it.
    Endless(Box<Endless>, Box<Http>),
    OldWebSocket(Box<OldWebSocket>),
}

#[derive(Debug)]
struct Http {
    /// Reads the bytes that are sent to the server, as the server does, to know which responses to
    /// expect.
    requests: RequestDecoder,
    limits: http::Limits,
    sent: BytesMut,
    asked: VecDeque<Asked>,
    responses: ResponseDecoder,
}

/// A request that has no answer yet.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    target: ByteString,
}

#[derive(Debug)]
struct WebSocket {
    decoder: websocket::Decoder,
    is_closed: bool,
    /// The target of the request, if its answer carries plain messages.
    plain: Option<ByteString>,
    /// The session of 0.7 to 0.9.
    v1: Option<String>,
    about: About,
}

impl Asked {
    fn is_engine(&self) -> bool {
        self.target.starts_with("/engine.io/") || self.target.starts_with("/socket.io/?")
    }
}

impl Peer {
    pub(super) fn new(limits: http::Limits, max_packets: usize) -> Self {
        Self {
            stream: Stream::Http(Box::new(Http::new(limits))),
            buffer: BytesMut::new(),
            max_packets,
        }
    }

    pub(super) const fn is_websocket(&self) -> bool {
        matches!(self.stream, Stream::WebSocket(..) | Stream::OldWebSocket(..))
    }

    /// Whether the last bytes of a websocket's handshake have not come. Until then it is a head.
    /// Whoever drives the server decides how long a head may take.
    pub(super) fn owes_keys(&self) -> bool {
        matches!(&self.stream, Stream::OldWebSocket(websocket) if websocket.owes_keys())
    }

    /// Whether it is a websocket of 2010.
    pub(super) const fn is_old_websocket(&self) -> bool {
        matches!(self.stream, Stream::OldWebSocket(..))
    }

    /// Whether this is a stream of a generation whose client does not answer heartbeats.
    pub(super) fn may_be_silent(&self) -> bool {
        match &self.stream {
            Stream::Http(_) => false,
            Stream::WebSocket(websocket) => {
                websocket.plain.as_ref().is_some_and(|target| target.starts_with("/envelope/"))
            }
            Stream::OldWebSocket(websocket) => websocket.target.starts_with("/envelope/"),
            Stream::Endless(endless, _) => endless.target.starts_with("/envelope/"),
        }
    }

    /// How many requests have no answer yet.
    pub(super) fn waiting(&self) -> usize {
        match &self.stream {
            Stream::Http(http) => http.asked.len(),
            // The stream is an answer that has not ended yet.
            Stream::Endless(_, http) => 1 + http.asked.len(),
            Stream::WebSocket(_) | Stream::OldWebSocket(_) => 0,
        }
    }

    /// Notes the bytes that are about to be sent.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if let Stream::OldWebSocket(websocket) = &mut self.stream {
            websocket.send(bytes);
        }
        if let Stream::Http(http) | Stream::Endless(_, http) = &mut self.stream {
            http.sent.extend_from_slice(bytes);
            while let Ok(Some(event)) = http.requests.decode(&mut http.sent, &http.limits) {
                if let Event::Request(request) = event {
                    http.asked.push_back(Asked {
                        method: request.method,
                        target: request.target,
                    });
                }
            }
        }
    }

    /// Reads what the server has written.
    pub(super) fn receive(&mut self, bytes: &[u8], clients: &mut Clients) {
        self.buffer.extend_from_slice(bytes);
        loop {
            match &mut self.stream {
                Stream::Http(http) => match http.receive(&mut self.buffer, self.max_packets, clients) {
                    None => return,
                    Some(Next::Endless(endless)) => {
                        let http = std::mem::replace(http, Box::new(Http::new(http.limits)));
                        self.stream = Stream::Endless(Box::new(endless), http);
                    }
                    Some(Next::WebSocket(asked)) => self.stream = Stream::WebSocket(Box::new(WebSocket::new(&asked))),
                    Some(Next::OldWebSocket(old)) => self.stream = Stream::OldWebSocket(Box::new(old)),
                },
                Stream::Endless(endless, http) => {
                    if !endless.receive(&mut self.buffer, clients) {
                        return;
                    }
                    self.stream = Stream::Http(std::mem::replace(http, Box::new(Http::new(http.limits))));
                }
                Stream::WebSocket(websocket) => return websocket.receive(&mut self.buffer, clients),
                Stream::OldWebSocket(websocket) => return websocket.receive(&mut self.buffer, clients),
            }
        }
    }

    /// Checks what was read, when the server has ended the link.
    pub(super) fn end(mut self) {
        match &mut self.stream {
            Stream::Http(http) => {
                let rest = http.responses.decode_end(&self.buffer).expect("the last answer is complete");
                assert!(rest.is_none(), "every answer says how long it is");
            }
            Stream::WebSocket(websocket) => {
                assert!(websocket.decoder.missing_bytes() == 0 && self.buffer.is_empty(), "the last frame is complete");
                assert!(websocket.is_closed, "a websocket ends with a Close");
            }
            Stream::OldWebSocket(websocket) => websocket.assert_over(&self.buffer),
            Stream::Endless(endless, _) => {
                assert!(self.buffer.is_empty());
                endless.assert_complete();
            }
        }
    }
}

/// What a connection has become.
enum Next {
    WebSocket(Asked),
    OldWebSocket(OldWebSocket),
    Endless(Endless),
}

impl Http {
    fn new(limits: http::Limits) -> Self {
        Self {
            requests: RequestDecoder::new(),
            limits,
            sent: BytesMut::new(),
            asked: VecDeque::new(),
            responses: ResponseDecoder::new(),
        }
    }

    /// Reads responses, until one begins something else.
    fn receive(&mut self, buffer: &mut BytesMut, max_packets: usize, clients: &mut Clients) -> Option<Next> {
        let limits = http::Limits::default().max_body_bytes(MAX_BYTES);
        loop {
            let get = self.asked.front().filter(|asked| asked.method == Method::Get);
            if let Some(endless) = get.and_then(|asked| Endless::begin(&asked.target, buffer)) {
                self.asked.pop_front();
                return Some(Next::Endless(endless));
            }
            let method = self.asked.front().map_or(Method::Get, |asked| asked.method);
            let response = self.responses.decode(method, buffer, &limits).expect("the server speaks HTTP")?;
            let Some(asked) = self.asked.pop_front() else {
                // An answer that comes before its request is complete must be an error that ends
                // the connection.
                assert!(!response.keep_alive && response.status >= 400, "an answer to nothing: {response:?}");
                continue;
            };
            match response.status {
                101 if response.headers.get("sec-websocket-accept").is_some() => return Some(Next::WebSocket(asked)),
                101 => {
                    let is_76 = response.headers.get("sec-websocket-location").is_some();
                    let mut old = OldWebSocket::new(asked.target, is_76, self.limits.max_body_bytes);
                    // These bytes were sent before the answer, and the request decoder has not
                    // taken them.
                    old.send(&self.sent.split());
                    return Some(Next::OldWebSocket(old));
                }
                200 if asked.method == Method::Get => read_poll(&asked, &response, max_packets, clients),
                _ => {}
            }
        }
    }
}

fn read_poll(asked: &Asked, response: &Response, max_packets: usize, clients: &mut Clients) {
    let count = if asked.is_engine() {
        let is_binary = response.headers.get("content-type") == Some(b"application/octet-stream");
        let body = unwrap_script(&response.body, b"___eio[", "](");
        clients.receive_payload(About::target(&asked.target), body, is_binary)
    } else if let Some(sid) = About::v1(&asked.target) {
        if response.body.ends_with(b"\"));") && response.body.starts_with(b"io.j[") {
            return; // `new Error("…")` is a refused handshake.
        }
        let body = unwrap_script(&response.body, b"io.j[", "](");
        clients.receive_v1(sid, &ByteString::try_from(body).expect("text"))
    } else {
        let body = unwrap_script(&response.body, b"io.JSONP[", "]._(");
        clients.receive_plain(&asked.target, &ByteString::try_from(body).expect("a poll is text"))
    };
    assert!(count <= max_packets, "{count} packets in one poll");
}

/// Takes the payload out of a body that may be a script.
fn unwrap_script(body: &Bytes, start: &[u8], middle: &str) -> Bytes {
    let Some(script) = body.strip_prefix(start) else {
        return body.clone();
    };
    let script = std::str::from_utf8(script).expect("a script is text");
    // The server of 2010 wrote no semicolon.
    let call = script.strip_suffix(';').unwrap_or(script);
    let literal = call.split_once(middle).and_then(|(_, rest)| rest.strip_suffix(')'));
    let payload = serde_json::from_str::<String>(literal.expect("a call")).expect("a string literal");
    Bytes::from(payload)
}

impl WebSocket {
    fn new(asked: &Asked) -> Self {
        let limits = websocket::Limits::default().max_message_bytes(MAX_BYTES).max_frame_bytes(MAX_BYTES);
        Self {
            decoder: websocket::Decoder::new(Role::Client, limits),
            is_closed: false,
            plain: (!asked.is_engine()).then(|| asked.target.clone()),
            v1: About::v1(&asked.target).flatten().map(str::to_owned),
            about: About::target(&asked.target),
        }
    }

    fn receive(&mut self, buffer: &mut BytesMut, clients: &mut Clients) {
        while let Some(event) = self.decoder.decode(buffer).expect("the server speaks WebSocket") {
            assert!(!self.is_closed, "a frame after Close");
            match (event, &self.v1) {
                (websocket::Event::Text(text), Some(sid)) => clients.receive_v1_packet(sid, &text),
                (websocket::Event::Text(text), None) => match &self.plain {
                    Some(target) => {
                        clients.receive_plain(target, &text);
                    }
                    None => clients.receive_text(&mut self.about, &text),
                },
                (websocket::Event::Binary(_), _) if self.plain.is_some() => panic!("this wire has no binary"),
                (websocket::Event::Binary(bytes), _) => clients.receive_binary(&mut self.about, bytes),
                (websocket::Event::Close(_), _) => self.is_closed = true,
                (websocket::Event::Pong(data), _) => assert!(data.len() <= 125),
                (websocket::Event::Ping(_), _) => panic!("no generation's server does that"),
            }
        }
    }
}
