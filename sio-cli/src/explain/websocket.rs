//! Frames of WebSocket, and the messages in them.

use bytes::{Bytes, BytesMut};
use sio_proto::ByteString;
use sio_proto::websocket::Error;
use sio_proto::websocket::frame::{Header, Opcode, Role, Rules};
use sio_proto::websocket::mask;

use super::conversation::Conversation;
use super::rules;
use super::sheet::{Sheet, VALUE, count, shown};

/// A message whose fragments are not all there.
struct Message {
    is_text: bool,
    bytes: BytesMut,
}

/// Explains frames, one after the other.
pub(super) fn frames(sheet: &mut Sheet, input: &Bytes, talk: &mut Conversation) {
    let mut at = 0;
    let mut message: Option<Message> = None;
    while at < input.len() {
        let rest = &input[at..];
        // Clients mask, servers do not. So the mask says who has sent the frame.
        let masked = rest.get(1).is_some_and(|second| second & 0x80 != 0);
        let role = if masked { Role::Server } else { Role::Client };
        let rules = Rules {
            role,
            allow_rsv1: false,
            in_message: message.is_some(),
        };
        let (header, size) = match Header::parse(rest, rules) {
            Ok(Some(found)) => found,
            Ok(None) => {
                sheet.bytes(at, rest, "the beginning of a frame, which goes on in the next piece");
                return;
            }
            Err(error) => {
                sheet.bytes(at, rest, "no frame");
                if error == Error::ReservedBits {
                    sheet.note("rsv1 means compression, if it was agreed on; this tool does not inflate");
                }
                return sheet.problem(at, &error, rules::frame(error));
            }
        };
        describe(sheet, at, &rest[..size], &header, masked);
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let Some(payload) = size.checked_add(length).and_then(|end| rest.get(size..end)) else {
            sheet.note(format!(
                "{} of the payload are missing",
                count(length - (rest.len() - size), "byte")
            ));
            return;
        };
        let mut payload = BytesMut::from(payload);
        if masked {
            mask::apply(&mut payload, header.key);
        }
        sheet.inside((!masked).then_some(at + size), |sheet| {
            message = fragment(sheet, &header, payload, message.take(), talk);
        });
        at += size + length;
    }
    if message.is_some() {
        sheet.note("the message goes on in another frame");
    }
}

fn describe(sheet: &mut Sheet, at: usize, head: &[u8], header: &Header, masked: bool) {
    let kind = match header.opcode {
        Opcode::Continuation => "continuation",
        Opcode::Text => "text",
        Opcode::Binary => "binary",
        Opcode::Close => "close",
        Opcode::Ping => "ping",
        Opcode::Pong => "pong",
    };
    let from = if masked {
        "a client (masked)"
    } else {
        "a server (not masked)"
    };
    let more = if header.fin { "" } else { ", more fragments follow" };
    let length = count(usize::try_from(header.length).unwrap_or(usize::MAX), "byte");
    sheet.bytes(at, head, format!("a {kind} frame of {from}, {length}{more}"));
}

/// Explains a payload. Returns the message that goes on in the next frame.
fn fragment(
    sheet: &mut Sheet,
    header: &Header,
    payload: BytesMut,
    before: Option<Message>,
    talk: &mut Conversation,
) -> Option<Message> {
    if header.opcode.is_control() {
        control(sheet, header.opcode, &payload);
        return before;
    }
    let mut message = before.unwrap_or_else(|| Message {
        is_text: header.opcode == Opcode::Text,
        bytes: BytesMut::new(),
    });
    message.bytes.extend_from_slice(&payload);
    if !header.fin {
        return Some(message);
    }
    let bytes = message.bytes.freeze();
    if !message.is_text {
        super::binary_message(sheet, &bytes, talk);
        return None;
    }
    match ByteString::try_from(bytes) {
        Ok(text) => super::text_message(sheet, &text, talk),
        Err(_) => sheet.problem(0, &Error::InvalidUtf8, rules::frame(Error::InvalidUtf8)),
    }
    None
}

fn control(sheet: &mut Sheet, opcode: Opcode, payload: &[u8]) {
    if opcode != Opcode::Close {
        if !payload.is_empty() {
            sheet.bytes(0, payload, "its data");
        }
        return;
    }
    match payload {
        [] => sheet.note("without a status code"),
        [_] => sheet.problem(0, &Error::CloseLength, rules::frame(Error::CloseLength)),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            sheet.bytes(0, &payload[..2], format!("status code {code}"));
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                sheet.problem(0, &Error::CloseCode(code), rules::frame(Error::CloseCode(code)));
            }
            match std::str::from_utf8(reason) {
                Ok("") => {}
                Ok(reason) => sheet.part(2, reason, format!("the reason {}", shown(reason, VALUE))),
                Err(_) => sheet.problem(2, &Error::CloseReason, rules::frame(Error::CloseReason)),
            }
        }
    }
}
