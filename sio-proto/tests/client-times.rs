//! When a client does something, and how often: attempts, upgrades, polls, probes; and what it says
//! of a connection to a caller that reads only when it has to.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::emit;
use client::script::{OPEN, Script};
use sio_proto::client::{ClientConfig, Generation, Reading, TimeoutReason, Transport};
use sio_proto::{BytesMut, LinkId, Time};

const GET: &str = "GET /socket.io/?EIO=4&transport=polling";
const UPGRADE: &str = "transport=websocket";

fn polling() -> ClientConfig {
    ClientConfig::default().transports(vec![Transport::Polling])
}

fn websocket() -> ClientConfig {
    ClientConfig::default().transports(vec![Transport::WebSocket])
}

/// The open packet of a server that has websocket, beside another transport.
fn offers() -> String {
    OPEN.replace("[]", "[\"webtransport\",\"websocket\"]")
}

/// Ends all connections.
fn lose(script: &mut Script) {
    for link in script.open.clone() {
        script.close(link);
    }
}

/// The last attempt begins on this transport.
fn begins_on(script: &Script, part: &str) -> bool {
    script.requests.last().unwrap().1.contains(part)
}

/// A client on polling whose upgrade has failed.
fn without_upgrade() -> Script {
    let mut script = Script::new(ClientConfig::default());
    script.answer(200, "", &offers());
    let probe = script.last(UPGRADE).0;
    script.close(probe);
    assert!(!script.has("Lost"), "{:?}", script.log);
    script
}

/// Moves a client on polling to websocket. Returns its connection.
fn upgrade(script: &mut Script) -> LinkId {
    let (get, post, probe) = (script.last(GET).0, script.last("POST ").0, script.last(UPGRADE));
    script.answer_on(post, 200, "", "ok");
    script.requests.push(probe.clone());
    script.upgrade();
    script.tell(probe.0, "3probe");
    script.answer_on(get, 200, "", "6");
    assert_eq!(
        script.client.transport(),
        Some(Transport::WebSocket),
        "{:?}",
        script.log
    );
    probe.0
}

/// There are so many attempts in each minute, and the next one begins when the minute of the first
/// is over, once.
#[test]
fn attempts_are_counted_for_a_minute() {
    let mut script = Script::new(websocket().max_attempts_per_minute(2usize));
    lose(&mut script);
    script.pass(1000);
    lose(&mut script);
    script.pass(2000);
    assert_eq!(script.requests.len(), 2);
    script.news();
    script.pass(56_999);
    assert_eq!(script.news(), [""; 0], "nothing is said again");
    script.pass(1);
    assert_eq!(script.news(), ["Connecting(2)"]);
    assert_eq!(script.requests.len(), 3);
}

/// The server may be another one after a wait, and after a stop: each generation is tried again.
#[test]
fn each_generation_is_tried_again() {
    for reconnection in [true, false] {
        let config = polling().generation(Generation::Auto).reconnection(reconnection);
        let mut script = Script::new(config);
        for _ in 0..3 {
            for _ in 0..3 {
                // A server of Engine.IO says this when it is asked as one of 0.9.
                let unknown = "{\"code\":0,\"message\":\"Transport unknown\"}";
                let is_old = script.requests.last().unwrap().1.starts_with("GET /socket.io/1/");
                script.answer(400, "", if is_old { unknown } else { "" });
            }
            let last = script.news().pop().unwrap();
            match reconnection {
                true => {
                    assert!(last.starts_with("Waiting"), "{last}");
                    script.pass(6000);
                }
                false => {
                    assert_eq!(last, "Stopped(ReconnectionOff)");
                    script.client.connect(script.now, script.socket).unwrap();
                    script.drain();
                }
            }
        }
        assert_eq!(script.requests.len(), 10);
        for part in [GET, "EIO=3", "GET /socket.io/1/?t="] {
            assert!(script.count(part) >= 3, "{part}: {:?}", script.requests);
        }
    }
}

