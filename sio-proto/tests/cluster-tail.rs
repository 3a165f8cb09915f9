//! What a stream had before a node reads it, for histories of rooms
//! (`sio_proto::cluster::Tail`, docs/protocol/cluster-redis.md §4.1).
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::time::Duration;

use sio_proto::broker::{Answer, BrokerError, Command, Entry, Request};
use sio_proto::cluster::messages::{Body, Envelope};
use sio_proto::cluster::{Emit, Emitter, Flags, Order, Tail, TailStep, Target};
use sio_proto::socket::Args;
use sio_proto::{ByteString, Bytes, ClusterConfig, ClusterKind, Secret, StreamsConfig};

const ROOT: ByteString = ByteString::from_static("/");

/// When the entry with the number 0 was stored.
const BEGIN: u64 = 100_000;

fn config() -> ClusterConfig {
    ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()))
}

fn id(number: u64) -> Bytes {
    Bytes::from(format!("{}-0", BEGIN + number))
}

fn fields_of(namespace: &ByteString, to: Target, flags: Flags, name: &str) -> Vec<(Bytes, Bytes)> {
    let envelope = Envelope {
        uid: "u".into(),
        namespace: namespace.clone(),
        body: Body::Broadcast {
            to,
            flags,
            emit: Emit {
                name: name.into(),
                args: Args::from(ByteString::from_static("1")),
            },
            request_id: None,
        },
    };
    envelope.encode_entry()
}

/// An event to the room `h` for each number.
fn stream_of(numbers: std::ops::Range<u64>) -> Vec<Entry> {
    let entry = |number: u64| Entry {
        id: id(number),
        fields: fields_of(&ROOT, Target::room("h"), Flags::default(), &format!("e{number}")),
    };
    numbers.map(entry).collect()
}

/// What the broker answers.
fn answer(entries: &[Entry], request: &Request) -> Answer {
    let Request::RangeBack { stream, from, count } = request else {
        panic!("{request:?}");
    };
    assert_eq!((&stream[..], *count), (&b"socket.io"[..], 26), "a read is bounded");
    let part = entries.iter().rev().filter(|entry| entry.id <= *from);
    Answer::Entries(part.take(*count as usize).cloned().collect())
}

fn wants(namespace: &str, room: &str) -> bool {
    (namespace, room) == ("/", "h")
}

/// Reads the tail of a stream behind whose last entry a node begins. Returns the names of the
/// events, the entry behind which everything was read, and the number of reads.
fn read(config: &ClusterConfig, entries: &[Entry], oldest: u64, max_bytes: usize) -> (Vec<String>, Bytes, usize) {
    let begun = entries.last().map_or_else(|| id(0), |last| last.id.clone());
    let (mut tail, mut request) = Tail::new(config, "socket.io".into(), begun, oldest, max_bytes).unwrap();
    let mut reads = 1;
    while let TailStep::Ask(next) = tail.handle_answer(Ok(answer(entries, &request)), wants).unwrap() {
        request = next;
        reads += 1;
    }
    let end = tail.finish();
    let names = end.events.iter().map(|event| event.emit.name.to_string());
    (names.collect(), end.behind, reads)
}

fn names(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.rev().map(|number| format!("e{number}")).collect()
}

#[test]
fn the_newest_entries_are_read_backwards_in_small_parts() {
    for (count, reads) in [(0, 1), (1, 1), (25, 1), (26, 2), (50, 2), (51, 3), (76, 4), (200, 8)] {
        let begun = if count == 0 { id(0) } else { id(1) };
        assert_eq!(
            read(&config(), &stream_of(1..count + 1), 0, usize::MAX),
            (names(1..count + 1), begun, reads),
            "{count}"
        );
    }
    assert!(Tail::new(&ClusterConfig::default(), "s".into(), id(0), 0, 1).is_none());
}

/// Each limit ends the reading, and it is known up to where it has come.
#[test]
fn the_tail_is_bounded_in_steps_bytes_and_time() {
    let entries = stream_of(0..12_000);
    // 26 entries, and 25 more in each of 399 further steps.
    let (read_names, behind, reads) = read(&config(), &entries, 0, usize::MAX);
    assert_eq!((read_names.len(), reads), (10_001, 400));
    assert_eq!((read_names, behind), (names(1_999..12_000), id(1_999)));
}

