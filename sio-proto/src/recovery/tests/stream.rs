//! Numbers that a stream gives, and records that come from another server.

use alloc::sync::Arc;

use super::restart::Saved;
use super::*;
use crate::recovery::Adopted;

fn place(number: u64) -> Offset {
    Offset::of_entry(1_700_000_000_000 + number, 0).unwrap()
}

/// A server that follows a stream, of which it has read entry 0.
fn server(config: RecoveryConfig) -> Kept {
    let mut kept = Kept::new(config, [1; 16], 5);
    kept.follow_stream();
    kept.pass(place(0));
    kept
}

/// Reads an entry, which is for everybody. Returns the number of its message.
fn read(kept: &mut Kept, number: u64) -> u64 {
    kept.pass(place(number));
    kept.advance("/", place(number));
    let all = Recipients::Audience(Audience::default());
    let offset = kept.post(at(0), "/", all, |_| Some((number as u32, 10)), |_, _| {});
    kept.advanced("/", place(number));
    offset.expect("somebody may come back").sequence
}

fn adopted(pid: &str, number: u8) -> Adopted<u32> {
    Adopted {
        namespace: "/".into(),
        pid: pid.into(),
        sid: sid(number),
        id: std::format!("id{number}").into(),
        rooms: vec![],
        start: Some(place(0)),
        network: u128::from(number),
        data: number.into(),
        bytes: 0,
    }
}

/// A process takes over a record from a store, while the stream has gone on without it. The client
/// is recovered only if the stream has been read again, and has each message once.
#[test]
fn a_record_of_a_store_is_behind_its_stream_until_it_is_read_again() {
    let mut kept = server(config());
    kept.note_changes();
    let (_, pid) = open(&mut kept, "/", 1);
    read(&mut kept, 1);
    read(&mut kept, 2);
    let mut saved = Saved::default();
    saved.follow(&mut kept);
    let next = || {
        let mut kept = saved.restart(config(), 6, at(0));
        kept.follow_stream();
        let key = kept.find("/", &pid).unwrap();
        // What was entry 3 is read by nobody here.
        read(&mut kept, 4);
        (kept, key)
    };
    let (shown, last) = (place(1).text(), place(4).text());
    let lost = |kept: &mut Kept, key, shown: &str| {
        assert!(kept.is_behind(key));
        let lost = missed(kept, key, Some(shown));
        assert!(matches!(lost, Err(NotRecovered::Truncated(_))), "{lost:?}");
    };
    let (mut kept, key) = next();
    for shown in [&shown, &last] {
        lost(&mut kept, key, shown);
    }
    assert_eq!(kept.reread(key), Some(place(4)));
    // Nothing was brought yet.
    lost(&mut kept, key, &last);
    let brought = |numbers: &[u64]| numbers.iter().map(|n| (place(*n), 10, *n as u32)).collect();
    assert!(kept.reserve(at(0), key, 10));
    assert!(kept.bring(at(0), key, brought(&[2, 3, 4])));
    read(&mut kept, 5);
    assert!(!kept.is_behind(key) && kept.reread(key).is_none());
    assert_eq!(missed(&mut kept, key, Some(&shown)), Ok(vec![2, 3, 4, 5]));
    // The process after that reads the stream again, from the same place.
    kept.lost(at(0), key, 0, &mut vec![]);
    let mut again = Saved::of_snapshot(&kept).restart(config(), 7, at(0));
    again.follow_stream();
    let key = again.find("/", &pid).unwrap();
    lost(&mut again, key, &shown);
    again.reread(key).unwrap();
    // The log of the store has what is not brought.
    assert!(again.bring(at(0), key, brought(&[3, 5])));
    assert_eq!(missed(&mut again, key, Some(&shown)), Ok(vec![2, 3, 4, 5]));
    // What was said without the stream is not in it.
    let (mut kept, key) = next();
    send(&mut kept, at(0), to(&[], &[]), 9);
    read(&mut kept, 5);
    assert_eq!(kept.reread(key), Some(place(5)));
    assert!(kept.bring(at(0), key, brought(&[2, 3, 4, 5])));
    let lost = missed(&mut kept, key, Some(&shown));
    assert!(matches!(lost, Err(NotRecovered::Truncated(_))), "{lost:?}");
    assert_eq!(missed(&mut kept, key, Some(&place(5).text())), Ok(vec![]));
    // Without a stream nothing is missing, and there is nothing to read.
    let mut alone = saved.restart(config(), 8, at(0));
    let key = alone.find("/", &pid).unwrap();
    assert!(!alone.is_behind(key) && alone.reread(key).is_none());
}

