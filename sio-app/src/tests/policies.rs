//! What becomes of messages for clients that do not take them, and how the application learns of
//! it.

use std::sync::{Mutex, mpsc};

use super::*;
use crate::{EmitError, HandlerError, Policy, RecoveryConfig, Refusal, Sent};

/// A server on which only so many packets may wait for a client.
fn narrow(shards: usize, packets: usize) -> Io {
    let config = Config::default().max_queued_packets(packets);
    Io::new(config, Options::default().shards(shards), RUNTIME).unwrap()
}

/// Connects a client whose socket takes nothing.
fn blocked(io: &Io) -> (Driven, Socket) {
    let before = io.sockets();
    let mut client = Driven::connected(io);
    let socket = io
        .sockets()
        .into_iter()
        .find(|socket| !before.contains(socket))
        .unwrap();
    client.wall.room.store(0, Ordering::Relaxed);
    client.script.full = true;
    socket.emit("first", ()).unwrap();
    let _ = client.poll();
    (client, socket)
}

/// The client takes all that waits. Returns the events.
fn take(client: &mut Driven) -> Vec<String> {
    client.wall.room.store(usize::MAX, Ordering::Relaxed);
    client.script.full = false;
    let _ = client.poll();
    let written = client.written();
    let events = written.split("42[").skip(1);
    events
        .map(|event| event.split(']').next().unwrap().to_owned())
        .collect()
}

const NONE: Sent = Sent {
    reached: 0,
    dropped: 0,
    refused: 0,
};

#[test]
fn a_broadcast_says_how_many_it_has_reached() {
    let io = narrow(4, 2);
    let mut readers: Vec<_> = (0..3).map(|_| Driven::connected(&io)).collect();
    let (mut slow, socket) = blocked(&io);
    for n in 0..2 {
        assert_eq!(io.emit("n", n), Sent { reached: 4, ..NONE });
    }
    let all_but_one = |sent| Sent { reached: 3, ..sent };
    assert_eq!(
        io.policy(Policy::REFUSE).emit("n", 2),
        all_but_one(Sent { refused: 1, ..NONE })
    );
    assert_eq!(
        io.policy(Policy::DROP).emit("n", 3),
        all_but_one(Sent { dropped: 1, ..NONE })
    );
    assert_eq!(io.volatile().emit("n", 4), all_but_one(Sent { dropped: 1, ..NONE }));
    assert_eq!(socket.policy(Policy::REFUSE).emit("n", 5), Sent { refused: 1, ..NONE });
    assert_eq!(socket.policy(Policy::DROP).emit("n", 6), Sent { dropped: 1, ..NONE });
    assert_eq!(io.to(Vec::<String>::new()).emit("n", 7), NONE);
    assert_eq!(io.sockets().len(), 4);
    assert_eq!(take(&mut slow), ["\"first\"", "\"n\",0", "\"n\",1"]);
    for reader in &mut readers {
        assert_eq!(reader.written().matches("42[\"n\"").count(), 5);
    }
}

/// Without a policy, and with `Policy::END`, a slow client is disconnected, and its handler hears
/// why.
#[test]
fn a_slow_client_is_ended_with_a_reason() {
    for to_one in [false, true] {
        let io = narrow(2, 2);
        let (tell, told) = mpsc::channel();
        io.of("/")
            .on_disconnect(move |_: Socket, reason: Reason, breach: Option<crate::Breach>| {
                let _ = tell.send(format!("{reason}: {}", breach.unwrap()));
            });
        let (_slow, socket) = blocked(&io);
        for n in 0..2 {
            assert_eq!(socket.policy(Policy::END).emit("n", n), Sent { reached: 1, ..NONE });
        }
        let sent = match to_one {
            false => io.emit("n", 2),
            true => socket.policy(Policy::END).emit("n", 2),
        };
        assert_eq!(sent, Sent { refused: 1, ..NONE });
        run_tasks();
        let told = told.try_recv().unwrap();
        assert!(
            told.starts_with("forced server close: ") && told.contains("its queue is full"),
            "{told}"
        );
        assert_eq!(io.sessions(), 0);
    }
}

#[test]
fn the_newest_of_a_key_waits_and_the_oldest_go() {
    let io = narrow(1, 4);
    let (mut slow, socket) = blocked(&io);
    for n in 0..50 {
        let policy = Policy::newest(format!("{}", n % 2));
        assert_eq!(io.policy(policy).emit("n", n), Sent { reached: 1, ..NONE });
        assert_eq!(
            socket.policy(Policy::DROP_OLDEST).emit("log", n),
            Sent { reached: 1, ..NONE }
        );
    }
    assert_eq!(socket.queued().packets, 4);
    assert_eq!(
        take(&mut slow),
        ["\"first\"", "\"n\",48", "\"log\",48", "\"n\",49", "\"log\",49"]
    );
    assert_eq!(socket.queued(), crate::Queued::default());
}

