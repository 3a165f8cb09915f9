//! Stories of a broker and its Redis, under a virtual clock.

mod redis;

use std::time::Duration;

use redis::events::{answers, ask, messages};
use redis::{Mood, Node, World, bytes};
use sio_proto::broker::{Answer, BrokerConfig, BrokerError, Command, Event, Refusal, Request, StreamPosition};

fn subscribed(events: &[Event]) -> Vec<String> {
    let name = |event: &Event| match event {
        Event::Subscribed { channel, .. } => Some(channel.escape_ascii().to_string()),
        _ => None,
    };
    events.iter().filter_map(name).collect()
}

fn is_down_for(events: &[Event], kind: Refusal) -> bool {
    events
        .iter()
        .any(|event| matches!(event, Event::Down { why } if why.is_refused_as(kind)))
}

#[test]
fn what_is_published_is_heard() {
    let mut world = World::single();
    world.subscribe("one", false);
    world.subscribe("two", true);
    world.subscribe("one", false);
    world.run_millis(10);
    let events = world.take_events();
    assert_eq!(subscribed(&events), ["one", "two"]);
    assert_eq!(events.last(), Some(&Event::Up));
    world.publish("one", "a", false);
    world.publish("two", "b", true);
    world.publish("other", "c", false);
    world.run_millis(10);
    assert_eq!(messages(&world.take_events()), ["one=a", "two=b"]);
    let (channel, sharded) = (bytes("one"), false);
    world.command(Command::Unsubscribe { channel, sharded });
    world.run_millis(10);
    assert_eq!(world.subscribed(), [("two".into(), true)]);
    world.publish("one", "d", false);
    world.run_millis(10);
    assert!(messages(&world.take_events()).is_empty());
    let counters = world.broker.counters();
    assert_eq!((counters.published, counters.heard, counters.channels), (4, 2, 1));
    assert_eq!(counters.waiting_bytes, 0);
}

#[test]
fn requests_are_answered() {
    let mut world = World::single();
    world.subscribe("c", false);
    world.run_millis(10);
    let fields = vec![(bytes("nsp"), bytes("/")), (bytes("type"), bytes("3"))];
    ask(
        &mut world,
        1,
        Request::Subscribers {
            channel: bytes("c"),
            sharded: false,
        },
    );
    ask(
        &mut world,
        2,
        Request::AddEntry {
            stream: bytes("s"),
            max_len: 10,
            fields: fields.clone(),
            known_failures: None,
        },
    );
    ask(
        &mut world,
        3,
        Request::Range {
            stream: bytes("s"),
            from: bytes("-"),
            to: bytes("+"),
            count: 9,
        },
    );
    ask(
        &mut world,
        4,
        Request::Set {
            key: bytes("k"),
            value: bytes("v"),
            milliseconds: 5,
            only_if_there: false,
        },
    );
    ask(&mut world, 5, Request::Take { key: bytes("k") });
    ask(&mut world, 6, Request::Take { key: bytes("k") });
    world.run_millis(10);
    let answers = answers(&world.take_events());
    assert_eq!(answers[0], (1, Ok(Answer::Count(1))));
    let Ok(Answer::Added(id)) = answers[1].1.clone() else {
        panic!("{answers:?}")
    };
    let Ok(Answer::Entries(entries)) = answers[2].1.clone() else {
        panic!("{answers:?}")
    };
    assert_eq!((entries[0].id.clone(), entries[0].fields.clone()), (id, fields));
    assert_eq!(
        answers[3..],
        [
            (4, Ok(Answer::Done)),
            (5, Ok(Answer::Value(Some(bytes("v"))))),
            (6, Ok(Answer::Value(None))),
        ]
    );
}

/// What every other adapter gets wrong: the broker comes back, and the subscriptions with it.
#[test]
fn after_a_restart_everything_is_subscribed_again() {
    let mut world = World::single();
    let names: Vec<String> = (0..500).map(|number| format!("room{number}")).collect();
    names.iter().for_each(|name| world.subscribe(name, false));
    world.run_millis(10);
    world.take_events();
    for down in [10, 3000, 100_000] {
        world.set_mood(0, Mood::Gone);
        world.run_millis(down);
        assert!(world.subscribed().is_empty());
        world.subscribe("meanwhile", false);
        let (channel, sharded) = (bytes("room7"), false);
        world.command(Command::Unsubscribe {
            channel: channel.clone(),
            sharded,
        });
        world.set_mood(0, Mood::Well);
        // The longest delay.
        world.run_millis(2000);
        assert_eq!(world.subscribed().len(), 500);
        let events = world.take_events();
        assert_eq!(
            events
                .iter()
                .filter(|event| matches!(event, Event::Down { .. }))
                .count(),
            1
        );
        assert_eq!(events.last(), Some(&Event::Up));
        assert_eq!(subscribed(&events).len(), 500);
        world.command(Command::Subscribe { channel, sharded });
        let (channel, sharded) = (bytes("meanwhile"), false);
        world.command(Command::Unsubscribe { channel, sharded });
        world.run_millis(10);
        world.take_events();
    }
}

