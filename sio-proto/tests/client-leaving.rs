//! A namespace that is left, or refused, and joined again.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::emit;
use client::script::{OPEN, Script};
use sio_proto::client::{ClientConfig, Outcome, SocketId, Transport};
use sio_proto::{ByteString, LinkId};

/// A script with a namespace that stays, so that leaving the other one does not end the session.
fn beside() -> (Script, LinkId, SocketId) {
    let config = ClientConfig::default().confirm_events(true);
    beside_with(config.transports(vec![Transport::WebSocket]))
}

fn beside_with(config: ClientConfig) -> (Script, LinkId, SocketId) {
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

/// The numbers of the events that the client has written since the last call.
fn written(script: &mut Script) -> Vec<u64> {
    let number = |text: &String| text.rsplit(',').next()?.trim_end_matches(']').parse().ok();
    told(script).iter().filter_map(number).collect()
}

/// A client is cut off, refused when it comes back, loses that connection, and connects again by
/// hand. Its server has gone on counting events and recovers it, so each event is written exactly
/// until the server has had it, in order. `had` is how many of the two events the server has had
/// that were written before the first cut, and `more` how many connections of another namespace
/// come and end before the client connects. `alone`, the refused namespace is the only one, and the
/// client closes the connection by itself.
fn is_refused_and_comes_back(retries: u32, had: u64, alone: bool, more: usize) {
    let case = format!("retries {retries}, had {had}, alone {alone}, more {more}");
    let config = ClientConfig::default().confirm_events(true).retries(retries);
    let config = config.ack_timeout(Duration::from_secs(600));
    let mut script = Script::new(config.transports(vec![Transport::WebSocket]));
    let other = "40{\"sid\":\"r\",\"pid\":\"q\",\"sio.confirmed\":0}";
    let mut link = script.opened();
    let (place, socket) = match alone {
        true => ("", script.socket),
        false => ("/chat,", script.client.socket("/chat").unwrap()),
    };
    if !alone {
        script.tell(link, other);
        script.client.connect(script.now, socket).unwrap();
        script.drain();
    }
    script.tell(
        link,
        &format!("40{place}{{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":0}}"),
    );
    let send = |script: &mut Script, event| {
        let emit = script.client.emit(script.now, socket, event).unwrap();
        script.drain();
        emit
    };
    send(&mut script, emit("n", "0"));
    script.tell(link, &format!("40{place}{{\"sio.confirmed\":1}}"));
    let plain = send(&mut script, emit("n", "1"));
    let asks = send(&mut script, emit("n", "2").ack());
    assert_eq!(written(&mut script), [0, 1, 2], "{case}");
    script.cut(link);
    link = script.opened();
    if !alone {
        script.tell(link, other);
    }
    let shown = format!("40{place}{{\"pid\":\"p\",\"sio.confirmed\":1}}");
    assert_eq!(*told(&mut script).last().unwrap(), shown, "{case}");
    script.tell(link, &format!("44{place}{{\"message\":\"not today\"}}"));
    let later = send(&mut script, emit("n", "3"));
    script.cut(link);
    for _ in 0..more {
        link = script.opened();
        script.tell(link, other);
        script.cut(link);
    }
    assert_eq!(
        script.receipts.len(),
        1,
        "{case}: nobody knows yet: {:?}",
        script.receipts
    );
    if alone {
        assert!(script.has("Stopped(NoNamespace)"), "{case}: {:?}", script.log);
    } else {
        link = script.opened();
        script.tell(link, other);
    }
    assert_eq!(written(&mut script), [0u64; 0], "{case}");
    script.client.connect(script.now, socket).unwrap();
    script.drain();
    if alone {
        link = script.opened();
    }
    assert_eq!(*told(&mut script).last().unwrap(), shown, "{case}");
    let heard = 1 + had;
    script.tell(
        link,
        &format!("40{place}{{\"sid\":\"t\",\"pid\":\"p\",\"sio.confirmed\":{heard}}}"),
    );
    script.pass(1_000);
    assert!(script.has("connect Recovered"), "{case}: {:?}", script.log);
    assert_eq!(written(&mut script), (heard..=3).collect::<Vec<_>>(), "{case}");
    script.tell(link, &format!("40{place}{{\"sio.confirmed\":4}}"));
    if had < 2 {
        script.tell(link, &format!("43{place}1[]"));
    }
    assert!(!script.has("Lost(ParseError)"), "{case}: {:?}", script.log);
    assert!(script.client.is_connected(socket), "{case}: {:?}", script.log);
    let outcome = |emit| script.receipts.get(&emit);
    assert_eq!(outcome(plain), Some(&Outcome::Confirmed), "{case}");
    assert_eq!(outcome(later), Some(&Outcome::Confirmed), "{case}");
    match had {
        2 => assert_eq!(outcome(asks), Some(&Outcome::Unanswered), "{case}"),
        _ => assert!(matches!(outcome(asks), Some(Outcome::Acknowledged(_))), "{case}"),
    }
}

