//! What a user tells a client, and what the client asks a user: namespaces, `auth`, questions for
//! credentials, events that wait.
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;

use std::time::Duration;

use client::emit;
use client::script::{OPEN, Script};
use sio_proto::client::{
    ClientConfig, ClientError, CommandError, Credentials, EmitError, ErrorClass, Generation, NotSent, Offline, Outcome,
    TimeoutReason, Transport,
};
use sio_proto::socket::Args;
use sio_proto::{ByteString, BytesMut, LinkId, Time};

fn polling() -> ClientConfig {
    ClientConfig::default().transports(vec![Transport::Polling])
}

fn websocket() -> ClientConfig {
    ClientConfig::default().transports(vec![Transport::WebSocket])
}

fn args(json: &str) -> Args {
    Args::from(ByteString::from(json))
}

/// A client with `/` on a websocket.
fn connected(config: ClientConfig) -> (Script, LinkId) {
    let mut script = Script::new(config);
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    (script, link)
}

fn told(script: &mut Script) -> Vec<String> {
    std::mem::take(&mut script.messages)
}

/// The questions that were asked since the last call: attempt, and the status of the last error.
fn asked(script: &mut Script) -> Vec<(u64, u32, Option<ClientError>)> {
    let asked = std::mem::take(&mut script.questions);
    asked
        .into_iter()
        .map(|question| (question.id, question.attempt, question.last_error))
        .collect()
}

fn provide(script: &mut Script, question: u64, credentials: Credentials) -> Result<(), CommandError> {
    let provided = script.client.provide(script.now, question, credentials);
    script.drain();
    provided
}

fn provide_nothing(script: &mut Script, question: u64) -> Result<(), CommandError> {
    let provided = script.client.provide_nothing(script.now, question, "no key");
    script.drain();
    provided
}

#[test]
fn names_of_namespaces_are_checked() {
    let mut script = Script::websocket();
    let longest = format!("/{}", "n".repeat(511));
    for (name, is_good) in [
        ("/chat", true),
        (&*longest, true),
        (&format!("{longest}n"), false),
        ("chat", false),
        ("", false),
        ("/a,b", false),
        (",/a", false),
    ] {
        let socket = script.client.socket(name);
        assert_eq!(socket.is_ok(), is_good, "{name}");
        match socket {
            Ok(socket) => assert_eq!(script.client.namespace(socket).unwrap(), name),
            Err(error) => assert_eq!(error, CommandError::Namespace),
        }
    }
    // The number of another client's namespace.
    let socket = script.client.socket("/last").unwrap();
    let mut other = Script::websocket();
    let unknown = Err(CommandError::Namespace);
    assert_eq!(other.client.namespace(socket), None);
    assert_eq!(other.client.connect(other.now, socket), unknown);
    assert_eq!(other.client.disconnect(other.now, socket), unknown);
    assert_eq!(other.client.set_auth(socket, None), unknown);
    assert_eq!(other.client.pending(socket).count(), 0);
    assert_eq!(
        other.client.emit(other.now, socket, emit("n", "1")),
        Err(EmitError::Closed)
    );
}

/// An `auth` is a JSON object, and nothing stands behind it.
#[test]
fn an_auth_is_an_object() {
    let mut script = Script::new(websocket().provider(true));
    let (question, ..) = asked(&mut script)[0];
    let root = script.socket;
    for bad in ["", "1", "[1]", "\"a\"", "{", "{\"a\":}", "{} {}", "null", " {}"] {
        let auth = ByteString::from(bad);
        assert_eq!(
            script.client.set_auth(root, Some(auth.clone())),
            Err(CommandError::Auth),
            "{bad}"
        );
        let credentials = Credentials {
            auth: vec![(None, "{}".into()), (Some(root), auth)],
            ..Credentials::default()
        };
        assert_eq!(
            provide(&mut script, question, credentials),
            Err(CommandError::Auth),
            "{bad}"
        );
    }
    assert!(script.client.asks(question), "the question stays open");
    script.client.set_auth(root, Some("{\"a\":1}".into())).unwrap();
    provide(&mut script, question, Credentials::default()).unwrap();
    script.opened();
    assert_eq!(told(&mut script), ["40{\"a\":1}"]);
}

