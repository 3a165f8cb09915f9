//! What differs between the wires of a client: Engine.IO 3, 0.9, 0.6 and the streaming codec
//! against servers that are written out.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::emit;
use client::script::{OPEN, Script};
use sio_proto::LinkId;
use sio_proto::client::{ClientConfig, Generation, TimeoutReason, Transport};

const POLLING: &[Transport] = &[Transport::Polling];
const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
const BOTH: &[Transport] = &[Transport::Polling, Transport::WebSocket];

fn config(generation: Generation, transports: &[Transport]) -> ClientConfig {
    ClientConfig::default()
        .generation(generation)
        .transports(transports.to_vec())
}

/// A client of Engine.IO 3 on a websocket. The server has said nothing of `/` yet.
fn two() -> (Script, LinkId) {
    let mut script = Script::new(config(Generation::Two, WEBSOCKET));
    let link = script.opened();
    (script, link)
}

/// A client of 0.9 on a websocket.
fn nine(config: ClientConfig) -> (Script, LinkId) {
    let mut script = Script::new(config);
    script.answer(200, "", "s1:15:25:websocket,xhr-polling");
    let link = script.upgrade();
    script.tell(link, "1::");
    assert!(script.has("connect New"), "{:?}", script.log);
    (script, link)
}

fn told(script: &mut Script) -> Vec<String> {
    std::mem::take(&mut script.messages)
}

/// On Engine.IO 3 the server connects `/` by itself, once in each session. A client that was
/// refused there asks again, and one that does not want `/` says so.
#[test]
fn the_server_of_engine_io_3_connects_the_root_itself() {
    let (mut script, mut link) = two();
    for _ in 0..2 {
        script.tell(link, "40");
        assert!(script.client.is_connected(script.socket));
        assert_eq!(told(&mut script), [""; 0], "nothing is asked");
        script.cut(link);
        link = script.opened();
    }
    script.tell(link, "40");
    let chat = script.join("/chat");
    assert_eq!(told(&mut script), ["40/chat,"]);
    script.tell(link, "40/chat,");
    assert_eq!(script.sids.last().unwrap(), "/chat#s");
    assert_eq!(script.sids[0], "s");
    assert!(script.client.is_connected(chat));

    let (mut script, link) = two();
    script.join("/chat");
    script.tell(link, "40/chat,");
    told(&mut script);
    script.tell(link, "44\"no\"");
    assert_eq!(&*script.errors[0].message, "no");
    script.client.connect(script.now, script.socket).unwrap();
    script.drain();
    assert_eq!(told(&mut script), ["40"]);
    script.tell(link, "40");
    assert!(script.client.is_connected(script.socket));

    // The user has left `/` before it was connected.
    let mut script = Script::new(config(Generation::Two, WEBSOCKET));
    script.join("/chat");
    script.leave(script.socket);
    let link = script.opened();
    script.tell(link, "40");
    assert_eq!(told(&mut script), ["40/chat,", "41"]);
    script.tell(link, "40");
    assert_eq!(told(&mut script), [""; 0], "once");
    assert!(!script.client.is_connected(script.socket));
}

/// What a refusal says, to the user of each generation.
#[test]
fn refusals_say_why_on_each_wire() {
    for (generation, payload, message, data) in [
        (Generation::Four, "{\"message\":\"no\"}", "no", None),
        (
            Generation::Four,
            "{\"message\":\"no\",\"data\":{\"code\":1}}",
            "no",
            Some("{\"code\":1}"),
        ),
        (Generation::Four, "{\"code\":1}", "", None),
        (Generation::Two, "\"no\"", "no", Some("\"no\"")),
        (
            Generation::Two,
            "{\"message\":\"no\",\"code\":1}",
            "no",
            Some("{\"message\":\"no\",\"code\":1}"),
        ),
        (Generation::Two, "7", "", Some("7")),
    ] {
        let mut script = Script::new(config(generation, WEBSOCKET));
        let link = script.opened();
        script.tell(link, &format!("44{payload}"));
        let error = &script.errors[0];
        assert_eq!(
            (&*error.message, error.data.as_deref()),
            (message, data),
            "{generation:?} {payload}"
        );
    }
}

