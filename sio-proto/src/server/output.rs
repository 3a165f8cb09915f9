//! The outputs of a shard: writes for links, deliveries for the user.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::{Collision, Delivery, Extension, Part, PollEncoding, Sent, Stream, StreamForm};
#[cfg(feature = "steps")]
use crate::holding::Holding;
use crate::http;
use crate::http::FixedFields;
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
    /// The memory of answers that have been written, and of the list of their packets, for the
    /// next ones ([`Outputs::recycle`]).
    #[expect(clippy::vec_box, reason = "the boxes are what is used again")]
    spare: Vec<Box<Response>>,
    spare_frames: Vec<Frame>,
}

/// The most answers whose memory is kept. A turn with a POST often has two.
const MOST_SPARE: usize = 2;

/// The list of the packets of an answer is kept for the next one if it has room for no more.
const MOST_SPARE_FRAMES: usize = 64;

impl Outputs {
    /// The memory of its lists.
    #[cfg(feature = "steps")]
    pub fn holding(&self) -> Holding {
        let spare = self.spare.iter().map(|response| match &response.body {
            Body::Packets(frames, _) => Holding::list::<Frame>(frames.capacity()),
            Body::Bytes(bytes) => Holding::thing(bytes.len()),
        });
        Holding::list::<Write>(self.writes.capacity())
            .and(Holding::list::<Delivery>(self.deliveries.capacity()))
            .and(Holding::list::<Extension>(self.released.capacity()))
            .and(Holding::list::<Collision>(self.collisions.capacity()))
            .and(Holding::list::<Frame>(self.spare_frames.capacity()))
            .and(Holding::memory(MOST_SPARE * size_of::<Response>()))
            .with_all(spare)
    }

    /// Takes the memory of an answer that has been written, so that the next answer to a poll or a
    /// POST allocates nothing. What the answer holds is dropped now, so call this under no lock, or
    /// call [`Response::clear`] before.
    pub fn recycle(&mut self, mut response: Box<Response>) {
        response.clear();
        if let Body::Packets(frames, _) = &mut response.body {
            self.spare_frames = core::mem::take(frames);
        }
        if self.spare.len() < MOST_SPARE {
            self.spare.push(response);
        }
    }

    /// An empty list for the packets of an answer.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        core::mem::take(&mut self.spare_frames)
    }

    /// Writes an answer.
    pub(crate) fn respond(&mut self, link: LinkId, response: Response) {
        let response = match self.spare.pop() {
            Some(mut place) => {
                *place = response;
                place
            }
            None => Box::new(response),
        };
        self.writes.push(Write::Response(link, response));
    }
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
    pub fixed: &'static FixedFields,
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
    /// Drops what the response holds, and keeps its memory ([`Outputs::recycle`]).
    pub fn clear(&mut self) {
        self.headers.clear();
        match &mut self.body {
            Body::Bytes(bytes) => *bytes = Bytes::new(),
            Body::Packets(frames, _) => match frames.capacity() <= MOST_SPARE_FRAMES {
                true => frames.clear(),
                false => *frames = Vec::new(),
            },
        }
    }

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
        let sent = self.encode_head(out, date, body.len());
        let body = if sent.body == http::BodyForm::None {
            Bytes::new()
        } else {
            body
        };
        (body, sent.keep_alive)
    }

    /// Appends the whole response to `out`, as [`Response::encode`] does, for a caller that writes
    /// it at once: nothing is allocated if `out` and `scratch`, which is overwritten, have room.
    /// The body is copied, so look at [`Response::body_bytes`] before. Returns whether the
    /// connection goes on after the response.
    pub fn encode_whole(&self, out: &mut BytesMut, scratch: &mut BytesMut, date: Option<&http::Date>) -> bool {
        let body = match &self.body {
            Body::Bytes(bytes) => &**bytes,
            Body::Packets(frames, encoding) => {
                scratch.clear();
                encoding.append(frames, scratch);
                &**scratch
            }
        };
        let sent = self.encode_head(out, date, body.len());
        if sent.body != http::BodyForm::None {
            out.extend_from_slice(body);
        }
        sent.keep_alive
    }

    /// About how many bytes the body has: the packets of a poll are counted before they are put
    /// together.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        match &self.body {
            Body::Bytes(bytes) => bytes.len(),
            Body::Packets(frames, _) => frames.iter().map(Frame::len).sum(),
        }
    }

    /// Appends the head, for a body of this length, or the whole of a 500.
    fn encode_head(&self, out: &mut BytesMut, date: Option<&http::Date>, length: usize) -> http::Sent {
        let fields = http::AnswerFields {
            content_type: self.content_type,
            fixed: self.fixed,
            accept: None,
            headers: &self.headers,
            date,
        };
        let framing = http::ResponseFraming::Length(length);
        let head = http::encode_answer_head(out, self.exchange, self.status, &fields, framing);
        head.unwrap_or_else(|_| {
            put_internal_error(out, date);
            http::Sent {
                body: http::BodyForm::None,
                keep_alive: false,
            }
        })
    }
}

