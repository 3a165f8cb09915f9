//! The bodies of polls and POSTs, and websocket messages, in either revision
//! (docs/protocol/engine-io.md §2-§4). No state, no lock.
//!
//! | | revision 4 | revision 3 |
//! |---|---|---|
//! | poll, POST | packets joined by U+001E | length-prefixed text; binary framing if a packet is binary and the peer can take it |
//! | JSONP | a poll's payload in a script | a poll's payload in a script, binary as base64 |
//! | binary websocket message | the data | a type byte, then the data |
//!
//! Text of revision 3 that is not ASCII stays a [`Packet::Message`] here, whatever it holds,
//! because only the session knows its dialect (docs/protocol/engine-io.md §3.3).

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::{Inbound, PollEncoding};
use crate::breach::{Breach, BreachKind};
use crate::codec::{self, PacketParser, Parsed};
use crate::detect::EngineIo;
use crate::engine::{Dialect, EngineMessage, Packet, PayloadError, Revision, frames, jsonp, payload, payload_v3};
use crate::json::Controls;
use crate::socket::text::{Decoded, PartialEvent, Places, TextEvent};
use crate::{Config, Frame, http, socket};

/// `Content-Type` of polls of text.
const TEXT: &str = "text/plain; charset=UTF-8";
/// `Content-Type` of polls of script. Genuine servers send `text/plain` for scripts, and browsers
/// run it anyway. With `nosniff` they would not.
const SCRIPT: &str = "text/javascript; charset=UTF-8";
/// `Content-Type` of binary payloads.
const BINARY: &str = "application/octet-stream";

/// The form of a POST's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PostForm {
    pub(crate) revision: Revision,
    /// Whether the body is a form, with the payload in its field `d`.
    pub(crate) jsonp: bool,
}

/// Decodes the body of a POST, in the form that its query names.
pub(crate) fn decode_body(
    config: &Config,
    request: &http::Request,
    raw: bool,
    route: &EngineIo,
    body: Bytes,
) -> Vec<Inbound> {
    decode_post(
        config,
        request,
        raw,
        post_form(route),
        body,
        config.max_packets_per_payload,
    )
}

pub(crate) fn post_form(route: &EngineIo) -> PostForm {
    PostForm {
        revision: route.version.revision().unwrap_or(Revision::V3),
        jsonp: route.jsonp.is_some(),
    }
}

/// Decodes the body of a POST that may have this number of packets.
pub(crate) fn decode_post(
    config: &Config,
    request: &http::Request,
    raw: bool,
    form: PostForm,
    body: Bytes,
    max_packets: usize,
) -> Vec<Inbound> {
    let binary = request.is_content_type(BINARY);
    match form.revision {
        // Refused as a whole (docs/protocol/engine-io.md §4.4).
        Revision::V4 if binary => Vec::new(),
        Revision::V3 if binary && !form.jsonp => {
            let packets = payload_v3::decode_binary(body, Dialect::Plain, max_packets);
            collect(packets, max_packets, form.revision, raw, config)
        }
        revision => {
            let text = match form.jsonp {
                true => match jsonp::decode_post(&body) {
                    Some(text) => text,
                    None => return Vec::new(), // ignored, docs/protocol/engine-io.md §4.6
                },
                false => match ByteString::try_from(body) {
                    Ok(text) => text,
                    Err(_) => {
                        let breach = Breach::new(BreachKind::Payload, "the body is not UTF-8");
                        return alloc::vec![Inbound::Broken(breach)];
                    }
                },
            };
            match revision {
                Revision::V4 => {
                    let packets = payload::decode(text, max_packets);
                    collect(packets, max_packets, revision, raw, config)
                }
                Revision::V3 => {
                    let packets = payload_v3::decode_text(text, Dialect::Plain, max_packets);
                    collect(packets, max_packets, revision, raw, config)
                }
            }
        }
    }
}

