//! A client that was at another node comes back to this one (docs/protocol/cluster-redis.md §4.3).
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

use std::time::Duration;

use sio_proto::broker::{Answer, BrokerError, Command, Entry, Request};
use sio_proto::cluster::messages::{Body, Envelope, MessageLimits, MissedFilter, Session};
use sio_proto::cluster::{Comeback, Emit, Emitter, Flags, Node, NotRestored, Order, Step, Target, forget};
use sio_proto::socket::Offset;
use sio_proto::{ByteString, Bytes, BytesMut, ClusterConfig, ClusterKind, Secret, StreamsConfig, Time};

const ROOT: ByteString = ByteString::from_static("/");
const SECOND: Duration = Duration::from_secs(1);

/// The time of all of this, since the beginning of 1970.
const NOW: Duration = Duration::from_secs(100);

fn emit(name: &str) -> Emit {
    Emit {
        name: name.into(),
        ..Emit::default()
    }
}

/// A stream with `count` entries behind the one with the offset, every second of them for others.
fn stream_of(count: usize) -> Vec<Entry> {
    let entry = |number: usize| {
        let to = if number.is_multiple_of(2) {
            Target::room("r")
        } else {
            Target::room("other")
        };
        let (flags, emit, request_id) = (Flags::default(), emit(&format!("e{number}")), None);
        let envelope = Envelope {
            uid: "u".into(),
            namespace: ROOT,
            body: Body::Broadcast {
                to,
                flags,
                emit,
                request_id,
            },
        };
        Entry {
            id: Bytes::from(format!("{}-0", 100_000 + number)),
            fields: envelope.encode_entry(),
        }
    };
    (0..=count).map(entry).collect()
}

/// The record of a session that is written now and kept for a minute.
fn saved(config: &ClusterConfig, session: &Session) -> Request {
    let mut node = Node::new(config.clone(), Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
    node.set_unix_time(Time::ZERO, NOW);
    let writer = node.record_writer(Time::ZERO);
    writer.write(session.clone(), 60 * SECOND, false).unwrap()
}

/// Lets a client come back that has seen the first entry. Returns the result and the number of
/// reads.
fn come_back(config: &ClusterConfig, entries: &[Entry], session: &Session) -> (Step, usize) {
    come_back_with(config, entries, session, Some("100000-0".into()))
}

fn come_back_with(
    config: &ClusterConfig,
    entries: &[Entry],
    session: &Session,
    shown: Option<ByteString>,
) -> (Step, usize) {
    let Request::Set {
        key,
        value,
        milliseconds,
        only_if_there: false,
    } = saved(config, session)
    else {
        panic!("a record");
    };
    assert_eq!((&*key, milliseconds), (&b"sio:session:pid"[..], 60_000));
    let (mut comeback, first) = Comeback::new(config, &ROOT, &"pid".into(), shown.as_ref(), NOW).unwrap();
    let Request::Take { key: taken } = first else {
        panic!("the record is taken first");
    };
    assert_eq!(taken, key);
    let found = comeback.handle_answer(Ok(Answer::Value(Some(value))));
    let Step::Found(known) = found else {
        return (found, 0);
    };
    let expected = Session {
        until: known.until,
        ..session.clone()
    };
    assert_eq!(*known, expected);
    let mut step = comeback.read(&"999999-0".into());
    let mut reads = 0;
    loop {
        if let Step::Ask(Request::Length { .. }) = &step {
            step = comeback.handle_answer(Ok(Answer::Count(entries.len() as u64)));
            continue;
        }
        let Step::Ask(Request::Range { from, to, count, .. }) = &step else {
            return (step, reads);
        };
        reads += 1;
        assert_eq!(to, &b"999999-0"[..]);
        assert!(*count <= 26, "a read is bounded");
        let part = entries.iter().filter(|entry| entry.id >= *from).take(*count as usize);
        let answer = Answer::Entries(part.cloned().collect());
        step = comeback.handle_answer(Ok(answer));
    }
}

/// What a client has missed is counted with 256 bytes for each entry, also while it is not proved
/// that nothing was trimmed, and is no slice of what the broker has said.
#[test]
fn what_was_missed_is_counted_and_copied() {
    let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()));
    let session = Session {
        sid: "sid".into(),
        pid: "pid".into(),
        rooms: vec!["sid".into(), "r".into()],
        offset: "99999-0".into(),
        ..Session::default()
    };
    let Request::Set { value, .. } = saved(&config, &session) else {
        panic!("a record");
    };
    let (mut comeback, _) = Comeback::new(&config, &ROOT, &"pid".into(), None, NOW).unwrap();
    let found = comeback.handle_answer(Ok(Answer::Value(Some(value))));
    assert!(matches!(found, Step::Found(_)));
    comeback.read(&"999999-0".into());
    let mut chunk = BytesMut::new();
    let mut entries = stream_of(4);
    for entry in &entries {
        chunk.extend_from_slice(&entry.id);
        for (name, value) in &entry.fields {
            chunk.extend_from_slice(name);
            chunk.extend_from_slice(value);
        }
    }
    let mut rest = chunk.freeze();
    let whole = rest.as_ptr_range();
    let mut bytes = 0;
    for (number, entry) in entries.iter_mut().enumerate() {
        entry.id = rest.split_to(entry.id.len());
        for (name, value) in &mut entry.fields {
            *name = rest.split_to(name.len());
            *value = rest.split_to(value.len());
            if number % 2 == 0 {
                bytes += name.len() + value.len();
            }
        }
    }
    let step = comeback.handle_answer(Ok(Answer::Entries(entries)));
    assert!(matches!(step, Step::Ask(Request::Length { .. })));
    assert_eq!(comeback.missed_bytes(), bytes + 3 * 256);
    let Step::Restored(restored) = comeback.handle_answer(Ok(Answer::Count(5))) else {
        panic!("it is restored");
    };
    assert_eq!(restored.missed.len(), 3);
    for missed in &restored.missed {
        let room = missed.room.as_ref().unwrap();
        for kept in [&missed.entry[..], missed.emit.name.as_bytes(), room.as_bytes()] {
            assert!(!whole.contains(&kept.as_ptr()));
        }
    }
    assert!(!whole.contains(&restored.position.as_ptr()));
}

