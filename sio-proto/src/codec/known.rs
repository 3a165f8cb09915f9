//! The wires that genuine releases use on the plain-message transports, as [`MessageCodec`]s.
//!
//! | | [`Framing`] | [`Streaming`] | [`Envelope`] |
//! |---|---|---|---|
//! | releases | 0.5-0.6 | the development branch of November 2010 | 0.3-0.4 |
//! | a payload is | complete | a piece of a stream | complete |
//! | a broken payload costs | the rest of the payload | the session | the payload |
//! | heartbeats | echoed | echoed | not answered, every 5 s on htmlfile and xhr-multipart |
//! | goodbye | – | type 0 | – |
//! | jsonp-polling | `io.JSONP[0]._("…");` | as in [`Framing`], without the semicolon | – |
//! | htmlfile argument | a string | a string | the object itself |
//!
//! The codecs of the bytes are [`legacy::framing`](crate::legacy::framing),
//! [`legacy::streaming`](crate::legacy::streaming) and
//! [`legacy::envelope`](crate::legacy::envelope). This file implements the trait with them.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

use super::{Heartbeats, MessageCodec, MessageDecoder, MessageLimits, PayloadError, PlainMessage, Received};
use crate::detect::Transport;
use crate::legacy::transports::{self, Family};
use crate::legacy::{envelope, framing, streaming};

/// How often streams of 0.3-0.4 send a heartbeat (docs/protocol/legacy-0.6.md §15).
const ENVELOPE_STREAM_INTERVAL: Duration = Duration::from_secs(5);

/// The `~m~` framing of Socket.IO 0.5 and 0.6 (docs/protocol/legacy-0.6.md §2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Framing;

/// The codec of the development branch of November 2010 (docs/protocol/legacy-streaming.md).
#[derive(Clone, Copy, Debug, Default)]
pub struct Streaming;

/// The JSON envelope of Socket.IO 0.3 and 0.4 (docs/protocol/legacy-0.6.md §15).
#[derive(Clone, Copy, Debug, Default)]
pub struct Envelope;

impl MessageCodec for Framing {
    fn name(&self) -> &'static str {
        "~m~"
    }

    fn encode_session_id(&self, sid: &str, out: &mut BytesMut) {
        framing::write_text(sid, out);
    }

    fn encode_heartbeat(&self, number: u32, out: &mut BytesMut) {
        framing::write_heartbeat(number.into(), out);
    }

    fn encode_messages(&self, messages: &[PlainMessage<'_>], out: &mut BytesMut) {
        for message in messages {
            step!();
            match message.text() {
                Some(text) if !framing::is_mistakable(&text) && !transports::has_boundary(&text) => {
                    framing::write_text(&text, out);
                }
                // The client reads a JSON string as a text, whatever the text begins with.
                Some(_) | None => framing::write_json(&transports::without_boundary(message.json()), out),
            }
        }
    }

    fn decoder(&self, limits: MessageLimits) -> Box<dyn MessageDecoder> {
        Box::new(Frames(limits.max_messages))
    }

    fn recognizes(&self, payload: &str) -> bool {
        payload.starts_with("~m~")
    }
}

/// Reads complete payloads, with at most this many frames.
struct Frames(usize);

impl MessageDecoder for Frames {
    fn decode(&mut self, payload: &ByteString, from_form: bool, out: &mut Vec<Received>) -> Result<(), PayloadError> {
        let mut frames = Vec::new();
        let verdict = if from_form {
            framing::decode_jsonp(payload, self.0, &mut frames)
        } else {
            framing::decode(payload, self.0, &mut frames)
        };
        out.extend(frames.into_iter().map(|frame| match frame {
            framing::Frame::Heartbeat(number) => Received::Heartbeat(number),
            framing::Frame::Json(value) => Received::Json(value),
            framing::Frame::Text(text) => Received::Text(text),
        }));
        verdict.map_err(PayloadError::rest)
    }
}

