//! Links whose packets are neither websocket frames nor the answer to a poll: endless answers, and
//! websockets older than RFC 6455.
//!
//! ```text
//!                 begins with         each packet
//! htmlfile        256 bytes of page   <script>…</script>, a chunk of its own
//! xhr-multipart   a boundary          a part and the next boundary
//! hixie           -                   00 text FF
//! ```
//! A packet is encoded once, as a [`Frame`] that all sessions of a generation share. These links
//! convert it where it is written, without a lock. Other links pay nothing for this.

use alloc::vec::Vec;

use bytes::BytesMut;
use bytestring::ByteString;

use super::output::{all_fields, put_internal_error};
use crate::codec::Codec;
use crate::legacy::hixie;
use crate::legacy::transports::{
    Family, HTMLFILE_CONTENT_TYPE, MULTIPART_CONTENT_TYPE, MULTIPART_HEAD, write_htmlfile, write_htmlfile_head,
};
use crate::{Frame, http};

/// How packets are written on such a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEncoding {
    /// The scripts of the 0.6 family, in the form of this codec (docs/protocol/legacy-0.6.md §8).
    Htmlfile06(Codec),
    /// The scripts of 0.7-0.9 (docs/protocol/legacy-0.9.md §8).
    Htmlfile09,
    /// The parts of the 0.6 family, in the form of this codec (docs/protocol/legacy-0.6.md §9).
    Multipart(Codec),
    /// The frames of hixie-76, which has a closing handshake (docs/protocol/legacy-0.6.md §10.1).
    Hixie76,
    /// The frames of hixie-75, which has no closing handshake.
    Hixie75,
}

/// An encoding, and the framing around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamForm {
    /// How packets are written.
    pub encoding: StreamEncoding,
    /// Whether the body is chunked: htmlfile is chunked, except for a client of HTTP/1.0.
    pub chunked: bool,
    /// Whether the connection can carry another request after the end of the stream.
    pub keep_alive: bool,
}

impl StreamForm {
    /// The form of the answer to this request.
    pub(crate) fn new(encoding: StreamEncoding, exchange: http::Exchange) -> Self {
        let htmlfile = matches!(encoding, StreamEncoding::Htmlfile06(_) | StreamEncoding::Htmlfile09);
        let chunked = htmlfile && exchange.version_minor >= 1;
        Self {
            encoding,
            chunked,
            keep_alive: chunked && exchange.keep_alive,
        }
    }

    /// Appends the last bytes of the stream, if its encoding has any.
    pub fn encode_end(&self, out: &mut BytesMut) {
        if self.chunked {
            http::encode_last_chunk(out);
        }
        if self.encoding == StreamEncoding::Hixie76 {
            out.extend_from_slice(hixie::CLOSE);
        }
    }
}

/// The beginning of an endless answer, status 200.
#[derive(Debug)]
pub struct Stream {
    /// Header fields that do not depend on the request
    /// ([`Response::fixed`](super::Response::fixed)).
    pub fixed: &'static http::FixedFields,
    /// Further headers, in order.
    pub headers: Vec<(&'static str, ByteString)>,
    /// The form of the packets that follow.
    pub form: StreamForm,
    /// The facts about the request that the answer needs.
    pub exchange: http::Exchange,
}

impl Stream {
    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        match self.form.encoding {
            StreamEncoding::Multipart(_) => MULTIPART_CONTENT_TYPE,
            StreamEncoding::Htmlfile06(_)
            | StreamEncoding::Htmlfile09
            | StreamEncoding::Hixie76
            | StreamEncoding::Hixie75 => HTMLFILE_CONTENT_TYPE,
        }
    }

    /// All header fields, `Content-Type` first, for another HTTP server to write.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let content_type = Some(("Content-Type", self.content_type()));
        all_fields(content_type, self.fixed, &self.headers)
    }

    /// Appends the beginning of the body, without HTTP framing.
    pub fn encode_body(&self, out: &mut BytesMut) {
        match self.form.encoding {
            StreamEncoding::Htmlfile06(_) => write_htmlfile_head(Family::Legacy06, out),
            StreamEncoding::Htmlfile09 => write_htmlfile_head(Family::Legacy09, out),
            StreamEncoding::Multipart(_) => out.extend_from_slice(MULTIPART_HEAD),
            StreamEncoding::Hixie76 | StreamEncoding::Hixie75 => {}
        }
    }

    /// Appends the head, with this `date`, and the beginning of the body. If a header value is not
    /// allowed in a header, the response becomes a 500, and the result is false.
    pub fn encode(&self, out: &mut BytesMut, date: Option<&http::Date>) -> bool {
        let fields = http::AnswerFields {
            content_type: Some(self.content_type()),
            fixed: self.fixed,
            accept: None,
            headers: &self.headers,
            date,
        };
        let framing = match self.form.chunked {
            true => http::ResponseFraming::Chunked,
            false => http::ResponseFraming::UntilClose,
        };
        if http::encode_answer_head(out, self.exchange, 200, &fields, framing).is_err() {
            put_internal_error(out, date);
            return false;
        }
        let mut body = BytesMut::new();
        self.encode_body(&mut body);
        put(&self.form, &body, out);
        true
    }
}