/// The `auth` of a namespace counts before that of all, at the handshake and for a namespace that
/// is joined later.
#[test]
fn each_namespace_shows_its_own_auth() {
    let mut script = Script::new(websocket().provider(true));
    let chat = script.join("/chat");
    let (question, ..) = asked(&mut script)[0];
    let credentials = Credentials {
        auth: vec![(None, "{\"all\":1}".into()), (Some(chat), "{\"chat\":1}".into())],
        ..Credentials::default()
    };
    provide(&mut script, question, credentials).unwrap();
    let link = script.opened();
    assert_eq!(told(&mut script), ["40{\"all\":1}", "40/chat,{\"chat\":1}"]);
    script.tell(link, "40{\"sid\":\"r\"}");
    let news = script.join("/news");
    let asked = std::mem::take(&mut script.questions);
    assert_eq!((asked.len(), asked[0].socket, asked[0].attempt), (1, Some(news), 0));
    assert!(script.client.asks(asked[0].id), "one of three namespaces asks");
    let credentials = Credentials {
        auth: vec![(Some(news), "{\"news\":1}".into())],
        ..Credentials::default()
    };
    provide(&mut script, asked[0].id, credentials).unwrap();
    assert_eq!(told(&mut script), ["40/news,{\"news\":1}"]);
    assert!(!script.client.asks(asked[0].id));
}

/// A provider may have nothing: then the attempt fails, or the namespace does not connect.
#[test]
fn who_has_no_credentials_says_so() {
    let mut script = Script::new(websocket().provider(true));
    let (question, ..) = asked(&mut script)[0];
    assert_eq!(provide_nothing(&mut script, question + 1), Err(CommandError::Question));
    assert!(script.client.asks(question));
    provide_nothing(&mut script, question).unwrap();
    assert_eq!(script.errors[0].class, ErrorClass::Credentials);
    assert!(script.log.last().unwrap().starts_with("Waiting"), "{:?}", script.log);
    assert_eq!(provide_nothing(&mut script, question), Err(CommandError::Question));
    script.pass(1000);
    let (question, attempt, error) = asked(&mut script).remove(0);
    assert_eq!((attempt, &*error.unwrap().message), (1, "no key"));
    provide(&mut script, question, Credentials::default()).unwrap();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    let chat = script.join("/chat");
    let (question, _, error) = asked(&mut script).remove(0);
    assert_eq!(error, None, "nothing is wrong any more");
    provide_nothing(&mut script, question).unwrap();
    assert_eq!((script.errors.len(), &*script.errors[1].message), (2, "no key"));
    // The last namespace takes the session with it.
    script.client.connect(script.now, chat).unwrap();
    script.leave(script.socket);
    let (question, ..) = asked(&mut script).remove(0);
    provide_nothing(&mut script, question).unwrap();
    script.say(link, &[0x88, 0x00]);
    assert_eq!(script.log.last().unwrap(), "Stopped(NoNamespace)");
}

/// The time for an answer is `connect_timeout`, before a handshake and for a namespace. A call that
/// is too early ends no question.
#[test]
fn a_question_has_a_time() {
    let mut script = Script::new(websocket().provider(true));
    let late = |script: &Script| {
        let next = script.client.next_timeout_reason();
        next.map(|(time, why)| (time.saturating_since(Time::ZERO), why))
    };
    assert_eq!(
        late(&script),
        Some((Duration::from_secs(20), TimeoutReason::Credentials))
    );
    script.pass(19_999);
    let (question, ..) = asked(&mut script)[0];
    assert!(
        script.client.asks(question) && !script.has("Failed"),
        "{:?}",
        script.log
    );
    provide(&mut script, question, Credentials::default()).unwrap();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    script.join("/chat");
    let (question, ..) = asked(&mut script)[0];
    let until = Duration::from_millis(39_999);
    assert_eq!(late(&script), Some((until, TimeoutReason::Credentials)));
    script.leave(script.socket);
    script.pass(19_999);
    assert!(script.client.asks(question) && script.errors.is_empty());
    script.pass(1);
    assert!(!script.client.asks(question));
    assert_eq!(&*script.errors[0].message, "nobody provided credentials");
    script.say(link, &[0x88, 0x00]);
    assert_eq!(script.log.last().unwrap(), "Stopped(NoNamespace)");
}

