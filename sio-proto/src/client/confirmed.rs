//! The member `sio.confirmed` of a CONNECT of a server (docs/protocol/extensions.md §2).

use core::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// How many events a server says to have had. What stands there and is no number is looked at, and
/// not kept: values take many times the bytes of their text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Confirmed {
    #[default]
    Nothing,
    Events(u64),
    Other,
}

impl Confirmed {
    pub(super) const fn events(&self) -> Option<u64> {
        match self {
            Self::Events(events) => Some(*events),
            Self::Nothing | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Confirmed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Confirmed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_unit<E>(self) -> Result<Confirmed, E> {
        Ok(Confirmed::Nothing)
    }

    fn visit_u64<E>(self, events: u64) -> Result<Confirmed, E> {
        Ok(Confirmed::Events(events))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Confirmed, E> {
        Ok(Confirmed::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Confirmed, E> {
        Ok(Confirmed::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Confirmed, E> {
        Ok(Confirmed::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Confirmed, E> {
        Ok(Confirmed::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Confirmed, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Confirmed::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Confirmed, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Confirmed::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_and_anything_else_is_no_number() {
        for (text, expected) in [
            ("null", Confirmed::Nothing),
            ("0", Confirmed::Events(0)),
            ("18446744073709551615", Confirmed::Events(u64::MAX)),
            ("18446744073709551616", Confirmed::Other),
            ("-1", Confirmed::Other),
            ("1.0", Confirmed::Other),
            ("true", Confirmed::Other),
            ("\"1\"", Confirmed::Other),
            ("\"\\u0031\"", Confirmed::Other),
            ("[1,[{\"a\":2}]]", Confirmed::Other),
            ("{\"a\":[1],\"b\":{}}", Confirmed::Other),
        ] {
            assert_eq!(serde_json::from_str::<Confirmed>(text).unwrap(), expected, "{text}");
        }
        serde_json::from_str::<Confirmed>("[1").unwrap_err();
    }
}