/// Texts that wait are appended to each other, from one socket and in a broadcast. A client that
/// reads gets each of them.
#[test]
fn texts_are_appended_while_a_client_is_slow() {
    let io = server(2);
    let (mut slow, socket) = blocked(&io);
    let mut reader = Driven::connected(&io);
    for (n, text) in ["a", "b", "\"", "d"].iter().enumerate() {
        let sent = io.policy(Policy::append("x")).emit("token", (7, text));
        assert_eq!(sent, Sent { reached: 2, ..NONE });
        if n == 1 {
            socket.emit("between", ()).unwrap();
        }
    }
    let sent = socket.policy(Policy::append("x")).emit("token", (8, "e"));
    assert_eq!(sent, Sent { reached: 1, ..NONE });
    assert_eq!(reader.written().matches("42[\"token\"").count(), 4);
    assert_eq!(socket.queued().packets, 3);
    let expected = ["\"first\"", "\"between\"", r#""token",7,"ab\"d""#, r#""token",8,"e""#];
    assert_eq!(take(&mut slow), expected);
}

/// However many tokens come, and however long the client stalls: the tokens are all there, in
/// messages that are not too large, and what waits is bounded.
#[test]
fn a_long_text_becomes_few_messages() {
    let io = server(1);
    let (mut slow, socket) = blocked(&io);
    let mut whole = String::new();
    for n in 0..20_000 {
        let token = format!("{n} ");
        whole.push_str(&token);
        assert_eq!(socket.policy(Policy::append("")).emit("t", token).reached, 1);
    }
    assert!(socket.queued().packets < 20, "{:?}", socket.queued());
    let events = take(&mut slow);
    let texts = events[1..].iter().map(|event| event.split('"').nth(3).unwrap());
    assert!(texts.collect::<String>() == whole);
}

/// A function of the user puts messages together. It runs under no lock. If it panics, nothing is
/// lost, and the panic is reported.
#[test]
fn a_function_merges() {
    let io = server(2);
    let reports = Arc::new(Mutex::new(Vec::new()));
    let report = Arc::clone(&reports);
    io.on_error(move |_: Option<&Socket>, event: &str, error: &HandlerError| {
        report.lock().unwrap().push(format!("{event}: {error}"));
    });
    let holder = Arc::new(Mutex::new(None::<Socket>));
    let inner = Arc::clone(&holder);
    let sum = Policy::merge("", move |waiting: &RawArgs, new: &RawArgs| {
        // The function may use the socket: no lock is held.
        let socket = inner.lock().unwrap().clone().unwrap();
        socket.emit("called", socket.queued().packets > 0).unwrap();
        let number = |args: &RawArgs| args.json().parse::<u32>().unwrap();
        assert_ne!(number(new), 13, "bad luck");
        number(waiting) + number(new)
    });
    io.of("/").event_policy("sum", sum);
    let (mut slow, socket) = blocked(&io);
    *holder.lock().unwrap() = Some(socket.clone());
    for n in [1, 2, 13, 4] {
        assert_eq!(io.emit("sum", n), Sent { reached: 1, ..NONE });
    }
    socket.emit("sum", 5).unwrap();
    let called = "\"called\",true";
    let events = take(&mut slow);
    assert_eq!(events.iter().filter(|event| *event == called).count(), 4);
    let sums: Vec<_> = events.iter().filter(|event| event.starts_with("\"sum\"")).collect();
    assert_eq!(sums, ["\"sum\",3", "\"sum\",22"]);
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 1);
    assert!(
        reports[0].starts_with("sum: panicked: ") && reports[0].contains("bad luck"),
        "{reports:?}"
    );
}

/// If something else waits when the function returns, it is called again with that.
#[test]
fn a_merge_sees_what_really_waits() {
    let io = server(1);
    let (mut slow, socket) = blocked(&io);
    let (inner, first) = (socket.clone(), Cell::new(true));
    let first = Mutex::new(first);
    let join = move |waiting: &RawArgs, new: &RawArgs| {
        if first.lock().unwrap().replace(false) {
            // Another message of the key comes meanwhile.
            inner.policy(Policy::append("k")).emit("m", "b");
        }
        format!("{}{}", waiting.json().trim_matches('"'), new.json().trim_matches('"'))
    };
    socket.policy(Policy::append("k")).emit("m", "a");
    socket.policy(Policy::merge("k", join)).emit("m", "c");
    assert_eq!(take(&mut slow), ["\"first\"", "\"m\",\"abc\""]);
}

