//! A client and the server of this crate, over every transport of Engine.IO 4 and 3.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::script::{OPEN, Script};
use client::{Network, World, emit};
use sio_proto::client::{ClientConfig, Generation, Outcome, Transport};
use sio_proto::codec::MessagePack;
use sio_proto::socket::Args;
use sio_proto::{ByteString, Bytes, Config};

const POLLING: &[Transport] = &[Transport::Polling];
const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
const BOTH: &[Transport] = &[Transport::Polling, Transport::WebSocket];

fn configs() -> Vec<ClientConfig> {
    let mut all = Vec::new();
    for generation in [Generation::Four, Generation::Two] {
        for transports in [POLLING, WEBSOCKET, BOTH] {
            all.push(
                ClientConfig::default()
                    .generation(generation)
                    .transports(transports.to_vec()),
            );
        }
    }
    all
}

#[test]
fn events_and_acknowledgements_go_both_ways() {
    for config in configs() {
        let name = format!("{:?} {:?}", config.generation, config.transports);
        let upgrades = config.transports.len() == 2;
        let mut world = World::new(config, Config::default());
        let socket = world.connect("/");
        let early = world.client.emit(world.now, socket, emit("early", "1")).unwrap();
        world.pass(300);
        assert!(world.has("connect SocketId(0) New"), "{name}: {:?}", world.log);
        assert_eq!(world.has("Upgraded"), upgrades, "{name}: {:?}", world.log);
        let sum = world
            .client
            .emit(world.now, socket, emit("sum", "\"é€😀\",2").ack())
            .unwrap();
        world.pass(300);
        assert_eq!(world.receipts[&early], Outcome::Sent, "{name}");
        let args = Args::from(ByteString::from("\"é€😀\",2"));
        assert!(
            matches!(&world.receipts[&sum], Outcome::Acknowledged(got) if got.len() == args.len()),
            "{name}"
        );
        let heard: Vec<&str> = world.heard.iter().map(|(name, _)| &**name).collect();
        assert_eq!(heard, ["early", "sum"], "{name}");
        world.server_emit("news", "\"é\"");
        // Text for Engine.IO 3 is written in ASCII.
        let news = if name.starts_with("Two") {
            "\"\\u00e9\""
        } else {
            "\"é\""
        };
        assert_eq!(world.events, [("news".to_owned(), news.to_owned())], "{name}");
        world.pass(120_000);
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
fn attachments_travel_on_every_transport() {
    for config in configs() {
        let name = format!("{:?} {:?}", config.generation, config.transports);
        let mut world = World::new(config, Config::default());
        let socket = world.connect("/");
        world.pass(300);
        let mut args = Args::from(ByteString::from("{\"_placeholder\":true,\"num\":0}"));
        args.attachments.push(Bytes::from_static(&[1, 2, 3, 255]));
        let sent = sio_proto::client::Emit::new("bytes", args.clone()).ack();
        let id = world.client.emit(world.now, socket, sent).unwrap();
        world.pass(300);
        match &world.receipts[&id] {
            Outcome::Acknowledged(back) => assert_eq!(back.attachments, args.attachments, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn message_pack_speaks_to_message_pack() {
    for transports in [POLLING, WEBSOCKET] {
        let config = ClientConfig::default()
            .transports(transports.to_vec())
            .parser(MessagePack::default());
        let mut world = World::new(config, Config::default().parser(MessagePack::default()));
        let socket = world.connect("/");
        world.pass(300);
        let id = world
            .client
            .emit(world.now, socket, emit("sum", "1,{\"a\":[null]}").ack())
            .unwrap();
        world.pass(300);
        let expected = Args::from(ByteString::from("1,{\"a\":[null]}"));
        assert!(matches!(&world.receipts[&id], Outcome::Acknowledged(args) if args.json == expected.json));
    }
}

#[test]
fn websocket_first_falls_back_to_polling() {
    let config = ClientConfig::default()
        .transports(vec![Transport::WebSocket, Transport::Polling])
        .try_all_transports(true);
    let server = Config::default().transports(sio_proto::Transports {
        websocket: false,
        ..sio_proto::Transports::default()
    });
    let mut world = World::new(config, server);
    world.connect("/");
    world.pass(300);
    assert!(world.has("transport: Polling"), "{:?}", world.log);
    assert_eq!(world.attempts.len(), 1);
}

/// Client C15.
#[test]
fn many_namespaces_share_one_connection() {
    for config in configs() {
        let mut world = World::new(config, Config::default());
        world.refuses.insert("/admin".to_owned(), "forbidden".to_owned());
        let root = world.connect("/");
        let admin = world.connect("/admin");
        let chat = world.connect("/chat");
        world.pass(300);
        assert!(world.client.is_connected(root) && world.client.is_connected(chat));
        assert!(!world.client.is_connected(admin));
        assert_eq!(world.count("connect_error SocketId(1)"), 1, "{:?}", world.log);
        assert_eq!(world.attempts.len(), 1);
        world.client.disconnect(world.now, root).unwrap();
        world.pass(300);
        assert!(world.client.is_connected(chat) && !world.has("Stopped"));
        world.client.disconnect(world.now, chat).unwrap();
        world.pass(5000);
        assert!(world.has("Stopped(NoNamespace)"), "{:?}", world.log);
        assert_eq!(world.lines(), 0);
    }
}

/// Client C3.
#[test]
fn a_refused_namespace_can_connect_again() {
    let mut world = World::new(ClientConfig::default(), Config::default());
    world.refuses.insert("/admin".to_owned(), "forbidden".to_owned());
    world.connect("/");
    let admin = world.connect("/admin");
    world.pass(100);
    assert_eq!(world.count("connect_error SocketId(1) forbidden"), 1, "{:?}", world.log);
    world.refuses.clear();
    world.client.connect(world.now, admin).unwrap();
    world.pass(100);
    assert!(world.client.is_connected(admin));
    assert!(!world.has("disconnect SocketId(0)"));
}

/// Client C3.
#[test]
fn a_namespace_whose_server_does_not_answer_is_given_up() {
    let config = ClientConfig::default().join_timeout(Some(Duration::from_secs(5)));
    let mut world = World::new(config, Config::default());
    world.connect("/");
    world.pass(100);
    world.undecided = Some(Vec::new());
    let admin = world.connect("/admin");
    world.pass(4_900);
    assert!(!world.has("connect_error"), "{:?}", world.log);
    world.pass(200);
    let told = "connect_error SocketId(1) the server has not answered the CONNECT of the namespace";
    assert_eq!(world.count(told), 1, "{:?}", world.log);
    // The answer comes after all: the server is told to let the namespace go.
    let (now, late) = (world.now, world.undecided.take().unwrap()[0]);
    world.server.shard(now, |shard, out| shard.accept(now, late, out));
    world.pass(100);
    assert!(!world.client.is_connected(admin));
    assert_eq!(world.server.shard(now, |shard, _| shard.session_of(late)), None);
    world.client.connect(world.now, admin).unwrap();
    world.pass(100);
    assert!(world.client.is_connected(admin));
    assert!(!world.has("disconnect SocketId(0)"), "{:?}", world.log);
}

/// Client C3. A network that is gone is no server that does not answer: the client connects again,
/// as without the setting.
#[test]
fn a_namespace_connects_again_if_the_network_was_gone() {
    for (polling, lets_in) in [(false, false), (true, false), (true, true)] {
        let mut config = ClientConfig::default().join_timeout(Some(Duration::from_secs(10)));
        if polling {
            config = config.transports(vec![Transport::Polling]);
        }
        let mut world = World::new(config, Config::default());
        world.undecided = Some(Vec::new());
        let socket = world.connect("/");
        world.pass(100);
        world.stall();
        world.undecided = None;
        if !lets_in {
            // Otherwise only the connections that there are have gone.
            world.network = Network::Stalls;
        }
        world.pass(11_000);
        assert!(!world.client.is_connected(socket));
        // The session ends when the heartbeat is over, not before.
        assert!(!world.has("ping timeout") && !world.has("Waiting"), "{:?}", world.log);
        world.pass(39_000);
        world.network = Network::Works;
        world.pass(45_000);
        assert!(world.client.is_connected(socket), "{:?}", world.log);
        assert!(!world.has("has not answered"), "{:?}", world.log);
    }
}

/// Lets time pass without a sleep.
fn wait(script: &mut Script, seconds: u64) {
    (0..seconds * 10).for_each(|_| script.pass(100));
}

/// Client C3. A server that reads nothing for a while, because its handlers lag, says nothing.
#[test]
fn a_session_does_not_end_for_a_namespace_that_waits() {
    let config = ClientConfig::default().transports(vec![Transport::WebSocket]);
    let mut script = Script::new(config.join_timeout(Some(Duration::from_secs(10))));
    let link = script.opened();
    script.tell(link, r#"40{"sid":"a"}"#);
    script.join("/slow");
    wait(&mut script, 6);
    script.tell(link, "2");
    // From here on, the server says nothing for 5 s.
    wait(&mut script, 5);
    script.tell(link, r#"40/slow,{"sid":"b"}"#);
    assert_eq!(script.sids, ["a", "b"], "{:?}", script.log);
    assert!(!script.has("disconnect"), "{:?}", script.log);
    assert!(!script.has("connect_error"), "{:?}", script.log);
}

/// Client C3. The CONNECT waits for a POST that waits for the handlers of the server.
#[test]
fn a_session_on_polling_does_not_end_for_a_namespace_that_waits() {
    let open3 = format!("{}:{OPEN}2:40", OPEN.len());
    for (generation, open) in [(Generation::Four, OPEN), (Generation::Two, &open3)] {
        let config = ClientConfig::default().transports(vec![Transport::Polling]);
        let config = config.generation(generation);
        let mut script = Script::new(config.join_timeout(Some(Duration::from_secs(10))));
        script.answer(200, "", open);
        script.join("/slow");
        script.join("/other");
        wait(&mut script, 20);
        assert_eq!(script.count("POST "), 1, "{:?}", script.requests);
        assert!(!script.has("Waiting"), "{:?}", script.log);
        assert!(!script.has("connect_error"), "{:?}", script.log);
    }
}

/// Client C3. A server that answers pings and never the CONNECT is given up, and this ends nothing
/// else.
#[test]
fn a_namespace_is_given_up_if_only_pings_are_answered() {
    let config = ClientConfig::default().transports(vec![Transport::WebSocket]);
    let mut script = Script::new(config.join_timeout(Some(Duration::from_secs(10))));
    let link = script.opened();
    script.tell(link, r#"40{"sid":"a"}"#);
    script.join("/slow");
    script.join("/slower");
    wait(&mut script, 8);
    let pings = script.frames.iter().filter(|(_, frame)| frame.first() == Some(&0x89));
    assert_eq!(pings.count(), 1, "one ping of the websocket");
    script.say(link, &[0x8a, 0]);
    wait(&mut script, 1);
    assert!(!script.has("connect_error"), "{:?}", script.log);
    wait(&mut script, 1);
    let told = "connect_error the server has not answered the CONNECT";
    assert_eq!(script.log.iter().filter(|line| line.contains(told)).count(), 2);
    assert!(!script.has("disconnect"), "{:?}", script.log);
}

/// Client C3. An answer to a POST does not show that the answer to the CONNECT can still come.
#[test]
fn a_namespace_is_not_given_up_for_the_answer_to_a_post() {
    let config = ClientConfig::default().transports(vec![Transport::Polling]);
    let mut script = Script::new(config.join_timeout(Some(Duration::from_secs(10))));
    script.answer(200, "", OPEN);
    let (post, _) = script.last("POST ");
    wait(&mut script, 9);
    script.answer_on(post, 200, "", "ok");
    wait(&mut script, 11);
    assert!(!script.has("connect_error"), "{:?}", script.log);
    let (get, _) = script.last("GET ");
    script.answer_on(get, 200, "", "2");
    wait(&mut script, 4);
    assert!(script.has("connect_error"), "{:?}", script.log);
}

/// Client C3. On polling, the server is known to be there when it has sent a ping.
#[test]
fn a_namespace_is_given_up_on_polling() {
    let config = ClientConfig::default().join_timeout(Some(Duration::from_secs(5)));
    let mut world = World::new(config.transports(vec![Transport::Polling]), Config::default());
    world.undecided = Some(Vec::new());
    world.connect("/");
    world.pass(24_000);
    assert!(!world.has("connect_error"), "{:?}", world.log);
    world.pass(6_000);
    assert!(
        world.has("connect_error SocketId(0) the server has not answered"),
        "{:?}",
        world.log
    );
    assert!(!world.has("ping timeout"));
}

/// Client C3. Who sleeps hears nothing, whether the server has answered or not.
#[test]
fn a_namespace_does_not_give_up_in_a_sleep() {
    let config = ClientConfig::default().join_timeout(Some(Duration::from_secs(10)));
    let mut world = World::new(config, Config::default());
    world.undecided = Some(Vec::new());
    let socket = world.connect("/");
    world.pass(100);
    let late = world.undecided.take().unwrap()[0];
    // The server answers, and the client sleeps for longer than the answer may take.
    world.now = world.now + Duration::from_secs(20);
    let now = world.now;
    world.server.shard(now, |shard, out| shard.accept(now, late, out));
    world.client.handle_timeout(now);
    world.pass(1_000);
    assert!(world.client.is_connected(socket), "{:?}", world.log);
    assert!(!world.has("connect_error"), "{:?}", world.log);
}

/// Client C3. Without the setting, whoever decides at the server may take any time.
#[test]
fn a_namespace_waits_for_an_answer() {
    let mut world = World::new(ClientConfig::default(), Config::default());
    world.undecided = Some(Vec::new());
    let socket = world.connect("/");
    world.pass(40_000);
    let (now, late) = (world.now, world.undecided.take().unwrap()[0]);
    world.server.shard(now, |shard, out| shard.accept(now, late, out));
    world.pass(100);
    assert!(world.client.is_connected(socket), "{:?}", world.log);
}

/// Client C14.
#[test]
fn the_client_answers_the_server() {
    for config in configs() {
        let mut world = World::new(config, Config::default());
        world.connect("/");
        world.pass(300);
        let (now, socket) = (world.now, world.sockets[0]);
        let mut question = sio_proto::server::Message::event("/".into(), "ask".into(), Args::default(), Some(7));
        let request = sio_proto::server::AckRequest { id: 7, timeout: None };
        world
            .server
            .shard(now, |shard, _| shard.emit(now, socket, &mut question, Some(request)))
            .unwrap();
        world.settle();
        let ticket = world.tickets.pop().unwrap();
        assert_eq!(
            world.client.answer(now, ticket, ByteString::from("42").into()),
            Ok(true)
        );
        world.settle();
        assert!(!world.has("BREACH"));
    }
}

#[test]
fn auto_finds_the_generation_of_the_server() {
    let mut world = World::new(ClientConfig::default().generation(Generation::Auto), Config::default());
    world.connect("/");
    world.pass(300);
    assert!(world.has("generation: Four"), "{:?}", world.log);
}
