//! Recovery where two things meet: the first record and a message, two parsers, a store that has
//! failed and a process that is killed, credentials and a restart.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sio_proto::server::EngineMessage;
use sio_proto::socket::text::{Decoded, Limits, decode};
use sio_proto::socket::{Packet, Revision, Role};

use crate::adapter::Driver;
use crate::codec::{Messages, PacketError, PacketParser, Parsed};
use crate::store::{Memory, Store};
use crate::tests::pass;
use crate::tests::recovery::{Client, DRAWING, parts, sent, settings};
use crate::tests::stored::{DATED, Faulty, kill, stored};
use crate::{Ack, Comeback, Config, Io, NotRecovered, Options, RecoveryConfig, Socket};

type Act = Box<dyn FnOnce()>;

thread_local!(static BEFORE: Cell<Option<Act>> = const { Cell::new(None) });

/// A parser that writes the standard form with names in capitals, and does something else before it
/// writes the next event.
#[derive(Debug)]
struct Shouting;

impl PacketParser for Shouting {
    fn encode(&self, packet: &Packet, messages: &mut Messages<'_>) -> Result<(), PacketError> {
        let namespace = match &**packet.namespace() {
            "/" => String::new(),
            name => format!("{name},"),
        };
        match packet {
            Packet::Connect { payload, .. } => {
                messages.text(&format!("0{namespace}{}", payload.as_deref().unwrap_or("")))
            }
            Packet::Event { name, args, .. } => {
                if let Some(act) = BEFORE.take() {
                    act();
                }
                messages.text(&format!(r#"2{namespace}["{}",{}]"#, name.to_uppercase(), args.json))
            }
            _ => Err(PacketError::Malformed("not needed")),
        }
    }

    fn decode(&self, message: EngineMessage, limits: &Limits) -> Result<Parsed, PacketError> {
        let EngineMessage::Text(text) = message else {
            return Err(PacketError::WrongKind);
        };
        match decode(&text, Revision::Five, Role::Server, limits)? {
            Decoded::Packet(packet) => Ok(Parsed::Packet(packet)),
            _ => Ok(Parsed::Nothing),
        }
    }
}

fn config() -> Config {
    Config::default().ping_interval(Duration::from_secs(3600))
}

/// Recovery R1, R12: the first client that may come back is let in while a message is on the way to
/// everybody. It hears the message with its number, or it does not hear it; it never hears it
/// without.
#[test]
fn r1_the_first_client_of_a_namespace_counts_from_its_first_moment() {
    for shards in [1, 3] {
        let options = Options::default().shards(shards);
        let io = Io::new(config().parser(Shouting), options, DRAWING).unwrap();
        io.of("/kept").recovery(true);
        // There are sessions in all shards, and no record.
        let others: Vec<Client> = (0..shards).map(|_| Client::new(&io)).collect();
        assert_eq!(io.recoverable(), 0);
        let (client, there) = (Rc::new(Cell::new(None)), io.clone());
        let first = Rc::clone(&client);
        BEFORE.set(Some(Box::new(move || {
            first.set(Some(Client::with(&there, "40/kept,")));
        })));
        io.of("/kept").emit("news", 1);
        io.of("/kept").emit("news", 2);
        let mut client = client.take().expect("it has come meanwhile");
        let heard = client.packets();
        assert_eq!(sent(&heard), [r#"42/kept,["NEWS",1"#, r#"42/kept,["NEWS",2"#]);
        let seen = parts(&heard[0]).1.to_owned();
        let pid = client.cut();
        let connect = format!(r#"40/kept,{{"pid":"{pid}","offset":"{seen}"}}"#);
        let back = Client::with(&io, &connect);
        assert_eq!(sent(&back.first), [r#"42/kept,["NEWS",2"#]);
        let pid = back.cut();
        let back = Client::with(&io, &format!(r#"40/kept,{{"pid":"{pid}"}}"#));
        assert_eq!(back.first.len(), 1, "the offset that it has shown counts");
        drop(others);
    }
}

/// Recovery F6, R7: packets that another parser has written reach nobody. The client is told why.
#[test]
fn r7_messages_of_another_parser_are_not_sent() {
    let disk = Arc::new(Memory::default());
    let serve = |config: Config| {
        let store = Faulty::of(&disk);
        let inner: Arc<dyn Store> = Arc::clone(&store) as _;
        let options = Options::default().shards(1).recovery(settings()).store(inner);
        (Io::new(config, options, DATED).unwrap(), store)
    };
    let (io, store) = serve(config());
    let pid = Client::new(&io).cut();
    io.emit("news", 1);
    kill(io, &store);
    let (io, store) = serve(config().parser(Shouting));
    assert_eq!(io.recoverable(), 1);
    let back = Client::back(&io, &pid, None);
    assert_eq!(
        io.socket(&back.sid).unwrap().recovery(),
        Comeback::Lost(NotRecovered::Parser)
    );
    assert!(back.first.is_empty() && back.pid != pid);
    // Who stays with the parser is recovered.
    let pid = back.cut();
    io.emit("news", 2);
    kill(io, &store);
    let (io, store) = serve(config().parser(Shouting));
    let back = Client::back(&io, &pid, None);
    assert_eq!(sent(&back.first), [r#"42["NEWS",2"#]);
    // The first record was given up for good.
    drop(back);
    kill(io, &store);
    let (io, _) = serve(config());
    assert_eq!(io.recoverable(), 1);
}

/// Recovery F6, R7: the process with another parser is killed as soon as it has written to the
/// store. The one with the earlier parser, which comes back, does not recover a client whose
/// messages have been removed.
#[test]
fn r7_messages_of_another_parser_are_not_removed_without_a_word() {
    let disk = Arc::new(Memory::default());
    let serve = |config: Config, is_killed: bool| {
        let store = Faulty::of(&disk);
        Faulty::set(&store.killed_next, is_killed);
        let inner: Arc<dyn Store> = Arc::clone(&store) as _;
        let options = Options::default().shards(1).recovery(settings()).store(inner);
        (Io::new(config, options, DATED).unwrap(), store)
    };
    let (io, store) = serve(config(), false);
    let pid = Client::new(&io).cut();
    io.emit("news", 1);
    kill(io, &store);
    let (io, store) = serve(config().parser(Shouting), true);
    kill(io, &store);
    let (io, _) = serve(config(), false);
    let back = Client::back(&io, &pid, None);
    assert_eq!(
        io.socket(&back.sid).unwrap().recovery(),
        Comeback::Lost(NotRecovered::Unknown)
    );
}

/// Recovery F16, R7: the store does not take a message, and the process is killed before the store
/// is good again. Nobody is recovered without this message.
#[test]
fn f16_a_store_that_has_failed_recovers_nobody_for_the_next_process() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let pid = Client::new(&io).cut();
    let witness = Client::new(&io);
    // The disk is full: nothing can be written, and files can be removed.
    Faulty::set(&store.full, true);
    io.emit("news", 1);
    let report = io.store().unwrap();
    assert_eq!((report.complete, report.stale), (false, false));
    let _ = io.socket(&witness.sid).unwrap();
    kill(io, &store);
    let io = stored(1, settings(), &Faulty::of(&disk));
    let back = Client::back(&io, &pid, None);
    assert_eq!(
        io.socket(&back.sid).unwrap().recovery(),
        Comeback::Lost(NotRecovered::Unknown)
    );
}

/// Recovery F16, R7: a store that can be neither written nor emptied says so, and is emptied as
/// soon as this works, long before it is filled again.
#[test]
fn f16_a_store_that_cannot_be_emptied_says_so_and_is_emptied_soon() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let pid = Client::new(&io).cut();
    Faulty::set(&store.failing, true);
    io.emit("news", 1);
    assert!(io.store().unwrap().stale && !disk.is_empty());
    pass(&io, 1_000);
    assert!(io.store().unwrap().stale);
    Faulty::set(&store.full, true);
    Faulty::set(&store.failing, false);
    pass(&io, 1_000);
    let report = io.store().unwrap();
    assert!(!report.stale && !report.complete && disk.is_empty());
    kill(io, &store);
    let io = stored(1, settings(), &Faulty::of(&disk));
    let back = Client::back(&io, &pid, None);
    assert_eq!(
        io.socket(&back.sid).unwrap().recovery(),
        Comeback::Lost(NotRecovered::Unknown)
    );
}

/// Recovery R9: a deadline survives the process. Who comes back before it has what is left of it,
/// and who comes back after it is not recovered.
#[test]
fn r9_the_end_of_credentials_survives_the_process() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    io.of("/").with(|socket: Socket| {
        socket.expires_in(Duration::from_secs(5));
        Ok::<(), &'static str>(())
    });
    let (early, late, extended) = (Client::new(&io), Client::new(&io), Client::new(&io));
    io.socket(&extended.sid).unwrap().expires_in(Duration::from_secs(3600));
    kill(io, &store);
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let back = Client::back(&io, &early.pid, None);
    let left = io.socket(&back.sid).unwrap().expires().unwrap();
    assert!(
        back.sid == early.sid && left > Duration::from_secs(3) && left <= Duration::from_secs(5),
        "{left:?}"
    );
    pass(&io, 5_500);
    let back = Client::back(&io, &late.pid, None);
    assert_eq!(
        io.socket(&back.sid).unwrap().recovery(),
        Comeback::Lost(NotRecovered::Unknown)
    );
    let back = Client::back(&io, &extended.pid, None);
    assert!(io.socket(&back.sid).unwrap().recovered());
}

/// Recovery R9: the end of a socket is in the store when the caller goes on, also if the disconnect
/// handler has not run yet. A process that follows recovers no client that was told to go.
#[test]
fn r9_who_was_told_to_go_is_unknown_to_the_next_process() {
    for how in ["revoked while away", "revoked", "disconnected", "expired", "goodbye"] {
        let disk = Arc::new(Memory::default());
        let store = Faulty::of(&disk);
        let io = stored(1, settings(), &store);
        let mut client = Client::new(&io);
        let socket = io.socket(&client.sid).unwrap();
        let pid = client.pid.clone();
        match how {
            "revoked while away" => {
                client.cut();
                assert_eq!(io.revoke(|_| true), 1);
            }
            "revoked" => assert_eq!(io.revoke(|_| true), 1),
            "disconnected" => socket.disconnect(),
            "expired" => {
                socket.expires_in(Duration::from_millis(1));
                crate::tests::set_now(crate::tests::now() + 2_000);
                let _ = Driver::new(&io).handle_timeout(0, std::task::Waker::noop());
            }
            _ => drop(client.driven.read(&crate::tests::text("41"))),
        }
        kill(io, &store);
        let io = stored(1, settings(), &Faulty::of(&disk));
        assert_eq!(io.recoverable(), 0, "{how}");
        let back = Client::back(&io, &pid, None);
        assert!(!io.socket(&back.sid).unwrap().recovered(), "{how}");
    }
}

/// A revocation sees the data of sockets that are known from the store only.
#[test]
fn a_revocation_reads_the_data_of_the_last_process() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let clients = [5_u32, 7].map(|number| {
        let client = Client::new(&io);
        io.socket(&client.sid).unwrap().set_data(number);
        client
    });
    kill(io, &store);
    let io = stored(2, settings(), &Faulty::of(&disk));
    let is_seven = |socket: &Socket| socket.data::<u32>().as_deref() == Some(&7);
    assert_eq!(io.revoke(is_seven), 1);
    let [five, seven] = clients.map(|client| Client::back(&io, &client.pid, None));
    assert!(io.socket(&five.sid).unwrap().recovered());
    assert!(!io.socket(&seven.sid).unwrap().recovered());
}

/// Recovery R6: a revocation sees the rooms of sockets that are known from the store only, and what
/// it does to them reaches the store.
#[test]
fn r6_a_socket_of_the_last_process_knows_its_record() {
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings(), &store);
    let clients = ["red", "blue", "blue"].map(|room| {
        let client = Client::new(&io);
        io.socket(&client.sid).unwrap().join(room).unwrap();
        client
    });
    kill(io, &store);
    let store = Faulty::of(&disk);
    let io = stored(2, settings(), &store);
    let (blue, red) = (clients[1].sid.clone(), clients[0].sid.clone());
    let ended = io.revoke(move |socket: &Socket| {
        let sid = &*socket.id();
        if *sid == *blue {
            socket.expires_in(Duration::from_secs(7));
            socket.set_data(5_u32);
            socket.leave("blue");
            socket.emit("news", 1).unwrap();
        }
        *sid == *red && socket.rooms().iter().any(|room| **room == *"red")
    });
    assert_eq!((ended, io.recoverable()), (1, 2));
    kill(io, &store);
    let io = stored(1, settings(), &Faulty::of(&disk));
    let [red, blue, other] = clients.map(|client| (Client::back(&io, &client.pid, None), client.sid));
    assert_ne!(red.0.sid, red.1);
    assert_eq!((&blue.0.sid, &other.0.sid), (&blue.1, &other.1));
    let [socket, other] = [blue.1, other.1].map(|sid| io.socket(&sid).unwrap());
    assert!(socket.expires().unwrap() <= Duration::from_secs(7) && other.expires().is_none());
    assert_eq!(socket.data::<u32>().as_deref(), Some(&5));
    assert_eq!((socket.rooms().len(), other.rooms().len()), (1, 2));
    assert_eq!(sent(&blue.0.first), [r#"42["news",1"#]);
}

/// An id of the application is that of the socket in the next process, too, and messages to it are
/// replayed.
#[test]
fn ids_of_the_application_survive_the_process() {
    let disk = Arc::new(Memory::default());
    let serve = || {
        let store = Faulty::of(&disk);
        let inner: Arc<dyn Store> = Arc::clone(&store) as _;
        let options = Options::default().shards(1).recovery(settings()).store(inner);
        let io = Io::new(config().socket_id_prefix("user:"), options, DATED).unwrap();
        io.generate_id(|_| Some("user:7".to_owned()));
        (io, store)
    };
    let (io, store) = serve();
    let client = Client::new(&io);
    assert_eq!(client.sid, "user:7");
    let pid = client.cut();
    io.to("user:7").emit("news", 1);
    kill(io, &store);
    let (io, store) = serve();
    io.to("user:7").emit("news", 2);
    let mut back = Client::back(&io, &pid, None);
    assert_eq!(
        (&*back.sid, sent(&back.first)),
        ("user:7", vec![r#"42["news",1"#, r#"42["news",2"#])
    );
    io.socket("user:7").expect("found by its id").emit("news", 3).unwrap();
    assert_eq!(sent(&back.packets()), [r#"42["news",3"#]);
    // The id is free when the record has ended.
    let _ = back.driven.read(&crate::tests::text("41"));
    crate::tests::run_tasks();
    assert_eq!(io.recoverable(), 0);
    assert_eq!(Client::new(&io).sid, "user:7");
    kill(io, &store);
}

/// Clients that are away, by their sockets.
fn away(io: &Io, count: usize) -> Vec<(String, String)> {
    let cut = |_| {
        let client = Client::new(io);
        let gone = (client.sid.clone(), client.cut());
        pass(io, 10);
        gone
    };
    (0..count).map(cut).collect()
}

/// The limit [`RecoveryConfig::max_away_bytes`]: the one that has been away for longest goes, and
/// what is counted is what is kept: the socket, its handshake, its `auth` and its rooms. It holds
/// for clients of the last process, too.
#[test]
fn more_bytes_of_clients_that_are_away_than_may_be_push_out_the_oldest() {
    const MAX: usize = 10_000;
    let disk = Arc::new(Memory::default());
    let store = Faulty::of(&disk);
    let io = stored(1, settings().max_away_bytes(MAX), &store);
    let expired = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = Arc::clone(&expired);
    io.on_expired(move |socket| tell.lock().unwrap().push(socket.id().to_string()));
    let clients = away(&io, 20);
    let kept = io.recoverable();
    assert!((4..15).contains(&kept), "{kept}");
    let oldest: Vec<&String> = clients.iter().take(20 - kept).map(|(sid, _)| sid).collect();
    assert_eq!(expired.lock().unwrap().iter().collect::<Vec<_>>(), oldest);
    assert!(!Client::back(&io, &clients[0].1, None).sid.eq(&clients[0].0));
    assert_eq!(Client::back(&io, &clients[19].1, None).sid, clients[19].0);
    kill(io, &store);
    // Of the last process only the ids and the rooms are known.
    let io = stored(1, settings().max_away_bytes(MAX / 4), &Faulty::of(&disk));
    assert!((1..kept).contains(&io.recoverable()), "{}", io.recoverable());
}

/// The limits [`RecoveryConfig::max_away`] and [`RecoveryConfig::window`].
#[test]
fn more_clients_than_may_be_away_push_out_the_oldest() {
    let settings = RecoveryConfig::default().max_away(2).window(Duration::from_secs(3));
    let options = Options::default().shards(1).recovery(settings);
    let io = Io::new(config(), options, DRAWING).unwrap();
    let clients = away(&io, 3);
    assert_eq!(io.recoverable(), 2);
    let back = Client::back(&io, &clients[0].1, None);
    assert_eq!(
        io.socket(&back.sid).unwrap().recovery(),
        Comeback::Lost(NotRecovered::Unknown)
    );
    assert_eq!(Client::back(&io, &clients[1].1, None).sid, clients[1].0);
    pass(&io, 3_500);
    let late = Client::back(&io, &clients[2].1, None);
    assert_eq!(
        io.socket(&late.sid).unwrap().recovery(),
        Comeback::Lost(NotRecovered::Unknown)
    );
}

/// The limit [`RecoveryConfig::max_log_bytes`] (recovery F17, R8): the oldest messages go, and
/// clients that have not seen them are not recovered.
#[test]
fn more_bytes_of_messages_than_may_be_kept_push_out_the_oldest() {
    let settings = settings().max_log_bytes(1_000);
    let options = Options::default().shards(1).recovery(settings);
    let io = Io::new(config(), options, DRAWING).unwrap();
    let mut client = Client::new(&io);
    io.emit("news", 1);
    let seen = parts(&client.packets()[0]).1.to_owned();
    let pid = client.cut();
    for n in 2..4 {
        io.emit("news", n);
    }
    let back = Client::back(&io, &pid, Some(&seen));
    assert_eq!(back.first.len(), 2);
    let pid = back.cut();
    for n in 4..40 {
        io.emit("news", n);
    }
    let back = Client::back(&io, &pid, Some(&seen));
    let outcome = io.socket(&back.sid).unwrap().recovery();
    assert!(
        matches!(outcome, Comeback::Lost(NotRecovered::Truncated(_))),
        "{outcome:?}"
    );
}

/// Recovery F10: a window without an end is bounded by the other limits.
#[test]
fn f10_an_infinite_window_is_bounded_by_the_other_limits() {
    let settings = RecoveryConfig::default()
        .window(Duration::MAX)
        .max_away(3)
        .max_log_packets(5);
    let options = Options::default().shards(1).recovery(settings);
    let io = Io::new(config(), options, DRAWING).unwrap();
    let clients = away(&io, 10);
    for n in 0..100 {
        io.emit("news", n);
    }
    pass(&io, 86_400_000);
    assert_eq!(io.recoverable(), 3);
    let back = Client::back(&io, &clients[9].1, None);
    let outcome = io.socket(&back.sid).unwrap().recovery();
    assert!(
        matches!(outcome, Comeback::Lost(NotRecovered::Truncated(_))),
        "{outcome:?}"
    );
}

/// Recovery R7: the application learns how long a client was away and how much was said meanwhile,
/// whether the client could be recovered or not, and all of it is counted.
#[test]
fn r7_absences_are_told_and_counted() {
    let options = Options::default().shards(1).recovery(settings().max_log_packets(3));
    let io = Io::new(config(), options, DRAWING).unwrap();
    let client = Client::new(&io);
    assert!(io.socket(&client.sid).unwrap().absence().is_none());
    let pid = client.cut();
    pass(&io, 3_000);
    io.emit("news", 1);
    io.emit("news", 2);
    let back = Client::back(&io, &pid, None);
    let absence = io.socket(&back.sid).unwrap().absence().unwrap();
    assert_eq!((absence.away, absence.messages), (Duration::from_secs(3), 2));
    let counts = io.metrics().recovery;
    assert_eq!((counts.recovered, counts.replayed, counts.expired), (1, 2, 0));
    assert_eq!(
        (counts.away, counts.longest_away),
        (Duration::from_secs(3), Duration::from_secs(3))
    );
    let pid = back.cut();
    pass(&io, 2_000);
    for n in 0..5 {
        io.emit("news", n);
    }
    let lost = Client::back(&io, &pid, None);
    let socket = io.socket(&lost.sid).unwrap();
    assert!(matches!(socket.recovery(), Comeback::Lost(NotRecovered::Truncated(_))));
    let absence = socket.absence().unwrap();
    assert_eq!((absence.away, absence.messages), (Duration::from_secs(2), 7));
    let _unknown = Client::back(&io, "AAAAAAAAAAAAAAAAAAAAAAAA", None);
    let metrics = io.metrics();
    let lost: Vec<_> = metrics.recovery.lost().filter(|(_, count)| *count > 0).collect();
    assert_eq!(lost, [("unknown", 1), ("truncated", 1)]);
    assert_eq!((metrics.recovery.recovered, metrics.recovery.expired), (1, 1));
    let text = metrics.to_prometheus();
    for line in [
        "sio_recovered_total 1",
        "sio_replayed_messages_total 2",
        "sio_records_expired_total 1",
        "sio_recovered_away_seconds_total 3",
        "sio_recovered_longest_away_seconds 3",
        "sio_not_recovered_total{why=\"truncated\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

/// Recovery F13: what a genuine client sends is not covered. An event that it sends again after a
/// cut, because it has no acknowledgement, is heard again.
#[test]
fn f13_a_repeated_event_of_a_genuine_client_is_heard_again() {
    let options = Options::default().shards(1).recovery(settings());
    let io = Io::new(config(), options, DRAWING).unwrap();
    let heard = Arc::new(std::sync::Mutex::new(0));
    let count = Arc::clone(&heard);
    io.of("/").on("order", move |_: Socket, ack: Ack| {
        *count.lock().unwrap() += 1;
        ack.send("taken");
    });
    let order = crate::tests::text(r#"421["order"]"#);
    let mut client = Client::new(&io);
    let _ = client.driven.read(&order);
    let mut back = Client::back(&io, &client.cut(), None);
    let _ = back.driven.read(&order);
    assert_eq!(back.packets(), [r#"431["taken"]"#]);
    assert_eq!(*heard.lock().unwrap(), 2);
}
