//! Whatever happens to Redis: once it is well again, everything that is wanted is subscribed to
//! within the longest delay and the times that the settings name, each request has been answered
//! exactly once, and no more has waited than may wait. No message comes twice, or behind a later
//! one of its channel.

mod cases;
mod redis;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use redis::moving::cluster;
use redis::{Mood, Node, World, bytes};
use sio_proto::broker::{BrokerConfig, Command, Event, Request, StreamPosition};

#[derive(Clone, Debug)]
enum Step {
    Cut(usize, bool),
    CutOne(usize, usize),
    Mood(usize, Mood),
    Deaf(usize, bool),
    TakeAway(usize),
    /// The server carries out what it has of connections that were closed.
    Late,
    /// The masters of a cluster exchange their slots.
    MoveSlots,
    Forbid(usize, &'static str),
    Allow(usize),
    Subscribe(u8, bool),
    Unsubscribe(u8, bool),
    Publish(u8, bool, usize),
    Ask(u8, u8),
    Run(u64),
    Read(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let moods = prop::sample::select(vec![Mood::Well, Mood::Gone, Mood::Frozen, Mood::Loading]);
    let commands = prop::sample::select(vec!["SUBSCRIBE", "SSUBSCRIBE", "PUBLISH", "CLUSTER", "XADD", "GET"]);
    prop_oneof![
        2 => (0usize..3, any::<bool>()).prop_map(|(node, some)| Step::Cut(node, some)),
        4 => (any::<usize>(), any::<usize>()).prop_map(|(which, behind)| Step::CutOne(which, behind)),
        4 => (0usize..3, moods).prop_map(|(node, mood)| Step::Mood(node, mood)),
        1 => (0usize..3, any::<bool>()).prop_map(|(node, deaf)| Step::Deaf(node, deaf)),
        1 => (0usize..3).prop_map(Step::TakeAway),
        2 => Just(Step::Late),
        1 => Just(Step::MoveSlots),
        1 => (0usize..3, commands).prop_map(|(node, command)| Step::Forbid(node, command)),
        1 => (0usize..3).prop_map(Step::Allow),
        8 => (0u8..12, any::<bool>()).prop_map(|(channel, sharded)| Step::Subscribe(channel, sharded)),
        4 => (0u8..12, any::<bool>()).prop_map(|(channel, sharded)| Step::Unsubscribe(channel, sharded)),
        6 => (0u8..12, any::<bool>(), 0usize..3000).prop_map(|(channel, sharded, size)| Step::Publish(channel, sharded, size)),
        6 => (0u8..12, 0u8..6).prop_map(|(key, kind)| Step::Ask(key, kind)),
        8 => (0u64..8000).prop_map(Step::Run),
        1 => any::<bool>().prop_map(Step::Read),
    ]
}

fn request(key: u8, kind: u8) -> Request {
    let name = bytes(&format!("key{key}"));
    match kind {
        0 | 1 => Request::Subscribers {
            channel: name,
            sharded: kind == 1,
        },
        2 => Request::AddEntry {
            stream: name,
            max_len: 10,
            fields: vec![(bytes("a"), bytes("b"))],
            known_failures: None,
        },
        3 => Request::Range {
            stream: name,
            from: bytes("-"),
            to: bytes("+"),
            count: 9,
        },
        4 => Request::Set {
            key: bytes(&format!("value{key}")),
            value: bytes("v"),
            milliseconds: 9,
            only_if_there: false,
        },
        _ => Request::Take {
            key: bytes(&format!("value{key}")),
        },
    }
}

/// What has happened in a run.
#[derive(Default)]
struct Run {
    wanted: BTreeSet<(String, bool)>,
    asked: u64,
    answers: BTreeMap<u64, usize>,
    published: usize,
}

impl Run {
    fn take(&mut self, world: &mut World) {
        for event in world.take_events() {
            if let Event::Answer { tag, .. } = event {
                *self.answers.entry(tag).or_default() += 1;
            }
        }
        assert!(world.broker.counters().waiting_bytes <= 20_000);
    }

    fn step(&mut self, world: &mut World, step: Step) {
        let all = world.nodes.len();
        match step {
            Step::Cut(node, some) => world.cut(node % all, some),
            Step::CutOne(which, behind) => world.cut_one(which, behind),
            Step::Mood(node, mood) => world.set_mood(node % all, mood),
            Step::Deaf(node, deaf) => world.nodes[node % all].is_deaf = deaf,
            Step::TakeAway(node) => world.take_away(node % all),
            // In a cluster, a slot may have moved and come back before a connection to its master
            // stands again.
            Step::Late if all == 1 => world.carry_out_late(),
            Step::Late => {}
            Step::MoveSlots => {
                for node in 1..all {
                    let slots = std::mem::take(&mut world.nodes[node].slots);
                    let before = std::mem::replace(&mut world.nodes[node - 1].slots, slots);
                    world.nodes[node].slots = before;
                }
                // As Redis does it: who owns a slot no more ends its subscriptions.
                (0..all).for_each(|node| world.take_away(node));
            }
            Step::Forbid(node, command) => world.nodes[node % all].forbidden.push(command),
            Step::Allow(node) => world.nodes[node % all].forbidden.clear(),
            Step::Subscribe(channel, sharded) => {
                let name = format!("room{channel}");
                world.subscribe(&name, sharded);
                self.wanted.insert((name, sharded));
            }
            Step::Unsubscribe(channel, sharded) => {
                let name = format!("room{channel}");
                let channel = bytes(&name);
                world.command(Command::Unsubscribe { channel, sharded });
                self.wanted.remove(&(name, sharded));
            }
            Step::Publish(channel, sharded, size) => {
                self.published += 1;
                let name = format!("room{channel}");
                let payload = format!("{name} {sharded} {:06} {}", self.published, "x".repeat(size));
                world.publish(&name, &payload, sharded);
            }
            Step::Ask(key, kind) => {
                let (tag, request) = (self.asked, request(key, kind));
                self.asked += 1;
                world.command(Command::Request { tag, request });
            }
            Step::Run(millis) => world.run_millis(millis),
            Step::Read(reads) => {
                let stream = bytes("stream");
                world.command(match reads {
                    true => Command::ReadStream {
                        stream,
                        after: StreamPosition::End,
                    },
                    false => Command::StopStream { stream },
                });
            }
        }
        self.take(world);
    }

    fn finish(mut self, mut world: World) {
        for node in 0..world.nodes.len() {
            world.nodes[node].is_deaf = false;
            world.nodes[node].forbidden.clear();
            world.set_mood(node, Mood::Well);
        }
        // A connection that hears nothing is noticed by its probe, an attempt that was answered by
        // nobody ends, and the longest delay passes, for the main connection and then for others.
        world.run(Duration::from_secs(15 + 5 + 3 * 2));
        self.take(&mut world);
        let wanted: Vec<_> = self.wanted.into_iter().collect();
        assert_eq!(world.subscribed(), wanted);
        let counters = world.broker.counters();
        assert!(counters.is_up, "{counters:?}");
        assert_eq!((counters.waiting_bytes, counters.channels), (0, wanted.len()));
        assert_eq!(self.answers.len() as u64, self.asked);
        assert!(self.answers.values().all(|count| *count == 1), "{:?}", self.answers);
        let mut last = BTreeMap::new();
        for payload in &world.published {
            let mut words = payload.split(|byte| *byte == b' ');
            // The messages of probes are others.
            if let (Some(name), Some(sharded), Some(number)) = (words.next(), words.next(), words.next()) {
                let before = last.insert((name, sharded), number);
                assert!(before < Some(number), "{}", payload.escape_ascii());
            }
        }
        // Nothing moves when nothing happens.
        let opened = world.opened;
        world.run(Duration::from_secs(60));
        assert_eq!(world.opened, opened);
        world.broker.stop(world.now);
        world.run_millis(1);
        assert_eq!(world.broker.counters().connections, 0);
    }
}

fn config(url: &str) -> BrokerConfig {
    BrokerConfig::from_url(url).expect("a URL").max_waiting_bytes(20_000)
}

fn play(mut world: World, piece: usize, steps: Vec<Step>) {
    world.piece = piece;
    let mut run = Run::default();
    for step in steps {
        run.step(&mut world, step);
    }
    run.finish(world);
}

proptest! {
    #![proptest_config(cases::usually(64))]

    #[test]
    fn one_server(resp3 in any::<bool>(), piece in prop::sample::select(vec![1, 7, 100_000]), steps in prop::collection::vec(step(), 0..40)) {
        let mut node = Node::new("a", 1);
        node.knows_hello = resp3;
        play(World::new(config("redis://a:1"), vec![node]), piece, steps);
    }

    #[test]
    fn three_masters(piece in prop::sample::select(vec![1, 7, 100_000]), steps in prop::collection::vec(step(), 0..40)) {
        let nodes = cluster().nodes;
        play(World::new(config("redis://a:1,a:2,a:3"), nodes), piece, steps);
    }
}