/// Collects the packets of a body, at most `max_packets` and an error.
fn collect(
    packets: impl Iterator<Item = Result<Packet, PayloadError>>,
    max_packets: usize,
    revision: Revision,
    raw: bool,
    config: &Config,
) -> Vec<Inbound> {
    let mut collected = Vec::new();
    for (packet, place) in packets.zip(1..) {
        reserve_place(&mut collected, max_packets.saturating_add(1));
        collected.push(match packet {
            Ok(packet) => inbound(packet, revision, raw, config),
            Err(error) => Inbound::Broken(broken_payload(error, place)),
        });
    }
    collected
}

/// Makes a place for one more packet. The places double, but there are never more than `most`: at
/// the limit, the last doubling would be the largest part of what a body costs.
#[inline]
fn reserve_place(packets: &mut Vec<Inbound>, most: usize) {
    if packets.len() == packets.capacity() && packets.capacity() >= most / 2 {
        packets.reserve_exact(most.saturating_sub(packets.len()).max(1));
    }
}

/// The breach of a packet in a body. `place` is its position, counted from one.
#[cold]
fn broken_payload(error: PayloadError, place: usize) -> Breach {
    let kind = match error {
        PayloadError::Packet(_) => BreachKind::EnginePacket,
        _ => BreachKind::Payload,
    };
    Breach::new(kind, format_args!("{error}, in packet {place} of a body"))
}

/// Decodes one text message of a websocket. `controls` says what is known of the text.
pub(crate) fn decode_text(
    text: ByteString,
    revision: Revision,
    raw: bool,
    controls: Controls,
    config: &Config,
) -> Inbound {
    // Most messages are packets of Socket.IO. Their parts are slices of the whole message.
    if !raw
        && config.parser.is_none()
        && text.as_bytes().first() == Some(&b'4')
        && (revision == Revision::V4 || text.is_ascii())
    {
        return decode_standard(text, 1, revision, controls, config);
    }
    match Packet::decode_text(revision, &text) {
        Ok(packet) => inbound(packet, revision, raw, config),
        Err(error) => Inbound::Broken(Breach::new(BreachKind::EnginePacket, error)),
    }
}

/// Decodes one binary message of a websocket.
pub(crate) fn decode_binary(bytes: Bytes, revision: Revision, raw: bool, config: &Config) -> Inbound {
    match Packet::decode_binary(revision, bytes) {
        Ok(packet) => inbound(packet, revision, raw, config),
        Err(error) => Inbound::Broken(Breach::new(BreachKind::EnginePacket, error)),
    }
}

fn inbound(packet: Packet, revision: Revision, raw: bool, config: &Config) -> Inbound {
    match packet {
        Packet::Message(text) if !raw && (revision == Revision::V4 || text.is_ascii()) => {
            decode_socket(text, revision, config)
        }
        Packet::Binary(bytes) if !raw => match &config.parser {
            None => Inbound::Engine(Packet::Binary(bytes)),
            Some(parser) => parse(&**parser, EngineMessage::Binary(bytes), revision, config),
        },
        packet => Inbound::Engine(packet),
    }
}

/// Decodes a message of Socket.IO whose dialect is known.
pub(crate) fn decode_socket(text: ByteString, revision: Revision, config: &Config) -> Inbound {
    if let Some(parser) = &config.parser {
        return parse(&**parser, EngineMessage::Text(text), revision, config);
    }
    decode_standard(text, 0, revision, Controls::Unknown, config)
}

/// Decodes a packet of Socket.IO in the standard form, from byte `at` of a text on.
#[inline]
fn decode_standard(text: ByteString, at: usize, revision: Revision, controls: Controls, config: &Config) -> Inbound {
    let revision = match revision {
        Revision::V4 => socket::Revision::Five,
        // Nothing distinguishes revision 3 from revision 4, and this decoder reads both.
        Revision::V3 => socket::Revision::Four,
    };
    if text.as_bytes().get(at) == Some(&b'2') {
        return decode_event(text, at, revision, controls, config);
    }
    decode_other(text, at, revision, config)
}

