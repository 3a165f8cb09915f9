//! Several nodes and a broker: who gets what, how requests end, and what a node says and hears.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

#[path = "cluster/world.rs"]
mod world;

use std::collections::BTreeSet;

use sio_proto::broker::{Answer, Command, Event, Request};
use sio_proto::cluster::messages::{Body, Envelope, MessageLimits};
use sio_proto::cluster::{
    Delivery, Emitter, Flags, LocalOrder, Node, NotSent, Order, Outcome, Outputs, Question, Target,
};
use sio_proto::{Bytes, ClusterConfig, ClusterKind, ShardedMode, StreamsConfig, Time};
use world::{ROOT, SECOND, World, all, broadcast, emit, hear_all, kinds};

/// Three machines with two sockets each; the first of each is in room `r`.
fn three(config: &ClusterConfig) -> World {
    let mut world = World::new(config, 3, 7);
    for at in 0..3 {
        for number in 0..2 {
            world.connect(at, &format!("s{at}{number}"));
        }
        world.join(at, &format!("s{at}0"), "r");
    }
    world.run(SECOND);
    world
}

/// How often each of the six sockets has got the event.
fn got(world: &World, name: &str) -> Vec<usize> {
    let sockets = world.machines.iter().flat_map(|machine| machine.sockets.values());
    sockets
        .map(|socket| socket.events.iter().filter(|event| **event == name).count())
        .collect()
}

#[test]
fn orders_reach_every_node_once() {
    for config in kinds() {
        let mut world = three(&config);
        let except = Target {
            rooms: vec![],
            except: vec!["r".into()],
        };
        let two = Target {
            rooms: vec!["r".into(), "s01".into()],
            except: vec!["s10".into()],
        };
        for (name, to) in [
            ("all", all()),
            ("room", Target::room("r")),
            ("except", except),
            ("one", Target::room("s11")),
            ("two", two),
            ("nobody", Target::room("x")),
        ] {
            world.order(1, broadcast(name, to));
        }
        world.run(SECOND);
        for (name, expected) in [
            ("all", [1, 1, 1, 1, 1, 1]),
            ("room", [1, 0, 1, 0, 1, 0]),
            ("except", [0, 1, 0, 1, 0, 1]),
            ("one", [0, 0, 0, 1, 0, 0]),
            ("two", [1, 1, 0, 0, 1, 0]),
            ("nobody", [0; 6]),
        ] {
            assert_eq!(got(&world, name), expected, "{name}: {config:?}");
        }

        let to = Target::room("s21");
        let rooms = vec!["r".into(), "x".into()];
        world.order(0, Order::Join { to: to.clone(), rooms });
        world.order(
            2,
            Order::Leave {
                to: Target::room("s10"),
                rooms: vec!["r".into()],
            },
        );
        world.run(SECOND);
        world.order(0, broadcast("joined", Target::room("r")));
        world.order(0, broadcast("x", Target::room("x")));
        world.run(SECOND);
        assert_eq!(got(&world, "joined"), [1, 0, 0, 0, 1, 1], "{config:?}");
        assert_eq!(got(&world, "x"), [0, 0, 0, 0, 0, 1], "{config:?}");

        world.order(
            0,
            Order::Disconnect {
                to: Target::room("r"),
                close: true,
            },
        );
        world.run(SECOND);
        assert!(world.machines[2].sockets.is_empty(), "{config:?}");
        let left: usize = world.machines.iter().map(|machine| machine.sockets.len()).sum();
        assert_eq!(left, 3);
    }
}

#[test]
fn requests_gather_what_all_nodes_answer() {
    for config in kinds() {
        let mut world = three(&config);
        let fetch = world.ask(0, Question::Sockets { to: Target::room("r") });
        let emits = world.ask(0, Question::ServerSideEmit { emit: emit("hi") });
        let acks = world.ask(
            0,
            Question::Acks {
                to: all(),
                flags: Flags::default(),
                emit: emit("q"),
            },
        );
        world.local(0, LocalOrder::ServerSideEmit(emit("plain")));
        world.run(SECOND);
        let gathered = &world.machines[0].gathered;
        assert_eq!(gathered[&fetch].sockets, BTreeSet::from(["s10".into(), "s20".into()]));
        assert_eq!(gathered[&emits].values, 2);
        assert_eq!((gathered[&acks].recipients, gathered[&acks].acks), (4, 4));
        for request in [fetch, emits, acks] {
            let (_, end) = gathered[&request].end.as_ref().unwrap();
            assert_eq!((&end.outcome, end.silent), (&Outcome::Complete, 0), "{config:?}");
        }
        assert_eq!(got(&world, "q"), [0, 0, 1, 1, 1, 1]);
        assert_eq!(world.machines[1].heard, ["hi", "plain"]);
        assert!(world.machines[0].heard.is_empty());
        let names: Vec<_> = world.machines[0]
            .node
            .nodes(world.now, "/")
            .map(|(node, _)| node.clone())
            .collect();
        let others: BTreeSet<_> = (1..3)
            .map(|at| world.machines[at].node.id("/").unwrap().clone())
            .collect();
        assert_eq!(BTreeSet::from_iter(names), others);
        assert_eq!(
            world.machines[0].node.next_timeout(),
            None,
            "nothing is left: {config:?}"
        );
    }
}

