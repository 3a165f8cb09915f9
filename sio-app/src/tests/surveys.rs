//! Broadcasts that ask for acknowledgements, over several shards.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::clients::Peer;
use super::{Counted, Driven, RUNTIME, now, run_tasks, server, set_now, text};
use crate::adapter::Driver;
use crate::{AckError, BroadcastAcks, BroadcastAnswers, Config, EmitError, Io, Options, RawArgs, Socket};

const LIMIT: Duration = Duration::from_millis(500);

/// Connects clients, and returns each with its socket.
fn connected(io: &Io, count: usize) -> Vec<(Driven, Socket)> {
    let mut known: Vec<Socket> = Vec::new();
    let clients = (0..count).map(|_| {
        let mut client = Driven::connected(io);
        client.written();
        let socket = io.sockets().into_iter().find(|socket| !known.contains(socket)).unwrap();
        known.push(socket.clone());
        (client, socket)
    });
    clients.collect()
}

/// Returns the ids of the acknowledgements that the client is asked for.
fn questions(client: &mut Driven, event: &str) -> Vec<u64> {
    let written = client.written();
    // A frame begins with a byte that is not UTF-8, and its length.
    let frames = written.split('\u{fffd}').filter_map(|frame| frame.get(1..));
    let asked = frames.filter_map(|packet| packet.strip_prefix("42")?.split_once('['));
    let asked = asked.filter(|(_, args)| args.starts_with(&format!("\"{event}\"")));
    asked.filter_map(|(id, _)| id.parse().ok()).collect()
}

/// Returns the id of the acknowledgement that the client is asked for, if it is asked.
fn asked(client: &mut Driven, event: &str) -> Option<u64> {
    questions(client, event).first().copied()
}

fn answer(client: &mut Driven, id: u64, args: &str) {
    let _ = client.read(&text(&format!("43{id}[{args}]")));
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn ready<T: std::fmt::Debug>(polled: Poll<T>) -> T {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("not ready"),
    }
}

fn next<T: serde::de::DeserializeOwned + 'static + std::fmt::Debug>(
    acks: &mut BroadcastAcks<T>,
) -> Poll<Option<(String, Result<T, AckError>)>> {
    let polled = pin!(acks.next()).poll(&mut Context::from_waker(Waker::noop()));
    polled.map(|next| next.unwrap().map(|(id, answer)| (id.to_string(), answer)))
}

/// Lets time pass, for all shards.
fn pass(io: &Io, time: Duration) {
    set_now(now() + time.as_micros() as u64);
    let driver = Driver::new(io);
    for shard in 0..driver.shards() {
        driver.handle_timeout(shard, Waker::noop());
    }
}

fn missing<T>(answers: &BroadcastAnswers<T>) -> Vec<(String, String)> {
    let missing = answers.missing.iter();
    missing.map(|(id, why)| (id.to_string(), why.to_string())).collect()
}