/// Where other servers speak and nobody keeps what they say, a record of a store is good for
/// nothing: its client is told so, whatever it shows.
#[test]
fn without_a_stream_nobody_knows_what_others_have_said_meanwhile() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    kept.note_changes();
    kept.hear_others();
    let (_, pid) = open(&mut kept, "/", 1);
    let shown = send(&mut kept, at(0), to(&[], &[]), 1);
    let mut saved = Saved::default();
    saved.follow(&mut kept);
    let mut next = saved.restart(config(), 6, at(0));
    next.hear_others();
    let key = next.find("/", &pid).unwrap();
    assert!(next.is_behind(key) && next.reread(key).is_none() && next.kept_until(key, None).is_none());
    for shown in [None, Some(&*shown)] {
        let lost = missed(&mut next, key, shown);
        assert!(matches!(lost, Err(NotRecovered::Truncated(_))), "{lost:?}");
    }
    // A client of this process misses nothing.
    let (key, _) = open(&mut next, "/", 2);
    send(&mut next, at(0), to(&[], &[]), 2);
    assert_eq!(missed(&mut next, key, None), Ok(vec![2]));
}

/// A store knows the last number that a client may have been shown, also if nothing was kept under
/// it. What the next process says stands behind it. Otherwise the client would seem to have it.
#[test]
fn what_a_process_says_stands_behind_all_that_the_last_one_has_read() {
    let mut kept = server(config());
    kept.note_changes();
    let (key, pid) = open(&mut kept, "/", 1);
    read(&mut kept, 1);
    // An entry of another kind. A volatile message that follows carries its place.
    kept.pass(place(5));
    kept.advanced("/", place(5));
    let shown = kept.current("/").unwrap().text();
    assert_eq!(shown, place(5).text());
    kept.join(key, &"red".into(), &mut vec![]);
    let mut saved = Saved::default();
    saved.follow(&mut kept);
    let mut next = saved.restart(config(), 6, at(0));
    next.follow_stream();
    let key = next.find("/", &pid).unwrap();
    // The broker is not there yet.
    send(&mut next, at(0), to(&["red"], &[]), 9);
    assert!(next.log("/").unwrap().last() > place(5).sequence);
    pass_by(&mut next, 6);
    next.reread(key).unwrap();
    assert!(next.bring(at(0), key, vec![]));
    let lost = missed(&mut next, key, Some(&shown));
    assert!(matches!(lost, Err(NotRecovered::Truncated(_))), "{lost:?}");
}

/// Reads an entry that is no message.
fn pass_by(kept: &mut Kept, number: u64) {
    kept.pass(place(number));
    kept.advanced("/", place(number));
}

/// A record begins behind all that has been read, also if nothing of it was for its namespace.
#[test]
fn a_record_begins_behind_the_entries_of_other_namespaces() {
    let mut kept = server(config());
    kept.note_changes();
    let (first, _) = open(&mut kept, "/", 1);
    kept.pass(place(7));
    let (second, _) = open(&mut kept, "/", 2);
    assert_eq!(kept.start(first), Some(place(0)));
    assert_eq!(
        (kept.start(second), kept.current("/")),
        (Some(place(7)), Some(place(7)))
    );
    let mut saved = Saved::default();
    saved.follow(&mut kept);
    assert_eq!(saved.counted(), [place(7).sequence]);
}

/// A client has come here from another server, has heard nothing since, and the process ends. The
/// next one reads the stream again from what the client has seen, before it came here.
#[test]
fn a_client_that_moved_here_and_heard_nothing_survives_the_process() {
    let mut kept = server(config());
    kept.note_changes();
    open(&mut kept, "/", 1);
    for number in [1, 2, 3] {
        read(&mut kept, number);
    }
    let pid = open(&mut Kept::new(config(), [2; 16], 6), "/", 2).1;
    let (key, until) = kept.adopt(at(0), adopted(&pid, 2), &mut vec![]).unwrap();
    assert_eq!(until, place(3));
    let brought = |numbers: &[u64]| numbers.iter().map(|n| (place(*n), 10, *n as u32)).collect();
    assert!(kept.bring(at(0), key, brought(&[2, 3])));
    let shown = place(1).text();
    assert_eq!(missed(&mut kept, key, Some(&shown)), Ok(vec![2, 3]));
    kept.let_in(key);
    let mut saved = Saved::default();
    saved.follow(&mut kept);
    let mut next = saved.restart(config(), 7, at(0));
    next.follow_stream();
    let key = next.find("/", &pid).unwrap();
    pass_by(&mut next, 6);
    assert_eq!(next.kept_until(key, Some(&shown)), None, "the log was not for it");
    assert_eq!(next.kept_until(key, Some(&place(3).text())), None);
    assert_eq!(next.reread(key), Some(place(6)));
    assert!(next.bring(at(0), key, brought(&[2, 3, 5])));
    assert_eq!(missed(&mut next, key, Some(&shown)), Ok(vec![2, 3, 5]));
    // A process that is alone has not what was brought.
    let mut alone = saved.restart(config(), 8, at(0));
    let key = alone.find("/", &pid).unwrap();
    let lost = missed(&mut alone, key, Some(&shown));
    assert!(matches!(lost, Err(NotRecovered::Truncated(_))), "{lost:?}");
}