/// After a refusal the provider is asked once more. The user who connects again, and a connection,
/// begin anew.
#[test]
fn refusals_are_counted_in_a_row() {
    // Of the handshake.
    let mut script = Script::new(polling().provider(true));
    for _ in 0..2 {
        for _ in 0..2 {
            let (question, ..) = asked(&mut script).remove(0);
            provide(&mut script, question, Credentials::default()).unwrap();
            script.answer(401, "", "");
        }
        assert!(
            script.log.last().unwrap().starts_with("Stopped(Refused"),
            "{:?}",
            script.log
        );
        assert_eq!(asked(&mut script), []);
        script.client.connect(script.now, script.socket).unwrap();
        script.drain();
    }
    // Of a namespace.
    let mut script = Script::new(websocket().provider(true));
    let (question, ..) = asked(&mut script).remove(0);
    provide(&mut script, question, Credentials::default()).unwrap();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    let chat = script.join("/chat");
    for _ in 0..2 {
        for attempt in 0..2 {
            let (question, number, _) = asked(&mut script).remove(0);
            assert_eq!(number, attempt);
            provide(&mut script, question, Credentials::default()).unwrap();
            script.tell(link, "44/chat,{\"message\":\"no\"}");
        }
        assert_eq!(asked(&mut script), []);
        script.client.connect(script.now, chat).unwrap();
        script.drain();
    }
    // What was got over does not count on the next connection.
    let (question, ..) = asked(&mut script).remove(0);
    provide(&mut script, question, Credentials::default()).unwrap();
    script.tell(link, "44/chat,{\"message\":\"no\"}");
    let (question, ..) = asked(&mut script).remove(0);
    provide(&mut script, question, Credentials::default()).unwrap();
    script.tell(link, "40/chat,{\"sid\":\"c\"}");
    assert!(script.client.is_connected(chat));
    script.cut(link);
    let (question, ..) = asked(&mut script).remove(0);
    provide(&mut script, question, Credentials::default()).unwrap();
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    let before = script.errors.len();
    script.tell(link, "44/chat,{\"message\":\"no\"}");
    assert_eq!((asked(&mut script).len(), script.errors.len()), (1, before));
}

/// A CONNECT that was too large is not due: the next one is sent.
#[test]
fn a_connect_that_was_not_sent_is_not_due() {
    let (mut script, link) = connected(websocket());
    let chat = script.client.socket("/chat").unwrap();
    let auth = format!("{{\"a\":\"{}\"}}", "x".repeat(1_000_000));
    script.client.set_auth(chat, Some(auth.into())).unwrap();
    script.join("/chat");
    assert!(script.errors[0].message.contains("its auth is too large"));
    script.client.set_auth(chat, None).unwrap();
    script.join("/chat");
    assert_eq!(told(&mut script).last().unwrap(), "40/chat,");
    script.tell(link, "40/chat,{\"sid\":\"c\"}");
    assert!(script.client.is_connected(chat));
}

/// What came for a socket that the user has left, or that was refused, is not for the next one.
#[test]
fn early_events_are_for_one_connect() {
    let (mut script, link) = connected(websocket().max_early_bytes(6000usize));
    let chat = script.join("/chat");
    let early = format!("42/chat,[\"early\",\"{}\"]", "x".repeat(2000));
    for answer in ["44/chat,{\"message\":\"no\"}", "40/chat,{\"sid\":\"a\"}"] {
        script.tell(link, &early);
        if answer.starts_with("40") {
            // The CONNECT that is answered is not the one that the user wants now.
            script.leave(chat);
            script.client.set_auth(chat, Some("{\"b\":1}".into())).unwrap();
            script.client.connect(script.now, chat).unwrap();
            script.tell(link, &early);
        }
        script.tell(link, answer);
        script.client.connect(script.now, chat).unwrap();
        script.drain();
    }
    script.tell(link, &early);
    script.tell(link, "40/chat,{\"sid\":\"b\"}");
    assert!(
        !script.has("Lost"),
        "their bytes do not count for ever: {:?}",
        script.log
    );
    assert_eq!(script.events.len(), 1, "{:?}", script.events);
}

