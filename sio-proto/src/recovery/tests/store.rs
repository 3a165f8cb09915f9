//! What a store is told, each change once and at once, and what a process makes of what it has
//! kept.

use std::format;
use std::string::String;

use super::restart::Saved;
use super::*;
use crate::recovery::Adopted;

/// A change in a few words.
fn words(change: Change) -> String {
    let of = |room: Option<ByteString>| room.map_or_else(|| String::from("all"), |room| room.to_string());
    match change {
        Change::Namespace(it) => format!("namespace {}: {:?}", it.name, it.epochs),
        Change::NamespaceGone { namespace } => format!("no namespace {namespace}"),
        Change::Counted { namespace, last } => format!("namespace {namespace} has had {last}"),
        Change::Dropped { sequence, .. } => format!("no message {sequence}"),
        Change::Pruned { room, sequence, .. } => format!("{} lost {sequence}", of(room)),
        Change::Record(it) => {
            let away = it.away_until.map(|until| until.saturating_since(Time::ZERO).as_secs());
            let (start, forgotten, heard) = (it.start, it.forgotten, it.heard);
            format!(
                "record {} from {start}, {forgotten} forgotten, {heard} heard, away {away:?}",
                it.number
            )
        }
        Change::RecordGone { record } => format!("no record {record}"),
        Change::Stay(it) => format!("stay {} {}..{:?}", it.ordinal, it.from, it.until),
        Change::StayGone { ordinal, .. } => format!("no stay {ordinal}"),
    }
}

fn changes(kept: &mut Kept) -> Vec<String> {
    kept.take_changes().map(words).collect()
}

