//! Connections without a network: the source is a script, the outlet is in memory, and the runtime
//! is a few functions.

mod receiving;
mod unread;

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::BytesMut;

use crate::adapter::Driver;
use crate::adapter::{Answer, Connection, Exchange, Exchanged, Runtime, Source, Task, Time};
use crate::link::tests::Wall;
use crate::{Ack, Config, Io, Method, Options, Peer, RawArgs, Reason, Socket};

mod alone;
mod answers;
mod asking;
mod clients;
#[cfg(feature = "redis")]
mod cluster;
mod confirms;
mod credentials;
mod crossing;
mod delays;
mod direct_events;
mod ends;
mod exchanges;
mod extractors;
mod fairness;
mod full_streams;
mod handshakes;
mod history;
mod hooks;
mod ids;
mod keeping;
mod lagging;
mod orders;
mod pipelining;
mod policies;
mod polls;
mod posts;
mod recovery;
mod recovery_edges;
mod refills;
mod resumes;
mod rooms;
mod several;
mod stored;
mod stored_values;
mod surveys;
mod volatile;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static TASKS: RefCell<Vec<Task>> = const { RefCell::new(Vec::new()) };
}

pub(crate) const RUNTIME: Runtime = Runtime {
    now: || Time::from_micros(NOW.get()),
    unix_time: || 784_111_777,
    spawn: |task| TASKS.with_borrow_mut(|tasks| tasks.push(task)),
    fill: |out| out.fill(7),
};

/// Returns the time in microseconds.
pub(crate) fn now() -> u64 {
    NOW.get()
}

pub(crate) fn set_now(micros: u64) {
    NOW.set(micros);
}

pub(crate) fn run_tasks() -> usize {
    run_tasks_with(Waker::noop())
}

/// Polls all tasks with this waker. Returns how many wait.
pub(crate) fn run_tasks_with(waker: &Waker) -> usize {
    let mut tasks = TASKS.take();
    tasks.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    TASKS.with_borrow_mut(|waiting| waiting.append(&mut tasks));
    TASKS.with_borrow(Vec::len)
}

/// Drops the tasks, as a runtime does when it ends.
pub(crate) fn drop_tasks() {
    drop(TASKS.take());
}

