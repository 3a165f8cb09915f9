//! Packets of Socket.IO in their text form.

use sio_proto::ByteString;
use sio_proto::json;
use sio_proto::socket::text::{DecodeError, Decoded, decode, stops_at};
use sio_proto::socket::{Packet, Revision};

use super::conversation::{Conversation, kind, summary};
use super::rules;
use super::sheet::{Sheet, count, place, shown};

/// The pieces of a packet, in their order. Each is a slice of the text.
struct Pieces<'a> {
    kind: &'a str,
    attachments: &'a str,
    namespace: &'a str,
    id: &'a str,
    json: &'a str,
}

impl<'a> Pieces<'a> {
    fn of(text: &'a str) -> Self {
        let (kind, mut rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let announces = matches!(kind, "3" | "5" | "6") && rest[digits..].starts_with('-');
        let attachments = take(&mut rest, if announces { digits + 1 } else { 0 });
        let named = if rest.starts_with('/') {
            rest.find(',').map_or(rest.len(), |comma| comma + 1)
        } else {
            0
        };
        let namespace = take(&mut rest, named);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let id = take(&mut rest, digits);
        Self {
            kind,
            attachments,
            namespace,
            id,
            json: rest,
        }
    }
}

fn take<'a>(rest: &mut &'a str, len: usize) -> &'a str {
    let (taken, left) = rest.split_at(len);
    *rest = left;
    taken
}

/// Explains the text of one Engine.IO message.
pub(super) fn message(sheet: &mut Sheet, text: &ByteString, talk: &mut Conversation) {
    talk.messages += 1;
    let pieces = Pieces::of(text);
    let decoded = decode(text, talk.revision, talk.role, &talk.limits);
    let name = match (&decoded, pieces.kind) {
        (Ok(Decoded::Partial(partial)), _) => match partial.packet() {
            Packet::Ack { .. } => "BINARY_ACK",
            _ => "BINARY_EVENT",
        },
        (Ok(Decoded::Packet(packet)), _) => kind(packet, talk.revision),
        (Ok(Decoded::Nothing), _) => "ACK",
        (Err(_), kind) => name(kind, talk.revision),
    };
    if !pieces.kind.is_empty() {
        sheet.part(0, pieces.kind, name);
    }
    heads(sheet, text, &pieces, decoded.as_ref().ok());
    match decoded {
        Ok(decoded) => whole(sheet, text, &pieces, decoded, talk),
        Err(error) => broken(sheet, text, &pieces, error, talk),
    }
}

const fn name(kind: &str, revision: Revision) -> &'static str {
    match kind.as_bytes() {
        b"0" => "CONNECT",
        b"1" => "DISCONNECT",
        b"2" => "EVENT",
        b"3" => "ACK",
        b"4" if matches!(revision, Revision::Five) => "CONNECT_ERROR",
        b"4" => "ERROR",
        b"5" => "BINARY_EVENT",
        b"6" => "BINARY_ACK",
        _ => "the type of the packet",
    }
}

/// Explains what stands between the type and the JSON.
fn heads(sheet: &mut Sheet, text: &str, pieces: &Pieces<'_>, decoded: Option<&Decoded>) {
    if !pieces.attachments.is_empty() {
        let number = pieces.attachments.trim_end_matches('-');
        let at = place(text, pieces.attachments);
        sheet.part(
            at,
            pieces.attachments,
            format!("number of attachments that follow: {}", shown(number, 20)),
        );
    }
    if !pieces.namespace.is_empty() {
        let namespace = pieces.namespace.trim_end_matches(',');
        let at = place(text, pieces.namespace);
        let meaning = match namespace.split_once('?') {
            Some((path, query)) => format!("namespace {}, with the query {}", shown(path, 60), shown(query, 60)),
            None => format!("namespace {}", shown(namespace, 60)),
        };
        sheet.part(at, pieces.namespace, meaning);
    }
    if !pieces.id.is_empty() {
        let is_ack = match decoded {
            Some(Decoded::Packet(packet)) => matches!(packet, Packet::Ack { .. }),
            Some(Decoded::Partial(partial)) => matches!(partial.packet(), Packet::Ack { .. }),
            _ => matches!(pieces.kind, "3" | "6"),
        };
        let meaning = match is_ack {
            true => "id of the event that is answered",
            false => "id: the sender wants an acknowledgement",
        };
        sheet.part(place(text, pieces.id), pieces.id, meaning);
    }
}