#[test]
fn a_deaf_subscriber_is_noticed() {
    let mut world = World::single();
    world.subscribe("c", false);
    world.run_millis(1000);
    world.nodes[0].is_deaf = true;
    // The interval of the probe, and the time that it may take.
    world.run(Duration::from_secs(15));
    assert_eq!(world.broker.counters().deaf, 1);
    world.nodes[0].is_deaf = false;
    world.run_millis(2000);
    assert_eq!(world.subscribed(), [("c".into(), false)]);
    assert!(world.broker.counters().is_up);
    world.run(Duration::from_secs(100));
    assert_eq!(world.broker.counters().deaf, 1);
}

/// An operator sees how long the broker takes: for its own messages of this node, and for what
/// waits for it.
#[test]
fn how_long_the_broker_takes_is_counted() {
    let mut world = World::single();
    world.subscribe("one", false);
    world.run_millis(10);
    assert_eq!(world.broker.counters().waiting_since, None);
    // The first probe is due after ten seconds. The server takes 300 ms for it.
    world.run_millis(9_900);
    assert_eq!(world.broker.counters().probe_round_trip, Duration::ZERO);
    world.set_mood(0, Mood::Frozen);
    world.run_millis(400);
    world.set_mood(0, Mood::Well);
    world.run_millis(1);
    let trip = world.broker.counters().probe_round_trip.as_millis();
    assert!((300..=400).contains(&trip), "{trip}");
    assert_eq!(world.broker.counters().waiting_since, None);
    // A message waits for its answer.
    world.set_mood(0, Mood::Frozen);
    let since = world.now;
    world.publish("one", "a", false);
    world.run_millis(1_000);
    world.publish("one", "b", false);
    world.run_millis(1_000);
    assert_eq!(world.broker.counters().waiting_since, Some(since));
    world.set_mood(0, Mood::Well);
    world.run_millis(10);
    assert_eq!(world.broker.counters().waiting_since, None);
    // A message waits for a connection, until it is dropped.
    world.set_mood(0, Mood::Gone);
    world.run_millis(10);
    let since = world.now;
    world.publish("one", "c", false);
    world.run_millis(3_000);
    world.publish("one", "d", false);
    world.run_millis(1_900);
    assert_eq!(world.broker.counters().waiting_since, Some(since));
    world.run_millis(200);
    let counters = world.broker.counters();
    assert!(
        counters.waiting_since > Some(since),
        "the first one is dropped: {counters:?}"
    );
    assert_eq!(counters.dropped_late, 1);
    world.run_millis(4_000);
    assert_eq!(world.broker.counters().waiting_since, None);
    // So does a request, also behind a message that came later.
    let since = world.now;
    let (channel, sharded) = (bytes("one"), false);
    let request = Request::Subscribers { channel, sharded };
    world.command(Command::Request { tag: 1, request });
    world.run_millis(1_000);
    world.publish("one", "e", false);
    world.run_millis(1_000);
    assert_eq!(world.broker.counters().waiting_since, Some(since));
    world.run_millis(9_000);
    assert_eq!(world.broker.counters().waiting_since, None);
}

#[test]
fn a_user_that_may_not_probe_is_still_served() {
    let mut world = World::single();
    world.nodes[0].forbidden = vec!["PUBLISH", "CLUSTER"];
    world.subscribe("c", false);
    world.run(Duration::from_secs(60));
    assert!(world.broker.counters().is_up);
    world.publish("c", "x", false);
    world.run_millis(10);
    assert_eq!(world.broker.counters().refused, 1);
    assert_eq!(world.broker.counters().deaf, 0);
}

#[test]
fn a_half_open_connection_is_noticed() {
    let mut world = World::single();
    world.subscribe("c", false);
    world.run_millis(10);
    world.take_events();
    world.set_mood(0, Mood::Frozen);
    // The interval of the pings, and the time for an answer.
    world.run(Duration::from_secs(11));
    let events = world.take_events();
    assert!(
        events.contains(&Event::Down {
            why: BrokerError::TimedOut
        }),
        "{events:?}"
    );
    world.set_mood(0, Mood::Well);
    // The attempt that has begun ends, and the longest delay.
    world.run(Duration::from_secs(8));
    assert_eq!(world.take_events().last(), Some(&Event::Up));
    assert_eq!(world.subscribed(), [("c".into(), false)]);
}

