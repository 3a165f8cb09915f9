//! Clients whose streams of events are full: what somebody waits for is read nevertheless, and
//! the connection stays.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::BytesMut;

use crate::client::network::{Network, Wire};
use crate::client::{ClientBuilder, ConnectionState, DisconnectReason, Transport};
use crate::link::pipe::Duplex;
use crate::tests::recovery::DRAWING;
use crate::tests::{drop_tasks, now, run_tasks, set_now};

const EVENTS: usize = 20;

/// Microseconds.
const SECOND: u64 = 1_000_000;

/// A server of polls that sends events of 1 KB, [`EVENTS`] with each poll.
#[derive(Default)]
struct Server {
    sessions: usize,
    dialed: usize,
    connect: bool,
    /// How many polls with events are left.
    floods: usize,
    /// How many events the client has read.
    read: usize,
    /// How many events of the client have come, and how many the client knows to have come.
    seen: u64,
    told: u64,
    next_ping: u64,
    pings: usize,
    /// Until when the client may answer a ping.
    expires: Option<u64>,
    /// How often a ping was not answered in time.
    deaths: usize,
}

thread_local!(static SERVER: RefCell<Server> = RefCell::default());

impl Server {
    fn poll(&mut self) -> Option<String> {
        if std::mem::take(&mut self.connect) {
            self.told = self.seen;
            self.next_ping = now() + 25 * SECOND;
            return Some(format!(r#"40{{"sid":"x","pid":"p","sio.confirmed":{}}}"#, self.seen));
        }
        if now() >= self.next_ping {
            self.next_ping = now() + 25 * SECOND;
            self.expires = Some(now() + 20 * SECOND);
            self.pings += 1;
            return Some("2".to_owned());
        }
        // Nothing comes before the answer to the CONNECT.
        if self.floods > 0 && self.next_ping < u64::MAX {
            self.floods -= 1;
            let event = format!(r#"42["e","{}"]"#, "x".repeat(1000));
            return Some(vec![event; EVENTS].join("\u{1e}"));
        }
        (self.seen > self.told).then(|| {
            self.told = self.seen;
            format!(r#"40{{"sio.confirmed":{}}}"#, self.seen)
        })
    }

    fn post(&mut self, body: &str) {
        self.connect |= body.split('\u{1e}').any(|packet| packet.starts_with("40"));
        self.seen += body.matches(r#"42["seen""#).count() as u64;
        if body.split('\u{1e}').any(|packet| packet == "3") {
            self.deaths += usize::from(self.expires.take().is_some_and(|until| until < now()));
        }
    }
}

#[derive(Default)]
struct Line {
    input: Vec<u8>,
    output: BytesMut,
    held: bool,
}

impl Line {
    fn respond(&mut self, body: &str) {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.output.extend_from_slice(head.as_bytes());
    }

    /// Takes a request that is complete.
    fn request(&mut self) -> Option<(String, String)> {
        let text = String::from_utf8_lossy(&self.input).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1);
        let length: usize = length.map_or(0, |n| n.split("\r\n").next().unwrap().parse().unwrap());
        (body.len() >= length).then(|| {
            self.input.clear();
            (head.to_owned(), body.to_owned())
        })
    }

    fn answer(&mut self) {
        if let Some((head, body)) = self.request() {
            let target = head.lines().next().unwrap();
            if target.starts_with("POST") {
                SERVER.with_borrow_mut(|server| server.post(&body));
                self.respond("ok");
            } else if target.contains("sid=") {
                self.held = true;
            } else {
                let number = SERVER.with_borrow_mut(|server| {
                    server.sessions += 1;
                    (server.next_ping, server.expires) = (u64::MAX, None);
                    server.sessions
                });
                let limits = r#""pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000"#;
                self.respond(&format!(r#"0{{"sid":"s{number}","upgrades":[],{limits}}}"#));
            }
        }
        if self.held
            && let Some(body) = SERVER.with_borrow_mut(Server::poll)
        {
            self.held = false;
            self.respond(&body);
        }
    }
}

impl Duplex for Line {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        self.answer();
        if self.output.is_empty() {
            return Poll::Pending;
        }
        let bytes = self.output.split();
        let events = bytes.windows(4).filter(|part| part == br#"["e""#).count();
        SERVER.with_borrow_mut(|server| server.read += events);
        buffer.extend_from_slice(&bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.input.extend_from_slice(bytes);
        self.answer();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const NETWORK: Network = Network {
    runtime: DRAWING,
    can_spawn: || true,
    connect: |_| {
        SERVER.with_borrow_mut(|server| server.dialed += 1);
        Box::pin(async { Ok(Box::new(Line::default()) as Wire) })
    },
    resolve: |_, _| Box::pin(async { Ok(vec!["127.0.0.1:3000".parse().unwrap()]) }),
    sleep: |duration| {
        let end = now() + duration.as_micros() as u64;
        Box::pin(std::future::poll_fn(move |_| match now() >= end {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }))
    },
};

/// Drops the tasks of a test that ends, whether it has failed or not.
struct Tasks;

impl Drop for Tasks {
    fn drop(&mut self) {
        drop_tasks();
    }
}

fn builder(floods: usize, max_inbox_bytes: usize) -> ClientBuilder {
    SERVER.set(Server {
        floods,
        next_ping: u64::MAX,
        ..Server::default()
    });
    ClientBuilder::new(NETWORK, "http://localhost:3000")
        .no_proxy()
        .transports([Transport::Polling])
        .max_inbox_bytes(max_inbox_bytes)
}

fn pass(seconds: u64) {
    for _ in 0..2 * seconds {
        run_tasks();
        set_now(now() + SECOND / 2);
    }
}

fn server<T>(ask: impl FnOnce(&Server) -> T) -> T {
    SERVER.with_borrow(ask)
}

/// Returns how many events a user has taken after ten minutes who waits for a receipt after each
/// one, and how many sessions it took.
fn taken_with_receipts(max_inbox_bytes: usize, confirms: bool) -> (usize, usize) {
    let _tasks = Tasks;
    let builder = builder(1, max_inbox_bytes);
    let client = builder
        .config(|config| config.confirm_events(confirms))
        .build()
        .unwrap();
    let root = client.of("/").unwrap();
    let mut events = root.events();
    root.connect().unwrap();
    let taken = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&taken);
    (DRAWING.spawn)(Box::pin(async move {
        while let Some(_event) = events.next_event().await {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let _ = root.emit_with_receipt("seen", number).unwrap().await;
        }
    }));
    pass(600);
    (taken.load(Ordering::Relaxed), server(|server| server.sessions))
}

/// The user of a full stream takes an event, and waits for a receipt before the next one. What the
/// receipt needs is read, so both go on.
#[test]
fn receipts_between_the_events_of_a_full_stream_come() {
    let results =
        [(16 << 20, true), (4096, false), (4096, true)].map(|(max, confirms)| taken_with_receipts(max, confirms));
    assert_eq!(results, [(EVENTS, 1); 3]);
}

/// A user who takes nothing for ten minutes keeps the connection: heartbeats are read when they
/// are due, and nothing else is.
#[test]
fn the_heartbeats_behind_a_full_stream_are_read() {
    let _tasks = Tasks;
    let client = builder(1000, 4096).inbox_reserve_bytes(4 << 20).build().unwrap();
    let root = client.of("/").unwrap();
    let mut events = root.events();
    root.connect().unwrap();
    pass(600);
    let told = server(|server| (server.sessions, server.deaths, server.pings >= 20));
    assert_eq!(told, (1, 0, true));
    // Each heartbeat took at most the poll in front of it with it.
    let read = server(|server| server.read);
    assert!(read <= 30 * EVENTS, "{read} events");
    SERVER.with_borrow_mut(|server| server.floods = 0);
    let taken = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&taken);
    (DRAWING.spawn)(Box::pin(async move {
        while events.next_event().await.is_some() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }));
    pass(1);
    assert_eq!(taken.load(Ordering::Relaxed), server(|server| server.read));
}

/// The limit `inbox_reserve_bytes`: a server that sends without end while a receipt is awaited
/// fills half of it, and no more. The user is told that the connection is lost, the receipt comes
/// with the next connection, and no event is lost.
#[test]
fn what_is_read_for_a_receipt_has_a_limit() {
    let (max, reserve) = (4096, 200_000);
    let _tasks = Tasks;
    let builder = builder(usize::MAX, max).inbox_reserve_bytes(reserve);
    let client = builder.config(|config| config.confirm_events(true)).build().unwrap();
    let mut states = client.states();
    let root = client.of("/").unwrap();
    let mut events = root.events();
    root.connect().unwrap();
    let has_receipt = Arc::<AtomicBool>::default();
    let (tell, root) = (Arc::clone(&has_receipt), root);
    (DRAWING.spawn)(Box::pin(async move {
        root.emit_with_receipt("seen", 1).unwrap().await;
        tell.store(true, Ordering::Relaxed);
    }));
    pass(40);
    let bytes = |events: usize| events * (1000 + 1 + 128);
    // The body of one poll exceeds the limit.
    let ahead = bytes(EVENTS);
    let most = max + reserve / 2 + ahead;
    let read = server(|server| server.read);
    assert!((most / 2..=most).contains(&bytes(read)), "{read} events");
    assert!(!has_receipt.load(Ordering::Relaxed));
    pass(20);
    // The server floods before it confirms, so only the answer to the CONNECT does.
    assert!(has_receipt.load(Ordering::Relaxed));
    assert_eq!(server(|server| server.sessions), 2);
    let mut lost = Vec::new();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(state)) = states.poll_next_state(&mut cx) {
        lost.extend(matches!(state, ConnectionState::Lost(_)).then_some(state));
    }
    assert_eq!(lost, [ConnectionState::Lost(DisconnectReason::PingTimeout)]);
    pass(3600);
    let most = max + reserve + ahead;
    let read = server(|server| server.read);
    assert!(bytes(read) <= most, "{read} events");
    SERVER.with_borrow_mut(|server| server.floods = 0);
    let mut taken = 0;
    pass(30);
    while let Poll::Ready(Some(_)) = events.poll_next_event(&mut cx) {
        taken += 1;
        run_tasks();
    }
    assert_eq!(taken, server(|server| server.read));
}
