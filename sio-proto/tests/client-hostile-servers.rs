//! What a hostile server tries on a client: it makes the client grow, hang, or say too much.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use client::script::{OPEN, Script};
use sio_proto::client::{
    ClientConfig, ClientError, Delivery, Emit, EmitError, ErrorClass, NotSent, Offline, Outcome, Output, SocketId,
    Transport,
};
use sio_proto::websocket::{Opcode, encode_message};
use sio_proto::{ByteString, BytesMut, LinkId};

fn websocket() -> ClientConfig {
    ClientConfig::default().transports(vec![Transport::WebSocket])
}

fn polling() -> ClientConfig {
    ClientConfig::default().transports(vec![Transport::Polling])
}

/// The frames of several messages, to be read at once.
fn frames(texts: &[&str]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for text in texts {
        encode_message(&mut bytes, Opcode::Text, text.as_bytes(), None);
    }
    bytes
}

fn outcomes(script: &mut Script) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while let Some(output) = script.client.poll_output() {
        if let Output::Delivery(Delivery::Receipt { outcome, .. }) = output {
            outcomes.push(outcome);
        }
    }
    outcomes
}

fn event(name: &str, text: &str) -> Emit {
    Emit::new(ByteString::from(name), ByteString::from(format!("\"{text}\"")).into())
}

/// A server connects a namespace that nobody wants, again and again, and reads nothing. The client
/// answers only a CONNECT that is the answer to its own.
#[test]
fn a_connect_that_nobody_has_asked_for_is_not_answered() {
    let mut script = Script::websocket();
    let chat = script.client.socket("/chat").unwrap();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"a\"}");
    script.client.handle_blocked(script.now, link);
    for _ in 0..1000 {
        script.tell(link, "40/chat,{\"sid\":\"b\"}");
    }
    script.client.handle_drained(script.now, link);
    script.drain();
    let goodbyes = |script: &Script| script.messages.iter().filter(|text| *text == "41/chat,").count();
    assert_eq!(goodbyes(&script), 0, "{:?}", script.messages);
    // The user has left while the CONNECT was on its way.
    script.client.connect(script.now, chat).unwrap();
    script.client.disconnect(script.now, chat).unwrap();
    for _ in 0..3 {
        script.tell(link, "40/chat,{\"sid\":\"b\"}");
    }
    assert_eq!(goodbyes(&script), 1, "{:?}", script.messages);
}

/// Client C27: what a client sends back with each CONNECT is short.
#[test]
fn ids_of_a_server_are_short() {
    let long = "x".repeat(10_000);
    let mut script = Script::websocket();
    let link = script.opened();
    script.tell(link, &format!("40{{\"sid\":\"a\",\"pid\":\"{long}\"}}"));
    assert!(script.has("connect New"), "{:?}", script.log);
    script.cut(link);
    let link = script.opened();
    assert_eq!(script.messages.last().unwrap(), "40", "a long pid is not sent back");
    script.tell(link, &format!("40{{\"sid\":\"{long}\"}}"));
    assert!(
        script.has("connect_error the id of the socket is too long"),
        "{:?}",
        script.log
    );
}

/// Client C27: ids, and the offset of the last event, have up to 256 bytes.
#[test]
fn ids_have_up_to_256_bytes() {
    for (sid, pid, offset, comes_back) in [(256, 256, 254, true), (256, 257, 254, false), (256, 256, 255, false)] {
        let mut script = Script::websocket();
        let link = script.opened();
        let (sid, pid, offset) = ("s".repeat(sid), "p".repeat(pid), "o".repeat(offset));
        script.tell(link, &format!("40{{\"sid\":\"{sid}\",\"pid\":\"{pid}\"}}"));
        assert_eq!(script.sids, [sid]);
        script.tell(link, &format!("42[\"e\",\"{offset}\"]"));
        script.cut(link);
        script.opened();
        let connect = script.messages.last().unwrap();
        let has_both = connect.contains(&pid) && connect.contains(&offset);
        assert_eq!(has_both, comes_back, "{connect}");
    }
    let mut script = Script::websocket();
    let link = script.opened();
    script.tell(link, &format!("40{{\"sid\":\"{}\"}}", "s".repeat(257)));
    assert!(
        script.has("connect_error the id of the socket is too long"),
        "{:?}",
        script.log
    );
}

/// What a server says about a refusal is read up to 64 KiB.
#[test]
fn refusals_are_read_up_to_64_kib() {
    const MOST: usize = 64 * 1024;
    let refusal = |bytes: usize| format!("{{\"message\":\"{}\"}}", "x".repeat(bytes - "{\"message\":\"\"}".len()));
    for (bytes, is_read) in [(MOST, true), (MOST + 1, false)] {
        let mut script = Script::websocket();
        let link = script.opened();
        script.tell(link, &format!("44{}", refusal(bytes)));
        assert_eq!(script.errors[0].message.starts_with("xxx"), is_read);

        let mut script = Script::new(polling());
        script.answer(403, "", &refusal(bytes));
        assert_eq!(script.has("message: \"xxx"), is_read, "{bytes}");
    }
}