#[test]
fn what_waits_is_bounded_in_bytes_and_in_age() {
    let mut config = BrokerConfig::from_url("redis://a:1").unwrap();
    config.max_waiting_bytes = 10_000;
    let mut world = World::new(config, vec![Node::new("a", 1)]);
    world.set_mood(0, Mood::Gone);
    world.run_millis(10);
    for _ in 0..100 {
        world.publish("c", &"x".repeat(1000), false);
        assert!(world.broker.counters().waiting_bytes <= 10_000);
    }
    ask(
        &mut world,
        1,
        Request::Set {
            key: bytes("k"),
            value: bytes(&"v".repeat(2000)),
            milliseconds: 1,
            only_if_there: false,
        },
    );
    world.run_millis(1);
    assert_eq!(answers(&world.take_events()), [(1, Err(BrokerError::Full))]);
    assert_eq!(world.broker.counters().dropped_full, 91);
    world.run(Duration::from_secs(5));
    assert_eq!(world.broker.counters().dropped_late, 9);
    assert_eq!(world.broker.counters().waiting_bytes, 0);
    world.publish("c", "young", false);
    ask(
        &mut world,
        2,
        Request::Subscribers {
            channel: bytes("c"),
            sharded: false,
        },
    );
    world.set_mood(0, Mood::Well);
    world.run(Duration::from_secs(3));
    assert_eq!(answers(&world.take_events()), [(2, Ok(Answer::Count(0)))]);
    assert!(world.nodes[0].commands.contains(&"PUBLISH c young".to_owned()));
}

#[test]
fn a_connection_that_takes_no_bytes_lets_them_wait_here() {
    let mut config = BrokerConfig::from_url("redis://a:1").unwrap();
    config.max_waiting_bytes = 100_000;
    let mut world = World::new(config, vec![Node::new("a", 1)]);
    world.run_millis(10);
    world.set_mood(0, Mood::Frozen);
    world.broker.handle_blocked(sio_proto::LinkId::new(0, 1));
    for _ in 0..1000 {
        world.publish("c", &"x".repeat(1000), false);
    }
    world.run_millis(10);
    let counters = world.broker.counters();
    assert!(
        counters.waiting_bytes <= 100_000 && counters.dropped_full > 900,
        "{counters:?}"
    );
    world.set_mood(0, Mood::Well);
    world.broker.handle_drained(world.now, sio_proto::LinkId::new(0, 1));
    world.run_millis(10);
    assert_eq!(world.broker.counters().waiting_bytes, 0);
    assert_eq!(world.broker.counters().published + counters.dropped_full, 1000);
}

/// A channel that is left and wanted again before the broker could be told of either is heard as
/// before, and is told to be.
#[test]
fn a_channel_that_is_left_and_wanted_again_is_heard() {
    let mut world = World::single();
    world.subscribe("c", false);
    world.run_millis(10);
    assert_eq!(subscribed(&world.take_events()), ["c"]);
    // The connections take no more bytes. Links that do not exist are passed over.
    let links = (0..4).flat_map(|at| (0..4).map(move |number| sio_proto::LinkId::new(at, number)));
    for link in links.clone() {
        world.broker.handle_blocked(link);
    }
    let (channel, sharded) = (bytes("c"), false);
    world.command(Command::Unsubscribe { channel, sharded });
    world.subscribe("c", false);
    for link in links {
        world.broker.handle_drained(world.now, link);
    }
    world.run_millis(10);
    assert_eq!(subscribed(&world.take_events()), ["c"]);
    // So the broker knows that all channels are heard when it comes back.
    world.cut(0, true);
    world.run(Duration::from_secs(1));
    assert_eq!(world.take_events().last(), Some(&Event::Up));
    // Who subscribes to what is heard is told so at once.
    world.subscribe("c", false);
    world.run_millis(0);
    assert_eq!(subscribed(&world.take_events()), ["c"]);
}

