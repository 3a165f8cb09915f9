//! What a write is in bytes, and what follows from it: the one way, for whoever has a connection.

use bytes::{Bytes, BytesMut};

use super::Write;
use crate::conn::close_frame;
use crate::websocket::CloseCode;
use crate::wire::Wire;
use crate::{Frame, http};

/// A write as its connection gets it.
#[derive(Debug)]
pub struct Written {
    /// What is written first; empty if there is nothing.
    pub head: Bytes,
    /// What is written behind it; empty if there is nothing. It is not copied: thousands of links
    /// may have a share in it.
    pub body: Bytes,
    /// What happens when it is written.
    pub then: Then,
}

/// What happens to a connection when a write has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    GoesOn,
    /// The request has been answered, and the peer may send the next
    /// ([`Conn::handle_answered`](crate::conn::Conn::handle_answered)).
    Answered,
    /// What follows are the frames of a websocket
    /// ([`Conn::handle_upgraded`](crate::conn::Conn::handle_upgraded)).
    Upgraded(Wire),
    /// Nothing more is written: the connection ends.
    Ends,
    /// The connection ends at once, and what has not been written yet is dropped.
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
    /// Puts it into bytes. `scratch` is the caller's, who uses it again: what is here has a share
    /// in its memory. Answers say this `date`, if there is one.
    ///
    /// Header values that a header cannot carry make an answer a 500, behind which the connection
    /// ends.
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
