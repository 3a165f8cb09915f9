//! Several servers that read one stream, and a client that wanders between them: it hears what was
//! for it once, whatever it has heard elsewhere, and whether its server has read on or not.

use std::collections::BTreeMap;
use std::vec::Vec;

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
    rooms: Vec<ByteString>,
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
        let is_for_it = |audience: &Audience| {
            let mine = |room: &ByteString| **room == *"red" || **room == *"id";
            (audience.rooms.is_empty() || audience.rooms.iter().any(mine)) && !audience.except.iter().any(mine)
        };
        let begun = servers[0].read;
        let (mut key, pid) = open(&mut servers[0].kept, "/", 1);
        servers[0].kept.join(key, &"red".into());
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
                        && is_for_it(&stream[number as usize])
                    {
                        *heard.entry(number).or_default() += 1;
                        seen = Some(place(number.into()));
                    }
                }
                Step::Local { server } => {
                    servers[server].kept.post(at(1), "/", Recipients::Audience(to(&["nobody"], &[])), |_| None, |_, _| {});
                }
                Step::Move { server } => {
                    let old = &mut servers[home].kept;
                    old.lost(at(1), key, 0, &mut vec![]);
                    let session = Session { pid: pid.clone(), rooms: old.rooms(key) };
                    old.expire(key);
                    // What the client has seen, the server has read before the record is adopted.
                    let new = &mut servers[server];
                    while seen.is_some_and(|seen| place(new.read as u64 - 1).sequence < seen.sequence) {
                        new.read(&stream, at(1));
                    }
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
                    let fetched = stream.iter().enumerate().filter(|(_, audience)| is_for_it(audience));
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
            if is_for_it(&stream[number as usize]) {
                *heard.entry(number).or_default() += 1;
            }
        }
        let expected = stream.iter().enumerate().skip(begun).filter(|(_, audience)| is_for_it(audience));
        let expected: BTreeMap<u32, usize> = expected.map(|(number, _)| (number as u32, 1)).collect();
        prop_assert_eq!(heard, expected);
    }
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
        rooms: vec!["red".into()],
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