/// A channel of sharded pub/sub and another one may have the same name. That the server ends the
/// first is not the answer to the command that leaves the second.
#[test]
fn a_channel_that_is_taken_away_is_heard_again_beside_one_of_its_name() {
    for (knows_hello, is_read_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut node = Node::new("a", 1);
        node.knows_hello = knows_hello;
        let mut world = World::new(BrokerConfig::from_url("redis://a:1").unwrap(), vec![node]);
        world.subscribe("room", false);
        world.subscribe("room", true);
        world.run_millis(10);
        world.take_away(0);
        if is_read_first {
            world.run_millis(0);
            world.take_away(0);
        }
        let channel = bytes("room");
        world.command(Command::Unsubscribe {
            channel,
            sharded: false,
        });
        world.run(Duration::from_secs(30));
        assert_eq!(world.subscribed(), [("room".to_owned(), true)]);
        assert!(world.broker.counters().is_up);
    }
}

#[test]
fn requests_end_at_their_deadline() {
    let mut world = World::single();
    world.run_millis(10);
    world.set_mood(0, Mood::Gone);
    ask(&mut world, 1, Request::Take { key: bytes("k") });
    world.run_millis(4999);
    assert!(answers(&world.take_events()).is_empty());
    world.run_millis(1);
    assert_eq!(answers(&world.take_events()), [(1, Err(BrokerError::TimedOut))]);
    ask(&mut world, 2, Request::Take { key: bytes("k") });
    world.broker.stop(world.now);
    ask(&mut world, 3, Request::Take { key: bytes("k") });
    world.run_millis(1);
    let stopped = |tag| (tag, Err(BrokerError::Stopped));
    assert_eq!(answers(&world.take_events()), [stopped(2), stopped(3)]);
    assert_eq!(world.broker.next_timeout(), None);
}

#[test]
fn credentials_are_shown_to_new_and_old_servers() {
    for knows_hello in [true, false] {
        let connect = |url| {
            let mut node = Node::new("a", 1);
            node.password = Some("p w");
            node.knows_hello = knows_hello;
            let mut world = World::new(BrokerConfig::from_url(url).unwrap(), vec![node]);
            world.subscribe("c", false);
            world.publish("c", "x", false);
            world.run_millis(1000);
            world
        };
        let mut world = connect("redis://me:p%20w@a:1/3");
        assert!(world.broker.counters().is_up);
        let expected = match knows_hello {
            true => "HELLO 3 AUTH me p w SETNAME sio",
            false => "AUTH me p w",
        };
        assert!(
            world.nodes[0].commands.contains(&expected.to_owned()),
            "{:?}",
            world.nodes[0].commands
        );
        assert!(world.nodes[0].commands.contains(&"SELECT 3".to_owned()));
        world.publish("c", "y", false);
        world.run_millis(10);
        assert_eq!(messages(&world.take_events()).last().map(String::as_str), Some("c=y"));
        for url in ["redis://a:1", "redis://:wrong@a:1"] {
            let mut world = connect(url);
            assert!(is_down_for(&world.take_events(), Refusal::Credentials), "{url}");
            // Attempts have their delays, also where they are refused.
            assert!(world.opened < 12, "{}", world.opened);
        }
    }
}

#[test]
fn a_server_that_loads_is_waited_for() {
    let mut world = World::single();
    world.set_mood(0, Mood::Loading);
    world.subscribe("c", false);
    world.run(Duration::from_secs(20));
    assert!(is_down_for(&world.take_events(), Refusal::NotNow));
    assert!(world.opened < 30);
    world.set_mood(0, Mood::Well);
    world.run_millis(2000);
    assert_eq!(world.take_events().last(), Some(&Event::Up));
}

#[test]
fn a_channel_that_is_forbidden_is_tried_again() {
    let mut world = World::single();
    world.run_millis(100);
    world.nodes[0].forbidden = vec!["SSUBSCRIBE"];
    world.subscribe("c", true);
    world.run_millis(100);
    assert!(is_down_for(&world.take_events(), Refusal::Permission));
    world.nodes[0].forbidden.clear();
    world.run_millis(2000);
    assert_eq!(world.take_events().last(), Some(&Event::Up));
    assert_eq!(world.subscribed(), [("c".into(), true)]);
}

