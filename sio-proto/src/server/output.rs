//! The outputs of a shard: writes for links, deliveries for the user.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Deref;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::{Collision, Delivery, Extension, Part, PollEncoding, Sent, Stream, StreamForm};
use crate::http;
use crate::wire::Wire;
use crate::{Frame, LinkId};

/// The effects of one or more inputs. The caller owns this value, empties it and uses it again.
#[derive(Debug, Default)]
pub struct Outputs {
    /// The writes for links, in order. Writes to one link in one turn should leave in one system
    /// call.
    pub writes: Vec<Write>,
    /// The deliveries to the user, in order.
    pub deliveries: Vec<Delivery>,
    /// Values of the user that are not needed any more: extensions of requests that have been
    /// handled, and of sessions that have ended. They are returned so that none is dropped inside
    /// the shard. If the caller has a lock around the shard, it drops them while the lock is not
    /// held, because dropping them runs the user's code.
    pub released: Vec<Extension>,
    /// What has become of the broadcasts since the caller has last taken this value.
    pub sent: Sent,
    /// The recipients of broadcasts for which a message with the same key waits.
    pub collisions: Vec<Collision>,
}

/// A write for a link.
#[derive(Debug)]
pub enum Write {
    /// The complete answer to the request that waits on the link.
    Response(LinkId, Box<Response>),
    /// The request that waits on the link becomes a websocket.
    Upgrade(LinkId, Box<Upgrade>),
    /// The request that waits on the link becomes a websocket older than RFC 6455.
    Hixie(LinkId, Box<Hixie>),
    /// Raw bytes, which complete a hixie-76 handshake.
    Bytes(LinkId, Bytes),
    /// One websocket frame. The other variants are boxed, so that this one is small: there are
    /// thousands of frames.
    Frame(LinkId, Frame),
    /// A websocket Close frame with this code (`None`: an empty one). The link ends after it.
    Close(LinkId, Option<u16>),
    /// The request that waits on the link gets an endless answer: the head, and the beginning of
    /// the body.
    Stream(LinkId, Box<Stream>),
    /// Further packets of a stream, or of a websocket older than RFC 6455. They are converted where
    /// they are written.
    Part(LinkId, Box<Part>),
    /// A stream, or such a websocket, ends. If the form says so, the connection goes on as after
    /// any answer. Otherwise the link ends.
    StreamEnd(LinkId, Box<StreamForm>),
    /// The link ends, and nothing is written.
    Abort(LinkId),
}

// A broadcast writes thousands of them.
const _: () = assert!(size_of::<Write>() <= 56);

impl Write {
    /// How many packets the write carries.
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

    /// The link of the write.
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
    /// `Vary` if other pages get other CORS headers.
    pub fixed: &'static [(&'static str, &'static str)],
    /// Further headers, in order.
    pub headers: Vec<(&'static str, ByteString)>,
    /// The body.
    pub body: Body,
    /// The facts about the request that the answer needs: whether the connection goes on, and
    /// whether a body is allowed.
    pub exchange: http::Exchange,
}

/// The body of a [`Response`].
#[derive(Debug)]
pub enum Body {
    /// Bytes that are ready.
    Bytes(Bytes),
    /// Packets for a poll. [`Response::encode`] puts them together, without a lock.
    Packets(Vec<Frame>, PollEncoding),
}

impl Response {
    /// All header fields, `Content-Type` first, for another HTTP server to write.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let content_type = self.content_type.map(|value| ("Content-Type", value));
        all_fields(content_type, self.fixed, &self.headers)
    }

    /// Whether its session keeps the packets of the body until the client polls again. If the
    /// response has not been written completely, call
    /// [`Shard::handle_returned`](super::Shard::handle_returned).
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        matches!(&self.body, Body::Packets(_, encoding) if encoding.is_legacy())
    }

    /// The body as bytes, which are put together now if necessary. `buffer` is a scratch buffer.
    #[must_use]
    pub fn take_body(&mut self, buffer: &mut BytesMut) -> Bytes {
        match core::mem::replace(&mut self.body, Body::Bytes(Bytes::new())) {
            Body::Bytes(bytes) => bytes,
            Body::Packets(frames, encoding) => encoding.encode(&frames, buffer),
        }
    }

    /// Appends the head of the response to `out`. Returns the body, which is not copied, and
    /// whether the connection goes on after the response.
    ///
    /// The response has this `date`, unless its headers have one. If a header value is not allowed
    /// in a header, the response becomes a 500.
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

