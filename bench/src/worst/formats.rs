//! HTTP, websockets, Engine.IO, Socket.IO, MessagePack, and the replies of Redis.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use sio_proto::ByteString;
use sio_proto::codec::{MessagePack, PacketParser, Parsed};
use sio_proto::detect::{self, EngineVersion, RequestHead};
use sio_proto::engine::{Dialect, EngineMessage, jsonp, payload, payload_v3};
use sio_proto::http::{self, Method, RequestDecoder, ResponseDecoder};
use sio_proto::resp;
use sio_proto::socket::text::{self, Decoded};
use sio_proto::socket::{Packet, Revision, Role};
use sio_proto::websocket::{self, Decoder, Event};
use sio_proto::wire::Reassembly;

use super::{Worst, count, reading, repeated};
use crate::Case;
use crate::wire::masked;

/// More than any input has.
const MANY: usize = 64 << 20;

pub(super) const INPUTS: &[Worst] = &[
    Worst::new("http/requests", |bytes| {
        let (text, times) = repeated("", "GET / HTTP/1.1\r\nHost:a\r\n\r\n", "", bytes);
        reading(text.into_bytes(), times, |said: Vec<u8>| requests(said, usize::MAX))
    }),
    Worst::new("http/fields", |bytes| {
        let (text, _) = repeated("GET / HTTP/1.1\r\nHost:a\r\n", "a:\r\n", "\r\n", bytes);
        reading(text.into_bytes(), 1, |said: Vec<u8>| requests(said, usize::MAX))
    }),
    Worst::new("http/fields-in-one-byte-reads", |bytes| {
        let (text, _) = repeated("GET / HTTP/1.1\r\nHost:a\r\n", "a:\r\n", "\r\n", bytes);
        reading(text.into_bytes(), 1, |said: Vec<u8>| requests(said, 1))
    }),
    Worst::new("http/target-in-one-byte-reads", |bytes| {
        let (text, _) = repeated("GET /", "a", " HTTP/1.1\r\nHost:a\r\n\r\n", bytes);
        reading(text.into_bytes(), 1, |said: Vec<u8>| requests(said, 1))
    }),
    Worst::new("http/chunks", |bytes| {
        let (text, _) = repeated(CHUNKED, "1\r\na\r\n", "0\r\n\r\n", bytes);
        reading(text.into_bytes(), 1, |said: Vec<u8>| requests(said, usize::MAX))
    }),
    Worst::new("http/chunks-in-one-byte-reads", |bytes| {
        let (text, _) = repeated(CHUNKED, "1\r\na\r\n", "0\r\n\r\n", bytes);
        reading(text.into_bytes(), 1, |said: Vec<u8>| requests(said, 1))
    }),
    Worst::new("http/chunk-extensions", |bytes| {
        let (text, _) = repeated(CHUNKED, "1;a\r\na\r\n", "0\r\n\r\n", bytes);
        reading(text.into_bytes(), 1, |said: Vec<u8>| requests(said, usize::MAX))
    }),
    Worst::new("http/trailers", |bytes| {
        let (text, _) = repeated(&format!("{CHUNKED}0\r\n"), "a:\r\n", "\r\n", bytes);
        reading(text.into_bytes(), 1, |said: Vec<u8>| requests(said, usize::MAX))
    }),
    Worst::new("http/body-in-one-byte-reads", |bytes| {
        let head = format!("POST / HTTP/1.1\r\nHost:a\r\nContent-Length: {bytes}\r\n\r\n");
        reading(
            format!("{head}{}", "a".repeat(bytes)).into_bytes(),
            1,
            |said: Vec<u8>| requests(said, 1),
        )
    }),
    Worst::new("http/responses", |bytes| {
        let (text, times) = repeated("", "HTTP/1.1 204 a\r\n\r\n", "", bytes);
        reading(text.into_bytes(), times, |said: Vec<u8>| responses(said, usize::MAX))
    }),
    Worst::new("http/response-fields", |bytes| {
        let (text, _) = repeated("HTTP/1.1 204 a\r\n", "a:\r\n", "\r\n", bytes);
        reading(text.into_bytes(), 1, |said: Vec<u8>| responses(said, usize::MAX))
    }),
    Worst::new("http/response-chunks-in-one-byte-reads", |bytes| {
        let head = "HTTP/1.1 200 a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (text, _) = repeated(head, "1\r\na\r\n", "0\r\n\r\n", bytes);
        reading(text.into_bytes(), 1, |said: Vec<u8>| responses(said, 1))
    }),
    Worst::new("query/pairs", |bytes| {
        let (text, _) = repeated("/socket.io/?", "%45%49=%41&", "EIO=4", bytes);
        reading(text, 1, |target: String| {
            let head = RequestHead {
                target: &target,
                ..RequestHead::default()
            };
            usize::from(detect::engine_io(&head).version == EngineVersion::V4)
        })
    }),
    Worst::new("query/values", |bytes| {
        let (text, times) = repeated("a=", "%41", "", bytes);
        reading(text, times, |raw: String| {
            http::Query::new(raw).get("a").map_or(0, |value| value.len())
        })
    }),
    Worst::new("websocket/empty-frames", |bytes| {
        let frame = masked(true, 1, b"");
        reading(
            frame.repeat(count(bytes, &frame)),
            count(bytes, &frame),
            |said: Vec<u8>| events(said, usize::MAX),
        )
    }),
    Worst::new("websocket/empty-frames-of-a-server", |bytes| {
        reading([0x81, 0].repeat(bytes / 2), bytes / 2, |said: Vec<u8>| {
            events_for(websocket::Role::Client, said, usize::MAX)
        })
    }),
    Worst::new("websocket/pings", |bytes| {
        let frame = masked(true, 9, b"a");
        reading(
            frame.repeat(count(bytes, &frame)),
            count(bytes, &frame),
            |said: Vec<u8>| events(said, usize::MAX),
        )
    }),
    Worst::new("websocket/fragments", |bytes| {
        let frame = masked(false, 0, b"a");
        let said = [
            masked(false, 1, b"a"),
            frame.repeat(count(bytes, &frame)),
            masked(true, 0, b""),
        ];
        reading(said.concat(), 1, |said: Vec<u8>| events(said, usize::MAX))
    }),
    Worst::new("websocket/fragments-that-cut-characters", |bytes| {
        let [first, second] = [masked(false, 0, b"\xc3"), masked(false, 0, b"\xa9")];
        let both = [first, second].concat();
        let said = [
            masked(false, 1, b"a"),
            both.repeat(count(bytes, &both)),
            masked(true, 0, b""),
        ];
        reading(said.concat(), 1, |said: Vec<u8>| events(said, usize::MAX))
    }),
    Worst::new("websocket/text-in-one-byte-reads", |bytes| {
        reading(
            masked(true, 1, "\u{e9}".repeat(bytes / 2).as_bytes()),
            1,
            |said: Vec<u8>| events(said, 1),
        )
    }),
    Worst::new("websocket/wide-text", |bytes| {
        reading(
            masked(true, 1, "\u{1f600}".repeat(bytes / 4).as_bytes()),
            1,
            |said: Vec<u8>| events(said, usize::MAX),
        )
    }),
    Worst::new("engine4/payload", |bytes| {
        let (text, times) = repeated("", "4\u{1e}", "4", bytes);
        reading(text, times + 1, |body: ByteString| {
            payload::decode(body, MANY).flatten().count()
        })
    }),
    Worst::new("engine4/payload-of-bytes", |bytes| {
        let (text, times) = repeated("", "bAA==\u{1e}", "4", bytes);
        reading(text, times + 1, |body: ByteString| {
            payload::decode(body, MANY).flatten().count()
        })
    }),
    Worst::new("engine3/payload", |bytes| {
        let (text, times) = repeated("", "1:4", "", bytes);
        reading(text, times, |body: ByteString| {
            payload_v3::decode_text(body, Dialect::Auto, MANY).flatten().count()
        })
    }),
    Worst::new("engine3/payload-of-nothing", |bytes| {
        let (text, _) = repeated("", "0:", "1:4", bytes);
        reading(text, 1, |body: ByteString| {
            payload_v3::decode_text(body, Dialect::Auto, MANY).flatten().count()
        })
    }),
    Worst::new("engine3/payload-doubled", |bytes| {
        let (text, times) = repeated("", "3:4\u{c3}\u{a9}", "", bytes);
        reading(text, times, |body: ByteString| {
            payload_v3::decode_text(body, Dialect::Auto, MANY).flatten().count()
        })
    }),
    Worst::new("engine3/payload-undecided", |bytes| {
        // Each of these packets is read as a doubled one, and is none.
        let (text, times) = repeated("", "3:4\u{c3}\u{c3}", "", bytes);
        reading(text, times, |body: ByteString| {
            payload_v3::decode_text(body, Dialect::Auto, MANY).flatten().count()
        })
    }),
    Worst::new("engine3/binary-payload", |bytes| {
        let packet = [0, 1, 0xff, b'4'];
        reading(packet.repeat(bytes / 4), bytes / 4, |body: Bytes| {
            payload_v3::decode_binary(body, Dialect::Auto, MANY).flatten().count()
        })
    }),
    Worst::new("engine3/form", |bytes| {
        let (text, times) = repeated("d=", "%5C%5Cn", "", bytes);
        reading(text.into_bytes(), times * 2, |body: Bytes| {
            jsonp::decode_post(&body).map_or(0, |payload| payload.len())
        })
    }),
    Worst::new("socket/arguments", |bytes| {
        packet(repeated("2[\"a\",", "1,", "1]", bytes).0)
    }),
    Worst::new("socket/name", |bytes| {
        packet(repeated("2[\"", "\\u0061", "\"]", bytes).0)
    }),
    Worst::new("socket/namespace", |bytes| {
        packet(repeated("2/", "a", ",[\"a\"]", bytes).0)
    }),
    Worst::new("socket/acknowledgement", |bytes| {
        packet(repeated("37[", "1,", "1]", bytes).0)
    }),
    Worst::new("socket/attachments", |bytes| {
        let (mut placeholders, mut times) = (String::new(), 0);
        while placeholders.len() < bytes {
            placeholders.push_str(&format!(",{{\"_placeholder\":true,\"num\":{times}}}"));
            times += 1;
        }
        reading(format!("5{times}-[\"a\"{placeholders}]"), times, |text: ByteString| {
            attachments(&text)
        })
    }),
    Worst::new("msgpack/values", |bytes| message(bytes as u32, &[0xc0], &[])),
    Worst::new("msgpack/undefined", |bytes| {
        message(bytes as u32 / 3, &[0xd4, 0, 0], &[])
    }),
    Worst::new("msgpack/deep", |bytes| {
        message(bytes as u32 / 121, &[&[0x91; 120][..], &[0xc0]].concat(), &[])
    }),
    Worst::new("msgpack/maps", |bytes| {
        message(bytes as u32 / 3, &[0x81, 0xa0, 0xc0], &[])
    }),
    Worst::new("msgpack/floats", |bytes| {
        let float = [&[0xcb][..], &1.234_567_890_123_456_7e-300_f64.to_be_bytes()].concat();
        message(bytes as u32 / 9, &float, &[])
    }),
    Worst::new("msgpack/dates", |bytes| {
        message(bytes as u32 / 6, &[0xd6, 0xff, 0, 0, 0, 0], &[])
    }),
    Worst::new("msgpack/escapes", |bytes| {
        let text = [&[0xda, 0x0f, 0xff][..], &[1; 4095]].concat();
        message((bytes / text.len()) as u32, &text, &[])
    }),
    Worst::new("resp/values", |bytes| {
        let (text, times) = repeated("", "_\r\n", "", bytes);
        reading(text.into_bytes(), times, |said: Vec<u8>| replies(said, usize::MAX))
    }),
    Worst::new("resp/list", |bytes| {
        let times = bytes / 3;
        let text = format!("*{times}\r\n{}", "_\r\n".repeat(times));
        reading(text.into_bytes(), 1, |said: Vec<u8>| replies(said, usize::MAX))
    }),
    Worst::new("resp/lists", |bytes| {
        let (text, times) = repeated("", &format!("{}_\r\n", "*1\r\n".repeat(16)), "", bytes);
        reading(text.into_bytes(), times, |said: Vec<u8>| replies(said, usize::MAX))
    }),
    Worst::new("resp/attributes", |bytes| {
        let (text, _) = repeated("", "|0\r\n", "_\r\n", bytes);
        reading(text.into_bytes(), 1, |said: Vec<u8>| replies(said, usize::MAX))
    }),
    Worst::new("resp/string-in-one-byte-reads", |bytes| {
        let text = format!("${bytes}\r\n{}\r\n", "a".repeat(bytes));
        reading(text.into_bytes(), 1, |said: Vec<u8>| replies(said, 1))
    }),
];

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost:a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn limits() -> http::Limits {
    http::Limits::default()
        .max_head_bytes(MANY)
        .max_target_bytes(MANY)
        .max_headers(MANY)
        .max_body_bytes(MANY)
        .max_chunks(MANY)
        .max_chunk_extra_bytes(MANY)
}