#[test]
fn a_silent_node_is_named_at_the_deadline() {
    for config in kinds() {
        let mut world = three(&config);
        world.ask(0, Question::Sockets { to: all() });
        world.run(SECOND);
        world.machines[2].frozen = true;
        let begun = world.now;
        let request = world.ask(0, Question::Sockets { to: all() });
        world.run(10 * SECOND);
        let (at, end) = world.machines[0].gathered[&request].end.clone().unwrap();
        assert_eq!(at.saturating_since(begun), 5 * SECOND);
        assert_eq!((end.outcome, end.silent), (Outcome::Deadline, 1));
        assert_eq!(end.silent_nodes, [world.machines[2].node.id("/").unwrap().clone()]);
        assert_eq!(
            world.machines[0].gathered[&request].sockets.len(),
            2,
            "the answers of the others are kept"
        );
        world.machines[2].frozen = false;
        world.run(SECOND);
        assert_eq!(
            world.machines[0].node.counters().late,
            1,
            "the late answer is counted: {config:?}"
        );
        let whole = world.ask(0, Question::Sockets { to: all() });
        world.run(SECOND);
        assert_eq!(
            world.machines[0].gathered[&whole].end.as_ref().unwrap().1.outcome,
            Outcome::Complete
        );
    }
}

#[test]
fn a_node_alone_is_answered_at_once() {
    for config in kinds() {
        let mut world = World::new(&config, 1, 3);
        let request = world.ask(0, Question::ServerSideEmit { emit: emit("e") });
        world.run(SECOND);
        assert_eq!(
            world.machines[0].gathered[&request].end.as_ref().unwrap().1.outcome,
            Outcome::Complete
        );
        assert!(
            world.machines[0].node.counters().echoes > 0,
            "the own message came back and was not read"
        );
        assert!(world.machines[0].heard.is_empty());
    }
}

#[test]
fn a_broker_that_is_away_ends_requests_at_once() {
    for config in kinds() {
        let mut world = three(&config);
        world.restart();
        let begun = world.now;
        let request = world.ask(1, Question::Sockets { to: all() });
        let ticket = world.order(1, broadcast("lost", all()));
        world.run(SECOND);
        let (at, end) = world.machines[1].gathered[&request].end.clone().unwrap();
        assert!(at.saturating_since(begun) < SECOND);
        assert!(matches!(end.outcome, Outcome::Broker(_)), "{end:?}");
        assert_eq!(got(&world, "lost"), [0, 0, 1, 1, 0, 0], "delivered here: {config:?}");
        if let Some(ticket) = ticket {
            assert!(!world.machines[1].stored[&ticket]);
        }
        world.order(1, broadcast("back", Target::room("r")));
        world.run(SECOND);
        assert_eq!(
            got(&world, "back"),
            [1, 0, 1, 0, 1, 0],
            "all channels are heard again: {config:?}"
        );
    }
}

/// No node counts twice, and an answer that comes twice is refused.
#[test]
fn answers_that_come_twice_count_once() {
    for config in kinds() {
        let mut world = three(&config);
        world.twice = true;
        let emits = world.ask(0, Question::ServerSideEmit { emit: emit("hi") });
        let fetch = world.ask(0, Question::Sockets { to: all() });
        world.run(SECOND);
        let gathered = &world.machines[0].gathered;
        assert_eq!(gathered[&emits].values, 2, "{config:?}");
        assert_eq!(gathered[&fetch].sockets.len(), 4);
        let counters = world.machines[0].node.counters();
        assert!(counters.refused + counters.late > 0, "{config:?}");
    }
}

