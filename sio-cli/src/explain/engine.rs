//! Packets and payloads of Engine.IO.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::Value;
use sio_proto::ByteString;
use sio_proto::engine::{Dialect, Packet, PayloadError, Revision, payload, payload_v3};
use sio_proto::socket;

use super::conversation::Conversation;
use super::rules;
use super::sheet::{Sheet, VALUE, count, shown};

/// The most packets of one payload.
const MAX_PACKETS: usize = 100_000;

const SEPARATOR: char = '\u{1e}';

/// The Socket.IO revision that travels in an Engine.IO revision.
const fn inner(revision: Revision) -> socket::Revision {
    match revision {
        Revision::V3 => socket::Revision::Four,
        Revision::V4 => socket::Revision::Five,
    }
}

/// Explains one packet in its text form.
pub(super) fn text_packet(sheet: &mut Sheet, text: &ByteString, revision: Revision, talk: &mut Conversation) {
    talk.revision = inner(revision);
    let packet = match Packet::decode_text(revision, text) {
        Ok(packet) => packet,
        Err(error) => {
            if let Some(first) = text.chars().next() {
                sheet.part(0, &text[..first.len_utf8()], "the type of the packet");
            }
            let at = usize::from(matches!(error, sio_proto::engine::DecodeError::InvalidBase64));
            return sheet.problem(at, &error, rules::engine(error));
        }
    };
    let kind = &text[..1];
    let rest = text.slice_ref(&text[1..]);
    match packet {
        Packet::Open(json) => {
            sheet.part(0, kind, "open: the server begins a session");
            sheet.inside(Some(1), |sheet| open(sheet, &json));
        }
        Packet::Close => said(sheet, kind, &rest, "close: the session ends"),
        Packet::Ping(data) => said(sheet, kind, &rest, ping(revision, &data)),
        Packet::Pong(data) => said(sheet, kind, &rest, pong(revision, &data)),
        Packet::Message(message) if talk.raw => {
            sheet.part(0, kind, "message");
            sheet.part(1, &message, "the text of the message");
        }
        Packet::Message(message) => {
            sheet.part(0, kind, "message: the rest is for Socket.IO");
            sheet.inside(Some(1), |sheet| super::socket::message(sheet, &message, talk));
        }
        Packet::Binary(bytes) => {
            let mark = if revision == Revision::V3 { &text[..2] } else { kind };
            sheet.part(0, mark, "a binary message, written in base64");
            sheet.part(mark.len(), &text[mark.len()..], count(bytes.len(), "byte"));
            sheet.inside(None, |sheet| talk.binary(sheet, &bytes));
        }
        Packet::Upgrade => said(sheet, kind, &rest, "upgrade: the client goes on with this transport"),
        Packet::Noop => said(sheet, kind, &rest, "noop: ends a poll"),
    }
}

fn said(sheet: &mut Sheet, kind: &str, rest: &str, meaning: &str) {
    sheet.part(0, kind, meaning);
    if !rest.is_empty() {
        sheet.part(1, rest, "its data");
    }
}

fn ping(revision: Revision, data: &str) -> &'static str {
    match (data, revision) {
        ("probe", _) => "ping: the client tries a new transport",
        (_, Revision::V3) => "ping: the heartbeat of the client",
        (_, Revision::V4) => "ping: the heartbeat of the server",
    }
}

fn pong(revision: Revision, data: &str) -> &'static str {
    match (data, revision) {
        ("probe", _) => "pong: the server answers the probe, so the new transport works",
        (_, Revision::V3) => "pong: the server answers the heartbeat",
        (_, Revision::V4) => "pong: the client answers the heartbeat",
    }
}