/// Waits once, and is ready when it is polled again.
pub(crate) async fn once_pending() {
    let mut waits = true;
    std::future::poll_fn(|_| match std::mem::take(&mut waits) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await;
}

/// A waker that counts.
#[derive(Clone, Default)]
pub(crate) struct Counted(Arc<Count>);

#[derive(Default)]
struct Count(AtomicUsize);

impl Counted {
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    /// Returns how often it was woken since the last call.
    pub(crate) fn take(&self) -> usize {
        self.0.0.swap(0, Ordering::Relaxed)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The bytes that are read next. No entry means "not yet", and an empty entry is the end.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) reads: Vec<Vec<u8>>,
    /// Whether the socket has no room for more.
    pub(crate) full: bool,
    /// Whether the socket reports once that it has room.
    pub(crate) has_some: bool,
}

impl Source for Script {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        if self.reads.is_empty() {
            return Poll::Pending;
        }
        let bytes = self.reads.remove(0);
        buffer.extend_from_slice(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.full && !std::mem::take(&mut self.has_some) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

/// The header fields of a websocket's handshake.
const WEBSOCKET: [(&str, &str); 5] = [
    ("host", "x"),
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// The handshake of a websocket.
const UPGRADE: &[u8] =
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub(crate) struct Driven {
    pub(crate) connection: Connection,
    pub(crate) script: Script,
    pub(crate) wall: Arc<Wall>,
    /// How many bytes [`Driven::written`] has taken.
    pub(crate) taken: u64,
}

impl Driven {
    pub(crate) fn new(io: &Io, room: usize) -> Self {
        Self::try_new(io, room).unwrap()
    }

    /// Connects as [`Driven::connected`] does, from this address. The client asks to be let in, and
    /// may be refused.
    pub(crate) fn connected_from(io: &Io, address: &str) -> Self {
        let peer = Peer {
            address: Some(address.parse().unwrap()),
            ..Peer::default()
        };
        let mut driven = Self::try_new_from(io, usize::MAX, peer).unwrap();
        let _ = driven.read(UPGRADE);
        let _ = driven.read(&text("40"));
        driven
    }

    pub(crate) fn try_new(io: &Io, room: usize) -> Option<Self> {
        Self::try_new_from(io, room, Peer::default())
    }

    fn try_new_from(io: &Io, room: usize, peer: Peer) -> Option<Self> {
        let wall = Wall::with_room(room);
        Some(Self {
            connection: Connection::new(io, peer, wall.clone())?,
            script: Script::default(),
            wall,
            taken: 0,
        })
    }

    /// Connects a websocket client, and joins the main namespace.
    pub(crate) fn connected(io: &Io) -> Self {
        let mut driven = Self::new(io, usize::MAX);
        let _ = driven.read(UPGRADE);
        let _ = driven.read(&text("40"));
        let mut heard = driven.written();
        // A turn of another thread may have taken the packet and be writing it, or this connection
        // has left its work for later, because its turn took long.
        for _ in 0..100_000 {
            if heard.contains("40{\"sid\":") {
                return driven;
            }
            std::thread::yield_now();
            let _ = driven.poll();
            heard.push_str(&driven.written());
        }
        panic!("not connected: {heard}")
    }

    pub(crate) fn read(&mut self, bytes: &[u8]) -> Poll<()> {
        self.script.reads.push(bytes.to_vec());
        self.poll()
    }

    /// Polls as a runtime does: it polls again if the connection has only let others have their
    /// turn, or pauses behind the head of a handshake.
    pub(crate) fn poll(&mut self) -> Poll<()> {
        let counted = Counted::default();
        let waker = counted.waker();
        loop {
            let polled = self.connection.poll(&mut Context::from_waker(&waker), &mut self.script);
            if self.connection.rests() {
                set_now(now() + 100);
            } else if polled.is_ready() || counted.take() == 0 {
                return polled;
            }
        }
    }

    /// Reads as [`Driven::read`] does. If handlers lag, it waits until the connection does not wait
    /// for them any longer, because they make no progress.
    pub(crate) fn press(&mut self, io: &Io, bytes: &[u8]) {
        let _ = self.read(bytes);
        for _ in 0..100 {
            if !self.connection.is_paced() || io.sessions() == 0 {
                return;
            }
            set_now(now() + 4_000_000);
            Driver::new(io).handle_timeout(0, Waker::noop());
            let _ = self.poll();
        }
    }

    pub(crate) fn written(&mut self) -> String {
        self.wall.calls.store(0, Ordering::Relaxed);
        let written = self.wall.take();
        self.taken += written.len() as u64;
        String::from_utf8_lossy(&written).into_owned()
    }

    /// Sends this packet, and returns what is written to the client.
    pub(crate) fn says(&mut self, packet: &str) -> String {
        let _ = self.read(&text(packet));
        self.written()
    }

    pub(crate) fn calls(&self) -> usize {
        self.wall.calls.load(Ordering::Relaxed)
    }
}

/// A masked text frame, as clients send it; the mask is zero.
pub(crate) fn text(packet: &str) -> Vec<u8> {
    let [high, low] = u16::try_from(packet.len()).unwrap().to_be_bytes();
    let head = match packet.len() {
        ..126 => vec![0x81, 0x80 | low],
        _ => vec![0x81, 0x80 | 126, high, low],
    };
    [&head[..], &[0; 4], packet.as_bytes()].concat()
}

pub(crate) fn server(shards: usize) -> Io {
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
    let mut clients: Vec<_> = (0..4).map(|_| Driven::connected(&io)).collect();
    io.emit("news", 1);
    for client in &mut clients {
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
    // The socket takes a header of two bytes, and the beginning of the packet.
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
    let options = Options::default().shards(1).linger_timeout(Duration::from_secs(7));
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let (told, reasons) = std::sync::mpsc::channel();
    io.of("/")
        .on_disconnect(move |_: Socket, reason: Reason| told.send(reason));
    let mut client = Driven::connected(&io);
    let next = Driver::new(&io).handle_timeout(0, Waker::noop()).unwrap();
    assert!(next > Time::ZERO);
    // The deadlines are the ping, and then the end of the time for its answer.
    for _ in 0..4 {
        let Some(next) = Driver::new(&io).handle_timeout(0, Waker::noop()) else {
            break;
        };
        NOW.set(next.as_micros());
    }
    Driver::new(&io).handle_timeout(0, Waker::noop());
    assert_eq!(reasons.try_recv(), Ok(Reason::PingTimeout));
    // Our side is closed. The peer has a short time to close its side.
    assert!(client.poll().is_pending());
    assert_eq!(client.wall.finished.load(Ordering::Relaxed), 1);
    pass(&io, 6_500);
    assert!(client.poll().is_pending());
    pass(&io, 500);
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
    // A cancelled connection counts as closed.
    let _ = client.read(&text("40"));
    drop(client);
    run_tasks();
    assert!(names.try_recv().is_ok());
    assert_eq!((io.sessions(), io.connections()), (0, 0));
}

/// Makes a request as another HTTP server would have read it.
pub(crate) fn head(method: Method, target: &str, headers: &[(&str, &str)]) -> sio_proto::http::Request {
    sio_proto::http::Request {
        method,
        target: target.into(),
        version_minor: 1,
        headers: headers.iter().copied().collect(),
        body: Ok(bytes::Bytes::new()),
    }
}

fn ours(io: &Io, head: sio_proto::http::Request) -> Exchange {
    match Driver::new(io).exchange(head, Peer::default(), || Some(Arc::new("noted"))) {
        Exchanged::Ours(exchange) => exchange,
        other => panic!("{other:?}"),
    }
}

fn answer(exchange: &mut Exchange) -> Option<Answer> {
    match exchange.poll_answer(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

fn reply(exchange: &mut Exchange) -> (u16, String) {
    match answer(exchange) {
        Some(Answer::Response(mut response)) => {
            let body = response.take_body(&mut BytesMut::new());
            (response.status, String::from_utf8(body.to_vec()).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

fn fetch(io: &Io, method: Method, target: &str, body: &'static str) -> (u16, String) {
    let mut exchange = ours(io, head(method, target, &[("host", "x")]));
    exchange.body(Ok(body.into()));
    reply(&mut exchange)
}

#[test]
fn a_parsed_request_is_answered_without_bytes() {
    let io = server(2);
    echo(&io);
    let (status, open) = fetch(&io, Method::Get, "/socket.io/?EIO=4&transport=polling", "");
    let sid = open.split('"').nth(3).unwrap();
    assert_eq!(status, 200, "{open}");
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(fetch(&io, Method::Post, &path, "40").1, "ok");
    assert!(fetch(&io, Method::Get, &path, "").1.starts_with("40{"));
    assert_eq!(io.sockets()[0].extension::<&str>(), Some(&"noted"));
    assert_eq!(io.sockets()[0].extension::<String>(), None);
    // A poll waits until there is something for it.
    let mut parked = ours(&io, head(Method::Get, &path, &[]));
    parked.body(Ok(bytes::Bytes::new()));
    assert!(answer(&mut parked).is_none());
    assert_eq!(io.connections(), 1);
    assert_eq!(fetch(&io, Method::Post, &path, r#"42["echo",1]"#).1, "ok");
    assert_eq!(reply(&mut parked), (200, r#"42["echo",1]"#.into()));
    drop(parked);
    // A poll that goes away ends its session.
    let mut parked = ours(&io, head(Method::Get, &path, &[]));
    parked.body(Ok(bytes::Bytes::new()));
    drop(parked);
    assert_eq!((io.sessions(), io.connections()), (0, 0));
}

#[test]
fn an_upgraded_exchange_is_a_connection() {
    let io = server(1);
    echo(&io);
    let target = "/socket.io/?EIO=4&transport=websocket";
    let mut exchange = ours(&io, head(Method::Get, target, &WEBSOCKET));
    exchange.body(Ok(bytes::Bytes::new()));
    let Some(Answer::Upgrade(upgrade)) = answer(&mut exchange) else {
        panic!("no upgrade");
    };
    assert_eq!(&upgrade.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    // The client has sent its first frame together with the request, and the open packet has waited
    // for the socket.
    let wall = Wall::with_room(usize::MAX);
    let connection = exchange.attach(wall.clone(), BytesMut::from(&text("40")[..])).unwrap();
    let mut driven = Driven {
        connection,
        script: Script::default(),
        wall,
        taken: 0,
    };
    assert!(driven.poll().is_pending());
    let written = driven.written();
    assert!(
        written.find("0{\"sid\"").unwrap() < written.find("40{\"sid\"").unwrap(),
        "{written}"
    );
    let _ = driven.read(&text(r#"42["echo","x"]"#));
    assert_eq!(driven.calls(), 1);
    assert!(driven.written().ends_with(r#"42["echo","x"]"#));
    drop(driven);
    assert_eq!((io.sessions(), io.connections()), (0, 0));
}

/// Lets time pass, and sweeps twice a second.
pub(crate) fn pass(io: &Io, millis: u64) {
    let end = NOW.get() + millis * 1000;
    while NOW.get() < end {
        NOW.set(end.min(NOW.get() + 500_000));
        Driver::new(io).sweep();
    }
}

/// Hardening B20. If a body arrives too slowly, the client gets an answer before its connection is
/// cut.
#[test]
fn each_part_of_a_request_has_its_time() {
    let options = Options::default()
        .shards(1)
        .idle_timeout(Duration::from_secs(7))
        .head_timeout(Duration::from_secs(3))
        .body_timeout(Duration::from_secs(5));
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let head = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
    let whole = format!("{head}abc");
    for (what, steps, millis) in [
        ("nothing at all", &[][..], 7_000),
        ("a head byte by byte", &[(6_000, "G"), (1_500, "E"), (1_000, "T")], 500),
        (
            "a body byte by byte",
            &[(6_000, head), (2_500, "a"), (1_500, "b")],
            1_000,
        ),
        ("nothing more", &[(6_500, &*whole), (6_500, &whole)], 7_000),
        (
            "half of the next one",
            &[(0, &*format!("{whole}GET /")), (2_000, " HT")],
            1_000,
        ),
    ] {
        let mut client = Driven::new(&io, usize::MAX);
        for (millis, bytes) in steps {
            pass(&io, *millis);
            assert!(client.read(bytes.as_bytes()).is_pending(), "{what}: {bytes:?}");
        }
        pass(&io, millis - 500);
        assert!(client.poll().is_pending(), "{what}");
        pass(&io, 500);
        assert!(client.poll().is_ready(), "{what}");
        let late = client.written().contains("HTTP/1.1 408 Request Timeout\r\n");
        assert_eq!(late, what == "a body byte by byte", "{what}");
    }
    // A client that waits for an answer or for messages is not late.
    let mut polling = Driven::new(&io, usize::MAX);
    let _ = polling.read(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = polling.written();
    let (_, sid) = answer.split_once("\"sid\":\"").unwrap();
    let poll = format!(
        "GET /socket.io/?EIO=4&transport=polling&sid={} HTTP/1.1\r\nHost: a\r\n\r\n",
        &sid[..32]
    );
    let _ = polling.read(poll.as_bytes());
    let mut websocket = Driven::connected(&io);
    pass(&io, 60_000);
    assert!(polling.poll().is_pending() && websocket.poll().is_pending());
    assert_eq!(polling.written(), "");
}

#[test]
fn a_turn_that_read_the_clock_before_another_and_comes_after_it_does_no_harm() {
    let io = server(1);
    echo(&io);
    NOW.set(2_000_000);
    let _late = Driven::connected(&io);
    NOW.set(1_000_000);
    let mut early = Driven::connected(&io);
    let _ = early.read(&text(r#"42["echo",1]"#));
    assert!(early.written().ends_with(r#"42["echo",1]"#));
}
/// A client sends events with two letters to handlers that never end. It sends as many events as
/// may wait, and then one more.
fn outrun(options: Options, one_at_a_time: bool, allowed: usize) {
    let io = Io::new(Config::default(), options.shards(1), RUNTIME).unwrap();
    let main = io.of("/");
    if one_at_a_time {
        main.one_at_a_time();
    }
    main.on("wait", |_: Socket, _: String| std::future::pending::<()>())
        .on("echo", |socket: Socket| socket.emit("echo", ()));
    let mut neighbour = Driven::connected(&io);
    let mut client = Driven::connected(&io);
    for _ in 0..allowed {
        client.press(&io, &text(r#"42["wait","ab"]"#));
    }
    assert_eq!((client.wall.finished.load(Ordering::Relaxed), io.sessions()), (0, 2));
    client.press(&io, &text(r#"42["wait","ab"]"#));
    assert_eq!((client.wall.finished.load(Ordering::Relaxed), io.sessions()), (1, 1));
    let _ = neighbour.read(&text(r#"42["echo"]"#));
    assert!(neighbour.written().ends_with(r#"42["echo"]"#));
    assert_eq!(io.metrics().most_waiting_events, allowed);
}

#[test]
fn who_is_faster_than_its_handlers_is_closed_and_nobody_else() {
    outrun(Options::default().max_waiting_events(5), false, 5);
    outrun(Options::default().max_waiting_events(5), true, 5);
    // `"ab"` counts four bytes. Until the event's turn has come, its name `wait` counts four bytes,
    // too.
    outrun(Options::default().max_waiting_bytes(12), false, 3);
    outrun(Options::default().max_waiting_bytes(12), true, 2);
}

#[test]
fn acknowledgements_that_are_owed_wait_too() {
    let options = Options::default().shards(1).max_waiting_events(3);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let kept = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    io.of("/").on("ask", move |_: Socket, ack: Ack| keeper.lock().push(ack));
    let mut client = Driven::connected(&io);
    for round in 0..20 {
        client.press(&io, &text(&format!(r#"42{round}["ask"]"#)));
        if round % 3 == 2 {
            kept.lock().drain(..).for_each(|ack| ack.send(()));
        }
    }
    assert_eq!((kept.lock().len(), io.sessions()), (2, 1));
    client.press(&io, &text(r#"4220["ask"]"#));
    assert_eq!(io.sessions(), 1);
    client.press(&io, &text(r#"4221["ask"]"#));
    assert_eq!(io.sessions(), 0);
}

#[test]
fn what_comes_along_with_too_much_starts_no_handlers() {
    let options = Options::default().shards(1).max_waiting_events(5);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    let (told, ends) = std::sync::mpsc::channel();
    io.of("/")
        .on("wait", move || {
            count.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>()
        })
        .on_disconnect(move |_: Socket| told.send(()));
    let mut client = Driven::connected(&io);
    client.press(&io, &text(r#"42["wait"]"#).repeat(100));
    assert_eq!((started.load(Ordering::Relaxed), io.sessions()), (5, 0));
    assert!(ends.try_recv().is_ok(), "its end is told");
}
