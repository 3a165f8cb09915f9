//! Strings between their JSON form and their text, and the forms that old transports need.

use alloc::borrow::Cow;
use alloc::string::String;

use bytes::{BufMut as _, BytesMut};
use bytestring::ByteString;

use super::scan::plain_run;

/// The text of a JSON string literal. `literal` includes the quotes.
///
/// Borrows unless there is an escape. A surrogate without its other half becomes U+FFFD, since no
/// `str` can hold it. A literal that is not valid yields some text, but does not panic.
#[must_use]
pub fn unescape(literal: &str) -> Cow<'_, str> {
    let body = literal.strip_prefix('"').unwrap_or(literal);
    let body = body.strip_suffix('"').unwrap_or(body);
    let Some(first) = memchr::memchr(b'\\', body.as_bytes()) else {
        return Cow::Borrowed(body);
    };
    // An escape is never shorter than the text that it stands for.
    let mut text = String::with_capacity(body.len());
    step!(each body.len());
    let (plain, mut rest) = body.split_at(first);
    text.push_str(plain);
    while let Some(escape) = rest.strip_prefix('\\') {
        rest = unescape_one(escape, &mut text);
        let end = memchr::memchr(b'\\', rest.as_bytes()).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(end);
        text.push_str(plain);
        rest = tail;
    }
    Cow::Owned(text)
}

/// Appends the text of the escape at the start of `escape` (behind its backslash). Returns the text
/// that follows the escape.
fn unescape_one<'a>(escape: &'a str, text: &mut String) -> &'a str {
    let mut chars = escape.chars();
    match chars.next() {
        Some('b') => text.push('\u{8}'),
        Some('f') => text.push('\u{c}'),
        Some('n') => text.push('\n'),
        Some('r') => text.push('\r'),
        Some('t') => text.push('\t'),
        Some('u') => {
            let (unit, rest) = code_unit(chars.as_str());
            let pair = rest
                .strip_prefix("\\u")
                .map(code_unit)
                .filter(|&(low, _)| (0xd800..0xdc00).contains(&unit) && (0xdc00..0xe000).contains(&low));
            return if let Some((low, rest)) = pair {
                // Both halves have been checked: each has ten bits of the character.
                let c = 0x1_0000_u32.wrapping_add((unit & 0x3ff) << 10 | low & 0x3ff);
                text.push(char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest
            } else {
                text.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                rest
            };
        }
        Some(c) => text.push(c),
        None => {}
    }
    chars.as_str()
}

/// The UTF-16 code unit that the first four hex digits stand for, and the text behind them.
/// Anything else counts as half of a surrogate pair, so it becomes U+FFFD.
fn code_unit(digits: &str) -> (u32, &str) {
    match digits.split_at_checked(4) {
        Some((hex, rest)) => (u32::from_str_radix(hex, 16).unwrap_or(0xd800), rest),
        None => (0xd800, ""),
    }
}

/// How many bytes [`write_string`] writes for `text`: from 1 to 6 for each byte of the text (a
/// control character becomes `\u0000`), plus 2.
pub(crate) fn string_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | 0x08..=0x0a | 0x0c | 0x0d => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(escaped).fold(2, usize::saturating_add)
}

/// How many bytes [`write_ascii_string`] writes for `text`: 1 to 6 for each byte of it, plus 2.
pub(crate) fn ascii_string_len(text: &str) -> usize {
    // The first is never less than the length of the text.
    string_len(text)
        .saturating_sub(text.len())
        .saturating_add(ascii_len(text))
}

/// How many bytes [`write_ascii`] writes for `text`: up to 3 for each byte of it. Characters of
/// two, three and four bytes become 6, 6 and 12 bytes.
pub(crate) fn ascii_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        0..0x80 => 1,
        0xf0.. => 12,
        0xc0.. => 6,
        // The other bytes of a character.
        _ => 0,
    };
    text.bytes().map(escaped).fold(0, usize::saturating_add)
}

/// Writes `text` as a JSON string literal, exactly as `JSON.stringify` does.
pub fn write_string(out: &mut BytesMut, text: &str) {
    out.reserve(text.len().saturating_add(2));
    out.put_u8(b'"');
    write_body(out, text, |out, plain| out.extend_from_slice(plain.as_bytes()));
    out.put_u8(b'"');
}