/// Explains the JSON of an open packet.
pub(super) fn open(sheet: &mut Sheet, json: &str) {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(json) else {
        sheet.part(0, json, "the data of the session");
        return sheet.problem(0, &"the data of an open packet is no JSON object", rules::ENGINE_OPEN);
    };
    for (name, meaning) in [
        (
            "sid",
            "the id of the session, which the client sends with each request: a secret",
        ),
        ("upgrades", "the transports to which the session may move"),
        ("pingInterval", "milliseconds between heartbeats"),
        ("pingTimeout", "milliseconds within which a heartbeat must come"),
        ("maxPayload", "most bytes of a request's body"),
    ] {
        let Some(value) = fields.get(name) else {
            if name != "maxPayload" {
                sheet.problem(None, &format_args!("the open packet has no {name}"), rules::ENGINE_OPEN);
            }
            continue;
        };
        let at = json.find(&format!("\"{name}\"")).unwrap_or(0);
        sheet.part(at, &format!("{name} {value}"), meaning);
    }
    for (name, value) in fields {
        if !["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"].contains(&name.as_str()) {
            sheet.note(format!("{} {}", shown(&name, 40), shown(&value.to_string(), VALUE)));
        }
    }
}

/// Explains one packet in its binary form.
pub(super) fn binary_packet(sheet: &mut Sheet, bytes: &Bytes, revision: Revision, talk: &mut Conversation) {
    talk.revision = inner(revision);
    match Packet::decode_binary(revision, bytes.clone()) {
        Ok(Packet::Binary(data)) => {
            let skip = bytes.len() - data.len();
            if skip > 0 {
                sheet.bytes(0, &bytes[..skip], "the type message, as a number");
            }
            sheet.inside(Some(skip), |sheet| talk.binary(sheet, &data));
        }
        Ok(_) => {}
        Err(error) => {
            sheet.bytes(0, &bytes[..bytes.len().min(1)], "the type of the packet, as a number");
            sheet.problem(0, &error, rules::engine(error));
        }
    }
}

/// Explains a payload of revision 4.
pub(super) fn payload_4(sheet: &mut Sheet, body: &ByteString, talk: &mut Conversation) {
    if body.is_empty() {
        return sheet.problem(
            0,
            &PayloadError::EmptyBody,
            rules::payload(PayloadError::EmptyBody, false),
        );
    }
    let mut at = 0;
    let packets = payload::decode(body.clone(), MAX_PACKETS);
    for (index, packet) in packets.enumerate() {
        if index > 0 {
            sheet.part(at - 1, "\u{1e}", "U+001E: the next packet follows");
        }
        let rest = &body[at.min(body.len())..];
        let end = rest.find(SEPARATOR).unwrap_or(rest.len());
        let text = body.slice_ref(&rest[..end]);
        sheet.inside(Some(at), |sheet| {
            if packet == Err(PayloadError::TooManyPackets) {
                sheet.problem(
                    0,
                    &PayloadError::TooManyPackets,
                    rules::payload(PayloadError::TooManyPackets, false),
                );
            } else {
                text_packet(sheet, &text, Revision::V4, talk);
            }
        });
        at += end + 1;
    }
}

/// Explains a text payload of revision 3.
pub(super) fn payload_3(sheet: &mut Sheet, body: &ByteString, talk: &mut Conversation) {
    let mut packets = payload_v3::decode_text(body.clone(), Dialect::Auto, MAX_PACKETS);
    let mut dialect = Dialect::Auto;
    let mut rest = &**body;
    while let Some((length, units, packet)) = measured(rest, ":") {
        let at = body.len() - rest.len();
        rest = &rest[length.len() + 1 + packet.len()..];
        let text = body.slice_ref(packet);
        sheet.part(
            at,
            &format!("{length}:"),
            format!("the length of the packet: {}", count(units, "UTF-16 unit")),
        );
        if packet.is_empty() {
            sheet.note("no packet");
            continue;
        }
        let meant = dialect.resolve(text.clone());
        let start = (meant == text).then_some(at + length.len() + 1);
        sheet.inside(start, |sheet| {
            if start.is_none() {
                sheet.note("its text is encoded twice, as Socket.IO 1.x does (docs/protocol/engine-io.md §3.3)");
            }
            text_packet(sheet, &meant, Revision::V3, talk);
        });
        match packets.next() {
            Some(Err(error @ PayloadError::TooManyPackets)) => {
                return sheet.problem(at, &error, rules::payload(error, true));
            }
            Some(Err(_)) | None => return,
            Some(Ok(_)) => {}
        }
    }
    if let Some(Err(error)) = packets.next() {
        let at = body.len() - rest.len();
        if !rest.is_empty() {
            sheet.part(at, rest, "no length and packet");
        }
        sheet.problem(at, &error, rules::payload(error, true));
    }
}

