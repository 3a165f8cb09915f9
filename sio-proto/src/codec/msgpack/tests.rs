//! Packets of genuine peers. The modules below: [`values`] tests how values are converted,
//! [`malformed`] tests bad input and limits, and [`properties`] tests random packets.

mod malformed;
mod properties;
mod values;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::*;
use crate::socket::Args;

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn encoded(packet: &Packet) -> Bytes {
    let mut out = BytesMut::new();
    encode::packet(packet, &mut out);
    out.freeze()
}

fn read(bytes: &Bytes) -> Result<Parsed, PacketError> {
    MessagePack::default().decode(EngineMessage::Binary(bytes.clone()), &Limits::default())
}

fn decoded(bytes: &Bytes) -> Packet {
    match read(bytes) {
        Ok(Parsed::Packet(packet)) => packet,
        other => panic!("{bytes:?}: {other:?}"),
    }
}

fn args(json: &str, attachments: &[&'static [u8]]) -> Args {
    Args {
        json: json.into(),
        attachments: attachments.iter().map(|&bytes| Bytes::from_static(bytes)).collect(),
        ..Default::default()
    }
}

fn event(namespace: &'static str, id: Option<u64>, name: &str, args: Args) -> Packet {
    Packet::Event {
        namespace: namespace.into(),
        name: name.into(),
        id,
        args,
    }
}

fn connect(namespace: &'static str, payload: Option<&'static str>) -> Packet {
    Packet::Connect {
        namespace: namespace.into(),
        query: None,
        payload: payload.map(ByteString::from_static),
    }
}

fn disconnect(namespace: &'static str) -> Packet {
    Packet::Disconnect {
        namespace: namespace.into(),
    }
}

fn connect_error(namespace: &'static str, payload: &'static str) -> Packet {
    Packet::ConnectError {
        namespace: namespace.into(),
        payload: payload.into(),
    }
}

fn ack(namespace: &'static str, id: u64, args: Args) -> Packet {
    Packet::Ack {
        namespace: namespace.into(),
        id,
        args,
    }
}

const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

/// The golden bytes of docs/protocol/msgpack.md, and the captured vectors.
#[test]
fn what_genuine_peers_say() {
    for (bytes, packet) in [
        (
            "83 a474797065 00 a464617461 81a17401 a36e7370 a12f",
            connect("/", Some(r#"{"t":1}"#)),
        ),
        (
            "83 a474797065 00 a464617461 d40000 a36e7370 a22f61",
            connect("/a", None),
        ),
        (
            "85 a474797065 02 a464617461 93a16501c40109 a76f7074696f6e73 81a8636f6d7072657373c3 a26964 00 a36e7370 a12f",
            event("/", Some(0), "e", args(&format!("1,{PLACEHOLDER}"), &[&[9]])),
        ),
        (
            "84 a26964 00 a474797065 03 a464617461 9201c40109 a36e7370 a12f",
            ack("/", 0, args(&format!("1,{PLACEHOLDER}"), &[&[9]])),
        ),
        ("82 a474797065 01 a36e7370 a22f61", disconnect("/a")),
        // `vectors.json`
        ("82a47479706500a36e7370a12f", connect("/", None)),
        ("82a47479706500a36e7370a62f61646d696e", connect("/admin", None)),
        (
            "83a47479706500a36e7370a62f61646d696ea46461746181a5746f6b656ea161",
            connect("/admin", Some(r#"{"token":"a"}"#)),
        ),
        ("82a47479706501a36e7370a12f", disconnect("/")),
        (
            "83a47479706502a36e7370a12fa46461746194a16501c081a161a2c3a9",
            event("/", None, "e", args(r#"1,null,{"a":"é"}"#, &[])),
        ),
        (
            "84a47479706502a36e7370a62f61646d696ea269640ca46461746191a165",
            event("/admin", Some(12), "e", args("", &[])),
        ),
        (
            "84a47479706503a36e7370a12fa2696400a46461746190",
            ack("/", 0, args("", &[])),
        ),
        (
            "84a47479706503a36e7370a62f61646d696ea26964cd01c8a46461746191a178",
            ack("/admin", 456, args(r#""x""#, &[])),
        ),
        (
            "83a47479706504a36e7370a12fa46461746181a76d657373616765a26e6f",
            connect_error("/", r#"{"message":"no"}"#),
        ),
        (
            "83a47479706504a36e7370a22f61a464617461a474657874",
            connect_error("/a", r#""text""#),
        ),
        (
            "83a47479706502a36e7370a12fa46461746192a162c40101",
            event("/", None, "b", args(PLACEHOLDER, &[&[1]])),
        ),
        (
            "84a47479706502a36e7370a62f61646d696ea2696407a46461746192a16281a17892c40101c40102",
            event(
                "/admin",
                Some(7),
                "b",
                args(
                    r#"{"x":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}"#,
                    &[&[1], &[2]],
                ),
            ),
        ),
        (
            "84a47479706503a36e7370a12fa2696401a46461746191c40103",
            ack("/", 1, args(PLACEHOLDER, &[&[3]])),
        ),
    ] {
        assert_eq!(decoded(&hex(bytes)), packet, "{bytes}");
        assert_eq!(decoded(&encoded(&packet)), packet, "{packet:?}");
    }
}

/// The bytes that we write are those of a genuine server (captured), except the `pid` that a
/// genuine server adds as undefined.
#[test]
fn as_genuine_servers_say_it() {
    for (packet, bytes) in [
        (
            connect("/", Some(r#"{"sid":"abc"}"#)),
            "83a47479706500a46461746181a3736964a3616263a36e7370a12f",
        ),
        (
            ack("/", 0, args(&format!("1,{PLACEHOLDER}"), &[&[9]])),
            "84a2696400a47479706503a4646174619201c40109a36e7370a12f",
        ),
        (disconnect("/a"), "82a47479706501a36e7370a22f61"),
        (
            connect_error("/no", r#"{"message":"nope","data":{"c":1}}"#),
            "83a47479706504a46461746182a76d657373616765a46e6f7065a46461746181a16301a36e7370a32f6e6f",
        ),
        (
            event("/", Some(3), "q", args("", &[])),
            "84a47479706502a46461746191a171a2696403a36e7370a12f",
        ),
    ] {
        assert_eq!(encoded(&packet), hex(bytes));
    }
}

/// One value as an event's only argument.
fn json_of(value: &str) -> Result<String, PacketError> {
    let bytes = hex(&format!("83a47479706502a36e7370a12fa46461746192a16d{value}"));
    read(&bytes).map(|parsed| match parsed {
        Parsed::Packet(Packet::Event { args, .. }) => args.json.to_string(),
        other => panic!("{other:?}"),
    })
}

fn bytes_of(json: &str) -> String {
    let whole = encoded(&ack("/", 0, args(json, &[])));
    let value = &whole[hex("84a2696400a47479706503a464617461 91").len()..whole.len() - hex("a36e7370a12f").len()];
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}
