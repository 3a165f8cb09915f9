//! One connection: from bytes to requests and packets. The read side only; answers are encoded where they are written.
//!
//! ```text
//!            complete request               handle_upgraded
//!   HTTP ───────────────────────► WAITING ─────────────────► WEBSOCKET
//!    ▲                               │                           │
//!    └───────── handle_answered ─────┘            breach, Close  ▼
//!     breach ──────────────────────────────────────────────►  CLOSED
//! ```
//! A `Conn` shares nothing and locks nothing: HTTP, frames, UTF-8, payloads and packets are parsed here, before a shard is asked. It keeps no
//! buffer: what it cannot use yet stays in the caller's `bytes`, and is passed again in front of what follows.
//!
//! Pipelined requests are parsed one at a time, each after the answer to the one before (RFC 9112 §9.3.2 wants the answers in order).

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::server::{Cause, Peer, Request};
use crate::wire::{Inbound, Wire, WireDecoder};
use crate::{Config, http, websocket};

/// The read side of one connection.
#[derive(Debug)]
pub struct Conn {
    state: State,
    peer: Peer,
    config: Arc<Config>,
}

#[derive(Debug)]
enum State {
    /// A request is awaited, or coming; or, if the flag is set, one is with the shard and what follows it waits.
    Http(http::RequestDecoder, bool),
    WebSocket(websocket::Decoder, WireDecoder),
    Closed,
}

// Held per connection.
const _: () = assert!(size_of::<Conn>() <= 144);

/// What is awaited of a peer: the caller says how long each may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A request, of which nothing has come.
    Idle,
    /// The rest of a request's head.
    Head,
    /// The rest of a request's body.
    Body,
    /// Nothing: it waits for an answer.
    Waiting,
    /// Nothing: its messages come when they come, and its session looks after it.
    WebSocket,
    /// That it closes the connection.
    Closed,
}

/// What came out of some bytes. It belongs to the caller, who empties and reuses it.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// A complete request. There is at most one, and nothing is read beyond it until [`Conn::handle_answered`].
    pub request: Option<Request>,
    /// The head of a request whose body is still coming.
    pub body_started: Option<Request>,
    /// Packets of a websocket.
    pub packets: Vec<Inbound>,
    /// Bytes to write as they are: pongs, `100 Continue`, answers to what is no request, Close frames.
    pub replies: Vec<Bytes>,
    /// The connection is over, once `replies` are written: tell the shard.
    pub closed: Option<Cause>,
}

impl Conn {
    /// A connection on which nothing has been read.
    #[must_use]
    pub fn new(config: Arc<Config>, peer: Peer) -> Self {
        Self {
            state: State::Http(http::RequestDecoder::new(), false),
            peer,
            config,
        }
    }

    /// Takes what it can from `bytes`. What remains is incomplete, or follows a request that has not been answered: pass it again,
    /// with what has come since appended.
    pub fn handle_bytes(&mut self, bytes: &mut BytesMut, out: &mut Arrivals) {
        match &mut self.state {
            State::WebSocket(..) => self.read_frames(bytes, out),
            State::Http(_, waiting) if *waiting => {}
            State::Http(..) => self.read_request(bytes, out),
            State::Closed => bytes.clear(),
        }
    }

