//! The inputs that are in recorded traffic: every request, answer, body, message and frame of
//! `sio-proto/tests/captures` is an input of the targets that read such bytes, and so is every
//! message between nodes, by itself and as Redis would bring it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use sio_proto::http::{Event, Limits, Method, RequestDecoder, ResponseDecoder};
use sio_proto::websocket::{CloseCode, Opcode, encode_close, encode_message};

/// Longer inputs are of no use to a fuzzer.
const MAX_BYTES: usize = 4096;

/// The inputs of each target.
pub(crate) type Inputs = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

#[derive(Default)]
struct Seeds {
    inputs: Inputs,
    /// How many inputs were found in the recording that is read, those included that are known.
    found: usize,
}

/// The conversation of one link.
#[derive(Default)]
struct Talk {
    client: Vec<u8>,
    server: Vec<u8>,
    /// The messages of a websocket, in both directions.
    messages: Vec<Message>,
    client_frames: BytesMut,
    server_frames: BytesMut,
}

enum Message {
    Text(String),
    Binary(Vec<u8>),
}

/// What the wire of a recording is called by its targets.
#[derive(Clone, Copy, PartialEq)]
enum Wire {
    Framing,
    Streaming,
    Envelope,
}

/// The inputs of each target, and how many recordings they are from.
///
/// # Errors
///
/// If a recording cannot be read, or has no input for anybody.
pub(crate) fn read() -> io::Result<(Inputs, usize)> {
    let mut seeds = Seeds::default();
    let mut files = Vec::new();
    for folder in ["", "cluster"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../sio-proto/tests/captures")
            .join(folder);
        let entries = fs::read_dir(folder)?;
        files.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    for file in &files {
        let capture: Value = serde_json::from_str(&fs::read_to_string(file)?).map_err(io::Error::other)?;
        seeds.found = 0;
        match capture.as_array() {
            Some(lines) => seeds.read_cluster(lines),
            None => seeds.read(&capture),
        }
        if seeds.found == 0 {
            return Err(io::Error::other(format!("nothing was read from {}", file.display())));
        }
    }
    Ok((seeds.inputs, files.len()))
}

impl Seeds {
    fn add(&mut self, target: &'static str, input: &[u8]) {
        if !input.is_empty() && input.len() <= MAX_BYTES {
            self.found += 1;
            self.inputs.entry(target).or_default().insert(input.to_vec());
        }
    }

    fn read(&mut self, capture: &Value) {
        let options = &capture["options"];
        let wire = match options["codec"].as_str() {
            Some("streaming") => Wire::Streaming,
            Some("envelope") => Wire::Envelope,
            _ => Wire::Framing,
        };
        let is_msgpack = options.get("parser").is_some();
        let mut talks: BTreeMap<u64, Talk> = BTreeMap::new();
        for entry in capture["entries"].as_array().into_iter().flatten() {
            // Numbers of links begin again with each section.
            if entry.get("section").is_some() {
                std::mem::take(&mut talks)
                    .into_values()
                    .for_each(|talk| self.take(&talk, wire, is_msgpack));
            }
            let Some(link) = entry["link"].as_u64() else { continue };
            let talk = talks.entry(link).or_default();
            if let Some(said) = entry.get("client") {
                talk.say(said, true);
            } else if let Some(said) = entry.get("server") {
                talk.say(said, false);
            }
        }
        talks.into_values().for_each(|talk| self.take(&talk, wire, is_msgpack));
    }

    /// What nodes wrote to Redis. Redis brings a message to its subscribers, and an entry to those
    /// who ask for the stream.
    fn read_cluster(&mut self, lines: &[Value]) {
        for line in lines {
            let words: Vec<Vec<u8>> = line["command"].as_array().into_iter().flatten().map(word).collect();
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            match words[..] {
                [b"PUBLISH", channel, message] => self.publication(b"message", channel, message),
                [b"SPUBLISH", channel, message] => self.publication(b"smessage", channel, message),
                // XADD stream MAXLEN ~ number * field value ...
                [b"XADD", stream, _, _, _, _, ref fields @ ..] => self.entry(stream, fields),
                _ => {}
            }
        }
    }

    fn publication(&mut self, kind: &[u8], channel: &[u8], message: &[u8]) {
        self.add("cluster_messages", message);
        let mut push = BytesMut::from(">3\r\n");
        [kind, channel, message].iter().for_each(|part| bulk(part, &mut push));
        self.add("broker", &push);
    }

    fn entry(&mut self, stream: &[u8], fields: &[&[u8]]) {
        let value = |name: &[u8]| {
            let pair = fields.chunks(2).find(|pair| pair[0] == name)?;
            pair.get(1).copied()
        };
        // The target's first byte is the type, and the others are the data.
        let kind = value(b"type").and_then(|kind| std::str::from_utf8(kind).ok()?.parse::<u8>().ok());
        if let (Some(kind), Some(data)) = (kind, value(b"data")) {
            self.add("cluster_messages", &[&[kind], data].concat());
        }
        let mut reply = BytesMut::from("%1\r\n");
        bulk(stream, &mut reply);
        reply.extend_from_slice(b"*1\r\n*2\r\n");
        bulk(b"1700000000000-0", &mut reply);
        reply.extend_from_slice(format!("*{}\r\n", fields.len()).as_bytes());
        fields.iter().for_each(|part| bulk(part, &mut reply));
        self.add("broker", &reply);
    }

    fn take(&mut self, talk: &Talk, wire: Wire, is_msgpack: bool) {
        let exchanges = talk.exchanges();
        self.add("http_request", &talk.client);
        self.add("http_response", &talk.server);
        for request in &exchanges.requests {
            self.add("detect", request.head.as_bytes());
            self.add(
                "form",
                request.target.split_once('?').map_or("", |(_, query)| query).as_bytes(),
            );
            if request.head.contains("Sec-WebSocket-Key") {
                let lines = request.head.split_once("\r\n").map_or("", |(_, lines)| lines);
                self.add("websocket_handshake", lines.as_bytes());
            }
            self.body(&request.target, &request.body, wire);
        }
        for (target, body) in &exchanges.answers {
            self.body(target, body, wire);
        }
        let target = exchanges.requests.last().map_or("", |request| &*request.target);
        for frames in [&talk.client_frames, &talk.server_frames] {
            self.add("websocket_decoder", frames);
            self.add("websocket_tungstenite", frames);
        }
        for message in &talk.messages {
            match message {
                Message::Text(text) => self.message(target, text, wire),
                Message::Binary(data) if is_msgpack => self.add("msgpack_packet", data),
                Message::Binary(data) => self.add("engine_packet", data),
            }
        }
        if target.contains("EIO=") {
            self.add("socket_reassembly", &lines(&talk.messages));
        }
    }

    /// The body of a poll or a post.
    fn body(&mut self, target: &str, body: &[u8], wire: Wire) {
        if body.starts_with(b"d=") || body.starts_with(b"data=") {
            self.add("form", body);
            if target.contains("EIO=") {
                self.add("engine_jsonp", body);
            }
            return;
        }
        if target.contains("EIO=4") {
            self.add("engine_payload_v4", body);
            for part in body.split(|byte| *byte == 0x1e) {
                self.message(target, &String::from_utf8_lossy(part), wire);
            }
        } else if target.contains("EIO=3") {
            self.add("engine_payload_v3", body);
        } else if target.contains("/socket.io/1/") {
            self.add("legacy_v1", body);
        } else {
            self.message(target, &String::from_utf8_lossy(body), wire);
        }
    }

    /// A text message of a websocket, or a packet of a payload.
    fn message(&mut self, target: &str, text: &str, wire: Wire) {
        let bytes = text.as_bytes();
        if target.contains("EIO=") {
            self.add("engine_packet", bytes);
            if let Some(packet) = text.strip_prefix('4') {
                self.add("socket_packet", packet.as_bytes());
            }
            if let Some(at) = text.find(['[', '{']) {
                self.add("json", &bytes[at..]);
            }
        } else if target.contains("/socket.io/1/") {
            self.add("legacy_v1", bytes);
        } else {
            let name = match wire {
                Wire::Framing => "legacy_framing",
                Wire::Streaming => "legacy_streaming",
                Wire::Envelope => "legacy_envelope",
            };
            self.add(name, bytes);
        }
    }
}

/// A word of a recorded command: a text, or bytes as base64.
fn word(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => STANDARD
            .decode(other["base64"].as_str().unwrap_or_default())
            .unwrap_or_default(),
    }
}

