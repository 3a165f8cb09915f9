//! What a server says of a namespace, as text: the payload of a CONNECT from a server of revision
//! 5, that of a CONNECT_ERROR, and the offset behind the arguments of an event.
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

use alloc::string::String;

use bytestring::ByteString;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Number;

use super::event::{ClientError, ErrorClass};
use super::protocol::Protocol;
use super::session::MAX_REFUSAL_BYTES;
use crate::engine::Revision;
use crate::json;
use crate::socket::Args;

/// What a server says when it lets a client in, or confirms events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Welcome {
    pub(super) sid: Option<String>,
    pub(super) pid: Option<String>,
    pub(super) confirmed: Confirmed,
}

/// How many events a server says to have had, in the member `sio.confirmed`
/// (docs/protocol/extensions.md §2).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Confirmed {
    Nothing,
    Events(u64),
    /// Something that is no such number.
    Other,
}

#[derive(Deserialize)]
struct Members<C> {
    sid: Option<String>,
    pid: Option<String>,
    #[serde(rename = "sio.confirmed")]
    confirmed: Option<C>,
}

impl Welcome {
    /// Reads the payload. `None` if it is no object (or list of these three), or a member has
    /// another type.
    pub(super) fn read(payload: &str) -> Option<Self> {
        step!(bulk payload.len());
        if let Ok(Members { sid, pid, confirmed }) = serde_json::from_str::<Members<Number>>(payload) {
            let confirmed = match confirmed.map(|number| number.as_u64()) {
                None => Confirmed::Nothing,
                Some(Some(events)) => Confirmed::Events(events),
                Some(None) => Confirmed::Other,
            };
            return Some(Self { sid, pid, confirmed });
        }
        // What is no number is passed over and not kept: values take many times the bytes of their
        // text.
        step!(bulk payload.len());
        let Members { sid, pid, confirmed } = serde_json::from_str::<Members<IgnoredAny>>(payload).ok()?;
        let confirmed = confirmed.map_or(Confirmed::Nothing, |_| Confirmed::Other);
        Some(Self { sid, pid, confirmed })
    }
}

impl Confirmed {
    pub(super) const fn events(&self) -> Option<u64> {
        match self {
            Self::Events(events) => Some(*events),
            Self::Nothing | Self::Other => None,
        }
    }
}

/// The longest id of a socket, and the longest `pid` and offset that are kept. The last two are
/// sent back in each CONNECT.
pub(super) const MAX_ID_BYTES: usize = 256;

/// The last argument, if it is a string (docs/protocol/socket-io.md §6).
pub(super) fn offset_of(args: &Args) -> Option<ByteString> {
    if !args.json.ends_with('"') {
        return None;
    }
    let last = args.iter().last()?;
    let is_offset = last.starts_with('"') && last.len() <= MAX_ID_BYTES;
    is_offset.then(|| ByteString::from(&*json::unescape(last)))
}

/// What a CONNECT_ERROR says.
pub(super) fn refusal_of(payload: &ByteString, protocol: Protocol) -> ClientError {
    // Values take many times the bytes of their text.
    if payload.len() > MAX_REFUSAL_BYTES {
        return ClientError::new(
            ErrorClass::Refused,
            "the server refused the namespace, and its reason is too long",
        );
    }
    step!(bulk payload.len());
    // The client may keep it until the next attempt, and the read buffer must not stay with it.
    let whole = || Some(ByteString::from(&**payload));
    let mut error = ClientError::new(ErrorClass::Refused, "");
    match serde_json::from_str::<serde_json::Value>(payload) {
        Ok(serde_json::Value::String(message)) => {
            error.message = message.into();
            error.data = whole().filter(|_| protocol == Protocol::Engine(Revision::V3));
        }
        Ok(serde_json::Value::Object(object)) => {
            let message = object.get("message").and_then(|message| message.as_str());
            error.message = message.unwrap_or_default().into();
            error.data = match protocol {
                Protocol::Engine(Revision::V3) => whole(),
                _ => object.get("data").map(|data| alloc::format!("{data}").into()),
            };
        }
        _ => error.data = whole(),
    }
    error
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
            ("1e999", Confirmed::Other),
            ("true", Confirmed::Other),
            ("\"1\"", Confirmed::Other),
            ("\"\\u0031\"", Confirmed::Other),
            ("[1,[{\"a\":2}]]", Confirmed::Other),
            ("{\"a\":[1],\"b\":{}}", Confirmed::Other),
        ] {
            let payload = alloc::format!("{{\"sid\":\"s\",\"sio.confirmed\":{text}}}");
            let welcome = Welcome::read(&payload).unwrap();
            assert_eq!(
                (welcome.sid.as_deref(), welcome.confirmed),
                (Some("s"), expected),
                "{text}"
            );
        }
        let alone = Welcome::read("{}").unwrap();
        assert_eq!(
            (alone.sid, alone.pid, alone.confirmed),
            (None, None, Confirmed::Nothing)
        );
        for payload in ["{\"sio.confirmed\":[1}", "{\"sid\":1}", "[1,2", "\"\""] {
            assert_eq!(Welcome::read(payload), None, "{payload}");
        }
    }
}
