//! The trait for wires of plain messages: the content of the payloads of
//! `/socket.io/<transport>/…`.
//!
//! ```text
//!                  encode_session_id, encode_messages, encode_heartbeat
//!   session ────────────────────────────────────────────────────────────► payloads ─► join ─► wrap_* ─► client
//!   session ◄──────────── MessageDecoder::decode ◄─── payloads ◄──────────────────────────────────────── client
//! ```
//! The server handles URLs, sessions, the times of heartbeats, resuming and limits
//! (docs/protocol/legacy-0.6.md §3-§10). A codec only defines the bytes.

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

/// A wire of plain messages: the content of the payloads of `/socket.io/<transport>/…`.
///
/// A codec writes text: UTF-8, on every transport. It is called from any thread, sometimes while a
/// shard is locked. Every call passes everything that the codec needs, so the codec must neither
/// wait nor call back. A decoder belongs to its session. It is dropped with the session, while a
/// shard is locked.
///
/// # Writing a codec
///
/// A codec has to write three things and to read one. Everything else has a default.
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
    /// The name of the codec, for logs and diagnostics.
    fn name(&self) -> &'static str;

    /// Appends the first payload of a session. Nothing is sent before it, and in a poll nothing is
    /// sent together with it.
    fn encode_session_id(&self, sid: &str, out: &mut BytesMut);

    /// Appends the payload of this heartbeat. It is not called for transports without heartbeats.
    fn encode_heartbeat(&self, number: u32, out: &mut BytesMut);

    /// Appends one payload with these messages, in order. There is nearly always one message.
    fn encode_messages(&self, messages: &[PlainMessage<'_>], out: &mut BytesMut);

    /// Appends the payload of an event that is more than a message: an event with its own name, or
    /// with attachments.
    ///
    /// By default the payload is the JSON message `{"event":NAME,"args":[…]}`, with
    /// `"attachments":[base64,…]` if there are any.
    fn encode_event(&self, event: &PlainEvent<'_>, out: &mut BytesMut) {
        self.encode_messages(&[PlainMessage::new(&event.to_json())], out);
    }

    /// Appends the payload that tells a client that the server ends the session. By default it is
    /// empty: the transport ends.
    fn encode_goodbye(&self, out: &mut BytesMut) {
        let _ = out;
    }

    /// Makes the decoder for one session's payloads. The decoder must keep to `limits`. After each
    /// payload, the server checks how many bytes the decoder holds back, and ends the session if
    /// they are too many.
    fn decoder(&self, limits: MessageLimits) -> Box<dyn MessageDecoder>;

    /// Whether a message may be cut into several payloads. By default false: each payload is
    /// complete.
    ///
    /// If true, the session reads the payloads of POSTs in their order, under its shard's lock.
    /// Otherwise they are read without a lock.
    fn is_stream(&self) -> bool {
        false
    }

    /// Whether this payload of a client looks like this wire. It is called only for payloads that
    /// another codec could not read, for the diagnosis (docs/protocol/detection.md §4.3). By
    /// default false.
    fn recognizes(&self, payload: &str) -> bool {
        let _ = payload;
        false
    }

    /// Whether clients of this wire have this transport. By default they have all six.
    fn serves(&self, transport: Transport) -> bool {
        let _ = transport;
        true
    }

    /// The kind of heartbeats on this transport. By default they are echoed. Polling transports
    /// have none (docs/protocol/legacy-0.6.md §4).
    fn heartbeats(&self, transport: Transport) -> Heartbeats {
        match transport {
            Transport::XhrPolling | Transport::JsonpPolling => Heartbeats::None,
            Transport::Websocket | Transport::Flashsocket | Transport::Htmlfile | Transport::XhrMultipart => {
                Heartbeats::Echoed
            }
        }
    }

    /// The time between heartbeats on this transport. `configured` is
    /// [`Legacy06::heartbeat_interval`](crate::Legacy06::heartbeat_interval), which is also the
    /// default result.
    fn heartbeat_interval(&self, transport: Transport, configured: Duration) -> Duration {
        let _ = transport;
        configured
    }

    /// Appends one payload that joins all of these: the answer to a poll. By default it writes one
    /// after the other. There may be none: then the poll is empty.
    fn join(&self, payloads: &mut dyn Iterator<Item = &[u8]>, out: &mut BytesMut) {
        payloads.for_each(|payload| out.put_slice(payload));
    }

    /// Appends the script that answers a poll of jsonp-polling. By default it is the script of 0.6:
    /// `io.JSONP[0]._("…");`.
    fn wrap_jsonp(&self, index: u64, payload: &str, out: &mut BytesMut) {
        transports::write_jsonp(Family::Legacy06, index, payload, out);
    }

    /// Appends the piece of an htmlfile stream that carries `payload`. By default it is the piece
    /// of 0.6, with the payload as a string literal.
    fn wrap_htmlfile(&self, payload: &str, out: &mut BytesMut) {
        transports::write_htmlfile(Family::Legacy06, payload, out);
    }

    /// Appends the part of an xhr-multipart stream that carries `payload`, and the boundary behind
    /// it. A part cannot escape the boundary `--socketio`. A codec that writes text unchanged must
    /// not write a text with the boundary
    /// ([`has_boundary`](crate::legacy::transports::has_boundary)).
    fn wrap_multipart(&self, payload: &str, out: &mut BytesMut) {
        transports::write_multipart(payload, out);
    }
}

/// The decoder of the payloads of one session, or of one connection.
pub trait MessageDecoder: Send {
    /// Reads the next payload and appends the messages that it completes. `from_form` is true if a
    /// browser's form has changed every lone LF in it to CRLF (docs/protocol/legacy-0.6.md §5.1).
    ///
    /// # Errors
    /// The messages that were appended before the error are delivered.
    fn decode(&mut self, payload: &ByteString, from_form: bool, out: &mut Vec<Received>) -> Result<(), PayloadError>;

    /// How many bytes are held back until more bytes arrive. By default none.
    fn buffered_bytes(&self) -> usize {
        0
    }
}

/// The limits of a decoder, from [`Legacy06`](crate::Legacy06).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// The most bytes of an unfinished message that may be held back.
    pub max_buffered_bytes: usize,
    /// The most messages in one payload.
    pub max_messages: usize,
}

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A text message.
    Text(ByteString),
    /// A JSON message, one value. The server checks it, and drops it if it is not JSON.
    Json(ByteString),
    /// The echo of a heartbeat. Its number is compared with the number of the last heartbeat.
    Heartbeat(ByteString),
    /// The client ends the session.
    Goodbye,
}

