//! A parser that the operator wrote: its packets have one message or several, in both revisions of
//! Engine.IO, beside generations that have no parser.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bytes::Bytes;
use common::*;
use sio_proto::codec::{Messages, PacketError, PacketParser, Parsed, messages};
use sio_proto::server::{EngineMessage, Message, Peer, SendError};
use sio_proto::socket::text::{Decoded, Encoder, Limits, decode};
use sio_proto::socket::{Args, Offset, Packet, Revision, Role};
use sio_proto::{ByteString, BytesMut, Config};

/// Writes `N|` and the packet in the standard form, then its N attachments, each in a binary
/// message. An empty binary message has no packet.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn split(text: &ByteString) -> Result<(usize, Packet), PacketError> {
        let malformed = PacketError::Malformed("no count");
        let (count, packet) = text.split_once('|').ok_or(malformed)?;
        let count = count.parse().map_err(|_| malformed)?;
        match decode(&packet.into(), Revision::Five, Role::Server, &Limits::default())? {
            Decoded::Packet(packet) => Ok((count, packet)),
            Decoded::Partial(_) | Decoded::Nothing => Err(PacketError::Malformed("no packet")),
        }
    }
}

impl PacketParser for Counted {
    fn encode(&self, packet: &Packet, messages: &mut Messages<'_>) -> Result<(), PacketError> {
        let mut packet = packet.clone();
        let attachments = match &mut packet {
            Packet::Event { args, .. } | Packet::Ack { args, .. } => std::mem::take(&mut args.attachments),
            Packet::Connect { .. } | Packet::Disconnect { .. } | Packet::ConnectError { .. } => Vec::new(),
        };
        if attachments.len() > 2 {
            return Err(PacketError::Malformed("cannot count so far"));
        }
        let mut text = BytesMut::from(format!("{}|", attachments.len()).as_bytes());
        Encoder::new(Revision::Five).packet(&mut text, &packet);
        messages.text(std::str::from_utf8(&text).unwrap())?;
        for attachment in attachments {
            messages.binary(|out| out.extend_from_slice(&attachment));
        }
        Ok(())
    }

    fn decode(&self, message: EngineMessage, _: &Limits) -> Result<Parsed, PacketError> {
        match &message {
            // Packets that must not pass, and that only the server's check can stop.
            EngineMessage::Text(text) if text.starts_with('!') => Ok(Parsed::Packet(lies(text))),
            EngineMessage::Text(text) => match Self::split(text)? {
                (0, packet) => Ok(Parsed::Packet(packet)),
                _ => Ok(Parsed::Part(message)),
            },
            EngineMessage::Binary(bytes) if bytes.is_empty() => Ok(Parsed::Nothing),
            EngineMessage::Binary(_) => Ok(Parsed::Part(message)),
        }
    }

    fn join(&self, parts: &[EngineMessage], _: &Limits) -> Result<Option<Packet>, PacketError> {
        let Some(EngineMessage::Text(text)) = parts.first() else {
            return Err(PacketError::WrongKind);
        };
        let (count, mut packet) = Self::split(text)?;
        if parts.len() <= count {
            return Ok(None);
        }
        if let Packet::Event { args, .. } | Packet::Ack { args, .. } = &mut packet {
            for part in &parts[1..] {
                let EngineMessage::Binary(bytes) = part else {
                    return Err(PacketError::WrongKind);
                };
                args.attachments.push(bytes.clone());
            }
        }
        Ok(Some(packet))
    }
}

