//! Several servers that read one stream, and a client that wanders between them: it hears what was
//! for it once, whatever it has heard elsewhere, and whether its server has read on or not.

use std::collections::BTreeMap;
use std::vec::Vec;

use super::restart::Saved;
use super::*;
use crate::recovery::Adopted;

fn place(number: u64) -> Offset {
    Offset::of_entry(1_700_000_000_000 + number, 0).unwrap()
}

/// A server, and how much of the stream it has read.
struct Server {
    kept: Kept,
    read: usize,
}

impl Server {
    fn new(number: u32) -> Self {
        let mut kept = Kept::new(config(), [number as u8; 16], number);
        kept.follow_stream();
        Self { kept, read: 0 }
    }

    /// Reads the next entry of the stream.
    fn read(&mut self, stream: &[Audience], now: Time) -> Option<u32> {
        let number = self.read;
        let audience = stream.get(number)?.clone();
        self.read += 1;
        let place = place(number as u64);
        self.kept.pass(place);
        self.kept.advance("/", place);
        let to = Recipients::Audience(audience);
        self.kept.post(now, "/", to, |_| Some((number as u32, 10)), |_, _| {});
        self.kept.advanced("/", place);
        Some(number as u32)
    }
}

/// What the record of the client looks like in the broker.
struct Session {
    pid: ByteString,
    rooms: Vec<(ByteString, Option<Offset>)>,
}

#[derive(Clone, Debug)]
enum Step {
    Say {
        room: usize,
        except: usize,
    },
    Read {
        server: usize,
    },
    Move {
        server: usize,
    },
    /// The client joins a room, for which it has not been in it.
    Join,
    /// What is said here only takes a number, too.
    Local {
        server: usize,
    },
}