impl MessageCodec for Streaming {
    fn name(&self) -> &'static str {
        "streaming"
    }

    fn encode_session_id(&self, sid: &str, out: &mut BytesMut) {
        streaming::write_handshake(sid, out);
    }

    fn encode_heartbeat(&self, number: u32, out: &mut BytesMut) {
        streaming::write_heartbeat(number.into(), out);
    }

    fn encode_messages(&self, messages: &[PlainMessage<'_>], out: &mut BytesMut) {
        for message in messages {
            step!();
            match message.text() {
                Some(text) if !transports::has_boundary(&text) => streaming::write_text(&text, out),
                Some(_) | None => streaming::write_json(&transports::without_boundary(message.json()), out),
            }
        }
    }

    fn encode_goodbye(&self, out: &mut BytesMut) {
        streaming::Packet::Disconnect.encode(out);
    }

    fn decoder(&self, limits: MessageLimits) -> Box<dyn MessageDecoder> {
        Box::new(streaming::Decoder::new(limits.max_buffered_bytes, limits.max_messages))
    }

    fn is_stream(&self) -> bool {
        true
    }

    /// `^[0-9]+:[0-9]*:`, and a comma at the end (docs/protocol/legacy-streaming.md §10).
    fn recognizes(&self, payload: &str) -> bool {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let mut parts = payload.splitn(3, ':');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(length), Some(rest)) => {
                !kind.is_empty() && digits(kind) && digits(length) && rest.ends_with(',')
            }
            _ => false,
        }
    }

    /// Writes the same script as 0.6, without the semicolon (docs/protocol/legacy-streaming.md §1).
    fn wrap_jsonp(&self, index: u64, payload: &str, out: &mut BytesMut) {
        transports::write_jsonp(Family::Legacy06, index, payload, out);
        debug_assert_eq!(out.last(), Some(&b';'));
        out.truncate(out.len().saturating_sub(1));
    }
}

impl MessageDecoder for streaming::Decoder {
    fn decode(&mut self, payload: &ByteString, from_form: bool, out: &mut Vec<Received>) -> Result<(), PayloadError> {
        let mut packets = Vec::new();
        let verdict = if from_form {
            self.decode_jsonp(payload, &mut packets)
        } else {
            Self::decode(self, payload, &mut packets)
        };
        out.extend(packets.into_iter().filter_map(|packet| match packet {
            streaming::Packet::Disconnect => Some(Received::Goodbye),
            streaming::Packet::Message { annotations, data } if annotations.is_json() => Some(Received::Json(data)),
            // The realm is an early namespace. It was planned and never used, so only the message
            // counts.
            streaming::Packet::Message { data, .. } => Some(Received::Text(data)),
            streaming::Packet::Heartbeat(number) => Some(Received::Heartbeat(number)),
            // A session id from a client has no meaning, and JavaScript ignores types that it does
            // not know.
            streaming::Packet::Handshake(_) | streaming::Packet::Unknown(..) => None,
        }));
        verdict.map_err(PayloadError::session)
    }

    fn buffered_bytes(&self) -> usize {
        Self::buffered_bytes(self)
    }
}

