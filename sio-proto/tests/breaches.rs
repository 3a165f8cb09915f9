//! When a client breaks a rule, this leaves a text for people, a counter, and a report to the code
//! that is told of the end of a socket. There is one row for each generation and each kind of rule.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use sio_proto::codec::Streaming;
use sio_proto::server::{BreachKind, Delivery, SendError};
use sio_proto::{Config, LinkId};

use Client::*;
use Sent::*;

/// How a client connects, before it breaks a rule.
#[derive(Clone, Copy, Debug)]
enum Client {
    /// Socket.IO 4 and 2, on a websocket.
    Engine4,
    Engine3,
    /// Socket.IO 4 and 2, by polling.
    Engine4Polls,
    Engine3Polls,
    /// A raw session of Engine.IO 4.
    Raw,
    Legacy09,
    Legacy09Polls,
    Legacy06,
    Legacy06Polls,
    /// The streaming wire.
    Streaming06,
    /// A websocket older than RFC 6455, of 0.6.
    Hixie,
}

/// A world in which the client has joined `/`. Returns also its link, if it has a websocket, and
/// the target of its POSTs, if it polls.
fn come(client: Client) -> (World, LinkId, String) {
    let mut config = Config::default();
    config.max_connects_per_second = 10;
    config.engine_path = Some("/engine.io".into());
    config.legacy06 = config.legacy06.mount("/stream", Streaming);
    let mut world = World::new(config);
    let link = world.open();
    let mut target = String::new();
    match client {
        Engine4 => {
            world.send(link, WEBSOCKET);
            world.send(link, &text("40"));
        }
        Engine3 => world.send(link, &upgrade("/socket.io/?EIO=3&transport=websocket")),
        Engine4Polls => target = session(&world.join_polling()),
        Engine3Polls => {
            let answer = world.ask(&get("/socket.io/?EIO=3&transport=polling"));
            target = format!("/socket.io/?EIO=3&transport=polling&sid={}", sid(&answer));
            assert!(world.ask(&get(&target)).ends_with("40"));
        }
        Raw => world.send(link, &upgrade("/engine.io/?EIO=4&transport=websocket")),
        Legacy09 | Legacy09Polls => {
            let answer = world.ask(&get("/socket.io/1/?t=1"));
            let id = body(&answer).split(':').next().unwrap().to_string();
            match client {
                Legacy09 => world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}"))),
                _ => target = format!("/socket.io/1/xhr-polling/{id}"),
            }
        }
        Legacy06 => world.send(link, &upgrade("/socket.io/websocket")),
        Legacy06Polls => {
            let answer = world.ask(&get("/socket.io/xhr-polling//1795447966103"));
            let id = body(&answer).rsplit('~').next().unwrap().to_string();
            target = format!("/socket.io/xhr-polling/{id}/send");
        }
        Streaming06 => world.send(link, &upgrade("/stream/websocket")),
        Hixie => {
            let head = "GET /socket.io/websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nOrigin: http://localhost\r\n\r\n";
            world.send(link, head.as_bytes());
        }
    }
    assert!(world.breaches.is_empty(), "{client:?}: {:?}", world.breaches);
    world.deliveries.clear();
    (world, link, target)
}

