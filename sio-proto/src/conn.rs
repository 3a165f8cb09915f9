//! One connection: from bytes to requests and packets. The read side only; answers are encoded
//! where they are written.
//!
//! ```text
//!            complete request               handle_upgraded
//!   HTTP ───────────────────────► WAITING ─────────────────► WEBSOCKET (RFC 6455, or older)
//!    ▲                               │                           │
//!    └───────── handle_answered ─────┘            breach, Close  ▼
//!     breach, policy request ──────────────────────────────►  CLOSED
//! ```
//! The first bytes may be no HTTP but a Flash policy request. That is answered here, without a
//! shard.
//!
//! A `Conn` shares nothing and locks nothing: HTTP, frames, UTF-8, payloads and packets are parsed
//! here, before a shard is asked. It keeps no buffer: what it cannot use yet stays in the caller's
//! `bytes`, and is passed again in front of what follows.
//!
//! Pipelined requests are parsed one at a time, each after the answer to the one before (RFC 9112
//! §9.3.2 wants the answers in order). Behind a GET that is held, the next one is parsed as well,
//! if the caller says so ([`Conn::handle_held`]).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};

use crate::breach::{Breach, BreachKind};
use crate::legacy::flash_policy::{self, Sniff};
use crate::legacy::hixie::{self, Challenge, Opening};
use crate::legacy::legacy09::NOT_HANDSHAKEN;
use crate::request::{Cause, Findings, Peer, Request};
use crate::wire::{Inbound, Wire, WireDecoder};
use crate::{Config, http, websocket};

/// The read side of one connection.
#[derive(Debug)]
pub struct Conn {
    state: State,
    /// What the request is whose body is coming: its head has been looked at. Boxed: few bodies
    /// come in pieces.
    begun: Option<Box<Findings>>,
    peer: Peer,
    config: Arc<Config>,
}

#[derive(Debug)]
enum State {
    Http(http::RequestDecoder, Turn),
    WebSocket(websocket::Decoder, WireDecoder),
    /// A websocket older than RFC 6455. Boxed: there are few.
    Hixie(Box<Hixie>),
    Closed,
}

/// Whose turn it is on a connection that speaks HTTP.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// The peer's, and nothing has come from it.
    First,
    /// The peer's: a request is awaited, or coming.
    Peer,
    /// Ours: a request is with the shard, and what follows it waits. This is what it asks for, if
    /// that is an old websocket.
    Ours(Option<Opening>),
    /// The peer's, although its request has no answer: that is a GET which is held.
    Held,
}

/// The read side of a websocket older than RFC 6455.
#[derive(Debug)]
struct Hixie {
    /// The 8 bytes behind the head have not come, with which this makes the digest.
    challenge: Option<Challenge>,
    /// Its version has a closing handshake.
    closes: bool,
    decoder: hixie::Decoder,
    wire: Wire,
    packets: WireDecoder,
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
    /// Set by the caller: what the answers to what is no request say of the date, if anything. It
    /// stays as it is.
    pub date: Option<http::Date>,
    /// A complete request. There is at most one, and nothing is read beyond it until
    /// [`Conn::handle_answered`] or [`Conn::handle_held`].
    pub request: Option<Request>,
    /// The head of a request whose body is still coming.
    pub body_started: Option<Request>,
    /// Packets of a websocket.
    pub packets: Vec<Inbound>,
    /// The answers to the pings among the bytes. They go before `replies`.
    pub pongs: Pongs,
    /// Bytes to write as they are: `100 Continue` to a body that has not come, answers to what is
    /// no request, Close frames, the Flash policy. A connection has one, or a `100 Continue` and
    /// another.
    pub replies: Vec<Bytes>,
    /// The connection is over, once `replies` are written: tell the shard.
    pub closed: Option<Cause>,
}

/// Pongs for the pings of one call, in order.
///
/// While the connection takes bytes write all of them, as most peers expect. While it does not,
/// keep [`Pongs::take_latest`] alone, in place of what was kept before: one answer does for all
/// pings that came before it was sent (RFC 6455 §5.5.3). So pings that nobody reads the answers of
/// cost nothing.
#[derive(Debug, Default)]
pub struct Pongs {
    frames: BytesMut,
    /// Where the latest begins.
    latest: usize,
}

impl Pongs {
    /// Whether there was no ping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes all of them, as bytes to write.
    #[must_use]
    pub fn take_all(&mut self) -> Bytes {
        self.latest = 0;
        self.frames.split().freeze()
    }

    /// Takes the latest, in bytes of its own; those before it are not sent.
    #[must_use]
    pub fn take_latest(&mut self) -> Bytes {
        let latest = Bytes::copy_from_slice(&self.frames[core::mem::take(&mut self.latest)..]);
        self.frames.clear();
        latest
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.latest = 0;
        self.frames.clear();
    }

    fn push(&mut self, data: &[u8]) {
        self.latest = self.frames.len();
        websocket::encode_message(&mut self.frames, websocket::Opcode::Pong, data, None);
    }
}