const ROOMS: [&str; 3] = ["", "red", "blue"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3_usize, 0..3_usize).prop_map(|(room, except)| Step::Say { room, except }),
        6 => (0..3_usize).prop_map(|server| Step::Read { server }),
        2 => (0..3_usize).prop_map(|server| Step::Move { server }),
        1 => (0..3_usize).prop_map(|server| Step::Local { server }),
        1 => Just(Step::Join),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn a_client_that_wanders_hears_everything_once(steps in steps(), foreign: bool) {
        let mut servers = [Server::new(1), Server::new(2), Server::new(3)];
        let mut stream: Vec<Audience> = vec![to(&["nobody"], &[])];
        servers.iter_mut().for_each(|server| {
            server.read(&stream, at(0));
        });
        let mut heard = BTreeMap::<u32, usize>::new();
        let mut seen: Option<Offset> = None;
        // From which message on the client is in its room.
        let mut joined = usize::MAX;
        let is_for_it = |audience: &Audience, number: usize, joined: usize| {
            let mine = |room: &ByteString| **room == *"red" && number >= joined || **room == *"id";
            (audience.rooms.is_empty() || audience.rooms.iter().any(mine)) && !audience.except.iter().any(mine)
        };
        let begun = servers[0].read;
        let (mut key, pid) = open(&mut servers[0].kept, "/", 1);
        let pid: ByteString = if foreign { "made elsewhere".into() } else { pid };
        let (mut home, mut start) = (0, servers[0].kept.start(key));
        let mut is_moved = false;
        for step in steps.into_iter().chain([Step::Move { server: 1 }, Step::Move { server: 2 }]) {
            match step {
                Step::Say { room, except } => {
                    let rooms = [ROOMS[room]].into_iter().filter(|room| !room.is_empty());
                    let except = [ROOMS[except]].into_iter().filter(|room| !room.is_empty());
                    stream.push(to(&rooms.collect::<Vec<_>>(), &except.collect::<Vec<_>>()));
                }
                Step::Read { server } => {
                    if let Some(number) = servers[server].read(&stream, at(1))
                        && server == home
                        && is_for_it(&stream[number as usize], number as usize, joined)
                    {
                        *heard.entry(number).or_default() += 1;
                        seen = Some(place(number.into()));
                    }
                }
                Step::Join => {
                    servers[home].kept.join(key, &"red".into(), &mut vec![]);
                    joined = joined.min(servers[home].read);
                }
                Step::Local { server } => {
                    servers[server].kept.post(at(1), "/", Recipients::Audience(to(&["nobody"], &[])), |_| None, |_, _| {});
                }
                Step::Move { server } => {
                    let old = &mut servers[home].kept;
                    old.lost(at(1), key, 0, &mut vec![]);
                    let session = Session { pid: pid.clone(), rooms: old.rooms_since(key) };
                    old.expire(key);
                    let behind = session.rooms.first().map(|(_, since)| since.map_or(0, |since| since.sequence));
                    // What the client has seen, and what came before it has joined, the server has
                    // read before the record is adopted.
                    let new = &mut servers[server];
                    let least = seen.map_or(0, |seen| seen.sequence).max(behind.unwrap_or(0));
                    while place(new.read as u64 - 1).sequence < least {
                        new.read(&stream, at(1));
                    }
                    let behind = behind.unwrap_or(u64::MAX);
                    let adopted = Adopted {
                        namespace: "/".into(),
                        pid: session.pid.clone(),
                        sid: sid(7),
                        id: "id".into(),
                        rooms: session.rooms,
                        start,
                        network: 0,
                        data: 7,
                        bytes: 0,
                    };
                    let (adopted, until) = new.kept.adopt(at(1), adopted, &mut vec![]).expect("it is adopted");
                    let from = seen.or(start);
                    // The stream is read by others meanwhile.
                    let is_member = |number: usize| if place(number as u64).sequence > behind { 0 } else { usize::MAX };
                    let fetched = stream.iter().enumerate();
                    let fetched = fetched.filter(|(number, audience)| is_for_it(audience, *number, is_member(*number)));
                    let fetched = fetched.map(|(number, _)| (place(number as u64), number as u32));
                    let fetched = fetched.filter(|(place, _)| from.is_none_or(|from| place.sequence > from.sequence));
                    let fetched = fetched.filter(|(place, _)| place.sequence <= until.sequence);
                    let fetched = fetched.map(|(place, number)| (place, 10, number));
                    prop_assert!(new.kept.bring(at(1), adopted, fetched.collect()));
                    new.read(&stream, at(1));
                    let found = new.kept.find("/", &pid).expect("its secret is known");
                    prop_assert_eq!(found, adopted);
                    let shown = seen.map(Offset::text);
                    for number in missed(&mut new.kept, found, shown.as_deref()).expect("it is recovered") {
                        *heard.entry(number).or_default() += 1;
                        seen = Some(place(number.into()));
                    }
                    (home, key, is_moved) = (server, found, true);
                    start = new.kept.start(key);
                }
            }
        }
        prop_assert!(is_moved);
        while let Some(number) = servers[home].read(&stream, at(1)) {
            if is_for_it(&stream[number as usize], number as usize, joined) {
                *heard.entry(number).or_default() += 1;
            }
        }
        let expected = stream.iter().enumerate().skip(begun).filter(|(number, audience)| is_for_it(audience, *number, joined));
        let expected: BTreeMap<u32, usize> = expected.map(|(number, _)| (number as u32, 1)).collect();
        prop_assert_eq!(heard, expected);
    }
}

