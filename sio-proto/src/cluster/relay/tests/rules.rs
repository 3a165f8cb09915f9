//! Who may say what of a relay, and who is told what.

use super::*;

fn message(sender: NodeName, line: u64, is_answer: bool, body: Body) -> Bytes {
    Message {
        sender,
        line,
        is_answer,
        body,
    }
    .encode()
}

/// Gives a node a message that its own channel brings.
fn tell(world: &mut World, to: usize, payload: Bytes) {
    let channel = world.nodes[to].relays.own.clone();
    world.deliver(Post { to, channel, payload });
}

fn data(position: u64, bytes: &'static [u8], end: Option<Final>) -> Body {
    let bytes = Bytes::from_static(bytes);
    Body::Data { position, end, bytes }
}

/// What is under way to a node says how relays have ended.
fn resets(world: &World, to: usize) -> Vec<Reset> {
    let posts = world.posts.iter().filter(|post| post.to == to);
    let bodies = posts
        .filter_map(|post| Message::decode(&post.payload))
        .map(|message| message.body);
    let resets = bodies.filter_map(|body| match body {
        Body::Reset(reset) => Some(reset),
        _ => None,
    });
    resets.collect()
}

fn number(line: LineId) -> u64 {
    match line {
        LineId::Outgoing(number) | LineId::Incoming(_, number) => number,
    }
}

