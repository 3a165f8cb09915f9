//! The attempts of a client: what each of them shows to the server, what none of them keeps, when
//! they begin, and what is told of them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cases;
mod client;

use std::time::Duration;

use client::script::{OPEN, Script};
use client::{Network, World, emit};
use proptest::prelude::*;
use sio_proto::Config;
use sio_proto::client::{Client, ClientConfig, Credentials, ErrorClass, Generation, Outcome, State, Transport};

const POLLING: &[Transport] = &[Transport::Polling];
const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
const BOTH: &[Transport] = &[Transport::Polling, Transport::WebSocket];

fn world(config: ClientConfig) -> World {
    World::new(config.randomization_factor(0.0), Config::default())
}

/// The requests with which the client has asked for a websocket.
fn asked_for_websocket(world: &World) -> usize {
    let asks = |bytes: &[u8]| bytes.windows(18).any(|part| part == b"Upgrade: websocket");
    world.written.iter().filter(|(_, bytes)| asks(bytes)).count()
}

fn numbered(number: usize) -> Credentials {
    let text = |kind: &str| format!("{kind}{number}.");
    Credentials {
        headers: vec![
            ("Authorization".into(), text("header")),
            ("Cookie".into(), format!("session={}; theme=dark", text("cookie"))),
        ],
        query: vec![("token".into(), text("query"))],
        auth: vec![(None, format!("{{\"token\":\"{}\"}}", text("auth")).into())],
    }
}

/// Client C1: the provider is asked before each handshake, told the number of the attempt and the
/// last error, and each request shows what was provided for its attempt, and nothing older: header
/// fields, query, cookies and `auth`.
#[test]
fn each_attempt_shows_its_own_credentials() {
    for transports in [POLLING, WEBSOCKET, BOTH] {
        let config = ClientConfig::default().transports(transports.to_vec()).provider(true);
        let mut world = world(config);
        world.credentials = Some(numbered);
        world.network = Network::Refuses;
        let socket = world.connect("/");
        world.pass(500);
        world.network = Network::Answers(503);
        world.pass(1000);
        world.network = Network::Answers(401);
        // The refusal comes with the third question, and the fourth one follows at once.
        for _ in 0..1000 {
            world.pass(10);
            if world.questions.len() == 4 {
                break;
            }
        }
        world.network = Network::Works;
        world.pass(1000);
        // The fourth attempt was refused, too, so the client has stopped.
        world.client.connect(world.now, socket).unwrap();
        world.pass(1000);
        world.cut();
        world.pass(2000);
        assert!(world.client.is_connected(socket), "{:?}", world.log);
        let told: Vec<_> = world
            .questions
            .iter()
            .map(|question| {
                let error = question.last_error.as_ref();
                (question.attempt, error.map(|error| (error.class, error.status)))
            })
            .collect();
        let unreachable = |status| Some((ErrorClass::Unreachable, status));
        let refused = Some((ErrorClass::Refused, Some(401)));
        let expected = [
            (0, None),
            (1, unreachable(None)),
            (2, unreachable(Some(503))),
            (2, refused),
            (0, refused),
            (1, unreachable(None)),
        ];
        assert_eq!(told, expected, "{transports:?}");
        let mut requests = 0;
        let ends = world.written_before[1..].iter().copied().chain([world.written.len()]);
        for (at, (begin, end)) in world.written_before.iter().copied().zip(ends).enumerate() {
            let number = at + 1;
            for (_, bytes) in &world.written[begin..end] {
                let text = String::from_utf8_lossy(bytes);
                if !text.starts_with("GET") && !text.starts_with("POST") {
                    continue;
                }
                requests += 1;
                for shown in [
                    format!("token=query{number}."),
                    format!("Authorization: header{number}.\r\n"),
                    format!("Cookie: session=cookie{number}.; theme=dark\r\n"),
                ] {
                    assert_eq!(text.matches(&shown).count(), 1, "{shown} in {text}");
                }
                for kind in ["query", "header", "cookie"] {
                    assert_eq!(text.matches(kind).count(), 1, "{text}");
                }
            }
        }
        assert!(requests >= 5, "{requests} requests");
        let auths: Vec<bool> = world
            .auths
            .iter()
            .zip(["auth5.", "auth6."])
            .map(|(auth, token)| auth.contains(token))
            .collect();
        assert_eq!(auths, [true, true], "{:?}", world.auths);
    }
}