/// Explains the JSON of a good packet.
fn whole(sheet: &mut Sheet, text: &str, pieces: &Pieces<'_>, decoded: Decoded, talk: &mut Conversation) {
    let at = place(text, pieces.json);
    let packet = match &decoded {
        Decoded::Packet(packet) => packet,
        Decoded::Partial(partial) => partial.packet(),
        Decoded::Nothing => return sheet.note("an acknowledgement without an id, which peers ignore"),
    };
    match packet {
        Packet::Event { .. } => elements(sheet, text, pieces.json, true),
        Packet::Ack { .. } => elements(sheet, text, pieces.json, false),
        Packet::Connect { .. } if !pieces.json.is_empty() => {
            let meaning = match pieces.json.contains("\"sid\"") {
                true => "the answer of the server: the id of the socket, and pid if it can be recovered",
                false => "auth: the credentials of the client",
            };
            sheet.part(at, pieces.json, meaning);
        }
        Packet::ConnectError { .. } => sheet.part(at, pieces.json, "why the server does not let the client in"),
        Packet::Connect { .. } | Packet::Disconnect { .. } => {}
    }
    if let Decoded::Partial(partial) = &decoded {
        talk.attachments = (0, partial.attachments());
        let number = count(partial.attachments(), "binary message");
        sheet.note(format!(
            "complete when {number} more has come: {}",
            summary(partial.packet())
        ));
    }
    if let Err(error) = talk.reassembly.handle_decoded(decoded) {
        sheet.problem(0, &error, rules::socket(error));
    }
}

/// Explains the elements of the array of an event or an acknowledgement.
fn elements(sheet: &mut Sheet, text: &str, json: &str, is_event: bool) {
    let Ok(array) = json::scan_array(json, json::MAX_DEPTH) else {
        return;
    };
    for (index, element) in json::elements(array.elements).enumerate() {
        let at = place(text, element);
        match (is_event, index) {
            (true, 0) => sheet.part(at, element, "the name of the event"),
            (true, _) => sheet.part(at, element, format!("argument {}", index - 1) + attachment(element)),
            (false, _) => sheet.part(at, element, format!("answer {index}") + attachment(element)),
        }
    }
    if !is_event && array.elements.is_empty() {
        sheet.part(place(text, json), json, "an answer without values");
    }
}

fn attachment(element: &str) -> &'static str {
    match element.contains("\"_placeholder\":true") {
        true => ", with bytes that follow as attachments",
        false => "",
    }
}

/// Says what is wrong, and where.
fn broken(sheet: &mut Sheet, text: &str, pieces: &Pieces<'_>, error: DecodeError, talk: &Conversation) {
    let at = match error {
        DecodeError::Empty | DecodeError::UnknownType | DecodeError::ConnectErrorFromClient => 0,
        DecodeError::IllegalAttachments | DecodeError::TooManyAttachments => 1.min(text.len()),
        DecodeError::NamespaceTooLong | DecodeError::QueryTooLong => place(text, pieces.namespace),
        DecodeError::IdTooLarge | DecodeError::MissingId => place(text, pieces.id),
        DecodeError::InvalidJson(_) => stops_at(text, &talk.limits),
        _ => place(text, pieces.json),
    };
    if !pieces.json.is_empty() {
        let what = format!("the payload, {}", count(pieces.json.len(), "byte"));
        sheet.part(place(text, pieces.json), pieces.json, what);
    }
    let at = at.min(text.len());
    let near = text.get(at..).map_or_else(String::new, |rest| shown(rest, 12));
    let words = match near.is_empty() {
        true => format!("{error}, at the end"),
        false => format!("{error}, at `{near}`"),
    };
    sheet.problem(at, &words, rules::socket(error));
}