/// A refusal shows that the server has read the goodbye before it. A question that comes then is
/// for the next socket, and may be answered.
#[test]
fn after_a_refusal_questions_may_be_answered() {
    let (mut script, link) = connected(websocket());
    let chat = script.join("/chat");
    script.tell(link, "40/chat,{\"sid\":\"a\"}");
    script.leave(chat);
    script.join("/chat");
    script.tell(link, "44/chat,{\"message\":\"no\"}");
    script.join("/chat");
    script.tell(link, "42/chat,1[\"asked\"]");
    script.tell(link, "40/chat,{\"sid\":\"b\"}");
    assert_eq!((script.events.len(), script.tickets.len()), (1, 1));
}

/// A volatile event is dropped if it cannot be written now: also where the session is open, but not
/// the namespace, and where the namespace is open, but the transport busy.
#[test]
fn volatile_events_wait_for_nothing() {
    let dropped = Outcome::NotSent(NotSent::Volatile);
    let volatile = |text: &str| emit("v", text).offline(Offline::Volatile);
    let (mut script, _) = connected(websocket());
    let chat = script.join("/chat");
    let id = script.emit(chat, volatile("1")).unwrap();
    assert_eq!(script.receipts[&id], dropped);
    let mut script = Script::new(polling());
    script.answer(200, "", OPEN);
    let (get, post) = (script.last("GET ").0, script.last("POST ").0);
    script.answer_on(get, 200, "", "40{\"sid\":\"r\"}");
    let id = script.emit(script.socket, volatile("2")).unwrap();
    assert_eq!(script.receipts[&id], dropped, "the POST of the CONNECT is under way");
    script.answer_on(post, 200, "", "ok");
    let id = script.emit(script.socket, volatile("3")).unwrap();
    assert_eq!(script.receipts[&id], Outcome::Sent);
}

/// Each limit at its last good value and one behind it: 64 bytes of an event are its place.
#[test]
fn the_queue_takes_what_fits_and_no_more() {
    let name = |bytes: usize| emit(&"n".repeat(bytes - 64 - 1), "1");
    let mut script = Script::new(websocket().max_queued_bytes(400usize));
    let root = script.socket;
    let too_large = Err(EmitError::TooLarge { bytes: 401, max: 400 });
    assert_eq!(script.emit(root, name(401)), too_large, "the queue is empty");
    let whole = script.emit(root, name(400)).unwrap();
    assert_eq!(script.emit(root, name(66)), Err(EmitError::QueueFull));
    script.client.remove_pending(whole);
    let (first, _) = (
        script.emit(root, name(200)).unwrap(),
        script.emit(root, name(200)).unwrap(),
    );
    // An edit counts like an emit.
    let text = |bytes: usize| ByteString::from("m".repeat(bytes - 64 - 1));
    let mut edit = |bytes: usize| script.client.replace_pending(first, text(bytes), args("1"));
    assert_eq!(edit(201), Err(EmitError::QueueFull));
    assert_eq!(edit(401), Err(EmitError::TooLarge { bytes: 401, max: 400 }));
    assert_eq!((edit(150), edit(200), edit(100)), (Ok(true), Ok(true), Ok(true)));
    assert_eq!((edit(201), edit(200)), (Err(EmitError::QueueFull), Ok(true)));
    // An edit that needs no more room is always good.
    let (mut script, link) = connected(websocket().max_queued_bytes(400usize));
    let root = script.socket;
    script.client.handle_blocked(script.now, link);
    let id = script.client.emit(script.now, root, name(200)).unwrap();
    script.say(link, &[0x89, 0x00]);
    let chat = script.client.socket(&format!("/{}", "c".repeat(300))).unwrap();
    script.client.connect(script.now, chat).unwrap();
    script.client.handle_drained(script.now, link);
    script.client.handle_blocked(script.now, link);
    script.drain();
    assert_eq!(script.receipts[&id], Outcome::Sent);
}

/// What the caller has not taken to the network counts for an edit, too.
#[test]
fn an_edit_counts_what_was_not_taken() {
    let (mut script, link) = connected(websocket().max_queued_bytes(1000usize));
    let (now, root) = (script.now, script.socket);
    // It is written, and nobody takes it.
    script
        .client
        .emit(now, root, emit("said", &format!("\"{}\"", "x".repeat(300))))
        .unwrap();
    script.client.handle_blocked(now, link);
    let waits = script.client.emit(now, root, emit("waits", "1")).unwrap();
    let mut edit = |bytes: usize| {
        let text = format!("\"{}\"", "y".repeat(bytes));
        script.client.replace_pending(waits, "waits", args(&text))
    };
    assert_eq!(edit(700), Err(EmitError::QueueFull));
    assert_eq!(edit(300), Ok(true));
    assert_eq!(edit(700), Err(EmitError::QueueFull));
    script.drain();
    let text = format!("\"{}\"", "y".repeat(700));
    assert_eq!(script.client.replace_pending(waits, "waits", args(&text)), Ok(true));
}

