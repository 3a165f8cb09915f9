//! What is read has one spelling when it is written: on each wire, what was read and written once
//! is read, and is written again in the same way.
//!
//! Each wire has inputs of its own, and of these a share has to be accepted: a property that
//! refuses all that it gets would hold for nothing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what is not a test here is part of one"
)]

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sio_proto::codec::{MessagePack, PacketParser, Parsed, messages};
use sio_proto::engine::payload_v3::{self, BinaryWriter, TextWriter};
use sio_proto::engine::{self, Dialect, EngineMessage, payload};
use sio_proto::http::{self, Exchange, Method, RequestDecoder, ResponseDecoder, encode_request, encode_response};
use sio_proto::legacy::legacy09::handshake::Handshake;
use sio_proto::legacy::{envelope, framing, hixie, legacy09, streaming};
use sio_proto::socket::text::{Decoded, Encoder, Limits, decode};
use sio_proto::socket::{Offset, Revision, Role};
use sio_proto::websocket::{self, Opcode, encode_close, encode_message};
use sio_proto::{ByteString, Bytes, BytesMut, Sid};

const MAX: usize = 64;

/// A way to read bytes, and to write what was read: `None` if they are refused, or end in the
/// middle.
struct Wire {
    name: &'static str,
    rewrite: fn(Bytes) -> Option<Bytes>,
    /// An input is one piece of each list. A character stands for the byte of its number if the
    /// wire is not text.
    pieces: &'static [&'static [&'static str]],
    is_text: bool,
    /// How many of a hundred inputs have to be accepted.
    least: u32,
}

const fn text(
    name: &'static str,
    least: u32,
    rewrite: fn(Bytes) -> Option<Bytes>,
    pieces: &'static [&'static [&'static str]],
) -> Wire {
    Wire {
        name,
        rewrite,
        pieces,
        is_text: true,
        least,
    }
}

const fn bytes(
    name: &'static str,
    least: u32,
    rewrite: fn(Bytes) -> Option<Bytes>,
    pieces: &'static [&'static [&'static str]],
) -> Wire {
    Wire {
        is_text: false,
        ..text(name, least, rewrite, pieces)
    }
}

const SOCKET: &[&[&str]] = &[
    &["0", "1", "2", "2", "2", "3", "4"],
    &["", "", "/a,", "/é?a=b,", "/,"],
    &["", "", "1", "007", "12"],
    &[
        "",
        "[\"e\"]",
        "[\"e\",1]",
        "[ \"e\" , {\"a\" : \"\\u0041é\"}]",
        "[\"\\u0065\",1.50]",
        "{\"message\":\"x\"}",
        "\"x\"",
    ],
];

const REQUESTS: &[&[&str]] = &[
    &["GET", "POST", "PUT", "OPTIONS"],
    &[" / ", " /socket.io/?EIO=4&b=%20 ", " http://a/b?c ", " //a "],
    &["HTTP/1.1\r\n", "HTTP/1.1\r\n", "HTTP/1.0\r\n"],
    &["Host: a\r\n", "hOsT:  a:80 \r\n"],
    &[
        "",
        "Cookie: a=b;c\r\n",
        "X-A:\r\nx-a: \u{c3}\u{a9}\r\n",
        "Connection: close\r\n",
    ],
    &[
        "\r\n",
        "Content-Length: 0\r\n\r\n",
        "content-length:3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n",
    ],
];

const RESPONSES: &[&[&str]] = &[
    &["", "HTTP/1.1 100 Continue\r\n\r\n"],
    &[
        "HTTP/1.1 200 OK",
        "HTTP/1.1 404 ",
        "HTTP/1.1 204 No",
        "HTTP/1.0 503 Later",
    ],
    &[
        "\r\n",
        "\r\nSet-Cookie: a=b\r\nset-cookie:c\r\n",
        "\r\nConnection: close\r\n",
    ],
    &[
        "Content-Length: 0\r\n\r\n",
        "content-length:3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: u\r\n\r\n",
    ],
];

const WIRES: &[Wire] = &[
    text(
        "packet of Engine.IO 3",
        50,
        |input| engine_packet(engine::Revision::V3, input),
        &[
            &["0", "1", "2", "4", "5", "6", "b4", "b"],
            &["", "AAE=", "probe", "é", "[\"e\"]"],
        ],
    ),
    text(
        "packet of Engine.IO 4",
        60,
        |input| engine_packet(engine::Revision::V4, input),
        &[
            &["0", "1", "2", "4", "5", "6", "b"],
            &["", "AAE=", "AA==", "probe", "é"],
        ],
    ),
    text(
        "payload of Engine.IO 4",
        50,
        |input| {
            let packets: Result<Vec<_>, _> = payload::decode(as_text(input)?, MAX).collect();
            let packets = packets.ok()?;
            written(|out| {
                let mut writer = payload::Writer::new(out);
                packets.iter().for_each(|packet| writer.packet(packet));
            })
        },
        &[
            &["4a", "2", "bAAE=", "4é"],
            &["", "\u{1e}4b", "\u{1e}bAA==", "\u{1e}"],
            &["", "\u{1e}6", "\u{1e}42[\"e\"]"],
        ],
    ),
    text(
        "text payload of Engine.IO 3",
        50,
        |input| {
            let packets: Result<Vec<_>, _> = payload_v3::decode_text(as_text(input)?, Dialect::Plain, MAX).collect();
            let packets = packets.ok()?;
            written(|out| {
                let mut writer = TextWriter::new(out);
                for packet in &packets {
                    match packet {
                        engine::Packet::Binary(bytes) => writer.binary(bytes),
                        packet => writer.text(&packet_text(packet)),
                    }
                }
            })
        },
        &[
            &["2:4a", "1:2", "2:4é", "6:b4AAE=", "02:4a"],
            &["", "3:4ab", "1:6", "3:4😀"],
            &["", "2:4♥", "1:"],
        ],
    ),
    bytes(
        "binary payload of Engine.IO 3",
        65,
        |input| {
            let packets: Result<Vec<_>, _> = payload_v3::decode_binary(input, Dialect::Plain, MAX).collect();
            let packets = packets.ok()?;
            written(|out| {
                let mut writer = BinaryWriter::new(out);
                for packet in &packets {
                    match packet {
                        engine::Packet::Binary(bytes) => writer.binary(bytes),
                        packet => writer.text(&packet_text(packet)),
                    }
                }
            })
        },
        &[
            &[
                "\0\u{2}\u{ff}4a",
                "\0\u{1}\u{ff}2",
                "\u{1}\u{2}\u{ff}\u{4}\u{80}",
                "\0\0\u{2}\u{ff}4a",
            ],
            &[
                "",
                "\u{1}\u{3}\u{ff}\u{4}\u{1}\u{2}",
                "\u{1}\u{1}\0\u{ff}\u{4}123456789",
            ],
            &["", "\0\u{3}\u{ff}4\u{c3}\u{a9}"],
        ],
    ),
    text(
        "packet of 1.x",
        15,
        |input| socket_packet(Revision::Three, input),
        SOCKET,
    ),
    text(
        "packet of 2.x",
        15,
        |input| socket_packet(Revision::Four, input),
        SOCKET,
    ),
    text(
        "packet of 3.x and 4.x",
        15,
        |input| socket_packet(Revision::Five, input),
        SOCKET,
    ),
    bytes(
        "packet of MessagePack",
        30,
        |input| {
            let parser = MessagePack::default();
            match parser.decode(EngineMessage::Binary(input), &Limits::default()).ok()? {
                Parsed::Packet(packet) => match messages(&parser, &packet).unwrap().remove(0) {
                    EngineMessage::Binary(bytes) => Some(bytes),
                    EngineMessage::Text(text) => panic!("{text}"),
                },
                Parsed::Part(_) | Parsed::Nothing => None,
            }
        },
        &[
            &["\u{84}\u{a4}type", "\u{de}\0\u{4}\u{d9}\u{4}type"],
            &["\u{2}", "\u{3}", "\u{cc}\u{2}", "\u{cd}\0\u{2}"],
            &["\u{a3}nsp\u{a1}/", "\u{a3}nsp\u{d9}\u{2}/a"],
            &["\u{a2}id\u{1}", "\u{a2}id\u{cf}\0\0\0\0\0\0\0\u{7}", "\u{a2}id\u{c0}"],
            &["\u{a4}data"],
            &["\u{92}\u{a1}e", "\u{dc}\0\u{2}\u{a2}\u{c3}\u{a9}"],
            &[
                "\u{1}",
                "\u{c4}\u{2}ab",
                "\u{cb}?\u{f0}\0\0\0\0\0\0",
                "\u{ca}?\u{80}\0\0",
                "\u{81}\u{a1}a\u{90}",
                "\u{d2}\u{ff}\u{ff}\u{ff}\u{ff}",
                "\u{d5}\u{1}ab",
            ],
        ],
    ),
    text(
        "packet of 0.9",
        40,
        |input| {
            let packet = legacy09::Packet::decode(&as_text(input)?).ok()?;
            written(|out| packet.encode(out))
        },
        &[
            &["0", "1", "2", "3", "4", "5", "6", "7", "8"],
            &[":", "::", ":1:", ":2+:"],
            &["", "", "/a", "/é?x=1"],
            &[
                "",
                ":",
                ":text",
                ":{\"name\":\"e\",\"args\":[1]}",
                ":1+[1]",
                ":1",
                ":[ 1 ]",
                ":2+0",
                ":?a=b",
            ],
        ],
    ),
    text(
        "payload of 0.9",
        80,
        |input| {
            let mut packets = Vec::new();
            legacy09::payload::decode(&as_text(input)?, MAX, &mut packets).ok()?;
            // A packet begins with a digit. What begins with the mark is none, and cannot stand
            // alone.
            if packets.iter().any(|packet| packet.starts_with('\u{fffd}')) {
                return None;
            }
            written(|out| legacy09::payload::write(packets.iter().map(|packet| &**packet), out))
        },
        &[
            &["3:::a", "\u{fffd}5\u{fffd}3:::a", "\u{fffd}3\u{fffd}2::"],
            &["", "\u{fffd}6\u{fffd}3:::😀", "\u{fffd}05\u{fffd}3:::é"],
            &["", "\u{fffd}0\u{fffd}", "\u{fffd}3\u{fffd}1::"],
        ],
    ),
    text(
        "handshake of 0.9",
        65,
        |input| {
            let handshake = Handshake::decode(&as_text(input)?).ok()?;
            // A server has a transport.
            (!handshake.transports.is_empty())
                .then(|| written(|out| handshake.encode(out)))
                .flatten()
        },
        &[
            &["s1", "f2OB-Gs9.~_", "1234567890"],
            &[":", ":60", ":060", ":0"],
            &[":", ":25", ":9999999999"],
            &[
                ":websocket",
                ":htmlfile,xhr-polling",
                ":xhr-polling,unknown,websocket,websocket",
                ":,jsonp-polling",
            ],
            &["", "", ":more"],
        ],
    ),
    text(
        "payload of 0.6",
        70,
        |input| {
            let mut frames = Vec::new();
            framing::decode(&as_text(input)?, MAX, &mut frames).ok()?;
            written(|out| frames.iter().for_each(|frame| frame.encode(out)))
        },
        &[
            &["~m~1~m~a", "~m~3~m~~h~", "~m~04~m~~h~1"],
            &["", "~m~4~m~~j~1", "~m~5~m~~j~[]", "~m~0~m~"],
            &["", "~m~3~m~hé😀", "~m~4~m~hé😀"],
        ],
    ),
    text(
        "payload of 0.3",
        60,
        |input| {
            let mut messages = Vec::new();
            envelope::decode_from_client(&as_text(input)?, MAX, &mut messages).ok()?;
            written(|out| envelope::write_array(messages.iter().map(|message| &**message), out))
        },
        &[
            &["[", " [ "],
            &["\"a\"", "1.50", "{\"a\" : 1}", "null"],
            &["", ",\"é\"", " , [ ]"],
            &["]", " ] "],
        ],
    ),
    text(
        "stream of 2011",
        70,
        |input| {
            let (mut decoder, mut packets) = (streaming::Decoder::new(1000, MAX), Vec::new());
            decoder.decode(&as_text(input)?, &mut packets).ok()?;
            decoder
                .is_at_boundary()
                .then(|| written(|out| packets.iter().for_each(|packet| packet.encode(out))))
                .flatten()
        },
        &[
            &["3:2:s1,", "1:2::x,", "1:4:j\n:1,", "1:02::x,"],
            &["", "1:6:a:b\n:é,", "1:3::😀,", "1:2::😀,"],
            &["", "2:1:7,", "0:0:,", "9:1:x,", "1:5:j\r\n:1,"],
        ],
    ),
    bytes(
        "request of HTTP",
        55,
        |input| {
            let (mut decoder, mut input) = (RequestDecoder::new(), BytesMut::from(&input[..]));
            let request = loop {
                match decoder.decode(&mut input, &http::Limits::default()).ok()?? {
                    http::Event::Continue => {}
                    http::Event::Request(request) => break request,
                }
            };
            let own = ["host", "content-length", "transfer-encoding"];
            let fields = texts_of(&request.headers, &own)?;
            let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            let (host, body) = (request.headers.text("host").unwrap_or_default(), request.body.ok()?);
            let body = Some(&body[..]).filter(|body| !body.is_empty());
            let mut out = BytesMut::new();
            encode_request(&mut out, request.method, &request.target, &host, &fields, body).ok()?;
            Some(out.freeze()).filter(|_| input.is_empty())
        },
        REQUESTS,
    ),
    bytes(
        "response of HTTP",
        50,
        |input| {
            let (mut decoder, mut input) = (ResponseDecoder::new(), BytesMut::from(&input[..]));
            let response = decoder
                .decode(Method::Get, &mut input, &http::Limits::default())
                .ok()??;
            let fields = texts_of(
                &response.headers,
                &["connection", "content-length", "transfer-encoding"],
            )?;
            let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            let exchange = Exchange {
                is_head: false,
                version_minor: response.version_minor,
                keep_alive: response.keep_alive,
            };
            let reason = Some(&*response.reason).filter(|reason| !reason.is_empty());
            let mut out = BytesMut::new();
            encode_response(&mut out, exchange, response.status, reason, &fields, &response.body).ok()?;
            Some(out.freeze()).filter(|_| input.is_empty())
        },
        RESPONSES,
    ),
    bytes(
        "frames of a client's websocket",
        40,
        |input| websocket_frames(websocket::Role::Server, input),
        &[
            &[
                "\u{81}\u{82}\u{1}\u{2}\u{3}\u{4}ij",
                "\u{82}\u{80}\0\0\0\0",
                "\u{81}\u{fe}\0\u{2}\0\0\0\0ab",
            ],
            &[
                "",
                "\u{1}\u{81}\0\0\0\0a\u{89}\u{80}\0\0\0\0\u{80}\u{81}\0\0\0\0b",
                "\u{8a}\u{81}\0\0\0\0p",
            ],
            &[
                "",
                "\u{88}\u{82}\0\0\0\0\u{3}\u{e8}",
                "\u{88}\u{80}\0\0\0\0",
                "\u{2}\u{80}\0\0\0\0\u{80}\u{80}\0\0\0\0",
            ],
        ],
    ),
    bytes(
        "frames of a server's websocket",
        40,
        |input| websocket_frames(websocket::Role::Client, input),
        &[
            &[
                "\u{81}\u{2}hi",
                "\u{82}\0",
                "\u{81}\u{2}\u{c3}\u{a9}",
                "\u{82}\u{7e}\0\u{1}a",
            ],
            &[
                "",
                "\u{1}\u{1}a\u{89}\0\u{80}\u{1}b",
                "\u{8a}\u{1}p",
                "\u{1}\u{1}\u{c3}\u{80}\u{1}\u{a9}",
            ],
            &["", "\u{88}\u{4}\u{3}\u{e8}ok", "\u{88}\0", "\u{88}\u{2}\u{13}\u{88}"],
        ],
    ),
    bytes(
        "frames of a websocket of 2010",
        45,
        |input| {
            let (mut decoder, mut input) = (hixie::Decoder::new(1000), BytesMut::from(&input[..]));
            let mut out = BytesMut::new();
            while let Some(frame) = decoder.decode(&mut input).ok()? {
                match frame {
                    hixie::Frame::Text(text) => hixie::write_text(&text, &mut out),
                    hixie::Frame::Close => out.extend_from_slice(hixie::CLOSE),
                }
            }
            Some(out.freeze()).filter(|_| input.is_empty())
        },
        &[
            &["\0hi\u{ff}", "\0\u{ff}", "\0\u{c3}\u{a9}\u{ff}"],
            &["", "\0~m~2~m~hi\u{ff}", "\0\0\u{ff}"],
            &["", "\u{ff}\0", "\u{80}\u{1}a"],
        ],
    ),
    text(
        "offset",
        50,
        |input| Some(Offset::parse(&as_text(input)?)?.text().into_bytes()),
        &[
            &["0", "a", "zik0zj", "1790000000000"],
            &["-"],
            &["1", "9", "18446744073709551615", "007"],
        ],
    ),
    text(
        "id",
        35,
        |input| Some(Sid::parse(&as_text(input)?)?.to_string().into()),
        &[
            &["abcdefghij", "ABCDEFGHIJ", "0123456789"],
            &["KLMNO_-xyz", "----------", "a"],
        ],
    ),
];

fn written(write: impl FnOnce(&mut BytesMut)) -> Option<Bytes> {
    let mut out = BytesMut::new();
    write(&mut out);
    Some(out.freeze())
}

fn as_text(input: Bytes) -> Option<ByteString> {
    ByteString::try_from(input).ok()
}

fn packet_text(packet: &engine::Packet) -> ByteString {
    as_text(written(|out| packet.encode_text(engine::Revision::V3, out)).unwrap()).unwrap()
}

fn engine_packet(revision: engine::Revision, input: Bytes) -> Option<Bytes> {
    let packet = engine::Packet::decode_text(revision, &as_text(input)?).ok()?;
    written(|out| packet.encode_text(revision, out))
}

fn socket_packet(revision: Revision, input: Bytes) -> Option<Bytes> {
    match decode(&as_text(input)?, revision, Role::Server, &Limits::default()).ok()? {
        Decoded::Packet(packet) => written(|out| Encoder::new(revision).ascii(false).packet(out, &packet)),
        Decoded::Nothing | Decoded::Partial(_) => None,
    }
}

/// The fields beside these, if their values are text.
fn texts_of(headers: &http::Headers, own: &[&str]) -> Option<Vec<(String, String)>> {
    let fields = headers.iter();
    let others = fields.filter(|(name, _)| own.iter().all(|own| !own.eq_ignore_ascii_case(name)));
    others
        .map(|(name, value)| Some((name.to_owned(), String::from_utf8(value.to_vec()).ok()?)))
        .collect()
}

fn websocket_frames(role: websocket::Role, input: Bytes) -> Option<Bytes> {
    let mask = (role == websocket::Role::Server).then_some([1, 2, 3, 4]);
    let (mut decoder, mut input) = (
        websocket::Decoder::new(role, websocket::Limits::default()),
        BytesMut::from(&input[..]),
    );
    let mut out = BytesMut::new();
    while let Some(event) = decoder.decode(&mut input).ok()? {
        let (opcode, payload) = match &event {
            websocket::Event::Text(text) => (Opcode::Text, text.as_bytes()),
            websocket::Event::Binary(bytes) => (Opcode::Binary, bytes),
            websocket::Event::Ping(bytes) => (Opcode::Ping, bytes),
            websocket::Event::Pong(bytes) => (Opcode::Pong, bytes),
            websocket::Event::Close(close) => {
                let status = close.as_ref().map(|close| (close.code, &*close.reason));
                encode_close(&mut out, status, mask);
                continue;
            }
        };
        encode_message(&mut out, opcode, payload, mask);
    }
    // A message that has begun and does not end is not written.
    Some(out.freeze()).filter(|_| input.is_empty())
}

impl Wire {
    /// One piece of each list, and at times one piece less, or one more byte.
    fn inputs(&self) -> BoxedStrategy<Bytes> {
        let (pieces, is_text) = (self.pieces, self.is_text);
        let choices = prop::collection::vec(any::<prop::sample::Index>(), pieces.len());
        let fault = prop_oneof![3 => Just(None), 1 => any::<(prop::sample::Index, Option<char>)>().prop_map(Some)];
        (choices, fault)
            .prop_map(move |(choices, fault)| {
                let chosen = pieces.iter().zip(choices).map(|(list, choice)| *choice.get(list));
                let mut chosen: Vec<String> = chosen.map(str::to_owned).collect();
                match fault {
                    Some((place, None)) => drop(chosen.remove(place.index(chosen.len()))),
                    Some((place, Some(c))) => chosen.insert(place.index(chosen.len()), c.to_string()),
                    None => {}
                }
                let whole = chosen.concat();
                match is_text {
                    true => Bytes::from(whole),
                    false => whole.chars().map(|c| u32::from(c) as u8).collect(),
                }
            })
            .boxed()
    }

    /// Whether the input is accepted, and is more than nothing.
    fn check(&self, input: &Bytes) -> Result<bool, TestCaseError> {
        let Some(first) = (self.rewrite)(input.clone()) else {
            return Ok(false);
        };
        // An empty payload is written for no packets, and is none itself.
        if first.is_empty() {
            return Ok(false);
        }
        let second = (self.rewrite)(first.clone());
        prop_assert_eq!(second.as_ref(), Some(&first), "{} {:?}", self.name, input);
        Ok(true)
    }
}

#[test]
fn what_is_written_has_one_spelling_on_each_wire() {
    let mut poor = Vec::new();
    for wire in WIRES {
        let config = ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let (cases, accepted) = (config.cases, Cell::new(0));
        let run = TestRunner::new(config).run(&wire.inputs(), |input| {
            accepted.set(accepted.get() + u32::from(wire.check(&input)?));
            Ok(())
        });
        run.unwrap_or_else(|error| panic!("{}: {error}", wire.name));
        println!("{}: {} of {cases} accepted", wire.name, accepted.get());
        // Few cases say nothing about the share.
        if cases >= 256 && accepted.get() * 100 < wire.least * cases {
            poor.push(wire.name);
        }
    }
    assert_eq!(poor, [""; 0], "these wires accept too few of their inputs");
}

proptest! {
    /// The inputs of one wire are inputs of all others, too.
    #[test]
    fn what_is_nearly_of_another_wire_has_one_spelling(
        input in prop_oneof![
            4 => (0..WIRES.len()).prop_flat_map(|wire| WIRES[wire].inputs()),
            1 => any::<String>().prop_map(Bytes::from),
            1 => any::<Vec<u8>>().prop_map(Bytes::from),
        ],
    ) {
        for wire in WIRES {
            wire.check(&input)?;
        }
    }
}
