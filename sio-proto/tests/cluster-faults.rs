//! A cluster as a property: for any sequence of orders and faults, the nodes keep their promises.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod cases;
#[path = "cluster/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use sio_proto::broker::{Command, Request};
use sio_proto::cluster::{Flags, Outcome, Question, RequestId, Target};
use sio_proto::{ByteString, Bytes, Secret, Time};
use world::{SECOND, World, all, broadcast, emit, kinds};

/// One thing that happens in a cluster.
#[derive(Clone, Debug)]
enum Act {
    Connect(usize, u8),
    Join(usize, u8, u8),
    Leave(usize, u8, u8),
    Emit(usize, Option<u8>, Option<u8>),
    Fetch(usize),
    Acks(usize, u8),
    Freeze(usize),
    Thaw(usize),
    Lose(usize),
    Twice(bool),
    Restart,
    Wait(u16),
    /// Somebody who does not know the secret publishes what he has heard: as it was, changed at a
    /// byte, or in another place.
    Attack(u16, Option<u8>, bool),
}

fn act() -> impl Strategy<Value = Act> {
    let at = || 0..3usize;
    let room = || 0..3u8;
    prop_oneof![
        3 => (at(), 0..9u8).prop_map(|(at, sid)| Act::Connect(at, sid)),
        3 => (at(), 0..9u8, room()).prop_map(|(at, sid, room)| Act::Join(at, sid, room)),
        2 => (at(), 0..9u8, room()).prop_map(|(at, sid, room)| Act::Leave(at, sid, room)),
        6 => (at(), prop::option::of(room()), prop::option::of(room())).prop_map(|(at, to, not)| Act::Emit(at, to, not)),
        3 => at().prop_map(Act::Fetch),
        2 => (at(), room()).prop_map(|(at, room)| Act::Acks(at, room)),
        1 => at().prop_map(Act::Freeze),
        2 => at().prop_map(Act::Thaw),
        1 => at().prop_map(Act::Lose),
        1 => any::<bool>().prop_map(Act::Twice),
        1 => Just(Act::Restart),
        4 => (0..3000u16).prop_map(Act::Wait),
        4 => (any::<u16>(), prop::option::of(any::<u8>()), any::<bool>())
            .prop_map(|(which, at, moves)| Act::Attack(which, at, moves)),
    ]
}

fn names(room: Option<u8>) -> Vec<ByteString> {
    room.map(|room| format!("room{room}").into()).into_iter().collect()
}

/// What an attacker makes of a message.
fn attacked(mut command: Command, at: Option<u8>, moves: bool) -> Command {
    let change = |bytes: &mut Bytes| {
        let mut changed = bytes.to_vec();
        if let Some(at) = at.filter(|_| !changed.is_empty()) {
            let at = usize::from(at) % changed.len();
            changed[at] ^= 1;
        }
        *bytes = changed.into();
    };
    match &mut command {
        Command::Publish { channel, payload, .. } => {
            change(payload);
            if moves {
                *channel = Bytes::from_static(b"socket.io#/#room1#");
            }
        }
        Command::Request {
            request: Request::AddEntry { fields, .. },
            ..
        } => {
            let which = usize::from(at.unwrap_or(0)) % fields.len();
            change(&mut fields[which].1);
            if moves {
                fields.rotate_left(1);
            }
        }
        _ => {}
    }
    command
}

