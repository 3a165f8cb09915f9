//! Sentinels that name the master, and servers of which one is the master, under a virtual clock.

mod redis;

use std::time::Duration;

use redis::events::{answers, ask, messages};
use redis::{Mood, Node, World, bytes};
use sio_proto::broker::{Answer, BrokerConfig, BrokerError, Event, Refusal, Request};

/// Two servers, of which the first one is the master, and a sentinel.
fn sentinel(knows_hello: bool) -> World {
    let mut sentinel = Node::new("s", 26379);
    sentinel.master = Some(("a".into(), 1));
    sentinel.knows_hello = knows_hello;
    let config = BrokerConfig::from_url("redis+sentinel://s/main").expect("a URL");
    World::new(config, vec![Node::new("a", 1), Node::new("a", 2), sentinel])
}

fn count(world: &World, node: usize, begin: &str) -> usize {
    let commands = world.nodes[node].commands.iter();
    commands.filter(|command| command.starts_with(begin)).count()
}

fn is_down(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Down { .. }))
}

fn get() -> Request {
    Request::Length { stream: bytes("s") }
}

/// The old master stands, and so do the connections to it. Nothing but the sentinel tells that
/// there is another one. All that was to be written and heard goes there at once.
#[test]
fn a_master_is_left_when_the_sentinel_says_so() {
    for knows_hello in [false, true] {
        let mut world = sentinel(knows_hello);
        // What is given before the master is known finds it.
        ask(&mut world, 1, get());
        world.publish("c", "0", true);
        world.subscribe("c", false);
        world.run_millis(100);
        assert_eq!(answers(&world.take_events()), [(1, Ok(Answer::Count(0)))]);
        assert_eq!((world.published.len(), count(&world, 0, "CLUSTER")), (1, 0));
        for other in ["other a 1 a 2", "main a 1 a", "main a 1 a x"] {
            world.switch_master(2, other);
            world.run_millis(10);
            assert!(!is_down(&world.take_events()), "{other}");
        }
        world.nodes[2].master = Some(("a".into(), 2));
        world.switch_master(2, "main a 1 a 2");
        world.run_millis(10);
        assert_eq!(world.links(0, false), [], "{knows_hello}");
        assert_eq!((world.links(1, false).len(), world.links(1, true).len()), (1, 1));
        world.publish("c", "x", false);
        world.run_millis(10);
        assert_eq!(count(&world, 1, "PUBLISH c x"), 1);
        assert_eq!(messages(&world.take_events()), ["c=x"]);
        assert!(world.broker.counters().is_up);
    }
}

/// While the master stands, its users need no sentinel.
#[test]
fn a_sentinel_may_go() {
    let mut world = sentinel(true);
    world.run_millis(100);
    world.take_events();
    world.set_mood(2, Mood::Gone);
    world.run(Duration::from_secs(10));
    assert!(!is_down(&world.take_events()));
    // The master comes back to where it was.
    world.cut(0, false);
    world.run_millis(3000);
    assert!(is_down(&world.take_events()) && world.broker.counters().is_up);

    let mut world = sentinel(true);
    world.set_mood(2, Mood::Gone);
    world.run_millis(100);
    assert!(is_down(&world.take_events()), "nobody knows the master");
}

/// A sentinel that speaks RESP 2 takes no question on the connection that hears it: it is asked on
/// the next one, at once.
#[test]
fn an_old_sentinel_is_asked_again_on_another_connection() {
    for was_new in [false, true] {
        let mut world = sentinel(was_new);
        world.run_millis(100);
        if was_new {
            world.nodes[2].knows_hello = false;
            world.cut(2, false);
            world.run_millis(300);
        }
        let before = world.nodes[2].commands.len();
        world.nodes[2].master = Some(("a".into(), 2));
        world.set_mood(0, Mood::Gone);
        world.run_millis(10);
        let asked = &world.nodes[2].commands[before..];
        assert_eq!(
            asked.first().map(String::as_str),
            Some("HELLO 3 SETNAME sio"),
            "{was_new}: {asked:?}"
        );
        assert_eq!(world.links(1, false).len(), 1, "{was_new}");
        assert!(world.broker.counters().is_up);
    }
}

/// What is no address is no master.
#[test]
fn a_sentinel_that_names_nobody_is_left() {
    for master in [None, Some(("", 1)), Some(("x", 0))] {
        let mut world = sentinel(true);
        world.nodes[2].master = master.map(|(host, port)| (host.into(), port));
        if let Some(("x", _)) = master {
            world.nodes[2].master = Some(("x".repeat(256), 1));
        }
        world.run_millis(100);
        let why = BrokerError::NoMaster;
        assert!(world.take_events().contains(&Event::Down { why }), "{master:?}");
    }
}

/// The master becomes a replica while its connection stands. The request that has found out fails,
/// and the next ones go to the new master.
#[test]
fn a_master_that_is_none_any_more_is_left() {
    let mut world = World::new(
        BrokerConfig::from_url("redis://a:1,a:2").expect("a URL"),
        vec![Node::new("a", 1), Node::new("a", 2)],
    );
    world.nodes[1].is_master = false;
    world.subscribe("c", false);
    world.run_millis(100);
    world.nodes[0].is_master = false;
    world.nodes[1].is_master = true;
    world.nodes[0].errors = vec![("XLEN", "READONLY You can't write".into())];
    ask(&mut world, 1, get());
    world.run_millis(500);
    ask(&mut world, 2, get());
    world.run_millis(10);
    let told = answers(&world.take_events());
    assert!(
        matches!(&told[..], [(1, Err(error)), (2, Ok(_))] if error.is_refused_as(Refusal::ReadOnly)),
        "{told:?}"
    );
    world.publish("c", "x", false);
    world.run_millis(10);
    assert_eq!(messages(&world.take_events()), ["c=x"]);
    assert_eq!(count(&world, 1, "PUBLISH c x"), 1);
}
