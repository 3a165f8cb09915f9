//! The JSON envelope of Socket.IO 0.3-0.4 (docs/protocol/legacy-0.6.md §15).
//!
//! ```text
//! server to client   {"messages":[M1,M2]}        client to server   [M1,M2]
//!                    {"heartbeat":"1"}
//! first payload      {"messages":["{\"sessionid\":\"12345\"}"]}
//! ```
//!
//! A message is any JSON value. URLs and transports are those of the 0.6 family, without
//! jsonp-polling. This module holds the differences: the heartbeats of the streaming transports,
//! and the htmlfile chunk, which holds the object itself and not a string.

use alloc::vec::Vec;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::raw_json;
use crate::digits::put_decimal;
use crate::json;

/// The heartbeat of an htmlfile stream, sent every 5 s.
pub const HTMLFILE_HEARTBEAT: &str = "<!-- heartbeat -->";

/// The heartbeat of an xhr-multipart stream, sent every 5 s: a part with the single byte 0x06, and
/// the boundary.
pub const MULTIPART_HEARTBEAT: &[u8] = b"Content-Type: text/plain; charset=us-ascii\n\n\x06\n--socketio\n";

/// The beginning of a payload of messages.
pub(crate) const MESSAGES_BEFORE: &[u8] = b"{\"messages\":[";

/// The end of a payload of messages.
pub(crate) const MESSAGES_AFTER: &[u8] = b"]}";

const HEARTBEAT_BEFORE: &str = "{\"heartbeat\":\"";

/// Why a payload is no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The payload is not the JSON that is expected.
    #[error("invalid JSON envelope")]
    Invalid,
    /// There are more messages than the caller allows.
    #[error("too many messages in one payload")]
    TooManyMessages,
}

/// The content of one payload for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromServer {
    /// Messages, each a JSON value.
    Messages(Vec<ByteString>),
    /// A heartbeat. The genuine client ignores it.
    Heartbeat,
    /// An object that has neither messages nor a heartbeat. The genuine client ignores it.
    Other,
}

/// Reads the payload of a client: an array of at most `max_messages` messages, each a JSON value.
///
/// # Errors
///
/// The payload is bad. Nothing of it is used: `messages` does not change.
pub fn decode_from_client(
    payload: &ByteString,
    max_messages: usize,
    messages: &mut Vec<ByteString>,
) -> Result<(), EnvelopeError> {
    let start = messages.len();
    let mut over = false;
    let array = raw_json::each_element(payload, |message| {
        over |= messages.len().saturating_sub(start) >= max_messages;
        if !over {
            messages.push(payload.slice_ref(message));
        }
    });
    let verdict = match (array, over) {
        (_, true) => Err(EnvelopeError::TooManyMessages),
        (None, false) => Err(EnvelopeError::Invalid),
        (Some(()), false) => return Ok(()),
    };
    messages.truncate(start);
    verdict
}

/// Reads the payload of a server, with at most `max_messages` messages.
///
/// # Errors
///
/// The payload is no JSON object, or its `messages` are no array.
pub fn decode_from_server(payload: &ByteString, max_messages: usize) -> Result<FromServer, EnvelopeError> {
    let (mut list, mut heartbeat) = (None, false);
    raw_json::each_member(payload, |key, value| match key {
        "messages" => list = Some(value),
        "heartbeat" => heartbeat = true,
        _ => {}
    })
    .ok_or(EnvelopeError::Invalid)?;
    match list {
        Some(list) => {
            let mut messages = Vec::new();
            decode_from_client(&payload.slice_ref(list), max_messages, &mut messages)?;
            Ok(FromServer::Messages(messages))
        }
        None if heartbeat => Ok(FromServer::Heartbeat),
        None => Ok(FromServer::Other),
    }
}

/// The session id, if `message` carries it. Such a message is a string that is itself JSON.
#[must_use]
pub fn session_id(message: &str) -> Option<ByteString> {
    let inner = serde_json::from_str::<alloc::string::String>(message).ok()?;
    let mut sid = None;
    raw_json::each_member(&inner, |key, value| {
        if key == "sessionid" {
            sid = raw_json::plain_string(value).map(ByteString::from);
        }
    })?;
    sid
}

/// Appends the payload of a server: messages, each a JSON value.
pub fn write_messages<'a>(messages: impl IntoIterator<Item = &'a str>, out: &mut BytesMut) {
    out.put_slice(b"{\"messages\":");
    write_array(messages, out);
    out.put_u8(b'}');
}

/// Appends the payload of a client: messages, each a JSON value.
pub fn write_array<'a>(messages: impl IntoIterator<Item = &'a str>, out: &mut BytesMut) {
    out.put_u8(b'[');
    for (n, message) in messages.into_iter().enumerate() {
        step!(bulk message.len());
        debug_assert!(raw_json::is_value(message), "a message is a JSON value");
        if n > 0 {
            out.put_u8(b',');
        }
        out.put_slice(message.as_bytes());
    }
    out.put_u8(b']');
}

/// Appends the first payload of a session.
pub fn write_session_id(sid: &str, out: &mut BytesMut) {
    let mut inner = BytesMut::new();
    inner.put_slice(b"{\"sessionid\":");
    json::write_string(&mut inner, sid);
    inner.put_u8(b'}');
    out.put_slice(MESSAGES_BEFORE);
    // A literal around a `str` is UTF-8.
    json::write_string(out, core::str::from_utf8(&inner).unwrap_or_default());
    out.put_slice(MESSAGES_AFTER);
}