/// How much is wanted is exact, and so is how old it may be.
#[test]
fn the_tail_is_as_large_as_its_limits() {
    let entries = stream_of(0..100);
    let one = 512 + id(0).len() + "/".len() + "h".len() + "e10".len() + "1".len();
    assert_eq!(read(&config(), &entries, 0, 30 * one).0, names(70..100));
    assert_eq!(
        read(&config(), &entries, 0, 30 * one).1,
        id(69),
        "it is not known itself"
    );
    assert_eq!(read(&config(), &entries, 0, one - 1), (vec![], id(99), 1));

    assert_eq!(
        read(&config(), &entries, BEGIN + 40, usize::MAX),
        (names(40..100), id(39), 3)
    );
    assert_eq!(read(&config(), &entries, u64::MAX, usize::MAX), (vec![], id(99), 1));
}

/// Each read costs a step, also if nothing in it is wanted or if it cannot be read.
#[test]
fn the_steps_are_bounded_whatever_they_bring() {
    let fields = || vec![(Bytes::from_static(b"type"), Bytes::from_static(b"6"))];
    let others = |from: u64| {
        let ids = (from.saturating_sub(25)..=from).rev();
        ids.map(|number| Entry {
            id: id(number),
            fields: fields(),
        })
        .collect()
    };
    for last in [Ok(()), Err(BrokerError::Unreadable("too large".into()))] {
        let mut from = 100_000;
        let (mut tail, _) = Tail::new(&config(), "socket.io".into(), id(from), 0, usize::MAX).unwrap();
        for _ in 1..400 {
            let step = tail.handle_answer(Ok(Answer::Entries(others(from))), wants).unwrap();
            assert!(matches!(step, TailStep::Ask(_)), "{step:?}");
            from -= 25;
        }
        let answer = last.clone().map(|()| Answer::Entries(others(from)));
        assert_eq!(tail.handle_answer(answer, wants), last.map(|()| TailStep::Over));
    }
}

/// What is for others, was volatile, asks for an acknowledgement, or is no event, is not wanted.
/// What cannot be read was heard by nobody.
#[test]
fn only_events_for_one_wanted_room_are_taken() {
    let to = |rooms: &[&str]| Target {
        rooms: rooms.iter().map(|room| ByteString::from(*room)).collect(),
        except: Vec::new(),
    };
    let mut volatile = Flags::default();
    volatile.volatile = true;
    let plain = |to: Target, name: &str| fields_of(&ROOT, to, Flags::default(), name);
    let asking = Envelope {
        uid: "u".into(),
        namespace: ROOT,
        body: Body::Broadcast {
            to: to(&["h"]),
            flags: Flags::default(),
            emit: Emit::default(),
            request_id: Some("r".into()),
        },
    };
    let mut without_data = plain(to(&["h"]), "broken");
    without_data.retain(|(name, _)| name != "data");
    let mut nonsense = plain(to(&["h"]), "broken");
    for (name, value) in &mut nonsense {
        if name == "data" {
            *value = Bytes::from_static(b"{\"opts\":[[[[");
        }
    }
    let leave = Envelope {
        uid: "u".into(),
        namespace: ROOT,
        body: Body::Leave {
            to: to(&["h"]),
            rooms: vec!["h".into()],
        },
    };
    let all = [
        plain(to(&["h"]), "first"),
        plain(to(&["other"]), "n"),
        plain(to(&["h", "other"]), "n"),
        plain(to(&[]), "n"),
        fields_of(&"/x".into(), to(&["h"]), Flags::default(), "n"),
        fields_of(&ROOT, to(&["h"]), volatile, "n"),
        asking.encode_entry(),
        leave.encode_entry(),
        without_data,
        nonsense,
        Vec::new(),
        vec![("type".into(), "3".into())],
        vec![
            ("type".into(), Bytes::from_static(b"\xff")),
            ("nsp".into(), Bytes::from_static(b"\xff")),
        ],
        plain(to(&["h"]), "last"),
    ];
    let entry = |(number, fields)| Entry { id: id(number), fields };
    let entries: Vec<Entry> = (1..).zip(all).map(entry).collect();
    assert_eq!(
        read(&config(), &entries, 0, usize::MAX),
        (vec!["last".into(), "first".into()], id(1), 1)
    );
}