/// Only an answer that speaks of another generation leads to the next one.
#[test]
fn not_every_failure_means_another_generation() {
    let auto = polling().generation(Generation::Auto);
    for (status, body, is_tried) in [
        (400, "", true),
        (404, "not found", true),
        (400, "{\"code\":5,\"message\":\"Unsupported protocol version\"}", true),
        (400, "{\"code\":0,\"message\":\"Transport unknown\"}", false),
        (503, "", false),
        (500, "{\"code\":5}", false),
        (401, "", false),
    ] {
        let mut script = Script::new(auto.clone());
        script.answer(status, "", body);
        assert_eq!(
            script.requests.len() == 2,
            is_tried,
            "{status} {body}: {:?}",
            script.log
        );
    }
    // Not on an open session.
    let mut script = Script::new(auto.clone());
    script.answer(200, "", OPEN);
    let get = script.last(GET).0;
    script.answer_on(get, 400, "", "");
    assert!(script.has("Lost(TransportError)"), "{:?}", script.log);
    // A server of 0.9 says nothing to a websocket of a later generation. It may as well be gone.
    for (transport, tries) in [(Transport::WebSocket, 2), (Transport::Polling, 1)] {
        let mut script = Script::new(auto.clone().transports(vec![transport]));
        lose(&mut script);
        assert_eq!(script.requests.len(), tries, "{:?}", script.log);
        assert_eq!(script.count("EIO=3"), tries - 1);
    }
    let mut script = Script::new(auto.transports(vec![Transport::WebSocket]));
    script.opened();
    lose(&mut script);
    assert!(
        script.has("Lost(TransportClose)") && script.requests.len() == 1,
        "{:?}",
        script.log
    );
}

/// A server of 2.x opens the websocket of a client of 4.x, and is known by its first packet. This
/// holds also where the client has come to 4.x by an answer to its handshake of 0.9.
#[test]
fn an_old_server_is_met_in_any_round() {
    let auto = websocket().generation(Generation::Auto);
    let mut script = Script::new(auto);
    for _ in 0..3 {
        script.answer(404, "", "");
    }
    script.pass(6000);
    assert!(script.requests.last().unwrap().1.starts_with("GET /socket.io/1/"));
    script.answer(404, "", "");
    assert!(
        script.requests.last().unwrap().1.contains("EIO=4"),
        "{:?}",
        script.requests
    );
    let link = script.opened();
    script.tell(link, "40");
    assert!(script.requests.last().unwrap().1.contains("EIO=3"), "{:?}", script.log);
}

/// With `remember_upgrade`, the client begins with websocket if the last one worked.
#[test]
fn a_websocket_that_worked_is_remembered() {
    let config = || ClientConfig::default().remember_upgrade(true);
    let mut script = Script::new(config());
    script.answer(200, "", OPEN);
    lose(&mut script);
    script.pass(1000);
    assert!(begins_on(&script, GET), "there was none");
    script.answer(200, "", &offers());
    upgrade(&mut script);
    lose(&mut script);
    script.pass(1000);
    assert!(begins_on(&script, UPGRADE));
    script.opened();
    lose(&mut script);
    script.pass(1000);
    assert!(begins_on(&script, UPGRADE), "it has worked again");
    lose(&mut script);
    script.pass(2000);
    assert!(begins_on(&script, GET), "it has not opened");
    // Also one that was tried because polling did not open.
    let mut script = Script::new(config().try_all_transports(true));
    script.answer(503, "", "");
    script.opened();
    lose(&mut script);
    script.pass(1000);
    assert!(begins_on(&script, UPGRADE), "{:?}", script.requests);
    // Without the setting, polling begins.
    let mut script = Script::new(ClientConfig::default());
    script.answer(200, "", &offers());
    upgrade(&mut script);
    lose(&mut script);
    script.pass(1000);
    assert!(begins_on(&script, GET));
}

