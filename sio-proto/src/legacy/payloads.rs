//! Payloads of the plain-message transports, whatever their codec: read into packets, and written from messages.
//!
//! ```text
//!   websocket message ─► PayloadReader, of the connection ───────────────┐
//!   POST, whole payloads ─► decode_body, a reader for this payload ──────┼─► Inbound ─► session
//!   POST, pieces of a stream ─► Inbound::Payload ─► PayloadReader, of the session, under the lock
//! ```
//! A codec of the user's own is trusted to say what the bytes mean and for nothing else: JSON is checked here, and so are the limits.
//!
//! What crosses to this wire and from it: a text or JSON message is the event `message` with that one argument. Other events reach the client as
//! [`MessageCodec::encode_event`](crate::codec::MessageCodec::encode_event) writes them. Acknowledgements cannot be carried.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::transports::read_data_form;
use crate::codec::{Codec, MessageDecoder, PayloadError, PlainEvent, PlainMessage, Received, looks_like};
use crate::detect::{Legacy06, Transport};
use crate::server::{Encoded, Message, Reason, SendError};
use crate::wire::Inbound;
use crate::{Config, Frame, json};

/// Most bytes that a known codec puts around a message, and the event around its name and arguments.
const AROUND_MESSAGE: usize = 48;

/// Why a payload was not read to its end, and whose it might have been.
#[derive(Debug)]
pub struct Garbled {
    /// What is wrong with it.
    pub error: PayloadError,
    /// The name of another codec whose wire it looks like (docs/protocol/detection.md §4.3).
    pub looks_like: Option<&'static str>,
}

/// A limit that the server keeps whatever its codec does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum OverLimit {
    #[error("too many messages in one payload")]
    Messages,
    #[error("an unfinished message is too long")]
    Buffered,
}

/// The decoder of a codec, and what the server makes of what it says.
pub(crate) struct PayloadReader {
    codec: u8,
    decoder: Box<dyn MessageDecoder>,
}

impl PayloadReader {
    pub(crate) fn new(codec: u8, config: &Config) -> Self {
        let limits = config.legacy.message_limits();
        Self {
            codec,
            decoder: config.legacy.codec_at(codec).decoder(limits),
        }
    }

    /// Reads the next payload. What is wrong with it stands behind the messages that came before.
    /// What is held back of a message that comes in pieces, in bytes.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.decoder.buffered_bytes()
    }

    pub(crate) fn read(&mut self, payload: &ByteString, from_form: bool, config: &Config, out: &mut Vec<Inbound>) {
        let limits = config.legacy.message_limits();
        let mut received = Vec::new();
        let mut verdict = self.decoder.decode(payload, from_form, &mut received);
        if received.len() > limits.max_messages {
            received.truncate(limits.max_messages);
            verdict = verdict.and(Err(PayloadError::rest(OverLimit::Messages)));
        }
        if self.decoder.buffered_bytes() > limits.max_buffered_bytes {
            verdict = Err(PayloadError::session(OverLimit::Buffered));
        }
        out.extend(received.into_iter().filter_map(|received| inbound(received, config)));
        if let Err(error) = verdict {
            let own = config.legacy.codec_at(self.codec).name();
            let looks_like = looks_like(payload, own, config);
            out.push(Inbound::Garbled(Box::new(Garbled { error, looks_like })));
        }
    }
}

impl fmt::Debug for PayloadReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadReader")
            .field("codec", &self.codec)
            .field("buffered_bytes", &self.decoder.buffered_bytes())
            .finish()
    }
}

/// A text is the JSON string that says the same; what is no JSON is dropped (docs/protocol/legacy-0.6.md §16).
fn inbound(received: Received, config: &Config) -> Option<Inbound> {
    match received {
        Received::Heartbeat(number) => Some(Inbound::Heartbeat(number)),
        Received::Goodbye => Some(Inbound::Goodbye),
        Received::Json(value) => json::validate(&value, config.packet.max_depth)
            .is_ok()
            .then_some(Inbound::Message(value)),
        Received::Text(text) => {
            let mut literal = BytesMut::with_capacity(text.len() + 2);
            json::write_string(&mut literal, &text);
            ByteString::try_from(literal.freeze()).ok().map(Inbound::Message)
        }
    }
}

