//! What happens to messages, channels and answers when a connection blocks, ends or is given up,
//! under a virtual clock.

mod redis;

use std::time::Duration;

use redis::events::{answers, ask, messages};
use redis::{Mood, Node, World, bytes};
use sio_proto::broker::{
    Answer, Broker, BrokerConfig, BrokerConfigError, BrokerError, Command, Event, Output, Refusal, Request,
    StreamPosition,
};
use sio_proto::{Bytes, LinkId};

fn config() -> BrokerConfig {
    BrokerConfig::from_url("redis://a:1").expect("a URL")
}

fn with(change: impl FnOnce(&mut Node)) -> World {
    let mut node = Node::new("a", 1);
    change(&mut node);
    World::new(config(), vec![node])
}

fn unsubscribe(world: &mut World, channel: &str) {
    let (channel, sharded) = (bytes(channel), false);
    world.command(Command::Unsubscribe { channel, sharded });
}

fn is_told(events: &[Event], channel: &str) -> bool {
    let is_it = |event: &Event| matches!(event, Event::Subscribed { channel: told, .. } if told == channel);
    events.iter().any(is_it)
}

fn is_down_for(events: &[Event], kind: Refusal) -> bool {
    let is_it = |event: &Event| matches!(event, Event::Down { why } if why.is_refused_as(kind));
    events.iter().any(is_it)
}

fn count(world: &World, begin: &str) -> usize {
    let commands = world.nodes.iter().flat_map(|node| &node.commands);
    commands.filter(|command| command.starts_with(begin)).count()
}