impl MessageCodec for Envelope {
    fn name(&self) -> &'static str {
        "envelope"
    }

    fn encode_session_id(&self, sid: &str, out: &mut BytesMut) {
        envelope::write_session_id(sid, out);
    }

    fn encode_heartbeat(&self, number: u32, out: &mut BytesMut) {
        envelope::write_heartbeat(number.into(), out);
    }

    fn encode_messages(&self, messages: &[PlainMessage<'_>], out: &mut BytesMut) {
        match messages.iter().any(|message| transports::has_boundary(message.json())) {
            false => envelope::write_messages(messages.iter().map(|message| message.json()), out),
            true => {
                let safe: Vec<_> = messages
                    .iter()
                    .map(|m| transports::without_boundary(m.json()))
                    .collect();
                envelope::write_messages(safe.iter().map(|json| &**json), out);
            }
        }
    }

    fn decoder(&self, limits: MessageLimits) -> Box<dyn MessageDecoder> {
        Box::new(Arrays(limits.max_messages))
    }

    fn recognizes(&self, payload: &str) -> bool {
        payload.starts_with('[')
    }

    fn serves(&self, transport: Transport) -> bool {
        transport != Transport::JsonpPolling
    }

    fn heartbeats(&self, transport: Transport) -> Heartbeats {
        match transport {
            Transport::XhrPolling | Transport::JsonpPolling => Heartbeats::None,
            Transport::Websocket | Transport::Flashsocket | Transport::Htmlfile | Transport::XhrMultipart => {
                Heartbeats::Unanswered
            }
        }
    }

    fn heartbeat_interval(&self, transport: Transport, configured: Duration) -> Duration {
        match transport {
            Transport::Htmlfile | Transport::XhrMultipart => configured.min(ENVELOPE_STREAM_INTERVAL),
            Transport::Websocket | Transport::Flashsocket | Transport::XhrPolling | Transport::JsonpPolling => {
                configured
            }
        }
    }

    /// Joins all messages into one object, because a client reads one object per payload.
    fn join(&self, payloads: &mut dyn Iterator<Item = &[u8]>, out: &mut BytesMut) {
        let lists = payloads.filter_map(|payload| {
            let inner = payload.strip_prefix(envelope::MESSAGES_BEFORE)?;
            inner
                .strip_suffix(envelope::MESSAGES_AFTER)
                .filter(|list| !list.is_empty())
        });
        let mut any = false;
        for list in lists {
            step!(bulk list.len());
            match any {
                false => out.put_slice(envelope::MESSAGES_BEFORE),
                true => out.put_u8(b','),
            }
            any = true;
            out.put_slice(list);
        }
        if any {
            out.put_slice(envelope::MESSAGES_AFTER);
        }
    }

    fn wrap_htmlfile(&self, payload: &str, out: &mut BytesMut) {
        if envelope::is_heartbeat(payload) {
            out.put_slice(envelope::HTMLFILE_HEARTBEAT.as_bytes());
        } else {
            envelope::write_htmlfile(payload, out);
        }
    }

    fn wrap_multipart(&self, payload: &str, out: &mut BytesMut) {
        if envelope::is_heartbeat(payload) {
            out.put_slice(envelope::MULTIPART_HEARTBEAT);
        } else {
            transports::write_multipart(payload, out);
        }
    }
}

/// Reads complete payloads, each an array of at most this many messages.
struct Arrays(usize);

