//! Recovery against a naive model that writes down, for each message, who was to hear it.

extern crate std;

use std::collections::BTreeSet;
use std::string::ToString;
use std::vec;

use core::time::Duration;

use proptest::prelude::*;

use super::*;

mod cluster;
mod records;
mod restart;
mod store;
mod stream;

const PLENTY: Room = Room {
    bytes: usize::MAX,
    packets: usize::MAX,
};

fn config() -> RecoveryConfig {
    RecoveryConfig {
        window: Duration::from_secs(10),
        ..RecoveryConfig::default()
    }
}

type Kept = Recovery<u32, u32>;

fn sid(number: u8) -> Sid {
    Sid::new(&[9; 16], 0, u32::from(number), [number; Sid::RANDOM])
}

fn opening(namespace: &str, number: u8) -> Opening<u32> {
    Opening {
        namespace: namespace.into(),
        sid: sid(number),
        network: u128::from(number % 2),
        random: [number; 18],
        data: u32::from(number),
    }
}

fn open(kept: &mut Kept, namespace: &str, number: u8) -> (RecordKey, ByteString) {
    kept.open(opening(namespace, number)).expect("the bytes are new")
}

fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

fn to(rooms: &[&str], except: &[&str]) -> Audience {
    let names = |names: &[&str]| names.iter().map(|name| ByteString::from(*name)).collect();
    Audience {
        rooms: names(rooms),
        except: names(except),
    }
}

/// Sends `message` and returns its offset.
fn send(kept: &mut Kept, now: Time, audience: Audience, message: u32) -> ByteString {
    let offset = kept.post(
        now,
        "/",
        Recipients::Audience(audience),
        |_| Some((message, 10)),
        |_, _| {},
    );
    offset.expect("somebody may come back").text()
}

fn missed(kept: &mut Kept, key: RecordKey, offset: Option<&str>) -> Result<Vec<u32>, NotRecovered> {
    let claimed = kept.claim(key, offset, PLENTY)?;
    Ok(claimed.missed.iter().map(|entry| entry.message).collect())
}

/// Recovery R1: an offset that is missing means "from where this socket began".
#[test]
fn a_client_that_has_seen_nothing_is_recovered_from_its_first_moment() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (other, _) = open(&mut kept, "/", 1);
    send(&mut kept, at(0), to(&[], &[]), 100);
    let (key, pid) = open(&mut kept, "/", 2);
    send(&mut kept, at(1), to(&[], &[]), 101);
    kept.lost(at(1), key, 0, &mut vec![]);
    send(&mut kept, at(2), to(&[], &[]), 102);
    assert_eq!(kept.find("/", &pid), Some(key));
    assert_eq!(missed(&mut kept, key, None), Ok(vec![101, 102]));
    // Whatever text stood in an event of another server is no offset of ours.
    assert_eq!(missed(&mut kept, key, Some("hello")), Ok(vec![101, 102]));
    assert_eq!(missed(&mut kept, other, None), Ok(vec![100, 101, 102]));
}

/// Recovery R2, F2, F9: a client that was silent for longer than messages are kept has missed
/// nothing. What was said to others is not looked at.
#[test]
fn an_offset_that_is_older_than_the_log_is_good_while_nothing_was_missed() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    let (_, _) = open(&mut kept, "/", 2);
    let offset = send(&mut kept, at(0), to(&[], &[]), 1);
    for second in 1..100 {
        send(&mut kept, at(second), to(&[&sid(2).to_string()], &[]), 2);
    }
    assert_eq!(kept.log("/").map(|log| log.get(1).is_none()), Some(true), "pruned");
    kept.lost(at(100), key, 0, &mut vec![]);
    assert_eq!(missed(&mut kept, key, Some(&offset)), Ok(vec![]));
}

/// Recovery R3: a `pid` of a socket that is there still is that of a half-dead connection.
#[test]
fn a_live_record_can_be_claimed_and_then_lost_once_more() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, pid) = open(&mut kept, "/", 1);
    send(&mut kept, at(0), to(&[], &[]), 1);
    assert_eq!(missed(&mut kept, key, None), Ok(vec![1]));
    kept.lost(at(1), key, 0, &mut vec![]);
    assert_eq!(kept.away(), 1);
    let offset = send(&mut kept, at(2), to(&[], &[]), 2);
    assert_eq!(missed(&mut kept, key, None), Ok(vec![1, 2]));
    assert_eq!(kept.away(), 0);
    kept.lost(at(3), key, 0, &mut vec![]);
    send(&mut kept, at(4), to(&[], &[]), 3);
    assert_eq!(missed(&mut kept, key, Some(&offset)), Ok(vec![3]));
    assert_eq!(kept.find("/", &pid), Some(key));
}