/// On Engine.IO 3 the client sends the ping, after the interval, and the pong has its time. Only a
/// pong brings the next ping. On Engine.IO 4 it is the other way round.
#[test]
fn pings_come_from_one_side() {
    let (mut script, link) = two();
    script.tell(link, "40");
    script.pass(24_000);
    script.tell(link, "42[\"n\"]");
    assert_eq!(told(&mut script), [""; 0]);
    assert_eq!(script.client.next_timeout_reason().unwrap().1, TimeoutReason::Ping);
    script.pass(1000);
    assert_eq!(told(&mut script), ["2"]);
    script.pass(1000);
    assert_eq!(told(&mut script), [""; 0], "one is enough");
    script.tell(link, "3");
    script.tell(link, "2");
    assert_eq!(told(&mut script), [""; 0], "a client does not answer a ping here");
    script.pass(25_000);
    assert_eq!(told(&mut script), ["2"]);
    // Something else than the pong keeps the session, too.
    script.tell(link, "42[\"n\"]");
    script.pass(44_999);
    assert!(!script.has("Lost"), "{:?}", script.log);
    script.pass(1);
    assert!(script.has("Lost(PingTimeout)"), "{:?}", script.log);

    // The pong is awaited from the ping on, whatever came shortly before.
    let (mut script, link) = two();
    script.tell(link, "40");
    script.pass(24_999);
    script.tell(link, "42[\"n\"]");
    script.pass(1);
    script.pass(19_999);
    assert!(!script.has("Lost"), "{:?}", script.log);
    script.pass(1);
    assert!(script.has("Lost(PingTimeout)"), "{:?}", script.log);

    let mut script = Script::websocket();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    told(&mut script);
    script.tell(link, "3");
    script.pass(44_999);
    assert_eq!(told(&mut script), [""; 0], "a pong of nobody's ping brings no ping");
}

/// A heartbeat before 1.0 is sent back on either transport, as it came. A long one is not.
#[test]
fn heartbeats_before_1_0_are_sent_back_by_post() {
    let (mut script, link) = nine(config(Generation::V0_9, WEBSOCKET));
    script.tell(link, "2::");
    assert_eq!(told(&mut script), ["2::"]);

    let mut script = Script::new(config(Generation::V0_9, POLLING));
    script.answer(200, "", "s1:15:25:xhr-polling");
    script.answer(200, "", "1::");
    script.answer(200, "", "2::");
    let (_, post) = script.last("POST ");
    assert!(post.starts_with("POST /socket.io/1/xhr-polling/s1?t="), "{post}");
    assert!(post.ends_with("\r\n\r\n2::"), "{post}");
    assert!(
        post.contains("\r\nContent-Type: text/plain;charset=UTF-8\r\n"),
        "{post}"
    );

    let mut script = Script::new(config(Generation::V0_6, POLLING));
    script.answer(200, "", "~m~2~m~s1");
    let longest = format!("~m~259~m~~h~{}", "7".repeat(256));
    script.answer(200, "", &longest);
    let (link, post) = script.last("POST ");
    assert!(post.ends_with(&format!("\r\n\r\ndata={longest}")), "{post}");
    assert!(
        post.contains("\r\nContent-Type: application/x-www-form-urlencoded; charset=utf-8\r\n"),
        "{post}"
    );
    script.answer_on(link, 200, "", "ok");
    let get = script.last("GET ").0;
    script.answer_on(get, 200, "", &format!("~m~260~m~~h~{}", "7".repeat(257)));
    assert_eq!(script.count("POST "), 1);
    assert!(!script.has("Lost"), "{:?}", script.log);
    // The number in a target keeps caches away.
    let targets: Vec<_> = script
        .requests
        .iter()
        .filter(|(_, text)| text.starts_with("GET "))
        .collect();
    let first = |text: &str| text.lines().next().unwrap().to_owned();
    assert_eq!(targets.len(), 4);
    assert_ne!(first(&targets[2].1), first(&targets[3].1));
}

