//! What a client tells its user, and what it writes, does not depend on how the bytes of its server
//! are cut into reads: one property for each generation.
//!
//! A server that is written out says the same to three clients: in one piece, byte by byte, and cut
//! at places that are drawn. No time passes meanwhile.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod cases;
mod client;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::script::OPEN;
use proptest::prelude::*;
use sio_proto::client::{Client, ClientConfig, Emit, Endpoint, Generation, Output, Transport};
use sio_proto::codec::{MessagePack, messages};
use sio_proto::engine::EngineMessage;
use sio_proto::engine::payload_v3::{BinaryWriter, TextWriter};
use sio_proto::socket::{Args, Packet};
use sio_proto::websocket::{Decoder, Event, Limits, Opcode, Role, encode_frame, encode_message, handshake};
use sio_proto::{ByteString, Bytes, BytesMut, LinkId, Time};

/// The places where the bytes of a server are cut. Each answer and each burst of frames is cut at
/// all of them, counted from its beginning, and from its beginning again behind its end.
enum Cuts<'a> {
    None,
    All,
    At(&'a [usize]),
}

impl Cuts<'_> {
    fn pieces<'b>(&self, bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let mut ends: Vec<usize> = match self {
            Self::None => Vec::new(),
            Self::All => (1..bytes.len()).collect(),
            Self::At(cuts) => cuts.iter().map(|cut| cut % bytes.len()).collect(),
        };
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut start = 0;
        let pieces = ends
            .into_iter()
            .map(|end| &bytes[std::mem::replace(&mut start, end)..end]);
        pieces.filter(|piece| !piece.is_empty()).collect()
    }
}

/// Everything that a client has told its caller.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// What the user heard, in order.
    said: Vec<String>,
    /// The connections that the caller had to open and to close. A connection that the server ends
    /// is closed before the user hears what came over it in the same read.
    links: Vec<String>,
    /// What was written on each connection, by kinds. Pongs of websockets, and those of Engine.IO,
    /// may overtake messages that wait for the end of a read.
    written: BTreeMap<(LinkId, Kind), Vec<String>>,
    /// When the client wants to be woken.
    next: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Request,
    Message,
    Heartbeat,
    Pong,
}

impl Told {
    /// How many lines have these words.
    fn count(&self, words: &str) -> usize {
        self.said.iter().filter(|line| line.contains(words)).count()
    }
}

/// A client and its server.
struct Story<'a> {
    client: Client,
    cuts: Cuts<'a>,
    said: Vec<String>,
    links: Vec<String>,
    /// The requests that have no answer.
    asked: Vec<(LinkId, String)>,
    written: BTreeMap<(LinkId, Kind), Vec<String>>,
    frames: BTreeMap<LinkId, BytesMut>,
}

const NOW: Time = Time::ZERO;

