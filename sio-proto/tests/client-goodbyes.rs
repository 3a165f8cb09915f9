//! How a client says goodbye, step by step: what leaves before it, what it is on each wire, and
//! what the end of a session leaves behind.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::emit;
use client::script::{OPEN, Script};
use sio_proto::client::{ClientConfig, Generation, NotSent, Offline, Outcome, Transport};
use sio_proto::websocket::{Opcode, encode_message};
use sio_proto::{BytesMut, LinkId};

const GET: &str = "GET /socket.io/?EIO=4&transport=polling";

fn polling() -> ClientConfig {
    ClientConfig::default().transports(vec![Transport::Polling])
}

fn websocket() -> ClientConfig {
    ClientConfig::default().transports(vec![Transport::WebSocket])
}

/// A client with `/` on a websocket.
fn connected(config: ClientConfig) -> (Script, LinkId) {
    let mut script = Script::new(config);
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    (script, link)
}

/// A client with `/` on polling, and the connections of its GET and its POST.
fn polled(config: ClientConfig, open: &str) -> (Script, LinkId, LinkId) {
    let mut script = Script::new(config);
    script.answer(200, "", open);
    let (get, post) = (script.last(GET).0, script.last("POST ").0);
    script.answer_on(post, 200, "", "ok");
    script.answer_on(get, 200, "", "40{\"sid\":\"r\"}");
    assert!(script.has("connect New"), "{:?}", script.log);
    (script, get, post)
}

/// A client on polling whose upgrade has come so far that no new request begins: the server has
/// answered the probe, and the GET is held.
fn paused() -> (Script, LinkId, LinkId, LinkId) {
    let open = OPEN.replace("[]", "[\"webtransport\",\"websocket\"]");
    let (mut script, get, post) = polled(ClientConfig::default(), &open);
    let (probe, request) = script.last("transport=websocket");
    script.requests.push((probe, request));
    script.upgrade();
    script.tell(probe, "3probe");
    (script, get, post, probe)
}

fn closed(script: &mut Script) {
    script.client.close(script.now);
    script.drain();
}

/// The opcodes of the frames that were written, all of them short and masked.
fn opcodes(script: &Script) -> Vec<u8> {
    let mut found = Vec::new();
    for (_, bytes) in &script.frames {
        let mut rest = &bytes[..];
        while let [first, length, ..] = rest {
            assert!(length & 128 != 0 && length & 127 < 126, "a short masked frame");
            found.push(first & 15);
            rest = &rest[6 + usize::from(length & 127)..];
        }
    }
    found
}

/// On a websocket, the goodbye is a Close frame, and everything else stands before it.
#[test]
fn a_websocket_is_closed_with_a_close_frame() {
    let (mut script, link) = connected(websocket());
    script.frames.clear();
    script.emit(script.socket, emit("last", "1")).unwrap();
    closed(&mut script);
    assert_eq!(
        script.messages[script.messages.len() - 3..],
        ["42[\"last\",1]", "41", ""]
    );
    assert_eq!(opcodes(&script), [1, 1, 8]);
    let (_, goodbye) = script.frames.last().unwrap();
    let close = &goodbye[goodbye.len() - 6..];
    assert_eq!(close[..2], [0x88, 0x80], "empty, and masked");
    assert!(!script.has("Stopped") && script.open == [link], "the server closes it");
    // Nobody says goodbye twice.
    script.client.disconnect(script.now, script.socket).unwrap();
    closed(&mut script);
    assert_eq!(opcodes(&script), [1, 1, 8]);
    script.say(link, &[0x88, 0x00]);
    assert_eq!(script.log.last().unwrap(), "Stopped(Closed)");
    assert!(script.open.is_empty());
}