/// Nothing is sent back behind the goodbye, also if it has waited for a server that does not read.
#[test]
fn a_goodbye_before_1_0_is_the_last_word() {
    for (generation, hello, beat, goodbye) in [
        (Generation::V0_9, "1::", "2::", "0::"),
        (Generation::V0_6, "~m~2~m~s1", "~m~4~m~~h~7", ""),
        (Generation::Streaming, "3:2:s1,", "2:1:7,", "0:0:,"),
    ] {
        let mut script = Script::new(config(generation, WEBSOCKET));
        if generation == Generation::V0_9 {
            script.answer(200, "", "s1:15:25:websocket");
        }
        let link = script.upgrade();
        script.tell(link, hello);
        assert!(script.has("connect New"), "{generation:?}: {:?}", script.log);
        script.client.handle_blocked(script.now, link);
        script.tell(link, beat);
        told(&mut script);
        script.client.close(script.now);
        script.drain();
        // The last one is the empty Close.
        let expected: Vec<&str> = [goodbye, ""]
            .into_iter()
            .filter(|text| !text.is_empty())
            .chain([""])
            .collect();
        assert_eq!(told(&mut script), expected, "{generation:?}");
        script.client.handle_drained(script.now, link);
        script.tell(link, beat);
        assert_eq!(told(&mut script), [""; 0], "{generation:?}");
        script.say(link, &[0x88, 0x00]);
        assert_eq!(script.log.last().unwrap(), "Stopped(Closed)");
    }
}

/// A namespace of 0.9 is left with its own goodbye. That of `/` would end the session.
#[test]
fn namespaces_of_0_9_are_left() {
    let (mut script, link) = nine(config(Generation::V0_9, WEBSOCKET));
    let chat = script.join("/chat");
    script.tell(link, "1::/chat");
    assert!(script.client.is_connected(chat));
    told(&mut script);
    script.leave(script.socket);
    assert_eq!(told(&mut script), [""; 0]);
    script.client.connect(script.now, script.socket).unwrap();
    script.drain();
    assert!(
        script.client.is_connected(script.socket),
        "as long as the session is open"
    );
    script.leave(chat);
    assert_eq!(told(&mut script), ["0::/chat"]);
    // A second `1::` opens nothing.
    script.news();
    script.tell(link, "1::");
    assert_eq!(script.news(), [""; 0]);
    // The longest name of an event, and one more byte.
    for (bytes, events) in [(1024, 1), (1025, 1)] {
        script.tell(link, &format!("5:::{{\"name\":\"{}\"}}", "n".repeat(bytes)));
        assert_eq!(script.events.len(), events, "{bytes}");
    }
}

/// The acknowledgements that the client gives by itself are limited while the server does not read,
/// and not over a long life.
#[test]
fn acknowledgements_of_messages_are_limited_while_they_wait() {
    let (mut script, link) = nine(config(Generation::V0_9, WEBSOCKET).max_answer_bytes(56usize));
    for number in 0..20 {
        script.tell(link, &format!("3:{number}::hi"));
    }
    assert_eq!(told(&mut script).len(), 20);
    assert!(!script.has("Lost"), "{:?}", script.log);
    // `6:::21` has six bytes, and its end is one more: eight of them fit.
    script.client.handle_blocked(script.now, link);
    for number in 21..29 {
        script.tell(link, &format!("3:{number}::hi"));
    }
    assert!(!script.has("Lost"), "{:?}", script.log);
    script.tell(link, "3:30::hi");
    assert!(script.has("Lost(ParseError)"), "{:?}", script.log);
}

