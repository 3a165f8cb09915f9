//! How fast clients may send, in every generation and on every transport: token buckets of sessions
//! and of sockets, throttled or disconnected, and the heartbeats of clients that are throttled.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod older;

use common::*;
use sio_proto::server::{Delivery, Welcome};
use sio_proto::{Config, Excess, LinkId, RateLimit, Time};

/// How a client sends: on its websocket, or by POSTs.
enum Way {
    WebSocket(LinkId),
    Post(String),
}

struct Story {
    world: World,
    generation: &'static str,
    way: Way,
}

const GENERATIONS: [&str; 9] = [
    "4.x websocket",
    "4.x polling",
    "2.x websocket",
    "2.x polling",
    "0.9 websocket",
    "0.9 polling",
    "0.6 websocket",
    "0.6 polling",
    "raw websocket",
];

impl Story {
    /// A client of this generation that has joined `/`.
    fn new(generation: &'static str, config: Config) -> Self {
        let mut world = World::new(config.engine_path("/engine.io"));
        let mut socket_by = |target: &str| {
            let link = world.open();
            world.send(link, &upgrade(target));
            link
        };
        let way = match generation {
            "4.x websocket" => Way::WebSocket(world.join()),
            "2.x websocket" => Way::WebSocket(socket_by("/socket.io/?EIO=3&transport=websocket")),
            "0.6 websocket" => Way::WebSocket(socket_by("/socket.io/websocket")),
            "raw websocket" => Way::WebSocket(socket_by("/engine.io/?EIO=4&transport=websocket")),
            "4.x polling" => Way::Post(session(&world.join_polling())),
            "2.x polling" => {
                let answer = world.reply(&get("/socket.io/?EIO=3&transport=polling"));
                let target = format!("/socket.io/?EIO=3&transport=polling&sid={}", sid(answer.text()));
                Way::Post(target)
            }
            "0.6 polling" => {
                let answer = world.reply(&get("/socket.io/xhr-polling//1"));
                let id = answer.text().rsplit('~').next().unwrap().to_string();
                Way::Post(format!("/socket.io/xhr-polling/{id}/send"))
            }
            _ => {
                let answer = world.reply(&get("/socket.io/1/"));
                let id = answer.text().split(':').next().unwrap().to_string();
                match generation {
                    "0.9 websocket" => {
                        let link = world.open();
                        world.send(link, &upgrade(&format!("/socket.io/1/websocket/{id}")));
                        Way::WebSocket(link)
                    }
                    _ => {
                        let target = format!("/socket.io/1/xhr-polling/{id}");
                        world.reply(&get(&target));
                        Way::Post(target)
                    }
                }
            }
        };
        world.heard();
        world.deliveries.clear();
        Self { world, generation, way }
    }

