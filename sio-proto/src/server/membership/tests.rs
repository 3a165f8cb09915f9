//! Membership compared with a naive model: a list of sockets, each with the names of its rooms.

extern crate std;

use alloc::string::{String, ToString};
use alloc::vec;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::Entropy;

const LIMITS: RoomLimits = RoomLimits {
    max_rooms: 3,
    max_name_bytes: 4,
    max_bytes: 8,
};

#[derive(Clone, Debug)]
enum Step {
    Enter(u8),
    Connect(usize),
    Join(usize, u8),
    Leave(usize, u8),
    Remove(usize),
    Ask(Vec<u8>, Vec<u8>, Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let (member, rooms) = (0..10usize, || prop::collection::vec(0..6u8, 0..3));
    prop_oneof![
        3 => (0..2u8).prop_map(Step::Enter),
        3 => member.clone().prop_map(Step::Connect),
        6 => (member.clone(), 0..6u8).prop_map(|(m, r)| Step::Join(m, r)),
        2 => (member.clone(), 0..6u8).prop_map(|(m, r)| Step::Leave(m, r)),
        1 => member.clone().prop_map(Step::Remove),
        4 => (rooms(), rooms(), prop::option::of(member)).prop_map(|(r, e, but)| Step::Ask(r, e, but)),
    ]
}

/// The fifth name is too long for a room.
fn name(room: u8) -> ByteString {
    ByteString::from(["a", "bb", "ccc", "dddd", "eeeee", "f"][usize::from(room)])
}

/// The model's state of a socket.
struct Known {
    key: SocketKey,
    namespace: u8,
    connected: bool,
    rooms: BTreeSet<u8>,
}

/// What is told of rooms: which there are, and who is in them.
type Told = BTreeMap<(String, String), Vec<SocketKey>>;

/// A watch that records rooms like the directory of an adapter, and their members.
#[derive(Clone, Default)]
struct Watched(Arc<std::sync::Mutex<Told>>);

impl RoomWatch for Watched {
    fn begins(&mut self, namespace: &str, room: &str) {
        let room = (namespace.into(), room.into());
        assert!(self.0.lock().unwrap().insert(room, Vec::new()).is_none());
    }

    fn ends(&mut self, namespace: &str, room: &str) {
        let room = (namespace.into(), room.into());
        assert_eq!(self.0.lock().unwrap().remove(&room), Some(Vec::new()));
    }

    fn joined(&mut self, namespace: &str, room: &str, socket: SocketKey) {
        let mut told = self.0.lock().unwrap();
        let members = told.get_mut(&(namespace.into(), room.into())).unwrap();
        assert!(!members.contains(&socket));
        members.push(socket);
    }

