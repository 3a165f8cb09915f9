//! Arguments of events, as people and scripts write them. Bytes are `{"$bytes": "base64"}`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::ser::{Error as _, SerializeMap as _, SerializeSeq as _, SerializeTuple as _};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use sio_tokio::{Binary, RawArgs};

/// The key of an object that stands for bytes.
const BYTES: &str = "$bytes";

/// Reads arguments: JSON values with white space between them. A word that is no JSON is a string,
/// and `hex:0102` is bytes.
///
/// # Errors
/// If the text begins like JSON, and is none.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>, String> {
    let mut values = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let word = rest.split_whitespace().next().unwrap_or_default();
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let read = stream.next();
        let end = stream.byte_offset();
        let is_whole = rest[end..].chars().next().is_none_or(char::is_whitespace);
        match read {
            Some(Ok(value)) if is_whole => {
                values.push(value);
                rest = rest[end..].trim_start();
            }
            _ if rest.starts_with(['{', '[', '"']) => return Err(format!("no JSON: {word}")),
            _ => {
                values.push(self::word(word)?);
                rest = rest[word.len()..].trim_start();
            }
        }
    }
    Ok(values)
}

fn word(word: &str) -> Result<Value, String> {
    let Some(digits) = word.strip_prefix("hex:") else {
        return Ok(Value::from(word));
    };
    let bytes = crate::explain::from_hex(digits).ok_or_else(|| format!("no hexadecimal digits: {word}"))?;
    Ok(json!({ BYTES: BASE64_STANDARD.encode(bytes) }))
}

/// Values as the arguments of an event.
pub(crate) struct Arguments(pub(crate) Vec<Value>);

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in &self.0 {
            tuple.serialize_element(&WithBytes(value))?;
        }
        tuple.end()
    }
}

struct WithBytes<'a>(&'a Value);

impl Serialize for WithBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) if members.len() == 1 && members.contains_key(BYTES) => {
                let text = members[BYTES].as_str().unwrap_or_default();
                let bytes = BASE64_STANDARD.decode(text);
                let bytes = bytes.map_err(|error| S::Error::custom(format_args!("{BYTES}: {error}")))?;
                Binary::from(bytes).serialize(serializer)
            }
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, &WithBytes(value))?;
                }
                map.end()
            }
            Value::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    sequence.serialize_element(&WithBytes(item))?;
                }
                sequence.end()
            }
            other => other.serialize(serializer),
        }
    }
}

/// The values of arguments that have come.
pub(crate) fn of(args: &RawArgs) -> Vec<Value> {
    let mut values = args.values().unwrap_or_default();
    if !args.attachments().is_empty() {
        values.iter_mut().for_each(|value| put_bytes(value, args));
    }
    values
}

fn put_bytes(value: &mut Value, args: &RawArgs) {
    match value {
        Value::Object(members) if members.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = members.get("num").and_then(Value::as_u64).unwrap_or(u64::MAX);
            let bytes = usize::try_from(number).ok().and_then(|at| args.attachments().get(at));
            let text = BASE64_STANDARD.encode(bytes.map_or(&[][..], |bytes| bytes));
            *value = json!({ BYTES: text });
        }
        Value::Object(members) => members.values_mut().for_each(|value| put_bytes(value, args)),
        Value::Array(items) => items.iter_mut().for_each(|item| put_bytes(item, args)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_as_people_write_them() {
        assert_eq!(parse("").unwrap(), Vec::<Value>::new());
        assert_eq!(
            parse(r#" "hi"  {"a": [1, 2]} 5 -1.5 null "#).unwrap(),
            [json!("hi"), json!({"a": [1, 2]}), json!(5), json!(-1.5), Value::Null]
        );
        assert_eq!(parse("hello world").unwrap(), [json!("hello"), json!("world")]);
        // A word that begins like a number or a literal is a word.
        assert_eq!(
            parse("10.0.0.1 trueish 12ab").unwrap(),
            [json!("10.0.0.1"), json!("trueish"), json!("12ab")]
        );
        assert_eq!(parse("hex:0102").unwrap(), [json!({"$bytes": "AQI="})]);
        for wrong in ["{", "[1,", "\"a", "hex:0", "{\"a\":1}x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