/// A message may have so many bytes as the node takes from others.
#[test]
fn an_entry_that_is_too_large_is_left_out() {
    let config = config().max_message_bytes(200);
    let mut entries = stream_of(0..3);
    entries[1].fields = fields_of(&ROOT, Target::room("h"), Flags::default(), &"n".repeat(300));
    assert_eq!(read(&config, &entries, 0, usize::MAX).0, ["e2", "e0"]);
}

/// Entries may be so large that the broker's answer cannot be read. Then smaller parts are asked
/// for, and not for ever.
#[test]
fn large_entries_are_read_in_smaller_parts() {
    for (most, reads) in [(26, 2), (13, 4), (4, 13), (2, 34), (1, 5)] {
        let entries = stream_of(0..30);
        let (mut tail, mut request) = Tail::new(&config(), "socket.io".into(), id(29), 0, usize::MAX).unwrap();
        let mut asked = 0;
        let end = loop {
            asked += 1;
            let Request::RangeBack { from, count, .. } = &request else {
                panic!("{request:?}");
            };
            let part = entries.iter().rev().filter(|entry| entry.id <= *from);
            let part: Vec<Entry> = part.take(*count as usize).cloned().collect();
            let answer = match part.len() > most {
                true => Err(BrokerError::Unreadable("too large".into())),
                false => Ok(Answer::Entries(part)),
            };
            match tail.handle_answer(answer, wants) {
                Ok(TailStep::Ask(next)) => request = next,
                end => break end,
            }
        };
        assert_eq!(asked, reads, "{most}");
        let read = tail.finish().events.len();
        match most {
            1 => assert!(end.is_err() && read == 0),
            _ => assert!(end == Ok(TailStep::Over) && read == 30, "{most}: {end:?} {read}"),
        }
    }
}

/// The broker trims the stream while it is read, errs, answers late or something else.
#[test]
fn what_was_read_is_good_when_the_reading_ends_early() {
    let begin = || {
        let entries = stream_of(0..100);
        let (mut tail, request) = Tail::new(&config(), "socket.io".into(), id(99), 0, usize::MAX).unwrap();
        let step = tail.handle_answer(Ok(answer(&entries, &request)), wants).unwrap();
        let TailStep::Ask(next) = step else { panic!("{step:?}") };
        (tail, next)
    };
    let ends = |tail: Tail| {
        let end = tail.finish();
        assert_eq!((end.events.len(), end.behind), (26, id(74)));
    };
    // Nothing more comes: the reading is given up.
    ends(begin().0);
    // Everything that is older is gone, and the entry that was read last as well, or all of it.
    for trimmed in [&stream_of(80..100)[..], &[]] {
        let (mut tail, request) = begin();
        let step = tail.handle_answer(Ok(answer(trimmed, &request)), wants);
        assert_eq!(step, Ok(TailStep::Over));
        ends(tail);
    }
    for wrong in [
        Err(BrokerError::Closed),
        Err(BrokerError::TimedOut),
        Ok(Answer::Done),
        Ok(Answer::Count(26)),
    ] {
        let (mut tail, _) = begin();
        assert!(tail.handle_answer(wrong, wants).is_err());
        ends(tail);
    }
    // Ids that are none, and entries that are newer than what was asked for.
    let (mut tail, _) = begin();
    let strange = ["", "-", "x-1", "99999999999999999999999-0"].map(|id| Entry {
        id: Bytes::from_static(id.as_bytes()),
        fields: stream_of(1..2).remove(0).fields,
    });
    for entry in strange {
        let (mut tail, _) = begin();
        let entries = vec![stream_of(74..75).remove(0), entry];
        assert_eq!(
            tail.handle_answer(Ok(Answer::Entries(entries)), wants),
            Ok(TailStep::Over)
        );
        ends(tail);
    }
    let step = tail.handle_answer(Ok(Answer::Entries(stream_of(90..100))), wants);
    assert_eq!(step, Ok(TailStep::Over));
    ends(tail);
}

