//! Clients that catch up in rooms with histories, and what comes between: rooms that cannot be
//! joined, histories that are dropped, cuts, and events that a client cannot get.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::history::{Client, parts, place, ready, server_with};
use crate::adapter::Runtime;
use crate::tests::{Driven, RUNTIME, UPGRADE, pass, run_tasks, text};
use crate::{Config, EmitError, Io, Offset, Options, RecoveryConfig, ResumeError, Ring, Socket};

/// The client's socket takes nothing more.
fn block(client: &mut Client) {
    client.0.wall.room.store(0, Ordering::Relaxed);
    client.0.script.full = true;
    let _ = client.0.poll();
}

/// The client takes what waits, for some seconds.
fn unblock(io: &Io, client: &mut Client) -> Vec<String> {
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

/// A room's name is kept with its history, and may come from a client. A room that nobody can join
/// has none.
#[test]
fn a_room_that_nobody_can_join_has_no_history() {
    let (io, _) = server_with(Config::default(), Options::default().shards(1), Ring::default());
    for n in 0..10 {
        io.to(format!("a{n}{}", "x".repeat(1024))).emit("n", n);
    }
    assert_eq!((io.metrics().histories, io.metrics().history_bytes), (0, 0));
    io.to(format!("a{}", "x".repeat(1023))).emit("n", 1);
    assert_eq!(io.metrics().histories, 1);
}

/// What a reader of a room knows: the number of its last event, unless it was told that events are
/// missing, and the last place.
#[derive(Default)]
struct Reader {
    last: Option<u64>,
    seen: Option<String>,
    read: usize,
}

impl Reader {
    fn read(&mut self, packets: &[String]) {
        for packet in packets {
            let packet: serde_json::Value = serde_json::from_str(packet).unwrap();
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            if packet[0] == "history" {
                self.seen = text(&packet[1]["at"]);
                if packet[1]["state"] == "truncated" {
                    self.last = None;
                }
                continue;
            }
            let number = packet[1].as_u64().unwrap();
            assert!(
                self.last.is_none_or(|last| number == last + 1),
                "{number} after {:?}",
                self.last
            );
            (self.last, self.seen, self.read) = (Some(number), text(&packet[2]), self.read + 1);
        }
    }
}

/// Recovery R12. Threads speak in rooms, histories are dropped all the time because there are too
/// many, and clients come, catch up and go. Nobody misses an event silently, and nobody gets one
/// twice.
#[test]
fn threads_that_speak_and_histories_that_go_are_one_sequence_for_each_reader() {
    const ROUNDS: u32 = 30;
    const MOST_EVENTS: u64 = 50_000;
    static DRAWN: AtomicU32 = AtomicU32::new(1);
    let runtime = Runtime {
        fill: |out| {
            let number = DRAWN.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            let bytes = number.iter().cycle();
            out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = *byte);
        },
        ..RUNTIME
    };
    for recovers in [false, true] {
        let mut options = Options::default().shards(2).max_history_rooms(2);
        if recovers {
            options = options.recovery(RecoveryConfig::default());
        }
        let io = Io::new(Config::default(), options, runtime).unwrap();
        let ring = Ring {
            packets: 100,
            ..Ring::default()
        };
        io.of("/").history("a*", ring).on(
            "follow",
            async |socket: Socket, (room, seen): (String, Option<Offset>)| {
                let _ = socket.resume(&room, seen).await;
            },
        );
        let rounds = [0; 3].map(|_| AtomicU32::new(0));
        thread::scope(|scope| {
            for (room, rounds) in rounds.iter().enumerate() {
                let io = &io;
                scope.spawn(move || {
                    let mut number = 0;
                    while rounds.load(Ordering::Relaxed) < ROUNDS && number < MOST_EVENTS {
                        io.to(format!("a{room}")).emit("n", number);
                        number += 1;
                        thread::yield_now();
                    }
                });
                scope.spawn(move || {
                    let mut reader = Reader::default();
                    for round in 0..ROUNDS {
                        let mut client = Client::new(io);
                        client.heard();
                        let seen = reader.seen.clone();
                        reader.read(&client.follow(&format!("a{room}"), seen.as_deref()));
                        for _ in 0..round % 7 {
                            thread::yield_now();
                            run_tasks();
                            reader.read(&client.heard());
                        }
                        rounds.store(round + 1, Ordering::Relaxed);
                    }
                    assert!(reader.read > 0);
                });
            }
        });
    }
}