/// A relay has two ends. A third node that says something about it is told that there is no such
/// relay, unless it has said an end.
#[test]
fn a_relay_is_the_matter_of_its_two_nodes() {
    let mut world = World::new(3, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let (there, third) = (world.other(line), world.nodes[2].relays.name);
    for (to, is_answer) in [(0, true), (1, false)] {
        for (body, answers) in [
            (data(0, b"lie", None), 1),
            (Body::Credit { allowed: 9 }, 1),
            (data(0, b"lie", Some(Final::Closes)), 0),
            (Body::Reset(Reset::Closed), 0),
        ] {
            tell(&mut world, to, message(third, number(line), is_answer, body.clone()));
            assert_eq!(resets(&world, 2), [Reset::Unknown].repeat(answers), "{body:?}");
            world.settle();
        }
    }
    assert_eq!((world.seen(0, line).ends, world.seen(1, there).ends), (0, 0));
    assert_eq!(
        (&world.seen(0, line).bytes[..], &world.seen(1, there).bytes[..]),
        (&b""[..], REQUEST)
    );
}

/// The word about the end of a relay may be lost. The other end learns it from the next answer.
#[test]
fn a_node_that_does_not_know_a_relay_says_so() {
    for sends in [true, false] {
        let mut world = World::new(2, &config());
        let line = world.open(0, 1, REQUEST).unwrap();
        world.settle();
        let there = world.other(line);
        world.act(1, |relays, now, out| relays.reset(now, there, Reset::Closed, out));
        world.posts.clear();
        world.act(0, |relays, now, out| match sends {
            true => assert_eq!(relays.send(now, line, b"more", None, out), 4),
            false => relays.take_up(now, line, out),
        });
        world.settle();
        let seen = world.seen(0, line);
        assert_eq!((seen.why, seen.reset), (Some(RelayEnd::Broken), Some(Reset::Unknown)));
    }
}

/// Only the owner of a session ends an answer.
#[test]
fn a_request_has_no_end() {
    let mut world = World::new(2, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let (there, sender) = (world.other(line), world.nodes[0].relays.name);
    let end = data(REQUEST.len() as u64, b"", Some(Final::Closes));
    tell(&mut world, 1, message(sender, number(line), false, end));
    assert_eq!(world.seen(1, there).why, Some(RelayEnd::Broken));
    world.settle();
    assert_eq!(world.seen(0, line).reset, Some(Reset::Broken));
}

/// Bytes that have come before are cut off.
#[test]
fn no_byte_comes_twice() {
    let mut world = World::new(2, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let (there, sender) = (world.other(line), world.nodes[0].relays.name);
    for (body, repeated) in [
        (data(0, b"GET / HTTP/1.1\r\n\r\nmore", None), 0),
        (data(20, b"re", None), 1),
        (data(21, b"e", None), 2),
    ] {
        tell(&mut world, 1, message(sender, number(line), false, body));
        assert_eq!(world.counters(1).repeated, repeated);
    }
    assert_eq!(world.seen(1, there).bytes, b"GET / HTTP/1.1\r\n\r\nmore");
}

/// Who waits for room is told once that there is some, and nobody else is.
#[test]
fn room_is_said_once_to_who_waits_for_it() {
    let mut world = World::new(2, &config());
    let (small, large) = (
        world.open(0, 1, REQUEST).unwrap(),
        world.open(0, 1, &[7; 20_000]).unwrap(),
    );
    world.settle();
    let owner = world.nodes[1].relays.name;
    let allow = |world: &mut World, line, allowed| {
        tell(world, 0, message(owner, number(line), true, Body::Credit { allowed }));
        (world.seen(0, small).room, world.seen(0, large).room)
    };
    assert_eq!(allow(&mut world, small, 17_000), (0, 0), "nothing waits");
    assert_eq!(allow(&mut world, large, 16_384), (0, 0), "that is no room");
    assert_eq!(allow(&mut world, large, 17_000), (0, 1));
    assert_eq!(allow(&mut world, large, 18_000), (0, 1));
    let send = |world: &mut World, line, bytes: usize| {
        world.act(0, |relays, now, out| {
            relays.send(now, line, &alloc::vec![7; bytes], None, out)
        })
    };
    assert_eq!(send(&mut world, large, 18_000 - 16_384), 18_000 - 16_384);
    assert_eq!(allow(&mut world, large, 19_000), (0, 1), "all of it was sent");
    assert_eq!(send(&mut world, large, 2_000), 1_000);
    assert_eq!(allow(&mut world, large, 20_000), (0, 2));
    // Or it asks first.
    let room = |world: &mut World, line| world.act(0, |relays, _, _| relays.room(line));
    assert_eq!(
        (room(&mut world, large), room(&mut world, small)),
        (1_000, 17_000 - REQUEST.len())
    );
    assert_eq!(allow(&mut world, large, 21_000), (0, 2));
    assert_eq!(send(&mut world, large, 2_000), 2_000);
    assert_eq!((room(&mut world, large), allow(&mut world, large, 22_000)), (0, (0, 3)));
}

/// What waits for all relays may be as much as the limit says.
#[test]
fn all_the_room_of_relays_is_used() {
    let most = 16_384 + REQUEST.len() + 2_000;
    let mut world = World::new(2, &config().max_total_waiting_bytes(most));
    let large = world.open(0, 1, &[7; 16_384]).unwrap();
    let small = world.open(0, 1, REQUEST).unwrap();
    world.act(0, |relays, now, out| relays.send(now, small, &[7; 2_000], None, out));
    world.settle();
    let counters = world.counters(1);
    assert_eq!((counters.incoming.current, counters.waiting_bytes), (2, most));
    assert_eq!(world.counters(0).outgoing.current, 2);
    world.act(0, |relays, now, out| relays.send(now, small, b"7", None, out));
    world.settle();
    assert_eq!(
        (world.seen(0, large).why, world.seen(0, small).why),
        (Some(RelayEnd::NoRoom), None)
    );
}

/// A relay that has ended, in whatever way, is free for the next one of its address.
#[test]
fn an_address_has_its_relays_back_when_they_end() {
    let mut world = World::new(2, &config().max_relays_per_address(1_usize));
    for _ in 0..3 {
        let line = world.open(0, 1, REQUEST).unwrap();
        assert_eq!(world.open(0, 1, REQUEST), Err(RelayEnd::NoRoom));
        world.settle();
        let there = world.other(line);
        let is_open = |world: &World| {
            (
                world.nodes[0].relays.is_open(line),
                world.nodes[1].relays.is_open(there),
            )
        };
        assert_eq!(is_open(&world), (true, true));
        world.act(1, |relays, now, out| relays.reset(now, there, Reset::Closed, out));
        world.settle();
        assert_eq!(is_open(&world), (false, false));
    }
}

/// Relays share the broker with others: what is theirs is theirs alone.
#[test]
fn relays_take_what_is_theirs() {
    let mut world = World::new(2, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    assert_eq!(
        line,
        LineId::Outgoing(0x0101_0101_0101_0101),
        "the numbers begin by chance"
    );
    let (all, own) = (world.nodes[0].relays.all.clone(), world.nodes[0].relays.own.clone());
    let subscribed = |channel: Bytes| Event::Subscribed {
        channel,
        sharded: false,
    };
    let answer = |tag: u64| Event::Answer {
        tag,
        answer: Ok(Answer::Count(1)),
    };
    for (event, is_theirs) in [
        (subscribed(all), true),
        (subscribed(own), true),
        (subscribed(Bytes::from_static(b"socket.io#/#")), false),
        (answer(7), true),
        (answer(3), false),
        (answer(4), false),
        (answer(1 << 63 | 7), false),
    ] {
        let taken = world.act(0, |relays, now, out| relays.handle_event(now, &event, out));
        assert_eq!(taken, is_theirs, "{event:?}");
    }
    world.act(0, |relays, now, out| relays.close(now, out));
    assert!(world.nodes[0].subscriptions.is_empty());
    let entropy = Box::new(|out: &mut [u8]| out.fill(1));
    let wrong = config().max_nodes(0_usize);
    let refused = Relays::new(wrong, &world.cluster, [1; 16], entropy).err();
    assert_eq!(refused, Some(ConfigError::ZeroLimit("relay.max_nodes")));
}

/// A message without bytes says only that its node is there.
#[test]
fn empty_messages_wake_nobody() {
    let mut world = World::new(2, &config());
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let LineId::Outgoing(number) = line else { panic!() };
    let body = Body::Data {
        position: REQUEST.len() as u64,
        end: None,
        bytes: Bytes::new(),
    };
    let payload = Message {
        sender: world.nodes[0].relays.name,
        line: number,
        is_answer: false,
        body,
    }
    .encode();
    let channel = world.nodes[1].relays.own.clone();
    let event = Event::Message {
        channel,
        payload,
        sharded: false,
    };
    let mut out = RelayOutputs::default();
    for _ in 0..3 {
        assert!(world.nodes[1].relays.handle_event(world.now, &event, &mut out));
    }
    assert_eq!(out, RelayOutputs::default());
    assert_eq!(world.counters(1).repeated, 0);
}