/// Recovery R7: what is gone is said to be gone.
#[test]
fn who_has_missed_what_is_not_kept_is_told() {
    let limits = RecoveryConfig {
        max_log_packets: 2,
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    for message in 0..3 {
        send(&mut kept, at(0), to(&[], &[]), message);
    }
    kept.lost(at(0), key, 0, &mut vec![]);
    let gone = NotRecovered::Truncated(Truncated { pruned: 1 });
    assert_eq!(missed(&mut kept, key, None), Err(gone));
    assert_eq!(missed(&mut kept, key, Some("5-1")), Ok(vec![1, 2]));
}

#[test]
fn an_offset_that_nobody_was_given_recovers_nobody() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    assert_eq!(missed(&mut kept, key, Some("5-1")), Err(NotRecovered::Offset));
}

#[test]
fn what_does_not_fit_into_the_queue_of_a_session_is_not_replayed() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    send(&mut kept, at(0), to(&[], &[]), 1);
    send(&mut kept, at(0), to(&[], &[]), 2);
    let room = Room {
        packets: 1,
        bytes: usize::MAX,
    };
    let too_much = kept.claim(key, None, room).expect_err("two do not fit");
    assert!(matches!(too_much, NotRecovered::TooMuch { packets: 2, .. }));
}

/// Recovery R10: whoever does not come back is reported, with what was kept.
#[test]
fn records_that_nobody_claims_expire_and_are_reported() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, pid) = open(&mut kept, "/", 7);
    kept.lost(at(1), key, 0, &mut vec![]);
    assert_eq!(kept.next_timeout(), Some(at(11)));
    let mut expired = vec![];
    kept.handle_timeout(at(10), &mut expired);
    assert!(expired.is_empty());
    kept.handle_timeout(at(11), &mut expired);
    assert_eq!(expired.iter().map(|gone| gone.data).collect::<Vec<_>>(), [7]);
    assert_eq!(kept.find("/", &pid), None);
    assert_eq!(missed(&mut kept, key, None), Err(NotRecovered::Unknown));
    assert!(kept.log("/").is_none());
}

#[test]
fn a_goodbye_is_final() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, pid) = open(&mut kept, "/", 7);
    assert_eq!(kept.close(key), Some(7));
    assert_eq!(kept.find("/", &pid), None);
    assert_eq!(kept.close(key), None);
}

#[test]
fn a_pid_is_good_in_its_own_namespace_only() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (_, pid) = open(&mut kept, "/", 7);
    open(&mut kept, "/admin", 8);
    assert_eq!(kept.find("/admin", &pid), None);
    assert_eq!(kept.find("/", "AAAAAAAAAAAAAAAAAAAAAAAA"), None);
    assert_eq!(kept.find("/", ""), None);
    assert_eq!(kept.find("/", "ääääääääääää"), None);
}