/// A record that has come from another server is restored from a store, and its client goes on to a
/// third server: this one is told of no place behind that from which the client may miss something.
#[test]
fn a_restored_record_says_nothing_that_is_too_late() {
    let mut kept = Kept::new(config(), [1; 16], 5);
    kept.note_changes();
    kept.follow_stream();
    kept.pass(place(9));
    let adopted = Adopted {
        namespace: "/".into(),
        pid: open(&mut Kept::new(config(), [2; 16], 6), "/", 1).1,
        sid: sid(1),
        id: "id".into(),
        rooms: vec![("red".into(), None), ("blue".into(), Some(place(3)))],
        start: Some(place(1)),
        network: 0,
        data: 1,
        bytes: 0,
    };
    let pid = adopted.pid.clone();
    let (key, _) = kept.adopt(at(0), adopted, &mut vec![]).unwrap();
    assert!(kept.bring(at(0), key, vec![(place(5), 10, 5)]));
    let read = |kept: &mut Kept, number: u64| {
        kept.pass(place(number));
        kept.advance("/", place(number));
        let to = Recipients::Audience(to(&["nobody"], &[]));
        kept.post(at(0), "/", to, |_| Some((number as u32, 10)), |_, _| {});
        kept.advanced("/", place(number));
    };
    read(&mut kept, 20);
    kept.join(key, &"green".into(), &mut vec![]);
    kept.let_in(key);
    let rooms: Vec<_> = [("red", None), ("blue", Some(place(3))), ("green", Some(place(20)))]
        .map(|(room, since)| (ByteString::from(room), since))
        .into();
    assert_eq!(kept.rooms_since(key), rooms);
    let mut saved = Saved::default();
    saved.follow(&mut kept);
    let mut next = saved.restart(config(), 7, at(1));
    next.follow_stream();
    let key = next.find("/", &pid).expect("it was kept");
    let restored = next.rooms_since(key);
    assert_eq!(restored.len(), 3);
    for ((room, since), (expected, exact)) in restored.iter().zip(&rooms) {
        assert_eq!(room, expected);
        let numbers = [since, exact].map(|place| place.map_or(0, |place| place.sequence));
        assert!(numbers[0] <= numbers[1], "{room}: {numbers:?}");
    }
    assert_eq!(restored[2].1, Some(place(20)), "what was joined here is exact");
}

#[test]
fn what_is_brought_has_a_limit_and_an_end() {
    let mut kept = Kept::new(
        RecoveryConfig {
            max_brought_bytes: 1000,
            ..config()
        },
        [1; 16],
        Offset::STREAM,
    );
    assert_ne!(kept.epoch(), Offset::STREAM);
    kept.follow_stream();
    kept.pass(place(9));
    let adopted = |pid: &str| Adopted {
        namespace: "/".into(),
        pid: pid.into(),
        sid: sid(1),
        id: "id".into(),
        rooms: vec![("red".into(), None)],
        start: Some(place(0)),
        network: 0,
        data: 1,
        bytes: 0,
    };
    assert!(kept.adopt(at(0), adopted(""), &mut vec![]).is_none());
    assert!(kept.adopt(at(0), adopted(&"p".repeat(65)), &mut vec![]).is_none());
    let (key, until) = kept.adopt(at(0), adopted("p"), &mut vec![]).unwrap();
    assert_eq!(until, place(9));
    assert!(kept.adopt(at(0), adopted("p"), &mut vec![]).is_none(), "twice");
    assert!(kept.find("/other", "p").is_none() && kept.find("/", "q").is_none());
    let some = |count: u64| {
        (0..count)
            .map(|number| (place(number), 44, number as u32))
            .collect::<Vec<_>>()
    };
    assert!(!kept.bring(at(0), key, some(4)), "4 times 300 bytes are too many");
    assert_eq!(
        missed(&mut kept, key, None),
        Err(NotRecovered::Truncated(Truncated {
            pruned: place(9).sequence
        })),
        "nothing was brought, so something is missing"
    );
    assert!(
        kept.bring(at(0), key, some(3)) && kept.bring(at(0), key, some(3)),
        "it takes the place of the first"
    );
    let seen = place(0).text();
    assert_eq!(missed(&mut kept, key, Some(&seen)), Ok(vec![1, 2]));
    // The connection is cut before the client has them.
    kept.lost(at(1), key, 0, &mut vec![]);
    assert_eq!(missed(&mut kept, key, Some(&seen)), Ok(vec![1, 2]));
    let ahead = place(99).text();
    assert_eq!(missed(&mut kept, key, Some(&ahead)), Err(NotRecovered::Offset));
    assert_eq!(kept.next_timeout(), Some(at(10)), "what was brought is dropped in time");
    kept.handle_timeout(at(10), &mut vec![]);
    assert!(matches!(
        missed(&mut kept, key, Some(&seen)),
        Err(NotRecovered::Truncated(_))
    ));
    let (key, _) = kept.adopt(at(11), adopted("q"), &mut vec![]).unwrap();
    assert!(kept.bring(at(11), key, some(3)), "what was dropped does not count");
}

