//! A client and servers of the generations before Engine.IO that are written out: what a hostile or
//! broken one can do.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::script::Script;
use sio_proto::LinkId;
use sio_proto::client::{ClientConfig, Generation, Transport};

const WEBSOCKET: Transport = Transport::WebSocket;
const POLLING: Transport = Transport::Polling;

fn config(generation: Generation, transport: Transport) -> ClientConfig {
    ClientConfig::default()
        .generation(generation)
        .transports(vec![transport])
}

/// The first payload of a server, with the session id `s1`.
fn hello(generation: Generation) -> &'static str {
    match generation {
        Generation::V0_9 => "1::",
        Generation::V0_6 => "~m~2~m~s1",
        _ => "3:2:s1,",
    }
}

/// A message of the server with this text, which is short and ASCII.
fn message(generation: Generation, text: &str) -> String {
    let length = text.len();
    match generation {
        Generation::V0_9 => format!("3:::{text}"),
        Generation::V0_6 => format!("~m~{length}~m~{text}"),
        _ => format!("1:{}::{text},", length + 1),
    }
}

/// A client whose websocket is open.
fn opened(config: ClientConfig) -> (Script, LinkId) {
    let generation = config.generation;
    let mut script = Script::new(config);
    if generation == Generation::V0_9 {
        script.answer(200, "", "s1:60:60:websocket,xhr-polling");
    }
    let link = script.upgrade();
    script.tell(link, hello(generation));
    assert!(script.has("connect New"), "{:?}", script.log);
    (script, link)
}