/// A list in an open packet or in a refusal would take many times its bytes.
#[test]
fn what_is_read_into_values_is_short() {
    let upgrades = vec!["\"a\""; 20_000].join(",");
    let open = format!("0{{\"sid\":\"s\",\"upgrades\":[{upgrades}],\"pingInterval\":1,\"pingTimeout\":1}}");
    let mut script = Script::websocket();
    let link = script.upgrade();
    script.tell(link, &open);
    assert!(script.has("class: Protocol"), "{:?}", script.log);

    let mut script = Script::websocket();
    let link = script.opened();
    script.tell(
        link,
        &format!("44{{\"message\":\"no\",\"data\":[{}]}}", vec!["0"; 100_000].join(",")),
    );
    assert!(
        script.has("connect_error the server refused the namespace, and its reason is too long"),
        "{:?}",
        script.log
    );
}

/// The origin of a server is its scheme, its host and its port. What the client is given for one
/// origin does not go to another.
#[test]
fn credentials_do_not_go_to_another_port() {
    for (location, follows) in [
        ("/else/", true),
        ("http://localhost:3000/else/", true),
        ("http://localhost:3001/else/", false),
        ("http://localhost/else/", false),
        ("https://localhost:3443/else/", false),
        ("http://127.0.0.1:3000/else/", false),
    ] {
        let headers = vec![("Authorization".to_owned(), "secret".to_owned())];
        let mut script = Script::new(polling().headers(headers));
        script.answer(307, &format!("Location: {location}\r\n"), "");
        assert_eq!(
            script.requests.len(),
            1 + usize::from(follows),
            "{location}: {:?}",
            script.log
        );
        assert_eq!(script.has("Failed"), !follows, "{location}");
    }
}

/// Client C2: a refusal whose body ends with its connection is a refusal like any other.
#[test]
fn a_refused_websocket_may_end_with_its_connection() {
    let mut script = Script::websocket();
    let link = script.requests[0].0;
    script.say(link, b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\nno");
    script.client.handle_closed(script.now, link, None);
    script.drain();
    assert!(
        script.has("Failed(ClientError { class: Refused, status: Some(403)"),
        "{:?}",
        script.log
    );
}

/// Client C25: a load balancer may set its cookie when it refuses a websocket.
#[test]
fn a_refused_websocket_sets_cookies() {
    let mut script = Script::websocket();
    script.answer(503, "Set-Cookie: lb=1; Path=/\r\n", "");
    script.pass(2000);
    let (_, request) = script.requests.last().unwrap();
    assert!(
        script.requests.len() == 2 && request.contains("\r\nCookie: lb=1\r\n"),
        "{request}"
    );
}

/// Client C18: nothing follows the goodbye, whatever the server says.
#[test]
fn nothing_follows_the_goodbye() {
    let mut script = Script::websocket();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"a\"}");
    script.client.close(script.now);
    script.drain();
    script.messages.clear();
    let mut ping = BytesMut::new();
    encode_message(&mut ping, Opcode::Ping, b"x", None);
    for bytes in [&frames(&["2", "40{\"sid\":\"b\"}", "421[\"question\"]"])[..], &ping] {
        script.client.handle_bytes(script.now, link, &mut BytesMut::from(bytes));
        while let Some(output) = script.client.poll_output() {
            assert!(!matches!(output, Output::Bytes(..)), "{output:?}");
        }
    }
}

/// What stands behind a broken packet is not heard: the connection has ended with it.
#[test]
fn nothing_is_heard_behind_a_broken_packet() {
    let mut script = Script::websocket();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"a\"}");
    script.say(link, &frames(&["42[\"first\"]", "42[", "42[\"second\"]"]));
    assert_eq!(script.events, ["first "]);
    assert!(script.has("disconnect parse error"), "{:?}", script.log);
}

/// Client C8: an event that finds no room does not push out the one whose place it wanted.
#[test]
fn the_newest_event_takes_a_place_only_if_it_fits() {
    let mut script = Script::new(websocket().max_queued_bytes(200usize));
    let root = script.socket;
    let newest = |text: &str| event("place", text).offline(Offline::Newest("key".into()));
    script.client.emit(script.now, root, newest("old")).unwrap();
    let refused = script.client.emit(script.now, root, newest(&"x".repeat(200)));
    assert_eq!(refused, Err(EmitError::TooLarge { bytes: 271, max: 200 }));
    assert_eq!(script.client.pending(root).count(), 1);
    assert_eq!(outcomes(&mut script), []);
    // The bytes of the old event make room for the new one.
    script.client.emit(script.now, root, newest(&"x".repeat(100))).unwrap();
    assert_eq!(outcomes(&mut script), [Outcome::NotSent(NotSent::Replaced)]);
}

