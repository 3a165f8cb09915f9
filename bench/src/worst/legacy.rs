//! The formats before Engine.IO.

use bytes::{Bytes, BytesMut};
use sio_proto::ByteString;
use sio_proto::legacy::form::{self, Field};
use sio_proto::legacy::legacy09::payload;
use sio_proto::legacy::{envelope, framing, hixie, legacy09, streaming};

use super::{Worst, reading, repeated};

/// More than any input has.
const MANY: usize = usize::MAX;

pub(super) const INPUTS: &[Worst] = &[
    Worst::new("legacy09/payload", |bytes| {
        let (text, times) = repeated("", "\u{fffd}3\u{fffd}8::", "", bytes);
        reading(text, times, |text: ByteString| {
            let mut packets = Vec::new();
            let _ = payload::decode(&text, MANY, &mut packets);
            let packets = packets.iter().map(legacy09::Packet::decode);
            packets.filter(Result::is_ok).count()
        })
    }),
    Worst::new("legacy09/payload-wide", |bytes| {
        // The length counts two units for each of these characters.
        let content = "\u{1f600}".repeat(1000);
        let (text, times) = repeated("", &format!("\u{fffd}2004\u{fffd}3:::{content}"), "", bytes);
        reading(text, times, |text: ByteString| {
            let mut packets = Vec::new();
            let _ = payload::decode(&text, MANY, &mut packets);
            packets.len()
        })
    }),
    Worst::new("legacy09/event", |bytes| {
        let (text, _) = repeated("5:::{\"name\":\"a\",\"args\":[", "1,", "1]}", bytes);
        reading(text, 1, |text: ByteString| {
            usize::from(legacy09::Packet::decode(&text).is_ok())
        })
    }),
    Worst::new("legacy06/frames", |bytes| {
        let (text, times) = repeated("", "~m~1~m~a", "", bytes);
        reading(text, times, |text: ByteString| {
            let mut frames = Vec::new();
            let _ = framing::decode(&text, MANY, &mut frames);
            frames.len()
        })
    }),
    Worst::new("legacy06/frames-form", |bytes| {
        let (text, times) = repeated("", "~m~2~m~\r\n", "", bytes);
        reading(text, times, |text: ByteString| {
            let mut frames = Vec::new();
            let _ = framing::decode_jsonp(&text, MANY, &mut frames);
            frames.len()
        })
    }),
    Worst::new("legacy06/json-frames", |bytes| {
        let (text, times) = repeated("", "~m~5~m~~j~[]", "", bytes);
        reading(text, times, |text: ByteString| {
            let mut frames = Vec::new();
            let _ = framing::decode(&text, MANY, &mut frames);
            frames.len()
        })
    }),
    Worst::new("envelope/messages", |bytes| {
        let (text, times) = repeated("[", "1,", "1]", bytes);
        reading(text, times + 1, |text: ByteString| {
            let mut messages = Vec::new();
            let _ = envelope::decode_from_client(&text, MANY, &mut messages);
            messages.len()
        })
    }),
    Worst::new("streaming/packets", |bytes| {
        let (text, times) = repeated("", "2:0:,", "", bytes);
        reading(text, times, |text: ByteString| {
            let mut packets = Vec::new();
            let _ = streaming::Decoder::new(MANY, MANY).decode(&text, &mut packets);
            packets.len()
        })
    }),
    Worst::new("streaming/one-byte-pieces", |bytes| {
        let (text, _) = repeated("", "\u{e9}", "", bytes);
        let units = text.chars().count();
        reading(format!("2:{units}:{text},"), 1, |text: ByteString| {
            let mut packets = Vec::new();
            let mut decoder = streaming::Decoder::new(MANY, MANY);
            let mut rest = &*text;
            while let Some(first) = rest.chars().next() {
                let (piece, behind) = rest.split_at(first.len_utf8());
                let _ = decoder.decode(&text.slice_ref(piece), &mut packets);
                rest = behind;
            }
            packets.len()
        })
    }),
    Worst::new("streaming/annotations", |bytes| {
        let (annotations, _) = repeated("", "a\n", "", bytes);
        let text = format!("1:{}:{annotations}:,", annotations.len() + 1);
        reading(text, 1, |text: ByteString| {
            let mut packets = Vec::new();
            let _ = streaming::Decoder::new(MANY, MANY).decode(&text, &mut packets);
            packets.len()
        })
    }),
    Worst::new("hixie/frames", |bytes| {
        reading([0, 0xff].repeat(bytes / 2), bytes / 2, |frames: Vec<u8>| {
            let (mut buffer, mut decoder) = (BytesMut::from(&frames[..]), hixie::Decoder::new(MANY));
            let mut count = 0;
            while let Ok(Some(_)) = decoder.decode(&mut buffer) {
                count += 1;
            }
            count
        })
    }),
    Worst::new("hixie/one-byte-reads", |bytes| {
        let (text, _) = repeated("", "a", "", bytes);
        reading([&[0], text.as_bytes(), &[0xff]].concat(), 1, |frame: Vec<u8>| {
            let (mut buffer, mut decoder) = (BytesMut::new(), hixie::Decoder::new(MANY));
            let mut count = 0;
            for byte in frame {
                buffer.extend_from_slice(&[byte]);
                count += usize::from(matches!(decoder.decode(&mut buffer), Ok(Some(_))));
            }
            count
        })
    }),
    Worst::new("form/escapes", |bytes| {
        let (text, times) = repeated("d=", "%41", "", bytes);
        reading(text.into_bytes(), times, |body: Bytes| match form::field(&body, "d") {
            Field::Value { value, .. } => value.len(),
            _ => 0,
        })
    }),
    Worst::new("form/fields", |bytes| {
        let (text, _) = repeated("", "&", "&d=1", bytes);
        reading(text.into_bytes(), 1, |body: Bytes| match form::field(&body, "d") {
            Field::Value { value, .. } => value.len(),
            _ => 0,
        })
    }),
];
