//! A client and the server of this crate in the generations before Engine.IO, on every transport.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use client::{Network, World, emit, server};
use sio_proto::client::{
    Client, ClientConfig, ClientConfigError, CommandError, EmitError, Endpoint, Feature, Generation, NotSent, Outcome,
    Transport,
};
use sio_proto::codec::MessagePack;

use sio_proto::socket::Args;
use sio_proto::{ByteString, Bytes, Config};

const OLDER: [Generation; 3] = [Generation::V0_9, Generation::V0_6, Generation::Streaming];
const POLLING: &[Transport] = &[Transport::Polling];
const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
const BOTH: &[Transport] = &[Transport::Polling, Transport::WebSocket];

fn config(generation: Generation, transports: &[Transport]) -> ClientConfig {
    ClientConfig::default()
        .generation(generation)
        .transports(transports.to_vec())
        .randomization_factor(0.0)
}

fn configs() -> Vec<(String, ClientConfig)> {
    let all = OLDER
        .into_iter()
        .flat_map(|generation| [POLLING, WEBSOCKET, BOTH].map(|transports| config(generation, transports)));
    all.map(|config| (format!("{:?} {:?}", config.generation, config.transports), config))
        .collect()
}

fn opened(config: ClientConfig) -> World {
    let mut world = World::new(config, server());
    world.connect("/");
    world.pass(300);
    world
}

#[test]
fn messages_go_both_ways_on_every_wire() {
    for (name, config) in configs() {
        let is_polling = config.transports == POLLING;
        let generation = config.generation;
        let mut world = World::new(config, server());
        let socket = world.connect("/");
        let mut sent = Vec::new();
        let messages = [
            "\"early\"",
            "{\"early\":[2,\"é€😀\"]}",
            "\"~h~1 é😀\\n, \\u0000\"",
            "\"\"",
        ];
        for json in messages {
            sent.push(world.client.emit(world.now, socket, emit("message", json)).unwrap());
        }
        world.pass(300);
        assert!(world.has("connect SocketId(0) New"), "{name}: {:?}", world.log);
        let transport = if is_polling { "Polling" } else { "WebSocket" };
        let chosen = format!("Connected {{ generation: {generation:?}, transport: {transport} }}");
        assert!(world.has(&chosen), "{name}: {:?}", world.log);
        for json in messages {
            sent.push(world.client.emit(world.now, socket, emit("message", json)).unwrap());
        }
        world.pass(300);
        assert!(sent.iter().all(|id| world.receipts[id] == Outcome::Sent), "{name}");
        let heard: Vec<&str> = world.heard.iter().map(|(_, json)| &**json).collect();
        assert_eq!(heard, [messages, messages].concat(), "{name}");
        for json in messages {
            world.server_emit("message", json);
        }
        let events: Vec<&str> = world.events.iter().map(|(_, json)| &**json).collect();
        assert_eq!(events, messages, "{name}");
        world.pass(300_000);
        assert!(
            !world.has("Lost"),
            "{name}: heartbeats hold the connection: {:?}",
            world.log
        );
        world.client.close(world.now);
        world.pass(5000);
        assert!(world.has("disconnect SocketId(0) io client disconnect"), "{name}");
        assert!(world.has("Stopped(Closed)"), "{name}: {:?}", world.log);
        assert!(!world.has("BREACH"), "{name}: {:?}", world.log);
        assert_eq!(world.lines(), 0, "{name}: a closed client has no connections");
    }
}