/// In a cluster with a secret, only what was signed for this stream at that time counts, once: of
/// an entry that somebody has stored again, the first one.
#[test]
fn forged_entries_are_left_out() {
    let secret = |byte| config().secrets(vec![Secret::new([byte; 32])]);
    let signed = |config: &ClusterConfig, name: &str| {
        let mut emitter = Emitter::new(config.clone()).unwrap();
        emitter.set_unix_time(u64::from(name.as_bytes()[0]), Duration::from_millis(BEGIN));
        let order = Order::Broadcast {
            to: Target::room("h"),
            flags: Flags::default(),
            emit: Emit {
                name: name.into(),
                ..Emit::default()
            },
        };
        match emitter.order(&ROOT, order, 1).unwrap() {
            Command::Request {
                request: Request::AddEntry { fields, .. },
                ..
            } => fields,
            command => panic!("{command:?}"),
        }
    };
    let (ours, theirs) = (secret(7), secret(8));
    let [a, b, c] = ["a", "b", "c"].map(|name| signed(&ours, name));
    let (a_again, b_again) = (a.clone(), b.clone());
    let mut changed = a.clone();
    for (name, value) in &mut changed {
        if name == "data" {
            *value = String::from_utf8(value.to_vec())
                .unwrap()
                .replace("\"a\"", "\"x\"")
                .into();
        }
    }
    assert_ne!(changed, a);
    let unsigned = fields_of(&ROOT, Target::room("h"), Flags::default(), "unsigned");
    let stored = [
        (1, a.clone()),
        (2, b.clone()),
        (3, changed),
        (4, a.clone()),
        (5, signed(&theirs, "d")),
        (6, unsigned),
        (7, c),
        // More than a part is read between an entry and its copy.
        (40, b),
        (41, a.clone()),
        // Stored much later than it was signed.
        (90_000, a),
    ];
    let mut entries: Vec<Entry> = stored.map(|(number, fields)| Entry { id: id(number), fields }).into();
    let others = (8..40).map(|number| Entry {
        id: id(number),
        fields: Vec::new(),
    });
    entries.splice(7..7, others);
    entries.sort_by_key(|entry| (entry.id.len(), entry.id.clone()));
    let order = |entries: &[Entry], config: &ClusterConfig| {
        let (mut tail, mut request) = Tail::new(config, "socket.io".into(), id(90_000), 0, usize::MAX).unwrap();
        loop {
            let Request::RangeBack { from, .. } = &request else {
                panic!("{request:?}")
            };
            let at = entries.iter().position(|entry| entry.id == *from).unwrap();
            let part = entries[..=at].iter().rev().take(26).cloned().collect();
            match tail.handle_answer(Ok(Answer::Entries(part)), wants).unwrap() {
                TailStep::Ask(next) => request = next,
                TailStep::Over => break,
            }
        }
        let events = tail.finish().events;
        let events = events
            .into_iter()
            .map(|event| (event.entry, event.emit.name.to_string()));
        events.collect::<Vec<_>>()
    };
    let expected = [(7, "c"), (2, "b"), (1, "a")].map(|(number, name)| (id(number), name.to_owned()));
    assert_eq!(order(&entries, &ours), expected);
    assert_eq!(order(&entries, &theirs), [(id(5), "d".to_owned())]);
    // What gives way to its first copy takes no room.
    let all = |max_bytes| {
        let (mut tail, _) = Tail::new(&ours, "socket.io".into(), id(3), 0, max_bytes).unwrap();
        let stored = [(3, &b_again), (2, &b_again), (1, &a_again)];
        let entries = stored.map(|(number, fields)| Entry {
            id: id(number),
            fields: (*fields).clone(),
        });
        tail.handle_answer(Ok(Answer::Entries(entries.into())), wants).unwrap();
        tail.finish().events.len()
    };
    let one = 512 + id(0).len() + "/".len() + "h".len() + "a".len();
    assert_eq!((all(2 * one), all(2 * one - 1)), (2, 1));
    let patient = ours.clone().accept_unsigned(true);
    assert_eq!(order(&entries, &patient).len(), 4, "and the unsigned one");
    assert_eq!(
        order(&entries, &config()).len(),
        10,
        "without a secret everything counts"
    );
}
