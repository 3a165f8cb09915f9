//! What a shard gives back: writes for links, deliveries for the user.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::{Delivery, Extension, Part, PollEncoding, Stream, StreamForm};
use crate::http;
use crate::wire::Wire;
use crate::{Frame, LinkId};

/// Everything one or more inputs caused. It belongs to the caller, who empties and reuses it.
#[derive(Debug, Default)]
pub struct Outputs {
    /// What has to leave on links, in order. Writes to one link in one turn should leave in one
    /// system call.
    pub writes: Vec<Write>,
    /// What the user has to see, in order.
    pub deliveries: Vec<Delivery>,
    /// Values of the user's that are not needed any more: extensions of requests that have been
    /// handled, and of sessions that have ended. They are handed back so that none is dropped
    /// inside of the shard. A caller with a lock around the shard drops them where the lock is not
    /// held, because what they do then is the user's code.
    pub released: Vec<Extension>,
}

/// Something that has to leave on a link.
#[derive(Debug)]
pub enum Write {
    /// The complete answer to the request that waits on the link.
    Response(LinkId, Box<Response>),
    /// The request that waits on the link becomes a websocket.
    Upgrade(LinkId, Box<Upgrade>),
    /// The request that waits on the link becomes a websocket older than RFC 6455.
    Hixie(LinkId, Box<Hixie>),
    /// Bytes as they are: what completes a hixie-76 handshake.
    Bytes(LinkId, Bytes),
    /// One websocket frame. The others are boxed so that this one, of which there are thousands, is
    /// small to move.
    Frame(LinkId, Frame),
    /// A websocket Close frame with this code (`None`: an empty one), after which the link ends.
    Close(LinkId, Option<u16>),
    /// The request that waits on the link is answered without end: the head, and what the body
    /// begins with.
    Stream(LinkId, Box<Stream>),
    /// Packets that go on with a stream, or with a websocket older than RFC 6455: they are
    /// converted where they are written.
    Part(LinkId, Box<Part>),
    /// A stream, or such a websocket, is over. If the form says so the connection goes on as after
    /// any answer; otherwise the link ends.
    StreamEnd(LinkId, Box<StreamForm>),
    /// The link ends without a word.
    Abort(LinkId),
}

// Written by the thousand in a broadcast.
const _: () = assert!(size_of::<Write>() <= 56);

impl Write {
    /// How many packets it carries.
    #[must_use]
    pub fn packets(&self) -> usize {
        match self {
            Self::Frame(..) => 1,
            Self::Response(_, response) => match &response.body {
                Body::Packets(frames, _) => frames.len(),
                Body::Bytes(_) => 0,
            },
            Self::Part(_, part) => part.frames.len(),
            Self::Upgrade(..)
            | Self::Hixie(..)
            | Self::Bytes(..)
            | Self::Close(..)
            | Self::Stream(..)
            | Self::StreamEnd(..)
            | Self::Abort(_) => 0,
        }
    }

    /// The link this goes to.
    #[must_use]
    pub const fn link(&self) -> LinkId {
        match self {
            Self::Response(link, _)
            | Self::Upgrade(link, _)
            | Self::Hixie(link, _)
            | Self::Bytes(link, _)
            | Self::Frame(link, _)
            | Self::Close(link, _)
            | Self::Stream(link, _)
            | Self::Part(link, _)
            | Self::StreamEnd(link, _)
            | Self::Abort(link) => *link,
        }
    }
}

/// An HTTP response.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The value of `Content-Type`, if there is one.
    pub content_type: Option<&'static str>,
    /// Header fields that do not depend on the request, in order: `X-Content-Type-Options`, and
    /// `Vary` where other pages get other CORS headers.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Further headers, in order.
    pub headers: Vec<(&'static str, ByteString)>,
    /// The body.
    pub body: Body,
    /// What the answer has to know of its request: whether the connection goes on, whether a body
    /// is wanted.
    pub exchange: http::Exchange,
}

/// The body of a [`Response`].
#[derive(Debug)]
pub enum Body {
    /// Bytes that are ready.
    Bytes(Bytes),
    /// Packets for a poll, put together outside any lock by [`Response::encode`].
    Packets(Vec<Frame>, PollEncoding),
}

