//! What a record keeps of its socket and for how long, and which messages are kept for it.

use super::restart::Saved;
use super::*;

/// Sends a message to one socket alone.
fn whisper(kept: &mut Kept, now: Time, key: RecordKey, message: u32) {
    let offset = kept.post(now, "/", Recipients::Record(key), |_| Some((message, 10)), |_, _| {});
    assert!(offset.is_some());
}

/// Whether somebody could ask for a message to this room.
fn is_wanted(kept: &Kept, room: &str) -> bool {
    kept.log("/").is_some_and(|log| log.is_wanted(&to(&[room], &[])))
}

/// How many stays in rooms a record remembers.
fn stays(kept: &Kept, key: RecordKey) -> usize {
    kept.record(key).map_or(0, |record| record.stays.len())
}

#[test]
fn a_record_is_known_by_its_name_until_it_ends() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (first, pid) = open(&mut kept, "/", 1);
    let (second, _) = open(&mut kept, "/", 2);
    kept.join(first, &"red".into(), &mut vec![]);
    assert_eq!((kept.pid(first), kept.keys()), (Some(pid), vec![first, second]));
    assert_eq!((kept.rooms(first), kept.rooms(second)), (vec!["red".into()], vec![]));
    *kept.data_mut(first).unwrap() = 7;
    assert_eq!((kept.data(first), kept.data(second)), (Some(&7), Some(&2)));
    kept.set_heard(first, 3);
    kept.set_heard(first, 2);
    assert_eq!((kept.heard(first), kept.heard(second)), (3, 0));
    kept.lost(at(0), first, 0, &mut vec![]);
    assert_eq!((kept.is_away(first), kept.is_away(second)), (true, false));
    assert_eq!(kept.close(first), Some(7));
    // Another record has its place, and the old name is none of it.
    let (third, _) = open(&mut kept, "/", 3);
    kept.join(third, &"red".into(), &mut vec![]);
    assert_eq!(kept.close(first), None);
    assert!(kept.expire(first).is_none());
    kept.leave(first, "red");
    kept.set_heard(first, 9);
    assert_eq!(
        (kept.pid(first), kept.data(first), kept.is_away(first)),
        (None, None, false)
    );
    assert_eq!((kept.rooms(third), kept.heard(third)), (vec!["red".into()], 0));
    assert_eq!((kept.len(), kept.away(), kept.data(third)), (2, 0, Some(&3)));
    let mut ended = vec![];
    kept.end_all(at(1), &mut ended);
    assert_eq!(ended.iter().map(|gone| gone.data).sum::<u32>(), 5);
    assert!(kept.log("/").is_none());
}

/// What is sent to one socket alone is in one order with what is sent to others, is kept as long as
/// any message, and goes back to the caller.
#[test]
fn what_is_for_one_socket_is_replayed_to_it_alone() {
    let limits = RecoveryConfig {
        max_log_packets: 4,
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    let (other, _) = open(&mut kept, "/", 2);
    whisper(&mut kept, at(0), key, 1);
    send(&mut kept, at(0), to(&[], &[]), 2);
    whisper(&mut kept, at(1), key, 3);
    whisper(&mut kept, at(1), other, 4);
    assert_eq!(missed(&mut kept, key, None), Ok(vec![1, 2, 3]));
    assert_eq!(missed(&mut kept, other, None), Ok(vec![2, 4]));
    assert_eq!(kept.log_bytes, bytes_of_logs(&kept));
    let mut gone = vec![];
    for to in [Recipients::Record(key), Recipients::Audience(to(&[], &[]))] {
        kept.post(at(1), "/", to, |_| Some((5, 10)), |message, _| gone.push(message));
    }
    assert_eq!(gone, [1, 2]);
    assert_eq!(missed(&mut kept, other, Some("5-2")), Ok(vec![4, 5]));
    assert_eq!(kept.next_timeout(), Some(at(11)));
    kept.handle_timeout(at(11), &mut vec![]);
    assert_eq!((kept.log("/").map(Log::len), kept.log_bytes), (Some(0), 0));
    assert_eq!(kept.next_timeout(), None);
    let gone = NotRecovered::Truncated(Truncated { pruned: 6 });
    assert_eq!(missed(&mut kept, other, None), Err(gone));
    // A message goes in time also if none is asked for.
    whisper(&mut kept, at(11), key, 7);
    whisper(&mut kept, at(21), key, 8);
    assert_eq!(kept.log("/").map(Log::len), Some(1));
}

/// An application may give a socket an id of its own, which is a room with the socket alone.
#[test]
fn what_is_for_a_socket_with_an_id_of_its_own_is_for_this_room() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    let id = ByteString::from("own id");
    kept.join(key, &id, &mut vec![]);
    kept.set_own_room(key, &id);
    kept.set_own_room(key, &"a room without members".into());
    whisper(&mut kept, at(0), key, 1);
    let (_, entry) = kept.newest("/").unwrap();
    assert_eq!(*entry.audience(), to(&["own id"], &[]));
    assert_eq!(missed(&mut kept, key, None), Ok(vec![1]));
}

