//! A namespace that is left, or refused, and joined again.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::emit;
use client::script::{OPEN, Script};
use sio_proto::client::{ClientConfig, SocketId, Transport};
use sio_proto::{ByteString, LinkId};

/// A script with a namespace that stays, so that leaving the other one does not end the session.
fn beside() -> (Script, LinkId, SocketId) {
    let config = ClientConfig::default().confirm_events(true);
    let config = config.transports(vec![Transport::WebSocket]);
    let mut script = Script::new(config);
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\",\"pid\":\"q\",\"sio.confirmed\":0}");
    let chat = script.client.socket("/chat").unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.drain();
    (script, link, chat)
}

fn told(script: &mut Script) -> Vec<String> {
    std::mem::take(&mut script.messages)
}

/// A user leaves a namespace and comes back while the answer to the first CONNECT is due. That
/// CONNECT has shown the secret of a socket that the user has left, so its answer will not do.
#[test]
fn r11_who_leaves_and_comes_back_while_a_connect_is_due_begins_anew() {
    let (mut script, link, chat) = beside();
    script.tell(link, "40/chat,{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":0}");
    script.client.emit(script.now, chat, emit("n", "0")).unwrap();
    script.drain();
    script.cut(link);
    told(&mut script);
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\",\"pid\":\"q\",\"sio.confirmed\":0}");
    let shown = "40/chat,{\"pid\":\"p\",\"sio.confirmed\":0}";
    assert_eq!(told(&mut script).last().unwrap(), shown);
    script.client.disconnect(script.now, chat).unwrap();
    script.client.connect(script.now, chat).unwrap();
    let queued = script.client.emit(script.now, chat, emit("n", "1")).unwrap();
    script.drain();
    assert!(told(&mut script).is_empty(), "the answer is due");
    // The server has had the event, and recovers a client that does not want this any more.
    script.tell(link, "40/chat,{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":1}");
    assert!(!script.has("Lost(ParseError)"), "{:?}", script.log);
    assert_eq!(told(&mut script), ["41/chat,", "40/chat,{\"sio.confirmed\":0}"]);
    // What was on its way to the old socket is no answer.
    script.tell(link, "40/chat,{\"sio.confirmed\":1}");
    script.tell(link, "41/chat,");
    assert!(!script.client.is_connected(chat));
    script.tell(link, "40/chat,{\"sid\":\"t\",\"pid\":\"o\",\"sio.confirmed\":0}");
    assert!(script.client.is_connected(chat));
    assert_eq!(told(&mut script), ["42/chat,[\"n\",1]"]);
    script.tell(link, "40/chat,{\"sio.confirmed\":1}");
    assert!(!script.has("Lost(ParseError)"), "{:?} {queued:?}", script.log);
    assert!(!script.has("connect_error"), "{:?}", script.log);
}

/// The last text of a question is no offset, also if the question is not answered.
#[test]
fn questions_to_a_socket_that_was_left_move_no_offset() {
    let (mut script, link, chat) = beside();
    script.tell(link, "40/chat,{\"sid\":\"s\",\"pid\":\"p\"}");
    script.client.disconnect(script.now, chat).unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.drain();
    script.tell(link, "42/chat,[\"news\",2,\"o1\"]");
    script.tell(link, "42/chat,1[\"asked\",\"hi\"]");
    script.tell(link, "40/chat,{\"sid\":\"t\",\"pid\":\"o\"}");
    script.cut(link);
    told(&mut script);
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\",\"pid\":\"q\"}");
    let shown = told(&mut script);
    assert!(
        shown.last().unwrap().contains("\"pid\":\"o\",\"offset\":\"o1\""),
        "{shown:?}"
    );
}

