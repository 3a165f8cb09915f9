//! The two ways in which revision 3 peers encode text (docs/protocol/engine-io.md §3.3).
//!
//! Socket.IO 1.0-1.7 encodes text to UTF-8, takes each byte for a character, and has that encoded once more on its way
//! to the wire: `€` arrives as the three characters `â\u{82}¬`. Socket.IO 2 does not. Nothing announces which one
//! speaks; [`Dialect`] is how we tell. What we send should be pure ASCII, which means the same in both:
//! [`write_ascii_json`].

use core::fmt::Write as _;

use alloc::vec::Vec;
use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

/// How a revision 3 peer encodes text, as far as it is known. Kept per session by the caller.
///
/// A guess is remembered, and corrected when the peer sends a character above U+00FF, which no double-encoding peer
/// can. So the verdict also survives a peer that double-encodes on polling but not on websocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Not known yet: the first text that is not ASCII decides.
    #[default]
    Auto,
    /// Socket.IO 2 and later: text is what it says.
    Plain,
    /// Socket.IO 1.0-1.7: text is UTF-8 read as one character per byte.
    Double,
}

impl Dialect {
    /// Undoes a double encoding where there is one, and learns from the text.
    ///
    /// Decides for "double" when every character is at most U+00FF, one at least is not ASCII, and the characters
    /// taken as bytes are UTF-8. ASCII, which is all that most sessions ever send, passes without a look at anything.
    #[must_use]
    pub fn resolve(&mut self, text: ByteString) -> ByteString {
        if *self == Self::Plain || text.is_ascii() {
            return text;
        }
        match decode_twice(&text) {
            Twice::Decoded(decoded) => {
                *self = Self::Double;
                decoded
            }
            Twice::NotUtf8 => text,
            Twice::NotBytes => {
                *self = Self::Plain;
                text
            }
        }
    }
}

enum Twice {
    Decoded(ByteString),
    /// All characters could be bytes, but those bytes are not UTF-8. Proves nothing: 1.x also encodes lone surrogates.
    NotUtf8,
    /// A character above U+00FF.
    NotBytes,
}

fn decode_twice(text: &str) -> Twice {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(u32::from(c)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => return Twice::NotBytes,
        }
    }
    match ByteString::try_from(bytes) {
        Ok(decoded) => Twice::Decoded(decoded),
        Err(_) => Twice::NotUtf8,
    }
}

/// Appends `json` with every character that is not ASCII escaped as `\uXXXX`, surrogate pairs as two escapes.
///
/// The result means the same in both dialects. Only right where such characters stand inside JSON strings, as they do
/// in everything a JSON writer produces.
pub fn write_ascii_json(json: &str, out: &mut BytesMut) {
    let mut rest = json;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|b| !b.is_ascii()).unwrap_or(rest.len());
        out.put_slice(&rest.as_bytes()[..ascii]);
        let mut chars = rest[ascii..].chars();
        if let Some(c) = chars.next() {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a `BytesMut` fails only at the end of the address space.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
        rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    #[test]
    fn a_dialect_guess_follows_the_evidence() {
        for (before, text, read, after) in [
            (Dialect::Auto, "4hello", "4hello", Dialect::Auto),
            (Dialect::Auto, "4é", "4é", Dialect::Auto),
            (Dialect::Auto, "4€", "4€", Dialect::Plain),
            (Dialect::Auto, "4Ã©", "4é", Dialect::Double),
            (Dialect::Double, "4Ã©", "4é", Dialect::Double),
            (Dialect::Double, "4é", "4é", Dialect::Double),
            (Dialect::Double, "4€", "4€", Dialect::Plain),
            (Dialect::Plain, "4Ã©", "4Ã©", Dialect::Plain),
        ] {
            let mut dialect = before;
            assert_eq!(dialect.resolve(text.into()), read);
            assert_eq!(dialect, after, "{before:?} {text}");
        }
    }

    #[test]
    fn ascii_json_means_the_same() {
        let mut out = BytesMut::new();
        write_ascii_json("42[\"t\",\"é€😀x\"]", &mut out);
        assert_eq!(out, &br#"42["t","\u00e9\u20ac\ud83d\ude00x"]"#[..]);
        let text = core::str::from_utf8(&out[2..]).unwrap();
        assert_eq!(
            serde_json::from_str::<Vec<String>>(text).unwrap(),
            ["t", "é€😀x"].map(String::from)
        );
    }

    proptest! {
        #[test]
        fn a_real_double_encoding_is_undone(text in any::<String>()) {
            let doubled: String = text.bytes().map(char::from).collect();
            prop_assert_eq!(Dialect::Double.resolve(doubled.into()), text);
        }
    }
}
