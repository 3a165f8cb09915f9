//! What a reader of a stream must not leave out, and what it leaves out.

mod redis;

use std::time::Duration;

use redis::moving::cluster;
use redis::{Mood, Node, World, bytes};
use sio_proto::broker::{BrokerConfig, Command, Event, Request, StreamPosition};

fn add(world: &mut World, value: &str) {
    let request = Request::AddEntry {
        stream: bytes("s"),
        max_len: 0,
        fields: vec![(bytes("n"), bytes(value))],
        known_failures: None,
    };
    world.command(Command::Request { tag: 1, request });
}

fn read(world: &mut World) -> Vec<String> {
    let value = |event: &Event| match event {
        Event::Entry { fields, .. } => Some(fields[0].1.escape_ascii().to_string()),
        _ => None,
    };
    world.take_events().iter().filter_map(value).collect()
}

fn read_stream(world: &mut World) {
    read_stream_named(world, "s");
}

fn read_stream_named(world: &mut World, stream: &str) {
    world.command(Command::ReadStream {
        stream: bytes(stream),
        after: StreamPosition::End,
    });
}

/// Clients may be let in from the command on. What is written before the reader's connection stands
/// is for them.
#[test]
fn what_is_written_before_the_reader_is_connected_is_read() {
    let mut world = World::single();
    world.run_millis(10);
    add(&mut world, "before");
    world.run_millis(10);
    read_stream(&mut world);
    add(&mut world, "behind");
    world.run(Duration::from_secs(1));
    assert_eq!(read(&mut world), ["behind"]);
}

#[test]
fn an_entry_that_is_too_large_is_left_out_and_counted() {
    let mut config = BrokerConfig::from_url("redis://a:1").unwrap();
    config.max_reply_bytes = 4000;
    let mut world = World::new(config, vec![Node::new("a", 1)]);
    world.run_millis(10);
    read_stream(&mut world);
    world.run_millis(10);
    add(&mut world, "1");
    add(&mut world, &"x".repeat(5000));
    add(&mut world, "2");
    world.run(Duration::from_secs(60));
    assert_eq!(read(&mut world), ["1", "2"]);
    assert_eq!(world.broker.counters().oversized_entries, 1);
    add(&mut world, "3");
    world.run(Duration::from_secs(1));
    assert_eq!(read(&mut world), ["3"]);
}

/// A replica that takes over may have a clock that is late. Then ids stay ahead of it, and entries
/// that are old look new.
#[test]
fn what_is_old_is_not_read_where_ids_are_ahead_of_the_clock() {
    let mut world = World::single();
    world.run_millis(10);
    let old = |id| ((1_000_000, id), vec![b"n".to_vec(), b"old".to_vec()]);
    world.nodes[0].streams.insert(b"s".to_vec(), vec![old(0), old(1)]);
    read_stream(&mut world);
    world.run_millis(100);
    let events = world.take_events();
    let begins = |event: &Event| matches!(event, Event::Reading { after, .. } if after == "1000000-1");
    assert!(events.iter().any(begins), "{events:?}");
    add(&mut world, "new");
    world.run(Duration::from_secs(1));
    assert_eq!(read(&mut world), ["new"]);
}

/// The time or the last entry is enough to know where to begin.
#[test]
fn a_user_who_may_not_ask_for_one_of_the_two_reads_too() {
    for forbidden in ["TIME", "XREVRANGE"] {
        let mut node = Node::new("a", 1);
        node.forbidden = vec![forbidden];
        let mut world = World::new(BrokerConfig::from_url("redis://a:1").unwrap(), vec![node]);
        world.run_millis(10);
        add(&mut world, "before");
        world.run_millis(10);
        read_stream(&mut world);
        world.run_millis(100);
        add(&mut world, "behind");
        world.run(Duration::from_secs(1));
        assert_eq!(read(&mut world), ["behind"], "{forbidden}");
    }
}

/// The last entry is asked for its id only.
#[test]
fn a_last_entry_that_is_too_large_keeps_nobody_from_beginning() {
    let mut config = BrokerConfig::from_url("redis://a:1").unwrap();
    config.max_reply_bytes = 4000;
    let mut world = World::new(config, vec![Node::new("a", 1)]);
    world.run_millis(10);
    add(&mut world, &"x".repeat(5000));
    world.run_millis(10);
    read_stream(&mut world);
    add(&mut world, "behind");
    world.run(Duration::from_secs(60));
    assert_eq!(read(&mut world), ["behind"]);
    assert_eq!(world.broker.counters().oversized_entries, 0);
}

/// Too many large entries for one reply cost a connection. That is not so for every second read.
#[test]
fn large_entries_cost_few_connections() {
    for (bytes_each, entries) in [(1200, 200), (3000, 100)] {
        let mut config = BrokerConfig::from_url("redis://a:1").unwrap();
        config.max_reply_bytes = 4000;
        let mut world = World::new(config, vec![Node::new("a", 1)]);
        world.run_millis(10);
        let large = |id| ((1, id), vec![b"n".to_vec(), vec![b'x'; bytes_each]]);
        world.nodes[0]
            .streams
            .insert(b"s".to_vec(), (0..entries).map(large).collect());
        let before = world.opened;
        world.command(Command::ReadStream {
            stream: bytes("s"),
            after: StreamPosition::After(bytes("0-0")),
        });
        world.run(Duration::from_secs(600));
        assert_eq!(read(&mut world).len() as u64, entries);
        let opened = world.opened - before;
        assert!(opened <= 16, "{opened} connections for entries of {bytes_each} bytes");
    }
}

/// A user that may not ask for the slots learns from the answers who owns a stream, as for messages
/// and requests. The sequence is one that the property of faults has found: the first master is
/// gone, the second one does not tell the slots, and the third one owns the stream. The connection
/// to the second one stays for ever, so nothing else would tell the broker that it is in a cluster.
#[test]
fn a_user_who_may_not_ask_for_slots_reads_from_the_owner() {
    for (is_known, is_allowed_later) in [(true, false), (true, true), (false, false)] {
        let mut world = cluster();
        match is_known {
            true => world.nodes[1].forbidden = vec!["CLUSTER"],
            // Before there were users, commands were forbidden by another name.
            false => world.nodes[1].renamed = vec!["CLUSTER"],
        }
        world.set_mood(0, Mood::Gone);
        // Slot 15891.
        assert_eq!(world.nodes[2].slots, [(10923, 16383)]);
        read_stream_named(&mut world, "stream");
        world.subscribe("room0", false);
        world.run_millis(72);
        world.set_mood(0, Mood::Well);
        if is_allowed_later {
            world.nodes[1].forbidden.clear();
        }
        world.run(Duration::from_secs(26));
        let counters = world.broker.counters();
        assert!(counters.is_up, "{counters:?}");
        let opened = world.opened;
        world.command(Command::Request {
            tag: 1,
            request: Request::AddEntry {
                stream: bytes("stream"),
                max_len: 0,
                fields: vec![(bytes("n"), bytes("new"))],
                known_failures: None,
            },
        });
        world.run(Duration::from_secs(60));
        assert_eq!(read(&mut world), ["new"]);
        // One connection for the requests to the owner.
        assert!(world.opened <= opened + 3, "{} {opened}", world.opened);
    }
}
