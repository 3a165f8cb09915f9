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