/// The answers come from all shards, in the order in which they were given. Nobody outside of the
/// room is asked, and neither is the sender.
#[test]
fn all_answers_are_collected_over_shards() {
    let io = server(4);
    let mut clients = connected(&io, 10);
    for (_, socket) in &clients[..8] {
        socket.join("room").unwrap();
    }
    let sender = clients[0].1.clone();
    let mut acks = sender
        .to("room")
        .timeout(LIMIT)
        .emit_with_ack::<(u32, String)>("ask", 1);
    assert!(poll(&mut acks).is_pending());
    let mut order = Vec::new();
    for at in [7, 3, 5, 1, 2, 6, 4, 0, 8, 9] {
        let (client, socket) = &mut clients[at];
        let Some(id) = asked(client, "ask") else {
            assert!([0, 8, 9].contains(&at));
            continue;
        };
        assert!(poll(&mut acks).is_pending());
        answer(client, id, &format!(r#"{at},"a""#));
        answer(client, id, r#"99,"a second answer does not count""#);
        order.push((socket.id(), (at as u32, "a".to_owned())));
    }
    let answers = ready(poll(&mut acks)).unwrap();
    assert!(answers.is_complete());
    assert_eq!(answers.answers, order);
    drop(acks);
    assert_eq!(io.0.shards.surveys.counts(), (0, 0, 0));
}

/// At the time limit, the result names the sockets that have not answered. Their late answers are
/// ignored.
#[test]
fn at_the_limit_the_missing_are_named() {
    let io = server(3);
    let mut clients = connected(&io, 5);
    let mut acks = io.timeout(LIMIT).emit_with_ack::<u8>("ask", ());
    let ids: Vec<u64> = clients
        .iter_mut()
        .map(|(client, _)| asked(client, "ask").unwrap())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "the message is the same for all");
    answer(&mut clients[1].0, ids[1], "7");
    pass(&io, LIMIT / 2);
    assert!(poll(&mut acks).is_pending());
    pass(&io, LIMIT / 2);
    let answers = ready(poll(&mut acks)).unwrap();
    assert_eq!(answers.answers, [(clients[1].1.id(), 7)]);
    let mut late: Vec<String> = missing(&answers)
        .into_iter()
        .map(|(id, why)| {
            assert_eq!(why, "operation has timed out");
            id
        })
        .collect();
    let mut expected: Vec<String> = [0, 2, 3, 4].map(|at: usize| clients[at].1.id().to_string()).into();
    late.sort();
    expected.sort();
    assert_eq!(late, expected);
    for ((client, _), id) in clients.iter_mut().zip(ids) {
        answer(client, id, "1");
    }
    assert_eq!(io.sockets().len(), 5);
}

/// Who cannot answer is named at once, with the reason: clients that are full, busy (for a volatile
/// question), gone, or too old, and clients whose answer has another type.
#[test]
fn who_cannot_answer_is_named_at_once() {
    let config = Config::default().max_queued_packets(4);
    let io = Io::new(config, Options::default().shards(2), RUNTIME).unwrap();
    let mut clients = connected(&io, 4);
    let mut old = Peer::oldest(&io, "0.6");
    let oldest = io
        .sockets()
        .into_iter()
        .find(|s| s.generation().as_str() == "0.6")
        .unwrap();
    let full = clients[0].1.clone();
    clients[0].0.wall.room.store(0, Ordering::Relaxed);
    while full.emit("fill", "x").is_ok() {}
    let mut acks = io.timeout(LIMIT).emit_with_ack::<u8>("ask", ());
    let first: Vec<_> = [next(&mut acks), next(&mut acks)]
        .into_iter()
        .map(|next| ready(next).unwrap())
        .collect();
    assert!(next(&mut acks).is_pending());
    let why = |socket: &Socket| {
        let found = first.iter().find(|(id, _)| *id == socket.id().as_str()).unwrap();
        found.1.as_ref().unwrap_err().to_string()
    };
    assert_eq!(why(&full), EmitError::Full.to_string());
    assert_eq!(why(&oldest), AckError::Unable.to_string());
    assert!(
        io.sockets().contains(&full),
        "a question does not end a client that is full"
    );
    old.poll(&io);
    assert!(old.driven.written().contains("ask"), "it gets the event");
    // One leaves, one gives an answer of another type, one answers.
    clients[1].1.close();
    run_tasks();
    let (id, gone) = ready(next(&mut acks)).unwrap();
    assert_eq!(id, clients[1].1.id().as_str());
    assert!(matches!(gone, Err(AckError::Disconnected)), "{gone:?}");
    let question = asked(&mut clients[2].0, "ask").unwrap();
    answer(&mut clients[2].0, question, r#""no number""#);
    assert!(matches!(ready(next(&mut acks)), Some((_, Err(AckError::Args(_))))));
    answer(&mut clients[3].0, question, "3");
    assert!(matches!(ready(next(&mut acks)), Some((_, Ok(3)))));
    assert_eq!(ready(next(&mut acks)).map(|(id, _)| id), None);
    drop(acks);
    assert_eq!(io.0.shards.surveys.counts(), (0, 0, 0));
    // A volatile question is dropped for a client that was given another in this moment.
    io.except(full.id()).volatile().emit("tick", ());
    let busy = io.except([full.id(), oldest.id()]).volatile().timeout(LIMIT);
    let answers = ready(poll(&mut busy.emit_with_ack::<u8>("ask", ()))).unwrap();
    let dropped = EmitError::Dropped.to_string();
    assert!(answers.missing.len() == 2 && missing(&answers).iter().all(|(_, why)| *why == dropped));
}

/// Clients of all generations with acknowledgements answer the same question.
#[test]
fn each_generation_answers() {
    let io = server(2);
    let mut today = Peer::today(&io);
    let mut engine3 = Peer::engine3(&io);
    let mut old = Peer::old(&io, "0.9", "websocket");
    let mut acks = io.timeout(LIMIT).emit_with_ack::<String>("ask", "why");
    for (peer, ack) in [(&mut today, "43#[\"4\"]"), (&mut engine3, "43#[\"2\"]")] {
        let id = asked(&mut peer.driven, "ask").unwrap();
        let _ = peer.driven.read(&text(&ack.replace('#', &id.to_string())));
    }
    let written = old.driven.written();
    let id = written
        .split("5:")
        .nth(1)
        .and_then(|rest| rest.split_once("+::"))
        .unwrap()
        .0;
    let _ = old.driven.read(&text(&format!(r#"6:::{id}+["0.9"]"#)));
    let answers = ready(poll(&mut acks)).unwrap();
    assert_eq!(answers.into_values(), ["4", "2", "0.9"]);
}

/// The limits of answers: how many are awaited, and how many bytes wait, for one broadcast and for
/// all.
#[test]
fn answers_are_bounded() {
    let options = Options::default().shards(2).max_broadcast_acks(3);
    let options = options.max_broadcast_ack_bytes(20).max_total_broadcast_ack_bytes(30);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let mut clients = connected(&io, 3);
    let mut acks = io.timeout(LIMIT).emit_with_ack::<RawArgs>("ask", ());
    let ids: Vec<u64> = clients
        .iter_mut()
        .map(|(client, _)| asked(client, "ask").unwrap())
        .collect();
    let refused = ready(poll(&mut io.timeout(LIMIT).emit_with_ack::<u8>("ask", ())));
    assert!(matches!(refused, Err(EmitError::Full)), "{refused:?}");
    assert!(
        clients.iter_mut().all(|(client, _)| asked(client, "ask").is_none()),
        "nothing is sent"
    );
    // 12 bytes fit. 12 more do not, and 8 more do.
    for ((client, _), (id, args)) in clients.iter_mut().zip(ids.iter().zip([12, 12, 8])) {
        answer(client, *id, &format!("\"{}\"", "x".repeat(args - 2)));
    }
    let answers = ready(poll(&mut acks)).unwrap();
    assert_eq!(answers.answers.len(), 2);
    assert_eq!(
        missing(&answers),
        [(clients[1].1.id().to_string(), AckError::TooLarge.to_string())]
    );
    drop(acks);
    // Taken answers do not count. Answers that are not taken count for all broadcasts.
    let one = clients[0].1.id();
    let ask = || io.to(&one).timeout(LIMIT).emit_with_ack::<RawArgs>("ask", ());
    let (mut kept, mut second) = (ask(), ask());
    let ids = questions(&mut clients[0].0, "ask");
    for id in ids {
        answer(&mut clients[0].0, id, "\"0123456789abcde\"");
    }
    assert!(matches!(ready(next(&mut kept)), Some((_, Ok(_)))));
    assert!(matches!(ready(next(&mut second)), Some((_, Err(AckError::TooLarge)))));
    drop((kept, second));
    assert_eq!(io.0.shards.surveys.counts(), (0, 0, 0));
}

/// Who awaits all answers is woken once, and who takes them one by one is woken for each.
#[test]
fn who_awaits_all_is_woken_once() {
    let io = server(2);
    let mut clients = connected(&io, 4);
    for (each, wakes) in [(false, 1), (true, 4)] {
        let counted = Counted::default();
        let waker = counted.waker();
        let mut acks = io.timeout(LIMIT).emit_with_ack::<u8>("ask", ());
        let mut woken = 0;
        for (client, _) in &mut clients {
            let cx = &mut Context::from_waker(&waker);
            let is_pending = match each {
                true => pin!(acks.next()).poll(cx).is_pending(),
                false => Pin::new(&mut acks).poll(cx).is_pending(),
            };
            assert!(is_pending);
            let id = asked(client, "ask").unwrap();
            answer(client, id, "1");
            woken += counted.take();
            if each {
                assert!(next(&mut acks).is_ready());
            }
        }
        assert_eq!(woken, wakes);
    }
}

/// Nothing is left of questions whose answers have come, whose time is over, whose clients have
/// gone, or that nobody awaits any more: neither in the shards nor beside them.
#[test]
fn nothing_is_left_of_questions() {
    const LONG: Duration = Duration::from_secs(3_600);
    // A shard lets its clients owe only a few acknowledgements.
    let config = Config::default().max_pending_acks(3);
    let io = Io::new(config, Options::default().shards(2), RUNTIME).unwrap();
    let mut clients = connected(&io, 4);
    let socket = clients[0].1.clone();
    for round in 0..1_000 {
        let mut all = io.timeout(LONG).emit_with_ack::<u8>("ask", round);
        let mut one = Box::pin(socket.timeout(LONG).emit_with_ack::<u8>("ask", ()));
        for (client, _) in &mut clients {
            for id in questions(client, "ask") {
                answer(client, id, "1");
            }
        }
        assert!(ready(poll(&mut all)).unwrap().is_complete());
        assert_eq!(ready(poll(&mut one)).unwrap(), 1);
        // Nobody awaits these.
        drop(io.timeout(LONG).emit_with_ack::<u8>("ask", round));
        drop(socket.emit_with_ack::<u8>("one", ()));
        clients.iter_mut().for_each(|(client, _)| drop(client.written()));
    }
    assert_eq!(io.0.shards.surveys.counts(), (0, 0, 0));
    // The time of these is over.
    let mut late = io.timeout(LIMIT).emit_with_ack::<u8>("ask", ());
    let mut last = io.timeout(LONG).emit_with_ack::<u8>("ask", ());
    assert_eq!(io.0.shards.surveys.counts(), (2, 8, 0));
    pass(&io, LIMIT);
    assert_eq!(ready(poll(&mut late)).unwrap().missing.len(), 4);
    for _ in 0..2 {
        drop(io.timeout(LIMIT).emit_with_ack::<u8>("ask", ()));
    }
    for (_, socket) in &clients {
        socket.close();
    }
    run_tasks();
    assert_eq!(ready(poll(&mut last)).unwrap().missing.len(), 4);
    drop((last, late));
    assert_eq!(io.0.shards.surveys.counts(), (0, 0, 0));
}

/// A client that answers a question of its earlier connection, when it has a new socket, does not
/// answer a question of the new socket with it.
#[test]
fn an_answer_from_before_counts_for_nothing_else() {
    let io = server(1);
    let mut first = connected(&io, 1).remove(0);
    let asked_first = Box::pin(first.1.emit_with_ack::<u8>("before", ()));
    let before = asked(&mut first.0, "before").unwrap();
    first.1.close();
    let mut second = connected(&io, 1).remove(0);
    let mut asked_second = Box::pin(second.1.emit_with_ack::<u8>("after", ()));
    answer(&mut second.0, before, "1");
    assert!(poll(&mut asked_second).is_pending());
    let after = asked(&mut second.0, "after").unwrap();
    answer(&mut second.0, after, "2");
    assert_eq!(ready(poll(&mut asked_second)).unwrap(), 2);
    drop(asked_first);
}

/// Errors of the question itself, and the end of the server.
#[test]
fn a_question_that_cannot_be_asked_is_an_error() {
    let io = server(2);
    let _clients = connected(&io, 2);
    let reserved = ready(poll(&mut io.timeout(LIMIT).emit_with_ack::<u8>("disconnect", ())));
    assert!(matches!(reserved, Err(EmitError::Reserved(_))));
    let nobody = ready(poll(&mut io.to("nobody").timeout(LIMIT).emit_with_ack::<u8>("ask", ()))).unwrap();
    assert!(nobody.is_complete() && nobody.answers.is_empty());
    let counted = Counted::default();
    let mut lost = io.timeout(LIMIT).emit_with_ack::<u8>("ask", ());
    let waker = counted.waker();
    assert!(Pin::new(&mut lost).poll(&mut Context::from_waker(&waker)).is_pending());
    Driver::new(&io).clear();
    assert_eq!(counted.take(), 1);
    assert_eq!(ready(poll(&mut lost)).unwrap().missing.len(), 2);
}

/// A question to all namespaces of a pattern collects the answers of all.
#[test]
fn all_namespaces_of_a_pattern_are_asked() {
    let io = server(2);
    let rooms = io.of_pattern("/room-*").create();
    let mut clients: Vec<Driven> = (1..=2)
        .map(|number| {
            let mut client = Driven::connected(&io);
            client.says(&format!("40/room-{number},"));
            client
        })
        .collect();
    let mut acks = rooms.timeout(LIMIT).emit_with_ack::<u8>("ask", ());
    for (at, client) in clients.iter_mut().enumerate() {
        let written = client.written();
        let place = format!("42/room-{},", at + 1);
        let id = written.split_once(&place).unwrap().1.split('[').next().unwrap();
        let _ = client.read(&text(&format!("43/room-{},{id}[{at}]", at + 1)));
    }
    assert_eq!(ready(poll(&mut acks)).unwrap().into_values(), [0, 1]);
}