/// Writes a string as Redis does.
fn bulk(part: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
    out.extend_from_slice(part);
    out.extend_from_slice(b"\r\n");
}

/// Socket.IO packets as lines: text as it is, binary behind a `b`.
fn lines(messages: &[Message]) -> Vec<u8> {
    let line = |message: &Message| match message {
        Message::Text(text) => Some([text.strip_prefix('4')?.as_bytes(), b"\n"].concat()),
        Message::Binary(data) => Some([b"b", &data[..], b"\n"].concat()),
    };
    messages.iter().filter_map(line).flatten().collect()
}

struct Asked {
    target: String,
    head: String,
    body: Bytes,
}

#[derive(Default)]
struct Exchanges {
    requests: Vec<Asked>,
    /// The body of each answer, with the target of its request.
    answers: Vec<(String, Bytes)>,
}

impl Talk {
    fn say(&mut self, said: &Value, is_client: bool) {
        let mask = is_client.then_some([1, 2, 3, 4]);
        let (bytes, frames) = match is_client {
            true => (&mut self.client, &mut self.client_frames),
            false => (&mut self.server, &mut self.server_frames),
        };
        let binary = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
        let list = match said {
            Value::String(text) => return bytes.extend_from_slice(text.as_bytes()),
            Value::Array(list) => list,
            other => return bytes.extend_from_slice(&binary(&other["base64"])),
        };
        for frame in list {
            match frame {
                Value::String(text) => {
                    encode_message(frames, Opcode::Text, text.as_bytes(), mask);
                    self.messages.push(Message::Text(text.clone()));
                }
                frame if frame.get("binary").is_some() => {
                    let data = binary(&frame["binary"]);
                    encode_message(frames, Opcode::Binary, &data, mask);
                    self.messages.push(Message::Binary(data));
                }
                frame => {
                    let code = frame["close"]
                        .as_u64()
                        .and_then(|code| CloseCode::new(u16::try_from(code).ok()?));
                    encode_close(frames, code.map(|code| (code, "")), mask);
                }
            }
        }
    }

    /// The requests of a link with their answers, as far as they can be read.
    fn exchanges(&self) -> Exchanges {
        let mut all = Exchanges::default();
        let (mut decoder, mut bytes) = (RequestDecoder::new(), BytesMut::from(&self.client[..]));
        while let Ok(Some(event)) = decoder.decode(&mut bytes, &Limits::default()) {
            let Event::Request(request) = event else { continue };
            let mut head = format!("{} {} HTTP/1.1\r\n", method(request.method), request.target);
            for (name, value) in request.headers.iter() {
                head += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
            }
            all.requests.push(Asked {
                target: request.target.to_string(),
                head,
                body: request.body.clone().unwrap_or_default(),
            });
        }
        let (mut decoder, mut bytes) = (ResponseDecoder::new(), BytesMut::from(&self.server[..]));
        let mut requests = all.requests.iter();
        while let Ok(Some(response)) = decoder.decode(Method::Get, &mut bytes, &Limits::default()) {
            let target = requests
                .next()
                .map_or_else(String::new, |request| request.target.clone());
            all.answers.push((target, response.body.clone()));
        }
        all
    }
}

const fn method(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Head => "HEAD",
        Method::Options => "OPTIONS",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        _ => "PATCH",
    }
}
