//! Peers that do not read from their connection.

use super::*;
use crate::adapter::Driver;

/// Makes a masked ping. The mask is zero.
fn ping(data: &str) -> Vec<u8> {
    let mut frame = vec![0x89, 0x80 | data.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(data.as_bytes());
    frame
}

/// Connects a client whose socket is full.
fn blocked(io: &Io) -> Driven {
    let mut client = Driven::connected(io);
    client.wall.room.store(0, Ordering::Relaxed);
    client.script.full = true;
    io.emit("first", ());
    client
}

fn let_go(client: &mut Driven) -> String {
    client.wall.room.store(usize::MAX, Ordering::Relaxed);
    client.script.full = false;
    let _ = client.poll();
    client.written()
}

/// Hardening A2: however many pings come, only one pong waits, and no more than a few KiB are read
/// from the peer.
#[test]
fn pings_that_are_not_read_cost_nothing() {
    let io = server(1);
    let mut client = blocked(&io);
    for n in 0..10_000 {
        client.script.reads.push(ping(&format!("{n:03}")).repeat(16));
    }
    // A connection with much to read lets others have their turn.
    let mut left = usize::MAX;
    while client.script.reads.len() < left {
        left = client.script.reads.len();
        let _ = client.poll();
    }
    let read = (10_000 - left) * 16 * 9;
    let most = Config::default().max_blocked_bytes;
    assert!((most..most + 1_000).contains(&read), "{read} bytes were read");
    assert_eq!(io.metrics().queued_bytes, 2 + r#"42["first"]"#.len());
    let last = 10_000 - left - 1;
    client.script.reads.truncate(1);
    client.script.reads[0] = Vec::from(&text("42[\"x\"]")[..1]);
    let written = let_go(&mut client);
    assert_eq!(written.matches('\u{fffd}').count(), 2, "two headers: {written:?}");
    assert!(written.ends_with(&format!("{last:03}")), "{written:?}");
    assert_eq!(io.metrics().queued_bytes, 0);
}

/// Hardening A2: while a peer reads, each of its pings is answered.
#[test]
fn pings_that_are_read_are_answered() {
    let io = server(1);
    let mut client = Driven::connected(&io);
    let _ = client.read(&["a", "b", "c"].map(ping).concat());
    assert_eq!(client.calls(), 1);
    assert_eq!(client.wall.take(), b"\x8a\x01a\x8a\x01b\x8a\x01c");
}

/// Hardening A8: on a link that takes nothing, answers to heartbeats do not count.
#[test]
fn blind_pongs_do_not_keep_a_connection() {
    let io = server(1);
    let mut client = blocked(&io);
    let second = || {
        pass(&io, 1_000);
        Driver::new(&io).handle_timeout(0, Waker::noop());
    };
    for _ in 0..44 {
        second();
        assert!(client.read(&text("3")).is_pending());
    }
    assert_eq!(io.sessions(), 1);
    second();
    assert_eq!(io.sessions(), 0);
    assert!(client.poll().is_ready(), "it is cut, with all that waited");
    assert_eq!(io.metrics().queued_bytes, 0);
}

/// Hardening A8: bytes that a link holds count for its session and for all sessions together.
#[test]
fn what_a_link_holds_is_counted() {
    let config = Config::default().max_queued_bytes(10_000);
    let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
    let mut client = blocked(&io);
    let _ = let_go(&mut client);
    client.wall.room.store(100, Ordering::Relaxed);
    client.script.full = true;
    let socket = io.sockets().pop().unwrap();
    socket.emit("m", "x".repeat(9_000)).unwrap();
    assert!((8_900..9_000).contains(&io.metrics().queued_bytes));
    assert!(socket.emit("m", "x".repeat(2_000)).is_err(), "it waits on the link");
    // The socket takes a part of the bytes, so there is room.
    client.wall.room.store(5_000, Ordering::Relaxed);
    client.script.has_some = true;
    let _ = client.poll();
    socket.emit("m", "x".repeat(2_000)).unwrap();
    assert!(let_go(&mut client).len() > 11_000);
    assert_eq!(io.metrics().queued_bytes, 0);
}

/// Hardening A3: a message that fits into no queue is an error for its sender, and concerns nobody
/// else.
#[test]
fn a_message_that_is_too_large_is_the_senders_error() {
    let config = Config::default().max_queued_bytes(10_000);
    let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    io.on_error(move |_, _, error| {
        assert!(error.to_string().contains("larger than the queue"), "{error}");
        count.fetch_add(1, Ordering::Relaxed);
    });
    let mut client = Driven::connected(&io);
    io.emit("m", "x".repeat(10_000));
    assert_eq!(told.load(Ordering::Relaxed), 1);
    let error = io.sockets()[0].emit("m", "x".repeat(10_000)).unwrap_err();
    assert!(matches!(error, crate::EmitError::TooLarge));
    assert_eq!((io.sessions(), client.written()), (1, String::new()));
}

/// Hardening A8: an answer that the peer does not read is not kept for ever.
#[test]
fn an_answer_that_is_not_read_ends_its_connection() {
    let io = server(1);
    let mut client = Driven::new(&io, 20);
    client.script.full = true;
    let request = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n";
    // The second request waits for its turn. So the peer is not late; the server owes the answer.
    let _ = client.read(&request.repeat(2));
    let mut passed = 0;
    while client.poll().is_pending() && passed < 200 {
        pass(&io, 1_000);
        passed += 1;
    }
    assert!((45..=70).contains(&passed), "{passed}");
}

#[test]
fn who_never_reads_does_not_keep_a_connection_that_is_over() {
    let io = server(1);
    let mut client = Driven::connected(&io);
    client.wall.room.store(0, Ordering::Relaxed);
    client.script.full = true;
    io.emit("n", 1);
    assert!(client.poll().is_pending());
    io.sockets()[0].close();
    assert_eq!(io.sessions(), 0);
    assert!(client.poll().is_pending());
    pass(&io, 29_500);
    assert!(client.poll().is_pending());
    pass(&io, 500);
    assert!(client.poll().is_ready());
}

/// A waker that is code of a runtime: it must be woken under no lock.
struct Runtimes(AtomicUsize);

impl Wake for Runtimes {
    fn wake(self: Arc<Self>) {
        crate::lock::assert_none_held();
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A session ends while its connection is full: by its deadline, by the application, or because of
/// a broken rule.
#[test]
fn the_task_of_a_full_connection_is_woken_under_no_lock() {
    for how in ["deadline", "application", "broken"] {
        let io = server(1);
        let mut client = blocked(&io);
        let woken = Arc::new(Runtimes(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let cx = &mut Context::from_waker(&waker);
        assert!(client.connection.poll(cx, &mut client.script).is_pending());
        match how {
            "deadline" => {
                while io.sessions() > 0
                    && let Some(next) = Driver::new(&io).handle_timeout(0, Waker::noop())
                {
                    set_now(next.as_micros());
                }
            }
            "application" => io.sockets()[0].close(),
            _ => {
                client.script.reads.push(text("9"));
                let _ = client.connection.poll(cx, &mut client.script);
            }
        }
        run_tasks();
        assert_eq!(io.sessions(), 0, "{how}");
        assert!(woken.0.load(Ordering::Relaxed) > 0, "{how}");
    }
}
