//! Bodies of HTML form posts: `application/x-www-form-urlencoded`. Only one field of a form
//! matters.
//!
//! JSONP of every generation sends data in this way, and the 0.6 family does so with XHR too
//! (docs/protocol/legacy-0.6.md §5.1):
//!
//! ```text
//! data=~m~6~m~early1          XHR: encodeURIComponent, space is %20
//! data=%7Em%7E5%7Em%7Eburst   a real form: space is +
//! ```

use bytes::Bytes;
use bytestring::ByteString;

use crate::percent;

/// The result of looking for one field in a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The field is there.
    Value {
        /// The decoded value. If the field is repeated, this is the first value.
        value: ByteString,
        /// Whether the field came more than once.
        repeated: bool,
    },
    /// There is no such field.
    Missing,
    /// Its value is not UTF-8 once decoded.
    InvalidUtf8,
}

/// Finds the field `name` in a form body and decodes its value.
///
/// `+` is a space. A `%` that is not followed by two hexadecimal digits stands for itself, as in
/// browsers. A value that needs no decoding shares the body's buffer.
#[must_use]
pub fn field(body: &Bytes, name: &str) -> Field {
    step!(each body.len());
    let mut found = body.split(|&b| b == b'&').filter_map(|pair| {
        let mut halves = pair.splitn(2, |&b| b == b'=');
        (halves.next()? == name.as_bytes()).then(|| halves.next().unwrap_or_default())
    });
    let Some(raw) = found.next() else {
        return Field::Missing;
    };
    let value = match percent::decode(raw) {
        Some(decoded) => ByteString::try_from(decoded),
        None => ByteString::try_from(body.slice_ref(raw)),
    };
    match value {
        Ok(value) => Field::Value {
            value,
            repeated: found.next().is_some(),
        },
        Err(_) => Field::InvalidUtf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn value(body: &'static str, name: &str) -> Field {
        field(&Bytes::from_static(body.as_bytes()), name)
    }

    fn once(text: &str) -> Field {
        Field::Value {
            value: text.into(),
            repeated: false,
        }
    }

    #[test]
    fn captured_bodies() {
        for (body, text) in [
            (
                "data=~m~6~m~early1~m~14~m~~j~%7B%22early%22%3A2%7D",
                "~m~6~m~early1~m~14~m~~j~{\"early\":2}",
            ),
            ("data=%7Em%7E5%7Em%7Eburst", "~m~5~m~burst"),
            ("data=a+b%20c", "a b c"),
            ("data=", ""),
            ("data", ""),
            ("x=1&data=2&y=3", "2"),
            ("data=a=b", "a=b"),
            ("data=100%&x", "100%"),
            ("data=%zz%4", "%zz%4"),
            ("data=%E2%99%A5", "♥"),
        ] {
            assert_eq!(value(body, "data"), once(text), "{body}");
        }
    }

    #[test]
    fn the_first_of_several_counts() {
        let first = Field::Value {
            value: "1".into(),
            repeated: true,
        };
        assert_eq!(value("d=1&d=2", "d"), first);
        assert_eq!(value("", "d"), Field::Missing);
        assert_eq!(value("dd=1", "d"), Field::Missing);
        assert_eq!(value("d=%FF", "d"), Field::InvalidUtf8);
    }

    proptest! {
        #[test]
        fn never_panics(body in any::<Vec<u8>>()) {
            let _ = field(&body.into(), "");
        }
    }
}