/// docs/protocol/legacy-0.9.md §13: what is no packet is left out, and the session lives.
#[test]
fn bad_packets_of_0_9_are_left_out() {
    let deep = format!("4:::{}{}", "[".repeat(200), "]".repeat(200));
    let deep_event = format!("5:::{{\"name\":\"n\",\"args\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let long_name = format!("5:::{{\"name\":\"{}\"}}", "n".repeat(100_000));
    let bad = [
        "",
        "garbage",
        "3",
        "0",
        "2",
        "::::",
        "9:::x",
        "xx3:::hi",
        ":3:::hi",
        "33:::hi",
        "3:x::hi",
        "3:-1::hi",
        "3:1++::hi",
        "5:::{bad",
        "5:::null",
        "5:::[]",
        "5:::{}",
        "5:::{\"name\":1}",
        "5:::{\"name\":\"connect\"}",
        "5:::{\"name\":\"disconnect\",\"args\":[1]}",
        "4:::{bad",
        "4:::",
        "6:::x",
        "6:::",
        "6:::99",
        "6:::0",
        "6:::1+{",
        "6:::1+{}",
        "6:::18446744073709551616",
        "3::/other:x",
        "5::/other:{\"name\":\"n\"}",
        "3::other:x",
        "1::/other",
        "0::/other",
        "7::/other:2",
        "7:::",
        "7:::0",
        "1::",
        "8::",
        "\u{fffd}",
        "\u{fffd}x\u{fffd}3:::a",
        "\u{fffd}-1\u{fffd}a",
        "\u{fffd}99\u{fffd}3:::a",
        "\u{fffd}99999999999\u{fffd}3:::a",
        &deep,
        &deep_event,
        &long_name,
    ];
    for text in bad {
        let (mut script, link) = opened(config(Generation::V0_9, WEBSOCKET));
        script.tell(link, text);
        script.tell(link, "3:::ok");
        let name: String = text.chars().take(60).collect();
        assert_eq!(script.events, ["message \"ok\""], "{name}");
        assert!(
            !script.has("Lost") && !script.has("disconnect"),
            "{name}: {:?}",
            script.log
        );
        let (mut script, _) = (Script::new(config(Generation::V0_9, POLLING)), ());
        script.answer(200, "", "s1:60:60:xhr-polling");
        script.answer(200, "", "1::");
        script.answer(200, "", text);
        script.answer(200, "", "3:::ok");
        assert_eq!(script.events, ["message \"ok\""], "{name}");
    }
}

/// docs/protocol/legacy-0.9.md §4.3.
#[test]
fn acknowledgements_of_0_9_have_odd_ids() {
    let (mut script, link) = opened(config(Generation::V0_9, WEBSOCKET));
    // An id that fits no number is acknowledged as text by the client, and by nobody later.
    script.tell(link, "3:99999999999999999999::a");
    assert_eq!(script.messages.last().unwrap(), "6:::99999999999999999999");
    script.tell(link, "5:99999999999999999999+::{\"name\":\"n\"}");
    assert!(script.events.len() == 2 && script.tickets.is_empty());
    // A genuine client never acknowledges an event without `+` by itself.
    let before = script.messages.len();
    script.tell(link, "5:7::{\"name\":\"n\"}");
    assert!(script.messages.len() == before && script.tickets.is_empty());
    script.tell(link, "5:7+::{\"name\":\"n\"}");
    let ticket = script.tickets.pop().unwrap();
    let none = sio_proto::ByteString::new().into();
    assert_eq!(script.client.answer(script.now, ticket, none), Ok(true));
    script.drain();
    assert_eq!(script.messages.last().unwrap(), "6:::7");
    script.tell(link, "4:8:/other:{}");
    assert_eq!(script.events.len(), 4);
}

#[test]
fn handshakes_of_0_9_are_checked() {
    let long = format!("{}:60:60:websocket", "s".repeat(300));
    let bad = [
        "",
        "x",
        "Welcome to socket.io.",
        ":60:60:websocket",
        "a/b:60:60:websocket",
        "a b:60:60:websocket",
        "s:x:60:websocket",
        "s:60:-1:websocket",
        "s:60:60",
        "s:60:60:htmlfile",
        &long,
    ];
    for body in bad {
        let mut script = Script::new(config(Generation::V0_9, WEBSOCKET));
        script.answer(200, "", body);
        assert!(script.has("class: Protocol"), "{body}: {:?}", script.log);
        assert!(script.open.is_empty(), "{body}");
    }
    // Times that a genuine client takes as "at once", and a list that it takes for all.
    for body in [
        "s:::websocket",
        "s:0:0:websocket",
        "s:4294967296:99999999999:websocket",
        "s:60:60:",
    ] {
        let mut script = Script::new(config(Generation::V0_9, WEBSOCKET));
        script.answer(200, "", body);
        if script.has("Failed") {
            continue; // a time with more digits than any number is no time
        }
        let link = script.upgrade();
        script.tell(link, "1::");
        script.pass(1000);
        assert!(
            !script.has("Lost") && script.has("connect New"),
            "{body}: {:?}",
            script.log
        );
    }
    for (status, body, class) in [
        (403, "handshake unauthorized", "Refused"),
        (500, "handshake error", "Unreachable"),
        (503, "", "Unreachable"),
        (302, "", "Protocol"),
    ] {
        let mut script = Script::new(config(Generation::V0_9, WEBSOCKET));
        script.answer(status, "Location: /else/\r\n", body);
        assert!(
            script.has(&format!("class: {class}")) && script.has(body),
            "{:?}",
            script.log
        );
        assert_eq!(script.requests.len(), 1);
    }
    // The transport knows nothing of the session.
    for text in ["7:::1+0", "7:::0", "7:::"] {
        let mut script = Script::new(config(Generation::V0_9, WEBSOCKET));
        script.answer(200, "", "s:60:60:websocket");
        let link = script.upgrade();
        script.tell(link, text);
        assert!(
            script.has("Failed") && script.open.is_empty(),
            "{text}: {:?}",
            script.log
        );
        script.pass(1000);
        assert!(script.requests.last().unwrap().1.starts_with("GET /socket.io/1/?t="));
    }
    for body in ["", "8::", "3:::x", "garbage"] {
        let mut script = Script::new(config(Generation::V0_9, POLLING));
        script.answer(200, "", "s:60:60:xhr-polling");
        script.answer(200, "", body);
        assert!(
            script.has("Failed") && script.events.is_empty(),
            "{body}: {:?}",
            script.log
        );
    }
}

/// docs/protocol/legacy-0.6.md §16: the messages before a bad place count, the rest is lost.
#[test]
fn bad_frames_of_0_6_cost_the_rest_of_their_payload() {
    let deep = format!("~m~403~m~~j~{}{}", "[".repeat(200), "]".repeat(200));
    for text in [
        "",
        "hello",
        "~m~",
        "~m~12",
        "~m~~m~x",
        "~m~-2~m~ok",
        "~m~x~m~hi",
        "~m~ 2~m~ok",
        "~m~2XYZok",
        "~m~20~m~hi",
        "~m~99999999999999999999~m~x",
        "~m~7~m~~j~{bad",
        "~m~3~m~~j~",
        "~m~1~m~😀x",
        "1:3::ok,",
        &deep,
    ] {
        let (mut script, link) = opened(config(Generation::V0_6, WEBSOCKET));
        script.tell(link, &format!("~m~1~m~a{text}"));
        script.tell(link, "~m~2~m~ok");
        let name: String = text.chars().take(60).collect();
        assert_eq!(script.events, ["message \"a\"", "message \"ok\""], "{name}");
        assert!(!script.has("Lost"), "{name}: {:?}", script.log);
    }
    // A Go server counts code points.
    let (mut script, link) = opened(config(Generation::V0_6, WEBSOCKET));
    script.tell(link, "~m~4~m~a😀bc~m~1~m~z");
    assert_eq!(script.events, ["message \"a😀bc\"", "message \"z\""]);
}

#[test]
fn session_ids_of_0_6_are_checked() {
    let long = format!("~m~300~m~{}", "s".repeat(300));
    for text in [
        "~m~0~m~",
        "~m~3~m~a/b",
        "~m~3~m~a b",
        "~m~4~m~~h~1",
        "~m~5~m~~j~{}",
        &long,
    ] {
        let mut script = Script::new(config(Generation::V0_6, WEBSOCKET));
        let link = script.upgrade();
        script.tell(link, text);
        assert!(
            script.has("class: Protocol") && script.open.is_empty(),
            "{text}: {:?}",
            script.log
        );
    }
    for body in ["", "hello", "3:2:s1,"] {
        let mut script = Script::new(config(Generation::V0_6, POLLING));
        script.answer(200, "", body);
        assert!(
            script.has("class: Protocol") && script.open.is_empty(),
            "{body}: {:?}",
            script.log
        );
    }
    // A server that says nothing has its time.
    let mut script = Script::new(config(Generation::V0_6, WEBSOCKET).connect_timeout(Duration::from_secs(5)));
    let link = script.upgrade();
    script.tell(link, "hello");
    script.pass(5000);
    assert!(script.has("timeout") && script.open.is_empty(), "{:?}", script.log);
}

/// docs/protocol/legacy-streaming.md §5 and §8: a stream goes on in the next message, and the first
/// error ends it.
#[test]
fn a_broken_stream_ends_the_connection() {
    for text in [
        ":1:,",
        "12:1:a,",
        "x",
        "1::,",
        "1:x:,",
        "1:-1:,",
        "1:3::fael!,",
        "1:3:\n:x,",
        "1:99999999999:",
        "1:2:ab,",
        "~m~2~m~ok",
    ] {
        let (mut script, link) = opened(config(Generation::Streaming, WEBSOCKET));
        script.tell(link, &format!("1:2::a,{text}"));
        assert_eq!(script.events, ["message \"a\""], "{text}");
        assert!(
            script.has("Lost(ParseError)") && script.open.is_empty(),
            "{text}: {:?}",
            script.log
        );
    }
    let (mut script, link) = opened(config(Generation::Streaming, WEBSOCKET));
    for piece in [
        "1",
        ":7:",
        ":wad",
        "ap!",
        ",5:1:x,1:9:r:chat\n:x,1:7:j\n:nul",
        "l,1:7:j\n:{bad,",
    ] {
        script.tell(link, piece);
    }
    assert_eq!(script.events, ["message \"wadap!\"", "message \"x\"", "message null"]);
    // A forced disconnection is for good.
    script.tell(link, "0:0:,");
    script.pass(10_000);
    assert!(
        script.has("io server disconnect") && script.has("NoNamespace"),
        "{:?}",
        script.log
    );
}

#[test]
fn every_limit_of_older_wires_can_be_reached() {
    for generation in [Generation::V0_9, Generation::V0_6, Generation::Streaming] {
        let name = format!("{generation:?}");
        let long = message(generation, &"x".repeat(2000));
        let (mut script, link) = opened(config(generation, WEBSOCKET).max_message_bytes(1000usize));
        script.tell(link, &long);
        assert!(script.has("Lost(TransportError)"), "{name}: {:?}", script.log);

        let mut script = Script::new(config(generation, POLLING).max_body_bytes(1000usize));
        script.answer(200, "", &long);
        assert!(script.has("class: Protocol"), "{name}: {:?}", script.log);

        let (mut script, link) = opened(config(generation, WEBSOCKET).max_packets_per_payload(3usize));
        let many = match generation {
            Generation::V0_9 => "\u{fffd}3\u{fffd}8::".repeat(4),
            _ => message(generation, "x").repeat(4),
        };
        script.tell(link, &many);
        assert!(script.has("Lost(ParseError)"), "{name}: {:?}", script.log);
    }

    // A packet that never ends is held within the limit of a message.
    let (mut script, link) = opened(config(Generation::Streaming, WEBSOCKET).max_message_bytes(1000usize));
    script.tell(link, "1:1001:");
    assert!(script.has("Lost(ParseError)"), "{:?}", script.log);

    // The server asks for acknowledgements, and takes none.
    let (mut script, link) = opened(config(Generation::V0_9, WEBSOCKET).max_answer_bytes(100usize));
    script.client.handle_blocked(script.now, link);
    let before = script.messages.len();
    for id in 10..30 {
        script.tell(link, &format!("3:{id}::x"));
    }
    assert!(script.has("Lost(ParseError)"), "{:?}", script.log);
    assert_eq!(script.messages.len(), before);

    // The server sends heartbeats, and takes no answers: one waits.
    for (generation, beat) in [
        (Generation::V0_9, "2::"),
        (Generation::V0_6, "~m~4~m~~h~1"),
        (Generation::Streaming, "2:1:1,"),
    ] {
        let (mut script, link) = opened(config(generation, WEBSOCKET));
        script.client.handle_blocked(script.now, link);
        let before = script.messages.len();
        for _ in 0..1000 {
            script.tell(link, beat);
        }
        assert_eq!(script.messages.len(), before, "{generation:?}");
        script.client.handle_drained(script.now, link);
        script.drain();
        assert_eq!(script.messages[before..], [beat], "{generation:?}");
        // A long one is not sent back.
        if generation == Generation::V0_6 {
            script.tell(link, &format!("~m~3003~m~~h~{}", "1".repeat(3000)));
            assert_eq!(script.messages.len(), before + 1);
        }
    }
}

/// docs/protocol/legacy-0.6.md §18 and §19.
#[test]
fn a_server_that_does_not_answer_a_resumption_is_asked_twice() {
    let mut script = Script::new(config(Generation::V0_6, POLLING));
    script.answer(200, "", "~m~2~m~s1");
    script.answer(200, "", "~m~4~m~~h~7");
    let cut = |script: &mut Script| {
        for link in script.open.clone() {
            script.client.handle_closed(script.now, link, None);
        }
        script.drain();
        script.pass(6000);
    };
    cut(&mut script);
    for _ in 0..2 {
        let request = &script.requests.last().unwrap().1;
        assert!(request.starts_with("POST /socket.io/xhr-polling/s1/send"), "{request}");
        assert!(request.ends_with("data=~m~4~m~~h~7"), "the last heartbeat: {request}");
        cut(&mut script);
    }
    let request = &script.requests.last().unwrap().1;
    assert!(request.starts_with("GET /socket.io/xhr-polling//1"), "{request}");
    script.answer(200, "", "~m~2~m~s2");
    cut(&mut script);
    script.answer(400, "", "");
    let request = &script.requests.last().unwrap().1;
    assert!(
        request.starts_with("GET /socket.io/xhr-polling//1"),
        "at once: {request}"
    );
    script.answer(200, "", "~m~2~m~s3");
    assert!(script.has("connect Lost"), "{:?}", script.log);
    cut(&mut script);
    script.answer(200, "", "ok");
    assert!(script.has("connect Recovered"), "{:?}", script.log);
    let request = &script.requests.last().unwrap().1;
    assert!(request.starts_with("GET /socket.io/xhr-polling/s3/1"), "{request}");
}
