//! When a node is heard, what it asks before, and when it is heard no more.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

#[path = "cluster/world.rs"]
mod world;

use sio_proto::broker::{Answer, BrokerError, Command, Event, Request};
use sio_proto::cluster::{Delivery, LocalOrder, Node, NotSent, Outcome, Outputs, Question, RequestId};
use sio_proto::{ByteString, ClusterConfig, ClusterKind, ShardedMode, StreamsConfig, Time};
use world::{ROOT, SECOND, all, hear_all};

fn node() -> Node {
    let mut number = 0_u8;
    let draw = move |out: &mut [u8]| {
        number += 1;
        out.fill(number);
    };
    let streams = ClusterKind::Streams(StreamsConfig::default());
    Node::new(ClusterConfig::default().kind(streams), Box::new(draw)).unwrap()
}

/// Asks for the sockets.
fn ask(node: &mut Node, namespace: &ByteString, now: Time, out: &mut Outputs) -> RequestId {
    let order = LocalOrder::Ask {
        question: Question::Sockets { to: all() },
        timeout: None,
    };
    node.handle_local(now, namespace, order, out).unwrap().unwrap()
}

/// The tag of the question how many subscribers there are, if it was asked.
fn count_tag(commands: &[Command]) -> Option<u64> {
    commands.iter().find_map(|command| match command {
        Command::Request {
            tag,
            request: Request::Subscribers { .. },
        } => Some(*tag),
        _ => None,
    })
}

/// Answers would come to a channel that is not heard yet, so a question waits until it is. If the
/// broker goes away, the question ends.
#[test]
fn a_question_waits_until_its_answers_are_heard() {
    let (mut node, now, mut out) = (node(), Time::ZERO, Outputs::default());
    node.open_namespace(now, &ROOT, &mut out);
    let subscriptions = std::mem::take(&mut out.commands);
    let request = ask(&mut node, &ROOT, now, &mut out);
    assert_eq!(out.commands, [], "it is not asked yet");
    assert_eq!(node.next_timeout(), Some(now + 5 * SECOND), "its time runs");
    out.commands = subscriptions;
    let namespace = ROOT;
    assert_eq!(hear_all(&mut node, &mut out), [Delivery::Ready { namespace }]);
    let tag = count_tag(&out.commands).unwrap();
    assert!(
        out.commands
            .iter()
            .any(|command| matches!(command, Command::Publish { .. }))
    );
    let answer = Ok(Answer::Count(1));
    node.handle_broker(now, Event::Answer { tag, answer }, &mut out);
    assert!(matches!(&out.deliveries[..], [Delivery::Ended { request: ended, end }]
        if *ended == request && end.outcome == Outcome::Complete));

    let (mut node, mut out) = (self::node(), Outputs::default());
    node.open_namespace(now, &ROOT, &mut out);
    ask(&mut node, &ROOT, now, &mut out);
    let why = BrokerError::Closed;
    node.handle_broker(now, Event::Down { why: why.clone() }, &mut out);
    assert!(matches!(&out.deliveries[..], [Delivery::Ended { end, .. }] if end.outcome == Outcome::Broker(why)));
    assert_eq!(node.requests(), 0);
}

/// While the broker is away, nobody knows whether it counts this node. Then one node more is waited
/// for, and no answer that is on its way is missed.
#[test]
fn a_node_without_its_broker_does_not_count_itself() {
    let (mut node, now, mut out) = (node(), Time::ZERO, Outputs::default());
    node.open_namespace(now, &ROOT, &mut out);
    hear_all(&mut node, &mut out);
    let is_alone = |node: &mut Node, out: &mut Outputs| {
        out.commands.clear();
        ask(node, &ROOT, now, out);
        let (tag, answer) = (count_tag(&out.commands).unwrap(), Ok(Answer::Count(1)));
        node.handle_broker(now, Event::Answer { tag, answer }, out);
        !std::mem::take(&mut out.deliveries).is_empty()
    };
    assert!(is_alone(&mut node, &mut out));
    let why = BrokerError::Closed;
    node.handle_broker(now, Event::Down { why }, &mut out);
    assert!(!is_alone(&mut node, &mut out));
    node.handle_broker(now, Event::Up, &mut out);
    assert!(is_alone(&mut node, &mut out));
}