/// Client C1: what `Debug` shows of a client and its settings may stand in a log: it has no header
/// fields, parameters, cookies, `auth`, ids and arguments.
#[test]
fn nothing_secret_is_shown() {
    let hush = |name: &str| (name.to_owned(), "hush".to_owned());
    for transport in [Transport::Polling, Transport::WebSocket] {
        let config = ClientConfig::default()
            .transports(vec![transport])
            .headers(vec![hush("Authorization")])
            .query(vec![hush("token")])
            .provider(true);
        let shown = format!("{config:?}");
        assert!(shown.contains("Authorization") && shown.contains("token"), "{shown}");
        assert!(shown.contains("max_idle: 4s") && !shown.contains("hush"), "{shown}");
        let mut script = Script::new(config);
        script.holds = true;
        let socket = script.socket;
        script.client.set_auth(socket, Some("{\"a\":\"hush\"}".into())).unwrap();
        let credentials = Credentials {
            headers: vec![hush("Cookie")],
            query: vec![hush("key")],
            auth: vec![(None, "{\"b\":\"hush\"}".into())],
        };
        let check = |client: &Client| {
            let shown = format!("{client:?} {client:#?}");
            assert!(shown.contains("Socket {") && !shown.contains("hush"), "{shown}");
        };
        check(&script.client);
        let question = script.questions[0].id;
        script.client.provide(script.now, question, credentials).unwrap();
        script.drain();
        script.emit(socket, emit("hush", "\"hush\"")).unwrap();
        // The first request waits for its connection.
        check(&script.client);
        let link = script.open[0];
        script.client.handle_connected(script.now, link);
        script.drain();
        let open = OPEN.replace("\"s\"", "\"hush\"");
        match transport {
            Transport::Polling => script.answer(200, "Set-Cookie: hush=hush\r\n", &open),
            Transport::WebSocket => {
                script.upgrade();
                script.tell(link, &open);
                script.tell(link, "40{\"sid\":\"hush\",\"pid\":\"hush\"}");
            }
        }
        script.emit(socket, emit("hush", "\"hush\"").ack()).unwrap();
        check(&script.client);
        script.close(link);
        check(&script.client);
    }
}

/// A transport that hangs does not keep the next one of the list from being tried, if all of them
/// are.
#[test]
fn a_transport_that_hangs_is_followed_by_the_next() {
    let part = |transport: &Transport| format!("transport={transport}");
    for all in [false, true] {
        for order in [
            [Transport::Polling, Transport::WebSocket],
            [Transport::WebSocket, Transport::Polling],
        ] {
            let config = ClientConfig::default().transports(order.to_vec());
            let mut script = Script::new(config.try_all_transports(all));
            script.pass(9_999);
            assert_eq!(script.count(&part(&order[1])), 0);
            script.pass(1);
            assert_eq!(script.count(&part(&order[1])), usize::from(all));
            if !all {
                continue;
            }
            match order[1] {
                Transport::WebSocket => _ = script.opened(),
                Transport::Polling => script.answer(200, "", OPEN),
            }
            assert!(script.has(&format!("transport: {:?}", order[1])), "{:?}", script.log);
            script.pass(11_000);
            assert!(!script.has("Lost") && !script.has("Failed"), "{:?}", script.log);
        }
    }
    // One that opens in time has no deadline any more.
    let mut script = Script::new(ClientConfig::default().try_all_transports(true).upgrade(false));
    script.answer(200, "", OPEN);
    script.pass(15_000);
    assert!(
        !script.has("Lost") && script.count("transport=websocket") == 0,
        "{:?}",
        script.log
    );
}

