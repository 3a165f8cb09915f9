//! Hooks of the application for requests: header fields, refusals, upgrades, raw sessions.

use std::sync::Mutex;

use super::*;
use crate::{Cors, EngineHandler, EngineMessage, EngineSocket, TransportKind};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// The calls of hooks.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn say(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn field(exchange: &mut Exchange, name: &str) -> Option<String> {
    match answer(exchange) {
        Some(Answer::Response(response)) => response
            .fields()
            .find(|(its, _)| *its == name)
            .map(|(_, value)| value.to_owned()),
        other => panic!("{other:?}"),
    }
}

fn asked(io: &Io, target: &str) -> Exchange {
    let mut exchange = ours(io, head(Method::Get, target, &[("host", "x")]));
    exchange.body(Ok(bytes::Bytes::new()));
    exchange
}

/// Opens a session by polling, and returns the target of its further requests.
fn session(io: &Io, target: &str) -> String {
    let (_, open) = fetch(io, Method::Get, target, "");
    format!("{target}&sid={}", open.split('"').nth(3).unwrap())
}

/// Upgrades a polling session to a websocket, as a client does.
fn upgrade(io: &Io, path: &str) -> Driven {
    let mut client = Driven::new(io, usize::MAX);
    let head = String::from_utf8(UPGRADE.to_vec()).unwrap();
    let path = path.replace("transport=polling", "transport=websocket");
    let head = head.replace("/socket.io/?EIO=4&transport=websocket", &path);
    let _ = client.read(head.as_bytes());
    let _ = client.read(&text("2probe"));
    let _ = client.read(&text("5"));
    client
}

/// API: hook for response headers (`initial_headers` and `headers`).
#[test]
fn the_application_adds_header_fields() {
    let io = server(1);
    assert_eq!(field(&mut asked(&io, POLLING), "X-Node"), None);
    io.on_headers(|request, headers| {
        headers.add("X-Node", "seven")?;
        if request.may_open_session() {
            headers.add("X-First", request.path())?;
        }
        Ok(())
    });
    for (target, first) in [
        (POLLING, Some("/socket.io/")),
        ("/socket.io/?EIO=4&transport=tin", Some("/socket.io/")),
    ] {
        assert_eq!(field(&mut asked(&io, target), "X-Node").as_deref(), Some("seven"));
        assert_eq!(field(&mut asked(&io, target), "X-First").as_deref(), first);
    }
    // The answer to a held GET has these fields, too.
    let path = session(&io, POLLING);
    let mut parked = asked(&io, &path);
    assert!(answer(&mut parked).is_none());
    fetch(&io, Method::Post, &path, "40");
    assert_eq!(field(&mut parked, "X-Node").as_deref(), Some("seven"));
    let mut parked = asked(&io, &path);
    assert!(answer(&mut parked).is_none());
    fetch(&io, Method::Post, &path, "1");
    assert_eq!(field(&mut parked, "X-First"), None);
}

/// API: hook for response headers: an error or a panic adds nothing, and is reported.
#[test]
fn header_fields_that_fail_are_reported() {
    let io = server(1);
    let told = Told::default();
    let errors = told.clone();
    io.on_error(move |_, event, error| errors.say(format!("{event}: {error}")));
    io.on_headers(|_, headers| {
        headers.add("X-Node", "seven")?;
        headers.add("X-Name", "a\r\nSet-Cookie: sid=b").map(|_| ())
    });
    assert_eq!(field(&mut asked(&io, POLLING), "X-Node"), None);
    let [error] = &told.take()[..] else { panic!("one") };
    assert!(error.starts_with("headers: ") && error.contains("X-Name"), "{error}");
    io.on_headers(|_, _| panic!("no headers today"));
    assert_eq!(reply(&mut asked(&io, POLLING)).0, 200);
    assert!(told.take()[0].contains("no headers today"));
}

/// API: connection_error with request, code, message, context.
#[test]
fn refusals_are_told_once_somebody_asks() {
    let io = server(2);
    let told = Told::default();
    let errors = told.clone();
    io.allow_request(|request| match request.query().get("token") {
        None => Err("no token".into()),
        Some(_) => Ok(()),
    });
    assert_eq!(reply(&mut asked(&io, POLLING)).0, 403);
    io.on_connection_error(move |error| {
        errors.say(format!("{:?} {} {}", error.code, error.message, error.path));
    });
    for _ in 0..2 {
        assert_eq!(reply(&mut asked(&io, POLLING)).0, 403);
        assert_eq!(told.take(), ["Some(4) no token /socket.io/"]);
    }
    assert_eq!(reply(&mut asked(&io, &format!("{POLLING}&token=1"))).0, 200);
    assert_eq!(told.take(), [""; 0]);
}

