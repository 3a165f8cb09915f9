//! One connection: from bytes to requests and packets. This is the read side only. Answers are
//! encoded where they are written.
//!
//! ```text
//!            complete request               handle_upgraded
//!   HTTP ───────────────────────► WAITING ─────────────────► WEBSOCKET (RFC 6455, or older)
//!    ▲                               │                           │
//!    └───────── handle_answered ─────┘            breach, Close  ▼
//!     breach, policy request ──────────────────────────────►  CLOSED
//! ```
//! The first bytes may be a Flash policy request instead of HTTP. It is answered here, without a
//! shard.
//!
//! A `Conn` shares nothing and locks nothing: HTTP, frames, UTF-8, payloads and packets are parsed
//! here, before a shard is called. It keeps no buffer: bytes that it cannot use yet stay in the
//! caller's `bytes`, and the caller passes them again in front of the next bytes.
//!
//! Pipelined requests are parsed one at a time, each after the answer to the previous request (RFC
//! 9112 §9.3.2 requires the answers in order). Behind a GET that is held, the next request is
//! parsed too, if the caller allows it ([`Conn::handle_held`]).
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroUsize;

use bytes::{Bytes, BytesMut};

use crate::breach::{Breach, BreachKind};
use crate::frame::take_written;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::json::Controls;
use crate::legacy::flash_policy::{self, Sniff};
use crate::legacy::hixie::{self, Challenge, Opening};
use crate::legacy::legacy09::NOT_HANDSHAKEN;
use crate::request::{Cause, Findings, NamedSession, Peer, Request};
use crate::wire::{Inbound, Wire, WireDecoder};
use crate::{Config, http, websocket};

/// The read side of one connection.
#[derive(Debug)]
pub struct Conn {
    state: State,
    config: Arc<Config>,
}

#[derive(Debug)]
enum State {
    /// Boxed, because most idle connections are websockets.
    Http(Box<Http>),
    WebSocket(websocket::Reader, WireDecoder),
    /// A websocket older than RFC 6455. Boxed, because there are few.
    Hixie(Box<Hixie>),
    Closed,
}

/// The read side of a connection that is no websocket yet.
#[derive(Debug)]
struct Http {
    decoder: http::RequestDecoder,
    turn: Turn,
    /// The classification of a request whose body is still arriving. Boxed: few bodies come in
    /// several pieces.
    begun: Option<Box<Findings>>,
    /// What is known of the requests whose head the decoder remembers.
    known: Option<Box<Known>>,
    peer: Peer,
}

/// What is known of a request by its head.
#[derive(Debug)]
struct Known {
    /// The decoder's number of the head.
    head: u32,
    findings: Findings,
    named: Option<NamedSession>,
}

/// Whose turn it is on an HTTP connection.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// The peer's turn. Nothing has come from the peer yet.
    First,
    /// The peer's turn: a request is awaited, or is arriving.
    Peer,
    /// Our turn: a request is with the shard, and the bytes behind it wait. If the request asks for
    /// an old websocket, this is its handshake.
    Ours(Option<Opening>),
    /// The peer's turn, although its request has no answer, because the request is a GET that is
    /// held.
    Held,
}

/// The read side of a websocket older than RFC 6455.
#[derive(Debug)]
struct Hixie {
    /// The keys of the handshake, until the 8 bytes behind the head arrive. Together they give the
    /// digest.
    challenge: Option<Challenge>,
    /// Whether its version has a closing handshake.
    closes: bool,
    decoder: hixie::Decoder,
    wire: Wire,
    packets: WireDecoder,
}

// Every connection has one.
const _: () = assert!(size_of::<Conn>() <= 64);

/// What the server waits for. The caller limits the time of each stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A request, of which no byte has come.
    Idle,
    /// The rest of a request's head.
    Head,
    /// The rest of a request's body.
    Body,
    /// The peer waits for an answer.
    Waiting,
    /// The peer may send messages at any time, and its session limits the time.
    WebSocket,
    /// The peer has to close the connection.
    Closed,
}

