//! Packets of the streaming codec of November 2010.

use sio_proto::ByteString;
use sio_proto::json;
use sio_proto::legacy::streaming::{Decoder, Packet};

use super::engine::offset;
use super::rules;
use super::sheet::{Sheet, VALUE, shown};

/// The longest packet, in UTF-16 units.
const MAX_LENGTH: usize = 1 << 26;

/// The most packets at once.
const MAX_PACKETS: usize = 100_000;

/// Explains a piece of a stream.
pub(super) fn packets(sheet: &mut Sheet, text: &ByteString) {
    let mut decoder = Decoder::new(MAX_LENGTH, MAX_PACKETS);
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let end = end(rest).unwrap_or(rest.len());
        let piece = text.slice_ref(&rest[..end]);
        let mut packets = Vec::new();
        if let Err(error) = decoder.decode(&piece, &mut packets) {
            sheet.part(at, rest, "no packet");
            return sheet.problem(at, &error, rules::streaming(error));
        }
        let Some(packet) = packets.first() else {
            sheet.part(at, rest, "a packet that goes on in the next piece of the stream");
            return;
        };
        let head = head(&piece);
        sheet.part(at, &piece[..head], format!("a packet, TYPE:LEN: {}", kind(packet)));
        sheet.inside(Some(at + head), |sheet| {
            content(sheet, &piece[head..piece.len() - 1], packet)
        });
        at += end;
    }
}

/// The length of `TYPE:LEN:`.
fn head(piece: &str) -> usize {
    let colons = piece.match_indices(':').nth(1);
    colons.map_or(0, |(at, _)| at + 1)
}

/// Where the first packet ends, behind its comma.
fn end(rest: &str) -> Option<usize> {
    let start = head(rest);
    let length = rest.get(2..start.checked_sub(1)?)?.parse().ok()?;
    let content = &rest[start..];
    let ends = |unit: fn(char) -> usize| {
        let end = offset(content, length, unit)?;
        content[end..].starts_with(',').then_some(start + end + 1)
    };
    ends(char::len_utf16).or_else(|| ends(|_| 1))
}

const fn kind(packet: &Packet) -> &'static str {
    match packet {
        Packet::Disconnect => "the session ends",
        Packet::Message { .. } => "a message",
        Packet::Heartbeat(_) => "a heartbeat, which the client echoes",
        Packet::Handshake(_) => "the id of the session",
        Packet::Unknown(..) => "a type without a meaning, which peers ignore",
    }
}

fn content(sheet: &mut Sheet, text: &str, packet: &Packet) {
    let Packet::Message { annotations, data } = packet else {
        if !text.is_empty() {
            sheet.part(0, text, "its content");
        }
        return;
    };
    for (key, value) in annotations.iter() {
        let meaning = match key {
            "j" => "the data is JSON",
            "r" => "the realm",
            _ => "an annotation",
        };
        sheet.note(format!("{} {}: {meaning}", shown(key, 20), shown(value, VALUE)));
    }
    let at = text.len() - data.len();
    sheet.part(
        at,
        data,
        if annotations.is_json() {
            "the JSON value"
        } else {
            "the text"
        },
    );
    if annotations.is_json()
        && let Err(error) = json::validate(data, json::MAX_DEPTH)
    {
        let stop = at + json::stops_at(data, json::MAX_DEPTH);
        sheet.problem(stop.min(text.len()), &error, rules::STREAMING_JSON);
    }
}
