//! What happens to the servers whose transcripts are in `tests/transcripts`.
#![allow(unreachable_pub, reason = "no library")]

use std::time::Duration;

use sio_proto::engine::{self, EngineMessage};
use sio_proto::http;
use sio_proto::server::{
    AckRequest, Admission, Breach, BreachKind, Cause, Command, Direct, Form, Key, Message, Peer, Policy, Reason,
    Request, SendError, Target, Welcome,
};
use sio_proto::socket::{Packet, text::Decoded};
use sio_proto::wire::Inbound;
use sio_proto::{ByteString, Bytes, BytesMut, Config, Excess, LinkId, RateLimit};

use super::common::*;

fn websocket_at(world: &mut World, target: &str) -> LinkId {
    let link = world.open();
    world.send(link, &upgrade(target));
    link
}

/// Clients of 4.x: a websocket; a poll that is upgraded; events, acknowledgements, attachments,
/// rooms, a refusal, a broken packet, and the end of the server.
fn engine4(world: &mut World) {
    let link = world.join();
    let socket = world.last_socket();
    world.send(link, &text("42[\"greet\",\"hi \u{202e}there\"]"));
    world.send(link, &text("421[\"sum\",1,2]"));
    world.send(link, &text("451-[\"file\",{\"_placeholder\":true,\"num\":0}]"));
    world.send(link, &binary(b"\x00\x01\xff"));
    let timeout = Some(Duration::from_secs(1));
    let ack = Some(AckRequest { id: 9, timeout });
    world
        .emit_in("/", socket, "ask", "{\"a\":\"\u{e9}\"}", ack)
        .expect("room");
    world.send(link, &text("439[true]"));
    world.shard(|shard, _| shard.join(socket, "lobby")).expect("room");
    let sid = world.join_polling();
    world.broadcast(&["lobby"], "news", "1");
    let candidate = world.candidate(&sid);
    world.send(candidate, &text("2probe"));
    world.send(candidate, &text("5"));
    world.pass(25_000);
    world.send(candidate, &text("3"));
    world.server.handle_blocked(world.now, link, 100);
    world.pass(1_000);
    world.server.handle_drained(world.now, link);
    world.accepts = false;
    world.send(link, &text("40/admin,{\"token\":\"a very secret one\"}"));
    let admin = world.last_socket();
    let now = world.now;
    world.shard(|shard, out| shard.refuse(now, admin, "no", Some("{\"why\":1}"), out));
    world.shard(|shard, _| shard.leave(socket, "lobby"));
    world.send(candidate, &text("4x"));
    let (spread, patience) = (Duration::from_millis(500), Duration::from_secs(1));
    world.command(Command::Drain {
        spread,
        patience,
        handover: false,
        pause: None,
    });
    world.pass(2_000);
    world.cut(link, Cause::Closed);
}

/// Clients of 1.x and 2.x, over both transports.
fn engine3(world: &mut World) {
    let link = websocket_at(world, "/socket.io/?EIO=3&transport=websocket&b64=1&token=secret");
    world.send(link, &text("2"));
    world.send(link, &text("42[\"chat\",\"\u{20ac}\"]"));
    world.send(link, &text("40/news?of=today"));
    let socket = world.last_socket();
    world.emit_in("/news", socket, "hello", "[1]", None).expect("room");
    let polling = world.ask(&get("/socket.io/?EIO=3&transport=polling&t=1"));
    assert!(polling.contains("200 OK"));
    world.pass(90_000);
}

/// Clients of 0.7 to 0.9.
fn legacy09(world: &mut World) {
    let answer = world.ask(&get("/socket.io/1/?t=1"));
    let id = body(&answer).split(':').next().expect("an id").to_owned();
    let link = websocket_at(world, &format!("/socket.io/1/websocket/{id}"));
    world.send(link, &text("5:1+::{\"name\":\"greet\",\"args\":[\"hi\"]}"));
    world.send(link, &text("1::/chat?a=b"));
    world.send(link, &text("9"));
    let socket = world.last_socket();
    world.emit_in("/chat", socket, "news", "\"x\"", None).expect("room");
    world.pass(26_000);
    world.send(link, &text("2::"));
    world.disconnect(socket, true);

    let answer = world.ask(&get("/socket.io/1/?t=2"));
    let id = body(&answer).split(':').next().expect("an id").to_owned();
    let poll = format!("/socket.io/1/xhr-polling/{id}");
    assert!(world.ask(&get(&poll)).ends_with("1::"));
    world.ask(&post(&poll, "3:::hello"));
    world.pass(80_000);
}

