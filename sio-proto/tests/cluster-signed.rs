//! Nodes that share a secret: whom they believe, and what somebody can do who can write to the
//! broker and does not know the secret.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

#[path = "cluster/world.rs"]
mod world;

use std::time::Duration;

use sio_proto::broker::{Command, Event, Request};
use sio_proto::cluster::{Counters, Delivery, Emitter, Flags, LocalOrder, Outcome, Outputs, Question, Target};
use sio_proto::{ByteString, Bytes, ClusterConfig, ClusterKind, Secret, StreamsConfig};
use world::{EPOCH, ROOT, SECOND, World, all, broadcast, emit, kinds};

const OURS: [u8; 32] = [7; 32];

fn signed(config: ClusterConfig) -> ClusterConfig {
    config.secrets(vec![Secret::new(OURS)])
}

/// Two machines with a socket each; both are in room `r`.
fn two(configs: [&ClusterConfig; 2]) -> World {
    let mut world = World::new(configs[0], 1, 11);
    world.add(configs[1]);
    for at in 0..2 {
        world.connect(at, &format!("s{at}"));
        world.join(at, &format!("s{at}"), "r");
    }
    world.run(SECOND);
    world
}

fn events(world: &World, at: usize) -> usize {
    world.machines[at]
        .sockets
        .values()
        .map(|socket| socket.events.len())
        .sum()
}

/// What a node has counted that it did not believe.
fn doubts(world: &World, at: usize) -> [u64; 4] {
    let Counters {
        unsigned,
        forged,
        stale,
        replayed,
        ..
    } = *world.machines[at].node.counters();
    [unsigned, forged, stale, replayed]
}

/// Changes the payload of a message, or the data of an entry.
fn with_payload(command: &Command, change: impl Fn(&[u8]) -> Vec<u8>) -> Command {
    let mut command = command.clone();
    match &mut command {
        Command::Publish { payload, .. } => *payload = change(payload).into(),
        Command::Request {
            request: Request::AddEntry { fields, .. },
            ..
        } => {
            let token = fields.last_mut().unwrap();
            assert_eq!(token.0, "sig");
            token.1 = change(&token.1).into();
        }
        _ => panic!("a message"),
    }
    command
}

/// Moves a message to another channel, or an entry to another stream.
fn elsewhere(command: &Command, place: &Bytes) -> Command {
    let mut command = command.clone();
    match &mut command {
        Command::Publish { channel, .. } => *channel = place.clone(),
        Command::Request {
            request: Request::AddEntry { stream, .. },
            ..
        } => *stream = place.clone(),
        _ => panic!("a message"),
    }
    command
}

fn place(command: &Command) -> Bytes {
    match command {
        Command::Publish { channel, .. } => channel.clone(),
        Command::Request {
            request: Request::AddEntry { stream, .. },
            ..
        } => stream.clone(),
        _ => panic!("a message"),
    }
}

#[test]
fn nodes_with_the_same_secret_work_as_nodes_without() {
    for config in kinds() {
        let config = signed(config);
        let mut world = two([&config, &config]);
        world.order(0, broadcast("all", all()));
        world.order(0, broadcast("room", Target::room("r")));
        let requests = [
            Question::Sockets { to: all() },
            Question::ServerSideEmit { emit: emit("hi") },
            Question::Acks {
                to: all(),
                flags: Flags::default(),
                emit: emit("q"),
            },
        ]
        .map(|question| world.ask(0, question));
        world.local(0, LocalOrder::ServerSideEmit(emit("plain")));
        world.run(SECOND);
        assert_eq!(events(&world, 1), 3, "{config:?}");
        for request in requests {
            let end = world.machines[0].gathered[&request].end.as_ref().unwrap();
            assert_eq!((&end.1.outcome, end.1.silent), (&Outcome::Complete, 0), "{config:?}");
        }
        assert_eq!(world.machines[1].heard, ["hi", "plain"]);
        assert_eq!((doubts(&world, 0), doubts(&world, 1)), ([0; 4], [0; 4]), "{config:?}");
        // Own messages are recognised before their signature is looked at.
        assert!(world.machines[0].node.counters().echoes > 0, "{config:?}");
    }
}