/// Recovery F17: one address cannot push out the records of others, nor fill the memory.
#[test]
fn clients_of_one_address_push_out_only_their_own() {
    let limits = RecoveryConfig {
        max_away_per_address: 2,
        max_away: 3,
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    let mut expired = vec![];
    let (honest, _) = open(&mut kept, "/", 2);
    kept.lost(at(0), honest, 0, &mut expired);
    for number in [1, 3, 5, 7] {
        let (key, _) = open(&mut kept, "/", number);
        kept.lost(at(u64::from(number)), key, 0, &mut expired);
    }
    assert_eq!(expired.iter().map(|gone| gone.data).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(missed(&mut kept, honest, None), Ok(vec![]));
}

#[test]
fn a_record_with_too_many_rooms_is_given_up() {
    let limits = RecoveryConfig {
        max_record_bytes: 200,
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    for room in ["a", "b", "c", "d"] {
        kept.join(key, &room.into(), &mut vec![]);
    }
    assert_eq!(missed(&mut kept, key, None), Err(NotRecovered::Rooms));
    let mut expired = vec![];
    kept.lost(at(0), key, 0, &mut expired);
    assert_eq!(expired.len(), 1);
}

/// Recovery F8, F17, R8: the memory of all namespaces together is bounded, and a busy one pays
/// first.
#[test]
fn a_busy_namespace_does_not_push_out_the_messages_of_another() {
    let limits = RecoveryConfig {
        max_total_log_bytes: 10_000,
        ..config()
    };
    let mut kept = Kept::new(limits, [1; 16], 5);
    open(&mut kept, "/", 1);
    let (quiet, _) = open(&mut kept, "/quiet", 2);
    kept.post(
        at(0),
        "/quiet",
        Recipients::Audience(to(&[], &[])),
        |_| Some((77, 10)),
        |_, _| {},
    );
    for message in 0..1_000 {
        send(&mut kept, at(0), to(&[], &[]), message);
        assert!(kept.log_bytes <= 10_000);
    }
    assert_eq!(missed(&mut kept, quiet, None), Ok(vec![77]));
}

/// Numbers never go back: an offset of an earlier life of the namespace is never ahead.
#[test]
fn a_namespace_that_was_forgotten_counts_on() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    let (key, _) = open(&mut kept, "/", 1);
    let old = send(&mut kept, at(0), to(&[], &[]), 1);
    kept.close(key);
    kept.handle_timeout(at(1), &mut vec![]);
    assert!(kept.log("/").is_none());
    let (key, _) = open(&mut kept, "/", 2);
    send(&mut kept, at(2), to(&[], &[]), 2);
    assert_eq!(missed(&mut kept, key, Some(&old)), Ok(vec![2]));
}

#[derive(Clone, Debug)]
enum Step {
    Open,
    Join(usize, u8),
    Leave(usize, u8),
    Lost(usize),
    Close(usize),
    Send(Vec<u8>, Vec<u8>, Option<usize>),
    Claim(usize, usize),
    Wait(u8),
    /// The process ends, and another goes on with what was kept.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let rooms = || prop::collection::vec(0..4u8, 0..3);
    let member = || 0..8usize;
    prop_oneof![
        2 => Just(Step::Open),
        4 => (member(), 0..4u8).prop_map(|(m, r)| Step::Join(m, r)),
        2 => (member(), 0..4u8).prop_map(|(m, r)| Step::Leave(m, r)),
        2 => member().prop_map(Step::Lost),
        1 => member().prop_map(Step::Close),
        8 => (rooms(), rooms(), prop::option::of(member())).prop_map(|(r, e, one)| Step::Send(r, e, one)),
        4 => (member(), 0..20usize).prop_map(|(m, seen)| Step::Claim(m, seen)),
        2 => (0..6u8).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

struct Known {
    key: RecordKey,
    pid: ByteString,
    sid: Sid,
    rooms: BTreeSet<u8>,
    /// Every message that was for it, with its offset.
    heard: Vec<(u32, ByteString)>,
    away_since: Option<Time>,
    /// How much it has said to have.
    shown: usize,
}

/// What the logs keep, counted anew.
fn bytes_of_logs(kept: &Kept) -> usize {
    let entries = kept.namespaces.iter().flat_map(|(_, place)| place.log.entries());
    entries.map(Entry::bytes).sum()
}

fn room(number: u8) -> ByteString {
    ByteString::from(["red", "green", "blue", "grey"][usize::from(number)])
}

proptest! {
    #[test]
    fn what_was_missed_is_what_a_naive_model_says(
        packets in 1..40usize,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let limits = RecoveryConfig { max_log_packets: packets, ..config() };
        let mut kept = Kept::new(limits.clone(), [1; 16], 3);
        kept.note_changes();
        let (mut saved, mut epoch) = (restart::Saved::default(), 3);
        let mut known: Vec<Known> = vec![];
        let mut now = Time::ZERO;
        let (mut opened, mut sent) = (0u8, 0u32);
        for step in steps {
            let count = known.len();
            match step {
                Step::Open => {
                    opened += 1;
                    let (key, pid) = open(&mut kept, "/", opened);
                    known.push(Known { key, pid, sid: sid(opened), rooms: BTreeSet::new(), heard: vec![], away_since: None, shown: 0 });
                }
                Step::Wait(seconds) => {
                    now = now + Duration::from_secs(u64::from(seconds));
                    let mut expired = vec![];
                    kept.handle_timeout(now, &mut expired);
                    let is_over = |one: &Known| one.away_since.is_some_and(|since| since + Duration::from_secs(10) <= now);
                    let over = known.iter().filter(|one| is_over(one)).count();
                    prop_assert_eq!(expired.len(), over);
                    known.retain(|one| !is_over(one));
                }
                Step::Restart => {
                    epoch += 1;
                    kept = saved.restart(limits.clone(), epoch, now);
                    for one in &mut known {
                        one.key = kept.find("/", &one.pid).expect("every record was kept");
                        one.away_since.get_or_insert(now);
                    }
                }
                Step::Send(rooms, except, one) if count > 0 => {
                    sent += 1;
                    let mut audience = Audience {
                        rooms: rooms.iter().map(|number| room(*number)).collect(),
                        except: except.iter().map(|number| room(*number)).collect(),
                    };
                    let direct = one.filter(|_| rooms.is_empty()).map(|one| known[one % count].sid);
                    audience.rooms.extend(direct.map(|sid| ByteString::from(sid.to_string())));
                    let offset = send(&mut kept, now, audience, sent);
                    for one in &mut known {
                        let meant = match direct {
                            Some(sid) => sid == one.sid,
                            None => rooms.is_empty() || rooms.iter().any(|room| one.rooms.contains(room)),
                        };
                        let left_out = except.iter().any(|room| one.rooms.contains(room));
                        if meant && !left_out {
                            one.heard.push((sent, offset.clone()));
                        }
                    }
                }
                Step::Join(at, number) if count > 0 => {
                    let one = &mut known[at % count];
                    kept.join(one.key, &room(number), &mut vec![]);
                    one.rooms.insert(number);
                }
                Step::Leave(at, number) if count > 0 => {
                    let one = &mut known[at % count];
                    kept.leave(one.key, &room(number));
                    one.rooms.remove(&number);
                }
                Step::Lost(at) if count > 0 => {
                    let one = &mut known[at % count];
                    kept.lost(now, one.key, 0, &mut vec![]);
                    one.away_since.get_or_insert(now);
                }
                Step::Close(at) if count > 0 => {
                    let one = known.swap_remove(at % count);
                    prop_assert!(kept.close(one.key).is_some());
                }
                Step::Claim(at, seen) if count > 0 => {
                    let one = &mut known[at % count];
                    let seen = seen.clamp(one.shown.min(one.heard.len()), one.heard.len());
                    let offset = seen.checked_sub(1).map(|last| one.heard[last].1.clone());
                    let expected: Vec<u32> = one.heard[seen..].iter().map(|(message, _)| *message).collect();
                    let in_log = kept.log("/").map_or(0, Log::len);
                    match kept.claim(one.key, offset.as_deref(), PLENTY) {
                        Ok(claimed) => {
                            let missed: Vec<u32> = claimed.missed.iter().map(|entry| entry.message).collect();
                            prop_assert_eq!(missed, expected);
                            prop_assert_eq!(claimed.sid, one.sid);
                            let rooms: BTreeSet<_> = claimed.rooms.iter().map(ToString::to_string).collect();
                            let known: BTreeSet<_> = one.rooms.iter().map(|number| room(*number).to_string()).collect();
                            prop_assert_eq!(rooms, known);
                            one.away_since = None;
                            one.shown = seen;
                        }
                        // Only what was thrown away may be missing.
                        Err(NotRecovered::Truncated(Truncated { pruned })) => {
                            prop_assert!(u64::from(sent) > in_log as u64);
                            prop_assert!(pruned > 0);
                        }
                        Err(other) => prop_assert!(false, "{}", other),
                    }
                }
                _ => {}
            }
            saved.follow(&mut kept);
            prop_assert!(kept.log("/").map_or(0, Log::len) <= packets);
            prop_assert_eq!(kept.len(), known.len());
            prop_assert_eq!(kept.log_bytes, bytes_of_logs(&kept));
            prop_assert_eq!(kept.away(), known.iter().filter(|one| one.away_since.is_some()).count());
        }
        for one in known {
            kept.close(one.key);
        }
        // Nothing of anybody is left.
        kept.handle_timeout(now + Duration::from_secs(100), &mut vec![]);
        prop_assert_eq!((kept.len(), kept.away(), kept.log_bytes, kept.namespaces.len()), (0, 0, 0, 0));
        saved.follow(&mut kept);
        prop_assert!(saved.is_empty());
    }
}