/// What a process has heard while a client was its own is in the log of the next ones. What was
/// said between two processes is not, also if a third one follows.
#[test]
fn only_what_no_log_has_is_read_again() {
    let mut first = server(config());
    first.note_changes();
    let (_, oldest) = open(&mut first, "/", 1);
    read(&mut first, 1);
    let (_, pid) = open(&mut first, "/", 2);
    read(&mut first, 2);
    read(&mut first, 3);
    let mut saved = Saved::default();
    saved.follow(&mut first);
    let kept_until = |kept: &mut Kept, shown: Option<u64>| {
        let key = kept.find("/", &pid).unwrap();
        let shown = shown.map(|number| place(number).text());
        kept.kept_until(key, shown.as_deref())
    };
    let mut next = saved.restart(config(), 6, at(0));
    next.follow_stream();
    let key = next.find("/", &oldest).unwrap();
    assert_eq!(next.kept_until(key, Some(&place(1).text())), Some(place(3)));
    for (shown, until) in [(None, Some(3)), (Some(1), Some(3)), (Some(2), Some(3)), (Some(3), None)] {
        assert_eq!(kept_until(&mut next, shown), until.map(place), "{shown:?}");
    }
    // Entry 4 was said before this process. The client does not come to it.
    read(&mut next, 5);
    let mut saved = Saved::default();
    let key = next.find("/", &pid).unwrap();
    assert!(next.is_behind(key));
    saved.follow(&mut next);
    let mut last = Saved::of_snapshot(&next).restart(config(), 7, at(0));
    last.follow_stream();
    assert_eq!(kept_until(&mut last, Some(2)), Some(place(3)), "and not 5");
    pass_by(&mut last, 6);
    let key = last.find("/", &pid).unwrap();
    last.reread(key).unwrap();
    let brought = [4, 5].map(|number: u64| (place(number), 10, number as u32));
    assert!(last.bring(at(0), key, brought.into()));
    assert_eq!(missed(&mut last, key, Some(&place(1).text())), Ok(vec![2, 3, 4, 5]));
}

/// What was brought to a client is in no store, whatever the client has shown meanwhile: the next
/// process reads it again. Only the end of the process in which the client began is no gap.
#[test]
fn what_was_brought_to_a_client_is_read_again_by_the_next_process() {
    let mut first = server(config());
    first.note_changes();
    let (_, pid) = open(&mut first, "/", 1);
    (1..=12).for_each(|number| _ = read(&mut first, number));
    let mut saved = Saved::default();
    saved.follow(&mut first);
    for comebacks in [&[8, 16][..], &[8], &[12], &[16], &[30]] {
        // Entries 13 to 20 are read by nobody here.
        let mut second = saved.restart(config(), 6, at(0));
        second.follow_stream();
        second.note_changes();
        read(&mut second, 21);
        let key = second.find("/", &pid).unwrap();
        second.reread(key).unwrap();
        let brought = (9..=21).map(|number: u64| (place(number), 10, number as u32));
        assert!(second.bring(at(0), key, brought.collect()));
        (22..=30).for_each(|number| _ = read(&mut second, number));
        for shown in comebacks {
            assert!(second.claim(key, Some(&place(*shown).text()), PLENTY).is_ok());
            second.lost(at(0), key, 0, &mut vec![]);
        }
        let mut third = Saved::of_snapshot(&second).restart(config(), 7, at(0));
        third.follow_stream();
        let key = third.find("/", &pid).unwrap();
        for shown in [8, 12, 16, 20, 21, 30] {
            let seen = shown.max(*comebacks.last().unwrap());
            let until = Some(place(12)).filter(|_| seen < 12);
            let kept = third.kept_until(key, Some(&place(shown).text()));
            assert_eq!(kept, until, "{comebacks:?} {shown}");
        }
    }
}

