//! What a reader of a stream must not leave out, and what it leaves out.

mod redis;

use std::time::Duration;

use redis::{Node, World, bytes};
use sio_proto::broker::{BrokerConfig, Command, Event, Request, StreamPosition};

fn add(world: &mut World, value: &str) {
    let request = Request::AddEntry {
        stream: bytes("s"),
        max_len: 0,
        fields: vec![(bytes("n"), bytes(value))],
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
    world.command(Command::ReadStream {
        stream: bytes("s"),
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
