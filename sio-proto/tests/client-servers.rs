//! A client and servers that are written out: recovering, old and hostile ones.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use client::script::{OPEN, Script};
use sio_proto::client::{
    Client, ClientConfig, DisconnectReason, Endpoint, ErrorClass, Generation, Output, State, Transport,
};
use sio_proto::{BytesMut, Time};

/// Client C27.
#[test]
fn a_recovered_client_hears_each_event_once() {
    let mut script = Script::websocket();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"a\",\"pid\":\"p\"}");
    script.tell(link, "42[\"m\",1,\"o1\"]");
    script.cut(link);
    let link = script.opened();
    assert_eq!(script.messages.last().unwrap(), "40{\"pid\":\"p\",\"offset\":\"o1\"}");
    // The server sends what was missed, and the connection ends before the CONNECT.
    script.tell(link, "42[\"m\",2,\"o2\"]");
    script.cut(link);
    let link = script.opened();
    assert_eq!(script.messages.last().unwrap(), "40{\"pid\":\"p\",\"offset\":\"o1\"}");
    script.tell(link, "42[\"m\",2,\"o2\"]");
    script.tell(link, "40{\"sid\":\"a\",\"pid\":\"p\"}");
    script.tell(link, "42[\"m\",3,\"o3\"]");
    assert_eq!(script.events, ["m 1,\"o1\"", "m 2,\"o2\"", "m 3,\"o3\""]);
    assert!(script.has("connect Recovered"));
    script.cut(link);
    let link = script.opened();
    assert_eq!(script.messages.last().unwrap(), "40{\"pid\":\"p\",\"offset\":\"o3\"}");
    script.tell(link, "40{\"sid\":\"b\",\"pid\":\"q\"}");
    assert!(script.has("connect Lost"), "an honest report: {:?}", script.log);
    let socket = script.socket;
    script.client.set_auth(socket, Some("{\"token\":1}".into())).unwrap();
    script.cut(link);
    script.opened();
    assert_eq!(script.messages.last().unwrap(), "40{\"pid\":\"q\",\"token\":1}");
}

#[test]
fn broken_packets_end_the_connection() {
    for text in [
        "",
        "4",
        "49",
        "42",
        "42[",
        "42{}",
        "42[1,",
        "451-[\"a\"]x",
        "9",
        "b!",
        "4599-[\"a\"]",
        "42[\"connect\"]",
    ] {
        let mut script = Script::websocket();
        let link = script.opened();
        script.tell(link, "40{\"sid\":\"a\"}");
        script.tell(link, text);
        assert!(script.has("disconnect parse error"), "{text}: {:?}", script.log);
        assert!(script.open.is_empty());
        script.pass(1000);
        assert!(script.has("Connecting(1)"), "{text}");
    }
}

