//! Entries that stay in order: what a node knows when it sends one.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

#[path = "cluster/world.rs"]
mod world;

use sio_proto::broker::{Answer, BrokerError, Command, Event, Request};
use sio_proto::cluster::{Emit, LocalOrder, Node, Order, Outputs, Target};
use sio_proto::{Bytes, ClusterConfig, ClusterKind, StreamsConfig, Time};
use world::{ROOT, SECOND, hear_all};

fn order() -> LocalOrder {
    let (to, flags) = (Target::default(), sio_proto::cluster::Flags::default());
    let emit = Emit::default();
    LocalOrder::CarryOut(Order::Broadcast { to, flags, emit })
}

/// Sends an event. Returns the tag of its entry, and how many entries are known to have failed.
fn send(node: &mut Node, is_in_order: bool) -> (u64, Option<u64>) {
    let (now, mut out) = (Time::ZERO, Outputs::default());
    let written = node.voice(now, &ROOT).unwrap().write(order()).unwrap();
    let written = if is_in_order { written.in_order() } else { written };
    node.send(now, written, &mut out).unwrap();
    match &out.commands[..] {
        [
            Command::Request {
                tag,
                request: Request::AddEntry { known_failures, .. },
            },
        ] => (*tag, *known_failures),
        other => panic!("{other:?}"),
    }
}

fn answer(node: &mut Node, tag: u64, answer: Result<Answer, BrokerError>) {
    node.handle_broker(Time::ZERO, Event::Answer { tag, answer }, &mut Outputs::default());
}

#[test]
fn an_entry_in_order_says_how_many_are_known_to_have_failed() {
    let streams = ClusterKind::Streams(StreamsConfig::default());
    let config = ClusterConfig::default().kind(streams).request_timeout(SECOND);
    let mut node = Node::new(config, Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
    let (now, mut out) = (Time::ZERO, Outputs::default());
    node.open_namespace(now, &ROOT, &mut out);
    hear_all(&mut node, &mut out);
    assert_eq!(send(&mut node, false).1, None);
    let (first, known) = send(&mut node, true);
    assert_eq!(known, Some(0));
    answer(&mut node, first, Ok(Answer::Added(Bytes::from_static(b"1-1"))));
    let (second, known) = send(&mut node, true);
    assert_eq!(known, Some(0));
    answer(&mut node, second, Err(BrokerError::Closed));
    let (third, known) = send(&mut node, true);
    assert_eq!(known, Some(1));
    // The broker does not know of it.
    node.handle_refused(now, third, BrokerError::Full, &mut out);
    // Each entry counts, also one that need not stay in order.
    let (fourth, _) = send(&mut node, false);
    answer(&mut node, fourth, Err(BrokerError::TimedOut));
    // Other requests do not.
    let ask = LocalOrder::Ask {
        question: sio_proto::cluster::Question::Sockets { to: Target::default() },
        timeout: None,
    };
    let mut out = Outputs::default();
    node.handle_local(now, &ROOT, ask, &mut out).unwrap();
    let count = out.commands.iter().find_map(|command| match command {
        Command::Request {
            tag,
            request: Request::Subscribers { .. },
        } => Some(*tag),
        _ => None,
    });
    answer(&mut node, count.unwrap(), Err(BrokerError::TimedOut));
    let (fifth, known) = send(&mut node, true);
    assert_eq!(known, Some(2));
    // The broker's count goes before the node's.
    answer(&mut node, fifth, Err(BrokerError::NotInOrder { failed: 9 }));
    assert_eq!(send(&mut node, true).1, Some(9));
}