#[test]
fn a_store_is_told_each_change_once() {
    let limits = RecoveryConfig {
        max_log_packets: 2,
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    kept.note_changes();
    let (key, _) = open(&mut kept, "/", 1);
    let begun = [
        "namespace /: [(5, 0)]",
        "record 0 from 0, 0 forgotten, 0 heard, away None",
        "stay 0 0..None",
    ];
    assert_eq!(changes(&mut kept), begun);
    kept.set_heard(key, 3);
    assert_eq!(changes(&mut kept), ["record 0 from 0, 0 forgotten, 3 heard, away None"]);
    kept.set_heard(key, 3);
    kept.set_heard(key, 2);
    // The caller writes messages that are kept, with their numbers.
    send(&mut kept, at(0), to(&[], &[]), 1);
    assert_eq!(changes(&mut kept), [""; 0]);
    kept.join(key, &"red".into(), &mut vec![]);
    assert_eq!(changes(&mut kept), ["stay 1 1..None"]);
    send(&mut kept, at(0), to(&["red"], &[]), 2);
    assert_eq!(changes(&mut kept), [""; 0]);
    send(&mut kept, at(0), to(&["nobody"], &[]), 3);
    assert_eq!(changes(&mut kept), ["namespace 0 has had 3"]);
    send(&mut kept, at(0), to(&[], &[]), 4);
    assert_eq!(changes(&mut kept), ["all lost 1", "no message 1"]);
    kept.leave(key, "red");
    assert_eq!(changes(&mut kept), ["stay 1 1..Some(4)"]);
    kept.lost(at(2), key, 0, &mut vec![]);
    assert_eq!(
        changes(&mut kept),
        ["record 0 from 0, 0 forgotten, 3 heard, away Some(12)"]
    );
    assert_eq!(missed(&mut kept, key, Some("5-2")), Ok(vec![4]));
    assert_eq!(changes(&mut kept), ["record 0 from 2, 0 forgotten, 3 heard, away None"]);
    send(&mut kept, at(2), to(&[], &[]), 5);
    assert_eq!(changes(&mut kept), ["red lost 2", "no message 2"]);
    kept.close(key);
    let ended = ["no stay 0", "no stay 1", "no record 0", "namespace 0 has had 5"];
    let lost = ["red lost 0", "all lost 4", "no message 4", "all lost 5", "no message 5"];
    assert_eq!(changes(&mut kept), [ended.to_vec(), lost.to_vec()].concat());
    kept.handle_timeout(at(3), &mut vec![]);
    assert_eq!(changes(&mut kept), ["no namespace 0"]);
}

/// A room whose messages were thrown away, and that nobody is remembered to have been in.
#[test]
fn a_store_forgets_a_room_that_nobody_asks_for() {
    let limits = RecoveryConfig {
        max_log_packets: 1,
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    kept.note_changes();
    let (key, _) = open(&mut kept, "/", 1);
    for number in 0..17 {
        let room = ByteString::from(format!("room {number}"));
        kept.join(key, &room, &mut vec![]);
        if number < 2 {
            send(&mut kept, at(0), to(&[&room], &[]), number);
        }
        changes(&mut kept);
        kept.leave(key, &room);
    }
    let left = [
        "stay 17 2..Some(2)",
        "no stay 1",
        "record 0 from 0, 1 forgotten, 0 heard, away None",
        "room 0 lost 0",
    ];
    assert_eq!(changes(&mut kept), left);
}

/// A record whose secret another kind of server has made is in no store. Its rooms are not either:
/// in the next process they would be those of the record that has its number then.
#[test]
fn a_store_is_told_nothing_of_a_record_that_it_cannot_keep() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    kept.note_changes();
    let (own, _) = open(&mut kept, "/", 1);
    changes(&mut kept);
    let adopted = |pid: ByteString| Adopted {
        namespace: "/".into(),
        pid,
        sid: sid(2),
        id: "id".into(),
        rooms: vec![("red".into(), None)],
        start: None,
        network: 0,
        data: 2,
        bytes: 0,
    };
    let (key, _) = kept
        .adopt(at(0), adopted("made elsewhere".into()), &mut vec![])
        .unwrap();
    kept.let_in(key);
    assert_eq!(kept.record_number(key), None, "nothing of it may be written");
    kept.join(key, &"blue".into(), &mut vec![]);
    kept.leave(key, "red");
    for number in 0..20 {
        let room = ByteString::from(format!("room {number}"));
        kept.join(key, &room, &mut vec![]);
        kept.leave(key, &room);
    }
    kept.set_heard(key, 7);
    assert_eq!(missed(&mut kept, key, None), Ok(vec![]));
    kept.lost(at(1), key, 0, &mut vec![]);
    kept.expire(key);
    assert_eq!(changes(&mut kept), [""; 0]);
    // One that is given up is not written again, whatever becomes of it.
    kept.disown(own);
    assert_eq!(kept.record_number(own), None);
    changes(&mut kept);
    kept.set_heard(own, 7);
    kept.lost(at(2), own, 0, &mut vec![]);
    kept.close(own);
    assert_eq!(changes(&mut kept), [""; 0]);
}

/// A store does not know whom this server has let in. So it is told of a record that has come from
/// another server when its client is let in, and of all of it, whether the client was cut off and
/// has come back or not.
#[test]
fn a_store_is_told_of_a_record_of_another_server_when_its_client_is_let_in() {
    for is_let_in in [true, false] {
        let mut kept = Kept::new(config(), [1; 16], 5);
        kept.note_changes();
        open(&mut kept, "/", 1);
        send(&mut kept, at(0), to(&[], &[]), 1);
        changes(&mut kept);
        let adopted = Adopted {
            namespace: "/".into(),
            pid: open(&mut Kept::new(config(), [2; 16], 6), "/", 2).1,
            sid: sid(2),
            id: "id".into(),
            rooms: vec![("red".into(), None)],
            start: None,
            network: 0,
            data: 2,
            bytes: 0,
        };
        let (key, _) = kept.adopt(at(0), adopted, &mut vec![]).unwrap();
        assert!(kept.bring(at(0), key, vec![]));
        kept.join(key, &"blue".into(), &mut vec![]);
        kept.set_heard(key, 3);
        // It is claimed, and the connection is cut before the client is let in.
        assert_eq!(missed(&mut kept, key, None), Ok(vec![]));
        kept.lost(at(1), key, 0, &mut vec![]);
        assert_eq!(missed(&mut kept, key, None), Ok(vec![]));
        assert_eq!((changes(&mut kept), kept.record_number(key)), (vec![], None));
        assert_eq!(kept.records().count(), 1);
        if is_let_in {
            kept.let_in(key);
            let told = [
                "record 1 from 1, 0 forgotten, 3 heard, away None",
                "stay 0 1..None",
                "stay 1 1..None",
                "stay 2 1..None",
            ];
            assert_eq!(changes(&mut kept), told);
            assert_eq!((kept.record_number(key), kept.records().count()), (Some(1), 2));
            kept.let_in(key);
            assert_eq!(changes(&mut kept), [""; 0], "once");
        }
        kept.lost(at(2), key, 0, &mut vec![]);
        kept.expire(key);
        assert_eq!(changes(&mut kept).contains(&"no record 1".into()), is_let_in);
    }
}

/// Everything at once is what all changes are together. What no store has a place for is no part of
/// it.
#[test]
fn a_snapshot_says_what_all_changes_have_said() {
    let limits = RecoveryConfig {
        max_log_packets: 3,
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    kept.note_changes();
    let mut saved = Saved::default();
    let (first, _) = open(&mut kept, "/", 1);
    kept.join(first, &"red".into(), &mut vec![]);
    open(&mut kept, "/other", 2);
    for message in 0..3 {
        send(&mut kept, at(0), to(&["red"], &[]), message);
        send(&mut kept, at(0), to(&[], &[]), message);
    }
    send(&mut kept, at(0), to(&["nobody"], &[]), 6);
    kept.lost(at(1), first, 0, &mut vec![]);
    saved.follow(&mut kept);
    let adopted = Adopted {
        namespace: "/".into(),
        pid: "made elsewhere".into(),
        sid: sid(3),
        id: "id".into(),
        rooms: vec![],
        start: None,
        network: 0,
        data: 3,
        bytes: 0,
    };
    let (foreign, _) = kept.adopt(at(1), adopted, &mut vec![]).unwrap();
    kept.let_in(foreign);
    kept.take_changes().for_each(drop);
    let others = kept.records().map(|(number, data)| (number, *data));
    assert_eq!(others.collect::<Vec<_>>(), [(0, 1), (1, 2)]);
    let now = Saved::of_snapshot(&kept);
    assert_eq!(now.counted(), saved.counted());
    assert!(now == saved, "{now:?} is not {saved:?}");
    kept.close(foreign);
    // Another parser has written what was sent to this one.
    kept.disown(first);
    let told = changes(&mut kept);
    assert_eq!(told[told.len() - 3..], ["no stay 0", "no stay 1", "no record 0"]);
    assert_eq!(missed(&mut kept, first, None), Err(NotRecovered::Parser));
    assert_eq!(
        kept.absence(at(2), first, None).map(|absence| absence.messages),
        Some(7)
    );
    assert_eq!(kept.records().map(|(number, _)| number).collect::<Vec<_>>(), [1]);
}

/// What one process has thrown away, the next one does not have, and it says so.
#[test]
fn what_was_thrown_away_is_known_to_the_next_process() {
    let (mut kept, key) = restored(config(), 6, 0);
    kept.restore_pruned("/", Some(&"red".into()), 3);
    kept.restore_pruned("/", Some(&"red".into()), 2);
    kept.restore_pruned("/", Some(&"nobody".into()), 2);
    kept.go_on();
    assert!(
        changes(&mut kept).contains(&"nobody lost 0".into()),
        "a store need not know it"
    );
    let gone = |pruned| Err(NotRecovered::Truncated(Truncated { pruned }));
    assert_eq!(missed(&mut kept, key, None), gone(3));
    assert_eq!(missed(&mut kept, key, Some("5-2")), gone(3));
    assert_eq!(missed(&mut kept, key, Some("5-3")), Ok(vec![]));
    assert_eq!(kept.log("/").unwrap().since(2).err(), Some(Truncated { pruned: 3 }));
    assert_eq!(send(&mut kept, at(0), to(&[], &[]), 1), "6-4");

    let (mut kept, key) = restored(config(), 6, 0);
    kept.restore_pruned("/", None, 5);
    kept.restore_pruned("/", Some(&"red".into()), 3);
    kept.go_on();
    assert_eq!(missed(&mut kept, key, Some("5-4")), gone(5));
    assert_eq!(missed(&mut kept, key, Some("5-5")), Ok(vec![]));
    assert_eq!(kept.log("/").unwrap().since(4).err(), Some(Truncated { pruned: 5 }));
}

/// A process that has begun with a namespace in which the last one had `last` messages, and with a
/// record in the room `red`.
fn restored(limits: RecoveryConfig, epoch: u32, last: u64) -> (Kept, RecordKey) {
    let mut kept = Kept::new(limits, [7; 16], epoch);
    kept.note_changes();
    let name = ByteString::from("/");
    let epochs = vec![(5, 0)];
    kept.restore_namespace(
        SavedNamespace {
            number: 7,
            name,
            epochs,
        },
        last,
    );
    let record = record(9, 1);
    let stays = ["id", "red"]
        .iter()
        .zip(0..)
        .map(|(room, ordinal)| stay(9, ordinal, room));
    let key = kept.restore_record("/", &record, at(10), stays.collect(), (1, 0), &mut vec![]);
    (kept, key.expect("it is taken over"))
}

fn record(number: u64, secret: u8) -> SavedRecord {
    SavedRecord {
        number,
        namespace: 7,
        secret: [secret; 18],
        sid: sid(secret),
        network: 0,
        start: 0,
        forgotten: 0,
        spoilt: false,
        heard: 4,
        away_until: None,
    }
}

fn stay(record: u64, ordinal: u32, room: &str) -> SavedStay {
    SavedStay {
        record,
        ordinal,
        room: room.into(),
        from: 0,
        until: None,
    }
}

/// What is new gets numbers that nothing has which was kept before.
#[test]
fn numbers_go_on_in_the_next_process() {
    let (mut kept, key) = restored(config(), 5, 40);
    assert_eq!(kept.heard(key), 4);
    // A store that is no store of ours may have written the same epoch.
    kept.go_on();
    assert_eq!(kept.epoch(), 6);
    assert_eq!(
        changes(&mut kept).last(),
        Some(&"namespace /: [(5, 0), (6, 40)]".into())
    );
    let (second, _) = open(&mut kept, "/new", 2);
    assert_eq!(
        (kept.record_number(key), kept.record_number(second)),
        (Some(9), Some(10))
    );
    assert_eq!(
        (kept.namespace_number("/"), kept.namespace_number("/new")),
        (Some(7), Some(8))
    );
    assert_eq!(
        kept.current("/new").map(Offset::text),
        Some("6-40".into()),
        "it is never behind"
    );
    // What was counted stands in the epochs, too.
    let mut kept = Kept::new(config(), [7; 16], 6);
    let name = ByteString::from("/");
    let epochs = vec![(4, 3), (5, 40)];
    kept.restore_namespace(
        SavedNamespace {
            number: 0,
            name,
            epochs,
        },
        0,
    );
    kept.go_on();
    assert_eq!(kept.current("/").map(Offset::text), Some("6-40".into()));
}

/// The last 64 processes are known.
#[test]
fn epochs_are_not_kept_for_ever() {
    let mut kept = Kept::new(config(), [7; 16], 1_000);
    kept.note_changes();
    let epochs: Vec<_> = (1..=64).map(|epoch| (epoch, u64::from(epoch))).collect();
    let name = ByteString::from("/");
    kept.restore_namespace(
        SavedNamespace {
            number: 0,
            name,
            epochs,
        },
        70,
    );
    kept.go_on();
    let Some(Change::Namespace(saved)) = kept.take_changes().last() else {
        panic!()
    };
    assert_eq!(
        (saved.epochs.len(), saved.epochs[0], saved.epochs[63]),
        (64, (2, 2), (1_000, 70))
    );
}

/// A store may be damaged.
#[test]
fn a_record_that_makes_no_sense_is_left_out() {
    let (mut kept, key) = restored(config(), 6, 0);
    let mut restore = |record: SavedRecord, stays: Vec<SavedStay>, namespace: &str| {
        kept.restore_record(namespace, &record, at(10), stays, (2, 0), &mut vec![])
    };
    assert_eq!(
        restore(record(10, 1), vec![stay(10, 0, "id")], "/"),
        None,
        "a secret is known once"
    );
    assert_eq!(restore(record(10, 2), vec![], "/"), None);
    assert_eq!(restore(record(10, 2), vec![stay(10, 0, "id")], "/unknown"), None);
    assert_eq!((kept.len(), kept.away()), (1, 1));
    // Nothing is left of it.
    assert_eq!(kept.close(key), Some(1));
    kept.handle_timeout(at(1), &mut vec![]);
    assert!(kept.log("/").is_none());
}

/// Limits hold for what was kept before, and the store is told what does not stay.
#[test]
fn messages_are_taken_over_as_far_as_there_is_room() {
    let limits = RecoveryConfig {
        max_total_log_bytes: 10_000,
        ..config()
    };
    let (mut kept, key) = restored(limits, 6, 0);
    changes(&mut kept);
    let restore = |kept: &mut Kept, sequence: u64, room: &str| {
        let names = size_of::<ByteString>() + room.len();
        let (times, audience) = ((at(0), at(10)), to(&[room], &[]));
        kept.restore_message(("/", sequence), times, audience, 1_000 - 256 - names, sequence as u32);
        kept.log("/").map_or(0, Log::len)
    };
    for sequence in 1..=10 {
        assert_eq!(restore(&mut kept, sequence, "red"), sequence as usize);
    }
    assert_eq!(restore(&mut kept, 10, "red"), 10, "each number counts once");
    assert_eq!(restore(&mut kept, 11, "nobody"), 10);
    assert_eq!(restore(&mut kept, 12, "red"), 9, "there is room for ten");
    kept.restore_message(("/unknown", 1), (at(0), at(10)), to(&[], &[]), 1, 1);
    kept.go_on();
    assert_eq!(kept.log_bytes, bytes_of_logs(&kept));
    let gone = [
        "no message 11",
        "red lost 1",
        "no message 1",
        "red lost 2",
        "no message 2",
    ];
    assert_eq!(
        changes(&mut kept),
        [gone.to_vec(), vec!["namespace /: [(5, 0), (6, 12)]"]].concat()
    );
    let found = missed(&mut kept, key, Some("5-2"));
    assert_eq!(found, Ok([3, 4, 5, 6, 7, 8, 9, 10, 12].into()));
}