/// The room of what is brought is shared by addresses, also while it is fetched.
#[test]
fn one_address_cannot_fill_the_room_of_what_is_brought() {
    let config = RecoveryConfig {
        max_brought_bytes: 100_000,
        ..config()
    };
    let mut kept = Kept::new(config, [1; 16], 7);
    kept.follow_stream();
    kept.pass(place(9));
    let adopt = |kept: &mut Kept, number: u32, network: u128| {
        let adopted = Adopted {
            namespace: "/".into(),
            pid: std::format!("p{number}").into(),
            sid: sid(number as u8),
            id: std::format!("id{number}").into(),
            rooms: vec![],
            start: Some(place(0)),
            network,
            data: number,
            bytes: 0,
        };
        kept.adopt(at(0), adopted, &mut vec![]).unwrap().0
    };
    let of_bytes = |bytes: usize| vec![(place(1), bytes - 256, 1)];
    // One address takes all: its own next client gets nothing.
    let thieves: Vec<_> = (0..10).map(|number| adopt(&mut kept, number, 1)).collect();
    for thief in &thieves {
        assert!(kept.bring(at(0), *thief, of_bytes(10_000)));
    }
    let one_more = adopt(&mut kept, 10, 1);
    assert!(!kept.reserve(at(0), one_more, 10_000) && !kept.bring(at(0), one_more, of_bytes(10_000)));
    // A client of another address gets its share, step by step.
    let honest = adopt(&mut kept, 11, 2);
    for bytes in [0, 10_000, 20_000, 40_000] {
        assert!(kept.reserve(at(0), honest, bytes), "{bytes}");
    }
    assert!(!kept.reserve(at(0), honest, 60_000), "that is more than its share");
    assert!(kept.bring(at(0), honest, of_bytes(40_000)));
    let seen = place(0).text();
    let is_there = |kept: &mut Kept, key| missed(kept, key, Some(&seen)) == Ok(vec![1]);
    assert!(is_there(&mut kept, honest));
    let left = thieves.iter().filter(|thief| is_there(&mut kept, **thief)).count();
    assert_eq!(left, 6, "the others are told that something is missing");
    // Others need the room of one for whom is read: it is told at its next step.
    let reader = adopt(&mut kept, 12, 3);
    assert!(
        kept.reserve(at(0), reader, 35_000),
        "some of the first address give way"
    );
    let next = adopt(&mut kept, 13, 4);
    assert!(kept.reserve(at(0), next, 30_000), "the largest gives way");
    assert!(!is_there(&mut kept, honest));
    let last = adopt(&mut kept, 14, 5);
    assert!(kept.reserve(at(0), last, 34_000), "the largest gives way again");
    assert!(!kept.reserve(at(0), reader, 35_000) && !kept.bring(at(0), reader, of_bytes(300)));
    assert!(kept.bring(at(0), last, of_bytes(300)) && !kept.reserve(at(0), last, 300));
    assert!(!kept.reserve(at(0), next, 100_001));
    // All of it ends with the records.
    kept.end_all(at(1), &mut vec![]);
    assert_eq!(kept.brought_shares.bytes(), 0);
    // Nobody gives way to one who finds no room all the same.
    let many: Vec<_> = (20..26).map(|number| adopt(&mut kept, number, 1)).collect();
    many.iter()
        .for_each(|key| assert!(kept.bring(at(0), *key, of_bytes(10_000))));
    let large = adopt(&mut kept, 26, 2);
    assert!(kept.bring(at(0), large, of_bytes(40_000)));
    let none = adopt(&mut kept, 27, 3);
    assert!(!kept.reserve(at(0), none, 55_000));
    assert!(many.iter().chain([&large]).all(|key| is_there(&mut kept, *key)));
    kept.end_all(at(1), &mut vec![]);
    assert_eq!(kept.brought_shares.bytes(), 0);
    let key = adopt(&mut kept, 15, 1);
    assert!(kept.reserve(at(0), key, 100_000));
}
