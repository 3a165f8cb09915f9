//! Arguments that a program gets as JSON text. Bytes are written `{"$b": "hex"}`, at any depth.

use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, SerializeTuple, Serializer};
use serde_json::{Value, json};
use sio_app::{Binary, RawArgs};

/// A list of JSON values, each of which is one argument of an event.
#[derive(Debug)]
pub struct JsonArgs(pub Vec<Value>);

impl Serialize for JsonArgs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in &self.0 {
            tuple.serialize_element(&Plain(value))?;
        }
        tuple.end()
    }
}

impl JsonArgs {
    /// The arguments of an event.
    #[must_use]
    pub fn of(args: &RawArgs) -> Self {
        let mut values = args.values().unwrap_or_default();
        if !args.attachments().is_empty() {
            values.iter_mut().for_each(|value| put_bytes(value, args));
        }
        Self(values)
    }
}

fn put_bytes(value: &mut Value, args: &RawArgs) {
    match value {
        Value::Object(members) if members.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = members.get("num").and_then(Value::as_u64).unwrap_or(u64::MAX);
            let bytes = usize::try_from(number).ok().and_then(|at| args.attachments().get(at));
            let hex: String = bytes.into_iter().flatten().map(|byte| format!("{byte:02x}")).collect();
            *value = json!({ "$b": hex });
        }
        Value::Object(members) => members.values_mut().for_each(|value| put_bytes(value, args)),
        Value::Array(items) => items.iter_mut().for_each(|item| put_bytes(item, args)),
        _ => {}
    }
}

/// A JSON value, alone, in which `{"$b": "hex"}` stands for bytes.
#[derive(Debug)]
pub struct JsonArg(pub Value);

impl Serialize for JsonArg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Plain(&self.0).serialize(serializer)
    }
}

/// A value in which `{"$b": "hex"}` stands for bytes.
struct Plain<'a>(&'a Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) if members.len() == 1 && members.contains_key("$b") => {
                let hex = members["$b"].as_str().unwrap_or_default();
                let bytes = from_hex(hex).ok_or_else(|| S::Error::custom("not hex"))?;
                Binary::from(bytes).serialize(serializer)
            }
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, &Plain(value))?;
                }
                map.end()
            }
            Value::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    sequence.serialize_element(&Plain(item))?;
                }
                sequence.end()
            }
            other => other.serialize(serializer),
        }
    }
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