/// The node takes no entries for a minute. Messages and answers come all the same, nothing is late,
/// and no entry is lost.
#[test]
fn streams_are_held_while_all_else_goes_on() {
    let mut world = World::single();
    world.subscribe("c", false);
    world.command(Command::ReadStream {
        stream: bytes("s"),
        after: StreamPosition::End,
    });
    world.run_millis(100);
    world.take_events();
    let opened = world.opened;
    world.broker.hold_streams(world.now, true);
    for tag in 0..12 {
        world.publish("c", "m", false);
        let fields = vec![(bytes("n"), bytes(&tag.to_string()))];
        ask(
            &mut world,
            tag,
            Request::AddEntry {
                stream: bytes("s"),
                max_len: 0,
                fields,
                known_failures: None,
            },
        );
        world.run(Duration::from_secs(5));
        let events = world.take_events();
        assert_eq!(messages(&events), ["c=m"]);
        assert!(matches!(&answers(&events)[..], [(_, Ok(_))]));
        assert_eq!(events.len(), 2, "{events:?}");
    }
    world.broker.hold_streams(world.now, false);
    world.run(Duration::from_secs(30));
    let numbers: Vec<_> = world
        .take_events()
        .into_iter()
        .map(|event| match event {
            Event::Entry { fields, .. } => fields[0].1.escape_ascii().to_string(),
            event => panic!("{event:?}"),
        })
        .collect();
    let expected: Vec<_> = (0..12).map(|number| number.to_string()).collect();
    assert_eq!((numbers, world.opened), (expected, opened));

    // A reader that is away meanwhile comes back, and a broker that says nothing afterwards is
    // noticed.
    world.broker.hold_streams(world.now, true);
    world.cut(0, false);
    world.run(Duration::from_secs(30));
    assert!(world.broker.counters().is_up);
    world.set_mood(0, Mood::Frozen);
    world.broker.hold_streams(world.now, false);
    world.run(Duration::from_secs(11));
    assert!(!world.broker.counters().is_up);
}

#[test]
fn streams_are_read_without_a_gap() {
    let mut world = World::single();
    let add = |world: &mut World, tag: u64| {
        let fields = vec![(bytes("n"), bytes(&tag.to_string()))];
        ask(
            world,
            tag,
            Request::AddEntry {
                stream: bytes("s"),
                max_len: 0,
                fields,
                known_failures: None,
            },
        );
    };
    add(&mut world, 1);
    world.run_millis(10);
    world.command(Command::ReadStream {
        stream: bytes("s"),
        after: StreamPosition::End,
    });
    world.run_millis(100);
    add(&mut world, 2);
    world.run(Duration::from_secs(30));
    // An entry that comes while the reader is away.
    world.cut(0, false);
    world.run_millis(150);
    add(&mut world, 3);
    world.run(Duration::from_secs(10));
    let read = |world: &mut World| -> Vec<String> {
        let field = |event: &Event| match event {
            Event::Entry { fields, .. } => Some(fields[0].1.escape_ascii().to_string()),
            _ => None,
        };
        world.take_events().iter().filter_map(field).collect()
    };
    assert_eq!(read(&mut world), ["2", "3"]);
    world.command(Command::StopStream { stream: bytes("s") });
    add(&mut world, 4);
    world.run(Duration::from_secs(10));
    assert!(read(&mut world).is_empty());
    assert!(world.broker.counters().is_up);
}

#[test]
fn sentinels_name_the_master_and_its_successor() {
    let mut sentinel = Node::new("s", 26379);
    sentinel.master = Some(("a".into(), 1));
    let mut replica = Node::new("a", 2);
    replica.is_master = false;
    let config = BrokerConfig::from_url("redis+sentinel://gone,s/main").unwrap();
    let mut world = World::new(config, vec![Node::new("a", 1), replica, sentinel]);
    world.subscribe("c", false);
    world.run_millis(1000);
    assert!(world.broker.counters().is_up);
    // The sentinel says it at once.
    world.set_mood(0, Mood::Gone);
    world.nodes[1].is_master = true;
    world.nodes[2].master = Some(("a".into(), 2));
    world.switch_master(2, "main a 1 a 2");
    world.run_millis(500);
    assert!(world.broker.counters().is_up);
    world.publish("c", "x", false);
    world.run_millis(10);
    assert_eq!(messages(&world.take_events()), ["c=x"]);
    // The sentinel is asked, because the master is none any more.
    world.nodes[1].is_master = false;
    world.set_mood(0, Mood::Well);
    world.nodes[2].master = Some(("a".into(), 1));
    world.cut(1, false);
    world.run_millis(3000);
    assert!(world.broker.counters().is_up);
    world.publish("c", "y", false);
    world.run_millis(10);
    assert_eq!(messages(&world.take_events()), ["c=y"]);
}

#[test]
fn of_several_servers_the_master_is_used() {
    let mut replica = Node::new("a", 1);
    replica.is_master = false;
    let config = BrokerConfig::from_url("redis://a:1,a:2").unwrap();
    let mut world = World::new(config, vec![replica, Node::new("a", 2)]);
    world.subscribe("c", false);
    world.run_millis(1000);
    assert!(world.broker.counters().is_up);
    assert!(world.nodes[1].commands.contains(&"SUBSCRIBE c".to_owned()));
}
