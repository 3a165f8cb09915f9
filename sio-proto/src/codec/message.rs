//! A wire for the plain-message transports: what stands in the payloads of
//! `/socket.io/<transport>/…`.
//!
//! ```text
//!                  encode_session_id, encode_messages, encode_heartbeat
//!   session ────────────────────────────────────────────────────────────► payloads ─► join ─► wrap_* ─► client
//!   session ◄──────────── MessageDecoder::decode ◄─── payloads ◄──────────────────────────────────────── client
//! ```
//! URLs, sessions, heartbeats' times, resuming and limits are the server's
//! (docs/protocol/legacy-0.6.md §3-§10); a codec says what the bytes are.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::ops::Deref;
use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use crate::detect::Transport;
use crate::json;
use crate::legacy::transports::{self, Family};
use crate::socket::Args;

/// A wire of plain messages: what stands in the payloads of `/socket.io/<transport>/…`.
///
/// What is written is text: UTF-8, whatever the transport. A codec is called from any thread,
/// sometimes while a shard is locked, and always with everything it needs: it must neither wait nor
/// call back. A decoder belongs to its session, and is dropped with it while a shard is locked.
///
/// # A codec of one's own
///
/// Three things have to be written and one to be read; all else has a default.
///
/// ```
/// use sio_proto::codec::{MessageCodec, MessageDecoder, MessageLimits, PayloadError, PlainMessage, Received};
/// use sio_proto::{ByteString, BytesMut, Config};
///
/// /// One line a message: `id …`, `beat …`, or a JSON value.
/// struct Lines;
///
/// impl MessageCodec for Lines {
///     fn name(&self) -> &'static str {
///         "lines"
///     }
///     fn encode_session_id(&self, sid: &str, out: &mut BytesMut) {
///         out.extend_from_slice(format!("id {sid}\n").as_bytes());
///     }
///     fn encode_heartbeat(&self, number: u32, out: &mut BytesMut) {
///         out.extend_from_slice(format!("beat {number}\n").as_bytes());
///     }
///     fn encode_messages(&self, messages: &[PlainMessage<'_>], out: &mut BytesMut) {
///         for message in messages {
///             out.extend_from_slice(format!("{}\n", message.json()).as_bytes());
///         }
///     }
///     fn decoder(&self, _: MessageLimits) -> Box<dyn MessageDecoder> {
///         Box::new(Self)
///     }
/// }
///
/// impl MessageDecoder for Lines {
///     fn decode(&mut self, payload: &ByteString, _: bool, out: &mut Vec<Received>) -> Result<(), PayloadError> {
///         out.extend(payload.lines().map(|line| match line.strip_prefix("beat ") {
///             Some(number) => Received::Heartbeat(payload.slice_ref(number)),
///             None => Received::Json(payload.slice_ref(line)),
///         }));
///         Ok(())
///     }
/// }
///
/// let mut config = Config::default();
/// config.legacy06 = config.legacy06.mount("/lines", Lines); // beside `~m~` under /socket.io
/// ```
pub trait MessageCodec: Send + Sync {
    /// What people call it, in logs and diagnoses.
    fn name(&self) -> &'static str;

    /// Appends the payload that a session begins with. Nothing goes before it, and in a poll
    /// nothing goes with it.
    fn encode_session_id(&self, sid: &str, out: &mut BytesMut);

    /// Appends the payload that is this heartbeat. It is not called for transports without
    /// heartbeats.
    fn encode_heartbeat(&self, number: u32, out: &mut BytesMut);