/// One answer to a poll may ask for very many acknowledgements: the server can read none of them
/// before it has written its answer. All of them leave, with what the user says meanwhile.
#[test]
fn one_answer_asks_for_many_acknowledgements() {
    const MESSAGES: usize = 9_000;
    let mut script = Script::new(config(Generation::V0_9, POLLING));
    script.answer(200, "", "s1:15:25:xhr-polling");
    script.answer(200, "", "1::");
    let packets = (1..=MESSAGES).map(|number| format!("3:{number}::x"));
    let body: String = packets
        .map(|packet| format!("\u{fffd}{}\u{fffd}{packet}", packet.len()))
        .collect();
    let (link, _) = script.last("GET ");
    script.answer_on(link, 200, "", &body);
    assert!(!script.has("Lost"), "{:?}", script.log);
    assert_eq!(script.events.len(), MESSAGES);
    script.emit(script.socket, emit("e", "1")).unwrap();

    let (link, first) = script.last("POST ");
    assert!(first.ends_with("\r\n\r\n6:::1"), "{first}");
    script.answer_on(link, 200, "", "1");
    assert_eq!(script.count("POST "), 2);
    let (link, second) = script.last("POST ");
    let (_, body) = second.split_once("\r\n\r\n").unwrap();
    let told: Vec<&str> = body.split('\u{fffd}').skip(2).step_by(2).collect();
    let receipts: Vec<String> = (2..=MESSAGES).map(|number| format!("6:::{number}")).collect();
    assert_eq!(told, receipts);
    script.answer_on(link, 200, "", "1");
    let (_, third) = script.last("POST ");
    assert!(third.contains("5:::{"), "{third}");
    assert_eq!(script.count("POST "), 3);
}

/// How long a server may be silent: on 0.9 it says so, and on 0.6 the client knows.
#[test]
fn silence_before_1_0_has_its_time() {
    let (mut script, link) = nine(config(Generation::V0_9, WEBSOCKET));
    script.pass(5000);
    script.tell(link, "2::");
    script.pass(14_999);
    assert!(!script.has("Lost"), "{:?}", script.log);
    script.pass(1);
    assert!(script.has("Lost(PingTimeout)"), "{:?}", script.log);

    // Also right behind a resumption, which brings no payload.
    let mut script = Script::new(config(Generation::V0_6, WEBSOCKET).connect_timeout(Duration::from_secs(60)));
    let link = script.upgrade();
    script.tell(link, "~m~2~m~s1");
    script.close(link);
    script.pass(1000);
    let link = script.upgrade();
    assert!(script.has("connect Recovered"), "{:?}", script.log);
    script.pass(14_999);
    assert_eq!(script.open, [link]);
    script.pass(1);
    assert_eq!(script.open, []);
}

/// On wires without upgrades, websocket is tried first, for `upgrade_timeout`. Polling that has
/// taken its place is remembered, and a websocket that opened is remembered as that.
#[test]
fn websocket_first_has_its_time_and_is_remembered() {
    let both = || config(Generation::V0_6, BOTH);
    let mut script = Script::new(both());
    assert!(script.requests[0].1.starts_with("GET /socket.io/websocket "));
    script.pass(9999);
    assert_eq!(script.requests.len(), 1);
    script.pass(1);
    assert!(script.requests[1].1.starts_with("GET /socket.io/xhr-polling//"));
    script.answer(200, "", "~m~2~m~s1");
    assert!(script.has("transport: Polling"), "{:?}", script.log);
    let asked = script.count("Upgrade: websocket");
    for link in script.open.clone() {
        script.close(link);
    }
    script.pass(1000);
    assert_eq!(
        script.count("Upgrade: websocket"),
        asked,
        "it is not tried again so soon"
    );
    // A sleep may have led to another network.
    script.client.handle_clock_jump(script.now, Duration::from_secs(60));
    script.drain();
    assert_eq!(script.count("Upgrade: websocket"), asked + 1);

    let (mut script, link) = nine(config(Generation::V0_9, BOTH));
    for _ in 0..5 {
        script.pass(3000);
        script.tell(link, "2::");
    }
    script.pass(14_000);
    assert!(!script.has("Lost") && script.open.contains(&link), "{:?}", script.log);
    script.cut(link);
    script.answer(200, "", "s2:15:25:websocket,xhr-polling");
    assert_eq!(script.count("GET /socket.io/1/websocket/"), 2, "{:?}", script.requests);

    // The server takes no websocket on this session, and says so on it.
    let mut script = Script::new(config(Generation::V0_9, BOTH));
    script.answer(200, "", "s1:15:25:websocket,xhr-polling");
    let link = script.upgrade();
    script.tell(link, "7:::0");
    assert_eq!(
        script.count("xhr-polling/s1?t="),
        1,
        "{:?} {:?}",
        script.requests,
        script.log
    );
    // Or offers none.
    let mut script = Script::new(config(Generation::V0_9, BOTH));
    script.answer(200, "", "s1:15:25:xhr-polling");
    script.answer(200, "", "1::");
    assert!(script.has("transport: Polling"), "{:?}", script.log);
}

