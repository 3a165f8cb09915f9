//! Query strings: `key=value&key=value`, percent-encoded, `+` for a blank.
//!
//! The rules are those of the URL standard (`URLSearchParams`). Pieces are split at `&`, and empty
//! pieces are skipped. A key ends at the first `=`. A `%` that is not followed by two hexadecimal
//! digits stays as it is. Decoded bytes that are not UTF-8 become U+FFFD. If a key is repeated,
//! **the last value wins** (docs/protocol/engine-io.md §1). Form bodies have their own rules, see
//! [`legacy::form`](crate::legacy::form).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytestring::ByteString;

use crate::percent;

/// A query string, decoded as it is read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query {
    raw: ByteString,
}

impl Query {
    /// Pairs beyond this number are ignored. Node has the same limit.
    pub const MAX_PAIRS: usize = 1000;

    /// A query from its raw text, without the `?`.
    #[must_use]
    pub fn new(raw: impl Into<ByteString>) -> Self {
        Self { raw: raw.into() }
    }

    /// The raw text.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// All pairs, in order, decoded. Text without escapes is borrowed.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        Self::pairs(&self.raw)
    }

    /// All pairs of a raw query, as in [`Query::iter`], without a copy of the query.
    pub(crate) fn pairs(raw: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        raw_pairs(raw).map(|(key, value)| (decode(key), decode(value)))
    }

    /// The value of the last pair with this key, as [`Query::iter`] shows keys.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        // A key whose bytes are not UTF-8 has this character, so only such a key costs a copy.
        let is_replaced = key.contains(char::REPLACEMENT_CHARACTER);
        raw_pairs(&self.raw)
            .filter(|(other, _)| percent::stands_for(other.as_bytes(), key) || is_replaced && decode(other) == key)
            .last()
            .map(|(_, value)| decode(value))
    }
}

fn raw_pairs(raw: &str) -> impl Iterator<Item = (&str, &str)> {
    step!(each raw.len());
    raw.split('&')
        .filter(|piece| !piece.is_empty())
        .take(Query::MAX_PAIRS)
        .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
}

impl fmt::Debug for Query {
    /// Shows keys only: values may be session ids and tokens, which do not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(key, _)| key)).finish()
    }
}

/// The decoded text of a key or a value.
pub(crate) fn decode(encoded: &str) -> Cow<'_, str> {
    match percent::decode(encoded.as_bytes()) {
        Some(bytes) => Cow::Owned(text(bytes)),
        None => Cow::Borrowed(encoded),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_decoded() {
        for (raw, pairs) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a", &[("a", "")]),
            ("a=", &[("a", "")]),
            ("=a", &[("", "a")]),
            ("=", &[("", "")]),
            ("a=b=c&d", &[("a", "b=c"), ("d", "")]),
            (
                "EIO=4&transport=polling&t=PSx",
                &[("EIO", "4"), ("transport", "polling"), ("t", "PSx")],
            ),
            ("a+b=c+d%2B%20e", &[("a b", "c d+ e")]),
            ("%61=%C3%A9&é=é", &[("a", "é"), ("é", "é")]),
            (
                "a=%&b=%4&c=%zz&d=%%41&e=%4%31",
                &[("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "%A"), ("e", "%41")],
            ),
            (
                "a=%FF&b=%C3&c=%00",
                &[("a", "\u{fffd}"), ("b", "\u{fffd}"), ("c", "\0")],
            ),
            ("a=%26%3D&__proto__=x", &[("a", "&="), ("__proto__", "x")]),
            ("a=%é", &[("a", "%é")]),
            ("a=%+1", &[("a", "% 1")]),
        ] {
            let query = Query::new(raw);
            let seen: Vec<_> = query.iter().collect();
            let seen: Vec<_> = seen.iter().map(|(key, value)| (&**key, &**value)).collect();
            assert_eq!(seen, pairs, "{raw}");
        }
    }

    #[test]
    fn the_last_one_wins() {
        let query = Query::new("sid=a&x=1&s%69d=b+c&sid2=d");
        assert_eq!(query.get("sid").unwrap(), "b c");
        assert_eq!(query.get("x").unwrap(), "1");
        for absent in ["", "si", "SID", "s%69d", "constructor"] {
            assert_eq!(query.get(absent), None, "{absent}");
        }
        assert!(matches!(query.get("x"), Some(Cow::Borrowed(_))), "no escape, no copy");
        assert_eq!(format!("{query:?}"), r#"["sid", "x", "sid", "sid2"]"#);
    }

    /// A key is found under the text that is shown of it, also if its bytes are not UTF-8.
    #[test]
    fn keys_that_are_not_utf8_are_found_as_they_are_shown() {
        for (raw, key) in [
            ("%E5=a", "\u{fffd}"),
            ("%C3%28%FF=a", "\u{fffd}(\u{fffd}"),
            ("%EF%BF%BD=a", "\u{fffd}"),
        ] {
            let query = Query::new(raw);
            assert_eq!(query.iter().next().unwrap().0, key);
            assert_eq!(query.get(key).unwrap(), "a", "{raw}");
        }
        assert_eq!(
            Query::new("%E5=a&%FF=b").get("\u{fffd}").unwrap(),
            "b",
            "the last one wins"
        );
        assert_eq!(Query::new("%E5=a").get("\u{fffd}b"), None);
    }

    #[test]
    fn pairs_are_limited() {
        let query = Query::new("a&".repeat(Query::MAX_PAIRS) + "b=1");
        assert_eq!(query.iter().count(), Query::MAX_PAIRS);
        assert_eq!(query.get("b"), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(key in "\\PC{1,10}", value in "\\PC{0,30}") {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let raw = format!("{}={}", encode(&key), encode(&value));
            let query = Query::new(raw.as_str());
            prop_assert_eq!(query.get(&key).unwrap(), value.as_str());
        }

        #[test]
        fn both_ways_to_read_agree(raw in "[%+=&0-9a-fA-Fé\u{fffd}]{0,40}") {
            let query = Query::new(raw.as_str());
            let pairs: Vec<_> = query.iter().collect();
            for (key, _) in &pairs {
                let last = pairs.iter().rev().find(|(other, _)| other == key).map(|(_, value)| value);
                let got = query.get(key);
                prop_assert_eq!(got.as_ref(), last);
            }
        }
    }
}