/// Decodes a packet of Socket.IO in the standard form that is no event without attachments.
#[inline]
fn decode_other(text: ByteString, at: usize, revision: socket::Revision, config: &Config) -> Inbound {
    if text.as_bytes().get(at) == Some(&b'5')
        && let Some((places, announced)) = socket::text::short_partial_at(&text, at, &config.packet)
    {
        return Inbound::Partial(PartialEvent::new(TextEvent::new(text, places), announced));
    }
    match socket::text::decode_at(&text, at, revision, socket::Role::Server, &config.packet) {
        Ok(decoded) => Inbound::Socket(decoded),
        Err(error) => Inbound::Broken(broken_packet(text.get(at..).unwrap_or_default(), error, config)),
    }
}

/// Decodes an event of Socket.IO in the standard form. This is the usual packet.
#[inline]
fn decode_event(
    text: ByteString,
    at: usize,
    revision: socket::Revision,
    controls: Controls,
    config: &Config,
) -> Inbound {
    if let Some(places) = socket::text::short_event_at(&text, at, &config.packet) {
        return Inbound::Event(TextEvent::new(text, places));
    }
    let parts = match socket::text::event_at(&text, at, revision, controls, &config.packet) {
        Ok(parts) => parts,
        Err(error) => return Inbound::Broken(broken_packet(text.get(at..).unwrap_or_default(), error, config)),
    };
    match Places::of(&parts, &text) {
        Some(places) => Inbound::Event(TextEvent::new(text, places)),
        None => Inbound::Socket(Decoded::Packet(parts.packet(&text))),
    }
}

/// The breach of the text of a packet. If the JSON is wrong, it includes the position.
#[cold]
fn broken_packet(text: &str, error: socket::text::DecodeError, config: &Config) -> Breach {
    let kind = BreachKind::SocketPacket;
    match error {
        socket::text::DecodeError::InvalidJson(_) => {
            let at = socket::text::stops_at(text, &config.packet);
            Breach::new(
                kind,
                format_args!("{error}, at byte {at} of a packet of {}", text.len()),
            )
        }
        error => Breach::new(kind, error),
    }
}

/// Decodes a message of Socket.IO with the operator's parser.
#[cold]
fn parse(parser: &dyn PacketParser, message: EngineMessage, revision: Revision, config: &Config) -> Inbound {
    match codec::parse(parser, message, revision, &config.packet) {
        Ok(Parsed::Packet(packet)) => Inbound::Socket(Decoded::Packet(packet)),
        Ok(Parsed::Part(part)) => Inbound::Part(part),
        Ok(Parsed::Nothing) => Inbound::Socket(Decoded::Nothing),
        Err(error) => Inbound::Broken(Breach::new(BreachKind::SocketPacket, error)),
    }
}

/// What is known about the peer of a poll of revision 3.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer3 {
    /// How the peer encodes text.
    pub(crate) dialect: Dialect,
    /// Whether the peer gets all polls in binary framing.
    pub(crate) binary: bool,
}

/// How the body of a poll with these packets is written, and its `Content-Type`.
pub(crate) fn poll_encoding(
    revision: Revision,
    jsonp: Option<&str>,
    peer: Peer3,
    frames: &[Frame],
) -> (&'static str, PollEncoding) {
    let doubled = peer.dialect == Dialect::Double;
    match (revision, jsonp) {
        (Revision::V4, None) => (TEXT, PollEncoding::Engine4),
        (Revision::V4, Some(index)) => (SCRIPT, PollEncoding::Engine4Jsonp(index.into())),
        (Revision::V3, Some(index)) if doubled => (SCRIPT, PollEncoding::Engine3DoubledJsonp(index.into())),
        (Revision::V3, Some(index)) => (SCRIPT, PollEncoding::Engine3Jsonp(index.into())),
        // A peer that cannot take binary has no binary frames. Text in binary framing is plain in
        // either dialect.
        (Revision::V3, None) if peer.binary || frames.iter().any(Frame::is_binary) => {
            (BINARY, PollEncoding::Engine3Binary)
        }
        (Revision::V3, None) if doubled => (TEXT, PollEncoding::Engine3Doubled),
        (Revision::V3, None) => (TEXT, PollEncoding::Engine3),
    }
}

