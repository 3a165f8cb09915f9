//! Requests of 0.6 to 0.9 that become a websocket, of RFC 6455 or older
//! (docs/protocol/legacy-0.6.md §10, docs/protocol/legacy-0.9.md §9).
//!
//! ```text
//!   hixie-75                  the head of the answer, and the websocket is open
//!   hixie-76   8 bytes later  the head; then the digest, and it is open
//! ```
//! Behind some proxies the 8 bytes come only after the head of the answer. Until they come, the
//! session's link is blocked, as if the kernel took no more bytes, but no longer than
//! [`Config::upgrade_timeout`](crate::Config::upgrade_timeout).

use alloc::boxed::Box;
use alloc::string::ToString;

use bytes::{Bytes, BytesMut};

use crate::legacy::hixie::{Answer, Opening};
use crate::server::{
    Alarm, Asker, At, Blocked, Hixie, Outputs, Request, Session, StreamEncoding, StreamForm, Upgrade, Write,
    accept_websocket, header, is_secure,
};
use crate::wire::Wire;
use crate::{Config, LinkId};

/// A websocket that the server has accepted.
pub(crate) struct Agreed {
    pub(crate) link: LinkId,
    /// How its packets are written, if it is older than RFC 6455.
    form: Option<StreamForm>,
    /// Whether its handshake is not complete yet.
    is_opening: bool,
}

impl Agreed {
    /// The write that ends the websocket before it has a session.
    pub(crate) fn farewell(&self) -> Write {
        match &self.form {
            Some(_) if self.is_opening => Write::Abort(self.link),
            Some(form) => Write::StreamEnd(self.link, Box::new(form.clone())),
            None => Write::Close(self.link, None),
        }
    }

    /// How its packets are written, if it is older than RFC 6455.
    pub(crate) const fn form(&self) -> Option<&StreamForm> {
        self.form.as_ref()
    }

    /// Whether nothing can be written on it yet.
    pub(crate) const fn is_opening(&self) -> bool {
        self.is_opening
    }
}

/// Accepts a websocket of any version, or refuses it. `unknown` is the wire of a websocket whose
/// handshake is not complete and that has no session.
pub(crate) fn agree(
    config: &Config,
    asker: Asker,
    request: &Request,
    wire: Wire,
    unknown: Option<Wire>,
    out: &mut Outputs,
) -> Option<Agreed> {
    let link = asker.link;
    let opening = match Opening::of(&request.http) {
        Some(Ok(opening)) => opening,
        Some(Err(error)) => {
            let message = Bytes::from(error.to_string().into_bytes());
            out.writes.push(asker.closing().answer(400, Some("text/html"), message));
            return None;
        }
        None => {
            match accept_websocket(asker, &request.http) {
                Ok((accept, headers)) => {
                    let upgrade = Upgrade { accept, headers, wire };
                    out.writes.push(Write::Upgrade(link, Box::new(upgrade)));
                }
                Err(refusal) => {
                    out.writes.push(refusal);
                    return None;
                }
            }
            return Some(Agreed {
                link,
                form: None,
                is_opening: false,
            });
        }
    };
    let answer = Answer {
        origin: header(&request.http, "origin"),
        secure: is_secure(config, request),
        host: header(&request.http, "host").unwrap_or_default(),
        target: &request.http.target,
        protocol: header(&request.http, "sec-websocket-protocol"),
    };
    let mut head = BytesMut::new();
    let encoding = match opening {
        Opening::Hixie75 => {
            answer.write_head_75(&mut head);
            StreamEncoding::Hixie75
        }
        Opening::Hixie76(_) => {
            answer.write_head_76(&mut head);
            StreamEncoding::Hixie76
        }
    };
    let is_opening = encoding == StreamEncoding::Hixie76;
    let hixie = Hixie {
        head: head.freeze(),
        wire: unknown.filter(|_| is_opening).unwrap_or(wire),
    };
    out.writes.push(Write::Hixie(link, Box::new(hixie)));
    Some(Agreed {
        link,
        form: Some(StreamForm::new(encoding, request.http.exchange())),
        is_opening,
    })
}

impl<G> At<'_, G> {
    /// The session uses this websocket from now on.
    pub(crate) fn take_up(&mut self, agreed: Agreed) {
        if let Some(form) = agreed.form {
            self.session.set_stream(Some(form));
        }
        if agreed.is_opening {
            self.session.blocked.add(Blocked::OPENING);
            let due = self.now + self.core.config.upgrade_timeout;
            let epoch = epoch_of(agreed.link);
            self.core.timers.arm_at(due, Alarm::Upgrade, self.key, epoch);
        }
    }

    /// The 8 bytes have come. True if the websocket has waited for them and is open now.
    pub(crate) fn complete(&mut self, digest: [u8; 16]) -> bool {
        let Some(link) = self.session.link().filter(|_| self.session.blocked.is_opening()) else {
            return false;
        };
        self.session.blocked.remove(Blocked::OPENING);
        let digest = Bytes::copy_from_slice(&digest);
        self.out.writes.push(Write::Bytes(link, digest));
        true
    }
}

impl Session {
    /// Whether this alarm belongs to the session's link, and the link still waits for the end of
    /// its handshake.
    pub(crate) fn is_opening(&self, epoch: u32) -> bool {
        self.blocked.is_opening() && self.link().is_some_and(|link| epoch_of(link) == epoch)
    }
}

/// Distinguishes the alarm of a link from the alarm of an earlier link.
const fn epoch_of(link: LinkId) -> u32 {
    (link.slot() as u32).rotate_left(16) ^ link.generation()
}
