//! Header fields that are the same in many answers.

use super::headers::{is_token_byte, is_value_byte};

/// Header fields that are known when the program is compiled. They are checked then, and they are
/// written as one text.
///
/// ```
/// use sio_proto::http::FixedFields;
///
/// static CACHED: FixedFields = FixedFields::new(
///     &[("Cache-Control", "max-age=60"), ("Vary", "Origin")],
///     "Cache-Control: max-age=60\r\nVary: Origin\r\n",
/// );
/// assert_eq!(CACHED.fields().len(), 2);
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct FixedFields {
    fields: &'static [(&'static str, &'static str)],
    lines: &'static str,
}

/// The names that the encoder of answers writes itself.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

impl FixedFields {
    /// No fields.
    pub const NONE: &'static Self = &Self::new(&[], "");

    /// Fields in their order, and the same fields as they are written: `Name: value`, each line
    /// with its end.
    ///
    /// # Panics
    ///
    /// If `lines` does not say what `fields` say, if a name or value has a character that is not
    /// allowed in it, or if a name belongs to the encoder (`Content-Length`, `Transfer-Encoding`,
    /// `Connection`). In a `const` or `static`, this is an error of the compiler.
    #[must_use]
    pub const fn new(fields: &'static [(&'static str, &'static str)], lines: &'static str) -> Self {
        let (mut field, mut at) = (0, 0);
        while field < fields.len() {
            let (name, value) = (fields[field].0.as_bytes(), fields[field].1.as_bytes());
            assert!(is_sound(name, value), "a header field must not be written like this");
            at = expect(lines.as_bytes(), at, name);
            at = expect(lines.as_bytes(), at, b": ");
            at = expect(lines.as_bytes(), at, value);
            at = expect(lines.as_bytes(), at, b"\r\n");
            field += 1;
        }
        assert!(at == lines.len(), "there is more text than fields");
        Self { fields, lines }
    }

    /// Names and values, in order.
    #[must_use]
    pub const fn fields(&self) -> &'static [(&'static str, &'static str)] {
        self.fields
    }

    /// The fields as they are written.
    pub(crate) const fn lines(&self) -> &'static str {
        self.lines
    }
}

/// Whether a field may stand in the head of an answer.
const fn is_sound(name: &[u8], value: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if !is_token_byte(name[at]) {
            return false;
        }
        at += 1;
    }
    at = 0;
    while at < value.len() {
        if !is_value_byte(value[at]) {
            return false;
        }
        at += 1;
    }
    at = 0;
    while at < FRAMING.len() {
        if is_same(name, FRAMING[at].as_bytes()) {
            return false;
        }
        at += 1;
    }
    !name.is_empty()
}

/// Whether a name is `lowercase`, in any case.
const fn is_same(name: &[u8], lowercase: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() && at < lowercase.len() && name[at].to_ascii_lowercase() == lowercase[at] {
        at += 1;
    }
    at == name.len() && at == lowercase.len()
}

/// Where `text` goes on behind `part`, which has to stand at this place.
const fn expect(text: &[u8], start: usize, part: &[u8]) -> usize {
    let mut at = 0;
    while at < part.len() {
        assert!(
            start + at < text.len() && text[start + at] == part[at],
            "text and fields differ"
        );
        at += 1;
    }
    start + at
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn text_and_fields_say_the_same() {
        let good: &[(&'static [(&str, &str)], &str)] = &[
            (&[], ""),
            (&[("A", "b")], "A: b\r\n"),
            (&[("A", ""), ("c-d", "e\tf")], "A: \r\nc-d: e\tf\r\n"),
        ];
        for (fields, lines) in good {
            let fixed = FixedFields::new(fields, lines);
            assert_eq!((fixed.fields(), fixed.lines()), (*fields, *lines));
        }
        let bad: &[(&'static [(&str, &str)], &str)] = &[
            (&[], "A: b\r\n"),
            (&[("A", "b")], ""),
            (&[("A", "b")], "A: b"),
            (&[("A", "b")], "A: c\r\n"),
            (&[("A", "b")], "A: b\r\nC: d\r\n"),
            (&[("", "b")], ": b\r\n"),
            (&[("A B", "c")], "A B: c\r\n"),
            (&[("A", "b\r\nC: d")], "A: b\r\nC: d\r\n"),
            (&[("A", "\0")], "A: \0\r\n"),
            (&[("Content-length", "1")], "Content-length: 1\r\n"),
            (&[("transfer-Encoding", "x")], "transfer-Encoding: x\r\n"),
            (&[("Connection", "close")], "Connection: close\r\n"),
        ];
        for (fields, lines) in bad {
            assert!(catch_unwind(|| FixedFields::new(fields, lines)).is_err(), "{lines:?}");
        }
    }
}
