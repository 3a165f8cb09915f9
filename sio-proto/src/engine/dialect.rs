//! The two ways in which revision 3 peers encode text (docs/protocol/engine-io.md §3.3).
//!
//! Socket.IO 1.0-1.7 encodes text as UTF-8, treats each byte as a character, and lets the transport
//! encode these characters once more: `€` arrives as the three characters `â\u{82}¬`. Socket.IO 2
//! encodes text once. No message announces which of the two a peer does; [`Dialect`] finds it out.
//! The text that we send should be pure ASCII, which is the same in both dialects:
//! [`write_ascii`](crate::json::write_ascii).

use alloc::vec::Vec;
use bytestring::ByteString;

/// How a revision 3 peer encodes text, as far as it is known. The caller keeps it for each session.
///
/// A guess is remembered. It is corrected when the peer sends a character above U+00FF, which a
/// double-encoding peer cannot send. So a peer that double-encodes on polling, but not on
/// websocket, is understood too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Not known yet: the first text that is not ASCII decides.
    #[default]
    Auto,
    /// Socket.IO 2 and later: text is encoded once.
    Plain,
    /// Socket.IO 1.0-1.7: text is UTF-8 read as one character per byte.
    Double,
}

impl Dialect {
    /// Undoes a double encoding if there is one, and learns from the text.
    ///
    /// The dialect becomes "double" if every character is at most U+00FF, at least one is not
    /// ASCII, and the characters taken as bytes are UTF-8. ASCII text passes without any further
    /// check, and most sessions send nothing else.
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
    /// All characters could be bytes, but these bytes are not UTF-8. This proves nothing, because
    /// 1.x also encodes lone surrogates.
    NotUtf8,
    /// A character above U+00FF.
    NotBytes,
}

fn decode_twice(text: &str) -> Twice {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        step!();
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

    proptest! {
        #[test]
        fn a_real_double_encoding_is_undone(text in any::<String>()) {
            let doubled: String = text.bytes().map(char::from).collect();
            prop_assert_eq!(Dialect::Double.resolve(doubled.into()), text);
        }
    }
}
