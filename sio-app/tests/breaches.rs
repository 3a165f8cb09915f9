//! A client of each generation breaks a rule. A person can read the rule in the log, in a counter
//! and in the disconnect handler.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod memory;

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Wake, Waker};

use memory::{Script, Wall};
use sio_app::adapter::{Connection, Runtime, Time};
use sio_app::{Breach, BreachKind, Config, Io, Options, Peer, Reason, Socket};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const RUNTIME: Runtime = Runtime {
    now: || Time::ZERO,
    unix_time: || 784_111_777,
    // A task is polled again if it only lets others have their turn. A task that waits after that
    // waits for ever.
    spawn: |mut task| {
        let cx = &mut Context::from_waker(Waker::noop());
        if (0..100).all(|_| task.as_mut().poll(cx).is_pending()) {
            std::mem::forget(task);
        }
    },
    fill: |out| out.fill(7),
};

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

thread_local! {
    /// The lines that this thread's test has logged at debug, as `field=value` and the message.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps [`LINES`]. There is one for the whole process, because `tracing` remembers for all threads
/// whether a line is enabled.
struct Capture;

/// Starts to keep lines.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Capture).unwrap());
    LINES.take();
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::DEBUG && metadata.target().starts_with("sio_")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES.with_borrow_mut(|lines| lines.push(line.0));
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A server with one client on a websocket, and what the application gets from it.
struct Stage {
    io: Io,
    client: Connection,
    wall: Wall,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    fn new(config: Config) -> Self {
        let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&heard);
        io.of("/")
            .on_disconnect(move |_: Socket, reason: Reason, breach: Option<Breach>| {
                let breach = breach.map_or_else(String::new, |breach| format!("{}, {breach}", breach.kind()));
                tell.lock().unwrap().push(format!("{reason}: {breach}"));
            });
        let wall = Wall::default();
        let client = Connection::new(&io, Peer::default(), wall.clone()).unwrap();
        Self {
            io,
            client,
            wall,
            heard,
        }
    }

    /// Polls as a runtime does: it polls again if the connection has only let others have their
    /// turn.
    fn read(&mut self, bytes: &[u8]) {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut script = Script(Some(bytes.to_vec()));
        loop {
            let polled = self.client.poll(&mut Context::from_waker(&waker), &mut script);
            if polled.is_ready() || !woken.0.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    }

    fn upgrade(&mut self, target: &str) {
        self.read(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n").as_bytes());
    }

    fn say(&mut self, message: &str) {
        let head = [0x81, 0x80 | u8::try_from(message.len()).unwrap(), 0, 0, 0, 0];
        self.read(&[&head[..], message.as_bytes()].concat());
    }

    /// Connects a client of this generation, which is let in.
    fn come(&mut self, generation: &str) {
        match generation {
            "4.x" => {
                self.upgrade("/socket.io/?EIO=4&transport=websocket");
                self.say("40");
            }
            "2.x" => self.upgrade("/socket.io/?EIO=3&transport=websocket"),
            "0.9" => {
                self.read(b"GET /socket.io/1/?t=1 HTTP/1.1\r\nHost: x\r\n\r\n");
                let heard = String::from_utf8(self.wall.take()).unwrap();
                let id = heard
                    .split_once("\r\n\r\n")
                    .unwrap()
                    .1
                    .split(':')
                    .next()
                    .unwrap()
                    .to_owned();
                self.upgrade(&format!("/socket.io/1/websocket/{id}"));
            }
            "0.6" => self.upgrade("/socket.io/websocket"),
            "streaming" => self.upgrade("/streaming/websocket"),
            other => panic!("{other}"),
        }
        assert_eq!(self.io.sockets().len(), 1, "{generation}");
    }
}

/// A row of the table: the generation, what the client sends, the kind and the text of the breach,
/// and the reason of the end, if the session ends.
type Row = (&'static str, &'static str, BreachKind, &'static str, Option<Reason>);

const ROWS: &[Row] = &[
    (
        "4.x",
        "9",
        BreachKind::EnginePacket,
        "unknown packet type 0x39",
        Some(Reason::ParseError),
    ),
    (
        "4.x",
        "42[\"m\",secret]",
        BreachKind::SocketPacket,
        "invalid payload: unexpected character in JSON, at byte 6 of a packet of 13",
        Some(Reason::ForcedClose),
    ),
    (
        "4.x",
        "42/secret,[\"m\"]",
        BreachKind::Namespace,
        "EVENT for a namespace, in which the client is not",
        Some(Reason::ForcedClose),
    ),
    (
        "2.x",
        "secret",
        BreachKind::EnginePacket,
        "unknown packet type 0x73",
        Some(Reason::ParseError),
    ),
    (
        "2.x",
        "42secret",
        BreachKind::SocketPacket,
        "invalid payload",
        Some(Reason::ForcedClose),
    ),
    (
        "2.x",
        "42/secret,[\"m\"]",
        BreachKind::Namespace,
        "EVENT for a namespace, in which the client is not",
        None,
    ),
    ("0.9", "secret", BreachKind::SocketPacket, "unparsable packet", None),
    ("0.9", "4:::secret", BreachKind::SocketPacket, "invalid JSON", None),
    ("0.6", "secret", BreachKind::Payload, "frame without delimiter", None),
    (
        "0.6",
        "~m~9~m~~j~secret",
        BreachKind::SocketPacket,
        "unexpected character in JSON, at byte 0 of a message",
        None,
    ),
    (
        "streaming",
        "secret",
        BreachKind::Payload,
        "invalid packet type",
        Some(Reason::ParseError),
    ),
];

#[test]
fn a_person_can_read_which_rule_was_broken() {
    for (generation, message, kind, text, reason) in ROWS {
        listen();
        let heard = {
            let mut config = Config::default();
            config.legacy06 = config.legacy06.mount("/streaming", sio_proto::codec::Streaming);
            let mut stage = Stage::new(config);
            stage.come(generation);
            stage.say(message);
            let counted = stage.io.metrics();
            assert_eq!(counted.sessions.broken(*kind), 1, "{generation} {message}");
            let line = format!("sio_rules_broken_total{{kind=\"{kind}\"}} 1");
            assert!(counted.to_prometheus().lines().any(|found| found == line), "{line}");
            if reason.is_none() {
                assert!(stage.heard.lock().unwrap().is_empty(), "{generation} {message}");
                stage.io.sockets()[0].close();
            }
            stage.heard.lock().unwrap().clone()
        };
        let reason = reason.map_or_else(|| "server namespace disconnect".to_owned(), |reason| reason.to_string());
        assert_eq!(heard.len(), 1, "{generation} {message}: {heard:?}");
        assert!(heard[0].ends_with(&format!(": {kind}, {text}")), "{heard:?}");
        assert!(heard[0].starts_with(&reason), "{heard:?}");
        let lines = LINES.take();
        let told: Vec<&String> = lines.iter().filter(|line| line.contains("broke a rule")).collect();
        assert_eq!(told.len(), 1, "{generation} {message}: {lines:?}");
        let kind = format!("kind={:?}", kind.as_str());
        assert!(
            told[0].contains(&kind) && told[0].contains(&format!("why={text:?}")),
            "{told:?}"
        );
        assert!(lines.iter().all(|line| !line.contains("secret")), "{lines:?}");
    }
}

#[test]
fn what_is_no_http_is_told_and_counted_before_any_shard_has_heard_of_it() {
    listen();
    let mut stage = Stage::new(Config::default());
    stage.read(b"secret\r\n\r\n");
    let metrics = stage.io.metrics();
    assert_eq!(metrics.sessions.broken(BreachKind::Http), 1);
    let lines = LINES.take();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("broke a rule") && line.contains("kind=\"http\"")),
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| !line.contains("secret")), "{lines:?}");
}

#[test]
fn too_many_waiting_events_are_a_rule_of_the_servers() {
    let options = Options::default().shards(1).max_waiting_events(1);
    let io = Io::new(Config::default(), options, RUNTIME).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&heard);
    // Two handlers of one event: the client is not read any more when the first of them waits.
    io.of("/")
        .on("waits", std::future::pending::<()>)
        .on("waits", std::future::pending::<()>)
        .on_disconnect(move |_: Socket, _: Reason, breach: Option<Breach>| {
            tell.lock().unwrap().extend(breach.map(|breach| breach.to_string()));
        });
    let mut stage = Stage {
        client: Connection::new(&io, Peer::default(), Wall::default()).unwrap(),
        wall: Wall::default(),
        heard: Arc::default(),
        io,
    };
    stage.come("4.x");
    stage.say("42[\"waits\"]");
    assert_eq!(*heard.lock().unwrap(), ["too many events wait for a handler"]);
    assert_eq!(stage.io.metrics().sessions.broken(BreachKind::Limit), 1);
}