impl Conn {
    /// A connection on which nothing has been read.
    #[must_use]
    pub fn new(config: Arc<Config>, peer: Peer) -> Self {
        Self {
            state: State::Http(http::RequestDecoder::new(), Turn::First),
            begun: None,
            peer,
            config,
        }
    }

    /// Takes what it can from `bytes`. What remains is incomplete, or follows a request that has
    /// not been answered: pass it again, with what has come since appended.
    ///
    /// Before any limit of a session it costs the decoding of `bytes`, and pongs that are shorter
    /// than the pings among them.
    pub fn handle_bytes(&mut self, bytes: &mut BytesMut, out: &mut Arrivals) {
        match &self.state {
            State::WebSocket(..) => self.read_frames(bytes, out),
            State::Http(_, Turn::Ours(_)) => {}
            State::Http(_, Turn::First) => {
                if self.may_read_http(bytes, out) {
                    self.read_request(bytes, out);
                }
            }
            State::Http(_, Turn::Peer | Turn::Held) => self.read_request(bytes, out),
            State::Hixie(_) => self.read_hixie(bytes, out),
            State::Closed => bytes.clear(),
        }
    }

    /// Whether a request is with the shard, so that bytes wait.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Http(_, Turn::Ours(_)))
    }

    /// Whether this is a websocket, its handshake complete.
    #[must_use]
    pub const fn is_websocket(&self) -> bool {
        match &self.state {
            State::WebSocket(..) => true,
            State::Hixie(hixie) => hixie.challenge.is_none(),
            State::Http(..) | State::Closed => false,
        }
    }

    /// What is awaited of the peer. `rest` is what [`Conn::handle_bytes`] has left.
    #[must_use]
    pub const fn stage(&self, rest: &[u8]) -> Stage {
        match &self.state {
            State::Http(_, Turn::Ours(_)) => Stage::Waiting,
            State::Http(decoder, Turn::Held) if decoder.is_idle() && rest.is_empty() => Stage::Waiting,
            State::Http(decoder, _) if decoder.is_reading_body() => Stage::Body,
            State::Http(decoder, _) if decoder.is_finished() => Stage::Closed,
            State::Http(decoder, _) if decoder.is_idle() && rest.is_empty() => Stage::Idle,
            State::Http(..) => Stage::Head,
            // Its last 8 bytes stand behind the head.
            State::Hixie(hixie) if hixie.challenge.is_some() => Stage::Head,
            State::Hixie(_) => Stage::WebSocket,
            State::WebSocket(..) => Stage::WebSocket,
            State::Closed => Stage::Closed,
        }
    }

    /// How many more bytes the websocket frame that has begun needs: a hint for the next read.
    #[must_use]
    pub const fn missing_bytes(&self) -> usize {
        match &self.state {
            State::WebSocket(decoder, _) => decoder.missing_bytes(),
            State::Http(..) | State::Hixie(_) | State::Closed => 0,
        }
    }

    /// What it keeps of a request or message that is not complete, beside what the caller keeps for
    /// it, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            State::Http(decoder, _) => decoder.held_bytes(),
            State::WebSocket(decoder, packets) => decoder.held_bytes() + packets.held_bytes(),
            State::Hixie(hixie) => hixie.packets.held_bytes(),
            State::Closed => 0,
        }
    }

    /// The request is a GET that is held ([`Shard::holds`](crate::server::Shard::holds)): the next
    /// may be read, and is given to the caller like the first, who sees to the order of the
    /// answers. None is read after that one before [`Conn::handle_answered`]. False if none may
    /// follow.
    pub const fn handle_held(&mut self) -> bool {
        match &mut self.state {
            State::Http(decoder, turn @ Turn::Ours(None)) if !decoder.is_finished() => {
                *turn = Turn::Held;
                true
            }
            State::Http(..) | State::WebSocket(..) | State::Hixie(_) | State::Closed => false,
        }
    }

    /// What the peer has asked for has been answered; the next request may be read.
    pub fn handle_answered(&mut self) {
        if let State::Http(_, turn) = &mut self.state {
            *turn = Turn::Peer;
        }
    }

    /// The request has been answered with an upgrade; what follows are frames, of the version that
    /// the request has asked for.
    pub fn handle_upgraded(&mut self, wire: Wire) {
        let packets = WireDecoder::new(wire, &self.config);
        self.state = match self.state {
            State::Http(_, Turn::Ours(Some(opening))) => State::Hixie(Box::new(Hixie {
                challenge: match opening {
                    Opening::Hixie75 => None,
                    Opening::Hixie76(challenge) => Some(challenge),
                },
                closes: opening != Opening::Hixie75,
                decoder: hixie::Decoder::new(self.config.websocket.max_message_bytes),
                wire,
                packets,
            })),
            _ => State::WebSocket(
                websocket::Decoder::new(websocket::Role::Server, self.config.websocket),
                packets,
            ),
        };
    }

    /// Whether the first bytes are not, and cannot become, a Flash policy request, which is
    /// answered at once.
    fn may_read_http(&mut self, bytes: &mut BytesMut, out: &mut Arrivals) -> bool {
        let generations = self.config.generations;
        if bytes.first() != Some(&b'<') || !(generations.legacy06 || generations.legacy09) {
            return true;
        }
        match flash_policy::sniff(bytes) {
            Sniff::Other => true,
            Sniff::Undecided => false,
            Sniff::Policy => {
                bytes.clear();
                out.replies.push(flash_policy(&self.config));
                self.close(out, Cause::Closed);
                false
            }
        }
    }

    fn close(&mut self, out: &mut Arrivals, cause: Cause) {
        out.closed = Some(cause);
        self.state = State::Closed;
    }

    fn read_request(&mut self, bytes: &mut BytesMut, out: &mut Arrivals) {
        let State::Http(decoder, turn) = &mut self.state else {
            return;
        };
        if matches!(turn, Turn::First) && !bytes.is_empty() {
            *turn = Turn::Peer;
        }
        loop {
            match decoder.decode(bytes, &self.config.http) {
                Ok(Some(http::Event::Continue)) => out.replies.push(Bytes::from_static(http::CONTINUE)),
                Ok(Some(http::Event::Request(request))) => {
                    // Its body has come with its head: nobody waits for leave to send it, and
                    // behind the answer it would be none.
                    out.replies.clear();
                    *turn = Turn::Ours(Opening::of(&request).and_then(Result::ok));
                    let mut request = match self.begun.take() {
                        Some(findings) => Request::with_findings(*findings, request, self.peer),
                        None => Request::new(&self.config, request, self.peer),
                    };
                    request.decode_body(&self.config);
                    out.request = Some(request);
                    return;
                }
                Ok(None) => {
                    if let Some(head) = decoder.take_started() {
                        let request = Request::new(&self.config, head, self.peer);
                        self.begun = Some(Box::new(request.findings()));
                        out.body_started = Some(request);
                    }
                    return;
                }
                Err(error) => {
                    bytes.clear();
                    out.replies.push(refusal(error, out.date.as_ref()));
                    return self.close(out, Cause::Broken(Breach::new(BreachKind::Http, error)));
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
                Ok(Some(websocket::Event::Ping(data))) => out.pongs.push(&data),
                Ok(Some(websocket::Event::Pong(_))) => {}
                Ok(Some(websocket::Event::Close(frame))) => {
                    // The echo carries the peer's code (RFC 6455 §5.5.1).
                    out.replies.push(close_frame(frame.map(|f| f.code)));
                    return self.close(out, Cause::Closed);
                }
                Err(error) => {
                    bytes.clear();
                    out.replies.push(close_frame(Some(error.close_code())));
                    return self.close(out, Cause::Broken(Breach::new(BreachKind::WebSocket, error)));
                }
            }
        }
    }

    fn read_hixie(&mut self, bytes: &mut BytesMut, out: &mut Arrivals) {
        let State::Hixie(hixie) = &mut self.state else {
            return;
        };
        if let Some(challenge) = hixie.challenge {
            let Some(body) = bytes.first_chunk::<{ hixie::BODY_LEN }>() else {
                return;
            };
            let digest = challenge.answer(*body);
            let _ = bytes.split_to(hixie::BODY_LEN);
            hixie.challenge = None;
            if hixie.wire == Wire::Legacy09Unknown {
                let mut farewell = BytesMut::from(&digest[..]);
                hixie::write_text(NOT_HANDSHAKEN, &mut farewell);
                farewell.extend_from_slice(hixie::CLOSE);
                out.replies.push(farewell.freeze());
                return self.close(out, Cause::Closed);
            }
            // By way of the shard: the session's packets go behind it.
            out.packets.push(Inbound::Digest(digest));
        }
        loop {
            match hixie.decoder.decode(bytes) {
                Ok(None) => return,
                Ok(Some(hixie::Frame::Text(text))) => hixie.packets.decode_text(text, &self.config, &mut out.packets),
                Ok(Some(hixie::Frame::Close)) => {
                    if hixie.closes {
                        out.replies.push(Bytes::from_static(hixie::CLOSE));
                    }
                    return self.close(out, Cause::Closed);
                }
                // There is no way to tell the peer what was wrong.
                Err(error) => {
                    bytes.clear();
                    return self.close(out, Cause::Broken(Breach::new(BreachKind::WebSocket, error)));
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
fn refusal(error: http::HttpError, date: Option<&http::Date>) -> Bytes {
    let mut out = BytesMut::new();
    let date = date.map(|date| ("Date", date.as_str()));
    let written = http::encode_response(
        &mut out,
        http::Exchange::CLOSING,
        error.status(),
        None,
        date.as_slice(),
        b"",
    );
    debug_assert_eq!(written, Ok(false), "nothing in it can be refused");
    out.freeze()
}

/// The policy of a server with these settings ([`Config::flash_policy`]): what follows the request
/// on its main port, and what a listener of its own writes to everybody who connects.
#[must_use]
pub fn flash_policy(config: &Config) -> Bytes {
    let mut out = BytesMut::new();
    flash_policy::write_policy(config.flash_policy.iter().map(|origin| &**origin), &mut out);
    out.freeze()
}