/// Each message comes once and in its place, whatever rooms it was for, and only if the socket was
/// a member of one when it was sent.
#[test]
fn a_socket_misses_what_was_said_while_it_was_in_a_room() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    let (other, _) = open(&mut kept, "/", 2);
    for room in ["red", "blue"] {
        kept.join(other, &room.into(), &mut vec![]);
    }
    send(&mut kept, at(0), to(&[], &["red"]), 1);
    kept.join(key, &"red".into(), &mut vec![]);
    kept.join(key, &"blue".into(), &mut vec![]);
    send(&mut kept, at(0), to(&["red"], &[]), 2);
    send(&mut kept, at(0), to(&[], &[]), 3);
    send(&mut kept, at(0), to(&["red", "blue"], &[]), 4);
    send(&mut kept, at(0), to(&["blue"], &["red"]), 5);
    send(&mut kept, at(0), to(&["red"], &[]), 6);
    kept.leave(key, "red");
    send(&mut kept, at(0), to(&["red"], &[]), 7);
    send(&mut kept, at(0), to(&["blue"], &["red"]), 8);
    send(&mut kept, at(0), to(&["red", "blue"], &[]), 9);
    kept.join(key, &"red".into(), &mut vec![]);
    send(&mut kept, at(0), to(&["red"], &[]), 10);
    assert_eq!(missed(&mut kept, key, None), Ok(vec![1, 2, 3, 4, 6, 8, 9, 10]));
    assert_eq!(missed(&mut kept, key, Some("5-6")), Ok(vec![8, 9, 10]));
    assert_eq!(missed(&mut kept, other, None), Ok(vec![2, 3, 4, 6, 7, 9, 10]));
}

