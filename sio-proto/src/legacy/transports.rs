//! The transports of 0.3-0.9, and the text that they put around a payload in HTTP bodies.
//!
//! ```text
//!                 0.6 family                                          0.7-0.9
//! jsonp-polling   io.JSONP[0]._("…");                                 io.j[0]("…");
//! htmlfile        <script>parent.s._("…", document);</script>         <script>_("…");</script>
//! xhr-multipart   Content-Type: text/plain LF LF … LF --socketio LF   -
//! ```
//!
//! This file follows docs/protocol/legacy-0.6.md §7-9 and docs/protocol/legacy-0.9.md §7-8.
//! xhr-polling and websocket put nothing around a payload. String literals are JSON strings in
//! which nothing can end the script: `<`, U+2028 and U+2029 are escaped.
//!
//! The chunks of htmlfile are returned without their HTTP chunk framing. Write one HTTP chunk per
//! payload: the browsers of that time run a script when its chunk is complete.

use alloc::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::form::{self, Field};
use crate::digits::put_decimal;
use crate::json;

/// The transports of 0.3-0.9, by the names they have in URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `websocket`
    Websocket,
    /// `flashsocket`: a websocket spoken by Flash.
    Flashsocket,
    /// `htmlfile`: an endless page of scripts, Internet Explorer only.
    Htmlfile,
    /// `xhr-multipart`: an endless multipart answer, 0.6 family only.
    XhrMultipart,
    /// `xhr-polling`
    XhrPolling,
    /// `jsonp-polling`
    JsonpPolling,
}

impl Transport {
    /// The transport a path segment names.
    #[must_use]
    pub fn parse(segment: &str) -> Option<Self> {
        Some(match segment {
            "websocket" => Self::Websocket,
            "flashsocket" => Self::Flashsocket,
            "htmlfile" => Self::Htmlfile,
            "xhr-multipart" => Self::XhrMultipart,
            "xhr-polling" => Self::XhrPolling,
            "jsonp-polling" => Self::JsonpPolling,
            _ => return None,
        })
    }

    /// Its name in URLs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Websocket => "websocket",
            Self::Flashsocket => "flashsocket",
            Self::Htmlfile => "htmlfile",
            Self::XhrMultipart => "xhr-multipart",
            Self::XhrPolling => "xhr-polling",
            Self::JsonpPolling => "jsonp-polling",
        }
    }
}

/// A family of URLs and wrappers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// 0.5-0.6 and the streaming codec.
    Legacy06,
    /// 0.7-0.9.
    Legacy09,
}

/// `Content-Type` of JSONP answers, in both families.
pub const JSONP_CONTENT_TYPE: &str = "text/javascript; charset=UTF-8";

/// `Content-Type` of htmlfile streams. Genuine 0.6 names no charset, so the stream inherits the
/// page's charset. Naming it is safer.
pub const HTMLFILE_CONTENT_TYPE: &str = "text/html; charset=UTF-8";

/// `Content-Type` of xhr-multipart streams. The body is neither chunked nor of a known length.
pub const MULTIPART_CONTENT_TYPE: &str = "multipart/x-mixed-replace;boundary=\"socketio\"";

/// The beginning of an xhr-multipart body.
pub const MULTIPART_HEAD: &[u8] = b"--socketio\n";

/// The length of the first chunk of an htmlfile stream. Internet Explorer waits until it has as
/// many bytes.
const HTMLFILE_HEAD_LEN: usize = 256;

/// Appends the script that answers a JSONP request; the payload may be empty (0.6: an empty poll).
pub fn write_jsonp(family: Family, index: u64, payload: &str, out: &mut BytesMut) {
    out.reserve(payload.len().saturating_add(32));
    write_callback(family, index, out);
    json::write_js_string(out, payload);
    out.put_slice(b");");
}

/// Appends the script that answers a refused 0.7-0.9 handshake with `jsonp=`. The status is 200,
/// because browsers run no script with another status.
pub fn write_jsonp_error(index: u64, message: &str, out: &mut BytesMut) {
    write_callback(Family::Legacy09, index, out);
    out.put_slice(b"new Error(");
    json::write_js_string(out, message);
    out.put_slice(b"));");
}

fn write_callback(family: Family, index: u64, out: &mut BytesMut) {
    let (before, after): (&[u8], &[u8]) = match family {
        Family::Legacy06 => (b"io.JSONP[", b"]._("),
        Family::Legacy09 => (b"io.j[", b"]("),
    };
    out.put_slice(before);
    put_decimal(index, out);
    out.put_slice(after);
}

