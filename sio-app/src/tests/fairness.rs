//! Fairness: how much one connection does before others have their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use super::{Counted, Driven, RUNTIME, fetch, head, now, ours, run_tasks, server, set_now, text};
use crate::adapter::Driver;
use crate::{
    Breach, Config, EngineHandler, EngineMessage, EngineSocket, HttpRequest, HttpResponse, Io, Method, Options, Reason,
    Socket,
};

/// Polls the connection until it asks for no further turn. Returns how often it was polled, and by
/// how much `done` grew at most in one poll.
fn turns(client: &mut Driven, done: &AtomicUsize) -> (usize, usize) {
    let counted = Counted::default();
    let waker = counted.waker();
    let (mut turns, mut most) = (0, 0);
    loop {
        let before = done.load(Ordering::Relaxed);
        let polled = client
            .connection
            .poll(&mut Context::from_waker(&waker), &mut client.script);
        assert!(polled.is_pending());
        turns += 1;
        most = most.max(done.load(Ordering::Relaxed) - before);
        if counted.take() == 0 {
            return (turns, most);
        }
    }
}

/// Hardening A15.
#[test]
fn who_pipelines_a_thousand_requests_lets_others_have_their_turn() {
    let io = server(1);
    let answered = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&answered);
    io.on_request(move |_: &HttpRequest<'_>| {
        counting.fetch_add(1, Ordering::Relaxed);
        HttpResponse::new(404)
    });
    let mut client = Driven::new(&io, usize::MAX);
    client.script.reads = vec![b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000)];
    let (turns, most) = turns(&mut client, &answered);
    assert_eq!(answered.load(Ordering::Relaxed), 1000);
    assert!(most <= 32, "{most} requests in one turn");
    assert!(turns >= 1000 / 32, "{turns}");
    assert_eq!(client.written().matches("HTTP/1.1 404").count(), 1000);
}

/// Hardening A15.
#[test]
fn who_sends_without_a_pause_lets_others_have_their_turn() {
    let io = server(1);
    let heard = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&heard);
    io.of("/").on("x", move |_: Socket| {
        counting.fetch_add(1, Ordering::Relaxed);
    });
    let mut client = Driven::connected(&io);
    client.script.reads = vec![text(r#"42["x"]"#).repeat(256); 100];
    let (turns, most) = turns(&mut client, &heard);
    assert_eq!(heard.load(Ordering::Relaxed), 25_600);
    assert!(most <= 8 * 256, "{most} events in one turn");
    assert!(turns >= 10, "{turns}");
}

/// Makes a server with a handler that takes a millisecond, like a handler that sends to very many
/// clients. Returns the server and the number of handled events, which come in order.
fn slow_server() -> (Io, Arc<AtomicUsize>) {
    let io = Io::new(Config::default(), Options::default().shards(1), RUNTIME).unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&heard);
    io.of("/").on("x", move |_: Socket, n: usize| {
        assert_eq!(counting.fetch_add(1, Ordering::Relaxed), n, "in order");
        set_now(now() + 1_000);
    });
    (io, heard)
}

