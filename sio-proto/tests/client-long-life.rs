//! The accounts of a client over a long life: what has ended counts for nothing any more, nobody is
//! woken for it, and what goes on keeps its time and its place.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::emit;
use client::script::{OPEN, Script};
use sio_proto::client::{
    ClientConfig, Emit, EmitError, EmitId, Generation, NotSent, Offline, Outcome, TimeoutReason, Transport,
};
use sio_proto::socket::Args;
use sio_proto::{ByteString, Bytes, LinkId};

const MAX: usize = 1000;
const WELCOME: &str = "40{\"sid\":\"r\",\"pid\":\"p\",\"sio.confirmed\":0}";

fn websocket() -> ClientConfig {
    ClientConfig::default()
        .transports(vec![Transport::WebSocket])
        .max_queued_bytes(MAX)
}

fn confirming() -> ClientConfig {
    websocket().confirm_events(true)
}

fn connected(config: ClientConfig) -> (Script, LinkId) {
    let mut script = Script::new(config);
    let link = script.opened();
    script.tell(link, WELCOME);
    (script, link)
}

/// An event that takes so many bytes of the queue.
fn of_bytes(bytes: usize) -> Emit {
    emit(&"n".repeat(bytes - 64 - 1), "1")
}

/// Cuts the connection. Returns the next one, whose session is open.
fn cut(script: &mut Script, link: LinkId) -> LinkId {
    script.close(link);
    script.pass(1000);
    script.opened()
}

fn recovered(script: &mut Script, link: LinkId, heard: u64) {
    script.tell(
        link,
        &format!("40{{\"sid\":\"r\",\"pid\":\"p\",\"sio.confirmed\":{heard}}}"),
    );
}

/// Nothing is held, and nothing is due: the queue takes one event of its whole size, and the client
/// is not woken for anything that is over.
fn assert_is_clean(script: &mut Script, what: &str) {
    let root = script.socket;
    if let Some((time, reason)) = script.client.next_timeout_reason() {
        assert!(time > script.now, "{what}: {reason:?}");
        assert_ne!(reason, TimeoutReason::Emit, "{what}");
    }
    for link in script.open.clone() {
        script.client.handle_blocked(script.now, link);
    }
    let whole = script.emit(root, of_bytes(MAX));
    assert!(whole.is_ok(), "{what}: {whole:?}");
    let more = script.emit(root, of_bytes(66));
    assert_eq!(more, Err(EmitError::QueueFull), "{what}");
    assert!(script.client.remove_pending(whole.unwrap()), "{what}");
    for link in script.open.clone() {
        script.client.handle_drained(script.now, link);
    }
    script.drain();
}

fn outcome(script: &Script, emit: EmitId) -> Option<&Outcome> {
    script.receipts.get(&emit)
}