/// Another transport is tried only in these cases, and not after a failed handshake of 0.9, without
/// `upgrade`, or on Engine.IO.
#[test]
fn nothing_else_falls_back() {
    let websocket_first = &[Transport::WebSocket, Transport::Polling];
    for (config, requests) in [
        (config(Generation::V0_9, BOTH), 1),
        (config(Generation::V0_9, websocket_first), 1),
        (config(Generation::V0_6, BOTH).upgrade(false), 1),
        (config(Generation::V0_6, websocket_first).upgrade(false), 1),
        (config(Generation::V0_6, websocket_first), 2),
        (config(Generation::Two, BOTH), 1),
        (config(Generation::Four, websocket_first), 1),
        (config(Generation::Four, websocket_first).try_all_transports(true), 2),
        (config(Generation::Four, BOTH).try_all_transports(true), 2),
    ] {
        let words = format!("{:?} {:?} {}", config.generation, config.transports, config.upgrade);
        let mut script = Script::new(config);
        script.answer(503, "", "");
        assert_eq!(script.requests.len(), requests, "{words}: {:?}", script.log);
        assert_eq!(script.has("Failed"), requests == 1, "{words}: {:?}", script.log);
    }
    // A refusal is not got round, and an open session does not change its transport by itself.
    let all = config(Generation::Four, BOTH).try_all_transports(true);
    let mut script = Script::new(all.clone());
    script.answer(401, "", "");
    assert_eq!(script.requests.len(), 1, "{:?}", script.log);
    let mut script = Script::new(all);
    script.answer(200, "", OPEN);
    let get = script.last("GET ").0;
    script.answer_on(get, 503, "", "");
    assert!(script.has("Lost(TransportError)"), "{:?}", script.log);
    assert_eq!(script.count("transport=websocket"), 0);
}

/// The first packet of the streaming codec is the id of the session. Another one changes nothing.
#[test]
fn a_session_has_one_id() {
    let mut script = Script::new(config(Generation::Streaming, POLLING));
    script.answer(200, "", "3:2:s1,");
    script.answer(200, "", "3:2:s2,");
    let (_, request) = script.last("GET ");
    assert!(request.starts_with("GET /socket.io/xhr-polling/s1/"), "{request}");
    assert_eq!(script.log.iter().filter(|line| line.starts_with("connect")).count(), 1);
    // The longest id, and one more byte.
    for (bytes, is_good) in [(256, true), (257, false)] {
        let mut script = Script::new(config(Generation::V0_6, WEBSOCKET));
        let link = script.upgrade();
        script.tell(link, &format!("~m~{bytes}~m~{}", "s".repeat(bytes)));
        assert_eq!(script.has("connect New"), is_good, "{bytes}: {:?}", script.log);
    }
}

