//! Recovery of clients of 4.6 and later.
//!
//! A test whose name begins with `r` and a number is that of the requirement with this number.

use std::cell::Cell;
use std::future::Future;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sio_proto::server::Direct;
use sio_proto::socket::Offset;

use crate::adapter::Runtime;
use crate::tests::{Driven, RUNTIME, UPGRADE, drop_tasks, now, pass, run_tasks, set_now, text};
use crate::turn::numbered::send_written;
use crate::{AckError, Binary, Comeback, Config, EmitError, Io, NotRecovered, Options, RecoveryConfig, Socket};

thread_local!(static DRAWN: Cell<u32> = const { Cell::new(0) });

/// A runtime whose random bytes differ each time.
pub(super) const DRAWING: Runtime = Runtime {
    fill: |out| {
        DRAWN.set(DRAWN.get() + 1);
        let number = DRAWN.get().to_le_bytes();
        let bytes = number.iter().cycle();
        out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = *byte);
    },
    ..RUNTIME
};

pub(super) fn settings() -> RecoveryConfig {
    RecoveryConfig::default().window(Duration::from_secs(10))
}

fn recovering(shards: usize, settings: RecoveryConfig) -> Io {
    let config = Config::default().ping_interval(Duration::from_secs(3600));
    let options = Options::default().shards(shards).recovery(settings);
    let io = Io::new(config, options, DRAWING).unwrap();
    io.of("/").on_connect(|socket: Socket| {
        socket.set_data(7_u32);
    });
    io
}

/// A client, with what it keeps to come back.
pub(super) struct Client {
    pub(super) driven: Driven,
    pub(super) sid: String,
    pub(super) pid: String,
    /// What was written behind the answer to its CONNECT.
    pub(super) first: Vec<String>,
    /// How many of its events the answer confirms.
    pub(super) confirmed: Option<u64>,
}

impl Client {
    pub(super) fn new(io: &Io) -> Self {
        Self::with(io, "40")
    }

    pub(super) fn back(io: &Io, pid: &str, offset: Option<&str>) -> Self {
        Self::with(io, &show(pid, offset))
    }

