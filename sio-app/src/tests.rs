//! The driver without a network: a source that is a script, an outlet that is a wall, a runtime that is three functions.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::BytesMut;

use crate::link::tests::Wall;
use crate::{Config, Connection, Io, Options, Peer, RawArgs, Reason, Runtime, Sleep, Socket, Source, Task, Time};

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static TASKS: RefCell<Vec<Task>> = const { RefCell::new(Vec::new()) };
}

const RUNTIME: Runtime = Runtime {
    now: || Time::from_micros(NOW.get()),
    spawn: |task| TASKS.with_borrow_mut(|tasks| tasks.push(task)),
    fill: |out| out.fill(7),
};

fn run_tasks() -> usize {
    let mut tasks = TASKS.take();
    tasks.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    TASKS.with_borrow_mut(|waiting| waiting.append(&mut tasks));
    TASKS.with_borrow(Vec::len)
}

/// What is read next; nothing is "not yet", empty is the end.
#[derive(Default)]
struct Script(Vec<Vec<u8>>);

impl Source for Script {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.0.is_empty() {
            return Poll::Pending;
        }
        let bytes = self.0.remove(0);
        buffer.extend_from_slice(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Driven {
    connection: Connection,
    script: Script,
    wall: Arc<Wall>,
}

impl Driven {
    fn new(io: &Io, room: usize) -> Self {
        let wall = Wall::with_room(room);
        let connection = Connection::new(io, Peer::default(), wall.clone()).unwrap();
        Self {
            connection,
            script: Script::default(),
            wall,
        }
    }

    /// A connected websocket client of the main namespace.
    fn connected(io: &Io) -> Self {
        let mut driven = Self::new(io, usize::MAX);
        let _ = driven.read(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let _ = driven.read(&text("40"));
        assert!(driven.written().contains("40{\"sid\":"));
        driven
    }

    fn read(&mut self, bytes: &[u8]) -> Poll<()> {
        self.script.0.push(bytes.to_vec());
        self.poll()
    }

    fn poll(&mut self) -> Poll<()> {
        self.connection
            .poll(&mut Context::from_waker(Waker::noop()), &mut self.script)
    }

    fn written(&self) -> String {
        self.wall.calls.store(0, Ordering::Relaxed);
        String::from_utf8_lossy(&self.wall.take()).into_owned()
    }

    fn calls(&self) -> usize {
        self.wall.calls.load(Ordering::Relaxed)
    }
}

/// A masked text frame, as clients send it; the mask is zero.
fn text(packet: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | packet.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(packet.as_bytes());
    frame
}

fn server(shards: usize) -> Io {
    Io::new(Config::default(), Options::default().shards(shards), RUNTIME).unwrap()
}

fn echo(io: &Io) {
    io.of("/")
        .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args));
}

#[test]
fn what_one_read_causes_leaves_in_one_write() {
    let io = server(1);
    echo(&io);
    let mut client = Driven::connected(&io);
    let three = ["a", "b", "c"].map(|x| text(&format!(r#"42["echo","{x}"]"#))).concat();
    assert!(client.read(&three).is_pending());
    assert_eq!(client.calls(), 1);
    let written = client.written();
    let places = ["a", "b", "c"].map(|x| written.find(&format!(r#"42["echo","{x}"]"#)).unwrap());
    assert!(places.is_sorted());
}

#[test]
fn any_split_of_the_bytes_gives_the_same() {
    let io = server(1);
    echo(&io);
    let mut client = Driven::connected(&io);
    let bytes = [text(r#"42["echo",1]"#), text(r#"42["echo",2]"#)].concat();
    let whole = {
        let _ = client.read(&bytes);
        client.written()
    };
    for at in 1..bytes.len() {
        let _ = client.read(&bytes[..at]);
        let _ = client.read(&bytes[at..]);
        assert_eq!(client.written(), whole, "split at {at}");
    }
}

#[test]
fn an_emit_outside_of_handlers_is_written_at_once() {
    let io = server(2);
    let clients: Vec<_> = (0..4).map(|_| Driven::connected(&io)).collect();
    io.emit("news", 1);
    for client in &clients {
        assert_eq!(client.calls(), 1);
        assert!(client.written().ends_with(r#"42["news",1]"#));
    }
    io.sockets()[0].emit("news", 2).unwrap();
    assert_eq!(clients.iter().map(Driven::calls).sum::<usize>(), 1);
}

#[test]
fn a_full_socket_gets_the_rest_when_it_has_room() {
    let io = server(1);
    let mut client = Driven::connected(&io);
    client.wall.room.store(5, Ordering::Relaxed);
    for n in 0..10 {
        io.emit("n", n);
    }
    // A header of two bytes, and the start of the packet.
    assert!(client.written().ends_with("42["));
    client.wall.room.store(usize::MAX, Ordering::Relaxed);
    assert!(client.poll().is_pending());
    let written = client.written();
    assert!(written.starts_with(r#""n",0]"#), "{written}");
    assert!(written.ends_with(r#"42["n",9]"#));
    io.emit("n", 10);
    assert!(client.written().ends_with(r#"42["n",10]"#));
}

#[test]
fn deadlines_come_from_the_shard() {
    let io = server(1);
    let (told, reasons) = std::sync::mpsc::channel();
    io.of("/")
        .on_disconnect(move |_: Socket, reason: Reason| told.send(reason));
    let mut client = Driven::connected(&io);
    let next = io.handle_timeout(0, Waker::noop()).unwrap();
    assert!(next > Time::ZERO);
    // The ping, then the end of patience for its answer.
    for _ in 0..4 {
        let Some(next) = io.handle_timeout(0, Waker::noop()) else {
            break;
        };
        NOW.set(next.as_micros());
    }
    io.handle_timeout(0, Waker::noop());
    assert_eq!(reasons.try_recv(), Ok(Reason::PingTimeout));
    // Our side is closed; the peer has a moment for its own, and no more.
    assert!(client.poll().is_pending());
    assert_eq!(client.wall.finished.load(Ordering::Relaxed), 1);
    NOW.set(NOW.get() + Duration::from_secs(3).as_micros() as u64);
    io.sweep();
    assert!(client.poll().is_ready());
    drop(client);
    assert_eq!((io.sessions(), io.connections()), (0, 0));
}

#[test]
fn handlers_run_in_a_task_when_no_turn_is_there() {
    let io = server(1);
    let (told, names) = std::sync::mpsc::channel();
    io.of("/").on_disconnect(move |_: Socket| told.send(()));
    let mut client = Driven::connected(&io);
    io.sockets()[0].disconnect();
    assert!(client.written().ends_with("41"));
    assert!(names.try_recv().is_err());
    assert_eq!(run_tasks(), 0);
    assert!(names.try_recv().is_ok());
    // A cancelled connection is a closed one.
    let _ = client.read(&text("40"));
    drop(client);
    run_tasks();
    assert!(names.try_recv().is_ok());
    assert_eq!((io.sessions(), io.connections()), (0, 0));
}

/// Lets time pass as an adapter's deadline task does: it comes when it was asked to.
fn pass(io: &Io, millis: u64) {
    let end = NOW.get() + millis * 1000;
    while let Some(next) = io
        .handle_timeout(0, Waker::noop())
        .filter(|next| next.as_micros() <= end)
    {
        NOW.set(next.as_micros());
    }
    NOW.set(end);
    io.handle_timeout(0, Waker::noop());
    run_tasks();
}

#[test]
fn a_handler_sleeps_on_the_time_of_its_shard() {
    let io = server(1);
    io.of("/").on("later", async |socket: Socket, millis: u64| {
        socket.sleep(Duration::from_millis(millis)).await;
        socket.emit("later", millis)
    });
    let mut client = Driven::connected(&io);
    for millis in [30, 10, 0] {
        let _ = client.read(&text(&format!(r#"42["later",{millis}]"#)));
    }
    assert!(client.written().ends_with(r#"42["later",0]"#), "no time is no wait");
    pass(&io, 9);
    assert_eq!(client.written(), "");
    pass(&io, 1);
    assert!(client.written().ends_with(r#"42["later",10]"#));
    pass(&io, 20);
    assert!(client.written().ends_with(r#"42["later",30]"#));
}

#[test]
fn a_sleep_makes_the_deadline_task_come_earlier_and_leaves_nothing_behind() {
    struct Counted(AtomicUsize);
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (timer, sleeper) = (
        Arc::new(Counted(AtomicUsize::new(0))),
        Arc::new(Counted(AtomicUsize::new(0))),
    );
    let wakes = |counted: &Counted| counted.0.swap(0, Ordering::Relaxed);
    let (timer_waker, sleeper_waker) = (Waker::from(timer.clone()), Waker::from(sleeper.clone()));
    let io = server(1);
    assert_eq!(io.handle_timeout(0, &timer_waker), None);
    let start = Time::from_micros(NOW.get());
    let poll = |sleep: &mut Sleep| Pin::new(sleep).poll(&mut Context::from_waker(&sleeper_waker));

    let mut long = io.sleep(Duration::from_secs(9));
    assert!(poll(&mut long).is_pending());
    assert_eq!(wakes(&timer), 1);
    let mut longer = io.sleep(Duration::from_secs(10));
    assert!(poll(&mut longer).is_pending());
    assert_eq!(wakes(&timer), 0, "it comes early enough");
    assert_eq!(io.handle_timeout(0, &timer_waker), Some(start + Duration::from_secs(9)));
    drop(long);
    assert_eq!(
        io.handle_timeout(0, &timer_waker),
        Some(start + Duration::from_secs(10))
    );

    NOW.set((start + Duration::from_secs(10)).as_micros());
    assert_eq!(io.handle_timeout(0, &timer_waker), None);
    assert_eq!(wakes(&sleeper), 1);
    assert!(poll(&mut longer).is_ready());

    // The end of the server is the end of all sleeps.
    let mut last = io.sleep(Duration::from_secs(1));
    assert!(poll(&mut last).is_pending());
    io.clear();
    assert_eq!(wakes(&sleeper), 1);
    assert!(poll(&mut last).is_ready());
    assert!(poll(&mut io.sleep(Duration::from_secs(1))).is_ready());
}