/// Each redirect that is not followed says the reason: a circle is not another origin.
#[test]
fn redirects_that_are_not_followed_say_why() {
    let polling = ClientConfig::default().transports(vec![Transport::Polling]);
    for (number, location, words) in [
        (
            3,
            "Location: /socket.io/\r\n",
            "the server answered 302: it redirects in a circle, and at most 2 redirects are followed",
        ),
        (1, "", "the server answered 302 without a Location"),
        (
            1,
            "Location: http://elsewhere/socket.io/\r\n",
            "the server answered 302, and redirects that leave its origin are not followed",
        ),
    ] {
        let mut script = Script::new(polling.clone().max_redirects(2u32));
        for _ in 0..number {
            script.answer(302, location, "");
        }
        assert_eq!(script.requests.len(), number, "{:?}", script.log);
        assert!(script.has(&format!("message: {words:?}")), "{words}: {:?}", script.log);
    }
    // Each place leads to another one.
    let mut script = Script::new(polling.clone().max_redirects(2u32));
    for place in ["a", "b", "c"] {
        script.answer(307, &format!("Location: /{place}/\r\n"), "");
    }
    let words = "the server answered 307 once more: at most 2 redirects are followed";
    assert!(script.has(words), "{:?}", script.log);
    // The same path of another scheme is another place.
    let endpoint = Endpoint::parse("http://localhost").unwrap();
    let config = polling.clone().max_redirects(0u32);
    let mut client = Client::new(endpoint, config, Box::new(client::seeded(3))).unwrap();
    let socket = client.socket("/").unwrap();
    client.connect(Time::ZERO, socket).unwrap();
    let mut said = String::new();
    while let Some(output) = client.poll_output() {
        if let Output::Connect { link, .. } = output {
            client.handle_connected(Time::ZERO, link);
            let answer = "HTTP/1.1 301 X\r\nContent-Length: 0\r\nLocation: https://localhost/socket.io/\r\n\r\n";
            client.handle_bytes(Time::ZERO, link, &mut BytesMut::from(answer));
        }
        said.push_str(&format!("{output:?}\n"));
    }
    let words = "the server answered 301 once more: at most 0 redirects are followed";
    assert!(said.contains(words), "{said}");
    // A websocket, and a generation without Engine.IO.
    let websocket = ClientConfig::default().transports(vec![Transport::WebSocket]);
    let older = polling.generation(Generation::V0_9);
    for (config, words) in [
        (websocket, "and a websocket follows no redirects"),
        (older, "and only the handshakes of Engine.IO follow redirects"),
    ] {
        let mut script = Script::new(config);
        script.answer(302, "Location: /else/\r\n", "");
        let words = format!("the server answered 302, {words}");
        assert!(script.has(&words), "{words}: {:?}", script.log);
    }
}

/// A server of 0.9 says why it refuses, in plain text. The page of another server is not taken for
/// a reason, and neither is a long text.
#[test]
fn a_page_is_no_reason_of_a_refusal() {
    let long = "x".repeat(513);
    for (body, words) in [
        ("handshake unauthorized", "handshake unauthorized"),
        ("<!doctype html><title>Not found</title>", "the server answered 403"),
        (long.as_str(), "the server answered 403"),
        ("", "the server answered 403"),
    ] {
        let polling = ClientConfig::default().transports(vec![Transport::Polling]);
        let mut script = Script::new(polling.generation(Generation::V0_9));
        script.answer(403, "", body);
        assert!(script.has(&format!("message: {words:?}")), "{words}: {:?}", script.log);
    }
}

#[test]
fn open_packets_are_checked() {
    let long = format!(
        "0{{\"sid\":\"{}\",\"pingInterval\":1,\"pingTimeout\":1}}",
        "x".repeat(600)
    );
    for text in [
        "2",
        "40",
        "0",
        "0{}",
        "0{\"sid\":\"\",\"pingInterval\":1,\"pingTimeout\":1}",
        &long,
    ] {
        let mut script = Script::websocket();
        let link = script.upgrade();
        script.tell(link, text);
        assert!(script.has("class: Protocol"), "{text}: {:?}", script.log);
        assert!(script.open.is_empty());
    }
}

