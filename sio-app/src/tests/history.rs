//! Histories of rooms.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use crate::adapter::Runtime;
use crate::tests::{Driven, RUNTIME, UPGRADE, pass, run_tasks, text};
use crate::{
    Binary, Config, EmitError, Io, Offset, Options, RecoveryConfig, RegisterError, ResumeError, Resumed, Ring, Socket,
};

thread_local!(static DRAWN: Cell<u8> = const { Cell::new(0) });

/// A runtime whose random bytes differ each time.
const DRAWING: Runtime = Runtime {
    fill: |out| {
        DRAWN.set(DRAWN.get().wrapping_add(1));
        out.fill(DRAWN.get());
    },
    ..RUNTIME
};

pub(super) type Results = Arc<Mutex<Vec<Result<Resumed, ResumeError>>>>;

pub(super) fn server_with(config: Config, options: Options, ring: Ring) -> (Io, Results) {
    let config = config.ping_interval(Duration::from_secs(3600));
    let io = Io::new(config, options, DRAWING).unwrap();
    let results = Results::default();
    let told = Arc::clone(&results);
    io.of("/").history("a*", ring).on(
        "follow",
        move |socket: Socket, (room, seen): (String, Option<Offset>)| {
            let told = Arc::clone(&told);
            async move {
                let resumed = socket.resume(&room, seen).await;
                told.lock().push(resumed);
            }
        },
    );
    (io, results)
}

fn server(ring: Ring) -> (Io, Results) {
    server_with(Config::default(), Options::default().shards(3), ring)
}

pub(super) struct Client(pub(super) Driven);

impl Client {
    pub(super) fn new(io: &Io) -> Self {
        Self(Driven::connected(io))
    }