/// Appends the first chunk of an htmlfile stream: exactly 256 bytes.
pub fn write_htmlfile_head(family: Family, out: &mut BytesMut) {
    let head: &[u8] = match family {
        Family::Legacy06 => b"<html><body>",
        Family::Legacy09 => b"<html><body><script>var _ = function (msg) { parent.s._(msg, document); };</script>",
    };
    out.put_slice(head);
    out.put_bytes(b' ', HTMLFILE_HEAD_LEN.saturating_sub(head.len()));
}

/// Appends the chunk of an htmlfile stream that carries `payload`.
pub fn write_htmlfile(family: Family, payload: &str, out: &mut BytesMut) {
    let (before, after): (&[u8], &[u8]) = match family {
        Family::Legacy06 => (b"<script>parent.s._(", b", document);</script>"),
        Family::Legacy09 => (b"<script>_(", b");</script>"),
    };
    out.reserve(payload.len().saturating_add(64));
    out.put_slice(before);
    json::write_script_string(out, payload);
    out.put_slice(after);
}

/// The text that ends a part of an xhr-multipart stream, wherever it stands.
const MULTIPART_BOUNDARY: &str = "--socketio";

/// Whether `text`, in a part of an xhr-multipart stream, would end the part and could forge the
/// next part. All transports carry the same payload, so no payload may contain the boundary.
#[must_use]
pub fn has_boundary(text: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), MULTIPART_BOUNDARY.as_bytes()).is_some()
}

/// The JSON, with the same meaning, without the boundary in it. In JSON two hyphens stand only
/// inside strings.
#[must_use]
pub fn without_boundary(json: &str) -> Cow<'_, str> {
    match has_boundary(json) {
        false => Cow::Borrowed(json),
        true => Cow::Owned(json.replace(MULTIPART_BOUNDARY, "\\u002d-socketio")),
    }
}

/// Appends the part of an xhr-multipart stream that carries `payload`, and the boundary that makes
/// the browser deliver the part. The payload must not [contain the boundary](has_boundary), which
/// would end the part.
pub fn write_multipart(payload: &str, out: &mut BytesMut) {
    out.reserve(payload.len().saturating_add(48));
    out.put_slice(b"Content-Type: text/plain\n\n");
    out.put_slice(payload.as_bytes());
    out.put_slice(b"\n");
    out.put_slice(MULTIPART_HEAD);
}

/// Why a POST body carries no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The form has no field of that name.
    #[error("form field missing")]
    MissingField,
    /// The value is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// The value begins with a quote, but is no JSON string.
    #[error("invalid JSON string")]
    InvalidString,
}

/// A posted payload. The variants say whether its newlines are as the client wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// The payload is as the client wrote it.
    Exact(ByteString),
    /// A browser has changed its newlines to CRLF after its lengths were computed. Decode it with
    /// the `decode_jsonp` of its codec.
    Form(ByteString),
}

/// Reads the payload of a 0.6 POST: the field `data` of the form. If the field is repeated, the
/// first one is read.
///
/// The newlines may have been changed if the transport is jsonp-polling. The caller knows the
/// transport.
///
/// # Errors
///
/// Genuine servers answer 200 (JavaScript) or 401 (Go) to a form without the field; 400 is right.
pub fn read_data_form(body: &Bytes) -> Result<ByteString, PostError> {
    match form::field(body, "data") {
        Field::Value { value, .. } => Ok(value),
        Field::Missing => Err(PostError::MissingField),
        Field::InvalidUtf8 => Err(PostError::InvalidUtf8),
    }
}