/// A session moves to websocket if the server has it, and is on polling.
#[test]
fn an_upgrade_needs_an_offer() {
    for (open, probes) in [
        (&*offers(), 1),
        (OPEN, 0),
        (&OPEN.replace("[]", "[\"webtransport\"]"), 0),
    ] {
        let mut script = Script::new(ClientConfig::default());
        script.answer(200, "", open);
        assert_eq!(script.count(UPGRADE), probes, "{open}");
    }
    let mut script = Script::new(ClientConfig::default().transports(vec![Transport::WebSocket, Transport::Polling]));
    let link = script.upgrade();
    script.tell(link, &offers());
    assert_eq!(
        (script.requests.len(), script.open.len()),
        (1, 1),
        "it is there already"
    );
    // Everything that was held for polling is over when the session has moved.
    let mut script = Script::new(ClientConfig::default());
    script.answer(200, "", &offers());
    let link = upgrade(&mut script);
    assert_eq!(
        (script.messages.clone(), &script.open[..]),
        (vec!["2probe".to_owned(), "5".into()], &[link][..])
    );
    script.pass(44_000);
    assert!(
        !script.has("Lost"),
        "no deadline of the upgrade is left: {:?}",
        script.log
    );
}

/// What is remembered of a failed upgrade counts for one network: a lost network, and a wake-up
/// during the next attempt, end the pause.
#[test]
fn another_network_ends_the_pause_of_upgrades() {
    for case in ["loss", "loss of the network", "wake"] {
        let mut script = without_upgrade();
        let asked = script.count(UPGRADE);
        match case {
            "loss of the network" => {
                script.client.network_lost(script.now);
                script.drain();
            }
            _ => lose(&mut script),
        }
        script.pass(1000);
        if case == "wake" {
            script.client.wake(script.now);
            script.drain();
        }
        script.answer(200, "", &offers());
        assert_eq!(
            script.count(UPGRADE) == asked + 1,
            case != "loss",
            "{case}: {:?}",
            script.requests
        );
    }
}

/// An attempt that was under way when the machine slept is given up, and its successor is the first
/// of a new row.
#[test]
fn a_sleep_during_an_attempt_is_told() {
    let mut script = Script::new(websocket().provider(true));
    let provide = |script: &mut Script| {
        let question = script.questions.pop().unwrap();
        script
            .client
            .provide(script.now, question.id, Default::default())
            .unwrap();
        script.drain();
        question
    };
    provide(&mut script);
    lose(&mut script);
    script.pass(1000);
    assert_eq!(provide(&mut script).attempt, 1);
    script.news();
    script.client.handle_clock_jump(script.now, Duration::from_secs(60));
    script.drain();
    let news = script.news();
    assert!(
        news[0].starts_with("Failed(") && news[0].contains("the machine has slept"),
        "{news:?}"
    );
    assert_eq!(news[1..], ["Connecting(0)"]);
    let question = provide(&mut script);
    assert_eq!(&*question.last_error.unwrap().message, "the machine has slept");
    assert_eq!(script.open.len(), 1, "one connection, and it is new");
}

/// Whatever comes first after a sleep shows that the machine has slept: a client that waits for its
/// next attempt begins it, with fresh delays.
#[test]
fn any_late_input_shows_a_sleep() {
    for input in 0..4 {
        let mut script = Script::new(websocket());
        lose(&mut script);
        script.pass(1000);
        lose(&mut script);
        script.news();
        script.now = script.now + Duration::from_secs(30);
        let (now, old) = (script.now, LinkId(0));
        match input {
            0 => script.client.handle_connected(now, old),
            1 => script.client.handle_bytes(now, old, &mut BytesMut::from("x")),
            2 => script.client.handle_closed(now, old, None),
            _ => script.client.handle_timeout(now),
        }
        script.drain();
        assert_eq!(script.news(), ["Connecting(0)"], "{input}");
    }
}

