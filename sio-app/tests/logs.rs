//! The log: it uses the names in the table on `sio_app`'s page, and contains nothing that a client
//! has sent.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod memory;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use memory::{Script, Wall};
use sio_app::adapter::{Connection, Runtime, Time};
use sio_app::{Config, Io, Options, Peer, Refusal, Socket};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

thread_local! {
    /// It moves only where a client waits behind the head of its handshake.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

const RUNTIME: Runtime = Runtime {
    now: || Time::from_micros(NOW.get()),
    unix_time: || 784_111_777,
    // Tasks never run.
    spawn: std::mem::forget,
    fill: |out| out.fill(7),
};

/// Keeps everything: the level, the fields by name, and all values as one text.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<(BTreeSet<String>, String)>>);

struct Line {
    message: String,
    names: Vec<&'static str>,
    values: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.names.push(field.name());
            write!(self.values, "{value:?} ").unwrap();
        }
    }
}

impl Capture {
    fn note(&self, metadata: &Metadata<'_>, name: &str, record: impl FnOnce(&mut Line)) {
        let mut line = Line {
            message: name.to_owned(),
            names: Vec::new(),
            values: String::new(),
        };
        record(&mut line);
        let (lines, values) = &mut *self.0.lock().unwrap();
        lines.insert(format!(
            "{} {}: {}",
            metadata.level(),
            line.message,
            line.names.join(" ")
        ));
        values.push_str(&line.values);
    }
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // How long a lock is held depends on the machine.
        metadata.target().starts_with("sio_") && metadata.target() != "sio_app::lock"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.note(span.metadata(), span.metadata().name(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        self.note(event.metadata(), "", |line| event.record(line));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn read(connection: &mut Connection, bytes: &[u8]) {
    let cx = &mut Context::from_waker(Waker::noop());
    // What follows the head of a handshake is written after a pause, with the next poll.
    for bytes in [Some(bytes.to_vec()), None] {
        let _ = connection.poll(cx, &mut Script(bytes));
        NOW.set(NOW.get() + 200);
    }
}

fn say(connection: &mut Connection, packet: &str) {
    let head = [0x81, 0x80 | packet.len() as u8, 0, 0, 0, 0];
    read(connection, &[&head[..], packet.as_bytes()].concat());
}

#[test]
fn names_are_as_the_table_says_and_nothing_a_client_said_is_logged() {
    let capture = Capture::default();
    let wall = Wall::default();
    let ids = tracing::subscriber::with_default(capture.clone(), || scenario(&wall));
    let (lines, values) = &*capture.0.lock().unwrap();
    let expected = [
        "DEBUG a client broke a rule of its protocol: socket generation transport kind ends why",
        "DEBUG connected: socket namespace generation",
        "DEBUG connection refused: address why",
        "DEBUG disconnected: socket namespace reason",
        "DEBUG disconnected: socket namespace reason why",
        "DEBUG refused: socket namespace",
        "DEBUG request refused: status",
        "ERROR handler panicked: namespace event error",
        "INFO shutting down: sessions connections",
        "TRACE event: socket namespace name",
        "WARN arguments do not fit: namespace event",
        "WARN handler failed: namespace event error",
        "WARN too many events wait for a handler: the session is closed: socket",
    ];
    assert_eq!(lines.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert!(!values.contains("secret"), "{values}");
    let heard = String::from_utf8_lossy(&wall.0.lock().unwrap()).into_owned();
    assert!(ids.len() == 2 && ids.iter().all(|id| heard.contains(&**id)));
    for id in ids {
        assert!(!values.contains(&id), "{values}");
    }
}

/// Hardening A4.
#[test]
fn no_session_id_of_an_older_client_is_logged_or_shown() {
    let capture = Capture::default();
    let (secrets, shown) = tracing::subscriber::with_default(capture.clone(), older_clients);
    let (lines, values) = &*capture.0.lock().unwrap();
    assert!(lines.iter().any(|line| line.starts_with("WARN handler failed")));
    assert_eq!(secrets.len(), 3);
    for secret in secrets {
        assert!([32, 39].contains(&secret.len()), "{secret}");
        assert!(!values.contains(&secret), "logged: {values}");
        assert!(!shown.contains(&secret), "shown: {shown}");
    }
}

/// Connects a client of each generation before 3.0, lets it send, fail and leave. Returns the ids
/// of the sessions, and everything that the application can print, including metrics.
fn older_clients() -> (Vec<String>, String) {
    let io = Io::new(Config::default(), Options::default().shards(1), RUNTIME).unwrap();
    io.of("/").on_message(|| Err::<(), _>("in its own words"));
    let shown = Arc::new(Mutex::new(String::new()));
    let show = Arc::clone(&shown);
    io.of("/").on_connect(move |socket: Socket| {
        let (id, wire_id, rooms) = (socket.id(), socket.wire_id(), socket.rooms());
        let line = format!("{socket:?} {id} {id:?} {wire_id:?} {rooms:?} {:?}", socket.handshake());
        show.lock().unwrap().push_str(&line);
        socket.broadcast().emit("joined", socket.id());
    });
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let request =
        |target: &str, headers: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes();
    let mut secrets = Vec::new();
    let mut clients = Vec::new();
    for (target, headers, before, after, message) in [
        (
            "/socket.io/?EIO=3&transport=websocket",
            upgrade,
            "\"sid\":\"",
            "\"",
            "42[\"message\",1]",
        ),
        ("/socket.io/1/?t=1", "", "\r\n\r\n", ":", "3:::hi"),
        ("/socket.io/websocket", upgrade, "~m~39~m~", "\u{0}", "~m~2~m~hi"),
    ] {
        let wall = Wall::default();
        let mut client = Connection::new(&io, Peer::default(), wall.clone()).unwrap();
        read(&mut client, &request(target, headers));
        let heard = String::from_utf8_lossy(&wall.take()).into_owned();
        let (_, secret) = heard.split_once(before).unwrap();
        let secret = secret.split(after).next().unwrap().to_owned();
        if headers.is_empty() {
            read(
                &mut client,
                &request(&format!("/socket.io/1/websocket/{secret}"), upgrade),
            );
        }
        say(&mut client, message);
        shown.lock().unwrap().push_str(&format!("{client:?}"));
        secrets.push(secret);
        clients.push(client);
    }
    let sockets = io.sockets();
    let metrics = io.metrics();
    shown
        .lock()
        .unwrap()
        .push_str(&format!("{io:?} {sockets:?} {metrics:?} {}", metrics.to_prometheus()));
    io.close();
    drop(clients);
    let shown = shown.lock().unwrap().clone();
    (secrets, shown)
}

/// Hardening A16: one client sends a thousand events with arguments that do not fit.
#[test]
fn a_client_does_not_fill_the_log() {
    #[derive(Clone, Default)]
    struct Count(Arc<Mutex<usize>>);
    impl Subscriber for Count {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= tracing::Level::WARN
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn event(&self, _: &Event<'_>) {
            *self.0.lock().unwrap() += 1;
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
    let count = Count::default();
    tracing::subscriber::with_default(count.clone(), || {
        let io = Io::new(Config::default(), Options::default().shards(1), RUNTIME).unwrap();
        io.of("/").on("typed", |_: Socket, _: u64| ());
        let mut client = Connection::new(&io, Peer::default(), Wall::default()).unwrap();
        read(
            &mut client,
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        say(&mut client, "40");
        for _ in 0..1_000 {
            say(&mut client, r#"42["typed","no number"]"#);
        }
        assert_eq!(io.metrics().handler_errors, 1_000, "all are counted");
    });
    assert_eq!(*count.0.lock().unwrap(), 10);
}

/// Does a bit of everything that is logged. Returns the ids of the session and of the socket.
fn scenario(wall: &Wall) -> Vec<String> {
    let options = Options::default().shards(1).max_connections(3).max_waiting_events(1);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    io.of("/")
        .on("typed", |_: Socket, _: u64| ())
        .on("fails", || Err::<(), _>("in its own words"))
        // Two handlers of one event: when the first one waits, nothing more is read.
        .on("waits", std::future::pending::<()>)
        .on("waits", std::future::pending::<()>)
        .on("panics", || -> () { panic!("in its own words") })
        .on_any(|_: &Socket, _: &str, args| assert!(args.json() != "\"secret any\"", "no"));
    io.of("/closed")
        .with(|_: Socket| Err::<(), _>(Refusal::new("secret refusal")));
    let mut client = Connection::new(&io, Peer::default(), wall.clone()).unwrap();
    let handshake =
        b"GET /socket.io/?EIO=4&transport=websocket&token=secret HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Cookie: secret\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    read(&mut client, handshake);
    let mut ids = Vec::new();
    say(&mut client, r#"40{"token":"secret"}"#);
    ids.push(io.sockets()[0].id().to_string());
    let heard = String::from_utf8_lossy(&wall.0.lock().unwrap()).into_owned();
    let (_, session) = heard.split_once("\"sid\":\"").unwrap();
    ids.push(session[..32].to_owned());
    say(&mut client, r#"40/closed,{"token":"secret"}"#);
    say(&mut client, r#"42["typed","secret"]"#);
    say(&mut client, r#"42["fails","secret"]"#);
    say(&mut client, r#"42["secret name","secret any"]"#);
    say(&mut client, "40");
    say(&mut client, r#"42["panics","secret"]"#);
    let mut hasty = Connection::new(&io, Peer::default(), Wall::default()).unwrap();
    read(&mut hasty, handshake);
    say(&mut hasty, "40");
    say(&mut hasty, r#"42["waits","secret"]"#);
    say(&mut hasty, r#"42["waits","secret"]"#);
    let mut other = Connection::new(&io, Peer::default(), Wall::default()).unwrap();
    read(
        &mut other,
        b"GET /socket.io/?EIO=4&transport=secret HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert!(Connection::new(&io, Peer::default(), Wall::default()).is_none());
    io.close();
    drop((client, hasty, other));
    ids
}

/// Hardening B18, Newcomers D8.
#[test]
fn strangers_are_named_at_a_limited_rate() {
    let capture = Capture::default();
    let subscriber = tracing::Dispatch::new(capture.clone());
    tracing::dispatcher::with_default(&subscriber, || {
        let io = Io::new(Config::default(), Options::default().shards(1), RUNTIME).unwrap();
        for at in 0..1_000 {
            let mut client = Connection::new(&io, Peer::default(), Wall::default()).unwrap();
            let request = format!(
                "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: chat.example\r\nOrigin: http://evil-{at}.example\r\n\r\n"
            );
            read(&mut client, request.as_bytes());
        }
        assert_eq!(io.sessions(), 0);
    });
    let (lines, values) = &*capture.0.lock().unwrap();
    let line = "WARN request refused for where it comes from: origin host setting why";
    assert!(lines.contains(line), "{lines:?}");
    assert_eq!(values.matches("http://evil-").count(), 10, "{values}");
    for part in ["\"http://evil-0.example\"", "\"chat.example\"", "\"Config::origins\""] {
        assert!(values.contains(part), "{part} {values}");
    }
}

/// Newcomers D7: a handler that keeps its thread is named in the log, one that is quick is not.
#[test]
fn a_handler_that_keeps_its_thread_is_named() {
    let capture = Capture::default();
    let subscriber = tracing::Dispatch::new(capture.clone());
    tracing::dispatcher::with_default(&subscriber, || {
        let io = Io::new(Config::default(), Options::default().shards(1), RUNTIME).unwrap();
        io.of("/")
            .on("quick", || NOW.set(NOW.get() + 49_000))
            .on("sleeps", || NOW.set(NOW.get() + 50_000));
        let mut client = Connection::new(&io, Peer::default(), Wall::default()).unwrap();
        read(
            &mut client,
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        say(&mut client, "40");
        say(&mut client, r#"42["quick"]"#);
        say(&mut client, r#"42["sleeps"]"#);
    });
    let (lines, values) = &*capture.0.lock().unwrap();
    let line = "WARN a handler kept its thread, and others waited: namespace event millis";
    assert!(lines.contains(line), "{lines:?}");
    assert!(values.contains("sleeps") && values.contains("50"), "{values}");
    assert!(!values.contains("49"), "{values}");
}