#[test]
fn every_limit_can_be_reached() {
    let websocket = ClientConfig::default().transports(vec![Transport::WebSocket]);
    let mut script = Script::new(websocket.clone().max_message_bytes(1000usize));
    let link = script.opened();
    script.tell(link, &format!("4{}", "x".repeat(1000)));
    assert!(script.has("Lost(TransportError)"), "{:?}", script.log);

    let mut script = Script::new(websocket.max_early_bytes(1000usize));
    let link = script.opened();
    for _ in 0..20 {
        script.tell(link, "42[\"m\",\"0123456789\"]");
    }
    assert!(
        script.has("Lost(ParseError)") && script.events.is_empty(),
        "{:?}",
        script.log
    );

    let polling = ClientConfig::default().transports(vec![Transport::Polling]);
    let mut script = Script::new(polling.clone().max_body_bytes(100usize));
    script.answer(200, "", &format!("{OPEN}{}", " ".repeat(100)));
    assert!(script.has("Failed(ClientError { class: Protocol"), "{:?}", script.log);

    let mut script = Script::new(polling.clone().max_packets_per_payload(3usize));
    script.answer(200, "", &format!("{OPEN}\u{1e}6\u{1e}6\u{1e}6"));
    assert!(script.has("Lost(ParseError)"), "{:?}", script.log);

    let mut script = Script::new(polling.clone().max_redirects(2u32));
    for _ in 0..3 {
        script.answer(302, "Location: /else/\r\n", "");
    }
    assert_eq!(script.requests.len(), 3, "{:?}", script.log);
    assert!(script.requests[2].1.starts_with("GET /else/?EIO=4"));
    assert!(script.has("Failed"), "{:?}", script.log);

    // The server asks, and its socket takes nothing.
    let websocket = ClientConfig::default().transports(vec![Transport::WebSocket]);
    let mut script = Script::new(websocket.max_answer_bytes(1000usize));
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"x\"}");
    script.client.handle_blocked(script.now, link);
    for id in 0..20 {
        script.tell(link, &format!("42{id}[\"question\"]"));
    }
    let answer = || sio_proto::ByteString::from("\"0123456789\"").into();
    for (taken, ticket) in core::mem::take(&mut script.tickets).into_iter().enumerate() {
        let is_taken = script.client.answer(script.now, ticket, answer()).unwrap();
        assert_eq!(is_taken, taken < 1000 / (12 + 64), "{taken}");
    }
    script.drain();
    assert!(
        script.has("Lost(ParseError)") && script.open.is_empty(),
        "{:?}",
        script.log
    );

    let mut script = Script::new(polling.max_namespaces(2usize));
    script.client.socket("/a").unwrap();
    assert!(script.client.socket("/b").is_err() && script.client.socket("/a").is_ok());
    assert!(script.client.socket("a").is_err());
}

/// Client C25.
#[test]
fn cookies_come_back_and_one_sid_is_never_tried_twice() {
    let mut script = Script::new(ClientConfig::default().transports(vec![Transport::Polling]));
    script.answer(200, "Set-Cookie: AWSALB=x; Path=/\r\n", OPEN);
    let poll = script
        .requests
        .iter()
        .find(|(_, text)| text.starts_with("GET") && text.contains("sid=s"))
        .unwrap()
        .clone();
    assert!(poll.1.contains("Cookie: AWSALB=x\r\n"), "{}", poll.1);
    script.say(
        poll.0,
        b"HTTP/1.1 400 X\r\nContent-Length: 41\r\n\r\n{\"code\":1,\"message\":\"Session ID unknown\"}",
    );
    assert!(script.has("Lost(TransportError)"), "{:?}", script.log);
    script.pass(1000);
    let again = &script.requests.last().unwrap().1;
    assert!(!again.contains("sid=") && again.contains("AWSALB=x"), "{again}");
}