/// A user leaves before the server has answered, and comes back. What the server sends until it has
/// read both was meant for the first socket.
#[test]
fn questions_to_a_socket_that_never_was_are_not_answered_by_the_next_one() {
    let (mut script, link, chat) = beside();
    script.client.disconnect(script.now, chat).unwrap();
    script
        .client
        .set_auth(chat, Some(ByteString::from_static("{\"a\":1}")))
        .unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.drain();
    script.tell(link, "40/chat,{\"sid\":\"s\"}");
    script.tell(link, "42/chat,0[\"asked\",1]");
    script.tell(link, "40/chat,{\"sid\":\"t\"}");
    assert!(script.client.is_connected(chat));
    assert_eq!(
        (script.events.last().map(String::as_str), script.tickets.len()),
        (Some("asked 1"), 0)
    );
    script.tell(link, "42/chat,0[\"asked\",2]");
    assert_eq!(script.tickets.len(), 1);
}

/// The answer to a CONNECT that has shown what the next one would show will do. A refusal of
/// another one is not told.
#[test]
fn a_connect_that_is_due_counts_for_the_next_one_if_it_says_the_same() {
    let (mut script, link, chat) = beside();
    let auth = |text| Some(ByteString::from_static(text));
    assert_eq!(told(&mut script).last().unwrap(), "40/chat,{\"sio.confirmed\":0}");
    script.client.disconnect(script.now, chat).unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.tell(link, "40/chat,{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":0}");
    assert!(script.client.is_connected(chat));
    assert!(told(&mut script).is_empty());
    // With other credentials, it does not.
    script.client.disconnect(script.now, chat).unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.client.disconnect(script.now, chat).unwrap();
    script.client.set_auth(chat, auth("{\"token\":2}")).unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.drain();
    assert_eq!(told(&mut script), ["41/chat,", "40/chat,{\"sio.confirmed\":0}"]);
    script.tell(link, "44/chat,{\"message\":\"no\"}");
    assert!(!script.has("connect_error"), "{:?}", script.log);
    assert_eq!(told(&mut script), ["40/chat,{\"sio.confirmed\":0,\"token\":2}"]);
    script.tell(link, "44/chat,{\"message\":\"no\"}");
    assert!(script.has("connect_error no"), "{:?}", script.log);
    // Who has left for good says goodbye.
    script.client.connect(script.now, chat).unwrap();
    script.client.disconnect(script.now, chat).unwrap();
    script.drain();
    told(&mut script);
    script.tell(link, "40/chat,{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":0}");
    assert_eq!(told(&mut script), ["41/chat,"]);
    assert!(!script.client.is_connected(chat));
}

fn polling() -> Script {
    Script::new(ClientConfig::default().transports(vec![Transport::Polling]))
}

/// Client C19: the server makes a session when it reads the handshake. A client that is closed
/// before the answer comes would leave it there for a whole heartbeat.
#[test]
fn a_client_that_is_closed_during_the_handshake_says_goodbye() {
    let mut script = polling();
    script.client.close(script.now);
    script.drain();
    assert!(!script.has("Stopped"), "the answer is due: {:?}", script.log);
    // What follows the open packet reaches nobody.
    script.answer(200, "", &format!("{OPEN}\u{1e}40{{\"sid\":\"r\"}}\u{1e}42[\"n\",0]"));
    let (_, goodbye) = script.requests.last().unwrap();
    assert!(goodbye.starts_with("POST ") && goodbye.contains("&sid=s "), "{goodbye}");
    assert!(goodbye.ends_with("\r\n\r\n1"), "{goodbye}");
    script.answer(200, "", "ok");
    assert_eq!(script.log.last().unwrap(), "Stopped(Closed)");
    assert_eq!(
        (script.requests.len(), script.open.len(), script.events.len()),
        (2, 0, 0)
    );
}