/// A room may be there several times, each with its beginning and its end.
#[test]
fn what_was_said_in_a_room_between_two_stays_was_not_missed() {
    let rooms = ["sid", "r", "r"].map(ByteString::from_static);
    let entry = &stream_of(2)[2];
    let limits = MessageLimits::from(&ClusterConfig::default());
    for (left, since, missed) in [
        (Some((100_002, 0)), Some((100_003, 0)), true),
        (Some((100_001, 0)), Some((100_002, 0)), false),
        (Some((100_001, 0)), Some((100_001, 9)), true),
        (Some((100_001, 0)), None, true),
    ] {
        let filter = MissedFilter {
            namespace: "/",
            rooms: &rooms,
            since: &[None, Some((100_000, 0)), since],
            left: &[None, left],
        };
        let is_missed = filter.missed(entry, &limits).unwrap().is_some();
        assert_eq!(is_missed, missed, "{left:?} {since:?}");
    }
}

/// docs/protocol/cluster-redis.md §4.3.
#[test]
fn a_client_comes_back_from_the_stream() {
    let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()));
    let session = Session {
        sid: "sid".into(),
        pid: "pid".into(),
        rooms: vec!["sid".into(), "r".into()],
        data: ByteString::from_static("{}"),
        ..Session::default()
    };
    for (count, reads) in [(0, 1), (1, 1), (24, 1), (25, 2), (60, 3)] {
        let entries = stream_of(count);
        let (step, read) = come_back(&config, &entries, &session);
        let Step::Restored(restored) = step else {
            panic!("{step:?}");
        };
        assert_eq!(restored.session, session);
        let missed: Vec<_> = restored
            .missed
            .iter()
            .inspect(|missed| assert_eq!(missed.room.as_deref(), Some("r")))
            .map(|missed| (missed.entry.clone(), missed.emit.name.clone()))
            .collect();
        let expected = (1..=count).filter(|number| number.is_multiple_of(2));
        let expected = expected.map(|number| {
            (
                Bytes::from(format!("{}-0", 100_000 + number)),
                format!("e{number}").into(),
            )
        });
        assert_eq!(missed, expected.collect::<Vec<_>>());
        assert_eq!(
            (restored.position, read),
            (format!("{}-0", 100_000 + count).into(), reads)
        );
    }
    let trimmed = &stream_of(50)[10..];
    assert_eq!(
        come_back(&config, trimmed, &session).0,
        Step::NotRestored(NotRestored::Truncated)
    );
    let small = config.clone().max_missed_bytes(500);
    assert_eq!(
        come_back(&small, &stream_of(50), &session).0,
        Step::NotRestored(NotRestored::TooMuch)
    );
    let (step, reads) = come_back(&config, &stream_of(10_100), &session);
    assert_eq!((step, reads), (Step::NotRestored(NotRestored::TooMuch), 400));

    // A client that has seen nothing is sent what came behind the beginning of its record.
    let begun = |offset: &'static str| Session {
        offset: offset.into(),
        node: "ours".into(),
        ..session.clone()
    };
    let missed = |entries: &[Entry], offset| match come_back_with(&config, entries, &begun(offset), None).0 {
        Step::Restored(restored) => Ok(restored.missed.len()),
        Step::NotRestored(why) => Err(why),
        step => panic!("{step:?}"),
    };
    assert_eq!(missed(&stream_of(50), "100000-0"), Ok(25));
    assert_eq!(missed(&stream_of(50)[10..], "100000-0"), Ok(21), "nothing was trimmed");
    assert_eq!(missed(&[], "100000-0"), Ok(0));
    assert_eq!(
        missed(&stream_of(10_050)[10..], "100000-0"),
        Err(NotRestored::Truncated)
    );
    assert_eq!(missed(&stream_of(50), ""), Err(NotRestored::InvalidOffset));

    let begin = |offset: &'static str| Comeback::new(&config, &ROOT, &"pid".into(), Some(&offset.into()), NOW);
    assert_eq!(begin("$").unwrap_err(), NotRestored::InvalidOffset);
    assert_eq!(
        Comeback::new(&ClusterConfig::default(), &ROOT, &"pid".into(), None, NOW).unwrap_err(),
        NotRestored::NoStreams
    );
    assert_eq!(
        Comeback::new(&config, &ROOT, &"p".repeat(65).into(), None, NOW).unwrap_err(),
        NotRestored::UnknownSession
    );
    let elsewhere = Session {
        namespace: "/admin".into(),
        ..session.clone()
    };
    let forged = Session {
        pid: "somebody".into(),
        ..session
    };
    for (answer, expected) in [
        (Ok(Answer::Value(None)), NotRestored::UnknownSession),
        (
            Ok(Answer::Value(Some(Bytes::from_static(b"?")))),
            NotRestored::Malformed,
        ),
        (Ok(Answer::Value(Some(forged.encode()))), NotRestored::Malformed),
        (Ok(Answer::Value(Some(elsewhere.encode()))), NotRestored::Malformed),
        (Err(BrokerError::Closed), NotRestored::Broker(BrokerError::Closed)),
    ] {
        let (mut comeback, _) = begin("1-0").unwrap();
        assert_eq!(comeback.handle_answer(answer), Step::NotRestored(expected));
    }
}