/// A wake-up sends one probe, on an open session only.
#[test]
fn a_wake_up_sends_one_probe() {
    let pings = |script: &Script| script.frames.iter().filter(|(_, bytes)| bytes[0] == 0x89).count();
    let wake = |script: &mut Script| {
        script.client.wake(script.now);
        script.drain();
    };
    let mut script = Script::websocket();
    wake(&mut script);
    let link = script.upgrade();
    wake(&mut script);
    assert_eq!(script.frames.len(), 0, "there is no session yet");
    script.tell(link, OPEN);
    script.tell(link, "40{\"sid\":\"r\"}");
    wake(&mut script);
    wake(&mut script);
    assert_eq!(pings(&script), 1);
    let (time, reason) = script.client.next_timeout_reason().unwrap();
    assert_eq!(
        (time, reason),
        (script.now + Duration::from_secs(3), TimeoutReason::Wake)
    );
    script.say(link, &[0x8a, 0x00]);
    wake(&mut script);
    assert_eq!(pings(&script), 2, "after an answer, another one");
    script.say(link, &[0x8a, 0x00]);
    script.client.close(script.now);
    wake(&mut script);
    assert_eq!(pings(&script), 2, "the client says goodbye");

    // On polling with Engine.IO 3, the probe is the ping that would be next.
    let mut script = Script::new(polling().generation(Generation::Two));
    let open = "0{\"sid\":\"s\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}";
    script.answer(200, "", &format!("{}:{open}2:40", open.len()));
    assert!(script.has("connect New"), "{:?}", script.log);
    script.pass(24_000);
    wake(&mut script);
    assert!(script.last("POST ").1.ends_with("\r\n\r\n1:2"), "{:?}", script.requests);
    script.pass(1000);
    script.answer(200, "", "ok");
    assert_eq!(script.count("POST "), 1, "{:?}", script.requests);
}

/// A connection of HTTP is used again for a while, each for its purpose. One that the server closes
/// is not.
#[test]
fn connections_of_http_are_used_again_for_a_while() {
    let mut script = Script::new(polling());
    script.answer(200, "", OPEN);
    let (get, post) = (script.last(GET).0, script.last("POST ").0);
    script.answer_on(post, 200, "", "ok");
    script.answer_on(get, 200, "", "40{\"sid\":\"r\"}");
    script.pass(10_000);
    script.answer_on(get, 200, "", "2");
    assert_eq!(script.last(GET).0, get, "it was idle for no time");
    let pong = script.last("POST ").0;
    assert_ne!(pong, post, "it was idle for ten seconds");
    assert_eq!(script.open, [get, pong]);
    script.answer_on(pong, 200, "", "ok");
    let send = |script: &mut Script| {
        script.emit(script.socket, emit("n", "1")).unwrap();
        script.last("POST ").0
    };
    script.pass(3999);
    assert_eq!(send(&mut script), pong);
    script.answer_on(pong, 200, "", "ok");
    script.pass(4000);
    let next = send(&mut script);
    assert_ne!(next, pong);
    script.answer_on(next, 200, "Connection: close\r\n", "ok");
    assert_eq!(script.open, [get], "the other one stays");
    let next = send(&mut script);
    script.answer_on(get, 200, "Connection: close\r\n", "6");
    let polls = script.last(GET);
    assert_ne!(polls.0, get);
    assert_eq!(script.open, [next, polls.0]);
    assert!(!script.has("Lost"), "{:?}", script.log);
    // The parameter `t` keeps caches away.
    let mut targets: Vec<&str> = script
        .requests
        .iter()
        .map(|(_, text)| text.lines().next().unwrap())
        .collect();
    let all = targets.len();
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), all, "{targets:?}");
    assert!(targets.iter().all(|line| line.contains("&t=")), "{targets:?}");
}

/// A redirect to TLS is followed on a connection of its own, and to nothing that is no TLS.
#[test]
fn a_redirect_to_tls_leaves_the_old_connection() {
    let mut script = Script::at("http://localhost", polling());
    script.answer(307, "Location: https://localhost/\r\n", "");
    assert_eq!(script.connects[1..], [(443, true)]);
    assert_eq!((script.requests.len(), script.open.len()), (2, 1));
    assert_ne!(script.requests[0].0, script.requests[1].0);
    assert!(
        script.requests[1].1.contains("\r\nHost: localhost\r\n"),
        "{:?}",
        script.requests
    );
    let mut script = Script::at("http://localhost", polling());
    script.answer(307, "Location: http://localhost:443/\r\n", "");
    assert!(script.has("Failed"), "{:?}", script.log);
}