/// Hands bytes over in pieces of `most` bytes. `take` takes things out of the buffer, one a call.
fn in_pieces(said: &[u8], most: usize, mut take: impl FnMut(&mut BytesMut) -> ControlFlow<(), bool>) -> usize {
    let (mut buffer, mut things) = (BytesMut::new(), 0);
    for piece in said.chunks(most) {
        buffer.extend_from_slice(piece);
        loop {
            match take(&mut buffer) {
                ControlFlow::Continue(true) => things += 1,
                ControlFlow::Continue(false) => break,
                ControlFlow::Break(()) => return things,
            }
        }
    }
    things
}

/// How many requests are read.
fn requests(said: Vec<u8>, most: usize) -> usize {
    let mut decoder = RequestDecoder::new();
    in_pieces(&said, most, |bytes| match decoder.decode(bytes, &limits()) {
        Ok(Some(http::Event::Request(request))) if request.body.is_ok() => ControlFlow::Continue(true),
        Ok(None) => ControlFlow::Continue(false),
        Ok(Some(_)) | Err(_) => ControlFlow::Break(()),
    })
}

/// How many responses are read.
fn responses(said: Vec<u8>, most: usize) -> usize {
    let mut decoder = ResponseDecoder::new();
    in_pieces(&said, most, |bytes| {
        match decoder.decode(Method::Get, bytes, &limits()) {
            Ok(response) => ControlFlow::Continue(response.is_some()),
            Err(_) => ControlFlow::Break(()),
        }
    })
}

