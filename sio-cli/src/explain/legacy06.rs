//! Payloads of Socket.IO 0.3 to 0.6: the `~m~` frames, and the JSON envelope before them.

use sio_proto::ByteString;
use sio_proto::json;
use sio_proto::legacy::envelope::{self, FromServer};
use sio_proto::legacy::framing::{self, FramingError};

use super::engine::offset;
use super::rules;
use super::sheet::{Sheet, VALUE, place, shown};

const DELIMITER: &str = "~m~";

/// The most frames of one payload.
const MAX_FRAMES: usize = 100_000;

/// Explains a payload of `~m~` frames.
pub(super) fn payload(sheet: &mut Sheet, body: &ByteString) {
    if body.is_empty() {
        return sheet.note("an empty payload, without frames");
    }
    let mut frames = Vec::new();
    let verdict = framing::decode(body, MAX_FRAMES, &mut frames);
    // The frames say in which unit their lengths have been read.
    let whole = |unit: fn(char) -> usize| walk(body, unit, |_, _, _, _| {}) == body.len();
    let in_points = verdict.is_ok() && !whole(char::len_utf16);
    let unit = if in_points { |_| 1 } else { char::len_utf16 };
    if in_points {
        sheet.note("its lengths count code points, as the Go server does; JavaScript counts UTF-16 units (§2.1)");
    }
    let mut number = 0;
    let end = walk(body, unit, |at, head, length, text| {
        frame(sheet, (at, head, length), text, number == 0);
        number += 1;
    });
    let Err(error) = verdict else { return };
    if error == FramingError::TooManyFrames {
        return sheet.problem(None, &error, rules::framing(error));
    }
    sheet.part(end, &body[end..], "no whole frame");
    sheet.problem(end, &error, rules::framing(error));
}

/// Calls `say` for each whole frame, with its place, its head, its length and its body. Returns
/// where the last one ends.
fn walk(body: &str, unit: fn(char) -> usize, mut say: impl FnMut(usize, &str, &str, &str)) -> usize {
    let mut rest = body;
    loop {
        let Some((head, length, text)) = next(rest, unit) else {
            return place(body, rest).min(body.len());
        };
        say(place(body, rest), head, length, text);
        rest = &rest[head.len() + text.len()..];
    }
}

fn next(rest: &str, unit: fn(char) -> usize) -> Option<(&str, &str, &str)> {
    let header = rest.strip_prefix(DELIMITER)?;
    let digits = header.bytes().take_while(u8::is_ascii_digit).count();
    let length = Some(&header[..digits]).filter(|length| length.len() <= 10)?;
    let behind = header[digits..].strip_prefix(DELIMITER)?;
    let end = offset(behind, length.parse().ok()?, unit)?;
    let head = &rest[..2 * DELIMITER.len() + digits];
    Some((head, length, &behind[..end]))
}

fn frame(sheet: &mut Sheet, (at, head, length): (usize, &str, &str), text: &str, is_first: bool) {
    sheet.part(at, head, format!("a frame; its length is {length}"));
    sheet.inside(Some(at + head.len()), |sheet| {
        if let Some(number) = text.strip_prefix("~h~") {
            sheet.part(
                0,
                text,
                format!("heartbeat {}, which the client echoes", shown(number, 40)),
            );
        } else if let Some(value) = text.strip_prefix("~j~") {
            sheet.part(0, text, "a JSON message");
            if let Err(error) = json::validate(value, json::MAX_DEPTH) {
                let at = 3 + json::stops_at(value, json::MAX_DEPTH);
                sheet.problem(at.min(text.len()), &error, rules::JSON_06);
            }
        } else {
            let is_id = is_first && text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
            let meaning = match is_id {
                true => "a text message; the first one of a server is the id of the session",
                false => "a text message",
            };
            sheet.part(0, text, meaning);
        }
    });
}

/// Explains a payload of the JSON envelope.
pub(super) fn envelope(sheet: &mut Sheet, body: &ByteString) {
    if body.trim_start().starts_with('[') {
        let mut messages = Vec::new();
        match envelope::decode_from_client(body, MAX_FRAMES, &mut messages) {
            Ok(()) => sheet.part(0, body, "messages of a client"),
            Err(error) => return broken(sheet, body, error),
        }
        return messages.iter().for_each(|message| each(sheet, body, message));
    }
    match envelope::decode_from_server(body, MAX_FRAMES) {
        Ok(FromServer::Messages(messages)) => {
            sheet.part(0, body, "messages of a server");
            for message in &messages {
                each(sheet, body, message);
            }
        }
        Ok(FromServer::Heartbeat) => sheet.part(0, body, "a heartbeat, which clients ignore"),
        Ok(FromServer::Other) => sheet.part(0, body, "an object without messages, which clients ignore"),
        Err(error) => broken(sheet, body, error),
    }
}

fn each(sheet: &mut Sheet, body: &str, message: &str) {
    let at = place(body, message).min(body.len());
    sheet.inside(Some(at), |sheet| match envelope::session_id(message) {
        Some(id) => sheet.part(0, message, format!("the id of the session: {}", shown(&id, VALUE))),
        None => sheet.part(0, message, "a message"),
    });
}

fn broken(sheet: &mut Sheet, body: &str, error: envelope::EnvelopeError) {
    sheet.part(0, body, "a JSON envelope");
    let at = json::stops_at(body, json::MAX_DEPTH).min(body.len());
    sheet.problem(at, &error, rules::envelope(error));
}