fn session() -> Session {
    Session {
        sid: "sid".into(),
        pid: "pid".into(),
        rooms: vec!["sid".into(), "r".into()],
        data: ByteString::from_static("{}"),
        ..Session::default()
    }
}

/// While a client comes back, thousands of entries may be written, and the oldest are trimmed away.
/// What was trimmed away behind the last read is never left out silently.
#[test]
fn a_stream_that_is_trimmed_between_two_reads_is_told() {
    let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()));
    let entries = stream_of(100);
    for trimmed in [0, 25, 26, 27, 60] {
        let record = session().encode();
        let (mut comeback, _) = Comeback::new(&config, &ROOT, &"pid".into(), Some(&"100000-0".into()), NOW).unwrap();
        let found = comeback.handle_answer(Ok(Answer::Value(Some(record))));
        assert!(matches!(found, Step::Found(_)));
        let mut step = comeback.read(&"999999-0".into());
        let mut left = &entries[..];
        let result = loop {
            let Step::Ask(Request::Range { from, count, .. }) = &step else {
                break step;
            };
            let part = left.iter().filter(|entry| entry.id >= *from).take(*count as usize);
            step = comeback.handle_answer(Ok(Answer::Entries(part.cloned().collect())));
            left = &entries[trimmed..];
        };
        // The first read has ended with entry 25.
        match (trimmed, result) {
            (0 | 25, Step::Restored(restored)) => assert_eq!(restored.missed.len(), 50),
            (26.., Step::NotRestored(NotRestored::Truncated)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A client that shows an offset from before its record is sent nothing from before: it would read
/// what was said in its rooms before it was there.
#[test]
fn nothing_is_brought_from_before_the_record() {
    let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()));
    let begun = Session {
        offset: "100020-0".into(),
        ..session()
    };
    let entries = stream_of(50);
    for (shown, missed) in [("100000-0", 15), ("100020-0", 15), ("100040-0", 5), ("99999-7", 15)] {
        let Step::Restored(restored) = come_back_with(&config, &entries, &begun, Some(shown.into())).0 else {
            panic!("{shown}");
        };
        assert_eq!(restored.missed.len(), missed, "{shown}");
    }
}

/// An offset that a client shows is one of an entry, even if its record begins there. Where a
/// record begins there need be no entry: then the stream must have lost none.
#[test]
fn the_offset_of_a_client_is_there_and_that_of_a_record_need_not_be() {
    let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default().max_entries(40)));
    let begun = |offset: &'static str| Session {
        offset: offset.into(),
        ..session()
    };
    let missed = |entries: &[Entry], offset, shown: Option<&'static str>| match come_back_with(
        &config,
        entries,
        &begun(offset),
        shown.map(ByteString::from),
    )
    .0
    {
        Step::Restored(restored) => Ok(restored.missed.len()),
        Step::NotRestored(why) => Err(why),
        step => panic!("{step:?}"),
    };
    let entries = stream_of(39);
    let later = &entries[11..];
    assert_eq!(missed(later, "100010-0", Some("100010-0")), Err(NotRestored::Truncated));
    assert_eq!(missed(later, "100010-0", None), Ok(14));
    assert_eq!(
        missed(later, "100010-5", Some("100010-0")),
        Ok(14),
        "what is older counts as nothing"
    );
    assert_eq!(missed(later, "100010-5", Some("100010-7")), Err(NotRestored::Truncated));
    // A stream that is full may have lost something.
    assert_eq!(missed(&entries[1..], "100000-0", None), Ok(19));
    assert_eq!(
        missed(&stream_of(40)[1..], "100000-0", None),
        Err(NotRestored::Truncated)
    );
    // Between two reads nothing may be lost, whatever the client has shown.
    let record = begun("100000-0").encode();
    let (mut comeback, _) = Comeback::new(&config, &ROOT, &"pid".into(), None, NOW).unwrap();
    comeback.handle_answer(Ok(Answer::Value(Some(record))));
    comeback.read(&"999999-0".into());
    let first = comeback.handle_answer(Ok(Answer::Entries(entries[..26].to_vec())));
    assert!(matches!(first, Step::Ask(Request::Range { .. })), "{first:?}");
    let second = comeback.handle_answer(Ok(Answer::Entries(entries[27..].to_vec())));
    assert_eq!(second, Step::NotRestored(NotRestored::Truncated));
}