/// Client C1: what was provided for an attempt is the `auth` of all namespaces that connect with
/// it, also of one that was made after the provider had answered.
#[test]
fn a_namespace_that_is_made_during_an_attempt_has_its_credentials() {
    for transports in [POLLING, WEBSOCKET] {
        let config = ClientConfig::default().transports(transports.to_vec()).provider(true);
        let mut world = world(config);
        world.connect("/");
        world.drain_client();
        assert_eq!(world.questions.len(), 1);
        let late = world.client.socket("/late").unwrap();
        world.client.set_auth(late, Some("{\"own\":1}".into())).unwrap();
        world.client.connect(world.now, late).unwrap();
        world.settle();
        assert!(world.client.is_connected(late), "{:?}", world.log);
        assert_eq!((world.questions.len(), world.auths.len()), (1, 2));
        let shows = |auth: &String| auth.contains("\\\"n\\\":1");
        assert!(world.auths.iter().all(shows), "{:?}", world.auths);
    }
}

/// Client C1: a cookie that the user gives takes the place of the server's cookie with this name,
/// and one of the credentials takes the place of one of the settings. Servers read the first one
/// only, so an old value must not stand before a new one.
#[test]
fn a_given_cookie_takes_the_place_of_an_old_one() {
    let headers = vec![("cookie".to_owned(), "mine=1; session=settings".to_owned())];
    let config = ClientConfig::default().transports(POLLING.to_vec()).headers(headers);
    let mut script = Script::new(config);
    script.answer(
        200,
        "Set-Cookie: session=server; Path=/\r\nSet-Cookie: route=a; Path=/\r\n",
        OPEN,
    );
    let cookies = |text: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix("Cookie: ").map(str::to_owned))
    };
    let sent: Vec<_> = script.requests.iter().map(|(_, text)| cookies(text).unwrap()).collect();
    assert_eq!(sent[0], "mine=1; session=settings");
    assert!(
        sent.len() > 1 && sent[1..].iter().all(|sent| sent == "route=a; mine=1; session=settings"),
        "{sent:?}"
    );

    let mut world = world(
        ClientConfig::default()
            .provider(true)
            .headers(vec![("Cookie".to_owned(), "session=settings; lang=en".to_owned())]),
    );
    world.credentials = Some(numbered);
    world.connect("/");
    world.pass(100);
    let first = String::from_utf8_lossy(&world.written[0].1).into_owned();
    assert_eq!(
        cookies(&first).as_deref(),
        Some("lang=en; session=cookie1.; theme=dark")
    );
}

/// Client C7: an attempt keeps nothing of the one before: not the target of a redirect, not the
/// transport, not the id of the session, not a connection.
#[test]
fn an_attempt_begins_from_nothing() {
    let mut script = Script::new(ClientConfig::default());
    let first = script.requests[0].1.lines().next().unwrap().to_owned();
    assert!(
        first.starts_with("GET /socket.io/?EIO=4&transport=polling&t="),
        "{first}"
    );
    script.answer(307, "Location: /moved/\r\n", "");
    assert!(
        script.requests[1].1.starts_with("GET /moved/?EIO=4"),
        "{:?}",
        script.requests
    );
    let offers = OPEN.replace("[]", "[\"websocket\"]");
    script.answer(200, "", &offers);
    let upgrade = script
        .requests
        .iter()
        .position(|(_, text)| text.contains("transport=websocket"));
    let (websocket, _) = script.requests[upgrade.unwrap()].clone();
    assert!(script.requests.iter().skip(2).all(|(_, text)| text.contains("sid=s")));
    let known = script.open.clone();
    assert!(known.contains(&websocket));
    script.client.network_lost(script.now);
    script.drain();
    assert_eq!(script.open, [], "all connections are closed");
    let asked = script.requests.len();
    script.pass(1000);
    assert_eq!(script.requests.len(), asked + 1, "one request begins the next attempt");
    let (link, again) = script.requests.last().unwrap();
    assert!(
        again.starts_with("GET /socket.io/?EIO=4&transport=polling&t="),
        "{again}"
    );
    assert!(!again.contains("sid="), "{again}");
    assert!(!known.contains(link), "the connection is new");
}