/// Clients of 0.6, and a client that uses another wire.
fn legacy06(world: &mut World) {
    let link = websocket_at(world, "/socket.io/websocket");
    world.send(link, &text("~m~5~m~hello"));
    world.send(link, &text("~m~10~m~~j~{\"a\":1}"));
    world.send(link, &text("1:6::hello,"));
    let socket = world.last_socket();
    world.emit(socket, "message", "\"hi\"").expect("room");
    world.pass(10_000);
    world.send(link, &text("~m~4~m~~h~1"));
    world.pass(30_000);
    let poll = world.open();
    world.send(poll, &get("/socket.io/xhr-polling//1"));
    world.pass(60_000);
}

/// Sessions of raw Engine.IO.
fn raw(world: &mut World) {
    let link = websocket_at(world, "/engine.io/?EIO=4&transport=websocket");
    world.send(link, &text("4hello"));
    world.send(link, &binary(&[1, 2]));
    let session = world
        .shard(|shard, _| shard.next_timeout_reason())
        .and_then(|next| next.session);
    let session = session.expect("a session that is to be pinged");
    let message = EngineMessage::Text("yes".into());
    world
        .shard(|shard, _| shard.send_engine(session, message))
        .expect("room");
    let now = world.now;
    world.shard(|shard, out| shard.close_engine(now, session, out));
}

/// What the other stories leave out: refusals and their reports, the limits of a client, every way
/// to send, all commands for many sockets, streams and old websockets, and connections that break.
fn rest(world: &mut World) {
    world.shard(|shard, _| shard.tell_connection_errors(true));
    world
        .server
        .allow_request(|request| match request.http.target.contains("token=bad") {
            true => Admission::Refused("not \"you\"".into()),
            false => Admission::Allowed,
        });
    world.ask(&get(&format!("{POLLING}&token=bad")));
    world.ask(&request("GET", POLLING, &["Origin: http://elsewhere.example"], ""));
    let sid = world.join_polling();
    world.ask(&post(&session(&sid), &"x".repeat(2_000)));
    let config = world.shard(|shard, _| shard.config().clone());
    for (target, is_prepared) in [(POLLING, true), ("/elsewhere", false)] {
        let http = http::Request {
            method: http::Method::Get,
            target: target.into(),
            version_minor: 1,
            headers: [("host", "localhost")].into_iter().collect(),
            body: Ok(Bytes::new()),
        };
        let mut request = Request::new(&config, http, Peer::default()).admission(Admission::Allowed);
        let (now, link) = (world.now, world.open());
        if is_prepared {
            request.prepare(&config, now);
        }
        world.shard(|shard, out| shard.handle_request(now, link, &mut request, out));
    }
    sends(world);
    limits(world);
    streams(world);
    packets(world);
    for_many(world);
}

