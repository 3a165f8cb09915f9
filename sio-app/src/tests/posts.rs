//! POSTs that wait: because handlers lag, or because their client may not send so fast.

use super::lagging::{MOST, Slow, polling};
use super::*;
use crate::{RateLimit, turn};

fn posting(io: &Io, target: &str, body: &str) -> Driven {
    let (mut client, length) = (Driven::new(io, usize::MAX), body.len());
    let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    client.script.reads = request.as_bytes().chunks(100_000).map(<[u8]>::to_vec).collect();
    let _ = client.poll();
    client
}

/// A client that sends each event by a POST of its own waits, as one that sends all of them at
/// once. Its connections have no link that could pause between two POSTs.
#[test]
fn small_posts_wait_for_handlers_that_lag() {
    let slow = Slow::new(true, Config::default());
    let target = polling(&slow.io);
    let mut answered = 0;
    let mut waiting = loop {
        let mut client = posting(&slow.io, &target, &format!(r#"42["slow",{answered}]"#));
        if !client.written().ends_with("ok") {
            break client;
        }
        answered += 1;
        assert!(answered < MOST, "nothing waits");
    };
    assert!(
        answered > MOST / 2 && answered < MOST / 2 + 3,
        "{answered}: half of the bound has been read"
    );
    assert_eq!(slow.io.sessions(), 1);
    for _ in 0..MOST {
        slow.finish(1);
        let _ = waiting.poll();
    }
    assert!(waiting.written().ends_with("ok"));
    slow.finish(MOST);
    assert_eq!(slow.seen(), (0..=answered).collect::<Vec<_>>());
    assert_eq!(slow.io.metrics().sessions.broken(crate::BreachKind::Limit), 0);
}

/// A client whose handlers lag because of its POSTs moves to a websocket in time, also if the
/// thread has noted that they lag when the websocket of the upgrade has its turn. Behind `5` it
/// waits as on any other websocket.
#[test]
fn the_websocket_of_an_upgrade_is_read_while_handlers_lag() {
    let slow = Slow::new(true, Config::default());
    let target = polling(&slow.io);
    let body: Vec<String> = (0..30).map(|number| format!(r#"42["slow",{number}]"#)).collect();
    assert!(
        posting(&slow.io, &target, &body.join("\u{1e}"))
            .written()
            .ends_with("ok")
    );
    let mut websocket = Driven::new(&slow.io, usize::MAX);
    let target = target.replace("polling", "websocket");
    let upgrade = String::from_utf8(UPGRADE.to_vec()).unwrap();
    let upgrade = upgrade.replace("/socket.io/?EIO=4&transport=websocket", &target);
    let _ = websocket.read(upgrade.as_bytes());
    let socket = slow.io.sockets().pop().unwrap();
    turn::note_load(socket.0.load());
    assert!(websocket.says("2probe").ends_with("3probe"));
    assert!(!websocket.connection.is_paced(), "its `5` is read");
    let _ = websocket.read(&[text("5"), text(r#"42["slow",30]"#)].concat());
    assert!(websocket.connection.is_paced());
    slow.finish(31);
    let _ = websocket.poll();
    assert!(!websocket.connection.is_paced());
    assert_eq!(slow.seen(), (0..31).collect::<Vec<_>>());
}

/// The messages of a POST of the streaming wire are parts of its payload. Those that wait must not
/// keep all of it.
#[test]
fn messages_of_a_stream_that_wait_keep_no_payload() {
    let limit = RateLimit::NONE.events(10, 5);
    let mut config = Config::default().session_rate(limit);
    config.legacy06 = config.legacy06.mount("/streaming", sio_proto::codec::Streaming);
    let slow = Slow::new(true, config);
    let (_, open) = fetch(&slow.io, Method::Get, "/streaming/xhr-polling//1", "");
    let id = open.strip_prefix("3:39:").unwrap().trim_end_matches(',');
    let target = format!("/streaming/xhr-polling/{id}/send");
    let form = |messages: usize| format!("data={}", "1:2::1,".repeat(messages));
    let post = |messages: usize| {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let mut exchange = ours(&slow.io, head(Method::Post, &target, &[("host", "x"), kind]));
        exchange.body(Ok(form(messages).into()));
        exchange
    };
    assert_eq!(reply(&mut post(5)), (200, "ok".into()), "the burst");
    let mut waiting = post(100);
    assert!(answer(&mut waiting).is_none());
    assert!(waiting.keeps_no_body(), "before its first portion");
    for _ in 0..3 {
        set_now(now() + 100_000);
        Driver::new(&slow.io).handle_timeout(0, Waker::noop());
        assert!(answer(&mut waiting).is_none());
        assert!(waiting.keeps_no_body(), "behind its first portion");
    }
}

/// A POST does not wait longer than its session lives.
#[test]
fn a_post_whose_session_has_ended_waits_no_longer() {
    let limit = RateLimit::NONE.bytes(1_000, 100_000);
    let io = Io::new(
        Config::default().session_rate(limit),
        Options::default().shards(1),
        RUNTIME,
    )
    .unwrap();
    io.of("/").on("e", || ());
    let target = polling(&io);
    fetch(&io, Method::Get, &target, "");
    let event = format!(r#"42["e","{}"]"#, "x".repeat(90_000));
    let mut client = posting(&io, &target, &[&*event; 3].join("\u{1e}"));
    assert!(client.connection.is_paced(), "it has to wait for more than a minute");
    // Two GETs at a time end the session.
    let mut gets = [(); 2].map(|()| Driven::new(&io, usize::MAX));
    for get in &mut gets {
        let _ = get.read(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    }
    assert_eq!(io.sessions(), 0);
    set_now(now() + Config::default().longest_pause().as_micros() as u64);
    Driver::new(&io).handle_timeout(0, Waker::noop());
    let _ = client.poll();
    assert!(!client.connection.is_paced());
    assert!(client.written().starts_with("HTTP/1.1 400"));
}