/// Servers with python-engineio discard a POST with more than 16 packets.
#[test]
fn a_post_has_at_most_so_many_packets() {
    let mut script = Script::new(ClientConfig::default().transports(vec![Transport::Polling]));
    for number in 0..40 {
        let event = client::emit("m", &number.to_string());
        script.client.emit(script.now, script.socket, event).unwrap();
    }
    script.answer(200, "", OPEN);
    let last = |script: &Script, method: &str| {
        let mut requests = script.requests.iter().rev();
        requests.find(|(_, text)| text.starts_with(method)).unwrap().clone()
    };
    let (poll, _) = last(&script, "GET");
    script.say(poll, b"HTTP/1.1 200 X\r\nContent-Length: 13\r\n\r\n40{\"sid\":\"x\"}");
    let mut posts = Vec::new();
    for _ in 0..4 {
        let (link, text) = last(&script, "POST");
        posts.push(
            text.split_once("\r\n\r\n")
                .unwrap()
                .1
                .split('\u{1e}')
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        );
        script.say(link, b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nok");
    }
    assert_eq!(posts.iter().map(Vec::len).collect::<Vec<_>>(), [1, 16, 16, 8]);
    let numbers: Vec<String> = (0..40).map(|number| format!("42[\"m\",{number}]")).collect();
    assert_eq!(posts[1..].concat(), numbers);
    let posts = script.requests.iter().filter(|(_, text)| text.starts_with("POST"));
    assert_eq!(posts.count(), 4, "nothing more is sent");
}

#[test]
fn a_goodbye_waits_for_nothing_but_its_time() {
    let mut script = Script::new(ClientConfig::default().transports(vec![Transport::Polling]));
    script.answer(200, "", OPEN);
    script.client.close(script.now);
    script.drain();
    script.pass(2000);
    assert!(
        script.has("Stopped(Closed)") && script.open.is_empty(),
        "{:?}",
        script.log
    );
}

#[test]
fn auto_meets_servers_of_engine_io_3() {
    let config = ClientConfig::default().generation(Generation::Auto);
    let mut script = Script::new(config.clone().transports(vec![Transport::Polling]));
    let open = "0{\"sid\":\"s\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":5000}";
    let body = format!("{}:{open}2:40", open.len());
    script.answer(200, "", &body);
    assert!(script.requests[1].1.contains("EIO=3"), "{:?}", script.log);
    script.answer(200, "", &body);
    assert!(
        script.has("generation: Two") && script.has("connect New"),
        "{:?}",
        script.log
    );

    let mut script = Script::new(config.transports(vec![Transport::WebSocket]));
    let link = script.opened();
    script.tell(link, "40");
    let link = script.upgrade();
    script.tell(link, OPEN);
    script.tell(link, "40");
    assert!(
        script.has("generation: Two") && script.has("connect New"),
        "{:?}",
        script.log
    );
}

#[test]
fn an_old_server_is_named() {
    let mut script = Script::websocket();
    let link = script.opened();
    script.tell(link, "40");
    assert!(
        script.has("trying to reach a Socket.IO server in v2.x"),
        "{:?}",
        script.log
    );
}

#[test]
fn the_classes_of_errors() {
    for (status, class) in [
        (401, ErrorClass::Refused),
        (403, ErrorClass::Refused),
        (404, ErrorClass::Protocol),
        (429, ErrorClass::Unreachable),
        (503, ErrorClass::Unreachable),
    ] {
        let mut script = Script::new(ClientConfig::default());
        script.answer(status, "", "");
        assert!(
            script.has(&format!("class: {class:?}, status: Some({status})")),
            "{:?}",
            script.log
        );
    }
    let _ = (State::Upgraded, DisconnectReason::Server);
}

/// A user leaves a namespace and joins it again at once. What was on its way to the socket before
/// comes to the new one, as in JavaScript, but its questions are not answered: the number of an
/// answer could be that of a question of the new socket.
#[test]
fn questions_to_a_socket_that_was_left_are_not_answered_by_the_next_one() {
    let mut script = Script::websocket();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    let chat = script.client.socket("/chat").unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.drain();
    script.tell(link, "40/chat,{\"sid\":\"s\",\"pid\":\"p\"}");
    script.tell(link, "42/chat,0[\"asked\",0]");
    script.client.disconnect(script.now, chat).unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.drain();
    script.tell(link, "42/chat,1[\"asked\",1]");
    script.tell(link, "42/chat,[\"news\",2]");
    script.tell(link, "40/chat,{\"sid\":\"t\",\"pid\":\"o\"}");
    script.tell(link, "42/chat,0[\"asked\",3]");
    assert_eq!(script.events, ["asked 0", "asked 1", "news 2", "asked 3"]);
    assert_eq!(script.tickets.len(), 2, "those of 0 and 3");
    // On another connection, nothing is left of the socket before.
    script.client.disconnect(script.now, chat).unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.drain();
    script.cut(link);
    let link = script.opened();
    script.tell(link, "42/chat,2[\"asked\",4]");
    script.tell(link, "40/chat,{\"sid\":\"u\",\"pid\":\"q\"}");
    assert_eq!(script.tickets.len(), 3);
}