/// Every way to send.
fn sends(world: &mut World) {
    world.join_polling();
    let (now, socket) = (world.now, world.last_socket());
    let event = |args: &str| Message::event("/".into(), "m".into(), ByteString::from(args).into(), None);
    let key = Key::new("/", "m", "k\\\"").expect("short");
    for policy in [
        Policy::Refuse,
        Policy::Drop,
        Policy::DropOldest,
        Policy::Newest(key.clone()),
        Policy::Merge(key.clone()),
        Policy::Behind(key),
    ] {
        let mut message = event("\"a\"").policy(policy);
        world
            .shard(|shard, _| shard.emit(now, socket, &mut message, None))
            .expect("room");
    }
    for (form, result) in [(Form::Engine4, Ok(())), (Form::Engine3, Err(SendError::Unsupported))] {
        let config = world.shard(|shard, _| shard.config().clone());
        let mut buffer = BytesMut::new();
        let direct = Direct::event(form, &config, "/", "direct", &mut buffer).expect("standard packets");
        buffer.extend_from_slice(b"{\"_placeholder\":true,\"num\":0}");
        let encoded = direct
            .finish(&[Bytes::from_static(b"\x01")], &mut buffer)
            .expect("short");
        assert_eq!(
            world.shard(|shard, _| shard.emit_encoded(now, socket, form, encoded)),
            result
        );
    }
    for (id, timeout) in [(1, 60_000), (2, 1_000)] {
        let timeout = Some(Duration::from_millis(timeout));
        let ack = Some(AckRequest { id, timeout });
        world.emit_in("/", socket, "ask", "1", ack).expect("room");
    }
    world.shard(|shard, out| shard.forget_ack(now, socket, 1, out));
    world.shard(|shard, out| shard.confirm(now, socket, 3, out));
    world.pass(1_000);
    let room = "a\\b\"\n\r\tc";
    world.shard(|shard, _| shard.join(socket, room)).expect("room");
    let now = world.now;
    world.shard(|shard, out| shard.dismiss(now, socket, Reason::CredentialsRevoked, out));
}

/// Clients with limits of their own, and one that breaks a rule of the application.
fn limits(world: &mut World) {
    world.accepts = false;
    let link = world.open();
    world.send(link, WEBSOCKET);
    world.send(link, &text("40"));
    let (now, socket) = (world.now, world.last_socket());
    let welcome = Welcome {
        pid: Some("private".into()),
        id: Some("chosen".into()),
        rate: Some(RateLimit::NONE.events(10, 2)),
        confirmed: Some(3),
    };
    world.shard(|shard, out| shard.accept_as(now, socket, &welcome, out));
    world.accepts = true;
    let sid = world.join_polling();
    let rate = RateLimit::NONE.bytes(100, 200).excess(Excess::Disconnect);
    world.accepts = false;
    world.ask(&post(&session(&sid), "40/other,"));
    let other = world.last_socket();
    let welcome = Welcome {
        rate: Some(rate),
        ..Welcome::default()
    };
    world.shard(|shard, out| shard.accept_as(now, other, &welcome, out));
    world.accepts = true;
    world.send(
        link,
        &[text("42[\"a\"]"), text("42[\"b\"]"), text("42[\"c\"]")].concat(),
    );
    let request = post(&session(&sid), "42[\"d\"]\u{1e}42[\"e\"]");
    let (head, body) = request.split_at(request.len() - 10);
    let posting = world.open();
    world.send(posting, head);
    world.send(posting, body);
    world.pass(200);
    let now = world.now;
    let breach = Breach::new(BreachKind::Limit, "too much of it");
    world.shard(|shard, out| shard.disconnect_for(now, socket, breach, out));
    let broken = world.join();
    world.send(broken, &[0xff, 0xff]);
    let closing = world.join();
    world.cut(closing, Cause::Closed);
}

/// Streams, and websockets older than RFC 6455.
fn streams(world: &mut World) {
    let stream = world.open();
    world.send(stream, &get("/socket.io/htmlfile//1"));
    let socket = world.last_socket();
    world.emit(socket, "message", "\"hi\"").expect("room");
    world.disconnect(socket, true);
    let old = ["Upgrade: WebSocket", "Connection: Upgrade", "Origin: http://localhost"];
    let keys = [
        "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5",
        "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00",
    ];
    let unknown = world.open();
    world.send(unknown, &request("GET", "/socket.io/1/websocket/0", &old, ""));
    let head = request("GET", "/socket.io/websocket", &[&old[..], &keys].concat(), "");
    let (whole, half) = (world.open(), world.open());
    world.send(whole, &[&head[..], b"^n:ds[4U"].concat());
    world.send(half, &head);
    let socket = world.last_socket();
    world.pass(10_000);
    world.disconnect(socket, true);
    let link = websocket_at(world, "/socket.io/websocket");
    world.emit(world.last_socket(), "message", "\"lost\"").expect("room");
    world.block(link, 3);
    world.cut(link, Cause::Failed);
    let raw = sid(&world.ask(&get("/engine.io/?EIO=4&transport=polling")));
    let link = websocket_at(world, &format!("/engine.io/?EIO=4&transport=websocket&sid={raw}"));
    world.send(link, &text("2probe"));
    world.send(link, &text("5"));
    world.cut(link, Cause::Failed);
}