/// Appends the heartbeat of websocket, which is sent every 10 s.
pub fn write_heartbeat(number: u64, out: &mut BytesMut) {
    out.put_slice(HEARTBEAT_BEFORE.as_bytes());
    put_decimal(number, out);
    out.put_slice(b"\"}");
}

/// Whether a payload that this module wrote is a heartbeat.
pub(crate) fn is_heartbeat(payload: &str) -> bool {
    payload.starts_with(HEARTBEAT_BEFORE)
}

/// Appends the htmlfile chunk that carries `payload`, the object itself. In JSON, `<` stands only
/// inside strings. It is escaped there, so that no message can end the script. U+2028 and U+2029
/// are escaped too.
pub fn write_htmlfile(payload: &str, out: &mut BytesMut) {
    step!(bulk payload.len());
    out.reserve(payload.len().saturating_add(48));
    out.put_slice(b"<script>parent.s._(");
    let mut rest = payload;
    let next = |rest: &str| rest.find(['<', '\u{2028}', '\u{2029}']);
    while let Some((before, special)) = next(rest).and_then(|at| rest.split_at_checked(at)) {
        out.put_slice(before.as_bytes());
        let mut behind = special.chars();
        out.put_slice(match behind.next() {
            Some('<') => b"\\u003c",
            Some('\u{2028}') => b"\\u2028",
            _ => b"\\u2029",
        });
        rest = behind.as_str();
    }
    out.put_slice(rest.as_bytes());
    out.put_slice(b", document);</script>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> ByteString {
        let mut out = BytesMut::new();
        write(&mut out);
        ByteString::try_from(out).unwrap()
    }

    fn from_client(payload: &str) -> Result<Vec<ByteString>, EnvelopeError> {
        let mut messages = Vec::new();
        decode_from_client(&payload.into(), 3, &mut messages).map(|()| messages)
    }

    #[test]
    fn captured_payloads() {
        assert_eq!(
            written(|out| write_session_id("12345", out)),
            "{\"messages\":[\"{\\\"sessionid\\\":\\\"12345\\\"}\"]}"
        );
        assert_eq!(written(|out| write_heartbeat(1, out)), "{\"heartbeat\":\"1\"}");
        for (messages, payload) in [
            (&["\"early\""][..], "{\"messages\":[\"early\"]}"),
            (&["\"hé♥😀\""], "{\"messages\":[\"hé♥😀\"]}"),
            (&["{\"a\":1}"], "{\"messages\":[{\"a\":1}]}"),
            (&["\"x\"", "{\"a\":1}"], "{\"messages\":[\"x\",{\"a\":1}]}"),
            (&[], "{\"messages\":[]}"),
        ] {
            assert_eq!(written(|out| write_messages(messages.iter().copied(), out)), payload);
            let expected = messages.iter().map(|&m| m.into()).collect();
            assert_eq!(
                decode_from_server(&payload.into(), 3),
                Ok(FromServer::Messages(expected))
            );
        }
        let first = "{\"messages\":[\"{\\\"sessionid\\\":\\\"12345\\\"}\",\"welcome\"]}";
        let Ok(FromServer::Messages(messages)) = decode_from_server(&first.into(), 3) else {
            panic!("messages")
        };
        assert_eq!(session_id(&messages[0]), Some("12345".into()));
        assert_eq!(session_id(&messages[1]), None);
        assert_eq!(
            decode_from_server(&"{\"heartbeat\":\"1\"}".into(), 3),
            Ok(FromServer::Heartbeat)
        );
        assert_eq!(decode_from_server(&"{}".into(), 3), Ok(FromServer::Other));
    }

    #[test]
    fn what_clients_send() {
        assert_eq!(from_client("[\"hi\"]").unwrap(), ["\"hi\""]);
        assert_eq!(from_client("[{\"a\":1}]").unwrap(), ["{\"a\":1}"]);
        assert_eq!(from_client("[]").unwrap(), [""; 0]);
        assert_eq!(from_client("[1,2,3,4]"), Err(EnvelopeError::TooManyMessages));
        for payload in ["", "{}", "[1,", "~m~1~m~x", "\"hi\""] {
            assert_eq!(from_client(payload), Err(EnvelopeError::Invalid), "{payload}");
        }
        let array = written(|out| write_array(["\"hi\"", "null"], out));
        assert_eq!(array, "[\"hi\",null]");
    }

    #[test]
    fn bad_envelopes_from_a_server() {
        for payload in ["", "[]", "{\"messages\":1}", "{\"messages\":[1}", "x"] {
            assert_eq!(decode_from_server(&payload.into(), 3), Err(EnvelopeError::Invalid));
        }
    }

    #[test]
    fn htmlfile_chunks_hold_the_object() {
        assert_eq!(
            written(|out| write_htmlfile("{\"messages\":[\"x\"]}", out)),
            "<script>parent.s._({\"messages\":[\"x\"]}, document);</script>"
        );
        assert_eq!(
            written(|out| write_htmlfile("[\"</script>\u{2028}\u{2029}\"]", out)),
            "<script>parent.s._([\"\\u003c/script>\\u2028\\u2029\"], document);</script>"
        );
    }

    proptest! {
        #[test]
        fn round_trip(texts in prop::collection::vec(any::<String>(), 0..4)) {
            let messages: Vec<_> = texts.iter().map(|t| serde_json::to_string(t).unwrap()).collect();
            let payload = written(|out| write_array(messages.iter().map(String::as_str), out));
            let mut read = Vec::new();
            prop_assert_eq!(decode_from_client(&payload, 4, &mut read), Ok(()));
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn never_panics(payload in any::<String>()) {
            let _ = from_client(&payload);
            let _ = decode_from_server(&payload.as_str().into(), 3);
            let _ = session_id(&payload);
        }
    }
}