/// Puts packets together as a payload of revision 4.
pub(crate) fn encode_v4(frames: &[Frame], out: &mut BytesMut) {
    let mut writer = payload::Writer::new(out);
    for frame in frames {
        step!(bulk frame.len());
        match frame.is_binary() {
            false => writer.text_bytes(frame.payload()),
            true => writer.binary(frame.payload()),
        }
    }
}

/// Puts packets together as a text payload of revision 3.
pub(crate) fn encode_v3(frames: &[Frame], out: &mut BytesMut) {
    let mut writer = payload_v3::TextWriter::new(out);
    for frame in frames {
        step!(bulk frame.len());
        match text_of(frame) {
            Some(text) => writer.text(text),
            None => writer.binary(frames::data(Revision::V3, frame)),
        }
    }
}

/// Puts packets together as a text payload of revision 3 whose text is encoded twice.
pub(crate) fn encode_v3_doubled(frames: &[Frame], out: &mut BytesMut) {
    let mut writer = payload_v3::TextWriter::new(out);
    for frame in frames {
        step!(bulk frame.len());
        match text_of(frame) {
            Some(text) => writer.doubled(text),
            None => writer.binary(frames::data(Revision::V3, frame)),
        }
    }
}

/// Puts packets together as a binary payload of revision 3.
pub(crate) fn encode_v3_binary(frames: &[Frame], out: &mut BytesMut) {
    let mut writer = payload_v3::BinaryWriter::new(out);
    for frame in frames {
        step!(bulk frame.len());
        match text_of(frame) {
            Some(text) => writer.text(text),
            None => writer.binary(frames::data(Revision::V3, frame)),
        }
    }
}

/// Wraps a payload in a script.
pub(crate) fn encode_script(index: &str, out: &mut BytesMut) {
    let payload = out.split();
    let text = core::str::from_utf8(&payload).unwrap_or_default();
    jsonp::write_script(index, text, out);
}

fn text_of(frame: &Frame) -> Option<&str> {
    core::str::from_utf8(frame.payload())
        .ok()
        .filter(|_| !frame.is_binary())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At the limit of packets, the places of packets cost no more than the packets: to double them
    /// once more for one packet would be the largest part of what such a body costs.
    #[test]
    fn a_body_of_most_packets_takes_no_more_places_than_it_may_have() {
        let decode = |count: usize, max_packets: usize| {
            let packets = payload_v3::decode_text("1:2".repeat(count).into(), Dialect::Plain, max_packets);
            collect(packets, max_packets, Revision::V3, false, &Config::default())
        };
        for max_packets in [1, 2, 3, 7, 8, 9, 1_000, 1_023, 1_024, 1_025] {
            let whole = decode(max_packets, max_packets);
            assert_eq!(whole.len(), max_packets);
            assert!(!whole.iter().any(|packet| matches!(packet, Inbound::Broken(_))));
            let more = decode(max_packets * 3 + 1, max_packets);
            assert_eq!(more.len(), max_packets + 1);
            assert!(matches!(more.last(), Some(Inbound::Broken(_))));
            for packets in [whole, more] {
                // A list begins with four places.
                assert!(packets.capacity() <= max_packets.max(3) + 1, "{max_packets}");
            }
        }
        assert!(decode(5, 1_000_000).capacity() <= 8);
    }
}