/// What is known without the stream is not read. If the stream does not have the place behind it,
/// its length says nothing of what it has lost: the offset that a client has shown has to be there.
#[test]
fn a_stream_without_the_place_is_read_from_the_offset_of_the_client() {
    let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default().max_entries(99)));
    let place = Offset {
        epoch: Offset::STREAM,
        sequence: 100_010 << 22,
    };
    assert_eq!(&*place.text(), "100010-0");
    let whole = stream_of(39);
    let without = |numbers: &[usize]| {
        let entries = whole.iter().enumerate();
        let kept = entries.filter(|(number, _)| !numbers.contains(number));
        kept.map(|(_, entry)| entry.clone()).collect::<Vec<_>>()
    };
    let truncated = Err(NotRestored::Truncated);
    for (shown, entries, expected) in [
        (Some("100002-0"), whole.clone(), Ok(14)),
        (Some("100002-0"), without(&[0, 1, 2]), Ok(14)),
        (Some("100002-0"), without(&[10]), Ok(17)),
        (Some("100002-0"), without(&[2, 10]), truncated.clone()),
        (Some("100002-0"), whole[30..].to_vec(), truncated),
        (Some("100020-0"), without(&[10]), Ok(9)),
        (None, whole[30..].to_vec(), Ok(5)),
    ] {
        let record = Session {
            offset: "100002-0".into(),
            ..session()
        };
        let shown = shown.map(ByteString::from_static);
        let (mut comeback, _) = Comeback::new(&config, &ROOT, &"pid".into(), shown.as_ref(), NOW).unwrap();
        comeback.handle_answer(Ok(Answer::Value(Some(record.encode()))));
        comeback.skip_to(place);
        let mut step = comeback.read(&"999999-0".into());
        let restored = loop {
            let answer = match step {
                Step::Ask(Request::Length { .. }) => Answer::Count(entries.len() as u64),
                Step::Ask(Request::Range { from, count, .. }) => {
                    let part = entries.iter().filter(|entry| entry.id >= from).take(count as usize);
                    Answer::Entries(part.cloned().collect())
                }
                Step::Restored(restored) => break Ok(restored.missed.len()),
                Step::NotRestored(why) => break Err(why),
                step @ (Step::Ask(_) | Step::Found(_)) => panic!("{step:?}"),
            };
            step = comeback.handle_answer(Ok(answer));
        };
        assert_eq!(restored, expected, "{shown:?} {}", entries.len());
    }
}

