//! Files with many messages: captures of this project, HAR files of browsers, transcripts.

use bytes::Bytes;
use serde_json::{Map, Value};
use sio_proto::ByteString;

use super::conversation::Conversation;
use super::engine::base64;
use super::form::{Form, guess};
use super::rules;
use super::sheet::{Sheet, VALUE, count, shown};
use sio_proto::socket::Role;

/// Explains a file.
pub(super) fn file(sheet: &mut Sheet, input: &Bytes) {
    if input.starts_with(b"sio-transcript ") {
        return transcript(sheet, &String::from_utf8_lossy(input));
    }
    match serde_json::from_slice::<Value>(input) {
        Ok(Value::Object(file)) if file.contains_key("log") => har(sheet, &file),
        Ok(Value::Object(file)) => capture(sheet, &file),
        Ok(_) => sheet.problem(0, &"the file is no JSON object", rules::CAPTURE),
        Err(error) => sheet.problem(None, &error, rules::CAPTURE),
    }
}

/// The two directions of one session, or of a connection whose session is not known.
struct Link {
    name: String,
    from_client: Conversation,
    from_server: Conversation,
}

impl Link {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            from_client: Conversation::new(Role::Server),
            from_server: Conversation::new(Role::Client),
        }
    }
}

fn link<'a>(links: &'a mut Vec<Link>, name: &str) -> &'a mut Link {
    let at = links.iter().position(|link| link.name == name).unwrap_or_else(|| {
        links.push(Link::new(name));
        links.len() - 1
    });
    &mut links[at]
}

fn capture(sheet: &mut Sheet, file: &Map<String, Value>) {
    let Some(entries) = file.get("entries").and_then(Value::as_array) else {
        return sheet.problem(0, &"there are no entries", rules::CAPTURE);
    };
    for name in ["server", "client"] {
        if let Some(value) = file.get(name) {
            sheet.note(format!("{name}: {}", shown(&value.to_string(), VALUE)));
        }
    }
    let mut links = Vec::new();
    let mut sessions = Vec::new();
    for entry in entries {
        let Some(entry) = entry.as_object() else {
            sheet.problem(None, &"an entry is no object", rules::CAPTURE);
            continue;
        };
        let ms = entry
            .get("ms")
            .map_or_else(String::new, |ms| format!("{} ms ", shown(&ms.to_string(), 20)));
        let name = entry
            .get("link")
            .map_or_else(|| "?".to_owned(), |link| shown(&link.to_string(), 20));
        let sides = [("client", "the client"), ("server", "the server")];
        for (side, from) in sides {
            let Some(said) = entry.get(side) else { continue };
            sheet.note(format!("{ms}connection {name}, {from}:"));
            let link = link(&mut links, session(&mut sessions, &name, said));
            let talk = if side == "client" {
                &mut link.from_client
            } else {
                &mut link.from_server
            };
            sheet.inside(None, |sheet| bytes_of(sheet, said, talk));
        }
        for (key, words) in [
            ("section", "section"),
            ("end", "ended by the"),
            ("act", "the application:"),
            ("cut", "cut:"),
        ] {
            if let Some(value) = entry.get(key) {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                sheet.note(format!("{ms}{words} {}", shown(&value, VALUE)));
            }
        }
    }
}

/// The session of a connection: a polling client has many connections, and names its session in
/// each request. Returns the connection's name if its session is not known.
fn session<'a>(sessions: &'a mut Vec<(String, String)>, link: &str, said: &Value) -> &'a str {
    let named = said.as_str().and_then(|text| {
        let (_, behind) = text.lines().next()?.split_once("sid=")?;
        behind.split(['&', ' ']).next()
    });
    let at = sessions.iter().position(|(name, _)| name == link).unwrap_or_else(|| {
        sessions.push((link.to_owned(), link.to_owned()));
        sessions.len() - 1
    });
    let (_, session) = &mut sessions[at];
    if let Some(named) = named {
        named.clone_into(session);
    }
    session
}

/// The bytes of one entry of a capture.
fn bytes_of(sheet: &mut Sheet, said: &Value, talk: &mut Conversation) {
    match said {
        Value::String(text) => super::guessed(sheet, &Bytes::from(text.clone()), talk),
        Value::Array(frames) => frames.iter().for_each(|frame| captured_frame(sheet, frame, talk)),
        Value::Object(object) => match object.get("base64").and_then(Value::as_str).map(base64) {
            Some(Some(bytes)) => super::guessed(sheet, &bytes.into(), talk),
            _ => sheet.problem(None, &"bytes that are no base64", rules::CAPTURE),
        },
        _ => sheet.problem(None, &"bytes in no known form", rules::CAPTURE),
    }
}

