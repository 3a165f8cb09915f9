//! Packets that have to wait: how many bytes they count, and that they keep no read buffer alive.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use sio_proto::http;
use sio_proto::legacy::legacy09;
use sio_proto::server::{Admission, Delivery, Outputs, Peer, Request, Shard, Write};
use sio_proto::socket::{Packet, text::Decoded};
use sio_proto::websocket::{Decoder, Event, Limits, Role};
use sio_proto::wire::{Inbound, Wire, WireDecoder};
use sio_proto::{ByteString, Bytes, BytesMut, Config, LinkId, Time};

/// What a packet of 0.7 to 0.9 takes without its texts. Each text takes 16 bytes more.
const PACKET: usize = size_of::<legacy09::Packet>();

/// What a decoder makes of a text that is a small part of a read buffer, and the buffer.
fn read(wire: Wire, text: &str) -> (Vec<Inbound>, Bytes) {
    // A buffer of its own for each, which is `is_unique` when nothing else shares it.
    let whole = Bytes::from([text.as_bytes(), &[b' '; 1000]].concat());
    let text = ByteString::try_from(whole.slice(..text.len())).unwrap();
    let config = Config::default();
    let mut packets = Vec::new();
    WireDecoder::new(wire, &config).decode_text(text, &config, &mut packets);
    (packets, whole)
}

/// Each packet that has a text of the client counts it, and has memory of its own when it waits.
#[test]
fn a_packet_that_waits_is_counted_and_keeps_no_buffer() {
    let long = "x".repeat(300);
    for (wire, text, bytes) in [
        (Wire::Engine4, format!("0{long}"), 300),
        (Wire::Engine4, format!("2{long}"), 300),
        (Wire::Engine4, format!("3{long}"), 300),
        (Wire::Engine4, "1".into(), 0),
        (Wire::Engine4Raw, format!("4{long}"), 300),
        // A usual event keeps its whole text.
        (Wire::Engine4, format!("42[\"{long}\"]"), 306),
        (Wire::Engine4, format!("42[\"name\",\"{long}\"]"), 313),
        (Wire::Engine4, format!("42/n,[\"name\",\"{long}\"]"), 316),
        (Wire::Engine4, format!("42[\"\\u0061\",\"{long}\"]"), 304),
        (Wire::Engine4, format!("40/n,{{\"a\":\"{long}\"}}"), 310),
        (Wire::Engine4, "41/n,".into(), 2),
        (Wire::Engine4, format!("431[\"{long}\"]"), 303),
        (Wire::Engine3, format!("40/n?{long}"), 302),
        (Wire::Legacy09, format!("0::/{long}"), PACKET + 301 + 16),
        (Wire::Legacy09, format!("1::/n:?{long}"), PACKET + 303 + 2 * 16),
        (Wire::Legacy09, format!("3:7+:/n:{long}"), PACKET + 303 + 3 * 16),
        (Wire::Legacy09, format!("4::/n:\"{long}\""), PACKET + 304 + 2 * 16),
        (
            Wire::Legacy09,
            format!("5:7+::{{\"name\":\"e\",\"args\":[\"{long}\"]}}"),
            PACKET + 306 + 3 * 16,
        ),
        (Wire::Legacy09, format!("6:::7+[\"{long}\"]"), PACKET + 305 + 2 * 16),
        (Wire::Legacy09, "8::".into(), PACKET),
        (Wire::Legacy06(0), format!("~m~300~m~{long}"), 302),
    ] {
        let (packets, buffer) = read(wire, &text);
        let [packet] = packets
            .try_into()
            .unwrap_or_else(|packets| panic!("{text}: {packets:?}"));
        assert!(
            !matches!(packet, Inbound::LeftOut(..) | Inbound::Broken(_) | Inbound::Garbled(_)),
            "{text}: {packet:?}"
        );
        let before = format!("{packet:?}");
        let counted = packet.bytes();
        let kept = packet.kept();
        assert!(buffer.is_unique(), "{text} keeps its buffer");
        assert_eq!(format!("{kept:?}"), before, "{text}");
        assert_eq!((counted, kept.bytes()), (bytes, bytes), "{text}");
    }
}

/// What is left out counts the text that says why.
#[test]
fn what_is_left_out_is_counted() {
    for text in ["garbage", "4:::{bad"] {
        let (packets, _) = read(Wire::Legacy09, text);
        let [Inbound::LeftOut(breach, 1)] = &packets[..] else {
            panic!("{packets:?}");
        };
        assert!(packets[0].bytes() >= breach.text().len() + 16, "{text}");
    }
}