impl<'a> Story<'a> {
    /// A client that connects, with an event in its queue.
    fn new(config: ClientConfig, cuts: Cuts<'a>) -> Self {
        let is_plain = matches!(config.generation, Generation::V0_6 | Generation::Streaming);
        let endpoint = Endpoint::parse("http://localhost:3000").unwrap();
        let client = Client::new(endpoint, config, Box::new(client::seeded(3))).unwrap();
        let mut story = Self {
            client,
            cuts,
            said: Vec::new(),
            links: Vec::new(),
            asked: Vec::new(),
            written: BTreeMap::new(),
            frames: BTreeMap::new(),
        };
        let namespaces: &[&str] = if is_plain { &["/"] } else { &["/", "/a"] };
        for namespace in namespaces {
            let socket = story.client.socket(namespace).unwrap();
            story.client.connect(NOW, socket).unwrap();
            if *namespace == "/" {
                let event = Emit::new("message", ByteString::from("1").into());
                let event = if is_plain { event } else { event.ack() };
                story.client.emit(NOW, socket, event).unwrap();
            }
        }
        story.drain();
        story
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Connect { link, .. } => {
                    self.links.push(format!("{output:?}"));
                    self.client.handle_connected(NOW, link);
                }
                Output::Bytes(link, bytes) if bytes.starts_with(b"GET ") || bytes.starts_with(b"POST ") => {
                    let request = String::from_utf8(bytes.to_vec()).unwrap();
                    let written = self.written.entry((link, Kind::Request)).or_default();
                    written.push(request.clone());
                    self.asked.push((link, request));
                }
                Output::Bytes(link, bytes) => self.frames.entry(link).or_default().extend_from_slice(&bytes),
                Output::Close(_) => self.links.push(format!("{output:?}")),
                other => self.said.push(format!("{other:?}")),
            }
        }
    }

    /// The server has written these bytes.
    fn read(&mut self, link: LinkId, bytes: &[u8]) {
        for piece in self.cuts.pieces(bytes) {
            let mut piece = BytesMut::from(piece);
            self.client.handle_bytes(NOW, link, &mut piece);
            assert!(piece.is_empty(), "all bytes are taken");
            self.drain();
        }
    }

    /// Takes the first request that fits.
    fn take(&mut self, fits: impl Fn(&str) -> bool) -> Option<(LinkId, String)> {
        let at = self.asked.iter().position(|(_, request)| fits(request))?;
        Some(self.asked.remove(at))
    }

    /// Answers all POSTs.
    fn take_posts(&mut self) {
        while let Some((link, _)) = self.take(|request| request.starts_with("POST ")) {
            self.read(link, &response("200 OK", "Content-Type: text/html\r\n", b"ok", false));
        }
    }

    /// Answers the poll, or the handshake.
    fn answer(&mut self, response: &[u8]) -> LinkId {
        self.take_posts();
        let is_poll = |request: &str| request.starts_with("GET ") && !request.contains("Upgrade: websocket");
        let (link, _) = self.take(is_poll).expect("a poll");
        self.read(link, response);
        self.take_posts();
        link
    }

    /// Opens the websocket that was asked for, and says these frames at once.
    fn upgrade(&mut self, frames: &[u8]) -> LinkId {
        let (link, request) = self.take(|request| request.contains("Upgrade: websocket")).unwrap();
        let mut lines = request.lines();
        let key = lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let head =
            "HTTP/1.1 101 X\r\nSet-Cookie: a=b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
        let head = [head.as_bytes(), &handshake::accept_key(key), b"\r\n\r\n"].concat();
        self.read(link, &[&head, frames].concat());
        link
    }

    fn told(self) -> Told {
        let mut written = self.written;
        for (link, mut bytes) in self.frames {
            let mut decoder = Decoder::new(Role::Server, Limits::default());
            while let Some(event) = decoder.decode(&mut bytes).unwrap() {
                let kind = match &event {
                    Event::Pong(_) => Kind::Pong,
                    Event::Text(text) if *text == "3" => Kind::Heartbeat,
                    _ => Kind::Message,
                };
                written.entry((link, kind)).or_default().push(format!("{event:?}"));
            }
            assert!(bytes.is_empty(), "half a frame");
        }
        Told {
            said: self.said,
            links: self.links,
            written,
            next: self.client.next_timeout(),
        }
    }
}