/// Client C7: the generation is negotiated anew: a server that was replaced by one of another
/// generation is found, in both directions.
#[test]
fn the_generation_is_negotiated_anew() {
    let older = |open: &str| format!("{}:{open}", open.len());
    let refusal = "{\"code\":5,\"message\":\"Unsupported protocol version\"}";
    let config = ClientConfig::default()
        .generation(Generation::Auto)
        .transports(POLLING.to_vec());
    let mut script = Script::new(config);
    for round in 0..3 {
        // A server of 2.x answers as Engine.IO 3 to whatever it is asked.
        script.answer(200, "", &older(OPEN));
        if round == 0 {
            assert!(
                script.requests.last().unwrap().1.contains("EIO=3"),
                "the client asks again"
            );
            script.answer(200, "", &older(OPEN));
        }
        assert!(
            script.log.last().unwrap().contains("generation: Two"),
            "{:?}",
            script.log
        );
        script.client.network_lost(script.now);
        script.pass(1000);
        // Then one of 4.x, which refuses Engine.IO 3.
        assert!(script.requests.last().unwrap().1.contains("EIO=3"));
        script.answer(400, "", refusal);
        let next = |script: &Script| script.requests.last().unwrap().1.clone();
        if !next(&script).contains("EIO=4") {
            script.answer(400, "", refusal);
        }
        assert!(next(&script).contains("EIO=4"), "{:?}", script.log);
        script.answer(200, "", OPEN);
        assert!(
            script.log.last().unwrap().contains("generation: Four"),
            "{:?}",
            script.log
        );
        script.client.network_lost(script.now);
        script.pass(1000);
        assert!(next(&script).contains("EIO=4"));
        script.answer(200, "", &older(OPEN));
        assert!(next(&script).contains("EIO=3"));
        if round < 2 {
            continue;
        }
        script.answer(200, "", &older(OPEN));
        assert!(
            script.log.last().unwrap().contains("generation: Two"),
            "{:?}",
            script.log
        );
    }
}

/// A state in words: an error by its class and status, a wait by its milliseconds.
fn words((now, state): &(sio_proto::Time, State)) -> String {
    match state {
        State::Failed(error) => format!("Failed {:?} {:?}", error.class, error.status),
        State::Waiting(until) => format!("Waiting {}", until.saturating_since(*now).as_millis()),
        State::Connected { generation, transport } => format!("Connected {generation:?} {transport:?}"),
        State::Stopped(sio_proto::client::StopReason::Refused(error)) => format!("Stopped Refused {:?}", error.status),
        other => format!("{other:?}"),
    }
}