impl Response {
    /// All header fields, `Content-Type` first: what an HTTP server of another make writes.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let content_type = self.content_type.map(|value| ("Content-Type", value));
        all_fields(content_type, self.fixed, &self.headers)
    }

    /// The body as bytes, put together now if it has to be. `buffer` is scratch.
    #[must_use]
    pub fn take_body(&mut self, buffer: &mut BytesMut) -> Bytes {
        match core::mem::replace(&mut self.body, Body::Bytes(Bytes::new())) {
            Body::Bytes(bytes) => bytes,
            Body::Packets(frames, encoding) => encoding.encode(&frames, buffer),
        }
    }

    /// Appends the head of the response to `out` and returns the body, which is not copied, and
    /// whether the connection goes on after it.
    ///
    /// It says this `date`, unless it has one among its headers. Header values that a header cannot
    /// carry make it a 500.
    pub fn encode(&mut self, out: &mut BytesMut, date: Option<&http::Date>) -> (Bytes, bool) {
        let body = self.take_body(&mut BytesMut::new());
        let headers = dated(self.fields(), date);
        let framing = http::ResponseFraming::Length(body.len());
        match http::encode_response_head(out, self.exchange, self.status, None, &headers, framing) {
            Ok(sent) if sent.body == http::BodyForm::None => (Bytes::new(), sent.keep_alive),
            Ok(sent) => (body, sent.keep_alive),
            Err(_) => {
                put_internal_error(out, date);
                (Bytes::new(), false)
            }
        }
    }
}

/// The fields of an answer in their order.
pub(super) fn all_fields<'a>(
    content_type: Option<(&'static str, &'a str)>,
    fixed: &'static [(&'static str, &'static str)],
    headers: &'a [(&'static str, ByteString)],
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let fixed = fixed.iter().map(|(name, value)| (*name, *value));
    let others = headers.iter().map(|(name, value)| (*name, &**value));
    content_type.into_iter().chain(fixed).chain(others)
}

/// The fields as they are written: with the date, unless the application has said one.
pub(super) fn dated<'a>(
    fields: impl Iterator<Item = (&'static str, &'a str)>,
    date: Option<&'a http::Date>,
) -> Vec<(&'static str, &'a str)> {
    let mut fields: Vec<_> = fields.collect();
    if let Some(date) = date
        && !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("date"))
    {
        fields.push(("Date", date.as_str()));
    }
    fields
}

pub(super) fn put_internal_error(out: &mut BytesMut, date: Option<&http::Date>) {
    let headers = dated(core::iter::empty(), date);
    let written = http::encode_response(out, http::Exchange::CLOSING, 500, None, &headers, b"");
    debug_assert_eq!(written, Ok(false), "nothing in it can be refused");
}

/// The parts of a `101 Switching Protocols` that the shard decides.
#[derive(Debug)]
pub struct Upgrade {
    /// What the peer must be told, from its key.
    pub accept: [u8; 28],
    /// Further headers, in order.
    pub headers: Vec<(&'static str, ByteString)>,
    /// What the frames on this websocket mean: the decoder that the connection uses from here on.
    pub wire: Wire,
}

/// The answer to a hixie handshake (docs/protocol/legacy-0.6.md §10.1).
#[derive(Debug)]
pub struct Hixie {
    /// The head, which differs between the versions. The digest of hixie-76 follows as
    /// [`Write::Bytes`].
    pub head: Bytes,
    /// What the messages on this websocket mean.
    pub wire: Wire,
}

impl Upgrade {
    /// Appends the 101 response to `out`, with this `date`. Header values that a header cannot
    /// carry make it a 500; false then.
    pub fn encode(&self, out: &mut BytesMut, date: Option<&http::Date>) -> bool {
        let accept = core::str::from_utf8(&self.accept).unwrap_or_default();
        let ours = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept),
        ];
        let others = self.headers.iter().map(|(name, value)| (*name, &**value));
        let headers = dated(ours.into_iter().chain(others), date);
        let exchange = http::Exchange {
            is_head: false,
            version_minor: 1,
            keep_alive: true,
        };
        let framing = http::ResponseFraming::Length(0);
        let written = http::encode_response_head(out, exchange, 101, None, &headers, framing).is_ok();
        if !written {
            put_internal_error(out, date);
        }
        written
    }
}