/// A large packet that is a small part of a body does not keep the body, even before it waits:
/// those who keep its parts later know nothing of the body.
#[test]
fn a_large_packet_keeps_no_larger_body() {
    let config = Config::default();
    for (size, others, shares) in [
        (100_000, 0, true),
        (100_000, 90_000, true),
        (100_000, 150_000, false),
        (100_000, 800_000, false),
    ] {
        let packet = |name: &str, len: usize| format!(r#"42["{name}","{}"]"#, "x".repeat(len));
        let body = [packet("a", size), packet("b", others)].join("\u{1e}");
        let body = Bytes::from(body);
        let http = http::Request {
            method: http::Method::Post,
            target: "/socket.io/?EIO=4&transport=polling&sid=x".into(),
            version_minor: 1,
            headers: http::Headers::from_iter([("host", "localhost")]),
            body: Ok(body.clone()),
        };
        let mut request = Request::new(&config, http, Peer::default());
        request.decode_body(&config);
        let packets = request.take_packets();
        assert_eq!(packets.len(), 2);
        let [Inbound::Event(first), _] = &packets[..] else {
            panic!("{} packets", packets.len());
        };
        let args = first.args();
        assert_eq!(args.json.len(), size + 2);
        drop((packets, request));
        assert_eq!(!body.is_unique(), shares, "{others} bytes of others");
    }
}

/// A packet may be mostly something that nobody asks for. Then its arguments do not keep it.
#[test]
fn arguments_keep_no_much_larger_packet() {
    let value = format!("\"{}\"", "x".repeat(70_000));
    for (space, shares) in [(1_000, true), (60_000, true), (80_000, false), (800_000, false)] {
        let space = " ".repeat(space);
        for (wire, text) in [
            (Wire::Engine4, format!(r#"42["a",{space}{value}]"#)),
            (Wire::Engine4, format!(r#"42["a",{value}]{space}"#)),
            (Wire::Engine4, format!(r#"42["\u0061",{space}{value}]"#)),
            (Wire::Engine4, format!("431[{space}{value}]")),
            (Wire::Engine3, format!(r#"42["a",{space}{value}]"#)),
            (
                Wire::Legacy09,
                format!(r#"5:::{{"x":"{space}","name":"a","args":[{value}]}}"#),
            ),
        ] {
            let buffer = Bytes::from(text.clone());
            let text = ByteString::try_from(buffer.clone()).unwrap();
            let config = Config::default();
            let mut packets = Vec::new();
            WireDecoder::new(wire, &config).decode_text(text, &config, &mut packets);
            let args = match packets.pop() {
                Some(Inbound::Event(event)) => event.args().json,
                Some(Inbound::Socket(Decoded::Packet(Packet::Event { args, .. } | Packet::Ack { args, .. }))) => {
                    args.json
                }
                Some(Inbound::Legacy09(packet)) => match packet.body {
                    legacy09::Body::Event { args, .. } => args,
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            };
            assert_eq!(args.trim_matches(['[', ']']), value);
            assert_eq!(
                !buffer.is_unique(),
                shares,
                "{wire:?}, {} of {}",
                args.len(),
                buffer.len()
            );
        }
    }
}

/// A value that waits behind a large one, in the same read buffer, does not keep the memory of
/// both.
#[test]
fn a_large_message_keeps_no_larger_read_buffer() {
    for (before, size, shares) in [
        (1_000, 70_000, [true, false]),
        (1_000_000, 70_000, [true, false]),
        (70_000, 1_000_000, [false, false]),
        (70_000, 40_000, [true, true]),
    ] {
        let message = |len: usize| {
            let mut frame = match len {
                ..126 => vec![0x82, 0x80 | len as u8],
                126..65_536 => [&[0x82, 0x80 | 126][..], &(len as u16).to_be_bytes()].concat(),
                _ => [&[0x82, 0x80 | 127][..], &(len as u64).to_be_bytes()].concat(),
            };
            frame.resize(frame.len() + 4 + len, 0);
            frame
        };
        let mut bytes = BytesMut::from(&[message(before), message(size), message(10)].concat()[..]);
        let mut limits = Limits::default();
        (limits.max_message_bytes, limits.max_frame_bytes) = (1_000_000, 1_000_000);
        let whole = bytes.as_ptr_range();
        let mut decoder = Decoder::new(Role::Server, limits);
        let mut is_shared = |len: usize| match decoder.decode(&mut bytes).unwrap() {
            Some(Event::Binary(data)) if data.len() == len => whole.contains(&data.as_ptr()),
            other => panic!("{other:?}"),
        };
        assert_eq!([is_shared(before), is_shared(size)], shares, "{size} behind {before}");
        assert!(decoder.decode(&mut bytes).unwrap().is_some());
        assert!(bytes.is_empty());
    }
}

/// A message counts as one behind others also if these were fragments or empty.
#[test]
fn what_stands_behind_fragments_is_parted() {
    let fragment = |first: u8, len: usize| {
        let mut frame = [&[first, 0x80 | 127][..], &(len as u64).to_be_bytes()].concat();
        frame.resize(frame.len() + 4 + len, 0);
        frame
    };
    let empty = [0x82, 0x80, 0, 0, 0, 0].to_vec();
    let fragments = [fragment(0x02, 200_000), fragment(0x80, 200_000)].concat();
    for (before, shares) in [(Vec::new(), true), (empty, false), (fragments, false)] {
        let mut bytes = BytesMut::from(&[before, fragment(0x82, 70_000)].concat()[..]);
        let whole = bytes.as_ptr_range();
        let mut decoder = Decoder::new(Role::Server, Limits::default());
        let mut last = Bytes::new();
        while let Some(Event::Binary(data)) = decoder.decode(&mut bytes).unwrap() {
            last = data;
        }
        assert_eq!(last.len(), 70_000);
        assert_eq!(whole.contains(&last.as_ptr()), shares);
    }
}

/// The parts of a packet with attachments, and binary messages.
#[test]
fn parts_that_wait_keep_no_buffer() {
    for (placeholder, bytes) in [
        // A usual event keeps its whole text.
        (r#"{"_placeholder":true,"num":0}"#, 42),
        // The namespace, the name, and the placeholder.
        (r#"{"num":0,"_placeholder":true}"#, 1 + 4 + 29),
    ] {
        let (packets, buffer) = read(Wire::Engine4, &format!(r#"451-["name",{placeholder}]"#));
        let kept: Vec<_> = packets.into_iter().map(Inbound::kept).collect();
        assert!(buffer.is_unique());
        assert_eq!(kept[0].bytes(), bytes);
    }
    for (wire, bytes) in [(Wire::Engine4, 100), (Wire::Engine3, 99), (Wire::Engine4Raw, 100)] {
        let buffer = Bytes::from(vec![4; 1000]);
        let config = Config::default();
        let mut packets = Vec::new();
        WireDecoder::new(wire, &config).decode_binary(buffer.slice(..100), &config, &mut packets);
        let kept: Vec<_> = packets.into_iter().map(Inbound::kept).collect();
        assert!(buffer.is_unique(), "{wire:?}");
        assert_eq!(kept[0].bytes(), bytes, "{wire:?}");
    }
}

/// A request may name another form than its session has. Then its body is decoded a second time,
/// and the same holds.
#[test]
fn a_body_that_is_decoded_again_is_not_kept_either() {
    let counter = std::cell::Cell::new(0u8);
    let entropy = move |out: &mut [u8]| out.fill_with(|| counter.replace(counter.get().wrapping_add(97)));
    let mut shard = Shard::new(Config::default(), 0, [7; 16], Box::new(entropy)).unwrap();
    let mut out = Outputs::default();
    let mut links = 0..;
    let mut send = |out: &mut Outputs, method, target: &str, body: Bytes| {
        let config = shard.config().clone();
        let http = http::Request {
            method,
            target: target.into(),
            version_minor: 1,
            headers: http::Headers::from_iter([("host", "localhost"), ("origin", "http://localhost")]),
            body: Ok(body),
        };
        let mut request = Request::new(&config, http, Peer::default());
        request.decode_body(&config);
        let mut request = request.admission(Admission::Allowed);
        let link = LinkId::new(links.next().unwrap(), 0);
        shard.handle_request(Time::ZERO, link, &mut request, out);
        for delivery in &out.deliveries {
            if let Delivery::Connect { socket, .. } = delivery {
                shard.accept(Time::ZERO, *socket, &mut Outputs::default());
            }
        }
        shard.flush_ready(Time::ZERO, 10, out);
        match out.writes.drain(..).next() {
            Some(Write::Response(_, mut answer)) => answer.take_body(&mut BytesMut::new()),
            other => panic!("{other:?}"),
        }
    };
    let open = "/socket.io/?EIO=4&transport=polling";
    let opened = send(&mut out, http::Method::Get, open, Bytes::new());
    let session = format!("{open}&sid={}", common::sid(std::str::from_utf8(&opened).unwrap()));
    send(&mut out, http::Method::Post, &session, "40".into());
    out.deliveries.clear();
    let body = Bytes::from(format!(
        "42[\"a\",\"{}\"]\u{1e}42[\"b\",\"{}\"]",
        "x".repeat(100_000),
        "y".repeat(800_000)
    ));
    send(&mut out, http::Method::Post, &format!("{session}&j=0"), body.clone());
    out.deliveries.truncate(1);
    assert!(matches!(out.deliveries[..], [Delivery::Event { .. }]));
    assert!(body.is_unique());
}