/// The JSON string with this text.
pub(crate) fn string(text: &str) -> ByteString {
    let mut literal = BytesMut::with_capacity(text.len().saturating_add(2));
    write_string(&mut literal, text);
    // The JSON string of a UTF-8 text is UTF-8.
    ByteString::try_from(literal.freeze()).unwrap_or_default()
}

/// Writes `text` as a JSON string literal of ASCII characters only; see [`write_ascii`].
pub fn write_ascii_string(out: &mut BytesMut, text: &str) {
    out.reserve(text.len().saturating_add(2));
    out.put_u8(b'"');
    write_body(out, text, write_ascii);
    out.put_u8(b'"');
}

/// Writes `text` as a JavaScript string literal that is safe in any script.
///
/// U+2028 and U+2029 are escaped as well. JSON allows them, but old JavaScript reads them as line
/// ends (docs/protocol/engine-io.md §4.6, docs/protocol/legacy-0.6.md §7). The result is right for
/// JSONP. Inside a `<script>` element use [`write_script_string`].
pub fn write_js_string(out: &mut BytesMut, text: &str) {
    write_javascript(out, text, |c| matches!(c, '\u{2028}' | '\u{2029}'));
}

/// Writes `text` as a JavaScript string literal that is safe inside an HTML `<script>` element.
///
/// It does the same as [`write_js_string`], and two things more. `</` becomes `<\/`, so that no
/// text can end the element (docs/protocol/legacy-0.9.md §8). `<!` becomes `\u003c!`, so that no
/// text can open a comment, in which the browser would not see the real end of the element.
pub fn write_script_string(out: &mut BytesMut, text: &str) {
    write_javascript(out, text, |c| matches!(c, '\u{2028}' | '\u{2029}' | '<'));
}

fn write_javascript(out: &mut BytesMut, text: &str, mut special: impl FnMut(char) -> bool) {
    step!(bulk text.len());
    out.reserve(text.len().saturating_add(2));
    out.put_u8(b'"');
    let copy = |out: &mut BytesMut, plain: &str| out.extend_from_slice(plain.as_bytes());
    let mut rest = text;
    while let Some((plain, found)) = rest.find(&mut special).and_then(|at| rest.split_at_checked(at)) {
        write_body(out, plain, copy);
        let mut behind = found.chars();
        let special = behind.next();
        rest = behind.as_str();
        out.extend_from_slice(match special {
            Some('\u{2028}') => b"\\u2028",
            Some('\u{2029}') => b"\\u2029",
            _ if rest.starts_with('/') => b"<\\", // the slash follows
            _ if rest.starts_with('!') => b"\\u003c",
            _ => b"<",
        });
    }
    write_body(out, rest, copy);
    out.put_u8(b'"');
}

/// Writes the part between the quotes of a JSON string literal. `copy` writes the pieces that need
/// no escape.
fn write_body(out: &mut BytesMut, mut text: &str, copy: impl Fn(&mut BytesMut, &str)) {
    loop {
        step!();
        let (plain, rest) = text.split_at(plain_run(text.as_bytes()));
        copy(out, plain);
        let Some(&special) = rest.as_bytes().first() else {
            return;
        };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => write_code_unit(out, control.into()),
        }
        // A special character is one byte.
        text = rest.get(1..).unwrap_or_default();
    }
}

