//! What a node reads: with rooms of ten on four nodes, only what concerns its own rooms. How much
//! that is says Redis: how many nodes hear a room (`PUBSUB NUMSUB`, also when one of them has
//! ended), and how many bytes it has written (`INFO`). What the nodes count themselves has to fit.
//! Redis 7.0 does not count the bytes of one connection.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use sio_app::{Cluster, ClusterKind, ShardedMode, Socket};
use tungstenite::Message;

use super::connections::config;
use super::peers::{Served, dial, said};
use super::say;
use super::servers::Redis;

const NODES: usize = 4;
const ROOMS: usize = 100;
const MEMBERS: usize = 10;
const BYTES: usize = 1000;

/// The channel of the namespace, which each node hears. Those of its rooms begin with it.
const EVERYBODY: &str = "socket.io#/#";

#[derive(Debug)]
struct Read {
    /// How many nodes hear the messages of all rooms, added up, as Redis says.
    subscribers: u64,
    /// In how many rooms each node was subscribed, as Redis says: by how much its end has lowered
    /// the number of subscribers.
    rooms: Vec<u64>,
    /// Bytes that Redis has written to all connections together, for the messages of each quarter
    /// of the rooms: that with members on this node and those behind it.
    written: Vec<u64>,
    /// Messages that each node says it has read.
    heard: Vec<u64>,
}

impl Read {
    fn all_written(&self) -> u64 {
        self.written.iter().sum()
    }
}

/// Where a room begins.
const fn home(room: usize) -> usize {
    room % NODES
}

/// The rooms that a socket joins which comes to a node as the one with this number there, if the
/// members of a room are on so many nodes, beginning with its home.
fn room_of(node: usize, number: usize, spread: usize) -> usize {
    // Each node has members of the rooms of so many homes: of its own, and of those before it.
    let share = MEMBERS / spread;
    let (room, of_home) = (number / share / spread, number / share % spread);
    room * NODES + (node + NODES - of_home) % NODES
}

/// Sends one message to each room, from a node that has no member of it.
fn measure(kind: &ClusterKind, spread: usize) -> Read {
    let redis = Redis::start(&[]);
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let start = |_| {
        Served::start(Cluster::new(config(&url)).kind(kind.clone()), |io| {
            io.of("/").on("join", |socket: Socket, room: String| socket.join(room));
        })
    };
    let mut nodes: Vec<Served> = (0..NODES).map(start).collect();
    let join = |node: &Served, at: usize, number: usize| {
        let room = room_of(at, number, spread);
        let mut socket = dial(node.address);
        let event = format!(r#"42["join","room{room}"]"#);
        socket.send(Message::text(event)).unwrap();
        socket
    };
    // A thousand handshakes, one behind the other, would take longer than all the rest.
    let mut members: Vec<Vec<_>> = thread::scope(|scope| {
        let join = &join;
        let dial_all = |(at, node)| {
            let dial_one = move |number| join(node, at, number);
            scope.spawn(move || (0..ROOMS / NODES * MEMBERS).map(dial_one).collect())
        };
        #[expect(
            clippy::needless_collect,
            reason = "all of them dial before the first one is waited for"
        )]
        let dialling: Vec<_> = nodes.iter().enumerate().map(dial_all).collect();
        dialling.into_iter().map(|node| node.join().expect("clients")).collect()
    });
    let counts = |nodes: &[Served]| -> Vec<_> {
        let counts = nodes.iter().map(|node| node.io.metrics().cluster.expect("a cluster"));
        counts.collect()
    };
    // The channels are heard, and stay as they are.
    let started = Instant::now();
    while !counts(&nodes)
        .iter()
        .all(|counts| counts.is_up && counts.broker.connections >= 2)
    {
        assert!(started.elapsed() < Duration::from_secs(30), "the cluster is not there");
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_secs(1));
    let heard_before = counts(&nodes);
    let subscribers = subscribers(&redis, kind);
    let payload = "x".repeat(BYTES);
    let mut quarter = |first: usize| {
        let before = written(&redis);
        for room in (0..ROOMS).filter(|room| home(*room) == first) {
            let sender = &nodes[(room + spread) % NODES];
            sender.io.to(format!("room{room}")).emit("news", &payload);
        }
        // Each member gets the message of its room.
        for (node, sockets) in members.iter_mut().enumerate() {
            for (number, socket) in sockets.iter_mut().enumerate() {
                if home(room_of(node, number, spread)) == first {
                    let event = said(socket);
                    assert!(
                        event.len() > BYTES && event.starts_with(r#"42["news","xxx"#),
                        "member {number} of node {node}: {event:.60}"
                    );
                }
            }
        }
        sleep(Duration::from_millis(100));
        written(&redis) - before
    };
    let written: Vec<u64> = (0..NODES).map(&mut quarter).collect();
    let heard = counts(&nodes);
    let heard = heard.iter().zip(heard_before);
    let heard = heard
        .map(|(counts, before)| counts.broker.heard - before.broker.heard)
        .collect();
    let mut left = subscribers;
    let rooms = (0..NODES).rev().map(|remaining| {
        drop(nodes.pop());
        let next = left_of(&redis, kind, remaining as u64);
        std::mem::replace(&mut left, next) - next
    });
    let mut rooms: Vec<u64> = rooms.collect();
    rooms.reverse();
    Read {
        subscribers,
        rooms,
        written,
        heard,
    }
}