#[test]
fn a_namespace_that_is_closed_leaves_nothing() {
    for config in kinds() {
        let mut world = three(&config);
        world.machines[1].frozen = true;
        let request = world.ask(0, Question::Sockets { to: all() });
        world.run(SECOND);
        let mut out = Outputs::default();
        let now = world.now;
        let node = &mut world.machines[0].node;
        node.close_namespace(now, &ROOT, &mut out);
        let ended = Delivery::Ended {
            request,
            end: match &out.deliveries[..] {
                [Delivery::Ended { end, .. }] => end.clone(),
                other => panic!("one end: {other:?}"),
            },
        };
        assert!(matches!(&ended, Delivery::Ended { end, .. } if end.outcome == Outcome::Closed && end.silent == 1));
        assert_eq!(node.next_timeout(), None);
        assert_eq!(node.id("/"), None);
        let order = LocalOrder::CarryOut(broadcast("e", all()));
        assert_eq!(
            node.handle_local(now, &ROOT, order, &mut out),
            Err(NotSent::UnknownNamespace)
        );
        let left = out
            .commands
            .iter()
            .filter(|command| matches!(command, Command::Unsubscribe { .. }))
            .count();
        let rooms = match config.kind {
            ClusterKind::Classic => 4 + 3,
            ClusterKind::Sharded {
                mode: ShardedMode::Static,
            }
            | ClusterKind::Streams(_) => 2,
            ClusterKind::Sharded { .. } => 2 + 3,
            _ => panic!("an adapter without a test"),
        };
        assert_eq!(left, rooms, "{config:?}");
    }
}

/// Each limit of a node is reached.
#[test]
fn limits_of_a_node() {
    let config = ClusterConfig::default()
        .kind(ClusterKind::Sharded {
            mode: ShardedMode::Dynamic,
        })
        .max_requests(1)
        .max_nodes(1)
        .max_answer_bytes(150)
        .max_message_bytes(300);
    let mut world = three(&config);
    let first = world.ask(0, Question::Sockets { to: all() });
    let now = world.now;
    let mut out = Outputs::default();
    let ask = |emit| LocalOrder::Ask {
        question: Question::ServerSideEmit { emit },
        timeout: None,
    };
    let node = &mut world.machines[0].node;
    assert_eq!(
        node.handle_local(now, &ROOT, ask(emit("e")), &mut out),
        Err(NotSent::TooManyRequests)
    );
    assert_eq!(node.requests(), 1);
    let long = LocalOrder::CarryOut(broadcast(&"e".repeat(300), all()));
    assert_eq!(node.handle_local(now, &ROOT, long, &mut out), Err(NotSent::TooLarge));
    let reserved = LocalOrder::CarryOut(broadcast("disconnect", all()));
    assert_eq!(
        node.handle_local(now, &ROOT, reserved, &mut out),
        Err(NotSent::ReservedName)
    );
    assert_eq!(out, Outputs::default(), "what is refused says nothing");
    world.run(10 * SECOND);
    // Each answer has more than 75 bytes, so the second one is too much.
    let (_, end) = world.machines[0].gathered[&first].end.as_ref().unwrap();
    assert_eq!((&end.outcome, end.silent), (&Outcome::Deadline, 2));
    let counters = world.machines[0].node.counters();
    assert_eq!((counters.refused, counters.forgotten, counters.incomplete), (2, 1, 1));
    assert_eq!(world.machines[0].node.nodes(world.now, "/").count(), 1);
}

