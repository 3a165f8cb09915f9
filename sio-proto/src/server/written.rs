//! The bytes of a write, and what the connection has to do next. All callers with connections use
//! this one function.

use bytes::{Bytes, BytesMut};

use super::Write;
use crate::conn::close_frame;
use crate::websocket::CloseCode;
use crate::wire::Wire;
use crate::{Frame, http};

/// A write as bytes, for its connection.
#[derive(Debug)]
pub struct Written {
    /// The bytes to write first; empty if there are none.
    pub head: Bytes,
    /// The bytes to write behind them; empty if there are none. They are not copied: thousands of
    /// links may share them.
    pub body: Bytes,
    /// What to do when they are written.
    pub then: Then,
}

/// What a connection has to do when a write has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    GoesOn,
    /// The request has been answered, and the peer may send the next request
    /// ([`Conn::handle_answered`](crate::conn::Conn::handle_answered)).
    Answered,
    /// The frames of a websocket follow
    /// ([`Conn::handle_upgraded`](crate::conn::Conn::handle_upgraded)).
    Upgraded(Wire),
    /// The connection ends after the bytes.
    Ends,
    /// The connection ends at once, and bytes that have not been written are dropped.
    Aborts,
}

impl Written {
    const fn new(head: Bytes, then: Then) -> Self {
        Self {
            head,
            body: Bytes::new(),
            then,
        }
    }

    fn frame(frame: &Frame) -> Self {
        Self {
            head: Bytes::new(),
            body: frame.bytes().clone(),
            then: Then::GoesOn,
        }
    }
}

impl Write {
    /// Turns the write into bytes. The caller keeps `scratch` and uses it again: the result shares
    /// its memory. Answers have this `date`, if there is one.
    ///
    /// If a header value is not allowed in a header, an answer becomes a 500, and the connection
    /// ends after it.
    #[must_use]
    pub fn encode(self, scratch: &mut BytesMut, date: Option<&http::Date>) -> Written {
        match self {
            Self::Frame(_, frame) => Written::frame(&frame),
            Self::Response(_, mut response) => {
                let (body, keep_alive) = response.encode(scratch, date);
                let then = if keep_alive { Then::Answered } else { Then::Ends };
                Written {
                    head: scratch.split().freeze(),
                    body,
                    then,
                }
            }
            Self::Upgrade(_, upgrade) => {
                let upgrades = upgrade.encode(scratch, date);
                let then = if upgrades {
                    Then::Upgraded(upgrade.wire)
                } else {
                    Then::Ends
                };
                Written::new(scratch.split().freeze(), then)
            }
            Self::Hixie(_, hixie) => Written::new(hixie.head, Then::Upgraded(hixie.wire)),
            Self::Bytes(_, bytes) => Written::new(bytes, Then::GoesOn),
            Self::Close(_, code) => Written::new(close_frame(code.and_then(CloseCode::new)), Then::Ends),
            Self::Stream(_, stream) => {
                let goes_on = stream.encode(scratch, date);
                let then = if goes_on { Then::GoesOn } else { Then::Ends };
                Written::new(scratch.split().freeze(), then)
            }
            Self::Part(_, part) => {
                part.encode(scratch);
                Written::new(scratch.split().freeze(), Then::GoesOn)
            }
            Self::StreamEnd(_, form) => {
                form.encode_end(scratch);
                let then = if form.keep_alive { Then::Answered } else { Then::Ends };
                Written::new(scratch.split().freeze(), then)
            }
            Self::Abort(_) => Written::new(Bytes::new(), Then::Aborts),
        }
    }
}