    pub(super) fn follow(&mut self, room: &str, seen: Option<&str>) -> Vec<String> {
        let seen = seen.map_or_else(|| "null".to_owned(), |seen| format!("\"{seen}\""));
        let _ = self.0.read(&text(&format!(r#"42["follow","{room}",{seen}]"#)));
        self.heard()
    }

    /// Returns the packets that were written, without "42".
    pub(super) fn heard(&mut self) -> Vec<String> {
        let written = self.0.wall.take();
        let (mut rest, mut packets) = (&written[..], Vec::new());
        while let [_, length, tail @ ..] = rest {
            let (length, tail) = match length {
                126 => (u16::from_be_bytes([tail[0], tail[1]]).into(), &tail[2..]),
                length => (usize::from(*length), tail),
            };
            let packet = String::from_utf8_lossy(&tail[..length]).into_owned();
            packets.push(packet.trim_start_matches("42").to_owned());
            rest = &tail[length..];
        }
        packets
    }
}

/// Splits an event into what was sent and its place.
pub(super) fn parts(packet: &str) -> (&str, &str) {
    let (sent, place) = packet
        .rsplit_once(",\"")
        .unwrap_or_else(|| panic!("no place in {packet}"));
    (sent, place.trim_end_matches("\"]"))
}

pub(super) fn place(mark: &str) -> &str {
    mark.split_once(r#""at":""#).unwrap().1.split('"').next().unwrap()
}

pub(super) fn ready(room: &str, place: &str) -> String {
    format!(r#"["history",{{"room":"{room}","state":"ready","at":"{place}"}}]"#)
}

#[test]
fn a_client_gets_what_it_has_missed_and_then_what_comes() {
    let (io, results) = server(Ring::default());
    for n in 0..4 {
        io.to("a1").emit("n", n);
    }
    let mut client = Client::new(&io);
    let heard = client.follow("a1", None);
    let sent: Vec<&str> = heard[..4].iter().map(|packet| parts(packet).0).collect();
    assert_eq!(sent, [r#"["n",0"#, r#"["n",1"#, r#"["n",2"#, r#"["n",3"#]);
    let last = parts(&heard[3]).1;
    assert_eq!(heard[4..], [ready("a1", last)]);
    io.to("a1").emit("n", 4);
    let live = client.heard();
    assert_eq!(
        live.iter().map(|packet| parts(packet).0).collect::<Vec<_>>(),
        [r#"["n",4"#]
    );

    // Another device, which has seen half of it.
    let mut other = Client::new(&io);
    let rest = other.follow("a1", Some(parts(&heard[1]).1));
    assert_eq!(rest[..3], [heard[2].clone(), heard[3].clone(), live[0].clone()]);
    assert_eq!(rest[3..], [ready("a1", parts(&live[0]).1)]);
    // It has seen all.
    assert_eq!(
        other.follow("a1", Some(parts(&live[0]).1)),
        [ready("a1", parts(&live[0]).1)]
    );
    let results = results.lock();
    let missed: Vec<_> = results.iter().map(|result| result.as_ref().unwrap()).collect();
    assert_eq!(
        missed.iter().map(|r| (r.missed, r.truncated)).collect::<Vec<_>>(),
        [(4, false), (3, false), (0, false)]
    );
    assert_eq!(missed[1].at.unwrap().to_string(), parts(&live[0]).1);
}

#[test]
fn what_is_not_kept_any_more_is_never_missing_silently() {
    let ring = Ring {
        packets: 2,
        ..Ring::default()
    };
    let (io, results) = server(ring);
    for n in 0..3 {
        io.to("a1").emit("n", n);
    }
    let mut client = Client::new(&io);
    let heard = client.follow("a1", None);
    assert!(
        heard[0].starts_with(r#"["history",{"room":"a1","state":"truncated""#),
        "{heard:?}"
    );
    assert_eq!((parts(&heard[1]).0, parts(&heard[2]).0), (r#"["n",1"#, r#"["n",2"#));
    assert_eq!(heard.len(), 4);
    // The place in the mark is the one before the oldest that is kept.
    let again = Client::new(&io).follow("a1", Some(place(&heard[0])));
    assert_eq!(again, heard[1..]);
    // A place of another history.
    let foreign = Client::new(&io).follow("a1", Some("0-1"));
    assert_eq!(foreign, heard);
    // A place that was never given.
    let (epoch, _) = parts(&heard[2]).1.split_once('-').unwrap();
    assert_eq!(Client::new(&io).follow("a1", Some(&format!("{epoch}-99"))), heard);
    assert!(results.lock().iter().flatten().all(|resumed| resumed.missed == 2));
    // A text that is no place is an error of the client.
    assert!(client.follow("a1", Some("nonsense")).is_empty());
}

#[test]
fn an_old_place_is_good_while_nothing_was_missed() {
    let (io, _) = server(Ring {
        age: Duration::from_secs(5),
        ..Ring::default()
    });
    let mut client = Client::new(&io);
    client.follow("a1", None);
    io.to("a1").emit("n", 1);
    let heard = client.heard();
    let seen = parts(&heard[0]).1;
    pass(&io, 10_000);
    assert_eq!(io.metrics().history_bytes, 0);
    assert_eq!(io.metrics().histories, 1);
    assert_eq!(Client::new(&io).follow("a1", Some(seen)), [ready("a1", seen)]);
    let late = Client::new(&io).follow("a1", None);
    assert!(late[0].contains("truncated"), "{late:?}");
    assert_eq!(place(&late[0]), seen);
}

#[test]
fn a_room_where_nothing_was_said_has_no_place_yet() {
    let (io, results) = server(Ring::default());
    let mut client = Client::new(&io);
    let nothing = r#"["history",{"room":"a1","state":"ready","at":null}]"#;
    assert_eq!(client.follow("a1", None), [nothing]);
    assert_eq!(io.metrics().histories, 0, "clients make no histories");
    let truncated = client.follow("a1", Some("1-1"));
    assert_eq!(truncated, [nothing.replace("ready", "truncated"), nothing.to_owned()]);
    io.to("a1").emit("n", 1);
    assert_eq!(parts(&client.heard()[0]).0, r#"["n",1"#);
    assert_eq!(results.lock().len(), 2);
}

#[test]
fn a_room_without_history_and_an_id_cannot_be_resumed() {
    let (io, results) = server(Ring::default());
    let mut client = Client::new(&io);
    assert!(client.follow("b", None).is_empty());
    let id = io.sockets()[0].id().to_string();
    io.of("/").history("*", Ring::default());
    assert!(client.follow(&id, None).is_empty());
    assert!(matches!(
        results.lock()[..],
        [
            Err(ResumeError::NoHistory),
            Err(ResumeError::Emit(EmitError::ReservedRoom))
        ]
    ));
    // A message to a socket has no place.
    io.to(&id).emit("n", 1);
    assert_eq!(client.heard(), [r#"["n",1]"#]);
}

#[test]
fn an_event_has_one_place() {
    let (io, _) = server(Ring::default());
    let errors = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&errors);
    io.on_error(move |_, event, error| told.lock().push(format!("{event}: {error}")));
    let mut client = Client::new(&io);
    client.follow("a1", None);
    io.to(["a1", "b"]).emit("n", 1);
    assert!(client.heard().is_empty());
    assert_eq!(
        errors.lock()[..],
        ["n: could not emit: an event to a room with a history is for this room alone"]
    );
    assert!(io.of("/").room("a1").since(None).events.is_empty());
}

#[test]
fn a_volatile_event_is_not_kept_and_moves_nobody() {
    let (io, _) = server(Ring::default());
    let mut client = Client::new(&io);
    client.follow("a1", None);
    io.to("a1").emit("n", 1);
    io.to("a1").volatile().emit("state", "x");
    let heard = client.heard();
    assert_eq!(parts(&heard[1]).0, r#"["state","x""#);
    assert_eq!(parts(&heard[0]).1, parts(&heard[1]).1);
    io.to("a1").emit("n", 2);
    let resumed = Client::new(&io).follow("a1", Some(parts(&heard[1]).1));
    assert_eq!(parts(&resumed[0]).0, r#"["n",2"#);
}

#[test]
fn the_application_reads_what_was_said() {
    let (io, _) = server(Ring::default());
    let room = io.of("/").room("a1");
    let nothing = room.since(None);
    assert!(!nothing.truncated && nothing.at.is_none() && nothing.events.is_empty());
    io.to("a1").emit("n", ("x", 1));
    pass(&io, 1000);
    io.to("a1").emit("bytes", Binary::from(vec![1, 2]));
    let all = room.since(None);
    let [first, second] = &all.events[..] else {
        panic!("{all:?}")
    };
    assert_eq!(
        (&*first.name, first.args.json(), first.age),
        ("n", r#""x",1"#, Duration::from_secs(1))
    );
    assert_eq!(second.args.attachments()[0][..], [1, 2]);
    assert_eq!(all.at, Some(second.at));
    assert_eq!(room.since(Some(first.at)).events.len(), 1);
    assert!(room.since(Some(Offset { epoch: 0, sequence: 0 })).truncated);
}

#[test]
fn rings_and_their_number_are_bounded() {
    let options = Options::default()
        .shards(1)
        .max_history_rooms(3)
        .max_history_bytes(4_000);
    let ring = Ring {
        bytes: 1_500,
        ..Ring::default()
    };
    let (io, _) = server_with(Config::default(), options, ring);
    for n in 0..20 {
        for room in 0..10 {
            io.to(format!("a{room}")).emit("n", "x".repeat(n * 20));
            let metrics = io.metrics();
            assert!(metrics.histories <= 3 && metrics.history_bytes <= 4_000, "{metrics:?}");
        }
    }
    // The room that was used last is there.
    assert!(!io.of("/").room("a9").since(None).events.is_empty());
    // An event that is larger than the ring is not kept, and is missed by nobody silently.
    io.to("a9").emit("n", "x".repeat(3_000));
    let since = io.of("/").room("a9").since(None);
    assert!(since.truncated && since.events.is_empty());
}

#[test]
fn a_ring_of_nothing_is_a_mistake() {
    let (io, _) = server(Ring::default());
    io.of("/").history(
        "b",
        Ring {
            bytes: 0,
            ..Ring::default()
        },
    );
    assert!(matches!(io.check(), Err(RegisterError::Ring { .. })));
}

#[test]
fn a_client_with_more_to_catch_up_than_its_queue_holds_is_waited_for() {
    let config = Config::default().max_queued_packets(16).max_queued_bytes(4 << 10);
    let (io, results) = server_with(config, Options::default().shards(1), Ring::default());
    for n in 0..200 {
        io.to("a1").emit("n", n);
    }
    let mut client = Client::new(&io);
    client.0.wall.room.store(64, Ordering::Relaxed);
    client.0.script.full = true;
    let _ = client.0.read(&text(r#"42["follow","a1",null]"#));
    assert!(results.lock().is_empty());
    client.0.wall.room.store(usize::MAX, Ordering::Relaxed);
    client.0.script.full = false;
    let mut written = Vec::new();
    for _ in 0..100 {
        let _ = client.0.poll();
        pass(&io, 1_000);
        run_tasks();
        written.extend(client.0.wall.take());
    }
    let resumed = *results.lock()[0].as_ref().unwrap();
    assert_eq!((resumed.missed, resumed.truncated), (200, false));
    let written = String::from_utf8_lossy(&written);
    let places: Vec<usize> = (0..200)
        .map(|n| written.find(&format!(r#"["n",{n},"#)).unwrap())
        .collect();
    assert!(places.is_sorted());
    assert!(written.ends_with(r#""]"#) || written.ends_with(r#""}]"#));
}

#[test]
fn a_client_that_is_gone_is_not_waited_for() {
    let config = Config::default().max_queued_packets(16);
    let (io, results) = server_with(config, Options::default().shards(1), Ring::default());
    for n in 0..200 {
        io.to("a1").emit("n", n);
    }
    let mut client = Client::new(&io);
    client.0.wall.room.store(64, Ordering::Relaxed);
    client.0.script.full = true;
    let _ = client.0.read(&text(r#"42["follow","a1",null]"#));
    drop(client);
    for _ in 0..5 {
        pass(&io, 1_000);
        run_tasks();
    }
    assert!(matches!(
        results.lock()[..],
        [Err(ResumeError::Emit(EmitError::Disconnected))]
    ));
}

#[test]
fn clients_of_older_generations_get_places() {
    let (io, _) = server(Ring::default());
    io.of("/")
        .on("follow-old", async |socket: Socket, seen: Option<Offset>| {
            let _ = socket.resume("a1", seen).await;
        });
    io.to("a1").emit("n", 1);
    let mut old = Driven::new(&io, usize::MAX);
    let upgrade = String::from_utf8_lossy(UPGRADE).replace("EIO=4", "EIO=3");
    let _ = old.read(upgrade.as_bytes());
    let _ = old.written();
    let heard = old.says(r#"42["follow-old",null]"#);
    assert!(heard.contains(r#"42["n",1,""#), "{heard}");
    assert!(heard.contains(r#""state":"ready""#), "{heard}");
}

/// Recovery R8, R12.
#[test]
fn with_recovery_a_replay_is_recovered_like_any_event() {
    let options = Options::default()
        .shards(3)
        .recovery(RecoveryConfig::default().window(Duration::from_secs(10)));
    let (io, _) = server_with(Config::default(), options, Ring::default());
    io.to("a1").emit("n", 1);
    let connect = |show: &str| {
        let mut client = Client(Driven::new(&io, usize::MAX));
        let _ = client.0.read(UPGRADE);
        let _ = client.0.written();
        let _ = client.0.read(&text(&format!("40{show}")));
        let mut heard = client.heard();
        let answer = heard.remove(0);
        let pid = answer
            .split_once(r#""pid":""#)
            .unwrap()
            .1
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        (client, pid, heard)
    };
    let (mut client, pid, _) = connect("");
    let heard = client.follow("a1", None);
    assert_eq!(heard.len(), 2);
    // The event has its place in the room, and behind it the offset of the recovery.
    let (sent, offset) = parts(&heard[0]);
    assert_eq!(parts(&format!("{sent}]")).0, r#"["n",1"#);
    drop(client);
    run_tasks();
    io.to("a1").emit("n", 2);
    let (_client, same, missed) = connect(&format!(r#"{{"pid":"{pid}","offset":"{offset}"}}"#));
    assert_eq!(same, pid);
    // The mark and the new event: nothing is lost, nothing comes twice.
    assert_eq!(missed.len(), 2, "{missed:?}");
    assert!(missed[0].starts_with(r#"["history",{"room":"a1","state":"ready""#));
    assert!(missed[1].starts_with(r#"["n",2,""#));
}