    fn left(&mut self, namespace: &str, room: &str, socket: SocketKey) {
        let mut told = self.0.lock().unwrap();
        let members = told.get_mut(&(namespace.into(), room.into())).unwrap();
        let at = members.iter().position(|member| *member == socket).unwrap();
        members.remove(at);
    }
}

fn namespace(number: u8) -> ByteString {
    ByteString::from(["/", "/x"][usize::from(number)])
}

proptest! {
    #[test]
    fn it_is_what_a_naive_model_is(steps in prop::collection::vec(step(), 1..120)) {
        let mut membership = Membership::new();
        let watched = Watched::default();
        membership.watch(Box::new(watched.clone()));
        let mut model: BTreeMap<usize, Known> = BTreeMap::new();
        let mut entered = 0;
        for step in steps {
            let nth = |model: &BTreeMap<usize, Known>, n: usize| model.keys().nth(n % model.len().max(1)).copied();
            match step {
                Step::Enter(number) => {
                    let mut entropy = |bytes: &mut [u8]| bytes.fill(entered as u8);
                    let mut random = [0; Sid::RANDOM];
                    entropy.fill(&mut random);
                    let sid = Sid::new(&[7; 16], 0, membership.vacant().0, random);
                    let slot = membership.enter(sid, SessionSlot(entered), &namespace(number), 0, 2).unwrap();
                    model.insert(entered as usize, Known {
                        key: membership.key(slot),
                        namespace: number,
                        connected: false,
                        rooms: BTreeSet::new(),
                    });
                    entered += 1;
                }
                Step::Connect(n) => {
                    let Some(at) = nth(&model, n) else { continue };
                    let known = model.get_mut(&at).unwrap();
                    let session = membership.connect(known.key);
                    prop_assert_eq!(session, (!known.connected).then_some(SessionSlot(at as u32)));
                    known.connected = true;
                }
                Step::Join(n, room) => {
                    let Some(known) = nth(&model, n).and_then(|at| model.get_mut(&at)).filter(|k| k.connected) else {
                        continue;
                    };
                    let weight = |rooms: &BTreeSet<u8>| rooms.iter().map(|room| name(*room).len()).sum::<usize>();
                    let fits = known.rooms.contains(&room)
                        || room != 4 && known.rooms.len() < 3 && weight(&known.rooms) + name(room).len() <= 8;
                    prop_assert_eq!(membership.join(known.key.slot, &name(room), LIMITS), fits);
                    if fits {
                        known.rooms.insert(room);
                    }
                }
                Step::Leave(n, room) => {
                    let Some(known) = nth(&model, n).and_then(|at| model.get_mut(&at)) else { continue };
                    membership.leave(known.key.slot, &name(room));
                    known.rooms.remove(&room);
                }
                Step::Remove(n) => {
                    let Some(known) = nth(&model, n).and_then(|at| model.remove(&at)) else { continue };
                    prop_assert!(membership.remove(known.key.slot).is_some());
                    prop_assert!(membership.find(known.key).is_none() && membership.connect(known.key).is_none());
                }
                Step::Ask(rooms, except, but) => {
                    for number in 0..2 {
                        let but = but.and_then(|n| nth(&model, n)).and_then(|at| model.get(&at)).map(|k| k.key);
                        let target = Target {
                            namespace: namespace(number),
                            rooms: rooms.iter().map(|room| name(*room)).collect(),
                            except: except.iter().map(|room| name(*room)).collect(),
                            except_socket: but,
                        };
                        let singles = vec![None; rooms.len() + except.len()];
                        let mut found: Vec<_> = membership.members(&target, &singles).iter().map(|m| m.session.0).collect();
                        found.sort_unstable();
                        let wanted = model.iter().filter(|(_, known)| {
                            known.namespace == number
                                && known.connected
                                && Some(known.key) != but
                                && (rooms.is_empty() || rooms.iter().any(|room| known.rooms.contains(room)))
                                && !except.iter().any(|room| known.rooms.contains(room))
                        });
                        prop_assert_eq!(found, wanted.map(|(at, _)| *at as u32).collect::<Vec<_>>());
                        let all = membership.all(&namespace(number), None).map_or(0, <[Member]>::len);
                        prop_assert_eq!(all, model.values().filter(|k| k.connected && k.namespace == number).count());
                    }
                }
            }
            let rooms = model.values().flat_map(|known| {
                known.rooms.iter().map(|room| (namespace(known.namespace).to_string(), name(*room).to_string()))
            });
            let told = watched.0.lock().unwrap();
            prop_assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), rooms.collect::<BTreeSet<_>>());
            for number in 0..2 {
                let namespace = namespace(number);
                for (room, len) in membership.rooms_in(&namespace) {
                    prop_assert_eq!(told[&(namespace.to_string(), room.to_string())].len(), len);
                }
            }
        }
        for known in model.into_values() {
            membership.remove(known.key.slot);
        }
        prop_assert!(membership.rooms.slots().next().is_none());
        prop_assert!(membership.namespaces.find("/").is_none() && membership.namespaces.find("/x").is_none());
    }
}

/// A socket does not leave the room of its own id, which does not count among its rooms.
#[test]
fn a_renamed_socket_stays_in_the_room_of_its_id() {
    let mut membership = Membership::new();
    let sid = Sid::new(&[7; 16], 0, membership.vacant().0, [1; Sid::RANDOM]);
    let slot = membership.enter(sid, SessionSlot(0), &"/".into(), 0, 8).unwrap();
    let key = membership.key(slot);
    membership.connect(key).unwrap();
    membership.rename(slot, "user:ann");
    for _ in 0..2 {
        membership.leave(slot, "user:ann");
        for room in ["a", "b", "c"] {
            assert!(membership.join(slot, room, LIMITS), "{room}");
        }
        assert!(
            !membership.join(slot, "d", LIMITS),
            "it is in as many rooms as it may be"
        );
        assert_eq!(membership.rooms_of(slot), ["a", "b", "c"]);
        assert_eq!(membership.all("/", Some("user:ann")).map(<[Member]>::len), Some(1));
        for room in ["a", "b", "c"] {
            membership.leave(slot, room);
        }
    }
    membership.remove(slot);
    assert!(membership.all("/", Some("user:ann")).is_none());
}