/// Questions can be asked in a namespace that this node does not have: its channels are heard as
/// long as questions are asked, and no longer.
#[test]
fn a_namespace_is_open_for_questions_as_long_as_they_are_asked() {
    let (mut node, mut now, mut out) = (node(), Time::ZERO, Outputs::default());
    let elsewhere: ByteString = "/elsewhere".into();
    ask(&mut node, &elsewhere, now, &mut out);
    assert_eq!(count_tag(&out.commands), None);
    assert_eq!(node.id(&elsewhere), None, "the application does not have it");
    assert_eq!(hear_all(&mut node, &mut out), [], "and need not know that it is ready");
    let tag = count_tag(&out.commands).unwrap();
    let answer = Ok(Answer::Count(1));
    node.handle_broker(now, Event::Answer { tag, answer }, &mut out);
    assert!(matches!(&out.deliveries[..], [Delivery::Ended { end, .. }] if end.outcome == Outcome::Complete));
    out = Outputs::default();
    // What the application says of namespaces does not end the question of one that it does not
    // have.
    node.close_namespace(now, &elsewhere, &mut out);
    assert_eq!(out, Outputs::default());
    ask(&mut node, &elsewhere, now, &mut out);
    assert!(count_tag(&out.commands).is_some(), "it is heard already");
    out = Outputs::default();
    while let Some(next) = node.next_timeout() {
        now = next;
        node.handle_timeout(now, &mut out);
    }
    assert!(now <= Time::ZERO + 20 * SECOND);
    let left = |command: &&Command| matches!(command, Command::Unsubscribe { .. });
    assert_eq!(out.commands.iter().filter(left).count(), 2);
    assert!(
        out.commands
            .iter()
            .any(|command| matches!(command, Command::StopStream { .. }))
    );

    // A namespace that begins meanwhile is the application's.
    let mut out = Outputs::default();
    ask(&mut node, &elsewhere, now, &mut out);
    hear_all(&mut node, &mut out);
    node.open_namespace(now, &elsewhere, &mut out);
    let namespace = elsewhere.clone();
    assert_eq!(out.deliveries, [Delivery::Ready { namespace }]);
    node.handle_timeout(now + 60 * SECOND, &mut out);
    assert!(node.id(&elsewhere).is_some());
}