/// Every way in which an event ends gives its room back.
#[test]
fn what_has_ended_counts_for_nothing() {
    // Answered, with and without repetitions.
    for retries in [0, 1] {
        let (mut script, link) = connected(websocket().retries(retries));
        for number in 0..5 {
            let id = script.emit(script.socket, of_bytes(600).ack()).unwrap();
            script.tell(link, &format!("43{number}[]"));
            assert!(matches!(outcome(&script, id), Some(Outcome::Acknowledged(_))));
        }
        assert_is_clean(&mut script, "answered");
    }
    // Never answered.
    let config = websocket().retries(1u32).ack_timeout(Duration::from_secs(1));
    let (mut script, _) = connected(config);
    let id = script.emit(script.socket, of_bytes(600)).unwrap();
    script.messages.clear();
    script.pass(999);
    assert_eq!(script.messages.len(), 0);
    script.pass(1);
    assert_eq!(script.messages.len(), 1, "a try has its time");
    script.pass(1000);
    assert_eq!(outcome(&script, id), Some(&Outcome::TimedOut));
    assert_is_clean(&mut script, "never answered");
    // A place in the queue with an age of its own.
    let (mut script, link) = connected(websocket().max_queue_age(Some(Duration::from_secs(1))));
    let id = script.emit(script.socket, of_bytes(600).ack()).unwrap();
    script.pass(2000);
    assert_eq!(outcome(&script, id), None);
    let next = script.client.next_timeout().unwrap();
    assert!(next > script.now);
    script.tell(link, "430[]");
    assert_is_clean(&mut script, "an age");
    // Confirmed, or answered before.
    let (mut script, link) = connected(confirming().max_unconfirmed(2usize));
    for number in 1..6 {
        let id = script.emit(script.socket, of_bytes(600)).unwrap();
        script.tell(link, &format!("40{{\"sio.confirmed\":{number}}}"));
        assert_eq!(outcome(&script, id), Some(&Outcome::Confirmed));
    }
    for number in 0..5 {
        script.emit(script.socket, of_bytes(600).ack()).unwrap();
        script.tell(link, &format!("43{number}[]"));
    }
    assert_is_clean(&mut script, "confirmed");
    // Confirmed by a recovery, with an age.
    let (mut script, link) = connected(confirming().max_queue_age(Some(Duration::from_secs(9))));
    let id = script.emit(script.socket, of_bytes(600)).unwrap();
    let asked = script.emit(script.socket, of_bytes(100).ack()).unwrap();
    let link = cut(&mut script, link);
    recovered(&mut script, link, 2);
    assert_eq!(outcome(&script, id), Some(&Outcome::Confirmed));
    assert_eq!(outcome(&script, asked), Some(&Outcome::Unanswered));
    assert_is_clean(&mut script, "confirmed by a recovery");
    // Not known.
    let (mut script, link) = connected(confirming());
    for _ in 0..2 {
        script.emit(script.socket, of_bytes(200)).unwrap();
        script.emit(script.socket, of_bytes(200).ack()).unwrap();
    }
    let link = cut(&mut script, link);
    script.tell(link, "40{\"sid\":\"t\",\"pid\":\"q\",\"sio.confirmed\":0}");
    assert_eq!(script.receipts.len(), 4);
    assert!(
        script
            .receipts
            .values()
            .all(|outcome| *outcome == Outcome::Disconnected)
    );
    assert_is_clean(&mut script, "not known");
}

/// An event that no server of this generation takes ends, and leaves nothing.
#[test]
fn what_cannot_be_carried_counts_for_nothing() {
    let config = ClientConfig::default()
        .generation(Generation::Auto)
        .transports(vec![Transport::Polling])
        .max_queue_age(Some(Duration::from_secs(5)))
        .max_queued_bytes(MAX);
    let mut script = Script::new(config);
    let mut args = Args::from(ByteString::from("{\"_placeholder\":true,\"num\":0}"));
    args.attachments = vec![Bytes::from_static(&[7; 500])];
    let id = script.emit(script.socket, Emit::new("n", args)).unwrap();
    script.answer(200, "", "Welcome to socket.io.");
    script.answer(200, "", "s1:60:60:xhr-polling");
    script.answer(200, "", "1::");
    assert_eq!(outcome(&script, id), Some(&Outcome::NotSent(NotSent::Unsupported)));
    // A POST is under way, so what follows waits.
    script.emit(script.socket, emit("n", "1")).unwrap();
    assert_is_clean(&mut script, "not carried");
}

/// Answers that were written count for nothing; those that were not end with their connection.
#[test]
fn answers_end_with_their_connection() {
    let (mut script, link) = connected(websocket().max_answer_bytes(300usize));
    let answer = |script: &mut Script, link: LinkId, number: u32| {
        script.tell(link, &format!("42{number}[\"asked\"]"));
        let ticket = script.tickets.pop().unwrap();
        let args = Args::from(ByteString::from(format!("\"{number}\"")));
        let answered = script.client.answer(script.now, ticket, args);
        script.drain();
        answered
    };
    for number in 0..20 {
        assert_eq!(answer(&mut script, link, number), Ok(true));
    }
    script.client.handle_blocked(script.now, link);
    for number in 20..24 {
        assert_eq!(answer(&mut script, link, number), Ok(true));
    }
    script.messages.clear();
    let link = cut(&mut script, link);
    script.tell(link, WELCOME);
    assert_eq!(
        script.messages,
        ["40{\"pid\":\"p\"}"],
        "they were for the other connection"
    );
    script.client.handle_blocked(script.now, link);
    for number in 0..4 {
        assert_eq!(answer(&mut script, link, number), Ok(true));
    }
    assert!(
        !script.log.iter().any(|line| line.contains("parse error")),
        "{:?}",
        script.log
    );
}

