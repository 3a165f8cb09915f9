//! Events that are larger than the server takes are refused, and cost no connection.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use client::{Network, World, emit, seeded};
use sio_proto::client::{ClientConfig, EmitError, NotSent, Outcome, SocketId, Transport};
use sio_proto::codec::MessagePack;
use sio_proto::server::Server;
use sio_proto::{Bytes, Config};

const MAX: usize = 10_000;

fn world(config: ClientConfig) -> (World, SocketId) {
    let mut world = World::new(config, Config::default().max_payload(MAX));
    let socket = world.connect("/");
    (world, socket)
}

fn only(transport: Transport) -> ClientConfig {
    ClientConfig::default().transports(vec![transport])
}

/// An event `n` whose message has so many bytes: `42["n",0,"xx…"]`.
fn sized(bytes: usize) -> sio_proto::client::Emit {
    emit("n", &format!("0,\"{}\"", "x".repeat(bytes - r#"42["n",0,""]"#.len())))
}

fn with_bytes(bytes: usize) -> sio_proto::client::Emit {
    let mut event = emit("n", r#"{"_placeholder":true,"num":0}"#);
    event.args.attachments = vec![Bytes::from(vec![7; bytes])];
    event
}

/// On a connection, the emit says that the event is too large, to the byte, and one that just fits
/// arrives. Nothing costs the connection.
#[test]
fn an_event_that_the_server_does_not_take_is_refused() {
    for transport in [Transport::Polling, Transport::WebSocket] {
        for retries in [0, 3] {
            let (mut world, socket) = world(only(transport).retries(retries));
            world.pass(100);
            let now = world.now;
            // An event that is sent again asks for an acknowledgement, whose id has a digit.
            let digit = usize::from(retries > 0);
            let error = EmitError::TooLarge {
                bytes: MAX + 1,
                max: MAX,
            };
            assert_eq!(world.client.emit(now, socket, sized(MAX + 1 - digit)), Err(error));
            assert_eq!(
                error.to_string(),
                "the event has 10001 bytes, and at most 10000 are allowed"
            );
            world.client.emit(now, socket, sized(MAX - digit)).unwrap();
            world.pass(100);
            assert_eq!((world.heard.len(), world.attempts.len()), (1, 1), "{transport:?}");
        }
    }
}

/// Attachments count as the transport carries them: a POST has their base64.
#[test]
fn attachments_that_the_server_does_not_take_are_refused() {
    for (transport, most) in [(Transport::Polling, 7497), (Transport::WebSocket, MAX)] {
        let (mut world, socket) = world(only(transport));
        world.pass(100);
        let now = world.now;
        let refused = world.client.emit(now, socket, with_bytes(most + 1));
        assert!(
            matches!(refused, Err(EmitError::TooLarge { max: MAX, .. })),
            "{refused:?}"
        );
        world.client.emit(now, socket, with_bytes(most)).unwrap();
        world.pass(100);
        assert_eq!((world.heard.len(), world.attempts.len()), (1, 1), "{transport:?}");
    }
}

/// The size is that of the parser's bytes.
#[test]
fn a_parser_makes_other_sizes() {
    let config = only(Transport::WebSocket).parser(MessagePack::default());
    let mut world = World::new(
        config,
        Config::default().max_payload(MAX).parser(MessagePack::default()),
    );
    let socket = world.connect("/");
    world.pass(100);
    // Four bytes of JSON are nine of MessagePack.
    let event = |count: usize| emit("n", &format!("0,[{}]", vec!["0.1"; count].join(",")));
    let refused = world.client.emit(world.now, socket, event(1200));
    assert!(
        matches!(refused, Err(EmitError::TooLarge { bytes, max: MAX }) if bytes > 10_800),
        "{refused:?}"
    );
    world.client.emit(world.now, socket, event(1000)).unwrap();
    world.pass(100);
    assert_eq!((world.heard.len(), world.attempts.len()), (1, 1));
}

/// Without a connection nobody knows the limit. What waits and is too large ends when the client
/// has connected, and what stands behind it is sent.
#[test]
fn what_waits_and_is_too_large_ends() {
    let (mut world, socket) = world(ClientConfig::default().retries(3));
    let now = world.now;
    let ids = [sized(100), sized(MAX + 1), sized(200)].map(|event| world.client.emit(now, socket, event).unwrap());
    world.pass(60_000);
    assert_eq!(world.receipts[&ids[1]], Outcome::NotSent(NotSent::TooLarge));
    assert_eq!((world.heard.len(), world.attempts.len()), (2, 1));
    assert_eq!(world.client.pending(socket).count(), 0);
}

/// A server that takes less after a restart does not get what it would refuse.
#[test]
fn a_retried_event_is_not_sent_to_a_server_that_takes_less() {
    let (mut world, socket) = world(only(Transport::WebSocket).retries(3));
    world.pass(100);
    world.network = Network::Refuses;
    let event = world.client.emit(world.now, socket, sized(5000)).unwrap();
    world.cut();
    let config = Config::default().max_payload(1000);
    world.server = Server::new(config, [8; 16], Box::new(seeded(5))).unwrap();
    world.network = Network::Works;
    world.pass(60_000);
    assert!(
        matches!(
            world.receipts[&event],
            Outcome::Disconnected | Outcome::NotSent(NotSent::TooLarge)
        ),
        "{:?}",
        world.receipts[&event]
    );
    assert!(world.attempts.len() < 5, "{} attempts", world.attempts.len());
}

/// A namespace whose `auth` the server does not take is refused here, and the client does not
/// connect again and again.
#[test]
fn an_auth_that_the_server_does_not_take_is_refused() {
    let (mut world, _) = world(ClientConfig::default());
    let chat = world.client.socket("/chat").unwrap();
    let auth = format!(r#"{{"token":"{}"}}"#, "x".repeat(MAX));
    world.client.set_auth(chat, Some(auth.into())).unwrap();
    world.client.connect(world.now, chat).unwrap();
    world.pass(60_000);
    assert_eq!(world.attempts.len(), 1);
    assert!(!world.client.is_connected(chat));
    assert!(world.has("10020 bytes"), "{:?}", world.log);
}
