//! A namespace that is left and joined again while answers are on their way.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use client::emit;
use client::script::Script;
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