/// How many messages and pings a server reads.
fn events(said: Vec<u8>, most: usize) -> usize {
    events_for(websocket::Role::Server, said, most)
}

fn events_for(role: websocket::Role, said: Vec<u8>, most: usize) -> usize {
    let limits = websocket::Limits::default()
        .max_frame_bytes(MANY)
        .max_message_bytes(MANY)
        .max_fragments(u32::MAX);
    let mut decoder = Decoder::new(role, limits);
    in_pieces(&said, most, |bytes| match decoder.decode(bytes) {
        Ok(Some(Event::Text(_) | Event::Binary(_) | Event::Ping(_))) => ControlFlow::Continue(true),
        Ok(None) => ControlFlow::Continue(false),
        Ok(Some(_)) | Err(_) => ControlFlow::Break(()),
    })
}

/// How many replies are read.
fn replies(said: Vec<u8>, most: usize) -> usize {
    let limits = resp::Limits {
        max_reply_bytes: MANY * 2,
        ..resp::Limits::default()
    };
    let mut decoder = resp::Decoder::new(limits);
    in_pieces(&said, most, |bytes| match decoder.decode(bytes) {
        Ok(reply) => ControlFlow::Continue(reply.is_some()),
        Err(_) => ControlFlow::Break(()),
    })
}