fn set(only_if_there: bool) -> Request {
    Request::Set {
        key: bytes("k"),
        value: bytes("v"),
        milliseconds: 9,
        only_if_there,
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    use BrokerConfigError as E;
    let cases: [(BrokerConfig, E); 9] = [
        (config().servers(vec![]), E::NoServer),
        (config().ping_interval(Duration::ZERO), E::Zero("ping_interval")),
        (config().reconnect_delay(Duration::ZERO), E::Zero("reconnect_delay")),
        (
            config().stream_block(Duration::from_micros(999)),
            E::Zero("stream_block"),
        ),
        (config().stream_count(0), E::Zero("stream_count")),
        (config().max_nodes(16_385), E::Nodes),
        (config().reconnect_delay_max(Duration::from_millis(99)), E::DelayMax),
        (config().client_name("a b".into()), E::ClientName),
        (config().client_name("ä".into()), E::ClientName),
    ];
    for (config, error) in cases {
        assert_eq!(config.validate(), Err(error));
        let broker = Broker::new(sio_proto::Time::ZERO, config, Box::new(|out: &mut [u8]| out.fill(0)));
        assert_eq!(broker.map(|_| ()).err(), Some(error));
    }
    let edge = config()
        .max_nodes(16_384)
        .reconnect_delay_max(Duration::from_millis(100));
    assert_eq!(edge.validate(), Ok(()));
}

/// Each kind of request has its command and its answer.
#[test]
fn requests_are_asked_and_answered_in_all_their_forms() {
    let mut world = World::single();
    world.run_millis(10);
    let add = |tag, max_len| {
        let (stream, known_failures) = (bytes("s"), None);
        let fields = vec![(bytes("n"), bytes("1"))];
        let request = Request::AddEntry {
            stream,
            max_len,
            fields,
            known_failures,
        };
        Command::Request { tag, request }
    };
    world.command(add(1, 0));
    world.command(add(2, 7));
    let (from, to, count) = (bytes("12-3"), bytes("45-678"), 9);
    let stream = bytes("s");
    let range = Request::Range {
        stream,
        from,
        to,
        count,
    };
    let before = world.broker.counters().waiting_bytes;
    ask(&mut world, 3, range);
    assert_eq!(world.broker.counters().waiting_bytes - before, 1 + 4 + 6 + 256);
    let (stream, from, count) = (bytes("s"), bytes("+"), 1);
    ask(&mut world, 4, Request::RangeBack { stream, from, count });
    ask(&mut world, 5, set(true));
    ask(&mut world, 6, set(false));
    ask(&mut world, 7, set(true));
    ask(&mut world, 8, Request::Delete { key: bytes("k") });
    ask(&mut world, 9, Request::Length { stream: bytes("s") });
    world.run_millis(10);
    let told = answers(&world.take_events());
    let Ok(Answer::Entries(last)) = &told[3].1 else {
        panic!("{told:?}")
    };
    assert_eq!(
        (last.len(), Ok(Answer::Added(last[0].id.clone()))),
        (1, told[1].1.clone())
    );
    assert_eq!(
        told[4..],
        [
            (5, Ok(Answer::Value(None))),
            (6, Ok(Answer::Done)),
            (7, Ok(Answer::Done)),
            (8, Ok(Answer::Count(1))),
            (9, Ok(Answer::Count(2))),
        ]
    );
    let commands = &world.nodes[0].commands;
    for command in [
        "XADD s * n 1",
        "XADD s MAXLEN ~ 7 * n 1",
        "XRANGE s 12-3 45-678 COUNT 9",
        "XREVRANGE s + - COUNT 1",
        "SET k v PX 9 XX",
        "SET k v PX 9",
    ] {
        assert!(commands.iter().any(|known| known == command), "{command}: {commands:?}");
    }
}

/// Errors of a server have kinds.
#[test]
fn refusals_say_what_kind_they_are() {
    let mut world = World::single();
    world.run_millis(10);
    for (error, kind) in [
        ("OOM command not allowed", Refusal::OutOfMemory),
        ("READONLY You can't write", Refusal::ReadOnly),
        ("WRONGTYPE Operation", Refusal::Other),
    ] {
        world.nodes[0].errors = vec![("SET", error.to_owned())];
        ask(&mut world, 1, set(false));
        world.run_millis(10);
        let told = answers(&world.take_events());
        assert!(
            matches!(&told[..], [(1, Err(known))] if known.is_refused_as(kind)),
            "{told:?}"
        );
    }
    // There is no other server, so the connection stays.
    assert_eq!(world.broker.counters().reconnects, 0);
}

/// Messages of 16 KiB and more are handed over as they are, between those that are put together.
/// What a connection does not take yet waits, and nothing overtakes it.
#[test]
fn large_messages_keep_their_place() {
    let mut world = World::single();
    world.run_millis(10);
    world.set_mood(0, Mood::Frozen);
    let mut expected = vec![];
    for number in 0..8 {
        let large = format!("{number}{}", "x".repeat(20_000));
        world.publish("c", &large, false);
        world.publish("c", &number.to_string(), false);
        expected.extend([large, number.to_string()]);
    }
    assert!(
        world.broker.counters().waiting_bytes > 60_000,
        "more than is put together"
    );
    world.run_millis(1);
    world.publish("c", "last", false);
    expected.push("last".to_owned());
    world.set_mood(0, Mood::Well);
    world.run_millis(10);
    let lens: Vec<_> = world.published.iter().map(Vec::len).collect();
    assert!(
        world.published.iter().eq(expected.iter().map(String::as_bytes)),
        "{lens:?}"
    );
    assert_eq!(world.broker.counters().waiting_bytes, 0);
    assert_eq!(world.broker.counters().published_bytes, 8 * 20_002 + 4);
}

fn writes(world: &mut World) -> usize {
    let outputs = std::iter::from_fn(|| world.broker.poll_output());
    outputs.filter(|output| matches!(output, Output::Write { .. })).count()
}

/// What was put together for a connection that takes no bytes, and then ends, is not written to the
/// next one, which takes bytes again.
#[test]
fn what_a_blocked_connection_had_is_not_written_to_the_next_one() {
    let mut world = World::single();
    world.run_millis(10);
    let link = world.links(0, false)[0];
    world.publish("c", "1", false);
    world.publish("c", &"x".repeat(20_000), false);
    world.publish("c", "2", false);
    world.broker.handle_blocked(link);
    assert_eq!(writes(&mut world), 0, "it waits until it is drained");
    world.close(link);
    world.publish("c", "3", false);
    world.run_millis(500);
    assert_eq!(world.published, [b"3"]);
    let counters = world.broker.counters();
    assert_eq!((counters.unconfirmed, counters.reconnects), (3, 1));
    assert!(counters.is_up);

    let link = world.links(0, false)[0];
    world.publish("c", "4", false);
    world.broker.handle_blocked(link);
    assert_eq!(writes(&mut world), 0);
    world.broker.handle_drained(world.now, link);
    world.run_millis(1);
    assert_eq!(world.published, [b"3", b"4"]);
}

/// A channel is left and wanted again, each time until the server has answered.
#[test]
fn a_channel_that_was_left_can_be_heard_again() {
    for forbidden in [false, true] {
        let mut world = World::single();
        world.subscribe("c", false);
        world.run_millis(10);
        if forbidden {
            world.nodes[0].forbidden = vec!["UNSUBSCRIBE"];
        }
        for _ in 0..3 {
            unsubscribe(&mut world, "c");
            world.run_millis(10);
            world.take_events();
            world.subscribe("c", false);
            world.run_millis(10);
            let events = world.take_events();
            assert!(is_told(&events, "c"), "{forbidden}: {events:?}");
        }
        assert_eq!(world.broker.counters().reconnects, 0, "{forbidden}");
    }
}

/// A channel could not be told to the server before the connection ended, was left, and is wanted
/// again when the next connection stands.
#[test]
fn a_channel_that_could_not_be_told_is_heard_later() {
    let mut world = World::single();
    world.subscribe("keep", false);
    world.run_millis(10);
    let link = world.links(0, true)[0];
    world.broker.handle_blocked(link);
    world.subscribe("c", false);
    world.close(link);
    unsubscribe(&mut world, "c");
    world.run_millis(500);
    assert!(world.broker.counters().is_up);
    world.subscribe("c", false);
    world.run_millis(10);
    assert!(is_told(&world.take_events(), "c"));
}

/// The end writes what was given before, and closes all that is open, and only that.
#[test]
fn the_end_closes_what_is_open() {
    let mut world = World::single();
    world.subscribe("c", false);
    world.command(Command::ReadStream {
        stream: bytes("s"),
        after: StreamPosition::End,
    });
    world.run_millis(10);
    let mut open = [world.links(0, true), world.links(0, false)].concat();
    assert_eq!(open.len(), 3);
    let reader = open.pop().unwrap();
    world.nodes[0].mood = Mood::Gone;
    world.close(reader);
    world.publish("c", "last", false);
    world.publish("c", &"x".repeat(100_000), false);
    world.publish("c", "waits", false);
    assert!(world.broker.counters().waiting_bytes > 0);
    let _down = std::iter::from_fn(|| world.broker.poll_output()).take(1).count();
    world.broker.stop(world.now);
    let (mut written, mut closed) = (vec![], vec![]);
    while let Some(output) = world.broker.poll_output() {
        match output {
            Output::Write { bytes, .. } => {
                assert!(closed.is_empty(), "it is written first");
                written.push(bytes);
            }
            Output::Close { link } => closed.push(link),
            Output::Open { .. } | Output::Event(_) => {}
        }
    }
    open.sort();
    closed.sort();
    assert_eq!(closed, open);
    assert!(written.concat().windows(4).any(|bytes| bytes == b"last"));
    let counters = world.broker.counters();
    assert_eq!((counters.waiting_bytes, counters.waiting_since), (0, None));
    assert_eq!((counters.channels, counters.connections, counters.is_up), (0, 0, false));
}

/// The carrier of a probe has ended, so nobody knows whether it arrived. The next one finds that
/// the connection hears nothing, when its time is over and not before, also if the time is told
/// more often than was asked for.
#[test]
fn a_connection_that_hears_nothing_is_noticed_behind_a_lost_probe() {
    let mut world = World::single();
    world.subscribe("c", false);
    world.run_millis(9_900);
    world.nodes[0].mood = Mood::Frozen;
    world.run_millis(200);
    world.cut_others(0);
    world.nodes[0].is_deaf = true;
    world.set_mood(0, Mood::Well);
    // The second probe, 10 s behind the loss, and 5 s for it to arrive.
    for second in 0..14 {
        world.run_millis(1000);
        world.broker.handle_timeout(world.now);
        assert_eq!(world.broker.counters().deaf, 0, "{second}");
    }
    world.run_millis(1500);
    assert_eq!(world.broker.counters().deaf, 1);
}

/// Where nobody can carry a probe for a while, nothing turns round and round.
#[test]
fn a_probe_waits_for_its_carrier() {
    let mut world = World::single();
    world.subscribe("c", false);
    world.run_millis(10);
    world.nodes[0].mood = Mood::Gone;
    world.cut_others(0);
    world.run(Duration::from_secs(30));
    assert_eq!(count(&world, "PUBLISH socket.io-probe#"), 0);
    world.nodes[0].mood = Mood::Well;
    world.run(Duration::from_secs(15));
    assert!(count(&world, "PUBLISH socket.io-probe#") > 0);
    assert_eq!(world.broker.counters().deaf, 0);
}

/// Two nodes would hear each other's probes if they had the same name.
#[test]
fn probes_have_names_of_their_own() {
    let mut world = World::single();
    world.subscribe("c", false);
    world.run_millis(10);
    world.cut(0, true);
    world.run_millis(500);
    let commands = world.nodes[0].commands.iter();
    let mut names: Vec<_> = commands
        .filter(|command| command.starts_with("SUBSCRIBE socket.io-probe#"))
        .collect();
    names.dedup();
    assert_eq!(names.len(), 2, "{names:?}");
}

/// What keeps the broker from being up is left, or is not needed. It is up again without anything
/// else happening.
#[test]
fn the_broker_is_up_when_what_is_missing_is_not_needed() {
    let mut world = with(|node| node.forbidden = vec!["SUBSCRIBE"]);
    world.subscribe("c", false);
    world.run_millis(10);
    assert!(is_down_for(&world.take_events(), Refusal::Permission));
    unsubscribe(&mut world, "c");
    world.run_millis(0);
    assert_eq!(world.take_events(), [Event::Up]);
    assert_eq!(count(&world, "CLUSTER SLOTS"), 1, "a single server is asked once");

    for garbage in [false, true] {
        let mut world = World::single();
        world.subscribe("c", false);
        world.run_millis(10);
        unsubscribe(&mut world, "c");
        world.run_millis(10);
        world.take_events();
        let link = world.links(0, true)[0];
        match garbage {
            true => {
                let mut said = "?what\r\n".into();
                world.broker.handle_bytes(world.now, link, &mut said);
                assert!(said.is_empty(), "the rest belongs to nothing");
            }
            false => world.close(link),
        }
        world.run_millis(0);
        assert_eq!(world.take_events().last(), Some(&Event::Up), "{garbage}");
    }
}

#[test]
fn who_only_publishes_has_one_connection() {
    let mut world = World::single();
    world.publish("c", "1", false);
    world.run(Duration::from_secs(60));
    assert_eq!((world.opened, world.published.len()), (1, 1));
    assert_eq!(count(&world, "PING"), 12, "every five seconds");
}

/// Deadlines hold also where no connection is given up.
#[test]
fn deadlines_come_although_nothing_else_happens() {
    let slow = Duration::from_secs(60);
    let config = config().answer_timeout(slow).connect_timeout(slow);
    let mut world = World::new(config.clone(), vec![Node::new("a", 1)]);
    world.run_millis(10);
    world.set_mood(0, Mood::Frozen);
    ask(&mut world, 1, set(false));
    world.run_millis(4999);
    assert!(answers(&world.take_events()).is_empty());
    world.run_millis(1);
    assert_eq!(answers(&world.take_events()), [(1, Err(BrokerError::TimedOut))]);
    assert_eq!(world.broker.counters().reconnects, 0);

    let mut world = World::new(config, vec![Node::new("a", 1)]);
    world.set_mood(0, Mood::Frozen);
    world.publish("c", "1", true);
    world.run_millis(4999);
    assert_eq!(world.broker.counters().dropped_late, 0);
    world.run_millis(1);
    assert_eq!(world.broker.counters().dropped_late, 1);
}

/// A server loads its data again, or takes the user's rights away, while its connections stand.
#[test]
fn a_server_that_serves_nobody_is_noticed_by_a_ping() {
    for (error, kind) in [
        ("LOADING later", Refusal::NotNow),
        ("NOAUTH first", Refusal::Credentials),
    ] {
        let mut world = World::single();
        world.run_millis(10);
        world.nodes[0].errors = vec![("PING", error.to_owned())];
        world.run_millis(5100);
        assert!(is_down_for(&world.take_events(), kind), "{error}");
        world.nodes[0].errors.clear();
        world.run_millis(500);
        assert!(world.broker.counters().is_up);
    }
}

/// A server that is busy with a script need not say who asks. A database that it does not have is
/// no database.
#[test]
fn a_greeting_goes_on_without_what_is_not_needed() {
    let busy = ("CLIENT INFO", "BUSY Redis is busy running a script.".to_owned());
    let mut world = with(|node| node.errors = vec![busy]);
    world.run_millis(10);
    assert!(world.broker.counters().is_up);

    let mut node = Node::new("a", 1);
    node.errors = vec![("SELECT", "ERR DB index is out of range".to_owned())];
    let mut world = World::new(BrokerConfig::from_url("redis://a:1/99").expect("a URL"), vec![node]);
    world.publish("c", "1", false);
    world.run_millis(1000);
    assert!(is_down_for(&world.take_events(), Refusal::Other));
    assert!(world.published.is_empty() && !world.broker.counters().is_up);
}

/// A value may read like the first word of what a server says unasked. On a connection that hears
/// nothing, it is an answer.
#[test]
fn a_value_is_not_taken_for_a_message() {
    for is_in_cluster in [false, true] {
        let mut node = Node::new("a", 1);
        node.knows_hello = false;
        node.in_cluster = is_in_cluster;
        node.slots = vec![(0, 16383)];
        node.values.insert(b"k".to_vec(), b"message".to_vec());
        let mut world = World::new(config(), vec![node]);
        world.run_millis(10);
        ask(&mut world, 1, Request::Take { key: bytes("k") });
        ask(&mut world, 2, Request::Delete { key: bytes("k") });
        world.run_millis(10);
        let value = Ok(Answer::Value(Some(bytes("message"))));
        assert_eq!(
            answers(&world.take_events()),
            [(1, value), (2, Ok(Answer::Count(0)))],
            "{is_in_cluster}"
        );
    }
}

/// A server that a test plays by hand.
struct Hand {
    broker: Broker,
    links: Vec<LinkId>,
    written: Vec<u8>,
    closed: Vec<LinkId>,
    events: Vec<Event>,
}

impl Hand {
    /// The main connection and the subscribing one stand, and have been greeted.
    fn ready() -> Self {
        let entropy = |out: &mut [u8]| out.fill(0);
        let mut hand = Self {
            broker: Broker::new(sio_proto::Time::ZERO, config(), Box::new(entropy)).expect("the defaults"),
            links: vec![],
            written: vec![],
            closed: vec![],
            events: vec![],
        };
        hand.look();
        assert_eq!(hand.links.len(), 1, "it is opened at once");
        hand.broker.handle_connected(sio_proto::Time::ZERO, hand.links[0]);
        hand.broker.handle_connected(sio_proto::Time::ZERO, hand.links[0]);
        hand.look();
        assert_eq!(hand.written.windows(5).filter(|word| *word == b"HELLO").count(), 1);
        hand.say(0, "%0\r\n");
        hand.say(0, "+id=1 addr=a:1\r\n");
        hand.say(0, "-ERR This instance has cluster support disabled\r\n");
        let (channel, sharded) = (bytes("c"), false);
        hand.command(Command::Subscribe { channel, sharded });
        hand.broker.handle_connected(sio_proto::Time::ZERO, hand.links[1]);
        hand.say(1, "%0\r\n");
        assert!(hand.closed.is_empty());
        hand
    }

    fn look(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Open { link, .. } => self.links.push(link),
                Output::Write { bytes, .. } => self.written.extend_from_slice(&bytes),
                Output::Close { link } => self.closed.push(link),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn say(&mut self, at: usize, said: &str) {
        let link = self.links[at];
        self.broker.handle_bytes(sio_proto::Time::ZERO, link, &mut said.into());
        self.look();
    }

    fn command(&mut self, command: Command) {
        self.broker.handle_command(sio_proto::Time::ZERO, command);
        self.look();
    }

    /// The server answers both commands of the subscribing connection.
    fn hears(mut self) -> Self {
        self.say(1, ">3\r\n+subscribe\r\n+socket.io-probe#0000000000000000\r\n:1\r\n");
        self.say(1, ">3\r\n+subscribe\r\n+c\r\n:2\r\n");
        let (events, written) = (&self.events, self.written.escape_ascii());
        assert!(is_told(events, "c"), "{events:?} {written}");
        self
    }
}

/// An answer that belongs to nothing, or to something else, ends the connection: all answers behind
/// it would go to the wrong commands.
#[test]
fn answers_that_belong_to_nothing_end_the_connection() {
    let confirmed = |channel: &str| format!(">3\r\n+subscribe\r\n+{channel}\r\n:1\r\n");
    let probe = confirmed("socket.io-probe#0000000000000000");
    for (at, said) in [
        (0, "+OK\r\n".to_owned()),
        (1, confirmed("socket.io-probe#1")),
        (1, format!("{probe}{}", confirmed("d"))),
        (1, format!("{probe}:1\r\n")),
    ] {
        let mut hand = Hand::ready();
        hand.say(at, &said);
        assert_eq!(hand.closed, [hand.links[at]], "{said}");
        let why = BrokerError::Unreadable("an answer is not of the kind that was asked for".into());
        assert_eq!(hand.events.last(), Some(&Event::Down { why }), "{said}");
    }
}

/// What is on its way when a channel is left is not told any more.
#[test]
fn a_channel_that_was_left_is_not_heard() {
    let mut hand = Hand::ready().hears();
    let message = ">3\r\n+message\r\n+c\r\n+x\r\n";
    hand.say(1, message);
    let (channel, sharded) = (bytes("c"), false);
    hand.command(Command::Unsubscribe { channel, sharded });
    hand.say(1, message);
    assert_eq!(messages(&hand.events), ["c=x"]);
    assert_eq!(hand.broker.counters().heard, 1);
}

/// An entry of a stream that was deleted meanwhile has no fields.
#[test]
fn an_entry_that_was_deleted_is_read() {
    let mut hand = Hand::ready().hears();
    let (stream, from, to, count) = (bytes("s"), bytes("-"), bytes("+"), 9);
    let request = Request::Range {
        stream,
        from,
        to,
        count,
    };
    hand.command(Command::Request { tag: 1, request });
    hand.say(0, "*1\r\n*2\r\n+1-0\r\n_\r\n");
    let answer = answers(&hand.events);
    let [(1, Ok(Answer::Entries(entries)))] = &answer[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (entries[0].id.clone(), entries[0].fields.len()),
        (Bytes::from("1-0"), 0)
    );
}

/// A connection that is being made has its time, however often the broker is told what time it is.
#[test]
fn a_connection_may_take_its_time() {
    let mut world = World::single();
    world.set_mood(0, Mood::Frozen);
    for _ in 0..49 {
        world.run_millis(100);
        world.broker.handle_timeout(world.now);
    }
    assert_eq!(world.opened, 1);
    world.run_millis(500);
    assert_eq!(world.opened, 2);
}