/// Client C8: what the caller does not take to the network waits within the limit, too.
#[test]
fn a_caller_that_takes_nothing_fills_the_queue() {
    let mut script = Script::new(websocket().max_queued_bytes(1000usize));
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"a\"}");
    let (now, root) = (script.now, script.socket);
    let results: Vec<_> = (0..20)
        .map(|_| script.client.emit(now, root, event("said", &"x".repeat(100))))
        .collect();
    let taken = results.iter().filter(|result| result.is_ok()).count();
    assert!((3..10).contains(&taken), "{taken}");
    assert_eq!(results.last(), Some(&Err(EmitError::QueueFull)));
    let volatile = event("v", "1").offline(Offline::Volatile);
    script.client.emit(now, root, volatile).unwrap();
    let ends = outcomes(&mut script);
    assert_eq!(ends.len(), taken + 1);
    assert!(ends.contains(&Outcome::NotSent(NotSent::Volatile)));
    // Everything has been taken.
    script.client.emit(now, root, event("said", &"x".repeat(100))).unwrap();
    assert_eq!(outcomes(&mut script), [Outcome::Sent]);
}

/// Client C8: an event that was written, and waits to be written again, was not "never written".
#[test]
fn what_was_written_once_is_not_called_unsent() {
    let connected = |script: &mut Script| -> (SocketId, LinkId) {
        let link = script.opened();
        script.tell(link, "40{\"sid\":\"a\"}");
        (script.socket, link)
    };
    let mut script = Script::new(websocket().retries(3u32));
    let (root, link) = connected(&mut script);
    script.client.emit(script.now, root, event("paid", "1")).unwrap();
    script.client.emit(script.now, root, event("paid", "2")).unwrap();
    script.cut(link);
    script.client.close(script.now);
    let ends = [Outcome::Disconnected, Outcome::NotSent(NotSent::Closed)];
    assert_eq!(outcomes(&mut script), ends, "the window has one event");

    let mut script = Script::new(websocket().retries(3u32));
    let (root, link) = connected(&mut script);
    let emit = script.client.emit(script.now, root, event("paid", "1")).unwrap();
    script.cut(link);
    assert!(script.client.remove_pending(emit));
    assert_eq!(outcomes(&mut script), [Outcome::Disconnected]);
}

/// A question whose time is over is not open any more, so that nobody goes on looking for its
/// answer.
#[test]
fn a_question_is_open_until_its_time_is_over() {
    let mut script = Script::new(websocket().provider(true));
    let mut asked = Vec::new();
    let mut hear = |script: &mut Script| {
        while let Some(output) = script.client.poll_output() {
            if let Output::CredentialsWanted(question) = output {
                asked.push(question.id);
            }
        }
        asked.clone()
    };
    // The first question was drained with the outputs of the beginning.
    script.now = script.now + ClientConfig::default().connect_timeout;
    script.client.handle_timeout(script.now);
    script.now = script.now + core::time::Duration::from_secs(2);
    script.client.handle_timeout(script.now);
    let asked = hear(&mut script);
    assert_eq!(asked.len(), 1);
    assert!(script.client.asks(asked[0]));
    script.client.close(script.now);
    assert!(!script.client.asks(asked[0]));
}

/// An answer without a length ends with its connection. If the connection has failed, as one with
/// TLS does that ends without a goodbye, the body may have been cut, and does not count. The status
/// of a refusal does.
#[test]
fn an_answer_that_was_cut_is_no_answer() {
    for (fails, status) in [(false, 200), (true, 200), (false, 401), (true, 401)] {
        let mut script = Script::new(polling());
        let (link, _) = script.requests.last().unwrap().clone();
        let answer = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n{OPEN}");
        script.say(link, answer.as_bytes());
        let error = ClientError {
            class: ErrorClass::Unreachable,
            status: None,
            message: "unexpected end of file".into(),
            data: None,
        };
        script.client.handle_closed(script.now, link, fails.then_some(error));
        script.drain();
        let is_cut = fails && status == 200;
        assert_eq!(script.has("unexpected end of file"), is_cut, "{:?}", script.log);
        assert_eq!(script.has("Connected"), !fails && status == 200, "{:?}", script.log);
        assert_eq!(script.has("Stopped(Refused"), status == 401, "{:?}", script.log);
    }
}