/// What the server says of a refusal reaches the user, if it is short enough to be read.
#[test]
fn a_refusal_of_a_handshake_says_why() {
    let of_bytes = |bytes: usize| {
        let around = "{\"code\":4,\"message\":\"\"}".len();
        format!("{{\"code\":4,\"message\":\"{}\"}}", "n".repeat(bytes - around))
    };
    for (bytes, is_read) in [(30, true), (64 * 1024, true), (64 * 1024 + 1, false)] {
        let mut script = Script::new(polling());
        let body = of_bytes(bytes);
        script.answer(403, "", &body);
        let error = &script.errors[0];
        assert_eq!(error.message.starts_with('n'), is_read, "{bytes}: {}", error.message);
        assert_eq!(error.data.as_deref().is_some_and(|data| data == body), is_read);
        assert_eq!(error.status, Some(403));
    }
}

/// What a server may choose has a length: its longest, and one byte more.
#[test]
fn what_a_server_chooses_has_a_length() {
    let opened = |open: &str| {
        let mut script = Script::websocket();
        let link = script.upgrade();
        script.tell(link, open);
        (script, link)
    };
    for (bytes, is_good) in [(512, true), (513, false)] {
        let (script, _) = opened(&OPEN.replace("\"s\"", &format!("\"{}\"", "s".repeat(bytes))));
        assert_eq!(script.has("Connected"), is_good, "{bytes}");
    }
    for (bytes, is_good) in [(16 * 1024, true), (16 * 1024 + 1, false)] {
        // The `0` is the type of the packet.
        let pad = "x".repeat(bytes + 1 - OPEN.len() - "\"pad\":\"\",".len());
        let open = OPEN.replacen('{', &format!("{{\"pad\":\"{pad}\","), 1);
        assert_eq!(open.len(), bytes + 1);
        assert_eq!(opened(&open).0.has("Connected"), is_good, "{bytes}");
    }
    // No limit is none.
    let (mut script, link) = opened(&OPEN.replace("1000000", "0"));
    script.tell(link, "40{\"sid\":\"r\"}");
    assert!(script.emit(script.socket, emit("n", "\"some text\"")).is_ok());

    for (bytes, is_good) in [(256, true), (257, false)] {
        let id = "i".repeat(bytes);
        let (mut script, link) = opened(OPEN);
        script.tell(link, &format!("40{{\"sid\":\"{id}\"}}"));
        assert_eq!(script.client.is_connected(script.socket), is_good, "{bytes}");
        let (mut script, link) = opened(OPEN);
        script.tell(link, &format!("40{{\"sid\":\"r\",\"pid\":\"{id}\"}}"));
        script.tell(link, "42[\"news\",\"o1\"]");
        // With its quotes, an offset has two bytes more.
        script.tell(link, &format!("42[\"news\",\"{}\"]", &id[2..]));
        script.cut(link);
        script.opened();
        let shown = script.messages.last().unwrap();
        assert_eq!(shown.contains(&id), is_good, "{bytes}: {shown}");
        let (mut script, link) = opened(OPEN);
        script.tell(link, "40{\"sid\":\"r\",\"pid\":\"p\"}");
        script.tell(link, "42[\"news\",\"o1\"]");
        script.tell(link, "42[\"news\",1]");
        script.tell(link, "42[\"news\",{\"a\":\"o2\"}]");
        script.tell(link, &format!("42[\"news\",\"{}\"]", &id[2..]));
        script.cut(link);
        script.opened();
        let shown = script.messages.last().unwrap();
        let last = if is_good { &id[2..] } else { "o1" };
        assert_eq!(shown, &format!("40{{\"pid\":\"p\",\"offset\":\"{last}\"}}"), "{bytes}");
    }
    for (bytes, is_read) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
        let (mut script, link) = opened(OPEN);
        script.tell(link, &format!("44\"{}\"", "n".repeat(bytes - 2)));
        assert_eq!(script.errors[0].message.starts_with('n'), is_read, "{bytes}");
    }
}