/// The kind of heartbeats on a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeats {
    /// No heartbeats are sent.
    None,
    /// The client echoes each heartbeat. If it does not, the session ends.
    Echoed,
    /// Heartbeats are sent, so that proxies keep the connection open. They are never answered.
    Unanswered,
}

/// Why a payload could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The rest of this payload is lost. The session lives, and the next payload is read anew.
    #[error("{0}")]
    Rest(#[source] Box<dyn Error + Send + Sync>),
    /// No later payload can be read either: the session ends.
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

/// A message to clients: one JSON value. Genuine clients see a JSON string as a text message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainMessage<'a>(&'a str);

impl<'a> PlainMessage<'a> {
    /// The message with this JSON value. The value must be valid.
    #[must_use]
    pub const fn new(json: &'a str) -> Self {
        Self(json)
    }

    /// The JSON value.
    #[must_use]
    pub const fn json(self) -> &'a str {
        self.0
    }

    /// The text, if the message is a string.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        self.0.starts_with('"').then(|| json::unescape(self.0))
    }
}

/// An event to clients that know only messages.
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
            step!(bulk bytes.len());
            out.put_slice(if at == 0 { b",\"attachments\":[\"" } else { b",\"" });
            out.put_slice(STANDARD.encode(bytes).as_bytes());
            out.put_u8(b'"');
        }
        out.put_slice(if self.attachments.is_empty() { b"}" } else { b"]}" });
        // JSON that is written from text is text.
        ByteString::try_from(out.freeze()).unwrap_or_default()
    }
}

/// A [`MessageCodec`] in a config. It is shared; two values are equal if one is a clone of the
/// other.
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