/// An event that waits on an open connection is edited within what the server takes.
#[test]
fn an_edit_is_not_larger_than_the_server_takes() {
    let mut script = Script::new(websocket());
    let link = script.upgrade();
    script.tell(link, &OPEN.replace("1000000", "200"));
    script.tell(link, "40{\"sid\":\"r\"}");
    script.client.handle_blocked(script.now, link);
    let id = script.emit(script.socket, emit("n", "1")).unwrap();
    let text = |bytes: usize| args(&format!("\"{}\"", "x".repeat(bytes)));
    // `42["n","…"]`
    let large = script.client.replace_pending(id, "n", text(191));
    assert_eq!(large, Err(EmitError::TooLarge { bytes: 201, max: 200 }));
    assert_eq!(script.client.replace_pending(id, "n", text(190)), Ok(true));
    script.client.handle_drained(script.now, link);
    script.drain();
    assert_eq!(script.receipts[&id], Outcome::Sent);
}

/// An answer is not larger than the server takes either; and the limit of answers that wait is for
/// a server that does not read, not for one large answer.
#[test]
fn answers_have_limits() {
    let config = websocket().max_answer_bytes(300usize);
    let (mut script, link) = connected(config);
    let text = |bytes: usize| args(&format!("\"{}\"", "x".repeat(bytes - 2)));
    for number in 0..4 {
        script.tell(link, &format!("42{number}[\"asked\"]"));
    }
    let mut tickets = std::mem::take(&mut script.tickets).into_iter();
    let mut answer = |script: &mut Script, bytes| {
        let answered = script.client.answer(script.now, tickets.next().unwrap(), text(bytes));
        script.drain();
        answered
    };
    let large = Err(EmitError::TooLarge {
        bytes: 1_000_005,
        max: 1_000_000,
    });
    assert_eq!(answer(&mut script, 1_000_000), large);
    assert!(!script.has("Lost"));
    script.client.handle_blocked(script.now, link);
    assert_eq!(answer(&mut script, 1000), Ok(true), "one is always taken");
    script.client.handle_drained(script.now, link);
    script.drain();
    script.client.handle_blocked(script.now, link);
    assert_eq!(answer(&mut script, 86), Ok(true));
    assert_eq!(answer(&mut script, 86), Ok(true), "300 bytes with 64 for each");
    script.tell(link, "424[\"asked\"]");
    let ticket = script.tickets.remove(0);
    assert_eq!(script.client.answer(script.now, ticket, args("")), Ok(false));
    script.drain();
    assert!(script.has("Lost(ParseError)"), "{:?}", script.log);
}

/// What is written counts for nothing any more: a client that has written more than it takes at a
/// time goes on.
#[test]
fn a_long_life_does_not_fill_anything() {
    let (mut script, _) = connected(websocket());
    let large = format!("\"{}\"", "x".repeat(50_000));
    for _ in 0..4 {
        let id = script.emit(script.socket, emit("large", &large)).unwrap();
        assert_eq!(script.receipts[&id], Outcome::Sent);
    }
    assert_eq!(script.client.pending(script.socket).count(), 0);
}

/// What a server does not take at once stays in the queue, where the user can remove it.
#[test]
fn no_more_leaves_the_queue_than_the_server_takes() {
    let mut script = Script::new(polling());
    let events: Vec<_> = (0..20)
        .map(|number| {
            script
                .emit(script.socket, emit("number", &format!("{number}")))
                .unwrap()
        })
        .collect();
    script.answer(200, "", &OPEN.replace("1000000", "200"));
    let (get, post) = (script.last("GET ").0, script.last("POST ").0);
    script.answer_on(post, 200, "", "ok");
    script.answer_on(get, 200, "", "40{\"sid\":\"r\"}");
    let waiting = script.client.pending(script.socket).count();
    assert!((5..18).contains(&waiting), "{waiting}");
    assert!(script.client.remove_pending(events[19]));
    for _ in 0..10 {
        script.answer_on(post, 200, "", "ok");
    }
    let sent = script
        .receipts
        .values()
        .filter(|outcome| **outcome == Outcome::Sent)
        .count();
    assert_eq!((sent, script.client.pending(script.socket).count()), (19, 0));
}

