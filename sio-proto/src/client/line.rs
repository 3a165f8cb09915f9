//! One TCP connection of a client: bytes on one side, responses and messages on the other.
//!
//! ```text
//!   Connecting ── connected ──▶ Http ── 101, checked ──▶ WebSocket ── Close ──▶ (ended)
//! ```
//!
//! A line knows nothing of sessions. It holds the bytes of an incomplete message, which its limits
//! bound, and the first request until the connection stands.
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

use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::config::ClientConfig;
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::http::{Headers, Method, Response, ResponseDecoder};
use crate::websocket::{Decoder, Event, Opcode, Role, encode_close, encode_message, handshake};
use crate::{Entropy, LinkId, Time};

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Get,
    Post,
    WebSocket,
    /// A websocket that is tried beside polling.
    Probe,
}

/// What came over a line.
#[derive(Debug)]
pub(super) enum Arrival {
    Response(Response),
    /// The websocket is open. The header fields of the answer.
    Open(Headers),
    /// The server does not open a websocket.
    NotOpened(Response, handshake::ResponseError),
    Text(ByteString),
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    Close,
    /// The server broke HTTP, or the framing of websockets.
    Broken(ByteString),
}

#[derive(Debug)]
enum Stage {
    Http {
        decoder: ResponseDecoder,
        key: Option<String>,
    },
    WebSocket(Decoder),
    Ended,
}

pub(super) struct Line {
    pub(super) link: LinkId,
    pub(super) purpose: Purpose,
    stage: Stage,
    connected: bool,
    /// The caller cannot take more bytes now.
    pub(super) blocked: bool,
    /// The method of the request whose response has not come.
    pub(super) asked: Option<Method>,
    pub(super) idle_since: Time,
    unsent: BytesMut,
    /// Bytes of a message that is not complete.
    input: BytesMut,
    /// How much memory `input` keeps, at most. Nobody knows how large the buffer of a caller is.
    input_memory: usize,
    /// How many bytes were taken from the front of `input`. Its capacity does not count them, and
    /// they are kept when it grows.
    input_taken: usize,
}

/// A buffer of this size is not too large for a few bytes.
const SMALL: usize = 1024;

impl Line {
    pub(super) fn new(link: LinkId, purpose: Purpose) -> Self {
        Self {
            link,
            purpose,
            stage: Stage::Http {
                decoder: ResponseDecoder::new(),
                key: None,
            },
            connected: false,
            blocked: false,
            asked: None,
            idle_since: Time::ZERO,
            unsent: BytesMut::new(),
            input: BytesMut::new(),
            input_memory: 0,
            input_taken: 0,
        }
    }

    /// The connection stands. Returns the bytes that have waited for it.
    pub(super) fn connected(&mut self) -> Bytes {
        self.connected = true;
        // Nothing waits here any more, so no buffer is kept.
        core::mem::take(&mut self.unsent).freeze()
    }

    /// Bytes for the server: returned if they can be written now.
    pub(super) fn write(&mut self, bytes: BytesMut) -> Option<Bytes> {
        if self.connected {
            return Some(bytes.freeze());
        }
        self.unsent.unsplit(bytes);
        None
    }

    /// Whether the connection stood.
    pub(super) const fn is_connected(&self) -> bool {
        self.connected
    }

    /// How much memory it keeps of a message that is not complete.
    #[cfg(test)]
    pub(super) const fn input_memory(&self) -> usize {
        self.input_memory
    }

    /// What it keeps of an answer or a message that is not complete.
    #[cfg(feature = "steps")]
    pub(super) fn arriving(&self) -> Holding {
        let (decoder, key) = match &self.stage {
            Stage::Http { decoder, key } => (decoder.holding(), key.as_ref().map_or(0, String::len)),
            Stage::WebSocket(decoder) => (Holding::memory(decoder.held_bytes()), 0),
            Stage::Ended => (Holding::default(), 0),
        };
        decoder.and(Holding::memory(self.input_memory)).with([key])
    }

    /// How much memory it keeps for what has left.
    #[cfg(any(test, feature = "steps"))]
    pub(super) fn unsent_memory(&self) -> usize {
        self.unsent.capacity()
    }

    /// Whether the line is an open websocket.
    pub(super) const fn is_websocket(&self) -> bool {
        matches!(self.stage, Stage::WebSocket(_))
    }

    /// A request has been written. `key` is the key of a request for a websocket.
    pub(super) fn ask(&mut self, method: Method, key: Option<String>) {
        self.asked = Some(method);
        if let Stage::Http { key: place, .. } = &mut self.stage {
            *place = key;
        }
    }

