//! Messages that are almost too large: deep arguments, long names, many sockets. And what no
//! message may say.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

#[path = "cluster/world.rs"]
mod world;

use sio_proto::broker::{Command, Event, Request};
use sio_proto::cluster::messages::{Body, Broadcast, ClassicRequest, Envelope, MessageLimits};
use sio_proto::cluster::{
    Asker, Delivery, Emitter, Flags, LocalOrder, Node, NotSent, Order, Outputs, Question, Recipients, RemoteSocket,
    Target,
};
use sio_proto::json::MAX_DEPTH;
use sio_proto::{ByteString, Bytes, ClusterConfig, ClusterKind, ShardedMode, Time};
use world::{ROOT, SECOND, World, all, broadcast, emit, hear_all, kinds};

/// A client may send an event whose brackets, with those around the event, are as deep as
/// [`MAX_DEPTH`], and whose name is as long as its server allows. Other nodes read both.
#[test]
fn what_a_client_may_send_other_nodes_read() {
    let deep = |levels: usize| ByteString::from("[".repeat(levels) + &"]".repeat(levels));
    for config in kinds() {
        let mut world = World::new(&config, 2, 5);
        world.connect(0, "s0");
        world.connect(1, "s1");
        world.run(SECOND);
        for levels in [1, MAX_DEPTH - 9, MAX_DEPTH - 8, MAX_DEPTH - 1] {
            let mut order = broadcast(&format!("deep{levels}"), all());
            if let Order::Broadcast { emit, .. } = &mut order {
                emit.args = deep(levels).into();
            }
            world.order(0, order);
            let mut asked = emit("deep");
            asked.args = deep(levels).into();
            world.local(0, LocalOrder::ServerSideEmit(asked));
        }
        let long = "e".repeat(5000);
        world.order(0, broadcast(&long, all()));
        world.run(SECOND);
        let events = &world.machines[1].sockets["s1"].events;
        assert_eq!(events.len(), 5, "{config:?}: {:?}", world.machines[1].node.counters());
        assert_eq!(*events[4], *long);
        assert_eq!(world.machines[1].heard.len(), 4, "{config:?}");
        assert_eq!(world.machines[1].node.counters().malformed, 0);
    }
}

/// A node whose sockets need more than one message answers with as many as fit, and says how many
/// are missing. It is not silent.
#[test]
fn an_answer_that_would_be_too_large_says_what_it_leaves_out() {
    for config in kinds() {
        let config: ClusterConfig = config.max_message_bytes(4096);
        let mut world = World::new(&config, 2, 5);
        for number in 0..300 {
            world.connect(1, &format!("socket-{number}"));
        }
        world.connect(0, "s0");
        world.run(SECOND);
        let request = world.ask(0, Question::Sockets { to: all() });
        world.run(10 * SECOND);
        let gathered = &world.machines[0].gathered[&request];
        let (_, end) = gathered.end.as_ref().unwrap();
        assert_eq!(end.silent, 0, "{config:?}");
        let found = gathered.sockets.len() as u64;
        assert!(found > 20, "{found} of 300, {config:?}");
        assert_eq!(found + gathered.left_out, 300, "{config:?}");
        // A small answer leaves nothing out.
        let request = world.ask(
            0,
            Question::Sockets {
                to: Target::room("socket-7"),
            },
        );
        world.run(10 * SECOND);
        let gathered = &world.machines[0].gathered[&request];
        assert_eq!((gathered.sockets.len(), gathered.left_out), (1, 0), "{config:?}");
    }
}

/// Also if one socket alone is too large for a message, the node answers.
#[test]
fn a_socket_that_is_too_large_is_left_out() {
    for config in kinds() {
        let config: ClusterConfig = config.max_message_bytes(2048);
        let mut world = World::new(&config, 2, 5);
        world.run(SECOND);
        world.connect(1, &"s".repeat(5000));
        world.connect(1, "s1");
        world.run(SECOND);
        let request = world.ask(0, Question::Sockets { to: all() });
        world.run(10 * SECOND);
        let gathered = &world.machines[0].gathered[&request];
        assert_eq!(gathered.end.as_ref().unwrap().1.silent, 0, "{config:?}");
        assert_eq!(gathered.sockets.len() as u64 + gathered.left_out, 2, "{config:?}");
    }
}

