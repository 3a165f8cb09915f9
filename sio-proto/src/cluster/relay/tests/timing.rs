//! When relays and nodes are given up, to the millisecond.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

/// Two nodes with a relay that its owner has taken up.
fn relay(config: &RelayConfig) -> (World, LineId, LineId) {
    let mut world = World::new(2, config);
    let line = world.open(0, 1, REQUEST).unwrap();
    world.settle();
    let there = world.other(line);
    world.act(1, |relays, now, out| relays.take_up(now, there, out));
    world.settle();
    (world, line, there)
}

fn ends(world: &World, line: LineId, there: LineId) -> [Option<RelayEnd>; 2] {
    [world.seen(0, line).why, world.seen(1, there).why]
}

/// A node says hello to another one, whatever is lost.
fn say_hello(world: &mut World, from: usize, to: usize, asks: bool) {
    let (sender, key) = (world.nodes[from].relays.name, world.nodes[from].relays.key);
    let (line, is_answer, body) = (0, false, Body::Hello { key, asks });
    let message = Message {
        sender,
        line,
        is_answer,
        body,
    };
    let (channel, payload) = (world.nodes[to].relays.own.clone(), message.encode());
    world.deliver(Post { to, channel, payload });
}

fn knows(world: &World, at: usize, other: usize) -> bool {
    world.nodes[at].relays.owner_of(&world.id(other)).is_some()
}

/// Both ends say three times in the longest silence that they know the relay, and not more often.
/// It ends when it is too old.
#[test]
fn a_relay_on_which_nobody_speaks_stays_until_it_is_too_old() {
    for answer_timeout in [SECOND / 2, 5 * SECOND] {
        let config = config().answer_timeout(answer_timeout).max_silence(3 * SECOND);
        let (mut world, line, there) = relay(&config.max_age(20 * SECOND));
        let before = world.published;
        world.pass(20 * SECOND - MOMENT);
        assert_eq!(ends(&world, line, there), [None, None]);
        let said = world.published - before;
        assert!(
            (44..=48).contains(&said),
            "{said}: a word of each in a second, and hellos"
        );
        world.pass(MOMENT);
        assert_eq!(ends(&world, line, there), [Some(RelayEnd::TooOld); 2]);
    }
}

/// Who speaks need not say in addition that it is there.
#[test]
fn what_is_said_on_a_relay_keeps_it_alive() {
    let (mut world, line, there) = relay(&config().max_silence(3 * SECOND));
    let told = |world: &World| world.counters(1).incoming.messages;
    let before = told(&world);
    for _ in 0..10 {
        world.pass(9 * SECOND / 10);
        world.act(1, |relays, now, out| relays.send(now, there, b"x", None, out));
        world.settle();
    }
    assert_eq!(told(&world) - before, 10);
    // To say how much it takes is as good.
    for _ in 0..10 {
        world.pass(9 * SECOND / 10);
        world.act(0, |relays, now, out| relays.send(now, line, &[7; 10_000], None, out));
        world.settle();
        world.act(1, |relays, now, out| relays.keep(now, there, 0, out));
        world.settle();
    }
    assert_eq!(
        (told(&world) - before, world.seen(1, there).bytes.len()),
        (20, REQUEST.len() + 100_000)
    );
    assert_eq!(ends(&world, line, there), [None, None]);
}

#[test]
fn a_relay_whose_other_end_is_not_heard_ends() {
    let (mut world, line, there) = relay(&config().max_silence(3 * SECOND));
    world.loses = |_| true;
    world.pass(3 * SECOND - MOMENT);
    assert_eq!(ends(&world, line, there), [None, None]);
    world.pass(MOMENT);
    assert_eq!(ends(&world, line, there), [Some(RelayEnd::Silent); 2]);
}

/// A relay that its owner has not taken up has its own time, whatever the others are.
#[test]
fn a_relay_that_is_not_taken_up_ends_in_its_time() {
    let config = config().max_silence(3 * SECOND);
    for (age, end, why) in [(60, 5, RelayEnd::Silent), (4, 4, RelayEnd::TooOld)] {
        let mut world = World::new(2, &config.clone().max_age(age * SECOND));
        let line = world.open(0, 1, REQUEST).unwrap();
        world.posts.clear();
        world.pass(end * SECOND - MOMENT);
        assert_eq!(world.seen(0, line).why, None);
        world.pass(MOMENT);
        assert_eq!(world.seen(0, line).why, Some(why));
    }
}

/// Nodes say hello every five seconds, and not more often. Each is forgotten when it has said
/// nothing for three times as long.
#[test]
fn a_silent_node_is_forgotten_in_its_time() {
    let mut world = World::new(3, &config());
    let before = world.published;
    world.pass(60 * SECOND);
    assert_eq!((world.published - before, world.questions), (36, 0));
    assert!(knows(&world, 0, 1) && knows(&world, 0, 2));
    world.loses = |_| true;
    world.pass(2 * SECOND);
    say_hello(&mut world, 1, 0, false);
    world.pass(13 * SECOND - MOMENT);
    assert!(knows(&world, 0, 1) && knows(&world, 0, 2) && knows(&world, 1, 2));
    world.pass(MOMENT);
    assert!(knows(&world, 0, 1) && !knows(&world, 0, 2) && !knows(&world, 1, 2));
    world.pass(2 * SECOND - MOMENT);
    assert!(knows(&world, 0, 1));
    world.pass(MOMENT);
    assert!(!knows(&world, 0, 1));
    let owner = world.nodes[1].relays.name;
    let peer = Peer::default();
    let opened = world.act(0, |relays, now, out| relays.open(now, owner, peer, REQUEST, out));
    assert_eq!(opened, Err(RelayEnd::Gone));
}

