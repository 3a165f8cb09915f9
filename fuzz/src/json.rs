//! The JSON scanner, compared with `serde_json`.

use std::borrow::Cow;

use bytes::BytesMut;
use serde::de::IgnoredAny;
use serde_json::Value;
use sio_proto::json::{
    self, JsonError, MAX_DEPTH, elements, named_attachments, scan_array, unescape, validate, write_ascii,
    write_ascii_string, write_js_string, write_script_string, write_string,
};

/// See the [module](self).
pub fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    strings(text);

    let verdict = validate(text, MAX_DEPTH);
    if verdict != Err(JsonError::TooDeep) {
        let theirs = serde_json::from_str::<IgnoredAny>(text);
        assert_eq!(verdict.is_ok(), theirs.is_ok(), "{verdict:?}, but serde_json says {theirs:?}");
    }
    for depth in [0, 1, 3] {
        if validate(text, depth).is_ok() {
            assert_eq!(verdict, Ok(()), "a deeper limit refuses nothing more");
        }
    }
    if text.starts_with('"') && verdict.is_ok() {
        literal(text.trim_end());
    }
    let array = scan_array(text, MAX_DEPTH);
    assert_eq!(array.is_ok(), text.starts_with('[') && verdict.is_ok(), "{array:?}");
    if let Ok(array) = array {
        take_apart(text, &array);
    }
}

fn take_apart(text: &str, array: &json::Array<'_>) {
    let all: Vec<&str> = elements(array.elements).collect();
    let rest: Vec<&str> = elements(array.rest).collect();
    assert_eq!(all.first().copied().unwrap_or_default(), array.first);
    assert_eq!(all.get(1..).unwrap_or_default(), rest);
    for element in &all {
        assert_eq!(validate(element, MAX_DEPTH), Ok(()));
    }
    // Some valid JSON does not fit into `Value`: numbers outside of the range of f64, and single
    // halves of surrogate pairs.
    let Ok(Value::Array(values)) = serde_json::from_str::<Value>(text) else {
        return;
    };
    assert_eq!(values.len(), all.len());
    for attachments in [0u64, 1, 3] {
        let mut named = Vec::new();
        assert_eq!(
            named_attachments(array.elements, attachments as usize).is_ok(),
            values.iter().all(|value| in_range(value, attachments, &mut named)),
        );
    }
}

/// Computes the result of [`named_attachments`] in the simplest way. `named` collects the numbers
/// so far.
fn in_range(value: &Value, attachments: u64, named: &mut Vec<u64>) -> bool {
    let inside = match value {
        Value::Object(object) => object.values().all(|value| in_range(value, attachments, named)),
        Value::Array(values) => values.iter().all(|value| in_range(value, attachments, named)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    };
    if !inside || value.get("_placeholder") != Some(&Value::Bool(true)) {
        return inside;
    }
    let number = value.get("num").and_then(Value::as_u64);
    let fresh = number.filter(|number| *number < attachments && !named.contains(number));
    named.extend(fresh);
    fresh.is_some()
}

fn literal(literal: &str) {
    let text = unescape(literal);
    // Our scanner reads a single half of a surrogate pair as U+FFFD. `serde_json` reports an error.
    if let Ok(theirs) = serde_json::from_str::<String>(literal) {
        assert_eq!(text, Cow::<str>::Owned(theirs));
    }
}

fn strings(text: &str) {
    let _ = unescape(text);
    let _ = elements(if validate(text, MAX_DEPTH).is_ok() { text } else { "" }).count();
    for write in [write_string, write_ascii_string, write_js_string, write_script_string] {
        let mut out = BytesMut::new();
        write(&mut out, text);
        let literal = std::str::from_utf8(&out).expect("text");
        assert_eq!(serde_json::from_str::<String>(literal).as_deref().ok(), Some(text));
        assert_eq!(unescape(literal), text);
    }
    let mut out = BytesMut::new();
    write_script_string(&mut out, text);
    let script = std::str::from_utf8(&out).expect("text");
    assert!(!script.contains("</") && !script.contains("<!") && !script.contains(['\u{2028}', '\u{2029}']));
    let mut out = BytesMut::new();
    write_ascii(&mut out, text);
    assert!(out.is_ascii());
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        assert_eq!(serde_json::from_slice::<Value>(&out).ok(), Some(value), "escapes mean the same");
    }
}
