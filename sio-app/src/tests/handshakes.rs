//! What stands between the head of a websocket's handshake and the first packet: a pause, or for
//! clients of Engine.IO 4 nothing.

use super::*;
use crate::adapter::Driver;

/// The handshake of a websocket of 2.x, whose server says at once that the namespace `/` is
/// connected.
const OLDER: &[u8] =
    b"GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Reads the handshake, and polls once: the clock stands still.
fn knock(io: &Io) -> Driven {
    knock_with(io, OLDER)
}

fn knock_with(io: &Io, handshake: &[u8]) -> Driven {
    let mut client = Driven::new(io, usize::MAX);
    client.script.reads.push(handshake.to_vec());
    poll(&mut client);
    client
}

fn poll(client: &mut Driven) {
    let polled = client
        .connection
        .poll(&mut Context::from_waker(Waker::noop()), &mut client.script);
    assert!(polled.is_pending());
}

/// Hardening C1: a client that listens only when it has read the head hears the first packet. What
/// is sent meanwhile comes behind it in its order, volatile events too, and no thread waits.
#[test]
fn what_follows_a_handshake_waits_for_a_moment_and_keeps_its_order() {
    let io = server(1);
    io.of("/").on_connect(|socket: Socket| {
        let _ = socket.emit("welcome", 1);
    });
    io.of("/").on("say", |socket: Socket| socket.emit("said", 3));
    let mut client = knock(&io);
    let head = client.written();
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    io.emit("news", 2);
    io.volatile().emit("place", 2);
    // A client that does not wait for the first packet is heard.
    client.script.reads.push(text(r#"42["say"]"#));
    poll(&mut client);
    set_now(now() + 99);
    poll(&mut client);
    assert_eq!(client.written(), "");

    set_now(now() + 1);
    poll(&mut client);
    let written = client.written();
    let places: Vec<_> = [
        r#"0{"sid""#,
        "40",
        r#"42["welcome",1]"#,
        r#"42["news",2]"#,
        r#"42["place",2]"#,
    ]
    .iter()
    .map(|packet| written.find(packet).unwrap_or_else(|| panic!("{packet} in {written}")))
    .collect();
    assert!(places.is_sorted() && written.ends_with(r#"42["said",3]"#), "{written}");
    // From now on, everything is written at once.
    io.emit("news", 4);
    assert!(client.written().ends_with(r#"42["news",4]"#));
}

/// A client of Engine.IO 4 listens before it has read the head. Head and open packet are one write,
/// no timer is set, and what the client says is answered at once.
#[test]
fn clients_of_engine_io_4_get_head_and_open_packet_in_one_write() {
    let config = Config::default().engine_path("/engine.io");
    let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
    io.of("/").on_connect(|socket: Socket| {
        let _ = socket.emit("welcome", 1);
    });
    let raw = String::from_utf8_lossy(UPGRADE).replace("/socket.io/", "/engine.io/");
    for handshake in [UPGRADE, raw.as_bytes()] {
        let mut client = knock_with(&io, handshake);
        assert_eq!(client.calls(), 1);
        let written = client.written();
        let behind = written.find("\r\n\r\n").map(|end| &written[end + 4..]);
        assert!(written.starts_with("HTTP/1.1 101 "), "{written}");
        assert!(
            behind.is_some_and(|packet| packet.contains(r#"0{"sid":""#)),
            "{written}"
        );
        let next = Driver::new(&io).handle_timeout(0, Waker::noop());
        assert!(next.is_none_or(|next| next.as_micros() > now() + 100), "{next:?}");
    }
    let mut client = knock_with(&io, UPGRADE);
    let _ = client.written();
    client.script.reads.push(text("40"));
    poll(&mut client);
    let written = client.written();
    assert!(
        written.contains(r#"40{"sid":""#) && written.ends_with(r#"42["welcome",1]"#),
        "{written}"
    );
}

/// The socket takes a part of the head only. The rest follows in its order when there is room.
#[test]
fn a_head_that_leaves_in_parts_is_followed_by_the_open_packet() {
    let whole = { knock_with(&server(1), UPGRADE) }.wall.take();
    let end = String::from_utf8_lossy(&whole).find("\r\n\r\n").unwrap() + 4;
    for room in [1, end - 1, end, end + 1] {
        let io = server(1);
        let mut client = Driven::new(&io, room);
        client.script.full = true;
        client.script.reads.push(UPGRADE.to_vec());
        poll(&mut client);
        let mut written = client.wall.take();
        assert_eq!(written.len(), room);
        client.wall.room.store(usize::MAX, Ordering::Relaxed);
        client.script.full = false;
        poll(&mut client);
        written.extend(client.wall.take());
        assert_eq!(written.len(), whole.len());
        let packet = String::from_utf8_lossy(&written[end..]);
        assert!(packet.contains(r#"0{"sid":""#) && packet.ends_with('}'), "{packet}");
    }
}

/// The task of the deadlines comes for the pause, and a connection that ends meanwhile leaves
/// nothing behind.
#[test]
fn a_pause_is_a_deadline_and_ends_with_its_connection() {
    let io = server(1);
    let client = knock(&io);
    let next = Driver::new(&io).handle_timeout(0, Waker::noop()).unwrap();
    assert_eq!(next.as_micros(), now() + 100);
    drop(client);
    assert_eq!(io.sessions(), 0);
    let next = Driver::new(&io).handle_timeout(0, Waker::noop());
    assert!(next.is_none_or(|next| next.as_micros() > now() + 100), "{next:?}");
}

/// Hardening A8: a socket that takes nothing behind the head is full, although the pause came
/// first: what waits is counted and limited, and answers to heartbeats do not count.
#[test]
fn a_socket_that_is_full_behind_the_head_is_known_to_be_full() {
    for is_ready in [false, true] {
        let config = Config::default().max_queued_bytes(10_000);
        let io = Io::new(config, Options::default().shards(1), RUNTIME).unwrap();
        let mut whole = knock(&io);
        let head = whole.written().len();
        drop(whole);
        let mut client = Driven::new(&io, head);
        client.script.full = true;
        client.script.reads.push(OLDER.to_vec());
        poll(&mut client);
        set_now(now() + 100);
        // The runtime may believe that the socket has room.
        client.script.has_some = is_ready;
        poll(&mut client);
        assert_eq!(client.written().len(), head);
        let socket = io.sockets().pop().unwrap();
        assert_eq!(socket.volatile().emit("place", 1).reached, 0);
        socket.emit("m", "x".repeat(9_000)).unwrap();
        assert!(socket.emit("m", "x".repeat(2_000)).is_err(), "it waits");
        for second in 1..=60 {
            set_now(now() + 1_000_000);
            Driver::new(&io).handle_timeout(0, Waker::noop());
            if io.sessions() == 0 {
                assert!((40..=46).contains(&second), "{second} seconds");
                break;
            }
            let _ = client.read(&text("2"));
        }
        assert_eq!(io.sessions(), 0, "pings without reading keep nobody");
    }
}

/// Hardening C1, for a websocket that another HTTP server has upgraded. A client of Engine.IO 4
/// needs no pause there either.
#[test]
fn what_follows_the_handshake_of_another_http_server_waits_too() {
    for (revision, has_pause) in [("3", true), ("4", false)] {
        let io = server(1);
        let target = format!("/socket.io/?EIO={revision}&transport=websocket");
        let mut exchange = ours(&io, head(Method::Get, &target, &WEBSOCKET));
        exchange.body(Ok(bytes::Bytes::new()));
        assert!(matches!(answer(&mut exchange), Some(Answer::Upgrade(_))));
        let wall = Wall::with_room(usize::MAX);
        let mut connection = exchange.attach(wall.clone(), BytesMut::new()).unwrap();
        let mut script = Script::default();
        let mut poll = || {
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(connection.poll(cx, &mut script).is_pending());
            String::from_utf8_lossy(&wall.take()).into_owned()
        };
        if has_pause {
            assert_eq!(poll(), "");
            set_now(now() + 99);
            assert_eq!(poll(), "");
            set_now(now() + 1);
        }
        let open = poll();
        assert!(open.contains(r#"0{"sid":"#), "{revision}: {open:?}");
    }
}
