//! Packets that have to wait: how many bytes they count, and that they keep no read buffer alive.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use sio_proto::wire::{Inbound, Wire, WireDecoder};
use sio_proto::{ByteString, Bytes, Config};

/// What a packet of 0.7 to 0.9 takes without its texts. Each text takes 16 bytes more.
const PACKET: usize = size_of::<sio_proto::legacy::legacy09::Packet>();

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

/// The parts of a packet with attachments, and binary messages.
#[test]
fn parts_that_wait_keep_no_buffer() {
    let (packets, buffer) = read(Wire::Engine4, "451-[\"name\",{\"_placeholder\":true,\"num\":0}]");
    let kept: Vec<_> = packets.into_iter().map(Inbound::kept).collect();
    assert!(buffer.is_unique());
    // The namespace, the name, and the placeholder.
    assert_eq!(kept[0].bytes(), 1 + 4 + 29);
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