/// A node with a secret believes nobody who has none, or another one. A node without a secret
/// believes everybody.
#[test]
fn another_secret_or_none_is_refused_and_counted() {
    for config in kinds() {
        let ours = signed(config.clone());
        let others = config.clone().secrets(vec![Secret::new([8; 32])]);
        for (theirs, expected) in [(&config, [1, 0, 0, 0]), (&others, [0, 1, 0, 0])] {
            let mut world = two([theirs, &ours]);
            world.order(0, broadcast("e", all()));
            world.run(SECOND);
            assert_eq!((events(&world, 0), events(&world, 1)), (1, 0));
            assert_eq!(doubts(&world, 1), expected, "{config:?}");
            let believes = usize::from(theirs.secrets.is_empty());
            world.order(1, broadcast("e", all()));
            world.run(SECOND);
            assert_eq!(events(&world, 0), 1 + believes, "{config:?}");
            // A question ends at its deadline: the answers are not believed.
            let request = world.ask(1, Question::Sockets { to: all() });
            world.run(6 * SECOND);
            let end = &world.machines[1].gathered[&request].end.as_ref().unwrap().1;
            assert_eq!((&end.outcome, end.silent), (&Outcome::Deadline, 1), "{config:?}");
        }
        // The operator may choose otherwise while secrets are brought in.
        let mut world = two([&config, &ours.clone().accept_unsigned(true)]);
        world.order(0, broadcast("e", all()));
        world.run(SECOND);
        assert_eq!(events(&world, 1), 1, "{config:?}");
        // The secret is changed: the new one is accepted behind the old one.
        let both = config.clone().secrets(vec![Secret::new([8; 32]), Secret::new(OURS)]);
        let mut world = two([&ours, &both]);
        world.order(0, broadcast("e", all()));
        world.run(SECOND);
        assert_eq!(events(&world, 1), 1, "{config:?}");
    }
}

/// Whoever can read and write everything at the broker publishes a signed message again, in another
/// place, cut, and changed.
#[test]
fn a_signed_message_counts_once_and_only_where_it_was_sent() {
    for config in kinds() {
        let config = signed(config);
        let streams = matches!(config.kind, ClusterKind::Streams(_));
        let mut world = two([&config, &config]);
        world.said.clear();
        world.order(0, broadcast("room", Target::room("r")));
        world.order(0, broadcast("all", all()));
        world.run(SECOND);
        assert_eq!(events(&world, 1), 2);
        let [to_room, to_all] = &world.said.clone()[..] else {
            panic!("two messages");
        };
        let (before, mut refused) = (doubts(&world, 1), 0);
        for command in [to_room, to_all] {
            world.publish(command.clone());
            refused += 1;
        }
        world.run(SECOND);
        assert_eq!(events(&world, 1), 2, "published again: {config:?}");
        assert_eq!(doubts(&world, 1)[3] - before[3], refused, "{config:?}");

        if place(to_room) != place(to_all) {
            world.publish(elsewhere(to_room, &place(to_all)));
            world.publish(elsewhere(to_all, &place(to_room)));
            world.run(SECOND);
            assert_eq!(events(&world, 1), 2, "in another place: {config:?}");
            assert_eq!(doubts(&world, 1)[1], 2, "{config:?}");
        }

        let forged = doubts(&world, 1)[1];
        let mut tried = 0;
        let len = 75 + 20;
        for at in 0..len {
            for change in [0x01, 0x80] {
                // A byte of the last part of the message, with the whole token.
                let changed = with_payload(to_all, |payload| {
                    let mut payload = payload.to_vec();
                    let at = payload.len().saturating_sub(1 + at);
                    payload[at] ^= change;
                    payload
                });
                world.publish(changed);
                tried += 1;
            }
        }
        for cut in [1, 2, 10, 75, 77, 82] {
            world.publish(with_payload(to_all, |payload| {
                payload[..payload.len().saturating_sub(cut)].to_vec()
            }));
        }
        world.run(SECOND);
        assert_eq!(events(&world, 1), 2, "changed or cut: {config:?}");
        assert!(doubts(&world, 1)[1] > forged, "{config:?} of {tried}");
        assert!(world.machines[1].node.requests() == 0);

        // Later the message is too old, also for a node that has just begun and has not heard it.
        world.run(40 * SECOND);
        let young = world.add(&config);
        world.connect(young, "young");
        world.run(SECOND);
        let stale = doubts(&world, young)[2];
        world.publish(to_all.clone());
        world.run(SECOND);
        assert_eq!((events(&world, 1), events(&world, young)), (2, 0), "{config:?}");
        assert_eq!(doubts(&world, young)[2], stale + 1, "{config:?} {streams}");
    }
}