/// API: on_upgrade.
#[test]
fn the_move_to_a_websocket_is_told() {
    let io = server(1);
    let told = Told::default();
    let moves = told.clone();
    io.on_upgrade(move |socket, transport| {
        assert_eq!(socket.transport(), Some(transport));
        moves.say(format!("{} {transport}", socket.namespace()));
    });
    io.of("/a").create();
    let path = session(&io, POLLING);
    fetch(&io, Method::Post, &path, "40\x1e40/a,");
    let _client = upgrade(&io, &path);
    assert_eq!(told.take(), ["/ websocket", "/a websocket"]);
    let _websocket = Driven::connected(&io);
    assert_eq!(told.take(), [""; 0], "this one has not moved");
}

struct Raw(Told);

impl EngineHandler for Raw {
    fn open(&self, socket: &EngineSocket, handshake: &crate::Handshake) {
        socket.set_data(0_u32);
        let name = handshake.query_value("name").unwrap_or_default();
        self.0.say(format!("open {name} {:?}", socket.transport()));
    }

    fn message(&self, socket: &EngineSocket, _: EngineMessage) {
        let count = socket.data::<u32>().map_or(0, |count| *count + 1);
        socket.set_data(count);
        self.0.say(format!("message {count}"));
    }

    fn upgrade(&self, socket: &EngineSocket, transport: TransportKind) {
        let name = socket.handshake().query_value("name").unwrap_or_default();
        self.0.say(format!("upgrade {name} {transport}"));
    }

    fn close(&self, socket: &EngineSocket, reason: Reason, _: Option<&crate::Breach>) {
        assert_eq!(socket.transport(), None);
        let count = socket.take_data::<u32>();
        self.0
            .say(format!("close {reason} {count:?} {:?}", socket.data::<u32>()));
    }
}

/// API: EngineSocket: id, transport, data, request.
#[test]
fn a_raw_session_knows_itself() {
    let config = Config::default().engine_path("/engine.io");
    let io = Io::new(config, Options::default().shards(2), RUNTIME).unwrap();
    let told = Told::default();
    io.on_engine(Raw(told.clone()));
    let path = session(&io, "/engine.io/?EIO=4&transport=polling&name=J%C3%BC");
    fetch(&io, Method::Post, &path, "4a\x1e4b");
    let client = upgrade(&io, &path);
    assert_eq!(
        told.take(),
        [
            "open Jü Some(Polling)",
            "message 1",
            "message 2",
            "upgrade Jü websocket"
        ]
    );
    drop(client);
    run_tasks();
    assert_eq!(told.take(), ["close transport error Some(2) None"]);
}

/// API: EngineSocket: ids are the process's own, and no two sessions have the same.
#[test]
fn raw_sessions_have_numbers() {
    let config = Config::default().engine_path("/engine.io");
    let io = Io::new(config, Options::default().shards(2), RUNTIME).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sockets = Arc::clone(&seen);
    io.on_engine(move |socket: &EngineSocket, _: EngineMessage| sockets.lock().unwrap().push(socket.clone()));
    for _ in 0..3 {
        let path = session(&io, "/engine.io/?EIO=4&transport=polling");
        fetch(&io, Method::Post, &path, "4a\x1e4b");
    }
    let seen = seen.lock().unwrap();
    let ids: std::collections::BTreeSet<u64> = seen.iter().map(EngineSocket::id).collect();
    assert_eq!((seen.len(), ids.len()), (6, 3));
    assert!(seen[0] == seen[1] && seen[1] != seen[2]);
}

/// API: handshake.time by the wall clock.
#[test]
fn the_handshake_has_its_date() {
    let io = server(1);
    let _client = Driven::connected(&io);
    assert_eq!(io.sockets()[0].handshake().unix_time(), Some(784_111_777));
}

/// API: cors: origin by function: a panic means no.
#[test]
fn a_rule_that_panics_allows_nobody() {
    let cors = Cors::rule(|origin| match origin {
        "https://good.example" => true,
        _ => panic!("who is {origin}?"),
    });
    let io = Io::new(Config::default().cors(cors), Options::default().shards(1), RUNTIME).unwrap();
    for (origin, status) in [("https://good.example", 200), ("https://evil.example", 403)] {
        let mut exchange = ours(&io, head(Method::Get, POLLING, &[("host", "x"), ("origin", origin)]));
        exchange.body(Ok(bytes::Bytes::new()));
        assert_eq!(reply(&mut exchange).0, status, "{origin}");
    }
}