fn node(config: &ClusterConfig) -> Node {
    let mut node = Node::new(config.clone(), Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
    let mut out = Outputs::default();
    node.open_namespace(Time::ZERO, &ROOT, &mut out);
    hear_all(&mut node, &mut out);
    node
}

/// The bytes of a message, or of the names and values of an entry.
fn bytes_of(command: &Command) -> usize {
    match command {
        Command::Publish { payload, .. } => payload.len(),
        Command::Request {
            request: Request::AddEntry { fields, .. },
            ..
        } => fields.iter().map(|(name, value)| name.len() + value.len()).sum(),
        other => panic!("{other:?}"),
    }
}

/// The limit of a message is exact, for a node and for an emitter.
#[test]
fn a_message_may_be_as_large_as_the_limit() {
    for config in kinds() {
        let emitter = |config: &ClusterConfig| {
            let emitter = Emitter::new(config.clone()).unwrap();
            emitter.order(&ROOT, broadcast("e", all()), 1)
        };
        let node = |config: &ClusterConfig| {
            let (mut node, mut out) = (node(config), Outputs::default());
            let order = LocalOrder::CarryOut(broadcast("e", all()));
            node.handle_local(Time::ZERO, &ROOT, order, &mut out)
                .map(|_| out.commands.remove(0))
        };
        for send in [&emitter as &dyn Fn(&ClusterConfig) -> Result<Command, NotSent>, &node] {
            let bytes = bytes_of(&send(&config).unwrap());
            assert!(send(&config.clone().max_message_bytes(bytes)).is_ok(), "{config:?}");
            let refused = send(&config.clone().max_message_bytes(bytes - 1));
            assert_eq!(refused, Err(NotSent::TooLarge), "{config:?}");
        }
    }
}

/// Settings that make no sense, and names of events that would end others or confuse them.
#[test]
fn what_may_not_be_said_is_not_written() {
    let wrong = ClusterConfig::default().max_names(0);
    assert!(Node::new(wrong.clone(), Box::new(|_: &mut [u8]| {})).is_err());
    assert!(Emitter::new(wrong).is_err());
    for config in kinds() {
        let (mut node, mut out) = (node(&config), Outputs::default());
        for name in ["connect", "connection", "new_namespace", "error"] {
            let question = Question::ServerSideEmit { emit: emit(name) };
            let asks = LocalOrder::Ask {
                question,
                timeout: None,
            };
            for order in [LocalOrder::ServerSideEmit(emit(name)), asks] {
                let refused = node.handle_local(Time::ZERO, &ROOT, order, &mut out);
                assert_eq!(refused, Err(NotSent::ReservedName), "{name}");
            }
        }
        let voice = |node: &mut Node| node.voice(Time::ZERO, &ROOT).unwrap();
        let to_all = all();
        let broadcast = |node: &mut Node, name| voice(node).broadcast((&to_all).into(), Flags::default(), emit(name));
        assert_eq!(broadcast(&mut node, "disconnect").err(), Some(NotSent::ReservedName));
        assert!(broadcast(&mut node, "e").is_ok());
        assert_eq!((out, node.requests()), (Outputs::default(), 0));
    }
}

/// A node says who it is, so that it does not carry out its own request once more; an emitter does
/// not. The sender of a broadcast is left out with the others.
#[test]
fn a_request_is_signed_by_nodes_and_a_broadcast_leaves_its_sender_out() {
    let (config, limits) = (ClusterConfig::default(), MessageLimits::from(&ClusterConfig::default()));
    let payload = |command: &Command| match command {
        Command::Publish { payload, .. } => payload.clone(),
        other => panic!("{other:?}"),
    };
    let join = || Order::Join {
        to: all(),
        rooms: vec!["r".into()],
    };
    let (mut node, mut out) = (node(&config), Outputs::default());
    let order = LocalOrder::CarryOut(join());
    node.handle_local(Time::ZERO, &ROOT, order, &mut out).unwrap();
    let signed = ClassicRequest::decode(&payload(&out.commands[0]), &limits).unwrap();
    assert_eq!(signed.uid.as_ref(), node.id("/").map(|id| id.as_text()));
    let emitted = Emitter::new(config).unwrap().order(&ROOT, join(), 1).unwrap();
    let emitted = ClassicRequest::decode(&payload(&emitted), &limits).unwrap();
    assert_eq!(emitted.uid, None);
    let to = Recipients {
        rooms: &[],
        except: &["r".into()],
        sender: Some("s0"),
    };
    let voice = node.voice(Time::ZERO, &ROOT).unwrap();
    let written = voice.broadcast(to, Flags::default(), emit("e")).unwrap();
    let heard = Broadcast::decode(&payload(&node.publish(written).unwrap()), &limits).unwrap();
    assert_eq!(heard.to.except, ["r", "s0"]);
}

/// Gives a node a question for its sockets. Returns who asks.
fn asked(node: &mut Node, config: &ClusterConfig) -> Asker {
    let envelope = Envelope {
        uid: "other".into(),
        namespace: ROOT,
        body: Body::Fetch {
            to: all(),
            request_id: "q".into(),
        },
    };
    let (channel, payload) = (Bytes::from_static(b"socket.io#/#"), envelope.encode_sharded());
    let (sharded, mut out) = (true, Outputs::default());
    let event = Event::Message {
        channel,
        payload,
        sharded,
    };
    node.handle_broker(Time::ZERO, event, &mut out);
    match out.deliveries.remove(0) {
        Delivery::Fetch { asker, .. } => asker,
        other => panic!("{other:?} {config:?}"),
    }
}

/// However a socket is written, an answer that is too large leaves some out and is never refused.
/// The first try that fits is near the limit, so a node does not write the same sockets again and
/// again.
#[test]
fn an_answer_fits_whatever_its_sockets_have() {
    let mode = ShardedMode::Dynamic;
    let config = ClusterConfig::default()
        .kind(ClusterKind::Sharded { mode })
        .max_message_bytes(3_000);
    let long = |bytes: usize| ByteString::from(format!("\"{}\"", "x".repeat(bytes - 2)));
    let socket = |id: &str| RemoteSocket {
        id: id.into(),
        ..RemoteSocket::default()
    };
    let answer = |sockets: Vec<RemoteSocket>| {
        let mut node = node(&config);
        let (asker, mut out) = (asked(&mut node, &config), Outputs::default());
        node.answer_sockets(Time::ZERO, &asker, sockets, &mut out).unwrap();
        let Command::Publish { payload, .. } = &out.commands[0] else {
            panic!("{out:?}");
        };
        let limits = MessageLimits::from(&config);
        match Envelope::decode(payload, &limits).unwrap().body {
            Body::Sockets { sockets, left_out, .. } => (sockets.len(), left_out, payload.len()),
            other => panic!("{other:?}"),
        }
    };
    let large = [
        socket(&"\u{1}".repeat(490)),
        socket(&"x".repeat(3_000)),
        RemoteSocket {
            handshake: long(3_000),
            ..socket("h")
        },
        RemoteSocket {
            data: long(3_000),
            ..socket("d")
        },
        RemoteSocket {
            rooms: vec!["x".repeat(3_000).into(), "r".into()],
            ..socket("r")
        },
        RemoteSocket {
            rooms: vec!["r".into(); 800],
            ..socket("r")
        },
    ];
    for socket in large {
        assert_eq!(answer(vec![socket.clone()]).0, 0, "{socket:?}");
        assert_eq!(answer(vec![socket]).1, 1);
    }
    let (found, left_out, bytes) = answer(
        (0..1_000)
            .map(|number| socket(&format!("socket {number:04}")))
            .collect(),
    );
    assert_eq!(found as u64 + left_out, 1_000);
    assert!((2_300..=2_850).contains(&bytes), "{found} sockets in {bytes} bytes");
}