fn lies(text: &str) -> Packet {
    let event = |name: &str, json: &str, attachments: &[&'static [u8]]| Packet::Event {
        namespace: "/".into(),
        name: name.into(),
        id: None,
        args: Args {
            json: json.into(),
            attachments: attachments.iter().map(|bytes| Bytes::from_static(bytes)).collect(),
            ..Default::default()
        },
    };
    let connect = |namespace: &str, payload: &str| Packet::Connect {
        namespace: namespace.into(),
        query: None,
        payload: Some(payload.into()),
    };
    match text {
        "!json" => event("m", "1,", &[]),
        "!brackets" => event("m", "1],[2", &[]),
        "!deep" => event("m", &("[".repeat(200) + &"]".repeat(200)), &[]),
        "!reserved" => event("disconnect", "", &[]),
        "!long" => event(&"m".repeat(1025), "", &[]),
        "!placeholder" => event("m", r#"{"_placeholder":true,"num":1}"#, &[b"x"]),
        "!comma" => connect("/a,b", "{}"),
        "!namespace" => connect("admin", "{}"),
        "!wide" => connect(&format!("/{}", "a".repeat(512)), "{}"),
        "!payload" => connect("/a", "[]"),
        "!error" => Packet::ConnectError {
            namespace: "/".into(),
            payload: "{".into(),
        },
        other => panic!("{other}"),
    }
}

fn world() -> World {
    World::new(Config::default().parser(Counted))
}

fn joined(world: &mut World) -> sio_proto::LinkId {
    let link = world.open();
    world.send(link, WEBSOCKET);
    world.send(link, &text("40|0"));
    let frames = world.frames(link);
    assert!(frames[1].starts_with("40|0{\"sid\":\""), "{frames:?}");
    link
}

#[test]
fn packets_of_one_message_and_of_several() {
    let mut world = world();
    let link = joined(&mut world);
    let socket = world.last_socket();
    world.heard();
    world.send(link, &text("40|21[\"say\",\"é\"]"));
    world.send(link, &text("42|2[\"bin\",{\"_placeholder\":true,\"num\":1}]"));
    world.send(link, &binary(b"one"));
    assert_eq!(world.heard(), ["event say \"é\" #1"]);
    world.send(link, &binary(b"two"));
    assert_eq!(
        world.heard(),
        ["event bin {\"_placeholder\":true,\"num\":1} b\"one\" b\"two\""]
    );
    world.send(link, &binary(b""));
    assert_eq!(world.heard(), [""; 0]);
    world.emit(socket, "yes", "1").unwrap();
    world.disconnect(socket, false);
    assert_eq!(world.frames(link), ["40|2[\"yes\",1]", "40|1"]);
}

/// Over Engine.IO 3 clients send no CONNECT for `/`, queries follow the namespace, and binary
/// messages have a type byte or are base64.
#[test]
fn older_engine() {
    let mut world = world();
    let link = world.open();
    world.send(link, &upgrade("/socket.io/?EIO=3&transport=websocket&b=1"));
    assert_eq!(world.frames(link)[1..], ["40|0"]);
    world.send(link, &text("40|0/admin?token=t0ken,"));
    assert_eq!(world.frames(link), ["40|0/admin,"]);
    assert_eq!(
        world.heard(),
        [
            "connect / {\"b\":\"1\"}",
            "connect /admin {\"b\":\"1\",\"token\":\"t0ken\"}"
        ]
    );
    world.send(link, &text("41|2[\"bin\",{\"_placeholder\":true,\"num\":0}]"));
    world.send(link, &binary(&[4, 7]));
    assert_eq!(
        world.heard(),
        ["event bin {\"_placeholder\":true,\"num\":0} b\"\\x07\""]
    );
    world.send(link, &text("40|2[\"connect\"]"));
    assert_eq!(world.heard(), ["disconnect forced close", "disconnect forced close"]);

    let polling = "/socket.io/?EIO=3&transport=polling&b64=1";
    let polling = format!("{polling}&sid={}", sid(&world.ask(&get(polling))));
    let answer = world.ask(&post(&polling, "27:41|2[\"bin\",{\"x\":1},\"plain\"]6:b4AQID"));
    assert!(answer.ends_with("ok"), "{answer}");
    assert_eq!(
        world.heard()[1..],
        ["event bin {\"x\":1},\"plain\" b\"\\x01\\x02\\x03\""]
    );
    let socket = world.last_socket();
    let args = Args {
        json: r#"{"_placeholder":true,"num":0}"#.into(),
        attachments: vec![Bytes::from_static(&[9])],
        ..Default::default()
    };
    let mut message = Message::event("/".into(), "back".into(), args, None);
    let now = world.now;
    world
        .shard(|shard, _| shard.emit(now, socket, &mut message, None))
        .unwrap();
    let answer = world.ask(&get(&polling));
    assert!(
        body(&answer).ends_with("42:41|2[\"back\",{\"_placeholder\":true,\"num\":0}]6:b4CQ=="),
        "{answer}"
    );
}

#[test]
fn what_a_parser_lets_through_is_checked() {
    let mut world = world();
    let (bystander, socket) = (joined(&mut world), world.last_socket());
    for lie in [
        "!json",
        "!brackets",
        "!deep",
        "!reserved",
        "!long",
        "!placeholder",
        "!comma",
        "!namespace",
        "!wide",
        "!payload",
        "!error",
    ] {
        let link = joined(&mut world);
        world.heard();
        world.send(link, &text(&format!("4{lie}")));
        assert_eq!(world.heard(), ["disconnect forced close"], "{lie}");
        assert_eq!(world.frames(link), ["close"], "{lie}");
    }
    world.emit(socket, "there", "").unwrap();
    assert_eq!(world.frames(bystander), ["40|2[\"there\"]"]);
}

/// The parts that a client may leave in a session: their number, their bytes and their time have
/// the limits of attachments of the standard wire.
#[test]
fn parts_are_bounded() {
    let header = |count: usize| text(&format!("4{count}|2[\"m\"]"));
    let mut config = Config::default().parser(Counted);
    config.packet.max_attachments = 3;
    config.packet.max_attachment_bytes = 32;
    let mut world = World::new(config);
    let ends = |world: &mut World, link| {
        let ended = world.frames(link).contains(&"close".to_owned());
        world.heard();
        ended
    };

    let link = joined(&mut world);
    world.send(link, &[header(3), binary(b"1"), binary(b"2"), binary(b"3")].concat());
    assert!(!ends(&mut world, link));
    world.send(
        link,
        &[header(4), binary(b"1"), binary(b"2"), binary(b"3"), binary(b"4")].concat(),
    );
    assert!(ends(&mut world, link), "too many");

    let link = joined(&mut world);
    world.send(link, &[header(2), binary(&[0; 24])].concat());
    assert!(!ends(&mut world, link));
    world.send(link, &binary(&[0; 24]));
    assert!(ends(&mut world, link), "too large");

    let link = joined(&mut world);
    world.send(link, &header(2));
    world.pass(9_000);
    world.send(link, &binary(b"1"));
    world.send(link, &text("3"));
    assert!(!ends(&mut world, link));
    world.pass(1_001);
    assert!(ends(&mut world, link), "too late");

    let link = joined(&mut world);
    world.send(link, &[header(2), text("40|2[\"m\"]")].concat());
    assert!(ends(&mut world, link), "another packet came between");

    let link = joined(&mut world);
    world.send(link, &binary(b"1"));
    assert!(ends(&mut world, link), "nothing had announced it");
}

#[test]
fn what_a_parser_cannot_say() {
    let three = Args {
        json: "1".into(),
        attachments: vec![Bytes::new(); 3],
        ..Default::default()
    };
    let packet = Packet::Ack {
        namespace: "/".into(),
        id: 1,
        args: three.clone(),
    };
    assert_eq!(
        messages(&Counted, &packet),
        Err(PacketError::Malformed("cannot count so far"))
    );
    let separator = Packet::Disconnect {
        namespace: "/a\u{1e}".into(),
    };
    assert_eq!(messages(&Counted, &separator), Err(PacketError::Separator));

    let mut world = world();
    let link = joined(&mut world);
    let socket = world.last_socket();
    let mut message = Message::event("/".into(), "m".into(), three, None);
    let now = world.now;
    let sent = world.shard(|shard, _| shard.emit(now, socket, &mut message, None));
    assert_eq!(sent, Err(SendError::Unsupported));
    let target = sio_proto::server::Target {
        namespace: "/".into(),
        ..Default::default()
    };
    world.command(sio_proto::server::Command::Broadcast { target, message });
    world.broadcast(&[], "next", "");
    assert_eq!(world.frames(link), ["40|2[\"next\"]"]);
}

/// The messages of a raw session are not parsed. A client of 0.6 receives the events of a client
/// with the parser.
#[test]
fn others_have_no_parser() {
    let mut config = Config::default().parser(Counted);
    config.engine_path = Some("/engine.io".into());
    let mut world = World::new(config);
    let raw = world.open();
    world.send(raw, &upgrade("/engine.io/?EIO=4&transport=websocket"));
    world.send(raw, &[text("4!json"), binary(&[1])].concat());
    assert_eq!(world.heard(), ["open", "Text(\"!json\")", "Binary(b\"\\x01\")"]);

    let old = world.open();
    world.send(old, &upgrade("/socket.io/websocket"));
    let link = joined(&mut world);
    world.frames(old);
    world.broadcast(&[], "news", "[1]");
    assert_eq!(world.frames(link), ["40|2[\"news\",[1]]"]);
    assert_eq!(world.frames(old), ["~m~32~m~~j~{\"event\":\"news\",\"args\":[[1]]}"]);
}

/// A client that cannot take bytes gets base64, also for the packets of the protocol itself.
#[test]
fn control_packets_in_base64() {
    let mut world = World::new(Config::default().parser(sio_proto::codec::MessagePack::default()));
    let polling = "/socket.io/?EIO=3&transport=polling&b64=1";
    let polling = format!("{polling}&sid={}", sid(&world.ask(&get(polling))));
    let answer = world.ask(&get(&polling));
    assert_eq!(body(&answer), "22:b4gqR0eXBlAKNuc3ChLw==");
    assert_eq!(header(&answer, "Content-Type"), Some("text/plain; charset=UTF-8"));
}

/// Returns what is told of a client that sends this in place of its CONNECT.
fn told(config: Config, sent: &[u8]) -> String {
    let mut world = World::new(config);
    let link = world.open();
    world.send(link, WEBSOCKET);
    match sent.is_ascii() {
        true => world.send(link, &text(&format!("4{}", std::str::from_utf8(sent).unwrap()))),
        false => world.send(link, &binary(sent)),
    }
    world.breaches.join("; ")
}

/// What a person reads when a client breaks the rules of a parser, or a rule of all parsers.
#[test]
fn a_broken_rule_of_a_parser_is_told_in_its_words() {
    let counted: &[(&str, &str)] = &[
        ("no number", "socket_packet, ends: malformed message: no count"),
        ("0|4", "socket_packet, ends: CONNECT_ERROR from a client"),
        (
            "!brackets",
            "socket_packet, ends: invalid payload: text after the end of the JSON value",
        ),
        ("!reserved", "socket_packet, ends: reserved event name"),
        ("!wide", "socket_packet, ends: namespace is too long"),
        ("!error", "socket_packet, ends: invalid payload: JSON ends too early"),
    ];
    let found: Vec<_> = counted
        .iter()
        .map(|(sent, _)| (*sent, told(Config::default().parser(Counted), sent.as_bytes())))
        .collect();
    let found: Vec<_> = found.iter().map(|(sent, told)| (*sent, &**told)).collect();
    let packed: &[(&[u8], &str)] = &[
        (b"\xc1", "socket_packet, ends: reserved byte"),
        (b"\x80", "socket_packet, ends: invalid namespace"),
        (b"\x82\xa4type\x02\xa3nsp\xa1/", "socket_packet, ends: invalid payload"),
        (
            b"text",
            "socket_packet, ends: text where bytes are due, or bytes where text is",
        ),
    ];
    let unpacked: Vec<_> = packed
        .iter()
        .map(|(sent, _)| {
            (
                *sent,
                told(Config::default().parser(sio_proto::codec::MessagePack::default()), sent),
            )
        })
        .collect();
    let unpacked: Vec<_> = unpacked.iter().map(|(sent, told)| (*sent, &**told)).collect();
    assert_eq!((&found[..], &unpacked[..]), (counted, packed));
}

/// Parts that wait for the rest of their packet count for their address, and when the packet is
/// complete they do not.
#[test]
fn parts_weigh_while_they_wait() {
    let config = Config::default().parser(Counted).max_kept_bytes_per_address(500_000);
    let mut world = World::new(config);
    let peer = || Peer {
        address: Some("192.0.2.1:1".parse().unwrap()),
        ..Peer::default()
    };
    let mut links = Vec::new();
    for _ in 0..4 {
        let link = world.server.open(peer());
        world.send(link, WEBSOCKET);
        world.send(link, &text("40|0"));
        links.push(link);
    }
    world.heard();
    // Each packet has room alone, and no two of them at the same time.
    for link in &links {
        world.send(*link, &[text("42|2[\"m\"]"), binary(&[7; 200_000])].concat());
        world.send(*link, &binary(b"x"));
        assert_eq!(world.heard().len(), 1, "the event has come");
    }
    assert_eq!(world.sessions(), 4);
    for link in &links[..2] {
        world.send(*link, &[text("42|2[\"m\"]"), binary(&[7; 200_000])].concat());
    }
    assert_eq!(world.sessions(), 3, "they wait at the same time");
}

/// An event for clients that may come back has its offset in every form. Clients before 3.0 cannot
/// come back, and do not get it.
#[test]
fn the_offset_is_for_those_who_read_it() {
    let mut world = world();
    let new = joined(&mut world);
    let old = world.open();
    world.send(old, &upgrade("/socket.io/?EIO=3&transport=websocket"));
    world.frames(old);
    let offset = Some(Offset { epoch: 7, sequence: 9 });
    let args = Args::from(ByteString::from("1"));
    let mut message = Message::event("/".into(), "say".into(), args, None).offset(offset);
    let (now, sockets) = (world.now, world.sockets.clone());
    world.shard(|shard, _| {
        for socket in sockets {
            shard.emit(now, socket, &mut message, None).unwrap();
        }
    });
    let [new, old] = [new, old].map(|link| world.frames(link).concat());
    assert!(new.starts_with("40|2[\"say\",1,\"") && new.len() > old.len(), "{new}");
    assert_eq!(old, "40|2[\"say\",1]");
}
