//! When a node is heard, and what it knows of itself before.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

#[path = "cluster/world.rs"]
mod world;

use sio_proto::broker::{Answer, BrokerError, Command, Event, Request};
use sio_proto::cluster::{Delivery, LocalOrder, Node, Outputs, Question};
use sio_proto::{ClusterConfig, ClusterKind, StreamsConfig, Time};
use world::{ROOT, all, hear_all};

/// The number of subscribers has this node in it only if its channels are heard. Otherwise it waits
/// for one node more, and does not end without an answer that is on its way.
#[test]
fn a_node_that_is_not_heard_does_not_count_itself() {
    let streams = ClusterKind::Streams(StreamsConfig::default());
    let mut number = 0_u8;
    let draw = move |out: &mut [u8]| {
        number += 1;
        out.fill(number);
    };
    let mut node = Node::new(ClusterConfig::default().kind(streams), Box::new(draw)).unwrap();
    let (now, mut out) = (Time::ZERO, Outputs::default());
    // Asks for the sockets; one subscriber is counted. Returns whether the request ends.
    let is_alone = |node: &mut Node, out: &mut Outputs| {
        let order = LocalOrder::Ask {
            question: Question::Sockets { to: all() },
            timeout: None,
        };
        out.commands.clear();
        node.handle_local(now, &ROOT, order, out).unwrap();
        let mut commands = std::mem::take(&mut out.commands).into_iter();
        let tag = commands.find_map(|command| match command {
            Command::Request {
                tag,
                request: Request::Subscribers { .. },
            } => Some(tag),
            _ => None,
        });
        let (tag, answer) = (tag.unwrap(), Ok(Answer::Count(1)));
        node.handle_broker(now, Event::Answer { tag, answer }, out);
        !std::mem::take(&mut out.deliveries).is_empty()
    };
    node.open_namespace(now, &ROOT, &mut out);
    let subscriptions = std::mem::take(&mut out.commands);
    assert!(!is_alone(&mut node, &mut out));
    out.commands = subscriptions;
    hear_all(&mut node, &mut out);
    assert!(is_alone(&mut node, &mut out));
    let why = BrokerError::Closed;
    node.handle_broker(now, Event::Down { why }, &mut out);
    assert!(!is_alone(&mut node, &mut out));
    node.handle_broker(now, Event::Up, &mut out);
    assert!(is_alone(&mut node, &mut out));
}

/// A room may have the channel of another namespace. The namespace asks for it all the same, and
/// the broker says at once that it hears it.
#[test]
fn a_namespace_is_ready_whose_channel_a_room_has() {
    let mut node = Node::new(ClusterConfig::default(), Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
    let (now, mut out) = (Time::ZERO, Outputs::default());
    node.open_namespace(now, &"/a".into(), &mut out);
    node.open_room(&"/a".into(), "x", &mut out);
    let namespace = "/a".into();
    assert_eq!(hear_all(&mut node, &mut out), [Delivery::Ready { namespace }]);
    node.open_namespace(now, &"/a#x".into(), &mut out);
    let namespace = "/a#x".into();
    assert_eq!(hear_all(&mut node, &mut out), [Delivery::Ready { namespace }]);
}