    /// The packet of this event.
    fn packet(&self, number: usize) -> String {
        match self.generation.split(' ').next().unwrap() {
            "0.6" => format!("~m~{}~m~{number}", number.to_string().len()),
            "0.9" => format!(r#"5:::{{"name":"n","args":[{number}]}}"#),
            "raw" => format!("4{number}"),
            _ => format!(r#"42["n",{number}]"#),
        }
    }

    /// The client sends these events in one go. Returns the link of the POST, if it is one.
    fn send(&mut self, numbers: std::ops::Range<usize>) -> LinkId {
        let packets: Vec<String> = numbers.map(|number| self.packet(number)).collect();
        match &self.way {
            Way::WebSocket(link) => {
                let (link, bytes) = (
                    *link,
                    packets.iter().flat_map(|packet| text(packet)).collect::<Vec<u8>>(),
                );
                self.world.send(link, &bytes);
                link
            }
            Way::Post(target) => {
                let body = match self.generation {
                    "4.x polling" => packets.join("\u{1e}"),
                    "2.x polling" => packets
                        .iter()
                        .map(|packet| format!("{}:{packet}", packet.len()))
                        .collect(),
                    "0.9 polling" if packets.len() > 1 => {
                        let framed = packets
                            .iter()
                            .map(|packet| format!("\u{fffd}{}\u{fffd}{packet}", packet.len()));
                        framed.collect()
                    }
                    "0.6 polling" => format!("data={}", packets.concat()),
                    _ => packets.concat(),
                };
                let request = match self.generation {
                    "0.6 polling" => older::post_bytes(target, "application/x-www-form-urlencoded", body.as_bytes()),
                    _ => post(target, &body),
                };
                let link = self.world.open();
                self.world.send(link, &request);
                link
            }
        }
    }

    /// The events that have come to the user since the last call.
    fn came(&mut self) -> Vec<usize> {
        let text = |delivery: &Delivery| match delivery {
            Delivery::Event { args, .. } => Some(args.json.to_string()),
            Delivery::EngineMessage { message, .. } => {
                Some(format!("{message:?}").chars().filter(char::is_ascii_digit).collect())
            }
            _ => None,
        };
        let came = self.world.deliveries.iter().filter_map(text);
        let came = came
            .map(|json| json.trim_matches(['[', ']', '"']).parse().unwrap())
            .collect();
        self.world.deliveries.clear();
        came
    }

    fn is_throttled(&self, link: LinkId) -> bool {
        !self.world.server.wants_bytes(link)
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<usize> {
    range.collect()
}

#[test]
fn a_client_that_is_too_fast_is_throttled_and_loses_nothing() {
    for generation in GENERATIONS {
        let limit = RateLimit::NONE.events(10, 5);
        let mut story = Story::new(generation, Config::default().session_rate(limit));
        let link = story.send(0..20);
        assert_eq!(story.came(), numbers(0..5), "{generation}: the burst");
        assert!(story.is_throttled(link), "{generation}");
        let is_post = matches!(story.way, Way::Post(_));
        assert!(
            !is_post || story.world.received(link).is_empty(),
            "{generation}: not answered yet"
        );
        story.world.pass(500);
        assert_eq!(story.came(), numbers(5..10), "{generation}: what the rate allows");
        story.world.pass(1_000);
        assert_eq!(story.came(), numbers(10..20), "{generation}");
        assert_eq!(
            is_post,
            story.world.received(link).starts_with("HTTP/1.1 200"),
            "{generation}"
        );
        story.world.pass(1_000);
        let link = story.send(20..23);
        assert!(!story.is_throttled(link), "{generation}: within the rate");
        assert_eq!(story.came(), numbers(20..23), "{generation}");
        assert_eq!(
            (story.world.sessions(), &*story.world.breaches),
            (1, &[] as &[String]),
            "{generation}"
        );
    }
}

#[test]
fn a_client_that_is_too_fast_is_disconnected_with_a_reason() {
    for generation in GENERATIONS {
        let limit = RateLimit::NONE.events(10, 5).excess(Excess::Disconnect);
        let mut story = Story::new(generation, Config::default().session_rate(limit));
        story.send(0..20);
        assert_eq!(
            story.world.breaches,
            ["rate, ends: the client sends faster than it may"],
            "{generation}"
        );
        let told = story.world.deliveries.iter().find_map(|delivery| match delivery {
            Delivery::Disconnect { breach, .. } | Delivery::EngineClose { breach, .. } => breach.clone(),
            _ => None,
        });
        assert_eq!(
            told.unwrap().kind().as_str(),
            "rate",
            "{generation}: the disconnect handler learns it"
        );
        assert_eq!(story.came(), numbers(0..5), "{generation}");
    }
}

#[test]
fn bytes_count_with_the_name_and_an_event_above_the_burst_never_comes() {
    for generation in ["4.x websocket", "4.x polling"] {
        // `n` and `10` are three bytes, each event.
        let limit = RateLimit::NONE.bytes(30, 60);
        let mut story = Story::new(generation, Config::default().session_rate(limit));
        story.send(10..40);
        let came = story.came().len();
        assert!((20..=21).contains(&came), "{generation}: {came}");
        story.world.pass(500);
        let more = story.came().len();
        assert!((4..=6).contains(&more), "{generation}: {more}");
        story.world.pass(500);
        assert_eq!(story.came().len(), 30 - came - more, "{generation}");
        story.world.pass(2_000);
        let large = format!(r#"42["n","{}"]"#, "x".repeat(200));
        match &story.way {
            Way::WebSocket(link) => story.world.send(*link, &text(&large)),
            Way::Post(target) => {
                let link = story.world.open();
                story.world.send(link, &post(target, &large));
            }
        }
        assert_eq!(
            story.world.breaches,
            ["rate, ends: an event has more bytes than the client may send at once"],
            "{generation}"
        );
    }
}

/// While nothing is read from a client, its answers to heartbeats are not read either. It lives,
/// and heartbeats go on. When it is read again, it has to answer.
#[test]
fn a_throttled_client_need_not_answer_heartbeats() {
    for generation in [
        "4.x websocket",
        "4.x polling",
        "2.x websocket",
        "0.9 websocket",
        "0.6 websocket",
    ] {
        let mut config = Config::default().session_rate(RateLimit::NONE.events(1, 1));
        config.legacy09.heartbeat_interval = std::time::Duration::from_secs(10);
        let mut story = Story::new(generation, config);
        let link = story.send(0..200);
        story.world.pass(190_000);
        assert_eq!(story.came(), numbers(0..191), "{generation}");
        assert_eq!(story.world.sessions(), 1, "{generation}");
        if let Way::WebSocket(_) = story.way {
            let beats = story.world.frames(link).len();
            assert!(beats >= 3, "{generation}: {beats} signs of life in three minutes");
        }
        story.world.pass(200_000);
        assert_eq!(story.came(), numbers(191..200), "{generation}");
        assert_eq!(story.world.sessions(), 0, "{generation}: it has never answered");
    }
}

#[test]
fn a_client_that_is_gone_leaves_nothing_behind() {
    for generation in GENERATIONS {
        let mut story = Story::new(generation, Config::default().session_rate(RateLimit::NONE.events(1, 1)));
        let link = story.send(0..20);
        story.world.cut(link, sio_proto::server::Cause::Failed);
        story.world.pass(600_000);
        assert_eq!(
            (story.world.sessions(), story.world.server.next_timeout()),
            (0, None),
            "{generation}"
        );
    }
}

#[test]
fn a_socket_has_its_own_limit() {
    let mut world = World::new(Config::default().socket_rate(RateLimit::NONE.events(10, 2)));
    world.accepts = false;
    let link = world.open();
    world.send(link, WEBSOCKET);
    world.send(link, &text("40"));
    world.send(link, &text("40/other,"));
    let [main, other] = world.sockets[..] else { panic!() };
    for (socket, rate) in [(main, None), (other, Some(RateLimit::NONE.events(10, 6)))] {
        let welcome = Welcome {
            rate,
            ..Welcome::default()
        };
        world.shard(|shard, out| shard.accept_as(Time::ZERO, socket, &welcome, out));
    }
    world.deliveries.clear();
    let sent: Vec<u8> = (0..6).flat_map(|_| text(r#"42/other,["n"]"#)).collect();
    world.send(link, &sent);
    assert_eq!(world.deliveries.len(), 6);
    world.pass(1_000);
    let sent: Vec<u8> = (0..6).flat_map(|_| text(r#"42["n"]"#)).collect();
    world.send(link, &sent);
    assert_eq!(world.deliveries.len(), 8, "the limit of the config counts for `/`");
    world.pass(400);
    assert_eq!(world.deliveries.len(), 12);
}

/// One client's limit costs its neighbours nothing.
#[test]
fn neighbours_of_a_throttled_client_do_not_wait() {
    let mut story = Story::new(
        "4.x websocket",
        Config::default().session_rate(RateLimit::NONE.events(1, 1)),
    );
    story.send(0..50);
    story.came();
    let (link, socket) = story.world.bystander();
    story.world.assert_works(link, socket);
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    for limit in [
        RateLimit::NONE.events(0, 1),
        RateLimit::NONE.events(1, 0),
        RateLimit::NONE.bytes(1, 3_601 * 2),
        RateLimit::NONE.bytes(1 << 41, 1),
    ] {
        assert!(Config::default().session_rate(limit).validate().is_err());
        assert!(Config::default().socket_rate(limit).validate().is_err());
    }
    assert!(
        Config::default()
            .session_rate(RateLimit::NONE.events(1, 3_600))
            .validate()
            .is_ok()
    );
}

/// Clients that wait for different times each go on in their own time, and none of them is
/// forgotten.
#[test]
fn each_throttled_client_goes_on_in_its_own_time() {
    let mut world = World::new(Config::default().session_rate(RateLimit::NONE.events(10, 5)));
    let mut links = Vec::new();
    for _ in 0..3 {
        let link = world.join();
        world.deliveries.clear();
        let events: Vec<u8> = (0..10)
            .flat_map(|number| text(&format!(r#"42["n",{number}]"#)))
            .collect();
        world.send(link, &events);
        links.push((link, world.last_socket()));
        world.pass(30);
    }
    let mut heard = vec![5; 3];
    world.deliveries.clear();
    for _ in 0..60 {
        world.pass(10);
        for delivery in world.deliveries.drain(..) {
            if let Delivery::Event { socket, args, .. } = delivery {
                let at = links.iter().position(|(_, its)| *its == socket).unwrap();
                assert_eq!(args.json, heard[at].to_string());
                heard[at] += 1;
            }
        }
        let [first, .., last] = heard[..] else { panic!() };
        assert!(first - last <= 1, "{heard:?}");
    }
    assert_eq!(heard, [10; 3]);
    assert!(links.iter().all(|(link, _)| world.server.wants_bytes(*link)));
}

/// A client that may not send more still gets what is sent to it.
#[test]
fn a_throttled_client_is_answered_its_polls() {
    let limit = RateLimit::NONE.events(1, 1);
    let mut story = Story::new("4.x polling", Config::default().session_rate(limit));
    let post = story.send(0..20);
    assert!(story.is_throttled(post));
    let Way::Post(target) = &story.way else { panic!() };
    let socket = story.world.last_socket();
    story.world.emit(socket, "news", "1").unwrap();
    assert_eq!(story.world.reply(&get(target)).text(), "42[\"news\",1]");
}

/// The packets of a POST are read once, however many parts they come in, also if the request names
/// another form than its session has.
#[test]
fn a_post_in_parts_is_read_once() {
    let limit = RateLimit::NONE.events(10, 5);
    let mut story = Story::new("4.x polling", Config::default().session_rate(limit));
    if let Way::Post(target) = &mut story.way {
        target.push_str("&j=0");
    }
    let link = story.send(0..15);
    assert_eq!(story.came(), numbers(0..5), "the burst");
    story.world.pass(2_000);
    assert_eq!(story.came(), numbers(5..15));
    assert!(story.world.received(link).starts_with("HTTP/1.1 200"));
}

/// A POST that names another form than its session has is decoded under the lock of the shard, and
/// nobody has counted its packets before. So it may have 256, and its session ends if it has more.
#[test]
fn a_post_in_another_form_has_few_packets() {
    for (count, status, sessions) in [(256, "HTTP/1.1 200", 1), (257, "HTTP/1.1 200", 0)] {
        let mut story = Story::new("4.x polling", Config::default());
        if let Way::Post(target) = &mut story.way {
            target.push_str("&j=0");
        }
        let link = story.send(0..count);
        assert_eq!(story.came(), numbers(0..256), "{count}");
        assert!(story.world.received(link).starts_with(status), "{count}");
        assert_eq!(story.world.sessions(), sessions, "{count}");
    }
}

/// A POST that is refused is answered once, and its packets are nobody's.
#[test]
fn a_post_that_is_refused_is_answered_once() {
    let limit = RateLimit::NONE.events(10, 5);
    let mut story = Story::new("4.x polling", Config::default().session_rate(limit));
    let Way::Post(target) = &story.way else { panic!() };
    // The head of a POST, and then a second one beside it.
    let first = story.world.open();
    let request = post(target, "4");
    story.world.send(first, &request[..request.len() - 1]);
    let link = story.send(0..15);
    let answer = story.world.received(link);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!((story.came(), story.world.sessions()), (vec![], 0));
}

/// A client that has used up its tokens posts again: the POST waits before its first packet.
fn with_a_waiting_post() -> (Story, LinkId) {
    let limit = RateLimit::NONE.events(10, 5);
    let mut story = Story::new("4.x polling", Config::default().session_rate(limit));
    story.send(0..5);
    assert_eq!(story.came(), numbers(0..5), "the burst");
    let link = story.send(5..10);
    assert!(story.is_throttled(link));
    assert_eq!(story.came(), numbers(0..0));
    (story, link)
}

#[test]
fn an_upgrade_waits_for_a_post_that_waits() {
    let (mut story, post) = with_a_waiting_post();
    let Way::Post(target) = &story.way else { panic!() };
    let websocket = story.world.open();
    let target = target.replace("transport=polling", "transport=websocket");
    story.world.send(websocket, &upgrade(&target));
    story.world.send(websocket, &text("2probe"));
    story.world.send(websocket, &text("5"));
    story.world.send(websocket, &text(r#"42["n",10]"#));
    assert_eq!(story.came(), numbers(0..0), "nothing overtakes the POST");
    story.world.pass(2_000);
    assert!(story.world.received(post).starts_with("HTTP/1.1 200"));
    assert_eq!(story.came(), numbers(5..11));
    assert_eq!(story.world.sessions(), 1);
}

#[test]
fn a_second_post_beside_one_that_waits_breaks_the_protocol() {
    let (mut story, first) = with_a_waiting_post();
    let second = story.send(10..15);
    let answer = story.world.received(second);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(story.world.ended.contains(&first));
    story.world.pass(5_000);
    assert_eq!((story.came(), story.world.sessions()), (vec![], 0));
    assert_eq!(
        story.world.breaches,
        ["transport, ends: a second POST while the body of another is coming"]
    );
}

/// The packets of a POST are lost with its connection. So the session ends, as it does when some of
/// them have come.
#[test]
fn the_end_of_a_post_that_waits_ends_its_session() {
    let (mut story, post) = with_a_waiting_post();
    story.world.cut(post, sio_proto::server::Cause::Failed);
    assert_eq!(story.world.sessions(), 0);
}

/// A POST that waits is the same one as the one whose head came first.
#[test]
fn a_post_in_pieces_may_wait() {
    let (mut story, link) = with_a_waiting_post();
    story.world.pass(500);
    assert_eq!(story.came(), numbers(5..10));
    assert!(story.world.received(link).starts_with("HTTP/1.1 200"));
    let Way::Post(target) = &story.way else { panic!() };
    let request = post(target, r#"42["n",10]"#);
    let (head, rest) = request.split_at(request.len() - 5);
    let link = story.world.open();
    story.world.send(link, head);
    story.world.send(link, rest);
    assert!(story.is_throttled(link));
    story.world.pass(500);
    assert_eq!(story.came(), [10]);
    assert!(story.world.received(link).starts_with("HTTP/1.1 200"));
}

/// A client that has joined `/room`, with a limit for each socket, and its link.
fn in_a_room(limit: RateLimit) -> (World, LinkId) {
    let mut config = Config::default().socket_rate(limit);
    config.max_namespaces_per_session = 3;
    let mut world = World::new(config);
    let link = world.open();
    world.send(link, WEBSOCKET);
    world.send(link, &text("40/room,"));
    world.heard();
    (world, link)
}

/// The client sends these packets at once. Returns how many events come of them.
fn events_of(world: &mut World, link: LinkId, packets: &[&str]) -> usize {
    let sent: Vec<u8> = packets.iter().flat_map(|packet| text(packet)).collect();
    world.send(link, &sent);
    let heard = world.heard();
    heard.iter().filter(|line| line.starts_with("event")).count()
}

const LEAVE_AND_JOIN: [&str; 2] = ["41/room,", "40/room,"];
const EVENT: &str = r#"42/room,["n"]"#;

/// Who leaves a namespace and joins it again has the tokens that it had there.
#[test]
fn leaving_a_namespace_brings_no_tokens() {
    let (mut world, link) = in_a_room(RateLimit::NONE.events(10, 5));
    assert_eq!(events_of(&mut world, link, &[EVENT; 4]), 4);
    for _ in 0..5 {
        assert_eq!(events_of(&mut world, link, &LEAVE_AND_JOIN), 0);
    }
    assert_eq!(events_of(&mut world, link, &[EVENT; 4]), 1);
    assert!(!world.server.wants_bytes(link));
    world.pass(1_000);
    assert_eq!(world.heard().len(), 3, "it goes on at its rate");
    // The server may also be the one that ends the socket.
    let socket = world.last_socket();
    world.disconnect(socket, false);
    world.heard();
    assert_eq!(events_of(&mut world, link, &["40/room,"]), 0);
    world.pass(10_000);
    assert_eq!(events_of(&mut world, link, &LEAVE_AND_JOIN), 0);
    assert_eq!(
        events_of(&mut world, link, &[EVENT; 6]),
        5,
        "all tokens are there again"
    );
}

#[test]
fn leaving_a_namespace_is_no_way_around_its_end() {
    let (mut world, link) = in_a_room(RateLimit::NONE.events(10, 5).excess(Excess::Disconnect));
    assert_eq!(events_of(&mut world, link, &[EVENT; 5]), 5);
    assert_eq!(events_of(&mut world, link, &LEAVE_AND_JOIN), 0);
    assert_eq!(events_of(&mut world, link, &[EVENT]), 0);
    assert_eq!(world.breaches, ["rate, ends: the client sends faster than it may"]);
}

/// What is kept of namespaces that a client has left has a limit: each counts as one in which the
/// client is, until all of its tokens are there again.
#[test]
fn a_namespace_that_was_left_counts_until_its_tokens_are_there() {
    let (mut world, link) = in_a_room(RateLimit::NONE.events(10, 5));
    for name in ["/a", "/b"] {
        assert_eq!(events_of(&mut world, link, &[&format!("40{name},")]), 0);
        let packets = [format!(r#"42{name},["n"]"#), format!("41{name},")];
        assert_eq!(events_of(&mut world, link, &packets.each_ref().map(String::as_str)), 1);
    }
    world.frames(link);
    assert_eq!(events_of(&mut world, link, &["40/c,"]), 0);
    assert_eq!(world.frames(link), [r#"44/c,{"message":"Too many namespaces"}"#]);
    // A namespace that it has left does not count beside itself, and no namespace counts for ever.
    assert_eq!(events_of(&mut world, link, &["40/a,"]), 0);
    assert_eq!(events_of(&mut world, link, &[r#"42/a,["n"]"#, "41/a,"]), 1);
    world.pass(1_000);
    assert_eq!(events_of(&mut world, link, &["40/c,"]), 0);
    assert_eq!(events_of(&mut world, link, &[r#"42/c,["n"]"#]), 1);
}

/// A namespace that a client has left, and asks for again, counts once.
#[test]
fn a_namespace_that_is_asked_for_again_counts_once() {
    let (mut world, link) = in_a_room(RateLimit::NONE.events(10, 5));
    assert_eq!(events_of(&mut world, link, &[EVENT, "41/room,"]), 1);
    world.frames(link);
    world.accepts = false;
    assert_eq!(events_of(&mut world, link, &["40/room,", "40/a,", "40/b,"]), 0);
    assert_eq!(world.frames(link), [""; 0], "nobody is refused");
    assert_eq!(events_of(&mut world, link, &["40/c,"]), 0);
    assert_eq!(world.frames(link), [r#"44/c,{"message":"Too many namespaces"}"#]);
}

/// What is kept of limits counts among the bytes that sessions keep, when a socket is let in.
#[test]
fn the_meters_of_namespaces_count_as_kept() {
    let mut config = Config::default().socket_rate(RateLimit::NONE.events(10, 5));
    config.max_kept_bytes = 20_000;
    let mut world = World::new(config);
    let link = world.open();
    world.send(link, WEBSOCKET);
    let mut joined = 0;
    while world.sessions() > 0 {
        joined += 1;
        world.send(link, &text(&format!("40/{joined:0120},")));
        assert!(joined < 32, "it ends");
    }
    // More than 4 KiB.
    assert!(joined > 10, "{joined}");
    let why = "more is kept of what the client has sent than its address has room for";
    assert_eq!(world.breaches, [format!("limit, ends: {why}")]);
    let last = world.heard().pop();
    assert_eq!(last.as_deref(), Some("disconnect forced close"));
}

/// A packet that makes a whole POST a bad one does not hurry those before it.
#[test]
fn a_bad_post_is_throttled_too() {
    let mut config = Config::default().session_rate(RateLimit::NONE.events(10, 5));
    config.legacy06 = config.legacy06.mount("/streaming", sio_proto::codec::Streaming);
    let mut world = World::new(config);
    let answer = world.ask(&get("/streaming/xhr-polling//1"));
    let id = body(&answer).strip_prefix("3:39:").unwrap().trim_end_matches(',');
    let target = format!("/streaming/xhr-polling/{id}/send");
    world.heard();
    let link = world.open();
    let form = format!("data={}x:", "1:2::a,".repeat(20));
    world.send(
        link,
        &older::post_bytes(&target, "application/x-www-form-urlencoded", form.as_bytes()),
    );
    assert_eq!(world.heard().len(), 5, "the burst");
    assert_eq!(world.received(link), "");
    world.pass(1_000);
    assert_eq!(world.heard().len(), 10);
    world.pass(1_000);
    assert!(world.received(link).starts_with("HTTP/1.1 400"));
    let heard = world.heard();
    assert_eq!(heard.len(), 6, "{heard:?}");
    assert_eq!((heard[5].as_str(), world.sessions()), ("disconnect parse error", 0));
}

/// Each packet that comes counts once, however many parts its POST comes in.
#[test]
fn the_packets_of_a_post_in_parts_are_counted_once() {
    for generation in ["4.x polling", "2.x polling", "0.9 polling", "0.6 polling"] {
        let limit = RateLimit::NONE.events(10, 5);
        let mut story = Story::new(generation, Config::default().session_rate(limit));
        let count = |story: &mut Story| story.world.shard(|shard, _| shard.counters().packets_in);
        let before = count(&mut story);
        story.send(0..20);
        story.world.pass(5_000);
        assert_eq!(story.came(), numbers(0..20), "{generation}");
        assert_eq!(count(&mut story) - before, 20, "{generation}");
    }
}