/// The broker is asked once a second whether the other node of a relay hears it, and not behind the
/// end of its relays.
#[test]
fn a_killed_node_is_noticed_at_both_ends() {
    for killed in [0, 1] {
        let (mut world, line, there) = relay(&config());
        world.pass(3 * SECOND);
        assert_eq!(world.questions, 6, "three of each node");
        world.nodes[killed].subscriptions.clear();
        world.nodes[killed].relays.is_closed = true;
        world.pass(SECOND - MOMENT);
        assert_eq!(ends(&world, line, there), [None, None]);
        world.pass(MOMENT);
        assert_eq!(ends(&world, line, there)[1 - killed], Some(RelayEnd::Gone));
    }
    let (mut world, line, _) = relay(&config());
    world.pass(3 * SECOND);
    world.act(0, |relays, now, out| relays.reset(now, line, Reset::Closed, out));
    world.settle();
    world.pass(7 * SECOND);
    assert_eq!(world.questions, 6);
    world.pass(2 * SECOND);
    for node in &world.nodes {
        let next = node.relays.next_timeout().unwrap();
        assert!(next > world.now + SECOND, "nothing is asked for");
    }
}

/// A node that the broker counts is there, also if nothing is heard of it. If the broker cannot
/// say it, the node is not. It is not asked again before it has answered.
#[test]
fn what_the_broker_says_of_a_node_counts() {
    let (mut world, line, _) = relay(&config());
    world.loses = |_| true;
    world.pass(20 * SECOND);
    assert_eq!(world.seen(0, line).why, None);
    world.counting = Counting::Fails;
    world.pass(15 * SECOND - MOMENT);
    assert_eq!(world.seen(0, line).why, None);
    world.pass(MOMENT);
    assert_eq!(world.seen(0, line).why, Some(RelayEnd::Gone));

    let (mut world, line, _) = relay(&config());
    world.counting = Counting::IsSilent;
    world.pass(20 * SECOND);
    assert_eq!((world.questions, world.seen(0, line).why), (2, None));
}

/// Who says something on a relay is there.
#[test]
fn a_node_that_says_something_on_a_relay_is_there() {
    let (mut world, line, there) = relay(&config());
    world.loses = |body| matches!(body, Body::Hello { .. });
    world.counting = Counting::Fails;
    for _ in 0..8 {
        world.act(0, |relays, now, out| relays.send(now, line, b"x", None, out));
        world.act(1, |relays, now, out| relays.send(now, there, b"x", None, out));
        world.settle();
        world.pass(5 * SECOND);
    }
    assert_eq!(ends(&world, line, there), [None, None]);
    world.pass(10 * SECOND);
    assert_eq!(ends(&world, line, there), [Some(RelayEnd::Gone); 2]);
}

/// While the broker was away, nobody could say hello. The time of each node begins anew.
#[test]
fn nobody_is_forgotten_because_the_broker_was_away() {
    let mut world = World::new(2, &config());
    let why = BrokerError::Closed;
    world.event(0, &Event::Down { why });
    world.pass(100 * SECOND);
    world.loses = |_| true;
    let (channel, sharded) = (world.nodes[0].relays.own.clone(), false);
    world.event(0, &Event::Subscribed { channel, sharded });
    world.event(0, &Event::Up);
    world.pass(15 * SECOND - MOMENT);
    assert!(knows(&world, 0, 1));
    world.pass(MOMENT);
    assert!(!knows(&world, 0, 1));
}

/// Whoever asks for a name is told it once a second, and is asked for its own as often.
#[test]
fn names_are_said_and_asked_for_once_a_second() {
    let mut world = World::new(2, &config());
    world.pass(SECOND);
    let before = world.published;
    let stranger = |world: &mut World, number: u8| {
        let (sender, line, is_answer) = (NodeName([number; 12]), 7, true);
        let body = Body::Credit { allowed: 1 };
        let message = Message {
            sender,
            line,
            is_answer,
            body,
        };
        let (to, channel, payload) = (0, world.nodes[0].relays.own.clone(), message.encode());
        world.deliver(Post { to, channel, payload });
    };
    for (wait, said) in [(Duration::ZERO, 1), (SECOND - MOMENT, 1), (MOMENT, 2)] {
        world.pass(wait);
        for _ in 0..50 {
            say_hello(&mut world, 1, 0, true);
        }
        assert_eq!(world.published - before, said);
    }
    let before = world.published;
    for (wait, said) in [(Duration::ZERO, 1), (SECOND - MOMENT, 1), (MOMENT, 2)] {
        world.pass(wait);
        for number in 100..150 {
            stranger(&mut world, number);
        }
        assert_eq!(world.published - before, said);
    }
}