/// What was said in a room before the client was in it was not for it.
#[test]
fn a_room_counts_from_the_entry_behind_which_the_client_was_in_it() {
    let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()));
    for (since, missed) in [("100010-0", 20), ("100009-7", 21), ("nothing", 25)] {
        let joined = Session {
            since: vec!["".into(), since.into()],
            ..session()
        };
        let Step::Restored(restored) = come_back(&config, &stream_of(50), &joined).0 else {
            panic!("{since}");
        };
        assert_eq!(restored.missed.len(), missed, "{since}");
    }
}

/// How much may have been missed is exact.
#[test]
fn what_was_missed_may_be_as_large_as_the_limit() {
    let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()));
    let entries = stream_of(20);
    let missed = entries.iter().skip(2).step_by(2);
    let bytes = missed.map(|entry| {
        let fields = entry.fields.iter().map(|(name, value)| name.len() + value.len());
        fields.sum::<usize>() + 256
    });
    let bytes = bytes.sum::<usize>();
    for (most, fits) in [(bytes, true), (bytes - 1, false)] {
        let (step, _) = come_back(&config.clone().max_missed_bytes(most), &entries, &session());
        assert_eq!(matches!(step, Step::Restored(_)), fits, "{step:?}");
    }
}

/// A record is for its client in its namespace, a private id has its length, and an answer is the
/// one to the last question.
#[test]
fn what_belongs_to_somebody_else_is_refused() {
    let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()));
    let begin = |pid: &str| Comeback::new(&config, &ROOT, &pid.into(), Some(&"100000-0".into()), NOW);
    for (length, may) in [(0, false), (64, true), (65, false)] {
        assert_eq!(
            begin(&"p".repeat(length)).err(),
            (!may).then_some(NotRestored::UnknownSession)
        );
    }
    for (pid, namespace, is_its) in [
        ("pid", "", true),
        ("pid", "/", true),
        ("pid", "/admin", false),
        ("other", "", false),
        ("other", "/admin", false),
    ] {
        let (pid, namespace) = (pid.into(), namespace.into());
        let record = Session {
            pid,
            namespace,
            ..session()
        };
        let (mut comeback, _) = begin("pid").unwrap();
        match comeback.handle_answer(Ok(Answer::Value(Some(record.encode())))) {
            Step::Found(_) => assert!(is_its, "{record:?}"),
            step => assert!(!is_its && step == Step::NotRestored(NotRestored::Malformed), "{step:?}"),
        }
    }
    let is_refused = |step: Step| matches!(step, Step::NotRestored(NotRestored::Broker(BrokerError::Unreadable(_))));
    let record = || Ok(Answer::Value(Some(session().encode())));
    for early in [Answer::Entries(stream_of(1)), Answer::Count(1)] {
        let (mut comeback, _) = begin("pid").unwrap();
        assert!(is_refused(comeback.handle_answer(Ok(early))));
    }
    for late in [record(), Ok(Answer::Count(1))] {
        let (mut comeback, _) = begin("pid").unwrap();
        assert!(matches!(comeback.handle_answer(record()), Step::Found(_)));
        assert!(is_refused(comeback.handle_answer(late)));
    }
    let key = Bytes::from_static(b"sio:session:pid");
    assert_eq!(forget(&config, "pid"), Some(Request::Delete { key }));
    assert_eq!(forget(&ClusterConfig::default(), "pid"), None);
}