/// Of a message to several rooms that is thrown away, each room knows.
#[test]
fn every_room_of_a_message_knows_that_it_is_gone() {
    let limits = RecoveryConfig {
        max_log_packets: 2,
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    let keys = ["red", "blue"].map(|room| {
        let (key, _) = open(&mut kept, "/", room.len() as u8);
        kept.join(key, &room.into(), &mut vec![]);
        key
    });
    for message in 1..=4 {
        send(&mut kept, at(0), to(&["red", "blue"], &[]), message);
    }
    let gone = NotRecovered::Truncated(Truncated { pruned: 2 });
    for key in keys {
        assert_eq!(missed(&mut kept, key, Some("5-1")), Err(gone));
        assert_eq!(missed(&mut kept, key, Some("5-2")), Ok(vec![3, 4]));
    }
}

/// The last sixteen rooms that a socket has left are remembered. Whether it has missed something in
/// one of the others is not known.
#[test]
fn who_leaves_many_rooms_is_recovered_as_far_as_it_is_known() {
    let limits = RecoveryConfig {
        max_record_bytes: 2_000,
        ..config()
    };
    let mut kept = Kept::new(limits.clone(), [1; 16], 5);
    kept.note_changes();
    let mut saved = Saved::default();
    let (key, pid) = open(&mut kept, "/", 1);
    let visit = |kept: &mut Kept, number: u32| {
        let room = ByteString::from(std::format!("room {number}"));
        kept.join(key, &room, &mut vec![]);
        let offset = send(kept, at(0), to(&[&room], &[]), number);
        kept.leave(key, &room);
        offset
    };
    for number in 0..16 {
        visit(&mut kept, number);
    }
    assert_eq!(missed(&mut kept, key, None), Ok((0..16).collect()));
    let mut offset = visit(&mut kept, 16);
    let forgotten = NotRecovered::Truncated(Truncated { pruned: 1 });
    assert_eq!(missed(&mut kept, key, None), Err(forgotten));
    assert_eq!(missed(&mut kept, key, Some("5-1")), Ok((1..17).collect()));
    assert!(!is_wanted(&kept, "room 0") && is_wanted(&kept, "room 1"));
    for number in 17..100 {
        offset = visit(&mut kept, number);
    }
    let log = kept.log("/").unwrap();
    assert_eq!((stays(&kept, key), log.trails()), (17, 17), "with its own");
    saved.follow(&mut kept);
    let mut next = saved.restart(limits, 6, at(1));
    let key = next.find("/", &pid).expect("it was kept");
    assert_eq!(stays(&next, key), 17);
    let forgotten = NotRecovered::Truncated(Truncated { pruned: 84 });
    assert_eq!(missed(&mut next, key, Some("5-83")), Err(forgotten));
    assert_eq!(missed(&mut next, key, Some("5-84")), Ok((84..100).collect()));
    assert_eq!(missed(&mut next, key, Some(&offset)), Ok(vec![]));
}

/// As many rooms as a record may hold, to the byte. What is given up stays given up.
#[test]
fn a_record_holds_as_many_rooms_as_its_limit_says() {
    let limits = RecoveryConfig {
        max_record_bytes: 2 * (64 + 3),
        ..config()
    };
    let mut kept = Kept::new(limits.clone(), [1; 16], 5);
    kept.note_changes();
    let mut saved = Saved::default();
    let (key, pid) = open(&mut kept, "/", 1);
    kept.join(key, &"one".into(), &mut vec![]);
    kept.join(key, &"two".into(), &mut vec![]);
    assert_eq!(missed(&mut kept, key, None), Ok(vec![]));
    saved.follow(&mut kept);
    assert!(saved.restart(limits.clone(), 6, at(0)).find("/", &pid).is_some());
    kept.join(key, &"three".into(), &mut vec![]);
    assert_eq!(missed(&mut kept, key, None), Err(NotRecovered::Rooms));
    saved.follow(&mut kept);
    assert!(saved.restart(limits, 6, at(0)).find("/", &pid).is_none());
}

/// What clients that are away keep is bounded, to the byte, and is free again however they end.
#[test]
fn clients_that_are_away_keep_as_many_bytes_as_they_may() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    kept.lost(at(0), key, 100, &mut vec![]);
    let limits = RecoveryConfig {
        max_away_bytes: 2 * kept.away.bytes(),
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    let mut expired = vec![];
    for round in 0..3 {
        let keys = [1, 2, 3].map(|number| open(&mut kept, "/", 10 * round + number).0);
        kept.lost(at(1), keys[0], 100, &mut expired);
        kept.lost(at(2), keys[1], 100, &mut expired);
        assert!(expired.is_empty(), "two have room");
        kept.lost(at(3), keys[2], 100, &mut expired);
        assert_eq!(
            expired.drain(..).map(|gone| gone.data).collect::<Vec<_>>(),
            [u32::from(10 * round + 1)]
        );
        assert_eq!(missed(&mut kept, keys[1], None), Ok(vec![]));
        kept.close(keys[1]);
        kept.close(keys[2]);
        assert_eq!((kept.away.bytes(), kept.away.networks()), (0, 0));
    }
}

/// Only what somebody may ask for is kept, and it is not thrown away while somebody may.
#[test]
fn a_message_is_kept_as_long_as_somebody_may_ask() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let keys = [1, 2, 3].map(|number| open(&mut kept, "/", number).0);
    for key in &keys[..2] {
        kept.join(*key, &"red".into(), &mut vec![]);
    }
    send(&mut kept, at(0), to(&["red"], &[]), 1);
    send(&mut kept, at(0), to(&[], &[]), 2);
    kept.close(keys[0]);
    assert!(is_wanted(&kept, "red"));
    assert_eq!(missed(&mut kept, keys[1], None), Ok(vec![1, 2]));
    kept.close(keys[1]);
    assert!(!is_wanted(&kept, "red"));
    let nobody = Recipients::Audience(to(&["red"], &[]));
    let offset = kept.post(at(0), "/", nobody, |_| panic!("it is not copied"), |_, _| {});
    assert_eq!(
        offset.map(Offset::text),
        Some("5-3".into()),
        "it has its number all the same"
    );
    assert_eq!(missed(&mut kept, keys[2], None), Ok(vec![2]));
    kept.close(keys[2]);
    assert_eq!((kept.log("/").map(Log::is_empty), kept.log_bytes), (Some(true), 0));
}