/// Client C17: the states of a whole life with faults of every kind, one by one.
#[test]
fn a_life_is_told_state_by_state() {
    let mut world = world(ClientConfig::default());
    let mut read = 0;
    let mut expect = |world: &World, what: &str, expected: &[&str]| {
        let new: Vec<String> = world.states[read..].iter().map(words).collect();
        read = world.states.len();
        assert_eq!(new, expected, "{what}");
    };
    let back = ["Connected Four Polling", "Upgraded"];
    world.network = Network::Refuses;
    let socket = world.connect("/");
    world.pass(500);
    expect(
        &world,
        "no server",
        &["Connecting(0)", "Failed Unreachable None", "Waiting 1000"],
    );
    world.network = Network::Answers(503);
    world.pass(1000);
    expect(
        &world,
        "a server that asks for two seconds",
        &["Connecting(1)", "Failed Unreachable Some(503)", "Waiting 2000"],
    );
    world.network = Network::Stalls;
    world.pass(2000);
    expect(&world, "a network that takes everything", &["Connecting(2)"]);
    world.pass(20_000);
    expect(&world, "its time", &["Failed Unreachable None", "Waiting 4000"]);
    world.network = Network::Works;
    world.pass(4000);
    expect(&world, "a server", &["Connecting(3)", back[0], back[1]]);
    world.cut();
    world.pass(1500);
    let again = ["Waiting 1000", "Connecting(1)", back[0], back[1]];
    expect(
        &world,
        "a cut",
        &["Lost(TransportClose)", again[0], again[1], again[2], again[3]],
    );
    world.stall();
    world.pass(47_000);
    expect(
        &world,
        "silence",
        &["Lost(PingTimeout)", again[0], again[1], again[2], again[3]],
    );
    world.client.network_lost(world.now);
    world.settle();
    world.client.wake(world.now);
    world.pass(500);
    expect(
        &world,
        "a network that goes and comes",
        &[
            "Lost(TransportClose)",
            "Waiting 1000",
            "Connecting(0)",
            back[0],
            back[1],
        ],
    );
    world.pass(100);
    let (now, at_server) = (world.now, *world.sockets.last().unwrap());
    world
        .server
        .shard(now, |shard, out| shard.disconnect(now, at_server, false, out));
    world.pass(3000);
    expect(&world, "a server that ends the namespace", &["Stopped(NoNamespace)"]);
    world.client.connect(world.now, socket).unwrap();
    world.pass(500);
    expect(&world, "the user connects", &["Connecting(0)", back[0], back[1]]);
    world.network = Network::Answers(401);
    world.cut();
    world.pass(60_000);
    let refused = [
        "Waiting 1000",
        "Connecting(1)",
        "Failed Refused Some(401)",
        "Stopped Refused Some(401)",
    ];
    expect(
        &world,
        "a refusal",
        &["Lost(TransportClose)", refused[0], refused[1], refused[2], refused[3]],
    );
    world.network = Network::Works;
    world.client.connect(world.now, socket).unwrap();
    world.pass(500);
    expect(&world, "the user connects", &["Connecting(0)", back[0], back[1]]);
    world.client.close(world.now);
    world.pass(60_000);
    expect(&world, "the end", &["Stopped(Closed)"]);
    let told: Vec<&String> = world.log.iter().filter(|line| line.starts_with("connect ")).collect();
    assert_eq!(told.len(), 6, "each connection of the namespace is told once: {told:?}");
}

/// Client C24: an upgrade that gets no answer has a deadline. Meanwhile and afterwards polling
/// works; the client remembers it over reconnections, and tries again later, on the open
/// connection.
#[test]
fn an_upgrade_that_hangs_is_tried_again_later() {
    for answers in [false, true] {
        let mut world = world(ClientConfig::default());
        world.without_websocket = Some(!answers);
        let socket = world.connect("/");
        world.pass(2000);
        assert!(world.client.is_connected(socket), "{:?}", world.log);
        assert_eq!(asked_for_websocket(&world), 1);
        if !answers {
            assert_eq!(world.lines(), 3, "the probe hangs");
        }
        let ask = |world: &mut World| {
            let id = world.client.emit(world.now, socket, emit("ask", "1").ack()).unwrap();
            world.pass(1000);
            assert!(
                matches!(world.receipts[&id], Outcome::Acknowledged(_)),
                "{:?}",
                world.receipts
            );
        };
        ask(&mut world);
        world.server_emit("news", "1");
        assert_eq!(world.events.len(), 1);
        world.pass(8000);
        assert!(world.lines() <= 2, "the probe has a deadline");
        ask(&mut world);
        world.pass(200_000);
        world.cut();
        world.pass(200_000);
        assert!(
            world.client.is_connected(socket) && world.attempts.len() == 2,
            "{:?}",
            world.log
        );
        assert_eq!(asked_for_websocket(&world), 1, "it remembers");
        ask(&mut world);
        world.without_websocket = None;
        world.pass(200_000);
        assert_eq!(asked_for_websocket(&world), 2, "ten minutes are over");
        assert!(world.has("Upgraded") && world.attempts.len() == 2, "{:?}", world.log);
        ask(&mut world);
        assert_eq!(world.client.transport(), Some(Transport::WebSocket));
        assert!(!world.has("BREACH"), "{:?}", world.log);
    }
}

