//! What a reader of a stream must not leave out, and what it leaves out.

mod redis;

use std::time::Duration;

use redis::moving::cluster;
use redis::{Mood, Node, World, bytes};
use sio_proto::broker::{BrokerConfig, Command, Event, Refusal, Request, StreamPosition};

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
    world.run(Duration::from_secs(60));
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

fn reads(world: &World, begin: &str) -> usize {
    let commands = world.nodes[0].commands.iter();
    commands.filter(|command| command.starts_with(begin)).count()
}

/// A server that speaks RESP 2 answers with lists. Entries are counted, and the connection is
/// closed when the stream is read no more.
#[test]
fn a_stream_of_an_older_server_is_read() {
    for knows_hello in [false, true] {
        let mut node = Node::new("a", 1);
        node.knows_hello = knows_hello;
        let mut world = World::new(BrokerConfig::from_url("redis://a:1").unwrap(), vec![node]);
        world.run_millis(10);
        read_stream(&mut world);
        world.run_millis(10);
        ["1", "2"].iter().for_each(|value| add(&mut world, value));
        world.run(Duration::from_secs(20));
        assert_eq!(read(&mut world), ["1", "2"], "{knows_hello}");
        let counters = world.broker.counters();
        assert_eq!((counters.entries, counters.reconnects), (2, 0));
        assert_eq!(world.links(0, false).len(), 2);
        world.command(Command::StopStream { stream: bytes("s") });
        world.run_millis(0);
        assert_eq!(world.links(0, false).len(), 1);
    }
}

/// Who may not read has no stream, and asks again with the delays of its attempts.
#[test]
fn a_user_who_may_not_read_is_told() {
    for forbidden in [vec!["XREAD"], vec!["TIME", "XREVRANGE"]] {
        let mut node = Node::new("a", 1);
        node.forbidden = forbidden;
        let mut world = World::new(BrokerConfig::from_url("redis://a:1").unwrap(), vec![node]);
        world.run_millis(10);
        world.take_events();
        read_stream(&mut world);
        world.run(Duration::from_secs(10));
        let is_told = |event: &Event| matches!(event, Event::Down { why } if why.is_refused_as(Refusal::Permission));
        assert!(world.take_events().iter().any(is_told));
        assert!(world.opened < 20, "{}", world.opened);
    }
}

/// After 16 reads that went well, one entry more is read at once.
#[test]
fn fewer_entries_are_read_at_once_and_then_more_again() {
    let config = BrokerConfig::from_url("redis://a:1").unwrap().max_reply_bytes(4000);
    let mut world = World::new(config, vec![Node::new("a", 1)]);
    let of = |(id, len): (u64, usize)| ((1, id), vec![b"n".to_vec(), vec![b'x'; len]]);
    let large = (0..6).map(|id| (id, 1200)).chain((6..100).map(|id| (id, 1)));
    world.nodes[0].streams.insert(b"s".to_vec(), large.map(of).collect());
    world.command(Command::ReadStream {
        stream: bytes("s"),
        after: StreamPosition::After(bytes("0-0")),
    });
    world.run(Duration::from_secs(10));
    assert_eq!(read(&mut world).len(), 100);
    let counts = [100, 50, 25, 12, 6, 1, 2].map(|count| reads(&world, &format!("XREAD COUNT {count} ")));
    assert_eq!(counts, [1, 1, 1, 1, 1, 16, 16]);
}

/// Entries are not taken for a long time. From then on, the server has its whole time again, and a
/// server that says nothing is noticed. To say so again changes nothing.
#[test]
fn a_reader_that_was_held_has_its_time() {
    let second = Duration::from_secs(1);
    let mut config = BrokerConfig::from_url("redis://a:1").unwrap();
    config = config.answer_timeout(second).stream_block(second);
    let mut world = World::new(config.ping_interval(60 * second), vec![Node::new("a", 1)]);
    world.run_millis(10);
    read_stream(&mut world);
    world.run_millis(10);
    world.broker.hold_streams(world.now, true);
    world.set_mood(0, Mood::Frozen);
    world.run(20 * second);
    assert!(world.broker.counters().is_up);
    world.broker.hold_streams(world.now, false);
    assert_eq!(world.broker.next_timeout(), Some(world.now + 2 * second));
    world.run_millis(1500);
    world.broker.hold_streams(world.now, false);
    assert!(world.broker.counters().is_up);
    world.run_millis(500);
    assert!(!world.broker.counters().is_up);
}