/// The bytes that the client sends.
#[derive(Clone, Copy, Debug)]
enum Sent {
    /// Text messages on its websocket.
    Texts(&'static [&'static str]),
    /// Text messages on its websocket, a hundred times.
    Often(&'static [&'static str]),
    /// A binary message.
    Binary(&'static [u8]),
    /// Raw bytes on its connection.
    Bytes(&'static [u8]),
    /// The body of a POST.
    Post(&'static [u8]),
    /// A POST that announces a body of this length.
    LongPost(usize),
    /// A second GET while one is held.
    SecondGet,
    /// A text message, and then nothing for ten seconds.
    Slow(&'static str),
}
/// The client, its bytes, and the expected result: the kind of the rule, whether the session ends,
/// and the text.
const ROWS: &[(Client, Sent, &str)] = &[
    // HTTP.
    (Engine4Polls, LongPost(1_000_001), "http, ends: body too large"),
    (Engine3Polls, LongPost(1_000_001), "http, ends: body too large"),
    (Legacy09Polls, LongPost(1_000_001), "http, goes on: body too large"),
    (Legacy06Polls, LongPost(1_000_001), "http, goes on: body too large"),
    // The framing of websockets.
    (
        Engine4,
        Bytes(b"\x81\x01x"),
        "websocket, ends: frame from a client is not masked",
    ),
    (
        Engine3,
        Bytes(b"\x83\x80\0\0\0\0"),
        "websocket, ends: reserved opcode 0x3",
    ),
    (
        Legacy09,
        Bytes(b"\x81\x81\0\0\0\0\xff"),
        "websocket, ends: text is not valid UTF-8",
    ),
    (
        Legacy06,
        Bytes(b"\xc1\x80\0\0\0\0"),
        "websocket, goes on: reserved bits set",
    ),
    (
        Hixie,
        Bytes(b"\x80\x01x"),
        "websocket, goes on: unknown frame type 0x80",
    ),
    (
        Legacy09,
        Binary(b"x"),
        "websocket, goes on: binary message on a wire that has text only",
    ),
    (
        Legacy06,
        Binary(b"x"),
        "websocket, goes on: binary message on a wire that has text only",
    ),
    // The rules of a transport.
    (
        Engine4Polls,
        SecondGet,
        "transport, ends: a second GET while another is held",
    ),
    (
        Engine3Polls,
        SecondGet,
        "transport, ends: a second GET while another is held",
    ),
    // Payloads.
    (Engine4Polls, Post(b"\xff"), "payload, ends: the body is not UTF-8"),
    (
        Engine4Polls,
        Post(b""),
        "payload, ends: empty payload, in packet 1 of a body",
    ),
    (
        Engine3Polls,
        Post(b"2:40x"),
        "payload, ends: invalid packet length, in packet 2 of a body",
    ),
    (
        Engine3Polls,
        Post(b"9:4"),
        "payload, ends: packet longer than the payload, in packet 1 of a body",
    ),
    (Legacy09Polls, Post(b"\xff"), "payload, goes on: the body is not UTF-8"),
    (
        Legacy09Polls,
        Post("\u{fffd}9\u{fffd}2::".as_bytes()),
        "payload, goes on: packet longer than the payload, in packet 1 of a body",
    ),
    (Legacy06Polls, Post(b"secret=1"), "payload, goes on: form field missing"),
    (
        Legacy06Polls,
        Post(b"data=secret"),
        "payload, goes on: frame without delimiter",
    ),
    (
        Legacy06,
        Texts(&["secret"]),
        "payload, goes on: frame without delimiter",
    ),
    (Streaming06, Texts(&["secret"]), "payload, ends: invalid packet type"),
    // Packets of Engine.IO.
    (Engine4, Texts(&[""]), "engine_packet, ends: empty packet"),
    (Engine4, Texts(&["9"]), "engine_packet, ends: unknown packet type 0x39"),
    (
        Engine4,
        Texts(&["2"]),
        "engine_packet, ends: ping from a client whose server pings",
    ),
    (
        Engine4Polls,
        Post(b"42[\"m\"]\x1ex"),
        "engine_packet, ends: unknown packet type 0x78, in packet 2 of a body",
    ),
    (Engine3, Texts(&["x"]), "engine_packet, ends: unknown packet type 0x78"),
    (
        Engine3,
        Binary(b"\x09"),
        "engine_packet, ends: unknown packet type 0x09",
    ),
    (
        Engine3Polls,
        Post(b"1:x"),
        "engine_packet, ends: unknown packet type 0x78, in packet 1 of a body",
    ),
    (Raw, Texts(&["x"]), "engine_packet, ends: unknown packet type 0x78"),
    // Packets of Socket.IO.
    (Engine4, Texts(&["47"]), "socket_packet, ends: unknown packet type"),
    (
        Engine4,
        Texts(&["44{}"]),
        "socket_packet, ends: CONNECT_ERROR from a client",
    ),
    (
        Engine4,
        Texts(&["42[\"m\",no]"]),
        "socket_packet, ends: invalid payload: unexpected character in JSON, at byte 6 of a packet of 9",
    ),
    (
        Engine4,
        Texts(&["42/secret,7[\"m\",1"]),
        "socket_packet, ends: invalid payload: JSON ends too early, at byte 16 of a packet of 16",
    ),
    (
        Engine4,
        Texts(&["42[\"disconnect\"]"]),
        "socket_packet, ends: reserved event name",
    ),
    (
        Engine4Polls,
        Post(b"42[\"m\",\x01]"),
        "socket_packet, ends: invalid payload: unexpected character in JSON, at byte 6 of a packet of 8",
    ),
    (
        Engine3,
        Texts(&["42[\"m\",{]"]),
        "socket_packet, ends: invalid payload: unexpected character in JSON, at byte 7 of a packet of 8",
    ),
    (Engine3Polls, Post(b"3:42x"), "socket_packet, ends: invalid payload"),
    (
        Legacy09,
        Texts(&["secret"]),
        "socket_packet, goes on: unparsable packet",
    ),
    (Legacy09, Texts(&["9::"]), "socket_packet, goes on: unknown packet type"),
    (Legacy09, Texts(&["4:::{"]), "socket_packet, goes on: invalid JSON"),
    (
        Legacy09,
        Texts(&["5:::{\"name\":\"disconnect\"}"]),
        "socket_packet, goes on: reserved event name",
    ),
    (
        Legacy09Polls,
        Post(b"secret"),
        "socket_packet, goes on: unparsable packet",
    ),
    (
        Legacy06,
        Texts(&["~m~9~m~~j~{\"a\":1"]),
        "socket_packet, goes on: JSON ends too early, at byte 6 of a message",
    ),
    // Attachments.
    (
        Engine4,
        Texts(&["451-[\"m\",{\"_placeholder\":true,\"num\":0}]", "42[\"m\"]"]),
        "attachment, ends: got plaintext data when reconstructing a packet",
    ),
    (
        Engine4,
        Binary(b"x"),
        "attachment, ends: got binary data when not reconstructing a packet",
    ),
    (
        Engine3,
        Binary(b"\x04x"),
        "attachment, ends: got binary data when not reconstructing a packet",
    ),
    // Namespaces.
    (
        Engine4,
        Texts(&["40"]),
        "namespace, ends: CONNECT for the namespace /, in which the client is already",
    ),
    (
        Engine4,
        Texts(&["42/secret,[\"m\"]"]),
        "namespace, ends: EVENT for a namespace, in which the client is not",
    ),
    (
        Engine4,
        Texts(&["43/secret,1[]"]),
        "namespace, ends: ACK for a namespace, in which the client is not",
    ),
    (
        Engine3,
        Texts(&["42/secret,[\"m\"]"]),
        "namespace, goes on: EVENT for a namespace, in which the client is not",
    ),
    (
        Legacy09,
        Texts(&["5::secret:{\"name\":\"m\"}"]),
        "namespace, goes on: an endpoint that names no namespace",
    ),
    // Limits and deadlines.
    (
        Engine4,
        Often(&["40/a", "41/a"]),
        "limit, ends: more CONNECTs than a second, or the queue of answers, has room for",
    ),
    (
        Engine3,
        Often(&["40/a"]),
        "limit, ends: more CONNECTs than a second, or the queue of answers, has room for",
    ),
    (
        Legacy09,
        Often(&["1::/a"]),
        "limit, ends: more CONNECTs than a second has room for",
    ),
    (
        Engine4,
        Slow("451-[\"m\",{\"_placeholder\":true,\"num\":0}]"),
        "late, ends: the attachments of a packet have not come in time",
    ),
];

fn send(world: &mut World, link: LinkId, target: &str, sent: Sent) {
    match sent {
        Texts(texts) => texts.iter().for_each(|payload| world.send(link, &text(payload))),
        Often(texts) => (0..100).for_each(|_| send(world, link, target, Texts(texts))),
        Binary(bytes) => world.send(link, &binary(bytes)),
        Bytes(bytes) => world.send(link, bytes),
        Post(body) => {
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            world.send(link, &[head.as_bytes(), body].concat());
        }
        LongPost(length) => {
            let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
            world.send(link, head.as_bytes());
        }
        SecondGet => {
            world.send(link, &get(target));
            let other = world.open();
            world.send(other, &get(target));
        }
        Slow(payload) => {
            world.send(link, &text(payload));
            world.pass(10_000);
        }
    }
}

/// The ends that the user is told of: the reason and the rule.
fn ends(deliveries: &[Delivery]) -> Vec<String> {
    let ends = deliveries.iter().filter_map(|delivery| match delivery {
        Delivery::Disconnect { reason, breach, .. } | Delivery::EngineClose { reason, breach, .. } => {
            Some((*reason, breach.clone()))
        }
        _ => None,
    });
    ends.map(|(reason, breach)| {
        format!(
            "{reason}: {}",
            breach.map_or_else(String::new, |breach| breach.to_string())
        )
    })
    .collect()
}

#[test]
fn a_broken_rule_leaves_a_text_a_count_and_its_trace_in_the_end() {
    let mut wrong = Vec::new();
    for (client, sent, expected) in ROWS {
        let (mut world, link, target) = come(*client);
        send(&mut world, link, &target, *sent);
        let told = world.breaches.clone();
        if told.first().map(String::as_str) != Some(*expected) {
            wrong.push(format!("{client:?} {sent:?}: {told:?}"));
            continue;
        }
        assert_eq!(told.len(), 1, "{client:?} {sent:?}: {told:?}");
        let kinds = |world: &mut World| {
            let broken = world.shard(|shard, _| BreachKind::ALL.map(|kind| shard.counters().broken(kind)));
            let kinds = BreachKind::ALL.into_iter().zip(broken).filter(|(_, count)| *count > 0);
            kinds.collect::<Vec<_>>()
        };
        let counted = kinds(&mut world);
        assert_eq!(counted.len(), 1, "{client:?} {sent:?}: {counted:?}");
        let (head, what) = expected.split_once(": ").unwrap();
        assert_eq!(counted[0].0.as_str(), head.split(',').next().unwrap());
        if expected.contains("goes on") {
            assert!(ends(&world.deliveries).is_empty(), "{client:?} {sent:?}");
            let socket = world.last_socket();
            world.disconnect(socket, true);
        }
        // A namespace that the client has left before does not count.
        let mut ends = ends(&world.deliveries);
        ends.retain(|end| !end.starts_with("client namespace disconnect"));
        assert!(!ends.is_empty(), "{client:?} {sent:?}");
        for end in ends {
            assert!(end.ends_with(&format!(": {what}")), "{client:?} {sent:?}: {end}");
        }
        assert!(!what.contains("secret"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn of_many_packets_that_are_left_out_the_first_is_told_and_all_are_counted() {
    let (mut world, link, _) = come(Legacy09);
    for _ in 0..100 {
        world.send(link, &[text("9::"), text("secret")].concat());
    }
    assert_eq!(world.breaches, ["socket_packet, goes on: unknown packet type"]);
    let count = world.shard(|shard, _| shard.counters().broken(BreachKind::SocketPacket));
    assert_eq!(count, 200);
    // A breach that ends the session is reported, and replaces the first breach.
    world.send(link, b"\x81\x01x");
    assert_eq!(world.breaches.len(), 2, "{:?}", world.breaches);
    assert_eq!(
        ends(&world.deliveries),
        ["transport error: frame from a client is not masked"]
    );
}

#[test]
fn who_joins_no_namespace_is_late() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, WEBSOCKET);
    world.pass(25_000);
    world.send(link, &text("3"));
    world.pass(20_000);
    assert_eq!(world.breaches, ["late, ends: no namespace was joined in time"]);
}

#[test]
fn what_is_no_http_is_counted_without_a_session() {
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, b"secret\r\n\r\n");
    let told = world.breaches.clone();
    assert_eq!(told, ["http, ends: invalid request target"]);
    assert_eq!(world.shard(|shard, _| shard.counters().broken(BreachKind::Http)), 1);
}

/// A packet out of place ends a candidate, and the session goes on. The report names the rule, and
/// it is counted.
#[test]
fn a_candidate_breaks_rules_of_its_own() {
    for (packet, kind, expected) in [
        (
            "42[\"early\"]",
            BreachKind::Transport,
            "transport, goes on: a packet out of place during an upgrade",
        ),
        (
            "9",
            BreachKind::EnginePacket,
            "engine_packet, goes on: unknown packet type 0x39",
        ),
    ] {
        let mut world = World::new(Config::default());
        let sid = world.join_polling();
        let candidate = world.candidate(&sid);
        world.send(candidate, &text(packet));
        assert_eq!(world.breaches, [expected]);
        let count = world.shard(|shard, _| shard.counters().broken(kind));
        assert_eq!((count, world.ended.clone(), world.sessions()), (1, vec![candidate], 1));
    }
}

/// A client whose queue a broadcast fills is ended, and the operator learns why, and how long the
/// queue was.
#[test]
fn a_queue_that_is_full_is_told_and_counted() {
    let mut world = World::new(Config::default().max_queued_packets(20));
    let link = world.join();
    world.server.handle_blocked(world.now, link, 0);
    for _ in 0..21 {
        world.broadcast(&[], "news", "1");
    }
    assert_eq!(
        world.breaches,
        ["limit, ends: the client does not take what is sent, and its queue is full"]
    );
    let seen = world.shard(|shard, _| {
        let counters = shard.counters();
        (counters.most_queued_packets, counters.broken(BreachKind::Limit))
    });
    assert_eq!((seen, world.sessions()), ((20, 1), 0));

    // What is sent to one client is refused, and nobody is ended.
    let mut world = World::new(Config::default().max_queued_packets(20));
    let link = world.join();
    let socket = world.last_socket();
    world.server.handle_blocked(world.now, link, 0);
    for _ in 0..20 {
        world.emit(socket, "news", "1").unwrap();
    }
    let most = |world: &mut World| world.shard(|shard, _| shard.counters().most_queued_packets);
    assert!(most(&mut world) < 20, "it is counted when it leaves or is too long");
    assert_eq!(world.emit(socket, "news", "1"), Err(SendError::Full));
    assert_eq!((most(&mut world), world.sessions()), (20, 1));
}