/// A session is gone back to after a loss, and never after a goodbye or a stop.
#[test]
fn a_session_that_was_ended_is_not_resumed() {
    let mut script = Script::new(config(Generation::V0_6, WEBSOCKET));
    let link = script.upgrade();
    script.tell(link, "~m~2~m~s1");
    script.cut(link);
    assert!(script.last("GET ").1.starts_with("GET /socket.io/websocket/s1 "));
    let link = script.upgrade();
    assert!(script.has("connect Recovered"), "{:?}", script.log);
    // The user comes back during the goodbye.
    script.leave(script.socket);
    script.client.connect(script.now, script.socket).unwrap();
    script.drain();
    script.say(link, &[0x88, 0x00]);
    assert!(
        script.last("GET ").1.starts_with("GET /socket.io/websocket "),
        "{:?}",
        script.requests
    );
    assert_eq!(script.requests.len(), 3);

    let mut script = Script::new(config(Generation::V0_6, WEBSOCKET).reconnection(false));
    let link = script.upgrade();
    script.tell(link, "~m~2~m~s1");
    script.cut(link);
    assert_eq!(script.log.last().unwrap(), "Stopped(ReconnectionOff)");
    script.client.connect(script.now, script.socket).unwrap();
    script.drain();
    assert!(
        script.last("GET ").1.starts_with("GET /socket.io/websocket "),
        "{:?}",
        script.requests
    );

    // The server does not know it, and the new one fails: it is not asked for again.
    let mut script = Script::new(config(Generation::V0_6, WEBSOCKET));
    let link = script.upgrade();
    script.tell(link, "~m~2~m~s1");
    script.cut(link);
    script.answer(400, "", "");
    assert_eq!(script.count("websocket/s1 "), 1);
    let link = script.last("GET ").0;
    script.cut(link);
    assert_eq!(
        (script.requests.len(), script.count("websocket/s1 ")),
        (4, 1),
        "{:?}",
        script.requests
    );
    script.emit(script.socket, emit("message", "\"x\"")).unwrap();
}

/// An order of packets that a genuine server of Engine.IO 3 has: the query of a namespace comes
/// back with it.
#[test]
fn a_namespace_of_engine_io_3_may_come_back_with_its_query() {
    let (mut script, link) = two();
    let chat = script.client.socket("/chat").unwrap();
    script.client.set_auth(chat, Some("{\"t\":1}".into())).unwrap();
    script.join("/chat");
    assert_eq!(told(&mut script), ["40/chat?t=1,"]);
    script.tell(link, "40");
    script.tell(link, "40/chat?t=1,");
    assert!(script.client.is_connected(chat), "{:?}", script.log);
}

/// docs/protocol/engine-io.md §3.3: what one poll has shown about the encoding of text holds for
/// the polls behind it.
#[test]
fn the_dialect_of_one_poll_is_that_of_the_next() {
    let text = |packet: &str| format!("{}:{packet}", packet.encode_utf16().count()).into_bytes();
    let binary = |packet: &str| {
        let digits = packet.len().to_string().bytes().map(|digit| digit - b'0').collect();
        [vec![0], digits, vec![255], packet.as_bytes().to_vec()].concat()
    };
    type Encode<'a> = &'a dyn Fn(&str) -> Vec<u8>;
    let ways: [(&str, Encode<'_>); 2] = [
        ("text/plain; charset=UTF-8", &text),
        ("application/octet-stream", &binary),
    ];
    for (kind, encode) in ways {
        // The first text says that it was encoded once, or twice, or nothing.
        for (first, heard) in [("€", ["m \"€\"", "m \"Ã©\""]), ("e", ["m \"e\"", "m \"é\""])] {
            let mut script = Script::new(config(Generation::Two, POLLING));
            script.answer(200, "", &format!("{}:{OPEN}", OPEN.len()));
            for packet in [
                "40".to_owned(),
                format!("42[\"m\",\"{first}\"]"),
                "42[\"m\",\"Ã©\"]".to_owned(),
            ] {
                let body = encode(&packet);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let (link, _) = script.last("GET ");
                script.say(link, &[head.as_bytes(), &body].concat());
            }
            assert_eq!(script.events, heard, "{kind}: {:?}", script.log);
        }
    }
}

/// A client that looks for the generation of a server has found it with the handshake of 0.9: the
/// server that refuses the websocket behind it is asked again later, as one of 0.9.
#[test]
fn a_refused_websocket_of_0_9_is_no_other_generation() {
    let mut script = Script::new(config(Generation::Auto, WEBSOCKET));
    for _ in 0..2 {
        script.answer(400, "", "");
    }
    // The second attempt begins with what the first has found.
    for attempt in 1..=2 {
        assert!(script.requests.last().unwrap().1.starts_with("GET /socket.io/1/?t="));
        script.answer(200, "", "s1:15:25:websocket");
        assert_eq!(script.count("websocket/s1"), attempt);
        script.answer(400, "", "");
        assert!(script.log.last().unwrap().contains("Waiting"), "{:?}", script.log);
        script.pass(10_000);
    }
}
