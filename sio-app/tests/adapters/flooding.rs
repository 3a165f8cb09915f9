//! Clients that send faster than their handlers work, or than they may, over real sockets: nothing
//! is lost, the clients stay connected, and others do not wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sio_app::{Config, Io, Options, RateLimit, Socket};
use tungstenite::Message;

use super::http::Connection;
use super::{Client, dial, eventually, serve_with};

/// Six times what may wait.
const EVENTS: usize = 1_200;

type Seen = Arc<Mutex<Vec<usize>>>;

/// Handlers that take a while, one at a time.
fn slow(io: &Io, seen: &Seen) {
    let take = |seen: &Seen| {
        let seen = Arc::clone(seen);
        move |socket: Socket, number: usize| {
            let seen = Arc::clone(&seen);
            async move {
                socket.sleep(Duration::from_micros(500)).await;
                seen.lock().unwrap().push(number);
            }
        }
    };
    let (of_event, of_message) = (take(seen), take(seen));
    io.of("/")
        .one_at_a_time()
        .on("slow", of_event)
        .on("message", move |socket: Socket, number: String| {
            of_message(socket, number.parse().unwrap())
        })
        .on("quick", |socket: Socket| socket.emit("quick", ()));
}

fn options() -> Options {
    Options::default().max_waiting_events(200)
}

fn has_all(seen: &Seen) {
    eventually(|| seen.lock().unwrap().len() >= EVENTS);
    assert_eq!(*seen.lock().unwrap(), (0..EVENTS).collect::<Vec<_>>());
}

#[test]
fn a_websocket_that_floods_a_slow_handler_loses_nothing() {
    let seen = Seen::default();
    let server = serve_with(Config::default(), options(), |io| slow(io, &seen));
    let mut client = Client::connect(server.address);
    let mut neighbour = Client::connect(server.address);
    for number in 0..EVENTS {
        client.send(&format!(r#"42["slow",{number}]"#));
    }
    neighbour.send(r#"42["quick"]"#);
    assert_eq!(neighbour.text(), r#"42["quick"]"#);
    has_all(&seen);
    client.send(r#"42["quick"]"#);
    assert_eq!(client.text(), r#"42["quick"]"#);
    let metrics = server.io.metrics();
    assert!(metrics.lagging_pauses_total > 0, "{metrics:?}");
    assert!(metrics.most_waiting_events <= 200, "{metrics:?}");
}

#[test]
fn posts_that_flood_a_slow_handler_lose_nothing() {
    let seen = Seen::default();
    let server = serve_with(Config::default(), options(), |io| slow(io, &seen));
    let mut client = Connection::open(server.address);
    let opened = client.get("/socket.io/?EIO=4&transport=polling");
    let sid = opened.split('"').nth(3).unwrap();
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(client.post(&target, "40"), "ok");
    for part in 0..4 {
        let packets: Vec<String> = (part * EVENTS / 4..(part + 1) * EVENTS / 4)
            .map(|number| format!(r#"42["slow",{number}]"#))
            .collect();
        assert_eq!(client.post(&target, &packets.join("\u{1e}")), "ok");
    }
    has_all(&seen);
    assert_eq!(server.io.sockets().len(), 1);
    assert!(server.io.metrics().most_waiting_events <= 200);
}

#[test]
fn a_client_of_0_6_that_floods_a_slow_handler_loses_nothing() {
    let seen = Seen::default();
    let server = serve_with(Config::default(), options(), |io| slow(io, &seen));
    let url = format!("ws://{}/socket.io/websocket", server.address);
    let (mut client, _) = tungstenite::client(url, dial(server.address)).unwrap();
    client.read().unwrap();
    for part in 0..2 {
        let numbers = part * EVENTS / 2..(part + 1) * EVENTS / 2;
        let messages: String = numbers
            .map(|number| format!("~m~{}~m~{number}", number.to_string().len()))
            .collect();
        client.send(Message::text(messages)).unwrap();
    }
    has_all(&seen);
    assert_eq!(server.io.sockets().len(), 1);
    assert!(server.io.metrics().most_waiting_events <= 200);
}

#[test]
fn a_client_that_may_not_send_so_fast_is_throttled_by_its_socket() {
    let config = Config::default().session_rate(RateLimit::NONE.events(1_000, 200));
    let seen = Seen::default();
    let note = Arc::clone(&seen);
    let server = serve_with(config, Options::default(), |io| {
        io.of("/")
            .on("slow", move |number: usize| note.lock().unwrap().push(number))
            .on("quick", |socket: Socket| socket.emit("quick", ()));
    });
    let mut client = Client::connect(server.address);
    let mut neighbour = Client::connect(server.address);
    let start = std::time::Instant::now();
    for number in 0..EVENTS {
        client.send(&format!(r#"42["slow",{number}]"#));
    }
    neighbour.send(r#"42["quick"]"#);
    assert_eq!(neighbour.text(), r#"42["quick"]"#);
    has_all(&seen);
    let took = start.elapsed();
    // The burst is 200, and the rest takes a second at the least.
    assert!(took >= Duration::from_millis(990), "{took:?}");
    assert!(server.io.metrics().throttling_pauses_total > 0);
}

/// A client that has spent its tokens by POSTs moves to a websocket in time, and loses nothing that
/// it writes there: its `5` does not wait until the client may send again, and its events do.
#[test]
fn a_client_that_has_spent_its_tokens_upgrades_and_loses_nothing() {
    let limit = RateLimit::NONE.bytes(10_000, 60_000);
    let config = Config::default().session_rate(limit);
    let config = config.upgrade_timeout(Duration::from_millis(500));
    let server = serve_with(config, Options::default(), |io| {
        io.of("/")
            .on("large", |_text: String| ())
            .on("quick", |socket: Socket| socket.emit("quick", ()));
    });
    let mut client = Connection::open(server.address);
    let opened = client.get("/socket.io/?EIO=4&transport=polling");
    let sid = opened.split('"').nth(3).unwrap();
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    assert_eq!(client.post(&target, "40"), "ok");
    assert!(client.get(&target).starts_with("40"));
    let large = format!(r#"42["large","{}"]"#, "x".repeat(40_000));
    for _ in 0..2 {
        assert_eq!(client.post(&target, &large), "ok");
    }
    let start = std::time::Instant::now();
    let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket&sid={sid}", server.address);
    let (socket, _) = tungstenite::client(url, dial(server.address)).unwrap();
    let mut client = Client { socket };
    client.send("2probe");
    assert_eq!(client.text(), "3probe");
    client.send("5");
    client.send(r#"42["quick"]"#);
    assert_eq!(client.text(), r#"42["quick"]"#);
    let took = start.elapsed();
    // Its debt is more than 20,000 bytes, less what has been paid since the second POST.
    assert!(took >= Duration::from_millis(1_500), "{took:?}");
}
