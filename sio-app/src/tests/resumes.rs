//! Clients that catch up in rooms with histories, and what comes between: rooms that cannot be
//! joined, histories that are dropped, cuts, and events that a client cannot get.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::history::{Client, parts, place, ready, server_with};
use crate::tests::{Driven, UPGRADE, pass, run_tasks, text};
use crate::{Config, EmitError, Options, RecoveryConfig, ResumeError, Ring};

/// The client's socket takes nothing more.
fn block(client: &mut Client) {
    client.0.wall.room.store(0, Ordering::Relaxed);
    client.0.script.full = true;
    let _ = client.0.poll();
}

/// The client takes what waits, for some seconds.
fn unblock(io: &crate::Io, client: &mut Client) -> Vec<String> {
    client.0.wall.room.store(usize::MAX, Ordering::Relaxed);
    client.0.script.full = false;
    let mut heard = Vec::new();
    for _ in 0..5 {
        let _ = client.0.poll();
        pass(io, 500);
        run_tasks();
        heard.extend(client.heard());
    }
    heard
}

/// A socket that is in as many rooms as it may be is not asked to wait: waiting makes no room.
#[test]
fn a_room_that_cannot_be_joined_is_an_error() {
    let config = Config::default().max_rooms_per_socket(1);
    let (io, results) = server_with(config, Options::default().shards(1), Ring::default());
    let mut client = Client::new(&io);
    io.sockets()[0].join("other").unwrap();
    io.to("a1").emit("n", 1);
    let heard = client.follow("a1", None);
    assert_eq!(parts(&heard[0]).0, r#"["n",1"#);
    assert_eq!(heard.len(), 1, "there is no mark: {heard:?}");
    for _ in 0..3 {
        pass(&io, 1_000);
        assert_eq!(run_tasks(), 0, "nothing waits");
    }
    assert!(
        matches!(results.lock()[..], [Err(ResumeError::Emit(EmitError::Full))]),
        "{:?}",
        results.lock()
    );
    // With a place in a room, it works.
    io.sockets()[0].leave("other");
    assert_eq!(client.follow("a1", None).len(), 2);
}

/// The history is dropped and begins again while the mark waits for a client that is slow. What was
/// said in the new history is not missing silently.
#[test]
fn a_history_that_begins_again_meanwhile_is_noticed() {
    let config = Config::default().max_queued_packets(4);
    let options = Options::default().shards(1).max_history_rooms(1);
    let (io, results) = server_with(config, options, Ring::default());
    io.to("a1").emit("n", 1);
    let mut client = Client::new(&io);
    let socket = io.sockets().remove(0);
    let seen = io.of("/").room("a1").since(None).at.unwrap().to_string();
    block(&mut client);
    socket.emit("first", ()).unwrap();
    let _ = client.0.poll();
    while socket.emit("fill", ()).is_ok() {}
    let _ = client.follow("a1", Some(&seen));
    assert!(results.lock().is_empty(), "the mark waits");
    io.to("a2").emit("n", 2);
    io.to("a1").emit("n", 3);
    let heard = unblock(&io, &mut client);
    let at = heard.iter().position(|packet| packet.contains("truncated"));
    let at = at.unwrap_or_else(|| panic!("the event is missing silently: {heard:?}"));
    assert_eq!(parts(&heard[at + 1]).0, r#"["n",3"#);
    let last = parts(&heard[at + 1]).1;
    assert_eq!(heard[at + 2..], [ready("a1", last)]);
}

/// An event that is too large for the queue of a client was reported to its sender. It does not
/// keep clients from what was said behind it.
#[test]
fn an_event_that_no_client_can_get_stops_nobody() {
    let config = Config::default().max_queued_bytes(4 << 10);
    let (io, results) = server_with(config, Options::default().shards(1), Ring::default());
    io.to("a1").emit("n", 1);
    io.to("a1").emit("large", "x".repeat(8 << 10));
    io.to("a1").emit("n", 2);
    let mut client = Client::new(&io);
    let heard = client.follow("a1", None);
    let sent: Vec<&str> = heard[..2].iter().map(|packet| parts(packet).0).collect();
    assert_eq!(sent, [r#"["n",1"#, r#"["n",2"#]);
    assert_eq!(heard[2..], [ready("a1", parts(&heard[1]).1)]);
    assert_eq!(results.lock()[0].as_ref().unwrap().missed, 2);
}

/// Recovery R12. The connection is cut while the client catches up. The client that comes back is
/// in the room when it has the mark, and nothing is missing.
#[test]
fn a_cut_while_a_client_catches_up_loses_nothing() {
    let config = Config::default().max_queued_packets(16);
    let options = Options::default()
        .shards(3)
        .recovery(RecoveryConfig::default().window(Duration::from_secs(60)));
    let (io, results) = server_with(config, options, Ring::default());
    for n in 0..40 {
        io.to("a1").emit("n", n);
    }
    let connect = |show: &str| {
        let mut client = Client(Driven::new(&io, usize::MAX));
        let _ = client.0.read(UPGRADE);
        let _ = client.0.written();
        let _ = client.0.read(&text(&format!("40{show}")));
        let mut heard = client.heard();
        let answer = heard.remove(0);
        let (_, pid) = answer.split_once(r#""pid":""#).unwrap();
        (client, pid.split('"').next().unwrap().to_owned(), heard)
    };
    let (mut client, pid, _) = connect("");
    block(&mut client);
    let _ = client.follow("a1", None);
    assert!(results.lock().is_empty(), "the client is too slow");
    drop(client);
    run_tasks();
    // It has seen nothing of it.
    let numbers = |heard: &[String]| -> Vec<String> {
        let events = heard.iter().filter(|packet| packet.starts_with(r#"["n""#));
        events
            .map(|packet| packet.split([',', ']']).nth(1).unwrap().to_owned())
            .collect()
    };
    pass(&io, 1_000);
    run_tasks();
    let (mut client, same, mut heard) = connect(&format!(r#"{{"pid":"{pid}"}}"#));
    assert_eq!(same, pid, "it is recovered");
    for _ in 0..5 {
        pass(&io, 500);
        run_tasks();
        let _ = client.0.poll();
        heard.extend(client.heard());
    }
    io.to("a1").emit("n", 40);
    heard.extend(client.heard());
    let expected: Vec<String> = (0..41).map(|n| n.to_string()).collect();
    assert_eq!(numbers(&heard), expected, "{:?}", results.lock());
    let mark = heard.iter().position(|packet| packet.contains(r#""state":"ready""#));
    assert!(mark.is_some_and(|at| place(&heard[at]).ends_with("-40")), "{heard:?}");
}