/// Copies JSON text. Every character from U+0080 on is written as `\uXXXX` (from U+10000 on as two
/// of them).
///
/// Valid JSON has such characters only inside strings, so the meaning does not change. ASCII text
/// survives the text dialects of Engine.IO 3 that encode UTF-8 twice (docs/protocol/engine-io.md
/// §3.3).
pub fn write_ascii(out: &mut BytesMut, json: &str) {
    if json.is_ascii() {
        out.extend_from_slice(json.as_bytes());
        return;
    }
    step!(each json.len());
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii() {
            let end = rest.bytes().position(|b| !b.is_ascii()).unwrap_or(rest.len());
            let (plain, tail) = rest.split_at(end);
            out.extend_from_slice(plain.as_bytes());
            rest = tail;
        } else {
            for unit in first.encode_utf16(&mut [0; 2]) {
                write_code_unit(out, *unit);
            }
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
}

fn write_code_unit(out: &mut BytesMut, unit: u16) {
    // Four bits are an index below 16, so each of them has a digit.
    let digit = |nibble: u16| {
        b"0123456789abcdef"
            .get(usize::from(nibble & 15))
            .copied()
            .unwrap_or(b'0')
    };
    out.extend_from_slice(&[
        b'\\',
        b'u',
        digit(unit >> 12),
        digit(unit >> 8),
        digit(unit >> 4),
        digit(unit),
    ]);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use proptest::prelude::*;

    fn written(write: impl Fn(&mut BytesMut, &str), text: &str) -> String {
        let mut out = BytesMut::new();
        write(&mut out, text);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn literals_and_their_text() {
        for (literal, text) in [
            (r#""""#, ""),
            (r#""chat""#, "chat"),
            (r#""é€😀""#, "é€😀"),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""\u00e9\u20AC\ud83d\ude00!""#, "é€😀!"),
            (r#""a\\u00e9""#, "a\\u00e9"),
            (r#""\ud800""#, "\u{fffd}"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud800\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ud800\n""#, "\u{fffd}\n"),
            (r#""\u0000""#, "\0"),
            // These literals are not valid, and must not panic.
            ("", ""),
            ("\"", ""),
            (r#""\"#, ""),
            (r#""\u12""#, "\u{fffd}"),
            (r#""\u12é4""#, "\u{fffd}4"),
        ] {
            assert_eq!(unescape(literal), text, "{literal}");
        }
        assert!(matches!(unescape("\"plain\""), Cow::Borrowed("plain")));
    }

    #[test]
    fn as_json_stringify_writes() {
        for (text, literal) in [
            ("", r#""""#),
            ("é€😀\u{7f}\u{2028}/", "\"é€😀\u{7f}\u{2028}/\""),
            (
                "\"\\\u{8}\u{c}\n\r\t\0\u{1e}\u{1f}",
                r#""\"\\\b\f\n\r\t\u0000\u001e\u001f""#,
            ),
        ] {
            assert_eq!(written(write_string, text), literal);
        }
    }

    #[test]
    fn ascii_only() {
        for (json, ascii) in [
            (r#"["e",{"a":1}]"#, r#"["e",{"a":1}]"#),
            (r#"["é","€ x","😀"]"#, r#"["\u00e9","\u20ac x","\ud83d\ude00"]"#),
            ("\"\u{80}\"", r#""\u0080""#),
            ("é", r"\u00e9"),
        ] {
            assert_eq!(written(write_ascii, json), ascii);
        }
        assert_eq!(written(write_ascii_string, "\n\"é"), r#""\n\"\u00e9""#);
    }

    proptest! {
        /// Hardening A3: the size of a text is known before it is written.
        #[test]
        fn lengths_are_known_before(text in "[\\x00-\\x23\\\\é€😀a\u{7f}\u{80}]{0,12}", any in any::<String>()) {
            for text in [text, any] {
                prop_assert_eq!(string_len(&text), written(write_string, &text).len());
                prop_assert_eq!(ascii_string_len(&text), written(write_ascii_string, &text).len());
                prop_assert_eq!(ascii_len(&text), written(write_ascii, &text).len());
            }
        }
    }

    #[test]
    fn inside_scripts() {
        assert_eq!(
            written(write_js_string, "a\u{2028}\"\u{2029}</script>é"),
            "\"a\\u2028\\\"\\u2029</script>é\""
        );
        assert_eq!(
            written(write_script_string, "</script><!--<script>a/b<1\u{2028}<"),
            r#""<\/script>\u003c!--<script>a/b<1\u2028<""#
        );
    }

    proptest! {
        #[test]
        fn writing_is_what_serde_json_writes(text: String) {
            prop_assert_eq!(written(write_string, &text), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn every_spelling_reads_back(text in "[\u{0}-\u{ff}\u{2000}-\u{2040}<>!/\"\\\\😀]{0,40}") {
            for write in [write_string, write_ascii_string, write_js_string, write_script_string] {
                let literal = written(write, &text);
                prop_assert_eq!(unescape(&literal), text.as_str());
                prop_assert_eq!(serde_json::from_str::<String>(&literal).unwrap(), text.as_str());
            }
            let ascii = written(write_ascii, &written(write_string, &text));
            prop_assert!(ascii.is_ascii());
            prop_assert_eq!(unescape(&ascii), text.as_str());
        }

        #[test]
        fn unescape_takes_anything(text: String, escapes in "(\\\\u?[0-9a-fé\"]{0,5}){0,5}") {
            let _ = unescape(&text);
            let _ = unescape(&escapes);
        }
    }
}