/// Events that came before their namespace was connected end with the session, and so do their
/// bytes.
#[test]
fn early_events_end_with_their_session() {
    let mut script = Script::new(websocket().max_early_bytes(6000usize));
    let mut link = script.opened();
    for _ in 0..3 {
        script.tell(link, &format!("42[\"early\",\"{}\"]", "x".repeat(4000)));
        link = cut(&mut script, link);
    }
    script.tell(link, WELCOME);
    assert!(!script.has("Lost(ParseError)"), "{:?}", script.log);
    assert_eq!(script.events.len(), 0);
}

/// What waits while the connection is busy, and loses it, waits like what came without one: it
/// leaves at the rate of the queue.
#[test]
fn what_has_lost_its_connection_leaves_at_the_rate() {
    let (mut script, link) = connected(websocket().drain_per_second(1u32));
    script.client.handle_blocked(script.now, link);
    for number in 0..3 {
        script.emit(script.socket, emit("n", &number.to_string())).unwrap();
    }
    let link = cut(&mut script, link);
    script.tell(link, WELCOME);
    assert_eq!(script.receipts.len(), 1);
    script.pass(1000);
    script.pass(1000);
    assert_eq!(script.receipts.len(), 3);
    assert_ne!(script.client.next_timeout_reason().unwrap().1, TimeoutReason::Drain);
}

/// The limit of awaited acknowledgements counts those that are awaited and those that wait to be,
/// and nothing else. A key counts the events that have it.
#[test]
fn limits_count_what_they_name() {
    let (mut script, link) = connected(websocket().max_in_flight(3usize));
    let root = script.socket;
    script.emit(root, emit("asks", "1").ack()).unwrap();
    script.client.handle_blocked(script.now, link);
    for _ in 0..5 {
        script.emit(root, emit("n", "1")).unwrap();
    }
    script.emit(root, emit("asks", "2").ack()).unwrap();
    script.emit(root, emit("asks", "3").ack()).unwrap();
    assert_eq!(
        script.emit(root, emit("asks", "4").ack()),
        Err(EmitError::TooManyInFlight)
    );
    script.client.clear_pending(root);
    script.emit(root, of_bytes(600)).unwrap();
    let newest = |bytes: usize| of_bytes(bytes).offline(Offline::Newest("key".into()));
    assert_eq!(script.emit(root, newest(500)), Err(EmitError::QueueFull));
    script.emit(root, newest(400)).unwrap();
    script.emit(root, newest(300)).unwrap();
    assert_eq!(script.client.pending(root).count(), 2);
}

/// A repetition takes those behind it along that are repeated themselves, and no others.
#[test]
fn a_repetition_leaves_others_alone() {
    let config = websocket()
        .retries(2u32)
        .retry_window(2usize)
        .ack_timeout(Duration::from_secs(1));
    let (mut script, link) = connected(config);
    let root = script.socket;
    let again = script.emit(root, emit("again", "1").ack()).unwrap();
    let once = emit("once", "1")
        .ack()
        .offline(Offline::Volatile)
        .timeout(Duration::from_secs(30));
    let once = script.emit(root, once).unwrap();
    script.messages.clear();
    script.pass(1000);
    assert_eq!(script.messages.len(), 1, "{:?}", script.messages);
    script.tell(link, "431[]");
    assert!(
        matches!(outcome(&script, once), Some(Outcome::Acknowledged(_))),
        "{:?}",
        script.receipts
    );
    script.tell(link, "432[]");
    assert!(
        matches!(outcome(&script, again), Some(Outcome::Acknowledged(_))),
        "{:?}",
        script.receipts
    );
}