/// How many fields the head of an ordinary answer has at most.
const FEW_FIELDS: usize = 8;

/// The fields of a head, as the encoder takes them. A few of them need no memory of their own.
pub(super) struct Fields<'a> {
    few: [(&'static str, &'a str); FEW_FIELDS],
    /// How many of the few there are.
    count: usize,
    /// All of them, if they are more than a few.
    many: Vec<(&'static str, &'a str)>,
}

impl<'a> Fields<'a> {
    const fn new() -> Self {
        Self {
            few: [("", ""); FEW_FIELDS],
            count: 0,
            many: Vec::new(),
        }
    }

    fn push(&mut self, field: (&'static str, &'a str)) {
        if let Some(place) = self.few.get_mut(self.count) {
            *place = field;
            self.count += 1;
            return;
        }
        if self.many.is_empty() {
            self.many.extend_from_slice(&self.few);
        }
        self.many.push(field);
    }
}

impl<'a> Deref for Fields<'a> {
    type Target = [(&'static str, &'a str)];

    fn deref(&self) -> &Self::Target {
        if self.many.is_empty() {
            self.few.get(..self.count).unwrap_or_default()
        } else {
            &self.many
        }
    }
}

/// The fields to write: with the date, unless the application has set one.
pub(super) fn dated<'a>(
    fields: impl Iterator<Item = (&'static str, &'a str)>,
    date: Option<&'a http::Date>,
) -> Fields<'a> {
    let mut dated = Fields::new();
    fields.for_each(|field| dated.push(field));
    if let Some(date) = date
        && !dated.iter().any(|(name, _)| name.eq_ignore_ascii_case("date"))
    {
        dated.push(("Date", date.as_str()));
    }
    dated
}

pub(super) fn put_internal_error(out: &mut BytesMut, date: Option<&http::Date>) {
    let headers = dated(core::iter::empty(), date);
    let written = http::encode_response(out, http::Exchange::CLOSING, 500, None, &headers, b"");
    debug_assert_eq!(written, Ok(false), "nothing in it can be refused");
}

/// The parts of a `101 Switching Protocols` that the shard decides.
#[derive(Debug)]
pub struct Upgrade {
    /// The value for the peer, which follows from the peer's key.
    pub accept: [u8; 28],
    /// Further headers, in order.
    pub headers: Vec<(&'static str, ByteString)>,
    /// The wire of this websocket's frames. The connection decodes with it from now on.
    pub wire: Wire,
}

/// The answer to a hixie handshake (docs/protocol/legacy-0.6.md §10.1).
#[derive(Debug)]
pub struct Hixie {
    /// The head, which differs between the versions. For hixie-76, the digest follows as
    /// [`Write::Bytes`].
    pub head: Bytes,
    /// The wire of this websocket's messages.
    pub wire: Wire,
}

impl Upgrade {
    /// Appends the 101 response to `out`, with this `date`. If a header value is not allowed in a
    /// header, the response becomes a 500, and the result is false.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Any number of fields stays complete and in order, whether they need memory or not.
    #[test]
    fn fields_are_dated_once_and_keep_their_order() {
        const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let date = http::Date::from_unix(784_111_777);
        for count in 0..=NAMES.len() {
            let given = || NAMES[..count].iter().map(|name| (*name, "x"));
            let mut expected: Vec<_> = given().collect();
            assert_eq!(*dated(given(), None), expected);
            expected.push(("Date", date.as_str()));
            assert_eq!(*dated(given(), Some(&date)), expected);
            let own = || given().chain([("dAtE", "mine")]);
            assert_eq!(*dated(own(), Some(&date)), own().collect::<Vec<_>>());
        }
    }
}