/// Client C19: the goodbye waits for the answer of a handshake, but not for long, and an answer
/// that makes no session ends the client at once.
#[test]
fn a_closed_client_does_not_wait_long_for_a_handshake() {
    let mut silent = polling();
    silent.client.close(silent.now);
    silent.pass(1999);
    assert!(!silent.has("Stopped"));
    silent.pass(1);
    assert_eq!(silent.log.last().unwrap(), "Stopped(Closed)");
    assert!(silent.open.is_empty());

    // The connection ends. The server refuses, sends the client elsewhere, or speaks no Engine.IO.
    let answers: [fn(&mut Script); 4] = [
        |script| {
            let link = script.open.remove(0);
            script.cut(link);
        },
        |script| script.answer(503, "", ""),
        |script| script.answer(302, "Location: http://localhost:4000/\r\n", ""),
        |script| script.answer(200, "", "<html>"),
    ];
    for answer in answers {
        let mut script = polling();
        script.client.close(script.now);
        script.drain();
        answer(&mut script);
        assert_eq!(script.log.last().unwrap(), "Stopped(Closed)");
        assert_eq!((script.requests.len(), script.open.len()), (1, 0));
    }
}

/// The application changes its mind while the answer is due: the next session follows the goodbye.
#[test]
fn who_connects_again_during_the_goodbye_of_a_handshake_gets_a_new_session() {
    let mut script = polling();
    script.client.disconnect(script.now, script.socket).unwrap();
    script.client.connect(script.now, script.socket).unwrap();
    script.drain();
    assert_eq!(script.requests.len(), 1);
    script.answer(200, "", OPEN);
    assert!(script.requests[1].1.ends_with("\r\n\r\n1"));
    script.answer(200, "", "ok");
    let (_, next) = script.requests.last().unwrap();
    assert!(script.requests.len() == 3 && next.starts_with("GET "), "{next}");
    script.answer(200, "", &OPEN.replace("\"s\"", "\"t\""));
    script.answer(200, "", "ok");
    assert!(script.has("Connected {"), "{:?}", script.log);
}

/// Client C18: a sleep of the machine begins an attempt anew, but not that of a closed client.
#[test]
fn a_closed_client_that_waits_for_a_handshake_does_not_come_back_after_a_sleep() {
    let mut script = polling();
    script.client.close(script.now);
    script.client.handle_clock_jump(script.now, Duration::from_secs(60));
    script.drain();
    assert_eq!((script.requests.len(), script.open.len()), (1, 1));
    script.pass(60_000);
    assert_eq!(script.log.last().unwrap(), "Stopped(Closed)");
    assert_eq!((script.requests.len(), script.open.len()), (1, 0));
    assert_eq!(script.client.next_timeout(), None);
}

/// A client that was refused, and whose connection ends then, may still be recovered when it
/// connects again. Its server has gone on counting events, and so has the client.
#[test]
fn who_was_refused_in_between_is_recovered_with_the_right_count() {
    let (mut script, link, chat) = beside();
    script.tell(link, "40/chat,{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":0}");
    script.client.emit(script.now, chat, emit("n", "0")).unwrap();
    script.drain();
    script.tell(link, "40/chat,{\"sio.confirmed\":1}");
    script.client.emit(script.now, chat, emit("n", "1")).unwrap();
    script.drain();
    script.cut(link);
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\",\"pid\":\"q\",\"sio.confirmed\":0}");
    let shown = "40/chat,{\"pid\":\"p\",\"sio.confirmed\":1}";
    assert_eq!(told(&mut script).last().unwrap(), shown);
    script.tell(link, "44/chat,{\"message\":\"not today\"}");
    script.cut(link);
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\",\"pid\":\"q\",\"sio.confirmed\":0}");
    script.client.connect(script.now, chat).unwrap();
    script.drain();
    assert_eq!(told(&mut script).last().unwrap(), shown);
    // The server has had the event that was given up.
    script.tell(link, "40/chat,{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":2}");
    assert!(!script.has("Lost(ParseError)"), "{:?}", script.log);
    assert!(script.client.is_connected(chat), "{:?}", script.log);
    script.client.emit(script.now, chat, emit("n", "2")).unwrap();
    script.drain();
    assert_eq!(told(&mut script), ["42/chat,[\"n\",2]"]);
    script.tell(link, "40/chat,{\"sio.confirmed\":3}");
    assert!(script.client.is_connected(chat), "{:?}", script.log);
}