/// Volatile events, and those that were answered, are counted by the server, and have no receipt.
#[test]
fn confirmations_count_what_is_not_kept() {
    let (mut script, link) = connected(confirming());
    let root = script.socket;
    for _ in 0..3 {
        script.emit(root, emit("v", "1").offline(Offline::Volatile)).unwrap();
    }
    let kept = script.emit(root, emit("n", "1")).unwrap();
    for heard in 1..4 {
        script.tell(link, &format!("40{{\"sio.confirmed\":{heard}}}"));
        assert_eq!(outcome(&script, kept), None, "{heard}");
    }
    script.tell(link, "40{\"sio.confirmed\":4}");
    assert_eq!(outcome(&script, kept), Some(&Outcome::Confirmed));
    assert!(!script.has("Lost"), "{:?}", script.log);
    // More than was written is impossible, also after much was confirmed.
    script.tell(link, "40{\"sio.confirmed\":5}");
    assert!(script.has("Lost(ParseError)"), "{:?}", script.log);
}

/// A client that is recovered again and again, and has nothing to send, gives nothing up. One that
/// is recovered by a server that confirms only now keeps its events until then.
#[test]
fn recoveries_without_events_cost_nothing() {
    let (mut script, mut link) = connected(confirming());
    for _ in 0..20 {
        link = cut(&mut script, link);
        recovered(&mut script, link, 0);
        assert!(script.client.is_connected(script.socket), "{:?}", script.log);
    }
    let mut script = Script::new(confirming());
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\",\"pid\":\"p\"}");
    let link = cut(&mut script, link);
    recovered(&mut script, link, 0);
    let id = script.emit(script.socket, emit("n", "1")).unwrap();
    assert_eq!(outcome(&script, id), None);
    script.tell(link, "40{\"sio.confirmed\":1}");
    assert_eq!(outcome(&script, id), Some(&Outcome::Confirmed));
}

/// An event that was written, and that the server has not had, is one that was never sent. It keeps
/// the deadline of its acknowledgement.
#[test]
fn what_the_server_has_not_had_was_not_sent() {
    let (mut script, link) = connected(confirming());
    let root = script.socket;
    let removed = script.emit(root, emit("n", "1").ack()).unwrap();
    let asked = script
        .emit(root, emit("n", "2").ack().timeout(Duration::from_secs(10)))
        .unwrap();
    let link = cut(&mut script, link);
    script.client.handle_blocked(script.now, link);
    recovered(&mut script, link, 0);
    assert_eq!(script.client.pending(root).count(), 2);
    assert!(script.client.remove_pending(removed));
    script.drain();
    assert_eq!(outcome(&script, removed), Some(&Outcome::NotSent(NotSent::Removed)));
    assert_eq!(
        script.client.next_timeout().unwrap(),
        script.now + Duration::from_secs(9)
    );
    script.pass(9000);
    assert_eq!(outcome(&script, asked), Some(&Outcome::NotSent(NotSent::Expired)));
    assert_is_clean(&mut script, "not had");

    // A server that has forgotten the client may have had it.
    let (mut script, link) = connected(confirming().retries(1u32));
    let root = script.socket;
    let id = script.emit(root, emit("n", "1")).unwrap();
    let link = cut(&mut script, link);
    script.client.handle_blocked(script.now, link);
    script.tell(link, "40{\"sid\":\"t\",\"pid\":\"q\",\"sio.confirmed\":0}");
    assert_eq!(script.client.pending(root).count(), 1);
    assert!(script.client.remove_pending(id));
    script.drain();
    assert_eq!(outcome(&script, id), Some(&Outcome::Disconnected));
}

/// An answer that is lost is told when its connection is.
#[test]
fn a_lost_answer_is_told_at_once() {
    let (mut script, link) = connected(confirming());
    let id = script.emit(script.socket, emit("n", "1").ack()).unwrap();
    script.tell(link, "40{\"sio.confirmed\":1}");
    assert_eq!(outcome(&script, id), None);
    script.close(link);
    assert_eq!(outcome(&script, id), Some(&Outcome::Unanswered));
}

/// Each character of a name may have six bytes on the wire.
#[test]
fn a_name_is_measured_as_it_is_written() {
    let mut script = Script::new(websocket());
    let link = script.upgrade();
    script.tell(link, &OPEN.replace("1000000", "1000"));
    script.tell(link, "40{\"sid\":\"r\"}");
    let refused = script.emit(script.socket, emit(&"\u{1}".repeat(300), "1"));
    assert!(
        matches!(refused, Err(EmitError::TooLarge { max: 1000, .. })),
        "{refused:?}"
    );
    assert!(script.emit(script.socket, emit(&"\u{1}".repeat(100), "1")).is_ok());
}