/// How many nodes hear the messages of all rooms, added up.
fn subscribers(redis: &Redis, kind: &ClusterKind) -> u64 {
    let (name, has_rooms) = match kind {
        ClusterKind::Classic => ("NUMSUB", true),
        ClusterKind::Sharded { mode } => ("SHARDNUMSUB", *mode == ShardedMode::Dynamic),
        _ => panic!("a stream has no subscribers"),
    };
    let channel = |room| match has_rooms {
        true => format!("{EVERYBODY}room{room}#"),
        false => EVERYBODY.to_owned(),
    };
    let channels: Vec<String> = (0..ROOMS).map(channel).collect();
    let mut words = vec!["PUBSUB", name];
    words.extend(channels.iter().map(String::as_str));
    let told = redis.cli(&words);
    // Names and numbers in turn.
    let numbers: Vec<u64> = told
        .lines()
        .skip(1)
        .step_by(2)
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(numbers.len(), ROOMS, "{told}");
    numbers.iter().sum()
}

/// The same, when only so many nodes remain.
fn left_of(redis: &Redis, kind: &ClusterKind, nodes: u64) -> u64 {
    let started = Instant::now();
    let name = match kind {
        ClusterKind::Classic => "NUMSUB",
        _ => "SHARDNUMSUB",
    };
    loop {
        let told = redis.cli(&["PUBSUB", name, EVERYBODY]);
        if told.lines().nth(1) == Some(nodes.to_string().as_str()) {
            sleep(Duration::from_millis(100));
            return subscribers(redis, kind);
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "a node does not end: {told}"
        );
        sleep(Duration::from_millis(10));
    }
}
fn written(redis: &Redis) -> u64 {
    let info = redis.cli(&["INFO", "stats"]);
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.and_then(|digits| digits.trim().parse().ok()).expect("a count")
}

#[test]
#[ignore = "needs redis-server"]
fn a_node_reads_what_concerns_its_own_rooms() {
    let of_static = ClusterKind::Sharded {
        mode: ShardedMode::Static,
    };
    let of_dynamic = ClusterKind::Sharded {
        mode: ShardedMode::Dynamic,
    };
    let all = measure(&of_static, 1);
    say(&format!(
        "where every node hears everything: {all:?}, {} bytes",
        all.all_written()
    ));
    // The members of a room are on so many nodes.
    let placed: [(_, _, &[usize]); 2] = [
        ("classic", ClusterKind::Classic, &[1, 2]),
        ("sharded", of_dynamic, &[1]),
    ];
    for (name, kind, spreads) in placed {
        for spread in spreads.iter().copied() {
            let own = measure(&kind, spread);
            say(&format!(
                "{name}: {ROOMS} rooms of {MEMBERS} on {NODES} nodes, the members of a room on {spread}, a message of \
                 {BYTES} bytes to each room: {own:?}, {} bytes",
                own.all_written()
            ));
            // Each node reads the messages for its 25 or 50 rooms, and nothing else.
            let expected = (ROOMS / NODES * spread) as u64;
            assert_eq!(own.subscribers, expected * NODES as u64, "{name}");
            assert_eq!(own.rooms, [expected; NODES], "{name}");
            assert_eq!(own.heard, [expected; NODES], "{name}");
            // The messages of a quarter of the rooms are written once for each of its nodes.
            let payloads = expected * BYTES as u64;
            for written in &own.written {
                assert!((payloads..payloads * 3 / 2).contains(written), "{name}: {written}");
            }
            assert!(own.all_written() * 5 / 2 < all.all_written() * spread as u64, "{name}");
        }
    }
    // The measure can fail: nodes without channels of rooms read all messages.
    let everything = ROOMS as u64;
    assert_eq!(all.subscribers, everything * NODES as u64);
    assert_eq!(all.rooms, [everything; NODES]);
    assert_eq!(all.heard, [everything; NODES]);
    assert!(
        all.written.iter().all(|written| *written >= everything * BYTES as u64),
        "{all:?}"
    );
}
