//! Clients that send faster than their handlers work, or than they may: nothing more is read from
//! them, nothing is lost, and their neighbours do not wait.

use std::sync::Mutex;

use super::*;
use crate::{EngineMessage, EngineSocket, Excess, RateLimit};

pub(super) const MOST: usize = 40;

/// A server on which few events may wait for a session. Its handler waits until it is told to go
/// on, and notes the number of its event.
pub(super) struct Slow {
    pub(super) io: Io,
    seen: Arc<Mutex<Vec<usize>>>,
    /// How many handlers may finish.
    pub(super) free: Arc<AtomicUsize>,
}

impl Slow {
    pub(super) fn new(one_at_a_time: bool, config: Config) -> Self {
        let options = Options::default().shards(1).max_waiting_events(MOST);
        let io = Io::new(config, options, RUNTIME).unwrap();
        let (seen, free) = (Arc::<Mutex<Vec<usize>>>::default(), Arc::<AtomicUsize>::default());
        let (notes, frees) = (Arc::clone(&seen), Arc::clone(&free));
        let slow = move |number: usize| {
            let (notes, frees) = (Arc::clone(&notes), Arc::clone(&frees));
            async move {
                std::future::poll_fn(|_| {
                    let taken = frees.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1));
                    taken.map_or(Poll::Pending, |_| Poll::Ready(()))
                })
                .await;
                notes.lock().unwrap().push(number);
            }
        };
        let root = io.of("/");
        let for_message = slow.clone();
        root.on("slow", slow)
            .on("quick", |socket: Socket| socket.emit("quick", ()))
            .on("message", move |text: String| for_message(text.parse().unwrap()));
        if one_at_a_time {
            root.one_at_a_time();
        }
        Self { io, seen, free }
    }

    /// Lets so many handlers finish.
    pub(super) fn finish(&self, handlers: usize) {
        self.free.fetch_add(handlers, Ordering::Relaxed);
        while self.free.load(Ordering::Relaxed) > 0 {
            let before = self.free.load(Ordering::Relaxed);
            run_tasks();
            if self.free.load(Ordering::Relaxed) == before {
                break;
            }
        }
    }

    pub(super) fn seen(&self) -> Vec<usize> {
        self.seen.lock().unwrap().clone()
    }
}

