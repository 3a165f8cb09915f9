//! JSONP polling of Engine.IO 3: a payload inside a script, and the form that carries a payload
//! back (docs/protocol/engine-io.md §4.6).
//!
//! ```text
//! GET  …&j=0     ___eio[0]("97:0{\"sid\":…}");
//! POST …&j=0     d=4%3A4a%5C%5Cnb
//! ```

use alloc::string::String;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::json;
use crate::legacy::form::{self, Field};

/// Appends the script that answers a GET whose query has `j=<index>`.
///
/// Only the digits of `index` are kept, so that `index` cannot bring script in: `1);alert(1`
/// becomes `___eio[11]`. `index` may be empty.
pub fn write_script(index: &str, payload: &str, out: &mut BytesMut) {
    out.reserve(payload.len().saturating_add(index.len()).saturating_add(16));
    out.put_slice(b"___eio[");
    index
        .bytes()
        .filter(u8::is_ascii_digit)
        .for_each(|digit| out.put_u8(digit));
    out.put_slice(b"](");
    json::write_js_string(out, payload);
    out.put_slice(b");");
}

/// Reads the payload out of a POST body.
///
/// `None` if the field `d` is missing or repeated, or is not UTF-8. Genuine servers ignore such a
/// body and still answer `ok`.
#[must_use]
pub fn decode_post(body: &Bytes) -> Option<ByteString> {
    match form::field(body, "d") {
        Field::Value { value, repeated: false } => Some(unescape_newlines(value)),
        Field::Value { repeated: true, .. } | Field::Missing | Field::InvalidUtf8 => None,
    }
}

/// Undoes the escapes by which the client keeps newlines out of the form: `\n` (two characters)
/// becomes a newline, and `\\n` (three) becomes the two characters `\n`.
fn unescape_newlines(text: ByteString) -> ByteString {
    step!(bulk text.len());
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some((before, escape)) = rest.split_once('\\') {
        step!(bulk before.len());
        out.push_str(before);
        rest = if let Some(behind) = escape.strip_prefix("\\n") {
            out.push_str("\\n");
            behind
        } else if let Some(behind) = escape.strip_prefix('n') {
            out.push('\n');
            behind
        } else {
            out.push('\\');
            escape
        };
    }
    out.push_str(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn script(index: &str, payload: &str) -> String {
        let mut out = BytesMut::new();
        write_script(index, payload, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn scripts() {
        for (index, payload, wire) in [
            ("0", "1:6", "___eio[0](\"1:6\");"),
            ("1);alert(1", "1:6", "___eio[11](\"1:6\");"),
            ("", "1:6", "___eio[](\"1:6\");"),
            (
                "7",
                "4{\"a\":\"\\\\\u{2028}é€\u{2029}\"}",
                "___eio[7](\"4{\\\"a\\\":\\\"\\\\\\\\\\u2028é€\\u2029\\\"}\");",
            ),
            ("0", "4\n\r\t\0</script>", "___eio[0](\"4\\n\\r\\t\\u0000</script>\");"),
        ] {
            assert_eq!(script(index, payload), wire);
        }
    }

    #[test]
    fn newlines_are_unescaped_once() {
        for (sent, meant) in [
            (r"plain", "plain"),
            (r"a\nb", "a\nb"),
            (r"a\\nb", r"a\nb"),
            (r"a\\\nb", r"a\\nb"),
            (r"\n\n", "\n\n"),
            (r#"{"a":"\"\u00e9\\""}"#, r#"{"a":"\"\u00e9\\""}"#),
            ("tail\\", "tail\\"),
        ] {
            assert_eq!(unescape_newlines(sent.into()), meant, "{sent}");
        }
    }

    #[test]
    fn posts() {
        let post = |body: &'static str| decode_post(&Bytes::from_static(body.as_bytes()));
        assert_eq!(post("d=11%3A42%5B%22t%22%2C%22a%22%5D").unwrap(), "11:42[\"t\",\"a\"]");
        assert_eq!(post("d=4%3A4a%5Cnb").unwrap(), "4:4a\nb");
        assert_eq!(post("d=").unwrap(), "");
        for body in ["", "x=1", "d=1&d=2", "d=%ff"] {
            assert_eq!(post(body), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn unescaping_is_two_replacements(text in "[\\\\na]{0,12}") {
            // The reference replaces /(\\)?\\n/g by a newline if no backslash precedes, then
            // /\\\\n/g.
            let marked = text.replace(r"\\n", "\0");
            let expected = marked.replace(r"\n", "\n").replace('\0', r"\n");
            prop_assert_eq!(unescape_newlines(text.as_str().into()), expected, "{}", text);
        }

        #[test]
        fn never_panics(body in any::<Vec<u8>>(), index in any::<String>()) {
            let _ = decode_post(&Bytes::from(body));
            script(&index, &format!("{index}\\"));
        }
    }
}