/// Further packets of a stream.
#[derive(Debug)]
pub struct Part {
    /// The packets.
    pub frames: Vec<Frame>,
    /// How they are written.
    pub form: StreamForm,
}

impl Part {
    /// Appends the packets in the form in which they leave on the link.
    pub fn encode(&self, out: &mut BytesMut) {
        self.encode_each(out, |_, _| ());
    }

    /// Does what [`Part::encode`] does, and calls `each` behind every packet, with the packet and
    /// all that has been appended. So a caller knows which bytes belong to which packet.
    pub fn encode_each(&self, out: &mut BytesMut, mut each: impl FnMut(&Frame, &mut BytesMut)) {
        let mut chunk = BytesMut::new();
        for frame in &self.frames {
            step!(bulk frame.len());
            if self.form.chunked {
                chunk.clear();
                encode_packet(&self.form.encoding, frame, &mut chunk);
                http::encode_chunk(out, &chunk);
            } else {
                encode_packet(&self.form.encoding, frame, out);
            }
            each(frame, out);
        }
    }

    /// Appends the packets without HTTP chunks, for callers whose HTTP server makes the chunks.
    pub fn encode_body(&self, out: &mut BytesMut) {
        for frame in &self.frames {
            step!(bulk frame.len());
            encode_packet(&self.form.encoding, frame, out);
        }
    }
}

fn put(form: &StreamForm, bytes: &[u8], out: &mut BytesMut) {
    if form.chunked {
        http::encode_chunk(out, bytes);
    } else {
        out.extend_from_slice(bytes);
    }
}

/// Writes one packet. Each packet is a separate payload: a script, a part or a message that the
/// client can handle as soon as it arrives.
fn encode_packet(encoding: &StreamEncoding, frame: &Frame, out: &mut BytesMut) {
    let text = core::str::from_utf8(frame.payload()).unwrap_or_default();
    match encoding {
        StreamEncoding::Htmlfile06(codec) => codec.wrap_htmlfile(text, out),
        StreamEncoding::Htmlfile09 => write_htmlfile(Family::Legacy09, text, out),
        StreamEncoding::Multipart(codec) => codec.wrap_multipart(text, out),
        StreamEncoding::Hixie76 | StreamEncoding::Hixie75 => hixie::write_text(text, out),
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::*;

    /// A part with chunks is the part without chunks in chunks of one packet each, whoever writes
    /// it: so a caller knows which bytes belong to which packet.
    #[test]
    fn each_packet_is_a_chunk_of_its_own() {
        let frame = |text: &str| Frame::text(&mut BytesMut::new(), |b| b.extend_from_slice(text.as_bytes()));
        let form = StreamForm {
            encoding: StreamEncoding::Htmlfile09,
            chunked: true,
            keep_alive: true,
        };
        let part = Part {
            frames: alloc::vec![frame("one"), frame("two")],
            form,
        };
        let (mut body, mut whole, mut expected) = (BytesMut::new(), BytesMut::new(), BytesMut::new());
        part.encode_body(&mut body);
        part.encode(&mut whole);
        let second = body.windows(4).rposition(|at| at == b"<scr").expect("two scripts");
        assert!(
            second > 0 && body[..second].windows(3).any(|at| at == b"one"),
            "{body:?}"
        );
        http::encode_chunk(&mut expected, &body[..second]);
        let first = expected.len();
        http::encode_chunk(&mut expected, &body[second..]);
        assert_eq!(whole, expected);
        let (mut ends, mut out) = (Vec::new(), BytesMut::new());
        part.encode_each(&mut out, |frame, out| ends.push((frame.clone(), out.len())));
        assert_eq!(ends, [(frame("one"), first), (frame("two"), whole.len())]);
        let write = crate::server::Write::Part(crate::LinkId::new(0, 0), Box::new(part));
        assert_eq!(write.encode(&mut BytesMut::new(), None).head, whole);
    }
}