/// Reads digits, `mark`, and as many UTF-16 units as the digits say. Returns the digits, the
/// number, and the text of these units.
pub(super) fn measured<'a>(text: &'a str, mark: &str) -> Option<(&'a str, usize, &'a str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let units: usize = Some(&text[..digits])
        .filter(|digits| digits.len() <= 10)?
        .parse()
        .ok()?;
    let behind = text[digits..].strip_prefix(mark)?;
    let end = offset(behind, units, char::len_utf16)?;
    Some((&text[..digits], units, &behind[..end]))
}

/// The index of the byte behind `units` units of `text`, if a character ends there.
pub(super) fn offset(text: &str, units: usize, unit: impl Fn(char) -> usize) -> Option<usize> {
    let mut left = units;
    for (at, c) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(unit(c))?;
    }
    (left == 0).then_some(text.len())
}

/// Explains a binary payload of revision 3.
pub(super) fn binary_payload_3(sheet: &mut Sheet, body: &Bytes, talk: &mut Conversation) {
    let packets = payload_v3::decode_binary(body.clone(), Dialect::Auto, MAX_PACKETS);
    let mut at = 0;
    for packet in packets {
        let rest = body.slice(at..);
        let digits = rest.iter().skip(1).take_while(|byte| **byte <= 9).count();
        let length = rest[..].get(1..=digits).unwrap_or_default();
        let length = length.iter().fold(0usize, |sum, digit| {
            sum.saturating_mul(10).saturating_add((*digit).into())
        });
        let head = (digits + 2).min(rest.len());
        let end = head.saturating_add(length).min(rest.len());
        let what = if rest[0] == 0 {
            "a text packet"
        } else {
            "a binary packet"
        };
        sheet.bytes(at, &rest[..head], format!("{what} of {}", count(length, "byte")));
        match packet {
            Ok(_) | Err(PayloadError::Packet(_)) => sheet.inside(Some(at + head), |sheet| {
                let packet = rest.slice(head..end);
                match (rest[0], ByteString::try_from(packet.clone())) {
                    (0, Ok(text)) => text_packet(sheet, &text, Revision::V3, talk),
                    (0, Err(_)) => sheet.problem(0, &"invalid UTF-8", rules::TEXT),
                    _ => binary_packet(sheet, &packet, Revision::V3, talk),
                }
            }),
            Err(error @ (PayloadError::InvalidLength | PayloadError::Truncated)) => {
                return sheet.problem(at, &error, rules::BINARY_LENGTH);
            }
            Err(error) => return sheet.problem(at, &error, rules::payload(error, true)),
        }
        at += end;
    }
    if body.is_empty() {
        sheet.problem(
            0,
            &PayloadError::EmptyBody,
            rules::payload(PayloadError::EmptyBody, true),
        );
    }
}

/// Reads base64 as people paste it: with or without padding, in either alphabet, with white space.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut plain: String = text.chars().filter(|c| !c.is_whitespace() && *c != '=').collect();
    plain = plain.replace('-', "+").replace('_', "/");
    while !plain.len().is_multiple_of(4) {
        plain.push('=');
    }
    BASE64_STANDARD.decode(plain).ok()
}