    /// Appends one payload that holds these messages, in order. There is nearly always one.
    fn encode_messages(&self, messages: &[PlainMessage<'_>], out: &mut BytesMut);

    /// Appends the payload of an event that is not just a message: one with a name of its own, or
    /// with attachments.
    ///
    /// By default it is the JSON message `{"event":NAME,"args":[…]}`, with
    /// `"attachments":[base64,…]` if there are any.
    fn encode_event(&self, event: &PlainEvent<'_>, out: &mut BytesMut) {
        self.encode_messages(&[PlainMessage::new(&event.to_json())], out);
    }

    /// Appends what tells a client that the server ends the session. By default nothing: the
    /// transport ends.
    fn encode_goodbye(&self, out: &mut BytesMut) {
        let _ = out;
    }

    /// Makes the reader of one session's payloads. It must keep to `limits`; the server looks at
    /// what it holds back after each payload and ends the session if that is too much.
    fn decoder(&self, limits: MessageLimits) -> Box<dyn MessageDecoder>;

    /// Whether a message may be cut, and its parts come in several payloads. By default false: each
    /// payload is whole.
    ///
    /// The payloads of POSTs are then read by the session, in their order and under its shard's
    /// lock; else they are read where no lock is held.
    fn is_stream(&self) -> bool {
        false
    }

    /// Whether this payload of a client looks like this wire. It is only asked about payloads that
    /// another codec could not read, for the diagnosis (docs/protocol/detection.md §4.3). By
    /// default false.
    fn recognizes(&self, payload: &str) -> bool {
        let _ = payload;
        false
    }

    /// Whether clients of this wire have this transport. By default all six.
    fn serves(&self, transport: Transport) -> bool {
        let _ = transport;
        true
    }

    /// What heartbeats are on this transport. By default they are echoed, except on polling
    /// transports, where there are none (docs/protocol/legacy-0.6.md §4).
    fn heartbeats(&self, transport: Transport) -> Heartbeats {
        match transport {
            Transport::XhrPolling | Transport::JsonpPolling => Heartbeats::None,
            Transport::Websocket | Transport::Flashsocket | Transport::Htmlfile | Transport::XhrMultipart => {
                Heartbeats::Echoed
            }
        }
    }

    /// The time between heartbeats on this transport, where it has to differ from
    /// [`Legacy06::heartbeat_interval`](crate::Legacy06::heartbeat_interval), which is
    /// `configured`. By default it does not.
    fn heartbeat_interval(&self, transport: Transport, configured: Duration) -> Duration {
        let _ = transport;
        configured
    }

    /// Appends the one payload that all of these are together: the answer to a poll. By default one
    /// after the other. It may be none: an empty poll.
    fn join(&self, payloads: &mut dyn Iterator<Item = &[u8]>, out: &mut BytesMut) {
        payloads.for_each(|payload| out.put_slice(payload));
    }

    /// Appends the script that answers a poll of jsonp-polling. By default that of 0.6:
    /// `io.JSONP[0]._("…");`.
    fn wrap_jsonp(&self, index: u64, payload: &str, out: &mut BytesMut) {
        transports::write_jsonp(Family::Legacy06, index, payload, out);
    }

    /// Appends the piece of an htmlfile stream that carries `payload`. By default that of 0.6, with
    /// the payload as a string literal.
    fn wrap_htmlfile(&self, payload: &str, out: &mut BytesMut) {
        transports::write_htmlfile(Family::Legacy06, payload, out);
    }

    /// Appends the part of an xhr-multipart stream that carries `payload`, with the boundary behind
    /// it. Nothing can escape the boundary `--socketio` there: a codec that lets text through as it
    /// is must not write it ([`has_boundary`](crate::legacy::transports::has_boundary)).
    fn wrap_multipart(&self, payload: &str, out: &mut BytesMut) {
        transports::write_multipart(payload, out);
    }
}

/// The reader of one session's payloads, or of one connection's.
pub trait MessageDecoder: Send {
    /// Reads the next payload and appends what it completes. `from_form` says that a browser's form
    /// has made CRLF of every lone LF in it (docs/protocol/legacy-0.6.md §5.1).
    ///
    /// # Errors
    /// What has been appended before the error counts.
    fn decode(&mut self, payload: &ByteString, from_form: bool, out: &mut Vec<Received>) -> Result<(), PayloadError>;

    /// How many bytes are held back until more comes. By default none.
    fn buffered_bytes(&self) -> usize {
        0
    }
}

/// What a decoder may take, from [`Legacy06`](crate::Legacy06).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Most bytes of an unfinished message that may be held back.
    pub max_buffered_bytes: usize,
    /// Most messages in one payload.
    pub max_messages: usize,
}

/// Something a client has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text message.
    Text(ByteString),
    /// A JSON message, one value. The server checks it: what is no JSON is dropped.
    Json(ByteString),
    /// The echo of a heartbeat; the number is compared with that of the last one.
    Heartbeat(ByteString),
    /// The client ends the session.
    Goodbye,
}

/// What heartbeats are on a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeats {
    /// None are sent.
    None,
    /// The client echoes each, and its silence ends the session.
    Echoed,
    /// They are sent, so that proxies keep the connection, and never answered.
    Unanswered,
}

