//! Messages that are almost too large: deep arguments, long names, many sockets.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

#[path = "cluster/world.rs"]
mod world;

use sio_proto::cluster::{LocalOrder, Order, Question, Target};
use sio_proto::json::MAX_DEPTH;
use sio_proto::{ByteString, ClusterConfig};
use world::{SECOND, World, all, broadcast, emit, kinds};

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
