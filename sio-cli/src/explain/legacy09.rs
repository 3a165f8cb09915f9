//! Packets, payloads and handshakes of Socket.IO 0.7 to 0.9.

use sio_proto::ByteString;
use sio_proto::json;
use sio_proto::legacy::legacy09::handshake::Handshake;
use sio_proto::legacy::legacy09::payload;
use sio_proto::legacy::legacy09::{Body, DecodeError, Packet};

use super::engine::measured;
use super::rules;
use super::sheet::{Sheet, VALUE, place, shown};

const MARK: &str = "\u{fffd}";

/// The most packets of one payload.
const MAX_PACKETS: usize = 100_000;

/// Explains one packet.
pub(super) fn packet(sheet: &mut Sheet, text: &ByteString) {
    let decoded = Packet::decode(text);
    let mut pieces = text.splitn(4, ':');
    let kind = pieces.next().unwrap_or_default();
    let (id, endpoint, data) = (pieces.next(), pieces.next(), pieces.next());
    sheet.part(0, kind, kind_of(kind));
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        let meaning = match id.ends_with('+') {
            true => "id: the application of the receiver answers",
            false => "id: the receiver answers at once",
        };
        sheet.part(place(text, id), id, meaning);
    }
    if let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) {
        sheet.part(place(text, endpoint), endpoint, "the namespace");
    }
    match decoded {
        Ok(packet) => body(sheet, text, &packet.body, data),
        Err(error) => {
            let data = data.unwrap_or_default();
            if !data.is_empty() {
                sheet.part(place(text, data), data, "the data");
            }
            let at = match error {
                DecodeError::Unparsable | DecodeError::UnknownType => 0,
                _ if data.is_empty() => text.len(),
                DecodeError::InvalidJson => place(text, data) + json::stops_at(data, json::MAX_DEPTH),
                _ => place(text, data),
            };
            sheet.problem(at, &error, rules::packet_09(error));
        }
    }
}

fn kind_of(kind: &str) -> &'static str {
    match kind {
        "0" => "disconnect",
        "1" => "connect",
        "2" => "heartbeat, which the client echoes",
        "3" => "message, text",
        "4" => "message, JSON",
        "5" => "event",
        "6" => "acknowledgement",
        "7" => "error",
        "8" => "noop: ends a poll",
        _ => "the type of the packet",
    }
}

fn body(sheet: &mut Sheet, text: &str, body: &Body, data: Option<&str>) {
    let data = data.unwrap_or_default();
    let at = place(text, data);
    match body {
        Body::Event { name, args } => {
            sheet.part(at, data, format!("event {}", shown(name, VALUE)));
            let args = args.trim_matches(|c: char| c == '[' || c == ']' && args.len() > 1);
            if !args.is_empty() {
                sheet.note(format!("arguments {}", shown(args, VALUE)));
            }
        }
        Body::Ack { id, args } => {
            let answer = args.as_ref().map_or("nothing", |args| args);
            let meaning = format!("answers the packet with the id {id}, with {}", shown(answer, VALUE));
            sheet.part(at, data, meaning);
        }
        Body::Error { reason, reconnect } => {
            let reason = reason.map_or("no known reason", sio_proto::legacy::legacy09::Reason::text);
            let advice = if *reconnect {
                "; the client should connect anew"
            } else {
                ""
            };
            sheet.part(at.min(text.len()), data, format!("{reason}{advice}"));
        }
        Body::Message(_) => sheet.part(at, data, "the text"),
        Body::Json(_) => sheet.part(at, data, "the JSON value"),
        Body::Connect(_) | Body::Disconnect | Body::Heartbeat | Body::Noop if data.is_empty() => {}
        Body::Connect(_) => sheet.part(at, data, "the query"),
        Body::Disconnect | Body::Heartbeat | Body::Noop => sheet.part(at, data, "data without a meaning"),
    }
}

/// Explains the body of a poll or POST.
pub(super) fn payload(sheet: &mut Sheet, body: &ByteString) {
    let verdict = payload::decode(body, MAX_PACKETS, &mut Vec::new());
    if body.is_empty() {
        return sheet.note("an empty payload, without packets");
    }
    if !body.starts_with(MARK) {
        sheet.note("one packet, as it is");
        return sheet.inside(Some(0), |sheet| packet(sheet, body));
    }
    let mut rest = &**body;
    while let Some((length, units, text)) = rest.strip_prefix(MARK).and_then(|header| measured(header, MARK)) {
        let at = place(body, rest);
        let head = 2 * MARK.len() + length.len();
        sheet.part(
            at,
            &rest[..head],
            format!("the length of the packet: {units} UTF-16 units"),
        );
        let text = body.slice_ref(text);
        sheet.inside(Some(at + head), |sheet| packet(sheet, &text));
        rest = &rest[head + text.len()..];
    }
    if let Err(error) = verdict {
        sheet.problem(place(body, rest), &error, rules::payload_09(error));
    }
}

/// Explains the answer to a handshake.
pub(super) fn handshake(sheet: &mut Sheet, body: &ByteString) {
    if let Err(error) = Handshake::decode(body) {
        sheet.part(0, body, "the answer to a handshake");
        return sheet.problem(0, &error, rules::handshake_09(error));
    }
    let meanings = [
        "the id of the session: a secret",
        "seconds between heartbeats; empty means none",
        "seconds until a connection counts as lost; empty means never",
        "the transports that the server has",
    ];
    for (piece, meaning) in body.splitn(4, ':').zip(meanings) {
        sheet.part(place(body, piece), piece, meaning);
    }
}
