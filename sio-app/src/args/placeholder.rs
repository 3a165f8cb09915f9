//! Placeholders in `serde` (docs/protocol/socket-io.md §2.1).
//!
//! ```text
//! {"_placeholder":true,"num":0}
//! ```

use std::fmt;

use bytes::Bytes;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Binary;

/// A visitor for bytes: a placeholder gives it the attachment. Other JSON values that can be bytes
/// are passed to the inner visitor.
pub(super) struct BytesVisitor<'a, V> {
    pub(super) attachments: &'a [Bytes],
    pub(super) visitor: V,
}

/// What to do with bytes when they have been found.
pub(super) trait Receive<'de> {
    type Value;
    fn attachment<E: Error>(self, bytes: &Bytes) -> Result<Self::Value, E>;
    fn text<E: Error>(self, text: &str) -> Result<Self::Value, E>;
    fn seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error>;
}

/// Keeps the attachment itself, without a copy.
pub(super) struct Keep;

impl<'de> Receive<'de> for Keep {
    type Value = Bytes;

    fn attachment<E: Error>(self, bytes: &Bytes) -> Result<Bytes, E> {
        Ok(bytes.clone())
    }

    fn text<E: Error>(self, _: &str) -> Result<Bytes, E> {
        Err(E::custom("expected binary data, found a string"))
    }

    fn seq<A: SeqAccess<'de>>(self, _: A) -> Result<Bytes, A::Error> {
        Err(A::Error::custom("expected binary data, found an array"))
    }
}

impl<'de, V: Visitor<'de>> Receive<'de> for V {
    type Value = V::Value;

    fn attachment<E: Error>(self, bytes: &Bytes) -> Result<V::Value, E> {
        self.visit_bytes(bytes)
    }

    fn text<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.visit_str(text)
    }

    fn seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.visit_seq(seq)
    }
}

impl<'de, R: Receive<'de>> Visitor<'de> for BytesVisitor<'_, R> {
    type Value = R::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("binary data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<R::Value, A::Error> {
        let (mut marked, mut number) = (false, None);
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match &*key {
                "_placeholder" => marked = map.next_value()?,
                "num" => number = Some(map.next_value::<usize>()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let attachment = number
            .filter(|_| marked)
            .and_then(|number| self.attachments.get(number));
        let attachment = attachment.ok_or_else(|| A::Error::custom("expected binary data, found an object"))?;
        self.visitor.attachment(attachment)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<R::Value, E> {
        self.visitor.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<R::Value, A::Error> {
        self.visitor.seq(seq)
    }
}

/// A JSON tree that writes its attachments instead of its placeholders, so that the placeholders
/// get new numbers.
pub(super) struct Renumbered<'a> {
    pub(super) value: &'a Value,
    pub(super) attachments: &'a [Bytes],
}

impl Serialize for Renumbered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let attachments = self.attachments;
        match self.value {
            Value::Array(items) => serializer.collect_seq(items.iter().map(|value| Renumbered { value, attachments })),
            Value::Object(members) => {
                if members.get("_placeholder") == Some(&Value::Bool(true)) {
                    let number = members
                        .get("num")
                        .and_then(Value::as_u64)
                        .and_then(|n| usize::try_from(n).ok());
                    if let Some(bytes) = number.and_then(|n| attachments.get(n)) {
                        return Binary(bytes.clone()).serialize(serializer);
                    }
                }
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, &Renumbered { value, attachments })?;
                }
                map.end()
            }
            leaf => leaf.serialize(serializer),
        }
    }
}