fn events(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers
        .flat_map(|number| text(&format!(r#"42["slow",{number}]"#)))
        .collect()
}

#[test]
fn a_link_whose_handlers_lag_is_not_read_until_they_have_caught_up() {
    for one_at_a_time in [true, false] {
        let slow = Slow::new(one_at_a_time, Config::default());
        let mut client = Driven::connected(&slow.io);
        client.script.reads = (0..50).map(|part| events(part * 10..part * 10 + 10)).collect();
        let _ = client.poll();
        let unread = client.script.reads.len();
        assert!(
            unread >= 46,
            "{unread}: half of the bound and one portion have been read"
        );
        let mut turns = 0;
        while slow.seen().len() < 500 {
            slow.finish(1);
            let _ = client.poll();
            let waiting = slow.io.metrics().most_waiting_events;
            assert!(waiting <= MOST, "{waiting}");
            turns += 1;
            assert!(turns < 5_000, "it goes on: {}", slow.seen().len());
        }
        if one_at_a_time {
            assert!(slow.seen().is_sorted(), "in order");
        }
        let mut seen = slow.seen();
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<_>>(), "none is lost, none comes twice");
        assert_eq!(slow.io.sessions(), 1);
        assert!(slow.io.metrics().lagging_pauses_total >= 10);
        assert_eq!(slow.io.metrics().throttling_pauses_total, 0);
    }
}

/// More events in one read than may wait.
#[test]
fn one_read_is_handed_over_in_portions() {
    for one_at_a_time in [true, false] {
        let slow = Slow::new(one_at_a_time, Config::default());
        let mut client = Driven::connected(&slow.io);
        let _ = client.read(&events(0..1_000));
        for _ in 0..2_000 {
            slow.finish(1);
            let _ = client.poll();
        }
        assert_eq!(slow.seen().len(), 1_000);
        assert_eq!(slow.io.sessions(), 1);
    }
}

/// A client of 0.6 can send any number of messages in one frame, and in one POST.
#[test]
fn one_frame_or_post_of_0_6_is_handed_over_in_portions() {
    let slow = Slow::new(true, Config::default());
    let mut client = Driven::new(&slow.io, usize::MAX);
    let upgrade = String::from_utf8(UPGRADE.to_vec()).unwrap();
    let _ = client.read(
        upgrade
            .replace("/socket.io/?EIO=4&transport=websocket", "/socket.io/websocket")
            .as_bytes(),
    );
    let id = client.written().rsplit('~').next().unwrap().to_owned();
    let messages: String = (0..1_000)
        .map(|n: usize| format!("~m~{}~m~{n}", n.to_string().len()))
        .collect();
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&(messages.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(messages.as_bytes());
    let _ = client.read(&frame);
    for _ in 0..2_000 {
        slow.finish(1);
        let _ = client.poll();
    }
    assert_eq!(slow.seen(), (0..1_000).collect::<Vec<_>>());
    drop(client);
    slow.free.store(0, Ordering::Relaxed);

    let body = format!("data={messages}");
    let mut client = Driven::new(&slow.io, usize::MAX);
    let _ = client.read(
        format!(
            "POST /socket.io/xhr-polling/{id}/send HTTP/1.1\r\nHost: x\r\nContent-Type: \
             application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    assert_eq!(client.written(), "", "it is not answered yet");
    for _ in 0..2_000 {
        slow.finish(1);
        let _ = client.poll();
    }
    assert_eq!(slow.seen().len(), 2_000);
    assert!(client.written().ends_with("ok"));
}

pub(super) fn polling(io: &Io) -> String {
    let (_, open) = fetch(io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
    let target = format!(
        "/socket.io/?EIO=4&transport=polling&sid={}",
        open.split('"').nth(3).unwrap()
    );
    assert_eq!(fetch(io, Method::Post, &target, "40").1, "ok");
    target
}

/// A POST is answered when its last events have been handed over, and the next POST waits before
/// its first one, on whatever connection it comes.
#[test]
fn posts_wait_for_handlers_that_lag() {
    for mounted in [true, false] {
        let slow = Slow::new(true, Config::default());
        let target = polling(&slow.io);
        let body = |from: usize| {
            let packets: Vec<String> = (from..from + 100).map(|n| format!(r#"42["slow",{n}]"#)).collect();
            packets.join("\u{1e}")
        };
        let mut posts: Vec<Box<dyn FnMut() -> bool>> = Vec::new();
        for part in 0..3 {
            let body = body(part * 100);
            if mounted {
                let mut exchange = ours(&slow.io, head(Method::Post, &target, &[("host", "x")]));
                exchange.body(Ok(body.into()));
                posts.push(Box::new(move || {
                    let counted = Counted::default();
                    loop {
                        let polled = exchange.poll_answer(&mut Context::from_waker(&counted.waker()));
                        if polled.is_ready() || counted.take() == 0 {
                            return polled.is_ready();
                        }
                    }
                }));
            } else {
                let mut client = Driven::new(&slow.io, usize::MAX);
                let request = format!(
                    "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = client.read(request.as_bytes());
                posts.push(Box::new(move || {
                    let _ = client.poll();
                    client.written().ends_with("ok")
                }));
            }
            let post = posts.last_mut().unwrap();
            assert!(!post(), "not answered");
            for _ in 0..500 {
                slow.finish(1);
                if post() {
                    break;
                }
            }
            let seen = slow.seen().len();
            assert!(
                seen >= part * 100 + 100 - MOST && seen < part * 100 + 100,
                "{seen}: answered with the last portion"
            );
        }
        slow.finish(100);
        assert_eq!(slow.seen(), (0..300).collect::<Vec<_>>());
        assert_eq!(slow.io.sessions(), 1);
        assert!(slow.io.metrics().most_waiting_events <= MOST);
    }
}

/// A POST that waits before its first portion is under way: what its client sends after it, on its
/// websocket, comes after it. A genuine client sends `5` when the POST has been answered, which may
/// take longer than an upgrade.
#[test]
fn an_upgrade_waits_for_a_post_that_waits_for_handlers() {
    for is_genuine in [false, true] {
        let slow = Slow::new(true, Config::default());
        let target = polling(&slow.io);
        let post = |numbers: std::ops::Range<usize>| {
            let packets: Vec<String> = numbers.map(|n| format!(r#"42["slow",{n}]"#)).collect();
            let (body, mut client) = (packets.join("\u{1e}"), Driven::new(&slow.io, usize::MAX));
            let request = format!(
                "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = client.read(request.as_bytes());
            client
        };
        assert!(post(0..30).written().ends_with("ok"));
        let mut waiting = post(30..42);
        assert_eq!(waiting.written(), "", "it waits before its first portion");
        let mut websocket = Driven::new(&slow.io, usize::MAX);
        let upgrade = String::from_utf8(UPGRADE.to_vec()).unwrap();
        let target = target.replace("polling", "websocket");
        let upgrade = upgrade.replace("/socket.io/?EIO=4&transport=websocket", &target);
        let _ = websocket.read(upgrade.as_bytes());
        let _ = websocket.read(&text("2probe"));
        for _ in 0..if is_genuine { 25 } else { 0 } {
            set_now(now() + 1_000_000);
            Driver::new(&slow.io).handle_timeout(0, Waker::noop());
            slow.finish(1);
            let _ = waiting.poll();
            let _ = websocket.poll();
        }
        let mut answer = waiting.written();
        assert_eq!(answer.ends_with("ok"), is_genuine);
        for packet in ["5", r#"42["slow",42]"#] {
            let _ = websocket.read(&text(packet));
        }
        for _ in 0..200 {
            slow.finish(1);
            let _ = waiting.poll();
            let _ = websocket.poll();
        }
        answer += &waiting.written();
        assert!(answer.ends_with("ok"));
        assert_eq!(slow.seen(), (0..43).collect::<Vec<_>>());
    }
}

/// A POST behind a held GET has no way around the limits: the GET is answered, and the POST waits
/// as any other.
#[test]
fn a_post_behind_a_held_get_waits_too() {
    let limit = RateLimit::NONE.events(10, 5);
    for config in [Config::default(), Config::default().session_rate(limit)] {
        let is_throttled = config.session_rate == limit;
        let slow = Slow::new(true, config);
        let target = polling(&slow.io);
        fetch(&slow.io, Method::Get, &target, "");
        if is_throttled {
            slow.free.store(usize::MAX / 2, Ordering::Relaxed);
        }
        let packets: Vec<String> = (0..100).map(|n| format!(r#"42["slow",{n}]"#)).collect();
        let body = packets.join("\u{1e}");
        let mut client = Driven::new(&slow.io, usize::MAX);
        let requests = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\n\r\nPOST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = client.read(requests.as_bytes());
        let written = client.written();
        assert!(written.ends_with("\r\n\r\n6"), "the GET is answered: {written}");
        run_tasks();
        if is_throttled {
            assert_eq!(slow.seen().len(), 5, "the burst");
        }
        for _ in 0..500 {
            match is_throttled {
                true => {
                    set_now(now() + 50_000);
                    Driver::new(&slow.io).handle_timeout(0, Waker::noop());
                    run_tasks();
                }
                false => slow.finish(1),
            }
            let _ = client.poll();
        }
        assert_eq!(slow.seen(), (0..100).collect::<Vec<_>>());
        assert!(client.written().ends_with("ok"));
        assert_eq!(slow.io.sessions(), 1);
        assert!(slow.io.metrics().most_waiting_events <= MOST);
    }
}

/// Handlers that never finish do not keep a client for ever: after some pauses it ends at the
/// limit.
#[test]
fn handlers_that_make_no_progress_end_their_client_at_the_limit() {
    let slow = Slow::new(true, Config::default());
    let mut client = Driven::connected(&slow.io);
    client.script.reads = (0..50).map(|part| events(part * 10..part * 10 + 10)).collect();
    let mut pauses = 0;
    while slow.io.sessions() > 0 {
        let _ = client.poll();
        set_now(now() + 4_000_000);
        Driver::new(&slow.io).handle_timeout(0, Waker::noop());
        pauses += 1;
        assert!(pauses < 20, "it ends");
    }
    assert!(pauses > 2, "{pauses}");
    assert_eq!(slow.io.metrics().sessions.broken(crate::BreachKind::Limit), 1);
}

/// As long as handlers finish, a client is waited for, and need not answer heartbeats that it could
/// not read.
#[test]
fn a_pause_with_progress_may_last_longer_than_a_heartbeat() {
    let slow = Slow::new(true, Config::default());
    let mut client = Driven::connected(&slow.io);
    client.script.reads = (0..20).map(|part| events(part * 10..part * 10 + 10)).collect();
    for _ in 0..170 {
        let _ = client.poll();
        set_now(now() + 2_000_000);
        Driver::new(&slow.io).handle_timeout(0, Waker::noop());
        slow.finish(1);
    }
    assert_eq!(
        slow.io.sessions(),
        1,
        "it has answered no ping for more than five minutes"
    );
    slow.finish(30);
    let _ = client.poll();
    slow.finish(30);
    assert_eq!(slow.seen(), (0..200).collect::<Vec<_>>());
    assert!(client.written().contains('2'), "the server still pings");
}

#[test]
fn neighbours_are_read_while_a_client_is_not() {
    let slow = Slow::new(true, Config::default());
    let (mut client, mut neighbour) = (Driven::connected(&slow.io), Driven::connected(&slow.io));
    let _ = client.read(&events(0..500));
    for _ in 0..10 {
        assert!(neighbour.says(r#"42["quick"]"#).ends_with(r#"42["quick"]"#));
    }
    // What waits goes with its connection.
    drop(client);
    slow.finish(1_000);
    drop(neighbour);
    run_tasks();
    assert_eq!((slow.io.sessions(), slow.io.connections()), (0, 0));
}

#[test]
fn a_client_that_may_not_send_so_fast_is_throttled() {
    let config = Config::default().session_rate(RateLimit::NONE.events(10, 5));
    let slow = Slow::new(true, config);
    let mut client = Driven::connected(&slow.io);
    slow.free.store(usize::MAX / 2, Ordering::Relaxed);
    let _ = client.read(&events(0..20));
    run_tasks();
    assert_eq!(slow.seen().len(), 5, "the burst");
    for _ in 0..30 {
        set_now(now() + 50_000);
        Driver::new(&slow.io).handle_timeout(0, Waker::noop());
        let _ = client.poll();
        run_tasks();
    }
    assert_eq!(slow.seen(), (0..20).collect::<Vec<_>>());
    let metrics = slow.io.metrics();
    assert!(metrics.throttling_pauses_total >= 10, "{metrics:?}");
    let said = metrics.to_prometheus();
    assert!(said.contains("sio_pauses_total{why=\"throttled\"}"), "{said}");
}

#[test]
fn a_namespace_has_a_rate_of_its_own_and_its_end_has_a_reason() {
    let slow = Slow::new(true, Config::default());
    let (tell, told) = std::sync::mpsc::channel();
    slow.io
        .of("/strict")
        .rate(RateLimit::NONE.events(1, 3).excess(Excess::Disconnect))
        .on("e", || ())
        .on_disconnect(move |breach: Option<crate::Breach>| tell.send(breach));
    let mut client = Driven::connected(&slow.io);
    let _ = client.read(&text("40/strict,"));
    let sent: Vec<u8> = (0..4).flat_map(|_| text(r#"42/strict,["e"]"#)).collect();
    let _ = client.read(&sent);
    run_tasks();
    let breach = told.try_recv().unwrap().unwrap();
    assert_eq!(breach.kind(), crate::BreachKind::Rate);
    assert_eq!(slow.io.metrics().sessions.broken(crate::BreachKind::Rate), 1);
    slow.io.of("/wrong").rate(RateLimit::NONE.events(0, 1));
    assert!(slow.io.check().is_err(), "a rate of zero is a mistake");
}

/// What a client that pauses has sent counts as received. It is no work that the large bodies of
/// others wait for.
#[test]
fn large_bodies_do_not_wait_for_a_client_that_pauses() {
    let config = Config::default().session_rate(RateLimit::NONE.events(10, 5));
    let options = Options::default().shards(1).max_left_bytes(10_000);
    let io = Io::new(config, options, RUNTIME).unwrap();
    io.of("/").on("e", || ());
    let post = |body: &str| {
        let (target, length) = (polling(&io), body.len());
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let mut hasty = Driven::new(&io, usize::MAX);
    let _ = hasty.read(post(&[r#"42["e"]"#; 1_000].join("\u{1e}")).as_bytes());
    assert!(hasty.connection.is_paced());
    let large = format!(r#"42["e","{}"]"#, "x".repeat(200_000));

    let mut neighbour = Driven::new(&io, usize::MAX);
    let request = post(&large).into_bytes();
    let (first, rest) = request.split_at(100_000);
    neighbour.script.reads = vec![first.into(), rest.into()];
    let counted = Counted::default();
    for _ in 0..10 {
        let _ = neighbour
            .connection
            .poll(&mut Context::from_waker(&counted.waker()), &mut neighbour.script);
    }
    assert!(neighbour.written().ends_with("ok"));
    assert_eq!(counted.take(), 0, "it asks for no further turn");

    let mut mounted = ours(&io, head(Method::Post, &polling(&io), &[("host", "x")]));
    mounted.body(Ok(large.into()));
    assert_eq!(reply(&mut mounted), (200, "ok".into()));
    assert!(hasty.connection.is_paced());
}

/// What waits for its portion counts less when portions have been handed over.
#[test]
fn what_has_been_handed_over_counts_no_longer() {
    let body = [r#"42["e"]"#; 4_000].join("\u{1e}");
    let places = 4_000 * size_of::<sio_proto::wire::Inbound>();
    for mounted in [true, false] {
        let config = Config::default().session_rate(RateLimit::NONE.events(1_000, 100));
        let options = Options::default().shards(1).max_receiving_bytes(2 * places);
        let io = Io::new(config, options, RUNTIME).unwrap();
        io.of("/").on("e", || ());
        let mut poll: Box<dyn FnMut() -> bool> = match mounted {
            true => {
                let mut post = ours(&io, head(Method::Post, &polling(&io), &[("host", "x")]));
                post.body(Ok(body.clone().into()));
                Box::new(move || post.poll_answer(&mut Context::from_waker(Waker::noop())).is_pending())
            }
            false => {
                let (target, length) = (polling(&io), body.len());
                let mut post = Driven::new(&io, usize::MAX);
                let _ = post.read(
                    format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
                );
                Box::new(move || post.poll().is_pending() && post.connection.is_paced())
            }
        };
        assert!(poll());
        let mut other = ours(&io, head(Method::Post, &polling(&io), &[("host", "x")]));
        assert!(!other.receive(places + places / 2), "mounted: {mounted}");
        for _ in 0..36 {
            set_now(now() + 100_000);
            Driver::new(&io).handle_timeout(0, Waker::noop());
            assert!(poll(), "there is more");
        }
        assert!(other.receive(places + places / 2), "mounted: {mounted}");
    }
}

/// A raw session whose handler polls another connection of its client when it is told `go`. What
/// comes there waits for this handler.
struct RawStory {
    io: Io,
    /// The target of its polls.
    target: String,
    other: Arc<Mutex<Option<Driven>>>,
    /// How often the other connection was woken.
    woken: Counted,
    /// How many messages have been handled.
    heard: Arc<AtomicUsize>,
}

impl RawStory {
    fn new() -> Self {
        let options = Options::default().shards(1).max_waiting_events(MOST);
        let io = Io::new(Config::default().engine_path("/engine.io"), options, RUNTIME).unwrap();
        let (other, heard) = (Arc::<Mutex<Option<Driven>>>::default(), Arc::<AtomicUsize>::default());
        let (polled, woken, count) = (Arc::clone(&other), Counted::default(), Arc::clone(&heard));
        let wakes = woken.clone();
        io.on_engine(move |_: &EngineSocket, message: EngineMessage| {
            count.fetch_add(1, Ordering::Relaxed);
            let told = matches!(message, EngineMessage::Text(text) if text == "go");
            if told && let Some(client) = &mut *polled.lock().unwrap() {
                let waker = wakes.waker();
                loop {
                    let _ = client
                        .connection
                        .poll(&mut Context::from_waker(&waker), &mut client.script);
                    if wakes.take() == 0 {
                        break;
                    }
                }
            }
        });
        let target = "/engine.io/?EIO=4&transport=polling";
        let (_, open) = fetch(&io, Method::Get, target, "");
        let target = format!("{target}&sid={}", open.split('"').nth(3).unwrap());
        Self {
            io,
            target,
            other,
            woken,
            heard,
        }
    }

    /// Tells the handler to poll this connection. Returns the connection.
    fn go(&self, client: Driven) -> Driven {
        *self.other.lock().unwrap() = Some(client);
        assert_eq!(fetch(&self.io, Method::Post, &self.target, "4go").1, "ok");
        self.other.lock().unwrap().take().unwrap()
    }
}

/// What waits for the handler of a raw session counts, as that of any other.
#[test]
fn a_raw_session_whose_handler_lags_is_not_read() {
    let story = RawStory::new();
    let mut client = Driven::new(&story.io, usize::MAX);
    let target = story.target.replace("polling", "websocket");
    let upgrade = String::from_utf8(UPGRADE.to_vec()).unwrap();
    let upgrade = upgrade.replace("/socket.io/?EIO=4&transport=websocket", &target);
    let _ = client.read(upgrade.as_bytes());
    let _ = client.read(&text("2probe"));
    client.script.reads = vec![text("5")];
    client.script.reads.extend((0..50).map(|_| text("4x").repeat(5)));
    let mut client = story.go(client);
    let unread = client.script.reads.len();
    assert!(
        (44..50).contains(&unread),
        "{unread}: half of the bound and one read have been read"
    );
    assert_eq!(story.io.metrics().lagging_pauses_total, 1);
    let _ = client.poll();
    assert_eq!((story.heard.load(Ordering::Relaxed), story.io.sessions()), (251, 1));
}

/// Who waits for the handler of a raw session goes on when it has caught up.
#[test]
fn who_waits_for_a_raw_session_is_woken() {
    let story = RawStory::new();
    let mut client = Driven::new(&story.io, usize::MAX);
    let body = ["4x"; 100].join("\u{1e}");
    let (target, length) = (&story.target, body.len());
    let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    client.script.reads = vec![request.into()];
    let mut client = story.go(client);
    assert!(
        (20..100).contains(&story.heard.load(Ordering::Relaxed)),
        "it has paused"
    );
    assert!(story.woken.take() > 0);
    let _ = client.poll();
    assert!(client.written().ends_with("ok"));
    assert_eq!((story.heard.load(Ordering::Relaxed), story.io.sessions()), (101, 1));
}