    /// Reads bytes of the server.
    pub(super) fn receive(&mut self, bytes: &mut BytesMut, config: &ClientConfig, out: &mut Vec<Arrival>) {
        match self.input.is_empty() {
            true => (self.input, self.input_memory) = (bytes.split(), usize::MAX),
            false => {
                step!(bulk bytes.len());
                self.input.extend_from_slice(bytes);
                let memory = self.input.capacity().saturating_add(self.input_taken);
                self.input_memory = self.input_memory.max(memory);
                bytes.clear();
            }
        }
        let before = self.input.len();
        while let Some(arrival) = self.next(config) {
            step!();
            let is_last = matches!(arrival, Arrival::Broken(_) | Arrival::Close | Arrival::NotOpened(..));
            out.push(arrival);
            if is_last {
                self.stage = Stage::Ended;
            }
        }
        let taken = before.saturating_sub(self.input.len());
        self.input_taken = self.input_taken.saturating_add(taken);
        self.part_from_buffer();
    }

    /// What is left does not keep the buffer of the caller, or a buffer of the line that is large
    /// for it: the server would pay a byte, and we a buffer. An idle line owns none.
    fn part_from_buffer(&mut self) {
        let most = self.input.len().saturating_mul(4).saturating_add(SMALL);
        if self.input.is_empty() || self.input_memory > most {
            step!(bulk self.input.len());
            self.input = BytesMut::from(&*self.input);
            (self.input_memory, self.input_taken) = (self.input.capacity(), 0);
        }
    }

    /// The connection has ended. Returns the response that ends with it. If the connection has
    /// failed, the end of the body may be missing: then the response counts only if its status
    /// says all that matters.
    pub(super) fn receive_end(&mut self, failed: bool, config: &ClientConfig) -> Option<Arrival> {
        let Stage::Http { decoder, key } = &mut self.stage else {
            return None;
        };
        let response = decoder.decode_end(&self.input).ok().flatten()?;
        if failed && response.status == 200 {
            return None;
        }
        self.asked.take()?;
        Some(match key.take() {
            None => Arrival::Response(response),
            Some(key) => self.opened(response, &key, config),
        })
    }

    fn next(&mut self, config: &ClientConfig) -> Option<Arrival> {
        match &mut self.stage {
            Stage::Ended => {
                self.input.clear();
                None
            }
            Stage::Http { decoder, key } => {
                if self.asked.is_none() && !self.input.is_empty() {
                    return Some(Arrival::Broken("a response without a request".into()));
                }
                let method = self.asked?;
                match decoder.decode(method, &mut self.input, &config.http()) {
                    Ok(None) => None,
                    Err(error) => Some(Arrival::Broken(alloc::format!("{error}").into())),
                    Ok(Some(response)) => {
                        self.asked = None;
                        match key.take() {
                            None => Some(Arrival::Response(response)),
                            Some(key) => Some(self.opened(response, &key, config)),
                        }
                    }
                }
            }
            Stage::WebSocket(decoder) => match decoder.decode(&mut self.input) {
                Ok(None) => None,
                Ok(Some(Event::Text(text))) => Some(Arrival::Text(text)),
                Ok(Some(Event::Binary(bytes))) => Some(Arrival::Binary(bytes)),
                Ok(Some(Event::Ping(bytes))) => Some(Arrival::Ping(bytes)),
                Ok(Some(Event::Pong(_))) => Some(Arrival::Pong),
                Ok(Some(Event::Close(_))) => Some(Arrival::Close),
                Err(error) => Some(Arrival::Broken(alloc::format!("{error}").into())),
            },
        }
    }

    /// The server has answered a request for a websocket.
    fn opened(&mut self, response: Response, key: &str, config: &ClientConfig) -> Arrival {
        let text = |name: &str| response.headers.text(name);
        let (upgrade, connection, accept) = (text("upgrade"), text("connection"), text("sec-websocket-accept"));
        let (extensions, protocol) = (text("sec-websocket-extensions"), text("sec-websocket-protocol"));
        let answer = handshake::UpgradeResponse {
            status: response.status,
            upgrade: upgrade.as_deref(),
            connection: connection.as_deref(),
            accept: accept.as_deref(),
            extensions: extensions.as_deref(),
            protocol: protocol.as_deref(),
        };
        match answer.verify(key, &[]) {
            Ok(()) => {
                self.stage = Stage::WebSocket(Decoder::new(Role::Client, config.websocket()));
                Arrival::Open(response.headers)
            }
            Err(error) => Arrival::NotOpened(response, error),
        }
    }

    /// Appends a websocket message, with a mask of its own.
    pub(super) fn put_message(out: &mut BytesMut, opcode: Opcode, payload: &[u8], entropy: &mut dyn Entropy) {
        let mut mask = [0; 4];
        entropy.fill(&mut mask);
        encode_message(out, opcode, payload, Some(mask));
    }

    /// Appends an empty Close, as genuine peers send it.
    pub(super) fn put_close(out: &mut BytesMut, entropy: &mut dyn Entropy) {
        let mut mask = [0; 4];
        entropy.fill(&mut mask);
        encode_close(out, None, Some(mask));
    }
}