/// The results of some bytes. The caller owns this value, empties it and uses it again.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// The date in answers to bytes that are no request, if there should be one. The caller sets
    /// it, and it is not changed here.
    pub date: Option<http::Date>,
    /// A complete request. There is at most one, and nothing is read beyond it until
    /// [`Conn::handle_answered`] or [`Conn::handle_held`].
    pub request: Option<Request>,
    /// The head of a request whose body is still coming.
    pub body_started: Option<Request>,
    /// Packets of a websocket.
    pub packets: Vec<Inbound>,
    /// When there are this many packets, no further frame is decoded: the bytes remain, as if they
    /// had not come. The caller sets it, and it is not changed here. Default none: all frames are
    /// decoded. A frame of 0.3 to 0.6 may hold many packets, so there may be more.
    pub max_packets: Option<NonZeroUsize>,
    /// The answers to the pings among the bytes. Write them before `replies`.
    pub pongs: Pongs,
    /// Bytes to write unchanged: `100 Continue` for a body that has not come, answers to bytes that
    /// are no request, Close frames, the Flash policy. A connection has at most one of them, or a
    /// `100 Continue` and one other.
    pub replies: Vec<Bytes>,
    /// The connection ends when `replies` are written: tell the shard.
    pub closed: Option<Cause>,
}

impl Arrivals {
    /// The memory of its lists.
    #[cfg(feature = "steps")]
    pub fn holding(&self) -> Holding {
        Holding::list::<Inbound>(self.packets.capacity()).and(Holding::list::<Bytes>(self.replies.capacity()))
    }

    /// Whether no further frame has to be decoded now.
    fn has_enough(&self) -> bool {
        self.max_packets.is_some_and(|max| self.packets.len() >= max.get())
    }
}

/// The pongs that are forgotten leave a buffer of this size at most.
const MOST_KEPT: usize = 8 * 1024;

/// Pongs for the pings of one call, in order.
///
/// While the connection takes bytes, write all of them, as most peers expect. While it does not,
/// keep only [`Pongs::take_latest`], in place of an earlier one: one answer is enough for all pings
/// that came before it was sent (RFC 6455 §5.5.3). So pings of a peer that does not read cost
/// nothing.
#[derive(Debug, Default)]
pub struct Pongs {
    frames: BytesMut,
    /// Where the latest pong begins.
    latest: usize,
}

impl Pongs {
    /// The memory of their buffer.
    #[cfg(feature = "steps")]
    pub fn holding(&self) -> Holding {
        Holding::memory(self.frames.capacity())
    }

    /// Whether there was no ping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes all of them, as bytes to write.
    #[must_use]
    pub fn take_all(&mut self) -> Bytes {
        self.latest = 0;
        // The buffer that many pings have needed goes with them.
        take_written(&mut self.frames).freeze()
    }

    /// Takes the latest pong, in its own memory. The earlier pongs are not sent.
    #[must_use]
    pub fn take_latest(&mut self) -> Bytes {
        let start = core::mem::take(&mut self.latest);
        let latest = Bytes::copy_from_slice(self.frames.get(start..).unwrap_or_default());
        self.clear();
        latest
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.latest = 0;
        match self.frames.capacity() > MOST_KEPT {
            true => self.frames = BytesMut::new(),
            false => self.frames.clear(),
        }
    }

    fn push(&mut self, data: &[u8]) {
        self.latest = self.frames.len();
        websocket::encode_message(&mut self.frames, websocket::Opcode::Pong, data, None);
    }
}

impl Conn {
    /// A connection from which no byte has been read.
    #[must_use]
    pub fn new(config: Arc<Config>, peer: Peer) -> Self {
        Self {
            state: State::Http(Box::new(Http {
                decoder: http::RequestDecoder::new(),
                turn: Turn::First,
                begun: None,
                known: None,
                peer,
            })),
            config,
        }
    }