/// What is left with a namespace are its channels and no others, also if names have `#`.
#[test]
fn a_namespace_takes_its_own_channels_with_it() {
    let mut node = Node::new(ClusterConfig::default(), Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
    let (now, mut out) = (Time::ZERO, Outputs::default());
    for namespace in ["/a", "/a#b", "/ab", "/b"] {
        node.open_namespace(now, &namespace.into(), &mut out);
        for room in ["r", "b#r", "b"] {
            node.open_room(&namespace.into(), room, &mut out);
        }
    }
    out.commands.clear();
    node.close_namespace(now, &"/a".into(), &mut out);
    let left = |out: &mut Outputs| {
        let commands = std::mem::take(&mut out.commands).into_iter();
        let mut left: Vec<_> = commands
            .filter_map(|command| match command {
                Command::Unsubscribe { channel, .. } => Some(String::from_utf8(channel.to_vec()).unwrap()),
                _ => None,
            })
            .collect();
        left.sort();
        left
    };
    // `P#/a#b#` and `P#/a#b#r#` are also channels of `/a#b`.
    let expected = [
        "socket.io#/a#",
        "socket.io#/a#r#",
        "socket.io-request#/a#",
        "socket.io-response#/a#",
        "socket.io-response#/a#AQEBAQ#",
    ];
    let mut expected = expected.map(String::from);
    expected.sort();
    assert_eq!(left(&mut out), expected);
    node.close_namespace(now, &"/a#b".into(), &mut out);
    assert_eq!(left(&mut out).len(), 4 + 3);
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

/// Ends the question that was asked last: nobody else is there.
fn end(node: &mut Node, now: Time, out: &mut Outputs) {
    hear_all(node, out);
    let (tag, answer) = (count_tag(&out.commands).unwrap(), Ok(Answer::Count(1)));
    out.commands.clear();
    node.handle_broker(now, Event::Answer { tag, answer }, out);
    assert!(matches!(out.deliveries.pop(), Some(Delivery::Ended { .. })));
}

/// As many namespaces are open for questions only as there may be questions, and each is so for one
/// time of a question behind the last one. What the application opens, or what is closed, is none
/// of them.
#[test]
fn namespaces_for_questions_are_bounded() {
    let few = ClusterConfig::default().max_requests(2);
    let mut node = Node::new(few, Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
    let (mut now, mut out) = (Time::ZERO, Outputs::default());
    let question = |node: &mut Node, namespace: &str, now, out: &mut Outputs| {
        let order = LocalOrder::Ask {
            question: Question::Sockets { to: all() },
            timeout: None,
        };
        node.handle_local(now, &namespace.into(), order, out).map(|_| ())
    };
    for round in 0..3 {
        for name in ["/a", "/b"] {
            assert_eq!(question(&mut node, &format!("{name}{round}"), now, &mut out), Ok(()));
            end(&mut node, now, &mut out);
        }
        let refused = question(&mut node, "/c", now, &mut out);
        assert_eq!(refused, Err(NotSent::TooManyRequests));
        // Nothing is asked any more, but more may be.
        assert_eq!(node.next_timeout(), Some(now + 5 * SECOND));
        now = now + 5 * SECOND;
        node.handle_timeout(now, &mut out);
        assert_eq!(node.next_timeout(), None);
        out.commands.clear();
    }
    for name in ["/d", "/e", "/f", "/g"] {
        assert_eq!(question(&mut node, name, now, &mut out), Ok(()), "{name}");
        end(&mut node, now, &mut out);
        node.open_namespace(now, &name.into(), &mut out);
        out.deliveries.clear();
    }
    // A question may have more time than others. Its namespace is open until it has ended.
    let order = LocalOrder::Ask {
        question: Question::Sockets { to: all() },
        timeout: Some(12 * SECOND),
    };
    node.handle_local(now, &"/h".into(), order, &mut out).unwrap();
    let mut times = vec![];
    while let Some(next) = node.next_timeout() {
        times.push(next.saturating_since(now).as_secs());
        assert!(times.len() < 9, "a timeout is done: {times:?}");
        node.handle_timeout(next, &mut out);
    }
    assert_eq!(times, [5, 10, 12, 15]);
    assert!(matches!(&out.deliveries[..], [Delivery::Ended { end, .. }] if end.outcome == Outcome::Deadline));
}

/// A room whose name is that of this node has the channel of its answers.
#[test]
fn a_room_with_the_name_of_the_node_takes_no_answers_away() {
    let mode = ShardedMode::Dynamic;
    let config = ClusterConfig::default().kind(ClusterKind::Sharded { mode });
    let mut node = Node::new(config, Box::new(|out: &mut [u8]| out.fill(1))).unwrap();
    let mut out = Outputs::default();
    node.open_namespace(Time::ZERO, &ROOT, &mut out);
    let own = node.id("/").unwrap().as_text().clone();
    out.commands.clear();
    for room in [&*own, "r"] {
        node.open_room(&ROOT, room, &mut out);
        node.close_room(&ROOT, room, &mut out);
    }
    let (channel, sharded) = (node.room_channel("/", "r").unwrap(), true);
    assert_eq!(channel, &b"socket.io#/#r#"[..]);
    let of_room = [
        Command::Subscribe {
            channel: channel.clone(),
            sharded,
        },
        Command::Unsubscribe { channel, sharded },
    ];
    assert_eq!(out.commands, of_room);
    assert_eq!(node.room_channel("/", &"x".repeat(20)), None, "as a socket's id");
}