#[test]
fn an_entry_counts_the_names_of_its_rooms() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    open(&mut kept, "/", 1);
    send(&mut kept, at(0), to(&[], &["grey", "red"]), 1);
    let names = 2 * size_of::<ByteString>() + 7;
    assert_eq!(kept.log_bytes, 256 + 10 + names);
}

/// Half an answer would be a gap. What a session has room for is exact.
#[test]
fn what_was_missed_has_to_fit_to_the_byte() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    for message in [1, 2] {
        send(&mut kept, at(0), to(&[], &[]), message);
    }
    let all = kept.log_bytes;
    for (bytes, packets, fits) in [(all, 2, true), (all - 1, 2, false), (all, 1, false)] {
        let room = Room { bytes, packets };
        assert_eq!(kept.check(key, None, room).is_ok(), fits);
        assert_eq!(kept.claim(key, None, room).is_ok(), fits);
    }
}

/// How long a client was away is known of those that cannot be recovered, too.
#[test]
fn the_application_is_told_how_long_a_client_was_away() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    let absence = |away, messages| {
        let away = Duration::from_secs(away);
        Some(Absence { away, messages })
    };
    for message in [1, 2, 3] {
        send(&mut kept, at(0), to(&["nobody"], &[]), message);
    }
    assert_eq!(kept.absence(at(3), key, None), absence(0, 3));
    kept.lost(at(3), key, 0, &mut vec![]);
    assert_eq!(kept.absence(at(5), key, Some("5-2")), absence(2, 1));
    assert_eq!(
        kept.absence(at(5), key, Some("5-9")),
        absence(2, 3),
        "nobody was given this offset"
    );
    kept.close(key);
    assert_eq!(kept.absence(at(5), key, None), None);
}

/// When all namespaces together have too much, the largest gives back a little more than it has
/// to, and never all at once.
#[test]
fn the_largest_namespace_gives_way_step_by_step() {
    let limits = RecoveryConfig {
        max_total_log_bytes: 10_000,
        ..config()
    };
    let post = |kept: &mut Kept, namespace: &str, bytes: usize| {
        let all = Recipients::Audience(to(&[], &[]));
        kept.post(at(0), namespace, all, |_| Some((1, bytes - 256)), |_, _| {});
        kept.log(namespace).map_or(0, Log::len)
    };
    let mut kept = Kept::new(limits.clone(), [1; 16], 5);
    kept.note_changes();
    open(&mut kept, "/", 1);
    open(&mut kept, "/other", 2);
    for number in 1..=10 {
        assert_eq!(post(&mut kept, "/", 1_000), number, "there is room for ten");
    }
    kept.take_changes().for_each(drop);
    post(&mut kept, "/other", 300);
    assert_eq!(kept.log("/").map(Log::len), Some(9));
    let dropped = |change| {
        matches!(
            change,
            Change::Dropped {
                namespace: 0,
                sequence: 1
            }
        )
    };
    assert!(kept.take_changes().any(dropped), "a store is told at once");

    let mut kept = Kept::new(limits, [1; 16], 5);
    let names: [_; 12] = core::array::from_fn(|number| std::format!("/{number}"));
    for (number, name) in names.iter().enumerate() {
        open(&mut kept, name, number as u8);
        for _ in 0..3 {
            post(&mut kept, name, 300);
        }
    }
    assert!(kept.log_bytes <= 10_000);
    assert!(names.iter().all(|name| kept.log(name).map_or(0, Log::len) > 0));
}

/// A message that is not kept carries the last number, with the epoch in which it was counted.
#[test]
fn the_last_number_is_known() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    assert_eq!(kept.current("/"), None);
    let (key, _) = open(&mut kept, "/", 1);
    let current = |kept: &Kept| kept.current("/").map(Offset::text);
    assert_eq!(current(&kept), Some("5-0".into()));
    let offset = send(&mut kept, at(0), to(&["nobody"], &[]), 1);
    assert_eq!(current(&kept), Some(offset));
    assert_eq!(kept.newest("/").map(|_| ()), None);
    whisper(&mut kept, at(0), key, 2);
    let newest = kept.newest("/").map(|(namespace, entry)| (namespace, entry.message));
    assert_eq!(newest, Some((0, 2)));
    assert_eq!(
        (kept.namespace_number("/"), kept.namespace_number("/x")),
        (Some(0), None)
    );
    let (second, _) = open(&mut kept, "/x", 2);
    assert_eq!(
        (kept.record_number(key), kept.record_number(second)),
        (Some(0), Some(1))
    );
    assert_eq!(kept.namespace_number("/x"), Some(1));
    // An entry of a stream is no offset where no stream is followed.
    let entry = Offset::of_entry(1_700_000_000_000, 0).unwrap();
    kept.pass(entry);
    assert_eq!(missed(&mut kept, key, Some(&entry.text())), Ok(vec![2]));
    open(&mut kept, "/y", 3);
    assert_eq!(kept.current("/y").map(Offset::text), Some("5-0".into()));
}