/// A mask is drawn anew for each frame (RFC 6455 §5.3), and a key for each handshake (§4.1).
#[test]
fn masks_and_keys_are_drawn_anew() {
    let (mut script, link) = connected(websocket());
    script.frames.clear();
    for _ in 0..3 {
        script.emit(script.socket, emit("n", "1")).unwrap();
    }
    closed(&mut script);
    let mut masks: Vec<Vec<u8>> = script.frames.iter().map(|(_, bytes)| bytes[2..6].to_vec()).collect();
    masks.push(script.frames.last().unwrap().1.iter().rev().take(4).copied().collect());
    masks.sort();
    masks.dedup();
    assert_eq!(masks.len(), script.frames.len() + 1, "{masks:?}");
    assert!(!masks.contains(&vec![0; 4]));
    script.say(link, &[0x88, 0x00]);
    let keys: Vec<String> = (0..2)
        .map(|_| {
            let (_, request) = Script::websocket().requests.remove(0);
            request
                .lines()
                .find(|line| line.starts_with("Sec-WebSocket-Key"))
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(keys[0], keys[1], "the same random numbers make the same key");
    let mut script = Script::websocket();
    let link = script.open[0];
    script.cut(link);
    assert_eq!(script.count("Sec-WebSocket-Key"), 2);
    assert_eq!(script.count(&keys[0]), 1, "{:?}", script.requests);
}

/// A namespace that is left writes what still waits for it, and then its goodbye, at once.
#[test]
fn what_waits_leaves_before_the_goodbye_of_its_namespace() {
    let (mut script, _, post) = polled(polling(), OPEN);
    let chat = script.join("/chat");
    script.answer_on(post, 200, "", "ok");
    let get = script.last("GET ").0;
    script.answer_on(get, 200, "", "40/chat,{\"sid\":\"c\"}");
    script.emit(script.socket, emit("a", "1")).unwrap();
    let waits = script.emit(chat, emit("b", "2")).unwrap();
    assert_eq!(script.client.pending(chat).count(), 1, "a POST is under way");
    script.leave(chat);
    assert_eq!(script.receipts.get(&waits), Some(&Outcome::Sent));
    script.answer_on(post, 200, "", "ok");
    let (_, request) = script.last("POST ");
    assert!(
        request.ends_with("\r\n\r\n42/chat,[\"b\",2]\u{1e}41/chat,"),
        "{request}"
    );

    let (mut script, link) = connected(websocket());
    let chat = script.join("/chat");
    script.tell(link, "40/chat,{\"sid\":\"c\"}");
    script.leave(chat);
    assert_eq!(script.messages.last().unwrap(), "41/chat,", "at once");
    // What was on its way to the namespace reaches nobody.
    script.tell(link, "42/chat,[\"late\",1]");
    assert!(script.events.is_empty(), "{:?}", script.events);
}

/// During a POST, and in the middle of an upgrade, the goodbye leaves by POST.
#[test]
fn a_goodbye_leaves_in_the_middle_of_an_upgrade() {
    let (mut script, get, post, probe) = paused();
    assert_eq!(script.open.len(), 3);
    closed(&mut script);
    assert!(!script.open.contains(&probe), "the upgrade is given up");
    let (link, goodbye) = script.last("POST ");
    assert_eq!(link, post);
    assert!(goodbye.ends_with("\r\n\r\n41\u{1e}1"), "{goodbye}");
    // The answer to the GET may come first, whatever it says: the goodbye is still on its way.
    script.answer_on(get, 400, "", "");
    assert!(!script.has("Stopped"), "{:?}", script.log);
    script.answer_on(post, 200, "", "ok");
    assert_eq!(script.log.last().unwrap(), "Stopped(Closed)");
    assert!(script.open.is_empty());
}

/// While a session is about to move, nothing is taken from the queue: the caller can still see it,
/// and what is volatile is dropped. If the probe fails then, polling goes on.
#[test]
fn an_upgrade_that_fails_late_leaves_polling_alone() {
    let (mut script, get, _, probe) = paused();
    script.emit(script.socket, emit("kept", "1")).unwrap();
    assert_eq!(script.client.pending(script.socket).count(), 1);
    let volatile = emit("gone", "2").offline(Offline::Volatile);
    let volatile = script.emit(script.socket, volatile).unwrap();
    assert_eq!(script.receipts[&volatile], Outcome::NotSent(NotSent::Volatile));
    let posts = script.count("POST ");
    script.close(probe);
    assert_eq!(script.client.pending(script.socket).count(), 0);
    assert_eq!(script.count("POST "), posts + 1);
    assert!(script.last("POST ").1.ends_with("42[\"kept\",1]"));
    // The GET was held all the time.
    let gets = script.count(GET);
    script.answer_on(get, 200, "", "2");
    assert_eq!(script.count(GET), gets + 1);
    assert!(!script.has("Lost"), "{:?}", script.log);

    // The GET was answered while a POST was under way: there is none, so one begins.
    let open = OPEN.replace("[]", "[\"websocket\"]");
    let (mut script, get, post) = polled(ClientConfig::default(), &open);
    script.emit(script.socket, emit("n", "1")).unwrap();
    let (probe, request) = script.last("transport=websocket");
    script.requests.push((probe, request));
    script.upgrade();
    script.tell(probe, "3probe");
    script.answer_on(get, 200, "", "6");
    let gets = script.count(GET);
    script.close(probe);
    assert_eq!(script.count(GET), gets + 1, "polling goes on");
    script.answer_on(post, 200, "", "ok");
    script.answer_on(get, 200, "", "42[\"back\"]");
    assert_eq!(script.events, ["back "]);
}

/// A client whose session is not open, and of which the server keeps nothing, is closed at once.
#[test]
fn before_there_is_a_session_nobody_waits_for_its_goodbye() {
    let mut handshakes = vec![Script::websocket()];
    // The connection does not stand yet.
    let mut script = Script::new(polling());
    script.holds = true;
    let link = script.open[0];
    script.close(link);
    script.pass(1000);
    assert_eq!(script.open.len(), 1, "another attempt");
    handshakes.push(script);
    // Before 1.0, only the websocket or the first poll makes a session.
    handshakes.push(Script::new(polling().generation(Generation::V0_9)));
    for mut script in handshakes {
        closed(&mut script);
        assert_eq!(script.log.last().unwrap(), "Stopped(Closed)");
        assert!(script.open.is_empty());
        assert_eq!(script.client.next_timeout(), None);
    }
}

/// The goodbye has its own time. Meanwhile no other deadline counts.
#[test]
fn a_goodbye_is_not_cut_short_by_the_heartbeat() {
    let config = polling().close_timeout(Duration::from_secs(100));
    let (mut script, _, _) = polled(config, OPEN);
    closed(&mut script);
    script.pass(99_999);
    assert!(!script.has("Stopped"), "{:?}", script.log);
    script.pass(1);
    assert_eq!(script.log.last().unwrap(), "Stopped(Closed)");
}

/// One of two namespaces connects again while the goodbye is on its way: another session follows.
#[test]
fn who_connects_again_during_the_goodbye_is_not_forgotten() {
    let (mut script, link) = connected(websocket());
    let chat = script.join("/chat");
    script.tell(link, "40/chat,{\"sid\":\"c\"}");
    script.leave(script.socket);
    script.leave(chat);
    script.client.connect(script.now, chat).unwrap();
    script.drain();
    assert_eq!(script.requests.len(), 1);
    script.say(link, &[0x88, 0x00]);
    assert!(!script.has("Stopped"), "{:?}", script.log);
    let link = script.opened();
    assert_eq!(script.messages.last().unwrap(), "40/chat,");
    script.tell(link, "40/chat,{\"sid\":\"d\"}");
    assert!(script.client.is_connected(chat) && !script.client.is_connected(script.socket));
}

/// Whatever keeps the last namespace from connecting, its session is not left open.
#[test]
fn a_session_that_nobody_wants_is_closed() {
    let auth = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000));
    // Refused, too old, or an `auth` that the server does not take.
    for answer in ["44{\"message\":\"no\"}", "40", ""] {
        let mut script = Script::websocket();
        if answer.is_empty() {
            script
                .client
                .set_auth(script.socket, Some(auth.clone().into()))
                .unwrap();
        }
        let link = script.opened();
        script.tell(link, answer);
        assert_eq!(script.errors.len(), 1, "{:?}", script.log);
        assert_eq!(opcodes(&script).last(), Some(&8), "{answer}");
        script.say(link, &[0x88, 0x00]);
        assert_eq!(script.log.last().unwrap(), "Stopped(NoNamespace)");
    }
    // The user came back with an `auth` that the server does not take, while a CONNECT was due.
    let (mut script, link) = connected(websocket());
    let chat = script.join("/chat");
    script.leave(chat);
    script.client.set_auth(chat, Some(auth.into())).unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.leave(script.socket);
    assert_eq!(opcodes(&script).last(), Some(&1));
    script.tell(link, "40/chat,{\"sid\":\"c\"}");
    assert_eq!(script.errors.len(), 1, "{:?}", script.log);
    assert_eq!(opcodes(&script).last(), Some(&8));
    // Unless the settings say that it stays.
    let (mut script, link) = connected(websocket().close_with_last(false));
    script.leave(script.socket);
    assert!(!script.has("Stopped") && script.open == [link]);
}