/// Events leave at a rate after a connection is back. Time in which the transport was busy is made
/// up for, but no more than a second of it; and nothing wakes the client while it cannot write.
#[test]
fn the_rate_of_the_queue_is_kept_behind_a_busy_transport() {
    let mut script = Script::new(websocket().drain_per_second(10u32));
    for number in 0..60 {
        script.emit(script.socket, emit("n", &number.to_string())).unwrap();
    }
    let link = script.opened();
    script.tell(link, "40{\"sid\":\"r\"}");
    let sent = |script: &Script| script.receipts.len();
    assert_eq!(sent(&script), 1);
    let reason = |script: &Script| script.client.next_timeout_reason().unwrap();
    assert_eq!(
        reason(&script),
        (script.now + Duration::from_millis(100), TimeoutReason::Drain)
    );
    script.client.handle_blocked(script.now, link);
    for _ in 0..50 {
        script.pass(100);
        let (time, _) = reason(&script);
        assert!(time > script.now, "it cannot write now");
    }
    assert_eq!(sent(&script), 1);
    script.client.handle_drained(script.now, link);
    script.drain();
    assert!((10..=12).contains(&(sent(&script) - 1)), "{}", sent(&script));
    while sent(&script) < 60 {
        let (time, why) = reason(&script);
        assert!(time > script.now && why == TimeoutReason::Drain);
        script.now = time;
        script.client.handle_timeout(script.now);
        script.drain();
    }
    assert_ne!(reason(&script).1, TimeoutReason::Drain, "nothing waits");
    assert_eq!(script.client.pending(script.socket).count(), 0);
}

/// The header fields of the user break no request: the attempt fails, and the client tries again,
/// whoever wakes it.
#[test]
fn a_request_that_cannot_be_written_fails_its_attempt() {
    let headers = vec![("X-Name".to_owned(), "a\r\nb".to_owned())];
    for config in [polling(), websocket()] {
        let mut script = Script::new(config.headers(headers.clone()));
        assert!(script.has("Failed(") && script.open.is_empty(), "{:?}", script.log);
        for _ in 0..3 {
            assert!(script.log.last().unwrap().starts_with("Waiting"), "{:?}", script.log);
            script.log.clear();
            script.client.wake(script.now);
            script.drain();
        }
        script.client.handle_clock_jump(script.now, Duration::from_secs(60));
        script.drain();
        assert!(script.log.last().unwrap().starts_with("Waiting"), "{:?}", script.log);
    }
}

/// Nothing of a client that is not connected is on a transport.
#[test]
fn the_transport_is_that_of_an_open_session() {
    let mut script = Script::new(polling());
    assert_eq!(script.client.transport(), None);
    script.answer(200, "", OPEN);
    assert_eq!(script.client.transport(), Some(Transport::Polling));
    let mut late = BytesMut::from("x");
    script.client.handle_bytes(script.now, LinkId(9), &mut late);
    script.client.network_lost(script.now);
    script.drain();
    assert_eq!(script.client.transport(), None);
}

/// With [`Generation::Auto`] and a parser, 0.9 is not tried, because it has no other parsers.
#[cfg(feature = "msgpack")]
#[test]
fn a_parser_is_not_taken_to_servers_before_1_0() {
    let config = polling().generation(Generation::Auto);
    let with_parser = config.clone().parser(sio_proto::codec::MessagePack::default());
    for (config, requests) in [(config, 2), (with_parser, 2)] {
        let has_parser = config.parser.is_some();
        let mut script = Script::new(config);
        script.answer(200, "", "Welcome to socket.io.");
        assert_eq!(script.requests.len(), requests, "{:?}", script.log);
        let next = &script.requests[1].1;
        assert_eq!(next.contains("EIO=3"), has_parser, "{next}");
        assert_eq!(next.starts_with("GET /socket.io/1/?t="), !has_parser, "{next}");
    }
}