fn captured_frame(sheet: &mut Sheet, frame: &Value, talk: &mut Conversation) {
    if let Some(text) = frame.as_str() {
        return super::text_message(sheet, &ByteString::from(text), talk);
    }
    if let Some(code) = frame.get("close") {
        return sheet.note(format!("websocket close, code {}", shown(&code.to_string(), 20)));
    }
    match frame.get("binary").and_then(Value::as_str).map(base64) {
        Some(Some(bytes)) => super::binary_message(sheet, &bytes.into(), talk),
        _ => sheet.note(format!("websocket frame {}", shown(&frame.to_string(), VALUE))),
    }
}

fn har(sheet: &mut Sheet, file: &Map<String, Value>) {
    let Some(entries) = file["log"].get("entries").and_then(Value::as_array) else {
        return sheet.problem(0, &"there is no log.entries", rules::HAR);
    };
    let mut explained = 0;
    for entry in entries {
        let url = entry["request"]["url"].as_str().unwrap_or_default();
        let messages = entry["_webSocketMessages"].as_array();
        if messages.is_none() && !url.contains("transport=") && !url.contains("/socket.io/") {
            continue;
        }
        explained += 1;
        let mut link = Link::new(url);
        sheet.note(format!(
            "{} {} → {}",
            shown(entry["request"]["method"].as_str().unwrap_or("?"), 10),
            shown(url, VALUE),
            shown(&entry["response"]["status"].to_string(), 5)
        ));
        sheet.inside(None, |sheet| {
            har_body(sheet, &entry["request"]["postData"], url, &mut link.from_client);
            har_body(sheet, &entry["response"]["content"], url, &mut link.from_server);
            for message in messages.into_iter().flatten() {
                har_message(sheet, message, &mut link);
            }
        });
    }
    let left_out = entries.len() - explained;
    if left_out > 0 {
        sheet.note(format!("{} without Socket.IO left out", count(left_out, "request")));
    }
}

fn har_body(sheet: &mut Sheet, content: &Value, url: &str, talk: &mut Conversation) {
    let Some(text) = content["text"].as_str().filter(|text| !text.is_empty()) else {
        return;
    };
    let bytes = match content["encoding"].as_str() {
        Some("base64") => base64(text).map(Bytes::from),
        _ => Some(Bytes::from(text.to_owned())),
    };
    let Some(bytes) = bytes else {
        return sheet.problem(None, &"a body that is no base64", rules::HAR);
    };
    if url.contains("EIO=4") && guess(&bytes).is_some_and(|(form, _)| form == Form::Eio4) {
        return super::explain(sheet, Form::Eio4Payload, &bytes, talk);
    }
    super::guessed(sheet, &bytes, talk);
}

fn har_message(sheet: &mut Sheet, message: &Value, link: &mut Link) {
    let data = message["data"].as_str().unwrap_or_default();
    let (talk, from) = match message["type"].as_str() {
        Some("send") => (&mut link.from_client, "the client"),
        _ => (&mut link.from_server, "the server"),
    };
    sheet.note(format!("{from}:"));
    sheet.inside(None, |sheet| match message["opcode"].as_u64() {
        Some(2) => match base64(data) {
            Some(bytes) => super::binary_message(sheet, &bytes.into(), talk),
            None => sheet.problem(None, &"a message that is no base64", rules::HAR),
        },
        _ => super::text_message(sheet, &ByteString::from(data), talk),
    });
}

/// Explains the lines of a transcript.
fn transcript(sheet: &mut Sheet, text: &str) {
    let mut at = 0;
    for (index, line) in text.split('\n').enumerate() {
        let meaning = if index == 0 { head(line) } else { line_of(line) };
        match meaning {
            Some(meaning) => sheet.part(at, line, meaning),
            None if line.is_empty() => {}
            None => {
                sheet.part(at, line, format!("line {}", index + 1));
                sheet.problem(
                    at,
                    &format_args!("line {} is no line of a transcript", index + 1),
                    rules::TRANSCRIPT,
                );
            }
        }
        at += line.len() + 1;
    }
}

fn head(line: &str) -> Option<&'static str> {
    match line {
        "sio-transcript 1 full" => Some("a transcript that can be replayed (cargo xtask replay); it is a secret"),
        "sio-transcript 1 short" => Some("a transcript for people; it cannot be replayed"),
        _ => None,
    }
}

fn line_of(line: &str) -> Option<&'static str> {
    if line.starts_with("shard ") {
        return Some("the shard: its number, the key of its ids, its sessions");
    }
    if line.starts_with("set ") {
        return Some("a setting that is not the default");
    }
    let (time, rest) = line.split_once(' ')?;
    let (seconds, micros) = time.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || micros.len() != 6 || !digits(micros) {
        return None;
    }
    Some(match rest.split(' ').next()? {
        ">" => "an input",
        "+" => "a packet of the input above",
        "*" => "a value that the shard got meanwhile",
        "<" => "an output",
        "=" => "what the call has returned",
        "~" => "the next deadline has changed",
        "!" => "inputs are left out here",
        _ => return None,
    })
}