/// A node hears exactly the channels of its rooms (docs/protocol/cluster-redis.md §1, §3).
#[test]
fn subscriptions_are_exact() {
    let subscribed = |kind: ClusterKind| {
        let config = ClusterConfig::default().kind(kind);
        let mut node = Node::new(config, Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
        let mut out = Outputs::default();
        node.open_namespace(Time::ZERO, &"/a".into(), &mut out);
        node.open_namespace(Time::ZERO, &"/a".into(), &mut out);
        for room in ["room", "room", "8VacyymbwTN8k8csAAAA"] {
            node.open_room(&"/a".into(), room, &mut out);
            node.open_room(&"/not-open".into(), room, &mut out);
        }
        node.close_room(&"/a".into(), "room", &mut out);
        node.close_room(&"/a".into(), "room", &mut out);
        let names = out.commands.into_iter().filter_map(|command| match command {
            Command::Subscribe { channel, .. } => Some(format!("+{}", channel.escape_ascii())),
            Command::Unsubscribe { channel, .. } => Some(format!("-{}", channel.escape_ascii())),
            _ => None,
        });
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        subscribed(ClusterKind::Classic),
        "+socket.io#/a# +socket.io-request#/a# +socket.io-response#/a# +socket.io-response#/a#AQEBAQ# \
         +socket.io#/a#room# +socket.io#/a#8VacyymbwTN8k8csAAAA# -socket.io#/a#room#"
    );
    assert_eq!(
        subscribed(ClusterKind::Sharded {
            mode: ShardedMode::Dynamic
        }),
        "+socket.io#/a# +socket.io#/a#0101010101010101# +socket.io#/a#room# -socket.io#/a#room#"
    );
    assert_eq!(
        subscribed(ClusterKind::Streams(StreamsConfig::default())),
        "+socket.io#/a# +socket.io#/a#0101010101010101#"
    );
}

/// A message for one room comes only to the nodes that have members of the room.
#[test]
fn a_node_hears_only_what_concerns_its_rooms() {
    for config in kinds() {
        let has_channels = match config.kind {
            ClusterKind::Classic => true,
            ClusterKind::Sharded { mode } => mode != ShardedMode::Static,
            _ => false,
        };
        if !has_channels {
            continue;
        }
        let mut world = three(&config);
        world.join(1, "s11", "mine");
        world.run(SECOND);
        let before = [0, 1, 2].map(|at| *world.machines[at].node.counters());
        world.order(0, broadcast("e", Target::room("mine")));
        world.run(SECOND);
        let after = [0, 1, 2].map(|at| *world.machines[at].node.counters());
        assert_eq!(got(&world, "e"), [0, 0, 0, 1, 0, 0]);
        assert_eq!(
            (after[0].received, after[0].echoes),
            (before[0].received, before[0].echoes)
        );
        assert_eq!(after[1].received.broadcasts, before[1].received.broadcasts + 1);
        assert_eq!(after[2], before[2], "{config:?}");
    }
}

/// Nodes of the streams adapter 0.2 read the stream only (docs/protocol/cluster-redis.md §4.2).
#[test]
fn old_streams_nodes_are_waited_for_and_told_that_this_node_is_alive() {
    let config = ClusterConfig::default().kind(ClusterKind::Streams(StreamsConfig::default()));
    let mut node = Node::new(config.clone(), Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
    let (mut now, mut out) = (Time::ZERO, Outputs::default());
    node.open_namespace(now, &ROOT, &mut out);
    hear_all(&mut node, &mut out);
    let hear = |node: &mut Node, now, body: Body, out: &mut Outputs| {
        let envelope = Envelope {
            uid: "old".into(),
            namespace: ROOT,
            body,
        };
        let (stream, id) = (Bytes::from_static(b"socket.io"), Bytes::from_static(b"1-0"));
        let fields = envelope.encode_entry();
        node.handle_broker(now, Event::Entry { stream, id, fields }, out);
    };
    let said = |out: &mut Outputs| {
        let limits = MessageLimits::from(&config);
        let commands = std::mem::take(&mut out.commands).into_iter();
        let entries = commands.filter_map(|command| match command {
            Command::Request {
                request: Request::AddEntry { fields, .. },
                ..
            } => Some(Envelope::decode_entry(&fields, &limits).unwrap().body),
            _ => None,
        });
        entries.collect::<Vec<_>>()
    };
    let beat = || Body::Heartbeat { subscribes: true };
    assert_eq!(node.next_timeout(), None, "nobody needs heartbeats");
    hear(&mut node, now, Body::InitialHeartbeat, &mut out);
    assert_eq!(said(&mut out), [beat()]);
    now = node.next_timeout().unwrap();
    assert_eq!(now, Time::ZERO + 5 * SECOND);
    hear(&mut node, now, Body::Heartbeat { subscribes: false }, &mut out);
    node.handle_timeout(now, &mut out);
    assert_eq!(said(&mut out), [beat()]);

    // A request goes through the stream, and its answer comes there.
    let question = Question::Sockets { to: all() };
    let ask = LocalOrder::Ask {
        question,
        timeout: None,
    };
    let request = node.handle_local(now, &ROOT, ask, &mut out).unwrap().unwrap();
    let [Command::Request { tag, .. }, _] = out.commands[..] else {
        panic!("a count and an entry: {out:?}");
    };
    let [Body::Fetch { request_id, .. }] = &said(&mut out)[..] else {
        panic!("a question");
    };
    let answer = Ok(Answer::Count(1));
    node.handle_broker(now, Event::Answer { tag, answer }, &mut out);
    assert_eq!(out.deliveries, [], "the old node is due");
    let request_id = request_id.clone();
    hear(
        &mut node,
        now,
        Body::Sockets {
            request_id,
            sockets: vec![],
            left_out: 0,
        },
        &mut out,
    );
    assert!(matches!(&out.deliveries[..], [
        Delivery::Sockets { .. },
        Delivery::Ended { request: ended, end }
    ] if *ended == request && end.outcome == Outcome::Complete));

    // A question in the stream is answered there.
    out = Outputs::default();
    hear(
        &mut node,
        now,
        Body::Fetch {
            to: all(),
            request_id: "q".into(),
        },
        &mut out,
    );
    let [Delivery::Fetch { asker, .. }] = &out.deliveries[..] else {
        panic!("a question");
    };
    let asker = asker.clone();
    node.answer_sockets(now, &asker, vec![], &mut out).unwrap();
    assert!(matches!(&said(&mut out)[..], [Body::Sockets { .. }]));

    // Its heartbeats stop: it is gone, and nobody needs ours.
    now = now + 10 * SECOND;
    node.handle_timeout(now, &mut out);
    assert_eq!(node.nodes(now, "/").count(), 0);
    assert_eq!(node.next_timeout(), None);
}

/// docs/protocol/cluster-redis.md §5, and what a node makes of it.
#[test]
fn an_emitter_is_heard_by_all_nodes() {
    for config in kinds() {
        let mut world = three(&config);
        let emitter = Emitter::new(config.clone()).unwrap();
        let commands = [
            emitter.order(&ROOT, broadcast("e", Target::room("r")), 1).unwrap(),
            emitter
                .order(
                    &ROOT,
                    Order::Join {
                        to: Target::room("s01"),
                        rooms: vec!["x".into()],
                    },
                    2,
                )
                .unwrap(),
            emitter.server_side_emit(&ROOT, emit("srv"), 3).unwrap(),
        ];
        assert_eq!(
            emitter.order(&ROOT, broadcast("connect", all()), 4),
            Err(NotSent::ReservedName)
        );
        assert_eq!(
            emitter.server_side_emit(&ROOT, emit("connection"), 5),
            Err(NotSent::ReservedName)
        );
        commands.into_iter().for_each(|command| world.publish(command));
        world.run(SECOND);
        assert_eq!(got(&world, "e"), [1, 0, 1, 0, 1, 0], "{config:?}");
        assert!(world.machines[0].sockets["s01"].rooms.contains("x"));
        for machine in &world.machines {
            assert_eq!(machine.heard, ["srv"]);
            assert_eq!(
                machine.node.nodes(world.now, "/").count(),
                0,
                "an emitter is no node: {config:?}"
            );
        }
    }
}

/// A message to a channel is the same message for both ways to send it, and counts the same. What
/// is more than such a message is not sent on the short way, and counts nothing.
#[test]
fn what_is_published_is_what_would_be_sent() {
    let events = LocalOrder::ServerSideEmit(emit("e"));
    let leaves = Order::Disconnect { to: all(), close: true };
    let question = Question::Sockets { to: all() };
    let orders = [
        (LocalOrder::CarryOut(broadcast("e", Target::room("r"))), true),
        (LocalOrder::CarryOut(leaves), true),
        (events, true),
        (
            LocalOrder::Ask {
                question,
                timeout: None,
            },
            false,
        ),
    ];
    for config in kinds() {
        let is_stream = matches!(config.kind, ClusterKind::Streams(_));
        let node = || {
            let mut node = Node::new(config.clone(), Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
            node.open_namespace(Time::ZERO, &ROOT, &mut Outputs::default());
            node
        };
        for (order, is_message) in orders.clone() {
            let (mut long, mut short, mut out) = (node(), node(), Outputs::default());
            let write = |node: &mut Node| {
                let voice = match is_message {
                    true => node.voice(Time::ZERO, &ROOT).unwrap(),
                    false => node.asking_voice(Time::ZERO, &ROOT, &mut Outputs::default()).unwrap(),
                };
                voice.write(order.clone()).unwrap()
            };
            let (first, second) = (write(&mut long), write(&mut short));
            let before = *short.counters();
            let is_publication = second.is_publication();
            let published = short.publish(second);
            assert_eq!(published.is_some(), is_publication);
            let Some(published) = published else {
                assert!(is_stream || !is_message, "{order:?}");
                assert_eq!(*short.counters(), before);
                continue;
            };
            assert!(is_message, "{order:?}");
            assert_eq!(long.send(Time::ZERO, first, &mut out).unwrap(), None);
            assert_eq!(out.commands, [published]);
            assert_eq!(short.counters(), long.counters());
            assert!(short.counters().sent.bytes > 0);
        }
    }
}