/// With a secret, a record counts for its key and for its time, and only if a node with the secret
/// has written it.
#[test]
fn a_record_is_signed_for_its_key_and_its_time() {
    let plain = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()));
    let ours = plain.clone().secrets(vec![Secret::new([7; 32])]);
    let theirs = plain.clone().secrets(vec![Secret::new([8; 32])]);
    let both = plain.clone().secrets(vec![Secret::new([8; 32]), Secret::new([7; 32])]);
    let patient = ours.clone().accept_unsigned(true);
    let value = |config: &ClusterConfig, session: &Session| match saved(config, session) {
        Request::Set { value, .. } => value,
        other => panic!("{other:?}"),
    };
    let take = |config: &ClusterConfig, pid: &'static str, value: &Bytes, at: Duration| {
        let shown = Some("100000-0".into());
        let (mut comeback, _) = Comeback::new(config, &ROOT, &pid.into(), shown.as_ref(), at).unwrap();
        match comeback.handle_answer(Ok(Answer::Value(Some(value.clone())))) {
            Step::Found(found) => Ok(found.rooms.len()),
            Step::NotRestored(why) => Err(why),
            step => panic!("{step:?}"),
        }
    };
    let (signed, unsigned) = (value(&ours, &session()), value(&plain, &session()));
    for (config, value, expected) in [
        (&ours, &signed, Ok(2)),
        (&both, &signed, Ok(2)),
        (&plain, &signed, Ok(2)),
        (&theirs, &signed, Err(NotRestored::Forged)),
        (&patient, &signed, Ok(2)),
        (&ours, &unsigned, Err(NotRestored::Unsigned)),
        (&patient, &unsigned, Ok(2)),
        (&patient, &value(&theirs, &session()), Err(NotRestored::Forged)),
    ] {
        assert_eq!(take(config, "pid", value, NOW), expected, "{config:?}");
    }
    // It counts for a minute, and clocks may be half a minute apart.
    assert_eq!(take(&ours, "pid", &signed, NOW + 90 * SECOND), Ok(2));
    assert_eq!(take(&ours, "pid", &signed, NOW + 91 * SECOND), Err(NotRestored::Stale));
    // Under the key of another client; and each byte is signed.
    assert_eq!(take(&ours, "other", &signed, NOW), Err(NotRestored::Forged));
    for at in 0..signed.len() {
        let mut changed = signed.to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let refused = take(&ours, "pid", &changed.into(), NOW);
        assert!(refused.is_err(), "{at}: {refused:?}");
    }
}

/// Whoever can write to the stream stores a signed entry once more. A client that comes back gets
/// it once, and not again if it is the one that it has shown.
#[test]
fn a_signed_entry_that_is_stored_again_is_brought_once() {
    let config = ClusterConfig::default()
        .kind(ClusterKind::Streams(StreamsConfig::default()))
        .secrets(vec![Secret::new([7; 32])]);
    let mut emitter = Emitter::new(config.clone()).unwrap();
    emitter.set_unix_time(42, Duration::from_millis(100_000));
    let fields: Vec<_> = (0..3)
        .map(|number| {
            let order = Order::Broadcast {
                to: Target::default(),
                flags: Flags::default(),
                emit: emit(&format!("e{number}")),
            };
            match emitter.order(&ROOT, order, 1).unwrap() {
                Command::Request {
                    request: Request::AddEntry { fields, .. },
                    ..
                } => fields,
                command => panic!("{command:?}"),
            }
        })
        .collect();
    let entry = |(at, number): (usize, &usize)| Entry {
        id: Bytes::from(format!("{}-0", 100_000 + at)),
        fields: fields[*number].clone(),
    };
    // More than one read has, and a copy in each.
    let mut order = vec![0, 1, 0, 1, 2];
    order.extend([1; 30]);
    order.extend([0, 2, 1]);
    let entries: Vec<_> = order.iter().enumerate().map(entry).collect();
    let session = Session {
        sid: "sid".into(),
        pid: "pid".into(),
        data: ByteString::from_static("{}"),
        ..Session::default()
    };
    let (step, reads) = come_back(&config, &entries, &session);
    let Step::Restored(restored) = step else {
        panic!("{step:?}");
    };
    let missed: Vec<_> = restored
        .missed
        .iter()
        .map(|missed| (&missed.entry[..], &*missed.emit.name))
        .collect();
    assert_eq!(missed, [(&b"100001-0"[..], "e1"), (b"100004-0", "e2")]);
    assert_eq!((reads, restored.position), (2, "100037-0".into()));
}