/// The fields of an answer in their order.
pub(super) fn all_fields<'a>(
    content_type: Option<(&'static str, &'a str)>,
    fixed: &'static FixedFields,
    headers: &'a [(&'static str, ByteString)],
) -> impl Iterator<Item = (&'static str, &'a str)> {
    let fixed = fixed.fields().iter().map(|(name, value)| (*name, *value));
    let others = headers.iter().map(|(name, value)| (*name, &**value));
    content_type.into_iter().chain(fixed).chain(others)
}

/// Appends a 500, after which the connection ends, in place of an answer that must not be written.
#[cold]
pub(super) fn put_internal_error(out: &mut BytesMut, date: Option<&http::Date>) {
    let fields = http::AnswerFields {
        content_type: None,
        fixed: FixedFields::NONE,
        accept: None,
        headers: &[],
        date,
    };
    let (exchange, framing) = (http::Exchange::CLOSING, http::ResponseFraming::Length(0));
    let written = http::encode_answer_head(out, exchange, 500, &fields, framing);
    debug_assert!(written.is_ok(), "nothing in it can be refused");
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
        let fields = http::AnswerFields {
            content_type: None,
            fixed: FixedFields::NONE,
            accept: Some(&self.accept),
            headers: &self.headers,
            date,
        };
        let exchange = http::Exchange {
            is_head: false,
            version_minor: 1,
            keep_alive: true,
        };
        let framing = http::ResponseFraming::Length(0);
        let written = http::encode_answer_head(out, exchange, 101, &fields, framing).is_ok();
        if !written {
            put_internal_error(out, date);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FIXED: FixedFields = FixedFields::new(&[("c", "d")], "c: d\r\n");

    fn response(headers: Vec<(&'static str, ByteString)>, body: &'static str) -> Response {
        Response {
            status: 200,
            content_type: Some("a/b"),
            fixed: &FIXED,
            headers,
            body: Body::Bytes(Bytes::from_static(body.as_bytes())),
            exchange: http::Exchange {
                is_head: false,
                version_minor: 1,
                keep_alive: true,
            },
        }
    }

    /// The encoder for callers is the oracle: the same fields in the same order give the same text,
    /// with one date, in both ways to write a response.
    #[test]
    fn a_response_has_its_fields_in_order_and_one_date() {
        const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let date = http::Date::from_unix(784_111_777);
        for count in 0..=NAMES.len() {
            for own in [None, Some(("dAtE", ByteString::from_static("mine")))] {
                let headers = NAMES[..count].iter().map(|name| (*name, ByteString::from_static("x")));
                let mut response = response(headers.chain(own.clone()).collect(), "hello");
                let mut fields: Vec<_> = response.fields().collect();
                if own.is_none() {
                    fields.push(("Date", date.as_str()));
                }
                let mut expected = BytesMut::new();
                let goes_on = http::encode_response(&mut expected, response.exchange, 200, None, &fields, b"hello");
                drop(fields);
                let (mut whole, mut scratch) = (BytesMut::new(), BytesMut::new());
                assert_eq!(
                    Ok(response.encode_whole(&mut whole, &mut scratch, Some(&date))),
                    goes_on
                );
                assert_eq!(whole, expected);
                let mut head = BytesMut::new();
                let (body, keep_alive) = response.encode(&mut head, Some(&date));
                head.extend_from_slice(&body);
                assert_eq!((head, Ok(keep_alive)), (expected, goes_on));
            }
        }
    }

    fn frame(text: &str) -> Frame {
        Frame::text(&mut BytesMut::new(), |b| b.extend_from_slice(text.as_bytes()))
    }

    /// The packets of a poll are put together in either way, whatever is in the scratch buffer.
    #[test]
    fn the_packets_of_a_poll_are_a_body() {
        let poll = || Response {
            body: Body::Packets(alloc::vec![frame("42[1]"), frame("42[23]")], PollEncoding::Engine4),
            ..response(Vec::new(), "")
        };
        assert_eq!(poll().body_bytes(), 7 + 8);
        assert_eq!(response(Vec::new(), "hello").body_bytes(), 5);
        let (mut whole, mut scratch) = (BytesMut::new(), BytesMut::from("what was there"));
        assert!(poll().encode_whole(&mut whole, &mut scratch, None));
        let mut head = BytesMut::new();
        let (body, _) = poll().encode(&mut head, None);
        assert_eq!(body, "42[1]\u{1e}42[23]");
        head.extend_from_slice(&body);
        assert_eq!(whole, head);
    }

    /// What a write carries for the counters of an operator.
    #[test]
    fn a_write_carries_packets() {
        let link = LinkId::new(0, 0);
        let frames = || alloc::vec![frame("a"), frame("b"), frame("c")];
        let poll = Response {
            body: Body::Packets(frames(), PollEncoding::Engine4),
            ..response(Vec::new(), "")
        };
        let form = StreamForm {
            encoding: super::super::StreamEncoding::Htmlfile09,
            chunked: true,
            keep_alive: true,
        };
        let part = Part { frames: frames(), form };
        for (write, packets) in [
            (Write::Frame(link, frame("a")), 1),
            (Write::Response(link, Box::new(poll)), 3),
            (Write::Response(link, Box::new(response(Vec::new(), "ok"))), 0),
            (Write::Part(link, Box::new(part)), 3),
            (Write::Close(link, None), 0),
            (Write::Abort(link), 0),
        ] {
            assert_eq!(write.packets(), packets, "{write:?}");
        }
    }

    /// The memory of answers is used again, and what was in them is dropped: two answers at most,
    /// and no long list.
    #[test]
    fn the_memory_of_answers_is_used_again() {
        let mut outputs = Outputs::default();
        let poll = |packets| {
            let frames = (0..packets).map(|_| frame("a")).collect();
            let headers = alloc::vec![("a", ByteString::from_static("b"))];
            Box::new(Response {
                body: Body::Packets(frames, PollEncoding::Engine4),
                ..response(headers, "")
            })
        };
        outputs.recycle(poll(3));
        let list = outputs.frames();
        assert!(list.is_empty() && list.capacity() >= 3);
        assert!(outputs.spare[0].headers.is_empty());
        outputs.recycle(poll(MOST_SPARE_FRAMES + 1));
        assert_eq!(outputs.frames().capacity(), 0, "a long list is not kept");
        outputs.recycle(poll(MOST_SPARE_FRAMES));
        assert!(outputs.frames().capacity() >= MOST_SPARE_FRAMES);
        assert_eq!(outputs.spare.len(), MOST_SPARE);
        let places: Vec<*const Response> = outputs.spare.iter().map(|place| &raw const **place).collect();
        for expected in places.iter().rev() {
            outputs.respond(LinkId::new(0, 0), response(Vec::new(), "ok"));
            let Some(Write::Response(_, written)) = outputs.writes.pop() else {
                panic!("an answer was written")
            };
            assert_eq!(&raw const *written, *expected);
        }
        let body = Bytes::from(alloc::vec![0; 10]);
        let mut answer = Response {
            body: Body::Bytes(body.clone()),
            ..response(Vec::new(), "")
        };
        answer.clear();
        assert!(body.is_unique(), "the body is dropped");
    }

    #[test]
    fn a_value_that_must_not_be_written_becomes_a_500() {
        let bad = |name, value| response(alloc::vec![(name, ByteString::from_static(value))], "secret");
        let typed = |content_type| Response {
            content_type: Some(content_type),
            ..response(Vec::new(), "secret")
        };
        for mut response in [
            bad("a", "b\r\nc: d"),
            bad("a b", "c"),
            bad("Connection", "close"),
            typed("text/plain\r\na: b"),
        ] {
            let expected = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let (mut whole, mut scratch) = (BytesMut::new(), BytesMut::new());
            assert!(!response.encode_whole(&mut whole, &mut scratch, None));
            assert_eq!(whole, expected);
            let mut head = BytesMut::new();
            assert_eq!(response.encode(&mut head, None), (Bytes::new(), false));
            assert_eq!(head, expected);
        }
        // So does the beginning of a websocket, and of a stream.
        let headers = || alloc::vec![("a", ByteString::from_static("b\r\nc: d"))];
        let upgrade = Upgrade {
            accept: [b'a'; 28],
            headers: headers(),
            wire: Wire::Engine4,
        };
        let stream = Stream {
            fixed: &FIXED,
            headers: headers(),
            form: StreamForm {
                encoding: super::super::StreamEncoding::Htmlfile09,
                chunked: true,
                keep_alive: true,
            },
            exchange: http::Exchange {
                is_head: false,
                version_minor: 1,
                keep_alive: true,
            },
        };
        for goes_on in [
            |upgrade: &Upgrade, _: &Stream, out: &mut BytesMut| upgrade.encode(out, None),
            |_: &Upgrade, stream: &Stream, out: &mut BytesMut| stream.encode(out, None),
        ] {
            let mut out = BytesMut::new();
            assert!(!goes_on(&upgrade, &stream, &mut out));
            assert!(out.starts_with(b"HTTP/1.1 500 "), "{out:?}");
        }
    }
}