/// A key that is too long is an error, and nothing is sent.
#[test]
fn a_key_has_a_limit() {
    let io = server(1);
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    io.on_error(move |_: Option<&Socket>, _: &str, error: &HandlerError| {
        assert!(matches!(error, HandlerError::Emit(EmitError::KeyTooLong)), "{error}");
        count.fetch_add(1, Ordering::Relaxed);
    });
    let mut client = Driven::connected(&io);
    let policy = Policy::newest("x".repeat(257));
    assert_eq!(io.policy(policy.clone()).emit("n", 1), NONE);
    assert_eq!(io.sockets()[0].policy(policy).emit("n", 1), Sent { refused: 1, ..NONE });
    assert_eq!((told.load(Ordering::Relaxed), client.written()), (2, String::new()));
}

/// In a namespace with recovery each message has a number, so messages are not put together. A full
/// queue refuses them.
#[test]
fn what_has_a_number_is_not_merged() {
    let config = Config::default().max_queued_packets(4);
    let options = Options::default().shards(1).recovery(RecoveryConfig::default());
    let io = Io::new(config, options, RUNTIME).unwrap();
    let (mut slow, socket) = blocked(&io);
    for n in 0..4 {
        assert_eq!(io.policy(Policy::append("")).emit("m", "a").reached, 1, "{n}");
    }
    assert_eq!(
        io.policy(Policy::append("")).emit("m", "a"),
        Sent { refused: 1, ..NONE }
    );
    assert_eq!(
        socket.policy(Policy::append("")).emit("m", "a"),
        Sent { refused: 1, ..NONE }
    );
    let events = take(&mut slow);
    let offsets = events.iter().map(|event| event.rsplit(',').next().unwrap());
    assert!(offsets.is_sorted() && events.len() == 5, "{events:?}");
}

/// `ready` waits until at most half of the queue is in use, can be dropped, and ends with the
/// socket.
#[test]
fn ready_waits_for_room() {
    let io = narrow(1, 10);
    let (mut slow, socket) = blocked(&io);
    let counted = Counted::default();
    let waker = counted.waker();
    let mut cx = Context::from_waker(&waker);
    assert!(matches!(
        std::pin::pin!(socket.ready()).poll(&mut cx),
        Poll::Ready(Ok(()))
    ));
    for n in 0..6 {
        socket.emit("n", n).unwrap();
    }
    {
        let mut dropped = std::pin::pin!(socket.ready());
        assert!(dropped.as_mut().poll(&mut cx).is_pending());
    }
    let mut ready = std::pin::pin!(socket.ready());
    assert!(ready.as_mut().poll(&mut cx).is_pending());
    assert!(ready.as_mut().poll(&mut cx).is_pending());
    assert_eq!(counted.take(), 0);
    assert_eq!(take(&mut slow).len(), 7);
    assert_eq!(counted.take(), 1, "only the future that is still there is woken");
    assert!(matches!(ready.as_mut().poll(&mut cx), Poll::Ready(Ok(()))));

    let (_slow, socket) = blocked(&io);
    (0..6).for_each(|n| socket.emit("n", n).unwrap());
    let mut ready = std::pin::pin!(socket.ready());
    assert!(ready.as_mut().poll(&mut cx).is_pending());
    socket.close();
    run_tasks();
    assert_eq!(counted.take(), 1);
    assert!(matches!(ready.poll(&mut cx), Poll::Ready(Err(EmitError::Disconnected))));
}

/// A handler that emits much in a row to a client that reads does not reach the limits of the
/// queue.
#[test]
fn a_burst_to_a_client_that_reads_is_no_wait() {
    let io = server(1);
    io.of("/").on("burst", |socket: Socket| {
        for n in 0..5_000 {
            socket.emit("n", n)?;
            assert_eq!(socket.broadcast().emit("n", n).refused, 0);
        }
        Ok::<_, EmitError>(())
    });
    let mut other = Driven::connected(&io);
    let mut client = Driven::connected(&io);
    assert_eq!(client.says("42[\"burst\"]").matches("42[\"n\"").count(), 5_000);
    assert_eq!(other.written().matches("42[\"n\"").count(), 5_000);
}