/// Reads the payload of a 0.7-0.9 jsonp-polling POST: the field `d` of the form. The field is a
/// JSON string since 0.8.6, and raw before. A payload never begins with a quote, so the first
/// character decides.
///
/// # Errors
///
/// Genuine servers of 0.8.6 and later crash on such a body; 400 is right.
pub fn read_d_form(body: &Bytes) -> Result<Posted, PostError> {
    match form::field(body, "d") {
        Field::Value { value, .. } if value.starts_with('"') => serde_json::from_str::<alloc::string::String>(&value)
            .map(|payload| Posted::Exact(payload.into()))
            .map_err(|_| PostError::InvalidString),
        Field::Value { value, .. } => Ok(Posted::Form(value)),
        Field::Missing => Err(PostError::MissingField),
        Field::InvalidUtf8 => Err(PostError::InvalidUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn captured_jsonp_answers() {
        for (family, index, payload, wire) in [
            (
                Family::Legacy06,
                0,
                "~m~16~m~8066086367842997",
                "io.JSONP[0]._(\"~m~16~m~8066086367842997\");",
            ),
            (
                Family::Legacy06,
                0,
                "~m~6~m~early1~m~14~m~~j~{\"early\":2}",
                "io.JSONP[0]._(\"~m~6~m~early1~m~14~m~~j~{\\\"early\\\":2}\");",
            ),
            (Family::Legacy06, 3, "", "io.JSONP[3]._(\"\");"),
            (Family::Legacy09, 0, "1::", "io.j[0](\"1::\");"),
            (Family::Legacy09, 2, "8::", "io.j[2](\"8::\");"),
            (
                Family::Legacy09,
                0,
                "3:::hello é♥😀 / \"q\" \n line2",
                "io.j[0](\"3:::hello é♥😀 / \\\"q\\\" \\n line2\");",
            ),
            (
                Family::Legacy09,
                0,
                "5:::{\"name\":\"auto-acked\"}",
                "io.j[0](\"5:::{\\\"name\\\":\\\"auto-acked\\\"}\");",
            ),
        ] {
            assert_eq!(written(|out| write_jsonp(family, index, payload, out)), wire);
        }
        assert_eq!(
            written(|out| write_jsonp_error(0, "handshake unauthorized", out)),
            "io.j[0](new Error(\"handshake unauthorized\"));"
        );
    }

    #[test]
    fn htmlfile_heads_are_256_bytes() {
        let head = written(|out| write_htmlfile_head(Family::Legacy06, out));
        assert_eq!((head.len(), head.trim_end()), (256, "<html><body>"));
        let head = written(|out| write_htmlfile_head(Family::Legacy09, out));
        assert_eq!(head.len(), 256);
        assert_eq!(head.len() - head.trim_end().len(), 173);
    }

    #[test]
    fn htmlfile_chunks() {
        // The chunk sizes are those of captured streams.
        for (family, payload, wire, len) in [
            (
                Family::Legacy06,
                "~m~6~m~early1",
                "<script>parent.s._(\"~m~6~m~early1\", document);</script>",
                0x37,
            ),
            (
                Family::Legacy06,
                "~m~14~m~~j~{\"early\":2}",
                "<script>parent.s._(\"~m~14~m~~j~{\\\"early\\\":2}\", document);</script>",
                0x42,
            ),
            (Family::Legacy09, "7:::1+0", "<script>_(\"7:::1+0\");</script>", 0x1e),
        ] {
            let chunk = written(|out| write_htmlfile(family, payload, out));
            assert_eq!((chunk.as_str(), chunk.len()), (wire, len));
        }
        let chunk = written(|out| write_htmlfile(Family::Legacy09, "3:::</script><!--\u{2028}", out));
        assert_eq!(chunk, "<script>_(\"3:::<\\/script>\\u003c!--\\u2028\");</script>");
    }

    #[test]
    fn multipart_parts() {
        assert_eq!(
            written(|out| write_multipart("~m~2~m~hi", out)),
            "Content-Type: text/plain\n\n~m~2~m~hi\n--socketio\n"
        );
    }

    #[test]
    fn posts_of_0_6() {
        let read = |body: &'static str| read_data_form(&Bytes::from_static(body.as_bytes()));
        assert_eq!(read("data=~m~4~m~~h~1"), Ok("~m~4~m~~h~1".into()));
        assert_eq!(read("data=1&data=2"), Ok("1".into()));
        assert_eq!(read("data="), Ok("".into()));
        assert_eq!(read("d=1"), Err(PostError::MissingField));
        assert_eq!(read(""), Err(PostError::MissingField));
        assert_eq!(read("data=%FF"), Err(PostError::InvalidUtf8));
    }

    #[test]
    fn posts_of_0_9() {
        let read = |body: &'static str| read_d_form(&Bytes::from_static(body.as_bytes()));
        assert_eq!(read("d=%223%3A%3A%3Ahi%22"), Ok(Posted::Exact("3:::hi".into())));
        assert_eq!(read("d=3%3A%3A%3Ahi"), Ok(Posted::Form("3:::hi".into())));
        assert_eq!(read("d=%EF%BF%BD3"), Ok(Posted::Form("\u{fffd}3".into())));
        assert_eq!(read("d="), Ok(Posted::Form("".into())));
        assert_eq!(read("d=%22abc"), Err(PostError::InvalidString));
        assert_eq!(read("d=%22a%22b"), Err(PostError::InvalidString));
        assert_eq!(read(""), Err(PostError::MissingField));
    }

    proptest! {
        #[test]
        fn nothing_ends_the_script(payload in any::<String>()) {
            let chunk = written(|out| write_htmlfile(Family::Legacy06, &payload, out));
            prop_assert_eq!(chunk.matches("</").count(), 1);
            prop_assert_eq!(chunk.matches("<!").count(), 0);
            let literal = &chunk["<script>parent.s._(".len()..chunk.len() - ", document);</script>".len()];
            prop_assert_eq!(serde_json::from_str::<String>(literal).unwrap(), payload);
        }

        #[test]
        fn never_panics(body in any::<Vec<u8>>()) {
            let body = Bytes::from(body);
            let _ = read_d_form(&body);
            let _ = read_data_form(&body);
        }
    }
}