impl MessageDecoder for Arrays {
    fn decode(&mut self, payload: &ByteString, _from_form: bool, out: &mut Vec<Received>) -> Result<(), PayloadError> {
        // An empty POST has no message, as on the other wires.
        if payload.is_empty() {
            return Ok(());
        }
        let mut messages = Vec::new();
        envelope::decode_from_client(payload, self.0, &mut messages).map_err(PayloadError::rest)?;
        out.extend(messages.into_iter().map(Received::Json));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> ByteString {
        let mut out = BytesMut::new();
        write(&mut out);
        ByteString::try_from(out).unwrap()
    }

    fn joined(codec: &dyn MessageCodec, payloads: &[&str]) -> ByteString {
        written(|out| codec.join(&mut payloads.iter().map(|p| p.as_bytes()), out))
    }

    #[test]
    fn payloads_are_joined() {
        assert_eq!(joined(&Framing, &["~m~1~m~a", "~m~1~m~b"]), "~m~1~m~a~m~1~m~b");
        assert_eq!(joined(&Streaming, &["1:2::a,", "0:0:,"]), "1:2::a,0:0:,");
        for (payloads, whole) in [
            (&[][..], ""),
            (&["{\"messages\":[\"a\"]}"], "{\"messages\":[\"a\"]}"),
            (
                &["{\"messages\":[\"a\",1]}", "{\"messages\":[]}", "{\"messages\":[null]}"],
                "{\"messages\":[\"a\",1,null]}",
            ),
        ] {
            assert_eq!(joined(&Envelope, payloads), whole);
        }
    }

    /// The differences from 0.6 in the text around payloads (docs/protocol/legacy-0.6.md §15,
    /// docs/protocol/legacy-streaming.md §1).
    #[test]
    fn wrappers() {
        let codecs: [&dyn MessageCodec; 3] = [&Framing, &Streaming, &Envelope];
        let htmlfile = codecs.map(|codec| written(|out| codec.wrap_htmlfile("{\"messages\":[1]}", out)));
        let string = "<script>parent.s._(\"{\\\"messages\\\":[1]}\", document);</script>";
        let object = "<script>parent.s._({\"messages\":[1]}, document);</script>";
        assert_eq!(htmlfile, [string, string, object]);
        let heartbeat = written(|out| Envelope.encode_heartbeat(7, out));
        assert_eq!(heartbeat, "{\"heartbeat\":\"7\"}");
        assert_eq!(
            written(|out| Envelope.wrap_htmlfile(&heartbeat, out)),
            "<!-- heartbeat -->"
        );
        let part = written(|out| Envelope.wrap_multipart(&heartbeat, out));
        assert_eq!(
            part,
            "Content-Type: text/plain; charset=us-ascii\n\n\u{6}\n--socketio\n"
        );
        assert_eq!(
            written(|out| Envelope.wrap_multipart("{}", out)),
            "Content-Type: text/plain\n\n{}\n--socketio\n"
        );
        assert_eq!(written(|out| Framing.wrap_jsonp(0, "x", out)), "io.JSONP[0]._(\"x\");");
        assert_eq!(written(|out| Streaming.wrap_jsonp(0, "x", out)), "io.JSONP[0]._(\"x\")");
    }

    /// Hardening A12: no text is read as a heartbeat, as JSON, as an event, or as the end of a
    /// part.
    #[test]
    fn a_text_is_nothing_but_a_text() {
        let said = |codec: &dyn MessageCodec, json: &str| {
            written(|out| codec.encode_messages(&[PlainMessage::new(json)], out))
        };
        for (json, framed) in [
            (
                r#""~j~{\"event\":\"admin\"}""#,
                r#"~m~29~m~~j~"~j~{\"event\":\"admin\"}""#,
            ),
            (r#""~h~1""#, r#"~m~9~m~~j~"~h~1""#),
            (r#""\u007eh~1""#, r#"~m~14~m~~j~"\u007eh~1""#),
            (r#""~m~1~m~x""#, "~m~8~m~~m~1~m~x"),
            (r#"" ~j~1""#, "~m~5~m~ ~j~1"),
            (r#""~J~""#, "~m~3~m~~J~"),
        ] {
            assert_eq!(said(&Framing, json), framed, "{json}");
        }
        let forged = r#""a\n--socketio\nContent-Type: text/plain\n\n~m~4~m~~h~1""#;
        for (codec, json) in [
            (&Framing as &dyn MessageCodec, forged),
            (&Streaming, forged),
            (&Envelope, forged),
            (&Framing, r#"{"a":"--socketio"}"#),
            (&Envelope, r#""--socketio\n""#),
        ] {
            let payload = said(codec, json);
            assert!(!payload.contains("--socketio"), "{payload}");
            let part = written(|out| codec.wrap_multipart(&payload, out));
            assert_eq!(part.matches("--socketio").count(), 1, "{part}");
        }
        let streamed = said(&Streaming, r#""--socketio""#);
        assert_eq!(streamed, "1:20:j\n:\"\\u002d-socketio\",");
    }

    #[test]
    fn heartbeats_by_transport() {
        let ten = Duration::from_secs(10);
        for (transport, framing, envelope, interval) in [
            (Transport::Websocket, Heartbeats::Echoed, Heartbeats::Unanswered, 10),
            (Transport::Htmlfile, Heartbeats::Echoed, Heartbeats::Unanswered, 5),
            (Transport::XhrMultipart, Heartbeats::Echoed, Heartbeats::Unanswered, 5),
            (Transport::XhrPolling, Heartbeats::None, Heartbeats::None, 10),
        ] {
            assert_eq!(Framing.heartbeats(transport), framing);
            assert_eq!(Streaming.heartbeats(transport), framing);
            assert_eq!(Envelope.heartbeats(transport), envelope);
            assert_eq!(Envelope.heartbeat_interval(transport, ten).as_secs(), interval);
            assert_eq!(Framing.heartbeat_interval(transport, ten), ten);
        }
    }
}