/// Packets of every kind, on a connection without a session.
fn packets(world: &mut World) {
    let nobody = world.open();
    let breach = || Breach::new(BreachKind::SocketPacket, "not a packet");
    let main = || ByteString::from_static("/");
    let mut packets = vec![
        Inbound::Engine(engine::Packet::Open("{}".into())),
        Inbound::Engine(engine::Packet::Close),
        Inbound::Engine(engine::Packet::Noop),
        Inbound::Socket(Decoded::Nothing),
        Inbound::Socket(Decoded::Packet(Packet::Disconnect { namespace: main() })),
        Inbound::Socket(Decoded::Packet(Packet::ConnectError {
            namespace: main(),
            payload: "{}".into(),
        })),
        Inbound::Part(EngineMessage::Text("a".into())),
        Inbound::Part(EngineMessage::Binary(Bytes::from_static(b"\n\r\t\\\""))),
        Inbound::Digest(*b"8jKS'y:G*Co,Wxa-"),
        Inbound::Goodbye,
        Inbound::Broken(breach()),
        Inbound::LeftOut(breach(), 3),
    ];
    for from_form in [true, false] {
        let payload = "1:6::hello,".into();
        packets.push(Inbound::Payload { payload, from_form });
    }
    let now = world.now;
    world.shard(|shard, out| shard.handle_packets(now, nobody, &mut packets, out));
}

/// Commands for many sockets, and the end of the server.
fn for_many(world: &mut World) {
    for _ in 0..3 {
        world.join();
    }
    let socket = world.last_socket();
    let target = |rooms: &[&'static str]| Target {
        namespace: "/".into(),
        rooms: rooms.iter().map(|room| ByteString::from_static(room)).collect(),
        ..Target::default()
    };
    let rooms = || vec![ByteString::from_static("hall"), ByteString::from_static("attic")];
    world.command(Command::Join {
        target: Target {
            except_socket: Some(socket),
            ..target(&[])
        },
        rooms: rooms(),
    });
    world.command(Command::Leave {
        target: Target {
            except: vec!["cellar".into()],
            ..target(&["hall"])
        },
        rooms: vec!["attic".into()],
    });
    // A caller with several shards lends the message to each.
    let mut message = Message::event("/".into(), "all".into(), ByteString::from_static("1").into(), None);
    let now = world.now;
    world.shard(|shard, out| shard.broadcast(now, &target(&["hall"]), &mut message, out));
    for close in [false, true] {
        let rooms: &[&str] = if close { &["hall"] } else { &["attic"] };
        world.command(Command::Disconnect {
            target: target(rooms),
            close,
        });
    }
    world.command(Command::Shutdown {
        reason: Reason::ServerShuttingDown,
    });
}

pub type Story = fn(&mut World);

fn raw_config() -> Config {
    let mut config = Config::default();
    config.engine_path = Some("/engine.io".into());
    config.ping_interval = Duration::from_millis(1_500);
    config
}

fn rest_config() -> Config {
    let mut config = Config::default().max_payload(1_000).engine_path("/engine.io");
    config.transports.htmlfile = true;
    config
}

pub type Settings = fn() -> Config;

pub const STORIES: [(&str, Settings, Story); 6] = [
    ("engine4", Config::default, engine4),
    ("engine3", Config::default, engine3),
    ("legacy09", Config::default, legacy09),
    ("legacy06", Config::default, legacy06),
    ("raw", raw_config, raw),
    ("rest", rest_config, rest),
];
