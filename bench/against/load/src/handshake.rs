//! How a client comes over a websocket.

use crate::failure::{Failure, Outcome};
use crate::frames::{self, Other, TEXT};
use crate::http;

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// The server's head is due.
    Head,
    /// The first packet of Engine.IO is due.
    Session,
    /// The answer to the CONNECT of the main namespace is due.
    Namespace,
    /// The answer that proves that the socket works is due.
    Proof,
    Ready,
}

/// What a client says as soon as it is connected.
#[derive(Clone, Default)]
pub(crate) struct Greeting {
    pub(crate) frames: Vec<u8>,
    /// Nothing, or the frame that has to come before the client is ready.
    pub(crate) proof: Vec<u8>,
}

impl Greeting {
    /// One echo.
    pub(crate) fn proof() -> Self {
        const ECHO: &[u8] = br#"42["echo","are you there"]"#;
        let mut greeting = Self::default();
        frames::masked(TEXT, ECHO, &mut greeting.frames);
        frames::plain(TEXT, ECHO, &mut greeting.proof);
        greeting
    }
}

pub(crate) struct Handshake {
    stage: Stage,
    is_raw: bool,
    greeting: Greeting,
}

impl Handshake {
    /// The request for the websocket has been sent.
    pub(crate) fn new(is_raw: bool, greeting: Greeting) -> Self {
        Self {
            stage: Stage::Head,
            is_raw,
            greeting,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Reads what the server has sent, and writes what is to be sent. Returns how many bytes are
    /// done with.
    pub(crate) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Outcome<usize> {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            if self.stage == Stage::Head {
                let Some(length) = http::upgraded(rest)? else { break };
                used += length;
                self.stage = Stage::Session;
                if self.is_raw {
                    self.greet(out);
                }
                continue;
            }
            let Some(frame) = frames::next(rest)? else { break };
            match (self.stage, frame.payload) {
                (Stage::Session, payload) => {
                    http::session_of(payload)?;
                    frames::masked(TEXT, b"40", out);
                    self.stage = Stage::Namespace;
                }
                (Stage::Namespace, payload) if payload.starts_with(b"40") => self.greet(out),
                (Stage::Proof, _) if rest[..frame.length] == self.greeting.proof => self.stage = Stage::Ready,
                _ => match frames::other(&frame) {
                    Other::Ping => frames::pong(out),
                    Other::Nothing => {}
                    Other::Unknown => return Err(Failure::unexpected("the next step of a handshake", rest)),
                },
            }
            used += frame.length;
        }
        Ok(used)
    }

    fn greet(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.greeting.frames);
        self.stage = if self.greeting.proof.is_empty() {
            Stage::Ready
        } else {
            Stage::Proof
        };
    }
}