/// Decodes the body of a POST. Without the field `data` it is broken.
pub(crate) fn decode_body(config: &Config, codec: u8, route: &Legacy06, body: &Bytes) -> Vec<Inbound> {
    let mut packets = Vec::new();
    // Browsers have written a form, and with it their own line breaks (docs/protocol/legacy-0.6.md §5.1).
    let from_form = route.transport == Transport::JsonpPolling;
    match read_data_form(body) {
        Ok(payload) if config.legacy.codec_at(codec).is_stream() => {
            packets.push(Inbound::Payload { payload, from_form })
        }
        Ok(payload) => PayloadReader::new(codec, config).read(&payload, from_form, config, &mut packets),
        Err(_) => packets.push(Inbound::Broken(Reason::ParseError)),
    }
    packets
}

/// Whether what a message becomes fits into `max` bytes, its frame included. Nothing is written to find out.
///
/// Each value of the event `message` is a message of its own, with a frame of the codec's around it; of any other event the name grows up to 6 times and
/// attachments by a third.
fn fits(message: &Message, max: usize) -> bool {
    let args = &message.args;
    let name = message.name.as_deref().unwrap_or_default();
    let attachments = args.attachments.iter().map(|bytes| bytes.len().div_ceil(3) * 4 + 3);
    let given = args.json.len() + attachments.sum::<usize>() + AROUND_MESSAGE;
    match name == "message" && args.attachments.is_empty() {
        // A value and its comma are two bytes at least.
        true => given + AROUND_MESSAGE / 2 * args.json.len() <= max || given + AROUND_MESSAGE * args.len() <= max,
        false => given + 6 * name.len() <= max || given + json::string_len(name) <= max,
    }
}

/// Encodes a message for clients of one codec, as the module says, unless it is too large for the queue of a session.
pub(crate) fn encode_message(
    message: &Message,
    codec: &Codec,
    config: &Config,
    buffer: &mut BytesMut,
) -> Result<Encoded, SendError> {
    if !fits(message, config.max_queued_bytes) {
        return Err(SendError::TooLarge);
    }
    let args = &message.args;
    let first = Frame::text(buffer, |b| match message.name.as_deref() {
        Some("message") if args.attachments.is_empty() => {
            let mut values = args.iter().map(PlainMessage::new);
            match (values.next(), values.next()) {
                (None, _) => codec.encode_messages(&[], b),
                (Some(one), None) => codec.encode_messages(&[one], b),
                (Some(_), Some(_)) => codec.encode_messages(&args.iter().map(PlainMessage::new).collect::<Vec<_>>(), b),
            }
        }
        name => codec.encode_event(&PlainEvent::new(name.unwrap_or_default(), args), b),
    });
    Ok(Encoded {
        first,
        attachments: Vec::new(),
    })
}

/// Says whether this wire can carry the message: it has no acknowledgements.
pub(crate) const fn check(message: &Message) -> Result<(), SendError> {
    if message.id.is_none() {
        Ok(())
    } else {
        Err(SendError::Unsupported)
    }
}

/// Puts frames together as the body of a poll.
pub(crate) fn encode_poll(codec: &Codec, frames: &[Frame], out: &mut BytesMut) {
    codec.join(&mut frames.iter().map(Frame::payload), out);
}

/// The same as a script.
pub(crate) fn encode_script(codec: &Codec, index: u64, frames: &[Frame], out: &mut BytesMut) {
    encode_poll(codec, frames, out);
    let payload = out.split();
    let text = core::str::from_utf8(&payload).unwrap_or_default();
    codec.wrap_jsonp(index, text, out);
}