fn events(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|n| text(&format!(r#"42["x",{n}]"#))).collect()
}

/// Hardening A15.
#[test]
fn what_events_cause_is_bounded_in_a_turn() {
    let (io, heard) = slow_server();
    let mut client = Driven::connected(&io);
    client.script.reads = vec![events(0..1_000), events(1_000..1_500)];
    let (turns, most) = turns(&mut client, &heard);
    assert_eq!(heard.load(Ordering::Relaxed), 1_500);
    assert!(most <= 16, "{most} handlers of a millisecond in one turn");
    assert!(turns >= 1_500 / 16, "{turns}");
}

/// Hardening A15.
#[test]
fn what_a_turn_has_left_is_done_when_its_connection_has_gone() {
    let (io, heard) = slow_server();
    let mut client = Driven::connected(&io);
    client.script.reads = vec![events(0..100)];
    let counted = Counted::default();
    let waker = counted.waker();
    let polled = client
        .connection
        .poll(&mut Context::from_waker(&waker), &mut client.script);
    assert!(polled.is_pending());
    let first = heard.load(Ordering::Relaxed);
    assert!(first < 100, "{first}");
    drop(client);
    let mut most = 0;
    while heard.load(Ordering::Relaxed) < 100 {
        let before = heard.load(Ordering::Relaxed);
        run_tasks();
        let done = heard.load(Ordering::Relaxed) - before;
        assert!(done > 0, "a task goes on with it");
        most = most.max(done);
    }
    assert!(most <= 16, "{most}");
}

/// Polls each client once, again and again, until none asks for another turn.
fn take_turns(clients: &mut [Driven]) {
    let counted = Counted::default();
    let waker = counted.waker();
    for _ in 0..10_000 {
        for client in &mut *clients {
            let polled = client
                .connection
                .poll(&mut Context::from_waker(&waker), &mut client.script);
            assert!(polled.is_pending());
        }
        if counted.take() == 0 {
            return;
        }
    }
    panic!("there is no end to it");
}

/// Hardening A15: when many turns leave their work before they have written, the queue of a client
/// that reads does not become full.
#[test]
fn what_many_turns_have_emitted_does_not_wait_for_the_last_of_them() {
    for to_one in [false, true] {
        let io = Io::new(Config::default(), Options::default().shards(1), RUNTIME).unwrap();
        let mut member = Driven::connected(&io);
        let target = io.sockets()[0].clone();
        io.of("/").on("cast", move |socket: Socket, n: usize| {
            set_now(now() + 1_000);
            match to_one {
                true => target.emit("cast", n).unwrap(),
                false => _ = socket.broadcast().emit("cast", n),
            }
        });
        let mut casters: Vec<_> = (0..20).map(|_| Driven::connected(&io)).collect();
        for caster in &mut casters {
            let cast = |n| text(&format!(r#"42["cast",{n}]"#));
            caster.script.reads.push((0..500).flat_map(cast).collect());
        }
        take_turns(&mut casters);
        let calls = member.calls();
        let heard = member.written().matches(r#"42["cast","#).count();
        assert_eq!((heard, io.sessions()), (10_000, 21), "to one: {to_one}");
        assert!(calls < 200, "writes stay merged nevertheless: {calls}");
    }
}

/// A handler may poll another connection, which has work left. The work of its own turn is not lost
/// by that, and neither is what it has emitted before.
#[test]
fn a_handler_that_polls_a_connection_loses_nothing() {
    let (io, heard) = slow_server();
    let mut other = Driven::connected(&io);
    other.script.reads = vec![events(0..50)];
    let polled = other
        .connection
        .poll(&mut Context::from_waker(Waker::noop()), &mut other.script);
    assert!(polled.is_pending());
    assert!(heard.load(Ordering::Relaxed) < 50, "work is left");
    let (other, poked) = (std::sync::Mutex::new(other), Arc::new(AtomicUsize::new(0)));
    let counting = Arc::clone(&poked);
    io.of("/").on("poke", move |socket: Socket, n: usize| {
        assert_eq!(counting.fetch_add(1, Ordering::Relaxed), n, "in order");
        socket.emit("poked", n).unwrap();
        if n == 1 {
            let mut other = other.lock().unwrap();
            let (_, most) = turns(&mut other, &heard);
            assert!((1..=16).contains(&most), "{most}");
            assert_eq!(heard.load(Ordering::Relaxed), 50);
        }
        socket.emit("went on", n).unwrap();
    });
    let mut client = Driven::connected(&io);
    let poke = |n| text(&format!(r#"42["poke",{n}]"#));
    let _ = client.read(&(0..10).flat_map(poke).collect::<Vec<u8>>());
    let written = client.written();
    assert_eq!(poked.load(Ordering::Relaxed), 10);
    for n in 0..10 {
        assert_eq!(written.matches(&format!(r#"42["poked",{n}]"#)).count(), 1, "{written}");
        assert_eq!(
            written.matches(&format!(r#"42["went on",{n}]"#)).count(),
            1,
            "{written}"
        );
    }
}

/// A handler may poll a connection on which events have come. They are handled in a turn of their
/// own, before the handler goes on, and the events of its own turn come after it.
#[test]
fn a_handler_that_polls_a_connection_waits_for_its_events() {
    let (io, heard) = slow_server();
    let mut other = Driven::connected(&io);
    other.script.reads = vec![events(0..3)];
    let (other, poked) = (std::sync::Mutex::new(other), Arc::new(AtomicUsize::new(0)));
    let counting = Arc::clone(&poked);
    io.of("/").on("poke", move |socket: Socket, n: usize| {
        if n == 0 {
            let _ = turns(&mut other.lock().unwrap(), &heard);
            assert_eq!(heard.load(Ordering::Relaxed), 3, "before the handler goes on");
        }
        assert_eq!(counting.fetch_add(1, Ordering::Relaxed), n, "in order");
        socket.emit("went on", n).unwrap();
    });
    let mut client = Driven::connected(&io);
    let poke = |n| text(&format!(r#"42["poke",{n}]"#));
    let _ = client.read(&(0..4).flat_map(poke).collect::<Vec<u8>>());
    assert_eq!(poked.load(Ordering::Relaxed), 4);
    assert_eq!(client.written().matches(r#"42["went on","#).count(), 4);
}

/// Hardening A14: work that is kept for later counts like received bytes. Work for which there is
/// no room is done at once.
#[test]
fn what_a_turn_leaves_takes_no_more_than_what_is_received_may() {
    let options = Options::default()
        .shards(1)
        .max_receiving_bytes(300_000)
        // All of a read is handed over at once.
        .max_waiting_events(1_000_000);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&heard);
    io.of("/").on("x", move |_: Socket, n: usize| {
        assert_eq!(counting.fetch_add(1, Ordering::Relaxed), n, "in order");
        set_now(now() + 1_000);
    });
    let mut client = Driven::connected(&io);
    client.script.reads = vec![events(0..4_000), events(4_000..4_100)];
    let (turns, most) = turns(&mut client, &heard);
    assert_eq!(heard.load(Ordering::Relaxed), 4_100);
    assert!(most >= 4_000, "{most} at once, because there is no room for them");
    assert!(turns >= 100 / 16, "{turns}");
    // No received bytes are counted any more.
    heard.store(0, Ordering::Relaxed);
    let mut other = Driven::connected(&io);
    other.script.reads = vec![events(0..1_000)];
    let (_, most) = self::turns(&mut other, &heard);
    assert!(most <= 16, "{most}");
}

/// Hardening A14: the work that is left to tasks is limited, too, because it may outlive the client
/// that has caused it.
#[test]
fn what_is_left_to_tasks_is_bounded() {
    // All packets of a body are handed over at once.
    let options = Options::default().shards(1).max_waiting_events(1_000_000);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let heard = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&heard);
    io.of("/").on("x", move |_: Socket| {
        counting.fetch_add(1, Ordering::Relaxed);
        set_now(now() + 1_000);
    });
    let body = [r#"42["x"]"#; 40_000].join("\u{1e}");
    for _ in 0..4 {
        let (_, open) = fetch(&io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
        let sid = open.split('"').nth(3).unwrap();
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        assert_eq!(fetch(&io, Method::Post, &path, "40").1, "ok");
        let mut posted = ours(&io, head(Method::Post, &path, &[("host", "x")]));
        posted.body(Ok(body.clone().into()));
        // The client does not wait for the answer. Its events are handled nevertheless.
        drop(posted);
    }
    let left = 160_000 - heard.load(Ordering::Relaxed);
    assert!(left > 10_000, "{left}: others have their turn");
    assert!(left < 8 * 1024 * 1024 / 64, "{left} events wait");
    while run_tasks() > 0 {}
    assert_eq!(heard.load(Ordering::Relaxed), 160_000);
}

/// Hardening A14: while others have left much work, a large body waits before it is decoded,
/// because a decoded body is many times as large.
#[test]
fn a_large_body_waits_until_there_is_less_work() {
    // All packets of a body are handed over at once.
    let options = Options::default().shards(1).max_waiting_events(1_000_000);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let heard = Arc::new([const { AtomicUsize::new(0) }; 3]);
    let (counting, slow) = (Arc::clone(&heard), Arc::new(AtomicUsize::new(1_000)));
    let took = Arc::clone(&slow);
    io.of("/").on("x", move |_: Socket, n: usize| {
        counting[n].fetch_add(1, Ordering::Relaxed);
        set_now(now() + took.load(Ordering::Relaxed) as u64);
    });
    let heard = |n: usize| heard[n].load(Ordering::Relaxed);
    let mut clients: Vec<_> = (0..3).map(|_| Driven::new(&io, usize::MAX)).collect();
    let counted = Counted::default();
    let waker = counted.waker();
    for (n, client) in clients.iter_mut().enumerate() {
        let (_, open) = fetch(&io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
        let sid = open.split('"').nth(3).unwrap();
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        assert_eq!(fetch(&io, Method::Post, &path, "40").1, "ok");
        let body = vec![format!(r#"42["x",{n}]"#); 60_000].join("\u{1e}");
        let length = body.len();
        let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        let (first, rest) = request.split_at(100_000);
        client.script.reads = vec![first.into(), rest.into()];
        for _ in 0..3 {
            let mut cx = Context::from_waker(&waker);
            assert!(client.connection.poll(&mut cx, &mut client.script).is_pending());
            // The last one sleeps until there is less work.
            assert_eq!(counted.take(), usize::from(n < 2), "it asks for another turn");
        }
    }
    assert!((1..100).contains(&heard(0)) && (1..100).contains(&heard(1)));
    assert_eq!(heard(2), 0);
    // Small messages do not wait.
    let mut other = Driven::connected(&io);
    let _ = other.read(&text(r#"42["x",2]"#));
    assert_eq!(heard(2), 1);
    slow.store(0, Ordering::Relaxed);
    take_turns(&mut clients);
    assert_eq!([heard(0), heard(1), heard(2)], [60_000, 60_000, 60_001]);
    for client in &mut clients {
        assert!(client.written().ends_with("ok"));
    }
}

/// Hardening A14: who waits for the work of others sleeps meanwhile, and is woken when the work is
/// done. There is a limit: others may leave new work all the time.
#[test]
fn a_large_body_that_waits_takes_no_turns_and_does_not_wait_for_ever() {
    for (mounted, is_done) in [(false, true), (true, true), (false, false), (true, false)] {
        let options = Options::default().shards(1).max_left_bytes(0);
        let io = Io::new(Config::default(), options, RUNTIME).unwrap();
        io.of("/").on("e", || ()).on("x", |_: usize| set_now(now() + 1_000));
        let mut busy = Driven::connected(&io);
        busy.script.reads = vec![events(0..100)];
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(busy.connection.poll(cx, &mut busy.script).is_pending());

        let (_, open) = fetch(&io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
        let target = format!(
            "/socket.io/?EIO=4&transport=polling&sid={}",
            open.split('"').nth(3).unwrap()
        );
        assert_eq!(fetch(&io, Method::Post, &target, "40").1, "ok");
        let body = format!(r#"42["e","{}"]"#, "x".repeat(300_000));
        let mut poll: Box<dyn FnMut(&mut Context<'_>) -> bool> = if mounted {
            let mut exchange = ours(&io, head(Method::Post, &target, &[("host", "x")]));
            exchange.body(Ok(body.into()));
            Box::new(move |cx| exchange.poll_answer(cx).is_ready())
        } else {
            let mut client = Driven::new(&io, usize::MAX);
            let length = body.len();
            let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
            client.script.reads = request.as_bytes().chunks(100_000).map(<[u8]>::to_vec).collect();
            Box::new(move |cx| {
                assert!(client.connection.poll(cx, &mut client.script).is_pending());
                client.written().ends_with("ok")
            })
        };
        let counted = Counted::default();
        let waker = counted.waker();
        for _ in 0..3 {
            assert!(!poll(&mut Context::from_waker(&waker)));
            assert_eq!(counted.take(), 0, "mounted: {mounted}");
        }
        if is_done {
            let _ = busy.poll();
        } else {
            set_now(now() + Config::default().longest_pause().as_micros() as u64);
            Driver::new(&io).handle_timeout(0, Waker::noop());
        }
        assert_eq!(counted.take(), 1, "mounted: {mounted}, done: {is_done}");
        assert!(
            poll(&mut Context::from_waker(&waker)),
            "mounted: {mounted}, done: {is_done}"
        );
    }
}

/// The calls of a raw session's handler.
struct Noting(std::sync::Mutex<Vec<&'static str>>);

impl EngineHandler for Arc<Noting> {
    fn message(&self, _: &EngineSocket, _: EngineMessage) {
        set_now(now() + 1_000);
        self.0.lock().unwrap().push("message");
    }

    fn close(&self, _: &EngineSocket, _: Reason, _: Option<&Breach>) {
        self.0.lock().unwrap().push("close");
    }
}

/// A raw session has no mailbox. So its messages are not left for later: otherwise its end would be
/// handled before them.
#[test]
fn a_raw_session_hears_nothing_after_its_end() {
    let mut config = Config::default();
    config.engine_path = Some("/engine.io".into());
    let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
    let noted = Arc::new(Noting(std::sync::Mutex::default()));
    io.on_engine(Arc::clone(&noted));
    let (_, open) = fetch(&io, Method::Get, "/engine.io/?EIO=4&transport=polling", "");
    let sid = open.split('"').nth(3).unwrap();
    let (body, mut client) = (["4x"; 100].join("\u{1e}"), Driven::new(&io, usize::MAX));
    let length = body.len();
    let request = format!(
        "POST /engine.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    client.script.reads = vec![request.into()];
    let mut cx = Context::from_waker(Waker::noop());
    assert!(client.connection.poll(&mut cx, &mut client.script).is_pending());
    // The client does not answer pings.
    for _ in 0..6 {
        let Some(next) = Driver::new(&io).handle_timeout(0, Waker::noop()) else {
            break;
        };
        set_now(next.as_micros().max(now()));
    }
    let _ = client.poll();
    let noted = noted.0.lock().unwrap();
    assert_eq!((noted.len(), noted.last()), (101, Some(&"close")));
}