/// Until the first entry is read, nobody here knows what the stream has: the log of a client that
/// began before is not believed to be without a gap.
#[test]
fn the_log_of_a_client_that_began_before_the_first_entry_is_not_enough() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    kept.follow_stream();
    kept.note_changes();
    let (_, early) = open(&mut kept, "/", 1);
    // Entry 20 is read by nobody here.
    read(&mut kept, 21);
    let (_, late) = open(&mut kept, "/", 2);
    read(&mut kept, 22);
    let mut saved = Saved::default();
    saved.follow(&mut kept);
    let mut next = saved.restart(config(), 6, at(0));
    next.follow_stream();
    for (pid, until) in [(early, None), (late, Some(place(22)))] {
        let key = next.find("/", &pid).unwrap();
        assert_eq!(next.kept_until(key, None), until);
    }
}

/// While something that was said without the stream may still come from it, no client gets the
/// place of an entry, which stands for all before it: elsewhere, it would get that once more.
#[test]
fn a_new_client_does_not_end_the_offsets_of_this_process() {
    let mut kept = server(config());
    let (first, _) = open(&mut kept, "/", 1);
    read(&mut kept, 5);
    let shown = send(&mut kept, at(0), to(&[], &[]), 6);
    // An entry of another namespace.
    kept.pass(place(9));
    let (second, _) = open(&mut kept, "/", 2);
    assert_eq!(kept.current("/").map(Offset::text), Some(shown.clone()));
    assert_eq!(missed(&mut kept, first, Some(&shown)), Ok(vec![]));
    // Its message comes from the stream.
    kept.pass(place(12));
    kept.advanced("/", place(12));
    let (third, _) = open(&mut kept, "/", 3);
    kept.pass(place(13));
    let (fourth, _) = open(&mut kept, "/", 4);
    let starts = [second, third, fourth].map(|key| kept.start(key));
    assert_eq!(starts, [None, Some(place(12)), Some(place(13))]);
}

/// The stays of a record are those of its socket, one by one, so that nothing is read for it that
/// was said in a room while it was not there.
#[test]
fn the_stays_of_a_record_have_their_ends() {
    let mut kept = server(config());
    let (key, _) = open(&mut kept, "/", 1);
    for (number, joins) in [(2, true), (4, false), (6, true)] {
        read(&mut kept, number);
        match joins {
            true => kept.join(key, &"red".into(), &mut vec![]),
            false => kept.leave(key, "red"),
        }
    }
    let own = ByteString::from(sid(1).to_string());
    let red = ByteString::from("red");
    let stays = [
        (own, None, None),
        (red.clone(), Some(place(2)), Some(place(4))),
        (red, Some(place(6)), None),
    ];
    assert_eq!(kept.stays(key), stays);
    assert!(kept.has_member("/", "red") && !kept.has_member("/x", "red"));
    kept.leave(key, "red");
    assert!(!kept.has_member("/", "red") && kept.has_member("/", &sid(1).to_string()));
    kept.close(key);
    assert!(!kept.has_member("/", &sid(1).to_string()));
}

/// The number of a message is that of its entry, whatever was said before, and the last one is
/// that of an entry also if nothing was kept.
#[test]
fn a_message_has_the_number_of_its_entry() {
    let mut kept = server(config());
    let (key, _) = open(&mut kept, "/", 1);
    assert_eq!((kept.current("/"), kept.start(key)), (Some(place(0)), Some(place(0))));
    assert_eq!(read(&mut kept, 3), place(3).sequence);
    assert_eq!(kept.current("/"), Some(place(3)));
    // What is said here only has a number between two entries.
    let offset = send(&mut kept, at(0), to(&["nobody"], &[]), 1);
    assert_eq!(kept.current("/").map(Offset::text), Some(offset));
    assert_eq!(read(&mut kept, 5), place(5).sequence);
    // An entry of another kind.
    kept.advanced("/", place(7));
    assert_eq!(kept.current("/"), Some(place(7)));
    // An entry that comes late does not take a number back.
    kept.advanced("/", place(6));
    assert_eq!(kept.current("/"), Some(place(7)));
    // A client has had what it has said to have, also if it shows less.
    let shown = |number| Some(place(number).text());
    assert_eq!(missed(&mut kept, key, shown(3).as_deref()), Ok(vec![5]));
    assert_eq!(missed(&mut kept, key, shown(0).as_deref()), Ok(vec![5]));
    assert_eq!(
        missed(&mut kept, key, Some("zz-9999999999999999999")),
        Ok(vec![5]),
        "of another process"
    );
    // Before anything was read, no place is that of an entry.
    let mut early = Kept::new(config(), [1; 16], 5);
    early.follow_stream();
    let (key, _) = open(&mut early, "/", 1);
    assert_eq!(
        (early.start(key), early.current("/").map(Offset::text)),
        (None, Some("5-0".into()))
    );
    // Without a stream, there are no places.
    let mut alone = Kept::new(config(), [1; 16], 5);
    open(&mut alone, "/", 1);
    alone.advanced("/", place(3));
    let (key, _) = open(&mut alone, "/", 2);
    assert_eq!(alone.start(key), None);
}