fn packet_limits() -> text::Limits {
    let mut limits = text::Limits::default();
    limits.max_attachments = MANY;
    limits.max_attachment_bytes = MANY;
    limits.max_event_name_bytes = MANY;
    limits.max_namespace_bytes = MANY;
    limits
}

/// A packet of Socket.IO that has to be valid.
fn packet(text: String) -> Box<dyn Case> {
    reading(text, 1, |text: ByteString| {
        usize::from(text::decode(&text, Revision::Five, Role::Server, &packet_limits()).is_ok())
    })
}

/// How many attachments a packet has that is put together of its parts.
fn attachments(text: &ByteString) -> usize {
    let limits = packet_limits();
    let Ok(Decoded::Partial(partial)) = text::decode(text, Revision::Five, Role::Server, &limits) else {
        return 0;
    };
    let (mut parts, mut whole) = (Reassembly::new(), None);
    let times = partial.attachments();
    let _ = parts.handle_decoded(Decoded::Partial(partial));
    for _ in 0..times {
        whole = parts.handle_binary(Bytes::from_static(b"a"), &limits).ok().flatten();
    }
    match whole {
        Some(Packet::Event { args, .. }) => args.attachments.len(),
        _ => 0,
    }
}

/// A packet of MessagePack: an event whose arguments are `times` values.
fn message(times: u32, value: &[u8], end: &[u8]) -> Box<dyn Case> {
    let head = [
        &b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xdd"[..],
        &(times + 1).to_be_bytes(),
        b"\xa1e",
    ]
    .concat();
    let message = [&head, &value.repeat(times as usize)[..], end].concat();
    reading(message, 1, |message: Bytes| {
        let mut parser = MessagePack::default();
        parser.max_elements = MANY;
        let parsed = parser.decode(EngineMessage::Binary(message), &packet_limits());
        usize::from(matches!(parsed, Ok(Parsed::Packet(_))))
    })
}