/// A key that a function makes of the arguments: the newest event of each thing waits.
#[test]
fn the_newest_by_a_function_of_the_arguments_waits() {
    let io = narrow(1, 64);
    let thing = |args: &RawArgs| match args.json().split(',').next() {
        Some("13") => panic!("as asked"),
        thing => thing.unwrap_or_default().to_owned(),
    };
    io.of("/").event_policy("position", Policy::newest_by(thing));
    let (mut client, socket) = blocked(&io);
    for (player, x) in [(1, 1), (2, 1), (1, 2), (1, 3), (2, 2)] {
        io.emit("position", (player, x));
    }
    socket.emit("position", (3, 1)).unwrap();
    assert!(matches!(socket.emit("position", (13, 1)), Err(EmitError::KeyFailed)));
    let metrics = io.metrics();
    assert_eq!(metrics.sessions.displaced, 3);
    let taken = take(&mut client);
    assert_eq!(
        &taken[taken.len() - 3..],
        [r#""position",1,3"#, r#""position",2,2"#, r#""position",3,1"#]
    );
}

/// A loop of events that are larger than half of the queue waits for their size, and never spins.
#[test]
fn room_for_a_large_event_is_waited_for() {
    let config = Config::default().max_queued_bytes(10_000);
    let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
    let (mut client, socket) = blocked(&io);
    let large = "x".repeat(7_000);
    socket.emit("small", "y".repeat(4_000)).unwrap();
    assert_eq!(
        socket.emit("large", &large).unwrap_err().to_string(),
        EmitError::Full.to_string()
    );
    let counted = Counted::default();
    let waker = counted.waker();
    let cx = &mut Context::from_waker(&waker);
    let mut half = std::pin::pin!(socket.ready());
    assert!(half.as_mut().poll(cx).is_ready(), "half of the queue is free");
    let mut ready = std::pin::pin!(socket.ready_for(7_100));
    assert!(ready.as_mut().poll(cx).is_pending());
    assert_eq!(counted.take(), 0);
    take(&mut client);
    assert!(counted.take() >= 1);
    assert!(ready.as_mut().poll(cx).is_ready());
    socket.emit("large", &large).unwrap();
}

/// A volatile event has no policy: it never waits, although its name has one.
#[test]
fn a_volatile_event_has_no_policy() {
    let io = server(1);
    io.of("/")
        .event_policy("log", Policy::DROP_OLDEST)
        .event_policy("token", Policy::append(""));
    let (mut slow, socket) = blocked(&io);
    let dropped = Sent { dropped: 1, ..NONE };
    assert_eq!(socket.volatile().emit("log", 1), dropped);
    assert_eq!(io.volatile().emit("log", 2), dropped);
    assert_eq!(io.emit("token", "a"), Sent { reached: 1, ..NONE });
    assert_eq!(socket.volatile().emit("token", "b"), dropped);
    // One is waiting that it could be appended to.
    assert_eq!(io.volatile().emit("token", "c"), dropped);
    assert_eq!(io.policy(Policy::append("")).volatile().emit("token", "d"), dropped);
    assert_eq!(take(&mut slow), ["\"first\"", "\"token\",\"a\""]);
}

/// What a function makes of two messages may be larger than a queue. Then both messages are sent,
/// and it is reported.
#[test]
fn a_merged_message_that_cannot_be_sent_is_reported() {
    let config = Config::default().max_queued_bytes(4_000);
    let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
    let (tell, told) = mpsc::channel();
    io.on_error(move |_: Option<&Socket>, event: &str, error: &HandlerError| {
        let _ = tell.send(format!("{event}: {error}"));
    });
    let policy = Policy::merge("", |_: &RawArgs, _: &RawArgs| "x".repeat(5_000));
    let (mut slow, socket) = blocked(&io);
    for n in 0..2 {
        assert_eq!(socket.policy(policy.clone()).emit("m", n), Sent { reached: 1, ..NONE });
    }
    assert_eq!(take(&mut slow), ["\"first\"", "\"m\",0", "\"m\",1"]);
    let told = told.try_recv().unwrap();
    assert!(told.starts_with("m: ") && told.contains("larger"), "{told}");
}

/// A function that sends an event of its own key by its own policy does not call itself without
/// end.
#[test]
fn a_merge_that_emits_its_own_event_ends() {
    let io = server(1);
    let (depth, deepest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, most, application) = (Arc::clone(&depth), Arc::clone(&deepest), io.clone());
    let merge = move |_: &RawArgs, new: &RawArgs| {
        let deep = now.fetch_add(1, Ordering::Relaxed) + 1;
        most.fetch_max(deep, Ordering::Relaxed);
        if deep < 50 {
            application.emit("m", "again");
        }
        now.fetch_sub(1, Ordering::Relaxed);
        new.clone()
    };
    io.of("/").event_policy("m", Policy::merge("", merge));
    let (mut slow, _socket) = blocked(&io);
    for n in 0..2 {
        assert_eq!(io.emit("m", n), Sent { reached: 1, ..NONE });
    }
    assert!(deepest.load(Ordering::Relaxed) < 10, "{deepest:?}");
    assert!(take(&mut slow).last().unwrap().starts_with("\"m\","));
}

/// The same for messages to one socket: each of them waits, and none takes the place of another.
#[test]
fn what_has_a_number_keeps_its_place() {
    for early in [false, true] {
        let options = Options::default().shards(1).recovery(RecoveryConfig::default());
        let io = Io::new(Config::default(), options, RUNTIME).unwrap();
        let append = |socket: &Socket, text| socket.policy(Policy::append("")).emit("m", text).reached;
        if early {
            // Before the socket is let in, too.
            io.of("/").with(move |socket: Socket| {
                assert_eq!(append(&socket, "x") + append(&socket, "y"), 2);
                Ok::<_, Refusal>(())
            });
        }
        let (mut slow, socket) = blocked(&io);
        assert_eq!(append(&socket, "a") + append(&socket, "b"), 2);
        let events = take(&mut slow);
        assert!(events[1].starts_with("\"m\",\"a\","), "{events:?}");
        assert!(events[2].starts_with("\"m\",\"b\","), "{events:?}");
    }
}

/// What is not sent is counted for each recipient, as the report of the call says it: `dropped` if
/// the message may be dropped, and `unsent` if it is refused. What is sent, what is newer than what
/// waits, and what is for nobody counts in neither.
#[test]
fn what_is_not_sent_is_counted() {
    let config = Config::default().max_queued_packets(2).max_queued_bytes(10_000);
    let io = Io::new(config, Options::default().shards(2), RUNTIME).unwrap();
    let mut reader = Driven::connected(&io);
    let counts = || {
        let sessions = io.metrics().sessions;
        (sessions.dropped, sessions.unsent)
    };
    let (mut slow, socket) = blocked(&io);
    let large = "x".repeat(20_000);
    // The queue is empty, and this message would never fit.
    assert_eq!(io.policy(Policy::REFUSE).emit("n", &large), Sent { refused: 2, ..NONE });
    assert!(matches!(socket.emit("n", &large), Err(EmitError::TooLarge)));
    assert_eq!(counts(), (0, 3));
    for n in 0..2 {
        let sent = io.policy(Policy::DROP_OLDEST).emit("n", n);
        assert_eq!(sent, Sent { reached: 2, ..NONE });
    }
    assert_eq!(counts(), (0, 3));
    // The queue of one of two is full.
    assert_eq!(io.policy(Policy::DROP).emit("n", 2).dropped, 1);
    assert_eq!(io.volatile().emit("n", 3).dropped, 1);
    assert_eq!(socket.policy(Policy::DROP).emit("n", 4).dropped, 1);
    assert_eq!(socket.volatile().emit("n", 5).dropped, 1);
    assert_eq!(counts(), (4, 3));
    assert_eq!(io.policy(Policy::REFUSE).emit("n", 6).refused, 1);
    assert_eq!(socket.policy(Policy::REFUSE).emit("n", 7).refused, 1);
    assert!(matches!(socket.emit("n", 8), Err(EmitError::Full)));
    assert!(socket.try_emit("n", 9).is_err());
    assert_eq!(counts(), (4, 7));
    assert_eq!(socket.policy(Policy::DROP_OLDEST).emit("n", 10).reached, 1);
    assert_eq!(io.to("nobody").emit("n", 11), NONE);
    assert_eq!(counts(), (4, 7));
    let text = io.metrics().to_prometheus();
    for line in [
        "sio_messages_dropped_total 4",
        "sio_messages_displaced_total 1",
        "sio_messages_unsent_total 7",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in {text}");
    }
    assert_eq!(take(&mut slow), ["\"first\"", "\"n\",1", "\"n\",10"]);
    assert_eq!(reader.written().matches("42[\"n\"").count(), 5);
    // A socket that is gone is no recipient. A slow client whose policy ends it is.
    assert_eq!(counts(), (4, 7));
    slow.wall.room.store(0, Ordering::Relaxed);
    slow.script.full = true;
    let sent = (12..20)
        .map(|n| io.policy(Policy::END).emit("n", n).refused)
        .sum::<usize>();
    assert_eq!((sent, io.sockets().len()), (1, 1));
    assert!(matches!(socket.emit("n", 20), Err(EmitError::Disconnected)));
    assert_eq!(counts(), (4, 8));
}
