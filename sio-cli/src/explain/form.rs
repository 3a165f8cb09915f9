//! The forms that an input can have, and the guess which one it has.

use bytes::Bytes;
use clap::ValueEnum;
use sio_proto::ByteString;
use sio_proto::legacy::legacy09;
use sio_proto::legacy::legacy09::handshake::Handshake;
use sio_proto::legacy::streaming;

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A packet of Engine.IO 4 (Socket.IO 3, 4), as in a websocket message
    Eio4,
    /// The body of a poll or POST of Engine.IO 4
    #[value(name = "eio4-payload")]
    Eio4Payload,
    /// A packet of Engine.IO 3 (Socket.IO 1, 2), as in a websocket message
    Eio3,
    /// The body of a poll or POST of Engine.IO 3: text, or bytes
    #[value(name = "eio3-payload")]
    Eio3Payload,
    /// A Socket.IO packet of 3 and 4, without Engine.IO around it
    Sio5,
    /// A Socket.IO packet of 1 and 2, without Engine.IO around it
    Sio4,
    /// A Socket.IO packet in MessagePack
    Msgpack,
    /// A packet of Socket.IO 0.7 to 0.9
    #[value(name = "0.9")]
    V09,
    /// The body of a poll or POST of 0.7 to 0.9
    #[value(name = "0.9-payload")]
    V09Payload,
    /// The answer to a handshake of 0.7 to 0.9
    #[value(name = "0.9-handshake")]
    V09Handshake,
    /// A payload of 0.5 and 0.6: ~m~ frames
    #[value(name = "0.6")]
    V06,
    /// The streaming codec of November 2010
    Streaming,
    /// The JSON envelope of 0.3 and 0.4
    #[value(name = "0.4")]
    V04,
    /// Frames of RFC 6455, as bytes
    Websocket,
    /// A request or response of HTTP/1.1
    Http,
    /// A capture of this project, a HAR file of a browser, or a transcript
    File,
}

impl Form {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Eio4 => "a packet of Engine.IO 4 (Socket.IO 3 and 4)",
            Self::Eio4Payload => "a payload of Engine.IO 4 (Socket.IO 3 and 4)",
            Self::Eio3 => "a packet of Engine.IO 3 (Socket.IO 1 and 2)",
            Self::Eio3Payload => "a payload of Engine.IO 3 (Socket.IO 1 and 2)",
            Self::Sio5 => "a packet of Socket.IO 3 and 4, without Engine.IO",
            Self::Sio4 => "a packet of Socket.IO 1 and 2, without Engine.IO",
            Self::Msgpack => "a packet of Socket.IO in MessagePack",
            Self::V09 => "a packet of Socket.IO 0.7 to 0.9",
            Self::V09Payload => "a payload of Socket.IO 0.7 to 0.9",
            Self::V09Handshake => "the answer to a handshake of Socket.IO 0.7 to 0.9",
            Self::V06 => "a payload of Socket.IO 0.5 and 0.6",
            Self::Streaming => "packets of the streaming codec of November 2010",
            Self::V04 => "a payload of Socket.IO 0.3 and 0.4",
            Self::Websocket => "WebSocket frames",
            Self::Http => "an HTTP message",
            Self::File => "a recording",
        }
    }
}