proptest! {
    #![proptest_config(cases::usually(64))]

    /// The naive model: with a broker that is well, every broadcast reaches exactly the sockets
    /// that the target means. With one that is not, nobody gets what is for others, and nobody gets
    /// anything twice unless the broker says it twice. Streams lose nothing that was stored. Each
    /// request ends exactly once and in time. If the nodes have a secret, this is so whatever
    /// somebody publishes who does not know it, and nothing counts twice.
    #[test]
    fn a_cluster_with_faults(
        steps in prop::collection::vec(act(), 1..40), seed: u64, kind in 0..5usize, signed: bool
    ) {
        let mut config = kinds()[kind].clone();
        if signed {
            config = config.secrets(vec![Secret::new([3; 32])]);
        }
        let streams = kind == 4;
        let mut world = World::new(&config, 3, seed);
        // The faults since the last rest: what a broadcast may have met.
        let mut faulty = false;
        let mut twice = false;
        let mut asked: Vec<(usize, RequestId, Time)> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            match step.clone() {
                Act::Connect(at, sid) => {
                    let sid = format!("s{at}-{sid}");
                    if !world.machines[at].sockets.contains_key(&*sid) {
                        world.connect(at, &sid);
                    }
                }
                Act::Join(at, sid, room) => world.join(at, &format!("s{at}-{sid}"), &format!("room{room}")),
                Act::Leave(at, sid, room) => world.leave(at, &format!("s{at}-{sid}"), &format!("room{room}")),
                Act::Emit(at, to, not) if !world.machines[at].frozen => {
                    let name = format!("e{number}");
                    let to = Target { rooms: names(to), except: names(not) };
                    let meant: Vec<_> = (0..3).map(|at| world.meant(at, &to)).collect();
                    let frozen = world.machines.iter().any(|machine| machine.frozen);
                    let ticket = world.order(at, broadcast(&name, to));
                    world.run(Duration::from_millis(300));
                    let stored = ticket.is_some_and(|ticket| world.machines[at].stored.get(&ticket) == Some(&true));
                    for (at, meant) in meant.iter().enumerate() {
                        for (sid, socket) in &world.machines[at].sockets {
                            let got = socket.events.iter().filter(|event| **event == *name).count();
                            let due = usize::from(meant.contains(sid));
                            let exact = (signed || !twice) && !frozen && (!faulty || stored);
                            prop_assert!(if exact { got == due } else { got <= 2 * due }, "{sid} {name}: {got}");
                            prop_assert!(!(streams || signed) || got <= due, "nothing counts twice");
                        }
                    }
                }
                Act::Fetch(at) if !world.machines[at].frozen => {
                    let request = world.ask(at, Question::Sockets { to: all() });
                    asked.push((at, request, world.now));
                }
                Act::Acks(at, room) if !world.machines[at].frozen => {
                    let (flags, emit) = (Flags::default(), emit("q"));
                    let to = Target::room(format!("room{room}"));
                    let request = world.ask(at, Question::Acks { to, flags, emit });
                    asked.push((at, request, world.now));
                }
                Act::Emit(..) | Act::Fetch(_) | Act::Acks(..) => {}
                Act::Attack(which, at, moves) if signed && !world.said.is_empty() => {
                    let command = world.said[usize::from(which) % world.said.len()].clone();
                    world.publish(attacked(command, at, moves));
                }
                Act::Attack(..) => {}
                Act::Freeze(at) => world.machines[at].frozen = true,
                Act::Thaw(at) => world.machines[at].frozen = false,
                Act::Lose(at) => {
                    world.lose(at);
                    faulty = true;
                }
                Act::Twice(on) => (world.twice, twice) = (on, twice || on),
                Act::Restart => {
                    world.restart();
                    faulty = true;
                }
                Act::Wait(milliseconds) => {
                    let is_long = milliseconds > 1000;
                    world.run(Duration::from_millis(milliseconds.into()));
                    let frozen = world.machines.iter().any(|machine| machine.frozen);
                    faulty &= !is_long;
                    twice = world.twice || (twice && (!is_long || frozen));
                }
            }
        }
        (0..3).for_each(|at| world.machines[at].frozen = false);
        world.twice = false;
        world.run(10 * SECOND);
        for (at, request, begun) in asked {
            let gathered = &world.machines[at].gathered[&request];
            let (ended, end) = gathered.end.as_ref().expect("each request ends");
            if !steps.iter().any(|step| matches!(step, Act::Freeze(_))) {
                prop_assert!(ended.saturating_since(begun) <= 5 * SECOND);
            }
            prop_assert!(gathered.acks <= gathered.recipients);
            if end.outcome == Outcome::Complete {
                prop_assert_eq!(end.silent, 0);
            }
        }
        // The cluster is whole again.
        let request = world.ask(0, Question::Sockets { to: all() });
        world.run(SECOND);
        let gathered = &world.machines[0].gathered[&request];
        let others: BTreeSet<_> = (1..3).flat_map(|at| world.machines[at].sockets.keys().cloned()).collect();
        prop_assert_eq!(&gathered.end.as_ref().unwrap().1.outcome, &Outcome::Complete);
        prop_assert_eq!(&gathered.sockets, &others);
        prop_assert!(world.machines.iter().all(|machine| machine.node.requests() == 0));
    }
}