/// A server that ends the session while a namespace connects: the user is told.
#[test]
fn a_namespace_that_connects_is_told_of_the_end() {
    let mut script = Script::new(websocket().generation(Generation::V0_9));
    script.answer(200, "", "s1:60:60:websocket");
    let link = script.upgrade();
    script.tell(link, "1::");
    script.join("/chat");
    script.tell(link, "0::");
    assert!(script.has("disconnect io server disconnect"), "{:?}", script.log);
    assert!(
        script.has("connect_error the server ended the session"),
        "{:?}",
        script.log
    );
    assert_eq!(script.log.last().unwrap(), "Stopped(NoNamespace)");
    assert!(script.open.is_empty());
}

/// A session that is lost leaves nothing to the next one: no half of an event, and no heartbeat.
#[test]
fn half_an_event_ends_with_its_session() {
    let (mut script, link) = connected(websocket());
    script.tell(link, "451-[\"half\",{\"_placeholder\":true,\"num\":0}]");
    script.cut(link);
    script.news();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    script.tell(link, "42[\"whole\",1]");
    assert_eq!(script.events, ["whole 1"]);
    assert!(!script.has("Lost"), "{:?}", script.log);
}

/// `1` of Engine.IO: the server closes the session, and the client comes back.
#[test]
fn a_server_may_close_a_session() {
    let (mut script, link) = connected(websocket());
    script.tell(link, "1");
    assert!(script.has("disconnect transport close") && script.has("Lost(TransportClose)"));
    assert!(!script.open.contains(&link));
    script.pass(1000);
    assert_eq!(script.count("transport=websocket"), 2);
}

/// Bytes for a connection that is no more are taken out of the buffer, whatever the client does.
#[test]
fn late_bytes_are_dropped() {
    let (mut script, link) = connected(websocket());
    let mut late = BytesMut::new();
    encode_message(&mut late, Opcode::Text, b"42[\"late\"]", None);
    let feed = |script: &mut Script, link: LinkId| {
        let mut bytes = late.clone();
        script.client.handle_bytes(script.now, link, &mut bytes);
        script.drain();
        bytes.len()
    };
    assert_eq!(feed(&mut script, LinkId(77)), 0, "no such connection");
    assert_eq!(feed(&mut script, link), 0);
    assert_eq!(script.events, ["late "]);
    closed(&mut script);
    script.say(link, &[0x88, 0x00]);
    assert_eq!(feed(&mut script, link), 0, "the client has stopped");
    assert_eq!(script.events.len(), 1);
}