    /// Whether a request is with the shard, so that bytes wait.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Http(_, true))
    }

    /// Whether this is a websocket.
    #[must_use]
    pub const fn is_websocket(&self) -> bool {
        matches!(self.state, State::WebSocket(..))
    }

    /// What is awaited of the peer. `rest` is what [`Conn::handle_bytes`] has left.
    #[must_use]
    pub const fn stage(&self, rest: &[u8]) -> Stage {
        match &self.state {
            State::Http(_, true) => Stage::Waiting,
            State::Http(decoder, false) if decoder.is_reading_body() => Stage::Body,
            State::Http(decoder, false) if decoder.is_finished() => Stage::Closed,
            State::Http(decoder, false) if decoder.is_idle() && rest.is_empty() => Stage::Idle,
            State::Http(_, false) => Stage::Head,
            State::WebSocket(..) => Stage::WebSocket,
            State::Closed => Stage::Closed,
        }
    }

    /// How many more bytes the websocket frame that has begun needs: a hint for the next read.
    #[must_use]
    pub const fn missing_bytes(&self) -> usize {
        match &self.state {
            State::WebSocket(decoder, _) => decoder.missing_bytes(),
            State::Http(..) | State::Closed => 0,
        }
    }

    /// The request has been answered; the next may be read.
    pub fn handle_answered(&mut self) {
        if let State::Http(_, waiting) = &mut self.state {
            *waiting = false;
        }
    }

    /// The request has been answered with an upgrade; what follows are frames.
    pub fn handle_upgraded(&mut self, wire: Wire) {
        self.state = State::WebSocket(
            websocket::Decoder::new(websocket::Role::Server, self.config.websocket),
            WireDecoder::new(wire, &self.config),
        );
    }

    fn read_request(&mut self, bytes: &mut BytesMut, out: &mut Arrivals) {
        let State::Http(decoder, waiting) = &mut self.state else {
            return;
        };
        loop {
            match decoder.decode(bytes, &self.config.http) {
                Ok(Some(http::Event::Continue)) => out.replies.push(Bytes::from_static(http::CONTINUE)),
                Ok(Some(http::Event::Request(request))) => {
                    let mut request = Request::new(request, self.peer);
                    request.decode_body(&self.config);
                    out.request = Some(request);
                    *waiting = true;
                    return;
                }
                Ok(None) => {
                    if let Some(head) = decoder.take_started() {
                        out.body_started = Some(Request::new(head, self.peer));
                    }
                    return;
                }
                Err(error) => {
                    bytes.clear();
                    out.replies.push(refusal(error));
                    out.closed = Some(Cause::Failed);
                    self.state = State::Closed;
                    return;
                }
            }
        }
    }

    fn read_frames(&mut self, bytes: &mut BytesMut, out: &mut Arrivals) {
        let State::WebSocket(decoder, wire) = &mut self.state else {
            return;
        };
        loop {
            match decoder.decode(bytes) {
                Ok(None) => return,
                Ok(Some(websocket::Event::Text(text))) => wire.decode_text(text, &self.config, &mut out.packets),
                Ok(Some(websocket::Event::Binary(data))) => wire.decode_binary(data, &self.config, &mut out.packets),
                Ok(Some(websocket::Event::Ping(data))) => {
                    let mut pong = BytesMut::new();
                    websocket::encode_message(&mut pong, websocket::Opcode::Pong, &data, None);
                    out.replies.push(pong.freeze());
                }
                Ok(Some(websocket::Event::Pong(_))) => {}
                Ok(Some(websocket::Event::Close(frame))) => {
                    // The echo carries the peer's code (RFC 6455 §5.5.1).
                    out.replies.push(close_frame(frame.map(|f| f.code)));
                    out.closed = Some(Cause::Closed);
                    self.state = State::Closed;
                    return;
                }
                Err(error) => {
                    bytes.clear();
                    out.replies.push(close_frame(Some(error.close_code())));
                    out.closed = Some(Cause::Failed);
                    self.state = State::Closed;
                    return;
                }
            }
        }
    }
}

/// A Close frame as a server sends it.
#[must_use]
pub fn close_frame(code: Option<websocket::CloseCode>) -> Bytes {
    let mut out = BytesMut::new();
    websocket::encode_close(&mut out, code.map(|code| (code, "")), None);
    out.freeze()
}

/// The answer to bytes that are no request.
fn refusal(error: http::HttpError) -> Bytes {
    let mut out = BytesMut::new();
    let written = http::encode_response(&mut out, http::Exchange::CLOSING, error.status(), None, &[], b"");
    debug_assert_eq!(written, Ok(false), "nothing in it can be refused");
    out.freeze()
}