/// What a client that is away joins counts among what all who are away keep.
#[test]
fn rooms_joined_while_away_count_among_what_all_keep() {
    let weight = 64 + 3;
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (first, _) = open(&mut kept, "/", 1);
    let (second, _) = open(&mut kept, "/", 2);
    for key in [first, second] {
        kept.lost(at(0), key, 0, &mut vec![]);
    }
    let before = kept.away.bytes();
    kept.config.max_away_bytes = before + 2 * weight;
    kept.join(first, &"one".into(), &mut vec![]);
    kept.join(second, &"two".into(), &mut vec![]);
    assert_eq!(kept.away.bytes(), before + 2 * weight);
    // Rooms that are left are remembered, and then forgotten.
    kept.config.max_away_bytes = before + 19 * weight;
    let mut expired = vec![];
    for index in 0..40 {
        let room = alloc::format!("r{index:02}").into();
        kept.join(first, &room, &mut expired);
        kept.leave(first, &room);
    }
    assert_eq!(kept.away.bytes(), before + 2 * weight + 16 * weight);
    assert!(expired.is_empty(), "nobody who joins and leaves pushes out others");
    // Who comes back counts no more.
    assert_eq!(missed(&mut kept, first, None), Ok(vec![]));
    assert_eq!(kept.away.bytes(), before / 2 + weight);
    kept.close(second);
    assert_eq!(kept.away.bytes(), 0);
}

/// A client that joins a room while it is away is as if it had been in it before: where there is
/// too much, those go who have been away for longest, and each of them is reported once.
#[test]
fn who_joins_while_away_pushes_out_those_who_have_been_away_for_longest() {
    let (mut kept, keys, expired) = (Kept::new(config(), [1; 16], 5), [1, 2, 3], &mut vec![]);
    kept.note_changes();
    let keys = keys.map(|number| open(&mut kept, "/", number).0);
    for (key, seconds) in keys.into_iter().zip(1..) {
        kept.lost(at(seconds), key, 0, expired);
    }
    let own = kept.away.bytes() / 3;
    kept.config.max_away_bytes = kept.away.bytes();
    // There is no byte left, and the last one joins.
    kept.join(keys[2], &"one".into(), expired);
    assert_eq!(expired.drain(..).map(|gone| gone.data).collect::<Vec<_>>(), [1]);
    assert_eq!(kept.away.bytes(), 2 * own + 64 + 3);
    // Now one joins whose network keeps the most then, and it is the only one of it.
    kept.config.max_away_bytes = kept.away.bytes();
    kept.take_changes().for_each(drop);
    kept.join(keys[1], &"a long name".into(), expired);
    assert_eq!(expired.drain(..).map(|gone| gone.data).collect::<Vec<_>>(), [2]);
    assert!(!kept.is_away(keys[1]));
    let is_end = |change| matches!(change, Change::RecordGone { .. });
    assert!(kept.take_changes().last().is_some_and(is_end), "a store forgets it");
    assert_eq!(missed(&mut kept, keys[2], None), Ok(vec![]));
    assert_eq!((kept.away.bytes(), kept.away()), (0, 0));
}