/// Client C24: what is remembered counts for one network. Another network is tried at once, and a
/// server that refuses every upgrade is not asked without end, whatever the pause is.
#[test]
fn another_network_is_asked_for_an_upgrade() {
    let mut world = world(ClientConfig::default());
    world.without_websocket = Some(false);
    world.connect("/");
    world.pass(1000);
    world.without_websocket = None;
    world.client.wake(world.now);
    world.pass(4000);
    assert!(world.has("Upgraded") && world.attempts.len() == 1, "{:?}", world.log);

    // Also while an attempt is under way, which goes on, or begins anew after a sleep.
    for sleeps in [false, true] {
        let mut world = self::world(ClientConfig::default());
        world.without_websocket = Some(false);
        let socket = world.connect("/");
        world.pass(1000);
        world.without_websocket = None;
        world.cut();
        world.network = Network::Stalls;
        world.pass(2000);
        assert!(!world.client.is_connected(socket), "{:?}", world.log);
        match sleeps {
            true => world.client.handle_clock_jump(world.now, Duration::from_secs(60)),
            false => world.client.wake(world.now),
        }
        world.network = Network::Works;
        world.pass(60_000);
        assert!(world.client.is_connected(socket), "{:?}", world.log);
        assert!(world.has("Upgraded"), "sleeps: {sleeps}: {:?}", world.log);
    }

    let mut world = self::world(ClientConfig::default().upgrade_pause(Duration::ZERO));
    world.without_websocket = Some(false);
    world.connect("/");
    world.pass(61_000);
    assert_eq!(asked_for_websocket(&world), 7, "once in the time of an upgrade");
    assert!(!world.has("Lost"), "{:?}", world.log);
}

#[derive(Clone, Copy, Debug)]
enum Push {
    Connect,
    Wake,
    NetworkLost,
    Sleep,
    Network(u8),
    Cut,
    Steps(usize),
    Pass(u64),
}

fn push() -> impl Strategy<Value = Push> {
    prop_oneof![
        Just(Push::Connect),
        Just(Push::Wake),
        Just(Push::NetworkLost),
        Just(Push::Sleep),
        (0u8..4).prop_map(Push::Network),
        Just(Push::Cut),
        (0usize..8).prop_map(Push::Steps),
        (0u64..3000).prop_map(Push::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..cases::usually(500) })]

    /// Client C26: however the user and the network push, the client has the connections of one
    /// attempt, and every other session of it at the server has ended or hears nothing more.
    #[test]
    fn there_is_one_attempt_at_a_time(
        transports in 0usize..3,
        provider in any::<bool>(),
        seed in any::<u64>(),
        pushes in proptest::collection::vec(push(), 0..40),
    ) {
        let transports = [POLLING, WEBSOCKET, BOTH][transports];
        let config = ClientConfig::default()
            .transports(transports.to_vec())
            .provider(provider)
            .max_attempts_per_minute(10_000usize);
        let mut world = World::seeded(config, Config::default(), seed);
        let socket = world.connect("/");
        for push in pushes {
            match push {
                Push::Connect => world.client.connect(world.now, socket).unwrap(),
                Push::Wake => world.client.wake(world.now),
                Push::NetworkLost => world.client.network_lost(world.now),
                Push::Sleep => world.client.handle_clock_jump(world.now, Duration::from_secs(3600)),
                Push::Network(kind) => {
                    world.network = [Network::Works, Network::Refuses, Network::Stalls, Network::Answers(503)][usize::from(kind)];
                }
                Push::Cut => world.cut(),
                Push::Steps(steps) => (0..steps).for_each(|_| {
                    world.step();
                }),
                Push::Pass(millis) => world.pass(millis),
            }
            world.drain_client();
            prop_assert_eq!(world.old_lines(), 0);
            let most = if transports == WEBSOCKET { 1 } else { 3 };
            prop_assert!(world.lines() <= most, "{} connections", world.lines());
        }
        world.network = Network::Works;
        world.client.wake(world.now);
        world.pass(70_000);
        prop_assert!(world.client.is_connected(socket), "{:?}", world.log);
        // What was half open at the server has timed out: one session is left.
        prop_assert_eq!(world.server.shard(world.now, |shard, _| shard.sessions()), 1);
    }
}