/// An emitter signs, too, if it is told the time.
#[test]
fn an_emitter_signs() {
    for config in kinds() {
        let config = signed(config);
        let mut world = two([&config, &config]);
        let mut emitter = Emitter::new(config.clone()).unwrap();
        world.publish(emitter.order(&ROOT, broadcast("e", all()), 1).unwrap());
        world.run(SECOND);
        assert_eq!((events(&world, 0), doubts(&world, 0)), (0, [1, 0, 0, 0]), "{config:?}");
        let since = Duration::from_micros(world.now.as_micros());
        emitter.set_unix_time(42, EPOCH + since);
        world.publish(emitter.order(&ROOT, broadcast("e", all()), 1).unwrap());
        world.publish(emitter.server_side_emit(&ROOT, emit("srv"), 1).unwrap());
        world.run(SECOND);
        assert_eq!((events(&world, 0), events(&world, 1)), (1, 1), "{config:?}");
        assert_eq!(world.machines[1].heard, ["srv"]);
        assert_eq!(doubts(&world, 0), [1, 0, 0, 0]);
    }
}

/// The answers of the namespace `/#x` come on the channel of answers for the node `x` of `/`.
/// Nobody tells a client the names of nodes. Where one finds a name out and namespaces are dynamic,
/// both namespaces have their answers all the same.
#[test]
fn a_namespace_with_the_channel_of_a_node_has_its_answers_and_takes_none() {
    for config in [
        ClusterConfig::default(),
        ClusterConfig::default().specific_answers(true),
    ] {
        for config in [config.clone(), signed(config)] {
            let mut world = two([&config, &config]);
            let name = world.machines[0].node.id("/").unwrap().as_text();
            let shared = ByteString::from(format!("/#{name}"));
            (0..2).for_each(|at| world.open(at, &shared));
            world.run(SECOND);
            let question = || Question::ServerSideEmit { emit: emit("hi") };
            for namespace in [&shared, &ROOT, &shared, &ROOT] {
                let (question, timeout) = (question(), None);
                let asked = world.local_in(0, namespace, LocalOrder::Ask { question, timeout });
                world.run(SECOND);
                let end = world.machines[0].gathered[&asked.unwrap()].end.as_ref();
                let (_, end) = end.expect("it ends at once");
                assert_eq!(
                    (&end.outcome, end.silent),
                    (&Outcome::Complete, 0),
                    "{namespace} {config:?}"
                );
            }
            assert_eq!((doubts(&world, 0), doubts(&world, 1)), ([0; 4], [0; 4]), "{config:?}");
            let counters = *world.machines[0].node.counters();
            assert!(counters.misplaced >= 2 && counters.late == 0, "{counters:?}");
            // The nodes of one namespace are not taken for those of the other.
            for namespace in [&shared, &ROOT] {
                assert_eq!(world.machines[0].node.nodes(world.now, namespace).count(), 1);
            }
        }
    }
}

/// The room `x` of `/` and the namespace `/#x` have the same channel. Where namespaces are dynamic,
/// a client chooses their names.
#[test]
fn a_namespace_with_the_channel_of_a_room_does_not_silence_it() {
    for config in kinds() {
        let config = signed(config);
        for namespace_first in [true, false] {
            let mut world = two([&config, &config]);
            let shared = ByteString::from_static("/#x");
            if namespace_first {
                world.open(1, &shared);
            }
            world.join(1, "s1", "x");
            if !namespace_first {
                world.open(1, &shared);
            }
            world.run(SECOND);
            for _ in 0..3 {
                world.order(0, broadcast("room", Target::room("x")));
            }
            world.run(SECOND);
            assert_eq!(events(&world, 1), 3, "{config:?} {namespace_first}");
            assert_eq!(doubts(&world, 1), [0; 4], "{config:?} {namespace_first}");
        }
    }
}

