//! Payloads of the plain-message transports, in every codec: they are read into packets, and frames
//! are put together as the bodies of polls.
//!
//! ```text
//!   websocket message ─► PayloadReader, of the connection ───────────────┐
//!   POST, whole payloads ─► decode_body, a reader for this payload ──────┼─► Inbound ─► session
//!   POST, pieces of a stream ─► Inbound::Payload ─► PayloadReader, of the session, under the lock
//! ```
//! A codec that a user wrote only decides what the bytes mean. JSON and the limits are checked
//! here.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::Inbound;
use crate::breach::{Breach, BreachKind};
use crate::codec::{Codec, Envelope, Framing, MessageCodec, MessageDecoder, PayloadError, Received, Streaming};
use crate::detect::{Legacy06, Transport};
use crate::legacy::transports::read_data_form;
use crate::{Config, Frame, json, keep};

/// Why a payload was not read to its end, and the wire that it may belong to.
#[derive(Debug)]
pub struct Garbled {
    /// The error.
    pub error: PayloadError,
    /// The name of another codec whose wire it looks like (docs/protocol/detection.md §4.3).
    pub looks_like: Option<&'static str>,
}

/// A limit that the server enforces for every codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum OverLimit {
    #[error("too many messages in one payload")]
    Messages,
    #[error("an unfinished message is too long")]
    Buffered,
}

/// The decoder of a codec. The server checks its messages and its limits here.
pub(crate) struct PayloadReader {
    codec: u8,
    decoder: Box<dyn MessageDecoder>,
}

impl PayloadReader {
    pub(crate) fn new(codec: u8, config: &Config) -> Self {
        let limits = config.legacy06.message_limits();
        Self {
            codec,
            decoder: config.legacy06.codec_at(codec).decoder(limits),
        }
    }

    /// How many bytes are held back of a message that comes in pieces.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.decoder.buffered_bytes()
    }

    pub(crate) fn read(&mut self, payload: &ByteString, from_form: bool, config: &Config, out: &mut Vec<Inbound>) {
        let limits = config.legacy06.message_limits();
        let mut received = Vec::new();
        let mut verdict = self.decoder.decode(payload, from_form, &mut received);
        if received.len() > limits.max_messages {
            received.truncate(limits.max_messages);
            verdict = verdict.and(Err(PayloadError::rest(OverLimit::Messages)));
        }
        if self.decoder.buffered_bytes() > limits.max_buffered_bytes {
            verdict = Err(PayloadError::session(OverLimit::Buffered));
        }
        for mut received in received {
            step!();
            if let Received::Json(value) = &mut received {
                keep::part_of(payload.len(), value);
            }
            inbound(received, config, out);
        }
        if let Err(error) = verdict {
            let own = config.legacy06.codec_at(self.codec).name();
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

/// A text becomes the JSON string with this text. A message that is not JSON is left out
/// (docs/protocol/legacy-0.6.md §16).
fn inbound(received: Received, config: &Config, out: &mut Vec<Inbound>) {
    match received {
        Received::Heartbeat(number) => out.push(Inbound::Heartbeat(number)),
        Received::Goodbye => out.push(Inbound::Goodbye),
        Received::Json(value) => match json::validate(&value, config.packet.max_depth) {
            Ok(()) => out.push(Inbound::Message(value)),
            Err(error) => Inbound::leave_out(out, || {
                let at = json::stops_at(&value, config.packet.max_depth);
                Breach::new(
                    BreachKind::SocketPacket,
                    format_args!("{error}, at byte {at} of a message"),
                )
            }),
        },
        Received::Text(text) => out.push(Inbound::Message(json::string(&text))),
    }
}

/// Decodes the body of a POST. A body without the field `data` is broken.
pub(crate) fn decode_body(config: &Config, codec: u8, route: &Legacy06, body: &Bytes) -> Vec<Inbound> {
    let mut packets = Vec::new();
    // Browsers have written a form, and have changed its line breaks (docs/protocol/legacy-0.6.md
    // §5.1).
    let from_form = route.transport == Transport::JsonpPolling;
    match read_data_form(body) {
        Ok(payload) if config.legacy06.codec_at(codec).is_stream() => {
            packets.push(Inbound::Payload { payload, from_form })
        }
        Ok(payload) => PayloadReader::new(codec, config).read(&payload, from_form, config, &mut packets),
        Err(error) => packets.push(Inbound::Broken(Breach::new(BreachKind::Payload, error))),
    }
    packets
}

/// Puts frames together as the body of a poll.
pub(crate) fn encode_poll(codec: &Codec, frames: &[Frame], out: &mut BytesMut) {
    codec.join(&mut frames.iter().map(Frame::payload), out);
}

/// Puts frames together as the script of a poll.
pub(crate) fn encode_script(codec: &Codec, index: u64, frames: &[Frame], out: &mut BytesMut) {
    encode_poll(codec, frames, out);
    let payload = out.split();
    let text = core::str::from_utf8(&payload).unwrap_or_default();
    codec.wrap_jsonp(index, text, out);
}

/// The name of a wire that this payload looks like, other than the wire `but`. It is a wire that
/// the server serves on some path, or a known wire.
fn looks_like(payload: &str, but: &str, config: &Config) -> Option<&'static str> {
    let known: [&dyn MessageCodec; 3] = [&Framing, &Streaming, &Envelope];
    let mut codecs = config.legacy06.codecs().map(|codec| &**codec).chain(known);
    codecs
        .find(|codec| codec.name() != but && codec.recognizes(payload))
        .map(MessageCodec::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_are_told_apart() {
        let config = Config::default();
        for (payload, wire) in [
            ("~m~5~m~hello", Some("~m~")),
            ("1:6::hello,", Some("streaming")),
            ("1::x,", Some("streaming")),
            ("1:6::hello", None),
            ("a:6::hello,", None),
            (":6::hello,", None),
            ("[\"hi\"]", Some("envelope")),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(looks_like(payload, "", &config), wire, "{payload}");
        }
        assert_eq!(looks_like("~m~1~m~", "~m~", &config), None);
    }
}
