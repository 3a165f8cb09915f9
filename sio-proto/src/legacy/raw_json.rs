//! JSON values as slices of their text: found and checked, but not built.
//!
//! `serde_json` knows the grammar. This module only asks it where a value ends.

use alloc::string::String;

use serde::de::IgnoredAny;
use serde_json::Deserializer;

/// Whether `text` is one JSON value and nothing else.
pub(super) fn is_value(text: &str) -> bool {
    step!(each text.len());
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Whether `text` is one JSON array and nothing else.
pub(super) fn is_array(text: &str) -> bool {
    text.trim_start().starts_with('[') && is_value(text)
}

/// Calls `element` with every element of the array `text`, in order. `None` if `text` is no array;
/// `element` has then been called for the elements before the bad place.
pub(super) fn each_element<'a>(text: &'a str, mut element: impl FnMut(&'a str)) -> Option<()> {
    let mut rest = skip(text).strip_prefix('[')?;
    if let Some(after) = skip(rest).strip_prefix(']') {
        return skip(after).is_empty().then_some(());
    }
    loop {
        let (value, after) = split_value(rest)?;
        element(value);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return skip(after.strip_prefix(']')?).is_empty().then_some(()),
        }
    }
}

/// Calls `member` with key and value of every member of the object `text`, in order. `None` if
/// `text` is no object; `member` has then been called for the members before the bad place.
pub(super) fn each_member<'a>(text: &'a str, mut member: impl FnMut(&str, &'a str)) -> Option<()> {
    let mut rest = skip(text).strip_prefix('{')?;
    if let Some(after) = skip(rest).strip_prefix('}') {
        return skip(after).is_empty().then_some(());
    }
    loop {
        let (key, after) = split_value(rest)?;
        let (value, after) = split_value(after.strip_prefix(':')?)?;
        match plain_string(key) {
            Some(key) => member(key, value),
            None => member(&serde_json::from_str::<String>(key).ok()?, value),
        }
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return skip(after.strip_prefix('}')?).is_empty().then_some(()),
        }
    }
}

/// The text of a JSON string that has no escapes; `None` for any other value. `value` must be valid
/// JSON.
pub(super) fn plain_string(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains('\\')).then_some(inner)
}

/// The first value of `text`, without the whitespace around it, and the text behind this
/// whitespace.
fn split_value(text: &str) -> Option<(&str, &str)> {
    let text = skip(text);
    let mut values = Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (value, after) = text.split_at_checked(values.byte_offset())?;
    step!(each value.len().saturating_add(1));
    Some((value, skip(after)))
}

/// The text without JSON whitespace at its start.
fn skip(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned as _;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn elements(text: &str) -> Option<Vec<&str>> {
        let mut found = Vec::new();
        each_element(text, |value| found.push(value)).map(|()| found)
    }

    fn members(text: &str) -> Option<Vec<(String, &str)>> {
        let mut found = Vec::new();
        each_member(text, |key, value| found.push((key.to_owned(), value))).map(|()| found)
    }

    #[test]
    fn arrays() {
        for (text, expected) in [
            ("[]", Some(&[][..])),
            (" [ ] ", Some(&[])),
            ("[1]", Some(&["1"])),
            (
                r#" [1 , "a,]" ,{"b":[2]},null,-1.5e3]"#,
                Some(&["1", "\"a,]\"", "{\"b\":[2]}", "null", "-1.5e3"]),
            ),
            ("[1,]", None),
            ("[,1]", None),
            ("[1 2]", None),
            ("[1", None),
            ("[1]x", None),
            ("[tru]", None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(elements(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn objects() {
        let found = members(r#" { "name" : "n" , "\u0061rgs":[1,2] } "#).unwrap();
        assert_eq!(found, [("name".to_owned(), "\"n\""), ("args".to_owned(), "[1,2]")]);
        assert_eq!(members("{}").unwrap(), []);
        for text in [
            "",
            "[]",
            "{1:2}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1}}",
            "{\"a\":1 \"b\":2}",
            "{bad",
        ] {
            assert_eq!(members(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{},: "a1\\]{0,12}"#) {
            let parsed = serde_json::from_str::<serde_json::Value>(&text).ok();
            let array = parsed.as_ref().and_then(|v| v.as_array());
            prop_assert_eq!(elements(&text).map(|e| e.len()), array.map(Vec::len));
            prop_assert_eq!(members(&text).is_some(), parsed.is_some_and(|v| v.is_object()));
        }
    }
}