#[test]
fn events_acknowledgements_and_namespaces_of_0_9() {
    for transports in [POLLING, WEBSOCKET, BOTH] {
        let mut world = World::new(config(Generation::V0_9, transports), server());
        let root = world.connect("/");
        world.pass(100);
        let sum = world
            .client
            .emit(world.now, root, emit("sum", "\"é\",[2]").ack())
            .unwrap();
        let none = world.client.emit(world.now, root, emit("none", "").ack()).unwrap();
        // The server acknowledges a message by itself.
        let message = world.client.emit(world.now, root, emit("message", "1").ack()).unwrap();
        world.pass(300);
        let answer = |json: &'static str| Outcome::Acknowledged(Args::from(ByteString::from(json)));
        assert_eq!(world.receipts[&sum], answer("\"é\",[2]"), "{:?}", world.log);
        assert_eq!(world.receipts[&none], answer(""));
        assert_eq!(world.receipts[&message], answer(""));
        assert_eq!(
            world.heard,
            [("sum", "\"é\",[2]"), ("none", ""), ("message", "1")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        world.server_emit("news", "\"é\",1");
        assert_eq!(world.events, [("news".to_owned(), "\"é\",1".to_owned())]);

        world.refuses.insert("/private".to_owned(), "no".to_owned());
        let chat = world.client.socket("/chat").unwrap();
        world.client.set_auth(chat, Some("{\"token\":\"a b\"}".into())).unwrap();
        world.connect("/chat");
        world.connect("/private");
        world.pass(300);
        assert!(world.has("connect SocketId(1) New"), "{:?}", world.log);
        assert!(world.has("connect_error SocketId(2) unauthorized"), "{:?}", world.log);
        assert!(
            world.auths.iter().any(|auth| auth.contains("token=a%20b")),
            "{:?}",
            world.auths
        );
        world.client.disconnect(world.now, chat).unwrap();
        world.pass(300);
        assert!(!world.has("Lost") && world.client.is_connected(root));
        // `/` cannot be left alone, and comes back without a word to the server.
        world.connect("/chat");
        world.pass(100);
        world.client.disconnect(world.now, root).unwrap();
        world.pass(100);
        world.server_emit("news", "2");
        world.connect("/");
        world.pass(100);
        assert!(world.client.is_connected(root) && world.client.is_connected(chat));
        assert!(!world.has("BREACH") && !world.has("Lost"), "{:?}", world.log);
    }
}

#[test]
fn the_client_answers_the_server_of_0_9() {
    for transports in [POLLING, WEBSOCKET] {
        let mut world = opened(config(Generation::V0_9, transports));
        let (now, socket) = (world.now, *world.sockets.last().unwrap());
        for (name, json) in [("question", "\"x\""), ("message", "\"auto\"")] {
            let args = ByteString::from(json).into();
            let id = Some(name.len() as u64);
            let mut message = sio_proto::server::Message::event("/".into(), name.into(), args, id);
            let sent = world
                .server
                .shard(now, |shard, _| shard.emit(now, socket, &mut message, None));
            sent.unwrap();
        }
        world.settle();
        assert_eq!(world.events.len(), 2, "{:?}", world.events);
        assert_eq!(world.tickets.len(), 1, "a message is acknowledged by the client itself");
        let ticket = world.tickets.pop().unwrap();
        let bytes = Args {
            json: "{\"_placeholder\":true,\"num\":0}".into(),
            attachments: vec![Bytes::from_static(b"x")],
            ..Args::default()
        };
        let unsupported = Err(EmitError::Unsupported(Feature::Binary));
        assert_eq!(world.client.answer(now, ticket, bytes), unsupported);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        world.settle();
        if transports == POLLING {
            let posts = world.written.iter().map(|(_, bytes)| text(bytes));
            let posts: Vec<String> = posts.filter(|text| text.starts_with("POST")).collect();
            assert!(posts.last().unwrap().ends_with("\r\n\r\n6:::7"), "{posts:?}");
        }
    }
}

#[test]
fn what_a_generation_does_not_have_is_an_error() {
    let endpoint = || Endpoint::parse("http://localhost").unwrap();
    let new = |config: ClientConfig| Client::new(endpoint(), config, Box::new(client::seeded(1)));
    for generation in OLDER {
        let parser = ClientConfig::default()
            .generation(generation)
            .parser(MessagePack::default());
        let error = ClientConfigError::Unsupported(Feature::Parser);
        assert_eq!(new(parser).err(), Some(error));
    }
    let retries = ClientConfig::default().generation(Generation::V0_6).retries(1u32);
    assert_eq!(
        new(retries).err(),
        Some(ClientConfigError::Unsupported(Feature::Acknowledgements))
    );
    let binary = || sio_proto::client::Emit {
        args: Args {
            json: "{\"_placeholder\":true,\"num\":0}".into(),
            attachments: vec![Bytes::from_static(b"x")],
            ..Args::default()
        },
        ..emit("message", "")
    };
    for generation in OLDER {
        let mut world = World::new(config(generation, BOTH), server());
        let root = world.connect("/");
        let mut refused = |emit| world.client.emit(world.now, root, emit).err();
        assert_eq!(refused(binary()), Some(EmitError::Unsupported(Feature::Binary)));
        if generation == Generation::V0_9 {
            let named = world.client.socket("/a:b");
            assert_eq!(named, Err(CommandError::Unsupported(Feature::Namespace)));
            continue;
        }
        let lacks = |feature| Some(EmitError::Unsupported(feature));
        assert_eq!(refused(emit("message", "1").ack()), lacks(Feature::Acknowledgements));
        assert_eq!(refused(emit("news", "1")), lacks(Feature::EventNames));
        assert_eq!(refused(emit("message", "")), lacks(Feature::EventNames));
        let chat = world.client.socket("/chat");
        assert_eq!(chat, Err(CommandError::Unsupported(Feature::Namespace)));
    }
    // With `Auto`, the generation is known too late for some.
    let mut world = World::new(config(Generation::Auto, BOTH), only_09());
    let root = world.connect("/");
    let early = world.client.emit(world.now, root, binary()).unwrap();
    let fine = world.client.emit(world.now, root, emit("message", "1")).unwrap();
    world.connect("/a:b");
    world.pass(1000);
    assert_eq!(
        world.receipts[&early],
        Outcome::NotSent(NotSent::Unsupported),
        "{:?}",
        world.log
    );
    assert_eq!(world.receipts[&fine], Outcome::Sent);
    assert!(world.has("connect_error SocketId(1) the generation of the server does not have"));
    let late = world.client.emit(world.now, root, binary());
    assert_eq!(late, Err(EmitError::Unsupported(Feature::Binary)));
}

fn only_09() -> Config {
    let mut config = Config::default();
    config.generations.engine4 = false;
    config.generations.engine3 = false;
    config
}

#[test]
fn auto_finds_0_9_behind_later_generations() {
    for transports in [POLLING, WEBSOCKET, BOTH] {
        let mut world = World::new(config(Generation::Auto, transports), only_09());
        let root = world.connect("/");
        world.pass(1000);
        assert!(
            world.has("Connected { generation: V0_9"),
            "{transports:?} {:?}",
            world.log
        );
        assert!(world.client.is_connected(root));
        assert_eq!(world.attempts.len(), 3, "Engine.IO 4, 3, then 0.9, without a wait");
        assert!(world.waits.is_empty());
        // It stays with what it has found.
        world.cut();
        world.pass(5000);
        assert!(world.client.is_connected(root));
        assert_eq!(world.attempts.len(), 4);
    }
}

/// docs/protocol/legacy-0.9.md §16: a reconnect is a new session.
#[test]
fn a_lost_session_of_0_9_is_followed_by_a_new_one() {
    for transports in [POLLING, WEBSOCKET, BOTH] {
        let mut world = opened(config(Generation::V0_9, transports));
        let (root, chat) = (world.connect("/"), world.connect("/chat"));
        world.pass(100);
        world.cut();
        world.settle();
        assert!(world.has("disconnect SocketId(0)") && world.has("disconnect SocketId(1)"));
        for number in 0..3 {
            let json = number.to_string();
            world.client.emit(world.now, root, emit("n", &json)).unwrap();
        }
        world.pass(5000);
        assert!(world.client.is_connected(root) && world.client.is_connected(chat));
        let heard: Vec<&str> = world.heard.iter().map(|(_, json)| &**json).collect();
        assert_eq!(heard, ["0", "1", "2"], "buffered emits leave in their order");
        assert_eq!(world.count("New"), 4, "{:?}", world.log);
    }
}

/// docs/protocol/legacy-0.6.md §18.
#[test]
fn a_session_of_plain_messages_is_resumed() {
    for generation in [Generation::V0_6, Generation::Streaming] {
        for transports in [POLLING, WEBSOCKET] {
            let name = format!("{generation:?} {transports:?}");
            let mut world = opened(config(generation, transports));
            let root = world.connect("/");
            world.server_emit("message", "1");
            world.cut();
            // What is sent while the client is away waits for it, on both sides.
            world.server_emit("message", "2");
            world.client.emit(world.now, root, emit("message", "\"late\"")).unwrap();
            world.pass(3000);
            assert!(world.has("Recovered"), "{name}: {:?}", world.log);
            let events: Vec<&str> = world.events.iter().map(|(_, json)| &**json).collect();
            assert_eq!(events, ["1", "2"], "{name}");
            assert_eq!(world.heard.len(), 1, "{name}");
            assert_eq!(world.sockets.len(), 1, "{name}: the server has the session of before");
            // The server forgets the session: the client begins anew, at once.
            world.network = Network::Refuses;
            world.cut();
            world.pass(60_000);
            world.network = Network::Works;
            world.pass(6000);
            assert!(world.has("connect SocketId(0) Lost"), "{name}: {:?}", world.log);
            assert_eq!(world.sockets.len(), 2, "{name}");
            assert_eq!(
                world.count("Failed"),
                world.attempts.len() - 3,
                "{name}: {:?}",
                world.log
            );
            assert!(!world.has("BREACH"), "{name}: {:?}", world.log);
        }
    }
}

#[test]
fn the_server_ends_a_session_for_good() {
    for transports in [POLLING, WEBSOCKET] {
        let mut world = opened(config(Generation::V0_9, transports));
        world.connect("/chat");
        world.pass(100);
        let (now, socket) = (world.now, world.sockets[0]);
        world
            .server
            .shard(now, |shard, out| shard.disconnect(now, socket, true, out));
        world.pass(10_000);
        assert_eq!(world.count("io server disconnect"), 2, "{:?}", world.log);
        assert!(
            world.has("Stopped(NoNamespace)"),
            "a booted client does not come back: {:?}",
            world.log
        );
        assert_eq!(world.lines(), 0);
    }
}

/// Client C8: a peer that has gone is noticed.
#[test]
fn a_silent_server_is_noticed_on_every_wire() {
    for (name, config) in configs() {
        let is_09 = config.generation == Generation::V0_9;
        let mut world = opened(config);
        world.stall();
        world.network = Network::Stalls;
        world.pass(if is_09 { 61_000 } else { 26_000 });
        assert!(world.has("Lost(PingTimeout)"), "{name}: {:?}", world.log);
        world.network = Network::Works;
        world.pass(30_000);
        let connects = |line: &&String| line.starts_with("connect SocketId(0)");
        assert_eq!(world.log.iter().filter(connects).count(), 2, "{name}: {:?}", world.log);
    }
}

#[test]
fn websocket_first_falls_back_to_polling_on_older_wires() {
    for generation in OLDER {
        for stalls in [false, true] {
            let mut world = World::new(config(generation, BOTH), server());
            world.without_websocket = Some(stalls);
            world.connect("/");
            world.pass(11_000);
            assert!(world.has("transport: Polling"), "{generation:?} {:?}", world.log);
            assert_eq!(world.attempts.len(), 1, "the same attempt goes on");
        }
    }
}

/// A sleeping machine: the probe of each wire.
#[test]
fn a_woken_client_probes_its_server() {
    for (name, config) in configs() {
        let is_09 = config.generation == Generation::V0_9;
        let is_polling = config.transports == POLLING;
        let mut world = opened(config);
        world.client.wake(world.now);
        world.pass(4000);
        assert!(
            !world.has("Lost"),
            "{name}: a server that is there answers: {:?}",
            world.log
        );
        world.stall();
        world.client.wake(world.now);
        world.pass(4000);
        // The wires of plain messages have no question for a server on polling.
        assert_eq!(
            world.has("Lost(PingTimeout)"),
            is_09 || !is_polling,
            "{name}: {:?}",
            world.log
        );
        assert!(!world.has("BREACH"), "{name}: {:?}", world.log);
    }
}

/// On these wires the session itself is the namespace `/`. A client that has left it must not go on
/// getting what the server sends, whatever the setting for namespaces says.
#[test]
fn leaving_the_last_namespace_ends_the_session() {
    for (name, config) in configs() {
        let mut world = World::new(config.close_with_last(false), server());
        let socket = world.connect("/");
        world.pass(300);
        assert!(world.client.is_connected(socket), "{name}");
        world.client.disconnect(world.now, socket).unwrap();
        // 0.6 has no goodbye for a client that polls: it does not come back.
        world.pass(60_000);
        let now = world.now;
        assert_eq!(world.server.shard(now, |shard, _| shard.sessions()), 0, "{name}");
        assert!(world.client.connect(world.now, socket).is_ok());
        world.pass(3_000);
        assert!(world.client.is_connected(socket), "{name}");
    }
}