#[test]
fn r11_who_was_refused_in_between_is_recovered_and_has_each_event_handled_once() {
    for retries in [0, 1] {
        for had in 0..=2 {
            is_refused_and_comes_back(retries, had, true, 0);
            is_refused_and_comes_back(retries, had, false, 0);
            is_refused_and_comes_back(retries, had, false, 2);
        }
    }
}

/// A client has stopped, and only one of its namespaces connects again. What the other one has
/// written waits until that one connects, too, however many connections end before.
#[test]
fn r11_who_connects_later_than_another_namespace_loses_nothing() {
    for (retries, had) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let config = ClientConfig::default().confirm_events(true).reconnection(false);
        let config = config.retries(retries).transports(vec![Transport::WebSocket]);
        let (mut script, link, chat) = beside_with(config);
        script.tell(link, "40/chat,{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":0}");
        let sent = script.client.emit(script.now, chat, emit("n", "1")).unwrap();
        script.drain();
        assert_eq!(written(&mut script), [1]);
        script.cut(link);
        for _ in 0..2 {
            assert_eq!(script.log.last().unwrap(), "Stopped(ReconnectionOff)");
            script.client.connect(script.now, script.socket).unwrap();
            script.drain();
            let link = script.opened();
            script.tell(link, "40{\"sid\":\"r\",\"pid\":\"q\",\"sio.confirmed\":0}");
            script.cut(link);
        }
        assert!(script.receipts.is_empty(), "{:?}", script.receipts);
        script.client.connect(script.now, chat).unwrap();
        script.drain();
        let link = script.opened();
        script.tell(
            link,
            &format!("40/chat,{{\"sid\":\"t\",\"pid\":\"p\",\"sio.confirmed\":{had}}}"),
        );
        script.pass(1_000);
        let again: &[u64] = if had == 0 { &[1] } else { &[] };
        assert_eq!(written(&mut script), again, "retries {retries}, had {had}");
        script.tell(link, "40/chat,{\"sio.confirmed\":1}");
        assert_eq!(script.receipts.get(&sent), Some(&Outcome::Confirmed));
    }
}

/// After the goodbye of the server there is nothing to be recovered, and nothing is confirmed.
#[test]
fn whom_the_server_has_disconnected_begins_anew_with_zero() {
    for retries in [0, 1] {
        let config = ClientConfig::default().confirm_events(true).retries(retries);
        let (mut script, link, chat) = beside_with(config.transports(vec![Transport::WebSocket]));
        script.tell(link, "40/chat,{\"sid\":\"s\",\"pid\":\"p\",\"sio.confirmed\":0}");
        script.client.emit(script.now, chat, emit("n", "0")).unwrap();
        script.drain();
        script.tell(link, "40/chat,{\"sio.confirmed\":1}");
        let unknown = script.client.emit(script.now, chat, emit("n", "1")).unwrap();
        script.drain();
        script.tell(link, "41/chat,");
        told(&mut script);
        script.client.connect(script.now, chat).unwrap();
        script.drain();
        assert_eq!(told(&mut script), ["40/chat,{\"sio.confirmed\":0}"]);
        script.tell(link, "40/chat,{\"sid\":\"t\",\"pid\":\"o\",\"sio.confirmed\":0}");
        script.pass(1_000);
        match retries {
            0 => assert_eq!(script.receipts.get(&unknown), Some(&Outcome::Disconnected)),
            _ => assert_eq!(written(&mut script), [1], "as a new one"),
        }
        assert!(script.client.is_connected(chat), "{:?}", script.log);
    }
}