    /// Takes the bytes that it can use from `bytes`. The bytes that remain are incomplete, or stand
    /// behind a request that has not been answered: pass them again, with the next bytes appended.
    ///
    /// The cost is the decoding of `bytes`, and pongs that are shorter than the pings among the
    /// bytes. No limit of a session has been checked at this point.
    pub fn handle_bytes(&mut self, bytes: &mut BytesMut, out: &mut Arrivals) {
        match &self.state {
            State::WebSocket(..) => self.read_frames(bytes, out),
            State::Http(http) => match http.turn {
                Turn::Ours(_) => {}
                Turn::First => {
                    if self.may_read_http(bytes, out) {
                        self.read_request(bytes, out);
                    }
                }
                Turn::Peer | Turn::Held => self.read_request(bytes, out),
            },
            State::Hixie(_) => self.read_hixie(bytes, out),
            State::Closed => bytes.clear(),
        }
    }

    /// Whether a request is with the shard, so that further bytes wait.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(&self.state, State::Http(http) if matches!(http.turn, Turn::Ours(_)))
    }

    /// Whether the connection is a websocket with a complete handshake.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        match &self.state {
            State::WebSocket(..) => true,
            State::Hixie(hixie) => hixie.challenge.is_none(),
            State::Http(_) | State::Closed => false,
        }
    }

    /// The wire of the connection's websocket. `None` if it is none, or its handshake is not
    /// complete.
    #[must_use]
    pub fn wire(&self) -> Option<Wire> {
        match &self.state {
            State::WebSocket(_, packets) => Some(packets.wire()),
            State::Hixie(hixie) => hixie.challenge.is_none().then_some(hixie.wire),
            State::Http(_) | State::Closed => None,
        }
    }

    /// What the server waits for. `rest` are the bytes that [`Conn::handle_bytes`] has left.
    #[must_use]
    pub fn stage(&self, rest: &[u8]) -> Stage {
        match &self.state {
            State::Http(http) => match (&http.decoder, http.turn) {
                (_, Turn::Ours(_)) => Stage::Waiting,
                (decoder, Turn::Held) if decoder.is_idle() && rest.is_empty() => Stage::Waiting,
                (decoder, _) if decoder.is_reading_body() => Stage::Body,
                (decoder, _) if decoder.is_finished() => Stage::Closed,
                (decoder, _) if decoder.is_idle() && rest.is_empty() => Stage::Idle,
                _ => Stage::Head,
            },
            // The last 8 bytes of this handshake stand behind the head.
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
            State::Http(_) | State::Hixie(_) | State::Closed => 0,
        }
    }

    /// What it keeps of a request or a message that is not complete, of the last head, and of its
    /// state.
    #[cfg(feature = "steps")]
    pub fn holding(&self) -> Holding {
        match &self.state {
            State::Http(http) => {
                let begun = http.begun.as_ref().map_or(0, |_| size_of::<Findings>());
                let known = http.known.as_ref().map_or(0, |_| size_of::<Known>());
                let boxes = size_of::<Http>().saturating_add(begun).saturating_add(known);
                http.decoder.holding().and(Holding::memory(boxes))
            }
            State::WebSocket(decoder, packets) => Holding::memory(decoder.held_bytes()).with([packets.held_bytes()]),
            State::Hixie(hixie) => {
                let held = hixie.packets.held_bytes();
                Holding::memory(size_of::<Hixie>()).with([held])
            }
            State::Closed => Holding::default(),
        }
    }

    /// How many bytes it keeps of a request or message that is not complete, in addition to the
    /// bytes that the caller keeps.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            State::Http(http) => http.decoder.held_bytes(),
            State::WebSocket(decoder, packets) => decoder.held_bytes().saturating_add(packets.held_bytes()),
            State::Hixie(hixie) => hixie.packets.held_bytes(),
            State::Closed => 0,
        }
    }

    /// The head of a request whose body is still coming, as [`Arrivals::body_started`] had it. The
    /// cost is a copy of the head.
    #[must_use]
    pub fn started(&self) -> Option<Request> {
        let State::Http(http) = &self.state else {
            return None;
        };
        let (findings, head) = (http.begun.as_deref()?, http.decoder.started()?);
        Some(Request::with_findings(*findings, head.clone(), http.peer))
    }

    /// Reports that the request is a GET that is held
    /// ([`Shard::holds`](crate::server::Shard::holds)). The next request may then be read. The
    /// caller gets it like the first one, and is responsible for the order of the answers. No
    /// request behind the second one is read before [`Conn::handle_answered`]. Returns false if no
    /// request may follow.
    pub fn handle_held(&mut self) -> bool {
        match &mut self.state {
            State::Http(http) if matches!(http.turn, Turn::Ours(None)) && !http.decoder.is_finished() => {
                http.turn = Turn::Held;
                true
            }
            State::Http(_) | State::WebSocket(..) | State::Hixie(_) | State::Closed => false,
        }
    }

    /// Remembers the session that a [routed](crate::server::Router::route) request names, for the
    /// next request with the same head. It need not be called. A request that came before the last
    /// one, with another head, is not remembered.
    pub fn handle_routed(&mut self, request: &Request) {
        if let State::Http(http) = &mut self.state
            && let Some(known) = &mut http.known
            && request.head == Some(known.head)
        {
            known.named = request.named;
        }
    }

    /// Reports that the request has been answered. The next request may be read.
    pub fn handle_answered(&mut self) {
        if let State::Http(http) = &mut self.state {
            http.turn = Turn::Peer;
        }
    }

    /// Reports that the request has been answered with an upgrade. Frames follow, of the version
    /// that the request asked for.
    pub fn handle_upgraded(&mut self, wire: Wire) {
        let packets = WireDecoder::new(wire, &self.config);
        let opening = match &self.state {
            State::Http(http) => match http.turn {
                Turn::Ours(opening) => opening,
                Turn::First | Turn::Peer | Turn::Held => None,
            },
            State::WebSocket(..) | State::Hixie(_) | State::Closed => None,
        };
        self.state = match opening {
            Some(opening) => State::Hixie(Box::new(Hixie {
                challenge: match opening {
                    Opening::Hixie75 => None,
                    Opening::Hixie76(challenge) => Some(challenge),
                },
                closes: opening != Opening::Hixie75,
                decoder: hixie::Decoder::new(self.config.websocket.max_message_bytes),
                wire,
                packets,
            })),
            None => State::WebSocket(
                websocket::Reader::new(websocket::Role::Server, &self.config.websocket),
                packets,
            ),
        };
    }

    /// Whether the first bytes are not, and cannot become, a Flash policy request. Such a request
    /// is answered at once.
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
        let State::Http(http) = &mut self.state else {
            return;
        };
        let Http {
            decoder,
            turn,
            begun,
            known,
            peer,
        } = &mut **http;
        if matches!(turn, Turn::First) && !bytes.is_empty() {
            *turn = Turn::Peer;
        }
        loop {
            step!();
            match decoder.decode(bytes, &self.config.http) {
                Ok(Some(http::Event::Continue)) => out.replies.push(Bytes::from_static(http::CONTINUE)),
                Ok(Some(http::Event::Request(request))) => {
                    // The body has come with the head: the peer does not wait for permission to
                    // send it, and a `100 Continue` behind the answer would be wrong.
                    out.replies.clear();
                    *turn = Turn::Ours(Opening::of(&request).and_then(Result::ok));
                    let begun = begun.take();
                    // A rule of the application may decide otherwise next time, so it is asked.
                    // Lists are read again, too.
                    let head = decoder.remembered().filter(|_| self.config.cors.is_none());
                    let mut request = match (known.as_deref(), begun, head) {
                        (Some(known), None, Some(head)) if known.head == head => {
                            let mut request = Request::with_findings(known.findings, request, *peer);
                            request.named = known.named;
                            request
                        }
                        (_, begun, head) => {
                            let request = match begun {
                                Some(findings) => Request::with_findings(*findings, request, *peer),
                                None => Request::new(&self.config, request, *peer),
                            };
                            if let Some(head) = head {
                                note(known, head, request.findings());
                            }
                            request
                        }
                    };
                    request.head = head;
                    out.request.insert(request).decode_body(&self.config);
                    return;
                }
                Ok(None) => {
                    if let Some(head) = decoder.take_started() {
                        let request = Request::new(&self.config, head, *peer);
                        *begun = Some(Box::new(request.findings()));
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
        while !bytes.is_empty() && !out.has_enough() {
            step!();
            match decoder.decode(bytes, websocket::Role::Server, &self.config.websocket) {
                Ok(None) => return,
                Ok(Some(websocket::Event::Text(text))) => {
                    let controls = match decoder.is_plain() {
                        true => Controls::Absent,
                        false => Controls::Unknown,
                    };
                    wire.decode_text_knowing(text, controls, &self.config, &mut out.packets);
                }
                Ok(Some(websocket::Event::Binary(data))) => wire.decode_binary(data, &self.config, &mut out.packets),
                Ok(Some(websocket::Event::Ping(data))) => out.pongs.push(&data),
                Ok(Some(websocket::Event::Pong(_))) => {}
                Ok(Some(websocket::Event::Close(frame))) => {
                    // The answer carries the peer's code (RFC 6455 §5.5.1).
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
            // The digest goes through the shard, because the session's packets must follow it.
            out.packets.push(Inbound::Digest(digest));
        }
        while !out.has_enough() {
            step!();
            match hixie.decoder.decode(bytes) {
                Ok(None) => return,
                Ok(Some(hixie::Frame::Text(text))) => hixie.packets.decode_text(text, &self.config, &mut out.packets),
                Ok(Some(hixie::Frame::Close)) => {
                    if hixie.closes {
                        out.replies.push(Bytes::from_static(hixie::CLOSE));
                    }
                    return self.close(out, Cause::Closed);
                }
                // These websockets cannot tell the peer what was wrong.
                Err(error) => {
                    bytes.clear();
                    return self.close(out, Cause::Broken(Breach::new(BreachKind::WebSocket, error)));
                }
            }
        }
    }
}

/// A Close frame of a server.
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

/// The policy of a server with these settings ([`Config::flash_policy`]). It answers a request on
/// the main port, and a separate policy listener writes it to everybody who connects.
#[must_use]
pub fn flash_policy(config: &Config) -> Bytes {
    let mut out = BytesMut::new();
    flash_policy::write_policy(config.flash_policy.iter().map(|origin| &**origin), &mut out);
    out.freeze()
}

/// Notes what is known of the requests with this head.
fn note(known: &mut Option<Box<Known>>, head: u32, findings: Findings) {
    let new = Known {
        head,
        findings,
        named: None,
    };
    match known {
        Some(place) => **place = new,
        None => *known = Some(Box::new(new)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list of pongs is used again for all connections of a thread.
    #[test]
    fn many_pings_leave_no_large_buffer() {
        let forget: [fn(&mut Pongs); 3] = [
            |pongs| drop(pongs.take_all()),
            |pongs| drop(pongs.take_latest()),
            Pongs::clear,
        ];
        for forget in forget {
            let mut pongs = Pongs::default();
            for _ in 0..1_000 {
                pongs.push(&[b'p'; 125]);
            }
            forget(&mut pongs);
            assert!(pongs.is_empty());
            assert!(pongs.frames.capacity() <= MOST_KEPT, "{}", pongs.frames.capacity());
            pongs.push(b"p");
            assert_eq!(pongs.take_latest(), &b"\x8a\x01p"[..]);
        }
    }
}