/// Why a payload could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The rest of this payload is lost, the session lives: the next payload begins anew.
    #[error("{0}")]
    Rest(#[source] Box<dyn Error + Send + Sync>),
    /// Nothing that follows can be read either: the session ends.
    #[error("{0}")]
    Session(#[source] Box<dyn Error + Send + Sync>),
}

impl PayloadError {
    /// The rest of the payload is lost.
    pub fn rest(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Rest(Box::new(error))
    }

    /// The session cannot go on.
    pub fn session(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Session(Box::new(error))
    }

    /// Whether the session ends.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Session(_))
    }
}

/// A message on its way to clients: one JSON value. A string is what genuine clients know as a text
/// message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainMessage<'a>(&'a str);

impl<'a> PlainMessage<'a> {
    /// The message that is this JSON value, which must be valid.
    #[must_use]
    pub const fn new(json: &'a str) -> Self {
        Self(json)
    }

    /// The JSON value.
    #[must_use]
    pub const fn json(self) -> &'a str {
        self.0
    }

    /// The text, if the message is one.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        self.0.starts_with('"').then(|| json::unescape(self.0))
    }
}

/// An event on its way to clients that know only messages.
#[derive(Clone, Copy, Debug)]
pub struct PlainEvent<'a> {
    /// Its name.
    pub name: &'a str,
    /// The arguments, JSON values joined by commas. Placeholders in them stand for attachments.
    pub args: &'a str,
    /// The attachments, by number.
    pub attachments: &'a [Bytes],
}

impl<'a> PlainEvent<'a> {
    pub(crate) fn new(name: &'a str, args: &'a Args) -> Self {
        Self {
            name,
            args: &args.json,
            attachments: &args.attachments,
        }
    }

    /// `{"event":NAME,"args":[…]}`, with `"attachments":[base64,…]` if there are any.
    #[must_use]
    pub fn to_json(&self) -> ByteString {
        let mut out = BytesMut::new();
        out.put_slice(b"{\"event\":");
        json::write_string(&mut out, self.name);
        out.put_slice(b",\"args\":[");
        out.put_slice(self.args.as_bytes());
        out.put_u8(b']');
        for (at, bytes) in self.attachments.iter().enumerate() {
            out.put_slice(if at == 0 { b",\"attachments\":[\"" } else { b",\"" });
            out.put_slice(STANDARD.encode(bytes).as_bytes());
            out.put_u8(b'"');
        }
        out.put_slice(if self.attachments.is_empty() { b"}" } else { b"]}" });
        ByteString::try_from(out.freeze()).expect("JSON written from text is text")
    }
}

/// A [`MessageCodec`] as a config holds it: shared, and equal only to its own clones.
#[derive(Clone)]
pub struct Codec(Arc<dyn MessageCodec>);

impl Codec {
    /// Shares a codec.
    pub fn new(codec: impl MessageCodec + 'static) -> Self {
        Self(Arc::new(codec))
    }
}

impl<C: MessageCodec + 'static> From<C> for Codec {
    fn from(codec: C) -> Self {
        Self::new(codec)
    }
}

impl Deref for Codec {
    type Target = dyn MessageCodec;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for Codec {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Codec {}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codec({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn events_are_json_messages() {
        let args = Args {
            json: "1,{\"_placeholder\":true,\"num\":0}".into(),
            attachments: vec![Bytes::from_static(b"\x01\x02"), Bytes::new()],
            ..Default::default()
        };
        assert_eq!(
            PlainEvent::new("a\"b", &args).to_json(),
            "{\"event\":\"a\\\"b\",\"args\":[1,{\"_placeholder\":true,\"num\":0}],\"attachments\":[\"AQI=\",\"\"]}"
        );
        let plain = Args::from(ByteString::from(""));
        assert_eq!(PlainEvent::new("x", &plain).to_json(), "{\"event\":\"x\",\"args\":[]}");
    }

    #[test]
    fn only_strings_are_text() {
        assert_eq!(PlainMessage::new("\"a\\nb\"").text().as_deref(), Some("a\nb"));
        assert_eq!(PlainMessage::new("{\"a\":1}").text(), None);
        assert_eq!(PlainMessage::new("null").json(), "null");
    }
}