/// An own order in a stream is known by its number when it is read, also if orders are written by
/// several threads and sent in another order. The number is signed.
#[test]
fn an_own_order_is_known_by_its_number() {
    let streams = kinds()
        .into_iter()
        .find(|config| matches!(config.kind, ClusterKind::Streams(_)));
    let config = signed(streams.unwrap());
    let mut world = two([&config, &config]);
    let (now, node) = (world.now, &mut world.machines[0].node);
    let voices = [(); 2].map(|()| node.voice(now, &ROOT).unwrap());
    let written = voices.map(|voice| voice.write(LocalOrder::CarryOut(broadcast("e", all()))).unwrap());
    let mut out = Outputs::default();
    let [first, second] = written;
    let sent = [second, first].map(|written| node.send(now, written, &mut out).unwrap().unwrap());
    assert!(sent[0] > sent[1]);
    for (command, request) in out.commands.into_iter().zip(sent) {
        let Command::Request {
            request: Request::AddEntry { stream, fields, .. },
            ..
        } = command
        else {
            panic!("an entry");
        };
        let id = Bytes::from("1000000001-0");
        let mut read = |fields| {
            let (stream, id, mut out) = (stream.clone(), id.clone(), Outputs::default());
            node.handle_broker(now, Event::Entry { stream, id, fields }, &mut out);
            out.deliveries
        };
        let mut forged = fields.clone();
        forged.iter_mut().find(|(name, _)| name == "n").unwrap().1 = "9".into();
        assert_eq!(read(forged), []);
        let (namespace, entry) = (ROOT, id.clone());
        assert_eq!(
            read(fields),
            [Delivery::Echo {
                namespace,
                request,
                entry
            }]
        );
    }
    assert_eq!(doubts(&world, 0), [0, 2, 0, 0]);
}

/// Each part of an entry is signed with its length, so that no byte moves from one to the next.
#[test]
fn the_parts_of_an_entry_are_signed_each_by_itself() {
    let streams = ClusterKind::Streams(StreamsConfig::default());
    let config = signed(ClusterConfig::default().kind(streams));
    let mut world = two([&config, &config]);
    world.said.clear();
    world.order(0, broadcast("e", all()));
    world.run(SECOND);
    let before = doubts(&world, 1);
    let mut command = world.said[0].clone();
    if let Command::Request {
        request: Request::AddEntry { fields, .. },
        ..
    } = &mut command
    {
        // No node looks at this field but the one that has written it.
        let known = [&b"uid"[..], b"nsp", b"type", b"data", b"sig"];
        let mut others = fields.iter_mut().filter(|(name, _)| !known.contains(&&name[..]));
        let (name, value) = others.next().unwrap();
        (*name, *value) = ([&name[..], &value[..]].concat().into(), Bytes::new());
    }
    world.publish(command);
    world.run(SECOND);
    let [unsigned, forged, stale, replayed] = before;
    assert_eq!(doubts(&world, 1), [unsigned, forged + 1, stale, replayed]);
    assert_eq!(events(&world, 1), 1);
}

/// What is too large is not verified; what is just as large as it may be is.
#[test]
fn a_signed_message_may_be_as_large_as_the_limit() {
    for config in kinds() {
        let config = signed(config);
        let mut world = two([&config, &config]);
        world.said.clear();
        world.order(0, broadcast("e", all()));
        world.run(SECOND);
        let bytes = match &world.said[0] {
            Command::Publish { payload, .. } => payload.len(),
            Command::Request {
                request: Request::AddEntry { fields, .. },
                ..
            } => fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
            other => panic!("{other:?}"),
        };
        for (most, heard) in [(bytes, 1), (bytes - 1, 0)] {
            let small = config.clone().max_message_bytes(most);
            let mut world = two([&config, &small]);
            world.order(0, broadcast("e", all()));
            world.run(SECOND);
            assert_eq!((events(&world, 1), doubts(&world, 1)), (heard, [0; 4]), "{config:?}");
        }
    }
}

/// Of more signers than may be remembered, nothing is carried out, and this is counted.
#[test]
fn as_many_signers_are_known_as_there_may_be() {
    for config in kinds() {
        let mut world = World::new(&signed(config.max_nodes(1)), 4, 11);
        world.connect(0, "s0");
        world.run(SECOND);
        for at in [1, 2, 3, 3] {
            world.order(at, broadcast("e", all()));
            world.run(SECOND);
        }
        assert_eq!((events(&world, 0), doubts(&world, 0)), (2, [0; 4]));
        assert_eq!(world.machines[0].node.counters().forgotten, 3);
    }
}
