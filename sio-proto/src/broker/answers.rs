//! What an answer means for the request that was asked.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use alloc::vec::Vec;

use super::command::{Answer, Entry, Request};
use crate::resp::Value;

/// What a reply means for its request.
pub(super) fn answer(request: &Request, reply: Value) -> Option<Answer> {
    match (request, reply) {
        (Request::AddEntry { .. }, Value::Text(id)) => Some(Answer::Added(id)),
        (Request::Range { .. } | Request::RangeBack { .. }, Value::List(items)) => {
            let entries: Option<Vec<Entry>> = items.into_iter().map(entry).collect();
            entries.map(Answer::Entries)
        }
        (Request::Set { .. }, Value::Text(_)) => Some(Answer::Done),
        (
            Request::Set {
                only_if_there: true, ..
            },
            Value::Null,
        ) => Some(Answer::Value(None)),
        (Request::Delete { .. } | Request::Length { .. }, Value::Integer(count)) => {
            u64::try_from(count).ok().map(Answer::Count)
        }
        (Request::Take { .. }, Value::List(items)) => match items.into_iter().next()? {
            Value::Text(value) => Some(Answer::Value(Some(value))),
            Value::Null => Some(Answer::Value(None)),
            _ => None,
        },
        _ => None,
    }
}

/// Reads `[id, [name, value, ..]]`. An entry that was deleted meanwhile has nothing in place of its
/// fields.
pub(super) fn entry(value: Value) -> Option<Entry> {
    let Value::List(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let (Value::Text(id), fields) = (parts.next()?, parts.next()?) else {
        return None;
    };
    let fields = match fields {
        Value::List(fields) | Value::Map(fields) => fields,
        Value::Null => Vec::new(),
        _ => return None,
    };
    let (mut pairs, mut fields) = (Vec::with_capacity(fields.len() / 2), fields.into_iter());
    while let Some(name) = fields.next() {
        match (name, fields.next()) {
            (Value::Text(name), Some(Value::Text(value))) => pairs.push((name, value)),
            _ => return None,
        }
    }
    Some(Entry { id, fields: pairs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    use bytes::Bytes;

    fn text(words: &'static str) -> Value {
        Value::Text(Bytes::from_static(words.as_bytes()))
    }

    /// An entry has an id and an even number of texts, or nothing instead of them.
    #[test]
    fn entries_have_an_id_and_pairs() {
        let read = |parts: Vec<Value>| entry(Value::List(parts)).map(|entry| entry.fields.len());
        assert_eq!(read(vec![text("1-0"), Value::Null]), Some(0));
        assert_eq!(
            read(vec![text("1-0"), Value::List(vec![text("a"), text("b")])]),
            Some(1)
        );
        assert_eq!(read(vec![text("1-0"), Value::Map(vec![text("a"), text("b")])]), Some(1));
        for wrong in [
            vec![],
            vec![text("1-0")],
            vec![Value::Integer(1), Value::Null],
            vec![text("1-0"), Value::Integer(1)],
            vec![text("1-0"), Value::List(vec![text("a")])],
            vec![text("1-0"), Value::List(vec![text("a"), Value::Null])],
            vec![text("1-0"), Value::List(vec![Value::Integer(1), text("b")])],
        ] {
            assert_eq!(read(wrong.clone()), None, "{wrong:?}");
        }
        assert!(entry(text("1-0")).is_none());
    }

    /// An answer of another form than its request has is none.
    #[test]
    fn answers_have_the_form_of_their_request() {
        let take = Request::Take { key: Bytes::new() };
        let taken = |items| answer(&take, Value::List(items));
        assert!(matches!(taken(vec![text("x")]), Some(Answer::Value(Some(_)))));
        assert!(matches!(taken(vec![Value::Null]), Some(Answer::Value(None))));
        assert!(taken(vec![]).is_none());
        assert!(taken(vec![Value::Integer(1)]).is_none());
        assert!(answer(&take, text("x")).is_none());
        let length = Request::Length { stream: Bytes::new() };
        assert!(matches!(answer(&length, Value::Integer(3)), Some(Answer::Count(3))));
        assert!(answer(&length, Value::Integer(-1)).is_none());
    }
}
