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
const WRITTEN_BY_ENCODER: [&str; 4] = ["content-length", "transfer-encoding", "connection", "date"];

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
    /// `Connection`, `Date`). In a `const` or `static`, this is an error of the compiler.
    #[must_use]
    pub const fn new(fields: &'static [(&'static str, &'static str)], lines: &'static str) -> Self {
        let (mut left, mut text) = (fields, lines.as_bytes());
        while let [(name, value), others @ ..] = left {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            assert!(is_sound(name, value), "a header field must not be written like this");
            text = behind(text, name);
            text = behind(text, b": ");
            text = behind(text, value);
            text = behind(text, b"\r\n");
            left = others;
        }
        assert!(text.is_empty(), "there is more text than fields");
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
    let mut left = name;
    while let [byte, others @ ..] = left {
        if !is_token_byte(*byte) {
            return false;
        }
        left = others;
    }
    left = value;
    while let [byte, others @ ..] = left {
        if !is_value_byte(*byte) {
            return false;
        }
        left = others;
    }
    let mut names: &[&str] = &WRITTEN_BY_ENCODER;
    while let [written, others @ ..] = names {
        if is_same(name, written.as_bytes()) {
            return false;
        }
        names = others;
    }
    !name.is_empty()
}

/// Whether a name is `lowercase`, in any case.
const fn is_same(name: &[u8], lowercase: &[u8]) -> bool {
    let (mut rest, mut left) = (name, lowercase);
    while let ([byte, behind @ ..], [wanted, others @ ..]) = (rest, left) {
        if byte.to_ascii_lowercase() != *wanted {
            return false;
        }
        (rest, left) = (behind, others);
    }
    rest.is_empty() && left.is_empty()
}

/// What stands in `text` behind `part`, with which it has to begin.
const fn behind<'a>(text: &'a [u8], part: &[u8]) -> &'a [u8] {
    let (mut rest, mut left) = (text, part);
    while let ([found, behind @ ..], [wanted, others @ ..]) = (rest, left) {
        assert!(*found == *wanted, "text and fields differ");
        (rest, left) = (behind, others);
    }
    assert!(left.is_empty(), "text and fields differ");
    rest
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
            (&[("DATE", "now")], "DATE: now\r\n"),
        ];
        for (fields, lines) in bad {
            assert!(catch_unwind(|| FixedFields::new(fields, lines)).is_err(), "{lines:?}");
        }
    }
}