/// Lets a server say the same three times, and returns what the client has told.
fn assert_same(cuts: &[usize], config: &ClientConfig, talk: impl Fn(&mut Story<'_>)) -> Told {
    let play = |cuts| {
        let mut story = Story::new(config.clone(), cuts);
        talk(&mut story);
        story.told()
    };
    let whole = play(Cuts::None);
    for cuts in [Cuts::At(cuts), Cuts::All] {
        let told = play(cuts);
        for (line, of_whole) in told.said.iter().zip(&whole.said) {
            assert_eq!(line, of_whole);
        }
        assert_eq!(told.written, whole.written);
        assert_eq!(told, whole);
    }
    whole
}

/// An answer of HTTP: with its length, or in chunks.
fn response(status: &str, headers: &str, body: &[u8], is_chunked: bool) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nDate: Mon, 30 Nov 2026 10:00:00 GMT\r\n{headers}");
    if !is_chunked {
        return [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    }
    let mut out = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(7) {
        out.extend(format!("{:x};a=\"b\"\r\n", chunk.len()).into_bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\nTrailer: c\r\n\r\n");
    out
}

/// What a server says in one message.
enum Said {
    Text(String),
    Binary(Vec<u8>),
}

fn texts(texts: &[&str]) -> Vec<Said> {
    texts.iter().map(|text| Said::Text((*text).into())).collect()
}

/// Frames of a websocket. `typed` is the byte in front of binary messages. Long messages come in
/// fragments, with a ping behind each.
fn frames(said: &[Said], typed: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for said in said {
        let (opcode, payload) = match said {
            Said::Text(text) => (Opcode::Text, text.clone().into_bytes()),
            Said::Binary(bytes) => (Opcode::Binary, [typed, bytes].concat()),
        };
        if payload.len() < 24 {
            encode_message(&mut out, opcode, &payload, None);
            continue;
        }
        let last = payload.chunks(9).count() - 1;
        for (at, piece) in payload.chunks(9).enumerate() {
            let opcode = if at == 0 { opcode } else { Opcode::Continuation };
            encode_frame(&mut out, opcode, at == last, piece, None);
            encode_frame(&mut out, Opcode::Ping, true, &[b'0' + at as u8], None);
        }
    }
    out.to_vec()
}

/// How a websocket ends, beside the words of its protocol: it is closed, or broken.
const ENDS: [&[u8]; 3] = [&[0x88, 4, 0x03, 0xe8, b'o', b'k'], &[0xf1, 0], &[0x81, 2, 0xff, 0xff]];

/// How a poll ends, beside the words of its protocol.
fn bad_answer(which: usize, words: &str) -> Vec<u8> {
    match which {
        0 => response("200 OK", "", words.as_bytes(), false),
        1 => response(
            "400 Bad Request",
            "",
            b"{\"code\":1,\"message\":\"Session ID unknown\"}",
            true,
        ),
        2 => response("200 OK", "", b"\xff\xff", true),
        3 => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc".to_vec(),
        4 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n".to_vec(),
        _ => response("503 No", "Retry-After: 7\r\nConnection: close\r\n", b"later", false),
    }
}

fn config(generation: Generation, transports: &[Transport]) -> ClientConfig {
    ClientConfig::default()
        .generation(generation)
        .transports(transports.to_vec())
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![any::<usize>(), 0..200usize], 0..20)
}

const POLLING: &[Transport] = &[Transport::Polling];
const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
const BOTH: &[Transport] = &[Transport::Polling, Transport::WebSocket];

/// What a server of Engine.IO says when the namespaces are connected. Six events are for the
/// user.
fn engine_talk(heartbeat: &str) -> Vec<Said> {
    let attached = "452-[\"b\",{\"_placeholder\":true,\"num\":1},\"é\",{\"_placeholder\":true,\"num\":0}]";
    let mut talk = texts(&["42[\"a\",1]", attached]);
    talk.extend([Said::Binary(vec![1, 2, 3]), Said::Binary(vec![0; 30])]);
    talk.extend(texts(&[
        "421[\"question\",\"😀\"]",
        "430[\"ok\",\"a long answer with ö and 😀\"]",
        heartbeat,
        "42/a,[\"in a\"]",
        "42/nobody,[\"x\"]",
        "41/a,",
        "42/a,[\"too late\"]",
        "6",
    ]));
    talk.extend(texts(&["451-[\"c\",{\"_placeholder\":true,\"num\":0}]"]));
    talk.push(Said::Binary(Vec::new()));
    talk.extend(texts(&["42[\"last\"]"]));
    talk
}

/// A payload of Engine.IO 4.
fn payload4(said: &[Said]) -> Vec<u8> {
    let packet = |said: &Said| match said {
        Said::Text(text) => text.clone(),
        Said::Binary(bytes) => format!("b{}", STANDARD.encode(bytes)),
    };
    said.iter().map(packet).collect::<Vec<_>>().join("\u{1e}").into_bytes()
}

/// A payload of Engine.IO 3: text, or bytes.
fn payload3(said: &[Said], is_binary: bool) -> Vec<u8> {
    let mut out = BytesMut::new();
    for said in said {
        match (said, is_binary) {
            (Said::Text(text), false) => TextWriter::new(&mut out).text(text),
            (Said::Binary(bytes), false) => TextWriter::new(&mut out).binary(bytes),
            (Said::Text(text), true) => BinaryWriter::new(&mut out).text(text),
            (Said::Binary(bytes), true) => BinaryWriter::new(&mut out).binary(bytes),
        }
    }
    out.to_vec()
}

/// The same packets as [`engine_talk`] has, as MessagePack writes them.
fn packed(packet: &Packet) -> Said {
    match messages(&MessagePack::default(), packet).unwrap().remove(0) {
        EngineMessage::Text(text) => Said::Text(format!("4{text}")),
        EngineMessage::Binary(bytes) => Said::Binary(bytes.to_vec()),
    }
}

fn event(name: &'static str, json: &'static str, attachments: &[&'static [u8]]) -> Packet {
    Packet::Event {
        namespace: "/".into(),
        name: name.into(),
        id: None,
        args: Args {
            json: json.into(),
            attachments: attachments.iter().map(|bytes| Bytes::from_static(bytes)).collect(),
            ..Args::default()
        },
    }
}

fn connected(namespace: &'static str, payload: &'static str) -> Packet {
    Packet::Connect {
        namespace: namespace.into(),
        query: None,
        payload: Some(payload.into()),
    }
}

/// A length in front of a message of 0.6.
fn framed(texts: &[&str]) -> String {
    let frame = |text: &&str| format!("~m~{}~m~{text}", text.chars().count());
    texts.iter().map(frame).collect()
}

proptest! {
    #![proptest_config(cases::usually(100))]

    #[test]
    fn of_a_server_of_engine_io_4_on_a_websocket(cuts in cuts(), end in 0..6usize) {
        let told = assert_same(&cuts, &config(Generation::Four, WEBSOCKET), |story| {
            let link = story.upgrade(&frames(&texts(&[OPEN, "2"]), &[]));
            story.read(link, &frames(&texts(&["42[\"early\"]", "40{\"sid\":\"x\",\"pid\":\"p\"}", "40/a,{\"sid\":\"y\"}"]), &[]));
            let mut rest = frames(&engine_talk("2"), &[]);
            match end {
                0..3 => rest.extend(ENDS[end]),
                _ => rest.extend(frames(&texts(&[["4x", "41", "1"][end - 3], "42[\"behind the end\"]"]), &[])),
            }
            story.read(link, &rest);
        });
        prop_assert_eq!(told.count("Delivery(Connect "), 2);
        prop_assert_eq!(told.count("Delivery(Event "), 7, "{:?}", told);
        prop_assert_eq!(told.count("Acknowledged"), 1);
        prop_assert_eq!(told.count("Disconnect { socket: SocketId(0)"), 1, "{:?}", told);
    }

    #[test]
    fn of_a_server_of_engine_io_4_on_polling(cuts in cuts(), end in 0..7usize, parts in any::<[bool; 4]>(), place in 0..15usize) {
        let told = assert_same(&cuts, &config(Generation::Four, POLLING), |story| {
            story.answer(&response("200 OK", "Set-Cookie: a=b; Path=/\r\n", OPEN.as_bytes(), parts[0]));
            let joined = texts(&["2", "42[\"early\"]", "40{\"sid\":\"x\"}", "40/a,{\"sid\":\"y\"}"]);
            story.answer(&response("200 OK", "", &payload4(&joined), parts[1]));
            let talk = engine_talk("2");
            let (first, second) = talk.split_at(place % (talk.len() - 1) + 1);
            story.answer(&response("200 OK", "", &payload4(first), parts[2]));
            story.answer(&response("200 OK", "", &payload4(second), parts[3]));
            match end {
                6 => {
                    // The end of the connection is the end of this answer.
                    let link = story.answer(b"HTTP/1.0 200 OK\r\n\r\n42[\"by its end\"]\x1e1");
                    story.client.handle_closed(NOW, link, None);
                    story.drain();
                }
                end => {
                    story.answer(&bad_answer(end, "42[\"before the end\"]\u{1e}1\u{1e}42[\"behind it\"]"));
                }
            }
        });
        prop_assert_eq!(told.count("Delivery(Connect "), 2);
        prop_assert_eq!(told.count("Delivery(Event "), 7 + usize::from(matches!(end, 0 | 6)), "{:?}", told);
        prop_assert_eq!(told.count("Acknowledged"), 1);
        prop_assert_eq!(told.count("State(Lost("), 1, "{:?}", told);
    }

    #[test]
    fn of_a_server_of_engine_io_4_that_agrees_to_the_upgrade(cuts in cuts(), agrees in any::<bool>()) {
        let told = assert_same(&cuts, &config(Generation::Four, BOTH), |story| {
            let open = OPEN.replace("\"upgrades\":[]", "\"upgrades\":[\"websocket\"]");
            story.answer(&response("200 OK", "", open.as_bytes(), true));
            story.answer(&response("200 OK", "", b"40{\"sid\":\"x\"}\x1e40/a,{\"sid\":\"y\"}", false));
            let word = if agrees { "3probe" } else { "3other" };
            let probe = story.upgrade(&frames(&texts(&[word]), &[]));
            story.answer(&response("200 OK", "", if agrees { b"6" } else { b"42[\"p\"]" }, false));
            if agrees {
                story.read(probe, &frames(&engine_talk("2"), &[]));
            }
        });
        prop_assert_eq!(told.count("State(Upgraded)"), usize::from(agrees), "{:?}", told);
        prop_assert_eq!(told.count("Delivery(Event "), if agrees { 6 } else { 1 }, "{:?}", told);
    }

    #[test]
    fn of_a_server_with_message_pack(cuts in cuts(), on_polling in any::<bool>(), is_chunked in any::<bool>()) {
        let transports = if on_polling { POLLING } else { WEBSOCKET };
        let config = config(Generation::Four, transports).parser(MessagePack::default());
        let told = assert_same(&cuts, &config, |story| {
            let joined = [packed(&connected("/", "{\"sid\":\"x\"}")), packed(&connected("/a", "{\"sid\":\"y\"}"))];
            let talk = [
                packed(&event("a", "1,\"é😀\",{\"b\":[null,1.5]}", &[])),
                packed(&event("b", "{\"_placeholder\":true,\"num\":0}", &[b"some bytes"])),
                packed(&Packet::Ack { namespace: "/".into(), id: 0, args: ByteString::from("\"ok\"").into() }),
                packed(&Packet::Disconnect { namespace: "/a".into() }),
                Said::Text("2".into()),
                packed(&event("last", "", &[])),
                Said::Binary(b"\x81\xa4type".to_vec()),
            ];
            if on_polling {
                story.answer(&response("200 OK", "", OPEN.as_bytes(), is_chunked));
                story.answer(&response("200 OK", "", &payload4(&joined), is_chunked));
                story.answer(&response("200 OK", "", &payload4(&talk), is_chunked));
            } else {
                let link = story.upgrade(&frames(&texts(&[OPEN]), &[]));
                story.read(link, &frames(&joined, &[]));
                story.read(link, &frames(&talk, &[]));
            }
        });
        prop_assert_eq!(told.count("Delivery(Connect "), 2);
        prop_assert_eq!(told.count("Delivery(Event "), 3, "{:?}", told);
        prop_assert_eq!(told.count("Acknowledged"), 1);
        prop_assert_eq!(told.count("Lost(ParseError)"), 1, "{:?}", told);
    }

    #[test]
    fn of_a_server_of_engine_io_3(cuts in cuts(), form in 0..3usize, end in 0..6usize, is_chunked in any::<bool>()) {
        let transports = if form < 2 { POLLING } else { WEBSOCKET };
        let told = assert_same(&cuts, &config(Generation::Two, transports), |story| {
            let opening = texts(&[OPEN, "40", "42[\"early\"]"]);
            let joined = texts(&["40/a,"]);
            let talk = engine_talk("3");
            if form == 2 {
                let link = story.upgrade(&frames(&opening, &[4]));
                story.read(link, &frames(&joined, &[4]));
                let mut rest = frames(&talk, &[4]);
                match end {
                    0..3 => rest.extend(ENDS[end]),
                    _ => rest.extend(frames(&texts(&[["4x", "41", "1"][end - 3]]), &[4])),
                }
                return story.read(link, &rest);
            }
            let kind = ["", "Content-Type: application/octet-stream\r\n"][form];
            let answer = |said: &[Said]| response("200 OK", kind, &payload3(said, form == 1), is_chunked);
            story.answer(&answer(&opening));
            story.answer(&answer(&joined));
            story.answer(&answer(&talk));
            story.answer(&bad_answer(end, "1:1"));
        });
        prop_assert_eq!(told.count("Delivery(Connect "), 2);
        prop_assert_eq!(told.count("Delivery(Event "), 7, "{:?}", told);
        prop_assert_eq!(told.count("Acknowledged"), 1);
        prop_assert_eq!(told.count("Disconnect { socket: SocketId(0)"), 1, "{:?}", told);
    }

    #[test]
    fn of_a_server_of_0_9(cuts in cuts(), on_polling in any::<bool>(), end in 0..6usize, is_chunked in any::<bool>()) {
        let transports = if on_polling { POLLING } else { WEBSOCKET };
        let told = assert_same(&cuts, &config(Generation::V0_9, transports), |story| {
            story.answer(&response("200 OK", "", b"s1:15:25:websocket,xhr-polling", is_chunked));
            let talk = [
                "1::/a",
                "3:7::text é",
                "4:8+::{\"a\":[1]}",
                "5:9+::{\"name\":\"question\",\"args\":[\"😀\"]}",
                "6:::1+[\"ok\"]",
                "2::",
                "no packet",
                "5::/a:{\"name\":\"in a\"}",
                "7::/a:0",
                "8::",
                "\u{fffd}6\u{fffd}3:::😀\u{fffd}5\u{fffd}3:::b",
            ];
            if !on_polling {
                let link = story.upgrade(&frames(&texts(&["1::"]), &[]));
                let mut rest = frames(&texts(&talk), &[]);
                match end {
                    0..3 => rest.extend(ENDS[end]),
                    _ => rest.extend(frames(&texts(&[["0::", "7:::1+0", "3:::"][end - 3]]), &[])),
                }
                return story.read(link, &rest);
            }
            story.answer(&response("200 OK", "", b"1::", is_chunked));
            let framed: Vec<String> = talk[..10]
                .iter()
                .map(|packet| format!("\u{fffd}{}\u{fffd}{packet}", packet.encode_utf16().count()))
                .collect();
            story.answer(&response("200 OK", "", framed.concat().as_bytes(), is_chunked));
            story.answer(&response("200 OK", "", talk[10].as_bytes(), is_chunked));
            story.answer(&bad_answer(end, "0::"));
        });
        prop_assert_eq!(told.count("Delivery(Connect "), 2, "{:?}", told);
        let more = usize::from(!on_polling && end == 5);
        prop_assert_eq!(told.count("Delivery(Event "), 6 + more, "{:?}", told);
        prop_assert_eq!(told.count("Acknowledged"), 1, "{:?}", told);
    }

    #[test]
    fn of_a_server_of_0_6(cuts in cuts(), on_polling in any::<bool>(), end in 0..6usize, is_chunked in any::<bool>()) {
        let transports = if on_polling { POLLING } else { WEBSOCKET };
        let told = assert_same(&cuts, &config(Generation::V0_6, transports), |story| {
            let said = [
                framed(&["hé😀", "~j~{\"a\":[1]}", "~h~1"]),
                framed(&["two", "~j~null", "~h~2"]),
                "~m~1~m~a~m~nothing".into(),
                framed(&["a text that comes in several fragments"]),
            ];
            if !on_polling {
                let said: Vec<&str> = said.iter().map(|text| &**text).collect();
                let link = story.upgrade(&frames(&texts(&["~m~2~m~s1"]), &[]));
                return story.read(link, &[&frames(&texts(&said), &[])[..], ENDS[end % 3]].concat());
            }
            story.answer(&response("200 OK", "", b"~m~2~m~s1", is_chunked));
            for text in said {
                story.answer(&response("200 OK", "", text.as_bytes(), is_chunked));
            }
            story.answer(&bad_answer(end, "~m~0~m~"));
        });
        prop_assert_eq!(told.count("Delivery(Connect "), 1, "{:?}", told);
        let more = usize::from(on_polling && end == 0);
        prop_assert_eq!(told.count("Delivery(Event "), 6 + more, "{:?}", told);
    }

    #[test]
    fn of_a_server_of_the_streaming_codec(
        cuts in cuts(),
        on_polling in any::<bool>(),
        end in 0..6usize,
        place in 1..60usize,
        is_chunked in any::<bool>(),
    ) {
        let transports = if on_polling { POLLING } else { WEBSOCKET };
        let told = assert_same(&cuts, &config(Generation::Streaming, transports), |story| {
            // Packets go on from one message to the next.
            let said = "1:6::hello,1:4:j\n:1,2:1:7,1:12:j\n:{\"a\":[1]},9:1:x,1:5::hé😀,".to_owned();
            let chars: Vec<char> = said.chars().collect();
            let (first, second) = chars.split_at(place.min(chars.len() - 1));
            let parts = [first, second].map(|part| part.iter().collect::<String>());
            if !on_polling {
                let link = story.upgrade(&frames(&texts(&["3:2:s1,"]), &[]));
                let mut rest = frames(&texts(&[&parts[0], &parts[1]]), &[]);
                match end {
                    0..3 => rest.extend(ENDS[end]),
                    _ => rest.extend(frames(&texts(&[["0:0:,", "no packet", "2:1:8,"][end - 3]]), &[])),
                }
                return story.read(link, &rest);
            }
            story.answer(&response("200 OK", "", b"3:2:s1,", is_chunked));
            for part in parts {
                story.answer(&response("200 OK", "", part.as_bytes(), is_chunked));
            }
            story.answer(&bad_answer(end, "0:0:,"));
        });
        prop_assert_eq!(told.count("Delivery(Connect "), 1, "{:?}", told);
        prop_assert_eq!(told.count("Delivery(Event "), 4, "{:?}", told);
    }
}