/// Recovery F17: clients of one address that have much in their handshakes push out only their own,
/// whoever has been away for longest.
#[test]
fn heavy_clients_of_one_address_push_out_only_their_own() {
    let limits = RecoveryConfig {
        max_away_bytes: 10_000,
        ..config()
    };
    let (mut kept, expired) = (Kept::new(limits, [1; 16], 5), &mut vec![]);
    let [honest, joins] = [2, 4].map(|number| open(&mut kept, "/", number).0);
    kept.lost(at(0), honest, 0, expired);
    kept.lost(at(0), joins, 0, expired);
    let heavy: Vec<RecordKey> = (0..20)
        .map(|index| {
            let (key, _) = open(&mut kept, "/", 2 * index + 1);
            kept.lost(at(1), key, 2_500, expired);
            assert!(kept.away.bytes() <= 10_000);
            key
        })
        .collect();
    // Rooms count for the network, too.
    kept.join(joins, &"x".repeat(1_000).into(), expired);
    let gone: Vec<u32> = expired.drain(..).map(|gone| gone.data).collect();
    assert_eq!(gone, (0..18).map(|index| 2 * index + 1).collect::<Vec<_>>());
    // Now the others keep more, and one of them goes.
    kept.join(honest, &"y".repeat(6_000).into(), expired);
    assert_eq!(expired.drain(..).map(|gone| gone.data).collect::<Vec<_>>(), [2]);
    assert_eq!(missed(&mut kept, joins, None), Ok(vec![]));
    assert_eq!(missed(&mut kept, heavy[19], None), Ok(vec![]));
    kept.close(heavy[18]);
    assert_eq!((kept.away.bytes(), kept.away.networks()), (0, 0));
}

/// Recovery F17: a client that is alone in its network, as others are, does not go for a few bytes
/// more than they have, and its rooms push out who has been away for longest.
#[test]
fn a_client_alone_in_its_network_is_as_good_as_others() {
    let limits = RecoveryConfig {
        max_away_bytes: 64 * 600,
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    let lose = |kept: &mut Kept, number: u8, bytes: usize| {
        let opening = Opening {
            network: u128::from(number),
            ..opening("/", number)
        };
        let (key, _) = kept.open(opening).unwrap();
        let mut expired = vec![];
        kept.lost(at(u64::from(number)), key, bytes, &mut expired);
        (key, expired.into_iter().map(|gone| gone.data).collect::<Vec<_>>())
    };
    let (mut number, mut first) = (0, vec![]);
    while first.is_empty() {
        number += 1;
        first = lose(&mut kept, number, 0).1;
    }
    assert!(number > 64, "no network has a large share");
    assert_eq!(first, [1]);
    let (heavier, gone) = lose(&mut kept, number + 1, 200);
    assert_eq!(gone, [2, 3]);
    kept.config.max_away_bytes = kept.away.bytes();
    let mut expired = vec![];
    kept.join(heavier, &"x".into(), &mut expired);
    assert_eq!(expired.into_iter().map(|gone| gone.data).collect::<Vec<_>>(), [4]);
    assert_eq!(missed(&mut kept, heavier, None), Ok(vec![]));
}

/// What alone is more than all may keep is given up: nothing would be won if others went.
#[test]
fn a_client_that_alone_is_too_much_pushes_nobody_out() {
    let (mut kept, expired) = (Kept::new(config(), [1; 16], 5), &mut vec![]);
    let [other, joins, comes] = [1, 2, 3].map(|number| open(&mut kept, "/", number).0);
    kept.lost(at(1), other, 0, expired);
    kept.lost(at(2), joins, 0, expired);
    let before = kept.away.bytes();
    kept.config.max_away_bytes = before;
    kept.join(joins, &"a".repeat(before / 2).into(), expired);
    // It is of no use any more, so it takes no place of others either.
    kept.join(joins, &"b".into(), expired);
    assert_eq!((expired.len(), kept.away.bytes()), (0, before));
    kept.lost(at(3), comes, before, expired);
    assert_eq!(expired.drain(..).map(|gone| gone.data).collect::<Vec<_>>(), [3]);
    assert_eq!(missed(&mut kept, joins, None), Err(NotRecovered::Rooms));
    assert_eq!(missed(&mut kept, other, None), Ok(vec![]));
}

/// A caller that takes a socket out of the room of its own id changes nothing.
#[test]
fn nobody_leaves_the_room_of_its_own_id() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    let own = sid(1).to_string();
    kept.leave(key, &own);
    for index in 0..40 {
        let room = alloc::format!("r{index:02}").into();
        kept.join(key, &room, &mut vec![]);
        kept.leave(key, &room);
    }
    send(&mut kept, at(1), to(&[&own], &[]), 7);
    kept.lost(at(2), key, 0, &mut vec![]);
    assert_eq!(missed(&mut kept, key, None), Ok(vec![7]));
}