/// A record that was adopted waits for its client as any other does, and needs nothing brought if
/// its client has seen all.
#[test]
fn an_adopted_record_waits_for_its_client() {
    let limits = RecoveryConfig {
        max_record_bytes: 64 + 3,
        ..config()
    };
    let mut kept = server(limits);
    let long = "p".repeat(64);
    let (key, until) = kept
        .adopt(at(0), adopted(&long, 1), &mut vec![])
        .expect("it fits to the byte");
    assert_eq!((kept.find("/", &long), until), (Some(key), place(0)));
    assert_eq!((kept.away(), kept.next_timeout()), (1, Some(at(10))));
    assert_eq!(missed(&mut kept, key, Some(&until.text())), Ok(vec![]));
    let (second, _) = kept.adopt(at(1), adopted("q", 2), &mut vec![]).unwrap();
    assert!(kept.is_away(second) && !kept.is_away(key));
    let mut expired = vec![];
    kept.handle_timeout(at(11), &mut expired);
    assert_eq!(expired.iter().map(|gone| gone.data).collect::<Vec<_>>(), [2]);
    let mut large = adopted("r", 3);
    large.id = "id 3".into();
    assert!(kept.adopt(at(11), large, &mut vec![]).is_none());
}

/// Where a room was joined again, the first time that is remembered counts: its messages may have
/// been missed.
#[test]
fn a_room_that_was_joined_again_counts_from_the_first_time() {
    let mut kept = server(config());
    let (key, _) = open(&mut kept, "/", 1);
    for (number, room, joins) in [
        (2, "blue", true),
        (3, "red", true),
        (4, "red", false),
        (5, "blue", false),
        (6, "red", true),
        (7, "green", true),
    ] {
        read(&mut kept, number);
        match joins {
            true => kept.join(key, &room.into(), &mut vec![]),
            false => kept.leave(key, room),
        }
    }
    let since = [("red", 3), ("green", 7)].map(|(room, number)| (ByteString::from(room), Some(place(number))));
    assert_eq!(kept.rooms_since(key), since);
}

/// What was brought goes at its time, and the next time is that of the next one.
#[test]
fn what_was_brought_for_several_goes_one_after_the_other() {
    let mut kept = server(config());
    let keys = [1, 2].map(|number| {
        let pid = std::format!("p{number}");
        let (key, until) = kept.adopt(at(20), adopted(&pid, number), &mut vec![]).unwrap();
        assert!(kept.reserve(at(20), key, 1));
        assert_eq!(kept.next_timeout(), Some(at(30)));
        assert!(kept.claim(key, Some(&until.text()), PLENTY).is_ok());
        key
    });
    for (key, second) in keys.into_iter().zip([20, 25]) {
        assert!(kept.bring(at(second), key, vec![(place(0), 10, 7)]));
    }
    for second in [30, 35] {
        assert_eq!(kept.next_timeout(), Some(at(second)));
        kept.handle_timeout(at(second), &mut vec![]);
    }
    assert_eq!(kept.next_timeout(), None);
}

/// Who gives way gives the memory, and its client is told that something is missing.
#[test]
fn what_gives_way_is_dropped_and_is_said_to_be_missing() {
    let limits = RecoveryConfig {
        max_brought_bytes: 100_000,
        ..config()
    };
    let mut kept = Recovery::<Arc<()>, u32>::new(limits, [1; 16], 5);
    kept.follow_stream();
    kept.pass(place(9));
    let (first, _) = kept.adopt(at(0), adopted("p", 1), &mut vec![]).unwrap();
    let (second, _) = kept.adopt(at(0), adopted("q", 2), &mut vec![]).unwrap();
    let message = Arc::new(());
    assert!(kept.bring(at(0), first, vec![(place(3), 90_000, Arc::clone(&message))]));
    assert_eq!(kept.check(first, None, PLENTY).map(|missed| missed.len()), Ok(1));
    assert!(kept.reserve(at(0), second, 40_000));
    assert_eq!(Arc::strong_count(&message), 1);
    let gone = Truncated {
        pruned: place(3).sequence,
    };
    assert_eq!(
        kept.check(first, None, PLENTY).err(),
        Some(NotRecovered::Truncated(gone))
    );
    let seen = place(3).text();
    assert!(kept.check(first, Some(&seen), PLENTY).is_ok());
}