/// Frames of the protocol on either websocket: pings are answered, pongs are not, and cookies are
/// kept.
#[test]
fn websockets_answer_pings_and_keep_cookies() {
    let pong = |script: &Script, link| {
        let answers = script
            .frames
            .iter()
            .filter(|(to, bytes)| *to == link && bytes[0] == 0x8a);
        answers.count()
    };
    let open = OPEN.replace("[]", "[\"websocket\"]");
    let mut script = Script::new(ClientConfig::default());
    script.answer(200, "", &open);
    let get = script.last("transport=polling").0;
    let probe = script.last("transport=websocket");
    script.requests.push(probe.clone());
    script.upgrade_with("Set-Cookie: probe=1; Path=/\r\n");
    script.say(probe.0, &[0x89, 0x00]);
    assert_eq!(pong(&script, probe.0), 1);
    script.say(probe.0, &[0x8a, 0x00]);
    assert!(script.open.contains(&probe.0), "{:?}", script.log);
    let _ = get;
    // Another word than that of the probe ends the upgrade.
    script.tell(probe.0, "3nothing");
    assert!(
        !script.open.contains(&probe.0) && !script.has("Lost"),
        "{:?}",
        script.log
    );
    for link in script.open.clone() {
        script.close(link);
    }
    script.pass(1000);
    assert!(
        script.last("GET ").1.contains("\r\nCookie: probe=1\r\n"),
        "{:?}",
        script.requests
    );

    let mut script = Script::websocket();
    let link = script.upgrade_with("Set-Cookie: open=1; Path=/\r\n");
    script.tell(link, OPEN);
    script.say(link, &[0x89, 0x00]);
    assert_eq!(pong(&script, link), 1);
    script.client.handle_blocked(script.now, link);
    script.say(link, &[0x89, 0x00]);
    assert_eq!(pong(&script, link), 1, "it does not read");
    script.close(link);
    script.pass(1000);
    assert!(
        script.last("GET ").1.contains("\r\nCookie: open=1\r\n"),
        "{:?}",
        script.requests
    );
}

/// A websocket whose handshake is wrong, and one on which something else is spoken.
#[test]
fn what_is_no_websocket_is_left() {
    let head = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
    let mut script = Script::websocket();
    let link = script.open[0];
    script.say(link, head.as_bytes());
    assert!(script.has("class: Protocol, status: None"), "{:?}", script.log);
    let auto = || websocket().generation(Generation::Auto);
    let mut script = Script::new(auto());
    let link = script.upgrade();
    script.say(link, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(script.count("EIO=3"), 1, "another generation: {:?}", script.log);
    let mut script = Script::new(auto());
    let link = script.opened();
    script.say(link, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    assert!(script.has("Lost(TransportError)"), "{:?}", script.log);
    assert_eq!(script.count("EIO=3"), 0);
}

/// The deadline of a wake-up on polling is over when the session has moved to websocket.
#[test]
fn an_upgrade_ends_the_deadlines_of_polling() {
    let open = OPEN.replace("[]", "[\"websocket\"]");
    let mut script = Script::new(ClientConfig::default());
    script.answer(200, "", &open);
    let (get, post) = (
        script.last("GET /socket.io/?EIO=4&transport=polling").0,
        script.last("POST ").0,
    );
    let probe = script.last("transport=websocket");
    script.answer_on(post, 200, "", "ok");
    script.client.wake(script.now);
    script.drain();
    script.answer_on(post, 200, "", "ok");
    script.requests.push(probe.clone());
    script.upgrade();
    script.tell(probe.0, "3probe");
    script.answer_on(get, 200, "", "6");
    assert!(script.has("Upgraded"), "{:?}", script.log);
    script.pass(44_999);
    assert!(!script.has("Lost"), "{:?}", script.log);
    script.pass(1);
    assert!(script.has("Lost(PingTimeout)"), "{:?}", script.log);
}