/// What a connection brings next, for a caller that reads no more than it has to.
#[test]
fn the_client_says_what_a_connection_brings() {
    let at = |millis| Reading::Events {
        heartbeat: Time::from_millis(millis),
    };
    let mut script = Script::new(ClientConfig::default());
    let link = script.open[0];
    assert_eq!(script.client.reading(link), Reading::Connecting, "the handshake");
    script.answer(200, "", &offers());
    let (get, post, probe) = (script.last(GET).0, script.last("POST ").0, script.last(UPGRADE));
    assert_eq!(script.client.reading(post), Reading::NoEvents);
    script.answer_on(post, 200, "", "ok");
    script.answer_on(get, 200, "", "40{\"sid\":\"r\"}");
    assert_eq!(script.client.reading(get), Reading::Connecting, "the upgrade");
    assert_eq!(script.client.reading(probe.0), Reading::Connecting);
    script.requests.push(probe.clone());
    script.upgrade();
    script.tell(probe.0, "3probe");
    assert_eq!(
        script.client.reading(get),
        Reading::Connecting,
        "the session is about to move"
    );
    script.answer_on(get, 200, "", "6");
    let link = probe.0;
    assert_eq!(script.client.reading(link), at(25_000), "the ping of the server");
    assert_eq!(script.client.reading(LinkId(99)), Reading::Connecting);
    // A namespace connects; two are enough that not all of them do.
    script.join("/chat");
    assert_eq!(script.client.reading(link), Reading::Connecting);
    script.tell(link, "40/chat,{\"sid\":\"c\"}");
    assert_eq!(script.client.reading(link), at(25_000));
    script.pass(20_000);
    script.tell(link, "2");
    assert_eq!(script.client.reading(link), at(45_000));
    script.client.wake(script.now);
    script.drain();
    assert_eq!(script.client.reading(link), at(0), "the answer to the probe");
    script.say(link, &[0x8a, 0x00]);
    assert_eq!(script.client.reading(link), at(45_000));
    script.client.close(script.now);
    script.drain();
    assert_eq!(script.client.reading(link), Reading::Connecting, "the goodbye");
    script.say(link, &[0x88, 0x00]);
    assert_eq!(script.client.reading(link), Reading::Connecting, "no session");

    // An upgrade that has failed leaves polling alone.
    let mut script = without_upgrade();
    let (get, post) = (script.last(GET).0, script.last("POST ").0);
    script.answer_on(post, 200, "", "ok");
    script.answer_on(get, 200, "", "40{\"sid\":\"r\"}");
    assert_eq!(script.client.reading(get), at(25_000));

    // A limit of silence is always due.
    let mut script = Script::new(websocket().max_silence(Some(Duration::from_secs(60))));
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    assert_eq!(script.client.reading(link), at(0));

    // On Engine.IO 3, the answer to the client's ping is due with the ping.
    let mut script = Script::new(websocket().generation(Generation::Two));
    let link = script.opened();
    script.tell(link, "40");
    assert_eq!(script.client.reading(link), at(25_000));
    script.pass(25_000);
    assert_eq!(script.client.reading(link), at(0));
    script.tell(link, "3");
    assert_eq!(script.client.reading(link), at(50_000));
}

/// The server of a namespace that is not recovered, or that nobody has asked, confirms nothing.
#[test]
fn confirmations_need_a_question_and_a_secret() {
    for (asks, welcome) in [
        (false, "40{\"sid\":\"r\",\"pid\":\"p\",\"sio.confirmed\":0}"),
        (true, "40{\"sid\":\"r\",\"sio.confirmed\":0}"),
        (true, "40{\"sid\":\"r\",\"pid\":\"p\"}"),
    ] {
        let mut script = Script::new(websocket().confirm_events(asks));
        let link = script.opened();
        script.tell(link, welcome);
        let id = script.emit(script.socket, emit("n", "1")).unwrap();
        assert!(script.receipts.contains_key(&id), "{welcome}");
    }
    // Who is not recovered, and hears of too many events, knows nothing of those before.
    let mut script = Script::new(websocket().confirm_events(true));
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\",\"pid\":\"p\",\"sio.confirmed\":0}");
    let id = script.emit(script.socket, emit("n", "1")).unwrap();
    script.cut(link);
    let link = script.opened();
    assert_eq!(script.receipts.len(), 0);
    script.tell(link, "40{\"sid\":\"t\",\"pid\":\"q\",\"sio.confirmed\":7}");
    assert!(script.has("Lost(ParseError)"), "{:?}", script.log);
    assert!(script.receipts.contains_key(&id), "it has ended");
}