/// A form, and why it is the likely one.
pub(super) type Guess = (Form, &'static str);

/// Returns the likely form of `input`, or nothing if no generation has anything that begins so.
pub(super) fn guess(input: &Bytes) -> Option<Guess> {
    match text(input) {
        Some(text) => guess_text(&text),
        None => Some(guess_bytes(input)),
    }
}

/// Returns the input as text. Nothing that is text in these protocols begins with a control
/// character, except U+001E between two packets.
pub(super) fn text(input: &Bytes) -> Option<ByteString> {
    if matches!(input.first(), Some(0..=8 | 14..=29 | 31)) {
        return None;
    }
    ByteString::try_from(input.clone()).ok()
}

fn guess_bytes(input: &[u8]) -> Guess {
    let second = input.get(1).copied().unwrap_or_default();
    match input.first().copied().unwrap_or_default() {
        0 | 1 if second <= 9 && input.iter().skip(1).take(11).any(|byte| *byte == 0xff) => (
            Form::Eio3Payload,
            "it begins with 00 or 01, digits as bytes, and ff, as binary payloads of Engine.IO 3 do",
        ),
        0x80..=0x8f if matches!(second, 0xa0..=0xbf) => (
            Form::Msgpack,
            "it begins with a MessagePack map whose first key is a string",
        ),
        0xde | 0xdf => (Form::Msgpack, "it begins with a large MessagePack map"),
        first if first & 0x70 == 0 && is_opcode(first & 0x0f) && is_frame_length(input) => (
            Form::Websocket,
            "it begins with an opcode of WebSocket, and its length fits",
        ),
        4 => (
            Form::Eio3,
            "it is binary and begins with 04, as binary messages of Engine.IO 3 do",
        ),
        first if is_http(first, input) => (Form::Http, "it begins with a line of HTTP"),
        _ => (
            Form::Eio4,
            "it is binary; in Engine.IO 4, a binary message is data and has no mark",
        ),
    }
}

fn is_http(first: u8, input: &[u8]) -> bool {
    first.is_ascii_uppercase() && input.windows(7).take(16_384).any(|seven| seven == b"HTTP/1.")
}

const fn is_opcode(bits: u8) -> bool {
    matches!(bits, 0 | 1 | 2 | 8 | 9 | 10)
}

/// Whether the length in the first frame is not beyond the end of the input.
fn is_frame_length(input: &[u8]) -> bool {
    let Some(&second) = input.get(1) else { return false };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (header, length) = match (second & 0x7f, input) {
        (126, [_, _, high, low, ..]) => (4, u64::from(u16::from_be_bytes([*high, *low]))),
        (127, [_, _, a, b, c, d, e, f, g, h, ..]) => (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
        (126 | 127, _) => return false,
        (short, _) => (2, u64::from(short)),
    };
    length.saturating_add(header + mask) <= input.len() as u64
}

fn guess_text(text: &ByteString) -> Option<Guess> {
    if text.starts_with("~m~") {
        return Some((Form::V06, "it begins with ~m~, which only 0.5 and 0.6 have"));
    }
    if text.starts_with('\u{fffd}') {
        return Some((
            Form::V09Payload,
            "it begins with U+FFFD, the mark between packets of 0.7 to 0.9",
        ));
    }
    if text.starts_with("sio-transcript ") {
        return Some((Form::File, "it begins with sio-transcript"));
    }
    if is_http_text(text) {
        return Some((Form::Http, "its first line is that of an HTTP message"));
    }
    if text.starts_with("___eio[") {
        return Some((Form::Http, "it is a script ___eio[…], the answer to a JSONP poll"));
    }
    if text.contains('\u{1e}') {
        return Some((
            Form::Eio4Payload,
            "it has U+001E, which stands between the packets of a payload of Engine.IO 4",
        ));
    }
    match text.as_bytes().first()? {
        b'0'..=b'9' => guess_digits(text),
        b'{' => Some(guess_object(text)),
        b'[' => Some((Form::V04, "it is a JSON array, as clients of 0.3 and 0.4 send")),
        b'b' if text.len() > 1 => Some(guess_base64(text)),
        _ if Handshake::decode(text).is_ok() => Some(handshake()),
        _ => None,
    }
}

const fn handshake() -> Guess {
    (Form::V09Handshake, "it is SID:HEARTBEAT:CLOSE:TRANSPORTS")
}

fn is_http_text(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    line.starts_with("HTTP/1.") || line.contains(" HTTP/1.")
}

fn guess_object(text: &str) -> Guess {
    let head: String = text.chars().filter(|c| !c.is_whitespace()).take(40).collect();
    if head.starts_with("{\"messages\"") || head.starts_with("{\"heartbeat\"") {
        return (
            Form::V04,
            "it is an object with `messages` or `heartbeat`, as servers of 0.3 and 0.4 send",
        );
    }
    if text.contains("\"entries\"") {
        return (Form::File, "it is a JSON object with `entries`");
    }
    (
        Form::Http,
        "it is a JSON object, as in the body of an error of Engine.IO",
    )
}

fn guess_base64(text: &str) -> Guess {
    if text.starts_with("b4") {
        return (
            Form::Eio3,
            "it begins with b4, as binary messages in the text form of Engine.IO 3 do (in Engine.IO 4, the 4 would be \
             base64: --as eio4)",
        );
    }
    (
        Form::Eio4,
        "it begins with b and base64, as binary messages in payloads of Engine.IO 4 do",
    )
}

fn guess_digits(text: &ByteString) -> Option<Guess> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let behind = &text[digits..];
    if behind.starts_with(':') {
        return Some(guess_colon(text, digits));
    }
    if Handshake::decode(text).is_ok() && text.contains(':') && !text.contains('[') {
        return Some(handshake());
    }
    Some(guess_engine(text))
}

/// A text that begins with digits and a colon.
fn guess_colon(text: &ByteString, digits: usize) -> Guess {
    let mut packets = Vec::new();
    let mut decoder = streaming::Decoder::new(1 << 20, 1000);
    let streams = text.ends_with(',') && decoder.decode(text, &mut packets).is_ok() && decoder.is_at_boundary();
    if streams {
        return (
            Form::Streaming,
            "it is TYPE:LEN:CONTENT, and a comma stands where LEN ends",
        );
    }
    if legacy09::Packet::decode(text).is_ok() || (digits == 1 && is_09(text)) {
        return (Form::V09, "it is TYPE:ID:ENDPOINT, with one digit and two colons");
    }
    if Handshake::decode(text).is_ok() {
        return handshake();
    }
    if text.ends_with(',') && digits == 1 && text[2..].starts_with(|c: char| c.is_ascii_digit()) {
        return (Form::Streaming, "it begins as TYPE:LEN: and ends with a comma");
    }
    (
        Form::Eio3Payload,
        "it begins with a length and a colon, as text payloads of Engine.IO 3 do",
    )
}

/// Whether a text begins as `TYPE:[ID[+]]:`.
fn is_09(text: &str) -> bool {
    let rest = text[2..].trim_start_matches(|c: char| c.is_ascii_digit());
    rest.strip_prefix('+').unwrap_or(rest).starts_with(':')
}

/// A text that begins with a digit, and not with a length.
fn guess_engine(text: &str) -> Guess {
    let (first, rest) = text.split_at(1);
    match first {
        "0" if rest.contains("\"sid\"") && rest.contains("\"pingInterval\"") && !rest.contains("\"maxPayload\"") => (
            Form::Eio3,
            "it is an open packet without maxPayload, which servers of Engine.IO 4 send",
        ),
        "0" if rest.contains("\"pingInterval\"") => (Form::Eio4, "it is an open packet"),
        "0" if rest.is_empty() || rest.starts_with(['{', '/']) => (
            Form::Sio5,
            "it begins with 0 and is no open packet: it looks like a CONNECT without the 4 of Engine.IO",
        ),
        "1" if rest.starts_with('/') => (Form::Sio5, "it is a DISCONNECT without the 4 of Engine.IO"),
        "2" | "3" if rest.is_empty() || rest == "probe" => (
            Form::Eio4,
            "it is a heartbeat or a probe; Engine.IO 3 has the same bytes",
        ),
        "2" | "3" if rest.starts_with(['[', '/', '{']) || rest.starts_with(|c: char| c.is_ascii_digit()) => (
            Form::Sio5,
            "it begins with 2 or 3 and is no heartbeat: it looks like an event or an acknowledgement without the 4 of \
             Engine.IO",
        ),
        "4" if rest.starts_with("0/") && rest.contains('?') => (
            Form::Eio3,
            "it connects a namespace with a query, which only Socket.IO 1 and 2 do",
        ),
        "4" if rest.starts_with(['{', '"']) => (
            Form::Sio5,
            "it is 4 and JSON: a CONNECT_ERROR without the 4 of Engine.IO",
        ),
        "5" | "6" if rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('-') => (
            Form::Sio5,
            "it announces attachments: a binary packet without the 4 of Engine.IO",
        ),
        "0" | "1" | "2" | "3" | "4" | "5" | "6" => (
            Form::Eio4,
            "it begins with a type of Engine.IO (Engine.IO 3 has the same bytes: --as eio3)",
        ),
        _ => (Form::Eio4, "it begins with a digit, as packets of Engine.IO do"),
    }
}