    pub(super) fn with(io: &Io, connect: &str) -> Self {
        let start = now();
        let mut driven = Driven::new(io, usize::MAX);
        let _ = driven.read(UPGRADE);
        let _ = driven.written();
        // The tests ask for exact times, without the pause behind the handshake.
        set_now(start);
        let _ = driven.read(&text(connect));
        let mut packets = packets(&mut driven);
        let answer = packets.remove(0);
        let field = |name: &str| {
            let (_, behind) = answer.split_once(&format!(r#""{name}":""#))?;
            Some(behind.split('"').next()?.to_owned())
        };
        Self {
            driven,
            sid: field("sid").unwrap_or_else(|| panic!("the first packet is the answer: {answer}")),
            pid: field("pid").unwrap_or_default(),
            confirmed: answer
                .split_once(r#""sio.confirmed":"#)
                .map(|(_, behind)| behind.trim_end_matches('}').parse().unwrap()),
            first: packets,
        }
    }

    pub(super) fn packets(&mut self) -> Vec<String> {
        packets(&mut self.driven)
    }

    pub(super) fn cut(self) -> String {
        drop(self.driven);
        run_tasks();
        self.pid
    }
}

pub(super) fn show(pid: &str, offset: Option<&str>) -> String {
    match offset {
        Some(offset) => format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#),
        None => format!(r#"40{{"pid":"{pid}"}}"#),
    }
}

/// Returns the packets in what was written: text frames of less than 126 bytes, and the end.
pub(super) fn packets(driven: &mut Driven) -> Vec<String> {
    let written = driven.wall.take();
    let (mut rest, mut packets) = (&written[..], Vec::new());
    while let [head, len, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(usize::from(*len));
        packets.push(match head {
            0x81 => String::from_utf8_lossy(payload).into_owned(),
            _ => "(end)".to_owned(),
        });
        rest = behind;
    }
    packets
}

/// Splits an event into what was sent and its offset.
pub(super) fn parts(packet: &str) -> (&str, &str) {
    let (sent, offset) = packet.rsplit_once(",\"").expect("an offset");
    (sent, offset.trim_end_matches("\"]"))
}

pub(super) fn sent(packets: &[String]) -> Vec<&str> {
    packets.iter().map(|packet| parts(packet).0).collect()
}

#[test]
fn without_recovery_nothing_is_told_and_nothing_is_kept() {
    let io = Io::new(Config::default(), Options::default().shards(1), DRAWING).unwrap();
    let mut client = Client::new(&io);
    assert_eq!((&*client.pid, io.recoverable()), ("", 0));
    io.emit("news", 1);
    assert_eq!(client.packets(), [r#"42["news",1]"#]);
    let gone = io.sockets().remove(0);
    drop(client);
    assert!(matches!(gone.emit("news", 2), Err(EmitError::Disconnected)));
    // A namespace may ask for it.
    io.of("/kept").recovery(true);
    let kept = Client::with(&io, "40/kept,");
    assert_eq!((kept.pid.len(), io.recoverable()), (24, 1));
}

/// Recovery R1, F1.
#[test]
fn r1_a_client_that_has_seen_nothing_comes_back_and_hears_what_it_missed() {
    let io = recovering(4, settings());
    let client = Client::new(&io);
    let sid = client.sid.clone();
    let pid = client.cut();
    io.emit("news", 1);
    io.emit("news", 2);
    let back = Client::back(&io, &pid, None);
    assert_eq!((&back.sid, &back.pid), (&sid, &pid));
    assert_eq!(sent(&back.first), [r#"42["news",1"#, r#"42["news",2"#]);
    let socket = io.socket(&sid).unwrap();
    assert_eq!(socket.recovery(), Comeback::Recovered { missed: 2 });
    assert!(socket.recovered());
    assert_eq!(socket.data::<u32>().as_deref(), Some(&7));
}

/// Recovery R2, F2.
#[test]
fn r2_a_client_that_was_idle_for_longer_than_the_window_is_recovered() {
    let io = recovering(1, settings());
    let mut client = Client::new(&io);
    io.emit("news", 1);
    let seen = client.packets().remove(0);
    pass(&io, 60_000);
    let pid = client.cut();
    let back = Client::back(&io, &pid, Some(parts(&seen).1));
    assert_eq!(back.pid, pid);
    assert!(back.first.is_empty());
}

/// Recovery R3, F3.
#[test]
fn r3_a_client_with_a_half_dead_connection_takes_its_place() {
    let io = recovering(3, settings());
    let mut old = Client::new(&io);
    io.emit("news", 1);
    let seen = old.packets().remove(0);
    let mut new = Client::back(&io, &old.pid, Some(parts(&seen).1));
    assert_eq!((&new.sid, io.sockets().len()), (&old.sid, 1));
    assert_eq!(old.packets().last().map(String::as_str), Some("(end)"));
    // The end of the old connection does not end the record.
    drop(old);
    io.emit("news", 2);
    assert_eq!(sent(&new.packets()), [r#"42["news",2"#]);
    let (sid, pid) = (new.sid.clone(), new.cut());
    assert_eq!(Client::back(&io, &pid, None).sid, sid);
}

/// Recovery R4, F4.
#[test]
fn r4_a_volatile_event_that_ends_in_a_text_carries_an_offset() {
    let io = recovering(1, settings());
    let mut client = Client::new(&io);
    io.emit("news", 1);
    io.volatile().emit("state", "a text");
    let heard = client.packets();
    assert_eq!(sent(&heard), [r#"42["news",1"#, r#"42["state","a text""#]);
    assert_eq!(parts(&heard[0]).1, parts(&heard[1]).1);
    let pid = client.cut();
    io.volatile().emit("state", "nobody hears this");
    io.emit("news", 2);
    let back = Client::back(&io, &pid, Some(parts(&heard[1]).1));
    assert_eq!(sent(&back.first), [r#"42["news",2"#]);
}

/// Recovery R5, F5.
#[test]
fn r5_nothing_is_repeated_by_the_next_recovery() {
    let io = recovering(2, settings());
    let mut pid = Client::new(&io).cut();
    let mut offset: Option<String> = None;
    for n in 0..20 {
        io.emit("news", n);
        let back = Client::back(&io, &pid, offset.as_deref());
        assert_eq!(sent(&back.first), [format!(r#"42["news",{n}"#)]);
        offset = Some(parts(&back.first[0]).1.to_owned());
        pid = back.cut();
    }
}

/// Recovery R6.
#[test]
fn r6_joins_and_leaves_reach_the_record_in_their_order() {
    let io = recovering(2, settings());
    let client = Client::new(&io);
    let other = Client::new(&io);
    let socket = io.socket(&client.sid).unwrap();
    socket.join(["one", "two"]).unwrap();
    io.to("two").leave("two");
    io.to(socket.id()).join("three");
    let (sid, pid) = (client.sid.clone(), client.cut());
    for room in ["one", "two", "three"] {
        io.to(room).emit("news", room);
    }
    io.socket(&other.sid).unwrap().to("one").emit("news", "of another");
    socket.to("one").emit("news", "its own");
    io.except("three").emit("news", "not for the third");
    let back = Client::back(&io, &pid, None);
    let expected = [
        r#"42["news","one""#,
        r#"42["news","three""#,
        r#"42["news","of another""#,
    ];
    assert_eq!(sent(&back.first), expected);
    let socket = io.socket(&sid).unwrap();
    let mut rooms: Vec<String> = socket.rooms().iter().map(ToString::to_string).collect();
    rooms.sort_unstable();
    let mut expected = vec!["one".to_owned(), "three".to_owned(), sid];
    expected.sort_unstable();
    assert_eq!(rooms, expected);
    assert_eq!(io.of("/").rooms().len(), 2, "the room of an id is nobody's business");
}

/// Recovery R7.
#[test]
fn r7_a_client_that_cannot_be_recovered_is_told_so() {
    let io = recovering(1, settings().max_log_packets(2));
    let (told, expired) = mpsc::channel();
    io.on_expired(move |socket| told.send(socket.id().to_string()).unwrap());
    let client = Client::new(&io);
    let (sid, pid) = (client.sid.clone(), client.cut());
    for n in 0..3 {
        io.emit("news", n);
    }
    let back = Client::back(&io, &pid, None);
    assert!(back.sid != sid && back.pid != pid && back.first.is_empty());
    let socket = io.socket(&back.sid).unwrap();
    assert!(!socket.recovered());
    assert!(matches!(socket.recovery(), Comeback::Lost(NotRecovered::Truncated(_))));
    assert_eq!(expired.try_iter().collect::<Vec<_>>(), [sid]);
    let unknown = Client::back(&io, "AAAAAAAAAAAAAAAAAAAAAAAA", None);
    let socket = io.socket(&unknown.sid).unwrap();
    assert_eq!(socket.recovery(), Comeback::Lost(NotRecovered::Unknown));
}

/// Recovery R8.
#[test]
fn r8_more_than_a_queue_holds_is_not_replayed() {
    let mut config = Config::default();
    config.max_queued_packets = 10;
    let options = Options::default().shards(1).recovery(settings());
    let io = Io::new(config, options, DRAWING).unwrap();
    let pid = Client::new(&io).cut();
    for n in 0..20 {
        io.emit("news", n);
    }
    let back = Client::back(&io, &pid, None);
    let recovery = io.socket(&back.sid).unwrap().recovery();
    assert!(matches!(
        recovery,
        Comeback::Lost(NotRecovered::TooMuch { packets: 20, .. })
    ));
}

#[test]
fn r8_attachments_count_as_packets_of_the_queue() {
    let mut config = Config::default();
    config.max_queued_packets = 10;
    let options = Options::default().shards(1).recovery(settings());
    let io = Io::new(config, options, DRAWING).unwrap();
    for (events, recovered) in [(4, true), (5, false)] {
        let pid = Client::new(&io).cut();
        for _ in 0..events {
            io.emit("bytes", Binary::from(vec![1, 2, 3]));
        }
        let back = Client::back(&io, &pid, None);
        assert_eq!(io.socket(&back.sid).unwrap().recovered(), recovered);
        assert_eq!(back.first.len(), if recovered { 2 * events } else { 0 });
    }
}

/// Recovery R9, F11.
#[test]
fn r9_middlewares_decide_again_unless_they_are_skipped() {
    for skips in [false, true] {
        let io = recovering(1, settings().skip_middlewares(skips));
        let locked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let is_locked = std::sync::Arc::clone(&locked);
        let (told, seen) = mpsc::channel();
        io.of("/").with(move |socket: Socket| {
            told.send((socket.id().to_string(), socket.data::<u32>().is_some()))
                .unwrap();
            match is_locked.load(std::sync::atomic::Ordering::Relaxed) {
                true => Err("locked out"),
                false => Ok(()),
            }
        });
        let client = Client::new(&io);
        let (sid, pid) = (client.sid.clone(), client.cut());
        assert_eq!(seen.try_recv(), Ok((sid.clone(), false)));
        locked.store(true, std::sync::atomic::Ordering::Relaxed);
        if skips {
            assert_eq!(Client::back(&io, &pid, None).sid, sid);
            continue;
        }
        let mut refused = Driven::new(&io, usize::MAX);
        let _ = refused.read(UPGRADE);
        assert!(refused.says(&show(&pid, None)).contains("locked out"));
        assert_eq!(seen.try_recv(), Ok((sid.clone(), true)), "its old id and its data");
        locked.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(Client::back(&io, &pid, None).sid, sid);
    }
}

/// Recovery R10, F12.
#[test]
fn r10_a_record_that_ends_unused_is_reported() {
    let io = recovering(2, settings());
    let (told, expired) = mpsc::channel();
    io.on_expired(move |socket| {
        let data = socket.data::<u32>().as_deref().copied();
        told.send((socket.id().to_string(), socket.is_connected(), data))
            .unwrap();
    });
    let client = Client::new(&io);
    let (sid, pid) = (client.sid.clone(), client.cut());
    pass(&io, 9_000);
    assert!(expired.try_recv().is_err());
    pass(&io, 1_500);
    assert_eq!(expired.try_recv(), Ok((sid, false, Some(7))));
    assert_eq!(io.recoverable(), 0);
    let back = Client::back(&io, &pid, None);
    assert_eq!(
        io.socket(&back.sid).unwrap().recovery(),
        Comeback::Lost(NotRecovered::Unknown)
    );
}

/// Recovery R12, F18, F19: what was missed comes behind the answer to the CONNECT, and before what
/// is new.
#[test]
fn r12_replay_and_live_messages_are_one_sequence() {
    let io = recovering(4, settings());
    io.of("/")
        .on_connect(|socket: Socket| socket.emit("hello", socket.recovered()));
    let client = Client::new(&io);
    assert_eq!(sent(&client.first), [r#"42["hello",false"#]);
    let offset = parts(&client.first[0]).1.to_owned();
    let pid = client.cut();
    io.emit("news", 1);
    let mut back = Client::back(&io, &pid, Some(&offset));
    io.emit("news", 2);
    let mut heard = back.first.clone();
    heard.extend(back.packets());
    assert_eq!(sent(&heard), [r#"42["news",1"#, r#"42["hello",true"#, r#"42["news",2"#]);
}

#[test]
fn a_goodbye_is_final() {
    let io = recovering(1, settings());
    let mut left = Client::new(&io);
    let _ = left.driven.read(&text("41"));
    let thrown = Client::new(&io);
    io.socket(&thrown.sid).unwrap().disconnect();
    let closed = Client::new(&io);
    io.socket(&closed.sid).unwrap().close();
    run_tasks();
    assert_eq!(io.recoverable(), 0);
    for client in [left, thrown, closed] {
        let (sid, pid) = (client.sid.clone(), client.cut());
        assert_ne!(Client::back(&io, &pid, None).sid, sid);
    }
}

#[test]
fn what_is_sent_to_a_socket_that_is_away_waits_for_it() {
    let io = recovering(2, settings());
    let client = Client::new(&io);
    let gone = io.socket(&client.sid).unwrap();
    let (sid, pid) = (client.sid.clone(), client.cut());
    gone.emit("news", 1).unwrap();
    io.to(&sid).emit("news", 2);
    gone.volatile().emit("news", 3);
    let mut back = Client::back(&io, &pid, None);
    assert_eq!(sent(&back.first), [r#"42["news",1"#, r#"42["news",2"#]);
    // An old handle and the old id find the socket in its new place.
    gone.emit("news", 4).unwrap();
    io.to(&sid).emit("news", 5);
    io.socket(&sid).unwrap().emit("news", 6).unwrap();
    let expected = [r#"42["news",4"#, r#"42["news",5"#, r#"42["news",6"#];
    assert_eq!(sent(&back.packets()), expected);
    let _ = back.driven.read(&text("41"));
    assert!(matches!(gone.emit("news", 7), Err(EmitError::Disconnected)));
}

/// Guarantees G12, recovery F14: a question is not kept. Who waits for the answer learns of the cut
/// at once, and an answer that comes after it is ignored.
#[test]
fn a_question_does_not_outlive_its_connection() {
    const LIMIT: Duration = Duration::from_secs(60);
    let io = recovering(2, settings());
    let mut client = Client::new(&io);
    let socket = io.socket(&client.sid).unwrap();
    let mut one = Box::pin(socket.timeout(LIMIT).emit_with_ack::<u8>("q", ()));
    let mut all = Box::pin(io.timeout(LIMIT).emit_with_ack::<u8>("q", ()));
    let ids: Vec<String> = client
        .packets()
        .iter()
        .map(|packet| packet[2..].replace(r#"["q"]"#, ""))
        .collect();
    let (sid, pid) = (client.sid.clone(), client.cut());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(matches!(
        one.as_mut().poll(cx),
        Poll::Ready(Err(AckError::Disconnected))
    ));
    let Poll::Ready(Ok(answers)) = all.as_mut().poll(cx) else {
        panic!("the only recipient is gone")
    };
    assert!(matches!(&answers.missing[..], [(id, AckError::Disconnected)] if *id.as_str() == *sid));
    // The client is away: it cannot be asked.
    let mut away = Box::pin(socket.emit_with_ack::<u8>("q", ()));
    let away = away.as_mut().poll(cx);
    assert!(
        matches!(away, Poll::Ready(Err(AckError::Emit(EmitError::Disconnected)))),
        "{away:?}"
    );
    let nobody = Box::pin(io.timeout(LIMIT).emit_with_ack::<u8>("q", ()))
        .as_mut()
        .poll(cx);
    assert!(matches!(nobody, Poll::Ready(Ok(none)) if none.is_complete()));
    // It comes back, has missed nothing, and answers too late.
    let mut back = Client::back(&io, &pid, None);
    assert_eq!((&back.sid, back.first.len()), (&sid, 0));
    let mut again = Box::pin(io.socket(&sid).unwrap().emit_with_ack::<u8>("q", ()));
    for id in ids {
        let _ = back.driven.read(&text(&format!("43{id}[1]")));
    }
    assert!(again.as_mut().poll(cx).is_pending());
}

#[test]
fn a_socket_that_has_come_back_may_be_in_as_many_rooms_as_before() {
    let mut config = Config::default();
    config.max_rooms_per_socket = 2;
    let io = Io::new(config, Options::default().shards(1).recovery(settings()), DRAWING).unwrap();
    let client = Client::new(&io);
    io.socket(&client.sid).unwrap().join(["a", "b"]).unwrap();
    let (sid, pid) = (client.sid.clone(), client.cut());
    let _back = Client::back(&io, &pid, None);
    let socket = io.socket(&sid).unwrap();
    assert_eq!(socket.rooms().len(), 3);
    assert!(matches!(socket.join("c"), Err(EmitError::Full)));
    socket.join(&sid).unwrap();
    assert_eq!((io.of("/").room_len(&sid), io.of("/").room_len("a")), (1, 1));
}

/// Recovery R12. The arguments of an event are user code, which may itself send.
#[test]
fn an_event_that_is_sent_while_another_is_written_comes_first() {
    struct Sends(Io);

    impl serde::Serialize for Sends {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.emit("all", 1);
            self.0.sockets()[0].emit("one", 1).unwrap();
            serializer.serialize_u8(2)
        }
    }

    let io = recovering(1, settings());
    let mut client = Client::new(&io);
    let socket = io.socket(&client.sid).unwrap();
    socket.emit("one", Sends(io)).unwrap();
    let packets = client.packets();
    assert_eq!(sent(&packets), [r#"42["all",1"#, r#"42["one",1"#, r#"42["one",2"#]);
    assert!(packets.is_sorted_by(|a, b| parts(a).1 < parts(b).1));
}

/// Recovery R12: a packet whose number another message has taken is not sent, and not kept.
#[test]
fn a_number_that_is_taken_is_not_used_again() {
    let io = recovering(1, settings());
    let mut client = Client::new(&io);
    let socket = io.socket(&client.sid).unwrap();
    let cell = &socket.0;
    let numbered = cell.numbered().unwrap();
    let written = |offset: Offset| {
        let mut out = bytes::BytesMut::new();
        let direct = Direct::event(cell.form, &cell.cell.config, "/", "one", &mut out).unwrap();
        out.extend_from_slice(b"1");
        let place = (numbered.1.epoch(), offset.sequence);
        direct.finish_at(place, &[], &mut out).unwrap()
    };
    let next = || numbered.1.last().next();
    let stale = next();
    socket.emit("one", 0).unwrap();
    let send = |offset| send_written(cell, numbered, offset, &written(offset), 1);
    assert!(send(stale).is_none());
    assert!(send(next()).unwrap().is_ok());
    assert_eq!(sent(&client.packets()), [r#"42["one",0"#, r#"42["one",1"#]);
    assert_eq!(
        sent(&Client::back(&io, &client.cut(), None).first),
        [r#"42["one",0"#, r#"42["one",1"#]
    );
}

/// Recovery R12, F18.
#[test]
fn all_threads_count_as_one() {
    let io = recovering(3, settings());
    let mut clients: Vec<Client> = (0..3).map(|_| Client::new(&io)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (io, sid) = (io.clone(), clients[thread % 3].sid.clone());
            scope.spawn(move || {
                for n in 0..200 {
                    io.emit("all", n);
                    io.socket(&sid).unwrap().emit("one", n).unwrap();
                }
                drop_tasks();
            });
        }
    });
    let mut heard = 0;
    for client in &mut clients {
        let packets = client.packets();
        let numbers = packets.iter().map(|packet| parts(packet).1.split_once('-').unwrap().1);
        let numbers: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
        assert!(
            numbers.is_sorted_by(|a, b| a < b),
            "the order of numbers is that of the queue"
        );
        heard += packets.len();
    }
    assert_eq!(heard, 4 * 200 * (3 + 1));
}

#[test]
fn nothing_is_left_of_clients_that_have_come_and_gone() {
    let io = recovering(2, settings());
    for n in 0..300_u32 {
        let client = Client::new(&io);
        io.socket(&client.sid).unwrap().join(n.to_string()).unwrap();
        let pid = client.cut();
        io.to(n.to_string()).emit("news", n);
        if n % 3 == 0 {
            let back = Client::back(&io, &pid, None);
            assert_eq!(back.first.len(), 1);
        }
    }
    assert_eq!(io.recoverable(), 300);
    pass(&io, 11_000);
    assert_eq!((io.recoverable(), io.sessions(), io.sockets().len()), (0, 0, 0));
}
